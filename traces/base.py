"""What all traces share: the attributes of the Trace protocol, repair counts, and ``describe``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from traces.schema import SECOND_NS, Demand, MachineEvent, Submission
from traces.source import Source

_MINUTE_NS = 60 * SECOND_NS
_MOST_DISTINCT = 1_000_000


class TraceBase(ABC):
    """A trace without machines and demand; readers override the streams and ``_facts``.

    A stream that repairs dirt as it goes counts into a Counter of its own and hands it to ``_set_repaired`` at its
    end, so a second reading does not count twice.
    """

    def __init__(
        self,
        source: Source,
        dimensions: tuple[str, ...],
        *,
        assumptions: tuple[str, ...] = (),
        horizon_ns: int | None = None,
        default_cluster: str | None = None,
        plugins: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.source = source.text
        self.format = source.format
        self.dimensions = dimensions
        self.assumptions = assumptions
        self.horizon_ns = horizon_ns
        self.default_cluster = default_cluster
        self.plugins: Mapping[str, Mapping[str, Any]] = plugins or {}
        self.repaired: Mapping[str, int] = {}

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield machine events by ``at_ns``; this trace has none of its own."""
        return iter(())

    @abstractmethod
    def submissions(self) -> Iterator[Submission]:
        """Yield submissions by ``at_ns``."""

    def demand(self) -> Iterator[Demand]:
        """Yield demand points by ``at_ns``; this trace records none."""
        return iter(())

    def _set_repaired(self, counts: Mapping[str, int]) -> None:
        merged = {**self.repaired, **counts}
        self.repaired = {name: merged[name] for name in sorted(merged) if merged[name]}

    def _facts(self) -> dict[str, Any]:
        """Return what only this format can tell, for ``describe``."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return the facts of the trace as JSON-able values; reads both streams once.

        Times are seconds. ``requested`` sums base units over workloads. ``distinct_requests`` stops at a million.
        ``arrivals`` counts submissions after time 0 (what is there at the start did not arrive) by whole minutes and
        hours of the span. ``killed`` have a recorded kill; ``censored`` have neither kill nor service time.
        """
        machines = _MachineSummary()
        for event in self.machine_events():
            machines.add(event)
        work = _WorkSummary(len(self.dimensions))
        for submission in self.submissions():
            work.add(submission)
        return {
            "source": self.source,
            "format": self.format,
            "dimensions": list(self.dimensions),
            **machines.facts(),
            **work.facts(self.dimensions),
            "horizon_s": None if self.horizon_ns is None else self.horizon_ns / SECOND_NS,
            "default_cluster": self.default_cluster,
            "plugins": {name: dict(parameters) for name, parameters in self.plugins.items()},
            "repaired": dict(self.repaired),
            "assumptions": list(self.assumptions),
            **self._facts(),
        }


class _MachineSummary:
    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.machine_ids: set[str] = set()
        self.at_start = 0
        self.capacity_at_start: Counter[str] = Counter()

    def add(self, event: MachineEvent) -> None:
        self.kinds[event.kind] += 1
        self.machine_ids.add(event.machine_id)
        if event.at_ns == 0 and event.kind == "add":
            self.at_start += 1
            self.capacity_at_start.update(event.capacity)

    def facts(self) -> dict[str, Any]:
        return {
            "machines": {
                "distinct": len(self.machine_ids),
                "at_start": self.at_start,
                "capacity_at_start": dict(self.capacity_at_start),
            },
            "machine_events": {kind: self.kinds[kind] for kind in ("add", "remove", "update")},
        }


class _WorkSummary:
    def __init__(self, dimensions: int) -> None:
        self.submissions = self.workloads = self.censored = self.killed = self.failed = self.recorded = 0
        self.jobs: set[str] = set()
        self.tenants: set[str] = set()
        self.requested = [0] * dimensions
        self.requests: set[tuple[int, ...]] = set()
        self.constraints: Counter[str] = Counter()
        self.priorities: Counter[int] = Counter()
        self.per_minute: Counter[int] = Counter()
        self.first_ns: int | None = None
        self.last_ns = 0

    def add(self, item: Submission) -> None:
        count = item.count
        self.submissions += 1
        self.workloads += count
        if item.job_id:
            self.jobs.add(item.job_id)
        if item.tenant:
            self.tenants.add(item.tenant)
        if len(self.requests) < _MOST_DISTINCT:
            self.requests.add(item.request)
        for index, value in enumerate(item.request):
            self.requested[index] += value * count
        for name in item.constraints or ():
            self.constraints[name] += count
        self.priorities[item.priority] += count
        if item.at_ns > 0:
            self.per_minute[item.at_ns // _MINUTE_NS] += 1
        self._add_end(item, count)
        if self.first_ns is None:
            self.first_ns = item.at_ns
        self.last_ns = item.at_ns

    def _add_end(self, item: Submission, count: int) -> None:
        if item.kill_at_ns is not None:
            self.killed += count
        elif item.service_ns is None:
            self.censored += count
        if item.exit_code:
            self.failed += count
        if item.recorded_machine_id:
            self.recorded += count

    def facts(self, dimensions: tuple[str, ...]) -> dict[str, Any]:
        first_ns = self.first_ns or 0
        return {
            "submissions": self.submissions,
            "workloads": self.workloads,
            "jobs": len(self.jobs),
            "tenants": len(self.tenants),
            "distinct_requests": len(self.requests),
            "requested": dict(zip(dimensions, self.requested, strict=True)),
            "span_s": (self.last_ns - first_ns) / SECOND_NS,
            "arrivals": self._arrivals(first_ns),
            "censored": self.censored,
            "killed": self.killed,
            "failed": self.failed,
            "running_at_start": self.recorded,
            "constraints": dict(sorted(self.constraints.items())),
            "priorities": {str(level): self.priorities[level] for level in sorted(self.priorities)},
        }

    def _arrivals(self, first_ns: int) -> dict[str, Any]:
        first, last = first_ns // _MINUTE_NS, self.last_ns // _MINUTE_NS
        minutes = [self.per_minute[minute] for minute in range(first, last)]
        hours = [sum(minutes[start : start + 60]) for start in range(0, len(minutes) - 59, 60)]
        return {
            "first_s": first_ns / SECOND_NS,
            "last_s": self.last_ns / SECOND_NS,
            "submissions": sum(self.per_minute.values()),
            "per_minute": _spread(minutes),
            "per_hour": _spread(hours),
        }


def _spread(counts: list[int]) -> dict[str, Any]:
    """Return mean, largest, and index of dispersion (variance over mean; 1 for Poisson) of counts per interval."""
    mean = sum(counts) / len(counts) if counts else None
    dispersion = None
    if mean and len(counts) > 1:
        dispersion = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1) / mean
    return {"mean": mean, "max": max(counts, default=None), "dispersion_index": dispersion}

"""Recordings: what it takes to run a journal again, and the journal as a trace (``journal:FILE``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eru_sim.errors import EruError
from eru_sim.feed import CONSTRAINT_OF
from eru_sim.journal_file import open_journal
from eru_sim.options import choose_policy
from scheduler.core import Core
from scheduler.events import (
    NodeCapacityChanged,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    RemovalRequested,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
)
from scheduler.journal import Batch, Header
from scheduler.plugins.registry import make_plugin
from scheduler.policies import BUILT_IN
from traces import Demand, MachineEvent, Reader, Source, Submission, Trace

if TYPE_CHECKING:
    from scheduler.policies import Policy


def core_of(header: Header, policy: str | Policy | None = None) -> Core:
    """Return a core as the header describes it.

    A policy that is not built in is code, which is never loaded because a file says so: name it again with ``policy``.
    """
    name = header.config.policy.name
    if policy is None and name not in BUILT_IN:
        raise EruError(f"policy: the journal was decided by {name!r}, which is not built in; give it with --policy")
    choice = choose_policy(policy if policy is not None else name)
    if choice.name != name:
        raise EruError(f"policy: the journal was decided by {name!r}, not by {choice.name!r}")
    try:
        plugins = [make_plugin(plugin.name, plugin.params) for plugin in header.config.plugins]
        return Core(header.config, plugins=plugins, policy_factory=choice.factory)
    except ValueError as error:
        raise EruError(str(error)) from None


class JournalTrace:
    """A journal read as a trace: its exogenous events, and service times from starts and exits.

    One pass when it is opened gathers how long each workload ran; a workload that never exited by itself is censored.
    """

    def __init__(self, source: Source) -> None:
        self.source = source.text
        self._path = Path(source.path)
        header, batches, _ = open_journal(self._path)
        self.overcommit = dict(header.config.overcommit)
        """As recorded: what a replay uses unless it is told otherwise."""
        self._columns = {dimension.name: dimension.column for dimension in header.config.dimensions}
        self.dimensions = tuple(self._columns.values())
        self.assumptions: tuple[str, ...] = (
            "Only the exogenous events are replayed; workloads that never exited run past the horizon.",
            "Latencies, pools, drains, cordons, reallocs, replacements and changes of labels or of particular things"
            " of nodes of the recording are not replayed.",
        )
        self.plugins: Mapping[str, Mapping[str, Any]] = {
            plugin.name: plugin.params for plugin in header.config.plugins if plugin.name != "labels"
        }
        self.repaired: Mapping[str, int] = {}
        self.default_cluster: str | None = None
        self._services: dict[str, tuple[int, int]] = {}
        self._removed_ns: dict[str, int] = {}
        self._batch_count = 0
        started: dict[str, int] = {}
        last_ns = 0
        for batch in batches:
            self._batch_count += 1
            last_ns = batch.at_ns
            self._gather(batch, started)
        self.horizon_ns: int | None = header.notes.get("horizon_ns", last_ns)

    def _gather(self, batch: Batch, started: dict[str, int]) -> None:
        for event in batch.events:
            if isinstance(event, WorkloadStarted):
                started[event.workload_id] = batch.at_ns
            elif isinstance(event, WorkloadAdopted):
                started[event.spec.workload_id] = batch.at_ns
            elif isinstance(event, WorkloadExited):
                began_ns = started.pop(event.workload_id, None)
                if began_ns is not None:
                    self._services[event.workload_id] = (batch.at_ns - began_ns, event.exit_code)
            elif isinstance(event, RemovalRequested):
                self._removed_ns.setdefault(event.workload_id, batch.at_ns)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield joins, losses, returns and capacity changes; a removed node counts as lost for good."""
        for batch in self._read():
            for event in batch.events:
                machine = self._machine_event(batch.at_ns, event)
                if machine is not None:
                    yield machine

    def _machine_event(self, at_ns: int, event: Any) -> MachineEvent | None:
        if isinstance(event, NodeJoined | NodeReturned):
            return MachineEvent(
                at_ns=at_ns,
                machine_id=event.node_id,
                kind="add",
                capacity=self._capacity(event.capacity or {}),
                labels=event.labels if isinstance(event, NodeJoined) else {},
                resources=event.resources if isinstance(event, NodeJoined) else {},
                topology=event.topology if isinstance(event, NodeJoined) else {},
            )
        if isinstance(event, NodeLost | NodeRemoved):
            return MachineEvent(at_ns=at_ns, machine_id=event.node_id, kind="remove")
        if isinstance(event, NodeCapacityChanged) and event.capacity is not None and not event.is_delta:
            capacity = self._capacity(event.capacity)
            return MachineEvent(at_ns=at_ns, machine_id=event.node_id, kind="update", capacity=capacity)
        return None

    def _capacity(self, capacity: Any) -> dict[str, int]:
        return {self._columns[name]: amount for name, amount in capacity.items()}

    def submissions(self) -> Iterator[Submission]:
        """Yield one submission a workload, with its recorded service time."""
        for batch in self._read():
            for event in batch.events:
                if isinstance(event, WorkloadsSubmitted):
                    for copy in range(event.count):
                        name = event.workload_id if event.count == 1 else f"{event.workload_id}/{copy}"
                        yield self._submission(batch.at_ns, name, event, "")
                elif isinstance(event, WorkloadAdopted):
                    yield self._submission(batch.at_ns, event.spec.workload_id, event.spec, event.node_id)

    def _submission(self, at_ns: int, workload_id: str, spec: WorkloadsSubmitted, node_id: str) -> Submission:
        service_ns, exit_code = self._services.get(workload_id, (None, 0))
        constraints = {CONSTRAINT_OF.get(name, name): payload for name, payload in (spec.payloads or {}).items()}
        return Submission(
            at_ns=at_ns,
            workload_id=workload_id,
            request=spec.request,
            job_id=spec.job_id,
            tenant=spec.tenant,
            priority=spec.priority,
            service_ns=service_ns,
            exit_code=exit_code,
            kill_at_ns=self._removed_ns.get(workload_id),
            estimate_ns=spec.estimate_ns,
            constraints=constraints or None,
            recorded_machine_id=node_id,
        )

    def demand(self) -> Iterator[Demand]:
        """Yield nothing: a journal has no demand curve."""
        return iter(())

    def describe(self) -> dict[str, Any]:
        """Count what is in the recording."""
        machines = {event.machine_id for event in self.machine_events()}
        workloads = sum(1 for _ in self.submissions())
        return {
            "source": self.source,
            "format": "journal",
            "dimensions": list(self.dimensions),
            "batches": self._batch_count,
            "machines": len(machines),
            "workloads": workloads,
            "censored": workloads - len(self._services),
            "horizon_s": None if self.horizon_ns is None else self.horizon_ns / 1e9,
            "repaired": {},
            "assumptions": list(self.assumptions),
        }

    def _read(self) -> Iterator[Batch]:
        return open_journal(self._path)[1]


def _open(source: Source) -> Trace:
    return JournalTrace(source)


READERS = {
    "journal": Reader(name="journal", summary="a recording of eru: its exogenous events and service times", open=_open)
}
"""For `traces.open_trace`: the formats that this package adds."""

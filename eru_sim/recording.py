"""Recordings: what it takes to run a journal again, and the journal as a trace (``journal:FILE``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from backends.sim.driver import Arrival
from backends.sim.engine import Service
from eru_sim.errors import EruError
from eru_sim.feed import CONSTRAINT_OF, copies
from eru_sim.journal_file import open_journal
from eru_sim.options import choose_policy
from eru_sim.recorded_latencies import Latencies
from scheduler.commands import StartWorkload
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    MaintenancePlanned,
    NodeCapacityChanged,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    PolicyChanged,
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
    from backends.sim.engine import EngineModel
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


ON_OTHER_MACHINES = (
    "Of the recording, submissions one by one and the coming and going of nodes are replayed; deployments, drains,"
    " cordons, reallocs, replacements and changes of labels are not."
)
_LIVE_NS = 365 * 86_400 * 10**9
"""A journal that begins later than this after 0 has the host's time in it."""


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
        )
        self.plugins: Mapping[str, Mapping[str, Any]] = {
            plugin.name: plugin.params for plugin in header.config.plugins if plugin.name != "labels"
        }
        self.repaired: Mapping[str, int] = {}
        self.default_cluster: str | None = None
        self._services: dict[str, tuple[int, int]] = {}
        self._removed_ns: dict[str, int] = {}
        self._latencies = Latencies()
        self._copies: dict[str, int] = {}
        self._batch_count = 0
        started: dict[str, int] = {}
        last_ns = 0
        first_ns = -1
        for batch in batches:
            first_ns = batch.at_ns if first_ns < 0 else first_ns
            self._batch_count += 1
            last_ns = batch.at_ns
            self._gather(batch, started)
            self._latencies.observe(batch)
        self.origin_ns = first_ns if first_ns >= _LIVE_NS else 0
        """What a live recording began at; its replay begins at 0."""
        self.horizon_ns: int | None = header.notes.get("horizon_ns", last_ns) - self.origin_ns

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
            elif isinstance(event, DeploymentRequested):
                self._copies[event.spec.workload_id] = 0
        for command in batch.commands:
            if isinstance(command, StartWorkload) and command.generation == 1:
                name, _, copy = command.workload_id.rpartition("/")
                if name in self._copies:
                    self._copies[name] = max(self._copies[name], int(copy) + 1)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield joins, losses, returns and capacity changes; a removed node counts as lost for good."""
        for batch in self._read():
            for event in batch.events:
                machine = self._machine_event(batch.at_ns - self.origin_ns, event)
                if machine is not None:
                    yield machine

    def latencies(self) -> str:
        """What is assumed of engines, in one sentence."""
        return self._latencies.sentence()

    def engine_model(self, seed: int) -> EngineModel:
        """Latencies and failures of the engines as recorded."""
        return self._latencies.model(seed)

    def arrivals(self, *, as_recorded: bool) -> Iterator[Arrival]:
        """Yield every exogenous event but changes of policy, with what each copy did when it ran.

        What was found running is submitted instead, unless ``as_recorded``.
        """
        for batch in self._read():
            for event in batch.events:
                if event.origin == "exogenous" and not isinstance(event, PolicyChanged):
                    if isinstance(event, WorkloadAdopted) and not as_recorded:
                        event = event.spec
                    yield Arrival(batch.at_ns - self.origin_ns, self._moved(event), self._services_of(event))

    def _services_of(self, event: AnyEvent) -> dict[str, Service] | None:
        if isinstance(event, DeploymentRequested):
            prefix = f"{event.spec.workload_id}/"
            names = self._copies.get(event.spec.workload_id, 0)
            ids = [f"{prefix}{copy}" for copy in range(names)]
        elif isinstance(event, WorkloadAdopted):
            ids = [event.spec.workload_id]
        elif isinstance(event, WorkloadsSubmitted):
            ids = copies(event.workload_id, event.count)
        else:
            return None
        return {name: Service(*self._services[name]) for name in ids if name in self._services}

    def _moved(self, event: AnyEvent) -> AnyEvent:
        """The instants within an event, from the beginning of the replay."""
        origin_ns, change = self.origin_ns, msgspec.structs.replace
        if not origin_ns:
            return event
        if isinstance(event, WorkloadsSubmitted) and event.deadline_ns is not None:
            return change(event, deadline_ns=max(0, event.deadline_ns - origin_ns))
        if isinstance(event, DeploymentRequested | WorkloadAdopted):
            return change(event, spec=self._moved(event.spec))
        if isinstance(event, MaintenancePlanned):
            return change(event, start_ns=event.start_ns - origin_ns, end_ns=event.end_ns - origin_ns)
        return event

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
            at_ns = batch.at_ns - self.origin_ns
            for event in batch.events:
                if isinstance(event, WorkloadsSubmitted):
                    for name in copies(event.workload_id, event.count):
                        yield self._submission(at_ns, name, event, "")
                elif isinstance(event, WorkloadAdopted):
                    yield self._submission(at_ns, event.spec.workload_id, event.spec, event.node_id)

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
            kill_at_ns=self._removal_ns(workload_id),
            estimate_ns=spec.estimate_ns,
            constraints=constraints or None,
            recorded_machine_id=node_id,
        )

    def _removal_ns(self, workload_id: str) -> int | None:
        at_ns = self._removed_ns.get(workload_id)
        return None if at_ns is None else at_ns - self.origin_ns

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

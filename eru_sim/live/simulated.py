"""Simulated engines behind the live driver: what they answer is the model's, when they answer is the clock's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby

from backends.real.clock import Clock
from backends.real.engines.base import Engine
from backends.real.gateway import Found, Report, Survey
from backends.real.hook_output import HookOutput
from backends.sim.engine import Service, SimulatedEngine
from scheduler.commands import AnyCommand
from scheduler.events import (
    AnyEvent,
    NodeJoined,
    NodeRemoved,
    WorkloadAdopted,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.ports import Completion


class SimulatedGateway:
    """All machines of a cluster, as `backends.real.gateway.NodeGateway`. It outlives a driver, as machines do.

    ``happen`` is how exogenous events get to it and then to the driver: the machines see them first.
    """

    def __init__(self, machines: SimulatedEngine, clock: Clock) -> None:
        self.machines = machines
        self._clock = clock
        self._report: Report = _nobody
        self._pending: dict[int, AnyEvent] = {}
        self._sequence = 0
        self._nodes: dict[str, Engine | None] = {}
        self.on_gap: Callable[[], object] = lambda: None
        """Never called: whoever simulates misses nothing."""
        self.on_hook_output: Callable[[str, HookOutput], object] = lambda workload_id, output: None
        """Never called: nothing runs inside what is simulated, hooks neither."""
        self.is_forced: Callable[[str], bool] = lambda workload_id: False
        """Never called: how long a stop takes is the model's."""

    def set_engine(self, node_id: str, engine: Engine) -> None:
        """See `NodeGateway.set_engine`."""
        self._nodes[node_id] = engine

    def drop_engine(self, node_id: str) -> None:
        """See `NodeGateway.drop_engine`."""
        self._nodes.pop(node_id, None)

    def engine(self, node_id: str) -> Engine | None:
        """See `NodeGateway.engine`."""
        return self._nodes.get(node_id)

    async def close(self) -> None:
        """See `NodeGateway.close`."""

    def connect(self, report: Report) -> None:
        """See `Gateway.connect`."""
        self._report = report

    def execute(self, commands: Iterable[AnyCommand]) -> None:
        """See `Gateway.execute`."""
        execute, now_ns = self.machines.execute, self._clock.now_ns()
        self._arrange(now_ns, [completion for command in commands for completion in execute(command)])

    async def survey(self) -> Survey:
        """See `Gateway.survey`. Machines that are down do not answer."""
        found: dict[str, dict[tuple[str, int], Found]] = {}
        for node_id, workload_id, generation in self.machines.instances():
            found.setdefault(node_id, {})[workload_id, generation] = Found("running")
        for node_id in self._nodes:
            if not self.machines.is_down(node_id):
                found.setdefault(node_id, {})
        for event in self._pending.values():
            self._overlay(found, event)
        return Survey(found)

    def happen(self, event: AnyEvent, service: Service | None = None) -> AnyEvent:
        """The machines take notice of an exogenous event, and of what the work will do; return it for the driver."""
        if service is not None:
            self._expect(event, service)
        if isinstance(event, NodeJoined):
            self._nodes[event.node_id] = None
        elif isinstance(event, NodeRemoved):
            self._nodes.pop(event.node_id, None)
        self.machines.observe(event)
        return event

    def _expect(self, event: AnyEvent, service: Service) -> None:
        if isinstance(event, WorkloadsSubmitted):
            ids = [event.workload_id] if event.count == 1 else [f"{event.workload_id}/{i}" for i in range(event.count)]
            for workload_id in ids:
                self.machines.expect(workload_id, service)
        elif isinstance(event, WorkloadAdopted):
            self.machines.expect(event.spec.workload_id, service)
            adopted = self.machines.adopt(event.spec.workload_id, event.node_id, event.generation)
            self._arrange(self._clock.now_ns(), adopted)

    def _arrange(self, now_ns: int, completions: Sequence[Completion]) -> None:
        """Have completions delivered when they are due: those that follow each other and are due together, together."""
        for delay_ns, group in groupby(completions, key=lambda completion: completion.delay_ns):
            first = self._sequence
            for completion in group:
                self._pending[self._sequence] = completion.event
                self._sequence += 1
            self._clock.call_at(now_ns + delay_ns, partial(self._deliver, range(first, self._sequence)))

    def _deliver(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            event = self._pending.pop(number)
            for _ in range(self.machines.observe(event)):
                self._report(event)

    def _overlay(self, found: dict[str, dict[tuple[str, int], Found]], event: AnyEvent) -> None:
        """What will still be answered is on its way."""
        if isinstance(event, WorkloadStarted | WorkloadStartFailed | WorkloadStopped):
            node_id = self.machines.node_of(event.workload_id, event.generation)
            if node_id in found:
                is_stop = isinstance(event, WorkloadStopped)
                found[node_id][event.workload_id, event.generation] = Found("stopping" if is_stop else "starting")
        elif isinstance(event, WorkloadUpdated | WorkloadUpdateFailed):
            node_id = self.machines.node_of(event.workload_id, event.generation)
            known = found.get(node_id, {}).get((event.workload_id, event.generation))
            if known is not None:
                found[node_id][event.workload_id, event.generation] = known._replace(updating=event.revision)


def _nobody(event: AnyEvent) -> None:
    """Completions while no driver is there are lost."""

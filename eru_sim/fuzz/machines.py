"""The machines of a fuzzed world: what really runs where, and what is reported of it, late, twice or not at all.

They outlive the core. A machine goes on by itself while nobody can reach it; what it would have said meanwhile is lost,
and when it is reached again it reports how things are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from backends.sim.engine import Service
from scheduler.commands import AnyCommand, RemapWorkload, StartWorkload, StopWorkload, UpdateWorkload
from scheduler.config import SECOND_NS
from scheduler.events import (
    AnyEvent,
    WorkloadExited,
    WorkloadHealthChanged,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.ports import Completion

KILLED = 137
"""The exit code of what a reboot ended."""


class Instance(msgspec.Struct, kw_only=True):
    """One generation of a workload on a machine: starting, running, stopping or exited."""

    node_id: str
    state: str = "starting"
    args: dict[str, Any] = {}
    revision: int = 0
    exit_code: int = 0
    attempts: int = 0
    is_healthy: bool = False


class Machines:
    """All engines. Implements what the SimPy driver asks of an engine.

    ``faults`` are those that may happen now; the world takes them away at the end. ``before_command`` is called before
    each command.
    """

    def __init__(self, seed: int, features: frozenset[str], before_command: Callable[[], None]) -> None:
        self.faults = features
        self.instances: dict[tuple[str, int], Instance] = {}
        self.cut: dict[str, str] = {}
        """Machines that cannot be reached, by what has happened to them: "down" or "partition"."""
        self.injected: dict[str, int] = {}
        """How often what has happened."""
        self._seed = seed
        self._number = 0
        self._before_command = before_command

    def _draw(self, *key: object) -> random.Random:
        return random.Random(f"{self._seed} {key}")

    def note(self, fault: str) -> None:
        """Count a fault that has happened."""
        self.injected[fault] = self.injected.get(fault, 0) + 1

    # -- what the driver asks -----------------------------------------------------------------------------------------

    def expect(self, workload_id: str, service: Service) -> None:
        """Services follow from the seed."""

    def adopt(self, workload_id: str, node_id: str, generation: int = 1) -> Sequence[Completion]:
        """Nothing follows: see `found`."""
        return ()

    def execute(self, command: AnyCommand) -> Sequence[Completion]:
        """Carry out one command; return what will be reported, and when."""
        self._before_command()
        if isinstance(command, StartWorkload):
            return self._start(command)
        if isinstance(command, StopWorkload):
            return self._stop(command)
        if isinstance(command, UpdateWorkload):
            return self._update(command)
        if isinstance(command, RemapWorkload) and command.node_id not in self.cut:
            instance = self.instances.get((command.workload_id, command.generation))
            if instance is not None:
                instance.args = {**instance.args, **command.engine_args}
        return ()

    def observe(self, event: AnyEvent) -> int:
        """Something is due; return how many times the core gets to hear of it."""
        if event.origin != "completion":
            return 1
        key = (event.workload_id, event.generation)  # type: ignore[union-attr]
        instance = self.instances.get(key)
        if instance is None:
            answers = (WorkloadStopped, WorkloadStartFailed, WorkloadUpdated, WorkloadUpdateFailed)
            return int(isinstance(event, answers))
        if isinstance(event, WorkloadStarted):
            if instance.state == "starting":
                instance.state = "running"
        elif isinstance(event, WorkloadExited):
            if instance.state in ("starting", "running"):
                instance.state, instance.exit_code = "exited", event.exit_code
        elif isinstance(event, WorkloadHealthChanged):
            instance.is_healthy = event.healthy
        elif isinstance(event, WorkloadStartFailed):
            return 0  # it has been started since
        elif isinstance(event, WorkloadStopped) and instance.state == "stopping":
            del self.instances[key]
        elif isinstance(event, WorkloadUpdated):
            instance.revision = max(instance.revision, event.revision)
        if instance.node_id in self.cut:
            self.note("unheard")
            return 0
        if "duplicates" in self.faults and self._draw("twice", event).random() < 0.15:
            self.note("duplicates")
            return 2
        return 1

    # -- commands -----------------------------------------------------------------------------------------------------

    def _answer(self, delay_ns: int, event: AnyEvent, *, may_be_lost: bool = True) -> list[Completion]:
        """What is heard of an answer: nothing, something late, or the same once more, later."""
        self._number += 1
        draw = self._draw("answer", self._number, event)
        lost, late, again, order = (draw.random() for _ in range(4))
        if "reorder" in self.faults:
            delay_ns += int(order * 4 * SECOND_NS)
        if "coarse_clock" in self.faults:
            delay_ns = -(-delay_ns // (5 * SECOND_NS)) * 5 * SECOND_NS if late < 0.7 else 0
        if "lost" in self.faults and may_be_lost and lost < 0.12:
            self.note("lost")
            return []
        if "late" in self.faults and late < 0.12:
            self.note("late")
            delay_ns += int(late * 1000) * SECOND_NS
        answers = [Completion(delay_ns, event)]
        if "duplicates" in self.faults and again < 0.08:
            self.note("duplicates")
            answers.append(Completion(delay_ns + int(again * 1000) * SECOND_NS, event))
        return answers

    def _start(self, command: StartWorkload) -> list[Completion]:
        if command.node_id in self.cut:
            return []
        name, generation = command.workload_id, command.generation
        key = (name, generation)
        instance = self.instances.get(key)
        attempts = 0 if instance is None else instance.attempts
        draw = self._draw("start", name, generation, attempts)
        delay_ns = int(draw.uniform(0.5, 4) * SECOND_NS)
        started = WorkloadStarted(workload_id=name, generation=generation)
        if instance is None or instance.node_id != command.node_id:
            if "start_failures" in self.faults and draw.random() < 0.2:
                self.note("start_failures")
                failed = WorkloadStartFailed(workload_id=name, generation=generation, reason="injected fault")
                return self._answer(delay_ns, failed)
            for old in [other for other in self.instances if other[0] == name and other[1] < generation]:
                if self.instances[old].node_id == command.node_id:
                    del self.instances[old]  # what was stopped and held, or replaced
            instance = self.instances[key] = Instance(node_id=command.node_id)
            exits = self._exit(name, generation, delay_ns)
        else:
            exits = []
            if instance.state == "exited":
                exits = [Completion(delay_ns + 1, self._exited(key, instance))]
        instance.attempts = attempts + 1
        instance.args = dict(command.engine_args or {})
        answers = self._answer(delay_ns, started)
        if draw.random() < 0.85:
            health = WorkloadHealthChanged(workload_id=name, generation=generation, healthy=draw.random() < 0.9)
            answers += self._answer(delay_ns + int(draw.uniform(0, 8) * SECOND_NS), health)
        return [*answers, *exits]

    def _exit(self, name: str, generation: int, delay_ns: int) -> list[Completion]:
        """How it will end, if it does. An exit is never lost for good: the next report of the machine has it."""
        draw = self._draw("service", name, generation)
        endless, duration_ns, fails = draw.random() < 0.4, int(draw.uniform(2, 150) * SECOND_NS), draw.random() < 0.3
        if endless:
            return []
        code = 1 if fails and "error_exits" in self.faults else 0
        exited = WorkloadExited(workload_id=name, generation=generation, exit_code=code)
        return self._answer(delay_ns + duration_ns, exited, may_be_lost=False)

    def _stop(self, command: StopWorkload) -> list[Completion]:
        if command.node_id in self.cut:
            return []
        key = (command.workload_id, command.generation)
        instance = self.instances.get(key)
        if instance is not None and instance.node_id == command.node_id:
            instance.state = "stopping"
        delay_ns = int(self._draw("stop", *key, self._number).uniform(0.2, 3) * SECOND_NS)
        return self._answer(delay_ns, WorkloadStopped(workload_id=key[0], generation=key[1]))

    def _update(self, command: UpdateWorkload) -> list[Completion]:
        if command.node_id in self.cut:
            return []
        name, generation, revision = command.workload_id, command.generation, command.revision
        instance = self.instances.get((name, generation))
        draw = self._draw("update", name, generation, revision)
        delay_ns = int(draw.uniform(0.2, 3) * SECOND_NS)
        fails = "update_failures" in self.faults and draw.random() < 0.3
        if fails and (instance is None or instance.revision < revision):
            self.note("update_failures")
            failed = WorkloadUpdateFailed(
                workload_id=name, generation=generation, revision=revision, reason="injected fault"
            )
            return self._answer(delay_ns, failed)
        if instance is not None:
            instance.args = {**instance.args, **(command.engine_args or {})}
            instance.revision = revision
        updated = WorkloadUpdated(workload_id=name, generation=generation, revision=revision)
        return self._answer(delay_ns, updated)

    # -- what happens to machines -------------------------------------------------------------------------------------

    def on(self, node_id: str) -> Iterator[tuple[tuple[str, int], Instance]]:
        """What is on a machine."""
        return ((key, instance) for key, instance in self.instances.items() if instance.node_id == node_id)

    def found(self, workload_id: str, node_id: str, args: dict[str, Any]) -> None:
        """Something runs on a machine that nobody has started."""
        self.instances[workload_id, 1] = Instance(node_id=node_id, state="running", args=args)

    def crash(self, node_id: str) -> None:
        """Everything on the machine is gone, and it cannot be reached."""
        for key, _ in list(self.on(node_id)):
            del self.instances[key]
        self.cut[node_id] = "down"

    def remove(self, node_id: str) -> None:
        """The machine is gone for good."""
        self.crash(node_id)

    def reboot(self, node_id: str) -> list[AnyEvent]:
        """Everything on the machine ends; return what it reports when it is back, at once."""
        reports: list[AnyEvent] = []
        for key, instance in list(self.on(node_id)):
            if instance.state in ("starting", "running"):
                instance.state, instance.exit_code = "exited", KILLED
                reports.append(self._exited(key, instance))
            elif instance.state == "stopping":
                del self.instances[key]
                reports.append(WorkloadStopped(workload_id=key[0], generation=key[1]))
        return reports

    def report(self, node_id: str) -> list[AnyEvent]:
        """How things are on a machine, as it tells a core that has not heard of it for some time."""
        reports: list[AnyEvent] = []
        for key, instance in list(self.on(node_id)):
            if instance.state == "running":
                reports.append(WorkloadStarted(workload_id=key[0], generation=key[1]))
                if instance.is_healthy:
                    reports.append(WorkloadHealthChanged(workload_id=key[0], generation=key[1], healthy=True))
            elif instance.state == "exited":
                reports.append(self._exited(key, instance))
        return reports

    def _exited(self, key: tuple[str, int], instance: Instance) -> WorkloadExited:
        return WorkloadExited(workload_id=key[0], generation=key[1], exit_code=instance.exit_code)

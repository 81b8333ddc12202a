"""A core in a test tube: steps it by hand, journals everything, checks every invariant after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler import invariants, snapshot
from scheduler.commands import AnyCommand, StartWorkload, StopWorkload
from scheduler.config import CoreConfig
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    NodeJoined,
    RemovalRequested,
    TimerFired,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStopped,
)
from scheduler.journal import Batch, Header, JournalWriter
from scheduler.policies import PolicyFactory, make_policy
from scheduler.ports import ResourcePlugin
from scheduler.story import story


class Harness:
    """Drives one core. A failure carries the story of what it is about.

    ``at_ns`` is the harness's clock; move it as you like, never back. Every step is checked and journalled;
    ``batches`` holds them all.
    """

    def __init__(
        self,
        config: CoreConfig | None = None,
        *,
        plugins: Sequence[ResourcePlugin] = (),
        policy_factory: PolicyFactory = make_policy,
    ) -> None:
        self._plugins = plugins
        self._policy_factory = policy_factory
        self.core = Core(config, plugins=plugins, policy_factory=policy_factory)
        self.lines: list[bytes] = []
        self.journal = JournalWriter(Header(config=self.core.config), self.lines.append)
        self.batches: list[Batch] = []
        self.at_ns = 0

    def step(self, *events: AnyEvent, at_ns: int | None = None) -> list[AnyCommand]:
        """Step the core with one batch and check what must hold."""
        self.at_ns = self.at_ns if at_ns is None else at_ns
        batch = list(events)
        commands = self.core.step(self.at_ns, batch)
        self.batches.append(Batch(self.journal.batches, self.at_ns, 0, batch, commands))
        self.journal.append(self.at_ns, batch, commands)
        invariants.check(self.core)
        invariants.check_liveness(self.core)
        return commands

    def join(self, node_id: str, *, at_ns: int | None = None, **capacity: int) -> list[AnyCommand]:
        """Add one node: ``join("n1", cpu=4000, memory=8 << 30)``."""
        return self.step(NodeJoined(node_id=node_id, capacity=capacity), at_ns=at_ns)

    def submit(self, workload_id: str, *request: int, at_ns: int | None = None, **fields: Any) -> list[AnyCommand]:
        """Submit one workload: ``submit("w1", 500, 1 << 30, priority=3)``."""
        spec = WorkloadsSubmitted(workload_id=workload_id, request=request, **fields)
        return self.step(spec, at_ns=at_ns)

    def started(self, workload_id: str) -> list[AnyCommand]:
        """The engine reports that the present generation has started."""
        return self.step(WorkloadStarted(workload_id=workload_id, generation=self.generation(workload_id)))

    def stopped(self, workload_id: str) -> list[AnyCommand]:
        """The engine confirms that the present generation has stopped."""
        return self.step(WorkloadStopped(workload_id=workload_id, generation=self.generation(workload_id)))

    def exited(self, workload_id: str, exit_code: int = 0) -> list[AnyCommand]:
        """The present generation ends by itself."""
        generation = self.generation(workload_id)
        return self.step(WorkloadExited(workload_id=workload_id, generation=generation, exit_code=exit_code))

    def remove(self, workload_id: str, operation_id: str = "") -> list[AnyCommand]:
        """The user removes the workload."""
        return self.step(RemovalRequested(workload_id=workload_id, operation_id=operation_id))

    def fire_timers(self) -> list[AnyCommand]:
        """Go to the next instant that the core wants to be woken at, and wake it."""
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is None:
            raise AssertionError("the core does not want to be woken")
        return self.step(TimerFired(), at_ns=max(wakeup_ns, self.at_ns))

    def generation(self, workload_id: str) -> int:
        """The present generation of a live workload."""
        return self.core.workloads[workload_id].generation

    def node_of(self, workload_id: str) -> str:
        """The name of the node that the workload is on, "" where it is on none."""
        row = self.core.workloads[workload_id].row
        return self.core.cluster.nodes[row].node_id if row >= 0 else ""

    def state_of(self, workload_id: str) -> str:
        """The state of a live workload, "gone" for any other."""
        workload = self.core.workloads.get(workload_id)
        return str(workload.state) if workload is not None else "gone"

    def reload(self) -> None:
        """Replace the core by one restored from its own snapshot."""
        data = snapshot.dump(self.core)
        self.core = snapshot.load(data, plugins=self._plugins, policy_factory=self._policy_factory)
        again = snapshot.dump(self.core)
        assert again == data, snapshot.difference(data, again)
        invariants.check(self.core)

    def story(self, key: str) -> str:
        """Everything that concerns ``key``, one line each."""
        return "\n".join(map(str, story(self.batches, key)))


def placements(commands: Sequence[AnyCommand]) -> dict[str, str]:
    """Of the commands, what was placed where: workload id to node id."""
    return {c.workload_id: c.node_id for c in commands if isinstance(c, StartWorkload)}


def stops(commands: Sequence[AnyCommand]) -> Mapping[tuple[str, int], str]:
    """Of the commands, what is to be stopped, and why: (workload id, generation) to reason."""
    return {(c.workload_id, c.generation): c.reason for c in commands if isinstance(c, StopWorkload)}

"""What the property tests of random worlds share: moves in batches, answers to everything that a core waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from scheduler import journal
from scheduler.cluster import NodeState
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    NodeReturned,
    NodeUncordoned,
    StartRequested,
    TimerFired,
    WorkloadHealthChanged,
    WorkloadStarted,
    WorkloadStopped,
    WorkloadUpdated,
)
from scheduler.lifecycle import State
from scheduler.ports import ResourcePlugin
from scheduler.testing import Harness

Move = tuple[str, tuple[int, ...]]
"""A name and a few small integers, which are interpreted against what exists by then."""
Item = TypeVar("Item")
Step = Callable[..., object]
"""`Harness.step`, or something around it."""

POLICIES = ("best-fit", "first-fit", "worst-fit", "dot-product", "random")
BOUNDED = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    phases=(Phase.explicit, Phase.generate),  # add Phase.shrink to shrink a failure: that takes minutes
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=7)


def pick(items: Sequence[Item], number: int) -> Item | None:
    return items[number % len(items)] if items else None


def batches(moves: Sequence[Move], sizes: Sequence[int]) -> list[Sequence[Move]]:
    """The moves in groups of the given sizes, over and over."""
    groups, at, number = [], 0, 0
    while at < len(moves):
        size = sizes[number % len(sizes)]
        groups.append(moves[at : at + size])
        at, number = at + size, number + 1
    return groups


def decides_again(h: Harness, plugins: Callable[[], list[ResourcePlugin]]) -> None:
    """A core that is fed the journal's events decides what the journal says."""
    h.journal.close()
    reader = journal.JournalReader()
    lines = h.lines
    core = Core(reader.read_header(lines[0]).config, plugins=plugins())
    for line in lines[1:-1]:
        batch = reader.read(line)
        assert batch is not None
        assert core.step(batch.at_ns, list(batch.events)) == batch.commands
    assert reader.read(lines[-1]) is None
    assert reader.closed


def heal(h: Harness, step: Step) -> None:
    """All nodes return and are open again."""
    for node in list(h.core.cluster.by_id.values()):
        if node.state is NodeState.LOST:
            step(NodeReturned(node_id=node.node_id))
        if node.state in (NodeState.CORDONED, NodeState.DRAINING):
            step(NodeUncordoned(node_id=node.node_id))


def settle(h: Harness, step: Step) -> None:
    """Answer whatever the core waits for, until it waits for nothing."""
    for _ in range(100):
        events: list[AnyEvent] = [
            WorkloadStopped(workload_id=name, generation=generation) for name, generation in h.core.fences
        ]
        for workload in h.core.workloads.values():
            named: dict[str, Any] = {"workload_id": workload.workload_id, "generation": workload.generation}
            if workload.update is not None:
                events.append(WorkloadUpdated(**named, revision=workload.revision))
            if workload.state is State.STARTING:
                events.append(WorkloadStarted(**named))
            elif workload.state is State.STOPPING:
                events.append(WorkloadStopped(**named))
            elif workload.state is State.STOPPED:
                events.append(StartRequested(workload_id=workload.workload_id))
            elif workload.rollout is not None:
                events.append(WorkloadHealthChanged(**named, healthy=True))
        due = h.core.next_wakeup_ns
        if due is not None:
            events.append(TimerFired())
        elif not events:
            return
        step(*events, at_ns=max(h.at_ns, due or 0))
    raise AssertionError("the core does not come to rest")

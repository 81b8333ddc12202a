"""Safety and liveness of the core under random events over all of its features.

Safety: whatever happens, every invariant holds after every step (the harness checks), and a core that is restored from
its snapshot now and then says the same as one that never was. Liveness: once faults stop and answers come, nothing that
fits is left waiting, everybody who asked is answered, and everything that was held is given back.
"""

from __future__ import annotations

from collections import Counter

from core_kit import plugins
from hypothesis import given, settings
from hypothesis import strategies as st
from moves_kit import BOUNDED, SIZES, Move, batches, decides_again, heal, settle
from random_world import CONFIGS, MOVES, World

from scheduler.commands import PublishResult
from scheduler.config import CoreConfig
from scheduler.events import (
    RemovalRequested,
    WorkloadExited,
)
from scheduler.lifecycle import State
from scheduler.testing import Harness


@given(CONFIGS, MOVES, SIZES, st.sets(st.integers(0, 90)))
@BOUNDED
def test_safety_invariants_hold_and_a_restored_core_says_the_same(
    config: CoreConfig, moves: list[Move], sizes: list[int], reloads: set[int]
) -> None:
    world = World(config)
    twin = Harness(config, plugins=plugins())
    for number, group in enumerate(batches(moves, sizes)):
        at_ns, events = world.batch(group)
        commands = world.harness.step(*events, at_ns=at_ns)
        if number in reloads:
            twin.reload()
        assert twin.step(*events, at_ns=at_ns) == commands
        assert twin.core.next_wakeup_ns == world.harness.core.next_wakeup_ns
    assert twin.journal.journal_digest == world.harness.journal.journal_digest
    assert twin.core.counters == world.harness.core.counters


@given(CONFIGS, MOVES, SIZES)
@BOUNDED
def test_safety_a_journal_decides_again_what_it_says(config: CoreConfig, moves: list[Move], sizes: list[int]) -> None:
    world = World(config)
    for group in batches(moves, sizes):
        at_ns, events = world.batch(group)
        world.harness.step(*events, at_ns=at_ns)
    decides_again(world.harness, plugins)


@given(CONFIGS, MOVES, SIZES)
@settings(BOUNDED, max_examples=80)
def test_liveness_when_faults_stop_everything_comes_to_an_end(
    config: CoreConfig, moves: list[Move], sizes: list[int]
) -> None:
    world = World(config)
    for group in batches(moves, sizes):
        at_ns, events = world.batch(group)
        world.harness.step(*events, at_ns=at_ns)
    h = world.harness
    heal(h, h.step)
    settle(h, h.step)
    core = h.core
    assert not core.fences
    assert not {str(w.state) for w in core.workloads.values()} & {"backoff", "starting", "stopping", "stopped"}
    waiting = {w.spec.operation_id for w in core.workloads.values() if w.state is State.QUEUED}
    assert set(core.operations) <= waiting, h.story(next(iter(set(core.operations) - waiting), ""))
    finish(h)
    assert not core.operations
    assert not core.workloads
    assert core.ledger.live_used == [0, 0]
    assert core.ledger.pool_used == {}
    assert core.next_wakeup_ns is None
    answered(world)


def finish(h: Harness) -> None:
    """Everything that runs exits, and what then still does not fit is removed."""
    for _ in range(2000):
        running = [w for w in h.core.workloads.values() if w.state is State.RUNNING]
        if not running:
            break
        h.step(*[WorkloadExited(workload_id=w.workload_id, generation=w.generation) for w in running])
        settle(h, h.step)
    for workload in list(h.core.workloads.values()):
        excused = workload.spec.gang or h.core.state.discipline.excuse(h.core.state, workload)
        assert excused or h.core.diagnose(workload.workload_id).fitting == 0
    while h.core.workloads:
        h.step(*[RemovalRequested(workload_id=name) for name in h.core.workloads])
        settle(h, h.step)


def answered(world: World) -> None:
    """Whoever asked was answered: done exactly once, or refused without having begun."""
    results: list[PublishResult] = []
    for batch in world.harness.batches:
        results += [command for command in batch.commands if isinstance(command, PublishResult)]
    done = Counter(result.operation_id for result in results if result.outcome == "done")
    refused = {result.operation_id for result in results if result.outcome == "refused"}
    asked = {event.operation_id for batch in world.harness.batches for event in batch.events if operation_of(event)}
    assert asked <= set(done) | refused, sorted(asked - set(done) - refused)
    assert all(times == 1 for times in done.values()), done


def operation_of(event: object) -> str:
    return getattr(event, "operation_id", "")

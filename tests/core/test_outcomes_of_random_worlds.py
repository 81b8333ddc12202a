"""Outcomes under random events over all features: they add up to what the core counts itself, also after being saved
and loaded at every step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import assume, given
from moves_kit import BOUNDED, SIZES, Move, batches
from random_world import CONFIGS, MOVES, World

from eru_sim.outcomes import Outcomes
from scheduler.config import CoreConfig
from scheduler.events import AnyEvent, RemovalRequested, WorkloadExited
from scheduler.lifecycle import PARTITION, State


@given(CONFIGS, MOVES, SIZES)
@BOUNDED
def test_outcomes_add_up_to_the_counters(config: CoreConfig, moves: list[Move], sizes: list[int]) -> None:
    world = World(config)
    core = world.harness.core
    outcomes = Outcomes(core)
    for group in batches(moves, sizes):
        at_ns, events = world.batch(group)
        assume(not exit_meets_removal(events))
        commands = world.harness.step(*events, at_ns=at_ns)
        saved = outcomes.dump()
        outcomes = Outcomes(core)
        outcomes.load(saved)
        outcomes.observe(at_ns, sorted(events, key=lambda event: event.event_class), commands)
    frame = outcomes.frame()
    counters = core.counters
    assert len(frame) == len(outcomes) == counters.submitted
    assert frame["placements"].sum() == counters.placements
    assert frame["placed_s"].notna().sum() == counters.placed
    assert frame["evictions"].sum() == counters.evicted
    assert frame["preemptions"].sum() == counters.preempted
    parts = Counter(PARTITION[State(outcome)] for outcome in frame["outcome"])
    assert parts == Counter({part: count for part, count in core.partition().items() if count})
    ended = ~frame["workload_id"].isin(core.workloads)
    assert (frame["ended_s"].notna() == ended).all()
    placed = [workload for workload in core.workloads.values() if workload.row >= 0]
    on_node = frame.set_index("workload_id")["node_id"]
    assert [on_node[w.workload_id] for w in placed] == [core.cluster.nodes[w.row].node_id for w in placed]


def exit_meets_removal(events: Sequence[AnyEvent]) -> bool:
    """The one case that outcomes cannot tell from an exit that counts."""
    exits = {event.workload_id for event in events if isinstance(event, WorkloadExited)}
    return any(isinstance(event, RemovalRequested) and event.workload_id in exits for event in events)

"""Safety and liveness of a core with all built-in plugins together, under random events over all of its features.

What is granted is added up by an accountant of the tests' own after every step; see `plugin_world_kit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from moves_kit import BOUNDED, SIZES, Move, batches, decides_again, heal, settle
from plugin_world_kit import CONFIGS, MOVES, PluginWorld, full_node, plugins_of

from scheduler import snapshot
from scheduler.cluster import NodeState
from scheduler.commands import PublishResult
from scheduler.config import CoreConfig
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    NodeCordoned,
    NodeFixRequested,
    NodeJoined,
    NodeRemoved,
    PolicyChanged,
    RemovalRequested,
)
from scheduler.lifecycle import State
from scheduler.testing import Harness

# -- safety -----------------------------------------------------------------------------------------------------------


@given(CONFIGS, MOVES, SIZES, st.sets(st.integers(0, 90)))
@settings(BOUNDED, max_examples=35)
def test_safety_nothing_is_granted_twice_and_a_restored_core_says_the_same(
    config: CoreConfig, moves: list[Move], sizes: list[int], reloads: set[int]
) -> None:
    world = PluginWorld(config)
    twin = Harness(config, plugins=plugins_of(config))
    for number, group in enumerate(batches(moves, sizes)):
        at_ns, events = world.batch(group)
        commands = world.step(*events, at_ns=at_ns)
        if number in reloads:
            twin.reload()
        assert twin.step(*events, at_ns=at_ns) == commands
        assert twin.core.next_wakeup_ns == world.harness.core.next_wakeup_ns
    assert twin.journal.journal_digest == world.harness.journal.journal_digest
    assert twin.core.counters == world.harness.core.counters
    assert books(twin.core) == books(world.harness.core)
    decides_again(world.harness, lambda: plugins_of(config))


# -- liveness ---------------------------------------------------------------------------------------------------------


@given(CONFIGS, MOVES, SIZES)
@settings(BOUNDED, max_examples=35)
def test_liveness_everything_ends_is_answered_and_leaves_nothing_behind(
    config: CoreConfig, moves: list[Move], sizes: list[int]
) -> None:
    world = PluginWorld(config)
    for group in batches(moves, sizes):
        at_ns, events = world.batch(group)
        world.step(*events, at_ns=at_ns)
    heal(world.harness, world.step)
    settle(world.harness, world.step)
    core = world.harness.core
    assert not core.fences
    assert not core.state.replacements.under_way
    assert {workload.state for workload in core.workloads.values()} <= {State.RUNNING, State.QUEUED}
    queued = [workload for workload in core.workloads.values() if workload.state is State.QUEUED]
    waiting = {name for workload in queued for name in (workload.spec.operation_id, workload.stop_operation_id)}
    assert set(core.operations) <= waiting, world.harness.story(next(iter(set(core.operations) - waiting), ""))
    remove_everything(world)
    assert not core.operations
    assert core.next_wakeup_ns is None
    answered(world)
    other = fresh_core(core)
    assert books(core) == books(other)
    assert remembered(core) == remembered(other)


def remove_everything(world: PluginWorld) -> None:
    workloads = world.harness.core.workloads
    for _ in range(200):
        if not workloads:
            return
        world.step(*[RemovalRequested(workload_id=workload_id) for workload_id in list(workloads)[:5]])
        settle(world.harness, world.step)
    raise AssertionError("work cannot be removed")


def answered(world: PluginWorld) -> None:
    """Whoever asked was told: as often as there was something to tell, and then once that it is done; or refused."""
    results: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for batch in world.harness.batches:
        for command in batch.commands:
            if isinstance(command, PublishResult) and command.operation_id:
                assert not done[command.operation_id], f"{command} comes after it was done"
                (done if command.outcome == "done" else results)[command.operation_id] += 1
                if command.outcome == "refused" and command.operation_id not in done:
                    results[command.operation_id] += 0
    assert set(results) == set(world.expected)
    for operation_id, expected in world.expected.items():
        if done[operation_id]:
            assert done[operation_id] == 1
            assert results[operation_id] == expected or expected is None, world.harness.story(operation_id)
        else:
            assert results[operation_id] == 1, world.harness.story(operation_id)


def books(core: Core) -> dict[str, Any]:
    """All that is counted, to compare."""
    ledger, rows = core.ledger, core.ledger.row_count
    slots = {}
    for plugin, table in ledger.slots.items():
        for row in range(rows):
            inventory = table.inventory(row)
            width = len(inventory.slots) if inventory is not None else 0
            assert not table.free[row, width:].any()
            slots[plugin, row] = (inventory, table.free[row, :width].tolist())
    return {
        "free": ledger.free[:, :rows].tolist(),
        "total": ledger.total[:, :rows].tolist(),
        "live": (ledger.live, ledger.live_used, ledger.live_total),
        "pools": (ledger.pool_used, ledger.pool_total),
        "slots": slots,
        "marks": core.cluster.marks.dump(),
        "apps": core.state.apps,
        "shared": core.state.engine_args.shared,
        "fences": {key: (fence.row, fence.claim.request, fence.claim.slots) for key, fence in core.fences.items()},
        "on_row": [list(on_row) for on_row in core.on_row],
        "queue": core.queue.demand(),
        "reference": core.planner.reference.tolist(),
        "capacity": (core.cluster.live_capacity, core.cluster.live_count),
        "domains": {level: core.cluster.domain_ids(level).tolist() for level in ("node", "rack")},
    }


def remembered(core: Core) -> dict[str, Any]:
    """What a snapshot has, without numbers that only count what happened."""
    data = msgspec.msgpack.decode(snapshot.dump(core))
    for field in ("at_ns", "sequence", "counters", "state_counts", "timer_sequence"):
        del data[field]
    for node in data["nodes"]:
        del node["resume_state"]
    return dict(data)


def fresh_core(core: Core) -> Core:
    """A core that was told of the nodes as they are now, and of nothing else."""
    other = Core(core.config, plugins=plugins_of(core.config))
    other.step(0, [PolicyChanged(name=core.policy_config.name, params=core.policy_config.params)])
    for node in core.cluster.nodes:
        events: list[AnyEvent] = [
            NodeJoined(
                node_id=node.node_id,
                capacity={d.name: amount for d, amount in zip(core.config.dimensions, node.stated, strict=True)},
                pool=node.pool,
                labels=node.labels,
                topology=node.topology,
                resources=node.resources,
                taints=node.taints,
                images=node.images,
            )
        ]
        if node.state is NodeState.REMOVED:
            events.append(NodeRemoved(node_id=node.node_id))
        elif node.state is NodeState.CORDONED:
            events.append(NodeCordoned(node_id=node.node_id))
        assert other.step(0, events) == []
    return other


# -- fix --------------------------------------------------------------------------------------------------------------


@given(CONFIGS, MOVES, st.integers(0, 50), st.lists(st.tuples(st.integers(0, 50), st.integers(-9, 9)), min_size=1))
@settings(BOUNDED, max_examples=10)
def test_fix_names_what_is_wrong_with_the_books_and_puts_it_right(
    config: CoreConfig, moves: list[Move], row: int, changes: list[tuple[int, int]]
) -> None:
    world = PluginWorld(config)
    for group in batches(moves, [3]):
        at_ns, events = world.batch(group)
        world.step(*events, at_ns=at_ns)
    world.step(full_node("full"))
    core = world.harness.core
    nodes = list(core.cluster.by_id.values())
    node = nodes[row % len(nodes)]
    before = books(core)
    wrong = corrupt(core, node.row, changes)
    found = core.inspect(node.node_id)
    assert len(found) == len(wrong)
    for name, difference in wrong.items():
        (line,) = [line for line in found if line.startswith(f"{name}: ")]
        booked, held = [int(word) for word in line.removeprefix(f"{name}: ").split() if word.lstrip("-").isdigit()]
        assert booked - held == difference
    commands = world.step(NodeFixRequested(node_id=node.node_id, operation_id="fix"))
    fixed = [c for c in commands if isinstance(c, PublishResult) and c.outcome == "fixed"]
    assert [c.detail for c in fixed] == ["; ".join(found)]
    assert books(core) == before


def corrupt(core: Core, row: int, changes: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Book what nobody holds; return by name how much of it."""
    ledger = core.ledger
    names = [dimension.name for dimension in core.config.dimensions]
    places: list[tuple[str, Any, tuple[int, int]]] = [
        (name, ledger.free, (number, row)) for number, name in enumerate(names)
    ]
    for plugin, table in ledger.slots.items():
        inventory = table.inventory(row)
        for column, slot in enumerate(inventory.slots if inventory is not None else ()):
            places.append((f"{plugin}.{slot}", table.free, (row, column)))
    wrong: dict[str, int] = {}
    for number, amount in changes:
        name, free, place = places[number % len(places)]
        free[place] -= amount
        wrong[name] = wrong.get(name, 0) + amount
        if name in names and ledger.live[row]:
            ledger.live_used[place[0]] += amount
    return {name: amount for name, amount in wrong.items() if amount}

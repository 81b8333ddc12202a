"""A core as versioned data, and back. Between two steps only; what is derived (caches, free columns) is calculated
anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.cluster import Node, NodeState
from scheduler.config import CoreConfig, PolicyConfig, QueueConfig
from scheduler.core import ContractError, Core
from scheduler.lifecycle import State
from scheduler.operations import Counters, Operation, Replacement
from scheduler.policies import PolicyFactory, make_policy
from scheduler.ports import ResourcePlugin
from scheduler.reservations import Reservation
from scheduler.timers import Timer
from scheduler.windows import Window
from scheduler.workload import Fence, Workload

SNAPSHOT_VERSION = 6


class Snapshot(msgspec.Struct, kw_only=True):
    """Everything that decides what a core does next. ``on_row`` lists ids, in the order in which they were placed."""

    version: int = SNAPSHOT_VERSION
    config: CoreConfig
    policy: PolicyConfig
    queue: QueueConfig
    at_ns: int
    sequence: int
    counters: Counters
    state_counts: dict[State, int]
    nodes: list[Node]
    workloads: list[Workload]
    on_row: list[list[str]]
    fences: list[Fence]
    operations: list[Operation]
    replacements: list[Replacement]
    windows: list[Window]
    reservations: list[Reservation]
    gathering: list[str]
    budgets: list[tuple[str, str, int]]
    timer_sequence: int
    timers: list[Timer]


def dump(core: Core) -> bytes:
    """Return the core as MessagePack."""
    state = core.state
    timer_sequence, timers = state.timers.dump()
    return msgspec.msgpack.encode(
        Snapshot(
            config=core.config,
            policy=core.policy_config,
            queue=core.state.queue_config,
            at_ns=core.at_ns,
            sequence=state.next_sequence,
            counters=core.counters,
            state_counts=state.state_counts,
            nodes=core.cluster.nodes,
            # Class ids are numbered by each core for itself.
            workloads=[msgspec.structs.replace(workload, class_id=-1) for workload in core.workloads.values()],
            on_row=[list(held) for held in core.on_row],
            fences=list(state.fences),
            operations=list(core.operations.values()),
            replacements=list(state.replacements.under_way.values()),
            windows=list(state.windows.values()),
            reservations=list(state.reservations.by_id.values()),
            gathering=list(state.gangs.gathering),
            budgets=[(*key, most) for key, most in state.budgets.items()],
            timer_sequence=timer_sequence,
            timers=timers,
        )
    )


def load(data: bytes, *, plugins: Sequence[ResourcePlugin] = (), policy_factory: PolicyFactory = make_policy) -> Core:
    """Return a core that goes on exactly as the dumped one would; ValueError where the data is not such a dump."""
    try:
        snapshot = msgspec.msgpack.decode(data, type=Snapshot)
    except msgspec.DecodeError as error:
        raise ValueError(f"snapshot: not a snapshot of this build's version {SNAPSHOT_VERSION} ({error})") from None
    if snapshot.version != SNAPSHOT_VERSION:
        raise ValueError(f"snapshot: version {snapshot.version}; this build reads version {SNAPSHOT_VERSION}")
    core = Core(snapshot.config, plugins=plugins, policy_factory=policy_factory)
    core.policy_config = snapshot.policy
    core.planner.set_policy(policy_factory(snapshot.policy.name, snapshot.policy.params))
    state = core.state
    state.change_queue(snapshot.queue)
    state.at_ns = snapshot.at_ns
    state.next_sequence = snapshot.sequence
    for field in snapshot.counters.__struct_fields__:
        setattr(state.counters, field, getattr(snapshot.counters, field))
    state.state_counts.update(snapshot.state_counts)
    for node in snapshot.nodes:
        _restore_node(core, node)
    core.planner.update_reference()
    for reservation in snapshot.reservations:
        state.reservations.adopt(reservation)
    for workload in snapshot.workloads:
        state.adopt_record(workload)
    for row, ids in enumerate(snapshot.on_row):
        for workload_id in ids:
            state.hold_again(core.workloads[workload_id], row)
    for fence in snapshot.fences:
        state.fences.add(fence)
        core.ledger.hold(fence.row, fence.claim, as_found=True)
    core.operations.update({operation.operation_id: operation for operation in snapshot.operations})
    state.replacements.under_way.update({rollout.operation_id: rollout for rollout in snapshot.replacements})
    state.gangs.gathering.update({name: core.workloads[name] for name in snapshot.gathering})
    state.windows.update({window.window_id: window for window in snapshot.windows})
    state.budgets.update({(app, job_id): most for app, job_id, most in snapshot.budgets})
    state.engine_args.settle(core.cluster.row_count)
    state.timers.load(snapshot.timer_sequence, snapshot.timers)
    state.requeue_all()
    return core


def _restore_node(core: Core, node: Node) -> None:
    row = core.ledger.add_row(core.config.overcommitted(node.capacity))
    if row != node.row:
        raise ContractError(f"snapshot: node {node.node_id} is row {node.row}, not {row}")
    core.on_row.append({})
    core.cluster.add(node)
    inventories, _ = core.state.resources.inventories(node.stated, node.resources, node.labels)
    for name, inventory in inventories.items():
        core.ledger.set_inventory(row, name, inventory)
    core.ledger.set_live(row, node.state not in (NodeState.LOST, NodeState.REMOVED))


def difference(one: bytes, other: bytes) -> str:
    """The first field in which two dumps differ, with both values; "" where they are equal."""
    left, right = msgspec.msgpack.decode(one), msgspec.msgpack.decode(other)
    for field in left:
        if left[field] != right[field]:
            return f"{field}: {left[field]!r} against {right[field]!r}"
    return ""

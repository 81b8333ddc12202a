"""What must hold between any two steps. `check` is run by tests after every step and by the simulator on request."""

from __future__ import annotations

from copy import copy, deepcopy

import numpy as np

from scheduler.cluster import NodeState
from scheduler.core import Core
from scheduler.expected_ends import expected_end_ns
from scheduler.gangs import is_coming
from scheduler.lifecycle import HOLDING, TERMINAL, State
from scheduler.marks import Mark
from scheduler.request_classes import RequestClass
from scheduler.reservations import Reservation
from scheduler.tenants import TenantUsage


class InvariantError(AssertionError):
    """Something that must hold does not. The message says what, where, and the two values."""


def check(core: Core) -> None:
    """Raise `InvariantError` for the first invariant that does not hold. Costs a pass over everything."""
    _check_conservation_of_work(core)
    _check_holdings(core)
    _check_ledger(core)
    _check_pools(core)
    _check_live_sums(core)
    _check_queue(core)
    _check_ends(core)
    _check_reservations(core)
    _check_caches(core)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvariantError(message)


def _check_conservation_of_work(core: Core) -> None:
    parts = core.partition()
    _require(
        sum(parts.values()) == core.counters.submitted,
        f"{core.counters.submitted} submitted, but the parts are {parts}",
    )
    live = dict.fromkeys(State, 0)
    for workload in core.workloads.values():
        live[workload.state] += 1
    for state in State:
        if state in TERMINAL:
            _require(not live[state], f"{live[state]} workloads are {state} and still recorded")
        else:
            counted = core.state.state_counts[state]
            _require(live[state] == counted, f"{live[state]} workloads are {state}, but {counted} are counted")


def _check_holdings(core: Core) -> None:
    held = {id_: row for row, on_row in enumerate(core.on_row) for id_ in on_row}
    _require(sum(len(on_row) for on_row in core.on_row) == len(held), "a workload is on two nodes")
    for workload in core.workloads.values():
        id_ = workload.workload_id
        _require((workload.state in HOLDING) == (workload.row >= 0), f"{id_} is {workload.state} on row {workload.row}")
        _require(held.get(id_, -1) == workload.row, f"{id_} is on row {workload.row}, listed on {held.get(id_, -1)}")
        if workload.row < 0:
            continue
        node = core.cluster.nodes[workload.row]
        _require(node.state is not NodeState.REMOVED, f"{id_} is on {node.node_id}, which was removed")
        dead = node.state is NodeState.LOST and workload.stop_reason != "hold"
        _require(not dead, f"{id_} is {workload.state} on {node.node_id}, which is lost")
    for fence in core.fences.values():
        node = core.cluster.nodes[fence.row]
        _require(node.state is not NodeState.REMOVED, f"a fence is on {node.node_id}, which was removed")


def _check_ledger(core: Core) -> None:
    """Used + free == total on every row, with used summed from everything that holds something."""
    ledger = core.ledger
    used = np.zeros((ledger.dimension_count, ledger.row_count), dtype=np.int64)
    slots: dict[tuple[int, str, str], int] = {}
    marks: dict[Mark, dict[int, int]] = {}
    claims = [(w.row, core.state.claim_of(w)) for w in core.workloads.values() if w.row >= 0]
    for row, claim in [*claims, *((fence.row, fence.claim) for fence in core.fences.values())]:
        used[:, row] += claim.request
        for plugin, amounts in claim.slots.items():
            for slot, amount in amounts.items():
                slots[row, plugin, slot] = slots.get((row, plugin, slot), 0) + amount
        for mark in claim.marks:
            marks.setdefault(mark, {}).setdefault(row, 0)
            marks[mark][row] += 1
    _check_slots(core, slots)
    _require(marks == core.cluster.marks.dump(), f"the marks are {core.cluster.marks.dump()}, but carried are {marks}")
    difference = used + ledger.free[:, : ledger.row_count] - ledger.total[:, : ledger.row_count]
    for dimension, row in zip(*np.nonzero(difference), strict=True):
        name, node = core.config.dimensions[dimension].name, core.cluster.nodes[row].node_id
        raise InvariantError(
            f"{node}: {name}: used {used[dimension, row]} + free {ledger.free[dimension, row]}"
            f" is not total {ledger.total[dimension, row]}"
        )


def _check_slots(core: Core, held: dict[tuple[int, str, str], int]) -> None:
    """Nothing is held twice: what is free and what is held is what there is, of every thing on every node."""
    booked = {
        (row, plugin, slot): amount
        for plugin, table in core.ledger.slots.items()
        for row in range(core.ledger.row_count)
        for slot, amount in table.held(row).items()
    }
    for row, plugin, slot in {**held, **booked}:
        was, found = booked.get((row, plugin, slot), 0), held.get((row, plugin, slot), 0)
        _require(was == found, f"{core.cluster.nodes[row].node_id}: {plugin}.{slot}: {was} booked, {found} held")


def _check_pools(core: Core) -> None:
    used: dict[str, int] = {}
    claims = [core.state.claim_of(workload) for workload in core.workloads.values() if workload.row >= 0]
    for claim in [*claims, *(fence.claim for fence in core.fences.values())]:
        for pool, amount in claim.charges.items():
            used[pool] = used.get(pool, 0) + amount
    _require(used == core.ledger.pool_used, f"pools hold {core.ledger.pool_used}, but {used} is taken")
    if core.counters.adopted:
        return  # what is adopted is recorded as found, and may take more than there is
    for pool, total in core.ledger.pool_total.items():
        _require(used.get(pool, 0) <= total, f"pool {pool}: {used.get(pool, 0)} of {total} are taken")


def _check_live_sums(core: Core) -> None:
    """Capacity is the sum of the live nodes at every instant."""
    ledger = core.ledger
    live = [node.row for node in core.cluster.nodes if node.state not in (NodeState.LOST, NodeState.REMOVED)]
    total = ledger.total[:, live].sum(axis=1).tolist()
    used = total - ledger.free[:, live].sum(axis=1)
    _require(total == ledger.live_total, f"live capacity is {total}, but {ledger.live_total} is counted")
    _require(used.tolist() == ledger.live_used, f"live use is {used}, but {ledger.live_used} is counted")
    physical = np.array([core.cluster.nodes[row].capacity for row in live], dtype=np.int64).sum(axis=0).tolist()
    counted = core.cluster.live_capacity
    _require(not live or physical == counted, f"live nodes have {physical}, but {counted} is counted")
    _require(len(live) == core.cluster.live_count, f"{len(live)} nodes are live, {core.cluster.live_count} counted")
    nominated = {w.nominated_row: w.workload_id for w in core.workloads.values() if w.nominated_row >= 0}
    _require(
        nominated == core.cluster.nominated, f"nominated are {core.cluster.nominated}, but {nominated} is recorded"
    )
    open_rows = [node.state is NodeState.READY and node.row not in nominated for node in core.cluster.nodes]
    _require(core.cluster.open_mask[: len(open_rows)].astype(bool).tolist() == open_rows, "the open mask is wrong")


def _check_queue(core: Core) -> None:
    queued = {workload.workload_id for workload in core.queue.workloads()}
    expected = {workload.workload_id for workload in core.workloads.values() if workload.state is State.QUEUED}
    gathering = core.state.gangs.gathering
    _require(queued.isdisjoint(gathering), "a copy of a gang is in the queue and gathering")
    for workload in gathering.values():
        coming = any(is_coming(member) for member in core.state.gangs.members(workload.spec))
        _require(coming and workload.state is State.QUEUED, f"{workload.workload_id} gathers, but nobody is to come")
    expected -= set(gathering)
    demand = np.zeros(core.ledger.dimension_count, dtype=np.int64)
    for workload in core.queue.workloads():
        demand += np.array(core.planner.classes.by_id[workload.class_id].request)
    _require(demand.tolist() == core.queue.demand(), f"the queue asks {demand}, but {core.queue.demand()} is counted")
    _require(queued == expected, f"the queue holds {sorted(queued ^ expected)} wrongly, or lacks them")


def _check_ends(core: Core) -> None:
    """The expected ends and the shares of tenants are what the records say."""
    state = core.state
    if state.ends is not None:
        held = [w for w in core.workloads.values() if w.row >= 0 and w.state is not State.STOPPED]
        expected = sorted((expected_end_ns(w), w.sequence) for w in held)
        noted = [(end_ns, sequence) for end_ns, sequence, _ in state.ends.entries]
        _require(noted == expected, f"expected ends are {noted}, not {expected}")
    if state.tenants is not None:
        usage = TenantUsage(core.ledger.dimension_count)
        for workload in core.workloads.values():
            if workload.row >= 0:
                usage.add(workload.spec.tenant, core.planner.classes.by_id[workload.class_id].request, 1)
        _require(
            usage.by_path == state.tenants.by_path,
            f"tenants hold {usage.by_path}, but {state.tenants.by_path} is counted",
        )


def _check_reservations(core: Core) -> None:
    """No node is reserved twice at a time, and every class says what reservations look at."""
    reservations = core.state.reservations
    seen: dict[str, list[Reservation]] = {}
    for one in reservations.by_id.values():
        for node_id in one.node_ids:
            for other in seen.setdefault(node_id, []):
                apart = one.end_ns <= other.start_ns or other.end_ns <= one.start_ns
                _require(apart, f"{node_id} is reserved by {one.reservation_id} and {other.reservation_id} at a time")
            seen[node_id].append(one)
    for workload in core.workloads.values():
        access, expected = core.planner.classes.by_id[workload.class_id].access, reservations.access(workload.spec)
        _require(access == expected, f"{workload.workload_id} is of a class for {access}, not {expected}")


def _check_caches(core: Core) -> None:
    """What is cached decides as a look at every row would; who would have to go is who would be found now."""
    problems = core.preemption.problems()
    _require(not problems, "; ".join(problems))
    planner, every = core.planner, np.arange(core.ledger.row_count)
    for known in planner.classes.by_id.values():
        cached, fresh = copy(known), RequestClass(known.class_id, known.key, known.asked)
        for name in ("mask", "capacity", "column"):  # what a check brings up to date would never be found out of date
            setattr(cached, name, deepcopy(getattr(known, name)))
        if cached.capacity is not None:
            found, expected = (planner.capacities(one, capped=False).tolist() for one in (cached, fresh))
            _require(found == expected, f"{known.request}: capacities are {found} cached, {expected} scanned")
        if cached.column is not None and len(cached.column.scores) == core.ledger.free.shape[1]:
            choice, scanned = planner.choose(cached, 0), planner.choose(fresh, 0, every)
            _require(choice == scanned, f"{known.request}: the cache chooses {choice}, a scan {scanned}")


def check_liveness(core: Core) -> None:
    """Raise `InvariantError` where a queued workload would fit somewhere: nothing may wait without a reason.

    The discipline may have one, and a gang waits until there is room for all of it.
    """
    seen: set[int] = set()
    for workload in core.queue.workloads():
        if workload.class_id in seen or core.state.discipline.excuse(core.state, workload):
            continue
        seen.add(workload.class_id)
        diagnosis = core.diagnose(workload.workload_id)
        if diagnosis.fitting and workload.spec.gang:
            request_class = core.planner.classes.by_id[workload.class_id]
            plan = core.planner.dry_run(request_class, request_class.queued, core.counters.decisions)
            _require(plan.unplaced > 0, f"gang {request_class.gang} waits, but all {request_class.queued} copies fit")
        else:
            _require(not diagnosis.fitting, f"{workload.workload_id} waits, but {diagnosis}")

"""What must hold when nothing is left to happen: nothing is half done, and nothing that was removed is there.

Whoever waits cannot be placed: that must hold at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eru_sim.fuzz.model.fitting import surely_fits
from eru_sim.fuzz.model.records import Operation, Violation, Work, require
from eru_sim.fuzz.model.state import State
from scheduler.events import StartRequested

Running = Mapping[tuple[str, int], str]
"""By workload and generation, the machine that it really runs on."""


def check_rest(state: State, running: Running, foreign: Collection[str]) -> None:
    """At rest, with faults over; ``foreign`` runs without anybody having started it."""
    for work in state.work.values():
        is_done = work.state in ("running", "queued", "stopped") and work.update is None and not work.rollout
        require(is_done, f"{work.workload_id} is {work.state} for ever", work.workload_id)
        if work.state == "running":
            is_there = running.get((work.workload_id, work.generation)) == work.node_id
            require(is_there, f"{work.workload_id} runs on {work.node_id} in the books alone", work.workload_id)
    for name, _ in state.fences:
        raise Violation(f"fences are left: {list(state.fences)}", name)
    for (name, generation), node_id in running.items():
        known = state.work.get(name)
        is_known = known is not None and known.state == "running" and known.generation == generation
        is_known = is_known or node_id not in state.nodes or name in state.left_running or name in foreign
        require(is_known, f"{name} generation {generation} runs on {node_id}, unknown to all", name)
    for operation_id, operation in state.operations.items():
        _check_operation(state, operation_id, operation)
    check_queue(state)


def check_empty(state: State) -> None:
    """At rest, after everything was removed."""
    for name in [*state.work, *(name for name, _ in state.fences)]:
        raise Violation(f"{name} cannot be removed", name)
    for operation_id, operation in state.operations.items():
        require(operation.state != "open", f"operation {operation_id} is never done", operation_id)


def _check_operation(state: State, operation_id: str, operation: Operation) -> None:
    is_told = operation.state != "refused" or not operation.expected
    require(is_told, f"operation {operation_id} made no sense, and nobody says so", operation_id)
    if operation.state != "open":
        return
    event, waiting = operation.event, [w for w in state.work.values() if w.state in ("queued", "stopped")]
    if isinstance(event, StartRequested):
        may = any(work.workload_id == event.workload_id and work.state == "queued" for work in waiting)
    else:
        may = any(work.spec.operation_id == operation_id for work in waiting)
    require(may, f"operation {operation_id} is never done", operation_id)


def check_queue(state: State) -> None:
    """Whoever waits cannot be placed, by counting: after any batch, unless nodes may be closed for all but one."""
    waiting = [work for work in state.work.values() if work.state == "queued"]
    if not waiting:
        return
    if state.queue in ("fcfs", "easy", "conservative"):
        waiting = [min(waiting, key=lambda w: (0 if state.queue == "fcfs" else -w.spec.priority, w.sequence))]
    for work in waiting:
        gang = state.gang(work.spec)
        if any(member.is_coming for member in gang):
            continue
        need = sum(1 for member in gang if member.state == "queued") if gang else 1
        if any(left < need * number for left, number in _licences(state, work)):
            continue
        if state.over_quota(work.spec, need):
            continue
        avoided = {node_id for member in gang for node_id in member.avoided}  # a gang avoids what one of it avoids
        nodes = [node for node in state.nodes.values() if node.node_id not in avoided]
        room = {node.node_id: surely_fits(state, work, node) for node in nodes}
        where = ", ".join(f"{name} ({copies})" for name, copies in room.items() if copies)
        is_short = sum(room.values()) < max(1, need)
        require(is_short, f"{work.workload_id} waits, but there is room for it: {where}", work.workload_id)


def _licences(state: State, work: Work) -> list[tuple[int, int]]:
    """How many are left of each licence that a workload wants, and how many it wants."""
    asked = (work.spec.payloads or {}).get("licences") or {}
    return [(state.licences_used()[name][1], number) for name, number in asked.items()]

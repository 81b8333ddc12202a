"""The books of a node against what its work adds up to: find differences, and put them right."""

from __future__ import annotations

from scheduler.ledger import Claim
from scheduler.state import CoreState
from scheduler.types import NodeIndex


def held_on(state: CoreState, row: NodeIndex) -> Claim:
    """Everything that workloads and fences hold on a row, added up from scratch."""
    total = Claim((0,) * state.ledger.dimension_count)
    for workload in state.on_row[row].values():
        total = total.plus(state.claim_of(workload))
    for fence in state.fences.on_row(row):
        total = total.plus(fence.claim)
    return total


def differences(state: CoreState, row: NodeIndex) -> list[str]:
    """One line for each amount on which the books and the work differ: dimensions first, then slots by plugin."""
    held = held_on(state, row)
    lines = [
        f"{name}: {used} is used in the books, {amount} is held by workloads"
        for name, used, amount in zip(state.dimension_names, state.ledger.used(row), held.request, strict=True)
        if used != amount
    ]
    for plugin, table in state.ledger.slots.items():
        booked, found = table.held(row), held.slots.get(plugin, {})
        lines += [
            f"{plugin}.{slot}: {booked.get(slot, 0)} is used in the books, {found.get(slot, 0)} is held by workloads"
            for slot in {**booked, **found}
            if booked.get(slot, 0) != found.get(slot, 0)
        ]
    return lines


def fix(state: CoreState, row: NodeIndex) -> list[str]:
    """Book what is held; return the differences that there were. Capacities are not touched."""
    lines = differences(state, row)
    if lines:
        held = held_on(state, row)
        booked = {plugin: table.held(row) for plugin, table in state.ledger.slots.items()}
        slots = {plugin: amounts for plugin, amounts in booked.items() if amounts}
        state.ledger.drop(row, Claim(state.ledger.used(row), slots=slots))
        state.ledger.hold(row, Claim(held.request, slots=held.slots), as_found=True)
    return lines

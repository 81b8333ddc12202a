"""Columns of slots for exact plugins, and slow, obvious answers to check the GPU plugin against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any, cast

import numpy as np

from scheduler.ports import Assignment, Inventory, NodeColumns, NodeFacts, NodeSlots, SlotColumns

NO_FACTS = cast(NodeFacts, None)
"""For plugins that look at no facts."""


def columns_of(inventories: Sequence[Inventory], rows: Sequence[tuple[int, Sequence[int]]]) -> NodeColumns:
    """Return columns without dimensions; ``rows`` give the inventory's index (-1 for none) and the free amounts."""
    width = max((len(inventory.slots) for inventory in inventories), default=0) + 1
    free = np.zeros((len(rows), width), dtype=np.int64)
    for row, (_, amounts) in enumerate(rows):
        free[row, : len(amounts)] = amounts
    inventory_ids = np.array([inventory_id for inventory_id, _ in rows], dtype=np.int64)
    nothing = np.zeros((0, len(rows)), dtype=np.int64)
    return NodeColumns(
        dimensions=(),
        rows=np.arange(len(rows), dtype=np.int64),
        free=nothing,
        total=nothing,
        reference=np.zeros(0, dtype=np.int64),
        slots=SlotColumns(inventories, inventory_ids, free),
    )


def taken_from(node: NodeSlots, assignments: Sequence[Assignment]) -> NodeSlots:
    """Return the node after all the assignments; fails where they do not fit."""
    free = dict(zip(node.inventory.slots, node.free, strict=True))
    for assignment in assignments:
        for slot, amount in assignment.amounts.items():
            assert amount > 0
            free[slot] -= amount
            assert free[slot] >= 0, (slot, assignment)
    return NodeSlots(node.inventory, list(free.values()))


def copy_of(node: NodeSlots) -> NodeSlots:
    return NodeSlots(node.inventory, list(node.free))


def device_units(group: Mapping[str, Any], devices: Sequence[Mapping[str, Any]], free: Mapping[str, int]) -> list[int]:
    """How often the group's share can be taken from each device."""
    units = []
    for device in devices:
        left, memory_left, number = free[device["id"]], free.get(device["id"] + "/memory", 0), 0
        suits = not group["models"] or device["model"] in group["models"]
        if group["milli"] == 1000:
            is_untouched = left == 1000 and memory_left == device["memory"]
            number = int(suits and is_untouched and memory_left >= group["memory"])
        elif suits:
            while left >= group["milli"] and memory_left >= group["memory"]:
                left, memory_left, number = left - group["milli"], memory_left - group["memory"], number + 1
        units.append(number)
    return units


@cache
def most_sets(units: tuple[int, ...], count: int) -> int:
    """The most sets of ``count`` distinct devices that can be formed one after the other: every way is tried."""
    best = 0
    available = [device for device, number in enumerate(units) if number]
    for chosen in combinations(available, count):
        left = tuple(sorted(number - (device in chosen) for device, number in enumerate(units)))
        best = max(best, 1 + most_sets(left, count))
    return best

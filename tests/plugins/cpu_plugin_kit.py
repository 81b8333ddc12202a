"""One node, or a few, as the framework shows them to the cpu plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from scheduler.plugins.cpu import CpuPlugin
from scheduler.plugins.cpu_plans import (
    CoreOrder,
    Cores,
    Held,
    PlanRequest,
    cpu_pieces,
    exact_cpu,
    id_order,
    iterate_plans,
)
from scheduler.ports import Assignment, Inventory, NodeColumns, NodeFacts, NodeSlots, SlotColumns

NO_FACTS = cast(NodeFacts, None)
GIB = 1 << 30


def node_slots(plugin: CpuPlugin, payload: Any, capacity: dict[str, int] | None = None, **free: int) -> NodeSlots:
    """A node with nothing on it, but for the free amounts given: ``core_3=30`` or ``numa_1=100``."""
    inventory = plugin.inventory(payload, capacity or {}, {})
    assert inventory is not None
    node = NodeSlots(inventory, list(inventory.total))
    for name, amount in free.items():
        kind, _, identifier = name.partition("_")
        slot = identifier if kind == "core" else f"numa_memory/{identifier}"
        node.free[inventory.slots.index(slot)] = amount
    return node


def take(node: NodeSlots, assignment: Assignment, sign: int = -1) -> None:
    """Take an assignment out of what is free (give it back with ``sign`` 1), as the framework would."""
    for slot, amount in assignment.amounts.items():
        at = node.inventory.slots.index(slot)
        node.free[at] += sign * amount
        assert node.free[at] >= 0 or slot in node.inventory.counted, f"{slot} is granted twice"


def columns(
    plugin: CpuPlugin, nodes: Sequence[NodeSlots | None], memory: Sequence[tuple[int, int]] = ()
) -> NodeColumns:
    """Some nodes as columns; None is one without an inventory. ``memory`` is (free, total) by node."""
    inventories: list[Inventory] = []
    ids = []
    for node in nodes:
        if node is not None and node.inventory not in inventories:
            inventories.append(node.inventory)
        ids.append(-1 if node is None else inventories.index(node.inventory))
    width = max([len(inventory.slots) for inventory in inventories], default=0)
    free = np.zeros((len(nodes), width), dtype=np.int64)
    for row, node in enumerate(nodes):
        if node is not None:
            free[row, : len(node.free)] = node.free
    amounts = np.array(list(memory) or [(0, 0)] * len(nodes), dtype=np.int64).reshape(-1, 2).T
    return NodeColumns(
        plugin.dimensions,
        np.arange(len(nodes)),
        np.ascontiguousarray(amounts[:1]),
        np.ascontiguousarray(amounts[1:]),
        np.maximum(amounts[1:].max(axis=1), 1),
        SlotColumns(inventories, np.array(ids, dtype=np.int64), free),
    )


def capacities(plugin: CpuPlugin, request: Any, nodes: Sequence[NodeSlots | None]) -> list[int]:
    """What the plugin says of each node."""
    return [int(count) for count in plugin.capacity(request, columns(plugin, nodes), NO_FACTS)]


def cores_of(assignment: Assignment | None) -> dict[str, int]:
    """The pieces by core of an assignment."""
    assert assignment is not None, "it does not fit"
    return {slot: amount for slot, amount in assignment.amounts.items() if slot.isdigit()}


class CpuPlan(NamedTuple):
    """The pieces that one workload takes, by core id; ``numa`` is the NUMA node that it lies in, None for across."""

    cores: dict[str, int]
    numa: str | None


def plans(
    free: Mapping[str, int],
    cpu: float | str,
    *,
    share_base: int = 100,
    max_share: int = -1,
    core_order: CoreOrder = "number",
    held: Mapping[str, int] | None = None,
    held_numa: str | None = None,
    numa: Mapping[str, str] | None = None,
    numa_memory: Mapping[str, int] | None = None,
    memory_request: int = 0,
) -> list[CpuPlan]:
    """All of `iterate_plans`, by ids. ``numa`` says of cores which NUMA node they are in."""
    core_ids = sorted(free, key=lambda core: id_order(core, core_order))
    numa_of = numa or {}
    numa_ids = sorted(set(numa_of.values()), key=lambda numa_id: id_order(numa_id, core_order))
    cores = Cores(
        [free[core] for core in core_ids],
        [[position for position, core in enumerate(core_ids) if numa_of.get(core) == node] for node in numa_ids],
        [(numa_memory or {}).get(node, 0) for node in numa_ids],
    )
    request = PlanRequest(cpu_pieces(exact_cpu(cpu, "cpu"), share_base), share_base, max_share, memory_request)
    held_cores = {core_ids.index(core): pieces for core, pieces in (held or {}).items() if core in free}
    held_nodes = [numa_ids.index(held_numa)] if held_numa in numa_ids else []
    return [
        CpuPlan(
            {core_ids[core]: pieces for core, pieces in plan.cores.items()},
            numa_ids[plan.numa[0]] if plan.numa else None,
        )
        for plan in iterate_plans(cores, request, Held(held_cores, held_nodes))
    ]

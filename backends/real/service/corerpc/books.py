"""What is held and what there is, as Eru's plugins write it: JSON by plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from scheduler.ports import Assignment, Inventory

_WHOLE_GPU = 1000
_REQUESTED = "requested"
_NUMA_MEMORY = "numa_memory/"
_IO_KINDS = {"read_iops": "read_IOPS", "write_iops": "write_IOPS", "read_bps": "read_bps", "write_bps": "write_bps"}
_encode = msgspec.json.Encoder(order="sorted").encode


class NodeBooks(NamedTuple):
    """What one node has, and how much of it is used: by dimension; by exact plugin, amounts aligned with the slots."""

    capacity: Mapping[str, int]
    used: Mapping[str, int]
    inventories: Mapping[str, Inventory]
    slots_used: Mapping[str, Sequence[int]]


def node_capacity(books: NodeBooks) -> str:
    """``Node.resource_capacity``."""
    amounts = {name: inventory.total for name, inventory in books.inventories.items()}
    return _node(books.capacity, books.inventories, amounts)


def node_usage(books: NodeBooks) -> str:
    """``Node.resource_usage``."""
    return _node(books.used, books.inventories, books.slots_used)


def workload_resources(
    request: Mapping[str, int], payloads: Mapping[str, Any], assignments: Mapping[str, Assignment]
) -> str:
    """``Workload.resources``: what it asked, and what it holds. Payloads are as the plugins have parsed them."""
    wire: dict[str, Any] = {}
    for name, payload in payloads.items():
        writer = _WORKLOAD_WRITERS.get(name)
        held = assignments.get(name)
        wire["cpumem" if name == "cpu" else name] = payload if writer is None else writer(payload, held)
    if "cpu" not in payloads and ("cpu" in request or "memory" in request):
        cores, memory = request.get("cpu", 0) / 1000, request.get("memory", 0)
        wire["cpumem"] = {"cpu_request": cores, "cpu_limit": 0.0, "memory_request": memory, "memory_limit": 0}
    for name, amount in request.items():
        if name not in ("cpu", "memory", "storage"):
            wire.setdefault(name, amount)
    return _encode(wire).decode()


def _node(
    dimensions: Mapping[str, int], inventories: Mapping[str, Inventory], amounts: Mapping[str, Sequence[int]]
) -> str:
    wire: dict[str, Any] = {}
    for name, inventory in inventories.items():
        slots = dict(zip(inventory.slots, amounts[name], strict=True))
        writer = _NODE_WRITERS.get(name)
        written = slots if writer is None else writer(slots, inventory, dimensions)
        wire["cpumem" if name == "cpu" else name] = written
    if "cpu" not in inventories and ("cpu" in dimensions or "memory" in dimensions):
        wire["cpumem"] = {"cpu": dimensions.get("cpu", 0) / 1000, "memory": dimensions.get("memory", 0)}
    for name, amount in dimensions.items():
        if name not in ("cpu", "memory", "storage"):
            wire.setdefault(name, amount)
    return _encode(wire).decode()


def _cpu_node(slots: Mapping[str, int], inventory: Inventory, dimensions: Mapping[str, int]) -> dict[str, Any]:
    layout, names = inventory.layout, inventory.slots
    count = layout["core_count"]
    base = inventory.total[names.index(_REQUESTED)] / count if count else 1
    return {
        "cpu": slots[_REQUESTED] / base,
        "cpu_map": {core: slots[core] for core in names[:count]},
        "memory": dimensions.get("memory", 0),
        "numa_memory": {numa_id: slots[_NUMA_MEMORY + numa_id] for numa_id in layout["numa_ids"]},
        "numa": {
            names[core]: numa_id
            for numa_id, cores in zip(layout["numa_ids"], layout["numa_cores"], strict=True)
            for core in cores
        },
    }


def _storage_node(slots: Mapping[str, int], inventory: Inventory, dimensions: Mapping[str, int]) -> dict[str, Any]:
    layout = inventory.layout
    mounts: dict[int, list[str]] = {}
    for path, disk in layout["mounts"]:
        mounts.setdefault(disk, []).append(path)
    return {
        "volumes": {device: slots[f"volume:{device}"] for device in layout["devices"]},
        "disks": [
            {
                "device": disk,
                "mounts": mounts.get(number, []),
                **{wire: slots[f"disk:{disk}:{kind}"] for kind, wire in _IO_KINDS.items()},
            }
            for number, disk in enumerate(layout["disks"])
        ],
        "storage": dimensions.get("storage", 0),
    }


def _gpu_node(slots: Mapping[str, int], inventory: Inventory, dimensions: Mapping[str, int]) -> dict[str, Any]:
    cards: dict[str, float] = {}
    for device, model in zip(inventory.slots, inventory.layout["models"], strict=False):
        cards[model] = cards.get(model, 0) + slots[device] / _WHOLE_GPU
    return {"prod_count_map": {model: _plain(count) for model, count in cards.items()}}


def _cpu_workload(payload: Mapping[str, Any], held: Assignment | None) -> dict[str, Any]:
    amounts = held.amounts if held is not None and payload["bind"] else {}
    return {
        "cpu_request": float(payload["cpu_request"]),
        "cpu_limit": float(payload["cpu_limit"]),
        "memory_request": payload["memory_request"],
        "memory_limit": payload["memory_limit"],
        "cpu_map": {core: pieces for core, pieces in amounts.items() if core.isdigit()},
        "numa_memory": {
            slot.removeprefix(_NUMA_MEMORY): amount for slot, amount in amounts.items() if slot.startswith(_NUMA_MEMORY)
        },
        "numa_node": held.detail["numa"] if held is not None and held.detail else "",
    }


def _storage_workload(payload: Mapping[str, Any], held: Assignment | None) -> dict[str, Any]:
    plan = {
        f"{volume['source']}:{volume['destination']}:{volume['flags']}:{volume['bytes']}": {
            volume["source"]: volume["bytes"]
        }
        for volume in (held.detail if held is not None else None) or ()
    }
    return {
        "volumes_request": payload["volumes"],
        "volumes_limit": payload["volume_limits"],
        "volume_plan_request": plan,
        "storage_request": payload["storage"],
        "storage_limit": payload["storage_limit"],
    }


def _gpu_workload(payload: Mapping[str, Any], held: Assignment | None) -> dict[str, Any]:
    cards: dict[str, int] = {}
    for group in payload["groups"]:
        if len(group["models"]) == 1 and group["milli"] == _WHOLE_GPU:
            model = group["models"][0]
            cards[model] = cards.get(model, 0) + group["count"]
    devices = held.detail["devices"] if held is not None and held.detail else []
    return {"prod_count_map": cards, "groups": payload["groups"], "devices": devices}


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number


_NODE_WRITERS = {"cpu": _cpu_node, "storage": _storage_node, "gpu": _gpu_node}
_WORKLOAD_WRITERS = {"cpu": _cpu_workload, "storage": _storage_workload, "gpu": _gpu_workload}

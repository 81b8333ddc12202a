"""GPUs: which devices a workload holds, whole or in thousandths, and how they are linked."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from scheduler.gpu_policies import TAGS, tag_of
from scheduler.plugins.payloads import is_same, mapping, member, sequence, shown, size, text, whole
from scheduler.ports import (
    COPIES_MAX,
    UNLIMITED,
    Assignment,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeFacts,
    NodeSlots,
    Usage,
)
from scheduler.types import Int64Array

WHOLE = 1000
"""Milli of a whole device."""

_DEVICES_MAX = 1024
_MEMORY_SUFFIX = "/memory"


class Group(TypedDict):
    """``count`` distinct devices of one of ``models`` ([] for any), ``milli`` and ``memory`` (bytes) of each."""

    count: int
    milli: int
    models: list[str]
    memory: int


class Layout(TypedDict):
    """By device, in order: its model, the position of its memory among the slots (-1 for none), its island."""

    models: list[str]
    memory_slots: list[int]
    islands: list[int]


class _Device(NamedTuple):
    id: str
    model: str
    memory: int = 0
    island: str = ""


class GpuPlugin(ExactPlugin):
    """Devices with models, memory, sharing and topology.

    Parameter: ``unasked_capacity``, the capacity for a request that asks for no device; None for no limit.

    Slots: ``<device id>``, 1000 milli each, in the order given; then ``<device id>/memory`` in bytes for those devices
    whose memory is known. Sizes are those of `scheduler.plugins.payloads`.

    A node says one of:

    * ``{"devices": [{"id": "0", "model": "V100", "memory": "32G", "numa": 0, "link": "a"}, ...]}``; only id and model
      are required. Devices of one link form an *island*, those without a link one for each NUMA node, the rest one
      more.
    * ``{"model": "V100", "count": 8, "memory": "32G", "islands": [[0, 1, 2, 3], [4, 5, 6, 7]]}``; ids count from "0".
    * ``{"prod_count_map": {"V100": 4, "T4": 2}}``; ids are ``T4-0``, ``T4-1``, ``V100-0``, ..., models sorted.
    * nothing: if it has the label ``gpu_model`` and an amount of the dimension "gpu" in milli, it has that many whole
      devices of that model; otherwise none.

    A workload says one of:

    * ``{"count": 2, "milli": 500, "models": ["V100", "P100"], "memory": "8G"}``: that much of each of so many distinct
      devices of any of the models. By default 1 device, 1000 milli, any model, no memory.
    * ``{"prod_count_map": {"V100": 1, "T4": 2}}``: whole devices of every one of the models.
    * ``{"groups": [...]}``: several of the first form at once, which is the canonical form. Devices are distinct within
      a group; groups of less than whole devices may meet on one. Groups with the fewest models are served first.

    A whole device must be free altogether and is taken with all its memory; ``memory`` then says how large it has to be
    at least. A shared device gives the memory that is asked. A device whose memory is not known has none.

    Which devices: one shared device is the fitting one with the least milli left. Several shared devices are those with
    room for the most further copies, then the most milli left, so that the number of copies is the largest possible.
    Whole devices come from the island with the fewest free ones that has enough; where none has, all of the island with
    the most, and the others by the same rule. All ties go to the first island or device.
    """

    name = "gpu"
    engine_keys = ("gpu_devices", "gpu_milli")
    examples = ({"count": 2}, {"milli": 300, "models": ["T4"]}, {"prod_count_map": {"T4": 1, "V100": 1}})
    node_examples = ({"model": "T4", "count": 4, "memory": "16G"}, {"prod_count_map": {"T4": 1, "V100": 2}})

    def __init__(self, unasked_capacity: int | None = None) -> None:
        if unasked_capacity is not None:
            whole("gpu.unasked_capacity", unasked_capacity, 0)
        self.unasked_capacity = unasked_capacity
        self._sized: tuple[Sequence[Inventory], int, bool] = ((), 0, False)
        """Inventories, how many there were, and whether the memory of any device among them is known."""

    def parse(self, payload: Any) -> dict[str, list[Group]]:
        """Return ``{"groups": [...]}`` with every field, fewest models first, without groups of no devices."""
        mapping("gpu", payload)
        if "groups" in payload:
            mapping("gpu", payload, ("groups",))
            given = sequence("gpu.groups", payload["groups"])
            groups = [_parse_group(f"gpu.groups[{index}]", group) for index, group in enumerate(given)]
        elif "prod_count_map" in payload:
            groups = [_group(cards, models=[model]) for model, cards in _parse_cards(payload, 0).items()]
        else:
            groups = [_parse_group("gpu", payload)] if payload else []
        return {"groups": sorted((group for group in groups if group["count"]), key=_group_order)}

    def merge(self, request: Any, change: Any) -> dict[str, list[Group]]:
        """Add ``change`` to the request: ``count``, ``milli`` and ``memory`` of its only group, or cards by model.

        Sums below 0 become 0, and what has no device or no milli left is gone. Cards are added to the first group of
        whole devices of just that model, and are a new group where there is none. Where nothing was asked, a device is
        whole unless the change says otherwise.
        """
        mapping("gpu", change)
        groups: list[Group] = request["groups"]
        if "prod_count_map" in change:
            return self.parse({"groups": _with_cards(groups, _parse_cards(change, -UNLIMITED))})
        mapping("gpu", change, ("count", "milli", "memory"))
        if len(groups) > 1:
            raise ValueError(f"gpu.groups: {len(groups)} groups; change them by prod_count_map or replace the workload")
        held = groups[0] if groups else _group(0, milli=0 if "milli" in change else WHOLE)
        merged = Group(
            count=max(0, held["count"] + whole("gpu.count", change.get("count", 0), -UNLIMITED)),
            milli=max(0, held["milli"] + whole("gpu.milli", change.get("milli", 0), -UNLIMITED)),
            models=held["models"],
            memory=max(0, held["memory"] + size("gpu.memory", change.get("memory", 0), -UNLIMITED)),
        )
        return self.parse({"groups": [merged] if merged["milli"] else []})

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """One slot a device and one for each memory that is known; None without devices."""
        devices = _labelled_devices(capacity, labels) if payload is None else _parse_devices(payload)
        if not devices:
            return None
        islands = list(dict.fromkeys(device.island for device in devices))
        sized = [device for device in devices if device.memory]
        slots = (*(device.id for device in devices), *(device.id + _MEMORY_SUFFIX for device in sized))
        memory_slots = {device.id: len(devices) + index for index, device in enumerate(sized)}
        layout = Layout(
            models=[device.model for device in devices],
            memory_slots=[memory_slots.get(device.id, -1) for device in devices],
            islands=[islands.index(device.island) for device in devices],
        )
        total = (*(WHOLE for _ in devices), *(device.memory for device in sized))
        return Inventory(slots=slots, total=total, layout=layout)

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> Any:
        """Put ``change`` in place, or add its ``count`` or ``prod_count_map`` to a payload of the same form.

        The devices with the highest numbers go first, and what is added comes after the last.
        """
        changed = _with_difference(payload, change) if is_delta else change
        if changed is not None:
            _parse_devices(changed)
        return changed

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array:
        """At most `COPIES_MAX`; without simulation unless several groups compete for the same models."""
        assert nodes.slots is not None, "the framework gives an exact plugin its slots"
        groups: list[Group] = request["groups"]
        if not groups:
            unasked = UNLIMITED if self.unasked_capacity is None else self.unasked_capacity
            return np.full(len(nodes.rows), unasked, dtype=np.int64)
        if not _are_independent(groups):
            simulated = super().capacity(request, nodes, facts)
            assert simulated is not None, "an exact plugin counts"
            return simulated
        if len(groups) == 1 and self._is_anywhere(groups[0], nodes.slots.inventories):
            units = np.maximum(nodes.slots.free // groups[0]["milli"], 0)
            return np.minimum(_copies(units, groups[0]["count"]), COPIES_MAX)
        copies = np.zeros(len(nodes.rows), dtype=np.int64)
        for inventory_id in np.unique(nodes.slots.inventory_ids).tolist():
            if inventory_id >= 0:
                alike = np.flatnonzero(nodes.slots.inventory_ids == inventory_id)
                inventory, free = nodes.slots.inventories[inventory_id], nodes.slots.free[alike]
                by_group = [_copies(_unit_columns(group, inventory, free), group["count"]) for group in groups]
                copies[alike] = np.min(by_group, axis=0)
        return np.minimum(copies, COPIES_MAX)

    def _is_anywhere(self, group: Group, inventories: Sequence[Inventory]) -> bool:
        """Whether any device will do that has the milli left, on all nodes: then the slots alone tell."""
        if group["models"] or group["memory"]:
            return False
        known, number, is_sized = self._sized
        if known is not inventories or number != len(inventories):
            is_sized = any(len(inventory.slots) > len(inventory.layout["models"]) for inventory in inventories)
            self._sized = inventories, len(inventories), is_sized
        return not is_sized

    def usage(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Usage:
        """Milli used and asked, as shares of all milli of the node; 0 where it has none. Memory does not count."""
        assert nodes.slots is not None, "the framework gives an exact plugin its slots"
        devices = np.array([len(inventory.layout["models"]) for inventory in nodes.slots.inventories] + [0])
        counts = devices[nodes.slots.inventory_ids]  # -1 picks the last
        total = counts * WHOLE
        is_device = np.arange(nodes.slots.free.shape[1]) < counts[:, np.newaxis]
        used = total - np.where(is_device, nodes.slots.free, 0).sum(axis=1)
        asked = sum(group["count"] * group["milli"] for group in request["groups"])
        divisor = np.maximum(total, 1)
        return Usage(usage=used / divisor, rate=np.where(total > 0, float(asked), 0.0) / divisor)

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """Choose devices as the class says. ``detail["devices"]`` lists their ids, group by group."""
        groups: list[Group] = request["groups"]
        if not groups:
            return [Assignment(amounts={})] * count
        if not node.inventory.slots:
            return []
        if _are_independent(groups):
            by_group = [_sets(group, node, _units(group, node), count) for group in groups]
            return [_grant(groups, chosen, node.inventory) for chosen in zip(*by_group, strict=False)]
        granted: list[Assignment] = []
        while len(granted) < count and (chosen := _one_copy(groups, node, ())) is not None:
            granted.append(_grant(groups, chosen, node.inventory))
        return granted

    def assign_preferring(self, request: Any, node: NodeSlots, preferred: Sequence[str]) -> Assignment | None:
        """Every group takes the first devices that suit it, in the order of ``preferred``, then of the node."""
        groups: list[Group] = request["groups"]
        if not groups or not node.inventory.slots:
            return super().assign_preferring(request, node, preferred)
        rank = {slot: place for place, slot in enumerate(preferred)}
        left = NodeSlots(node.inventory, list(node.free))
        chosen = []
        for group in groups:
            fitting = sorted(_units(group, left), key=lambda device: rank.get(node.inventory.slots[device], len(rank)))
            if len(fitting) < group["count"]:
                return super().assign_preferring(request, node, preferred)
            chosen.append(fitting[: group["count"]])
            for device in chosen[-1]:
                for position, amount in _takings(group, node.inventory, device):
                    left.free[position] -= amount
        return _grant(groups, chosen, node.inventory)

    def marks(self, request: Any) -> list[tuple[str, str]]:
        """What kind of GPU work it is, in the family "gpu": "share" for a part of one device, "k-gpu" for k devices."""
        groups: list[Group] = request["groups"]
        return [(TAGS, tag_of(groups))] if groups else []

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        """Keep the devices that still fit, in order; new whole ones come from the islands of those kept, if possible.

        Where competing groups do not all fit that way, nothing is kept.
        """
        groups: list[Group] = request["groups"]
        if not groups or not node.inventory.slots:
            return super().reassign(request, node, held, held_request)
        positions = {slot: position for position, slot in enumerate(node.inventory.slots)}
        held_ids: Sequence[str] = held.detail["devices"] if held.detail else ()
        held_devices = [positions[device_id] for device_id in held_ids if device_id in positions]
        chosen = _one_copy(groups, NodeSlots(node.inventory, list(node.free)), held_devices)
        if chosen is None:
            return super().reassign(request, node, held, held_request)
        return _grant(groups, chosen, node.inventory)

    def check_assignment(self, request: Any, inventory: Inventory, assignment: Assignment) -> None:
        """As many different devices as every group asks, of its models and with its memory; amounts to match."""
        expected = Assignment(amounts={})
        if request["groups"]:
            expected = _grant(request["groups"], _chosen(request["groups"], inventory, assignment.detail), inventory)
        for field in ("detail", "amounts"):
            value, wanted = getattr(assignment, field), getattr(expected, field)
            if not is_same(value, wanted):
                raise ValueError(f"gpu.{field}: {shown(value)} is not what is asked; that is {shown(wanted)}")

    def engine_args(self, request: Any, assignment: Assignment | None, shared: Any) -> Mapping[str, Any]:
        """The ids, and the milli of each, group by group; nothing where no device is held."""
        if assignment is None or not assignment.detail:
            return {}
        milli = [group["milli"] for group in request["groups"] for _ in range(group["count"])]
        return {"gpu_devices": list(assignment.detail["devices"]), "gpu_milli": milli}


def _group(count: int, milli: int = WHOLE, models: Sequence[str] = (), memory: int = 0) -> Group:
    return Group(count=count, milli=milli, models=sorted(set(models)), memory=memory)


def _group_order(group: Group) -> tuple[bool, int, list[str], int, int, int]:
    models = group["models"]
    return not models, len(models), models, -group["milli"], -group["count"], -group["memory"]


def _are_independent(groups: Sequence[Group]) -> bool:
    """Whether no device suits two of the groups, whatever the node."""
    if len(groups) == 1:
        return True
    models = [model for group in groups for model in group["models"]]
    return all(group["models"] for group in groups) and len(models) == len(set(models))


# What fits


def _candidates(group: Group, inventory: Inventory) -> list[int]:
    """The devices that suit, in order, no matter what is taken of them."""
    layout: Layout = inventory.layout
    if not group["models"] and not group["memory"]:
        return list(range(len(layout["models"])))
    total = (*inventory.total, 0)  # -1, no memory, picks the last
    return [
        device
        for device, (model, memory_slot) in enumerate(zip(layout["models"], layout["memory_slots"], strict=True))
        if (not group["models"] or model in group["models"]) and total[memory_slot] >= group["memory"]
    ]


def _units(group: Group, node: NodeSlots) -> dict[int, int]:
    """How often the group's share of a device can be taken from each candidate: at least once."""
    milli, memory = group["milli"], group["memory"]
    inventory, free = node
    memory_slots, total = inventory.layout["memory_slots"], inventory.total
    units = {}
    for device in _candidates(group, inventory):
        left, slot = free[device], memory_slots[device]
        if milli == WHOLE:
            number = int(left == WHOLE and (slot < 0 or free[slot] == total[slot]))
        else:
            number = left // milli
            if memory:
                number = min(number, free[slot] // memory)
        if number > 0:
            units[device] = number
    return units


def _unit_columns(group: Group, inventory: Inventory, free: Int64Array) -> Int64Array:
    """`_units` for all rows of ``free`` (rows, slots): an array (rows, candidates)."""
    candidates = _candidates(group, inventory)
    memory_slots = [inventory.layout["memory_slots"][device] for device in candidates]
    units: Int64Array = free[:, candidates] // group["milli"]
    if group["milli"] == WHOLE:
        for column, memory_slot in enumerate(memory_slots):
            if memory_slot >= 0:
                units[:, column] *= free[:, memory_slot] == inventory.total[memory_slot]
    elif group["memory"]:
        units = np.minimum(units, free[:, memory_slots] // group["memory"])
    return np.maximum(units, 0)


def _copies(units: Int64Array, count: int) -> Int64Array:
    """The most copies of ``count`` distinct devices each, by row of ``units`` (rows, devices).

    A device serves a copy at most once. So j devices can give t copies j t units at most, and the others have to give
    the rest: t is at most (sum of the others) // (count - j), tightest for the j with the most units. The least of
    these bounds over j < count is reached by always taking the devices with the most units left (`_widest_sets`).
    """
    others: Int64Array = np.add.reduce(units, axis=1)
    copies: Int64Array = others // count
    if count > 1:
        falling = -np.sort(-units, axis=1)
        for index in range(min(count - 1, units.shape[1])):
            others = others - falling[:, index]
            copies = np.minimum(copies, others // (count - index - 1))
    return copies


# Which devices


def _sets(group: Group, node: NodeSlots, units: Mapping[int, int], most: int) -> list[list[int]]:
    """The devices of up to ``most`` copies of the group, in the order in which they are to be used."""
    if group["milli"] == WHOLE:
        return _linked_sets(list(units), node.inventory.layout["islands"], group["count"], most)
    if group["count"] == 1:
        return _fullest_devices(units, node.free, most)
    return _widest_sets(group, units, node.free, most)


def _linked_sets(free_devices: list[int], islands: Sequence[int], count: int, most: int) -> list[list[int]]:
    sets: list[list[int]] = []
    while len(free_devices) >= count and len(sets) < most:
        sets.append(_linked_set(free_devices, islands, count))
        free_devices = [device for device in free_devices if device not in sets[-1]]
    return sets


def _linked_set(free_devices: Sequence[int], islands: Sequence[int], count: int) -> list[int]:
    """``count`` of at least as many devices, in order, from as few islands as possible."""
    members: dict[int, list[int]] = {island: [] for island in sorted({islands[device] for device in free_devices})}
    for device in free_devices:
        members[islands[device]].append(device)
    chosen: list[int] = []
    while True:
        missing = count - len(chosen)
        sufficient = [devices for devices in members.values() if len(devices) >= missing]
        if sufficient:
            return sorted(chosen + min(sufficient, key=len)[:missing])
        largest = max(members, key=lambda island: len(members[island]))
        chosen += members.pop(largest)


def _fullest_devices(units: Mapping[int, int], free: Sequence[int], most: int) -> list[list[int]]:
    """One device each: the one with the least left stays it until it is used up."""
    sets: list[list[int]] = []
    for device in sorted(units, key=lambda device: (free[device], device)):
        sets += [[device]] * min(units[device], most - len(sets))
    return sets


def _widest_sets(group: Group, units: Mapping[int, int], free: Sequence[int], most: int) -> list[list[int]]:
    """Several devices each, always those with the most units left; ties to the most milli left."""
    heap = [(-number, -free[device], device) for device, number in units.items()]
    heapq.heapify(heap)
    sets: list[list[int]] = []
    while len(heap) >= group["count"] and len(sets) < most:
        taken = [heapq.heappop(heap) for _ in range(group["count"])]
        sets.append(sorted(device for _, _, device in taken))
        for number, milli, device in taken:
            if number < -1:
                heapq.heappush(heap, (number + 1, milli + group["milli"], device))
    return sets


def _one_copy(groups: Sequence[Group], node: NodeSlots, held: Sequence[int]) -> list[list[int]] | None:
    """The devices of one copy, held ones first, group by group; they are taken out of ``node.free``."""
    left = list(held)
    chosen = []
    for group in groups:
        units = _units(group, node)
        kept = [device for device in dict.fromkeys(left) if device in units][: group["count"]]
        for device in kept:
            left.remove(device)
        added = _additional(group, node, units, kept)
        if added is None:
            return None
        chosen.append(kept + added)
        for device in chosen[-1]:
            for position, amount in _takings(group, node.inventory, device):
                node.free[position] -= amount
    return chosen


def _additional(group: Group, node: NodeSlots, units: Mapping[int, int], kept: Sequence[int]) -> list[int] | None:
    """What the group needs besides the devices that it keeps; None where there is not enough."""
    missing = group["count"] - len(kept)
    others = {device: number for device, number in units.items() if device not in kept}
    near: list[int] = []
    if group["milli"] == WHOLE:
        islands = node.inventory.layout["islands"]
        kept_islands = {islands[device] for device in kept}
        near = [device for device in others if islands[device] in kept_islands][:missing]
        missing -= len(near)
        others = {device: number for device, number in others.items() if device not in near}
    if not missing:
        return near
    rest = _sets(_group(missing, group["milli"]), node, others, 1)
    return near + rest[0] if rest else None


def _takings(group: Group, inventory: Inventory, device: int) -> list[tuple[int, int]]:
    """What the group takes of a device: positions of slots and amounts."""
    memory_slot = inventory.layout["memory_slots"][device]
    if memory_slot < 0:
        return [(device, group["milli"])]
    memory = inventory.total[memory_slot] if group["milli"] == WHOLE else group["memory"]
    return [(device, group["milli"]), (memory_slot, memory)] if memory else [(device, group["milli"])]


def _grant(groups: Sequence[Group], chosen: Sequence[Sequence[int]], inventory: Inventory) -> Assignment:
    amounts: dict[str, int] = {}
    for group, devices in zip(groups, chosen, strict=True):
        for device in devices:
            for position, amount in _takings(group, inventory, device):
                slot = inventory.slots[position]
                amounts[slot] = amounts.get(slot, 0) + amount
    ids = [inventory.slots[device] for devices in chosen for device in devices]
    return Assignment(amounts=amounts, detail={"devices": ids})


def _chosen(groups: Sequence[Group], inventory: Inventory, detail: Any) -> list[list[int]]:
    """The devices that the detail of an assignment names, group by group; ValueError where they do not suit."""
    field = "gpu.detail.devices"
    ids = [text(field, one) for one in sequence(field, mapping("gpu.detail", detail, ["devices"]).get("devices"))]
    positions = {slot: position for position, slot in enumerate(inventory.slots)}
    count = sum(group["count"] for group in groups)
    if len(ids) != count:
        raise ValueError(f"{field}: {shown(ids)} are {len(ids)}; {count} are asked, give each of them")
    chosen: list[list[int]] = []
    for group in groups:
        named, ids = ids[: group["count"]], ids[group["count"] :]
        suitable = set(_candidates(group, inventory)) if inventory.slots else set()
        devices = [positions.get(device_id, -1) for device_id in named]
        if len(set(devices)) < len(devices) or not suitable.issuperset(devices):
            raise ValueError(f"{field}: {shown(named)} are not {len(named)} different devices that suit; name such")
        chosen.append(devices)
    return chosen


# Payloads


def _parse_group(field: str, payload: Any) -> Group:
    mapping(field, payload, ("count", "milli", "models", "memory"))
    return _group(
        count=whole(f"{field}.count", payload.get("count", 1), 0),
        milli=whole(f"{field}.milli", payload.get("milli", WHOLE), 1, WHOLE),
        models=[text(f"{field}.models", model) for model in sequence(f"{field}.models", payload.get("models", ()))],
        memory=size(f"{field}.memory", payload.get("memory", 0)),
    )


def _parse_cards(payload: Mapping[str, Any], least: int, most: int = UNLIMITED) -> dict[str, int]:
    """The value of ``prod_count_map``, sorted by model."""
    mapping("gpu", payload, ("prod_count_map",))
    cards = payload["prod_count_map"]
    field = "gpu.prod_count_map"
    return {
        text(field, model): whole(member(field, model), cards[model], least, most)
        for model in sorted(mapping(field, cards))
    }


def _with_cards(groups: Sequence[Group], cards: Mapping[str, int]) -> list[Group]:
    changed = [group.copy() for group in groups]
    for model, number in cards.items():
        found = (group for group in changed if group["milli"] == WHOLE and group["models"] == [model])
        group = next(found, None)
        if group is None:
            group = _group(0, models=[model])
            changed.append(group)
        group["count"] = max(0, group["count"] + number)
    return changed


def _parse_devices(payload: Any) -> list[_Device]:
    mapping("gpu", payload)
    if "devices" in payload:
        mapping("gpu", payload, ("devices",))
        given = sequence("gpu.devices", payload["devices"])
        devices = [_parse_device(f"gpu.devices[{index}]", device) for index, device in enumerate(given)]
    elif "prod_count_map" in payload:
        cards = _parse_cards(payload, 0, _DEVICES_MAX)
        devices = [_Device(f"{model}-{index}", model) for model, number in cards.items() for index in range(number)]
    else:
        devices = _parse_uniform_devices(payload)
    seen: set[str] = set()
    for device in devices:
        if device.id in seen or device.id.endswith(_MEMORY_SUFFIX):
            raise ValueError(f"gpu.devices: {shown(device.id)} must be unique and not end with {_MEMORY_SUFFIX!r}")
        seen.add(device.id)
    return devices


def _parse_device(field: str, payload: Any) -> _Device:
    mapping(field, payload, ("id", "model", "memory", "numa", "link"))
    link, numa = payload.get("link"), payload.get("numa")
    island = ""
    if link is not None:
        island = f"link {text(f'{field}.link', link)}"
    elif numa is not None:
        island = f"numa {whole(f'{field}.numa', numa, 0)}"
    return _Device(
        id=text(f"{field}.id", payload.get("id")),
        model=text(f"{field}.model", payload.get("model")),
        memory=size(f"{field}.memory", payload.get("memory", 0)),
        island=island,
    )


def _parse_uniform_devices(payload: Mapping[str, Any]) -> list[_Device]:
    mapping("gpu", payload, ("model", "count", "memory", "islands"))
    model = text("gpu.model", payload.get("model"))
    count = whole("gpu.count", payload.get("count"), 0, _DEVICES_MAX)
    memory = size("gpu.memory", payload.get("memory", 0))
    islands = [""] * count
    for number, members in enumerate(sequence("gpu.islands", payload.get("islands", ()))):
        for number_in_node in sequence(f"gpu.islands[{number}]", members):
            device = whole(f"gpu.islands[{number}]", number_in_node, 0, count - 1)
            if islands[device]:
                raise ValueError(f"gpu.islands[{number}]: device {device} is in another island; name each once")
            islands[device] = f"link {number}"
    return [_Device(str(index), model, memory, island) for index, island in enumerate(islands)]


def _labelled_devices(capacity: Mapping[str, int], labels: Mapping[str, str]) -> list[_Device]:
    if "gpu_model" not in labels:
        return []
    return [_Device(str(index), labels["gpu_model"]) for index in range(capacity.get("gpu", 0) // WHOLE)]


def _with_difference(payload: Any, change: Any) -> Any:
    mapping("gpu", change)
    if "prod_count_map" in change and (payload is None or "prod_count_map" in payload):
        cards = _parse_cards(payload, 0) if payload else {}
        for model, number in _parse_cards(change, -UNLIMITED).items():
            cards[model] = cards.get(model, 0) + number
        return {"prod_count_map": cards}
    if "count" in change and payload is not None and "count" in payload:
        mapping("gpu", change, ("count",))
        count = payload["count"] + whole("gpu.count", change["count"], -UNLIMITED)
        changed = {**payload, "count": count}
        if "islands" in payload:
            changed["islands"] = [[device for device in island if device < count] for island in payload["islands"]]
        return changed
    raise ValueError(
        f"gpu: a difference of {', '.join(map(str, change)) or 'nothing'} does not suit the node; give a count or"
        " prod_count_map as the node has it, or the whole"
    )

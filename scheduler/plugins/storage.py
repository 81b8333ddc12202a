"""Storage: volumes on devices, guaranteed IO of disks, and plain bytes of storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from scheduler.plugins.payloads import is_same, mapping, member, sequence, shown, size
from scheduler.plugins.volume_plans import (
    AUTO,
    IO_KINDS,
    NO_DEVICE,
    TENANTS,
    Binding,
    Placed,
    Plan,
    VolumeNode,
    disk_of_path,
    find_plans,
    mount_of_path,
    path_components,
    replan,
    split_device,
)
from scheduler.ports import (
    COPIES_MAX,
    UNLIMITED,
    Assignment,
    Dimension,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeFacts,
    NodeSlots,
    SlotColumns,
    Usage,
)
from scheduler.types import FloatArray, Int64Array

_AMOUNT_MAX = int(UNLIMITED)
_BINDING_FORM = "source:destination[:flags[:size[:read_iops:write_iops:read_bps:write_bps]]]"
_REQUEST_FIELDS = ("volumes", "volume_limits", "storage", "storage_limit")
_NODE_FIELDS = ("volumes", "disks", "storage")


class StoragePlugin(ExactPlugin):
    """Volumes and disks, as Eru's resource-storage has them; the plans are those of `scheduler.plugins.volume_plans`.

    Amounts are sizes as `scheduler.plugins.payloads` has them, e.g. 7 or "1.5G".

    Payload of a workload: ``{"volumes": [binding, ...], "volume_limits": [...], "storage": bytes, "storage_limit":
    bytes}``, all optional. A binding is ``source:destination[:flags[:size[:read_iops:write_iops:read_bps:write_bps]]]``
    with an absolute path, or nothing, or a name ending in AUTO as its source; `Binding.kind` says what it asks for. The
    limits are what the engine is told to enforce; without them, and where they are lower, they are the request.

    Payload of a node: ``{"volumes": {device: bytes}, "disks": [{"device", "mounts", "read_iops", "write_iops",
    "read_bps", "write_bps"}, ...], "storage": bytes}``. Its amount of the dimension "storage" is the sum of the last
    and of all volumes; a workload takes of it what it asks as storage and the sizes of its volumes.

    Slots: ``volume:<device>`` in bytes, then ``disk:<disk>:<io kind>`` in operations or bytes a second, then
    ``device:<device>:<disk>`` in places for volumes, of which a monopoly takes all and any other volume one, then
    ``mount:<path>:<disk>``, which counts the mounts that take IO. Each kind is sorted by device or disk. The last two
    name the disk ("" for none), so that what serves a device or mount in use cannot be changed. A mount that is added
    below another one is for new work; who is there stays on the disk it has.

    Assignment.detail: by binding, sorted by destination, a mapping with source (the device it got, or the path of a
    mount), destination, flags, bytes (the share of a monopoly), the four IO kinds, and disk ("" where none serves it).
    """

    name = "storage"
    dimensions: ClassVar[tuple[Dimension, ...]] = (Dimension("storage", "bytes"),)
    engine_keys: ClassVar[tuple[str, ...]] = ("volumes", "io_limits", "storage_bytes")
    examples = ({"volumes": ["AUTO:/data:rw:10G"]}, {"volumes": ["AUTO:/data:rwm:10G"]}, {"storage": "1G"})
    node_examples = ({"volumes": {"/data0": "50G", "/data1": "20G"}, "storage": "10G"},)

    def parse(self, payload: Any) -> dict[str, Any]:
        """All four fields; bindings sorted by destination and with all their parts, amounts in bytes."""
        fields = mapping("storage", payload, _REQUEST_FIELDS)
        volumes = _parse_bindings("storage.volumes", _given(fields, "volumes", ()))
        limits = _parse_bindings("storage.volume_limits", _given(fields, "volume_limits", ()))
        storage = _amount("storage.storage", _given(fields, "storage", 0))
        storage_limit = _amount("storage.storage_limit", _given(fields, "storage_limit", 0))
        return _request(volumes or limits, limits or volumes, storage or storage_limit, storage_limit)

    def merge(self, request: Any, change: Any) -> dict[str, Any]:
        """Add what ``change`` gives, in the form of a payload, amounts below 0 allowed.

        Bindings are matched by source, destination and flags, and new ones added. One whose size falls below 0 is
        removed; at 0 it stays, with the IO it has, or else as an unlimited one. Limits change with the request where
        they are not given. ValueError where IO or storage would fall below 0.
        """
        fields = mapping("storage", change, _REQUEST_FIELDS)
        change_volumes = _parse_bindings("storage.volumes", _given(fields, "volumes", ()), is_change=True)
        change_limits = change_volumes
        if "volume_limits" in fields:
            change_limits = _parse_bindings(
                "storage.volume_limits", _given(fields, "volume_limits", ()), is_change=True
            )
        storage_change = _amount("storage.storage", _given(fields, "storage", 0), is_change=True)
        limit_change = storage_change
        if "storage_limit" in fields:
            limit_change = _amount("storage.storage_limit", _given(fields, "storage_limit", 0), is_change=True)

        volumes = [binding for binding in _add_bindings(_bindings(request), change_volumes) if binding.size_bytes >= 0]
        for binding in volumes:
            for kind, amount in zip(IO_KINDS, binding.io, strict=True):
                if amount < 0:
                    raise ValueError(
                        f"storage.volumes: {kind} of {shown(binding.destination)} would be {amount}; take less"
                    )
        storage = request["storage"] + storage_change
        if storage < 0:
            raise ValueError(f"storage.storage: it would be {storage}; take at most {request['storage']}")
        keys = {binding.key for binding in volumes}
        limits = _add_bindings(_bindings(request, "volume_limits"), change_limits)
        kept_limits = [binding for binding in limits if binding.key in keys]
        return _request(volumes, kept_limits, storage, request["storage_limit"] + limit_change)

    def demand(self, request: Any) -> Mapping[str, int]:
        """Storage and the sizes of all volumes together; empty where that is nothing."""
        total = request["storage"] + sum(binding.size_bytes for binding in _bindings(request))
        return {"storage": total} if total else {}

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """The slots of a node; None without a payload. ``layout`` has the disk of each device and of each mount."""
        if payload is None:
            return None
        node = _parse_node(payload)
        volumes: dict[str, int] = node["volumes"]
        disks: list[dict[str, Any]] = node["disks"]
        mounts = [(mount, disk_id) for disk_id, disk in enumerate(disks) for mount in disk["mounts"]]
        disk_ids = [disk_of_path(device, mounts) for device in volumes]
        names = [*(disk["device"] for disk in disks), ""]  # NO_DISK picks the last
        mount_slots = tuple(_mount_slot(path, names[disk_id]) for path, disk_id in mounts)
        return Inventory(
            slots=(
                *(_volume_slot(device) for device in volumes),
                *(_disk_slot(disk["device"], kind) for disk in disks for kind in IO_KINDS),
                *(_device_slot(device, names[disk_id]) for device, disk_id in zip(volumes, disk_ids, strict=True)),
                *mount_slots,
            ),
            total=(
                *volumes.values(),
                *(disk[kind] for disk in disks for kind in IO_KINDS),
                *(TENANTS for _ in volumes),
                *(0 for _ in mounts),
            ),
            counted=mount_slots,
            layout={
                "devices": list(volumes),
                "disks": names[:-1],
                "disk_ids": disk_ids,
                "mounts": [list(mount) for mount in mounts],
            },
            capacity={"storage": node["storage"] + sum(volumes.values())},
        )

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> dict[str, Any]:
        """The payload in canonical form with ``change`` in it.

        ``change`` has the form of a payload. As a difference, its bytes and quotas are added, devices and disks that
        are new join, and mounts that are given replace those of the disk; otherwise the fields that it has replace the
        node's. In both cases ``{"remove_disks": [device, ...]}`` takes disks away first. ValueError where an amount
        falls below 0 or a disk to remove is not there.
        """
        fields = mapping("storage", change, (*_NODE_FIELDS, "remove_disks"))
        node = _parse_node(payload if payload is not None else {})
        disks = {disk["device"]: disk for disk in node["disks"]}
        for device in sequence("storage.remove_disks", _given(fields, "remove_disks", ())):
            if disks.pop(_path("storage.remove_disks", device), None) is None:
                raise ValueError(f"storage.remove_disks: no disk {shown(device)}; the node has {shown(sorted(disks))}")
        node["disks"] = list(disks.values())
        given = {field: fields[field] for field in _NODE_FIELDS if field in fields}
        if not is_delta:
            return _parse_node(node | given)
        delta = _parse_node(given, is_change=True)
        for device, amount in delta["volumes"].items():
            node["volumes"][device] = node["volumes"].get(device, 0) + amount
        for disk in delta["disks"]:
            known = disks.setdefault(disk["device"], {"device": disk["device"], "mounts": []})
            known["mounts"] = disk["mounts"] or known["mounts"]
            known |= {kind: known.get(kind, 0) + disk[kind] for kind in IO_KINDS}
        return _parse_node(
            {
                "volumes": node["volumes"],
                "disks": list(disks.values()),
                "storage": node["storage"] + delta["storage"],
            }
        )

    def node_capacity(self, request: Any, node: NodeSlots, most: int) -> int:
        """The number of plans."""
        return len(find_plans(_volume_node(node), _bindings(request), most))

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """No bound, not even on a node without slots, for a request that needs neither a device nor IO."""
        if all(binding.kind == "mount" and not any(binding.io) for binding in _bindings(request)):
            return None
        return super().capacity(request, nodes, facts)

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """The plans for ``count`` copies."""
        bindings = _bindings(request)
        plans = find_plans(_volume_node(node), bindings, min(count, COPIES_MAX))
        return [_assignment(node.inventory, bindings, plan) for plan in plans]

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        """A plan that leaves every volume on its device; None where that does not fit."""
        devices = {device: position for position, device in enumerate(_layout(node.inventory)["devices"])}
        held_volumes = {volume["destination"]: volume for volume in held.detail or ()}
        held_devices: dict[tuple[str, str, str], int] = {}
        touched: set[int] = set()
        for binding in _bindings(held_request):
            volume = held_volumes[binding.destination]
            if binding.kind == "mount":
                continue
            if volume["source"] not in devices:
                return None
            held_devices[binding.key] = devices[volume["source"]]
            if volume["bytes"]:
                touched.add(devices[volume["source"]])
        bindings = _bindings(request)
        devices_now = [held_devices.get(binding.key, NO_DEVICE) for binding in bindings]
        plan = replan(_volume_node(node), bindings, devices_now, touched)
        return None if plan is None else _assignment(node.inventory, bindings, plan)

    def check_assignment(self, request: Any, inventory: Inventory, assignment: Assignment) -> None:
        """Every volume on a device of the node, with its size, a monopoly with all of a device; amounts to match."""
        bindings = _bindings(request)
        plan = _plan_of(inventory, bindings, assignment.detail)
        expected = _assignment(inventory, bindings, plan)
        _check_same("amounts", assignment.amounts, expected.amounts)
        _check_same("detail", assignment.detail, expected.detail)

    def usage(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Usage | None:
        """Shares of the bytes of all volumes where volumes are asked, else of storage; None where neither is."""
        asked = sum(binding.size_bytes for binding in _bindings(request))
        if request["volumes"] and nodes.slots is not None:
            total, free = _volume_bytes(nodes.slots)
        else:
            names = [dimension.name for dimension in nodes.dimensions]
            if not request["storage"] or "storage" not in names:
                return None
            row = names.index("storage")
            asked, total, free = request["storage"], nodes.total[row], nodes.free[row]
        return Usage(_shares(total - free, total), _shares(np.full_like(total, asked), total))

    def engine_args(self, request: Any, assignment: Assignment | None, shared: Any) -> Mapping[str, Any]:
        """What of these there is.

        ``volumes``: ``source:destination:flags:bytes``, at least the limit; ``io_limits``: by disk, the sum of the
        limits by IO kind, those of 0 left out; ``storage_bytes``: the limit of storage and volumes together.
        """
        limits = {binding.destination: binding for binding in _bindings(request, "volume_limits")}
        volumes: list[str] = []
        io_limits: dict[str, dict[str, int]] = {}
        for volume in (assignment.detail if assignment is not None else None) or ():
            limit = limits[volume["destination"]]
            size = max(limit.size_bytes, volume["bytes"])
            volumes.append(f"{volume['source']}:{limit.destination}:{_engine_flags(limit.flags)}:{size}")
            if volume["disk"] and any(limit.io):
                disk_limits = io_limits.setdefault(volume["disk"], {})
                for kind, amount in zip(IO_KINDS, limit.io, strict=True):
                    if amount:
                        disk_limits[kind] = disk_limits.get(kind, 0) + amount
        storage = request["storage_limit"] + sum(limit.size_bytes for limit in limits.values())
        values = {"volumes": volumes, "io_limits": io_limits, "storage_bytes": storage}
        return {key: value for key, value in values.items() if value}


def _request(volumes: Sequence[Binding], limits: Sequence[Binding], storage: int, storage_limit: int) -> dict[str, Any]:
    """The canonical form of a request; limits are raised to it."""
    for binding in volumes:
        if binding.kind == "monopoly" and not binding.size_bytes and not any(binding.io):
            raise ValueError(
                f"storage.volumes: monopoly {shown(binding.destination)} has neither size nor IO; give it a size"
            )
    _check_destinations("storage.volumes", volumes)
    limit_by_key = {binding.key: binding for binding in limits}
    if len(limits) != len(volumes) or any(binding.key not in limit_by_key for binding in volumes):
        raise ValueError(
            "storage.volume_limits: give one for each of volumes, with equal source, destination and flags"
        )
    raised = []
    for binding in volumes:
        limit = limit_by_key[binding.key]
        io = tuple(max(pair) for pair in zip(binding.io, limit.io, strict=True))
        raised.append(Binding(*binding.key, max(binding.size_bytes, limit.size_bytes), io))
    request: dict[str, Any] = {
        "volumes": _texts(volumes),
        "volume_limits": _texts(raised),
        "storage": storage,
        "storage_limit": max(storage, storage_limit),
    }
    for bindings, more in ((volumes, storage), (raised, request["storage_limit"])):
        amounts = [
            more + sum(binding.size_bytes for binding in bindings),
            *(sum(binding.io[kind] for binding in bindings) for kind in range(len(IO_KINDS))),
        ]
        if max(amounts) > _AMOUNT_MAX:
            raise ValueError(f"storage: {max(amounts)} in all is more than {_AMOUNT_MAX}; ask for less")
    return request


def _texts(bindings: Sequence[Binding]) -> list[str]:
    ordered = sorted(bindings, key=lambda binding: binding.destination)
    return [":".join(map(str, (*binding.key, binding.size_bytes, *binding.io))) for binding in ordered]


def _bindings(request: Any, field: str = "volumes") -> list[Binding]:
    """The bindings of a request in canonical form."""
    bindings = []
    for text in request[field]:
        source, destination, flags, size, *io = text.split(":")
        bindings.append(Binding(source, destination, flags, int(size), tuple(map(int, io))))
    return bindings


def _parse_bindings(field: str, texts: Any, *, is_change: bool = False) -> list[Binding]:
    bindings = [
        _parse_binding(f"{field}[{position}]", text, is_change=is_change)
        for position, text in enumerate(sequence(field, texts))
    ]
    if not is_change:
        _check_destinations(field, bindings)
    return bindings


def _check_destinations(field: str, bindings: Sequence[Binding]) -> None:
    for first, second in pairwise(sorted(binding.destination for binding in bindings)):
        if first == second:
            raise ValueError(f"{field}: destination {shown(first)} is given twice; give each volume its own")


def _parse_binding(field: str, text: Any, *, is_change: bool) -> Binding:
    parts = text.split(":") if isinstance(text, str) else []
    if not 2 <= len(parts) <= 4 and len(parts) != 8:
        raise ValueError(f"{field}: {shown(text)} is not a binding; write {_BINDING_FORM}")
    source, destination, flags, size, *io = (*parts, *("", "", "rw", "0", "0", "0", "0", "0")[len(parts) :])
    if flags and not (flags.isascii() and flags.isalpha()):
        raise ValueError(f"{field}: flags {shown(flags)} must be letters, e.g. rw")
    amounts = [
        _amount(f"{field}.{name}", amount, is_change=is_change)
        for name, amount in zip(("size", *IO_KINDS), (size, *io), strict=True)
    ]
    return Binding(
        source=(source or AUTO) if source == "" or source.endswith(AUTO) else _path(f"{field}.source", source),
        destination=_path(f"{field}.destination", destination),
        flags="".join(sorted(set(flags or "rw"))),
        size_bytes=amounts[0],
        io=tuple(amounts[1:]),
    )


def _add_bindings(bindings: Sequence[Binding], changes: Sequence[Binding]) -> list[Binding]:
    """The bindings with changes of equal keys added to them, and those of new keys at the end."""
    added = {binding.key: binding for binding in bindings}
    for change in changes:
        known = added.get(change.key, Binding(*change.key, 0))
        io = tuple(map(sum, zip(known.io, change.io, strict=True)))
        added[change.key] = Binding(*change.key, known.size_bytes + change.size_bytes, io)
    return list(added.values())


def _parse_node(payload: Any, *, is_change: bool = False) -> dict[str, Any]:
    """The payload of a node with all fields, sorted by device, as a value of its own."""
    fields = mapping("storage", payload, _NODE_FIELDS)
    volumes: dict[str, int] = {}
    for device, amount in mapping("storage.volumes", _given(fields, "volumes", {})).items():
        path = _path("storage.volumes", device)
        if path in volumes:
            raise ValueError(f"storage.volumes: device {shown(path)} is given twice; give it once")
        volumes[path] = _amount(member("storage.volumes", path), amount, is_change=is_change)
    disks = [
        _parse_disk(f"storage.disks[{position}]", disk, is_change=is_change)
        for position, disk in enumerate(sequence("storage.disks", _given(fields, "disks", ())))
    ]
    paths = [("device", disk["device"]) for disk in disks] + [
        ("mount", path) for disk in disks for path in disk["mounts"]
    ]
    for first, second in pairwise(sorted(paths)):
        if first == second:
            raise ValueError(f"storage.disks: {first[0]} {shown(first[1])} is given twice; give it once")
    storage = _amount("storage.storage", _given(fields, "storage", 0), is_change=is_change)
    if storage + sum(volumes.values()) > _AMOUNT_MAX:
        raise ValueError(f"storage: more than {_AMOUNT_MAX} bytes in all; give less")
    return {
        "volumes": dict(sorted(volumes.items())),
        "disks": sorted(disks, key=lambda disk: str(disk["device"])),
        "storage": storage,
    }


def _parse_disk(field: str, payload: Any, *, is_change: bool) -> dict[str, Any]:
    fields = mapping(field, payload, ("device", "mounts", *IO_KINDS))
    mounts = sequence(f"{field}.mounts", _given(fields, "mounts", ()))
    return {
        "device": _path(f"{field}.device", fields.get("device")),
        "mounts": sorted(_path(f"{field}.mounts", mount) for mount in mounts),
        **{kind: _amount(f"{field}.{kind}", _given(fields, kind, 0), is_change=is_change) for kind in IO_KINDS},
    }


def _given(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value of a field; the default where it is left out or None."""
    value = fields.get(name)
    return default if value is None else value


def _amount(field: str, value: Any, *, is_change: bool = False) -> int:
    """An amount in base units; below 0 only as a change."""
    return size(field, value, -_AMOUNT_MAX if is_change else 0, _AMOUNT_MAX)


def _path(field: str, value: Any) -> str:
    """An absolute path in its shortest form."""
    if not isinstance(value, str) or not value.startswith("/") or ":" in value:
        raise ValueError(f"{field}: {shown(value)} must be an absolute path without a colon, e.g. /data")
    names = path_components(value)
    if ".." in names:
        raise ValueError(f"{field}: {shown(value)} must not contain '..'; give the path itself")
    return "/" + "/".join(names)


def _volume_slot(device: str) -> str:
    return f"volume:{device}"


def _disk_slot(device: str, kind: str) -> str:
    return f"disk:{device}:{kind}"


def _device_slot(device: str, disk: str) -> str:
    return f"device:{device}:{disk}"


def _mount_slot(path: str, disk: str) -> str:
    return f"mount:{path}:{disk}"


def _layout(inventory: Inventory) -> Mapping[str, Any]:
    layout: Mapping[str, Any] = inventory.layout or {"devices": (), "disks": (), "disk_ids": (), "mounts": ()}
    return layout


def _volume_node(node: NodeSlots) -> VolumeNode:
    layout = _layout(node.inventory)
    first = len(layout["devices"])
    kinds = len(IO_KINDS)
    last = first + kinds * len(layout["disks"])
    return VolumeNode(
        total=node.inventory.total[:first],
        free=node.free[:first],
        disk_ids=layout["disk_ids"],
        quota=[node.free[start : start + kinds] for start in range(first, last, kinds)],
        mounts=[(path, disk) for path, disk in layout["mounts"]],
        tenants=node.free[last : last + first],
    )


def _assignment(inventory: Inventory, bindings: Sequence[Binding], plan: Plan) -> Assignment:
    layout = _layout(inventory)
    disks = [*layout["disks"], ""]  # NO_DISK picks the last
    taken: list[tuple[str, int]] = []
    whole_devices: dict[str, int] = {}
    detail = []
    for binding, placed in zip(bindings, plan, strict=True):
        if placed.device == NO_DEVICE:
            source = binding.source
            path, disk_id = mount_of_path(source, layout["mounts"])
            if any(binding.io):
                taken.append((_mount_slot(path, disks[disk_id]), 1))
        else:
            source = layout["devices"][placed.device]
            disk_id = layout["disk_ids"][placed.device]
            taken.append((_volume_slot(source), placed.size_bytes))
            device_slot = _device_slot(source, disks[disk_id])
            if binding.kind == "monopoly":
                whole_devices[device_slot] = TENANTS
            else:
                taken.append((device_slot, 1))
        io = dict(zip(IO_KINDS, binding.io, strict=True))
        taken += [(_disk_slot(disks[disk_id], kind), amount) for kind, amount in io.items()]
        detail.append(
            {
                "source": source,
                "destination": binding.destination,
                "flags": binding.flags,
                "bytes": placed.size_bytes,
                **io,
                "disk": disks[disk_id],
            }
        )
    amounts: dict[str, int] = {}
    for slot, amount in (*taken, *whole_devices.items()):
        if amount:
            amounts[slot] = amounts.get(slot, 0) + amount
    return Assignment(amounts=amounts, detail=detail or None)


def _plan_of(inventory: Inventory, bindings: Sequence[Binding], detail: Any) -> Plan:
    """The plan that the detail of an assignment speaks of; ValueError where none of `find_plans` can be like it."""
    devices = {device: position for position, device in enumerate(_layout(inventory)["devices"])}
    volumes = sequence("storage.detail", () if detail is None else detail)
    if len(volumes) != len(bindings):
        raise ValueError(f"storage.detail: {len(volumes)} volumes; {len(bindings)} are asked, give each of them")
    plan = []
    for position, (binding, volume) in enumerate(zip(bindings, volumes, strict=True)):
        field = f"storage.detail[{position}]"
        source = mapping(field, volume).get("source")
        if binding.kind == "mount":
            plan.append(Placed(NO_DEVICE, binding.size_bytes))
        elif not isinstance(source, str) or source not in devices:
            raise ValueError(
                f"{field}.source: {shown(source)} is no device of the node; give one of {shown([*devices])}"
            )
        else:
            plan.append(Placed(devices[source], binding.size_bytes))
    return _with_shares(inventory, bindings, plan)


def _with_shares(inventory: Inventory, bindings: Sequence[Binding], plan: Sequence[Placed]) -> Plan:
    """The plan with what the monopoly bindings get of their device."""
    group = [position for position, binding in enumerate(bindings) if binding.kind == "monopoly"]
    if not group:
        return tuple(plan)
    device = plan[group[0]].device
    if {position for position, placed in enumerate(plan) if placed.device == device} != set(group):
        raise ValueError("storage.detail: a monopoly is not alone on its device; give all of them one of their own")
    group.sort(key=lambda position: bindings[position].size_bytes)
    sizes = [bindings[position].size_bytes for position in group]
    total = inventory.total[device]
    if total < sum(sizes):
        raise ValueError(f"storage.detail: a monopoly asks {sum(sizes)} of a device with {total}; give a larger one")
    shares = dict(zip(group, split_device(sizes, total), strict=True))
    return tuple(Placed(device, shares[p]) if p in shares else placed for p, placed in enumerate(plan))


def _check_same(field: str, value: Any, expected: Any) -> None:
    if not is_same(value, expected):
        raise ValueError(f"storage.{field}: {shown(value)} is not what the volumes take; that is {shown(expected)}")


def _volume_bytes(slots: SlotColumns) -> tuple[Int64Array, Int64Array]:
    """By row, the bytes of all volumes and how many of them are free; 0 where there are none."""
    total = np.zeros(len(slots.inventory_ids), dtype=np.int64)
    free = np.zeros(len(slots.inventory_ids), dtype=np.int64)
    for inventory_id in np.unique(slots.inventory_ids).tolist():
        if inventory_id >= 0:
            inventory = slots.inventories[inventory_id]
            volumes = len(_layout(inventory)["devices"])
            rows = slots.inventory_ids == inventory_id
            total[rows] = sum(inventory.total[:volumes])
            free[rows] = slots.free[rows, :volumes].sum(axis=1)
    return total, free


def _shares(part: Int64Array, whole: Int64Array) -> FloatArray:
    """``part / whole``, and 0 where there is nothing of the whole."""
    return np.divide(part, whole, out=np.zeros(len(whole), dtype=np.float64), where=whole > 0)


def _engine_flags(flags: str) -> str:
    """The flags without that of a monopoly, and "or" the way engines write it."""
    rest = flags.replace("m", "") or "rw"
    return rest.replace("o", "").replace("r", "ro") if "o" in rest and "r" in rest else rest

"""Which volume of a workload goes on which device of a node: the volume plan algorithm, pure.

A *device* is what volumes are cut from, with a size in bytes. A *disk* is what serves devices and mounted paths, with a
quota of each of `IO_KINDS`; a path is served by the disk with the longest mount, by path components, that contains it.
A disk's quotas are guarantees, so what is handed out never exceeds them. Every device has a great number of places for
*tenants*, the volumes on it: a monopoly takes all of them, any other volume takes one, whatever bytes it has.

Source of the algorithm: Eru's resource-storage (best fit, promotion of untouched devices). Three differences, none of
which grants more than there is: a copy takes its IO for all kinds of binding at once, where Eru lets the normal
bindings of all copies use up a shared disk before the first monopoly is looked at; a pass that fails gives back all it
took; and only as many devices are opened as the copies need.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

AUTO = "AUTO"
IO_KINDS = ("read_iops", "write_iops", "read_bps", "write_bps")
NO_DISK = -1
"""The disk of a path that no mount contains; it has a quota of 0."""
NO_DEVICE = -1
"""The device of a mount."""
TENANTS = 1 << 31
"""The places for tenants that a device has."""

BindingKind = Literal["mount", "normal", "monopoly", "unlimited"]
"""What a binding asks for.

* mount: a path as it is; takes IO only.
* normal: exactly its size on one device.
* monopoly: a whole device without tenants, which all monopoly bindings of a workload share in proportion to their
  sizes.
* unlimited: any device that is not a monopoly's, and 0 bytes of it.
"""


class Binding(msgspec.Struct, frozen=True):
    """One volume of a workload. ``io`` is aligned with `IO_KINDS`; flags are letters in ascending order."""

    source: str
    destination: str
    flags: str
    size_bytes: int
    io: tuple[int, ...] = (0, 0, 0, 0)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two bindings the same one in a realloc."""
        return self.source, self.destination, self.flags

    @property
    def kind(self) -> BindingKind:
        """What it asks for; a monopoly of no size and no IO is for the caller to refuse."""
        if self.source and not self.source.endswith(AUTO):
            return "mount"
        if "m" in self.flags:
            return "monopoly"
        return "normal" if self.size_bytes or any(self.io) else "unlimited"


class VolumeNode(NamedTuple):
    """The devices and disks of one node. All amounts may be negative in ``free`` and ``quota``, never in ``total``.

    ``total``, ``free`` (bytes), ``disk_ids`` and ``tenants`` (free places) are by device, devices in ascending order of
    name. ``quota`` is the free IO by disk, each aligned with `IO_KINDS`. ``mounts`` are pairs of path and disk.
    """

    total: Sequence[int]
    free: Sequence[int]
    disk_ids: Sequence[int]
    quota: Sequence[Sequence[int]]
    mounts: Sequence[tuple[str, int]]
    tenants: Sequence[int]


class Placed(NamedTuple):
    """Where one binding goes; for a mount, `NO_DEVICE` and the size as asked."""

    device: int
    size_bytes: int


Plan = tuple[Placed, ...]
"""One copy of a workload: an entry a binding, in the order of the bindings."""


def path_components(path: str) -> tuple[str, ...]:
    """The names in a path, without empty ones and ``.``."""
    return tuple(name for name in path.split("/") if name not in ("", "."))


def mount_of_path(path: str, mounts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """The longest mount that contains ``path``, and its disk; "" and `NO_DISK` where none does. Mounts are distinct."""
    names = path_components(path)
    longest, found = -1, ("", NO_DISK)
    for mount, disk in mounts:
        prefix = path_components(mount)
        if len(prefix) > longest and names[: len(prefix)] == prefix:
            longest, found = len(prefix), (mount, disk)
    return found


def disk_of_path(path: str, mounts: Sequence[tuple[str, int]]) -> int:
    """The disk of `mount_of_path`."""
    return mount_of_path(path, mounts)[1]


class _Room:
    """What is left of a node while copies are placed."""

    def __init__(self, node: VolumeNode) -> None:
        self.free = list(node.free)
        self.tenants = list(node.tenants)
        self.quota = [*(list(quota) for quota in node.quota), [0] * len(IO_KINDS)]  # NO_DISK finds the last one

    def copy(self) -> _Room:
        copied = _Room.__new__(_Room)
        copied.free = self.free.copy()
        copied.tenants = self.tenants.copy()
        copied.quota = [quota.copy() for quota in self.quota]
        return copied

    def has_io(self, disk: int, io: Sequence[int]) -> bool:
        return all(asked == 0 or asked <= left for asked, left in zip(io, self.quota[disk], strict=True))

    def io_copies(self, disk: int, io: Sequence[int], most: int) -> int:
        """How often ``io`` can be taken, at most ``most`` times."""
        quota = self.quota[disk]
        return max(0, min([most, *(left // asked for asked, left in zip(io, quota, strict=True) if asked)]))

    def take_io(self, disk: int, io: Sequence[int]) -> None:
        quota = self.quota[disk]
        for kind, asked in enumerate(io):
            quota[kind] -= asked


class _Demand:
    """The bindings of one copy by kind, as positions; normal and monopoly ones by ascending size, then position."""

    def __init__(self, node: VolumeNode, bindings: Sequence[Binding]) -> None:
        by_kind: dict[BindingKind, list[int]] = {"mount": [], "normal": [], "monopoly": [], "unlimited": []}
        for position, binding in enumerate(bindings):
            by_kind[binding.kind].append(position)
        self.bindings = bindings
        self.normal = sorted(by_kind["normal"], key=lambda position: bindings[position].size_bytes)
        self.monopoly = sorted(by_kind["monopoly"], key=lambda position: bindings[position].size_bytes)
        self.unlimited = by_kind["unlimited"]
        self.mount_io: dict[int, list[int]] = {}
        for position in by_kind["mount"]:
            mount = bindings[position]
            if any(mount.io):
                disk = disk_of_path(mount.source, node.mounts)
                _add(self.mount_io.setdefault(disk, [0] * len(IO_KINDS)), mount.io)
        self.normal_bytes = sum(bindings[position].size_bytes for position in self.normal)
        self.monopoly_bytes = sum(bindings[position].size_bytes for position in self.monopoly)
        self.normal_io = [0] * len(IO_KINDS)
        for position in self.normal:
            _add(self.normal_io, bindings[position].io)
        self.monopoly_io = [0] * len(IO_KINDS)
        for position in self.monopoly:
            _add(self.monopoly_io, bindings[position].io)

    @property
    def needs_device(self) -> bool:
        return bool(self.normal or self.monopoly or self.unlimited)

    def take_mount_io(self, room: _Room) -> bool:
        """Take the IO of all mounts; False, with nothing taken, where it is not there."""
        if not all(room.has_io(disk, io) for disk, io in self.mount_io.items()):
            return False
        for disk, io in self.mount_io.items():
            room.take_io(disk, io)
        return True

    def can_monopolise(self, node: VolumeNode, room: _Room, device: int) -> bool:
        is_whole = room.tenants[device] == TENANTS and room.free[device] >= self.monopoly_bytes
        return is_whole and room.has_io(node.disk_ids[device], self.monopoly_io)

    def monopolise(self, node: VolumeNode, room: _Room, device: int) -> dict[int, Placed]:
        """Take all that is left of ``device`` and divide it."""
        sizes = [self.bindings[position].size_bytes for position in self.monopoly]
        shares = split_device(sizes, room.free[device])
        room.free[device] = 0
        room.tenants[device] = 0
        room.take_io(node.disk_ids[device], self.monopoly_io)
        return {position: Placed(device, share) for position, share in zip(self.monopoly, shares, strict=True)}

    def place_unlimited(self, room: _Room) -> dict[int, Placed] | None:
        """All on the device with the most bytes left (ties: by name) that has places for them; None without one."""
        open_devices = [device for device, places in enumerate(room.tenants) if places >= len(self.unlimited)]
        if not open_devices:
            return None
        roomiest = max(open_devices, key=lambda device: (room.free[device], -device))
        room.tenants[roomiest] -= len(self.unlimited)
        return {position: Placed(roomiest, 0) for position in self.unlimited}


def _add(total: list[int], io: Sequence[int]) -> None:
    for kind, asked in enumerate(io):
        total[kind] += asked


def split_device(sizes: Sequence[int], device_bytes: int) -> list[int]:
    """Divide a device in proportion to ``sizes``, rounded down; what is left over goes to the first one.

    ``sizes`` is not empty. Sizes of 0 throughout give all to the first.
    """
    total = sum(sizes)
    shares = [size * device_bytes // total if total else 0 for size in sizes]
    shares[0] += device_bytes - sum(shares)
    return shares


def find_plans(node: VolumeNode, bindings: Sequence[Binding], most: int) -> list[Plan]:
    """Plans for up to ``most`` copies of ``bindings``, in the order of use; together they fit into what is free.

    Devices of which bytes are in use come first. While copies are short of room for normal bindings but not of devices
    for monopoly ones, the smallest other device (ties: by name) that can hold the smallest normal binding counts as in
    use, too, and all is planned anew. The last result is the answer: more open devices can mean fewer copies where
    disks are shared.
    Bindings that need neither a device nor IO fit ``most`` times on any node.
    """
    return _find_plans(node, _Room(node), _Demand(node, bindings), most, ())


def _find_plans(node: VolumeNode, room: _Room, demand: _Demand, most: int, touched: Collection[int]) -> list[Plan]:
    """As `find_plans`, in ``room``; the devices ``touched`` count as in use although nothing is taken of them."""
    if demand.needs_device and not node.total:
        return []
    opened: list[int] = []
    unopened: list[int] = []
    for device, free in enumerate(room.free):
        if room.tenants[device] > 0:
            (opened if free < node.total[device] or device in touched else unopened).append(device)
    unopened.sort(key=lambda device: (room.free[device], device))
    while True:
        candidate = _device_to_open(room, demand, unopened)
        if candidate is None or not _is_surely_short(room, demand, opened, most):
            plans, is_short_of_normal = _fill(node, room.copy(), demand, opened, unopened, most)
            if candidate is None or not is_short_of_normal:
                return plans
        opened.append(candidate)
        unopened.remove(candidate)


def _device_to_open(room: _Room, demand: _Demand, unopened: Sequence[int]) -> int | None:
    if not demand.normal:
        return None
    smallest = demand.bindings[demand.normal[0]].size_bytes
    return next((device for device in unopened if room.free[device] >= smallest), None)


def _is_surely_short(room: _Room, demand: _Demand, opened: Sequence[int], most: int) -> bool:
    """Whether bytes alone say that more devices must be opened, so that there is no need to try with these."""
    return not demand.monopoly and sum(max(0, room.free[device]) for device in opened) < most * demand.normal_bytes


def _fill(
    node: VolumeNode, room: _Room, demand: _Demand, opened: Sequence[int], unopened: Sequence[int], most: int
) -> tuple[list[Plan], bool]:
    """Place copies in ``room`` until one fails or there are ``most``; also whether it was not for a monopoly."""
    plans: list[Plan] = []
    ranking = sorted((room.free[device], device) for device in opened)
    devices = iter(unopened)
    while len(plans) < most:
        placed: dict[int, Placed] = {}
        if demand.monopoly:
            device = _next_for_monopoly(node, room, demand, devices)
            if device is None:
                return plans, False
            placed |= demand.monopolise(node, room, device)
        normal = _place_normal(node, room, demand, ranking)
        if normal is None or not demand.take_mount_io(room):
            return plans, True
        placed |= normal
        if demand.unlimited:
            unlimited = demand.place_unlimited(room)
            if unlimited is None:
                return plans, False
            placed |= unlimited
        plan = _in_order(demand.bindings, placed)
        plans.append(plan)
        devices_used = {one.device for one in placed.values()}
        if not demand.monopoly and len(devices_used) <= 1 and not (normal and demand.unlimited):
            repeats = _take_repeats(node, room, demand, min(devices_used, default=NO_DEVICE), most - len(plans))
            plans += [plan] * repeats
            ranking = sorted((room.free[device], device) for device in opened)
    return plans, False


def _take_repeats(node: VolumeNode, room: _Room, demand: _Demand, device: int, most: int) -> int:
    """Take, and count, the copies that go the same way as one that has all its volumes, normal or not, on ``device``.

    All do for which there is room: what comes before the device in best fit had too few bytes or too little IO already,
    and the device only moves forward.
    """
    io_by_disk = {disk: io.copy() for disk, io in demand.mount_io.items()}
    repeats = most
    if device != NO_DEVICE:
        _add(io_by_disk.setdefault(node.disk_ids[device], [0] * len(IO_KINDS)), demand.normal_io)
        tenants = len(demand.normal) + len(demand.unlimited)
        repeats = min(repeats, room.tenants[device] // tenants)
        if demand.normal_bytes:
            repeats = min(repeats, room.free[device] // demand.normal_bytes)
    for disk, io in io_by_disk.items():
        repeats = room.io_copies(disk, io, repeats)
    if device != NO_DEVICE:
        room.free[device] -= repeats * demand.normal_bytes
        room.tenants[device] -= repeats * tenants
    for disk, io in io_by_disk.items():
        room.take_io(disk, [repeats * asked for asked in io])
    return repeats


def _next_for_monopoly(node: VolumeNode, room: _Room, demand: _Demand, devices: Iterator[int]) -> int | None:
    return next((device for device in devices if demand.can_monopolise(node, room, device)), None)


def _place_normal(
    node: VolumeNode, room: _Room, demand: _Demand, ranking: list[tuple[int, int]]
) -> dict[int, Placed] | None:
    """Each normal binding on the device with the least bytes left (ties: by name) that has its bytes and IO.

    ``ranking`` has the devices with what is free of them in ascending order, and is kept so.
    """
    placed: dict[int, Placed] = {}
    for position in demand.normal:
        binding = demand.bindings[position]
        asks_io = any(binding.io)
        for place in range(bisect_left(ranking, (binding.size_bytes, -1)), len(ranking)):
            free, device = ranking[place]
            if room.tenants[device] > 0 and (not asks_io or room.has_io(node.disk_ids[device], binding.io)):
                break
        else:
            return None
        del ranking[place]
        insort(ranking, (free - binding.size_bytes, device))
        room.free[device] -= binding.size_bytes
        room.tenants[device] -= 1
        if asks_io:
            room.take_io(node.disk_ids[device], binding.io)
        placed[position] = Placed(device, binding.size_bytes)
    return placed


def _in_order(bindings: Sequence[Binding], placed: dict[int, Placed]) -> Plan:
    """A plan of what is placed; what is not is a mount."""
    return tuple(
        placed.get(position) or Placed(NO_DEVICE, binding.size_bytes) for position, binding in enumerate(bindings)
    )


def replan(
    node: VolumeNode, bindings: Sequence[Binding], held_devices: Sequence[int], touched: Collection[int]
) -> Plan | None:
    """Plan for one workload that is there already; None where ``bindings`` do not fit without moving a volume.

    ``held_devices`` has by binding the device that it sits on now, `NO_DEVICE` for a new one. What the workload holds
    is free in ``node``; the devices it holds bytes of are ``touched``, so that they count as in use and are no new
    monopoly's.

    Bindings stay on their devices. The monopoly ones share one device, so new members join those that are there and the
    device is divided anew; only if all members are new do they get another. New bindings are planned as one copy in
    what is left.
    """
    room = _Room(node)
    demand = _Demand(node, bindings)
    if not demand.take_mount_io(room):
        return None
    placed: dict[int, Placed] = {}
    for position in demand.normal:
        device = held_devices[position]
        if device != NO_DEVICE:
            stayed = _place_normal(node, room, _Demand(node, [bindings[position]]), [(room.free[device], device)])
            if stayed is None:
                return None
            placed[position] = stayed[0]
    group_device = next((held_devices[p] for p in demand.monopoly if held_devices[p] != NO_DEVICE), NO_DEVICE)
    if group_device != NO_DEVICE:
        if not demand.can_monopolise(node, room, group_device):
            return None
        placed |= demand.monopolise(node, room, group_device)
    for position in demand.unlimited:
        device = held_devices[position]
        if device != NO_DEVICE:
            if room.tenants[device] < 1:
                return None
            room.tenants[device] -= 1
            placed[position] = Placed(device, 0)
    new = [p for p in (*demand.normal, *demand.monopoly, *demand.unlimited) if p not in placed]
    if new:
        new.sort()
        plans = _find_plans(node, room, _Demand(node, [bindings[position] for position in new]), 1, touched)
        if not plans:
            return None
        placed |= dict(zip(new, plans[0], strict=True))
    return _in_order(bindings, placed)

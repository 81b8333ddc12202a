"""What a workload takes of a node, read from what was asked and from what its engine was told; and what a node has.

Payloads are those of `eru_sim.fuzz.work`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from scheduler.events import WorkloadsSubmitted

CORE = 100
"""Pieces of a whole core."""
GPU = 1000
"""Milli of a whole device."""

Slot = tuple[str, ...]
Amounts = dict[Slot, int]
_IO_KINDS = ("read_iops", "write_iops", "read_bps", "write_bps")


class Holding(msgspec.Struct, kw_only=True):
    """What one workload takes. ``slots`` are amounts of dimensions and of particular things, by name.

    ``cores`` are those that it is bound to; all of them whole, but for one if ``fragment`` is not 0: which one, is not
    said to engines. ``alone`` are the devices that nobody else may use.
    """

    slots: Amounts
    cores: tuple[str, ...] = ()
    fragment: int = 0
    alone: tuple[str, ...] = ()
    licences: dict[str, int] = {}


def demand_of(spec: WorkloadsSubmitted, dimensions: Iterable[str]) -> Amounts:
    """What one copy takes of the dimensions."""
    payloads = spec.payloads or {}
    amounts = dict(zip(dimensions, spec.request, strict=True))
    cpu, storage = payloads.get("cpu"), payloads.get("storage")
    if cpu is not None:
        amounts["memory"] += cpu.get("memory_request") or cpu.get("memory_limit") or 0
    if storage is not None:
        amounts["storage"] += storage.get("storage", 0) + sum(size for _, size, _ in _volumes(storage).values())
    return {("dimension", name): amount for name, amount in amounts.items() if amount}


def pieces_of(cpu: Mapping[str, Any]) -> int:
    """The pieces of cores that bound work asks for."""
    return int(Fraction(str(cpu.get("cpu_request", 0))) * CORE + Fraction(1, 2))


def holding_of(spec: WorkloadsSubmitted, dimensions: Iterable[str], args: Mapping[str, Any] | None) -> Holding:
    """What one copy takes that was told ``args``. ValueError where that is not what it asked for."""
    payloads, args = spec.payloads or {}, args or {}
    held = Holding(slots=demand_of(spec, dimensions), licences=dict(payloads.get("licences") or {}))
    cpu, gpu, storage = payloads.get("cpu"), payloads.get("gpu"), payloads.get("storage")
    if cpu is not None and cpu.get("bind"):
        _bind(held, cpu, args)
    if gpu is not None:
        _give_devices(held, gpu, args)
    if storage is not None:
        _give_volumes(held, storage, args)
    return held


def _bind(held: Holding, cpu: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    whole, held.fragment = divmod(pieces_of(cpu), CORE)
    held.cores = tuple(filter(None, args.get("cpuset_cpus", "").split(",")))
    if len(set(held.cores)) != len(held.cores) or len(held.cores) != whole + (held.fragment > 0):
        raise ValueError(f"it asks for {cpu['cpu_request']} cores of its own, and has {','.join(held.cores) or 'none'}")
    numa = tuple(filter(None, args.get("cpuset_mems", "").split(",")))
    if cpu.get("numa_nodes") and len(numa) != cpu["numa_nodes"]:
        raise ValueError(f"it asks for {cpu['numa_nodes']} NUMA nodes, and has {','.join(numa) or 'none'}")
    memory = cpu.get("memory_request") or cpu.get("memory_limit") or 0
    for numa_id in numa if memory else ():
        held.slots["numa", numa_id] = -(-memory // len(numa))


def _give_devices(held: Holding, gpu: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    devices, milli = list(args.get("gpu_devices", ())), list(args.get("gpu_milli", ()))
    count, each = gpu.get("count", 1), gpu.get("milli", GPU)
    if len(set(devices)) != count or milli != [each] * count:
        raise ValueError(f"it asks for {count} devices of {each} milli, and has {devices} of {milli}")
    for device in devices:
        held.slots["gpu", device] = each
        if each < GPU and gpu.get("memory"):
            held.slots["gpu memory", device] = gpu["memory"]


def _give_volumes(held: Holding, storage: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    asked = _volumes(storage)
    given = {text.split(":")[1]: text.split(":") for text in args.get("volumes", ())}
    if set(asked) != set(given):
        raise ValueError(f"it asks for volumes at {sorted(asked)}, and has them at {sorted(given)}")
    for destination, (flags, size, _) in asked.items():
        device, amount = given[destination][0], int(given[destination][3])
        if amount < size or ("m" not in flags and amount != size):
            raise ValueError(f"it asks for {size} bytes at {destination}, and has {amount}")
        slot = ("volume", device)
        held.slots[slot] = held.slots.get(slot, 0) + amount
        if "m" in flags:
            held.alone = (*held.alone, device)
    for disk, amounts in (args.get("io_limits") or {}).items():
        for kind, amount in amounts.items():
            held.slots["io", disk, kind] = amount


def _volumes(storage: Mapping[str, Any]) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    """By destination: flags, size and IO of each kind."""
    found = {}
    for text in storage.get("volumes") or ():
        _, destination, flags, size, *io = text.split(":")
        found[destination] = (flags, int(size), tuple(map(int, io)))
    return found


def volumes_of(storage: Mapping[str, Any]) -> list[tuple[str, int, tuple[int, ...]]]:
    """Flags, size and IO of each volume."""
    return list(_volumes(storage).values())


def io_kinds() -> tuple[str, ...]:
    """The kinds of IO of a disk, in the order in which a volume asks for them."""
    return _IO_KINDS


def largest(one: Holding, other: Holding) -> Holding:
    """What is held while one becomes the other: of everything the larger amount."""
    slots = {slot: max(one.slots.get(slot, 0), other.slots.get(slot, 0)) for slot in {**one.slots, **other.slots}}
    fragment = one.fragment if one.cores == other.cores and one.fragment == other.fragment else -1
    cores = (*one.cores, *(core for core in other.cores if core not in one.cores))
    alone = (*one.alone, *(device for device in other.alone if device not in one.alone))
    return Holding(slots=slots, cores=cores, fragment=fragment, alone=alone, licences=one.licences)


def changed(spec: WorkloadsSubmitted, request: tuple[int, ...], payloads: Mapping[str, Any]) -> WorkloadsSubmitted:
    """What is asked for after a change in place, of the kinds that `eru_sim.fuzz.work` has."""
    after = {name: dict(payload) for name, payload in (spec.payloads or {}).items()}
    for name, change in payloads.items():
        for field, value in change.items():
            if field == "volumes":
                after[name][field] = _with_volumes(after[name].get(field, ()), value)
            elif field == "keep_bind":
                pass
            elif field == "cpu_request":
                after[name][field] = float(Fraction(str(after[name].get(field, 0))) + Fraction(str(value)))
            else:
                default = {"count": 1, "milli": GPU}.get(field, 0)
                after[name][field] = after[name].get(field, default) + value
    if "gpu" in after and after["gpu"].get("count", 1) <= 0:
        after["gpu"] = {"count": 0}  # what asks for no device asks for nothing of it
    amounts = tuple(a + b for a, b in zip(spec.request, request, strict=True)) if request else spec.request
    return msgspec.structs.replace(spec, request=amounts, payloads=after or None)


def _with_volumes(volumes: Iterable[str], changes: Iterable[str]) -> list[str]:
    """Bindings by source, destination and flags: sizes are added; what falls below 0 goes; what is new comes."""
    known = {tuple(text.split(":")[:3]): text.split(":")[3:] for text in volumes}
    for text in changes:
        key, size = tuple(text.split(":")[:3]), int(text.split(":")[3])
        before, *io = known.get(key, ["0"])
        known[key] = [str(int(before) + size), *io]
    return [":".join((*key, *rest)) for key, rest in known.items() if int(rest[0]) >= 0]


def totals_of(
    stated: Mapping[str, int], resources: Mapping[str, Any], dimensions: Iterable[str], overcommit: Mapping[str, float]
) -> Amounts:
    """What a node has of each slot."""
    amounts = {name: stated.get(name, 0) for name in dimensions}
    cpu, gpu, storage = (resources.get(name) or {} for name in ("cpu", "gpu", "storage"))
    total: Amounts = {}
    amounts["memory"] += cpu.get("memory", 0)
    for core in range(cpu.get("cores", 0)):
        total["core", str(core)] = CORE
    for numa_id, size in (cpu.get("numa_memory") or {}).items():
        total["numa", numa_id] = size
    for device in range(gpu.get("count", 0)):
        total["gpu", str(device)] = GPU
        total["gpu memory", str(device)] = gpu.get("memory", 0)
    if "storage" in amounts:
        amounts["storage"] += storage.get("storage", 0) + sum((storage.get("volumes") or {}).values())
    for device, size in (storage.get("volumes") or {}).items():
        total["volume", device] = size
    for disk in storage.get("disks") or ():
        for kind in _IO_KINDS:
            total["io", disk["device"], kind] = disk.get(kind, 0)
    for name, amount in amounts.items():
        total["dimension", name] = int(amount * Fraction(str(overcommit.get(name, 1))))
    return total

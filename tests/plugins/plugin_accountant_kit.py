"""An accountant that adds up what was granted to workloads, plugin by plugin, and compares it with what there is.

It knows nodes by their payloads, and workloads by what they ask and what is recorded as theirs; how the core keeps its
books it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from typing import Any, NamedTuple

from scheduler.cluster import Node, NodeState
from scheduler.commands import AnyCommand, RemapWorkload, StartWorkload, UpdateWorkload
from scheduler.config import CoreConfig
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    NodeCapacityChanged,
    NodeFactsChanged,
    NodeJoined,
    NodeReturned,
    ReallocRequested,
    WorkloadAdopted,
    WorkloadsSubmitted,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.lifecycle import State
from scheduler.workload import Workload

DIMENSIONS = ("cpu", "memory", "storage", "gpu")
SHARE_BASE = 100
POINTS = 3
"""What the plugins are configured with."""

Slot = tuple[str, str]
"""Plugin (or "dimension") and name."""
Amounts = dict[Slot, int]
_PLACES = 1 << 31
"""What a monopoly takes of its device's places; any other volume takes one."""


def _is_counted(slot: Slot) -> bool:
    """Whether a slot is counted and never limited."""
    return slot == ("cpu", "requested") or slot[1].startswith("mount:")


class Accountant:
    """Adds up what everybody holds, and compares it with what nodes say they have and what workloads asked for."""

    def __init__(self, config: CoreConfig) -> None:
        self._overcommit = config.overcommit
        self._totals: dict[int, Amounts] = {}
        self._held: dict[int, Amounts] = {}
        self._granted: dict[str, tuple[int, Amounts]] = {}
        self._last: dict[tuple[str, int], tuple[Amounts, frozenset[str]]] = {}
        self._told: dict[tuple[str, int], dict[str, Any]] = {}
        self._told_next: dict[tuple[str, int], dict[str, Any]] = {}

    def check(self, core: Core, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """AssertionError where something was granted twice, or is not what was asked for."""
        nodes = core.cluster.nodes
        changes = Counter(e.node_id for e in events if isinstance(e, NodeCapacityChanged | NodeJoined | NodeReturned))
        relabelled = {event.node_id for event in events if isinstance(event, NodeFactsChanged)}
        adopted = {event.node_id for event in events if isinstance(event, WorkloadAdopted)}
        failed = {event.workload_id for event in events if isinstance(event, WorkloadUpdateFailed)}
        totals = {node.row: node_total(node, self._overcommit) for node in nodes}
        held, holders = self._add_up(core, events)
        for node in nodes:
            if node.state is not NodeState.REMOVED and changes[node.node_id] < 2:
                self._check_sums(node, totals[node.row], held[node.row], node.node_id in adopted)
                self._check_alone(node, totals[node.row], holders[node.row])
        granted = {}
        for workload in core.workloads.values():
            if workload.row >= 0:
                node, id_ = nodes[workload.row], workload.workload_id
                granted[id_] = (workload.row, holding(workload))
                is_new = self._granted.get(id_) != granted[id_] and id_ not in failed
                as_it_was = not changes[node.node_id] and node.node_id not in relabelled | adopted
                check_as_asked(workload, node, totals[workload.row], is_new and as_it_was)
        self._granted, self._totals, self._held = granted, totals, held
        self._listen(events, commands)
        self._check_told(core, totals, held)

    def _add_up(
        self, core: Core, events: Sequence[AnyEvent]
    ) -> tuple[dict[int, Amounts], dict[int, list[tuple[str, Amounts, frozenset[str]]]]]:
        """By row, what is held in all; and who holds what, with the devices that are his alone."""
        held: dict[int, Amounts] = {node.row: {} for node in core.cluster.nodes}
        holders: dict[int, list[tuple[str, Amounts, frozenset[str]]]] = {row: [] for row in held}
        last = {}
        for workload in core.workloads.values():
            if workload.row >= 0:
                amounts, devices = holding(workload), frozenset(_monopolies(workload.spec, workload.assignments))
                holders[workload.row].append((workload.workload_id, amounts, devices))
                last[workload.workload_id, workload.generation] = (amounts, devices)
        updates = (ReallocRequested, WorkloadUpdated, WorkloadUpdateFailed)
        updated = {event.workload_id for event in events if isinstance(event, updates)}
        for key, fence in core.fences.items():
            amounts = {("dimension", d): n for d, n in zip(DIMENSIONS, fence.claim.request, strict=True)}
            for plugin, slots in fence.claim.slots.items():
                amounts |= {(plugin, slot): amount for slot, amount in slots.items()}
            before, devices = self._last.get(key, (amounts, frozenset()))
            if key[0] not in updated:
                assert _without_zeros(before) == _without_zeros(amounts), f"the fence {key} holds another amount"
            holders[fence.row].append((f"fence of {key[0]}", amounts, devices))
            last[key] = (amounts, devices)
        self._last = last
        for row, on_row in holders.items():
            for _, amounts, _ in on_row:
                for slot, amount in amounts.items():
                    held[row][slot] = held[row].get(slot, 0) + amount
        return held, holders

    def _check_sums(self, node: Node, total: Amounts, held: Amounts, is_adopted: bool) -> None:
        before_total, before = self._totals.get(node.row, {}), self._held.get(node.row, {})
        for slot, amount in held.items():
            if _is_counted(slot) or (is_adopted and slot[0] == "dimension"):
                continue
            has = total.get(slot, 0)
            if amount > has:
                shrunk = has < before_total.get(slot, 0)
                allowed = max(before.get(slot, 0), before_total.get(slot, 0) if shrunk else 0)
                assert amount <= allowed, (
                    f"{node.node_id}: {slot}: {amount} of {has} are held, {before.get(slot, 0)} before"
                )

    def _check_alone(self, node: Node, total: Amounts, holders: Sequence[tuple[str, Amounts, frozenset[str]]]) -> None:
        for owner, amounts, devices in holders:
            for device in devices:
                slot = ("storage", f"volume:{device}")
                held = sum(theirs.get(slot, 0) for _, theirs, _ in holders)
                if amounts.get(slot, 0) < total.get(slot, 0) or held <= self._held.get(node.row, {}).get(slot, 0):
                    continue  # the device has grown since, or nothing has been granted
                others = [other for other, theirs, _ in holders if other != owner and theirs.get(slot, 0)]
                assert not others, f"{node.node_id}: {device} is the monopoly of {owner}, and {others} are on it"

    def _listen(self, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Note what engines have been told, the way that they would."""
        for event in events:
            if isinstance(event, WorkloadUpdated | WorkloadUpdateFailed):
                key = (event.workload_id, event.generation)
                told = self._told_next.pop(key, None)
                if told is not None and isinstance(event, WorkloadUpdated):
                    self._told[key] = told
        for command in commands:
            if isinstance(command, StartWorkload | UpdateWorkload | RemapWorkload):
                key = (command.workload_id, command.generation)
                args = dict(command.engine_args or {})
                if isinstance(command, StartWorkload):
                    self._told[key] = args
                elif isinstance(command, UpdateWorkload):
                    self._told_next[key] = args
                else:
                    assert args, "a remap that changes nothing"
                    for known in (self._told, self._told_next):
                        if key in known:
                            known[key] = known[key] | args

    def _check_told(self, core: Core, totals: Mapping[int, Amounts], held: Mapping[int, Amounts]) -> None:
        """What engines were told last is what is granted; and work that shares cores never has one that is bound."""
        for workload in core.workloads.values():
            key = (workload.workload_id, workload.generation)
            asked = (workload.spec.payloads or {}).get("cpu")
            told = self._told_next.get(key) if workload.update is not None else self._told.get(key)
            if asked is None or told is None or workload.state not in (State.STARTING, State.RUNNING):
                continue
            if core.cluster.nodes[workload.row].state is NodeState.LOST:
                continue
            cpuset = told.get("cpuset_cpus", "")
            if asked.get("bind"):
                assignments = workload.assignments or {}
                expected = [slot for slot in assignments["cpu"].amounts if slot.isdigit()]
            else:
                expected = _shared_cores(totals[workload.row], held[workload.row])
            assert not expected or cpuset == ",".join(expected), (
                f"{key} was told the cores {cpuset!r}, but has {expected}"
            )


def _without_zeros(amounts: Amounts) -> Amounts:
    return {slot: amount for slot, amount in amounts.items() if amount}


def _shared_cores(total: Amounts, held: Amounts) -> list[str]:
    cores = [name for plugin, name in total if plugin == "cpu" and name.isdigit()]
    whole = [core for core in cores if total["cpu", core] - held.get(("cpu", core), 0) >= SHARE_BASE]
    return sorted(whole or cores, key=int)


# What nodes have


def node_total(node: Node, overcommit: Mapping[str, float]) -> Amounts:
    """What a node says that it has, by slot and by dimension."""
    stated = dict(zip(DIMENSIONS, node.stated, strict=True))
    total: Amounts = {}
    cpu = node.resources.get("cpu")
    if cpu is not None or stated["cpu"] >= 1000:
        total |= _cpu_total(cpu or {}, stated)
    storage = node.resources.get("storage") or {}
    for device, size in (storage.get("volumes") or {}).items():
        total["storage", f"volume:{device}"] = size
        total["storage", f"device:{device}:{_disk_of(device, node)}"] = _PLACES
    for disk in storage.get("disks") or ():
        for kind in ("read_iops", "write_iops", "read_bps", "write_bps"):
            total["storage", f"disk:{disk['device']}:{kind}"] = disk.get(kind, 0)
    for name, _, memory in gpu_devices(node):
        total["gpu", name] = 1000
        if memory:
            total["gpu", f"{name}/memory"] = memory
    for name, amounts in (node.resources.get("curve") or {}).items():
        for point in range(POINTS):
            total["curve", f"{name}@{point}"] = amounts if isinstance(amounts, int) else amounts[point]
    stated["memory"] += (cpu or {}).get("memory") or 0
    stated["storage"] += (storage.get("storage") or 0) + sum((storage.get("volumes") or {}).values())
    for name, amount in stated.items():
        total["dimension", name] = int(amount * Fraction(str(overcommit.get(name, 1))))
    return total


def _cpu_total(cpu: Mapping[str, Any], stated: Mapping[str, int]) -> Amounts:
    cores = cpu.get("cores")
    if cores is None:
        cores = stated["cpu"] // 1000
    if isinstance(cores, int):
        cores = {str(core): cpu.get("share") or SHARE_BASE for core in range(cores)}
    total: Amounts = {("cpu", core): pieces for core, pieces in cores.items()}
    numa = numa_cores(cpu)
    sizes = cpu.get("numa_memory")
    if sizes is None:
        memory = stated["memory"] + (cpu.get("memory") or 0)
        sizes = dict.fromkeys(numa, memory // max(1, len(numa)))
    named = sizes.items() if isinstance(sizes, Mapping) else enumerate(sizes)
    return total | {("cpu", f"numa_memory/{numa_id}"): size for numa_id, size in named}


def numa_cores(cpu: Mapping[str, Any]) -> dict[str, set[str]]:
    """The cores of each NUMA node."""
    numa = cpu.get("numa") or {}
    named = numa.items() if isinstance(numa, Mapping) else enumerate(numa)
    cores = {}
    for numa_id, members in named:
        if isinstance(members, str):
            first, last = map(int, members.split("-"))
            members = range(first, last + 1)
        cores[str(numa_id)] = set(map(str, members))
    return cores


def gpu_devices(node: Node) -> list[tuple[str, str, int]]:
    """Id, model and memory of each device."""
    gpu = node.resources.get("gpu")
    if gpu is None:
        model = node.labels.get("gpu_model")
        count = node.stated[DIMENSIONS.index("gpu")] // 1000 if model else 0
        return [(str(number), model or "", 0) for number in range(count)]
    if "devices" in gpu:
        return [(device["id"], device["model"], device.get("memory", 0)) for device in gpu["devices"]]
    if "prod_count_map" in gpu:
        cards = gpu["prod_count_map"].items()
        return [(f"{model}-{number}", model, 0) for model, count in cards for number in range(count)]
    return [(str(number), gpu["model"], gpu.get("memory", 0)) for number in range(gpu["count"])]


# What workloads ask and hold


class Volume(NamedTuple):
    """A binding as it is written."""

    source: str
    destination: str
    flags: str
    size: int
    io: tuple[int, ...]

    @property
    def is_mount(self) -> bool:
        return self.source.startswith("/")

    @property
    def is_monopoly(self) -> bool:
        return not self.is_mount and "m" in self.flags


def volumes_of(payloads: Mapping[str, Any] | None) -> list[Volume]:
    """The volumes that are asked for."""
    found = []
    for text in ((payloads or {}).get("storage") or {}).get("volumes") or ():
        parts: list[str] = text.split(":")
        source, destination, flags, size, *io = parts + ["", "", "rw", "0"][len(parts) :]
        found.append(Volume(source, destination, flags, int(size), tuple(map(int, io)) or (0, 0, 0, 0)))
    return found


def dimensions_of(spec: WorkloadsSubmitted) -> Amounts:
    """What a workload takes of the dimensions."""
    payloads = spec.payloads or {}
    cpu, storage = payloads.get("cpu") or {}, payloads.get("storage") or {}
    amounts = dict(zip(DIMENSIONS, spec.request, strict=True))
    amounts["memory"] += cpu.get("memory_request") or cpu.get("memory_limit") or 0
    amounts["storage"] += (storage.get("storage") or 0) + sum(volume.size for volume in volumes_of(payloads))
    return {("dimension", name): amount for name, amount in amounts.items()}


def holding(workload: Workload) -> Amounts:
    """What is recorded as a workload's; while it is updated, the larger of what it had and what it will have."""
    held = _recorded(workload.spec, workload.assignments)
    if workload.update is not None:
        for slot, amount in _recorded(workload.update.spec, workload.update.assignments).items():
            held[slot] = max(held.get(slot, 0), amount)
    return held


def _recorded(spec: WorkloadsSubmitted, assignments: Mapping[str, Any] | None) -> Amounts:
    amounts = dimensions_of(spec)
    for plugin, assignment in (assignments or {}).items():
        amounts |= {(plugin, slot): amount for slot, amount in assignment.amounts.items()}
    return amounts


def _detail(assignments: Mapping[str, Any] | None, plugin: str) -> Any:
    return assignments[plugin].detail if assignments and plugin in assignments else None


def _monopolies(spec: WorkloadsSubmitted, assignments: Mapping[str, Any] | None) -> Iterator[str]:
    """The devices that nobody else may be on."""
    by_destination = {volume["destination"]: volume for volume in _detail(assignments, "storage") or ()}
    for volume in volumes_of(spec.payloads):
        if volume.is_monopoly:
            yield by_destination[volume.destination]["source"]


def check_as_asked(workload: Workload, node: Node, total: Amounts, is_new: bool) -> None:
    """AssertionError where a workload has not what it asked for; ``is_new``: the node is as it was when it got it."""
    assignments, payloads = workload.assignments or {}, workload.spec.payloads or {}
    asked = {plugin for plugin in ("cpu", "curve", "gpu", "storage") if plugin in payloads}
    assert set(assignments) == asked, f"{workload.workload_id} has {sorted(assignments)}, but asked {sorted(asked)}"
    checks = {"cpu": _check_cpu, "curve": _check_curve, "gpu": _check_gpu, "storage": _check_storage}
    for plugin in asked:
        assert all(amount > 0 for amount in assignments[plugin].amounts.values()), workload.workload_id
        checks[plugin](payloads[plugin], assignments[plugin], node, total, is_new)


def _check_cpu(asked: Mapping[str, Any], assignment: Any, node: Node, total: Amounts, is_new: bool) -> None:
    amounts = dict(assignment.amounts)
    cpu = Fraction(str(asked.get("cpu_request", 0)))
    if asked.get("bind") or not cpu:
        cpu = max(cpu, Fraction(str(asked.get("cpu_limit", 0))))
    pieces = int(cpu * SHARE_BASE + Fraction(1, 2))
    assert amounts.pop("requested", 0) == pieces
    if not asked.get("bind"):
        assert amounts == {}, "unbound work has cores"
        return
    whole, fragment = divmod(pieces, SHARE_BASE)
    cores = {slot: amount for slot, amount in amounts.items() if slot.isdigit()}
    assert sorted(cores.values(), reverse=True) == [SHARE_BASE] * whole + [fragment] * (fragment > 0)
    numa_ids = assignment.detail["numa"].split(",") if assignment.detail else []
    memory = asked.get("memory_request") or asked.get("memory_limit") or 0
    share = -(-memory // max(1, len(numa_ids)))
    expected = {f"numa_memory/{numa_id}": share for numa_id in numa_ids} if memory else {}
    assert {slot: amount for slot, amount in amounts.items() if slot not in cores} == expected
    assert len(numa_ids) == (asked.get("numa_nodes") or len(numa_ids)) <= max(1, asked.get("numa_nodes") or 0)
    if is_new and numa_ids:
        members = numa_cores(node.resources["cpu"])
        for numa_id in numa_ids:
            inside = sum(amount for core, amount in cores.items() if core in members[numa_id])
            assert inside * len(numa_ids) == pieces, f"{cores} do not lie in NUMA nodes {numa_ids}"


def _check_curve(asked: Mapping[str, Any], assignment: Any, node: Node, total: Amounts, is_new: bool) -> None:
    expected = {}
    for name in ("cpu", "net"):
        for point in range(POINTS):
            amounts = asked.get(name, 0)
            expected[f"{name}@{point}"] = amounts if isinstance(amounts, int) else amounts[point]
    assert dict(assignment.amounts) == {slot: amount for slot, amount in expected.items() if amount}


def gpu_groups(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The groups that are asked for, in no particular order."""
    defaults: dict[str, Any] = {"count": 1, "milli": 1000, "models": [], "memory": 0}
    if "groups" in asked:
        groups = [defaults | group for group in asked["groups"]]
    elif "prod_count_map" in asked:
        groups = [defaults | {"count": count, "models": [model]} for model, count in asked["prod_count_map"].items()]
    else:
        groups = [defaults | dict(asked)]
    return [group for group in groups if group["count"]]


def _check_gpu(asked: Mapping[str, Any], assignment: Any, node: Node, total: Amounts, is_new: bool) -> None:
    groups = gpu_groups(asked)
    devices = list(assignment.detail["devices"]) if assignment.detail else []
    assert len(devices) == sum(group["count"] for group in groups)
    milli = sum(amount for slot, amount in assignment.amounts.items() if not slot.endswith("/memory"))
    assert milli == sum(group["count"] * group["milli"] for group in groups)
    if is_new:
        models = {name: model for name, model, _ in gpu_devices(node)}
        orders = permutations(groups)
        assert any(_serves(order, devices, models, assignment.amounts, total) for order in orders), (asked, devices)


def _serves(
    groups: Sequence[Mapping[str, Any]],
    devices: Sequence[str],
    models: Mapping[str, str],
    amounts: Mapping[str, int],
    total: Amounts,
) -> bool:
    """Whether the devices, one after the other, are what the groups in this order want."""
    expected: dict[str, int] = {}
    left = list(devices)
    for group in groups:
        chosen, left = left[: group["count"]], left[group["count"] :]
        if len(set(chosen)) < group["count"]:
            return False
        for device in chosen:
            memory = total.get(("gpu", f"{device}/memory"), 0)
            if (group["models"] and models[device] not in group["models"]) or memory < group["memory"]:
                return False
            taken = memory if group["milli"] == 1000 else group["memory"]
            expected[device] = expected.get(device, 0) + group["milli"]
            if taken:
                expected[f"{device}/memory"] = expected.get(f"{device}/memory", 0) + taken
    return expected == dict(amounts)


def _check_storage(asked: Mapping[str, Any], assignment: Any, node: Node, total: Amounts, is_new: bool) -> None:
    given = {volume["destination"]: volume for volume in assignment.detail or ()}
    volumes = volumes_of({"storage": asked})
    assert set(given) == {volume.destination for volume in volumes}
    expected: dict[str, int] = {}
    for volume in volumes:
        got = given[volume.destination]
        if volume.is_mount:
            assert got["source"] == volume.source
        else:
            assert got["bytes"] >= volume.size, f"{volume} has {got['bytes']} bytes"
            assert volume.is_monopoly or got["bytes"] == volume.size
            expected[f"volume:{got['source']}"] = expected.get(f"volume:{got['source']}", 0) + got["bytes"]
            places = f"device:{got['source']}:{got['disk']}"
            expected[places] = _PLACES if volume.is_monopoly else expected.get(places, 0) + 1
        for kind, amount in zip(("read_iops", "write_iops", "read_bps", "write_bps"), volume.io, strict=True):
            slot = f"disk:{got['disk']}:{kind}"
            expected[slot] = expected.get(slot, 0) + amount
        if is_new:
            assert got["disk"] == _disk_of(got["source"], node)
    held = {slot: amount for slot, amount in assignment.amounts.items() if not slot.startswith("mount:")}
    assert held == {slot: amount for slot, amount in expected.items() if amount}
    mounts = sum(amount for slot, amount in assignment.amounts.items() if slot.startswith("mount:"))
    assert mounts == sum(1 for volume in volumes if volume.is_mount and any(volume.io))
    devices = {given[volume.destination]["source"] for volume in volumes if volume.is_monopoly}
    assert len(devices) <= 1, f"monopolies on {devices}"
    if is_new:
        for device in devices:
            slot = f"volume:{device}"
            assert assignment.amounts[slot] == total["storage", slot], f"{device} is not a monopoly altogether"


def _disk_of(path: str, node: Node) -> str:
    """The disk with the longest mount that contains the path, "" for none."""
    found = [
        (len(mount), disk["device"])
        for disk in node.resources["storage"].get("disks") or ()
        for mount in disk["mounts"]
        if path == mount or path.startswith(f"{mount}/")
    ]
    return str(max(found)[1]) if found else ""

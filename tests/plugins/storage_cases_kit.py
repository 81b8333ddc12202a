"""Nodes, requests and known answers for the tests of storage, and the rules of volume plans written out plainly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from scheduler.plugins.storage import StoragePlugin
from scheduler.plugins.volume_plans import IO_KINDS, Binding, VolumeNode, disk_of_path
from scheduler.ports import Assignment, Inventory, NodeSlots

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eru-known-answers.json"
PLUGIN = StoragePlugin()


def known_answers(area: str) -> list[Any]:
    """One test parameter a case: what it is given (of vector and case together) and what it expects."""
    if not VECTORS.exists():
        reason = "the known answers are not beside the repository (shared/vectors)"
        return [pytest.param({}, {}, marks=pytest.mark.skip(reason=reason), id="absent")]
    return [
        pytest.param(vector["input"] | case["input"], case["expect"], id=f"{vector['id']}-{position}")
        for vector in json.loads(VECTORS.read_text())["vectors"]
        if vector["area"] == area
        for position, case in enumerate(vector["cases"])
    ]


def place_of(inventory: Inventory, device: str) -> int:
    """The position of the slot with the places of a device."""
    [position] = [at for at, slot in enumerate(inventory.slots) if slot.startswith(f"device:{device}:")]
    return position


def make_node(
    volumes: Mapping[str, Any], disks: Sequence[Mapping[str, Any]] = (), used: Mapping[str, int] | None = None
) -> NodeSlots:
    """A node of which ``used`` bytes of devices are taken."""
    inventory = PLUGIN.inventory({"volumes": volumes, "disks": disks}, {}, {})
    assert inventory is not None
    free = list(inventory.total)
    for device, amount in (used or {}).items():
        free[inventory.slots.index(f"volume:{device}")] -= amount
        if amount:
            free[place_of(inventory, device)] -= 1
    return NodeSlots(inventory, free)


def node_of_answer(given: Mapping[str, Any]) -> NodeSlots:
    """The node that a known answer speaks of; ``used`` beside the node takes precedence."""
    node = given["node"]
    disks = [
        {"device": disk["device"], "mounts": disk["mounts"], **dict(zip(IO_KINDS, disk["quota"], strict=True))}
        for disk in node.get("disks", ())
    ]
    return make_node(node["volumes"], disks, given.get("used", node.get("used")))


def take(node: NodeSlots, assignment: Assignment) -> NodeSlots:
    """The node without what ``assignment`` holds. Nothing may be taken that is not there."""
    free = list(node.free)
    for slot, amount in assignment.amounts.items():
        position = node.inventory.slots.index(slot)
        free[position] -= amount
        assert amount > 0
        assert free[position] >= 0 or slot in node.inventory.counted, f"{slot} is granted twice"
    return NodeSlots(node.inventory, free)


def copy_node(node: NodeSlots) -> NodeSlots:
    return NodeSlots(node.inventory, list(node.free))


def by_destination(assignment: Assignment) -> dict[str, dict[str, Any]]:
    return {volume["destination"]: volume for volume in assignment.detail}


DEVICES = ("/a", "/b", "/b/c", "/d")
MOUNTS = ("/", "/a", "/b", "/b/c", "/d", "/e")


@st.composite
def nodes(draw: st.DrawFn) -> NodeSlots:
    """Up to four devices of few bytes, some in use, on up to two disks."""
    volumes = draw(st.dictionaries(st.sampled_from(DEVICES), st.integers(1, 40), max_size=4))
    owners = draw(st.fixed_dictionaries({mount: st.integers(0, 2) for mount in MOUNTS}))
    disks = [
        {
            "device": f"/dev/{disk}",
            "mounts": [mount for mount in MOUNTS if owners[mount] == disk],
            **{kind: draw(st.integers(0, 12)) for kind in IO_KINDS},
        }
        for disk in (0, 1)
    ]
    used = {device: draw(st.one_of(st.just(0), st.integers(0, size))) for device, size in volumes.items()}
    return make_node(volumes, disks, used)


@st.composite
def binding_texts(draw: st.DrawFn, destination: str, with_io: bool = True) -> str:
    source = draw(st.sampled_from(("AUTO", "AUTO", "", "/e/x", "/b/c/x")))
    flags = draw(st.sampled_from(("rw", "rw", "ro", "rwm")))
    io = [draw(st.sampled_from((0, 0, 1, 3))) if with_io else 0 for _ in IO_KINDS]
    size = draw(st.integers(0, 12))
    if "m" in flags and not any(io):
        size = max(size, 1)
    return ":".join(map(str, (source, destination, flags, size, *io)))


@st.composite
def requests(draw: st.DrawFn, with_io: bool = True) -> dict[str, Any]:
    count = draw(st.integers(1, 4))
    texts = [draw(binding_texts(f"/mnt/{position}", with_io)) for position in range(count)]
    return PLUGIN.parse({"volumes": texts})


def bindings_of(request: Mapping[str, Any]) -> list[Binding]:
    """The bindings of a request in canonical form."""
    bindings = []
    for text in request["volumes"]:
        source, destination, flags, *amounts = text.split(":")
        size, *io = map(int, amounts)
        bindings.append(Binding(source, destination, flags, size, tuple(io)))
    return bindings


def reference_plans(node: VolumeNode, bindings: Sequence[Binding], most: int) -> list[dict[str, int]]:
    """By plan, the device of each normal binding by destination, by the rules as Eru states them: all normal plans, all
    monopoly plans, promote, again.

    Nothing is shared with the code under test but the disk of a path. Only for monopolies that ask no IO, which is
    where the order in which the two kinds of plan take IO does not matter.
    """
    kinds = [binding.kind for binding in bindings]
    by_size = sorted(range(len(bindings)), key=lambda position: bindings[position].size_bytes)
    normal = [bindings[position] for position in by_size if kinds[position] == "normal"]
    mounts = [binding for binding in bindings if binding.kind == "mount" and any(binding.io)]
    group_bytes = sum(binding.size_bytes for binding in bindings if binding.kind == "monopoly")
    if set(kinds) - {"mount"} and not node.total:
        return []
    used = {device for device in range(len(node.total)) if node.free[device] < node.total[device]}
    unused = sorted(set(range(len(node.total))) - used, key=lambda device: (node.total[device], device))
    while True:
        passes = _reference_passes(node, normal, mounts, used)
        normal_plans = list(islice(passes, most))
        large = [device for device in unused if node.total[device] >= group_bytes]
        monopoly_count = len(large) if "monopoly" in kinds else most
        holding = [device for device in unused if normal and node.total[device] >= normal[0].size_bytes]
        if monopoly_count <= len(normal_plans) or not holding:
            return normal_plans[:monopoly_count]
        used.add(holding[0])
        unused.remove(holding[0])


def _reference_passes(
    node: VolumeNode, normal: Sequence[Binding], mounts: Sequence[Binding], used: set[int]
) -> Iterator[dict[str, int]]:
    """Yield the devices of every pass in which all normal bindings and all mounts find room."""
    free = list(node.free)
    quota = {disk: list(left) for disk, left in enumerate(node.quota)}

    def charge(disk: int, io: Sequence[int]) -> bool:
        left = quota.get(disk, [0] * len(IO_KINDS))
        if any(asked > have for asked, have in zip(io, left, strict=True)):
            return False
        quota[disk] = [have - asked for asked, have in zip(io, left, strict=True)]
        return True

    while True:
        devices = {}
        for binding in normal:
            for device in sorted(used, key=lambda device: (free[device], device)):
                if free[device] >= binding.size_bytes and charge(node.disk_ids[device], binding.io):
                    free[device] -= binding.size_bytes
                    devices[binding.destination] = device
                    break
            else:
                return
        for mount in mounts:
            if not charge(disk_of_path(mount.source, node.mounts), mount.io):
                return
        yield devices

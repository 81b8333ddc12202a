"""The storage plugin: payloads, nodes, what the engine is told, and the known answers of Eru's own tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from storage_cases_kit import (
    PLUGIN,
    by_destination,
    copy_node,
    known_answers,
    make_node,
    node_of_answer,
    place_of,
    take,
)

from scheduler.commands import PublishResult
from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig
from scheduler.events import NodeCapacityChanged, NodeJoined
from scheduler.plugins.volume_plans import NO_DISK, TENANTS, disk_of_path, split_device
from scheduler.ports import COPIES_MAX, Assignment, Dimension, Inventory, NodeColumns, NodeSlots, SlotColumns
from scheduler.testing import Harness

GIB = 1 << 30
DISK = {"device": "/dev/sda", "mounts": ["/"], "read_iops": 100, "write_iops": 100, "read_bps": 1000, "write_bps": 1000}


# Known answers


def placed(assignment: Assignment) -> dict[str, dict[str, Any]]:
    return {
        destination: {"device": volume["source"], "bytes": volume["bytes"]}
        for destination, volume in by_destination(assignment).items()
    }


@pytest.mark.parametrize(("given", "expected"), known_answers("volume_plan"))
def test_known_volume_plans(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    node = node_of_answer(given)
    request = PLUGIN.parse({"volumes": given["requests"]})
    plans = PLUGIN.assign(request, copy_node(node), given["max_deploy_count"])
    assert PLUGIN.node_capacity(request, copy_node(node), given["max_deploy_count"]) == len(plans)

    answers: dict[str, Any] = {"plan_count": len(plans), "plan_count_rederived": len(plans)}
    if plans:
        answers["first_plan"] = placed(plans[0])
    sizes = [[volume["bytes"] for volume in plan.detail] for plan in plans]
    answers["newer_sizes_rederived"] = sizes
    for plan in plans:
        node = take(node, plan)
    if len(plans) < given["max_deploy_count"]:
        assert PLUGIN.node_capacity(request, copy_node(node), given["max_deploy_count"]) == 0
    answers["remaining"] = {
        slot.removeprefix("volume:"): free
        for slot, free in zip(node.inventory.slots, node.free, strict=True)
        if slot.startswith("volume:")
    }
    for name, value in expected.items():
        if name != "legacy_sizes":  # they leave a byte to nobody
            assert answers[name] == value, name


@pytest.mark.parametrize(("given", "expected"), known_answers("volume_affinity"))
def test_known_reallocs(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    node = node_of_answer(given)
    held_request = PLUGIN.parse({"volumes": list(given["old_plan"])})
    device_by_destination = {text.split(":")[1]: placement for text, placement in given["old_plan"].items()}
    detail = [
        {"source": placement["device"], "destination": destination, "bytes": placement["bytes"]}
        for destination, placement in device_by_destination.items()
    ]
    request = PLUGIN.merge(held_request, {"volumes": given["requests"]})
    assignment = PLUGIN.reassign(request, copy_node(node), Assignment(amounts={}, detail=detail), held_request)
    if "error" in expected:
        assert assignment is None
    else:
        assert assignment is not None
        assert placed(assignment) == expected["plan_by_destination_rederived"]
        take(node, assignment)


@pytest.mark.parametrize(("given", "expected"), known_answers("storage_capacity"))
def test_known_capacities(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    payload = {field: given[field] for field in ("volumes", "storage") if field in given}
    if "error" in expected:
        with pytest.raises(ValueError, match="storage"):
            PLUGIN.parse(payload)
        return
    request = PLUGIN.parse(payload)
    node = make_node(given["node"]["volumes"])
    assert node.inventory.capacity["storage"] == given["node"]["storage_total"]
    by_bytes = node.inventory.capacity["storage"] // PLUGIN.demand(request)["storage"]
    capacity = min(PLUGIN.node_capacity(request, node, given["max_deploy_count"]), by_bytes)
    assert given["nodes"] * capacity == expected["total"]


# Payloads of workloads


def test_parse_gives_one_form() -> None:
    parsed = PLUGIN.parse({"volumes": [":/b:wr:1GiB", "/host/./x:/a/:mro:0:1:2:1K:2M"], "storage": "10G"})
    assert parsed == {
        "volumes": ["/host/x:/a:mor:0:1:2:1024:2097152", f"AUTO:/b:rw:{GIB}:0:0:0:0"],
        "volume_limits": ["/host/x:/a:mor:0:1:2:1024:2097152", f"AUTO:/b:rw:{GIB}:0:0:0:0"],
        "storage": 10 * GIB,
        "storage_limit": 10 * GIB,
    }
    assert PLUGIN.parse(parsed) == parsed
    assert PLUGIN.parse({}) == {"volumes": [], "volume_limits": [], "storage": 0, "storage_limit": 0}


@pytest.mark.parametrize(
    ("text", "amount"),
    [("70", 70), ("1K", 1024), ("100M", 100 << 20), ("2GiB", 2 << 30), ("1.5g", 3 << 29), ("1PB", 1 << 50), (3, 3)],
)
def test_parse_reads_amounts(text: str | int, amount: int) -> None:
    assert PLUGIN.parse({"storage": text})["storage"] == amount


def test_limits_are_at_least_the_request() -> None:
    parsed = PLUGIN.parse({"volumes": ["AUTO:/a:rw:10", "AUTO:/b:rw:10"], "volume_limits": [":/b:rw:4", ":/a:rw:20"]})
    assert parsed["volume_limits"] == ["AUTO:/a:rw:20:0:0:0:0", "AUTO:/b:rw:10:0:0:0:0"]
    assert PLUGIN.parse({"volume_limits": [":/a:rw:20"]})["volumes"] == ["AUTO:/a:rw:20:0:0:0:0"]
    assert PLUGIN.parse({"storage_limit": 5})["storage"] == 5
    assert PLUGIN.parse({"storage": 7, "storage_limit": 5})["storage_limit"] == 7


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], r"^storage: \[\] must be a mapping"),
        ({"size": 1}, r"^storage\.size: no such field"),
        ({1: 1, "storage": 1}, r"^storage: 1 must be a text"),
        ({"storage": -1}, r"^storage\.storage: -1 must be at least 0"),
        ({"storage": True}, r"^storage\.storage: True must be a whole number"),
        ({"storage": "1.3K"}, r"^storage\.storage: '1.3K' is no whole number"),
        ({"storage": "9" * 5000}, r"^storage\.storage: '9+\.\.\.9+' is not a size"),
        ({"storage": 1 << 63}, r"^storage\.storage: \d+ must be at most"),
        ({"storage": (1 << 63) - 1, "volumes": [":/a:rw:1"]}, r"^storage: \d+ in all is more than"),
        ({"volumes": ":/a"}, r"^storage\.volumes: ':/a' must be a list"),
        ({"volumes": [7]}, r"^storage\.volumes\[0\]: 7 is not a binding"),
        ({"volumes": ["/a"]}, r"^storage\.volumes\[0\]: '/a' is not a binding"),
        ({"volumes": [":/a:rw:1:2"]}, r"^storage\.volumes\[0\]: .* is not a binding"),
        ({"volumes": [":a"]}, r"^storage\.volumes\[0\]\.destination: 'a' must be an absolute path"),
        ({"volumes": ["x:/a"]}, r"^storage\.volumes\[0\]\.source: 'x' must be an absolute path"),
        ({"volumes": [":/a/../b"]}, r"^storage\.volumes\[0\]\.destination: .* must not contain"),
        ({"volumes": [":/a:r1:5"]}, r"^storage\.volumes\[0\]: flags 'r1' must be letters"),
        ({"volumes": [":/a:rw:-1"]}, r"^storage\.volumes\[0\]\.size: -1 must be at least 0"),
        ({"volumes": [":/a:rw:1:-1:0:0:0"]}, r"^storage\.volumes\[0\]\.read_iops: -1 must be at least 0"),
        ({"volumes": [":/a:rwm"]}, r"^storage\.volumes: monopoly '/a' has neither size nor IO"),
        ({"volumes": [":/a", "/x:/a/"]}, r"^storage\.volumes: destination '/a' is given twice"),
        ({"volumes": [":/a:rw:5"], "volume_limits": [":/a:ro:5"]}, r"^storage\.volume_limits: give one for each"),
    ],
)
def test_parse_names_what_is_wrong(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLUGIN.parse(payload)


def test_demand_is_storage_and_all_volumes() -> None:
    assert PLUGIN.demand(PLUGIN.parse({"volumes": [":/a:rw:5", ":/b:rwm:7"], "storage": 3})) == {"storage": 15}
    assert PLUGIN.demand(PLUGIN.parse({})) == {}


def test_merge_adds_and_removes() -> None:
    request = PLUGIN.parse({"volumes": [":/a:rw:5:1:0:0:0", ":/b:rw:5", ":/c:rw:5"], "storage": 3})
    changed = PLUGIN.merge(
        request, {"volumes": [":/a:rw:-5", ":/b:rw:-6", ":/c:rw:1", ":/d:rw:2", ":/e:rw:-2"], "storage": -1}
    )
    volumes = ["AUTO:/a:rw:0:1:0:0:0", "AUTO:/c:rw:6:0:0:0:0", "AUTO:/d:rw:2:0:0:0:0"]
    assert changed == {"volumes": volumes, "volume_limits": volumes, "storage": 2, "storage_limit": 2}
    assert PLUGIN.parse(changed) == changed
    assert PLUGIN.merge(request, {}) == request


def test_merge_keeps_separate_limits() -> None:
    request = PLUGIN.parse({"volumes": [":/a:rw:5"], "volume_limits": [":/a:rw:9"], "storage": 1, "storage_limit": 4})
    grown = PLUGIN.merge(request, {"volumes": [":/a:rw:1"], "volume_limits": [], "storage": 2, "storage_limit": 0})
    assert grown["volumes"] == ["AUTO:/a:rw:6:0:0:0:0"]
    assert grown["volume_limits"] == ["AUTO:/a:rw:9:0:0:0:0"]
    assert (grown["storage"], grown["storage_limit"]) == (3, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"storage": -6}, r"^storage\.storage: it would be -1; take at most 5"),
        ({"volumes": [":/a:rw:0:-2:0:0:0"]}, r"^storage\.volumes: read_iops of '/a' would be -1"),
        ({"volumes": [":/a:ro:5"]}, r"^storage\.volumes: destination '/a' is given twice"),
        ({"volumes": [":/b:rwm:-5"]}, r"^storage\.volumes: monopoly '/b' has neither"),
        ({"volumes": [":/a:rw:x"]}, r"^storage\.volumes\[0\]\.size: 'x' is not a size"),
    ],
)
def test_merge_names_what_is_wrong(change: Any, message: str) -> None:
    request = PLUGIN.parse({"volumes": [":/a:rw:5:1:0:0:0", ":/b:rwm:5"], "storage": 5})
    with pytest.raises(ValueError, match=message):
        PLUGIN.merge(request, change)


# Nodes


def test_inventory_has_a_slot_for_every_device_and_quota() -> None:
    inventory = PLUGIN.inventory({"volumes": {"/b": "1K", "/a": 5}, "disks": [DISK], "storage": 7}, {}, {})
    assert inventory is not None
    assert dict(zip(inventory.slots, inventory.total, strict=True)) == {
        "volume:/a": 5,
        "volume:/b": 1024,
        "disk:/dev/sda:read_iops": 100,
        "disk:/dev/sda:write_iops": 100,
        "disk:/dev/sda:read_bps": 1000,
        "disk:/dev/sda:write_bps": 1000,
        "device:/a:/dev/sda": TENANTS,
        "device:/b:/dev/sda": TENANTS,
        "mount:/:/dev/sda": 0,
    }
    assert inventory.counted == ("mount:/:/dev/sda",)
    assert inventory.capacity == {"storage": 1036}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(inventory.layout)) == inventory.layout
    assert PLUGIN.inventory(None, {"storage": 5}, {}) is None


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"volumes": {"a": 1}}, r"^storage\.volumes: 'a' must be an absolute path"),
        ({"volumes": {"/a": -1}}, r"^storage\.volumes\./a: -1 must be at least 0"),
        ({"volumes": {"/a": 1, "/a/": 1}}, r"^storage\.volumes: device '/a' is given twice"),
        ({"volumes": {"/a": (1 << 63) - 1, "/b": 1}}, r"^storage: more than \d+ bytes"),
        ({"disks": [{"mounts": ["/"]}]}, r"^storage\.disks\[0\]\.device: None must be an absolute path"),
        ({"disks": [DISK, DISK]}, r"^storage\.disks: device '/dev/sda' is given twice"),
        ({"disks": [DISK, DISK | {"device": "/dev/sdb"}]}, r"^storage\.disks: mount '/' is given twice"),
        ({"disks": [DISK | {"iops": 1}]}, r"^storage\.disks\[0\]\.iops: no such field"),
    ],
)
def test_inventory_names_what_is_wrong(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLUGIN.inventory(payload, {}, {})


def test_change_node_puts_fields_in_place() -> None:
    payload = {"volumes": {"/a": 5}, "disks": [DISK], "storage": 7}
    before = copy.deepcopy(payload)
    changed = PLUGIN.change_node(payload, {"volumes": {"/b": "1K"}}, is_delta=False)
    assert changed == {"volumes": {"/b": 1024}, "disks": [DISK], "storage": 7}
    assert PLUGIN.change_node(payload, {"remove_disks": ["/dev/sda"]}, is_delta=False)["disks"] == []
    assert PLUGIN.change_node(None, payload, is_delta=False) == payload
    assert payload == before


def test_change_node_adds_a_difference() -> None:
    payload = {"volumes": {"/a": 5}, "disks": [DISK], "storage": 7}
    before = copy.deepcopy(payload)
    more = {"device": "/dev/sdb", "mounts": ["/a"], "read_iops": 3}
    change = {
        "volumes": {"/a": -2, "/b": 4},
        "storage": "1K",
        "disks": [{"device": "/dev/sda", "read_bps": -400}, more],
    }
    changed = PLUGIN.change_node(payload, change, is_delta=True)
    assert changed["volumes"] == {"/a": 3, "/b": 4}
    assert changed["storage"] == 1031
    assert changed["disks"] == [DISK | {"read_bps": 600}, more | {"write_iops": 0, "read_bps": 0, "write_bps": 0}]
    moved = PLUGIN.change_node(changed, {"disks": [{"device": "/dev/sda", "mounts": ["/c"]}]}, is_delta=True)
    assert moved["disks"][0]["mounts"] == ["/c"]
    replaced = PLUGIN.change_node(changed, {"remove_disks": ["/dev/sda"], "disks": [more]}, is_delta=True)
    assert [disk["read_iops"] for disk in replaced["disks"]] == [6]
    assert payload == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volumes": {"/a": -6}}, r"^storage\.volumes\./a: -1 must be at least 0"),
        ({"storage": -1}, r"^storage\.storage: -1 must be at least 0"),
        ({"disks": [{"device": "/dev/sda", "read_iops": -101}]}, r"^storage\.disks\[0\]\.read_iops: -1 must be"),
        ({"remove_disks": ["/dev/x"]}, r"^storage\.remove_disks: no disk '/dev/x'"),
        ({"cpu": 1}, r"^storage\.cpu: no such field"),
    ],
)
def test_change_node_names_what_is_wrong(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLUGIN.change_node({"volumes": {"/a": 5}, "disks": [DISK]}, change, is_delta=True)


# Placement


def test_a_mount_is_a_prefix_by_components() -> None:
    mounts = [("/data", 0), ("/data/fast", 1)]
    assert disk_of_path("/data1", mounts) == NO_DISK
    assert disk_of_path("/data/x", mounts) == 0
    assert disk_of_path("/data/fast", mounts) == 1
    assert disk_of_path("/data/faster", mounts) == 0
    assert disk_of_path("/other", [("/", 3), *mounts]) == 3


def test_splitting_is_exact_beyond_float_precision() -> None:
    device = (1 << 53) + 1
    assert split_device([1, 1, 1], 3 * device) == [device, device, device]
    assert split_device([100, 200], 2000) == [667, 1333]
    assert split_device([0, 0], 7) == [7, 0]


def test_io_is_a_guarantee_over_deploy_and_mounts() -> None:
    node = make_node({"/a": 1000}, [DISK])
    request = PLUGIN.parse({"volumes": [":/x:rw:1:40:0:0:0", "/home:/y:rw:0:20:0:0:0"]})
    plans = PLUGIN.assign(request, node, COPIES_MAX)
    assert [plan.amounts for plan in plans] == [
        {"volume:/a": 1, "device:/a:/dev/sda": 1, "disk:/dev/sda:read_iops": 60, "mount:/:/dev/sda": 1}
    ]


def test_paths_without_a_disk_have_no_io_to_give() -> None:
    node = make_node({"/a": 1000}, [DISK | {"mounts": ["/b"]}])
    for text in (":/x:rw:1:1:0:0:0", "/home:/x:rw:0:1:0:0:0", ":/x:rwm:1:1:0:0:0"):
        assert PLUGIN.assign(PLUGIN.parse({"volumes": [text]}), copy_node(node), 1) == []
        assert PLUGIN.node_capacity(PLUGIN.parse({"volumes": [text]}), copy_node(node), 1) == 0
    assert len(PLUGIN.assign(PLUGIN.parse({"volumes": [":/x:rw:1", "/home:/y"]}), node, 5)) == 5


def test_normal_and_monopoly_share_the_io_of_a_disk() -> None:
    node = make_node({"/a": 100, "/b": 100, "/c": 100}, [DISK])
    request = PLUGIN.parse({"volumes": [":/x:rw:1:10:0:0:0", ":/y:rwm:1:10:0:0:0"]})
    assert PLUGIN.node_capacity(request, node, COPIES_MAX) == 2


def test_unlimited_goes_where_most_is_left() -> None:
    node = make_node({"/a": 10, "/b": 10, "/c": 9})
    plans = PLUGIN.assign(PLUGIN.parse({"volumes": [":/x:rw:2", ":/y"]}), node, 3)
    assert [by_destination(plan)["/x"]["source"] for plan in plans] == ["/c", "/c", "/c"]
    assert [by_destination(plan)["/y"]["source"] for plan in plans] == ["/a", "/a", "/a"]
    assert plans[0].amounts == {"volume:/c": 2, "device:/c:": 1, "device:/a:": 1}
    assert PLUGIN.assign(PLUGIN.parse({"volumes": [":/y"]}), make_node({}), 3) == []
    assert PLUGIN.node_capacity(PLUGIN.parse({"volumes": [":/y"]}), make_node({}), 3) == 0


def test_what_asks_for_nothing_fits_anywhere() -> None:
    node = NodeSlots(Inventory(slots=(), total=()), [])
    for payload in ({}, {"storage": 5}):
        assert PLUGIN.assign(PLUGIN.parse(payload), node, 3) == [Assignment(amounts={})] * 3
    mounts = PLUGIN.assign(PLUGIN.parse({"volumes": ["/h:/x:ro"]}), node, 2)
    assert [(plan.amounts, plan.detail[0]["source"]) for plan in mounts] == [({}, "/h")] * 2
    columns = columns_of(node, rows=1)
    assert PLUGIN.capacity(PLUGIN.parse({"volumes": ["/h:/x:ro"]}), columns, None) is None  # type: ignore[arg-type]


def test_opening_only_what_is_needed() -> None:
    node = make_node({"/a": 10, "/b": 20, "/c": 5}, used={"/b": 1})
    request = PLUGIN.parse({"volumes": [":/x:rw:4"]})
    assert [plan.detail[0]["source"] for plan in PLUGIN.assign(request, node, 4)] == ["/b"] * 4
    assert PLUGIN.node_capacity(request, node, COPIES_MAX) == 4 + 1 + 2


def test_realloc_that_would_have_to_move_is_refused() -> None:
    node = make_node({"/a": 10, "/b": 20}, [DISK])
    held_request = PLUGIN.parse({"volumes": [":/x:rw:4:10:0:0:0"]})
    [held] = PLUGIN.assign(held_request, copy_node(node), 1)
    assert held.detail[0]["source"] == "/a"
    for delta in (":/x:rw:7", ":/x:rw:0:91:0:0:0", "/h:/y:rw:0:91:0:0:0"):
        request = PLUGIN.merge(held_request, {"volumes": [delta]})
        assert PLUGIN.reassign(request, copy_node(node), held, held_request) is None
    request = PLUGIN.merge(held_request, {"volumes": [":/x:rw:6:90:0:0:0"]})
    grown = PLUGIN.reassign(request, copy_node(node), held, held_request)
    assert grown is not None
    assert grown.amounts == {"volume:/a": 10, "device:/a:/dev/sda": 1, "disk:/dev/sda:read_iops": 100}


def test_realloc_of_a_monopoly_beyond_its_device_is_refused() -> None:
    node = make_node({"/a": 10, "/b": 20})
    held_request = PLUGIN.parse({"volumes": [":/x:rwm:4"]})
    [held] = PLUGIN.assign(held_request, copy_node(node), 1)
    request = PLUGIN.merge(held_request, {"volumes": [":/y:rwm:7"]})
    assert PLUGIN.reassign(request, copy_node(node), held, held_request) is None
    assert PLUGIN.reassign(held_request, copy_node(node), held, held_request) == held


def test_realloc_on_a_device_that_is_gone_is_refused() -> None:
    held_request = PLUGIN.parse({"volumes": [":/x:rw:4"]})
    [held] = PLUGIN.assign(held_request, make_node({"/a": 10}), 1)
    assert PLUGIN.reassign(held_request, make_node({"/b": 10}), held, held_request) is None


# Whole devices, and what is in use


def hold(node: NodeSlots, *texts: str) -> tuple[NodeSlots, list[str]]:
    """The node after one workload with the volumes, and the devices these are on; none where they do not fit."""
    plans = PLUGIN.assign(PLUGIN.parse({"volumes": list(texts)}), copy_node(node), 1)
    return (take(node, plans[0]), [volume["source"] for volume in plans[0].detail]) if plans else (node, [])


def test_defect_a_device_without_bytes_is_monopolised_once() -> None:
    node, devices = hold(make_node({"/d0": 0}, [DISK]), ":/x:rwm:0:1:1:0:0")
    assert devices == ["/d0"]
    assert hold(node, ":/x:rwm:0:1:1:0:0")[1] == []
    assert len(PLUGIN.assign(PLUGIN.parse({"volumes": [":/x:rwm:0:1:1:0:0"]}), make_node({"/d0": 0}, [DISK]), 9)) == 1


@pytest.mark.parametrize("first", [":/x:rw:0:1:1:0:0", ":/x"])
def test_defect_a_device_with_a_volume_of_no_bytes_is_no_monopoly(first: str) -> None:
    node, devices = hold(make_node({"/d0": 10, "/d1": 20}, [DISK]), first)
    node, monopoly = hold(node, ":/x:rwm:1")
    assert [*devices, *monopoly] in (["/d0", "/d1"], ["/d1", "/d0"])
    assert hold(node, ":/x:rwm:1")[1] == []


@pytest.mark.parametrize("later", [":/x:rw:0:1:1:0:0", ":/x"])
def test_defect_nothing_is_put_on_a_monopoly(later: str) -> None:
    node, devices = hold(make_node({"/d0": 10}, [DISK]), ":/x:rwm:1")
    assert devices == ["/d0"]
    assert hold(node, later)[1] == []
    assert hold(make_node({"/d0": 10}, [DISK]), ":/x:rwm:1", ":/y")[1] == []


def test_an_unlimited_volume_does_not_take_a_monopoly_of_the_next_copy() -> None:
    node = make_node({"/a": 10, "/b": 10, "/c": 10})
    request = PLUGIN.parse({"volumes": [":/x:rwm:1", ":/y"]})
    plans = [[volume["source"] for volume in plan.detail] for plan in PLUGIN.assign(request, node, 9)]
    assert plans == [["/a", "/b"], ["/c", "/b"]]


def test_realloc_may_not_make_a_monopoly_of_a_device_that_others_are_on() -> None:
    request = PLUGIN.parse({"volumes": [":/x:rw:1"]})
    [held] = PLUGIN.assign(request, make_node({"/a": 10}), 1)
    wider = PLUGIN.merge(request, {"volumes": [":/x:rw:-2", ":/y:rwm:1"]})
    assert PLUGIN.reassign(wider, make_node({"/a": 10, "/b": 10}), held, request).detail[0]["source"] == "/b"  # type: ignore[union-attr]
    shared = make_node({"/a": 10})
    shared.free[place_of(shared.inventory, "/a")] -= 1
    assert PLUGIN.reassign(wider, shared, held, request) is None


SDB = DISK | {"device": "/dev/sdb", "mounts": []}


@pytest.mark.parametrize(
    ("volume", "change", "slot"),
    [
        (":/x:rw:0:1:0:0:0", {"volumes": {"/d1": 10}}, "device:/d0:/dev/sda"),
        (":/x", {"volumes": {"/d1": 10}}, "device:/d0:/dev/sda"),
        (":/x:rw:1", {"disks": [DISK | {"mounts": []}, SDB | {"mounts": ["/"]}]}, "device:/d0:/dev/sda"),
        (":/x:rw:1", {"remove_disks": ["/dev/sda"]}, "device:/d0:/dev/sda"),
        ("/h:/x:rw:0:1:0:0:0", {"disks": [DISK | {"mounts": []}, SDB | {"mounts": ["/"]}]}, "mount:/:/dev/sda"),
        (":/x:rwm:1", {"disks": [DISK, SDB | {"mounts": ["/d0"]}]}, "device:/d0:/dev/sda"),
    ],
)
def test_defect_what_serves_volumes_that_are_there_stays(volume: str, change: Any, slot: str) -> None:
    node = {"volumes": {"/d0": 10}, "disks": [DISK, SDB]}
    config = CoreConfig(dimensions=(CPU, MEMORY, Dimension("storage", "bytes")), plugins=(PluginConfig("storage"),))
    harness = Harness(config, plugins=[PLUGIN])
    harness.step(NodeJoined(node_id="n", capacity={"cpu": 1000}, resources={"storage": node}))
    harness.submit("w", 0, 0, 0, payloads={"storage": {"volumes": [volume]}})
    assert harness.node_of("w") == "n"
    moved = NodeCapacityChanged(node_id="n", resources={"storage": change})
    [refused] = [command for command in harness.step(moved) if isinstance(command, PublishResult)]
    assert refused.outcome == "refused"
    assert refused.detail.startswith(f"{slot}: it would go, but ")
    harness.exited("w")
    assert not any(isinstance(command, PublishResult) for command in harness.step(moved))


# What is found running


FOUND = ["/h:/m:rw:0:1:0:0:0", ":/n:rw:3", ":/o:rwm:4", ":/p:rwm:2", ":/u"]


def found() -> tuple[Any, Inventory, Assignment]:
    node = make_node({"/a": 10, "/b": 20, "/c": 30}, [DISK])
    request = PLUGIN.parse({"volumes": FOUND})
    return request, node.inventory, PLUGIN.assign(request, node, 1)[0]


def test_what_was_assigned_may_be_found() -> None:
    PLUGIN.check_assignment(*found())
    request, inventory, assignment = found()
    decoded = msgspec.json.decode(msgspec.json.encode(assignment), type=Assignment)
    PLUGIN.check_assignment(request, inventory, decoded)
    PLUGIN.check_assignment(PLUGIN.parse({}), inventory, Assignment(amounts={}))


def without(detail: list[dict[str, Any]], position: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**volume, **(fields if at == position else {})} for at, volume in enumerate(detail)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda detail: None, "storage.detail: 0 volumes; 5 are asked"),
        (lambda detail: {"x": 1}, "storage.detail: {'x': 1} must be a list"),
        (lambda detail: {"numa": 5}, "storage.detail: {'numa': 5} must be a list"),
        (lambda detail: [{"x": 1}] * 5, r"storage.detail\[1\].source: None is no device of the node"),
        (lambda detail: [None] * 5, r"storage.detail\[0\]: None must be a mapping"),
        (lambda detail: without(detail, 1, source="/nope"), r"storage.detail\[1\].source: '/nope' is no device"),
        (lambda detail: without(detail, 1, source=detail[2]["source"]), "storage.detail: a monopoly is not alone"),
        (lambda detail: without(detail, 3, source=detail[1]["source"]), "storage.detail: a monopoly is not alone"),
        (lambda detail: without(detail, 0, source="/other"), "storage.detail: "),
        (lambda detail: without(detail, 1, bytes=2), "storage.detail: "),
        (lambda detail: without(detail, 1, bytes=3.0), "storage.detail: "),
        (lambda detail: without(detail, 2, bytes=4), "storage.detail: "),
        (lambda detail: without(detail, 1, disk="/dev/sdb"), "storage.detail: "),
        (lambda detail: without(detail, 1, x=1), "storage.detail: "),
        (lambda detail: without(detail, 4, source="/a", disk=""), "storage.amounts: "),
        (lambda detail: detail[::-1], "storage.detail"),
    ],
)
def test_what_could_not_have_been_assigned_may_not_be_found(damage: Any, message: str) -> None:
    request, inventory, assignment = found()
    nonsense = Assignment(amounts=assignment.amounts, detail=damage(assignment.detail))
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        PLUGIN.check_assignment(request, inventory, nonsense)
    assert "\n" not in str(refusal.value)


def test_amounts_are_those_of_the_volumes() -> None:
    request, inventory, assignment = found()
    for slot in assignment.amounts:
        for amounts in ({**assignment.amounts, slot: 1 << 40}, {**assignment.amounts, "volume:/x": 1}):
            with pytest.raises(ValueError, match=r"^storage.amounts: "):
                PLUGIN.check_assignment(request, inventory, Assignment(amounts=amounts, detail=assignment.detail))


# Columns and the engine


def columns_of(node: NodeSlots, rows: int) -> NodeColumns:
    """Rows of one node each, the last of which has nothing of storage if there are more than one."""
    ids = np.zeros(rows, dtype=np.int64)
    if rows > 1:
        ids[-1] = -1
    free = np.zeros((rows, len(node.free)), dtype=np.int64)
    free[ids >= 0] = node.free
    amounts = np.full((1, rows), 100, dtype=np.int64)
    slots = SlotColumns([node.inventory], ids, free)
    return NodeColumns(
        (Dimension("storage", "bytes"),), np.arange(rows), amounts - 25, amounts, np.array([100], dtype=np.int64), slots
    )


def test_capacity_by_row() -> None:
    columns = columns_of(make_node({"/a": 10}), rows=3)
    assert PLUGIN.capacity(PLUGIN.parse({"volumes": [":/x:rw:4"]}), columns, None).tolist() == [2, 2, 0]  # type: ignore


def test_usage_is_that_of_volumes_if_any_are_asked() -> None:
    columns = columns_of(make_node({"/a": 10, "/b": 10}, [DISK], used={"/a": 5}), rows=2)
    volumes = PLUGIN.usage(PLUGIN.parse({"volumes": [":/x:rw:4"], "storage": 50}), columns, None)  # type: ignore[arg-type]
    assert volumes is not None
    assert (volumes.usage.tolist(), volumes.rate.tolist(), volumes.weight) == ([0.25, 0.0], [0.2, 0.0], 1.0)
    storage = PLUGIN.usage(PLUGIN.parse({"storage": 50}), columns, None)  # type: ignore[arg-type]
    assert storage is not None
    assert (storage.usage.tolist(), storage.rate.tolist()) == ([0.25, 0.25], [0.5, 0.5])
    assert PLUGIN.usage(PLUGIN.parse({}), columns, None) is None  # type: ignore[arg-type]


def test_engine_args() -> None:
    node = make_node({"/a": 10}, [DISK])
    volumes = [":/x:rwm:4:1:0:0:0", "/h:/y:ro:0:2:0:7:0", "/h:/z"]
    limits = [":/x:rwm:40:5:0:0:0", "/h:/y:ro:0:2:0:7:0", "/h:/z"]
    request = PLUGIN.parse({"volumes": volumes, "volume_limits": limits, "storage": 3})
    [assignment] = PLUGIN.assign(request, node, 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(assignment.detail)) == assignment.detail
    arguments = PLUGIN.engine_args(request, assignment, None)
    assert arguments == {
        "volumes": ["/a:/x:rw:40", "/h:/y:ro:0", "/h:/z:rw:0"],
        "io_limits": {"/dev/sda": {"read_iops": 7, "read_bps": 7}},
        "storage_bytes": 43,
    }
    assert set(arguments) == set(PLUGIN.engine_keys)
    assert PLUGIN.engine_args(PLUGIN.parse({}), Assignment(amounts={}), None) == {}

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from gpu_slots_kit import NO_FACTS, columns_of, copy_of, device_units, most_sets, taken_from
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler.plugins.gpu import GpuPlugin
from scheduler.ports import COPIES_MAX, NOTHING, UNLIMITED, Assignment, Inventory, NodeSlots

GIB = 2**30
VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eru-known-answers.json"
PLUGIN = GpuPlugin()
ISLANDS = {"model": "V100", "count": 8, "islands": [[0, 1, 2, 3], [4, 5, 6, 7]]}


def inventory_of(payload: Any) -> Inventory:
    inventory = PLUGIN.inventory(payload, {}, {})
    assert inventory is not None
    return inventory


def node_of(payload: Any, free: dict[str, int] | None = None) -> NodeSlots:
    inventory = inventory_of(payload)
    left = dict(zip(inventory.slots, inventory.total, strict=True)) | (free or {})
    return NodeSlots(inventory, list(left.values()))


def chosen(payload: Any, node: NodeSlots, most: int = COPIES_MAX) -> list[list[str]]:
    assigned = PLUGIN.assign(PLUGIN.parse(payload), copy_of(node), most)
    taken_from(node, assigned)
    return [assignment.detail["devices"] for assignment in assigned]


def capacities(payload: Any, *nodes: NodeSlots, plugin: GpuPlugin = PLUGIN) -> list[int]:
    columns = columns_of([node.inventory for node in nodes], list(enumerate(node.free for node in nodes)))
    counts: list[int] = plugin.capacity(plugin.parse(payload), columns, NO_FACTS).tolist()
    return counts


# Islands, and what is found running


def test_defect_whole_devices_of_a_thousand_islands_are_found() -> None:
    devices = [{"id": str(number), "model": "a", "link": str(number)} for number in range(1024)]
    assert chosen({"count": 1024}, node_of({"devices": devices})) == [[str(number) for number in range(1024)]]


FOUND = {"groups": [{"count": 1, "models": ["T4"]}, {"count": 2, "milli": 300, "memory": 5}]}
FOUND_NODE = {"devices": [{"id": name, "model": "T4" if name < "c" else "V100", "memory": 9} for name in "abcd"]}


def test_what_was_assigned_may_be_found() -> None:
    node = node_of(FOUND_NODE)
    for payload in (FOUND, {}, {"count": 2}, {"count": 2, "milli": 10}, {"prod_count_map": {"T4": 1, "V100": 1}}):
        request = PLUGIN.parse(payload)
        [assignment] = PLUGIN.assign(request, copy_of(node), 1)
        PLUGIN.check_assignment(request, node.inventory, assignment)


TWO_DEVICES = {"a": 1000, "c": 1000}


@pytest.mark.parametrize(
    ("payload", "amounts", "detail", "message"),
    [
        ({}, {"a": 1}, None, "gpu.amounts: {'a': 1} is not what is asked"),
        ({}, {}, {"devices": []}, "gpu.detail: {'devices': \\[\\]} is not what is asked"),
        ({"count": 2}, TWO_DEVICES, None, "gpu.detail: None must be a mapping"),
        ({"count": 2}, TWO_DEVICES, {"numa": 5}, "gpu.detail.numa: no such field"),
        ({"count": 2}, TWO_DEVICES, {}, "gpu.detail.devices: None must be a list"),
        ({"count": 2}, TWO_DEVICES, {"devices": 5}, "gpu.detail.devices: 5 must be a list"),
        ({"count": 2}, TWO_DEVICES, {"devices": [0, 2]}, "gpu.detail.devices: 0 must be a text"),
        ({"count": 2}, TWO_DEVICES, {"devices": ["a"]}, "gpu.detail.devices: .* are 1; 2 are asked"),
        ({"count": 2}, TWO_DEVICES, {"devices": ["a", "a"]}, "gpu.detail.devices: .* are not 2 different"),
        ({"count": 2}, TWO_DEVICES, {"devices": ["a", "x"]}, "gpu.detail.devices: .* are not 2 different"),
        ({"count": 2}, TWO_DEVICES, {"devices": ["a", "c/memory"]}, "gpu.detail.devices: .* are not 2 different"),
        ({"count": 2, "models": ["T4"]}, TWO_DEVICES, {"devices": ["a", "c"]}, "gpu.detail.devices: .* that suit"),
        ({"count": 2, "memory": 10}, TWO_DEVICES, {"devices": ["a", "c"]}, "gpu.detail.devices: .* that suit"),
        ({"count": 2}, TWO_DEVICES, {"devices": ["a", "c"]}, "gpu.amounts: .* is not what is asked"),
        ({"milli": 300}, {"a": 301}, {"devices": ["a"]}, "gpu.amounts: {'a': 301} is not what is asked"),
    ],
)
def test_what_could_not_have_been_assigned_may_not_be_found(
    payload: Any, amounts: dict[str, int], detail: Any, message: str
) -> None:
    inventory = inventory_of(FOUND_NODE)
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        PLUGIN.check_assignment(PLUGIN.parse(payload), inventory, Assignment(amounts=amounts, detail=detail))
    assert "\n" not in str(refusal.value)


def test_devices_may_not_be_found_on_a_node_without() -> None:
    nonsense = Assignment(amounts={}, detail={"devices": ["a"]})
    with pytest.raises(ValueError, match=r"^gpu\.detail\.devices: \['a'\] are not 1 different devices"):
        PLUGIN.check_assignment(PLUGIN.parse({"count": 1}), NOTHING, nonsense)


# Known answers


def vector_cases() -> list[Any]:
    if not VECTORS.exists():
        reason = "the known answers are not beside the repository (shared/vectors)"
        return [pytest.param({}, {}, 0, marks=pytest.mark.skip(reason=reason))]
    vectors = [vector for vector in json.loads(VECTORS.read_text())["vectors"] if vector["area"] == "gpu_capacity"]
    return [
        pytest.param(vector["input"], case["input"]["request"], case["expect"]["total"], id=f"{vector['id']}-{number}")
        for vector in vectors
        for number, case in enumerate(vector["cases"])
    ]


@pytest.mark.parametrize(("cluster", "request_cards", "total"), vector_cases())
def test_known_capacities(cluster: dict[str, Any], request_cards: dict[str, int], total: int) -> None:
    plugin = GpuPlugin(unasked_capacity=1_000_000)
    node = node_of({"prod_count_map": cluster["cards_per_node"]})
    answered = capacities({"prod_count_map": request_cards}, *[node] * cluster["nodes"], plugin=plugin)
    assert sum(answered) == total


# Inventories


def test_a_list_of_devices_gives_their_slots_then_their_memories() -> None:
    inventory = inventory_of(
        {
            "devices": [
                {"id": "a", "model": "V100", "memory": "32G", "numa": 1, "link": "x"},
                {"id": "b", "model": "T4", "numa": 1},
                {"id": "c", "model": "T4", "memory": 16 * GIB, "numa": 0},
                {"id": "d", "model": "V100", "memory": "32g", "link": "x"},
                {"id": "e", "model": "K80"},
            ]
        }
    )
    assert inventory.slots == ("a", "b", "c", "d", "e", "a/memory", "c/memory", "d/memory")
    assert inventory.total == (1000, 1000, 1000, 1000, 1000, 32 * GIB, 16 * GIB, 32 * GIB)
    assert inventory.layout["islands"] == [0, 1, 2, 0, 3]
    assert inventory.layout["memory_slots"] == [5, -1, 6, 7, -1]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(inventory), type=Inventory) == inventory


def test_short_forms() -> None:
    uniform = inventory_of({"model": "V100", "count": 3, "memory": "1G", "islands": [[2]]})
    assert uniform.slots == ("0", "1", "2", "0/memory", "1/memory", "2/memory")
    assert uniform.layout["islands"] == [0, 0, 1]
    cards = inventory_of({"prod_count_map": {"b": 1, "a": 2, "c": 0}})
    assert cards.slots == ("a-0", "a-1", "b-0")
    assert cards.layout["models"] == ["a", "a", "b"]


def test_the_label_and_the_dimension_stand_in_for_a_payload() -> None:
    labelled = PLUGIN.inventory(None, {"gpu": 2999, "cpu": 8000}, {"gpu_model": "P100"})
    assert labelled is not None
    assert (labelled.slots, labelled.layout["models"]) == (("0", "1"), ["P100", "P100"])
    assert PLUGIN.inventory(None, {"gpu": 2000}, {}) is None
    assert PLUGIN.inventory(None, {"gpu": 0}, {"gpu_model": "P100"}) is None
    assert PLUGIN.inventory({"devices": []}, {"gpu": 2000}, {"gpu_model": "P100"}) is None


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "gpu: [] must be a mapping"),
        ({"devices": "ab"}, "gpu.devices: 'ab' must be a list"),
        ({"devices": [{"id": "a"}]}, "gpu.devices[0].model: None must be a text that is not empty"),
        ({"devices": [{"id": 0, "model": "T4"}]}, "gpu.devices[0].id: 0 must be a text that is not empty"),
        ({"devices": [{"id": "a", "model": "T4"}] * 2}, "gpu.devices: 'a' must be unique and not end with '/memory'"),
        ({"devices": [{"id": "a/memory", "model": "T4"}]}, "'a/memory' must be unique and not end with '/memory'"),
        (
            {"devices": [{"id": "a", "model": "T4", "numa": -1}]},
            "gpu.devices[0].numa: -1 must be at least 0",
        ),
        ({"devices": [{"id": "a", "model": "T4", "memory": "1X"}]}, "gpu.devices[0].memory: '1X' is not a size"),
        ({"devices": [], "count": 1}, "gpu.count: no such field; there are devices"),
        ({"model": "T4", "count": 1025}, "gpu.count: 1025 must be at most 1024"),
        ({"model": "T4"}, "gpu.count: None must be a whole number"),
        ({"model": "T4", "count": 2, "islands": [[0], [0]]}, "gpu.islands[1]: device 0 is in another island"),
        ({"model": "T4", "count": 2, "islands": [[2]]}, "gpu.islands[0]: 2 must be at most 1"),
        ({"prod_count_map": {"T4": True}}, "gpu.prod_count_map.T4: True must be a whole number"),
    ],
)
def test_bad_nodes_are_refused_by_name(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match="gpu") as error:
        PLUGIN.inventory(payload, {}, {})
    assert message in str(error.value)
    with pytest.raises(ValueError, match="gpu"):
        PLUGIN.change_node(None, payload, is_delta=False)


def test_capacity_changes_in_place_and_by_difference() -> None:
    assert PLUGIN.change_node(ISLANDS, {"model": "T4", "count": 1}, is_delta=False) == {"model": "T4", "count": 1}
    assert PLUGIN.change_node(ISLANDS, None, is_delta=False) is None
    fewer = PLUGIN.change_node(ISLANDS, {"count": -5}, is_delta=True)
    assert inventory_of(fewer).slots == ("0", "1", "2")
    more = PLUGIN.change_node(ISLANDS, {"count": 2}, is_delta=True)
    assert inventory_of(more).layout["islands"] == [0] * 4 + [1] * 4 + [2] * 2
    cards = PLUGIN.change_node(
        {"prod_count_map": {"a": 2, "b": 1}}, {"prod_count_map": {"a": -1, "c": 1}}, is_delta=True
    )
    assert inventory_of(cards).slots == ("a-0", "b-0", "c-0")
    assert PLUGIN.change_node(None, {"prod_count_map": {"a": 1}}, is_delta=True) == {"prod_count_map": {"a": 1}}


@pytest.mark.parametrize(
    ("payload", "change", "message"),
    [
        (ISLANDS, {"count": -9}, "gpu.count: -1 must be at least 0"),
        (ISLANDS, {"prod_count_map": {"V100": 1}}, "gpu: a difference of prod_count_map does not suit the node"),
        (ISLANDS, {"count": 1, "memory": 5}, "gpu.memory: no such field; there are count"),
        (None, {"count": 1}, "gpu: a difference of count does not suit the node"),
        ({"prod_count_map": {"a": 1}}, {"prod_count_map": {"a": -2}}, "gpu.prod_count_map.a: -1 must be"),
        ({"prod_count_map": {"a": 1}}, {}, "gpu: a difference of nothing does not suit the node"),
    ],
)
def test_bad_differences_are_refused(payload: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match="gpu") as error:
        PLUGIN.change_node(payload, change, is_delta=True)
    assert message in str(error.value)


# Requests


def test_canonical_requests() -> None:
    whole = {"count": 1, "milli": 1000, "models": [], "memory": 0}
    assert PLUGIN.parse({}) == {"groups": []}
    assert PLUGIN.parse({"count": 0}) == {"groups": []}
    assert PLUGIN.parse({"models": []}) == {"groups": [whole]}
    assert PLUGIN.parse({"milli": 250, "models": ["V", "P", "V"], "memory": "2G"}) == {
        "groups": [{"count": 1, "milli": 250, "models": ["P", "V"], "memory": 2 * GIB}]
    }
    assert PLUGIN.parse({"prod_count_map": {"b": 2, "a": 0}}) == {"groups": [{**whole, "count": 2, "models": ["b"]}]}
    groups = PLUGIN.parse({"groups": [{}, {"models": ["b", "c"]}, {"count": 0}, {"models": ["b"]}]})["groups"]
    assert [group["models"] for group in groups] == [["b"], ["b", "c"], []]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (3, "gpu: 3 must be a mapping"),
        ({"count": -1}, "gpu.count: -1 must be at least 0"),
        ({"count": 1.0}, "gpu.count: 1.0 must be a whole number"),
        ({"milli": 0}, "gpu.milli: 0 must be at least 1"),
        ({"milli": 1001}, "gpu.milli: 1001 must be at most 1000"),
        ({"models": "V100"}, "gpu.models: 'V100' must be a list"),
        ({"models": [""]}, "gpu.models: '' must be a text that is not empty"),
        ({"memory": -1}, "gpu.memory: -1 must be at least 0"),
        ({"memory": "9999999999T"}, "gpu.memory: "),
        ({"gpus": 1}, "gpu.gpus: no such field; there are count, milli, models, memory"),
        ({"groups": [{"milli": 0}]}, "gpu.groups[0].milli: 0 must be"),
        ({"groups": [], "count": 1}, "gpu.count: no such field; there are groups"),
        ({"prod_count_map": {"a": -1}}, "gpu.prod_count_map.a: -1 must be"),
        ({"prod_count_map": [1]}, "gpu.prod_count_map: [1] must be a mapping"),
    ],
)
def test_bad_requests_are_refused_by_name(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match="gpu") as error:
        PLUGIN.parse(payload)
    assert str(error.value).startswith(message)


def test_a_bad_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gpu\.unasked_capacity: -1 must be at least 0"):
        GpuPlugin(unasked_capacity=-1)


@pytest.mark.parametrize(
    ("payload", "change", "expected"),
    [
        ({"count": 2}, {"count": -1}, {"count": 1}),
        ({"milli": 300, "models": ["a"]}, {"milli": 100, "memory": 5}, {"milli": 400, "models": ["a"], "memory": 5}),
        ({"count": 2}, {"count": -3}, {}),
        ({"milli": 300}, {"milli": -300}, {}),
        ({"memory": 3}, {"memory": -4}, {"count": 1}),
        ({}, {"count": 2}, {"count": 2}),
        ({}, {"count": 2, "milli": 200}, {"count": 2, "milli": 200}),
        ({}, {"milli": 200}, {}),
        ({"count": 2}, {}, {"count": 2}),
        ({"prod_count_map": {"a": 2, "b": 1}}, {"prod_count_map": {"a": -3, "b": 1}}, {"prod_count_map": {"b": 2}}),
        ({}, {"prod_count_map": {"a": -3, "b": 1}}, {"prod_count_map": {"b": 1}}),
        ({"prod_count_map": {"a": 1, "b": 1}}, {"prod_count_map": {"a": 1}}, {"prod_count_map": {"a": 2, "b": 1}}),
    ],
)
def test_a_change_adds_to_the_request(payload: Any, change: Any, expected: Any) -> None:
    request = PLUGIN.parse(payload)
    before = json.dumps(request)
    assert PLUGIN.merge(request, change) == PLUGIN.parse(expected)
    assert json.dumps(request) == before


@pytest.mark.parametrize(
    ("payload", "change", "message"),
    [
        ({"milli": 900}, {"milli": 200}, r"milli: 1100 must be at most 1000"),
        ({}, {"models": ["a"]}, r"gpu\.models: no such field; there are count, milli, memory"),
        ({"prod_count_map": {"a": 1, "b": 1}}, {"count": 1}, r"gpu\.groups: 2 groups; change them by prod_count_map"),
        ({}, {"count": "1"}, r"gpu\.count: '1' must be a whole number"),
        ({}, 5, r"gpu: 5 must be a mapping"),
    ],
)
def test_bad_changes_are_refused(payload: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLUGIN.merge(PLUGIN.parse(payload), change)


# Which devices


def test_a_shared_device_is_the_fitting_one_with_the_least_left() -> None:
    node = node_of({"model": "V100", "count": 4}, {"0": 1000, "1": 700, "2": 300, "3": 700})
    assert chosen({"milli": 400}, node) == [["1"], ["3"], ["0"], ["0"]]
    assert capacities({"milli": 400}, node) == [4]


def test_whole_devices_are_the_lowest_free_ones() -> None:
    node = node_of({"model": "V100", "count": 6}, {"1": 999})
    assert chosen({"count": 2}, node) == [["0", "2"], ["3", "4"]]


def test_whole_devices_come_from_the_fullest_island_that_has_enough() -> None:
    node = node_of(ISLANDS, {"1": 0, "4": 0, "5": 0})
    assert chosen({"count": 2}, node, 1) == [["6", "7"]]
    assert chosen({"count": 3}, node, 1) == [["0", "2", "3"]]
    assert chosen({"count": 2}, node_of(ISLANDS), 1) == [["0", "1"]]


def test_whole_devices_spread_over_as_few_islands_as_possible() -> None:
    islands = [[0, 1], [2, 3, 4], [5], [6, 7, 8]]
    node = node_of({"model": "V100", "count": 9, "islands": islands})
    assert chosen({"count": 4}, node, 1) == [["2", "3", "4", "5"]]
    assert chosen({"count": 5}, node, 1) == [["0", "1", "2", "3", "4"]]
    assert chosen({"count": 7}, node, 1) == [["2", "3", "4", "5", "6", "7", "8"]]


def test_numa_nodes_are_the_islands_of_devices_without_links() -> None:
    devices = [{"id": name, "model": "V100", "numa": numa} for name, numa in zip("abcd", [0, 1, 1, 0], strict=True)]
    assert chosen({"count": 2}, node_of({"devices": devices})) == [["a", "d"], ["b", "c"]]


def test_several_shared_devices_are_distinct_and_reach_the_most_copies() -> None:
    node = node_of({"model": "V100", "count": 3}, {"0": 200, "1": 400, "2": 300})
    assert chosen({"count": 2, "milli": 100}, node) == [["1", "2"], ["0", "1"], ["1", "2"], ["0", "1"]]


def test_memory_limits_sharing_and_goes_with_a_whole_device() -> None:
    payload = {"devices": [{"id": "a", "model": "V100", "memory": 10}, {"id": "b", "model": "V100"}]}
    node = node_of(payload)
    assert capacities({"milli": 100, "memory": 4}, node) == [2]
    assert chosen({"memory": 10}, node) == [["a"]]
    assert chosen({"memory": 11}, node) == []
    whole, bare = PLUGIN.assign(PLUGIN.parse({"count": 1}), node, 2)
    assert whole.amounts == {"a": 1000, "a/memory": 10}
    assert bare.amounts == {"b": 1000}
    [shared] = PLUGIN.assign(PLUGIN.parse({"milli": 100}), node, 1)
    assert shared.amounts == {"a": 100}


def test_a_conjunction_takes_of_every_model() -> None:
    node = node_of({"prod_count_map": {"T4": 3, "V100": 4}})
    request = {"prod_count_map": {"V100": 2, "T4": 1}}
    assert chosen(request, node) == [["T4-0", "V100-0", "V100-1"], ["T4-1", "V100-2", "V100-3"]]
    assert capacities(request, node) == [2]


def test_groups_may_meet_on_one_device() -> None:
    node = node_of({"model": "V100", "count": 1})
    request = PLUGIN.parse({"groups": [{"milli": 300}, {"milli": 200}]})
    first, second = PLUGIN.assign(request, node, 5)
    assert first == second == Assignment(amounts={"0": 500}, detail={"devices": ["0", "0"]})
    assert PLUGIN.engine_args(request, first, None) == {"gpu_devices": ["0", "0"], "gpu_milli": [300, 200]}


def test_nothing_asked_fits_everywhere() -> None:
    node = node_of(ISLANDS)
    assert PLUGIN.assign(PLUGIN.parse({}), node, 2) == [Assignment(amounts={})] * 2
    assert capacities({}, node) == [UNLIMITED]
    columns = columns_of([], [(-1, ()), (-1, ())])
    assert PLUGIN.capacity(PLUGIN.parse({}), columns, NO_FACTS).tolist() == [UNLIMITED] * 2
    assert PLUGIN.capacity(PLUGIN.parse({"milli": 1}), columns, NO_FACTS).tolist() == [0, 0]
    assert PLUGIN.engine_args(PLUGIN.parse({}), Assignment(amounts={}), None) == {}


def test_copies_are_counted_up_to_the_limit() -> None:
    node = node_of({"model": "V100", "count": 11})
    assert capacities({"milli": 1}, node) == [COPIES_MAX]
    assert len(chosen({"milli": 1}, node)) == COPIES_MAX


def test_usage_counts_milli() -> None:
    inventories = [inventory_of({"model": "V100", "count": 4, "memory": 8}), inventory_of({"model": "T4", "count": 1})]
    columns = columns_of(inventories, [(0, [1000, 500, 0, 500, 8, 8, 0, 8]), (-1, ()), (1, [1000])])
    usage = PLUGIN.usage(PLUGIN.parse({"count": 2, "milli": 250}), columns, NO_FACTS)
    assert usage.usage.tolist() == [0.5, 0.0, 0.0]
    assert usage.rate.tolist() == [0.125, 0.0, 0.5]
    assert usage.weight == 1.0


# Keeping devices


def held_by(payload: Any, devices: list[str], inventory: Inventory) -> Assignment:
    node = NodeSlots(inventory, [0] * len(inventory.slots))
    for position, slot in enumerate(inventory.slots):
        if slot.removesuffix("/memory") in devices:
            node.free[position] = inventory.total[position]
    [assignment] = PLUGIN.assign(PLUGIN.parse(payload), node, 1)
    return assignment


def moved(node: NodeSlots, old: Any, devices: list[str], new: Any) -> list[str] | None:
    held = held_by(old, devices, node.inventory)
    assigned = PLUGIN.reassign(PLUGIN.parse(new), copy_of(node), held, PLUGIN.parse(old))
    if assigned is None:
        return None
    taken_from(node, [assigned])
    return list((assigned.detail or {"devices": []})["devices"])


def test_held_devices_are_kept() -> None:
    node = node_of(ISLANDS, {"0": 0, "6": 500})
    assert moved(node, {"count": 2}, ["3", "5"], {"count": 2}) == ["3", "5"]
    assert moved(node, {"count": 2}, ["3", "5"], {"count": 1}) == ["3"]
    assert moved(node, {"count": 1}, ["5"], {"count": 3}) == ["5", "4", "7"]
    assert moved(node, {"count": 1}, ["5"], {"count": 5}) == ["5", "4", "7", "1", "2"]
    assert moved(node, {"count": 1}, ["5"], {"count": 7}) is None
    assert moved(node, {"milli": 100}, ["6"], {"milli": 500}) == ["6"]
    assert moved(node, {"milli": 100}, ["6"], {"milli": 501}) == ["1"]
    assert moved(node, {"milli": 100}, ["6"], {"milli": 100, "count": 2}) == ["6", "1"]
    assert moved(node, {"milli": 100}, ["6"], {}) == []


def test_devices_that_are_gone_are_replaced() -> None:
    held = Assignment(amounts={"9": 1000}, detail={"devices": ["9"]})
    assigned = PLUGIN.reassign(PLUGIN.parse({"count": 1}), node_of(ISLANDS), held, PLUGIN.parse({"count": 1}))
    assert assigned == Assignment(amounts={"0": 1000}, detail={"devices": ["0"]})


def test_competing_groups_start_afresh_where_keeping_does_not_work() -> None:
    node = node_of({"devices": [{"id": "b", "model": "B"}, {"id": "a", "model": "A"}]})
    groups = {"groups": [{"models": ["A", "B"]}, {"models": ["A", "C"]}]}
    assert moved(node, {}, [], groups) == ["b", "a"]
    assert moved(node, {"count": 1}, ["a"], groups) == ["b", "a"]
    shared = {"groups": [{"models": ["A", "B"], "milli": 500}, {"models": ["A", "C"], "milli": 500}]}
    assert moved(node, {"milli": 500}, ["a"], shared) == ["a", "a"]


# Properties

MODELS = st.sampled_from(["A", "B", "C"])


@st.composite
def payloads(draw: st.DrawFn, most_devices: int = 5) -> dict[str, Any]:
    count = draw(st.integers(1, most_devices))
    places = st.fixed_dictionaries(
        {"model": MODELS, "memory": st.sampled_from([0, 8, 16])},
        optional={"link": st.sampled_from("xyz"), "numa": st.integers(0, 1)},
    )
    return {"devices": [{"id": str(index), **draw(places)} for index in range(count)]}


@st.composite
def nodes(draw: st.DrawFn, milli: st.SearchStrategy[int]) -> tuple[dict[str, Any], NodeSlots]:
    payload = draw(payloads())
    inventory = inventory_of(payload)
    milli_free = [draw(milli) for _ in payload["devices"]]
    memory_free = [draw(st.sampled_from([total, total, total // 2])) for total in inventory.total[len(milli_free) :]]
    return payload, NodeSlots(inventory, milli_free + memory_free)


COARSE = st.sampled_from([-200, 0, 300, 500, 999, 1000, 1000, 1000])
GROUPS = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(0, 4),
        "milli": st.sampled_from([70, 250, 500, 999, 1000]),
        "models": st.lists(MODELS, max_size=2),
        "memory": st.sampled_from([0, 3, 8, 16]),
    },
)
REQUESTS = st.one_of(
    GROUPS,
    st.fixed_dictionaries({"prod_count_map": st.dictionaries(MODELS, st.integers(0, 2))}),
    st.fixed_dictionaries({"groups": st.lists(GROUPS, max_size=3)}),
)


@given(REQUESTS)
def test_the_canonical_form_is_a_payload_of_plain_data(payload: Any) -> None:
    request = PLUGIN.parse(payload)
    assert PLUGIN.parse(msgspec.msgpack.decode(msgspec.msgpack.encode(request))) == request


def check_copy(request: Any, payload: Any, node: NodeSlots, assignment: Assignment) -> NodeSlots:
    """Check one assignment group by group against the node as it was before."""
    devices = {device["id"]: device for device in payload["devices"]}
    ids = list(assignment.detail["devices"])
    due: dict[str, int] = {}
    for group in request["groups"]:
        taken, ids = ids[: group["count"]], ids[group["count"] :]
        assert len(set(taken)) == group["count"]
        for device_id in taken:
            device = devices[device_id]
            assert not group["models"] or device["model"] in group["models"]
            assert device["memory"] >= group["memory"]
            is_whole = group["milli"] == 1000
            due[device_id] = due.get(device_id, 0) + group["milli"]
            memory = device["memory"] if is_whole else group["memory"]
            if memory:
                due[f"{device_id}/memory"] = due.get(f"{device_id}/memory", 0) + memory
    assert not ids
    assert assignment.amounts == due
    return taken_from(node, [assignment])


@given(nodes(COARSE), REQUESTS)
@settings(max_examples=200, deadline=None)
def test_capacity_is_what_can_be_assigned(drawn: tuple[Any, NodeSlots], asked: Any) -> None:
    payload, node = drawn
    request = PLUGIN.parse(asked)
    assume(request["groups"])
    assigned = PLUGIN.assign(request, copy_of(node), COPIES_MAX)
    assert capacities(asked, node) == [len(assigned)]
    for assignment in assigned:
        node = check_copy(request, payload, node, assignment)
    assert capacities(asked, node) == [0]


@given(nodes(COARSE), REQUESTS, st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_one_after_the_other_is_the_same_as_together(drawn: tuple[Any, NodeSlots], asked: Any, count: int) -> None:
    _, node = drawn
    request = PLUGIN.parse(asked)
    together = PLUGIN.assign(request, copy_of(node), count)
    single = []
    for _ in range(count):
        next_one = PLUGIN.assign(request, copy_of(node), 1)
        node = taken_from(node, next_one)
        single += next_one
    assert single == together


@given(nodes(st.sampled_from([0, 250, 500, 750, 1000])), GROUPS)
@settings(max_examples=150, deadline=None)
def test_one_group_reaches_the_most_copies_possible(drawn: tuple[Any, NodeSlots], asked: Any) -> None:
    payload, node = drawn
    asked = {**asked, "milli": max(250, asked.get("milli", 1000))}
    request = PLUGIN.parse(asked)
    assume(request["groups"])
    [group] = request["groups"]
    free = dict(zip(node.inventory.slots, node.free, strict=True))
    units = device_units(group, payload["devices"], free)
    assert capacities(asked, node) == [most_sets(tuple(sorted(units)), group["count"])]


@given(nodes(COARSE), st.integers(1, 5))
def test_a_set_of_whole_devices_is_linked_as_well_as_possible(drawn: tuple[Any, NodeSlots], count: int) -> None:
    payload, node = drawn
    [group] = PLUGIN.parse({"count": count})["groups"]
    units = device_units(group, payload["devices"], dict(zip(node.inventory.slots, node.free, strict=True)))
    free_devices = [device for device, number in enumerate(units) if number]
    islands = node.inventory.layout["islands"]
    spans = [len({islands[device] for device in found}) for found in combinations(free_devices, count)]
    assigned = chosen({"count": count}, node, 1)
    assert bool(assigned) == bool(spans)
    if not assigned:
        return
    used = [islands[int(device)] for device in assigned[0]]
    assert len(set(used)) == min(spans)
    if min(spans) == 1:
        sizes = [sum(islands[device] == island for device in free_devices) for island in range(max(islands) + 1)]
        assert sizes[used[0]] == min(size for size in sizes if size >= count)


@given(st.lists(nodes(COARSE), min_size=1, max_size=4), REQUESTS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rows_do_not_depend_on_each_other(drawn: list[tuple[Any, NodeSlots]], asked: Any, random: Any) -> None:
    request = PLUGIN.parse(asked)
    inventories = [node.inventory for _, node in drawn]
    rows: list[tuple[int, list[int]]] = [(index, node.free) for index, (_, node) in enumerate(drawn)] * 2 + [(-1, [])]
    random.shuffle(rows)
    together = PLUGIN.capacity(request, columns_of(inventories, rows), NO_FACTS)
    apart = [PLUGIN.capacity(request, columns_of(inventories, [row]), NO_FACTS)[0] for row in rows]
    assert together.dtype == np.int64
    assert together.tolist() == apart


@given(nodes(COARSE), REQUESTS, REQUESTS)
@settings(max_examples=150, deadline=None)
def test_what_is_held_is_kept_as_far_as_it_fits(drawn: tuple[Any, NodeSlots], old: Any, new: Any) -> None:
    payload, node = drawn
    old_request, new_request = PLUGIN.parse(old), PLUGIN.parse(new)
    granted = PLUGIN.assign(old_request, copy_of(node), 1)
    assume(granted)
    [held] = granted
    assert PLUGIN.reassign(old_request, copy_of(node), held, old_request) == held
    changed = PLUGIN.reassign(new_request, copy_of(node), held, old_request)
    fresh = PLUGIN.assign(new_request, copy_of(node), 1)
    assert (changed is not None) or not fresh
    if changed is None or not new_request["groups"]:
        return
    check_copy(new_request, payload, node, changed)
    if len(new_request["groups"]) == 1 and held.detail:
        [group] = new_request["groups"]
        free = dict(zip(node.inventory.slots, node.free, strict=True))
        units = dict(zip(free, device_units(group, payload["devices"], free), strict=False))
        usable = {device for device in held.detail["devices"] if units[device]}
        assert len(usable & set(changed.detail["devices"])) == min(len(usable), group["count"])

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from gpu_slots_kit import NO_FACTS, columns_of, copy_of, taken_from
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler.plugins.curve import CurvePlugin
from scheduler.ports import COPIES_MAX, UNLIMITED, Assignment, Inventory, NodeSlots

PLUGIN = CurvePlugin(points=3, names=("cpu", "memory"))


def inventory_of(payload: Any, plugin: CurvePlugin = PLUGIN) -> Inventory:
    inventory = plugin.inventory(payload, {}, {})
    assert inventory is not None
    return inventory


def node_of(payload: Any) -> NodeSlots:
    inventory = inventory_of(payload)
    return NodeSlots(inventory, list(inventory.total))


def capacities(payload: Any, *nodes: NodeSlots) -> list[int]:
    columns = columns_of([node.inventory for node in nodes], list(enumerate(node.free for node in nodes)))
    counts: list[int] = PLUGIN.capacity(PLUGIN.parse(payload), columns, NO_FACTS).tolist()
    return counts


def test_slots_are_named_by_resource_and_point() -> None:
    inventory = inventory_of({"memory": [1, 2, 3], "cpu": 7})
    assert inventory.slots == ("cpu@0", "cpu@1", "cpu@2", "memory@0", "memory@1", "memory@2")
    assert inventory.total == (7, 7, 7, 1, 2, 3)
    assert inventory_of({"memory": 5}).total == (0, 0, 0, 5, 5, 5)
    assert len(inventory_of({"cpu": 1}, CurvePlugin()).slots) == 196
    assert [PLUGIN.inventory(payload, {}, {}) for payload in (None, {}, {"cpu": 0})] == [None] * 3


def test_the_canonical_request_carries_what_every_workload_holds() -> None:
    request = PLUGIN.parse({"memory": 4, "cpu": [0, 2, 1]})
    assert request == {
        "cpu": [0, 2, 1],
        "memory": [4, 4, 4],
        "amounts": {"cpu@1": 2, "cpu@2": 1, "memory@0": 4, "memory@1": 4, "memory@2": 4},
    }
    assert list(request) == ["cpu", "memory", "amounts"]
    first, second = PLUGIN.assign(request, node_of({"cpu": 9, "memory": 9}), 5)
    assert first.amounts is second.amounts is request["amounts"]


def test_the_tightest_point_decides() -> None:
    node = node_of({"cpu": [9, 4, 9], "memory": [9, 9, 1]})
    assert capacities({"cpu": [3, 1, 2]}, node) == [3]
    assert capacities({"cpu": [1, 2, 1]}, node) == [2]
    assert capacities({"cpu": [0, 5, 0]}, node) == [0]
    assert capacities({"cpu": 1, "memory": [0, 0, 1]}, node) == [1]
    assert capacities({"cpu": [9, 5, 1]}, node) == [0]


def test_opposite_curves_share_a_node() -> None:
    node = node_of({"cpu": 10})
    [day] = PLUGIN.assign(PLUGIN.parse({"cpu": [10, 0, 5]}), node, 9)
    assert capacities({"cpu": [0, 10, 5]}, taken_from(node, [day])) == [1]


def test_nothing_asked_fits_everywhere() -> None:
    request = PLUGIN.parse({"cpu": 0})
    assert request == {"amounts": {}}
    assert PLUGIN.assign(request, node_of({"cpu": 1}), 2) == [Assignment(amounts={})] * 2
    columns = columns_of([], [(-1, ()), (-1, ())])
    assert PLUGIN.capacity(request, columns, NO_FACTS).tolist() == [UNLIMITED] * 2
    assert PLUGIN.capacity(PLUGIN.parse({"cpu": 1}), columns, NO_FACTS).tolist() == [0, 0]


def test_copies_are_counted_up_to_the_limit() -> None:
    assert capacities({"cpu": 1}, node_of({"cpu": COPIES_MAX + 1})) == [COPIES_MAX]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (5, "curve: 5 must be a mapping"),
        ({"disk": 1}, "curve.disk: no such field; there are cpu, memory"),
        ({"cpu": [1, 2]}, "curve.cpu: 2 points; give one number, or 3"),
        ({"cpu": [1, -2, 3]}, "curve.cpu[1]: -2 must be at least 0"),
        ({"cpu": 0.5}, "curve.cpu[0]: 0.5 must be a whole number"),
        ({"cpu": [1, 2, True]}, "curve.cpu[2]: True must be a whole number"),
        ({"memory": "abc"}, "curve.memory[0]: 'abc' must be a whole number"),
        ({"memory": UNLIMITED + 1}, "curve.memory[0]: 9223372036854775808 must be at most"),
    ],
)
def test_bad_curves_are_refused_by_name(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match="curve") as from_workload:
        PLUGIN.parse(payload)
    assert str(from_workload.value).startswith(message)
    with pytest.raises(ValueError, match="curve") as from_node:
        PLUGIN.change_node(None, payload, is_delta=False)
    assert str(from_node.value).startswith(message)


def test_amounts_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curve\.amounts: it must agree with the curves; leave it out"):
        PLUGIN.parse({"cpu": 1, "amounts": {"cpu@0": 2}})
    with pytest.raises(ValueError, match=r"curve\.amounts: no such field"):
        PLUGIN.inventory({"amounts": 1}, {}, {})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"points": 0}, r"curve\.points: 0 must be"),
        ({"points": 1.5}, r"curve\.points: 1\.5 must be"),
        ({"names": "cpu"}, r"curve\.names: 'cpu' must be a list"),
        ({"names": []}, r"curve\.names: \(\) must be"),
        ({"names": 5}, r"curve\.names: 5 must be a list"),
        ({"names": ["cpu", "cpu"]}, r"curve\.names: \('cpu', 'cpu'\) must be"),
        ({"names": ["amounts"]}, r"curve\.names: \('amounts',\) must be"),
    ],
)
def test_bad_parameters_are_refused(params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CurvePlugin(**params)


def test_parameters_are_kept() -> None:
    assert CurvePlugin(2, ["a"]).get_params() == {"points": 2, "names": ("a",)}


def test_a_capacity_is_replaced_and_not_added_to() -> None:
    assert PLUGIN.change_node({"cpu": 1}, {"cpu": [1, 2, 3]}, is_delta=False) == {"cpu": [1, 2, 3]}
    assert PLUGIN.change_node({"cpu": 1}, None, is_delta=False) is None
    with pytest.raises(ValueError, match="curve: its capacity cannot be changed by a difference"):
        PLUGIN.change_node({"cpu": 1}, {"cpu": 1}, is_delta=True)


# Properties


def curves(most: int) -> st.SearchStrategy[Any]:
    amounts = st.integers(0, most)
    return st.fixed_dictionaries(
        {},
        optional={name: st.one_of(amounts, st.lists(amounts, min_size=3, max_size=3)) for name in ("cpu", "memory")},
    )


@given(curves(9))
def test_the_canonical_form_is_a_payload_of_plain_data(payload: Any) -> None:
    request = PLUGIN.parse(payload)
    assert PLUGIN.parse(msgspec.msgpack.decode(msgspec.msgpack.encode(request))) == request


@given(curves(5), st.lists(st.integers(-3, 40), min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_capacity_is_what_can_be_assigned(asked: Any, free: list[int]) -> None:
    inventory = inventory_of({"cpu": 40, "memory": 40})
    request = PLUGIN.parse(asked)
    assume(request["amounts"])
    node = NodeSlots(inventory, free)
    copies = 0
    left = dict(zip(inventory.slots, free, strict=True))
    while all(left[slot] >= amount for slot, amount in request["amounts"].items()):
        copies += 1
        left = {slot: amount - request["amounts"].get(slot, 0) for slot, amount in left.items()}
    assert capacities(asked, node) == [copies]
    assert len(PLUGIN.assign(request, copy_of(node), COPIES_MAX)) == copies
    assert len(PLUGIN.assign(request, copy_of(node), 2)) == min(2, copies)


@given(curves(40), st.lists(curves(15), max_size=8))
@settings(max_examples=150, deadline=None)
def test_no_point_ever_carries_more_than_there_is(total: Any, asked: list[Any]) -> None:
    inventory = PLUGIN.inventory(total, {}, {})
    assume(inventory is not None)
    assert inventory is not None
    node = NodeSlots(inventory, list(inventory.total))
    granted = []
    for payload in asked:
        for assignment in PLUGIN.assign(PLUGIN.parse(payload), copy_of(node), 1):
            node = taken_from(node, [assignment])
            granted.append((payload, assignment))
    load = [0] * len(inventory.slots)
    for payload, _ in granted:
        request = PLUGIN.parse(payload)
        whole = request.get("cpu", [0] * 3) + request.get("memory", [0] * 3)
        load = [before + amount for before, amount in zip(load, whole, strict=True)]
    assert all(amount <= there_is for amount, there_is in zip(load, inventory.total, strict=True))
    given_back = dict(zip(inventory.slots, node.free, strict=True))
    for _, assignment in granted:
        for slot, amount in assignment.amounts.items():
            given_back[slot] += amount
    assert tuple(given_back.values()) == inventory.total


@given(st.lists(curves(30), min_size=1, max_size=5), curves(9), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rows_do_not_depend_on_each_other(totals: list[Any], asked: Any, random: Any) -> None:
    inventories = [inventory for inventory in (PLUGIN.inventory(total, {}, {}) for total in totals) if inventory]
    rows = [(index, inventory.total) for index, inventory in enumerate(inventories)] * 2 + [(-1, ())]
    random.shuffle(rows)
    request = PLUGIN.parse(asked)
    together = PLUGIN.capacity(request, columns_of(inventories, rows), NO_FACTS).tolist()
    apart = [int(PLUGIN.capacity(request, columns_of(inventories, [row]), NO_FACTS)[0]) for row in rows]
    assert together == apart


@pytest.mark.parametrize(
    ("amounts", "detail", "message"),
    [
        ({"cpu@0": 4}, None, "curve.amounts: "),
        ({}, None, "curve.amounts: "),
        ({"cpu@0": 5, "cpu@1": 5, "cpu@2": 5, "memory@0": 1}, None, "curve.amounts: "),
        ({"cpu@0": 5, "cpu@1": 5, "cpu@2": 5}, {"x": 1}, "curve.detail: {'x': 1} is of no use"),
    ],
)
def test_only_what_was_asked_may_be_found_running(amounts: dict[str, int], detail: Any, message: str) -> None:
    plugin = CurvePlugin(3)
    request, inventory = plugin.parse({"cpu": 5}), plugin.inventory({"cpu": 9}, {}, {})
    assert inventory is not None
    plugin.check_assignment(request, inventory, plugin.uniform(request))
    with pytest.raises(ValueError, match=f"^{message}"):
        plugin.check_assignment(request, inventory, Assignment(amounts=amounts, detail=detail))

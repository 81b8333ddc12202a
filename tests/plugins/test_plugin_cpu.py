"""The cpu plugin: payloads, inventories, capacity, assignments, realloc, remap, engine arguments, usage."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from cpu_plugin_kit import GIB, NO_FACTS, capacities, columns, cores_of, node_slots, take
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import kernels
from scheduler.config import CoreConfig, PluginConfig
from scheduler.events import NodeCapacityChanged, NodeJoined
from scheduler.plugins.cpu import CpuPlugin
from scheduler.ports import NOTHING, UNLIMITED, Assignment, NodeColumns, NodeSlots
from scheduler.testing import Harness

BOUNDED = settings(derandomize=True, deadline=None, max_examples=150)
PLUGIN = CpuPlugin()
NUMA_NODE = {"cores": 8, "memory": "8G", "numa": ["0-3", "4-7"]}


def bound(cpu: Any, **fields: Any) -> dict[str, Any]:
    return PLUGIN.parse({"bind": True, "cpu_request": cpu, **fields})


def assigned(request: Any, node: NodeSlots) -> Assignment:
    """Assign one copy and take it."""
    (assignment,) = PLUGIN.assign(request, node, 1)
    take(node, assignment)
    return assignment


def realloc(node: NodeSlots, held: Assignment, before: Any, change: Any) -> tuple[dict[str, Any], Assignment | None]:
    after = PLUGIN.merge(before, change)
    take(node, held, sign=1)
    assignment = PLUGIN.reassign(after, node, held, before)
    take(node, assignment or held)
    return after, assignment


# Requests


def test_what_is_not_said_follows_from_the_rest() -> None:
    nothing = {"bind": False, "cpu_request": 0, "cpu_limit": 0, "memory_request": 0, "memory_limit": 0}
    assert PLUGIN.parse({}) == nothing
    assert PLUGIN.parse({"cpu_limit": "1.50", "memory_limit": "1K"}) == {
        **nothing, "cpu_request": 1.5, "cpu_limit": 1.5, "memory_request": 1024, "memory_limit": 1024
    }  # fmt: skip
    raised = PLUGIN.parse({"cpu_request": 2, "cpu_limit": 1, "memory_request": 9, "memory_limit": 3})
    assert raised == {**nothing, "cpu_request": 2, "cpu_limit": 2, "memory_request": 9, "memory_limit": 9}
    assert bound(1, cpu_limit=2)["cpu_request"] == 2
    assert PLUGIN.parse({"cpu_request": 1, "cpu_limit": 2})["cpu_request"] == 1
    assert bound(1)["cpu_limit"] == 0


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("2kb", 2048), ("7", 7), (7, 7), ("1p", 1 << 50)],
)
def test_sizes_are_powers_of_1024(size: Any, size_bytes: int) -> None:
    assert PLUGIN.parse({"memory_request": size})["memory_request"] == size_bytes


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (7, "cpu: 7 must be a mapping"),
        ({"cpus": 1}, "cpu.cpus: no such field; there are bind"),
        ({"bind": 1}, "cpu.bind: 1 is neither true nor false"),
        ({"keep_bind": "yes"}, "cpu.keep_bind: 'yes' is neither true nor false"),
        ({"memory_request": -1, "cpu_request": -1}, "cpu.memory_request: -1 must be at least 0"),
        ({"memory_limit": "-1K"}, "cpu.memory_limit: -1024 must be at least 0"),
        ({"bind": True, "cpu_request": -1}, "cpu.cpu_request: -1 must be at least 0"),
        ({"cpu_limit": "-0.5"}, "cpu.cpu_limit: -0.5 must be at least 0"),
        ({"bind": True}, "cpu.cpu_request: 0 is too little to bind"),
        ({"bind": True, "cpu_request": "0.0099"}, "cpu.cpu_request: 0.0099 is less than one piece of a core"),
        ({"bind": True, "cpu_request": 0.005}, "cpu.cpu_request: 0.005 is less than one piece of a core"),
        ({"bind": True, "cpu_request": 0.001}, "cpu.cpu_request: 0.001 is less than one .* ask at least 0.01 or set"),
        ({"cpu_request": "9" * 5000}, "cpu.cpu_request: '9+\\.\\.\\.9+' must be finite"),
        ({"memory_request": "9" * 5000}, "cpu.memory_request: '9+\\.\\.\\.9+' is not a size"),
        ({"memory_request": "1.3K"}, "cpu.memory_request: '1.3K' is no whole number in base units"),
        ({"cpu_request": float("nan")}, "cpu.cpu_request: nan must be finite"),
        ({"cpu_request": True}, "cpu.cpu_request: True is not a number of cores"),
        ({"cpu_request": None}, "cpu.cpu_request: None is not a number of cores"),
        ({"memory_request": 1.5}, "cpu.memory_request: 1.5 must be a whole number"),
        ({"memory_request": True}, "cpu.memory_request: True must be a whole number"),
        ({"memory_request": "much"}, "cpu.memory_request: 'much' is not a size; give a whole number or a text"),
        ({"memory_request": 2**63}, "cpu.memory_request: 9223372036854775808 must be at most"),
        ({"cpu_request": 2, "numa_nodes": 1}, "cpu.numa_nodes: 1 needs bind; set bind to true"),
        ({"bind": True, "cpu_request": 2, "numa_nodes": 0}, "cpu.numa_nodes: 0 must be at least 1"),
        ({"bind": True, "cpu_request": 3, "numa_nodes": 2}, "cpu.numa_nodes: 3 cores do not .* a multiple of 2"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_by_field(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PLUGIN.parse(payload)


@given(
    st.fixed_dictionaries(
        {"bind": st.booleans(), "cpu_request": st.decimals(1, 64, places=3) | st.floats(0.1, 64)},
        optional={
            "cpu_limit": st.floats(0, 64) | st.integers(0, 64),
            "memory_request": st.integers(0, 2**40),
            "memory_limit": st.sampled_from([0, "1M", 2**41]),
        },
    )
)
@BOUNDED
def test_the_canonical_form_is_plain_data_and_a_payload(payload: dict[str, Any]) -> None:
    payload["cpu_request"] = str(payload["cpu_request"])
    request = PLUGIN.parse(payload)
    assert PLUGIN.parse(request) == request
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request)) == request


@pytest.mark.parametrize(("share_base", "least"), [(7, "0.142858"), (100, "0.01"), (3, "0.333334")])
def test_defect_the_least_amount_that_is_named_can_be_asked(share_base: int, least: str) -> None:
    plugin = CpuPlugin(share_base)
    with pytest.raises(ValueError, match=f"ask at least {least} or set bind to false"):
        plugin.parse({"bind": True, "cpu_request": 0.001})
    assert plugin.parse({"bind": True, "cpu_request": least})["cpu_request"] == float(least)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share_base": 0}, "cpu.share_base: 0 must be at least 1"),
        ({"max_share": -2}, "cpu.max_share: -2 must be at least -1"),
        ({"core_order": "random"}, "cpu.core_order: 'random' is neither 'number' nor 'string'"),
    ],
)
def test_bad_parameters_are_refused(params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CpuPlugin(**params)


def test_parameters_are_kept_under_their_names() -> None:
    params = {"share_base": 10, "max_share": 3, "core_order": "string"}
    assert CpuPlugin(**params).get_params() == params  # type: ignore[arg-type]


# Nodes


def test_an_inventory_has_cores_numa_memory_and_a_counter() -> None:
    inventory = node_slots(
        PLUGIN, {"cores": 4, "share": 300, "memory": "4K", "numa": {"1": "2,3", 0: [0, "1"]}}
    ).inventory
    assert inventory.slots == ("0", "1", "2", "3", "numa_memory/0", "numa_memory/1", "requested")
    assert inventory.total == (300, 300, 300, 300, 2048, 2048, 400)
    assert inventory.counted == ("requested",)
    assert inventory.capacity == {"memory": 4096}
    assert inventory.layout["numa_cores"] == [[0, 1], [2, 3]]


def test_cores_can_be_named_in_three_ways() -> None:
    for cores in (2, {"0": 100, "1": 100}, {0: 100, 1: 100}, ["0:100", "1:100"], ["0:100,1:100"]):
        assert node_slots(PLUGIN, {"cores": cores}).inventory.total == (100, 100, 200)


def test_numa_nodes_can_be_a_list_and_ranges() -> None:
    node = node_slots(PLUGIN, {"cores": 6, "numa": ["0-1,4", ["2-3", 5]], "numa_memory": ["1K", 5]})
    assert node.inventory.layout["numa_cores"] == [[0, 1, 4], [2, 3, 5]]
    assert node.inventory.total[6:8] == (1024, 5)


def test_core_and_numa_ids_are_in_the_order_asked_for() -> None:
    payload = {"cores": {"10": 100, "9": 100}, "numa": {"10": "9", "9": "10"}, "numa_memory": {"10": 1, "9": 2}}
    slots = ("9", "10", "numa_memory/9", "numa_memory/10")
    assert node_slots(PLUGIN, payload).inventory.slots[:4] == slots
    assert node_slots(PLUGIN, payload).inventory.total[2:4] == (2, 1)
    strings = node_slots(CpuPlugin(core_order="string"), payload).inventory
    assert strings.slots[:4] == ("10", "9", "numa_memory/10", "numa_memory/9")


def test_a_node_that_says_nothing_has_the_whole_cores_of_its_cpu_capacity() -> None:
    inventory = PLUGIN.inventory(None, {"cpu": 2900}, {})
    assert inventory is not None
    assert inventory.total == (100, 100, 200)
    assert PLUGIN.inventory(None, {"cpu": 999, "memory": 5}, {}) is None
    assert PLUGIN.inventory(None, {}, {}) is None
    assert node_slots(PLUGIN, {"memory": 7, "share": 200}, {"cpu": 1000}).inventory.total == (200, 100)


def test_defect_numa_memory_is_by_default_shared_between_numa_nodes_not_cores() -> None:
    assert node_slots(PLUGIN, NUMA_NODE).inventory.total[8:10] == (4 * GIB, 4 * GIB)
    by_dimension = node_slots(PLUGIN, {"cores": 4, "numa": ["0,1", "2,3"]}, {"memory": 11})
    assert by_dimension.inventory.total[4:6] == (5, 5)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "cpu: \\[\\] must be a mapping"),
        ({}, "cpu.cores: it is missing, and the node has no dimension cpu"),
        ({"core": 1}, "cpu.core: no such field; there are cores, share"),
        ({"cores": -1}, "cpu.cores: -1 must be at least 0"),
        ({"cores": True}, "cpu.cores: True must be a whole number"),
        ({"cores": 1.5}, "cpu.cores: 1.5 is neither a count nor pieces by core"),
        ({"cores": 10**9}, "cpu.cores: 1000000000 must be at most 8192"),
        ({"cores": {"0": -1}}, "cpu.cores.0: -1 must be at least 0"),
        ({"cores": {"0": 100_001}}, "cpu.cores.0: 100001 must be at most 100000"),
        ({"cores": {"a": 100}}, "cpu.cores: 'a' is not an id; ids are numbers"),
        ({"cores": {"01": 100}}, "cpu.cores: '01' is not an id"),
        ({"cores": {"0": 100, 0: 100}}, "cpu.cores: core '0' is there twice"),
        ({"cores": ["0:1", "0:2"]}, "cpu.cores: core '0' is there twice"),
        ({"cores": ["0"]}, "cpu.cores.0: '' is not a number of pieces; write a core as '0:100'"),
        ({"cores": {"0": 100}, "share": 300}, "cpu.share: it goes with a count of cores"),
        ({"cores": 2, "numa": 1}, "cpu.numa: 1 is neither a mapping by NUMA node nor a list"),
        ({"cores": 2, "numa": ["0,2"]}, "cpu.numa.0: core '2' is not among the cores"),
        ({"cores": 2, "numa": ["0", "0"]}, "cpu.numa.1: core '0' is in two NUMA nodes"),
        ({"cores": 2, "numa": ["1-0"]}, "cpu.numa.0: '1-0' is not a range of cores"),
        ({"cores": 2, "numa": ["0-99999999"]}, "cpu.numa.0: '0-99999999' is not a range of cores"),
        ({"cores": 2, "numa": {"x": "0"}}, "cpu.numa: 'x' is not an id"),
        ({"cores": 2, "numa": ["0", "1"], "numa_memory": [1]}, "cpu.numa_memory: NUMA node '1' is missing"),
        ({"cores": 2, "numa": ["0,1"], "numa_memory": [1, 2]}, "cpu.numa_memory.1: there is no such NUMA node"),
        ({"cores": 2, "numa": ["0,1"], "numa_memory": [-1]}, "cpu.numa_memory.0: -1 must be at least 0"),
        ({"cores": 2, "memory": -1}, "cpu.memory: -1 must be at least 0"),
    ],
)
def test_bad_nodes_are_refused_by_field(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PLUGIN.inventory(payload, {}, {})


def changed(payload: Any, change: Any, is_delta: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    inventory = PLUGIN.inventory(PLUGIN.change_node(payload, change, is_delta=is_delta), {}, {})
    assert inventory is not None
    return inventory.slots[:-1], inventory.total[:-1]


def test_capacity_is_put_in_place() -> None:
    assert changed({"cores": 2, "share": 300}, {"cores": 1}, False) == (("0",), (100,))
    assert changed({"cores": 1}, {"share": 300}, False) == (("0",), (300,))
    assert changed(None, {"cores": {"7": 5}}, False) == (("7",), (5,))
    whole = PLUGIN.change_node({"cores": 2, "memory": 5}, {"memory": "1K"}, is_delta=False)
    assert whole == {"cores": 2, "memory": "1K"}


def test_capacity_is_added() -> None:
    assert changed({"cores": 2}, {"cores": {"0": 200, "1": -100, "5": 10}}, True) == (("0", "1", "5"), (300, 0, 10))
    assert changed({"cores": {"3": 50}}, {"cores": 2, "share": 200}, True) == (("3", "4", "5"), (50, 200, 200))
    assert changed({"cores": 1, "share": 300}, {"cores": 1}, True) == (("0", "1"), (300, 300))
    assert changed({"cores": 12}, {"cores": -10}, True) == (("0", "1"), (100, 100))
    assert PLUGIN.change_node({"cores": 1, "memory": "1K"}, {"memory": -24}, is_delta=True)["memory"] == 1000


def test_defect_a_delta_reaches_numa_memory() -> None:
    slots = (*"01234567", "numa_memory/0", "numa_memory/1")
    for payload in (NUMA_NODE, {**NUMA_NODE, "numa_memory": ["4G", "4G"]}):
        assert changed(payload, {"numa_memory": {"1": "-1G"}}, True) == (slots, (*[100] * 8, 4 * GIB, 3 * GIB))
    assert changed(NUMA_NODE, {"memory": "2G"}, True)[1][8:] == (5 * GIB, 5 * GIB)


def test_defect_a_delta_of_numa_memory_starts_from_what_the_inventory_says() -> None:
    payload = {"cores": 2, "memory": 32 * GIB, "numa": ["0", "1"]}
    capacity = {"memory": 32 * GIB}

    def numa_memory(payload: Any) -> tuple[int, ...]:
        inventory = PLUGIN.inventory(payload, capacity, {})
        assert inventory is not None
        return inventory.total[2:4]

    assert numa_memory(payload) == (32 * GIB, 32 * GIB)
    more = PLUGIN.change_node(payload, {"numa_memory": {"0": "1G"}}, is_delta=True)
    assert numa_memory(more) == (33 * GIB, 32 * GIB)
    twice = PLUGIN.change_node(more, {"numa_memory": {"0": "-2G", "1": 1}, "memory": "2G"}, is_delta=True)
    assert numa_memory(twice) == (32 * GIB, 33 * GIB + 1)
    assert numa_memory(PLUGIN.change_node(twice, {"cores": 2}, is_delta=False)) == (32 * GIB, 33 * GIB + 1)
    for anew in ({"numa_memory": [5, 6]}, {"numa": ["0", "1"]}):
        replaced = PLUGIN.change_node(twice, anew, is_delta=False)
        assert numa_memory(replaced) == ((5, 6) if "numa_memory" in anew else (33 * GIB, 33 * GIB))
    with pytest.raises(ValueError, match=r"^cpu\.numa_memory\.1: -1 must be at least 0"):
        numa_memory(PLUGIN.change_node(payload, {"numa_memory": {"1": -32 * GIB - 1}}, is_delta=True))


def test_a_delta_of_numa_memory_survives_what_the_core_does_with_it() -> None:
    harness = Harness(CoreConfig(plugins=(PluginConfig("cpu"),)), plugins=[PLUGIN])
    node = {"cores": 2, "numa": ["0", "1"]}
    harness.step(NodeJoined(node_id="n", capacity={"memory": 10}, resources={"cpu": node}))
    harness.step(NodeCapacityChanged(node_id="n", resources={"cpu": {"numa_memory": {"0": -2}}}, is_delta=True))
    harness.step(NodeCapacityChanged(node_id="n", resources={"cpu": {"numa_memory": {"1": -6}}}, is_delta=True))
    harness.reload()
    slots = harness.core.ledger.slots["cpu"].node(0)
    assert slots.free[2:4] == [3, 5]


@pytest.mark.parametrize(
    ("payload", "change", "message"),
    [
        ({"cores": 2}, {"cores": {"0": -101}}, "cpu.cores.0: -1 must be at least 0"),
        ({"cores": 2}, {"cores": -3}, "cpu.cores: -3 more than 2 must give from 0"),
        ({"cores": 2}, {"share": 5}, "cpu.share: it says how many pieces new cores have"),
        ({"cores": 2, "memory": 5}, {"memory": -6}, "cpu.memory: -1 must be at least 0"),
        ({"cores": 2, "numa": ["0,1"]}, {"numa_memory": [1, 2]}, "cpu.numa_memory.1: there is no such NUMA node"),
        ({"cores": 2, "numa": ["0,1"]}, {"numa_memory_delta": [1]}, "cpu.numa_memory_delta: no such field"),
        ({"cores": 2}, {1: 1, "cores": 2}, "cpu: 1 must be a text"),
        (NUMA_NODE, {"cores": -1}, "cpu.numa.1: core '7' is not among the cores"),
        ({"memory": 5}, {"cores": 1}, "cpu.cores: they come from the node's dimension cpu"),
        (None, {"cores": 1}, "cpu: the node has no payload to add to"),
        ({"cores": 2}, {"speed": 1}, "cpu.speed: no such field"),
    ],
)
def test_bad_differences_are_refused_by_field(payload: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PLUGIN.change_node(payload, change, is_delta=True)


# What is found running


def test_what_was_assigned_may_be_found() -> None:
    for request in (
        bound(1.3, memory_request=5), bound(5, memory_request=5), bound(4, memory_request=5, numa_nodes=2),
        PLUGIN.parse({"cpu_request": 1.5}), PLUGIN.parse({"memory_request": 1}),
    ):  # fmt: skip
        node = node_slots(PLUGIN, NUMA_NODE)
        PLUGIN.check_assignment(request, node.inventory, assigned(request, node))


def test_work_that_was_bound_to_several_numa_nodes_may_be_found_on_them() -> None:
    node = node_slots(PLUGIN, NUMA_NODE)
    before = bound(4, memory_request=5, numa_nodes=2)
    held = assigned(before, node)
    after, stayed = realloc(node, held, before, {"keep_bind": True, "numa_nodes": None, "memory_request": 1})
    assert stayed is not None
    assert stayed.detail == {"numa": "0,1"}
    PLUGIN.check_assignment(after, node.inventory, stayed)


BOTH = {"numa_memory/0": 3, "numa_memory/1": 3, "requested": 400}
NONSENSE = [
    (bound(1), {"requested": 100}, None, "cpu.amounts: {'requested': 100} are not 1 whole cores"),
    (bound(1), {"0": 100}, None, "cpu.amounts: {'0': 100} is not what is asked; that is"),
    (bound(1), {"0": 50, "1": 50, "requested": 100}, None, "cpu.amounts: "),
    (bound(1), {"0": 200, "requested": 100}, None, "cpu.amounts: "),
    (bound(1.5), {"0": 150, "requested": 150}, None, "cpu.amounts: "),
    (bound(1), {"0": 100, "requested": 99}, None, "cpu.amounts: "),
    (bound(1), {"0": 100, "requested": 100}, {"numa": 5}, "cpu.detail.numa: 5 must be a text"),
    (bound(1), {"0": 100, "requested": 100}, {"x": 1}, "cpu.detail.x: no such field; there are numa"),
    (bound(1), {"0": 100, "requested": 100}, [], r"cpu.detail: \[\] must be a mapping"),
    (bound(1), {"0": 100, "requested": 100}, {}, "cpu.detail.numa: None must be a text"),
    (bound(1), {"0": 100, "requested": 100}, {"numa": "7"}, "cpu.detail.numa: no NUMA node '7'; the node has"),
    (bound(1), {"0": 100, "requested": 100}, {"numa": "0,0"}, "cpu.detail: {'numa': '0,0'} is not what is asked"),
    (bound(1), {"0": 100, "requested": 100}, {"numa": "1"}, "cpu.detail.numa: NUMA node 1 gives 0 of 100 pieces"),
    (bound(2), {"0": 100, "4": 100, "requested": 200}, {"numa": "0"}, "cpu.detail.numa: NUMA node 0 gives 100 of 200"),
    (bound(1, memory_request=5), {"0": 100, "requested": 100}, {"numa": "0"}, "cpu.amounts: .* is not what is asked"),
    (bound(1, memory_request=5), {"0": 100, "numa_memory/0": 5, "requested": 100}, None, "cpu.amounts: "),
    (bound(1, numa_nodes=1), {"0": 100, "requested": 100}, None, "cpu.detail.numa: 0 NUMA nodes; 1 are asked"),
    (bound(4, memory_request=6, numa_nodes=2), {"0": 100, "1": 100, "2": 100, "4": 100} | BOTH, {"numa": "0,1"},
     "cpu.detail.numa: NUMA node 0 gives 300 of 400 pieces"),
    (PLUGIN.parse({"cpu_request": 1}), {"0": 100, "requested": 100}, None, "cpu.amounts: "),
    (PLUGIN.parse({"cpu_request": 1}), {"requested": 100}, {"numa": "0"}, "cpu.detail: "),
    (PLUGIN.parse({}), {"requested": 1}, None, "cpu.amounts: "),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "amounts", "detail", "message"), NONSENSE)
def test_what_could_not_have_been_assigned_may_not_be_found(
    request_: Any, amounts: dict[str, int], detail: Any, message: str
) -> None:
    inventory = node_slots(PLUGIN, NUMA_NODE).inventory
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        PLUGIN.check_assignment(request_, inventory, Assignment(amounts=amounts, detail=detail))
    assert "\n" not in str(refusal.value)


def test_bound_work_may_not_be_found_on_a_node_without_cores() -> None:
    with pytest.raises(ValueError, match=r"^cpu\.amounts: {} are not 1 whole cores"):
        PLUGIN.check_assignment(bound(1), NOTHING, Assignment(amounts={}))


# Capacity and assignment


def test_unbound_work_needs_as_many_cores_as_it_asks_for_and_is_not_limited_otherwise() -> None:
    node = node_slots(PLUGIN, {"cores": 2})
    node.free[:] = [0, 0, -700]
    assert capacities(PLUGIN, PLUGIN.parse({"cpu_request": 2}), [node]) == [UNLIMITED]
    assert capacities(PLUGIN, PLUGIN.parse({"cpu_request": "2.001"}), [node]) == [0]
    assert PLUGIN.assign(PLUGIN.parse({"cpu_request": "2.001"}), node, 3) == []
    assert PLUGIN.assign(PLUGIN.parse({"cpu_request": 1.5}), node, 2) == [Assignment(amounts={"requested": 150})] * 2
    assert PLUGIN.assign(PLUGIN.parse({"memory_request": 1}), node, 1) == [Assignment(amounts={})]


def test_memory_of_the_node_is_a_dimension() -> None:
    assert PLUGIN.demand(bound(1, memory_request="1K")) == {"memory": 1024}
    assert PLUGIN.demand(bound(1)) == {}


def test_defect_a_node_unknown_to_the_plugin_only_fails_itself() -> None:
    nodes = [None, node_slots(PLUGIN, {"cores": 2}), None, node_slots(PLUGIN, {"cores": 3})]
    assert capacities(PLUGIN, bound(1), nodes) == [0, 2, 0, 3]
    assert capacities(PLUGIN, PLUGIN.parse({}), nodes) == [0, UNLIMITED, 0, UNLIMITED]


def test_a_bound_assignment_names_cores_numa_memory_and_what_was_requested() -> None:
    node = node_slots(PLUGIN, NUMA_NODE, core_0=130)
    assert PLUGIN.assign(bound(1.3, memory_request=5), node, 1) == [
        Assignment(amounts={"0": 30, "1": 100, "numa_memory/0": 5, "requested": 130}, detail={"numa": "0"})
    ]
    across = PLUGIN.assign(bound(5, memory_request=5), node, 1)[0]
    assert across.detail is None
    assert across.amounts.keys() == {"3", "4", "5", "6", "7", "requested"}


def test_numa_memory_limits_the_copies_inside_a_numa_node() -> None:
    node = node_slots(PLUGIN, NUMA_NODE, numa_0=2 * GIB, numa_1=-1)
    copies = PLUGIN.assign(bound(1, memory_request="1G"), node, 99)
    assert [copy.detail for copy in copies] == [{"numa": "0"}] * 2 + [None] * 6
    strict = PLUGIN.assign(bound(1, memory_request="1G", numa_nodes=1), node, 99)
    assert [copy.detail for copy in strict] == [{"numa": "0"}] * 2


def test_several_numa_nodes_give_equal_shares_or_nothing() -> None:
    node = node_slots(PLUGIN, NUMA_NODE)
    request = bound(4, memory_request=5, numa_nodes=2)
    (copy, _) = PLUGIN.assign(request, node, 2)
    assert copy.amounts == {
        "0": 100,
        "1": 100,
        "4": 100,
        "5": 100,
        "numa_memory/0": 3,
        "numa_memory/1": 3,
        "requested": 400,
    }
    assert copy.detail == {"numa": "0,1"}
    assert PLUGIN.engine_args(request, copy, None)["cpuset_mems"] == "0,1"
    assert capacities(PLUGIN, request, [node, node_slots(PLUGIN, {"cores": 8})]) == [2, 0]
    assert capacities(PLUGIN, bound(10, numa_nodes=2), [node]) == [0]


@st.composite
def nodes_and_requests(draw: Any) -> tuple[CpuPlugin, NodeSlots, dict[str, Any]]:
    order = draw(st.sampled_from(["number", "string"]))
    plugin = CpuPlugin(10, draw(st.sampled_from([-1, 0, 2])), order)
    count = draw(st.integers(0, 12))
    cut = draw(st.integers(0, count))
    numa = draw(st.sampled_from([None, [list(range(cut)), list(range(cut, count))], {"10": list(range(cut)), "9": []}]))
    share = draw(st.sampled_from([10, 30, 15]))
    node = node_slots(plugin, {"cores": count, "share": share, "numa": numa, "memory": draw(st.integers(0, 60))})
    node.free[:count] = [draw(st.integers(-3, share)) if draw(st.booleans()) else share for _ in range(count)]
    request = {"bind": True, "cpu_request": draw(st.integers(1, 45)) / 10, "memory_request": draw(st.integers(0, 9))}
    nodes = draw(st.sampled_from([None, None, 1, 2]))
    if nodes is not None:
        request["numa_nodes"] = nodes
    if nodes == 2:
        request["cpu_request"] = 2 * draw(st.integers(1, 3))
    return plugin, node, plugin.parse(request)


@given(nodes_and_requests())
@BOUNDED
def test_capacity_is_exactly_what_can_be_assigned(case: tuple[CpuPlugin, NodeSlots, dict[str, Any]]) -> None:
    plugin, node, request = case
    copies = plugin.assign(request, node, 10_000)
    assert capacities(plugin, request, [None, node, node]) == [0, len(copies), len(copies)]
    assert plugin.node_capacity(request, node, 3) == min(len(copies), 3)
    assert plugin.assign(request, node, 2) == copies[:2]
    free = list(node.free)
    for copy in copies:
        assert all(amount > 0 for amount in copy.amounts.values())
        for slot, amount in copy.amounts.items():
            free[node.inventory.slots.index(slot)] -= amount
    taken = [was - now for was, now in zip(node.free, free, strict=True)]
    assert all(now >= 0 or was == now for was, now in zip(node.free[:-1], free[:-1], strict=True))
    assert sum(taken[: node.inventory.layout["core_count"]]) == taken[-1]


def test_capacity_of_rows_does_not_depend_on_their_order() -> None:
    nodes = [
        node_slots(PLUGIN, {"cores": 2}, core_0=30),
        None,
        node_slots(PLUGIN, NUMA_NODE),
        node_slots(PLUGIN, {"cores": 2}),
    ]
    request = bound(1.3)
    assert capacities(PLUGIN, request, nodes) == [1, 0, 6, 1]
    assert capacities(PLUGIN, request, nodes[::-1]) == [1, 6, 0, 1]


# Realloc


def test_changes_are_differences() -> None:
    before = bound(1.5, memory_request="1G", memory_limit="2G")
    after = PLUGIN.merge(before, {"keep_bind": True, "cpu_request": 1, "memory_request": "-512M", "memory_limit": 1})
    assert after == bound(2.5, memory_request="512M", memory_limit=2 * GIB + 1)
    assert PLUGIN.merge(before, {"bind": True}) == before


def test_a_change_unbinds_unless_told_otherwise() -> None:
    before = bound(2, numa_nodes=1)
    for change in ({}, None, {"memory_request": 5}, {"keep_bind": False}):
        after = PLUGIN.merge(before, change)
        assert after["bind"] is False
        assert "numa_nodes" not in after
    assert PLUGIN.merge(before, {"keep_bind": True}) == before
    assert PLUGIN.merge(before, {"bind": True, "numa_nodes": 2})["numa_nodes"] == 2
    unbound = PLUGIN.parse({"cpu_request": 1})
    assert PLUGIN.merge(unbound, {"keep_bind": True}) == unbound
    assert PLUGIN.merge(unbound, {"bind": True})["bind"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_request": -3}, "cpu.cpu_request: -1 must be at least 0"),
        ({"cpu_request": -2, "keep_bind": True}, "cpu.cpu_request: 0 is too little to bind"),
        ({"memory_request": "-2K"}, "cpu.memory_request: -2047 must be at least 0"),
        ({"memory": 1}, "cpu.memory: no such field"),
        (3, "cpu: 3 must be a mapping"),
    ],
)
def test_bad_changes_are_refused_by_field(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PLUGIN.merge(bound(2, memory_request=1), change)


def test_defect_579_a_tenth_becomes_two_tenths() -> None:
    node = node_slots(PLUGIN, {"cores": 2})
    before = bound(0.1)
    held = assigned(before, node)
    after, assignment = realloc(node, held, before, {"keep_bind": True, "cpu_request": 0.1})
    assert after == bound(0.2)
    assert cores_of(assignment) == {"0": 20}


def test_repeated_differences_are_exact() -> None:
    request = bound(0.1)
    for _ in range(2, 1001):
        request = PLUGIN.merge(request, {"keep_bind": True, "cpu_request": 0.1})
    assert request["cpu_request"] == 100
    for _ in range(999):
        request = PLUGIN.merge(request, {"keep_bind": True, "cpu_request": -0.1})
    assert request == bound(0.1)


@given(st.lists(st.decimals(0, 9, places=3), min_size=1, max_size=30))
@BOUNDED
def test_differences_add_up_exactly(amounts: list[Any]) -> None:
    request = PLUGIN.parse({})
    for amount in amounts:
        request = PLUGIN.merge(request, {"cpu_request": float(amount)})
    assert Fraction(str(request["cpu_request"])) == sum(map(Fraction, amounts))


def test_defect_263_a_change_of_memory_keeps_the_cores() -> None:
    node = node_slots(PLUGIN, {"cores": {"0": 100, "1": 100, "2": 70, "3": 100}})
    before = bound(1.5, memory_request=5)
    held = Assignment(amounts={"3": 100, "1": 50, "requested": 150})
    take(node, held)
    _, assignment = realloc(node, held, before, {"keep_bind": True, "memory_request": 3})
    assert assignment == Assignment(amounts={"3": 100, "1": 50, "requested": 150})


def test_a_change_keeps_cores_and_numa_node_where_it_can() -> None:
    node = node_slots(PLUGIN, NUMA_NODE)
    before = bound(2, memory_request="1G")
    held = Assignment(amounts={"5": 100, "7": 100, "numa_memory/1": GIB, "requested": 200}, detail={"numa": "1"})
    take(node, held)
    _, grown = realloc(node, held, before, {"keep_bind": True, "cpu_request": 1, "memory_request": "1G"})
    assert grown is not None
    assert cores_of(grown) == {"4": 100, "5": 100, "7": 100}
    assert grown.amounts["numa_memory/1"] == 2 * GIB


def test_defect_a_move_to_another_numa_node_moves_its_memory() -> None:
    node = node_slots(PLUGIN, NUMA_NODE)
    before = bound(2, memory_request="1G")
    held = assigned(before, node)
    assert held.detail == {"numa": "0"}
    node.free[node.inventory.slots.index("numa_memory/0")] -= 2 * GIB
    after, moved = realloc(node, held, before, {"keep_bind": True, "memory_request": "2G"})
    assert moved is not None
    assert moved.detail == {"numa": "1"}
    numa_memory = {slot: amount for slot, amount in moved.amounts.items() if slot.startswith("numa_memory")}
    assert numa_memory == {"numa_memory/1": 3 * GIB}
    assert node.free[8:10] == [2 * GIB, GIB]
    assert after["memory_request"] == 3 * GIB


def test_a_change_that_does_not_fit_is_none() -> None:
    node = node_slots(PLUGIN, {"cores": 2})
    before = bound(1)
    held = assigned(before, node)
    assert realloc(node, held, before, {"keep_bind": True, "cpu_request": 2})[1] is None
    assert realloc(node, held, before, {"cpu_request": 2})[1] is None
    assert realloc(node, held, before, {"cpu_request": 1})[1] == Assignment(amounts={"requested": 200})


def test_unbound_work_can_be_bound() -> None:
    node = node_slots(PLUGIN, {"cores": 2})
    before = PLUGIN.parse({"cpu_request": 1})
    held = assigned(before, node)
    assert cores_of(realloc(node, held, before, {"bind": True})[1]) == {"0": 100}


def test_the_same_amount_of_cpu_moves_where_it_cannot_stay() -> None:
    node = node_slots(PLUGIN, NUMA_NODE)
    before = bound(2)
    held = Assignment(amounts={"3": 100, "4": 100, "requested": 200})
    inside = PLUGIN.reassign(PLUGIN.merge(before, {"bind": True, "numa_nodes": 1}), node, held, before)
    assert inside is not None
    assert inside.detail == {"numa": "0"}
    assert "3" in cores_of(inside)
    node.free[3] = 50
    assert cores_of(PLUGIN.reassign(before, node, held, before)).keys() <= {"0", "1", "2"}


def test_cores_that_are_gone_do_not_come_back() -> None:
    node = node_slots(PLUGIN, {"cores": {"1": 100, "2": 100}})
    before = bound(2)
    held = Assignment(amounts={"0": 100, "1": 100, "requested": 200}, detail={"numa": "7"})
    assert cores_of(PLUGIN.reassign(before, node, held, before)) == {"1": 100, "2": 100}


def test_shares_of_numa_nodes_stay_where_they_are() -> None:
    node = node_slots(PLUGIN, {"cores": 6, "numa": ["0,1", "2,3", "4,5"], "memory": 30})
    before = bound(2, memory_request=4, numa_nodes=2)
    amounts = {"0": 100, "5": 100, "numa_memory/0": 2, "numa_memory/2": 2, "requested": 200}
    held = Assignment(amounts=amounts, detail={"numa": "0,2"})
    assert PLUGIN.reassign(before, node, held, before) == held
    grown = PLUGIN.reassign(PLUGIN.merge(before, {"keep_bind": True, "cpu_request": 2}), node, held, before)
    assert cores_of(grown) == {"0": 100, "1": 100, "4": 100, "5": 100}


# Remap, engine, usage


def test_unbound_work_shares_the_cores_with_a_whole_core_left() -> None:
    node = node_slots(PLUGIN, {"cores": {"0": 100, "1": 300, "2": 100, "10": 100}}, core_0=99, core_1=250)
    assert PLUGIN.shared(node) == ["1", "2", "10"]
    node.free[:] = [99, 0, -5, 10, 0]
    assert PLUGIN.shared(node) == ["0", "1", "2", "10"]


def test_defect_339_bound_work_has_cores_and_a_weight_but_no_quota() -> None:
    request = bound(1.3, memory_request="1G", memory_limit="2G")
    assignment = Assignment(amounts={"2": 30, "10": 100, "numa_memory/1": GIB, "requested": 130}, detail={"numa": "1"})
    assert PLUGIN.engine_args(request, assignment, ["0"]) == {
        "cpuset_cpus": "2,10",
        "cpuset_mems": "1",
        "cpu_period": 100_000,
        "cpu_quota": -1,
        "cpu_shares": 307,
        "memory_bytes": 2 * GIB,
    }
    whole = PLUGIN.engine_args(bound(1), Assignment(amounts={"3": 100, "requested": 100}), None)
    assert whole["cpu_shares"] == 1024
    assert "cpuset_mems" not in whole
    assert CpuPlugin(10_000).engine_args(bound(0.0001 * 100), Assignment(amounts={"3": 1}), None)["cpu_shares"] == 10


def test_unbound_work_has_a_quota_on_the_shared_cores() -> None:
    request = PLUGIN.parse({"cpu_request": 0.5, "cpu_limit": 1.5, "memory_limit": 7})
    assert PLUGIN.engine_args(request, Assignment(amounts={"requested": 50}), ["0", "3"]) == {
        "cpuset_cpus": "0,3",
        "cpu_period": 100_000,
        "cpu_quota": 150_000,
        "cpu_shares": 1024,
        "memory_bytes": 7,
    }
    unlimited = PLUGIN.engine_args(PLUGIN.parse({}), None, None)
    assert unlimited["cpu_quota"] == -1
    assert "cpuset_cpus" not in unlimited
    assert set(PLUGIN.engine_args(request, None, ["0"])) <= set(PLUGIN.engine_keys)


def test_usage_of_bound_work_is_of_requested_cpu() -> None:
    oversold = node_slots(PLUGIN, {"cores": 2, "share": 300})
    oversold.free[-1] = -100
    nodes = columns(PLUGIN, [node_slots(PLUGIN, {"cores": 4}), oversold, None, node_slots(PLUGIN, {"cores": 0})])
    usage = PLUGIN.usage(bound(1), nodes, NO_FACTS)
    assert usage is not None
    assert usage.usage.tolist() == [0.0, 1.5, 0.0, 0.0]
    assert usage.rate.tolist() == [0.25, 0.5, 0.0, 0.0]
    assert usage.weight == 100


def test_usage_of_unbound_work_is_of_memory() -> None:
    request = PLUGIN.parse({"memory_request": 2})
    nodes = columns(PLUGIN, [node_slots(PLUGIN, {"cores": 1}), None, None], [(6, 8), (8, 8), (0, 0)])
    usage = PLUGIN.usage(request, nodes, NO_FACTS)
    assert usage is not None
    assert usage.usage.tolist() == [0.25, 0.0, 0.0]
    assert usage.rate.tolist() == [0.25, 0.25, 0.0]
    assert usage.weight == 1
    alone = NodeColumns((), nodes.rows, nodes.free, nodes.total, nodes.reference, nodes.slots)
    assert PLUGIN.usage(request, alone, NO_FACTS) is None


def test_the_kernel_is_compiled_for_one_layout_of_arrays_only() -> None:
    kernels.compile_all()
    nodes = columns(PLUGIN, [node_slots(PLUGIN, NUMA_NODE)] * 3)
    assert nodes.slots is not None
    by_column = nodes.with_slots(nodes.slots._replace(free=np.asfortranarray(nodes.slots.free)))
    assert PLUGIN.capacity(bound(3), by_column, NO_FACTS).tolist() == [2, 2, 2]
    assert PLUGIN.node_capacity(bound(3), node_slots(PLUGIN, {"cores": 3}), 9) == 1
    assert len(kernels.cpu_plan_counts.signatures) == 1  # type: ignore[attr-defined]


def test_read_only_columns_will_do() -> None:
    nodes = columns(PLUGIN, [node_slots(PLUGIN, NUMA_NODE)], [(1, 2)])
    assert nodes.slots is not None
    for array in (nodes.free, nodes.total, nodes.slots.free, nodes.slots.inventory_ids):
        array.setflags(write=False)
    before = nodes.slots.free.copy()
    assert PLUGIN.capacity(bound(3), nodes, NO_FACTS).tolist() == [2]
    assert PLUGIN.usage(bound(3), nodes, NO_FACTS) is not None
    assert np.array_equal(nodes.slots.free, before)

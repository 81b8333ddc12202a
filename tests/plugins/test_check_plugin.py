"""The conformance kit passes what is sound and catches what is not: one broken plugin and more for every property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from example_plugins_kit import example_plugins

from scheduler.events import NodeJoined
from scheduler.plugins.registry import make_plugin
from scheduler.ports import UNLIMITED, Assignment, Cap, Inventory, NodeColumns, NodeSlots, ResourcePlugin, Usage
from scheduler.testing import PluginCheckError, check_plugin
from scheduler.testing.plugin_checks import MONOTONICITY, PROPERTIES, SCORES, default_nodes

GIB = 1 << 30
_examples = example_plugins()
ApartPlugin: Any = _examples.ApartPlugin
PortsPlugin: Any = _examples.PortsPlugin


class Case(NamedTuple):
    params: Mapping[str, Any]
    payloads: Sequence[Any]
    bad_payloads: Sequence[Any]
    node_payloads: Sequence[Any] = ()


def _affinity_rules(**rules: Any) -> dict[str, Any]:
    return {"labels": {"app": "web"}, **rules}


WEB = {"app": "web"}
BUILT_IN = {
    "affinity": Case(
        {"levels": ["node", "rack"]},
        [
            _affinity_rules(apart=[{"match": WEB, "most": 1}]),
            _affinity_rules(apart=[{"match": WEB, "level": "rack", "most": 4}]),
            _affinity_rules(spread=[{"match": WEB, "level": "rack"}]),
            _affinity_rules(prefer_apart=[{"match": WEB, "level": "zone"}]),
            {"labels": {"app": "db"}, "near": [{"match": WEB, "level": "zone"}]},
            {"prefer_near": [{"match": WEB}]},
        ],
        [[], {"apart": [{}]}, {"spread": [{"match": WEB, "max_skew": 0}]}],
    ),
    "cpu": Case(
        {"max_share": 1},
        [
            {"cpu_request": 1, "memory_request": "1G"},
            {"cpu_request": 1.5, "memory_request": "1G", "bind": True},
            {"cpu_request": 0.3, "bind": True},
            {"cpu_request": 2, "memory_request": "1G", "bind": True, "numa_nodes": 2},
            {},
        ],
        [{"cpu_request": -1}, {"cpu_request": 0, "bind": True}],
        [{"cores": 4, "numa": ["0-1", "2-3"], "memory": "8G"}, {"cores": 3}, {"cores": {"0": 100, "1": 50}}],
    ),
    "curve": Case(
        {"points": 3},
        [{"cpu": 100, "memory": [1, 2, 3]}, {"cpu": [0, 500, 0]}, {}],
        [{"cpu": [1, 2]}, {"gpu": 1}],
        [{"cpu": 1000, "memory": 10}, {"cpu": [500, 1000, 400], "memory": 9}],
    ),
    "gpu": Case(
        {},
        [
            {"count": 1, "models": ["T4"]},
            {"count": 2, "milli": 400, "memory": "2G"},
            {"prod_count_map": {"T4": 1, "V100": 1}},
            {"groups": [{"count": 1}, {"count": 1, "milli": 300, "models": ["T4"]}]},
            {},
        ],
        [{"count": -1}, {"milli": 2000}],
        [{"model": "T4", "count": 4, "memory": "16G"}, {"prod_count_map": {"T4": 1, "V100": 2}}],
    ),
    "images": Case({}, [{"images": ["web:1"]}, {"images": {"web:1": 70 << 20, "db:2": 1}}], [{}, {"images": "web"}]),
    "labels": Case({}, [{"zone": ["a"]}, {"zone": ["a", "b"], "size": ["large"]}], [{"zone": []}, {"zone": "a"}]),
    "licences": Case(
        {"limits": {"matlab": 5, "spice": 2}}, [{"matlab": 1}, {"matlab": 2, "spice": 1}], [{"emacs": 1}, {"spice": 0}]
    ),
    "storage": Case(
        {},
        [
            {"volumes": ["AUTO:/data:rw:10G"]},
            {"volumes": ["AUTO:/data:rwm:10G"]},
            {"volumes": ["AUTO:/a:rw:1G:5:5:0:0", "AUTO:/b:rw:2G"]},
            {"storage": "1G"},
        ],
        [{"volumes": ["nowhere"]}, {"storage": -1}],
        [
            {
                "volumes": {"/a": "50G", "/b": "20G"},
                "disks": [{"device": "/dev/sda", "mounts": ["/a"], "read_iops": 20, "write_iops": 20}],
                "storage": "10G",
            },
            {"volumes": {"/c": "30G"}},
        ],
    ),
    "taints": Case(
        {}, [{}, {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}], [{"tolerations": [{"key": ""}]}]
    ),
}
NOT_MONOTONE = {"storage"}
"""A volume that is taken makes a device a used one, which may then serve others as well."""


def _nodes(name: str, payloads: Sequence[Any]) -> list[NodeJoined]:
    """Nodes that have the payloads in turn, one that has none, and one with nothing at all."""
    capacity = {"cpu": 2_000, "memory": 8 * GIB}
    nodes = [
        NodeJoined(node_id=f"n{number}", capacity=capacity, resources={name: payload})
        for number, payload in enumerate([*payloads, payloads[0]])
    ]
    return [*nodes, NodeJoined(node_id="plain", capacity=capacity), NodeJoined(node_id="bare", capacity={})]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_plugins_have_all_properties(name: str, seed: int) -> None:
    case = BUILT_IN[name]
    plugin = make_plugin(name, case.params)
    report = check_plugin(
        plugin,
        payloads=case.payloads,
        bad_payloads=case.bad_payloads,
        nodes=_nodes(name, case.node_payloads) if case.node_payloads else None,
        is_monotone=name not in NOT_MONOTONE,
        steps=20,
        seed=seed,
    )
    may_be_none = {SCORES} | ({MONOTONICITY} if name in NOT_MONOTONE else set())
    assert list(report.cases) == list(PROPERTIES)
    assert {wanted for wanted, count in report.cases.items() if not count} <= may_be_none


def test_every_built_in_plugin_is_checked() -> None:
    from importlib.metadata import entry_points

    ours = [point.name for point in entry_points(group="eru.plugins") if point.value.startswith("scheduler.")]
    assert sorted(ours) == sorted(BUILT_IN)


@pytest.mark.parametrize("plugin", [ApartPlugin(), PortsPlugin()], ids=lambda plugin: str(plugin.name))
def test_the_example_plugins_have_all_properties(plugin: Any) -> None:
    report = check_plugin(plugin, payloads=plugin.examples, bad_payloads=[{}, {"count": 1.5}])
    assert all(count for wanted, count in report.cases.items() if wanted != SCORES)


class TooFewPorts(PortsPlugin):  # type: ignore[misc]
    """The capacity is below what can be assigned."""

    def node_capacity(self, request: Any, node: NodeSlots, most: int) -> int:
        return max(0, len(self.assign(request, node, most)) - 1)


class TooManyPorts(PortsPlugin):  # type: ignore[misc]
    """The capacity is said to be exact, and is not."""

    def node_capacity(self, request: Any, node: NodeSlots, most: int) -> int:
        return min(most, sum(node.free))


class Generous(ResourcePlugin):
    """A row allows four copies, and after the first none."""

    name = "generous"

    def parse(self, payload: Any) -> Any:
        return _parse("generous", payload)

    def marks(self, request: Any) -> Sequence[tuple[str, str]]:
        return [("generous", "x")]

    def capacity(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        taken = facts.mark_counts("generous", "x", "node")[nodes.rows]
        return np.where(taken > 0, 0, 4)


class Remembering(ResourcePlugin):
    """Every question makes the next answer smaller."""

    name = "remembering"

    def __init__(self) -> None:
        self._left = 1000

    def parse(self, payload: Any) -> Any:
        return _parse("remembering", payload)

    def capacity(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        self._left -= 1
        return np.full(len(nodes.rows), max(self._left, 0), dtype=np.int64)


class Scribbling(ResourcePlugin):
    """Writes into the request that it is given."""

    name = "scribbling"

    def parse(self, payload: Any) -> Any:
        return dict(_parse("scribbling", payload))

    def caps(self, request: Any, facts: Any, pools: Any) -> Sequence[Cap]:
        return ()

    def score(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        request["seen"] = True
        return np.zeros(len(nodes.rows))


class Overwriting(ResourcePlugin):
    """Writes into the columns that it is given."""

    name = "overwriting"

    def parse(self, payload: Any) -> Any:
        return _parse("overwriting", payload)

    def score(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        nodes.free[0] = 0
        return None


class Forgetful(ResourcePlugin):
    """Charges by what is on the row: what is given back is not what was taken."""

    name = "forgetful"

    def parse(self, payload: Any) -> Any:
        return _parse("forgetful", payload)

    def marks(self, request: Any) -> Sequence[tuple[str, str]]:
        return [("forgetful", "x")]

    def charges(self, request: Any, row: int, facts: Any) -> Mapping[str, int]:
        return {"forgetful/pool": 1 + facts.mark_values("forgetful").get("x", {}).get(row, 0)}


class Overdrawn(ResourcePlugin):
    """Takes from a pool without a cap."""

    name = "overdrawn"
    coupling = "cluster"

    def parse(self, payload: Any) -> Any:
        return _parse("overdrawn", payload)

    def pools(self) -> Mapping[str, int]:
        return {"overdrawn/pool": 3}

    def charges(self, request: Any, row: int, facts: Any) -> Mapping[str, int]:
        return {"overdrawn/pool": 1}


class TwicePorts(PortsPlugin):  # type: ignore[misc]
    """Grants the same ports to every copy."""

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        first = super().assign(request, node, 1)
        return first * count


class UniformPorts(PortsPlugin):  # type: ignore[misc]
    """Says that all copies get the same, which they do not."""

    def uniform(self, request: Any) -> Assignment | None:
        return Assignment(amounts={"30000": 1})


class GreedyPorts(PortsPlugin):  # type: ignore[misc]
    """A realloc takes ports that others hold."""

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        return Assignment(amounts=dict.fromkeys(node.inventory.slots, 1))


class Relative(ResourcePlugin):
    """Normalises by the rows that it happens to be asked about."""

    name = "relative"

    def parse(self, payload: Any) -> Any:
        return _parse("relative", payload)

    def score(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        free = nodes.free[0].astype(np.float64)
        return free / max(free.max(), 1.0)


class Contagious(ResourcePlugin):
    """A copy anywhere lowers the capacity everywhere, which only caps may do."""

    name = "contagious"

    def parse(self, payload: Any) -> Any:
        return _parse("contagious", payload)

    def marks(self, request: Any) -> Sequence[tuple[str, str]]:
        return [("contagious", "x")]

    def capacity(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        total = int(facts.mark_counts("contagious", "x", "node").sum())
        return np.full(len(nodes.rows), max(0, 9 - total), dtype=np.int64)


class Crowded(ResourcePlugin):
    """A node that joins changes the capacity of all others."""

    name = "crowded"

    def parse(self, payload: Any) -> Any:
        return _parse("crowded", payload)

    def capacity(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        return np.full(len(nodes.rows), facts.row_count, dtype=np.int64)


class Unbounded(ResourcePlugin):
    """Scores beyond 1."""

    name = "unbounded"

    def parse(self, payload: Any) -> Any:
        return _parse("unbounded", payload)

    def score(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        return nodes.free[0].astype(np.float64)


class Undefined(ResourcePlugin):
    """Usage of a node with nothing is not a number."""

    name = "undefined"

    def parse(self, payload: Any) -> Any:
        return _parse("undefined", payload)

    def usage(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return Usage(nodes.free[0] / nodes.total[0], np.ones(len(nodes.rows)))


class FirstOnly(ResourcePlugin):
    """Prefers the node that joined first, whichever it is."""

    name = "first-only"

    def parse(self, payload: Any) -> Any:
        return _parse("first-only", payload)

    def score(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        return 1.0 / (1.0 + nodes.rows)


class Gregarious(ResourcePlugin):
    """Every copy makes room for two more."""

    name = "gregarious"

    def parse(self, payload: Any) -> Any:
        return _parse("gregarious", payload)

    def marks(self, request: Any) -> Sequence[tuple[str, str]]:
        return [("gregarious", "x")]

    def capacity(self, request: Any, nodes: NodeColumns, facts: Any) -> Any:
        return 1 + facts.mark_counts("gregarious", "x", "node")[nodes.rows]


class Fancy(ResourcePlugin):
    """Its canonical payload is not plain data."""

    name = "fancy"

    def parse(self, payload: Any) -> Any:
        if isinstance(payload, Mapping):
            payload = {field: value for field, value in payload.items() if field != "size"}
        return {**_parse("fancy", payload), "size": (1, 2)}


class Restless(ResourcePlugin):
    """Its canonical payload is not a fixed point of parse."""

    name = "restless"

    def parse(self, payload: Any) -> Any:
        return {"count": _parse("restless", payload).get("count", 0) + 1}


class FancyPorts(PortsPlugin):  # type: ignore[misc]
    """The layout of its inventory is not plain data."""

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        found = super().inventory(payload, capacity, labels)
        return found and Inventory(slots=found.slots, total=found.total, layout={1: (2, 3)})


class Careless(ResourcePlugin):
    """Lets Python complain about bad payloads."""

    name = "careless"

    def parse(self, payload: Any) -> Any:
        return {"count": int(payload["count"])}


class Anonymous(ResourcePlugin):
    """Refuses without its name."""

    name = "anonymous"

    def parse(self, payload: Any) -> Any:
        return _parse("somebody", payload)


class Wordy(ResourcePlugin):
    """Refuses at length."""

    name = "wordy"

    def parse(self, payload: Any) -> Any:
        return _parse("wordy: this is\nwordy", payload)


def _parse(name: str, payload: Any) -> Any:
    """A mapping with at most a count."""
    if not isinstance(payload, Mapping) or set(payload) - {"count"} or type(payload.get("count", 0)) is not int:
        raise ValueError(f"{name}.count: {payload!r} is not a mapping with a number as its count")
    return payload


PORTS = [{"count": 1}, {"count": 3}]


class Sorting(ResourcePlugin):
    """Sorts keys that cannot be compared."""

    name = "sorting"

    def parse(self, payload: Any) -> Any:
        if not isinstance(payload, Mapping):
            raise ValueError("sorting: give a mapping")
        if sorted(payload) != ["count"] or payload["count"] != 1:
            raise ValueError("sorting.count: give 1")
        return {"count": 1}


class Reading(ResourcePlugin):
    """Reads numbers of any length."""

    name = "reading"

    def parse(self, payload: Any) -> Any:
        if not isinstance(payload, Mapping) or payload.keys() != {"count"}:
            raise ValueError("reading: give a mapping with the count")
        count = payload["count"]
        if isinstance(count, str) and count.isdigit():
            count = int(count)
        if count != 1:
            raise ValueError("reading.count: give 1")
        return {"count": 1}


class SuspiciousPorts(PortsPlugin):  # type: ignore[misc]
    """Does not know again what it has assigned."""

    def check_assignment(self, request: Any, inventory: Any, assignment: Any) -> None:
        raise ValueError("ports.amounts: never")


class TrustingPorts(PortsPlugin):  # type: ignore[misc]
    """Takes for granted what the detail of an assignment looks like."""

    def check_assignment(self, request: Any, inventory: Any, assignment: Any) -> None:
        if assignment.detail is not None:
            assignment.detail["ports"]


@pytest.mark.parametrize(
    ("plugin", "lacking", "said"),
    [
        (TooFewPorts(), "admissible bound", "row 0 has capacity 9, but 10 copies are assigned"),
        (TooManyPorts(), "admissible bound", "row 0 has capacity 10, but 3 copies are assigned"),
        (Generous(), "admissible bound", "has capacity 4, and after one copy 0"),
        (Remembering(), "purity", "capacity gives"),
        (Scribbling(), "purity", "it changed the requests"),
        (Overwriting(), "purity", "read-only"),
        (
            Forgetful(),
            "assign then release",
            "'forgetful/pool': 1} when placed, and gives back {'",
        ),
        (Overdrawn(), "no over-commit", "4 of pool 'overdrawn/pool' are taken of 3"),
        (TwicePorts(), "no over-commit", "25 copies are assigned 25 of '30000', of which 1 are free"),
        (UniformPorts(), "admissible bound", "detail=None), but assigned is Assignment(amounts={'30001': 1}"),
        (GreedyPorts(), "no over-commit", "of which 0 are free"),
        (Relative(), "summary coherence", "alone has capacity"),
        (Contagious(), "summary coherence", "changes the capacity of others"),
        (Crowded(), "summary coherence", "did not change, but its capacity from 8 to 9"),
        (Unbounded(), "finite scores", "not float64 from 0 to 1"),
        (Undefined(), "finite scores", "usage is not finite"),
        (FirstOnly(), "permutation equivariance", "with the nodes in another order"),
        (Gregarious(), "monotonicity", "has capacity 1, with it 2"),
        (Fancy(), "codec round trip", "after msgpack"),
        (Restless(), "codec round trip", "parse changes its own answer"),
        (FancyPorts(), "codec round trip", "the inventory"),
        (Careless(), "bad input", "parse raises TypeError"),
        (Anonymous(), "bad input", "starts with 'anonymous.<field>: '"),
        (Wordy(), "bad input", "ValueError of one line"),
        (Sorting(), "bad input", "parse raises TypeError"),
        (Reading(), "bad input", "Exceeds the limit"),
        (SuspiciousPorts(), "admissible bound", "check_assignment raises ValueError: ports.amounts: never"),
        (TrustingPorts(), "bad input", "check_assignment raises TypeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ResourcePlugin) else None,
)
def test_a_broken_plugin_is_caught(plugin: Any, lacking: str, said: str) -> None:
    payloads = PORTS if isinstance(plugin, PortsPlugin) else [{"count": 1}]
    with pytest.raises(PluginCheckError) as caught:
        check_plugin(plugin, payloads=payloads)
    message = str(caught.value)
    assert message.startswith(f"{lacking}: plugin {plugin.name!r}: "), message
    assert said in message, message
    assert message.endswith("; seed=0")
    assert "\n" not in message
    assert caught.value.report.plugin == plugin.name


def test_a_payload_that_should_be_refused_and_is_not() -> None:
    with pytest.raises(PluginCheckError, match=r"bad input: .*parse accepts it"):
        check_plugin(PortsPlugin(), payloads=PORTS, bad_payloads=[{"count": 2}])


def test_a_plugin_whose_parameters_are_not_kept_is_caught() -> None:
    class Hiding(PortsPlugin):  # type: ignore[misc]
        def __init__(self, size: int = 1) -> None:
            self._size = size

    with pytest.raises(PluginCheckError, match=r"purity: .*get_params"):
        check_plugin(Hiding(), payloads=PORTS)


def test_a_core_that_fails_is_blamed_on_the_plugin() -> None:
    class Undeclared(PortsPlugin):  # type: ignore[misc]
        engine_keys = ()

    with pytest.raises(PluginCheckError, match=r"random core run: .*not among its engine_keys"):
        check_plugin(Undeclared(), payloads=PORTS)


def test_nothing_to_check_is_said() -> None:
    with pytest.raises(ValueError, match="payloads: there are none"):
        check_plugin(PortsPlugin(), payloads=[])
    with pytest.raises(ValueError, match="none fits on any node for 'ports'"):
        check_plugin(PortsPlugin(), payloads=[{"count": 500}], steps=2)
    bad_node = NodeJoined(node_id="a", capacity={}, resources={"ports": 5})
    with pytest.raises(ValueError, match="nodes: a is refused: ports: 5 must be a mapping"):
        check_plugin(PortsPlugin(), payloads=PORTS, nodes=[bad_node])


def test_a_seed_repeats_and_another_differs() -> None:
    reports = [check_plugin(PortsPlugin(), payloads=PORTS, steps=10, seed=seed).cases for seed in (3, 3, 4)]
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


def test_default_nodes_are_what_the_documentation_says() -> None:
    nodes = default_nodes(PortsPlugin())
    assert len(nodes) == 8
    assert [bool(node.resources) for node in nodes] == [True, True, True, False, True, True, True, False]
    assert {node.labels.get("zone") for node in nodes} == {"a", "b", None}
    assert nodes[-1].capacity == {}
    assert max(amount for node in nodes for amount in node.capacity.values()) < UNLIMITED


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"licences"}))
def test_built_in_plugins_bring_examples_of_their_own(name: str) -> None:
    plugin: Any = make_plugin(name)
    report = check_plugin(plugin, payloads=plugin.examples, steps=3)
    assert report.cases["admissible bound"]

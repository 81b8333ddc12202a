"""Resource plugins in the pipeline: labels filter, licences cap and wake, engine arguments do not clash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from core_kit import harness, node, starts, with_nodes

from scheduler.config import CoreConfig, PluginConfig
from scheduler.events import NodeLost, NodeRemoved
from scheduler.plan import PluginError
from scheduler.plugins.labels import LabelsPlugin
from scheduler.ports import Cap, Coupling, ResourcePlugin
from scheduler.testing import Harness
from scheduler.testing.harness import placements


def test_labels_must_all_match_one_of_the_values() -> None:
    h = harness()
    h.step(
        node("a", labels={"gpu": "T4"}),
        node("b", labels={"gpu": "V100", "zone": "x"}),
        node("c", labels={"gpu": "P100", "zone": "y"}),
    )
    assert placements(h.submit("v", 1, 1, payloads={"labels": {"gpu": ["V100", "P100"]}})) == {"v": "b"}
    both = {"gpu": ["V100", "P100"], "zone": ["y", "z"]}
    assert placements(h.submit("w", 1, 1, payloads={"labels": both})) == {"w": "c"}
    assert placements(h.submit("x", 1, 1, payloads={"labels": {"nothing": ["y"]}})) == {}
    assert placements(h.step(node("d", labels={"nothing": "y"}))) == {"x": "d"}


def test_equal_payloads_are_one_class_however_they_are_written() -> None:
    first = {"labels": {"b": ["2", "1"], "a": ["1"]}}
    second = {"labels": {"a": ["1", "1"], "b": ["1", "2"]}}
    assert LabelsPlugin().parse(first["labels"]) == LabelsPlugin().parse(second["labels"])
    h = harness()
    h.submit("w", 1, 1, payloads=first)
    h.submit("x", 1, 1, payloads=second)
    assert h.core.workloads["w"].class_id == h.core.workloads["x"].class_id


def test_licences_cap_the_cluster_and_a_refund_wakes() -> None:
    h = with_nodes((9, 9), (9, 9))
    matlab = {"licences": {"matlab": 1}}
    commands = h.submit("w", 1, 1, count=4, payloads=matlab)
    assert placements(commands) == {"w/0": "n0", "w/1": "n0"}
    h.submit("free", 1, 1)
    assert h.state_of("free") == "starting"
    assert str(h.core.diagnose("w/2")) == "0/2 nodes: 2 licences"
    decisions = h.core.counters.decisions
    h.exited("free")
    assert h.core.counters.decisions - decisions <= 1
    assert starts(h.exited("w/0")) == [("w/2", 1, "n0")]
    assert h.core.ledger.pool_used == {"licences/matlab": 2}
    assert starts(h.remove("w/1") + h.stopped("w/1")) == [("w/3", 1, "n0")]


def test_more_than_one_licence_at_a_time() -> None:
    h = with_nodes((9, 9))
    h.submit("w", 1, 1, payloads={"licences": {"matlab": 1}})
    assert placements(h.submit("x", 1, 1, payloads={"licences": {"matlab": 2}})) == {}
    assert placements(h.submit("y", 1, 1, payloads={"licences": {"matlab": 1, "spice": 1}})) == {"y": "n0"}
    h.exited("y")
    assert h.state_of("x") == "queued"
    assert placements(h.exited("w")) == {"x": "n0"}


def test_a_refund_wakes_for_every_node_and_not_only_the_one_that_was_freed() -> None:
    h = with_nodes((1, 1), (5, 5))
    h.submit("w", 1, 1, payloads={"licences": {"spice": 1}})
    assert h.node_of("w") == "n0"
    h.submit("x", 3, 3, payloads={"licences": {"spice": 1}})
    assert placements(h.exited("w")) == {"x": "n1"}


def test_a_wake_up_by_licence_respects_the_order_of_the_queue() -> None:
    h = with_nodes((4, 4))
    h.submit("w", 4, 4, payloads={"licences": {"spice": 1}})
    h.submit("a", 4, 4)
    h.submit("b", 4, 4, priority=1, payloads={"licences": {"spice": 1}})
    h.submit("c", 4, 4, payloads={"licences": {"matlab": 1}})
    assert placements(h.exited("w")) == {"b": "n0"}
    assert placements(h.exited("b")) == {"a": "n0"}
    assert placements(h.exited("a")) == {"c": "n0"}


def test_the_licence_of_a_removed_node_is_refunded_and_that_of_a_lost_one_is_not() -> None:
    spice = {"licences": {"spice": 1}}
    for event, placed in ((NodeRemoved(node_id="n0"), {"w": "n1"}), (NodeLost(node_id="n0"), {})):
        h = with_nodes((9, 9), (9, 9))
        h.submit("w", 1, 1, payloads=spice)
        assert placements(h.step(event)) == placed


class Spread(ResourcePlugin):
    """At most two copies a rack, counted over what the pools say: a plugin with caps by domain."""

    coupling: ClassVar[Coupling] = "domain"

    def __init__(self, name: str = "spread", key: str = "rack") -> None:
        self.name = name  # type: ignore[misc]
        self.engine_keys = (key,)  # type: ignore[misc]
        self.key = key

    def parse(self, payload: Any) -> Any:
        if not isinstance(payload, int):
            raise ValueError(f"{self.name}: {payload!r} is not a number of copies a rack")
        return payload

    def caps(self, request: Any, facts: Any, pools: Any) -> Sequence[Cap]:
        used = [pools.pool_used.get(f"{self.name}/{d}", 0) for d in range(facts.domain_count("rack"))]
        return [Cap(facts.domain_ids("rack"), np.array([request - taken for taken in used], dtype=np.int64))]

    def charges(self, request: Any, row: int, facts: Any) -> Mapping[str, int]:
        domain = int(facts.domain_ids("rack")[row])
        return {f"{self.name}/{domain}": 1} if domain >= 0 else {}

    def engine_args(self, request: Any, assignment: Any, shared: Any) -> Mapping[str, Any]:
        return {self.key: request}


def spread_over_racks(*made: Any) -> Harness:
    h = Harness(CoreConfig(plugins=tuple(PluginConfig(plugin.name) for plugin in made)), plugins=list(made))
    for number in range(4):
        h.step(node(f"n{number}", topology={"rack": f"r{number // 2}"}))
    return h


def test_caps_by_domain_limit_whole_racks_and_a_refund_in_one_wakes() -> None:
    h = spread_over_racks(Spread())
    commands = h.submit("w", 1, 1, count=6, payloads={"spread": 2})
    assert sorted(placements(commands).values()) == ["n0", "n0", "n2", "n2"]
    assert str(h.core.diagnose("w/5")) == "0/4 nodes: 4 spread"
    assert placements(h.exited("w/3")) == {"w/4": "n2"}
    h.reload()
    assert placements(h.exited("w/0")) == {"w/5": "n0"}


def test_a_node_in_no_domain_has_no_cap() -> None:
    h = spread_over_racks(Spread())
    h.submit("w", 1, 1, count=5, payloads={"spread": 2})
    assert placements(h.step(node("loose"))) == {"w/4": "loose"}


def test_engine_arguments_of_all_plugins_are_merged() -> None:
    h = spread_over_racks(Spread("one", "a"), Spread("two", "b"))
    (start,) = h.submit("w", 1, 1, payloads={"one": 1, "two": 2})
    assert start.engine_args == {"a": 1, "b": 2}
    (start,) = h.submit("x", 1, 1)
    assert start.engine_args is None


def test_two_plugins_that_give_the_same_engine_argument_are_refused_and_both_named() -> None:
    with pytest.raises(ValueError, match="'rack' is given by both plugins 'one' and 'two'"):
        spread_over_racks(Spread("one"), Spread("two"))


def test_a_plugin_that_gives_an_argument_it_did_not_declare_is_named() -> None:
    liar = Spread("liar", "a")
    liar.engine_keys = ()  # type: ignore[misc]
    with pytest.raises(PluginError, match="'liar': it gives 'a'"):
        spread_over_racks(liar).submit("w", 1, 1, payloads={"liar": 1})

"""Why nothing was placed, in one line."""

from __future__ import annotations

import pytest
from core_kit import harness, node, start_failed, with_nodes

from scheduler.diagnosis import Diagnosis
from scheduler.events import NodeCordoned, NodeDrainRequested, NodeLost, NodeRemoved


def test_every_node_counts_once_under_the_first_reason() -> None:
    h = with_nodes((4, 4), (4, 4), (9, 4))
    h.submit("w", 5, 5)
    assert str(h.core.diagnose("w")) == "0/3 nodes: 2 cpu, 1 memory"


def test_an_empty_cluster() -> None:
    h = harness()
    h.submit("w", 1, 1)
    assert str(h.core.diagnose("w")) == "0/0 nodes: the cluster is empty"


def test_node_states_come_first_and_removed_nodes_are_not_counted() -> None:
    h = with_nodes(*[(9, 9)] * 6)
    h.step(NodeLost(node_id="n0"), NodeCordoned(node_id="n1"), NodeCordoned(node_id="n2"))
    h.step(NodeDrainRequested(node_id="n3"), NodeRemoved(node_id="n4"))
    h.submit("w", 10, 1)
    assert str(h.core.diagnose("w")) == "0/5 nodes: 1 lost, 2 cordoned, 1 draining, 1 cpu"


def test_pools_of_nodes() -> None:
    h = harness()
    h.step(node("a", pool="east"), node("b", cpu=1, pool="west"))
    h.submit("w", 2, 2, pool="west")
    assert str(h.core.diagnose("w")) == "0/2 nodes: 1 pool, 1 cpu"


def test_labels_and_licences() -> None:
    h = harness()
    h.step(node("a", labels={"gpu": "V100"}), node("b"))
    h.submit("w0", 1, 1, payloads={"licences": {"spice": 1}})
    h.submit("w1", 1, 1, payloads={"labels": {"gpu": ["V100"]}, "licences": {"spice": 1}})
    assert str(h.core.diagnose("w1")) == "0/2 nodes: 1 labels, 1 licences"


def test_dimensions_are_named_before_plugins_as_documented() -> None:
    """The order of `Diagnosis.reasons`, and of the example in DESIGN.md: quantities, then plugins."""
    h = harness()
    h.step(node("a", cpu=1, labels={"zone": "x"}), node("b"))
    h.submit("w", 2, 2, payloads={"labels": {"zone": ["x"]}})
    assert str(h.core.diagnose("w")) == "0/2 nodes: 1 cpu, 1 labels"


def test_a_node_where_the_start_failed() -> None:
    h = with_nodes((9, 9), (1, 9))
    h.submit("w", 2, 2, on_start_failure="elsewhere")
    start_failed(h, "w")
    h.fire_timers()
    assert h.state_of("w") == "queued"
    assert str(h.core.diagnose("w")) == "0/2 nodes: 1 start failed before, 1 cpu"


def test_a_request_that_fits_says_so_and_an_unknown_workload_is_a_key_error() -> None:
    h = with_nodes((9, 9), (1, 1))
    h.submit("w", 1, 9)
    assert str(h.core.plan(h.core.workloads["w"].spec).diagnosis) == "0/2 nodes: 2 memory"
    with pytest.raises(KeyError):
        h.core.diagnose("nobody")


def test_the_text_of_the_value() -> None:
    assert str(Diagnosis(5000, 0, {"cpu": 3120, "memory": 1400, "affinity(zone)": 480, "disk": 0})) == (
        "0/5000 nodes: 3120 cpu, 1400 memory, 480 affinity(zone)"
    )
    assert str(Diagnosis(2, 2, {})) == "2/2 nodes"

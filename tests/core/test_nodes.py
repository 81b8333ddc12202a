"""Nodes: join, cordon, drain, uncordon, lost, return and remove, with workloads in every state on them."""

from __future__ import annotations

from typing import Any

import pytest
from core_kit import details, harness, node, published, spec, start_failed, starts, with_nodes

from scheduler.events import (
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    RemovalRequested,
    StartRequested,
    StopRequested,
    WorkloadExited,
)
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops

STATES = ("starting", "running", "killing", "holding", "stopped")


def busy() -> Harness:
    """Node n0 with one workload in each of `STATES`; node n1 can take them all."""
    h = with_nodes((9, 9))
    for state in STATES:
        h.submit(state, 1, 1)
        if state != "starting":
            h.started(state)
    h.step(*[StopRequested(workload_id=name) for name in ("holding", "stopped")])
    h.remove("killing")
    h.stopped("stopped")
    h.join("n1", cpu=9, memory=9)
    return h


def states(h: Harness) -> dict[str, str]:
    return {name: h.state_of(name) for name in STATES}


def test_cordon_keeps_what_is_there_and_takes_nothing_new() -> None:
    h = busy()
    before = states(h)
    assert h.step(NodeCordoned(node_id="n0")) == []
    assert states(h) == before
    assert placements(h.submit("w", 1, 1)) == {"w": "n1"}
    assert starts(h.step(StartRequested(workload_id="stopped"))) == [("stopped", 2, "n0")]
    h.step(NodeUncordoned(node_id="n0"))
    assert placements(h.submit("x", 1, 1)) == {"x": "n0"}


def test_drain_moves_what_runs_and_keeps_what_a_user_stopped() -> None:
    h = busy()
    commands = h.step(NodeDrainRequested(node_id="n0", operation_id="drain"))
    assert stops(commands) == {("starting", 1): "evict", ("running", 1): "evict"}
    assert published(commands) == []
    assert starts(h.stopped("running")) == [("running", 2, "n1")]
    assert published(h.stopped("killing")) == []
    assert published(h.stopped("holding")) == []
    moved = h.stopped("starting")
    assert published(moved) == [("n0", "drained", "drain"), ("drain", "done", "drain")]
    assert placements(moved) == {"starting": "n1"}
    assert states(h) == {
        "starting": "starting",
        "running": "starting",
        "killing": "gone",
        "holding": "stopped",
        "stopped": "stopped",
    }
    assert h.core.counters.evicted == 2


def test_draining_an_empty_node_is_done_at_once() -> None:
    h = with_nodes((9, 9))
    assert published(h.step(NodeDrainRequested(node_id="n0", operation_id="op"))) == [
        ("n0", "drained", "op"),
        ("op", "done", "op"),
    ]
    assert placements(h.submit("w", 1, 1)) == {}
    assert placements(h.step(NodeUncordoned(node_id="n0"))) == {"w": "n0"}


def test_work_that_cannot_go_elsewhere_waits_and_what_exits_first_is_done() -> None:
    h = with_nodes((9, 9))
    h.submit("w", 1, 1)
    h.submit("x", 1, 1)
    h.step(NodeDrainRequested(node_id="n0"))
    h.exited("w")
    h.stopped("x")
    assert (h.state_of("w"), h.state_of("x")) == ("gone", "queued")
    assert h.core.partition()["completed"] == 1


def test_uncordoning_ends_a_drain() -> None:
    h = busy()
    h.step(NodeDrainRequested(node_id="n0", operation_id="drain"))
    commands = h.step(NodeUncordoned(node_id="n0"))
    assert published(commands) == [("n0", "refused", "drain"), ("drain", "done", "drain")]
    assert details(commands)[0] == "the node was uncordoned"
    assert placements(h.stopped("running")) == {"running": "n0"}


def test_a_drain_is_answered_once_and_a_second_is_refused() -> None:
    h = busy()
    h.step(NodeDrainRequested(node_id="n0", operation_id="one"))
    assert published(h.step(NodeDrainRequested(node_id="n0", operation_id="two"))) == [("n0", "refused", "two")]


def test_a_removal_wins_over_an_eviction() -> None:
    h = with_nodes((9, 9), (9, 9))
    h.submit("w", 1, 1)
    h.step(NodeDrainRequested(node_id="n0", operation_id="drain"))
    assert stops(h.remove("w", "kill")) == {("w", 1): "kill"}
    commands = h.stopped("w")
    assert placements(commands) == {}
    assert set(published(commands)) == {
        ("n0", "drained", "drain"),
        ("drain", "done", "drain"),
        ("w", "killed", "kill"),
        ("kill", "done", "kill"),
    }


def test_a_start_that_fails_on_a_draining_node_moves_at_once() -> None:
    h = with_nodes((9, 9), (9, 9))
    h.submit("w", 1, 1)
    h.step(NodeDrainRequested(node_id="n0"))
    assert starts(start_failed(h, "w")) == [("w", 2, "n1")]


def test_a_lost_node_loses_its_work_to_others_but_not_what_a_user_stopped() -> None:
    h = busy()
    commands = h.step(NodeLost(node_id="n0"))
    assert starts(commands) == [("starting", 2, "n1"), ("running", 2, "n1")]
    assert states(h) == {
        "starting": "starting",
        "running": "starting",
        "killing": "gone",
        "holding": "stopping",
        "stopped": "stopped",
    }
    assert (h.core.counters.evicted, h.core.partition()["killed"]) == (2, 1)
    assert set(h.core.fences) == {("starting", 1), ("running", 1), ("killing", 1)}
    assert h.core.cluster.live_capacity == [9, 9]


def test_whoever_removes_what_a_lost_node_holds_is_answered_at_once() -> None:
    h = busy()
    h.step(NodeLost(node_id="n0"))
    for name in ("holding", "stopped"):
        assert published(h.remove(name, "op")) == [(name, "killed", "op"), ("op", "done", "op")]
        assert (name, 1) in h.core.fences


def test_what_was_stopped_goes_on_when_the_node_returns() -> None:
    h = busy()
    h.step(NodeLost(node_id="n0"))
    commands = h.step(NodeReturned(node_id="n0"))
    assert stops(commands) == {
        ("starting", 1): "fence",
        ("running", 1): "fence",
        ("killing", 1): "fence",
        ("holding", 1): "hold",
    }
    h.stopped("holding")
    assert starts(h.step(StartRequested(workload_id="stopped"))) == [("stopped", 2, "n0")]


def test_work_that_may_be_lost_is_lost() -> None:
    for event in (NodeLost(node_id="n0"), NodeRemoved(node_id="n0")):
        h = with_nodes((9, 9), (9, 9))
        h.submit("w", 1, 1, on_node_loss="lose", operation_id="op")
        commands = h.step(event)
        assert published(commands) == [("w", "lost", "op"), ("op", "done", "op")]
        assert (placements(commands), h.core.partition()["lost"]) == ({}, 1)


def test_a_removed_node_releases_everything_and_loses_what_was_stopped() -> None:
    h = busy()
    commands = h.step(NodeRemoved(node_id="n0"))
    assert starts(commands) == [("starting", 2, "n1"), ("running", 2, "n1")]
    assert published(commands) == [("holding", "lost", ""), ("stopped", "lost", "")]
    assert not h.core.fences
    assert h.core.partition()["lost"] == 2
    assert h.core.ledger.used(0) == (0, 0)


def test_a_lost_node_that_is_removed_lifts_its_fences() -> None:
    h = busy()
    h.step(NodeLost(node_id="n0"))
    h.step(NodeRemoved(node_id="n0"))
    assert not h.core.fences
    assert states(h)["stopped"] == "gone"
    assert published(h.step(NodeReturned(node_id="n0"))) == [("n0", "refused", "")]


def test_the_name_of_a_removed_node_may_come_back_as_a_new_row() -> None:
    h = with_nodes((9, 9), (1, 1))
    h.step(NodeRemoved(node_id="n0"))
    h.join("n0", cpu=4, memory=4)
    assert h.core.cluster.by_id["n0"].row == 2
    assert placements(h.submit("w", 2, 2)) == {"w": "n0"}
    assert h.core.workloads["w"].row == 2
    h.reload()
    assert h.core.cluster.by_id["n0"].row == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "ready"), (NodeCordoned(node_id="n0"), "cordoned"), (NodeDrainRequested(node_id="n0"), "cordoned")],
)
def test_a_node_returns_as_it_was_and_a_drained_one_cordoned(before: Any, after: str) -> None:
    h = with_nodes((9, 9))
    if before is not None:
        h.step(before)
    h.step(NodeLost(node_id="n0"))
    h.step(NodeReturned(node_id="n0"))
    assert str(h.core.cluster.by_id["n0"].state) == after


def test_losing_a_node_answers_whoever_drains_it() -> None:
    for event in (NodeLost(node_id="n0"), NodeRemoved(node_id="n0")):
        h = busy()
        h.step(NodeDrainRequested(node_id="n0", operation_id="op"))
        answers = [answer for answer in published(h.step(event)) if answer[2] == "op"]
        assert answers == [("n0", "refused", "op"), ("op", "done", "op")]
        assert not h.core.operations


def test_capacity_changes_on_live_lost_and_returning_nodes() -> None:
    h = with_nodes((9, 9))
    h.submit("w", 5, 5)
    h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": 3, "memory": 3}))
    assert (h.core.ledger.free[:, 0].tolist(), h.state_of("w")) == ([-2, -2], "starting")
    h.step(NodeLost(node_id="n0"))
    assert h.core.cluster.live_capacity == [0, 0]
    h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": 4, "memory": 4}))
    assert h.core.cluster.live_capacity == [0, 0]
    h.step(NodeReturned(node_id="n0", capacity={"cpu": 20, "memory": 20}))
    assert h.core.cluster.live_capacity == [20, 20]
    assert h.node_of("w") == "n0"
    assert h.core.ledger.used(0) == (10, 10)  # the fenced instance and its successor
    h.step(NodeLost(node_id="n0"))
    h.step(NodeReturned(node_id="n0"))
    assert h.core.cluster.live_capacity == [20, 20]


def test_pools_of_nodes_and_levels_of_topology() -> None:
    h = harness()
    h.step(
        node("a", pool="east", topology={"zone": "z1", "rack": "r1"}),
        node("b", pool="west", topology={"zone": "z2"}),
        node("c", pool="west"),
    )
    assert placements(h.submit("w", 1, 1, pool="west")) == {"w": "b"}
    cluster = h.core.cluster
    assert cluster.domain_ids("zone").tolist() == [0, 1, -1]
    assert cluster.domain_ids("rack").tolist() == [0, -1, -1]
    assert (cluster.domain_count("zone"), cluster.domain_count("row")) == (2, 0)


def test_everything_of_one_instant_in_the_fixed_order() -> None:
    """Ends, then nodes, then operators, then submissions, whatever the order of arrival."""
    h = with_nodes((2, 2))
    h.submit("old", 2, 2)
    h.submit("unwanted", 2, 2)
    batch = [
        spec("new", 2, 2, priority=1),
        RemovalRequested(workload_id="unwanted"),
        node("n1", 2, 2),
        WorkloadExited(workload_id="old", generation=1),
    ]
    assert placements(h.step(*batch)) == {"new": "n0"}
    assert [type(event).__name__ for event in h.batches[-1].events] == [
        "WorkloadExited",
        "NodeJoined",
        "RemovalRequested",
        "WorkloadsSubmitted",
    ]

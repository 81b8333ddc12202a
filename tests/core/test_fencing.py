"""Fencing: an instance that was superseded while its node was lost holds its resources until it is confirmed gone."""

from __future__ import annotations

from core_kit import harness, node, spec, starts, with_nodes

from scheduler.events import NodeLost, NodeReturned, WorkloadAdopted, WorkloadExited, WorkloadStarted, WorkloadStopped
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops


def superseded() -> Harness:
    """The first instance of w is on n0, which was lost; the second on n1."""
    h = with_nodes((4, 4), (4, 4))
    h.submit("w", 3, 3)
    h.started("w")
    assert starts(h.step(NodeLost(node_id="n0"))) == [("w", 2, "n1")]
    h.started("w")
    return h


def test_the_resources_stay_held_until_the_stop_is_confirmed() -> None:
    h = superseded()
    assert h.core.ledger.used(0) == (3, 3)
    assert stops(h.step(NodeReturned(node_id="n0"))) == {("w", 1): "fence"}
    assert placements(h.submit("x", 3, 3)) == {}
    assert placements(h.step(WorkloadStopped(workload_id="w", generation=1))) == {"x": "n0"}
    assert (h.state_of("w"), h.node_of("w"), dict(h.core.fences)) == ("running", "n1", {})


def test_a_late_exit_of_the_fenced_generation_lifts_the_fence_and_is_not_the_end() -> None:
    h = superseded()
    h.step(NodeReturned(node_id="n0"))
    h.submit("x", 3, 3)
    assert placements(h.step(WorkloadExited(workload_id="w", generation=1, exit_code=1))) == {"x": "n0"}
    assert h.state_of("w") == "running"
    assert h.core.counters.stale == 0
    h.step(WorkloadStopped(workload_id="w", generation=1))
    assert h.core.counters.stale == 1


def test_a_late_start_of_the_fenced_generation_means_nothing() -> None:
    h = superseded()
    h.step(WorkloadStarted(workload_id="w", generation=1))
    assert (h.core.counters.stale, set(h.core.fences)) == (1, {("w", 1)})


def test_a_workload_can_be_superseded_again_and_again() -> None:
    h = superseded()
    h.join("n2", cpu=4, memory=4)
    h.step(NodeLost(node_id="n1"))
    assert (h.node_of("w"), set(h.core.fences)) == ("n2", {("w", 1), ("w", 2)})
    h.exited("w")
    assert h.core.partition()["completed"] == 1
    h.reload()
    commands = h.step(NodeReturned(node_id="n0"), NodeReturned(node_id="n1"))
    assert stops(commands) == {("w", 1): "fence", ("w", 2): "fence"}
    h.step(WorkloadStopped(workload_id="w", generation=1), WorkloadStopped(workload_id="w", generation=2))
    assert h.core.ledger.live_used == [0, 0]


def test_a_node_that_is_lost_again_is_told_again() -> None:
    h = superseded()
    for _ in range(2):
        assert stops(h.step(NodeReturned(node_id="n0"))) == {("w", 1): "fence"}
        h.step(NodeLost(node_id="n0"))


def test_a_licence_stays_taken_by_the_fence() -> None:
    h = harness()
    h.step(node("n0"), node("n1"))
    h.submit("w", 1, 1, payloads={"licences": {"spice": 1}})
    h.step(NodeLost(node_id="n0"))
    assert h.state_of("w") == "queued"
    assert str(h.core.diagnose("w")) == "0/2 nodes: 1 lost, 1 licences"
    h.step(NodeReturned(node_id="n0"))
    commands = h.step(WorkloadStopped(workload_id="w", generation=1))
    assert starts(commands) == [("w", 2, "n0")]


def test_the_stop_of_a_superseded_instance_is_repeated_until_it_is_answered() -> None:
    """`scheduler.commands`: the core repeats a start or a stop whose answer has not come within the deadline."""
    h = superseded()
    h.step(NodeReturned(node_id="n0"))
    for _ in range(3):
        assert h.core.next_wakeup_ns is not None, "nothing will ever repeat the stop: the resources are held for good"
        assert stops(h.fire_timers()) == {("w", 1): "fence"}
    h.step(WorkloadStopped(workload_id="w", generation=1))
    assert h.core.next_wakeup_ns is None


def test_an_id_is_refused_until_its_fenced_instance_is_confirmed_gone() -> None:
    """Otherwise an answer about one of the two instances could be taken for one about the other."""
    h = with_nodes((4, 4))
    h.submit("w", 3, 3)
    h.started("w")
    h.step(NodeLost(node_id="n0"))
    h.remove("w")
    h.step(node("n1", 4, 4), node("n2", 4, 4))
    (refused,) = h.submit("w", 2, 2)
    assert (refused.subject, refused.outcome) == ("w", "refused")
    (refused,) = h.step(WorkloadAdopted(spec=spec("w", 2, 2), node_id="n1"))
    assert (refused.subject, refused.outcome) == ("w", "refused")
    h.step(NodeReturned(node_id="n0"))
    h.step(WorkloadStopped(workload_id="w", generation=1))
    assert h.core.ledger.live_used == [0, 0]
    h.submit("w", 2, 2)
    h.started("w")
    h.exited("w")
    assert h.core.partition()["completed"] == 1
    assert h.core.ledger.live_used == [0, 0]

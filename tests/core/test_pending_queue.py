"""The pending queue through the core: order, no head-of-line blocking, and what wakes whom."""

from __future__ import annotations

import pytest
from core_kit import harness, node, spec, starts, with_nodes

from scheduler.events import (
    NodeCapacityChanged,
    NodeCordoned,
    NodeUncordoned,
    RemovalRequested,
    WorkloadExited,
)
from scheduler.lifecycle import State
from scheduler.testing.harness import placements


def order(commands) -> list[str]:
    return [workload_id for workload_id, _, _ in starts(commands)]


def test_higher_priority_first_then_earlier_submission_across_classes() -> None:
    h = harness()
    for number, (cpu, priority) in enumerate([(1, 0), (2, 5), (1, 5), (3, 0), (2, 9), (1, 0), (2, 0)]):
        h.submit(f"w{number}", cpu, 1, priority=priority)
    assert order(h.join("n", cpu=99, memory=99)) == ["w4", "w1", "w2", "w0", "w3", "w5", "w6"]


def test_one_step_is_ordered_by_priority_not_by_arrival() -> None:
    h = with_nodes((2, 9))
    assert order(h.step(spec("a", 1, 1), spec("b", 1, 1, priority=1), spec("c", 2, 1))) == ["b", "a"]


def test_a_large_workload_at_the_head_blocks_nobody() -> None:
    h = with_nodes((4, 4))
    assert order(h.submit("large", 9, 9, priority=100)) == []
    assert order(h.submit("small", 1, 1)) == ["small"]
    assert h.state_of("large") == "queued"


def test_the_copies_of_one_class_stay_in_order_when_one_in_the_middle_is_removed() -> None:
    h = harness()
    for number in range(4):
        h.submit(f"w{number}", 1, 1)
    h.remove("w0")
    h.remove("w2")
    assert order(h.join("n", cpu=9, memory=9)) == ["w1", "w3"]


@pytest.mark.parametrize("is_same_class", [True, False])
def test_a_workload_that_left_from_the_middle_and_came_back_waits_once(is_same_class: bool) -> None:
    h = harness()
    for number in range(3):
        h.submit(f"w{number}", 1, 1)
    h.submit("other", 2, 2)
    queue, workload = h.core.queue, h.core.workloads["w1"]
    workload.state = State.STARTING
    queue.drop(workload)
    workload.state = State.QUEUED
    if not is_same_class:
        workload.class_id = h.core.workloads["other"].class_id
    queue.push(workload, h.core.planner.classes.by_id[workload.class_id])
    waiting = [one.workload_id for one in queue.workloads()]
    assert waiting == (["w0", "w1", "w2", "other"] if is_same_class else ["w0", "w2", "w1", "other"])
    assert queue.demand() == ([5, 5] if is_same_class else [6, 6])


def test_a_later_workload_of_higher_priority_overtakes_within_a_blocked_class() -> None:
    h = harness()
    h.submit("a", 2, 2)
    h.submit("b", 1, 1)
    h.submit("c", 2, 2, priority=1)
    assert order(h.join("n", cpu=3, memory=3)) == ["c", "b"]
    assert order(h.exited("c")) == ["a"]


@pytest.mark.parametrize("scheduling_pass", ["instant", "event"])
def test_a_release_wakes_exactly_what_fits_in_it(scheduling_pass: str) -> None:
    h = with_nodes((5, 5), (3, 3), scheduling_pass=scheduling_pass)
    h.submit("x", 5, 5)
    h.submit("y", 3, 3)
    for number, request in enumerate([(4, 4), (3, 1), (1, 3), (6, 1), (1, 1)]):
        h.submit(f"w{number}", *request)
    decisions = h.core.counters.decisions
    assert order(h.exited("y")) == ["w1"]
    # Nothing but what fitted, and what then fitted no more, was looked at again: not w0 and w3.
    assert h.core.counters.decisions - decisions <= 3
    decisions = h.core.counters.decisions
    assert order(h.exited("x")) == ["w0", "w4"]
    assert h.core.counters.decisions - decisions <= 4


def test_a_step_that_frees_nothing_decides_nothing() -> None:
    h = with_nodes((2, 2))
    h.submit("a", 2, 2)
    for number in range(20):
        h.submit(f"w{number}", 1 + number % 3, 1)
    decisions = h.core.counters.decisions
    h.started("a")
    h.remove("w3")
    h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": 1, "memory": 2}))
    h.submit("more", 1, 1)
    assert h.core.counters.decisions == decisions


def test_two_releases_on_different_nodes_in_one_instant() -> None:
    h = with_nodes((2, 2), (2, 2))
    h.submit("a", 2, 2)
    h.submit("b", 2, 2)
    h.submit("w0", 2, 2)
    h.submit("w1", 1, 1)
    h.submit("w2", 1, 1)
    ends = [WorkloadExited(workload_id=name, generation=1) for name in ("b", "a")]
    assert placements(h.step(*ends)) == {"w0": "n0", "w1": "n1", "w2": "n1"}


def test_growing_joining_and_uncordoning_wake() -> None:
    h = with_nodes((1, 1))
    for number in range(3):
        h.submit(f"w{number}", 2, 2)
    assert order(h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": 2, "memory": 2}))) == ["w0"]
    assert order(h.step(node("n1", 2, 2))) == ["w1"]
    assert h.step(node("n2", 2, 2), NodeCordoned(node_id="n2")) == []
    assert order(h.step(NodeUncordoned(node_id="n2"))) == ["w2"]


def test_a_freed_node_that_is_cordoned_wakes_nobody_until_it_is_open() -> None:
    h = with_nodes((2, 2))
    h.submit("a", 2, 2)
    h.submit("b", 2, 2)
    h.step(NodeCordoned(node_id="n0"))
    assert order(h.exited("a")) == []
    assert order(h.step(NodeUncordoned(node_id="n0"))) == ["b"]


def test_a_zero_request_never_waits_where_a_node_is_open() -> None:
    h = with_nodes((1, 1))
    h.submit("full", 1, 1)
    assert order(h.submit("zero", 0, 0)) == ["zero"]
    h.step(NodeCapacityChanged(node_id="n0", capacity={}))
    assert order(h.submit("again", 0, 0)) == ["again"]
    assert order(h.submit("memory", 0, 1)) == []


def test_many_classes_come_and_go() -> None:
    h = with_nodes((1, 1))
    h.submit("holder", 1, 1)
    for number in range(100):
        h.submit(f"w{number}", 1 + number, 1)
    h.step(*[RemovalRequested(workload_id=f"w{number}") for number in range(0, 100, 2)])
    assert len(list(h.core.queue.workloads())) == 50
    assert h.core.queue.demand() == [sum(1 + number for number in range(1, 100, 2)), 50]
    large = h.join("large", cpu=10_000, memory=10_000)
    assert order(large) == [f"w{number}" for number in range(1, 100, 2)]
    assert h.core.queue.demand() == [0, 0]


def test_an_instant_is_one_pass_and_an_event_can_be() -> None:
    """With one pass an instant, a later event of the instant can take what an earlier one asks for."""
    batch = [spec("low", 1, 1), spec("high", 1, 1, priority=1)]
    assert order(with_nodes((1, 1)).step(*batch)) == ["high"]
    assert order(with_nodes((1, 1), scheduling_pass="event").step(*batch)) == ["low"]

"""Preemption: few victims, of low priority, within budgets; and the room that they leave goes to nobody else."""

from __future__ import annotations

import pytest
from core_kit import details, starts, with_nodes
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import QueueConfig
from scheduler.events import (
    DisruptionBudgetSet,
    NodeCordoned,
    NodeLost,
    RemovalRequested,
    StartRequested,
    StopRequested,
)
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops


def running(h: Harness, *works: tuple[str, int, int], **fields: object) -> None:
    """Submit and start work: name, cpu and priority."""
    for name, cpu, priority in works:
        assert starts(h.submit(name, cpu, 1, priority=priority, **fields))
        h.started(name)


def preempt(h: Harness, cpu: int = 4, priority: int = 5, name: str = "p") -> set[str]:
    """Submit work that preempts; return whom it has stopped."""
    found = stops(h.submit(name, cpu, 1, priority=priority, preempts=True))
    assert set(found.values()) <= {"preempt"}
    return {workload_id for workload_id, _ in found}


def test_nobody_is_stopped_for_what_fits_or_what_may_not_preempt_or_what_is_not_lower() -> None:
    h = with_nodes((4, 9), (2, 9))
    running(h, ("a", 4, 5))
    assert preempt(h, cpu=2) == set()
    assert stops(h.submit("modest", 4, 1, priority=9)) == {}
    assert preempt(h, name="equal") == set()
    assert preempt(h, name="large", cpu=5, priority=9) == set()


def test_the_victims_are_few_and_of_low_priority() -> None:
    h = with_nodes((4, 9), (4, 9), (4, 9))
    running(h, ("high", 4, 3), ("low0", 1, 1), ("low1", 1, 0), ("low2", 2, 1), ("mid", 3, 2))
    assert [h.node_of(name) for name in ("high", "low2", "mid")] == ["n0", "n1", "n2"]
    assert preempt(h, cpu=2) == {"low2"}  # of n1: beside it the others can stay
    h = with_nodes((4, 9), (4, 9))
    running(h, ("a", 2, 1), ("b", 2, 1), ("c", 4, 1))
    assert preempt(h) == {"c"}  # one is fewer than two
    h = with_nodes((4, 9), (4, 9))
    running(h, ("a", 4, 2), ("b", 2, 1), ("c", 2, 1))
    assert preempt(h) == {"b", "c"}  # but a low priority counts first


WORK = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.sampled_from(["web", "db"]))


@given(
    nodes=st.lists(st.tuples(st.integers(3, 6), st.integers(3, 6)), min_size=2, max_size=5),
    works=st.lists(WORK, min_size=4, max_size=14),
    budget=st.sampled_from([None, 0, 1, 2]),
    asked=st.tuples(st.integers(3, 6), st.integers(0, 6), st.integers(1, 4)),
)
def test_the_way_by_amounts_is_the_best_of_all_ways(
    nodes: list[tuple[int, int]],
    works: list[tuple[int, int, int, str]],
    budget: int | None,
    asked: tuple[int, int, int],
) -> None:
    h = with_nodes(*nodes, policy="worst-fit")
    for number, (cpu, memory, priority, app) in enumerate(works):
        h.submit(f"w{number}", cpu, memory, priority=priority, app=app, on_unschedulable="fail")
    if budget is not None:
        h.step(DisruptionBudgetSet(app="web", unavailable_max=budget))
    h.submit("p", *asked[:2], priority=asked[2])
    workload = h.core.workloads["p"]
    if workload.row >= 0:
        return
    preemption = h.core.preemption
    request_class, allowed = preemption.placer.class_of(workload), preemption._allowances()
    ways = [preemption._way(workload, request_class, row, allowed) for row in range(len(nodes))]
    best = min((way[:4] for way in ways if way is not None), default=None)
    found = preemption._best_way(workload, request_class)
    assert (found and found[:4]) == best


def test_what_is_known_of_a_node_goes_with_what_happens_there() -> None:
    h = with_nodes((4, 9), (4, 9))
    running(h, ("a", 4, 0), ("b", 4, 1))
    h.step(StopRequested(workload_id="a"))
    h.stopped("a")  # and holds its place: it is in nobody's way who could go
    assert preempt(h, priority=1, name="early") == set()
    assert set(stops(h.step(StartRequested(workload_id="a")))) == {("a", 2)}, "it has become one who can"


def test_the_node_is_held_until_the_victims_are_gone() -> None:
    h = with_nodes((4, 9))
    running(h, ("a", 2, 0), ("b", 2, 0))
    assert preempt(h) == {"a", "b"}
    assert starts(h.submit("thief", 1, 1, priority=9)) == []
    assert str(h.core.diagnose("thief")) == "0/1 nodes: 1 nominated"
    h.reload()
    assert starts(h.stopped("a")) == []
    assert h.core.capacity(h.core.workloads["thief"].spec).total == 0
    h.reload()
    assert placements(h.stopped("b")) == {"p": "n0"}
    assert h.core.counters.preempted == 2
    h.started("p")
    assert placements(h.exited("p")) == {"thief": "n0", "a": "n0"}


def test_what_is_left_beside_the_preemptor_is_open_again() -> None:
    h = with_nodes((4, 9))
    running(h, ("a", 4, 0))
    assert preempt(h, cpu=3) == {"a"}
    h.submit("small", 1, 1)
    assert placements(h.stopped("a")) == {"p": "n0", "small": "n0"}


@pytest.mark.parametrize("discipline", ["fcfs", "easy", "conservative", "priority"])
def test_the_preemptor_is_placed_though_its_victim_came_first(discipline: str) -> None:
    h = with_nodes((4, 9), queue=QueueConfig(discipline))
    running(h, ("first", 4, 0))
    assert preempt(h) == {"first"}
    assert placements(h.stopped("first")) == {"p": "n0"}
    assert h.state_of("first") == "queued"


def test_nobody_is_placed_beyond_the_maximum_of_a_tenant_on_a_node_that_is_held() -> None:
    h = with_nodes((4, 9), (3, 9), queue=QueueConfig("drf", {"maximum": {"a": {"cpu": 4}}}))
    running(h, ("victim", 4, 0))
    assert stops(h.submit("p", 4, 1, priority=5, preempts=True, tenant="a")) == {("victim", 1): "preempt"}
    assert placements(h.submit("q", 3, 1, priority=1, tenant="a")) == {"q": "n1"}
    h.stopped("victim")
    assert h.state_of("p") == "queued"
    assert h.core.cluster.nominated == {}


@pytest.mark.parametrize("why", ["removed", "cordoned", "lost", "elsewhere"])
def test_a_nomination_lapses(why: str) -> None:
    h = with_nodes((4, 9))
    running(h, ("a", 4, 0))
    preempt(h)
    if why == "removed":
        h.step(RemovalRequested(workload_id="p"))
    elif why == "cordoned":
        h.step(NodeCordoned(node_id="n0"))
    elif why == "lost":
        h.step(NodeLost(node_id="n0"))
    else:
        assert placements(h.join("n1", cpu=4, memory=9)) == {"p": "n1"}
    assert h.core.cluster.nominated == {}


def test_a_victim_that_ends_by_itself_will_do() -> None:
    h = with_nodes((4, 9))
    running(h, ("a", 4, 0))
    preempt(h)
    assert placements(h.exited("a")) == {"p": "n0"}


def test_a_budget_is_kept_whatever_it_costs() -> None:
    h = with_nodes((4, 9))
    h.step(DisruptionBudgetSet(app="web", unavailable_max=1))
    running(h, ("a", 2, 0), ("b", 2, 0), app="web")
    h.reload()
    assert preempt(h) == set()
    assert preempt(h, cpu=2, name="q") == {"b"}
    assert preempt(h, cpu=1, name="r") == set()
    h.step(DisruptionBudgetSet(app="web"))
    h.stopped("b")
    assert h.state_of("a") == "stopping"


def test_budgets_of_jobs_and_ones_that_make_no_sense() -> None:
    h = with_nodes((4, 9))
    h.step(DisruptionBudgetSet(job_id="j", unavailable_max=0))
    running(h, ("a", 4, 0), job_id="j")
    assert preempt(h) == set()
    for fields in ({}, {"app": "a", "job_id": "j"}, {"app": "a", "unavailable_max": -1}):
        assert len(details(h.step(DisruptionBudgetSet(**fields)))) == 1
    assert details(h.submit("g", 1, 1, gang=True, preempts=True)) == [
        "preempts: a gang cannot preempt; leave one of the two out"
    ]


def test_a_gang_goes_as_a_whole() -> None:
    h = with_nodes((4, 9), (2, 9))
    h.submit("g", 2, 1, count=3, gang=True)
    for copy in range(3):
        h.started(f"g/{copy}")
    found = stops(h.submit("p", 4, 1, priority=5, preempts=True))
    assert {workload_id: why for (workload_id, _), why in found.items()} == {
        "g/0": "preempt", "g/1": "evict", "g/2": "evict"
    }  # fmt: skip
    h.stopped("g/2")
    h.stopped("g/0")
    assert placements(h.stopped("g/1")) == {"p": "n0"}


@pytest.mark.parametrize("discipline", ["fcfs", "easy"])
def test_what_has_to_wait_for_others_does_not_preempt(discipline: str) -> None:
    h = with_nodes((4, 9), queue=QueueConfig(discipline))
    running(h, ("a", 3, 5))
    h.submit("head", 4, 1, priority=5)
    assert preempt(h, priority=9) == (set() if discipline == "fcfs" else {"a"})

"""Reservations: whole nodes for one tenant during a time, held against everybody else by every way to place work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from core_kit import SECOND_NS, details, harness, node, published, spec, starts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moves_kit import BOUNDED, POLICIES, SIZES, Move, batches
from random_world import CONFIGS, MOVES, World

from scheduler.cluster import NodeState
from scheduler.commands import AnyCommand
from scheduler.config import CoreConfig, PolicyConfig, QueueConfig
from scheduler.disciplines import DISCIPLINES
from scheduler.events import (
    DeploymentRequested,
    NodeJoined,
    NodeRemoved,
    ReservationCancelled,
    ReservationSet,
    TimerFired,
    WorkloadsSubmitted,
)
from scheduler.expected_ends import estimate_of
from scheduler.testing import Harness
from scheduler.testing.harness import placements
from scheduler.workload import Workload


def reserve(*node_ids: str, start_s: int = 0, end_s: int = 100, **fields: Any) -> ReservationSet:
    times = {"start_ns": start_s * SECOND_NS, "end_ns": end_s * SECOND_NS}
    return ReservationSet(**{"reservation_id": "r", "tenant": "a", "node_ids": node_ids, **times, **fields})


def world(count: int = 2, *events: Any, **fields: Any) -> Harness:
    """Nodes n0, n1, … of 10, and what happened to them."""
    h = harness(**fields)
    h.step(*(node(f"n{number}") for number in range(count)))
    if events:
        h.step(*events)
    return h


def wanted(workload_id: str, tenant: str, size: int = 10, estimate_s: int | None = None, **fields: Any) -> Any:
    estimate_ns = None if estimate_s is None else estimate_s * SECOND_NS
    return spec(workload_id, size, 1, tenant=tenant, estimate_ns=estimate_ns, **fields)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("discipline", list(DISCIPLINES))
def test_only_the_tenant_and_those_below_get_the_nodes(policy: str, discipline: str) -> None:
    h = world(3, reserve("n0", "n1"), policy=policy, queue=QueueConfig(discipline))
    commands = h.step(wanted("mine", "a/x", 6), wanted("x", "b", 6), wanted("y", "ab", 6), wanted("z", "", 6))
    placed = placements(commands)
    assert [name for name, node_id in placed.items() if node_id != "n2"] == ["mine"]
    assert len(placed) == 2
    waiting = next(name for name in "xyz" if name not in placed)
    assert str(h.core.diagnose(waiting)) == "0/3 nodes: 2 reservation, 1 cpu"


def test_the_own_nodes_go_first_and_others_are_there_too() -> None:
    h = world(2, reserve("n1"), policy="first-fit")
    assert placements(h.step(wanted("one", "a"), wanted("two", "a"))) == {"one": "n1", "two": "n0"}


def test_in_advance_only_what_ends_in_time_is_placed() -> None:
    h = world(1, reserve("n0", start_s=50))
    commands = h.step(wanted("long", "b", 2, 51), wanted("endless", "b", 2), wanted("short", "b", 2, 50))
    assert placements(commands) == {"short": "n0"}
    assert placements(h.step(wanted("late", "b", 2, 50), at_ns=1)) == {}
    assert placements(h.step(wanted("own", "a", 2), at_ns=1)) == {"own": "n0"}


def test_what_is_there_already_stays_and_the_books_say_so() -> None:
    h = world(2)
    h.step(wanted("old", "b", 4), wanted("mine", "a", 4))
    on = h.node_of("old")
    h.step(reserve(on, start_s=5))
    (status,) = h.core.reservations()
    assert (status.is_in_force, status.others) == (False, {on: ["old"]})
    h.at_ns = 5 * SECOND_NS
    h.step()
    (status,) = h.core.reservations()
    assert (status.is_in_force, status.others) == (True, {on: ["old"]})
    h.started("old")
    h.exited("old")
    assert h.core.reservations()[0].others == {}


def test_when_it_ends_or_is_cancelled_others_go_on_at_once() -> None:
    h = world(1, reserve("n0", end_s=7))
    assert starts(h.step(wanted("x", "b"))) == []
    assert h.core.next_wakeup_ns == 7 * SECOND_NS
    assert starts(h.fire_timers()) == [("x", 1, "n0")]
    assert h.core.reservations() == []
    h = world(1, reserve("n0", end_s=7))
    h.step(wanted("x", "b"))
    assert starts(h.step(ReservationCancelled(reservation_id="r"))) == [("x", 1, "n0")]
    assert h.core.next_wakeup_ns != 7 * SECOND_NS


def test_what_waits_for_its_own_class_is_woken_by_its_own_work() -> None:
    h = world(2, reserve("n0"))
    h.step(wanted("other", "b"), wanted("one", "a"), wanted("two", "a"), wanted("three", "b"))
    assert (h.node_of("one"), h.node_of("other"), h.state_of("two"), h.state_of("three")) == (
        "n0", "n1", "queued", "queued",
    )  # fmt: skip
    h.started("one")
    assert starts(h.exited("one")) == [("two", 1, "n0")]
    h.started("other")
    assert starts(h.exited("other")) == [("three", 1, "n1")]


def test_the_core_chooses_the_nodes_that_are_free_first() -> None:
    h = world(4)
    h.step(*(wanted(f"w{number}", "b", 10, 10 * (4 - number)) for number in range(3)))
    commands = h.step(reserve(start_s=25, node_count=2, operation_id="op"))
    assert published(commands) == [("r", "reserved", "op"), ("op", "done", "op")]
    assert details(commands)[0] == "n2, n3"
    commands = h.step(reserve(start_s=99, end_s=200, node_count=3, reservation_id="s", operation_id="op"))
    assert details(commands) == ["node_count: 3 nodes are asked, 2 are ready and not reserved"]
    assert published(commands) == [("s", "refused", "op")]
    commands = h.step(reserve(start_s=100, end_s=200, node_count=3, reservation_id="s", operation_id="op"))
    assert published(commands)[0] == ("s", "reserved", "op")


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (reserve("n0", reservation_id=""), "reservation_id: it is empty, or that of a reservation which is not over"),
        (reserve("n0", reservation_id="known"), "reservation_id: it is empty, or that of a reservation"),
        (reserve("n1", tenant=""), "tenant: it is empty; say whom the nodes are for"),
        (reserve("n1", end_s=0), "start_ns: 0 must be from now on and before end_ns, 0"),
        (reserve("n1", start_ns=-1), "start_ns: -1 must be from now on and before end_ns"),
        (reserve(), "node_count: 0; give either node_ids or a number of nodes above 0"),
        (reserve("n1", node_count=1), "node_count: 1; give either node_ids or a number of nodes above 0"),
        (reserve("nowhere"), "node_ids: there is no node 'nowhere'"),
        (reserve("n0", start_s=99), "node_ids: n0 is reserved in that time already, by known"),
        (reserve(node_count=3), "node_count: 3 nodes are asked, 1 are ready and not reserved"),
    ],
)
def test_what_makes_no_sense_is_refused(event: ReservationSet, why: str) -> None:
    h = world(2, reserve("n0", reservation_id="known"))
    (detail,) = details(h.step(event))
    assert detail.startswith(why)
    assert [status.reservation_id for status in h.core.reservations()] == ["known"]
    h.step(ReservationCancelled(reservation_id="known"))
    assert details(h.step(ReservationCancelled(reservation_id="known"))) == ["no such reservation, or it is over"]


def test_deployments_plans_and_capacities_keep_off() -> None:
    h = world(3, reserve("n0", "n1"))
    commands = h.step(DeploymentRequested(spec=wanted("d", "b", 5, count=2)))
    assert placements(commands) == {"d/0": "n2", "d/1": "n2"}
    commands = h.step(DeploymentRequested(spec=wanted("e", "b", 5)))
    assert "2 reservation, 1 cpu" in details(commands)[0]
    assert h.core.capacity(wanted("q", "b", 5)).nodes == {}
    assert h.core.capacity(wanted("q", "a", 5)).nodes == {"n0": 2, "n1": 2}
    assert h.core.plan(wanted("q", "b", 5)).nodes == ()
    assert h.core.plan(wanted("q", "a", 5, count=3)).nodes == ("n0", "n0", "n1")


@pytest.mark.parametrize("end", [ReservationCancelled(reservation_id="r"), NodeRemoved(node_id="n0"), TimerFired()])
def test_a_deployment_sees_the_reservations_that_are_left_at_the_end_of_its_step(end: Any) -> None:
    h = world(3, reserve("n0", end_s=5))
    commands = h.step(DeploymentRequested(spec=wanted("d", "b", 5, count=2)), end, at_ns=5 * SECOND_NS)
    assert len(placements(commands)) == 2


def test_nobody_preempts_on_the_nodes_of_another() -> None:
    h = world(1, reserve("n0"))
    h.step(wanted("mine", "a"))
    h.started("mine")
    h.step(wanted("high", "b", priority=9, preempts=True))
    assert h.state_of("mine") == "running"
    h.step(wanted("own", "a", priority=9, preempts=True))
    assert h.state_of("mine") == "stopping"


def test_a_gang_and_a_node_that_comes_again() -> None:
    h = world(3, reserve("n0", "n1"))
    h.step(wanted("g", "b", count=2, gang=True), wanted("own", "a", count=2, gang=True))
    assert (h.state_of("g/0"), h.node_of("own/0"), h.node_of("own/1")) == ("queued", "n0", "n1")
    h.step(NodeRemoved(node_id="n0"))
    h.step(NodeJoined(node_id="n0", capacity={"cpu": 10, "memory": 10}))
    assert h.core.cluster.by_id["n0"].state is NodeState.READY
    assert starts(h.step(wanted("x", "b", 10))) == [("x", 1, "n2")]
    assert starts(h.step(wanted("y", "b", 10))) == []
    assert starts(h.step(ReservationCancelled(reservation_id="r")))[0][2] == "n0"


def test_it_is_in_a_snapshot() -> None:
    h = world(2, reserve("n0", start_s=10, end_s=20))
    h.step(wanted("x", "b", 10, 30), wanted("y", "b", 10, 30))
    h.reload()
    assert h.core.reservations()[0].node_ids == ("n0",)
    assert h.state_of("y") == "queued"
    assert h.core.next_wakeup_ns == 20 * SECOND_NS
    assert starts(h.step(TimerFired(), at_ns=20 * SECOND_NS)) == [("y", 1, "n0")]
    assert h.core.reservations() == []


# -- whatever happens -------------------------------------------------------------------------------------------------


def allowed(h: Harness, workload: Workload) -> bool:
    """By the definition, whether the workload may have been placed where it is, now."""
    node_id = h.core.cluster.nodes[workload.row].node_id
    return all(
        workload.spec.tenant.split("/")[: len(held.tenant.split("/"))] == held.tenant.split("/")
        or node_id not in held.node_ids
        or (h.at_ns < held.start_ns and h.at_ns + estimate_of(workload) <= held.start_ns)
        for held in h.core.reservations()
    )


@given(CONFIGS, MOVES, SIZES)
@settings(BOUNDED, max_examples=80)
def test_safety_nobody_is_placed_where_somebody_else_holds(
    config: CoreConfig, moves: list[Move], sizes: list[int]
) -> None:
    if config.scheduling_pass == "event":
        return
    w = World(config)
    h = w.harness
    for group in batches(moves, sizes):
        before = {name: (old.row, old.generation) for name, old in h.core.workloads.items()}
        at_ns, events = w.batch(group)
        adopted = {event.spec.workload_id for event in events if hasattr(event, "node_id") and hasattr(event, "spec")}
        h.step(*events, at_ns=at_ns)
        for name, workload in h.core.workloads.items():
            placed = workload.row >= 0 and (workload.row, workload.generation) != before.get(name)
            restarted = before.get(name, (-1, 0))[0] == workload.row
            if placed and not restarted and name not in adopted:
                assert allowed(h, workload), h.story(name)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 10), st.integers(1, 60)), max_size=12))
@example([("a", 3, 6), ("a", 8, 6), ("b", 8, 1), ("a", 1, 1)])
@settings(deadline=None, max_examples=40)
def test_with_exact_estimates_a_reservation_begins_with_its_nodes_empty(jobs: list[tuple[str, int, int]]) -> None:
    """Work that was placed after the announcement has left when the time comes."""
    h = Harness(CoreConfig(policy=PolicyConfig("best-fit")))
    h.step(node("n0"), node("n1"), reserve("n0", start_s=60))
    runs_s = {f"w{number}": run for number, (_, _, run) in enumerate(jobs)}
    ends: list[tuple[int, str]] = []

    def note(commands: Sequence[AnyCommand]) -> None:
        ends.extend((h.at_ns + runs_s[name] * SECOND_NS, name) for name in placements(commands))
        ends.sort()

    def end_through(at_ns: int) -> None:
        while ends and ends[0][0] <= at_ns:
            h.at_ns, name = ends.pop(0)
            note(h.exited(name))

    for number, (tenant, size, run) in enumerate(jobs):
        note(h.step(wanted(f"w{number}", tenant, size, run)))
        end_through(h.at_ns + 5 * SECOND_NS)
    end_through(60 * SECOND_NS)
    h.step(at_ns=60 * SECOND_NS)
    (status,) = h.core.reservations()
    assert status.is_in_force
    assert status.others == {}


def test_work_of_many_estimates_shares_classes_again_when_all_is_over() -> None:
    h = world(1, reserve("n0", end_s=5))
    h.step(*(WorkloadsSubmitted(workload_id=f"w{n}", request=(1, 1), estimate_ns=n) for n in range(4)))
    assert h.core.queue.class_count == 4
    h.step(ReservationCancelled(reservation_id="r"), wanted("huge", "b", 99), wanted("huger", "b", 99, 3))
    assert h.core.queue.class_count == 1

"""Gangs: all copies or none, in time or not at all, and together wherever they go."""

from __future__ import annotations

import pytest
from core_kit import SECOND_NS, details, harness, published, start_failed, starts, with_nodes
from discipline_kit import exact, queued, schedule

from scheduler.config import QueueConfig
from scheduler.events import (
    NodeDrainRequested,
    NodeLost,
    NodeReturned,
    RemovalRequested,
    StartRequested,
    StopRequested,
    TimerFired,
    WorkloadExited,
    WorkloadStopped,
)
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops

DISCIPLINES = ("priority", "fcfs", "sjf", "edf", "easy", "conservative", "fair", "drf")


def gang(h: Harness, count: int = 3, cpu: int = 2, **fields: object) -> list:
    return h.submit("g", cpu, 1, count=count, gang=True, **fields)


def states(h: Harness, count: int = 3) -> list[str]:
    return [h.state_of(f"g/{copy}") for copy in range(count)]


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_a_gang_is_placed_as_a_whole_or_not_at_all(discipline: str) -> None:
    h = with_nodes((4, 9), (1, 9), queue=QueueConfig(discipline))
    assert starts(gang(h)) == []
    assert h.core.ledger.live_used == [0, 0]
    assert str(h.core.diagnose("g/0")).startswith("1/2 nodes")
    h.reload()
    assert placements(h.join("n2", cpu=2, memory=9)) == {"g/0": "n0", "g/1": "n0", "g/2": "n2"}


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_a_gang_takes_its_place_in_the_queue(discipline: str) -> None:
    jobs = [
        exact("a", 0, 10, 6), exact("g", 1, 5, 3, count=3, gang=True), exact("b", 2, 4, 4), exact("c", 3, 50, 2),
    ]  # fmt: skip
    found = schedule(queued(discipline), jobs)
    assert found["g/0"] == found["g/1"] == found["g/2"]
    assert found["g/0"] == {"fcfs": 10, "easy": 10, "conservative": 10}.get(discipline, 56)
    assert found["b"] == (2 if discipline != "fcfs" else 15)


def test_who_takes_the_name_of_a_copy_that_has_ended_is_none_of_the_gang() -> None:
    h = with_nodes((2, 9), (2, 9))
    gang(h, 2)
    h.started("g/0")
    h.exited("g/1")
    h.submit("g/1", 2, 1, gang=True)
    h.step(NodeDrainRequested(node_id="n0"))
    assert not stops(h.stopped("g/0"))
    assert placements(h.join("n2", cpu=2, memory=9)) == {"g/0": "n2"}
    assert h.state_of("g/1") == "starting"


def test_smaller_work_goes_past_a_gang_that_waits() -> None:
    h = with_nodes((4, 9))
    gang(h, priority=9)
    assert [name for name, _, _ in starts(h.submit("w", 4, 1))] == ["w"]
    assert starts(h.join("n1", cpu=5, memory=9)) == []
    assert len(starts(h.exited("w"))) == 3


def test_a_gang_that_is_not_placed_in_time_is_rejected() -> None:
    h = with_nodes((4, 9))
    gang(h, gang_timeout_ns=5 * SECOND_NS, operation_id="op")
    h.reload()
    assert h.core.next_wakeup_ns == 5 * SECOND_NS
    commands = h.fire_timers()
    assert published(commands) == [(f"g/{copy}", "rejected", "op") for copy in range(3)] + [("op", "done", "op")]
    assert details(commands)[0].startswith("no room for the whole gang in time; 1/1 nodes")
    assert h.core.next_wakeup_ns is None


def test_a_gang_that_is_placed_in_time_is_left_alone() -> None:
    h = with_nodes((4, 9))
    gang(h, gang_timeout_ns=5 * SECOND_NS)
    h.join("n1", cpu=2, memory=9)
    for copy in range(3):
        h.started(f"g/{copy}")
    assert h.core.next_wakeup_ns is None
    h.step(NodeLost(node_id="n1"))
    h.step(TimerFired(), at_ns=6 * SECOND_NS)
    assert states(h) == ["stopping", "stopping", "queued"]


@pytest.mark.parametrize("why", ["lost", "drained"])
def test_when_one_has_to_move_all_move(why: str) -> None:
    h = with_nodes((4, 9), (2, 9))
    gang(h)
    for copy in range(3):
        h.started(f"g/{copy}")
    h.step(NodeLost(node_id="n1") if why == "lost" else NodeDrainRequested(node_id="n1"))
    if why == "drained":
        h.stopped("g/2")
    assert states(h) == ["stopping", "stopping", "queued"]
    h.join("n2", cpu=2, memory=9)
    h.stopped("g/0")
    h.reload()
    assert states(h) == ["queued", "stopping", "queued"]
    assert len(starts(h.stopped("g/1"))) == 3
    assert {h.node_of(f"g/{copy}") for copy in range(3)} == {"n0", "n2"}


def test_a_start_that_fails_stops_the_others_and_all_avoid_the_node() -> None:
    h = with_nodes((4, 9), (2, 9))
    gang(h, on_start_failure="elsewhere")
    h.started("g/0")
    start_failed(h, "g/2")
    assert states(h) == ["stopping", "stopping", "backoff"]
    h.stopped("g/0")
    h.stopped("g/1")
    assert states(h) == ["queued", "queued", "backoff"]
    h.fire_timers()
    assert states(h) == ["queued"] * 3
    assert len(starts(h.join("n2", cpu=2, memory=9))) == 3
    assert "n1" not in {h.node_of(f"g/{copy}") for copy in range(3)}


def test_a_copy_that_ends_or_is_removed_is_not_waited_for() -> None:
    h = with_nodes((4, 9), (2, 9))
    gang(h)
    h.step(NodeLost(node_id="n1"))
    h.step(WorkloadExited(workload_id="g/0", generation=1))
    assert len(starts(h.stopped("g/1"))) == 2
    h = with_nodes((4, 9))
    gang(h)
    assert len(starts(h.step(RemovalRequested(workload_id="g/1")))) == 2


def test_a_copy_that_is_removed_while_it_is_on_its_way_is_not_waited_for() -> None:
    h = with_nodes((2, 9), (2, 9))
    gang(h, 2)
    h.started("g/0")
    h.started("g/1")
    h.step(NodeLost(node_id="n0"))
    assert states(h, 2) == ["queued", "stopping"]
    h.step(NodeReturned(node_id="n0"), WorkloadStopped(workload_id="g/0", generation=1))
    assert starts(h.remove("g/1")) == [("g/0", 2, "n0")]


def test_a_timeout_without_a_gang_is_refused() -> None:
    h = harness()
    for fields in ({"gang_timeout_ns": 5}, {"gang": True, "gang_timeout_ns": 0}):
        assert details(h.submit("w", 1, 1, **fields))[0].startswith("gang_timeout_ns: ")


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_copies_in_the_queue_wait_for_one_that_has_to_leave_its_node(discipline: str) -> None:
    h = with_nodes((4, 9), queue=QueueConfig(discipline))
    gang(h, 2, on_start_failure="elsewhere")
    h.started("g/1")
    h.step(StopRequested(workload_id="g/1"))
    h.stopped("g/1")
    start_failed(h, "g/0")
    h.fire_timers()
    assert states(h, 2) == ["queued", "stopped"]
    h.step(StartRequested(workload_id="g/1"))
    h.step(NodeDrainRequested(node_id="n0"))
    assert states(h, 2) == ["queued", "stopping"]
    assert placements(h.join("n1", cpu=4, memory=9)) == {}
    assert placements(h.stopped("g/1")) == {"g/0": "n1", "g/1": "n1"}

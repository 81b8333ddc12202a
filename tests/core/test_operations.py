"""Operations: create, remove, stop and start, and who is told what."""

from __future__ import annotations

from typing import Any

import pytest
from core_kit import SECOND_NS, details, harness, node, published, spec, start_failed, starts, with_nodes

from scheduler.events import (
    NodeDrainRequested,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    RemovalRequested,
    StartRequested,
    StopRequested,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadStarted,
)
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops


def stop(h: Harness, workload_id: str, operation_id: str = "") -> list[Any]:
    return h.step(StopRequested(workload_id=workload_id, operation_id=operation_id))


def start(h: Harness, workload_id: str, operation_id: str = "") -> list[Any]:
    return h.step(StartRequested(workload_id=workload_id, operation_id=operation_id))


# -- who asks again ----------------------------------------------------------------------------------------------------


def test_who_waits_hears_nothing_of_a_request_that_is_made_again_under_the_same_id() -> None:
    h = with_nodes((2, 2))
    h.submit("a", 1, 1, operation_id="create")
    again = spec("a", 1, 1, operation_id="create")
    assert published(h.step(again)) == [("a", "refused", "")]
    assert published(h.started("a")) == [("a", "running", "create"), ("create", "done", "create")]
    h.step(StopRequested(workload_id="a", operation_id="stop"))
    assert published(stop(h, "a", "stop")) == [("a", "refused", "")]
    assert published(h.stopped("a")) == [("a", "stopped", "stop"), ("stop", "done", "stop")]


# -- exits that leave a workload where it is -------------------------------------------------------------------------


def test_work_that_holds_on_exit_stays_stopped_with_what_it_holds_and_can_be_started_again() -> None:
    h = with_nodes((2, 2))
    h.submit("a", 1, 1, on_exit="hold")
    h.started("a")
    assert published(h.step(WorkloadExited(workload_id="a", generation=1, exit_code=3))) == [("a", "stopped", "")]
    assert (h.state_of("a"), h.core.ledger.used(0)) == ("stopped", (1, 1))
    h.reload()
    assert placements(start(h, "a", "again")) == {"a": "n0"}
    assert published(h.started("a"))[0] == ("a", "running", "again")
    assert h.core.workloads["a"].generation == 2
    h.step(WorkloadExited(workload_id="a", generation=1))  # of the one before: stale
    assert h.state_of("a") == "running"


def test_an_exit_decides_nothing_for_such_work_once_it_is_to_stop() -> None:
    for event, outcome in ((RemovalRequested(workload_id="a"), "killed"), (StopRequested(workload_id="a"), "stopped")):
        h = with_nodes((2, 2))
        h.submit("a", 1, 1, on_exit="hold")
        h.started("a")
        h.step(event)
        assert h.step(WorkloadExited(workload_id="a", generation=1, exit_code=143)) == []
        h.stopped("a")
        assert h.core.partition()["killed" if outcome == "killed" else "stopping"] == 1


def test_such_work_that_exits_before_its_start_is_known_answers_who_waits() -> None:
    h = with_nodes((2, 2))
    h.submit("a", 1, 1, on_exit="hold", operation_id="create")
    commands = h.step(WorkloadExited(workload_id="a", generation=1, exit_code=1))
    assert published(commands) == [("a", "running", "create"), ("create", "done", "create"), ("a", "stopped", "")]
    start(h, "a", "again")
    commands = h.step(WorkloadExited(workload_id="a", generation=2))
    assert published(commands) == [("a", "stopped", "again"), ("again", "done", "again")]


# -- create -----------------------------------------------------------------------------------------------------------


def test_the_copies_of_one_operation_are_answered_one_by_one_and_done_once() -> None:
    h = with_nodes((2, 2), (1, 1))
    commands = h.submit("w", 1, 1, count=4, operation_id="op", image="image")
    assert placements(commands) == {"w/0": "n0", "w/1": "n0", "w/2": "n1"}
    assert {c.image for c in commands} == {"image"}
    assert published(h.started("w/1")) == [("w/1", "running", "op")]
    assert published(h.exited("w/0")) == [("w/0", "completed", "op")]
    assert published(h.started("w/2")) == [("w/2", "running", "op")]
    assert published(h.started("w/3")) == [("w/3", "running", "op"), ("op", "done", "op")]
    assert not h.core.operations
    assert published(h.exited("w/1")) == []


def test_done_comes_once_although_the_work_is_evicted_and_starts_again() -> None:
    h = with_nodes((2, 2), (2, 2))
    h.submit("w", 1, 1, count=2, operation_id="op")
    assert published(h.started("w/0")) == [("w/0", "running", "op")]
    lost = h.step(NodeLost(node_id="n0"))
    assert (placements(lost), published(lost)) == ({"w/0": "n1", "w/1": "n1"}, [])
    assert published(h.started("w/0")) == []
    assert published(h.started("w/1")) == [("w/1", "running", "op"), ("op", "done", "op")]
    h.step(NodeReturned(node_id="n0"))
    h.step(NodeDrainRequested(node_id="n1"))
    h.stopped("w/0")
    assert published(h.started("w/0")) == []


def test_every_way_to_end_before_running_is_an_answer() -> None:
    h = with_nodes((4, 4))
    assert published(h.submit("rejected", 9, 9, on_unschedulable="fail", operation_id="a")) == [
        ("rejected", "rejected", "a"),
        ("a", "done", "a"),
    ]
    h.submit("failed", 1, 1, on_start_failure="fail", operation_id="b")
    commands = start_failed(h, "failed")
    assert (published(commands), details(commands)[0]) == ([("failed", "failed", "b"), ("b", "done", "b")], "broken")
    h.submit("exited", 1, 1, operation_id="c")
    assert published(h.exited("exited", exit_code=3))[0] == ("exited", "failed", "c")
    h.submit("cancelled", 9, 9, operation_id="d")
    assert published(h.remove("cancelled"))[0] == ("cancelled", "killed", "d")
    h.submit("lost", 1, 1, on_node_loss="lose", operation_id="e")
    assert published(h.step(NodeLost(node_id="n0")))[0] == ("lost", "lost", "e")
    assert not h.core.operations
    parts = {part: count for part, count in h.core.partition().items() if count}
    assert parts == {"rejected": 1, "failed": 2, "killed": 1, "lost": 1}


def test_what_nobody_asked_for_is_published_where_nobody_waits() -> None:
    h = with_nodes((4, 4))
    (rejected,) = h.submit("w", 9, 9, on_unschedulable="fail")
    assert (rejected.subject, rejected.outcome, rejected.operation_id) == ("w", "rejected", "")
    assert rejected.detail == "0/1 nodes: 1 cpu"
    h.submit("lost", 1, 1, on_node_loss="lose")
    assert published(h.step(NodeRemoved(node_id="n0"))) == [("lost", "lost", "")]


def test_unschedulable_fail_rejects_in_the_same_step_what_does_not_fit_and_keeps_what_does() -> None:
    h = with_nodes((2, 2))
    h.submit("before", 1, 1)
    commands = h.submit("w", 1, 1, count=3, on_unschedulable="fail", operation_id="op")
    assert placements(commands) == {"w/0": "n0"}
    assert published(commands) == [("w/1", "rejected", "op"), ("w/2", "rejected", "op")]
    assert details(commands) == ["0/1 nodes: 1 cpu"] * 2
    assert h.state_of("w/1") == "gone"
    assert h.core.counters.submitted == 4
    assert h.core.partition()["rejected"] == 2


def test_unschedulable_fail_is_about_submission_alone() -> None:
    h = with_nodes((2, 2))
    h.submit("w", 1, 1, on_unschedulable="fail")
    assert published(h.step(NodeLost(node_id="n0"))) == []
    assert h.state_of("w") == "queued"


# -- requests that make no sense ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (spec("b", 1), "request: 1 amounts for the dimensions cpu, memory"),
        (spec("b", 1, 1, 1), "request: 3 amounts for the dimensions cpu, memory"),
        (spec("b", 1, -1), "request.memory: -1 must be at least 0 and below 2^62"),
        (spec("b", 1 << 62, 1), "request.cpu: 4611686018427387904 must be at least 0"),
        (spec("b", 1, 1, count=0), "count: 0 must be from 1 to 10,000,000"),
        (spec("b", 1, 1, count=10_000_001), "count: 10000001 must be from 1"),
        (spec("b", 1, 1, payloads={"gpu": {}}), "payloads.gpu: no such plugin is in use; there are: labels, licences"),
        (spec("b", 1, 1, payloads={"labels": {"zone": "x"}}), "labels.zone: 'x' must be a list"),
        (spec("b", 1, 1, payloads={"labels": 3}), "labels: 3 must be a mapping"),
        (
            spec("b", 1, 1, payloads={"licences": {"word": 1}}),
            "licences.word: no such licence; the cluster has",
        ),
        (spec("b", 1, 1, payloads={"licences": {"matlab": 0}}), "licences.matlab: 0 must be at least 1"),
        (spec("a", 1, 1), "a workload of this id exists already"),
        (WorkloadAdopted(spec=spec("b", 1, 1), node_id="n9"), "node_id: no node 'n9' is reachable"),
        (WorkloadAdopted(spec=spec("b", 1, 1), node_id="lost"), "node_id: no node 'lost' is reachable"),
        (WorkloadAdopted(spec=spec("a", 1, 1), node_id="n0"), "a workload of this id exists already"),
        (WorkloadAdopted(spec=spec("b", 1, 1, count=2), node_id="n0"), "count: 2; adopt workloads one by one"),
        (RemovalRequested(workload_id="b", operation_id="op"), "no such workload"),
        (StopRequested(workload_id="b"), "no such workload"),
        (StartRequested(workload_id="b"), "no such workload"),
        (StartRequested(workload_id="a"), "it is starting, not stopped"),
        (StopRequested(workload_id="queued"), "it is queued, not running"),
        (node("n0"), "a node of this id exists already"),
        (node("n9", cpu=-1), "capacity.cpu: -1 must be at least 0 and below 2^62"),
        (NodeDrainRequested(node_id="n9"), "no such node"),
        (NodeDrainRequested(node_id="lost"), "the node is lost; this needs one that is ready or cordoned"),
        (NodeReturned(node_id="n0"), "the node is ready; this needs one that is lost"),
        (NodeReturned(node_id="lost", capacity={"gpu": 1}), "capacity.gpu: no such dimension; there are: cpu, memory"),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(bad: Any, detail: str) -> None:
    h = with_nodes((4, 4))
    h.step(node("lost"), NodeLost(node_id="lost"))
    h.submit("a", 1, 1)
    h.submit("queued", 9, 9)
    before = facts(h)
    (refused,) = h.step(bad)
    assert (refused.outcome, refused.operation_id) == ("refused", getattr(bad, "operation_id", ""))
    assert refused.detail.startswith(detail)
    assert h.core.counters.refused == 1
    assert facts(h) == before


def facts(h: Harness) -> Any:
    core = h.core
    records = [(w.workload_id, w.state, w.generation, w.row) for w in core.workloads.values()]
    nodes = [(n.node_id, n.state, n.capacity) for n in core.cluster.nodes]
    return records, nodes, core.partition(), core.ledger.free.tolist(), core.counters.decisions, dict(core.operations)


def test_an_id_may_be_used_again_after_the_end_and_an_operation_after_it_is_done() -> None:
    h = with_nodes((4, 4))
    h.submit("w", 1, 1, operation_id="op")
    assert published(h.submit("x", 1, 1, operation_id="op")) == [("op", "refused", "")]
    assert h.state_of("x") == "gone"
    h.exited("w")
    assert placements(h.submit("w", 1, 1, operation_id="op")) == {"w": "n0"}


def test_a_clash_of_one_copy_refuses_them_all() -> None:
    h = with_nodes((9, 9))
    h.submit("w/2", 1, 1)
    assert published(h.submit("w", 1, 1, count=4, operation_id="op")) == [("w/2", "refused", "op")]
    assert list(h.core.workloads) == ["w/2"]
    assert not h.core.operations


# -- remove -----------------------------------------------------------------------------------------------------------


def in_state(state: str) -> Harness:
    """A harness with a workload ``w`` that is in ``state``, and another node to go to."""
    h = with_nodes((4, 4))
    h.submit("w", *((9, 9) if state == "queued" else (1, 1)), on_start_failure="retry")
    if state == "backoff":
        start_failed(h, "w")
    if state in ("running", "stopping", "stopped", "evicting"):
        h.started("w")
    if state in ("stopping", "stopped"):
        stop(h, "w")
    if state == "stopped":
        h.stopped("w")
    if state == "evicting":
        h.step(NodeDrainRequested(node_id="n0"))
    return h


@pytest.mark.parametrize("state", ["queued", "backoff"])
def test_removing_what_holds_nothing_ends_it_at_once(state: str) -> None:
    h = in_state(state)
    assert h.state_of("w") == state
    assert published(h.remove("w", "op")) == [("w", "killed", "op"), ("op", "done", "op")]
    assert h.state_of("w") == "gone"
    assert h.core.next_wakeup_ns is None
    assert h.core.partition()["killed"] == 1


@pytest.mark.parametrize("state", ["starting", "running", "stopping", "stopped", "evicting"])
def test_removing_what_holds_something_stops_it_first(state: str) -> None:
    h = in_state(state)
    asked = h.remove("w", "op")
    assert stops(asked) == {("w", 1): "kill"}
    assert h.core.ledger.used(0) == (1, 1)
    assert published(h.stopped("w")) == [("w", "killed", "op"), ("op", "done", "op")]
    assert h.core.ledger.used(0) == (0, 0)
    assert h.core.partition()["killed"] == 1


@pytest.mark.parametrize("state", ["starting", "running", "stopping", "stopped", "evicting"])
def test_removing_twice_answers_both(state: str) -> None:
    h = in_state(state)
    h.remove("w", "one")
    commands = h.remove("w", "two")
    assert published(commands) == [("w", "refused", "one"), ("one", "done", "one")]
    assert stops(commands) == {("w", 1): "kill"}
    assert published(h.stopped("w")) == [("w", "killed", "two"), ("two", "done", "two")]


def test_a_workload_that_exits_while_it_is_removed_says_how_it_ended() -> None:
    h = in_state("running")
    h.remove("w", "op")
    assert published(h.exited("w")) == [("w", "completed", "op"), ("op", "done", "op")]


def test_removing_what_is_gone_matters_only_to_whoever_waits() -> None:
    h = with_nodes((4, 4))
    assert h.remove("w") == []
    assert published(h.remove("w", "op")) == [("w", "refused", "op")]
    assert h.core.counters.refused == 1


# -- stop and start ---------------------------------------------------------------------------------------------------


def test_stop_keeps_the_resources_and_start_is_a_new_generation_on_the_same_node() -> None:
    h = with_nodes((2, 2), (2, 2))
    h.submit("w", 2, 2)
    h.started("w")
    assert stops(stop(h, "w", "stop")) == {("w", 1): "hold"}
    assert published(h.stopped("w")) == [("w", "stopped", "stop"), ("stop", "done", "stop")]
    assert (h.state_of("w"), h.core.ledger.used(0), h.core.partition()["stopping"]) == ("stopped", (2, 2), 1)
    assert placements(h.submit("x", 1, 1)) == {"x": "n1"}
    assert starts(start(h, "w", "start")) == [("w", 2, "n0")]
    assert published(h.started("w")) == [("w", "running", "start"), ("start", "done", "start")]
    assert h.core.counters.placements == 2


def test_a_start_may_fail_after_a_stop_and_then_it_is_placed_anew() -> None:
    h = with_nodes((2, 2))
    h.submit("w", 2, 2)
    h.started("w")
    stop(h, "w")
    h.stopped("w")
    start(h, "w", "start")
    assert published(start_failed(h, "w")) == []
    assert starts(h.fire_timers()) == [("w", 3, "n0")]
    assert published(h.started("w"))[0] == ("w", "running", "start")


def test_stop_is_refused_in_every_state_but_starting_and_running() -> None:
    for state in ("queued", "backoff", "stopping", "stopped"):
        h = in_state(state)
        commands = stop(h, "w", "op")
        assert published(commands) == [("w", "refused", "op")], state
        assert details(commands) == [f"it is {state}, not running"]


def test_a_later_request_supersedes_the_one_that_waits() -> None:
    h = in_state("starting")
    stop(h, "w", "one")
    assert published(h.remove("w", "two"))[:1] == [("w", "refused", "one")]


def test_whoever_created_is_answered_although_a_stop_and_a_start_came_between() -> None:
    h = with_nodes((2, 2))
    h.submit("w", 1, 1, operation_id="create")
    stop(h, "w", "stop")
    h.stopped("w")
    start(h, "w", "start")
    answers = published(h.started("w"))
    assert ("w", "running", "start") in answers
    assert ("w", "running", "create") in answers
    assert not h.core.operations


def test_start_is_refused_where_the_node_is_lost_or_drained() -> None:
    for event, word in ((NodeLost(node_id="n0"), "lost"), (NodeDrainRequested(node_id="n0"), "draining")):
        h = in_state("stopped")
        h.step(event)
        assert details(start(h, "w", "op")) == [f"its node n0 is {word}"]
        assert h.state_of("w") == "stopped"


# -- adoption, stale completions --------------------------------------------------------------------------------------


def test_adopted_work_runs_as_generation_one_and_may_overcommit() -> None:
    h = with_nodes((2, 2))
    for number in range(3):
        assert h.step(WorkloadAdopted(spec=spec(f"w{number}", 1, 1), node_id="n0")) == []
    assert (h.core.ledger.free[:, 0].tolist(), h.core.counters.adopted) == ([-1, -1], 3)
    assert (h.state_of("w0"), h.generation("w0")) == ("running", 1)
    h.submit("x", 1, 1)
    assert placements(h.exited("w0")) == {}
    assert placements(h.exited("w1")) == {"x": "n0"}


def test_adopted_work_goes_on_as_the_generation_that_runs() -> None:
    h = with_nodes((2, 2))
    h.step(WorkloadAdopted(spec=spec("a", 1, 1), node_id="n0", generation=4))
    h.reload()
    assert h.core.workloads["a"].generation == 4
    h.exited("a")
    assert h.core.partition()["completed"] == 1
    commands = h.step(WorkloadAdopted(spec=spec("b", 1, 1), node_id="n0", generation=0))
    assert details(commands) == ["generation: 0 must be at least 1"]


def test_adopted_work_may_take_more_of_a_pool_than_there_is() -> None:
    h = with_nodes((9, 9))
    h.submit("a", 1, 1, payloads={"licences": {"spice": 1}})
    h.step(WorkloadAdopted(spec=spec("b", 1, 1, payloads={"licences": {"spice": 1}}), node_id="n0"))
    h.submit("c", 1, 1, payloads={"licences": {"spice": 1}})
    h.exited("a")
    assert h.state_of("c") == "queued"
    assert placements(h.exited("b")) == {"c": "n0"}


def test_whoever_adopts_with_an_operation_is_answered() -> None:
    h = with_nodes((9, 9))
    commands = h.step(WorkloadAdopted(spec=spec("a", 1, 1, operation_id="op"), node_id="n0"))
    assert published(commands) == [("a", "running", "op"), ("op", "done", "op")]


@pytest.mark.parametrize(
    "late",
    [
        WorkloadStarted(workload_id="w", generation=1),
        WorkloadStarted(workload_id="w", generation=2),
        WorkloadExited(workload_id="w", generation=1),
        WorkloadExited(workload_id="w", generation=3),
        WorkloadExited(workload_id="nobody", generation=1),
    ],
)
def test_stale_and_repeated_completions_are_counted_and_change_nothing(late: Any) -> None:
    h = with_nodes((4, 4))
    h.submit("w", 1, 1)
    h.started("w")
    stop(h, "w")
    h.stopped("w")
    start(h, "w")
    h.started("w")
    before, stale = facts(h), h.core.counters.stale
    assert h.step(late) == []
    assert (facts(h), h.core.counters.stale) == (before, stale + 1)


@pytest.mark.parametrize("state", ["queued", "backoff", "starting", "running", "stopped"])
def test_a_stop_that_nobody_asked_for_is_stale(state: str) -> None:
    h = in_state(state)
    before = facts(h)
    assert h.stopped("w") == []
    assert (facts(h), h.core.counters.stale) == (before, 1)


@pytest.mark.parametrize("state", ["queued", "backoff", "running", "stopped"])
def test_a_start_failure_out_of_season_is_stale(state: str) -> None:
    h = in_state(state)
    before = facts(h)
    assert start_failed(h, "w") == []
    assert (facts(h), h.core.counters.stale) == (before, 1)


def test_an_exit_of_a_stopped_workload_is_stale() -> None:
    h = in_state("stopped")
    assert h.exited("w") == []
    assert (h.state_of("w"), h.core.counters.stale) == ("stopped", 1)


# -- overcommit -------------------------------------------------------------------------------------------------------


def test_overcommit_multiplies_what_may_be_handed_out_and_not_the_capacity() -> None:
    h = harness(overcommit={"cpu": 1.5})
    h.join("n", cpu=10, memory=10)
    for number in range(15):
        h.submit(f"w{number}", 1, 0)
    assert placements(h.submit("over", 1, 0)) == {}
    assert (h.core.ledger.used(0), h.core.cluster.live_capacity) == ((15, 0), [10, 10])
    assert h.core.cluster.nodes[0].capacity == (10, 10)
    h.step(node("m", 3, 0))
    assert h.core.ledger.live_total == [15 + 4, 10]


def test_overcommit_beyond_what_a_column_can_hold_is_refused() -> None:
    h = harness(overcommit={"cpu": 8})
    assert published(h.join("n", cpu=1 << 61, memory=1)) == [("n", "refused", "")]


def test_the_clock_of_the_answers_is_the_step() -> None:
    h = with_nodes((4, 4))
    h.submit("w", 1, 1, at_ns=5 * SECOND_NS)
    assert h.core.workloads["w"].submitted_ns == 5 * SECOND_NS
    assert h.core.next_wakeup_ns == 605 * SECOND_NS

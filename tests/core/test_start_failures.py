"""Failed starts with their backoff, and answers that do not come."""

from __future__ import annotations

from core_kit import SECOND_NS, harness, node, published, start_failed, starts, with_nodes

from scheduler.events import NodeLost, NodeRemoved, NodeReturned, StopRequested, TimerFired
from scheduler.testing.harness import stops


def test_fail_means_fail() -> None:
    h = with_nodes((9, 9), (9, 9))
    (result,) = (h.submit("w", 1, 1, on_start_failure="fail"), start_failed(h, "w"))[1]
    assert (result.outcome, result.detail) == ("failed", "broken")
    assert (h.state_of("w"), h.core.partition()["failed"], h.core.counters.start_failures) == ("gone", 1, 1)


def test_retries_wait_twice_as_long_each_time_up_to_the_most_and_then_fail() -> None:
    h = harness(backoff_base_ns=10 * SECOND_NS, backoff_max_ns=60 * SECOND_NS)
    h.join("n0", cpu=9, memory=9)
    h.submit("w", 1, 1, on_start_failure="retry", start_retries=4, operation_id="op")
    waits = []
    for attempt in range(1, 5):
        assert start_failed(h, "w") == []
        assert (h.state_of("w"), h.core.ledger.used(0)) == ("backoff", (0, 0))
        before = h.at_ns
        assert h.core.partition()["queued"] == 1
        assert starts(h.fire_timers()) == [("w", attempt + 1, "n0")]
        waits.append((h.at_ns - before) // SECOND_NS)
    assert waits == [10, 20, 40, 60]
    assert published(start_failed(h, "w")) == [("w", "failed", "op"), ("op", "done", "op")]
    assert h.core.next_wakeup_ns is None


def test_a_retry_may_go_to_the_same_node_and_elsewhere_never_does() -> None:
    h = with_nodes((9, 9), (9, 9))
    h.submit("r", 1, 1, on_start_failure="retry")
    h.submit("e", 1, 1, on_start_failure="elsewhere")
    start_failed(h, "r")
    assert starts(h.fire_timers()) == [("r", 2, "n0")]
    start_failed(h, "e")
    assert starts(h.fire_timers()) == [("e", 2, "n1")]
    h.reload()
    start_failed(h, "e")
    h.fire_timers()
    assert h.state_of("e") == "queued"
    assert starts(h.join("n2", cpu=9, memory=9)) == [("e", 3, "n2")]


def test_no_retries_left_from_the_start() -> None:
    h = with_nodes((9, 9))
    h.submit("w", 1, 1, on_start_failure="retry", start_retries=0)
    assert published(start_failed(h, "w")) == [("w", "failed", "")]


def test_what_a_failed_start_held_can_be_used_at_once() -> None:
    h = with_nodes((2, 2))
    h.submit("w", 2, 2)
    h.submit("x", 2, 2)
    assert starts(start_failed(h, "w")) == [("x", 1, "n0")]
    h.fire_timers()
    assert h.state_of("w") == "queued"
    assert starts(h.exited("x")) == [("w", 2, "n0")]


def test_a_failed_start_on_a_node_that_is_gone_does_not_confuse() -> None:
    h = with_nodes((2, 2), (2, 2))
    h.submit("w", 2, 2, on_start_failure="elsewhere")
    start_failed(h, "w")
    h.step(NodeRemoved(node_id="n0"))
    h.step(node("n0", 2, 2))
    assert starts(h.fire_timers()) == [("w", 2, "n1")]


def test_a_start_that_is_not_answered_is_repeated_until_it_is() -> None:
    h = harness(deadline_ns=60 * SECOND_NS)
    h.join("n0", cpu=9, memory=9)
    h.submit("w", 1, 1, at_ns=7 * SECOND_NS)
    for attempt in range(1, 4):
        assert h.core.next_wakeup_ns == (7 + 60 * attempt) * SECOND_NS
        assert starts(h.fire_timers()) == [("w", 1, "n0")]
    assert h.core.counters.placements == 1
    h.started("w")
    assert h.core.next_wakeup_ns is None
    assert h.core.counters.stale == 0
    h.started("w")
    assert h.core.counters.stale == 1


def test_a_stop_that_is_not_answered_is_repeated_with_its_reason() -> None:
    h = with_nodes((9, 9), deadline_ns=60 * SECOND_NS)
    h.submit("w", 1, 1)
    h.started("w")
    h.step(StopRequested(workload_id="w"))
    for _ in range(2):
        assert stops(h.fire_timers()) == {("w", 1): "hold"}
    h.remove("w")
    assert stops(h.fire_timers()) == {("w", 1): "kill"}
    h.stopped("w")
    assert h.core.next_wakeup_ns is None


def test_nothing_is_asked_of_a_node_that_is_lost() -> None:
    h = with_nodes((9, 9), deadline_ns=60 * SECOND_NS)
    h.submit("w", 1, 1)
    h.started("w")
    h.step(StopRequested(workload_id="w"))
    h.step(NodeLost(node_id="n0"))
    assert h.fire_timers() == []
    assert h.core.next_wakeup_ns is None
    assert stops(h.step(NodeReturned(node_id="n0"))) == {("w", 1): "hold"}
    assert stops(h.fire_timers()) == {("w", 1): "hold"}


def test_a_timer_that_fires_early_or_for_nothing_does_nothing() -> None:
    h = with_nodes((9, 9))
    assert h.step(TimerFired()) == []
    h.submit("w", 1, 1)
    assert h.step(TimerFired(), at_ns=599 * SECOND_NS) == []
    assert h.core.next_wakeup_ns == 600 * SECOND_NS


def test_all_timers_of_an_instant_fire_in_the_order_in_which_they_were_set() -> None:
    h = with_nodes((9, 9))
    for name in "cab":
        h.submit(name, 1, 1)
    assert [name for name, _, _ in starts(h.fire_timers())] == ["c", "a", "b"]
    assert h.step(TimerFired(), TimerFired()) == []

"""Timers: order, relevance, and a dump that goes on as before."""

from __future__ import annotations

import random

from core_kit import SECOND_NS, with_nodes

from scheduler.events import RemovalRequested, StopRequested, TimerFired
from scheduler.timers import Timer, Timers


def kinds(timers: list[Timer]) -> list[tuple[int, str, str]]:
    return [(timer.at_ns, timer.kind, timer.workload_id) for timer in timers]


def test_due_timers_come_by_instant_and_then_by_creation() -> None:
    timers = Timers(lambda timer: True)
    timers.add_deadline("start", 10, "a", 1)
    timers.add_delay("backoff", 10, "b", 1)
    timers.add_delay("backoff", 5, "c", 1)
    timers.add_deadline("stop", 10, "d", 1)
    timers.add_delay("backoff", 11, "e", 1)
    assert timers.next_ns() == 5
    assert kinds(timers.pop_due(4)) == []
    assert kinds(timers.pop_due(10)) == [
        (5, "backoff", "c"),
        (10, "start", "a"),
        (10, "backoff", "b"),
        (10, "stop", "d"),
    ]
    assert timers.next_ns() == 11
    timers.pop_due(11)
    assert timers.next_ns() is None


def test_a_timer_that_no_longer_matters_is_never_seen() -> None:
    relevant = {"a", "b", "c"}
    timers = Timers(lambda timer: timer.workload_id in relevant)
    timers.add_deadline("start", 1, "a", 1)
    timers.add_deadline("start", 2, "b", 1)
    timers.add_delay("backoff", 1, "c", 1)
    relevant -= {"a", "c"}
    assert timers.next_ns() == 2
    timers.add_delay("backoff", 2, "a", 1)
    assert kinds(timers.pop_due(9)) == [(2, "start", "b")]
    relevant -= {"b"}
    timers.add_deadline("start", 3, "b", 1)
    assert timers.next_ns() is None
    assert timers.dump()[1] == []


def test_a_dump_goes_on_as_before() -> None:
    draw = random.Random(3)
    timers = Timers(lambda timer: timer.generation != 3)
    at_ns = 0
    for number in range(60):
        at_ns += draw.randint(0, 3)
        timers.add_deadline(draw.choice(["start", "stop"]), at_ns + 50, f"w{number}", draw.randint(1, 4))
        timers.add_delay("backoff", at_ns + draw.randint(0, 90), f"w{number}", draw.randint(1, 4))
    again = Timers(lambda timer: timer.generation != 3)
    again.load(*timers.dump())
    while (due := timers.next_ns()) is not None:
        assert again.next_ns() == due
        assert list(again.pop_due(due)) == list(timers.pop_due(due))
    assert again.next_ns() is None
    assert again.dump() == timers.dump()


def test_what_a_core_decides_does_not_depend_on_who_asks_when_to_wake_it() -> None:
    """A driver asks `Core.next_wakeup_ns` after every step; `verify` never does. Both must get the same commands."""
    said = []
    for asks in (True, False):
        h = with_nodes((9, 9))
        h.submit("w", 1, 1)
        h.submit("other", 1, 1)
        h.started("w")
        h.step(StopRequested(workload_id="w"))
        h.stopped("w")
        assert not asks or h.core.next_wakeup_ns == 600 * SECOND_NS
        h.step(RemovalRequested(workload_id="w"), at_ns=300 * SECOND_NS)
        assert not asks or h.core.next_wakeup_ns == 600 * SECOND_NS
        said.append(h.step(TimerFired(), at_ns=600 * SECOND_NS))
    assert said[0] == said[1]
    assert [command.workload_id for command in said[0]] == ["other"]

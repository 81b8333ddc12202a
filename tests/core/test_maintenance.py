"""Maintenance windows: drained before, back after, as they were."""

from __future__ import annotations

import pytest
from core_kit import SECOND_NS, details, starts, with_nodes

from scheduler.events import (
    MaintenanceCancelled,
    MaintenancePlanned,
    NodeCordoned,
    NodeLost,
    NodeReturned,
    NodeUncordoned,
    TimerFired,
)
from scheduler.testing import Harness
from scheduler.testing.harness import placements, stops


def planned(h: Harness, *node_ids: str, name: str = "m", start: int = 10, end: int = 20, drain: int = 4) -> list:
    """Plan a window; times in seconds."""
    times = {"start_ns": start * SECOND_NS, "end_ns": end * SECOND_NS, "drain_ns": drain * SECOND_NS}
    return h.step(MaintenancePlanned(window_id=name, node_ids=node_ids, **times))


def wake(h: Harness) -> tuple[int, list]:
    """The second of the next timer, and what the core does then."""
    commands = h.fire_timers()
    return h.at_ns // SECOND_NS, commands


def state_of(h: Harness, node_id: str) -> str:
    return str(h.core.cluster.by_id[node_id].state)


def test_a_node_is_drained_before_and_returns_after() -> None:
    h = with_nodes((4, 9), (4, 9))
    h.submit("w", 4, 1)
    h.started("w")
    planned(h, "n0")
    h.reload()
    at, commands = wake(h)
    assert (at, stops(commands)) == (6, {("w", 1): "evict"})
    assert state_of(h, "n0") == "draining"
    h.submit("more", 4, 1)
    assert starts(h.stopped("w")) == []
    h.reload()
    h.started("more")
    at, commands = wake(h)
    assert (at, placements(commands)) == (20, {"w": "n0"})
    assert h.core.state.windows == {}
    h.started("w")
    assert h.core.next_wakeup_ns is None


def test_a_node_is_afterwards_as_it_was() -> None:
    h = with_nodes((4, 9), (4, 9), (4, 9), (4, 9))
    h.step(NodeCordoned(node_id="n0"))
    planned(h, "n0", "n1", "n2", "n3")
    wake(h)
    h.step(NodeLost(node_id="n1"))
    h.step(NodeLost(node_id="n2"), NodeReturned(node_id="n2"))
    h.step(NodeUncordoned(node_id="n3"))
    assert [state_of(h, f"n{number}") for number in range(4)] == ["draining", "lost", "cordoned", "ready"]
    wake(h)
    assert [state_of(h, f"n{number}") for number in range(4)] == ["cordoned", "lost", "ready", "ready"]
    h.step(NodeReturned(node_id="n1"))
    assert state_of(h, "n1") == "ready"


def test_of_windows_that_overlap_the_last_to_end_opens_the_node() -> None:
    h = with_nodes((4, 9))
    planned(h, "n0", name="a", start=10, end=20)
    planned(h, "n0", name="b", start=15, end=30)
    for at, state in [(6, "draining"), (11, "draining"), (20, "draining"), (30, "ready")]:
        assert wake(h)[0] == at
        h.reload()
        assert state_of(h, "n0") == state


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_window_is_over(begun: bool) -> None:
    h = with_nodes((4, 9))
    planned(h, "n0")
    if begun:
        wake(h)
    h.step(MaintenanceCancelled(window_id="m"))
    assert state_of(h, "n0") == "ready"
    assert h.core.next_wakeup_ns is None
    h.step(TimerFired(), at_ns=30 * SECOND_NS)
    assert state_of(h, "n0") == "ready"


def test_what_makes_no_sense_is_refused() -> None:
    h = with_nodes((4, 9))
    h.at_ns = 5 * SECOND_NS
    for fields, message in [
        ({"node_ids": ("no",)}, "node_ids: there is no node 'no'"),
        ({"name": ""}, "window_id: "),
        ({"start": 4}, "start_ns: "),
        ({"end": 10}, "start_ns: "),
        ({"drain": -1}, "drain_ns: "),
    ]:
        node_ids = fields.pop("node_ids", ("n0",))
        assert details(planned(h, *node_ids, **fields))[0].startswith(message)
    assert planned(h, "n0") == []
    assert details(planned(h, "n0"))[0].startswith("window_id: ")
    assert details(h.step(MaintenanceCancelled(window_id="x"))) == ["no such window, or it is over"]

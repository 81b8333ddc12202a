"""The lifecycle table: what it allows, what it cannot, and its diagram."""

from __future__ import annotations

import pytest

from scheduler.lifecycle import (
    HOLDING,
    PARTITION,
    TERMINAL,
    TRANSITIONS,
    LifecycleError,
    State,
    Trigger,
    advance,
    mermaid,
)


def test_every_state_is_reachable_from_queued() -> None:
    reached, frontier = {State.QUEUED}, [State.QUEUED]
    while frontier:
        state = frontier.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is state and after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached == set(State)


def test_terminal_states_have_no_exits_and_all_others_do() -> None:
    with_exits = {before for before, _ in TRANSITIONS}
    assert with_exits == set(State) - TERMINAL


def test_every_state_can_still_end() -> None:
    ending = set(TERMINAL)
    while True:
        more = {before for (before, _), after in TRANSITIONS.items() if after in ending} - ending
        if not more:
            break
        ending |= more
    assert ending == set(State)


def test_every_trigger_is_used_and_every_state_has_a_part() -> None:
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)
    assert list(PARTITION) == list(State)
    names = "queued starting running stopping completed failed killed rejected lost dissociated"
    assert set(PARTITION.values()) == set(names.split())


def test_a_workload_that_holds_something_is_placed_and_not_over() -> None:
    assert not HOLDING & TERMINAL
    for (before, trigger), after in TRANSITIONS.items():
        if before not in HOLDING and after in HOLDING:
            assert trigger in (Trigger.PLACED, Trigger.ADOPTED), (before, trigger)


def test_advance_follows_the_table_and_names_what_it_does_not_have() -> None:
    assert all(advance(before, trigger) is after for (before, trigger), after in TRANSITIONS.items())
    with pytest.raises(LifecycleError, match="no transition from completed on"):
        advance(State.COMPLETED, Trigger.STARTED)


def test_the_diagram_shows_every_transition_once() -> None:
    lines = mermaid().splitlines()
    assert lines[:3] == ["stateDiagram-v2", "    [*] --> queued: submitted", "    queued --> starting: placed"]
    arrows = [line.strip() for line in lines[2:] if not line.endswith("[*]")]
    labels = [f"{before} --> {after}: {trigger.replace(':', ',')}" for (before, trigger), after in TRANSITIONS.items()]
    assert arrows == labels
    assert all(line.count(":") == 1 for line in arrows)  # Mermaid ends a label at a second one
    assert {line.strip() for line in lines if line.endswith("--> [*]")} == {f"{state} --> [*]" for state in TERMINAL}

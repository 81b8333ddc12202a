"""What engines have against what the core believes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from parity_kit import header, make_core, node

from backends.real.gateway import Found, Survey
from backends.real.reconciliation import VANISHED_EXIT_CODE, Orphan, compare, standing
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    NodeLost,
    NodeReturned,
    ReallocRequested,
    RemovalRequested,
    StopRequested,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStopped,
)

EXITED, RUNNING = Found("exited", 3), Found("running")


def core_with(*events: AnyEvent) -> Core:
    """Two nodes, and workload "a" on the first, commanded to start; then the events, an instant each."""
    core = make_core(header(), None)
    payloads = {"cpu": {"cpu_request": 1}}
    spec = WorkloadsSubmitted(workload_id="a", request=(0, 0, 0), payloads=payloads)
    for at_ns, event in enumerate((node(0), node(1), spec, *events)):
        core.step(at_ns, [event])
    return core


STARTED = WorkloadStarted(workload_id="a", generation=1)
STOPPED = WorkloadStopped(workload_id="a", generation=1)


def told(
    core: Core, found: Mapping[tuple[str, int], Found], **options: bool
) -> tuple[list[str], list[str], list[Orphan]]:
    """Events and commands in short, where node n0 has this and n1 does not answer."""
    result = compare(core, Survey({"n0": found}), standing(core), {"gone": 2}, **options)
    return [_short(event) for event in result.events], [_short(command) for command in result.commands], result.orphans


def _short(thing: object) -> str:
    kind = type(thing).__name__
    detail = {"WorkloadExited": "exit_code", "StopWorkload": "reason"}.get(kind)
    return kind if detail is None else f"{kind} {getattr(thing, detail)}"


@pytest.mark.parametrize(
    ("events", "found", "expected"),
    [
        ((), None, ([], ["StartWorkload"])),
        ((), Found("starting"), ([], [])),
        ((), RUNNING, (["WorkloadStarted"], [])),
        ((), EXITED, (["WorkloadStarted", "WorkloadExited 3"], [])),
        ((STARTED,), RUNNING, ([], [])),
        ((STARTED,), EXITED, (["WorkloadExited 3"], [])),
        ((STARTED,), None, ([f"WorkloadExited {VANISHED_EXIT_CODE}"], [])),
        ((STARTED,), Found("stopping"), ([], [])),
        ((STARTED, StopRequested(workload_id="a")), RUNNING, ([], ["StopWorkload hold"])),
        ((STARTED, StopRequested(workload_id="a")), EXITED, (["WorkloadStopped"], [])),
        ((STARTED, StopRequested(workload_id="a")), Found("stopping"), ([], [])),
        ((STARTED, StopRequested(workload_id="a"), STOPPED), EXITED, ([], [])),
        ((STARTED, RemovalRequested(workload_id="a")), EXITED, ([], ["StopWorkload kill"])),
        ((STARTED, RemovalRequested(workload_id="a")), None, (["WorkloadStopped"], [])),
    ],
)
def test_one_workload(events: tuple[AnyEvent, ...], found: Found | None, expected: tuple[list[str], list[str]]) -> None:
    reported, commanded, orphans = told(core_with(*events), {} if found is None else {("a", 1): found})
    assert (reported, commanded) == expected
    assert orphans == []


def test_an_update_is_commanded_again_after_a_crash_only_and_unless_it_is_under_way() -> None:
    core = core_with(STARTED, ReallocRequested(workload_id="a", payloads={"cpu": {"cpu_request": 1}}))
    assert told(core, {("a", 1): RUNNING}) == ([], [], [])
    assert told(core, {("a", 1): RUNNING}, after_crash=True)[1] == ["UpdateWorkload"]
    assert told(core, {("a", 1): RUNNING._replace(updating=1)}, after_crash=True)[1] == []


def test_what_was_superseded_on_a_node_that_returned_is_stopped() -> None:
    core = core_with(STARTED, NodeLost(node_id="n0"), NodeReturned(node_id="n0"))
    assert told(core, {("a", 1): RUNNING})[1] == ["StopWorkload fence"]
    assert told(core, {})[0] == ["WorkloadStopped"]


def test_leftovers_go_where_somebody_said_so_and_are_named_where_nobody_did() -> None:
    core = core_with(STARTED)
    found = {
        ("a", 1): RUNNING,
        ("gone", 2): EXITED,
        ("gone", 3): RUNNING,
        ("who", 1): RUNNING,
        ("b", 1): Found("starting"),
    }
    events, commands, orphans = told(core, found)
    assert (events, commands) == ([], ["StopWorkload fence"])
    assert orphans == [Orphan("n0", "gone", 3), Orphan("n0", "who", 1)]


def test_what_changed_meanwhile_is_left_for_the_next_time() -> None:
    core = core_with(STARTED)
    before = standing(core)
    core.step(100, [StopRequested(workload_id="a")])
    assert compare(core, Survey({"n0": {("a", 1): EXITED}}), before, {}) == ([], [], [])


def test_a_node_that_does_not_answer_says_nothing() -> None:
    core = core_with(STARTED)
    assert compare(core, Survey({}), standing(core), {}) == ([], [], [])

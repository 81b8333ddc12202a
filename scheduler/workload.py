"""The records of one live workload, of an update of it under way, and of an instance that was superseded."""

from __future__ import annotations

import msgspec

from scheduler.assignment import Assignment
from scheduler.events import WorkloadsSubmitted
from scheduler.ledger import Claim
from scheduler.lifecycle import State
from scheduler.operations import Program
from scheduler.types import NodeIndex


class Update(msgspec.Struct, gc=False, kw_only=True):
    """A realloc that the engine has not confirmed: how it was before, and what is still held of that.

    ``surplus`` is what the workload held more of before; it is given back when the update is confirmed.
    """

    spec: WorkloadsSubmitted
    assignments: dict[str, Assignment] | None
    surplus: Claim
    operation_id: str
    timer: int = -1


class RolloutPart(msgspec.Struct, gc=False, kw_only=True):
    """A workload's part in a replacement: what it ran before, and what bounds how long it may take to become
    healthy.
    """

    operation_id: str
    previous: Program
    gate_timer: int = -1


class Workload(msgspec.Struct, gc=False, kw_only=True):
    """A workload that has not ended. What it asks for is in ``spec``, shared by all copies of one submission.

    ``sequence`` numbers submissions; ``class_id`` is its request class now. ``generation`` counts starts: 0 before
    the first placement. ``row`` is where it is held, -1 where nothing is. ``placed_ns`` is the instant of the first
    placement, -1 before; ``started_ns`` that of the last placement, and of its start once the engine has confirmed it.
    ``nominated_row`` is the row that is held for it until its victims are gone, -1 where none is.
    ``stop_reason`` says why it is stopping or stopped. ``creation_answered``: whoever submitted
    it has been told how it went, or does not want to know. ``failed_rows`` are the rows that it must avoid, ascending.
    ``timer`` is the sequence number of the last timer set for it. ``assignments`` is what it holds of exact plugins'
    things. ``revision`` counts updates; ``update`` is the one under way. ``rollout`` is its part in a replacement, and
    ``successor`` what is to be started in its place when it has stopped.
    """

    workload_id: str
    spec: WorkloadsSubmitted
    sequence: int
    class_id: int
    state: State = State.QUEUED
    generation: int = 0
    row: NodeIndex = -1
    submitted_ns: int = 0
    placed_ns: int = -1
    started_ns: int = -1
    nominated_row: NodeIndex = -1
    stop_reason: str = ""
    stop_operation_id: str = ""
    creation_answered: bool = True
    start_failures: int = 0
    failed_rows: tuple[NodeIndex, ...] = ()
    timer: int = -1
    assignments: dict[str, Assignment] | None = None
    revision: int = 0
    update: Update | None = None
    rollout: RolloutPart | None = None
    successor: Program | None = None


def by_priority(workload: Workload) -> tuple[int, int]:
    """Higher priority first, then earlier submission."""
    return (-workload.spec.priority, workload.sequence)


class Fence(msgspec.Struct, gc=False, kw_only=True):
    """An instance that was superseded while its node was lost. It holds its resources until it is confirmed gone."""

    workload_id: str
    generation: int
    row: NodeIndex
    claim: Claim
    timer: int = -1

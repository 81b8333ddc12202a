"""Placing what waits: choose, hold, command the start; a gang all at once or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.lifecycle import Trigger
from scheduler.plan import NO_ROW
from scheduler.request_classes import RequestClass
from scheduler.resources import Assignments
from scheduler.state import CoreState
from scheduler.types import Int64Array, NodeIndex
from scheduler.workload import Workload

_PLACED = Trigger.PLACED  # a name is found faster than a member, and this one is asked for with every workload
Choice = tuple[NodeIndex, Assignments | None]


class Placer:
    """What a queue discipline places with. A *unit* is one workload, or all copies of a gang."""

    def __init__(self, state: CoreState) -> None:
        self.state = state

    def class_of(self, workload: Workload) -> RequestClass:
        """The request class of a queued workload."""
        return self.state.class_by_id[workload.class_id]

    def try_place(self, workload: Workload, request_class: RequestClass, rows: Int64Array | None = None) -> bool:
        """Place one workload now, on one of ``rows`` (ascending; None for any); False, and nothing is held, where it
        fits on none.
        """
        state = self.state
        counters = state.counters
        row, assignments = state.planner.choose(request_class, counters.decisions, rows)
        counters.decisions += 1
        if row == NO_ROW:
            return False
        self._place(workload, row, assignments)
        return True

    def try_place_unit(self, unit: Sequence[Workload], rows: Int64Array | None = None) -> bool:
        """Place all of a unit now, or nothing."""
        request_class = self.class_of(unit[0])
        if len(unit) == 1:
            return self.try_place(unit[0], request_class, rows)
        with self.state.ledger.savepoint():
            choices = self.fit(request_class, len(unit), rows)
        self.state.counters.decisions += len(choices) if choices else 1
        for workload, (row, assignments) in zip(unit, choices, strict=bool(choices)):
            self._place(workload, row, assignments)
        return bool(choices)

    def fit(self, request_class: RequestClass, count: int, rows: Int64Array | None = None) -> list[Choice]:
        """Hold ``count`` copies one after the other where the policy would, within the caller's savepoint.

        Return where each would be, or nothing where not all fit.
        """
        planner, ledger, decision = self.state.planner, self.state.ledger, self.state.counters.decisions
        choices: list[Choice] = []
        for copy in range(count):
            row, assignments = planner.choose(request_class, decision + copy, rows)
            if row == NO_ROW:
                return []
            ledger.hold(row, self.state.resources.claim(request_class, row, assignments))
            choices.append((row, assignments))
        return choices

    def _place(self, workload: Workload, row: NodeIndex, assignments: Assignments | None) -> None:
        state, counters = self.state, self.state.counters
        if workload.nominated_row >= 0:
            state.nominate(workload, NO_ROW)
        state.hold(workload, row, assignments)
        workload.generation += 1
        workload.started_ns = state.at_ns
        counters.placements += 1
        if workload.generation == 1:
            counters.placed += 1
            workload.placed_ns = state.at_ns
        state.move(workload, _PLACED)
        state.command_start(workload)

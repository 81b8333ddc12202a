"""Disciplines in which the head of the queue holds back others: FCFS, and EASY backfilling.

The *head* is the first workload in order that does not fit now. What would not fit even if everything that runs came to
an end is passed over: waiting for it would be in vain, as a change of the cluster starts a new pass anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from scheduler.disciplines.base import Discipline
from scheduler.disciplines.waiting import WaitingList
from scheduler.expected_ends import estimate_of
from scheduler.ports import Dimension
from scheduler.types import Int64Array, NodeIndex
from scheduler.workload import Workload, by_priority

if TYPE_CHECKING:
    from scheduler.placing import Placer
    from scheduler.request_classes import RequestClass
    from scheduler.state import CoreState

Unit = list[Workload]


class Reservation(NamedTuple):
    """When the head is expected to start (the *shadow time*), and what is free then beside it.

    ``left`` maps every row that the head will take to what it leaves over there, by dimension.
    """

    at_ns: int
    left: dict[NodeIndex, list[int]]


class BlockingDiscipline(Discipline):
    """Starts from the front of the queue as long as the first fits, and then asks `_fill_up` what else may start."""

    uses_ends = True
    queue: WaitingList

    def run(self, placer: Placer) -> None:
        """Place from the front; then let others start behind the head."""
        queue, ledger = self.queue, placer.state.ledger
        while queue.begin_pass(ledger):
            position = 0
            while position < len(queue.entries):
                unit = queue.unit_at(position)
                if self._try(placer, unit):
                    continue
                reservation = reserve(placer, unit)
                position += len(unit)
                if reservation is not None:
                    self._fill_up(placer, unit, reservation, position)
                    break

    def excuse(self, state: CoreState, workload: Workload) -> str:
        """What stands before it may hold it back."""
        return "" if workload is self.queue.entries[0][2] else "what stands before it in the queue"

    def _try(self, placer: Placer, unit: Unit, rows: Int64Array | None = None) -> bool:
        if not placer.try_place_unit(unit, rows):
            return False
        for workload in unit:
            self.queue.take(workload)
        return True

    def _fill_up(self, placer: Placer, head: Unit, reservation: Reservation, position: int) -> None:
        """Place what may start before the head does; it stands from ``position`` on."""


class FirstComeFirstServed(BlockingDiscipline):
    """Strictly in order of submission: nothing starts before what was submitted before it. Priorities mean nothing."""

    name = "fcfs"

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self.queue = WaitingList(len(dimensions), lambda workload: (0, workload.sequence))


class EasyBackfilling(BlockingDiscipline):
    """EASY backfilling (Lifka, The ANL/IBM SP scheduling system, JSSPP'95; Mu'alem and Feitelson, TPDS 12, 2001).

    The queue is in order of priority and then of submission. The head alone has a reservation, at the earliest instant
    at which enough is free by the expected ends of what runs. A later workload may start now if it is expected to end
    by then, or if it fits beside the head. ``order`` says in which order these are tried: "fcfs", as they stand, or
    "shortest", by estimate and then as they stand (EASY-SJBF).

    An expected end is the start plus the estimate; one that has passed is expected at any moment, and so now. What has
    no estimate is expected to end after everything else, and never starts unless it fits beside the head.

    On many nodes the head is reserved where the policy would place it at the shadow time. A workload that runs longer
    than that may start on any other node, or on that one if its quantities fit in what the head leaves over; where
    either asks things of plugins it may not share the node, and where the head is coupled to others by plugins, what
    asks of plugins waits.
    """

    name = "easy"

    def __init__(self, dimensions: Sequence[Dimension], order: Literal["fcfs", "shortest"] = "fcfs") -> None:
        if order not in ("fcfs", "shortest"):
            raise ValueError(f"order: {order!r} is neither 'fcfs' nor 'shortest'")
        self.queue = WaitingList(len(dimensions), by_priority)
        self._shortest_first = order == "shortest"

    def _fill_up(self, placer: Placer, head: Unit, reservation: Reservation, position: int) -> None:
        state, head_class = placer.state, placer.class_of(head[0])
        now_ns, row_count = state.at_ns, state.ledger.row_count
        units = self._units_from(position)
        if self._shortest_first:
            units.sort(key=lambda unit: estimate_of(unit[0]))
        refused: set[tuple[int, bool]] = set()
        for unit in units:
            request_class = placer.class_of(unit[0])
            estimate = unit[0].spec.estimate_ns
            in_time = estimate is not None and now_ns + estimate <= reservation.at_ns
            closed = [] if in_time else _closed_rows(head_class, request_class, len(unit), reservation)
            if len(closed) == row_count or not refused.isdisjoint(
                ((request_class.class_id, False), (request_class.class_id, bool(closed)))
            ):
                continue
            if not in_time and head_class.is_coupled and request_class.asked is not None:
                continue
            rows = np.delete(np.arange(row_count), closed) if closed else None
            if not self._try(placer, unit, rows):
                refused.add((request_class.class_id, bool(closed)))
            elif not in_time:
                for workload in unit:
                    _take_from(reservation, workload.row, request_class)

    def _units_from(self, position: int) -> list[Unit]:
        units = []
        while position < len(self.queue.entries):
            unit = self.queue.unit_at(position)
            units.append(unit)
            position += len(unit)
        return units


def reserve(placer: Placer, unit: Unit) -> Reservation | None:
    """The earliest instant at which the unit fits, if everything ends as expected; None where it never does."""
    state = placer.state
    ledger, now_ns, request_class = state.ledger, state.at_ns, placer.class_of(unit[0])
    assert state.ends is not None
    entries, position = state.ends.entries, 0
    coupled = request_class.is_coupled
    with ledger.savepoint():
        while position < len(entries):
            at_ns, may_fit = max(entries[position][0], now_ns), coupled
            while position < len(entries) and entries[position][0] <= at_ns:
                ended = entries[position][2]
                ledger.drop(ended.row, state.claim_of(ended))
                may_fit = may_fit or ledger.fits(ended.row, request_class.request)
                position += 1
            choices = placer.fit(request_class, len(unit)) if may_fit else []
            if choices:
                return Reservation(at_ns, {row: ledger.free[:, row].tolist() for row, _ in choices})
    return None


def _closed_rows(head: RequestClass, request_class: RequestClass, count: int, reservation: Reservation) -> list[int]:
    """The rows of the head on which so many copies do not fit in what it leaves over, or may not."""
    if head.asked is not None or request_class.asked is not None:
        return list(reservation.left)
    return [
        row
        for row, left in reservation.left.items()
        if any(amount and count * amount > free for amount, free in zip(request_class.request, left, strict=True))
    ]


def _take_from(reservation: Reservation, row: NodeIndex, request_class: RequestClass) -> None:
    left = reservation.left.get(row)
    if left is not None:
        reservation.left[row] = [a - b for a, b in zip(left, request_class.request, strict=True)]

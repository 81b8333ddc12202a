"""The profile of conservative backfilling: what is expected to be free, by row and time, with reservations taken out.

Theory of operation. Of every row there is a list of times, and from each up to the next what is free. The *base* is
what running work alone leaves: it is a function of the records, kept between passes, and only rows on which something
changed are made anew. A pass takes starts and reservations out of it, and gives the touched rows back at its end.

The first time of a row stands for now, whatever it says; an expected end that has passed counts as just after now. So
nothing has to be touched because time goes on. Two times that come to the same are one: the latter counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from scheduler import kernels
from scheduler.expected_ends import NEVER_NS, expected_end_ns
from scheduler.lifecycle import State
from scheduler.request_classes import RequestClass
from scheduler.types import Int64Array, MaskArray, NodeIndex

if TYPE_CHECKING:
    from scheduler.state import CoreState

_FIRST_TIMES = 8
_NO_ROWS: Int64Array = np.zeros(0, dtype=np.int64)


class Profile:
    """For one discipline. `begin`, then what is asked and taken in one pass, then `finish`."""

    def __init__(self, dimension_count: int) -> None:
        self._state: CoreState
        self._now_ns = 0
        self._times: Int64Array = np.zeros((0, _FIRST_TIMES), dtype=np.int64)
        self._free: Int64Array = np.zeros((0, _FIRST_TIMES, dimension_count), dtype=np.int64)
        self._lengths: Int64Array = np.zeros(0, dtype=np.int64)
        self._is_known: MaskArray = np.zeros(0, dtype=np.uint8)
        """By row, whether anything changes on it; otherwise all stays as it is now, and it is no use to wait for it."""
        self._seen = -1
        self._touched: dict[NodeIndex, tuple[int, int, Int64Array, Int64Array]] = {}
        self._allowed: dict[int, Int64Array] = {}
        self._no_start: dict[int, int] = {}
        """By class, the shortest run for which there was no row on which it could start in this pass."""
        self._floors: dict[int, list[tuple[int, int]]] = {}
        """By class, runs and the earliest start that was found for them in this pass, both ascending: whoever runs as
        long or longer starts no earlier."""

    # -- the base -----------------------------------------------------------------------------------------------------

    def begin(self, state: CoreState) -> None:
        """Bring the base up to date; a pass begins."""
        assert state.ends is not None
        self._state, self._now_ns = state, state.at_ns
        rows: set[NodeIndex] = set(state.ends.changed)
        state.ends.changed.clear()
        changed = state.planner.changed_rows(self._seen)
        self._seen = state.ledger.version
        count = state.ledger.row_count
        self._reserve_rows(count)
        for row in range(count) if changed is None else sorted(rows.union(changed.tolist())):
            self._make_row(row)

    def _reserve_rows(self, count: int) -> None:
        if count > len(self._lengths):
            more = max(count, 2 * len(self._lengths)) - len(self._lengths)
            self._times = np.concatenate([self._times, np.zeros((more, *self._times.shape[1:]), dtype=np.int64)])
            self._free = np.concatenate([self._free, np.zeros((more, *self._free.shape[1:]), dtype=np.int64)])
            self._lengths = np.concatenate([self._lengths, np.ones(more, dtype=np.int64)])
            self._is_known = np.concatenate([self._is_known, np.zeros(more, dtype=np.uint8)])

    def _reserve_times(self, length: int) -> None:
        width = self._times.shape[1]
        if length > width:
            more = max(length, 2 * width) - width
            self._times = np.pad(self._times, ((0, 0), (0, more)))
            self._free = np.pad(self._free, ((0, 0), (0, more), (0, 0)))

    def _make_row(self, row: NodeIndex) -> None:
        """What runs on a row gives back at its expected end what it holds."""
        state = self._state
        gives: dict[int, Sequence[int]] = {}
        for workload in state.on_row[row].values():
            if workload.state is not State.STOPPED:
                end_ns, more = expected_end_ns(workload), state.claim_of(workload).request
                less = gives.get(end_ns)
                gives[end_ns] = more if less is None else [a + b for a, b in zip(less, more, strict=True)]
        self._reserve_times(1 + len(gives))
        free = state.ledger.free[:, row]
        self._times[row, 0], self._free[row, 0] = 0, free
        for place, end_ns in enumerate(sorted(gives), start=1):
            free = free + np.array(gives[end_ns], dtype=np.int64)
            self._times[row, place], self._free[row, place] = end_ns, free
        self._lengths[row], self._is_known[row] = 1 + len(gives), bool(gives)

    def finish(self) -> None:
        """The pass is over: forget what it took."""
        for row, (length, is_known, times, free) in self._touched.items():
            self._lengths[row], self._is_known[row] = length, is_known
            self._times[row, :length], self._free[row, :length] = times, free
        self._touched.clear()
        self._allowed.clear()
        self._floors.clear()
        self._no_start.clear()

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _allowed_rows(self, request_class: RequestClass) -> Int64Array:
        """Rows that are open, in the pool, not avoided, and not reserved for others, ascending."""
        rows = self._allowed.get(request_class.class_id)
        if rows is None:
            pool, cluster = request_class.pool, self._state.cluster
            allowed = cluster.open_mask[: cluster.row_count] != 0
            if pool:
                allowed &= np.array([node.pool == pool for node in cluster.nodes], dtype=bool)
            allowed[list(request_class.avoid)] = False
            allowed[self._state.reservations.closed_rows(request_class)] = False
            rows = self._allowed[request_class.class_id] = np.flatnonzero(allowed)
        return rows

    def rows_now(self, request_class: RequestClass, run_ns: int) -> Int64Array:
        """The rows on which a copy can start now. Within a pass, what has none has none for a longer time or later."""
        class_id = request_class.class_id
        if run_ns >= self._no_start.get(class_id, NEVER_NS + 1):
            return _NO_ROWS
        rows = self._allowed_rows(request_class)
        found = np.empty(len(rows), dtype=np.int64)
        count = kernels.rows_that_start(
            rows, self._state.ledger.free, request_class.need, self._is_known, self._times, self._lengths, self._free,
            self._now_ns, run_ns, found,
        )  # fmt: skip
        if not count:
            self._no_start[class_id] = run_ns
        return found[:count]

    # -- what is taken ------------------------------------------------------------------------------------------------

    def start(self, row: NodeIndex, run_ns: int, request: Sequence[int]) -> None:
        """So much has just been placed."""
        self._touch(row)
        if not self._is_known[row]:
            self._is_known[row] = True
            self._floors.clear()  # one more row to wait for
        self._take(row, self._now_ns, min(self._now_ns + max(run_ns, 1), NEVER_NS), request)

    def reserve(self, request_class: RequestClass, run_ns: int, count: int) -> None:
        """Reserve for all copies at the earliest instant, on the lowest rows; nothing where they never fit."""
        rows, need = self._allowed_rows(request_class), request_class.need
        floors = self._floors.setdefault(request_class.class_id, [(0, 0)])
        place = bisect_right(floors, run_ns, key=itemgetter(0))
        first_ns, row = kernels.first_start(
            rows, need, self._is_known, self._times, self._lengths, self._free, self._now_ns, run_ns,
            floors[place - 1][1],
        )  # fmt: skip
        _raise_floor(floors, place, run_ns, first_ns)
        if first_ns >= NEVER_NS:
            return
        if count == 1:
            self._take(row, first_ns, min(first_ns + run_ns, NEVER_NS), request_class.request)
            return
        copies = np.empty(len(rows), dtype=np.int64)
        for at_ns in self._times_from(first_ns, rows):
            if at_ns >= NEVER_NS:
                return
            visited, left = kernels.copies_from(
                rows, need, self._times, self._lengths, self._free, self._now_ns, at_ns, run_ns, count, copies
            )
            for unknown in rows[:visited][self._is_known[rows[:visited]] == 0].tolist():
                self._touch(unknown)
                self._is_known[unknown] = True
                self._floors.clear()
            if not left:
                for place in np.flatnonzero(copies[:visited]).tolist():
                    taken = [int(copies[place]) * amount for amount in request_class.request]
                    self._take(int(rows[place]), at_ns, min(at_ns + run_ns, NEVER_NS), taken)
                return

    def _times_from(self, first_ns: int, rows: Int64Array) -> list[int]:
        """The instants from the first on at which anything changes on rows of which that is known."""
        known = rows[self._is_known[rows] != 0]
        there = np.arange(self._times.shape[1]) < self._lengths[known, None]
        there[:, 0] = False
        times = np.maximum(self._times[known][there], self._now_ns + 1)
        return [first_ns, *np.unique(times[times > first_ns]).tolist()]

    def _touch(self, row: NodeIndex) -> None:
        """Remember a row as it was before the pass, and write out its times as they are now."""
        if row in self._touched:
            return
        length = int(self._lengths[row])
        times, free = self._times[row, :length], self._free[row, :length]
        self._touched[row] = length, int(self._is_known[row]), times.copy(), free.copy()
        np.maximum(times, self._now_ns + 1, out=times)
        times[0] = self._now_ns

    def _take(self, row: NodeIndex, start_ns: int, end_ns: int, amounts: Sequence[int]) -> None:
        """So much less from ``start_ns`` until ``end_ns``."""
        self._touch(row)
        length = int(self._lengths[row])
        self._reserve_times(length + 2)
        taken = np.array(amounts, dtype=np.int64)
        self._lengths[row] = kernels.take_from_profile(
            self._times[row], self._free[row], length, start_ns, end_ns, taken
        )


def _raise_floor(floors: list[tuple[int, int]], place: int, run_ns: int, first_ns: int) -> None:
    """Put a run and its earliest start in, before ``place``; what it says of longer runs already goes."""
    if first_ns <= floors[place - 1][1]:
        return
    end = place
    while end < len(floors) and floors[end][1] <= first_ns:
        end += 1
    begin = place - 1 if floors[place - 1][0] == run_ns else place
    floors[begin:end] = [(run_ns, first_ns)]

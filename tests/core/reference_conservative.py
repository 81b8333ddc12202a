"""Conservative backfilling as it was first written: slow, short, and easy to believe."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scheduler.disciplines.base import Discipline
from scheduler.disciplines.waiting import WaitingList
from scheduler.expected_ends import NEVER_NS, estimate_of
from scheduler.ports import Dimension
from scheduler.types import Int64Array, NodeIndex
from scheduler.workload import Workload, by_priority

if TYPE_CHECKING:
    from scheduler.placing import Placer
    from scheduler.request_classes import RequestClass
    from scheduler.state import CoreState

Amounts = Sequence[int]


class SlowConservative(Discipline):
    """The whole plan anew in each pass, in lists."""

    name = "slow-conservative"
    uses_ends = True
    queue: WaitingList

    def __init__(self, dimensions: Sequence[Dimension], depth: int = 0) -> None:
        if depth < 0:
            raise ValueError(f"depth: {depth} must be at least 0, where 0 means everything that waits")
        self.queue = WaitingList(len(dimensions), by_priority)
        self._depth = depth

    def run(self, placer: Placer) -> None:
        """Plan everything that waits in order, and place what is planned for now."""
        while self.queue.begin_pass(placer.state.ledger):
            profile = _Profile(placer.state)
            position = reservations = 0
            while position < len(self.queue.entries):
                unit = self.queue.unit_at(position)
                reserve = not self._depth or reservations < self._depth
                if self._place_or_reserve(placer, unit, profile, reserve):
                    continue
                reservations += 1
                position += len(unit)

    def excuse(self, state: CoreState, workload: Workload) -> str:
        """What stands before it may hold it back."""
        return "" if workload is self.queue.entries[0][2] else "what stands before it in the queue"

    def _place_or_reserve(self, placer: Placer, unit: list[Workload], profile: _Profile, reserve: bool) -> bool:
        request_class, run_ns = placer.class_of(unit[0]), estimate_of(unit[0])
        rows = profile.rows_now(request_class, run_ns)
        if rows and placer.try_place_unit(unit, np.array(rows, dtype=np.int64)):
            for workload in unit:
                profile.start(workload.row, run_ns, request_class.request)
                self.queue.take(workload)
            return True
        if reserve:
            profile.reserve(request_class, run_ns, len(unit))
        return False


class _Row:
    """What is free on one row from now on: ``free[i]`` from ``times[i]`` up to the next."""

    def __init__(self, now_ns: int, free: Amounts) -> None:
        self.times = [now_ns]
        self.free = [list(free)]

    def add(self, at_ns: int, amounts: Amounts) -> None:
        """So much more from ``at_ns`` on, which is not before the last time."""
        if at_ns > self.times[-1]:
            self.times.append(at_ns)
            self.free.append(list(self.free[-1]))
        self.free[-1] = [a + b for a, b in zip(self.free[-1], amounts, strict=True)]

    def take(self, start_ns: int, end_ns: int, amounts: Amounts) -> None:
        """So much less from ``start_ns`` until ``end_ns``."""
        first, last = self._split(start_ns), self._split(end_ns)
        for place in range(first, last):
            self.free[place] = [a - b for a, b in zip(self.free[place], amounts, strict=True)]

    def _split(self, at_ns: int) -> int:
        place = bisect_left(self.times, at_ns)
        if place == len(self.times) or self.times[place] != at_ns:
            self.times.insert(place, at_ns)
            self.free.insert(place, list(self.free[place - 1]))
        return place

    def earliest_ns(self, amounts: Amounts, run_ns: int) -> int:
        """The first time from which so much is free for ``run_ns``; `NEVER_NS` where there is none."""
        start_ns = NEVER_NS
        for at_ns, free in zip(self.times, self.free, strict=True):
            if start_ns < NEVER_NS and at_ns >= start_ns + run_ns:
                break
            if not _fits(amounts, free):
                start_ns = NEVER_NS
            elif start_ns == NEVER_NS:
                start_ns = at_ns
        return start_ns

    def copies(self, amounts: Amounts, start_ns: int, run_ns: int, most: int) -> int:
        """How many copies, up to ``most``, are free from ``start_ns`` for ``run_ns``."""
        for place, at_ns in enumerate(self.times):
            if at_ns >= start_ns + run_ns:
                break
            if place + 1 < len(self.times) and self.times[place + 1] <= start_ns:
                continue
            room = (free // amount for free, amount in zip(self.free[place], amounts, strict=True) if amount)
            most = min(most, max(0, min(room, default=most)))
        return most


class _Profile:
    """What is expected to be free, by row and time, with reservations taken out."""

    def __init__(self, state: CoreState) -> None:
        assert state.ends is not None
        self.now_ns = state.at_ns
        self._state = state
        self._free = state.ledger.free.copy()
        self._rows: dict[NodeIndex, _Row] = {}
        """The rows on which something will change; on the others all stays as it is now."""
        self._allowed: dict[int, Int64Array] = {}
        for end_ns, _, workload in state.ends.entries:
            self._row(workload.row).add(max(end_ns, self.now_ns + 1), state.claim_of(workload).request)

    def _row(self, row: NodeIndex) -> _Row:
        found = self._rows.get(row)
        if found is None:
            found = self._rows[row] = _Row(self.now_ns, self._free[:, row].tolist())
        return found

    def _allowed_rows(self, request_class: RequestClass) -> Int64Array:
        """Rows that are open, in the pool, and not avoided, ascending."""
        rows = self._allowed.get(request_class.class_id)
        if rows is None:
            pool, avoid = request_class.pool, request_class.avoid
            nodes = self._state.cluster.nodes
            rows = np.flatnonzero(self._state.cluster.open_mask[: len(nodes)])
            if pool or avoid:
                kept = [row for row in rows.tolist() if (not pool or nodes[row].pool == pool) and row not in avoid]
                rows = np.array(kept, dtype=np.int64)
            rows = np.setdiff1d(rows, self._state.reservations.closed_rows(request_class), assume_unique=False)
            self._allowed[request_class.class_id] = rows
        return rows

    def rows_now(self, request_class: RequestClass, run_ns: int) -> list[NodeIndex]:
        """The rows on which a copy can start now."""
        request, allowed = request_class.request, self._allowed_rows(request_class)
        fits = (self._state.ledger.free[:, allowed] >= request_class.need[:, None]).all(axis=0)
        return [
            row
            for row in allowed[fits].tolist()
            if row not in self._rows or self._rows[row].earliest_ns(request, run_ns) == self.now_ns
        ]

    def start(self, row: NodeIndex, run_ns: int, amounts: Amounts) -> None:
        """So much has just been placed."""
        self._row(row).take(self.now_ns, min(self.now_ns + max(run_ns, 1), NEVER_NS), amounts)

    def reserve(self, request_class: RequestClass, run_ns: int, count: int) -> None:
        """Reserve for all copies at the earliest instant, on the lowest rows; nothing where they never fit."""
        request, allowed = request_class.request, self._allowed_rows(request_class).tolist()
        rows = [row for row in allowed if row in self._rows]
        times = sorted({self._rows[row].earliest_ns(request, run_ns) for row in rows})
        if count > 1 and times:
            later = {at_ns for row in rows for at_ns in self._rows[row].times if at_ns > times[0]}
            times = sorted({times[0], *later})
        for at_ns in times[: len(times) if count > 1 else 1]:
            if at_ns >= NEVER_NS:
                return
            shares, left = [], count
            for row in allowed if count > 1 else rows:
                room = self._row(row).copies(request, at_ns, run_ns, left)
                shares.append((row, room))
                left -= room
                if not left:
                    break
            if not left:
                for row, copies in shares:
                    if copies:
                        taken = [copies * amount for amount in request]
                        self._row(row).take(at_ns, min(at_ns + run_ns, NEVER_NS), taken)
                return


def _fits(amounts: Amounts, free: Amounts) -> bool:
    return all(amount <= left or not amount for amount, left in zip(amounts, free, strict=True))

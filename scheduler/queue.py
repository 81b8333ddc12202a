"""The pending queue, kept by request class.

Theory of operation. Workloads of one class are interchangeable for placement, so if the first of them is refused, so
are all: the class becomes *blocked*, and costs nothing until something that could help is freed. A scheduling pass
hands out classes in the order of their first workloads, so a large workload that does not fit never stands in the way
of a small one behind it. The order is that of a key: higher priority first and then earlier submission, unless the
discipline has another. There are two kinds of classes:

* *ready* classes have not been refused yet, and may fit anywhere. They wait in a heap.
* *blocked* classes can only fit on the rows that were freed since the last pass, as nothing else has improved. One
  kernel tests all of them against those rows and finds the first in queue order. A pass frees nothing, so the freed
  rows only fill up: each class keeps a pointer to the first freed row that may still do, and pointers only move
  forward.

A class that could be blocked by more than free rows becomes ready again: one that is coupled to the cluster when a
pool was refunded, one that is coupled to domains also when any mark changed, by a release or by a placement.
Between passes every class with waiting workloads is blocked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import numpy as np

from scheduler import kernels
from scheduler.ledger import Ledger
from scheduler.lifecycle import State
from scheduler.request_classes import RequestClass
from scheduler.types import Int64Array
from scheduler.workload import Workload, by_priority

QueueKey = Callable[[Workload], tuple[int, int]]
"""The place of a workload in the queue, lowest first: two integers of 64 bits. The second is its sequence, so no two
are equal; it does not change while the workload waits."""
_QUEUED = State.QUEUED  # a name is found faster than a member, and this one is asked for with every workload
_Entry = tuple[int, int, Workload]
_DEAD_ENTRIES_MAX = 64
"""Entries of workloads that left the queue from its middle are swept out beyond this, or when they are the most."""
_NO_ROWS: Int64Array = np.zeros(0, dtype=np.int64)


class PendingQueue:
    """All queued workloads of one core.

    A pass is `begin_pass`, then `next_class` until it returns None, each answered with `take` or `block`.
    """

    def __init__(self, dimension_count: int, key: QueueKey = by_priority) -> None:
        self._key = key
        self._waiting: dict[int, list[_Entry]] = {}
        self._dropped: dict[int, set[tuple[int, int]]] = {}
        """By class, the places of entries that are still there although their workloads left from the middle."""
        self._classes: dict[int, RequestClass] = {}
        self.ready: list[tuple[int, int, int]] = []
        """A heap of classes that have not been refused, by the place of their first workload. For reading only."""
        self._slot_of: dict[int, int] = {}
        self._slots: list[int] = []
        self._needs: Int64Array = np.zeros((16, dimension_count), dtype=np.int64)
        self._heads: Int64Array = np.zeros((16, 2), dtype=np.int64)
        self._pointers: Int64Array = np.zeros(16, dtype=np.int64)
        self._rows = _NO_ROWS
        self._free: Int64Array = np.zeros((dimension_count, 0), dtype=np.int64)

    # -- what waits -------------------------------------------------------------------------------------------------

    def push(self, workload: Workload, request_class: RequestClass) -> None:
        """Add a queued workload. Its class becomes ready, unless it is blocked."""
        class_id = request_class.class_id
        request_class.queued += 1
        rank, sequence = self._key(workload)
        entry = (rank, sequence, workload)
        waiting = self._waiting.get(class_id)
        if waiting is None:
            self._waiting[class_id] = waiting = [entry]
            self._classes[class_id] = request_class
        elif self._dropped and (rank, sequence) in self._dropped.get(
            class_id, ()
        ):  # back before its entry was swept out
            self._dropped[class_id].remove((rank, sequence))
        else:
            heapq.heappush(waiting, entry)
        if waiting[0] == entry:
            slot = self._slot_of.get(class_id)
            if slot is None:
                heapq.heappush(self.ready, (rank, sequence, class_id))
            else:
                self._heads[slot] = rank, sequence

    def drop(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue."""
        class_id = workload.class_id
        request_class = self._classes[class_id]
        request_class.queued -= 1
        waiting = self._waiting[class_id]
        self._dropped.setdefault(class_id, set()).add(self._key(workload))
        if not request_class.queued:
            waiting.clear()
            self._first(class_id)
        elif len(waiting) > 2 * request_class.queued + _DEAD_ENTRIES_MAX:
            waiting[:] = self._alive(class_id)
            heapq.heapify(waiting)
            del self._dropped[class_id]
        if request_class.gang and class_id in self._slot_of:
            self._make_ready(class_id)  # without this copy there may be room for the others

    @property
    def class_count(self) -> int:
        """How many classes have waiting workloads."""
        return len(self._waiting)

    @property
    def entry_count(self) -> int:
        """How many entries there are, those of workloads that left from the middle included."""
        return sum(map(len, self._waiting.values()))

    def demand(self) -> list[int]:
        """What all queued workloads ask for together, by dimension."""
        total = [0] * self._needs.shape[1]
        for request_class in self._classes.values():
            for dimension, amount in enumerate(request_class.request):
                total[dimension] += request_class.queued * amount
        return total

    def workloads(self) -> Iterator[Workload]:
        """All queued workloads, by class and within it in queue order."""
        for class_id in self._waiting:
            for _, _, workload in sorted(self._alive(class_id)):
                yield workload

    def members(self, request_class: RequestClass) -> list[Workload]:
        """The queued workloads of a class that has some, in queue order."""
        return [workload for _, _, workload in sorted(self._alive(request_class.class_id))]

    def _alive(self, class_id: int) -> list[_Entry]:
        """The entries of a class whose workloads wait, in no order."""
        dropped = self._dropped.get(class_id, ())
        return [entry for entry in self._waiting[class_id] if entry[2].state is _QUEUED and entry[:2] not in dropped]

    def _first(self, class_id: int) -> _Entry | None:
        """The first entry of a class that is still queued; None, and the class is forgotten, when nothing is left."""
        waiting = self._waiting.get(class_id)
        if waiting is None:
            return None
        dropped = self._dropped.get(class_id)
        while waiting and (waiting[0][2].state is not _QUEUED or (dropped and waiting[0][:2] in dropped)):
            gone = heapq.heappop(waiting)
            if dropped:
                dropped.discard(gone[:2])
        if waiting:
            return waiting[0]
        del self._waiting[class_id], self._classes[class_id]
        self._dropped.pop(class_id, None)
        if class_id in self._slot_of:
            self._free_slot(class_id)
        return None

    # -- a pass -----------------------------------------------------------------------------------------------------

    def begin_pass(self, ledger: Ledger) -> bool:
        """Take over what the ledger noted as freed; return whether there is anything to try."""
        pools_freed, marks_changed = ledger.freed_pools, ledger.marks_seen != ledger.marks.version
        if pools_freed or marks_changed:
            ledger.freed_pools, ledger.marks_seen = False, ledger.marks.version
            for class_id in [c for c in self._slots if self._is_woken(c, pools_freed, marks_changed)]:
                self._make_ready(class_id)
        self._rows = _NO_ROWS
        if ledger.freed_rows:
            if self._slots:
                rows = np.fromiter(ledger.freed_rows, dtype=np.int64, count=len(ledger.freed_rows))
                rows.sort()
                self._rows, self._free = rows, ledger.free
                self._pointers[: len(self._slots)] = 0
            ledger.freed_rows.clear()
        return bool(self.ready) or self._rows is not _NO_ROWS

    def next_class(self) -> tuple[RequestClass, Workload, Int64Array | None] | None:
        """Return the class whose first workload comes first, that workload, and the rows it is confined to, if it is.

        The workload stays queued: answer with `take` or `block`. None when there is nothing left to try.
        """
        blocked = self._first_blocked() if len(self._rows) else None
        while self.ready:
            rank, sequence, class_id = self.ready[0]
            first = None if class_id in self._slot_of else self._first(class_id)
            if first is None or first[1] != sequence or first[0] != rank:
                # Overtaken by a workload that came later and goes first, or by an end in the queue.
                heapq.heappop(self.ready)
                if first is not None and first[:2] > (rank, sequence):
                    heapq.heappush(self.ready, (first[0], first[1], class_id))
                continue
            if blocked is not None and blocked[:2] < first[:2]:
                break
            return self._classes[class_id], first[2], None
        if blocked is None:
            return None
        workload = blocked[2]
        return self._classes[workload.class_id], workload, self._rows

    def _first_blocked(self) -> _Entry | None:
        """The first entry, in queue order, of all blocked classes that fit on a freed row as far as quantities go."""
        while True:
            count = len(self._slots)
            slot = kernels.first_class_that_fits(
                self._needs, self._heads, self._pointers, count, self._free, self._rows
            )
            if slot < 0:
                return None
            first = self._first(self._slots[slot])
            if first is None:
                continue
            if (first[0], first[1]) == (int(self._heads[slot, 0]), int(self._heads[slot, 1])):
                return first
            self._heads[slot] = first[:2]

    def take(self, request_class: RequestClass, count: int = 1) -> None:
        """The first workloads of the class leave the queue; their states must have changed already."""
        class_id = request_class.class_id
        request_class.queued -= count
        slot = self._slot_of.get(class_id)
        first = self._first(class_id)
        if slot is not None:
            if first is not None:
                self._heads[slot] = first[:2]
            return
        if first is None:
            heapq.heappop(self.ready)
        else:
            heapq.heapreplace(self.ready, (first[0], first[1], class_id))

    def block(self, request_class: RequestClass) -> None:
        """The class has been refused."""
        class_id = request_class.class_id
        slot = self._slot_of.get(class_id)
        if slot is None:
            heapq.heappop(self.ready)
            slot = len(self._slots)
            if slot == len(self._needs):
                self._needs = np.concatenate([self._needs, np.zeros_like(self._needs)])
                self._heads = np.concatenate([self._heads, np.zeros_like(self._heads)])
                self._pointers = np.concatenate([self._pointers, np.zeros_like(self._pointers)])
            self._slots.append(class_id)
            self._slot_of[class_id] = slot
            self._needs[slot] = request_class.need
            self._heads[slot] = self._waiting[class_id][0][:2]
        self._pointers[slot] = len(self._rows)

    def settle(self, ledger: Ledger) -> None:
        """Everything that waits has been refused."""
        ledger.take_note()
        self.begin_pass(ledger)
        while (ready := self.next_class()) is not None:
            self.block(ready[0])

    def _is_woken(self, class_id: int, pools_freed: bool, marks_changed: bool) -> bool:
        asked = self._classes[class_id].asked
        if asked is None or asked.coupling == "none":
            return False
        return pools_freed or (marks_changed and asked.coupling == "domain")

    def _make_ready(self, class_id: int) -> None:
        first = self._first(class_id)
        if first is not None:
            self._free_slot(class_id)
            heapq.heappush(self.ready, (first[0], first[1], class_id))

    def _free_slot(self, class_id: int) -> None:
        slot, last = self._slot_of.pop(class_id), self._slots.pop()
        if last != class_id:
            for column in (self._needs, self._heads, self._pointers):
                column[slot] = column[len(self._slots)]
            self._slots[slot] = last
            self._slot_of[last] = slot

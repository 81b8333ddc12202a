"""The pending queue, kept by request class.

Theory of operation. Workloads of one class are interchangeable for placement, so if the first of them is refused, so are all:
the class becomes *blocked*, and costs nothing until something that could help is freed. A scheduling pass works through the
*ready* classes in the order of their first workloads (higher priority first, then earlier submission), so a large
workload that does not fit never stands in the way of a small one behind it.

What a batch frees wakes blocked classes: all their requests are tested at once against the freed rows, and a woken class can
only fit on those rows, since nothing else has improved since it was refused. A class that could be blocked by more than free
rows (a cluster-wide pool) is tried on all rows when a pool was refunded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from scheduler import kernels
from scheduler.ledger import Ledger
from scheduler.lifecycle import State
from scheduler.request_classes import RequestClass
from scheduler.types import Int64Array
from scheduler.workload import Workload

_Entry = tuple[int, int, Workload]
_Key = tuple[int, int]


class PendingQueue:
    """All queued workloads of one core. `push` and `wake` make classes ready; `next_class` hands them out in order."""

    def __init__(self, dimension_count: int) -> None:
        self._waiting: dict[int, list[_Entry]] = {}
        self._classes: dict[int, RequestClass] = {}
        self._ready: list[tuple[int, int, int]] = []
        self._ready_key: dict[int, _Key] = {}
        self._woken: dict[int, Int64Array] = {}
        self._slot_of: dict[int, int] = {}
        self._slots: list[int] = []
        self._needs: Int64Array = np.zeros((16, dimension_count), dtype=np.int64)

    def push(self, workload: Workload, request_class: RequestClass) -> None:
        """Add a queued workload. Its class becomes ready, unless it is blocked."""
        class_id = request_class.class_id
        negative_priority, sequence = workload.queue_key
        waiting = self._waiting.get(class_id)
        if waiting is None:
            self._waiting[class_id] = waiting = []
            self._classes[class_id] = request_class
        heapq.heappush(waiting, (negative_priority, sequence, workload))
        request_class.queued += 1
        if class_id not in self._slot_of:
            self._make_ready(class_id, waiting)

    def _make_ready(self, class_id: int, waiting: list[_Entry]) -> None:
        key = waiting[0][:2]
        if self._ready_key.get(class_id) != key:
            self._ready_key[class_id] = key
            heapq.heappush(self._ready, (*key, class_id))

    @property
    def has_ready(self) -> bool:
        """Whether a class may be ready."""
        return bool(self._ready)

    def next_class(self) -> tuple[RequestClass, Workload, Int64Array | None] | None:
        """Return the ready class whose first workload comes first, that workload, and the rows it is confined to.

        The workload stays queued: answer with `take` or `block`. None when no class is ready.
        """
        while self._ready:
            negative_priority, sequence, class_id = heapq.heappop(self._ready)
            if self._ready_key.get(class_id) != (negative_priority, sequence):
                continue
            del self._ready_key[class_id]
            waiting = self._first_valid(class_id)
            if waiting is None:
                continue
            if waiting[0][:2] != (negative_priority, sequence):
                self._make_ready(class_id, waiting)
                continue
            return self._classes[class_id], waiting[0][2], self._woken.get(class_id)
        self._woken.clear()
        return None

    def _first_valid(self, class_id: int) -> list[_Entry] | None:
        """Drop entries of workloads that are no longer queued; None, and forget the class, when nothing is left."""
        waiting = self._waiting[class_id]
        while waiting and waiting[0][2].state is not State.QUEUED:
            heapq.heappop(waiting)
        if waiting:
            return waiting
        del self._waiting[class_id], self._classes[class_id]
        self._woken.pop(class_id, None)
        if class_id in self._slot_of:
            self._free_slot(class_id)
        return None

    def take(self, request_class: RequestClass) -> None:
        """The first workload of the class leaves the queue; its state must have changed already."""
        class_id = request_class.class_id
        request_class.queued -= 1
        waiting = self._first_valid(class_id)
        if waiting is not None:
            self._make_ready(class_id, waiting)

    def drop(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue; its state must have changed already."""
        self._classes[workload.class_id].queued -= 1

    def demand(self) -> list[int]:
        """What all queued workloads ask for together, by dimension."""
        total = [0] * self._needs.shape[1]
        for request_class in self._classes.values():
            for dimension, amount in enumerate(request_class.request):
                total[dimension] += request_class.queued * amount
        return total

    def block(self, request_class: RequestClass) -> None:
        """The class has been refused."""
        class_id = request_class.class_id
        self._woken.pop(class_id, None)
        slot = len(self._slots)
        if slot == len(self._needs):
            self._needs = np.concatenate([self._needs, np.zeros_like(self._needs)])
        self._needs[slot] = request_class.need
        self._slots.append(class_id)
        self._slot_of[class_id] = slot

    def _free_slot(self, class_id: int) -> None:
        slot, last = self._slot_of.pop(class_id), self._slots.pop()
        if last != class_id:
            self._needs[slot] = self._needs[len(self._slots)]
            self._slots[slot] = last
            self._slot_of[last] = slot

    def wake(self, ledger: Ledger) -> None:
        """Make ready what the ledger's freed rows and pools could help, and clear those notes."""
        if ledger.freed_pools:
            ledger.freed_pools = False
            for class_id in [c for c in self._slots if self._classes[c].payloads is not None]:
                self._unblock(class_id, None)
        if not ledger.freed_rows:
            return
        if self._slots:
            rows = np.fromiter(ledger.freed_rows, dtype=np.int64, count=len(ledger.freed_rows))
            rows.sort()
            fitting = np.empty(len(self._slots), dtype=np.int64)
            found = kernels.classes_that_fit(self._needs, len(self._slots), ledger.free, rows, fitting)
            for class_id in [self._slots[slot] for slot in fitting[:found].tolist()]:
                self._unblock(class_id, rows)
        ledger.freed_rows.clear()

    def _unblock(self, class_id: int, rows: Int64Array | None) -> None:
        waiting = self._first_valid(class_id)
        if waiting is None:
            return
        self._free_slot(class_id)
        if rows is not None:
            self._woken[class_id] = rows
        self._make_ready(class_id, waiting)

    def is_blocked(self, class_id: int) -> bool:
        """Whether the class has been refused and nothing has been freed for it since."""
        return class_id in self._slot_of

    def workloads(self) -> Iterator[Workload]:
        """All queued workloads, by class and within it in queue order."""
        for waiting in self._waiting.values():
            for _, _, workload in sorted(waiting, key=lambda entry: entry[:2]):
                if workload.state is State.QUEUED:
                    yield workload

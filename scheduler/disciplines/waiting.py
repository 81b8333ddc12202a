"""The queue of the disciplines that look at one workload after the other, whatever it asks for."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from scheduler.ledger import Ledger
from scheduler.queue import QueueKey
from scheduler.request_classes import RequestClass
from scheduler.workload import Workload

_Entry = tuple[int, int, Workload]


class WaitingList:
    """Queued workloads in the order of their keys. The copies of a gang stand together."""

    def __init__(self, dimension_count: int, key: QueueKey) -> None:
        self.entries: list[_Entry] = []
        """The two numbers of the key and the workload, in queue order. For reading only."""
        self.classes: dict[int, RequestClass] = {}
        """The classes of what waits, by id. For reading only."""
        self._counts: dict[int, int] = {}
        self._key = key
        self._dimension_count = dimension_count
        self._has_changed = False

    def push(self, workload: Workload, request_class: RequestClass) -> None:
        """Add a queued workload."""
        first, second = self._key(workload)
        insort(self.entries, (first, second, workload), key=_place)
        request_class.queued += 1
        self.classes[request_class.class_id] = request_class
        self._counts[request_class.class_id] = self._counts.get(request_class.class_id, 0) + 1
        self._has_changed = True

    def drop(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue: those behind it may go on."""
        self.take(workload)
        self._has_changed = True

    def take(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue because it has been placed."""
        del self.entries[bisect_left(self.entries, self._key(workload), key=_place)]
        class_id = workload.class_id
        self.classes[class_id].queued -= 1
        self._counts[class_id] -= 1
        if not self._counts[class_id]:
            del self.classes[class_id], self._counts[class_id]

    @property
    def class_count(self) -> int:
        """How many classes have waiting workloads."""
        return len(self.classes)

    @property
    def entry_count(self) -> int:
        """How many entries there are."""
        return len(self.entries)

    def demand(self) -> list[int]:
        """What all queued workloads ask for together, by dimension."""
        total = [0] * self._dimension_count
        for class_id, count in self._counts.items():
            for dimension, amount in enumerate(self.classes[class_id].request):
                total[dimension] += count * amount
        return total

    def workloads(self) -> Iterator[Workload]:
        """All queued workloads in queue order."""
        return (workload for _, _, workload in self.entries)

    def unit_at(self, position: int) -> list[Workload]:
        """The workload at a position, or all copies of its gang from there on: what is placed together."""
        workload = self.entries[position][2]
        if not workload.spec.gang:
            return [workload]
        end = position + self._counts[workload.class_id]
        return [entry[2] for entry in self.entries[position:end]]

    def begin_pass(self, ledger: Ledger) -> bool:
        """Whether anything has changed since the last pass that could let a workload start; from now on nothing has."""
        freed, changed = ledger.take_note(), self._has_changed
        self._has_changed = False
        return (freed or changed) and bool(self.entries)

    def settle(self, ledger: Ledger) -> None:
        """Everything that waits has been refused."""
        self.begin_pass(ledger)


def _place(entry: _Entry) -> tuple[int, int]:
    return entry[:2]

"""Disciplines in which nobody stands in the way of anybody: what fits may start, the first in order first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scheduler.disciplines.base import Discipline
from scheduler.expected_ends import NEVER_NS, estimate_of
from scheduler.ports import Dimension
from scheduler.queue import PendingQueue, QueueKey
from scheduler.workload import Workload, by_priority

if TYPE_CHECKING:
    from scheduler.placing import Placer

_AGING_MAX_NS = 1 << 40
_RANK_MAX = (1 << 62) - 1


class SkippingDiscipline(Discipline):
    """Works through the queue by request class; see `scheduler.queue`. A gang is a class of its own."""

    queue: PendingQueue

    def __init__(self, dimensions: Sequence[Dimension], key: QueueKey) -> None:
        self.queue = PendingQueue(len(dimensions), key)

    def run(self, placer: Placer) -> None:
        """Hand out classes until every one with waiting workloads has been refused."""
        queue, ledger = self.queue, placer.state.ledger
        while queue.begin_pass(ledger):
            self._work_off(placer)

    def _work_off(self, placer: Placer) -> None:
        queue, try_place = self.queue, placer.try_place
        while (ready := queue.next_class()) is not None:
            request_class, workload, rows = ready
            if request_class.gang:
                gang = queue.members(request_class)
                if placer.try_place_unit(gang):
                    queue.take(request_class, len(gang))
                    continue
            elif try_place(workload, request_class, rows):
                queue.take(request_class)
                continue
            queue.block(request_class)


class PriorityDiscipline(SkippingDiscipline):
    """Higher priority first, then earlier submission.

    With ``aging_s`` a workload gains one step of priority for every so many seconds since its submission (linear
    aging, Kleinrock, Queueing Systems II, 1976, section 3.7: "delay-dependent priorities" of equal slope). The order of
    two workloads then never changes while they wait: each stands where it would if it had been submitted ``aging_s``
    earlier for every step of priority.
    """

    name = "priority"

    def __init__(self, dimensions: Sequence[Dimension], aging_s: float = 0) -> None:
        aging_ns = round(aging_s * 1e9)
        if not 0 <= aging_ns <= _AGING_MAX_NS:
            raise ValueError(f"aging_s: {aging_s} must be from 0 (none) to {_AGING_MAX_NS / 1e9:.0f} seconds a step")

        def by_age(workload: Workload) -> tuple[int, int]:
            rank = workload.submitted_ns - workload.spec.priority * aging_ns
            return max(-_RANK_MAX, min(rank, _RANK_MAX)), workload.sequence

        super().__init__(dimensions, by_age if aging_ns else by_priority)


class ShortestFirst(SkippingDiscipline):
    """Shortest job first: the lowest estimate first, then earlier submission. What has no estimate comes last.

    Optimal for the mean waiting time on one machine where estimates are exact (Smith, Naval Research Logistics
    Quarterly 3, 1956). Long work may starve.
    """

    name = "sjf"

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        super().__init__(dimensions, by_estimate)


class EarliestDeadlineFirst(SkippingDiscipline):
    """The earliest ``deadline_ns`` first, then earlier submission (Liu and Layland, JACM 20, 1973). What has none comes
    last. A deadline that has passed changes nothing.
    """

    name = "edf"

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        super().__init__(dimensions, by_deadline)


def by_estimate(workload: Workload) -> tuple[int, int]:
    """The lowest estimate first, then earlier submission."""
    return estimate_of(workload), workload.sequence


def by_deadline(workload: Workload) -> tuple[int, int]:
    """The earliest deadline first, then earlier submission."""
    deadline_ns = workload.spec.deadline_ns
    return NEVER_NS if deadline_ns is None else min(deadline_ns, NEVER_NS), workload.sequence

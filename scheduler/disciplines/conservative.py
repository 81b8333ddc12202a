"""Conservative backfilling: everybody who waits has a reservation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scheduler.disciplines.base import Discipline
from scheduler.disciplines.profile import Profile
from scheduler.disciplines.waiting import WaitingList
from scheduler.expected_ends import estimate_of
from scheduler.ports import Dimension
from scheduler.workload import Workload, by_priority

if TYPE_CHECKING:
    from scheduler.placing import Placer
    from scheduler.state import CoreState


class ConservativeBackfilling(Discipline):
    """Conservative backfilling (Feitelson and Weil, Utilization and predictability in scheduling the IBM SP2, IPPS'98).

    In the order of the queue, by priority and then submission, each workload gets a reservation at the earliest instant
    at which it fits for as long as its estimate says, beside everything that runs and all reservations before its own.
    Those whose reservation is now start. Behind the first ``depth`` (0: all) nobody gets a reservation, and what fits
    beside the others may start. The plan is made anew in each pass, so an early end can move a reservation to either
    side; there is no promise.

    Expected ends are as in EASY; what has no estimate is planned as if it ran for ever. On many nodes a reservation is
    on the lowest row of those that are first; a start is where the policy puts it. Reservations look at quantities,
    pool, state of the node and avoided rows; what plugins ask is seen when a workload starts.
    """

    name = "conservative"
    uses_ends = True
    queue: WaitingList

    def __init__(self, dimensions: Sequence[Dimension], depth: int = 0) -> None:
        if depth < 0:
            raise ValueError(f"depth: {depth} must be at least 0, where 0 means everything that waits")
        self.queue = WaitingList(len(dimensions), by_priority)
        self._depth = depth
        self._profile = Profile(len(dimensions))

    def run(self, placer: Placer) -> None:
        """Plan everything that waits in order, and place what is planned for now."""
        while self.queue.begin_pass(placer.state.ledger):
            self._profile.begin(placer.state)
            position = reservations = 0
            while position < len(self.queue.entries):
                unit = self.queue.unit_at(position)
                reserve = not self._depth or reservations < self._depth
                if self._place_or_reserve(placer, unit, reserve):
                    continue
                reservations += 1
                position += len(unit)
            self._profile.finish()

    def excuse(self, state: CoreState, workload: Workload) -> str:
        """What stands before it may hold it back."""
        return "" if workload is self.queue.entries[0][2] else "what stands before it in the queue"

    def _place_or_reserve(self, placer: Placer, unit: list[Workload], reserve: bool) -> bool:
        profile = self._profile
        request_class, run_ns = placer.class_of(unit[0]), estimate_of(unit[0])
        rows = profile.rows_now(request_class, run_ns)
        if len(rows) and placer.try_place_unit(unit, rows):
            for workload in unit:
                profile.start(workload.row, run_ns, request_class.request)
                self.queue.take(workload)
            return True
        if reserve:
            profile.reserve(request_class, run_ns, len(unit))
        return False

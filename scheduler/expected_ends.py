"""When what is held is expected to be given back, in order: what backfilling looks ahead by."""

from __future__ import annotations

from bisect import bisect_left, insort

from scheduler.lifecycle import State
from scheduler.types import NodeIndex
from scheduler.workload import Workload

NEVER_NS = 1 << 62
"""The expected end of what has no estimate."""
_Entry = tuple[int, int, Workload]


def estimate_of(workload: Workload) -> int:
    """The estimate, or `NEVER_NS` without one."""
    estimate_ns = workload.spec.estimate_ns
    return NEVER_NS if estimate_ns is None else min(estimate_ns, NEVER_NS)


def expected_end_ns(workload: Workload) -> int:
    """The start of the present generation plus the estimate; `NEVER_NS` without one, 0 for what is being stopped.

    It may lie in the past: then the end may come at any moment.
    """
    if workload.state is State.STOPPING:
        return 0
    return min(workload.started_ns + estimate_of(workload), NEVER_NS)


class ExpectedEnds:
    """Everything that is held, by expected end and then by submission. What a user stopped is left out: it does not end
    by itself.
    """

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        """(expected end, sequence, workload), ascending. For reading only."""
        self.changed: dict[NodeIndex, None] = {}
        """Rows on which an expected end came, went or moved since whoever looks at this has cleared it."""
        self._end_of: dict[str, tuple[int, NodeIndex]] = {}

    def note(self, workload: Workload) -> None:
        """Take note of the workload's present state."""
        workload_id = workload.workload_id
        before = self._end_of.pop(workload_id, None)
        if before is not None:
            end_ns, row = before
            self.changed[row] = None
            del self.entries[bisect_left(self.entries, (end_ns, workload.sequence), key=_place)]
        if workload.row >= 0 and workload.state is not State.STOPPED:
            end_ns = expected_end_ns(workload)
            self._end_of[workload_id] = end_ns, workload.row
            self.changed[workload.row] = None
            insort(self.entries, (end_ns, workload.sequence, workload), key=_place)


def _place(entry: _Entry) -> tuple[int, int]:
    return entry[:2]

"""What the core wants to be woken for. Timers are data; the driver only asks for the next instant."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, get_args

import msgspec

DelayKind = Literal["backoff", "gate", "gang", "window", "reservation"]
"""The kinds whose delays differ."""
TimerKind = DelayKind | Literal["start", "stop", "update", "fence"]

_DELAYS = get_args(DelayKind)


class Timer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Due at ``at_ns`` for one generation of a workload; ``sequence`` orders timers of one instant.

    ``kind``: the backoff after a failed start is over, a replaced workload has not become healthy, a gang has not
    been placed, or the engine has not answered a start, a stop, an update, or the stop of a superseded instance. Of a
    gang it is the id of the submission, and ``generation`` is the number of copies; of a maintenance window its id, and
    1 for its end; of a reservation, which ends then, its id.
    """

    at_ns: int
    sequence: int
    kind: TimerKind
    workload_id: str
    generation: int


class Timers:
    """All pending timers. Deadlines all have the same delay, so a queue keeps them in order for nothing."""

    def __init__(self, is_relevant: Callable[[Timer], bool]) -> None:
        """``is_relevant`` tells whether a timer still matters; one that does not is dropped unseen.

        What has ceased to matter must never matter again: when timers are dropped depends on who asks for the next.
        """
        self._is_relevant = is_relevant
        self._delays: list[tuple[int, int, Timer]] = []
        self._deadlines: deque[Timer] = deque()
        self._sequence = 0
        self.bound_ns: float = math.inf
        """Nothing that matters is due before this. Cheaper than `next_ns`, and never later."""

    def add_delay(self, kind: DelayKind, at_ns: int, workload_id: str, generation: int) -> int:
        """Wake at any ``at_ns``; return the timer's sequence number."""
        sequence = self._sequence
        self._sequence = sequence + 1
        heapq.heappush(self._delays, (at_ns, sequence, Timer(at_ns, sequence, kind, workload_id, generation)))
        self.bound_ns = min(self.bound_ns, at_ns)
        return sequence

    def add_deadline(
        self, kind: Literal["start", "stop", "update", "fence"], at_ns: int, workload_id: str, generation: int
    ) -> int:
        """Wake at ``at_ns`` unless the engine has answered by then; return the timer's sequence number.

        ``at_ns`` must not decrease between calls.
        """
        sequence = self._sequence
        self._sequence = sequence + 1
        deadlines = self._deadlines
        while deadlines and not self._is_relevant(deadlines[0]):
            deadlines.popleft()
        deadlines.append(Timer(at_ns, sequence, kind, workload_id, generation))
        if at_ns < self.bound_ns:
            self.bound_ns = at_ns
        return sequence

    def add_deadlines(self, kind: Literal["start"], at_ns: int, workload_ids: Sequence[str], generation: int) -> int:
        """`add_deadline` for many workloads in a row; return the sequence number of the first."""
        first = self._sequence
        if not workload_ids:
            return first
        self.add_deadline(kind, at_ns, workload_ids[0], generation)
        self._deadlines.extend(
            Timer(at_ns, sequence, kind, workload_id, generation)
            for sequence, workload_id in enumerate(workload_ids[1:], start=first + 1)
        )
        self._sequence = first + len(workload_ids)
        return first

    def next_ns(self) -> int | None:
        """The instant of the first timer that still matters, or None."""
        deadlines, delays = self._deadlines, self._delays
        while deadlines and not self._is_relevant(deadlines[0]):
            deadlines.popleft()
        while delays and not self._is_relevant(delays[0][2]):
            heapq.heappop(delays)
        first = [*(timer.at_ns for timer in islice(deadlines, 1)), *(at_ns for at_ns, _, _ in delays[:1])]
        self.bound_ns = min(first, default=math.inf)
        return min(first, default=None)

    def pop_due(self, at_ns: int) -> Iterator[Timer]:
        """Take out every timer that is due, and yield those that matter, in order of instant and then of creation.

        Whether one matters is asked when its turn comes: what was done about those before may have settled it.
        """
        due: list[Timer] = []
        while self._deadlines and self._deadlines[0].at_ns <= at_ns:
            due.append(self._deadlines.popleft())
        while self._delays and self._delays[0][0] <= at_ns:
            due.append(heapq.heappop(self._delays)[2])
        due.sort(key=lambda timer: (timer.at_ns, timer.sequence))
        self.next_ns()
        return filter(self._is_relevant, due)

    def dump(self) -> tuple[int, list[Timer]]:
        """For a snapshot: the sequence number and all timers that still matter, in order."""
        timers = [*self._deadlines, *(timer for _, _, timer in self._delays)]
        timers.sort(key=lambda timer: (timer.at_ns, timer.sequence))
        return self._sequence, [timer for timer in timers if self._is_relevant(timer)]

    def load(self, sequence: int, timers: list[Timer]) -> None:
        """Restore what `dump` returned."""
        self._sequence = sequence
        self._deadlines = deque(timer for timer in timers if timer.kind not in _DELAYS)
        self._delays = [(timer.at_ns, timer.sequence, timer) for timer in timers if timer.kind in _DELAYS]
        heapq.heapify(self._delays)
        self.next_ns()

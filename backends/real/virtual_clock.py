"""A clock that moves when it is told to: everything of one instant happens, then the next instant comes."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable


class _Arranged:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """See `backends.real.clock.Clock`. Calls of one instant are made in the order in which they were arranged."""

    def __init__(self, at_ns: int = 0) -> None:
        self._at_ns = at_ns
        self._sequence = 0
        self._arranged: list[tuple[int, int, _Arranged]] = []

    def now_ns(self) -> int:
        """The instant that it is."""
        return self._at_ns

    def call_at(self, at_ns: int, callback: Callable[[], object]) -> _Arranged:
        """See `Clock.call_at`; what is past happens at the present instant, when it is told to go on."""
        arranged = _Arranged(callback)
        heapq.heappush(self._arranged, (max(at_ns, self._at_ns), self._sequence, arranged))
        self._sequence += 1
        return arranged

    @property
    def next_ns(self) -> int | None:
        """The instant of the next call, None where nothing is arranged."""
        while self._arranged and self._arranged[0][2].callback is None:
            heapq.heappop(self._arranged)
        return self._arranged[0][0] if self._arranged else None

    def advance(self) -> None:
        """Go to the next instant for which something is arranged, and make all calls arranged for it so far."""
        at_ns = self.next_ns
        if at_ns is None:
            return
        self._at_ns = at_ns
        due: list[_Arranged] = []
        while self._arranged and self._arranged[0][0] == at_ns:
            due.append(heapq.heappop(self._arranged)[2])
        for arranged in due:
            if arranged.callback is not None:
                arranged.callback()

    async def run(self, settled: Callable[[], Awaitable[None]], horizon_ns: int | None = None) -> None:
        """Advance until nothing is arranged, or through ``horizon_ns``; after every instant wait for ``settled``."""
        while (at_ns := self.next_ns) is not None and (horizon_ns is None or at_ns <= horizon_ns):
            self.advance()
            await settled()

"""Time for everything that is live. It is handed in, so that the same code runs on a clock that a test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """Something that was arranged for later."""

    def cancel(self) -> None:
        """Have it not happen, if it has not yet."""


class Clock(Protocol):
    """Tells the time, and wakes. Callbacks run in the event loop's thread, in order of instant, then as arranged."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970. May go back, as a host's clock does."""

    def call_at(self, at_ns: int, callback: Callable[[], object]) -> Handle:
        """Arrange a call when ``now_ns`` is at least ``at_ns``; soon, if that is past. Never from within this call."""


class SystemClock:
    """The host's clock. It is waited for in pieces, so that a jump delays or hastens nothing by more than a second."""

    LONGEST_S = 1.0

    def now_ns(self) -> int:
        """Nanoseconds since 1970, as the host has it."""
        return time.time_ns()

    def call_at(self, at_ns: int, callback: Callable[[], object]) -> Handle:
        """See `Clock.call_at`."""
        return _Wait(self, at_ns, callback)


class _Wait:
    """Waits in pieces, so that a change of the host's clock is noticed."""

    def __init__(self, clock: SystemClock, at_ns: int, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._at_ns = at_ns
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        left_s = max(0.0, (self._at_ns - self._clock.now_ns()) / 1e9)
        return self._loop.call_later(min(left_s, self._clock.LONGEST_S), self._fire)

    def _fire(self) -> None:
        if self._clock.now_ns() >= self._at_ns:
            self._callback()
        else:
            self._handle = self._arm()

    def cancel(self) -> None:
        self._handle.cancel()


class MonotonicClock:
    """For durations only: its zero means nothing, and it never goes back or jumps."""

    def now_ns(self) -> int:
        """Nanoseconds since some instant."""
        return time.monotonic_ns()

    def call_at(self, at_ns: int, callback: Callable[[], object]) -> Handle:
        """See `Clock.call_at`."""
        return asyncio.get_running_loop().call_later((at_ns - self.now_ns()) / 1e9, callback)


async def sleep(clock: Clock, delay_ns: int) -> None:
    """Return when so much time has passed on the clock."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    handle = clock.call_at(clock.now_ns() + delay_ns, wake)
    try:
        await woken
    finally:
        handle.cancel()

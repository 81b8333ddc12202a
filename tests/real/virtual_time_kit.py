"""Coroutines on a virtual clock: time passes when a test says so, and all happens in the same order each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from backends.real.virtual_clock import VirtualClock

SECOND_NS = 1_000_000_000


_begun: set[asyncio.Task[Any]] = set()


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have it go on beside the scenario."""
    task = asyncio.create_task(work)
    _begun.add(task)
    return task


async def settle() -> None:
    """Return when nothing can go on without time passing. Not for what waits for sockets or threads."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


async def let_pass(clock: VirtualClock, seconds: float) -> None:
    """Let that much time pass, and everything happen that it brings."""
    await settle()
    end_ns = clock.now_ns() + round(seconds * SECOND_NS)
    clock.call_at(end_ns, lambda: None)
    await clock.run(settle, end_ns)


def virtually(scenario: Callable[[VirtualClock], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario; whatever it left running is cancelled."""

    async def run() -> None:
        await scenario(VirtualClock())

    try:
        asyncio.run(run())
    finally:
        _begun.clear()

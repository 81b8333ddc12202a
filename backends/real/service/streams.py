"""Streams: feeds, which bound what watchers have not read yet, and iterators that are merged, and closed in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

from backends.real.service.errors import CallError, Status

T = TypeVar("T")

_BUFFERED = 64


class Feed(Generic[T]):
    """A queue of at most ``limit`` items between who knows something and one who watches.

    `offer` never waits. A watcher that falls behind by more than the limit is cut: what was queued is dropped, the
    iteration raises RESOURCE_EXHAUSTED, and ``on_cut`` is told, so that a write that waits can be given up.
    """

    def __init__(self, limit: int, on_cut: Callable[[CallError], None] | None = None) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._on_cut = on_cut
        self._changed = asyncio.Event()
        self._end: CallError | None = None
        self._is_closed = False

    def offer(self, item: T) -> bool:
        """Queue an item; False, and nothing else, where the feed has ended."""
        if self._is_closed:
            return False
        if len(self._items) >= self._limit:
            self._items.clear()
            self._end = CallError(Status.RESOURCE_EXHAUSTED, f"the reader fell behind by {self._limit} messages")
            self.close()
            if self._on_cut is not None:
                self._on_cut(self._end)
            return False
        self._items.append(item)
        self._changed.set()
        return True

    def close(self) -> None:
        """End it: the watcher still gets what is queued."""
        self._is_closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield what is offered, in order, until the end. For one reader."""
        while True:
            while self._items:
                yield self._items.popleft()
            if self._end is not None:
                raise self._end
            if self._is_closed:
                return
            self._changed.clear()
            await self._changed.wait()


class closing(Generic[T]):
    """Close an iterator that can be closed, as soon as nobody iterates any more."""

    def __init__(self, iterator: AsyncIterator[T]) -> None:
        self._iterator = iterator

    async def __aenter__(self) -> AsyncIterator[T]:
        return self._iterator

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


async def merged(sources: Iterable[AsyncIterator[T]], at_once: int) -> AsyncGenerator[T, None]:
    """Yield what several sources yield, as it comes, so many of them at a time.

    The first error of one ends them all, and is raised after what was queued. Whoever stops listening stops them.
    """
    queue: asyncio.Queue[T | None] = asyncio.Queue(_BUFFERED)
    waiting = iter(sources)

    async def work() -> None:
        for source in waiting:
            async with closing(source):
                async for item in source:
                    await queue.put(item)

    async def run() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())
        except ExceptionGroup as group_of_one:
            await queue.put(None)
            raise group_of_one.exceptions[0] from None
        await queue.put(None)

    runner = asyncio.create_task(run())
    try:
        while (item := await queue.get()) is not None:
            yield item
        await runner
    finally:
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)

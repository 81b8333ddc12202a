"""The end of the journal, for whoever follows it: read from the store, at the reader's own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from backends.real.stores.base import Store, StoreError
from scheduler.commands import AnyCommand
from scheduler.events import AnyEvent


class OutOfRange(Exception):
    """The journal does not have that batch: it is no longer kept, or far from being written."""


class _Instant(msgspec.Struct):
    at_ns: int


class _Line(msgspec.Struct):
    batch: _Instant


_decode = msgspec.json.Decoder(_Line).decode


def batch_instant(line: bytes) -> int:
    """The instant of a batch, from its line."""
    return _decode(line).batch.at_ns


class Tail:
    """Where the durable journal ends, and its lines. Nothing is kept for a reader, however slow."""

    def __init__(self, store: Store, end: int) -> None:
        self._store = store
        self.end = end
        """How many batches are durable."""
        self._grown = asyncio.Event()
        self._is_closed = False

    def committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """For the driver: one more batch is durable."""
        self.end += 1
        self._wake()

    def close(self) -> None:
        """There will be no more: readers come to their end."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def begin(self) -> int:
        """The first batch that is still kept."""
        first = await self._store.first()
        return self.end if first is None else first

    async def lines(self, first: int, *, follow: bool = False) -> AsyncIterator[bytes]:
        """Yield lines without line break from a batch on, to the end or for ever; `OutOfRange`."""
        if first > self.end:
            raise OutOfRange(f"first_seq: {first}; the journal has {self.end} batches so far")
        while True:
            grown, end = self._grown, self.end
            if first < end:
                try:
                    async for line in self._store.lines(first, end - 1):
                        first += 1
                        yield line
                except StoreError as error:
                    begin = await self.begin()
                    if first >= begin:
                        raise
                    raise OutOfRange(f"batch {first} is no longer kept; the journal begins with {begin}") from error
                if first < end:
                    begin = await self.begin()
                    raise OutOfRange(f"batch {first} is no longer kept; the journal begins with {begin}")
                continue
            if not follow or self._is_closed:
                return
            await grown.wait()

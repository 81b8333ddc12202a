"""Idempotency keys: what was asked under a key, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from hashlib import blake2b

import msgspec

from backends.real.stores.base import Record

KEY_LENGTH_MAX = 200


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was carried out: ``digest`` tells it from others, ``operations`` are those that it began.

    ``number`` counts requests.
    """

    digest: bytes
    operations: tuple[str, ...] = ()
    number: int = 0


class RequestTable:
    """The newest ``kept`` requests with a key. They are stored with the events that they caused."""

    def __init__(self, stored: Mapping[str, bytes], *, kept: int = 10_000) -> None:
        """``stored`` is the table ``requests``."""
        found = {key: msgspec.msgpack.decode(data, type=Asked) for key, data in stored.items()}
        self._asked = OrderedDict(sorted(found.items(), key=lambda item: item[1].number))
        self._number = max((asked.number for asked in found.values()), default=0)
        self._kept = kept
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._asked)

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[Asked | None]:
        """Wait until nobody else asks under this key; give what was asked under it before, None for nothing."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield self._asked.get(key)
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1

    def note(self, key: str, digest: bytes, operations: tuple[str, ...] = ()) -> list[Record]:
        """What is to be stored with the events of a request. `drop` it where these were not applied."""
        self._number += 1
        asked = Asked(digest=digest, operations=operations, number=self._number)
        records = [Record("requests", key, msgspec.msgpack.encode(asked))]
        self._asked[key] = asked
        while len(self._asked) > self._kept:
            oldest, _ = self._asked.popitem(last=False)
            records.append(Record("requests", oldest, None))
        return records

    def drop(self, key: str) -> None:
        """It was not carried out after all."""
        self._asked.pop(key, None)


def digest_of(method: str, request: bytes) -> bytes:
    """Tells requests apart."""
    return blake2b(method.encode() + b"\0" + request, digest_size=16).digest()

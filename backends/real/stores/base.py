"""The port of a store: the journal of a live core, its snapshots, and what the edge has to remember.

One writer at a time: `open` takes a lock, or fails. Everything that is written is durable when `commit` returns, all of
it or nothing. `StoreError` means that nothing more may be done with the store: whoever writes must stop, start anew,
and go on from what is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from scheduler.journal import WriterState


class StoreError(Exception):
    """The store cannot be read or written. The message is one line and names file and remedy."""


class Written(NamedTuple):
    """A batch of the journal as a line of it (without line break), with the writer's place after it."""

    seq: int
    at_ns: int
    line: bytes


class Record(NamedTuple):
    """Something that the edge remembers: ``data`` under ``key`` in a ``table``; None deletes.

    Tables: ``templates`` and ``template_ages`` by digest, ``nodes`` by node id, ``pools`` by name, ``tombstones`` by
    workload id, ``requests`` by idempotency key, ``operations`` by id, ``results`` by operation and part, ``settings``
    by name.
    """

    table: str
    key: str
    data: bytes | None


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: the core as `scheduler.snapshot.dump` has it, and where the journal's writer was then."""

    writer: WriterState
    core: bytes


class Store(Protocol):
    """One core's store. Coroutines may be called concurrently; writes take effect in the order of the calls."""

    async def open(self) -> None:
        """Take the lock and bring the schema up to date; `StoreError` says who holds it, or what is wrong."""

    async def header(self) -> bytes | None:
        """The journal's first line, without line break; None in a new store."""

    async def begin(self, header: bytes) -> None:
        """Write the first line of a new store's journal."""

    async def snapshot(self) -> Saved | None:
        """The newest snapshot."""

    def lines(self, first_seq: int, last_seq: int | None = None) -> AsyncIterator[bytes]:
        """Yield batches as lines without line break, from one number through another or to the end."""

    async def first(self) -> int | None:
        """The number of the first batch that is kept; None where there is none."""

    async def commit(self, written: Sequence[Written], records: Sequence[Record] = ()) -> None:
        """Append batches and write records, durably."""

    async def save(self, snapshot: Saved) -> None:
        """Keep a snapshot, in place of the one before."""

    async def prune(self, before_seq: int, before_ns: int) -> int:
        """Forget batches that are older than both, and than the snapshot; return how many."""

    async def load(self, table: str) -> dict[str, bytes]:
        """Everything in a table, ordered by key."""

    async def keys(self, table: str) -> list[str]:
        """The keys in a table, in order."""

    async def get(self, table: str, key: str) -> bytes | None:
        """One record."""

    async def backup(self, path: str) -> None:
        """Write a consistent copy of all of it to a new file; `StoreError` where there is one already."""

    async def close(self) -> None:
        """Let go of the lock."""

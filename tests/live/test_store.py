"""What every store must do; today there is one."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from backends.real.stores.base import Record, Saved, StoreError, Written
from backends.real.stores.sqlite import FILE_NAME, MIGRATIONS, SqliteStore
from scheduler.journal import WriterState

Scenario = Callable[[SqliteStore], Awaitable[None]]


def batch(seq: int, at_ns: int = 0) -> Written:
    return Written(seq, at_ns or seq, b"line %d" % seq)


def writer(batches: int) -> WriterState:
    return WriterState(header=b"h", chain=b"c", decisions=b"d", batches=batches)


def in_store(directory: Path, scenario: Scenario) -> None:
    async def run() -> None:
        store = SqliteStore(directory)
        await store.open()
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


async def lines(store: SqliteStore, first: int = 0, last: int | None = None) -> list[bytes]:
    return [line async for line in store.lines(first, last)]


def test_what_is_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    async def write(store: SqliteStore) -> None:
        assert await store.header() is None
        assert await store.snapshot() is None
        await store.begin(b"header")
        await store.commit([batch(0), batch(1)], [Record("pools", "b", b"2"), Record("pools", "a", b"1")])
        await store.commit([batch(2)], [Record("pools", "b", None), Record("nodes", "a", b"n")])
        await store.save(Saved(writer=writer(2), core=b"core"))

    async def read(store: SqliteStore) -> None:
        assert await store.header() == b"header"
        assert await lines(store) == [b"line 0", b"line 1", b"line 2"]
        assert await lines(store, 1, 1) == [b"line 1"]
        assert await store.load("pools") == {"a": b"1"}
        assert (await store.get("nodes", "a"), await store.get("nodes", "b")) == (b"n", None)
        assert await store.snapshot() == Saved(writer=writer(2), core=b"core")

    in_store(tmp_path, write)
    in_store(tmp_path, read)


def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(0)])
        with pytest.raises(StoreError, match=r"eru\.db"):
            await store.commit([batch(1), batch(0)], [Record("pools", "a", b"1")])
        assert await lines(store) == [b"line 0"]
        assert await store.load("pools") == {}

    in_store(tmp_path, scenario)


def test_pages_do_not_show(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(seq) for seq in range(1501)])
        assert len(await lines(store)) == 1501
        assert len(await lines(store, 1000)) == 501
        assert await lines(store, 1501) == []

    in_store(tmp_path, scenario)


def test_batches_older_than_snapshot_and_retention_go_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(seq, 10 * seq + 1) for seq in range(10)])
        assert await store.prune(10, 1000) == 0
        await store.save(Saved(writer=writer(6), core=b""))
        assert await store.prune(10, 31) == 3
        assert await store.prune(10, 1000) == 3
        assert await lines(store, 6) == [b"line %d" % seq for seq in range(6, 10)]
        with pytest.raises(StoreError, match="batch 0 of the journal is missing"):
            await lines(store)

    in_store(tmp_path, scenario)


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(0)])
        for name in os.listdir(store.path.parent):
            if name.startswith(FILE_NAME):
                assert stat.S_IMODE((store.path.parent / name).stat().st_mode) == 0o600, name
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700

    in_store(tmp_path / "data", scenario)


def test_a_backup_is_a_store(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.begin(b"header")
        await store.commit([batch(0)], [Record("pools", "a", b"1")])
        (tmp_path / "copy").mkdir()
        await store.backup(str(tmp_path / "copy" / FILE_NAME))
        await store.commit([batch(1)])
        with pytest.raises(StoreError, match="exists already"):
            await store.backup(str(tmp_path / "copy" / FILE_NAME))

    async def read(store: SqliteStore) -> None:
        assert await lines(store) == [b"line 0"]
        assert await store.load("pools") == {"a": b"1"}

    in_store(tmp_path / "data", scenario)
    in_store(tmp_path / "copy", read)


def test_an_older_schema_is_brought_up_to_date_after_a_backup(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(0)])

    in_store(tmp_path, scenario)
    newer = (*MIGRATIONS, "ALTER TABLE batches ADD COLUMN note TEXT NOT NULL DEFAULT 'old'")

    async def run() -> None:
        store = SqliteStore(tmp_path, migrations=newer)
        await store.open()
        assert await lines(store) == [b"line 0"]
        await store.close()
        assert (tmp_path / f"{FILE_NAME}.v1").exists()
        with pytest.raises(StoreError, match=r"schema version 2; this build knows 1"):
            await SqliteStore(tmp_path).open()

    asyncio.run(run())


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.commit([batch(0)])

    in_store(tmp_path, scenario)
    broken = (*MIGRATIONS, "ALTER TABLE batches ADD COLUMN note TEXT; ALTER TABLE nothing ADD COLUMN x TEXT")

    async def run() -> None:
        with pytest.raises(StoreError, match="nothing"):
            await SqliteStore(tmp_path, migrations=broken).open()

    asyncio.run(run())

    async def read(store: SqliteStore) -> None:
        assert await lines(store) == [b"line 0"]
        await store.commit([batch(1)])

    in_store(tmp_path, read)


def test_what_is_no_store_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else entirely, and long enough to be looked at" * 30)

    async def run() -> None:
        with pytest.raises(StoreError, match="not a database") as caught:
            await SqliteStore(tmp_path).open()
        assert "\n" not in str(caught.value)

    asyncio.run(run())

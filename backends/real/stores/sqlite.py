"""The embedded store: one SQLite file in write-ahead mode, synchronised at every commit."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

import msgspec

from backends.real.stores.base import Record, Saved, StoreError, Written

FILE_NAME = "eru.db"
LOCK_NAME = "eru.lock"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE journal_header (id INTEGER PRIMARY KEY CHECK (id = 0), line BLOB NOT NULL);
    CREATE TABLE batches (seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, line BLOB NOT NULL);
    CREATE TABLE snapshots (id INTEGER PRIMARY KEY CHECK (id = 0), batches INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE records (kind TEXT NOT NULL, key TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, key))
      WITHOUT ROWID;
    """,
)
"""Script n brings a store of version n to version n + 1; the version is SQLite's ``user_version``."""

_PAGE = 500
_P = ParamSpec("_P")
_T = TypeVar("_T")


class SqliteStore:
    """A store in a directory. All access to the file is in one thread of its own.

    ``read_only`` takes no lock and changes nothing: to look at a store that is in use.
    """

    def __init__(
        self, directory: str | Path, *, migrations: Sequence[str] = MIGRATIONS, read_only: bool = False
    ) -> None:
        self.path = Path(directory) / FILE_NAME
        self._lock_path = Path(directory) / LOCK_NAME
        self._migrations = migrations
        self._read_only = read_only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._lock: IO[str] | None = None
        self._database: sqlite3.Connection | None = None

    async def open(self) -> None:
        """See `Store.open`. The directory is made, readable by its owner alone."""
        await self._call(self._open)

    async def header(self) -> bytes | None:
        """See `Store.header`."""
        return await self._one("SELECT line FROM journal_header")

    async def begin(self, header: bytes) -> None:
        """See `Store.begin`."""
        await self._call(self._write, [("INSERT INTO journal_header VALUES (0, ?)", [(header,)])])

    async def snapshot(self) -> Saved | None:
        """See `Store.snapshot`."""
        data = await self._one("SELECT data FROM snapshots")
        if data is None:
            return None
        try:
            return msgspec.msgpack.decode(data, type=Saved)
        except msgspec.DecodeError as error:
            raise StoreError(f"{self.path}: the snapshot cannot be read ({error}); restore a backup") from None

    async def lines(self, first_seq: int, last_seq: int | None = None) -> AsyncIterator[bytes]:
        """See `Store.lines`. Read in pages, so that it may be slow."""
        last = last_seq if last_seq is not None else (1 << 62)
        while True:
            page = await self._call(
                self._all,
                "SELECT seq, line FROM batches WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
                (first_seq, last, _PAGE),
            )
            for seq, line in page:
                if seq != first_seq:
                    raise StoreError(f"{self.path}: batch {first_seq} of the journal is missing; restore a backup")
                first_seq += 1
                yield line
            if len(page) < _PAGE:
                return

    async def first(self) -> int | None:
        """See `Store.first`."""
        rows = await self._call(self._all, "SELECT min(seq) FROM batches", ())
        first: int | None = rows[0][0]
        return first

    async def commit(self, written: Sequence[Written], records: Sequence[Record] = ()) -> None:
        """See `Store.commit`. One transaction, one synchronisation of the disk."""
        statements: list[tuple[str, Sequence[tuple[object, ...]]]] = []
        if written:
            statements.append(("INSERT INTO batches VALUES (?, ?, ?)", written))
        for is_gone, group in groupby(records, key=lambda record: record.data is None):
            if is_gone:
                rows = [(table, key) for table, key, _ in group]
                statements.append(("DELETE FROM records WHERE kind = ? AND key = ?", rows))
            else:
                statements.append(("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", list(group)))
        await self._call(self._write, statements)

    async def save(self, snapshot: Saved) -> None:
        """See `Store.save`."""
        row = (snapshot.writer.batches, msgspec.msgpack.encode(snapshot))
        await self._call(self._write, [("INSERT OR REPLACE INTO snapshots VALUES (0, ?, ?)", [row])])

    async def prune(self, before_seq: int, before_ns: int) -> int:
        """See `Store.prune`. The space is used again, and given back to the file system a little at a time."""
        return await self._call(self._prune, before_seq, before_ns)

    async def load(self, table: str) -> dict[str, bytes]:
        """See `Store.load`."""
        return dict(await self._call(self._all, "SELECT key, data FROM records WHERE kind = ? ORDER BY key", (table,)))

    async def keys(self, table: str) -> list[str]:
        """See `Store.keys`."""
        rows = await self._call(self._all, "SELECT key FROM records WHERE kind = ? ORDER BY key", (table,))
        return [key for (key,) in rows]

    async def get(self, table: str, key: str) -> bytes | None:
        """See `Store.get`."""
        return await self._one("SELECT data FROM records WHERE kind = ? AND key = ?", (table, key))

    async def backup(self, path: str) -> None:
        """See `Store.backup`."""
        await self._call(self._backup, Path(path))

    async def problems(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        rows = await self._call(self._all, "PRAGMA integrity_check", ())
        return [str(row[0]) for row in rows if row[0] != "ok"]

    async def close(self) -> None:
        """See `Store.close`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    # -- in the thread ------------------------------------------------------------------------------------------------

    async def _call(self, function: Callable[_P, _T], *args: _P.args, **_: _P.kwargs) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {error}") from error

    async def _one(self, query: str, arguments: tuple[object, ...] = ()) -> bytes | None:
        rows = await self._call(self._all, query, arguments)
        data: bytes | None = rows[0][0] if rows else None
        return data

    def _open(self) -> None:
        if self._read_only:
            self._open_to_read()
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._lock_path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read(100).strip() or "another process"
            lock.close()
            raise StoreError(f"{self.path}: in use by {holder}; stop that one first") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        self._lock = lock
        try:
            self._open_database()
        except BaseException:
            self._close()
            raise

    def _open_to_read(self) -> None:
        if not self.path.is_file():
            raise StoreError(f"{self.path}: there is no store; check the directory")
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        self._database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version != len(self._migrations):
            self._close()
            raise StoreError(f"{self.path}: schema version {version}; this build reads {len(self._migrations)}")

    def _open_database(self) -> None:
        is_new = not self.path.exists()
        self._database = database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        if is_new:
            self.path.chmod(0o600)
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        self._migrate(database)

    def _migrate(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        newest = len(self._migrations)
        if version > newest:
            raise StoreError(f"{self.path}: schema version {version}; this build knows {newest}: use a newer eru")
        copy = self.path.with_name(f"{FILE_NAME}.v{version}")
        if 0 < version < newest and not copy.exists():
            self._backup(copy)
        for number in range(version, newest):
            script = f"BEGIN IMMEDIATE; {self._migrations[number]}; PRAGMA user_version = {number + 1}; COMMIT;"
            database.executescript(script)

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"{self.path}: the store is not open")
        return self._database

    def _all(self, query: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return self._connection().execute(query, arguments).fetchall()

    def _write(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        database = self._connection()
        database.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in statements:
                database.executemany(statement, rows)
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise

    def _prune(self, before_seq: int, before_ns: int) -> int:
        database = self._connection()
        (kept,) = database.execute("SELECT coalesce(max(batches), 0) FROM snapshots").fetchone()
        last = min(before_seq, kept)
        database.execute("BEGIN IMMEDIATE")
        # The instants of batches never decrease, so the first one to stay decides.
        cursor = database.execute("DELETE FROM batches WHERE seq < ? AND at_ns < ?", (last, before_ns))
        database.execute("COMMIT")
        database.execute("PRAGMA incremental_vacuum")
        return cursor.rowcount

    def _backup(self, path: Path) -> None:
        if path.exists():
            raise StoreError(f"{path}: exists already; name a new file")
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        copy = sqlite3.connect(part)
        try:
            self._connection().backup(copy)
        finally:
            copy.close()
        part.replace(path)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

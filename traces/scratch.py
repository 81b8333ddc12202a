"""A DuckDB database in a temporary directory: where traces too large for memory are sorted and aggregated."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from traces.source import Progress
from traces.tabular import Block, Column, fail, read_blocks, require_order

MEMORY_LIMIT = "512MB"
LOADING_SHARE = 0.6
"""How much of a pass the loading is taken for in progress reports; aggregation is the rest."""


class ScratchDatabase:
    """A private database that spills to disk; its files are gone when the object is collected or the process ends."""

    def __init__(self) -> None:
        import duckdb

        directory = tempfile.mkdtemp(prefix="eru-traces-")
        self._connection: Any = duckdb.connect(f"{directory}/trace.duckdb")
        weakref.finalize(self, _discard, self._connection, directory)
        self.execute(f"SET memory_limit='{MEMORY_LIMIT}'")
        quoted = directory.replace("'", "''")
        self.execute(f"SET temp_directory='{quoted}'")
        self.execute("SET threads=2")
        self.execute("SET preserve_insertion_order=false")

    def execute(self, sql: str, *parameters: Any) -> None:
        """Run a statement for its effect."""
        self._connection.execute(sql, parameters or None)

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        """Return the first row of a query that has one."""
        found: tuple[Any, ...] = self._connection.cursor().execute(sql, parameters or None).fetchone()
        return found

    def value(self, sql: str, *parameters: Any) -> Any:
        """Return the first cell of the first row."""
        return self.row(sql, *parameters)[0]

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a small result."""
        found: list[tuple[Any, ...]] = self._connection.cursor().execute(sql, parameters or None).fetchall()
        return found

    def chunks(self, sql: str, size: int, *parameters: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query in lists of at most ``size``; several may be read side by side."""
        cursor = self._connection.cursor().execute(sql, parameters or None)
        while chunk := cursor.fetchmany(size):
            yield chunk

    def stream(self, sql: str, size: int, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query one by one."""
        for chunk in self.chunks(sql, size, *parameters):
            yield from chunk

    def append(self, table: str, arrow_table: Any) -> None:
        """Append a pyarrow Table to a database table, which is created when it does not exist."""
        self._connection.register("appended", arrow_table)
        known = self.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", table)
        verb = f"INSERT INTO {table}" if known else f"CREATE TABLE {table} AS"
        self._connection.execute(f"{verb} SELECT * FROM appended")
        self._connection.unregister("appended")


def _discard(connection: Any, directory: str) -> None:
    connection.close()
    shutil.rmtree(directory, ignore_errors=True)


def read_into(
    database: ScratchDatabase,
    table: str,
    files: Sequence[Path],
    columns: Sequence[Column],
    total_bytes: int,
    progress: Progress | None,
) -> None:
    """Load headerless files into ``table`` with a leading column ``seq`` that numbers the rows over all files.

    The first column is a time that must not go back, from row to row and file to file. ``progress`` is called with
    the share of ``total_bytes`` consumed. Raises TraceError for the first bad cell and for a file without rows.
    """
    seq = 0
    done_bytes = 0
    last = 0
    for file in files:
        first_seq = seq
        for block in read_blocks(file, columns):
            last = require_order(block, columns[0].name, last)
            database.append(table, _numbered(block, seq))
            seq += block.table.num_rows
            if progress is not None:
                progress(LOADING_SHARE * min(1.0, (done_bytes + block.read_bytes) / total_bytes))
        if seq == first_seq:
            fail(file, None, None, "has no rows; fetch it again")
        done_bytes += file.stat().st_size


def _numbered(block: Block, first_seq: int) -> Any:
    import pyarrow as pa

    numbers = pa.array(range(first_seq, first_seq + block.table.num_rows), pa.int64())
    return block.table.add_column(0, "seq", numbers)

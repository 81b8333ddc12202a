"""Checked reading of delimited text: every reader's files come through here, so bad input is reported in one way.

A file is read in blocks of a few megabytes. Each block is parsed and checked by pyarrow; when that fails, the block
is walked line by line in Python to find the first bad cell, and the error names file, row (the 1-based line of the
file), field, value and remedy. Plain and gzip-compressed files are told apart by their first bytes. A member of a zip
archive is a file too; its path is that of the archive, then the member's name.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import msgspec

from traces.schema import TraceError

BLOCK_BYTES = 4 << 20
INT64_MAX = 2**63 - 1
_SHOWN_CHARS = 60
_WHOLE = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What a column must hold.

    ``integer`` is a whole number; ``quantity`` is decimal text that becomes an integer of base units, ``scale`` per
    1.0, rounded half to even, or refused with ``exact`` where it is not whole; ``text`` is kept. A ``nullable`` cell
    may be empty. ``minimum`` and ``maximum`` bound the number as written. ``choices`` lists the only texts allowed.
    """

    name: str
    kind: Literal["integer", "quantity", "text"] = "text"
    nullable: bool = False
    minimum: int | None = None
    maximum: int | None = None
    scale: int = 1
    exact: bool = False
    choices: tuple[str, ...] = ()


class Block(msgspec.Struct, frozen=True):
    """Consecutive rows of one file. ``table`` is a pyarrow Table with one column per Column, in that order."""

    path: Path
    first_row: int
    table: Any
    read_bytes: int

    def column(self, name: str) -> Any:
        """Return a column as a NumPy array; only for columns without nulls."""
        return self.table.column(name).to_numpy()

    def values(self, name: str) -> list[Any]:
        """Return a column as Python values, None for an empty cell."""
        values: list[Any] = self.table.column(name).to_pylist()
        return values


def fail(path: Path, row: int | None, field: str | None, problem: str) -> NoReturn:
    """Raise the TraceError for ``problem`` (which says what was found and what to do) at a place in a file."""
    place = str(path) if row is None else f"{path}: row {row}"
    raise TraceError(f"{place}: {problem}" if field is None else f"{place}: field {field}: {problem}")


def shown(value: object) -> str:
    """Return ``value`` quoted for a one-line message, cut when long."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "...")


def find_files(path: str, patterns: Sequence[str], *, what: str) -> list[Path]:
    """Return the files of a trace directory that match the first pattern with any match, sorted by path.

    A pattern matches with and without ``.gz``; where a file is there both ways the plain one is taken. Raises
    TraceError when the directory does not exist or holds none of them.
    """
    root = Path(path).expanduser()
    if not root.exists():
        fail(root, None, None, f"no such file or directory; give the directory that holds {what}")
    if not root.is_dir():
        fail(root, None, None, f"is a file where a directory is expected; give the directory that holds {what}")
    for pattern in patterns:
        found = {file.with_name(file.name.removesuffix(".gz")): file for file in sorted(root.glob(pattern + ".gz"))}
        found.update({file: file for file in sorted(root.glob(pattern))})
        if found:
            return [found[key] for key in sorted(found)]
    fail(root, None, None, f"holds no {what}; expected {' or '.join(f'{pattern}[.gz]' for pattern in patterns)}")


def require_file(path: str, *, what: str) -> Path:
    """Return ``path`` when it is a file; raises TraceError for a missing path or a directory."""
    file = Path(path).expanduser()
    if not file.exists():
        fail(file, None, None, f"no such file; give the path of {what}")
    if file.is_dir():
        fail(file, None, None, f"is a directory where a file is expected; give the path of {what}")
    return file


def archive_members(archive: Path) -> list[Path]:
    """Return the files in a zip archive, as paths below that of the archive, in order of their names.

    Hidden files are left out. Raises TraceError for an archive that cannot be read.
    """
    require_file(str(archive), what="a zip archive")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [archive / info.filename for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        fail(archive, None, None, f"is not a sound zip archive ({error}); fetch it again")
    return sorted(member for member in members if not member.name.startswith("."))


def _open_member(archive: Path, path: Path) -> IO[bytes]:
    try:
        with zipfile.ZipFile(archive) as opened:
            name = path.relative_to(archive).as_posix()
            if opened.getinfo(name).file_size == 0:
                fail(path, None, None, "is empty; fetch it again")
            return opened.open(name)
    except KeyError:
        fail(path, None, None, "no such file in the archive; fetch it again")
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        fail(path, None, None, f"cannot be read from the zip archive ({error}); fetch it again")


def open_text(path: Path) -> IO[bytes] | OwningGzip:
    """Open a plain or gzip-compressed file, or a member of a zip archive, for reading bytes.

    Raises TraceError when it cannot be read or is empty.
    """
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is not None:
        return _open_member(archive, path)
    require_file(str(path), what="a trace file")
    try:
        raw = path.open("rb")
    except OSError as error:
        fail(path, None, None, f"cannot be read ({error.strerror}); check its permissions")
    magic = raw.read(2)
    raw.seek(0)
    if not magic:
        raw.close()
        fail(path, None, None, "is empty; fetch it again")
    if magic == b"\x1f\x8b":
        return OwningGzip(raw)
    return raw


class OwningGzip(gzip.GzipFile):
    """A gzip reader that closes the file below it too."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw = raw

    def close(self) -> None:
        """Close the decompressor and the file."""
        super().close()
        self._raw.close()

    def compressed_position(self) -> int:
        """Return how many compressed bytes have been taken so far."""
        return self._raw.tell()


def byte_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield (whole lines, bytes of the file on disk consumed so far).

    The last block ends in a newline even if the file does not. Raises TraceError for an empty file, a truncated or
    corrupt gzip stream.
    """
    with open_text(path) as stream:
        rest = b""
        while True:
            data = _read(stream, path, BLOCK_BYTES)
            position = stream.compressed_position() if isinstance(stream, OwningGzip) else stream.tell()
            if not data:
                break
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut], position
                rest = data[cut:]
            else:
                rest += data
        if rest:
            yield rest + b"\n", position


def _read(stream: IO[bytes] | OwningGzip, path: Path, size: int) -> bytes:
    try:
        return stream.read(size)
    except EOFError:
        fail(path, None, None, "the gzip stream ends early: the file is truncated; fetch it again")
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        what = "gzip file" if isinstance(stream, OwningGzip) else "part of a zip archive"
        fail(path, None, None, f"is not a sound {what} ({error}); fetch it again")
    except OSError as error:
        fail(path, None, None, f"cannot be read ({error.strerror}); check the disk and its permissions")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (row, line without its end) for every line; raises TraceError for bytes that are not UTF-8."""
    row = 0
    for data, _ in byte_blocks(path):
        for raw in data.split(b"\n")[:-1]:
            row += 1
            yield row, decode(raw, path, row)


def decode(raw: bytes, path: Path, row: int) -> str:
    """Return one line as text without a trailing carriage return; raises TraceError when it is not UTF-8."""
    try:
        return raw.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        bad = raw[error.start : error.start + 4]
        fail(path, row, None, f"bytes {bad!r} are not UTF-8 text; convert the file to UTF-8")


def read_header(path: Path) -> list[str]:
    """Return the comma-separated names of a file's first line, stripped of spaces."""
    for _, line in text_lines(path):
        return [name.strip() for name in line.removeprefix("\ufeff").split(",")]
    fail(path, None, None, "is empty; fetch it again")


def columns_by_header(path: Path, known: Sequence[Column], optional: frozenset[str] = frozenset()) -> list[Column]:
    """Return the columns of a file in the order of its header; names that are not ``known`` are read as free text.

    Raises TraceError naming a missing column (unless it is ``optional``) or one that is there twice.
    """
    header = read_header(path)
    by_name = {column.name: column for column in known}
    for name in by_name:
        if name not in header and name not in optional:
            fail(path, 1, name, f"column is missing; the header names {', '.join(header)}")
    for name in header:
        if header.count(name) > 1:
            fail(path, 1, name, "column is there twice; keep one")
    return [by_name.get(name, Column(name=name, nullable=True)) for name in header]


def read_blocks(path: Path, columns: Sequence[Column], *, header: bool = False) -> Iterator[Block]:
    """Yield the rows of a comma-separated file as checked blocks; ``header`` skips the first line.

    Raises TraceError as the module says. A file with a header and no rows yields nothing.
    """
    row = 1
    for data, read_bytes in byte_blocks(path):
        if header and row == 1:
            data = data[data.index(b"\n") + 1 :]
            row = 2
        if not data:
            continue
        rows = data.count(b"\n")
        table = _parse(data, columns)
        if table is None or table.num_rows != rows:
            _locate(data, path, row, columns)
        yield Block(path, row, table, read_bytes)
        row += rows


def require_order(block: Block, name: str, last: int) -> int:
    """Return the last value of a column that must not fall, starting from ``last``; raises TraceError where it does."""
    import numpy as np

    values = block.column(name)
    falls = np.flatnonzero(np.diff(values, prepend=last) < 0)
    if falls.size:
        at = int(falls[0])
        fail(block.path, block.first_row + at, name, f"'{values[at]}' is before the row above; sort the file by time")
    return int(values[-1])


def rows_of(path: Path, columns: Sequence[Column], *, header: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, values by column name) one by one; for small files."""
    for block in read_blocks(path, columns, header=header):
        for offset, values in enumerate(block.table.to_pylist()):
            yield block.first_row + offset, values


def _parse(data: bytes, columns: Sequence[Column]) -> Any:
    """Return a checked pyarrow Table, or None when anything in it is not as the columns say."""
    import pyarrow as pa
    from pyarrow import csv

    types = {column.name: pa.int64() if column.kind == "integer" else pa.string() for column in columns}
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            read_options=csv.ReadOptions(column_names=[column.name for column in columns], use_threads=False),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
        )
        for index, column in enumerate(columns):
            checked = _checked(table.column(index), column)
            if checked is None:
                return None
            table = table.set_column(index, column.name, checked)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return table


def _checked(values: Any, column: Column) -> Any:
    if not column.nullable and values.null_count:
        return None
    if column.kind == "quantity":
        return _quantities(values, column)
    if column.choices and not set(values.unique().to_pylist()) <= {*column.choices, None}:
        return None
    if column.kind == "integer" and (column.minimum is not None or column.maximum is not None):
        return values if _is_bounded(values, column) else None
    return values


def _is_bounded(values: Any, column: Column) -> bool:
    """Whether all whole numbers of a column are as its bounds say.

    What pyarrow can calculate takes long to load, and so is asked only where a null may look like a number too small or
    too large.
    """
    import numpy as np

    def is_bounded(numbers: Any) -> bool:
        bounds = (int(numbers.min()), int(numbers.max())) if len(numbers) else ()
        return not any(cell_problem(str(value), column) for value in bounds)

    for chunk in values.chunks:
        numbers = np.frombuffer(chunk.buffers()[1], dtype=np.int64)[chunk.offset : chunk.offset + len(chunk)]
        if not is_bounded(numbers) and not (chunk.null_count and is_bounded(chunk.drop_null().to_numpy())):
            return False
    return True


def _quantities(values: Any, column: Column) -> Any:
    """Convert decimal text to base units by way of the distinct texts; None when one of them is not valid."""
    import pyarrow as pa

    encoded = values.combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    if any(cell_problem(text, column) for text in texts):
        return None
    units = pa.array([base_units(text, column.scale) for text in texts], pa.int64())
    return units.take(encoded.indices)


def base_units(text: str, scale: int) -> int:
    """Return decimal ``text`` times ``scale`` as an integer: exact, or rounded half to even when it is not whole."""
    return int((Decimal(text) * scale).to_integral_value(rounding=ROUND_HALF_EVEN))


def cell_problem(text: str, column: Column) -> str | None:
    """Return what is wrong with one cell and what is expected, or None."""
    if text == "":
        return None if column.nullable else "is empty; a value is required"
    if column.kind == "text":
        if column.choices and text not in column.choices:
            return f"{shown(text)} is not one of {', '.join(column.choices)}"
        return None
    form, expected = (_WHOLE, "a whole number") if column.kind == "integer" else (_DECIMAL, "a decimal number")
    if not form.fullmatch(text):
        return f"{shown(text)} is not {expected}; correct the row or fetch the file again"
    value = Decimal(text)
    if abs(value * column.scale) > INT64_MAX:
        return f"{shown(text)} is out of range; correct the row or fetch the file again"
    if column.exact and value * column.scale % 1:
        step = "a whole number" if column.scale == 1 else f"a whole number of 1/{column.scale}"
        return f"{shown(text)} is not {step}; correct the row or fetch the file again"
    if column.minimum is not None and value < column.minimum:
        return f"{shown(text)} is below {column.minimum}; correct the row or fetch the file again"
    if column.maximum is not None and value > column.maximum:
        return f"{shown(text)} is above {column.maximum}; correct the row or fetch the file again"
    return None


def check_cells(path: Path, row: int, cells: Sequence[str], columns: Sequence[Column]) -> None:
    """Raise TraceError for the first thing wrong with one row: the number of fields, then field by field."""
    if len(cells) != len(columns):
        what = "the line is blank" if cells in ([""], []) else f"{len(cells)} fields where {len(columns)} are expected"
        fail(path, row, None, f"{what} ({', '.join(column.name for column in columns)}); correct the row")
    for cell, column in zip(cells, columns, strict=True):
        problem = cell_problem(cell, column)
        if problem:
            fail(path, row, column.name, problem)


def _locate(data: bytes, path: Path, first_row: int, columns: Sequence[Column]) -> NoReturn:
    row = first_row
    for row, raw in enumerate(data.split(b"\n")[:-1], first_row):
        if b"\x00" in raw:
            fail(path, row, None, "holds a NUL byte: it is not text; fetch the file again")
        check_cells(path, row, decode(raw, path, row).split(","), columns)
    fail(path, row, None, f"rows {first_row} to {row} cannot be parsed as comma-separated text; fetch the file again")

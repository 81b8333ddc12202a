"""Journals as files: JSON Lines, gzip by the name's ending. Written under a temporary name until they are closed."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from scheduler.journal import Batch, Header, JournalError, JournalReader


class JournalFile:
    """Writes lines to ``path`` + ``.part`` and renames that at the end. Without an end nothing is left behind."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        raw = self._part.open("wb")
        if self._path.suffix == ".gz":
            # No time and no name in the header: equal runs give equal files.
            self._stream = cast(IO[bytes], gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0))
        else:
            self._stream = raw
        self._raw = raw

    def write(self, line: bytes) -> None:
        """Append one line."""
        self._stream.write(line)

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._stream.close()
            self._raw.close()
        except OSError:
            self._part.unlink(missing_ok=True)
            raise
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


def open_journal(path: str | Path) -> tuple[Header, Iterator[Batch], JournalReader]:
    """Return the header, the batches as they are read, and the reader that checks the chain.

    `JournalError` names file, line and what is wrong: also for a file that ends without its footer.
    """
    path = Path(path)
    if path.is_dir():
        raise JournalError(f"{path}: is a directory; name a journal file")
    reader = JournalReader()
    lines = _lines(path)
    try:
        header = reader.read_header(next(lines, b""))
    except JournalError as error:
        raise JournalError(f"{path}: {error}") from None
    return header, _batches(path, lines, reader), reader


def _lines(path: Path) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        stream = cast(IO[bytes], stack.enter_context(path.open("rb")))
        if stream.read(2) == b"\x1f\x8b":
            stream.seek(0)
            stream = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=stream)))
        else:
            stream.seek(0)
        try:
            yield from cast(io.BufferedReader, stream)
        except (EOFError, zlib.error, OSError) as error:
            raise JournalError(f"{path}: the file is truncated or damaged ({error})") from None


def _batches(path: Path, lines: Iterator[bytes], reader: JournalReader) -> Iterator[Batch]:
    try:
        for line in lines:
            batch = reader.read(line)
            if batch is not None:
                yield batch
        if not reader.closed:
            raise JournalError("the journal ends without its footer: it was cut off, or is still being written")
    except JournalError as error:
        text = str(error)
        raise JournalError(text if text.startswith(str(path)) else f"{path}: {text}") from None

"""Journals as files: JSON Lines, gzip by the name's ending. Written under a temporary name until they are closed."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import msgspec

from scheduler.journal import Batch, Header, JournalError, JournalReader, WriterState

_END_BYTES = 1 << 20


class Mark(msgspec.Struct, frozen=True):
    """How many bytes of a journal file are written, and at which of them the last gzip member begins."""

    size: int
    member: int = 0


class JournalFile:
    """Writes lines to ``path`` + ``.part`` and renames that at the end.

    Without an end nothing is left behind, unless ``keep``: then the part stays, to go on with. ``resume`` goes on at a
    mark, where the writer was in that state: the part, or where that is gone the whole file, up to there.
    """

    def __init__(self, path: str | Path, *, keep: bool = False, resume: tuple[Mark, WriterState] | None = None) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._keep = keep
        self._mark = Mark(0) if resume is None else resume[0]
        self._raw: IO[bytes] = self._part.open("wb") if resume is None else self._reopen(*resume)
        self._stream = self._open_stream()

    def write(self, line: bytes) -> None:
        """Append one line."""
        self._stream.write(line)

    def mark(self) -> Mark:
        """Bring everything to the disk; return where that ends. A compressed file gets a new member there."""
        if self._stream is self._raw:
            self._mark = Mark(self._raw.tell())
        elif self._stream.tell():
            self._stream.close()
            self._mark = Mark(self._raw.tell(), self._mark.size)
            self._stream = self._open_stream()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        return self._mark

    def _open_stream(self) -> IO[bytes]:
        if self._path.suffix != ".gz":
            return self._raw
        # No time and no name in the header: equal runs give equal files.
        return cast(IO[bytes], gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=1, mtime=0))

    def _reopen(self, mark: Mark, state: WriterState) -> IO[bytes]:
        is_compressed = self._path.suffix == ".gz"
        if not state.is_end(_end(self._part, mark, is_compressed)):
            if not state.is_end(_end(self._path, mark, is_compressed)):
                raise JournalError(
                    f"{self._part}: has not the {state.batches} batches before the checkpoint, and neither has"
                    f" {self._path.name}; put the file back, or start the run anew"
                )
            shutil.copyfile(self._path, self._part)
        raw = self._part.open("r+b")
        raw.truncate(mark.size)
        raw.seek(mark.size)
        return raw

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._stream.close()
            self._raw.close()
        except OSError:
            self._discard()
            raise
        if kind is None:
            self._part.replace(self._path)
        else:
            self._discard()

    def _discard(self) -> None:
        if not self._keep:
            self._part.unlink(missing_ok=True)


def _end(path: Path, mark: Mark, is_compressed: bool) -> bytes:
    """The last text before a mark; nothing where there is no such file, or not so much of it."""
    try:
        with path.open("rb") as raw:
            if raw.seek(0, io.SEEK_END) < mark.size:
                return b""
            raw.seek(mark.member if is_compressed else max(0, mark.size - _END_BYTES))
            if not is_compressed:
                return raw.read(mark.size - raw.tell())
            end, decompressor = b"", zlib.decompressobj(wbits=31)
            while (left := mark.size - raw.tell()) > 0:
                end = (end + decompressor.decompress(raw.read(min(left, _END_BYTES))))[-_END_BYTES:]
            return end
    except (FileNotFoundError, zlib.error):
        return b""


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

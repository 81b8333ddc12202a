"""What waits for a sink: bounded, first in first out. Full, it gives up its oldest records.

A record is bytes without a line break. What `take` has handed out is being sent, and stays until `done` tells how much
of it was taken; it is not given up meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Protocol

SEGMENTS = 8
_POSITION = "position"


class Spool(Protocol):
    """Not for threads. ``OSError`` where a disk fails."""

    @property
    def size_bytes(self) -> int:
        """What waits, without what is being sent."""

    def put(self, record: bytes) -> int:
        """Append a record; return how many were given up for it, itself included if it is too large for all."""

    def take(self, most_bytes: int) -> list[bytes]:
        """Hand out the oldest records, at least one if any waits. What was handed out before must be `done`."""

    def done(self, count: int) -> None:
        """The first ``count`` of those handed out need not be kept; the others are the oldest again."""

    def close(self) -> None:
        """Let go of it; what is on disk stays."""


class MemorySpool:
    """Records in memory."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """See `Spool.size_bytes`."""
        return self._size_bytes

    def put(self, record: bytes) -> int:
        """See `Spool.put`."""
        if len(record) > self._limit_bytes:
            return 1
        self._waiting.append(record)
        self._size_bytes += len(record)
        lost = 0
        while self._size_bytes > self._limit_bytes:
            self._size_bytes -= len(self._waiting.popleft())
            lost += 1
        return lost

    def take(self, most_bytes: int) -> list[bytes]:
        """See `Spool.take`."""
        size = 0
        while self._waiting and (not self._taken or size + len(self._waiting[0]) <= most_bytes):
            record = self._waiting.popleft()
            size += len(record)
            self._taken.append(record)
        self._size_bytes -= size
        return list(self._taken)

    def done(self, count: int) -> None:
        """See `Spool.done`."""
        kept = self._taken[count:]
        self._waiting.extendleft(reversed(kept))
        self._size_bytes += sum(map(len, kept))
        self._taken = []

    def close(self) -> None:
        """See `Spool.close`."""


class _Segment:
    """One file of records, a line each, and how many of them are still to be sent."""

    def __init__(self, path: Path, size_bytes: int, count: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.count = count
        self.offset = 0


class DiskSpool:
    """Records in files of a directory of its own, which a later spool on the same directory finds again.

    The bound is kept by whole files, of an eighth of it each: when it is passed the oldest file goes. A record that was
    being sent when the process ended is there again; one that the machine had not written when it failed is not.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._segments: deque[_Segment] = deque()
        self._output: FileIO | None = None
        self._taken: list[bytes] = []
        self._from: _Segment | None = None
        self._number = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._load()

    @property
    def size_bytes(self) -> int:
        """See `Spool.size_bytes`."""
        sending = sum(len(record) + 1 for record in self._taken)
        return sum(segment.size_bytes - segment.offset for segment in self._segments) - sending

    def put(self, record: bytes) -> int:
        """See `Spool.put`."""
        if len(record) + 1 > self._limit_bytes // SEGMENTS:
            return 1
        if self._output is None or self._segments[-1].size_bytes + len(record) + 1 > self._limit_bytes // SEGMENTS:
            self._begin_segment()
        assert self._output is not None
        lost = self._make_room(len(record) + 1)
        segment = self._segments[-1]
        written = self._output.write(record + b"\n")
        if written != len(record) + 1:
            self._output.truncate(segment.size_bytes)
            self._output.seek(segment.size_bytes)
            return lost + 1
        segment.size_bytes += written
        segment.count += 1
        return lost

    def take(self, most_bytes: int) -> list[bytes]:
        """See `Spool.take`."""
        self._drop_sent()
        if not self._segments or self._segments[0].count == 0:
            return []
        segment = self._segments[0]
        with segment.path.open("rb") as file:
            file.seek(segment.offset)
            found = file.read(min(most_bytes, segment.size_bytes - segment.offset))
            if not found.endswith(b"\n"):
                cut = found.rfind(b"\n") + 1
                found = found[:cut] if cut else found + file.readline()
        self._taken = found.split(b"\n")[:-1]
        self._from = segment
        return list(self._taken)

    def done(self, count: int) -> None:
        """See `Spool.done`."""
        segment = self._from
        if segment is not None:
            segment.offset += sum(len(record) + 1 for record in self._taken[:count])
            segment.count -= count
            self._write_position(segment)
        self._taken, self._from = [], None
        self._drop_sent()

    def close(self) -> None:
        """See `Spool.close`."""
        if self._output is not None:
            self._output.close()
            self._output = None

    def _make_room(self, size_bytes: int) -> int:
        """Give up the oldest files until there is room; the one that is written and the one being sent stay."""
        lost = 0
        while sum(segment.size_bytes for segment in self._segments) + size_bytes > self._limit_bytes:
            victim = next((s for s in list(self._segments)[:-1] if s is not self._from), None)
            if victim is None:
                break
            self._segments.remove(victim)
            victim.path.unlink(missing_ok=True)
            lost += victim.count
        return lost

    def _drop_sent(self) -> None:
        """Remove the files that have been sent whole; the one that is written goes when the next one has begun."""
        while self._segments and self._segments[0].count == 0 and self._segments[0] is not self._from:
            if len(self._segments) == 1 and self._output is not None:
                return
            self._segments.popleft().path.unlink(missing_ok=True)

    def _begin_segment(self) -> None:
        self.close()
        self._number += 1
        path = self._directory / f"{self._number:010d}.lines"
        self._output = path.open("ab", buffering=0)
        self._segments.append(_Segment(path, 0, 0))
        self._drop_sent()

    def _write_position(self, segment: _Segment) -> None:
        """Remember how much of the oldest file was sent; whole or not at all, so that nothing is ever skipped."""
        path = self._directory / _POSITION
        new = path.with_suffix(".new")
        new.write_text(f"{segment.path.name} {segment.offset}\n", encoding="ascii")
        os.replace(new, path)

    def _load(self) -> None:
        name, offset = "", 0
        with contextlib.suppress(OSError, ValueError):
            name, digits = (self._directory / _POSITION).read_text(encoding="ascii").split()
            offset = int(digits)
        for path in sorted(self._directory.glob("*.lines")):
            self._number = int(path.stem)
            segment = _Segment(path, 0, 0)
            if path.name == name:
                segment.offset = min(offset, path.stat().st_size)
            for end in _line_ends(path):
                segment.size_bytes = end
                segment.count += end > segment.offset
            self._segments.append(segment)
        self._drop_sent()


def _line_ends(path: Path) -> Iterator[int]:
    """The offsets behind each whole line; the last one may have been cut by a failure of the machine."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                yield end

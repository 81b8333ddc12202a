"""The protocol inside the streams of ExecuteWorkload and RunAndWait. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

STDOUT = 0
STDERR = 1
WORKLOAD_ID = 6
ERU_ERROR = -1

RESIZE = 0x80
CLOSE_INPUT = 0x1D
_EXIT_PREFIX = b"[exitcode] "
_SIZE_MAX = 65_535


class Resize(NamedTuple):
    """The client's terminal has another size."""

    rows: int
    columns: int


class CloseInput(NamedTuple):
    """The client has nothing more to say."""


class Input(NamedTuple):
    """Bytes for the command."""

    data: bytes


class Garbage(NamedTuple):
    """A resize that cannot be read; to be skipped, as Eru does."""


def read_input(data: bytes) -> Resize | CloseInput | Input | Garbage:
    """What a message of the client's says: 0x80 begins a resize with JSON {Row, Col}, 0x1d closes the input."""
    if data[:1] == bytes([RESIZE]):
        return _resize(data[1:])
    if data[:1] == bytes([CLOSE_INPUT]):
        return CloseInput()
    return Input(data)


def exit_frame(exit_code: int) -> bytes:
    """The last output of a command, on its stdout."""
    return _EXIT_PREFIX + str(exit_code).encode()


class Lines:
    """Cuts output into lines, each with its newline, as Eru sends it where there is no terminal.

    A line that is longer than ``limit`` comes in pieces, so that nothing is kept of endless ones.
    """

    def __init__(self, limit: int = 64 * 1024) -> None:
        self._limit = limit
        self._rest = b""

    def add(self, data: bytes) -> list[bytes]:
        """What is complete now."""
        *complete, rest = (self._rest + data).split(b"\n")
        whole = len(rest) // self._limit * self._limit
        self._rest = rest[whole:]
        lines = [piece for line in complete for piece in self._cut(line + b"\n")]
        return lines + self._cut(rest[:whole])

    def _cut(self, line: bytes) -> list[bytes]:
        return [line[start : start + self._limit] for start in range(0, len(line), self._limit)]

    def end(self) -> list[bytes]:
        """The last line, where it has no newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _resize(text: bytes) -> Resize | Garbage:
    try:
        size = msgspec.json.decode(text, type=dict[str, int])
    except (msgspec.DecodeError, RecursionError):
        return Garbage()
    by_name = {name.lower(): number for name, number in size.items()}
    rows, columns = by_name.get("row", 0), by_name.get("col", 0)
    return Resize(rows, columns) if 0 < rows <= _SIZE_MAX and 0 < columns <= _SIZE_MAX else Garbage()

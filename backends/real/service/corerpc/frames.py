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

    A line that grows beyond ``limit`` is sent in pieces, so that nothing is kept of endless ones.
    """

    def __init__(self, limit: int = 64 * 1024) -> None:
        self._limit = limit
        self._rest = b""

    def add(self, data: bytes) -> list[bytes]:
        """What is complete now."""
        pieces = (self._rest + data).split(b"\n")
        self._rest = pieces.pop()
        lines = [piece + b"\n" for piece in pieces]
        while len(self._rest) >= self._limit:
            lines.append(self._rest[: self._limit])
            self._rest = self._rest[self._limit :]
        return lines

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

"""How a call ends when it does not succeed: a status number and one line."""

from __future__ import annotations

from enum import IntEnum
from urllib.parse import quote

_DETAIL_BYTES_MAX = 2000


class Status(IntEnum):
    """gRPC's own numbers."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallError(Exception):
    """The call fails with this status, which may be a private number. The message is for the caller: no secrets."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = int(status)
        self.message = message


def detail(message: str) -> str:
    """The message on one line, and short enough for a trailer once it is percent-encoded."""
    line = " ".join(message.split())
    if len(quote(line, safe=" ", errors="replace")) <= _DETAIL_BYTES_MAX:
        return line.encode(errors="replace").decode()
    kept, length = [], 0
    for character in line:
        length += len(quote(character, safe=" ", errors="replace"))
        if length > _DETAIL_BYTES_MAX - 3:
            break
        kept.append(character)
    return "".join(kept).encode(errors="replace").decode() + "..."

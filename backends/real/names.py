"""Names that people give to pools and nodes."""

from __future__ import annotations

from backends.real.errors import Rejected

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LENGTH_MAX = 128


def check_name(what: str, name: str) -> None:
    """`Rejected` where it cannot be the name of that."""
    if not name or len(name) > _LENGTH_MAX or not set(name) <= _ALLOWED or name[0] in "-.":
        raise Rejected(
            f"{what}: {name[:60]!r} must be 1 to {_LENGTH_MAX} letters, digits, '-', '_' or '.', and begin with neither"
            " '-' nor '.'"
        )

"""The wire's enums and our words for the same."""

from __future__ import annotations

from typing import Any

from backends.real.errors import Rejected


def word(field: str, enum: Any, number: int, default: str = "") -> str:
    """The word for a number: ``STRATEGY_AUTO`` is "auto", the first value ``default``; `Rejected` where it has none."""
    try:
        name: str = enum.Name(number)
    except ValueError:
        known = ", ".join(_words(enum).values())
        raise Rejected(f"{field}: {number} is none of: {known}") from None
    return default if number == 0 else name.removeprefix(_prefix(enum)).lower()


def number(enum: Any, text: str) -> Any:
    """The number for a word; 0 where the wire has none for it."""
    name = _prefix(enum) + text.upper().replace("-", "_")
    return enum.Value(name) if name in enum.keys() else 0  # noqa: SIM118 (no mapping)


def _prefix(enum: Any) -> str:
    first: str = enum.Name(0)
    return first.removesuffix("UNSPECIFIED")


def _words(enum: Any) -> dict[int, str]:
    return {value: name.removeprefix(_prefix(enum)).lower() for name, value in enum.items() if value}

"""What the payloads of all plugins have in common: sizes, whole numbers, mappings, lists, texts.

Every function takes the name of the field, with the plugin in front, and returns the value or raises a ValueError of
one line that names field, value (abridged) and remedy.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from scheduler.ports import UNLIMITED

_SIZE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)(?: ?([KMGTP])(?:I?B)?)?", re.IGNORECASE | re.ASCII)
_SIZE_CHARACTERS_MAX = 40
_NAME_SHOWN = 60
_abridged = reprlib.Repr()
_abridged.maxstring = _abridged.maxother = 100


def shown(value: Any) -> str:
    """The value as messages show it: as Python writes it, and the middle of what is long left out."""
    try:
        return _abridged.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def member(field: str, name: Any) -> str:
    """The name of a field in a field."""
    is_plain = isinstance(name, str) and name.isprintable() and len(name) <= _NAME_SHOWN
    return f"{field}.{name}" if is_plain else f"{field}[{shown(name)}]"


def whole(field: str, value: Any, least: int = 0, most: int = UNLIMITED) -> int:
    """An int, not a bool, within the bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{field}: {shown(value)} must be a whole number")
    if value < least:
        raise ValueError(f"{field}: {shown(value)} must be at least {least}")
    if value > most:
        raise ValueError(f"{field}: {shown(value)} must be at most {most}")
    return int(value)


def size(field: str, value: Any, least: int = 0, most: int = UNLIMITED) -> int:
    """A whole number, or a text of a whole or decimal number and perhaps a unit, such as "512M" or "1.5 GiB".

    The units are K, M, G, T, P, powers of 1024, in either case, with or without "iB" or "B". It must come out whole.
    """
    if not isinstance(value, str):
        return whole(field, value, least, most)
    match = _SIZE.fullmatch(value) if len(value) <= _SIZE_CHARACTERS_MAX else None
    if match is None:
        raise ValueError(f"{field}: {shown(value)} is not a size; give a whole number or a text like '512M'")
    exact = Fraction(match[1]) * 1024 ** " KMGTP".index((match[2] or " ").upper())
    if exact.denominator != 1:
        raise ValueError(f"{field}: {shown(value)} is no whole number in base units; write it in a smaller unit")
    return whole(field, exact.numerator, least, most)


def mapping(field: str, value: Any, names: Sequence[str] | None = None) -> Mapping[str, Any]:
    """A mapping with texts as keys, which are among ``names`` if these are given."""
    known = "" if names is None else f"; there are {', '.join(names)}"
    if not isinstance(value, Mapping):
        raise ValueError(f"{field}: {shown(value)} must be a mapping{known}")
    for name in value:
        if not isinstance(name, str):
            raise ValueError(f"{field}: {shown(name)} must be a text to be the name of a field; put it in quotes")
        if names is not None and name not in names:
            raise ValueError(f"{member(field, name)}: no such field{known}")
    return value


def sequence(field: str, value: Any) -> Sequence[Any]:
    """A list or tuple or the like, no text."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ValueError(f"{field}: {shown(value)} must be a list")
    return value


def text(field: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field}: {shown(value)} must be a text that is not empty")
    return value


def is_same(value: Any, expected: Any) -> bool:
    """Whether two values are the same plain data; unlike for ``==``, 1, 1.0 and True are three."""
    if isinstance(expected, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == expected.keys()
            and all(is_same(value[key], item) for key, item in expected.items())
        )
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(expected) and all(map(is_same, value, expected))
    return type(value) is type(expected) and bool(value == expected)

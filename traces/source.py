"""Trace sources: the text ``format:path[?key=value&...]``, the options of a format, and how to complain about both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from traces.schema import Trace, TraceError

Progress = Callable[[float], None]
"""Called now and then with the fraction done, 0.0 to 1.0."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a format. ``parse`` turns its text into a value or raises ValueError with what was expected."""

    name: str
    default: str
    meaning: str
    parse: Callable[[str], Any]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed source with every option of its format set, given or by default."""

    text: str
    format: str
    path: str
    options: Mapping[str, Any]
    progress: Progress | None = None


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A trace format: what ``list_formats`` shows and how ``open_trace`` opens it."""

    name: str
    summary: str
    open: Callable[[Source], Trace]
    options: tuple[Option, ...] = ()


def integer(name: str, default: int | str, meaning: str, *, minimum: int = 0, maximum: int | None = None) -> Option:
    """Return an integer option; an empty default means "not set" and parses to None."""

    def parse(text: str) -> int | None:
        if text == "" and default == "":
            return None
        upper = "" if maximum is None else f" and at most {maximum}"
        expected = f"an integer of at least {minimum}{upper}"
        try:
            value = int(text)
        except ValueError:
            raise ValueError(expected) from None
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError(expected)
        return value

    return Option(name=name, default=str(default), meaning=meaning, parse=parse)


def number(name: str, default: float | str, meaning: str, *, above: float = 0.0) -> Option:
    """Return an option that is a finite number greater than ``above``; an empty default means "not set"."""

    def parse(text: str) -> float | None:
        if text == "" and default == "":
            return None
        expected = f"a number above {above:g}"
        try:
            value = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not above < value < float("inf"):
            raise ValueError(expected)
        return value

    default_text = default if isinstance(default, str) else f"{default:g}"
    return Option(name=name, default=default_text, meaning=meaning, parse=parse)


def choice(name: str, default: str, meaning: str, names: Iterable[str]) -> Option:
    """Return an option that is one of ``names``."""
    valid = tuple(names)

    def parse(text: str) -> str:
        if text not in valid:
            raise ValueError(one_of(text, valid))
        return text

    return Option(name=name, default=default, meaning=meaning, parse=parse)


def flag(name: str, default: bool, meaning: str) -> Option:
    """Return an option that is ``true`` or ``false``."""

    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"

    return Option(name=name, default="true" if default else "false", meaning=meaning, parse=parse)


def one_of(given: str, valid: Iterable[str]) -> str:
    """Return ``one of a, b, c (did you mean b?)`` for an error message."""
    import difflib

    names = list(valid)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"one of {', '.join(names)}{hint}"


def split_source(text: str) -> tuple[str, str, dict[str, str]]:
    """Split ``format:path?key=value&...`` into format, path and option texts; values may be percent-encoded.

    Raises TraceError for a source without a colon and for options that are not ``key=value`` or are given twice.
    """
    from urllib.parse import unquote

    format_name, colon, rest = text.partition(":")
    if not colon:
        raise TraceError(
            f"source {text!r}: no format is named; write format:path[?key=value&...], e.g. parquet:{text or 'FILE'}"
        )
    path, _, query = rest.partition("?")
    given: dict[str, str] = {}
    for item in query.split("&") if query else []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise TraceError(f"source {text!r}: option {item!r} is not key=value; write ?key=value&key=value")
        if key in given:
            raise TraceError(f"source {text!r}: option {key!r} is given twice; keep one")
        given[key] = unquote(value)
    return format_name, path, given


def parse_source(text: str, readers: Mapping[str, Reader], progress: Progress | None = None) -> Source:
    """Parse ``text`` against the formats in ``readers``.

    Raises TraceError that names an unknown format, a missing path, an unknown option or a bad option value, with
    the valid names and the closest one.
    """
    format_name, path, given = split_source(text)
    reader = readers.get(format_name)
    if reader is None:
        raise TraceError(
            f"source {text!r}: format {format_name!r} is unknown; expected {one_of(format_name, sorted(readers))}"
        )
    if not path:
        raise TraceError(f"source {text!r}: nothing follows {format_name + ':'!r}; write {format_name}:PATH")
    return Source(
        text=text, format=format_name, path=path, options=_option_values(text, reader, given), progress=progress
    )


def _option_values(text: str, reader: Reader, given: Mapping[str, str]) -> dict[str, Any]:
    known = {option.name: option for option in reader.options}
    for name in given:
        if name not in known:
            valid = one_of(name, known) if known else f"none: {reader.name} has no options"
            raise TraceError(f"source {text!r}: option {name!r} is unknown to {reader.name}; expected {valid}")
    values = {}
    for name, option in known.items():
        value = given.get(name, option.default)
        try:
            values[name] = option.parse(value)
        except ValueError as error:
            raise TraceError(f"source {text!r}: option {name}={value!r} is not valid; expected {error}") from None
    return values

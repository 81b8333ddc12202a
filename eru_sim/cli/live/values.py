"""What options are made of: sizes, CPU, durations, pairs, files. EruError names option, value and remedy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from eru_sim.errors import EruError

_SIZE = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?) ?(?:([KMGTP])(?:I?B)?|B)?", re.IGNORECASE | re.ASCII)
_CPU = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|min|h|d)?", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SHOWN = 80
_LARGEST = 1 << 62


def size(option: str, text: str, *, is_delta: bool = False) -> int:
    """Bytes of ``512M``, ``1.5G``, ``1024``; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip()) if len(text) < _SHOWN else None
    exact = Fraction(match[1]) * 1024 ** " KMGTP".index((match[2] or " ").upper()) if match else None
    if exact is None or exact.denominator != 1 or abs(exact) > _LARGEST:
        raise EruError(f"{option}: {text[:_SHOWN]!r} is not a size; write e.g. 512M, 1.5G or 1048576")
    if exact < 0 and not is_delta:
        raise EruError(f"{option}: {text!r} must not be below 0")
    return int(exact)


def cpu(option: str, text: str, *, is_delta: bool = False) -> str:
    """Cores as a decimal number, as it was written."""
    text = text.strip()
    if not _CPU.fullmatch(text):
        raise EruError(f"{option}: {text[:_SHOWN]!r} is not a number of cores; write e.g. 2 or 0.5")
    if Fraction(text) < 0 and not is_delta:
        raise EruError(f"{option}: {text!r} must not be below 0")
    return text.removeprefix("+")


def duration_ns(option: str, text: str) -> int:
    """Nanoseconds of ``90s``, ``5m``, ``2h``; a plain number is seconds."""
    match = _DURATION.fullmatch(text.strip()) if len(text) < _SHOWN else None
    if match is None:
        raise EruError(f"{option}: {text[:_SHOWN]!r} is not a duration; write e.g. 90s, 5m or 2h")
    nanoseconds = round(float(match[1]) * _SECONDS[match[2] or ""] * 1e9)
    if nanoseconds > _LARGEST:
        raise EruError(f"{option}: {text!r} is too long")
    return nanoseconds


def instant_ns(option: str, text: str) -> int:
    """Nanoseconds since 1970 of a time (``2026-11-23T10:00:00``, in UTC), of seconds since 1970, or of ``5m`` ago."""
    if text.isascii() and text.isdigit() and len(text) > 8:
        return min(int(text) * 1_000_000_000, _LARGEST)
    if _DURATION.fullmatch(text):
        return max(0, time.time_ns() - duration_ns(option, text))
    try:
        parsed = datetime.fromisoformat(text)
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise EruError(f"{option}: {text[:_SHOWN]!r} is no time; write e.g. 5m (ago) or 2026-11-23T10:00:00") from None


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """``KEY=VALUE``, several in one text separated by commas only where every part has a "="."""
    found: dict[str, str] = {}
    for text in texts or ():
        parts = text.split(",")
        for part in parts if all("=" in part for part in parts) else [text]:
            key, equals, value = part.partition("=")
            if not key or not equals:
                raise EruError(f"{option}: {part[:_SHOWN]!r} is not KEY=VALUE")
            if key in found:
                raise EruError(f"{option}: {key[:_SHOWN]!r} is given twice; keep one")
            found[key] = value
    return found


def names(texts: Sequence[str] | None) -> list[str]:
    """Names, given one by one or separated by commas, each once."""
    return list(dict.fromkeys(part for text in texts or () for part in text.split(",") if part))


def json_object(option: str, text: str | None) -> dict[str, Any]:
    """A JSON object; None is {}."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise EruError(f'{option}: {text[:_SHOWN]!r} is no JSON object; write e.g. \'{{"gpu": {{"count": 1}}}}\'')
    return value


def by_plugin(option: str, text: str | None) -> dict[str, dict[str, Any]]:
    """A JSON object of objects: what is asked of each plugin."""
    found = json_object(option, text)
    for name, payload in found.items():
        if not isinstance(payload, dict):
            raise EruError(f"{option}: {name[:_SHOWN]}: what is asked of a plugin is a JSON object")
    return found


def text_of(file: str) -> str:
    """What is in a text file; "" for no file."""
    if not file:
        return ""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise EruError(f"{file}: it is no text") from None


def choice(option: str, text: str, known: Sequence[str]) -> str:
    """One of some words; the closest is proposed."""
    import difflib

    if text not in known:
        close = difflib.get_close_matches(text, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise EruError(f"{option}: {text[:_SHOWN]!r} is none of them; {hint}there are: {', '.join(known)}")
    return text

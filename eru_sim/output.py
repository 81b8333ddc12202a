"""What every output shares: plain values, human units, and files that appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")
_TIMES = ((86_400.0 * 2, 86_400.0, "d"), (3_600.0 * 2, 3_600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"))
_SMALL_TIMES = ((1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def jsonable(value: Any) -> Any:
    """Return ``value`` as what JSON can hold: NumPy scalars become numbers; NaN, infinity and NA become None."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, Sequence) or isinstance(value, set | frozenset):
        return [jsonable(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return str(value)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Return JSON text, keys in their own order, characters beyond ASCII as they are."""
    return json.dumps(jsonable(value), indent=indent, ensure_ascii=False, allow_nan=False)


def one_line(text: str) -> str:
    """Return ``text`` in one line that is safe on a terminal: line breaks become spaces, control characters escapes."""
    flat = " ".join(part.strip() for part in str(text).splitlines() if part.strip())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in flat)


def printable(text: str) -> str:
    """Return ``text`` with control characters as escapes, spaces and line breaks as they are."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def human(name: str, value: Any) -> str:
    """Return ``value`` for people, in the unit that the end of ``name`` says.

    Ends: ``_bytes``, ``_s``, ``_ns``, ``_ratio``, ``_millicores``, ``_milli`` (thousandths of a thing), ``_bps``. Anything
    else is a plain number, with separators of thousands, or text.
    """
    value = jsonable(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _human_number(name, value)
    if isinstance(value, list):
        return ", ".join(human(name, item) for item in value) or "-"
    return printable(str(value))


def _human_number(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return _scaled(value, _BINARY, 1024.0)
    if name.endswith("_bps"):
        return _scaled(value, tuple(f"{prefix}bit/s" for prefix in _DECIMAL), 1000.0)
    if name.endswith("_ns"):
        return seconds(value / 1e9)
    if name.endswith("_s"):
        return seconds(value)
    if name.endswith("_ratio"):
        return f"{_number(value * 100, 2)} %"
    if name.endswith("_millicores"):
        return f"{_number(value / 1000, 1)} cores"
    if name.endswith("_milli"):
        return _number(value / 1000, 3)
    return _number(value, 3)


def _number(value: float, decimals: int) -> str:
    """Return a number with separators of thousands and at most ``decimals`` decimals; small ones keep three digits."""
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < 10.0**-decimals:
        return f"{value:.3g}"
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".")


def _scaled(value: float, units: tuple[str, ...], base: float) -> str:
    power = 0
    while abs(value) >= base and power < len(units) - 1:
        value /= base
        power += 1
    return f"{_number(value, 1)} {units[power]}".rstrip()


def seconds(value: float) -> str:
    """Return a duration in the unit that suits it: ``0 s``, ``4.2 ms``, ``3.5 min``, ``2.5 d``."""
    if not value:
        return "0 s"
    for least, unit, name in _TIMES + _SMALL_TIMES:
        if abs(value) >= least:
            return f"{_number(value / unit, 2)} {name}"
    return f"{value} s"  # pragma: no cover - the last least is 0


def title_of(name: str) -> str:
    """Return a column's name for people: ``queueing_delay_p99_s`` is ``queueing delay p99``."""
    for unit in ("_bytes", "_ns", "_s", "_ratio", "_millicores", "_bps"):
        if name.endswith(unit) and name != unit:
            name = name.removesuffix(unit)
            break
    return name.replace("_", " ")


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots; lists stay values."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            flat.update(flatten(item, f"{name}."))
        else:
            flat[name] = item
    return flat


def file_part(text: str) -> str:
    """Return ``text`` as a part of a file name."""
    return _UNSAFE.sub("-", text).strip("-") or "x"


def check_directory(path: str | Path) -> Path:
    """Return the directory that output shall go to; an error now is better than one after the work.

    It need not exist, but its parent must. Raises EruError, which names the path and the remedy.
    """
    from eru_sim.errors import EruError

    directory = Path(path).expanduser()
    if directory.exists() and not directory.is_dir():
        raise EruError(f"--out {str(path)!r}: is a file; name a directory")
    existing = directory if directory.exists() else directory.parent
    if not existing.is_dir():
        raise EruError(f"--out {str(path)!r}: there is no directory {str(existing)!r}; create it or write elsewhere")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EruError(f"--out {str(path)!r}: no permission to write in {str(existing)!r}; write elsewhere")
    return directory


def write_files(directory: str | Path, files: Mapping[str, bytes | str]) -> list[Path]:
    """Write ``files`` (name to content) into ``directory``, which is made if it is not there.

    All are written under temporary names first and renamed when the last one is complete, so an error leaves nothing
    half-written, and what was there before.
    """
    target = Path(directory).expanduser()
    created = not target.exists()
    target.mkdir(exist_ok=True)
    partial: dict[Path, Path] = {}
    try:
        for name, content in files.items():
            temporary = target / f".{name}.{os.getpid()}.partial"
            partial[temporary] = target / name
            with temporary.open("wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
        for temporary, final in partial.items():
            temporary.replace(final)
    except BaseException:
        for temporary in partial:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if created:
            with suppress(OSError):
                target.rmdir()
        raise
    return list(partial.values())

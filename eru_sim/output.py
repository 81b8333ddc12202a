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

from eru_sim.errors import EruError

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")
_TIMES = (
    (86_400.0 * 2, 86_400.0, "d"), (3_600.0 * 2, 3_600.0, "h"), (120.0, 60.0, "min"),
    (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"),
)  # fmt: skip
_TITLES = {"cpu_s": "CPU time", "wall_s": "wall time", "load_s": "loading time", "startup_s": "start-up time"}
_PACKAGES = ("eru-sim", "numpy", "numba", "pandas", "pyarrow", "simpy", "msgspec", "matplotlib")
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
    if isinstance(value, Sequence):
        return [jsonable(item) for item in value]
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

    Ends: ``_bytes``, ``_s``, ``_ns``, ``_ratio``, ``_millicores``, ``_milli`` (thousandths of a thing), ``_bps``.
    Anything else is a plain number, with separators of thousands, or text.
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
    if isinstance(value, dict):
        return "(" + ", ".join(f"{title_of(key)}: {human(key, item)}" for key, item in value.items()) + ")"
    return printable(str(value))


def human_column(name: str, values: Sequence[tuple[float | None, float | None]]) -> list[str]:
    """Return texts for values with their half-widths (``12 ± 3 min``), all in the unit that suits the largest value."""
    unit = unit_of(name, max((abs(value) for value, _ in values if value is not None), default=0.0))
    texts = []
    for value, half in values:
        if value is None:
            texts.append("-")
        elif half is None:
            texts.append(_in_unit(value, unit))
        else:
            size, _, decimals = unit
            texts.append(f"{_number(value / size, decimals)} ± {_in_unit(half, unit)}")
    return texts


def _human_number(name: str, value: float) -> str:
    return _in_unit(value, unit_of(name, abs(value)))


def _in_unit(value: float, unit: tuple[float, str, int]) -> str:
    size, label, decimals = unit
    return f"{_number(value / size, decimals)} {label}".rstrip()


def unit_of(name: str, value: float) -> tuple[float, str, int]:
    """Return size, label and decimals of the unit that suits a value of that name, which is not negative."""
    if name.endswith("_bytes"):
        return _scale(value, _BINARY, 1024.0)
    if name.endswith("_bps"):
        return _scale(value, tuple(f"{prefix}bit/s" for prefix in _DECIMAL), 1000.0)
    if name.endswith("_ns"):
        size, label, decimals = unit_of("_s", value / 1e9)
        return size * 1e9, label, decimals
    if name.endswith("_s"):
        unit, label = next(((unit, label) for least, unit, label in _TIMES if value >= least))
        return (unit, label, 2) if value else (1.0, "s", 2)
    if name.endswith("_ratio"):
        return 0.01, "%", 2
    if name.endswith("_millicores"):
        return 1000.0, "cores", 1
    if name.endswith("_milli"):
        return 1000.0, "", 3
    return 1.0, "", 3


def _number(value: float, decimals: int) -> str:
    """Return a number with separators of thousands and at most ``decimals`` decimals; small ones keep three digits."""
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < 10.0**-decimals:
        return f"{value:.3g}"
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".")


def _scale(value: float, labels: tuple[str, ...], base: float) -> tuple[float, str, int]:
    power = 0
    while value >= base ** (power + 1) and power < len(labels) - 1:
        power += 1
    return base**power, labels[power], 1


def title_of(name: str) -> str:
    """Return a column's name for people: ``queueing_delay_p99_s`` is ``queueing delay p99``."""
    if name in _TITLES:
        return _TITLES[name]
    for unit in ("_bytes", "_ns", "_s", "_ratio", "_millicores", "_bps"):
        if name.endswith(unit) and name != unit:
            name = name.removesuffix(unit)
            break
    return name.replace("_", " ")


def heading(name: str) -> str:
    """Return `title_of` with a capital letter in front."""
    title = title_of(name)
    return title[:1].upper() + title[1:]


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


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of what results may depend on."""
    import platform
    from importlib import metadata

    found = {"eru-sim": "", "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def check_directory(path: str | Path, field: str = "out") -> Path:
    """Return the directory that output shall go to; an error now is better than one after the work.

    It need not exist yet. Raises EruError, which names field, path and remedy.
    """
    directory = Path(path).expanduser()
    if directory.exists() and not directory.is_dir():
        raise EruError(f"{field}: {str(path)!r} is a file; name a directory")
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise EruError(f"{field}: {str(path)!r} cannot be: {str(existing)!r} is a file; write elsewhere")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EruError(f"{field}: no permission to write in {str(existing)!r}; write elsewhere")
    return directory


def check_file(path: str | Path, field: str) -> Path:
    """Return the file that output shall go to. Raises EruError for a directory, and for a file in one that is not."""
    file = Path(path).expanduser()
    if file.is_dir():
        raise EruError(f"{field}: {str(path)!r} is a directory; name a file")
    if not file.parent.is_dir():
        raise EruError(f"{field}: there is no directory {str(file.parent)!r}; create it or write elsewhere")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise EruError(f"{field}: no permission to write in {str(file.parent)!r}; write elsewhere")
    return file


def write_files(directory: str | Path, files: Mapping[str, bytes | str]) -> list[Path]:
    """Write ``files`` (name to content) into ``directory``, which is made if it is not there.

    All are written under temporary names first and renamed when the last one is complete, so an error leaves nothing
    half-written, and what was there before.
    """
    target = Path(directory).expanduser()
    created = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
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

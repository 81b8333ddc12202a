"""The formats that exist, and how a source text becomes an open trace."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from traces.schema import Trace
from traces.source import Progress, Reader, parse_source

if TYPE_CHECKING:
    from pathlib import Path

_MODULES = {
    "alibaba2017": "traces.alibaba2017",
    "alibaba2018": "traces.alibaba2018",
    "azure2017": "traces.azure2017",
    "google2011": "traces.google2011",
    "google2019": "traces.google2019",
    "huawei_numa2025": "traces.huawei_numa2025",
    "openb": "traces.openb",
    "parquet": "traces.canonical",
    "philly": "traces.philly",
    "swf": "traces.swf",
    "synthetic": "traces.synthetic",
    "tianchi2018": "traces.tianchi2018",
}


class _Readers(Mapping[str, Reader]):
    """Readers by format name, imported when they are asked for; ``extra`` adds to them or takes their place."""

    def __init__(self, extra: Mapping[str, Reader]) -> None:
        self._extra = extra

    def __getitem__(self, name: str) -> Reader:
        if name in self._extra:
            return self._extra[name]
        reader: Reader = import_module(_MODULES[name]).READER
        return reader

    def __iter__(self) -> Any:
        return iter(sorted({*_MODULES, *self._extra}))

    def __len__(self) -> int:
        return len({*_MODULES, *self._extra})


def open_trace(source: str, *, readers: Mapping[str, Reader] | None = None, progress: Progress | None = None) -> Trace:
    """Open ``format:path[?key=value&...]``.

    ``readers`` adds formats from outside. ``progress`` is called with the fraction done while a large trace is
    loaded. Raises TraceError, one line that names field, value and remedy, for a source that cannot be opened.
    """
    known = _Readers(readers or {})
    parsed = parse_source(source, known, progress)
    return known[parsed.format].open(parsed)


def convert(source: str | Trace, out_path: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Write a trace in the canonical Parquet form; see ``traces.canonical.write_parquet``."""
    from traces.canonical import write_parquet

    return write_parquet(source, out_path, progress=progress)


def list_formats(readers: Mapping[str, Reader] | None = None) -> list[dict[str, Any]]:
    """Return name, summary and options (name, default, meaning) of every format, sorted by name."""
    known = _Readers(readers or {})
    return [
        {
            "name": name,
            "summary": known[name].summary,
            "options": [
                {"name": option.name, "default": option.default, "meaning": option.meaning}
                for option in known[name].options
            ],
        }
        for name in known
    ]


def manifest() -> list[dict[str, Any]]:
    """Return the public traces that the readers understand: origin, licence, columns and how to obtain them."""
    import tomllib
    from importlib.resources import files

    text = files("traces").joinpath("manifest.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["trace"]
    return entries

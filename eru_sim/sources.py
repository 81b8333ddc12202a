"""Traces by their source text: what there is, what is in one, and its canonical form. ``journal:`` included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from traces import Trace

Progress = Callable[[float, str], None]


def open_source(source: str, progress: Progress | None = None) -> Trace:
    """Open ``format:path[?key=value&…]``; `traces.TraceError`, one line, where that cannot be."""
    from eru_sim.recording import READERS
    from traces import open_trace

    report = None if progress is None else lambda fraction: progress(fraction, "opening the trace")
    return open_trace(source, readers=READERS, progress=report)


def formats() -> list[dict[str, Any]]:
    """The formats: name, summary and options (name, default, meaning), by name."""
    from eru_sim.recording import READERS
    from traces import list_formats

    return list_formats(READERS)


def ls() -> pd.DataFrame:
    """The formats and the public traces that can be read, one row each; ``kind`` is "format" or "trace"."""
    import pandas as pd

    from traces import manifest

    rows = [{"kind": "format", **entry} for entry in formats()]
    return pd.DataFrame([*rows, *({"kind": "trace", **entry} for entry in manifest())])


def describe(source: str, *, progress: Progress | None = None) -> dict[str, Any]:
    """The facts of a trace: machines, work, arrivals, assumptions, what was repaired. May read the whole trace."""
    trace = open_source(source, progress)
    if progress is not None:
        progress(0.0, "reading the trace")
    return trace.describe()


def convert(source: str, out: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Write a trace in the canonical Parquet form, whole or not at all; return path, counts, and what was assumed."""
    import traces

    trace = open_source(source, progress)
    if progress is not None:
        progress(0.0, f"writing {out}")
    written = traces.convert(trace, out)
    return {**written, "assumptions": list(trace.assumptions)}

"""What a command answers, and how that is printed: as tables for people, or as data for programs."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO

from eru_sim.output import printable, to_json

if TYPE_CHECKING:
    from rich.table import Table as RichTable

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name")
_PIPE_WIDTH = 100_000


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts. Without a header it is a list of facts: name, value."""

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    title: str = ""
    right_from: int = 1
    """Columns from this one on are numbers, and stand to the right."""
    may_turn: bool = False
    """Whether rows and columns change places when the table is wider than the terminal."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of a command.

    ``data`` is printed as JSON or YAML, ``records`` as JSON Lines, ``names`` by ``-o name``, and for people ``tables``,
    then ``lines`` as they are, then ``notes``. ``ok`` is False when what was asked turned out not to hold.
    """

    output: str
    data: Any
    records: Sequence[Any]
    names: Sequence[str]
    tables: Sequence[Table] = ()
    lines: Sequence[str] = ()
    notes: Sequence[str] = ()
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class _Style:
    width: int | None
    color_system: Any = field(default=None)


def check_format(name: str) -> str:
    """Return a format's name; ValueError lists those that there are, the closest first."""
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{name!r} is no output format; {hint}there are: {', '.join(FORMATS)}")
    return name


def show(answer: Answer, stream: TextIO | None = None) -> None:
    """Print an answer on ``stream``, by default stdout."""
    stream = sys.stdout if stream is None else stream
    stream.write(_TEXTS[answer.output](answer, stream))


def _json(answer: Answer, _: TextIO) -> str:
    return to_json(answer.data) + "\n"


def _jsonl(answer: Answer, _: TextIO) -> str:
    return "".join(to_json(record, indent=None) + "\n" for record in answer.records)


def _yaml(answer: Answer, _: TextIO) -> str:
    import yaml

    from eru_sim.output import jsonable

    return str(yaml.safe_dump(jsonable(answer.data), sort_keys=False, allow_unicode=True, width=120))


def _names(answer: Answer, _: TextIO) -> str:
    return "".join(f"{printable(name)}\n" for name in answer.names)


def _tables(answer: Answer, stream: TextIO) -> str:
    """Return tables, lines and notes; styled and folded on a terminal, plain and unfolded elsewhere."""
    on_terminal = stream.isatty()
    plain = not on_terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    style = _Style(width=None if on_terminal else _PIPE_WIDTH, color_system=None if plain else "auto")
    parts = [_render(table, style) for table in answer.tables]
    if answer.lines:
        parts.append("".join(f"{printable(line)}\n" for line in answer.lines))
    if answer.notes:
        parts.append("".join(f"{printable(note)}\n" for note in answer.notes))
    return "\n".join(parts)


def _render(table: Table, style: _Style) -> str:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=style.width, color_system=style.color_system, force_terminal=style.color_system is not None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    grid = _grid(table)
    wanted = Measurement.get(console, console.options.update_width(_PIPE_WIDTH), grid).maximum
    if table.may_turn and wanted > console.width:
        names, *columns = zip(table.header, *table.rows, strict=True)
        grid = _grid(replace(table, header=names, rows=columns))
    if table.title:
        console.print(Text(printable(table.title), style="bold underline"))
    console.print(grid)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _grid(table: Table) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(
        box=None, show_header=bool(table.header), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for index, name in enumerate(table.header or [""] * max((len(row) for row in table.rows), default=0)):
        is_number = bool(table.header) and index >= table.right_from
        grid.add_column(Text(printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in table.rows:
        cells = [Text(printable(cell)) for cell in row]
        if not table.header and cells:
            cells[0].stylize("bold")
        grid.add_row(*cells)
    return grid


_TEXTS: Mapping[str, Callable[[Answer, TextIO], str]] = {
    "table": _tables,
    "wide": _tables,
    "json": _json,
    "jsonl": _jsonl,
    "yaml": _yaml,
    "name": _names,
}

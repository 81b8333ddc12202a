"""Answers made of plain records: listings, facts, and records that come one by one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from eru_sim.cli.answer import Answer, Table, show
from eru_sim.output import human, one_line, printable, title_of, to_json

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A column of a table: its title, and what of a record is in it: the name of a field, or a function."""

    title: str
    of: str | Callable[[Record], Any]
    is_wide: bool = False
    """Only shown by ``-o wide``."""
    width: int = 0
    """At least so wide where records come one by one."""

    def cell(self, record: Record) -> str:
        """The text for a record."""
        value = self.of(record) if callable(self.of) else record.get(self.of)
        name = self.of if isinstance(self.of, str) else self.title
        if value is None or value in ("", [], {}):
            return "-"
        if isinstance(value, Mapping):
            return ",".join(f"{key}={item}" for key, item in value.items())
        return human(name, value) if isinstance(value, int | float) else _text(value)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else one_line(str(value))


def listing(
    output: str,
    records: Sequence[Record],
    columns: Sequence[Column],
    *,
    name: str | Callable[[Record], str],
    numbers: int = 0,
    notes: Sequence[str] = (),
    ok: bool = True,
    title: str = "",
) -> Answer:
    """A table with a row for each record; the last ``numbers`` columns are numbers."""
    shown = chosen(columns, output)
    table = Table(
        title=title,
        header=[column.title for column in shown],
        rows=[[column.cell(record) for column in shown] for record in records],
        right_from=len(shown) - numbers,
    )
    return Answer(
        output=output, data=list(records), records=records, names=[named(name, record) for record in records],
        tables=[table], notes=notes, ok=ok,
    )  # fmt: skip


def chosen(columns: Sequence[Column], output: str) -> list[Column]:
    """The columns that a format shows."""
    return [column for column in columns if output == "wide" or not column.is_wide]


def named(name: str | Callable[[Record], str], record: Record) -> str:
    """What ``-o name`` says of a record."""
    return name(record) if callable(name) else str(record[name])


def facts(
    output: str,
    record: Record,
    *,
    name: str,
    tables: Sequence[Table] = (),
    hidden: Sequence[str] = (),
    notes: Sequence[str] = (),
    ok: bool = True,
) -> Answer:
    """One record as a list of its fields; ``hidden`` ones are shown in another way by ``tables``."""
    rows = [(title_of(key), Column(key, key).cell(record)) for key in record if key not in hidden]
    return Answer(
        output=output, data=record, records=[record], names=[name], tables=[Table(rows=rows), *tables], notes=notes,
        ok=ok,
    )  # fmt: skip


def said(output: str, record: Record, *, name: str, line: str) -> Answer:
    """What was done, as one line for people."""
    return Answer(output=output, data=record, records=[record], names=[name], lines=[line])


class Rows:
    """Prints records as they come: lines of a table, one JSON text a line, or YAML documents."""

    def __init__(self, output: str, columns: Sequence[Column], *, name: str | Callable[[Record], str]) -> None:
        self._output = output
        self._columns = chosen(columns, output)
        self._name = name
        self._is_first = True

    def show(self, record: Record) -> None:
        """Print one."""
        if self._output in ("table", "wide"):
            if self._is_first:
                self._line([column.title for column in self._columns])
            self._line([printable(column.cell(record)) for column in self._columns])
        elif self._output == "name":
            print(printable(named(self._name, record)))
        elif self._output == "yaml":
            print("---")
            show(Answer(output="yaml", data=record, records=[record], names=[]))
        else:
            print(to_json(record, indent=None))
        self._is_first = False
        sys.stdout.flush()

    def _line(self, cells: Sequence[str]) -> None:
        widths = [max(column.width, len(column.title)) for column in self._columns]
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


async def show_all(rows: Rows, records: AsyncIterator[Record], limit: int = 0) -> None:
    """Print records until there are no more, or ``limit`` have come."""
    count = 0
    async for record in records:
        rows.show(record)
        count += 1
        if count == limit:
            return


def when(at_ns: int) -> str:
    """An instant for people, in UTC; "-" for none."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if at_ns else "-"

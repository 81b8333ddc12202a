"""``eru trace``: formats, facts and conversion of traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import Output, Quiet, Source
from eru_sim.cli.progress import ProgressBar
from eru_sim.output import flatten, human, title_of

app = typer.Typer(help="Look at traces and convert them.", rich_markup_mode=None)


@app.command("ls", epilog="\b\nExample:\n  eru trace ls -o wide")
def list_traces(output: Output = "table") -> Answer:
    """List the trace formats and the public traces in them; wide adds options, and how to obtain each trace."""
    from eru_sim.sources import formats as known_formats
    from traces import manifest

    formats, public = known_formats(), manifest()
    wide = output == "wide"
    tables = [
        Table(
            title="Formats (write FORMAT:PATH[?KEY=VALUE&...])",
            header=("format", "summary", "options"),
            rows=[
                (entry["name"], entry["summary"], ", ".join(option["name"] for option in entry["options"]) or "-")
                for entry in formats
            ],
            right_from=3,
        )
    ]
    if wide:
        tables.append(_options_table(formats))
    columns = ["name", "source", "licence", "content", *(["origin", "obtain"] if wide else [])]
    rows = [tuple(human(column, entry.get(column)) for column in columns) for entry in public]
    tables.append(Table(title="Public traces", header=columns, rows=rows, right_from=len(columns)))
    return Answer(
        output=output,
        data={"formats": formats, "traces": public},
        records=[
            *({"kind": "format", **entry} for entry in formats),
            *({"kind": "trace", **entry} for entry in public),
        ],
        names=[entry["name"] for entry in formats],
        tables=tables,
    )


def _options_table(formats: list[dict[str, Any]]) -> Table:
    rows = [
        (entry["name"], option["name"], option["default"] or "-", option["meaning"])
        for entry in formats
        for option in entry["options"]
    ]
    return Table(title="Options", header=("format", "option", "default", "meaning"), rows=rows, right_from=4)


@app.command(epilog="\b\nExample:\n  eru trace describe 'synthetic:google2019?nodes=5000&hours=2'")
def describe(source: Source, output: Output = "table", quiet: Quiet = False) -> Answer:
    """Show the facts of a trace: machines, work, arrivals, assumptions, and what was repaired."""
    from eru_sim.sources import describe as facts_of

    with ProgressBar(not quiet) as bar:
        facts = facts_of(source, progress=bar)
    return Answer(
        output=output,
        data=facts,
        records=[facts],
        names=[source],
        tables=[Table(rows=fact_rows(_with_plugins_as_texts(facts), apart=("assumptions", "repaired")))],
        notes=notes(facts["assumptions"], {}, facts["repaired"]),
    )


def _with_plugins_as_texts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with plugins as a list of names, each with its parameters if it has any."""
    plugins = facts.get("plugins") or {}
    texts = [f"{name} {human('', params)}" if params else name for name, params in plugins.items()]
    return {**facts, "plugins": texts}


@app.command(epilog="\b\nExample:\n  eru trace convert 'synthetic:google2019?nodes=100&hours=1' small.parquet")
def convert(
    source: Source,
    out: Annotated[str, typer.Argument(metavar="OUT.parquet", show_default=False, help="The file to write.")],
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Write a trace in the canonical Parquet form; read it again as parquet:OUT.parquet."""
    from eru_sim.sources import convert as write

    with ProgressBar(not quiet) as bar:
        written = write(source, out, progress=bar)
    return Answer(
        output=output,
        data=written,
        records=[written],
        names=[str(written["path"])],
        tables=[Table(rows=fact_rows(written, apart=("repaired", "assumptions")))],
        notes=notes(written["assumptions"], {}, written["repaired"]),
    )


def fact_rows(facts: Mapping[str, Any], apart: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return facts as names and texts in human units, nested ones in one row, without those to be shown apart."""
    rows = []
    for name, value in facts.items():
        if name in apart or value is None:
            continue
        if isinstance(value, Mapping):
            items = [(key, item) for key, item in flatten(value).items() if item is not None]
            text = ", ".join(f"{_part(key)}: {human(key, item)}" for key, item in items if item != {}) or "-"
        else:
            text = human(name, value)
        rows.append((title_of(name), text))
    return rows


def _part(key: str) -> str:
    return " ".join(title_of(part) for part in key.split("."))


def notes(assumptions: Any, ignored: Mapping[str, int], repaired: Mapping[str, int]) -> list[str]:
    """Return the lines that stand below a table: what was assumed, ignored and repaired."""
    lines = ["assumptions:", *(f"  - {text}" for text in assumptions)] if assumptions else []
    lines += [f"ignored: {name} on {count:,} tasks" for name, count in ignored.items()]
    lines += [f"repaired: {name} {count:,}" for name, count in repaired.items()]
    return lines

"""``eru spec``: Eru's spec of an app. These commands talk to no service."""

from __future__ import annotations

import shlex

import typer

from eru_sim.cli.answer import Answer
from eru_sim.cli.live import spec as specs
from eru_sim.cli.live.listing import Column, listing
from eru_sim.cli.live.params import SpecArgument
from eru_sim.cli.options import Output
from eru_sim.output import to_json

app = typer.Typer(help="Specs of apps.", rich_markup_mode=None)


@app.command("schema", epilog="\b\nExample:\n  eru spec schema > spec.schema.json")
def show_schema(output: Output = "table") -> Answer:
    """Print the JSON Schema of a spec."""
    found = specs.schema()
    lines = to_json(found).splitlines()
    return Answer(output=output, data=found, records=[found], names=[found["title"]], lines=lines)


@app.command("check", epilog="\b\nExample:\n  eru spec check shop.yaml")
def check(spec: SpecArgument, output: Output = "table") -> Answer:
    """Check a spec, and show its entrypoints."""
    found = specs.read(spec)
    records = [
        {"app": found.appname, "entrypoint": name, "command": entry.command(), "publish": list(entry.publish)}
        for name, entry in found.entrypoints.items()
    ]
    columns = (
        Column("app", "app"), Column("entrypoint", "entrypoint"),
        Column("command", lambda record: shlex.join(record["command"])), Column("publish", "publish"),
    )  # fmt: skip
    return listing(output, records, columns, name="entrypoint")

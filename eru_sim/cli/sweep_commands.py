"""``eru sim run`` and ``eru sim sweep``: scenarios in TOML."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eru_sim.cli import options, sim_commands
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import Output, Quiet
from eru_sim.cli.progress import ProgressBar
from eru_sim.errors import EruError
from eru_sim.output import check_directory, human, human_column, title_of

if TYPE_CHECKING:
    import pandas as pd

    from eru_sim.sweeps import SweepResult

app = typer.Typer(rich_markup_mode=None)

_SHOWN = ("utilisation_", "queueing_delay_p50_s", "queueing_delay_p99_s", "placed", "completed", "pending", "evicted")
_Scenario = Annotated[
    str, typer.Argument(metavar="SCENARIO.toml", show_default=False, help="A scenario; docs/scenarios.md has the keys.")
]


@app.command(epilog="\b\nExample:\n  eru sim run scenario.toml --out results")
def run(
    context: typer.Context,
    scenario: _Scenario,
    journal: options.Recording = None,
    out: options.OutDirectory = None,
    check: options.Check = False,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Replay a scenario of one run and show what came of it, as sim replay does."""
    from eru_sim.scenario import read_scenario

    read = read_scenario(scenario)
    runs = read.runs()
    if len(runs) > 1:
        raise EruError(f"{scenario}: it has {len(runs):,} runs; use eru sim sweep, or give each key one value")
    (one,) = runs
    taken = inspect.signature(sim_commands.replay).parameters
    for key in one.arguments:
        if key not in taken:
            raise EruError(f"{scenario}: {key}: eru sim run has no such option; use eru sim sweep")
    places: dict[str, Any] = {
        name: str(Path(path).absolute()) for name, path in (("journal", journal), ("out", out)) if path
    }
    with contextlib.chdir(read.folder):
        return sim_commands.replay(context, **one.arguments, **places, check=check, output=output, quiet=quiet)


@app.command(epilog="\b\nExample:\n  eru sim sweep scenario.toml -j 2 --out results")
def sweep(
    scenario: _Scenario,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="DIR",
            show_default=False,
            help="Keep every run here as it is done, and results.parquet; a sweep that was killed goes on from it.",
        ),
    ],
    jobs: Annotated[int, typer.Option("-j", "--jobs", metavar="N", min=1, help="Runs at a time.")] = 1,
    backend: Annotated[
        str,
        typer.Option(
            "--backend", metavar="joblib|ray|dask", help="Processes of this machine, or a Ray or Dask cluster."
        ),
    ] = "joblib",
    tables: Annotated[bool, typer.Option("--tables", help="Also write the tables of each run.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Take a DIR of another scenario, and keep the runs that both have.")
    ] = False,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Run all combinations of a scenario's values, and write one table; exit code 1 if a run failed."""
    from eru_sim.sweeps import RESULTS, run_sweep

    check_directory(out, "--out")
    with ProgressBar(not quiet) as bar:
        found = run_sweep(scenario, jobs=jobs, out=out, backend=backend, tables=tables, update=update, progress=bar)
    counts = f"{found.computed:,} runs computed, {found.reused:,} kept, {len(found.failures):,} failed"
    failures = [f"cell {failure.cell}, seed {failure.seed}: {failure.error}" for failure in found.failures]
    records = found.results.to_dict(orient="records")
    return Answer(
        output=output,
        data={
            "scenario": found.scenario.name,
            "cells": len(found.scenario.cells),
            "seeds": found.scenario.seeds,
            "computed": found.computed,
            "kept": found.reused,
            "failures": [{"cell": each.cell, "seed": each.seed, "error": each.error} for each in found.failures],
            "assumptions": found.assumptions,
            "results": records,
        },
        records=records,
        names=list(dict.fromkeys(found.results["cell"])),
        tables=[_table(found, output == "wide")] if records else [],
        notes=[*failures, f"{counts}; {Path(out) / RESULTS}"],
        ok=not failures,
    )


def _table(found: SweepResult, wide: bool) -> Table:
    """One row a cell: what tells it apart, and means over its replications ± half of the 95 % interval."""
    names = found.scenario.varying()
    frame = found.results
    groups = [(cell, rows) for cell, rows in frame.groupby("cell", sort=False)]
    parameters = {name for cell in found.scenario.cells for name in cell.parameters}
    metrics = [
        str(name)
        for name in frame.select_dtypes("number")
        if name not in ("replication", "seed", *parameters) and (wide or str(name).startswith(_SHOWN))
    ]
    columns = [[human("", rows[name].iloc[0]) for _, rows in groups] for name in names]
    columns += [_means(name, [rows for _, rows in groups]) for name in metrics]
    header = ["cell", *names, *map(title_of, metrics)]
    rows = [(str(cell), *texts) for (cell, _), *texts in zip(groups, *columns, strict=True)]
    return Table(title=found.scenario.name, header=header, rows=rows, right_from=1 + len(names), may_turn=True)


def _means(name: str, groups: Sequence[pd.DataFrame]) -> list[str]:
    from eru_sim.comparison import mean_and_half_width

    def values(rows: pd.DataFrame) -> list[Any]:
        return [float(value) for value in rows[name].dropna()]

    return human_column(name, [mean_and_half_width(values(rows)) for rows in groups])

"""``eru sim fuzz``: the core in random worlds with random faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import Output, Quiet
from eru_sim.cli.progress import ProgressBar

if TYPE_CHECKING:
    from eru_sim.fuzz.campaign import Failure, Report

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="\b\nExample:\n  eru sim fuzz --seeds 20 -j 2")
def fuzz(
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many worlds.")] = 100,
    seed_start: Annotated[int, typer.Option("--seed-start", metavar="K", min=0, help="The first seed.")] = 0,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario", metavar="FILE", show_default=False, help="What to draw from, in TOML; see docs/fuzzing.md."
        ),
    ] = None,
    without: Annotated[
        str, typer.Option("--without", metavar="NAME,...", show_default=False, help="Features to leave out.")
    ] = "",
    actions: Annotated[
        int | None,
        typer.Option("--actions", metavar="N", min=0, show_default=False, help="Only the first so many actions."),
    ] = None,
    skip: Annotated[
        str, typer.Option("--skip", metavar="N,N-N,...", show_default=False, help="Actions to leave out, by number.")
    ] = "",
    jobs: Annotated[int, typer.Option("-j", "--jobs", metavar="N", min=1, help="Worlds at a time.")] = 1,
    shrink: Annotated[bool, typer.Option("--shrink/--no-shrink", help="Make failures smaller.")] = True,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Test the scheduler's core in random worlds with random faults; exit code 1 if anything must not be."""
    from eru_sim.fuzz.campaign import fuzz as run_campaign
    from eru_sim.fuzz.campaign import summary_of

    with ProgressBar(not quiet) as bar:
        report = run_campaign(
            seeds,
            seed_start=seed_start,
            scenario=scenario,
            without=[name.strip() for name in without.split(",") if name.strip()],
            actions=actions,
            skip=skip,
            jobs=jobs,
            shrink=shrink,
            progress=bar,
        )
    return Answer(
        output=output,
        data=summary_of(report),
        records=summary_of(report)["failures"],
        names=[str(failure.seed) for failure in report.failures],
        tables=[Table(rows=_facts(report))],
        lines=[line for failure in report.failures for line in _lines(failure, is_wide=output == "wide")],
        ok=not report.failures,
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"

    last = report.seed_start + report.seeds - 1
    return [
        ("seeds", f"{report.seeds:,}, from {report.seed_start} to {last}"),
        ("failed", f"{len(report.failures):,}"),
        ("actions", f"{report.actions:,}"),
        ("batches", f"{report.batches:,}"),
        ("workloads", f"{report.submitted:,}"),
        ("recoveries", f"{report.crashes:,}"),
        ("happened", counted(report.happened)),
        ("faults", counted(report.injected)),
        ("digest", report.digest),
    ]


def _lines(failure: Failure, *, is_wide: bool) -> list[str]:
    lines = [f"seed {failure.seed}: {failure.failure}", f"  again:   {failure.command}"]
    if failure.shrunk_command:
        lines.append(f"  smaller: {failure.shrunk_command}")
        lines.append(f"           {failure.shrunk_actions} actions: {failure.shrunk_failure}")
        lines.append(f"           features: {', '.join(failure.features) or 'none'}")
    story = failure.story if is_wide else failure.story[-12:]
    return lines + [f"    {line}" for line in story]

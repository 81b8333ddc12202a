"""``eru sim``: replay, compare and verify; and what ``eru explain`` does with a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eru_sim.cli import options
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import CHECK_EVERY, Output, Quiet, Seed, Source, given
from eru_sim.cli.progress import ProgressBar
from eru_sim.cli.trace_commands import fact_rows, notes
from eru_sim.errors import EruError
from eru_sim.output import check_directory, check_file, human, title_of

if TYPE_CHECKING:
    from eru_sim.comparison import Comparison

app = typer.Typer(help="Replay traces, compare policies, verify recordings.", rich_markup_mode=None)

_SHOWN_ALWAYS = (
    "policy", "queue", "source", "cluster", "seed", "plugins", "nodes", "workloads", "placed", "completed", "failed",
    "killed", "running", "pending", "rejected", "lost", "evicted", "decisions", "placements", "utilisation",
    "queueing_delay_s", "horizon_s", "wall_s", "cpu_s", "peak_rss_bytes", "decision_digest",
)  # fmt: skip
_SHOWN_WHEN_SET = (
    "policy_params", "overcommit", "adopted", "preempted", "starting", "stopping", "start_failures",
    "stale_completions", "refused_requests",
)  # fmt: skip
_COMPARED = (
    "utilisation_", "queueing_delay_p50_s", "queueing_delay_p90_s", "queueing_delay_p99_s", "completed", "pending",
    "evicted", "cpu_s",
)  # fmt: skip
_CHOICES = ("queue", "cluster", "overcommit", "initial", "horizon", "failures", "reservations", "engine", "check_every")
_Journal = Annotated[
    str, typer.Argument(metavar="JOURNAL", show_default=False, help="A recording, written by eru sim replay --journal.")
]
_OptionalSource = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]", show_default=False, help="A trace: FORMAT:PATH[?KEY=VALUE&...]; see eru trace ls."
    ),
]


@app.command(
    epilog="\b\nExample:\n  eru sim replay 'synthetic:google2019?nodes=500&hours=1' --policy random --journal run.jsonl"
)
def replay(
    context: typer.Context,
    source: _OptionalSource = None,
    cluster: options.ClusterSpec = "trace",
    policy: options.Policy = "best-fit",
    queue: options.Queue = "priority",
    overcommit: options.Overcommit = None,
    initial: options.Initial = "empty",
    horizon: options.Horizon = None,
    failures: options.Failures = None,
    reservations: options.Reservations = None,
    engine: options.Engine = None,
    journal: options.Recording = None,
    out: options.OutDirectory = None,
    check: options.Check = False,
    seed: Seed = 0,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", metavar="FILE", show_default=False, help="Save the run to this file as it goes on."
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="N|TIME",
            show_default=False,
            help="How often to save: after N batches (by default 100000), or e.g. 15m of simulated time.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            show_default=False,
            help="Go on from a checkpoint, which has source and options; a policy of your own must be given again.",
        ),
    ] = None,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Run a trace through the scheduler in simulated time and show what came of it."""
    from eru_sim.simulation import go_on
    from eru_sim.simulation import replay as run

    if source is None and resume is None:
        raise EruError("eru sim replay: missing argument 'SOURCE'; see 'eru sim replay --help'")
    if out is not None:
        check_directory(out, "--out")
    if journal is not None:
        check_file(journal, "--journal")
    chosen = given(
        queue=queue, cluster=cluster, overcommit=overcommit, initial=initial, horizon=horizon, failures=failures,
        reservations=reservations, engine=engine, check_every=CHECK_EVERY if check else 0,
    )  # fmt: skip
    call = {"source": source, "policy": policy, "seed": seed, "options": chosen}
    with ProgressBar(not quiet) as bar:
        if resume is None:
            result = run(
                source, policy=policy, seed=seed, journal=journal, out=out, checkpoint=checkpoint, every=every,
                progress=bar, **chosen,
            )  # fmt: skip
        else:
            from eru_sim.checkpoint import read

            saved = read(resume)
            arguments = saved.arguments
            result = go_on(saved, _typed(context), bar)
            out = arguments.out
            policy = arguments.policy if isinstance(arguments.policy, str) else arguments.policy.name
            chosen = given(**{name: getattr(arguments, name) for name in _CHOICES})
            call = {"source": arguments.source, "policy": policy, "seed": arguments.seed, "options": chosen}
        if out is not None:
            from eru_sim.report import write_replay

            bar(1.0, "drawing plots")
            write_replay(result, out, arguments=call)
    summary = result.summary
    return Answer(
        output=output,
        data=summary,
        records=[summary],
        names=[summary["decision_digest"]],
        tables=[Table(rows=_summary_rows(summary, output == "wide"))],
        notes=notes(summary["assumptions"], summary["ignored"], summary["repaired"]),
    )


def _typed(context: typer.Context) -> dict[str, Any]:
    """Return the arguments of `eru_sim.replay` that the command line has, even where they are the default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    typed = {
        name: value
        for name, value in context.params.items()
        if (source := sources[name]) is not None and source.name == "COMMANDLINE"
    }
    found = {name: value for name, value in typed.items() if name not in ("resume", "check", "output", "quiet")}
    return {**found, "check_every": CHECK_EVERY} if typed.get("check") else found


def _summary_rows(summary: Mapping[str, Any], wide: bool) -> list[tuple[str, str]]:
    shown = {
        name: value
        for name, value in summary.items()
        if wide or name in _SHOWN_ALWAYS or (name in _SHOWN_WHEN_SET and value)
    }
    texts: dict[str, str] = {}
    if "seed" in shown:
        texts["seed"] = str(shown["seed"])
    for name, unit in (("utilisation", "_ratio"), ("queueing_delay_s", "_s")):
        if name in shown:
            texts[name] = ", ".join(f"{key} {human(unit, value)}" for key, value in shown[name].items())
    rows = dict(fact_rows(shown, apart=("assumptions", "ignored", "repaired")))
    rows.update({title_of(name): text for name, text in texts.items()})
    return list(rows.items())


@app.command(
    epilog="\b\nExample:\n  eru sim compare 'synthetic:google2019?nodes=500&hours=1' --policy best-fit --policy random"
    " --out results"
)
def compare(
    source: Source,
    policy: options.Policies = None,
    replications: options.Replications = 1,
    queue: options.Queue = "priority",
    cluster: options.ClusterSpec = "trace",
    overcommit: options.Overcommit = None,
    initial: options.Initial = "empty",
    horizon: options.Horizon = None,
    failures: options.Failures = None,
    reservations: options.Reservations = None,
    engine: options.Engine = None,
    out: options.OutDirectory = None,
    check: options.Check = False,
    seed: Seed = 0,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Replay a trace under several policies, with the same seeds for all, and compare them in one table."""
    from eru_sim.comparison import compare as run

    if out is not None:
        check_directory(out, "--out")
    chosen = given(
        queue=queue, cluster=cluster, overcommit=overcommit, initial=initial, horizon=horizon, failures=failures,
        reservations=reservations, engine=engine, check_every=CHECK_EVERY if check else 0,
    )  # fmt: skip
    with ProgressBar(not quiet) as bar:
        comparison = run(
            source, policies=policy or None, replications=replications, seed=seed, out=out, progress=bar, **chosen
        )
    data = comparison.to_dict()
    lines = notes(comparison.assumptions, comparison.ignored, comparison.repaired)
    if replications > 1:
        lines.insert(0, f"mean of {replications} replications ± half of the 95 % interval (Student's t)")
    return Answer(
        output=output,
        data=data,
        records=data["table"],
        names=comparison.policies,
        tables=[_comparison_table(comparison, output == "wide")],
        notes=lines,
    )


def _comparison_table(comparison: Comparison, wide: bool) -> Table:
    from eru_sim.report import comparison_rows

    metrics = [name for name in comparison.metrics if wide or name.startswith(_COMPARED)]
    rows = comparison_rows(comparison, metrics)
    title = f"{comparison.arguments['source']} on {comparison.results[0].summary['nodes']:,} nodes"
    return Table(title=title, header=list(rows[0]), rows=[list(row.values()) for row in rows], may_turn=True)


@app.command(epilog="\b\nExample:\n  eru sim verify run.jsonl && echo the recording holds")
def verify(
    journal: _Journal, policy: options.RecordedPolicy = None, output: Output = "table", quiet: Quiet = False
) -> Answer:
    """Feed a recording to the scheduler and compare every command; exit code 1 and the first difference if any."""
    from eru_sim.verification import verify as run

    with ProgressBar(not quiet) as bar:
        outcome = run(journal, policy=policy, progress=bar)
    facts = {"journal": journal, **outcome}
    return Answer(
        output=output,
        data=facts,
        records=[facts],
        names=[journal],
        tables=[Table(rows=fact_rows(facts))],
        ok=bool(outcome["ok"]),
    )


def explained(workload: str, *, journal: str, policy: str | None, output: str, quiet: bool) -> Answer:
    """The story of a workload from a recording: ``eru explain --journal``."""
    from eru_sim.explanation import explain as run

    with ProgressBar(not quiet) as bar:
        told = run(workload, journal=journal, policy=policy, progress=bar)
    facts = {name: told[name] for name in ("workload", "state", "node", "diagnosis") if told.get(name) is not None}
    tables = [Table(rows=fact_rows(facts))]
    if output == "wide" and told["refusals"]:
        refusals = [(human("_s", entry["at_s"]), entry["diagnosis"]) for entry in told["refusals"]]
        tables.append(Table(title="Refusals", header=("at", "diagnosis"), rows=refusals, right_from=2))
    return Answer(
        output=output, data=told, records=told["chapters"], names=[workload], tables=tables, lines=told["story"]
    )

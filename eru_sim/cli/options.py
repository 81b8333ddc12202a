"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eru_sim.cli.answer import FORMATS, check_format

_MAX_SEED = (1 << 64) - 1
_MAX_REPLICATIONS = 1_000_000


def _format(value: str) -> str:
    try:
        return check_format(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _initial(value: str) -> str:
    if value not in ("empty", "recorded"):
        raise typer.BadParameter(f"{value!r} is neither 'empty' nor 'recorded'")
    return value


def _seed(value: str | int) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_SEED):
        raise typer.BadParameter(f"{text!r} is not an integer from 0 to 2^64 - 1")
    return int(text)


def _count(value: str | int) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_REPLICATIONS):
        raise typer.BadParameter(f"{text!r} is not an integer from 1 to {_MAX_REPLICATIONS:,}")
    return int(text)


Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="|".join(FORMATS),
        callback=_format,
        autocompletion=lambda: list(FORMATS),
        help="How to print: wide is a table with more in it, name only the names.",
    ),
]
Quiet = Annotated[bool, typer.Option("--no-progress", "-q", "--quiet", help="Show no progress on stderr.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", show_default=False, help="A trace: FORMAT:PATH[?KEY=VALUE&...]; see eru trace ls."
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", parser=_seed, help="Determines everything that is drawn.")]
ClusterSpec = Annotated[
    str,
    typer.Option(
        "--cluster", metavar="SPEC", help="The nodes: 'trace', or e.g. google2019-a:5000, 100x64c256g, csv:FILE."
    ),
]
Overcommit = Annotated[
    str | None,
    typer.Option(
        "--overcommit", metavar="DIM=RATIO,...", show_default=False,
        help="Multiply capacities by dimension, e.g. cpu=1.2,memory=1.",
    ),
]  # fmt: skip
Initial = Annotated[
    str,
    typer.Option(
        "--initial", metavar="empty|recorded", callback=_initial,
        help="Start with nothing placed, or from the placement that the trace shows.",
    ),
]  # fmt: skip
Horizon = Annotated[
    str | None,
    typer.Option(
        "--horizon", metavar="TIME", show_default=False,
        help="End the run at this time of the trace, e.g. 90s, 2h; by default the trace says.",
    ),
]  # fmt: skip
Failures = Annotated[
    str | None,
    typer.Option(
        "--failures", metavar="SPEC", show_default=False,
        help="Machine failures in place of the recorded ones, e.g. google2011:DIR*29, fit:google2011, none.",
    ),
]  # fmt: skip
Reservations = Annotated[
    str | None,
    typer.Option(
        "--reservations", metavar="SPEC", show_default=False,
        help="Hold nodes for tenants: TENANT:NODES@START-END[;...], e.g. 'physics:8@1h-3h'.",
    ),
]  # fmt: skip
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="KEY=VALUE,...", show_default=False,
        help="Latencies and faults of the engines, e.g. start=2s,stop=1s,pull=10s,start_failure=0.01.",
    ),
]  # fmt: skip
Recording = Annotated[
    str | None,
    typer.Option(
        "--journal", metavar="FILE", show_default=False, help="Record every event and command; .gz compresses."
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Check all invariants every 1,000 steps and at the end; slower.")]
Policy = Annotated[
    str,
    typer.Option("--policy", metavar="POLICY", help="NAME[?KEY=VALUE], or your own: MODULE:CLASS or FILE.py:CLASS."),
]
Queue = Annotated[
    str,
    typer.Option(
        "--queue", metavar="DISCIPLINE",
        help="Queue discipline: NAME[?KEY=VALUE&...], e.g. easy?order=shortest. pass=event: a pass after every event.",
    ),
]  # fmt: skip
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", metavar="POLICY", show_default=False,
        help="One to compare; repeat it. By default random, first-fit, best-fit, worst-fit and dot-product.",
    ),
]  # fmt: skip
RecordedPolicy = Annotated[
    str | None,
    typer.Option(
        "--policy", metavar="POLICY", show_default=False,
        help="The policy that decided, when it is your own: MODULE:CLASS or FILE.py:CLASS.",
    ),
]  # fmt: skip
Replications = Annotated[
    int,
    typer.Option(
        "--replications", metavar="N", parser=_count, help="Runs of each policy, with seeds SEED, SEED + 1, ..."
    ),
]
OutDirectory = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR",
        show_default=False,
        help="Also write tables, plots and an HTML report to this directory.",
    ),
]

CHECK_EVERY = 1_000


def given(**options: Any) -> dict[str, Any]:
    """Return the options that differ from their default, to call with and to repeat a run by."""
    defaults = {"cluster": "trace", "initial": "empty", "check_every": 0}
    return {name: value for name, value in options.items() if value is not None and value != defaults.get(name)}

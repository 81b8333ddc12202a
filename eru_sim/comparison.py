"""Compare policies on one trace: the same replay for each, with common random numbers, as frames.

Replication r of every policy uses seed ``seed + r`` for everything that is drawn, so policies meet the same trace, the
same failures and the same engine delays, and differ only in what they decide.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eru_sim.errors import EruError
from eru_sim.output import check_directory, jsonable, to_json

if TYPE_CHECKING:
    import pandas as pd

    from eru_sim.simulation import ReplayResult
    from scheduler.policies import Policy

Progress = Callable[[float, str], None]

HALF_WIDTH = "_half_width"
"""Ends the name of a column that holds half of the 95 % interval of the column before it."""

_COUNTS = (
    "placed", "completed", "failed", "killed", "pending", "rejected", "evicted", "lost", "placements", "decisions",
)  # fmt: skip
_DELAYS = ("p50", "p90", "p99", "mean")


class Comparison:
    """What `compare` returns.

    ``table`` has one row a policy, in the order given: ``policy``, ``replications``, and for every metric its mean and,
    in ``<metric>_half_width``, half of its 95 % interval (Student's t; NA for one replication). ``runs`` has one row a
    run. ``results`` are the runs' `ReplayResult`s in the same order. ``arguments`` are those of the call, to repeat it;
    ``objects`` among them names the policies that were given as objects.
    """

    def __init__(
        self,
        *,
        table: pd.DataFrame,
        runs: pd.DataFrame,
        results: list[ReplayResult],
        assumptions: tuple[str, ...],
        ignored: Mapping[str, int],
        repaired: Mapping[str, int],
        arguments: Mapping[str, Any],
    ) -> None:
        self.table = table
        self.runs = runs
        self.results = results
        self.assumptions = assumptions
        self.ignored = ignored
        self.repaired = repaired
        self.arguments = arguments

    @property
    def policies(self) -> list[str]:
        """The policies' labels, in the order given."""
        return [str(policy) for policy in self.table["policy"]]

    @property
    def metrics(self) -> list[str]:
        """The names of the columns of ``table`` that hold means."""
        return [name.removesuffix(HALF_WIDTH) for name in map(str, self.table.columns) if name.endswith(HALF_WIDTH)]

    @property
    def dimensions(self) -> list[str]:
        """The dimensions of the trace."""
        return list(self.results[0].summary["utilisation"])

    def results_of(self, policy: str) -> list[ReplayResult]:
        """Return the results of one policy, by replication."""
        return [result for name, result in zip(self.runs["policy"], self.results, strict=True) if name == policy]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the results as JSON-able values; what is not known is None."""
        content = {
            **self.arguments,
            "table": self.table.to_dict(orient="records"),
            "runs": self.runs.to_dict(orient="records"),
            "assumptions": self.assumptions,
            "ignored": self.ignored,
            "repaired": self.repaired,
        }
        plain: dict[str, Any] = jsonable(content)
        return plain

    def files(self) -> dict[str, bytes | str]:
        """Return table and runs as files: ``summary.csv``, ``summary.json``, ``runs.parquet``."""
        buffer = io.BytesIO()
        self.runs.to_parquet(buffer, index=False)
        return {
            "summary.csv": self.table.to_csv(index=False),
            "summary.json": to_json(self.to_dict()) + "\n",
            "runs.parquet": buffer.getvalue(),
        }


def compare(
    source: str,
    *,
    policies: Sequence[str | Policy] | None = None,
    replications: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **replay_options: Any,
) -> Comparison:
    """Replay ``source`` under each policy (`scheduler.policies.COMPARED` by default) so many times, and compare.

    ``replay_options`` go to `eru_sim.replay`. A source with a ``seed`` option of its own that is not set gets
    ``seed + r`` for replication r when there are several; otherwise every replication replays the same trace. A policy
    given as an object keeps its own seed. ``out`` is a directory for table, runs, plots and an HTML report; it is
    written when all runs are done, whole or not at all. Raises EruError for an argument that makes no sense, and what
    `replay` raises.
    """
    from eru_sim.simulation import replay

    chosen = _chosen(policies)
    if replications < 1:
        raise EruError(f"replications: {replications} must be at least 1")
    for name in ("journal", "policy"):
        if replay_options.get(name) is not None:
            raise EruError(f"{name}: compare has none; {'use replay' if name == 'journal' else 'use policies'}")
    if out is not None:
        check_directory(out)
    sources, note = _sources(source, seed, replications)
    runs: list[dict[str, Any]] = []
    results: list[ReplayResult] = []
    total = len(chosen) * replications
    for label, policy in chosen.items():
        for replication in range(replications):
            told = _told(progress, len(runs), total, label, replication, replications)
            result = replay(
                sources[replication], policy=policy, seed=seed + replication, progress=told, **replay_options
            )
            results.append(result.complete())
            runs.append({"policy": label, "replication": replication, "seed": seed + replication, **_row(result)})
    comparison = _assembled(runs, results, list(chosen), note, {
        "source": source, "policies": list(chosen), "replications": replications, "seed": seed,
        "objects": [label for label, policy in chosen.items() if not isinstance(policy, str)],
        "options": {name: _plain(value) for name, value in replay_options.items() if value is not None},
    })  # fmt: skip
    if out is not None:
        from eru_sim.report import write_comparison

        write_comparison(comparison, out)
    return comparison


def _assembled(
    runs: list[dict[str, Any]],
    results: list[ReplayResult],
    labels: list[str],
    note: tuple[str, ...],
    arguments: Mapping[str, Any],
) -> Comparison:
    import pandas as pd

    frame = pd.DataFrame(runs)
    first = [result.summary for result, run in zip(results, runs, strict=True) if run["replication"] == 0]
    return Comparison(
        table=_table(frame, labels),
        runs=frame,
        results=results,
        assumptions=(*dict.fromkeys(text for summary in first for text in summary["assumptions"]), *note),
        ignored=dict(first[0]["ignored"]),
        repaired=dict(first[0]["repaired"]),
        arguments=arguments,
    )


def _chosen(policies: Sequence[str | Policy] | None) -> dict[str, str | Policy]:
    """Return the policies by label; all are made once, so that a wrong one is an error before the first run."""
    from eru_sim.options import choose_policy
    from scheduler.policies import COMPARED

    if policies is None:
        policies = list(COMPARED)
    elif isinstance(policies, str):
        policies = [policies]
    chosen: dict[str, str | Policy] = {}
    for policy in policies:
        choice = choose_policy(policy)
        if isinstance(policy, str):
            label = policy
        else:
            params = "&".join(f"{name}={value}" for name, value in choice.params.items())
            label = f"{choice.name}?{params}" if params else choice.name
        if label in chosen:
            raise EruError(f"policies: {label!r} is given twice; keep one")
        chosen[label] = policy
    if not chosen:
        raise EruError("policies: none is given; name at least one, or leave it out for the usual ones")
    return chosen


def _sources(source: str, seed: int, replications: int) -> tuple[list[str], tuple[str, ...]]:
    """Return the source of each replication, and what there is to say about it."""
    if replications == 1:
        return [source], ()
    from traces import list_formats
    from traces.source import split_source

    name, _, given = split_source(source)
    options: list[dict[str, Any]] = next((entry["options"] for entry in list_formats() if entry["name"] == name), [])
    seeds = f"seeds {seed} to {seed + replications - 1}"
    if "seed" not in given and any(option["name"] == "seed" for option in options):
        mark = "&" if "?" in source else "?"
        note = f"Each of the {replications} replications draws its own trace ({seeds}), the same one for all policies."
        return [f"{source}{mark}seed={seed + replication}" for replication in range(replications)], (note,)
    note = (
        f"All {replications} replications replay the same trace; only what the policy, failures and engine draw differs"
        f" ({seeds}, the same ones for all policies)."
    )
    return [source] * replications, (note,)


def _told(
    progress: Progress | None, done: int, total: int, label: str, replication: int, replications: int
) -> Progress | None:
    """Return a progress function for one run that reports to that of the whole."""
    if progress is None:
        return None
    which = label if replications == 1 else f"{label} {replication + 1}/{replications}"
    reached = done / total
    progress(reached, which)

    def report(fraction: float, text: str) -> None:
        nonlocal reached
        reached = max(reached, (done + fraction) / total)
        progress(reached, f"{which}: {text}")

    return report


def _row(result: ReplayResult) -> dict[str, Any]:
    """Return a run as columns: numbers and texts of its summary, nested ones under names of their own."""
    row: dict[str, Any] = {}
    for name, value in result.summary.items():
        if name == "utilisation":
            row.update({f"utilisation_{dimension}_ratio": ratio for dimension, ratio in value.items()})
        elif name == "queueing_delay_s":
            row.update({f"queueing_delay_{quantile}_s": value.get(quantile) for quantile in _DELAYS})
        elif name not in ("policy", "seed") and isinstance(value, str | int | float):
            row[name] = value
    allocated = [name for name in result.nodes if str(name).endswith("_allocated")]
    row["nodes_in_use_at_end"] = int((result.nodes[allocated] > 0).any(axis=1).sum()) if allocated else 0
    return row


def _table(runs: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    import pandas as pd

    metrics = [str(name) for name in runs if str(name).startswith(("utilisation_", "queueing_delay_"))]
    metrics += [name for name in (*_COUNTS, "nodes_in_use_at_end", "cpu_s") if name in runs]
    rows = []
    for label in labels:
        own = runs[runs["policy"] == label]
        row: dict[str, Any] = {"policy": label, "replications": len(own)}
        for metric in metrics:
            values = [float(value) for value in own[metric] if jsonable(value) is not None]
            row[metric], row[metric + HALF_WIDTH] = mean_and_half_width(values)
        rows.append(row)
    table = pd.DataFrame(rows)
    numbers = {name: "Float64" for name in table if name not in ("policy", "replications")}
    return table.astype(numbers)


def mean_and_half_width(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and half of its 95 % interval (Student's t); None for what so few values do not give."""
    count = len(values)
    if not count:
        return None, None
    mean = math.fsum(values) / count
    if count == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, _student_t(count - 1) * math.sqrt(variance / count)


def _student_t(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _plain(value: Any) -> Any:
    return jsonable(value) if isinstance(value, str | int | float | Mapping) else str(value)

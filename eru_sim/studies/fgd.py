"""The study of Weng et al., USENIX ATC'23, on GPU sharing: six policies on nine lists of pods of the trace openb.

Pods arrive in random order until they ask for 130 % of the GPUs, and none leaves. What counts is the share of GPU milli
that is allocated then, and on the way. ``python -m eru_sim.studies.fgd DIR`` runs every cell (list, policy, seed),
keeps each in a file of its own, so that a second call goes on where the first one ended, and compares with what was
published, where DIR has that (``fgd_expected_gpu_allocation_pct.csv.gz``).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from eru_sim.errors import EruError
from eru_sim.output import check_directory, write_files

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LISTS = (
    "default", "cpu050", "cpu100", "gpushare40", "gpushare100", "multigpu20", "multigpu50", "gpuspec10", "gpuspec33",
)  # fmt: skip
POLICIES = {
    "Random": "random",
    "DotProd": "openb-dot-product",
    "GpuClustering": "gpu-clustering",
    "GpuPacking": "gpu-packing",
    "BestFit": "openb-best-fit",
    "FGD": "fgd",
}
"""The published names, and the policies here."""

SEEDS = (42, 43, 44, 45, 46)
RATIO = 1.3
EXPECTED = "fgd_expected_gpu_allocation_pct.csv.gz"
_VERSION = 1


class Cell(NamedTuple):
    """One run. ``order`` is a file with the order of arrivals, "" for one drawn with the seed."""

    list: str
    policy: str
    seed: int
    order: str = ""

    @property
    def name(self) -> str:
        """Of its file."""
        return "-".join([self.list, self.policy, str(self.seed), "given" if self.order else "drawn"])

    def source(self, directory: str) -> str:
        """The trace that it replays."""
        how = f"order={quote(self.order)}" if self.order else f"inflate={RATIO}&seed={self.seed}"
        return f"openb:{directory}?list={self.list}&{how}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run.

    ``allocation_pct[x]`` is the share of the GPUs that is allocated when x % have been asked for, x from 0 to 130, or
    at the end where it does not come to that; ``final_pct`` that at the end. Both in percent.
    """

    version: int = _VERSION
    source: str
    final_pct: float
    allocation_pct: list[float]
    placed: int
    refused: int
    cpu_s: float
    peak_rss_bytes: int
    decision_digest: str


def run_cell(directory: str, cell: Cell) -> Outcome:
    """Replay the cell's trace with its policy."""
    from eru_sim.simulation import replay
    from eru_sim.sources import open_source

    source = cell.source(directory)
    result = replay(source, policy=POLICIES[cell.policy], seed=cell.seed)
    trace = open_source(source)
    place = trace.dimensions.index("gpu_milli")
    capacity = sum(event.capacity["gpu_milli"] for event in trace.machine_events())
    placed = set(result.placement["workload_id"])
    pods = [(pod.request[place], pod.workload_id in placed) for pod in trace.submissions()]
    summary = result.summary
    return Outcome(
        source=source,
        final_pct=100 * sum(milli for milli, is_placed in pods if is_placed) / capacity,
        allocation_pct=curve(pods, capacity),
        placed=len(placed),
        refused=len(pods) - len(placed),
        cpu_s=summary["cpu_s"],
        peak_rss_bytes=summary["peak_rss_bytes"],
        decision_digest=summary["decision_digest"],
    )


def curve(pods: Iterable[tuple[int, bool]], capacity: int, last_pct: int = 130) -> list[float]:
    """Allocation in percent when x % of ``capacity`` have been asked for, for x from 0 to ``last_pct``.

    ``pods`` are (milli asked, whether placed) in order of arrival.
    """
    result: list[float] = []
    asked = allocated = 0
    for milli, is_placed in pods:
        asked += milli
        allocated += milli * is_placed
        while len(result) <= last_pct and 100 * asked >= len(result) * capacity:
            result.append(100 * allocated / capacity)
    return result + [100 * allocated / capacity] * (last_pct + 1 - len(result))


def cells(lists: Sequence[str], policies: Sequence[str], seeds: Sequence[int], orders: str | Path | None) -> list[Cell]:
    """Every combination, with drawn orders; and once more with those in ``orders``, files ``LIST_seedN.txt.gz``."""
    grid = [Cell(*cell) for cell in ((a, b, c) for a in lists for b in policies for c in seeds)]
    files = {cell: Path(orders) / f"{cell.list}_seed{cell.seed}.txt.gz" for cell in grid} if orders else {}
    return grid + [cell._replace(order=str(file)) for cell, file in files.items() if file.is_file()]


# What was published


def published(directory: str | Path) -> dict[tuple[str, str, int], list[float]]:
    """The allocation at 0 to 130 % by (list, policy, seed), of the authors' own runs; empty where there is no file."""
    file = Path(directory) / EXPECTED
    if not file.is_file():
        return {}
    with gzip.open(file, "rt", newline="") as lines:
        return {
            (row["workload"].removeprefix("openb_pod_list_"), row["sc_policy"].partition("-")[2], int(row["seed"])): [
                float(row[str(pct)]) for pct in range(131)
            ]
            for row in csv.DictReader(lines)
        }


def summarise(outcomes: Mapping[Cell, Outcome], expected: Mapping[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    """One row a list and policy, in their order: means over seeds, and whether they agree with what was published.

    Columns: ``list``, ``policy``, ``order`` (drawn or given), ``seeds``, ``mean_pct``, ``published_pct``,
    ``difference``, ``tolerance``, ``agrees``. Drawn orders: the mean is to be within three standard errors of the
    difference of two means, of n and m seeds: ``3 s sqrt(1/n + 1/m)``, s being the published standard deviation; both
    means rounded to two decimals. Given orders: the largest difference of a seed from its published value is to be at
    most 0.01; of Random, whose draws are its own, nothing is asked.
    """
    import pandas as pd

    groups: dict[tuple[str, str, str], dict[int, float]] = {}
    for cell, outcome in outcomes.items():
        key = cell.list, cell.policy, "given" if cell.order else "drawn"
        groups.setdefault(key, {})[cell.seed] = outcome.final_pct
    rows: list[dict[str, Any]] = []
    for (list_name, policy, order), finals in groups.items():
        known = {seed: values[-1] for (a, b, seed), values in expected.items() if (a, b) == (list_name, policy)}
        mean = round(statistics.fmean(finals.values()), 2)
        row: dict[str, Any] = {
            "list": list_name, "policy": policy, "order": order, "seeds": len(finals), "mean_pct": mean,
            "published_pct": None, "difference": None, "tolerance": None, "agrees": None,
        }  # fmt: skip
        if len(known) > 1:
            row["published_pct"] = round(statistics.fmean(known.values()), 2)
            if order == "drawn":
                row["difference"] = round(mean - row["published_pct"], 2)
                row["tolerance"] = 3 * statistics.stdev(known.values()) * (1 / len(finals) + 1 / len(known)) ** 0.5
            elif policy != "Random" and finals.keys() <= known.keys():
                row["difference"] = max((round(finals[seed], 2) - known[seed] for seed in finals), key=abs)
                row["tolerance"] = 0.01
            if row["tolerance"] is not None:
                row["agrees"] = abs(row["difference"]) <= row["tolerance"] + 1e-9
        rows.append(row)
    return pd.DataFrame(rows)


def in_published_order(means: Mapping[str, float]) -> bool:
    """Whether policies rank as published: Random < DotProd < clustering and packing <= BestFit < FGD."""
    middle = means["GpuClustering"], means["GpuPacking"]
    return means["Random"] < means["DotProd"] < min(middle) <= max(middle) <= means["BestFit"] < means["FGD"]


# Tables and plots


def finals_frame(outcomes: Mapping[Cell, Outcome]) -> pd.DataFrame:
    """One row a run."""
    import pandas as pd

    names = ("final_pct", "placed", "refused", "cpu_s", "peak_rss_bytes", "decision_digest")
    return pd.DataFrame([
        {**_labels(cell), **{name: getattr(outcome, name) for name in names}} for cell, outcome in outcomes.items()
    ])  # fmt: skip


def curves_frame(outcomes: Mapping[Cell, Outcome]) -> pd.DataFrame:
    """One row a run and percent asked for."""
    import pandas as pd

    return pd.DataFrame([
        {**_labels(cell), "asked_pct": pct, "allocated_pct": allocated}
        for cell, outcome in outcomes.items()
        for pct, allocated in enumerate(outcome.allocation_pct)
    ])  # fmt: skip


def _labels(cell: Cell) -> dict[str, Any]:
    return {
        "list": cell.list, "policy": cell.policy, "seed": cell.seed, "order": "given" if cell.order else "drawn",
    }  # fmt: skip


def plot_curves(curves: pd.DataFrame, list_name: str, ax: Axes | None = None) -> Axes:
    """Plot the allocation against the demand that has arrived: the mean over seeds, with their range, by policy."""
    from eru_sim.plots import PALETTE, new_figure

    axes = ax if ax is not None else new_figure()[1][0]
    lines = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
    shown = curves[(curves["list"] == list_name) & (curves["asked_pct"] >= 70)]
    for place, (policy, rows) in enumerate(shown.groupby("policy", sort=False)):
        by_pct = rows.groupby("asked_pct")["allocated_pct"]
        mean = by_pct.mean()
        style: Any = {"color": PALETTE[place % len(PALETTE)], "linestyle": lines[place % len(lines)]}
        axes.plot(mean.index, mean, linewidth=1.6, label=str(policy), **style)
        axes.fill_between(mean.index, by_pct.min(), by_pct.max(), color=style["color"], alpha=0.15, linewidth=0)
    axes.set(title=list_name, xlabel="GPUs asked for so far (%)", ylabel="GPUs allocated (%)", xlim=(70, 130))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    return axes


def _text_table(summary: pd.DataFrame) -> list[str]:
    """Ours and published by list and policy, in plain text; ``!`` marks what does not agree."""
    lines = []
    for order, rows in summary.groupby("order", sort=False):
        policies = list(dict.fromkeys(rows["policy"]))
        lines += ["", f"Final GPU allocation in %, mean of seeds: ours / published ({order} orders)"]
        lines.append("list".ljust(12) + "".join(policy.rjust(16) for policy in policies))
        for list_name, cells_of in rows.groupby("list", sort=False):
            texts = {row["policy"]: _cell_text(row) for _, row in cells_of.iterrows()}
            lines.append(str(list_name).ljust(12) + "".join(texts.get(policy, "").rjust(16) for policy in policies))
    return lines[1:]


def _cell_text(row: Any) -> str:
    known = "" if row["published_pct"] is None or row["published_pct"] != row["published_pct"] else row["published_pct"]
    text = f"{row['mean_pct']:.2f}" + (f" / {known:.2f}" if known else "")
    return text + ("!" if row["agrees"] is False else "")


# Running


def run(
    directory: str, todo: Sequence[Cell], out: str | Path, *, jobs: int = 1, say: Any = None
) -> dict[Cell, Outcome]:
    """Run the cells that ``out`` does not hold yet, ``jobs`` at a time; return all. Each is written when it is done."""
    folder = check_directory(out) / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    found = {cell: _stored(folder / f"{cell.name}.json", cell.source(directory)) for cell in todo}
    missing = [cell for cell, outcome in found.items() if outcome is None]
    for number, (cell, outcome) in enumerate(_completed(directory, missing, jobs), start=1):
        _store(folder / f"{cell.name}.json", outcome)
        found[cell] = outcome
        if say is not None:
            say(f"{number}/{len(missing)} {cell.name}: {outcome.final_pct:.2f} % in {outcome.cpu_s:.1f} s")
    return {cell: outcome for cell, outcome in found.items() if outcome is not None}


def _completed(directory: str, missing: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, Outcome]]:
    if jobs == 1 or len(missing) < 2:
        for cell in missing:
            yield cell, run_cell(directory, cell)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, directory, cell): cell for cell in missing}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _stored(file: Path, source: str) -> Outcome | None:
    try:
        outcome = msgspec.json.decode(file.read_bytes(), type=Outcome)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return outcome if (outcome.version, outcome.source) == (_VERSION, source) else None


def _store(file: Path, outcome: Outcome) -> None:
    part = file.with_suffix(f".{os.getpid()}")
    part.write_bytes(msgspec.json.encode(outcome))
    part.replace(file)


def _files(outcomes: Mapping[Cell, Outcome], summary: pd.DataFrame) -> dict[str, bytes | str]:
    from eru_sim.plots import new_figure, to_png

    curves = curves_frame(outcomes)
    drawn = curves[curves["order"] == "drawn"]
    lists = list(dict.fromkeys((drawn if len(drawn) else curves)["list"]))
    columns = min(3, len(lists))
    figure, axes = new_figure(
        -(-len(lists) // columns), columns, width=5 * columns, height=4 * -(-len(lists) // columns)
    )
    for place, ax in enumerate(axes):
        if place < len(lists):
            plot_curves(drawn if len(drawn) else curves, lists[place], ax)
        else:
            ax.set_axis_off()
    return {
        "table.csv": summary.to_csv(index=False),
        "summary.parquet": summary.to_parquet(index=False),
        "finals.parquet": finals_frame(outcomes).to_parquet(index=False),
        "curves.parquet": curves.to_parquet(index=False),
        "curves.png": to_png(figure),
    }


def study(
    directory: str,
    out: str | Path,
    *,
    lists: Sequence[str] = LISTS,
    policies: Sequence[str] = tuple(POLICIES),
    seeds: Sequence[int] = SEEDS,
    orders: str | Path | None = None,
    jobs: int = 1,
    say: Any = None,
) -> pd.DataFrame:
    """Run what is missing, write tables and plots to ``out``, and return `summarise`'s table.

    Raises EruError for names that are not known, and what `eru_sim.replay` raises.
    """
    for name, given, known in (("list", lists, LISTS), ("policy", policies, tuple(POLICIES))):
        for value in given:
            if value not in known:
                raise EruError(f"{name}: {value!r} is not part of the study; there are: {', '.join(known)}")
    todo = cells(lists, policies, seeds, orders)
    if not todo or jobs < 1:
        raise EruError("give at least one list, one policy, one seed and one job")
    outcomes = run(directory, todo, out, jobs=jobs, say=say)
    summary = summarise(outcomes, published(directory))
    write_files(out, _files(outcomes, summary))
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 where all that was published comes out, 1 where not, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m eru_sim.studies.fgd", description=__doc__)
    parser.add_argument("directory", metavar="DIR", help="the openb trace")
    parser.add_argument("--out", default="out/studies/fgd", help="directory for cells, tables and plots")
    parser.add_argument("--orders", help="directory with given orders, LIST_seedN.txt.gz, to run as well")
    parser.add_argument("--lists", nargs="+", default=LISTS)
    parser.add_argument("--policies", nargs="+", default=tuple(POLICIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("-j", "--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    from traces import TraceError

    try:
        summary = study(
            given.directory, given.out, lists=given.lists, policies=given.policies, seeds=given.seeds,
            orders=given.orders, jobs=given.jobs, say=lambda text: print(text, file=sys.stderr, flush=True),
        )  # fmt: skip
    except (EruError, TraceError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(_text_table(summary)))
    verdicts = [bool(agrees) for agrees in summary["agrees"] if agrees is not None]
    means = summary[(summary["list"] == "default") & (summary["order"] == "drawn")].set_index("policy")["mean_pct"]
    if set(means.index) == set(POLICIES):
        verdicts.append(in_published_order({str(policy): float(mean) for policy, mean in means.items()}))
        print(f"\nPolicies on default rank as published: {'yes' if verdicts[-1] else 'NO'}")
    print(f"{sum(verdicts)} of {len(verdicts)} checks agree with what was published. Written to {given.out}.")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())

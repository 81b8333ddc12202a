"""Metrics of work: delays, slowdowns, completion times, fairness.

``outcomes`` is always a frame of `eru_sim.outcomes.Outcomes`. *Finished* is what ended by itself, with an exit code;
what was killed, lost, rejected, never started or has not ended yet has no completion time and no slowdown. Series keep
the index of ``outcomes``; an empty frame gives empty series and NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scheduler.lifecycle import HOLDING

if TYPE_CHECKING:
    import pandas as pd

SLOWDOWN_BOUND_S = 10.0
"""Runs that are shorter count as this long (Feitelson and Rudolph 1998)."""


def queueing_delays_s(outcomes: pd.DataFrame) -> pd.Series[float]:
    """Seconds from submission to the first placement, of what was placed; what was adopted has none."""
    delays = outcomes["placed_s"] - outcomes["submitted_s"]
    return delays.dropna()


def completion_times_s(outcomes: pd.DataFrame) -> pd.Series[float]:
    """Seconds from submission to the end of every finished workload: wait and run, with what evictions cost."""
    finished = _finished(outcomes)
    times: pd.Series[float] = finished["ended_s"] - finished["submitted_s"]
    return times


def bounded_slowdowns(outcomes: pd.DataFrame, bound_s: float = SLOWDOWN_BOUND_S) -> pd.Series[float]:
    """``max(1, (wait + run) / max(run, bound_s))`` of every finished workload.

    wait + run is its completion time; run is from its last start to its end, so that work which was lost to evictions
    and preemption counts as waiting. Feitelson and Rudolph, "Metrics and Benchmarking for Parallel Job Scheduling",
    JSSPP 1998, with the lower limit 1 of Feitelson 2001. ValueError where ``bound_s`` is not positive.
    """
    if not bound_s > 0:
        raise ValueError(f"bound_s: {bound_s} must be above 0")
    finished = _finished(outcomes)
    run = (finished["ended_s"] - finished["started_s"]).clip(lower=bound_s)
    slowdowns: pd.Series[float] = ((finished["ended_s"] - finished["submitted_s"]) / run).clip(lower=1.0)
    return slowdowns


def job_completion_times_s(outcomes: pd.DataFrame) -> pd.Series[float]:
    """JCT: seconds from a job's first submission to the end of its last workload, by job in order of appearance.

    A workload without a job is one of its own, under its own id. Jobs of which a workload is not finished are left out.
    """
    jobs = outcomes["job_id"].where(outcomes["job_id"] != "", outcomes["workload_id"])
    ended = outcomes["ended_s"].where(outcomes["exit_code"].notna())
    groups = outcomes.assign(ended_s=ended).groupby(jobs.rename("job_id"), sort=False)
    times: pd.Series[float] = (groups["ended_s"].max() - groups["submitted_s"].min()).astype(np.float64)
    return times[groups["ended_s"].count() == groups.size()]


def makespan_s(outcomes: pd.DataFrame) -> float:
    """Seconds from the first submission of all to the last end of what is finished; NaN where nothing is."""
    return float(_finished(outcomes)["ended_s"].max() - outcomes["submitted_s"].min())


def jain_index(values: ArrayLike) -> float:
    """``(sum x)^2 / (n sum x^2)``: 1 where all are equal, 1/n where one has everything; NaN for none.

    Jain, Chiu and Hawe, DEC-TR-301, 1984. All zero is equal too. ValueError for a value below 0.
    """
    amounts = np.asarray(values, dtype=np.float64)
    if amounts.size and not amounts.min() >= 0:
        raise ValueError(f"values: {amounts.min()} must be at least 0")
    if not amounts.size:
        return float("nan")
    largest = amounts.max()
    if largest == 0:
        return 1.0
    scaled = amounts / largest
    return float(scaled.sum() ** 2 / (scaled.size * (scaled**2).sum()))


def fairness(outcomes: pd.DataFrame) -> float:
    """Jain's index over tenants of their mean bounded slowdown; 1 where all suffer alike, NaN where nothing finished.

    Tenants of which nothing is finished have no slowdown and do not count.
    """
    slowdowns = bounded_slowdowns(outcomes)
    return jain_index(slowdowns.groupby(outcomes["tenant"].loc[slowdowns.index], observed=True).mean())


def dominant_shares(
    outcomes: pd.DataFrame, capacity: Mapping[str, float], *, start_s: float, end_s: float
) -> pd.Series[float]:
    """The dominant share of every tenant over a span of time: ``max over d of mean allocated_d / capacity_d``.

    ``capacity`` is the cluster's by dimension, in base units; dimensions that it leaves out, or has none of, do not
    count. What a workload holds counts from its last start to its end, or to ``end_s`` where it still holds it; what it
    held before an eviction does not. Sorted by tenant. Ghodsi et al., "Dominant Resource Fairness", NSDI 2011.
    ValueError for an empty span.
    """
    import pandas as pd

    if not end_s > start_s:
        raise ValueError(f"end_s: {end_s} must be after start_s, which is {start_s}")
    holds = outcomes["outcome"].isin([str(state) for state in HOLDING])
    ends = outcomes["ended_s"].where(~holds, end_s).clip(upper=end_s)
    held_s = (ends - outcomes["started_s"].clip(lower=start_s)).clip(lower=0.0).fillna(0.0)
    shares = {
        name: (outcomes[f"{name}_request"] * held_s).groupby(outcomes["tenant"], observed=True).sum()
        / (amount * (end_s - start_s))
        for name, amount in capacity.items()
        if amount > 0
    }
    dominant: pd.Series[float] = pd.DataFrame(shares).max(axis=1).rename("dominant_share").sort_index()
    return dominant


def request_classes(outcomes: pd.DataFrame, coverage: float = 1.0) -> pd.DataFrame:
    """The typical requests: one row for each distinct one, with its share of all workloads in ``weight``.

    Columns are those of ``outcomes`` that end in ``_request``. Rows come in falling count, ties with the larger amounts
    first, in the order of the columns, until ``coverage`` (0 to 1) of the workloads are among them; weights are scaled
    to add up to 1. Typical pods as in Weng et al., "Beware of Fragmentation", ATC 2023, with coverage 0.95.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage: {coverage} must be above 0 and at most 1")
    columns = [name for name in map(str, outcomes.columns) if name.endswith("_request")]
    counted = outcomes.groupby(columns, sort=False).size().rename("weight").reset_index()
    counted = counted.sort_values(["weight", *columns], ascending=False, ignore_index=True)
    covered = counted["weight"].cumsum() - counted["weight"] < coverage * len(outcomes)
    counted = counted[covered]
    return counted.assign(weight=counted["weight"] / max(1, counted["weight"].sum()))


def pending_requests(outcomes: pd.DataFrame) -> pd.DataFrame:
    """`request_classes` of what is queued, backoff included."""
    return request_classes(outcomes[outcomes["outcome"].isin(["queued", "backoff"])])


def after_warm_up(frame: pd.DataFrame, warm_up_s: float) -> pd.DataFrame:
    """Leave out the start of a run: workloads submitted, or samples of a timeline taken, before ``warm_up_s``.

    Of a timeline, the last sample before is kept as one at ``warm_up_s``: it still holds there.
    """
    if "submitted_s" in frame:
        return frame[frame["submitted_s"] >= warm_up_s]
    later = frame[frame["at_s"] >= warm_up_s]
    before = frame[frame["at_s"] < warm_up_s].tail(1)
    if len(before) and (not len(later) or later["at_s"].iloc[0] > warm_up_s):
        import pandas as pd

        return pd.concat([before.assign(at_s=float(warm_up_s)), later])
    return later


def work_metrics(outcomes: pd.DataFrame, warm_up_s: float = 0.0) -> dict[str, Any]:
    """All metrics of work as one flat row; NaN for a mean or quantile of nothing. Quantiles are interpolated linearly.

    What was submitted before ``warm_up_s`` does not count.
    """
    counted = after_warm_up(outcomes, warm_up_s) if warm_up_s else outcomes
    row: dict[str, Any] = {"workloads": len(counted), "finished": int(counted["exit_code"].notna().sum())}
    samples = {
        "queueing_delay_{}_s": queueing_delays_s(counted),
        "bounded_slowdown_{}": bounded_slowdowns(counted),
        "jct_{}_s": job_completion_times_s(counted),
    }
    for name, sample in samples.items():
        row[name.format("mean")] = float(sample.mean())
        for percent in (50, 90, 99):
            row[name.format(f"p{percent}")] = float(sample.quantile(percent / 100))
    row["makespan_s"] = makespan_s(counted)
    row["fairness"] = fairness(counted)
    row["evictions"] = int(counted["evictions"].sum())
    row["preemptions"] = int(counted["preemptions"].sum())
    row["moved_workloads"] = int((counted["evictions"] + counted["preemptions"] > 0).sum())
    return row


def _finished(outcomes: pd.DataFrame) -> pd.DataFrame:
    return outcomes[outcomes["exit_code"].notna()]

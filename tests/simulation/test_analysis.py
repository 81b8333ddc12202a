"""Metrics and statistics against values worked out by hand, and against SciPy."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eru_sim import analysis

NAN = math.nan


def outcomes(*rows: dict[str, Any]) -> pd.DataFrame:
    """A frame as `Outcomes.frame` gives it; what is not said is as for a workload that finished."""
    plain = {
        "workload_id": "w", "job_id": "", "tenant": "", "priority": 0, "cpu_request": 1, "memory_request": 1,
        "estimate_s": NAN, "submitted_s": 0.0, "placed_s": 0.0, "started_s": 0.0, "ended_s": 0.0,
        "outcome": "completed", "node_id": "n", "placements": 1, "evictions": 0,
        "preemptions": 0, "exit_code": 0,
    }  # fmt: skip
    frame = pd.DataFrame(
        [{**plain, "workload_id": f"w{number}", **row} for number, row in enumerate(rows)], columns=list(plain)
    )
    return frame.astype({"tenant": "category", "outcome": "category", "exit_code": "Int64"})


def ran(submitted_s: float, started_s: float, ended_s: float, **fields: Any) -> dict[str, Any]:
    times = {"submitted_s": submitted_s, "placed_s": started_s, "started_s": started_s, "ended_s": ended_s}
    return {**times, **fields}


RUNNING = {"outcome": "running", "ended_s": NAN, "exit_code": pd.NA}
QUEUED = {"outcome": "queued", "placed_s": NAN, "started_s": NAN, "ended_s": NAN, "exit_code": pd.NA, "placements": 0}
KILLED = {"outcome": "killed", "exit_code": pd.NA}


# -- work -----------------------------------------------------------------------------------------------------------


def test_bounded_slowdown_by_hand() -> None:
    frame = outcomes(
        ran(0, 100, 200),  # (100 + 100) / 100
        ran(0, 5, 6),  # shorter than 10 s: 6 / 10, and never below 1
        ran(0, 95, 100),  # 100 / 10
        ran(0, 30, 40, placed_s=10, evictions=1),  # what was lost to the eviction is waiting: 40 / 10
        ran(0, 50, 60, **KILLED),
        RUNNING,
        QUEUED,
    )
    assert analysis.bounded_slowdowns(frame).tolist() == [2, 1, 10, 4]
    assert analysis.bounded_slowdowns(frame, bound_s=1).tolist() == [2, 6, 20, 4]
    with pytest.raises(ValueError, match="bound_s: 0"):
        analysis.bounded_slowdowns(frame, bound_s=0)


def test_delays_and_completion_times() -> None:
    frame = outcomes(ran(10, 15, 40), ran(0, 90, 90, placed_s=30), QUEUED, ran(0, 0, 7, placed_s=NAN))
    assert analysis.queueing_delays_s(frame).tolist() == [5, 30]
    assert analysis.completion_times_s(frame).tolist() == [30, 90, 7]
    assert analysis.makespan_s(frame) == 90


def test_a_job_ends_with_its_last_workload() -> None:
    frame = outcomes(
        ran(10, 10, 50, job_id="b"),
        ran(0, 0, 5, job_id="a"),
        ran(12, 30, 40, job_id="b", exit_code=1),
        ran(0, 0, 7, workload_id="alone"),
        ran(0, 0, 9, job_id="a", **KILLED),
    )
    found = analysis.job_completion_times_s(frame)
    assert found.to_dict() == {"b": 40, "alone": 7}


def test_metrics_of_nothing_are_nan_without_warnings() -> None:
    found = analysis.work_metrics(outcomes())
    assert (found["workloads"], found["evictions"]) == (0, 0)
    assert all(math.isnan(found[name]) for name in ("bounded_slowdown_mean", "jct_p99_s", "makespan_s", "fairness"))


def test_one_row_of_all_metrics() -> None:
    frame = outcomes(ran(0, 0, 20), ran(0, 20, 40, evictions=2), ran(100, 100, 110, preemptions=1), QUEUED)
    found = analysis.work_metrics(frame)
    assert found["bounded_slowdown_mean"] == pytest.approx(4 / 3)
    assert (found["jct_p50_s"], found["makespan_s"]) == (20, 110)
    assert (found["workloads"], found["finished"]) == (4, 3)
    assert (found["evictions"], found["preemptions"], found["moved_workloads"]) == (2, 1, 2)
    late = analysis.work_metrics(frame, warm_up_s=50)
    assert (late["workloads"], late["makespan_s"], late["preemptions"]) == (1, 10, 1)


@pytest.mark.parametrize(
    ("values", "index"),
    [([1, 1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([1, 3], 0.8), ([0, 0], 1.0), ([5], 1.0), ([1e-300, 1e-300], 1.0)],
)
def test_jain_by_hand(values: list[float], index: float) -> None:
    assert analysis.jain_index(values) == pytest.approx(index)


def test_jain_of_nothing_and_of_debts() -> None:
    assert math.isnan(analysis.jain_index([]))
    with pytest.raises(ValueError, match="-1"):
        analysis.jain_index([1, -1])


def test_fairness_is_over_tenants_and_not_over_workloads() -> None:
    frame = outcomes(
        ran(0, 10, 20, tenant="a"), ran(0, 30, 40, tenant="a"), ran(0, 0, 10, tenant="b"), {**QUEUED, "tenant": "c"}
    )
    assert analysis.fairness(frame) == pytest.approx((3 + 1) ** 2 / (2 * (9 + 1)))


def test_dominant_shares_by_hand() -> None:
    frame = outcomes(
        ran(0, 0, 50, tenant="a", cpu_request=4, memory_request=1),  # half of the time: 0.2 of cpu, 0.05 of memory
        ran(0, 50, 100, tenant="a", cpu_request=2, memory_request=1),  # 0.1 and 0.05
        {**ran(0, 0, NAN, tenant="b", cpu_request=1, memory_request=6), **RUNNING},  # 0.1 and 0.6
        {**QUEUED, "tenant": "c", "cpu_request": 9},
        {**QUEUED, "tenant": "b", "started_s": 0.0, "cpu_request": 9},  # evicted: it holds nothing
    )
    shares = analysis.dominant_shares(frame, {"cpu": 10, "memory": 10, "gpu": 0}, start_s=0, end_s=100)
    assert shares.to_dict() == pytest.approx({"a": 0.3, "b": 0.6, "c": 0.0})
    later = analysis.dominant_shares(frame, {"cpu": 10}, start_s=50, end_s=100)
    assert later.to_dict() == pytest.approx({"a": 0.2, "b": 0.1, "c": 0.0})
    with pytest.raises(ValueError, match="end_s: 5"):
        analysis.dominant_shares(frame, {"cpu": 10}, start_s=5, end_s=5)


def test_typical_requests_come_in_falling_count_until_enough_are_covered() -> None:
    shapes = [(1, 1)] * 5 + [(2, 1)] * 2 + [(3, 1)] * 2 + [(9, 9)]
    frame = outcomes(*({"cpu_request": cpu, "memory_request": memory} for cpu, memory in shapes))
    found = analysis.request_classes(frame, coverage=0.7)
    assert found["cpu_request"].tolist() == [1, 3]  # of the two that are equally frequent, the larger
    assert found["weight"].tolist() == pytest.approx([5 / 7, 2 / 7])
    everything = analysis.request_classes(frame)
    assert everything["cpu_request"].tolist() == [1, 3, 2, 9]
    assert everything["weight"].sum() == pytest.approx(1)
    assert len(analysis.request_classes(outcomes())) == 0


def test_pending_requests() -> None:
    frame = outcomes({"cpu_request": 7}, {**QUEUED, "cpu_request": 3}, {**QUEUED, "outcome": "backoff"})
    assert analysis.pending_requests(frame)["cpu_request"].tolist() == [3, 1]


def test_warm_up_is_left_out() -> None:
    frame = outcomes(ran(0, 0, 1), ran(5, 5, 6), ran(9, 9, 10))
    assert analysis.after_warm_up(frame, 5)["submitted_s"].tolist() == [5, 9]
    timeline = pd.DataFrame({"at_s": [0.0, 4.0, 9.0], "queued": [1, 2, 3]})
    assert analysis.after_warm_up(timeline, 5).to_dict("list") == {"at_s": [5, 9], "queued": [2, 3]}
    assert analysis.after_warm_up(timeline, 4)["queued"].tolist() == [2, 3]
    assert analysis.after_warm_up(timeline, 20).to_dict("list") == {"at_s": [20], "queued": [3]}
    assert analysis.after_warm_up(timeline, 0)["queued"].tolist() == [1, 2, 3]


# -- capacity -------------------------------------------------------------------------------------------------------


def test_utilisation_by_hand() -> None:
    at, used, capacity = [0, 10, 30], [0, 5, 10], [10, 10, 20]
    assert analysis.utilisation(at, used, capacity, start_s=0, end_s=40) == pytest.approx(200 / 500)
    assert analysis.utilisation(at, used, capacity, start_s=20, end_s=40) == pytest.approx(150 / 300)
    assert analysis.utilisation([10], [5], [10], start_s=0, end_s=20) == 0.5  # nothing is known before
    assert math.isnan(analysis.utilisation(at, used, [0, 0, 0], start_s=0, end_s=40))
    with pytest.raises(ValueError, match="at_s: it falls"):
        analysis.utilisation([5, 3], [1, 1], [1, 1], start_s=0, end_s=9)


def test_free_capacity_of_nodes() -> None:
    nodes = pd.DataFrame(
        {
            "state": ["ready", "lost", "cordoned"],
            "cpu_capacity": [10, 10, 10], "cpu_allocated": [4, 0, 12],
            "memory_capacity": [7, 7, 7], "memory_allocated": [7, 0, 0],
        }
    )  # fmt: skip
    assert analysis.free_capacity(nodes, ["cpu", "memory"]).tolist() == [[6, 0], [0, 0], [0, 7]]
    assert analysis.free_capacity(nodes, ["cpu"], {"cpu": 1.5}).tolist() == [[11], [0], [3]]


def test_stranded_by_hand() -> None:
    free = [[4, 0], [2, 8], [6, 8]]
    # (3, 1) fits on the last node alone, (1, 1) on the last two.
    assert analysis.stranded_ratios(free, [[3, 1]]).tolist() == pytest.approx([6 / 12, 8 / 16])
    assert analysis.stranded_ratios(free, [[1, 1]]).tolist() == pytest.approx([4 / 12, 0])
    both = analysis.stranded_ratios(free, [[3, 1], [1, 1]], weights=[3, 1])
    assert both.tolist() == pytest.approx([(3 * 6 + 4) / 4 / 12, 3 * 8 / 4 / 16])
    assert analysis.stranded_ratios([[0, -5], [0, 3]], [[1, 1]]).tolist() == [0, 1]
    assert np.isnan(analysis.stranded_ratios(free, np.zeros((0, 2)))).all()
    with pytest.raises(ValueError, match="weights: 1 of them for 2"):
        analysis.stranded_ratios(free, [[3, 1], [1, 1]], weights=[1])


def test_gpu_fragmentation_by_hand() -> None:
    devices, cpu = [[1000, 300], [1000, 1000]], [8, 1]
    shared, whole, two, none = (2, 500, 1), (2, 1000, 1), (1, 1000, 2), (2, 0, 0)
    # Node 0: a shared one runs and cannot use the 300; two do not run; without GPU everything is lost. Node 1 has
    # the CPU for the third class alone, which leaves nothing over.
    for request, expected in ((shared, [300, 2000]), (whole, [300, 2000]), (two, [1300, 0]), (none, [1300, 2000])):
        assert analysis.gpu_fragmentation(devices, cpu, [request], [1.0]).tolist() == expected
    mixed = analysis.gpu_fragmentation(devices, cpu, [shared, two], [0.25, 0.75])
    assert mixed.tolist() == pytest.approx([0.25 * 300 + 0.75 * 1300, 0.25 * 2000])
    barred = analysis.gpu_fragmentation(devices, cpu, [shared], [1.0], allowed=[[False, True]])
    assert barred.tolist() == [1300, 2000]


CLASSES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 9), st.sampled_from([100, 500, 1000]), st.just(1)),
        st.tuples(st.integers(0, 9), st.just(1000), st.integers(2, 4)),
        st.tuples(st.integers(0, 9), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=5,
)


@given(st.lists(st.lists(st.integers(0, 1000), min_size=4, max_size=4), min_size=1, max_size=4), CLASSES, st.data())
def test_gpu_fragmentation_is_the_plain_sum(
    devices: list[list[int]], classes: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    cpu = data.draw(st.lists(st.integers(0, 9), min_size=len(devices), max_size=len(devices)))
    weights = data.draw(st.lists(st.floats(0, 1), min_size=len(classes), max_size=len(classes)))
    expected = []
    for free, cpu_free in zip(devices, cpu, strict=True):
        total = 0.0
        for (cpu_asked, milli, count), weight in zip(classes, weights, strict=True):
            enough = [left for left in free if left >= milli]
            if count and len(enough) >= count and cpu_free >= cpu_asked:
                total += weight * sum(left for left in free if left < milli)
            else:
                total += weight * sum(free)
        expected.append(total)
    assert analysis.gpu_fragmentation(devices, cpu, classes, weights).tolist() == pytest.approx(expected)


def test_allocation_against_demand_by_hand() -> None:
    curve = analysis.allocation_by_demand([2, 3, 5], [True, False, True], 10)
    assert curve["arrived_ratio"].tolist() == pytest.approx([0, 0.2, 0.5, 1.0])
    assert curve["allocated_ratio"].tolist() == pytest.approx([0, 0.2, 0.2, 0.7])
    with pytest.raises(ValueError, match="capacity: 0"):
        analysis.allocation_by_demand([1], [True], 0)


# -- statistics -----------------------------------------------------------------------------------------------------

VALUES = [4.1, 3.9, 5.2, 4.4, 4.9, 4.0, 4.6]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_student_interval_is_that_of_scipy(confidence: float) -> None:
    found = analysis.student_interval(VALUES, confidence)
    low, high = stats.t.interval(confidence, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(np.mean(VALUES))
    assert (found.replications, found.note) == (7, "")
    assert found.half_width == pytest.approx((high - low) / 2)


def test_student_interval_by_hand() -> None:
    found = analysis.student_interval([1, 2, 3])
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.note == "Only 3 replications: the interval is unreliable."


def test_bootstrap_interval_is_near_that_of_scipy_and_repeats() -> None:
    values = np.random.default_rng(1).exponential(10.0, 40)
    found = analysis.bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=2).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert analysis.bootstrap_interval(values) == found
    assert analysis.bootstrap_interval(values, seed=1) != found
    assert found.low < found.mean < found.high


def test_intervals_of_too_few_values_say_so() -> None:
    for interval in (analysis.student_interval, analysis.bootstrap_interval):
        one, none = interval([3.0]), interval([])
        assert (one.mean, one.note) == (3.0, "One replication gives no interval.")
        assert math.isnan(one.low)
        assert math.isnan(none.mean)
        with pytest.raises(ValueError, match="NaN"):
            interval([1.0, NAN])
        with pytest.raises(ValueError, match="confidence: 1"):
            interval([1.0, 2.0], 1)


def test_paired_comparison_is_that_of_scipy() -> None:
    first = np.array([10.0, 12.0, 9.0, 14.0, 11.0, 13.0])
    second = np.array([9.0, 11.5, 9.0, 12.0, 10.8, 12.0])
    found = analysis.paired_comparison(first, second)
    theirs = stats.ttest_rel(first, second).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert (found.higher, found.lower, found.equal, found.pairs) == (5, 0, 1, 6)
    assert found.sign_p_value == pytest.approx(2 / 2**5)
    assert found.is_distinct
    assert analysis.paired_comparison(second, first).is_distinct
    same = analysis.paired_comparison(first, first)
    assert not same.is_distinct
    assert math.isnan(same.sign_p_value)
    with pytest.raises(ValueError, match="pairs need one each"):
        analysis.paired_comparison([1, 2], [1])


def test_pairs_decide_what_intervals_of_the_runs_do_not() -> None:
    load = np.array([10.0, 50.0, 90.0, 30.0, 70.0])
    apart = analysis.student_interval(load), analysis.student_interval(load + 1)
    assert apart[0].high > apart[1].low
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    assert analysis.paired_comparison(load + 1 + noise, load).is_distinct


def test_comparison_to_a_baseline() -> None:
    runs = pd.DataFrame(
        {
            "policy": ["a", "b", "a", "b", "c", "c"],
            "replication": [0, 1, 1, 0, 1, 0],
            "pending": [1.0, 5.0, 2.0, 3.0, pd.NA, 1.0],
        }
    )
    found = analysis.compare_to_baseline(runs, "pending", "a").set_index("policy")
    assert found.index.tolist() == ["b", "c"]
    assert (found.loc["b", "mean"], found.loc["b", "pairs"], found.loc["b", "higher"]) == (2.5, 2, 2)
    assert (found.loc["c", "mean"], found.loc["c", "pairs"]) == (0, 1)
    assert found.loc["c", "note"] == "One replication gives no interval."
    with pytest.raises(ValueError, match="baseline: 'x' is none of the policies: a, b, c"):
        analysis.compare_to_baseline(runs, "pending", "x")
    with pytest.raises(ValueError, match="several runs of one policy agree"):
        analysis.compare_to_baseline(pd.concat([runs, runs]), "pending", "a")


# -- published schedules --------------------------------------------------------------------------------------------

LOGS = Path(__file__).resolve().parents[3] / "shared" / "traces" / "swf_hpc"


@pytest.mark.skipif(not LOGS.is_dir(), reason="the public logs are not beside the repository (shared/traces/swf_hpc)")
@pytest.mark.parametrize(
    ("name", "mean"),
    [("KTH-SP2.sim.easy_clairvoyant", 71.722), ("KTH-SP2.sim.easysjbf_clairvoyant", 49.848)],
)
def test_bounded_slowdown_of_a_published_schedule(name: str, mean: float) -> None:
    with gzip.open(LOGS / f"{name}.swf.gz", "rt") as lines:
        rows = [line.split() for line in lines if line.strip() and not line.startswith(";")]
    submitted, waited, ran_s = np.array([row[1:4] for row in rows], dtype=np.float64).T
    frame = pd.DataFrame(
        {
            "submitted_s": submitted,
            "started_s": submitted + waited,
            "ended_s": submitted + waited + ran_s,
            "exit_code": pd.array(np.zeros(len(rows), dtype=np.int64), dtype="Int64"),
        }
    )
    assert analysis.bounded_slowdowns(frame).mean() == pytest.approx(mean, abs=0.0005)

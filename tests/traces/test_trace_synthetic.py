from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import traces
from traces.fits import LIFETIMES
from traces.synthetic_models import MODELS, BoundedPareto

MODEL_NAMES = pytest.mark.parametrize("model", ["google2011", "google2019", "azure", "alibaba2017"])


class Columns:
    """A synthetic trace as arrays."""

    def __init__(self, source: str) -> None:
        self.trace = traces.open_trace(source)
        self.items = list(self.trace.submissions())
        self.at_ns = np.array([item.at_ns for item in self.items], dtype=np.float64)
        self.request = np.array([item.request for item in self.items], dtype=np.float64)
        self.service_ns = np.array([item.service_ns for item in self.items], dtype=np.float64)
        self.count = np.array([item.count for item in self.items], dtype=np.float64)
        capacity = dict.fromkeys(self.trace.dimensions, 0)
        for event in self.trace.machine_events():
            for name, value in event.capacity.items():
                capacity[name] += value
        self.capacity = np.array([capacity[name] for name in self.trace.dimensions], dtype=np.float64)

    def load(self, start: float, end: float) -> np.ndarray:
        """Return mean demand over capacity in a window given as shares of the horizon."""
        low, high = start * self.trace.horizon_ns, end * self.trace.horizon_ns
        overlap = np.minimum(self.at_ns + self.service_ns, high) - np.maximum(self.at_ns, low)
        busy = (self.request * (self.count * np.clip(overlap, 0, None))[:, None]).sum(axis=0)
        return busy / (high - low) / self.capacity


@pytest.fixture(scope="module")
def google2019():
    return Columns("synthetic:google2019?nodes=2000&hours=4&seed=1")


def digest(source: str) -> str:
    state = hashlib.sha256()
    trace = traces.open_trace(source)
    for event in trace.machine_events():
        state.update(repr(event).encode())
    for item in trace.submissions():
        state.update(repr(item).encode())
    return state.hexdigest()


@MODEL_NAMES
@pytest.mark.parametrize("mix", ["repeat", "distinct"])
def test_streams_are_ordered_and_within_machines(model, mix):
    found = Columns(f"synthetic:{model}?nodes=200&hours=1&mix={mix}")
    assert (np.diff(found.at_ns) >= 0).all()
    assert found.at_ns[-1] <= found.trace.horizon_ns
    assert (found.request > 0).all()
    assert (found.service_ns > 0).all()
    names = [item.workload_id for item in found.items]
    assert len(set(names)) == len(names)
    machines = list(found.trace.machine_events())
    assert len(machines) == 200
    largest = [max(event.capacity[name] for event in machines) for name in found.trace.dimensions]
    assert (found.request.max(axis=0) <= largest).all()


@MODEL_NAMES
def test_the_same_seed_gives_the_same_bytes(model):
    source = f"synthetic:{model}?nodes=50&hours=1&seed=3"
    assert digest(source) == digest(source)
    assert digest(source) != digest(source.replace("seed=3", "seed=4"))


def test_the_same_bytes_in_every_process():
    source = "synthetic:google2019?nodes=20&hours=1&mix=distinct"
    code = (
        "import hashlib, traces\n"
        f"trace = traces.open_trace({source!r})\n"
        "state = hashlib.sha256()\n"
        "for stream in (trace.machine_events(), trace.submissions()):\n"
        "    for item in stream:\n"
        "        state.update(repr(item).encode())\n"
        "print(state.hexdigest())"
    )
    for hash_seed in ("0", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == digest(source)


@pytest.mark.parametrize(
    ("options", "load", "tolerance"),
    [
        ("google2019?nodes=2000", 0.8, 0.05),
        ("google2019?nodes=2000&mix=distinct&seed=5", 0.8, 0.05),
        ("google2019?nodes=2000&workloads=300000&load=0.6", 0.6, 0.05),
        ("google2019?nodes=2000&workloads=100000&seed=2", 0.8, 0.05),
        ("google2011?nodes=5000&hours=6", 0.8, 0.05),
        ("google2011?nodes=2000&load=1.3", 1.3, 0.07),
        ("azure?nodes=1000&hours=12", 0.8, 0.05),
        ("alibaba2017?nodes=200&hours=12&load=0.5", 0.5, 0.1),
    ],
)
def test_offered_load_is_met_over_the_steady_window(options, load, tolerance):
    found = Columns(f"synthetic:{options}")
    assert found.load(0.1, 1.0).max() == pytest.approx(load, rel=tolerance)


def test_the_load_is_there_from_the_start_and_stays(google2019):
    parts = [google2019.load(tenth / 10, (tenth + 1) / 10).max() for tenth in range(10)]
    assert parts == pytest.approx([0.8] * 10, rel=0.1)


def test_start_empty_has_no_initial_population():
    found = Columns("synthetic:google2011?nodes=500&workloads=20000&start=empty")
    assert (found.at_ns > 0).all()
    assert found.count.sum() == 20_000


@pytest.mark.parametrize("workloads", [2_000, 50_000])
@MODEL_NAMES
def test_the_number_of_workloads_is_exact(model, workloads):
    trace = traces.open_trace(f"synthetic:{model}?nodes=60&workloads={workloads}")
    assert sum(item.count for item in trace.submissions()) == workloads


def test_too_few_workloads_for_the_load_are_refused_with_the_least_number():
    with pytest.raises(traces.TraceError, match=r"give at least \d+, or fewer nodes, or a lower load"):
        traces.open_trace("synthetic:google2019?nodes=5000&workloads=50")


def test_arrivals_are_far_burstier_than_poisson(google2019):
    arrivals = google2019.at_ns[google2019.at_ns > 0]
    counts, _ = np.histogram(arrivals, bins=240, range=(0, google2019.trace.horizon_ns))
    assert counts.var() / counts.mean() > 20
    jobs = np.array([item.at_ns for item in google2019.items if item.workload_id.endswith("-0") and item.at_ns > 0])
    job_counts, _ = np.histogram(jobs, bins=240, range=(0, google2019.trace.horizon_ns))
    assert job_counts.var() / job_counts.mean() > 2


def test_long_spans_are_diurnal():
    found = Columns("synthetic:azure?nodes=300&hours=120")
    hours = (found.at_ns[found.at_ns > 0] / 3.6e12).astype(int) % 24
    counts = np.bincount(hours, minlength=24)
    assert counts[12:18].mean() > 1.25 * counts[0:6].mean()


def test_requests_repeat_with_a_zipf_head(google2019):
    jobs = [item.request for item in google2019.items if item.workload_id.endswith("-0")]
    counts = np.sort(np.unique(np.array(jobs), axis=0, return_counts=True)[1])[::-1]
    harmonic = sum(1 / rank for rank in range(1, 301))
    assert len(counts) <= 300
    for rank in (1, 2, 4):
        assert counts[rank - 1] / len(jobs) == pytest.approx(1 / rank / harmonic, rel=0.15)


def test_distinct_requests_are_nearly_all_distinct():
    items = list(traces.open_trace("synthetic:google2019?nodes=300&hours=1&mix=distinct").submissions())
    assert len({item.request for item in items}) > 0.99 * len(items)


@pytest.mark.parametrize("model", ["google2011", "google2019"])
def test_request_sizes_follow_the_published_quantiles(model):
    found = Columns(f"synthetic:{model}?nodes=4000&hours=2&mix=distinct")
    first = np.array([item.workload_id.endswith("-0") for item in found.items])
    for column, table in enumerate((MODELS[model].cpu, MODELS[model].memory)):
        unit = (1e7, 1e12)[column]
        ranks = np.array([0.1, 0.5, 0.75, 0.9])
        below = [(found.request[first, column] / unit <= value).mean() for value in table.quantile(ranks)]
        assert below == pytest.approx(ranks, abs=0.04)


def test_lifetimes_of_arrivals_follow_the_published_quantiles(google2019):
    arriving = np.array([item.at_ns > 0 and item.workload_id.endswith("-0") for item in google2019.items])
    below = [(google2019.service_ns[arriving] / 1e9 <= seconds).mean() for seconds in (62, 176, 440, 1_649)]
    assert below == pytest.approx([0.25, 0.5, 0.75, 0.9], abs=0.03)


def test_tasks_per_job_are_heavy_tailed(google2019):
    sizes = {}
    for item in google2019.items:
        sizes[item.job_id] = sizes.get(item.job_id, 0) + 1
    ordered = np.sort(np.array(list(sizes.values())))
    assert np.median(ordered) <= 3
    assert ordered[-len(ordered) // 100 :].sum() > 0.25 * ordered.sum()
    tail = ordered[(ordered >= 10) & (ordered < 400)]
    assert 1 / np.log(tail / 9.5).mean() == pytest.approx(0.69, abs=0.25)


def test_tiers_and_flags_follow_the_published_shares():
    items = list(traces.open_trace("synthetic:google2011?nodes=4000&hours=2").submissions())
    jobs = {item.job_id: item for item in items}
    shares = {level: sum(item.priority == level for item in jobs.values()) / len(jobs) for level in (0, 9, 11)}
    assert shares == pytest.approx({0: 0.29, 9: 0.339, 11: 0.045}, abs=0.02)
    flagged = sum(item.constraints is not None for item in jobs.values()) / len(jobs)
    assert flagged == pytest.approx(0.25, abs=0.02)


def test_azure_sizes_are_flavours():
    items = list(traces.open_trace("synthetic:azure?nodes=500&hours=4").submissions())
    cores = np.array([item.request[0] for item in items])
    assert set(cores.tolist()) <= {1000, 2000, 4000, 8000}
    per_core = np.array([item.request[1] for item in items]) / (cores / 1000)
    assert (per_core == 1.75 * (1 << 30)).mean() > 0.9


def test_generation_is_fast_and_keeps_little():
    trace = traces.open_trace("synthetic:google2019?nodes=2000&workloads=300000")
    started = time.process_time()
    count = sum(1 for _ in trace.submissions())
    assert count == 300_000
    assert (time.process_time() - started) / count < 10e-6  # a target of 5 us, with room for a busy machine


def test_the_bounded_pareto_is_bounded_and_exact():
    sizes = BoundedPareto(alpha=0.69, upper=1000.0)
    assert sizes.quantile(np.array([0.0, 1.0])) == pytest.approx([1.0, 1000.0])
    assert sizes.quantile(np.array([0.5]))[0] == pytest.approx((1 - 0.5 * (1 - 1000**-0.69)) ** (-1 / 0.69))


@pytest.mark.parametrize("name", LIFETIMES)
def test_fits_are_increasing_and_their_mean_is_that_of_their_quantiles(name):
    fit = LIFETIMES[name]
    ranks = (np.arange(200_000) + 0.5) / 200_000
    values = fit.quantile(ranks)
    assert (np.diff(values) >= 0).all()
    assert values.mean() == pytest.approx(fit.mean(), rel=0.01)


def test_the_google2011_fit_has_the_published_mean():
    assert LIFETIMES["google2011-jobs"].mean() == pytest.approx(2_856, rel=0.01)

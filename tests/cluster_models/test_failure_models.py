"""Fitted and assumed failures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eru_sim.cluster_models import ClusterSpecError, build_cluster, build_topology, lay_out, machine_failures
from eru_sim.cluster_models.failures import _mean_outage_s, outage_quantile_s
from traces.schema import SECOND_NS, MachineEvent, TraceError

DAY_NS = 86_400 * SECOND_NS
BUSY = "exponential?mtbf_hours=1&mttr_minutes=30"


def ids(count: int) -> list[str]:
    return [f"n{row}" for row in range(count)]


def check(events: Iterable[MachineEvent], node_ids: Sequence[str], start_ns: int, horizon_ns: int) -> Counter[str]:
    """Assert order, window and alternation; return the number of events of each kind."""
    known, down, last_ns = set(node_ids), set[str](), start_ns
    counts: Counter[str] = Counter()
    for event in events:
        assert last_ns <= event.at_ns < horizon_ns
        last_ns = event.at_ns
        assert event.machine_id in known
        assert (event.machine_id in down) == (event.kind == "add")
        if event.kind == "remove":
            down.add(event.machine_id)
        else:
            down.discard(event.machine_id)
        counts[event.kind] += 1
    assert counts["remove"] - counts["add"] == len(down)
    return counts


@given(
    st.sampled_from(["exponential", "weibull"]),
    st.integers(0, 12),
    st.integers(0, 2**64 - 1),
    st.integers(0, DAY_NS),
    st.integers(0, DAY_NS),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_events_are_ordered_and_alternate_within_the_window(
    kind: str, nodes: int, seed: int, start_ns: int, length_ns: int, racks: bool
) -> None:
    shape = "&shape=0.6" if kind == "weibull" else ""
    with_racks = racks and nodes > 0
    spec = f"{kind}?mtbf_hours=0.5&mttr_minutes=20{shape}" + ("&racks=true&rack_ratio=0.5" if with_racks else "")
    topology = build_topology(ids(nodes), lay_out(nodes, nodes_per_rack=3)) if with_racks else None
    horizon_ns = start_ns + length_ns
    model = machine_failures(spec, ids(nodes), start_ns=start_ns, horizon_ns=horizon_ns, seed=seed, topology=topology)
    events = list(model)
    check(events, ids(nodes), start_ns, horizon_ns)
    assert list(model.events) == events


def test_a_later_horizon_and_more_nodes_extend_the_same_failures() -> None:
    short = list(machine_failures(BUSY, ids(20), start_ns=0, horizon_ns=DAY_NS // 2, seed=3))
    longer = list(machine_failures(BUSY, ids(20), start_ns=0, horizon_ns=DAY_NS, seed=3))
    assert longer[: len(short)] == short
    wider = list(machine_failures(BUSY, ids(30), start_ns=0, horizon_ns=DAY_NS // 2, seed=3))
    assert [event for event in wider if event.machine_id in ids(20)] == short
    shifted = list(machine_failures(BUSY, ids(20), start_ns=DAY_NS, horizon_ns=DAY_NS + DAY_NS // 2, seed=3))
    assert [event.at_ns - DAY_NS for event in shifted] == [event.at_ns for event in short]
    assert list(machine_failures(BUSY, ids(20), start_ns=0, horizon_ns=DAY_NS // 2, seed=4)) != short


def test_the_google_fit_has_the_measured_rate_and_outages() -> None:
    days = 29
    model = machine_failures("fit:google2011", ids(20_000), start_ns=0, horizon_ns=days * DAY_NS, seed=0)
    removed: dict[str, int] = {}
    outages: list[float] = []
    removals = 0
    for event in model:
        if event.kind == "remove":
            removed[event.machine_id] = event.at_ns
            removals += 1
        else:
            outages.append((event.at_ns - removed.pop(event.machine_id)) / SECOND_NS)
    assert removals / (20_000 * days) == pytest.approx(0.0247, rel=0.04)
    outages.sort()
    for probability, seconds in ((0.1, 99), (0.5, 998), (0.9, 31_162)):
        assert outages[int(probability * len(outages))] == pytest.approx(seconds, rel=0.1)
    assert "0.0247 removals per machine-day" in model.assumptions[0]
    assert model.repaired == {}


def test_the_fitted_quantiles_are_the_measured_ones() -> None:
    for probability, seconds in ((0.1, 99), (0.5, 998), (0.9, 31_162), (0.99, 328_668)):
        assert outage_quantile_s(probability) == pytest.approx(seconds)
    assert outage_quantile_s(0) == pytest.approx(55.6, abs=0.1)
    assert outage_quantile_s(1) == pytest.approx(427_011, abs=1)
    samples = 100_000
    mean = sum(outage_quantile_s((index + 0.5) / samples) for index in range(samples)) / samples
    assert _mean_outage_s() == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("shape", ["0.5", "1", "3"])
def test_a_weibull_cluster_is_long_in_service_from_the_start(shape: str) -> None:
    spec = f"weibull?shape={shape}&mtbf_hours=100&mttr_minutes=1"
    window_ns = 10 * 3600 * SECOND_NS
    model = machine_failures(spec, ids(20_000), start_ns=0, horizon_ns=window_ns, seed=1)
    assert sum(event.kind == "remove" for event in model) == pytest.approx(2_000, rel=0.1)


def test_rack_outages_keep_the_rate_and_take_whole_racks() -> None:
    nodes = 4_000
    topology = build_cluster(f"{nodes}x1c?nodes_per_rack=40").topology
    args = {"start_ns": 0, "horizon_ns": 29 * DAY_NS, "seed": 5, "topology": topology}
    model = machine_failures("fit:google2011?racks=true&rack_ratio=0.5", ids(nodes), **args)  # type: ignore[arg-type]
    removals = [event for event in model if event.kind == "remove"]
    at_once = Counter(event.at_ns for event in removals)
    whole = sum(1 for count in at_once.values() if count >= 35)
    assert whole == pytest.approx(0.5 * 0.0247 * 29 * nodes / 40, rel=0.5)
    # few independent rack outages, so the rate is rough
    assert len(removals) / (nodes * 29) == pytest.approx(0.0247, rel=0.4)
    assert model.repaired["overlapping_outage"] > 0
    every = machine_failures("fit:google2011?racks=true&rack_ratio=1", ids(nodes), **args)  # type: ignore[arg-type]
    assert min(Counter(event.at_ns for event in every if event.kind == "remove").values()) >= 35


def test_none_has_no_events_and_assumes_nothing() -> None:
    model = machine_failures("none", ids(3), start_ns=0, horizon_ns=DAY_NS, seed=0)
    assert list(model) == []
    assert model.assumptions == ()


PROGRAM = """
import hashlib, msgspec
from eru_sim.cluster_models import build_cluster, machine_failures
cluster = build_cluster("openb:300?shuffle=true&racks=20", seed=4)
digest = hashlib.sha256(msgspec.json.encode(cluster.nodes))
for spec in ("fit:google2011?racks=true", "weibull?shape=0.7&mtbf_hours=50&mttr_minutes=9"):
    failures = machine_failures(
        spec, cluster.node_ids, start_ns=0, horizon_ns=10**16, seed=9, topology=cluster.topology
    )
    for event in failures:
        digest.update(msgspec.json.encode(event))
print(digest.hexdigest())
"""


def test_bytes_do_not_depend_on_the_process_or_its_hash_seed() -> None:
    root = Path(__file__).resolve().parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("exponental?mtbf_hours=1&mttr_minutes=1", "did you mean 'exponential'?"),
        ("", "there is no model ''"),
        ("fit", "there is no model 'fit'; write fit:google2011"),
        ("fit:google2019", "there is no model 'fit:google2019'; write fit:google2011"),
        ("none:x", "there is no model 'none:x'; write none"),
        ("none?racks=true", "there is no option 'racks': none has none"),
        ("exponential", "the option mtbf_hours is missing; write ?mtbf_hours=..&mttr_minutes=.."),
        ("weibull?mtbf_hours=1&mttr_minutes=1", "the option shape is missing"),
        ("exponential?mtbf_hour=1&mttr_minutes=1", "there is no option 'mtbf_hour': did you mean 'mtbf_hours'?"),
        ("exponential?mtbf_hours=0&mttr_minutes=1", "mtbf_hours is '0'; give a number in 1e-06 .. 1e+09"),
        ("exponential?mtbf_hours=nan&mttr_minutes=1", "mtbf_hours is 'nan'"),
        ("exponential?mtbf_hours=ten&mttr_minutes=1", "mtbf_hours is 'ten'"),
        ("exponential?mtbf_hours=1&mtbf_hours=1&mttr_minutes=1", "the option mtbf_hours is given twice"),
        ("weibull?shape=99&mtbf_hours=1&mttr_minutes=1", "shape is '99'; give a number in 0.1 .. 10"),
        ("fit:google2011?racks=yes", "racks is 'yes'; give true or false"),
        ("fit:google2011?racks=true", "racks=true needs nodes that stand in racks; build the cluster with ?racks=N"),
        ("fit:google2011?rack_ratio=0.5", "rack_ratio is given without racks=true"),
        ("fit:google2011?racks=true&rack_ratio=2", "rack_ratio is '2'; give a number in 1e-06 .. 1"),
    ],
)
def test_errors_are_one_line_with_a_remedy(spec: str, told: str) -> None:
    with pytest.raises(TraceError) as caught:
        machine_failures(spec, ids(2), start_ns=0, horizon_ns=1, seed=0)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arguments_are_checked() -> None:
    with pytest.raises(ClusterSpecError, match="the seed is -1"):
        machine_failures("none", [], start_ns=0, horizon_ns=1, seed=-1)
    with pytest.raises(ClusterSpecError, match="horizon_ns 1 is before start_ns 2"):
        machine_failures("none", [], start_ns=2, horizon_ns=1, seed=0)
    with pytest.raises(ClusterSpecError, match="node 'a' is given twice"):
        machine_failures("none", ["a", "a"], start_ns=0, horizon_ns=1, seed=0)
    with pytest.raises(ClusterSpecError, match="the topology has 3 nodes, but 2 are given"):
        machine_failures(
            "none", ["a", "b"], start_ns=0, horizon_ns=1, seed=0, topology=build_topology(ids(3), [{}] * 3)
        )

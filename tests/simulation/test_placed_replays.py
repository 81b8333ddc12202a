"""Replays in which more than quantities counts: NUMA nodes and groups, interference and curves, particular GPUs.

What came out is read from recordings and results, and checked by code that shares none with the scheduler.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from public_slices_kit import huawei_slice, public, tianchi_slice
from simulation_kit import conserved, times

from eru_sim import ReplayResult, explain, replay, verify
from eru_sim.cli.main import main
from eru_sim.journal_file import open_journal
from eru_sim.placement_checks import huawei_violations, tianchi_violations
from scheduler.commands import StartWorkload
from scheduler.events import WorkloadExited
from traces import open_trace


def starts_and_ends(journal: Path) -> Iterator[tuple[str, StartWorkload | None]]:
    """What was started (with the command) and what ended (with None), by workload, in order."""
    for batch in open_journal(journal)[1]:
        for event in batch.events:
            if isinstance(event, WorkloadExited):
                yield event.workload_id, None
        for command in batch.commands:
            if isinstance(command, StartWorkload):
                yield command.workload_id, command


# -- NUMA nodes and groups ------------------------------------------------------------------------------------------


def numa_places(journal: Path) -> dict[str, tuple[str, list[str]]]:
    """Where the engine was told to run each VM: host and NUMA nodes."""
    return {
        name: (start.node_id, start.engine_args["cpuset_mems"].split(","))
        for name, start in starts_and_ends(journal)
        if start is not None and start.engine_args is not None
    }


def numa_assignments(result: ReplayResult) -> dict[str, tuple[str, list[str]]]:
    rows = result.placement[["workload_id", "node_id", "assignments"]].to_numpy()
    return {name: (node, assignments["cpu"].detail["numa"].split(",")) for name, node, assignments in rows}


@pytest.mark.parametrize(("sequence", "least"), [("C1", 4796), ("C2", 4734)])
def test_a_whole_sequence_is_placed_without_a_violation(sequence: str, least: int) -> None:
    """``least`` is what a plain first fit places, written apart from the scheduler; best fit places more."""
    source = f"huawei_numa2025:{public('huawei_numa2025')}?sequence={sequence}"
    result = replay(source, policy="best-fit")
    places = numa_assignments(result)
    assert len(places) == result.summary["running"] > least
    assert huawei_violations(source, places) == []


@pytest.fixture(scope="module")
def numa_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, ReplayResult]:
    """More than fits: 500 requests on 70 servers."""
    folder = tmp_path_factory.mktemp("huawei")
    source, journal = huawei_slice(folder, "C2", 500, 70), folder / "run.jsonl.gz"
    return source, journal, replay(source, policy="first-fit", journal=journal, check_every=500)


def test_what_the_engine_is_told_is_what_is_held(numa_run: tuple[str, Path, ReplayResult]) -> None:
    source, journal, result = numa_run
    places = numa_places(journal)
    assert places == numa_assignments(result)
    assert huawei_violations(source, places) == []
    assert 0 < result.summary["pending"] < result.summary["placed"] == len(places)
    assert any(len(nodes) == 2 for _, nodes in places.values())
    assert result.summary["plugins"] == ["labels", "cpu", "affinity"]
    assert result.summary["ignored"] == {}


def test_bindings_and_groups_survive_a_recording(numa_run: tuple[str, Path, ReplayResult], tmp_path: Path) -> None:
    source, journal, result = numa_run
    found = verify(journal)
    assert found["ok"], found["first_difference"]
    same = replay(f"journal:{journal}", policy="first-fit").summary
    assert same["decision_digest"] == result.summary["decision_digest"]
    other = replay(f"journal:{journal}", policy="worst-fit", journal=tmp_path / "other.jsonl")
    assert other.summary["decision_digest"] != result.summary["decision_digest"]
    assert other.summary["plugins"] == result.summary["plugins"]
    assert huawei_violations(source, numa_places(tmp_path / "other.jsonl")) == []


def test_why_a_vm_waits_is_told_by_plugin(numa_run: tuple[str, Path, ReplayResult]) -> None:
    _, journal, result = numa_run
    placed = {*result.placement["workload_id"]}
    waiting = [name for _, name in times(journal, "workloads_submitted") if name not in placed]
    assert len(waiting) == result.summary["pending"]
    story = explain(waiting[0], journal=journal)
    assert story["state"] == "queued"
    nodes, _, reasons = story["diagnosis"].partition(" nodes: ")
    counts = {reason: int(count) for count, reason in (part.split(" ") for part in reasons.split(", "))}
    assert nodes == "0/70"
    assert sum(counts.values()) == 70
    assert {"cpu", "affinity"} <= counts.keys() <= {"cpu", "memory", "affinity"}


def test_nodes_that_say_nothing_of_numa_take_no_bound_vm_and_the_result_says_so(tmp_path: Path) -> None:
    summary = replay(huawei_slice(tmp_path, "C1", 20, 5), cluster="5x64c256g").summary
    assert (summary["placed"], summary["pending"]) == (0, 20)
    assert (
        "Nodes have for cpu, affinity what their capacity, labels and topology tell, and no more."
        in summary["assumptions"]
    )


# -- curves and interference ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tianchi(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One in 25 of the machines in use and of the waiting instances, and 20 machines more."""
    return tianchi_slice(tmp_path_factory.mktemp("tianchi"), 25, 20)


@pytest.fixture(scope="module")
def adopted(tianchi: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReplayResult]:
    journal = tmp_path_factory.mktemp("adopted") / "run.jsonl"
    return journal, replay(tianchi, initial="recorded", policy="best-fit", journal=journal)


def machines(result: ReplayResult) -> dict[str, str]:
    return dict(result.placement[["workload_id", "node_id"]].to_numpy())


def test_the_recorded_instances_stay_and_the_others_fit_beside_them(
    tianchi: str, adopted: tuple[Path, ReplayResult]
) -> None:
    _, result = adopted
    recorded = {item.workload_id: item.recorded_machine_id for item in open_trace(tianchi).submissions()}
    before = {name: machine for name, machine in recorded.items() if machine}
    after = machines(result)
    assert {name: after[name] for name in before} == before
    assert result.summary["adopted"] == len(before)
    assert result.summary["placed"] == len(recorded) - len(before) > 250
    assert (result.summary["pending"], result.summary["refused_requests"]) == (0, 0)
    assert tianchi_violations(tianchi, after) == []
    fullest, _ = Counter(after.values()).most_common(1)[0]
    wrong = tianchi_violations(tianchi, {**after, **dict.fromkeys(after.keys() - before.keys(), fullest)})
    assert {violation.machine for violation in wrong} == {fullest}
    assert {"cpu", "memory"} <= {violation.kind for violation in wrong}


def test_a_recording_has_machines_curves_and_rules(tianchi: str, adopted: tuple[Path, ReplayResult]) -> None:
    journal, result = adopted
    assert verify(journal)["ok"]
    other = replay(f"journal:{journal}", initial="recorded", policy="worst-fit")
    assert other.summary["adopted"] == result.summary["adopted"]
    assert machines(other) != machines(result)
    assert tianchi_violations(tianchi, machines(other)) == []


def test_a_run_without_duration_has_the_utilisation_of_its_end(adopted: tuple[Path, ReplayResult]) -> None:
    _, result = adopted
    used, capacity = result.nodes["disk_allocated"].sum(), result.nodes["disk_capacity"].sum()
    assert result.summary["horizon_s"] == 0
    assert result.summary["utilisation"]["disk"] == used / capacity > 0.5


@pytest.mark.parametrize("policy", ["first-fit", "worst-fit"])
def test_all_instances_find_a_place_from_empty_machines(tianchi: str, policy: str) -> None:
    result = replay(tianchi, policy=policy)
    assert tianchi_violations(tianchi, machines(result)) == []
    assert conserved(result.summary)
    assert result.summary["adopted"] == 0
    assert len(result.placement) == result.summary["placed"] > 0.97 * result.summary["workloads"]


# -- particular GPUs ------------------------------------------------------------------------------------------------

Row = dict[str, str]


def rows_of(path: Path) -> list[Row]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        return list(csv.DictReader(stream))


def device_violations(journal: Path) -> tuple[list[str], int]:
    """What is wrong with any device at any time, and how many pods with GPUs were started."""
    root = public("openb_gpu2023")
    nodes = {row["sn"]: row for row in rows_of(root / "openb_node_list_gpu_node.csv")}
    pods = {row["name"]: row for row in rows_of(root / "openb_pod_list_default.csv.gz")}
    on_device: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    where: dict[str, tuple[str, list[str]]] = {}
    wrong: list[str] = []
    for name, start in starts_and_ends(journal):
        if start is None:
            left, devices = where.pop(name, ("", []))
            for device in devices:
                del on_device[left, device][name]
            continue
        pod, node = pods[name], nodes[start.node_id]
        devices = (start.engine_args or {}).get("gpu_devices", [])
        models = [model for model in pod["gpu_spec"].split("|") if model]
        if len(set(devices)) != int(pod["num_gpu"]):
            wrong.append(f"{name}: {devices} for {pod['num_gpu']} GPUs")
        if devices and models and node["model"] not in models:
            wrong.append(f"{name}: {node['model']} for {models}")
        where[name] = node["sn"], devices
        for device in devices:
            if not 0 <= int(device) < int(node["gpu"]):
                wrong.append(f"{name}: no device {device} on {node['sn']}")
            on_device[node["sn"], device][name] = int(pod["gpu_milli"])
            if sum(on_device[node["sn"], device].values()) > 1000:
                wrong.append(f"{name}: device {device} of {node['sn']} is exceeded")
    return wrong, sum(1 for _, start in starts_and_ends(journal) if start is not None and start.engine_args)


@pytest.mark.parametrize("options", [{"times": "arrivals"}, {"times": "recorded", "horizon": "140d"}])
def test_no_gpu_is_ever_shared_beyond_the_whole(options: dict[str, Any], tmp_path: Path) -> None:
    source = f"openb:{public('openb_gpu2023')}?times={options['times']}"
    journal = tmp_path / "run.jsonl.gz"
    summary = replay(source, policy="best-fit", journal=journal, horizon=options.get("horizon")).summary
    wrong, started = device_violations(journal)
    assert wrong == []
    assert conserved(summary)
    assert started > 1000
    assert summary["plugins"] == ["labels", "gpu"]
    assert summary["ignored"] == {}


def test_comparing_by_recorded_times_says_what_that_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    source = f"openb:{public('openb_gpu2023')}"
    arguments = ["sim", "compare", source, "--policy", "best-fit", "--policy", "random", "--horizon", "120d"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Warning: by its recorded times openb never has much more than 1 % of its GPUs busy" in printed
    assert "compare policies with times=arrivals" in printed
    assert "utilisation gpu" in printed

"""Whole replays: all faults together, kills, recorded placements, overcommit, and a journal as a trace."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path

import pytest
from simulation_kit import S, at, batches, conserved, down, times, up, work, written

from eru_sim import EruError, replay, verify
from traces import MachineEvent

SYNTHETIC = "synthetic:google2019?nodes=30&hours=0.3&seed=2&load=1.1"
ALL_FAULTS = "start=2s,stop=1s,pull=5s,jitter=0.3,start_failure=0.05,lost=0.1,duplicate=0.2,slow_nodes=0.2,report=30s"


@pytest.mark.parametrize("policy", ["first-fit", "best-fit", "random"])
@pytest.mark.parametrize("seed", [1, 2])
def test_all_faults_together_conserve_work(tmp_path: Path, policy: str, seed: int) -> None:
    source = "synthetic:google2019?nodes=12&hours=0.2&seed=3&load=1.1&workloads=300"
    journal = tmp_path / "run.jsonl.gz"
    summary = replay(
        source,
        policy=policy,
        seed=seed,
        engine=ALL_FAULTS,
        failures="exponential?mtbf_hours=0.3&mttr_minutes=2",
        overcommit="cpu=1.3",
        journal=journal,
        check_every=1,
        horizon="1h",
    ).summary
    assert conserved(summary)
    assert summary["workloads"] == 300
    assert min(summary["evicted"], summary["start_failures"], summary["stale_completions"]) > 0
    found = verify(journal)
    assert found["ok"], found["first_difference"]


def test_work_is_killed_at_its_recorded_time_whatever_its_state(tmp_path: Path) -> None:
    submissions = [
        work("runs", 1, 100, size=100, kill_at_ns=30 * S),
        work("waits", 2, 100, size=100, kill_at_ns=20 * S),
        work("ends first", 3, 10, size=100, kill_at_ns=90 * S),
        work("many", 4, None, kill_at_ns=95 * S, count=3),
    ]
    journal = tmp_path / "j"
    summary = replay(written(tmp_path, [up("a")], submissions, 200), journal=journal, check_every=1).summary
    assert times(journal, "stop_workload") == [(30, "runs"), (95, "many/0"), (95, "many/1"), (95, "many/2")]
    assert (summary["killed"], summary["completed"], summary["refused_requests"]) == (5, 1, 0)
    assert times(journal, "removal_requested", "waits") == [(20, "waits")]


def test_work_that_is_killed_in_the_instant_of_its_submission_does_not_run_for_ever(tmp_path: Path) -> None:
    source = written(tmp_path, [up("a")], [work("w", 5, 3, kill_at_ns=5 * S)], 100)
    summary = replay(source, check_every=1).summary
    assert (summary["workloads"], summary["killed"], summary["running"]) == (1, 1, 0)


def test_exit_codes_and_censored_services(tmp_path: Path) -> None:
    submissions = [work("good", 0, 5), work("bad", 0, 5, exit_code=1), work("endless", 0, None)]
    summary = replay(written(tmp_path, [up("a")], submissions, 50), check_every=1).summary
    assert (summary["completed"], summary["failed"], summary["running"]) == (1, 1, 1)


def test_the_recorded_placement_is_taken_over_as_found(tmp_path: Path) -> None:
    submissions = [
        work("here", 0, 10, size=80, recorded_machine_id="a"),
        work("too much", 0, 20, size=80, recorded_machine_id="a"),
        work("nowhere", 0, 10, recorded_machine_id="ghost"),
        work("later", 30, 10, size=90),
    ]
    source, journal = written(tmp_path, [up("a"), up("b", cpu=1)], submissions), tmp_path / "j"
    result = replay(source, initial="recorded", policy="first-fit", journal=journal, check_every=1)
    summary = result.summary
    assert (summary["adopted"], summary["placed"], summary["completed"]) == (2, 2, 4)
    assert at(times(journal, "workload_exited")) == [10, 10, 20, 40]
    assert any("1 workloads were recorded on machines that are not there" in text for text in summary["assumptions"])
    assert verify(journal)["ok"]
    empty = replay(source, check_every=1).summary
    assert (empty["adopted"], empty["placed"]) == (0, 4)


def test_several_copies_on_a_recorded_machine_are_not_lost(tmp_path: Path) -> None:
    submissions = [work("w", 0, 10, count=3, recorded_machine_id="a")]
    summary = replay(written(tmp_path, [up("a")], submissions), initial="recorded", check_every=1).summary
    assert (summary["workloads"], summary["completed"], summary["refused_requests"]) == (3, 3, 0)


def test_overcommit_lets_more_in_and_leaves_the_capacity(tmp_path: Path) -> None:
    submissions = [work(f"w{number}", 0, 100, size=10) for number in range(20)]
    source = written(tmp_path, [up("a")], submissions, 50)
    plain = replay(source, check_every=1)
    more = replay(source, overcommit="cpu=1.5,memory=1.5", check_every=1)
    assert (plain.summary["running"], more.summary["running"]) == (10, 15)
    assert plain.summary["utilisation"]["cpu"] == 1.0
    assert more.summary["utilisation"]["cpu"] == 1.5
    assert more.nodes["cpu_capacity"].tolist() == [100]
    by_mapping = replay(source, overcommit={"cpu": 1.5, "memory": 1.5})
    assert by_mapping.summary["journal_digest"] == more.summary["journal_digest"]
    with pytest.raises(EruError, match=r"overcommit\.disk: no such dimension"):
        replay(source, overcommit="disk=2")


def test_capacity_follows_the_machine_events(tmp_path: Path) -> None:
    machines = [up("a"), up("b", 10), MachineEvent(at_ns=20 * S, machine_id="a", kind="update", capacity={
        "cpu_millicores": 40, "memory_bytes": 40}), down("b", 30), up("b", 40, cpu=7, memory=7)]  # fmt: skip
    result = replay(written(tmp_path, machines, [work("w", 0, None, size=60)], 60), check_every=1)
    assert result.summary["live_nodes"] == 2
    assert result.nodes[["node_id", "cpu_capacity"]].to_numpy().tolist() == [["a", 40], ["b", 7]]
    # 60 used throughout, of 100 for 10 s, 200 for 10 s, 140 for 10 s, 40 for 10 s and 47 for 20 s.
    assert result.summary["utilisation"]["cpu"] == pytest.approx(60 * 60 / (1000 + 2000 + 1400 + 400 + 940))


def test_queueing_delays_and_utilisation_by_hand(tmp_path: Path) -> None:
    submissions = [work(f"w{number}", number, 10, size=100) for number in range(3)]
    result = replay(written(tmp_path, [up("a")], submissions), check_every=1)
    assert result.delays_s.tolist() == [0, 9, 18]
    assert result.summary["queueing_delay_s"]["p50"] == 9
    assert result.summary["utilisation"] == {"cpu": 1.0, "memory": 1.0}
    assert result.summary["horizon_s"] == 30


def test_the_placement_of_the_end_by_hand(tmp_path: Path) -> None:
    submissions = [
        work("ended", 0, 10, size=60),
        work("stays", 1, None, size=30),
        work("waits", 2, 10, size=101),
        work("starts", 59, 10, size=60),
    ]
    source = written(tmp_path, [up("a"), up("b")], submissions, 60)
    placement = replay(source, policy="worst-fit", engine="start=2s").placement
    assert placement.to_numpy().tolist() == [["stays", "b", "running", None], ["starts", "a", "starting", None]]


def test_a_run_that_takes_no_time_has_the_utilisation_of_its_end(tmp_path: Path) -> None:
    summary = replay(written(tmp_path, [up("a")], [work("w", 0, None, size=40)])).summary
    assert (summary["horizon_s"], summary["utilisation"]) == (0, {"cpu": 0.4, "memory": 0.4})
    nothing = replay(written(tmp_path, [], [work("w", 0, None)])).summary
    assert nothing["utilisation"] == {"cpu": 0, "memory": 0}


def test_a_journal_replayed_as_a_trace_decides_the_same(tmp_path: Path) -> None:
    for number, (policy, options) in enumerate(
        [
            ("best-fit", {}),
            ("random", {"seed": 3}),
            ("first-fit", {"failures": "exponential?mtbf_hours=1&mttr_minutes=3"}),
        ]
    ):
        path = tmp_path / f"j{number}.gz"
        first = replay(SYNTHETIC, policy=policy, journal=path, **options).summary
        options.pop("failures", None)
        again = replay(f"journal:{path}", policy=policy, **options).summary
        for key in ("decision_digest", "placements", "completed", "killed", "evicted", "running", "pending"):
            assert again[key] == first[key], (policy, key)


def test_a_journal_replayed_under_another_policy_is_another_run(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = replay(SYNTHETIC, policy="best-fit", journal=path).summary
    other = replay(f"journal:{path}", policy="worst-fit").summary
    assert other["workloads"] == first["workloads"]
    assert other["decision_digest"] != first["decision_digest"]


def test_constraints_are_enforced_or_counted(tmp_path: Path) -> None:
    machines = [up("a", labels={"gpu": "T4"}), up("b", labels={"gpu": "V100"})]
    submissions = [
        work("v", 0, 10, constraints={"node_labels": {"gpu": ["V100"]}}),
        work("w", 0, 10, count=2, constraints={"different_machine": True}),
        work("x", 0, 10, constraints={"node_labels": {"gpu": ["A100"]}, "different_machine": True}),
    ]
    journal = tmp_path / "j"
    summary = replay(written(tmp_path, machines, submissions, 20), policy="first-fit", journal=journal).summary
    assert summary["ignored"] == {"different_machine": 3}
    assert (summary["completed"], summary["pending"]) == (3, 1)
    placed = {c.workload_id: c.node_id for b in batches(journal) for c in b.commands}
    assert placed == {"v": "b", "w/0": "a", "w/1": "a"}


def test_machines_that_come_and_go_and_come_again(tmp_path: Path) -> None:
    machines = [up("a"), down("a", 10), up("a", 20), down("a", 30), up("a", 40)]
    journal = tmp_path / "j"
    summary = replay(written(tmp_path, machines, [work("w", 0, 15)]), journal=journal, check_every=1).summary
    assert at(times(journal, "start_workload")) == [0, 20, 40]
    assert (summary["evicted"], summary["completed"], summary["horizon_s"]) == (2, 1, 55)


def test_results_are_written_whole(tmp_path: Path) -> None:
    import pandas as pd

    out = tmp_path / "out"
    result = replay(SYNTHETIC, out=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "delays.parquet", "nodes.parquet", "outcomes.parquet", "placement.parquet", "summary.json", "timeline.parquet",
    ]  # fmt: skip
    assert len(pd.read_parquet(out / "outcomes.parquet")) == result.summary["workloads"]
    assert len(pd.read_parquet(out / "nodes.parquet")) == 30
    assert len(pd.read_parquet(out / "delays.parquet")) == result.summary["placed"]
    placement = pd.read_parquet(out / "placement.parquet")
    assert placement.to_dict("list") == result.placement.drop(columns="assignments").to_dict("list")
    assert len(placement) == result.summary["running"] > 0
    assert result.timeline["live_nodes"].iloc[-1] == 30


def test_a_result_holds_its_run_until_its_tables_are_made_as_for_a_copy() -> None:
    result = replay(SYNTHETIC)
    core = weakref.ref(next(iter(result._makers["nodes"].__closure__)).cell_contents.core)
    assert core() is not None
    again = copy.copy(result)
    gc.collect()
    assert core() is None
    assert result.complete() is result
    assert again.summary == result.summary
    assert again.delays_s.tolist() == result.delays_s.tolist()
    for name in ("timeline", "nodes", "placement", "outcomes"):
        assert getattr(again, name).equals(getattr(result, name)), name


def test_reservations_hold_nodes_for_a_tenant(tmp_path: Path) -> None:
    machines = [up(name) for name in "ab"]
    jobs = [
        work("other", 0, 30, size=100, tenant="bio"),
        work("next", 1, 30, size=100, tenant="bio"),
        work("own", 2, 30, size=100, tenant="physics/x"),
    ]
    source = written(tmp_path, machines, jobs)
    result = replay(source, policy="first-fit", reservations="physics:1@0-20s", check_every=1)
    started = result.outcomes.set_index("workload_id")
    assert started["node_id"].to_dict() == {"other": "b", "next": "b", "own": "a"}
    assert started["placed_s"].to_dict() == {"other": 0, "next": 30, "own": 2}
    free = replay(source, policy="first-fit").outcomes.set_index("workload_id")
    assert free["placed_s"].to_dict() == {"other": 0, "next": 1, "own": 30}


@pytest.mark.parametrize(
    "text", ["", "physics", "physics:8", "physics:0@1h-2h", "physics:8@2h-1h", ":8@1h-2h", "a:1@1h-x"]
)
def test_reservations_that_make_no_sense_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EruError, match="reservations"):
        replay(written(tmp_path, [up("a")], [work("w")]), reservations=text)

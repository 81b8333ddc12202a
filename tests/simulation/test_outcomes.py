"""Outcomes: one row a workload, by hand, through a core, and from a journal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from simulation_kit import S, down, up, work, written

from eru_sim import EruError, replay
from eru_sim.outcomes import Outcomes, outcomes_of_journal
from scheduler.config import CoreConfig
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    DissociateRequested,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeReturned,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
)
from scheduler.testing import Harness


class Watched:
    """A core with nodes "a" and "b" of 10, stepped once a second."""

    def __init__(self) -> None:
        self.harness = Harness(CoreConfig())
        self.outcomes = Outcomes(self.harness.core)
        self.at_s = -1
        self.step(*(NodeJoined(node_id=name, capacity={"cpu": 10, "memory": 10}) for name in "ab"))

    def step(self, *events: AnyEvent) -> None:
        self.at_s += 1
        commands = self.harness.step(*events, at_ns=self.at_s * S)
        self.outcomes.observe(self.at_s * S, sorted(events, key=lambda event: event.event_class), commands)

    def submit(self, workload_id: str, size: int = 1, **fields: Any) -> None:
        self.step(WorkloadsSubmitted(workload_id=workload_id, request=(size, size), **fields))

    def started(self, workload_id: str, generation: int = 1) -> None:
        self.step(WorkloadStarted(workload_id=workload_id, generation=generation))

    def exited(self, workload_id: str, generation: int = 1, exit_code: int = 0) -> None:
        self.step(WorkloadExited(workload_id=workload_id, generation=generation, exit_code=exit_code))

    def stopped(self, workload_id: str, generation: int = 1) -> None:
        self.step(WorkloadStopped(workload_id=workload_id, generation=generation))

    def row(self, workload_id: str = "w") -> dict[str, Any]:
        frame = self.outcomes.frame().set_index("workload_id")
        found: dict[str, Any] = {str(name): value for name, value in frame.loc[workload_id].items()}
        return found


@pytest.fixture
def world() -> Watched:
    return Watched()


def test_the_whole_row_of_a_plain_life(world: Watched) -> None:
    world.submit("w", 3, job_id="j", tenant="t", app="web", priority=4, estimate_ns=90 * S)
    world.started("w")
    world.exited("w")
    found = world.row()
    assert pd.isna(found.pop("exit_code")) is False
    assert found == {
        "job_id": "j", "tenant": "t", "app": "web", "priority": 4, "cpu_request": 3, "memory_request": 3,
        "estimate_s": 90.0, "submitted_s": 1.0, "placed_s": 1.0, "started_s": 2.0, "ended_s": 3.0,
        "outcome": "completed", "node_id": "a", "placements": 1, "evictions": 0,
        "preemptions": 0,
    }  # fmt: skip


def test_what_has_not_happened_is_missing(world: Watched) -> None:
    world.submit("w", 11)
    found = world.row()
    assert (found["outcome"], found["placements"], found["tenant"]) == ("queued", 0, "")
    assert all(math.isnan(found[name]) for name in ("estimate_s", "placed_s", "started_s", "ended_s", "node_id"))
    assert pd.isna(found["exit_code"])


def test_exit_codes_and_starts_that_fail(world: Watched) -> None:
    world.submit("w")
    world.started("w")
    world.exited("w", exit_code=137)
    assert (world.row()["outcome"], world.row()["exit_code"]) == ("failed", 137)
    world.submit("v", on_start_failure="fail")
    world.step(WorkloadStartFailed(workload_id="v", generation=1, reason="broken"))
    found = world.row("v")
    assert (found["outcome"], found["ended_s"], found["evictions"]) == ("failed", 5.0, 0)
    assert pd.isna(found["exit_code"])


def test_a_retry_is_no_eviction(world: Watched) -> None:
    world.submit("w")
    world.step(WorkloadStartFailed(workload_id="w", generation=1, reason="broken"))
    assert (world.row()["outcome"], world.row()["evictions"]) == ("backoff", 0)
    world.at_s = 100
    world.outcomes.observe(100 * S, [], world.harness.fire_timers())
    found = world.row()
    assert (found["outcome"], found["placements"], found["evictions"], found["placed_s"]) == ("starting", 2, 0, 1.0)


def test_a_lost_node_evicts_and_what_may_not_move_is_lost(world: Watched) -> None:
    world.submit("w", 6)
    world.submit("v", 1, on_node_loss="lose")
    world.started("w")
    world.step(NodeLost(node_id="a"))
    found = world.row()
    assert (found["outcome"], found["node_id"], found["placements"], found["evictions"]) == ("starting", "b", 2, 1)
    assert (found["placed_s"], found["started_s"]) == (1.0, 4.0)
    assert (world.row("v")["outcome"], world.row("v")["ended_s"]) == ("lost", 4.0)
    world.step(NodeLost(node_id="b"))
    assert (world.row()["outcome"], world.row()["evictions"]) == ("queued", 2)
    world.step(RemovalRequested(workload_id="w"))
    assert (world.row()["outcome"], world.row()["evictions"], world.row()["ended_s"]) == ("killed", 2, 6.0)


def test_an_exit_of_a_superseded_instance_is_not_the_end(world: Watched) -> None:
    world.submit("w", 10)
    world.step(NodeLost(node_id="a"), NodeDrainRequested(node_id="b"))
    world.step(NodeReturned(node_id="a"))
    world.exited("w")
    found = world.row()
    assert (found["outcome"], found["placements"], found["evictions"]) == ("starting", 2, 1)
    assert math.isnan(found["ended_s"])


def test_a_drain_evicts_when_the_stop_is_confirmed(world: Watched) -> None:
    world.submit("w")
    world.started("w")
    world.step(NodeDrainRequested(node_id="a"))
    assert (world.row()["outcome"], world.row()["evictions"]) == ("stopping", 0)
    world.stopped("w")
    found = world.row()
    assert (found["outcome"], found["node_id"], found["placements"], found["evictions"]) == ("starting", "b", 2, 1)


def test_preemption_is_no_eviction(world: Watched) -> None:
    world.submit("w", 10)
    world.submit("v", 10)
    world.submit("p", 10, priority=5, preempts=True)
    world.stopped("w")
    found = world.row()
    assert (found["outcome"], found["preemptions"], found["evictions"]) == ("queued", 1, 0)
    world.exited("v")
    found = world.row()
    assert (found["outcome"], found["placements"], found["preemptions"], found["evictions"]) == ("starting", 2, 1, 0)


def test_stop_and_start_and_replacement_are_no_placements(world: Watched) -> None:
    world.submit("w")
    world.started("w")
    world.step(StopRequested(workload_id="w"))
    world.stopped("w")
    assert world.row()["outcome"] == "stopped"
    world.step(StartRequested(workload_id="w"))
    world.started("w", 2)
    world.step(ReplaceRequested(operation_id="op", image="new", workload_ids=("w",)))
    world.stopped("w", 2)
    world.step(WorkloadStartFailed(workload_id="w", generation=3, reason="broken"))  # it goes back to what it was
    world.started("w", 4)
    found = world.row()
    assert (found["outcome"], found["placements"], found["evictions"]) == ("running", 1, 0)
    assert found["started_s"] == world.at_s
    world.exited("w", 4)
    assert world.row()["outcome"] == "completed"


def test_removals(world: Watched) -> None:
    world.submit("w")
    world.started("w")
    world.step(RemovalRequested(workload_id="w"))
    assert world.row()["outcome"] == "stopping"
    world.stopped("w")
    assert (world.row()["outcome"], world.row()["ended_s"], world.row()["evictions"]) == ("killed", 4.0, 0)
    world.submit("v")
    world.step(RemovalRequested(workload_id="v"))
    world.step(NodeLost(node_id="a"))
    assert (world.row("v")["outcome"], world.row("v")["ended_s"]) == ("killed", 7.0)
    world.submit("u")
    world.step(DissociateRequested(workload_id="u"))
    assert world.row("u")["outcome"] == "dissociated"


def test_refused_requests_are_no_rows_and_rejected_ones_are(world: Watched) -> None:
    world.submit("w", 11, on_unschedulable="fail", count=2)
    world.submit("w", 1, count=0)
    assert world.outcomes.frame()["workload_id"].tolist() == ["w/0", "w/1"]
    assert (world.row("w/1")["outcome"], world.row("w/1")["ended_s"]) == ("rejected", 1.0)


def test_an_id_may_come_again(world: Watched) -> None:
    world.submit("w")
    world.started("w")
    again = WorkloadsSubmitted(workload_id="w", request=(2, 2))
    world.step(WorkloadExited(workload_id="w", generation=1), again)
    world.step(again)  # refused: it is there
    frame = world.outcomes.frame()
    assert frame["outcome"].tolist() == ["completed", "starting"]
    assert frame["cpu_request"].tolist() == [1, 2]


def test_deployments_and_adoptions(world: Watched) -> None:
    world.step(DeploymentRequested(spec=WorkloadsSubmitted(workload_id="d", request=(1, 1), count=3)))
    world.step(DeploymentRequested(spec=WorkloadsSubmitted(workload_id="e", request=(1, 1), count=99)))
    world.step(WorkloadAdopted(spec=WorkloadsSubmitted(workload_id="w", request=(1, 1)), node_id="b"))
    assert world.outcomes.frame()["workload_id"].tolist() == ["d/0", "d/1", "d/2", "w"]
    found = world.row()
    assert (found["outcome"], found["node_id"], found["placements"], found["started_s"]) == ("running", "b", 0, 3.0)
    assert math.isnan(found["placed_s"])
    world.step(NodeLost(node_id="b"))
    assert (world.row()["placements"], world.row()["evictions"]) == (1, 1)
    assert math.isnan(world.row()["placed_s"])


def test_an_empty_frame_has_all_columns(world: Watched) -> None:
    frame = world.outcomes.frame()
    assert len(frame) == 0
    assert list(frame)[:3] == ["workload_id", "job_id", "tenant"]


def test_columns_survive_parquet(world: Watched, tmp_path: Path) -> None:
    world.submit("wörk", tenant="t", job_id="ü")
    frame = world.outcomes.frame()
    frame.to_parquet(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "f.parquet"), frame, check_categorical=False)


# -- from a journal -------------------------------------------------------------------------------------------------


def test_outcomes_of_a_journal_agree_with_the_summary(tmp_path: Path) -> None:
    machines = [up("a"), up("b"), down("a", 40), up("a", 60)]
    submissions = [work(f"w{number}", number, 30, size=40, job_id=f"j{number % 2}") for number in range(9)]
    source = written(tmp_path, machines, submissions, 200)
    result = replay(source, journal=tmp_path / "j", engine="start=1s,stop=1s,start_failure=0.3")
    frame = outcomes_of_journal(tmp_path / "j")
    summary = result.summary
    assert summary["evicted"] > 0
    assert summary["start_failures"] > 0
    for name in ("placements", "evicted", "placed", "completed", "workloads"):
        found = {
            "placements": frame["placements"].sum(),
            "evicted": frame["evictions"].sum(),
            "placed": frame["placed_s"].notna().sum(),
            "completed": (frame["outcome"] == "completed").sum(),
            "workloads": len(frame),
        }[name]
        assert found == summary[name], name
    delays = frame["placed_s"] - frame["submitted_s"]
    assert sorted(delays.dropna()) == pytest.approx(sorted(result.delays_s))


def test_a_journal_of_a_policy_of_ones_own_needs_it_named(tmp_path: Path) -> None:
    from scheduler.policies import FirstFit

    class Mine(FirstFit):
        name = "mine"

    replay(written(tmp_path, [up("a")], [work("w")]), policy=Mine(), journal=tmp_path / "j")
    with pytest.raises(EruError, match="give it with --policy"):
        outcomes_of_journal(tmp_path / "j")
    assert outcomes_of_journal(tmp_path / "j", policy=Mine())["outcome"].tolist() == ["completed"]


def test_what_exits_and_holds_its_place_is_not_evicted_by_its_next_start(world: Watched) -> None:
    world.submit("w", on_exit="hold")
    world.started("w")
    world.exited("w")
    assert world.row()["outcome"] == "stopped"
    world.step(StartRequested(workload_id="w"))
    world.started("w", 2)
    row = world.row()
    assert (row["outcome"], row["placements"], row["evictions"], row["started_s"]) == ("running", 1, 0, 5)


def test_memory_of_a_workload_is_small(world: Watched) -> None:
    """What ended costs its columns and the letters of its ids alone."""
    import tracemalloc

    spec = WorkloadsSubmitted(workload_id="w", request=(0, 0), count=20_000)
    world.harness.core.step(world.at_s * S, [spec])
    tracemalloc.start()
    world.outcomes.observe(world.at_s * S, [spec], [])
    for workload_id, life in list(world.outcomes._live.items()):
        world.outcomes._end(life, workload_id, 0, world.harness.core.workloads[workload_id].state)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(world.outcomes) == 20_000
    assert held / 20_000 < 220  # columns grow by an eighth at a time; the emptied dictionary of live ones is in it

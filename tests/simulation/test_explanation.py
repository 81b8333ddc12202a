"""What `explain` says of queued, rejected, evicted and finished workloads, of nodes, and of what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation_kit import S, down, up, work, written

from eru_sim import EruError, explain, replay
from eru_sim.journal_file import JournalFile
from scheduler.config import CoreConfig
from scheduler.events import NodeJoined, WorkloadExited, WorkloadsSubmitted, WorkloadStartFailed
from scheduler.testing import Harness


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One machine of 100: "first" fills it, "second" waits for it, "giant" waits for ever."""
    folder = tmp_path_factory.mktemp("explain")
    submissions = [
        work("first", 0, 10, size=100),
        work("second", 1, 10, size=100),
        work("giant", 2, 10, size=101),
        work("many", 30, 5, count=2),
    ]
    replay(written(folder, [up("a"), up("b", 5, cpu=100, memory=1)], submissions, 100), journal=folder / "j")
    return folder / "j"


def test_a_queued_workload_has_a_diagnosis_as_of_the_end(journal: Path) -> None:
    found = explain("giant", journal=journal)
    assert (found["state"], found["node"]) == ("queued", None)
    assert found["diagnosis"] == "0/2 nodes: 2 cpu"
    assert found["refusals"][0] == {"at_s": 2, "diagnosis": "0/1 nodes: 1 cpu"}


def test_a_finished_workload_has_a_story_and_why_it_waited(journal: Path) -> None:
    found = explain("second", journal=journal)
    assert (found["state"], found["node"]) == ("completed", None)
    assert [chapter["name"] for chapter in found["chapters"]] == [
        "workloads_submitted",
        "start_workload",
        "workload_started",
        "workload_exited",
    ]
    assert [chapter["at_ns"] // S for chapter in found["chapters"]] == [1, 10, 10, 20]
    assert (found["diagnosis"], found["refusals"][0]["at_s"]) == ("0/1 nodes: 1 cpu", 1)
    assert all("\n" not in line for line in found["story"])
    assert explain("first", journal=journal)["diagnosis"] is None


def test_a_copy_shares_the_submission(journal: Path) -> None:
    found = explain("many/1", journal=journal)
    assert (found["state"], found["chapters"][0]["facts"]["count"]) == ("completed", 2)
    with pytest.raises(EruError, match="mentions 'many/2'"):
        explain("many/2", journal=journal)


def test_a_node_has_a_story_too(journal: Path) -> None:
    found = explain("a", journal=journal)
    assert (found["state"], found["diagnosis"]) == (None, None)
    assert [chapter["name"] for chapter in found["chapters"]][:2] == ["node_joined", "start_workload"]


def test_what_nobody_mentions_is_an_error(journal: Path) -> None:
    with pytest.raises(EruError, match=r"nothing in .* mentions 'nobody'; check the id"):
        explain("nobody", journal=journal)


def write(path: Path, h: Harness) -> Path:
    h.journal.close()
    with JournalFile(path) as file:
        for line in h.lines:
            file.write(line)
    return path


def test_a_rejected_workload_says_why(tmp_path: Path) -> None:
    h = Harness(CoreConfig())
    h.step(NodeJoined(node_id="n", capacity={"cpu": 1, "memory": 9}))
    h.step(
        WorkloadsSubmitted(workload_id="w", request=(2, 1), count=2, on_unschedulable="fail", operation_id="op"),
        at_ns=S,
    )
    found = explain("w/1", journal=write(tmp_path / "j", h))
    assert (found["state"], found["diagnosis"], found["node"]) == ("rejected", "0/1 nodes: 1 cpu", None)
    assert [chapter["name"] for chapter in explain("op", journal=tmp_path / "j")["chapters"]][-1] == "publish_result"


def test_the_state_is_that_of_the_last_workload_of_an_id(tmp_path: Path) -> None:
    h = Harness(CoreConfig())
    h.step(NodeJoined(node_id="n", capacity={"cpu": 1, "memory": 9}))
    h.submit("w", 1, 1)
    h.step(WorkloadExited(workload_id="w", generation=1, exit_code=3))
    assert explain("w", journal=write(tmp_path / "j", h))["state"] == "failed"
    h.submit("x", 1, 1)
    again = Harness(CoreConfig())
    again.step(NodeJoined(node_id="n", capacity={"cpu": 1, "memory": 9}))
    again.submit("w", 1, 1)
    again.started("w")
    found = explain("w", journal=write(tmp_path / "k", again))
    assert (found["state"], found["node"]) == ("running", "n")


def test_work_that_was_evicted_and_waits_is_explained(tmp_path: Path) -> None:
    source = written(tmp_path, [up("a"), down("a", 9)], [work("w", 5, 30)], 100)
    replay(source, journal=tmp_path / "j")
    found = explain("w", journal=tmp_path / "j")
    assert (found["state"], found["diagnosis"]) == ("queued", "0/1 nodes: 1 lost")
    assert found["refusals"][-1]["at_s"] == 9


def test_a_start_that_failed_and_now_waits_is_explained(tmp_path: Path) -> None:
    h = Harness(CoreConfig())
    h.step(NodeJoined(node_id="n", capacity={"cpu": 1, "memory": 9}))
    h.submit("w", 1, 1, on_start_failure="elsewhere")
    h.step(WorkloadStartFailed(workload_id="w", generation=1, reason="broken"))
    h.fire_timers()
    found = explain("w", journal=write(tmp_path / "j", h))
    assert (found["state"], found["diagnosis"]) == ("queued", "0/1 nodes: 1 start failed before")

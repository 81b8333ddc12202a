"""What would have happened: a recording of the live driver, replayed under the same and under another policy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from parity_kit import MODEL, PLUGINS, live

from eru_sim import replay, verify
from scheduler.journal import Footer, JournalReader


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a live run with everything in it, as a file."""
    directory = tmp_path_factory.mktemp("live")
    lines = asyncio.run(live(MODEL, directory))
    reader = JournalReader()
    reader.read_header(lines[0] + b"\n")
    for line in lines[1:]:
        reader.read(line + b"\n")
    footer = Footer(len(lines) - 1, reader.journal_digest, reader.decision_digest)
    path = directory / "run.jsonl"
    import msgspec

    path.write_bytes(b"".join(line + b"\n" for line in [*lines, msgspec.json.encode(footer)]))
    return path


def test_a_recording_of_the_live_driver_is_verified(recording: Path) -> None:
    found = verify(recording)
    assert found["ok"], found["first_difference"]


def test_deployments_removals_and_drains_happen_again_with_latencies_as_recorded(recording: Path) -> None:
    again = replay(f"journal:{recording}", policy="best-fit")
    assert again.summary["workloads"] == verify_count(recording)
    assert again.summary["killed"] > 0
    assert set(PLUGINS) <= set(again.summary["plugins"])
    (sentence,) = [text for text in again.summary["assumptions"] if text.startswith("Engines take as long as recorded")]
    assert "starts" in sentence
    other = replay(f"journal:{recording}", policy="worst-fit")
    assert other.summary["decision_digest"] != again.summary["decision_digest"]
    assert other.summary["workloads"] == again.summary["workloads"]


def verify_count(path: Path) -> int:
    """How many workloads the recording has, counted by their first starts and what was never started."""
    from eru_sim.journal_file import open_journal
    from scheduler.events import DeploymentRequested, WorkloadsSubmitted

    _, batches, _ = open_journal(path)
    submitted, placed = 0, set()
    for batch in batches:
        deployments = {event.spec.workload_id for event in batch.events if isinstance(event, DeploymentRequested)}
        placed |= deployments
        submitted += sum(event.count for event in batch.events if isinstance(event, WorkloadsSubmitted))
        submitted += sum(
            1
            for command in batch.commands
            if type(command).__name__ == "StartWorkload"
            and command.generation == 1  # type: ignore[union-attr]
            and command.workload_id.rpartition("/")[0] in placed  # type: ignore[union-attr]
        )
    return submitted

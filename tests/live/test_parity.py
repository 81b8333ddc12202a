"""The central promise: one scenario in simulated time and through the live driver gives the same journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from parity_kit import MODEL, live, scenario, simulate

from backends.sim.engine import EngineModel
from scheduler.journal import read_batch

pytestmark = pytest.mark.long


def test_the_scenario_has_everything_in_it() -> None:
    batches = [read_batch(line) for line in simulate(MODEL)[1:]]
    events = Counter(type(event).__name__ for batch in batches for event in batch.events)
    commands = Counter(type(command).__name__ for batch in batches for command in batch.commands)
    outcomes = Counter(
        command.outcome for batch in batches for command in batch.commands if type(command).__name__ == "PublishResult"
    )
    assert {type(arrival.event).__name__ for arrival in scenario()} <= events.keys()
    for name in ("WorkloadStartFailed", "WorkloadUpdated", "WorkloadExited", "WorkloadHealthChanged", "TimerFired"):
        assert events[name], name
    for name in ("StartWorkload", "StopWorkload", "UpdateWorkload", "RemapWorkload", "PublishResult"):
        assert commands[name], name
    for outcome in ("running", "replaced", "updated", "killed", "drained", "dissociated", "refused"):
        assert outcomes[outcome], outcome


@pytest.mark.parametrize("model", [MODEL, EngineModel(), msgspec.structs.replace(MODEL, seed=8)])
def test_both_drivers_write_the_same_journal_byte_for_byte(model: EngineModel, tmp_path: Path) -> None:
    expected = simulate(model)
    assert len(expected) > 90
    assert asyncio.run(live(model, tmp_path)) == expected


@pytest.mark.parametrize("crash_at", [(1,), (20,), (57, 58, 59, 90), tuple(range(5, 95, 3))])
def test_a_service_that_crashes_and_recovers_writes_that_journal_too(crash_at: tuple[int, ...], tmp_path: Path) -> None:
    assert asyncio.run(live(MODEL, tmp_path, crash_at)) == simulate(MODEL)

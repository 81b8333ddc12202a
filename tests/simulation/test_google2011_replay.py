"""Google 2011 at its real 12,477 machines, where it has been fetched beside the repository."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulation_kit import conserved

from eru_sim import replay
from eru_sim.journal_file import open_journal
from scheduler.events import (
    NodeCapacityChanged,
    NodeJoined,
    NodeLost,
    NodeReturned,
    WorkloadAdopted,
)

TRACE = Path(__file__).resolve().parents[3] / "shared" / "traces" / "google2011"
pytestmark = pytest.mark.skipif(
    not TRACE.is_dir(), reason="the public trace google2011 is not beside the repository (shared/traces)"
)
SOURCE = f"google2011:{TRACE}"
MACHINES = 12_477
CPU_SCALE, MEMORY_SCALE = 10_000 * 1000, 10**12


@pytest.mark.parametrize("policy", ["first-fit", "best-fit"])
def test_production_work_all_fits(policy: str) -> None:
    summary = replay(f"{SOURCE}?priority_min=9", policy=policy, check_every=4000).summary
    assert (summary["pending"], summary["rejected"], summary["nodes"]) == (0, 0, MACHINES + 3)
    assert conserved(summary)
    assert summary["placed"] == summary["workloads"] > 56_053


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Strict capacity, with the 29 days of machine events compressed into the window."""
    journal = tmp_path_factory.mktemp("google2011") / "run.jsonl.gz"
    summary = replay(SOURCE, policy="first-fit", failures=f"{SOURCE}*window", journal=journal).summary
    return summary, journal


def test_strict_capacity_leaves_work_pending_and_work_is_conserved(windowed: tuple[dict[str, Any], Path]) -> None:
    summary, _ = windowed
    assert conserved(summary)
    assert summary["workloads"] == 190_926
    assert summary["pending"] > 1000
    assert summary["evicted"] > 0


def machine_rows() -> Iterator[tuple[int, str, int, int, int]]:
    """The recorded machine events: time in microseconds, machine, kind, cpu and memory (-1 where not given)."""
    (path,) = TRACE.glob("machine_events_part-*.csv.gz")
    with gzip.open(path, "rt") as lines:
        for line in lines:
            time, machine, kind, _, cpu, memory = line.rstrip("\n").split(",")
            yield (
                int(time),
                machine,
                int(kind),
                round(float(cpu) * CPU_SCALE) if cpu else -1,
                round(float(memory) * MEMORY_SCALE) if memory else -1,
            )


class LiveMachines:
    """The live capacity by the recording itself, its time compressed into the window."""

    def __init__(self, horizon_ns: int) -> None:
        self._rows = sorted(machine_rows(), key=lambda row: row[0])
        self._horizon_ns = horizon_ns
        self._last_us = max(row[0] for row in self._rows)
        self._known: dict[str, tuple[int, int]] = {}
        self._position = 0
        self.live: dict[str, tuple[int, int]] = {}
        self.capacity = [0, 0]

    def through(self, at_ns: int) -> None:
        """Apply all events up to an instant."""
        while self._position < len(self._rows):
            time_us, machine, kind, cpu, memory = self._rows[self._position]
            if time_us * self._horizon_ns // self._last_us > at_ns:
                return
            self._position += 1
            before = self.live.pop(machine, (0, 0))
            if cpu >= 0 and memory >= 0 and kind != 1:
                self._known[machine] = (cpu, memory)
            if kind != 1:
                self.live[machine] = self._known.get(machine, (0, 0))
            after = self.live.get(machine, (0, 0))
            self.capacity = [total - old + new for total, old, new in zip(self.capacity, before, after, strict=True)]


def test_at_every_machine_event_capacity_is_the_sum_of_live_machines(windowed: tuple[dict[str, Any], Path]) -> None:
    """By the journal's own node events, against the file; and no command ever names a machine that is down."""
    summary, journal = windowed
    recorded = LiveMachines(round(summary["horizon_s"] * 1e9))
    live: dict[str, tuple[int, int]] = {}
    known: dict[str, tuple[int, int]] = {}
    capacity = [0, 0]
    node_events = lost = 0
    for batch in open_journal(journal)[1]:
        changed = False
        for event in batch.events:
            if not isinstance(event, NodeJoined | NodeReturned | NodeLost | NodeCapacityChanged):
                continue
            changed = True
            node_events += 1
            before = live.pop(event.node_id, (0, 0))
            if not isinstance(event, NodeLost) and event.capacity is not None:
                known[event.node_id] = (event.capacity.get("cpu", 0), event.capacity.get("memory", 0))
            if isinstance(event, NodeLost):
                lost += 1
            else:
                live[event.node_id] = known[event.node_id]
            after = live.get(event.node_id, (0, 0))
            capacity = [total - old + new for total, old, new in zip(capacity, before, after, strict=True)]
        if changed:
            recorded.through(batch.at_ns)
            assert capacity == recorded.capacity, f"at {batch.at_ns} ns"
        for command in batch.commands:
            node_id = getattr(command, "node_id", None)
            assert node_id is None or node_id in live, f"at {batch.at_ns} ns: {command}"
    assert lost > 8_000
    assert node_events > 25_000
    assert live.keys() == recorded.live.keys()
    assert summary["live_nodes"] == len(live)


def test_the_recorded_placement_is_adopted(tmp_path: Path) -> None:
    journal = tmp_path / "j.gz"
    summary = replay(SOURCE, initial="recorded", horizon="1s", policy="first-fit", journal=journal).summary
    assert summary["adopted"] == 132_957
    assert conserved(summary)
    assert any("25 workloads were recorded on machines that are not there" in line for line in summary["assumptions"])
    adopted = sum(isinstance(event, WorkloadAdopted) for batch in open_journal(journal)[1] for event in batch.events)
    assert adopted == 132_957

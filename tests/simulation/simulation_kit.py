"""What the tests of the simulated world share: small traces written as files, and machine events by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eru_sim.journal_file import open_journal
from scheduler.journal import Batch
from traces import MachineEvent, Source, Submission
from traces.base import TraceBase
from traces.canonical import write_parquet

S = 1_000_000_000
"""A second."""

ENDS = ("queued", "starting", "running", "stopping", "completed", "failed", "killed", "rejected", "lost")


class HandMade(TraceBase):
    """A trace of two lists."""

    def __init__(self, machines: list[MachineEvent], work: list[Submission], horizon_ns: int | None) -> None:
        source = Source(text="hand:made", format="hand", path="made", options={})
        super().__init__(source, ("cpu_millicores", "memory_bytes"), horizon_ns=horizon_ns)
        self._machines = sorted(machines, key=lambda event: event.at_ns)
        self._work = sorted(work, key=lambda item: item.at_ns)

    def machine_events(self) -> Iterator[MachineEvent]:
        return iter(self._machines)

    def submissions(self) -> Iterator[Submission]:
        return iter(self._work)


def written(folder: Path, machines: list[MachineEvent], work: list[Submission], horizon_s: int | None = None) -> str:
    """The source of a file with that trace."""
    path = folder / f"trace{len(list(folder.glob('trace*')))}.parquet"
    write_parquet(HandMade(machines, work, None if horizon_s is None else horizon_s * S), path)
    return f"parquet:{path}"


def up(machine_id: str, at_s: int = 0, *, cpu: int = 100, memory: int = 100, **fields: Any) -> MachineEvent:
    capacity = {"cpu_millicores": cpu, "memory_bytes": memory}
    return MachineEvent(at_ns=at_s * S, machine_id=machine_id, kind="add", capacity=capacity, **fields)


def down(machine_id: str, at_s: int) -> MachineEvent:
    return MachineEvent(at_ns=at_s * S, machine_id=machine_id, kind="remove")


def work(workload_id: str, at_s: int = 0, service_s: int | None = 10, *, size: int = 1, **fields: Any) -> Submission:
    service_ns = None if service_s is None else service_s * S
    return Submission(at_s * S, workload_id, (size, size), service_ns=service_ns, **fields)


def batches(journal: Path) -> list[Batch]:
    return list(open_journal(journal)[1])


def times(journal: Path, kind: str, key: str = "") -> list[tuple[float, str]]:
    """When events and commands of a kind came, in seconds, with the workload or node that they are about."""
    found = []
    for batch in batches(journal):
        for entry in (*batch.events, *batch.commands):
            facts = msgspec.to_builtins(entry)
            subject = facts.get("workload_id") or facts.get("node_id") or facts.get("subject") or ""
            if facts["type"] == kind and key in ("", subject):
                found.append((batch.at_ns / S, subject))
    return found


def at(found: Sequence[tuple[float, str]]) -> list[float]:
    return [at_s for at_s, _ in found]


def conserved(summary: dict[str, Any]) -> bool:
    """Whether the parts add up to the work that was submitted."""
    parts = [summary["pending" if name == "queued" else name] for name in ENDS]
    return sum(parts) == summary["workloads"]

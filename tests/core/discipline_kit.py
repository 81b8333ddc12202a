"""A world without a simulator for the tests of disciplines: jobs arrive, start at once, and run as long as they do."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

from core_kit import SECOND_NS, harness, node

from scheduler.commands import StartWorkload
from scheduler.config import QueueConfig
from scheduler.events import AnyEvent, WorkloadExited, WorkloadsSubmitted
from scheduler.testing import Harness


class Job(NamedTuple):
    """Times in seconds. ``estimate`` None means none; ``fields`` are further ones of the submission."""

    name: str
    submit: int
    run: int
    cpu: int
    estimate: int | None = None
    memory: int = 0
    fields: dict[str, Any] | None = None


def exact(name: str, submit: int, run: int, cpu: int, memory: int = 0, **fields: Any) -> Job:
    """A job whose estimate is exact."""
    return Job(name, submit, run, cpu, run, memory, fields)


def queued(discipline: str, **params: Any) -> Harness:
    """A harness without nodes."""
    return harness(queue=QueueConfig(discipline, params))


def schedule(h: Harness, jobs: Sequence[Job], nodes: Sequence[tuple[int, int]] = ((10, 100),)) -> dict[str, int]:
    """Run everything on new nodes of the given cpu and memory; return when each workload started, in seconds.

    All events of a second are one step, ends first.
    """
    h.step(*(node(f"n{number}", cpu, memory) for number, (cpu, memory) in enumerate(nodes)))
    runs = {job.name: job.run for job in jobs}
    due: list[tuple[int, int, int, AnyEvent]] = []
    for number, job in enumerate(jobs):
        event = WorkloadsSubmitted(
            workload_id=job.name,
            request=(job.cpu, job.memory),
            estimate_ns=None if job.estimate is None else job.estimate * SECOND_NS,
            **(job.fields or {}),
        )
        heapq.heappush(due, (job.submit, 1, number, event))
    starts: dict[str, int] = {}
    while due:
        now, events = due[0][0], []
        while due and due[0][0] == now:
            events.append(heapq.heappop(due)[3])
        for command in h.step(*events, at_ns=now * SECOND_NS):
            if isinstance(command, StartWorkload):
                starts[command.workload_id] = now
                run = runs[command.workload_id.partition("/")[0]]
                end = WorkloadExited(workload_id=command.workload_id, generation=command.generation)
                heapq.heappush(due, (now + run, 0, len(starts), end))
    return starts

"""From a trace to arrivals: machine events and submissions become the exogenous events of a run, merged in order of
time.

What the trace asks beyond quantities becomes plugin payloads where a plugin of the run enforces it, and is counted in
``ignored`` where none does.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from backends.sim.driver import Arrival
from backends.sim.engine import ENDLESS, Service
from scheduler.events import (
    NodeCapacityChanged,
    NodeJoined,
    NodeLost,
    NodeReturned,
    RemovalRequested,
    ReservationSet,
    WorkloadAdopted,
    WorkloadsSubmitted,
)
from scheduler.ports import Dimension
from traces import MachineEvent, Submission

CONSTRAINT_OF = {"labels": "node_labels"}
"""Plugin -> the constraint of the canonical schema that it enforces, where that has another name."""


def dimension_of(column: str) -> Dimension:
    """``cpu_millicores`` -> cpu in millicores."""
    name, _, unit = column.partition("_")
    return Dimension(name, unit)


class Feed:
    """All arrivals of one run. Iterate once; then ``ignored`` and ``unknown_machines`` are complete.

    ``plugins`` names those of the run. ``with_images`` gives every job an image of its own, for engines that pull.
    ``topology`` maps a machine to its domains, in place of those that the trace tells. ``reservations`` are announced
    with the first machine.
    """

    def __init__(
        self,
        dimensions: tuple[Dimension, ...],
        machine_events: Iterable[MachineEvent],
        submissions: Iterable[Submission],
        *,
        plugins: Iterable[str] = ("labels",),
        initial: Literal["empty", "recorded"] = "empty",
        with_images: bool = False,
        topology: dict[str, dict[str, str]] | None = None,
        reservations: Sequence[ReservationSet] = (),
    ) -> None:
        self.ignored: Counter[str] = Counter()
        self.unknown_machines = 0
        self._dimensions = dimensions
        self._names = {dimension.column: dimension.name for dimension in dimensions}
        self._machine_events = machine_events
        self._submissions = submissions
        self._plugin_of = {CONSTRAINT_OF.get(name, name): name for name in plugins}
        self._initial = initial
        self._with_images = with_images
        self._topology = topology or {}
        self._reservations = reservations
        self._is_up: dict[str, bool] = {}
        self._removals: list[tuple[int, int, str]] = []

    def __iter__(self) -> Iterator[Arrival]:
        machines, submissions = self._machine_arrivals(), iter(self._submissions)
        machine, submission = next(machines, None), next(submissions, None)
        removals, sequence = self._removals, 0
        while machine is not None or submission is not None or removals:
            if (
                machine is not None
                and (submission is None or machine.at_ns <= submission.at_ns)
                and (not removals or machine.at_ns <= removals[0][0])
            ):
                yield machine
                machine = next(machines, None)
            elif removals and (submission is None or removals[0][0] <= submission.at_ns):
                at_ns, _, workload_id = heapq.heappop(removals)
                yield Arrival(at_ns, RemovalRequested(workload_id=workload_id))
            else:
                assert submission is not None
                yield from self._arrivals(submission)
                if submission.kill_at_ns is not None:
                    # Within a batch a removal comes before a submission, and would find nothing to remove.
                    kill_at_ns = max(submission.at_ns + 1, submission.kill_at_ns)
                    for workload_id in copies(submission.workload_id, submission.count):
                        heapq.heappush(removals, (kill_at_ns, sequence, workload_id))
                        sequence += 1
                submission = next(submissions, None)

    # -- work -------------------------------------------------------------------------------------------------------

    def _arrivals(self, submission: Submission) -> Iterator[Arrival]:
        service = ENDLESS
        if submission.service_ns is not None:
            service = Service(submission.service_ns, submission.exit_code)
        spec = WorkloadsSubmitted(
            workload_id=submission.workload_id,
            request=submission.request,
            count=submission.count,
            priority=submission.priority,
            job_id=submission.job_id,
            tenant=submission.tenant,
            image=f"image-of/{submission.job_id or submission.workload_id}" if self._with_images else "",
            estimate_ns=submission.estimate_ns,
            payloads=self._payloads(submission) if submission.constraints else None,
        )
        machine_id = submission.recorded_machine_id
        if not machine_id or self._initial != "recorded":
            yield Arrival(submission.at_ns, spec, service)
        elif not self._is_up.get(machine_id):
            self.unknown_machines += submission.count
            yield Arrival(submission.at_ns, spec, service)
        else:
            for workload_id in copies(submission.workload_id, submission.count):
                one = msgspec.structs.replace(spec, workload_id=workload_id, count=1)
                yield Arrival(submission.at_ns, WorkloadAdopted(spec=one, node_id=machine_id), service)

    def _payloads(self, submission: Submission) -> dict[str, Any] | None:
        payloads = {}
        for constraint, value in (submission.constraints or {}).items():
            plugin = self._plugin_of.get(constraint)
            if plugin is None:
                self.ignored[constraint] += submission.count
            else:
                payloads[plugin] = value
        return payloads or None

    # -- machines -----------------------------------------------------------------------------------------------------

    def _machine_arrivals(self) -> Iterator[Arrival]:
        announced = self._reservations
        for machine in self._machine_events:
            event = self._machine_event(machine)
            if event is not None:
                yield Arrival(machine.at_ns, event)
                for reservation in announced:
                    yield Arrival(machine.at_ns, reservation)
                announced = ()

    def _machine_event(self, machine: MachineEvent) -> Any:
        """The event of a node, or None where nothing changes."""
        node_id = machine.machine_id
        capacity = {self._names[column]: amount for column, amount in machine.capacity.items() if column in self._names}
        up = self._is_up.get(node_id)
        if machine.kind == "remove":
            if not up:
                return None
            self._is_up[node_id] = False
            return NodeLost(node_id=node_id)
        if machine.kind == "add" and not up:
            self._is_up[node_id] = True
            if up is None:
                return NodeJoined(
                    node_id=node_id,
                    capacity=capacity,
                    labels=dict(machine.labels),
                    topology=self._topology.get(node_id) or dict(machine.topology),
                    resources=dict(machine.resources),
                )
            return NodeReturned(node_id=node_id, capacity=capacity or None)
        if up is not None and capacity:
            return NodeCapacityChanged(node_id=node_id, capacity=capacity)
        return None


class RecordedFeed:
    """The arrivals of a recording, as they were. See `Feed` for the attributes."""

    def __init__(self, arrivals: Callable[[], Iterator[Arrival]]) -> None:
        self.ignored: Counter[str] = Counter()
        self.unknown_machines = 0
        self._arrivals = arrivals

    def __iter__(self) -> Iterator[Arrival]:
        return self._arrivals()


def copies(workload_id: str, count: int) -> list[str]:
    """The names of the workloads of one submission."""
    return [workload_id] if count == 1 else [f"{workload_id}/{copy}" for copy in range(count)]

"""Everything a core knows, and the only ways to change a workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from scheduler.cluster import Cluster, Node, NodeState
from scheduler.commands import Outcome, StartWorkload, StopReason, StopWorkload
from scheduler.config import CoreConfig
from scheduler.events import WorkloadsSubmitted
from scheduler.ledger import Ledger
from scheduler.lifecycle import PARTITION, State, Trigger, advance
from scheduler.operations import Counters, Results
from scheduler.plan import Planner
from scheduler.policies import Policy
from scheduler.ports import ResourcePlugin
from scheduler.queue import PendingQueue
from scheduler.request_classes import RequestClass
from scheduler.timers import Timer, Timers
from scheduler.types import NodeIndex
from scheduler.workload import Fence, Workload

_ENDED_AS: dict[State, Outcome] = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.KILLED: "killed",
    State.LOST: "lost",
    State.REJECTED: "rejected",
}
_PUBLISHED = (Trigger.REFUSED, Trigger.START_FAILED, Trigger.NODE_GONE_LOSE)
"""Ends that neither an exit nor a user caused: published even when nobody waits."""
_STATE_OF_TIMER = {"backoff": State.BACKOFF, "start": State.STARTING, "stop": State.STOPPING}

_COPIES_MAX = 10_000_000

_canonical = msgspec.json.Encoder(order="deterministic").encode


Handlers = dict[type[Any], Callable[[Any], None]]
"""By event type, what to do about it."""


class CoreState:
    """The records of one core. Handlers of events change them through the methods below and through nothing else."""

    def __init__(self, config: CoreConfig, plugins: Sequence[ResourcePlugin], policy: Policy) -> None:
        self.config = config
        self.at_ns = 0
        self.counters = Counters()
        self.results = Results(self.counters)
        self.cluster = Cluster()
        self.ledger = Ledger(len(config.dimensions))
        for plugin in plugins:
            self.ledger.pool_total.update(plugin.pools())
        self.workloads: dict[str, Workload] = {}
        """Everything that has not ended, by id."""
        self.on_row: list[dict[str, Workload]] = []
        """By row, the workloads that hold something there."""
        self.fences: dict[tuple[str, int], Fence] = {}
        """By workload id and generation."""
        self._fences_on_row: dict[NodeIndex, dict[tuple[str, int], Fence]] = {}
        self._fences_of_id: dict[str, int] = {}
        self.state_counts: dict[State, int] = dict.fromkeys(State, 0)
        self.next_sequence = 0
        """The place in the queue of the next workload that is submitted."""
        self.impatient: list[Workload] = []
        """Submitted in this step, and to be rejected if they are not placed in it."""
        self.queue = PendingQueue(len(config.dimensions))
        self.timers = Timers(self._timer_is_relevant)
        self.planner = Planner(config.dimensions, plugins, self.ledger, self.cluster, policy, config.cache_bytes)
        self.dimension_names = [dimension.name for dimension in config.dimensions]

    def admit(self, spec: WorkloadsSubmitted, avoid: tuple[NodeIndex, ...] = ()) -> RequestClass:
        """Return the request class of what ``spec`` asks, leaving out some rows.

        ValueError names field, value and remedy where it makes no sense. What has a class has been checked.
        """
        if not 1 <= spec.count <= _COPIES_MAX:
            raise ValueError(f"count: {spec.count} must be from 1 to {_COPIES_MAX:,}")
        classes = self.planner.classes
        if spec.payloads:
            payloads = self._parse(spec.payloads)
            key = (spec.request, spec.pool, _canonical(payloads), avoid)
        else:
            payloads = None
            key = (spec.request, spec.pool, b"", avoid)
        found = classes.find(key)
        if found is None:
            self._check_request(spec.request)
            found = classes.create(key, payloads)
        return found

    def _check_request(self, request: tuple[int, ...]) -> None:
        if len(request) != len(self.dimension_names):
            names = ", ".join(self.dimension_names)
            raise ValueError(f"request: {len(request)} amounts for the dimensions {names}")
        for name, amount in zip(self.dimension_names, request, strict=True):
            if not 0 <= amount < 1 << 62:
                raise ValueError(f"request.{name}: {amount} must be at least 0 and below 2^62")

    def _parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payloads in canonical form, by plugin name in order."""
        payloads = {}
        for name in sorted(given):
            plugin = self.planner.plugins.get(name)
            if plugin is None:
                known = ", ".join(self.planner.plugins) or "none"
                raise ValueError(f"payloads.{name}: no such plugin is in use; there are: {known}")
            payloads[name] = plugin.parse(given[name])
        self.planner.merge_engine_args(payloads)
        return payloads

    def new_workload(self, workload_id: str, spec: WorkloadsSubmitted, request_class: RequestClass) -> Workload:
        """Record a workload as queued. Whoever calls this queues or adopts it."""
        self.planner.classes.join(request_class)
        workload = Workload(
            workload_id=workload_id,
            spec=spec,
            sequence=self.next_sequence,
            class_id=request_class.class_id,
            submitted_ns=self.at_ns,
            creation_answered=not spec.operation_id,
        )
        self.next_sequence += 1
        self.workloads[workload_id] = workload
        self.counters.submitted += 1
        self.state_counts[State.QUEUED] += 1
        return workload

    def command_start(self, workload: Workload) -> None:
        """Have the present generation started on the row that holds it."""
        payloads = self.planner.classes.by_id[workload.class_id].payloads
        self.results.commands.append(
            StartWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                image=workload.spec.image,
                engine_args=None if payloads is None else self.planner.merge_engine_args(payloads),
            )
        )
        workload.timer = self.timers.add_deadline(
            "start", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    def command_stop(self, workload: Workload) -> None:
        """Have the present generation stopped, for the reason that is recorded."""
        reason: StopReason = workload.stop_reason  # type: ignore[assignment]
        self.results.commands.append(
            StopWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                reason=reason,
            )
        )
        workload.timer = self.timers.add_deadline(
            "stop", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    def move(self, workload: Workload, trigger: Trigger) -> None:
        """Change the state by the table."""
        before = workload.state
        after = advance(before, trigger)
        workload.state = after
        counts = self.state_counts
        counts[before] -= 1
        counts[after] += 1

    def hold(self, workload: Workload, row: NodeIndex, *, as_found: bool = False) -> None:
        """Reserve and charge what the workload asks for on ``row``; `OvercommitError` where it does not fit."""
        request_class = self.planner.classes.by_id[workload.class_id]
        self.ledger.reserve(row, request_class.request, as_found=as_found)
        if request_class.payloads is not None:
            self.ledger.charge(self.planner.charges(request_class, row))
        workload.row = row
        self.on_row[row][workload.workload_id] = workload

    def let_go(self, workload: Workload, *, fence: bool = False) -> None:
        """Give back what the workload holds, or leave it held by a fence."""
        row = workload.row
        request_class = self.planner.classes.by_id[workload.class_id]
        charges = self.planner.charges(request_class, row) if request_class.payloads is not None else {}
        del self.on_row[row][workload.workload_id]
        workload.row = -1
        if fence:
            self.add_fence(
                Fence(
                    workload_id=workload.workload_id,
                    generation=workload.generation,
                    row=row,
                    request=request_class.request,
                    charges=charges,
                )
            )
            return
        self.ledger.release(row, request_class.request)
        if charges:
            self.ledger.refund(charges)
        self.note_drained(self.cluster.nodes[row])

    def end(self, workload: Workload, trigger: Trigger, detail: str = "") -> None:
        """The workload ends; what it held has been given back."""
        was_queued = workload.state is State.QUEUED
        self.move(workload, trigger)
        if was_queued:
            self.queue.drop(workload)
        outcome = _ENDED_AS[workload.state]
        if not workload.creation_answered or trigger in _PUBLISHED:
            operation_id = "" if workload.creation_answered else workload.spec.operation_id
            self.results.answer(operation_id, workload.workload_id, outcome, detail)
        if workload.stop_operation_id:
            self.results.answer(workload.stop_operation_id, workload.workload_id, outcome, detail)
        del self.workloads[workload.workload_id]
        self.planner.classes.leave(workload.class_id)

    def requeue(self, workload: Workload) -> None:
        """The workload is in the queued state again: have it placed anew."""
        workload.stop_reason = ""
        self.queue.push(workload, self.planner.classes.by_id[workload.class_id])

    def evict(self, workload: Workload) -> None:
        """Have a starting or running workload stopped, to be placed elsewhere."""
        self.move(workload, Trigger.STOP_ASKED)
        workload.stop_reason = "evict"
        self.command_stop(workload)

    def avoid(self, workload: Workload, row: NodeIndex) -> None:
        """Put the workload into the class that asks the same but leaves out the row."""
        workload.failed_rows = tuple(sorted({*workload.failed_rows, row}))
        request_class = self.admit(workload.spec, workload.failed_rows)
        self.planner.classes.join(request_class)
        self.planner.classes.leave(workload.class_id)
        workload.class_id = request_class.class_id

    def add_fence(self, fence: Fence) -> None:
        """An instance was superseded on a lost node; what it holds stays held."""
        key = (fence.workload_id, fence.generation)
        self.fences[key] = fence
        self._fences_on_row.setdefault(fence.row, {})[key] = fence
        self._fences_of_id[fence.workload_id] = self._fences_of_id.get(fence.workload_id, 0) + 1

    def check_id(self, workload_id: str) -> None:
        """ValueError where the id is empty, or that of a live workload or of an instance not confirmed gone."""
        if not workload_id:
            raise ValueError("workload_id: it is empty; give every workload a name")
        if workload_id in self.workloads:
            raise ValueError("a workload of this id exists already")
        if workload_id in self._fences_of_id:
            raise ValueError("an earlier workload of this id is not confirmed gone from a lost node; use another id")

    def fences_on(self, row: NodeIndex) -> list[Fence]:
        """The fences of a row, oldest first."""
        return list(self._fences_on_row.get(row, {}).values())

    def command_fence(self, fence: Fence) -> None:
        """Have a superseded instance stopped, on a node that is there again."""
        self.results.commands.append(
            StopWorkload(
                workload_id=fence.workload_id,
                generation=fence.generation,
                node_id=self.cluster.nodes[fence.row].node_id,
                reason="fence",
            )
        )
        fence.timer = self.timers.add_deadline(
            "fence", self.at_ns + self.config.deadline_ns, fence.workload_id, fence.generation
        )

    def lift_fence(self, workload_id: str, generation: int) -> bool:
        """A superseded instance is confirmed gone: give back what it held. False where there is none."""
        fence = self.fences.pop((workload_id, generation), None)
        if fence is None:
            return False
        del self._fences_on_row[fence.row][workload_id, generation]
        self._fences_of_id[workload_id] -= 1
        if not self._fences_of_id[workload_id]:
            del self._fences_of_id[workload_id]
        self.ledger.release(fence.row, fence.request)
        if fence.charges:
            self.ledger.refund(fence.charges)
        self.note_drained(self.cluster.nodes[fence.row])
        return True

    def note_drained(self, node: Node) -> None:
        """Answer whoever waits for the drain of the node once nothing is left that has to move."""
        if node.state is not NodeState.DRAINING or not node.drain_operation_id or self.fences_on(node.row):
            return
        if all(workload.state is State.STOPPED for workload in self.on_row[node.row].values()):
            self.results.answer(node.drain_operation_id, node.node_id, "drained")
            node.drain_operation_id = ""

    def _timer_is_relevant(self, timer: Timer) -> bool:
        """Whether it is the last timer that was set for its subject, and that still is in the state it was set in."""
        if timer.kind == "fence":
            fence = self.fences.get((timer.workload_id, timer.generation))
            return fence is not None and fence.timer == timer.sequence
        workload = self.workloads.get(timer.workload_id)
        return (
            workload is not None and workload.timer == timer.sequence and workload.state is _STATE_OF_TIMER[timer.kind]
        )

    def adopt_record(self, workload: Workload) -> None:
        """Take in a record as it was, holding nothing yet; its class is found anew."""
        request_class = self.admit(workload.spec, workload.failed_rows)
        self.planner.classes.join(request_class)
        workload.class_id = request_class.class_id
        self.workloads[workload.workload_id] = workload

    def hold_again(self, workload: Workload, row: NodeIndex) -> None:
        """Have the workload hold on ``row`` what it held."""
        self.hold(workload, row, as_found=True)

    def requeue_all(self) -> None:
        """Queue what is queued. Between steps every waiting class has been refused."""
        for workload in self.workloads.values():
            if workload.state is State.QUEUED:
                self.queue.push(workload, self.planner.classes.by_id[workload.class_id])
        self.ledger.freed_rows.clear()
        self.ledger.freed_pools = False
        self.queue.begin_pass(self.ledger)
        while (ready := self.queue.next_class()) is not None:
            self.queue.block(ready[0])

    def partition(self) -> dict[str, int]:
        """All work ever submitted, by part: queued, starting, running, stopping and the ways to end."""
        parts = dict.fromkeys(PARTITION.values(), 0)
        for state, count in self.state_counts.items():
            parts[PARTITION[state]] += count
        return parts

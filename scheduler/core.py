"""The scheduler core: `Core.step` takes the events of one instant and returns commands.

Theory of operation. A step applies the events of a batch in their fixed class order; each handler changes records through
the lifecycle table and the ledger, and notes what was freed. Then one scheduling pass runs to a fixed point: it wakes what
the freed resources could help and works through the queue until every class with waiting workloads has been refused.
Everything the core wants done comes back as commands; it never calls anybody.

A handler never raises on what a user or an engine may say. A request that makes no sense is answered with
`PublishResult(outcome="refused")`; a completion that no longer means anything is *stale*: counted, and otherwise ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from scheduler.cluster import Cluster, Node, NodeState
from scheduler.commands import AnyCommand, Outcome, PublishResult, StartWorkload, StopReason, StopWorkload
from scheduler.config import CoreConfig, PolicyConfig
from scheduler.diagnosis import Diagnosis
from scheduler.events import (
    AnyEvent,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    PolicyChanged,
    RemovalRequested,
    StartRequested,
    StopRequested,
    TimerFired,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
)
from scheduler.ledger import Ledger
from scheduler.lifecycle import HOLDING, PARTITION, TERMINAL, TRANSITIONS, State, Trigger
from scheduler.plan import NO_ROW, Plan, Planner
from scheduler.policies import Policy, PolicyFactory, make_policy
from scheduler.ports import ResourcePlugin
from scheduler.queue import PendingQueue
from scheduler.request_classes import RequestClass
from scheduler.timers import Timer, Timers
from scheduler.types import NodeIndex
from scheduler.workload import Fence, Operation, Workload

_ENDED_AS: dict[State, Outcome] = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.KILLED: "killed",
    State.LOST: "lost",
    State.REJECTED: "rejected",
}
_canonical = msgspec.json.Encoder(order="deterministic").encode


class ContractError(Exception):
    """A driver broke the contract of `Core.step`. A bug in the driver, never a user's mistake."""


class Counters(msgspec.Struct):
    """What happened so far. ``decisions`` counts evaluations that ended in a placement or a refusal; ``placements`` includes
    repeated ones of one workload, ``placed`` only the first; ``evicted`` counts moves off a drained or lost node; ``stale``
    counts completions that were ignored, ``refused`` requests that made no sense.
    """

    submitted: int = 0
    decisions: int = 0
    placements: int = 0
    placed: int = 0
    adopted: int = 0
    evicted: int = 0
    start_failures: int = 0
    stale: int = 0
    refused: int = 0


class Core:
    """One scheduler. Single-threaded; the only door for changes is `step`.

    ``plugins`` must be those that ``config.plugins`` names, in that order. ``policy_factory`` makes policies from names, for
    the first one and for every `PolicyChanged`.
    """

    def __init__(
        self,
        config: CoreConfig | None = None,
        *,
        plugins: Sequence[ResourcePlugin] = (),
        policy_factory: PolicyFactory = make_policy,
    ) -> None:
        config = config or CoreConfig()
        config.check()
        if [plugin.name for plugin in plugins] != [plugin.name for plugin in config.plugins]:
            raise ContractError("the plugins are not those that the configuration names")
        self.config = config
        self.at_ns = 0
        self.counters = Counters()
        self.cluster = Cluster()
        self.ledger = Ledger(len(config.dimensions))
        self.workloads: dict[str, Workload] = {}
        """Everything that has not ended, by id."""
        self.on_row: list[dict[str, Workload]] = []
        """By row, the workloads that hold something there."""
        self.fences: dict[tuple[str, int], Fence] = {}
        self.operations: dict[str, Operation] = {}
        self.state_counts: dict[State, int] = dict.fromkeys(State, 0)
        self.queue = PendingQueue(len(config.dimensions))
        self.timers = Timers(self._timer_is_relevant)
        self.policy_config = config.policy
        self._policy_factory = policy_factory
        self.planner = Planner(
            config.dimensions,
            plugins,
            self.ledger,
            self.cluster,
            policy_factory(config.policy.name, config.policy.params),
            config.cache_bytes,
        )
        for plugin in plugins:
            self.ledger.pool_total.update(plugin.pools())
        self._dimension_names = [dimension.name for dimension in config.dimensions]
        self.next_sequence = 0
        """The place in the queue of the next workload that is submitted."""
        self._commands: list[AnyCommand] = []
        self._impatient: list[Workload] = []
        self._pass_per_event = config.scheduling_pass == "event"
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            WorkloadsSubmitted: self._on_submitted,
            WorkloadAdopted: self._on_adopted,
            RemovalRequested: self._on_removal_requested,
            StopRequested: self._on_stop_requested,
            StartRequested: self._on_start_requested,
            NodeJoined: self._on_node_joined,
            NodeCapacityChanged: self._on_node_capacity_changed,
            NodeCordoned: self._on_node_cordoned,
            NodeUncordoned: self._on_node_uncordoned,
            NodeDrainRequested: self._on_node_drain_requested,
            NodeLost: self._on_node_lost,
            NodeReturned: self._on_node_returned,
            NodeRemoved: self._on_node_removed,
            PolicyChanged: self._on_policy_changed,
            WorkloadStarted: self._on_started,
            WorkloadStartFailed: self._on_start_failed,
            WorkloadExited: self._on_exited,
            WorkloadStopped: self._on_stopped,
            TimerFired: self._on_timer_fired,
        }

    # -- the door -------------------------------------------------------------------------------------------------

    def step(self, at_ns: int, events: list[AnyEvent]) -> list[AnyCommand]:
        """Apply one batch and return the commands that follow from it, in the order in which they were decided.

        ``events`` is sorted in place into batch order (`EventClass`, then arrival), so that what is journalled is what
        was applied. ``at_ns`` must not be before the last step's: `ContractError`.
        """
        if at_ns < self.at_ns:
            raise ContractError(f"step at {at_ns} ns after a step at {self.at_ns} ns: time must not go back")
        self.at_ns = at_ns
        self._commands = commands = []
        if len(events) > 1:
            events.sort(key=_event_class)
        handlers = self._handlers
        if self._pass_per_event:
            for event in events:
                handlers[type(event)](event)
                self._schedule()
        else:
            for event in events:
                handlers[type(event)](event)
            self._schedule()
        return commands

    @property
    def next_wakeup_ns(self) -> int | None:
        """When the driver must step with a `TimerFired`, or None. Ask again after every step."""
        return self.timers.next_ns()

    # -- questions ------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.planner.policy

    def partition(self) -> dict[str, int]:
        """All work ever submitted, by part: queued, starting, running, stopping and the ways to end."""
        parts = dict.fromkeys(PARTITION.values(), 0)
        for state, count in self.state_counts.items():
            parts[PARTITION[state]] += count
        return parts

    def plan(self, spec: WorkloadsSubmitted) -> Plan:
        """What placing ``spec.count`` copies now would do, without doing it. ValueError where the request makes no sense."""
        payloads = self._check_spec(spec)
        request_class = self._intern(spec, payloads, ())
        try:
            return self.planner.dry_run(request_class, spec.count, self.counters.decisions)
        finally:
            self.planner.classes.leave(request_class.class_id)

    def diagnose(self, workload_id: str) -> Diagnosis:
        """Why a queued workload is not placed, by node. KeyError where there is no such live workload."""
        return self.planner.diagnose(self.planner.classes[self.workloads[workload_id].class_id])

    # -- submissions ----------------------------------------------------------------------------------------------

    def _check_spec(self, spec: WorkloadsSubmitted) -> dict[str, Any] | None:
        """Return the payloads in canonical form; ValueError names field, value and remedy."""
        if len(spec.request) != len(self._dimension_names):
            names = ", ".join(self._dimension_names)
            raise ValueError(f"request: {len(spec.request)} amounts for the dimensions {names}")
        for name, amount in zip(self._dimension_names, spec.request, strict=True):
            if not 0 <= amount < 1 << 62:
                raise ValueError(f"request.{name}: {amount} must be at least 0 and below 2^62")
        if not 1 <= spec.count <= 10_000_000:
            raise ValueError(f"count: {spec.count} must be from 1 to 10,000,000")
        if not spec.payloads:
            return None
        payloads = {}
        for name in sorted(spec.payloads):
            plugin = self.planner.plugins.get(name)
            if plugin is None:
                known = ", ".join(self.planner.plugins) or "none"
                raise ValueError(f"payloads.{name}: no such plugin is in use; there are: {known}")
            payloads[name] = plugin.parse(spec.payloads[name])
        self.planner.merge_engine_args(payloads)
        return payloads

    def _intern(
        self, spec: WorkloadsSubmitted, payloads: dict[str, Any] | None, avoid: tuple[NodeIndex, ...]
    ) -> RequestClass:
        canonical = _canonical(payloads) if payloads is not None else b""
        return self.planner.classes.intern((spec.request, spec.pool, canonical, avoid), payloads)

    def _on_submitted(self, event: WorkloadsSubmitted) -> None:
        try:
            payloads = self._check_spec(event)
        except ValueError as error:
            self._refuse(event.workload_id, str(error), event.operation_id)
            return
        ids = [event.workload_id]
        if event.count > 1:
            ids = [f"{event.workload_id}/{copy}" for copy in range(event.count)]
        for workload_id in ids:
            if workload_id in self.workloads:
                self._refuse(workload_id, "a workload of this id exists already", event.operation_id)
                return
        if not self._open_operation(event.operation_id, "create", event.count):
            return
        for workload_id in ids:
            workload = self._new_workload(workload_id, event, payloads)
            self.queue.push(workload, self.planner.classes[workload.class_id])
            if event.on_unschedulable == "fail":
                self._impatient.append(workload)

    def _new_workload(
        self, workload_id: str, spec: WorkloadsSubmitted, payloads: dict[str, Any] | None
    ) -> Workload:
        request_class = self._intern(spec, payloads, ())
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

    def _on_adopted(self, event: WorkloadAdopted) -> None:
        spec = event.spec
        node = self.cluster.by_id.get(event.node_id)
        try:
            payloads = self._check_spec(spec)
            if spec.count != 1:
                raise ValueError(f"count: {spec.count}; adopt workloads one by one")
            if spec.workload_id in self.workloads:
                raise ValueError("a workload of this id exists already")
            if node is None or node.state is NodeState.LOST:
                raise ValueError(f"node_id: no node {event.node_id!r} is reachable")
        except ValueError as error:
            self._refuse(spec.workload_id, str(error), spec.operation_id)
            return
        workload = self._new_workload(spec.workload_id, spec, payloads)
        self.counters.adopted += 1
        workload.generation = 1
        self._hold(workload, node.row, as_found=True)
        self._move(workload, Trigger.ADOPTED)

    # -- the scheduling pass ----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        queue, planner, counters = self.queue, self.planner, self.counters
        if not queue.begin_pass(self.ledger) and not self._impatient:
            return
        while (ready := queue.next_class()) is not None:
            request_class, workload, rows = ready
            row = planner.choose(request_class, counters.decisions, rows)
            counters.decisions += 1
            if row == NO_ROW:
                queue.block(request_class)
            else:
                self._place(workload, row)
                queue.take(request_class)
        if self._impatient:
            self._reject_impatient()

    def _reject_impatient(self) -> None:
        for workload in self._impatient:
            if workload.state is State.QUEUED:
                self._end(workload, Trigger.REFUSED, str(self.diagnose(workload.workload_id)))
        self._impatient.clear()

    def _place(self, workload: Workload, row: NodeIndex) -> None:
        self._hold(workload, row)
        workload.generation += 1
        self.counters.placements += 1
        if workload.generation == 1:
            self.counters.placed += 1
        self._move(workload, Trigger.PLACED)
        self._command_start(workload)

    def _command_start(self, workload: Workload) -> None:
        request_class = self.planner.classes[workload.class_id]
        self._commands.append(
            StartWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                image=workload.spec.image,
                engine_args=self.planner.merge_engine_args(request_class.payloads),
            )
        )
        self.timers.add_deadline(
            "start", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    def _command_stop(self, workload: Workload) -> None:
        reason: StopReason = workload.stop_reason  # type: ignore[assignment]
        self._commands.append(
            StopWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                reason=reason,
            )
        )
        self.timers.add_deadline(
            "stop", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    # -- the only ways to change a workload -----------------------------------------------------------------------

    def _move(self, workload: Workload, trigger: Trigger) -> None:
        """Change the state by the table."""
        before = workload.state
        after = TRANSITIONS[before, trigger]
        workload.state = after
        counts = self.state_counts
        counts[before] -= 1
        counts[after] += 1

    def _hold(self, workload: Workload, row: NodeIndex, *, as_found: bool = False) -> None:
        request_class = self.planner.classes[workload.class_id]
        self.ledger.reserve(row, request_class.request, as_found=as_found)
        if request_class.payloads is not None:
            self.ledger.charge(self.planner.charges(request_class, row))
        workload.row = row
        self.on_row[row][workload.workload_id] = workload

    def _let_go(self, workload: Workload, *, fence: bool = False) -> None:
        """Give back what the workload holds, or leave it held by a fence."""
        row = workload.row
        request_class = self.planner.classes[workload.class_id]
        charges = self.planner.charges(request_class, row) if request_class.payloads is not None else {}
        del self.on_row[row][workload.workload_id]
        workload.row = -1
        if fence:
            self.fences[workload.workload_id, workload.generation] = Fence(
                workload_id=workload.workload_id,
                generation=workload.generation,
                row=row,
                request=request_class.request,
                charges=charges,
            )
            return
        self.ledger.release(row, request_class.request)
        if charges:
            self.ledger.refund(charges)
        self._note_drained(self.cluster.nodes[row])

    def _end(self, workload: Workload, trigger: Trigger, detail: str = "") -> None:
        """The workload ends; what it held has been given back."""
        was_queued = workload.state is State.QUEUED
        self._move(workload, trigger)
        if was_queued:
            self.queue.drop(workload)
        outcome = _ENDED_AS[workload.state]
        if not workload.creation_answered or trigger in _PUBLISHED:
            operation_id = "" if workload.creation_answered else workload.spec.operation_id
            self._answer(operation_id, workload.workload_id, outcome, detail)
        if workload.stop_operation_id:
            self._answer(workload.stop_operation_id, workload.workload_id, outcome, detail)
        del self.workloads[workload.workload_id]
        self.planner.classes.leave(workload.class_id)

    def _requeue(self, workload: Workload) -> None:
        """The workload is in the queued state again: have it placed anew."""
        workload.stop_reason = ""
        self.queue.push(workload, self.planner.classes[workload.class_id])

    # -- restoring, for `scheduler.snapshot` only --------------------------------------------------------------------

    def adopt_record(self, workload: Workload) -> None:
        """Take in a record as it was, holding nothing yet; its class is found anew."""
        payloads = self._check_spec(workload.spec)
        workload.class_id = self._intern(workload.spec, payloads, workload.failed_rows).class_id
        self.workloads[workload.workload_id] = workload

    def hold_again(self, workload: Workload, row: NodeIndex) -> None:
        """Have the workload hold on ``row`` what it held."""
        self._hold(workload, row, as_found=True)

    def requeue_all(self) -> None:
        """Queue what is queued. Between steps every waiting class has been refused."""
        for workload in self.workloads.values():
            if workload.state is State.QUEUED:
                self.queue.push(workload, self.planner.classes[workload.class_id])
        self.ledger.freed_rows.clear()
        self.ledger.freed_pools = False
        self.queue.begin_pass(self.ledger)
        while (ready := self.queue.next_class()) is not None:
            self.queue.block(ready[0])

    # -- completions ----------------------------------------------------------------------------------------------

    def _current(self, workload_id: str, generation: int) -> Workload | None:
        """The workload whose present generation the completion is about; None, and counted, where it is stale."""
        workload = self.workloads.get(workload_id)
        if workload is not None and workload.generation == generation and workload.row >= 0:
            return workload
        self.counters.stale += 1
        return None

    def _on_started(self, event: WorkloadStarted) -> None:
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is not State.STARTING:
            self.counters.stale += 1
            return
        self._move(workload, Trigger.STARTED)
        if workload.stop_operation_id:
            self._answer(workload.stop_operation_id, workload.workload_id, "running")
            workload.stop_operation_id = ""
        elif not workload.creation_answered:
            workload.creation_answered = True
            self._answer(workload.spec.operation_id, workload.workload_id, "running")

    def _on_start_failed(self, event: WorkloadStartFailed) -> None:
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is State.STOPPING:
            self._finish_stop(workload)
            return
        if workload.state is not State.STARTING:
            self.counters.stale += 1
            return
        self.counters.start_failures += 1
        spec, row = workload.spec, workload.row
        workload.start_failures += 1
        self._let_go(workload)
        if spec.on_start_failure == "fail" or workload.start_failures > spec.start_retries:
            self._end(workload, Trigger.START_FAILED, event.reason)
            return
        if spec.on_start_failure == "elsewhere":
            self._avoid(workload, row)
        self._move(workload, Trigger.RETRY_LATER)
        delay_ns = self.config.backoff_base_ns << min(workload.start_failures - 1, 32)
        self.timers.add_backoff(
            self.at_ns + min(delay_ns, self.config.backoff_max_ns), workload.workload_id, workload.generation
        )

    def _avoid(self, workload: Workload, row: NodeIndex) -> None:
        """Put the workload into the class that asks the same but leaves out the row."""
        workload.failed_rows = tuple(sorted({*workload.failed_rows, row}))
        payloads = self.planner.classes[workload.class_id].payloads
        self.planner.classes.leave(workload.class_id)
        workload.class_id = self._intern(workload.spec, payloads, workload.failed_rows).class_id

    def _on_exited(self, event: WorkloadExited) -> None:
        if self._lift_fence(event.workload_id, event.generation):
            return
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is State.STOPPED:
            self.counters.stale += 1
            return
        self._let_go(workload)
        if event.exit_code:
            self._end(workload, Trigger.EXITED_WITH_ERROR, f"exit code {event.exit_code}")
        else:
            self._end(workload, Trigger.EXITED)

    def _on_stopped(self, event: WorkloadStopped) -> None:
        if self._lift_fence(event.workload_id, event.generation):
            return
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is not State.STOPPING:
            self.counters.stale += 1
            return
        self._finish_stop(workload)

    def _finish_stop(self, workload: Workload) -> None:
        if workload.stop_reason == "hold":
            self._move(workload, Trigger.STOPPED_AND_HELD)
            if workload.stop_operation_id:
                self._answer(workload.stop_operation_id, workload.workload_id, "stopped")
                workload.stop_operation_id = ""
            self._note_drained(self.cluster.nodes[workload.row])
            return
        self._let_go(workload)
        if workload.stop_reason == "evict":
            self.counters.evicted += 1
            self._move(workload, Trigger.STOPPED_TO_MOVE)
            self._requeue(workload)
            return
        self._end(workload, Trigger.STOPPED_FOR_GOOD)

    def _lift_fence(self, workload_id: str, generation: int) -> bool:
        """A superseded instance is confirmed gone: give back what it held. False where there is none."""
        if not self.fences:
            return False
        fence = self.fences.pop((workload_id, generation), None)
        if fence is None:
            return False
        self.ledger.release(fence.row, fence.request)
        if fence.charges:
            self.ledger.refund(fence.charges)
        return True

    # -- what users ask of workloads ------------------------------------------------------------------------------

    def _on_removal_requested(self, event: RemovalRequested) -> None:
        workload = self.workloads.get(event.workload_id)
        if workload is None:
            # In a replay the user's removal often comes after the end: that is no mistake unless somebody waits for it.
            if event.operation_id:
                self._refuse(event.workload_id, "no such workload", event.operation_id)
            return
        if not self._open_operation(event.operation_id, "remove", 1):
            return
        self._supersede_request(workload, event.operation_id)
        if workload.state in (State.QUEUED, State.BACKOFF):
            self._end(workload, Trigger.CANCELLED)
            return
        asked_already = workload.state is State.STOPPING
        workload.stop_reason = "kill"
        if not asked_already:
            self._move(workload, Trigger.STOP_ASKED)
        if self.cluster.nodes[workload.row].state is NodeState.LOST:
            self._let_go(workload, fence=True)
            self._end(workload, Trigger.NODE_GONE_KILL)
            return
        self._command_stop(workload)

    def _supersede_request(self, workload: Workload, operation_id: str) -> None:
        """Answer whoever waits for an earlier start or stop of this workload, and remember who waits now."""
        if workload.stop_operation_id:
            self._answer(
                workload.stop_operation_id, workload.workload_id, "refused", "superseded by a later request"
            )
        workload.stop_operation_id = operation_id

    def _on_stop_requested(self, event: StopRequested) -> None:
        workload = self.workloads.get(event.workload_id)
        if workload is None or workload.state not in (State.STARTING, State.RUNNING):
            state = "no such workload" if workload is None else f"it is {workload.state}, not running"
            self._refuse(event.workload_id, state, event.operation_id)
            return
        if not self._open_operation(event.operation_id, "stop", 1):
            return
        self._supersede_request(workload, event.operation_id)
        workload.stop_reason = "hold"
        self._move(workload, Trigger.STOP_ASKED)
        self._command_stop(workload)

    def _on_start_requested(self, event: StartRequested) -> None:
        workload = self.workloads.get(event.workload_id)
        if workload is None or workload.state is not State.STOPPED:
            state = "no such workload" if workload is None else f"it is {workload.state}, not stopped"
            self._refuse(event.workload_id, state, event.operation_id)
            return
        node = self.cluster.nodes[workload.row]
        if node.state in (NodeState.LOST, NodeState.DRAINING):
            self._refuse(event.workload_id, f"its node {node.node_id} is {node.state}", event.operation_id)
            return
        if not self._open_operation(event.operation_id, "start", 1):
            return
        self._supersede_request(workload, event.operation_id)
        workload.stop_reason = ""
        workload.generation += 1
        self._move(workload, Trigger.START_ASKED)
        self._command_start(workload)

    # -- nodes ----------------------------------------------------------------------------------------------------

    def _amounts(self, capacity: Any) -> tuple[int, ...]:
        """A capacity aligned with the dimensions; ValueError names field, value and remedy."""
        for name, amount in capacity.items():
            if name not in self._dimension_names:
                raise ValueError(f"capacity.{name}: no such dimension; there are: {', '.join(self._dimension_names)}")
            if not 0 <= amount < 1 << 62:
                raise ValueError(f"capacity.{name}: {amount} must be at least 0 and below 2^62")
        return tuple(capacity.get(name, 0) for name in self._dimension_names)

    def _on_node_joined(self, event: NodeJoined) -> None:
        try:
            capacity = self._amounts(event.capacity)
            if event.node_id in self.cluster.by_id:
                raise ValueError("a node of this id exists already")
        except ValueError as error:
            self._refuse(event.node_id, str(error))
            return
        row = self.ledger.add_row(self.config.overcommitted(capacity))
        self.on_row.append({})
        self.cluster.add(
            Node(
                node_id=event.node_id,
                row=row,
                pool=event.pool,
                capacity=capacity,
                labels=dict(event.labels),
                topology=dict(event.topology),
            )
        )
        self.planner.update_reference()

    def _node(self, node_id: str, *states: NodeState, operation_id: str = "") -> Node | None:
        """The node if it is in one of the states; otherwise None, and whoever asked is told."""
        node = self.cluster.by_id.get(node_id)
        if node is None:
            self._refuse(node_id, "no such node", operation_id)
            return None
        if node.state not in states:
            self._refuse(node_id, f"the node is {node.state}; this needs one that is {' or '.join(states)}", operation_id)
            return None
        return node

    def _set_node_state(self, node: Node, state: NodeState) -> None:
        self.cluster.set_state(node, state)
        self.ledger.set_live(node.row, state not in (NodeState.LOST, NodeState.REMOVED))
        if state is NodeState.READY:
            self.ledger.wake_row(node.row)
        else:
            self.ledger.touch(node.row)

    def _change_capacity(self, node: Node, capacity: tuple[int, ...]) -> None:
        if capacity == node.capacity:
            return
        self.cluster.set_capacity(node, capacity)
        self.ledger.set_total(node.row, self.config.overcommitted(capacity))
        self.planner.update_reference()

    def _on_node_capacity_changed(self, event: NodeCapacityChanged) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST)
        if node is None:
            return
        try:
            capacity = self._amounts(event.capacity)
        except ValueError as error:
            self._refuse(event.node_id, str(error))
            return
        self._change_capacity(node, capacity)

    def _on_node_cordoned(self, event: NodeCordoned) -> None:
        node = self._node(event.node_id, NodeState.READY)
        if node is not None:
            self._set_node_state(node, NodeState.CORDONED)

    def _on_node_uncordoned(self, event: NodeUncordoned) -> None:
        node = self._node(event.node_id, NodeState.CORDONED, NodeState.DRAINING)
        if node is None:
            return
        if node.drain_operation_id:
            self._answer(node.drain_operation_id, node.node_id, "refused", "the node was uncordoned")
            node.drain_operation_id = ""
        self._set_node_state(node, NodeState.READY)

    def _on_node_drain_requested(self, event: NodeDrainRequested) -> None:
        node = self._node(event.node_id, NodeState.READY, NodeState.CORDONED, operation_id=event.operation_id)
        if node is None or not self._open_operation(event.operation_id, "drain", 1):
            return
        node.drain_operation_id = event.operation_id
        self._set_node_state(node, NodeState.DRAINING)
        for workload in list(self.on_row[node.row].values()):
            if workload.state in (State.STARTING, State.RUNNING):
                self._move(workload, Trigger.STOP_ASKED)
                workload.stop_reason = "evict"
                self._command_stop(workload)
        self._note_drained(node)

    def _note_drained(self, node: Node) -> None:
        if node.state is not NodeState.DRAINING or not node.drain_operation_id:
            return
        if all(workload.stop_reason == "hold" for workload in self.on_row[node.row].values()):
            self._answer(node.drain_operation_id, node.node_id, "drained")
            node.drain_operation_id = ""

    def _on_node_lost(self, event: NodeLost) -> None:
        node = self._node(event.node_id, *_PRESENT)
        if node is None:
            return
        node.resume_state = node.state if node.state is not NodeState.DRAINING else NodeState.CORDONED
        self._set_node_state(node, NodeState.LOST)
        for workload in list(self.on_row[node.row].values()):
            if workload.stop_reason != "hold":
                self._leave_node(workload, fence=True)
        self._note_drain_interrupted(node)

    def _leave_node(self, workload: Workload, *, fence: bool) -> None:
        """The node is gone from under the workload: it moves, or ends."""
        self._let_go(workload, fence=fence)
        if workload.stop_reason == "kill":
            self._end(workload, Trigger.NODE_GONE_KILL)
        elif workload.spec.on_node_loss == "lose" or workload.stop_reason == "hold":
            self._end(workload, Trigger.NODE_GONE_LOSE)
        else:
            self.counters.evicted += 1
            self._move(workload, Trigger.NODE_GONE_MOVE)
            self._requeue(workload)

    def _note_drain_interrupted(self, node: Node) -> None:
        if node.drain_operation_id:
            self._answer(node.drain_operation_id, node.node_id, "refused", "the node was lost")
            node.drain_operation_id = ""

    def _on_node_returned(self, event: NodeReturned) -> None:
        node = self._node(event.node_id, NodeState.LOST)
        if node is None:
            return
        if event.capacity is not None:
            try:
                capacity = self._amounts(event.capacity)
            except ValueError as error:
                self._refuse(event.node_id, str(error))
                return
            self._change_capacity(node, capacity)
        self._set_node_state(node, node.resume_state)
        for fence in self.fences.values():
            if fence.row == node.row:
                self._commands.append(
                    StopWorkload(
                        workload_id=fence.workload_id,
                        generation=fence.generation,
                        node_id=node.node_id,
                        reason="fence",
                    )
                )
        for workload in self.on_row[node.row].values():
            if workload.state is State.STOPPING:
                self._command_stop(workload)

    def _on_node_removed(self, event: NodeRemoved) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST)
        if node is None:
            return
        self._note_drain_interrupted(node)
        self._set_node_state(node, NodeState.REMOVED)
        for workload in list(self.on_row[node.row].values()):
            self._leave_node(workload, fence=False)
        for key in [key for key, fence in self.fences.items() if fence.row == node.row]:
            self._lift_fence(*key)
        self.planner.update_reference()

    # -- policy and timers ----------------------------------------------------------------------------------------

    def _on_policy_changed(self, event: PolicyChanged) -> None:
        try:
            policy = self._policy_factory(event.name, event.params)
        except ValueError as error:
            self._refuse(event.name, str(error))
            return
        self.policy_config = PolicyConfig(event.name, event.params)
        self.planner.set_policy(policy)

    def _timer_is_relevant(self, timer: Timer) -> bool:
        workload = self.workloads.get(timer.workload_id)
        return (
            workload is not None
            and workload.generation == timer.generation
            and workload.state is _STATE_OF_TIMER[timer.kind]
        )

    def _on_timer_fired(self, event: TimerFired) -> None:
        for timer in self.timers.pop_due(self.at_ns):
            workload = self.workloads[timer.workload_id]
            if timer.kind == "backoff":
                self._move(workload, Trigger.BACKOFF_OVER)
                self._requeue(workload)
            elif timer.kind == "start":
                self._command_start(workload)
            elif self.cluster.nodes[workload.row].state is not NodeState.LOST:
                self._command_stop(workload)

    # -- answers --------------------------------------------------------------------------------------------------

    def _open_operation(self, operation_id: str, kind: str, remaining: int) -> bool:
        """Note that somebody waits for ``remaining`` answers; False, and refused, where the id is taken."""
        if not operation_id:
            return True
        if operation_id in self.operations:
            self._refuse(operation_id, "an operation of this id is under way")
            return False
        self.operations[operation_id] = Operation(operation_id=operation_id, kind=kind, remaining=remaining)
        return True

    def _answer(self, operation_id: str, subject: str, outcome: Outcome, detail: str = "") -> None:
        """Publish one result; with the last one that an operation waits for, also that it is done."""
        operation = self.operations.get(operation_id)
        if operation is None and operation_id:
            return
        self._commands.append(
            PublishResult(
                subject=subject, outcome=outcome, detail=detail, operation_id=operation_id if operation else ""
            )
        )
        if operation is None:
            return
        operation.remaining -= 1
        if not operation.remaining:
            del self.operations[operation_id]
            self._commands.append(PublishResult(subject=operation_id, outcome="done", operation_id=operation_id))

    def _refuse(self, subject: str, detail: str, operation_id: str = "") -> None:
        self.counters.refused += 1
        self._commands.append(
            PublishResult(subject=subject, outcome="refused", detail=detail, operation_id=operation_id)
        )


_PUBLISHED = (Trigger.REFUSED, Trigger.START_FAILED, Trigger.NODE_GONE_LOSE)
"""Ends that neither an exit nor a user caused: published even when nobody waits."""
_PRESENT = (NodeState.READY, NodeState.CORDONED, NodeState.DRAINING)
_STATE_OF_TIMER: dict[Literal["backoff", "start", "stop"], State] = {
    "backoff": State.BACKOFF,
    "start": State.STARTING,
    "stop": State.STOPPING,
}
assert {*HOLDING, *TERMINAL, State.QUEUED, State.BACKOFF} == {*State}


def _event_class(event: AnyEvent) -> int:
    return event.event_class

"""What happens when workloads are submitted, answered for by engines, or asked for by users, and when timers fire."""

from __future__ import annotations

from scheduler.assignment import Assignment
from scheduler.cluster import NodeState
from scheduler.events import (
    DissociateRequested,
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
from scheduler.lifecycle import State, Trigger
from scheduler.maintenance import Maintenance
from scheduler.operations import Program
from scheduler.ports import NOTHING
from scheduler.request_classes import RequestClass
from scheduler.resources import Assignments
from scheduler.state import CoreState, Handlers
from scheduler.types import NodeIndex
from scheduler.workload import Workload

# A name is found faster than a member, and these are asked for with every workload.
_STARTING, _STOPPED = State.STARTING, State.STOPPED
_STARTED, _EXITED = Trigger.STARTED, Trigger.EXITED


class WorkloadEvents:
    """Handlers, one an event type: ``handlers`` maps the type to the method."""

    def __init__(self, state: CoreState, maintenance: Maintenance) -> None:
        self.state = state
        self._maintenance = maintenance
        self.handlers: Handlers = {
            WorkloadsSubmitted: self._on_submitted,
            WorkloadAdopted: self._on_adopted,
            WorkloadStarted: self._on_started,
            WorkloadStartFailed: self._on_start_failed,
            WorkloadExited: self._on_exited,
            WorkloadStopped: self._on_stopped,
            RemovalRequested: self._on_removal_requested,
            DissociateRequested: self._on_dissociate_requested,
            StopRequested: self._on_stop_requested,
            StartRequested: self._on_start_requested,
            TimerFired: self._on_timer_fired,
        }

    def _on_submitted(self, event: WorkloadsSubmitted) -> None:
        state = self.state
        try:
            request_class = state.admit(event)
        except ValueError as error:
            state.results.refuse(event.workload_id, str(error), event.operation_id)
            return
        ids: tuple[str, ...] = (event.workload_id,)
        if event.count > 1:
            ids = tuple(f"{event.workload_id}/{copy}" for copy in range(event.count))
        for workload_id in ids:
            try:
                state.check_id(workload_id)
            except ValueError as error:
                state.results.refuse(workload_id, str(error), event.operation_id)
                return
        if event.operation_id and not state.results.open(event.operation_id, "create", event.count):
            return
        for workload_id in ids:
            workload = state.new_workload(workload_id, event, request_class)
            state.queue.push(workload, request_class)
            if event.preempts:
                state.preemptors[workload_id] = workload
            if event.on_unschedulable == "fail":
                state.impatient.append(workload)
        if event.gang:
            state.gangs.arm(event)

    def _on_adopted(self, event: WorkloadAdopted) -> None:
        spec = event.spec
        node = self.state.cluster.by_id.get(event.node_id)
        try:
            request_class = self.state.admit(spec)
            if spec.count != 1:
                raise ValueError(f"count: {spec.count}; adopt workloads one by one")
            if event.generation < 1:
                raise ValueError(f"generation: {event.generation} must be at least 1")
            self.state.check_id(spec.workload_id)
            if node is None or node.state is NodeState.LOST:
                raise ValueError(f"node_id: no node {event.node_id!r} is reachable")
            if not self.state.ledger.can_hold(node.row, request_class.request):
                raise ValueError(f"request: node {event.node_id} would hold more than can be counted")
            assignments = self._found_assignments(event, request_class, node.row)
        except ValueError as error:
            self.state.results.refuse(spec.workload_id, str(error), spec.operation_id)
            return
        if not self.state.results.open(spec.operation_id, "adopt", 1):
            return
        workload = self.state.new_workload(spec.workload_id, spec, request_class)
        self.state.counters.adopted += 1
        workload.generation = event.generation
        workload.started_ns = self.state.at_ns
        self.state.hold(workload, node.row, assignments, as_found=True)
        self.state.move(workload, Trigger.ADOPTED)
        self._answer_creation(workload)
        if node.state is NodeState.DRAINING:
            self.state.evict(workload)

    def _found_assignments(
        self, event: WorkloadAdopted, request_class: RequestClass, row: NodeIndex
    ) -> Assignments | None:
        """What the workload holds of particular things: as told, or else assigned now; ValueError where it cannot."""
        exact = request_class.asked.exact if request_class.asked is not None else ()
        told = dict(event.assignments or {})
        for name in told:
            if name not in exact:
                raise ValueError(f"assignments.{name}: the workload asks nothing of such a plugin")
        if any(name not in told for name in exact):
            found = self.state.resources.assign(request_class, row, 1)
            if not found:
                raise ValueError(f"node_id: {event.node_id} has not the things free that the workload needs")
            told = {**found[0], **told}
        for name, assignment in (event.assignments or {}).items():
            self._check_found(request_class, row, name, assignment)
        return told or None

    def _check_found(self, request_class: RequestClass, row: NodeIndex, name: str, assignment: Assignment) -> None:
        """ValueError where a workload cannot hold that of an exact plugin's things."""
        for slot, amount in assignment.amounts.items():
            if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
                raise ValueError(f"assignments.{name}.{slot}: {amount!r} must be a whole number of at least 1")
        table, asked = self.state.ledger.slots[name], request_class.asked
        shortage = table.shortage(row, assignment.amounts)
        if shortage:
            raise ValueError(f"assignments.{name}: {shortage}")
        assert asked is not None
        inventory = table.inventory(row) or NOTHING
        self.state.resources.exact[name].check_assignment(asked.payloads[name], inventory, assignment)

    def _current(self, workload_id: str, generation: int) -> Workload | None:
        """The workload whose present generation the completion is about; None, and counted, where it is stale."""
        workload = self.state.workloads.get(workload_id)
        if workload is not None and workload.generation == generation and workload.row >= 0:
            return workload
        self.state.counters.stale += 1
        return None

    def _on_started(self, event: WorkloadStarted) -> None:
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        state = self.state
        if workload.state is not _STARTING:
            state.counters.stale += 1
            return
        workload.started_ns = state.at_ns
        state.move(workload, _STARTED)
        workload.start_failures = 0
        if state.resources.uses_images and workload.spec.image:
            node = state.cluster.nodes[workload.row]
            if workload.spec.image not in node.images:
                node.images = {**node.images, workload.spec.image: 0}
                state.ledger.touch(node.row)
        if workload.stop_operation_id:
            state.results.answer(workload.stop_operation_id, workload.workload_id, "running")
            workload.stop_operation_id = ""
        if workload.rollout is not None:
            state.replacements.note_started(workload)
        if not workload.creation_answered:
            self._answer_creation(workload)

    def _answer_creation(self, workload: Workload) -> None:
        """Tell whoever waits for the workload that it runs, once."""
        if not workload.creation_answered:
            workload.creation_answered = True
            self.state.results.answer(workload.spec.operation_id, workload.workload_id, "running")

    def _on_start_failed(self, event: WorkloadStartFailed) -> None:
        if self.state.fences.by_key and self.state.lift_fence(event.workload_id, event.generation):
            return
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is State.STOPPING:
            self._finish_stop(workload)
            return
        if workload.state is not State.STARTING:
            self.state.counters.stale += 1
            return
        self.state.counters.start_failures += 1
        if workload.rollout is not None:
            self._start_previous(workload, workload.rollout.previous, event.reason)
            return
        spec, row = workload.spec, workload.row
        workload.start_failures += 1
        self.state.let_go(workload)
        if spec.on_start_failure == "fail" or workload.start_failures > spec.start_retries:
            self.state.end(workload, Trigger.START_FAILED, event.reason)
            return
        if spec.on_start_failure == "elsewhere":
            self.state.avoid(workload, row)
        self.state.move(workload, Trigger.RETRY_LATER)
        if spec.gang:
            self.state.gangs.scatter(workload)
        delay_ns = self.state.config.backoff_base_ns << min(workload.start_failures - 1, 32)
        workload.timer = self.state.timers.add_delay(
            "backoff",
            self.state.at_ns + min(delay_ns, self.state.config.backoff_max_ns),
            workload.workload_id,
            workload.generation,
        )

    def _start_previous(self, workload: Workload, program: Program, reason: str) -> None:
        """What was to replace it does not start: go back to what it was before."""
        self.state.replacements.change_program(workload, program)
        self.state.replacements.leave(workload, "rolled_back", reason)
        workload.generation += 1
        self.state.move(workload, Trigger.ROLLED_BACK)
        self.state.command_start(workload)

    def _on_exited(self, event: WorkloadExited) -> None:
        state = self.state
        if state.fences.by_key and state.lift_fence(event.workload_id, event.generation):
            return
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is _STOPPED:
            state.counters.stale += 1
            return
        if workload.spec.on_exit == "hold":
            self._hold_exited(workload, event.exit_code)
            return
        state.let_go(workload)
        if event.exit_code:
            state.end(workload, Trigger.EXITED_WITH_ERROR, f"exit code {event.exit_code}")
        else:
            state.end(workload, _EXITED)

    def _hold_exited(self, workload: Workload, exit_code: int) -> None:
        """It stays, stopped. Where it was to be stopped anyway, the answer to that decides."""
        if workload.state is State.STOPPING:
            self.state.counters.stale += 1
            return
        if workload.rollout is not None:
            self.state.replacements.leave(workload, "refused", f"exit code {exit_code}")
        self._answer_creation(workload)
        workload.stop_reason = "hold"
        self.state.move(workload, Trigger.EXITED_AND_HELD)
        self.state.results.answer(workload.stop_operation_id, workload.workload_id, "stopped", f"exit code {exit_code}")
        workload.stop_operation_id = ""
        self.state.note_drained(self.state.cluster.nodes[workload.row])

    def _on_stopped(self, event: WorkloadStopped) -> None:
        if self.state.fences.by_key and self.state.lift_fence(event.workload_id, event.generation):
            return
        workload = self._current(event.workload_id, event.generation)
        if workload is None:
            return
        if workload.state is not State.STOPPING:
            self.state.counters.stale += 1
            return
        self._finish_stop(workload)

    def _finish_stop(self, workload: Workload) -> None:
        if workload.stop_reason == "hold":
            self.state.move(workload, Trigger.STOPPED_AND_HELD)
            if workload.stop_operation_id:
                self.state.results.answer(workload.stop_operation_id, workload.workload_id, "stopped")
                workload.stop_operation_id = ""
            self.state.note_drained(self.state.cluster.nodes[workload.row])
            return
        if workload.stop_reason == "replace":
            self.state.replacements.start_successor(workload)
            return
        self.state.let_go(workload)
        if workload.stop_reason in ("evict", "preempt"):
            self.state.counters.evicted += workload.stop_reason == "evict"
            self.state.move(workload, Trigger.STOPPED_TO_MOVE)
            self.state.requeue(workload)
            return
        self.state.end(workload, Trigger.STOPPED_FOR_GOOD)

    def _on_removal_requested(self, event: RemovalRequested) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None:
            # In a replay the user's removal often comes after the end: that is no mistake unless somebody waits for it.
            if event.operation_id:
                self.state.results.refuse(event.workload_id, "no such workload", event.operation_id)
            return
        if not self.state.results.open(event.operation_id, "remove", 1):
            return
        self._supersede_request(workload, event.operation_id)
        if workload.state in (State.QUEUED, State.BACKOFF):
            self.state.end(workload, Trigger.CANCELLED)
            return
        asked_already = workload.state is State.STOPPING
        workload.stop_reason = "kill"
        if not asked_already:
            self.state.move(workload, Trigger.STOP_ASKED)
        if self.state.cluster.nodes[workload.row].state is NodeState.LOST:
            self.state.let_go(workload, fence=True)
            self.state.end(workload, Trigger.NODE_GONE_KILL)
            return
        self.state.command_stop(workload)
        if workload.spec.gang:
            self.state.gangs.gather(workload.spec)

    def _supersede_request(self, workload: Workload, operation_id: str) -> None:
        """Answer whoever waits for an earlier start or stop of this workload, and remember who waits now."""
        if workload.stop_operation_id:
            self.state.results.answer(
                workload.stop_operation_id, workload.workload_id, "refused", "superseded by a later request"
            )
        workload.stop_operation_id = operation_id

    def _on_stop_requested(self, event: StopRequested) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None or workload.state not in (State.STARTING, State.RUNNING):
            state = "no such workload" if workload is None else f"it is {workload.state}, not running"
            self.state.results.refuse(event.workload_id, state, event.operation_id)
            return
        if not self.state.results.open(event.operation_id, "stop", 1):
            return
        self._supersede_request(workload, event.operation_id)
        if workload.rollout is not None:
            self.state.replacements.leave(workload, "refused", "superseded by a stop")
        workload.stop_reason = "hold"
        self.state.move(workload, Trigger.STOP_ASKED)
        self.state.command_stop(workload)

    def _on_start_requested(self, event: StartRequested) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None or workload.state is not State.STOPPED:
            state = "no such workload" if workload is None else f"it is {workload.state}, not stopped"
            self.state.results.refuse(event.workload_id, state, event.operation_id)
            return
        node = self.state.cluster.nodes[workload.row]
        if node.state in (NodeState.LOST, NodeState.DRAINING):
            self.state.results.refuse(event.workload_id, f"its node {node.node_id} is {node.state}", event.operation_id)
            return
        if not self.state.results.open(event.operation_id, "start", 1):
            return
        self._supersede_request(workload, event.operation_id)
        workload.stop_reason = ""
        workload.generation += 1
        self.state.move(workload, Trigger.START_ASKED)
        self.state.command_start(workload)

    def _on_dissociate_requested(self, event: DissociateRequested) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None or workload.state not in (State.STARTING, State.RUNNING, State.STOPPED):
            state = "no such workload" if workload is None else f"it is {workload.state}, and not placed"
            self.state.results.refuse(event.workload_id, state, event.operation_id)
            return
        if not self.state.results.open(event.operation_id, "dissociate", 1):
            return
        self._supersede_request(workload, event.operation_id)
        self.state.let_go(workload)
        self.state.end(workload, Trigger.DISSOCIATED)

    def _on_timer_fired(self, event: TimerFired) -> None:
        for timer in self.state.timers.pop_due(self.state.at_ns):
            if timer.kind == "fence":
                fence = self.state.fences.by_key[timer.workload_id, timer.generation]
                if self.state.cluster.nodes[fence.row].state is not NodeState.LOST:
                    self.state.command_fence(fence)
                continue
            if timer.kind == "window":
                self._maintenance.on_timer(timer.workload_id)
                continue
            if timer.kind == "reservation":
                self.state.reservations.end(timer.workload_id)
                continue
            if timer.kind == "gang":
                self.state.gangs.time_out(timer.workload_id, timer.generation)
                continue
            workload = self.state.workloads[timer.workload_id]
            if timer.kind == "backoff":
                self.state.move(workload, Trigger.BACKOFF_OVER)
                self.state.requeue(workload)
            elif timer.kind == "gate":
                assert workload.rollout is not None
                previous = workload.rollout.previous
                self.state.replacements.leave(workload, "rolled_back", "it has not become healthy in time")
                self.state.replacements.restart_as(workload, previous)
            elif timer.kind == "update":
                if self.state.cluster.nodes[workload.row].state is not NodeState.LOST:
                    self.state.updates.command(workload)
            elif timer.kind == "start":
                self.state.command_start(workload)
            elif self.state.cluster.nodes[workload.row].state is not NodeState.LOST:
                self.state.command_stop(workload)

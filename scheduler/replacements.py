"""Replacements: running workloads are started again with another image, a few at a time.

Theory of operation. Every workload keeps its node and all that it holds, so nothing has to be scheduled and capacity
never has to be double: its generation is stopped, and the next one started from the new specification. When that has
started, and with a health gate when it has been reported healthy in time, its part is done and the next one's turn
comes. One that fails goes back to what it was; then nobody new is begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.cluster import NodeState
from scheduler.commands import Outcome
from scheduler.events import ReplaceRequested, WorkloadHealthChanged
from scheduler.lifecycle import State, Trigger
from scheduler.operations import Program, Replacement, program_of
from scheduler.workload import RolloutPart, Workload

if TYPE_CHECKING:
    from scheduler.state import CoreState, Handlers


class Replacements:
    """The replacements of one core, and the only ways to change them."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.under_way: dict[str, Replacement] = {}
        """By operation id."""
        self.touched: dict[str, None] = {}
        """Those in which a workload's part ended in this step: the next may begin."""

    def restart_as(self, workload: Workload, program: Program) -> None:
        """Have a running workload stopped, and started again where it is as something else."""
        workload.successor = program
        workload.stop_reason = "replace"
        self.state.move(workload, Trigger.STOP_ASKED)
        self.state.command_stop(workload)

    def start_successor(self, workload: Workload) -> None:
        """The generation that was to be replaced is gone: start the next one in its place, or have it move if the node
        is to be empty.
        """
        assert workload.successor is not None
        self.change_program(workload, workload.successor)
        workload.successor = None
        if self.state.cluster.nodes[workload.row].state is NodeState.DRAINING:
            self.state.let_go(workload)
            self.state.counters.evicted += 1
            self.state.move(workload, Trigger.STOPPED_TO_MOVE)
            self.state.requeue(workload)
            return
        workload.stop_reason = ""
        self.state.move(workload, Trigger.STOPPED_AND_HELD)
        workload.generation += 1
        self.state.move(workload, Trigger.START_ASKED)
        self.state.command_start(workload)

    def change_program(self, workload: Workload, program: Program) -> None:
        """From now on something else is started; what the workload asks for stays the same."""
        workload.spec = program.of(workload.spec)

    def note_started(self, workload: Workload) -> None:
        """A workload in a rollout has started: its part is done, or its health has to show."""
        assert workload.rollout is not None
        rollout = self.under_way[workload.rollout.operation_id]
        if rollout.gate == "started":
            self.leave(workload, "replaced")
            return
        workload.rollout.gate_timer = self.state.timers.add_delay(
            "gate", self.state.at_ns + rollout.gate_timeout_ns, workload.workload_id, workload.generation
        )

    def leave(self, workload: Workload, outcome: Outcome, detail: str = "") -> None:
        """A workload's part in a replacement is over, one way or the other."""
        assert workload.rollout is not None
        operation_id = workload.rollout.operation_id
        workload.rollout = None
        rollout = self.under_way[operation_id]
        del rollout.active[workload.workload_id]
        if outcome == "replaced":
            self.state.counters.replaced += 1
        else:
            rollout.has_failed = True
        self.state.results.answer(operation_id, workload.workload_id, outcome, detail)
        self.touched[operation_id] = None


class ReplacementEvents:
    """Handlers, one an event type: ``handlers`` maps the type to the method. `go_on` is called at the end of a step."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.handlers: Handlers = {
            ReplaceRequested: self._on_replace_requested,
            WorkloadHealthChanged: self._on_health_changed,
        }

    def _on_replace_requested(self, event: ReplaceRequested) -> None:
        state = self.state
        try:
            ids = self._check(event)
        except ValueError as error:
            state.results.refuse(event.operation_id or event.app, str(error), event.operation_id)
            return
        if not state.results.open(event.operation_id, "replace", len(ids)):
            return
        state.replacements.under_way[event.operation_id] = Replacement(
            operation_id=event.operation_id,
            image=event.image,
            template=event.template,
            step=event.step,
            gate=event.gate,
            gate_timeout_ns=event.gate_timeout_ns,
            waiting=list(ids),
        )
        state.replacements.touched[event.operation_id] = None

    def _check(self, event: ReplaceRequested) -> tuple[str, ...]:
        """The workloads to replace; ValueError names field, value and remedy."""
        if not event.operation_id:
            raise ValueError("operation_id: it is empty; give every replacement a name")
        if not event.image:
            raise ValueError("image: it is empty; name the image to start")
        if event.step < 1:
            raise ValueError(f"step: {event.step} must be at least 1")
        if event.gate_timeout_ns < 1:
            raise ValueError(f"gate_timeout_ns: {event.gate_timeout_ns} must be above 0")
        ids = event.workload_ids
        if not ids:
            rows = sorted(
                {row for (app, entrypoint), rows in self.state.apps.items() for row in rows
                 if event.app and app == event.app and event.entrypoint in ("", entrypoint)}
            )  # fmt: skip
            ids = tuple(
                workload.workload_id
                for row in rows
                for workload in self.state.on_row[row].values()
                if workload.spec.app == event.app and event.entrypoint in ("", workload.spec.entrypoint)
            )
        if not ids or len(set(ids)) != len(ids):
            raise ValueError("workload_ids: name at least one workload, each once, or an app that has some")
        return ids

    def go_on(self) -> None:
        """Begin with whoever's turn has come, in every rollout in which something ended."""
        while self.state.replacements.touched:
            operation_id = next(iter(self.state.replacements.touched))
            del self.state.replacements.touched[operation_id]
            self._go_on(self.state.replacements.under_way[operation_id])

    def _go_on(self, rollout: Replacement) -> None:
        answer = self.state.results.answer
        if rollout.has_failed:
            for workload_id in rollout.waiting:
                answer(rollout.operation_id, workload_id, "refused", "left alone: another one failed")
            rollout.waiting.clear()
        while rollout.waiting and len(rollout.active) < rollout.step:
            workload_id = rollout.waiting.pop(0)
            workload = self.state.workloads.get(workload_id)
            if workload is None or workload.state is not State.RUNNING:
                state = "no such workload" if workload is None else f"it is {workload.state}, not running"
                answer(rollout.operation_id, workload_id, "refused", state)
            elif workload.rollout is not None:
                answer(rollout.operation_id, workload_id, "refused", "it is being replaced already")
            else:
                self._begin(rollout, workload)
        if not rollout.waiting and not rollout.active:
            del self.state.replacements.under_way[rollout.operation_id]

    def _begin(self, rollout: Replacement, workload: Workload) -> None:
        rollout.active[workload.workload_id] = None
        previous = program_of(workload.spec)
        workload.rollout = RolloutPart(operation_id=rollout.operation_id, previous=previous)
        self.state.replacements.restart_as(workload, Program(rollout.image, rollout.template or previous.template))

    def _on_health_changed(self, event: WorkloadHealthChanged) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None or workload.generation != event.generation or workload.state is not State.RUNNING:
            self.state.counters.stale += 1
        elif event.healthy and workload.rollout is not None:
            self.state.replacements.leave(workload, "replaced")

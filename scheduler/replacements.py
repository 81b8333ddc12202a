"""Replacements: running workloads are started again with another image, a few at a time.

Theory of operation. Every workload keeps its node and all that it holds, so nothing has to be scheduled and capacity
never has to be double: its generation is stopped, and the next one started from the new specification. When that has
started, and with a health gate when it has been reported healthy in time, its part is done and the next one's turn
comes. One that fails goes back to what it was; then nobody new is begun.
"""

from __future__ import annotations

from scheduler.events import ReplaceRequested, WorkloadHealthChanged
from scheduler.lifecycle import State
from scheduler.operations import Program, Replacement, program_of
from scheduler.state import CoreState, Handlers
from scheduler.workload import RolloutPart, Workload


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
        state.replacements[event.operation_id] = Replacement(
            operation_id=event.operation_id,
            image=event.image,
            template=event.template,
            step=event.step,
            gate=event.gate,
            gate_timeout_ns=event.gate_timeout_ns,
            waiting=list(ids),
        )
        state.touched_rollouts[event.operation_id] = None

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
        while self.state.touched_rollouts:
            operation_id = next(iter(self.state.touched_rollouts))
            del self.state.touched_rollouts[operation_id]
            self._go_on(self.state.replacements[operation_id])

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
            del self.state.replacements[rollout.operation_id]

    def _begin(self, rollout: Replacement, workload: Workload) -> None:
        rollout.active[workload.workload_id] = None
        previous = program_of(workload.spec)
        workload.rollout = RolloutPart(operation_id=rollout.operation_id, previous=previous)
        self.state.restart_as(workload, Program(rollout.image, rollout.template or previous.template))

    def _on_health_changed(self, event: WorkloadHealthChanged) -> None:
        workload = self.state.workloads.get(event.workload_id)
        if workload is None or workload.generation != event.generation or workload.state is not State.RUNNING:
            self.state.counters.stale += 1
        elif event.healthy and workload.rollout is not None:
            self.state.leave_rollout(workload, "replaced")

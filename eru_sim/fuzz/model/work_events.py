"""What users ask of work, and what engines report of it: what follows, and what is to be commanded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eru_sim.fuzz.model.fitting import shortage
from eru_sim.fuzz.model.holdings import changed, holding_of
from eru_sim.fuzz.model.records import PRESENT, Rollout, Update, Violation, Work, require
from eru_sim.fuzz.model.state import State
from scheduler.commands import PublishResult, UpdateWorkload
from scheduler.events import (
    DeploymentRequested,
    DisruptionBudgetSet,
    DissociateRequested,
    PolicyChanged,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadHealthChanged,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)


class WorkEvents:
    """One method for each type of event."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.handlers: Mapping[type[Any], Callable[[Any], None]] = {
            WorkloadsSubmitted: self._submitted,
            WorkloadAdopted: self._adopted,
            DeploymentRequested: self._deployment_requested,
            ReallocRequested: self._realloc_requested,
            ReplaceRequested: self._replace_requested,
            DisruptionBudgetSet: self._budget_set,
            DissociateRequested: self._dissociate_requested,
            RemovalRequested: self._removal_requested,
            StopRequested: self._stop_requested,
            StartRequested: self._start_requested,
            PolicyChanged: self._policy_changed,
            WorkloadStarted: self._started,
            WorkloadStartFailed: self._start_failed,
            WorkloadExited: self._exited,
            WorkloadStopped: self._stopped,
            WorkloadUpdated: self._updated,
            WorkloadUpdateFailed: self._update_failed,
            WorkloadHealthChanged: self._health_changed,
        }

    def _submitted(self, event: WorkloadsSubmitted) -> None:
        ids = [event.workload_id] if event.count == 1 else [f"{event.workload_id}/{n}" for n in range(event.count)]
        if event.count < 1 or any(self.state.is_taken(name) for name in ids):
            self.state.refuse(event, event.operation_id)
            return
        if not self.state.open(event, event.operation_id, event.count):
            return
        for name in ids:
            self.state.record(name, event)
            if event.on_unschedulable == "fail":
                self.state.impatient[name] = None

    def _adopted(self, event: WorkloadAdopted) -> None:
        spec = event.spec
        node = self.state.nodes.get(event.node_id)
        if not self.state.is_answered(spec.operation_id, "running"):
            self.state.refuse(event, spec.operation_id)
            return
        name = spec.workload_id
        require(not self.state.is_taken(name), f"{name} is adopted, but exists", name)
        if node is None or node.state not in PRESENT:
            raise Violation(f"{name} is adopted on {event.node_id}, which is not there", name)
        self.state.open(event, spec.operation_id)
        work = self.state.record(name, spec)
        told: dict[str, Any] = {}
        if name in self.state.left_running:
            told = self.state.left_running[name][0].args
        work.held = holding_of(spec, self.state.rules.dimensions, told)
        work.state, work.generation, work.node_id, work.args = "running", event.generation, event.node_id, dict(told)
        node.on[name] = None
        node.found = True
        self.state.found_licences |= bool(work.held.licences)
        if node.state == "draining":
            self.state.evict(work)

    def _is_refused(self, operation_id: str) -> bool:
        """Whether a request was refused at once: what has begun is also done."""
        return self.state.is_answered(operation_id, "refused") and not self.state.is_answered(operation_id, "done")

    def _deployment_requested(self, event: DeploymentRequested) -> None:
        spec = event.spec
        refused = any(
            isinstance(c, PublishResult) and c.subject == spec.workload_id and c.outcome == "refused"
            for c in self.state.commands
        )
        if refused or spec.count < 1:
            self.state.refuse(event, spec.operation_id)
        elif self.state.open(event, spec.operation_id, None):
            rejected = any(
                isinstance(c, PublishResult) and c.subject == spec.workload_id and c.outcome == "rejected"
                for c in self.state.commands
            )
            if rejected:
                self.state.rejected.add(spec.workload_id)
                if spec.operation_id:
                    self.state.operations[spec.operation_id].expected = 1
            else:
                self.state.deployments[spec.workload_id] = event

    def _current(self, event: Any) -> Work | None:
        work = self.state.work.get(event.workload_id)
        is_current = work is not None and work.generation == event.generation and bool(work.node_id)
        return work if is_current else None

    def _lifts_fence(self, event: Any) -> bool:
        return self.state.fences.pop((event.workload_id, event.generation), None) is not None

    def _started(self, event: WorkloadStarted) -> None:
        work = self._current(event)
        if work is not None and work.state == "starting":
            work.state, work.failures = "running", 0
            if work.rollout:
                self._note_started(work)

    def _note_started(self, work: Work) -> None:
        event = self.state.rollouts[work.rollout].event
        if event.gate == "started":
            work.rollout = ""
        else:
            work.gate_ns = self.state.at_ns + event.gate_timeout_ns

    def _start_failed(self, event: WorkloadStartFailed) -> None:
        if self._lifts_fence(event):
            return
        work = self._current(event)
        if work is None:
            return
        if work.state == "stopping":
            self._finish_stop(work)
        elif work.state == "starting":
            if work.rollout:
                self.state.run_as(work, work.previous)
                work.rollout = ""
                self.state.expect_start(work)
                return
            self._retry(work)

    def _retry(self, work: Work) -> None:
        spec, failed_on = work.spec, work.node_id
        work.failures += 1
        if spec.on_start_failure == "fail" or work.failures > spec.start_retries:
            self.state.end(work, "failed")
            return
        self.state.leave(work)
        if spec.on_start_failure == "elsewhere":
            work.avoided |= {failed_on}
        delay_ns = min(self.state.rules.backoff_base_ns << min(work.failures - 1, 32), self.state.rules.backoff_max_ns)
        work.state, work.due_ns = "backoff", self.state.at_ns + delay_ns
        if spec.gang:
            self.state.scatter(work)

    def _exited(self, event: WorkloadExited) -> None:
        if self._lifts_fence(event):
            return
        work = self._current(event)
        if work is None or work.state == "stopped":
            return
        if work.spec.on_exit != "hold":
            self.state.end(work, "failed" if event.exit_code else "completed")
        elif work.state != "stopping":
            work.state, work.reason, work.rollout = "stopped", "hold", ""

    def _stopped(self, event: WorkloadStopped) -> None:
        if self._lifts_fence(event):
            return
        work = self._current(event)
        if work is not None and work.state == "stopping":
            self._finish_stop(work)

    def _finish_stop(self, work: Work) -> None:
        if work.reason == "hold":
            work.state = "stopped"
        elif work.reason == "replace":
            self.state.run_as(work, work.successor)
            work.successor = ("", "")
            if self.state.nodes[work.node_id].state == "draining":
                self.state.leave(work)
                self.state.requeue(work)
            else:
                self.state.expect_start(work)
        elif work.reason in ("evict", "preempt"):
            self.state.leave(work)
            self.state.requeue(work)
        else:
            self.state.end(work, "killed")

    def _removal_requested(self, event: RemovalRequested) -> None:
        work = self.state.work.get(event.workload_id)
        if work is None:
            if event.operation_id:
                self.state.refuse(event, event.operation_id)
            return
        if not self.state.open(event, event.operation_id):
            return
        if work.state in ("queued", "backoff"):
            gang = work.spec.gang
            self.state.end(work, "killed")
            assert not gang or work.workload_id not in self.state.work
            return
        work.reason, work.state = "kill", "stopping"
        if self.state.nodes[work.node_id].state == "lost":
            self.state.leave(work, fence=True)
            self.state.end(work, "killed")
        else:
            self.state.expect_stop(work)

    def _stop_requested(self, event: StopRequested) -> None:
        work = self.state.work.get(event.workload_id)
        if work is None or work.state not in ("starting", "running"):
            self.state.refuse(event, event.operation_id)
        elif self.state.open(event, event.operation_id):
            work.state, work.reason, work.rollout = "stopping", "hold", ""
            self.state.expect_stop(work)

    def _start_requested(self, event: StartRequested) -> None:
        work = self.state.work.get(event.workload_id)
        if work is None or work.state != "stopped" or self.state.nodes[work.node_id].state in ("lost", "draining"):
            self.state.refuse(event, event.operation_id)
        elif self.state.open(event, event.operation_id):
            self.state.expect_start(work)

    def _dissociate_requested(self, event: DissociateRequested) -> None:
        work = self.state.work.get(event.workload_id)
        if work is None or work.state not in ("starting", "running", "stopped"):
            self.state.refuse(event, event.operation_id)
        elif self.state.open(event, event.operation_id):
            if work.state != "stopped":
                self.state.left_running[work.workload_id] = (work, work.node_id)
            self.state.end(work, "dissociated")

    def _realloc_requested(self, event: ReallocRequested) -> None:
        work = self.state.work.get(event.workload_id)
        revision = 0 if work is None else work.revision + 1
        told = next(
            (
                command
                for command in self.state.commands
                if isinstance(command, UpdateWorkload)
                and (command.workload_id, command.revision) == (event.workload_id, revision)
            ),
            None,
        )
        is_repeated = work is not None and work.update is not None
        if work is None or told is None or is_repeated or self._is_refused(event.operation_id):
            self.state.refuse(event, event.operation_id)
            return
        name, node = event.workload_id, self.state.nodes[work.node_id]
        may = work.state in ("running", "stopped") and work.update is None and node.state != "lost"
        require(may, f"{name} is changed while {work.state} on {node.state} {node.node_id}", name)
        require(self.state.open(event, event.operation_id), f"operation {event.operation_id} is taken", name)
        assert work.held is not None
        before = work.held
        work.update = Update(revision=revision, spec=work.spec, held=before, args=work.args, told_ns=self.state.at_ns)
        work.revision = revision
        work.spec = changed(work.spec, event.request, event.payloads or {})
        self.state.give(work, told, is_new=True)
        short = shortage(self.state, node, work.holding, work, before)
        require(not short, f"{name} is changed on {work.node_id}: {short}", name)
        self.state.expect("update", name, revision)

    def _under_way(self, event: WorkloadUpdated | WorkloadUpdateFailed) -> Work | None:
        work = self.state.work.get(event.workload_id)
        if work is None or work.update is None:
            return None
        is_it = (work.generation, work.update.revision) == (event.generation, event.revision)
        return work if is_it else None

    def _updated(self, event: WorkloadUpdated) -> None:
        work = self._under_way(event)
        if work is not None:
            work.update = None

    def _update_failed(self, event: WorkloadUpdateFailed) -> None:
        work = self._under_way(event)
        if work is not None:
            assert work.update is not None
            program = (work.spec.image, work.spec.template)
            work.spec, work.held, work.args = work.update.spec, work.update.held, work.update.args
            work.update = None
            self.state.run_as(work, program)

    def _replace_requested(self, event: ReplaceRequested) -> None:
        ids: Iterable[str] = event.workload_ids
        if not ids:
            ids = [
                name
                for node in self.state.nodes.values()
                for name in node.on
                if event.app and self.state.work[name].spec.app == event.app
                if event.entrypoint in ("", self.state.work[name].spec.entrypoint)
            ]
        doubt = frozenset[str]()
        if self.state.rules.pass_per_event and not event.workload_ids:  # who was placed before, and who after it?
            doubt = frozenset(work.workload_id for work in self.state.placed).intersection(ids)
        is_nobody = not ids or (doubt.issuperset(ids) and self.state.is_refused(event.operation_id))
        if is_nobody or not event.image or event.step < 1 or not event.operation_id:
            self.state.refuse(event, event.operation_id)
        elif self.state.open(event, event.operation_id, None if doubt else len(set(ids))):
            rollout = Rollout(event=event, asked=self.state.asked, left=dict.fromkeys(ids), doubt=doubt)
            self.state.asked += 1
            operation = self.state.operations[event.operation_id]
            if operation.then is not None:
                operation.then.rollout = rollout
            else:
                self.state.rollouts[event.operation_id] = rollout

    def _health_changed(self, event: WorkloadHealthChanged) -> None:
        work = self._current(event)
        if work is not None and work.state == "running" and event.healthy:
            work.rollout = ""

    def _budget_set(self, event: DisruptionBudgetSet) -> None:
        if bool(event.app) == bool(event.job_id):
            self.state.refuse(event, "")
        elif event.unavailable_max is None:
            self.state.budgets.pop((event.app, event.job_id), None)
        elif event.unavailable_max >= 0:
            self.state.budgets[event.app, event.job_id] = event.unavailable_max

    def _policy_changed(self, event: PolicyChanged) -> None:
        if event.queue is not None:
            self.state.queue, self.state.maximum = event.queue.name, event.queue.params.get("maximum", {})

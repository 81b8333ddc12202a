"""Reallocs: a workload gets more or less of what it has, in place.

Theory of operation. From the request until the engine's answer a workload holds the larger of what it had and what it
will have, of every amount and every slot; so neither answer can fail for want of resources. When the engine has applied
the update, what is not needed any more is given back; when it has not, what was taken in addition is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scheduler.cluster import GONE
from scheduler.commands import Outcome, UpdateWorkload
from scheduler.events import ReallocRequested, WorkloadsSubmitted, WorkloadUpdated, WorkloadUpdateFailed
from scheduler.ledger import Claim
from scheduler.lifecycle import State
from scheduler.operations import program_of
from scheduler.resources import Assignments
from scheduler.types import NodeIndex
from scheduler.workload import Update, Workload

if TYPE_CHECKING:
    from scheduler.state import CoreState, Handlers


class Updates:
    """The updates under way of one core: what a workload holds until the engine has answered."""

    def __init__(self, state: CoreState) -> None:
        self.state = state

    def begin(
        self, workload: Workload, spec: WorkloadsSubmitted, assignments: Assignments | None, operation_id: str
    ) -> None:
        """Have the workload hold what it will, and still what it does; ValueError where that does not fit."""
        row = workload.row
        before = self.state.claim_of(workload)
        request_class = self.state.admit(spec, workload.failed_rows)
        after = self.state.resources.claim(request_class, row, assignments)
        growth = after.surplus(before)
        short = self._shortage(row, growth)
        if short:
            raise ValueError(f"it does not fit on its node: {short}")
        self.state.ledger.hold(row, growth)
        workload.update = Update(
            spec=workload.spec,
            assignments=workload.assignments,
            surplus=before.surplus(after),
            operation_id=operation_id,
        )
        workload.assignments = assignments or None
        self.state.respecify(workload, spec)
        workload.revision += 1

    def command(self, workload: Workload) -> None:
        """Have the engine apply what the workload holds now."""
        request_class = self.state.planner.classes.by_id[workload.class_id]
        update = workload.update
        assert update is not None
        self.state.results.commands.append(
            UpdateWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.state.cluster.nodes[workload.row].node_id,
                revision=workload.revision,
                engine_args=self.state.engine_args.of(request_class, workload.row, workload.assignments),
            )
        )
        update.timer = self.state.timers.add_deadline(
            "update", self.state.at_ns + self.state.config.deadline_ns, workload.workload_id, workload.generation
        )

    def finish(self, workload: Workload, failure: str = "") -> None:
        """The engine has applied an update, or has not: give back what is not needed."""
        update = workload.update
        assert update is not None
        if not failure:
            self.state.ledger.drop(workload.row, update.surplus)
            self.answer(workload, "updated")
            return
        tried = self.state.resources.claim(
            self.state.planner.classes.by_id[workload.class_id], workload.row, workload.assignments
        ).plus(update.surplus)
        workload.assignments = update.assignments
        self.state.respecify(workload, program_of(workload.spec).of(update.spec))
        self.answer(workload, "update_failed", failure)
        self.state.engine_args.note_unsure(workload)
        self.state.ledger.drop(workload.row, tried.surplus(self.state.claim_of(workload)))

    def answer(self, workload: Workload, outcome: Outcome, detail: str = "") -> None:
        """The update under way is over: tell whoever asked for it."""
        update = workload.update
        assert update is not None
        workload.update = None
        if update.operation_id:
            self.state.results.answer(update.operation_id, workload.workload_id, outcome, detail)

    def _shortage(self, row: NodeIndex, claim: Claim) -> str:
        """The first thing of which there is less free on a row than claimed, with both figures; "" where all fits."""
        for name, free, amount in zip(
            self.state.dimension_names, self.state.ledger.free[:, row], claim.request, strict=True
        ):
            if 0 < amount > free:
                return f"{free} of {name} are free of which {amount} are asked"
        shortages = (self.state.ledger.slots[plugin].shortage(row, amounts) for plugin, amounts in claim.slots.items())
        return next(filter(None, shortages), "")


class ReallocEvents:
    """Handlers, one an event type: ``handlers`` maps the type to the method."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.handlers: Handlers = {
            ReallocRequested: self._on_realloc_requested,
            WorkloadUpdated: self._on_updated,
            WorkloadUpdateFailed: self._on_update_failed,
        }

    def _on_realloc_requested(self, event: ReallocRequested) -> None:
        state = self.state
        try:
            workload = self._changeable(event.workload_id)
            spec = self._changed(workload.spec, event)
            new = state.admit(spec, workload.failed_rows)
            old = state.planner.classes.by_id[workload.class_id]
            assignments = state.resources.reassign(workload.row, workload.assignments or {}, old.asked, new.asked)
            if assignments is None:
                raise ValueError("it does not fit on its node: what it asks for is not free there")
            if event.operation_id in state.results.operations:
                raise ValueError("an operation of this id is under way")
            state.updates.begin(workload, spec, assignments, event.operation_id)
        except ValueError as error:
            state.results.refuse(event.workload_id, str(error), event.operation_id)
            return
        state.results.open(event.operation_id, "realloc", 1)
        state.updates.command(workload)

    def _changeable(self, workload_id: str) -> Workload:
        workload = self.state.workloads.get(workload_id)
        if workload is None:
            raise ValueError("no such workload")
        if workload.state not in (State.RUNNING, State.STOPPED):
            raise ValueError(f"it is {workload.state}; only what is running or stopped can be changed in place")
        if workload.update is not None:
            raise ValueError("an update of it is under way; ask again when that is done")
        if self.state.cluster.nodes[workload.row].state in GONE:
            raise ValueError("its node cannot be reached")
        if workload.spec.gang:
            raise ValueError("it is one of a gang, whose copies are placed together and so ask for the same")
        return workload

    def _changed(self, spec: WorkloadsSubmitted, event: ReallocRequested) -> WorkloadsSubmitted:
        """What the workload asks for after the change; ValueError names field, value and remedy."""
        request = spec.request
        if event.request:
            if len(event.request) != len(request):
                raise ValueError(f"request: {len(event.request)} differences for {len(request)} dimensions")
            request = tuple(a + b for a, b in zip(request, event.request, strict=True))
        payloads = dict(spec.payloads or {})
        for name, change in (event.payloads or {}).items():
            plugin = self.state.resources.plugins.get(name)
            if plugin is None or name not in payloads:
                known = ", ".join(payloads) or "none"
                raise ValueError(f"payloads.{name}: the workload asks nothing of that plugin; it asks: {known}")
            payloads[name] = plugin.merge(plugin.parse(payloads[name]), change)
        return msgspec.structs.replace(spec, request=request, payloads=payloads or None)

    def _current(self, event: WorkloadUpdated | WorkloadUpdateFailed) -> Workload | None:
        """The workload whose update under way the completion is about; None, and counted, where it is stale."""
        workload = self.state.workloads.get(event.workload_id)
        if (
            workload is not None
            and workload.update is not None
            and (workload.generation, workload.revision) == (event.generation, event.revision)
        ):
            return workload
        self.state.counters.stale += 1
        return None

    def _on_updated(self, event: WorkloadUpdated) -> None:
        workload = self._current(event)
        if workload is not None:
            self.state.counters.updated += 1
            self.state.updates.finish(workload)

    def _on_update_failed(self, event: WorkloadUpdateFailed) -> None:
        workload = self._current(event)
        if workload is not None:
            self.state.updates.finish(workload, event.reason or "the engine gave no reason")

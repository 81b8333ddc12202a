"""Reallocs: a workload gets more or less of what it has, in place.

Theory of operation. From the request until the engine's answer a workload holds the larger of what it had and what it
will have, of every amount and every slot; so neither answer can fail for want of resources. When the engine has applied
the update, what is not needed any more is given back; when it has not, what was taken in addition is.
"""

from __future__ import annotations

import msgspec

from scheduler.cluster import GONE
from scheduler.events import ReallocRequested, WorkloadsSubmitted, WorkloadUpdated, WorkloadUpdateFailed
from scheduler.lifecycle import State
from scheduler.state import CoreState, Handlers
from scheduler.workload import Workload


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
            state.begin_update(workload, spec, assignments, event.operation_id)
        except ValueError as error:
            state.results.refuse(event.workload_id, str(error), event.operation_id)
            return
        state.results.open(event.operation_id, "realloc", 1)
        state.command_update(workload)

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
            self.state.finish_update(workload)

    def _on_update_failed(self, event: WorkloadUpdateFailed) -> None:
        workload = self._current(event)
        if workload is not None:
            self.state.finish_update(workload, event.reason or "the engine gave no reason")

"""Workloads: what there is, how it is, and every way to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from backends.real.engines.base import EngineError
from backends.real.errors import Conflict, Rejected
from backends.real.operations import OperationView
from backends.real.service.calls import Call
from backends.real.service.eru_v1 import reading, writing
from backends.real.service.eru_v1.context import Methods
from backends.real.service.eru_v1.errors import one_line
from backends.real.service.eru_v1.words import number, word
from backends.real.service.inheritance import inheriting
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.statuses import StatusChange, WorkloadStatus
from backends.real.stores.base import Record
from backends.real.template import Template
from scheduler.events import (
    AnyEvent,
    DissociateRequested,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
)
from scheduler.workload import Workload

_GATE_TIMEOUT_NS = 300 * 10**9
_EXTENSION_BYTES_MAX = 1 << 20
_Event = Callable[..., AnyEvent]


class WorkloadMethods(Methods):
    """Every public method is one of the wire's."""

    # -- what there is ------------------------------------------------------------------------------------------------

    async def GetWorkload(self, request: pb.GetWorkloadRequest, call: Call) -> pb.Workload:
        """One workload."""
        found = self.cluster.workloads.get(request.workload_id)
        message = await self._message(found, with_template=request.with_template)
        if request.with_instance and message.node_id:
            try:
                place = self.cluster.workloads.place(found.workload_id)
                instance = await place.engine.inspect(place.workload_id, place.generation)
                message.instance.CopyFrom(writing.instance(instance))
            except EngineError as error:
                message.instance.error = one_line(error)
        return message

    async def ListWorkloads(self, request: pb.ListWorkloadsRequest, call: Call) -> AsyncIterator[pb.Workload]:
        """Workloads, in order of submission."""
        limit = reading.whole("limit", request.limit)
        states = {word("states", pb.WorkloadState, state) for state in request.states}
        chosen = set(request.workload_ids)

        def is_asked(workload: Workload) -> bool:
            spec = workload.spec
            return (
                request.pool in ("", spec.pool)
                and request.tenant in ("", spec.tenant)
                and (not states or workload.state.value in states)
                and (not chosen or workload.workload_id in chosen)
            )

        found = self.cluster.workloads.list(
            app=request.app, entrypoint=request.entrypoint, node_id=request.node_id, where=is_asked
        )
        count = 0
        for workload in found:
            if self.cluster.core.workloads.get(workload.workload_id) is not workload:
                continue
            message = await self._message(workload, with_template=request.with_template)
            if all(message.labels.get(name) == value for name, value in request.labels.items()):
                yield message
                count += 1
                if count == limit:
                    return

    async def _message(self, workload: Workload, *, with_template: bool) -> pb.Workload:
        template = await self.cluster.template(workload.spec.template)
        message = writing.workload(self.cluster, workload, template)
        if with_template:
            message.template.CopyFrom(writing.template(template))
        return message

    # -- their life ---------------------------------------------------------------------------------------------------

    async def RemoveWorkloads(self, request: pb.RemoveWorkloadsRequest, call: Call) -> pb.Operations:
        """Whatever their state."""
        return await self._each(request, call, "remove", RemovalRequested, is_forced=request.force)

    async def StopWorkloads(self, request: pb.StopWorkloadsRequest, call: Call) -> pb.Operations:
        """They keep what they hold."""
        return await self._each(request, call, "stop", StopRequested, is_forced=request.force)

    async def StartWorkloads(self, request: pb.StartWorkloadsRequest, call: Call) -> pb.Operations:
        """What was stopped."""
        return await self._each(request, call, "start", StartRequested)

    async def DissociateWorkloads(self, request: pb.DissociateWorkloadsRequest, call: Call) -> pb.Operations:
        """They go on without us."""
        return await self._each(request, call, "dissociate", DissociateRequested)

    async def _each(
        self, request: Any, call: Call, kind: str, event: _Event, *, is_forced: bool = False
    ) -> pb.Operations:
        async def begin(pairs: Sequence[tuple[str, str]], records: Sequence[Record]) -> list[OperationView]:
            events = [event(workload_id=workload_id, operation_id=operation_id) for workload_id, operation_id in pairs]
            return await self.cluster.ask_each(events, kind=kind, records=records, is_forced=is_forced)

        return await self._operations(request, call, begin)

    async def RestartWorkloads(self, request: pb.RestartWorkloadsRequest, call: Call) -> pb.Operations:
        """Stop and start again, in place."""

        async def begin(pairs: Sequence[tuple[str, str]], records: Sequence[Record]) -> list[OperationView]:
            asked = {operation_id: workload_id for workload_id, operation_id in pairs}
            return await self.cluster.restart(asked, records=records, is_forced=request.force)

        return await self._operations(request, call, begin)

    async def _operations(self, request: Any, call: Call, begin: Callable[..., Any]) -> pb.Operations:
        """An operation for each workload, once for a key."""
        ids = reading.ids("workload_ids", request.workload_ids)
        pairs = [(workload_id, self.cluster.operations.new_id()) for workload_id in ids]

        async def carry_out(records: Sequence[Record]) -> pb.Operations:
            for workload_id in ids:
                self.cluster.workloads.get(workload_id)
            views = await begin(pairs, records)
            return pb.Operations(operations=[writing.operation(self.cluster, view) for view in views])

        return await self.once(
            call,
            request,
            carry_out,
            lambda asked: pb.Operations(operations=[self.known_operation(one) for one in asked.operations]),
            tuple(operation_id for _, operation_id in pairs),
        )

    async def PauseWorkload(self, request: pb.PauseWorkloadRequest, call: Call) -> pb.PauseWorkloadResponse:
        """Freeze its processes."""
        place = self.cluster.workloads.place(request.workload_id)
        await place.engine.pause(place.workload_id, place.generation)
        return pb.PauseWorkloadResponse()

    async def ResumeWorkload(self, request: pb.ResumeWorkloadRequest, call: Call) -> pb.ResumeWorkloadResponse:
        """Thaw them."""
        place = self.cluster.workloads.place(request.workload_id)
        await place.engine.resume(place.workload_id, place.generation)
        return pb.ResumeWorkloadResponse()

    async def ReallocWorkload(self, request: pb.ReallocWorkloadRequest, call: Call) -> pb.Operation:
        """Change what it holds."""
        cluster = self.cluster

        async def begin(operation_id: str, records: Sequence[Record]) -> OperationView:
            workload = cluster.workloads.get(request.workload_id)
            differences = reading.vector(cluster, "request", request.request, is_signed=True)
            changes = reading.plugin_payloads(cluster, "resources", request.resources)
            if not request.request and not changes:
                raise Rejected("request: there is no change in it")
            known, payloads = cluster.core.state.resources.plugins, workload.spec.payloads or {}
            for name, change in changes.items():
                if name not in payloads:
                    asked = ", ".join(payloads) or "none"
                    raise Rejected(f"resources.{name}: the workload asks nothing of that plugin; it asks: {asked}")
                plugin, payload = known[name], payloads[name]
                reading.checked(
                    f"resources.{name}",
                    lambda plugin=plugin, payload=payload, change=change: plugin.merge(  # type: ignore[misc] # bound
                        plugin.parse(payload), change
                    ),
                )
            event = ReallocRequested(
                workload_id=request.workload_id,
                request=differences if request.request else (),
                payloads=changes or None,
                operation_id=operation_id,
            )
            return await cluster.ask(
                operation_id, event, keep=True, records=records, kind="realloc", subjects=[request.workload_id]
            )

        return await self.operation(call, request, begin)

    async def ReplaceWorkloads(self, request: pb.ReplaceWorkloadsRequest, call: Call) -> pb.Operation:
        """Start them again with another image or template."""

        async def begin(operation_id: str, records: Sequence[Record]) -> OperationView:
            workloads = self._to_replace(request)
            template = reading.template(request.template) if request.HasField("template") else None
            if request.copy or request.inherit_networks:
                template = await self._inheriting(workloads, template, request)
            event = ReplaceRequested(
                operation_id=operation_id,
                image=reading.text("image", request.image, 1024) or self._one_image(workloads),
                template="" if template is None else self.cluster.digest_of(template),
                workload_ids=tuple(dict.fromkeys(request.workload_ids)),
                app=request.app,
                entrypoint=request.entrypoint,
                step=reading.whole("step", request.step, 0, 1 << 20) or 1,
                gate=word("gate", pb.Gate, request.gate, "started"),  # type: ignore[arg-type] # the enum has the same
                gate_timeout_ns=reading.whole("gate_timeout_ns", request.gate_timeout_ns) or _GATE_TIMEOUT_NS,
            )
            return await self.cluster.ask(
                operation_id,
                event,
                template=template,
                keep=True,
                records=records,
                kind="replace",
                subjects=[workload.workload_id for workload in workloads],
            )

        return await self.operation(call, request, begin)

    def _to_replace(self, request: pb.ReplaceWorkloadsRequest) -> Sequence[Workload]:
        if bool(request.workload_ids) == bool(request.app):
            raise Rejected("workload_ids, app: name either workloads or an app")
        if request.workload_ids:
            return [self.cluster.workloads.get(one) for one in reading.ids("workload_ids", request.workload_ids)]
        found = self.cluster.workloads.list(app=request.app, entrypoint=request.entrypoint)
        if not found:
            raise Conflict(f"app: {request.app[:100]!r} has no workloads")
        return found

    async def _inheriting(
        self, workloads: Sequence[Workload], template: Template | None, request: pb.ReplaceWorkloadsRequest
    ) -> Template:
        """The template of the one workload's successor, with what goes along; without ``template`` its own."""
        if len(workloads) != 1:
            raise Rejected(f"copy, inherit_networks: {len(workloads)} workloads are meant; replace one at a time")
        reading.few("copy", request.copy)
        (workload,) = workloads
        base = await self.cluster.template(workload.spec.template) if template is None else template
        return await inheriting(self.cluster, workload, base, dict(request.copy), networks=request.inherit_networks)

    def _one_image(self, workloads: Sequence[Workload]) -> str:
        images = {workload.spec.image for workload in workloads}
        if len(images) != 1:
            raise Rejected("image: it is empty, and the workloads have not all the same; name it")
        return images.pop()

    # -- statuses -----------------------------------------------------------------------------------------------------

    async def SetWorkloadStatuses(
        self, request: pb.SetWorkloadStatusesRequest, call: Call
    ) -> pb.SetWorkloadStatusesResponse:
        """An agent says how workloads are."""
        reading.few("statuses", request.statuses)
        said = []
        for given in request.statuses:
            workload = self.cluster.workloads.get(given.workload_id)
            if len(given.extension) > _EXTENSION_BYTES_MAX:
                raise Rejected(f"extension: {len(given.extension)} bytes are more than {_EXTENSION_BYTES_MAX}")
            status = WorkloadStatus(
                workload_id=given.workload_id,
                is_running=given.is_running,
                is_healthy=given.is_healthy,
                networks=reading.labels("networks", given.networks),
                extension=given.extension,
                app=given.app or workload.spec.app,
                entrypoint=given.entrypoint or workload.spec.entrypoint,
                node_id=given.node_id or self.cluster.workloads.node_of(workload),
            )
            said.append((status, reading.whole("ttl_ns", given.ttl_ns)))
        for status, ttl_ns in said:
            self.cluster.workloads.set_status(status, ttl_ns)
        return pb.SetWorkloadStatusesResponse()

    async def GetWorkloadStatuses(
        self, request: pb.GetWorkloadStatusesRequest, call: Call
    ) -> pb.GetWorkloadStatusesResponse:
        """What agents said."""
        reading.few("workload_ids", request.workload_ids)
        found = [self.cluster.statuses.get(workload_id) for workload_id in request.workload_ids]
        return pb.GetWorkloadStatusesResponse(statuses=[writing.status(one) for one in found if one is not None])

    async def WatchWorkloadStatuses(
        self, request: pb.WatchWorkloadStatusesRequest, call: Call
    ) -> AsyncIterator[pb.WorkloadStatusChange]:
        """Changes of that."""
        chosen = set(request.workload_ids)
        feed = call.watch(self.options.feed_items)

        def is_asked(status: WorkloadStatus) -> bool:
            return (
                request.app in ("", status.app)
                and request.entrypoint in ("", status.entrypoint)
                and request.node_id in ("", status.node_id)
                and (not chosen or status.workload_id in chosen)
            )

        def tell(change: StatusChange) -> None:
            if is_asked(change.status):
                feed.offer(change)

        stop = self.cluster.statuses.listen(tell)
        try:
            if request.with_current:
                for workload in list(self.cluster.core.workloads.values()):
                    said = self.cluster.statuses.get(workload.workload_id)
                    if said is not None and is_asked(said):
                        yield _change(StatusChange("set", said))
            async for change in feed:
                yield _change(change)
        finally:
            stop()


def _change(change: StatusChange) -> pb.WorkloadStatusChange:
    kind = number(pb.WorkloadStatusChange.Kind, change.kind)
    return pb.WorkloadStatusChange(kind=kind, status=writing.status(change.status))

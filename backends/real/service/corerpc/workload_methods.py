"""Workloads: what there is, how it is, and every way to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from backends.real.operations import OperationView, Result
from backends.real.service.calls import Call, Last, ends_with_last
from backends.real.service.corerpc.context import REFUSALS, Methods, new_ident
from backends.real.service.corerpc.deploy import Deployment, NodeChoice, read_deployment
from backends.real.service.corerpc.errors import NoIds, WireError
from backends.real.service.corerpc.messages import (
    has_labels,
    name_of,
    node_address,
    published,
    resources_of,
    status_message,
    status_of,
    workload_message,
)
from backends.real.service.inheritance import inheriting
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.statuses import StatusChange, WorkloadStatus
from backends.real.template import Template
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    DissociateRequested,
    OnExit,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    WorkloadsSubmitted,
)
from scheduler.lifecycle import State
from scheduler.ports import UNLIMITED
from scheduler.strategies import StrategyError
from scheduler.workload import Workload

SECOND_NS = 1_000_000_000
_TTL_SECONDS_MAX = 10**9
_EXTENSION_BYTES_MAX = 1 << 20


class _Answer(NamedTuple):
    """Why something did not come to what was wanted, "" where it did; and what hooks printed."""

    error: str = ""
    hook: bytes = b""


class WorkloadMethods(Methods):
    """See the module. Every public method is one of the wire's."""

    # -- what there is ------------------------------------------------------------------------------------------------

    async def GetWorkload(self, request: pb.WorkloadID, call: Call) -> pb.Workload:
        """One workload."""
        return await self._message(self.cluster.workloads.get(request.id))

    async def GetWorkloads(self, request: pb.WorkloadIDs, call: Call) -> pb.Workloads:
        """Several workloads; if one is missing, none."""
        found = [self.cluster.workloads.get(workload_id) for workload_id in request.IDs]
        return pb.Workloads(workloads=[await self._message(workload) for workload in found])

    async def ListWorkloads(self, request: pb.ListWorkloadsOptions, call: Call) -> AsyncIterator[pb.Workload]:
        """Workloads of an app, an entrypoint, a node, with labels; at most ``limit``, 0 for all."""
        if request.nodename:
            self.cluster.nodes.record(request.nodename)
        found = self.cluster.workloads.list(
            app=request.appname, entrypoint=request.entrypoint, node_id=request.nodename
        )
        left = request.limit if request.limit > 0 else len(found)
        for workload in found:
            template = await self.cluster.template(workload.spec.template)
            if left and self._is_live(workload) and has_labels(template.labels, request.labels):
                left -= 1
                yield workload_message(self.context, workload, template)

    async def ListNodeWorkloads(self, request: pb.GetNodeOptions, call: Call) -> pb.Workloads:
        """The workloads of a node, with labels."""
        messages = []
        for workload in self.cluster.workloads.list(node_id=request.nodename):
            template = await self.cluster.template(workload.spec.template)
            if self._is_live(workload) and has_labels(template.labels, request.labels):
                messages.append(workload_message(self.context, workload, template))
        return pb.Workloads(workloads=messages)

    # -- statuses -----------------------------------------------------------------------------------------------------

    async def GetWorkloadsStatus(self, request: pb.WorkloadIDs, call: Call) -> pb.WorkloadsStatus:
        """The statuses of workloads; if one is missing, none."""
        found = [self.cluster.workloads.get(workload_id) for workload_id in request.IDs]
        return pb.WorkloadsStatus(status=[status_of(self.cluster, workload) for workload in found])

    async def SetWorkloadsStatus(self, request: pb.SetWorkloadsStatusOptions, call: Call) -> pb.WorkloadsStatus:
        """An agent says how workloads are. Without a ttl, what is said of a workload that is gone is dropped."""
        statuses = [_read_status(status) for status in request.status]
        for given, status in zip(request.status, statuses, strict=True):
            if given.ttl > 0:
                self.cluster.workloads.get(status.workload_id)
        kept = []
        for given, status in zip(request.status, statuses, strict=True):
            if status.workload_id in self.cluster.core.workloads:
                self.cluster.workloads.set_status(status, given.ttl * SECOND_NS)
                kept.append(given)
        return pb.WorkloadsStatus(status=kept)

    async def WorkloadStatusStream(
        self, request: pb.WorkloadStatusStreamOptions, call: Call
    ) -> AsyncIterator[pb.WorkloadStatusStreamMessage]:
        """Every change of the statuses that are asked for, from now on."""

        def is_asked(change: StatusChange) -> bool:
            status = change.status
            return (
                request.appname in ("", status.app)
                and request.entrypoint in ("", status.entrypoint)
                and request.nodename in ("", status.node_id)
            )

        feed = call.watch(self.context.options.feed_items)
        stop = self.cluster.statuses.listen(lambda change: is_asked(change) and feed.offer(change))
        try:
            await call.begin()
            async for change in feed:
                message = await self._status_change(change, request.labels)
                if message is not None:
                    yield message
        finally:
            stop()

    async def _status_change(
        self, change: StatusChange, labels: Mapping[str, str]
    ) -> pb.WorkloadStatusStreamMessage | None:
        """The message of a change; None where the workload has not these labels, or cannot be asked any more."""
        status = change.status
        message = pb.WorkloadStatusStreamMessage(id=status.workload_id, status=status_message(status))
        message.delete = change.kind != "set"
        workload = self.cluster.core.workloads.get(status.workload_id)
        if workload is None:
            return None if labels else message
        template = await self.cluster.template(workload.spec.template)
        if not has_labels(template.labels, labels):
            return None
        if self._is_live(workload):
            message.workload.CopyFrom(workload_message(self.context, workload, template))
        return message

    # -- deployments --------------------------------------------------------------------------------------------------

    async def CalculateCapacity(self, request: pb.DeployOptions, call: Call) -> pb.CapacityMessage:
        """What a deployment would add, by node; with DUMMY how many copies fit, each node for itself."""
        asked = read_deployment(request, self.context.wire, is_capacity=True)
        event = self.deployment_event(asked, "")
        try:
            if asked.strategy is not None:
                nodes = self.cluster.core.plan_deployment(event)
            else:
                nodes = self._capacities(asked, event)
        except StrategyError as error:
            raise WireError(f"{error}; {self._why(event)}") from None
        except ValueError as error:
            raise WireError(str(error)) from None
        return pb.CapacityMessage(total=min(sum(nodes.values()), UNLIMITED), node_capacities=nodes)

    def _capacities(self, asked: Deployment, event: DeploymentRequested) -> dict[str, int]:
        capacity = self.cluster.core.capacity(event.spec)
        chosen = set(event.node_ids) if event.node_ids else None
        nodes = {
            node_id: count
            for node_id, count in capacity.nodes.items()
            if (chosen is None or node_id in chosen) and node_id not in event.excluded_node_ids
        }
        if not nodes:
            raise WireError(f"not enough resources; {self._why(event)}")
        return nodes

    def _why(self, event: DeploymentRequested) -> str:
        """Why not one copy fits, node by node."""
        plan = self.cluster.core.plan(msgspec.structs.replace(event.spec, count=1))
        return str(plan.diagnosis or "one copy fits, but not so many, or not on these nodes")

    @ends_with_last
    async def CreateWorkload(
        self, request: pb.DeployOptions, call: Call
    ) -> AsyncIterator[pb.CreateWorkloadMessage | Last]:
        """Deploy; one message for each instance, in the order in which they start or fail.

        It goes on where the caller goes away.
        """
        asked = read_deployment(request, self.context.wire)
        view = await self.deploy(asked, on_exit="hold")
        place = 0
        async for result in view:
            place += 1
            message = await self._created(result, asked.template)
            message.hook = self.cluster.operations.hook_output(view.operation_id, result.subject).whole
            yield Last(message) if view.is_done and place == len(view.results) else message

    async def deploy(self, asked: Deployment, on_exit: OnExit) -> OperationView:
        """Begin a deployment."""
        operation_id = self.cluster.operations.new_id()
        event = self.deployment_event(asked, operation_id, on_exit)
        return await self.cluster.ask(operation_id, event, template=asked.template)

    def deployment_event(self, asked: Deployment, operation_id: str, on_exit: OnExit = "hold") -> DeploymentRequested:
        """What the core is asked. `WireError` where no node is left to choose from."""
        node_ids, excluded = self._candidates(asked.pool, asked.nodes)
        spec = WorkloadsSubmitted(
            workload_id=f"{asked.app}_{asked.entrypoint}_{new_ident()}",
            request=asked.demand.request,
            count=asked.count,
            pool="" if asked.nodes.includes else asked.pool,
            image=asked.image,
            app=asked.app,
            entrypoint=asked.entrypoint,
            template=self.cluster.digest_of(asked.template),
            payloads=asked.demand.payloads or None,
            on_unschedulable="fail",
            on_start_failure="fail",
            on_exit=on_exit,
            operation_id=operation_id,
        )
        return DeploymentRequested(
            spec=spec,
            strategy=asked.strategy or "auto",
            nodes_limit=asked.nodes_limit,
            node_ids=node_ids,
            excluded_node_ids=excluded,
        )

    def _candidates(self, pool: str, choice: NodeChoice) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The nodes to choose from, () for those of the pool, and those to leave out.

        What is down takes no new work, so ``all`` adds nobody here.
        """
        if choice.includes:
            for node_id in choice.includes:
                self.cluster.nodes.record(node_id)
            return choice.includes, ()
        self.cluster.pools.check(pool)
        if not choice.labels:
            return (), choice.excludes
        views = self.cluster.nodes.list(pool, choice.labels, with_down=True)
        node_ids = tuple(view.node_id for view in views if view.node_id not in choice.excludes)
        if not node_ids:
            raise WireError(f"node_filter: no node of {pool} has these labels")
        return node_ids, ()

    async def _created(self, result: Result, template: Template) -> pb.CreateWorkloadMessage:
        if result.outcome in ("rejected", "refused"):
            return pb.CreateWorkloadMessage(error=result.detail)
        workload = self.cluster.core.workloads.get(result.subject)
        if result.outcome != "running" or workload is None:
            why = result.detail or f"it is {result.outcome}"
            return pb.CreateWorkloadMessage(id=result.subject, nodename=result.node_id, error=why)
        return await self.created_message(workload, template)

    async def created_message(self, workload: Workload, template: Template) -> pb.CreateWorkloadMessage:
        """What is told of a workload that has just started."""
        node_id = self.cluster.workloads.node_of(workload)
        node = self.cluster.core.cluster.by_id.get(node_id)
        return pb.CreateWorkloadMessage(
            podname=node.pool if node is not None else workload.spec.pool,
            nodename=node_id,
            id=workload.workload_id,
            name=name_of(workload),
            success=True,
            publish=await self._published(workload, template, node_id) if template.publish else None,
            resources=resources_of(self.context, workload),
        )

    async def _published(self, workload: Workload, template: Template, node_id: str) -> Mapping[str, str]:
        try:
            place = self.cluster.workloads.place(workload.workload_id)
            instance = await place.engine.inspect(place.workload_id, place.generation)
        except REFUSALS:
            return {}
        return published(template, instance.networks, node_address(self.cluster, node_id))

    # -- changes ------------------------------------------------------------------------------------------------------

    def ReplaceWorkload(self, request: pb.ReplaceOptions, call: Call) -> AsyncIterator[pb.ReplaceWorkloadMessage]:
        """Start another image in the place of workloads: all at once, each on its node with what it holds.

        A workload keeps its id. One of another pod, or without the labels, is left alone without a word.
        """
        if not request.HasField("deployOpt"):
            raise WireError("deployOpt: it is missing")
        options = pb.DeployOptions()
        options.CopyFrom(request.deployOpt)
        options.count = max(options.count, 1)
        asked = read_deployment(options, self.context.wire)
        chosen = self._to_replace(request, asked)

        async def one(workload_id: str) -> AsyncIterator[pb.ReplaceWorkloadMessage]:
            message = await self._replace(workload_id, request, asked)
            if message is not None:
                yield message

        return self.context.merged(one(workload_id) for workload_id in chosen)

    def _to_replace(self, request: pb.ReplaceOptions, asked: Deployment) -> list[str]:
        if request.IDs:
            return list(dict.fromkeys(request.IDs))
        includes = asked.nodes.includes
        found = self.cluster.workloads.list(app=asked.app, entrypoint=asked.entrypoint)
        return [one.workload_id for one in found if not includes or self.cluster.workloads.node_of(one) in includes]

    async def _replace(
        self, workload_id: str, request: pb.ReplaceOptions, asked: Deployment
    ) -> pb.ReplaceWorkloadMessage | None:
        """Replace one workload; None where it is not meant."""
        try:
            workload = self.cluster.workloads.get(workload_id)
            old = await self.cluster.template(workload.spec.template)
            node = self.cluster.core.cluster.by_id.get(self.cluster.workloads.node_of(workload))
            is_meant = node is not None and asked.pool in ("", node.pool)
            if not is_meant or not has_labels(old.labels, request.filter_labels):
                return None
            template = await inheriting(
                self.cluster, workload, asked.template, request.copy, networks=request.networkinherit
            )
            operation_id = self.cluster.operations.new_id()
            event = ReplaceRequested(
                operation_id=operation_id,
                image=asked.image,
                template=self.cluster.digest_of(template),
                workload_ids=(workload_id,),
            )
            view = await self.cluster.ask(operation_id, event, template=template)
            result = (await view.done())[-1]
        except REFUSALS as error:
            return pb.ReplaceWorkloadMessage(error=str(error), remove=pb.RemoveWorkloadMessage(id=workload_id))
        printed = self.cluster.operations.hook_output(operation_id, workload_id)
        removed = pb.RemoveWorkloadMessage(id=workload_id, hook=printed.stop.decode(errors="replace"))
        if result.outcome != "replaced":
            return pb.ReplaceWorkloadMessage(error=result.detail or f"it is {result.outcome}", remove=removed)
        removed.success = True
        created = await self.created_message(workload, template)
        created.hook = printed.start
        return pb.ReplaceWorkloadMessage(create=created, remove=removed)

    def RemoveWorkload(self, request: pb.RemoveWorkloadOptions, call: Call) -> AsyncIterator[pb.RemoveWorkloadMessage]:
        """Remove workloads; what runs only with ``force``: it is killed at once, and no hook runs."""

        async def one(workload_id: str) -> AsyncIterator[pb.RemoveWorkloadMessage]:
            yield await self._remove(workload_id, force=request.force)

        return self.context.merged(one(workload_id) for workload_id in _ids(request.IDs))

    async def _remove(self, workload_id: str, *, force: bool) -> pb.RemoveWorkloadMessage:
        try:
            workload = self.cluster.workloads.get(workload_id)
            if workload.state is State.RUNNING and not force:
                return pb.RemoveWorkloadMessage(id=workload_id, hook="it is running: stop it first, or use force")
            operation_id = self.cluster.operations.new_id()
            event = RemovalRequested(workload_id=workload_id, operation_id=operation_id)
            result = await self.context.ask_one(event, is_forced=force)
        except REFUSALS as error:
            return pb.RemoveWorkloadMessage(id=workload_id, hook=str(error))
        is_gone = workload_id not in self.cluster.core.workloads
        printed = self.cluster.operations.hook_output(operation_id, workload_id).whole.decode(errors="replace")
        return pb.RemoveWorkloadMessage(id=workload_id, success=is_gone, hook=printed if is_gone else result.detail)

    def DissociateWorkload(
        self, request: pb.DissociateWorkloadOptions, call: Call
    ) -> AsyncIterator[pb.DissociateWorkloadMessage]:
        """Forget workloads and give back what they hold, but leave them running."""

        def event(workload_id: str, operation_id: str) -> AnyEvent:
            return DissociateRequested(workload_id=workload_id, operation_id=operation_id)

        async def one(workload_id: str) -> AsyncIterator[pb.DissociateWorkloadMessage]:
            answer = await self._ask(workload_id, event, "dissociated")
            yield pb.DissociateWorkloadMessage(id=workload_id, error=answer.error)

        return self.context.merged(one(workload_id) for workload_id in _ids(request.IDs))

    def ControlWorkload(
        self, request: pb.ControlWorkloadOptions, call: Call
    ) -> AsyncIterator[pb.ControlWorkloadMessage]:
        """Start, stop, restart, suspend or resume workloads. With ``force`` what is stopped is killed at once, without
        its hooks.
        """
        control = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "suspend": self._suspend,
            "resume": self._resume,
        }.get(request.type)
        if control is None:
            raise WireError(f"type: {request.type[:60]!r} must be start, stop, restart, suspend or resume")

        async def one(workload_id: str) -> AsyncIterator[pb.ControlWorkloadMessage]:
            try:
                answer = await control(workload_id, request.force)
            except REFUSALS as refusal:
                answer = _Answer(str(refusal))
            yield pb.ControlWorkloadMessage(id=workload_id, error=answer.error, hook=answer.hook)

        return self.context.merged(one(workload_id) for workload_id in _ids(request.IDs))

    async def _start(self, workload_id: str, force: bool) -> _Answer:
        return await self._ask(
            workload_id, lambda one, operation: StartRequested(workload_id=one, operation_id=operation), "running"
        )

    async def _stop(self, workload_id: str, force: bool) -> _Answer:
        return await self._ask(
            workload_id,
            lambda one, operation: StopRequested(workload_id=one, operation_id=operation),
            "stopped",
            is_forced=force,
        )

    async def _restart(self, workload_id: str, force: bool) -> _Answer:
        operation_id = self.cluster.operations.new_id()
        (view,) = await self.cluster.restart({operation_id: workload_id}, is_forced=force)
        return self._answer(operation_id, workload_id, (await view.done())[-1], "running")

    async def _suspend(self, workload_id: str, force: bool) -> _Answer:
        place = self.cluster.workloads.place(workload_id)
        await place.engine.pause(place.workload_id, place.generation)
        return _Answer()

    async def _resume(self, workload_id: str, force: bool) -> _Answer:
        place = self.cluster.workloads.place(workload_id)
        await place.engine.resume(place.workload_id, place.generation)
        return _Answer()

    async def ReallocResource(self, request: pb.ReallocOptions, call: Call) -> pb.ReallocResourceMessage:
        """Give a workload more or less, in place."""
        self.cluster.workloads.get(request.id)
        change = self.context.wire.change(request.resources)
        operation_id = self.cluster.operations.new_id()
        result = await self.context.ask_one(
            ReallocRequested(
                workload_id=request.id,
                request=change.request if any(change.request) else (),
                payloads=change.payloads or None,
                operation_id=operation_id,
            )
        )
        if result.outcome != "updated":
            raise WireError(result.detail or f"it is {result.outcome}")
        return pb.ReallocResourceMessage()

    async def RawEngine(self, request: pb.RawEngineOptions, call: Call) -> pb.RawEngineMessage:
        """An operation that only one kind of engine has."""
        place = self.cluster.workloads.place(request.id)
        data = await place.engine.raw(place.workload_id, place.generation, request.op, request.params)
        return pb.RawEngineMessage(id=request.id, data=data)

    # -- how ----------------------------------------------------------------------------------------------------------

    async def _message(self, workload: Workload) -> pb.Workload:
        return workload_message(self.context, workload, await self.cluster.template(workload.spec.template))

    def _is_live(self, workload: Workload) -> bool:
        """Whether it is still there after a wait."""
        return workload.workload_id in self.cluster.core.workloads

    async def _ask(
        self, workload_id: str, event: Callable[[str, str], AnyEvent], wanted: str, *, is_forced: bool = False
    ) -> _Answer:
        """Ask something about one workload."""
        operation_id = self.cluster.operations.new_id()
        try:
            self.cluster.workloads.get(workload_id)
            result = await self.context.ask_one(event(workload_id, operation_id), is_forced=is_forced)
        except REFUSALS as error:
            return _Answer(str(error))
        return self._answer(operation_id, workload_id, result, wanted)

    def _answer(self, operation_id: str, workload_id: str, result: Result, wanted: str) -> _Answer:
        error = "" if result.outcome == wanted else result.detail or f"it is {result.outcome}"
        return _Answer(error, self.cluster.operations.hook_output(operation_id, workload_id).whole)


def _ids(given: Sequence[str]) -> list[str]:
    """Each once, in order."""
    if not given:
        raise NoIds
    return list(dict.fromkeys(given))


def _read_status(status: pb.WorkloadStatus) -> WorkloadStatus:
    if not (status.appname and status.entrypoint and status.nodename):
        raise WireError(f"status of {status.id[:100]!r}: appname, entrypoint and nodename must be given")
    if not 0 <= status.ttl <= _TTL_SECONDS_MAX:
        raise WireError(f"status of {status.id[:100]!r}: ttl {status.ttl} must be from 0 to {_TTL_SECONDS_MAX}")
    if len(status.extension) > _EXTENSION_BYTES_MAX:
        raise WireError(f"status of {status.id[:100]!r}: more than {_EXTENSION_BYTES_MAX} bytes of extension")
    return WorkloadStatus(
        workload_id=status.id,
        is_running=status.running,
        is_healthy=status.healthy,
        networks=dict(status.networks),
        extension=status.extension,
        app=status.appname,
        entrypoint=status.entrypoint,
        node_id=status.nodename,
    )

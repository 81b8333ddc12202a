"""Info, pods, nodes and networks."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import AsyncIterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import msgspec

from backends.real.endpoints import Endpoint
from backends.real.engines.base import EngineError, NotFound, Unsupported
from backends.real.liveness import NodeStatus
from backends.real.nodes import NodeView
from backends.real.service.calls import Call
from backends.real.service.corerpc.books import node_capacity, node_usage
from backends.real.service.corerpc.context import Methods
from backends.real.service.corerpc.errors import WireError
from backends.real.service.corerpc.messages import books_of, info_text, node_message
from backends.real.service.pb import corerpc_pb2 as pb
from scheduler.events import NodeFixRequested
from scheduler.lifecycle import State
from scheduler.workload import Workload

SECOND_NS = 1_000_000_000
_TTL_SECONDS_MAX = 10**9
_SILENCE = 2
"""How many intervals without a word clients take for death."""


@cache
def _release() -> str:
    try:
        return version("eru-sim")
    except PackageNotFoundError:
        return "unknown"


class NodeMethods(Methods):
    """See the module. Every public method is one of the wire's."""

    async def Info(self, request: pb.Empty, call: Call) -> pb.CoreInfo:
        """What this service is."""
        return pb.CoreInfo(
            version=_release(),
            golang_version=f"python {platform.python_version()}",
            os_arch=f"{sys.platform}/{platform.machine()}",
            identifier=self.cluster.core_id,
        )

    async def WatchServiceStatus(self, request: pb.Empty, call: Call) -> AsyncIterator[pb.ServiceStatus]:
        """Where the service is, now and every so often; silence for the interval that is told means death."""
        call.is_watch = True
        seconds = max(self.context.options.push_seconds, 0.05)
        while True:
            yield pb.ServiceStatus(
                addresses=[self.context.options.address], interval_in_second=max(round(_SILENCE * seconds), 1)
            )
            await asyncio.sleep(seconds)

    # -- networks -----------------------------------------------------------------------------------------------------

    async def ListNetworks(self, request: pb.ListNetworkOptions, call: Call) -> pb.Networks:
        """The networks of the first node of a pod that can be used."""
        self.cluster.pools.check(request.podname)
        nodes = self.cluster.nodes.list(request.podname)
        if not nodes:
            raise WireError(f"podname: no node of {request.podname} can be used")
        networks = await self.cluster.nodes.engine(nodes[0].node_id).networks(request.driver)
        return pb.Networks(networks=[pb.Network(name=one.name, subnets=one.subnets) for one in networks])

    async def ConnectNetwork(self, request: pb.ConnectNetworkOptions, call: Call) -> pb.Network:
        """Join a workload to a network; what is told is its address there."""
        place = self.cluster.workloads.place(_target(request.target))
        if not request.network:
            raise WireError("network: it is missing")
        given = request.ipv4 or request.ipv6
        address = await place.engine.connect(request.network, place.workload_id, place.generation, given)
        return pb.Network(name=request.network, subnets=[address] if address else [])

    async def DisconnectNetwork(self, request: pb.DisconnectNetworkOptions, call: Call) -> pb.Empty:
        """Take a workload out of a network."""
        place = self.cluster.workloads.place(_target(request.target))
        if not request.network:
            raise WireError("network: it is missing")
        await place.engine.disconnect(request.network, place.workload_id, place.generation, force=request.force)
        return pb.Empty()

    # -- pods ---------------------------------------------------------------------------------------------------------

    async def AddPod(self, request: pb.AddPodOptions, call: Call) -> pb.Pod:
        """Add a pod."""
        await self.cluster.pools.add(request.name, request.desc)
        return pb.Pod(name=request.name, desc=request.desc)

    async def RemovePod(self, request: pb.RemovePodOptions, call: Call) -> pb.Empty:
        """Remove a pod that has no nodes."""
        await self.cluster.pools.remove(request.name)
        return pb.Empty()

    async def GetPod(self, request: pb.GetPodOptions, call: Call) -> pb.Pod:
        """One pod."""
        self.cluster.pools.check(request.name)
        return pb.Pod(name=request.name, desc=self.cluster.pools[request.name])

    async def ListPods(self, request: pb.Empty, call: Call) -> pb.Pods:
        """All pods."""
        return pb.Pods(pods=[pb.Pod(name=name, desc=text) for name, text in self.cluster.pools.items()])

    async def GetPodResource(self, request: pb.GetPodOptions, call: Call) -> AsyncIterator[pb.NodeResource]:
        """What every node of a pod has and uses, and what is wrong with its books."""
        self.cluster.pools.check(request.name)
        for view in self.cluster.nodes.list(request.name, with_down=True):
            if view.node_id in self.cluster.core.cluster.by_id:
                yield self._resource(view.node_id)

    # -- nodes --------------------------------------------------------------------------------------------------------

    async def AddNode(self, request: pb.AddNodeOptions, call: Call) -> pb.Node:
        """Take a node in, whose engine must answer; what is not said of it the engine says."""
        wire = self.context.wire
        wire.node(request.resources, None)  # what makes no sense is told before anything is dialled
        endpoint = Endpoint(url=request.endpoint, ca=request.ca, cert=request.cert, key=request.key, test=request.test)
        view = await self.cluster.nodes.add(
            request.nodename,
            request.podname,
            endpoint,
            labels=dict(request.labels),
            supply=lambda info: wire.node(request.resources, info),
        )
        return await self._node(view)

    async def RemoveNode(self, request: pb.RemoveNodeOptions, call: Call) -> pb.Empty:
        """Forget a node that has no workloads."""
        await self.cluster.nodes.remove(request.nodename)
        return pb.Empty()

    def ListPodNodes(self, request: pb.ListNodesOptions, call: Call) -> AsyncIterator[pb.Node]:
        """The nodes of a pod, or of all; ``all`` includes those that are down."""
        if request.podname:
            self.cluster.pools.check(request.podname)
        views = self.cluster.nodes.list(request.podname, dict(request.labels), with_down=request.all)
        seconds = request.timeout_in_second if request.timeout_in_second > 0 else None

        async def one(view: NodeView) -> AsyncIterator[pb.Node]:
            info = "" if request.skip_info else await self._info(view.node_id, seconds)
            if view.node_id in self.cluster.core.cluster.by_id:
                yield node_message(self.cluster, view, info)

        return self.context.merged(one(view) for view in views)

    async def GetNode(self, request: pb.GetNodeOptions, call: Call) -> pb.Node:
        """One node, with what its engine says of it."""
        return await self._node(self.cluster.nodes.get(request.nodename))

    async def GetNodeEngineInfo(self, request: pb.GetNodeOptions, call: Call) -> pb.Engine:
        """What kind of engine a node has."""
        info = await self.cluster.nodes.engine(request.nodename).info()
        return pb.Engine(type=info.kind)

    async def SetNode(self, request: pb.SetNodeOptions, call: Call) -> pb.Node:
        """Change a node: what is not given stays. Labels are replaced, capacities set, or with ``delta`` added."""
        node_id = request.nodename
        record = self.cluster.nodes.record(node_id)
        change = self.context.wire.node_change(request.resources)
        capacity = change.capacity or None
        if capacity is not None and not request.delta:
            capacity = {**dict(zip(self.context.dimensions, record.stated, strict=True)), **capacity}
        view = await self.cluster.nodes.change(
            node_id,
            endpoint=self._endpoint(request),
            bypass={pb.TRUE: True, pb.FALSE: False}.get(request.bypass),
            labels=dict(request.labels) or None,
            capacity=capacity,
            resources=change.resources,
            is_delta=request.delta,
        )
        if request.workloads_down:
            self.cluster.workloads.mark_down(node_id)
        return await self._node(view)

    async def GetNodeResource(self, request: pb.GetNodeResourceOptions, call: Call) -> pb.NodeResource:
        """What a node has and uses; what is wrong, in the books or because the engine does not know a workload."""
        node_id = request.opts.nodename
        message = self._resource(node_id)
        if request.fix:
            operation_id = self.cluster.operations.new_id()
            result = await self.context.ask_one(NodeFixRequested(node_id=node_id, operation_id=operation_id))
            message = self._resource(node_id)
            message.diffs.extend(line for line in result.detail.split("; ") if line)
        message.diffs.extend(await self._unknown_to_engine(node_id))
        return message

    async def GetNodeStatus(self, request: pb.GetNodeStatusOptions, call: Call) -> pb.NodeStatusStreamMessage:
        """Whether a node's agent vouches for it."""
        view = self.cluster.nodes.get(request.nodename)
        alive = self.cluster.liveness.is_alive(view.node_id)
        return pb.NodeStatusStreamMessage(nodename=view.node_id, podname=view.pool, alive=alive)

    async def SetNodeStatus(self, request: pb.SetNodeStatusOptions, call: Call) -> pb.Empty:
        """A node's agent is there for ``ttl`` seconds more, or with a negative one goes away."""
        self.cluster.nodes.record(request.nodename)
        if request.ttl == 0 or request.ttl > _TTL_SECONDS_MAX:
            raise WireError(f"ttl: {request.ttl} must not be 0, and at most {_TTL_SECONDS_MAX}")
        if request.ttl > 0:
            self.cluster.liveness.renew(request.nodename, request.ttl * SECOND_NS)
        else:
            self.cluster.liveness.end_lease(request.nodename)
        return pb.Empty()

    async def NodeStatusStream(self, request: pb.Empty, call: Call) -> AsyncIterator[pb.NodeStatusStreamMessage]:
        """Every change of a node's status, from now on."""
        feed = call.watch(self.context.options.feed_items)
        stop = self.cluster.liveness.listen(feed.offer)
        try:
            await call.begin()
            async for status in feed:
                yield _status_message(status)
        finally:
            stop()

    # -- how ----------------------------------------------------------------------------------------------------------

    def _endpoint(self, request: pb.SetNodeOptions) -> Endpoint | None:
        given = {"url": request.endpoint, "ca": request.ca, "cert": request.cert, "key": request.key}
        given = {name: text for name, text in given.items() if text}
        old = self.cluster.liveness.endpoints.get(request.nodename)
        return msgspec.structs.replace(old, **given) if given and old is not None else None

    def _resource(self, node_id: str) -> pb.NodeResource:
        books = books_of(self.cluster, node_id)
        return pb.NodeResource(
            name=node_id,
            diffs=self.cluster.core.inspect(node_id),
            resource_capacity=node_capacity(books),
            resource_usage=node_usage(books),
        )

    async def _unknown_to_engine(self, node_id: str) -> list[str]:
        """One line for each workload that the engine does not know, or cannot be asked for."""
        engine = self.cluster.nodes.engine(node_id)

        async def look(workload: Workload) -> AsyncIterator[str]:
            try:
                async with asyncio.timeout(self.context.options.engine_seconds):
                    await engine.inspect(workload.workload_id, workload.generation)
            except Unsupported:
                return
            except NotFound:
                yield f"workload {workload.workload_id}: its engine does not have it"
            except (EngineError, TimeoutError) as error:
                yield f"workload {workload.workload_id}: {error or 'its engine does not answer'}"

        held = [w for w in self.cluster.workloads.list(node_id=node_id) if w.state in (State.RUNNING, State.STOPPED)]
        return sorted([line async for line in self.context.merged(look(workload) for workload in held)])

    async def _node(self, view: NodeView) -> pb.Node:
        return node_message(self.cluster, view, await self._info(view.node_id))

    async def _info(self, node_id: str, seconds: float | None = None) -> str:
        """What the engine says, or why it does not."""
        try:
            async with asyncio.timeout(seconds or self.context.options.engine_seconds):
                return info_text(await self.cluster.nodes.engine(node_id).info())
        except TimeoutError:
            return f"node {node_id}: its engine does not answer"
        except EngineError as error:
            return str(error)


def _status_message(status: NodeStatus) -> pb.NodeStatusStreamMessage:
    return pb.NodeStatusStreamMessage(nodename=status.node_id, podname=status.pool, alive=status.is_alive)


def _target(workload_id: str) -> str:
    if not workload_id:
        raise WireError("target: it is missing")
    return workload_id

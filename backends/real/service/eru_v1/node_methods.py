"""Pools and nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from backends.real.engines.base import Unreachable
from backends.real.errors import Rejected
from backends.real.liveness import NodeStatus
from backends.real.service.calls import Call
from backends.real.service.eru_v1 import reading, writing
from backends.real.service.eru_v1.context import Methods
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.stores.base import Record
from scheduler.events import NodeFixRequested

_TTL_NS_MAX = 86_400 * 10**9


class NodeMethods(Methods):
    """Every public method is one of the wire's."""

    # -- pools --------------------------------------------------------------------------------------------------------

    async def AddPool(self, request: pb.AddPoolRequest, call: Call) -> pb.Pool:
        """Add a pool."""
        reading.text("description", request.description, 4096)

        async def carry_out(records: Sequence[Record]) -> pb.Pool:
            await self.cluster.pools.add(request.name, request.description, records=records)
            return self._pool(request.name)

        return await self.once(call, request, carry_out, lambda asked: self._pool(request.name))

    async def GetPool(self, request: pb.GetPoolRequest, call: Call) -> pb.Pool:
        """One pool."""
        return self._pool(request.name)

    async def ListPools(self, request: pb.ListPoolsRequest, call: Call) -> pb.ListPoolsResponse:
        """All pools, by name."""
        return pb.ListPoolsResponse(pools=[self._pool(name) for name in sorted(self.cluster.pools)])

    async def RemovePool(self, request: pb.RemovePoolRequest, call: Call) -> pb.RemovePoolResponse:
        """Remove a pool without nodes."""

        async def carry_out(records: Sequence[Record]) -> pb.RemovePoolResponse:
            await self.cluster.pools.remove(request.name, records=records)
            return pb.RemovePoolResponse()

        return await self.once(call, request, carry_out, lambda asked: pb.RemovePoolResponse())

    def _pool(self, name: str) -> pb.Pool:
        self.cluster.pools.check(name)
        count = sum(node.pool == name for node in self.cluster.core.cluster.by_id.values())
        return pb.Pool(name=name, description=self.cluster.pools[name], nodes=count)

    # -- nodes --------------------------------------------------------------------------------------------------------

    async def AddNode(self, request: pb.AddNodeRequest, call: Call) -> pb.Node:
        """Take a node in."""
        cluster = self.cluster
        endpoint = reading.endpoint(request.endpoint, is_test=request.is_test)
        labels = reading.labels("labels", request.labels)
        resources = reading.plugin_payloads(cluster, "resources", request.resources)
        capacity = reading.amounts(cluster, "capacity", request.capacity)
        reading.few("taints", request.taints)
        stated = reading.vector(cluster, "capacity", request.capacity)
        core_resources = cluster.core.state.resources
        reading.checked("resources", lambda: core_resources.inventories(stated, resources, labels))

        async def carry_out(records: Sequence[Record]) -> pb.Node:
            await cluster.nodes.add(
                request.node_id,
                request.pool,
                endpoint,
                labels=labels,
                resources=resources,
                capacity=capacity,
                topology=reading.labels("topology", request.topology),
                taints=[reading.text("taints", taint, 1024) for taint in request.taints],
                records=records,
            )
            return writing.node(cluster, request.node_id)

        return await self.once(call, request, carry_out, lambda asked: writing.node(cluster, request.node_id))

    async def GetNode(self, request: pb.GetNodeRequest, call: Call) -> pb.Node:
        """One node."""
        return writing.node(self.cluster, request.node_id, with_resources=request.with_resources)

    async def ListNodes(self, request: pb.ListNodesRequest, call: Call) -> AsyncIterator[pb.Node]:
        """Nodes in order of joining."""
        limit = reading.whole("limit", request.limit)
        if request.pool:
            self.cluster.pools.check(request.pool)
        found = self.cluster.nodes.list(request.pool, dict(request.labels), with_down=request.with_down)
        for view in found[: limit or None]:
            if view.node_id in self.cluster.core.cluster.by_id:
                yield writing.node(self.cluster, view.node_id, with_resources=request.with_resources)

    async def SetNode(self, request: pb.SetNodeRequest, call: Call) -> pb.Node:
        """Change a node, all or nothing."""
        cluster, node_id = self.cluster, request.node_id
        node = cluster.nodes.record(node_id)
        old = cluster.liveness.endpoints[node_id]
        endpoint = None
        if request.HasField("endpoint"):
            endpoint = reading.endpoint(request.endpoint, is_test=old.test, bypass=old.bypass)
        changes = reading.plugin_payloads(cluster, "resources", request.resources)
        capacity = reading.amounts(cluster, "capacity", request.capacity, is_signed=request.is_delta) or None
        labels = reading.labels("labels", request.labels.labels) if request.HasField("labels") else None
        exact = cluster.core.state.resources.exact
        for name, change in changes.items():
            if name not in exact:
                raise Rejected(f"resources.{name}: it has nothing of a node; there are: {', '.join(exact)}")
            reading.checked(
                f"resources.{name}",
                lambda name=name, change=change: exact[name].change_node(  # type: ignore[misc] # bound early
                    node.resources.get(name), change, is_delta=request.is_delta
                ),
            )

        async def carry_out(records: Sequence[Record]) -> pb.Node:
            await cluster.nodes.change(
                node_id,
                endpoint=endpoint,
                bypass=request.is_bypassed if request.HasField("is_bypassed") else None,
                labels=labels,
                capacity=capacity,
                resources=changes,
                is_delta=request.is_delta,
                taints=list(request.taints.taints) if request.HasField("taints") else None,
                records=records,
            )
            return writing.node(cluster, node_id)

        return await self.once(call, request, carry_out, lambda asked: writing.node(cluster, node_id))

    async def RemoveNode(self, request: pb.RemoveNodeRequest, call: Call) -> pb.RemoveNodeResponse:
        """Forget a node on which nothing is."""

        async def carry_out(records: Sequence[Record]) -> pb.RemoveNodeResponse:
            await self.cluster.nodes.remove(request.node_id, records=records)
            return pb.RemoveNodeResponse()

        return await self.once(call, request, carry_out, lambda asked: pb.RemoveNodeResponse())

    async def CordonNode(self, request: pb.CordonNodeRequest, call: Call) -> pb.Node:
        """Nothing new is placed there."""

        async def carry_out(records: Sequence[Record]) -> pb.Node:
            await self.cluster.nodes.change(request.node_id, bypass=True, records=records)
            return writing.node(self.cluster, request.node_id)

        return await self.once(call, request, carry_out, lambda asked: writing.node(self.cluster, request.node_id))

    async def UncordonNode(self, request: pb.UncordonNodeRequest, call: Call) -> pb.Node:
        """Ends a cordon, and a drain."""

        async def carry_out(records: Sequence[Record]) -> pb.Node:
            await self.cluster.nodes.uncordon(request.node_id, records=records)
            return writing.node(self.cluster, request.node_id)

        return await self.once(call, request, carry_out, lambda asked: writing.node(self.cluster, request.node_id))

    async def DrainNode(self, request: pb.DrainNodeRequest, call: Call) -> pb.Operation:
        """Cordon a node and move its work away."""
        self.cluster.nodes.record(request.node_id)
        return await self.operation(
            call,
            request,
            lambda operation_id, records: self.cluster.nodes.drain(request.node_id, operation_id, records=records),
        )

    async def FixNode(self, request: pb.FixNodeRequest, call: Call) -> pb.Operation:
        """Calculate a node's books anew."""
        self.cluster.nodes.record(request.node_id)
        return await self.operation(
            call,
            request,
            lambda operation_id, records: self.cluster.ask(
                operation_id,
                NodeFixRequested(node_id=request.node_id, operation_id=operation_id),
                keep=True,
                records=records,
                kind="fix",
                subjects=[request.node_id],
            ),
        )

    async def GetNodeResources(self, request: pb.GetNodeResourcesRequest, call: Call) -> pb.NodeResources:
        """What a node has, and what of that is held."""
        return writing.node_resources(self.cluster, request.node_id)

    async def GetNodeEngine(self, request: pb.GetNodeEngineRequest, call: Call) -> pb.NodeEngine:
        """What its engine says that the node is."""
        engine = self.cluster.nodes.engine(request.node_id)
        try:
            async with asyncio.timeout(self.options.engine_seconds):
                info = await engine.info()
        except TimeoutError:
            raise Unreachable(f"node {request.node_id}: its engine does not answer in time") from None
        return writing.node_engine(request.node_id, info, engine.capabilities)

    # -- leases -------------------------------------------------------------------------------------------------------

    async def RenewNode(self, request: pb.RenewNodeRequest, call: Call) -> pb.NodeStatus:
        """The node's agent is there."""
        self.cluster.nodes.record(request.node_id)
        ttl_ns = reading.whole("ttl_ns", request.ttl_ns, 0, _TTL_NS_MAX)
        if ttl_ns:
            self.cluster.liveness.renew(request.node_id, ttl_ns)
        else:
            self.cluster.liveness.end_lease(request.node_id)
        return self._status(request.node_id)

    async def GetNodeStatus(self, request: pb.GetNodeStatusRequest, call: Call) -> pb.NodeStatus:
        """Whether a node's agent is there."""
        return self._status(request.node_id)

    async def WatchNodes(self, request: pb.WatchNodesRequest, call: Call) -> AsyncIterator[pb.NodeStatus]:
        """Changes of that."""
        feed = call.watch(self.options.feed_items)

        def tell(status: NodeStatus) -> None:
            if request.pool in ("", status.pool):
                feed.offer(status)

        stop = self.cluster.liveness.listen(tell)
        try:
            if request.with_current:
                for node in list(self.cluster.core.cluster.by_id.values()):
                    if request.pool in ("", node.pool) and node.node_id in self.cluster.core.cluster.by_id:
                        yield self._status(node.node_id)
            async for status in feed:
                yield writing.node_status(status)
        finally:
            stop()

    def _status(self, node_id: str) -> pb.NodeStatus:
        node = self.cluster.nodes.record(node_id)
        return writing.node_status(NodeStatus(node_id, node.pool, self.cluster.liveness.is_alive(node_id)))

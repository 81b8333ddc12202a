"""Eru's wire over a live cluster of nodes in memory, for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from memory_engine_kit import MemoryEngine, connector

from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.endpoints import Endpoint
from backends.real.service.calls import CallLimits
from backends.real.service.corerpc.context import CoreRpcOptions
from backends.real.service.corerpc.service import CoreRpc
from backends.real.service.pb import corerpc_pb2
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub
from backends.real.service.server import Server, ServerOptions
from eru_sim.live.composition import real_cluster

pb: Any = corerpc_pb2
UNBOUND = {"cpumem": {"cpu-request": 1, "memory-request": "64M"}}


class World:
    """Everything of one run."""

    def __init__(self, cluster: LiveCluster, server: Server, rpc: CoreRpc, engines: dict[str, MemoryEngine]) -> None:
        self.cluster = cluster
        self.server = server
        self.rpc = rpc
        self.engines = engines
        self._channel = grpc.aio.insecure_channel(server.address)
        self.stub = CoreRPCStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    def engine_of(self, workload_id: str) -> MemoryEngine:
        return self.engines[self.cluster.workloads.place(workload_id).node_id]

    def box_of(self, workload_id: str) -> Any:
        place = self.cluster.workloads.place(workload_id)
        return self.engines[place.node_id].boxes[workload_id, place.generation]

    async def deploy(self, **fields: Any) -> list[Any]:
        """The messages of a deployment."""
        return await all_of(self.stub.CreateWorkload(options(**fields)))

    async def one(self, **fields: Any) -> str:
        """The id of a workload that has just been deployed."""
        (message,) = await self.deploy(**fields)
        assert message.success, message
        workload_id: str = message.id
        return workload_id


@asynccontextmanager
async def world(
    directory: Path,
    *,
    nodes: int = 2,
    limits: CallLimits | None = None,
    engines: dict[str, MemoryEngine] | None = None,
    **rpc_options: Any,
) -> AsyncIterator[World]:
    """A pod "pod" with nodes n0, n1, … of 8 cores in two NUMA nodes, that need no lease; and a server for them."""
    engines = {} if engines is None else engines
    cluster = real_cluster(directory, connector(engines), options=ClusterOptions())
    await cluster.start()
    rpc = CoreRpc(cluster, CoreRpcOptions(**{"address": "127.0.0.1:5001", **rpc_options}))
    server = Server(ServerOptions(bind="127.0.0.1:0", limits=limits or CallLimits()), [rpc.service()])
    await server.start()
    made = World(cluster, server, rpc, engines)
    try:
        if "pod" not in cluster.pools:
            await cluster.pools.add("pod", "for tests")
            for number in range(nodes):
                await cluster.nodes.add(f"n{number}", "pod", Endpoint(url="mem://", test=True))
        yield made
    finally:
        await made.close()
        await rpc.close()
        await server.stop(0.5)
        await cluster.stop()


def packed(**plugins: Any) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in plugins.items()}


def options(**fields: Any) -> Any:
    """DeployOptions of something small that sleeps."""
    command = fields.pop("command", ["sleep"])
    entry = {"name": "web", "commands": command, **fields.pop("entrypoint", {})}
    resources = packed(**fields.pop("resources", UNBOUND))
    plain = {"name": "app", "podname": "pod", "image": "busybox", "count": 1, **fields}
    return pb.DeployOptions(entrypoint=pb.EntrypointOptions(**entry), resources=resources, **plain)


async def all_of(call: Any) -> list[Any]:
    """All messages of a stream."""
    return [message async for message in call]

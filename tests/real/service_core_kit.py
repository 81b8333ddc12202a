"""Our own service as the core of an agent's tests: a live cluster over one Docker node, behind CoreRPC."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from testbed_kit import BedNode

from backends.real.cluster import ClusterOptions
from backends.real.endpoints import Endpoint
from backends.real.engines.docker import DockerEngine
from backends.real.liveness import NodeStatus
from backends.real.service.corerpc.context import CoreRpcOptions
from backends.real.service.corerpc.service import CoreRpc
from backends.real.service.pb import corerpc_pb2
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub
from backends.real.service.server import Server, ServerOptions
from eru_sim.live.composition import real_cluster

pb: Any = corerpc_pb2


class ServiceCore:
    """Runs in a thread of its own. ``lapses`` are the times at which a node's lease ended, as watchers were told."""

    def __init__(self, directory: Path, node: BedNode, *, hostname: str, core_id: str) -> None:
        self.address = f"unix:{directory}/service.sock"
        self.lapses: list[str] = []
        self._directory = directory
        self._node = node
        self._hostname = hostname
        self._core_id = core_id
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._stub: Any = None

    def do(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Call CoreRPC."""

        async def call() -> Any:
            return await work(self._stub)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def deploy(self, app: str, *command: str, image: str = "eru-test:local", **entrypoint: Any) -> str:
        """Deploy one workload, and return its id."""

        async def work(stub: Any) -> str:
            entry = pb.EntrypointOptions(name="web", commands=list(command), **entrypoint)
            options = pb.DeployOptions(
                name=app, entrypoint=entry, podname="pod", image=image, count=1,
                resources={"cpumem": b'{"cpu-request": 0.1, "memory-request": "32M"}'},
            )  # fmt: skip
            (message,) = [message async for message in stub.CreateWorkload(options)]
            assert message.success, message.error
            return str(message.id)

        return str(self.do(work))

    def control(self, workload_id: str, kind: str) -> None:
        """Stop, start or restart a workload."""

        async def work(stub: Any) -> None:
            async for message in stub.ControlWorkload(pb.ControlWorkloadOptions(IDs=[workload_id], type=kind)):
                assert not message.error, message.error

        self.do(work)

    def remove(self, workload_id: str) -> None:
        async def work(stub: Any) -> None:
            async for _ in stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)):
                pass

        self.do(work)

    def state(self, workload_id: str) -> tuple[bool, bool]:
        """What the core believes: running, healthy."""
        (status,) = self.do(lambda stub: stub.GetWorkloadsStatus(pb.WorkloadIDs(IDs=[workload_id]))).status
        return status.running, status.healthy

    def alive(self, node: str) -> bool:
        """Whether the node's lease is held."""
        return bool(self.do(lambda stub: stub.GetNodeStatus(pb.GetNodeStatusOptions(nodename=node))).alive)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        cluster = real_cluster(
            self._directory / "store",
            lambda node_id, endpoint: DockerEngine(endpoint.url, core_id=self._core_id),
            options=ClusterOptions(core_id=self._core_id),
        )
        await cluster.start()
        rpc = CoreRpc(cluster, CoreRpcOptions(address="127.0.0.1:5001"))
        server = Server(ServerOptions(bind=self.address), [rpc.service()])
        await server.start()
        channel = grpc.aio.insecure_channel(self.address)
        try:
            self._stub = CoreRPCStub(channel)  # type: ignore[no-untyped-call]
            await cluster.pools.add("pod", "for tests")
            await cluster.nodes.add(self._hostname, "pod", Endpoint(url=self._node.docker.url))
            cluster.liveness.listen(self._note)
            self._ready.set()
            await self._stopping.wait()
        finally:
            await channel.close()
            await rpc.close()
            await server.stop(0.5)
            await cluster.stop()

    def _note(self, status: NodeStatus) -> None:
        if not status.is_alive:
            self.lapses.append(status.node_id)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)
        assert self._failure is None, self._failure

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        assert self._failure is None, self._failure


@contextmanager
def service_core(directory: Path, node: BedNode, *, hostname: str, core_id: str) -> Iterator[ServiceCore]:
    """A service that knows one node."""
    core = ServiceCore(directory, node, hostname=hostname, core_id=core_id)
    core.start()
    try:
        yield core
    finally:
        core.stop()

"""A core that speaks CoreRPC and remembers what agents say: leases as the service keeps them, statuses, marks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc

from backends.real.clock import MonotonicClock
from backends.real.leases import LeaseTable
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCServicer, add_CoreRPCServicer_to_server

TICK_S = 0.1


class Report(NamedTuple):
    at_s: float
    status: Any


class RecordingCore(CoreRPCServicer):
    """Serves from a thread of its own. What it has seen may be read at any time."""

    def __init__(self, address: str, *, identifier: str, nodes: dict[str, str], user: tuple[str, str] | None) -> None:
        self.address = address
        self.identifier = identifier
        self.nodes = nodes
        """The endpoints of the nodes that it knows."""
        self.leases = LeaseTable(MonotonicClock())
        self.beats: list[tuple[float, str, int]] = []
        self.reports: list[Report] = []
        self.state: dict[str, Any] = {}
        """The last word on each workload; the node's end makes it not running."""
        self.marked: list[tuple[float, str]] = []
        """When which node was found to be dead, and its workloads were marked."""
        self.is_deaf = False
        """Whether it refuses every call."""
        self._user = user
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopping = asyncio.Event()

    def alive(self, node: str) -> bool:
        return self.leases.is_held(node)

    def told(self, workload_id: str, since_s: float = 0) -> list[tuple[bool, bool]]:
        found = [report for report in self.reports if report.status.id == workload_id and report.at_s >= since_s]
        return [(report.status.running, report.status.healthy) for report in found]

    # -- CoreRPC ------------------------------------------------------------------------------------------------------

    async def Info(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        return pb.CoreInfo(identifier=self.identifier, version="test")

    async def GetNode(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        if request.nodename not in self.nodes:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"node {request.nodename}: not found")
        return pb.Node(name=request.nodename, endpoint=self.nodes[request.nodename], podname="p")

    async def SetNodeStatus(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        self.beats.append((time.monotonic(), request.nodename, request.ttl))
        if request.ttl > 0:
            self.leases.renew(request.nodename, request.ttl * 10**9)
        elif self.leases.drop(request.nodename):
            self._mark(request.nodename)
        return pb.Empty()

    async def SetWorkloadsStatus(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        for status in request.status:
            self.reports.append(Report(time.monotonic(), status))
            self.state[status.id] = status
        return pb.WorkloadsStatus(status=request.status)

    async def _let_in(self, context: Any) -> None:
        if self.is_deaf:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if self._user is not None and self._user not in context.invocation_metadata():
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    def _mark(self, node: str) -> None:
        self.marked.append((time.monotonic(), node))
        for workload_id, status in self.state.items():
            if status.nodename == node:
                self.state[workload_id] = pb.WorkloadStatus(id=workload_id, nodename=node)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = grpc.aio.server()
        add_CoreRPCServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port(self.address)
        if self.address.endswith(":0"):
            self.address = f"{self.address[:-2]}:{port}"
        await server.start()
        self._ready.set()
        while not self._stopping.is_set():
            for node in self.leases.expired(time.monotonic_ns()):
                self._mark(node)
            await asyncio.sleep(TICK_S)
        await server.stop(0)


@contextmanager
def recording_core(
    address: str = "127.0.0.1:0",
    *,
    identifier: str = "core-1",
    nodes: dict[str, str] | None = None,
    user: tuple[str, str] | None = None,
) -> Iterator[RecordingCore]:
    """A core that knows these nodes (name to endpoint), and is open to one user or to all."""
    core = RecordingCore(address, identifier=identifier, nodes=nodes or {"n1": "tcp://10.1.1.1:2375"}, user=user)
    core.start()
    try:
        yield core
    finally:
        core.stop()

"""`CoreClient` over gRPC: CoreRPC, as Eru's core and our own service speak it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog

from backends.real.agent.core_client import CoreError, CoreUnreachable, NodeFacts, WorkloadStatus
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub

_SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_OPTIONS = (
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A proxy of the machine's environment is not meant for the core.
    ("grpc.enable_http_proxy", 0),
)

_log = structlog.get_logger()


class GrpcCore:
    """One core behind several endpoints: who answered last is asked first, and the others when it does not answer."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        timeout_s: float,
        username: str = "",
        password: str = "",
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """With ``credentials`` it speaks TLS. Belongs to the running event loop."""
        self._endpoints = tuple(endpoints)
        self._channels = [
            grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
            for endpoint in endpoints
        ]
        self._stubs: list[Any] = [CoreRPCStub(channel) for channel in self._channels]  # type: ignore[no-untyped-call]
        self._metadata = (
            *(((username.lower(), password),) if username else ()),
            *((("authorization", f"Bearer {token}"),) if token else ()),
        )
        self._timeout_s = timeout_s
        self._first = 0

    async def identifier(self) -> str:
        """See `CoreClient.identifier`."""
        return str((await self._call(lambda stub: stub.Info, pb.Empty())).identifier)

    async def node(self, name: str) -> NodeFacts:
        """See `CoreClient.node`."""
        found = await self._call(lambda stub: stub.GetNode, pb.GetNodeOptions(nodename=name))
        return NodeFacts(name=found.name, endpoint=found.endpoint, pool=found.podname)

    async def set_node_status(self, name: str, ttl_s: int) -> None:
        """See `CoreClient.set_node_status`."""
        await self._call(lambda stub: stub.SetNodeStatus, pb.SetNodeStatusOptions(nodename=name, ttl=ttl_s))

    async def set_workloads_status(self, statuses: Sequence[WorkloadStatus]) -> None:
        """See `CoreClient.set_workloads_status`."""
        request = pb.SetWorkloadsStatusOptions(
            status=[
                pb.WorkloadStatus(
                    id=status.workload_id,
                    running=status.running,
                    healthy=status.healthy,
                    networks=status.networks,
                    extension=status.extension,
                    appname=status.app,
                    nodename=status.node,
                    entrypoint=status.entrypoint,
                )
                for status in statuses
            ]
        )
        await self._call(lambda stub: stub.SetWorkloadsStatus, request)

    async def close(self) -> None:
        """See `CoreClient.close`."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _call(self, method: Callable[[Any], Any], request: Any) -> Any:
        """Call one endpoint after another until one answers, all of them within the timeout."""
        timeout_s = self._timeout_s / len(self._stubs)
        said = []
        for number in range(len(self._stubs)):
            index = (self._first + number) % len(self._stubs)
            try:
                answer = await method(self._stubs[index])(request, timeout=timeout_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                message = f"{self._endpoints[index]}: {error.details() or error.code().name}"
                if error.code() not in _SILENT:
                    raise CoreError(message) from None
                said.append(message)
            else:
                self._first = index
                return answer
        raise CoreUnreachable("; ".join(said))

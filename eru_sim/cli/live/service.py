"""A connection to a service, for the time of one command; what fails there becomes one line and an exit code."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from backends.real.service.pb import eru_v1_pb2, eru_v1_pb2_grpc
from eru_sim.cli import errors
from eru_sim.cli.live.contexts import Target
from eru_sim.cli.live.failures import ServiceError
from eru_sim.output import one_line

MESSAGE_BYTES = 64 * 1024 * 1024
_ATTEMPTS = 3
_PAUSE_S = 0.3
_READS = ("Get", "List", "Plan", "Explain")
_OURS = {
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
}  # fmt: skip


class Service:
    """Calls by name, as the proto has them."""

    def __init__(self, target: Target, stub: Any) -> None:
        self._target = target
        self._stub = stub
        self._info: Any = None

    async def call(self, method: str, request: Any) -> Any:
        """One request, one answer. What may be repeated is, when the service is not there for a moment.

        A request that takes an idempotency key gets one.
        """
        may_repeat = method.startswith(_READS)
        if "idempotency_key" in request.DESCRIPTOR.fields_by_name:
            request.idempotency_key = request.idempotency_key or f"cli-{secrets.token_hex(12)}"
            may_repeat = True
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await getattr(self._stub, method)(request, metadata=self._target.metadata)
            except grpc.aio.AioRpcError as error:
                is_gone = error.code() is grpc.StatusCode.UNAVAILABLE
                if not (is_gone and may_repeat and attempt < _ATTEMPTS):
                    raise self.explained(error) from None
            await asyncio.sleep(_PAUSE_S * attempt)
        raise AssertionError

    async def info(self) -> Any:
        """What the service says of itself; asked once."""
        if self._info is None:
            self._info = await self.call("GetInfo", eru_v1_pb2.GetInfoRequest())
        return self._info

    async def stream(self, method: str, request: Any) -> AsyncIterator[Any]:
        """One request, many answers. ``request`` may be an async iterator of them."""
        call = getattr(self._stub, method)(request, metadata=self._target.metadata)
        try:
            async for reply in call:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None
        finally:
            call.cancel()

    async def send(self, method: str, requests: AsyncIterator[Any]) -> Any:
        """Many requests, one answer."""
        try:
            return await getattr(self._stub, method)(requests, metadata=self._target.metadata)
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None

    def explained(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """The one line for a call that failed."""
        status, details = error.code(), one_line(error.details() or "")
        exit_code = errors.FAILURE if status in _OURS else errors.BAD_INPUT
        if status is grpc.StatusCode.UNAVAILABLE:
            message = (
                f"{self._target.name}: no service answers there ({details}); is 'eru serve' running? Another one is "
                "named by --server, ERU or eru context use"
            )
        elif status is grpc.StatusCode.UNAUTHENTICATED:
            message = f"{self._target.name}: {details or 'it does not know who asks'}; give --login or --token-file"
        elif status is grpc.StatusCode.UNIMPLEMENTED:
            message = f"{self._target.name}: {details or 'it cannot do that; is it older than this command?'}"
        elif status in _OURS:
            message = f"{self._target.name}: {status.name.lower()}: {details or 'no more is known'}"
        else:
            message = details or str(status.name).lower()
        return ServiceError(str(status.name), message, exit_code)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Service]:
    """A service, until the block ends. Nothing is sent before the first call."""
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
    ]
    if target.is_tls:
        credentials = grpc.ssl_channel_credentials(target.ca, target.key, target.cert)
        channel = grpc.aio.secure_channel(target.address, credentials, options=options)
    else:
        channel = grpc.aio.insecure_channel(target.address, options=options)
    async with channel:
        yield Service(target, eru_v1_pb2_grpc.EruStub(channel))  # type: ignore[no-untyped-call]

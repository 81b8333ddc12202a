"""A service of Eru's wire whose methods do what a test says, behind the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from backends.real.service.calls import Call, CallLimits
from backends.real.service.errors import CallError
from backends.real.service.pb import corerpc_pb2
from backends.real.service.server import Server, ServerOptions, Service

pb: Any = corerpc_pb2
DESCRIPTOR = corerpc_pb2.DESCRIPTOR.services_by_name["CoreRPC"]


class ExpectedError(Exception):
    """One that the service translates."""


class Toy:
    """Every method echoes something; those given take the place of the method."""

    def __init__(self, **methods: Any) -> None:
        self._methods = methods
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        if name in self._methods:
            return self._methods[name]
        kind = DESCRIPTOR.methods_by_name[name]
        if kind.server_streaming:
            return self._nothing
        return self._empty(getattr(pb, kind.output_type.name))

    @staticmethod
    async def _nothing(_: Any, call: Call) -> AsyncIterator[Any]:
        for never in ():
            yield never

    @staticmethod
    def _empty(reply: Any) -> Callable[[Any, Call], Awaitable[Any]]:
        async def answer(_: Any, call: Call) -> Any:
            return reply()

        return answer


def translate(method: str, error: Exception) -> CallError | None:
    return CallError(10712, f"{method}: {error}") if isinstance(error, ExpectedError) else None


@asynccontextmanager
async def serving(limits: CallLimits | None = None, *, methods: Any = None, **options: Any) -> AsyncIterator[Server]:
    """The toy behind a server on a free port."""
    made = ServerOptions(bind="127.0.0.1:0", limits=limits or CallLimits(), **options)
    server = Server(made, [Service(DESCRIPTOR, Toy(**(methods or {})), translate)])
    await server.start()
    try:
        yield server
    finally:
        await server.stop(1.0)


def run(test: Callable[[], Awaitable[None]], seconds: float = 60.0) -> None:
    """Run a test that is a coroutine function."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), seconds)

    asyncio.run(bounded())


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a Python client's call ends."""
    try:
        if hasattr(call, "read"):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""

"""What every call goes through, whatever its service: `Guard`.

Theory of operation. To the runtime every method is a stream in both directions, of bytes; `Guard` makes of it what the
method is. So nothing of a message is read before its sender is known and let in, bytes that are no message are an
answer and no traceback, and each write can be given up when the reader does not take it. A handler is called with its
request (or an iterator of them) and a `Call`, and returns an awaitable or an async iterator.

Any exception becomes a status in one place: `CallError` as it says, what the service translates as it says, the rest
INTERNAL with a correlation id that the log repeats beside the traceback. The runtime takes any object with a ``value``
of (number, text) for a status, and so Eru's private numbers reach the ``grpc-status`` trailer.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import grpc
import msgspec
import structlog

from backends.real.service.auth import Authenticator
from backends.real.service.errors import CallError, Status, detail
from backends.real.service.limits import OpenCalls, TokenBuckets
from backends.real.service.streams import closing

_log = structlog.get_logger("service")

Translate = Callable[[str, Exception], CallError | None]
"""What a service makes of an exception in one of its methods; None for what it does not expect."""

_UNAUTHENTICATED_METHODS = ("/grpc.health.v1.Health/",)
_FAILURES_PER_SECOND = 0.2
_FAILURES_BURST = 20.0


class CallLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of time and number; 0 is none, except where it says so.

    ``calls_per_second`` and ``calls_burst`` are for one client, ``client_calls`` those of one client that are under way
    at a time, ``calls`` those of all. A call's first message must come within ``first_message_seconds``, a single
    answer within ``answer_seconds``. A message that the reader's side has not taken after ``write_seconds`` ends the
    call, and so does ``idle_seconds`` without a message either way while a client that streams has not finished.
    """

    calls_per_second: float = 1000.0
    calls_burst: float = 2000.0
    client_calls: int = 1000
    calls: int = 20_000
    first_message_seconds: float = 30.0
    answer_seconds: float = 300.0
    write_seconds: float = 60.0
    idle_seconds: float = 14_400.0


class _Number(NamedTuple):
    """Stands for a `grpc.StatusCode` of any number."""

    value: tuple[int, str]


class Call:
    """One call, as its handler sees it."""

    def __init__(self, method: str, client: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.method = method
        """The full name, ``/service/method``."""
        self.client = client
        """Who calls: ``user:NAME``, ``token:NAME``, ``certificate:NAME`` or ``host:ADDRESS``."""
        self.is_watch = False
        """Whether it goes on until somebody ends it. Such calls do not delay a graceful stop."""
        self.active_at = time.monotonic()
        self.may_idle = True
        self.ended_by: CallError | None = None
        self.write_seconds = 0.0
        self.is_stream = False
        """Whether its answer is any number of messages."""
        self._headers: asyncio.Future[None] | None = None
        self._serialize: Callable[[Any], bytes] = bytes
        self._context = context
        self._task = asyncio.current_task()

    def cut(self, error: CallError) -> None:
        """End the call with that status, whatever it is doing. For use by others than its handler."""
        if self.ended_by is None and self._task is not None:
            self.ended_by = error
            self._task.cancel()

    async def begin(self) -> None:
        """Tell the client that its call has begun, before there is anything else to tell."""
        await self._begin()

    async def write(self, message: Any) -> None:
        """Send one message of a stream; returns when the transport has taken it."""
        data = self._serialize(message)
        try:
            async with asyncio.timeout(self.write_seconds or None) as limit:
                await self._begin()
                await self._context.write(data)
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallError(Status.RESOURCE_EXHAUSTED, "the reader does not keep up") from None
        self.active_at = time.monotonic()

    async def _begin(self) -> None:
        """A stream's headers go before its first message: where that was given up, the status could not follow."""
        if self.is_stream and self._headers is None:
            self._headers = asyncio.ensure_future(self._context.send_initial_metadata(()))
        if self._headers is not None and not self._headers.done():
            await asyncio.shield(self._headers)

    async def settled(self) -> None:
        """Return when the headers are out, if they were to be."""
        if self._headers is not None:
            await asyncio.wait((self._headers,), timeout=self.write_seconds or None)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call with a status, as handlers of gRPC's own services do."""
        raise CallError(code.value[0], details)


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls in, runs them, and ends them."""

    def __init__(
        self,
        limits: CallLimits,
        authenticator: Authenticator,
        translators: Mapping[str, Translate],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._authenticator = authenticator
        self._translators = translators
        self._rates = TokenBuckets(limits.calls_per_second, limits.calls_burst, clock)
        self._failures = TokenBuckets(_FAILURES_PER_SECOND, _FAILURES_BURST, clock)
        self._open = OpenCalls(limits.client_calls, limits.calls)
        self.calls: set[Call] = set()
        """Those under way."""
        self.ended: Callable[[str, int, float], object] = lambda method, status, seconds: None
        """Told of every call that has ended: method, status, and how long it took."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a method; see the module."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        metadata = tuple(handler_call_details.invocation_metadata or ())

        async def run(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await self._run(handler, method, metadata, requests, context)

        return grpc.stream_stream_rpc_method_handler(run)

    def cut_idle(self) -> None:
        """End the calls that wait for their client for too long. To be called now and then."""
        if not self._limits.idle_seconds:
            return
        idle_since = time.monotonic() - self._limits.idle_seconds
        for call in [call for call in self.calls if not call.may_idle and call.active_at < idle_since]:
            call.cut(CallError(Status.DEADLINE_EXCEEDED, "nothing was sent for too long"))

    def cut_watches(self) -> None:
        """End the calls that would go on for ever."""
        for call in [call for call in self.calls if call.is_watch]:
            call.cut(CallError(Status.UNAVAILABLE, "the service is stopping: connect again"))

    async def _run(
        self,
        handler: Any,
        method: str,
        metadata: Iterable[tuple[str, str | bytes]],
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        call: Call | None = None
        began_s = time.perf_counter()
        try:
            client = self._admit(method, metadata, context)
            self._open.enter(client)
            try:
                call = Call(method, client, context)
                self.calls.add(call)
                await self._answer(handler, call, requests)
                self.ended(method, 0, time.perf_counter() - began_s)
                return
            finally:
                if call is not None:
                    self.calls.discard(call)
                self._open.leave(client)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call is None or call.ended_by is None or task is None:
                self.ended(method, Status.CANCELLED, time.perf_counter() - began_s)
                raise
            task.uncancel()
            error = call.ended_by
        except Exception as raised:
            error = self._status(method, raised)
        self.ended(method, error.status, time.perf_counter() - began_s)
        if call is not None:
            await call.settled()
        await context.abort(_Number((error.status, "")), detail(error.message))  # type: ignore[arg-type] # see the module

    def _admit(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]], context: grpc.aio.ServicerContext[Any, Any]
    ) -> str:
        """Who calls; `CallError` where that is not to be."""
        host = _host(context.peer())
        client = _certificate(context) or f"host:{host}"
        if not self._authenticator.is_open and not method.startswith(_UNAUTHENTICATED_METHODS):
            if self._failures.level(host) < 1.0:
                raise CallError(Status.RESOURCE_EXHAUSTED, "too many calls with wrong credentials: try again later")
            known = self._authenticator.identify(metadata)
            if known is None:
                self._failures.take(host)
                _log.warning("call refused", reason="wrong credentials", peer=host, method=method)
                raise CallError(Status.UNAUTHENTICATED, "wrong or missing credentials")
            client = known
        if not self._rates.take(client):
            raise CallError(Status.RESOURCE_EXHAUSTED, "too many calls a second: try again later")
        return client

    async def _answer(self, handler: Any, call: Call, requests: AsyncIterator[bytes]) -> None:
        call.write_seconds = self._limits.write_seconds
        call._serialize = handler.response_serializer or bytes
        call.is_watch = call.method.startswith("/grpc.")
        call.is_stream = bool(handler.response_streaming)
        incoming = self._incoming(handler, call, requests)
        try:
            request = incoming if handler.request_streaming else await _only(incoming)
            handle = _function(handler)
            if handler.response_streaming:
                result = handle(request, call)
                await (result if asyncio.iscoroutine(result) else _write_all(call, result))
            else:
                await call.write(await self._in_time(handle(request, call)))
        finally:
            await incoming.aclose()

    async def _in_time(self, answer: Awaitable[Any]) -> Any:
        seconds = self._limits.answer_seconds
        try:
            async with asyncio.timeout(seconds or None) as limit:
                return await answer
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallError(Status.DEADLINE_EXCEEDED, f"not done within {seconds:g} s") from None

    async def _incoming(self, handler: Any, call: Call, requests: AsyncIterator[bytes]) -> AsyncGenerator[Any, None]:
        """Yield the messages, the first of them in time."""
        deserialize = handler.request_deserializer or bytes
        try:
            async with asyncio.timeout(self._limits.first_message_seconds or None) as limit:
                data = await anext(requests, None)
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallError(Status.DEADLINE_EXCEEDED, "the first message did not come in time") from None
        call.may_idle = not handler.request_streaming
        while data is not None:
            call.active_at = time.monotonic()
            try:
                message = deserialize(data)
            except Exception:
                raise CallError(Status.INVALID_ARGUMENT, "the message cannot be decoded") from None
            yield message
            data = await anext(requests, None)
        call.may_idle = True

    def _status(self, method: str, raised: Exception) -> CallError:
        if isinstance(raised, CallError):
            return raised
        service, _, name = method.lstrip("/").partition("/")
        translate = self._translators.get(service)
        error = translate(name, raised) if translate is not None else None
        if error is None:
            correlation_id = secrets.token_hex(8)
            _log.error("call failed", method=method, correlation_id=correlation_id, exc_info=raised)
            error = CallError(Status.INTERNAL, f"internal error {correlation_id}: the service's log says more")
        return error


def _function(handler: Any) -> Callable[[Any, Call], Any]:
    functions = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    function: Callable[[Any, Call], Any] = functions[2 * handler.request_streaming + handler.response_streaming]
    return function


async def _only(messages: AsyncIterator[Any]) -> Any:
    async for message in messages:
        return message
    raise CallError(Status.INVALID_ARGUMENT, "there is no request message")


async def _write_all(call: Call, messages: AsyncIterator[Any]) -> None:
    async with closing(messages):
        async for message in messages:
            await call.write(message)


def _host(peer: str) -> str:
    """The address without the port: ``ipv4:127.0.0.1:4711`` gives ``127.0.0.1``."""
    kind, _, address = peer.partition(":")
    return address.rpartition(":")[0] if kind in ("ipv4", "ipv6") else kind


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    names = list(context.auth_context().get("x509_common_name", ()))
    return f"certificate:{names[0].decode(errors='replace')}" if names else ""

"""What every call goes through, whatever its service: `Guard`.

Theory of operation. To the runtime every method takes a stream, of bytes; `Guard` makes of it what the method is. So
nothing of a message is read before its sender is known and let in, bytes that are no message are an answer and no
traceback, and each write can be given up when the reader does not take it. A handler is called with its request (or an
iterator of them) and a `Call`, and returns an awaitable or an async iterator.

What the runtime is asked to do costs more than most of what is done here, so it is asked for little: headers go with
the first message unless somebody waits for them, and an answer that is known to be the last (`Last`, or the only one)
goes with the status. Time limits are no timers: a call notes until when it may wait, and `cut_late`, called every now
and then, ends those that wait longer.

Any exception becomes a status in one place: `CallError` as it says, what the service translates as it says, the rest
INTERNAL with a correlation id that the log repeats beside the traceback. The runtime takes any object with a ``value``
of (number, text) for a status, and so Eru's private numbers reach the ``grpc-status`` trailer.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

import grpc
import msgspec
import structlog

from backends.real.service.auth import Authenticator
from backends.real.service.errors import CallError, Status, detail
from backends.real.service.limits import OpenCalls, TokenBuckets
from backends.real.service.streams import Feed, closing

_log = structlog.get_logger("service")
_F = TypeVar("_F", bound=Callable[..., Any])

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


_NO_FIRST_MESSAGE = CallError(Status.DEADLINE_EXCEEDED, "the first message did not come in time")
_NOTHING_SENT = CallError(Status.DEADLINE_EXCEEDED, "nothing was sent for too long")
_NOT_READ = CallError(Status.RESOURCE_EXHAUSTED, "the reader does not keep up")
_STOPPING = CallError(Status.UNAVAILABLE, "the service is stopping: connect again")


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
        self.active_at = 0.0
        self.may_idle = True
        self.ended_by: CallError | None = None
        self.late_at = math.inf
        """When it is cut unless it goes on, in seconds of `time.monotonic`."""
        self.late = _NO_FIRST_MESSAGE
        """How it ends then."""
        self.write_seconds = 0.0
        self._begun: asyncio.Future[None] | None = None
        self._serialize: Callable[[Any], bytes] = bytes
        self._context = context
        self._task = asyncio.current_task()

    def cut(self, error: CallError) -> None:
        """End the call with that status, whatever it is doing. For use by others than its handler."""
        if self.ended_by is None and self._task is not None:
            self.ended_by = error
            self._task.cancel()

    def watch(self, limit: int) -> Feed[Any]:
        """From now on it goes on until somebody ends it; what it is to be told may be queued up to the limit."""
        self.is_watch = True
        return Feed(limit, self.cut)

    def allow(self, seconds: float, error: CallError) -> None:
        """Have it end with that error unless it goes on within so many seconds, 0 for any number."""
        self.late_at = time.monotonic() + seconds if seconds else math.inf
        self.late = error

    def read(self) -> Awaitable[Any]:
        """For the guard: the bytes of the next message, `grpc.aio.EOF` where there is none."""
        return self._context.read()

    async def begin(self) -> None:
        """Tell the client that its call has begun, before there is anything else to tell."""
        if self._begun is None:
            self._begun = asyncio.ensure_future(self._context.send_initial_metadata(()))
        await asyncio.shield(self._begun)

    async def write(self, message: Any) -> None:
        """Send one message of a stream; returns when the transport has taken it."""
        data = self._serialize(message)
        self.allow(self.write_seconds, _NOT_READ)
        if self._begun is None:
            # The headers go with it: where such a write were given up halfway, no status could follow.
            self._begun = asyncio.ensure_future(self._context.write(data))
            await asyncio.shield(self._begun)
        else:
            if not self._begun.done():
                await asyncio.shield(self._begun)
            await self._context.write(data)
        self.late_at = math.inf
        if not self.may_idle:
            self.active_at = time.monotonic()

    async def settled(self) -> None:
        """Return when the headers are out, if they were to be: a status can follow."""
        if self._begun is not None and not self._begun.done():
            self._begun.add_done_callback(lambda begun: begun.cancelled() or begun.exception())
            await asyncio.wait((self._begun,))

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call with a status, as handlers of gRPC's own services do."""
        raise CallError(code.value[0], details)


class Last(NamedTuple):
    """The last message of a stream. See `ends_with_last`."""

    message: Any


def ends_with_last(function: _F) -> _F:
    """Mark a method whose stream always ends with a `Last`: that goes out together with the status."""
    function.ends_with_last = True  # type: ignore[attr-defined] # a mark
    return function


class _Method:
    """A method as its service made it: the function, whether it takes or gives streams, and how messages are bytes."""

    def __init__(self, name: str, handler: Any) -> None:
        self.name = name
        self.takes_stream: bool = handler.request_streaming
        self.gives_stream: bool = handler.response_streaming
        functions = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        self.function: Callable[[Any, Call], Any] = functions[2 * self.takes_stream + self.gives_stream]
        self.decode: Callable[[bytes], Any] = handler.request_deserializer or bytes
        self.encode: Callable[[Any], bytes] = handler.response_serializer or bytes
        self.returns_answer: bool = not self.gives_stream or getattr(self.function, "ends_with_last", False)
        """Whether the last message is returned to the runtime, which sends it with the status."""
        self.is_watch = name.startswith("/grpc.")
        self.needs_no_name = name.startswith(_UNAUTHENTICATED_METHODS)


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls in, runs them, and ends them."""

    def __init__(
        self,
        limits: CallLimits,
        authenticator: Authenticator,
        translators: Mapping[str, Translate],
        clock: Callable[[], float] = time.monotonic,
        *,
        has_certificates: bool = True,
    ) -> None:
        """Without ``has_certificates`` callers show none, and are not asked for one."""
        self._limits = limits
        self._has_certificates = has_certificates
        self._not_answered = CallError(Status.DEADLINE_EXCEEDED, f"not done within {limits.answer_seconds:g} s")
        self._handlers: dict[str, Any] = {}
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
        name = handler_call_details.method
        known = self._handlers.get(name)
        if known is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            known = self._handlers[name] = self._wrapped(_Method(name, handler))
        return known

    def _wrapped(self, method: _Method) -> Any:
        async def run(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            return await self._run(method, context)

        if method.returns_answer:
            return grpc.stream_unary_rpc_method_handler(run)
        return grpc.stream_stream_rpc_method_handler(run)

    def cut_late(self) -> None:
        """End the calls that have waited for too long. To be called every now and then."""
        now = time.monotonic()
        idle_since = now - (self._limits.idle_seconds or math.inf)
        for call in list(self.calls):
            if call.late_at < now:
                call.cut(call.late)
            elif not call.may_idle and call.active_at < idle_since:
                call.cut(_NOTHING_SENT)

    def cut_watches(self) -> None:
        """End the calls that would go on for ever."""
        for call in [call for call in self.calls if call.is_watch]:
            call.cut(_STOPPING)

    async def _run(self, method: _Method, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Serve a call; return what the method leaves for the runtime to send."""
        call: Call | None = None
        began_s = time.perf_counter()
        try:
            client = self._admit(method, context)
            self._open.enter(client)
            call = Call(method.name, client, context)
            self.calls.add(call)
            answer = await self._answer(method, call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call is not None:
                self._leave(call)
            if call is None or call.ended_by is None or task is None:
                self.ended(method.name, Status.CANCELLED, time.perf_counter() - began_s)
                raise
            task.uncancel()
            error = call.ended_by
        except Exception as raised:
            if call is not None:
                self._leave(call)
            error = self._status(method.name, raised)
        else:
            self.ended(method.name, 0, time.perf_counter() - began_s)
            if method.returns_answer:
                self._leave_when_sent(call, context)
            else:
                self._leave(call)
            return answer
        self.ended(method.name, error.status, time.perf_counter() - began_s)
        if call is not None:
            await call.settled()
        await context.abort(_Number((error.status, "")), detail(error.message))  # type: ignore[arg-type] # see the module
        return b""

    def _leave(self, call: Call) -> None:
        self.calls.discard(call)
        self._open.leave(call.client)

    def _leave_when_sent(self, call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """An answer that its reader does not take counts as a call under way, for as long as a write may take."""
        call.is_watch = False
        call.allow(self._limits.write_seconds, _NOT_READ)
        context.add_done_callback(lambda _: self._leave(call))  # type: ignore[arg-type] # it gets the context

    def _admit(self, method: _Method, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """Who calls; `CallError` where that is not to be."""
        host = _host(context.peer())
        client = (self._has_certificates and _certificate(context)) or f"host:{host}"
        if not self._authenticator.is_open and not method.needs_no_name:
            if self._failures.level(host) < 1.0:
                raise CallError(Status.RESOURCE_EXHAUSTED, "too many calls with wrong credentials: try again later")
            known = self._authenticator.identify(context.invocation_metadata() or ())
            if known is None:
                self._failures.take(host)
                _log.warning("call refused", reason="wrong credentials", peer=host, method=method.name)
                raise CallError(Status.UNAUTHENTICATED, "wrong or missing credentials")
            client = known
        if not self._rates.take(client):
            raise CallError(Status.RESOURCE_EXHAUSTED, "too many calls a second: try again later")
        return client

    async def _answer(self, method: _Method, call: Call) -> bytes:
        call.write_seconds = self._limits.write_seconds
        call._serialize = method.encode
        call.is_watch = method.is_watch
        call.allow(self._limits.first_message_seconds, _NO_FIRST_MESSAGE)
        first = await call.read()
        call.allow(0, _NO_FIRST_MESSAGE)
        if method.takes_stream:
            incoming = self._incoming(method, call, first)
            async with closing(incoming):
                return await self._handle(method, call, incoming)
        if first is grpc.aio.EOF:
            raise CallError(Status.INVALID_ARGUMENT, "there is no request message")
        return await self._handle(method, call, _decoded(method, first))

    async def _handle(self, method: _Method, call: Call, request: Any) -> bytes:
        result = method.function(request, call)
        if method.gives_stream:
            last = await (result if asyncio.iscoroutine(result) else _write_all(call, result))
            if not method.returns_answer:
                return b""
            if last is None:
                raise RuntimeError(f"{method.name} has no last message")
            return method.encode(last.message)
        call.allow(self._limits.answer_seconds, self._not_answered)
        return method.encode(await result)

    async def _incoming(self, method: _Method, call: Call, data: Any) -> AsyncIterator[Any]:
        """Yield the messages of a stream, of which the first has come."""
        call.may_idle = False
        while data is not grpc.aio.EOF:
            call.active_at = time.monotonic()
            yield _decoded(method, data)
            data = await call.read()
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


def _decoded(method: _Method, data: bytes) -> Any:
    try:
        return method.decode(data)
    except Exception:
        raise CallError(Status.INVALID_ARGUMENT, "the message cannot be decoded") from None


async def _write_all(call: Call, messages: AsyncIterator[Any]) -> Last | None:
    """Write the messages; return the last if it says that it is."""
    async with closing(messages):
        async for message in messages:
            if isinstance(message, Last):
                return message
            await call.write(message)
    return None


def _host(peer: str) -> str:
    """The address without the port: ``ipv4:127.0.0.1:4711`` gives ``127.0.0.1``."""
    kind, _, address = peer.partition(":")
    return address.rpartition(":")[0] if kind in ("ipv4", "ipv6") else kind


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    names = list(context.auth_context().get("x509_common_name", ()))
    return f"certificate:{names[0].decode(errors='replace')}" if names else ""

"""The server that all our services share: where it listens, who may call, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from backends.real.service.auth import Authenticator
from backends.real.service.calls import CallLimits, Guard, Translate

MESSAGE_BYTES = 20 * 1024 * 1024
_CALLS_PENDING = 1_000_000
_SWEEP_SECONDS = 1.0
_SWEEPS = 4
"""How often a limit is looked at in its time, at least."""


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM form. With ``client_ca`` only callers with a certificate of that authority are let in."""

    certificate: str
    key: str
    client_ca: str = ""


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to serve. ``bind`` is ``address:port``, port 0 for any, or ``unix:PATH``.

    ``users`` maps a name to its password, ``tokens`` a name to a bearer token; where there are some, every call needs
    one, except those that ask for health. An address beyond the loopback needs users, tokens or a client CA, unless
    ``is_open`` says that whoever reaches it may do anything.
    """

    bind: str = "127.0.0.1:5001"
    tls: Tls | None = None
    users: Mapping[str, str] = {}
    tokens: Mapping[str, str] = {}
    is_open: bool = False
    limits: CallLimits = CallLimits()
    message_bytes: int = MESSAGE_BYTES
    connection_calls: int = 1000
    keepalive_seconds: float = 30.0


class Service(NamedTuple):
    """A service: its descriptor, the object that has a method for each of its own, and what errors become.

    A method takes the request, or an async iterator of them, and the `Call`; it is a coroutine function, or returns an
    async iterator where the answer is a stream.
    """

    descriptor: ServiceDescriptor
    servicer: object
    translate: Translate


class Server:
    """Serves from `start` until `stop`. It belongs to the event loop that starts it."""

    def __init__(self, options: ServerOptions, services: Sequence[Service]) -> None:
        """ValueError names the option that makes no sense."""
        self._options = options
        authenticator = Authenticator(options.users, options.tokens)
        has_certificates = options.tls is not None and bool(options.tls.client_ca)
        if not (not authenticator.is_open or has_certificates or options.is_open or is_local(options.bind)):
            raise ValueError(f"bind: {options.bind} can be reached by others; set users, tokens or a client CA")
        self._services = {service.descriptor.full_name: service for service in services}
        translators = {name: service.translate for name, service in self._services.items()}
        self._guard = Guard(options.limits, authenticator, translators, has_certificates=has_certificates)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.address = ""
        """Where it listens, once it does."""

    async def start(self) -> None:
        """Listen. OSError where the address cannot be had, or a file cannot be read."""
        options = self._options
        credentials = _credentials(options.tls)
        server = grpc.aio.server(
            interceptors=[self._guard],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", options.message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", options.connection_calls),
                # Beyond these the runtime drops calls at random; it is our limits that say so to the caller.
                ("grpc.server.max_pending_requests", options.limits.calls or _CALLS_PENDING),
                ("grpc.server.max_pending_requests_hard_limit", options.limits.calls or _CALLS_PENDING),
                ("grpc.keepalive_time_ms", int(options.keepalive_seconds * 1000)),
                ("grpc.keepalive_timeout_ms", int(options.keepalive_seconds * 1000)),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
            ],
        )
        server.add_generic_rpc_handlers([_handlers(service) for service in self._services.values()])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        try:
            if credentials is None:
                port = server.add_insecure_port(options.bind)
            else:
                port = server.add_secure_port(options.bind, credentials)
        except RuntimeError as error:
            raise OSError(f"bind: cannot listen on {options.bind}: {error}") from None
        await server.start()
        for name in ("", *self._services):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        host, _, _ = options.bind.rpartition(":")
        self.address = options.bind if options.bind.startswith("unix:") else f"{host}:{port}"
        self._server = server
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Take no more calls, end the watches, give the rest some time, and cut what is left then."""
        if self._server is None or self._sweeper is None:
            return
        self._sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeper
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        self._guard.cut_watches()
        await stopping
        self._server = None

    def observe_calls(self, ended: Callable[[str, int, float], object]) -> None:
        """Have every call told that has ended: its method, status, and how many seconds it took."""
        self._guard.ended = ended

    @property
    def open_calls(self) -> int:
        """How many calls are under way."""
        return len(self._guard.calls)

    async def _sweep(self) -> None:
        limits = self._options.limits
        bounds = (limits.first_message_seconds, limits.answer_seconds, limits.write_seconds, limits.idle_seconds)
        period_s = min([_SWEEP_SECONDS, *(bound / _SWEEPS for bound in bounds if bound)])
        while True:
            await asyncio.sleep(period_s)
            self._guard.cut_late()


def is_local(bind: str) -> bool:
    """Whether only this machine can reach the address."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _handlers(service: Service) -> grpc.GenericRpcHandler:
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.descriptor.methods:
        make = _MAKERS[method.client_streaming, method.server_streaming]
        handlers[method.name] = make(
            getattr(service.servicer, method.name),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)


_MAKERS: Mapping[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _credentials(tls: Tls | None) -> grpc.ServerCredentials | None:
    if tls is None:
        return None
    pair = (Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())
    client_ca = Path(tls.client_ca).read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials([pair], client_ca, client_ca is not None)

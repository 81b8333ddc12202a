"""Docker's Engine API over HTTP: a local socket or TCP with mutual TLS. Knows no workloads.

The calls are those of Docker's own reference, so there is no client library between. Errors are those of
`backends.real.engines.base`.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import aiohttp

from backends.real.engines.base import EngineError, NotFound, Unreachable, Unsupported
from backends.real.engines.docker_channel import Channel, Refused, open_channel

API_VERSION = (1, 41)
"""The version that is spoken, unless a daemon begins with a later one."""
TLS_PORT = 2376
_SHORT_S = 1.5
_CONNECT_S = 5.0
_CALL_S = 120.0
_CALLS_MAX = 16
_MESSAGE_MAX = 500
_JSON = {"Content-Type": "application/json"}

Params = Mapping[str, str | int] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tls:
    """Certificates as PEM text: the authority's, the client's, and the client's key. Not shown when printed."""

    ca: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """What connections are made with; ValueError for text that is no certificate or key."""
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=self.ca)
            # OpenSSL takes a key from a file only; nobody else can read it, and it is gone at once.
            with tempfile.TemporaryDirectory(prefix="eru-tls-") as directory:
                pair = Path(directory) / "pair.pem"
                descriptor = os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(f"{self.certificate}\n{self.key}\n")
                context.load_cert_chain(pair)
        except (ssl.SSLError, UnicodeEncodeError) as error:
            reason = getattr(error, "reason", None) or "not ASCII"
            raise ValueError(f"tls: certificate, key or authority cannot be used ({reason})") from None
        return context


class DockerApi:
    """One daemon. ``url`` is ``unix:///path`` or ``tcp://host[:port]``; with ``tls`` the latter is encrypted.

    Short calls are made at most 16 at a time; streams have connections of their own, as many as there are. A
    connection is made when it is needed, and made again when it was lost.
    """

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        parts = urlsplit(url)
        self._path = ""
        self._host, self._port = "localhost", 0
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "unix" and parts.path:
            self._path = parts.path
        elif parts.scheme in ("tcp", "http", "https") and parts.hostname:
            self._host, self._port = parts.hostname, parts.port or TLS_PORT
            if tls is None and parts.scheme == "https":
                raise ValueError(f"{url}: give certificates, or tcp:// for a connection without")
            self._tls = None if tls is None else tls.context()
        else:
            raise ValueError(f"{url!r} is not unix:///path or tcp://host:port")
        self.where = self._path or f"{self._host}:{self._port}"
        """The endpoint as messages name it."""
        self.is_local = bool(self._path)
        """Whether the daemon is on this machine for sure."""
        self._session: aiohttp.ClientSession | None = None
        self._version: str | None = None
        self._date = ""
        self._places = asyncio.Semaphore(_CALLS_MAX)

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ping(self) -> None:
        """Return within two seconds, or raise `Unreachable`."""
        async with self._request("GET", "/_ping", total_s=_SHORT_S, is_versioned=False):
            return

    @property
    def node_time_s(self) -> int:
        """The node's clock as its last answer told it, in whole seconds since 1970; 0 where none has."""
        return int(parsedate_to_datetime(self._date).timestamp()) if self._date else 0

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        total_s: float | None = _CALL_S,
    ) -> Any:
        """Make a call; return the JSON of its answer, None where that is empty.

        One that waits for something has a time of its own (``total_s``, None for no end), and is not counted.
        """
        async with contextlib.AsyncExitStack() as stack:
            if total_s == _CALL_S:
                await stack.enter_async_context(self._places)
            response = await stack.enter_async_context(
                self._request(method, path, params=params, json_body=body, total_s=total_s, headers=_JSON)
            )
            text = await response.read()
        return json.loads(text) if text.strip() else None

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        data: AsyncIterator[bytes] | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a call whose answer is read as it comes, for as long as it takes."""
        async with self._request(method, path, params=params, data=data, total_s=None, headers=headers) as response:
            yield response

    async def lines(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        data: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of a long answer; EngineError where one of them tells of an error."""
        async with self.stream(method, path, params=params, data=data, headers=headers) as response:
            decoder, text = json.JSONDecoder(), ""
            characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
            async for piece in response.content.iter_any():
                text += characters.decode(piece)
                while text := text.lstrip():
                    try:
                        found, end = decoder.raw_decode(text)
                    except json.JSONDecodeError:
                        break  # the rest of it comes with the next piece
                    text = text[end:]
                    if "error" in found:
                        raise EngineError(one_line(str(found["error"])))
                    yield found

    async def hijack(self, path: str, *, params: Params | None = None, body: Any = None) -> Channel:
        """Make a call that turns the connection into a channel of bytes in both directions."""
        target = await self._target(path)
        if params:
            target += "?" + urlencode(params)
        try:
            async with asyncio.timeout(_CALL_S):
                return await open_channel(
                    self._connect_socket,
                    self._tls,
                    self._host,
                    target,
                    b"" if body is None else json.dumps(body).encode(),
                )
        except Refused as refused:
            raise _error(refused.status, refused.body) from None
        except (OSError, TimeoutError) as error:
            raise self._unreachable(error) from None

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json_body: Any = None,
        data: AsyncIterator[bytes] | BinaryIO | None = None,
        total_s: float | None,
        headers: Mapping[str, str] | None = None,
        is_versioned: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        target = await self._target(path) if is_versioned else path
        scheme = "https" if self._tls is not None else "http"
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=min(_CONNECT_S, total_s or _CONNECT_S))
        try:
            async with self._get_session().request(
                method,
                f"{scheme}://{self._host}:{self._port or 80}{target}",
                params=params,
                json=json_body,
                data=data,
                headers=dict(headers) if headers else None,
                timeout=timeout,
            ) as response:
                self._date = response.headers.get("Date", "")
                transport = response.connection and response.connection.transport
                try:
                    if response.status >= 400:
                        raise _error(response.status, await response.read())
                    yield response
                finally:
                    # Who leaves early waits neither until all is sent nor until TLS has said good-bye.
                    if transport is not None and (data is not None or response.connection is not None):
                        transport.abort()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from None

    async def _target(self, path: str) -> str:
        """The path with the version to speak."""
        if self._version is None:
            async with self._request("GET", "/version", total_s=_CONNECT_S, is_versioned=False) as response:
                found = await response.json()
            least = tuple(int(number) for number in str(found["MinAPIVersion"]).split("."))
            most = tuple(int(number) for number in str(found["ApiVersion"]).split("."))
            self._version = ".".join(map(str, min(max(API_VERSION, least), most)))
        return f"/v{self._version}{path}"

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._path:
                connector = aiohttp.UnixConnector(self._path, limit=0)
            else:
                context = self._tls if self._tls is not None else False
                connector = aiohttp.TCPConnector(limit=0, ssl=context, socket_factory=_keep_alive)
            plain = {"Accept-Encoding": "identity"}  # or else the daemon compresses archives
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, headers=plain)
        return self._session

    async def _connect_socket(self, protocol_factory: Any) -> tuple[asyncio.Transport, Any]:
        loop = asyncio.get_running_loop()
        if self._path:
            return await loop.create_unix_connection(protocol_factory, self._path)
        transport, protocol = await loop.create_connection(protocol_factory, self._host, self._port)
        _set_keep_alive(transport.get_extra_info("socket"))
        return transport, protocol

    def _unreachable(self, error: Exception) -> Unreachable:
        self._version = None  # who knows who answers next
        reason = (
            "no answer in time" if isinstance(error, TimeoutError) else one_line(str(error) or type(error).__name__)
        )
        return Unreachable(f"docker at {self.where}: {reason}")


def one_line(text: str) -> str:
    """The text in one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_MAX else f"{line[:_MESSAGE_MAX]}..."


def _error(status: int, body: bytes) -> EngineError:
    """What an answer means that is none of success."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    message = one_line(text) or f"status {status}"
    if status == 404:
        return NotFound(message)
    return Unsupported(message) if status == 501 else EngineError(message)


def _keep_alive(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    _set_keep_alive(made)
    return made


def _set_keep_alive(connection: socket.socket) -> None:
    """Notice within half a minute that a machine is gone from which nothing is expected."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)

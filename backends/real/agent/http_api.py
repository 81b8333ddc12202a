"""The agent's HTTP API: ``/version/``, ``/profile/``, ``/log/?app=NAME`` and ``/metrics``. GET only, and no secrets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from backends.real.agent.logs.hub import LogHub

REQUEST_TIMEOUT_S = 10.0
MOST_CONNECTIONS = 256
PATHS = ("/version/", "/profile/", "/log/?app=NAME", "/metrics")
_REQUEST_BYTES = 1 << 14
_JSON = "application/json"

_log = structlog.get_logger()


class _Request:
    """What was asked, and where the answer goes."""

    def __init__(self, query: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.query = parse_qs(query)
        self.reader = reader
        self.writer = writer

    async def answer(self, status: HTTPStatus, body: str | bytes, kind: str = "text/plain; charset=utf-8") -> None:
        """Answer with all of it at once."""
        data = body.encode() if isinstance(body, str) else body
        self.writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
            + data
        )
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await self.writer.drain()


_Handler = Callable[[_Request], Awaitable[None]]


class HttpApi:
    """Serves from `start` until `stop`. Each connection carries one request."""

    def __init__(self, hub: LogHub, registry: CollectorRegistry, *, version: str) -> None:
        self._hub = hub
        self._registry = registry
        self._version = version
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, _Handler] = {
            "/version": self._show_version,
            "/profile": self._show_profile,
            "/metrics": self._show_metrics,
            "/log": self._show_log,
        }

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; OSError where the address cannot be had."""
        self._server = await asyncio.start_server(self._on_connection, host, port, limit=_REQUEST_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            # The server does not want to hear of it.
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
        words = head.decode("latin-1").split("\r\n")[0].split(" ")
        target = urlsplit(words[1] if len(words) == 3 else "")
        request = _Request(target.query, reader, writer)
        handler = self._handlers.get(target.path.rstrip("/"))
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            await request.answer(HTTPStatus.BAD_REQUEST, "this is not HTTP/1\n")
        elif handler is None:
            await request.answer(HTTPStatus.NOT_FOUND, f"there are {', '.join(PATHS)}\n")
        elif words[0] != "GET":
            await request.answer(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n")
        elif len(self._open) > MOST_CONNECTIONS:
            await request.answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        else:
            await handler(request)

    async def _show_version(self, request: _Request) -> None:
        await request.answer(HTTPStatus.OK, json.dumps({"version": self._version}) + "\n", _JSON)

    async def _show_profile(self, request: _Request) -> None:
        counts = {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
            "garbage": sum(gc.get_count()),
            "connections": len(self._open),
        }
        await request.answer(HTTPStatus.OK, json.dumps(counts) + "\n", _JSON)

    async def _show_metrics(self, request: _Request) -> None:
        text = await asyncio.to_thread(generate_latest, self._registry)
        await request.answer(HTTPStatus.OK, text, CONTENT_TYPE_LATEST)

    async def _show_log(self, request: _Request) -> None:
        """Lines of an app from now on, each a chunk of its own, as Eru's agent frames them."""
        app = request.query.get("app", [""])[0]
        if not app:
            await request.answer(HTTPStatus.BAD_REQUEST, "name an app: /log/?app=NAME\n")
            return
        left = asyncio.create_task(_until_left(request.reader))
        try:
            with self._hub.viewing(app) as viewer:
                request.writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                )
                while await _first(request.writer.drain(), left):
                    line = asyncio.create_task(viewer.next())
                    if not await _first(line, left):
                        return
                    request.writer.write(b"%X\r\n%s\r\n\r\n" % (len(line.result()) + 2, line.result()))
        finally:
            left.cancel()


async def _until_left(reader: asyncio.StreamReader) -> None:
    """Return when the other side has closed the connection."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass


async def _first(work: Coroutine[Any, Any, object] | asyncio.Task[Any], other: asyncio.Task[None]) -> bool:
    """Wait for one of the two; whether the work is done. If not, it is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()

"""The agent's HTTP API, over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from agent_kit import ScriptedEngine

from backends.real.agent.http_api import HttpApi
from backends.real.agent.identity import Identity
from backends.real.agent.logs.hub import Cursors, LogHub
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import MonotonicClock
from backends.real.engines.base import Chunk


class Served(NamedTuple):
    port: int
    engine: ScriptedEngine
    hub: LogHub


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    engine, telemetry = ScriptedEngine(), Telemetry()
    hub = LogHub(
        engine, [], MonotonicClock(), echo=None, node="n1", pool="p", cursors=Cursors(), wall_ns=lambda: 0,
        retry_ns=10**9, save_ns=10**9, telemetry=telemetry,
    )  # type: ignore[arg-type]  # fmt: skip
    api = HttpApi(hub, telemetry.registry, version="1.2.3")
    port = await api.start("127.0.0.1", 0)
    try:
        yield Served(port, engine, hub)
    finally:
        await api.stop()


def run(work: Callable[[Served], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with serving() as served:
            return await work(served)

    return asyncio.run(main())


def get(path: str, method: str = "GET") -> tuple[int, str, str]:
    def ask(port: int) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            connection.close()

    return run(lambda served: asyncio.to_thread(ask, served.port))  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", ["/version/", "/version"])
def test_version(path: str) -> None:
    status, kind, body = get(path)
    assert (status, kind, json.loads(body)) == (200, "application/json", {"version": "1.2.3"})


def test_profile_counts_what_the_agent_has_open() -> None:
    status, _, body = get("/profile/")
    counts = json.loads(body)
    assert status == 200
    assert set(counts) == {"tasks", "threads", "files", "garbage", "connections"}
    assert counts["files"] > 3


def test_metrics_are_prometheus_text() -> None:
    status, kind, body = get("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "# TYPE eru_agent_heartbeats_total counter" in body


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/debug/pprof", "GET", 404), ("/version/", "POST", 405), ("/log/", "GET", 400)],
)
def test_what_there_is_not(path: str, method: str, status: int) -> None:
    assert get(path, method)[0] == status


def test_log_streams_the_lines_of_an_app_in_eru_s_frames() -> None:
    async def work(served: Served) -> None:
        instance = served.engine.start("w", tells=False)
        served.hub.attach(instance, Identity("web", "http", "abc"), is_new=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /log/?app=web HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"chunked" in head
        served.engine.write("w", Chunk("stdout", b"one\ntwo\n", 1))
        for wanted in ("one", "two"):
            size = int(await reader.readline(), 16)
            frame = await reader.readexactly(size)
            assert frame.endswith(b"\r\n")
            assert json.loads(frame)["data"] == wanted
            assert await reader.readexactly(2) == b"\r\n"
        writer.close()
        async with asyncio.timeout(5):
            while served.hub._viewers:
                await asyncio.sleep(0.01)

    run(work)


def test_what_is_no_http_is_refused() -> None:
    async def work(served: Served) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"hello\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.close()

    assert run(work).startswith(b"HTTP/1.1 400 ")


def test_a_head_without_end_is_cut() -> None:
    async def work(served: Served) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        try:
            writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    assert run(work) == b""


def test_the_meaning_of_every_metric_is_told() -> None:
    _, _, body = get("/metrics")
    for name in re.findall(r"^# TYPE (\S+)", body, re.MULTILINE):
        assert re.search(rf"^# HELP {name} \S", body, re.MULTILINE), name

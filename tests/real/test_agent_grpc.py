"""The agent's side of CoreRPC: who is asked, as whom, and what becomes of errors."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest
from recording_core_kit import recording_core
from toy_service_kit import serving

from backends.real.agent.core_client import CoreError, CoreUnreachable, NodeFacts, WorkloadStatus
from backends.real.agent.grpc_core import GrpcCore
from backends.real.service.pb import corerpc_pb2
from backends.real.service.server import Tls

pb: Any = corerpc_pb2

Ask = Callable[[GrpcCore], Coroutine[Any, Any, Any]]


def ask(work: Ask, *endpoints: str, timeout_s: float = 5, **options: Any) -> Any:
    async def main() -> Any:
        core = GrpcCore(endpoints, timeout_s=timeout_s, **options)
        try:
            return await work(core)
        finally:
            await core.close()

    return asyncio.run(main())


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_the_calls() -> None:
    status = WorkloadStatus(
        workload_id="w", running=True, healthy=True, networks={"net": "10.0.0.1"}, extension=b'{"a":"b"}', app="web",
        entrypoint="http", node="n1",
    )  # fmt: skip

    async def work(core: GrpcCore) -> None:
        assert await core.identifier() == "core-1"
        assert await core.node("n1") == NodeFacts(name="n1", endpoint="tcp://10.1.1.1:2375", pool="p")
        await core.set_node_status("n1", 180)
        await core.set_node_status("n1", -1)
        await core.set_workloads_status([status])

    with recording_core() as core:
        ask(work, core.address)
        assert [(node, ttl) for _, node, ttl in core.beats] == [("n1", 180), ("n1", -1)]
        (report,) = core.reports
        found = report.status
        assert (found.id, found.running, found.healthy, found.ttl) == ("w", True, True, 0)
        assert (dict(found.networks), found.extension) == ({"net": "10.0.0.1"}, b'{"a":"b"}')
        assert (found.appname, found.entrypoint, found.nodename) == ("web", "http", "n1")


def test_an_unknown_node_is_an_error_of_the_core() -> None:
    with recording_core() as core, pytest.raises(CoreError, match="node n2: not found") as refused:
        ask(lambda client: client.node("n2"), core.address)
    assert not isinstance(refused.value, CoreUnreachable)


def test_user_and_password_are_metadata_as_eru_has_them() -> None:
    with recording_core(user=("admin", "secret")) as core:
        assert ask(lambda client: client.identifier(), core.address, username="Admin", password="secret") == "core-1"
        with pytest.raises(CoreError, match="who are you"):
            ask(lambda client: client.identifier(), core.address, username="admin", password="wrong")


def test_a_token_by_mutual_tls_lets_into_our_own_server(certificates: Path) -> None:
    async def info(request: Any, call: Any) -> Any:
        return pb.CoreInfo(identifier="core-1")

    def read(name: str) -> bytes:
        return (certificates / name).read_bytes()

    tls = Tls(
        certificate=str(certificates / "server.pem"), key=str(certificates / "server.key"),
        client_ca=str(certificates / "ca.pem"),
    )  # fmt: skip
    with_certificate = grpc.ssl_channel_credentials(read("ca.pem"), read("client.key"), read("client.pem"))
    without = grpc.ssl_channel_credentials(read("ca.pem"))

    async def main() -> None:
        async with serving(methods={"Info": info}, tls=tls, tokens={"agent": "secret"}) as server:
            client = GrpcCore([server.address], timeout_s=5, token="secret", credentials=with_certificate)
            assert await client.identifier() == "core-1"
            await client.close()
            client = GrpcCore([server.address], timeout_s=5, token="wrong", credentials=with_certificate)
            with pytest.raises(CoreError) as refused:
                await client.identifier()
            assert not isinstance(refused.value, CoreUnreachable)
            await client.close()
            for credentials in (without, None):
                client = GrpcCore([server.address], timeout_s=2, token="secret", credentials=credentials)
                with pytest.raises(CoreUnreachable):
                    await client.identifier()
                await client.close()

    asyncio.run(main())


def test_nobody_there_is_unreachable() -> None:
    address = nowhere()
    with pytest.raises(CoreUnreachable, match=address):
        ask(lambda client: client.identifier(), address)


def test_another_endpoint_is_asked_when_one_does_not_answer() -> None:
    async def work(client: GrpcCore) -> list[str]:
        return [await client.identifier() for _ in range(3)]

    with recording_core() as core:
        assert ask(work, nowhere(), core.address, nowhere()) == ["core-1"] * 3


def test_a_core_that_is_silent_costs_no_more_than_the_timeout() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        began = time.monotonic()
        with pytest.raises(CoreUnreachable):
            ask(lambda client: client.identifier(), f"127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.5)
        assert time.monotonic() - began < 3


def test_a_unix_socket_is_an_endpoint(tmp_path: Any) -> None:
    with recording_core(f"unix:{tmp_path}/core.sock") as core:
        assert ask(lambda client: client.identifier(), core.address) == "core-1"

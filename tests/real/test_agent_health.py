"""Probes against real sockets, and addresses out of files of Linux."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from agent_kit import ScriptedEngine

from backends.real.agent.addresses import inner_address, probe_address, reported_networks
from backends.real.agent.health import Health, Prober
from backends.real.engines.base import Instance
from backends.real.template import HealthCheck


def at(network: str = "net", address: str = "127.0.0.1", pid: int = 0) -> Instance:
    return Instance(
        workload_id="w", generation=1, state="running", engine_id="i", name="w.g1", networks={network: address}, pid=pid
    )


@asynccontextmanager
async def answering(head: bytes, *, after_s: float = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port at which every request gets this answer; and the requests."""
    asked: list[bytes] = []
    open_now: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(asyncio.current_task())
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            await asyncio.sleep(after_s)
            writer.write(head)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            open_now.discard(asyncio.current_task())

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        while open_now:
            await asyncio.sleep(0.01)


def http_fault(head: bytes, *, path: str = "/", code: int = 0, timeout_s: float = 5, after_s: float = 0) -> str:
    async def main() -> str:
        async with answering(head, after_s=after_s) as (port, asked):
            prober = Prober(ScriptedEngine(), timeout_s=timeout_s)  # type: ignore[arg-type]
            fault = await prober.fault(at(), HealthCheck(http_port=port, http_path=path, http_code=code))
            assert asked[0].startswith(b"GET /")
            return fault

    return asyncio.run(main())


def status(code: int) -> bytes:
    return f"HTTP/1.1 {code} Whatever\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("code", "wanted", "is_healthy"),
    [
        (200, 0, True), (204, 0, True), (301, 0, True), (404, 0, True), (499, 0, True),
        (500, 0, False), (503, 0, False), (199, 0, False),
        (200, 200, True), (204, 200, False), (404, 404, True), (500, 500, True),
    ],
)  # fmt: skip
def test_check_5_http_codes(code: int, wanted: int, is_healthy: bool) -> None:
    fault = http_fault(status(code), code=wanted)
    assert fault == "" if is_healthy else fault.endswith(f": status {code}")


def test_a_path_is_asked_for_as_it_is_but_cannot_break_the_request() -> None:
    async def main() -> bytes:
        async with answering(status(200)) as (port, asked):
            check = HealthCheck(http_port=port, http_path="/up?deep=1&x=%20 y\r\nEvil: 1")
            await Prober(ScriptedEngine(), timeout_s=5).fault(at(), check)  # type: ignore[arg-type]
            return asked[0]

    assert asyncio.run(main()).split(b"\r\n")[0] == b"GET /up?deep=1&x=%20%20y%0D%0AEvil:%201 HTTP/1.1"


def test_an_answer_that_does_not_come_in_time_is_none() -> None:
    assert "no answer within 0.1 s" in http_fault(status(200), timeout_s=0.1, after_s=1)


def test_an_answer_that_is_no_http_is_none() -> None:
    assert "not HTTP" in http_fault(b"SSH-2.0-x\r\n")
    assert "not HTTP" in http_fault(b"")


def test_check_5_tcp_ports_must_all_be_open() -> None:
    async def main() -> tuple[str, str]:
        async with answering(b"") as (port, _), answering(b"") as (other, _):
            pass
        async with answering(b"") as (port, _):
            prober = Prober(ScriptedEngine(), timeout_s=5)  # type: ignore[arg-type]
            return (
                await prober.fault(at(), HealthCheck(tcp_ports=(port,))),
                await prober.fault(at(), HealthCheck(tcp_ports=(port, other))),
            )

    good, bad = asyncio.run(main())
    assert good == ""
    assert bad.startswith("tcp port ")
    assert bad.endswith(": connection refused")


def test_a_workload_without_an_address_cannot_be_asked() -> None:
    async def main() -> str:
        prober = Prober(ScriptedEngine(), timeout_s=5)  # type: ignore[arg-type]
        return await prober.fault(at("none", ""), HealthCheck(tcp_ports=(1,)))

    assert asyncio.run(main()) == "tcp port 1: the workload has no address"


def command_fault(code: int | None, *, hangs: bool = False, is_silent: bool = False) -> str:
    async def main() -> str:
        engine = ScriptedEngine()
        engine.exec_codes[("check", "it")] = code or 0
        engine.exec_hangs, engine.is_silent = hangs, is_silent
        prober = Prober(engine, timeout_s=0.2)  # type: ignore[arg-type]
        return await prober.fault(at(), HealthCheck(command=("check", "it")))

    return asyncio.run(main())


def test_a_command_passes_by_its_exit_code() -> None:
    assert command_fault(0) == ""
    assert command_fault(3) == "command: exit code 3"
    assert command_fault(0, hangs=True) == "command: no answer within 0.2 s"
    assert command_fault(0, is_silent=True) == "command: the engine is silent"


def test_everything_is_asked_at_once_and_must_pass() -> None:
    async def main() -> tuple[str, float]:
        engine = ScriptedEngine()
        engine.exec_codes[("ok",)] = 0
        async with answering(status(200), after_s=0.3) as (port, _):
            check = HealthCheck(http_port=port, tcp_ports=(port,), command=("ok",))
            began = asyncio.get_running_loop().time()
            fault = await Prober(engine, timeout_s=0.6).fault(at(), check)  # type: ignore[arg-type]
            return fault, asyncio.get_running_loop().time() - began

    fault, seconds = asyncio.run(main())
    assert fault == ""
    assert seconds < 0.6


def test_the_first_answer_counts_alone_and_then_those_in_a_row() -> None:
    check = HealthCheck(failure_threshold=2, success_threshold=3)
    health = Health()
    answers = [True, False, True, False, False, True, True, False, True, True, True]
    assert [health.observe(answer, check) for answer in answers] == [
        True, True, True, True, False, False, False, False, False, False, True,
    ]  # fmt: skip
    assert Health.of_start().observe(True, check) is False


# -- addresses ---------------------------------------------------------------------------------------------------------

ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.88.0.0/24 2 0 2
        |-- 10.88.0.0
           /24 link UNICAST
        |-- 10.88.0.7
           /32 host LOCAL
        |-- 10.88.0.255
           /32 link BROADCAST
     |-- 10.1.2.3
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
"""


def namespace(proc: Path, *, routes: str = "", trie: str = TRIE, inet6: str = "") -> Path:
    net = proc / "42" / "net"
    net.mkdir(parents=True)
    (net / "route").write_text(ROUTE_HEAD + routes)
    (net / "fib_trie").write_text(trie)
    (net / "if_inet6").write_text(inet6)
    return proc


def test_the_inner_address_is_that_of_eth0_s_network(tmp_path: Path) -> None:
    routes = (
        "eth0\t00000000\t0100580A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert inner_address(42, proc=namespace(tmp_path, routes=routes)) == "10.88.0.7"


def test_with_a_default_route_alone_any_address_will_do(tmp_path: Path) -> None:
    routes = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    assert inner_address(42, proc=namespace(tmp_path, routes=routes)) == "10.88.0.7"


def test_another_interface_does_not_count(tmp_path: Path) -> None:
    routes = "eth1\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    assert inner_address(42, proc=namespace(tmp_path, routes=routes)) == ""


def test_without_ipv4_it_is_the_global_address_of_ipv6(tmp_path: Path) -> None:
    inet6 = (
        "fe800000000000000000000000000001 02 40 20 80     eth0\nfd000000000000000000000000000007 02 40 00 80     eth0\n"
    )
    assert inner_address(42, proc=namespace(tmp_path, trie="", inet6=inet6)) == "fd00::7"


def test_a_process_that_is_gone_has_no_address(tmp_path: Path) -> None:
    assert inner_address(42, proc=tmp_path) == ""
    assert inner_address(0) == ""


def test_this_machine_s_files_can_be_read() -> None:
    assert isinstance(inner_address(os.getpid()), str)


def test_where_a_workload_is_asked_and_what_is_reported(tmp_path: Path) -> None:
    routes = "eth0\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    proc = namespace(tmp_path, routes=routes)
    on_host, on_cni, on_net = at("host", ""), at("none", "", pid=42), at("net", "10.0.0.9")
    assert [probe_address(one, proc=proc) for one in (on_host, on_cni, on_net)] == [
        "127.0.0.1", "10.88.0.7", "10.0.0.9",
    ]  # fmt: skip
    assert [reported_networks(one, "10.1.1.1", proc=proc) for one in (on_host, on_cni, on_net)] == [
        {"host": "10.1.1.1"}, {"none": "10.88.0.7"}, {"net": "10.0.0.9"},
    ]  # fmt: skip

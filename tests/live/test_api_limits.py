"""`eru.v1`: who is let in, how much, what is carried out once, and what nobody can break."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from api_kit import Api, serving, spec, status_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_kit import machines
from structlog.testing import capture_logs

from backends.real.cluster import ClusterOptions
from backends.real.driver import DriverOptions
from backends.real.service.calls import CallLimits
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.pb.eru_v1_pb2_grpc import EruStub
from backends.real.service.server import ServerOptions, Tls
from backends.real.statuses import WorkloadStatus
from scheduler.invariants import check

Code = grpc.StatusCode
METHODS = list(pb.DESCRIPTOR.services_by_name["Eru"].methods)


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


# -- who --------------------------------------------------------------------------------------------------------------


def test_only_who_is_known_is_let_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = ServerOptions(bind="127.0.0.1:0", users={"ann": "pass"}, tokens={"ci": "t0"})
        async with serving(tmp_path, server_options=options) as api:
            info = api.stub.GetInfo
            assert (await status_of(info(pb.GetInfoRequest())))[0] is Code.UNAUTHENTICATED
            for metadata in ((("ann", "pass"),), (("authorization", "Bearer t0"),)):
                assert (await status_of(info(pb.GetInfoRequest(), metadata=metadata)))[0] is Code.OK
            wrong = info(pb.GetInfoRequest(), metadata=(("ann", "t0"),))
            assert (await status_of(wrong))[0] is Code.UNAUTHENTICATED

    run(scenario())


def test_mutual_tls(tmp_path: Path) -> None:
    for name in ("ca", "other"):
        _openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out",
                 f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")  # fmt: skip
    (tmp_path / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        _openssl(tmp_path, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                 "-subj", f"/CN={name}")  # fmt: skip
        sign = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", "san")
        _openssl(tmp_path, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2", *sign)

    def channel(name: str) -> Any:
        def make(address: str) -> grpc.aio.Channel:
            read = (tmp_path / "ca.pem").read_bytes()
            key = (tmp_path / f"{name}.key").read_bytes() if name else None
            certificate = (tmp_path / f"{name}.pem").read_bytes() if name else None
            return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(read, key, certificate))

        return make

    async def scenario() -> None:
        files = {name: str(tmp_path / file) for name, file in (("certificate", "server.pem"), ("key", "server.key"))}
        tls = Tls(**files, client_ca=str(tmp_path / "ca.pem"))
        options = ServerOptions(bind="127.0.0.1:0", tls=tls)
        async with serving(tmp_path / "data", server_options=options, channel=channel("client")) as api:
            assert (await status_of(api.stub.GetInfo(pb.GetInfoRequest())))[0] is Code.OK
            for other in (channel("stranger"), channel(""), grpc.aio.insecure_channel):
                stranger: Any = EruStub(other(api.server.address))
                assert (await status_of(stranger.GetInfo(pb.GetInfoRequest())))[0] is Code.UNAVAILABLE

    run(scenario())


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


# -- how much ---------------------------------------------------------------------------------------------------------


def test_a_client_that_asks_too_often_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = CallLimits(calls_per_second=1, calls_burst=5)
        async with serving(tmp_path, server_options=ServerOptions(bind="127.0.0.1:0", limits=limits)) as api:
            codes = [(await status_of(api.stub.GetInfo(pb.GetInfoRequest())))[0] for _ in range(9)]
            assert codes[:5] == [Code.OK] * 5
            assert Code.RESOURCE_EXHAUSTED in codes[5:]

    run(scenario())


def test_a_full_inbox_is_told_and_nothing_has_happened(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = ClusterOptions(driver=DriverOptions(inbox_max=4))
        async with serving(tmp_path, nodes=0, options=options) as api:
            api.cluster.driver.options = DriverOptions(inbox_max=2, busy_events=1, gather_ns=200_000_000)
            asked = [pb.SubmitRequest(spec=spec(f"w{n}"), idempotency_key=f"k{n}") for n in range(100)]
            codes = [code for code, _ in await asyncio.gather(*(status_of(api.stub.Submit(one)) for one in asked))]
            assert set(codes) == {Code.OK, Code.RESOURCE_EXHAUSTED}
            assert len(api.cluster.core.workloads) == codes.count(Code.OK)
            api.cluster.driver.options = DriverOptions()
            for one, code in zip(asked, codes, strict=True):
                again = await api.stub.Submit(one)
                assert again.operation_id
                del code
            assert len(api.cluster.core.workloads) == 100
            pools = [pb.AddPoolRequest(name=f"p{n}") for n in range(30)]
            api.cluster.driver.options = DriverOptions(inbox_max=1)
            codes = [code for code, _ in await asyncio.gather(*(status_of(api.stub.AddPool(one)) for one in pools))]
            assert len(api.cluster.pools) == 1 + codes.count(Code.OK)

    run(scenario())


def test_a_watcher_that_falls_behind_is_cut_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, eru_options=EruOptions(feed_items=10)) as api:
            await api.deploy("w")
            watch = api.stub.WatchWorkloadStatuses(pb.WatchWorkloadStatusesRequest())
            await asyncio.sleep(0.2)
            for number in range(20_000):
                status = WorkloadStatus(
                    workload_id="w/0", is_running=True, is_healthy=True, extension=b"x" * 2000 + str(number).encode()
                )
                api.cluster.workloads.set_status(status)
                if number % 5 == 0:
                    await asyncio.sleep(0)
            code, _ = await status_of(watch)
            assert code is Code.RESOURCE_EXHAUSTED
            assert (await status_of(api.stub.GetInfo(pb.GetInfoRequest())))[0] is Code.OK

    run(scenario())


# -- once -------------------------------------------------------------------------------------------------------------


def test_a_key_means_once_also_after_a_restart(tmp_path: Path) -> None:
    outliving = machines()

    async def ask(api: Api) -> list[Any]:
        stub = api.stub
        deploy = pb.DeployRequest(spec=spec("", 2, template=pb.Template(env=["A=1"])), idempotency_key="deploy")
        found = [await stub.Deploy(deploy)]
        await api.results(found[0])
        found.append(await stub.AddPool(pb.AddPoolRequest(name="other", idempotency_key="pool")))
        node = pb.AddNodeRequest(
            node_id="n7", pool="other", endpoint=pb.Endpoint(url="sim://?cpus=8"), is_test=True, idempotency_key="node"
        )
        found.append(await stub.AddNode(node))
        found.append(await stub.SetPolicy(pb.SetPolicyRequest(name="worst-fit", idempotency_key="policy")))
        ids = [f"{found[0].subjects[0]}/{copy}" for copy in range(2)]
        stop = pb.StopWorkloadsRequest(workload_ids=ids, idempotency_key="stop")
        stopped = await stub.StopWorkloads(stop)
        for operation in stopped.operations:
            assert [outcome for _, outcome in await api.results(operation)] == ["STOPPED"]
        found.append(stopped)
        return found

    def same(first: list[Any], second: list[Any]) -> None:
        assert first[0].operation_id == second[0].operation_id
        assert first[0].subjects == second[0].subjects
        assert first[1].name == second[1].name
        assert first[2:4] == second[2:4]
        assert [one.operation_id for one in first[4].operations] == [one.operation_id for one in second[4].operations]

    async def scenario() -> None:
        async with serving(tmp_path, machines=outliving) as api:
            first = await ask(api)
            batches = api.cluster.driver.journal.batches
            same(first, await ask(api))
            assert api.cluster.driver.journal.batches == batches
            assert len(api.cluster.core.workloads) == 2
            for wrong in (
                api.stub.AddPool(pb.AddPoolRequest(name="x", idempotency_key="pool")),
                api.stub.RemovePool(pb.RemovePoolRequest(name="other", idempotency_key="pool")),
            ):
                assert (await status_of(wrong))[0] is Code.FAILED_PRECONDITION
            long = api.stub.AddPool(pb.AddPoolRequest(name="x", idempotency_key="k" * 201))
            assert (await status_of(long))[0] is Code.INVALID_ARGUMENT
        async with serving(tmp_path, machines=outliving) as api:
            same(first, await ask(api))
            assert len(api.cluster.core.workloads) == 2
            assert api.cluster.driver.journal.batches == batches

    run(scenario())


def test_many_at_once_under_one_key_are_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            request = pb.SubmitRequest(spec=spec("", 1), idempotency_key="k")
            answers = await asyncio.gather(*(api.stub.Submit(request) for _ in range(20)))
            assert len({answer.operation_id for answer in answers}) == 1
            assert len(api.cluster.core.workloads) == 1
            refused = pb.AddNodeRequest(node_id="n9", pool="none", idempotency_key="n")
            assert (await status_of(api.stub.AddNode(refused)))[0] is Code.NOT_FOUND
            refused.pool = "pool"
            refused.endpoint.url = "sim://"
            assert (await status_of(api.stub.AddNode(refused)))[0] is Code.OK
            kept = await api.cluster.store.load("requests")
            assert sorted(kept) == ["k", "n"]

    run(scenario())


# -- what nobody can break --------------------------------------------------------------------------------------------


def _bytes_of(api: Api, method: Any) -> Any:
    """The method of a client that sends and takes bytes as they are."""
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary"}
    kind = kinds.get((method.client_streaming, method.server_streaming), "stream_stream")
    return getattr(api.channel, kind)(f"/eru.v1.Eru/{method.name}")


async def _messages(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.fixture(scope="module")
def garbage() -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(_FIELDS), max_size=6).map(b"".join))


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (2**64 - 1))
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


_SPEC = _field(1, b"w") + _field(6, b"pool") + _field(8, _field(1, b"cpu") + _field(2, b'{"cpu_request": 1}'))
_JSON = (
    b"[]",
    b'{"cpu_request": -1}',
    b'{"count": 1e300}',
    b'{"cores": {"0": -5}, "memory": "1G"}',
    b'{"cores": {"0": 7}}',
)
_VALUES: tuple[bytes | int, ...] = (
    *(b"", b"n0", b"w", b"w/0", b"pool", b"{}", b'{"x": [1e308, -1]}', b"\xff", b"/"),
    *(0, 1, -1, 2**62, 2**31 - 1, _SPEC, _field(1, _SPEC), _field(1, b"cpu") + _field(2, -(2**63))),
    *(_field(1, name) + _field(2, value) for name in (b"cpu", b"gpu", b"storage", b"affinity") for value in _JSON),
)
_FIELDS = [_field(number, value) for number in range(1, 23) for value in _VALUES]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_malformed_requests_have_an_answer_and_the_service_stays_up(
    tmp_path: Path, method: Any, garbage: st.SearchStrategy[bytes]
) -> None:
    loop = asyncio.new_event_loop()
    context = serving(tmp_path, engines=True)
    api = loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(api.deploy("w", 1))
    call = _bytes_of(api, method)

    async def send(messages: list[bytes]) -> None:
        stream = call(_messages(*messages), timeout=0.2) if method.client_streaming else call(messages[0], timeout=0.2)
        with capture_logs() as logs:
            code, details = await status_of(stream)
        # Where an answer comes before the client has said all, the client makes this of its own.
        assert code not in (Code.INTERNAL, Code.UNKNOWN) or details == "Internal error from Core", details
        assert [entry for entry in logs if entry["log_level"] == "error"] == []
        assert api.cluster.driver.failure is None
        assert check(api.cluster.core) is None

    async def is_up() -> bool:
        return (await status_of(api.stub.GetInfo(pb.GetInfoRequest())))[0] is Code.OK

    @settings(
        max_examples=20, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
    )
    @given(st.lists(garbage, min_size=1, max_size=4))
    def scenario(messages: list[bytes]) -> None:
        loop.run_until_complete(send(messages))

    try:
        scenario()
        assert loop.run_until_complete(is_up())
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()

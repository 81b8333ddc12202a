"""The server that all services share: who is let in, how much, how errors and slow readers end."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from node_client_kit import NodeClient, require_node
from structlog.testing import capture_logs
from toy_service_kit import ExpectedError, code_of, pb, run, serving

from backends.real.service.auth import Authenticator
from backends.real.service.calls import CallLimits, Last, ends_with_last
from backends.real.service.errors import CallError, Status, detail
from backends.real.service.limits import OpenCalls, TokenBuckets
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub
from backends.real.service.server import Server, ServerOptions, Tls, is_local
from backends.real.service.streams import Feed

PASSWORD = "correct horse"


def stub(server: Server, **options) -> CoreRPCStub:
    return CoreRPCStub(grpc.aio.insecure_channel(server.address, options=list(options.items())))


async def fail_expected(request, call):
    raise ExpectedError("no such\n thing")


async def fail_unexpected(request, call):
    raise KeyError("secret-of-the-house")


async def fail_after_one(request, call):
    yield pb.Node(name="one")
    raise ExpectedError("after one")


def test_the_node_client_sees_private_numbers_in_the_trailer():
    require_node()

    async def test():
        methods = {"GetPod": fail_expected, "ListPodNodes": fail_after_one}
        async with serving(methods=methods) as server, NodeClient(server.address) as node:
            assert (await node.status("GetPod", {"name": "x"}))[:2] == (10712, "GetPod: no such thing")
            call = node.open("ListPodNodes", {})
            assert [message["name"] for message in await call.rest()] == ["one"]
            assert call.status is not None
            assert call.status[:2] == (10712, "ListPodNodes: after one")
            assert (await node.status("Info"))[0] == 0

    run(test)


@pytest.mark.parametrize("number", [0x7FFFFFFF, 17, 999, 10713])
def test_any_number_reaches_the_node_client(number):
    require_node()

    async def fail(request, call):
        raise CallError(number, "naïve ☃")

    async def test():
        async with serving(methods={"GetPod": fail}) as server, NodeClient(server.address) as node:
            assert (await node.status("GetPod"))[:2] == (number, "naïve ☃")

    run(test)


def test_the_unexpected_is_internal_with_an_id_that_only_the_log_explains():
    async def test():
        async with serving(methods={"GetPod": fail_unexpected}) as server:
            with capture_logs() as logs:
                code, message = await code_of(stub(server).GetPod(pb.GetPodOptions(name="x")))
        assert code is grpc.StatusCode.INTERNAL
        assert "secret" not in message
        assert "Traceback" not in message
        (entry,) = logs
        assert entry["correlation_id"] in message
        assert entry["method"] == "/pb.CoreRPC/GetPod"
        assert isinstance(entry["exc_info"], KeyError)

    run(test)


def test_bytes_that_are_no_message_are_an_answer():
    require_node()

    async def test():
        async with serving() as server, NodeClient(server.address) as node:
            with capture_logs() as logs:
                status = await node.status("GetPod", raw="//8=")
        assert status[:2] == (Status.INVALID_ARGUMENT, "the message cannot be decoded")
        assert logs == []

    run(test)


def test_users_and_tokens_are_let_in_and_nobody_else():
    async def test():
        users, tokens = {"Admin": PASSWORD}, {"ci": "t0ken"}
        async with serving(users=users, tokens=tokens) as server:
            info = stub(server).Info
            good = [
                (("admin", PASSWORD),),
                (("authorization", "Bearer t0ken"),),
                (("authorization", "bearer t0ken"), ("admin", "wrong")),
            ]
            for metadata in good:
                assert (await code_of(info(pb.Empty(), metadata=metadata)))[0] is grpc.StatusCode.OK
            bad = [
                (),
                (("admin", "wrong"),),
                (("root", PASSWORD),),
                (("admin", ""),),
                (("admin", "t0ken"),),
                (("authorization", f"Bearer {PASSWORD}"),),
                (("authorization", "t0ken"),),
                (("authorization", "Basic t0ken"),),
            ]
            with capture_logs() as logs:
                for metadata in bad:
                    assert (await code_of(info(pb.Empty(), metadata=metadata)))[0] is grpc.StatusCode.UNAUTHENTICATED
            assert len(logs) == len(bad)
            assert PASSWORD not in str(logs)
            assert "t0ken" not in str(logs)

    run(test)


def test_the_node_client_logs_in_as_eru_s_clients_do():
    require_node()

    async def test():
        async with serving(users={"eru": PASSWORD}) as server:
            async with NodeClient(server.address, {"eru": PASSWORD}) as node:
                assert (await node.status("Info"))[0] == 0
            async with NodeClient(server.address, {"eru": "wrong"}) as node:
                assert (await node.status("Info"))[0] == Status.UNAUTHENTICATED

    run(test)


def test_guessing_is_stopped_even_when_the_guess_is_right():
    async def test():
        async with serving(users={"admin": PASSWORD}) as server:
            info = stub(server).Info
            with capture_logs():
                for number in range(20):
                    await code_of(info(pb.Empty(), metadata=(("admin", str(number)),)))
            code, _ = await code_of(info(pb.Empty(), metadata=(("admin", PASSWORD),)))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(test)


def test_health_needs_no_password_and_reflection_does():
    async def test():
        async with serving(users={"admin": PASSWORD}) as server:
            channel = grpc.aio.insecure_channel(server.address)
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", "pb.CoreRPC"):
                assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == 1
            watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
            assert (await watch.read()).status == 1
            missing = await code_of(health.Check(health_pb2.HealthCheckRequest(service="x")))
            assert missing[0] is grpc.StatusCode.NOT_FOUND
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            ask = reflection_pb2.ServerReflectionRequest(list_services="")
            with capture_logs():
                stranger = await code_of(reflection.ServerReflectionInfo(iter([ask])))
            assert stranger[0] is grpc.StatusCode.UNAUTHENTICATED
            call = reflection.ServerReflectionInfo(iter([ask]), metadata=(("admin", PASSWORD),))
            names = {one.name for one in (await call.read()).list_services_response.service}
            assert "pb.CoreRPC" in names
            watch.cancel()

    run(test)


def test_tls_and_mutual_tls(certificates):
    require_node()
    clients = []

    async def who(request, call):
        clients.append(call.client)
        return pb.Pod()

    async def test():
        tls = {"certificate": str(certificates / "server.pem"), "key": str(certificates / "server.key")}
        ca = str(certificates / "ca.pem")
        own = {"certificate": str(certificates / "client.pem"), "key": str(certificates / "client.key")}
        async with (
            serving(methods={"GetPod": who}, tls=Tls(**tls)) as server,
            NodeClient(server.address, ca=ca) as node,
            NodeClient(server.address) as plain,
        ):
            assert (await node.status("GetPod"))[0] == 0
            assert (await plain.status("GetPod"))[0] == Status.UNAVAILABLE
        async with (
            serving(methods={"GetPod": who}, tls=Tls(**tls, client_ca=ca)) as server,
            NodeClient(server.address, ca=ca, **own) as node,
            NodeClient(server.address, ca=ca) as stranger,
        ):
            assert (await node.status("GetPod"))[0] == 0
            assert (await stranger.status("GetPod", deadline_ms=3000))[0] in (
                Status.UNAVAILABLE,
                Status.DEADLINE_EXCEEDED,
            )
        assert clients == ["host:127.0.0.1", "certificate:alice"]

    run(test)


def test_calls_a_second_and_calls_at_a_time_are_bounded():
    async def wait(request, call):
        await asyncio.sleep(60)
        yield pb.Node()

    async def test():
        limits = CallLimits(calls_per_second=0.01, calls_burst=3)
        async with serving(limits) as server:
            codes = [(await code_of(stub(server).Info(pb.Empty())))[0] for _ in range(5)]
            assert codes == [grpc.StatusCode.OK] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        limits = CallLimits(client_calls=2)
        async with serving(limits, methods={"ListPodNodes": wait}) as server:
            client = stub(server)
            held = [client.ListPodNodes(pb.ListNodesOptions()) for _ in range(2)]
            readers = [asyncio.create_task(code_of(call)) for call in held]
            while server.open_calls < 2:
                await asyncio.sleep(0.01)
            code, message = await code_of(client.Info(pb.Empty()))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "under way" in message
            held[0].cancel()
            while server.open_calls > 1:
                await asyncio.sleep(0.01)
            assert (await code_of(client.Info(pb.Empty())))[0] is grpc.StatusCode.OK
            held[1].cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    run(test)


def test_more_calls_at_once_than_the_runtime_lets_wait_are_all_answered():
    async def test():
        limits = CallLimits(calls_per_second=0, client_calls=0)
        async with serving(limits, connection_calls=2000) as server:
            codes = await asyncio.gather(*(code_of(stub(server).Info(pb.Empty())) for _ in range(2000)))
            assert {code for code, _ in codes} == {grpc.StatusCode.OK}

    run(test)


def test_a_stream_that_knows_its_end_sends_the_last_message_with_the_status():
    @ends_with_last
    async def two(request, call):
        yield pb.Node(name="one")
        yield Last(pb.Node(name="two"))

    @ends_with_last
    async def one(request, call):
        yield Last(pb.NodeResource(name="one"))

    @ends_with_last
    async def fails(request, call):
        yield pb.ListImageMessage(nodename="one")
        raise ExpectedError("then nothing")

    @ends_with_last
    async def forgets(request, call):
        yield pb.CacheImageMessage(message="one")

    async def test():
        methods = {"ListPodNodes": two, "GetPodResource": one, "ListImage": fails, "CacheImage": forgets}
        async with serving(methods=methods) as server:
            client = stub(server)
            assert [node.name async for node in client.ListPodNodes(pb.ListNodesOptions())] == ["one", "two"]
            assert [node.name async for node in client.GetPodResource(pb.GetPodOptions())] == ["one"]
            failed = client.ListImage(pb.ListImageOptions())
            assert (await failed.read()).nodename == "one"
            assert (await code_of(failed))[1] == "ListImage: then nothing"
            with capture_logs() as logs:
                assert (await code_of(client.CacheImage(pb.CacheImageOptions())))[0] is grpc.StatusCode.INTERNAL
            assert len(logs) == 1
            while server.open_calls:
                await asyncio.sleep(0.01)

    run(test)


def test_messages_are_bounded():
    async def test():
        async with serving(message_bytes=1000) as server:
            code, _ = await code_of(stub(server).GetPod(pb.GetPodOptions(name="x" * 2000)))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (await code_of(stub(server).GetPod(pb.GetPodOptions(name="x" * 500))))[0] is grpc.StatusCode.OK

    run(test)


def test_deadlines_of_the_client_and_of_the_server_end_the_handler():
    ended = []

    async def slow(request, call):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(request.name)

    async def test():
        async with serving(CallLimits(answer_seconds=0.2), methods={"GetPod": slow}) as server:
            call = stub(server).GetPod(pb.GetPodOptions(name="server's"))
            assert (await code_of(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            call = stub(server).GetPod(pb.GetPodOptions(name="client's"), timeout=0.1)
            assert (await code_of(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            while server.open_calls:
                await asyncio.sleep(0.01)
            assert ended == ["server's", "client's"]

    run(test)


def test_a_client_that_says_nothing_is_not_waited_for():
    async def echo(requests, call):
        async for _ in requests:
            yield pb.SendMessage()

    async def test():
        limits = CallLimits(first_message_seconds=0.2, idle_seconds=0.4)
        async with serving(limits, methods={"SendLargeFile": echo}) as server:
            silent = stub(server).SendLargeFile()
            assert (await code_of(silent))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            begun = stub(server).SendLargeFile()
            await begun.write(pb.FileOptions())
            await begun.read()
            assert (await code_of(begun))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            assert server.open_calls == 0

    run(test)


def test_a_reader_that_does_not_keep_up_is_cut_and_the_others_are_not():
    require_node()
    ended = []

    async def flood(request, call):
        try:
            for number in range(1000):
                yield pb.Node(name=str(number), info="x" * 100_000)
        finally:
            ended.append(request.podname)

    async def test():
        async with (
            serving(CallLimits(write_seconds=0.5), methods={"ListPodNodes": flood}) as server,
            NodeClient(server.address) as node,
        ):
            stuck = node.open("ListPodNodes", {"podname": "stuck"}, paused=True)
            while not ended:
                await asyncio.sleep(0.05)
            assert ended == ["stuck"]
            stuck.tell("resume")
            assert 0 < len(await stuck.rest()) < 1000
            assert stuck.status is not None
            assert stuck.status[:2] == (Status.RESOURCE_EXHAUSTED, "the reader does not keep up")
            assert len(await node.all("ListPodNodes", {"podname": "quick"})) == 1000

    run(test)


def test_a_feed_that_overflows_cuts_its_call_while_a_write_waits():
    require_node()
    feeds = []

    async def watch(request, call):
        call.is_watch = True
        feed = Feed(10, call.cut)
        feeds.append(feed)
        async for item in feed:
            yield item

    async def test():
        async with (
            serving(methods={"NodeStatusStream": watch}) as server,
            NodeClient(server.address) as node,
        ):
            call = node.open("NodeStatusStream", {}, paused=True)
            while not feeds:
                await asyncio.sleep(0.01)
            big = pb.NodeStatusStreamMessage(nodename="n", error="x" * 1_000_000)
            offered = 0
            while feeds[0].offer(big):
                offered += 1
                await asyncio.sleep(0.01)
                assert offered < 100
            while server.open_calls:
                await asyncio.sleep(0.01)
            call.tell("resume")
            await call.rest()
            assert call.status is not None
            assert call.status[:2] == (Status.RESOURCE_EXHAUSTED, "the reader fell behind by 10 messages")

    run(test)


def test_a_stop_ends_watches_at_once_and_lets_work_finish():
    async def watch(request, call):
        call.is_watch = True
        yield pb.ServiceStatus()
        await asyncio.sleep(60)

    async def work(request, call):
        await asyncio.sleep(0.5)
        return pb.Pod(name="done")

    async def test():
        methods = {"WatchServiceStatus": watch, "GetPod": work}
        async with serving(methods=methods) as server:
            client = stub(server)
            watching = client.WatchServiceStatus(pb.Empty())
            await watching.read()
            working = client.GetPod(pb.GetPodOptions())
            while server.open_calls < 2:
                await asyncio.sleep(0.01)
            await server.stop(20.0)
            assert (await code_of(watching))[0] is grpc.StatusCode.UNAVAILABLE
            assert (await working).name == "done"

    run(test, 15.0)


@pytest.mark.parametrize("is_tls", [False, True])
def test_bytes_that_are_no_call_at_all_harm_nobody(certificates, is_tls):
    async def test():
        tls = Tls(certificate=str(certificates / "server.pem"), key=str(certificates / "server.key"))
        async with serving(tls=tls if is_tls else None) as server:
            host, port = server.address.split(":")
            garbage = [
                b"\x00" * 100,
                b"GET / HTTP/1.1\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
                b"",
            ]
            for data in garbage * 5:
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(data)
                await writer.drain()
                writer.write_eof()
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await asyncio.wait_for(reader.read(), 1.0)
                writer.close()
            ca = grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes())
            channel = grpc.aio.secure_channel if is_tls else grpc.aio.insecure_channel
            arguments = (server.address, ca) if is_tls else (server.address,)
            assert (await code_of(CoreRPCStub(channel(*arguments)).Info(pb.Empty())))[0] is grpc.StatusCode.OK

    run(test)


def test_two_servers_do_not_share_a_port():
    async def test():
        async with serving() as server:
            other = Server(ServerOptions(bind=server.address), [])
            with pytest.raises(OSError, match="cannot listen"):
                await other.start()

    run(test)


def test_an_open_server_serves_this_machine_only():
    with pytest.raises(ValueError, match="can be reached by others"):
        Server(ServerOptions(bind="0.0.0.0:0"), [])
    Server(ServerOptions(bind="0.0.0.0:0", tokens={"ci": "x"}), [])
    Server(ServerOptions(bind="0.0.0.0:0", is_open=True), [])
    assert is_local("localhost:1")
    assert is_local("[::1]:1")
    assert is_local("unix:/run/eru.sock")
    assert not is_local("[::]:1")
    assert not is_local("example:1")


@pytest.mark.parametrize("name", ["authorization", "grpc-x", "x-bin", "a b", "ü", "", "Host"])
def test_a_user_is_a_metadata_key(name):
    with pytest.raises(ValueError, match="users"):
        Authenticator({name: "x"}, {})


def test_an_empty_secret_is_none():
    with pytest.raises(ValueError, match="empty"):
        Authenticator({"a": ""}, {})
    with pytest.raises(ValueError, match="empty"):
        Authenticator({}, {"a": ""})


def test_buckets_refill_and_are_forgotten():
    now = [0.0]
    buckets = TokenBuckets(2.0, 4.0, lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [True] * 4 + [False]
    assert buckets.take("b")
    now[0] = 1.0
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    for number in range(5000):
        buckets.take(str(number))
    assert len(buckets._buckets) == 4096
    assert TokenBuckets(0.0, 1.0, lambda: 0.0).take("a")


def test_open_calls_are_given_back():
    calls = OpenCalls(2, 3)
    for client in ("a", "a", "b"):
        calls.enter(client)
    with pytest.raises(CallError, match="of this client"):
        calls.enter("a")
    with pytest.raises(CallError, match="too many"):
        calls.enter("b")
    for client in ("a", "a", "b"):
        calls.leave(client)
    assert (calls.total, calls._by_client) == (0, {})


@given(st.text(max_size=5000))
def test_details_are_one_short_line_that_can_be_sent(message):
    line = detail(message)
    assert "\n" not in line
    assert len(line.encode()) <= 2003
    if len(message) < 100 and message.isascii() and message.isprintable():
        assert line == " ".join(message.split())

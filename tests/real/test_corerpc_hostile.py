"""Hostile clients of Eru's wire: any message to any method, slow readers, and very many of them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import pytest
from corerpc_kit import all_of, options, pb, world
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_client_kit import NodeClient, require_node
from structlog.testing import capture_logs
from toy_service_kit import code_of, run

from backends.real.liveness import NodeStatus
from backends.real.service.calls import CallLimits
from backends.real.service.errors import Status
from backends.real.statuses import WorkloadStatus
from scheduler.invariants import check

pytestmark = pytest.mark.long

METHODS = pb.DESCRIPTOR.services_by_name["CoreRPC"].methods
WATCHES = {"WatchServiceStatus", "NodeStatusStream", "WorkloadStatusStream"}
KNOWN = ["n0", "pod", "app", "web", "app_web_x/0", "busybox", "mem://", "start", "/etc/x", "cpumem", "storage", "1G"]
TEXT = st.sampled_from(KNOWN) | st.text(max_size=8)
JSON = st.sampled_from(
    [b"", b"{}", b"[]", b"{", b'{"cpu-request": 1}', b'{"cpu": -1}', b'{"volumes": ["AUTO:/x:rw:1G"]}', b"\x80"]
)
SCALARS = {
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: JSON | st.binary(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]),
    FieldDescriptor.TYPE_INT64: st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]),
    FieldDescriptor.TYPE_ENUM: st.sampled_from([0, 1, 2, 3, 4, 99, -1, 12345]),
}


def messages(descriptor):
    """Any message of the type, mostly of values that mean something."""
    kind = getattr(pb, descriptor.name)
    return st.fixed_dictionaries({}, optional={field.name: _value(field) for field in descriptor.fields}).map(
        lambda fields: kind(**fields)
    )


def _value(field):
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return st.dictionaries(_one(message.fields_by_name["key"]), _one(message.fields_by_name["value"]), max_size=2)
    return st.lists(_one(field), max_size=2) if field.is_repeated else _one(field)


def _one(field):
    return messages(field.message_type) if field.message_type is not None else SCALARS[field.type]


GONE_AHEAD = "Internal error from Core"
"""What Python's client says of itself where a call has ended while it was still writing."""

CALLS = st.sampled_from([method for method in METHODS if method.name not in WATCHES]).flatmap(
    lambda method: st.tuples(st.just(method), st.lists(messages(method.input_type), min_size=1, max_size=3))
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(calls=st.lists(CALLS, min_size=10, max_size=40))
def test_any_message_to_any_method_is_answered_and_breaks_nothing(tmp_path_factory, calls):
    async def test():
        async with world(tmp_path_factory.mktemp("hostile")) as w:
            workload_id = await w.one()
            with capture_logs() as logs:
                for method, sent in calls:
                    start = getattr(w.stub, method.name)
                    for message in sent:
                        for name in ("id", "workload_id", "target", "exist_id"):
                            if getattr(message, name, None) == "app_web_x/0":
                                setattr(message, name, workload_id)
                    answer = start(iter(sent), timeout=5) if method.client_streaming else start(sent[0], timeout=5)
                    code, why = await code_of(answer)
                    if why == GONE_AHEAD:
                        continue
                    assert code is not grpc.StatusCode.INTERNAL, (method.name, sent, why)
                    assert "\n" not in why
            bugs = [entry for entry in logs if entry["log_level"] == "error"]
            assert bugs == []
            assert check(w.cluster.core) is None
            assert w.cluster.driver.failure is None

    run(test, 120.0)


def watched(cluster, offset=0, count=1, size=0):
    """Statuses as agents would send them."""
    for number in range(offset, offset + count):
        cluster.statuses.set(
            WorkloadStatus(
                workload_id=f"ghost-{number}",
                is_running=True,
                is_healthy=True,
                app="app",
                entrypoint="web",
                node_id="n0",
                extension=b"x" * size,
            )
        )


def test_a_watcher_that_does_not_read_is_cut_and_the_others_see_everything(tmp_path):
    require_node()

    async def test():
        async with (
            world(tmp_path, feed_items=50) as w,
            NodeClient(w.server.address) as node,
        ):
            stuck = node.open("WorkloadStatusStream", {}, paused=True)
            quick = w.stub.WorkloadStatusStream(pb.WorkloadStatusStreamOptions())
            seen = []

            async def read():
                async for message in quick:
                    seen.append(message.id)  # noqa: PERF401 (seen as it comes)

            reader = asyncio.create_task(read())
            while w.server.open_calls < 2:
                await asyncio.sleep(0.01)
            sent = 0
            while w.server.open_calls == 2:
                watched(w.cluster, sent, 1, 100_000)
                sent += 1
                await asyncio.sleep(0.005)
                assert sent < 2000
            while len(seen) < sent:
                await asyncio.sleep(0.01)
            assert seen == [f"ghost-{number}" for number in range(sent)]
            stuck.tell("resume")
            await stuck.rest()
            assert stuck.status is not None
            assert stuck.status.code == Status.RESOURCE_EXHAUSTED
            quick.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    run(test)


def test_a_listing_that_is_not_read_holds_up_nobody(tmp_path):
    require_node()

    async def test():
        async with (
            world(tmp_path, limits=CallLimits(write_seconds=0.5)) as w,
            NodeClient(w.server.address) as node,
        ):
            await w.deploy(count=40, env=[f"BIG={'x' * 100_000}"])
            stuck = node.open("ListWorkloads", {}, paused=True)
            while w.server.open_calls == 0:
                await asyncio.sleep(0.001)
            assert len(await w.deploy(name="other")) == 1
            while w.server.open_calls:
                await asyncio.sleep(0.01)
            stuck.tell("resume")
            await stuck.rest()
            assert stuck.status is not None
            assert stuck.status.code == Status.RESOURCE_EXHAUSTED

    run(test)


IDLE = 10_000
CONNECTIONS = 20
WATCHERS = """
import asyncio, sys, grpc
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub

async def main(address, count, connections):
    own = [("grpc.use_local_subchannel_pool", 1)]
    stubs = [CoreRPCStub(grpc.aio.insecure_channel(address, options=own)) for _ in range(connections)]
    calls = []

    async def begin(number):
        while True:  # a server under load turns some away
            call = stubs[number % connections].NodeStatusStream(pb.Empty())
            try:
                await call.initial_metadata()
                if not call.done():
                    calls.append(call)
                    return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)

    for start in range(0, count, 200):
        await asyncio.gather(*(begin(number) for number in range(start, start + 200)))
    first = [asyncio.create_task(call.read()) for call in calls]
    print("open", flush=True)
    heard = await asyncio.gather(*first, return_exceptions=True)
    print(sum(getattr(one, "nodename", "") == "n0" for one in heard), flush=True)
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_ten_thousand_idle_streams_are_cheap_and_all_hear_the_news(tmp_path):
    async def test():
        limits = CallLimits(client_calls=0, calls_per_second=0)
        async with world(tmp_path, limits=limits, nodes=1) as w:
            before, listeners = resident_bytes(), set(w.cluster.liveness._listeners)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                WATCHERS,
                w.server.address,
                str(IDLE),
                str(CONNECTIONS),
                stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            try:
                assert await process.stdout.readline() == b"open\n"
                while w.server.open_calls < IDLE:
                    await asyncio.sleep(0.05)
                each = (resident_bytes() - before) / IDLE
                assert each < 64 * 1024, f"{each:.0f} bytes for an idle stream"
                # The service goes on meanwhile.
                assert (await w.deploy())[0].success
                for number in range(3):
                    for key, listener in list(w.cluster.liveness._listeners.items()):
                        if key not in listeners:
                            listener(NodeStatus("n0", "pod", number % 2 == 0))
                assert await asyncio.wait_for(process.stdout.readline(), 60) == f"{IDLE}\n".encode()
            finally:
                process.kill()
                await process.wait()
            while w.server.open_calls:
                await asyncio.sleep(0.05)
            assert set(w.cluster.liveness._listeners) == listeners

    run(test, 180.0)


def test_a_client_s_calls_are_bounded_and_others_go_on(tmp_path):
    async def test():
        async with world(tmp_path, limits=CallLimits(client_calls=5)) as w:
            held = [w.stub.NodeStatusStream(pb.Empty()) for _ in range(5)]
            while w.server.open_calls < 5:
                await asyncio.sleep(0.01)
            code, _ = await code_of(w.stub.CreateWorkload(options()))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            for call in held:
                call.cancel()
            while w.server.open_calls:
                await asyncio.sleep(0.01)
            assert (await all_of(w.stub.CreateWorkload(options())))[0].success

    run(test)

"""What hooks print comes to whoever asked for what ran them, and is forgotten; and what force leaves out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from corerpc_kit import UNBOUND, World, all_of, options, pb, world
from toy_service_kit import run

from backends.real.engines.base import EngineError, Instance, InstanceEnded, InstanceSpec
from backends.real.hook_output import HOOKS_BYTES_MAX, Collector, HookOutput, HookOutputs, HookSink
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.eru_v1.service import eru_service
from backends.real.service.pb import eru_v1_pb2
from backends.real.service.pb.eru_v1_pb2_grpc import EruStub
from backends.real.service.server import Server, ServerOptions

eru: Any = eru_v1_pb2
HOOK = pb.HookOptions(after_start=["echo started", "err twice"], before_stop=["echo stopping"])
HOOKED = {"entrypoint": {"hook": HOOK}}


async def control(w: World, what: str, workload_id: str, *, force: bool = False) -> Any:
    asked = pb.ControlWorkloadOptions(IDs=[workload_id], type=what, force=force)
    (message,) = await all_of(w.stub.ControlWorkload(asked))
    return message


def test_hooks_are_heard_over_eru_s_wire(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            created = await w.deploy(count=2, after_create=["echo created"], **HOOKED)
            assert [(one.success, one.hook) for one in created] == [(True, b"created\nstarted\ntwice\n")] * 2
            workload_id = created[0].id
            assert (await control(w, "stop", workload_id)).hook == b"stopping\n"
            assert (await control(w, "start", workload_id)).hook == b"started\ntwice\n"
            assert (await control(w, "restart", workload_id)).hook == b"stopping\nstarted\ntwice\n"
            again = pb.ReplaceOptions(deployOpt=created_again(), IDs=[workload_id])
            (replaced,) = await all_of(w.stub.ReplaceWorkload(again))
            assert (replaced.remove.hook, replaced.create.hook) == ("stopping\n", b"anew\n")
            (refused,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id])))
            assert "running" in refused.hook
            (gone,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            assert (gone.success, gone.hook) == (True, "")
            journal = b"".join([line async for line in w.cluster.store.lines(0)])
            assert b"twice" not in journal
            assert all(b"twice" not in data for data in (await w.cluster.store.load("operations")).values())

    run(test)


def created_again() -> Any:
    hook = pb.HookOptions(after_start=["echo anew"])
    return options(entrypoint={"hook": hook}, resources=UNBOUND)


def test_a_hook_that_fails_is_heard_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            hook = pb.HookOptions(after_start=["echo half", "exit 3"], force=True)
            (message,) = await w.deploy(entrypoint={"hook": hook})
            assert not message.success
            assert "exit code 3" in message.error
            assert message.hook == b"half\n"

    run(test)


@pytest.mark.parametrize("fails", [True, False])
def test_what_ends_while_it_is_started_is_told_by_the_start(tmp_path: Path, fails: bool) -> None:
    """A hook that fails has the instance removed: that end is seen before the start is answered."""

    async def test() -> None:
        async with world(tmp_path, nodes=1) as w:
            (engine,) = w.engines.values()
            plain = engine.start

            async def start(spec: InstanceSpec, *, hook_output: HookSink | None = None) -> Instance:
                instance = await plain(spec, hook_output=hook_output)
                while not any(isinstance(event, InstanceEnded) for event in engine.events):
                    await asyncio.sleep(0)
                await asyncio.sleep(0.01)
                if fails:
                    raise EngineError("hook after_start 1 of 1: exit code 3")
                return msgspec.structs.replace(instance, state="running", exit_code=None)

            engine.start = start  # type: ignore[method-assign]
            (message,) = await w.deploy(command=["exit", "3"])
            assert message.error == ("hook after_start 1 of 1: exit code 3" if fails else "")
            await w.cluster.driver.settled()
            states = [workload.state for workload in w.cluster.core.workloads.values()]
            assert states == ([] if fails else ["stopped"])

    run(test)


def test_output_is_cut_and_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            hook = pb.HookOptions(after_start=[f"flood {HOOKS_BYTES_MAX}"] * 2)
            (message,) = await w.deploy(entrypoint={"hook": hook})
            assert message.hook == b"x" * HOOKS_BYTES_MAX + b"\n[cut after 65536 bytes]\n"

    run(test)


def test_what_nobody_waits_for_is_not_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            workload_id = await w.one(**HOOKED)
            w.cluster.operations.hear(workload_id, HookOutput(start=b"by itself"))
            w.cluster.operations.hear("nobody", HookOutput(start=b"by itself"))
            assert (await control(w, "stop", workload_id)).hook == b"stopping\n"

    run(test)


@pytest.mark.parametrize("what", ["stop", "restart"])
def test_force_kills_at_once_and_runs_no_hook(tmp_path: Path, what: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            workload_id = await w.one(**HOOKED)
            for engine in w.engines.values():
                engine.polite_delay = 60.0
            began = time.monotonic()
            message = await control(w, what, workload_id, force=True)
            assert (message.error, b"stopping" in message.hook) == ("", False)
            await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            assert workload_id not in w.cluster.core.workloads
            assert time.monotonic() - began < 30

    run(test)


def test_force_ends_a_stop_that_its_hook_refuses(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            workload_id = await w.one(entrypoint={"hook": pb.HookOptions(before_stop=["exit 4"], force=True)})
            stopping = asyncio.create_task(control(w, "stop", workload_id))
            while not w.cluster.gateway.failures:  # type: ignore[attr-defined] # it is an EngineGateway
                await asyncio.sleep(0.01)
            (gone,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            assert gone.success
            assert "superseded" in (await stopping).error

    run(test)


def test_eru_v1_tells_and_forces_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = Server(ServerOptions(bind="127.0.0.1:0"), [eru_service(w.cluster, EruOptions())])
            await server.start()
            try:
                async with grpc.aio.insecure_channel(server.address) as channel:
                    await through(EruStub(channel), w)
            finally:
                await server.stop(0.5)

    async def through(stub: Any, w: World) -> None:
        async def ended(reply: Any) -> Any:
            operation_id = reply.operations[0].operation_id
            request = eru.WatchOperationRequest(operation_id=operation_id)
            updates = [update async for update in stub.WatchOperation(request)]
            again = await stub.GetOperation(eru.GetOperationRequest(operation_id=operation_id))
            assert updates[0].result == again.results[0]
            return updates[0].result

        workload_id = await w.one(**HOOKED)
        ids = {"workload_ids": [workload_id]}
        assert (await ended(await stub.StopWorkloads(eru.StopWorkloadsRequest(**ids)))).hook_output == b"stopping\n"
        started = await ended(await stub.StartWorkloads(eru.StartWorkloadsRequest(**ids)))
        assert started.hook_output == b"started\ntwice\n"
        for engine in w.engines.values():
            engine.polite_delay = 60.0
        forced = {**ids, "force": True}
        stopped = await ended(await stub.StopWorkloads(eru.StopWorkloadsRequest(**forced)))
        assert (stopped.outcome, stopped.hook_output) == (eru.OUTCOME_STOPPED, b"")
        await ended(await stub.StartWorkloads(eru.StartWorkloadsRequest(**ids)))
        restarted = await ended(await stub.RestartWorkloads(eru.RestartWorkloadsRequest(**forced)))
        assert (restarted.outcome, restarted.hook_output) == (eru.OUTCOME_RUNNING, b"started\ntwice\n")
        removed = await ended(await stub.RemoveWorkloads(eru.RemoveWorkloadsRequest(**forced)))
        assert (removed.outcome, removed.hook_output) == (eru.OUTCOME_KILLED, b"")

    run(test)


def test_a_forced_restart_is_still_one_after_the_service_went_down(tmp_path: Path) -> None:
    async def test() -> None:
        engines: dict[str, Any] = {}
        async with world(tmp_path, engines=engines) as w:
            workload_id = await w.one(**HOOKED)
            for engine in engines.values():
                engine.is_up = False
            await w.cluster.restart({"op-1": workload_id}, is_forced=True)
        for engine in engines.values():
            engine.is_up, engine.polite_delay = True, 60.0
        async with world(tmp_path, engines=engines) as w:
            view = w.cluster.operations.find("op-1")
            assert view is not None
            async with asyncio.timeout(30):
                assert [result.outcome for result in await view.done()] == ["running"]

    run(test)


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    kept = HookOutputs(bytes_max=1000)
    for number in range(10):
        kept.add(f"op{number}", "w", HookOutput(start=b"x" * 100))
    assert [bool(kept.get(f"op{number}", "w").whole) for number in range(10)] == [False] * 8 + [True] * 2
    assert kept.pop("op9", "w") == HookOutput(start=b"x" * 100)
    assert kept.pop("op9", "w") == HookOutput()
    kept.add("op", "w", HookOutput(stop=b"y" * 5000))
    assert kept.get("op", "w") == HookOutput(), "more than all the room is not kept either"
    for number in range(3):
        kept.add("", "w", HookOutput(stop=b"%d" % number, start=b"s"))
    assert kept.get("", "w") == HookOutput(stop=b"012", start=b"sss")


def test_a_collector_takes_no_more_than_it_keeps() -> None:
    collect = Collector()
    for _ in range(1000):
        collect(b"z" * 1000)
    assert len(collect._data) == HOOKS_BYTES_MAX + 1
    assert collect.text() == b"z" * HOOKS_BYTES_MAX + b"\n[cut after 65536 bytes]\n"
    exact = Collector()
    exact(b"z" * HOOKS_BYTES_MAX)
    assert exact.text() == b"z" * HOOKS_BYTES_MAX

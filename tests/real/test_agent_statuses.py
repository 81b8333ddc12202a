"""What a live cluster makes of leases and of what agents say, over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corerpc_kit import World, pb, world

from backends.real.endpoints import Endpoint
from scheduler.events import WorkloadHealthChanged


def told(w: World) -> list[tuple[int, bool]]:
    """What the core was told of health: generation and result."""
    found: list[tuple[int, bool]] = []

    def look(at_ns: int, events: Any, commands: Any) -> tuple[()]:
        found.extend((event.generation, event.healthy) for event in events if isinstance(event, WorkloadHealthChanged))
        return ()

    w.cluster.driver.observers.append(look)
    return found


async def say(w: World, workload_id: str, *, healthy: bool = True, generation: int | None = None) -> None:
    labels = {} if generation is None else {"eru.generation": str(generation)}
    status = pb.WorkloadStatus(
        id=workload_id, running=True, healthy=healthy, appname="app", entrypoint="web", nodename="n0",
        extension=json.dumps(labels).encode(),
    )  # fmt: skip
    await w.stub.SetWorkloadsStatus(pb.SetWorkloadsStatusOptions(status=[status]))


async def state(w: World, workload_id: str) -> tuple[bool, bool]:
    (status,) = (await w.stub.GetWorkloadsStatus(pb.WorkloadIDs(IDs=[workload_id]))).status
    return status.running, status.healthy


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def with_agent(w: World) -> None:
    """A node that needs a lease, and gets one of a second."""
    await w.cluster.nodes.add("n0", "pod", Endpoint(url="mem://"))
    await w.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename="n0", ttl=1))


def test_when_a_lease_lapses_the_workloads_are_marked_down_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, nodes=0) as w:
            await with_agent(w)
            workload_id = await w.one()
            await say(w, workload_id, generation=1)
            heard = told(w)
            changes: list[Any] = []
            w.cluster.statuses.listen(changes.append)
            assert await state(w, workload_id) == (True, True)
            await until(lambda: not w.cluster.liveness.is_alive("n0") and changes)
            assert await state(w, workload_id) == (False, False)
            await asyncio.sleep(1.5)
            assert len(changes) == 1
            assert heard == [(1, False)]
            assert w.engine_of(workload_id).boxes

            await w.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename="n0", ttl=60))
            assert await state(w, workload_id) == (False, False)
            await say(w, workload_id, generation=1)
            assert await state(w, workload_id) == (True, True)

    asyncio.run(test())


def test_an_agent_that_says_good_bye_is_as_one_that_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, nodes=0) as w:
            await with_agent(w)
            workload_id = await w.one()
            await say(w, workload_id)
            await w.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename="n0", ttl=-1))
            assert await state(w, workload_id) == (False, False)

    asyncio.run(test())


def test_what_is_said_of_another_generation_is_dropped(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            await say(w, workload_id, healthy=False, generation=1)
            await say(w, workload_id, healthy=True, generation=2)
            assert await state(w, workload_id) == (True, False)
            await say(w, workload_id, healthy=True)
            assert await state(w, workload_id) == (True, True)

    asyncio.run(test())


def test_the_health_of_a_new_generation_is_told_although_the_old_one_had_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            heard = told(w)
            await say(w, workload_id, generation=1)
            stop = pb.ControlWorkloadOptions(IDs=[workload_id], type="restart", force=True)
            async for message in w.stub.ControlWorkload(stop):
                assert message.error == ""
            assert w.cluster.workloads.place(workload_id).generation == 2
            await say(w, workload_id, generation=1)
            await say(w, workload_id, generation=2)
            await until(lambda: len(heard) == 2)
            assert heard == [(1, True), (2, True)]

    asyncio.run(test())

"""What every engine must do, whatever it runs: a class to inherit from, with a fixture ``node`` that subclasses give.

Starting, stopping, updating, observing and listing, and doing all of it again. What only real machines can (files,
sessions, limits that the kernel enforces) is tested where the engine is.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol, TypeVar

import pytest

from backends.real.engines.base import Engine, EngineError, InstanceEnded, InstanceSpec, NotFound

SECONDS_MAX = 60.0
_Test = TypeVar("_Test")


class ContractNode(Protocol):
    """A node for one test, with nothing on it that the test can see."""

    def adapter(self) -> AbstractAsyncContextManager[Engine]:
        """A new engine for this node, of the same core every time."""

    def stranger(self) -> AbstractAsyncContextManager[Engine]:
        """An engine for this node, of another core."""

    def spec(
        self,
        workload_id: str,
        generation: int = 1,
        *,
        exit_code: int | None = None,
        engine_args: Mapping[str, Any] | None = None,
    ) -> InstanceSpec:
        """A workload that runs until it is told to end, or with ``exit_code`` ends soon by itself."""

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine on the node's clock."""


def on_node(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a coroutine, one of whose arguments is a `ContractNode`, a test."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        node = next(value for value in kwargs.values() if hasattr(value, "run"))
        node.run(lambda: test(*args, **kwargs))

    return wrapper


def run_in_real_time(test: Callable[[], Awaitable[None]]) -> None:
    """`ContractNode.run` on the clock of this machine."""

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await test()

    asyncio.run(bounded())


async def ended(engine: Engine, workload_id: str, generation: int = 1) -> int:
    """Wait until an instance has ended; return its exit code."""
    while (instance := await engine.inspect(workload_id, generation)).exit_code is None:
        await asyncio.sleep(0.02)
    return instance.exit_code


async def comes_to(engine: Engine, workload_id: str, state: str) -> None:
    """Wait until an instance is in a state.

    After a resume a busy dockerd may not say so at once.
    """
    while (await engine.inspect(workload_id, 1)).state != state:
        await asyncio.sleep(0.02)


class EngineContract:
    """Inherit, and give a fixture ``node``, a `ContractNode`."""

    # -- starting -----------------------------------------------------------------------------------------------------

    @on_node
    async def test_what_was_started_runs_and_is_listed(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            started = await engine.start(node.spec("web/0"))
            assert (started.workload_id, started.generation, started.state) == ("web/0", 1, "running")
            assert started.name == "web.0.g1"
            assert started.exit_code is None
            assert await engine.inspect("web/0", 1) == started
            await engine.start(node.spec("db"))
            assert [instance.name for instance in await engine.instances()] == ["db.g1", "web.0.g1"]

    @on_node
    async def test_a_start_again_starts_nothing(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web"))
            assert await engine.start(node.spec("web")) == first
            assert await engine.instances() == [first]

    @on_node
    async def test_another_adapter_finds_what_the_first_started(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web"))
        async with node.adapter() as engine:
            assert await engine.instances() == [first]
            assert await engine.start(node.spec("web")) == first

    @on_node
    async def test_what_has_ended_is_not_started_again(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("job", exit_code=3))
            assert await ended(engine, "job") == 3
            again = await engine.start(node.spec("job", exit_code=3))
            assert (again.state, again.exit_code, again.engine_id) == ("exited", 3, first.engine_id)
            assert again.started_at_ns == (await engine.inspect("job", 1)).started_at_ns

    @on_node
    async def test_an_older_generation_that_runs_is_in_the_way(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web"))
            with pytest.raises(EngineError, match="generation 1"):
                await engine.start(node.spec("web", 2))
            assert await engine.instances() == [first]

    @on_node
    async def test_a_later_generation_is_in_the_way(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            second = await engine.start(node.spec("web", 2))
            with pytest.raises(EngineError, match="generation 2"):
                await engine.start(node.spec("web", 1))
            assert await engine.instances() == [second]

    @on_node
    async def test_an_unknown_argument_is_named_and_nothing_is_left(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            with pytest.raises(EngineError, match="warp_factor"):
                await engine.start(node.spec("web", engine_args={"warp_factor": 9}))
            assert await engine.instances() == []

    @on_node
    async def test_starts_of_many_at_once(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            names = [f"web/{number}" for number in range(5)]
            await asyncio.gather(*(engine.start(node.spec(name)) for name in names))
            assert [instance.workload_id for instance in await engine.instances()] == names

    # -- stopping -----------------------------------------------------------------------------------------------------

    @on_node
    async def test_what_was_stopped_is_gone(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            await engine.start(node.spec("web"))
            assert await engine.stop("web", 1, keep=False) is not None
            assert await engine.instances() == []
            with pytest.raises(NotFound):
                await engine.inspect("web", 1)

    @on_node
    async def test_a_stop_of_what_is_not_there_is_no_error(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            assert await engine.stop("web", 1, keep=False) is None
            await engine.start(node.spec("web", 2))
            assert await engine.stop("web", 1, keep=True) is None
            assert [instance.generation for instance in await engine.instances()] == [2]
            await engine.stop("web", 2, keep=False, grace_ns=0)
            assert await engine.stop("web", 2, keep=False) is None

    @on_node
    async def test_a_stop_tells_with_what_it_ended(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            await engine.start(node.spec("job", exit_code=4))
            assert await ended(engine, "job") == 4
            assert await engine.stop("job", 1, keep=True) == 4
            assert await engine.stop("job", 1, keep=False) == 4

    @on_node
    async def test_what_is_killed_ends_with_137(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            await engine.start(node.spec("web"))
            assert await engine.stop("web", 1, keep=False, grace_ns=0) == 137

    @on_node
    async def test_what_is_kept_becomes_the_next_generation(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web"))
            await engine.stop("web", 1, keep=True)
            kept = await engine.inspect("web", 1)
            assert (kept.state, kept.engine_id) == ("exited", first.engine_id)
            assert await engine.stop("web", 1, keep=True) == kept.exit_code

            second = await engine.start(node.spec("web", 2))

            assert (second.generation, second.state, second.name) == (2, "running", "web.g2")
            assert second.started_at_ns > first.started_at_ns
            assert await engine.instances() == [second]
            with pytest.raises(NotFound):
                await engine.inspect("web", 1)
            assert await engine.start(node.spec("web", 2)) == second

    # -- changing -----------------------------------------------------------------------------------------------------

    @on_node
    async def test_an_update_of_something_unknown_is_refused(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            with pytest.raises(NotFound):
                await engine.update("web", 1, {"cpu_quota": 50_000, "cpu_period": 100_000})
            await engine.start(node.spec("web"))
            with pytest.raises(EngineError, match="warp_factor"):
                await engine.update("web", 1, {"warp_factor": 9})

    @on_node
    async def test_an_update_disturbs_nothing_and_may_be_repeated(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web"))
            for _ in range(2):
                await engine.update("web", 1, {"cpu_quota": 50_000, "cpu_period": 100_000, "memory_bytes": 64 << 20})
            assert await engine.inspect("web", 1) == first

    @on_node
    async def test_paused_and_resumed_as_often_as_one_likes(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            if "pause" not in engine.capabilities:
                pytest.skip("this engine cannot pause")
            await engine.start(node.spec("web"))
            for _ in range(2):
                await engine.pause("web", 1)
                await comes_to(engine, "web", "paused")
            for _ in range(2):
                await engine.resume("web", 1)
                await comes_to(engine, "web", "running")
            with pytest.raises(NotFound):
                await engine.pause("web", 2)

    # -- observing ----------------------------------------------------------------------------------------------------

    @on_node
    async def test_an_end_is_reported(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            await engine.instances()
            async with aclosing(engine.watch()) as events:  # type: ignore[type-var]
                await engine.start(node.spec("job", exit_code=5))
                async for event in events:
                    if isinstance(event, InstanceEnded):
                        assert event == InstanceEnded("job", 1, 5)
                        break

    @on_node
    async def test_a_core_sees_only_its_own(self, node: ContractNode) -> None:
        async with node.adapter() as engine, node.stranger() as stranger:
            mine = await engine.start(node.spec("web"))
            assert await stranger.instances() == []
            assert await stranger.stop("web", 1, keep=False, grace_ns=0) is None
            with pytest.raises(NotFound):
                await stranger.inspect("web", 1)
            assert await engine.instances() == [mine]

    @on_node
    async def test_the_node_tells_what_it_is(self, node: ContractNode) -> None:
        async with node.adapter() as engine:
            await engine.ping()
            info = await engine.info()
            assert info.kind
            assert info.memory_bytes > 0
            assert len(set(info.cpus)) == len(info.cpus) > 0

"""The live driver: durable first, bounded, and it stops where it cannot go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from parity_kit import header, make_core, node

from backends.real.driver import DriverOptions, DriverStopped, LiveDriver, Overloaded
from backends.real.gateway import Report, Survey
from backends.real.recovery import RecoveryError, recover
from backends.real.stores.base import Record, StoreError, Written
from backends.real.stores.sqlite import SqliteStore
from backends.real.virtual_clock import VirtualClock
from scheduler.commands import AnyCommand, StartWorkload
from scheduler.config import PolicyConfig
from scheduler.events import DeploymentRequested, RemovalRequested, WorkloadsSubmitted
from scheduler.journal import read_batch


class Faulty:
    """A store that does what another does, until a commit fails: before it is durable, or after."""

    def __init__(self, inner: SqliteStore, fail_at: int, *, is_durable: bool) -> None:
        self.inner = inner
        self._left = fail_at
        self._is_durable = is_durable
        self.durable: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def commit(self, written: Sequence[Written], records: Sequence[Record] = ()) -> None:
        self._left -= 1
        if self._left < 0 and not self._is_durable:
            raise StoreError("the disk is full")
        await self.inner.commit(written, records)
        self.durable += [batch.line for batch in written]
        if self._left < 0:
            raise StoreError("the disk went away after the write")


class Recorder:
    """Engines that do nothing but note what reaches them, and what was durable then."""

    def __init__(self, store: Faulty) -> None:
        self._store = store
        self.commands: list[AnyCommand] = []

    def connect(self, report: Report) -> None:
        pass

    def execute(self, commands: Iterable[AnyCommand]) -> None:
        commands = list(commands)
        assert read_batch(self._store.durable[-1]).commands == commands, "it is durable, and the last that is"
        self.commands += commands

    async def survey(self) -> Survey:
        return Survey({})


async def opened(directory: Path, *, fail_at: int = 1 << 30, is_durable: bool = False, **options: int) -> Any:
    store = Faulty(SqliteStore(directory), fail_at, is_durable=is_durable)
    await store.inner.open()
    recovered = await recover(store, header(), make_core)  # type: ignore[arg-type]
    engines = Recorder(store)
    driver = LiveDriver(
        recovered.core,
        recovered.header,
        store,  # type: ignore[arg-type]
        engines,
        VirtualClock(),
        resume=recovered.writer,
        options=DriverOptions(**options),
    )
    return store, engines, driver, asyncio.create_task(driver.run())


def work(number: int) -> WorkloadsSubmitted:
    return WorkloadsSubmitted(workload_id=f"w{number}", request=(0, 0, 0), payloads={"cpu": {"cpu_request": 1}})


@pytest.mark.parametrize("is_durable", [False, True])
@pytest.mark.parametrize("fail_at", [0, 1, 2, 5])
def test_nothing_reaches_an_engine_before_it_is_durable(fail_at: int, is_durable: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        store, engines, driver, task = await opened(tmp_path, fail_at=fail_at, is_durable=is_durable)
        asked = 0
        with contextlib.suppress(DriverStopped):
            for event in (node(0), *(work(number) for number in range(8))):
                await driver.submit(event)
                asked += 1
        with pytest.raises(StoreError):
            await task
        assert asked == fail_at
        started = [command for command in engines.commands if isinstance(command, StartWorkload)]
        assert len(started) == max(0, fail_at - 1)
        with pytest.raises(DriverStopped):
            await driver.submit(work(9))
        await store.inner.close()
        store, engines, driver, task = await opened(tmp_path)
        assert driver.journal.batches == fail_at + is_durable
        assert len(driver.core.workloads) == max(0, fail_at + is_durable - 1)
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_a_full_inbox_refuses_and_what_it_took_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path, inbox_max=3, batch_max=2)
        await driver.submit(node(0))
        waiting = [driver.offer(work(number)) for number in range(3)]
        with pytest.raises(Overloaded, match="3 requests are waiting"):
            driver.offer(work(3))
        numbers = await asyncio.gather(*waiting)
        assert numbers == [1, 1, 2]
        assert list(driver.core.workloads) == ["w0", "w1", "w2"]
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_a_request_is_one_batch_and_records_go_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path, batch_max=2)
        await driver.submit(node(0))
        number = await driver.submit(*(work(n) for n in range(5)), records=[Record("pools", "p", b"x")])
        (line,) = [line async for line in store.inner.lines(number)]
        batch = read_batch(line)
        assert len(batch.events) == 5
        assert await store.inner.get("pools", "p") == b"x"
        before = driver.journal.batches
        await driver.submit(records=[Record("pools", "p", None)])
        assert (driver.journal.batches, await store.inner.get("pools", "p")) == (before, None)
        driver.stop()
        await task
        with pytest.raises(DriverStopped):
            await driver.submit(work(9))
        await store.inner.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("first", "batches"), [(1, [2, 3]), (3, [2, 2])])
def test_after_a_batch_of_several_events_the_next_one_waits_for_company(
    first: int, batches: list[int], tmp_path: Path
) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path, busy_events=3, gather_ns=50_000_000)
        await driver.submit(node(0))
        await driver.submit(*(work(n) for n in range(first)))
        one = driver.offer(work(8))
        for _ in range(5):
            await asyncio.sleep(0)
        other = driver.offer(work(9))
        assert [await one, await other] == batches
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_a_caller_that_goes_away_takes_nothing_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path)
        await driver.submit(node(0))
        caller = asyncio.create_task(driver.submit(work(0)))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await driver.submit(RemovalRequested(workload_id="nobody"))
        assert list(driver.core.workloads) == ["w0"]
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_snapshots_are_saved_and_old_batches_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path, snapshot_batches=5, retention_ns=-1)
        await driver.submit(node(0))
        for number in range(12):
            await driver.submit(work(number))
        saved = await store.inner.snapshot()
        assert saved is not None
        assert saved.writer.batches == 10
        kept = [read_batch(line).seq async for line in store.inner.lines(10)]
        assert kept == [10, 11, 12]
        with pytest.raises(StoreError, match="batch 0"):
            [line async for line in store.inner.lines(0)]
        digest = driver.journal.journal_digest
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.inner.close()
        store, _, driver, task = await opened(tmp_path)
        assert driver.journal.journal_digest == digest
        assert len(driver.core.workloads) == 12
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_what_came_over_a_wire_is_recovered(tmp_path: Path) -> None:
    """A default that is equal and not identical is written, and left out when the batch is written by a reader."""
    strategy = "".join(["au", "to"])

    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path)
        await driver.submit(node(0))
        await driver.submit(DeploymentRequested(spec=work(0), strategy=strategy))  # type: ignore[arg-type]
        (line,) = [line async for line in store.inner.lines(1)]
        assert b'"strategy":"auto"' in line
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        digest = driver.journal.journal_digest
        await store.inner.close()
        store, _, driver, task = await opened(tmp_path)
        assert driver.journal.journal_digest == digest
        assert list(driver.core.workloads) == ["w0/0"]
        driver.stop()
        await task
        await store.inner.close()

    asyncio.run(scenario())


def test_a_changed_journal_or_configuration_is_refused_by_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, _, driver, task = await opened(tmp_path)
        await driver.submit(node(0))
        await driver.submit(work(0))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.inner.close()
        other = SqliteStore(tmp_path)
        await other.open()
        given = header()
        changed = msgspec.structs.replace(given, config=msgspec.structs.replace(given.config, deadline_ns=1))
        with pytest.raises(RecoveryError, match=r"config\.deadline_ns: 1, but the journal was begun with 60000000000"):
            await recover(other, changed, make_core)
        policy = msgspec.structs.replace(given.config, policy=PolicyConfig("worst-fit"))
        recovered = await recover(other, msgspec.structs.replace(given, config=policy), make_core)
        assert recovered.core.policy_config.name == "best-fit"
        (line,) = [line async for line in other.lines(1)]
        damaged = line.replace(b'"w0"', b'"w1"', 1)
        other._connection().execute("UPDATE batches SET line = ? WHERE seq = 1", (damaged,))  # the file is edited
        with pytest.raises(RecoveryError, match=r"journal: line 3: hash: batch 1 at 0 ns has been changed"):
            await recover(other, given, make_core)
        await other.close()

    asyncio.run(scenario())

"""Templates that nothing refers to any more leave the store; after whatever crash, none is missing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from live_kit import machines, request
from parity_kit import header, make_core, node

from backends.real import template
from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.driver import DriverOptions, DriverStopped
from backends.real.endpoints import Endpoint
from backends.real.stored_templates import AGES, TABLE, StoredTemplates, referred
from backends.real.stores.base import Record, Saved, StoreError, Written
from backends.real.stores.sqlite import SqliteStore
from backends.real.template import Template
from eru_sim.live.composition import simulated_cluster
from eru_sim.live.simulated import SimulatedGateway
from scheduler import snapshot
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    RemovalRequested,
    ReplaceRequested,
    TimerFired,
    WorkloadAdopted,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStopped,
)
from scheduler.journal import WriterState

KINDS = [Template(env=(f"NUMBER={number}",)) for number in range(8)]
ALWAYS = 3600 * 10**9
_MENTIONED = re.compile(rb'"template":"([0-9a-f]{32})"')
_DIGEST = re.compile(rb"[0-9a-f]{32}")


class Failing:
    """A store of which one write fails: before it is durable, or after."""

    def __init__(self, inner: SqliteStore, fail_at: int, *, is_durable: bool) -> None:
        self._inner = inner
        self._left = fail_at
        self._is_durable = is_durable

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, written: Sequence[Written], records: Sequence[Record] = ()) -> None:
        await self._write(self._inner.commit, written, records)

    async def save(self, saved: Any) -> None:
        await self._write(self._inner.save, saved)

    async def prune(self, before_seq: int, before_ns: int) -> int:
        await self._write(self._inner.prune, before_seq, before_ns)
        return 0

    async def _write(self, write: Any, *arguments: Any) -> None:
        self._left -= 1
        if self._left or self._is_durable:
            await write(*arguments)
        if not self._left:
            raise StoreError("the disk went away")


def cluster_in(
    directory: Path, outliving: SimulatedGateway, *, retention_ns: int, fail_at: int = 0, is_durable: bool = False
) -> LiveCluster:
    options = ClusterOptions(driver=DriverOptions(snapshot_batches=4, retention_ns=retention_ns, gather_ns=0))
    cluster = simulated_cluster(directory, machines=outliving, options=options)
    cluster.store = Failing(SqliteStore(directory), fail_at, is_durable=is_durable)  # type: ignore[assignment]
    return cluster


async def begin(cluster: LiveCluster) -> None:
    await cluster.start()
    if "pool" not in cluster.pools:
        await cluster.pools.add("pool")
    if "n0" not in cluster.core.cluster.by_id:
        await cluster.nodes.add("n0", "pool", Endpoint(url="sim://?cpus=64", test=True))


async def check(cluster: LiveCluster) -> set[str]:
    """Nothing that is referred to is missing; return the digests that are stored."""
    await cluster.driver.settled()
    stored = set(await cluster.store.keys(TABLE))
    needed = referred(cluster.core)
    known = {cluster.digest_of(kind) for kind in KINDS}
    assert {found.decode() for found in _DIGEST.findall(snapshot.dump(cluster.core))} & known == needed
    first = await cluster.store.first()
    if first is not None:
        async for line in cluster.store.lines(first):
            needed |= {found.decode() for found in _MENTIONED.findall(line)}
    assert needed <= stored
    for digest in needed:
        assert cluster.digest_of(await cluster.template(digest)) == digest
    assert len(cluster._stored_templates) == len(stored)
    return stored


async def ask(cluster: LiveCluster, chance: random.Random) -> None:
    """One thing at random, without waiting for what comes of it."""
    kind = chance.choice(KINDS)
    operation_id = cluster.operations.new_id()
    digest, live = cluster.digest_of(kind), list(cluster.core.workloads)
    what = chance.choice(["submit", "submit", "deploy", "remove", "remove", "replace"])
    name = f"w{chance.getrandbits(60):x}"
    if what == "submit":
        spec = request(cluster, name, cpu=0.1, template=digest, operation_id=operation_id)
        await cluster.ask(operation_id, spec, template=kind)
    elif what == "deploy":
        cpu = chance.choice([0.1, 99])
        spec = request(cluster, name, 2, cpu=cpu, template=digest, operation_id=operation_id)
        await cluster.ask(operation_id, DeploymentRequested(spec=spec), template=kind)
    elif live and what == "remove":
        await cluster.driver.submit(RemovalRequested(workload_id=chance.choice(live)))
    elif live:
        event = ReplaceRequested(
            operation_id=operation_id, image="i", template=digest, workload_ids=(chance.choice(live),)
        )
        await cluster.ask(operation_id, event, template=kind)


async def saved(cluster: LiveCluster) -> None:
    """At least one more snapshot."""
    for _ in range(5):
        await cluster.driver.submit(RemovalRequested(workload_id="nobody"))
    await cluster.driver.settled()


async def clear(cluster: LiveCluster) -> None:
    while cluster.core.workloads:
        for workload_id in list(cluster.core.workloads):
            await cluster.driver.submit(RemovalRequested(workload_id=workload_id))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("retention_ns", [-1, 20_000_000, ALWAYS])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_missing_after_any_crash_and_nothing_is_left_at_the_end(
    tmp_path: Path, seed: int, retention_ns: int
) -> None:
    async def scenario() -> None:
        chance = random.Random(f"{seed}/{retention_ns}")
        outliving = machines()
        for _ in range(6):
            fail_at, is_durable = chance.randrange(12, 60), chance.random() < 0.5
            cluster = cluster_in(tmp_path, outliving, retention_ns=retention_ns, fail_at=fail_at, is_durable=is_durable)
            try:
                with contextlib.suppress(DriverStopped, StoreError):
                    await begin(cluster)
                    for number in range(60):
                        await ask(cluster, chance)
                        if number % 10 == 0:
                            await check(cluster)
            finally:
                await cluster.stop()
        cluster = cluster_in(tmp_path, outliving, retention_ns=retention_ns)
        await begin(cluster)
        assert await check(cluster)
        await clear(cluster)
        await cluster.stop()
        cluster = cluster_in(tmp_path, outliving, retention_ns=-1)
        await begin(cluster)
        await saved(cluster)
        assert await check(cluster) == set()
        assert list(await cluster.store.load(AGES)) == [""]
        await cluster.stop()

    asyncio.run(scenario())


def test_a_kept_batch_keeps_its_template_and_ages_survive_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving, (kind, other, *_) = machines(), KINDS
        cluster = cluster_in(tmp_path, outliving, retention_ns=ALWAYS)
        await begin(cluster)
        digest = cluster.digest_of(kind)
        for name, one in (("gone", kind), ("stays", other)):
            spec = request(cluster, name, template=cluster.digest_of(one), operation_id=name)
            await (await cluster.ask(name, spec, template=one)).done()
        await clear_one(cluster, "gone")
        await saved(cluster)
        age = (await cluster.store.load(AGES))[digest]
        await saved(cluster)
        assert await check(cluster) == {digest, cluster.digest_of(other)}
        await cluster.stop()
        cluster = cluster_in(tmp_path, outliving, retention_ns=ALWAYS)
        await begin(cluster)
        await saved(cluster)
        assert (await cluster.store.load(AGES))[digest] == age
        await cluster.stop()
        cluster = cluster_in(tmp_path, outliving, retention_ns=-1)
        await begin(cluster)
        await saved(cluster)
        assert await check(cluster) == {cluster.digest_of(other)}
        spec = request(cluster, "again", template=digest, operation_id="again")
        await (await cluster.ask("again", spec, template=kind)).done()
        await saved(cluster)
        assert await check(cluster) == {digest, cluster.digest_of(other)}
        await cluster.stop()

    async def clear_one(cluster: LiveCluster, name: str) -> None:
        await cluster.driver.submit(RemovalRequested(workload_id=name))
        while name in cluster.core.workloads:
            await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_what_a_snapshot_refers_to_is_known_in_every_phase_of_a_replacement() -> None:
    old, new = (template.digest(kind.encode()) for kind in KINDS[:2])
    core = make_core(header(), None)
    spec = WorkloadsSubmitted(workload_id="w", request=(0, 0, 0), template=old, payloads={"cpu": {"cpu_request": 1}})
    replace = ReplaceRequested(
        operation_id="op", image="i", template=new, workload_ids=("w",), gate="healthy", gate_timeout_ns=5
    )
    steps: list[list[AnyEvent]] = [
        [node(0)], [spec], [WorkloadStarted(workload_id="w", generation=1)], [replace],
        [WorkloadStopped(workload_id="w", generation=1)], [WorkloadStarted(workload_id="w", generation=2)],
        [], [], [], [], [TimerFired()], [WorkloadStopped(workload_id="w", generation=2)],
        [WorkloadStarted(workload_id="w", generation=3)],
    ]  # fmt: skip
    seen: list[set[str]] = []
    for at_ns, events in enumerate(steps):
        core.step(at_ns, events)
        found = {text.decode() for text in _DIGEST.findall(snapshot.dump(core))}
        assert referred(core) == found, at_ns
        if not seen or seen[-1] != found:
            seen.append(found)
    assert seen == [set(), {old}, {old, new}, {old}]


@pytest.mark.parametrize("crashes", [False, True])
def test_what_is_mentioned_again_gets_a_new_age_also_when_nobody_could_note_it(tmp_path: Path, crashes: bool) -> None:
    async def scenario() -> None:
        store, core = SqliteStore(tmp_path), make_core(header(), None)
        await store.open()
        lines = [Written(seq, seq, b"") for seq in range(8)]
        await store.commit(lines[:5], [Record(TABLE, "d", b"")])
        stored = StoredTemplates(core, store)
        await stored.load(5)
        await stored.prune(5)
        assert await store.load(AGES) == {"": b"5", "d": b"5"}
        spec = WorkloadsSubmitted(workload_id="w", request=(), template="d")
        events = {5: spec, 6: DeploymentRequested(spec=spec), 7: WorkloadAdopted(spec=spec, node_id="n")}
        for seq, event in events.items():
            stored.observe(seq, [event], [])
            await store.commit([lines[seq]])
        if crashes:
            stored = StoredTemplates(core, store)
            await stored.load(8)
        await store.save(Saved(writer=WriterState(header=b"", chain=b"", decisions=b"", batches=8), core=b""))
        for first, left in ((6, ["d"]), (7, ["d"]), (8, [])):
            await store.prune(first, first)
            await stored.prune(8)
            assert await store.keys(TABLE) == left
        assert await store.load(AGES) == {"": b"8"}
        await store.close()

    asyncio.run(scenario())


def test_what_a_waiting_request_refers_to_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = cluster_in(tmp_path, machines(), retention_ns=-1)
        await begin(cluster)
        kind, digest = KINDS[0], cluster.digest_of(KINDS[0])
        spec = request(cluster, "a", template=digest, operation_id="a")
        await (await cluster.ask("a", spec, template=kind)).done()
        await clear(cluster)
        stored = StoredTemplates(cluster.core, cluster.store)
        await stored.load(0)
        durable = asyncio.get_running_loop().create_future()
        stored.hold(digest, durable)
        await stored.prune(0)
        assert await cluster.store.keys(TABLE) == [digest]
        durable.set_result(0)
        await asyncio.sleep(0)
        await stored.prune(0)
        assert digest not in stored
        assert await cluster.store.keys(TABLE) == []
        await cluster.stop()

    asyncio.run(scenario())

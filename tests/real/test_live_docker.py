"""The live cluster over real Docker nodes: limits hold, everything is answered, nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from docker_cluster_kit import IMAGE, add_nodes, clean, containers, docker_cluster, settle
from testbed_kit import BedNode

from backends.real import cgroups
from backends.real.cluster import LiveCluster
from backends.real.operations import Result
from backends.real.stores.sqlite import SqliteStore
from backends.real.template import File, Template
from eru_sim import replay, verify
from scheduler.events import (
    DeploymentRequested,
    DissociateRequested,
    PolicyChanged,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    Strategy,
    WorkloadsSubmitted,
)
from scheduler.invariants import check
from scheduler.journal import Footer, JournalReader

Scenario = Callable[[LiveCluster], Awaitable[None]]
numbers = itertools.count()


class Rig:
    """One core over the testbed, for one test."""

    def __init__(self, nodes: list[BedNode], directory: Path) -> None:
        self.nodes = nodes
        self.directory = directory
        self.core_id = uuid.uuid4().hex[:12]

    @contextlib.asynccontextmanager
    async def cluster(self, *, loss_s: float = 60) -> AsyncIterator[LiveCluster]:
        cluster = docker_cluster(self.directory, self.core_id, loss_s=loss_s)
        await cluster.start()
        try:
            await add_nodes(cluster, self.nodes)
            yield cluster
        finally:
            await cluster.stop()

    def containers(self) -> dict[str, list[str]]:
        """Names by node."""
        found: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for container in containers(self.nodes, self.core_id):
            found[container.node.name].append(container.name)
        return found

    def pids(self) -> dict[str, int]:
        return {container.name: container.pid for container in containers(self.nodes, self.core_id)}


@pytest.fixture
def rig(testbed_nodes: list[BedNode], tmp_path: Path) -> Iterator[Rig]:
    made = Rig(testbed_nodes, tmp_path)
    yield made
    clean(made.nodes, made.core_id)


async def ask(cluster: LiveCluster, make: Callable[[str], object], template: Template | None = None) -> list[Result]:
    operation_id = f"op{next(numbers)}"
    view = await cluster.ask(operation_id, make(operation_id), template=template)  # type: ignore[arg-type]
    return await asyncio.wait_for(view.done(), 120)


async def deploy(
    cluster: LiveCluster,
    name: str,
    count: int = 1,
    *,
    template: Template | None = None,
    strategy: Strategy = "auto",
    storage: dict[str, object] | None = None,
    on_exit: str = "hold",
    **cpu: object,
) -> list[Result]:
    template = template or Template(stop_grace_ns=2 * 10**9)
    payloads: dict[str, object] = {"cpu": {"cpu_request": 0.25, "memory_request": "32M", "memory_limit": "32M", **cpu}}
    if storage:
        payloads["storage"] = storage

    def make(operation_id: str) -> DeploymentRequested:
        spec = WorkloadsSubmitted(
            workload_id=name,
            request=(0,) * len(cluster.core.config.dimensions),
            count=count,
            pool="pool",
            app=name,
            image=IMAGE,
            template=cluster.digest_of(template),
            payloads=payloads,
            on_unschedulable="fail",
            on_start_failure="fail",
            on_exit=on_exit,  # type: ignore[arg-type]
            operation_id=operation_id,
        )
        return DeploymentRequested(spec=spec, strategy=strategy)

    return await ask(cluster, make, template)


def limits_of(rig: Rig, workload_id: str) -> cgroups.Limits:
    (container,) = [found for found in containers(rig.nodes, rig.core_id) if found.workload_id == workload_id]
    return cgroups.detect().limits_of(container.pid)


def test_limits_are_what_was_assigned_and_nothing_is_left(rig: Rig) -> None:
    async def scenario() -> None:
        async with rig.cluster() as cluster:
            results = await deploy(cluster, "web", 4, cpu_limit=0.5)
            assert {result.outcome for result in results} == {"running"}, results
            bound = await deploy(cluster, "bound", 3, bind=True, cpu_request=1)
            assert {result.outcome for result in bound} == {"running"}, bound
            for number in range(4):
                limits = limits_of(rig, f"web/{number}")
                assert (limits.cpu_quota_us, limits.memory_bytes) == (50_000, 32 << 20)
            for number in range(3):
                workload = cluster.workloads.get(f"bound/{number}")
                held = {slot for slot in workload.assignments["cpu"].amounts if slot.isdigit()}  # type: ignore[index]
                assert set(limits_of(rig, f"bound/{number}").cpuset_cpus.split(",")) == held
            for node in rig.nodes:
                on_node = [w for w in cluster.workloads.list(node_id=node.name) if w.spec.app == "bound"]
                cores = [limits_of(rig, w.workload_id).cpuset_cpus for w in on_node]
                assert len(set(cores)) == len(cores), "no core is two workloads' own"
                shared = {
                    limits_of(rig, w.workload_id).cpuset_cpus
                    for w in cluster.workloads.list(node_id=node.name)
                    if w.spec.app == "web"
                }
                assert not shared & set(cores), "and none of them is others'"
            (grown,) = await ask(
                cluster,
                lambda op: ReallocRequested(
                    workload_id="web/0",
                    payloads={"cpu": {"memory_request": "16M", "memory_limit": "16M"}},
                    operation_id=op,
                ),
            )
            assert grown.outcome == "updated", grown
            assert limits_of(rig, "web/0").memory_bytes == 48 << 20
            for app, count in (("web", 4), ("bound", 3)):
                for number in range(count):
                    (gone,) = await ask(
                        cluster, lambda op, w=f"{app}/{number}": RemovalRequested(workload_id=w, operation_id=op)
                    )
                    assert gone.outcome == "killed"
            assert set(itertools.chain(*rig.containers().values())) == set()
            assert cluster.core.ledger.used(0) == (0,) * len(cluster.core.config.dimensions)
            assert check(cluster.core) is None

    asyncio.run(scenario())


def test_stop_start_replace_and_dissociate(rig: Rig) -> None:
    async def scenario() -> None:
        async with rig.cluster() as cluster:
            template = Template(stop_grace_ns=2 * 10**9, files={"/etc/told": File(content=b"first")})
            await deploy(cluster, "web", 2, template=template)
            place = cluster.workloads.place("web/0")
            session = await place.engine.execute("web/0", place.generation, ["sh", "-c", "echo kept > /tmp/state"])
            assert await session.exit_code() == 0
            await session.close()
            (stopped,) = await ask(cluster, lambda op: StopRequested(workload_id="web/0", operation_id=op))
            (started,) = await ask(cluster, lambda op: StartRequested(workload_id="web/0", operation_id=op))
            assert (stopped.outcome, started.outcome) == ("stopped", "running")
            assert await said(cluster, "web/0", "cat", "/tmp/state", "/etc/told") == "kept\nfirst"
            other = Template(stop_grace_ns=2 * 10**9, files={"/etc/told": File(content=b"second")})
            results = await ask(
                cluster,
                lambda op: ReplaceRequested(operation_id=op, image=IMAGE, template=cluster.digest_of(other), app="web"),
                other,
            )
            assert [result.outcome for result in results] == ["replaced", "replaced"]
            assert await said(cluster, "web/1", "cat", "/etc/told") == "second"
            results = await ask(
                cluster, lambda op: ReplaceRequested(operation_id=op, image="no-such-image:local", app="web", step=2)
            )
            assert [result.outcome for result in results] == ["rolled_back", "rolled_back"], results
            await settle(cluster)
            assert await said(cluster, "web/0", "cat", "/etc/told") == "second"
            (forgotten,) = await ask(cluster, lambda op: DissociateRequested(workload_id="web/1", operation_id=op))
            assert forgotten.outcome == "dissociated"
            await cluster.reconcile()
            await cluster.reconcile()
            assert [
                name.rpartition(".g")[0] for names in rig.containers().values() for name in names if "web.1" in name
            ]
            assert cluster.orphans == []

    asyncio.run(scenario())


async def said(cluster: LiveCluster, workload_id: str, *command: str) -> str:
    place = cluster.workloads.place(workload_id)
    session = await place.engine.execute(workload_id, place.generation, command)
    try:
        return b"".join([chunk.data async for chunk in session.output()]).decode()
    finally:
        await session.close()


def test_exits_are_noticed_and_what_ended_is_removed_a_while_later(rig: Rig) -> None:
    async def scenario() -> None:
        async with rig.cluster() as cluster:
            await deploy(cluster, "once", template=Template(command=("log", "2", "exit", "3")), on_exit="end")
            await deploy(cluster, "held", template=Template(command=("wait", "1", "exit", "4")))
            while "once/0" in cluster.core.workloads or cluster.workloads.get("held/0").state != "stopped":
                await asyncio.sleep(0.1)
            place = cluster.workloads.place("once/0")
            lines = [chunk.data async for chunk in place.engine.logs("once/0", place.generation)]
            assert b"".join(lines) == b"line 1\nline 2\n"
            for _ in range(200):
                if not any("once" in name for names in rig.containers().values() for name in names):
                    break
                await asyncio.sleep(0.1)
            assert list(cluster.core.workloads) == ["held/0"]
            assert [name for names in rig.containers().values() for name in names] == ["held.0.g1"]

    asyncio.run(scenario())


def test_a_recording_of_real_engines_is_verified_and_replayed_under_another_policy(rig: Rig, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig.cluster() as cluster:
            await deploy(cluster, "first", 5)
            await cluster.driver.submit(PolicyChanged(name="worst-fit"))
            await deploy(cluster, "second", 4, strategy="global")
            await deploy(cluster, "job", template=Template(command=("exit", "0")), on_exit="end")
            for number in range(5):
                await ask(cluster, lambda op, n=number: RemovalRequested(workload_id=f"first/{n}", operation_id=op))
            await settle(cluster)
        store = SqliteStore(rig.directory)
        await store.open()
        header = await store.header()
        assert header is not None
        reader, lines = JournalReader(), [header + b"\n"]
        reader.read_header(header)
        async for line in store.lines(0):
            reader.read(line + b"\n")
            lines.append(line + b"\n")
        footer = Footer(len(lines) - 1, reader.journal_digest, reader.decision_digest)
        (tmp_path / "run.jsonl").write_bytes(b"".join(lines) + msgspec.json.encode(footer) + b"\n")
        await store.close()

    asyncio.run(scenario())
    found = verify(tmp_path / "run.jsonl")
    assert found["ok"], found["first_difference"]
    # As long as the recording, the last stop may still be under way: how long it takes is drawn from all of them.
    summary = replay(f"journal:{tmp_path / 'run.jsonl'}", policy="first-fit", horizon="1h").summary
    assert (summary["workloads"], summary["killed"], summary["nodes"]) == (10, 5, 3)
    (sentence,) = [text for text in summary["assumptions"] if text.startswith("Engines take as long")]
    assert "starts 0 s" not in sentence


def test_a_lost_journal_is_rebuilt_from_the_engines(rig: Rig, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig.cluster() as cluster:
            await deploy(cluster, "bound", 2, bind=True, cpu_request=1)
            await deploy(cluster, "web", 3)
            before = {w.workload_id: (cluster.workloads.node_of(w), w.assignments) for w in cluster.workloads.list()}
            pids = rig.pids()
        rig.directory = tmp_path / "anew"
        async with rig.cluster() as cluster:
            after = {w.workload_id: (cluster.workloads.node_of(w), w.assignments) for w in cluster.workloads.list()}
            assert after == before
            await cluster.reconcile()
            await settle(cluster)
            assert rig.pids() == pids
            assert {w.state for w in cluster.workloads.list()} == {"running"}
            assert check(cluster.core) is None

    asyncio.run(scenario())

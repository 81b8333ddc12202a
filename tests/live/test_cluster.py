"""The live cluster over simulated nodes: what services call."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import msgspec
import pytest
from live_kit import deployment, machines, request, running

from backends.real.cluster import ClusterOptions
from backends.real.driver import DriverOptions, Overloaded
from backends.real.endpoints import Endpoint
from backends.real.errors import Conflict, Missing, Rejected
from backends.real.stores.base import StoreError
from backends.real.stores.sqlite import SqliteStore
from backends.real.template import Template
from backends.sim.engine import EngineModel
from scheduler.events import RemovalRequested
from scheduler.invariants import check


def test_a_deployment_is_answered_copy_by_copy_and_survives_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving = machines()
        async with running(tmp_path, machines=outliving) as cluster:
            template = Template(command=("sleep", "1"))
            digest = cluster.digest_of(template)
            spec = request(cluster, "web", 6, operation_id="op", template=digest)
            view = await cluster.ask("op", deployment(spec), template=template, keep=True)
            results = await view.done()
            assert [(result.subject, result.outcome) for result in results] == [
                (f"web/{i}", "running") for i in range(6)
            ]
            assert {result.node_id for result in results} == {"n0", "n1", "n2"}
            with pytest.raises(Conflict):
                await cluster.ask("op", deployment(spec))
            digest_before = cluster.driver.journal.journal_digest
        async with running(tmp_path, machines=outliving) as cluster:
            assert cluster.driver.journal.journal_digest == digest_before
            assert (await cluster.template(digest)).command == ("sleep", "1")
            found = cluster.operations.find("op")
            assert found is not None
            assert len(found.results) == 6
            assert [workload.workload_id for workload in cluster.workloads.list(app="web")] == [
                f"web/{i}" for i in range(6)
            ]

    asyncio.run(scenario())


def test_templates_are_in_the_store_and_only_the_last_ones_at_hand(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, options=ClusterOptions(template_bytes=100_000)) as cluster:
            digests = []
            for number in range(40):
                template = Template(env=(f"NUMBER={number}", "TEXT=" + "x" * 10_000))
                digests.append(cluster.digest_of(template))
                spec = request(cluster, f"web{number}", cpu=0, template=digests[-1], operation_id=f"op{number}")
                await (await cluster.ask(f"op{number}", spec, template=template)).done()
                del template
            at_hand = [one for one in gc.get_objects() if type(one) is Template and "TEXT" in str(one.env)]
            assert 1 < len(at_hand) < 10
            for number, digest in enumerate(digests):
                assert (await cluster.template(digest)).env[0] == f"NUMBER={number}"

    asyncio.run(scenario())


def test_a_template_that_found_no_room_in_the_inbox_is_stored_with_what_asks_for_it_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving, template = machines(), Template(command=("sleep", "1"))
        async with running(tmp_path, machines=outliving) as cluster:
            digest = cluster.digest_of(template)
            spec = request(cluster, "web", 1, operation_id="op", template=digest)
            cluster.driver.options = DriverOptions(inbox_max=0)
            with pytest.raises(Overloaded):
                await cluster.ask("op", deployment(spec), template=template)
            cluster.driver.options = DriverOptions()
            await (await cluster.ask("op", deployment(spec), template=template)).done()
        async with running(tmp_path, machines=outliving) as cluster:
            assert (await cluster.template(digest)).command == ("sleep", "1")

    asyncio.run(scenario())


def test_what_cannot_be_placed_is_answered_with_a_diagnosis(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as cluster:
            spec = request(cluster, "big", 1, 9, operation_id="op")
            (result,) = await (await cluster.ask("op", deployment(spec))).done()
            assert result.outcome == "rejected"
            assert "0/3 nodes: 3 cpu" in result.detail

    asyncio.run(scenario())


def test_pools_and_nodes_say_what_stands_in_the_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, nodes=1) as cluster:
            with pytest.raises(Conflict, match="pool pool"):
                await cluster.pools.add("pool")
            with pytest.raises(Conflict, match="it has 1 nodes"):
                await cluster.pools.remove("pool")
            with pytest.raises(Missing):
                await cluster.nodes.add("n9", "nowhere", Endpoint(url="sim://"))
            with pytest.raises(Rejected, match="endpoint"):
                await cluster.nodes.add("n9", "pool", Endpoint(url="tcp://127.0.0.1:1"))
            with pytest.raises(Rejected, match=r"cpu\.memory"):
                await cluster.nodes.add("n9", "pool", Endpoint(url="sim://"), resources={"cpu": {"memory": "many"}})
            with pytest.raises(Rejected):
                await cluster.nodes.add("../n9", "pool", Endpoint(url="sim://"))
            assert [node.node_id for node in cluster.nodes.list(with_down=True)] == ["n0"]
            await (await cluster.ask("op", deployment(request(cluster, "a", operation_id="op")))).done()
            with pytest.raises(Conflict, match="1 workloads"):
                await cluster.nodes.remove("n0")
            view = await cluster.ask("rm", RemovalRequested(workload_id="a/0", operation_id="rm"))
            assert [result.outcome for result in await view.done()] == ["killed"]
            await cluster.nodes.remove("n0")
            await cluster.pools.remove("pool")
            assert check(cluster.core) is None

    asyncio.run(scenario())


def test_a_node_without_a_lease_takes_nothing_new_and_keeps_what_it_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, nodes=0) as cluster:
            node = await cluster.nodes.add("n0", "pool", Endpoint(url="sim://?cpus=8"))
            assert not node.is_available
            cluster.liveness.renew("n0", 10**12)
            await cluster.driver.submit()
            assert cluster.nodes.get("n0").is_available
            (result,) = await (await cluster.ask("1", deployment(request(cluster, "a", operation_id="1")))).done()
            assert result.outcome == "running"
            cluster.liveness.renew("n0", 1)
            while cluster.nodes.get("n0").state != "cordoned":
                await asyncio.sleep(0.05)
            assert cluster.nodes.get("n0").state == "cordoned"
            assert cluster.workloads.get("a/0").state == "running"
            await cluster.nodes.change("n0", bypass=True)
            cluster.liveness.renew("n0", 10**12)
            await cluster.driver.submit()
            assert not cluster.nodes.get("n0").is_available
            assert (await cluster.nodes.change("n0", bypass=False)).is_available

    asyncio.run(scenario())


def test_one_store_serves_one_service(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path):
            with pytest.raises(StoreError, match="in use by process"):
                await SqliteStore(tmp_path).open()

    asyncio.run(scenario())


def test_what_was_answered_of_an_operation_is_known_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving = machines()
        async with running(tmp_path, machines=outliving) as cluster:
            spec = msgspec.structs.replace(
                request(cluster, "web", 30, operation_id="op"), payloads={"cpu": {"cpu_request": 1, "bind": True}}
            )
            view = await cluster.ask("op", spec, keep=True, kind="submit", subjects=["web"])
            while len(view.results) < 24:
                await asyncio.sleep(0.01)
            assert not view.is_done
        async with running(tmp_path, machines=outliving) as cluster:
            found = cluster.operations.find("op")
            assert found is not None
            assert (found.kind, found.subjects, found.is_done) == ("submit", ("web",), False)
            assert [result.outcome for result in found.results] == ["running"] * 24
            for number in range(6):
                await (
                    await cluster.ask(
                        f"rm{number}", RemovalRequested(workload_id=f"web/{number}", operation_id=f"rm{number}")
                    )
                ).done()
            assert len(await found.done()) == 30
            assert await cluster.store.load("results") == {}

    asyncio.run(scenario())


def test_a_restart_goes_on_where_the_service_went_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving = machines(EngineModel(stop_ns=10**8))
        async with running(tmp_path, machines=outliving) as cluster:
            await (await cluster.ask("op", deployment(request(cluster, "a", operation_id="op")))).done()
            (view,) = await cluster.restart({"again": "a/0"})
            while cluster.workloads.get("a/0").state != "stopping":
                await asyncio.sleep(0.01)
            assert not view.is_done
        async with running(tmp_path, machines=outliving) as cluster:
            found = cluster.operations.find("again")
            assert found is not None
            assert [result.outcome for result in await found.done()] == ["running"]
            assert (cluster.workloads.get("a/0").state, cluster.workloads.get("a/0").generation) == ("running", 2)

    asyncio.run(scenario())


def test_a_drain_lasts_until_the_node_is_put_back_into_use(tmp_path: Path) -> None:
    async def scenario() -> None:
        outliving = machines()
        async with running(tmp_path, nodes=2, machines=outliving) as cluster:
            await (await cluster.ask("op", deployment(request(cluster, "a", 4, operation_id="op")))).done()
            (result,) = await (await cluster.nodes.drain("n0", "drain")).done()
            assert result.outcome == "drained"
            assert cluster.workloads.list(node_id="n0") == []
            assert cluster.nodes.get("n0").is_bypassed
        async with running(tmp_path, machines=outliving) as cluster:
            assert cluster.nodes.get("n0").state == "draining"
            assert (await cluster.nodes.uncordon("n0")).state == "ready"
            assert cluster.nodes.get("n0").is_available

    asyncio.run(scenario())


def test_a_caller_that_goes_away_takes_nothing_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, nodes=1) as cluster:
            task = asyncio.create_task(cluster.nodes.add("n1", "pool", Endpoint(url="sim://", test=True)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while "n1" not in cluster.core.cluster.by_id:
                await asyncio.sleep(0.01)
            await cluster.driver.submit()
            assert cluster.nodes.get("n1").is_available
            assert "n1" in await cluster.store.load("nodes")
            with pytest.raises(Rejected, match="no parameter"):
                await cluster.set_policy("best-fit", {"nothing": 1})
            await cluster.set_policy("worst-fit", {})
            assert cluster.core.policy.name == "worst-fit"

    asyncio.run(scenario())

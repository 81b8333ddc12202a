"""The service is killed, again and again, in the middle of its work; after each time everything is as it should be."""

from __future__ import annotations

import asyncio
import json
import os
import random
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from docker_cluster_kit import IMAGE, add_nodes, clean, containers, docker_cluster
from live_server_kit import POINTS, ServerProcess
from testbed_kit import BedNode

from backends.real import cgroups
from backends.real.service.pb import corerpc_pb2
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub

pytestmark = pytest.mark.long

pb: Any = corerpc_pb2
RECONCILE_S = 2.0
KILLS = int(os.environ.get("ERU_KILLS", "50"))
SEED = int(os.environ.get("ERU_SEED", "1"))


class Client:
    """Deploys and removes, and remembers what it was told."""

    def __init__(self, nodes: list[BedNode], core_id: str, draws: random.Random) -> None:
        self.nodes = nodes
        self.core_id = core_id
        self.draws = draws
        self.running: set[str] = set()
        """Created, as we were told, and nobody asked for their removal."""
        self.unsure: set[str] = set()
        """Asked to be removed, and we were not told that they are: they may go at any moment."""
        self.names = 0

    async def deploy(self, stub: Any) -> None:
        self.names += 1
        bind = self.draws.random() < 0.4
        cpu = {"cpu-request": 1, "cpu-bind": True} if bind else {"cpu-request": 0.1, "cpu-limit": 0.2}
        request = {**cpu, "memory-request": "16M"}
        options = pb.DeployOptions(
            name=f"app{self.names}",
            entrypoint=pb.EntrypointOptions(name="main"),
            podname="pool",
            image=IMAGE,
            count=self.draws.randint(1, 2),
            resources={"cpumem": json.dumps(request).encode()},
            deploy_strategy=pb.DeployOptions.AUTO,
            ignore_pull=True,
        )
        async for message in stub.CreateWorkload(options):
            if message.success:
                self.running.add(message.id)

    async def remove(self, stub: Any) -> None:
        workload_id = self.draws.choice(sorted(self.running | self.unsure))
        self.running.discard(workload_id)
        self.unsure.add(workload_id)
        async for message in stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)):
            if message.success:
                self.unsure.discard(message.id)

    async def work(self, address: str, calls: int) -> None:
        """So many calls, until the service is gone."""
        async with grpc.aio.insecure_channel(address) as channel:
            stub = CoreRPCStub(channel)
            for _ in range(calls):
                try:
                    if self.running and self.draws.random() < 0.45:
                        await asyncio.wait_for(self.remove(stub), 30)
                    else:
                        await asyncio.wait_for(self.deploy(stub), 30)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        return

    async def check(self, address: str, pids: dict[str, int]) -> dict[str, int]:
        """Within a reconcile interval engines and service agree; return the pids that there are.

        What was to be removed by force may have been killed and be there yet: then it is stopped, and can be removed.
        """
        deadline = asyncio.get_running_loop().time() + RECONCILE_S + 20
        async with grpc.aio.insecure_channel(address) as channel:
            stub = CoreRPCStub(channel)
            while True:
                known = {w.id: w.nodename async for w in stub.ListWorkloads(pb.ListWorkloadsOptions())}
                found = list(containers(self.nodes, self.core_id))
                places = Counter((c.workload_id, c.node.name) for c in found)
                if places == Counter(known.items()) and all(c.pid or c.workload_id in self.unsure for c in found):
                    break
                if asyncio.get_running_loop().time() > deadline:
                    there = sorted((c.workload_id, c.node.name, c.name, c.inspect["State"]) for c in found)
                    raise AssertionError(f"the service knows {sorted(known.items())}, engines have {there}")
                await asyncio.sleep(0.1)
        lost = self.running - known.keys()
        assert not lost, f"created and gone: {sorted(lost)}"
        self.unsure &= known.keys()
        self.running = known.keys() - self.unsure
        now = {c.name: c.pid for c in found if c.pid}
        assert {name: pid for name, pid in pids.items() if name in now} == {
            name: now[name] for name in pids if name in now
        }, "containers that ran kept their pids"
        self.check_cores(found)
        return now

    def check_cores(self, found: list[Any]) -> None:
        """No core is bound twice."""
        groups = cgroups.detect()
        for node in self.nodes:
            bound = [
                core
                for container in found
                if container.node == node and container.pid and container.inspect["HostConfig"]["CpuQuota"] <= 0
                for core in groups.limits_of(container.pid).cpuset_cpus.split(",")
            ]
            assert len(set(bound)) == len(bound), f"{node.name}: {bound}"


def test_killed_at_any_point_the_service_comes_back_to_what_engines_have(
    testbed_nodes: list[BedNode], tmp_path: Path
) -> None:
    core_id, draws = uuid.uuid4().hex[:12], random.Random(SEED)
    client = Client(testbed_nodes, core_id, draws)

    async def scenario() -> None:
        cluster = docker_cluster(tmp_path, core_id)
        await cluster.start()
        await add_nodes(cluster, testbed_nodes, cores=2)
        await cluster.stop()
        pids: dict[str, int] = {}
        for cycle in range(KILLS // 2):
            point = POINTS[cycle % len(POINTS)]
            fault = f"{point}:{draws.randint(1, 6)}"
            async with ServerProcess(tmp_path, core_id, fault) as server:
                if server.address:
                    await client.work(server.address, 12)
                await server.kill()
            async with ServerProcess(tmp_path, core_id) as server:
                try:
                    pids = await client.check(server.address, pids)
                except AssertionError as error:
                    raise AssertionError(f"cycle {cycle}, after {fault}, seed {SEED}: {error}") from error
                worker = asyncio.create_task(client.work(server.address, 4))
                await asyncio.sleep(draws.uniform(0.05, 0.8))
                await server.kill()
                await worker
            if len(client.running) > 12:
                async with (
                    ServerProcess(tmp_path, core_id) as server,
                    grpc.aio.insecure_channel(server.address) as channel,
                ):
                    for _ in range(8):
                        await client.remove(CoreRPCStub(channel))
        async with ServerProcess(tmp_path, core_id) as server:
            await client.check(server.address, pids)
            async with grpc.aio.insecure_channel(server.address) as channel:
                client.running |= client.unsure
                while client.running:
                    await client.remove(CoreRPCStub(channel))
        assert list(containers(testbed_nodes, core_id)) == []

    try:
        asyncio.run(scenario())
    finally:
        clean(testbed_nodes, core_id)


@pytest.mark.parametrize("point", POINTS)
def test_the_points_at_which_it_dies_are_there(point: str, testbed_nodes: list[BedNode], tmp_path: Path) -> None:
    core_id = uuid.uuid4().hex[:12]
    client = Client(testbed_nodes, core_id, random.Random(1))

    async def scenario() -> None:
        cluster = docker_cluster(tmp_path, core_id)
        await cluster.start()
        await add_nodes(cluster, testbed_nodes)
        await cluster.stop()
        async with ServerProcess(tmp_path, core_id, f"{point}:2") as server:
            await client.work(server.address, 6)
            assert await asyncio.wait_for(server.process.wait(), 20) == -9

    try:
        asyncio.run(scenario())
    finally:
        clean(testbed_nodes, core_id)

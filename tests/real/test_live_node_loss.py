"""A node's daemon is killed: its work is handled as it asked for, and nobody else notices."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from docker_cluster_kit import IMAGE, add_nodes, clean, containers, docker_cluster, settle
from testbed_kit import BedNode

from backends.real.template import Template
from scheduler.events import OnNodeLoss, WorkloadsSubmitted
from scheduler.invariants import check
from testbed import beds, docker_nodes


def test_a_dead_daemon_loses_its_node_alone(
    testbed_nodes: list[BedNode], private_node: BedNode, tmp_path: Path
) -> None:
    nodes, core_id = [testbed_nodes[0], private_node], uuid.uuid4().hex[:12]
    node = beds.find_bed().node(private_node.number)

    async def scenario() -> None:
        cluster = docker_cluster(tmp_path, core_id, loss_s=2)
        await cluster.start()
        try:
            await add_nodes(cluster, nodes)
            await cluster.set_policy("worst-fit", {})

            async def submit(name: str, on_node_loss: OnNodeLoss) -> None:
                template = Template(stop_grace_ns=10**9)
                spec = WorkloadsSubmitted(
                    workload_id=name,
                    request=(0,) * len(cluster.core.config.dimensions),
                    count=2,
                    image=IMAGE,
                    template=cluster.digest_of(template),
                    payloads={"cpu": {"bind": True, "cpu_request": 0.5, "memory_request": "16M"}},
                    on_node_loss=on_node_loss,
                    operation_id=name,
                )
                await (await cluster.ask(name, spec, template=template)).done()

            await submit("moves", "reschedule")
            await submit("stays", "lose")
            await settle(cluster)
            on_lost = {w.workload_id for w in cluster.workloads.list(node_id=private_node.name)}
            others = {c.name: c.pid for c in containers(nodes[:1], core_id)}
            assert on_lost
            docker_nodes.stop_daemon(node)
            while cluster.nodes.get(private_node.name).state != "lost":
                await asyncio.sleep(0.1)
            await settle(cluster)
            live = {w.workload_id: cluster.workloads.node_of(w) for w in cluster.workloads.list() if w.row >= 0}
            assert private_node.name not in live.values()
            assert {w for w in on_lost if w.startswith("moves")} <= {w.workload_id for w in cluster.workloads.list()}
            assert not {w for w in on_lost if w.startswith("stays")} & {w.workload_id for w in cluster.workloads.list()}
            now = {c.name: c.pid for c in containers(nodes[:1], core_id)}
            assert {name: now.get(name) for name in others} == others
            docker_nodes.ensure_daemon(node)
            while cluster.nodes.get(private_node.name).state != "ready" or cluster.core.fences:
                await asyncio.sleep(0.1)
            await settle(cluster)
            known = {(w.workload_id, cluster.workloads.node_of(w)) for w in cluster.workloads.list() if w.row >= 0}
            assert {(c.workload_id, c.node.name) for c in containers(nodes, core_id)} == known
            assert check(cluster.core) is None
        finally:
            await cluster.stop()

    try:
        asyncio.run(asyncio.wait_for(scenario(), 180))
    finally:
        clean(nodes, core_id)

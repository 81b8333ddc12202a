"""A live cluster over the testbed's Docker nodes, and what can be seen of it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from testbed_kit import BedNode

from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.endpoints import Endpoint
from backends.real.engines.base import Engine
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from backends.real.liveness import LivenessOptions
from eru_sim.live.composition import real_cluster
from testbed import beds, docker_nodes
from testbed.system import BedError

IMAGE = "eru-test:local"
SECOND_NS = 10**9


def docker_cluster(directory: Path, core_id: str, *, loss_s: float = 60, reconcile_s: float = 2) -> LiveCluster:
    """Of a core of that id, so that tests do not see each other's instances."""

    def connect(node_id: str, endpoint: Endpoint) -> Engine:
        tls = Tls(endpoint.ca, endpoint.cert, endpoint.key) if endpoint.ca else None
        return DockerEngine(endpoint.url, core_id=core_id, tls=tls)

    options = ClusterOptions(
        core_id=core_id,
        reconcile_ns=int(reconcile_s * SECOND_NS),
        ended_ns=2 * SECOND_NS,
        liveness=LivenessOptions(ping_ns=SECOND_NS, loss_ns=int(loss_s * SECOND_NS)),
    )
    return real_cluster(directory, connect, options=options)


def endpoint_of(node: BedNode, *, by_tls: bool = False) -> Endpoint:
    """A node that needs no lease."""
    if not by_tls:
        return Endpoint(url=node.docker.url, test=True)
    files = (node.docker.ca_file, node.docker.certificate_file, node.docker.key_file)
    ca, certificate, key = (Path(file).read_text(encoding="ascii") for file in files)
    return Endpoint(url=node.docker.tls_url, ca=ca, cert=certificate, key=key, test=True)


async def add_nodes(cluster: LiveCluster, nodes: list[BedNode], *, cores: int = 2) -> None:
    """A pool "pool" with the testbed's nodes; the last one is reached by TLS. Each offers the machine's cores."""
    if "pool" not in cluster.pools:
        await cluster.pools.add("pool")
    for node in nodes:
        if node.name not in cluster.core.cluster.by_id:
            resources = {"cpu": {"cores": cores, "memory": "4G"}}
            by_tls = node is nodes[-1] and bool(node.docker.tls_url)
            await cluster.nodes.add(node.name, "pool", endpoint_of(node, by_tls=by_tls), resources=resources)


class Container(NamedTuple):
    """A container as its daemon has it."""

    node: BedNode
    name: str
    pid: int
    workload_id: str
    inspect: Any


def call(node: BedNode, method: str, path: str) -> Any:
    """Ask the daemon itself."""
    return docker_nodes.call(beds.find_bed().node(node.number), method, path, None)


def containers(nodes: list[BedNode], core_id: str) -> Iterator[Container]:
    """Every container of a core, running or not; one that goes while they are asked for may be left out."""
    query = f'all=1&filters={{"label":["eru.core={core_id}"]}}'
    for node in nodes:
        for listed in call(node, "GET", f"/containers/json?{query}"):
            try:
                found = call(node, "GET", f"/containers/{listed['Id']}/json")
            except BedError as error:
                if ": 404: " in str(error):
                    continue  # it has just been removed
                raise
            labels = found["Config"]["Labels"]
            name, pid = found["Name"].lstrip("/"), found["State"]["Pid"]
            yield Container(node, name, pid, labels["eru.workload"], found)


def clean(nodes: list[BedNode], core_id: str) -> None:
    """Remove every container of a core."""
    for container in list(containers(nodes, core_id)):
        call(container.node, "DELETE", f"/containers/{container.inspect['Id']}?force=1&v=1")


async def settle(cluster: LiveCluster) -> None:
    """Until nothing starts or stops."""
    for _ in range(600):
        await cluster.driver.settled()
        parts = cluster.core.partition()
        if not parts["starting"] and not any(w.state == "stopping" for w in cluster.core.workloads.values()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(cluster.core.partition())

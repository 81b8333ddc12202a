"""A live cluster over simulated nodes, in real time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from backends.real.clock import SystemClock
from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.endpoints import Endpoint
from backends.sim.engine import EngineModel, SimulatedEngine
from eru_sim.live.composition import simulated_cluster
from eru_sim.live.simulated import SimulatedGateway
from scheduler.events import DeploymentRequested, Strategy, WorkloadsSubmitted


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, nodes: int = 3, machines: SimulatedGateway | None = None, options: ClusterOptions | None = None
) -> AsyncIterator[LiveCluster]:
    """Started, with a pool "pool" and nodes n0, n1, … of 8 cores that need no lease."""
    cluster = simulated_cluster(directory, machines=machines, options=options or ClusterOptions())
    await cluster.start()
    try:
        if "pool" not in cluster.pools:
            await cluster.pools.add("pool")
            for number in range(nodes):
                await cluster.nodes.add(f"n{number}", "pool", Endpoint(url="sim://?cpus=8", test=True))
        yield cluster
    finally:
        await cluster.stop()


def machines(model: EngineModel | None = None) -> SimulatedGateway:
    """Machines that can outlive a cluster."""
    return SimulatedGateway(SimulatedEngine(model), SystemClock())


def request(cluster: LiveCluster, name: str, count: int = 1, cpu: float = 1, **fields: Any) -> WorkloadsSubmitted:
    """So many copies of something that wants ``cpu`` cores."""
    return WorkloadsSubmitted(
        workload_id=name,
        request=(0,) * len(cluster.core.config.dimensions),
        count=count,
        pool="pool",
        image="busybox",
        app=name,
        payloads={"cpu": {"cpu_request": cpu, "memory_request": "64M"}},
        **fields,
    )


def deployment(spec: WorkloadsSubmitted, strategy: Strategy = "auto") -> DeploymentRequested:
    return DeploymentRequested(spec=spec, strategy=strategy)

"""What a workload costs on Docker over a bare loop of the Docker SDK.

    python -m benchmarks.docker_overhead [--count N] [--json FILE]

As root, with the testbed up (`make testbed-up`). On one node of it the same container is created and started, and then
killed and removed, in three ways that take turns, one container at a time: by ``containers.run`` and ``remove`` of the
Docker SDK for Python; by the engine adapter; and by CreateWorkload and RemoveWorkload of `eru serve`, from the call to
its last message, which is after the journal is synchronised to disk. Milliseconds of wall time, medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import docker

from backends.real.engines.base import InstanceSpec
from backends.real.engines.docker import DockerEngine
from backends.real.service.pb import corerpc_pb2, eru_v1_pb2
from backends.real.template import Template
from benchmarks.live import CORE, ERU, Served, ask, options
from testbed import beds

IMAGE = "eru-test:local"
WAYS = ("bare SDK", "engine", "service")

core_pb: Any = corerpc_pb2
eru_pb: Any = eru_v1_pb2


async def timed(call: Awaitable[Any]) -> tuple[float, Any]:
    """Milliseconds until it has its result, and that."""
    began = time.perf_counter()
    found = await call
    return (time.perf_counter() - began) * 1000, found


async def by_sdk(client: Any) -> tuple[float, float]:
    """Milliseconds of one start and of one removal, which both go through a thread."""
    start_ms, container = await timed(asyncio.to_thread(client.containers.run, IMAGE, detach=True))
    remove_ms, _ = await timed(asyncio.to_thread(container.remove, force=True))
    return start_ms, remove_ms


async def by_engine(engine: DockerEngine, number: int) -> tuple[float, float]:
    """The same by the adapter that the service uses."""
    workload_id = f"bench/{number}"
    spec = InstanceSpec(workload_id=workload_id, generation=1, node_id="n", image=IMAGE, template=Template())
    start_ms, _ = await timed(engine.start(spec))
    remove_ms, _ = await timed(engine.stop(workload_id, 1, keep=False, grace_ns=0))
    return start_ms, remove_ms


async def by_service(server: Served) -> tuple[float, float]:
    """The same by a client of the service."""
    deployment = options("bench", 1)
    deployment.image, deployment.entrypoint.commands[:] = IMAGE, []
    start_ms, answer = await timed(server.client.call(CORE + "CreateWorkload", deployment.SerializeToString()))
    created = core_pb.CreateWorkloadMessage.FromString(answer[0])
    assert created.success, created.error
    removal = core_pb.RemoveWorkloadOptions(IDs=[created.id], force=True)
    remove_ms, answer = await timed(server.client.call(CORE + "RemoveWorkload", removal.SerializeToString()))
    assert core_pb.RemoveWorkloadMessage.FromString(answer[0]).success
    return start_ms, remove_ms


async def measure(url: str, count: int) -> dict[str, dict[str, float]]:
    """By way, the medians of ``count`` starts and removals."""
    client, engine = docker.DockerClient(base_url=url), DockerEngine(url, core_id="benchmark")
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as directory:
        arguments = ("-m", "eru_sim.cli.main", "serve", "--data-dir", directory, "--listen", "127.0.0.1:0")
        async with Served(*arguments) as server:
            await ask(server.client, ERU + "AddPool", eru_pb.AddPoolRequest(name="pool"), eru_pb.Pool)
            node = eru_pb.AddNodeRequest(node_id="n", pool="pool", endpoint=eru_pb.Endpoint(url=url), is_test=True)
            await ask(server.client, ERU + "AddNode", node, eru_pb.Node)
            try:
                for number in range(count):
                    spent["bare SDK"].append(await by_sdk(client))
                    spent["engine"].append(await by_engine(engine, number))
                    spent["service"].append(await by_service(server))
            finally:
                await engine.close()
                client.close()
    return {
        way: {what: statistics.median(one[place] for one in found) for place, what in enumerate(("start", "remove"))}
        for way, found in spent.items()
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, metavar="N", help="containers by each way (30)")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    env = beds.read_env(beds.find_bed())
    if env is None:
        print("the overhead on Docker is not measured: no testbed is up; make testbed-up, as root", file=sys.stderr)
        return
    found = asyncio.run(measure(env["nodes"][0]["docker"]["url"], asked.count))
    bare = found["bare SDK"]
    print(f"milliseconds a container, medians of {asked.count}: start, and kill and remove; over the bare SDK")
    for way, row in found.items():
        over = "".join(f"{row[what] - bare[what]:+9.1f}" for what in row)
        print(f"  {way:10}{row['start']:9.1f}{row['remove']:9.1f}{over if way != 'bare SDK' else ''}")
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

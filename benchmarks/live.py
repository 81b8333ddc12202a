"""What the live service does in a second: simulated nodes behind the real driver, SQLite journal and gRPC service.

A server process with ``--nodes`` nodes, whose agents report, and a client process that speaks Eru's wire. ``single``:
32 calls at a time, one instance each; ``many``: one call after the other, 1,000 instances each; both until the last
instance runs. ``plan``: CalculateCapacity, one after the other, unbound and bound, warm and (apart) the first time.
Rates are by wall time, which other work on the machine lowers; the server's CPU seconds an instance stand beside them,
and the time of a loop of as many dictionary insertions in the client, for comparing machines.

    python -m benchmarks.live [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CALLS = 32
COPIES = 1_000
HEARTBEAT_S = 60


async def serve(nodes: int, directory: Path) -> None:
    """Serve until standard input ends; say the address on standard output first."""
    from backends.real.cluster import ClusterOptions
    from backends.real.nodes import Endpoint
    from backends.real.service.calls import CallLimits
    from backends.real.service.corerpc.context import CoreRpcOptions
    from backends.real.service.corerpc.service import CoreRpc
    from backends.real.service.server import Server, ServerOptions
    from eru_sim.live.composition import simulated_cluster
    from scheduler import kernels

    kernels.compile_all()
    cluster = simulated_cluster(directory, options=ClusterOptions())
    await cluster.start()
    rpc = CoreRpc(cluster, CoreRpcOptions(address="127.0.0.1:0"))
    server = Server(ServerOptions(bind="127.0.0.1:0", limits=CallLimits()), [rpc.service()])
    await server.start()
    await cluster.add_pool("pool")

    async def add(first: int) -> None:
        for number in range(first, nodes, 64):
            await cluster.add_node(f"n{number}", "pool", Endpoint(url="sim://?cpus=64&memory=512000000000"))

    await asyncio.gather(*(add(first) for first in range(64)))
    print(server.address, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line == b"cpu\n":
            print(json.dumps({"cpu_s": time.process_time(), "workloads": len(cluster.core.workloads)}), flush=True)
    await server.stop()
    await cluster.stop()


class Service:
    """The server process and a channel to it."""

    def __init__(self, nodes: int, directory: Path) -> None:
        self._nodes = nodes
        self._directory = directory

    async def __aenter__(self) -> Service:
        import grpc

        from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub

        arguments = ("-m", "benchmarks.live", "--serve", str(self._directory), "--nodes", str(self._nodes))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        address = ""
        while not address.startswith("127."):
            address = (await self._process.stdout.readline()).decode().strip()
        self.channel = grpc.aio.insecure_channel(address)
        self.stub: Any = CoreRPCStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def cpu_s(self) -> float:
        """What the server has used."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"cpu\n")
        while True:
            line = (await self._process.stdout.readline()).decode()
            if line.startswith('{"cpu_s"'):
                return float(json.loads(line)["cpu_s"])

    async def heartbeat_for_ever(self) -> None:
        """All nodes' agents: each renews its lease every minute, evenly spread."""
        from backends.real.service.pb import corerpc_pb2

        pb: Any = corerpc_pb2
        names = [f"n{number}" for number in range(self._nodes)]
        await asyncio.gather(
            *(self.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename=name, ttl=3 * HEARTBEAT_S)) for name in names)
        )
        while True:
            for name in names:
                await self.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename=name, ttl=3 * HEARTBEAT_S))
                await asyncio.sleep(HEARTBEAT_S / len(names))


def options(name: str, count: int, *, bind: bool = False) -> Any:
    """A deployment as Eru's CLI would send it."""
    from backends.real.service.pb import corerpc_pb2

    pb: Any = corerpc_pb2
    request = {"cpu-request": 0.5, "memory-request": "64M", **({"cpu-bind": True} if bind else {})}
    return pb.DeployOptions(
        name=name,
        entrypoint=pb.EntrypointOptions(name="main", commands=["sleep", "1"]),
        podname="pool",
        image="busybox",
        count=count,
        resources={"cpumem": json.dumps(request).encode()},
        deploy_strategy=pb.DeployOptions.AUTO,
    )


async def create(service: Service, name: str, count: int) -> None:
    """Deploy, and wait until all run."""
    running = 0
    async for message in service.stub.CreateWorkload(options(name, count)):
        assert message.success, message
        running += 1
    assert running == count, (name, running)


async def single(service: Service, calls: int) -> int:
    """So many calls of one instance, `CALLS` at a time."""

    async def client(number: int) -> None:
        for call in range(calls // CALLS):
            await create(service, f"single{number}x{call}", 1)

    await asyncio.gather(*(client(number) for number in range(CALLS)))
    return calls // CALLS * CALLS


async def many(service: Service, calls: int) -> int:
    """So many calls of `COPIES` instances, one after the other."""
    for call in range(calls):
        await create(service, f"many{call}", COPIES)
    return calls * COPIES


def reference_s(count: int) -> float:
    """A loop of as many dictionary insertions."""
    began = time.perf_counter()
    known: dict[str, int] = {}
    for number in range(count):
        known[f"key{number}"] = number
    return time.perf_counter() - began


async def plans(service: Service, calls: int, *, bind: bool) -> dict[str, float]:
    """Milliseconds of planning calls: the first, and quantiles of the rest."""
    took = []
    for number in range(calls + 1):
        began = time.perf_counter()
        await service.stub.CalculateCapacity(options(f"plan{number}", 1, bind=bind))
        took.append(1000 * (time.perf_counter() - began))
    rest = sorted(took[1:])
    return {"first_ms": took[0], "p50_ms": rest[len(rest) // 2], "p99_ms": rest[int(len(rest) * 0.99)]}


async def measure(nodes: int, calls: int) -> dict[str, Any]:
    """Everything, in one run."""
    result: dict[str, Any] = {"nodes": nodes, "cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory() as directory:
        async with Service(nodes, Path(directory)) as service:
            agents = asyncio.create_task(service.heartbeat_for_ever())
            await asyncio.sleep(5)
            await single(service, CALLS * 2)
            for name, case, size in (("single", single, calls), ("many", many, calls // 100)):
                cpu_s, began = await service.cpu_s(), time.perf_counter()
                created = await case(service, size)
                took_s = time.perf_counter() - began
                result[name] = {
                    "workloads": created,
                    "per_s": created / took_s,
                    "server_cpu_us": 1e6 * (await service.cpu_s() - cpu_s) / created,
                    "reference_us": 1e6 * reference_s(created) / created,
                }
            result["plan_unbound"] = await plans(service, calls // 10, bind=False)
            result["plan_bound"] = await plans(service, calls // 10, bind=True)
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{result['nodes']:,} simulated nodes, {result['cpus']} cores, agents report every {HEARTBEAT_S} s")
    for name in ("single", "many"):
        row = result[name]
        print(
            f"{name:14} {row['workloads']:>8,} workloads {row['per_s']:>10,.0f} /s"
            f" {row['server_cpu_us']:>8,.0f} us of server CPU each, {row['reference_us']:.2f} us the reference"
        )
    for name in ("plan_unbound", "plan_bound"):
        row = result[name]
        print(f"{name:14} first {row['first_ms']:.1f} ms, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")


def main() -> None:
    """Measure and print, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--calls", type=int, default=3_200)
    parser.add_argument("--quick", action="store_true", help="500 nodes, 320 calls")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.nodes, arguments.serve))
        return
    nodes, calls = (500, 320) if arguments.quick else (arguments.nodes, arguments.calls)
    result = asyncio.run(measure(nodes, calls))
    show(result)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

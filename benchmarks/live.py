"""What the live service does in a second: `eru serve` with simulated nodes, whose agents report, and a client.

The server is what a user starts: driver, SQLite journal, both wires, metrics; only the engines are simulated. The
client is `benchmarks.lean_client`, in this process. On Eru's wire, ``single``: 32 calls of CreateWorkload at a time,
one instance each; ``many``: one call after the other, 1,000 instances each; both until the last instance runs. The same
on eru.v1 by Submit or Deploy, and WatchOperation. ``plan``: one call after the other, unbound and bound, the first
apart.

Rates are by wall time, which other work on the machine lowers; the server's CPU an instance stands beside them.
``floor`` is a bare grpc.aio server that answers as many bytes to the same client, with nothing behind it.

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
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.lean_client import LeanClient

CALLS = 32
COPIES = 1_000
HEARTBEAT_S = 60
CORE = "/pb.CoreRPC/"
ERU = "/eru.v1.Eru/"
_REQUEST = {"cpu-request": 0.5, "memory-request": "64M"}
_OWN_REQUEST = {"cpu_request": 0.5, "memory_request": "64M"}


class Served:
    """A server process, and a connection to it."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.client: LeanClient

    async def __aenter__(self) -> Served:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.client = LeanClient(line.removeprefix("serving on ").strip().partition(",")[0])
        await self.client.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.close()
        self._process.terminate()
        await self._process.wait()

    @property
    def cpu_s(self) -> float:
        """What the server has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def service(directory: Path) -> Served:
    """`eru serve` over simulated engines."""
    return Served(
        "-m", "eru_sim.cli.main", "serve", "--data-dir", str(directory), "--engines", "simulated",
        "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--rate-limit", "0",
    )  # fmt: skip


async def each(items: list[Any], ask: Callable[[Any], Awaitable[object]]) -> None:
    """Ask for each item, `CALLS` at a time."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await ask(item)

    await asyncio.gather(*(work() for _ in range(CALLS)))


class Agents:
    """All nodes' agents: each renews its lease every minute, evenly spread."""

    def __init__(self, client: LeanClient, nodes: int) -> None:
        self._client = client
        self._names = [f"n{number}" for number in range(nodes)]

    async def add_nodes(self) -> None:
        """Register the nodes, and have all agents report."""
        from backends.real.service.pb import eru_v1_pb2

        pb: Any = eru_v1_pb2
        await ask(self._client, ERU + "AddPool", pb.AddPoolRequest(name="pool"), pb.Pool)
        endpoint = pb.Endpoint(url="sim://?cpus=64&memory=512000000000")

        async def add(name: str) -> None:
            await ask(
                self._client, ERU + "AddNode", pb.AddNodeRequest(node_id=name, pool="pool", endpoint=endpoint), pb.Node
            )

        await each(self._names, add)
        await each(self._names, self._report)

    async def _report(self, name: str) -> None:
        from backends.real.service.pb import corerpc_pb2

        pb: Any = corerpc_pb2
        status = pb.SetNodeStatusOptions(nodename=name, ttl=3 * HEARTBEAT_S)
        await ask(self._client, CORE + "SetNodeStatus", status, pb.Empty)

    async def report_for_ever(self) -> None:
        """Every so often one of them."""
        began = time.perf_counter()
        while True:
            for name in self._names:
                began += HEARTBEAT_S / len(self._names)
                await asyncio.sleep(began - time.perf_counter())
                await self._report(name)


async def ask(client: LeanClient, method: str, request: Any, answer: Any) -> Any:
    """A call that is answered by one message."""
    found = await client.call(method, request.SerializeToString())
    assert len(found) == 1, f"{method} failed"
    return answer.FromString(found[0])


def options(name: str, count: int, *, bind: bool = False) -> Any:
    """A deployment as Eru's CLI would send it."""
    from backends.real.service.pb import corerpc_pb2

    pb: Any = corerpc_pb2
    request = {**_REQUEST, **({"cpu-bind": True} if bind else {})}
    return pb.DeployOptions(
        name=name,
        entrypoint=pb.EntrypointOptions(name="main", commands=["sleep", "1"]),
        podname="pool",
        image="busybox",
        count=count,
        resources={"cpumem": json.dumps(request).encode()},
        deploy_strategy=pb.DeployOptions.AUTO,
    )


def spec(name: str, count: int, *, bind: bool = False) -> Any:
    """The same for eru.v1."""
    from backends.real.service.pb import eru_v1_pb2

    pb: Any = eru_v1_pb2
    request = {**_OWN_REQUEST, **({"bind": True} if bind else {})}
    return pb.WorkloadSpec(
        app=name,
        entrypoint="main",
        image="busybox",
        count=count,
        pool="pool",
        resources={"cpu": json.dumps(request)},
        template=pb.Template(command=["sleep", "1"]),
    )


async def create(client: LeanClient, name: str, count: int) -> None:
    """Deploy on Eru's wire, and wait until all run."""
    from backends.real.service.pb import corerpc_pb2

    pb: Any = corerpc_pb2
    answer = await client.call(CORE + "CreateWorkload", options(name, count).SerializeToString())
    assert len(answer) == count, (name, len(answer))
    for data in answer[:: max(1, count - 1)]:
        assert pb.CreateWorkloadMessage.FromString(data).success


async def submit(client: LeanClient, name: str, count: int) -> None:
    """Place on eru.v1, and wait until all run."""
    from backends.real.service.pb import eru_v1_pb2

    pb: Any = eru_v1_pb2
    if count == 1:
        begun = await ask(client, ERU + "Submit", pb.SubmitRequest(spec=spec(name, 1)), pb.Operation)
    else:
        begun = await ask(client, ERU + "Deploy", pb.DeployRequest(spec=spec(name, count)), pb.Operation)
    watch = pb.WatchOperationRequest(operation_id=begun.operation_id)
    answer = await client.call(ERU + "WatchOperation", watch.SerializeToString())
    assert len(answer) == count + 1, (name, len(answer))
    for data in answer[: -1 : max(1, count - 1)]:
        assert pb.OperationUpdate.FromString(data).result.outcome == pb.OUTCOME_RUNNING


async def singles(place: Callable[[str, int], Awaitable[None]], calls: int) -> int:
    """So many calls of one instance, `CALLS` at a time."""
    await each([f"single{call}" for call in range(calls)], lambda name: place(name, 1))
    return calls


async def manys(place: Callable[[str, int], Awaitable[None]], calls: int) -> int:
    """So many calls of `COPIES` instances, one after the other."""
    for call in range(calls):
        await place(f"many{call}", COPIES)
    return calls * COPIES


def reference_s(count: int) -> float:
    """A loop of as many dictionary insertions."""
    began = time.perf_counter()
    known: dict[str, int] = {}
    for number in range(count):
        known[f"key{number}"] = number
    return time.perf_counter() - began


async def timed(plan: Callable[[int], Awaitable[object]], calls: int) -> dict[str, float]:
    """Milliseconds of calls: the first, and quantiles of the rest."""
    took = []
    for number in range(calls + 1):
        began = time.perf_counter()
        await plan(number)
        took.append(1000 * (time.perf_counter() - began))
    rest = sorted(took[1:])
    return {"first_ms": took[0], "p50_ms": rest[len(rest) // 2], "p99_ms": rest[int(len(rest) * 0.99)]}


async def plans(client: LeanClient, calls: int) -> dict[str, dict[str, float]]:
    """What a deployment would do, on both wires."""
    from backends.real.service.pb import corerpc_pb2, eru_v1_pb2

    core, own = corerpc_pb2, eru_v1_pb2
    found = {}
    for kind, bind in (("unbound", False), ("bound", True)):

        async def calculate(number: int, bind: bool = bind) -> None:
            await ask(client, CORE + "CalculateCapacity", options(f"plan{number}", 1, bind=bind), core.CapacityMessage)

        async def plan(number: int, bind: bool = bind) -> None:
            request = own.PlanRequest(spec=spec(f"plan{number}", 1, bind=bind), spread=own.Spread())
            await ask(client, ERU + "Plan", request, own.PlanResponse)

        found[f"plan_{kind}"] = await timed(calculate, calls)
        found[f"eru_plan_{kind}"] = await timed(plan, calls)
    return found


async def measured(server: Served, case: Callable[[], Awaitable[int]]) -> dict[str, float]:
    """The rate of what is done, and what it costs the server and this client."""
    cpu_s, own_s, began = server.cpu_s, time.process_time(), time.perf_counter()
    created = await case()
    took_s = time.perf_counter() - began
    return {
        "workloads": created,
        "per_s": created / took_s,
        "server_cpu_us": 1e6 * (server.cpu_s - cpu_s) / created,
        "client_cpu_us": 1e6 * (time.process_time() - own_s) / created,
        "reference_us": 1e6 * reference_s(created) / created,
    }


async def measure(nodes: int, calls: int) -> dict[str, Any]:
    """Everything, in one run."""
    result: dict[str, Any] = {"nodes": nodes, "cpus": os.cpu_count()}
    async with Served("-m", "benchmarks.live", "--floor") as floor:
        for name, count in (("floor_single", 1), ("floor_many", COPIES)):

            async def answers(count: int = count) -> int:
                request = options("floor", count).SerializeToString()
                await each(
                    [request] * (calls if count == 1 else calls // 100), lambda one: floor.client.call("/x/y", one)
                )
                return calls if count == 1 else calls // 100 * COPIES

            await answers()
            result[name] = await measured(floor, answers)
    with tempfile.TemporaryDirectory() as directory:
        async with service(Path(directory)) as server:
            agents = Agents(server.client, nodes)
            await agents.add_nodes()
            reports = asyncio.create_task(agents.report_for_ever())
            for prefix, wire in (("", create), ("eru_", submit)):

                async def place(name: str, count: int, wire: Any = wire) -> None:
                    await wire(server.client, name, count)

                await singles(place, 10 * CALLS)
                result[f"{prefix}single"] = await measured(server, lambda: singles(place, calls))
                result[f"{prefix}many"] = await measured(server, lambda: manys(place, calls // 100))
            result.update(await plans(server.client, calls // 3))
            reports.cancel()
            await asyncio.gather(reports, return_exceptions=True)
    return result


async def serve_floor() -> None:
    """A server that answers with as many messages as are asked for, and does nothing else."""
    import grpc

    from backends.real.service.pb import corerpc_pb2

    pb: Any = corerpc_pb2
    data = pb.CreateWorkloadMessage(podname="pool", nodename="n1", id="x" * 30, name="x" * 30, resources="x" * 150)
    message = data.SerializeToString()

    class Floor(grpc.GenericRpcHandler):
        def service(self, _: object) -> Any:
            return grpc.stream_stream_rpc_method_handler(answer)

    async def answer(_: object, context: Any) -> None:
        for _ in range(pb.DeployOptions.FromString(await context.read()).count):
            await context.write(message)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Floor(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{result['nodes']:,} simulated nodes, {result['cpus']} cores, agents report every {HEARTBEAT_S} s")
    for name, row in result.items():
        if "per_s" in str(row):
            print(
                f"{name:16} {row['workloads']:>8,} workloads {row['per_s']:>8,.0f} /s; CPU each: server"
                f" {row['server_cpu_us']:>6,.0f} us, client {row['client_cpu_us']:,.0f},"
                f" reference {row['reference_us']:.2f}"
            )
    for name, row in result.items():
        if "p99_ms" in str(row):
            print(f"{name:16} first {row['first_ms']:.1f} ms, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")


def main() -> None:
    """Measure and print, or serve."""
    from eru_sim.live import runtime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--calls", type=int, default=3_200)
    parser.add_argument("--quick", action="store_true", help="500 nodes, 320 calls")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        runtime.run(serve_floor())
        return
    nodes, calls = (500, 320) if arguments.quick else (arguments.nodes, arguments.calls)
    result = runtime.run(measure(nodes, calls))
    show(result)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

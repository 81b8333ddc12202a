"""The service as a process of its own over real Docker nodes, which can be made to die at a named point.

As a script: ``python live_server_kit.py DATA_DIRECTORY CORE_ID FAULT``. It prints its address and serves Eru's wire
until standard input ends. FAULT is "" or ``POINT:N``: when it comes to that point for the N-th time, it kills itself.

* before: a batch has been decided and not been written.
* durable: a batch is durable, and no command has been carried out.
* begun: its commands have been handed to the engines, a moment ago.
* answered: an engine has answered, and the core does not know.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

POINTS = ("before", "durable", "begun", "answered")


class Fuse:
    """Counts down, and kills the process."""

    def __init__(self, fault: str) -> None:
        point, _, number = fault.partition(":")
        self._point = point
        self._left = int(number or 0)

    def pass_by(self, point: str) -> None:
        """The process is at a point."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def lay(cluster: Any, fuse: Fuse) -> None:
    """Have a cluster that has been started come by the fuse."""
    driver, gateway, store = cluster.driver, cluster.gateway, cluster.store
    commit, execute, report = store.commit, gateway.execute, driver.report

    async def fused_commit(written: Sequence[Any], records: Sequence[Any] = ()) -> None:
        if written:
            fuse.pass_by("before")
        await commit(written, records)
        if written:
            fuse.pass_by("durable")

    def fused_execute(commands: Any) -> None:
        execute(commands)
        if any(type(command).__name__ != "PublishResult" for command in commands):
            asyncio.get_running_loop().call_later(0.05, fuse.pass_by, "begun")

    def fused_report(event: Any) -> None:
        fuse.pass_by("answered")
        report(event)

    store.commit, gateway.execute, driver.report = fused_commit, fused_execute, fused_report
    gateway.connect(fused_report)


async def serve(directory: Path, core_id: str, fault: str) -> None:
    """Serve until standard input ends."""
    from docker_cluster_kit import docker_cluster

    from backends.real.service.calls import CallLimits
    from backends.real.service.corerpc.context import CoreRpcOptions
    from backends.real.service.corerpc.service import CoreRpc
    from backends.real.service.server import Server, ServerOptions
    from scheduler import kernels

    kernels.compile_all()
    cluster = docker_cluster(directory, core_id)
    await cluster.start()
    lay(cluster, Fuse(fault))
    rpc = CoreRpc(cluster, CoreRpcOptions(address="127.0.0.1:0"))
    server = Server(ServerOptions(bind="127.0.0.1:0", limits=CallLimits()), [rpc.service()])
    await server.start()
    print(f"serving {server.address}", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await server.stop()
    await cluster.stop()


class ServerProcess:
    """The script as a child."""

    def __init__(self, directory: Path, core_id: str, fault: str = "") -> None:
        self._arguments = (str(Path(__file__)), str(directory), core_id, fault)
        self.address = ""

    async def __aenter__(self) -> ServerProcess:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if line.startswith(b"serving "):
                self.address = line.decode().split()[1]
                break
        if not self.address:
            assert await self.process.wait() == -signal.SIGKILL, "the service did not begin to serve: see what it wrote"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                await asyncio.wait_for(self.process.wait(), 30)
            except TimeoutError:
                self.process.kill()
        await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, now."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Ask every 50 ms until it is so; return the answer."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("it did not come about in time")
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))

"""A core's view of a Docker node of the testbed, for one test. What it made is removed afterwards."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from engine_contract import run_in_real_time
from testbed_kit import BedNode

from backends.real.engines.base import InstanceSpec, Session
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from backends.real.template import Template
from testbed import beds, docker_nodes

IMAGE = "eru-test:local"


class DockerRig:
    """One node for one test: a `engine_contract.ContractNode`. With ``is_remote`` it is reached by TLS."""

    def __init__(self, node: BedNode, *, is_remote: bool = False) -> None:
        self.node = node
        self.core_id = uuid.uuid4().hex
        self._is_remote = is_remote
        self._cores: list[str] = []

    def tls(self) -> Tls:
        end = self.node.docker
        return Tls(
            *(Path(file).read_text(encoding="ascii") for file in (end.ca_file, end.certificate_file, end.key_file))
        )

    def engine(self, core_id: str = "") -> DockerEngine:
        """An adapter that the caller closes."""
        core_id = core_id or self.core_id
        self._cores.append(core_id)
        if self._is_remote:
            return DockerEngine(self.node.docker.tls_url, core_id=core_id, tls=self.tls())
        return DockerEngine(self.node.docker.url, core_id=core_id)

    @contextlib.asynccontextmanager
    async def adapter(self) -> AsyncIterator[DockerEngine]:
        async with contextlib.AsyncExitStack() as stack:
            engine = self.engine()
            stack.push_async_callback(engine.close)
            yield engine

    @contextlib.asynccontextmanager
    async def stranger(self) -> AsyncIterator[DockerEngine]:
        async with contextlib.AsyncExitStack() as stack:
            engine = self.engine(uuid.uuid4().hex)
            stack.push_async_callback(engine.close)
            yield engine

    def spec(
        self,
        workload_id: str,
        generation: int = 1,
        *,
        exit_code: int | None = None,
        engine_args: Mapping[str, Any] | None = None,
        command: tuple[str, ...] = (),
        image: str = IMAGE,
        labels: Mapping[str, str] | None = None,
        **template: Any,
    ) -> InstanceSpec:
        if exit_code is not None:
            command = ("exit", str(exit_code))
        return InstanceSpec(
            workload_id=workload_id,
            generation=generation,
            node_id=self.node.name,
            image=image,
            template=Template(command=command, **{"stop_grace_ns": 2_000_000_000, **template}),
            engine_args=engine_args or {},
            labels=labels or {},
        )

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        run_in_real_time(test)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the daemon itself."""
        return docker_nodes.call(beds.find_bed().node(self.node.number), method, path, body)

    def clean(self) -> None:
        """Remove all containers of this test."""
        for core_id in dict.fromkeys(self._cores):
            query = f'all=1&filters={{"label":["eru.core={core_id}"]}}'
            for container in self.call("GET", f"/containers/json?{query}"):
                self.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")


async def read(session: Session, stream: str = "stdout") -> bytes:
    return b"".join([chunk.data async for chunk in session.output() if chunk.stream == stream])


async def said(engine: DockerEngine, workload_id: str, *command: str, **options: Any) -> str:
    """What a command inside prints."""
    session = await engine.execute(workload_id, 1, command, **options)
    try:
        return (await read(session)).decode()
    finally:
        await session.close()


async def logged(engine: DockerEngine, workload_id: str, generation: int = 1, **window: Any) -> str:
    return "".join([chunk.data.decode() async for chunk in engine.logs(workload_id, generation, **window)])


def disk_under(path: str) -> str:
    """The whole disk on which a path is; what limits of devices are for."""
    number = os.stat(path).st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not block.exists():
        pytest.skip(f"{path} is on no block device")
    real = block.resolve()
    return f"/dev/{(real.parent if (real / 'partition').exists() else real).name}"


def number_of(device: str) -> str:
    number = os.stat(device).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"

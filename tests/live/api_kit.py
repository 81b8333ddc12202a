"""`eru.v1` over simulated nodes, on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import grpc
from live_kit import running

from backends.real.cluster import ClusterOptions, LiveCluster
from backends.real.endpoints import Endpoint
from backends.real.engines.base import (
    Chunk,
    Engine,
    EngineError,
    Image,
    Instance,
    Network,
    NotFound,
    Unsupported,
    Usage,
)
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.eru_v1.service import eru_service
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.pb.eru_v1_pb2_grpc import EruStub
from backends.real.service.server import Server, ServerOptions
from backends.real.template import File
from eru_sim.live.simulated import SimulatedGateway
from eru_sim.live.simulated_node import SimulatedNode

CPU = '{"cpu_request": 1, "memory_request": "64M", "bind": true}'


class Api:
    """A served cluster and a stub of it."""

    def __init__(self, cluster: LiveCluster, server: Server, channel: grpc.aio.Channel) -> None:
        self.cluster = cluster
        self.server = server
        self.channel = channel
        self.stub: Any = EruStub(channel)

    async def results(self, operation: Any) -> list[tuple[str, str]]:
        """Wait for an operation; subject and outcome of its results."""
        found = []
        async for update in self.stub.WatchOperation(pb.WatchOperationRequest(operation_id=operation.operation_id)):
            if update.is_done:
                return found
            found.append((update.result.subject, pb.Outcome.Name(update.result.outcome).removeprefix("OUTCOME_")))
        raise AssertionError("the stream ended before the operation")

    async def deploy(self, name: str, count: int = 1, **fields: Any) -> list[tuple[str, str]]:
        return await self.results(await self.stub.Deploy(pb.DeployRequest(spec=spec(name, count, **fields))))


def spec(name: str, count: int = 1, **fields: Any) -> Any:
    fields.setdefault("resources", {"cpu": CPU})
    return pb.WorkloadSpec(workload_id=name, count=count, app=name, pool="pool", image="busybox", **fields)


@contextlib.asynccontextmanager
async def serving(
    directory: Path,
    *,
    nodes: int = 3,
    machines: SimulatedGateway | None = None,
    options: ClusterOptions | None = None,
    server_options: ServerOptions | None = None,
    eru_options: EruOptions | None = None,
    channel: Callable[[str], grpc.aio.Channel] = grpc.aio.insecure_channel,
    engines: bool = False,
) -> AsyncIterator[Api]:
    """A cluster with a pool "pool" and nodes n0, n1, … of 8 cores; with ``engines`` they can do everything."""
    async with running(directory, nodes=nodes, machines=machines, options=options) as cluster:
        if engines:
            for node_id in cluster.liveness.endpoints:
                cluster.gateway.set_engine(node_id, cast(Engine, FakeNode(node_id)))
        service = eru_service(cluster, eru_options or EruOptions())
        server = Server(server_options or ServerOptions(bind="127.0.0.1:0"), [service])
        await server.start()
        client = channel(server.address)
        try:
            yield Api(cluster, server, client)
        finally:
            await client.close()
            await server.stop(0.2)


async def status_of(call: Awaitable[Any] | AsyncIterator[Any]) -> tuple[grpc.StatusCode, str]:
    """How a call ends."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


class EchoSession:
    """Says its command, then what it is told, and ends with 7."""

    def __init__(self, command: Sequence[str], has_input: bool, has_tty: bool) -> None:
        self._output: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._output.put_nowait(Chunk("stdout", " ".join(command).encode()))
        self._has_tty = has_tty
        if not has_input:
            self._output.put_nowait(None)
        self.is_closed = False

    async def output(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._output.get()) is not None:
            yield chunk

    async def write(self, data: bytes) -> None:
        self._output.put_nowait(Chunk("stderr" if data == b"err" else "stdout", data))

    async def close_input(self) -> None:
        self._output.put_nowait(None)

    async def resize(self, rows: int, columns: int) -> None:
        if not self._has_tty:
            raise Unsupported("resize: it has no terminal")
        self._output.put_nowait(Chunk("stdout", f"{rows}x{columns}".encode()))

    async def exit_code(self) -> int:
        return 7

    async def close(self) -> None:
        self.is_closed = True


class FakeNode(SimulatedNode):
    """A simulated node in which commands can be run, with files, images and networks."""

    capabilities = frozenset({"exec", "attach", "logs", "copy", "images", "networks", "build", "pause"})

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id, Endpoint(url="sim://?cpus=8", test=True))
        self.files: dict[str, File] = {}
        self.paused: set[str] = set()
        self.images_here = [Image(image_id="sha256:1", tags=("busybox",), size_bytes=5)]
        self.log = [Chunk("stdout", b"one\n", 5), Chunk("stderr", b"two\n", 6)]

    async def execute(self, workload_id: str, generation: int, command: Sequence[str], **options: Any) -> EchoSession:
        if command[0] == "missing":
            raise NotFound("there is no such program")
        return EchoSession(command, options["open_stdin"], options["has_tty"])

    async def attach(self, workload_id: str, generation: int, *, open_stdin: bool = False) -> EchoSession:
        return EchoSession(["console"], open_stdin, True)

    async def logs(self, workload_id: str, generation: int, **options: Any) -> AsyncIterator[Chunk]:
        tail = options.get("tail")
        for chunk in self.log[-tail:] if tail else self.log:
            yield chunk

    async def pause(self, workload_id: str, generation: int) -> None:
        self.paused.add(workload_id)

    async def resume(self, workload_id: str, generation: int) -> None:
        self.paused.discard(workload_id)

    async def inspect(self, workload_id: str, generation: int) -> Instance:
        return Instance(
            workload_id=workload_id, generation=generation, state="running", engine_id="e1", name="x",
            networks={"bridge": "10.0.0.2"},
        )  # fmt: skip

    async def usage(self, workload_id: str, generation: int) -> Usage:
        return Usage(cpu_ns=5, memory_bytes=6)

    async def raw(self, workload_id: str, generation: int, operation: str, params: bytes) -> bytes:
        if operation != "echo":
            raise Unsupported("operation: there is: echo")
        return params

    async def put_files(self, workload_id: str, generation: int, files: Mapping[str, File]) -> None:
        self.files |= files

    async def put_archive(self, workload_id: str, generation: int, path: str, tar: AsyncIterator[bytes]) -> None:
        data = b"".join([chunk async for chunk in tar])
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                self.files[f"{path}/{member.name}"] = File(content=content.read(), mode=member.mode)

    async def get_archive(self, workload_id: str, generation: int, path: str) -> AsyncIterator[bytes]:
        if path not in self.files:
            raise NotFound(f"there is no file {path}")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo(path.rpartition("/")[2])
            info.size, info.mode = len(self.files[path].content), self.files[path].mode
            archive.addfile(info, io.BytesIO(self.files[path].content))
        yield buffer.getvalue()

    async def networks(self, driver: str = "") -> list[Network]:
        return [Network(name="bridge", driver="bridge", subnets=("10.0.0.0/24",))]

    async def connect(self, network: str, workload_id: str, generation: int, address: str = "") -> str:
        return address or "10.0.0.9"

    async def disconnect(self, network: str, workload_id: str, generation: int, *, force: bool = False) -> None:
        if network != "bridge":
            raise NotFound(f"there is no network {network}")

    async def images(self, filter_text: str = "") -> list[Image]:
        return [image for image in self.images_here if any(filter_text in tag for tag in image.tags)]

    async def pull_image(self, image: str) -> AsyncIterator[str]:
        if image == "nowhere":
            raise EngineError("the registry has no such image")
        yield "half"
        self.images_here.append(Image(image_id="sha256:2", tags=(image,)))
        yield "all"

    async def remove_image(self, image: str, *, force: bool = False) -> list[str]:
        return [f"untagged {image}"]

    async def prune_images(self) -> int:
        return 42

    async def build_image(
        self, tags: Sequence[str], context: AsyncIterator[bytes], *, platform: str = ""
    ) -> AsyncIterator[str]:
        size = sum([len(chunk) async for chunk in context])
        yield f"{size} bytes{platform and ' for '}{platform}"

    async def push_image(self, tag: str) -> AsyncIterator[str]:
        yield "pushed"

    async def commit_image(self, workload_id: str, generation: int, tag: str) -> str:
        return "sha256:3"

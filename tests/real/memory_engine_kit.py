"""A node that runs in memory and can do all that an `Engine` can: for tests of what stands on engines."""

from __future__ import annotations

import asyncio
import io
import json
import posixpath
import shlex
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, get_args

from backends.real.engines.base import (
    Capability,
    Chunk,
    EngineError,
    EngineInfo,
    Image,
    Instance,
    InstanceBegan,
    InstanceEnded,
    InstanceSpec,
    Network,
    NotFound,
    Unreachable,
    Unsupported,
    Usage,
    instance_name,
)
from backends.real.hook_output import HookSink
from backends.real.template import File, Hooks

Key = tuple[str, int]


class Process:
    """One command: what it wrote, what it is told, and how it ended.

    The commands are those of a very small machine: ``echo WORDS``, ``err WORDS`` (to stderr), ``cat``, ``sleep``,
    ``exit N``, ``env``, ``pwd``, ``flood N`` (so many bytes), ``size`` (tells each resize).
    """

    def __init__(self, command: Sequence[str], env: Sequence[str] = (), working_dir: str = "") -> None:
        self.chunks: list[Chunk] = []
        self.exit_code: int | None = None
        self.changed = asyncio.Event()
        self._command = list(command)
        word, *rest = self._command or ["sleep"]
        if word in ("echo", "err"):
            self.write((" ".join(rest) + "\n").encode(), "stderr" if word == "err" else "stdout")
        elif word == "env":
            self.write("".join(f"{line}\n" for line in env).encode())
        elif word == "pwd":
            self.write(working_dir.encode() + b"\n")
        elif word == "flood":
            self.write(b"x" * int(rest[0]))
        elif word == "mixed":
            self.write(b"out")
            self.write(b"err", "stderr")
            self.write(b"put\nrest")
        if word == "exit":
            self.end(int(rest[0]))
        elif word not in ("cat", "sleep", "size"):
            self.end(0)

    def write(self, data: bytes, stream: Any = "stdout") -> None:
        self.chunks.append(Chunk(stream, data))
        self.wake()

    def end(self, exit_code: int) -> None:
        if self.exit_code is None:
            self.exit_code = exit_code
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        if self._command[0] == "cat":
            self.write(data)

    def close_input(self) -> None:
        if self._command[0] == "cat":
            self.end(0)

    def resize(self, rows: int, columns: int) -> None:
        if self._command[0] == "size":
            self.write(f"{rows}x{columns}".encode())

    async def output(self, start: int = 0, *, follow: bool = True) -> AsyncIterator[Chunk]:
        place = start
        while True:
            changed = self.changed
            while place < len(self.chunks):
                place += 1
                yield self.chunks[place - 1]
            if self.exit_code is not None or not follow:
                return
            await changed.wait()

    async def wait(self) -> int:
        while self.exit_code is None:
            await self.changed.wait()
        return self.exit_code


class MemorySession:
    """As `Session`."""

    def __init__(self, process: Process, *, has_tty: bool, is_open: bool, start: int = 0) -> None:
        self._process = process
        self._has_tty = has_tty
        self._is_open = is_open
        self._start = start
        self.is_closed = False

    def output(self) -> AsyncIterator[Chunk]:
        return self._process.output(self._start)

    async def write(self, data: bytes) -> None:
        if not self._is_open:
            raise EngineError("it takes no input")
        self._process.feed(data)

    async def close_input(self) -> None:
        self._process.close_input()

    async def resize(self, rows: int, columns: int) -> None:
        if not self._has_tty:
            raise Unsupported("resize: there is no terminal")
        self._process.resize(rows, columns)

    async def exit_code(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        self.is_closed = True


class Box:
    """One instance."""

    def __init__(self, spec: InstanceSpec) -> None:
        self.spec = spec
        self.process = Process(spec.template.command, spec.template.env, spec.template.working_dir)
        self.files: dict[str, File] = dict(spec.template.files)
        self.args: dict[str, Any] = dict(spec.engine_args)
        self.is_paused = False
        self.networks = {
            name: address or ("" if name == "host" else "10.0.0.9") for name, address in spec.template.networks.items()
        }


class MemoryEngine:
    """As `Engine`. ``delay`` and ``stop_delay`` are how long a start and a stop take; a stop that does not kill at once
    takes ``polite_delay`` more. The image "broken" cannot be started, and where it ``refuses`` none can. Hooks are
    commands of `Process`.
    """

    capabilities: frozenset[Capability] = frozenset(get_args(Capability))

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.boxes: dict[Key, Box] = {}
        self.events: list[Any] = []
        self.changed = asyncio.Event()
        self.is_up = True
        self.delay = 0.0
        self.stop_delay = 0.0
        self.polite_delay = 0.0
        self.refuses = False
        self.sessions: list[MemorySession] = []
        self.pulled: list[str] = ["busybox"]
        self.built: list[tuple[Sequence[str], bytes, str]] = []
        self.pushed: list[str] = []
        self.connections: list[tuple[str, ...]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def info(self) -> EngineInfo:
        self._check()
        return EngineInfo(
            kind="memory",
            version="1",
            cpus=tuple("01234567"),
            memory_bytes=32 << 30,
            storage_bytes=100 << 30,
            numa={"0": tuple("0123"), "1": tuple("4567")},
        )

    async def ping(self) -> None:
        self._check()

    def _check(self) -> None:
        if not self.is_up:
            raise Unreachable(f"node {self.node_id} does not answer")

    async def start(self, spec: InstanceSpec, *, hook_output: HookSink | None = None) -> Instance:
        self._check()
        await asyncio.sleep(self.delay)
        key = (spec.workload_id, spec.generation)
        if spec.image == "broken" or self.refuses:
            raise EngineError(f"no such image: {spec.image}")
        if key not in self.boxes:
            hooks = spec.template.hooks
            await self._run_hooks(hooks, hooks.after_create if spec.generation == 1 else (), hook_output)
            await self._run_hooks(hooks, hooks.after_start, hook_output)
            older = [one for one in self.boxes if one[0] == spec.workload_id]
            box = Box(spec)
            if older:
                box.files = {**self.boxes.pop(older[0]).files, **spec.template.files}
            self.boxes[key] = box
            self._tell(InstanceBegan(*key))
            task = asyncio.create_task(self._follow(key, box))
            self._tasks.add(task)
        return self._instance(key)

    async def _run_hooks(self, hooks: Hooks, commands: Sequence[str], hook_output: HookSink | None) -> None:
        for command in commands:
            process = Process(shlex.split(command))
            async for chunk in process.output():
                if hook_output is not None:
                    hook_output(chunk.data)
            if process.exit_code and hooks.force:
                raise EngineError(f"hook {command!r}: exit code {process.exit_code}")

    async def _follow(self, key: Key, box: Box) -> None:
        exit_code = await box.process.wait()
        if self.boxes.get(key) is box:
            self._tell(InstanceEnded(*key, exit_code))

    def _tell(self, event: Any) -> None:
        self.events.append(event)
        self.changed.set()
        self.changed = asyncio.Event()

    def box(self, workload_id: str, generation: int) -> Box:
        self._check()
        box = self.boxes.get((workload_id, generation))
        if box is None:
            raise NotFound(f"{instance_name(workload_id, generation)} is not on {self.node_id}")
        return box

    def _instance(self, key: Key) -> Instance:
        box = self.boxes[key]
        exit_code = box.process.exit_code
        return Instance(
            workload_id=key[0],
            generation=key[1],
            state="exited" if exit_code is not None else "paused" if box.is_paused else "running",
            engine_id="e" * 64,
            name=instance_name(*key),
            exit_code=exit_code,
            image=box.spec.image,
            networks=box.networks,
            labels=box.spec.labels,
        )

    async def stop(
        self,
        workload_id: str,
        generation: int,
        *,
        keep: bool,
        grace_ns: int | None = None,
        hook_output: HookSink | None = None,
    ) -> int | None:
        self._check()
        await asyncio.sleep(self.stop_delay if grace_ns == 0 else self.stop_delay + self.polite_delay)
        key = (workload_id, generation)
        box = self.boxes.get(key)
        if box is None:
            return None
        if box.process.exit_code is None and grace_ns != 0:
            hooks = box.spec.template.hooks
            await self._run_hooks(hooks, hooks.before_stop, hook_output)
        if keep:
            box.process.end(137)
        else:
            del self.boxes[key]
            box.process.end(137)
        return box.process.exit_code

    async def update(
        self, workload_id: str, generation: int, engine_args: Mapping[str, Any], *, whole: bool = False
    ) -> None:
        if "volumes" in engine_args:
            raise Unsupported("volumes: they can only be set at creation")
        args = self.box(workload_id, generation).args
        if whole:
            args.clear()
        args.update(engine_args)

    async def pause(self, workload_id: str, generation: int) -> None:
        self.box(workload_id, generation).is_paused = True

    async def resume(self, workload_id: str, generation: int) -> None:
        self.box(workload_id, generation).is_paused = False

    async def inspect(self, workload_id: str, generation: int) -> Instance:
        self.box(workload_id, generation)
        return self._instance((workload_id, generation))

    async def instances(self) -> list[Instance]:
        self._check()
        return [self._instance(key) for key in self.boxes]

    async def watch(self) -> AsyncIterator[InstanceEnded | InstanceBegan]:
        place = len(self.events)
        while True:
            changed = self.changed
            while place < len(self.events):
                place += 1
                yield self.events[place - 1]
            await changed.wait()

    async def usage(self, workload_id: str, generation: int) -> Usage:
        self.box(workload_id, generation)
        return Usage(cpu_ns=1, memory_bytes=1)

    async def execute(
        self,
        workload_id: str,
        generation: int,
        command: Sequence[str],
        *,
        env: Sequence[str] = (),
        working_dir: str = "",
        user: str = "",
        has_tty: bool = False,
        open_stdin: bool = False,
    ) -> MemorySession:
        self.box(workload_id, generation)
        if command[0] == "nonesuch":
            raise NotFound("nonesuch: no such command")
        session = MemorySession(Process(command, env, working_dir), has_tty=has_tty, is_open=open_stdin)
        self.sessions.append(session)
        return session

    async def attach(self, workload_id: str, generation: int, *, open_stdin: bool = False) -> MemorySession:
        box = self.box(workload_id, generation)
        session = MemorySession(box.process, has_tty=box.spec.template.has_tty, is_open=open_stdin)
        self.sessions.append(session)
        return session

    async def logs(
        self,
        workload_id: str,
        generation: int,
        *,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        follow: bool = False,
    ) -> AsyncIterator[Chunk]:
        process = self.box(workload_id, generation).process
        start = 0 if tail is None else max(len(process.chunks) - tail, 0)
        async for chunk in process.output(start, follow=follow):
            yield chunk

    async def put_files(self, workload_id: str, generation: int, files: Mapping[str, File]) -> None:
        self.box(workload_id, generation).files.update(files)

    async def put_archive(self, workload_id: str, generation: int, path: str, tar: AsyncIterator[bytes]) -> None:
        box = self.box(workload_id, generation)
        data = b"".join([chunk async for chunk in tar])
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                place = posixpath.join(path, member.name)
                box.files[place] = File(content=content.read(), mode=member.mode, uid=member.uid, gid=member.gid)

    async def get_archive(self, workload_id: str, generation: int, path: str) -> AsyncIterator[bytes]:
        files = self.box(workload_id, generation).files
        found = {name: file for name, file in files.items() if name == path or name.startswith(f"{path}/")}
        if not found:
            raise NotFound(f"{path}: no such file")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, file in found.items():
                member = tarfile.TarInfo(posixpath.basename(path) + name.removeprefix(path))
                member.size, member.mode, member.uid, member.gid = len(file.content), file.mode, file.uid, file.gid
                archive.addfile(member, io.BytesIO(file.content))
        data = out.getvalue()
        for start in range(0, len(data), 1 << 20):
            yield data[start : start + (1 << 20)]

    async def networks(self, driver: str = "") -> list[Network]:
        known = [
            Network(name="bridge", driver="bridge", subnets=("172.17.0.0/16",)),
            Network(name="host", driver="host", subnets=()),
        ]
        return [network for network in known if driver in ("", network.driver)]

    async def connect(self, network: str, workload_id: str, generation: int, address: str = "") -> str:
        box = self.box(workload_id, generation)
        if network == "nowhere":
            raise NotFound("nowhere: no such network")
        box.networks[network] = address or "10.0.0.7"
        return box.networks[network]

    async def disconnect(self, network: str, workload_id: str, generation: int, *, force: bool = False) -> None:
        if self.box(workload_id, generation).networks.pop(network, None) is None and not force:
            raise NotFound(f"it is not in {network}")

    async def images(self, filter_text: str = "") -> list[Image]:
        self._check()
        return [Image(image_id=f"sha256:{tag}", tags=(tag,)) for tag in sorted(self.pulled) if filter_text in tag]

    async def pull_image(self, image: str) -> AsyncIterator[str]:
        self._check()
        if image == "broken":
            raise NotFound("broken: no such image")
        yield "pulling"
        self.pulled.append(image)
        yield "pulled"

    async def remove_image(self, image: str, *, force: bool = False) -> list[str]:
        if image not in self.pulled:
            raise NotFound(f"{image}: no such image")
        self.pulled.remove(image)
        return [f"untagged {image}"]

    async def prune_images(self) -> int:
        return 0

    async def build_image(
        self, tags: Sequence[str], context: AsyncIterator[bytes], *, platform: str = ""
    ) -> AsyncIterator[str]:
        self.built.append((tags, b"".join([chunk async for chunk in context]), platform))
        yield "Step 1/1"

    async def commit_image(self, workload_id: str, generation: int, tag: str) -> str:
        self.box(workload_id, generation)
        return f"sha256:{tag}"

    async def push_image(self, tag: str) -> AsyncIterator[str]:
        if "unreachable" in tag:
            raise EngineError("the registry does not answer")
        self.pushed.append(tag)
        yield "pushed"

    async def raw(self, workload_id: str, generation: int, operation: str, params: bytes) -> bytes:
        self.box(workload_id, generation)
        if operation != "echo":
            raise Unsupported(f"raw: {operation}; there is echo")
        return json.dumps(params.decode()).encode()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def connector(engines: dict[str, MemoryEngine]) -> Callable[[str, Any], Any]:
    """Connects ``mem://`` endpoints to engines that outlive a cluster."""

    def connect(node_id: str, endpoint: Any) -> Any:
        if not endpoint.url.startswith("mem://"):
            raise ValueError(f"endpoint: {endpoint.url!r} is not mem://")
        return engines.setdefault(node_id, MemoryEngine(node_id))

    return connect

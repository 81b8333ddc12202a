"""The port of an engine: what one node's Docker, libvirt or systemd must do, and what it may say.

An engine serves one node. All methods are coroutines that may be called concurrently; calls for one workload are made
one after another. Nothing in an engine depends on the process that uses it: when that ends, at any moment, all that
runs goes on, and another one finds it again by `Engine.instances`.

Names. An instance is known by ``(workload_id, generation)`` and is named `instance_name`, so that at most one of a
generation can exist. A start of the next generation of an instance that was stopped with ``keep`` reuses it, files and
all, under its new name. Labels (`LABEL_*`) tell the same to whoever lists the node without us.

Errors. Whatever a method raises is an `EngineError`; the subclass says what to do: `Unreachable` (the node does not
answer: nothing is known), `NotFound`, `Unsupported` (this kind of engine, or this node, never can), and `EngineError`
itself (the engine said no; the message is one line and holds no secret).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from backends.real.hook_output import HookSink
from backends.real.template import File, Template

LABEL_CORE = "eru.core"
"""Whose instance it is: `Engine.instances` shows only those of its own core."""
LABEL_WORKLOAD = "eru.workload"
LABEL_GENERATION = "eru.generation"
"""The generation at creation; where it was kept and started again, the name tells the present one."""
LABEL_NODE = "eru.nodename"
LABEL_TEMPLATE = "eru.template"
LABEL_RECORD = "eru.record"
"""What the core needs to adopt the instance where the journal is lost: a `scheduler.events.WorkloadAdopted` as JSON."""

Capability = Literal[
    "exec", "exec_tty", "attach", "logs", "copy", "stats", "pause", "cpu", "cpuset", "numa", "memory", "io", "io_live",
    "volumes", "networks", "images", "build", "watch",
]  # fmt: skip
Stream = Literal["stdout", "stderr"]


class EngineError(Exception):
    """The engine said no."""


class Unreachable(EngineError):
    """The engine does not answer; whether the call was carried out is not known."""


class NotFound(EngineError):
    """There is no such instance, image, network or file."""


class Unsupported(EngineError):
    """This engine never can; the message names the operation."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the node is. ``cpus`` are the ids of its cores, ascending; ``numa`` maps a NUMA node to its cores."""

    kind: str
    version: str
    cpus: tuple[str, ...]
    memory_bytes: int
    storage_bytes: int = 0
    numa: Mapping[str, tuple[str, ...]] = {}
    details: Mapping[str, Any] = {}


class InstanceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a workload, to be started.

    ``engine_args`` are what the resource plugins said (`scheduler.commands.StartWorkload`); a key that an engine does
    not know is an error that names it. ``labels`` are put on the instance beside the template's and the engine's own.
    """

    workload_id: str
    generation: int
    node_id: str
    image: str
    template: Template
    engine_args: Mapping[str, Any] = {}
    labels: Mapping[str, str] = {}


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as found. ``exit_code`` is that of the last run, None while it has not ended.

    ``state``: made and never started, running, paused, or ended. ``networks`` maps a network to the address.
    ``restarts`` counts how often the engine restarted it by itself.
    """

    workload_id: str
    generation: int
    state: Literal["created", "running", "paused", "exited"]
    engine_id: str
    name: str
    exit_code: int | None = None
    pid: int = 0
    image: str = ""
    networks: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    started_at_ns: int = 0
    restarts: int = 0


class InstanceEnded(NamedTuple):
    """An instance ended by itself or was stopped by somebody, and the engine will not restart it."""

    workload_id: str
    generation: int
    exit_code: int


class InstanceBegan(NamedTuple):
    """An instance runs (again). For agents; the core does not need it."""

    workload_id: str
    generation: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance has used: CPU time since it began, memory now, bytes since it began."""

    cpu_ns: int
    memory_bytes: int
    network_received_bytes: int = 0
    network_sent_bytes: int = 0
    io_read_bytes: int = 0
    io_written_bytes: int = 0


class Chunk(NamedTuple):
    """Some output; ``at_ns`` is 0 where the engine does not say when."""

    stream: Stream
    data: bytes
    at_ns: int = 0


class Session(Protocol):
    """A command that runs inside an instance, or the instance's own console. Close it whatever happens."""

    def output(self) -> AsyncIterator[Chunk]:
        """Yield output until the command has ended. A slow reader slows the command, and nothing else, down."""

    async def write(self, data: bytes) -> None:
        """Give it input; EngineError where it takes none."""

    async def close_input(self) -> None:
        """Let it see the end of its input."""

    async def resize(self, rows: int, columns: int) -> None:
        """Change its terminal's size; Unsupported where it has no terminal."""

    async def exit_code(self) -> int:
        """Wait for its end."""

    async def close(self) -> None:
        """Let go of it. A command goes on or ends, as the engine has it; an instance always goes on."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image on the node."""

    image_id: str
    tags: tuple[str, ...]
    size_bytes: int = 0


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network of the node."""

    name: str
    driver: str
    subnets: tuple[str, ...]


class Engine(Protocol):
    """One node's engine."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do here. Asking for the rest raises `Unsupported`."""

    async def info(self) -> EngineInfo:
        """What the node is."""

    async def ping(self) -> None:
        """Return within a second or two, or raise `Unreachable`."""

    async def start(self, spec: InstanceSpec, *, hook_output: HookSink | None = None) -> Instance:
        """Make sure that this generation has been started, and return it as it is then; idempotent.

        It runs: nothing. It ran and has ended: nothing, it is returned as ended. It was made and never started: it is
        started. An older generation of the workload that was kept becomes this one; an older one that runs is an error.
        Otherwise it is created (the image pulled as the template says), gets its files, and is started; the hooks
        ``after_create`` and ``after_start`` follow. A start that was cut short is brought to its end. On an error
        nothing of it is left on the node; what was kept is as it was before. What hooks print goes to ``hook_output``,
        also where the start fails.
        """

    async def stop(
        self,
        workload_id: str,
        generation: int,
        *,
        keep: bool,
        grace_ns: int | None = None,
        hook_output: HookSink | None = None,
    ) -> int | None:
        """Stop this generation and, unless ``keep``, remove it with its anonymous volumes; return its exit code.

        Asks politely, kills after ``grace_ns`` (None: as its template said); 0 kills at once, and runs no hook. None,
        and no error, where there is no such instance. What hooks print goes to ``hook_output``.
        """

    async def update(
        self, workload_id: str, generation: int, engine_args: Mapping[str, Any], *, whole: bool = False
    ) -> None:
        """Change what it may use while it runs: every argument given.

        An argument left out stays as it is; where the arguments are the ``whole`` of them, it limits nothing any more.
        `Unsupported` names an argument that can only be set at creation here; then nothing was changed.
        """

    async def pause(self, workload_id: str, generation: int) -> None:
        """Freeze it, or leave it frozen."""

    async def resume(self, workload_id: str, generation: int) -> None:
        """Thaw it, or leave it running."""

    async def inspect(self, workload_id: str, generation: int) -> Instance:
        """One instance as it is."""

    async def instances(self) -> list[Instance]:
        """Every instance of this core on the node, ended ones too, ordered by name."""

    def watch(self) -> AsyncIterator[InstanceEnded | InstanceBegan]:
        """Yield what happens from now on; `Unreachable` when the connection is lost: list again, and watch again.

        An instance that ended while nobody watched is seen by `instances` only.
        """

    async def usage(self, workload_id: str, generation: int) -> Usage:
        """What it has used."""

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
    ) -> Session:
        """Run a command inside a running instance."""

    async def attach(self, workload_id: str, generation: int, *, open_stdin: bool = False) -> Session:
        """The instance's own input and output, from now on."""

    def logs(
        self,
        workload_id: str,
        generation: int,
        *,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        follow: bool = False,
    ) -> AsyncIterator[Chunk]:
        """Yield what it wrote, the last ``tail`` lines or all, of a window of time; 0 for no bound."""

    async def put_files(self, workload_id: str, generation: int, files: Mapping[str, File]) -> None:
        """Write files into it, by absolute path; directories that are missing are made."""

    async def put_archive(self, workload_id: str, generation: int, path: str, tar: AsyncIterator[bytes]) -> None:
        """Unpack a tar stream under a directory of it."""

    def get_archive(self, workload_id: str, generation: int, path: str) -> AsyncIterator[bytes]:
        """Yield a tar stream of a file or directory of it; `NotFound` comes with the first step."""

    async def networks(self, driver: str = "") -> list[Network]:
        """The node's networks, ordered by name; of one driver, if given."""

    async def connect(self, network: str, workload_id: str, generation: int, address: str = "") -> str:
        """Join an instance to a network; return its address there."""

    async def disconnect(self, network: str, workload_id: str, generation: int, *, force: bool = False) -> None:
        """Take an instance out of a network."""

    async def images(self, filter_text: str = "") -> list[Image]:
        """The node's images, ordered by id; those with a tag that contains ``filter_text``."""

    def pull_image(self, image: str) -> AsyncIterator[str]:
        """Fetch an image from its registry; yield progress, one line each."""

    async def remove_image(self, image: str, *, force: bool = False) -> list[str]:
        """Remove an image; return what was untagged and deleted."""

    async def prune_images(self) -> int:
        """Remove images that have no tag and no user; return how many bytes that freed."""

    def build_image(
        self, tags: Sequence[str], context: AsyncIterator[bytes], *, platform: str = ""
    ) -> AsyncIterator[str]:
        """Build an image from a tar with a Dockerfile; yield progress.

        ``platform`` is ``os[/arch[/variant]]``, "" for the node's own.
        """

    async def commit_image(self, workload_id: str, generation: int, tag: str) -> str:
        """Make an image of an instance; return its id."""

    def push_image(self, tag: str) -> AsyncIterator[str]:
        """Send an image to its registry; yield progress."""

    async def raw(self, workload_id: str, generation: int, operation: str, params: bytes) -> bytes:
        """An operation that only this kind of engine has; `Unsupported` names those that there are."""

    async def close(self) -> None:
        """Let go of the connection."""


def instance_name(workload_id: str, generation: int) -> str:
    """The name of an instance: ``<workload id>.g<generation>``, with "/" of the id as "."."""
    return f"{workload_id.replace('/', '.')}.g{generation}"

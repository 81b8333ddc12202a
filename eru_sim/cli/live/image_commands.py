"""``eru image``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live import params, values
from eru_sim.cli.live import spec as specs
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.engines import nodes_of
from eru_sim.cli.live.listing import Column, listing
from eru_sim.cli.live.plain import plain
from eru_sim.cli.options import Output
from eru_sim.errors import EruError
from eru_sim.output import one_line

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Images on nodes.")

_CHUNK = 1024 * 1024
Images = Annotated[list[str], typer.Argument(metavar="IMAGE...", show_default=False, help="Images by name.")]
PROGRESS_COLUMNS = (
    Column("image", "image"), Column("node", "node_id"), Column("message", "message"), Column("error", "error")
)  # fmt: skip


@command(app, "ls", "list", example="eru image ls --pool prod --filter shop")
async def list_images(
    service: Service,
    node: params.NodeNames = None,
    pool: params.Pool = "",
    filter: Annotated[
        str, typer.Option("--filter", metavar="TEXT", show_default=False, help="Only with a tag that contains this.")
    ] = "",
    output: Output = "table",
) -> Answer:
    """List the images of nodes."""
    request = pb.ListImagesRequest(nodes=nodes_of(pool, node), filter=filter)
    found = [plain(reply) async for reply in service.stream("ListImages", request)]
    records = [{"node_id": reply["node_id"], **image} for reply in found for image in reply["images"]]
    columns = (
        Column("node", "node_id"), Column("tags", "tags"), Column("id", "image_id", is_wide=True),
        Column("size", "size_bytes"),
    )  # fmt: skip
    problems = [f"{reply['node_id']}: {reply['error']}" for reply in found if reply["error"]]
    return listing(output, records, columns, name=_name, numbers=1, notes=problems, ok=not problems)


def _name(record: Any) -> str:
    return str(record["tags"][0] if record["tags"] else record["image_id"])


async def _progress(service: Service, output: str, method: str, request: Any) -> Answer:
    """Wait until all nodes are done; not ok where one is not. What is said before goes to stderr."""
    records = []
    async for message in service.stream(method, request):
        if message.is_done:
            records.append(plain(message))
        elif sys.stderr.isatty():
            print(one_line(f"{message.node_id}: {message.image}: {message.message}"), file=sys.stderr)
    ok = bool(records) and not any(record["error"] for record in records)
    return listing(output, records, PROGRESS_COLUMNS, name="image", ok=ok)


@command(app, "cache", "pull", example="eru image cache shop:7 --pool prod")
async def cache(
    service: Service, images: Images, node: params.NodeNames = None, pool: params.Pool = "", output: Output = "table"
) -> Answer:
    """Have nodes fetch images before they are needed."""
    request = pb.PullImagesRequest(nodes=nodes_of(pool, node), images=images)
    return await _progress(service, output, "PullImages", request)


@command(app, "rm", "remove", example="eru image rm shop:6 --pool prod --prune")
async def remove(
    service: Service,
    images: Images,
    node: params.NodeNames = None,
    pool: params.Pool = "",
    force: Annotated[bool, typer.Option("--force", help="Also where something that has stopped uses it.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also what has no tag and no user.")] = False,
    output: Output = "table",
) -> Answer:
    """Remove images from nodes."""
    request = pb.RemoveImagesRequest(nodes=nodes_of(pool, node), images=images, force=force, prune=prune)
    return await _progress(service, output, "RemoveImages", request)


@command(app, "build", example="eru image build . --tag registry/shop:8 --push")
async def build(
    service: Service,
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR|TAR|SPEC|ID",
            show_default=False,
            help="A context; a build spec (.yaml or an address); or with --exist a workload.",
        ),
    ],
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", show_default=False, help="What to call it; repeat it.")
    ] = None,
    exist: Annotated[bool, typer.Option("--exist", help="Make it of a workload as it is.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Send it to its registry afterwards.")] = False,
    node: Annotated[
        str, typer.Option("--node", metavar="NAME", show_default=False, help="Where; by default any that can.")
    ] = "",
    pool: params.Pool = "",
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", show_default=False, help="With a build spec: whom it runs as,")
    ] = "",
    uid: Annotated[
        int,
        typer.Option("--uid", metavar="NUMBER", min=0, max=(1 << 31) - 1, show_default=False, help="and their number."),
    ] = 0,
    stop_signal: Annotated[
        str,
        typer.Option(
            "--stop-signal", metavar="NAME", show_default=False, help="With a build spec: what its last stage stops by."
        ),
    ] = "",
    platform: Annotated[
        str,
        typer.Option(
            "--platform", metavar="OS[/ARCH]", show_default=False, help="For what; by default for what the node is."
        ),
    ] = "",
    output: Output = "table",
) -> Answer:
    """Build an image from a directory with a Dockerfile, a tar of one, Eru's build spec, or a workload."""
    if not tag:
        raise EruError("--tag: it is missing; say what to call the image")
    start = pb.BuildImageStart(
        node_id=node,
        pool=pool,
        tags=values.names(tag),
        push=push,
        workload_id=source if exist else "",
        platform=platform,
    )
    is_spec = not exist and specs.is_builds(source)
    if is_spec:
        found = await asyncio.to_thread(specs.read_builds, source)
        builds = {stage: pb.Build(**msgspec.structs.asdict(build)) for stage, build in found.builds.items()}
        start.builds.CopyFrom(pb.Builds(stages=found.stages, builds=builds))
        start.user, start.uid = user, uid
        if stop_signal and found.stages:
            start.builds.builds[found.stages[-1]].stop_signal = stop_signal
    elif user or uid or stop_signal:
        raise EruError("--user, --uid, --stop-signal: they are for a build spec only")
    with contextlib.ExitStack() as stack:
        context = None
        if not exist and not is_spec:
            context = stack.enter_context(await asyncio.to_thread(_context, Path(source).expanduser()))

        async def requests() -> AsyncIterator[Any]:
            yield pb.BuildImageInput(start=start)
            while context is not None and (data := await asyncio.to_thread(context.read, _CHUNK)):
                yield pb.BuildImageInput(context=data)

        return await _progress(service, output, "BuildImage", requests())


def _context(source: Path) -> Any:
    """An open tar of what to build from."""
    if not source.is_dir():
        return source.open("rb")
    if not (source / "Dockerfile").is_file():
        raise EruError(f"{source}: it has no Dockerfile; name a directory that has one")
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with tarfile.open(fileobj=spool, mode="w") as archive:
        archive.add(source, arcname=".")
    spool.seek(0)
    return spool

"""What a replacement takes along from what it replaces: its networks, and files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

import msgspec

from backends.real.cluster import LiveCluster
from backends.real.errors import Conflict, Rejected
from backends.real.service.paths import confined
from backends.real.template import File, Template
from backends.real.workloads import Place
from scheduler.lifecycle import State
from scheduler.workload import Workload

CARRIED_BYTES_MAX = 20 * 1024 * 1024
"""Of one workload: they are kept with the template."""


async def inheriting(
    cluster: LiveCluster, workload: Workload, template: Template, copy: Mapping[str, str], *, networks: bool
) -> Template:
    """The template of who replaces the workload: with the ``networks`` and addresses of its running instance if asked,
    and with its files under the keys of ``copy`` where the values say. A file that the template has itself is kept.

    `Rejected` where a path makes no sense or files cannot be carried, `Conflict` where nothing runs that has networks.
    """
    if networks:
        if workload.state is not State.RUNNING:
            raise Conflict(f"it is {workload.state}: only what is running has addresses to inherit")
        place = cluster.workloads.place(workload.workload_id)
        held = (await place.engine.inspect(place.workload_id, place.generation)).networks
        template = msgspec.structs.replace(template, networks=dict(held))
    if copy:
        files = await carried_files(cluster.workloads.place(workload.workload_id), copy)
        template = msgspec.structs.replace(template, files={**files, **template.files})
    return template


async def carried_files(place: Place, copy: Mapping[str, str]) -> dict[str, File]:
    """The files of an instance under the sources, by where they are to be. `Rejected` where they are too many bytes,
    or are neither files nor directories of files.
    """
    files: dict[str, File] = {}
    left = CARRIED_BYTES_MAX
    for source, destination in sorted(copy.items()):
        tar = bytearray()
        async for chunk in place.engine.get_archive(place.workload_id, place.generation, confined(source, "copy")):
            left -= len(chunk)
            if left < 0:
                raise Rejected(f"copy: more than {CARRIED_BYTES_MAX} bytes; put them on a volume")
            tar += chunk
        files |= unpacked(bytes(tar), confined(destination, "copy"))
    return files


def unpacked(tar: bytes, destination: str) -> dict[str, File]:
    """The regular files of a tar of one file or directory; its topmost name becomes the destination."""
    files: dict[str, File] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in archive:
                if member.isfile():
                    _, _, below = member.name.removeprefix("./").partition("/")
                    content = archive.extractfile(member)
                    data = content.read() if content is not None else b""
                    path = confined(f"{destination}/{below}" if below else destination, "copy")
                    files[path] = File(content=data, mode=member.mode & 0o7777, uid=member.uid, gid=member.gid)
                elif not member.isdir():
                    raise Rejected(f"copy: {member.name[:200]!r} is neither a file nor a directory")
    except tarfile.TarError:
        raise Rejected("copy: the engine sent no tar") from None
    return files

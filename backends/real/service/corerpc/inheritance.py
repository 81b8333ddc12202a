"""Files that a replacement takes along from what it replaces."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from backends.real.cluster import Place
from backends.real.service.corerpc.errors import WireError
from backends.real.service.corerpc.paths import confined
from backends.real.template import File

CARRIED_BYTES_MAX = 20 * 1024 * 1024
"""Of one workload: they are kept with the template."""


async def carried_files(place: Place, copy: Mapping[str, str]) -> dict[str, File]:
    """The files of an instance under the sources, by where they are to be. `WireError` where they are too many bytes,
    or are neither files nor directories of files.
    """
    files: dict[str, File] = {}
    left = CARRIED_BYTES_MAX
    for source, destination in sorted(copy.items()):
        tar = bytearray()
        async for chunk in place.engine.get_archive(place.workload_id, place.generation, confined(source)):
            left -= len(chunk)
            if left < 0:
                raise WireError(f"copy: more than {CARRIED_BYTES_MAX} bytes; put them on a volume")
            tar += chunk
        files |= unpacked(bytes(tar), confined(destination))
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
                    path = confined(f"{destination}/{below}" if below else destination)
                    files[path] = File(content=data, mode=member.mode & 0o7777, uid=member.uid, gid=member.gid)
                elif not member.isdir():
                    raise WireError(f"copy: {member.name[:200]!r} is neither a file nor a directory")
    except tarfile.TarError:
        raise WireError("copy: the engine sent no tar") from None
    return files

"""Files to and from workloads, as tars, with modes and owners."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.live.work import SentFile
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

SMALL_BYTES = 8 * 1024 * 1024
_CHUNK = 1024 * 1024
_MODES = 0o777


async def fetch(service: Service, workload_id: str, path: str, into: IO[bytes]) -> int:
    """Write the tar of a path there to ``into``; its size."""
    size = 0
    async for chunk in service.stream("CopyOut", pb.CopyOutRequest(workload_id=workload_id, path=path)):
        await asyncio.to_thread(into.write, chunk.data)
        size += len(chunk.data)
    return size


async def unpack(service: Service, workload_id: str, path: str, directory: Path) -> list[dict[str, Any]]:
    """Fetch a path and unpack it under a directory; nothing is unpacked before all is here.

    Names that lead out of the directory, and devices, are refused. Modes are kept without set-id bits, and owners
    where we may give files away.
    """
    with tempfile.TemporaryFile() as spool:
        await fetch(service, workload_id, path, spool)
        spool.seek(0)
        return await asyncio.to_thread(_extract, spool, directory, workload_id)


def _extract(spool: IO[bytes], directory: Path, workload_id: str) -> list[dict[str, Any]]:
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=spool, mode="r:") as archive:
            archive.extractall(directory, numeric_owner=True, filter=_checked)
            return [
                {"workload_id": workload_id, "path": str(directory / member.name), "size_bytes": member.size}
                for member in archive.getmembers()
            ]
    except (tarfile.TarError, ValueError) as error:
        raise EruError(f"{workload_id}: what came cannot be unpacked: {error}") from None


def _checked(member: tarfile.TarInfo, directory: str) -> tarfile.TarInfo:
    safe = tarfile.data_filter(member, directory)
    return member.replace(name=safe.name, linkname=safe.linkname, mode=member.mode & _MODES)


def needed(files: Sequence[SentFile]) -> int:
    """How many bytes there are to send; `SMALL_BYTES` + 1 where directories are among them."""
    if any(file.source.is_dir() for file in files):
        return SMALL_BYTES + 1
    return sum(file.source.stat().st_size for file in files)


async def send_small(service: Service, workload_ids: Sequence[str], files: Sequence[SentFile]) -> dict[str, str]:
    """Put files into workloads; what went wrong, by workload."""

    async def requests() -> AsyncIterator[Any]:
        yield pb.CopyInInput(start=pb.CopyInStart(workload_ids=workload_ids))
        for file in files:
            info = file.source.stat()
            content = await asyncio.to_thread(file.source.read_bytes)
            mode = file.mode if file.mode is not None else info.st_mode & _MODES
            uid, gid = (info.st_uid, info.st_gid) if file.uid is None else (file.uid, file.gid or 0)
            yield pb.CopyInInput(
                file=pb.CopyInFile(path=file.path, file=pb.File(content=content, mode=mode, uid=uid, gid=gid))
            )

    return dict((await service.send("CopyIn", requests())).errors)


async def send_large(service: Service, workload_id: str, files: Sequence[SentFile]) -> dict[str, str]:
    """Send files and directories of any size as one tar, which is made as it is sent; what went wrong."""

    async def requests() -> AsyncIterator[Any]:
        yield pb.CopyInInput(start=pb.CopyInStart(workload_ids=[workload_id], path="/"))
        chunks = _tar(files)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield pb.CopyInInput(tar=chunk)

    return dict((await service.send("CopyIn", requests())).errors)


def _tar(files: Sequence[SentFile]) -> Iterator[bytes]:
    """The chunks of a tar of files and directories under their names there."""
    for file in files:
        top = file.source.resolve()
        for path in [top, *(sorted(top.rglob("*")) if top.is_dir() else ())]:
            name = file.path if path == top else f"{file.path.rstrip('/')}/{path.relative_to(top)}"
            yield from _member(path, name.lstrip("/"), file, is_top=path == top)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _member(path: Path, name: str, file: SentFile, *, is_top: bool) -> Iterator[bytes]:
    with tarfile.open(mode="w", fileobj=io.BytesIO()) as archive:
        info = archive.gettarinfo(path, arcname=name)
    if info is None or not (info.isreg() or info.isdir() or info.issym()):
        raise EruError(f"{path}: it is neither file, directory nor link, and cannot be sent")
    info.mode = file.mode if is_top and file.mode is not None else info.mode & _MODES
    if file.uid is not None:
        info.uid, info.gid = file.uid, file.gid or 0
    info.uname = info.gname = ""
    yield info.tobuf(tarfile.PAX_FORMAT)
    if not info.isreg():
        return
    left = info.size
    with path.open("rb") as stream:
        while left:
            data = stream.read(min(_CHUNK, left))
            if not data:
                raise EruError(f"{path}: it became shorter while it was sent; send it again")
            left -= len(data)
            yield data
    yield b"\0" * (-info.size % tarfile.BLOCKSIZE)


def target(text: str) -> tuple[str, list[str]]:
    """``ID:path,path``."""
    workload_id, colon, paths = text.partition(":")
    found = [path for path in paths.split(",") if path]
    if not workload_id or not colon or not found or not all(path.startswith("/") for path in found):
        raise EruError(f"{text[:120]!r} is not ID:PATH[,PATH...] with absolute paths")
    return workload_id, found


def safe_name(workload_id: str) -> str:
    """The name of a directory for what comes from a workload."""
    return workload_id.replace(os.sep, "_").lstrip(".") or "_"

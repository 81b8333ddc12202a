"""Images of sources: fetch, write the Dockerfile, pack both, and have an engine build it. Nothing of it is left."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

from backends.real.builds.sources import GitSettings, check_sources, fetch, in_thread
from backends.real.builds.spec import Builds, Owner, check, directory_of, dockerfile
from backends.real.engines.base import Engine
from backends.real.errors import Rejected
from backends.real.service.streams import closing

_PIECE = 256 * 1024


def check_builds(builds: Builds, owner: Owner, settings: GitSettings | None) -> GitSettings:
    """`Rejected` names what makes no sense or is not allowed, before anything is done; returns the settings."""
    if settings is None:
        raise Rejected("builds: no source code management is set up; start the service with --git-type, or send a tar")
    check(builds, owner)
    check_sources(builds, settings)
    return settings


def empty_directory(directory: Path) -> None:
    """Make the directory for builds, which nobody else can read, without what a service that was killed left there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(0o700, parents=True, exist_ok=True)


async def build_of_sources(
    engine: Engine, tags: Sequence[str], builds: Builds, owner: Owner, settings: GitSettings, *, platform: str = ""
) -> AsyncGenerator[str, None]:
    """Build an image of what `check_builds` has let through; yield progress, one line each.

    Raises what `fetch` and `Engine.build_image` raise. The directory in which it happens is removed in any case, also
    where this is cancelled or closed early; only a service that is killed leaves it behind (`empty_directory`).
    """
    directory = Path(tempfile.mkdtemp(prefix="eru-build-", dir=settings.directory or None))
    try:
        context = directory / "context"
        context.mkdir()
        for position, stage in enumerate(builds.stages):
            build = builds.builds[stage]
            if not build.has_source:
                continue
            what = ", ".join(sorted(build.artifacts)) or f"{build.repo} {build.version}".rstrip()
            yield f"{stage}: fetching {what}"
            home = directory / f"home{position}"
            home.mkdir(0o700)
            await fetch(build, context / directory_of(position), home, settings)
        (context / "Dockerfile").write_text(dockerfile(builds, owner), encoding="utf-8")
        file = directory / "context.tar"
        await in_thread(_pack, context, file)
        async with closing(engine.build_image(tags, _pieces(file), platform=platform)) as lines:
            async for line in lines:
                yield line
    finally:
        await in_thread(lambda: shutil.rmtree(directory, ignore_errors=True))


def _pack(context: Path, file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        archive.add(context, arcname=".", filter=_anonymous)
    shutil.rmtree(context)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever fetched it, and whatever the service's own files are like, it is root's and others may read it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
    return member


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as stream:
        while piece := await in_thread(stream.read, _PIECE):
            yield piece

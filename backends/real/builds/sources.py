"""Sources of builds: repositories, by the program ``git``, and artifacts, by HTTP.

Who asks for a build chooses addresses; the operator chooses by which schemes (`GitSettings`). Git sees neither the
configuration nor the environment of the service, never asks anybody anything, and runs no hooks. The token is sent to
its own hosts only, encrypted only, and is in no argument, variable, message or tree: git reads it from a file that goes
with the build.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from backends.real.builds.spec import Build, Builds, inside
from backends.real.engines.base import EngineError
from backends.real.errors import Rejected

GitHost = Literal["github", "gitlab"]
Scheme = Literal["http", "file"]
"""What an operator can allow beside https, and ssh with a key."""

ARTIFACTS_BYTES_MAX = 1 << 30
"""Of the artifacts of one stage, as they come and again unpacked."""
_ZIP_DIRECTORY_BYTES_MAX = 8 << 20
_PIECE = 1 << 20
_REDIRECTS_MAX = 5
_CONNECT_S = 30.0
_HOSTS: dict[str, tuple[str, ...]] = {"github": ("github.com", "api.github.com"), "gitlab": ("gitlab.com",)}
_GIT_USERS = {"github": "x-access-token", "gitlab": "oauth2"}
_PASSED = (
    "PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
)  # fmt: skip
_GIT_CONFIG = """[core]
	hooksPath = /dev/null
[credential]
	helper = store
[gc]
	auto = 0
[maintenance]
	auto = false
"""
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_~/.][^\s:]*")
_ADDRESS = re.compile(r"([a-z]+)://(?:([A-Za-z0-9_.-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?)(/[^\s]*)?")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
T = TypeVar("T")


class SourceError(EngineError):
    """The sources of a build cannot be had, as far as they are not forbidden; the message holds no secret."""


class GitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where sources may come from, as Eru's ``git`` has it.

    ``kind`` says how the token is shown, ``host`` (``NAME[:PORT]``) to whom, by default the public host of that kind.
    ``token_file`` and ``key_file`` are read at each build; without a key nothing is cloned by ssh, whose known hosts
    are those of the service's user. ``also`` are schemes beside https and ssh: "http", and "file", which lets whoever
    builds read every repository that the service can. One stage's sources must be there in ``clone_seconds``.
    ``directory`` is where builds are made, by default the system's for temporary files.
    """

    kind: GitHost
    host: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?)?$")] = ""
    token_file: str = ""
    key_file: str = ""
    clone_seconds: float = 300.0
    also: tuple[Scheme, ...] = ()
    directory: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """To whom the token may be sent."""
        return (self.host,) if self.host else _HOSTS[self.kind]

    @property
    def schemes(self) -> tuple[str, ...]:
        """By what may be cloned."""
        return ("https", *(("ssh",) if self.key_file else ()), *self.also)

    @property
    def web_schemes(self) -> tuple[str, ...]:
        """By what artifacts may be fetched."""
        return tuple(scheme for scheme in self.schemes if scheme.startswith("http"))

    def token(self) -> str:
        """The first line of its file, "" where none is set; `SourceError` where it cannot be read."""
        if not self.token_file:
            return ""
        try:
            return Path(self.token_file).read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, ValueError):
            raise SourceError("git: the service cannot read its token") from None


def check_sources(builds: Builds, settings: GitSettings) -> None:
    """`Rejected` names the first address that must not be fetched from."""
    for stage in builds.stages:
        build, where = builds.builds[stage], f"builds.builds.{stage}"
        if build.repo:
            _check_scheme(f"{where}.repo", _repo_scheme(build.repo), settings.schemes)
        for name, address in build.artifacts.items():
            _check_scheme(f"{where}.artifacts.{name}", _scheme(address), settings.web_schemes)


def _check_scheme(field: str, scheme: str, allowed: tuple[str, ...]) -> None:
    if not scheme:
        raise Rejected(f"{field}: it must be an address without password, such as https://host/path")
    if scheme not in allowed:
        raise Rejected(
            f"{field}: {scheme} is not allowed, only {', '.join(allowed)}; see --git-key and --git-allow of eru serve"
        )


def _repo_scheme(repo: str) -> str:
    """By what git would clone it, "" for what nobody should have it clone."""
    if _SCP_LIKE.fullmatch(repo):
        return "ssh"
    return "file" if repo.startswith(("/", "file:///")) else _scheme(repo)


def _scheme(address: str) -> str:
    """The scheme of an address; "" where it has no host, or anything before it that only ssh needs."""
    found = _ADDRESS.fullmatch(address)
    return found[1] if found is not None and (found[2] is None or found[1] == "ssh") else ""


# -- fetching ---------------------------------------------------------------------------------------------------------


async def fetch(build: Build, tree: Path, home: Path, settings: GitSettings) -> None:
    """Put the sources of a stage into a new directory: its artifacts if it has any, or else its repository.

    ``home`` is an empty directory for what goes with it, which nobody else can read. `SourceError` and `Rejected` say
    why it cannot be; what was begun then is left in both directories, and nothing goes on.
    """
    tree.mkdir()
    try:
        async with asyncio.timeout(settings.clone_seconds):
            if build.artifacts:
                await _fetch_artifacts(build, tree, home / "artifact", settings)
            else:
                await _clone(build, tree, home, settings)
    except TimeoutError:
        raise SourceError(f"the sources were not there within {settings.clone_seconds:g} s") from None
    except OSError as error:
        raise SourceError(f"the sources cannot be kept: {error.strerror}") from None


async def in_thread(work: Callable[..., T], *values: Any) -> T:
    """Have something done that blocks; whoever is cancelled meanwhile goes on when it is done."""
    job = asyncio.ensure_future(asyncio.to_thread(work, *values))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait((job,))
        raise


async def _clone(build: Build, tree: Path, home: Path, settings: GitSettings) -> None:
    environment = _environment(home, settings)
    _write_private(home / ".gitconfig", _GIT_CONFIG)
    if token := settings.token():
        user = _GIT_USERS[settings.kind]
        lines = [f"https://{user}:{quote(token, safe='')}@{host}\n" for host in settings.hosts]
        _write_private(home / ".git-credentials", "".join(lines))

    async def git(*words: str) -> None:
        await _git(words, tree, environment)

    version = build.version or "HEAD"
    await git("init", "--quiet", "--template=", ".")
    await git("remote", "add", "origin", build.repo)
    try:
        await git("fetch", "--quiet", "--depth=1", "--no-tags", "origin", version)
    except SourceError:
        if not _COMMIT.fullmatch(version):
            raise
        # Not every server gives away a single commit, and none knows the beginning of a name.
        await git("fetch", "--quiet", "origin")
        await git("checkout", "--quiet", "--detach", f"{version}^{{commit}}")
    else:
        await git("checkout", "--quiet", "--detach", "FETCH_HEAD")
    if build.submodule:
        await git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    if build.security:
        await in_thread(_drop_history, tree)


def _environment(home: Path, settings: GitSettings) -> dict[str, str]:
    ssh = ["ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(settings.schemes),
        "GIT_SSH_COMMAND": shlex.join([*ssh, "-i", settings.key_file]),
        "GIT_SSH_VARIANT": "ssh",
    }


def _write_private(file: Path, text: str) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


async def _git(words: tuple[str, ...], where: Path, environment: dict[str, str]) -> None:
    """Run git to its end, or kill it with all its children where that is not waited for."""
    try:
        process = await asyncio.create_subprocess_exec(
            "git", *words, cwd=where, env=environment, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError:
        raise SourceError("git is not installed where the service runs") from None
    assert process.stderr is not None
    said = b""
    try:
        while piece := await process.stderr.read(_PIECE):
            said = (said + piece)[-4096:]
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        text = "".join(one if one.isprintable() else " " for one in said.decode(errors="replace"))
        raise SourceError(f"git {words[0]} failed: {' '.join(text.split())[-500:] or process.returncode}")


def _drop_history(tree: Path) -> None:
    """Remove what git keeps, of submodules too."""
    for folder, folders, files in os.walk(tree):
        if ".git" in folders:
            folders.remove(".git")
            shutil.rmtree(Path(folder, ".git"))
        if ".git" in files:
            Path(folder, ".git").unlink()


# -- artifacts --------------------------------------------------------------------------------------------------------


async def _fetch_artifacts(build: Build, tree: Path, file: Path, settings: GitSettings) -> None:
    to_load = to_write = ARTIFACTS_BYTES_MAX
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:  # no netrc: that is the operator's own
        for name, address in sorted(build.artifacts.items()):
            try:
                to_load = await _download(session, URL(address), file, to_load, settings)
                to_write = await in_thread(_place, file, tree, name, to_write)
            except SourceError as error:
                raise SourceError(f"artifact {name!r}: {error}") from None
            except (aiohttp.ClientError, ValueError) as error:
                raise SourceError(f"artifact {name!r}: it cannot be fetched ({type(error).__name__})") from None


async def _download(session: aiohttp.ClientSession, url: URL, file: Path, left: int, settings: GitSettings) -> int:
    """Fetch into a file at most ``left`` bytes; return how many of them are left then."""
    for _ in range(_REDIRECTS_MAX + 1):
        if url.scheme not in settings.web_schemes or not url.host:
            raise SourceError(f"it leads to {url.scheme or 'nothing'}, which is not allowed")
        headers = _credentials(url, settings)
        async with session.get(url, headers=headers, allow_redirects=False) as reply:
            if reply.status in (301, 302, 303, 307, 308):
                url = url.join(URL(reply.headers.get("Location", "")))
                continue
            if reply.status != 200:
                raise SourceError(f"the server answers {reply.status}")
            with file.open("wb") as stream:
                async for piece in reply.content.iter_chunked(_PIECE):
                    left -= len(piece)
                    _check_left(left)
                    await in_thread(stream.write, piece)
            return left
    raise SourceError(f"it leads on more than {_REDIRECTS_MAX} times")


def _credentials(url: URL, settings: GitSettings) -> dict[str, str]:
    host = url.host if url.is_default_port() else f"{url.host}:{url.port}"
    if url.scheme != "https" or host not in settings.hosts or not (token := settings.token()):
        return {}
    return {"Authorization": f"token {token}"} if settings.kind == "github" else {"PRIVATE-TOKEN": token}


def _check_left(left: int) -> None:
    if left < 0:
        raise SourceError(f"all of them are larger than {ARTIFACTS_BYTES_MAX >> 20} MiB")


class _ZipFile(io.BufferedReader):
    """A list of members that fills the memory is not read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _ZIP_DIRECTORY_BYTES_MAX:
            raise SourceError("it has too many files in it")
        return super().read(size)


def _place(file: Path, tree: Path, name: str, left: int) -> int:
    """Unpack a zip, or put anything else under its name; return how many bytes may still be written."""
    with _ZipFile(io.FileIO(file)) as stream:
        if stream.peek(4)[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
            return _write(stream, tree.joinpath(inside("artifacts", name)), left)
        try:
            with zipfile.ZipFile(stream) as archive:
                for member in archive.infolist():
                    target = tree.joinpath(inside(f"artifacts.{name}", member.filename))
                    if member.is_dir():
                        target.mkdir(parents=True, exist_ok=True)
                        continue
                    with archive.open(member) as content:
                        left = _write(content, target, left)
                    target.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            raise SourceError("it is a zip that cannot be unpacked") from None
    return left


def _write(source: IO[bytes], target: Path, left: int) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        while piece := source.read(_PIECE):
            left -= len(piece)
            _check_left(left)
            stream.write(piece)
    return left

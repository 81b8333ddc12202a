"""Builds of sources: the Dockerfile, what is refused, what is fetched and from where, and that nothing is left."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from builds_kit import commit, git, repository
from corerpc_kit import all_of, pb, world
from hypothesis import given
from hypothesis import strategies as st
from memory_engine_kit import MemoryEngine
from toy_service_kit import code_of, run
from yarl import URL

from backends.real.builds import sources
from backends.real.builds.building import build_of_sources, check_builds
from backends.real.builds.sources import GitSettings, SourceError, fetch
from backends.real.builds.spec import Build, Builds, Owner, check, dockerfile, of_message
from backends.real.errors import Rejected

LOCAL = GitSettings(kind="github", also=("file", "http"))
WHOLE = """\
FROM golang:1.22 AS compile
ARG GOOS="linux"
ENV A="say \\"hi\\" \\\\ $B"
ENV B="2"
LABEL org.x/y="z z"
WORKDIR "/src dir"
COPY ["source0", "."]
STOPSIGNAL SIGRTMIN+3
RUN make -j2 "all"
RUN ["/bin/sh", "-c", "a \\\\\\n && b\\nUSER root"]

FROM scratch AS final
COPY --from=compile ["/src dir/bin", "/bin/app"]
COPY --from=compile ["/src dir/x\\"y", "/x"]

RUN echo 'shop:x:1000:1000:shop:/dev/null:/sbin/nologin' >> /etc/passwd && echo 'shop:x:1000:' >> /etc/group && \
echo 'shop:!::0:::::' >> /etc/shadow
USER shop
"""


def one(**fields: Any) -> Builds:
    return Builds(stages=["a"], builds={"a": Build(**{"base": "scratch", **fields})})


# -- the Dockerfile ---------------------------------------------------------------------------------------------------


def test_the_dockerfile() -> None:
    compiled = Build(
        base="golang:1.22", repo="https://x/y.git", dir="/src dir", stop_signal="SIGRTMIN+3",
        envs={"B": "2", "A": 'say "hi" \\ $B'}, args={"GOOS": "linux"}, labels={"org.x/y": "z z"},
        commands=['make -j2 "all"', "a \\\n && b\nUSER root\n"],
        cache={'/src dir/x"y': "/x", "/src dir/bin": "/bin/app"},
    )  # fmt: skip
    builds = Builds(stages=["compile", "final"], builds={"compile": compiled, "final": Build(base="scratch")})
    check(builds, Owner("shop", 1000))
    assert dockerfile(builds, Owner("shop", 1000)) == WHOLE
    for owner in (Owner(), Owner("shop"), Owner(uid=5)):  # as with Eru
        assert "USER shop" not in dockerfile(builds, owner)


@given(st.dictionaries(st.sampled_from(["envs", "args", "labels", "cache", "dir", "commands"]), st.text(min_size=1)))
def test_a_value_stays_in_its_instruction(values: dict[str, str]) -> None:
    given = {name: values.get(name, "x") for name in ("envs", "args", "labels")}
    cached = values.get("cache", "x")
    build = Build(
        base="scratch", dir=values.get("dir", "x"), commands=[values.get("commands", "x")], cache={cached: cached},
        **{name: {"X": value} for name, value in given.items()},
    )  # fmt: skip
    builds = Builds(stages=["a", "b"], builds={"a": build, "b": Build(base="a")})
    with suppress(Rejected):
        check(builds)
        lines = dockerfile(builds).splitlines()
        words = ["FROM", "ARG", "ENV", "LABEL", "WORKDIR", "RUN", "", "FROM", "COPY", ""]
        assert [line.split(" ")[0] for line in lines] == words
        assert not any(line.endswith("\\") for line in lines)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"base": ""}, "a.base"),
        ({"base": "x\nRUN evil"}, "a.base"),
        ({"base": "--platform=x y"}, "a.base"),
        ({"dir": "/x\nUSER root"}, "a.dir"),
        ({"version": "--upload-pack=evil"}, "a.version"),
        ({"version": "main..other"}, "a.version"),
        ({"version": "main:refs/x"}, "a.version"),
        ({"envs": {"A": "x\ny"}}, "a.envs.A"),
        ({"envs": {"A B": "x"}}, "a.envs"),
        ({"args": {"A=1\nRUN": "x"}}, "a.args"),
        ({"labels": {"a": "x\r\ny"}}, "a.labels.a"),
        ({"labels": {'"': "x"}}, "a.labels"),
        ({"cache": {"/a": "/b\n"}}, "a.cache"),
        ({"cache": {"/a": ""}}, "a.cache"),
        ({"stop_signal": "9\nUSER root"}, "a.stop_signal"),
        ({"commands": ["\n"]}, "a.commands[0]"),
        ({"artifacts": {"../x": "https://x/y"}}, "a.artifacts"),
        ({"artifacts": {"/x": "https://x/y"}}, "a.artifacts"),
        ({"repo": "ext::sh -c evil"}, "a.repo"),
        ({"repo": "ext::https://x/y"}, "a.repo"),
        ({"repo": "ext://x/y"}, "ext is not allowed"),
        ({"repo": "-uevil"}, "a.repo"),
        ({"repo": "--upload-pack=evil"}, "a.repo"),
        ({"repo": "relative/path"}, "a.repo"),
        ({"repo": "https://me:secret@host/x"}, "a.repo"),
        ({"repo": "https://token@host/x"}, "a.repo"),
        ({"repo": "https://-host/x"}, "a.repo"),
        ({"repo": "ssh://-oProxyCommand=evil/x"}, "a.repo"),
        ({"repo": "git@-oProxyCommand=evil:x"}, "a.repo"),
        ({"repo": "git@host:-x"}, "a.repo"),
        ({"repo": "git@host:x/y"}, "ssh is not allowed"),
        ({"repo": "ssh://git@host/x"}, "ssh is not allowed"),
        ({"repo": "http://host/x"}, "http is not allowed"),
        ({"repo": "file:///x"}, "file is not allowed"),
        ({"repo": "/x"}, "file is not allowed"),
        ({"artifacts": {"x": "file:///etc/shadow"}}, "a.artifacts.x"),
        ({"artifacts": {"x": "http://x/y"}}, "http is not allowed"),
        ({"artifacts": {"x": "https://me:secret@x/y"}}, "a.artifacts.x"),
    ],
)
def test_refusals(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_builds(one(**fields), Owner(), GitSettings(kind="github"))
    assert part in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("builds", "owner", "part"),
    [
        (Builds(stages=[], builds={"a": Build(base="x")}), Owner(), "there are none"),
        (Builds(stages=["a", "b"], builds={"a": Build(base="x")}), Owner(), "none of builds.builds"),
        (Builds(stages=["a", "A"], builds={"a": Build(base="x"), "A": Build(base="x")}), Owner(), "twice"),
        (Builds(stages=["a\nRUN"], builds={"a\nRUN": Build(base="x")}), Owner(), "builds.stages"),
        (Builds(stages=["a"] * 101, builds={"a": Build(base="x")}), Owner(), "101"),
        (one(), Owner("a'b", 1), "user"),
        (one(), Owner("a", -1), "uid"),
    ],
)
def test_refusals_of_the_whole(builds: Builds, owner: Owner, part: str) -> None:
    with pytest.raises(Rejected, match=part):
        check_builds(builds, owner, LOCAL)


def test_what_is_allowed_beyond_https() -> None:
    settings = GitSettings(kind="gitlab", key_file="/key", also=("http", "file"))
    for repo in ("git@host:x/y.git", "ssh://git@host:22/x", "http://host/x", "https://host:8443/x", "/x", "file:///x"):
        check_builds(one(repo=repo, artifacts={"x": "http://host/x?y=z"}), Owner(), settings)


# -- repositories -----------------------------------------------------------------------------------------------------


def fetched(directory: Path, build: Build, settings: GitSettings = LOCAL) -> Path:
    home, tree = directory / "home", directory / "tree"
    home.mkdir()
    asyncio.run(fetch(build, tree, home, settings))
    return tree


@pytest.mark.parametrize("version", ["", "main", "old", "v1", "COMMIT", "SHORT"])
def test_versions(tmp_path: Path, version: str) -> None:
    repo = repository(tmp_path / "repo", file="one")
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "v1")
    git(repo, "branch", "old")
    commit(repo, file="two")
    given = version.replace("COMMIT", first).replace("SHORT", first[:8])
    tree = fetched(tmp_path, Build(base="x", repo=f"file://{repo}", version=given))
    assert (tree / "file").read_text() == ("two" if version in ("", "main") else "one")
    assert (tree / ".git").is_dir()


def test_submodules_and_history(tmp_path: Path) -> None:
    inner = repository(tmp_path / "inner", file="inner")
    outer = repository(tmp_path / "outer", file="outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    commit(outer)
    tree = fetched(tmp_path, Build(base="x", repo=str(outer), submodule=True, security=True))
    assert (tree / "inner" / "file").read_text() == "inner"
    assert not list(tree.rglob(".git"))


def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", file="one")
    with pytest.raises(SourceError, match=r"git fetch failed: .*nowhere"):
        fetched(tmp_path, Build(base="x", repo=str(repo), version="nowhere"))


def test_a_host_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git is not installed"):
        fetched(tmp_path, Build(base="x", repo="/x"))


def test_hooks_and_configuration_of_the_service_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / ".gitconfig").write_text("[init]\n\ttemplateDir = " + str(hooks.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(hooks.parent))
    fetched(tmp_path, Build(base="x", repo=str(repository(tmp_path / "repo", file="one"))))
    assert not (tmp_path / "hooked").exists()


def test_the_token_is_in_no_tree_variable_or_argument(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very-secret\nand more\n")
    settings = GitSettings(kind="gitlab", token_file=str(tmp_path / "token"), host="git.x:8443", also=("file",))
    repo = repository(tmp_path / "repo", file="one")
    tree = fetched(tmp_path, Build(base="x", repo=str(repo)), settings)
    assert not any(b"secret" in path.read_bytes() for path in tree.rglob("*") if path.is_file())
    assert not any("secret" in value for value in sources._environment(tmp_path, settings).values())
    credentials = tmp_path / "home" / ".git-credentials"
    assert credentials.read_text() == "https://oauth2:very-secret@git.x:8443\n"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert "secret" not in repr(settings)
    environment = sources._environment(tmp_path / "home", settings)
    for asked, is_told in (
        ("https\nhost=git.x:8443", True),
        ("https\nhost=git.x", False),
        ("http\nhost=git.x:8443", False),
    ):
        ran = subprocess.run(
            ["git", "credential", "fill"],
            input=f"protocol={asked}\n\n",
            env=environment,
            text=True,
            capture_output=True,
        )
        assert ("password=very-secret" in ran.stdout) == is_told


def test_ssh_trusts_nobody_unknown_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked; exit 1\n')
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    settings = GitSettings(kind="github", key_file="/the key")
    with pytest.raises(SourceError, match="git fetch failed"):
        fetched(tmp_path, Build(base="x", repo="git@host:x/y.git"), settings)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[asked.index("-i") + 1] == "/the key"
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= set(asked)
    assert asked[-2:] == ["git@host", "git-upload-pack 'x/y.git'"]


# -- artifacts --------------------------------------------------------------------------------------------------------


def zipped(**files: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o755 << 16 if content.startswith("#!") else 0
            archive.writestr(member, content)
    return data.getvalue()


@asynccontextmanager
async def serving(**pages: Any) -> Any:
    """The address of a server of these pages: bytes, a status, or where another one is."""

    async def answer(request: web.Request) -> web.StreamResponse:
        page = pages[request.match_info["name"]]
        if isinstance(page, str):
            return web.Response(status=302, headers={"Location": page})
        return web.Response(body=page) if isinstance(page, bytes) else web.Response(status=page)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def with_artifact(directory: Path, name: str, page: Any, **pages: Any) -> Path:
    """The tree with one artifact that is such a page."""
    tree = directory / "tree"
    (directory / "home").mkdir()

    async def test() -> None:
        async with serving(page=page, **pages) as address:
            build = Build(base="x", repo="https://nowhere/x", artifacts={name: f"{address}/page"})
            await fetch(build, tree, directory / "home", LOCAL)

    asyncio.run(test())
    return tree


def test_an_artifact_is_a_file(tmp_path: Path) -> None:
    assert (with_artifact(tmp_path, "bin/app", "/moved", moved=b"content") / "bin/app").read_bytes() == b"content"


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    tree = with_artifact(tmp_path, "all", zipped(**{"bin/run": "#!/bin/sh", "etc/": "", "etc/x": "x"}))
    assert (tree / "etc/x").read_text() == "x"
    assert os.access(tree / "bin/run", os.X_OK)
    assert not os.access(tree / "etc/x", os.X_OK)
    assert not (tree / "all").exists()


@pytest.mark.parametrize(
    ("page", "part"),
    [
        (404, "the server answers 404"),
        ("/page", "leads on more than 5 times"),
        ("file:///etc/passwd", "leads to file"),
        ("", "leads on more than"),
        (zipped(**{"../x": "y"}), "without '..'"),
        (zipped(**{"/etc/x": "y"}), "without '..'"),
        (zipped(x="y")[:40], "cannot be unpacked"),
        (zipped(x="y", **{"x/y": "z"}), "cannot be kept"),
        (b"x" * 101, "larger than"),
        (zipped(x="#" * 101), "larger than"),
    ],
)
def test_artifacts_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Any, part: str) -> None:
    if part == "larger than":
        monkeypatch.setattr(sources, "ARTIFACTS_BYTES_MAX", 100 if page[:1] == b"x" else len(page) - 1)
    with pytest.raises((SourceError, Rejected)) as refused:
        with_artifact(tmp_path, "x", page)
    assert part in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "tree"}


def test_a_zip_with_too_many_members_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_ZIP_DIRECTORY_BYTES_MAX", 1000)
    with pytest.raises(SourceError, match="too many files"):
        with_artifact(tmp_path, "x", zipped(**{f"{number}": "" for number in range(1000)}))


def test_the_token_goes_to_its_hosts_only_and_encrypted_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    github = GitSettings(kind="github", token_file=str(tmp_path / "token"))
    gitlab = GitSettings(kind="gitlab", token_file=str(tmp_path / "token"), host="git.x:8443")
    assert sources._credentials(URL("https://api.github.com/x"), github) == {"Authorization": "token t"}
    assert sources._credentials(URL("https://git.x:8443/x"), gitlab) == {"PRIVATE-TOKEN": "t"}
    for url in ("http://github.com/x", "https://github.com:8443/x", "https://github.com.x/x", "https://x.github.com/"):
        assert sources._credentials(URL(url), github) == {}
    (tmp_path / "token").unlink()
    with pytest.raises(SourceError, match="cannot read its token"):
        github.token()


# -- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directories of builds are."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def test_eru_s_clients_build_of_sources(tmp_path: Path, scratch: Path) -> None:
    repo = repository(tmp_path / "repo", **{"run.sh": "echo hi"})
    (repo / "link").symlink_to("/etc/passwd")
    commit(repo)

    async def test() -> None:
        async with world(tmp_path / "store", build_pool="pod", git=LOCAL) as w:
            build = pb.Build(base="scratch", repo=str(repo), security=True, commands=["x"], envs={"A": "b"})
            builds = pb.Builds(stages=["only"], builds={"only": build})
            asked = pb.BuildImageOptions(
                name="site", tags=["v1"], builds=builds, user="u", uid=7, platform="linux/arm64"
            )
            messages = await all_of(w.stub.BuildImage(asked))
            assert not any(message.error for message in messages)
            assert f"only: fetching {repo}" in [message.stream for message in messages]
            assert messages[-1].id == "site:v1"
            ((tags, context, platform),) = [built for engine in w.engines.values() for built in engine.built]
            assert (tags, platform) == (["site:v1"], "linux/arm64")
            with tarfile.open(fileobj=io.BytesIO(context)) as archive:
                members = {member.name.removeprefix("./"): member for member in archive}
                text = archive.extractfile(members["Dockerfile"]).read().decode()  # type: ignore[union-attr]
            assert members.keys() == {".", "Dockerfile", "source0", "source0/run.sh", "source0/link"}
            assert members["source0/link"].issym()
            assert {(member.uid, member.uname) for member in members.values()} == {(0, "")}
            assert text == dockerfile(of_message(builds), Owner("u", 7))

            builds.builds["only"].version = "nowhere"
            (*_, last) = await all_of(w.stub.BuildImage(pb.BuildImageOptions(name="site", builds=builds)))
            assert "git fetch failed" in last.error_detail.message
            builds.builds["only"].repo = "ext::x"
            code, message = await code_of(w.stub.BuildImage(pb.BuildImageOptions(name="site", builds=builds)))
            assert (code.value[0], "repo" in message) == (2, True)
        assert not list(scratch.iterdir())

    run(test)


@pytest.mark.parametrize("how", ["cancel", "close", "late"])
def test_nothing_is_left_of_a_build_that_is_given_up(tmp_path: Path, how: str) -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            begun.set()
            with suppress(ConnectionError):
                while await reader.read(1000):
                    pass
            writer.close()
            ended.set()

        ended = asyncio.Event()
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        repo = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        seconds = 0.5 if how == "late" else 60.0
        settings = GitSettings(kind="github", also=("http",), clone_seconds=seconds, directory=str(tmp_path))
        steps = build_of_sources(MemoryEngine("n"), ["x"], one(repo=repo), Owner(), settings)
        assert await anext(steps) == f"a: fetching {repo}"
        assert len(list(tmp_path.iterdir())) == 1
        if how == "close":
            await steps.aclose()
        else:
            task = asyncio.ensure_future(anext(steps))
            await begun.wait()
            if how == "cancel":
                task.cancel()
            with pytest.raises(asyncio.CancelledError if how == "cancel" else SourceError):
                await task
            await ended.wait()  # git is gone
        assert not list(tmp_path.iterdir())
        server.close()

    run(test)

"""Logs, commands inside, consoles and files, over a socket and over TLS."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from docker_kit import DockerRig, logged, read, said
from engine_contract import ended, on_node
from testbed_kit import BedNode

from backends.real.engines.base import (
    EngineError,
    NotFound,
    Unsupported,
)
from backends.real.engines.docker import DockerEngine
from backends.real.template import File


@pytest.fixture
def node(private_node: BedNode) -> Iterator[DockerRig]:
    rig = DockerRig(private_node)
    yield rig
    rig.clean()


@pytest.fixture(params=["socket", "tls"])
def either(request: pytest.FixtureRequest, private_node: BedNode) -> Iterator[DockerRig]:
    rig = DockerRig(private_node, is_remote=request.param == "tls")
    yield rig
    rig.clean()


@on_node
async def test_logs_in_all_windows(node: DockerRig) -> None:
    async with node.adapter() as engine:
        command = ("log", "3", "0.3", "err", "oops", "exit", "0")
        began_ns = time.time_ns()
        await engine.start(node.spec("job", command=command))
        followed = [chunk async for chunk in engine.logs("job", 1, follow=True)]
        assert [(chunk.stream, chunk.data) for chunk in followed] == [
            ("stdout", b"line 1\n"), ("stdout", b"line 2\n"), ("stdout", b"line 3\n"), ("stderr", b"oops\n"),
        ]  # fmt: skip
        times = [chunk.at_ns for chunk in followed]
        assert began_ns < times[0] < times[1] < times[2] < time.time_ns()
        await ended(engine, "job")
        assert await logged(engine, "job") == "line 1\nline 2\nline 3\noops\n"
        assert await logged(engine, "job", tail=2) == "line 3\noops\n"
        assert await logged(engine, "job", tail=0) == ""
        assert await logged(engine, "job", since_ns=times[1]) == "line 2\nline 3\noops\n"
        assert await logged(engine, "job", until_ns=times[1]) == "line 1\nline 2\n"
        assert await logged(engine, "job", since_ns=times[1], until_ns=times[1]) == "line 2\n"
        with pytest.raises(NotFound):
            await logged(engine, "job", 2)


@on_node
async def test_logs_that_are_followed_can_be_left(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web", command=("log", "1000", "0.01")))
        async with aclosing(engine.logs("web", 1, follow=True, tail=1)) as lines:
            assert (await anext(lines)).data.startswith(b"line ")


@on_node
async def test_logs_of_a_terminal(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("job", command=("log", "2", "err", "oops", "exit", "0"), has_tty=True))
        await ended(engine, "job")
        assert await logged(engine, "job") == "line 1\r\nline 2\r\noops\r\n"


@on_node
async def test_logs_that_nobody_keeps(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web", log="none"))
        with pytest.raises(EngineError, match="reading"):
            await logged(engine, "web")


@on_node
async def test_a_command_inside(node: DockerRig, either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        session = await engine.execute(
            "web", 1, ["sh", "-c", "echo $A; pwd; id -u; echo oops >&2; exit 7"], env=["A=b"], working_dir="/etc",
            user="65534",
        )  # fmt: skip
        chunks = [chunk async for chunk in session.output()]
        assert b"".join(chunk.data for chunk in chunks if chunk.stream == "stdout") == b"b\n/etc\n65534\n"
        assert b"".join(chunk.data for chunk in chunks if chunk.stream == "stderr") == b"oops\n"
        assert await session.exit_code() == 7
        with pytest.raises(EngineError, match="no input"):
            await session.write(b"x")
        with pytest.raises(Unsupported, match="terminal"):
            await session.resize(1, 1)
        await session.close()
        with pytest.raises(NotFound):
            await engine.execute("web", 2, ["true"])


@on_node
async def test_input_of_a_command_ends_before_its_output(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        session = await engine.execute("web", 1, ["sort"], open_stdin=True)
        await session.write(b"pear\n")
        await session.write(b"apple\n")
        await session.close_input()
        assert await read(session) == b"apple\npear\n"
        assert await session.exit_code() == 0
        await session.close()


@on_node
async def test_much_input_and_output_at_once(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        session = await engine.execute("web", 1, ["cat"], open_stdin=True)
        piece, pieces = os.urandom(1 << 16), 128

        async def feed() -> None:
            for _ in range(pieces):
                await session.write(piece)
            await session.close_input()

        feeding = asyncio.create_task(feed())
        assert await read(session) == piece * pieces
        await feeding
        assert await session.exit_code() == 0
        await session.close()


@on_node
async def test_a_slow_reader_slows_the_command_down(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        write = "dd if=/dev/zero bs=1M count=64 2>/dev/null; echo done > /done"
        session = await engine.execute("web", 1, ["sh", "-c", write])
        await anext(session.output())
        await asyncio.sleep(0.5)
        assert await said(engine, "web", "ls", "/done") == ""
        assert sum([len(chunk.data) async for chunk in session.output()]) > 60 << 20
        assert await session.exit_code() == 0
        await session.close()


@on_node
async def test_a_command_with_a_terminal(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        session = await engine.execute("web", 1, ["sh"], has_tty=True, open_stdin=True)
        await session.resize(33, 77)
        await session.write(b"stty size\nexit 5\n")
        assert b"33 77" in await read(session)
        assert await session.exit_code() == 5
        await session.close()


@on_node
async def test_a_command_that_is_not_there(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web"))
        session = await engine.execute("web", 1, ["/no/such"])
        await read(session)
        assert await session.exit_code() in (126, 127)
        await session.close()
        await engine.stop("web", 1, keep=True)
        with pytest.raises(EngineError, match="not running"):
            await engine.execute("web", 1, ["true"])


@on_node
async def test_attached_to_what_runs(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(
            either.spec("web", image="busybox:local", command=("cat",), open_stdin=True, engine={"stdin_once": True})
        )
        session = await engine.attach("web", 1, open_stdin=True)
        await session.write(b"hello\n")
        await session.close_input()
        assert await read(session) == b"hello\n"
        assert await session.exit_code() == 0
        await session.close()
        with pytest.raises(EngineError, match="does not run"):
            await engine.attach("web", 1)


@on_node
async def test_attached_to_a_terminal_and_gone_again(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("sh", image="busybox:local", has_tty=True, open_stdin=True))
        session = await engine.attach("sh", 1, open_stdin=True)
        await session.resize(44, 88)
        await session.write(b"stty size\n")
        text = b""
        async for chunk in session.output():
            text += chunk.data
            if b"44 88" in text:
                break
        await session.close()
        assert (await engine.inspect("sh", 1)).state == "running"
        await engine.start(node.spec("web"))
        with pytest.raises(EngineError, match="no input"):
            await engine.attach("web", 1, open_stdin=True)


@on_node
async def test_files_go_in_and_come_out(either: DockerRig) -> None:
    async with either.adapter() as engine:
        await engine.start(either.spec("web"))
        large = os.urandom(3 << 20)
        await engine.put_files("web", 1, {"/a/b/large": File(content=large, mode=0o600), "/a/é": File(content=b"")})
        found = await _unpacked(engine, "/a")
        assert found["a/b/large"] == large
        assert found["a/é"] == b""

        async def pieces(tar: bytes) -> AsyncIterator[bytes]:
            for start in range(0, len(tar), 1 << 16):
                yield tar[start : start + (1 << 16)]

        packed = b"".join([data async for data in engine.get_archive("web", 1, "/a/b")])
        await engine.put_archive("web", 1, "/root", pieces(packed))
        assert (await _unpacked(engine, "/root/b/large"))["large"] == large
        with pytest.raises(NotFound):
            await engine.put_archive("web", 1, "/nowhere", pieces(packed))
        with pytest.raises(NotFound):
            await anext(engine.get_archive("web", 1, "/nowhere"))
        with pytest.raises(EngineError, match="absolute"):
            await engine.put_files("web", 1, {"../etc": File(content=b"")})


async def _unpacked(engine: DockerEngine, path: str) -> dict[str, bytes]:
    content = b"".join([data async for data in engine.get_archive("web", 1, path)])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


@on_node
async def test_usage_counts(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web"))
        before = await engine.usage("web", 1)
        await said(engine, "web", "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
        after = await engine.usage("web", 1)
        assert after.cpu_ns > before.cpu_ns + 10_000_000
        assert 0 < after.memory_bytes < 100 << 20
        await engine.stop("web", 1, keep=True)
        assert (await engine.usage("web", 1)).cpu_ns == 0

"""Endpoints: who answers, who does not, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_kit import IMAGE, DockerRig, logged, read
from engine_contract import on_node
from testbed_kit import BedNode

from backends.real import cgroups
from backends.real.engines.base import (
    EngineError,
    Unreachable,
    Unsupported,
)
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from testbed import beds, docker_nodes

ROOT = Path(__file__).parents[2]


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
async def test_info_and_capabilities(either: DockerRig) -> None:
    async with either.adapter() as engine:
        info = await engine.info()
        assert (info.kind, info.cpus[0], len(info.cpus)) == ("docker", "0", os.cpu_count())
        assert info.details["cgroup_version"] == cgroups.detect().version
        assert {"exec_tty", "io", "networks", "watch"} <= engine.capabilities
        with pytest.raises(Unsupported, match="snapshot"):
            await engine.raw("web", 1, "snapshot", b"")


@on_node
async def test_a_lost_journal_can_be_rebuilt_from_labels(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web/0", 3, labels={"eru.record": '{"type":"workload_adopted"}'}))
        (found,) = await engine.instances()
        assert (found.workload_id, found.generation, found.image) == ("web/0", 3, IMAGE)
        assert found.labels["eru.record"] == '{"type":"workload_adopted"}'
        assert found.labels["eru.nodename"] == node.node.name


@pytest.mark.parametrize("url", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_nobody_there_is_said_at_once(node: DockerRig, url: str) -> None:
    async def test() -> None:
        engine = DockerEngine(url, core_id="c")
        began = time.monotonic()
        for call in (engine.ping(), engine.info(), engine.start(node.spec("web")), engine.stop("web", 1, keep=False)):
            with pytest.raises(Unreachable, match="docker at"):
                await call
        with pytest.raises(Unreachable):
            await anext(engine.watch())
        assert time.monotonic() - began < 3
        await engine.close()

    node.run(test)


@pytest.mark.parametrize("url", ["", "docker", "ssh://host", "unix://", "https://host:1"])
def test_an_endpoint_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"tcp://host:port|tcp://"):
        DockerEngine(url, core_id="c")


@on_node
async def test_who_is_not_trusted_is_not_answered(node: DockerRig) -> None:
    good, url = node.tls(), node.node.docker.tls_url
    with tempfile.TemporaryDirectory() as directory:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                   "-subj", "/CN=other", "-keyout", f"{directory}/key", "-out", f"{directory}/pem"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        certificate, key = (Path(directory, name).read_text(encoding="ascii") for name in ("pem", "key"))
    before = sorted(Path(tempfile.gettempdir()).glob("eru-tls-*"))
    for tls in (Tls(good.ca, certificate, key), Tls(certificate, good.certificate, good.key), None):
        engine = DockerEngine(url, core_id="c", tls=tls)
        with pytest.raises((Unreachable, EngineError)):
            await engine.info()
        await engine.close()
    with pytest.raises(ValueError, match="tls") as caught:
        DockerEngine(url, core_id="c", tls=Tls(good.ca, good.certificate, "no key"))
    assert "no key" not in str(caught.value)
    assert good.key not in repr(good)
    assert sorted(Path(tempfile.gettempdir()).glob("eru-tls-*")) == before


@on_node
async def test_a_daemon_that_hangs_is_unreachable(node: DockerRig) -> None:
    pid = int(Path(docker_nodes.describe(beds.find_bed().node(node.node.number))["pid_file"]).read_text())
    async with node.adapter() as engine:
        await engine.ping()
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(Unreachable, match="in time"):
                await engine.ping()
            assert time.monotonic() - began < 3
        finally:
            os.kill(pid, signal.SIGCONT)
        await engine.ping()


async def _watched(engine: DockerEngine) -> None:
    async for _ in engine.watch():
        pass


@on_node
async def test_a_daemon_that_dies_and_comes_back(node: DockerRig) -> None:
    made = beds.find_bed().node(node.node.number)
    async with node.adapter() as engine:
        first = await engine.start(node.spec("web"))
        await engine.start(node.spec("kept", restart="always"))
        await engine.stop("kept", 1, keep=True)
        await engine.instances()
        watching = asyncio.create_task(_watched(engine))
        session = await engine.execute("web", 1, ["sleep", "60"])
        await asyncio.sleep(0.2)

        docker_nodes.stop_daemon(made)

        with pytest.raises(Unreachable, match="docker at"):
            await watching
        await read(session)
        await session.close()
        with pytest.raises(Unreachable):
            await engine.inspect("web", 1)
        assert Path(f"/proc/{first.pid}").exists()

        docker_nodes.ensure_daemon(made)
        docker_nodes.wait_ready(made)

        found = {instance.workload_id: instance for instance in await engine.instances()}
        assert found["web"] == first
        assert found["kept"].state == "exited"
        second = await engine.start(node.spec("kept", 2, restart="always"))
        assert second.state == "running"


def test_the_adapter_s_death_changes_nothing_for_what_runs(node: DockerRig) -> None:
    program = (
        "import asyncio, sys\n"
        "from backends.real.engines.base import InstanceSpec\n"
        "from backends.real.engines.docker import DockerEngine\n"
        "from backends.real.template import Template\n"
        "async def main():\n"
        "    engine = DockerEngine(sys.argv[1], core_id=sys.argv[2])\n"
        f"    template = Template(command=('log', '100000', '0.05'))\n"
        f"    spec = InstanceSpec(workload_id='web', generation=1, node_id='n', image={IMAGE!r}, template=template)\n"
        "    print((await engine.start(spec)).pid, flush=True)\n"
        "    async for _ in engine.logs('web', 1, follow=True): pass\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, node.node.docker.url, node.core_id]
    node.engine()
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    began = time.monotonic()

    async def test() -> None:
        async with node.adapter() as engine:
            (found,) = await engine.instances()
            assert (found.state, found.pid) == ("running", pid)
            before = await logged(engine, "web", tail=1)
            while await logged(engine, "web", tail=1) == before:
                assert time.monotonic() - began < 20
                await asyncio.sleep(0.1)
            assert (await engine.start(node.spec("web", command=("log", "100000", "0.05")))).pid == pid

    node.run(test)

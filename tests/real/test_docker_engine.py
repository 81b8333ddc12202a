"""The Docker engine against a real daemon: creation, what others left behind, and ends."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from docker_kit import IMAGE, DockerRig, disk_under, number_of, read, said
from engine_contract import ended, on_node
from testbed_kit import BedNode

from backends.real import cgroups
from backends.real.engines.base import (
    EngineError,
    InstanceBegan,
    InstanceEnded,
    NotFound,
    Unreachable,
    Unsupported,
)
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_records import starting_name
from backends.real.template import File, Hooks

SECOND = 1_000_000_000


@pytest.fixture
def node(private_node: BedNode) -> Iterator[DockerRig]:
    rig = DockerRig(private_node)
    yield rig
    rig.clean()


@on_node
async def test_the_template_reaches_the_process(node: DockerRig) -> None:
    files = {"/etc/deep/er/key": File(content=b"secret\n", mode=0o640, uid=7, gid=8), "/run/x": File(content=b"")}
    spec = node.spec(
        "web", env=("A=1", "B=two words"), working_dir="/etc", user="65534:65534", files=files,
        extra_hosts=("db:10.1.2.3",), dns=("10.9.9.9",), sysctls={"net.ipv4.ip_default_ttl": "33"},
        labels={"team": "blue"}, engine={"ulimits": {"nofile": [100, 200]}, "cap_drop": ["CHOWN"], "hostname": "me"},
        log="json-file", log_options={"max-size": "1m"},
    )  # fmt: skip
    async with node.adapter() as engine:
        instance = await engine.start(spec)
        assert instance.labels["team"] == "blue"
        assert (await said(engine, "web", "sh", "-c", "echo $A $B; pwd; id -u; hostname")).splitlines() == [
            "1 two words", "/etc", "65534", "me",
        ]  # fmt: skip
        assert await said(engine, "web", "stat", "-c", "%a %u %g %s", "/etc/deep/er/key") == "640 7 8 7\n"
        assert "10.1.2.3\tdb" in await said(engine, "web", "cat", "/etc/hosts")
        assert "10.9.9.9" in await said(engine, "web", "cat", "/etc/resolv.conf")
        assert await said(engine, "web", "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "33\n"
        assert "Max open files            100                  200" in await said(
            engine, "web", "cat", "/proc/1/limits"
        )


@on_node
async def test_the_image_s_own_command_and_the_template_s(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("own", image="busybox:local", has_tty=True))
        assert (await said(engine, "own", "cat", "/proc/1/cmdline")).startswith("/bin/sh\0")
        await engine.start(node.spec("given", image="busybox:local", command=("sleep", "99")))
        assert (await said(engine, "given", "cat", "/proc/1/cmdline")).startswith("sleep\x0099\0")


@on_node
async def test_a_privileged_one_starts(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web", is_privileged=True))
        assert "ok" in await said(engine, "web", "sh", "-c", "mount -t tmpfs x /tmp && echo ok")


@on_node
async def test_volumes_of_all_kinds(node: DockerRig) -> None:
    name = f"vol-{node.core_id}"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory, "in").write_text("from outside", encoding="ascii")
        volumes = [f"{directory}:/rw:rw:5", f"{directory}:/ro:ro:0", f"{name}:/named", "tmpfs:/fast:rw:65536"]
        async with node.adapter() as engine:
            await engine.start(node.spec("web", engine_args={"volumes": volumes}))
            try:
                assert await said(engine, "web", "cat", "/ro/in") == "from outside"
                await said(engine, "web", "sh", "-c", "echo back > /rw/out; echo kept > /named/x")
                assert Path(directory, "out").read_text(encoding="ascii") == "back\n"
                assert "Read-only" in await said(engine, "web", "sh", "-c", "touch /ro/x 2>&1")
                assert "64" in await said(engine, "web", "df", "-k", "/fast")
                await engine.stop("web", 1, keep=False, grace_ns=0)
                await engine.start(node.spec("web", 2, engine_args={"volumes": [f"{name}:/named"]}))
                session = await engine.execute("web", 2, ["cat", "/named/x"])
                assert await read(session) == b"kept\n"
                await session.close()
                await engine.stop("web", 2, keep=False, grace_ns=0)
            finally:
                node.call("DELETE", f"/volumes/{name}?force=1")


@on_node
async def test_hooks_run_inside_in_order(node: DockerRig) -> None:
    hooks = Hooks(
        after_create=("echo created >> /log",),
        after_start=("echo started >> /log",),
        before_stop=("cp /log /out/log && echo stopping >> /out/log",),
        force=True,
    )
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        args = {"volumes": [f"{directory}:/out:rw"]}
        async with node.adapter() as engine:
            first = await engine.start(node.spec("web", hooks=hooks, engine_args=args))
            assert first.name == "web.g1"
            await engine.stop("web", 1, keep=True)
            await engine.start(node.spec("web", 2, hooks=hooks, engine_args=args))
            await engine.stop("web", 2, keep=False)
        assert Path(directory, "log").read_text(encoding="ascii") == "created\nstarted\nstarted\nstopping\n"


@on_node
async def test_a_hook_that_fails(node: DockerRig) -> None:
    async with node.adapter() as engine:
        with pytest.raises(EngineError, match="hook after_start 2 of 2: exit code 3"):
            await engine.start(node.spec("web", hooks=Hooks(after_start=("true", "exit 3"), force=True)))
        assert await engine.instances() == []
        await engine.start(node.spec("web", hooks=Hooks(after_start=("exit 3",), before_stop=("exit 4",))))
        assert await engine.stop("web", 1, keep=False) is not None
        await engine.start(node.spec("web", hooks=Hooks(before_stop=("exit 4",), force=True)))
        with pytest.raises(EngineError, match="before_stop"):
            await engine.stop("web", 1, keep=False)
        assert (await engine.inspect("web", 1)).state == "running"
        assert await engine.stop("web", 1, keep=False, grace_ns=0) == 137


@on_node
async def test_a_start_that_fails_leaves_nothing(node: DockerRig) -> None:
    async with node.adapter() as engine:
        failures: Mapping[str, dict[str, Any]] = {
            "no image": {"image": "nowhere:none", "pull": "never"},
            "no command": {"image": "busybox:local", "command": ("/no/such/thing",)},
            "no core": {"engine_args": {"cpuset_cpus": "4000"}},
            "no network": {"networks": {"nowhere": ""}},
            "no gpu": {"engine_args": {"gpu_devices": ["0"], "gpu_milli": [1000]}},
            "no device": {"engine_args": {"io_limits": {"/dev/nothing": {"read_bps": 1}}}},
            "no capability": {"engine": {"cap_add": ["FLYING"]}},
        }
        for name, options in failures.items():
            with pytest.raises(EngineError) as caught:
                await engine.start(node.spec("web", env=("TOKEN=verysecret",), **options))
            assert not isinstance(caught.value, Unreachable), name
            assert "\n" not in str(caught.value), name
            assert await engine.instances() == [], name
        with pytest.raises(NotFound):
            await engine.start(node.spec("web", image="nowhere:none", pull="never"))


@on_node
async def test_no_secret_in_a_message(node: DockerRig) -> None:
    async with node.adapter() as engine:
        with pytest.raises(EngineError) as caught:
            await engine.start(node.spec("web", env=("TOKEN=verysecret",), working_dir="not/verysecret"))
        assert "verysecret" not in str(caught.value)


@on_node
async def test_a_cancelled_start_leaves_nothing(node: DockerRig) -> None:
    async with node.adapter() as engine:
        starting = asyncio.create_task(engine.start(node.spec("web", hooks=Hooks(after_start=("sleep 60",)))))
        while not (found := await engine.instances()) or found[0].state != "running":
            await asyncio.sleep(0.02)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert await engine.instances() == []


@on_node
async def test_a_stranger_s_container_is_not_touched(node: DockerRig) -> None:
    workload_id = f"w{uuid.uuid4().hex}"
    node.call("POST", f"/containers/create?name={workload_id}.g1", {"Image": IMAGE})
    try:
        async with node.adapter() as engine:
            with pytest.raises(EngineError, match="in use"):
                await engine.start(node.spec(workload_id))
            assert await engine.stop(workload_id, 1, keep=False) is None
        assert node.call("GET", f"/containers/{workload_id}.g1/json")["State"]["Status"] == "created"
    finally:
        node.call("DELETE", f"/containers/{workload_id}.g1?force=1")


@on_node
async def test_who_only_looks_on_sees_every_core_s_and_makes_none(node: DockerRig) -> None:
    """As an agent does: what we made, and what Eru's own core made, whose id is the container's."""
    body = {"Image": IMAGE, "Labels": {"ERU": "1"}}
    container = node.call("POST", f"/containers/create?name=shop_web_{uuid.uuid4().hex[:6]}", body)["Id"]
    onlooker = DockerEngine(node.node.docker.url, core_id=None)
    try:
        async with node.adapter() as engine, aclosing(onlooker.watch()) as events:
            ours = await engine.start(node.spec("web"))
            await onlooker.instances()
            node.call("POST", f"/containers/{container}/start")
            async with asyncio.timeout(20):
                while await anext(events) != InstanceBegan(container, 0):
                    pass
            found = {instance.workload_id: instance for instance in await onlooker.instances()}
            assert found["web"] == ours
            assert found[container].state == "running"
            assert await onlooker.inspect(container, 0) == found[container]
            assert await onlooker.inspect("web", 1) == ours
            session = await onlooker.execute(container, 0, ("true",))
            assert await session.exit_code() == 0
            await session.close()
            assert [one.workload_id for one in await engine.instances()] == ["web"]
            with pytest.raises(NotFound):
                await engine.inspect(container, 0)
            with pytest.raises(Unsupported, match="makes no instances"):
                await onlooker.start(node.spec("other"))
    finally:
        await onlooker.close()
        node.call("DELETE", f"/containers/{container}?force=1")


@on_node
async def test_a_start_that_was_cut_short_is_finished(node: DockerRig) -> None:
    """Where the process was killed: after the creation, after the start, after the renaming of what was kept."""
    hooks = Hooks(after_create=("echo created >> /log",), after_start=("echo started >> /log",))
    spec = node.spec("web", hooks=hooks, files={"/file": File(content=b"x")})
    async with node.adapter() as engine:
        whole = await engine.start(spec)
        body = {"Image": IMAGE, "Labels": dict(whole.labels)}
        await engine.stop("web", 1, keep=False, grace_ns=0)

        name = starting_name("web", 1)
        node.call("POST", f"/containers/create?name={name}", body)
        assert [instance.state for instance in await engine.instances()] == ["created"]
        assert await engine.stop("web", 2, keep=False) is None
        started = await engine.start(spec)
        assert (started.name, started.state) == ("web.g1", "running")
        assert await said(engine, "web", "cat", "/file", "/log") == "xcreated\nstarted\n"

        node.call("POST", f"/containers/web.g1/rename?name={name}")
        again = await engine.start(spec)
        assert (again.name, again.pid) == ("web.g1", started.pid)
        assert await said(engine, "web", "cat", "/log") == "created\nstarted\ncreated\nstarted\n"

        await engine.stop("web", 1, keep=True)
        name = starting_name("web", 2, again.started_at_ns)
        node.call("POST", f"/containers/web.g1/rename?name={name}")
        assert [(found.generation, found.state) for found in await engine.instances()] == [(2, "created")]
        second = await engine.start(node.spec("web", 2, hooks=hooks, files=spec.template.files))
        assert (second.name, second.state, second.generation) == ("web.g2", "running", 2)

        node.call("POST", f"/containers/web.g2/rename?name={name}")
        assert (await engine.inspect("web", 2)).state == "running"
        assert (await engine.start(node.spec("web", 2, hooks=hooks))).pid == second.pid
        node.call("POST", f"/containers/web.g2/rename?name={name}")
        assert await engine.stop("web", 2, keep=False) is not None
        assert await engine.instances() == []


@on_node
async def test_what_cannot_become_the_next_generation_is_cleared(node: DockerRig) -> None:
    async with node.adapter() as engine:
        first = await engine.start(node.spec("web", exit_code=0))
        await ended(engine, "web")
        second = await engine.start(node.spec("web", 2, env=("OTHER=template",)))
        assert second.engine_id != first.engine_id
        assert await engine.instances() == [second]


@on_node
async def test_what_was_kept_has_its_files_and_new_limits(node: DockerRig) -> None:
    disk = disk_under("/var/tmp")
    async with node.adapter() as engine:
        args = {"cpu_quota": 50_000, "cpu_period": 100_000, "io_limits": {disk: {"read_bps": 1 << 20}}}
        await engine.start(node.spec("web", engine_args=args, restart="always"))
        await said(engine, "web", "sh", "-c", "echo mine > /root/file")
        await engine.stop("web", 1, keep=True)
        args = {"cpu_quota": 30_000, "cpu_period": 100_000, "io_limits": {disk: {"read_bps": 2 << 20}}}
        second = await engine.start(node.spec("web", 2, engine_args=args, restart="always"))
        session = await engine.execute("web", 2, ["cat", "/root/file"])
        assert await read(session) == b"mine\n"
        await session.close()
        limits = cgroups.detect().limits_of(second.pid)
        assert (limits.cpu_quota_us, limits.io) == (30_000, {number_of(disk): {"read_bps": 2 << 20}})


@on_node
async def test_what_was_kept_stays_where_its_start_fails(node: DockerRig) -> None:
    hooks = Hooks(after_start=("test ! -e /root/file",), force=True)
    async with node.adapter() as engine:
        await engine.start(node.spec("web", hooks=hooks))
        await said(engine, "web", "touch", "/root/file")
        await engine.stop("web", 1, keep=True)
        for args in ({}, {"volumes": ["/tmp:/x:rw"]}, {"cpuset_cpus": "4000"}):
            with pytest.raises(EngineError):
                await engine.start(node.spec("web", 2, hooks=hooks, engine_args=args))
            assert [(found.name, found.state) for found in await engine.instances()] == [("web.g1", "exited")]


@on_node
async def test_who_ignores_term_is_killed_when_the_grace_is_over(node: DockerRig) -> None:
    async with node.adapter() as engine:
        spec = node.spec("web", command=("ignore-term",), stop_grace_ns=SECOND)
        for grace_ns, least_s in ((None, 1.0), (2 * SECOND, 2.0)):
            await engine.start(spec)
            began = time.monotonic()
            assert await engine.stop("web", 1, keep=False, grace_ns=grace_ns) == 137
            assert least_s <= time.monotonic() - began < least_s + 3
        await engine.start(spec)
        began = time.monotonic()
        assert await engine.stop("web", 1, keep=False, grace_ns=0) == 137
        assert time.monotonic() - began < 3


@on_node
async def test_what_is_paused_can_be_stopped(node: DockerRig) -> None:
    async with node.adapter() as engine:
        for grace_ns in (None, 0):
            await engine.start(node.spec("web", hooks=Hooks(before_stop=("true",), force=True)))
            await engine.pause("web", 1)
            assert await engine.stop("web", 1, keep=False, grace_ns=grace_ns) in (0, 137)
        assert await engine.instances() == []


@on_node
async def test_what_the_engine_restarts_has_not_ended(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.instances()
        async with aclosing(engine.watch()) as events:
            await engine.start(node.spec("job", command=("wait", "0.2", "exit", "9"), restart="on-failure:2"))
            seen = []
            async for event in events:
                seen.append(event)
                if isinstance(event, InstanceEnded):
                    break
        assert seen == [InstanceBegan("job", 1)] * 3 + [InstanceEnded("job", 1, 9)]
        assert (await engine.inspect("job", 1)).restarts == 2


@on_node
async def test_nothing_is_missed_between_listing_and_watching(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.instances()
        await engine.start(node.spec("job", exit_code=7))
        await ended(engine, "job")
        async with aclosing(engine.watch()) as events:
            assert [await anext(events), await anext(events)] == [InstanceBegan("job", 1), InstanceEnded("job", 1, 7)]


@on_node
async def test_who_removes_a_container_by_force_is_noticed(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web", restart="always"))
        await engine.instances()
        async with aclosing(engine.watch()) as events:
            node.call("DELETE", "/containers/web.g1?force=1")
            async for event in events:
                if isinstance(event, InstanceEnded):
                    assert event == InstanceEnded("web", 1, 137)
                    break

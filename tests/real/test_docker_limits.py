"""Limits that Docker is told of hold, and can be changed; read from the control groups."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator

import pytest
from docker_kit import DockerRig, disk_under, number_of, said
from engine_contract import on_node
from testbed_kit import BedNode

from backends.real import cgroups
from backends.real.engines.base import (
    EngineError,
    Unsupported,
)


@pytest.fixture
def node(private_node: BedNode) -> Iterator[DockerRig]:
    rig = DockerRig(private_node)
    yield rig
    rig.clean()


@on_node
async def test_limits_of_the_control_groups_are_those_asked_for(node: DockerRig) -> None:
    disk = disk_under("/var/tmp")
    io_limits = {disk: {"read_iops": 100, "write_iops": 200, "read_bps": 1 << 20, "write_bps": 2 << 20}}
    args = {
        "cpuset_cpus": "0", "cpuset_mems": "0", "cpu_period": 100_000, "cpu_quota": 50_000, "cpu_shares": 512,
        "memory_bytes": 64 << 20, "io_limits": io_limits, "storage_bytes": 1 << 30, "gpu_milli": [], "gpu_devices": [],
    }  # fmt: skip
    async with node.adapter() as engine:
        instance = await engine.start(node.spec("web", engine_args=args))
        limits = cgroups.detect().limits_of(instance.pid)
        assert limits == cgroups.Limits(50_000, 100_000, "0", "0", 64 << 20, {number_of(disk): io_limits[disk]})


@on_node
async def test_limits_change_while_it_runs(node: DockerRig) -> None:
    groups = cgroups.detect()
    async with node.adapter() as engine:
        instance = await engine.start(node.spec("web", engine_args={"cpu_quota": 50_000, "memory_bytes": 64 << 20}))
        bound = {"cpu_quota": -1, "cpuset_cpus": "1", "cpu_shares": 256, "cpu_period": 100_000}
        await engine.update("web", 1, bound)
        limits = groups.limits_of(instance.pid)
        assert (limits.cpu_quota_us, limits.cpuset_cpus, limits.memory_bytes) == (None, "1", 64 << 20)

        await engine.update("web", 1, {"cpuset_cpus": "0,1", "memory_bytes": 256 << 20})
        limits = groups.limits_of(instance.pid)
        assert (limits.cpu_quota_us, limits.cpuset_cpus, limits.memory_bytes) == (None, "0-1", 256 << 20)

        await engine.update("web", 1, {"memory_bytes": 0})
        assert groups.limits_of(instance.pid).memory_bytes is None
        await engine.update("web", 1, {"memory_bytes": 64 << 20})
        assert groups.limits_of(instance.pid).memory_bytes == 64 << 20


@on_node
async def test_limits_of_devices_change_while_it_runs(node: DockerRig) -> None:
    disk = disk_under("/var/tmp")
    groups, number = cgroups.detect(), number_of(disk)
    async with node.adapter() as engine:
        assert "io_live" in engine.capabilities
        args = {"io_limits": {disk: {"read_bps": 1 << 20}}}
        instance = await engine.start(node.spec("web", engine_args=args))
        await engine.update("web", 1, {"io_limits": {disk: {"write_iops": 77}}})
        assert groups.limits_of(instance.pid).io == {number: {"write_iops": 77}}
        # Docker's own changes leave them alone.
        await engine.update("web", 1, {"cpu_quota": 30_000, "cpu_period": 100_000})
        limits = groups.limits_of(instance.pid)
        assert (limits.cpu_quota_us, limits.io) == (30_000, {number: {"write_iops": 77}})
        await engine.update("web", 1, {"io_limits": {}})
        assert groups.limits_of(instance.pid).io == {}
        with pytest.raises(EngineError, match="no block device"):
            await engine.update("web", 1, {"io_limits": {"/dev/null": {"read_bps": 1}}})


@on_node
async def test_what_an_update_as_a_whole_leaves_out_limits_nothing_any_more(
    private_node: BedNode, node: DockerRig
) -> None:
    disk = disk_under("/var/tmp")
    groups = cgroups.detect()
    args = {
        "cpuset_cpus": "0", "cpuset_mems": "0", "cpu_quota": 50_000, "cpu_period": 100_000, "cpu_shares": 512,
        "memory_bytes": 64 << 20, "io_limits": {disk: {"read_bps": 1 << 20}},
    }  # fmt: skip
    far = DockerRig(private_node, is_remote=True)
    far.core_id = node.core_id
    async with node.adapter() as engine, far.adapter() as far_engine:
        free = groups.limits_of((await engine.start(node.spec("free"))).pid)
        instance = await engine.start(node.spec("web", engine_args=args))
        for name in ("cpuset_mems", "io_limits"):
            with pytest.raises(Unsupported, match=name):
                await far_engine.update("web", 1, {key: args[key] for key in args if key != name}, whole=True)
        await engine.update("web", 1, {"memory_bytes": 128 << 20}, whole=True)
        limits = groups.limits_of(instance.pid)
        assert limits == dataclasses.replace(free, cpu_period_us=limits.cpu_period_us, memory_bytes=128 << 20)
        await engine.update("web", 1, {}, whole=True)
        assert groups.limits_of(instance.pid).memory_bytes is None

        # So it is when what was stopped and kept is started again with less.
        await engine.start(node.spec("kept", engine_args=args))
        await engine.stop("kept", 1, keep=True)
        again = await engine.start(node.spec("kept", 2))
        limits = groups.limits_of(again.pid)
        assert limits == dataclasses.replace(free, cpu_period_us=limits.cpu_period_us)


@on_node
async def test_limits_of_devices_cannot_change_from_afar(private_node: BedNode, node: DockerRig) -> None:
    disk = disk_under("/var/tmp")
    far = DockerRig(private_node, is_remote=True)
    far.core_id = node.core_id
    args = {"io_limits": {disk: {"read_bps": 1 << 20}}}
    async with node.adapter() as near_engine, far.adapter() as engine:
        assert "io_live" not in engine.capabilities
        instance = await near_engine.start(node.spec("web", engine_args=args))
        await engine.update("web", 1, args)
        with pytest.raises(Unsupported, match="io_limits"):
            await engine.update("web", 1, {"cpu_quota": 30_000, "io_limits": {disk: {"read_bps": 5}}})
        assert cgroups.detect().limits_of(instance.pid).cpu_quota_us is None


@on_node
async def test_a_refused_update_changes_nothing(node: DockerRig) -> None:
    async with node.adapter() as engine:
        args = {"cpu_quota": 50_000, "cpu_period": 100_000, "cpuset_cpus": "0", "memory_bytes": 64 << 20}
        instance = await engine.start(node.spec("web", engine_args=args))
        before = cgroups.detect().limits_of(instance.pid)
        for change in (
            {"cpu_quota": 20_000, "cpuset_cpus": "4000"},
            {"cpu_quota": 20_000, "memory_bytes": 1},
            {"cpu_quota": 20_000, "volumes": ["/tmp:/new:rw"]},
            {"cpu_quota": 20_000, "gpu_devices": ["0"]},
        ):
            with pytest.raises(EngineError):
                await engine.update("web", 1, change)
            assert cgroups.detect().limits_of(instance.pid) == before, change
        with pytest.raises(Unsupported, match="volumes"):
            await engine.update("web", 1, {"volumes": ["/tmp:/new:rw"]})


@on_node
async def test_writing_is_as_slow_as_the_limit(node: DockerRig) -> None:
    disk = disk_under("/var/tmp")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        args = {"volumes": [f"{directory}:/data:rw"], "io_limits": {disk: {"write_bps": 1 << 20}}}
        async with node.adapter() as engine:
            await engine.start(node.spec("web", engine_args=args))
            began = time.monotonic()
            write = "dd if=/dev/zero of=/data/file bs=64k count=32 oflag=direct 2>&1"
            assert "32+0 records out" in await said(engine, "web", "sh", "-c", write)
            assert time.monotonic() - began > 1.5

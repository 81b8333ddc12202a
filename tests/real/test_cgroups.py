"""Control groups of both versions, as files in a directory."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from backends.real.cgroups import CgroupError, Cgroups, Limits, detect

V1 = {
    "cpu": {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"},
    "cpuset": {"cpuset.cpus": "0-1", "cpuset.mems": "0"},
    "memory": {"memory.limit_in_bytes": "67108864"},
    "blkio": {
        "blkio.throttle.read_iops_device": "254:0 100",
        "blkio.throttle.write_iops_device": "",
        "blkio.throttle.read_bps_device": "254:0 1048576\n8:0 5",
        "blkio.throttle.write_bps_device": "",
    },
}
V2 = {
    "cpu.max": "50000 100000",
    "cpuset.cpus": "0-1",
    "cpuset.mems": "0",
    "memory.max": "67108864",
    "io.max": "254:0 rbps=1048576 wbps=max riops=100 wiops=max\n8:0 rbps=5 wbps=max riops=max wiops=max",
}
EXPECTED = Limits(
    cpu_quota_us=50_000,
    cpu_period_us=100_000,
    cpuset_cpus="0-1",
    cpuset_mems="0",
    memory_bytes=64 << 20,
    io={"254:0": {"read_iops": 100, "read_bps": 1 << 20}, "8:0": {"read_bps": 5}},
)


def _write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n" if text else "", encoding="ascii")


@pytest.fixture
def v1_root(tmp_path: Path) -> Path:
    return tmp_path / "v1"


@pytest.fixture
def v2_root(tmp_path: Path) -> Path:
    return tmp_path / "v2"


@pytest.fixture
def v1(v1_root: Path) -> Cgroups:
    mounts = ["cgroup2 /nowhere cgroup2 rw 0 0", f"cgroup {v1_root}/systemd cgroup rw,name=systemd 0 0"]
    for controller, files in V1.items():
        _write(v1_root / controller / "box/one", files)
        mounts.append(f"cgroup {v1_root}/{controller} cgroup rw,relatime,{controller} 0 0")
    lines = [f"{number}:{controller}:/box/one" for number, controller in enumerate(V1)]
    _write(v1_root / "proc/7", {"cgroup": "\n".join([*lines, "0::/"])})
    return dataclasses.replace(detect("\n".join(mounts)), processes=v1_root / "proc")


@pytest.fixture
def v2(v2_root: Path) -> Cgroups:
    _write(v2_root / "cg/box/one", V2)
    (v2_root / "cg/cgroup.controllers").write_text("cpuset cpu io memory pids\n", encoding="ascii")
    _write(v2_root / "proc/7", {"cgroup": "0::/box/one"})
    return dataclasses.replace(detect(f"cgroup2 {v2_root}/cg cgroup2 rw 0 0"), processes=v2_root / "proc")


@pytest.mark.parametrize("fixture", ["v1", "v2"])
def test_limits_read_alike_in_both_versions(fixture: str, request: pytest.FixtureRequest) -> None:
    groups: Cgroups = request.getfixturevalue(fixture)
    assert groups.version == int(fixture[1])
    assert groups.limits_of(7) == EXPECTED


def test_no_limit_is_none(v1: Cgroups, v2: Cgroups, v1_root: Path, v2_root: Path) -> None:
    (v1_root / "cpu/box/one/cpu.cfs_quota_us").write_text("-1\n", encoding="ascii")
    (v1_root / "memory/box/one/memory.limit_in_bytes").write_text("9223372036854771712\n", encoding="ascii")
    (v2_root / "cg/box/one/cpu.max").write_text("max 100000\n", encoding="ascii")
    (v2_root / "cg/box/one/memory.max").write_text("max\n", encoding="ascii")
    for groups in (v1, v2):
        limits = groups.limits_of(7)
        assert (limits.cpu_quota_us, limits.memory_bytes) == (None, None)


def test_io_limits_are_written_in_the_form_of_the_version(v1: Cgroups, v1_root: Path) -> None:
    v1.set_io_limits(7, "254:0", {"read_bps": 5})
    assert (v1_root / "blkio/box/one/blkio.throttle.read_bps_device").read_text() == "254:0 5"
    assert (v1_root / "blkio/box/one/blkio.throttle.read_iops_device").read_text() == "254:0 0"


def test_io_limits_are_written_in_one_line_of_version_2(v2: Cgroups, v2_root: Path) -> None:
    v2.set_io_limits(7, "254:0", {"write_iops": 5})
    assert (v2_root / "cg/box/one/io.max").read_text() == "254:0 riops=max wiops=5 rbps=max wbps=max"


def test_the_numa_nodes_of_a_machine(v1: Cgroups, v2: Cgroups, v1_root: Path, v2_root: Path) -> None:
    (v1.v1["cpuset"] / "cpuset.mems").write_text("0-1\n", encoding="ascii")
    assert v2.v2 is not None
    (v2.v2 / "cpuset.mems.effective").write_text("0-3\n", encoding="ascii")
    assert (v1.memory_nodes(), v2.memory_nodes()) == ("0-1", "0-3")
    with pytest.raises(CgroupError, match="cpuset"):
        Cgroups({}, None, frozenset()).memory_nodes()


def test_where_all_processes_are_found(v1: Cgroups, v2: Cgroups, v1_root: Path, v2_root: Path) -> None:
    assert v1.tracking == v1_root / "systemd"
    assert v2.tracking == v2_root / "cg"
    assert detect("cgroup /p cgroup rw,pids 0 0").tracking == Path("/p")
    with pytest.raises(CgroupError, match="mount cgroup2"):
        _ = detect("").tracking


def test_what_is_not_there_is_said(v2: Cgroups) -> None:
    with pytest.raises(CgroupError, match="process 8: No such file"):
        v2.of_process(8, "cpu")
    with pytest.raises(CgroupError, match="freezer"):
        v2.of_process(7, "freezer")


def test_this_machine_has_groups() -> None:
    groups = detect()
    if groups.version == 0:
        pytest.skip("no memory controller is mounted")
    assert groups.limits_of(os.getpid()).cpu_period_us > 0

"""Usage of both versions of control groups, what follows from two samples, and where it is shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backends.real.agent.identity import Identity
from backends.real.agent.logs.lines import fnv32a
from backends.real.agent.metrics import sampler as sampler_module
from backends.real.agent.metrics.sampler import Sampler
from backends.real.agent.metrics.statsd import DATAGRAM_BYTES, Statsd
from backends.real.agent.metrics.usage import Disk, HostUsage, Nic, Usage, UsageReader
from backends.real.cgroups import CgroupError, Cgroups, detect
from backends.real.engines.base import Instance

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
"""  # noqa: E501


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def group_of_this_process(controller: str) -> str:
    """The path of our own group, which is where a tree made up for a test has to have its files."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or (controller == "" and names == ""):
            return path.lstrip("/")
    pytest.skip(f"this machine has no control group of {controller or 'version 2'}")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    write(proc / str(os.getpid()) / "net", dev=NET_DEV)
    write(proc / "net", dev=NET_DEV)
    write(
        proc,
        stat="cpu  100 50 200 1000 100 10 20 20 7 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\nintr 5\n",
        meminfo="MemTotal:        1000 kB\nMemFree:  100 kB\nMemAvailable:    400 kB\nHugePages_Total:       0\n",
        loadavg="0.50 0.40 0.30 1/100 1234\n",
    )
    return proc


def version_1(root: Path) -> Cgroups:
    controllers = ("cpu", "cpuacct", "cpuset", "memory", "blkio")
    directories = {name: root / name / group_of_this_process(name) for name in controllers}
    write(directories["cpuacct"], cpuacct__usage="2500000000\n", cpuacct__stat="user 150\nsystem 50\n")
    write(directories["cpu"], cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    write(directories["cpuset"], cpuset__cpus="0-1\n", cpuset__mems="0\n")
    write(
        directories["memory"],
        memory__usage_in_bytes="3000\n",
        memory__max_usage_in_bytes="4000\n",
        memory__limit_in_bytes="5000\n",
        memory__stat="cache 1\nrss 7\ntotal_cache 100\ntotal_rss 2000\n",
    )
    write(
        directories["blkio"],
        blkio__throttle__io_service_bytes="254:0 Read 11\n254:0 Write 12\n254:0 Sync 1\n254:0 Total 23\nTotal 23\n",
        blkio__throttle__io_serviced="254:0 Read 3\n254:0 Write 4\nTotal 7\n",
        blkio__throttle__read_iops_device="",
        blkio__throttle__write_iops_device="",
        blkio__throttle__read_bps_device="",
        blkio__throttle__write_bps_device="",
    )
    return Cgroups({name: root / name for name in controllers}, None, frozenset())


def version_2(root: Path) -> Cgroups:
    write(
        root / group_of_this_process(""),
        cpu__stat="usage_usec 2500000\nuser_usec 1500000\nsystem_usec 500000\nnr_periods 0\n",
        cpu__max="150000 100000\n",
        cpuset__cpus="\n",
        cpuset__mems="\n",
        memory__current="3000\n",
        memory__peak="4000\n",
        memory__max="5000\n",
        memory__stat="anon 2000\nfile 1000\n",
        io__stat="254:0 rbytes=11 wbytes=12 rios=3 wios=4 dbytes=0 dios=0\n8:0 \n",
        io__max="",
    )
    return Cgroups({}, root, frozenset(("cpu", "cpuset", "memory", "io")))


@pytest.mark.parametrize("make", [version_1, version_2])
def test_both_versions_tell_the_same(make: Any, proc: Path, tmp_path: Path) -> None:
    devices = tmp_path / "block"
    (tmp_path / "devices" / "vda").mkdir(parents=True)
    devices.mkdir()
    (devices / "254:0").symlink_to(tmp_path / "devices" / "vda")
    reader = UsageReader(make(tmp_path / "groups"), proc=proc, devices=devices)
    assert reader.workload(os.getpid()) == Usage(
        cpu_s=2.5,
        user_s=1.5,
        system_s=0.5,
        memory_bytes=3000,
        memory_peak_bytes=4000,
        rss_bytes=2000,
        cpu_limit=1.5,
        memory_limit_bytes=5000,
        nics={"eth0": Nic(1000, 10, 1, 2, 2000, 20, 3, 4)},
        disks={"vda": Disk(11, 12, 3, 4)},
    )


def test_an_old_kernel_of_version_2_does_not_tell_the_peak(proc: Path, tmp_path: Path) -> None:
    groups = version_2(tmp_path)
    (tmp_path / group_of_this_process("") / "memory.peak").unlink()
    assert UsageReader(groups, proc=proc).workload(os.getpid()).memory_peak_bytes == 0


def test_a_workload_without_limits(proc: Path, tmp_path: Path) -> None:
    groups = version_2(tmp_path)
    write(tmp_path / group_of_this_process(""), cpu__max="max 100000\n", memory__max="max\n")
    usage = UsageReader(groups, proc=proc).workload(os.getpid())
    assert (usage.cpu_limit, usage.memory_limit_bytes) == (None, None)


def test_a_device_without_a_name_keeps_its_number(proc: Path, tmp_path: Path) -> None:
    reader = UsageReader(version_2(tmp_path), proc=proc, devices=tmp_path)
    assert set(reader.workload(os.getpid()).disks) == {"254:0"}


def test_the_node(proc: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    assert UsageReader(Cgroups({}, None, frozenset()), proc=proc).host() == HostUsage(
        busy_s=400 / tick,
        user_s=150 / tick,
        system_s=200 / tick,
        cores=2,
        memory_bytes=1000 * 1024,
        available_bytes=400 * 1024,
        load1=0.5,
        nics={"eth0": Nic(1000, 10, 1, 2, 2000, 20, 3, 4)},
    )


def test_this_machine_can_be_read() -> None:
    reader = UsageReader(detect())
    try:
        usage = reader.workload(os.getpid())
    except CgroupError as error:
        pytest.skip(str(error))
    assert usage.cpu_s > 0
    assert usage.memory_bytes > 0
    assert reader.host().cores == os.cpu_count()


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises((CgroupError, OSError)):
        UsageReader(detect()).workload(2**22)


# -- samples -----------------------------------------------------------------------------------------------------------


class Script(UsageReader):
    """A reader that says what it was told."""

    def __init__(self) -> None:
        self.now: dict[int, Usage] = {}
        self.node = HostUsage(0, 0, 0, 4, 8000, 4000, 1.0, {"eth0": Nic(1, 1, 0, 0, 2, 2, 0, 0)})

    def host(self) -> HostUsage:
        return self.node

    def workload(self, pid: int) -> Usage:
        if pid not in self.now:
            raise CgroupError("gone")
        return self.now[pid]


class Hands:
    at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def call_at(self, at_ns: int, callback: Any) -> Any:
        raise AssertionError("a sample does not wait")


def usage(**changes: Any) -> Usage:
    start = Usage(0, 0, 0, 0, 0, 0, None, None, {"eth0": Nic(*[0] * 8)}, {"vda": Disk()})
    return start._replace(**changes)


def instance_of(number: int, **labels: str) -> Instance:
    return Instance(
        workload_id=f"w{number}", generation=1, state="running", engine_id=f"{number}" * 64, name=f"w{number}.g1",
        pid=number, labels={"ERU": "1", "ERU_META": "{}", "eru.record": "{}", **labels},
    )  # fmt: skip


WEB = Identity("web", "http", "abc")


def sampled(reader: Script, later: Usage, *, seconds: float = 10, **host: Any) -> Sampler:
    """Two samples, so long apart."""
    hands = Hands()
    sampler = Sampler(reader, hands, node="n1.example", step_ns=10**10)
    sampler.attach(instance_of(1, team="x"), WEB, is_new=True)
    reader.now[1] = usage(cpu_limit=later.cpu_limit, memory_limit_bytes=later.memory_limit_bytes)
    asyncio.run(sampler.sample())
    hands.at_ns = round(seconds * 10**9)
    reader.now[1] = later
    reader.node = reader.node._replace(**host)
    asyncio.run(sampler.sample())
    return sampler


def shown(sampler: Sampler) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    registry = CollectorRegistry()
    registry.register(sampler)
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(found: dict[str, Any], name: str) -> float:
    (only,) = found[name].values()
    return float(only)


def test_rates_and_parts() -> None:
    later = usage(
        cpu_s=5, user_s=3, system_s=1, memory_bytes=1000, memory_peak_bytes=1500, rss_bytes=500, cpu_limit=2.0,
        memory_limit_bytes=2000, nics={"eth0": Nic(100, 10, 1, 2, 200, 20, 3, 4)}, disks={"vda": Disk(50, 60, 5, 6)},
    )  # fmt: skip
    found = shown(sampled(Script(), later, busy_s=20, user_s=6, system_s=4))
    wanted = {
        "cpu_host_usage": 5 / 40, "cpu_host_sys_usage": 1 / 4, "cpu_host_user_usage": 3 / 6,
        "cpu_container_usage": 5 / 20, "cpu_container_sys_usage": 1 / 5, "cpu_container_user_usage": 3 / 5,
        "mem_usage": 1000, "mem_max_usage": 1500, "mem_rss": 500, "mem_percent": 0.5, "mem_rss_percent": 0.25,
        "bytes_recv": 10, "packets_recv": 1, "err_in": 0.1, "drop_in": 0.2,
        "bytes_send": 20, "packets_send": 2, "err_out": 0.3, "drop_out": 0.4,
        "io_service_bytes_read": 50, "io_service_bytes_write": 60, "io_serviced_read": 5, "io_serviced_write": 6,
        "io_service_bytes_read_per_second": 5, "io_service_bytes_write_per_second": 6,
        "io_serviced_read_per_second": 0.5, "io_serviced_write_per_second": 0.6,
        "eru_node_cpu_cores": 4, "eru_node_cpu_usage": 20 / 40, "eru_node_load1": 1,
        "eru_node_memory_bytes": 8000, "eru_node_memory_available_bytes": 4000,
        "eru_node_network_receive_bytes_total": 1, "eru_node_network_transmit_bytes_total": 2,
    }  # fmt: skip
    assert {name: value(found, name) for name in wanted} == pytest.approx(wanted)
    assert set(found) == set(wanted)


def test_labels_are_eru_s() -> None:
    found = shown(sampled(Script(), usage()))
    (labels,) = found["bytes_send"]
    assert dict(labels) == {
        "containerID": "1" * 64, "hostname": "n1-example", "appname": "web", "entrypoint": "http",
        "orchestrator": "ERU", "labels": "team=x", "nic": "eth0",
    }  # fmt: skip


def test_without_a_limit_the_node_is_the_limit() -> None:
    found = shown(sampled(Script(), usage(cpu_s=20, memory_bytes=4000)))
    assert (value(found, "cpu_container_usage"), value(found, "mem_percent")) == (0.5, 0.5)


def test_the_passed_time_counts_not_the_step() -> None:
    found = shown(sampled(Script(), usage(cpu_s=8), seconds=4))
    assert value(found, "cpu_container_usage") == 0.5


def test_what_has_ended_is_shown_no_more() -> None:
    reader = Script()
    sampler = sampled(reader, usage())
    sampler.detach("w1")
    assert "eru_node_cpu_cores" in shown(sampler)
    assert "cpu_host_usage" not in shown(sampler)


def test_what_cannot_be_read_is_not_shown_and_the_rest_is() -> None:
    reader = Script()
    sampler = sampled(reader, usage())
    sampler.attach(instance_of(2), Identity("other", "", ""), is_new=True)
    reader.now[2] = usage()
    asyncio.run(sampler.sample())
    del reader.now[1]
    sampler._clock.at_ns = 99 * 10**9  # type: ignore[attr-defined]
    asyncio.run(sampler.sample())
    assert [dict(labels)["appname"] for labels in shown(sampler)["cpu_host_usage"]] == ["other"]


def test_a_new_run_begins_with_new_counters() -> None:
    reader = Script()
    sampler = sampled(reader, usage(cpu_s=100))
    fresh = instance_of(1)
    sampler.attach(Instance(**{**{f: getattr(fresh, f) for f in fresh.__struct_fields__}, "pid": 9}), WEB, is_new=True)
    reader.now = {9: usage(cpu_s=1)}
    sampler._clock.at_ns = 99 * 10**9  # type: ignore[attr-defined]
    asyncio.run(sampler.sample())
    assert "cpu_host_usage" not in shown(sampler)


# -- statsd ------------------------------------------------------------------------------------------------------------


def test_statsd_gets_gauges_under_eru_s_names() -> None:
    async def main() -> None:
        receivers = []
        for _ in range(2):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
            receivers.append(receiver)
        statsd = Statsd([receiver.getsockname() for receiver in receivers], node="n1.example")
        await statsd.send(samples)
        mine = receivers[fnv32a("1" * 64) % 2]
        other = receivers[1 - fnv32a("1" * 64) % 2]
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagram = mine.recv(65_536)
                assert len(datagram) <= DATAGRAM_BYTES
                lines += datagram.decode().split("\n")
        with pytest.raises(BlockingIOError):
            other.recv(65_536)
        gauges = dict(line.removesuffix("|g").rsplit(":", 1) for line in lines)
        prefix = "ERU.web.http.n1-example.1111111"
        assert gauges[f"{prefix}.cpu_host_usage"] == "0.125"
        assert gauges[f"{prefix}.eth0.bytes.sent"] == "0.0"
        assert gauges[f"{prefix}.254_0.io_serviced_read"] == "0.0"
        assert len(gauges) == 11 + 8 + 8
        statsd.close()
        for receiver in receivers:
            receiver.close()

    samples = sampled(Script(), usage(cpu_s=5, disks={"254:0": Disk()}))._samples
    asyncio.run(main())


def test_a_destination_that_is_not_known_harms_nobody() -> None:
    async def main() -> None:
        statsd = Statsd([("no.such.host.invalid", 1)], node="n1")
        await statsd.send(samples)
        statsd.close()

    samples = sampled(Script(), usage())._samples
    asyncio.run(main())


def test_metrics_have_one_meaning_each() -> None:
    tables = [
        sampler_module.WORKLOAD_METRICS, sampler_module.NIC_METRICS, sampler_module.DISK_METRICS,
        sampler_module.NODE_METRICS, sampler_module.NODE_NIC_METRICS,
    ]  # fmt: skip
    names = [name for table in tables for name in table]
    assert len(set(names)) == len(names)

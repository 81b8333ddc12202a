"""Counters of one workload and of the node, as files of Linux have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from backends.real.cgroups import CgroupError, Cgroups

_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = 8
"""Of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. Time of guests is in user and nice."""


class Nic(NamedTuple):
    """What one network interface has carried."""

    bytes_recv: int
    packets_recv: int
    err_in: int
    drop_in: int
    bytes_send: int
    packets_send: int
    err_out: int
    drop_out: int


class Disk(NamedTuple):
    """What one block device has carried."""

    bytes_read: int = 0
    bytes_write: int = 0
    reads: int = 0
    writes: int = 0


class Usage(NamedTuple):
    """What a workload has used. CPU time since it began; ``peak`` and ``rss`` 0 where the kernel does not say.

    ``cpu_limit`` is in cores. None is no limit.
    """

    cpu_s: float
    user_s: float
    system_s: float
    memory_bytes: int
    memory_peak_bytes: int
    rss_bytes: int
    cpu_limit: float | None
    memory_limit_bytes: int | None
    nics: Mapping[str, Nic]
    disks: Mapping[str, Disk]


class HostUsage(NamedTuple):
    """What the node has used, and what it has. CPU time over all cores since it was booted."""

    busy_s: float
    user_s: float
    system_s: float
    cores: int
    memory_bytes: int
    available_bytes: int
    load1: float
    nics: Mapping[str, Nic]


class UsageReader:
    """Reads usage, of control groups of both versions."""

    def __init__(self, cgroups: Cgroups, *, proc: Path = Path("/proc"), devices: Path = Path("/sys/dev/block")) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._devices = devices
        self._device_names: dict[str, str] = {}

    def host(self) -> HostUsage:
        """The node as it is; OSError where a file cannot be read."""
        cores = 0
        times: list[int] = []
        for line in (self._proc / "stat").read_text(encoding="ascii").splitlines():
            name, *numbers = line.split()
            if name == "cpu":
                times = [int(number) for number in numbers[:_CPU_FIELDS]]
            elif name.startswith("cpu"):
                cores += 1
        user, nice, system, idle, iowait, *_ = times
        memory = _pairs((self._proc / "meminfo").read_text(encoding="ascii").replace(":", ""))
        return HostUsage(
            busy_s=(sum(times) - idle - iowait) / _TICKS,
            user_s=(user + nice) / _TICKS,
            system_s=system / _TICKS,
            cores=cores,
            memory_bytes=memory["MemTotal"] * 1024,
            available_bytes=memory.get("MemAvailable", memory["MemFree"]) * 1024,
            load1=float((self._proc / "loadavg").read_text(encoding="ascii").split()[0]),
            nics=self._nics(self._proc / "net" / "dev"),
        )

    def workload(self, pid: int) -> Usage:
        """The control group of a process as it is; `CgroupError` or OSError where it is gone."""
        cpu_s, user_s, system_s = self._cpu(pid)
        memory_bytes, peak_bytes, rss_bytes = self._memory(pid)
        cpu_limit, memory_limit_bytes = self._limits(pid)
        return Usage(
            cpu_s=cpu_s,
            user_s=user_s,
            system_s=system_s,
            memory_bytes=memory_bytes,
            memory_peak_bytes=peak_bytes,
            rss_bytes=rss_bytes,
            cpu_limit=cpu_limit,
            memory_limit_bytes=memory_limit_bytes,
            nics=self._nics(self._proc / str(pid) / "net" / "dev"),
            disks=self._disks(pid),
        )

    def _cpu(self, pid: int) -> tuple[float, float, float]:
        if self._cgroups.version_of("cpuacct") == 1:
            group = self._cgroups.of_process(pid, "cpuacct")
            ticks = _pairs(_read(group / "cpuacct.stat"))
            return int(_read(group / "cpuacct.usage")) / 1e9, ticks["user"] / _TICKS, ticks["system"] / _TICKS
        group = self._cgroups.of_process(pid, "cpu")
        times = _pairs(_read(group / "cpu.stat"))
        return times["usage_usec"] / 1e6, times["user_usec"] / 1e6, times["system_usec"] / 1e6

    def _memory(self, pid: int) -> tuple[int, int, int]:
        group = self._cgroups.of_process(pid, "memory")
        details = _pairs(_read(group / "memory.stat"))
        if self._cgroups.version_of("memory") == 1:
            peak = int(_read(group / "memory.max_usage_in_bytes"))
            return int(_read(group / "memory.usage_in_bytes")), peak, details.get("total_rss", details.get("rss", 0))
        peak_file = group / "memory.peak"
        peak = int(_read(peak_file)) if peak_file.exists() else 0
        return int(_read(group / "memory.current")), peak, details.get("anon", 0)

    def _limits(self, pid: int) -> tuple[float | None, int | None]:
        try:
            limits = self._cgroups.limits_of(pid)
        except CgroupError:
            return None, None
        quota = limits.cpu_quota_us / limits.cpu_period_us if limits.cpu_quota_us is not None else None
        cores = _count_cpus(limits.cpuset_cpus)
        return min((limit for limit in (quota, cores) if limit), default=None), limits.memory_bytes

    def _disks(self, pid: int) -> dict[str, Disk]:
        version = self._cgroups.version_of("io")
        if version is None:
            return {}
        group = self._cgroups.of_process(pid, "io")
        found: dict[str, Disk] = {}
        if version == 2:
            for line in _read(group / "io.stat").splitlines():
                device, *pairs = line.split()
                amounts = {key: int(value) for key, _, value in (pair.partition("=") for pair in pairs)}
                if "rbytes" in amounts:
                    found[self._device(device)] = Disk(
                        amounts["rbytes"], amounts["wbytes"], amounts["rios"], amounts["wios"]
                    )
            return found
        for name, fields in _V1_IO:
            recursive = group / f"{name}_recursive"
            for line in _read(recursive if recursive.exists() else group / name).splitlines():
                words = line.split()
                if len(words) == 3 and words[1] in fields:
                    device = self._device(words[0])
                    found[device] = found.get(device, Disk())._replace(**{fields[words[1]]: int(words[2])})
        return found

    def _device(self, number: str) -> str:
        """The kernel's name of a device that is given as major:minor; that itself where there is none."""
        name = self._device_names.get(number)
        if name is None:
            try:
                name = (self._devices / number).resolve(strict=True).name
            except OSError:
                name = number
            self._device_names[number] = name
        return name

    @staticmethod
    def _nics(file: Path) -> dict[str, Nic]:
        found = {}
        for line in file.read_text(encoding="ascii").splitlines()[2:]:
            name, _, rest = line.partition(":")
            numbers = [int(number) for number in rest.split()]
            if name.strip() != "lo":
                found[name.strip()] = Nic(*numbers[0:4], *numbers[8:12])
        return found


_V1_IO = (
    ("blkio.throttle.io_service_bytes", {"Read": "bytes_read", "Write": "bytes_write"}),
    ("blkio.throttle.io_serviced", {"Read": "reads", "Write": "writes"}),
)


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii")


def _pairs(text: str) -> dict[str, int]:
    """Lines of a name and a number, and perhaps a unit."""
    return {words[0]: int(words[1]) for words in map(str.split, text.splitlines()) if len(words) >= 2}


def _count_cpus(cpus: str) -> int:
    """How many cores a list such as 0-2,4 has; 0 for an empty one."""
    count = 0
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count

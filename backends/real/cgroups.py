"""Control groups of this machine: where they are, what limits they hold. The one place that knows versions 1 and 2.

Standard library only, because the testbed uses it before anything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

IO_KINDS = ("read_iops", "write_iops", "read_bps", "write_bps")

_TRACKING = "name=systemd"
_V1_CONTROLLERS = (
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio",
    "perf_event", "pids", "rdma",
)  # fmt: skip
_V1_IO_FILES = {
    "read_iops": "blkio.throttle.read_iops_device",
    "write_iops": "blkio.throttle.write_iops_device",
    "read_bps": "blkio.throttle.read_bps_device",
    "write_bps": "blkio.throttle.write_bps_device",
}
_V2_IO_KEYS = {"read_iops": "riops", "write_iops": "wiops", "read_bps": "rbps", "write_bps": "wbps"}
UNLIMITED_BYTES = 1 << 60
"""A limit of memory from which on it is none: engines cannot always take one back, and the kernel rounds."""


class CgroupError(Exception):
    """What was asked of control groups is not to be had here; one line that says why."""


@dataclass(frozen=True)
class Limits:
    """What a group may use. None is no limit; ``io`` is by device, as major:minor, and by kind of `IO_KINDS`."""

    cpu_quota_us: int | None
    cpu_period_us: int
    cpuset_cpus: str
    cpuset_mems: str
    memory_bytes: int | None
    io: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Cgroups:
    """The hierarchies that are mounted.

    ``v1`` has the mount of each version 1 controller, and under "name=systemd" that of the hierarchy without any, which
    only groups processes. ``v2`` is the mount of version 2, ``v2_controllers`` what it controls. On a hybrid machine
    each controller is in one of the two.
    """

    v1: Mapping[str, Path]
    v2: Path | None
    v2_controllers: frozenset[str]
    processes: Path = Path("/proc")

    @property
    def version(self) -> int:
        """1 or 2: the version that controls memory, and so which files limit a container; 0 for neither."""
        return self.version_of("memory") or 0

    def version_of(self, controller: str) -> int | None:
        """The version that has a controller; None where it is in neither. "blkio" and "io" are the same."""
        if controller in ("blkio", "io"):
            return 1 if "blkio" in self.v1 else 2 if "io" in self.v2_controllers else None
        # Version 2 has no cpuacct, devices and freezer, because every group accounts, admits and freezes.
        return 1 if controller in self.v1 else 2 if controller in self.v2_controllers else None

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every hierarchy once."""
        found = dict.fromkeys(self.v1.values())
        if self.v2 is not None:
            found[self.v2] = None
        return tuple(found)

    @property
    def tracking(self) -> Path:
        """The hierarchy by which all processes of a group and of those below it are found."""
        if _TRACKING in self.v1:
            return self.v1[_TRACKING]
        if self.v2 is not None and not self.v1:
            return self.v2
        if "pids" in self.v1:
            return self.v1["pids"]
        raise CgroupError("no control group hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup")

    def of_process(self, pid: int, controller: str) -> Path:
        """The directory of the group that a process of this machine is in.

        CgroupError where the process is gone or the controller is not there.
        """
        version = self.version_of(controller)
        if version is None:
            raise CgroupError(f"no control group hierarchy has the controller {controller}")
        try:
            text = (self.processes / f"{pid}/cgroup").read_text(encoding="utf-8")
        except OSError as error:
            raise CgroupError(f"process {pid}: {error.strerror}") from None
        name = "blkio" if version == 1 and controller == "io" else controller
        for line in text.splitlines():
            _, names, path = line.split(":", 2)
            if (version == 1 and name in names.split(",")) or (version == 2 and not names):
                root = self.v1[name] if version == 1 else self.v2
                assert root is not None
                return root / path.lstrip("/")
        raise CgroupError(f"process {pid} is in no group of the controller {controller}")

    def limits_of(self, pid: int) -> Limits:
        """What the groups of a process allow it; those above them are not looked at."""
        cpu, cpuset = self.of_process(pid, "cpu"), self.of_process(pid, "cpuset")
        memory, io = self.of_process(pid, "memory"), self.of_process(pid, "io")
        return Limits(
            *self._cpu(cpu),
            cpuset_cpus=_read(cpuset / "cpuset.cpus"),
            cpuset_mems=_read(cpuset / "cpuset.mems"),
            memory_bytes=self._memory(memory),
            io=self._io(io),
        )

    def _cpu(self, group: Path) -> tuple[int | None, int]:
        if self.version_of("cpu") == 2:
            quota, period = _read(group / "cpu.max").split()
            return (None if quota == "max" else int(quota)), int(period)
        number = int(_read(group / "cpu.cfs_quota_us"))
        return (None if number < 0 else number), int(_read(group / "cpu.cfs_period_us"))

    def _memory(self, group: Path) -> int | None:
        if self.version_of("memory") == 2:
            text = _read(group / "memory.max")
            number = UNLIMITED_BYTES if text == "max" else int(text)
        else:
            number = int(_read(group / "memory.limit_in_bytes"))
        return None if number >= UNLIMITED_BYTES else number

    def _io(self, group: Path) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        if self.version_of("io") == 1:
            for kind, name in _V1_IO_FILES.items():
                for line in _read(group / name).splitlines():
                    device, amount = line.split()
                    found.setdefault(device, {})[kind] = int(amount)
            return found
        for line in _read(group / "io.max").splitlines():
            device, *pairs = line.split()
            given = dict(pair.split("=", 1) for pair in pairs)
            amounts = {kind: int(given[key]) for kind, key in _V2_IO_KEYS.items() if given.get(key, "max") != "max"}
            if amounts:
                found[device] = amounts
        return found

    def memory_nodes(self) -> str:
        """The NUMA nodes of the machine, as a list of control groups. CgroupError where they cannot be told."""
        version = self.version_of("cpuset")
        if version is None:
            raise CgroupError("no control group hierarchy has the controller cpuset")
        if version == 1:
            return _read(self.v1["cpuset"] / "cpuset.mems")
        assert self.v2 is not None
        return _read(self.v2 / "cpuset.mems.effective")

    def set_io_limits(self, pid: int, device: str, limits: Mapping[str, int]) -> None:
        """Limit the IO of a process' group on a device (major:minor), by kind of `IO_KINDS`; what is left out is not.

        CgroupError where the machine cannot.
        """
        group = self.of_process(pid, "io")
        try:
            if self.version_of("io") == 1:
                for kind, name in _V1_IO_FILES.items():
                    (group / name).write_text(f"{device} {limits.get(kind, 0)}", encoding="ascii")
            else:
                values = " ".join(f"{key}={limits.get(kind, 'max')}" for kind, key in _V2_IO_KEYS.items())
                (group / "io.max").write_text(f"{device} {values}", encoding="ascii")
        except OSError as error:
            raise CgroupError(f"limits of device {device} in {group}: {error.strerror}") from None


def detect(mounts: str | None = None) -> Cgroups:
    """Find what is mounted; ``mounts`` are the lines of /proc/self/mounts, by default those."""
    text = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in text.splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup":
            for option in options.split(","):
                if option == _TRACKING or option in _V1_CONTROLLERS:
                    v1[option] = Path(mount)
        elif kind == "cgroup2":
            v2 = Path(mount)
    return Cgroups(v1, v2, frozenset(_controllers(v2)))


def _controllers(root: Path | None) -> Iterable[str]:
    if root is None:
        return ()
    try:
        return _read(root / "cgroup.controllers").split()
    except CgroupError:
        return ()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CgroupError(f"{path}: {error.strerror}") from None

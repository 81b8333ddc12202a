"""Commands, processes, control groups and mounts of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from backends.real import cgroups


class BedError(Exception):
    """What went wrong and what to do, in one line or with the output of the command that failed."""


def run(*command: str | Path, input_text: str | None = None) -> str:
    """Run a command and return what it prints; BedError with what it says where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=input_text, stdin=None if input_text else subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise BedError(f"{' '.join(words)}: exit code {done.returncode}: {said}")
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until it holds (True), or the time is over (False)."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def spawn(command: Sequence[str | Path], log: Path, group: Path) -> None:
    """Start a daemon in a session of its own, in that control group; its output is appended to ``log``."""
    group.mkdir(parents=True, exist_ok=True)
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", "/bin/sh", "-c", enter, str(group), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True,
        )  # fmt: skip


def is_alive(pid: int) -> bool:
    """Whether the process runs. One that ended and that nobody waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def pid_of(file: Path) -> int | None:
    """The process that a pid file names, None where there is none that runs."""
    try:
        pid = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if is_alive(pid) else None


# -- control groups ---------------------------------------------------------------------------------------------------


def tracking_group(name: str) -> Path:
    """The directory of a control group in the hierarchy by which its processes are found."""
    return cgroups.detect().tracking / name


def processes_of(name: str) -> list[int]:
    """Everything that runs in a control group and below it."""
    return [pid for group in _below(tracking_group(name)) for pid in _members(group) if is_alive(pid)]


def kill_group(name: str) -> None:
    """Kill everything in a control group and below it, and remove the group from all hierarchies."""
    hierarchies = cgroups.detect()
    # What is frozen does not die before it is thawed.
    for root in hierarchies.roots:
        for group in _below(root / name):
            _write(group / "freezer.state", "THAWED")
            _write(group / "cgroup.freeze", "0")
    if not wait_until(lambda: not _kill(processes_of(name)), 20):
        raise BedError(f"control group {name}: processes {processes_of(name)} do not end when they are killed")
    for root in hierarchies.roots:
        if not wait_until(lambda root=root: _remove(root / name), 20):  # type: ignore[misc]
            raise BedError(f"{root / name}: cannot be removed; look for processes in it")


def _below(group: Path) -> Iterator[Path]:
    """The group and all groups in it, the innermost first."""
    for directory, _, _ in os.walk(group, topdown=False):
        yield Path(directory)


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _kill(pids: list[int]) -> list[int]:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return pids


def _remove(group: Path) -> bool:
    """Remove the empty group and those in it; whether it is gone."""
    for directory in _below(group):
        try:
            directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _write(file: Path, text: str) -> None:
    if file.exists():
        try:
            file.write_text(text, encoding="ascii")
        except OSError:
            return


# -- mounts -----------------------------------------------------------------------------------------------------------


def mounts_below(directory: Path) -> list[Path]:
    """What is mounted at or below a directory, the last one first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    mounts = [Path(line.split()[1].replace("\\040", " ")) for line in lines]
    return [mount for mount in reversed(mounts) if mount == directory or directory in mount.parents]


def unmount_below(directory: Path) -> None:
    """Unmount everything at and below a directory."""
    for mount in mounts_below(directory):
        run("umount", "--lazy", mount)

"""What a machine needs, installed with apt where it is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testbed.system import BedError

_POLICY = Path("/usr/sbin/policy-rc.d")
_PACKAGES = {
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "nsenter": "util-linux",
}


def ensure_packages() -> list[str]:
    """Install what is missing; return its names. BedError where that cannot be done."""
    missing = [package for command, package in _PACKAGES.items() if shutil.which(command) is None]
    if find_busybox() is None:
        missing.append("busybox-static")
    if missing:
        _install(missing)
    return missing


def find_busybox() -> Path | None:
    """A busybox that runs without any library, None where there is none."""
    found = shutil.which("busybox")
    return Path(found) if found is not None and _is_static(Path(found)) else None


def _is_static(program: Path) -> bool:
    """Whether a program needs no loader: it names none in its first page, as those do that need one."""
    with program.open("rb") as file:
        return b"/ld-" not in file.read(4096)


def _install(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise BedError(f"missing, and there is no apt-get to install them: {' '.join(packages)}; install them")
    with _without_services():
        if not _apt("install", *packages):
            _apt("update")
            if not (done := _apt("install", *packages)):
                raise BedError(f"apt-get install {' '.join(packages)} failed:\n{done.said}")


class _Done:
    def __init__(self, code: int, said: str) -> None:
        self._code = code
        self.said = said

    def __bool__(self) -> bool:
        return self._code == 0


def _apt(action: str, *packages: str) -> _Done:
    options = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    if action == "install":
        options += ["-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io"]
    done = subprocess.run(
        ["apt-get", *options, action, *packages],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return _Done(done.returncode, done.stdout.strip())


@contextlib.contextmanager
def _without_services() -> Iterator[None]:
    """Meanwhile no package starts a daemon: one of Docker would change the machine's own network."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()

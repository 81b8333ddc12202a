"""A registry on the bridge, for tests that push and pull. Empty; it forgets everything when the bed goes down."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import network
from testbed.system import BedError, spawn, tracking_group, wait_until

if TYPE_CHECKING:
    from testbed.beds import Bed

_PORT = 5000
_START_SECONDS = 20.0
_CONFIGURATION = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""


def address(bed: Bed) -> str:
    """Host and port, as images are named by: ``<address>/name:tag``."""
    return f"{network.bridge_address(bed)}:{_PORT}"


def ensure_registry(bed: Bed) -> None:
    """Start it where it does not answer. It is reached without TLS, which daemons of the bed accept."""
    if _answers(bed):
        return
    directory = bed.ram / "registry"
    directory.mkdir(exist_ok=True)
    configuration = directory / "config.yml"
    configuration.write_text(_CONFIGURATION.format(data=directory / "data", address=address(bed)), encoding="utf-8")
    log = bed.directory / "log" / "registry.log"
    command: list[str | Path] = [*network.inside_fabric(bed), "docker-registry", "serve", configuration]
    spawn(command, log, tracking_group(f"{bed.name}/registry"))
    if not wait_until(lambda: _answers(bed), _START_SECONDS):
        raise BedError(f"the registry does not answer; its log is {log}")


def _answers(bed: Bed) -> bool:
    host, _, port = address(bed).partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False

"""A bed: its directory, names and addresses; bringing it up and down."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.real import cgroups
from testbed import certificates, docker_nodes, images, network, registry
from testbed.packages import ensure_packages
from testbed.system import BedError, kill_group, mounts_below, pid_of, processes_of, run, unmount_below

DIRECTORY_VARIABLE = "ERU_TESTBED_DIR"
DEFAULT_DIRECTORY = "/var/tmp/eru-testbed"
NODES_MAX = 99
PRIVATE_FROM = 50
"""Nodes from this number on each belong to one process, as of tests: they are not in the env file."""
RAM_SIZE = "4g"


@dataclass(frozen=True)
class Bed:
    """Where a bed is and what its things are called.

    Data of daemons is in memory (``ram``): nothing of it is worth keeping, and containers start three times as fast.
    """

    directory: Path

    @property
    def name(self) -> str:
        """Part of every name of the bed; short enough for interfaces. Follows from the directory."""
        return f"etb{self._checksum & 0xFFFF:04x}"

    @property
    def network_prefix(self) -> str:
        """The first three numbers of the addresses of nodes, 10.224.0 to 10.255.255. Follows from the directory."""
        return f"10.{224 + (self._checksum >> 24 & 0x1F)}.{self._checksum >> 16 & 0xFF}"

    @property
    def ram(self) -> Path:
        """A file system in memory."""
        return self.directory / "ram"

    @property
    def env_file(self) -> Path:
        """What is up, for those who use it."""
        return self.directory / "env.json"

    @property
    def _checksum(self) -> int:
        return zlib.crc32(os.fsencode(self.directory))

    def node(self, number: int) -> Node:
        """Node ``number``, from 1 to `NODES_MAX`, whether or not it is up."""
        if not 1 <= number <= NODES_MAX:
            raise BedError(f"node {number}: give a number from 1 to {NODES_MAX}")
        return Node(self, number)

    def nodes(self) -> list[Node]:
        """The nodes that are up, or of which something is left."""
        found = {int(match[1]) for name in network.namespaces() if (match := self._node_pattern.fullmatch(name))}
        found |= {int(path.name[4:]) for path in self.ram.glob("node[0-9]*")}
        return [self.node(number) for number in sorted(found)]

    @property
    def _node_pattern(self) -> re.Pattern[str]:
        return re.compile(rf"{self.name}-([1-9][0-9]?)")


@dataclass(frozen=True)
class Node:
    """Where one node is and what its things are called."""

    bed: Bed
    number: int

    @property
    def name(self) -> str:
        """Its name within the bed."""
        return f"node{self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace, as ``ip netns`` has it."""
        return f"{self.bed.name}-{self.number}"

    @property
    def address(self) -> str:
        """Its address, which the machine itself and all other nodes reach."""
        return f"{self.bed.network_prefix}.{self.number}"

    @property
    def group(self) -> str:
        """Its control group, below the root of every hierarchy."""
        return f"{self.bed.name}/{self.name}"

    @property
    def directory(self) -> Path:
        """Its files, in memory."""
        return self.bed.ram / self.name

    @property
    def owner_file(self) -> Path:
        """For a private node, the file with the process that it belongs to."""
        return self.directory / "owner"

    @property
    def mount_namespace(self) -> Path:
        """The file that keeps its mount namespace."""
        return self.directory / "mounts"

    def inside(self) -> list[str | Path]:
        """The words that, put before a command, run it within the node."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", f"--mount={self.mount_namespace}", "--"]


def find_bed(directory: str | Path | None = None) -> Bed:
    """The bed in a directory; by default that of ERU_TESTBED_DIR, or else one in /var/tmp."""
    chosen = directory or os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY
    return Bed(Path(chosen).resolve())


def bring_up(bed: Bed, nodes: int) -> None:
    """Bring up nodes 1 to ``nodes``, as far as they are not; others that are up stay so. Writes the env file."""
    ensure_packages()
    with _locked(bed):
        _make_directories(bed)
        network.ensure_fabric(bed)
        certificates.ensure_authority(bed)
        images.ensure_archives(bed)
        registry.ensure_registry(bed)
        new = [bed.node(number) for number in range(1, nodes + 1)]
        for node in new:
            _ensure_node(node)
        for node in new:
            docker_nodes.wait_ready(node)
        _write_env(bed)


def bring_up_private_node(bed: Bed) -> Node:
    """Bring up a node, of a bed that is up, that nobody else uses. It is this process's, and goes when somebody wants
    one after that ended, unless `take_down_node` was called before.
    """
    with _locked(bed):
        free = None
        for number in range(PRIVATE_FROM, NODES_MAX + 1):
            node = bed.node(number)
            if node.directory.exists() and pid_of(node.owner_file) is None:
                _remove_node(node)
            if free is None and not node.directory.exists():
                free = node
        if free is None:
            raise BedError(f"all nodes from {PRIVATE_FROM} to {NODES_MAX} are in use")
        free.directory.mkdir()
        free.owner_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        _ensure_node(free)
        docker_nodes.wait_ready(free)
    return free


def take_down_node(node: Node) -> None:
    """Take down one node and everything that runs on it."""
    with _locked(node.bed):
        _remove_node(node)


def take_down(bed: Bed) -> None:
    """Take down whatever there is of a bed, and remove its directory."""
    if not bed.directory.exists() and not bed.nodes():
        return
    with _locked(bed):
        for node in bed.nodes():
            _remove_node(node)
        kill_group(bed.name)
        network.remove_fabric(bed)
        unmount_below(bed.directory)
        shutil.rmtree(bed.directory)
    if left := leftovers(bed):
        raise BedError(f"left behind: {'; '.join(left)}")


def leftovers(bed: Bed) -> list[str]:
    """Everything of a bed that can be found on the machine, in words; nothing after it was taken down."""
    found = [f"process {pid}" for pid in processes_of(bed.name)]
    found += [f"network namespace {name}" for name in network.namespaces() if name.startswith(f"{bed.name}-")]
    found += [f"interface {name}" for name in network.interfaces() if name.startswith(f"{bed.name}-")]
    found += [f"mount {path}" for path in mounts_below(bed.directory)]
    found += [f"control group {root / bed.name}" for root in cgroups.detect().roots if (root / bed.name).exists()]
    return found + ([f"directory {bed.directory}"] if bed.directory.exists() else [])


def read_env(bed: Bed) -> dict[str, Any] | None:
    """What the env file says; None where there is none, as when the bed is down."""
    try:
        env: dict[str, Any] = json.loads(bed.env_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return env


def describe(node: Node) -> dict[str, Any]:
    """What the env file says of a node."""
    return {
        "name": node.name,
        "number": node.number,
        "address": node.address,
        "network_namespace": f"/run/netns/{node.namespace}",
        "control_group": node.group,
        "docker": docker_nodes.describe(node),
    }


def status(bed: Bed) -> list[str]:
    """A line for each node: whether its daemon answers."""
    return [f"{node.name} {node.address} docker {docker_nodes.state(node)}" for node in bed.nodes()]


def _make_directories(bed: Bed) -> None:
    bed.ram.mkdir(parents=True, exist_ok=True)
    (bed.directory / "log").mkdir(exist_ok=True)
    if not bed.ram.is_mount():
        run("mount", "-t", "tmpfs", "-o", f"size={RAM_SIZE},mode=755", bed.name, bed.ram)
        # Namespaces are kept by mounts in here, which the kernel only allows where mounts are not shared.
        run("mount", "--make-private", bed.ram)


def _ensure_node(node: Node) -> None:
    is_whole = network.has_node(node) and os.path.ismount(node.mount_namespace)
    # What runs in namespaces that lost their names cannot be reached any more.
    if node.mount_namespace.exists() and not is_whole:
        _remove_node(node)
    node.directory.mkdir(exist_ok=True)
    network.ensure_node(node)
    if not is_whole:
        node.mount_namespace.touch()
        # A /run of its own: there daemons meet by paths that cannot be set, such as the lock of iptables.
        run("unshare", f"--mount={node.mount_namespace}", "--propagation", "slave",
            "mount", "-t", "tmpfs", "-o", "mode=755", node.namespace, "/run")  # fmt: skip
    docker_nodes.ensure_daemon(node)


def _remove_node(node: Node) -> None:
    kill_group(node.group)
    network.remove_node(node)
    unmount_below(node.directory)
    shutil.rmtree(node.directory, ignore_errors=True)


def _write_env(bed: Bed) -> None:
    env = {
        "directory": str(bed.directory),
        "log_directory": str(bed.directory / "log"),
        "registry": registry.address(bed),
        "images": [image.reference for image in images.IMAGES],
        "nodes": [describe(node) for node in bed.nodes() if node.number < PRIVATE_FROM],
    }
    with tempfile.NamedTemporaryFile("w", dir=bed.directory, delete=False, encoding="utf-8") as file:
        json.dump(env, file, indent=2)
        file.write("\n")
    os.replace(file.name, bed.env_file)


@contextlib.contextmanager
def _locked(bed: Bed) -> Iterator[None]:
    """Nobody else brings this bed up or down meanwhile."""
    bed.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor = os.open(bed.directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

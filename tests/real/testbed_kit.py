"""What tests of real engines know of the testbed: the nodes that are up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from testbed import beds, docker_nodes


class DockerEnd(msgspec.Struct, frozen=True):
    """Where the Docker daemon of a node answers; the files are the client's, for TLS."""

    url: str
    tls_url: str
    ca_file: str
    certificate_file: str
    key_file: str


class BedNode(msgspec.Struct, frozen=True):
    """One node. ``control_group`` is below the root of every hierarchy."""

    name: str
    number: int
    address: str
    docker: DockerEnd
    network_namespace: str = ""
    control_group: str = ""

    @staticmethod
    def of(described: dict[str, Any]) -> BedNode:
        """A node as the env file has it."""
        return msgspec.convert(described, BedNode)


@contextlib.contextmanager
def private_node_up() -> Iterator[BedNode]:
    """A node that nobody else uses, while the testbed is up."""
    node = beds.bring_up_private_node(beds.find_bed())
    try:
        yield BedNode.of(beds.describe(node))
    finally:
        beds.take_down_node(node)


def find_registry() -> str:
    """Host and port of the testbed's registry, while it is up."""
    env = beds.read_env(beds.find_bed())
    assert env is not None, "ask for the nodes first"
    return str(env["registry"])


def find_nodes() -> list[BedNode] | str:
    """The nodes of the testbed, or why there are none."""
    if os.geteuid() != 0:
        return "the testbed needs root"
    bed = beds.find_bed()
    env = beds.read_env(bed)
    if env is None:
        return f"no testbed is up in {bed.directory}; make testbed-up"
    nodes = [BedNode.of(described) for described in env["nodes"]]
    silent = [node.name for node in nodes if docker_nodes.state(bed.node(node.number)) != "up"]
    if silent:
        return f"testbed in {bed.directory}: no answer from {', '.join(silent)}; make testbed-up"
    return nodes

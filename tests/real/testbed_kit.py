"""What tests of real engines know of the testbed: the nodes that are up."""

from __future__ import annotations

import os

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
    network_namespace: str
    control_group: str
    docker: DockerEnd


def find_nodes() -> list[BedNode] | str:
    """The nodes of the testbed, or why there are none."""
    if os.geteuid() != 0:
        return "the testbed needs root"
    bed = beds.find_bed()
    env = beds.read_env(bed)
    if env is None:
        return f"no testbed is up in {bed.directory}; make testbed-up"
    nodes = msgspec.convert(env["nodes"], list[BedNode])
    silent = [node.name for node in nodes if docker_nodes.state(bed.node(node.number)) != "up"]
    if silent:
        return f"testbed in {bed.directory}: no answer from {', '.join(silent)}; make testbed-up"
    return nodes

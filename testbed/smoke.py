"""Proof that nodes work: a container with limits on each, and what its control groups say."""

from __future__ import annotations

from backends.real import cgroups
from testbed import docker_nodes
from testbed.beds import Bed, Node
from testbed.system import BedError

_CPU_RATIO = 0.5
_MEMORY_BYTES = 64 << 20


def prove(bed: Bed) -> list[str]:
    """Run a container on every node; return a line for each. BedError where a limit is not what was asked."""
    return [_prove_node(node) for node in bed.nodes()]


def _prove_node(node: Node) -> str:
    limits = {"NanoCpus": int(_CPU_RATIO * 10**9), "CpusetCpus": "0", "Memory": _MEMORY_BYTES}
    body = {"Image": "eru-test:local", "HostConfig": {**limits, "CgroupParent": f"/{node.group}"}}
    container = docker_nodes.call(node, "POST", "/containers/create?name=eru-smoke", body)["Id"]
    try:
        docker_nodes.call(node, "POST", f"/containers/{container}/start")
        pid = docker_nodes.call(node, "GET", f"/containers/{container}/json")["State"]["Pid"]
        found = cgroups.detect().limits_of(pid)
    finally:
        docker_nodes.call(node, "DELETE", f"/containers/{container}?force=1")
    shown = (found.cpu_quota_us, found.cpu_period_us, found.cpuset_cpus, found.memory_bytes)
    asked = (int(_CPU_RATIO * found.cpu_period_us), 100_000, "0", _MEMORY_BYTES)
    if shown != asked:
        raise BedError(f"{node.name}: the control groups say {shown}, asked was {asked}")
    return f"{node.name}: quota {shown[0]} of {shown[1]} us, cores {shown[2]}, memory {shown[3]} bytes: as asked"

"""Network namespaces of nodes, and the bridge that joins them and the machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testbed.system import BedError, run, wait_until

if TYPE_CHECKING:
    from testbed.beds import Bed, Node

_GATEWAY = 254
_BRIDGE = 253


def namespaces() -> list[str]:
    """The named network namespaces of the machine."""
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines()]


def interfaces() -> list[str]:
    """The interfaces of the machine, those in namespaces apart."""
    return [str(link["ifname"]) for link in json.loads(run("ip", "-json", "link", "show"))]


def ensure_fabric(bed: Bed) -> None:
    """A namespace with the bridge, and one interface of the machine on it."""
    fabric, root = _fabric(bed), _root_interface(bed)
    if fabric in namespaces() and root in interfaces():
        return
    _check_free(bed)
    remove_fabric(bed)
    run("ip", "netns", "add", fabric)
    run("ip", "-n", fabric, "link", "add", "bridge", "type", "bridge")
    run("ip", "-n", fabric, "address", "add", f"{bed.network_prefix}.{_BRIDGE}/24", "dev", "bridge")
    _up(fabric, "lo", "bridge")
    run("ip", "link", "add", root, "type", "veth", "peer", "name", "root", "netns", fabric)
    run("ip", "-n", fabric, "link", "set", "root", "master", "bridge", "up")
    run("ip", "address", "add", f"{bed.network_prefix}.{_GATEWAY}/24", "dev", root)
    run("ip", "link", "set", root, "up")


def remove_fabric(bed: Bed) -> None:
    """Remove the bridge, and with it the interface of the machine."""
    if _fabric(bed) in namespaces():
        run("ip", "netns", "delete", _fabric(bed))
    if not wait_until(lambda: _root_interface(bed) not in interfaces(), 10):
        run("ip", "link", "delete", _root_interface(bed))


def has_node(node: Node) -> bool:
    """Whether the namespace of a node is there."""
    return node.namespace in namespaces()


def ensure_node(node: Node) -> None:
    """The namespace of a node, with ``eth0`` on the bridge."""
    name, fabric = node.namespace, _fabric(node.bed)
    if not has_node(node):
        run("ip", "netns", "add", name)
    # It goes with the bridge, if somebody removed that.
    if "eth0" not in run("ip", "-n", name, "-brief", "link", "show"):
        run("ip", "-n", fabric, "link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", fabric, "link", "set", node.name, "master", "bridge", "up")
        run("ip", "-n", name, "address", "add", f"{node.address}/24", "dev", "eth0")
        _up(name, "lo", "eth0")


def remove_node(node: Node) -> None:
    """Remove the namespace, and with it its end of the bridge."""
    if has_node(node):
        run("ip", "netns", "delete", node.namespace)
    fabric = _fabric(node.bed)
    if fabric in namespaces():
        gone = wait_until(lambda: f"{node.name}@" not in run("ip", "-n", fabric, "-brief", "link", "show"), 10)
        if not gone:
            run("ip", "-n", fabric, "link", "delete", node.name)


def _check_free(bed: Bed) -> None:
    for link in json.loads(run("ip", "-json", "-4", "address", "show")):
        for address in link["addr_info"]:
            if link["ifname"] != _root_interface(bed) and address["local"].startswith(f"{bed.network_prefix}."):
                raise BedError(
                    f"{link['ifname']} has {address['local']}, which is where this bed would be; use another directory"
                )


def _fabric(bed: Bed) -> str:
    return f"{bed.name}-fabric"


def _root_interface(bed: Bed) -> str:
    return f"{bed.name}-root"


def _up(namespace: str, *links: str) -> None:
    for link in links:
        run("ip", "-n", namespace, "link", "set", link, "up")

"""Network namespaces of nodes, and the bridge that joins them and the machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testbed.system import BedError, run

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
    # Left to itself a bridge has the least address of its ports, another one as nodes come and go; nodes would go on
    # sending to the one that they remember.
    run("ip", "-n", fabric, "link", "add", "bridge", "address", f"02:00:00:e5:01:{_BRIDGE:02x}", "type", "bridge")
    run("ip", "-n", fabric, "address", "add", f"{bridge_address(bed)}/24", "dev", "bridge")
    _up(fabric, "lo", "bridge")
    run("ip", "link", "add", root, "type", "veth", "peer", "name", "root", "netns", fabric)
    run("ip", "-n", fabric, "link", "set", "root", "master", "bridge", "up")
    run("ip", "address", "add", f"{bed.network_prefix}.{_GATEWAY}/24", "dev", root)
    run("ip", "link", "set", root, "up")


def remove_fabric(bed: Bed) -> None:
    """Remove the bridge, and with it the interface of the machine."""
    _delete_link(_root_interface(bed))
    if _fabric(bed) in namespaces():
        run("ip", "netns", "delete", _fabric(bed))


def bridge_address(bed: Bed) -> str:
    """The address of the bridge's own namespace, for what serves all nodes."""
    return f"{bed.network_prefix}.{_BRIDGE}"


def inside_fabric(bed: Bed) -> list[str]:
    """The words that, put before a command, run it on the bridge."""
    return ["nsenter", f"--net=/run/netns/{_fabric(bed)}", "--"]


def has_node(node: Node) -> bool:
    """Whether the namespace of a node is there."""
    return node.namespace in namespaces()


def ensure_node(node: Node) -> None:
    """The namespace of a node, with ``eth0`` on the bridge."""
    name, fabric = node.namespace, _fabric(node.bed)
    if not has_node(node):
        run("ip", "netns", "add", name)
    # If somebody removed the bridge, its end went with it, and this one does sooner or later.
    if not _has_link(fabric, node.name):
        _delete_link("eth0", name)
        run("ip", "-n", fabric, "link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", fabric, "link", "set", node.name, "master", "bridge", "up")
        # The same again after a node was taken down: others remember who had the address.
        run("ip", "-n", name, "link", "set", "eth0", "address", f"02:00:00:e5:00:{node.number:02x}")
        run("ip", "-n", name, "address", "add", f"{node.address}/24", "dev", "eth0")
        _up(name, "lo", "eth0")


def remove_node(node: Node) -> None:
    """Remove the namespace and its end of the bridge."""
    fabric = _fabric(node.bed)
    # A namespace may live on for a while without its name, and keep its interfaces.
    if fabric in namespaces():
        _delete_link(node.name, fabric)
    if has_node(node):
        run("ip", "netns", "delete", node.namespace)


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


def _has_link(namespace: str, link: str) -> bool:
    return f"{link}@" in run("ip", "-n", namespace, "-brief", "link", "show")


def _delete_link(link: str, namespace: str = "") -> None:
    """Nothing where it is not there, as also when it goes at this very moment."""
    try:
        run("ip", *(("-n", namespace) if namespace else ()), "link", "delete", link)
    except BedError as error:
        if "Cannot find device" not in str(error):
            raise


def _up(namespace: str, *links: str) -> None:
    for link in links:
        run("ip", "-n", namespace, "link", "set", link, "up")

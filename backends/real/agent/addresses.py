"""Where a workload can be reached from its node."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from backends.real.engines.base import Instance

HOST_NETWORK = "host"
LOOPBACK = "127.0.0.1"

_INTERFACE = "eth0"
_GLOBAL_SCOPE = "00"


def probe_address(instance: Instance, *, proc: Path = Path("/proc")) -> str:
    """Where to ask it for its health: loopback on the node's own network, else its first address; "" for nowhere."""
    if HOST_NETWORK in instance.networks:
        return LOOPBACK
    return next(filter(None, _addresses(instance, proc)), "")


def reported_networks(instance: Instance, node_address: str, *, proc: Path = Path("/proc")) -> dict[str, str]:
    """Its networks as the core is told: on the node's own network the node's address."""
    addresses = _addresses(instance, proc)
    return {
        name: node_address if name == HOST_NETWORK else address
        for name, address in zip(sorted(instance.networks), addresses, strict=True)
    }


def _addresses(instance: Instance, proc: Path) -> list[str]:
    """By network's name. An address that the engine does not know, as CNI's, is looked up in the instance."""
    known = [instance.networks[name] for name in sorted(instance.networks)]
    if known and not any(known):
        known[0] = inner_address(instance.pid, proc=proc)
    return known


def inner_address(pid: int, *, proc: Path = Path("/proc")) -> str:
    """The address of eth0 in the network namespace of a process, the one of IPv4 if it has both; "" for none.

    It is read from files of the process, so nobody has to enter the namespace.
    """
    net = proc / str(pid) / "net"
    try:
        if pid > 0:
            return next(_ipv4(net), "") or next(_ipv6(net), "")
    except (OSError, ValueError):
        pass
    return ""


def _ipv4(net: Path) -> Iterator[str]:
    """The namespace's own addresses: those in a network that eth0 leads to, or any if it has only a default route."""
    networks = []
    for line in (net / "route").read_text(encoding="ascii").splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask, *_ = line.split()
        if interface == _INTERFACE:
            networks.append((_little_endian(destination), _little_endian(mask)))
    # The default route has mask 0, and leads to every address: the narrow ones are looked at first.
    own = list(dict.fromkeys(_local_addresses((net / "fib_trie").read_text(encoding="ascii"))))
    for prefix, bits in sorted(networks, key=lambda network: -network[1]):
        yield from (str(address) for address in own if int(address) & bits == prefix)


def _local_addresses(trie: str) -> Iterator[ipaddress.IPv4Address]:
    address = ipaddress.IPv4Address(0)
    for line in trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = ipaddress.IPv4Address(words[1])
        elif words == ["/32", "host", "LOCAL"] and not address.is_loopback:
            yield address


def _ipv6(net: Path) -> Iterator[str]:
    for line in (net / "if_inet6").read_text(encoding="ascii").splitlines():
        digits, _, _, scope, _, interface = line.split()
        if (interface, scope) == (_INTERFACE, _GLOBAL_SCOPE):
            yield str(ipaddress.IPv6Address(int(digits, 16)))


def _little_endian(digits: str) -> int:
    return int.from_bytes(int(digits, 16).to_bytes(4, "little"), "big")

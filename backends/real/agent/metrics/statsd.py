"""Samples as gauges of statsd, over UDP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from backends.real.agent.logs.lines import fnv32a
from backends.real.agent.metrics.sampler import NIC_METRICS, Sample

DATAGRAM_BYTES = 1_400
_SHORT_ID = 7
_UNSAFE = str.maketrans({":": "_", "|": "_", "@": "_", "\n": "_", " ": "_"})


class Statsd:
    """Sends each workload's gauges to one of the destinations, chosen by the hash of its instance's id.

    Keys are ``ERU.<app>.<entrypoint>.<node>.<id>.<metric>``, with the first seven characters of the id. Nothing waits
    and nothing fails: it is UDP.
    """

    def __init__(self, destinations: Sequence[tuple[str, int]], *, node: str) -> None:
        self._destinations = list(destinations)
        self._node = node.replace(".", "-")
        self._sockets: dict[int, socket.socket] = {
            family: socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            for family in (socket.AF_INET, socket.AF_INET6)
        }

    async def send(self, samples: Sequence[Sample]) -> None:
        """Send them all."""
        if not self._destinations:
            return
        targets = [await self._target(destination) for destination in self._destinations]
        for sample in samples:
            target = targets[fnv32a(sample.engine_id) % len(targets)]
            if target is not None:
                family, address = target
                for datagram in _datagrams(self._gauges(sample)):
                    with contextlib.suppress(OSError):
                        self._sockets[family].sendto(datagram, address)

    async def _target(self, destination: tuple[str, int]) -> tuple[int, Any] | None:
        """Where it is now; None where its name is not known."""
        loop = asyncio.get_running_loop()
        try:
            family, _, _, _, address = (await loop.getaddrinfo(*destination, type=socket.SOCK_DGRAM))[0]
        except OSError:
            return None
        return family, address

    def close(self) -> None:
        """Let go of the sockets."""
        for found in self._sockets.values():
            found.close()

    def _gauges(self, sample: Sample) -> Iterator[str]:
        identity = sample.identity
        names = ("ERU", identity.app, identity.entrypoint, self._node, sample.engine_id[:_SHORT_ID])
        prefix = ".".join(names).translate(_UNSAFE)
        for name, value in sample.values.items():
            yield f"{prefix}.{name}:{_number(value)}|g"
        for (name, nic), value in sample.by_nic.items():
            yield f"{prefix}.{nic.translate(_UNSAFE)}.{NIC_METRICS[name][0]}:{_number(value)}|g"
        for (name, disk), value in sample.by_disk.items():
            yield f"{prefix}.{disk.translate(_UNSAFE)}.{name}:{_number(value)}|g"


def _number(value: float) -> str:
    # A gauge with a sign is a change of it; negative values do not occur but where a counter began anew.
    return repr(max(value, 0.0))


def _datagrams(lines: Iterator[str]) -> Iterator[bytes]:
    """As many lines in one as fit."""
    pending = b""
    for line in lines:
        data = line.encode()
        if pending and len(pending) + 1 + len(data) > DATAGRAM_BYTES:
            yield pending
            pending = b""
        pending = pending + b"\n" + data if pending else data
    if pending:
        yield pending

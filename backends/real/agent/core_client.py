"""The port of the core that an agent reports to: four calls of CoreRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class CoreError(Exception):
    """The core said no; the message is one line."""


class CoreUnreachable(CoreError):
    """No core answers; whether the call was carried out is not known."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the core knows of the node. ``endpoint`` is that of its engine."""

    name: str
    endpoint: str = ""
    pool: str = ""


class WorkloadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent found. ``networks`` maps a network to the address; ``extension`` is JSON of the labels."""

    workload_id: str
    running: bool
    healthy: bool
    networks: Mapping[str, str] = {}
    extension: bytes = b"{}"
    app: str = ""
    entrypoint: str = ""
    node: str = ""


class CoreClient(Protocol):
    """A core. Calls may be made concurrently; each ends within the client's timeout, with a `CoreError` at worst."""

    async def identifier(self) -> str:
        """Which core it is: the value of the label ``eru.coreid`` on its workloads."""

    async def node(self, name: str) -> NodeFacts:
        """What it knows of a node; plain `CoreError` where it knows no such node."""

    async def set_node_status(self, name: str, ttl_s: int) -> None:
        """The node is alive for the next ``ttl_s`` seconds; a negative number ends its lease now."""

    async def set_workloads_status(self, statuses: Sequence[WorkloadStatus]) -> None:
        """These workloads are so; each status stays until it is told otherwise."""

    async def close(self) -> None:
        """Let go of the connection."""

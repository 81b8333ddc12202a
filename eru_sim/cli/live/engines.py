"""What engines have on their nodes: networks and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.listing import Column, listing
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.values import names

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service


def nodes_of(pool: str, nodes: Sequence[str] | None) -> Any:
    """Which nodes are meant."""
    return pb.NodeChoice(node_ids=names(nodes), pool=pool)


async def networks(service: Service, output: str, *, pool: str, nodes: Sequence[str] | None, driver: str) -> Answer:
    """The networks of nodes; not ok where a node could not tell."""
    request = pb.ListNetworksRequest(nodes=nodes_of(pool, nodes), driver=driver)
    found = [plain(node) async for node in service.stream("ListNetworks", request)]
    records = [{"node_id": node["node_id"], **network} for node in found for network in node["networks"]]
    columns = (
        Column("network", "name"), Column("driver", "driver"), Column("node", "node_id"), Column("subnets", "subnets")
    )  # fmt: skip
    problems = [f"{node['node_id']}: {node['error']}" for node in found if node["error"]]
    return listing(output, records, columns, name="name", notes=problems, ok=not problems)

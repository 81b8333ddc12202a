"""``eru pool``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.engines import networks
from eru_sim.cli.live.listing import Column, facts, listing, said
from eru_sim.cli.live.nodes import RESOURCE_COLUMNS, listed, resource_records, share
from eru_sim.cli.live.params import NetworkDriver, NodeLabels, NodeNames, PoolArgument, Resources
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.plans import capacity_of
from eru_sim.cli.live.work import demand
from eru_sim.cli.options import Output
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Pools of nodes, which Eru calls pods.")

_FILTER = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*%?\s*")
_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@command(app, "ls", "list", example="eru pool ls -o json")
async def list_pools(service: Service, output: Output = "table") -> Answer:
    """List pools."""
    found = await service.call("ListPools", pb.ListPoolsRequest())
    columns = (Column("name", "name"), Column("description", "description"), Column("nodes", "nodes"))
    return listing(output, [plain(pool) for pool in found.pools], columns, name="name", numbers=1)


@command(app, "get", example="eru pool get prod")
async def get_pool(service: Service, name: PoolArgument, output: Output = "table") -> Answer:
    """Show a pool."""
    return facts(output, plain(await service.call("GetPool", pb.GetPoolRequest(name=name))), name=name)


@command(app, "add", example="eru pool add prod --desc 'what earns the money'")
async def add_pool(
    service: Service,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call it.")],
    desc: Annotated[str, typer.Option("--desc", metavar="TEXT", help="What it is for.", show_default=False)] = "",
    output: Output = "table",
) -> Answer:
    """Add a pool."""
    added = await service.call("AddPool", pb.AddPoolRequest(name=name, description=desc))
    return facts(output, plain(added), name=name)


@command(app, "rm", "remove", example="eru pool rm staging")
async def remove_pool(service: Service, name: PoolArgument, output: Output = "table") -> Answer:
    """Remove a pool that has no nodes."""
    await service.call("RemovePool", pb.RemovePoolRequest(name=name))
    return said(output, {"name": name}, name=name, line=f"removed {name}")


@command(app, "nodes", example="eru pool nodes prod --filter down")
async def pool_nodes(
    service: Service,
    name: PoolArgument,
    filter: Annotated[
        str, typer.Option("--filter", metavar="up|down|all", help="Those that take work, those that do not, or all.")
    ] = "all",
    label: NodeLabels = None,
    show_info: Annotated[bool, typer.Option("--show-info", help="With resources, as -o wide.")] = False,
    output: Output = "table",
) -> Answer:
    """List the nodes of a pool."""
    wide = "wide" if show_info and output == "table" else output
    return await listed(service, wide, pool=name, which=filter, label=label)


@command(app, "resource", example="eru pool resource prod --filter 'memory > 40%'")
async def pool_resources(
    service: Service,
    name: PoolArgument,
    filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="EXPRESSION",
            show_default=False,
            help="Only nodes that use so much: cpu, memory, storage or volume, <, <=, >, >=, == or !=, a percentage.",
        ),
    ] = None,
    output: Output = "table",
) -> Answer:
    """Show what the nodes of a pool have, and how much of that is held."""
    await service.call("GetPool", pb.GetPoolRequest(name=name))
    request = pb.ListNodesRequest(pool=name, with_down=True, with_resources=True)
    nodes = [plain(node) async for node in service.stream("ListNodes", request)]
    if filter is not None:
        is_wanted = _wanted(filter)
        nodes = [node for node in nodes if is_wanted(node["resources"])]
    records = resource_records(nodes)
    problems = [f"{node['node_id']}: {text}" for node in nodes for text in (node["resources"] or {})["differences"]]
    return listing(
        output, records, RESOURCE_COLUMNS, name=lambda record: str(record["node_id"]), numbers=3, notes=problems
    )


def _wanted(text: str) -> Callable[[Any], bool]:
    """A test of what a node has: how much of something it uses, as a percentage."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise EruError(f"--filter: {text[:80]!r} cannot be read; write e.g. 'memory > 40%'")
    kind, sign, percent = match.groups()
    compare: Callable[[float, float], bool] = _COMPARE[sign]

    def test(resources: Any) -> bool:
        ratio = share(resources, kind)
        return ratio is not None and compare(ratio * 100, float(percent))

    return test


@command(app, "capacity", example="eru pool capacity prod --cpu 1 --memory 2G")
async def pool_capacity(
    service: Service,
    name: PoolArgument,
    resources: Resources,
    node: NodeNames = None,
    output: Output = "table",
) -> Answer:
    """Show how many copies of such a workload each node of a pool could take now, each node for itself."""
    await service.call("GetPool", pb.GetPoolRequest(name=name))
    spec = pb.WorkloadSpec(workload_id="", pool=name, count=1, app="capacity", entrypoint="capacity")
    await demand(service, spec, resources)
    return await capacity_of(service, spec, node or [], output)


@command(app, "networks", example="eru pool networks prod")
async def pool_networks(
    service: Service, name: PoolArgument, driver: NetworkDriver = "", output: Output = "table"
) -> Answer:
    """List the networks of a pool's nodes."""
    return await networks(service, output, pool=name, nodes=[], driver=driver)

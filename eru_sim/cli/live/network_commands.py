"""``eru network``."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live import engines, params
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.listing import Column, listing
from eru_sim.cli.options import Output
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Networks of nodes.")

Network = Annotated[
    str, typer.Option("--network", metavar="NAME", show_default=False, help="Which; see eru network ls.")
]
_COLUMNS = (Column("workload", "workload_id"), Column("network", "network"), Column("address", "address"))


@command(app, "ls", "list", example="eru network ls --pool prod")
async def list_networks(
    service: Service,
    node: params.NodeNames = None,
    pool: params.Pool = "",
    driver: params.NetworkDriver = "",
    output: Output = "table",
) -> Answer:
    """List the networks of nodes."""
    return await engines.networks(service, output, pool=pool, nodes=node, driver=driver)


@command(app, "connect", example="eru network connect shop-web-1f2e/0 --network back --ipv4 10.0.0.7")
async def connect(
    service: Service,
    ids: params.WorkloadArguments,
    network: Network = "",
    ipv4: Annotated[str, typer.Option("--ipv4", metavar="IP", show_default=False, help="This address.")] = "",
    ipv6: Annotated[str, typer.Option("--ipv6", metavar="IP", show_default=False, help="This address.")] = "",
    output: Output = "table",
) -> Answer:
    """Connect workloads to a network."""
    if not network:
        raise EruError("--network: it is missing; see eru network ls")
    address = _address(ipv4, ipv6)
    if address and len(ids) > 1:
        raise EruError(f"--ipv4: {address} can be had by one workload only; connect them one by one")
    records = []
    for name in ids:
        request = pb.ConnectNetworkRequest(workload_id=name, network=network, address=address)
        reply = await service.call("ConnectNetwork", request)
        records.append({"workload_id": name, "network": network, "address": reply.address})
    return listing(output, records, _COLUMNS, name="address")


def _address(ipv4: str, ipv6: str) -> str:
    if ipv4 and ipv6:
        raise EruError("--ipv4: --ipv6 is given too; a connection takes one address")
    for option, text, version in (("--ipv4", ipv4, 4), ("--ipv6", ipv6, 6)):
        try:
            if text and ipaddress.ip_address(text).version != version:
                raise ValueError
        except ValueError:
            raise EruError(f"{option}: {text[:80]!r} is no address of that kind") from None
    return ipv4 or ipv6


@command(app, "disconnect", example="eru network disconnect shop-web-1f2e/0 --network back")
async def disconnect(
    service: Service,
    ids: params.WorkloadArguments,
    network: Network = "",
    force: Annotated[bool, typer.Option("--force", help="Even if the engine objects.")] = False,
    output: Output = "table",
) -> Answer:
    """Disconnect workloads from a network."""
    if not network:
        raise EruError("--network: it is missing; see eru network ls")
    for name in ids:
        request = pb.DisconnectNetworkRequest(workload_id=name, network=network, force=force)
        await service.call("DisconnectNetwork", request)
    records = [{"workload_id": name, "network": network, "address": ""} for name in ids]
    return listing(output, records, _COLUMNS, name="workload_id")

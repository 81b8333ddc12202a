"""Workloads as records, and which ones are meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.live.listing import Column, Record, when
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.values import pairs
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service


def health(record: Record) -> str:
    """What its agent says: ``running``, ``healthy``, ``down``, or nothing."""
    status = record["status"]
    if status is None:
        return "-"
    return "healthy" if status["is_healthy"] else "running" if status["is_running"] else "down"


def _networks(record: Record) -> Any:
    return (record["status"] or {}).get("networks")


WORKLOAD_COLUMNS = (
    Column("workload", "workload_id"),
    Column("state", "state"),
    Column("status", health),
    Column("node", "node_id"),
    Column("app", "app", is_wide=True),
    Column("entrypoint", "entrypoint", is_wide=True),
    Column("pool", "pool", is_wide=True),
    Column("image", "image"),
    Column("generation", "generation", is_wide=True),
    Column("networks", _networks, is_wide=True),
    Column("labels", "labels", is_wide=True),
    Column("submitted", lambda record: when(record["submitted_ns"]), is_wide=True),
)


async def found(
    service: Service,
    *,
    app: str = "",
    entry: str = "",
    node: str = "",
    pool: Sequence[str] | None = None,
    label: Sequence[str] | None = None,
    limit: int = 0,
    match_ip: Sequence[str] | None = None,
    skip_ip: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Workloads that are all of that; of several pools in their order."""
    wanted, unwanted = _nets("--match-ip", match_ip), _nets("--skip-ip", skip_ip)
    is_filtered = bool(wanted or unwanted)
    records: list[dict[str, Any]] = []
    for name in pool or ("",):
        request = pb.ListWorkloadsRequest(
            app=app, entrypoint=entry, node_id=node, pool=name, labels=pairs("--label", label),
            limit=0 if is_filtered or not limit else limit - len(records),
        )  # fmt: skip
        async for item in service.stream("ListWorkloads", request):
            record = plain(item)
            addresses = _addresses(record) if is_filtered else ()
            if wanted and not any(address in net for address in addresses for net in wanted):
                continue
            if any(address in net for address in addresses for net in unwanted):
                continue
            records.append(record)
            if limit and len(records) == limit:
                return records
    return records


def _nets(option: str, texts: Sequence[str] | None) -> list[Any]:
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts or ()]
    except ValueError as error:
        raise EruError(f"{option}: {error}; write an address or a network, e.g. 10.0.0.0/8") from None


def _addresses(record: Record) -> list[Any]:
    known = []
    for text in (_networks(record) or {}).values():
        try:
            known.append(ipaddress.ip_address(str(text).partition("/")[0]))
        except ValueError:
            continue
    return known

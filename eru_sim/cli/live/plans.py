"""What would be placed, and how much fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.live.plain import plain

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service


async def capacity_of(service: Service, spec: Any, nodes: Sequence[str], output: str) -> Answer:
    """How many copies fit on each node."""
    spread = pb.Spread(strategy=pb.STRATEGY_AUTO, node_ids=nodes)
    found = plain(await service.call("Plan", pb.PlanRequest(spec=spec, spread=spread, with_capacity=True)))
    keys = ("capacity", "total_capacity", "is_unlimited", "diagnosis")
    records = [{"node_id": node, "capacity": count} for node, count in found["capacity"].items()]
    return Answer(
        output=output,
        data={key: found[key] for key in keys},
        records=records,
        names=[record["node_id"] for record in records],
        tables=[Table(header=("node", "capacity"), rows=[(row["node_id"], f"{row['capacity']:,}") for row in records])],
        notes=_totals(found),
    )


def _totals(found: dict[str, Any]) -> list[str]:
    total = "nothing limits it" if found["is_unlimited"] else f"total capacity: {found['total_capacity']:,}"
    diagnosis = (found["diagnosis"] or {}).get("text")
    return [total, *([diagnosis] if diagnosis else [])]


async def planned(service: Service, spec: Any, spread: Any, output: str) -> Answer:
    """What a deployment would do now; not ok where it could not place all."""
    request = pb.PlanRequest(spec=spec, with_capacity=output != "name")
    if spread is not None:
        request.spread.CopyFrom(spread)
    found = plain(await service.call("Plan", request))
    shares: dict[str, int] = {}
    for share in found["shares"]:
        shares[share["node_id"]] = shares.get(share["node_id"], 0) + share["count"]
    nodes = [*shares, *(node for node in found["capacity"] if node not in shares)]
    records = [
        {"node_id": node, "placed": shares.get(node, 0), "capacity": found["capacity"].get(node, 0)} for node in nodes
    ]
    ok = not found["unplaced"] and not found["refusal"]
    notes = _totals(found)
    if found["refusal"]:
        notes.append(f"it would be refused: {found['refusal']}")
    elif found["unplaced"]:
        notes.append(f"not placed: {found['unplaced']:,}")
    rows = [(row["node_id"], f"{row['placed']:,}", f"{row['capacity']:,}") for row in records]
    return Answer(
        output=output, data=found, records=records, names=list(shares), ok=ok, notes=notes,
        tables=[Table(header=("node", "placed", "capacity"), rows=rows)],
    )  # fmt: skip

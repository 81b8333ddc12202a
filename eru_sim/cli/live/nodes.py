"""Nodes and what they have, as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.listing import Column, Record, listing
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.values import choice, pairs
from eru_sim.output import human

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

COUNTED = "requested"
_UNITS = {"cpu": "_millicores", "memory": "_bytes", "storage": "_bytes"}


def amount(dimension: str, value: int | None) -> str:
    """So much of a dimension, for people."""
    return human(f"{dimension}{_UNITS.get(dimension, '')}", value)


def used(resources: Mapping[str, Any] | None, kind: str) -> tuple[int, int] | None:
    """What is held and what there is of cpu (in pieces of cores, unless it is a dimension), volume or a dimension."""
    if resources is None:
        return None
    found = resources["dimensions"].get(kind)
    slots = resources["slots"]
    if kind == "cpu" and not (found or {}).get("total"):
        found = slots.get("cpu", {"slots": {}})["slots"].get(COUNTED)
    if found is None and kind == "volume":
        volumes = [held for name, held in slots.get("storage", {"slots": {}})["slots"].items() if name[:7] == "volume:"]
        found = {"used": sum(held["used"] for held in volumes), "total": sum(held["total"] for held in volumes)}
    return None if found is None else (found["used"], found["total"])


def share(resources: Mapping[str, Any] | None, kind: str) -> float | None:
    """What part of it is held; None where there is none."""
    found = used(resources, kind)
    return None if found is None or not found[1] else found[0] / found[1]


def _cpu(record: Record) -> str | None:
    resources = record["resources"]
    found = used(resources, "cpu")
    if found is None:
        return None
    if resources["dimensions"].get("cpu", {}).get("total"):
        return f"{found[0] / 1000:g}/{found[1] / 1000:g}"
    cores = sum(1 for name in resources["slots"]["cpu"]["slots"] if name.isdigit())
    pieces = found[1] / cores if cores else 1
    return f"{found[0] / pieces:g}/{found[1] / pieces:g}"


def _bytes(kind: str) -> Any:
    def cell(record: Record) -> str | None:
        found = used(record["resources"], kind)
        return None if found is None else f"{amount(kind, found[0])}/{amount(kind, found[1])}"

    return cell


NODE_COLUMNS = (
    Column("node", "node_id"),
    Column("pool", "pool"),
    Column("state", "state"),
    Column("available", "is_available"),
    Column("alive", "is_alive"),
    Column("endpoint", "endpoint_url", is_wide=True),
    Column("labels", "labels", is_wide=True),
    Column("taints", "taints", is_wide=True),
    Column("bypassed", "is_bypassed", is_wide=True),
    Column("test", "is_test", is_wide=True),
    Column("workloads", "workloads"),
    Column("cpu", _cpu),
    Column("memory", _bytes("memory")),
    Column("storage", _bytes("storage"), is_wide=True),
)
RESOURCE_COLUMNS = (
    Column("node", "node_id"),
    Column("of", "of"),
    Column("used", lambda record: amount(record["of"], record["used"])),
    Column("total", lambda record: amount(record["of"], record["total"])),
    Column("share", "share_ratio"),
)


async def listed(
    service: Service, output: str, *, pool: str = "", which: str = "all", label: Sequence[str] | None = None
) -> Answer:
    """The nodes of a pool: ``up`` for those that take work, ``down`` for those that do not."""
    choice("--filter", which, ("up", "down", "all"))
    if pool:
        await service.call("GetPool", pb.GetPoolRequest(name=pool))
    request = pb.ListNodesRequest(
        pool=pool, labels=pairs("--label", label), with_down=which != "up", with_resources=True
    )
    nodes = [plain(node) async for node in service.stream("ListNodes", request)]
    found = [node for node in nodes if which == "all" or node["is_available"] is (which == "up")]
    return listing(output, found, NODE_COLUMNS, name="node_id", numbers=4 if output == "wide" else 3)


def resource_records(nodes: Sequence[Record]) -> list[dict[str, Any]]:
    """A record for each node and thing that it has."""
    records = []
    for node in nodes:
        resources = node["resources"] or {"dimensions": {}, "slots": {}}
        held_of = {name: held for name, held in resources["dimensions"].items() if held["total"] or held["used"]}
        records += [_resource(node["node_id"], name, held) for name, held in held_of.items()]
        for plugin, slots in resources["slots"].items():
            records += [_resource(node["node_id"], f"{plugin}/{slot}", held) for slot, held in slots["slots"].items()]
    return records


def _resource(node_id: str, of: str, held: Mapping[str, int]) -> dict[str, Any]:
    ratio = held["used"] / held["total"] if held["total"] else None
    return {"node_id": node_id, "of": of, "used": held["used"], "total": held["total"], "share_ratio": ratio}

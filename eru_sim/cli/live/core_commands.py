"""``eru core``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live import values
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.listing import Column, Rows, facts, show_all, when
from eru_sim.cli.live.plain import plain
from eru_sim.cli.options import Output

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("The service itself.")

_COLUMNS = (
    Column("at", lambda record: when(record["at_ns"]), width=19),
    Column("core", "core_id", width=16),
    Column("workloads", lambda record: sum(record["workloads"].values()), width=10),
    Column("nodes", lambda record: sum(record["nodes"].values()), width=6),
    Column("operations", "operations"),
    Column("batches", "batches"),
    Column("addresses", "addresses", is_wide=True),
)


@command(app, "info", example="eru core info -o json")
async def info(service: Service, output: Output = "table") -> Answer:
    """Show what the service is, decides by and has."""
    found = plain(await service.info())
    people: dict[str, Any] = {
        **found,
        "policy": found["policy"] and found["policy"]["name"],
        "dimensions": [dimension["name"] for dimension in found["dimensions"]],
        "plugins": [plugin["name"] for plugin in found["plugins"]],
        "orphans": [f"{orphan['node_id']}:{orphan['workload_id']}" for orphan in found["orphans"]],
        "at": when(found["at_ns"]),
    }
    answer = facts(output, people, name=found["core_id"], hidden=("at_ns", "interval_ns"))
    return Answer(output=output, data=found, records=[found], names=[found["core_id"]], tables=answer.tables)


@command(app, "watch", example="eru core watch --interval 5s -o jsonl")
async def watch(
    service: Service,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="How often.")] = "10s",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="End after so many; 0 for never.")] = 0,
    output: Output = "table",
) -> int:
    """Show the state of the service again and again, until interrupted."""
    request = pb.WatchInfoRequest(interval_ns=values.duration_ns("--interval", interval))
    found = (plain(reply) async for reply in service.stream("WatchInfo", request))
    await show_all(Rows(output, _COLUMNS, name="core_id"), found, limit)
    return 0

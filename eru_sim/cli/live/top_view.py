"""``eru top``: what nodes and workloads use."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer, show
from eru_sim.cli.live import values
from eru_sim.cli.live.failures import ServiceError
from eru_sim.cli.live.listing import Column, Record, listing
from eru_sim.cli.live.nodes import NODE_COLUMNS
from eru_sim.cli.live.plain import plain

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

_AT_ONCE = 16
_FIRST_S = 0.5
_CLEAR = "\x1b[H\x1b[J"
_NODE_TITLES = ("node", "pool", "state", "workloads", "cpu", "memory", "storage")
_COLUMNS = (
    Column("workload", "workload_id"), Column("state", "state"), Column("node", "node_id"),
    Column("cpu", "cpu_millicores"), Column("memory", "memory_bytes"),
    Column("received", "network_received_bytes", is_wide=True), Column("sent", "network_sent_bytes", is_wide=True),
    Column("read", "io_read_bytes", is_wide=True), Column("written", "io_written_bytes", is_wide=True),
)  # fmt: skip

Sample = Mapping[str, tuple[float, Mapping[str, Any]]]


async def top(service: Service, output: str, *, pool: str, limit: int, interval: str, once: bool) -> Answer | int:
    """One look, or on a terminal one after another."""
    pause_s = max(0.1, values.duration_ns("--interval", interval) / 1e9)
    is_live = not once and output in ("table", "wide") and sys.stdout.isatty()
    first = await _sample(service, await _running(service, pool, limit))
    await asyncio.sleep(min(pause_s, _FIRST_S))
    answer, last = await _look(service, output, pool, limit, first)
    while is_live:
        sys.stdout.write(_CLEAR)
        show(answer)
        sys.stdout.flush()
        await asyncio.sleep(pause_s)
        answer, last = await _look(service, output, pool, limit, last)
    return answer


async def _running(service: Service, pool: str, limit: int) -> list[dict[str, Any]]:
    request = pb.ListWorkloadsRequest(pool=pool, states=[pb.WORKLOAD_STATE_RUNNING], limit=limit)
    return [plain(work) async for work in service.stream("ListWorkloads", request)] if limit else []


async def _sample(service: Service, work: list[dict[str, Any]]) -> Sample:
    """What each has used by now; what cannot tell is left out."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> tuple[str, tuple[float, Mapping[str, Any]]] | None:
        async with room:
            try:
                used = await service.call("GetWorkloadUsage", pb.GetWorkloadUsageRequest(workload_id=name))
            except ServiceError as error:
                if error.status == "UNAVAILABLE":
                    raise
                return None
            return name, (time.monotonic(), plain(used))

    found = await asyncio.gather(*(one(record["workload_id"]) for record in work))
    return dict(entry for entry in found if entry is not None)


async def _look(service: Service, output: str, pool: str, limit: int, last: Sample) -> tuple[Answer, Sample]:
    request = pb.ListNodesRequest(pool=pool, with_down=True, with_resources=True)
    nodes = [plain(node) async for node in service.stream("ListNodes", request)]
    work = await _running(service, pool, limit)
    sample = await _sample(service, work)
    records = [_used(record, last.get(record["workload_id"]), sample.get(record["workload_id"])) for record in work]
    records.sort(key=lambda record: -(record["cpu_millicores"] or 0))
    columns = [column for column in NODE_COLUMNS if column.title in _NODE_TITLES]
    above = listing(output, nodes, columns, name="node_id", numbers=4 if output == "wide" else 3)
    below = listing(output, records, _COLUMNS, name="workload_id", numbers=6 if output == "wide" else 2)
    answer = Answer(
        output=output, data={"nodes": nodes, "workloads": records}, records=[*nodes, *records],
        names=[*above.names, *below.names], tables=[*above.tables, *below.tables],
    )  # fmt: skip
    return answer, sample


def _used(record: Record, before: Any, now: Any) -> dict[str, Any]:
    known: dict[str, Any] = {name: record[name] for name in ("workload_id", "state", "node_id", "app", "entrypoint")}
    used = dict(now[1]) if now else {}
    rate = None
    if before and now and now[0] > before[0]:
        rate = round((now[1]["cpu_ns"] - before[1]["cpu_ns"]) / (now[0] - before[0]) / 1e6)
    names = [field.name for field in pb.WorkloadUsage.DESCRIPTOR.fields]
    return {**known, "cpu_millicores": rate, **{name: used.get(name) for name in names}}

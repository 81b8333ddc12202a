"""Operations: waiting for them, and what came of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.failures import ServiceError
from eru_sim.cli.live.listing import Column, Record, listing
from eru_sim.cli.live.plain import plain
from eru_sim.output import one_line, printable

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

BAD = frozenset({"failed", "killed", "lost", "rejected", "refused", "update_failed", "rolled_back"})
BAD_OF = {"remove": frozenset({"refused"})}
"""By kind of operation: what is removed has been killed, or had ended before."""
RESULT_COLUMNS = (
    Column("subject", "subject", width=24),
    Column("outcome", "outcome", width=11),
    Column("node", "node_id", width=12),
    Column("operation", "operation_id", is_wide=True, width=24),
    Column("detail", "detail"),
)
_ATTEMPTS = 5


async def results(service: Service, operation: Any) -> list[Record]:
    """Wait for an operation's end and return its results, each with the operation's id. Progress goes to stderr, and so
    does what hooks printed, behind the name of its workload.
    """
    records = await _results(service, operation)
    for record in records:
        for line in record["hook_output"].splitlines():
            print(printable(f"{record['subject']}: {line}"), file=sys.stderr)
    return records


async def _results(service: Service, operation: Any) -> list[Record]:
    if operation.is_done:
        return [_record(operation.operation_id, result) for result in operation.results]
    found: list[Record] = []
    for attempt in range(_ATTEMPTS):
        found = []
        try:
            request = pb.WatchOperationRequest(operation_id=operation.operation_id)
            async for update in service.stream("WatchOperation", request):
                if update.HasField("result"):
                    found.append(_record(operation.operation_id, update.result))
                    _progress(found[-1], len(found))
                if update.is_done:
                    return found
        except ServiceError as error:
            if error.status != "UNAVAILABLE" or attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(0.5)
    return found


async def all_results(service: Service, operations: Sequence[Any]) -> list[Record]:
    """The results of several operations, in their order."""
    found = await asyncio.gather(*(results(service, operation) for operation in operations))
    return [record for records in found for record in records]


def _record(operation_id: str, result: Any) -> dict[str, Any]:
    printed = result.hook_output.decode(errors="replace")
    return {**plain(result), "hook_output": printed, "operation_id": operation_id}


def _progress(record: Record, count: int) -> None:
    if sys.stderr.isatty():
        print(one_line(f"{count}: {record['subject']} {record['outcome']}"), file=sys.stderr)


def told(output: str, records: Sequence[Record], kind: str) -> Answer:
    """The results of operations of a kind as an answer; not ok where one of them is bad."""
    bad = BAD_OF.get(kind, BAD)
    return listing(output, records, RESULT_COLUMNS, name="subject", ok=not any(r["outcome"] in bad for r in records))


async def waited(service: Service, output: str, operations: Sequence[Any], *, wait: bool = True) -> Answer:
    """Wait for operations and tell their results; without ``wait`` only what they are called."""
    if wait:
        return told(output, await all_results(service, operations), operations[0].kind if operations else "")
    records = [plain(operation) for operation in operations]
    return listing(output, records, OPERATION_COLUMNS, name="operation_id", numbers=1)


OPERATION_COLUMNS = (
    Column("operation", "operation_id"),
    Column("kind", "kind"),
    Column("done", "is_done"),
    Column("subjects", "subjects"),
    Column("remaining", "remaining"),
)

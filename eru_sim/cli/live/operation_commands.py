"""``eru operation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.listing import facts, listing
from eru_sim.cli.live.operations import OPERATION_COLUMNS, RESULT_COLUMNS, results, told
from eru_sim.cli.live.plain import plain
from eru_sim.cli.options import Output

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Operations: what was asked and is under way.")

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False, help="An operation; see eru operation ls.")]


@command(app, "ls", "list", example="eru operation ls")
async def list_operations(service: Service, output: Output = "table") -> Answer:
    """List operations that are under way."""
    reply = await service.call("ListOperations", pb.ListOperationsRequest())
    found = [plain(operation) for operation in reply.operations]
    return listing(output, found, OPERATION_COLUMNS, name="operation_id", numbers=1)


@command(app, "get", example="eru operation get op-1f2e")
async def get(service: Service, id: Id, output: Output = "table") -> Answer:
    """Show an operation and its results so far."""
    found = plain(await service.call("GetOperation", pb.GetOperationRequest(operation_id=id)))
    shown = listing(output, found["results"], RESULT_COLUMNS, name="subject")
    return facts(output, found, name=id, hidden=("results",), tables=shown.tables if found["results"] else ())


@command(app, "watch", "wait", example="eru operation watch op-1f2e")
async def watch(service: Service, id: Id, output: Output = "table") -> Answer:
    """Wait for an operation's end and show its results; exit code 1 if one is bad."""
    operation = await service.call("GetOperation", pb.GetOperationRequest(operation_id=id))
    return told(output, await results(service, operation), operation.kind)


@command(app, "cancel", example="eru operation cancel op-1f2e")
async def cancel(service: Service, id: Id, output: Output = "table") -> Answer:
    """Remove what does not run yet of an operation, or end a drain."""
    found = plain(await service.call("CancelOperation", pb.CancelOperationRequest(operation_id=id)))
    return facts(output, found, name=id, hidden=("results",))

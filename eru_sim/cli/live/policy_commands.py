"""``eru policy``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live import values
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.listing import facts
from eru_sim.cli.live.plain import plain
from eru_sim.cli.options import Output

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("The policy that decides where work goes.")


@command(app, "get", example="eru policy get")
async def get(service: Service, output: Output = "table") -> Answer:
    """Show the policy and its parameters."""
    found = plain(await service.call("GetPolicy", pb.GetPolicyRequest()))
    return facts(output, found, name=found["name"])


@command(app, "set", example="eru policy set power-of-d --param d=3")
async def set_policy(
    service: Service,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="A policy; see eru policy get.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", show_default=False, help="A parameter, JSON or text; repeat it."),
    ] = None,
    params: Annotated[
        str | None, typer.Option("--params", metavar="JSON", show_default=False, help="All parameters as an object.")
    ] = None,
    output: Output = "table",
) -> Answer:
    """Decide by another policy from now on; what is placed stays."""
    given = values.json_object("--params", params)
    for text in param or ():
        key, value = next(iter(values.pairs("--param", [text]).items()))
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    found = plain(await service.call("SetPolicy", pb.SetPolicyRequest(name=name, params_json=json.dumps(given))))
    return facts(output, found, name=found["name"])

"""Live commands at the root of ``eru``. What they do is imported when one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eru_sim.cli.answer import Answer
from eru_sim.cli.live import params
from eru_sim.cli.live.command import command
from eru_sim.cli.options import Output, Quiet, RecordedPolicy
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service


def _text(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=help)


def add_to(app: typer.Typer) -> None:
    """Make these commands those of ``app``."""
    command(app, "explain", example="eru explain w-17 --journal run.jsonl", before=_from_recording)(explain)
    command(app, "status", example="eru status shop --watch")(status)
    command(app, "plan", example="eru plan shop.yaml --pool prod --entry web --count 3 --cpu 2")(plan)
    command(app, "queue", example="eru queue --pool prod")(queue)
    command(app, "top", example="eru top --once")(top)
    command(app, "lambda", example="eru lambda --pool prod --image alpine:3 --count 2 -- sh -c 'echo hello'")(run)


async def status(
    service: Service,
    app: params.App = "",
    entry: params.Entry = "",
    node: params.Node = "",
    label: params.Labels = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Show what changes, until interrupted.")] = False,
    limit: params.Limit = 0,
    output: Output = "table",
) -> Answer | int:
    """Show how workloads are: what the scheduler knows, and what agents say."""
    from eru_sim.cli.live import overview

    if watch:
        return await overview.watch(service, output, app=app, entry=entry, node=node, label=label, limit=limit)
    return await overview.statuses(service, output, app=app, entry=entry, node=node, label=label, limit=limit)


async def plan(
    service: Service,
    resources: params.Resources,
    spreading: params.Spreading,
    spec: Annotated[
        str, typer.Argument(metavar="[SPEC]", show_default=False, help="A file or http(s) address; may be left out.")
    ] = "",
    pool: params.Pool = "",
    entry: params.Entry = "",
    image: Annotated[str, _text("--image", metavar="NAME", help="The image, where that matters to the policy.")] = "",
    submit: Annotated[bool, typer.Option("--submit", help="As eru workload submit would, in place of deploy.")] = False,
    output: Output = "table",
) -> Answer:
    """Show what a deployment would do now, how much fits, and what rules out the other nodes. Nothing is done."""
    from eru_sim.cli.live import overview

    return await overview.plan(
        service, output, source=spec, pool=pool, entry=entry, image=image, resources=resources,
        spreading=None if submit else spreading, count=spreading.count,
    )  # fmt: skip


async def queue(
    service: Service,
    pool: params.Pool = "",
    tenant: Annotated[str, _text("--tenant", metavar="NAME", help="Only work of this tenant.")] = "",
    limit: params.Limit = 0,
    output: Output = "table",
) -> Answer:
    """Show what waits for room, in order, and why."""
    from eru_sim.cli.live import overview

    return await overview.queue(service, output, pool=pool, tenant=tenant, limit=limit)


async def top(
    service: Service,
    pool: params.Pool = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Workloads to show.")] = 20,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="How often.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Only once, also on a terminal.")] = False,
    output: Output = "table",
) -> Answer | int:
    """Show what nodes and workloads use: again and again on a terminal, until interrupted; once elsewhere."""
    from eru_sim.cli.live import top_view

    return await top_view.top(service, output, pool=pool, limit=limit, interval=interval, once=once)


async def run(
    service: Service,
    resources: params.Resources,
    spreading: params.Spreading,
    details: params.Details,
    words: Annotated[
        list[str], typer.Argument(metavar="[--] COMMAND...", show_default=False, help="What to run; -- before options.")
    ],
    pool: params.Pool = "",
    image: Annotated[str, _text("--image", metavar="NAME", help="The image to run.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="APP", help="The app that it counts as.")] = "lambda",
    stdin: Annotated[
        bool, typer.Option("-i", "--stdin", help="It gets our input; on a terminal, one of its own.")
    ] = False,
    privileged: Annotated[bool, typer.Option("--privileged", help="With all rights on its node.")] = False,
    workdir: Annotated[str, _text("-w", "--workdir", metavar="DIR", help="In which directory.")] = "",
    workload_id: Annotated[str, _text("--workload-id", metavar="ID", help="What to call it.")] = "",
    detach: Annotated[bool, typer.Option("--async", help="Answer when it runs, and let it run by itself.")] = False,
    timeout: Annotated[
        str, typer.Option("--async-timeout", metavar="TIME", help="With --async: how long to wait until it runs.")
    ] = "30s",
    output: Output = "table",
) -> Answer | int:
    """Run a command in workloads of its own, show its output, and exit with the first code that is not 0.

    Nothing of it is left. With -o json the output is part of the answer. 255 where it could not be run.
    """
    from eru_sim.cli.live import overview

    if not image:
        raise EruError("--image: it is missing; name the image to run")
    if not pool:
        raise EruError("--pool: it is missing; see eru pool ls")
    if stdin and spreading.count > 1:
        raise EruError("--stdin: one copy only can be given input; leave out --count")
    return await overview.run(
        service, output, words=words, pool=pool, image=image, name=name, stdin=stdin, privileged=privileged,
        workdir=workdir, workload_id=workload_id, detach=detach, timeout=timeout, resources=resources,
        spreading=spreading, details=details,
    )  # fmt: skip


def _from_recording(
    workload: str, journal: str | None, policy: str | None, output: str, quiet: bool, **_: Any
) -> Answer | None:
    """The story from a file, where one is named."""
    if journal is None:
        if policy is not None:
            raise EruError("--policy: it goes with --journal; a service knows by which policy it decides")
        return None
    from eru_sim.cli.sim_commands import explained

    return explained(workload, journal=journal, policy=policy, output=output, quiet=quiet)


async def explain(
    service: Service,
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", show_default=False, help="The id of a workload, node or operation.")
    ],
    journal: Annotated[
        str | None,
        _text("--journal", metavar="FILE", help="A recording; by default a service is asked. See eru journal export."),
    ] = None,
    policy: RecordedPolicy = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=0, help="Of a service: the last N steps of the story; 0 for 1,000."),
    ] = 0,
    output: Output = "table",
    quiet: Quiet = False,
) -> Answer:
    """Tell the story of a workload, and why it was refused, if it was: from a recording or from a service."""
    from eru_sim.cli.live import overview

    return await overview.explain(service, output, key=workload, limit=limit)

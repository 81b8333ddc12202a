"""``eru workload``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live import params, sessions, tars, terminal, values, work
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.failures import ServiceError
from eru_sim.cli.live.listing import Column, Record, Rows, facts, listing, said
from eru_sim.cli.live.operations import results, told, waited
from eru_sim.cli.live.params import Wait, WorkloadArgument, WorkloadArguments
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.plans import planned
from eru_sim.cli.live.spec import read
from eru_sim.cli.live.workloads import WORKLOAD_COLUMNS, found, health
from eru_sim.cli.options import Output
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Workloads, which Eru calls containers too: deploy, change, look into, remove.")

Force = Annotated[
    bool, typer.Option("-f", "--force", help="Kill them at once: without their grace period and their hooks.")
]

_ENDED = {"completed", "failed", "killed", "rejected", "lost", "dissociated"}


def _text(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=help)


Image = Annotated[str, _text("--image", metavar="NAME", help="The image to run.")]
EntryName = Annotated[str, _text("--entry", metavar="NAME", help="Which entrypoint of the spec.")]


@command(app, "ls", "list", example="eru workload ls shop --entry web -o json")
async def list_workloads(
    service: Service,
    app: params.App = "",
    entry: params.Entry = "",
    node: params.Node = "",
    pool: Annotated[
        list[str] | None, _text("--pool", "--pod", metavar="NAME", help="Only work of this pool; repeat it.")
    ] = None,
    label: params.Labels = None,
    match_ip: Annotated[
        list[str] | None, _text("--match-ip", metavar="NET", help="Only with an address in there; repeat it.")
    ] = None,
    skip_ip: Annotated[
        list[str] | None, _text("--skip-ip", metavar="NET", help="Not with an address in there; repeat it.")
    ] = None,
    limit: params.Limit = 0,
    statistics: Annotated[bool, typer.Option("--statistics", help="Only count them by state.")] = False,
    output: Output = "table",
) -> Answer:
    """List workloads."""
    records = await found(
        service, app=app, entry=entry, node=node, pool=pool, label=label, limit=limit, match_ip=match_ip,
        skip_ip=skip_ip,
    )  # fmt: skip
    if statistics:
        states = sorted({str(record["state"]) for record in records})
        counts = [{"state": name, "workloads": sum(r["state"] == name for r in records)} for name in states]
        columns = (Column("state", "state"), Column("workloads", "workloads"))
        return listing(output, counts, columns, name="state", numbers=1)
    return listing(output, records, WORKLOAD_COLUMNS, name="workload_id")


@command(app, "get", example="eru workload get shop-web-1f2e/0 --instance")
async def get_workloads(
    service: Service,
    ids: WorkloadArguments,
    template: Annotated[
        bool, typer.Option("--template", help="With its template, without what may be secret.")
    ] = False,
    instance: Annotated[bool, typer.Option("--instance", help="As its engine has it.")] = False,
    output: Output = "table",
) -> Answer:
    """Show workloads."""
    requests = [pb.GetWorkloadRequest(workload_id=name, with_template=template, with_instance=instance) for name in ids]
    records = [plain(await service.call("GetWorkload", request)) for request in requests]
    if len(records) == 1:
        return facts(output, records[0], name=ids[0])
    return listing(output, records, WORKLOAD_COLUMNS, name="workload_id")


@command(app, "get-status", example="eru workload get-status shop-web-1f2e/0")
async def get_status(service: Service, ids: WorkloadArguments, output: Output = "table") -> Answer:
    """Show what agents say of workloads; those of which nothing is said are left out."""
    reply = await service.call("GetWorkloadStatuses", pb.GetWorkloadStatusesRequest(workload_ids=ids))
    columns = (
        Column("workload", "workload_id"), Column("running", "is_running"), Column("healthy", "is_healthy"),
        Column("node", "node_id"), Column("networks", "networks"), Column("ttl", "ttl_ns", is_wide=True),
    )  # fmt: skip
    return listing(output, [plain(status) for status in reply.statuses], columns, name="workload_id")


@command(app, "set-status", example="eru workload set-status shop-web-1f2e/0 --running --healthy --ttl 60s")
async def set_status(
    service: Service,
    ids: WorkloadArguments,
    running: Annotated[bool, typer.Option("--running", help="It runs.")] = False,
    healthy: Annotated[bool, typer.Option("--healthy", help="It is healthy.")] = False,
    ttl: Annotated[str, typer.Option("--ttl", metavar="TIME", help="For how long it is good; 0 until the next.")] = "0",
    network: Annotated[
        list[str] | None, _text("--network", metavar="NAME=IP", help="An address that it has; repeat it.")
    ] = None,
    extension: Annotated[str, _text("--extension", metavar="TEXT", help="Anything else.")] = "",
    output: Output = "table",
) -> Answer:
    """Say in place of an agent how workloads are."""
    statuses = [
        pb.WorkloadStatus(
            workload_id=name, is_running=running, is_healthy=healthy, ttl_ns=values.duration_ns("--ttl", ttl),
            networks=values.pairs("--network", network), extension=extension.encode(),
        )
        for name in ids
    ]  # fmt: skip
    await service.call("SetWorkloadStatuses", pb.SetWorkloadStatusesRequest(statuses=statuses))
    return said(output, {"workload_ids": ids}, name="\n".join(ids), line=f"set: {', '.join(ids)}")


async def _deployed(
    service: Service, output: str, spec: Any, spreading: params.Spreading, *, key: str, wait: bool, dry: bool
) -> Answer:
    spec.count = spreading.count
    if dry:
        return await planned(service, spec, work.spread(spreading), output)
    request = pb.DeployRequest(spec=spec, spread=work.spread(spreading), idempotency_key=key)
    return await waited(service, output, [await service.call("Deploy", request)], wait=wait)


@command(
    app, "deploy", example="eru workload deploy shop.yaml --pool prod --entry web --image shop:7 --count 3 --memory 1G"
)
async def deploy(
    service: Service,
    spec: params.SpecArgument,
    resources: params.Resources,
    spreading: params.Spreading,
    details: params.Details,
    pool: params.Pool = "",
    entry: EntryName = "",
    image: Image = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be placed, and do nothing.")] = False,
    auto_replace: Annotated[
        bool,
        typer.Option("--auto-replace", help="Replace what runs of this app and entrypoint; deploy where nothing does."),
    ] = False,
    idempotency_key: params.Idempotency = "",
    wait: Wait = True,
    output: Output = "table",
) -> Answer:
    """Place copies of an app's entrypoint, all or none, and start them."""
    made = await work.workload(service, spec, pool=pool, entry=entry, image=image, resources=resources, details=details)
    if auto_replace and await found(service, app=made.app, entry=entry, pool=[pool], limit=1):
        if dry_run:
            old = await found(service, app=made.app, entry=entry, pool=[pool])
            return listing(output, old, WORKLOAD_COLUMNS, name="workload_id", notes=["these would be replaced"])
        request = pb.ReplaceWorkloadsRequest(image=image, template=made.template, idempotency_key=idempotency_key)
        ids = [str(record["workload_id"]) for record in await found(service, app=made.app, entry=entry, pool=[pool])]
        requests = await _inheriting(service, request, ids, inherit=not details.network)
        return await waited(
            service, output, [await service.call("ReplaceWorkloads", one) for one in requests], wait=wait
        )
    return await _deployed(service, output, made, spreading, key=idempotency_key, wait=wait, dry=dry_run)


@command(
    app, "submit", example="eru workload submit batch.yaml --pool prod --entry job --image batch:2 --count 40 --no-wait"
)
async def submit(
    service: Service,
    spec: params.SpecArgument,
    resources: params.Resources,
    details: params.Details,
    pool: params.Pool = "",
    entry: EntryName = "",
    image: Image = "",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many copies.")] = 1,
    priority: Annotated[int, typer.Option("--priority", metavar="N", help="Higher goes first.")] = 0,
    tenant: Annotated[str, _text("--tenant", metavar="NAME", help="Whose it is.")] = "",
    estimate: Annotated[
        str, typer.Option("--estimate", metavar="TIME", help="How long it will run; 0 for no idea.")
    ] = "0",
    gang: Annotated[bool, typer.Option("--gang", help="All copies at once or none.")] = False,
    preempts: Annotated[bool, typer.Option("--preempts", help="Stop work of lower priority if it must.")] = False,
    now: Annotated[bool, typer.Option("--now", help="At once or not at all, in place of waiting for room.")] = False,
    idempotency_key: params.Idempotency = "",
    wait: Wait = True,
    output: Output = "table",
) -> Answer:
    """Queue copies; each is placed when there is room. With --wait until they run."""
    made = await work.workload(service, spec, pool=pool, entry=entry, image=image, resources=resources, details=details)
    made.count, made.priority, made.tenant, made.gang, made.preempts = count, priority, tenant, gang, preempts
    made.estimate_ns = values.duration_ns("--estimate", estimate)
    made.on_unschedulable = pb.ON_UNSCHEDULABLE_FAIL if now else pb.ON_UNSCHEDULABLE_QUEUE
    request = pb.SubmitRequest(spec=made, idempotency_key=idempotency_key)
    return await waited(service, output, [await service.call("Submit", request)], wait=wait)


@command(app, "replace", example="eru workload replace shop.yaml --entry web --image shop:8 --healthy")
async def replace(
    service: Service,
    spec: params.SpecArgument,
    details: params.Details,
    pool: Annotated[
        list[str] | None, _text("--pool", "--pod", metavar="NAME", help="Only work of this pool; repeat it.")
    ] = None,
    entry: Annotated[list[str] | None, _text("--entry", metavar="NAME", help="This entrypoint; repeat it.")] = None,
    image: Image = "",
    node: params.NodeNames = None,
    count: Annotated[int, typer.Option("--count", metavar="N", min=0, help="At most so many; 0 for all.")] = 0,
    step: Annotated[int, typer.Option("--step", metavar="N", min=1, help="So many at a time.")] = 1,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Go on when one is healthy, not when it has started.")
    ] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait for one.")] = "300s",
    network_inherit: Annotated[
        bool, typer.Option("--network-inherit", help="The networks that each has; so it is without --network.")
    ] = False,
    copy: Annotated[
        list[str] | None,
        _text("--copy", metavar="SRC:DST", help="A file that the new one gets from the old; repeat it."),
    ] = None,
    idempotency_key: params.Idempotency = "",
    wait: Wait = True,
    output: Output = "table",
) -> Answer:
    """Start what runs of an app again with another image or spec, in place, a few at a time.

    What fails goes back to the old one, and the rest is left alone.
    """
    if not image:
        raise EruError("--image: it is missing; name the image to run")
    if network_inherit and details.network:
        raise EruError("--network-inherit: networks are given too; keep one of them")
    read_spec = read(spec)
    names = values.names(entry) or list(read_spec.entrypoints)
    requests = []
    for name in names:
        chosen = work.entry_of(read_spec, name)
        request = pb.ReplaceWorkloadsRequest(
            image=image, template=work.template(read_spec, chosen, details), step=step,
            gate=pb.GATE_HEALTHY if healthy else pb.GATE_STARTED,
            gate_timeout_ns=values.duration_ns("--timeout", timeout),
            copy=_copies(copy),
            idempotency_key=f"{idempotency_key}/{name}" if idempotency_key else "",
        )  # fmt: skip
        old = [
            record["workload_id"]
            for record in await found(service, app=read_spec.appname, entry=name, pool=pool)
            if not node or record["node_id"] in values.names(node)
        ]
        chosen_ids = old[:count] if count else old
        requests += await _inheriting(service, request, chosen_ids, inherit=not details.network)
    if not requests:
        raise EruError(f"nothing of {read_spec.appname} ({', '.join(names)}) runs there; see eru workload ls")
    if copy:
        return await _one_by_one(service, output, requests, wait=wait)
    operations = [await service.call("ReplaceWorkloads", request) for request in requests]
    return await waited(service, output, operations, wait=wait)


async def _inheriting(service: Service, request: Any, ids: list[str], *, inherit: bool) -> list[Any]:
    """Requests to replace these, each with its networks as they are, one for all that have the same."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in ids:
        networks: tuple[tuple[str, str], ...] = ()
        if inherit:
            old = await service.call("GetWorkload", pb.GetWorkloadRequest(workload_id=name, with_template=True))
            networks = tuple(sorted(old.template.networks.items()))
        groups.setdefault(networks, []).append(name)
    requests = []
    for number, (networks, members) in enumerate(groups.items()):
        one = pb.ReplaceWorkloadsRequest()
        one.CopyFrom(request)
        one.workload_ids.extend(members)
        one.template.networks.update(dict(networks))
        if number and one.idempotency_key:
            one.idempotency_key += f"/{number}"
        requests.append(one)
    return requests


async def _one_by_one(service: Service, output: str, requests: list[Any], *, wait: bool) -> Answer:
    """Replace workloads one after the other; what is left after one has failed is left alone."""
    ids = [workload_id for request in requests for workload_id in request.workload_ids]
    if not wait and len(ids) > 1:
        raise EruError(f"--no-wait: files are copied of one workload at a time, and {len(ids)} are meant; leave it out")
    records: list[Record] = []
    for request in requests:
        for workload_id in list(request.workload_ids):
            one = pb.ReplaceWorkloadsRequest()
            one.CopyFrom(request)
            one.workload_ids[:] = [workload_id]
            if one.idempotency_key:
                one.idempotency_key += f"/{workload_id}"
            operation = await service.call("ReplaceWorkloads", one)
            if not wait:
                return await waited(service, output, [operation], wait=False)
            records += await results(service, operation)
            if any(record["outcome"] != "replaced" for record in records):
                return told(output, records, "replace")
    return told(output, records, "replace")


def _copies(texts: list[str] | None) -> dict[str, str]:
    copies = {}
    for text in texts or ():
        source, _, target = text.partition(":")
        if not source.startswith("/") or not target.startswith("/"):
            raise EruError(f"--copy: {text[:120]!r} is not SRC:DST with absolute paths")
        copies[source] = target
    return copies


@command(app, "realloc", example="eru workload realloc shop-web-1f2e/0 --cpu 0.5 --memory -128M")
async def realloc(
    service: Service,
    id: WorkloadArgument,
    cpu: Annotated[str | None, _text("--cpu", metavar="CORES", help="So much more, of request and limit.")] = None,
    cpu_request: Annotated[str | None, _text("--cpu-request", metavar="CORES", help="So much more.")] = None,
    cpu_limit: Annotated[str | None, _text("--cpu-limit", metavar="CORES", help="So much more.")] = None,
    memory: Annotated[str | None, _text("--memory", metavar="SIZE", help="So much more, of request and limit.")] = None,
    memory_request: Annotated[str | None, _text("--memory-request", metavar="SIZE", help="So much more.")] = None,
    memory_limit: Annotated[str | None, _text("--memory-limit", metavar="SIZE", help="So much more.")] = None,
    storage: Annotated[
        str | None, _text("--storage", metavar="SIZE", help="So much more, of request and limit.")
    ] = None,
    storage_request: Annotated[str | None, _text("--storage-request", metavar="SIZE", help="So much more.")] = None,
    storage_limit: Annotated[str | None, _text("--storage-limit", metavar="SIZE", help="So much more.")] = None,
    volumes_request: Annotated[
        list[str] | None, _text("--volumes-request", metavar="SRC:DST:FLAGS:SIZE", help="So much more of a volume.")
    ] = None,
    volumes_limit: Annotated[
        list[str] | None, _text("--volumes-limit", metavar="SRC:DST:FLAGS:SIZE", help="So much more of its limit.")
    ] = None,
    cpu_bind: Annotated[bool, typer.Option("--cpu-bind", help="From now on with cores of its own.")] = False,
    cpu_unbind: Annotated[bool, typer.Option("--cpu-unbind", help="From now on without.")] = False,
    request: Annotated[
        list[str] | None, _text("--request", metavar="DIMENSION=N", help="So much more of a dimension; repeat it.")
    ] = None,
    extra_resources: Annotated[
        str | None, _text("--extra-resources", metavar="JSON", help="For other plugins.")
    ] = None,
    wait: Wait = True,
    output: Output = "table",
) -> Answer:
    """Change what a workload holds, in place. Amounts are differences."""
    if cpu_bind and cpu_unbind:
        raise EruError("--cpu-bind: --cpu-unbind is given too; keep one of them")
    change: dict[str, Any] = {}
    for name, whole, single, reader in (
        ("cpu_request", cpu, cpu_request, values.cpu), ("cpu_limit", cpu, cpu_limit, values.cpu),
        ("memory_request", memory, memory_request, values.size), ("memory_limit", memory, memory_limit, values.size),
    ):  # fmt: skip
        option = f"--{name.replace('_', '-')}"
        if whole is not None and single is not None:
            raise EruError(f"{option}: --{name.partition('_')[0]} is given too; keep one of them")
        text = single if single is not None else whole
        if text is not None:
            change[name] = reader(option, text, is_delta=True)
    disk: dict[str, Any] = {}
    if storage is not None and (storage_request is not None or storage_limit is not None):
        raise EruError("--storage: it sets request and limit; leave out --storage-request and --storage-limit, or it")
    for name, text in (("storage", storage_request or storage), ("storage_limit", storage_limit or storage)):
        if text is not None:
            disk[name] = values.size("--storage", text, is_delta=True)
    if volumes_request:
        disk["volumes"] = volumes_request
    if volumes_limit:
        disk["volume_limits"] = volumes_limit
    asked = await _change(service, change, disk, bind=cpu_bind, unbind=cpu_unbind)
    for name, payload in values.by_plugin("--extra-resources", extra_resources).items():
        asked.resources[name] = json.dumps({**json.loads(asked.resources[name] or "{}"), **payload})
    for name, text in values.pairs("--request", request).items():
        asked.request[name] = values.size("--request", text, is_delta=True)
    asked.workload_id = id
    if not asked.resources and not asked.request:
        raise EruError("realloc: nothing is to be changed; give e.g. --cpu 0.5")
    return await waited(service, output, [await service.call("ReallocWorkload", asked)], wait=wait)


async def _change(service: Service, cpu: dict[str, Any], disk: dict[str, Any], *, bind: bool, unbind: bool) -> Any:
    """The differences, by plugin where the service has it, else by dimension."""
    plugins = {plugin.name for plugin in (await service.info()).plugins}
    asked = pb.ReallocWorkloadRequest()
    if "cpu" in plugins:
        if bind:
            cpu["bind"] = True
        elif not unbind:
            cpu["keep_bind"] = True
        if cpu.keys() - {"keep_bind"} or unbind:
            asked.resources["cpu"] = json.dumps(cpu)
    else:
        if bind or unbind:
            raise EruError("--cpu-bind: the service has no plugin cpu; leave it out")
        if "cpu_request" in cpu:
            asked.request["cpu"] = round(float(cpu["cpu_request"]) * 1000)
        if "memory_request" in cpu:
            asked.request["memory"] = cpu["memory_request"]
    if disk and "storage" in plugins:
        asked.resources["storage"] = json.dumps(disk)
    elif disk:
        asked.request["storage"] = disk.get("storage", 0)
    return asked


async def _each(service: Service, output: str, method: str, request: Any, wait: bool) -> Answer:
    return await waited(service, output, (await service.call(method, request)).operations, wait=wait)


@command(app, "start", example="eru workload start shop-web-1f2e/0")
async def start(service: Service, ids: WorkloadArguments, wait: Wait = True, output: Output = "table") -> Answer:
    """Start workloads that were stopped."""
    return await _each(service, output, "StartWorkloads", pb.StartWorkloadsRequest(workload_ids=ids), wait)


@command(app, "stop", example="eru workload stop shop-web-1f2e/0")
async def stop(
    service: Service, ids: WorkloadArguments, force: Force = False, wait: Wait = True, output: Output = "table"
) -> Answer:
    """Stop workloads; they keep their place and what they hold."""
    return await _each(service, output, "StopWorkloads", pb.StopWorkloadsRequest(workload_ids=ids, force=force), wait)


@command(app, "restart", example="eru workload restart shop-web-1f2e/0")
async def restart(
    service: Service, ids: WorkloadArguments, force: Force = False, wait: Wait = True, output: Output = "table"
) -> Answer:
    """Stop workloads and start them again in place."""
    request = pb.RestartWorkloadsRequest(workload_ids=ids, force=force)
    return await _each(service, output, "RestartWorkloads", request, wait)


@command(app, "rm", "remove", example="eru workload rm shop-web-1f2e/0 shop-web-1f2e/1")
async def remove(
    service: Service,
    ids: WorkloadArguments,
    force: Force = False,
    step: Annotated[int, typer.Option("--step", metavar="N", min=0, help="So many at a time; 0 for all at once.")] = 0,
    wait: Wait = True,
    output: Output = "table",
) -> Answer:
    """Stop and remove workloads."""
    size = step or len(ids)
    answers = []
    for first in range(0, len(ids), size):
        request = pb.RemoveWorkloadsRequest(workload_ids=ids[first : first + size], force=force)
        answers.append(await _each(service, output, "RemoveWorkloads", request, wait))
        if not answers[-1].ok:
            break
    return _joined(answers)


def _joined(answers: list[Answer]) -> Answer:
    """Several answers of the same kind as one."""
    if len(answers) == 1:
        return answers[0]
    from dataclasses import replace as changed

    first = answers[0]
    rows = [row for answer in answers for table in answer.tables for row in table.rows]
    records = [record for answer in answers for record in answer.records]
    names = [name for answer in answers for name in answer.names]
    tables = [changed(first.tables[0], rows=rows)]
    return changed(
        first, data=records, records=records, names=names, tables=tables, ok=all(answer.ok for answer in answers)
    )


@command(app, "dissociate", example="eru workload dissociate --node n1")
async def dissociate(
    service: Service,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", show_default=False, help="Workloads; see eru workload ls.")
    ] = None,
    node: Annotated[
        list[str] | None, _text("--node", metavar="NAME", help="All that is on this node; repeat it.")
    ] = None,
    output: Output = "table",
) -> Answer:
    """Forget workloads and leave them running: what they hold is free for others."""
    chosen = list(ids or ())
    for name in values.names(node):
        chosen += [record["workload_id"] for record in await found(service, node=name)]
    if not chosen and not node:
        raise EruError("dissociate: nothing is named; give workloads, or --node")
    request = pb.DissociateWorkloadsRequest(workload_ids=list(dict.fromkeys(chosen)))
    return await _each(service, output, "DissociateWorkloads", request, True)


@command(app, "pause", example="eru workload pause shop-web-1f2e/0")
async def pause(service: Service, ids: WorkloadArguments, output: Output = "table") -> Answer:
    """Freeze the processes of workloads."""
    for name in ids:
        await service.call("PauseWorkload", pb.PauseWorkloadRequest(workload_id=name))
    return said(output, {"workload_ids": ids}, name="\n".join(ids), line=f"paused: {', '.join(ids)}")


@command(app, "resume", example="eru workload resume shop-web-1f2e/0")
async def resume(service: Service, ids: WorkloadArguments, output: Output = "table") -> Answer:
    """Let the processes of workloads go on."""
    for name in ids:
        await service.call("ResumeWorkload", pb.ResumeWorkloadRequest(workload_id=name))
    return said(output, {"workload_ids": ids}, name="\n".join(ids), line=f"resumed: {', '.join(ids)}")


@command(app, "usage", example="eru workload usage shop-web-1f2e/0")
async def usage(service: Service, id: WorkloadArgument, output: Output = "table") -> Answer:
    """Show what a workload has used."""
    reply = await service.call("GetWorkloadUsage", pb.GetWorkloadUsageRequest(workload_id=id))
    return facts(output, {"workload_id": id, **plain(reply)}, name=id)


@command(app, "wait", example="eru workload wait shop-web-1f2e/0 --for healthy --timeout 2m")
async def wait_for(
    service: Service,
    ids: WorkloadArguments,
    condition: Annotated[
        str, typer.Option("--for", metavar="WHAT", help="running, healthy, stopped or gone.")
    ] = "running",
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long; 0 for ever.")] = "5m",
    output: Output = "table",
) -> Answer:
    """Wait until workloads are so; exit code 1 if they are not in time, or never will be."""
    values.choice("--for", condition, ("running", "healthy", "stopped", "gone"))
    seconds = values.duration_ns("--timeout", timeout) / 1e9
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + seconds, 0.1
    while True:
        records = [await _state(service, name) for name in ids]
        reached = [_is(record, condition) for record in records]
        is_late = bool(seconds) and loop.time() >= deadline
        if all(reached) or is_late or any(answer is None for answer in reached):
            columns = (Column("workload", "workload_id"), Column("state", "state"), Column("status", health))
            notes = [] if all(reached) else [f"not {condition}" + (f" after {timeout}" if is_late else "")]
            return listing(output, records, columns, name="workload_id", ok=all(reached), notes=notes)
        await asyncio.sleep(pause_s)
        pause_s = min(2.0, pause_s * 1.5)


async def _state(service: Service, name: str) -> dict[str, Any]:
    try:
        return plain(await service.call("GetWorkload", pb.GetWorkloadRequest(workload_id=name)))
    except ServiceError as error:
        if error.status != "NOT_FOUND":
            raise
        return {"workload_id": name, "state": "gone", "status": None}


def _is(record: dict[str, Any], condition: str) -> bool | None:
    """Whether it is so; None where it never will be."""
    state = record["state"]
    is_over = state == "gone" or state in _ENDED
    if condition == "gone":
        return is_over
    if is_over:
        return None
    if condition == "healthy":
        return health(record) == "healthy"
    return bool(state == condition)


@command(app, "logs", example="eru workload logs shop-web-1f2e/0 --tail 100 -f")
async def logs(
    service: Service,
    id: WorkloadArgument,
    tail: Annotated[str, typer.Option("--tail", metavar="N|all", help="The last lines.")] = "all",
    since: Annotated[str | None, _text("--since", metavar="TIME", help="Not before, e.g. 5m (ago).")] = None,
    until: Annotated[str | None, _text("--until", metavar="TIME", help="Not after.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    output: Output = "table",
) -> int:
    """Show what a workload has written; its stderr goes to stderr."""
    request = pb.ReadLogsRequest(workload_id=id, follow=follow)
    if tail != "all":
        if not (tail.isascii() and tail.isdigit()):
            raise EruError(f"--tail: {tail[:80]!r} is neither a number of lines nor 'all'")
        request.tail = int(tail)
    request.since_ns = values.instant_ns("--since", since) if since else 0
    request.until_ns = values.instant_ns("--until", until) if until else 0
    rows = Rows(output, (), name="workload_id")
    async for chunk in service.stream("ReadLogs", request):
        if output in ("table", "wide", "name"):
            terminal.write(chunk.data, to_stderr=chunk.is_stderr)
        else:
            rows.show({"workload_id": id, **plain(chunk)})
    return 0


@command(app, "exec", example="eru workload exec -i shop-web-1f2e/0 -- sh -c 'wc -c' < file")
async def execute(
    service: Service,
    id: WorkloadArgument,
    words: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", show_default=False, help="What to run in it.")],
    interactive: Annotated[
        bool, typer.Option("-i", "--interactive", help="It gets our input; on a terminal, one of its own.")
    ] = False,
    tty: Annotated[
        bool | None, typer.Option("-t/-T", "--tty/--no-tty", help="Whether it gets a terminal.", show_default=False)
    ] = None,
    env: Annotated[list[str] | None, _text("-e", "--env", metavar="KEY=VALUE", help="Environment; repeat it.")] = None,
    workdir: Annotated[str, _text("-w", "--workdir", metavar="DIR", help="In which directory.")] = "",
    user: Annotated[str, _text("--user", metavar="NAME", help="As whom.")] = "",
) -> int:
    """Run a command in a workload and exit with its code; 255 where it could not be run.

    Ctrl-C without a terminal lets go of the command; the workload goes on in any case.
    """
    has_tty = tty if tty is not None else interactive and terminal.is_terminal()
    start = pb.ExecStart(
        workload_id=id, command=words, env=env or (), working_dir=workdir, user=user, has_tty=has_tty,
        open_stdin=interactive,
    )  # fmt: skip
    if has_tty:
        rows, columns = terminal.size()
        start.size.CopyFrom(pb.TerminalSize(rows=rows, columns=columns))
    return await sessions.session(service, "Exec", pb.ExecInput, start, stdin=interactive, tty=has_tty)


@command(app, "attach", example="eru workload attach shop-web-1f2e/0")
async def attach(
    service: Service,
    id: WorkloadArgument,
    interactive: Annotated[bool, typer.Option("-i", "--interactive", help="It gets our input.")] = False,
) -> int:
    """Show what a workload writes from now on, and exit with its code. Ctrl-C lets go; it goes on."""
    start = pb.AttachStart(workload_id=id, open_stdin=interactive)
    return await sessions.session(service, "Attach", pb.AttachInput, start, stdin=interactive, tty=False)


@command(app, "copy", example="eru workload copy shop-web-1f2e/0:/var/log,/etc/hosts -d out")
async def copy(
    service: Service,
    sources: Annotated[
        list[str], typer.Argument(metavar="ID:PATH[,PATH]...", show_default=False, help="What to fetch from where.")
    ],
    directory: Annotated[
        str, typer.Option("-d", "--dir", metavar="DIR", help="Unpack it there; '-' writes one tar to stdout.")
    ] = ".",
    output: Output = "table",
) -> Answer | int:
    """Fetch files and directories, with modes and owners. From several workloads, each into a directory of its own."""
    wanted = [tars.target(source) for source in sources]
    if directory == "-":
        if len(wanted) != 1 or len(wanted[0][1]) != 1:
            raise EruError("-d: one tar holds one path; name one, or a directory to unpack into")
        await tars.fetch(service, wanted[0][0], wanted[0][1][0], sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    records: list[Record] = []
    root = Path(directory).expanduser()
    for workload_id, paths in wanted:
        below = root / tars.safe_name(workload_id) if len({name for name, _ in wanted}) > 1 else root
        for path in paths:
            records += await tars.unpack(service, workload_id, path, below)
    columns = (Column("workload", "workload_id"), Column("path", "path"), Column("size", "size_bytes"))
    return listing(output, records, columns, name="path", numbers=1)


@command(
    app, "send", "sendlarge", example="eru workload send shop-web-1f2e/0 --file model.bin:/data/model.bin:0644:0:0"
)
async def send(
    service: Service,
    ids: WorkloadArguments,
    file: Annotated[
        list[str] | None,
        _text("--file", metavar="SRC:DST[:MODE[:UID:GID]]", help="A file or directory and where to; repeat it."),
    ] = None,
    output: Output = "table",
) -> Answer:
    """Put files and directories of any size into workloads, with modes and owners."""
    files = work.files(file)
    if not files:
        raise EruError("--file: it is missing; say what to send where to")
    if tars.needed(files) <= tars.SMALL_BYTES:
        problems = await tars.send_small(service, ids, files)
    else:
        problems = {}
        for name in ids:
            problems |= await tars.send_large(service, name, files)
    records = [{"workload_id": name, "error": problems.get(name, "")} for name in ids]
    columns = (Column("workload", "workload_id"), Column("error", "error"))
    return listing(output, records, columns, name="workload_id", ok=not problems)

"""``eru node``."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.live import values
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.failures import ServiceError
from eru_sim.cli.live.listing import Column, Rows, facts, listing, said, show_all
from eru_sim.cli.live.nodes import RESOURCE_COLUMNS, listed, resource_records
from eru_sim.cli.live.operations import all_results, waited
from eru_sim.cli.live.params import Labels, NodeArgument, NodeLabels, Pool, PoolArgument, Wait
from eru_sim.cli.live.plain import plain
from eru_sim.cli.live.workloads import WORKLOAD_COLUMNS
from eru_sim.cli.options import Output
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("Nodes: the machines that work is placed on.")

STATUS_COLUMNS = (Column("node", "node_id", width=24), Column("pool", "pool", width=12), Column("alive", "is_alive"))
_IO_KINDS = ("read_iops", "write_iops", "read_bps", "write_bps")


def _text(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=help)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What a node is and has."""

    endpoint: Annotated[str | None, _text("--endpoint", metavar="URL", help="Where its engine is.")] = None
    ca: Annotated[str, _text("--ca", metavar="FILE", help="Whom to trust there, PEM.")] = ""
    cert: Annotated[str, _text("--cert", metavar="FILE", help="The certificate to show there, PEM.")] = ""
    key: Annotated[str, _text("--key", metavar="FILE", help="Its key, PEM.")] = ""
    cpu: Annotated[
        str | None,
        _text("--cpu", metavar="N|CORE:PIECES,...", help="How many cores, or pieces by core, e.g. 0:100,1:200."),
    ] = None
    memory: Annotated[str | None, _text("--memory", metavar="SIZE", help="How much memory.")] = None
    numa_cpu: Annotated[
        list[str] | None, _text("--numa-cpu", metavar="CORES", help="Cores of a NUMA node, e.g. 0-3; repeat it.")
    ] = None
    numa_memory: Annotated[
        list[str] | None, _text("--numa-memory", metavar="SIZE", help="Memory of a NUMA node; repeat it.")
    ] = None
    storage: Annotated[str | None, _text("--storage", metavar="SIZE", help="How much storage.")] = None
    volume: Annotated[
        list[str] | None, _text("--volume", metavar="DEVICE:SIZE", help="A device for volumes; repeat it.")
    ] = None
    disk: Annotated[
        list[str] | None,
        _text("--disk", metavar="DEVICE:MOUNT[,...]:RIOPS:WIOPS:RBPS:WBPS", help="What a disk can do; repeat it."),
    ] = None
    capacity: Annotated[
        list[str] | None,
        _text("--capacity", metavar="DIMENSION=N", help="So much of another dimension, in its base unit; repeat it."),
    ] = None
    taint: Annotated[
        list[str] | None,
        _text("--taint", metavar="KEY=VALUE:EFFECT", help="Keeps off what does not bear it; repeat it."),
    ] = None
    extra_resources: Annotated[
        str | None, _text("--extra-resources", metavar="JSON", help="What it has for other plugins.")
    ] = None


def _endpoint(options: NodeOptions) -> Any:
    return pb.Endpoint(
        url=options.endpoint or "",
        ca=values.text_of(options.ca),
        cert=values.text_of(options.cert),
        key=values.text_of(options.key),
    )


def _payloads(options: NodeOptions, *, share: int | None = None, is_delta: bool = False) -> dict[str, dict[str, Any]]:
    """What a node has, or what of it changes, by plugin."""
    cpu: dict[str, Any] = {}
    if options.cpu is not None:
        cpu["cores"] = _cores(options.cpu)
    if share is not None:
        cpu["share"] = share
    if options.memory is not None:
        cpu["memory"] = values.size("--memory", options.memory, is_delta=is_delta)
    if options.numa_cpu:
        cpu["numa"] = {str(index): cores for index, cores in enumerate(options.numa_cpu)}
    if options.numa_memory:
        sizes = [values.size("--numa-memory", text, is_delta=is_delta) for text in options.numa_memory]
        cpu["numa_memory"] = {str(index): size for index, size in enumerate(sizes)}
    storage: dict[str, Any] = {}
    if options.storage is not None:
        storage["storage"] = values.size("--storage", options.storage, is_delta=is_delta)
    if options.volume:
        storage["volumes"] = dict(_volume(text, is_delta=is_delta) for text in options.volume)
    if options.disk:
        storage["disks"] = [_disk(text, is_delta=is_delta) for text in options.disk]
    payloads = {name: payload for name, payload in (("cpu", cpu), ("storage", storage)) if payload}
    for name, payload in values.by_plugin("--extra-resources", options.extra_resources).items():
        payloads[name] = {**payloads.get(name, {}), **payload}
    return payloads


def _cores(text: str) -> int | dict[str, int]:
    try:
        if ":" not in text:
            return int(text)
        return {core: int(pieces) for core, _, pieces in (part.partition(":") for part in text.split(","))}
    except ValueError:
        raise EruError(
            f"--cpu: {text[:80]!r} is no count of cores; write e.g. 8, or pieces by core: 0:100,1:200"
        ) from None


def _volume(text: str, *, is_delta: bool) -> tuple[str, int]:
    device, colon, size = text.rpartition(":")
    if not colon or not device.startswith("/"):
        raise EruError(f"--volume: {text[:80]!r} is not DEVICE:SIZE, e.g. /data0:100G")
    return device, values.size("--volume", size, is_delta=is_delta)


def _disk(text: str, *, is_delta: bool) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) != 6:
        raise EruError(f"--disk: {text[:80]!r} is not DEVICE:MOUNT[,...]:RIOPS:WIOPS:RBPS:WBPS")
    quotas = {
        kind: values.size("--disk", part or "0", is_delta=is_delta)
        for kind, part in zip(_IO_KINDS, parts[2:], strict=True)
    }
    return {"device": parts[0], "mounts": [mount for mount in parts[1].split(",") if mount], **quotas}


def _capacity(options: NodeOptions, *, is_delta: bool = False) -> dict[str, int]:
    given = values.pairs("--capacity", options.capacity)
    return {name: values.size("--capacity", text, is_delta=is_delta) for name, text in given.items()}


def _encoded(payloads: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(payload) for name, payload in payloads.items()}


def _shown(output: str, node: Any) -> Answer:
    record = plain(node)
    resources = record["resources"]
    tables: Sequence[Table] = ()
    if resources is not None:
        listed_resources = listing(output, resource_records([record]), RESOURCE_COLUMNS[1:], name="of", numbers=3)
        tables = listed_resources.tables
    notes = [f"books: {text}" for text in (resources or {}).get("differences", ())]
    return facts(output, record, name=record["node_id"], hidden=("resources",), tables=tables, notes=notes)


@command(app, "ls", "list", example="eru node ls --pool prod -o wide")
async def list_nodes(
    service: Service,
    pool: Pool = "",
    filter: Annotated[
        str, typer.Option("--filter", metavar="up|down|all", help="Those that take work, those that do not, or all.")
    ] = "all",
    label: NodeLabels = None,
    output: Output = "table",
) -> Answer:
    """List nodes."""
    return await listed(service, output, pool=pool, which=filter, label=label)


@command(app, "get", example="eru node get n1 -o yaml")
async def get_node(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Show a node and what it has."""
    return _shown(output, await service.call("GetNode", pb.GetNodeRequest(node_id=name, with_resources=True)))


@command(app, "add", example="eru node add prod --nodename n1 --endpoint tcp://10.0.0.5:2376 --ca ca.pem")
async def add_node(
    service: Service,
    pool: PoolArgument,
    options: NodeOptions,
    nodename: Annotated[str, _text("--nodename", metavar="NAME", help="What to call it.")] = "",
    share: Annotated[int | None, _text("--share", metavar="N", help="Pieces a core is divided into.")] = None,
    label: Annotated[list[str] | None, _text("--label", metavar="KEY=VALUE", help="A label; repeat it.")] = None,
    topology: Annotated[
        list[str] | None, _text("--topology", metavar="LEVEL=NAME", help="Where it is, e.g. zone=a; repeat it.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="It has no agent and needs none.")] = False,
    output: Output = "table",
) -> Answer:
    """Add a node to a pool. What is not said of cores, memory and storage, its engine says."""
    if not nodename:
        raise EruError("--nodename: it is missing; say what to call the node")
    if not options.endpoint:
        raise EruError("--endpoint: it is missing; say where the node's engine is")
    request = pb.AddNodeRequest(
        node_id=nodename, pool=pool, endpoint=_endpoint(options), labels=values.pairs("--label", label),
        topology=values.pairs("--topology", topology), taints=options.taint or (),
        resources=_encoded(_payloads(options, share=share)), capacity=_capacity(options), is_test=test,
    )  # fmt: skip
    return _shown(output, await service.call("AddNode", request))


@command(app, "set", "update", example="eru node set n1 --memory 8G --delta --label zone=a")
async def set_node(
    service: Service,
    name: NodeArgument,
    options: NodeOptions,
    delta: Annotated[bool, typer.Option("--delta", help="Amounts are differences.")] = False,
    rm_disk: Annotated[list[str] | None, _text("--rm-disk", metavar="DEVICE", help="Forget a disk; repeat it.")] = None,
    label: Annotated[
        list[str] | None, _text("--label", metavar="KEY=VALUE", help="A label to set, KEY= to remove it; repeat it.")
    ] = None,
    mark_workloads_down: Annotated[
        bool, typer.Option("--mark-workloads-down", help="Say that nothing on it runs or is healthy.")
    ] = False,
    output: Output = "table",
) -> Answer:
    """Change a node. What is not given stays as it is; labels are changed one by one."""
    payloads = _payloads(options, is_delta=delta)
    if rm_disk:
        payloads.setdefault("storage", {})["remove_disks"] = values.names(rm_disk)
    request = pb.SetNodeRequest(
        node_id=name, resources=_encoded(payloads), capacity=_capacity(options, is_delta=delta), is_delta=delta
    )
    if options.endpoint or options.ca or options.cert or options.key:
        endpoint = _endpoint(options)
        if not endpoint.url:
            endpoint.url = (await service.call("GetNode", pb.GetNodeRequest(node_id=name))).endpoint_url
        request.endpoint.CopyFrom(endpoint)
    if label:
        known = dict((await service.call("GetNode", pb.GetNodeRequest(node_id=name))).labels)
        known.update(values.pairs("--label", label))
        request.labels.CopyFrom(pb.Labels(labels={key: value for key, value in known.items() if value}))
    if options.taint is not None:
        request.taints.CopyFrom(pb.Taints(taints=[taint for taint in options.taint if taint]))
    node = await service.call("SetNode", request)
    if mark_workloads_down:
        await _mark_down(service, name)
    return _shown(output, node)


async def _mark_down(service: Service, name: str) -> None:
    work = [item async for item in service.stream("ListWorkloads", pb.ListWorkloadsRequest(node_id=name))]
    statuses = [pb.WorkloadStatus(workload_id=item.workload_id, node_id=name) for item in work]
    if statuses:
        await service.call("SetWorkloadStatuses", pb.SetWorkloadStatusesRequest(statuses=statuses))


@command(app, "rm", "remove", example="eru node rm n1")
async def remove_node(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Remove a node on which nothing is."""
    await service.call("RemoveNode", pb.RemoveNodeRequest(node_id=name))
    return said(output, {"node_id": name}, name=name, line=f"removed {name}")


@command(app, "workloads", example="eru node workloads n1")
async def node_workloads(
    service: Service, name: NodeArgument, label: Labels = None, output: Output = "table"
) -> Answer:
    """List what is on a node."""
    await service.call("GetNode", pb.GetNodeRequest(node_id=name))
    request = pb.ListWorkloadsRequest(node_id=name, labels=values.pairs("--label", label))
    found = [plain(item) async for item in service.stream("ListWorkloads", request)]
    return listing(output, found, WORKLOAD_COLUMNS, name="workload_id")


@command(app, "up", example="eru node up n1")
async def node_up(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Let a node take work again: ends `down`, a cordon and a drain."""
    await service.call("SetNode", pb.SetNodeRequest(node_id=name, is_bypassed=False))
    return _shown(output, await service.call("UncordonNode", pb.UncordonNodeRequest(node_id=name)))


@command(app, "down", example="eru node down n1 --check")
async def node_down(
    service: Service,
    name: NodeArgument,
    check: Annotated[bool, typer.Option("--check", help="Not if its agent still renews the node's lease.")] = False,
    check_timeout: Annotated[
        str, typer.Option("--check-timeout", metavar="TIME", help="How long to wait for the lease to run out.")
    ] = "20s",
    output: Output = "table",
) -> Answer:
    """Mark a node as not to be used."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + values.duration_ns("--check-timeout", check_timeout) / 1e9
    while check and (await service.call("GetNodeStatus", pb.GetNodeStatusRequest(node_id=name))).is_alive:
        if loop.time() >= deadline:
            line = f"not marked: {name} is alive; its lease is held, or it needs none"
            return Answer(
                output=output, data={"node_id": name, "is_alive": True}, records=[{"node_id": name, "is_alive": True}],
                names=[], lines=[line], ok=False,
            )  # fmt: skip
        await asyncio.sleep(min(1.0, max(0.01, deadline - loop.time())))
    return _shown(output, await service.call("SetNode", pb.SetNodeRequest(node_id=name, is_bypassed=True)))


@command(app, "cordon", example="eru node cordon n1")
async def cordon(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Place nothing new on a node; what runs there goes on."""
    return _shown(output, await service.call("CordonNode", pb.CordonNodeRequest(node_id=name)))


@command(app, "uncordon", example="eru node uncordon n1")
async def uncordon(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """End a cordon or a drain."""
    return _shown(output, await service.call("UncordonNode", pb.UncordonNodeRequest(node_id=name)))


@command(app, "drain", example="eru node drain n1")
async def drain(service: Service, name: NodeArgument, wait: Wait = True, output: Output = "table") -> Answer:
    """Cordon a node and move its work away."""
    operation = await service.call("DrainNode", pb.DrainNodeRequest(node_id=name))
    return await waited(service, output, [operation], wait=wait)


@command(app, "resource", example="eru node resource n1 --fix")
async def node_resource(
    service: Service,
    name: NodeArgument,
    fix: Annotated[bool, typer.Option("--fix", help="Calculate anew what is used, and say what was wrong.")] = False,
    output: Output = "table",
) -> Answer:
    """Show what a node has, how much of that is held, and what is wrong with the books."""
    notes: list[str] = []
    if fix:
        fixed = await all_results(service, [await service.call("FixNode", pb.FixNodeRequest(node_id=name))])
        notes = [f"{record['outcome']}: {record['detail'] or 'nothing was wrong'}" for record in fixed]
    found = plain(await service.call("GetNodeResources", pb.GetNodeResourcesRequest(node_id=name)))
    answer = listing(
        output, resource_records([{"node_id": name, "resources": found}]), RESOURCE_COLUMNS[1:], name="of", numbers=3,
        notes=[*notes, *(f"books: {text}" for text in found["differences"])], ok=not found["differences"],
    )  # fmt: skip
    return dataclasses.replace(answer, data=found)


@command(app, "engine", example="eru node engine n1")
async def node_engine(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Show what a node's engine says of itself."""
    return facts(output, plain(await service.call("GetNodeEngine", pb.GetNodeEngineRequest(node_id=name))), name=name)


@command(app, "set-status", example="eru node set-status n1 --ttl 180s --interval 60s")
async def set_status(
    service: Service,
    name: NodeArgument,
    ttl: Annotated[str, typer.Option("--ttl", metavar="TIME", help="For how long it is good; 0 ends it.")] = "180s",
    interval: Annotated[
        str, typer.Option("--interval", metavar="TIME", help="Say it again that often, until interrupted; 0 for once.")
    ] = "0",
    output: Output = "table",
) -> Answer | int:
    """Say in place of an agent that a node is alive."""
    request = pb.RenewNodeRequest(node_id=name, ttl_ns=values.duration_ns("--ttl", ttl))
    pause_s = values.duration_ns("--interval", interval) / 1e9
    status = plain(await service.call("RenewNode", request))
    if not pause_s:
        return facts(output, status, name=name)
    rows = Rows(output, STATUS_COLUMNS, name="node_id")
    while True:
        rows.show(status)
        await asyncio.sleep(pause_s)
        try:
            status = plain(await service.call("RenewNode", request))
        except ServiceError as error:
            if error.status != "UNAVAILABLE":
                raise


@command(app, "status", example="eru node status n1")
async def status(service: Service, name: NodeArgument, output: Output = "table") -> Answer:
    """Show whether a node is alive."""
    found = plain(await service.call("GetNodeStatus", pb.GetNodeStatusRequest(node_id=name)))
    return facts(output, found, name=name)


@command(app, "watch-status", example="eru node watch-status --pool prod")
async def watch_status(
    service: Service,
    pool: Pool = "",
    current: Annotated[bool, typer.Option("--current/--changes", help="First everything as it is, or not.")] = True,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="End after so many; 0 for never.")] = 0,
    output: Output = "table",
) -> int:
    """Show when nodes come and go, until interrupted."""
    request = pb.WatchNodesRequest(pool=pool, with_current=current)
    changes = (plain(change) async for change in service.stream("WatchNodes", request))
    await show_all(Rows(output, STATUS_COLUMNS, name="node_id"), changes, limit)
    return 0

"""The cluster's records as Eru's messages."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from backends.real.cluster import LiveCluster
from backends.real.engines.base import EngineInfo
from backends.real.nodes import NodeView
from backends.real.service.corerpc.books import NodeBooks, node_capacity, node_usage, workload_resources
from backends.real.service.corerpc.context import Context
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.statuses import WorkloadStatus
from backends.real.template import Template
from scheduler.lifecycle import State
from scheduler.workload import Workload

SECOND_NS = 1_000_000_000


def books_of(cluster: LiveCluster, node_id: str) -> NodeBooks:
    """What a node has, and how much of it is used."""
    resources = cluster.nodes.resources(node_id)
    row = cluster.nodes.record(node_id).row
    inventories = {name: cluster.core.ledger.slots[name].inventory(row) for name in resources.slots}
    return NodeBooks(
        capacity={name: amounts.total for name, amounts in resources.dimensions.items()},
        used={name: amounts.used for name, amounts in resources.dimensions.items()},
        inventories={name: inventory for name, inventory in inventories.items() if inventory is not None},
        slots_used={name: [amounts.used for amounts in slots.values()] for name, slots in resources.slots.items()},
    )


def node_message(cluster: LiveCluster, view: NodeView, info: str = "") -> pb.Node:
    """A node. It is available while its agent vouches for it, also where an operator bypasses it."""
    books = books_of(cluster, view.node_id)
    return pb.Node(
        name=view.node_id,
        endpoint=view.endpoint,
        podname=view.pool,
        available=cluster.liveness.is_alive(view.node_id) and view.state != "lost",
        bypass=view.is_bypassed,
        labels=dict(view.labels),
        info=info,
        resource_capacity=node_capacity(books),
        resource_usage=node_usage(books),
        test=view.is_test,
    )


def info_text(info: EngineInfo) -> str:
    """What an engine says of its node, as ``Node.info``."""
    wire = {
        "Type": info.kind,
        "ID": str(info.details.get("id", "")),
        "NCPU": len(info.cpus),
        "MemTotal": info.memory_bytes,
        "StorageTotal": info.storage_bytes,
        "Version": info.version,
    }
    return msgspec.json.encode(wire).decode()


def name_of(workload: Workload) -> str:
    """A workload's name: app, entrypoint and what makes it its own, joined by "_"."""
    return workload.workload_id.replace("/", ".")


def status_of(cluster: LiveCluster, workload: Workload) -> pb.WorkloadStatus:
    """The last word of an agent; without one, whether the core has it running."""
    known = cluster.statuses.get(workload.workload_id)
    if known is not None:
        return status_message(known)
    return pb.WorkloadStatus(
        id=workload.workload_id,
        running=workload.state is State.RUNNING,
        appname=workload.spec.app,
        entrypoint=workload.spec.entrypoint,
        nodename=cluster.workloads.node_of(workload),
    )


def status_message(status: WorkloadStatus) -> pb.WorkloadStatus:
    """What an agent said."""
    return pb.WorkloadStatus(
        id=status.workload_id,
        running=status.is_running,
        healthy=status.is_healthy,
        networks=dict(status.networks),
        extension=status.extension,
        appname=status.app,
        nodename=status.node_id,
        entrypoint=status.entrypoint,
    )


def resources_of(context: Context, workload: Workload) -> str:
    """What a workload asked and what it holds."""
    state = context.cluster.core.state
    request_class = state.planner.classes.by_id[workload.class_id]
    asked = request_class.asked
    request = dict(zip(context.dimensions, workload.spec.request, strict=True))
    own = {name: amount for name, amount in request.items() if amount}
    return workload_resources(own, asked.payloads if asked is not None else {}, workload.assignments or {})


def workload_message(context: Context, workload: Workload, template: Template) -> pb.Workload:
    """A workload with its last status."""
    cluster = context.cluster
    status = status_of(cluster, workload)
    node_id = cluster.workloads.node_of(workload)
    node = cluster.core.cluster.by_id.get(node_id)
    return pb.Workload(
        id=workload.workload_id,
        podname=node.pool if node is not None else workload.spec.pool,
        nodename=node_id,
        name=name_of(workload),
        privileged=template.is_privileged,
        labels=dict(template.labels),
        publish=published(template, status.networks, node_address(cluster, node_id)),
        image=workload.spec.image,
        status=status,
        create_time=workload.submitted_ns // SECOND_NS,
        env=list(template.env),
        resources=resources_of(context, workload),
    )


def published(template: Template, networks: Mapping[str, str], node: str) -> dict[str, str]:
    """By network, where the ports are that a workload serves. What has no address of its own has its node's."""
    if not template.publish:
        return {}
    return {
        network: ",".join(f"{address or node}:{port}" for port in template.publish)
        for network, address in networks.items()
        if address or network == "host"
    }


def node_address(cluster: LiveCluster, node_id: str) -> str:
    """The address of a node by its endpoint; this machine's where that has none."""
    endpoint = cluster.liveness.endpoints.get(node_id)
    try:
        return (urlsplit(endpoint.url).hostname if endpoint is not None else None) or "127.0.0.1"
    except ValueError:
        return "127.0.0.1"


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all of the wanted are there."""
    return all(labels.get(name) == value for name, value in wanted.items())

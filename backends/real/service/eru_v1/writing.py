"""Answers: our own words, written as messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from backends.real.cluster import LiveCluster
from backends.real.engines.base import EngineInfo, Image, Instance, Network
from backends.real.liveness import NodeStatus
from backends.real.nodes import Amounts
from backends.real.operations import OperationView, Result
from backends.real.service.eru_v1.words import number
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.statuses import WorkloadStatus
from backends.real.template import Template
from scheduler.diagnosis import Diagnosis
from scheduler.policies import BUILT_IN
from scheduler.workload import Workload

_json = msgspec.json.Encoder(order="deterministic").encode


def json_text(value: Any) -> str:
    """Plain data as JSON."""
    return _json(value).decode()


def json_by_name(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Each value as JSON."""
    return {name: json_text(value) for name, value in (values or {}).items()}


def policy(cluster: LiveCluster, names: Iterable[str] = ()) -> pb.Policy:
    """The policy in force; ``names`` are those that there are besides the built-in ones."""
    core = cluster.core
    return pb.Policy(
        name=core.policy_config.name,
        params_json=json_text(core.policy.get_params()),
        known_names=sorted({*BUILT_IN, *names}),
    )


# -- nodes ------------------------------------------------------------------------------------------------------------


def node(cluster: LiveCluster, node_id: str, *, with_resources: bool = False) -> pb.Node:
    """A node; `Missing` where there is none."""
    view, record = cluster.nodes.get(node_id), cluster.nodes.record(node_id)
    message = pb.Node(
        node_id=node_id,
        pool=view.pool,
        endpoint_url=view.endpoint,
        labels=view.labels,
        topology=record.topology,
        taints=record.taints,
        state=number(pb.NodeState, view.state),
        is_available=view.is_available,
        is_alive=cluster.liveness.is_alive(node_id),
        is_bypassed=view.is_bypassed,
        is_test=view.is_test,
        silent_ns=cluster.liveness.silent_for_ns(node_id),
        workloads=len(cluster.core.on_row[record.row]),
    )
    if with_resources:
        message.resources.CopyFrom(node_resources(cluster, node_id))
    return message


def node_resources(cluster: LiveCluster, node_id: str) -> pb.NodeResources:
    """What a node has, and what of that is held."""
    found = cluster.nodes.resources(node_id)
    return pb.NodeResources(
        node_id=node_id,
        dimensions=_amounts(found.dimensions),
        slots={name: pb.Slots(slots=_amounts(slots)) for name, slots in found.slots.items()},
        differences=found.differences,
    )


def _amounts(found: Mapping[str, Amounts]) -> dict[str, pb.Amounts]:
    return {name: pb.Amounts(total=amounts.total, used=amounts.used) for name, amounts in found.items()}


def node_engine(node_id: str, info: EngineInfo, capabilities: frozenset[Any]) -> pb.NodeEngine:
    """What a node is."""
    return pb.NodeEngine(
        node_id=node_id,
        kind=info.kind,
        version=info.version,
        cpus=info.cpus,
        memory_bytes=info.memory_bytes,
        storage_bytes=info.storage_bytes,
        numa={name: ",".join(cpus) for name, cpus in info.numa.items()},
        capabilities=sorted(capabilities),
        details_json=json_text(info.details),
    )


def node_status(status: NodeStatus) -> pb.NodeStatus:
    """Whether a node's agent is there."""
    return pb.NodeStatus(node_id=status.node_id, pool=status.pool, is_alive=status.is_alive)


# -- operations -------------------------------------------------------------------------------------------------------


def operation(cluster: LiveCluster, view: OperationView) -> pb.Operation:
    """An operation as it is now."""
    known = cluster.core.operations.get(view.operation_id)
    return pb.Operation(
        operation_id=view.operation_id,
        kind=view.kind or (known.kind if known is not None else ""),
        is_done=view.is_done,
        results=[result(cluster, view, one) for one in view.results],
        remaining=known.remaining if known is not None else 0 if view.is_done else 1,
        subjects=view.subjects,
    )


def result(cluster: LiveCluster, view: OperationView, found: Result) -> pb.OperationResult:
    """One result of an operation."""
    return pb.OperationResult(
        subject=found.subject,
        outcome=number(pb.Outcome, found.outcome),
        detail=found.detail,
        node_id=found.node_id,
        hook_output=cluster.operations.hook_output(view.operation_id, found.subject).whole,
    )


def diagnosis(found: Diagnosis) -> pb.Diagnosis:
    """Why something cannot be placed."""
    return pb.Diagnosis(text=str(found), nodes=found.nodes, fitting=found.fitting, reasons=found.reasons)


# -- workloads --------------------------------------------------------------------------------------------------------


def workload(cluster: LiveCluster, found: Workload, template: Template | None = None) -> pb.Workload:
    """A workload, with what its template says to everybody."""
    spec = found.spec
    names = (dimension.name for dimension in cluster.core.config.dimensions)
    message = pb.Workload(
        workload_id=found.workload_id,
        state=number(pb.WorkloadState, found.state),
        image=spec.image,
        app=spec.app,
        entrypoint=spec.entrypoint,
        pool=spec.pool,
        node_id=cluster.workloads.node_of(found),
        generation=found.generation,
        priority=spec.priority,
        tenant=spec.tenant,
        job_id=spec.job_id,
        operation_id=spec.operation_id,
        request=dict(zip(names, spec.request, strict=True)),
        resources=json_by_name(spec.payloads),
        assignments=json_by_name(found.assignments),
        template_digest=spec.template,
        submitted_ns=found.submitted_ns,
        placed_ns=max(found.placed_ns, 0),
        started_ns=max(found.started_ns, 0),
        stop_reason=found.stop_reason,
    )
    if template is not None:
        message.labels.update(template.labels)
        message.publish.extend(template.publish)
    said = cluster.statuses.get(found.workload_id)
    if said is not None:
        message.status.CopyFrom(status(said))
    return message


def status(said: WorkloadStatus) -> pb.WorkloadStatus:
    """What an agent said."""
    return pb.WorkloadStatus(
        workload_id=said.workload_id,
        is_running=said.is_running,
        is_healthy=said.is_healthy,
        networks=said.networks,
        extension=said.extension,
        app=said.app,
        entrypoint=said.entrypoint,
        node_id=said.node_id,
    )


def instance(found: Instance) -> pb.Instance:
    """A workload as its engine has it."""
    return pb.Instance(
        state=found.state,
        engine_id=found.engine_id,
        name=found.name,
        exit_code=found.exit_code,
        pid=found.pid,
        image=found.image,
        networks=found.networks,
        started_at_ns=found.started_at_ns,
        restarts=found.restarts,
    )


def template(known: Template) -> pb.Template:
    """A template, without what may be secret: the values of the environment, and the content of files."""
    health = known.health
    return pb.Template(
        command=known.command,
        env=[f"{one.partition('=')[0]}=" for one in known.env],
        working_dir=known.working_dir,
        user=known.user,
        is_privileged=known.is_privileged,
        has_tty=known.has_tty,
        open_stdin=known.open_stdin,
        labels=known.labels,
        networks=known.networks,
        dns=known.dns,
        extra_hosts=known.extra_hosts,
        publish=known.publish,
        sysctls=known.sysctls,
        restart=known.restart,
        stop_grace_ns=known.stop_grace_ns,
        log=known.log,
        log_options=dict.fromkeys(known.log_options, ""),
        health=None
        if health is None
        else pb.HealthCheck(
            tcp_ports=health.tcp_ports,
            http_port=health.http_port,
            http_path=health.http_path,
            http_code=health.http_code,
            command=health.command,
            failure_threshold=health.failure_threshold,
            success_threshold=health.success_threshold,
        ),
        hooks=pb.Hooks(
            after_create=known.hooks.after_create,
            after_start=known.hooks.after_start,
            before_stop=known.hooks.before_stop,
            force=known.hooks.force,
        ),
        files={path: pb.File(mode=file.mode, uid=file.uid, gid=file.gid) for path, file in known.files.items()},
        pull=number(pb.Pull, known.pull),
        engine_json=json_text(known.engine),
    )


# -- images and networks ----------------------------------------------------------------------------------------------


def image(found: Image) -> pb.Image:
    """An image."""
    return pb.Image(image_id=found.image_id, tags=found.tags, size_bytes=found.size_bytes)


def network(found: Network) -> pb.Network:
    """A network."""
    return pb.Network(name=found.name, driver=found.driver, subnets=found.subnets)

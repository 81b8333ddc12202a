"""What a core has commanded and not heard of: for a driver that comes back and does not know what was carried out."""

from __future__ import annotations

from scheduler.cluster import GONE, NodeState
from scheduler.commands import AnyCommand, RemapWorkload, StartWorkload, StopReason, StopWorkload, UpdateWorkload
from scheduler.core import Core
from scheduler.lifecycle import State
from scheduler.workload import Workload


def outstanding(core: Core) -> list[AnyCommand]:
    """The commands that wait for an answer, workload by workload in order of submission, then those of fences.

    Those of nodes that are lost or removed are left out, as the core would not repeat them either. Between two steps
    only; nothing is changed.
    """
    commands: list[AnyCommand] = []
    for workload in core.workloads.values():
        if workload.row >= 0 and core.cluster.nodes[workload.row].state not in GONE:
            commands += _of(core, workload)
    for fence in core.fences.values():
        node = core.cluster.nodes[fence.row]
        if node.state is not NodeState.LOST:
            commands.append(
                StopWorkload(
                    workload_id=fence.workload_id,
                    generation=fence.generation,
                    node_id=node.node_id,
                    reason="fence",
                )
            )
    return commands


def remap(core: Core, workload: Workload) -> RemapWorkload | None:
    """All that a running workload was told by plugins that share something on its node; None where nothing is."""
    engine_args = core.state.engine_args.told(workload)
    if not engine_args or workload.state is not State.RUNNING:
        return None
    return RemapWorkload(
        workload_id=workload.workload_id,
        generation=workload.generation,
        node_id=core.cluster.nodes[workload.row].node_id,
        engine_args=engine_args,
    )


def _of(core: Core, workload: Workload) -> list[AnyCommand]:
    node_id = core.cluster.nodes[workload.row].node_id
    if workload.state is State.STOPPING:
        reason: StopReason = workload.stop_reason  # type: ignore[assignment]
        return [
            StopWorkload(
                workload_id=workload.workload_id, generation=workload.generation, node_id=node_id, reason=reason
            )
        ]
    if workload.state is State.STARTING:
        return [
            StartWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=node_id,
                image=workload.spec.image,
                template=workload.spec.template,
                engine_args=core.state.engine_args.now(workload),
            )
        ]
    if workload.update is not None and workload.state is State.RUNNING:
        return [
            UpdateWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=node_id,
                revision=workload.revision,
                engine_args=core.state.engine_args.now(workload),
            )
        ]
    return []

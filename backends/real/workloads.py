"""The workloads of a cluster as others look at them: which there are, where they are, how they are.

What changes a workload is an operation: `backends.real.cluster.LiveCluster.ask`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from backends.real.engines.base import Engine
from backends.real.errors import Conflict, Missing
from backends.real.gateway import Report
from backends.real.liveness import NodeStatus
from backends.real.meta import generation_said
from backends.real.nodes import Nodes
from backends.real.statuses import StatusTable, WorkloadStatus
from backends.real.tombstones import Tombstones
from scheduler.commands import AnyCommand
from scheduler.core import Core
from scheduler.events import AnyEvent, WorkloadExited, WorkloadHealthChanged
from scheduler.lifecycle import State
from scheduler.workload import Workload


class Place(NamedTuple):
    """Where to find an instance: the engine's methods take workload id and generation."""

    engine: Engine
    workload_id: str
    generation: int
    node_id: str


class Workloads:
    """All live workloads of one core, and what agents say of them. ``report`` gets changes of their health."""

    def __init__(self, core: Core, nodes: Nodes, statuses: StatusTable, tombstones: Tombstones, report: Report) -> None:
        self._core = core
        self._nodes = nodes
        self._statuses = statuses
        self._tombstones = tombstones
        self._report = report

    def get(self, workload_id: str) -> Workload:
        """A live workload; `Missing` where there is none."""
        workload = self._core.workloads.get(workload_id)
        if workload is None:
            raise Missing(f"workload {workload_id!r}: there is none of that id")
        return workload

    def list(
        self,
        *,
        app: str = "",
        entrypoint: str = "",
        node_id: str = "",
        where: Callable[[Workload], bool] | None = None,
        limit: int = 0,
    ) -> Sequence[Workload]:
        """Live workloads in order of submission, those of a node in order of placement; "" for any, limit 0 for all."""
        found: Iterable[Workload] = (
            self._core.on_row[self._nodes.record(node_id).row].values() if node_id else self._core.workloads.values()
        )
        chosen = []
        for workload in found:
            if app not in ("", workload.spec.app) or entrypoint not in ("", workload.spec.entrypoint):
                continue
            if where is None or where(workload):
                chosen.append(workload)
                if len(chosen) == limit:
                    break
        return chosen

    def node_of(self, workload: Workload) -> str:
        """The node that holds it, "" for none."""
        return self._core.cluster.nodes[workload.row].node_id if workload.row >= 0 else ""

    def place(self, workload_id: str) -> Place:
        """Where a workload's present generation is: also of one that has ended and is still on its node.

        `Missing` where there is none; `Conflict` where it is on no node yet; `Unreachable` as in `Nodes.engine`.
        """
        workload = self._core.workloads.get(workload_id)
        if workload is None:
            tombstone = self._tombstones.get(workload_id)
            if tombstone is None or tombstone.node_id not in self._core.cluster.by_id:
                raise Missing(f"workload {workload_id!r}: there is none of that id")
            engine = self._nodes.engine(tombstone.node_id)
            return Place(engine, workload_id, tombstone.generation, tombstone.node_id)
        node_id = self.node_of(workload)
        if not node_id:
            raise Conflict(f"workload {workload_id}: it is {workload.state}, and on no node")
        return Place(self._nodes.engine(node_id), workload_id, workload.generation, node_id)

    # -- statuses -----------------------------------------------------------------------------------------------------

    def set_status(self, status: WorkloadStatus, ttl_ns: int = 0) -> None:
        """An agent says how a workload is; `Missing` where there is no such workload.

        The core is told when its health changes. What is said of another generation than the present one came late, and
        is dropped; without a generation it counts for the present one.
        """
        workload = self.get(status.workload_id)
        if generation_said(status.extension) in (None, workload.generation):
            self._take_status(workload, status, ttl_ns)

    def _take_status(self, workload: Workload, status: WorkloadStatus, ttl_ns: int = 0) -> None:
        before = self._statuses.get(status.workload_id)
        self._statuses.set(status, ttl_ns)
        is_same_run = before is not None and generation_said(before.extension) == generation_said(status.extension)
        was_healthy = before.is_healthy if before is not None and is_same_run else None
        if status.is_healthy != was_healthy and workload.state is State.RUNNING:
            self._report(
                WorkloadHealthChanged(
                    workload_id=status.workload_id, generation=workload.generation, healthy=status.is_healthy
                )
            )

    def mark_down(self, node_id: str) -> None:
        """Nobody vouches for a node: its workloads count as neither running nor healthy until an agent says so."""
        for workload in self.list(node_id=node_id):
            known = self._statuses.get(workload.workload_id)
            down = WorkloadStatus(
                workload_id=workload.workload_id,
                is_running=False,
                is_healthy=False,
                networks=known.networks if known is not None else {},
                extension=known.extension if known is not None else b"",
                app=workload.spec.app,
                entrypoint=workload.spec.entrypoint,
                node_id=node_id,
            )
            self._take_status(workload, down)

    def note_lease(self, status: NodeStatus) -> None:
        """For the liveness of nodes: a lease was given or has ended."""
        if not status.is_alive and status.node_id in self._core.cluster.by_id:
            self.mark_down(status.node_id)

    def committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """For the driver, when a batch is durable: of what is gone there is no status."""
        for command in commands:
            subject = getattr(command, "subject", None)
            if subject is not None and subject not in self._core.workloads:
                self._statuses.drop(subject)
        for event in events:
            if isinstance(event, WorkloadExited) and event.workload_id not in self._core.workloads:
                self._statuses.drop(event.workload_id)

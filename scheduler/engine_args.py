"""What engines are told of resources: with a start or an update, and by a remap when it becomes another.

Theory of operation. Some arguments depend on what workloads of a node share, and that may change with everything that
is placed or ends in the same step. So the arguments of starts and updates are mappings that are filled when the step
ends. Then, where what is shared became another, workloads that were there before are told, if it concerns them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scheduler.cluster import GONE, Cluster
from scheduler.commands import AnyCommand, RemapWorkload
from scheduler.ledger import Ledger
from scheduler.lifecycle import State
from scheduler.request_classes import Asked, RequestClass
from scheduler.resources import Assignments, Resources
from scheduler.types import NodeIndex
from scheduler.workload import Workload


class _Open(NamedTuple):
    engine_args: dict[str, Any]
    asked: Asked
    row: NodeIndex
    assignments: Assignments | None


class EngineArguments:
    """Knows what every node's workloads share, as they were last told."""

    def __init__(
        self, resources: Resources, ledger: Ledger, cluster: Cluster, classes: Mapping[int, RequestClass]
    ) -> None:
        self.shared: dict[tuple[str, NodeIndex], Any] = {}
        """By exact plugin and row. For reading only."""
        self._resources = resources
        self._ledger = ledger
        self._cluster = cluster
        self._classes = classes
        self._open: dict[tuple[int, NodeIndex, int], _Open] = {}
        self._told: set[str] = set()
        self._to_tell: dict[str, Workload] = {}

    def of(self, request_class: RequestClass, row: NodeIndex, assignments: Assignments | None) -> dict[str, Any] | None:
        """The arguments of a start or an update that is commanded now; complete when the step ends.

        None where no plugin is asked. Workloads of one class on one row that hold one and the same mapping share them.
        """
        asked = request_class.asked
        if asked is None:
            return None
        if not asked.exact:
            return self._resources.engine_args(asked, assignments, {})
        key = (request_class.class_id, row, id(assignments))
        known = self._open.get(key)
        if known is None:
            known = self._open[key] = _Open({}, asked, row, assignments)
        return known.engine_args

    def now(self, workload: Workload) -> dict[str, Any] | None:
        """The arguments of a workload that is on a row, between two steps; None where no plugin is asked."""
        asked = self._classes[workload.class_id].asked
        if asked is None:
            return None
        shared = {name: self.shared.get((name, workload.row)) for name in asked.exact}
        return self._resources.engine_args(asked, workload.assignments, shared)

    def told(self, workload: Workload) -> dict[str, Any]:
        """Of these, what comes from plugins that share something on a node; between two steps."""
        asked = self._classes[workload.class_id].asked
        told: dict[str, Any] = {}
        for name in self._resources.sharing if asked is not None else ():
            if asked is not None and name in asked.payloads:
                assignment = (workload.assignments or {}).get(name)
                told.update(
                    self._resources.exact[name].engine_args(
                        asked.payloads[name], assignment, self.shared.get((name, workload.row))
                    )
                )
        return told

    def note_told(self, workload_ids: Iterable[str]) -> None:
        """These workloads are started in this step, and need not be told of changes besides."""
        if self._resources.sharing:
            self._told.update(workload_ids)

    def note_unsure(self, workload: Workload) -> None:
        """Nobody knows what this workload was told last: tell it what it shares at the end of the step."""
        if self._resources.sharing:
            self._to_tell[workload.workload_id] = workload

    def finish_step(self, on_row: Sequence[dict[str, Workload]], commands: list[AnyCommand]) -> None:
        """Fill what was left open, and append a remap for everybody whom a change concerns."""
        if not (self._open or self._to_tell or self._told or self._ledger.remap_rows):
            return
        changed = self._ledger.remap_rows if self._resources.sharing else {}
        before = {(name, row): self.shared.get((name, row)) for row in changed for name in self._resources.sharing}
        for name, row in before:
            self.shared[name, row] = self._resources.shared(name, row)
        for engine_args, asked, row, assignments in self._open.values():
            shared = {name: self.shared.get((name, row)) for name in asked.exact}
            engine_args.update(self._resources.engine_args(asked, assignments, shared) or {})
        for (name, row), was in before.items():
            if was != self.shared[name, row] and self._cluster.nodes[row].state not in GONE:
                commands += self._remaps(name, row, was, on_row[row].values())
        for workload_id, workload in self._to_tell.items():
            if workload.row >= 0 and workload_id not in self._told:
                for name in self._resources.sharing:
                    commands += self._remaps(name, workload.row, None, (workload,), everything=True)
        self._ledger.remap_rows.clear()
        self._open.clear()
        self._told.clear()
        self._to_tell.clear()

    def _remaps(
        self, name: str, row: NodeIndex, before: Any, workloads: Iterable[Workload], *, everything: bool = False
    ) -> Iterable[RemapWorkload]:
        """Tell what differs from before, or with ``everything`` all that the plugin says."""
        plugin, after = self._resources.exact[name], self.shared[name, row]
        for workload in workloads:
            asked = self._classes[workload.class_id].asked
            if asked is None or name not in asked.payloads or workload.workload_id in self._told:
                continue
            if workload.state not in (State.STARTING, State.RUNNING):
                continue
            payload, assignment = asked.payloads[name], (workload.assignments or {}).get(name)
            old = {} if everything else plugin.engine_args(payload, assignment, before)
            new = plugin.engine_args(payload, assignment, after)
            changed = {key: value for key, value in new.items() if old.get(key) != value}
            if changed:
                yield RemapWorkload(
                    workload_id=workload.workload_id,
                    generation=workload.generation,
                    node_id=self._cluster.nodes[row].node_id,
                    engine_args=changed,
                )

    def settle(self, row_count: int) -> None:
        """Take what is shared now as told, after everything that is held has been taken in again."""
        for row in range(row_count):
            for name in self._resources.sharing:
                self.shared[name, row] = self._resources.shared(name, row)
        self._ledger.remap_rows.clear()

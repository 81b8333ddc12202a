"""Tombstones: what is known of a workload that the core has forgotten, until nothing of it is left on its node."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import msgspec

from backends.real.gateway import Survey
from backends.real.stores.base import Record
from scheduler.commands import AnyCommand, PublishResult, StartWorkload, StopWorkload
from scheduler.core import Core
from scheduler.events import AnyEvent, DissociateRequested, WorkloadExited

TABLE = "tombstones"


class Tombstone(msgspec.Struct, frozen=True):
    """A workload that has ended: its last generation, where and when.

    ``kind``: nothing of it may be left (removed), what is left is removed a while later (ended), or it goes on
    without us (forgotten).
    """

    kind: Literal["removed", "ended", "forgotten"]
    generation: int
    node_id: str
    at_ns: int


class Tombstones:
    """Tombstones by workload id. Every change is a record that has to be committed with the step that made it."""

    def __init__(self, core: Core, stored: Mapping[str, bytes]) -> None:
        self._core = core
        self._by_id = {
            workload_id: msgspec.msgpack.decode(data, type=Tombstone) for workload_id, data in stored.items()
        }
        nodes = core.cluster.nodes
        self._started_on = {
            workload.workload_id: nodes[workload.row].node_id
            for workload in core.workloads.values()
            if workload.row >= 0
        }

    def __contains__(self, workload_id: str) -> bool:
        return workload_id in self._by_id

    def get(self, workload_id: str) -> Tombstone | None:
        """That of a workload; None where there is none."""
        return self._by_id.get(workload_id)

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> list[Record]:
        """Bury what has ended in this step."""
        records: list[Record] = []
        live, started_on = self._core.workloads, self._started_on
        for event in events:
            if isinstance(event, WorkloadExited) and event.workload_id not in live:
                node_id = started_on.pop(event.workload_id, None)
                if node_id is not None:
                    records.append(self._bury(event.workload_id, Tombstone("ended", event.generation, node_id, at_ns)))
            elif isinstance(event, DissociateRequested) and event.workload_id not in live:
                node_id = started_on.pop(event.workload_id, None)
                if node_id is not None:
                    records.append(self._bury(event.workload_id, Tombstone("forgotten", 0, node_id, at_ns)))
        for command in commands:
            if isinstance(command, StopWorkload):
                if command.reason not in ("hold", "replace"):
                    tombstone = Tombstone("removed", command.generation, command.node_id, at_ns)
                    records.append(self._bury(command.workload_id, tombstone))
            elif isinstance(command, StartWorkload):
                started_on[command.workload_id] = command.node_id
            elif isinstance(command, PublishResult) and command.subject not in live:
                started_on.pop(command.subject, None)
        return records

    def _bury(self, workload_id: str, tombstone: Tombstone) -> Record:
        self._by_id[workload_id] = tombstone
        return Record(TABLE, workload_id, msgspec.msgpack.encode(tombstone))

    def removable(self, ended_before_ns: int) -> dict[str, int]:
        """Workloads of which nothing need be left, with their last generations: those that were removed, and those
        that ended by themselves until then.
        """
        return {
            workload_id: tombstone.generation
            for workload_id, tombstone in self._by_id.items()
            if tombstone.kind == "removed" or (tombstone.kind == "ended" and tombstone.at_ns <= ended_before_ns)
        }

    def clear(self, before_ns: int, survey: Survey, nodes: Container[str]) -> list[Record]:
        """Forget those until then of which their nodes have nothing; ``nodes`` are those that there still are."""
        left = {(node_id, key[0]) for node_id, found in survey.found.items() for key in found}
        cleared = [
            workload_id
            for workload_id, tombstone in self._by_id.items()
            if tombstone.at_ns <= before_ns
            and (tombstone.node_id in survey.found or tombstone.node_id not in nodes)
            and (tombstone.node_id, workload_id) not in left
        ]
        for workload_id in cleared:
            del self._by_id[workload_id]
        return [Record(TABLE, workload_id, None) for workload_id in cleared]

"""What engines have against what the core believes: pure comparison, for recovery and for the look every now and then.

A comparison never guesses: a node that does not answer says nothing, and a workload whose record changed while the
engines were asked is left for the next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from backends.real.gateway import Found, Survey
from scheduler.commands import AnyCommand, StartWorkload, StopWorkload, UpdateWorkload
from scheduler.core import Core
from scheduler.events import AnyEvent, WorkloadExited, WorkloadStarted, WorkloadStopped
from scheduler.lifecycle import State
from scheduler.outstanding import outstanding, remap
from scheduler.workload import Workload

VANISHED_EXIT_CODE = 137
"""Reported for what should run and is not there: somebody removed it by force."""

Standing = Mapping[str, tuple[int, State]]
"""Generation and state of every live workload, at one moment."""


class Orphan(NamedTuple):
    """An instance of this core of which the core knows nothing, and of which nobody said that it may go."""

    node_id: str
    workload_id: str
    generation: int


class Differences(NamedTuple):
    """What to tell the core, what to have carried out (again), and what is left alone."""

    events: list[AnyEvent]
    commands: list[AnyCommand]
    orphans: list[Orphan]


def standing(core: Core) -> Standing:
    """To be taken before engines are asked."""
    return {workload.workload_id: (workload.generation, workload.state) for workload in core.workloads.values()}


def compare(
    core: Core, survey: Survey, before: Standing, tombstones: Mapping[str, int], *, after_crash: bool = False
) -> Differences:
    """Compare a core, between two steps, with what engines have.

    ``tombstones`` has the workloads that ended, with the last generation of which nothing may be left. With
    ``after_crash``, updates and what workloads share are commanded again, for nobody knows which were carried out.
    """
    result = Differences([], [], [])
    for command in outstanding(core):
        if (
            not isinstance(command, StartWorkload | StopWorkload | UpdateWorkload)
            or command.node_id not in survey.found
        ):
            continue
        workload = core.workloads.get(command.workload_id)
        if workload is not None and before.get(command.workload_id) != (workload.generation, workload.state):
            continue
        found = survey.found[command.node_id].get((command.workload_id, command.generation))
        if isinstance(command, StartWorkload):
            _compare_start(result, command, found)
        elif isinstance(command, StopWorkload):
            _compare_stop(result, command, found)
        elif after_crash and found is not None and found.state == "running" and found.updating != command.revision:
            result.commands.append(command)
    for node_id, instances in survey.found.items():
        node = core.cluster.by_id.get(node_id)
        held = {} if node is None else core.on_row[node.row]
        for workload in held.values():
            if workload.state is State.RUNNING and before.get(workload.workload_id) == (workload.generation, "running"):
                _compare_running(core, result, workload, instances, after_crash)
        for (workload_id, generation), found in instances.items():
            if (workload_id, generation) not in core.fences and found.state in ("running", "exited"):
                _compare_unknown(core, result, Orphan(node_id, workload_id, generation), tombstones)
    return result


def _compare_start(result: Differences, command: StartWorkload, found: Found | None) -> None:
    workload_id, generation = command.workload_id, command.generation
    if found is None:
        result.commands.append(command)
    elif found.state in ("running", "exited"):
        result.events.append(WorkloadStarted(workload_id=workload_id, generation=generation))
        if found.state == "exited":
            result.events.append(_exited(workload_id, generation, found.exit_code))


def _compare_stop(result: Differences, command: StopWorkload, found: Found | None) -> None:
    is_done = found is None or (found.state == "exited" and command.reason == "hold")
    if is_done:
        result.events.append(WorkloadStopped(workload_id=command.workload_id, generation=command.generation))
    elif found is not None and found.state != "stopping":
        result.commands.append(command)


def _compare_running(
    core: Core,
    result: Differences,
    workload: Workload,
    instances: Mapping[tuple[str, int], Found],
    after_crash: bool,
) -> None:
    found = instances.get((workload.workload_id, workload.generation))
    if found is None:
        result.events.append(_exited(workload.workload_id, workload.generation, VANISHED_EXIT_CODE))
    elif found.state == "exited":
        result.events.append(_exited(workload.workload_id, workload.generation, found.exit_code))
    elif after_crash and workload.update is None:
        command = remap(core, workload)
        if command is not None:
            result.commands.append(command)


def _compare_unknown(core: Core, result: Differences, orphan: Orphan, tombstones: Mapping[str, int]) -> None:
    workload = core.workloads.get(orphan.workload_id)
    if workload is not None and workload.row >= 0 and core.cluster.nodes[workload.row].node_id == orphan.node_id:
        if orphan.generation >= workload.generation or workload.state is not State.RUNNING:
            return
    elif workload is None and orphan.generation > tombstones.get(orphan.workload_id, 0):
        result.orphans.append(orphan)
        return
    result.commands.append(
        StopWorkload(
            workload_id=orphan.workload_id,
            generation=orphan.generation,
            node_id=orphan.node_id,
            reason="fence",
        )
    )


def _exited(workload_id: str, generation: int, exit_code: int) -> WorkloadExited:
    return WorkloadExited(workload_id=workload_id, generation=generation, exit_code=exit_code)

"""Adoption: labels of instances tell what it takes to know them again, so a lost journal is rebuilt from engines."""

from __future__ import annotations

import contextlib

import msgspec
import structlog

from backends.real.applying import apply
from backends.real.driver import LiveDriver
from backends.real.engines.base import LABEL_RECORD, Engine, EngineError
from backends.real.errors import Rejected
from backends.real.tombstones import Tombstones
from scheduler.commands import StartWorkload
from scheduler.core import Core
from scheduler.events import WorkloadAdopted

_log = structlog.get_logger("eru.cluster")


def labels_of(core: Core, command: StartWorkload) -> dict[str, str]:
    """What an instance is labelled with, so that it can be adopted."""
    workload = core.workloads.get(command.workload_id)
    if workload is None:
        return {}
    spec = msgspec.structs.replace(workload.spec, workload_id=workload.workload_id, count=1, operation_id="")
    adopted = WorkloadAdopted(spec=spec, node_id=command.node_id, assignments=workload.assignments)
    return {LABEL_RECORD: msgspec.json.encode(adopted).decode()}


async def adopt(driver: LiveDriver, tombstones: Tombstones, node_id: str, engine: Engine) -> None:
    """Take in what runs on a node that has just joined; what cannot be is an orphan, and named."""
    with contextlib.suppress(EngineError):
        for instance in await engine.instances():
            label = instance.labels.get(LABEL_RECORD)
            if label is None or instance.state not in ("running", "paused"):
                continue
            if instance.workload_id in driver.core.workloads or instance.workload_id in tombstones:
                continue
            try:
                told = msgspec.json.decode(label, type=WorkloadAdopted)
                adopted = msgspec.structs.replace(told, node_id=node_id, generation=instance.generation)
                await apply(driver, instance.workload_id, [adopted])
            except (msgspec.DecodeError, Rejected) as error:
                _log.warning("not adopted", node=node_id, workload=instance.workload_id, error=str(error))

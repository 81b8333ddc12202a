"""Restarts: stop, and start again in place. More than one thing for the core, and so carried on here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from backends.real.driver import DriverStopped, Overloaded
from backends.real.operations import OperationView, Result
from scheduler.events import StartRequested, StopRequested
from scheduler.lifecycle import State

if TYPE_CHECKING:
    from backends.real.cluster import LiveCluster

KIND = "restart"


class Restarts:
    """Operations of this kind that are under way, each about one workload. What is left of them when the service stops
    goes on at its next start.
    """

    def __init__(self, cluster: LiveCluster) -> None:
        self._cluster = cluster
        self._tasks: set[asyncio.Task[None]] = set()

    def go_on(self, view: OperationView) -> None:
        """Carry an operation on from where it is."""
        task = asyncio.create_task(_patiently(self._go_on(view)), name=f"restart {view.operation_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave everything as it is."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, view: OperationView) -> None:
        cluster = self._cluster
        if view.kind != KIND:
            await self._end(view, "failed", "nobody knows how it went on when the service went down")
            return
        (workload_id,), stop_id = view.subjects, f"{view.operation_id}.stop"
        workload = cluster.core.workloads.get(workload_id)
        if workload is not None and workload.state is not State.STOPPED:
            stop = cluster.operations.find(stop_id)
            if stop is None:
                asked = StopRequested(workload_id=workload_id, operation_id=stop_id)
                # Only what is kept is still forced after a crash.
                stop = await cluster.ask(stop_id, asked, keep=view.is_forced, is_forced=view.is_forced)
            await stop.done()
            cluster.operations.hand_on(stop_id, workload_id)
            workload = cluster.core.workloads.get(workload_id)
        if workload is None or workload.state is not State.STOPPED:
            state = "there is none of that id" if workload is None else f"it is {workload.state}"
            await self._end(view, "refused", f"{state}, and cannot be started again")
            return
        await cluster.driver.submit(StartRequested(workload_id=workload_id, operation_id=view.operation_id))

    async def _end(self, view: OperationView, outcome: str, detail: str) -> None:
        subject = view.subjects[0] if view.subjects else view.operation_id
        result = Result(subject=subject, outcome=outcome, detail=detail)
        await self._cluster.driver.submit(records=self._cluster.operations.ending(view, result))
        self._cluster.operations.ended(view, result)


async def _patiently(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(DriverStopped, Overloaded):
        await work

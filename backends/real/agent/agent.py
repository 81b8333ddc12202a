"""The agent as a whole: its parts, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from backends.real.agent.heartbeat import Heartbeat
from backends.real.agent.telemetry import Telemetry
from backends.real.agent.workloads import Workloads
from backends.real.clock import Clock, sleep

_FIRST_PAUSE_NS = 1_000_000_000
_LONGEST_PAUSE_NS = 60_000_000_000

_log = structlog.get_logger()


class Part(Protocol):
    """Something of the agent that goes on by itself."""

    async def run(self) -> None:
        """Go on until cancelled."""


class Agent:
    """Runs its parts until it is told to stop. A part that fails is begun anew, and the others go on meanwhile."""

    def __init__(
        self,
        clock: Clock,
        *,
        heartbeat: Heartbeat | None,
        workloads: Workloads | None,
        others: dict[str, Part],
        telemetry: Telemetry,
        release_timeout_s: float = 5.0,
    ) -> None:
        self._clock = clock
        self._release_timeout_s = release_timeout_s
        self._heartbeat = heartbeat
        self._telemetry = telemetry
        self._parts: dict[str, Callable[[], Awaitable[None]]] = {name: part.run for name, part in others.items()}
        if workloads is not None:
            self._parts["workloads"] = workloads.run
        if heartbeat is not None:
            self._parts["heartbeat"] = heartbeat.run
        self._stopping = asyncio.Event()
        self._ends_lease = False

    async def run(self) -> None:
        """Go on until `stop`. When cancelled, the lease is left as it is."""
        tasks = [asyncio.create_task(self._keep(name, run)) for name, run in self._parts.items()]
        try:
            await self._stopping.wait()
            # First the lease: whoever watches the node should know at once.
            if self._ends_lease and self._heartbeat is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._release_timeout_s):
                        await self._heartbeat.release()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self, *, ends_lease: bool) -> None:
        """Have `run` return; end the node's lease before, or leave it for the next agent. The first call counts."""
        if not self._stopping.is_set():
            self._ends_lease = ends_lease
            self._stopping.set()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause_ns = _FIRST_PAUSE_NS
        while True:
            try:
                await run()
                return
            except Exception:
                self._telemetry.faults.labels(name).inc()
                _log.exception("a fault of the agent: this part begins anew", part=name)
            await sleep(self._clock, pause_ns)
            pause_ns = min(2 * pause_ns, _LONGEST_PAUSE_NS)

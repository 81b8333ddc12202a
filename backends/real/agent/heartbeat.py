"""The node's lease."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Awaitable, Callable

import structlog

from backends.real.agent.core_client import CoreClient, CoreError
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, sleep
from backends.real.engines.base import EngineError

TRIES = 3
TTL_INTERVALS = 3
_LONGEST_PAUSE_NS = 1_000_000_000

_log = structlog.get_logger()


class Heartbeat:
    """Keeps the lease of one node, as long as its engine answers.

    It beats at once, then at each interval; a beat asks the engine first (`ping`), and gives the node a lease of three
    intervals, in up to three tries with a pause that doubles. A beat that finds that the lease may have lapsed calls
    ``on_return`` when there is one again, because the core then takes all workloads of the node for dead.

    Beats are on a grid whose phase follows from the node's name, so nodes that began together do not stay together.
    """

    def __init__(
        self,
        node: str,
        core: CoreClient,
        ping: Callable[[], Awaitable[None]],
        clock: Clock,
        *,
        interval_ns: int,
        telemetry: Telemetry,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._core = core
        self._ping = ping
        self._clock = clock
        self._interval_ns = interval_ns
        self._phase_ns = zlib.crc32(node.encode()) * interval_ns >> 32
        self._telemetry = telemetry
        self._on_return = on_return
        self._writing = asyncio.Lock()
        self._is_released = False
        self._renewed_at_ns: int | None = None

    @property
    def ttl_s(self) -> int:
        """The length of a lease, in whole seconds as the wire has it, rounded up."""
        return math.ceil(TTL_INTERVALS * self._interval_ns / 1e9)

    async def run(self) -> None:
        """Beat until cancelled."""
        while not self._is_released:
            await self.beat()
            now_ns = self._clock.now_ns()
            await sleep(self._clock, self._interval_ns - (now_ns - self._phase_ns) % self._interval_ns)

    async def beat(self) -> bool:
        """Renew the lease; whether the core said yes."""
        try:
            await self._ping()
        except EngineError as error:
            self._telemetry.heartbeats.labels("skipped").inc()
            _log.warning("heartbeat skipped: the engine does not answer", error=str(error))
            return False
        if not await self._write(self.ttl_s):
            return False
        self._telemetry.heartbeats.labels("renewed").inc()
        now_ns, before_ns = self._clock.now_ns(), self._renewed_at_ns
        self._renewed_at_ns = now_ns
        # One interval early, because the core's lease began when it wrote, not when it answered.
        if before_ns is not None and now_ns - before_ns >= (TTL_INTERVALS - 1) * self._interval_ns + 1:
            self._on_return()
        return True

    async def release(self) -> None:
        """End the lease now, and never renew it again. What goes wrong is logged: the lease will lapse."""
        self._is_released = True
        await self._write(-1)

    async def _write(self, ttl_s: int) -> bool:
        """Set the lease. Writes of this node go one after another, so none arrives after the one that ends it."""
        pause_ns = min(_LONGEST_PAUSE_NS, self._interval_ns // 8)
        for tried in range(1, TRIES + 1):
            async with self._writing:
                if self._is_released and ttl_s > 0:
                    return False
                try:
                    await self._core.set_node_status(self._node, ttl_s)
                except CoreError as error:
                    _log.warning("node status not written", ttl_s=ttl_s, tried=tried, error=str(error))
                else:
                    return True
            if tried < TRIES:
                await sleep(self._clock, pause_ns)
                pause_ns *= 2
        self._telemetry.heartbeats.labels("failed").inc()
        return False

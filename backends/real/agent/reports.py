"""What the core is told of workloads, and what it need not be told again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random

import structlog

from backends.real.agent.core_client import CoreClient, CoreError, WorkloadStatus
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, sleep

_FIRST_PAUSE_NS = 1_000_000_000

_log = structlog.get_logger()


class Reporter:
    """Reports statuses, those of one workload one after another.

    A status that was sent is remembered for ``cache_ttl_ns``, give or take an eighth, and not sent again as long as it
    is the same. A report that failed may still arrive, within ``straggler_ns``, and then later than the next one; so
    what is sent until then is not remembered, and sent once more the next time.
    """

    def __init__(
        self,
        core: CoreClient,
        clock: Clock,
        *,
        cache_ttl_ns: int,
        straggler_ns: int,
        telemetry: Telemetry,
        random: Random,
    ) -> None:
        self._core = core
        self._clock = clock
        self._cache_ttl_ns = cache_ttl_ns
        self._straggler_ns = straggler_ns
        self._telemetry = telemetry
        self._random = random
        self._sent: dict[str, tuple[WorkloadStatus, int]] = {}
        self._in_doubt_until_ns: dict[str, int] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def report(self, status: WorkloadStatus, *, is_current: Callable[[], bool], tries: int = 1) -> bool:
        """Tell the core, in up to so many tries, each pause twice the last; whether it knows now.

        Nothing is sent, and the answer is False, when ``is_current`` says no at the moment of sending.
        """
        pause_ns = _FIRST_PAUSE_NS
        for tried in range(1, tries + 1):
            async with self._locks[status.workload_id]:
                if not is_current():
                    return False
                if await self._send(status):
                    return True
            if tried < tries:
                await sleep(self._clock, pause_ns)
                pause_ns *= 2
        return False

    def forget(self, workload_id: str) -> None:
        """The workload is gone from the node: remember nothing of it."""
        self._sent.pop(workload_id, None)
        self._in_doubt_until_ns.pop(workload_id, None)
        lock = self._locks.get(workload_id)
        if lock is not None and not lock.locked():
            del self._locks[workload_id]

    def forget_sent(self) -> None:
        """Send every status again: the core may have come to another opinion."""
        self._sent.clear()

    async def _send(self, status: WorkloadStatus) -> bool:
        workload_id, now_ns = status.workload_id, self._clock.now_ns()
        known, until_ns = self._sent.get(workload_id, (None, 0))
        if known == status and now_ns < until_ns:
            self._telemetry.reports.labels("suppressed").inc()
            return True
        self._sent.pop(workload_id, None)
        was_taken = False
        try:
            await self._core.set_workloads_status([status])
            was_taken = True
        except CoreError as error:
            self._telemetry.reports.labels("failed").inc()
            _log.warning("status not reported", workload=workload_id, error=str(error))
            return False
        finally:
            if not was_taken:
                self._in_doubt_until_ns[workload_id] = self._clock.now_ns() + self._straggler_ns
        self._telemetry.reports.labels("sent").inc()
        if self._in_doubt_until_ns.get(workload_id, now_ns) <= now_ns:
            self._in_doubt_until_ns.pop(workload_id, None)
            life_ns = self._cache_ttl_ns * self._random.randint(875, 1125) // 1000
            self._sent[workload_id] = (status, now_ns + life_ns)
        return True

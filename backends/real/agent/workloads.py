"""The workloads of a node: which there are, how they are, and who has to know.

Theory of operation. Three things tell of a workload: an event, a listing, and a probe. An event is the newest there is
when it comes, so it gives the workload a new *epoch*, as does a listing that shows another state; a listing or a probe
that began before is void, and is dropped wherever it is found out: when the listing is read, when the probe has ended,
and once more before the core is told. Events may come again, or late; so what an event tells is looked at before it is
believed. A probe holds the workload's try-lock, so slow probes of one do not pile up.

Events may be lost with the stream that carries them. So everything is listed and checked again at an interval, ended
workloads too, and also whenever the stream broke off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from backends.real.agent.addresses import reported_networks
from backends.real.agent.core_client import WorkloadStatus
from backends.real.agent.health import Health, Prober
from backends.real.agent.identity import Identity, extension_of, identity_of
from backends.real.agent.reports import Reporter
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, sleep
from backends.real.engines.base import Engine, EngineError, Instance, InstanceBegan, InstanceEnded, NotFound
from backends.real.meta import Meta, meta_of

RECHECKS_NS = tuple(seconds * 1_000_000_000 for seconds in (1, 2, 4, 8))
"""The pauses between the checks of a workload that has begun, until it is healthy."""
CONCURRENT_CHECKS = 64
REPORT_TRIES = 3
NO_ENTRYPOINT = "-"
"""What is reported of a workload without one, because a core takes no status without an entrypoint."""

_log = structlog.get_logger()


class Companion(Protocol):
    """Somebody who follows workloads while they run: logs, metrics. Neither method may block."""

    def attach(self, instance: Instance, identity: Identity, *, is_new: bool) -> None:
        """It runs; ``is_new``: it has just begun. Called again for what is followed already; it may have begun anew."""

    def detach(self, workload_id: str) -> None:
        """It runs no more, or is none of ours. Called also for what is not followed."""


class _Tracked:
    """What is known of one workload."""

    def __init__(self, instance: Instance, health: Health) -> None:
        self.instance = instance
        self.identity = identity_of(instance)
        self.meta = _meta_of(instance)
        self.health = health
        self.epoch = 0
        self.seen = 0
        """The count of events when the last one came."""
        self.is_checking = False

    @property
    def is_running(self) -> bool:
        return self.instance.state in ("running", "paused")

    def update(self, instance: Instance) -> None:
        """Take it as it was found; what began anew has to show its health anew."""
        known = self.instance
        if _run_of(instance) != _run_of(known):
            self.health = Health.of_start()
            self.epoch += 1
        elif instance.state != known.state:
            self.epoch += 1
        if instance.labels != known.labels:
            self.meta = _meta_of(instance)
        if (instance.name, instance.labels) != (known.name, known.labels):
            self.identity = identity_of(instance)
        self.instance = instance


class Workloads:
    """Follows the workloads of one node and reports them. `run` is all there is to do."""

    def __init__(
        self,
        engine: Engine,
        prober: Prober,
        reporter: Reporter,
        clock: Clock,
        *,
        node: str,
        node_address: str,
        owns: Callable[[Instance], bool],
        interval_ns: int,
        retry_ns: int,
        telemetry: Telemetry,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._engine = engine
        self._prober = prober
        self._reporter = reporter
        self._clock = clock
        self._node = node
        self._node_address = node_address
        self._owns = owns
        self._interval_ns = interval_ns
        self._retry_ns = retry_ns
        self._telemetry = telemetry
        self._companions = companions
        self._tracked: dict[str, _Tracked] = {}
        self._events = 0
        self._has_swept = False
        self._slots = asyncio.Semaphore(CONCURRENT_CHECKS)
        self._following: dict[str, asyncio.Task[None]] = {}
        """What was begun by the last event of a workload and has not ended."""
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Follow everything until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                tasks.create_task(self._sweep())
        finally:
            for task in self._following.values():
                task.cancel()

    def check_soon(self) -> None:
        """Check and report everything now, not at the next interval."""
        self._wanted.set()

    async def check_all(self, *, tries: int = 1) -> None:
        """List everything, check it and report it. `EngineError` where the engine cannot list."""
        before = self._events
        found = {instance.workload_id: instance for instance in self._latest(await self._engine.instances())}
        for workload_id, tracked in list(self._tracked.items()):
            if workload_id not in found and tracked.seen <= before:
                self._forget(workload_id)
        for workload_id, instance in found.items():
            known = self._tracked.get(workload_id)
            if known is None:
                # What is there when the agent begins is taken as it is; what comes later has to show its health.
                health = Health.of_start() if self._has_swept else Health()
                self._tracked[workload_id] = known = _Tracked(instance, health)
                known.seen = before
            elif known.seen <= before:
                known.update(instance)
            self._follow(known, is_new=False)
        self._has_swept = True
        self._count()
        async with asyncio.TaskGroup() as tasks:
            for workload_id in found:
                if (known := self._tracked.get(workload_id)) is not None:
                    tasks.create_task(self._examine(known, tries=tries))

    async def _sweep(self) -> None:
        """Check everything again and again; at first until the engine answers."""
        tries = REPORT_TRIES
        while True:
            try:
                await self.check_all(tries=tries)
            except EngineError as error:
                _log.warning("workloads not listed", error=str(error))
                pause_ns = self._retry_ns if tries > 1 else self._interval_ns
            else:
                tries, pause_ns = 1, self._interval_ns
            await self._wait(pause_ns)

    async def _wait(self, pause_ns: int) -> None:
        """Wait for so long, or until somebody wants a check soon."""
        pause = asyncio.ensure_future(sleep(self._clock, pause_ns))
        wanted = asyncio.ensure_future(self._wanted.wait())
        try:
            await asyncio.wait((pause, wanted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            wanted.cancel()
            self._wanted.clear()

    async def _watch(self) -> None:
        while True:
            try:
                async for event in self._engine.watch():
                    self._on_event(event)
            except EngineError as error:
                _log.warning("the engine's events broke off", error=str(error))
            self._telemetry.event_streams_lost.inc()
            await sleep(self._clock, self._retry_ns)
            self.check_soon()

    def _on_event(self, event: InstanceBegan | InstanceEnded) -> None:
        self._events += 1
        tracked = self._tracked.get(event.workload_id)
        if tracked is not None:
            if event.generation < tracked.instance.generation:
                return
            tracked.epoch += 1
            tracked.seen = self._events
        if isinstance(event, InstanceBegan):
            self._begin(event.workload_id, self._follow_start(event, self._events))
        else:
            self._begin(event.workload_id, self._follow_end(event, self._events))

    def _begin(self, workload_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what an event asks for, in place of what an older one did."""
        older = self._following.get(workload_id)
        if older is not None:
            older.cancel()
        task = asyncio.create_task(work)
        self._following[workload_id] = task
        task.add_done_callback(lambda done: self._on_followed(workload_id, done))

    def _on_followed(self, workload_id: str, task: asyncio.Task[None]) -> None:
        if self._following.get(workload_id) is task:
            del self._following[workload_id]
        if not task.cancelled() and task.exception() is not None:
            self._telemetry.faults.labels("workloads").inc()
            _log.error("a fault of the agent", workload=workload_id, exc_info=task.exception())

    async def _follow_start(self, event: InstanceBegan, seen: int) -> None:
        tracked = await self._inspect(event, seen)
        if tracked is None:
            return
        epoch = tracked.epoch
        self._follow(tracked, is_new=True)
        for pause_ns in (0, *RECHECKS_NS):
            if pause_ns:
                await sleep(self._clock, pause_ns)
            if tracked.epoch != epoch or await self._examine(tracked, tries=REPORT_TRIES):
                return

    async def _follow_end(self, event: InstanceEnded, seen: int) -> None:
        found = await self._inspect(event, seen)
        tracked = found or self._tracked.get(event.workload_id)
        if tracked is None:
            return
        if found is None:
            # It is gone, or nobody can say: then the event is the last word.
            tracked.instance = msgspec.structs.replace(
                tracked.instance, generation=event.generation, state="exited", exit_code=event.exit_code, pid=0
            )
        self._follow(tracked, is_new=False)
        self._count()
        if tracked.is_running:
            await self._examine(tracked, tries=REPORT_TRIES)
        else:
            await self._report(tracked, healthy=False, tries=REPORT_TRIES)

    async def _inspect(self, event: InstanceBegan | InstanceEnded, seen: int) -> _Tracked | None:
        """Look at the instance of an event; None where it is not there any more, or is none of ours."""
        try:
            instance = await self._engine.inspect(event.workload_id, event.generation)
        except NotFound:
            return None
        except EngineError as error:
            _log.warning("workload not inspected", workload=event.workload_id, error=str(error))
            return None
        if not self._owns(instance):
            return None
        tracked = self._tracked.get(event.workload_id)
        if tracked is None:
            self._tracked[event.workload_id] = tracked = _Tracked(instance, Health.of_start())
            tracked.seen = seen
        else:
            tracked.update(instance)
        self._count()
        return tracked

    def _follow(self, tracked: _Tracked, *, is_new: bool) -> None:
        for companion in self._companions:
            if tracked.is_running:
                companion.attach(tracked.instance, tracked.identity, is_new=is_new)
            else:
                companion.detach(tracked.instance.workload_id)

    def _forget(self, workload_id: str) -> None:
        del self._tracked[workload_id]
        self._reporter.forget(workload_id)
        for companion in self._companions:
            companion.detach(workload_id)

    async def _examine(self, tracked: _Tracked, *, tries: int) -> bool:
        """Check a workload and report it; whether it is healthy.

        Where another check of it is under way, or an event came meanwhile, nothing is reported.
        """
        if tracked.is_checking:
            return False
        epoch = tracked.epoch
        tracked.is_checking = True
        try:
            async with self._slots:
                healthy = await self._probe(tracked)
        finally:
            tracked.is_checking = False
        if tracked.epoch != epoch:
            return False
        await self._report(tracked, healthy=healthy, tries=tries)
        return healthy

    async def _probe(self, tracked: _Tracked) -> bool:
        check = tracked.meta.health
        if not tracked.is_running or check is None:
            return tracked.is_running
        health = tracked.health
        fault = await self._prober.fault(tracked.instance, check)
        self._telemetry.checks.labels("failed" if fault else "passed").inc()
        before = health.result
        healthy = health.observe(not fault, check)
        if healthy != before:
            _log.info("health", workload=tracked.instance.workload_id, healthy=healthy, fault=fault)
        return healthy

    async def _report(self, tracked: _Tracked, *, healthy: bool, tries: int) -> None:
        epoch, instance = tracked.epoch, tracked.instance
        networks = reported_networks(instance, self._node_address) if tracked.is_running else {}
        status = WorkloadStatus(
            workload_id=instance.workload_id,
            running=tracked.is_running,
            healthy=healthy,
            networks=networks,
            extension=extension_of(instance),
            app=tracked.identity.app,
            entrypoint=tracked.identity.entrypoint or NO_ENTRYPOINT,
            node=self._node,
        )
        await self._reporter.report(status, is_current=lambda: tracked.epoch == epoch, tries=tries)

    def _latest(self, instances: Iterable[Instance]) -> list[Instance]:
        """Ours, of each workload the latest generation."""
        latest: dict[str, Instance] = {}
        for instance in instances:
            known = latest.get(instance.workload_id)
            if self._owns(instance) and (known is None or instance.generation > known.generation):
                latest[instance.workload_id] = instance
        return list(latest.values())

    def _count(self) -> None:
        running = sum(tracked.is_running for tracked in self._tracked.values())
        self._telemetry.workloads.labels("running").set(running)
        self._telemetry.workloads.labels("ended").set(len(self._tracked) - running)


def _run_of(instance: Instance) -> tuple[str, int]:
    return instance.engine_id, instance.started_at_ns


def _meta_of(instance: Instance) -> Meta:
    try:
        return meta_of(instance.labels)
    except ValueError as error:
        _log.warning("label not understood: the workload counts as healthy", workload=instance.name, error=str(error))
        return Meta()

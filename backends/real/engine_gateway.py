"""Commands to the engines of nodes, and completions back.

Theory of operation. Every workload has a queue of its own, so what is commanded for it is done in that order; a node
does at most ``per_node`` things at a time. What an engine refuses is a completion. An engine that does not answer says
nothing about what it did: the command is tried again, with growing pauses, until it answers, or until something newer
was commanded for the workload, or the node is gone for the core.

One task a node follows what ends there by itself; what it misses, the next reconciliation finds. While a stop is under
way the end of that generation is the stop's, and while a start is, the start's: a hook that fails ends an instance too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import structlog

from backends.real.clock import Clock, sleep
from backends.real.engines.base import Engine, EngineError, Instance, InstanceEnded, InstanceSpec, Unreachable
from backends.real.gateway import Found, Report, Survey
from backends.real.hook_output import Collector, HookOutput
from backends.real.template import Template
from scheduler.commands import (
    AnyCommand,
    PublishResult,
    RemapWorkload,
    StartWorkload,
    StopWorkload,
    UpdateWorkload,
)
from scheduler.events import (
    WorkloadExited,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)

SECOND_NS = 1_000_000_000
RETRY_FIRST_NS = SECOND_NS // 2
RETRY_LONGEST_NS = 30 * SECOND_NS
SURVEY_TIMEOUT_S = 20.0

EngineCommand = StartWorkload | StopWorkload | UpdateWorkload | RemapWorkload
Templates = Callable[[str], Awaitable[Template]]
"""Finds a template by its digest, "" for one that says nothing; `EngineError` where there is none."""
Labels = Callable[[StartWorkload], dict[str, str]]
"""What labels an instance gets besides its template's."""

_log = structlog.get_logger("eru.engines")


class EngineGateway:
    """All engines of one core, as `backends.real.gateway.NodeGateway`."""

    def __init__(self, clock: Clock, templates: Templates, labels: Labels, *, per_node: int = 16) -> None:
        self._clock = clock
        self._templates = templates
        self._labels = labels
        self._per_node = per_node
        self._report: Report = lambda event: None
        self._engines: dict[str, Engine] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._queues: dict[str, deque[EngineCommand]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._ended_in_start: set[tuple[str, int]] = set()
        self.on_gap: Callable[[], object] = lambda: None
        """Called when something may have ended on a node while nobody watched."""
        self.on_hook_output: Callable[[str, HookOutput], object] = lambda workload_id, output: None
        """Called with a workload and what its hooks printed, before the completion of what ran them is reported."""
        self.is_forced: Callable[[str], bool] = lambda workload_id: False
        """Asked whenever a workload is to be stopped: whether it is killed at once, and its hooks are left out."""
        self.failures: dict[str, int] = {}
        """How often an engine refused or did not answer, by kind of command."""

    # -- nodes --------------------------------------------------------------------------------------------------------

    def set_engine(self, node_id: str, engine: Engine) -> None:
        """From now on this engine serves the node; one that served it before is let go."""
        self.drop_engine(node_id)
        self._engines[node_id] = engine
        self._slots[node_id] = asyncio.Semaphore(self._per_node)
        if "watch" in engine.capabilities:
            self._watchers[node_id] = asyncio.create_task(self._watch(node_id, engine))

    def drop_engine(self, node_id: str) -> None:
        """Nothing is commanded on the node any more."""
        watcher = self._watchers.pop(node_id, None)
        if watcher is not None:
            watcher.cancel()
        self._slots.pop(node_id, None)
        self._engines.pop(node_id, None)

    def engine(self, node_id: str) -> Engine | None:
        """The engine of a node."""
        return self._engines.get(node_id)

    @property
    def open_commands(self) -> int:
        """How many commands have not been answered."""
        return sum(len(queue) for queue in self._queues.values())

    async def close(self) -> None:
        """Stop commanding and watching. What was begun at an engine goes on there."""
        tasks = [*self._watchers.values(), *self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watchers.clear()
        for engine in self._engines.values():
            with contextlib.suppress(EngineError):
                await engine.close()
        self._engines.clear()

    # -- Gateway ------------------------------------------------------------------------------------------------------

    def connect(self, report: Report) -> None:
        """See `Gateway.connect`."""
        self._report = report

    def execute(self, commands: Iterable[AnyCommand]) -> None:
        """See `Gateway.execute`."""
        for command in commands:
            if isinstance(command, PublishResult):
                continue
            queue = self._queues.setdefault(command.workload_id, deque())
            queue.append(command)
            if command.workload_id not in self._workers:
                task = asyncio.create_task(self._work_off(command.workload_id, queue))
                self._workers[command.workload_id] = task

    async def survey(self) -> Survey:
        """See `Gateway.survey`."""
        nodes = list(self._engines.items())
        answers = await asyncio.gather(*(self._ask(engine) for _, engine in nodes))
        found = {
            node_id: {(instance.workload_id, instance.generation): _found(instance) for instance in answer}
            for (node_id, _), answer in zip(nodes, answers, strict=True)
            if answer is not None
        }
        for node_id, instances in found.items():
            for key in [key for key, instance in instances.items() if instance is None]:
                del instances[key]
            self._overlay(node_id, instances)
        return Survey(found)  # type: ignore[arg-type]

    async def _ask(self, engine: Engine) -> list[Instance] | None:
        try:
            return await asyncio.wait_for(engine.instances(), SURVEY_TIMEOUT_S)
        except (EngineError, TimeoutError):
            return None

    def _overlay(self, node_id: str, instances: dict[tuple[str, int], Found | None]) -> None:
        """What is under way is on its way, however far it has come."""
        for queue in self._queues.values():
            for command in queue:
                if command.node_id != node_id:
                    continue
                key = (command.workload_id, command.generation)
                if isinstance(command, StartWorkload):
                    instances[key] = Found("starting")
                elif isinstance(command, StopWorkload):
                    instances[key] = Found("stopping")
                elif isinstance(command, UpdateWorkload):
                    known = instances.get(key)
                    if known is not None:
                        instances[key] = known._replace(updating=command.revision)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def _work_off(self, workload_id: str, queue: deque[EngineCommand]) -> None:
        """Carry out what is queued for a workload, in order; the first stays in the queue while it is under way."""
        try:
            while queue:
                await self._persist(queue)
                queue.popleft()
        finally:
            self._ended_in_start = {key for key in self._ended_in_start if key[0] != workload_id}
            self._workers.pop(workload_id, None)
            self._queues.pop(workload_id, None)

    async def _persist(self, queue: deque[EngineCommand]) -> None:
        """Carry out the first command, again and again while its engine does not answer and nothing newer waits."""
        command, pause_ns = queue[0], RETRY_FIRST_NS
        while True:
            engine, slots = self._engines.get(command.node_id), self._slots.get(command.node_id)
            if engine is None or slots is None:
                return
            try:
                async with slots:
                    await self._carry_out(engine, command)
                return
            except EngineError as error:
                self._note_failure(command, error)
            except asyncio.CancelledError:
                raise
            except Exception:
                self._note_failure(command, None)
                _log.exception("engine adapter failed", node=command.node_id, command=type(command).__name__)
            if len(queue) > 1 and not isinstance(command, StopWorkload):
                return
            await sleep(self._clock, pause_ns)
            pause_ns = min(2 * pause_ns, RETRY_LONGEST_NS)

    async def _carry_out(self, engine: Engine, command: EngineCommand) -> None:
        """Carry out one command and report its completion; EngineError where it has to be tried again."""
        if isinstance(command, StartWorkload):
            await self._start(engine, command)
        elif isinstance(command, StopWorkload):
            printed = Collector()
            await engine.stop(
                command.workload_id,
                command.generation,
                keep=command.reason == "hold",
                grace_ns=0 if self.is_forced(command.workload_id) else None,
                hook_output=printed,
            )
            self.on_hook_output(command.workload_id, HookOutput(stop=printed.text()))
            self._report(WorkloadStopped(workload_id=command.workload_id, generation=command.generation))
        elif isinstance(command, UpdateWorkload):
            await self._update(engine, command)
        else:
            await engine.update(command.workload_id, command.generation, command.engine_args)

    async def _start(self, engine: Engine, command: StartWorkload) -> None:
        workload_id, generation = command.workload_id, command.generation
        printed = Collector()
        try:
            spec = InstanceSpec(
                workload_id=workload_id,
                generation=generation,
                node_id=command.node_id,
                image=command.image,
                template=await self._templates(command.template),
                engine_args=command.engine_args or {},
                labels=self._labels(command),
            )
            self._ended_in_start.discard((workload_id, generation))
            instance = await engine.start(spec, hook_output=printed)
            while instance.state != "exited" and (workload_id, generation) in self._ended_in_start:
                self._ended_in_start.discard((workload_id, generation))
                instance = await engine.inspect(workload_id, generation)
        except Unreachable:
            raise
        except EngineError as error:
            self._note_failure(command, error)
            self.on_hook_output(workload_id, HookOutput(start=printed.text()))
            self._report(WorkloadStartFailed(workload_id=workload_id, generation=generation, reason=_one_line(error)))
            return
        self.on_hook_output(workload_id, HookOutput(start=printed.text()))
        self._report(WorkloadStarted(workload_id=workload_id, generation=generation))
        if instance.state == "exited":
            self._report(
                WorkloadExited(workload_id=workload_id, generation=generation, exit_code=instance.exit_code or 0)
            )

    async def _update(self, engine: Engine, command: UpdateWorkload) -> None:
        workload_id, generation, revision = command.workload_id, command.generation, command.revision
        try:
            await engine.update(workload_id, generation, command.engine_args or {}, whole=True)
        except Unreachable:
            raise
        except EngineError as error:
            self._note_failure(command, error)
            self._report(
                WorkloadUpdateFailed(
                    workload_id=workload_id, generation=generation, revision=revision, reason=_one_line(error)
                )
            )
            return
        self._report(WorkloadUpdated(workload_id=workload_id, generation=generation, revision=revision))

    def _note_failure(self, command: EngineCommand, error: EngineError | None) -> None:
        kind = type(command).__name__
        self.failures[kind] = self.failures.get(kind, 0) + 1
        if error is not None:
            _log.warning(
                "engine refused" if not isinstance(error, Unreachable) else "engine does not answer",
                node=command.node_id,
                workload=command.workload_id,
                command=kind,
                error=_one_line(error),
            )

    # -- what ends by itself ------------------------------------------------------------------------------------------

    async def _watch(self, node_id: str, engine: Engine) -> None:
        pause_ns = RETRY_FIRST_NS
        while True:
            try:
                async for event in engine.watch():
                    pause_ns = RETRY_FIRST_NS
                    if isinstance(event, InstanceEnded):
                        self._ended(event.workload_id, event.generation, event.exit_code)
            except EngineError:
                pass
            except asyncio.CancelledError:
                raise
            except Exception:
                _log.exception("engine adapter failed", node=node_id, command="watch")
            await sleep(self._clock, pause_ns)
            pause_ns = min(2 * pause_ns, RETRY_LONGEST_NS)
            self.on_gap()

    def _ended(self, workload_id: str, generation: int, exit_code: int) -> None:
        for command in self._queues.get(workload_id, ()):
            if isinstance(command, StopWorkload) and command.generation == generation:
                return
            if isinstance(command, StartWorkload) and command.generation == generation:
                self._ended_in_start.add((workload_id, generation))
                return
        self._report(WorkloadExited(workload_id=workload_id, generation=generation, exit_code=exit_code))


def _found(instance: Instance) -> Found | None:
    """What was made and never started is not there yet: starting it again starts it."""
    if instance.state == "created":
        return None
    return Found("exited", instance.exit_code or 0) if instance.state == "exited" else Found("running")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__

"""The simulated engine: what a machine would answer, and when.

`EngineModel` is pure data with counter-based randomness: the same command for the same attempt always takes equally
long and fails equally. `SimulatedEngine` adds the little that machines remember: what runs where, which images they
have, and which of them are down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from scheduler.commands import (
    AnyCommand,
    PublishResult,
    RemapWorkload,
    StartWorkload,
    StopWorkload,
    UpdateWorkload,
)
from scheduler.events import (
    AnyEvent,
    NodeLost,
    NodeReturned,
    RemovalRequested,
    WorkloadExited,
    WorkloadHealthChanged,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.ports import Completion


class EngineModel(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies and faults of all machines. Times in nanoseconds, ratios from 0 to 1.

    A start takes ``start_ns``, and before that ``image_pull_ns`` if the node does not have the image; a node keeps the
    ``images_per_node_count`` images that it used last. A stop takes ``stop_ns``, an update of what a workload may use
    ``update_ns``. ``jitter_ratio`` j multiplies each by a uniform draw from [1-j, 1+j]. A node is slow with probability
    ``slow_node_ratio``; then starts, stops, updates and services take ``slow_node_factor`` times as long.
    A start fails with ``start_failure_ratio``, an update with ``update_failure_ratio``. With ``healthy_ns``, a workload
    is reported healthy so long after its start. A completion is lost with ``lost_completion_ratio``: a lost answer
    comes when the core asks again; a lost exit is reported ``report_interval_ns`` later, with the node's next status
    report. A completion comes twice with ``duplicate_completion_ratio``.
    """

    start_ns: int = 0
    stop_ns: int = 0
    update_ns: int = 0
    healthy_ns: int | None = None
    image_pull_ns: int = 0
    images_per_node_count: int = 100
    jitter_ratio: float = 0.0
    start_failure_ratio: float = 0.0
    update_failure_ratio: float = 0.0
    lost_completion_ratio: float = 0.0
    duplicate_completion_ratio: float = 0.0
    slow_node_ratio: float = 0.0
    slow_node_factor: float = 4.0
    report_interval_ns: int = 60_000_000_000
    seed: int = 0

    def draw(self, *key: object) -> float:
        """A uniform number in [0, 1) that depends on the seed and ``key`` alone."""
        text = "\0".join(map(str, (self.seed, *key)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / (1 << 56)

    def is_slow(self, node_id: str) -> bool:
        """Whether the node is one of the slow ones."""
        return self.slow_node_ratio > 0 and self.draw("slow", node_id) < self.slow_node_ratio

    def duration_ns(self, mean_ns: int, node_id: str, *key: object) -> int:
        """How long something takes on a node."""
        duration = float(mean_ns)
        if self.jitter_ratio and mean_ns:
            duration *= 1 + self.jitter_ratio * (2 * self.draw(*key) - 1)
        if self.is_slow(node_id):
            duration *= self.slow_node_factor
        return round(duration) if duration != mean_ns else mean_ns


class Service(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a workload does when it runs: for ``duration_ns`` (None: past the end of time), then exit."""

    duration_ns: int | None
    exit_code: int = 0


ENDLESS = Service(None)
_FAILED = -1


class Instance(msgspec.Struct, gc=False, array_like=True):
    """One generation of a workload on a node.

    ``boot`` tells which life of the node it belongs to, `_FAILED` that it did not start; ``starts`` counts attempts.
    """

    generation: int
    node_id: str
    boot: int
    starts: int = 0


class EngineState(msgspec.Struct, kw_only=True):
    """What machines remember. ``images`` of a node are in the order in which they were used."""

    services: dict[str, Service]
    running: dict[str, Instance]
    boots: dict[str, int]
    down: list[str]
    images: dict[str, list[str]]
    stop_attempts: dict[tuple[str, int], int]
    answering: dict[tuple[str, int], tuple[str, int]]
    updating: dict[tuple[str, int, int], tuple[str, int]]
    update_attempts: dict[tuple[str, int, int], int]


class SimulatedEngine:
    """All machines of a simulated cluster. Implements `scheduler.ports.Engine`.

    The driver hands it commands, and shows it every event before the core gets it: the crash of a machine ends what ran
    there, and a completion that was due does not happen if its workload was stopped or its machine went down before.
    """

    def __init__(self, model: EngineModel | None = None) -> None:
        self.model = model or EngineModel()
        self._services: dict[str, Service] = {}
        self._running: dict[str, Instance] = {}
        self._boots: dict[str, int] = {}
        self._down: dict[str, None] = {}
        self._images: dict[str, dict[str, None]] = {}
        self._stop_attempts: dict[tuple[str, int], int] = {}
        self._answering: dict[tuple[str, int], tuple[str, int]] = {}
        model = self.model
        self._updating: dict[tuple[str, int, int], tuple[str, int]] = {}
        self._update_attempts: dict[tuple[str, int, int], int] = {}
        self._is_ideal = (
            not (model.jitter_ratio or model.start_failure_ratio or model.lost_completion_ratio)
            and not (model.duplicate_completion_ratio or model.slow_node_ratio or model.image_pull_ns)
            and model.healthy_ns is None
        )

    # -- what the driver tells ------------------------------------------------------------------------------------

    def expect(self, workload_id: str, service: Service) -> None:
        """From now on, this is what the workload does whenever it is started."""
        self._services[workload_id] = service

    def forget(self, workload_id: str) -> None:
        """The workload will not be started any more."""
        self._services.pop(workload_id, None)
        instance = self._running.get(workload_id)
        if instance is not None and instance.boot == _FAILED:
            del self._running[workload_id]

    def adopt(self, workload_id: str, node_id: str, generation: int = 1) -> Sequence[Completion]:
        """The workload runs already, as this generation; return how it will end."""
        instance = Instance(generation, node_id, self._boots.get(node_id, 0))
        self._running[workload_id] = instance
        return self._exit(workload_id, instance, 0)

    # -- what anybody may ask -----------------------------------------------------------------------------------------

    def instances(self) -> Iterator[tuple[str, str, int]]:
        """Yield node, workload and generation of what has been started on machines that are up, and has not ended."""
        for workload_id, instance in self._running.items():
            if instance.boot == self._boots.get(instance.node_id, 0) and instance.node_id not in self._down:
                yield instance.node_id, workload_id, instance.generation

    def node_of(self, workload_id: str, generation: int) -> str:
        """The machine that will still answer a stop or a failed start, or that runs the instance; "" for none."""
        answering = self._answering.get((workload_id, generation))
        if answering is not None:
            return answering[0]
        instance = self._running.get(workload_id)
        return instance.node_id if instance is not None and instance.generation == generation else ""

    def is_down(self, node_id: str) -> bool:
        """Whether the machine does not answer."""
        return node_id in self._down

    # -- commands -------------------------------------------------------------------------------------------------

    def execute(self, command: AnyCommand) -> Sequence[Completion]:
        """Carry out one command; return what will be reported, and when."""
        if type(command) is StartWorkload:
            return self._start(command)
        if type(command) is StopWorkload:
            return self._stop(command)
        if type(command) is UpdateWorkload:
            return self._update(command)
        if type(command) is RemapWorkload:
            return ()
        assert type(command) is PublishResult
        if command.outcome in ("rejected", "lost", "failed", "dissociated"):
            self.forget(command.subject)
        return ()

    def _start(self, command: StartWorkload) -> Sequence[Completion]:
        workload_id, generation, node_id = command.workload_id, command.generation, command.node_id
        if node_id in self._down:
            return ()
        instance = self._running.get(workload_id)
        boot = self._boots.get(node_id, 0)
        same = instance is not None and instance.generation == generation
        again = same and instance is not None and instance.boot == boot
        if not again:
            starts = instance.starts if same and instance is not None else 0
            self._running[workload_id] = instance = Instance(generation, node_id, boot, starts)
        assert instance is not None
        started = WorkloadStarted(workload_id=workload_id, generation=generation)
        if self._is_ideal:
            delay_ns = self.model.start_ns
            if again:
                return (Completion(delay_ns, started),)
            service = self._services.get(workload_id, ENDLESS)
            if service.duration_ns is None:
                return (Completion(delay_ns, started),)
            return (
                Completion(delay_ns, started),
                Completion(
                    delay_ns + service.duration_ns,
                    WorkloadExited(workload_id=workload_id, generation=generation, exit_code=service.exit_code),
                ),
            )
        instance.starts += 1
        key = (workload_id, generation, instance.starts)
        model = self.model
        delay_ns = model.duration_ns(model.start_ns, node_id, "start", *key)
        if command.image and model.image_pull_ns and not self._has_image(node_id, command.image):
            delay_ns += model.duration_ns(model.image_pull_ns, node_id, "pull", *key)
        if not again and model.draw("fail", *key) < model.start_failure_ratio:
            instance.boot = _FAILED
            self._answering[workload_id, generation] = (node_id, boot)
            failed = WorkloadStartFailed(workload_id=workload_id, generation=generation, reason="injected fault")
            return self._unless_lost(Completion(delay_ns, failed), *key)
        answer = self._unless_lost(Completion(delay_ns, started), *key)
        if model.healthy_ns is not None:
            healthy = WorkloadHealthChanged(workload_id=workload_id, generation=generation, healthy=True)
            answer = (*answer, Completion(delay_ns + model.healthy_ns, healthy))
        return answer if again else (*answer, *self._exit(workload_id, instance, delay_ns))

    def _has_image(self, node_id: str, image: str) -> bool:
        """Whether the node has the image; from now on it does. It keeps those that were used last."""
        images = self._images.setdefault(node_id, {})
        known = image in images
        if known:
            del images[image]
        images[image] = None
        if len(images) > self.model.images_per_node_count:
            del images[next(iter(images))]
        return known

    def _exit(self, workload_id: str, instance: Instance, delay_ns: int) -> Sequence[Completion]:
        service = self._services.get(workload_id, ENDLESS)
        if service.duration_ns is None:
            return ()
        exited = WorkloadExited(workload_id=workload_id, generation=instance.generation, exit_code=service.exit_code)
        duration_ns = service.duration_ns
        if self.model.is_slow(instance.node_id):
            duration_ns = round(duration_ns * self.model.slow_node_factor)
        delay_ns += duration_ns
        lost_ratio = self.model.lost_completion_ratio
        if lost_ratio and self.model.draw("lost", workload_id, instance.generation, "exit") < lost_ratio:
            delay_ns += self.model.report_interval_ns
        return (Completion(delay_ns, exited),)

    def _stop(self, command: StopWorkload) -> Sequence[Completion]:
        workload_id, generation, node_id = command.workload_id, command.generation, command.node_id
        if node_id in self._down:
            return ()
        instance = self._running.get(workload_id)
        if instance is not None and instance.generation == generation:
            del self._running[workload_id]
        if command.reason == "kill":
            self.forget(workload_id)
        stopped = WorkloadStopped(workload_id=workload_id, generation=generation)
        self._answering[workload_id, generation] = (node_id, self._boots.get(node_id, 0))
        if self._is_ideal:
            return (Completion(self.model.stop_ns, stopped),)
        attempt = self._stop_attempts.get((workload_id, generation), 0)
        self._stop_attempts[workload_id, generation] = attempt + 1
        key = (workload_id, generation, "stop", attempt)
        return self._unless_lost(Completion(self.model.duration_ns(self.model.stop_ns, node_id, *key), stopped), *key)

    def _update(self, command: UpdateWorkload) -> Sequence[Completion]:
        workload_id, generation, node_id = command.workload_id, command.generation, command.node_id
        if node_id in self._down:
            return ()
        update = (workload_id, generation, command.revision)
        self._updating[update] = (node_id, self._boots.get(node_id, 0))
        attempt = self._update_attempts[update] = self._update_attempts.get(update, 0) + 1
        key = (*update, "update", attempt)
        model = self.model
        delay_ns = model.duration_ns(model.update_ns, node_id, *key)
        done: AnyEvent = WorkloadUpdated(workload_id=workload_id, generation=generation, revision=command.revision)
        if model.update_failure_ratio and model.draw("fail", *key) < model.update_failure_ratio:
            done = WorkloadUpdateFailed(
                workload_id=workload_id, generation=generation, revision=command.revision, reason="injected fault"
            )
        return self._unless_lost(Completion(delay_ns, done), *key)

    def _unless_lost(self, completion: Completion, *key: object) -> Sequence[Completion]:
        return () if self.model.draw("lost", *key) < self.model.lost_completion_ratio else (completion,)

    # -- events ---------------------------------------------------------------------------------------------------

    def observe(self, event: AnyEvent) -> int:
        """Take notice of an event that is due; return how many times the core gets to see it."""
        kind = type(event)
        if kind is WorkloadsSubmitted:
            return 1
        if kind is WorkloadExited or kind is WorkloadStarted or kind is WorkloadHealthChanged:
            workload_id: str = event.workload_id  # type: ignore[union-attr]
            instance = self._running.get(workload_id)
            if instance is None or instance.generation != event.generation:  # type: ignore[union-attr]
                return 0
            if self._boots.get(instance.node_id, 0) != instance.boot:
                return 0
            if kind is WorkloadExited:
                del self._running[workload_id]
                self._services.pop(workload_id, None)
            return 1 if self._is_ideal else self._times(event)
        if isinstance(event, WorkloadStopped | WorkloadStartFailed):
            key = (event.workload_id, event.generation)
            node_id, boot = self._answering.pop(key, ("", 0))
            if self._boots.get(node_id, 0) != boot:
                return 0
            self._stop_attempts.pop(key, None)
            return self._times(event)
        if isinstance(event, WorkloadUpdated | WorkloadUpdateFailed):
            update = (event.workload_id, event.generation, event.revision)
            node_id, boot = self._updating.pop(update, ("", 0))
            if self._boots.get(node_id, 0) != boot:
                return 0
            self._update_attempts.pop(update, None)
            return self._times(event)
        if isinstance(event, NodeLost):
            self._down[event.node_id] = None
            self._boots[event.node_id] = self._boots.get(event.node_id, 0) + 1
        elif isinstance(event, NodeReturned):
            self._down.pop(event.node_id, None)
        elif isinstance(event, RemovalRequested):
            self.forget(event.workload_id)
        return 1

    def _times(self, event: AnyEvent) -> int:
        ratio = self.model.duplicate_completion_ratio
        return 2 if ratio and self.model.draw("twice", event) < ratio else 1

    # -- state ----------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return what the machines remember as MessagePack; the model is not part of it."""
        state = EngineState(
            services=self._services,
            running=self._running,
            boots=self._boots,
            down=list(self._down),
            images={node_id: list(images) for node_id, images in self._images.items()},
            stop_attempts=self._stop_attempts,
            answering=self._answering,
            updating=self._updating,
            update_attempts=self._update_attempts,
        )
        return msgspec.msgpack.encode(state)

    def load(self, data: bytes) -> None:
        """Take over what an engine of the same model dumped. msgspec.DecodeError for other data."""
        state = msgspec.msgpack.decode(data, type=EngineState)
        self._services = state.services
        self._running = state.running
        self._boots = state.boots
        self._down = dict.fromkeys(state.down)
        self._images = {node_id: dict.fromkeys(images) for node_id, images in state.images.items()}
        self._stop_attempts = state.stop_attempts
        self._answering = state.answering
        self._updating = state.updating
        self._update_attempts = state.update_attempts

"""The SimPy driver: SimPy carries time, the core decides, the simulated engine answers.

Theory of operation. The driver owns the loop: it lets SimPy deliver everything of one instant into an inbox, steps
the core once with it, journals the batch, and hands the commands to the engine, whose completions become SimPy
timeouts. A completion without delay is due at the same instant and so makes the next batch of that instant. What is
pending is data (`pending`), never the state of a generator.

Whatever is due at one instant is delivered in the order in which it was scheduled, and all of it is numbered in that
order. So a driver that loads what another one dumped schedules the same things again by number, reads its feed up to
where the other was, and goes on as that one would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Protocol

import msgspec
import simpy

from backends.sim.engine import Service
from scheduler.commands import AnyCommand
from scheduler.core import Core
from scheduler.events import AnyEvent, TimerFired, WorkloadAdopted, WorkloadsSubmitted
from scheduler.journal import JournalWriter
from scheduler.ports import Completion


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An exogenous event that will happen, and for work what it does when it runs: all copies, or each by its name."""

    at_ns: int
    event: AnyEvent
    service: Service | Mapping[str, Service] | None = None


Observer = Callable[[int, Sequence[AnyEvent], Sequence[AnyCommand]], None]
"""Called after every step with the batch that was applied and the commands that followed."""


class Machines(Protocol):
    """What the driver asks of an engine besides carrying out commands; `backends.sim.engine` says what each means."""

    def execute(self, command: AnyCommand) -> Sequence[Completion]:
        """Carry out one command; return what will be reported, and when."""

    def observe(self, event: AnyEvent) -> int:
        """Take notice of an event that is due; return how many times the core gets to see it."""

    def expect(self, workload_id: str, service: Service) -> None:
        """From now on, this is what the workload does whenever it is started."""

    def adopt(self, workload_id: str, node_id: str, generation: int = 1) -> Sequence[Completion]:
        """The workload runs already, as this generation; return how it will end."""


class DriverState(msgspec.Struct, kw_only=True):
    """What a driver has before it between two steps.

    ``sequence`` is the next number. ``pending`` has (number, due, event), ``alarms`` (number, due). ``arrived`` counts
    the arrivals that have happened; ``arrival`` is (number, due, digest) of the next one.
    """

    at_ns: int
    sequence: int
    pending: list[tuple[int, int, AnyEvent]]
    alarms: list[tuple[int, int]]
    alarm_ns: int | None
    arrived: int
    arrival: tuple[int, int, bytes] | None


class SimDriver:
    """Runs one core in simulated time. The core, the engine and the journal are the caller's."""

    def __init__(
        self,
        core: Core,
        engine: Machines,
        journal: JournalWriter,
        *,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.core = core
        self.engine = engine
        self.journal = journal
        self.pending: dict[int, tuple[int, AnyEvent]] = {}
        """By sequence number: when what is due. Later than now, or at this instant and not yet delivered."""
        self.observers = list(observers)
        """Called after every step, in order, when everything that follows from the step is pending."""
        self._environment = simpy.Environment()
        self._timeout = self._environment.timeout
        self._due_callback = self._on_due
        self._inbox: list[AnyEvent] = []
        self._feed: Iterator[Arrival] = iter(())
        self._next_arrival: Arrival | None = None
        self._arrival_sequence = 0
        self._arrived = 0
        self._loaded: DriverState | None = None
        self._sequence = 0
        self._alarms: dict[int, int] = {}
        self._alarm_ns: float = math.inf

    def run(self, feed: Iterable[Arrival], horizon_ns: int | None = None) -> int:
        """Run until nothing is left to happen, or through ``horizon_ns``; return the instant of the end.

        Without a horizon that is the last step's.

        ``feed`` yields arrivals in order of time, and is read only as far as time has come. Within an instant they keep
        their order. A driver that has loaded a state needs the feed from its beginning, and ValueError says that it is
        not the same up to there.
        """
        self._feed = iter(feed)
        if self._loaded is None:
            self._next_arrival = next(self._feed, None)
            self._arm_arrival()
        else:
            self._find_arrival(self._loaded)
        peek, step = self._environment.peek, self._environment.step
        last_ns = float("inf") if horizon_ns is None else horizon_ns
        at_ns, due = 0, peek()
        while due <= last_ns and due != float("inf"):
            at_ns = int(due)
            step()
            due = peek()
            if due != at_ns and self._inbox:
                self._step(at_ns)
                due = peek()
        return self.core.at_ns if horizon_ns is None else horizon_ns

    def _step(self, at_ns: int) -> None:
        events, self._inbox = self._inbox, []
        commands = self.core.step(at_ns, events)
        self.journal.append(at_ns, events, commands)
        execute = self.engine.execute
        for command in commands:
            for completion in execute(command):
                self._schedule(at_ns, completion)
        if self.core.wakeup_bound_ns < self._alarm_ns:
            self._arm_alarm(at_ns)
        for observer in self.observers:
            observer(at_ns, events, commands)

    def _schedule(self, at_ns: int, completion: Completion) -> None:
        sequence = self._sequence
        self._sequence = sequence + 1
        delay_ns = completion.delay_ns
        self.pending[sequence] = (at_ns + delay_ns, completion.event)
        self._timeout(delay_ns, sequence).callbacks.append(self._due_callback)

    def _on_due(self, timeout: simpy.Event) -> None:
        _, event = self.pending.pop(timeout.value)  # type: ignore[arg-type]
        times = self.engine.observe(event)
        if times:
            self._inbox.append(event)
            if times > 1:
                self._inbox.extend([event] * (times - 1))

    def _arm_alarm(self, at_ns: int) -> None:
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is not None and wakeup_ns < self._alarm_ns:
            wakeup_ns = max(wakeup_ns, at_ns)
            self._alarm_ns = wakeup_ns
            self._alarms[self._sequence] = wakeup_ns
            self._timeout(wakeup_ns - at_ns, self._sequence).callbacks.append(self._on_alarm)
            self._sequence += 1

    def _on_alarm(self, timeout: simpy.Event) -> None:
        del self._alarms[timeout.value]  # type: ignore[arg-type]
        self._alarm_ns = min(self._alarms.values(), default=math.inf)
        at_ns = int(self._environment.now)
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is not None and wakeup_ns <= at_ns:
            self._inbox.append(TimerFired())
        else:
            self._arm_alarm(at_ns)

    @property
    def now_ns(self) -> int:
        """Where simulated time is."""
        return int(self._environment.now)

    # -- arrivals ---------------------------------------------------------------------------------------------------

    def _arm_arrival(self) -> None:
        if self._next_arrival is not None:
            self._arrival_sequence = self._sequence
            self._sequence += 1
            delay_ns = self._next_arrival.at_ns - int(self._environment.now)
            self._environment.timeout(delay_ns).callbacks.append(self._on_arrival)

    def _on_arrival(self, _: simpy.Event) -> None:
        now = int(self._environment.now)
        arrival, arrived = self._next_arrival, 0
        while arrival is not None and arrival.at_ns == now:
            event = arrival.event
            if arrival.service is not None:
                self._expect(event, arrival.service)
            self.engine.observe(event)
            self._inbox.append(event)
            arrived += 1
            arrival = next(self._feed, None)
        self._arrived += arrived
        self._next_arrival = arrival
        self._arm_arrival()

    def _expect(self, event: AnyEvent, service: Service | Mapping[str, Service]) -> None:
        if isinstance(service, Mapping):
            for workload_id, own in service.items():
                self.engine.expect(workload_id, own)
        elif isinstance(event, WorkloadsSubmitted):
            if event.count == 1:
                self.engine.expect(event.workload_id, service)
            else:
                for copy in range(event.count):
                    self.engine.expect(f"{event.workload_id}/{copy}", service)
        elif isinstance(event, WorkloadAdopted):
            self.engine.expect(event.spec.workload_id, service)
            for completion in self.engine.adopt(event.spec.workload_id, event.node_id, event.generation):
                self._schedule(int(self._environment.now), completion)

    # -- state ------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return what is before the driver as MessagePack. For observers only: no other time is between two steps."""
        arrival = self._next_arrival
        state = DriverState(
            at_ns=int(self._environment.now),
            sequence=self._sequence,
            pending=[(number, at_ns, event) for number, (at_ns, event) in self.pending.items()],
            alarms=list(self._alarms.items()),
            alarm_ns=None if self._alarm_ns == math.inf else int(self._alarm_ns),
            arrived=self._arrived,
            arrival=None if arrival is None else (self._arrival_sequence, arrival.at_ns, _digest(arrival)),
        )
        return msgspec.msgpack.encode(state)

    def take_over(self, at_ns: int, pending: Iterable[tuple[int, AnyEvent]]) -> None:
        """Begin at an instant, as the driver of a core that came back: ``pending`` is what machines will report still,
        in order, each with its instant; what has been due meanwhile is due at once. This driver must not have run.
        """
        self._environment = simpy.Environment(at_ns)
        self._timeout = self._environment.timeout
        for due_ns, event in pending:
            self._schedule(at_ns, Completion(max(0, due_ns - at_ns), event))
        self._arm_alarm(at_ns)

    def load(self, data: bytes) -> None:
        """Take over what another driver dumped; this one must not have run. msgspec.DecodeError for other data."""
        state = msgspec.msgpack.decode(data, type=DriverState)
        self._environment = simpy.Environment(state.at_ns)
        self._timeout = self._environment.timeout
        self._loaded = state if state.sequence else None  # with no number given, it had not begun
        self._sequence = state.sequence
        self._alarms = dict(state.alarms)
        self._alarm_ns = math.inf if state.alarm_ns is None else state.alarm_ns
        self.pending = {number: (at_ns, event) for number, at_ns, event in state.pending}
        due: list[tuple[int, int, Callable[[simpy.Event], None]]]
        due = [(number, at_ns, self._due_callback) for number, at_ns, _ in state.pending]
        due += [(number, at_ns, self._on_alarm) for number, at_ns in state.alarms]
        if state.arrival is not None:
            due.append((*state.arrival[:2], self._on_arrival))
        due.sort(key=lambda entry: entry[0])
        for number, at_ns, callback in due:
            self._timeout(at_ns - state.at_ns, number).callbacks.append(callback)

    def _find_arrival(self, state: DriverState) -> None:
        """Read the feed up to where the state was dumped."""
        self._arrived = sum(1 for _ in islice(self._feed, state.arrived))
        self._next_arrival = arrival = next(self._feed, None)
        expected = None if state.arrival is None else state.arrival[1:]
        found = None if arrival is None else (arrival.at_ns, _digest(arrival))
        if self._arrived != state.arrived or found != expected:
            raise ValueError(f"feed: what follows arrival {state.arrived} has changed; give the inputs of before")
        if state.arrival is not None:
            self._arrival_sequence = state.arrival[0]


def _digest(arrival: Arrival) -> bytes:
    return blake2b(msgspec.msgpack.encode(arrival), digest_size=16).digest()

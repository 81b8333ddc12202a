"""The SimPy driver: SimPy carries time, the core decides, the simulated engine answers.

Theory of operation. The driver owns the loop. What is pending is data: an agenda ordered by instant and then by the
number that everything gets when it is scheduled. Everything of one instant is delivered into an inbox, the core steps
once with it, the batch is journalled, and the commands are handed to the engine, whose completions go to the agenda. A
completion without delay is due at the same instant and so makes the next batch of that instant. Only where the next
instant is a later one does time pass, and that is one SimPy timeout.

The agenda is in order only where it has to be. Time is cut into spans; what is due in a later span lies there as it
came, and goes onto a heap when its span begins. So the heap stays small however much will happen one day. And what is
due at the very instant at which it is scheduled waits in line, as nothing can come before it.

So a driver that loads the agenda that another one dumped, and reads its feed up to where the other was, goes on as that
one would have.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from itertools import chain, islice
from operator import itemgetter
from typing import Final, Protocol

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


class _Own(Enum):
    """What the driver itself has on the agenda."""

    ARRIVAL = 1
    ALARM = 2


# A name is found faster than a member, and these are asked for with every entry.
_ARRIVAL: Final = _Own.ARRIVAL
_ALARM: Final = _Own.ALARM
_Entry = tuple[int, int, AnyEvent | _Own]
"""When what is due, its number, and what."""
_SPAN_BITS = 34
"""A span is 2^34 ns, about 17 s."""
_GARBAGE_THRESHOLDS = (50_000, 20, 20)
"""A run makes objects that stay, or go when nothing refers to them: searching them for cycles is mostly in vain."""


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
        self.observers = list(observers)
        """Called after every step, in order, when everything that follows from the step is pending."""
        self._environment = simpy.Environment()
        self.now_ns = 0
        """Where simulated time is. For reading only."""
        self._near: list[_Entry] = []
        """A heap of what is due before ``_near_ns``."""
        self._near_ns = 0
        self._later: dict[int, list[_Entry]] = {}
        """By span, what is due in it, in no order."""
        self._spans: list[int] = []
        """A heap of those spans."""
        self._due: deque[_Entry] = deque()
        """What was scheduled for the instant at which it was scheduled, in order: after all else of that instant."""
        self._feed: Iterator[Arrival] = iter(())
        self._next_arrival: Arrival | None = None
        self._arrived = 0
        self._loaded: DriverState | None = None
        self._sequence = 0
        self._alarms: dict[int, int] = {}
        self._alarm_ns: float = math.inf

    def pending(self) -> list[tuple[int, int, AnyEvent]]:
        """Number, instant and event of every completion that is due, in the order in which they were scheduled."""
        entries = chain(self._near, self._due, *self._later.values())
        completions = ((number, at_ns, event) for at_ns, number, event in entries if not isinstance(event, _Own))
        return sorted(completions, key=itemgetter(0))

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
        with _few_searches_for_garbage():
            self._go_on(math.inf if horizon_ns is None else horizon_ns)
        return self.core.at_ns if horizon_ns is None else horizon_ns

    def _go_on(self, last_ns: float) -> None:
        near, due, observe = self._near, self._due, self.engine.observe
        while due or near or self._begin_span():
            at_ns = self.now_ns if due else near[0][0]
            if at_ns > last_ns:
                break
            if at_ns > self.now_ns:
                self._let_pass(at_ns - self.now_ns)
            inbox: list[AnyEvent] = []
            while True:
                if near and near[0][0] == at_ns:
                    _, number, what = heappop(near)
                elif due:
                    _, number, what = due.popleft()
                else:
                    break
                if what is _ARRIVAL:
                    self._on_arrival(inbox)
                elif what is _ALARM:
                    self._on_alarm(number, inbox)
                elif (times := observe(what)) == 1:
                    inbox.append(what)
                else:
                    inbox += [what] * times
            if inbox:
                self._step(at_ns, inbox)

    def _let_pass(self, delay_ns: int) -> None:
        """Have SimPy go on to the next instant."""
        self._environment.timeout(delay_ns)
        self._environment.step()
        self.now_ns += delay_ns

    def _step(self, at_ns: int, events: list[AnyEvent]) -> None:
        commands = self.core.step(at_ns, events)
        self.journal.append(at_ns, events, commands)
        execute = self.engine.execute
        for command in commands:
            for completion in execute(command):
                self._schedule(at_ns + completion.delay_ns, completion.event)
        if self.core.wakeup_bound_ns < self._alarm_ns:
            self._arm_alarm()
        for observer in self.observers:
            observer(at_ns, events, commands)

    def _schedule(self, at_ns: int, what: AnyEvent | _Own) -> None:
        entry = (at_ns, self._sequence, what)
        self._sequence += 1
        if at_ns == self.now_ns:
            self._due.append(entry)
        elif at_ns < self._near_ns:
            heappush(self._near, entry)
        else:
            self._put_off(entry)

    def _put_off(self, entry: _Entry) -> None:
        span = entry[0] >> _SPAN_BITS
        entries = self._later.get(span)
        if entries is None:
            self._later[span] = [entry]
            heappush(self._spans, span)
        else:
            entries.append(entry)

    def _begin_span(self) -> bool:
        """Put the next span's entries onto the heap, which is empty; False where there are none any more."""
        if not self._spans:
            return False
        span = heappop(self._spans)
        self._near += self._later.pop(span)
        heapify(self._near)
        self._near_ns = (span + 1) << _SPAN_BITS
        return True

    def _arm_alarm(self) -> None:
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is not None and wakeup_ns < self._alarm_ns:
            wakeup_ns = max(wakeup_ns, self.now_ns)
            self._alarm_ns = self._alarms[self._sequence] = wakeup_ns
            self._schedule(wakeup_ns, _ALARM)

    def _on_alarm(self, number: int, inbox: list[AnyEvent]) -> None:
        del self._alarms[number]
        self._alarm_ns = min(self._alarms.values(), default=math.inf)
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is not None and wakeup_ns <= self.now_ns:
            inbox.append(TimerFired())
        else:
            self._arm_alarm()

    # -- arrivals ---------------------------------------------------------------------------------------------------

    def _arm_arrival(self) -> None:
        if self._next_arrival is not None:
            self._arrival_sequence = self._sequence
            self._schedule(self._next_arrival.at_ns, _ARRIVAL)

    def _on_arrival(self, inbox: list[AnyEvent]) -> None:
        arrival, arrived = self._next_arrival, 0
        while arrival is not None and arrival.at_ns == self.now_ns:
            event = arrival.event
            if arrival.service is not None:
                self._expect(event, arrival.service)
            self.engine.observe(event)
            inbox.append(event)
            arrived += 1
            arrival = next(self._feed, None)
        self._arrived += arrived
        self._next_arrival = arrival
        self._arm_arrival()

    def _expect(self, event: AnyEvent, service: Service | Mapping[str, Service]) -> None:
        if not isinstance(service, Service):
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
                self._schedule(self.now_ns + completion.delay_ns, completion.event)

    # -- state ------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return what is before the driver as MessagePack. For observers only: no other time is between two steps."""
        arrival = self._next_arrival
        state = DriverState(
            at_ns=self.now_ns,
            sequence=self._sequence,
            pending=self.pending(),
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
        self.now_ns = at_ns
        for due_ns, event in pending:
            self._schedule(max(at_ns, due_ns), event)
        self._arm_alarm()

    def load(self, data: bytes) -> None:
        """Take over what another driver dumped; this one must not have run. msgspec.DecodeError for other data."""
        state = msgspec.msgpack.decode(data, type=DriverState)
        self._environment = simpy.Environment(state.at_ns)
        self.now_ns = state.at_ns
        self._loaded = state if state.sequence else None  # with no number given, it had not begun
        self._sequence = state.sequence
        self._alarms = dict(state.alarms)
        self._alarm_ns = math.inf if state.alarm_ns is None else state.alarm_ns
        for number, at_ns, event in state.pending:
            self._put_off((at_ns, number, event))
        for number, at_ns in state.alarms:
            self._put_off((at_ns, number, _ALARM))
        if state.arrival is not None:
            number, at_ns, _ = state.arrival
            self._put_off((at_ns, number, _ARRIVAL))

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


@contextmanager
def _few_searches_for_garbage() -> Iterator[None]:
    """Unless the caller's settings have even fewer."""
    before = gc.get_threshold()
    if 0 < before[0] < _GARBAGE_THRESHOLDS[0]:
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _digest(arrival: Arrival) -> bytes:
    return blake2b(msgspec.msgpack.encode(arrival), digest_size=16).digest()

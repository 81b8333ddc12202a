"""The live driver: asyncio carries time, the core decides, engines answer; nothing reaches them before it is durable.

Theory of operation. Events wait in an inbox. The driver takes what is there as one batch, steps the core, appends the
batch to the journal, and waits until the store has it on disk: one synchronisation for all that came in meanwhile
(group commit). A batch of several events says that more are on their way, and so the next one waits a few milliseconds
for company: a commit costs the same for many. Only when a batch is durable are its commands handed to the gateway, and
answers to whoever asked. So what was told can always be told again, and what was not made durable has never happened:
when the store fails, the driver stops, and `backends.real.recovery` goes on from what is durable.

The core's timers are one alarm on the clock. The driver decides nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from backends.real.clock import Clock, Handle
from backends.real.gateway import Gateway
from backends.real.stores.base import Record, Saved, Store, Written
from scheduler import snapshot
from scheduler.commands import AnyCommand
from scheduler.core import Core
from scheduler.events import AnyEvent, TimerFired
from scheduler.journal import Header, JournalWriter, WriterState

Observer = Callable[[int, Sequence[AnyEvent], Sequence[AnyCommand]], Sequence[Record] | None]
"""Called after every step, before it is durable, with the batch and what follows from it.

May return records to be written with the batch. What it tells others must wait for `Committed`.
"""
Committed = Callable[[int, Sequence[AnyEvent], Sequence[AnyCommand]], None]
"""Called when a batch is durable, after its commands have been handed to the gateway."""


class Measure(NamedTuple):
    """What a batch took: how many events it had, and the seconds of deciding and of making it durable."""

    events: int
    step_s: float
    commit_s: float


class Overloaded(Exception):
    """The inbox is full; try again later."""


class DriverStopped(Exception):
    """The driver does not run (any more); what was asked has not happened, or nobody can tell."""


class DriverOptions(NamedTuple):
    """Bounds. ``inbox_max`` counts waiting requests, ``batch_max`` the events of a batch.

    After a batch of at least ``busy_events`` the next one is taken ``gather_ns`` later. A snapshot is saved after so
    many batches; batches older than it are kept for ``retention_ns``.
    """

    inbox_max: int = 20_000
    batch_max: int = 5_000
    busy_events: int = 4
    gather_ns: int = 5_000_000
    snapshot_batches: int = 2_000
    retention_ns: int = 86_400 * 10**9


class _Entry(NamedTuple):
    events: Sequence[AnyEvent]
    records: Sequence[Record]
    done: asyncio.Future[int] | None


class LiveDriver:
    """Runs one core in real time. ``resume`` is where the journal's writer is, of a core that was recovered."""

    def __init__(
        self,
        core: Core,
        header: Header,
        store: Store,
        gateway: Gateway,
        clock: Clock,
        *,
        resume: WriterState,
        options: DriverOptions = DriverOptions(),  # noqa: B008 (immutable)
    ) -> None:
        self.core = core
        self.header = header
        self.clock = clock
        self.store = store
        self.gateway = gateway
        self.options = options
        self.observers: list[Observer] = []
        self.committed: list[Committed] = []
        self.saved: list[Callable[[int], Awaitable[object]]] = []
        """Awaited between two steps, when a snapshot was saved after so many batches and old ones are forgotten."""
        self.measured: Callable[[Measure], object] = lambda measure: None
        self.failure: BaseException | None = None
        self._lines: list[bytes] = []
        self.journal = JournalWriter(header, self._lines.append, resume=resume)
        self._saved_batches = resume.batches
        self._inbox: deque[_Entry] = deque()
        self._reports: deque[AnyEvent] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._alarm: Handle | None = None
        self._alarm_ns: float = math.inf
        self._is_stopping = False

    # -- what others ask ----------------------------------------------------------------------------------------------

    def report(self, event: AnyEvent) -> None:
        """Take a completion. Never refused: how many there can be is bounded by what was commanded."""
        self._reports.append(event)
        self._rouse()

    async def submit(self, *events: AnyEvent, records: Sequence[Record] = ()) -> int:
        """`offer`, and wait. A caller that is cancelled takes nothing back."""
        return await asyncio.shield(self.offer(*events, records=records))

    def offer(self, *events: AnyEvent, records: Sequence[Record] = ()) -> asyncio.Future[int]:
        """Have events applied in one batch, and records written with it; the result is the batch's number, once it is
        durable.

        Without events only the records are written. `Overloaded` where too much waits already: then nothing has
        happened. The result is `DriverStopped` where the driver stops before it is durable.
        """
        if self._is_stopping or self.failure is not None:
            raise DriverStopped("the service is stopping; try again when it is back")
        if len(self._inbox) >= self.options.inbox_max:
            raise Overloaded(f"{len(self._inbox)} requests are waiting already; try again later")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._inbox.append(_Entry(events, records, done))
        self._rouse()
        return done

    @property
    def waiting(self) -> int:
        """How many requests and completions wait for a batch."""
        return len(self._inbox) + len(self._reports)

    async def settled(self) -> None:
        """Return when nothing waits and everything so far is durable; `DriverStopped` where the driver has failed."""
        await self._idle.wait()
        if self.failure is not None:
            raise DriverStopped(str(self.failure))

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until `stop`. Whatever goes wrong stops the driver, is told to all that wait, and is raised."""
        self.gateway.connect(self.report)
        self._rouse()
        try:
            while True:
                while self._has_work():
                    if await self._work() >= self.options.busy_events:
                        await asyncio.sleep(self.options.gather_ns / 1e9)
                if self._is_stopping:
                    break
                self._arm_alarm()
                self._wake.clear()
                self._idle.set()
                await self._wake.wait()
            await self.save()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._is_stopping = True
            if self._alarm is not None:
                self._alarm.cancel()
            for entry in self._inbox:
                self._answer(entry, DriverStopped("the service stopped before this was durable; ask whether it was"))
            self._inbox.clear()
            self._idle.set()

    def stop(self) -> None:
        """Take no more requests, finish what waits, save a snapshot, and return from `run`."""
        self._is_stopping = True
        self._rouse()

    async def save(self) -> None:
        """Save a snapshot, and forget batches that are older than it and than the retention. Between steps only."""
        writer = self.journal.dump()
        self._saved_batches = writer.batches
        await self.store.save(Saved(writer=writer, core=snapshot.dump(self.core)))
        await self.store.prune(writer.batches, self.clock.now_ns() - self.options.retention_ns)
        for saved in self.saved:
            await saved(writer.batches)

    def _rouse(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _has_work(self) -> bool:
        return bool(self._inbox or self._reports) or self._is_timer_due(self.clock.now_ns())

    def _is_timer_due(self, at_ns: int) -> bool:
        if self.core.wakeup_bound_ns > at_ns:
            return False
        wakeup_ns = self.core.next_wakeup_ns
        return wakeup_ns is not None and wakeup_ns <= at_ns

    async def _work(self) -> int:
        """One batch; return how many events it had."""
        events, entries = self._take()
        at_ns = max(self.clock.now_ns(), self.core.at_ns)
        if self._is_timer_due(at_ns):
            events.append(TimerFired())
        records = [record for entry in entries for record in entry.records]
        number = self.journal.batches
        try:
            if not events:
                await self.store.commit((), records)
            else:
                await self._step(at_ns, events, records)
        except BaseException:
            for entry in entries:
                self._answer(entry, DriverStopped("the service stopped before this was durable; ask whether it was"))
            raise
        for entry in entries:
            self._answer(entry, number)
        if self.journal.batches - self._saved_batches >= self.options.snapshot_batches:
            await self.save()
        return len(events)

    def _take(self) -> tuple[list[AnyEvent], list[_Entry]]:
        """What makes the next batch: reports first, then whole requests."""
        events: list[AnyEvent] = []
        while self._reports and len(events) < self.options.batch_max:
            events.append(self._reports.popleft())
        entries: list[_Entry] = []
        while self._inbox and len(events) < self.options.batch_max:
            entry = self._inbox.popleft()
            entries.append(entry)
            events.extend(entry.events)
        return events, entries

    async def _step(self, at_ns: int, events: list[AnyEvent], records: list[Record]) -> None:
        began_s = time.perf_counter()
        commands = self.core.step(at_ns, events)
        self.journal.append(at_ns, events, commands)
        decided_s = time.perf_counter()
        for observer in self.observers:
            records.extend(observer(at_ns, events, commands) or ())
        (line,) = self._lines
        self._lines.clear()
        await self.store.commit((Written(self.journal.batches - 1, at_ns, line.removesuffix(b"\n")),), records)
        self.measured(Measure(len(events), decided_s - began_s, time.perf_counter() - decided_s))
        self.gateway.execute(commands)
        for committed in self.committed:
            committed(at_ns, events, commands)

    def _answer(self, entry: _Entry, answer: int | Exception) -> None:
        if entry.done is None or entry.done.done():
            return
        if isinstance(answer, int):
            entry.done.set_result(answer)
        else:
            entry.done.set_exception(answer)
            entry.done.exception()  # seen, even where nobody waits any more

    def _arm_alarm(self) -> None:
        wakeup_ns = self.core.next_wakeup_ns
        if wakeup_ns is None or wakeup_ns >= self._alarm_ns:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = wakeup_ns
        self._alarm = self.clock.call_at(wakeup_ns, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm_ns = math.inf
        self._alarm = None
        self._rouse()

"""One seed: a core under the SimPy driver in a fuzzed world, with crashes and recoveries, checked after every batch.

Theory of operation. The world feeds the driver, the machines answer it, and every batch that is durable goes to the
model. At planned batches the process fails: it crashes before or after its commands are carried out, its last line is
torn or cut away, the disk is full, or the clock jumps. Machines go on meanwhile. The core comes back from a snapshot
and the journal, must be the one that went down byte for byte, and what it waits for is commanded again.

After the last action the faults end. When nothing is left to happen, nothing may be half done; then everything is
removed, and nothing may be left.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backends.sim.driver import SimDriver
from eru_sim.fuzz.machines import Machines
from eru_sim.fuzz.model.model import Model
from eru_sim.fuzz.model.records import Rules, Violation
from eru_sim.fuzz.model.rest import check_empty, check_queue, check_rest
from eru_sim.fuzz.scenario import LICENCES, Case
from eru_sim.fuzz.world import World
from scheduler import invariants, snapshot
from scheduler.assignment import Assignment
from scheduler.cluster import NodeState
from scheduler.commands import AnyCommand
from scheduler.config import SECOND_NS, CoreConfig
from scheduler.core import Core
from scheduler.events import AnyEvent
from scheduler.journal import Batch, Header, JournalError, JournalReader, JournalWriter
from scheduler.lifecycle import State
from scheduler.outstanding import outstanding, remap
from scheduler.plugins.registry import make_plugin
from scheduler.ports import ResourcePlugin
from scheduler.story import story

BATCHES_MAX = 6000
_BOOKS_EVERY = 7
_SNAPSHOT_EVERY = 12
_PROCESS_FAULTS = ("core_crashes", "torn_journal", "full_disk", "clock_jumps")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a seed. ``failure`` is one line, "" for none; ``story`` tells of what it is about."""

    seed: int
    failure: str = ""
    story: tuple[str, ...] = ()
    actions: int = 0
    batches: int = 0
    submitted: int = 0
    crashes: int = 0
    at_ns: int = 0
    journal_digest: str = ""
    happened: dict[str, int] = {}
    injected: dict[str, int] = {}


class _Crash(Exception):
    """The process is gone. ``lost`` are the events of a batch that has not become durable."""

    def __init__(self, kind: str, lost: Sequence[AnyEvent] = ()) -> None:
        super().__init__(kind)
        self.kind = kind
        self.lost = lost


class _Disk:
    """What is durable: the journal's bytes, and snapshots with the number of batches before each."""

    def __init__(self) -> None:
        self.journal = bytearray()
        self.snapshots: list[tuple[int, bytes]] = []


class _Journal:
    """The driver's journal: makes batches durable, or fails to, and shows the durable ones to the model."""

    def __init__(self, trial: Trial, writer: JournalWriter) -> None:
        self._trial = trial
        self.writer = writer

    def append(self, at_ns: int, events: list[AnyEvent], commands: list[AnyCommand]) -> None:
        """As `JournalWriter.append`."""
        trial = self._trial
        fault = trial.plan.get(trial.batches, "")
        if fault in ("torn_journal", "full_disk"):
            del trial.plan[trial.batches]
            before = len(trial.disk.journal)
            JournalWriter(trial.header, trial.disk.journal.extend, resume=self.writer.dump()).append(
                at_ns, events, commands
            )
            size = len(trial.disk.journal) - before
            kept = trial.draw.choice((0, 1, size // 2, size - 1)) if fault == "torn_journal" else size // 3
            del trial.disk.journal[before + kept :]
            raise _Crash(fault, list(events))
        self.writer.append(at_ns, events, commands)
        trial.saw(at_ns, events, commands)
        if fault == "core_crashes":
            some = trial.draw.randint(0, len(commands))
            trial.commands_left = trial.draw.choice((0, some, len(commands)))


class Trial:
    """Runs one case. Use it once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.config = case.config()
        self.header = Header(config=self.config)
        self.machines = Machines(case.seed, case.features, self._before_command)
        self.model = Model(rules_of(self.config))
        self.world = World(case, self.model.state, self.machines, self._assignments)
        self.disk = _Disk()
        self.draw = random.Random(f"process of {case.seed}")
        self.plan = self._plan()
        self.batches = 0
        self.crashes = 0
        self.commands_left: int | None = None
        """After so many more commands of this batch, the process is gone; None while it is to live."""
        self.seen: list[Batch] = []
        self._plugins = [_new_plugin(plugin.name, plugin.params) for plugin in self.config.plugins]
        self.core = self._core(None)
        self._dump = b""
        self._driver: SimDriver | None = None
        self._journal = _Journal(self, JournalWriter(self.header, self.disk.journal.extend))

    def _plan(self) -> dict[int, str]:
        """By batch, what happens to the process. Which batches does not depend on what else does."""
        plan = {}
        for fault in _PROCESS_FAULTS:
            draw = random.Random(f"{fault} of {self.case.seed}")
            for batch in [draw.randint(1, 140) for _ in range(draw.randint(1, 4))]:
                if fault in self.case.features:
                    plan[batch] = fault
        return plan

    def _core(self, data: bytes | None) -> Core:
        if data is None:
            return Core(self.config, plugins=self._plugins)
        return snapshot.load(data, plugins=self._plugins)

    def _assignments(self, workload_id: str) -> dict[str, Assignment] | None:
        workload = self.core.workloads.get(workload_id)
        return None if workload is None else workload.assignments

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Run the case to its end, or to the first thing that must not be."""
        failure, subject = "", ""
        try:
            self._run_to_rest(0)
            self._check_rest()
            self.world.dispose(self.core.at_ns + SECOND_NS)
            self._run_to_rest(self.core.at_ns + SECOND_NS)
            self._check_empty()
            self._check_replay()
        except Violation as error:
            failure, subject = str(error), error.subject
        except Exception as error:  # whatever the core raises is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            name = where.filename.replace("\\", "/").rpartition("/")[2]
            failure = f"{type(error).__name__}: {error} (at {name}:{where.lineno})"
        return Outcome(
            seed=self.case.seed,
            failure=" ".join(failure.split()),
            story=self._story(subject) if failure else (),
            actions=sum(self.world.happened.values()),
            batches=self.batches,
            submitted=self.model.state.submitted,
            crashes=self.crashes,
            at_ns=self.model.state.at_ns,
            journal_digest=self._journal.writer.journal_digest,
            happened=self.world.happened,
            injected=self.machines.injected,
        )

    def _story(self, subject: str) -> tuple[str, ...]:
        return tuple(map(str, story(self.seen, subject)))[-30:] if subject else ()

    def _run_to_rest(self, at_ns: int) -> None:
        """Drive until nothing is left to happen, through all crashes."""
        pending: list[tuple[int, AnyEvent]] = []
        while True:
            self._driver = driver = SimDriver(self.core, self.machines, self._journal, observers=[self._observe])  # type: ignore[arg-type]
            driver.take_over(at_ns, pending)
            try:
                driver.run(self.world.feed(at_ns))
                return
            except _Crash as crash:
                self.crashes += 1
                self.machines.note(str(crash))
                at_ns, pending = self._come_back(crash, driver)

    def saw(self, at_ns: int, events: list[AnyEvent], commands: list[AnyCommand]) -> None:
        """A batch is durable."""
        self.seen.append(Batch(self.batches, at_ns, 0, list(events), list(commands)))
        self.batches += 1
        self.model.take(at_ns, events, commands)
        if self.batches > BATCHES_MAX:
            raise Violation(f"it does not come to rest: {BATCHES_MAX} batches")

    def _before_command(self) -> None:
        if self.commands_left is not None:
            if not self.commands_left:
                del self.plan[self.batches - 1]
                raise _Crash("core_crashes")
            self.commands_left -= 1

    def _observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Everything that follows from a batch has been carried out."""
        if self.batches % _BOOKS_EVERY == 0:
            self._check_books()
        if self.batches % _SNAPSHOT_EVERY == 0:
            self.disk.snapshots.append((self.batches, snapshot.dump(self.core)))
        if self.batches in self.plan:
            self._dump = snapshot.dump(self.core)
        fault = self.plan.pop(self.batches - 1, "")
        if fault:
            raise _Crash(fault)

    # -- crashes ------------------------------------------------------------------------------------------------------

    def _come_back(self, crash: _Crash, driver: SimDriver) -> tuple[int, list[tuple[int, AnyEvent]]]:
        """Bring the core back; return when it goes on, and what machines will report still."""
        self.commands_left = None
        downtime_ns = int(self.draw.choice((0, 0, 1, 5, 40, 4000)) * self.draw.random() * SECOND_NS)
        at_ns = max(self.model.state.at_ns, int(driver.now_ns)) + downtime_ns
        pending = [(at_ns, event) for _, at_ns, event in driver.pending()]
        if crash.kind == "clock_jumps":
            return at_ns, pending
        expected = self._dump if crash.lost else snapshot.dump(self.core)
        self.core = self._recover()
        found = snapshot.dump(self.core)
        if crash.lost and not self._dump:
            expected = snapshot.dump(self._core(None))
        if found != expected:
            raise Violation(f"recovery: {snapshot.difference(expected, found)} ({crash.kind})")
        self._dump = found
        self._check_books()
        self.world.retry(at_ns, crash.lost)
        if self.draw.random() < 0.5 or crash.lost:
            pending = self._hear_again(at_ns, pending)
        commands: list[AnyCommand] = [*outstanding(self.core)]
        running = [workload for workload in self.core.workloads.values() if workload.state is State.RUNNING]
        commands += filter(None, (remap(self.core, workload) for workload in running))
        for command in commands:
            pending += [(at_ns + done.delay_ns, done.event) for done in self.machines.execute(command)]
        return at_ns, pending

    def _hear_again(self, at_ns: int, pending: list[tuple[int, AnyEvent]]) -> list[tuple[int, AnyEvent]]:
        """What was due meanwhile is not heard; machines are asked how things are."""
        for due_ns, event in pending:
            if due_ns <= at_ns:
                self.machines.observe(event)
        reports = [
            (at_ns, event)
            for node_id in self.model.state.nodes
            if node_id not in self.machines.cut
            for event in self.machines.report(node_id)
        ]
        return reports + [(due_ns, event) for due_ns, event in pending if due_ns > at_ns]

    def _recover(self) -> Core:
        """The core that the disk has: a snapshot, perhaps not the last one, and the whole lines of the journal."""
        usable = [(0, None), *self.disk.snapshots]
        choice = self.draw.random()
        first, data = usable[-1] if choice < 0.6 else usable[0] if choice < 0.65 else self.draw.choice(usable[-3:])
        core = self._core(data)
        whole, _, _ = bytes(self.disk.journal).rpartition(b"\n")
        reader, writer = JournalReader(), self._journal.writer
        lines = whole.split(b"\n")
        reader.read_header(lines[0] + b"\n")
        for line in lines[1:]:
            batch = reader.read(line + b"\n")
            if batch is not None and batch.seq >= first:
                self._replay(core, batch)
        if reader.journal_digest != writer.journal_digest:
            raise Violation("recovery: the journal's digest is not what was written")
        del self.disk.journal[len(whole) + 1 :]
        self._journal = _Journal(self, JournalWriter(self.header, self.disk.journal.extend, resume=writer.dump()))
        return core

    def _replay(self, core: Core, batch: Batch) -> None:
        """Apply a batch again, with its commands suppressed."""
        if core.step(batch.at_ns, list(batch.events)) != batch.commands:
            raise Violation(f"recovery: batch {batch.seq} gives other commands than before")

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check_books(self) -> None:
        self.model.check_books(books_of(self.core), licences_of(self.core))
        if not self.model.state.has_nominations:
            check_queue(self.model.state)
        self.model.check_conservation(self.core.partition())

    def _check_rest(self) -> None:
        """Nothing is half done, the books are what engines have, and only that waits which cannot be placed."""
        self._check_books()
        running = {
            key: instance.node_id for key, instance in self.machines.instances.items() if instance.state == "running"
        }
        check_rest(self.model.state, running, self.world.foreign)
        invariants.check(self.core)
        invariants.check_liveness(self.core)

    def _check_empty(self) -> None:
        """Everything was removed: nothing is held, asked or waited for."""
        self._check_books()
        check_empty(self.model.state)
        if self.core.next_wakeup_ns is not None:
            raise Violation(f"the core wants to be woken at {self.core.next_wakeup_ns} ns, for nothing")
        if self.core.operations or self.core.workloads or self.core.fences:
            raise Violation(f"the core remembers {[*self.core.operations, *self.core.workloads, *self.core.fences]}")
        for row, free in enumerate(self.core.ledger.free.T[: self.core.ledger.row_count].tolist()):
            total = self.core.ledger.total[:, row].tolist()
            if free != total:
                raise Violation(
                    f"{self.core.cluster.nodes[row].node_id} has {free} free of {total}, but nobody is there"
                )

    def _check_replay(self) -> None:
        """The whole journal, told to another core, gives the same commands and the same core."""
        self.disk.snapshots.clear()
        expected = snapshot.dump(self.core)
        try:
            core = self._recover()
        except JournalError as error:
            raise Violation(f"replay: {error}") from None
        if snapshot.dump(core) != expected:
            raise Violation(f"replay: {snapshot.difference(expected, snapshot.dump(core))}")


_plugin_types: dict[str, type[ResourcePlugin]] = {}


def _new_plugin(name: str, params: Mapping[str, Any]) -> ResourcePlugin:
    """`make_plugin`, which looks through everything that is installed, once for each name."""
    if name not in _plugin_types:
        _plugin_types[name] = type(make_plugin(name, params))
    return _plugin_types[name](**params)


def rules_of(config: CoreConfig) -> Rules:
    """What the model has to know of a configuration."""
    names = {plugin.name for plugin in config.plugins}
    return Rules(
        dimensions=tuple(dimension.name for dimension in config.dimensions),
        overcommit=config.overcommit,
        licences=LICENCES if "licences" in names else {},
        levels=("node", "rack") if "affinity" in names else (),
        knows_taints="taints" in names,
        deadline_ns=config.deadline_ns,
        backoff_base_ns=config.backoff_base_ns,
        backoff_max_ns=config.backoff_max_ns,
        pass_per_event=config.scheduling_pass == "event",
        queue=config.queue.name,
        maximum=config.queue.params.get("maximum", {}),
    )


def books_of(core: Core) -> dict[str, dict[tuple[str, ...], int]]:
    """What a core has booked on each of its nodes, by slot."""
    names = [dimension.name for dimension in core.config.dimensions]
    books: dict[str, dict[tuple[str, ...], int]] = {}
    for node in core.cluster.nodes:
        if node.state is NodeState.REMOVED:
            continue
        booked: dict[tuple[str, ...], int] = {}
        for name, used in zip(names, core.ledger.used(node.row), strict=True):
            booked["dimension", name] = used
        for plugin, table in core.ledger.slots.items():
            for slot, amount in table.held(node.row).items():
                booked[_slot(plugin, slot)] = amount
        books[node.node_id] = booked
    return books


def licences_of(core: Core) -> dict[str, int]:
    """How many of each licence a core has booked."""
    return {pool.partition("/")[2]: amount for pool, amount in core.ledger.pool_used.items()}


def _slot(plugin: str, slot: str) -> tuple[str, ...]:
    if plugin == "gpu":
        device, _, memory = slot.partition("/")
        return ("gpu memory" if memory else "gpu", device)
    if plugin == "storage":
        kind, _, rest = slot.partition(":")
        return (
            ("volume", rest) if kind == "volume" else ("io", *rest.rsplit(":", 1)) if kind == "disk" else (kind, rest)
        )
    return ("core" if slot.isdigit() else slot, slot)

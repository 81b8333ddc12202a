"""Which templates the store has, and which of them may go.

Theory of operation. A template is needed as long as the core refers to it, a batch that is kept does, or a request that
waits for its batch. Whenever the driver has saved a snapshot and forgotten old batches, those that nothing refers to
any more get an age: the number of batches so far, none of the later ones mentions it. Once the journal begins no
earlier than that, the template is deleted. Whatever is mentioned again gets a new age with the next snapshot.

Ages are stored, with how far they have been kept. What was mentioned after that is not known when the service comes
back from a crash: then all that have an age get a new one. So a template may stay too long, and never goes too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from backends.real.stores.base import Record, Store
from scheduler.commands import AnyCommand
from scheduler.core import Core
from scheduler.events import AnyEvent, DeploymentRequested, ReplaceRequested, WorkloadAdopted, WorkloadsSubmitted

TABLE = "templates"
AGES = "template_ages"
_KEPT_UNTIL = ""
"""The key in the table of ages that says until which batch they have been kept."""


class StoredTemplates:
    """The templates in a core's store, by digest. `load` before anything else."""

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store
        self._stored: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._ages: dict[str, int] = {}
        self._aged_anew: set[str] = set()
        self._referred: set[str] = set()
        self._mentioned: set[str] = set()

    async def load(self, batches: int) -> None:
        """Read what the store has; ``batches`` are in its journal."""
        self._stored.update(await self._store.keys(TABLE))
        stored = await self._store.load(AGES)
        kept_until = int(stored.pop(_KEPT_UNTIL, b"-1"))
        self._referred = referred(self._core)
        for digest in self._stored - self._referred:
            if kept_until == batches and digest in stored:
                self._ages[digest] = int(stored[digest])
            else:
                self._set_age(digest, batches)
        self._aged_anew.update(stored.keys() - self._ages.keys())

    def __contains__(self, digest: str) -> bool:
        return digest in self._stored

    def __len__(self) -> int:
        return len(self._stored)

    def hold(self, digest: str, until: asyncio.Future[int]) -> None:
        """A request was accepted that mentions it, and writes it where it is not stored. ``until``: it is durable."""
        self._stored.add(digest)
        self._waiting[digest] = self._waiting.get(digest, 0) + 1
        until.add_done_callback(lambda _: self._let_go(digest))

    def _let_go(self, digest: str) -> None:
        left = self._waiting.pop(digest) - 1
        if left:
            self._waiting[digest] = left

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """For the driver: these are the next batch. To what commands mention the core refers, or it did before."""
        self._mentioned.update(mentioned(events))

    async def prune(self, batches: int) -> None:
        """For the driver, between steps: a snapshot was saved after so many batches, and old ones are forgotten."""
        before = self._referred | self._mentioned
        self._referred, self._mentioned = referred(self._core), set()
        for digest in before - self._referred:
            self._set_age(digest, batches)
        for digest in self._ages.keys() & self._referred:
            del self._ages[digest]
            self._aged_anew.add(digest)
        first = await self._store.first()
        begin = batches if first is None else first
        gone = [digest for digest, age in self._ages.items() if age <= begin and digest not in self._waiting]
        for digest in gone:
            del self._ages[digest]
            self._aged_anew.add(digest)
            self._stored.discard(digest)
        records = [Record(TABLE, digest, None) for digest in gone]
        for digest in self._aged_anew:
            age = self._ages.get(digest)
            records.append(Record(AGES, digest, None if age is None else b"%d" % age))
        self._aged_anew.clear()
        await self._store.commit((), [*records, Record(AGES, _KEPT_UNTIL, b"%d" % batches)])

    def _set_age(self, digest: str, batches: int) -> None:
        self._ages[digest] = batches
        self._aged_anew.add(digest)


def referred(core: Core) -> set[str]:
    """The digests of the templates to which a core refers, as its snapshot does. Between two steps."""
    found = {rollout.template for rollout in core.state.replacements.under_way.values()}
    for workload in core.workloads.values():
        found.add(workload.spec.template)
        if workload.rollout is not None:
            found.add(workload.rollout.previous.template)
        if workload.successor is not None:
            found.add(workload.successor.template)
        if workload.update is not None:
            found.add(workload.update.spec.template)
    found.discard("")
    return found


def mentioned(events: Sequence[AnyEvent]) -> Iterator[str]:
    """The digests of the templates that events bring in."""
    for event in events:
        if isinstance(event, WorkloadsSubmitted | ReplaceRequested):
            if event.template:
                yield event.template
        elif isinstance(event, DeploymentRequested | WorkloadAdopted) and event.spec.template:
            yield event.spec.template

"""Operations as their callers see them: an id, and results as they become durable, until it is done."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from backends.real.clock import Clock
from backends.real.hook_output import HookOutput, HookOutputs
from backends.real.stores.base import Record
from scheduler.commands import AnyCommand, PublishResult
from scheduler.core import Core
from scheduler.events import AnyEvent

_WITHOUT_HOOKS = frozenset({"updated", "update_failed"})
"""Outcomes of what runs no hooks, and may end while they run."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How it went for one subject (a workload or a node), as `scheduler.commands.PublishResult` has it.

    ``node_id`` is where the workload was at that moment, "" for nowhere.
    """

    subject: str
    outcome: str
    detail: str = ""
    node_id: str = ""


class OperationRecord(msgspec.Struct, kw_only=True):
    """What is kept of an operation. While it is under way its results are records of their own, a batch each."""

    operation_id: str
    results: list[Result]
    kind: str = ""
    subjects: tuple[str, ...] = ()
    is_done: bool = True
    number: int = 0
    is_forced: bool = False


class OperationView:
    """One operation. Any number may follow it, each from the beginning.

    ``kind`` and ``subjects`` say what it is about, where whoever asked for it said so. With ``is_forced`` what it stops
    is killed at once.
    """

    def __init__(
        self, operation_id: str, kind: str = "", subjects: Sequence[str] = (), *, is_forced: bool = False
    ) -> None:
        self.operation_id = operation_id
        self.kind = kind
        self.subjects = tuple(subjects)
        self.is_forced = is_forced
        self.results: list[Result] = []
        self.is_done = False
        self.parts: list[str] = []
        """For the hub: the keys under which results are stored while it is under way."""
        self._changed = asyncio.Event()

    def add(self, results: Sequence[Result], *, is_done: bool) -> None:
        """For the hub: more results are durable."""
        self.results.extend(results)
        self.is_done = self.is_done or is_done
        self._changed.set()
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Yield the results in order, until it is done."""
        place = 0
        while True:
            while place < len(self.results):
                place += 1
                yield self.results[place - 1]
            if self.is_done:
                return
            await self._changed.wait()

    async def done(self) -> list[Result]:
        """Wait for the end; return all results."""
        while not self.is_done:
            await self._changed.wait()
        return self.results


class OperationHub:
    """All operations of a core that somebody follows or lately followed. The newest ``kept`` that are done stay.

    Those that are to be kept are stored too, with the first ``results_max`` results, the newest ``kept`` of them; what
    has been answered of one that is under way is not forgotten in a crash.
    """

    def __init__(self, core: Core, clock: Clock, *, kept: int = 10_000, results_max: int = 10_000) -> None:
        self._core = core
        self._clock = clock
        self._kept = kept
        self._results_max = results_max
        self._open: dict[str, OperationView] = {}
        self._done: OrderedDict[str, OperationView] = OrderedDict()
        self._staged: dict[str, list[Result]] = {}
        self._stored: OrderedDict[str, None] = OrderedDict()
        self._to_keep: set[str] = set()
        self._number = 0
        self._hooks = HookOutputs()

    def __len__(self) -> int:
        """How many are not done."""
        return len(self._open)

    def new_id(self) -> str:
        """An id that no operation has. Ids of one time begin alike, and so their records lie together in the store."""
        return f"op-{self._clock.now_ns() >> 20:011x}{secrets.token_hex(5)}"

    def begin(
        self,
        operation_id: str,
        *,
        keep: bool = False,
        kind: str = "",
        subjects: Sequence[str] = (),
        is_forced: bool = False,
    ) -> OperationView:
        """Follow an operation that is about to be asked for; the same again where it is followed already.

        With ``keep`` it is stored: `opening` has the record to be written with what asks for it.
        """
        view = self.find(operation_id)
        if view is None:
            view = self._open[operation_id] = OperationView(operation_id, kind, subjects, is_forced=is_forced)
            if keep:
                self._to_keep.add(operation_id)
        return view

    def opening(self, view: OperationView) -> list[Record]:
        """What is to be stored with the events that begin an operation; nothing for one that is not kept."""
        if view.operation_id not in self._to_keep:
            return []
        return [self._record(view, [], is_done=False)]

    def load(self, stored: Mapping[str, bytes], parts: Mapping[str, bytes] | None = None) -> list[OperationView]:
        """After a recovery: take in the tables ``operations`` and ``results``, follow what the core has under way.

        Return those that are not done although the core does not know them: more is to be asked of it for them.
        """
        unfinished: dict[str, OperationView] = {}
        records = [msgspec.msgpack.decode(data, type=OperationRecord) for data in stored.values()]
        for record in sorted(records, key=lambda record: record.number):
            operation_id, self._number = record.operation_id, record.number
            view = OperationView(operation_id, record.kind, record.subjects, is_forced=record.is_forced)
            view.add(record.results, is_done=record.is_done)
            if record.is_done:
                self._done[operation_id] = view
                self._stored[operation_id] = None
            else:
                unfinished[operation_id] = self._open[operation_id] = view
                self._to_keep.add(operation_id)
        for key, data in sorted((parts or {}).items()):
            known = unfinished.get(key.rpartition("/")[0])
            if known is not None:
                known.parts.append(key)
                known.add(msgspec.msgpack.decode(data, type=list[Result]), is_done=False)
        for operation_id, operation in self._core.operations.items():
            self.begin(operation_id, keep=True, kind=operation.kind)
        return [view for operation_id, view in unfinished.items() if operation_id not in self._core.operations]

    def ending(self, view: OperationView, result: Result) -> list[Record]:
        """What is to be stored of an operation that ends with a result that the core has not published."""
        return self._closing(view, [result])

    def ended(self, view: OperationView, result: Result) -> None:
        """That is durable: tell whoever follows."""
        self._tell(view, [result], is_done=True)

    def find(self, operation_id: str) -> OperationView | None:
        """An operation that is under way, or lately was."""
        return self._open.get(operation_id) or self._done.get(operation_id)

    def is_forced(self, workload_id: str) -> bool:
        """Whether whoever waits for a workload's stop wants it killed at once."""
        workload = self._core.workloads.get(workload_id)
        view = None if workload is None else self._open.get(workload.stop_operation_id)
        return view is not None and view.is_forced

    def under_way(self) -> list[OperationView]:
        """Those that are not done."""
        return list(self._open.values())

    def forget(self, operation_id: str) -> None:
        """It was never asked for."""
        self._open.pop(operation_id, None)
        self._to_keep.discard(operation_id)

    # -- what hooks print ---------------------------------------------------------------------------------------------

    def hear(self, workload_id: str, output: HookOutput) -> None:
        """Hooks of a workload have printed that: it is for the operation whose result comes next, if somebody waits."""
        workload = self._core.workloads.get(workload_id)
        if workload is None:
            return
        if workload.stop_operation_id or workload.rollout is not None or not workload.creation_answered:
            self._hooks.add("", workload_id, output)

    def hook_output(self, operation_id: str, workload_id: str) -> HookOutput:
        """What hooks printed for a workload in an operation that has its result; nothing after a restart of the
        service, or once newer output took all the room.
        """
        return self._hooks.get(operation_id, workload_id)

    def hand_on(self, operation_id: str, workload_id: str) -> None:
        """What an operation has of a workload's hooks belongs to the next one about it."""
        self._hooks.add("", workload_id, self._hooks.pop(operation_id, workload_id))

    def _hand_over(self, staged: Mapping[str, Sequence[Result]]) -> None:
        """What was heard belongs to the operations that have a result now."""
        if not self._hooks:
            return
        told = [(operation_id, result) for operation_id, results in staged.items() for result in results]
        told = [(operation_id, result) for operation_id, result in told if result.outcome not in _WITHOUT_HOOKS]
        for operation_id, result in told:
            if operation_id in self._open:
                self._hooks.add(operation_id, result.subject, self._hooks.get("", result.subject))
        for _, result in told:
            self._hooks.pop("", result.subject)

    # -- the driver's observers ---------------------------------------------------------------------------------------

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> list[Record]:
        """Gather what was published, and what is to be stored of operations that are done."""
        records: list[Record] = []
        staged: dict[str, list[Result]] = {}
        self._staged = staged
        for command in commands:
            if type(command) is PublishResult and command.operation_id:
                results = staged.setdefault(command.operation_id, [])
                if command.outcome != "done":
                    results.append(self._result(command))
        self._hand_over(staged)
        for operation_id, results in staged.items():
            view = self._open.get(operation_id)
            if view is None or operation_id not in self._to_keep:
                continue
            if operation_id not in self._core.operations:
                records += self._closing(view, results)
            elif results and len(view.results) < self._results_max:
                view.parts.append(f"{operation_id}/{len(view.parts):08d}")
                records.append(Record("results", view.parts[-1], msgspec.msgpack.encode(results)))
        return records

    def committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """What was gathered is durable: tell whoever follows."""
        staged, self._staged = self._staged, {}
        for operation_id, results in staged.items():
            view = self._open.get(operation_id)
            if view is not None:
                self._tell(view, results, is_done=operation_id not in self._core.operations)

    def _tell(self, view: OperationView, results: Sequence[Result], *, is_done: bool) -> None:
        view.add(results, is_done=is_done)
        if is_done:
            self._open.pop(view.operation_id, None)
            self._done[view.operation_id] = view
            while len(self._done) > self._kept:
                self._done.popitem(last=False)

    def _closing(self, view: OperationView, results: Sequence[Result]) -> list[Record]:
        """The record of an operation that is done, in place of those of its parts; and of the oldest, nothing."""
        self._to_keep.discard(view.operation_id)
        records = [self._record(view, [*view.results, *results][: self._results_max], is_done=True)]
        records += [Record("results", key, None) for key in view.parts]
        self._stored[view.operation_id] = None
        while len(self._stored) > self._kept:
            oldest, _ = self._stored.popitem(last=False)
            records.append(Record("operations", oldest, None))
        return records

    def _record(self, view: OperationView, results: list[Result], *, is_done: bool) -> Record:
        self._number += 1
        record = OperationRecord(
            operation_id=view.operation_id, results=results, kind=view.kind, subjects=view.subjects, is_done=is_done,
            number=self._number, is_forced=view.is_forced,
        )  # fmt: skip
        return Record("operations", view.operation_id, msgspec.msgpack.encode(record))

    def _result(self, command: PublishResult) -> Result:
        workload = self._core.workloads.get(command.subject)
        node_id = ""
        if workload is not None and workload.row >= 0:
            node_id = self._core.cluster.nodes[workload.row].node_id
        return Result(subject=command.subject, outcome=command.outcome, detail=command.detail, node_id=node_id)

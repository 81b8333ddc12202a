"""Operations as their callers see them: an id, and results as they become durable, until it is done."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from backends.real.stores.base import Record
from scheduler.commands import AnyCommand, PublishResult
from scheduler.core import Core
from scheduler.events import AnyEvent


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How it went for one subject (a workload or a node), as `scheduler.commands.PublishResult` has it.

    ``node_id`` is where the workload was at that moment, "" for nowhere.
    """

    subject: str
    outcome: str
    detail: str = ""
    node_id: str = ""


class OperationRecord(msgspec.Struct, kw_only=True):
    """What is kept of an operation that is done."""

    operation_id: str
    results: list[Result]


class OperationView:
    """One operation. Any number may follow it, each from the beginning."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        self.results: list[Result] = []
        self.is_done = False
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

    Those that are to be kept are stored too, with the first ``results_max`` results, the newest ``kept`` of them.
    """

    def __init__(self, core: Core, *, kept: int = 10_000, results_max: int = 10_000) -> None:
        self._core = core
        self._kept = kept
        self._results_max = results_max
        self._open: dict[str, OperationView] = {}
        self._done: OrderedDict[str, OperationView] = OrderedDict()
        self._staged: dict[str, list[Result]] = {}
        self._stored: OrderedDict[str, None] = OrderedDict()
        self._to_keep: set[str] = set()

    def __len__(self) -> int:
        """How many are not done."""
        return len(self._open)

    def begin(self, operation_id: str, *, keep: bool = False) -> OperationView:
        """Follow an operation that is about to be asked for; the same again where it is followed already.

        With ``keep`` its results are stored when it is done.
        """
        view = self.find(operation_id)
        if view is None:
            view = self._open[operation_id] = OperationView(operation_id)
            if keep:
                self._to_keep.add(operation_id)
        return view

    def load(self, stored: Mapping[str, bytes]) -> None:
        """After a recovery: take in what is stored, and follow what the core has under way."""
        for operation_id, data in stored.items():
            record = msgspec.msgpack.decode(data, type=OperationRecord)
            view = self._done[operation_id] = OperationView(operation_id)
            view.add(record.results, is_done=True)
            self._stored[operation_id] = None
        for operation_id in self._core.operations:
            self.begin(operation_id, keep=True)

    def find(self, operation_id: str) -> OperationView | None:
        """An operation that is under way, or lately was."""
        return self._open.get(operation_id) or self._done.get(operation_id)

    def forget(self, operation_id: str) -> None:
        """It was never asked for."""
        self._open.pop(operation_id, None)
        self._to_keep.discard(operation_id)

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
        for operation_id, results in staged.items():
            if operation_id in self._to_keep and operation_id not in self._core.operations:
                self._to_keep.discard(operation_id)
                view = self._open.get(operation_id)
                told = [*(view.results if view is not None else ()), *results][: self._results_max]
                record = OperationRecord(operation_id=operation_id, results=told)
                records.append(Record("operations", operation_id, msgspec.msgpack.encode(record)))
                self._stored[operation_id] = None
        while len(self._stored) > self._kept:
            oldest, _ = self._stored.popitem(last=False)
            records.append(Record("operations", oldest, None))
        return records

    def committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """What was gathered is durable: tell whoever follows."""
        staged, self._staged = self._staged, {}
        for operation_id, results in staged.items():
            view = self._open.get(operation_id)
            if view is None:
                continue
            is_done = operation_id not in self._core.operations
            view.add(results, is_done=is_done)
            if is_done:
                del self._open[operation_id]
                self._done[operation_id] = view
                while len(self._done) > self._kept:
                    self._done.popitem(last=False)

    def _result(self, command: PublishResult) -> Result:
        workload = self._core.workloads.get(command.subject)
        node_id = ""
        if workload is not None and workload.row >= 0:
            node_id = self._core.cluster.nodes[workload.row].node_id
        return Result(subject=command.subject, outcome=command.outcome, detail=command.detail, node_id=node_id)

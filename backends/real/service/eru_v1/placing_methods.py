"""Placing work, what waits for room, and operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from backends.real.errors import Conflict, Exists, Missing, Rejected
from backends.real.operations import OperationView
from backends.real.service.calls import Call, Last, ends_with_last
from backends.real.service.eru_v1 import reading, writing
from backends.real.service.eru_v1.context import Methods
from backends.real.service.eru_v1.words import number
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.stores.base import Record
from backends.real.template import Template
from scheduler.diagnosis import Diagnosis
from scheduler.events import AnyEvent, DeploymentRequested, RemovalRequested, WorkloadsSubmitted
from scheduler.explanation import Explainer
from scheduler.journal import read_batch
from scheduler.lifecycle import State
from scheduler.ports import UNLIMITED
from scheduler.story import Chapter
from scheduler.strategies import StrategyError
from scheduler.workload import Workload, by_priority

_CHAPTERS = 1000
_CHAPTERS_MAX = 10_000
_BATCHES_AT_ONCE = 100


class PlacingMethods(Methods):
    """Every public method is one of the wire's."""

    async def Submit(self, request: pb.SubmitRequest, call: Call) -> pb.Operation:
        """Place work when there is room for it."""

        async def begin(operation_id: str, records: Sequence[Record]) -> OperationView:
            asked, template = reading.spec(self.cluster, request.spec, operation_id)
            return await self._ask(asked, asked, template, "submit", records)

        return await self.operation(call, request, begin)

    async def Deploy(self, request: pb.DeployRequest, call: Call) -> pb.Operation:
        """Place many copies now, by a strategy."""

        async def begin(operation_id: str, records: Sequence[Record]) -> OperationView:
            asked, template = reading.spec(self.cluster, request.spec, operation_id, is_deployment=True)
            event = reading.deployment(self.cluster, asked, request.spread)
            return await self._ask(asked, event, template, "deploy", records)

        return await self.operation(call, request, begin)

    async def _ask(
        self,
        asked: WorkloadsSubmitted,
        event: WorkloadsSubmitted | DeploymentRequested,
        template: Template,
        kind: str,
        records: Sequence[Record],
    ) -> OperationView:
        is_single = asked.count == 1 and isinstance(event, WorkloadsSubmitted)
        first = asked.workload_id if is_single else f"{asked.workload_id}/0"
        try:
            self.cluster.core.state.check_id(first)
        except ValueError as error:
            raise Exists(f"spec.workload_id: {first}: {error}") from None
        return await self.cluster.ask(
            asked.operation_id,
            event,
            template=template if asked.template else None,
            keep=True,
            records=records,
            kind=kind,
            subjects=[asked.workload_id],
        )

    async def Plan(self, request: pb.PlanRequest, call: Call) -> pb.PlanResponse:
        """What that would do now."""
        core = self.cluster.core
        is_deployment = request.HasField("spread")
        asked, _ = reading.spec(self.cluster, request.spec, "", is_deployment=is_deployment)
        capacity = reading.checked("spec", lambda: core.capacity(asked, by_node=request.with_capacity))
        answer = pb.PlanResponse(
            capacity=capacity.nodes, total_capacity=capacity.total, is_unlimited=capacity.total >= UNLIMITED
        )
        if is_deployment:
            event = reading.deployment(self.cluster, asked, request.spread)
            try:
                shares = list(reading.checked("spread", lambda: self._shares(event)).items())
            except StrategyError as error:
                answer.refusal = str(error)
                answer.unplaced = asked.count
                diagnosis = core.planner.diagnose(core.state.admit(asked))
                answer.diagnosis.CopyFrom(writing.diagnosis(diagnosis))
                return answer
        else:
            plan = reading.checked("spec", lambda: core.plan(asked))
            counts: dict[str, int] = {}
            for node_id in plan.nodes:
                counts[node_id] = counts.get(node_id, 0) + 1
            shares, answer.unplaced = list(counts.items()), plan.unplaced
            if plan.diagnosis is not None:
                answer.diagnosis.CopyFrom(writing.diagnosis(plan.diagnosis))
        answer.shares.extend(pb.NodeShare(node_id=node_id, count=count) for node_id, count in shares)
        return answer

    def _shares(self, event: DeploymentRequested) -> dict[str, int]:
        return self.cluster.core.plan_deployment(event)

    # -- operations ---------------------------------------------------------------------------------------------------

    async def GetOperation(self, request: pb.GetOperationRequest, call: Call) -> pb.Operation:
        """An operation as it is now."""
        return writing.operation(self.cluster, self._view(request.operation_id))

    async def ListOperations(self, request: pb.ListOperationsRequest, call: Call) -> pb.ListOperationsResponse:
        """Those that are under way."""
        views = self.cluster.operations.under_way()
        return pb.ListOperationsResponse(operations=[writing.operation(self.cluster, view) for view in views])

    @ends_with_last
    async def WatchOperation(
        self, request: pb.WatchOperationRequest, call: Call
    ) -> AsyncIterator[pb.OperationUpdate | Last]:
        """All results, as they become durable."""
        view = self._view(request.operation_id)
        call.is_watch = True
        async for result in view:
            yield pb.OperationUpdate(result=writing.result(self.cluster, view, result))
        yield Last(pb.OperationUpdate(is_done=True))

    async def CancelOperation(self, request: pb.CancelOperationRequest, call: Call) -> pb.Operation:
        """Take back what has not come to its end."""
        view = self._view(request.operation_id)

        async def carry_out(records: Sequence[Record]) -> pb.Operation:
            if not view.is_done:
                await self._cancel(view, records)
            return writing.operation(self.cluster, view)

        return await self.once(call, request, carry_out, lambda asked: writing.operation(self.cluster, view))

    async def _cancel(self, view: OperationView, records: Sequence[Record]) -> None:
        kind = view.kind or self.cluster.core.operations[view.operation_id].kind
        if kind == "drain":
            await self.cluster.nodes.uncordon(view.subjects[0], records=records)
            return
        if kind not in ("submit", "deploy", "create", "run"):
            raise Conflict(f"operation {view.operation_id}: a {kind} cannot be cancelled; it goes on to its end")
        removals: list[AnyEvent] = [
            RemovalRequested(workload_id=workload.workload_id)
            for workload in self.cluster.core.workloads.values()
            if workload.spec.operation_id == view.operation_id and not workload.creation_answered
        ]
        await self.cluster.driver.submit(*removals, records=records)

    def _view(self, operation_id: str) -> OperationView:
        view = self.cluster.operations.find(operation_id)
        if view is None:
            raise Missing(f"operation {operation_id[:100]!r}: there is none of that id, or it was long ago")
        return view

    # -- what waits ---------------------------------------------------------------------------------------------------

    async def ListQueue(self, request: pb.ListQueueRequest, call: Call) -> AsyncIterator[pb.QueueEntry]:
        """What waits for room, and why."""
        limit = reading.whole("limit", request.limit)
        core = self.cluster.core
        waiting = [
            workload
            for workload in core.workloads.values()
            if workload.state in (State.QUEUED, State.BACKOFF)
            and request.pool in ("", workload.spec.pool)
            and request.tenant in ("", workload.spec.tenant)
        ]
        diagnoses: dict[int, Diagnosis] = {}
        for workload in sorted(waiting, key=by_priority)[: limit or None]:
            if core.workloads.get(workload.workload_id) is workload:
                yield self._entry(workload, diagnoses)

    def _entry(self, workload: Workload, diagnoses: dict[int, Diagnosis]) -> pb.QueueEntry:
        core = self.cluster.core
        entry = pb.QueueEntry(
            workload=writing.workload(self.cluster, workload),
            waiting_ns=max(self.cluster.clock.now_ns() - workload.submitted_ns, 0),
        )
        if workload.state is State.QUEUED:
            if workload.class_id not in diagnoses:
                diagnoses[workload.class_id] = core.diagnose(workload.workload_id)
            entry.diagnosis.CopyFrom(writing.diagnosis(diagnoses[workload.class_id]))
            entry.excuse = core.state.discipline.excuse(core.state, workload)
        return entry

    # -- stories ------------------------------------------------------------------------------------------------------

    async def Explain(self, request: pb.ExplainRequest, call: Call) -> pb.Explanation:
        """The story of a workload, node or operation."""
        if not request.key:
            raise Rejected("key: name a workload, node or operation")
        cluster, key = self.cluster, request.key
        limit = reading.whole("limit", request.limit, 0, _CHAPTERS_MAX) or _CHAPTERS
        end = cluster.tail.end
        first = max(await cluster.tail.begin(), end - self.options.story_batches)
        replays = first == 0 and end <= self.options.replay_batches and key in cluster.core.workloads
        core = cluster.fresh_core() if replays else cluster.core
        explainer = Explainer(key, core, replays=replays, chapters_max=limit)
        needle = msgspec.json.encode(key.rpartition("/")[0] or key)[1:-1]
        lines: list[bytes] = []
        async for line in cluster.store.lines(first, end - 1):
            if not replays and needle not in line:
                continue
            lines.append(line)
            if len(lines) >= _BATCHES_AT_ONCE:
                await self._take(explainer, lines)
        await self._take(explainer, lines)
        found = explainer.tell()
        if found is None:
            raise Missing(f"key: {key[:100]!r}: nothing in the journal since batch {first} mentions it")
        return pb.Explanation(
            key=key,
            state=number(pb.WorkloadState, found.state) if found.state else pb.WORKLOAD_STATE_UNSPECIFIED,
            node_id=found.node_id,
            chapters=[_chapter(chapter) for chapter in found.chapters],
            refusals=[pb.Refusal(at_ns=one.at_ns, diagnosis=one.diagnosis) for one in found.refusals],
            diagnosis=found.diagnosis,
            first_seq=first,
        )

    async def _take(self, explainer: Explainer, lines: list[bytes]) -> None:
        """Some batches, and then a turn for others."""
        for line in lines:
            explainer.take(read_batch(line))
        lines.clear()
        await asyncio.sleep(0)


def _chapter(chapter: Chapter) -> pb.Chapter:
    return pb.Chapter(
        seq=chapter.seq,
        at_ns=chapter.at_ns,
        is_command=chapter.what == "command",
        name=chapter.name,
        facts_json=writing.json_text(chapter.facts),
        text=str(chapter),
    )

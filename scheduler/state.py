"""Everything a core knows, and the only ways to change a workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from scheduler.cluster import Cluster, Node, NodeState
from scheduler.commands import Outcome, StartWorkload, StopReason, StopWorkload
from scheduler.config import CoreConfig, QueueConfig
from scheduler.disciplines import Discipline, make_discipline
from scheduler.engine_args import EngineArguments
from scheduler.events import DeploymentRequested, WorkloadsSubmitted
from scheduler.expected_ends import ExpectedEnds
from scheduler.fences import Fences
from scheduler.gangs import Gangs
from scheduler.ledger import Claim, Ledger
from scheduler.lifecycle import PARTITION, State, Trigger, advance
from scheduler.operations import Counters, Results
from scheduler.plan import Planner, Shares
from scheduler.policies import Policy
from scheduler.ports import ExactPlugin, ResourcePlugin
from scheduler.reallocs import Updates
from scheduler.replacements import Replacements
from scheduler.request_classes import Asked, RequestClass
from scheduler.reservations import Reservations
from scheduler.resources import Assignments, Resources
from scheduler.tenants import TenantUsage
from scheduler.timers import Timer, Timers
from scheduler.types import NodeIndex
from scheduler.windows import Window
from scheduler.workload import Fence, Workload

_ENDED_AS: dict[State, Outcome] = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.KILLED: "killed",
    State.LOST: "lost",
    State.REJECTED: "rejected",
    State.DISSOCIATED: "dissociated",
}
_PUBLISHED = frozenset({Trigger.REFUSED, Trigger.START_FAILED, Trigger.NODE_GONE_LOSE})
"""Ends that neither an exit nor a user caused: published even when nobody waits."""
# A name is found faster than a member, and these are asked for with every workload.
_QUEUED, _STOPPING, _STOPPED = State.QUEUED, State.STOPPING, State.STOPPED
_DRAINING = NodeState.DRAINING
_STATE_OF_TIMER = {"backoff": State.BACKOFF, "start": State.STARTING, "stop": State.STOPPING}

SUBMISSION_COPIES_MAX = 10_000_000
"""The most copies that one submission or deployment may be of."""

_canonical = msgspec.json.Encoder(order="deterministic").encode


Handlers = dict[type[Any], Callable[[Any], None]]
"""By event type, what to do about it."""


class CoreState:
    """The records of one core. Handlers of events change them through the methods below and through nothing else."""

    def __init__(self, config: CoreConfig, plugins: Sequence[ResourcePlugin], policy: Policy) -> None:
        self.config = config
        self.at_ns = 0
        self.counters = Counters()
        self.results = Results(self.counters)
        self.cluster = Cluster()
        exact = [plugin.name for plugin in plugins if isinstance(plugin, ExactPlugin)]
        making_room = [p.name for p in plugins if isinstance(p, ExactPlugin) and p.placement_makes_room]
        self.ledger = Ledger(len(config.dimensions), self.cluster.marks, exact, making_room)
        for plugin in plugins:
            self.ledger.pool_total.update(plugin.pools())
        self.workloads: dict[str, Workload] = {}
        """Everything that has not ended, by id."""
        self.on_row: list[dict[str, Workload]] = []
        """By row, the workloads that hold something there."""
        self.fences = Fences()
        self.apps: dict[tuple[str, str], dict[NodeIndex, int]] = {}
        """By app and entrypoint, how many copies are placed on which row."""
        self.windows: dict[str, Window] = {}
        """The maintenance windows that are not over, by id."""
        self.state_counts: dict[State, int] = dict.fromkeys(State, 0)
        self.next_sequence = 0
        """The place in the queue of the next workload that is submitted."""
        self.impatient: list[Workload] = []
        """Submitted in this step, and to be rejected if they are not placed in it."""
        self.deployments: list[DeploymentRequested] = []
        """Asked for in this step, to be placed in it or rejected."""
        self.queue_config = config.queue
        self._take_discipline(make_discipline(config.queue.name, config.queue.params, config.dimensions))
        self.gangs = Gangs(self)
        self.replacements = Replacements(self)
        self.updates = Updates(self)
        self.reservations = Reservations(self)
        self.preemptors: dict[str, Workload] = {}
        """Those that may preempt, by id; some may be queued no more."""
        self.budgets: dict[tuple[str, str], int] = {}
        """By app or job, how many of its workloads may be unavailable for preemption to take one more."""
        self.timers = Timers(self._timer_is_relevant)
        self.resources = Resources(config.dimensions, plugins, self.ledger, self.cluster)
        weights = {plugin.name: plugin.weight for plugin in config.plugins}
        self.planner = Planner(self.resources, policy, self.reservations, config.cache_bytes, weights)
        self.class_by_id = self.planner.classes.by_id
        """The request classes. For reading only."""
        self.engine_args = EngineArguments(self.resources, self.ledger, self.cluster, self.class_by_id)
        self.dimension_names = [dimension.name for dimension in config.dimensions]

    def admit(self, spec: WorkloadsSubmitted, avoid: tuple[NodeIndex, ...] = ()) -> RequestClass:
        """Return the request class of what ``spec`` asks, leaving out some rows.

        ValueError names field, value and remedy where it makes no sense. What has a class has been checked.
        """
        if not 1 <= spec.count <= SUBMISSION_COPIES_MAX:
            raise ValueError(f"count: {spec.count} must be from 1 to {SUBMISSION_COPIES_MAX:,}")
        if spec.gang and spec.preempts:
            raise ValueError("preempts: a gang cannot preempt; leave one of the two out")
        if spec.gang_timeout_ns is not None and (not spec.gang or spec.gang_timeout_ns < 1):
            raise ValueError(f"gang_timeout_ns: {spec.gang_timeout_ns} must be at least 1, and only for a gang")
        classes = self.planner.classes
        asked = None
        if spec.payloads or self.resources.asks_everyone:
            asked = self.resources.asked(spec.payloads)
        payloads = b"" if asked is None else _canonical(asked.payloads)
        key = (
            spec.request,
            spec.pool,
            payloads,
            avoid,
            spec.workload_id if spec.gang else "",
            self.reservations.access(spec) if self.reservations.by_id else None,
        )
        found = classes.find(key)
        if found is None:
            self._check_request(spec.request, asked)
            found = classes.create(key, asked)
        return found

    def _check_request(self, request: tuple[int, ...], asked: Asked | None) -> None:
        if len(request) != len(self.dimension_names):
            names = ", ".join(self.dimension_names)
            raise ValueError(f"request: {len(request)} amounts for the dimensions {names}")
        for dimension, amount in enumerate(request):
            if not isinstance(amount, int) or isinstance(amount, bool):
                raise ValueError(
                    f"request.{self.dimension_names[dimension]}: {amount!r} must be a whole number of base units"
                )
            together = amount if asked is None else amount + asked.demand[dimension]
            if amount < 0 or not 0 <= together < 1 << 62:
                raise ValueError(
                    f"request.{self.dimension_names[dimension]}: {together} must be at least 0 and below 2^62"
                )

    def new_workload(self, workload_id: str, spec: WorkloadsSubmitted, request_class: RequestClass) -> Workload:
        """Record a workload as queued. Whoever calls this queues or adopts it."""
        self.planner.classes.join(request_class)
        workload = Workload(
            workload_id=workload_id,
            spec=spec,
            sequence=self.next_sequence,
            class_id=request_class.class_id,
            submitted_ns=self.at_ns,
            creation_answered=not spec.operation_id,
        )
        self.next_sequence += 1
        self.workloads[workload_id] = workload
        self.counters.submitted += 1
        self.state_counts[_QUEUED] += 1
        return workload

    def command_start(self, workload: Workload) -> None:
        """Have the present generation started on the row that holds it; with that, an update under way is applied."""
        if workload.update is not None:
            self.updates.finish(workload)
        request_class = self.class_by_id[workload.class_id]
        engine_args = None
        if request_class.asked is not None:
            engine_args = self.engine_args.of(request_class, workload.row, workload.assignments)
            self.engine_args.note_told((workload.workload_id,))
        self.results.commands.append(
            StartWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                image=workload.spec.image,
                template=workload.spec.template,
                engine_args=engine_args,
            )
        )
        workload.timer = self.timers.add_deadline(
            "start", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    def command_stop(self, workload: Workload) -> None:
        """Have the present generation stopped, for the reason that is recorded."""
        reason: StopReason = workload.stop_reason  # type: ignore[assignment]
        self.results.commands.append(
            StopWorkload(
                workload_id=workload.workload_id,
                generation=workload.generation,
                node_id=self.cluster.nodes[workload.row].node_id,
                reason=reason,
            )
        )
        workload.timer = self.timers.add_deadline(
            "stop", self.at_ns + self.config.deadline_ns, workload.workload_id, workload.generation
        )

    def move(self, workload: Workload, trigger: Trigger) -> None:
        """Change the state by the table."""
        before = workload.state
        after = advance(before, trigger)
        workload.state = after
        counts = self.state_counts
        counts[before] -= 1
        counts[after] += 1
        if after is _STOPPING or after is _STOPPED or before is _STOPPED:
            self.ledger.touch(workload.row)  # who can make way there is another question now
        if self.ends is not None:
            self.ends.note(workload)

    def hold(
        self, workload: Workload, row: NodeIndex, assignments: Assignments | None = None, *, as_found: bool = False
    ) -> None:
        """Have the workload hold what it asks for on ``row``; `OvercommitError` where it does not fit."""
        request_class = self.class_by_id[workload.class_id]
        if request_class.asked is None and workload.update is None:
            self.ledger.reserve(row, request_class.request, as_found=as_found)
        else:
            workload.assignments = assignments or None
            workload.row = row
            self.ledger.hold(row, self.claim_of(workload), as_found=as_found)
        workload.row = row
        self.on_row[row][workload.workload_id] = workload
        if workload.spec.app:
            self.count_app(workload.spec, row, 1)
        if self.tenants is not None:
            self.tenants.add(workload.spec.tenant, request_class.request, 1)

    def place_copies(
        self, spec: WorkloadsSubmitted, request_class: RequestClass, shares: Shares, ids: Sequence[str]
    ) -> None:
        """Record the copies of a deployment as placed, hold what they hold, and have them started."""
        self._hold_copies(request_class, shares)
        asked = request_class.asked
        same = asked.uniform or None if asked is not None else None
        class_id, sequence, at_ns = request_class.class_id, self.next_sequence, self.at_ns
        state = advance(State.QUEUED, Trigger.PLACED)
        image, template, answered = spec.image, spec.template, not spec.operation_id
        workloads, append = self.workloads, self.results.commands.append
        timer = self.timers.add_deadlines("start", at_ns + self.config.deadline_ns, ids, 1)
        names = iter(ids)
        for place, (row, count) in enumerate(zip(shares.rows.tolist(), shares.counts.tolist(), strict=True)):
            node_id, on_row = self.cluster.nodes[row].node_id, self.on_row[row]
            engine_args = self.engine_args.of(request_class, row, same) if shares.assignments is None else None
            for copy in range(count):
                workload_id = next(names)
                held = same
                if shares.assignments is not None:
                    held = shares.assignments[place][copy] or None
                    engine_args = self.engine_args.of(request_class, row, held)
                workloads[workload_id] = on_row[workload_id] = Workload(
                    workload_id=workload_id,
                    spec=spec,
                    sequence=sequence,
                    class_id=class_id,
                    state=state,
                    generation=1,
                    row=row,
                    submitted_ns=at_ns,
                    placed_ns=at_ns,
                    started_ns=at_ns,
                    creation_answered=answered,
                    timer=timer,
                    assignments=held,
                )
                sequence += 1
                timer += 1
                append(
                    StartWorkload(
                        workload_id=workload_id,
                        generation=1,
                        node_id=node_id,
                        image=image,
                        template=template,
                        engine_args=engine_args,
                    )
                )
            if spec.app:
                self.count_app(spec, row, count)
        self.next_sequence = sequence
        self.counters.submitted += len(ids)
        self.counters.placements += len(ids)
        self.counters.placed += len(ids)
        self.state_counts[state] += len(ids)
        self.planner.classes.join(request_class, len(ids))
        if self.ends is not None:
            for workload_id in ids:
                self.ends.note(workloads[workload_id])
        if self.tenants is not None:
            self.tenants.add(spec.tenant, request_class.request, len(ids))
        if asked is not None and asked.exact:
            self.engine_args.note_told(ids)

    def _hold_copies(self, request_class: RequestClass, shares: Shares) -> None:
        claim = self.resources.uniform_claim(request_class) if shares.assignments is None else None
        if claim is not None and shares.counts.sum() > 1:
            self.ledger.hold_many(shares.rows, shares.counts, claim)
            return
        asked = request_class.asked
        same = asked.uniform if asked is not None else None
        for place, (row, count) in enumerate(zip(shares.rows.tolist(), shares.counts.tolist(), strict=True)):
            for copy in range(count):
                held = same if shares.assignments is None else shares.assignments[place][copy]
                self.ledger.hold(row, self.resources.claim(request_class, row, held))

    def claim_of(self, workload: Workload) -> Claim:
        """Everything that the workload holds on its row."""
        request_class = self.class_by_id[workload.class_id]
        claim = self.resources.claim(request_class, workload.row, workload.assignments)
        return claim if workload.update is None else claim.plus(workload.update.surplus)

    def count_app(self, spec: WorkloadsSubmitted, row: NodeIndex, change: int) -> None:
        """Count copies of an app on a row."""
        rows = self.apps.setdefault((spec.app, spec.entrypoint), {})
        left = rows.get(row, 0) + change
        if left:
            rows[row] = left
            return
        del rows[row]
        if not rows:
            del self.apps[spec.app, spec.entrypoint]

    def let_go(self, workload: Workload, *, fence: bool = False) -> None:
        """Give back what the workload holds, or leave it held by a fence."""
        row = workload.row
        request_class = self.class_by_id[workload.class_id]
        claim = None
        if request_class.asked is not None or workload.update is not None:
            claim = self.claim_of(workload)
        elif fence:
            claim = Claim(request_class.request)
        del self.on_row[row][workload.workload_id]
        if workload.spec.app:
            self.count_app(workload.spec, row, -1)
        if self.tenants is not None:
            self.tenants.add(workload.spec.tenant, request_class.request, -1)
        workload.row = -1
        workload.assignments = None
        if workload.update is not None:
            self.updates.answer(workload, "refused", "superseded: the workload left its node")
        if fence:
            assert claim is not None
            self.fences.add(
                Fence(workload_id=workload.workload_id, generation=workload.generation, row=row, claim=claim)
            )
            return
        if claim is None:
            self.ledger.release(row, request_class.request)
        else:
            self.ledger.drop(row, claim)
        node = self.cluster.nodes[row]
        if node.state is _DRAINING:
            self.note_drained(node)

    def respecify(self, workload: Workload, spec: WorkloadsSubmitted) -> None:
        """The workload asks for something else from now on; what it holds is its caller's business."""
        request_class = self.admit(spec, workload.failed_rows)
        self.planner.classes.join(request_class)
        self.planner.classes.leave(workload.class_id)
        if self.tenants is not None and workload.row >= 0:
            self.tenants.add(workload.spec.tenant, self.class_by_id[workload.class_id].request, -1)
            self.tenants.add(spec.tenant, request_class.request, 1)
        workload.class_id = request_class.class_id
        workload.spec = spec

    def end(self, workload: Workload, trigger: Trigger, detail: str = "") -> None:
        """The workload ends; what it held has been given back."""
        was_queued = workload.state is _QUEUED
        self.move(workload, trigger)
        if workload.nominated_row >= 0:
            self.nominate(workload, -1)
        if was_queued and workload.workload_id not in self.gangs.gathering:
            self.queue.drop(workload)
        if not workload.creation_answered or trigger in _PUBLISHED:
            operation_id = "" if workload.creation_answered else workload.spec.operation_id
            self.results.answer(operation_id, workload.workload_id, _ENDED_AS[workload.state], detail)
        if workload.stop_operation_id:
            self.results.answer(workload.stop_operation_id, workload.workload_id, _ENDED_AS[workload.state], detail)
        if workload.rollout is not None:
            self.replacements.leave(workload, "refused", f"the workload is {workload.state}")
        del self.workloads[workload.workload_id]
        self.planner.classes.leave(workload.class_id)
        if workload.spec.gang:
            self.gangs.ended(workload)

    def requeue(self, workload: Workload) -> None:
        """The workload is in the queued state again: have it placed anew."""
        workload.stop_reason = ""
        workload.successor = None
        if workload.rollout is not None:
            self.replacements.leave(workload, "refused", "the workload left its node")
        if workload.spec.preempts:
            self.preemptors[workload.workload_id] = workload
        if workload.spec.gang:
            self.gangs.come_back(workload)
        else:
            self.queue.push(workload, self.class_by_id[workload.class_id])

    def nominate(self, workload: Workload, row: NodeIndex) -> None:
        """Hold a row for a queued workload that preempts, or with -1 none any more."""
        if workload.nominated_row >= 0:
            self.cluster.nominate(workload.nominated_row, "")
            self.ledger.wake_row(workload.nominated_row)
        workload.nominated_row = row
        if row >= 0:
            self.cluster.nominate(row, workload.workload_id)
            self.ledger.touch(row)

    def preempt(self, workload: Workload) -> None:
        """Have a starting or running workload stopped, to be placed again when there is room."""
        self.counters.preempted += 1
        self.move(workload, Trigger.STOP_ASKED)
        workload.stop_reason = "preempt"
        self.command_stop(workload)
        if workload.spec.gang:
            self.gangs.scatter(workload)

    def evict(self, workload: Workload) -> None:
        """Have a starting or running workload stopped, to be placed elsewhere."""
        self.stop_to_move(workload)
        if workload.spec.gang:
            self.gangs.wait_for(workload)

    def stop_to_move(self, workload: Workload) -> None:
        """`evict` of one copy of a gang, of which the others know already."""
        self.move(workload, Trigger.STOP_ASKED)
        workload.stop_reason = "evict"
        self.command_stop(workload)

    def avoid(self, workload: Workload, row: NodeIndex) -> None:
        """Put the workload into the class that asks the same but leaves out the row."""
        workload.failed_rows = tuple(sorted({*workload.failed_rows, row}))
        self.respecify(workload, workload.spec)

    def check_id(self, workload_id: str) -> None:
        """ValueError where the id is empty, or that of a live workload or of an instance not confirmed gone."""
        if not workload_id:
            raise ValueError("workload_id: it is empty; give every workload a name")
        if workload_id in self.workloads:
            raise ValueError("a workload of this id exists already")
        if workload_id in self.fences.workload_ids:
            raise ValueError("an earlier workload of this id is not confirmed gone from a lost node; use another id")

    def check_ids(self, workload_ids: Sequence[str]) -> None:
        """`check_id` for many, in their order."""
        if not (
            self.workloads.keys().isdisjoint(workload_ids) and self.fences.workload_ids.keys().isdisjoint(workload_ids)
        ):
            for workload_id in workload_ids:
                self.check_id(workload_id)

    def command_fence(self, fence: Fence) -> None:
        """Have a superseded instance stopped, on a node that is there again."""
        self.results.commands.append(
            StopWorkload(
                workload_id=fence.workload_id,
                generation=fence.generation,
                node_id=self.cluster.nodes[fence.row].node_id,
                reason="fence",
            )
        )
        fence.timer = self.timers.add_deadline(
            "fence", self.at_ns + self.config.deadline_ns, fence.workload_id, fence.generation
        )

    def lift_fence(self, workload_id: str, generation: int) -> bool:
        """A superseded instance is confirmed gone: give back what it held. False where there is none."""
        fence = self.fences.take(workload_id, generation)
        if fence is None:
            return False
        self.ledger.drop(fence.row, fence.claim)
        self.note_drained(self.cluster.nodes[fence.row])
        return True

    def note_drained(self, node: Node) -> None:
        """Answer whoever waits for the drain of the node once nothing is left that has to move."""
        if node.state is not NodeState.DRAINING or not node.drain_operation_id or self.fences.on_row(node.row):
            return
        if all(workload.state is State.STOPPED for workload in self.on_row[node.row].values()):
            self.results.answer(node.drain_operation_id, node.node_id, "drained")
            node.drain_operation_id = ""

    def _timer_is_relevant(self, timer: Timer) -> bool:
        """Whether it is the last timer that was set for its subject, and that still is in the state it was set in."""
        state = _STATE_OF_TIMER.get(timer.kind)
        if state is not None:
            workload = self.workloads.get(timer.workload_id)
            return workload is not None and workload.timer == timer.sequence and workload.state is state
        if timer.kind == "fence":
            fence = self.fences.by_key.get((timer.workload_id, timer.generation))
            return fence is not None and fence.timer == timer.sequence
        if timer.kind == "window":
            window = self.windows.get(timer.workload_id)
            return window is not None and window.timer == timer.sequence
        if timer.kind == "reservation":
            return self.reservations.is_due(timer.workload_id, timer.sequence)
        if timer.kind == "gang":
            return self.gangs.is_due(timer.workload_id, timer.generation)
        workload = self.workloads.get(timer.workload_id)
        if timer.kind == "update":
            return workload is not None and workload.update is not None and workload.update.timer == timer.sequence
        return (
            workload is not None
            and workload.rollout is not None
            and workload.rollout.gate_timer == timer.sequence
            and workload.state is State.RUNNING
        )

    def _take_discipline(self, discipline: Discipline) -> None:
        self.discipline = discipline
        self.queue = discipline.queue
        self.ends = ExpectedEnds() if discipline.uses_ends else None
        """When what is held is expected to end; None where nobody asks."""
        self.tenants = TenantUsage(len(self.config.dimensions)) if discipline.uses_tenants else None
        """What tenants hold; None where nobody asks."""

    def change_queue(self, config: QueueConfig) -> None:
        """Have another discipline from now on; ValueError, and nothing changes, where the configuration makes no sense.

        What waits goes over to it, and is all tried again.
        """
        discipline = make_discipline(config.name, config.params, self.config.dimensions)
        waiting = self._empty_queue()
        self.queue_config = config
        self._take_discipline(discipline)
        for workload in self.workloads.values():
            if self.ends is not None:
                self.ends.note(workload)
            if self.tenants is not None and workload.row >= 0:
                request = self.class_by_id[workload.class_id].request
                self.tenants.add(workload.spec.tenant, request, 1)
        self._fill_queue(waiting)

    def reclassify(self) -> None:
        """What makes a request class has changed: find that of every workload anew, and try again all that wait."""
        waiting = self._empty_queue()
        for workload in self.workloads.values():
            if self.class_by_id[workload.class_id].access != self.reservations.access(workload.spec):
                self.respecify(workload, workload.spec)
        self.discipline = make_discipline(self.queue_config.name, self.queue_config.params, self.config.dimensions)
        self.queue = self.discipline.queue
        self._fill_queue(waiting)

    def _empty_queue(self) -> list[Workload]:
        """Take everything out of the queue, which must not be used any more."""
        waiting = list(self.queue.workloads())
        for workload in waiting:
            self.class_by_id[workload.class_id].queued = 0
        return waiting

    def _fill_queue(self, waiting: Sequence[Workload]) -> None:
        for workload in waiting:
            self.queue.push(workload, self.class_by_id[workload.class_id])

    def adopt_record(self, workload: Workload) -> None:
        """Take in a record as it was, holding nothing yet; its class is found anew."""
        request_class = self.admit(workload.spec, workload.failed_rows)
        self.planner.classes.join(request_class)
        workload.class_id = request_class.class_id
        self.workloads[workload.workload_id] = workload

    def hold_again(self, workload: Workload, row: NodeIndex) -> None:
        """Have the workload hold on ``row`` what it held."""
        self.hold(workload, row, workload.assignments, as_found=True)
        if self.ends is not None:
            self.ends.note(workload)

    def requeue_all(self) -> None:
        """Queue what is queued. Between steps every waiting class has been refused."""
        for workload in self.workloads.values():
            if workload.state is State.QUEUED and workload.spec.preempts:
                self.preemptors[workload.workload_id] = workload
            if workload.nominated_row >= 0:
                self.cluster.nominate(workload.nominated_row, workload.workload_id)
            if workload.state is State.QUEUED and workload.workload_id not in self.gangs.gathering:
                self.queue.push(workload, self.class_by_id[workload.class_id])
        self.queue.settle(self.ledger)

    def partition(self) -> dict[str, int]:
        """All work ever submitted, by part: queued, starting, running, stopping and the ways to end."""
        parts = dict.fromkeys(PARTITION.values(), 0)
        for state, count in self.state_counts.items():
            parts[PARTITION[state]] += count
        return parts

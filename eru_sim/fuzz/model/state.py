"""How things are, as far as the stream of batches tells, and what is due.

What *must* be commanded in this batch is expected; what *may* be commanded again is overdue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from eru_sim.fuzz.model.holdings import Holding, demand_of, holding_of
from eru_sim.fuzz.model.records import (
    Fence,
    Node,
    Operation,
    Reservation,
    Rollout,
    Rules,
    Violation,
    Window,
    Work,
    require,
)
from scheduler.commands import AnyCommand, PublishResult, StartWorkload, UpdateWorkload
from scheduler.events import AnyEvent, DeploymentRequested, WorkloadsSubmitted


class State:
    """The records, and the only methods that place, move or end a workload in them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.at_ns = 0
        self.work: dict[str, Work] = {}
        self.nodes: dict[str, Node] = {}
        self.fences: dict[tuple[str, int], Fence] = {}
        self.windows: dict[str, Window] = {}
        self.reservations: dict[str, Reservation] = {}
        """Those that are not over."""
        self.rollouts: dict[str, Rollout] = {}
        self.asked = 0
        self.operations: dict[str, Operation] = {}
        self.budgets: dict[tuple[str, str], int] = {}
        self.ended: Counter[str] = Counter()
        self.left_running: dict[str, tuple[Work, str]] = {}
        """What was dissociated, and where it runs."""
        self.submitted = 0
        self.has_nominations = False
        """Whether nodes may be closed for all but one: then which are open is not known."""
        self.queue, self.maximum = rules.queue, rules.maximum
        """The discipline in force, and of each tenant how much may be held at most, by dimension."""
        self.found_licences = False
        """Whether work was found that holds licences, so that more may be taken than there are."""
        self.sequence = 0
        self.order = 0
        # of the batch that is being taken in
        self.commands: Sequence[AnyCommand] = ()
        self.answers: dict[str, list[PublishResult]] = {}
        self.deployments: dict[str, DeploymentRequested] = {}
        self.rejected: set[str] = set()
        self.impatient: dict[str, None] = {}
        self.placed: list[Work] = []
        self.is_awake = False
        self._expected: dict[tuple[str, str, int], list[tuple[Any, ...]]] = {}
        self._overdue: dict[tuple[str, str, int], None] = {}

    def begin(self, at_ns: int, commands: Sequence[AnyCommand]) -> None:
        """A batch begins."""
        self.at_ns, self.commands, self.is_awake = at_ns, commands, False
        self.answers = {}
        for command in commands:
            if isinstance(command, PublishResult):
                self.answers.setdefault(command.operation_id, []).append(command)
        self.deployments, self.rejected, self.impatient, self.placed = {}, set(), {}, []
        self._expected, self._overdue = {}, {}

    # -- work ----------------------------------------------------------------------------------------------------------

    def record(self, workload_id: str, spec: WorkloadsSubmitted) -> Work:
        """A workload that is known from now on."""
        work = Work(workload_id=workload_id, spec=spec, sequence=self.sequence, submitted_ns=self.at_ns)
        self.sequence += 1
        self.submitted += 1
        self.work[workload_id] = work
        return work

    def forget(self, work: Work) -> None:
        """It has not come about after all."""
        del self.work[work.workload_id]
        self.submitted -= 1
        operation = self.operations.get(work.spec.operation_id)
        if operation is not None and operation.expected:
            operation.expected -= 1

    def end(self, work: Work, how: str) -> None:
        """A workload ends."""
        self.leave(work)
        del self.work[work.workload_id]
        self.impatient.pop(work.workload_id, None)
        self.ended[how] += 1

    def leave(self, work: Work, *, fence: bool = False) -> None:
        """The workload holds nothing any more, or a fence holds it."""
        if not work.node_id:
            return
        if fence:
            key = (work.workload_id, work.generation)
            self.fences[key] = Fence(
                workload_id=key[0],
                generation=key[1],
                node_id=work.node_id,
                held=work.holding,
                told_ns=self.at_ns,
                rules=(work.spec.payloads or {}).get("affinity") or {},
            )
        del self.nodes[work.node_id].on[work.workload_id]
        work.node_id, work.held, work.update = "", None, None

    def requeue(self, work: Work) -> None:
        """It waits again, and so does all of its gang."""
        work.state, work.reason, work.rollout, work.successor = "queued", "", "", ("", "")
        if work.spec.gang:
            self.scatter(work)

    def gang(self, spec: WorkloadsSubmitted) -> list[Work]:
        """The live copies of a gang."""
        names = [spec.workload_id] if spec.count == 1 else [f"{spec.workload_id}/{n}" for n in range(spec.count)]
        found = (self.work.get(name) for name in names)
        return [w for w in found if w is not None and w.spec.gang and w.spec.workload_id == spec.workload_id]

    def scatter(self, left: Work) -> None:
        """One of a gang has left: the others come too."""
        for member in self.gang(left.spec):
            if member is not left:
                if member.state in ("starting", "running"):
                    self.evict(member)
                elif member.state == "stopping" and member.reason == "replace":
                    member.reason = "evict"

    def evict(self, work: Work) -> None:
        """It has to leave its node."""
        work.state, work.reason = "stopping", "evict"
        self.expect_stop(work)

    def expect_stop(self, work: Work) -> None:
        """Its stop is to be commanded."""
        work.told_ns = self.at_ns
        self.expect("stop", work.workload_id, work.generation, work.node_id, work.reason)

    def expect_start(self, work: Work) -> None:
        """Whoever starts has what an update under way was to give it."""
        work.generation += 1
        work.state, work.reason, work.update = "starting", "", None
        work.told_ns = self.at_ns
        self.expect("start", work.workload_id, work.generation, work.node_id, work.spec.image, work.spec.template)

    def run_as(self, work: Work, program: tuple[str, str]) -> None:
        """Another image and template."""
        work.spec = msgspec.structs.replace(work.spec, image=program[0], template=program[1])

    def is_taken(self, workload_id: str) -> bool:
        """Whether nobody new may have the id."""
        return not workload_id or workload_id in self.work or any(name == workload_id for name, _ in self.fences)

    # -- who asks ------------------------------------------------------------------------------------------------------

    def refuse(self, event: AnyEvent, operation_id: str) -> None:
        """A request that makes no sense: it is refused, which is all that there is to it.

        Unless somebody waits under the same id: then it is refused without one.
        """
        if operation_id and not self._is_under_way(event, operation_id):
            last = self._last(operation_id)
            due = last.expected or 0 if last is not None and last.state == "refused" else 0
            self._ask(operation_id, Operation(event=event, expected=due + 1, state="refused"))

    def open(self, event: AnyEvent, operation_id: str, expected: int | None = 1) -> bool:
        """Whether an operation begins with an event that makes sense; False where its id is taken."""
        if not operation_id:
            return True
        if self._is_under_way(event, operation_id):
            return False
        self._ask(operation_id, Operation(event=event, expected=expected, state="open"))
        return True

    def _last(self, operation_id: str) -> Operation | None:
        known = self.operations.get(operation_id)
        return known if known is None or known.then is None else known.then

    def _is_under_way(self, event: AnyEvent, operation_id: str) -> bool:
        """Whether somebody waits under the id when an event comes.

        What is done in this batch is so before the event, unless the event was refused before that, without the id.
        """
        last = self._last(operation_id)
        if last is None or last.state != "open":
            return False
        if last is not self.operations[operation_id] or not self.is_answered(operation_id, "done"):
            return True
        outcomes = [answer.outcome for answer in self.answers[operation_id]]
        if outcomes[-1] != "done" or outcomes.count("done") > 1:
            return False
        about = {operation_id, getattr(event, "workload_id", ""), getattr(event, "node_id", "")}
        said = [command for command in self.commands if isinstance(command, PublishResult)]
        before = said[: said.index(self.answers[operation_id][-1])]
        return any(not one.operation_id and one.outcome == "refused" and one.subject in about for one in before)

    def _ask(self, operation_id: str, operation: Operation) -> None:
        known = self.operations.get(operation_id)
        if known is not None and known.state == "open":
            known.then = operation
        else:
            self.operations[operation_id] = operation

    def is_refused(self, operation_id: str) -> bool:
        """Whether what was asked under the id made no sense, by what is answered in this batch."""
        answers = self.answers.get(operation_id, ())
        return any((answer.outcome, answer.subject) == ("refused", operation_id) for answer in answers)

    def is_answered(self, operation_id: str, outcome: str) -> bool:
        """Whether somebody is answered so in this batch."""
        return any(answer.outcome == outcome for answer in self.answers.get(operation_id, ()))

    # -- what is due ---------------------------------------------------------------------------------------------------

    def take_expected(self, kind: str, name: str, generation: int) -> tuple[Any, ...] | None:
        """What was to be commanded of it, if anything was."""
        expected = self._expected.get((kind, name, generation))
        if expected is None:
            return None
        first = expected.pop(0)
        if not expected:
            del self._expected[kind, name, generation]
        return first

    def expect(self, kind: str, name: str, generation: int, *said: Any) -> None:
        """Something is to be commanded in this batch, with what is said of it."""
        self._expected.setdefault((kind, name, generation), []).append(said)

    def is_expected(self, kind: str, name: str, generation: int) -> bool:
        """Whether it is to be commanded."""
        return (kind, name, generation) in self._expected

    def take_overdue(self, kind: str, name: str, generation: int) -> bool:
        """Whether a command may be repeated: the core was woken, and has had no answer within the deadline."""
        is_overdue = (kind, name, generation) in self._overdue
        self._overdue.pop((kind, name, generation), None)
        return is_overdue

    def note_overdue(self) -> None:
        """The core is awake: what has had no answer within the deadline may be commanded again."""
        last_ns = self.at_ns - self.rules.deadline_ns
        for name, work in self.work.items():
            is_there = bool(work.node_id) and self.nodes[work.node_id].state != "lost"
            if is_there and work.told_ns <= last_ns and work.state in ("starting", "stopping"):
                self._overdue["start" if work.state == "starting" else "stop", name, work.generation] = None
            if is_there and work.update is not None and work.update.told_ns <= last_ns:
                self._overdue["update", name, work.update.revision] = None
        for (name, generation), fence in self.fences.items():
            if self.nodes[fence.node_id].state != "lost" and fence.told_ns <= last_ns:
                self._overdue["fence", name, generation] = None

    def check_due(self) -> None:
        """What was to be commanded has been, and what was overdue when the core was woken, and still is, again."""
        for kind, name, generation in self._expected:
            raise Violation(f"{kind} of {name} generation {generation} was to be commanded", name)
        for kind, name, generation in self._overdue:
            work, fence = self.work.get(name), self.fences.get((name, generation))
            if kind == "fence":
                is_left = fence is not None
            elif kind == "update":
                is_left = work is not None and work.update is not None and work.update.revision == generation
            else:
                state = "starting" if kind == "start" else "stopping"
                is_left = work is not None and (work.state, work.generation) == (state, generation)
                is_left = is_left and work is not None and work.told_ns + self.rules.deadline_ns <= self.at_ns
            require(not is_left, f"{name} {generation}: the {kind} has had no answer, and is not repeated", name)

    # -- what is held --------------------------------------------------------------------------------------------------

    def holders(self, node_id: str) -> Iterator[tuple[str, Holding]]:
        """Who holds what on a node."""
        for name in self.nodes[node_id].on:
            yield name, self.work[name].holding
        for (name, generation), fence in self.fences.items():
            if fence.node_id == node_id:
                yield f"fence of {name} {generation}", fence.held

    def used(self, node_id: str) -> dict[tuple[str, ...], int]:
        """How much of each slot is held on a node."""
        found: dict[tuple[str, ...], int] = {}
        for _, held in self.holders(node_id):
            for slot, amount in held.slots.items():
                found[slot] = found.get(slot, 0) + amount
        return found

    def is_reserved(self, node_id: str, spec: WorkloadsSubmitted) -> bool:
        """Whether a node is held for somebody else, or will be before work placed now is expected to end."""
        return any(
            node_id in reservation.node_ids
            and not counts_for(spec, reservation.tenant)
            and (
                self.at_ns >= reservation.start_ns
                or spec.estimate_ns is None
                or self.at_ns + spec.estimate_ns > reservation.start_ns
            )
            for reservation in self.reservations.values()
        )

    def over_quota(self, spec: WorkloadsSubmitted, copies: int) -> str:
        """The tenant with whose maximum so many more copies do not go together, or "".

        A tenant ``a/b`` counts for ``a`` too; what superseded instances hold counts for nobody.
        """
        for tenant, most in self.maximum.items():
            if not counts_for(spec, tenant):
                continue
            held = Counter(self.demand(spec, copies))
            for work in self.work.values():
                if work.node_id and counts_for(work.spec, tenant):
                    held.update(self.demand(work.spec))
            asked = self.demand(spec)
            if any(asked.get(name) and held[name] > amount for name, amount in most.items()):
                return tenant
        return ""

    def demand(self, spec: WorkloadsSubmitted, copies: int = 1) -> dict[str, int]:
        """What so many copies take of each dimension."""
        return {slot[1]: copies * amount for slot, amount in demand_of(spec, self.rules.dimensions).items()}

    def licences_used(self) -> dict[str, tuple[int, int]]:
        """By licence, how many are taken, and how many are left."""
        taken: Counter[str] = Counter()
        for work in self.work.values():
            if work.node_id:
                taken.update(work.holding.licences)
        for fence in self.fences.values():
            taken.update(fence.held.licences)
        return {name: (taken[name], limit - taken[name]) for name, limit in self.rules.licences.items()}

    def give(self, work: Work, command: StartWorkload | UpdateWorkload, *, is_new: bool) -> None:
        """What an instance is told of its resources must be what it has."""
        try:
            held = holding_of(work.spec, self.rules.dimensions, command.engine_args)
        except ValueError as error:
            raise Violation(f"{work.workload_id} on {work.node_id}: {error}", work.workload_id) from None
        assert work.held is not None
        if not is_new:
            same = (set(held.cores), held.alone) == (set(work.held.cores), work.held.alone)
            require(
                same and held.slots == work.held.slots,
                f"{work.workload_id} on {work.node_id} has become another: {held} after {work.held}",
                work.workload_id,
            )
        work.held, work.args = held, dict(command.engine_args or {})


def counts_for(spec: WorkloadsSubmitted, tenant: str) -> bool:
    """Whether it is the tenant's work, or that of one below it."""
    return spec.tenant == tenant or spec.tenant.startswith(f"{tenant}/")

"""Bugs that are put into the core at run time: the campaign finds each of them within thirty seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from eru_sim.fuzz.scenario import Case, Scenario
from eru_sim.fuzz.trial import Trial
from scheduler import core as core_module
from scheduler import snapshot
from scheduler.cluster import NodeState
from scheduler.core import Core
from scheduler.events import NodeReturned
from scheduler.gangs import Gangs
from scheduler.ledger import Claim, Ledger
from scheduler.lifecycle import State
from scheduler.node_events import NodeEvents
from scheduler.operations import Results
from scheduler.placing import Placer
from scheduler.preemption import Preemption
from scheduler.reallocs import Updates
from scheduler.request_classes import RequestClass
from scheduler.reservations import Reservations
from scheduler.slots import SlotTable
from scheduler.state import CoreState
from scheduler.tenants import TenantUsage
from scheduler.timers import Timer, Timers
from scheduler.workload import Workload
from scheduler.workload_events import WorkloadEvents

pytestmark = pytest.mark.long

SEEDS_MAX = 30
PROCESS = ("core_crashes", "torn_journal", "full_disk")
Patch = Callable[[pytest.MonkeyPatch], None]


class Mutation(NamedTuple):
    """A bug, and what every seed has."""

    name: str
    patch: Patch
    scenario: Scenario = Scenario()


def with_(*features: str, never: tuple[str, ...] = (), queue: tuple[str, ...] = ()) -> Scenario:
    return Scenario(always=features, never=never, queue=queue)


# -- what is held ------------------------------------------------------------------------------------------------------


def release_twice(patch: pytest.MonkeyPatch) -> None:
    """What a superseded instance held is given back twice: when its node returns, and when it is confirmed gone."""
    on_returned = NodeEvents._on_node_returned

    def mutated(self: NodeEvents, event: NodeReturned) -> None:
        on_returned(self, event)
        node = self.state.cluster.by_id.get(event.node_id)
        for fence in self.state.fences.on_row(node.row) if node is not None else ():
            self.state.ledger.drop(fence.row, fence.claim)

    patch.setattr(NodeEvents, "_on_node_returned", mutated)


def keep_the_memory(patch: pytest.MonkeyPatch) -> None:
    """Of what is removed while it runs, the memory is not given back."""
    let_go = CoreState.let_go

    def mutated(self: CoreState, workload: Workload, *, fence: bool = False) -> None:
        row, is_removed = workload.row, workload.stop_reason == "kill"
        request = self.planner.classes.by_id[workload.class_id].request
        let_go(self, workload, fence=fence)
        if is_removed and not fence:
            self.ledger.reserve(row, (0, request[1], *(0,) * (len(request) - 2)), as_found=True)

    patch.setattr(CoreState, "let_go", mutated)


def keep_the_licences(patch: pytest.MonkeyPatch) -> None:
    """Licences of what superseded instances held are never given back."""
    drop = Ledger.drop

    def mutated(self: Ledger, row: int, claim: Claim) -> None:
        drop(self, row, claim if self.live[row] else Claim(claim.request, marks=claim.marks, slots=claim.slots))

    patch.setattr(Ledger, "drop", mutated)


def keep_the_quota(patch: pytest.MonkeyPatch) -> None:
    """What ends is not given back to its tenant's quota."""
    add = TenantUsage.add

    def mutated(self: TenantUsage, tenant: str, request: Any, copies: int) -> None:
        if copies > 0:
            add(self, tenant, request, copies)

    patch.setattr(TenantUsage, "add", mutated)


def skip_a_fence(patch: pytest.MonkeyPatch) -> None:
    """What a lost node's work held is given back at once."""
    let_go = CoreState.let_go

    def mutated(self: CoreState, workload: Workload, *, fence: bool = False) -> None:
        let_go(self, workload)

    patch.setattr(CoreState, "let_go", mutated)


def grant_a_core_twice(patch: pytest.MonkeyPatch) -> None:
    """A core that is taken stays free; what is counted stays right."""
    take = SlotTable.take

    def mutated(self: SlotTable, row: int, amounts: Any, sign: int = 1) -> None:
        take(self, row, {slot: amount for slot, amount in amounts.items() if not slot.isdigit()}, sign)

    patch.setattr(SlotTable, "take", mutated)


def no_rollback(patch: pytest.MonkeyPatch) -> None:
    """A realloc that the engine could not apply counts as applied."""
    finish = Updates.finish

    def mutated(self: Updates, workload: Workload, failure: str = "") -> None:
        finish(self, workload)

    patch.setattr(Updates, "finish", mutated)


# -- what is commanded -------------------------------------------------------------------------------------------------


def same_generation(patch: pytest.MonkeyPatch) -> None:
    """What is placed again after its node was lost or drained is the generation that it was."""
    place = Placer._place

    def mutated(self: Placer, workload: Workload, row: int, assignments: Any) -> None:
        workload.generation -= workload.generation > 0
        place(self, workload, row, assignments)

    patch.setattr(Placer, "_place", mutated)


def wrong_node(patch: pytest.MonkeyPatch) -> None:
    """The engine of the first node is told to start what is held on another."""
    command_start = CoreState.command_start

    def mutated(self: CoreState, workload: Workload) -> None:
        row, workload.row = workload.row, 0
        command_start(self, workload)
        workload.row = row

    patch.setattr(CoreState, "command_start", mutated)


def believe_old_generations(patch: pytest.MonkeyPatch) -> None:
    """What is said of an old generation is taken for the present one."""

    def mutated(self: WorkloadEvents, workload_id: str, generation: int) -> Workload | None:
        workload = self.state.workloads.get(workload_id)
        return workload if workload is not None and workload.row >= 0 else None

    patch.setattr(WorkloadEvents, "_current", mutated)


def drop_a_timer(patch: pytest.MonkeyPatch) -> None:
    """Nobody is woken when a stop is not answered."""
    add_deadline = Timers.add_deadline

    def mutated(self: Timers, kind: Any, at_ns: int, workload_id: str, generation: int) -> int:
        return -1 if kind == "stop" else add_deadline(self, kind, at_ns, workload_id, generation)

    patch.setattr(Timers, "add_deadline", mutated)


def keep_a_timer(patch: pytest.MonkeyPatch) -> None:
    """A start that was answered is waited for all the same."""
    is_relevant = CoreState._timer_is_relevant

    def mutated(self: CoreState, timer: Timer) -> bool:
        workload = self.workloads.get(timer.workload_id)
        is_up = workload is not None and (workload.state, workload.generation) == (State.RUNNING, timer.generation)
        return is_relevant(self, timer) or (timer.kind == "start" and is_up)

    patch.setattr(CoreState, "_timer_is_relevant", mutated)


def forget_a_gang_member(patch: pytest.MonkeyPatch) -> None:
    """A drain leaves the second copy of a gang where it is."""
    evict = CoreState.evict

    def mutated(self: CoreState, workload: Workload) -> None:
        is_draining = self.cluster.nodes[workload.row].state is NodeState.DRAINING
        if not (is_draining and workload.spec.gang and workload.workload_id.endswith("/1")):
            evict(self, workload)

    patch.setattr(CoreState, "evict", mutated)


# -- what is decided ---------------------------------------------------------------------------------------------------


def sleep_on(patch: pytest.MonkeyPatch) -> None:
    """A node that returns is there, but nobody who waits is tried there."""
    on_returned = NodeEvents._on_node_returned

    def mutated(self: NodeEvents, event: NodeReturned) -> None:
        freed = dict(self.state.ledger.freed_rows)
        on_returned(self, event)
        self.state.ledger.freed_rows = freed

    patch.setattr(NodeEvents, "_on_node_returned", mutated)


def wrong_order(patch: pytest.MonkeyPatch) -> None:
    """Submissions come before what ends."""
    patch.setattr(core_module, "_event_class", lambda event: -event.event_class)


def announce_nothing(patch: pytest.MonkeyPatch) -> None:
    """What would still run when a reservation begins is placed on its nodes all the same."""
    closed_rows = Reservations.closed_rows

    def mutated(self: Reservations, request_class: RequestClass) -> Any:
        announced = {name: r for name, r in self.by_id.items() if r.start_ns > self.state.at_ns}
        self.by_id = {name: r for name, r in self.by_id.items() if name not in announced}
        rows = closed_rows(self, request_class)
        self.by_id.update(announced)
        return rows

    patch.setattr(Reservations, "closed_rows", mutated)


def place_half_a_gang(patch: pytest.MonkeyPatch) -> None:
    """The copies of a gang are placed one by one."""

    def mutated(self: Placer, unit: Any, rows: Any = None) -> bool:
        placed = [self.try_place(workload, self.class_of(workload), rows) for workload in unit[:1]]
        return all(placed)

    patch.setattr(Placer, "try_place_unit", mutated)
    patch.setattr(Gangs, "scatter", lambda self, left: None)


def preempt_equals(patch: pytest.MonkeyPatch) -> None:
    """Work of the same priority goes too."""
    candidates = Preemption._candidates

    def mutated(self: Preemption, row: int, priority: int, allowed: dict[tuple[str, str], int]) -> list[Workload]:
        return candidates(self, row, priority + 1, allowed)

    patch.setattr(Preemption, "_candidates", mutated)


def miscount_a_budget(patch: pytest.MonkeyPatch) -> None:
    """What waits counts as available."""
    allowances = Preemption._allowances

    def mutated(self: Preemption) -> dict[tuple[str, str], int]:
        left = allowances(self)
        for workload in self.state.workloads.values():
            for key in ((workload.spec.app, ""), ("", workload.spec.job_id)):
                if key in left and workload.state is State.QUEUED:
                    left[key] += 1
        return left

    patch.setattr(Preemption, "_allowances", mutated)


# -- what is told and remembered ---------------------------------------------------------------------------------------


def lose_an_answer(patch: pytest.MonkeyPatch) -> None:
    """Who removes is not told."""
    answer = Results.answer

    def mutated(self: Results, operation_id: str, subject: str, outcome: Any, detail: str = "") -> None:
        if outcome != "killed":
            answer(self, operation_id, subject, outcome, detail)

    patch.setattr(Results, "answer", mutated)


def forgetful_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A core that comes back has forgotten the disruption budgets."""
    load = snapshot.load

    def mutated(*arguments: Any, **options: Any) -> Core:
        core = load(*arguments, **options)
        core.state.budgets.clear()
        return core

    patch.setattr(snapshot, "load", mutated)


MUTATIONS = (
    Mutation("double release", release_twice, with_("flaps", "node_loss")),
    Mutation("memory", keep_the_memory, with_("removals")),
    Mutation("licences", keep_the_licences, with_("licences", "node_loss", "churn")),
    Mutation("quota", keep_the_quota, with_("tenants", never=PROCESS, queue=("drf",))),
    Mutation("no fence", skip_a_fence, with_("node_loss")),
    Mutation("core twice", grant_a_core_twice, with_("cpu")),
    Mutation("no rollback", no_rollback, with_("reallocs", "update_failures")),
    Mutation("generation", same_generation, with_("drains", "node_loss")),
    Mutation("wrong node", wrong_node),
    Mutation("old generations", believe_old_generations, with_("late", "flaps", "node_loss")),
    Mutation("timer dropped", drop_a_timer, with_("lost", "stop_start", "removals")),
    Mutation("timer kept", keep_a_timer),
    Mutation("gang left behind", forget_a_gang_member, with_("gangs", "drains")),
    Mutation("no pass", sleep_on, with_("node_loss")),
    Mutation("wrong order", wrong_order),
    Mutation("announcement", announce_nothing, with_("reservations", never=PROCESS)),
    Mutation("half a gang", place_half_a_gang, with_("gangs")),
    Mutation("equals", preempt_equals, with_("preemption")),
    Mutation("budget", miscount_a_budget, with_("budgets", "preemption", never=PROCESS, queue=("priority",))),
    Mutation("lost answer", lose_an_answer, with_("removals")),
    Mutation("snapshot", forgetful_snapshot, with_("core_crashes", "budgets")),
)


def test_there_are_enough_of_them() -> None:
    assert len({mutation.patch for mutation in MUTATIONS}) >= 10


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_bug_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.patch(monkeypatch)
    assert any(Trial(Case(seed=seed, scenario=mutation.scenario)).run().failure for seed in range(SEEDS_MAX))

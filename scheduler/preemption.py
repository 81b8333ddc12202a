"""Preemption: work of high priority takes the place of work of lower priority.

Theory of operation. After a scheduling pass, each queued workload that may preempt and still waits looks for a node on
which it would fit if work of lower priority went. The victims are stopped and queued again, and the node is
*nominated*: until it has taken the preemptor, nobody else is placed there. Each pass begins with the nominated nodes. A
nomination lapses when the preemptor has ended or was placed elsewhere, when the node takes no work any more, when the
preemptor's tenant has grown to its maximum meanwhile, or when the victims are gone and it still does not fit. That a
victim may come before the preemptor in the queue, as in one that knows no priorities, changes nothing.

On a node, everything of lower priority is a candidate that its disruption budget allows to go; from the highest
priority and the earliest submission on, each stays that can stay beside the preemptor, so no victim is stopped for
nothing. Of the nodes, the one is taken whose most important victim has the lowest priority, then with the fewest
victims, then with the lowest sum of their priorities, then the lowest row. (Kubernetes, "Pod Priority and Preemption",
but budgets are kept whatever it costs.) If a victim is one of a gang, all of it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop
from typing import NamedTuple

import numpy as np

from scheduler.cluster import NodeState
from scheduler.events import DisruptionBudgetSet
from scheduler.gangs import is_coming
from scheduler.ledger import OvercommitError
from scheduler.lifecycle import State
from scheduler.placing import Placer
from scheduler.plan import NO_ROW
from scheduler.request_classes import RequestClass
from scheduler.state import CoreState, Handlers
from scheduler.types import Int64Array, NodeIndex
from scheduler.workload import Workload, by_priority


class _Way(NamedTuple):
    """Who has to go from a row; ordered by what is taken first."""

    highest_priority: int
    victim_count: int
    priority_sum: int
    row: NodeIndex
    victims: tuple[Workload, ...]


_Key = tuple[int, int, int, NodeIndex]
"""The fields of a `_Way` that order it."""
_TABLES_MAX = 8


class _Table:
    """By row the way by amounts for a class and priority, None for none; right up to the ledger's version ``seen``."""

    def __init__(self, request_class: RequestClass, priority: int) -> None:
        self.request_class = request_class
        self.priority = priority
        self.keys: list[_Key | None] = []
        self.seen = -1


class Preemption:
    """What a core does about work that may preempt."""

    def __init__(self, state: CoreState, placer: Placer) -> None:
        self.state = state
        self.placer = placer
        self._tables: dict[tuple[int, int], _Table] = {}
        """By class and priority of the preemptor, the least recently used first."""
        self.handlers: Handlers = {DisruptionBudgetSet: self._on_budget_set}

    def _on_budget_set(self, event: DisruptionBudgetSet) -> None:
        if bool(event.app) == bool(event.job_id):
            self.state.results.refuse(event.app or event.job_id, "app: give an app or a job_id, and not both")
            return
        key = (event.app, event.job_id)
        if event.unavailable_max is None:
            self.state.budgets.pop(key, None)
        elif event.unavailable_max < 0:
            why = f"unavailable_max: {event.unavailable_max} must be at least 0"
            self.state.results.refuse(event.app or event.job_id, why)
        else:
            self.state.budgets[key] = event.unavailable_max

    # -- nominated nodes ----------------------------------------------------------------------------------------------

    def place_nominated(self) -> None:
        """Place whom a node is held for, where that can be done now."""
        for row, workload_id in list(self.state.cluster.nominated.items()):
            workload = self.state.workloads[workload_id]
            node = self.state.cluster.nodes[row]
            are_gone = not any(is_coming(other) for other in self.state.on_row[row].values())
            if node.state is NodeState.READY and not are_gone and row not in self.state.ledger.freed_rows:
                continue
            self.state.nominate(workload, NO_ROW)
            if node.state is not NodeState.READY or self.state.discipline.limit(self.state, workload):
                continue
            rows = np.array([row], dtype=np.int64)
            if self.placer.try_place(workload, self.placer.class_of(workload), rows):
                self.state.queue.drop(workload)
            elif not are_gone:
                self.state.nominate(workload, row)

    # -- victims ------------------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Find victims for those who wait and may preempt, the most important first. Whether any were found."""
        waiting = [w for w in self.state.preemptors.values() if w.state is State.QUEUED]
        self.state.preemptors = {workload.workload_id: workload for workload in waiting}
        found = False
        for workload in sorted(waiting, key=by_priority):
            if workload.nominated_row == NO_ROW and not self.state.discipline.excuse(self.state, workload):
                found = self._preempt(workload) or found
        return found

    def _preempt(self, workload: Workload) -> bool:
        best = self._best_way(workload, self.placer.class_of(workload))
        if best is None:
            return False
        self.state.nominate(workload, best.row)
        for victim in best.victims:
            if victim.state is not State.STOPPING:  # with another one of its gang
                self.state.preempt(victim)
        return True

    def _best_way(self, workload: Workload, request_class: RequestClass) -> _Way | None:
        """The way that is taken; None for none.

        Work that holds amounts alone has the same victims wherever it fits at all as amounts alone tell, and so the
        first of these rows that stands the whole test is the one. What amounts tell of a row is kept until it changes.
        """
        cluster, allowed = self.state.cluster, self._allowances()
        is_open = cluster.open_mask[: cluster.row_count] != 0
        if request_class.pool:
            is_open &= cluster.in_pool(request_class.pool)
        rows = np.flatnonzero(is_open).tolist()
        has_amounts_alone = not (
            request_class.is_coupled or (request_class.asked is not None and request_class.asked.exact)
        )
        if not has_amounts_alone:
            ways = (self._way(workload, request_class, row, allowed) for row in rows)
            return min((way for way in ways if way is not None), default=None, key=_in_order)
        keys = self._ways_by_amounts(request_class, workload.spec.priority, allowed)
        heap = [key for row in rows if (key := keys[row]) is not None]
        heapify(heap)
        while heap:
            way = self._way(workload, request_class, heappop(heap)[-1], allowed)
            if way is not None:
                return way
        return None

    def _ways_by_amounts(
        self, request_class: RequestClass, priority: int, allowed: dict[tuple[str, str], int]
    ) -> list[_Key | None]:
        """By row the way by amounts, as of now. What budgets allow can change with any workload: then none is kept."""
        if allowed:
            table = _Table(request_class, priority)
        else:
            kind = request_class.class_id, priority
            table = self._tables.pop(kind) if kind in self._tables else _Table(request_class, priority)
            self._tables[kind] = table
            if len(self._tables) > _TABLES_MAX:
                del self._tables[next(iter(self._tables))]
        self._refresh(table, allowed)
        return table.keys

    def _refresh(self, table: _Table, allowed: dict[tuple[str, str], int]) -> None:
        ledger = self.state.ledger
        changed = self.state.planner.changed_rows(table.seen)
        table.keys += [None] * (ledger.row_count - len(table.keys))
        for row in range(ledger.row_count) if changed is None else changed.tolist():
            table.keys[row] = self._way_by_amounts(table.request_class, table.priority, row, allowed)
        table.seen = ledger.version

    def problems(self) -> list[str]:
        """Where what is kept is not what would be found now: nowhere."""
        found = []
        for table in self._tables.values():
            self._refresh(table, {})
            for row, key in enumerate(table.keys):
                now = self._way_by_amounts(table.request_class, table.priority, row, {})
                if key != now:
                    found.append(f"row {row}, request {table.request_class.request}: the way is {now}, not {key}")
        return found

    def _way_by_amounts(
        self, request_class: RequestClass, priority: int, row: NodeIndex, allowed: dict[tuple[str, str], int]
    ) -> _Key | None:
        """What would have to go from a row if amounts were all there is; None where that would not be enough."""
        candidates = self._candidates(row, priority, dict(allowed))
        if not candidates:
            return None
        held = [self.state.claim_of(victim).request for victim in candidates]
        free = self.state.ledger.free[:, row].tolist()
        left = [have + sum(gains) - ask for have, ask, *gains in zip(free, request_class.request, *held, strict=True)]
        if any(ask and rest < 0 for ask, rest in zip(request_class.request, left, strict=True)):
            return None
        victims = []
        for victim, amounts in zip(candidates, held, strict=True):
            if any(amount and amount > rest for amount, rest in zip(amounts, left, strict=True)):
                victims.append(victim)
            else:
                left = [rest - amount for amount, rest in zip(amounts, left, strict=True)]
        way = _way_of(row, victims)
        return None if way is None else _in_order(way)

    def _way(
        self, workload: Workload, request_class: RequestClass, row: NodeIndex, allowed: dict[tuple[str, str], int]
    ) -> _Way | None:
        """Who has to go from a row for the workload; None where it does not help."""
        candidates = self._candidates(row, workload.spec.priority, dict(allowed))
        if not candidates:
            return None
        state, ledger = self.state, self.state.ledger
        claims = {victim.workload_id: state.claim_of(victim) for victim in candidates}
        gains = [sum(amounts) for amounts in zip(*(claim.request for claim in claims.values()), strict=True)]
        free = ledger.free[:, row].tolist()
        if any(ask and ask > left + gain for ask, left, gain in zip(request_class.request, free, gains, strict=True)):
            return None
        rows: Int64Array = np.array([row], dtype=np.int64)
        with ledger.savepoint():
            for victim in candidates:
                ledger.drop(row, claims[victim.workload_id])
            chosen, assignments = state.planner.choose(request_class, state.counters.decisions, rows)
            if chosen == NO_ROW:
                return None
            if request_class.is_coupled:
                victims = [v for v in candidates if not self._may_stay(request_class, row, v)]
            else:
                ledger.hold(row, state.resources.claim(request_class, row, assignments))
                victims = [v for v in candidates if not _stays(state, row, v)]
        return _way_of(row, victims)

    def _may_stay(self, request_class: RequestClass, row: NodeIndex, workload: Workload) -> bool:
        """Whether the preemptor fits beside a workload, which then is held: by amounts, and by what plugins limit."""
        claim = self.state.claim_of(workload)
        self.state.ledger.hold(row, claim, as_found=True)
        rows: Int64Array = np.array([row], dtype=np.int64)
        chosen, _ = self.state.planner.choose(request_class, self.state.counters.decisions, rows)
        if chosen == NO_ROW:
            self.state.ledger.drop(row, claim)
        return chosen != NO_ROW

    def _candidates(self, row: NodeIndex, priority: int, allowed: dict[tuple[str, str], int]) -> list[Workload]:
        """Whom a preemptor may have stopped on a row, from the one that is to stay first."""
        lower = [
            workload
            for workload in self.state.on_row[row].values()
            if workload.spec.priority < priority and workload.state in (State.STARTING, State.RUNNING)
        ]
        lower.sort(key=by_priority)
        candidates = []
        gangs: set[str] = set()
        for workload in reversed(lower):
            keys = [key for key in _budget_keys(workload) if key in allowed]
            cost = 1
            if keys and workload.spec.gang:
                members = self.state.gangs.members(workload.spec)
                up = [member for member in members if member.state in (State.STARTING, State.RUNNING)]
                cost = 0 if workload.spec.workload_id in gangs else len(up)  # with one, all go
            if all(allowed[key] >= cost for key in keys):
                candidates.append(workload)
                gangs.add(workload.spec.workload_id)
                for key in keys:
                    allowed[key] -= cost
        return candidates[::-1]

    def _allowances(self) -> dict[tuple[str, str], int]:
        """By budget, how many more of its workloads may be made unavailable."""
        budgets = self.state.budgets
        if not budgets:
            return {}
        left = dict(budgets)
        for workload in self.state.workloads.values():
            if workload.state not in (State.STARTING, State.RUNNING):
                for key in _budget_keys(workload):
                    if key in left:
                        left[key] -= 1
        return left


def _way_of(row: NodeIndex, victims: Sequence[Workload]) -> _Way | None:
    if not victims:
        return None
    priorities = [victim.spec.priority for victim in victims]
    return _Way(max(priorities), len(victims), sum(priorities), row, tuple(victims))


def _in_order(way: _Way) -> _Key:
    return way[:4]


def _budget_keys(workload: Workload) -> Iterable[tuple[str, str]]:
    spec = workload.spec
    return ((spec.app, ""), ("", spec.job_id))


def _stays(state: CoreState, row: NodeIndex, workload: Workload) -> bool:
    try:
        state.ledger.hold(row, state.claim_of(workload))
    except OvercommitError:
        return False
    return True

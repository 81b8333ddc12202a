"""Deployments: many equal copies placed at once, spread over nodes by a strategy.

Theory of operation. Where a copy on one row changes nothing for other rows, the strategy spreads the whole count over
the capacities in closed form, and exact plugins then assign all copies of a row together. Where copies are coupled
(affinity, spread over domains), they are placed one after the other under a savepoint, each on the row that the
strategy would take next, and what is allowed is asked again after each. Either way the result is a plan, and committing
it is `Core`'s business.
"""

from __future__ import annotations

import numpy as np

from scheduler.events import DeploymentRequested
from scheduler.plan import Planner, Shares
from scheduler.request_classes import RequestClass
from scheduler.resources import Assignments
from scheduler.state import CoreState
from scheduler.strategies import STRATEGIES, Candidates, spread
from scheduler.types import Int64Array, NodeIndex


class Deployments:
    """Plans deployments. Changes nothing."""

    def __init__(self, state: CoreState) -> None:
        self.state = state

    @property
    def planner(self) -> Planner:
        """The planner of the core."""
        return self.state.planner

    def check(self, event: DeploymentRequested) -> RequestClass:
        """Return the request class of what is asked; ValueError names field, value and remedy."""
        if event.strategy not in STRATEGIES:
            raise ValueError(f"strategy: {event.strategy!r} is none of {', '.join(STRATEGIES)}")
        if event.nodes_limit < 0:
            raise ValueError(f"nodes_limit: {event.nodes_limit} must be at least 0, where 0 means no limit")
        for node_id in (*event.node_ids, *event.excluded_node_ids):
            if node_id not in self.state.cluster.by_id:
                raise ValueError(f"node_ids: there is no node {node_id!r}")
        return self.state.admit(event.spec)

    def plan(self, event: DeploymentRequested, request_class: RequestClass) -> Shares:
        """Say what every row gets; `StrategyError` where the strategy cannot have what it needs."""
        asked = request_class.asked
        if asked is not None and asked.coupling == "domain":
            return self._plan_coupled(event, request_class)
        capacity = self._capacity(event, request_class)
        most = self.planner.total_limit(request_class)
        while True:
            candidates = self._candidates(event, request_class, capacity)
            added = spread(event.strategy, event.spec.count, candidates, limit=event.nodes_limit, most=most)
            rows = np.flatnonzero(added)
            shares = Shares(rows, added[rows], None)
            if asked is None or asked.uniform is not None:
                return shares
            assignments = [
                self.state.resources.assign(request_class, row, count)
                for row, count in zip(rows.tolist(), shares.counts.tolist(), strict=True)
            ]
            assigned = np.fromiter(map(len, assignments), dtype=np.int64, count=len(rows))
            if (assigned == shares.counts).all():
                return shares._replace(assignments=assignments)
            # Some exact plugin's capacity is an upper bound: plan again with what there really is.
            short = assigned < shares.counts
            capacity[rows[short]] = assigned[short]

    def _capacity(self, event: DeploymentRequested, request_class: RequestClass) -> Int64Array:
        capacity = self.planner.capacities(request_class)
        by_id = self.state.cluster.by_id
        if event.node_ids:
            allowed = np.zeros(len(capacity), dtype=bool)
            allowed[[by_id[node_id].row for node_id in event.node_ids]] = True
            capacity[~allowed] = 0
        capacity[[by_id[node_id].row for node_id in event.excluded_node_ids]] = 0
        return capacity

    def _candidates(self, event: DeploymentRequested, request_class: RequestClass, capacity: Int64Array) -> Candidates:
        count = np.zeros(len(capacity), dtype=np.int64)
        spec = event.spec
        for row, number in self.state.apps.get((spec.app, spec.entrypoint), {}).items():
            count[row] = number
        if event.strategy in ("global", "drained"):
            usage, rate = self.planner.usage(request_class)
        else:
            usage = rate = np.zeros(len(capacity))
        return Candidates(capacity, count, usage, rate)

    def _plan_coupled(self, event: DeploymentRequested, request_class: RequestClass) -> Shares:
        """Place copies under a savepoint, in the order of the strategy, asking after each what is allowed then.

        A row that turns out to have room for less than it seemed is bounded by that, and all is planned again.
        """
        bounds: dict[NodeIndex, int] = {}
        place = self._fill_rows if event.strategy in ("fill", "each") else self._add_copies
        while True:
            added: dict[NodeIndex, list[Assignments]] = {}
            with self.state.ledger.savepoint():
                short = place(event, request_class, bounds, added)
            if short is None:
                rows = np.array(sorted(added), dtype=np.int64)
                assignments = [added[row] for row in rows.tolist()]
                return Shares(rows, np.array(list(map(len, assignments)), dtype=np.int64), assignments)
            bounds[short] = len(added.get(short, ()))

    def _add_copies(
        self,
        event: DeploymentRequested,
        request_class: RequestClass,
        bounds: dict[NodeIndex, int],
        added: dict[NodeIndex, list[Assignments]],
    ) -> NodeIndex | None:
        """Add the copies one by one, each where the strategy would put one; return a row on which that failed."""
        for _ in range(event.spec.count):
            row = int(np.argmax(self._spread_now(event, request_class, 1, bounds, added)))
            if not self._add(request_class, row, added):
                return row
        return None

    def _fill_rows(
        self,
        event: DeploymentRequested,
        request_class: RequestClass,
        bounds: dict[NodeIndex, int],
        added: dict[NodeIndex, list[Assignments]],
    ) -> NodeIndex | None:
        """Give every row the whole share that the strategy has for it; return a row that cannot have it."""
        shares = self._spread_now(event, request_class, event.spec.count, bounds, added)
        for row in np.flatnonzero(shares).tolist():
            for _ in range(int(shares[row])):
                if self._capacity(event, request_class)[row] < 1 or not self._add(request_class, row, added):
                    return int(row)
        return None

    def _spread_now(
        self,
        event: DeploymentRequested,
        request_class: RequestClass,
        need: int,
        bounds: dict[NodeIndex, int],
        added: dict[NodeIndex, list[Assignments]],
    ) -> Int64Array:
        capacity = self._capacity(event, request_class)
        for row, most in bounds.items():
            capacity[row] = min(capacity[row], most - len(added.get(row, ())))
        candidates = self._candidates(event, request_class, capacity)
        for row, copies in added.items():
            candidates.count[row] += len(copies)
        return spread(event.strategy, need, candidates, limit=event.nodes_limit)

    def _add(self, request_class: RequestClass, row: NodeIndex, added: dict[NodeIndex, list[Assignments]]) -> bool:
        """Hold one more copy on a row; False where it cannot be assigned after all."""
        copies = self.state.resources.assign(request_class, row, 1)
        if copies:
            self.state.ledger.hold(row, self.state.resources.claim(request_class, row, copies[0] or None))
            added.setdefault(row, []).extend(copies)
        return bool(copies)

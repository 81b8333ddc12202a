"""Deployments: many equal copies placed at once, spread over nodes by a strategy.

Theory of operation. Where a copy on one row changes nothing for other rows, the strategy spreads the whole count over
the capacities in closed form, and exact plugins then assign all copies of a row together. Where copies are coupled
(affinity, spread over domains), they are placed one after the other under a savepoint, each on the row that the
strategy would take next (for fill and each: in turns on the rows that it chose), and what is allowed is asked again
after each. Either way the result is a plan, and committing it is `Core`'s business.
"""

from __future__ import annotations

import numpy as np

from scheduler.events import DeploymentRequested
from scheduler.plan import Planner, Shares
from scheduler.request_classes import RequestClass
from scheduler.resources import Assignments
from scheduler.state import SUBMISSION_COPIES_MAX, CoreState
from scheduler.strategies import STRATEGIES, Candidates, StrategyError, spread_trusted
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
        for field in ("node_ids", "excluded_node_ids"):
            for node_id in getattr(event, field):
                if node_id not in self.state.cluster.by_id:
                    raise ValueError(f"{field}: there is no node {node_id!r}")
        return self.state.admit(event.spec)

    def plan(self, event: DeploymentRequested, request_class: RequestClass) -> Shares:
        """Say what every row gets; `StrategyError` where the strategy cannot have what it needs."""
        asked = request_class.asked
        if asked is not None and asked.coupling == "domain":
            return self._plan_coupled(event, request_class, self._candidate_rows(event, request_class))
        capacity = self.planner.capacities(request_class)
        if event.strategy == "auto" and not (event.node_ids or event.excluded_node_ids):
            rows = np.arange(len(capacity))  # where there is no capacity, nobody is a candidate
        else:
            rows = self._candidate_rows(event, request_class)
            capacity = capacity[rows]
        most = min(SUBMISSION_COPIES_MAX, self.planner.total_limit(request_class))
        while True:
            candidates = self._candidates(event, request_class, rows, capacity)
            added = spread_trusted(event.strategy, event.spec.count, candidates, limit=event.nodes_limit, most=most)
            chosen = np.flatnonzero(added)
            shares = Shares(rows[chosen], added[chosen], None)
            if asked is None or asked.uniform is not None:
                return shares
            assignments = [
                self.state.resources.assign(request_class, row, count)
                for row, count in zip(shares.rows.tolist(), shares.counts.tolist(), strict=True)
            ]
            assigned = np.fromiter(map(len, assignments), dtype=np.int64, count=len(chosen))
            if (assigned == shares.counts).all():
                return shares._replace(assignments=assignments)
            # Some exact plugin's capacity is an upper bound: plan again with what there really is.
            short = assigned < shares.counts
            capacity[chosen[short]] = assigned[short]

    def _candidate_rows(self, event: DeploymentRequested, request_class: RequestClass) -> Int64Array:
        """The rows that take new work, are in the pool that is asked for, are not reserved for others, and are named or
        at least not left out.
        """
        cluster = self.state.cluster
        allowed = cluster.open_mask[: cluster.row_count] != 0
        if event.spec.pool:
            allowed &= cluster.in_pool(event.spec.pool)
        if event.node_ids:
            named = np.zeros_like(allowed)
            named[[cluster.by_id[node_id].row for node_id in event.node_ids]] = True
            allowed &= named
        if event.excluded_node_ids:
            allowed[[cluster.by_id[node_id].row for node_id in event.excluded_node_ids]] = False
        allowed[self.planner.reservations.closed_rows(request_class)] = False
        return np.flatnonzero(allowed)

    def _candidates(
        self, event: DeploymentRequested, request_class: RequestClass, rows: Int64Array, capacity: Int64Array
    ) -> Candidates:
        """``rows`` with their capacities, as the strategy sees them."""
        count = np.zeros(len(rows), dtype=np.int64)
        copies = self.state.apps.get((event.spec.app, event.spec.entrypoint))
        if copies:
            by_row = np.zeros(self.state.cluster.row_count, dtype=np.int64)
            by_row[list(copies)] = list(copies.values())
            count = by_row[rows]
        usage = rate = np.zeros(len(rows))
        if event.strategy in ("global", "drained"):
            usage, rate = (column[rows] for column in self.planner.usage(request_class))
        return Candidates(capacity, count, usage, rate)

    # -- coupled copies -----------------------------------------------------------------------------------------------

    def _plan_coupled(self, event: DeploymentRequested, request_class: RequestClass, rows: Int64Array) -> Shares:
        """Place copies under a savepoint, asking after each what is allowed then.

        A row on which less fits than it seemed is bounded by that, and all is planned again. There is no looking ahead:
        where the first copies decide which domain all must be in, nobody asks whether all fit there.
        """
        attempt = _Attempt(event, request_class, rows)
        place = self._fill_rows if event.strategy in ("fill", "each") else self._add_copies
        while True:
            attempt.added = {}
            with self.state.ledger.savepoint():
                short = place(attempt)
            if short is None:
                return attempt.shares()
            attempt.bounds[short] = len(attempt.added.get(short, ()))

    def _add_copies(self, attempt: _Attempt) -> NodeIndex | None:
        """Add the copies one by one, each where the strategy would put one; return a row on which that failed."""
        count = attempt.event.spec.count
        for placed in range(count):
            try:
                row = int(attempt.rows[np.argmax(self._spread(attempt, 1, self._allowed(attempt)))])
            except StrategyError as error:
                if not placed:
                    raise
                message = f"need: {count}, available: {placed}, where each copy changes what others allow"
                raise StrategyError(error.kind, message) from None
            if not self._add(attempt, row):
                return row
        return None

    def _fill_rows(self, attempt: _Attempt) -> NodeIndex | None:
        """Give every row its whole share, one copy a row in turns; return a row that cannot have it.

        Where all candidates are to be served (``nodes_limit`` 0) and one cannot be: `StrategyError`.
        """
        bound = self.planner.capacities(attempt.request_class, capped=False)[attempt.rows]
        shares = self._spread(attempt, attempt.event.spec.count, bound)
        open_shares = {int(attempt.rows[at]): int(shares[at]) for at in np.flatnonzero(shares).tolist()}
        while open_shares:
            before = dict(open_shares)
            for row in before:
                allowed = self._allowed(attempt)[np.searchsorted(attempt.rows, row)]
                if allowed >= 1 and self._add(attempt, row):
                    open_shares[row] -= 1
                    if not open_shares[row]:
                        del open_shares[row]
            if open_shares == before:
                return self._short(attempt, next(reversed(open_shares)))
        return None

    def _short(self, attempt: _Attempt, row: NodeIndex) -> NodeIndex:
        if attempt.event.nodes_limit:
            return row
        node_id, placed = self.state.cluster.nodes[row].node_id, len(attempt.added.get(row, ()))
        message = f"need: a whole share on every node, but {node_id} takes {placed} copies beside what the others take"
        raise StrategyError("insufficient_resource", message)

    def _allowed(self, attempt: _Attempt) -> Int64Array:
        return self.planner.capacities(attempt.request_class)[attempt.rows]

    def _spread(self, attempt: _Attempt, need: int, capacity: Int64Array) -> Int64Array:
        for row, most in attempt.bounds.items():
            at = np.searchsorted(attempt.rows, row)
            capacity[at] = min(capacity[at], max(0, most - len(attempt.added.get(row, ()))))
        candidates = self._candidates(attempt.event, attempt.request_class, attempt.rows, capacity)
        for row, copies in attempt.added.items():
            candidates.count[np.searchsorted(attempt.rows, row)] += len(copies)
        return spread_trusted(
            attempt.event.strategy, need, candidates, limit=attempt.event.nodes_limit, most=SUBMISSION_COPIES_MAX
        )

    def _add(self, attempt: _Attempt, row: NodeIndex) -> bool:
        """Hold one more copy on a row; False where it cannot be assigned after all."""
        copies = self.state.resources.assign(attempt.request_class, row, 1)
        if copies:
            claim = self.state.resources.claim(attempt.request_class, row, copies[0] or None)
            self.state.ledger.hold(row, claim)
            attempt.added.setdefault(row, []).extend(copies)
        return bool(copies)


class _Attempt:
    """A plan in the making: what each row has been given, and what some rows turned out to be bounded by."""

    def __init__(self, event: DeploymentRequested, request_class: RequestClass, rows: Int64Array) -> None:
        self.event = event
        self.request_class = request_class
        self.rows = rows
        self.bounds: dict[NodeIndex, int] = {}
        self.added: dict[NodeIndex, list[Assignments]] = {}

    def shares(self) -> Shares:
        """What has been given, as a plan."""
        rows = np.array(sorted(self.added), dtype=np.int64)
        assignments = [self.added[row] for row in rows.tolist()]
        return Shares(rows, np.array(list(map(len, assignments)), dtype=np.int64), assignments)

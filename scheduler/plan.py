"""From a request to nodes: filter, capacity, score, choose, assign. Reads state and caches; commits nothing.

The pipeline for one copy:

1. *filter and capacity*: a row is in question if it is open, in the right pool, not avoided, if every uncoupled
   plugin has capacity for one copy, and if the request fits in what the ledger has free;
2. *caps*: coupled plugins limit whole domains or the cluster;
3. *score*: the policy's, from the cached column of the request class where there is one;
4. *choose*: the highest score, ties to the lowest row;
5. *assign*: exact plugins say which cores, devices and volumes; a row on which that fails after all is left out.

A deployment of many copies asks how many fit on every row and has a strategy (`scheduler.strategies`) spread them.

Whoever commits the choice re-checks it: `Ledger` refuses what does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scheduler import kernels
from scheduler.cluster import NodeState
from scheduler.diagnosis import Diagnosis
from scheduler.draws import uniform_draw as uniform_draw
from scheduler.policies import LinearPolicy, Policy, RandomPolicy
from scheduler.ports import UNLIMITED, Cap, NodeColumns
from scheduler.request_classes import ClassTable, RequestClass, ScoreColumn
from scheduler.reservations import Reservations
from scheduler.resources import Assignments, PluginError, Resources
from scheduler.score_order import ScoreOrder
from scheduler.types import BoolArray, FloatArray, Int64Array, MaskArray, NodeIndex

NO_ROW = -1
_FEW = 16
"""Up to so many rows plain Python is faster than NumPy."""
_ORDERED_MIN = 2048
"""Fewer rows than that are sooner scanned than kept in order."""


class PolicyError(Exception):
    """A policy broke its contract, such as a score that is not finite. The message names policy and value."""


class Plan(msgspec.Struct, frozen=True):
    """What a dry run would do: one node a copy, in order of placement; the copies beyond that do not fit.

    ``diagnosis`` is the reason for the first copy that does not, or None when all do.
    """

    nodes: tuple[str, ...]
    unplaced: int
    diagnosis: Diagnosis | None


class Shares(NamedTuple):
    """What rows get of a deployment: ``counts[i]`` copies on ``rows[i]``, rows ascending.

    ``assignments[i]`` has one entry a copy; None where the copies all get the same (`Asked.uniform`) or nothing.
    """

    rows: Int64Array
    counts: Int64Array
    assignments: list[list[Assignments]] | None


class Planner:
    """Chooses rows for request classes. Owns the caches; ledger and cluster belong to the core."""

    def __init__(
        self,
        resources: Resources,
        policy: Policy,
        reservations: Reservations,
        cache_bytes: int,
        plugin_weights: Mapping[str, float],
    ) -> None:
        self.resources = resources
        self.reservations = reservations
        self.dimensions = dimensions = resources.dimensions
        self.plugins = resources.plugins
        self.exact = resources.exact
        self.plugin_weights = plugin_weights
        self.ledger = resources.ledger
        self.cluster = resources.cluster
        self.cache_bytes = cache_bytes
        self.classes = ClassTable(cache_bytes)
        self.policy_epoch = -1
        self.set_policy(policy)
        self.reference: Int64Array = np.ones(len(dimensions), dtype=np.int64)
        self._largest: list[int] = []
        self._shared_weights: FloatArray | None = None
        self._shared_weights_epoch = -1
        self._order: ScoreOrder | None = None
        self._scratch_mask: MaskArray = np.zeros(0, dtype=np.uint8)
        self._shown_at = -1, -1
        self._shown: NodeColumns
        """The columns that were shown last: filters and scores look at the same rows, one after the other."""
        self._shown_slots: dict[str, NodeColumns] = {}
        self._changes_of = -1, -1
        self._changes: Int64Array = np.zeros(0, dtype=np.int64)
        """The rows touched between the two versions."""

    # -- what the caches depend on --------------------------------------------------------------------------------

    def set_policy(self, policy: Policy) -> None:
        """Decide by another policy from now on."""
        self.policy = policy
        has_own_order = type(policy).normalise is not Policy.normalise
        self._linear = policy if isinstance(policy, LinearPolicy) and not has_own_order else None
        """The policy where the compiled kernels can decide by it alone."""
        self._is_cached = not policy.relates_rows and not isinstance(policy, RandomPolicy)
        """Whether the score of a row stays as it is as long as the row does."""
        self.policy_epoch += 1

    def update_reference(self) -> None:
        """Take note that the largest capacities may have changed."""
        largest = self.cluster.largest()
        if largest != self._largest:
            self._largest = largest
            self.reference = np.maximum(np.array(largest, dtype=np.int64), 1)
            self.reference.flags.writeable = False
            self.policy_epoch += 1

    def columns(self, rows: Int64Array | None = None) -> NodeColumns:
        """Read-only columns over ``rows``, or over all."""
        ledger = self.ledger
        if rows is None:
            rows = np.arange(ledger.row_count)
        seen = ledger.version, self.policy_epoch
        if self._shown_at != seen or rows.tobytes() != self._shown.rows.tobytes():
            self._shown = NodeColumns(self.dimensions, rows, ledger.free, ledger.total, self.reference)
            self._shown_at, self._shown_slots = seen, {}
        return self._shown

    # -- one decision ---------------------------------------------------------------------------------------------

    def choose(
        self, request_class: RequestClass, decision: int, rows: Int64Array | None = None
    ) -> tuple[NodeIndex, Assignments | None]:
        """Return the best row for one copy, or `NO_ROW`, and what it gets of exact plugins there.

        ``rows`` (ascending) restricts the choice when it is known that no other row can do. ``decision`` numbers the
        draw of a random policy. What is reserved for the request goes first.
        """
        if request_class.access is not None:
            own = self.reservations.own_rows(request_class)
            if len(own):
                found = self._choose(request_class, decision, own if rows is None else np.intersect1d(own, rows))
                if found[0] != NO_ROW:
                    return found
        return self._choose(request_class, decision, rows)

    def _choose(
        self, request_class: RequestClass, decision: int, rows: Int64Array | None
    ) -> tuple[NodeIndex, Assignments | None]:
        row = self._choose_row(request_class, decision, rows, ())
        if row == NO_ROW or request_class.asked is None or not request_class.asked.exact:
            return row, None
        refused: list[NodeIndex] = []
        while row != NO_ROW:
            found = self._assign(request_class, row, decision)
            if found is not None:
                return row, found
            refused.append(row)
            row = self._choose_row(request_class, decision, rows, refused)
        return NO_ROW, None

    def _assign(self, request_class: RequestClass, row: NodeIndex, decision: int) -> Assignments | None:
        """What one copy gets on a row, in the order that the policy prefers; None where it does not fit."""
        asked, policy = request_class.asked, self.policy
        assert asked is not None
        preferred = None
        wishes = type(policy).prefer is not Policy.prefer
        if wishes and policy.reads in asked.exact and asked.uniform is None:
            draw = uniform_draw(getattr(policy, "seed", 0), ~decision)
            node = self._with_slots(self.columns(np.array([row])), policy.reads)
            preferred = policy.prefer(node, request_class.amounts, asked.payloads[policy.reads], draw)
        if preferred is None:
            return next(iter(self.resources.assign(request_class, row, 1)), None)
        return self.resources.assign_preferring(request_class, row, {policy.reads: preferred})

    def _choose_row(
        self, request_class: RequestClass, decision: int, rows: Int64Array | None, refused: Sequence[NodeIndex]
    ) -> NodeIndex:
        if request_class.policy_epoch != self.policy_epoch:
            self._adopt_policy(request_class)
        allowed = self._allowed(request_class, refused)
        policy, linear = self.policy, self._linear
        if request_class.asked is not None and request_class.asked.scored:
            linear = None
        if rows is None and allowed is None and linear is None and self._is_cached:
            return self._choose_by_score(request_class, decision)
        mask = self._mask_of(request_class)
        if allowed is not None:
            mask = mask & allowed
        if rows is None and linear is not None:
            if allowed is not None:  # which took a look at every row; so does this, and equals in a row cost it nothing
                assert request_class.weights is not None
                row_count = self.ledger.row_count
                return int(
                    kernels.best_row(self.ledger.free, request_class.need, request_class.weights, mask, row_count)
                )
            return self._choose_linear(request_class, linear, mask)
        if rows is None and (allowed is not None or policy.relates_rows):
            rows = np.arange(self.ledger.row_count)
        if rows is not None:
            return self._choose_among(request_class, decision, mask, rows)
        assert isinstance(policy, RandomPolicy)
        return self._draw(request_class, policy, decision, mask)

    def _allowed(self, request_class: RequestClass, refused: Sequence[NodeIndex]) -> MaskArray | None:
        """By row, whether domains, reservations and earlier refusals leave it; None where they leave all."""
        if request_class.access is None and not request_class.is_coupled and not refused:
            return None
        ruled_out = list(refused)
        if request_class.access is not None:
            ruled_out += self.reservations.closed_rows(request_class).tolist()
        full = []
        if request_class.is_coupled:
            full = [cap for _, cap in self._caps(request_class) if not (cap.limit >= 1).all()]
        if not (ruled_out or full):
            return None
        allowed = np.ones_like(self.cluster.open_mask)
        allowed[ruled_out] = 0
        for cap in full:
            allowed[: len(cap.domain_ids)] &= _rows_of(cap, cap.limit >= 1)
        return allowed

    def _column_of(self, request_class: RequestClass) -> ScoreColumn | None:
        """The score column; None for a first use of a cheap policy, and where scores change on rows that do not."""
        asked = request_class.asked
        if asked is not None and asked.scored and asked.coupling == "domain":
            return None
        is_cheap = isinstance(self.policy, LinearPolicy)
        return self.classes.column_of(request_class, self.ledger.free.shape[1], uses_min=2 if is_cheap else 1)

    def _adopt_policy(self, request_class: RequestClass) -> None:
        request_class.policy_epoch = self.policy_epoch
        if request_class.column is not None:
            request_class.column.seen = -1
        policy = self.policy
        if not isinstance(policy, LinearPolicy):
            return
        if policy.uses_request:
            request_class.weights = self._weights(policy, request_class.amounts)
            return
        if self._shared_weights_epoch != self.policy_epoch:
            self._shared_weights = self._weights(policy, np.zeros_like(self.reference))
            self._shared_weights_epoch = self.policy_epoch
        request_class.weights = self._shared_weights

    def _weights(self, policy: LinearPolicy, request: Int64Array) -> FloatArray:
        weights = np.ascontiguousarray(policy.weights(request, self.reference), dtype=np.float64)
        if weights.shape != self.reference.shape or not all(map(isfinite, weights.tolist())):
            raise PolicyError(f"policy {_name_of(policy)!r}: weights {weights!r} are not one finite number a dimension")
        return weights

    def _choose_linear(self, request_class: RequestClass, policy: LinearPolicy, mask: MaskArray) -> NodeIndex:
        ledger = self.ledger
        free, row_count, version = ledger.free, ledger.row_count, ledger.version
        need, weights = request_class.need, request_class.weights
        assert weights is not None
        column = self._column_of(request_class)
        if column is None:
            return self._best_of_all(policy, need, weights, mask)
        seen, used = column.seen, column.used
        column.used = version
        limit = 64 + row_count // 24  # with more changes it is cheaper to fill the column anew; the log remembers more
        if seen >= 0 and version - seen <= limit:
            column.seen = version
            return int(
                kernels.refresh_scores(
                    column.scores, column.block_best, free, need, weights,
                    mask, row_count, ledger.change_log, seen, version,
                )
            )  # fmt: skip
        if version - used > limit:
            return self._best_of_all(policy, need, weights, mask)
        column.seen = version
        kernels.fill_scores(column.scores, column.block_best, free, need, weights, mask, row_count)
        return int(kernels.best_of_blocks(column.scores, column.block_best, row_count))

    def _best_of_all(self, policy: LinearPolicy, need: Int64Array, weights: FloatArray, mask: MaskArray) -> NodeIndex:
        """The best row without a score column."""
        ledger = self.ledger
        if policy.uses_request or ledger.row_count < _ORDERED_MIN or ScoreOrder.bytes_of(ledger) > self.cache_bytes:
            return int(kernels.best_row(ledger.free, need, weights, mask, ledger.row_count))
        if self._order is None or self._order.is_outdated(weights):
            self._order = ScoreOrder(ledger, weights)
        return self._order.best(need, mask)

    def changed_rows(self, seen: int) -> Int64Array | None:
        """The rows touched since version ``seen``, ascending and once each; None when that is not known, for all."""
        if self._changes_of != (seen, self.ledger.version):
            touched = self._touched_rows(seen)
            if touched is None:
                return None
            self._changes_of, self._changes = (seen, self.ledger.version), _distinct(touched)
        return self._changes

    def _touched_rows(self, seen: int) -> Int64Array | None:
        """`changed_rows` in the order in which they were touched, as often as they were."""
        ledger = self.ledger
        log = ledger.change_log
        if seen < 0 or ledger.version - seen > len(log):
            return None
        low, high = seen % len(log), ledger.version % len(log)
        if low < high or seen == ledger.version:
            return log[low:high]
        return np.concatenate([log[low:], log[:high]])

    def _choose_by_score(self, request_class: RequestClass, decision: int) -> NodeIndex:
        """Of all rows, where nothing but what a score column knows rules any out."""
        column = self._column_of(request_class)
        if column is None:
            rows = self._fitting(request_class, self._mask_of(request_class))
            return self._best_normalised(rows, self._scores(request_class, rows), decision)
        self._refresh(request_class, column)
        scores = column.scores[: self.ledger.row_count]
        if type(self.policy).normalise is Policy.normalise:
            return _place_of_best(scores)
        rows = (scores > -np.inf).nonzero()[0]
        return self._best_normalised(rows, scores.take(rows), decision)

    def _best_normalised(self, rows: Int64Array, scores: FloatArray, decision: int) -> NodeIndex:
        return _best_of(rows, self.policy.normalise(scores, decision)) if len(rows) else NO_ROW

    def _refresh(self, request_class: RequestClass, column: ScoreColumn) -> None:
        """Bring a score column up to date: ``-inf`` on rows on which the request does not fit."""
        touched, rows, bound = self._news(request_class, column.seen, with_amounts=True)
        column.seen = self.ledger.version
        column.scores[touched] = -np.inf
        if len(rows):
            rows = rows.compress(bound > 0)
            column.scores[rows] = self._scores(request_class, rows)

    def _fitting(self, request_class: RequestClass, mask: MaskArray, rows: Int64Array | None = None) -> Int64Array:
        """Those of ``rows``, of all by default, on which one copy fits."""
        if rows is None:
            rows = np.arange(self.ledger.row_count)
        fits = mask.take(rows) != 0
        if request_class.asked is None or not request_class.asked.exact:
            fits &= self._has_amounts(request_class, rows)
        fitting: Int64Array = rows.take(fits.nonzero()[0])
        return fitting

    def _scores(self, request_class: RequestClass, rows: Int64Array) -> FloatArray:
        """The policy's own scores, with the preferences of plugins, of rows on which the request fits."""
        if not len(rows):
            return np.zeros(0)
        columns, policy, asked = self.columns(rows), self.policy, request_class.asked
        if policy.reads in self.exact:
            payload = asked.payloads.get(policy.reads) if asked is not None else None
            shown = self._with_slots(columns, policy.reads)
            values = policy.score_slots(shown, request_class.amounts, payload, self.cluster)
        else:
            values = policy.score(columns, request_class.amounts)
        values = np.asarray(values, dtype=np.float64)
        if values.shape != rows.shape:
            raise PolicyError(f"policy {_name_of(self.policy)!r}: {values.shape} scores for {rows.shape} nodes")
        if not (all(map(isfinite, values.tolist())) if len(values) <= _FEW else np.isfinite(values).all()):
            raise PolicyError(f"policy {_name_of(self.policy)!r}: a score is not finite, for {request_class.request}")
        if asked is not None:
            for name in asked.scored:
                values = values + self._preference(name, asked.payloads[name], columns)
        return values

    def _has_amounts(self, request_class: RequestClass, rows: Int64Array) -> BoolArray:
        """By row, whether enough of every dimension is free."""
        result: BoolArray = np.logical_and.reduce(self.ledger.free.take(rows, axis=1) >= request_class.need[:, None])
        return result

    def _with_slots(self, columns: NodeColumns, name: str) -> NodeColumns:
        if columns is not self._shown:
            return columns.with_slots(self.ledger.slots[name].columns(columns.rows))
        if name not in self._shown_slots:
            self._shown_slots[name] = columns.with_slots(self.ledger.slots[name].columns(columns.rows))
        return self._shown_slots[name]

    def _preference(self, name: str, payload: Any, columns: NodeColumns) -> FloatArray | float:
        """What a plugin adds to the policy's scores."""
        score = self.plugins[name].score(payload, columns, self.cluster)
        if score is None:
            return 0.0
        if score.shape != columns.rows.shape or not (score >= 0).all() or not (score <= 1).all():
            raise PluginError(f"plugin {name!r}: its scores must be one from 0 to 1 a node, for {payload!r}")
        return self.plugin_weights.get(name, 1.0) * score

    def _choose_among(self, request_class: RequestClass, decision: int, mask: MaskArray, rows: Int64Array) -> NodeIndex:
        policy = self.policy
        scored = request_class.asked is not None and len(request_class.asked.scored) > 0
        if isinstance(policy, RandomPolicy) or (isinstance(policy, LinearPolicy) and not scored):
            free = np.ascontiguousarray(self.ledger.free[:, rows])
            allowed = mask[rows]
            if isinstance(policy, RandomPolicy):
                draw = uniform_draw(policy.seed, decision)
                scratch = np.empty(len(rows), dtype=np.uint8)
                position = kernels.nth_fitting_row(free, request_class.need, allowed, len(rows), scratch, draw)
            else:
                assert request_class.weights is not None
                position = kernels.best_row(
                    free, request_class.need, request_class.weights, allowed, len(rows)
                )  # fmt: skip
        else:
            rows = self._fitting(request_class, mask, rows)
            return self._best_normalised(rows, self._scores(request_class, rows), decision)
        return int(rows[position]) if position >= 0 else NO_ROW

    def _draw(self, request_class: RequestClass, policy: RandomPolicy, decision: int, mask: MaskArray) -> NodeIndex:
        row_count = self.ledger.row_count
        if len(self._scratch_mask) < row_count:
            self._scratch_mask = np.empty(len(self.cluster.open_mask), dtype=np.uint8)
        draw = uniform_draw(policy.seed, decision)
        return int(
            kernels.nth_fitting_row(self.ledger.free, request_class.need, mask, row_count, self._scratch_mask, draw)
        )

    # -- what filters ---------------------------------------------------------------------------------------------

    def _mask_of(self, request_class: RequestClass) -> MaskArray:
        """By row, whether state, pool, avoidance and plugins allow one copy; quantities and caps apart.

        Exact plugins are only asked where the quantities of one copy are there; the answer is no elsewhere.
        """
        if request_class.is_plain:
            return self.cluster.open_mask
        mask = request_class.mask
        if mask is None or len(mask) != len(self.cluster.open_mask):
            mask = request_class.mask = np.zeros_like(self.cluster.open_mask)
            request_class.mask_seen = -1
        asked = request_class.asked
        touched, rows, bound = self._news(
            request_class, request_class.mask_seen, with_amounts=asked is not None and len(asked.exact) > 0
        )
        request_class.mask_seen = self.ledger.version
        mask[touched] = 0
        mask[rows] = bound > 0
        return mask

    def _news(
        self, request_class: RequestClass, seen: int, *, with_amounts: bool
    ) -> tuple[Int64Array, Int64Array, Int64Array]:
        """The rows touched since version ``seen``, all where that is not known; those of them that are open and, if
        asked, have the quantities of one copy, ascending and once each; and what `_bound_on` says of these.
        """
        touched = self._touched_rows(seen)
        if touched is None:
            touched = np.arange(self.ledger.row_count)
        able = self.cluster.open_mask.take(touched).view(np.bool_)
        if with_amounts:
            able &= self._has_amounts(request_class, touched)
        rows = _distinct(touched.compress(able))
        return touched, rows, self._bound_on(request_class, rows) if len(rows) else rows

    def _bound_on(self, request_class: RequestClass, rows: Int64Array) -> Int64Array:
        """What pool, avoidance and plugins allow on rows that are open."""
        values: Int64Array = np.empty(len(rows), dtype=np.int64)
        values.fill(UNLIMITED)
        if request_class.is_plain:
            return values
        columns, asked = self.columns(rows), request_class.asked
        for _, ok in self._place_filters(request_class, columns):
            values[~ok] = 0
        if asked is None:
            return values
        for name, payload in asked.payloads.items():
            if name not in self.exact:
                capacity = self._capacity(name, payload, columns)
                if capacity is not None:
                    np.minimum(values, capacity, out=values)
        for name in asked.exact:
            left = values.nonzero()[0]
            if len(left) < len(values):
                capacity = self._capacity(name, asked.payloads[name], self.columns(rows.take(left)))
                if capacity is not None:
                    values[left] = np.minimum(values[left], capacity)
            else:
                capacity = self._capacity(name, asked.payloads[name], columns)
                if capacity is not None:
                    values = np.minimum(values, capacity)
        return values

    def _capacity(self, name: str, payload: Any, columns: NodeColumns) -> Int64Array | None:
        """What one plugin allows on ``columns.rows``."""
        if name in self.exact:
            columns = self._with_slots(columns, name)
        return self.plugins[name].capacity(payload, columns, self.cluster)

    def _place_filters(self, request_class: RequestClass, columns: NodeColumns) -> list[tuple[str, Any]]:
        """Pairs of a reason and a boolean array over ``columns.rows``: what has nothing to do with capacity."""
        filters: list[tuple[str, Any]] = []
        if request_class.pool:
            filters.append(("pool", self.cluster.in_pool(request_class.pool)[columns.rows]))
        if request_class.avoid:
            filters.append(("start failed before", ~np.isin(columns.rows, request_class.avoid)))
        return filters

    def _plugin_filters(self, request_class: RequestClass, columns: NodeColumns) -> list[tuple[str, Any]]:
        """Pairs of a plugin's name and whether it has capacity for a copy, over ``columns.rows``."""
        if request_class.asked is None:
            return []
        capacities = [
            (name, self._capacity(name, payload, columns)) for name, payload in request_class.asked.payloads.items()
        ]
        return [(name, capacity >= 1) for name, capacity in capacities if capacity is not None]

    def _caps(self, request_class: RequestClass) -> list[tuple[str, Cap]]:
        asked = request_class.asked
        if asked is None:
            return []
        return [
            (name, cap)
            for name in asked.coupled
            for cap in self.plugins[name].caps(asked.payloads[name], self.cluster, self.ledger)
        ]

    # -- many copies ----------------------------------------------------------------------------------------------

    def capacities(self, request_class: RequestClass, *, capped: bool = True) -> Int64Array:
        """By row, how many copies fit now, each row for itself; `UNLIMITED` where nothing limits.

        Without ``capped`` limits over domains are left out.
        """
        result = self._capacity_column(request_class)[: self.ledger.row_count].copy()
        result[self.reservations.closed_rows(request_class)] = 0
        for _, cap in self._caps(request_class) if capped and request_class.is_coupled else ():
            limit = np.where(cap.domain_ids >= 0, np.maximum(cap.limit[cap.domain_ids], 0), UNLIMITED)
            np.minimum(result, limit, out=result)
        return result

    def _capacity_column(self, request_class: RequestClass) -> Int64Array:
        """By row, how many copies fit now; caps and reservations apart."""
        column = request_class.capacity
        if column is None or len(column) != len(self.cluster.open_mask):
            column = request_class.capacity = np.zeros(len(self.cluster.open_mask), dtype=np.int64)
            request_class.capacity_seen = -1
        touched, rows, bound = self._news(request_class, request_class.capacity_seen, with_amounts=True)
        request_class.capacity_seen = self.ledger.version
        column[touched] = 0
        if len(rows):
            free = self.columns(rows).free
            for place, amount in enumerate(request_class.request):
                if amount:
                    bound = np.minimum(bound, free[place] // amount)
            column[rows] = bound
        return column

    def total_limit(self, request_class: RequestClass) -> int:
        """How many copies all rows together may get where the coupling is no more than to the cluster."""
        limits = [int(cap.limit.min()) for _, cap in self._caps(request_class)] if request_class.is_coupled else []
        return max(0, min(limits, default=UNLIMITED))

    def usage(self, request_class: RequestClass) -> tuple[FloatArray, FloatArray]:
        """By row, the share that is used and the share that one copy would use, the mean over all that is asked.

        A plugin counts with its weight, a dimension that is asked for directly with 1. A node that has nothing of a
        dimension counts as 0.
        """
        columns = self.columns()
        asked = request_class.asked
        parts: list[tuple[Any, Any, float]] = []
        for name, payload in asked.payloads.items() if asked is not None else ():
            shown = columns
            if name in self.exact:
                shown = self._with_slots(columns, name)
            part = self.plugins[name].usage(payload, shown, self.cluster)
            if part is not None:
                parts.append(part)
        for place, amount in enumerate(request_class.key[0]):
            if amount:
                total = columns.total[place].astype(np.float64)
                used = total - columns.free[place]
                inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
                parts.append((used * inverse, amount * inverse, 1.0))
        usage, rate = np.zeros(len(columns.rows)), np.zeros(len(columns.rows))
        weight_sum = sum(part[2] for part in parts)
        for part_usage, part_rate, weight in parts:
            usage = usage + part_usage * (weight / weight_sum)
            rate = rate + part_rate * (weight / weight_sum)
        return usage, rate

    # -- explanations and dry runs --------------------------------------------------------------------------------

    def diagnose(self, request_class: RequestClass) -> Diagnosis:
        """Count every node under the first reason that rules it out for one more copy."""
        columns = self.columns()
        left = np.array([node.state is not NodeState.REMOVED for node in self.cluster.nodes], dtype=bool)
        total = int(left.sum())
        checks: list[tuple[str, Any]] = [
            (str(state), np.array([node.state is not state for node in self.cluster.nodes], dtype=bool))
            for state in (NodeState.LOST, NodeState.CORDONED, NodeState.DRAINING)
        ]
        if self.cluster.nominated:
            checks.append(("nominated", ~np.isin(columns.rows, list(self.cluster.nominated))))
        checks += self._place_filters(request_class, columns)
        closed = self.reservations.closed_rows(request_class)
        if len(closed):
            checks.append(("reservation", ~np.isin(columns.rows, closed)))
        for dimension, free, need in zip(self.dimensions, columns.free, request_class.need, strict=True):
            checks.append((dimension.name, free >= need))
        checks += self._plugin_filters(request_class, columns)
        checks += [(name, _rows_of(cap, cap.limit >= 1) != 0) for name, cap in self._caps(request_class)]
        reasons: dict[str, int] = {}
        for reason, ok in checks:
            reasons[reason] = reasons.get(reason, 0) + int((left & ~ok).sum())
            left &= ok
        return Diagnosis(total, int(left.sum()), reasons)

    def dry_run(self, request_class: RequestClass, count: int, decision: int) -> Plan:
        """Place ``count`` copies one after the other under a savepoint; nothing remains of it."""
        nodes: list[str] = []
        diagnosis = None
        with self.ledger.savepoint():
            for copy in range(count):
                row, assignments = self.choose(request_class, decision + copy)
                if row == NO_ROW:
                    diagnosis = self.diagnose(request_class)
                    break
                self.ledger.hold(row, self.resources.claim(request_class, row, assignments))
                nodes.append(self.cluster.nodes[row].node_id)
        return Plan(tuple(nodes), count - len(nodes), diagnosis)


def _best_of(rows: Int64Array, scores: FloatArray) -> NodeIndex:
    """The row with the highest score, the first of equals; none where all are ruled out."""
    place = _place_of_best(scores)
    return int(rows[place]) if place != NO_ROW else NO_ROW


def _place_of_best(scores: FloatArray) -> int:
    place = int(scores.argmax()) if len(scores) else NO_ROW
    return place if place != NO_ROW and scores[place] > -np.inf else NO_ROW


def _distinct(rows: Int64Array) -> Int64Array:
    """Ascending, once each."""
    if len(rows) <= _FEW:
        return np.array(sorted(set(rows.tolist())), dtype=np.int64)
    rows = rows.copy()
    rows.sort()
    is_last = np.empty(len(rows), dtype=np.bool_)
    is_last[-1] = True
    np.not_equal(rows[1:], rows[:-1], out=is_last[:-1])
    return rows.compress(is_last)


def _name_of(policy: Policy) -> str:
    return policy.name or type(policy).__name__


def _rows_of(cap: Cap, has_room: BoolArray) -> MaskArray:
    """By row, whether its domain has room; what is in no domain has."""
    by_domain = np.ones(len(has_room) + 1, dtype=np.uint8)
    by_domain[:-1] = has_room
    result: MaskArray = by_domain.take(cap.domain_ids)  # -1 picks the last
    return result

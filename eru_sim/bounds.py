"""Optimal or bounding baselines for small instances, so that a policy's gap to the optimum shows.

What is optimised is packing: quantities by dimension, all known beforehand. A bound holds for every policy, also for
those that look into the future. Mixed integer programs are solved by HiGHS (Huangfu and Hall 2018) as SciPy has it, on
one core and without randomness; where the time limit comes first, or its floating point cannot tell whether something
fits, the result is a bound and says so. With a limit the
result may depend on the machine.

Requests are an array of workloads by dimensions, nodes one of nodes by dimensions, both int64 base units in the same
order of dimensions. Equal requests are one variable, so what counts is the number of distinct requests.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Status = Literal["optimal", "bound"]

_TOLERANCE = 1e-6


class Bound(NamedTuple):
    """``value`` is the optimum where ``status`` is "optimal"; otherwise nothing can be better than it.

    ``best_known`` is the best solution that was found, equal to ``value`` for an optimum, NaN where none was found.
    ``sense`` says what is better: "min" or "max".
    """

    value: float
    status: Status
    sense: Literal["min", "max"]
    best_known: float


def gap_to_optimum(found: float, bound: Bound) -> float:
    """How much worse ``found`` is than the optimum, as a share of the optimum; at most that, for a mere bound.

    0 is optimal. Infinite where the optimum is 0 and ``found`` is not. ValueError where ``found`` beats the bound: then
    they are of two instances.
    """
    worse = found - bound.value if bound.sense == "min" else bound.value - found
    if worse < -_TOLERANCE * max(1.0, abs(bound.value)):
        raise ValueError(f"found: {found} is better than the {bound.status} {bound.value}; they are of two instances")
    if worse <= 0:
        return 0.0
    return worse / abs(bound.value) if bound.value else math.inf


# -- how many nodes does it take ------------------------------------------------------------------------------------


def nodes_lower_bound(requests: ArrayLike, capacity: ArrayLike) -> int:
    """So many equal nodes of ``capacity`` it takes at least: the largest L2 bound over the dimensions.

    L2 of one dimension (Martello and Toth 1990, section 8.3.2): for every threshold a up to half of the capacity,
    requests above C - a have a node each, those above C / 2 one each too, and requests from a to C / 2 fill what the
    latter leave over. It is never below the volume bound. ValueError where a request does not fit on an empty node.
    """
    asked, node = _requests(requests), _one_node(capacity)
    _check_fits(asked, node)
    return max((_l2(asked[:, d], int(node[d])) for d in range(len(node))), default=0)


def fewest_nodes(requests: ArrayLike, capacity: ArrayLike, *, time_limit_s: float = 10.0) -> Bound:
    """The fewest equal nodes of ``capacity`` that hold all requests at once: vector bin packing.

    Between `nodes_lower_bound` and first fit decreasing by the largest share; where these differ, numbers of equal
    requests by node are integers of a program in which a node is used before the next one. Requests of nothing take
    none. ValueError as `nodes_lower_bound`.
    """
    asked, node = _requests(requests), _one_node(capacity)
    lower = nodes_lower_bound(asked, node)
    upper = _first_fit_decreasing(asked, node)
    if lower == upper:
        return Bound(float(lower), "optimal", "min", float(lower))
    kinds, counts = np.unique(asked, axis=0, return_counts=True)
    count_kinds, dimensions = kinds.shape
    # Variables: copies of kind k on node j at k * upper + j, then whether node j is used.
    cost = np.concatenate([np.zeros(count_kinds * upper), np.ones(upper)])
    program = _Program(cost, np.concatenate([np.repeat(counts, upper), np.ones(upper)]))
    used = count_kinds * upper + np.arange(upper)
    for kind in range(count_kinds):
        program.add(kind * upper + np.arange(upper), _ones(upper), int(counts[kind]), int(counts[kind]))
    for j in range(upper):
        copies = np.arange(count_kinds) * upper + j
        for d in range(dimensions):
            program.add(np.append(copies, used[j]), np.append(kinds[:, d], -node[d]), -math.inf, 0)
        if j:
            program.add(used[[j - 1, j]], np.array([1, -1]), 0, math.inf)
    program.add(used, _ones(upper), lower, upper)
    solved = program.solve(time_limit_s)
    value = max(lower, math.ceil(solved.value - _TOLERANCE))
    best = upper if math.isnan(solved.best_known) else min(upper, round(solved.best_known))
    return Bound(float(value), "optimal" if value == best else "bound", "min", float(best))


def _l2(amounts: NDArray[np.int64], capacity: int) -> int:
    amounts = amounts[amounts > 0]
    if not amounts.size:
        return 0
    large = amounts[2 * amounts > capacity]
    best = 0
    for threshold in (0, *np.unique(amounts[2 * amounts <= capacity]).tolist()):
        alone = int((amounts > capacity - threshold).sum())
        shared = large[large <= capacity - threshold]
        small = amounts[(2 * amounts <= capacity) & (amounts >= threshold)]
        left = len(shared) * capacity - int(shared.sum())
        best = max(best, alone + len(shared) + max(0, -((left - int(small.sum())) // capacity)))
    return best


def _first_fit_decreasing(requests: NDArray[np.int64], capacity: NDArray[np.int64]) -> int:
    shares = (requests / np.maximum(capacity, 1)).max(axis=1, initial=0.0)
    free = np.zeros((0, len(capacity)), dtype=np.int64)
    for request in requests[np.argsort(-shares, kind="stable")]:
        if not request.any():
            continue
        fitting = np.flatnonzero((free >= request).all(axis=1))
        if fitting.size:
            free[fitting[0]] -= request
        else:
            free = np.vstack([free, capacity - request])
    return len(free)


# -- how much can be placed -----------------------------------------------------------------------------------------


def most_placed(
    requests: ArrayLike,
    nodes: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    allowed: ArrayLike | None = None,
    time_limit_s: float = 10.0,
) -> Bound:
    """The largest number, or weight, of requests that fit on the given nodes at once: a vector multiple knapsack.

    ``weights`` by request, none below 0, 1 by default; with what a request asks of a dimension as its weight, the
    result is the most of that dimension that can be allocated. ``allowed`` is requests by nodes: where each may go.
    ``nodes`` is what is free on them.
    """
    asked = _requests(requests)
    free = np.maximum(_requests(nodes), 0)
    worth = np.ones(len(asked)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(worth) != len(asked) or (worth < 0).any():
        raise ValueError(f"weights: {len(worth)} of them for {len(asked)} requests, none below 0")
    if free.shape[1] != asked.shape[1]:
        raise ValueError(f"nodes: {free.shape[1]} dimensions, but requests have {asked.shape[1]}")
    may = np.ones((len(asked), len(free)), dtype=np.bool_) if allowed is None else np.asarray(allowed, dtype=np.bool_)
    if may.shape != (len(asked), len(free)):
        raise ValueError(f"allowed: shape {may.shape} must be requests by nodes, {(len(asked), len(free))}")
    if not len(asked) or not len(free):
        return Bound(0.0, "optimal", "max", 0.0)
    described = np.column_stack([asked, worth, may])
    _, first, counts = np.unique(described, axis=0, return_index=True, return_counts=True)
    kinds, fits = asked[first], may[first] & (asked[first][:, None, :] <= free[None, :, :]).all(axis=2)
    count_kinds, count_nodes = fits.shape
    upper = np.where(fits, counts[:, None], 0).reshape(-1)
    program = _Program(-np.repeat(worth[first], count_nodes), upper)
    for kind in range(count_kinds):
        program.add(kind * count_nodes + np.arange(count_nodes), _ones(count_nodes), 0, int(counts[kind]))
    for j in range(count_nodes):
        for d in range(kinds.shape[1]):
            program.add(np.arange(count_kinds) * count_nodes + j, kinds[:, d], -math.inf, int(free[j, d]))
    solved = program.solve(time_limit_s)
    value, best = -solved.value, -solved.best_known
    if weights is None:
        value = float(math.floor(value + _TOLERANCE))
    return Bound(value, "optimal" if value == best else "bound", "max", best)


# -- how long does it take ------------------------------------------------------------------------------------------


def makespan_bound(
    durations_s: ArrayLike, requests: ArrayLike, nodes: ArrayLike, *, submitted_s: ArrayLike | None = None
) -> Bound:
    """No schedule without interruptions ends before that: seconds from the first submission to the last end.

    The largest of: every workload's submission and duration; for every instant of submission r and dimension, r and the
    work (amount times duration) that is submitted from r on over the capacity of all nodes; and r and the total
    duration of those from r on that ask for more than half of the largest node in that dimension, over the number of
    nodes, for no two of these meet on a node. ``submitted_s`` is 0 by default. 0 without workloads; infinite where one
    fits on no node.
    """
    duration, asked = np.asarray(durations_s, dtype=np.float64), _requests(requests)
    free = np.maximum(_requests(nodes), 0)
    submitted = np.zeros(len(duration)) if submitted_s is None else np.asarray(submitted_s, dtype=np.float64)
    if not len(duration) == len(asked) == len(submitted):
        raise ValueError(f"requests: {len(asked)} of them for {len(duration)} durations, {len(submitted)} submissions")
    if not len(duration):
        return Bound(0.0, "bound", "min", math.nan)
    if (duration < 0).any():
        raise ValueError(f"durations_s: {duration.min()} must be at least 0")
    if not all((request <= free).all(axis=1).any() for request in asked):
        return Bound(math.inf, "bound", "min", math.nan)
    capacity = free.sum(axis=0).astype(np.float64)
    shares = asked / np.where(capacity > 0, capacity, 1.0)
    large = (2 * asked > free.max(axis=0)) / len(free)
    load = np.hstack([shares, large]) * duration[:, None]
    order = np.argsort(-submitted, kind="stable")
    later = np.cumsum(load[order], axis=0).max(axis=1) + submitted[order]
    value = max(float(later.max()), float((submitted + duration).max())) - float(submitted.min())
    return Bound(value, "bound", "min", math.nan)


# -- shared ---------------------------------------------------------------------------------------------------------


class _Program:
    """A program over integers from 0 to ``upper``: minimise ``cost``, row by row of constraints."""

    def __init__(self, cost: NDArray[np.float64], upper: NDArray[Any]) -> None:
        self._cost, self._upper = cost, upper
        self._rows: list[_Row] = []

    def add(self, columns: NDArray[np.int64], values: NDArray[np.int64], low: float, high: float) -> None:
        """Add ``low <= sum of values * variables in columns <= high``, limits as int where there is one."""
        self._rows.append(_Row(columns, values, low, high))

    def solve(self, time_limit_s: float) -> Bound:
        """Return the bound and the best solution's value, in the sense of the cost.

        The solver works in floating point, rows scaled to at most 1; a solution counts if it is one in integers.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        if not time_limit_s > 0:
            raise ValueError(f"time_limit_s: {time_limit_s} must be above 0")
        rows = self._rows
        scales = np.array([max(1.0, float(np.abs(row.values).max())) for row in rows])
        values = np.concatenate([row.values / scale for row, scale in zip(rows, scales, strict=True)])
        starts = np.cumsum([0, *(len(row.columns) for row in rows)])
        columns = np.concatenate([row.columns for row in rows])
        matrix = csr_array((values, columns, starts), shape=(len(rows), len(self._cost)))
        low, high = np.array([row.low for row in rows]) / scales, np.array([row.high for row in rows]) / scales
        result = milp(
            self._cost,
            integrality=np.ones(len(self._cost)),
            bounds=Bounds(np.zeros(len(self._cost)), self._upper),
            constraints=LinearConstraint(matrix, low, high),
            options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
        )
        best = math.nan
        if result.x is not None:
            solution = np.round(result.x).astype(np.int64)
            if all(row.low <= int(row.values @ solution[row.columns]) <= row.high for row in rows):
                best = float(self._cost @ solution)
        if result.status == 0 and not math.isnan(best):
            return Bound(best, "optimal", "min", best)
        least = float(self._cost[self._cost < 0] @ self._upper[self._cost < 0])
        bound = result.mip_dual_bound
        value = least if bound is None or not math.isfinite(bound) else max(least, float(bound))
        return Bound(value, "bound", "min", best)


class _Row(NamedTuple):
    columns: NDArray[np.int64]
    values: NDArray[np.int64]
    low: float
    high: float


def _ones(count: int) -> NDArray[np.int64]:
    return np.ones(count, dtype=np.int64)


def _requests(given: ArrayLike) -> NDArray[np.int64]:
    amounts = np.asarray(given, dtype=np.int64)
    if amounts.ndim != 2:
        raise ValueError(f"requests: {amounts.ndim} axes; they are workloads (or nodes) by dimensions")
    return amounts


def _one_node(capacity: ArrayLike) -> NDArray[np.int64]:
    node = np.asarray(capacity, dtype=np.int64)
    if node.ndim != 1:
        raise ValueError(f"capacity: {node.ndim} axes; it is one node's, by dimension")
    return node


def _check_fits(requests: NDArray[np.int64], capacity: NDArray[np.int64]) -> None:
    if requests.shape[1] != len(capacity):
        raise ValueError(f"requests: {requests.shape[1]} dimensions, but capacity has {len(capacity)}")
    too_large = (requests > capacity).any(axis=1)
    if too_large.any():
        raise ValueError(f"requests: {requests[too_large][0].tolist()} does not fit on a node of {capacity.tolist()}")

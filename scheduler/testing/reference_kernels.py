"""The kernels of `scheduler.kernels` in plain NumPy: slow, short, and easy to believe."""

from __future__ import annotations

import numpy as np

from scheduler.plugins.cpu_plans import Cores, PlanRequest, iterate_plans
from scheduler.types import FloatArray, Int64Array, MaskArray


def scores(free: Int64Array, need: Int64Array, weights: FloatArray, mask: MaskArray) -> FloatArray:
    """The score of every row, ``-inf`` where it does not fit."""
    result = np.zeros(free.shape[1])
    request = np.maximum(need, 0).astype(np.float64)
    for dimension in range(free.shape[0]):
        result = result + weights[dimension] * (free[dimension] - request[dimension])
    fits = (free >= need[:, None]).all(axis=0) & (mask != 0)
    return np.where(fits, result, -np.inf)


def best(column: FloatArray) -> int:
    """The lowest row with the highest score, -1 where all are ``-inf``."""
    if not len(column) or np.max(column) == -np.inf:
        return -1
    return int(np.argmax(column))


def nth_fitting_row(free: Int64Array, need: Int64Array, mask: MaskArray, draw: float) -> int:
    """The fitting row numbered ``floor(draw * how many fit)``, -1 where none fits."""
    rows = np.flatnonzero((free >= need[:, None]).all(axis=0) & (mask != 0))
    return int(rows[int(draw * len(rows))]) if len(rows) else -1


def first_class_that_fits(needs: Int64Array, heads: Int64Array, free: Int64Array, rows: Int64Array) -> int:
    """Of the classes that fit on at least one of the rows, the one with the least head, -1 where there is none."""
    fitting = [c for c in range(len(needs)) if (free[:, rows] >= needs[c][:, None]).all(axis=0).any()]
    return min(fitting, key=lambda c: tuple(heads[c]), default=-1)


def cpu_plan_counts(
    free: Int64Array,
    core_count: int,
    numa_cores: Int64Array,
    numa_starts: Int64Array,
    pieces: int,
    share_base: int,
    max_share: int,
    memory: int,
    numa_nodes: int,
) -> Int64Array:
    """The number of plans of every row: build them all, and count."""
    request = PlanRequest(pieces, share_base, max_share, memory, numa_nodes)
    members = [cores.tolist() for cores in np.split(numa_cores, numa_starts[1:-1])] if len(numa_starts) > 1 else []
    return np.array(
        [
            sum(1 for _ in iterate_plans(Cores(row[:core_count], members, row[core_count:]), request))
            for row in free.tolist()
        ],
        dtype=np.int64,
    )


def earliest_start(times: Int64Array, free: Int64Array, need: Int64Array, now_ns: int, run_ns: int) -> int:
    """The first instant from which the request fits on one row for ``run_ns``, 2^62 where there is none.

    Tried at each time of the profile: the first is now, and no other before ``now_ns + 1``.
    """
    begins = [now_ns, *np.maximum(times[1:], now_ns + 1).tolist()]
    ends = [*begins[1:], 1 << 63]
    for start_ns in begins:
        spans = zip(begins, ends, free, strict=True)
        if all(
            (left >= need).all()
            for begin, end, left in spans
            if begin < end and begin < max(start_ns + run_ns, start_ns + 1) and end > start_ns
        ):
            return min(int(start_ns), 1 << 62)
    return 1 << 62


def copies_that_fit(
    times: Int64Array, free: Int64Array, need: Int64Array, now_ns: int, start_ns: int, run_ns: int, most: int
) -> int:
    """How many copies, up to ``most``, fit on one row from ``start_ns`` for ``run_ns``."""
    begins = [now_ns, *np.maximum(times[1:], now_ns + 1).tolist()]
    ends = [*begins[1:], 1 << 63]
    for begin, end, left in zip(begins, ends, free, strict=True):
        if begin < end and begin < start_ns + run_ns and end > start_ns:
            room = [max(0, int(amount) // int(ask)) for amount, ask in zip(left, need, strict=True) if ask > 0]
            most = min([most, *room])
    return most

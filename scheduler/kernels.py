"""Compiled inner loops; the only module that knows numba. Twins in plain NumPy: `scheduler.testing.reference_kernels`.

The kernels that scan rows share these arguments. ``free`` (dimensions, rows) int64; ``need`` (dimensions,) int64, the
request with every zero replaced by the smallest integer, so that a dimension of which nothing is asked never stands in
the way; ``weights`` (dimensions,) float64; ``mask`` (rows,) uint8, 0 where a row is out of the question. The score of a
row is ``sum over d of weights[d] * (free[d] - request[d])``, added in the order of the dimensions in float64, and
``-inf`` where the row does not fit. The best row has the highest score; ties go to the lowest row; -1 means none.

Written for the vectoriser: blocks of rows as slices that start at 0, no branch in the inner loops, and one counting
pass that tells whether a block can improve on the best so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from scheduler.types import FloatArray, Int64Array, MaskArray

BLOCK = 128
"""Rows a block, of both the scan and the block maxima of a cached score column."""
ORDER_BLOCK = 32
"""Rows a block of those that are kept in the order of a policy."""

Function = TypeVar("Function", bound=Callable[..., Any])

_written: dict[str, Callable[..., Any]] = {}


def _compiled(function: Function) -> Function:
    """Leave it to numba, which is loaded when any kernel is called for the first time: many a run needs none."""
    name = function.__name__
    _written[name] = function

    def first_call(*arguments: Any) -> Any:
        if globals()[name] is first_call:
            load()
        return globals()[name](*arguments)

    return cast(Function, first_call)


def load() -> None:
    """Put what numba makes of the kernels in their place; each is compiled when it is first called itself.

    For whoever cannot wait for it at the first call, as a service. One kernel is called, since numba loads the most of
    itself for the first.
    """
    import numba

    for name, function in _written.items():
        if not hasattr(globals()[name], "py_func"):  # what is compiled stays
            globals()[name] = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    best_of_blocks(np.zeros(0), np.zeros(0, dtype=np.int64), 0)


@_compiled
def _score_block(
    scores: FloatArray,
    free: Int64Array,
    need: Int64Array,
    weights: FloatArray,
    mask: MaskArray,
    low: int,
    size: int,
) -> None:
    allowed = mask[low : low + size]
    for i in range(size):
        scores[i] = 0.0 if allowed[i] != 0 else -np.inf
    for d in range(free.shape[0]):
        column = free[d, low : low + size]
        least, weight = need[d], weights[d]
        asked = float(max(least, 0))
        for i in range(size):
            scores[i] = scores[i] + weight * (column[i] - asked) if column[i] >= least else -np.inf


@_compiled
def best_row(free: Int64Array, need: Int64Array, weights: FloatArray, mask: MaskArray, row_count: int) -> int:
    """Score all rows and return the best one."""
    best = -np.inf
    best_at = -1
    buffer = np.empty(BLOCK)
    for low in range(0, row_count, BLOCK):
        size = min(BLOCK, row_count - low)
        scores = buffer[:size]
        _score_block(scores, free, need, weights, mask, low, size)
        better = 0
        for i in range(size):
            better += scores[i] > best
        if better > 0:
            for i in range(size):
                if scores[i] > best:
                    best = scores[i]
                    best_at = low + i
    return best_at


@_compiled
def _best_in_block(scores: FloatArray, low: int, size: int) -> int:
    block = scores[low : low + size]
    best = -np.inf
    best_at = -1
    for part in range(0, size, 16):
        few = block[part : part + 16]
        better = 0
        for i in range(few.shape[0]):
            better += few[i] > best
        if better > 0:
            for i in range(few.shape[0]):
                if few[i] > best:
                    best = few[i]
                    best_at = low + part + i
    return best_at


@_compiled
def fill_scores(
    scores: FloatArray,
    block_best: Int64Array,
    free: Int64Array,
    need: Int64Array,
    weights: FloatArray,
    mask: MaskArray,
    row_count: int,
) -> None:
    """Write the score of every row, and the best row of every block (-1 for none)."""
    for low in range(0, row_count, BLOCK):
        size = min(BLOCK, row_count - low)
        _score_block(scores[low : low + size], free, need, weights, mask, low, size)
        block_best[low // BLOCK] = _best_in_block(scores, low, size)


@_compiled
def _put_score(scores: FloatArray, block_best: Int64Array, row: int, score: float, row_count: int) -> None:
    block = row // BLOCK
    champion = block_best[block]
    if champion == row:
        fell = score < scores[row]
        scores[row] = score
        if fell:
            low = block * BLOCK
            block_best[block] = _best_in_block(scores, low, min(BLOCK, row_count - low))
        return
    scores[row] = score
    if score == -np.inf:
        return
    if champion < 0 or score > scores[champion] or (score == scores[champion] and row < champion):
        block_best[block] = row


@_compiled
def refresh_scores(
    scores: FloatArray,
    block_best: Int64Array,
    free: Int64Array,
    need: Int64Array,
    weights: FloatArray,
    mask: MaskArray,
    row_count: int,
    change_log: Int64Array,
    seen: int,
    version: int,
) -> int:
    """Bring the scores of the rows logged since ``seen`` up to date, then return the best row of all."""
    log_mask = change_log.shape[0] - 1
    for entry in range(seen, version):
        row = change_log[entry & log_mask]
        score = 0.0 if mask[row] != 0 else -np.inf
        for d in range(free.shape[0]):
            asked = float(max(need[d], 0))
            score = score + weights[d] * (free[d, row] - asked) if free[d, row] >= need[d] else -np.inf
        _put_score(scores, block_best, row, score, row_count)
    return best_of_blocks(scores, block_best, row_count)


@_compiled
def best_of_blocks(scores: FloatArray, block_best: Int64Array, row_count: int) -> int:
    """Return the best row, by the best rows of the blocks."""
    best = -np.inf
    best_at = -1
    for block in range((row_count + BLOCK - 1) // BLOCK):
        row = block_best[block]
        if row >= 0 and scores[row] > best:
            best = scores[row]
            best_at = row
    return best_at


@_compiled
def reorder_rows(
    order: Int64Array,
    values: FloatArray,
    ordered_free: Int64Array,
    block_free: Int64Array,
    changed: Int64Array,
    is_changed: MaskArray,
    counts: Int64Array,
    free: Int64Array,
    weights: FloatArray,
) -> float:
    """Put the changed rows where they belong in the order of all rows; return a bound of all values, without sign.

    The value of a row is ``sum over d of weights[d] * free[d]``; ``order`` has rows by falling value, ties by rank, and
    ``values`` theirs, ``ordered_free`` (dimensions, rows) what they have free, and ``block_free`` (blocks, dimensions)
    the most that any of `ORDER_BLOCK` of them has. ``counts`` tells how many rows are in ``order`` and in ``changed``;
    ``is_changed`` (rows,) marks the latter.
    """
    dimensions = free.shape[0]
    changed_count = counts[1]
    moved = np.sort(changed[:changed_count])
    moved_values = np.zeros(changed_count)
    for d in range(dimensions):
        for i in range(changed_count):
            moved_values[i] += weights[d] * free[d, moved[i]]
    places = np.argsort(-moved_values, kind="mergesort")
    kept = 0
    for i in range(counts[0]):
        if is_changed[order[i]] == 0:
            order[kept], values[kept] = order[i], values[i]
            kept += 1
    total = kept + changed_count
    at, left = kept - 1, changed_count - 1
    for i in range(total - 1, -1, -1):
        row, value = -1, 0.0
        if left >= 0:
            row, value = moved[places[left]], moved_values[places[left]]
        if left < 0 or (at >= 0 and (values[at] < value or (values[at] == value and order[at] > row))):
            order[i], values[i] = order[at], values[at]
            at -= 1
        else:
            order[i], values[i] = row, value
            is_changed[row] = 0
            left -= 1
    counts[0], counts[1] = total, 0
    bound = 0.0
    for d in range(dimensions):
        largest = 0.0
        for block in range((total + ORDER_BLOCK - 1) // ORDER_BLOCK):
            most = np.iinfo(np.int64).min
            for i in range(block * ORDER_BLOCK, min((block + 1) * ORDER_BLOCK, total)):
                amount = ordered_free[d, i] = free[d, order[i]]
                most = max(most, amount)
                largest = max(largest, abs(float(amount)))
            block_free[block, d] = most
        bound += abs(weights[d]) * largest
    return bound


@_compiled
def best_in_order(
    order: Int64Array,
    values: FloatArray,
    ordered_free: Int64Array,
    block_free: Int64Array,
    changed: Int64Array,
    is_changed: MaskArray,
    counts: Int64Array,
    bound: float,
    free: Int64Array,
    need: Int64Array,
    weights: FloatArray,
    mask: MaskArray,
    change_log: Int64Array,
    seen: int,
    version: int,
    changes_max: int,
) -> int:
    """Take note of the rows logged since ``seen``, and return the best row; -2 if more than ``changes_max`` changed.

    The arguments before ``free`` are what `reorder_rows` made; rows that have changed since are looked at one by one.
    The others come by falling value, which is their score but for a constant and for rounding: when the value of the
    next one is so low that rounding cannot make up for it, the best has been found.
    """
    count = counts[1]
    for entry in range(seen, version):
        row = change_log[entry & (change_log.shape[0] - 1)]
        if is_changed[row] == 0:
            is_changed[row] = 1
            changed[count] = row
            count += 1
    counts[1] = count
    if count > changes_max:
        return -2
    dimensions = free.shape[0]
    best, best_at = -np.inf, -1
    for i in range(count):
        row = changed[i]
        score = 0.0 if mask[row] != 0 else -np.inf
        for d in range(dimensions):
            score = score + weights[d] * (free[d, row] - float(max(need[d], 0))) if free[d, row] >= need[d] else -np.inf
        if score > best or (score == best and row < best_at):
            best, best_at = score, row
    asked = 0.0
    for d in range(dimensions):
        asked += weights[d] * max(need[d], 0)
        bound += abs(weights[d]) * max(need[d], 0)
    rounding = bound * 2.0**-44
    buffer = np.empty(ORDER_BLOCK, dtype=np.uint8)
    for block in range((counts[0] + ORDER_BLOCK - 1) // ORDER_BLOCK):
        low = block * ORDER_BLOCK
        if values[low] < best + asked - rounding:
            break
        has_room = True
        for d in range(dimensions):
            has_room &= block_free[block, d] >= need[d]
        if not has_room:
            continue
        size = min(ORDER_BLOCK, counts[0] - low)
        fits = buffer[:size]
        fits[:] = 1
        for d in range(dimensions):
            column, least = ordered_free[d, low : low + size], need[d]
            for i in range(size):
                fits[i] &= np.uint8(column[i] >= least)
        fitting = 0
        for i in range(size):
            fitting += fits[i]
        if fitting == 0:
            continue
        for i in range(size):
            row = order[low + i]
            if fits[i] == 0 or is_changed[row] != 0 or mask[row] == 0:
                continue
            if values[low + i] < best + asked - rounding:
                break
            score = 0.0
            for d in range(dimensions):
                score = score + weights[d] * (ordered_free[d, low + i] - float(max(need[d], 0)))
            if score > best or (score == best and row < best_at):
                best, best_at = score, row
            if bound == 0.0:
                return best_at
    return best_at


@_compiled
def nth_fitting_row(
    free: Int64Array, need: Int64Array, mask: MaskArray, row_count: int, fits: MaskArray, draw: float
) -> int:
    """Return a fitting row, chosen by ``draw`` in [0, 1): the one numbered ``floor(draw * how many fit)``.

    ``fits`` (rows,) is scratch.
    """
    total = 0
    for low in range(0, row_count, BLOCK):
        size = min(BLOCK, row_count - low)
        block = fits[low : low + size]
        allowed = mask[low : low + size]
        for i in range(size):
            block[i] = allowed[i]
        for d in range(free.shape[0]):
            column = free[d, low : low + size]
            least = need[d]
            for i in range(size):
                block[i] &= np.uint8(column[i] >= least)
        for i in range(size):
            total += block[i]
    wanted = int(draw * total)
    for low in range(0, row_count, BLOCK):
        size = min(BLOCK, row_count - low)
        block = fits[low : low + size]
        here = 0
        for i in range(size):
            here += block[i]
        if wanted >= here:
            wanted -= here
            continue
        for i in range(size):
            if block[i] != 0:
                if wanted == 0:
                    return low + i
                wanted -= 1
    return -1


@_compiled
def first_class_that_fits(
    needs: Int64Array, heads: Int64Array, pointers: Int64Array, count: int, free: Int64Array, rows: Int64Array
) -> int:
    """Return the slot of the pending class that comes first in queue order and fits on one of ``rows``, or -1.

    ``needs`` (slots, dimensions) and ``heads`` (slots, 2: negative priority, sequence) describe the classes, of which
    the first ``count`` are in use. ``pointers`` (slots,) says for each how many of ``rows`` are known not to do any
    more, and is moved forward; a class is out when it has reached the end.
    """
    best = -1
    for slot in range(count):
        pointer = pointers[slot]
        if pointer >= rows.shape[0]:
            continue
        if best >= 0 and (heads[slot, 0], heads[slot, 1]) > (heads[best, 0], heads[best, 1]):
            continue
        while pointer < rows.shape[0]:
            fits = True
            for d in range(free.shape[0]):
                fits &= free[d, rows[pointer]] >= needs[slot, d]
            if fits:
                break
            pointer += 1
        pointers[slot] = pointer
        if pointer < rows.shape[0]:
            best = slot
    return best


@_compiled
def _group_count(sums: Int64Array, moved: int, last: int, size: int) -> int:
    """Groups of ``size`` distinct things of those numbered from ``moved`` to ``last``, excluded; each takes a unit.

    ``sums`` are running sums of units, which ascend. t groups can be made if and only if sum(min(units, t)) is at
    least size * t; and that sum is the least, over j, of j * t plus all units but the j largest.
    """
    if last - moved < size:
        return 0
    count = int(sums[last] - sums[moved])
    for j in range(size):
        count = min(count, int(sums[last - j] - sums[moved]) // (size - j))
    return count


@_compiled
def _classify_cores(
    pool: Int64Array, cores: Int64Array, share_base: int, full: Int64Array, broken: Int64Array
) -> tuple[int, int]:
    """Write full cores and fragment cores, each by (free, number), and return how many there are of both."""
    core_count = pool.shape[0]
    full_count = broken_count = 0
    for core in cores:
        key = pool[core] * core_count + core
        if pool[core] <= 0:
            continue
        if pool[core] % share_base == 0:
            full[full_count] = key
            full_count += 1
        else:
            broken[broken_count] = key
            broken_count += 1
    full[:full_count].sort()
    broken[:broken_count].sort()
    full[:full_count] %= core_count
    broken[:broken_count] %= core_count
    return full_count, broken_count


@_compiled
def _best_split(
    sums: Int64Array, full_count: int, whole: int, fragments: Int64Array, moved_max: int
) -> tuple[int, int]:
    """How many full cores to break up for the most plans, the fewest that do; and how many plans there are then.

    Running sums: ``sums`` of the units of the full cores, ``fragments`` of the copies of the fragment when so many full
    cores are broken up. The latter rises with every core, while the number of groups falls or stays.
    """
    low, high = 0, moved_max + 1
    while low < high:
        middle = (low + high) // 2
        if fragments[middle] >= _group_count(sums, middle, full_count, whole):
            high = middle
        else:
            low = middle + 1
    count = _group_count(sums, low, full_count, whole) if low <= moved_max else 0
    if low > 0 and fragments[low - 1] >= count:
        return low - 1, int(fragments[low - 1])
    return low, count


@_compiled
def _consume_fragments(pool: Int64Array, cores: Int64Array, fragment: int, count: int) -> None:
    """Take ``count`` fragments out of ``pool``, as many as there are on each core in turn."""
    for core in cores:
        taken = min(count, pool[core] // fragment)
        pool[core] -= taken * fragment
        count -= taken


@_compiled
def _consume_groups(
    pool: Int64Array,
    full: Int64Array,
    share_base: int,
    size: int,
    count: int,
    rank: Int64Array,
    ascending: Int64Array,
) -> None:
    """Take the first ``count`` groups of whole cores out of ``pool``.

    ``full`` are the full cores in the order in which they are to be used. Groups are made by always taking the cores
    with most left, ties to the highest; then those are first whose cores come early in ``full``. ``rank`` and
    ``ascending`` (core_count,) are scratch.
    """
    core_count = pool.shape[0]
    left = full.shape[0]
    units = 0
    for i in range(left):
        rank[full[i]] = i
        ascending[i] = pool[full[i]] // share_base * core_count + full[i]
        units += pool[full[i]] // share_base
    ascending[:left].sort()
    groups = np.empty(units + size, dtype=np.int64)
    order = np.empty(units // size + 1, dtype=np.int64)
    made = 0
    while left >= size:
        group = groups[made * size : made * size + size]
        left -= size
        group[:] = ascending[left : left + size]
        order[made] = 0
        for i in range(size):
            key = group[i] - core_count
            group[i] %= core_count
            order[made] += rank[group[i]]
            if key >= core_count:
                at = left
                while at > 0 and ascending[at - 1] > key:
                    ascending[at] = ascending[at - 1]
                    at -= 1
                ascending[at] = key
                left += 1
        made += 1
    order[:made] = order[:made] * made + np.arange(made)
    order[:made].sort()
    for i in range(count):
        start = order[i] % made * size
        for core in groups[start : start + size]:
            pool[core] -= share_base


@_compiled
def _cpu_pass(
    pool: Int64Array,
    cores: Int64Array,
    whole: int,
    fragment: int,
    share_base: int,
    max_share: int,
    room: int,
    consume: bool,
    scratch: Int64Array,
) -> int:
    """Count the plans on some ``cores`` of the pool, at most ``room``; take them out of it if asked to.

    ``scratch`` (6, at least core_count + 1).
    """
    full, broken, sums, fragments = scratch[0], scratch[1], scratch[2], scratch[3]
    full_count, broken_count = _classify_cores(pool, cores, share_base, full, broken)
    sums[0] = 0
    for i in range(full_count):
        sums[i + 1] = sums[i] + pool[full[i]] // share_base
    moved = 0
    if fragment == 0:
        count = _group_count(sums, 0, full_count, whole)
    else:
        fragments[0] = 0
        for core in broken[:broken_count]:
            fragments[0] += pool[core] // fragment
        for i in range(full_count):
            fragments[i + 1] = fragments[i] + pool[full[i]] // fragment
        breakable = full_count + broken_count - whole
        if max_share != -1:
            breakable = min(breakable, max_share)
        moved = max(breakable - broken_count, 0)
        count = int(fragments[moved])
        if whole > 0:
            moved, count = _best_split(sums, full_count, whole, fragments, moved)
    count = min(count, room)
    if consume and count > 0:
        if whole > 0:
            _consume_groups(pool, full[moved:full_count], share_base, whole, count, scratch[4], scratch[5])
        if fragment > 0:
            broken[broken_count : broken_count + moved] = full[:moved]
            _consume_fragments(pool, broken[: broken_count + moved], fragment, count)
    return count


@_compiled
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
    """Count by row the plans for a bound request: ``len(list(scheduler.plugins.cpu_plans.iterate_plans(...)))``.

    ``free`` (rows, width) has pieces by core, then bytes by NUMA node. The cores of NUMA node n are
    ``numa_cores[numa_starts[n]:numa_starts[n + 1]]``. The request is what `cpu_plans.PlanRequest` has, for which
    ``pieces`` is at least 1; below 0 free is like 0.
    """
    numa_count = numa_starts.shape[0] - 1
    shares = max(numa_nodes, 1)
    whole, fragment = pieces // shares // share_base, pieces // shares % share_base
    memory = (memory + shares - 1) // shares
    everything = np.arange(core_count)
    scratch = np.empty((6, max(core_count, numa_count) + 1), dtype=np.int64)
    pool = np.empty(core_count, dtype=np.int64)
    found = np.empty(numa_count, dtype=np.int64)
    counts = np.zeros(free.shape[0], dtype=np.int64)
    for row in range(free.shape[0]):
        for core in range(core_count):
            pool[core] = max(free[row, core], 0)
        for node in range(numa_count):
            cores = numa_cores[numa_starts[node] : numa_starts[node + 1]]
            room = np.iinfo(np.int64).max
            if memory > 0:
                room = max(free[row, core_count + node], 0) // memory
            found[node] = _cpu_pass(pool, cores, whole, fragment, share_base, max_share, room, numa_nodes == 0, scratch)
        if numa_nodes > 1:
            found.sort()
            sums = scratch[0]
            sums[0] = 0
            for node in range(numa_count):
                sums[node + 1] = sums[node] + found[node]
            counts[row] = _group_count(sums, 0, numa_count, numa_nodes)
            continue
        counts[row] = found.sum()
        if numa_nodes == 0:
            counts[row] += _cpu_pass(
                pool, everything, whole, fragment, share_base, max_share, np.iinfo(np.int64).max, False, scratch
            )
    return counts


@_compiled
def _next_time(times: Int64Array, length: int, place: int, now_ns: int) -> int:
    """When what is free at a place of a row's profile becomes something else; the largest integer for never."""
    return max(times[place + 1], now_ns + 1) if place + 1 < length else np.iinfo(np.int64).max


@_compiled
def rows_that_start(
    rows: Int64Array, free_now: Int64Array, need: Int64Array, is_known: MaskArray, times: Int64Array,
    lengths: Int64Array, free: Int64Array, now_ns: int, run_ns: int, found: Int64Array,
) -> int:  # fmt: skip
    """Put those of ``rows`` on which the request fits from now on for ``run_ns`` into ``found``; return how many.

    ``free_now`` (dimensions, rows) is what is free now. ``is_known`` (rows,) tells on which rows that changes: there
    ``free[row, i]`` (rows, times, dimensions) is free from ``times[row, i]`` until the next, ``lengths[row]`` times;
    the first is now, and no other before ``now_ns + 1``, whatever it says.
    """
    count = 0
    for row in rows:
        fits = True
        for d in range(need.shape[0]):
            fits &= free_now[d, row] >= need[d]
        if fits and is_known[row]:
            at_ns = now_ns
            for place in range(lengths[row]):
                next_ns = _next_time(times[row], lengths[row], place, now_ns)
                if place and at_ns >= now_ns + run_ns:
                    break
                if next_ns > at_ns:
                    for d in range(need.shape[0]):
                        fits &= free[row, place, d] >= need[d]
                if not fits:
                    break
                at_ns = next_ns
        if fits:
            found[count] = row
            count += 1
    return count


@_compiled
def first_start(
    rows: Int64Array, need: Int64Array, is_known: MaskArray, times: Int64Array, lengths: Int64Array,
    free: Int64Array, now_ns: int, run_ns: int, floor_ns: int,
) -> tuple[int, int]:  # fmt: skip
    """Return the earliest instant from which the request fits for ``run_ns`` on one of the known ``rows``, and the
    first such row; 2^62 and -1 where there is none. It is known not to be before ``floor_ns``.

    The profile is as in `rows_that_start`.
    """
    never_ns = 1 << 62
    best_ns, best_row = never_ns, -1
    for row in rows:
        if not is_known[row]:
            continue
        first, end = 0, lengths[row]
        while first + 1 < end:  # the last place whose time is not after the floor
            middle = (first + end) // 2
            if max(times[row, middle], now_ns + 1) <= floor_ns:
                first = middle
            else:
                end = middle
        start_ns, at_ns = never_ns, now_ns if first == 0 else max(times[row, first], now_ns + 1)
        for place in range(first, lengths[row]):
            if start_ns < never_ns and at_ns >= start_ns + run_ns:
                break
            if start_ns == never_ns and at_ns >= best_ns:
                break
            next_ns = _next_time(times[row], lengths[row], place, now_ns)
            if next_ns > at_ns:
                fits = True
                for d in range(need.shape[0]):
                    fits &= free[row, place, d] >= need[d]
                if not fits:
                    start_ns = never_ns
                elif start_ns == never_ns:
                    start_ns = at_ns
            at_ns = next_ns
        if start_ns < best_ns:
            best_ns, best_row = start_ns, row
            if best_ns <= floor_ns:
                break
    return best_ns, best_row


@_compiled
def take_from_profile(
    times: Int64Array, free: Int64Array, length: int, start_ns: int, end_ns: int, amounts: Int64Array
) -> int:
    """Take ``amounts`` out of one row's profile, whose times are what they say, between two instants from its first on.

    Return how many times it has then; there must be room for two more.
    """
    first = last = 0
    for at_ns in (start_ns, end_ns):
        place = int(np.searchsorted(times[:length], at_ns))
        if place == length or times[place] != at_ns:
            for other in range(length, place, -1):
                times[other] = times[other - 1]
                free[other] = free[other - 1]
            times[place] = at_ns
            free[place] = free[place - 1]
            length += 1
        first, last = last, place
    for place in range(first, last):
        free[place] -= amounts
    return length


@_compiled
def copies_from(
    rows: Int64Array, need: Int64Array, times: Int64Array, lengths: Int64Array, free: Int64Array, now_ns: int,
    start_ns: int, run_ns: int, count: int, copies: Int64Array,
) -> tuple[int, int]:  # fmt: skip
    """Put into ``copies`` how many of ``count`` each row takes from ``start_ns`` for ``run_ns``, the first rows first.

    Return how many rows were looked at, and how many copies are left. The profile is as in `rows_that_start`.
    """
    left = count
    for visited in range(rows.shape[0]):
        row, most, at_ns = rows[visited], left, now_ns
        for place in range(lengths[row]):
            if at_ns >= start_ns + run_ns:
                break
            next_ns = _next_time(times[row], lengths[row], place, now_ns)
            if next_ns > start_ns and next_ns > at_ns:
                for d in range(need.shape[0]):
                    if need[d] > 0:
                        most = min(most, max(0, free[row, place, d] // need[d]))
            at_ns = next_ns
        copies[visited] = most
        left -= most
        if not left:
            return visited + 1, 0
    return rows.shape[0], left


def compile_all() -> None:
    """Have every kernel compiled, or loaded from the cache on disk, for the types that the core uses."""
    free = np.zeros((1, 2), dtype=np.int64)
    need, amounts = np.zeros(1, dtype=np.int64), np.zeros(1)
    mask, scores, block_best = np.ones(2, dtype=np.uint8), np.zeros(2), np.zeros(1, dtype=np.int64)
    rows = np.zeros(2, dtype=np.int64)
    best_row(free, need, amounts, mask, 2)
    fill_scores(scores, block_best, free, need, amounts, mask, 2)
    refresh_scores(scores, block_best, free, need, amounts, mask, 2, rows, 0, 1)
    best_of_blocks(scores, block_best, 2)
    order, counts = rows.copy(), np.zeros(2, dtype=np.int64)
    parts = order, scores.copy(), free.copy(), np.zeros((1, 1), dtype=np.int64), rows.copy(), mask.copy(), counts
    reorder_rows(*parts, free, amounts)
    best_in_order(*parts, 0.0, free, need, amounts, mask, rows, 0, 1, 2)
    nth_fitting_row(free, need, mask, 2, mask.copy(), 0.5)
    first_class_that_fits(free, np.zeros((1, 2), dtype=np.int64), rows, 1, free, rows)
    cpu_plan_counts(np.zeros((1, 5), dtype=np.int64), 2, rows, np.arange(3), 150, 100, -1, 1, 0)
    times, profile = np.zeros((2, 2), dtype=np.int64), np.zeros((2, 2, 1), dtype=np.int64)
    rows_that_start(rows, free, need, mask, times, rows, profile, 0, 1, rows.copy())
    first_start(rows, need, mask, times, rows, profile, 0, 1, 0)
    take_from_profile(np.zeros(3, dtype=np.int64), np.zeros((3, 1), dtype=np.int64), 1, 0, 1, need)
    copies_from(rows, need, times, rows, profile, 0, 0, 1, 1, rows.copy())

"""Compiled inner loops; the only module that knows numba. Twins in plain NumPy: `scheduler.testing.reference_kernels`.

All kernels share these arguments. ``free`` (dimensions, rows) int64; ``need`` (dimensions,) int64, the request with
every zero replaced by the smallest integer, so that a dimension of which nothing is asked never stands in the way;
``weights`` (dimensions,) float64; ``mask`` (rows,) uint8, 0 where a row is out of the question. The score of a row is
``sum over d of weights[d] * (free[d] - request[d])``, added in the order of the dimensions in float64, and ``-inf``
where the row does not fit. The best row has the highest score; ties go to the lowest row; -1 means none.

Written for the vectoriser: blocks of rows as slices that start at 0, no branch in the inner loops, and one counting
pass that tells whether a block can improve on the best so far.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numba
import numpy as np

from scheduler.types import FloatArray, Int64Array, MaskArray

BLOCK = 128
"""Rows a block, of both the scan and the block maxima of a cached score column."""

Function = TypeVar("Function")


def _compiled(function: Function) -> Function:
    return cast(Function, numba.njit(cache=True, error_model="numpy", nogil=True)(cast(Any, function)))


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
def put_scores(
    scores: FloatArray, block_best: Int64Array, rows: Int64Array, values: FloatArray, row_count: int
) -> None:
    """Store scores that were calculated elsewhere for some rows."""
    for i in range(rows.shape[0]):
        _put_score(scores, block_best, rows[i], values[i], row_count)


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
def index_blocks(scores: FloatArray, block_best: Int64Array, row_count: int) -> None:
    """Find the best row of every block anew."""
    for low in range(0, row_count, BLOCK):
        block_best[low // BLOCK] = _best_in_block(scores, low, min(BLOCK, row_count - low))


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


def compile_all() -> None:
    """Have every kernel compiled, or loaded from the cache on disk, for the types that the core uses."""
    free = np.zeros((1, 2), dtype=np.int64)
    need, amounts = np.zeros(1, dtype=np.int64), np.zeros(1)
    mask, scores, block_best = np.ones(2, dtype=np.uint8), np.zeros(2), np.zeros(1, dtype=np.int64)
    rows = np.zeros(2, dtype=np.int64)
    best_row(free, need, amounts, mask, 2)
    fill_scores(scores, block_best, free, need, amounts, mask, 2)
    refresh_scores(scores, block_best, free, need, amounts, mask, 2, rows, 0, 1)
    put_scores(scores, block_best, rows, scores, 2)
    best_of_blocks(scores, block_best, 2)
    index_blocks(scores, block_best, 2)
    nth_fitting_row(free, need, mask, 2, mask.copy(), 0.5)
    first_class_that_fits(free, np.zeros((1, 2), dtype=np.int64), rows, 1, free, rows)

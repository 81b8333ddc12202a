"""All rows in the order of a policy that thinks of them the same whatever is asked.

Theory of operation. Where the weights of a `LinearPolicy` do not depend on the request, the score of a row is its
*value*, the weighted sum of what is free, less a constant of the request. So one order of the rows by value serves
every request: the best row is the first on which it fits. The order has blocks, and what is free at most in each, so
that rows on which there is no room are passed over many at a time.

Rows that changed since the order was made are set aside and looked at one by one. When these are many they are put
back in their places, which costs as much as there are rows: with as many changes between as a fixed share of the rows,
that is a constant for each change. Nothing depends on how many requests differ.

The scores that decide are the same floats, from the same operations, as those of a full scan.
"""

from __future__ import annotations

import numpy as np

from scheduler import kernels
from scheduler.ledger import Ledger
from scheduler.types import FloatArray, Int64Array, MaskArray

_TOO_MANY = -2
_BOUND_MIN, _BOUND_MAX = 1e-250, 1e250
"""Beyond these floats have not the digits that the bound of rounding counts on."""


class ScoreOrder:
    """The rows of a ledger by the value that ``weights`` give them, until it `is_outdated`."""

    def __init__(self, ledger: Ledger, weights: FloatArray) -> None:
        dimensions, capacity = ledger.free.shape
        rows = np.arange(capacity)
        self._ledger = ledger
        self._weights = weights
        self._capacity = capacity
        self._counts: Int64Array = np.array([0, ledger.row_count])
        self._parts = (
            np.zeros(capacity, dtype=np.int64),
            np.zeros(capacity),
            np.zeros((dimensions, capacity), dtype=np.int64),
            np.zeros((-(-capacity // kernels.ORDER_BLOCK), dimensions), dtype=np.int64),
            rows,
            (rows < ledger.row_count).astype(np.uint8),
            self._counts,
        )
        self._seen = ledger.version
        self._reorder()

    @staticmethod
    def bytes_of(ledger: Ledger) -> int:
        """The memory that an order of the rows takes, roughly."""
        return (26 + 9 * ledger.dimension_count) * int(ledger.free.shape[1])

    def is_outdated(self, weights: FloatArray) -> bool:
        """Whether a new one has to be made: of other weights, or because more has changed than is known."""
        ledger = self._ledger
        return (
            weights is not self._weights
            or self._capacity != ledger.free.shape[1]
            or ledger.version - self._seen > len(ledger.change_log)
        )

    def _reorder(self) -> None:
        self._bound = kernels.reorder_rows(*self._parts, self._ledger.free, self._weights)
        self._changes_max = 48 + self._ledger.row_count // 128

    def best(self, need: Int64Array, mask: MaskArray) -> int:
        """The best row of the mask on which the request fits, -1 where it fits on none."""
        ledger, weights = self._ledger, self._weights
        seen, self._seen = self._seen, ledger.version
        free, log, version = ledger.free, ledger.change_log, ledger.version
        row = kernels.best_in_order(
            *self._parts, self._bound, free, need, weights, mask, log, seen, version, self._changes_max
        )
        if row == _TOO_MANY:
            self._reorder()
            row = kernels.best_in_order(
                *self._parts, self._bound, free, need, weights, mask, log, version, version, self._changes_max
            )
        if not (self._bound == 0 or _BOUND_MIN < self._bound < _BOUND_MAX):
            return int(kernels.best_row(free, need, weights, mask, ledger.row_count))
        return int(row)

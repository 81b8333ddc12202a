"""The ledger: who holds how much of what. Columns for nodes, slots for particular things, counters for cluster-wide
pools, marks for what is where; one conservation law.

Per dimension there is one contiguous int64 column of free base units over all rows. What is used is
``total - free`` by definition; `scheduler.invariants` compares it with the sum over everything that holds something.

Two facts drive everything that must not be recomputed: a *change log* of touched rows (cached vectors refresh only
those), and the *freed rows* of the current batch (only what was freed can make a refusal succeed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from scheduler.marks import Mark, Marks
from scheduler.ports import Inventory
from scheduler.slots import SlotTable
from scheduler.types import Int64Array, NodeIndex

_FIRST_CAPACITY = 64
_LOG_SIZE_MIN = 1024


class OvercommitError(Exception):
    """A reservation that does not fit: a plan was applied without being re-checked. A bug, not a user's mistake."""


class Claim(msgspec.Struct, frozen=True):
    """Everything that is held on one node, by one workload or by several together.

    ``charges`` is taken from cluster-wide pools; ``slots`` maps an exact plugin to amounts by slot.
    """

    request: tuple[int, ...]
    charges: Mapping[str, int] = {}
    marks: Sequence[Mark] = ()
    slots: Mapping[str, Mapping[str, int]] = {}

    def surplus(self, other: Claim) -> Claim:
        """What this claim has more of than ``other``: amounts, slots and marks; charges must be the same."""
        marks = tuple((Counter(self.marks) - Counter(other.marks)).elements())
        slots = {}
        for plugin, amounts in self.slots.items():
            less = other.slots.get(plugin, {})
            more = {slot: n - less.get(slot, 0) for slot, n in amounts.items() if n > less.get(slot, 0)}
            if more:
                slots[plugin] = more
        request = tuple(max(0, a - b) for a, b in zip(self.request, other.request, strict=True))
        return Claim(request, marks=marks, slots=slots)

    def plus(self, other: Claim) -> Claim:
        """Both together."""
        slots = {plugin: dict(amounts) for plugin, amounts in self.slots.items()}
        for plugin, amounts in other.slots.items():
            mine = slots.setdefault(plugin, {})
            for slot, amount in amounts.items():
                mine[slot] = mine.get(slot, 0) + amount
        charges = dict(self.charges)
        for pool, amount in other.charges.items():
            charges[pool] = charges.get(pool, 0) + amount
        request = tuple(a + b for a, b in zip(self.request, other.request, strict=True))
        return Claim(request, charges, (*self.marks, *other.marks), slots)


class Ledger:
    """Resource accounting of one core. All changes go through `reserve` and `release`, `hold` and `drop`.

    Rows are stable and never reused. A reservation on a node that is not live (lost) still holds, but is counted in
    neither ``live_used`` nor ``live_total``.

    Under a `savepoint` every change is undone at the end, at the cost of what changed.
    """

    def __init__(
        self, dimension_count: int, marks: Marks, exact_plugins: Sequence[str] = (), making_room: Sequence[str] = ()
    ) -> None:
        """``marks`` are those of the cluster; ``exact_plugins`` names the plugins that have slots, and ``making_room``
        those among them of which a placement can make room for another.
        """
        self._making_room = frozenset(making_room)
        self.dimension_count = dimension_count
        self.marks = marks
        self.slots: dict[str, SlotTable] = {name: SlotTable() for name in exact_plugins}
        self.remap_rows: dict[NodeIndex, None] = {}
        """Rows on which slots that are limited were taken or given back."""
        self.marks_seen = 0
        """The marks' version that the queue has taken note of."""
        self.row_count = 0
        self.free: Int64Array = np.zeros((dimension_count, _FIRST_CAPACITY), dtype=np.int64)
        self.total: Int64Array = np.zeros((dimension_count, _FIRST_CAPACITY), dtype=np.int64)
        self.live: list[bool] = []
        self.live_used = [0] * dimension_count
        self.live_total = [0] * dimension_count
        self.change_log: Int64Array = np.zeros(_LOG_SIZE_MIN, dtype=np.int64)
        self.version = 0
        """How many entries were ever written to the change log; entry ``v`` is at ``v % len(change_log)``."""
        self.freed_rows: dict[NodeIndex, None] = {}
        self.freed_pools = False
        self.pool_total: dict[str, int] = {}
        """Cluster-wide pools with a limit. A pool that is not in here is only counted."""
        self.pool_used: dict[str, int] = {}
        self._undo: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self._attach_views()

    def _attach_views(self) -> None:
        # Item access through a memoryview costs a third of NumPy's and yields Python integers.
        self._free_views = [column.data for column in self.free]
        self._log_view = self.change_log.data
        self._log_mask = len(self.change_log) - 1

    # -- rows ---------------------------------------------------------------------------------------------------

    def add_row(self, total: Sequence[int]) -> NodeIndex:
        """Append a live row with everything free; return its index."""
        row = self.row_count
        if row == self.free.shape[1]:
            self._grow(2 * row)
        self.row_count = row + 1
        self.live.append(True)
        for dimension, amount in enumerate(total):
            self.free[dimension, row] = self.total[dimension, row] = amount
            self.live_total[dimension] += amount
        for table in self.slots.values():
            table.add_row(row)
        self.wake_row(row)
        return row

    def set_inventory(self, row: NodeIndex, plugin: str, inventory: Inventory | None) -> None:
        """Change what a node has of an exact plugin's resource; what is held stays held."""
        self.slots[plugin].set_inventory(row, inventory)
        self.remap_rows[row] = None
        self.wake_row(row)

    def _grow(self, capacity: int) -> None:
        for name in ("free", "total"):
            grown = np.zeros((self.dimension_count, capacity), dtype=np.int64)
            grown[:, : self.row_count] = getattr(self, name)[:, : self.row_count]
            setattr(self, name, grown)
        if capacity // 4 > len(self.change_log):
            log_size = 1 << (capacity // 4).bit_length()
            log = np.zeros(log_size, dtype=np.int64)
            for version in range(max(0, self.version - len(self.change_log)), self.version):
                log[version % log_size] = self.change_log[version % len(self.change_log)]
            self.change_log = log
        self._attach_views()

    def set_total(self, row: NodeIndex, total: Sequence[int]) -> None:
        """Change a row's capacity; ``free`` follows and may go below zero."""
        freed = False
        for dimension, amount in enumerate(total):
            change = amount - int(self.total[dimension, row])
            self.total[dimension, row] += change
            self.free[dimension, row] += change
            freed = freed or change > 0
            if self.live[row]:
                self.live_total[dimension] += change
        self.touch(row)
        if freed:
            self.freed_rows[row] = None

    def set_live(self, row: NodeIndex, live: bool) -> None:
        """Count the row among the live ones, or no longer."""
        if self.live[row] == live:
            return
        self.live[row] = live
        sign = 1 if live else -1
        for dimension in range(self.dimension_count):
            total, free = int(self.total[dimension, row]), int(self.free[dimension, row])
            self.live_total[dimension] += sign * total
            self.live_used[dimension] += sign * (total - free)
        self.touch(row)

    def touch(self, row: NodeIndex) -> None:
        """Note that whatever is cached about this row is out of date."""
        self._log_view[self.version & self._log_mask] = row
        self.version += 1

    def wake_row(self, row: NodeIndex) -> None:
        """Note that the row became usable, which can make a refusal succeed."""
        self.touch(row)
        self.freed_rows[row] = None

    # -- holdings -----------------------------------------------------------------------------------------------

    def used(self, row: NodeIndex) -> tuple[int, ...]:
        """What is held on a row, by dimension."""
        return tuple(int(self.total[d, row]) - int(self.free[d, row]) for d in range(self.dimension_count))

    def fits(self, row: NodeIndex, request: Sequence[int]) -> bool:
        """Whether the row has the request free; a dimension of which nothing is asked never stands in the way."""
        for view, amount in zip(self._free_views, request):  # noqa: B905, SIM110 - hot; both have one length
            if amount and view[row] < amount:
                return False
        return True

    def can_hold(self, row: NodeIndex, request: Sequence[int]) -> bool:
        """Whether the row could be overcommitted by that much and still be counted in 64 bits."""
        return all(view[row] - amount > -(1 << 62) for view, amount in zip(self._free_views, request, strict=True))

    def reserve(self, row: NodeIndex, request: tuple[int, ...], *, as_found: bool = False) -> None:
        """Hold ``request`` on ``row``. Raise `OvercommitError`, changing nothing, where it does not fit.

        ``as_found`` skips the check: the work is already there.
        """
        if not (as_found or self.fits(row, request)):
            short = next(
                pair for pair in zip(self.free[:, row].tolist(), request, strict=True) if 0 < pair[1] > pair[0]
            )
            raise OvercommitError(f"row {row} has {short[0]} free of which {short[1]} are asked")
        used = self.live_used
        live = self.live[row]
        for dimension, view in enumerate(self._free_views):
            amount = request[dimension]
            view[row] -= amount
            if live:
                used[dimension] += amount
        self._log_view[self.version & self._log_mask] = row
        self.version += 1
        if self._undo is not None:
            self._undo.append((self.release, (row, request)))

    def release(self, row: NodeIndex, request: tuple[int, ...]) -> None:
        """Give back what was reserved."""
        used = self.live_used
        live = self.live[row]
        for dimension, view in enumerate(self._free_views):
            amount = request[dimension]
            view[row] += amount
            if live:
                used[dimension] -= amount
        self._log_view[self.version & self._log_mask] = row
        self.version += 1
        self.freed_rows[row] = None
        if self._undo is not None:
            self._undo.append((self.release, (row, tuple(-amount for amount in request))))

    def hold(self, row: NodeIndex, claim: Claim, *, as_found: bool = False) -> None:
        """Hold a whole claim on ``row``. Raise `OvercommitError`, changing nothing, where it does not fit.

        ``as_found`` skips the check: the work is already there. The caps that the charges come from have been checked
        before.
        """
        for plugin, amounts in () if as_found else claim.slots.items():
            shortage = self.slots[plugin].shortage(row, amounts)
            if shortage:
                raise OvercommitError(f"row {row}: {plugin}: {shortage}")
        self.reserve(row, claim.request, as_found=as_found)
        for plugin, amounts in claim.slots.items():
            self._take(row, plugin, amounts, 1)
        if claim.charges:
            self._charge(claim.charges, 1)
        if claim.marks:
            self._mark(row, claim.marks, 1)

    def hold_many(self, rows: Int64Array, counts: Int64Array, claim: Claim) -> None:
        """Hold ``counts[i]`` equal claims on ``rows[i]``, which are live and each there once.

        Raise `OvercommitError`, changing nothing, where one does not fit. The cost hardly depends on the counts.
        """
        for dimension, amount in enumerate(claim.request):
            if amount and (self.free[dimension, rows] < counts * amount).any():
                raise OvercommitError(f"{amount} of dimension {dimension} do not fit {counts.sum()} times")
        for plugin, amounts in claim.slots.items():
            if not self.slots[plugin].fits_many(rows, counts, amounts):
                raise OvercommitError(f"{plugin}: {dict(amounts)} do not fit {counts.sum()} times")
        self._add_many(rows, counts, claim)

    def _add_many(self, rows: Int64Array, counts: Int64Array, claim: Claim) -> None:
        """Hold, or with negative counts give back."""
        total = int(counts.sum())
        for dimension, amount in enumerate(claim.request):
            if amount:
                self.free[dimension, rows] -= counts * amount
                self.live_used[dimension] += total * amount
        self.change_log[np.arange(self.version, self.version + len(rows)) & self._log_mask] = rows
        self.version += len(rows)
        for plugin, amounts in claim.slots.items():
            table = self.slots[plugin]
            table.take_many(rows, counts, amounts)
            limited = dict.fromkeys(table.limited_rows(rows, amounts).tolist())
            self.remap_rows.update(limited)
            if plugin in self._making_room:
                self.freed_rows.update(limited)
        if claim.charges:
            self._charge({pool: amount * abs(total) for pool, amount in claim.charges.items()}, 1 if total > 0 else -1)
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True) if claim.marks else ():
            self.marks.count(row, claim.marks, count)
        if self._undo is not None:
            self._undo.append((self._add_many, (rows, -counts, claim)))

    def drop(self, row: NodeIndex, claim: Claim) -> None:
        """Give back what was held."""
        self.release(row, claim.request)
        for plugin, amounts in claim.slots.items():
            self._take(row, plugin, amounts, -1)
        if claim.charges:
            self._charge(claim.charges, -1)
            self.freed_pools = True
        if claim.marks:
            self._mark(row, claim.marks, -1)

    def _take(self, row: NodeIndex, plugin: str, amounts: Mapping[str, int], sign: int) -> None:
        table = self.slots[plugin]
        table.take(row, amounts, sign)
        if (row not in self.remap_rows or plugin in self._making_room) and table.is_limited(row, amounts):
            self.remap_rows[row] = None
            if plugin in self._making_room:
                self.freed_rows[row] = None
        if self._undo is not None:
            self._undo.append((self._take, (row, plugin, amounts, -sign)))

    def _charge(self, charges: Mapping[str, int], sign: int) -> None:
        used = self.pool_used
        for pool, amount in charges.items():
            left = used.get(pool, 0) + sign * amount
            if left:
                used[pool] = left
            else:
                del used[pool]
        if self._undo is not None:
            self._undo.append((self._charge, (charges, -sign)))

    def _mark(self, row: NodeIndex, marks: Sequence[Mark], change: int) -> None:
        self.marks.count(row, marks, change)
        if self._undo is not None:
            self._undo.append((self._mark, (row, marks, -change)))

    @property
    def has_news(self) -> bool:
        """Whether anything was freed, or any mark changed, of which the queue has not taken note."""
        return bool(self.freed_rows) or self.freed_pools or self.marks_seen != self.marks.version

    def take_note(self) -> bool:
        """Whether there was any news; from now on there is none."""
        had_news = self.has_news
        self.freed_rows.clear()
        self.freed_pools, self.marks_seen = False, self.marks.version
        return had_news

    def pool_free(self, pool: str) -> int | None:
        """What is left of a cluster-wide pool; None where there is no limit."""
        total = self.pool_total.get(pool)
        return None if total is None else total - self.pool_used.get(pool, 0)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo every reservation and charge made inside, at the cost of what changed. Does not nest."""
        if self._undo is not None:
            raise RuntimeError("a savepoint is open already")
        freed_rows, freed_pools, remap_rows = dict(self.freed_rows), self.freed_pools, dict(self.remap_rows)
        marks_seen = self.marks_seen - self.marks.version
        log: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._undo = log
        try:
            yield
        finally:
            self._undo = None
            for undo, arguments in reversed(log):
                undo(*arguments)
            self.freed_rows, self.freed_pools, self.remap_rows = freed_rows, freed_pools, remap_rows
            self.marks_seen = marks_seen + self.marks.version

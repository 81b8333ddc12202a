"""Deployment strategies: over which nodes a number of copies is spread.

The meaning is that of Eru's strategies; here each is a closed form over arrays, whose cost hardly depends on the
number of copies. Ties go to the earlier candidate, everywhere.

=======  =====================  ========================  =============================================================
name     ``need``               ``limit`` (0 for none)    which nodes
=======  =====================  ========================  =============================================================
auto     copies to add          copies on a node, old     fewest copies of the app first: evens out the final counts
                                ones included
fill     copies that a node     nodes to fill, full ones  most copies of the app first
         shall have             included
each     copies to add on each  nodes                     largest capacity first
global   copies to add          has no effect             lowest usage first: evens out the usage
drained  copies to add          has no effect             smallest capacity first, each node until it is full
=======  =====================  ========================  =============================================================

A plan holds all that is asked for, or there is none. "dummy" is no strategy but a question about capacity: see
`total_capacity`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from scheduler.ports import UNLIMITED
from scheduler.types import FloatArray, Int64Array

COUNT_MAX = UNLIMITED // 2
"""The largest ``need`` and the largest count, so that a node's final count can be written down."""

SHARE_MAX = 2.0**64
"""No share can be larger: it is a ratio of two int64 amounts."""

ErrorKind = Literal[
    "insufficient_resource", "insufficient_capacity", "already_filled", "invalid_strategy", "invalid_count"
]


class StrategyError(ValueError):
    """There is no plan. ``kind`` says why, for programs; the message is one line for people.

    * insufficient_resource: too few copies fit, or on too few nodes, or ``most`` does not allow as many.
    * insufficient_capacity: strategy *each*, and no node at all has room for ``need`` copies.
    * already_filled: strategy *fill*, and nothing is left to do.
    * invalid_strategy, invalid_count: what was asked for makes no sense.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind


class Candidates(msgspec.Struct, frozen=True, eq=False):
    """The nodes to choose from, one entry a node in all four arrays; the order decides ties.

    ``capacity``: copies that fit now, at least 0, `UNLIMITED` where nothing limits; nodes with 0 may be present.
    ``count``: copies of the same app already there, from 0 to `COUNT_MAX`.
    ``usage``: the share of the node that is used, at most `SHARE_MAX` in amount (1.0 is all; more is possible).
    ``rate``: the share that one more copy would use, from 0 to `SHARE_MAX`.
    """

    capacity: Int64Array
    count: Int64Array
    usage: FloatArray
    rate: FloatArray

    def check(self) -> None:
        """ValueError where the columns are not what the class says; it names field, value and remedy."""
        lengths = [len(getattr(self, name)) for name in self.__struct_fields__]
        if len(set(lengths)) > 1:
            raise ValueError(f"candidates: lengths {lengths} must be equal; give one entry a node")
        bounds = (
            ("capacity", self.capacity, 0, UNLIMITED),
            ("count", self.count, 0, COUNT_MAX),
            ("usage", self.usage, -SHARE_MAX, SHARE_MAX),
            ("rate", self.rate, 0, SHARE_MAX),
        )
        for name, column, lowest, highest in bounds:
            is_right = (column >= lowest) & (column <= highest)  # False for NaN
            if not is_right.all():
                position = int(np.argmin(is_right))
                raise ValueError(f"{name}[{position}]: {column[position]} must be from {lowest} to {highest}")


def total_capacity(capacity: Int64Array) -> int:
    """How many copies fit on all nodes together; 0 for no nodes, `UNLIMITED` where the sum is no less than that."""
    return min(_sum(capacity), UNLIMITED)


def spread(strategy: str, need: int, candidates: Candidates, *, limit: int = 0, most: int = UNLIMITED) -> Int64Array:
    """Return how many copies to add by candidate: int64, never above ``capacity``, at least one above 0.

    ``need`` (1 to `COUNT_MAX`) and ``limit`` (0 for none) mean what the table above says. ``most`` bounds what is
    added in all, over all nodes. Equal arguments give equal plans.

    Raises:
        StrategyError: there is no such plan; see there.
        ValueError: the candidates are not what `Candidates` says; the message names field, value and remedy.
    """
    candidates.check()
    return spread_trusted(strategy, need, candidates, limit=limit, most=most)


def spread_trusted(
    strategy: str, need: int, candidates: Candidates, *, limit: int = 0, most: int = UNLIMITED
) -> Int64Array:
    """`spread` over candidates that need no check."""
    if strategy not in _STRATEGIES:
        options = ", ".join(STRATEGIES)
        raise StrategyError(
            "invalid_strategy", f"strategy: no strategy {strategy!r} to deploy by; use one of {options}"
        )
    if not 1 <= need <= COUNT_MAX:
        raise StrategyError("invalid_count", f"need: {need} must be from 1 to {COUNT_MAX}")
    if not 0 <= limit <= COUNT_MAX:
        raise StrategyError("invalid_count", f"limit: {limit} must be from 0, for no limit, to {COUNT_MAX}")
    return _STRATEGIES[strategy](need, candidates, limit, most)


def _auto(need: int, candidates: Candidates, limit: int, most: int) -> Int64Array:
    """Raise the lowest counts to one level, as water does; what is left over lifts nodes at that level by one.

    Those with the most capacity remaining are lifted first.
    """
    _require(need, candidates.capacity, most)
    if need == 1 and not limit and not candidates.count.any():
        plan = np.zeros_like(candidates.capacity)
        plan[np.argmax(candidates.capacity)] = 1
        return plan
    room = np.minimum(candidates.capacity, need)
    if limit:
        room = np.minimum(room, np.maximum(limit - candidates.count, 0))
        if (available := _sum(room)) < need:
            message = f"need: {need}, available: {available} until every node has reached the limit of {limit} copies"
            raise StrategyError("insufficient_resource", message)
    has_room = np.flatnonzero(room)
    count, room = candidates.count[has_room], room[has_room]
    plan = np.zeros_like(candidates.capacity)
    if need == 1:
        lowest = has_room[count == count.min()]
        plan[lowest[np.argmax(candidates.capacity[lowest])]] = 1
        return plan

    def added(level: int) -> Int64Array:
        return np.clip(level - count, 0, room)

    # The lowest level that takes `need` copies is above `low` and not above `high`.
    low = int(count.min()) + (need - 1) // len(count)
    high = int(count.max()) + need
    while high - low > 1:
        middle = (low + high) // 2
        if _sum(added(middle)) < need:
            low = middle
        else:
            high = middle
    given = added(low)
    at_level = np.flatnonzero(added(high) > given)
    remaining = candidates.capacity[has_room[at_level]] - given[at_level]
    lifted = np.argsort(-remaining, kind="stable")[: need - _sum(given)]
    given[at_level[lifted]] += 1
    plan[has_room] = given
    return plan


def _fill(need: int, candidates: Candidates, limit: int, most: int) -> Int64Array:
    """Top up to ``need`` copies, the nodes with the most copies first.

    A node that already has as many needs no capacity to count as filled; hence one that was filled to the brim still
    counts the next time. A node without capacity that has fewer is no candidate.
    """
    capacity = candidates.capacity
    shortfall = np.maximum(need - candidates.count, 0)
    is_candidate = (capacity > 0) | (shortfall == 0)
    wanted = _nodes_wanted("a fill node plan", is_candidate, limit)
    fillable = np.flatnonzero(is_candidate & (capacity >= shortfall))
    if len(fillable) < wanted:
        message = f"need: {wanted} nodes that can hold {need} copies, available: {len(fillable)}"
        raise StrategyError("insufficient_resource", message)
    order = np.lexsort((-capacity[fillable], -candidates.count[fillable]))
    filled = fillable[order[:wanted]]
    plan = np.zeros_like(capacity)
    plan[filled] = shortfall[filled]
    total = _sum(plan)
    if total == 0:
        message = f"each node has enough workloads: {wanted} nodes already hold {need} copies or more"
        raise StrategyError("already_filled", message)
    _require_allowed(total, most)
    return plan


def _each(need: int, candidates: Candidates, limit: int, most: int) -> Int64Array:
    """Add ``need`` copies on each node, the nodes with the largest capacity first."""
    capacity = candidates.capacity
    wanted = _nodes_wanted("an each node plan", capacity > 0, limit)
    fitting = np.flatnonzero(capacity >= need)
    if len(fitting) == 0:
        message = f"need: {need} copies on a node, available: {int(capacity.max(initial=0))} at most"
        raise StrategyError("insufficient_capacity", message)
    if len(fitting) < wanted:
        message = f"need: {wanted} nodes with room for {need} copies, available: {len(fitting)}"
        raise StrategyError("insufficient_resource", message)
    _require_allowed(need * wanted, most)
    order = np.argsort(-capacity[fitting], kind="stable")
    plan = np.zeros_like(capacity)
    plan[fitting[order[:wanted]]] = need
    return plan


def _global(need: int, candidates: Candidates, limit: int, most: int) -> Int64Array:
    """Take the ``need`` copies after which the usage of their node is lowest.

    The k-th copy on a node has the key ``usage + k * rate``, in float64; copies go by key, then by candidate. Bisect
    on the key until few copies are undecided, or only copies with one and the same key.
    """
    _require(need, candidates.capacity, most)
    has_room = np.flatnonzero(candidates.capacity)
    usage, rate = candidates.usage[has_room], candidates.rate[has_room]
    # Copies up to `surely` are in the plan: fewer than `need`. Copies above `perhaps` are not.
    surely = np.zeros_like(has_room)
    perhaps = np.minimum(candidates.capacity[has_room], need)
    low = _ordinal((usage + rate).min()) - 1
    high = _ordinal((usage + perhaps * rate).max())
    while high - low > 1 and _sum(perhaps - surely) > 2 * len(has_room):
        middle = (low + high) // 2
        copies = _copies_up_to(_from_ordinal(middle), usage, rate, surely, perhaps)
        if _sum(copies) < need:
            low, surely = middle, copies
        else:
            high, perhaps = middle, copies
    undecided, left = perhaps - surely, need - _sum(surely)
    if high - low > 1:
        surely += _lowest_copies(left, undecided, usage, rate, surely)
    else:
        surely += _in_turn(left, undecided)
    plan = np.zeros_like(candidates.capacity)
    plan[has_room] = surely
    return plan


def _ordinal(key: np.float64) -> int:
    """The position of a finite number among all float64 in order; that of 0.0 is 0. Hence 64 steps bisect any range."""
    bits = int(np.abs(key).view(np.int64))
    return bits if key >= 0 else -bits


def _from_ordinal(ordinal: int) -> float:
    key = float(np.int64(abs(ordinal)).view(np.float64))
    return key if ordinal >= 0 else -key


def _copies_up_to(
    key: float, usage: FloatArray, rate: FloatArray, lowest: Int64Array, highest: Int64Array
) -> Int64Array:
    """How many copies of each node have a key up to ``key``, exactly, known to be from ``lowest`` to ``highest``."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = (key - usage) / rate
    quotient[np.isnan(quotient)] = np.inf  # No rate, and the key itself: every copy.
    copies = np.clip(np.clip(quotient, lowest, highest).astype(np.int64), lowest, highest)
    # Rounding can put the quotient off; where it did, search.
    is_low = (copies < highest) & (usage + (copies + 1) * rate <= key)
    is_high = (copies > lowest) & (usage + copies * rate > key)
    off = np.flatnonzero(is_low | is_high)
    usage, rate, low, high = usage[off], rate[off], lowest[off], highest[off]
    while (low < high).any():
        middle = high - (high - low) // 2
        is_up_to = usage + middle * rate <= key
        low = np.where(is_up_to, middle, low)
        high = np.where(is_up_to, high, middle - 1)
    copies[off] = low
    return copies


def _lowest_copies(need: int, room: Int64Array, usage: FloatArray, rate: FloatArray, given: Int64Array) -> Int64Array:
    """The ``need`` copies with the lowest keys, ``room`` copies a node to choose from beyond those ``given``."""
    nodes = np.repeat(np.arange(len(room)), room)
    first = np.cumsum(room) - room
    nth = np.arange(len(nodes)) - (first - given - 1)[nodes]
    keys = usage[nodes] + nth * rate[nodes]
    chosen = nodes[np.argsort(keys, kind="stable")[:need]]
    return np.bincount(chosen, minlength=len(room)).astype(np.int64)


def _drained(need: int, candidates: Candidates, limit: int, most: int) -> Int64Array:
    """Fill up one node after the other: those with the least capacity first, of equal ones the most used."""
    _require(need, candidates.capacity, most)
    order = np.lexsort((-candidates.usage, candidates.capacity))
    plan = np.zeros_like(candidates.capacity)
    plan[order] = _in_turn(need, candidates.capacity[order])
    return plan


def _in_turn(need: int, room: Int64Array) -> Int64Array:
    """Give each node in turn as much as it has room for, until ``need`` is met; all rooms together must suffice."""
    totals = np.cumsum(np.minimum(room, need))
    # Sums may wrap around, but not up to the first that meets `need`: it is less than twice COUNT_MAX.
    last = int(np.argmax(totals >= need))
    given = np.zeros_like(room)
    given[:last] = room[:last]
    given[last] = need - (int(totals[last - 1]) if last else 0)
    return given


def _require(need: int, capacity: Int64Array, most: int) -> None:
    if int(capacity.max(initial=0)) < need and (available := total_capacity(capacity)) < need:
        raise StrategyError("insufficient_resource", f"need: {need}, available: {available}")
    _require_allowed(need, most)


def _require_allowed(total: int, most: int) -> None:
    if total > most:
        message = f"need: {total}, available: {max(most, 0)} by a limit on the whole cluster"
        raise StrategyError("insufficient_resource", message)


def _nodes_wanted(plan: str, is_candidate: npt.NDArray[np.bool_], limit: int) -> int:
    """How many nodes to use: ``limit``; where that is 0 all candidates, and one where there is none."""
    candidates = int(np.count_nonzero(is_candidate))
    if candidates < limit:
        message = f"need: {limit} nodes, available: {candidates}; cannot alloc {plan}"
        raise StrategyError("insufficient_resource", message)
    return limit or max(candidates, 1)


def _sum(amounts: Int64Array) -> int:
    """The sum of amounts that are at least 0, exactly."""
    if int(amounts.max(initial=0)) <= UNLIMITED // max(len(amounts), 1):
        return int(amounts.sum())
    return (int((amounts >> 32).sum()) << 32) + int((amounts & 0xFFFF_FFFF).sum())


_Strategy: TypeAlias = Callable[[int, Candidates, int, int], Int64Array]
_STRATEGIES: dict[str, _Strategy] = {
    "auto": _auto, "fill": _fill, "each": _each, "global": _global, "drained": _drained,
}  # fmt: skip
STRATEGIES = tuple(_STRATEGIES)
"""The names that `spread` knows."""

"""Leases: who has said lately that it is there. Pure: the clock is the caller's.

Theory of operation. Agents renew every lease many times before it expires, so a renewal must be cheap and must not be
an event. The table keeps the instant at which each lease ends, and a heap of such instants in which a renewal only adds
one; an entry that is no longer the lease's own end is passed over when it comes up. The heap is built anew when most of
it is of that kind, so its size stays within twice the number of leases and a constant.
"""

from __future__ import annotations

import heapq
from typing import Protocol

_SLACK = 64


class _Now(Protocol):
    def now_ns(self) -> int: ...


class LeaseTable:
    """The leases of nodes. A lease of ``ttl_ns`` that is renewed at t ends at t + ttl_ns, and has expired then."""

    def __init__(self, clock: _Now) -> None:
        self._clock = clock
        self._ends: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """How many leases there are, expired ones included until `expired` has told them."""
        return len(self._ends)

    def renew(self, node: str, ttl_ns: int) -> None:
        """Give a node a lease from now on, in place of the one that it may have. ValueError unless ``ttl_ns`` > 0."""
        if ttl_ns <= 0:
            raise ValueError(f"lease of node {node!r}: a ttl of {ttl_ns} ns is not positive; drop the lease to end it")
        end_ns = self._clock.now_ns() + ttl_ns
        self._ends[node] = end_ns
        heapq.heappush(self._heap, (end_ns, node))
        if len(self._heap) > 2 * len(self._ends) + _SLACK:
            self._heap = [(end, name) for name, end in self._ends.items()]
            heapq.heapify(self._heap)

    def drop(self, node: str) -> bool:
        """End a lease now; whether there was one. `expired` will not tell of it."""
        return self._ends.pop(node, None) is not None

    def is_held(self, node: str) -> bool:
        """Whether the node has a lease that has not expired."""
        return self._ends.get(node, -1) > self._clock.now_ns()

    def expired(self, now_ns: int) -> list[str]:
        """Forget the leases that have expired by ``now_ns``; return their nodes, by end, then by name."""
        ended = []
        while self._heap and self._heap[0][0] <= now_ns:
            end_ns, node = heapq.heappop(self._heap)
            if self._ends.get(node) == end_ns:
                del self._ends[node]
                ended.append(node)
        return ended

    @property
    def next_expiry_ns(self) -> int | None:
        """When the next lease expires unless it is renewed; None without leases."""
        while self._heap:
            end_ns, node = self._heap[0]
            if self._ends.get(node) == end_ns:
                return end_ns
            heapq.heappop(self._heap)
        return None

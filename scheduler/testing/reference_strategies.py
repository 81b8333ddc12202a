"""Slow deployment strategies that are obviously right: one copy at a time from a heap, or a walk over sorted nodes.

Plain Python numbers, which do not overflow. Each function takes the nodes as lists and returns the copies to add by
node, or the kind of the error.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One candidate; see `scheduler.strategies.Candidates`."""

    capacity: int
    count: int = 0
    usage: float = 0.0
    rate: float = 0.0


Answer = list[int] | str


def spread(strategy: str, need: int, nodes: list[Node], limit: int, most: int) -> Answer:
    """Answer by the strategy, refusing more than ``most`` in total."""
    answer = {"auto": auto, "fill": fill, "each": each, "global": globally, "drained": drained}[strategy](
        need, nodes, limit
    )
    if not isinstance(answer, str) and sum(answer) > most:
        return "insufficient_resource"
    return answer


def auto(need: int, nodes: list[Node], limit: int = 0) -> Answer:
    """Pop the node with the fewest copies, of equal ones that with the most capacity left; put it back one fuller."""
    if sum(node.capacity for node in nodes) < need:
        return "insufficient_resource"
    heap = [
        (node.count, -node.capacity, row)
        for row, node in enumerate(nodes)
        if node.capacity > 0 and not (limit > 0 and node.count >= limit)
    ]
    heapq.heapify(heap)
    added = [0] * len(nodes)
    for _ in range(need):
        if not heap:
            return "insufficient_resource"
        count, negative_capacity, row = heapq.heappop(heap)
        added[row] += 1
        if negative_capacity + 1 < 0 and not (limit > 0 and count + 1 >= limit):
            heapq.heappush(heap, (count + 1, negative_capacity + 1, row))
    return added


def globally(need: int, nodes: list[Node], limit: int = 0) -> Answer:
    """Pop the node whose usage would be lowest after one more copy; put it back one fuller."""
    if sum(node.capacity for node in nodes) < need:
        return "insufficient_resource"
    heap = [(node.usage + 1 * node.rate, row) for row, node in enumerate(nodes) if node.capacity > 0]
    heapq.heapify(heap)
    added = [0] * len(nodes)
    for _ in range(need):
        _, row = heapq.heappop(heap)
        node = nodes[row]
        added[row] += 1
        if added[row] < node.capacity:
            heapq.heappush(heap, (node.usage + (added[row] + 1) * node.rate, row))
    return added


def fill(need: int, nodes: list[Node], limit: int = 0) -> Answer:
    """Walk from the most copies to the fewest and top up every node that can reach ``need``, until ``limit`` are done.

    A node without capacity is a candidate only where it holds ``need`` copies already.
    """
    candidates = [row for row, node in enumerate(nodes) if node.capacity > 0 or node.count >= need]
    if len(candidates) < limit:
        return "insufficient_resource"
    left = limit or len(candidates)
    added = [0] * len(nodes)
    for row in sorted(candidates, key=lambda row: (-nodes[row].count, -nodes[row].capacity, row)):
        if nodes[row].count + nodes[row].capacity >= need:
            added[row] = max(need - nodes[row].count, 0)
            left -= 1
            if left == 0:
                return added if any(added) else "already_filled"
    return "insufficient_resource"


def each(need: int, nodes: list[Node], limit: int = 0) -> Answer:
    """``need`` copies on each of the ``limit`` largest nodes."""
    candidates = [row for row, node in enumerate(nodes) if node.capacity > 0]
    if len(candidates) < limit:
        return "insufficient_resource"
    fitting = [row for row in candidates if nodes[row].capacity >= need]
    if not fitting:
        return "insufficient_capacity"
    wanted = limit or len(candidates)
    if len(fitting) < wanted:
        return "insufficient_resource"
    added = [0] * len(nodes)
    for row in sorted(fitting, key=lambda row: (-nodes[row].capacity, row))[:wanted]:
        added[row] = need
    return added


def drained(need: int, nodes: list[Node], limit: int = 0) -> Answer:
    """Fill the nodes up one after the other, from the least capacity to the most."""
    if sum(node.capacity for node in nodes) < need:
        return "insufficient_resource"
    added = [0] * len(nodes)
    left = need
    for row in sorted(range(len(nodes)), key=lambda row: (nodes[row].capacity, -nodes[row].usage, row)):
        added[row] = min(nodes[row].capacity, left)
        left -= added[row]
    return added

"""The nodes: their states, labels and topology, and the mask of rows that may be used."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec
import numpy as np

from scheduler.types import Int32Array, MaskArray, NodeIndex


class NodeState(StrEnum):
    """What a node may be used for. Only a ready one takes new work."""

    READY = "ready"
    CORDONED = "cordoned"
    DRAINING = "draining"
    LOST = "lost"
    REMOVED = "removed"


GONE = frozenset({NodeState.LOST, NodeState.REMOVED})
"""States in which nothing can run on a node as far as anybody knows."""


class Node(msgspec.Struct, kw_only=True):
    """One machine. ``row`` is its index in all columns; it is never reused.

    ``capacity`` is physical; what the ledger has as total is that times the overcommit ratio. ``resume_state`` is the
    state to go back to when a lost node returns.
    """

    node_id: str
    row: NodeIndex
    pool: str
    capacity: tuple[int, ...]
    labels: dict[str, str]
    topology: dict[str, str]
    state: NodeState = NodeState.READY
    resume_state: NodeState = NodeState.READY
    drain_operation_id: str = ""


class Cluster:
    """All nodes of one core, by row and by name. Implements `scheduler.ports.NodeFacts`.

    A name belongs to at most one node that is not removed. Topology domains are numbered by first appearance.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.by_id: dict[str, Node] = {}
        self.open_mask: MaskArray = np.zeros(64, dtype=np.uint8)
        """1 where a row is ready for new work; longer than the number of rows."""
        self.live_count = 0
        self.live_capacity: list[int] = []
        """The physical capacity of all live nodes, by dimension; empty before the first node."""
        self._domain_names: dict[str, dict[str, int]] = {}
        self._amounts: list[dict[int, int]] = []

    @property
    def row_count(self) -> int:
        """Rows, removed nodes included."""
        return len(self.nodes)

    def add(self, node: Node) -> None:
        """Take in a node whose ``row`` is the next one."""
        self.nodes.append(node)
        if node.state is not NodeState.REMOVED:
            self.by_id[node.node_id] = node
        if node.row == len(self.open_mask):
            self.open_mask = np.concatenate([self.open_mask, np.zeros_like(self.open_mask)])
        for level, domain in node.topology.items():
            names = self._domain_names.setdefault(level, {})
            names.setdefault(domain, len(names))
        self.open_mask[node.row] = node.state is NodeState.READY
        if not self._amounts:
            self._amounts = [{} for _ in node.capacity]
            self.live_capacity = [0] * len(node.capacity)
        if node.state is not NodeState.REMOVED:
            self._count_amounts(node, 1)
        if node.state not in GONE:
            self._count_live(node, 1)

    def set_state(self, node: Node, state: NodeState) -> None:
        """Change a node's state, and whether its row is open."""
        change = (state not in GONE) - (node.state not in GONE)
        if change:
            self._count_live(node, change)
        node.state = state
        self.open_mask[node.row] = state is NodeState.READY
        if state is NodeState.REMOVED:
            del self.by_id[node.node_id]
            self._count_amounts(node, -1)

    def set_capacity(self, node: Node, capacity: tuple[int, ...]) -> None:
        """Change the physical capacity of a node that is not removed."""
        live = node.state not in GONE
        self._count_amounts(node, -1)
        if live:
            self._count_live(node, -1)
        node.capacity = capacity
        self._count_amounts(node, 1)
        if live:
            self._count_live(node, 1)

    def largest(self) -> list[int]:
        """The largest physical capacity of any node that is not removed, by dimension; empty before the first node."""
        return [max(amounts, default=0) for amounts in self._amounts]

    def _count_amounts(self, node: Node, change: int) -> None:
        """Count how many nodes have which amount: there are few different ones, so the largest is found quickly."""
        for amounts, amount in zip(self._amounts, node.capacity, strict=True):
            count = amounts.get(amount, 0) + change
            if count:
                amounts[amount] = count
            else:
                del amounts[amount]

    def _count_live(self, node: Node, sign: int) -> None:
        self.live_count += sign
        for dimension, amount in enumerate(node.capacity):
            self.live_capacity[dimension] += sign * amount

    def labels(self, row: NodeIndex) -> Mapping[str, str]:
        """The labels that the node joined with."""
        return self.nodes[row].labels

    def domain_ids(self, level: str) -> Int32Array:
        """By row, the index of the node's domain at ``level``; -1 where it is in none."""
        names = self._domain_names.get(level, {})
        return np.fromiter(
            (names.get(node.topology.get(level, ""), -1) for node in self.nodes), dtype=np.int32, count=len(self.nodes)
        )

    def domain_count(self, level: str) -> int:
        """How many domains there are at ``level``."""
        return len(self._domain_names.get(level, {}))

"""The nodes: their states, labels and topology, and the mask of rows that may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from scheduler.marks import Marks
from scheduler.types import BoolArray, Int32Array, Int64Array, MaskArray, NodeIndex


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

    ``stated`` is what the node says of its dimensions, ``capacity`` that and what its inventories add. Both are
    physical; what the ledger has as total is the capacity times the overcommit ratio. ``resources`` is the payload of
    each exact plugin that it has. ``resume_state`` is the state to go back to when a lost node returns.
    """

    node_id: str
    row: NodeIndex
    pool: str
    stated: tuple[int, ...]
    capacity: tuple[int, ...]
    labels: dict[str, str]
    topology: dict[str, str]
    resources: dict[str, Any] = {}
    taints: tuple[str, ...] = ()
    images: dict[str, int] = {}
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
        self.nominated: dict[NodeIndex, str] = {}
        """The rows that are held for a workload that preempts; closed for all others. For reading only."""
        self.live_count = 0
        self.live_capacity: list[int] = []
        """The physical capacity of all live nodes, by dimension; empty before the first node."""
        self.marks = Marks(self)
        self._domain_names: dict[str, dict[str, int]] = {}
        self._domain_ids: dict[str, Int32Array] = {}
        self._open_domains: dict[str, Int64Array] = {}
        self._own_domains: Int32Array = np.arange(64, dtype=np.int32)
        self._pool_numbers: dict[str, int] = {}
        self._pools: Int32Array = np.full(64, -1, dtype=np.int32)
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
            self._own_domains = np.arange(len(self.open_mask), dtype=np.int32)
            self._pools = np.concatenate([self._pools, np.full_like(self._pools, -1)])
            for level, ids in self._domain_ids.items():
                self._domain_ids[level] = np.concatenate([ids, np.full_like(ids, -1)])
        self._pools[node.row] = self._pool_numbers.setdefault(node.pool, len(self._pool_numbers))
        for level, domain in node.topology.items():
            names = self._domain_names.setdefault(level, {})
            if level not in self._domain_ids:
                self._domain_ids[level] = np.full(len(self.open_mask), -1, dtype=np.int32)
            self._domain_ids[level][node.row] = names.setdefault(domain, len(names))
        self._open(node)
        if not self._amounts:
            self._amounts = [{} for _ in node.capacity]
            self.live_capacity = [0] * len(node.capacity)
        if node.state is not NodeState.REMOVED:
            self._count_amounts(node, 1)
        if node.state not in GONE:
            self._count_live(node, 1)

    def in_pool(self, pool: str) -> BoolArray:
        """By row, whether it is in that pool."""
        is_in: BoolArray = self._pools[: self.row_count] == self._pool_numbers.get(pool, -2)
        return is_in

    def set_state(self, node: Node, state: NodeState) -> None:
        """Change a node's state, and whether its row is open."""
        change = (state not in GONE) - (node.state not in GONE)
        if change:
            self._count_live(node, change)
        node.state = state
        self._open(node)
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

    def taints(self, row: NodeIndex) -> tuple[str, ...]:
        """The taints of the node, as they were given."""
        return self.nodes[row].taints

    def images(self, row: NodeIndex) -> Mapping[str, int]:
        """The images that the node is known to have, with their sizes in bytes."""
        return self.nodes[row].images

    def domain_ids(self, level: str) -> Int32Array:
        """By row, the index of the node's domain at ``level``; -1 where it is in none. Level "node" is the row."""
        if level == "node":
            return self._own_domains[: len(self.nodes)]
        ids = self._domain_ids.get(level)
        if ids is None:
            return np.full(len(self.nodes), -1, dtype=np.int32)
        return ids[: len(self.nodes)]

    def domain_count(self, level: str) -> int:
        """How many domains there are at ``level``."""
        return len(self.nodes) if level == "node" else len(self._domain_names.get(level, {}))

    def open_domains(self, level: str) -> Int64Array:
        """How many nodes that take new work are in each domain at ``level``."""
        counts = self._open_domains.get(level)
        if counts is None:
            ids = self.domain_ids(level)
            ready = ids[(self.open_mask[: len(ids)] != 0) & (ids >= 0)]
            counts = np.bincount(ready, minlength=self.domain_count(level)).astype(np.int64)
            counts.flags.writeable = False
            self._open_domains[level] = counts
        return counts

    def mark_values(self, family: str) -> Mapping[str, Mapping[NodeIndex, int]]:
        """The values of a family of marks, each with how many workloads carry it on which row."""
        return self.marks.values(family)

    def mark_counts(self, family: str, value: str, level: str) -> Int64Array:
        """How many workloads carry a mark in each domain at ``level``."""
        return self.marks.by_domain((family, value), level)

    def _open(self, node: Node) -> None:
        self.open_mask[node.row] = node.state is NodeState.READY and node.row not in self.nominated
        self._open_domains.clear()
        self.marks.version += 1

    def nominate(self, row: NodeIndex, workload_id: str) -> None:
        """Hold the row for a workload; for nobody any more with ""."""
        if workload_id:
            self.nominated[row] = workload_id
        else:
            del self.nominated[row]
        self._open(self.nodes[row])

    def set_facts(
        self,
        node: Node,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] | None = None,
        images: Mapping[str, int] | None = None,
    ) -> None:
        """Change what plugins may know of a node; None leaves it as it is."""
        if labels is not None:
            node.labels = dict(labels)
        if taints is not None:
            node.taints = tuple(taints)
        if images is not None:
            node.images = dict(images)
        self.marks.version += 1

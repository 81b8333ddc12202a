"""Nodes in memory, as plugins see them: plain dictionaries, counted from scratch at every question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scheduler.ports import Cap, NodeColumns, NodeFacts, ResourcePlugin
from scheduler.types import Int32Array, Int64Array


@dataclass
class Row:
    """One node. ``marks`` are those of the workloads on it, once for each."""

    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    images: dict[str, int] = field(default_factory=dict)
    topology: dict[str, str] = field(default_factory=dict)
    is_open: bool = True
    marks: list[tuple[str, str]] = field(default_factory=list)

    def place(self, marks: Iterable[tuple[str, str]]) -> None:
        self.marks.extend(marks)

    def release(self, marks: Iterable[tuple[str, str]]) -> None:
        for mark in marks:
            self.marks.remove(mark)


class RowFacts:
    """Implements `scheduler.ports.NodeFacts`. Domains are numbered by first appearance."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)

    @property
    def row_count(self) -> int:
        return len(self.rows)

    def labels(self, row: int) -> Mapping[str, str]:
        return self.rows[row].labels

    def taints(self, row: int) -> Sequence[str]:
        return self.rows[row].taints

    def images(self, row: int) -> Mapping[str, int]:
        return self.rows[row].images

    def _domain_names(self, level: str) -> list[str | None]:
        if level == "node":
            return [str(row) for row in range(self.row_count)]
        return [row.topology.get(level) for row in self.rows]

    def domain_ids(self, level: str) -> Int32Array:
        names = self._domain_names(level)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name))}
        return np.array([numbers[name] if name else -1 for name in names], dtype=np.int32)

    def domain_count(self, level: str) -> int:
        return int(self.domain_ids(level).max(initial=-1)) + 1

    def _sum_by_domain(self, amounts: Sequence[int], level: str) -> Int64Array:
        sums = np.zeros(self.domain_count(level), dtype=np.int64)
        for domain, amount in zip(self.domain_ids(level).tolist(), amounts, strict=True):
            if domain >= 0:
                sums[domain] += amount
        return sums

    def open_domains(self, level: str) -> Int64Array:
        return self._sum_by_domain([row.is_open for row in self.rows], level)

    def mark_values(self, family: str) -> Mapping[str, Mapping[int, int]]:
        found: dict[str, dict[int, int]] = {}
        for index, row in enumerate(self.rows):
            for mark_family, value in row.marks:
                if mark_family == family:
                    where = found.setdefault(value, {})
                    where[index] = where.get(index, 0) + 1
        return found

    def mark_counts(self, family: str, value: str, level: str) -> Int64Array:
        return self._sum_by_domain([row.marks.count((family, value)) for row in self.rows], level)


class NoPools:
    """Implements `scheduler.ports.PoolView`: no pool has a limit, and nothing is taken."""

    def pool_free(self, pool: str) -> int | None:
        return None

    @property
    def pool_used(self) -> Mapping[str, int]:
        return {}


def columns(facts: NodeFacts, rows: Sequence[int] | None = None) -> NodeColumns:
    """Columns without any dimension over ``rows``, or over all."""
    asked = np.arange(facts.row_count) if rows is None else np.array(rows, dtype=np.int64)
    asked.flags.writeable = False
    nothing = np.zeros((0, len(asked)), dtype=np.int64)
    return NodeColumns((), asked, nothing, nothing, np.ones(0, dtype=np.int64))


def room(plugin: ResourcePlugin, request: object, facts: NodeFacts) -> list[int | None]:
    """How many copies capacity and caps of a plugin leave on each row, None without a bound.

    Caps are asked exactly when the coupling of the request says so.
    """
    found: list[int | None] = [None] * facts.row_count

    def lower(row: int, limit: int) -> None:
        known = found[row]
        found[row] = limit if known is None else min(known, limit)

    capacity = plugin.capacity(request, columns(facts), facts)
    if capacity is not None:
        for row, copies in enumerate(capacity.tolist()):
            lower(row, copies)
    caps: Sequence[Cap] = ()
    if plugin.coupling_of(request) != "none":
        caps = plugin.caps(request, facts, NoPools())
    for cap in caps:
        for row, domain in enumerate(cap.domain_ids.tolist()):
            if domain >= 0:
                lower(row, int(cap.limit[domain]))
    return found

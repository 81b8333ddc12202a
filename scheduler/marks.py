"""Marks: names that plugins put on workloads, counted by row and, for whoever asks, by topology domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from scheduler.types import Int32Array, Int64Array, NodeIndex

Mark = tuple[str, str]
"""Family and value."""


class _Domains(Protocol):
    def domain_ids(self, level: str) -> Int32Array: ...

    def domain_count(self, level: str) -> int: ...


class Marks:
    """Counts only; a mark that nobody carries any more is forgotten.

    Counts by domain are kept up to date for the marks and levels that were asked for, as long as the mark exists.
    """

    def __init__(self, domains: _Domains) -> None:
        self._domains = domains
        self._rows: dict[str, dict[str, dict[NodeIndex, int]]] = {}
        self._by_domain: dict[Mark, dict[str, Int64Array]] = {}
        self.version = 0
        """Grows with every change of marks, and with every change of a node that could matter to who reads them."""

    def count(self, row: NodeIndex, marks: Sequence[Mark], change: int) -> None:
        """Add ``change`` to the count of every mark on a row."""
        self.version += 1
        for mark in marks:
            family, value = mark
            values = self._rows.setdefault(family, {})
            rows = values.setdefault(value, {})
            left = rows.get(row, 0) + change
            if left:
                rows[row] = left
            else:
                del rows[row]
            by_level = self._by_domain.get(mark)
            if by_level is not None:
                for level, counts in by_level.items():
                    domain = row if level == "node" else int(self._domains.domain_ids(level)[row])
                    if 0 <= domain < len(counts):
                        counts[domain] += change
            if not rows:
                del values[value]
                self._by_domain.pop(mark, None)
                if not values:
                    del self._rows[family]

    def values(self, family: str) -> Mapping[str, Mapping[NodeIndex, int]]:
        """The values of a family that are carried, each with how many carry it on which row. For reading only."""
        return self._rows.get(family, {})

    def on_row(self, row: NodeIndex, mark: Mark) -> int:
        """How many workloads on the row carry the mark."""
        return self._rows.get(mark[0], {}).get(mark[1], {}).get(row, 0)

    def by_domain(self, mark: Mark, level: str) -> Int64Array:
        """How many workloads carry the mark in each domain at ``level``."""
        domain_count = self._domains.domain_count(level)
        rows = self._rows.get(mark[0], {}).get(mark[1])
        if rows is None:
            return _read_only(np.zeros(domain_count, dtype=np.int64))
        by_level = self._by_domain.setdefault(mark, {})
        counts = by_level.get(level)
        if counts is None or len(counts) != domain_count:
            counts = by_level[level] = np.zeros(domain_count, dtype=np.int64)
            ids = self._domains.domain_ids(level)
            for row, number in rows.items():
                if ids[row] >= 0:
                    counts[ids[row]] += number
        return _read_only(counts)

    def dump(self) -> dict[Mark, dict[NodeIndex, int]]:
        """All counts, to compare."""
        return {(family, value): dict(rows) for family, values in self._rows.items() for value, rows in values.items()}


def _read_only(counts: Int64Array) -> Int64Array:
    shown = counts.view()
    shown.flags.writeable = False
    return shown

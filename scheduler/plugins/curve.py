"""Demand that changes over time: a node must be able to carry the sum of all curves at every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.plugins.payloads import is_same, mapping, member, sequence, shown, text, whole
from scheduler.ports import (
    COPIES_MAX,
    UNLIMITED,
    Assignment,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeFacts,
    NodeSlots,
)
from scheduler.types import Int64Array

_AMOUNTS = "amounts"


class CurvePlugin(ExactPlugin):
    """Resources with one amount for each of a fixed number of points in time, such as the hours of a day.

    Parameters: ``points``, how many points there are; ``names``, the resources. Amounts are integers of at least 0 in
    whatever base unit the nodes use, e.g. millicores and bytes. Slots: ``<name>@<point>``, all points of the first
    name, then those of the second, and so on.

    A node says how much it has, e.g. ``{"cpu": 32000, "memory": 64000}``: a number for all points, or a list with one
    for each. It has nothing of what it does not name. A workload says in the same way what it needs. In canonical form
    every curve is a list, curves of nothing are left out, and ``amounts`` gives what is needed by slot: that mapping is
    the assignment of every workload with the request, so that the curves are kept once.
    """

    name = "curve"
    examples = ({"cpu": 500, "memory": 1024},)
    node_examples = ({"cpu": 2000, "memory": 8192},)

    def __init__(self, points: int = 98, names: Sequence[str] = ("cpu", "memory")) -> None:
        self.points = whole("curve.points", points, 1)
        self.names = tuple(text("curve.names", name) for name in sequence("curve.names", names))
        if not self.names or len(set(self.names)) < len(self.names) or _AMOUNTS in self.names:
            known = shown(self.names)
            raise ValueError(f"curve.names: {known} must be different names, at least one, none of them {_AMOUNTS!r}")
        self._slots = tuple(f"{name}@{point}" for name in self.names for point in range(points))

    def parse(self, payload: Any) -> dict[str, Any]:
        """Return the curves in the order of the names, and ``amounts``; given amounts have to agree."""
        curves = self._curves({name: curve for name, curve in mapping("curve", payload).items() if name != _AMOUNTS})
        amounts = {slot: amount for slot, amount in zip(self._slots, self._by_slot(curves), strict=True) if amount}
        if payload.get(_AMOUNTS, amounts) != amounts:
            raise ValueError(f"curve.{_AMOUNTS}: it must agree with the curves; leave it out")
        return {**curves, _AMOUNTS: amounts}

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """All slots, whichever of them the node has something of; None where it has nothing at all."""
        curves = {} if payload is None else self._curves(mapping("curve", payload))
        return Inventory(slots=self._slots, total=tuple(self._by_slot(curves))) if curves else None

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> Any:
        """Put ``change`` in place; differences are refused."""
        changed = super().change_node(payload, change, is_delta=is_delta)
        self.inventory(changed, {}, {})
        return changed

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array:
        """At most `COPIES_MAX`. Rows that cannot carry the peaks are sorted out before all points are looked at."""
        assert nodes.slots is not None, "the framework gives an exact plugin its slots"
        if not request[_AMOUNTS]:
            return np.full(len(nodes.rows), UNLIMITED, dtype=np.int64)
        copies = np.zeros(len(nodes.rows), dtype=np.int64)
        if not (nodes.slots.inventory_ids >= 0).any():
            return copies
        need = np.array(self._by_slot(request), dtype=np.int64)
        by_name = need.reshape(len(self.names), self.points)
        asked = np.flatnonzero(by_name.any(axis=1))
        peaks = asked * self.points + by_name[asked].argmax(axis=1)
        rows = np.flatnonzero((nodes.slots.free[:, peaks] >= need[peaks]).all(axis=1))
        quotients = nodes.slots.free[rows, : len(need)]
        quotients //= np.maximum(need, 1)
        copies[rows] = quotients.min(axis=1, where=need > 0, initial=COPIES_MAX)
        return np.maximum(copies, 0)

    def uniform(self, request: Any) -> Assignment:
        """Every copy holds the mapping that the request brings."""
        return Assignment(amounts=request[_AMOUNTS])

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """As many copies as every point can carry."""
        if not request[_AMOUNTS]:
            return [self.uniform(request)] * count
        need = self._by_slot(request)
        copies = min([count, *(free // amount for free, amount in zip(node.free, need, strict=True) if amount)])
        return [self.uniform(request)] * copies

    def check_assignment(self, request: Any, inventory: Inventory, assignment: Assignment) -> None:
        """Exactly the amounts of the request, and nothing else."""
        if not is_same(assignment.amounts, request[_AMOUNTS]):
            raise ValueError(
                f"curve.amounts: {shown(assignment.amounts)} is not what is asked; leave the assignment out"
            )
        if assignment.detail is not None:
            raise ValueError(f"curve.detail: {shown(assignment.detail)} is of no use; leave it out")

    def _curves(self, payload: Mapping[str, Any]) -> dict[str, list[int]]:
        mapping("curve", payload, self.names)
        curves = {name: self._curve(name, payload[name]) for name in self.names if name in payload}
        return {name: curve for name, curve in curves.items() if any(curve)}

    def _curve(self, name: str, given: Any) -> list[int]:
        curve = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * self.points
        if len(curve) != self.points:
            raise ValueError(f"{member('curve', name)}: {len(curve)} points; give one number, or {self.points}")
        if set(map(type, curve)) == {int} and min(curve) >= 0 and max(curve) <= UNLIMITED:
            return curve
        return [whole(f"{member('curve', name)}[{point}]", amount) for point, amount in enumerate(curve)]

    def _by_slot(self, curves: Mapping[str, Any]) -> list[int]:
        nothing = [0] * self.points
        return [amount for name in self.names for amount in curves.get(name, nothing)]

"""One plugin of every tier: the package that the tutorial builds. Copy it, and rename what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from scheduler.ports import (
    Assignment,
    Cap,
    Coupling,
    Dimension,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeFacts,
    NodeSlots,
    PoolView,
    ResourcePlugin,
)
from scheduler.types import FloatArray

BANDWIDTH = Dimension("bandwidth", "bps")


class ApartPlugin(ResourcePlugin):
    """At most so many workloads of a group in each rack, zone or other domain, and rather where there are few.

    Payload: ``{"group": "db", "level": "rack", "most": 1}``; level and most may be left out.
    """

    name = "apart"
    coupling: ClassVar[Coupling] = "domain"
    examples: ClassVar[Sequence[Any]] = ({"group": "db"}, {"group": "db", "level": "zone", "most": 3})

    def parse(self, payload: Any) -> dict[str, Any]:
        """Fill in what is left out."""
        if not isinstance(payload, Mapping):
            raise ValueError(f"apart: {payload!r} is not a mapping, e.g. {{'group': 'db'}}")
        for field in payload:
            if field not in ("group", "level", "most"):
                raise ValueError(f"apart.{field}: no such field; there are group, level, most")
        request = {"group": payload.get("group"), "level": payload.get("level", "rack"), "most": payload.get("most", 1)}
        for field in ("group", "level"):
            if not isinstance(request[field], str) or not request[field]:
                raise ValueError(f"apart.{field}: {request[field]!r} is not a name, e.g. 'rack'")
        if not isinstance(request["most"], int) or isinstance(request["most"], bool) or request["most"] < 1:
            raise ValueError(f"apart.most: {request['most']!r} is not a whole number of at least 1")
        return request

    def marks(self, request: Any) -> list[tuple[str, str]]:
        """Its group; the framework counts how many workloads carry it, and where."""
        return [("apart/group", request["group"])]

    def caps(self, request: Any, facts: NodeFacts, pools: PoolView) -> list[Cap]:
        """What the group leaves free in each domain."""
        counts = facts.mark_counts("apart/group", request["group"], request["level"])
        return [Cap(facts.domain_ids(request["level"]), np.maximum(request["most"] - counts, 0))]

    def score(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> FloatArray:
        """1 / (1 + how many of the group are in the row's domain); 1 where it is in none."""
        counts = np.append(facts.mark_counts("apart/group", request["group"], request["level"]), 0)
        here = facts.domain_ids(request["level"])[nodes.rows]
        scores: FloatArray = 1.0 / (1.0 + counts[here])  # -1 picks the last
        return scores


class PortsPlugin(ExactPlugin):
    """Port numbers of the host, each granted once a node; the lowest free ones.

    Payload: ``{"count": 2}``. Node payload: ``{"first": 30000, "last": 30099}``. The engine is told ``ports``.
    """

    name = "ports"
    engine_keys = ("ports",)
    examples: ClassVar[Sequence[Any]] = ({"count": 1}, {"count": 3})
    node_examples: ClassVar[Sequence[Any]] = ({"first": 30000, "last": 30009}, {"first": 8080, "last": 8080})

    def parse(self, payload: Any) -> dict[str, int]:
        """Check the count."""
        return {"count": _numbers("ports", payload, {"count": (0, 65535)})["count"]}

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """One slot a port, of which there is one."""
        if payload is None:
            return None
        node = _numbers("ports", payload, {"first": (1, 65535), "last": (1, 65535)})
        slots = tuple(map(str, range(node["first"], node["last"] + 1)))
        return Inventory(slots=slots, total=(1,) * len(slots))

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """The lowest free ports, copy by copy."""
        size = request["count"]
        if size == 0:
            return [Assignment(amounts={})] * count
        ports = [slot for slot, free in zip(node.inventory.slots, node.free, strict=True) if free]
        copies = min(count, len(ports) // size)
        return [_held(ports[copy * size : (copy + 1) * size]) for copy in range(copies)]

    def merge(self, request: Any, change: Any) -> dict[str, int]:
        """Another number in place of the old one."""
        return self.parse(change)

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        """The ports it has, as far as it still needs them, and the lowest free ones."""
        free = [slot for slot, amount in zip(node.inventory.slots, node.free, strict=True) if amount]
        kept = [slot for slot in free if slot in held.amounts]
        ports = [*kept, *(slot for slot in free if slot not in held.amounts)][: request["count"]]
        return _held(ports) if len(ports) == request["count"] else None

    def engine_args(self, request: Any, assignment: Assignment | None, shared: Any) -> dict[str, Any]:
        """The numbers, ascending."""
        return {"ports": sorted(map(int, assignment.amounts))} if assignment and assignment.amounts else {}


def _held(ports: Sequence[str]) -> Assignment:
    return Assignment(amounts=dict.fromkeys(ports, 1))


def _numbers(name: str, payload: Any, fields: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    if not isinstance(payload, Mapping) or set(payload) != set(fields):
        raise ValueError(f"{name}: {payload!r} must be a mapping with the fields {', '.join(fields)}")
    for field, (least, most) in fields.items():
        value = payload[field]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name}.{field}: {value!r} is not a whole number from {least} to {most}")
    return dict(payload)

"""Taints of nodes, which keep away workloads that do not tolerate them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from scheduler.plugins.payloads import mapping, sequence, shown
from scheduler.ports import UNLIMITED, NodeColumns, NodeFacts, ResourcePlugin
from scheduler.types import FloatArray, Int64Array

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
EFFECTS = (NO_SCHEDULE, PREFER_NO_SCHEDULE)

_FIELDS = ("effect", "key", "operator", "value")
_OPERATORS = ("Equal", "Exists")


class Taint(NamedTuple):
    """A taint; ``value`` may be empty."""

    key: str
    value: str
    effect: str


def parse_taint(taint: Any) -> Taint:
    """Read ``key=value:effect`` or ``key:effect``; ValueError where it is neither, or the effect is another.

    An effect that acts on what already runs (NoExecute) is not a taint here: draining a node does that.
    """
    label, colon, effect = taint.rpartition(":") if isinstance(taint, str) else ("", "", "")
    key, _, value = label.partition("=")
    if not colon or not key:
        raise ValueError(f"taints: {shown(taint)} must be key=value:effect, e.g. 'gpu=yes:{NO_SCHEDULE}'")
    if effect == "NoExecute":
        raise ValueError(f"taints: {shown(taint)} has the effect NoExecute; drain the node instead")
    if effect not in EFFECTS:
        raise ValueError(f"taints: {shown(taint)} has the effect {shown(effect)}; use one of {', '.join(EFFECTS)}")
    return Taint(key, value, effect)


class TaintsPlugin(ResourcePlugin):
    """Keeps workloads off tainted nodes, as in Kubernetes; those without a payload tolerate nothing.

    Payload: ``{"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]}``. The
    operator "Equal" (the default) wants key and value to be the same, "Exists" only the key, or none at all: then it
    tolerates every taint. Without an effect, or with an empty one, it tolerates both.
    """

    name = "taints"
    is_universal = True
    examples: ClassVar[Sequence[Any]] = ({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, {})

    def parse(self, payload: Any) -> dict[str, list[dict[str, str]]]:
        """Fill in defaults, sort tolerations, drop repeats."""
        tolerations = sequence("taints.tolerations", mapping("taints", payload, ["tolerations"]).get("tolerations", []))
        parsed = [
            _parse_toleration(f"taints.tolerations[{index}]", toleration)
            for index, toleration in enumerate(tolerations)
        ]
        distinct = {tuple(toleration.items()): toleration for toleration in parsed}
        return {"tolerations": [distinct[items] for items in sorted(distinct)]}

    def check_taints(self, taints: Sequence[str]) -> None:
        """Every taint must be one that `parse_taint` understands."""
        for taint in sequence("taints", taints):
            parse_taint(taint)

    def capacity(self, request: Mapping[str, Any], nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """0 where a taint NoSchedule is not tolerated; None where none of the rows has such a taint."""
        capacity: Int64Array | None = None
        for taints, positions in _positions_by_taints(nodes, facts).items():
            if _untolerated(request, taints, NO_SCHEDULE):
                if capacity is None:
                    capacity = np.full(len(nodes.rows), UNLIMITED, dtype=np.int64)
                capacity[positions] = 0
        return capacity

    def score(self, request: Mapping[str, Any], nodes: NodeColumns, facts: NodeFacts) -> FloatArray:
        """1 / (1 + n), where n counts the taints PreferNoSchedule of the row that are not tolerated."""
        score = np.ones(len(nodes.rows))
        for taints, positions in _positions_by_taints(nodes, facts).items():
            score[positions] = 1 / (1 + _untolerated(request, taints, PREFER_NO_SCHEDULE))
        return score


def _positions_by_taints(nodes: NodeColumns, facts: NodeFacts) -> dict[tuple[str, ...], list[int]]:
    """The positions of tainted rows, by the taints they have."""
    positions: dict[tuple[str, ...], list[int]] = {}
    taints_of = facts.taints
    for position, row in enumerate(nodes.rows.tolist()):
        taints = taints_of(row)
        if taints:
            positions.setdefault(tuple(taints), []).append(position)
    return positions


def _untolerated(request: Mapping[str, Any], taints: Sequence[str], effect: str) -> int:
    """How many of the taints have the effect and are not tolerated."""
    return sum(
        taint.effect == effect and not any(_tolerates(toleration, taint) for toleration in request["tolerations"])
        for taint in map(parse_taint, taints)
    )


def _tolerates(toleration: Mapping[str, str], taint: Taint) -> bool:
    if toleration["effect"] not in ("", taint.effect) or toleration["key"] not in ("", taint.key):
        return False
    return toleration["operator"] == "Exists" or toleration["value"] == taint.value


def _parse_toleration(field: str, toleration: Any) -> dict[str, str]:
    for name, value in mapping(field, toleration, _FIELDS).items():
        if not isinstance(value, str):
            raise ValueError(f"{field}.{name}: {shown(value)} must be a text; put it in quotes")
    parsed = {name: toleration.get(name, "") for name in _FIELDS}
    parsed["operator"] = toleration.get("operator", "Equal")
    if parsed["operator"] not in _OPERATORS:
        raise ValueError(f"{field}.operator: {shown(parsed['operator'])} must be one of {', '.join(_OPERATORS)}")
    if parsed["effect"] not in ("", *EFFECTS):
        raise ValueError(f"{field}.effect: {shown(parsed['effect'])} must be one of {', '.join(EFFECTS)}, or left out")
    if parsed["operator"] == "Exists" and parsed["value"]:
        raise ValueError(f"{field}.value: {shown(parsed['value'])} must be left out with the operator Exists")
    if parsed["operator"] == "Equal" and not parsed["key"]:
        raise ValueError(f"{field}.key: it is empty; name one, or use the operator Exists to tolerate every taint")
    return parsed

"""Affinity, anti-affinity and spread between workloads, over topology levels.

The required rules are those of Kubernetes (its scheduler plugins InterPodAffinity and PodTopologySpread), with one
addition: an apart rule may tolerate a number of others, as the interference rules of Alibaba's Tianchi contest do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from scheduler.plugins.payloads import mapping, member, sequence, shown, whole
from scheduler.ports import UNLIMITED, Cap, Coupling, NodeColumns, NodeFacts, PoolView, ResourcePlugin
from scheduler.types import FloatArray, Int64Array

NODE = "node"
"""The level at which every row is a domain of its own."""

SATURATION = 10
"""More matching workloads than this in a domain make no difference to a preference."""

_NUMBER_MAX = (1 << 31) - 1
_NUMBERS: Mapping[str, tuple[str, int, int] | None] = {
    "near": None,
    "apart": ("most", 0, 0),
    "spread": ("max_skew", 1, 1),
    "prefer_near": ("weight", 1, 1),
    "prefer_apart": ("weight", 1, 1),
}
"""The kinds of rules; each with the field of its number, the least value of it and the default."""

Label: TypeAlias = tuple[str, str]
Found: TypeAlias = tuple[Int64Array, Int64Array]
"""Places (positions of rows, or domains) where workloads carry a mark, and how many there."""
Find: TypeAlias = Callable[[str, str], Found]
"""Finds a mark by family and value."""


class AffinityPlugin(ResourcePlugin):
    """Where workloads go in relation to each other.

    Parameters: ``levels``, the topology levels at which apart rules may be used. Any besides "node" makes all requests
    with labels coupled, because any of them could be kept out of a domain by a workload that is there.

    Payload, all of it optional: ``labels``, what the workload is, e.g. ``{"app": "web"}``; lists of rules, each with a
    ``match`` of exactly one label and a ``level`` ("node" if not given). Only workloads with a payload have labels. A
    row's domain at a level is the rack, zone and so on that it is in. A workload *matches* where it has the label.

    * ``near``: another workload in the domain matches. If none in any domain does and the workload matches its own
      rule, every domain will do. Not on rows without a domain.
    * ``apart``, with ``most`` (0): at most that many other workloads in the domain match. It holds both ways: who comes
      later must not break the rule of who is there. Rows without a domain are free of it.
    * ``spread``, with ``max_skew`` (1): with this workload, the matching ones in the domain exceed those in the domain
      with the fewest by at most that. Only domains with a node that takes work count as such; the workload counts if
      it matches. Not on rows without a domain. Holds when a workload is placed, not for ever.
    * ``prefer_near`` and ``prefer_apart``, with ``weight`` (1): see `score`.
    """

    name = "affinity"
    examples = (
        {"labels": {"app": "web"}, "apart": [{"match": {"app": "web"}}]},
        {"labels": {"app": "web"}, "spread": [{"match": {"app": "web"}, "level": "zone"}]},
        {"labels": {"app": "db"}, "prefer_near": [{"match": {"app": "web"}, "level": "rack"}]},
    )

    def __init__(self, levels: Sequence[str] = (NODE,)) -> None:
        self.levels = tuple(sequence("affinity.levels", levels))
        for level in self.levels:
            if not isinstance(level, str) or not level or "/" in level:
                raise ValueError(f"affinity.levels: {shown(level)} is not the name of a topology level without '/'")

    def parse(self, payload: Any) -> dict[str, Any]:
        """Fill in defaults, sort labels and rules, drop repeated required rules; all fields are there."""
        mapping("affinity", payload, ("labels", *_NUMBERS))
        parsed: dict[str, Any] = {"labels": _parse_labels("affinity.labels", payload.get("labels", {}))}
        for kind in _NUMBERS:
            parsed[kind] = self._parse_rules(kind, payload.get(kind, []))
        return parsed

    def _parse_rules(self, kind: str, rules: Any) -> list[dict[str, Any]]:
        field = f"affinity.{kind}"
        given = enumerate(sequence(field, rules))
        parsed = [_parse_rule(f"{field}[{index}]", rule, _NUMBERS[kind]) for index, rule in given]
        for index, rule in enumerate(parsed):
            if kind == "apart" and rule["level"] not in self.levels:
                level, known = shown(rule["level"]), ", ".join(self.levels) or "none"
                raise ValueError(
                    f"affinity.apart[{index}].level: {level} is not among the plugin's levels ({known}); "
                    "add it to the parameter levels"
                )
        parsed.sort(key=lambda rule: (rule["level"], _label(rule), list(rule.values())[2:]))
        if not kind.startswith("prefer"):
            parsed = [rule for index, rule in enumerate(parsed) if not index or rule != parsed[index - 1]]
        return parsed

    def coupling_of(self, request: Mapping[str, Any]) -> Coupling:
        """ "none" if no rule, of the request or against it, and no preference looks further than the row."""
        if request["near"] or request["spread"] or self._apart_levels(request):
            return "domain"
        preferences = (*request["prefer_near"], *request["prefer_apart"])
        return "none" if all(rule["level"] == NODE for rule in preferences) else "domain"

    def _apart_levels(self, request: Mapping[str, Any]) -> list[str]:
        """The levels besides "node" at which an apart rule can keep the request out."""
        if request["labels"]:
            return [level for level in self.levels if level != NODE]
        return [rule["level"] for rule in request["apart"] if rule["level"] != NODE]

    def marks(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Its labels; and for each apart rule, how many workloads that match it may be in the domain in total."""
        return [
            *((_label_family(key), value) for key, value in request["labels"].items()),
            *((_apart_family(rule["level"], _label(rule)), str(_total(request, rule))) for rule in request["apart"]),
        ]

    def capacity(self, request: Mapping[str, Any], nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """Copies that apart rules at node level leave, exactly; 0 on rows without a domain that near or spread need.

        Costs what the marks in question cost, and a few operations on arrays of rows.
        """
        needed = sorted({rule["level"] for rule in (*request["near"], *request["spread"])})
        if not (needed or request["labels"] or request["apart"]):
            return None
        room: Int64Array = np.empty(len(nodes.rows), dtype=np.int64)
        room.fill(UNLIMITED)
        _limit_apart(room, request, NODE, facts, _RowFinder(nodes.rows, facts).find)
        for level in needed:
            room[facts.domain_ids(level).take(nodes.rows) < 0] = 0
        return room

    def caps(self, request: Mapping[str, Any], facts: NodeFacts, pools: PoolView) -> list[Cap]:
        """One cap for each level at which a rule limits some domain now, levels sorted.

        Limits are exact for the next copy. For further copies those of apart rules are exact as well; those of spread
        are too low as soon as the fewest become more, those of near never change.
        """
        apart_levels = self._apart_levels(request)
        required = {rule["level"] for rule in (*request["near"], *request["spread"])}
        caps = []
        for level in sorted({*apart_levels, *required}):
            limit: Int64Array = np.empty(facts.domain_count(level), dtype=np.int64)
            limit.fill(UNLIMITED)
            if level in apart_levels:
                _limit_apart(limit, request, level, facts, _domain_finder(level, facts))
            _limit_near(limit, request, level, facts)
            _limit_spread(limit, request, level, facts)
            if limit.min(initial=UNLIMITED) < UNLIMITED:
                caps.append(Cap(facts.domain_ids(level), limit))
        return caps

    def has_preferences(self, request: Mapping[str, Any]) -> bool:
        """Whether there is a preference among the rules."""
        return bool(request["prefer_near"] or request["prefer_apart"])

    def score(self, request: Mapping[str, Any], nodes: NodeColumns, facts: NodeFacts) -> FloatArray | None:
        """The mean over the preferences, by weight; None without any.

        With ``n`` matching workloads in the row's domain (0 in no domain) and ``s = min(n, 10) / 10``, prefer_near
        gives ``s`` and prefer_apart ``1 - s``.
        """
        near, apart = request["prefer_near"], request["prefer_apart"]
        if not near and not apart:
            return None
        finder = _RowFinder(nodes.rows, facts)
        points = np.full(len(nodes.rows), SATURATION * sum(rule["weight"] for rule in apart), dtype=np.int64)
        for sign, rules in ((1, near), (-1, apart)):
            for rule in rules:
                points += sign * rule["weight"] * np.minimum(finder.counts(rule), SATURATION)
        scores: FloatArray = points / (SATURATION * sum(rule["weight"] for rule in (*near, *apart)))
        return scores


class _RowFinder:
    """Finds marks in terms of positions in ``rows``, which may be any rows in any order, once each."""

    def __init__(self, rows: Int64Array, facts: NodeFacts) -> None:
        self.rows = rows
        self.facts = facts
        self._position: Int64Array | None = None

    def find(self, family: str, value: str) -> Found:
        where = self.facts.mark_values(family).get(value, {})
        if len(where) >= len(self.rows):
            found = [(position, where[row]) for position, row in enumerate(self.rows.tolist()) if row in where]
            pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
            return pairs[:, 0], pairs[:, 1]
        marked = np.fromiter(where.keys(), dtype=np.int64, count=len(where))
        counts = np.fromiter(where.values(), dtype=np.int64, count=len(where))
        if self._position is None:
            self._position = np.full(self.facts.row_count, -1, dtype=np.int64)
            self._position[self.rows] = np.arange(len(self.rows))
        positions = self._position[marked]
        asked = positions >= 0
        return positions[asked], counts[asked]

    def counts(self, rule: Mapping[str, Any]) -> Int64Array:
        """By row, how many workloads in its domain match the rule; 0 in no domain."""
        key, value = _label(rule)
        level = rule["level"]
        if level == NODE:
            counts = np.zeros(len(self.rows), dtype=np.int64)
            places, amounts = self.find(_label_family(key), value)
            counts[places] = amounts
            return counts
        by_domain = np.append(self.facts.mark_counts(_label_family(key), value, level), 0)
        by_row: Int64Array = by_domain[self.facts.domain_ids(level)[self.rows]]
        return by_row


def _domain_finder(level: str, facts: NodeFacts) -> Find:
    def find(family: str, value: str) -> Found:
        counts = facts.mark_counts(family, value, level)
        domains = np.flatnonzero(counts)
        return domains, counts[domains]

    return find


def _limit_apart(room: Int64Array, request: Mapping[str, Any], level: str, facts: NodeFacts, find: Find) -> None:
    """Lower ``room`` by place to what apart rules at one level leave: those of the request and those against it."""
    labels: Mapping[str, str] = request["labels"]
    own: dict[Label, int] = {}
    for rule in request["apart"]:
        if rule["level"] == level:
            own[_label(rule)] = min(own.get(_label(rule), _NUMBER_MAX + 1), _total(request, rule))
    for (key, value), total in own.items():
        if labels.get(key) != value:
            places, counts = find(_label_family(key), value)
            room[places[counts > total]] = 0
    for key, value in labels.items():
        family = _apart_family(level, (key, value))
        total = own.get((key, value), UNLIMITED)
        refusals = [mark for mark in facts.mark_values(family) if int(mark) < total]
        if total == UNLIMITED and not refusals:
            continue
        places, counts = find(_label_family(key), value)
        np.minimum(room, total, out=room)
        room[places] = np.minimum(room[places], total - counts)
        if refusals:
            matching = np.zeros_like(room)
            matching[places] = counts
            for mark in refusals:
                places, _ = find(family, mark)
                room[places] = np.minimum(room[places], int(mark) - matching[places])
        np.maximum(room, 0, out=room)


def _limit_near(limit: Int64Array, request: Mapping[str, Any], level: str, facts: NodeFacts) -> None:
    for rule in request["near"]:
        if rule["level"] == level:
            key, value = _label(rule)
            counts = facts.mark_counts(_label_family(key), value, level)
            if counts.any() or request["labels"].get(key) != value:
                limit[counts == 0] = 0


def _limit_spread(limit: Int64Array, request: Mapping[str, Any], level: str, facts: NodeFacts) -> None:
    for rule in request["spread"]:
        if rule["level"] == level:
            key, value = _label(rule)
            counts = facts.mark_counts(_label_family(key), value, level)
            fewest = counts.min(initial=_NUMBER_MAX, where=facts.open_domains(level) > 0)
            room = (rule["max_skew"] + fewest) - counts
            if request["labels"].get(key) != value:
                room = np.where(room >= 0, UNLIMITED, 0)
            np.minimum(limit, room, out=limit)
    np.maximum(limit, 0, out=limit)


def _label(rule: Mapping[str, Any]) -> Label:
    ((key, value),) = rule["match"].items()
    return key, value


def _total(request: Mapping[str, Any], rule: Mapping[str, Any]) -> int:
    """How many workloads that match an apart rule of the request may be where it is, itself included if it does."""
    key, value = _label(rule)
    total: int = rule["most"] + (request["labels"].get(key) == value)
    return total


def _label_family(key: str) -> str:
    return f"affinity/label/{key}"


def _apart_family(level: str, label: Label) -> str:
    return f"affinity/apart/{level}/{label[0]}={label[1]}"


def _parse_rule(field: str, rule: Any, number: tuple[str, int, int] | None) -> dict[str, Any]:
    mapping(field, rule, ("match", "level", number[0]) if number else ("match", "level"))
    match = _parse_labels(f"{field}.match", rule.get("match", {}))
    if len(match) != 1:
        raise ValueError(
            f"{field}.match: {shown(match)} must have exactly one label; combine several into the value of one label"
        )
    level = rule.get("level", NODE)
    if not isinstance(level, str) or not level:
        raise ValueError(f"{field}.level: {shown(level)} is not the name of a topology level, e.g. 'rack'")
    parsed: dict[str, Any] = {"match": match, "level": level}
    if number:
        name, least, default = number
        parsed[name] = whole(f"{field}.{name}", rule.get(name, default), least, _NUMBER_MAX)
    return parsed


def _parse_labels(field: str, labels: Any) -> dict[str, str]:
    for key, value in mapping(field, labels).items():
        if not key or "=" in key:
            raise ValueError(f"{field}: {shown(key)} must be a text that is not empty and has no '='")
        if not isinstance(value, str):
            raise ValueError(f"{member(field, key)}: {shown(value)} must be a text; put it in quotes")
    return dict(sorted(labels.items()))

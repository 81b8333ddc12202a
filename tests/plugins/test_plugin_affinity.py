"""Affinity: every decision equals that of a slow reference that checks all rules pairwise from scratch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from facts_kit import NoPools, Row, RowFacts, columns, room
from hypothesis import given
from hypothesis import strategies as st

from scheduler.plugins.affinity import AffinityPlugin
from scheduler.ports import UNLIMITED

LEVELS = ("node", "rack", "zone")
COPIES = 12
"""More copies than the reference is asked to place on one node."""


@dataclass
class World:
    """Places workloads one by one. Says what is allowed by looking at every pair of workloads."""

    rows: list[Row]
    plugin: AffinityPlugin
    placed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def domain(self, row: int, level: str) -> str | None:
        return str(row) if level == "node" else self.rows[row].topology.get(level)

    def matching(self, rule: dict[str, Any], domain: str) -> int:
        return sum(matches(request, rule) for row, request in self.placed if self.domain(row, rule["level"]) == domain)

    def apart_holds(self) -> bool:
        for row, request in self.placed:
            for rule in request["apart"]:
                domain = self.domain(row, rule["level"])
                if domain is not None and self.matching(rule, domain) - matches(request, rule) > rule["most"]:
                    return False
        return True

    def near_allows(self, row: int, request: dict[str, Any], rule: dict[str, Any]) -> bool:
        domain = self.domain(row, rule["level"])
        if domain is None:
            return False
        somewhere = any(matches(other, rule) and self.domain(there, rule["level"]) for there, other in self.placed)
        return self.matching(rule, domain) > 0 or (not somewhere and matches(request, rule))

    def spread_allows(self, row: int, request: dict[str, Any], rule: dict[str, Any]) -> bool:
        domain = self.domain(row, rule["level"])
        if domain is None:
            return False
        open_domains = {
            name for there in range(len(self.rows)) if self.rows[there].is_open
            if (name := self.domain(there, rule["level"])) is not None
        }  # fmt: skip
        fewest = min((self.matching(rule, name) for name in open_domains), default=1 << 31)
        skew = self.matching(rule, domain) + matches(request, rule) - fewest
        return skew <= int(rule["max_skew"])

    def allows(self, row: int, request: dict[str, Any]) -> bool:
        if not all(self.near_allows(row, request, rule) for rule in request["near"]):
            return False
        if not all(self.spread_allows(row, request, rule) for rule in request["spread"]):
            return False
        self.placed.append((row, request))
        allowed = self.apart_holds()
        self.placed.pop()
        return allowed

    def place(self, row: int, request: dict[str, Any]) -> None:
        self.placed.append((row, request))
        self.rows[row].place(self.plugin.marks(request))

    def release(self, index: int) -> None:
        row, request = self.placed.pop(index)
        self.rows[row].release(self.plugin.marks(request))

    def copies(self, row: int, request: dict[str, Any]) -> int:
        """How many copies can be placed one after the other on a row, at most `COPIES`."""
        count = 0
        while count < COPIES and self.allows(row, request):
            self.place(row, request)
            count += 1
        for _ in range(count):
            self.release(-1)
        return count


def matches(request: dict[str, Any], rule: dict[str, Any]) -> bool:
    return all(request["labels"].get(key) == value for key, value in rule["match"].items())


LABELS = st.fixed_dictionaries({}, optional={"app": st.sampled_from("ab"), "tier": st.sampled_from("xy")})
MATCHES = st.sampled_from([{"app": "a"}, {"app": "b"}, {"tier": "x"}, {"tier": "y"}])


def rules(levels: tuple[str, ...], number: str = "", least: int = 0, size: int = 1) -> st.SearchStrategy[Any]:
    fields: dict[str, Any] = {"match": MATCHES, "level": st.sampled_from(levels)}
    if number:
        fields[number] = st.integers(least, least + 2)
    return st.lists(st.fixed_dictionaries(fields), max_size=size)


def payloads(levels: tuple[str, ...], *, apart_only: bool = False) -> st.SearchStrategy[Any]:
    fields: dict[str, Any] = {"labels": LABELS, "apart": rules(levels, "most", 0, 2)}
    if not apart_only:
        fields |= {"near": rules(LEVELS), "spread": rules(LEVELS, "max_skew", 1)}
    return st.fixed_dictionaries(fields)


ROWS = st.lists(
    st.builds(
        Row,
        topology=st.fixed_dictionaries({}, optional={"rack": st.sampled_from("qrs"), "zone": st.sampled_from("zw")}),
        is_open=st.integers(0, 4).map(bool),
    ),
    min_size=1,
    max_size=6,
)
CHOICES = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans()), max_size=14)


def play(world: World, requests: list[dict[str, Any]], choices: list[tuple[int, int, bool]]) -> None:
    """Place what is allowed where it is allowed, and release something now and then."""
    for which, where, releases in choices:
        if releases and world.placed:
            world.release(which % len(world.placed))
            continue
        request = requests[which % len(requests)]
        allowed = [row for row, limit in enumerate(room(world.plugin, request, RowFacts(world.rows))) if limit != 0]
        allowed = [row for row in allowed if world.rows[row].is_open]
        if allowed:
            world.place(allowed[where % len(allowed)], request)


@given(rows=ROWS, given_payloads=st.lists(payloads(LEVELS), min_size=1, max_size=3), choices=CHOICES)
def test_the_allowed_rows_are_those_of_the_reference(
    rows: list[Row], given_payloads: list[Any], choices: list[tuple[int, int, bool]]
) -> None:
    world = World(rows, AffinityPlugin(LEVELS))
    requests = [world.plugin.parse(payload) for payload in given_payloads]
    for step in [None, *choices]:
        play(world, requests, [step] if step else [])
        assert world.apart_holds()
        for request in requests:
            limits = room(world.plugin, request, RowFacts(rows))
            for row in range(len(rows)):
                if rows[row].is_open:
                    assert (limits[row] != 0) == world.allows(row, request)


@pytest.mark.parametrize("level", ["node", "rack"])
@given(data=st.data())
def test_limits_of_apart_rules_are_exact_for_several_copies(level: str, data: st.DataObject) -> None:
    rows = data.draw(ROWS)
    world = World(rows, AffinityPlugin([level]))
    given_payloads = data.draw(st.lists(payloads((level,), apart_only=True), min_size=1, max_size=3))
    requests = [world.plugin.parse(payload) for payload in given_payloads]
    play(world, requests, data.draw(CHOICES))
    for request in requests:
        limits = room(world.plugin, request, RowFacts(rows))
        for row, limit in enumerate(limits):
            assert min(COPIES, UNLIMITED if limit is None else limit) == world.copies(row, request)


@given(rows=ROWS, given_payloads=st.lists(payloads(("node",)), min_size=1, max_size=3), choices=CHOICES)
def test_without_coupling_a_placement_changes_nothing_on_other_rows(
    rows: list[Row], given_payloads: list[Any], choices: list[tuple[int, int, bool]]
) -> None:
    plugin = AffinityPlugin()
    world = World(rows, plugin)
    requests = [plugin.parse(payload) for payload in given_payloads]
    play(world, requests, choices)
    for request in requests:
        assert (plugin.coupling_of(request) == "none") == (not request["near"] and not request["spread"])
        if plugin.coupling_of(request) == "none":
            assert not plugin.caps(request, RowFacts(rows), NoPools())
            before = [world.allows(row, request) for row in range(len(rows))]
            for other in requests:
                if world.allows(0, other):
                    world.place(0, other)
                    assert [world.allows(row, request) for row in range(1, len(rows))] == before[1:]
                    world.release(-1)


@given(
    rows=ROWS,
    payload=payloads(("node",)),
    wishes=st.tuples(rules(LEVELS, "weight", 1, 2), rules(LEVELS, "weight", 1, 2)),
    choices=CHOICES,
    data=st.data(),
)
def test_capacity_and_score_take_any_rows_in_any_order(
    rows: list[Row], payload: Any, wishes: tuple[Any, Any], choices: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    plugin = AffinityPlugin()
    request = plugin.parse({**payload, "prefer_near": wishes[0], "prefer_apart": wishes[1]})
    world, facts = World(rows, plugin), RowFacts(rows)
    play(world, [request], choices)
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True))
    for ask in (plugin.capacity, plugin.score):
        whole, part = ask(request, columns(facts), facts), ask(request, columns(facts, asked), facts)
        assert (whole is None) == (part is None)
        if whole is not None and part is not None:
            np.testing.assert_array_equal(part, whole[np.array(asked, dtype=np.int64)])


@given(
    rows=ROWS,
    labels=st.lists(LABELS, max_size=3),
    wishes=st.tuples(rules(LEVELS, "weight", 1, 2), rules(LEVELS, "weight", 1, 2)),
    choices=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5)), max_size=30),
)
def test_preferences_are_a_weighted_mean(
    rows: list[Row], labels: list[Any], wishes: tuple[Any, Any], choices: list[tuple[int, int]]
) -> None:
    plugin = AffinityPlugin()
    world, facts = World(rows, plugin), RowFacts(rows)
    for which, where in choices if labels else []:
        world.place(where % len(rows), plugin.parse({"labels": labels[which % len(labels)]}))
    request = plugin.parse({"prefer_near": wishes[0], "prefer_apart": wishes[1]})
    scores = plugin.score(request, columns(facts), facts)
    if scores is None:
        assert wishes == ([], [])
        return
    for row in range(len(rows)):
        total = weight = 0.0
        for kind in ("prefer_near", "prefer_apart"):
            for rule in request[kind]:
                domain = world.domain(row, rule["level"])
                share = 0 if domain is None else min(world.matching(rule, domain), 10) / 10
                total += rule["weight"] * (share if kind == "prefer_near" else 1 - share)
                weight += rule["weight"]
        assert scores[row] == pytest.approx(total / weight)
        assert 0 <= scores[row] <= 1


def racks(*names: str) -> list[Row]:
    return [Row(topology={"rack": name} if name else {}) for name in names]


def test_apart_is_mutual_and_counts_itself_only_if_it_matches() -> None:
    plugin = AffinityPlugin()
    world, facts = World(racks("q", "q"), plugin), RowFacts([])
    facts.rows = world.rows
    lonely = plugin.parse({"labels": {"app": "db"}, "apart": [{"match": {"app": "web"}, "most": 2}]})
    web = plugin.parse({"labels": {"app": "web"}})
    replica = plugin.parse({"labels": {"app": "web"}, "apart": [{"match": {"app": "web"}, "most": 2}]})
    assert room(plugin, web, facts) == [UNLIMITED, UNLIMITED]
    assert room(plugin, replica, facts) == [3, 3]
    world.place(0, lonely)
    assert room(plugin, web, facts) == [2, UNLIMITED]
    assert room(plugin, replica, facts) == [2, 3]
    world.place(1, replica)
    assert room(plugin, web, facts) == [2, 2]
    for _ in range(3):
        world.place(1, web)
    assert room(plugin, lonely, facts) == [UNLIMITED, 0]
    assert room(plugin, web, facts) == [2, 0]


def test_of_several_rules_the_strictest_counts() -> None:
    plugin = AffinityPlugin()
    world = World(racks("q", "q", "q"), plugin)
    app, tier = {"match": {"app": "web"}}, {"match": {"tier": "front"}}
    request = plugin.parse({
        "labels": {"app": "web", "tier": "front"},
        "apart": [{**app, "most": 3}, {**app, "most": 5}, {**tier, "most": 7}],
    })  # fmt: skip
    world.place(0, plugin.parse({"labels": {"app": "web"}}))
    world.place(1, plugin.parse({"labels": {"tier": "front"}}))
    for _ in range(6):
        world.place(2, plugin.parse({"labels": {"tier": "front"}}))
    assert room(plugin, request, RowFacts(world.rows)) == [3, 4, 2]


def test_who_does_not_match_adds_nothing_to_a_skew() -> None:
    plugin = AffinityPlugin()
    world = World(racks("q", "r"), plugin)
    other = plugin.parse({"spread": [{"match": {"app": "web"}, "level": "rack", "max_skew": 2}]})
    for limit in (UNLIMITED, UNLIMITED, 0):
        world.place(0, plugin.parse({"labels": {"app": "web"}}))
        assert room(plugin, other, RowFacts(world.rows)) == [limit, UNLIMITED]


def test_near_starts_somewhere_and_then_stays_in_the_rack() -> None:
    plugin = AffinityPlugin()
    world = World(racks("q", "q", "r", ""), plugin)
    together = plugin.parse({"labels": {"app": "web"}, "near": [{"match": {"app": "web"}, "level": "rack"}]})
    client = plugin.parse({"near": [{"match": {"app": "web"}, "level": "rack"}]})
    facts = RowFacts(world.rows)
    assert [limit != 0 for limit in room(plugin, together, facts)] == [True, True, True, False]
    assert [limit != 0 for limit in room(plugin, client, facts)] == [False] * 4
    world.place(1, together)
    for request in (together, client):
        assert [limit != 0 for limit in room(plugin, request, facts)] == [True, True, False, False]


def test_spread_ignores_domains_that_take_no_work() -> None:
    plugin = AffinityPlugin()
    world = World(racks("q", "r", "s"), plugin)
    web = plugin.parse({"labels": {"app": "web"}, "spread": [{"match": {"app": "web"}, "level": "rack"}]})
    facts = RowFacts(world.rows)
    world.place(0, web)
    world.place(1, web)
    assert room(plugin, web, facts) == [0, 0, 1]
    world.rows[2].is_open = False
    assert room(plugin, web, facts)[:2] == [1, 1]


def test_a_payload_has_one_canonical_form() -> None:
    plugin = AffinityPlugin(["node", "rack"])
    web, db = {"match": {"app": "web"}}, {"match": {"app": "db"}}
    first = plugin.parse({"labels": {"b": "1", "a": "2"}, "apart": [web, {**db, "level": "rack"}, web]})
    second = plugin.parse({"apart": [{**db, "most": 0, "level": "rack"}, web], "labels": {"a": "2", "b": "1"}})
    assert first == second == plugin.parse(first)
    assert list(first["labels"]) == ["a", "b"]
    assert first["apart"] == [{**web, "level": "node", "most": 0}, {**db, "level": "rack", "most": 0}]
    assert plugin.parse({}) == {"labels": {}} | {
        kind: [] for kind in ("near", "apart", "spread", "prefer_near", "prefer_apart")
    }
    assert plugin.parse({"prefer_near": [web, web]})["prefer_near"] == [{**web, "level": "node", "weight": 1}] * 2


def test_coupling_depends_on_the_request_and_the_levels_in_use() -> None:
    web = {"match": {"app": "web"}}
    here, with_racks = AffinityPlugin(), AffinityPlugin(["node", "rack"])
    for payload, coupling, with_racks_coupling in [
        ({}, "none", "none"),
        ({"labels": {"app": "web"}}, "none", "domain"),
        ({"apart": [web]}, "none", "none"),
        ({"near": [web]}, "domain", "domain"),
        ({"spread": [{**web, "level": "rack"}]}, "domain", "domain"),
        ({"prefer_near": [web]}, "none", "none"),
        ({"prefer_apart": [{**web, "level": "rack"}]}, "domain", "domain"),
    ]:
        assert here.coupling_of(here.parse(payload)) == coupling
        assert with_racks.coupling_of(with_racks.parse(payload)) == with_racks_coupling
    assert with_racks.coupling_of(with_racks.parse({"apart": [{**web, "level": "rack"}]})) == "domain"
    assert with_racks.get_params() == {"levels": ("node", "rack")}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (7, "affinity: 7 must be a mapping"),
        ({"label": {}}, "affinity.label: no such field; there are labels, near"),
        ({"labels": []}, "affinity.labels: .* must be a mapping"),
        ({"labels": {"a=b": "c"}}, "affinity.labels: 'a=b' must be a text"),
        ({"labels": {"version": 2}}, "affinity.labels.version: 2 must be a text; put it in quotes"),
        ({"near": {"match": {}}}, "affinity.near: .* must be a list"),
        ({"near": ["web"]}, r"affinity.near\[0\]: 'web' must be a mapping"),
        ({"near": [{"match": {}}]}, r"near\[0\].match: {} must have exactly one label"),
        ({"near": [{"match": {"a": "b", "c": "d"}}]}, "combine several into the value of one label"),
        ({"near": [{"match": {"a": "b"}, "level": ""}]}, r"near\[0\].level: '' is not the name of a topology level"),
        ({"near": [{"match": {"a": "b"}, "most": 1}]}, r"near\[0\].most: no such field"),
        ({"apart": [{"match": {"a": "b"}, "most": -1}]}, r"apart\[0\].most: -1 must be at least 0"),
        ({"apart": [{"match": {"a": "b"}, "most": True}]}, r"apart\[0\].most: True must be a whole number"),
        ({"apart": [{"match": {"a": "b"}, "level": "rack"}]}, r"level: 'rack' .* \(node\); add it to the parameter"),
        ({"spread": [{"match": {"a": "b"}, "max_skew": 0}]}, r"spread\[0\].max_skew: 0 must be at least 1"),
        ({"prefer_near": [{"match": {"a": "b"}, "weight": 0.5}]}, r"prefer_near\[0\].weight: 0.5 must be a whole"),
    ],
)
def test_bad_payloads_name_field_value_and_remedy(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AffinityPlugin().parse(payload)


@pytest.mark.parametrize("levels", ["rack", [""], ["a/b"], [3], 3])
def test_bad_levels_are_refused(levels: Any) -> None:
    with pytest.raises(ValueError, match=r"^affinity.levels: "):
        AffinityPlugin(levels)


def test_it_is_not_changed_in_place() -> None:
    plugin = AffinityPlugin()
    with pytest.raises(ValueError, match="replace the workload instead"):
        plugin.merge(plugin.parse({}), {})

"""Dry runs: they change nothing, and a real submission does what they said."""

from __future__ import annotations

import random

import pytest
from core_kit import PLUGIN_CONFIGS, harness, node, plugins, spec, with_nodes

from scheduler import snapshot
from scheduler.config import CoreConfig
from scheduler.events import NodeCordoned
from scheduler.policies import BUILT_IN
from scheduler.testing.harness import placements


def test_a_plan_lists_nodes_in_order_of_placement_and_says_why_the_rest_does_not_fit() -> None:
    h = with_nodes((4, 4), (1, 9), (3, 2), policy="best-fit")
    plan = h.core.plan(spec("w", 2, 2, count=4))
    assert (plan.nodes, plan.unplaced, str(plan.diagnosis)) == (("n2", "n0", "n0"), 1, "0/3 nodes: 3 cpu")
    whole = h.core.plan(spec("w", 2, 2, count=3))
    assert (whole.unplaced, whole.diagnosis) == (0, None)


def test_pools_are_charged_within_a_plan_and_given_back() -> None:
    h = with_nodes((9, 9))
    plan = h.core.plan(spec("w", 1, 1, count=3, payloads={"licences": {"matlab": 1}}))
    assert (plan.nodes, plan.unplaced, str(plan.diagnosis)) == (("n0", "n0"), 1, "0/1 nodes: 1 licences")
    assert h.core.ledger.pool_used == {}


def test_a_request_that_makes_no_sense_is_a_value_error() -> None:
    h = with_nodes((9, 9))
    with pytest.raises(ValueError, match=r"request\.cpu: -1 must be at least 0"):
        h.core.plan(spec("w", -1, 1))


@pytest.mark.parametrize("policy", list(BUILT_IN))
@pytest.mark.parametrize("seed", range(3))
def test_a_plan_changes_nothing_and_comes_true(policy: str, seed: int) -> None:
    draw = random.Random(seed)
    h = harness(policy)
    for number in range(12):
        h.step(node(f"n{number}", draw.randint(2, 9), draw.randint(2, 9), labels={"zone": "ab"[number % 2]}))
    h.step(NodeCordoned(node_id="n3"))
    for number in range(40):
        payloads = draw.choice([None, None, {"labels": {"zone": ["a"]}}, {"licences": {"matlab": 1}}])
        asked = spec(f"w{number}", draw.randint(0, 3), draw.randint(0, 3), count=draw.randint(1, 3), payloads=payloads)
        before, version = snapshot.dump(h.core), h.core.counters.decisions
        plan = h.core.plan(asked)
        assert h.core.plan(asked) == plan
        assert snapshot.difference(before, snapshot.dump(h.core)) == ""
        assert h.core.counters.decisions == version
        placed = placements(h.step(asked))
        assert tuple(placed.values()) == plan.nodes
        assert plan.unplaced == asked.count - len(placed)
        if plan.unplaced:
            waiting = next(w for w in h.core.workloads if w.split("/")[0] == f"w{number}" and w not in placed)
            assert h.core.diagnose(waiting) == plan.diagnosis
        if draw.random() < 0.5:
            gone = draw.choice(list(h.core.workloads))
            _ = h.exited(gone) if h.core.workloads[gone].row >= 0 else h.remove(gone)


def test_a_plan_between_steps_changes_no_later_decision() -> None:
    """Two cores in lockstep, one of them asked for plans all the time."""
    draw = random.Random(9)
    asked, silent = (harness("random") for _ in range(2))
    for number in range(60):
        event = (
            node(f"n{number}", 5, 5)
            if number % 15 == 0
            else spec(f"w{number}", draw.randint(0, 3), draw.randint(0, 3), count=draw.randint(1, 3))
        )
        asked.core.plan(spec("plan", draw.randint(0, 4), draw.randint(0, 4), count=5))
        assert asked.step(event) == silent.step(event)
    assert asked.journal.journal_digest == silent.journal.journal_digest


def test_a_snapshot_that_is_none_is_a_value_error() -> None:
    for data in (b"", b"\x00", snapshot.dump(harness().core)[:-3]):
        with pytest.raises(ValueError, match="snapshot: not a snapshot"):
            snapshot.load(data)


def test_a_snapshot_names_the_first_difference() -> None:
    one, other = with_nodes((1, 1)), with_nodes((1, 2))
    text = snapshot.difference(snapshot.dump(one.core), snapshot.dump(other.core))
    assert text.startswith("nodes: ")
    loaded = snapshot.load(snapshot.dump(one.core), plugins=plugins())
    assert loaded.config == CoreConfig(plugins=PLUGIN_CONFIGS, policy=loaded.config.policy)

"""Strategies: Eru's known answers, slow heaps for any small case, and what must hold where a heap would take years."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.ports import UNLIMITED
from scheduler.strategies import COUNT_MAX, STRATEGIES, Candidates, StrategyError, spread, total_capacity
from scheduler.testing.reference_strategies import Node
from scheduler.testing.reference_strategies import spread as slow_spread

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eru-known-answers.json"
BOUNDED = settings(deadline=None)
KINDS = {
    "InsufficientResource": "insufficient_resource",
    "InsufficientCapacity": "insufficient_capacity",
    "AlreadyFilled": "already_filled",
    "InvalidDeployStrategy": "invalid_strategy",
    "InvalidDeployCount": "invalid_count",
}


def candidates_of(nodes: list[Node]) -> Candidates:
    return Candidates(
        capacity=np.array([node.capacity for node in nodes], dtype=np.int64),
        count=np.array([node.count for node in nodes], dtype=np.int64),
        usage=np.array([node.usage for node in nodes], dtype=np.float64),
        rate=np.array([node.rate for node in nodes], dtype=np.float64),
    )


def plan(strategy: str, need: int, nodes: list[Node], limit: int = 0, most: int = UNLIMITED) -> list[int]:
    return spread(strategy, need, candidates_of(nodes), limit=limit, most=most).tolist()


def plan_or_kind(strategy: str, need: int, nodes: list[Node], limit: int = 0, most: int = UNLIMITED) -> list[int] | str:
    try:
        return plan(strategy, need, nodes, limit, most)
    except StrategyError as error:
        return error.kind


# -- known answers ----------------------------------------------------------------------------------------------------


def known_answers() -> Iterator[Any]:
    if not VECTORS.exists():
        reason = f"the known answers are not beside the repository (shared/vectors/{VECTORS.name})"
        yield pytest.param({}, {}, marks=pytest.mark.skip(reason=reason), id="absent")
        return
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        if vector["area"] == "strategy":
            for number, case in enumerate(vector["cases"]):
                arguments = {**vector["input"], **case["input"]}
                yield pytest.param(arguments, case["expect"], id=f"{vector['id']}-{number}")


@pytest.mark.parametrize(("arguments", "expect"), list(known_answers()))
def test_eru_known_answers(arguments: dict[str, Any], expect: dict[str, Any]) -> None:
    given = arguments["nodes"]
    nodes = [Node(node["capacity"], node["count"], node.get("usage", 0), node.get("rate", 0)) for node in given]
    strategy, need, limit = arguments["strategy"].lower(), arguments["need"], arguments.get("limit", 0)
    if "error" in expect:
        with pytest.raises(StrategyError, match=expect.get("message_contains")) as caught:
            plan(strategy, need, nodes, limit)
        assert caught.value.kind == KINDS[expect["error"]]
        return
    added = plan(strategy, need, nodes, limit)
    if "plan" in expect:
        names = [node["node"] for node in given]
        assert {name: copies for name, copies in zip(names, added, strict=True) if copies} == expect["plan"]
    elif "final_counts_sorted" in expect:
        final = [node.count + copies for node, copies in zip(nodes, added, strict=True)]
        assert sorted(final) == expect["final_counts_sorted"]
    else:
        assert expect == {"ok": True}
        assert sum(added) == need * limit


# -- against the heaps ------------------------------------------------------------------------------------------------

small = st.integers(0, 5)
capacities = st.one_of(small, small, st.integers(0, 40), st.sampled_from([UNLIMITED - 1, UNLIMITED, 2**53 + 1]))
shares = st.one_of(
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5259232954545454, 1.0, 2.2]),
    st.floats(0, 3, allow_subnormal=False),
    st.sampled_from([-0.25, -0.0, 1e-300, 2.0**64]),
)
rates = st.one_of(
    st.sampled_from([0.0, 0.05, 0.1, 0.35, 3.7e-8, 7.12e-05, 1e-17, 5e-324, 2.0**64]),
    st.floats(0, 1, allow_subnormal=False),
)


def node_lists(offset: int = 0) -> st.SearchStrategy[list[Node]]:
    counts = st.one_of(small, small, st.integers(0, 40)).map(lambda count: count + offset)
    unequal = st.lists(st.builds(Node, capacities, counts, shares, rates), max_size=9)
    equal = st.builds(lambda node, size: [node] * size, st.builds(Node, capacities, counts, shares, rates), small)
    return st.one_of(unequal, unequal, equal)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data())
@settings(BOUNDED, max_examples=150)
def test_any_small_case_is_as_from_the_heap(strategy: str, data: st.DataObject) -> None:
    offset = data.draw(st.sampled_from([0, 0, 0, 2**40]))
    nodes = data.draw(node_lists(offset))
    need = data.draw(st.one_of(st.integers(1, 12), st.integers(1, 90)))
    limit = data.draw(st.one_of(st.just(0), st.integers(0, 12)))
    if strategy == "fill":
        need += offset
    elif strategy == "auto" and limit:
        limit += offset
    most = data.draw(st.sampled_from([UNLIMITED, UNLIMITED, 0, 3, 20]))
    assert plan_or_kind(strategy, need, nodes, limit, most) == slow_spread(strategy, need, nodes, limit, most)


def random_node(draw: random.Random) -> Node:
    return Node(
        capacity=draw.choice([0, 1, 2, draw.randrange(6), draw.randrange(40), UNLIMITED - draw.randrange(3)]),
        count=draw.choice([0, draw.randrange(3), draw.randrange(6), draw.randrange(40)]),
        usage=draw.choice([0.0, 0.5, 0.8, draw.randrange(8) / 8, draw.uniform(0, 2)]),
        rate=draw.choice([0.0, 0.1, 0.125, 3.7e-8, 1e-17, draw.uniform(0, 0.5)]),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_thousands_of_small_cases_are_as_from_the_heap(strategy: str) -> None:
    draw = random.Random(strategy)
    plans = 0
    for _ in range(2_000):
        nodes = [random_node(draw) for _ in range(draw.randrange(9))] * draw.choice([1, 1, 1, 2])
        arguments = (
            strategy, draw.choice([1, 2, draw.randrange(1, 7), draw.randrange(1, 70)]), nodes,
            draw.choice([0, draw.randrange(5), draw.randrange(40)]), draw.choice([UNLIMITED, UNLIMITED, 30]),
        )  # fmt: skip
        expected = slow_spread(*arguments)
        assert plan_or_kind(*arguments) == expected, arguments
        plans += isinstance(expected, list)
    assert plans > 200


@given(
    size=st.integers(1, 60), need=st.integers(1, 1_200), limit=st.integers(0, 50), spread_of=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1), quantum=st.sampled_from([0.0, 1 / 64, 0.05]),
)  # fmt: skip
@settings(BOUNDED, max_examples=60)
def test_larger_cases_with_many_ties_are_as_from_the_heap(
    size: int, need: int, limit: int, spread_of: int, seed: int, quantum: float
) -> None:
    draw = np.random.default_rng(seed)
    usage, rate = draw.random(size), draw.random(size) / 20
    if quantum:
        usage, rate = np.round(usage / quantum) * quantum, np.ceil(rate / quantum) * quantum
    columns = (draw.integers(0, spread_of, size), draw.integers(0, spread_of, size), usage, rate)
    nodes = [Node(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
    for strategy in STRATEGIES:
        assert plan_or_kind(strategy, need, nodes, limit) == slow_spread(strategy, need, nodes, limit, UNLIMITED)


# -- where a heap would take years ------------------------------------------------------------------------------------

big = st.one_of(small, st.integers(0, 2**40), st.integers(0, UNLIMITED), st.just(UNLIMITED))
big_nodes = st.lists(
    st.builds(Node, big, st.one_of(small, st.integers(0, 2**40)), shares, rates), min_size=1, max_size=9
)


def keys_in_order(strategy: str, row: int, node: Node, copy: int) -> tuple[float, ...]:
    """What the heap holds when this copy of the node is the next; keys rise with ``copy``, the lowest goes first."""
    if strategy == "auto":
        return (node.count + copy - 1, -(node.capacity - copy + 1), row)
    return (node.usage + copy * node.rate, row, copy)


@pytest.mark.parametrize("strategy", ["auto", "global"])
@given(nodes=big_nodes, data=st.data())
@settings(BOUNDED, max_examples=150)
def test_every_copy_in_a_plan_comes_before_every_copy_that_is_not(
    strategy: str, nodes: list[Node], data: st.DataObject
) -> None:
    limit = data.draw(st.sampled_from([0, 7, 2**39, 2**41])) if strategy == "auto" else 0
    rooms = [min(node.capacity, max(limit - node.count, 0)) if limit else node.capacity for node in nodes]
    available = min(sum(rooms), COUNT_MAX)
    if not available:
        assert plan_or_kind(strategy, 1, nodes, limit) == "insufficient_resource"
        return
    need = data.draw(st.one_of(st.integers(1, available), st.integers(max(available - 3, 1), available)))
    added = plan(strategy, need, nodes, limit)
    assert sum(added) == need
    assert all(0 <= copies <= room for copies, room in zip(added, rooms, strict=True))
    rows = list(enumerate(zip(nodes, added, rooms, strict=True)))
    inside = [keys_in_order(strategy, row, node, copies) for row, (node, copies, _) in rows if copies]
    outside = [keys_in_order(strategy, row, node, copies + 1) for row, (node, copies, room) in rows if copies < room]
    assert max(inside) < min(outside, default=(math.inf,))


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(nodes=big_nodes, need=st.one_of(st.integers(1, 99), st.integers(1, COUNT_MAX)), limit=small, most=big)
@settings(BOUNDED, max_examples=60)
def test_a_plan_never_exceeds_what_there_is(strategy: str, nodes: list[Node], need: int, limit: int, most: int) -> None:
    answer = plan_or_kind(strategy, need, nodes, limit, most)
    assert plan_or_kind(strategy, need, nodes, limit, most) == answer
    if isinstance(answer, str):
        return
    assert all(0 <= copies <= node.capacity for copies, node in zip(answer, nodes, strict=True))
    assert 0 < sum(answer) <= most
    if strategy in ("auto", "global", "drained"):
        assert sum(answer) == need
    elif strategy == "each":
        assert set(answer) - {0} == {need}
    else:
        assert all(copies in (0, need - node.count) for copies, node in zip(answer, nodes, strict=True))


# -- one by one -------------------------------------------------------------------------------------------------------


def test_auto_evens_out_what_is_there_in_the_end() -> None:
    assert plan("auto", 10_239_999, [Node(1024)] * 10_000) == [1024] * 9_999 + [1023]
    assert plan("auto", 6, [Node(9, 4), Node(9, 1), Node(1, 0), Node(0, 0)]) == [1, 4, 1, 0]


def test_auto_gives_what_is_left_over_by_capacity_remaining_then_row() -> None:
    # All reach 3 copies; then the capacities left are 2, 4, 4 and 3.
    assert plan("auto", 5, [Node(3, 2), Node(5, 2), Node(4, 3), Node(4, 2)]) == [1, 2, 1, 1]
    assert plan("auto", 4, [Node(3, 2), Node(5, 2), Node(4, 3), Node(4, 2)]) == [1, 2, 0, 1]


def test_auto_counts_the_copies_that_are_already_there_toward_the_limit() -> None:
    nodes = [Node(9, 2), Node(9, 5), Node(9, 0)]
    assert plan("auto", 4, nodes, limit=3) == [1, 0, 3]
    with pytest.raises(StrategyError, match=r"need: 5, available: 4 .* limit of 3 copies") as caught:
        plan("auto", 5, nodes, limit=3)
    assert caught.value.kind == "insufficient_resource"


def test_global_gives_equal_keys_to_the_lowest_row() -> None:
    assert plan("global", 3, [Node(2, rate=0.0), Node(9, rate=0.0)]) == [2, 1]
    assert plan("global", 5, [Node(9, usage=0.25, rate=0.25), Node(9, usage=0.5, rate=0.25)]) == [3, 2]


def test_global_with_a_rate_far_below_the_usage() -> None:
    nodes = [Node(10**12, usage=0.5, rate=3.7e-8), Node(10**12, usage=0.6, rate=3.7e-8)]
    first, second = plan("global", 10_000_000, nodes)
    assert second == 10_000_000 - first
    assert first - second == pytest.approx(0.1 / 3.7e-8, abs=1)


def test_global_where_single_copies_vanish_in_rounding() -> None:
    # Adding 1e-20 once does not move 0.5, but 2**59 times does: keys are multiplied, not added up. About 10,000 copies
    # have one and the same key, and all of them go to the same node.
    nodes = [Node(UNLIMITED, usage=0.5, rate=1e-20), Node(UNLIMITED, usage=0.50001, rate=1e-20)]
    first, second = plan("global", 2**60, nodes)
    assert first + second == 2**60
    assert first - second == pytest.approx(0.00001 / 1e-20, abs=30_000)
    assert plan("global", 5_000, nodes[:1] * 2) == [5_000, 0]


def test_fill_finds_nothing_to_do_the_second_time() -> None:
    nodes = [Node(3, 0), Node(5, 1), Node(1, 0)]
    assert plan("fill", 3, nodes, limit=2) == [3, 2, 0]
    again = [Node(0, 3), Node(3, 3), Node(1, 0)]
    with pytest.raises(StrategyError, match="each node has enough workloads") as caught:
        plan("fill", 3, again, limit=2)
    assert caught.value.kind == "already_filled"


def test_fill_and_each_disregard_nodes_that_can_take_nothing() -> None:
    nodes = [Node(0, 1), Node(4, 0)]
    assert plan("fill", 2, nodes) == [0, 2]
    assert plan("each", 2, nodes) == [0, 2]
    for strategy in ("fill", "each"):
        with pytest.raises(StrategyError, match=f"need: 2 nodes, available: 1; cannot alloc an? {strategy} node plan"):
            plan(strategy, 2, nodes, limit=2)


def test_fill_fails_where_a_candidate_cannot_be_filled() -> None:
    with pytest.raises(StrategyError, match="need: 2 nodes that can hold 3 copies, available: 1"):
        plan("fill", 3, [Node(1, 0), Node(4, 0)])


def test_each_tells_no_node_from_too_few() -> None:
    nodes = [Node(4), Node(2)]
    assert plan_or_kind("each", 5, nodes) == "insufficient_capacity"
    assert plan_or_kind("each", 3, nodes) == "insufficient_resource"
    assert plan_or_kind("each", 3, nodes, limit=1) == [3, 0]


def test_drained_orders_by_capacity_and_only_then_by_usage() -> None:
    nodes = [Node(3, usage=0.9), Node(2, usage=0.1), Node(2, usage=0.5), Node(2, usage=0.5)]
    assert plan("drained", 3, nodes) == [0, 0, 2, 1]
    assert plan("drained", 8, nodes) == [2, 2, 2, 2]


@pytest.mark.parametrize(("strategy", "need"), [("auto", 6), ("global", 6), ("drained", 6), ("fill", 3), ("each", 3)])
def test_a_limit_on_the_whole_cluster_bounds_the_total(strategy: str, need: int) -> None:
    nodes = [Node(4), Node(4)]
    assert sum(plan(strategy, need, nodes, most=6)) == 6
    with pytest.raises(StrategyError, match="need: 6, available: 5 by a limit on the whole cluster") as caught:
        plan(strategy, need, nodes, most=5)
    assert caught.value.kind == "insufficient_resource"
    assert plan_or_kind(strategy, need, nodes, most=-1) == "insufficient_resource"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_nodes(strategy: str) -> None:
    kind = "insufficient_capacity" if strategy == "each" else "insufficient_resource"
    assert plan_or_kind(strategy, 1, []) == kind
    assert plan_or_kind(strategy, 1, [Node(0)]) == kind


def test_totals_saturate() -> None:
    assert total_capacity(np.array([], dtype=np.int64)) == 0
    assert total_capacity(np.array([3, 0, 4])) == 7
    assert total_capacity(np.array([UNLIMITED - 5, 4])) == UNLIMITED - 1
    assert total_capacity(np.array([UNLIMITED - 5, 6])) == UNLIMITED
    assert total_capacity(np.array([UNLIMITED] * 5)) == UNLIMITED


@pytest.mark.parametrize(
    ("strategy", "need", "limit", "kind", "message"),
    [
        ("dummy", 1, 0, "invalid_strategy", "'dummy' to deploy by; use one of auto, fill, each, global, drained"),
        ("AUTO", 1, 0, "invalid_strategy", "no strategy 'AUTO'"),
        ("auto", 0, 0, "invalid_count", "need: 0 must be from 1"),
        ("auto", COUNT_MAX + 1, 0, "invalid_count", f"need: {COUNT_MAX + 1} must be from 1 to {COUNT_MAX}"),
        ("auto", 1, -1, "invalid_count", "limit: -1 must be from 0"),
        ("auto", 1, COUNT_MAX + 1, "invalid_count", "limit: .* must be from 0"),
        ("auto", 9, 0, "insufficient_resource", "need: 9, available: 5$"),
        ("each", 9, 0, "insufficient_capacity", "need: 9 copies on a node, available: 5 at most"),
    ],
)
def test_what_makes_no_sense_is_refused(strategy: str, need: int, limit: int, kind: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message) as caught:
        plan(strategy, need, [Node(5)], limit)
    assert caught.value.kind == kind


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node(-1), r"capacity\[1\]: -1 must be from 0 to"),
        (Node(1, -1), r"count\[1\]: -1 must be from 0 to"),
        (Node(1, COUNT_MAX + 1), rf"count\[1\]: {COUNT_MAX + 1} must be from 0 to {COUNT_MAX}"),
        (Node(1, 0, math.nan), r"usage\[1\]: nan must be from"),
        (Node(1, 0, -math.inf), r"usage\[1\]: -inf must be from"),
        (Node(1, 0, 0.0, math.nan), r"rate\[1\]: nan must be from"),
        (Node(1, 0, 0.0, math.inf), r"rate\[1\]: inf must be from"),
        (Node(1, 0, 0.0, -0.1), r"rate\[1\]: -0.1 must be from 0 to"),
    ],
)
def test_candidates_that_make_no_sense_are_refused_by_field(strategy: str, node: Node, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(strategy, 1, [Node(9), node])


def test_columns_must_be_of_one_length() -> None:
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match=r"candidates: lengths \[2, 2, 2, 1\] must be equal"):
        spread("auto", 1, Candidates(np.ones(2, np.int64), np.zeros(2, np.int64), two, one))

"""Bounds and optima against instances that can be counted by hand, and against trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eru_sim.bounds import Bound, fewest_nodes, gap_to_optimum, makespan_bound, most_placed, nodes_lower_bound

SMALL = settings(max_examples=60, deadline=None)
AMOUNTS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=6)


def every_assignment(count: int, nodes: int) -> itertools.product[tuple[int, ...]]:
    """Where each of the requests is: a node, or -1."""
    return itertools.product(range(-1, nodes), repeat=count)


def fits(requests: list[tuple[int, int]], nodes: list[tuple[int, int]], where: tuple[int, ...]) -> bool:
    return all(
        sum(request[d] for request, at in zip(requests, where, strict=True) if at == node) <= capacity[d]
        for node, capacity in enumerate(nodes)
        for d in range(2)
    )


# -- how many nodes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "bound"),
    [
        ([], 0),
        ([0, 0], 0),
        ([5, 5], 1),
        ([6, 6, 6], 3),
        ([6, 4, 6, 4], 2),
        ([9, 8, 2, 2], 3),  # with a = 2, 9 has a node alone and nothing beside it, and of 8 + 2 + 2 one is too many
        ([4, 4, 4], 2),
    ],
)
def test_l2_by_hand(sizes: list[int], bound: int) -> None:
    assert nodes_lower_bound(np.array(sizes, dtype=np.int64).reshape(-1, 1), [10]) == bound


def test_three_into_two_do_not_go_though_the_volume_does() -> None:
    # 7 + 7 + 6 are two nodes of 10 by volume.
    found = fewest_nodes([[7, 1], [7, 1], [6, 1]], [10, 10])
    assert found == Bound(3.0, "optimal", "min", 3.0)


def test_where_first_fit_is_not_optimal_the_program_is() -> None:
    # First fit decreasing: 44 17, 24 24 8, 22 21 8 6, 6. Three do: 44 17, 24 22 8 6, 24 21 8 6.
    sizes = [[44], [24], [24], [22], [21], [17], [8], [8], [6], [6]]
    found = fewest_nodes(np.array(sizes), [61])
    assert found.status == "optimal"
    assert found.value == 3


@given(AMOUNTS.filter(lambda requests: any(map(any, requests))))
@SMALL
def test_fewest_nodes_is_what_trying_everything_finds(requests: list[tuple[int, int]]) -> None:
    needed = next(
        count
        for count in itertools.count(1)
        if any(
            -1 not in where and fits(requests, [(10, 10)] * count, where)
            for where in every_assignment(len(requests), count)
        )
    )
    assert fewest_nodes(requests, [10, 10]) == Bound(needed, "optimal", "min", needed)
    assert nodes_lower_bound(requests, [10, 10]) <= needed


def test_requests_of_nothing_need_no_node() -> None:
    assert fewest_nodes([[0, 0]], [10, 10]) == Bound(0, "optimal", "min", 0)
    assert fewest_nodes(np.zeros((0, 2)), [10, 10]).value == 0


def test_a_request_larger_than_a_node_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"requests: \[3, 11\] does not fit on a node of \[10, 10\]"):
        nodes_lower_bound([[3, 11]], [10, 10])


def test_a_time_limit_leaves_a_bound() -> None:
    generator = np.random.default_rng(3)
    requests = generator.integers(2_000, 6_000, (40, 3))
    found = fewest_nodes(requests, [10_000] * 3, time_limit_s=0.001)
    assert found.status == "bound"
    assert nodes_lower_bound(requests, [10_000] * 3) <= found.value < found.best_known


# -- how much is placed ---------------------------------------------------------------------------------------------


@given(AMOUNTS, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=2), st.data())
@SMALL
def test_most_placed_is_what_trying_everything_finds(
    requests: list[tuple[int, int]], nodes: list[tuple[int, int]], data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.integers(0, 5), min_size=len(requests), max_size=len(requests)))
    possible = [where for where in every_assignment(len(requests), len(nodes)) if fits(requests, nodes, where)]
    by_count = max(sum(at >= 0 for at in where) for where in possible)
    by_weight = max(sum(w for w, at in zip(weights, where, strict=True) if at >= 0) for where in possible)
    assert most_placed(requests, nodes) == Bound(by_count, "optimal", "max", by_count)
    assert most_placed(requests, nodes, weights=weights).value == pytest.approx(by_weight)


def test_where_a_request_may_go() -> None:
    nodes, requests = [[10], [10]], [[6], [6], [4]]
    assert most_placed(requests, nodes).value == 3
    assert most_placed(requests, nodes, allowed=[[True, False], [True, False], [True, True]]).value == 2
    assert most_placed(requests, nodes, allowed=np.zeros((3, 2), dtype=bool)).value == 0
    assert most_placed(np.zeros((0, 1)), nodes).value == 0


def test_what_floating_point_cannot_tell_is_a_bound_and_never_wrong() -> None:
    node = 1 << 50
    assert most_placed([[node // 2], [node // 2]], [[node]]) == Bound(2, "optimal", "max", 2)
    close = most_placed([[node // 2], [node // 2 + 1]], [[node]])
    assert (close.value, close.status) == (2, "bound")
    assert not close.best_known > 1


# -- how long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("durations", "sizes", "nodes", "submitted", "bound"),
    [
        ([], [], [[10]], None, 0),
        ([7], [1], [[10]], None, 7),
        ([10, 10, 10], [5, 5, 5], [[10]], None, 15),  # 150 units of work on 10
        ([10, 10, 10], [6, 6, 6], [[10]], None, 30),  # no two at once
        ([10, 10, 10], [6, 6, 6], [[10], [10], [10]], None, 10),
        ([10, 10], [10, 10], [[10]], [0, 4], 20),
        ([1, 10, 10], [1, 10, 10], [[10]], [0, 100, 104], 120),  # what comes late counts from then on
        ([1], [1], [[10]], [50], 1),
        ([1], [11], [[10]], None, math.inf),
    ],
)
def test_makespan_by_hand(
    durations: list[float], sizes: list[int], nodes: list[list[int]], submitted: list[float] | None, bound: float
) -> None:
    requests = np.array(sizes, dtype=np.int64).reshape(-1, 1)
    assert makespan_bound(durations, requests, nodes, submitted_s=submitted).value == pytest.approx(bound)


def test_large_in_different_dimensions_may_meet() -> None:
    assert makespan_bound([10, 10], [[6, 1], [1, 6]], [[10, 10]]).value == 10


# -- the gap --------------------------------------------------------------------------------------------------------


def test_gaps() -> None:
    nodes, placed = Bound(4, "optimal", "min", 4), Bound(20, "bound", "max", 18)
    assert gap_to_optimum(5, nodes) == 0.25
    assert gap_to_optimum(4, nodes) == 0
    assert gap_to_optimum(18, placed) == pytest.approx(0.1)
    assert gap_to_optimum(1, Bound(0, "optimal", "min", 0)) == math.inf
    with pytest.raises(ValueError, match="better than the optimal 4"):
        gap_to_optimum(3, nodes)
    with pytest.raises(ValueError, match="better than the bound 20"):
        gap_to_optimum(21, placed)

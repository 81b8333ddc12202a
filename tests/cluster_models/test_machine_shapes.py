"""Tables of machine shapes and their apportioning."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.shapes import SHAPE_NOTES, SHAPES, apportion, published_nodes, scale_normalised

PUBLISHED = {
    "google2011": 12_477,
    "google2019-a": 10_002,
    "google2019-b": 10_047,
    "google2019-c": 13_245,
    "google2019-d": 12_578,
    "alibaba2017": 1_300,
    "alibaba2018": 4_034,
    "openb": 1_523,
    "openb-gpu": 1_213,
    "pai2020": 1_897,
    "spot2026": 4_278,
}


@pytest.mark.parametrize(("name", "nodes"), PUBLISHED.items())
def test_weights_add_up_to_the_published_size(name: str, nodes: int) -> None:
    assert published_nodes(name) == nodes
    assert [count for _, count in apportion(name, nodes)] == [shape.weight for shape in SHAPES[name]]


@pytest.mark.parametrize(
    ("name", "gpus"), [("openb", 6_212), ("openb-gpu", 6_212), ("pai2020", 6_742), ("spot2026", 10_412)]
)
def test_gpus_add_up_to_the_published_number(name: str, gpus: int) -> None:
    assert sum(shape.weight * shape.capacity.get("gpu_milli", 0) for shape in SHAPES[name]) == gpus * 1000


def test_openb_gpu_nodes_have_the_published_cores() -> None:
    assert sum(shape.weight * shape.capacity["cpu_millicores"] for shape in SHAPES["openb-gpu"]) == 107_018_000


def test_google_2011_capacity_is_the_recorded_one() -> None:
    totals: Counter[str] = Counter()
    for shape in SHAPES["google2011"]:
        totals.update({column: amount * shape.weight for column, amount in shape.capacity.items()})
    assert totals["cpu_millicores"] == 66_032_500_000  # 6,603.25 of the largest machine
    assert round(totals["memory_bytes"] / 10**12, 1) == 5_862.8


@pytest.mark.parametrize("name", SHAPES)
def test_a_set_is_well_formed(name: str) -> None:
    shapes = SHAPES[name]
    assert len({shape.name for shape in shapes}) == len(shapes)
    assert [shape.weight for shape in shapes] == sorted((shape.weight for shape in shapes), reverse=True)
    assert all(amount > 0 for shape in shapes for amount in shape.capacity.values())
    assert all(shape.capacity.keys() >= {"cpu_millicores", "memory_bytes"} for shape in shapes)
    assert SHAPE_NOTES[name]


@given(st.sampled_from(list(SHAPES)), st.integers(0, 200_000))
def test_apportioned_counts_are_exact_and_within_one_of_the_quota(name: str, nodes: int) -> None:
    counts = apportion(name, nodes)
    total = published_nodes(name)
    assert sum(count for _, count in counts) == nodes
    assert all(abs(count * total - nodes * shape.weight) < total for shape, count in counts)
    assert counts == apportion(name, nodes)


def test_ties_go_to_the_shape_listed_first() -> None:
    assert [count for _, count in apportion("azure", 1)] == [1, 0, 0, 0]
    assert [count for _, count in apportion("openb", 0)] == [0] * len(SHAPES["openb"])


@pytest.mark.parametrize(
    ("value", "one", "expected"),
    [("0.4995", 10_000_000, 4_995_000), ("0.25", 10, 2), ("0.35", 10, 4), ("0.15", 10, 2), ("1e-3", 1000, 1)],
)
def test_normalised_values_are_decimal_and_round_half_to_even(value: str, one: int, expected: int) -> None:
    assert scale_normalised(value, one) == expected


def test_errors_name_the_remedy() -> None:
    with pytest.raises(
        ValueError, match=r"^unknown machine shapes 'google2019a': did you mean 'google2019-a'\? known .*$"
    ):
        apportion("google2019a", 3)
    with pytest.raises(ValueError, match=r"^machine shapes 'openb': the node count is -1; give 0 or more$"):
        apportion("openb", -1)

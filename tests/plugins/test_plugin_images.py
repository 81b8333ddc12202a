"""Image locality: a preference by share, which rules out nothing."""

from __future__ import annotations

from typing import Any

import pytest
from facts_kit import Row, RowFacts, columns
from hypothesis import given
from hypothesis import strategies as st

from scheduler.plugins.images import ImagesPlugin

NAMES = st.sampled_from(["web:1", "web:2", "db:1", "cache:1"])


@given(
    held=st.lists(st.dictionaries(NAMES, st.integers(0, 9)), min_size=1, max_size=5),
    asked=st.dictionaries(NAMES, st.integers(0, 9)),
    data=st.data(),
)
def test_the_score_is_the_share_of_what_is_there(
    held: list[dict[str, int]], asked: dict[str, int], data: st.DataObject
) -> None:
    plugin, facts = ImagesPlugin(), RowFacts([Row(images=images) for images in held])
    request = plugin.parse({"images": asked})
    rows = data.draw(st.permutations(range(len(held))))
    assert plugin.capacity(request, columns(facts), facts) is None
    scores = plugin.score(request, columns(facts, rows), facts)
    if not asked:
        assert scores is None
        return
    assert scores is not None
    for row, score in zip(rows, scores.tolist(), strict=True):
        sizes = [(asked[image], image in held[row]) for image in asked]
        if min(asked.values()) == 0:
            sizes = [(1, is_there) for _, is_there in sizes]
        assert score == sum(size for size, is_there in sizes if is_there) / sum(size for size, _ in sizes)


def test_a_payload_has_one_canonical_form() -> None:
    plugin = ImagesPlugin()
    parsed = plugin.parse({"images": ["web:1", "db:1", "web:1"]})
    assert parsed == {"images": {"db:1": 0, "web:1": 0}} == plugin.parse(parsed)
    assert list(parsed["images"]) == ["db:1", "web:1"]
    assert plugin.coupling_of(parsed) == "none"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (["web:1"], "images: .* must be a mapping"),
        ({"image": ["web:1"]}, "images.image: no such field"),
        ({}, "images.images: it is missing in {}"),
        ({"images": {"web:1": 1, 2: 2}}, "images.images: 2 must be a text"),
        ({"images": ["web:1", 2]}, "images.images: 2 must be a text"),
        ({"images": "web:1"}, "images.images: 'web:1' must be a list"),
        ({"images": [7]}, "images.images: 7 must be a text"),
        ({"images": [""]}, "images.images: '' must be a text"),
        ({"images": {"web:1": -1}}, "images.images.web:1: -1 must be at least 0"),
        ({"images": {"web:1": 1.5}}, "images.images.web:1: 1.5 must be a whole number"),
    ],
)
def test_bad_payloads_name_field_value_and_remedy(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImagesPlugin().parse(payload)

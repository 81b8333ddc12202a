"""Invariants find what is wrong with caches, and leave these as they were."""

from __future__ import annotations

import numpy as np
import pytest
from core_kit import spec, with_nodes

from scheduler.invariants import InvariantError, check
from scheduler.request_classes import RequestClass
from scheduler.testing import Harness


def cached(policy: str) -> tuple[Harness, RequestClass]:
    """A class with a score column and capacities, both of before the last placement."""
    h = with_nodes((8, 8), (8, 8), (8, 8), policy=policy)
    for name in ("a", "b", "c"):
        h.submit(name, 2, 2)
    h.core.capacity(spec("x", 2, 2))
    h.submit("other", 1, 1)
    known = h.core.planner.classes.by_id[h.core.workloads["a"].class_id]
    assert known.column is not None
    assert known.capacity is not None
    assert known.column.seen < h.core.ledger.version > known.capacity_seen
    return h, known


@pytest.mark.parametrize("policy", ["best-fit", "least-allocated"])
def test_what_is_cached_is_compared_and_left_out_of_date(policy: str) -> None:
    h, known = cached(policy)
    assert known.column is not None
    before = known.column.scores.copy(), known.column.seen, known.capacity_seen
    check(h.core)
    assert np.array_equal(known.column.scores, before[0])
    assert (known.column.seen, known.capacity_seen) == before[1:]


@pytest.mark.parametrize("policy", ["best-fit", "least-allocated"])
@pytest.mark.parametrize("what", ["the cache chooses", "capacities are"])
def test_a_cache_that_missed_a_change_is_found(policy: str, what: str) -> None:
    h, known = cached(policy)
    assert known.column is not None
    h.submit("large", 6, 6)
    if what == "capacities are":
        known.capacity_seen = h.core.ledger.version
    else:
        known.column.scores[:3] = known.column.scores[:3][::-1] + np.arange(3)
        known.column.block_best[:] = 2
        known.column.seen = h.core.ledger.version
    with pytest.raises(InvariantError, match=what):
        check(h.core)

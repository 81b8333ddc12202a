"""The compiled kernels against their twins in plain NumPy, on random and on awkward inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import kernels
from scheduler.request_classes import NOTHING_ASKED, need_of
from scheduler.testing import reference_kernels

BLOCK = kernels.BLOCK
ROWS = [0, 1, 2, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 300]
BOUNDED = settings(derandomize=True, deadline=None, max_examples=150)


def test_every_kernel_is_compared_with_a_reference() -> None:
    kernels.load()
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")]
    compared = "".join(text for text in tests if "reference_kernels" in text)
    names = [name for name, kernel in vars(kernels).items() if hasattr(kernel, "py_func") and name[0] != "_"]
    assert len(names) >= 13
    assert not [name for name in names if f"kernels.{name}(" not in compared]


class Case(NamedTuple):
    free: Any
    need: Any
    weights: Any
    mask: Any
    rows: int


@st.composite
def cases(draw: Any) -> Case:
    """Few different amounts, so that ties abound; negative free amounts, zero requests, masks from none to all."""
    rows = draw(st.sampled_from(ROWS))
    dimensions = draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 4, 100, 1 << 40]))
    free = generator.integers(-spread // 2, spread, size=(dimensions, rows + draw(st.integers(0, 5))))
    request = tuple(int(amount) for amount in generator.integers(0, max(2, spread // 2), size=dimensions))
    request = tuple(0 if generator.random() < 0.3 else amount for amount in request)
    weights = generator.choice([-1.0, 0.0, 1.0, 1 / 3, -0.1], size=dimensions)
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    mask = (generator.random(free.shape[1]) < share).astype(np.uint8)
    free = np.ascontiguousarray(free, dtype=np.int64)
    return Case(free, need_of(request), weights, mask, rows)


def expected_scores(case: Case) -> Any:
    free = case.free[:, : case.rows]
    return reference_kernels.scores(free, case.need, case.weights, case.mask[: case.rows])


def filled(case: Case) -> tuple[Any, Any]:
    """A score column of the case, with garbage in it to begin with."""
    scores = np.full(case.free.shape[1], 1e300)
    block_best = np.full(-(-max(case.free.shape[1], 1) // BLOCK), 77, dtype=np.int64)
    kernels.fill_scores(scores, block_best, *case[:4], case.rows)
    return scores, block_best


@given(cases())
@BOUNDED
def test_the_fused_scan_finds_the_best_row(case: Case) -> None:
    assert kernels.best_row(*case) == reference_kernels.best(expected_scores(case))


@given(cases())
@BOUNDED
def test_a_filled_column_has_every_score_and_the_best_row_of_every_block(case: Case) -> None:
    scores, block_best = filled(case)
    expected = expected_scores(case)
    assert np.array_equal(scores[: case.rows], expected)
    assert np.all(scores[case.rows :] == 1e300)
    assert kernels.best_of_blocks(scores, block_best, case.rows) == reference_kernels.best(expected)


@given(cases(), st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 5000))
@BOUNDED
def test_refreshing_changed_rows_is_filling_anew(case: Case, seed: int, changes: int, seen: int) -> None:
    scores, block_best = filled(case)
    generator = np.random.default_rng(seed)
    log = np.full(64, -1, dtype=np.int64)
    if not case.rows:
        changes = 0
    for version in range(seen, seen + changes):
        row = int(generator.integers(case.rows))
        case.free[:, row] += generator.integers(-3, 4, size=len(case.free))
        case.mask[row] = generator.random() < 0.8
        log[version % 64] = row
    best = kernels.refresh_scores(scores, block_best, *case, log, seen, seen + changes)
    expected = expected_scores(case)
    assert best == reference_kernels.best(expected)
    assert np.array_equal(scores[: case.rows], expected)


@given(cases(), st.integers(0, 2**32 - 1), st.integers(0, 40))
@BOUNDED
def test_the_order_of_rows_leads_to_the_best_row(case: Case, seed: int, changes: int) -> None:
    """As it was made, with rows that changed since, and when these are back in their places."""
    dimensions, capacity = case.free.shape
    rows = np.arange(capacity)
    parts = (
        np.zeros(capacity, dtype=np.int64), np.zeros(capacity), np.zeros_like(case.free),
        np.zeros((-(-capacity // kernels.ORDER_BLOCK), dimensions), dtype=np.int64),
        rows.copy(), (rows < case.rows).astype(np.uint8), np.array([0, case.rows]),
    )  # fmt: skip
    bound = kernels.reorder_rows(*parts, case.free, case.weights)
    generator = np.random.default_rng(seed)
    log = generator.integers(case.rows, size=64) if case.rows else np.zeros(64, dtype=np.int64)
    changes = changes if case.rows else 0

    def best(seen: int, version: int) -> int:
        return kernels.best_in_order(
            *parts, bound, case.free, case.need, case.weights, case.mask, log, seen, version, case.rows
        )

    assert best(0, 0) == reference_kernels.best(expected_scores(case))
    for row in log[:changes]:
        case.free[:, row] += generator.integers(-3, 4, size=dimensions)
        case.mask[row] = generator.random() < 0.8
    expected = reference_kernels.best(expected_scores(case))
    assert best(0, changes) == expected
    bound = kernels.reorder_rows(*parts, case.free, case.weights)
    assert best(changes, changes) == expected
    values = (case.weights[:, None] * case.free[:, : case.rows]).sum(axis=0)
    assert np.all(np.diff(values[parts[0][: case.rows]]) <= 1e-9 * max(bound, 1))


@given(cases(), st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 0.5, 1 - 2**-53])))
@BOUNDED
def test_the_nth_fitting_row(case: Case, draw: float) -> None:
    scratch = np.full(case.free.shape[1], 9, dtype=np.uint8)
    found = kernels.nth_fitting_row(case.free, case.need, case.mask, case.rows, scratch, draw)
    free, mask = case.free[:, : case.rows], case.mask[: case.rows]
    assert found == reference_kernels.nth_fitting_row(free, case.need, mask, draw)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 20), st.integers(1, 3))
@BOUNDED
def test_the_first_class_that_fits_and_pointers_that_only_move_forward(
    seed: int, count: int, rows: int, dimensions: int
) -> None:
    generator = np.random.default_rng(seed)
    free = np.ascontiguousarray(generator.integers(-2, 8, size=(dimensions, 30)))
    chosen = np.sort(generator.choice(30, size=rows, replace=False))
    needs = generator.integers(1, 8, size=(count + 2, dimensions))
    needs[generator.random(needs.shape) < 0.2] = NOTHING_ASKED
    heads = np.stack([generator.integers(-2, 1, size=count + 2), generator.permutation(count + 2)], axis=1)
    pointers = np.zeros(count + 2, dtype=np.int64)
    heads, needs = np.ascontiguousarray(heads), np.ascontiguousarray(needs)
    for _ in range(5):
        slot = kernels.first_class_that_fits(needs, heads, pointers, count, free, chosen)
        assert slot == reference_kernels.first_class_that_fits(needs[:count], heads[:count], free, chosen)
        for number in range(count):
            skipped = chosen[: pointers[number]]
            assert not (free[:, skipped] >= needs[number][:, None]).all(axis=0).any()
        if slot < 0 or not rows:
            return
        free[:, chosen[generator.integers(rows)]] -= 2  # a pass only takes


@pytest.mark.parametrize("rows", ROWS[1:])
def test_exact_ties_go_to_the_lowest_row(rows: int) -> None:
    free = np.full((2, rows), 5, dtype=np.int64)
    case = Case(free, need_of((1, 1)), np.array([-0.3, 0.7]), np.ones(rows, dtype=np.uint8), rows)
    for lowest in sorted({0, rows // 2, rows - 1}):
        case.mask[:lowest] = 0
        assert kernels.best_row(*case) == lowest
        assert kernels.best_of_blocks(*filled(case), rows) == lowest
        case.mask[:] = 1


def test_what_is_not_asked_never_stands_in_the_way() -> None:
    assert need_of((0, 3)).tolist() == [NOTHING_ASKED, 3]
    free = np.array([[-(1 << 62)], [3]], dtype=np.int64)
    case = Case(free, need_of((0, 3)), np.zeros(2), np.ones(1, dtype=np.uint8), 1)
    assert kernels.best_row(*case) == 0


# -- profiles -----------------------------------------------------------------------------------------------------

NEVER_NS = 1 << 62
PROFILES = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-2, 9), st.integers(0, 9)), min_size=1, max_size=7),
    min_size=1,
    max_size=6,
)


def profile_of(rows: list[list[tuple[int, int, int]]]) -> tuple[Any, Any, Any]:
    """Times, lengths and what is free of rows, each given as (time, free, free)."""
    width = max(map(len, rows)) + 2
    times, free = np.full((len(rows), width), 99, dtype=np.int64), np.full((len(rows), width, 2), 99, dtype=np.int64)
    for row, spans in enumerate(rows):
        for place, (at, cpu, memory) in enumerate(sorted(spans, key=lambda span: span[0])):
            times[row, place], free[row, place] = at, (cpu, memory)
    return times, np.array([len(spans) for spans in rows], dtype=np.int64), free


@given(
    PROFILES, st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(0, 30), st.integers(0, 25), st.integers(0)
)
@settings(deadline=None, max_examples=300)
def test_starts_in_profiles(
    rows: list[list[tuple[int, int, int]]], request: tuple[int, int], now: int, run: int, known: int
) -> None:
    times, lengths, free = profile_of(rows)
    need = need_of(request)
    everything = np.arange(len(rows))
    is_known = np.array([known >> row & 1 for row in range(len(rows))], dtype=np.uint8)
    starts = [
        reference_kernels.earliest_start(times[row, :size], free[row, :size], need, now, run)
        for row, size in enumerate(lengths.tolist())
    ]
    of_known = [start if is_known[row] else NEVER_NS for row, start in enumerate(starts)]
    best = min(of_known)
    expected = (best, of_known.index(best) if best < NEVER_NS else -1)
    for floor in {0, best, max(0, best - 1)} - {NEVER_NS}:
        assert kernels.first_start(everything, need, is_known, times, lengths, free, now, run, floor) == expected
    free_now = np.ascontiguousarray(free[:, 0, :].T)
    found = np.empty(len(rows), dtype=np.int64)
    count = kernels.rows_that_start(everything, free_now, need, is_known, times, lengths, free, now, run, found)
    fits = (free_now >= need[:, None]).all(axis=0)
    assert found[:count].tolist() == [
        row for row in range(len(rows)) if fits[row] and (not is_known[row] or starts[row] == now)
    ]


@given(
    PROFILES, st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 9), st.integers(0, 30), st.integers(1, 25)
)
@settings(deadline=None, max_examples=200)
def test_copies_in_profiles(
    rows: list[list[tuple[int, int, int]]], request: tuple[int, int], now: int, later: int, run: int
) -> None:
    times, lengths, free = profile_of(rows)
    copies, need, left, expected = np.empty(len(rows), dtype=np.int64), need_of(request), 12, []
    for row, size in enumerate(lengths.tolist()):
        if left:
            profile = times[row, :size], free[row, :size]
            expected.append(reference_kernels.copies_that_fit(*profile, need, now, now + later, run, left))
            left -= expected[-1]
    asked = np.arange(len(rows)), need, times, lengths, free, now, now + later, run, 12, copies
    assert kernels.copies_from(*asked) == (len(expected), left)
    assert copies[: len(expected)].tolist() == expected


@given(PROFILES, st.integers(0, 50), st.integers(0, 30), st.integers(-3, 3))
@settings(deadline=None, max_examples=200)
def test_taking_out_of_a_profile(rows: list[list[tuple[int, int, int]]], start: int, run: int, amount: int) -> None:
    times, lengths, free = profile_of([rows[0]])
    first = int(times[0, 0])
    start, size = max(start, first), int(lengths[0])

    def free_at(at: int, count: int) -> int:
        return int(free[0, np.searchsorted(times[0, :count], at, side="right") - 1, 0])

    before = [free_at(at, size) for at in range(first, 90)]
    taken = np.array([amount, 0], dtype=np.int64)
    count = kernels.take_from_profile(times[0], free[0], size, start, start + run, taken)
    after = [free_at(at, count) for at in range(first, 90)]
    expected = [left - amount * (start <= at < start + run) for at, left in enumerate(before, start=first)]
    assert after == expected

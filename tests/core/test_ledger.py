"""The ledger: conservation, savepoints, growth, and sums over live nodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cluster import Cluster
from scheduler.ledger import Claim, Ledger, OvercommitError

ROWS = 3
AMOUNTS = st.tuples(st.integers(0, 5), st.integers(0, 5))


def ledger(*totals: tuple[int, int]) -> Ledger:
    made = Ledger(2, Cluster().marks)
    for total in totals:
        made.add_row(total)
    return made


def charge(of: Ledger, pools: dict[str, int]) -> None:
    of.hold(0, Claim((0, 0), pools))


def refund(of: Ledger, pools: dict[str, int]) -> None:
    of.drop(0, Claim((0, 0), pools))


def columns(of: Ledger) -> list[list[int]]:
    return [*of.free[:, : of.row_count].tolist(), *of.total[:, : of.row_count].tolist()]


def test_reserve_and_release_are_each_others_inverse() -> None:
    made = ledger((10, 20), (5, 5))
    made.reserve(0, (3, 4))
    assert (made.used(0), made.live_used, made.live_total) == ((3, 4), [3, 4], [15, 25])
    assert made.fits(0, (7, 16))
    assert not made.fits(0, (8, 0))
    made.release(0, (3, 4))
    assert (made.used(0), made.live_used) == ((0, 0), [0, 0])
    assert 0 in made.freed_rows


def test_what_does_not_fit_is_refused_and_nothing_changes() -> None:
    made = ledger((10, 20))
    made.reserve(0, (3, 4))
    version = made.version
    with pytest.raises(OvercommitError, match="row 0 has 16 free of which 17 are asked"):
        made.reserve(0, (7, 17))
    assert (made.used(0), made.live_used, made.version) == ((3, 4), [3, 4], version)


def test_work_that_is_there_already_may_overcommit_and_then_blocks_only_what_it_lacks() -> None:
    made = ledger((10, 20))
    made.reserve(0, (12, 1), as_found=True)
    assert made.free[:, 0].tolist() == [-2, 19]
    assert made.fits(0, (0, 5))
    made.reserve(0, (0, 5))
    assert not made.fits(0, (1, 0))


def test_growth_keeps_columns_and_the_change_log() -> None:
    made = Ledger(2, Cluster().marks)
    for row in range(5000):
        assert made.add_row((row, 2 * row)) == row
        if row % 7 == 0:
            made.reserve(row, (row // 2, row))
    assert made.row_count == 5000
    used = [row // 2 if row % 7 == 0 else 0 for row in range(5000)]
    assert made.total[0, :5000].tolist() == list(range(5000))
    assert (made.total[0, :5000] - made.free[0, :5000]).tolist() == used
    assert made.live_used[0] == sum(used)
    size = len(made.change_log)
    last = [int(made.change_log[version % size]) for version in range(made.version - 100, made.version)]
    assert last == [row for row in range(5000) for _ in range(1 + (row % 7 == 0))][-100:]


def test_live_sums_leave_out_lost_rows_and_take_them_in_again() -> None:
    made = ledger((10, 20), (5, 5))
    made.reserve(0, (3, 4))
    made.reserve(1, (1, 1))
    made.set_live(0, False)
    assert (made.live_used, made.live_total) == ([1, 1], [5, 5])
    made.release(0, (3, 0))
    made.set_total(0, (8, 20))
    made.set_live(0, False)
    assert (made.live_used, made.live_total) == ([1, 1], [5, 5])
    made.set_live(0, True)
    assert (made.live_used, made.live_total) == ([1, 5], [13, 25])


def test_a_smaller_capacity_frees_nothing_and_a_larger_one_does() -> None:
    made = ledger((10, 20))
    made.freed_rows.clear()
    made.reserve(0, (10, 20))
    made.set_total(0, (8, 20))
    assert (made.free[:, 0].tolist(), dict(made.freed_rows)) == ([-2, 0], {})
    made.set_total(0, (8, 21))
    assert list(made.freed_rows) == [0]


def test_pools_are_charged_refunded_and_forgotten_at_zero() -> None:
    made = ledger((1, 1))
    made.pool_total["licences/matlab"] = 3
    charge(made, {"licences/matlab": 2, "counted": 1})
    assert (made.pool_free("licences/matlab"), made.pool_free("counted")) == (1, None)
    assert not made.freed_pools
    refund(made, {"licences/matlab": 2})
    assert made.pool_used == {"counted": 1}
    assert made.freed_pools


def test_savepoints_do_not_nest() -> None:
    made = ledger((1, 1))
    with made.savepoint():
        pass
    with made.savepoint(), pytest.raises(RuntimeError, match="open already"), made.savepoint():
        pass


def too_much(made: Ledger) -> None:
    with made.savepoint():
        made.reserve(0, (3, 3))
        made.reserve(0, (3, 3))


def test_a_savepoint_is_undone_when_its_body_raises() -> None:
    made = ledger((5, 5))
    with pytest.raises(OvercommitError):
        too_much(made)
    assert made.used(0) == (0, 0)
    made.reserve(0, (5, 5))
    assert made.used(0) == (5, 5)


@given(
    before=st.lists(st.tuples(st.integers(0, ROWS - 1), AMOUNTS), max_size=5),
    inside=st.lists(
        st.tuples(st.sampled_from(["reserve", "release", "charge", "refund"]), st.integers(0, ROWS - 1), AMOUNTS),
        max_size=12,
    ),
)
def test_a_savepoint_restores_every_column_pool_and_note(
    before: list[tuple[int, tuple[int, int]]], inside: list[tuple[str, int, tuple[int, int]]]
) -> None:
    made = ledger(*[(20, 20)] * ROWS)
    made.pool_total["p"] = 100
    charge(made, {"p": 50})
    for row, amounts in before:
        made.reserve(row, amounts, as_found=True)
    made.set_live(2, False)
    made.freed_rows.clear()
    made.freed_rows[1] = None
    state = (columns(made), list(made.live_used), list(made.live_total), dict(made.pool_used), dict(made.freed_rows))
    with made.savepoint():
        for what, row, amounts in inside:
            if what == "reserve":
                made.reserve(row, amounts, as_found=True)
            elif what == "release":
                made.release(row, amounts)
            elif what == "charge":
                charge(made, {"p": amounts[0] + 1, "q": 1})
            elif made.pool_used.get("p", 0) >= amounts[0] + 1:
                refund(made, {"p": amounts[0] + 1})
    after = (columns(made), list(made.live_used), list(made.live_total), dict(made.pool_used), dict(made.freed_rows))
    assert after == state
    assert not made.freed_pools


def test_the_change_log_names_every_touched_row() -> None:
    made = ledger(*[(9, 9)] * 4)
    seen = made.version
    with made.savepoint():
        made.reserve(1, (1, 1))
        made.reserve(3, (1, 1))
    made.set_total(2, (8, 9))
    size = len(made.change_log)
    touched = {int(made.change_log[version % size]) for version in range(seen, made.version)}
    assert touched == {1, 2, 3}
    assert np.array_equal(made.free[:, :4], [[9, 9, 8, 9], [9, 9, 9, 9]])

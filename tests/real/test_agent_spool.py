"""Spools: nothing is lost but what is counted, nothing changes its place, and a disk's is found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.real.agent.logs.spool import DiskSpool, MemorySpool, Spool

Make = Callable[[int], Spool]


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[Spool] = []

    def of(limit_bytes: int) -> Spool:
        is_memory = request.param == "memory"
        made.append(MemorySpool(limit_bytes) if is_memory else DiskSpool(tmp_path / str(len(made)), limit_bytes))
        return made[-1]

    yield of
    for spool in made:
        spool.close()


def all_of(spool: Spool) -> list[bytes]:
    found = []
    while records := spool.take(64):
        found += records
        spool.done(len(records))
    return found


def test_what_is_put_comes_out_in_order(make: Make) -> None:
    spool = make(10_000)
    records = [b"record %d" % number for number in range(100)]
    assert sum(map(spool.put, records)) == 0
    assert all_of(spool) == records
    assert (spool.take(10), spool.size_bytes) == ([], 0)


def test_what_was_not_done_comes_again(make: Make) -> None:
    spool = make(10_000)
    for number in range(6):
        spool.put(b"%d" % number)
    assert spool.take(1_000) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    spool.done(2)
    spool.put(b"6")
    assert all_of(spool) == [b"2", b"3", b"4", b"5", b"6"]


def test_a_record_larger_than_a_batch_comes_alone(make: Make) -> None:
    spool = make(10_000)
    spool.put(b"x" * 500)
    spool.put(b"y")
    assert spool.take(10) == [b"x" * 500]


def test_full_it_gives_up_the_oldest_and_says_how_many(make: Make) -> None:
    spool = make(800)
    lost = sum(spool.put(b"%09d" % number) for number in range(1_000))
    kept = all_of(spool)
    assert len(kept) + lost == 1_000
    assert kept == [b"%09d" % number for number in range(lost, 1_000)]
    assert 700 <= sum(len(record) + 1 for record in kept) <= 900


def test_what_is_being_sent_is_not_given_up(make: Make) -> None:
    spool = make(800)
    for number in range(70):
        spool.put(b"%09d" % number)
    sending = spool.take(50)
    lost = sum(spool.put(b"%09d" % number) for number in range(70, 1_000))
    spool.done(0)
    kept = all_of(spool)
    assert kept[: len(sending)] == sending
    assert kept == sorted(kept)
    assert len(kept) + lost == 1_000


def test_a_record_that_never_fits_is_lost_at_once(make: Make) -> None:
    spool = make(800)
    spool.put(b"before")
    assert spool.put(b"x" * 1_000) == 1
    assert all_of(spool) == [b"before"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 40)),
        st.tuples(st.just("take"), st.integers(1, 100)),
        st.tuples(st.just("done"), st.integers(0, 10)),
        st.tuples(st.just("again"), st.just(0)),
    ),
    max_size=150,
)


@pytest.mark.parametrize("kind", ["memory", "disk"])
@given(steps=STEPS)
def test_every_record_is_sent_once_in_order_or_counted_as_lost(
    kind: str, steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    make = (lambda: MemorySpool(600)) if kind == "memory" else (lambda: DiskSpool(directory, 600))
    spool: Spool = make()
    sent: list[bytes] = []
    taken: list[bytes] = []
    put = lost = 0
    for what, amount in steps:
        if what == "put":
            lost += spool.put(b"%06d%s" % (put, b"x" * amount))
            put += 1
        elif what == "take" and not taken:
            taken = spool.take(amount)
        elif what == "done":
            count = min(amount, len(taken))
            spool.done(count)
            sent += taken[:count]
            taken = []
        elif what == "again" and kind == "disk":
            spool.close()
            spool, taken = make(), []
    spool.done(0)
    sent += all_of(spool)
    assert sent == sorted(set(sent))
    assert len(sent) + lost == put
    assert spool.size_bytes == 0
    spool.close()


def test_a_later_spool_goes_on_where_the_former_was(tmp_path: Path) -> None:
    first = DiskSpool(tmp_path, 8_000)
    for number in range(500):
        first.put(b"%05d" % number)
    records = first.take(100)
    first.done(7)
    # Not closed: the process was killed.
    second = DiskSpool(tmp_path, 8_000)
    second.put(b"00500")
    assert records[:7] == [b"%05d" % number for number in range(7)]
    assert all_of(second) == [b"%05d" % number for number in range(7, 501)]
    first.close()
    second.close()


def test_what_was_sent_is_removed_from_the_disk(tmp_path: Path) -> None:
    spool = DiskSpool(tmp_path, 8_000)
    for number in range(2_000):
        spool.put(b"%05d" % number)
        if number % 10 == 9:
            all_of(spool)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2_100
    spool.close()


def test_a_line_that_a_failure_of_the_machine_cut_is_left_out(tmp_path: Path) -> None:
    spool = DiskSpool(tmp_path, 8_000)
    spool.put(b"whole")
    spool.put(b"cut in the middle")
    spool.close()
    (file,) = tmp_path.glob("*.lines")
    os.truncate(file, 10)
    again = DiskSpool(tmp_path, 8_000)
    again.put(b"next")
    assert all_of(again) == [b"whole", b"next"]
    again.close()


def test_files_that_are_not_of_the_spool_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "position").write_text("nonsense")
    spool = DiskSpool(tmp_path, 8_000)
    spool.put(b"a")
    assert all_of(spool) == [b"a"]
    spool.close()

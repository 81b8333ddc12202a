"""The lease table against a plain dictionary, and what it says at its edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.real.leases import LeaseTable


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def leases(hands: Hands) -> LeaseTable:
    return LeaseTable(hands)


def test_a_lease_has_expired_at_its_end_and_not_before(hands: Hands, leases: LeaseTable) -> None:
    leases.renew("a", 10)
    assert (leases.next_expiry_ns, leases.expired(9), leases.is_held("a")) == (10, [], True)
    hands.at_ns = 10
    assert not leases.is_held("a")
    assert leases.expired(10) == ["a"]
    assert (leases.next_expiry_ns, leases.expired(10), len(leases)) == (None, [], 0)


def test_a_renewal_counts_from_now_also_when_it_is_shorter(hands: Hands, leases: LeaseTable) -> None:
    leases.renew("a", 100)
    hands.at_ns = 5
    leases.renew("a", 20)
    assert leases.next_expiry_ns == 25
    assert leases.expired(25) == ["a"]
    assert leases.expired(1_000) == []


def test_a_dropped_lease_is_not_told(leases: LeaseTable) -> None:
    leases.renew("a", 10)
    assert (leases.drop("a"), leases.drop("a")) == (True, False)
    assert (leases.next_expiry_ns, leases.expired(100)) == (None, [])


def test_what_ends_together_is_told_by_name(leases: LeaseTable) -> None:
    for node in ("c", "a", "b"):
        leases.renew(node, 10)
    assert leases.expired(10) == ["a", "b", "c"]


@pytest.mark.parametrize("ttl_ns", [0, -1])
def test_a_ttl_is_positive(leases: LeaseTable, ttl_ns: int) -> None:
    with pytest.raises(ValueError, match=r"'a'.*not positive"):
        leases.renew("a", ttl_ns)


def test_renewals_do_not_make_it_grow(hands: Hands, leases: LeaseTable) -> None:
    for _ in range(1_000):
        hands.at_ns += 1
        for node in ("a", "b", "c"):
            leases.renew(node, 1_000)
    assert len(leases._heap) <= 2 * 3 + 64
    assert leases.expired(hands.at_ns + 1_000) == ["a", "b", "c"]


NODES = st.sampled_from("abcde")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("renew"), NODES, st.integers(1, 30)),
        st.tuples(st.just("drop"), NODES, st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(0, 20)),
    ),
    max_size=300,
)


@given(STEPS)
def test_the_table_is_a_dictionary_of_ends(steps: list[tuple[str, str, int]]) -> None:
    hands = Hands()
    leases = LeaseTable(hands)
    ends: dict[str, int] = {}
    for what, node, amount in steps:
        if what == "renew":
            leases.renew(node, amount)
            ends[node] = hands.at_ns + amount
        elif what == "drop":
            assert leases.drop(node) is (ends.pop(node, None) is not None)
        else:
            hands.at_ns += amount
            over = sorted((end, name) for name, end in ends.items() if end <= hands.at_ns)
            assert leases.expired(hands.at_ns) == [name for _, name in over]
            for _, name in over:
                del ends[name]
        assert leases.next_expiry_ns == min(ends.values(), default=None)
        assert len(leases) == len(ends)

"""The random streams of nodes."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from eru_sim.cluster_models.streams import Stream


def test_streams_are_golden() -> None:
    # SplitMix64 itself, state 0: https://prng.di.unimi.it/splitmix64.c
    stream = Stream(0, 0)
    stream._state = 0
    assert [stream.integer() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_streams_of_other_keys_differ_and_equal_keys_agree() -> None:
    keys = [(seed, purpose, index) for seed in range(5) for purpose in range(5) for index in range(50)]
    firsts = [Stream(*key).integer() for key in keys]
    assert len(set(firsts)) == len(keys)
    assert firsts == [Stream(*key).integer() for key in keys]


def test_variates_have_their_moments() -> None:
    count = 40_000
    uniform = [Stream(1, 9, index).uniform() for index in range(count)]
    assert fmean(uniform) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / count))
    stream = Stream(2, 9)
    assert fmean(stream.exponential() for _ in range(count)) == pytest.approx(1, abs=4 / math.sqrt(count))
    for shape in (1.0, 2.5, 11.0):
        values = [stream.gamma(shape) for _ in range(count)]
        assert fmean(values) == pytest.approx(shape, abs=4 * math.sqrt(shape / count))
        assert fmean(value * value for value in values) == pytest.approx(shape * shape + shape, rel=0.05)


def test_a_permutation_holds_every_item_once() -> None:
    assert sorted(Stream(3, 9).permutation(range(100))) == list(range(100))
    firsts = [Stream(seed, 9).permutation("abc")[0] for seed in range(3000)]
    assert all(900 < firsts.count(letter) < 1100 for letter in "abc")
    assert Stream(3, 9).permutation([]) == []


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_has_64_bits(seed: int) -> None:
    with pytest.raises(ValueError, match="the seed is"):
        Stream(seed, 0)

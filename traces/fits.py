"""Named distributions fitted to published percentiles: sampling by a piecewise log-linear inverse distribution.

A fit is a row of (probability, value) knots; between two knots the logarithm of the value is linear in the probability.
Draws are made from uniforms, so the caller decides where those come from (a seeded stream, or a hash of an id).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from traces.schema import SECOND_NS, TraceError
from traces.source import one_of

Floats = npt.NDArray[np.float64]


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution of positive values; ``knots`` start at probability 0 and end at 1, both columns increasing."""

    name: str
    meaning: str
    knots: tuple[tuple[float, float], ...]

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the values at ``probabilities`` (each 0.0 to 1.0)."""
        at, values = zip(*self.knots, strict=True)
        return np.asarray(np.exp(np.interp(probabilities, at, np.log(values))))

    def mean(self) -> float:
        """Return the exact mean of the piecewise log-linear form."""
        total = 0.0
        for (p0, v0), (p1, v1) in zip(self.knots, self.knots[1:], strict=False):
            ratio = np.log(v1 / v0)
            total += (p1 - p0) * (v0 if ratio == 0 else (v1 - v0) / ratio)
        return float(total)


LIFETIMES: dict[str, Fit] = {
    fit.name: fit
    for fit in (
        Fit(
            name="google2011-jobs",
            meaning="Google 2011, a job's first SCHEDULE to its last end, seconds",
            knots=(
                (0.0, 8.0),
                (0.10, 26.0),
                (0.25, 62.0),
                (0.50, 176.0),
                (0.75, 440.0),
                (0.90, 1_649.0),
                (0.95, 3_714.0),
                (0.99, 29_765.0),
                (1.0, 638_000.0),
            ),
        ),
        Fit(
            name="azure2017-dev",
            meaning="Azure 2017, days 21 to 24, a VM's lifetime with 1 % alive beyond two days, seconds",
            knots=(
                (0.0, 60.0),
                (0.10, 300.0),
                (0.25, 900.0),
                (0.50, 1_500.0),
                (0.75, 7_200.0),
                (0.90, 25_200.0),
                (0.95, 46_800.0),
                (0.99, 172_800.0),
                (1.0, 2_592_000.0),
            ),
        ),
        Fit(
            name="alibaba2017-tasks",
            meaning="Alibaba 2017, a batch task's create to end, seconds",
            knots=(
                (0.0, 1.0),
                (0.10, 4.0),
                (0.50, 28.0),
                (0.75, 154.0),
                (0.90, 428.0),
                (0.99, 2_573.0),
                (1.0, 29_585.0),
            ),
        ),
        Fit(
            name="openb-pods",
            meaning="Alibaba GPU 2023, a pod's run time, seconds",
            knots=((0.0, 5.0), (0.50, 616.0), (0.90, 7_764.0), (0.99, 114_348.0), (1.0, 2_592_000.0)),
        ),
    )
}


def lifetime_names() -> list[str]:
    """Return the option values ``fit:NAME`` that name a fit of this module."""
    return [f"fit:{name}" for name in LIFETIMES]


def lifetime_fit(option_value: str) -> Fit:
    """Return the fit behind ``fit:NAME``; raises TraceError for an unknown name."""
    name = option_value.removeprefix("fit:")
    if name not in LIFETIMES:
        raise TraceError(f"lifetime fit {name!r} is unknown; expected {one_of(name, LIFETIMES)}")
    return LIFETIMES[name]


@cache
def _mix_constants() -> tuple[Any, Any, Any]:
    return np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hashed_uniforms(seed: int, *keys: npt.NDArray[np.int64]) -> Floats:
    """Return one uniform in (0, 1) per row of ``keys``, a pure function of the seed and the row's own keys.

    A draw therefore does not change when other rows are filtered away.
    """
    golden, first, second = _mix_constants()
    state = np.full(len(keys[0]), (seed * 0x9E3779B97F4A7C15 + 1) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for key in keys:
        state = state ^ key.astype(np.int64).view(np.uint64)
        state = state + golden
        state = (state ^ (state >> np.uint64(30))) * first
        state = (state ^ (state >> np.uint64(27))) * second
        state = state ^ (state >> np.uint64(31))
    return np.asarray(((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53)


def seconds_to_ns(seconds: Floats) -> npt.NDArray[np.int64]:
    """Return whole nanoseconds at microsecond resolution."""
    return np.asarray(np.rint(seconds * 1e6).astype(np.int64) * (SECOND_NS // 1_000_000))

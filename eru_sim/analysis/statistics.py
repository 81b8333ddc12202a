"""Intervals over replications, and paired comparison of policies that met the same random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

FEW_REPLICATIONS = 5
"""With fewer, an interval says little: `Interval.note` says so."""


class Interval(NamedTuple):
    """A mean and its confidence interval. ``low`` and ``high`` are NaN where so few values give none.

    ``note`` is "" or one sentence about what is wrong with it.
    """

    mean: float
    low: float
    high: float
    replications: int
    note: str = ""

    @property
    def half_width(self) -> float:
        """Half of the interval's width; NaN without one."""
        return (self.high - self.low) / 2


class PairedComparison(NamedTuple):
    """The differences ``first - second`` over pairs.

    ``mean``, ``low`` and ``high`` are the mean difference and its Student interval; ``is_distinct`` whether that leaves
    out 0. ``higher``, ``lower`` and ``equal`` count the pairs; ``sign_p_value`` is that of the two-sided sign test,
    which leaves out equal pairs, NaN where all are equal.
    """

    mean: float
    low: float
    high: float
    pairs: int
    higher: int
    lower: int
    equal: int
    sign_p_value: float
    note: str = ""

    @property
    def is_distinct(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def student_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """``mean ± t(n - 1, (1 + confidence) / 2) s / sqrt(n)``, s with n - 1: for values that are about normal.

    NaN among the values raises ValueError: what is not known in one replication must be dealt with before.
    """
    from scipy.stats import t

    sample = _sample(values, confidence)
    count = sample.size
    if count < 2:
        return _no_interval(sample)
    mean = float(sample.mean())
    half = float(t.ppf((1 + confidence) / 2, count - 1) * sample.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half, count, _note(count))


def bootstrap_interval(
    values: ArrayLike, confidence: float = 0.95, *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The percentile interval of the mean over ``resamples`` samples drawn with replacement.

    For values that are not normal; too narrow for few of them, and the same for the same seed. Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    sample = _sample(values, confidence)
    if resamples < 1:
        raise ValueError(f"resamples: {resamples} must be at least 1")
    if sample.size < 2:
        return _no_interval(sample)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, 1_000_000 // sample.size)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        means[start : start + size] = generator.choice(sample, (size, sample.size)).mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Interval(float(sample.mean()), low, high, sample.size, _note(sample.size))


def paired_comparison(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> PairedComparison:
    """Compare two policies by pairs: value i of both comes from the same seed, trace and failures.

    Differences of runs with common random numbers vary less than the runs, so their interval decides sooner (Law,
    "Simulation Modeling and Analysis", section 11.2). ValueError where the lengths differ.
    """
    from scipy.stats import binomtest

    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"second: {other.size} values for {one.size} of first; pairs need one each")
    differences = one - other
    interval = student_interval(differences, confidence)
    higher, lower = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = float(binomtest(higher, higher + lower).pvalue) if higher + lower else float("nan")
    equal = differences.size - higher - lower
    return PairedComparison(
        interval.mean, interval.low, interval.high, interval.replications, higher, lower, equal, p_value, interval.note
    )


def compare_to_baseline(
    runs: pd.DataFrame,
    metric: str,
    baseline: str,
    *,
    by: str | Sequence[str] = "replication",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every policy with ``baseline``, by pairs of runs that agree in ``by``.

    ``runs`` has one row a run, with the columns ``policy``, ``by`` and ``metric`` (`Comparison.runs`, or the results of
    a sweep). One row a policy, in order of appearance, without the baseline: ``policy``, then the fields of
    `PairedComparison` of policy minus baseline. Pairs of which a value is missing are left out. ValueError for a
    baseline that is not there, and for several runs of one policy that agree in ``by``.
    """
    import pandas as pd

    keys = [by] if isinstance(by, str) else list(by)
    policies = list(dict.fromkeys(runs["policy"]))
    if baseline not in policies:
        raise ValueError(f"baseline: {baseline!r} is none of the policies: {', '.join(map(str, policies))}")
    if runs.duplicated(["policy", *keys]).any():
        raise ValueError(f"by: several runs of one policy agree in {', '.join(keys)}; name what tells them apart")
    values = runs.set_index([*keys, "policy"])[metric].astype("Float64").unstack("policy")
    rows = []
    for policy in policies:
        if policy == baseline:
            continue
        pairs = values[[policy, baseline]].dropna().to_numpy(dtype=np.float64)
        rows.append({"policy": policy, **paired_comparison(pairs[:, 0], pairs[:, 1], confidence)._asdict()})
    return pd.DataFrame(rows, columns=["policy", *PairedComparison._fields])


def _sample(values: ArrayLike, confidence: float) -> NDArray[np.float64]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} must be between 0 and 1")
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    if np.isnan(sample).any():
        raise ValueError("values: there is a NaN among them; leave out that replication")
    return sample


def _no_interval(sample: NDArray[np.float64]) -> Interval:
    nan = float("nan")
    note = "One replication gives no interval." if sample.size else "There are no replications."
    return Interval(float(sample[0]) if sample.size else nan, nan, nan, sample.size, note)


def _note(count: int) -> str:
    return f"Only {count} replications: the interval is unreliable." if count < FEW_REPLICATIONS else ""

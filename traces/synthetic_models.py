"""Figures that the synthetic traces are calibrated to, one model per published cluster.

Requests, tasks per job and lifetimes are quantile tables; machines are the measured shapes of ``traces.shapes``.
Google's normalised 1.0 is 10,000,000 millicores and 10^12 bytes, as in the google2011 reader.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np

from traces.fits import LIFETIMES, Fit, Floats

_GIB = float(1 << 30)
_MONTH_S = 30 * 86_400.0


class Quantiles(Protocol):
    """A distribution given by its inverse."""

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the values at ``probabilities``."""
        ...


class BoundedPareto(msgspec.Struct, frozen=True, kw_only=True):
    """A Pareto distribution of index ``alpha`` from 1 to ``upper``: with alpha < 1 only the bound gives it a mean."""

    alpha: float
    upper: float

    def quantile(self, probabilities: Floats) -> Floats:
        """Return the values at ``probabilities``."""
        kept = 1.0 - self.upper**-self.alpha
        return np.asarray((1.0 - probabilities * kept) ** (-1.0 / self.alpha))


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator needs to know of a cluster.

    ``cpu`` gives ``cpu_unit`` millicores, ``memory`` gives ``memory_unit`` bytes, or bytes per core when
    ``memory_per_core``. ``alike`` is the share of jobs whose memory rank equals their CPU rank. ``long_share`` of the
    jobs live ``long_s`` instead of drawing from ``lifetime``. ``burst_minute`` and ``burst_hour`` are the coefficients
    of variation of the arrival rate, ``diurnal`` the amplitude of its daily wave. With ``grouped`` a job is one
    Submission with a count.
    """

    name: str
    shapes: str
    source: str
    cpu: Fit
    cpu_unit: float
    memory: Fit
    memory_unit: float
    tasks: Quantiles
    lifetime: Fit
    priorities: tuple[tuple[int, float], ...]
    memory_per_core: bool = False
    alike: float = 0.0
    long_share: float = 0.0
    long_s: float = _MONTH_S
    failed_share: float = 0.015
    different_machine_share: float = 0.0
    burst_minute: float = 0.6
    burst_hour: float = 0.35
    diurnal: float = 0.3
    users: int = 500
    grouped: bool = False


def _table(name: str, *knots: tuple[float, float]) -> Fit:
    return Fit(name=name, meaning=name, knots=knots)


_GOOGLE_2019_PRIORITIES = ((25, 0.22), (112, 0.38), (117, 0.08), (200, 0.31), (360, 0.01))

_GOOGLE_2019_CPU = _table(
    "cpu",
    *((0.0, 0.0009), (0.01, 0.00094), (0.10, 0.00104), (0.25, 0.00125), (0.5, 0.01128), (0.75, 0.01726)),
    *((0.9, 0.02158), (0.99, 0.0498), (1.0, 0.2)),
)
_GOOGLE_2019_MEMORY = _table(
    "memory",
    *((0.0, 0.0002), (0.01, 0.00021), (0.10, 0.00213), (0.25, 0.00228), (0.5, 0.00524), (0.75, 0.00788)),
    *((0.9, 0.01822), (0.99, 0.0184), (1.0, 0.0586)),
)


def _google2019(cell: str) -> Model:
    return Model(
        name="google2019" if cell == "a" else f"google2019-{cell}",
        shapes=f"google2019-{cell}",
        source=f"Google 2019: machines of cell {cell}, request sizes of cell a, job sizes and tiers of EuroSys'20",
        cpu=_GOOGLE_2019_CPU,
        cpu_unit=1e7,
        memory=_GOOGLE_2019_MEMORY,
        memory_unit=1e12,
        tasks=BoundedPareto(alpha=0.69, upper=20_000.0),
        lifetime=LIFETIMES["google2011-jobs"],
        priorities=_GOOGLE_2019_PRIORITIES,
        alike=0.4,
        long_share=0.004,
    )


_MODELS = (
    Model(
        name="google2011",
        shapes="google2011",
        source="Google 2011: machines, requests, priorities and job times of the public trace",
        cpu=_table(
            "cpu",
            *((0.0, 0.0006), (0.01, 0.00062), (0.1, 0.0062), (0.5, 0.0438), (0.9, 0.125), (0.99, 0.3125), (1.0, 0.5)),
        ),
        cpu_unit=1e7,
        memory=_table(
            "memory",
            *((0.0, 0.001), (0.1, 0.0039), (0.5, 0.0222), (0.9, 0.1184), (0.99, 0.1592), (1.0, 0.24)),
        ),
        memory_unit=1e12,
        tasks=BoundedPareto(alpha=0.77, upper=20_010.0),
        lifetime=LIFETIMES["google2011-jobs"],
        priorities=((0, 0.29), (1, 0.12), (2, 0.18), (8, 0.02), (9, 0.339), (10, 0.006), (11, 0.045)),
        alike=0.5,
        long_share=0.004,
        different_machine_share=0.25,
    ),
    *(_google2019(cell) for cell in "abcd"),
    Model(
        name="azure",
        shapes="azure",
        source="Azure 2017: sizes, batches and lifetimes of days 21 to 24; hosts are assumed",
        cpu=_table(
            "cores",
            *((0.0, 1.0), (0.62, 1.0), (0.62, 2.0), (0.806, 2.0), (0.806, 4.0), (0.905, 4.0), (0.905, 8.0), (1.0, 8.0)),
        ),
        cpu_unit=1e3,
        memory=_table(
            "memory per core", (0.0, 0.75), (0.01, 0.75), (0.01, 1.75), (0.99, 1.75), (0.99, 7.0), (1.0, 7.0)
        ),
        memory_unit=_GIB,
        memory_per_core=True,
        tasks=_table("batch size", (0.0, 1.0), (0.5, 1.0), (0.75, 3.0), (0.9, 7.0), (0.99, 57.0), (1.0, 788.0)),
        lifetime=LIFETIMES["azure2017-dev"],
        priorities=((0, 1.0),),
        long_share=0.065,
        failed_share=0.0,
        burst_hour=0.25,
    ),
    Model(
        name="alibaba2017",
        shapes="alibaba2017",
        source="Alibaba 2017: requests, instances per task and task times of the batch_task table",
        cpu=_table("cores", (0.0, 0.5), (0.74, 0.5), (0.74, 1.0), (0.999, 1.0), (0.999, 2.0), (1.0, 2.0)),
        cpu_unit=1e3,
        memory=_table(
            "memory",
            *((0.0, 0.00275), (0.1, 0.00407), (0.25, 0.00414), (0.5, 0.0054), (0.75, 0.00854), (0.9, 0.01336)),
            *((0.99, 0.01634), (1.0, 0.1273)),
        ),
        memory_unit=1e12,
        tasks=_table(
            "instances",
            *((0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.75, 47.0), (0.9, 375.0), (0.99, 1_999.0), (1.0, 64_486.0)),
        ),
        lifetime=LIFETIMES["alibaba2017-tasks"],
        priorities=((0, 1.0),),
        alike=0.3,
        burst_hour=0.5,
        grouped=True,
    ),
)

MODELS: dict[str, Model] = {model.name: model for model in _MODELS}

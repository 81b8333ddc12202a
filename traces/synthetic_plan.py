"""What a synthetic trace works out before it generates: requests, rates, and the scales that keep the offered load.

The population is stationary: it starts with as many workloads as the load asks, with lifetimes biased by length and
cut at a random point (what an observer finds running), and arrivals replace what ends. With K running, mean lifetime L
and horizon H, that is K at the start and K * H / L arrivals. A fixed number of workloads therefore sets L. With
``start=empty`` there is no initial population and the load builds up over a few lifetimes.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from traces.fits import Floats
from traces.schema import TraceError
from traces.shapes import apportion
from traces.synthetic_models import Model

Integers = npt.NDArray[np.int64]
SHAPE_COUNT = 300
_GRID = 65_536
_MINUTE_S = 60.0
_JOB_SHARE_LIMIT = 200
_GROUPED_JOB_SHARE_LIMIT = 100
_REQUEST_SCALE_LIMIT = 32.0
_ENOUGH = 1.02


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a synthetic source; ``workloads`` None lets the model's lifetimes decide."""

    nodes: int
    hours: float
    seed: int
    mix: str
    load: float
    start: str
    workloads: int | None


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests by rank: rows of (millicores, bytes) with the upper end of each row's share of the jobs.

    For ``mix=distinct`` the rows are a fine grid of ranks and only their mean is used.
    """

    units: Integers
    upper: Floats
    mean: Floats


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is fixed before generation. Times are seconds, requests base units."""

    capacity: tuple[int, int]
    largest: tuple[int, int]
    dominant: int
    requests: Requests
    request_scale: float
    lifetime_scale: float
    mean_lifetime_s: float
    tasks_limit: int
    running: int
    """Workloads that make the load."""
    starting: int
    """Workloads of the initial population, about ``running`` or none."""
    arriving: int
    horizon_s: float
    edges_s: Floats
    cumulative: Floats
    biased: Floats
    """For the initial population: the rank of a lifetime at evenly spaced ranks of the length-biased distribution."""


def make_plan(model: Model, knobs: Knobs) -> Plan:
    """Work out the plan; raises TraceError when so few workloads cannot make the load."""
    shapes = [(shape.capacity, count) for shape, count in apportion(model.shapes, knobs.nodes) if count]
    names = ("cpu_millicores", "memory_bytes")
    capacity = tuple(sum(held.get(name, 0) * count for held, count in shapes) for name in names)
    largest = tuple(max(held.get(name, 0) for held, _ in shapes) for name in names)
    limits = np.array(largest, dtype=np.float64)
    requests = make_requests(model, knobs, 1.0, limits)
    running, dominant = _running(requests, capacity, knobs.load)
    scale = 1.0
    if knobs.workloads is not None and knobs.workloads < 2 * running:
        scale, requests, running, dominant = _larger_requests(model, knobs, capacity, limits, running)
    horizon_s = knobs.hours * 3600.0
    model_mean_s = mean_lifetime_s(model)
    arriving = round(running * horizon_s / model_mean_s)
    starting = running if knobs.start == "running" else 0
    if knobs.workloads is not None:
        arriving = knobs.workloads - starting
    edges_s, cumulative = arrival_curve(model, knobs)
    return Plan(
        capacity=(capacity[0], capacity[1]),
        largest=(largest[0], largest[1]),
        dominant=dominant,
        requests=requests,
        request_scale=scale,
        lifetime_scale=running * horizon_s / max(1, arriving) / model_mean_s,
        mean_lifetime_s=running * horizon_s / max(1, arriving),
        tasks_limit=max(1, running // (_GROUPED_JOB_SHARE_LIMIT if model.grouped else _JOB_SHARE_LIMIT)),
        running=running,
        starting=starting,
        arriving=arriving,
        horizon_s=horizon_s,
        edges_s=edges_s,
        cumulative=cumulative,
        biased=_length_biased(model),
    )


def _running(requests: Requests, capacity: tuple[int, ...], load: float) -> tuple[int, int]:
    """Return how many workloads make the load in the dimension that fills first, and that dimension."""
    shares = requests.mean / np.array(capacity, dtype=np.float64)
    dominant = int(np.argmax(shares))
    return max(1, round(load / float(shares[dominant]))), dominant


def _larger_requests(
    model: Model, knobs: Knobs, capacity: tuple[int, ...], limits: Floats, running: int
) -> tuple[float, Requests, int, int]:
    """Scale requests up so that half of the workloads are enough to make the load."""
    workloads = knobs.workloads or 1
    scale = 1.0
    while scale < _REQUEST_SCALE_LIMIT:
        scale = min(_REQUEST_SCALE_LIMIT, scale * max(1.01, 2 * running / workloads))
        requests = make_requests(model, knobs, scale, limits)
        running, dominant = _running(requests, capacity, knobs.load)
        if 2 * running <= workloads * _ENOUGH:
            return scale, requests, running, dominant
    raise TraceError(
        f"synthetic:{model.name}: workloads={workloads} cannot load {knobs.nodes} nodes to {knobs.load:g};"
        f" give at least {2 * running}, or fewer nodes, or a lower load"
    )


def make_requests(model: Model, knobs: Knobs, scale: float, limits: Floats) -> Requests:
    """Build the table of requests: 300 Zipf-weighted shapes, or a fine grid for ``mix=distinct``."""
    generator = np.random.Generator(np.random.PCG64([knobs.seed, 1]))
    count = SHAPE_COUNT if knobs.mix == "repeat" else _GRID
    weights = 1.0 / np.arange(1, count + 1) if knobs.mix == "repeat" else np.ones(count)
    weights = generator.permutation(weights / weights.sum())
    upper = np.cumsum(weights)
    ranks = np.minimum(upper - weights / 2, 1.0)
    memory_ranks = _partner_ranks(ranks, weights, model.alike, generator)
    units = request_units(model, ranks, memory_ranks, scale, limits)
    mean = np.asarray((units * weights[:, None]).sum(axis=0))
    return Requests(units=units, upper=upper / upper[-1], mean=mean)


def _partner_ranks(ranks: Floats, weights: Floats, alike: float, generator: np.random.Generator) -> Floats:
    """Give each row a memory rank: its own for a share ``alike``, else at random, spread evenly over the weights."""
    order = generator.random(len(ranks))
    own = generator.random(len(ranks)) < alike
    order[own] = ranks[own]
    sequence = np.argsort(order, kind="stable")
    partner = np.empty_like(ranks)
    sorted_weights = weights[sequence]
    partner[sequence] = np.cumsum(sorted_weights) - sorted_weights / 2
    return np.minimum(partner, 1.0)


def request_units(model: Model, cpu_ranks: Floats, memory_ranks: Floats, scale: float, limits: Floats) -> Integers:
    """Return rows of (millicores, bytes) at the given ranks, times ``scale``, within the largest machine."""
    cpu = model.cpu.quantile(cpu_ranks)
    memory = model.memory.quantile(memory_ranks) * (cpu if model.memory_per_core else 1.0)
    units = np.stack([cpu * model.cpu_unit, memory * model.memory_unit], axis=1) * scale
    return np.maximum(1, np.rint(np.minimum(units, limits))).astype(np.int64)


def lifetimes_s(model: Model, ranks: Floats) -> Floats:
    """Return lifetimes at ``ranks`` of the model's mixture: the fit below, the long-lived share on top."""
    short_share = 1.0 - model.long_share
    short = model.lifetime.quantile(np.minimum(ranks / short_share, 1.0))
    return np.where(ranks < short_share, short, model.long_s)


def mean_lifetime_s(model: Model) -> float:
    """Return the mean of ``lifetimes_s``."""
    return (1.0 - model.long_share) * model.lifetime.mean() + model.long_share * model.long_s


def _length_biased(model: Model) -> Floats:
    """Return, at evenly spaced ranks of what an observer finds running, the rank of its lifetime among all jobs."""
    # The tail holds most of the time, so the grid is finer towards rank 1.
    ranks = 1.0 - np.geomspace(1.0, 1e-9, _GRID + 1)
    middle = lifetimes_s(model, (ranks[1:] + ranks[:-1]) / 2)
    weights = np.concatenate([[0.0], np.cumsum(middle * np.diff(ranks))])
    return np.interp(np.linspace(0.0, 1.0, _GRID + 1), weights / weights[-1], ranks)


def arrival_curve(model: Model, knobs: Knobs) -> tuple[Floats, Floats]:
    """Return minute edges (s) and the share of all arrivals before each: a bursty, daily, normalised rate.

    The rate is a daily wave, times lognormal noise that keeps its value for about an hour, times lognormal noise of
    each minute; so counts per interval vary far more than Poisson ones.
    """
    minutes = max(1, int(np.ceil(knobs.hours * 60)))
    generator = np.random.Generator(np.random.PCG64([knobs.seed, 2]))
    edges_s = np.minimum(np.arange(minutes + 1) * _MINUTE_S, knobs.hours * 3600.0)
    wave = 1.0 + model.diurnal * np.sin(2 * np.pi * (edges_s[:-1] / 86_400.0 - 0.375))
    knots = generator.standard_normal(minutes // 60 + 2)
    slow = np.interp(np.arange(minutes) / 60.0, np.arange(len(knots)), knots)
    rate = wave * np.exp(model.burst_hour * slow + model.burst_minute * generator.standard_normal(minutes))
    weights = np.concatenate([[0.0], np.cumsum(rate * np.diff(edges_s))])
    return edges_s, weights / weights[-1]

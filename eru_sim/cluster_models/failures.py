"""When the nodes of a cluster fail and return: recorded, fitted and assumed failures as a stream of machine events.

A specification is one of::

    none
    google2011:DIR[*K]       recorded machine events of ClusterData2011_2, its time divided by K
    grid5000:DIR[*K]         recorded down intervals of Grid'5000 (Failure Trace Archive), its time divided by K
    fit:google2011           removals and outages fitted to the former
    exponential?mtbf_hours=H&mttr_minutes=M
    weibull?shape=S&mtbf_hours=H&mttr_minutes=M

K is a positive number, or ``window`` for the one with which the whole recording just fits the time asked for.
``mtbf_hours`` is the mean time that a node stays up, from a return to the next removal; repair times are exponential
with mean ``mttr_minutes``. The last three take ``racks=true`` and ``rack_ratio=R`` (default 0.1): the share of a node's
removals that come from an outage of its whole rack. The removals per node stay as many as without.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec

from eru_sim.cluster_models.nodes import ClusterSpecError, closest
from eru_sim.cluster_models.outages import Failures, OutageProcess, Unit, failures, outage_events
from eru_sim.cluster_models.recorded_failures import Window, recorded_failures
from eru_sim.cluster_models.streams import Stream
from eru_sim.cluster_models.topology import Topology
from traces.schema import MachineEvent

GOOGLE_2011_REMOVALS_PER_MACHINE_DAY = 0.0247
"""Measured over the 29 days and 12,583 machines of ClusterData2011_2."""

GOOGLE_2011_OUTAGE_SECONDS = ((0.1, 99.0), (0.5, 998.0), (0.9, 31_162.0), (0.99, 328_668.0))
"""Measured quantiles of the 8,860 outages of ClusterData2011_2 that ended; their mean is 17,577 s."""

DEFAULT_RACK_RATIO = 0.1
"""Assumed share of removals that come from outages of whole racks."""

_NODE_PURPOSE = 2
_RACK_PURPOSE = 3
_TICK_NS = 1000
_TICKS_PER_SECOND = 1_000_000
_MODELS = ("none", "google2011", "grid5000", "fit", "exponential", "weibull")
_RACK_OPTIONS = ("racks", "rack_ratio")
_MODEL_OPTIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "fit": (),
    "exponential": ("mtbf_hours", "mttr_minutes"),
    "weibull": ("shape", "mtbf_hours", "mttr_minutes"),
}


class _Model(msgspec.Struct, frozen=True):
    """A renewal process: mean time up and down in seconds, how an outage is drawn, and the shape of the time up."""

    mean_up_s: float
    mean_outage_s: float
    outage_s: Callable[[Stream], float]
    shape: float = 1.0


def machine_failures(
    spec: str,
    node_ids: Sequence[str],
    *,
    start_ns: int,
    horizon_ns: int,
    seed: int,
    topology: Topology | None = None,
) -> Failures:
    """Return the failures that ``spec`` (see the module) means for ``node_ids``, at ``start_ns <= at_ns < horizon_ns``.

    Every node counts as up before ``start_ns``. A recording is read at once, and its time zero falls on ``start_ns``.
    The result is a function of the arguments and of the files read alone. In a model, a node's random stream is keyed
    by the seed and the node's position, so a later horizon or more nodes extend the same failures.

    ``topology`` is that of the nodes, in their order; ``racks=true`` and the mapping of Grid'5000 clusters use it.

    Raises ClusterSpecError or TraceError, in one line, on a wrong specification or file, a seed not in 0 .. 2^64 - 1,
    a horizon before the start, node ids that are not unique, and a topology that is needed but missing or of another
    size.
    """
    window = _window(spec, node_ids, start_ns, horizon_ns, seed, topology)
    model, question, query = spec.partition("?")
    kind, _, rest = model.partition(":")
    if kind not in _MODELS:
        raise ClusterSpecError(f"failures '{spec}': there is no model '{kind}': {closest(kind, _MODELS)}")
    if kind in ("google2011", "grid5000"):
        if question:
            raise ClusterSpecError(f"failures '{spec}': {kind} has no options, but '{query}' is given; leave it out")
        return recorded_failures(spec, kind, rest, window)
    if model != {"fit": "fit:google2011"}.get(kind, kind):
        expected = "fit:google2011" if kind == "fit" else kind
        raise ClusterSpecError(f"failures '{spec}': there is no model '{model}'; write {expected}")
    options = _parse_options(spec, kind, query if question else "")
    if kind == "none":
        return failures(lambda repaired: iter(()))
    return _modelled(spec, _model(kind, options), options, window, _describe(kind, options))


def _window(
    spec: str, node_ids: Sequence[str], start_ns: int, horizon_ns: int, seed: int, topology: Topology | None
) -> Window:
    """Return the checked arguments."""
    try:
        Stream(seed, 0)
    except ValueError as error:
        raise ClusterSpecError(f"failures '{spec}': {error}") from None
    if horizon_ns < start_ns:
        raise ClusterSpecError(
            f"failures '{spec}': horizon_ns {horizon_ns} is before start_ns {start_ns}; give a later one"
        )
    if len(set(node_ids)) != len(node_ids):
        repeated = next(node_id for node_id, count in Counter(node_ids).items() if count > 1)
        raise ClusterSpecError(f"failures '{spec}': node '{repeated}' is given twice; give each node once")
    if topology is not None and topology.node_count != len(node_ids):
        raise ClusterSpecError(
            f"failures '{spec}': the topology has {topology.node_count} nodes, but {len(node_ids)} are given; give the "
            "topology of these nodes"
        )
    return Window(tuple(node_ids), start_ns, horizon_ns, seed, topology)


def _parse_options(spec: str, kind: str, query: str) -> dict[str, float]:
    """Return the options as numbers, ``racks`` as 0 or 1; the required ones are there."""
    required = _MODEL_OPTIONS[kind]
    known = required if kind == "none" else (*required, *_RACK_OPTIONS)
    options: dict[str, float] = {}
    for item in query.split("&") if query else []:
        name, _, text = item.partition("=")
        if name not in known:
            hint = closest(name, known) if known else f"{kind} has none"
            raise ClusterSpecError(f"failures '{spec}': there is no option '{name}': {hint}")
        if name in options:
            raise ClusterSpecError(f"failures '{spec}': the option {name} is given twice; keep one")
        options[name] = _option_value(spec, name, text)
    for name in required:
        if name not in options:
            raise ClusterSpecError(
                f"failures '{spec}': the option {name} is missing; write ?{'=..&'.join(required)}=.."
            )
    if "rack_ratio" in options and not options.get("racks"):
        raise ClusterSpecError(
            f"failures '{spec}': rack_ratio is given without racks=true; add it or leave rack_ratio out"
        )
    return options


def _option_value(spec: str, name: str, text: str) -> float:
    """Return one option's value."""
    if name == "racks":
        if text not in ("true", "false"):
            raise ClusterSpecError(f"failures '{spec}': racks is '{text}'; give true or false")
        return float(text == "true")
    low, high = {"shape": (0.1, 10.0), "rack_ratio": (1e-6, 1.0)}.get(name, (1e-6, 1e9))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ClusterSpecError(f"failures '{spec}': {name} is '{text}'; give a number in {low:g} .. {high:g}")
    return value


def _model(kind: str, options: dict[str, float]) -> _Model:
    """Return the renewal process of a single node."""
    if kind == "fit":
        mean_outage_s = _mean_outage_s()
        mean_up_s = 86_400 / GOOGLE_2011_REMOVALS_PER_MACHINE_DAY - mean_outage_s
        return _Model(mean_up_s, mean_outage_s, lambda stream: outage_quantile_s(stream.uniform()))
    mttr_s = options["mttr_minutes"] * 60
    return _Model(
        options["mtbf_hours"] * 3600, mttr_s, lambda stream: mttr_s * stream.exponential(), options.get("shape", 1.0)
    )


def _describe(kind: str, options: dict[str, float]) -> str:
    """Return the assumption that a model makes."""
    if kind == "fit":
        quantiles = "/".join(f"{seconds:g}" for _, seconds in GOOGLE_2011_OUTAGE_SECONDS)
        return (
            f"failures are fitted to Google 2011: {GOOGLE_2011_REMOVALS_PER_MACHINE_DAY} removals per machine-day with "
            f"exponential times between them, outages with quantiles {quantiles} s at 10/50/90/99 %, log-linear "
            f"between and beyond, whose mean is {_mean_outage_s():.0f} s (recorded 17,577 s)"
        )
    shape = f" of shape {options['shape']:g}" if kind == "weibull" else ""
    age = ", of nodes long in service at the start" if kind == "weibull" else ""
    return (
        f"nodes stay up for {kind} times{shape} with mean {options['mtbf_hours']:g} h{age}, and are down for "
        f"exponential times with mean {options['mttr_minutes']:g} min"
    )


def outage_quantile_s(probability: float) -> float:
    """Return the outage in seconds that a share ``probability`` of the fitted Google 2011 outages stays below.

    The logarithm is linear in the probability between the measured quantiles, and goes on so beyond them: 56 s at 0
    and 427,011 s at 1.
    """
    points = GOOGLE_2011_OUTAGE_SECONDS
    segment = next((pair for pair in pairwise(points) if probability < pair[1][0]), points[-2:])
    (low, low_s), (high, high_s) = segment
    return low_s * math.exp(math.log(high_s / low_s) * (probability - low) / (high - low))


def _mean_outage_s() -> float:
    """Return the mean of the fitted outages: of each segment (b - a) / ln(b / a), weighed by its width."""
    inner = [probability for probability, _ in GOOGLE_2011_OUTAGE_SECONDS[1:-1]]
    mean = 0.0
    for low, high in pairwise([0.0, *inner, 1.0]):
        low_s, high_s = outage_quantile_s(low), outage_quantile_s(high)
        mean += (high - low) * (high_s - low_s) / math.log(high_s / low_s)
    return mean


def _modelled(spec: str, model: _Model, options: dict[str, float], window: Window, sentence: str) -> Failures:
    """Return the failures of nodes, and of racks when asked for, that follow ``model``."""
    assumptions = [sentence, "nodes fail independently and alike, and all are up at the start"]
    if not options.get("racks"):
        return failures(lambda repaired: _events(model, 0.0, [], window, repaired), assumptions)
    if window.topology is None or "rack" not in window.topology.levels:
        raise ClusterSpecError(
            f"failures '{spec}': racks=true needs nodes that stand in racks; build the cluster with ?racks=N"
        )
    ratio = options.get("rack_ratio", DEFAULT_RACK_RATIO)
    racks = [rows.tolist() for rows in window.topology.rows("rack")]
    assumptions[1] = (
        f"{ratio:g} of the removals of a node come from outages of its whole rack, which are distributed as its own; "
        "otherwise nodes fail independently and alike, and all are up at the start"
    )
    return failures(lambda repaired: _events(model, ratio, racks, window, repaired), assumptions)


def _events(
    model: _Model, rack_ratio: float, racks: list[list[int]], window: Window, repaired: Counter[str]
) -> Iterator[MachineEvent]:
    """Yield the events of one reading."""

    def units() -> Iterator[Unit]:
        if rack_ratio < 1:
            for row in range(len(window.node_ids)):
                stream = Stream(window.seed, _NODE_PURPOSE, row)
                yield Unit((row,), _renewals(model, 1 - rack_ratio, stream, window.start_ns))
        for rack, rows in enumerate(racks):
            stream = Stream(window.seed, _RACK_PURPOSE, rack)
            yield Unit(rows, _renewals(model, rack_ratio, stream, window.start_ns))

    return outage_events(units(), window.node_ids, window.horizon_ns, repaired)


def _renewals(model: _Model, share: float, stream: Stream, start_ns: int) -> OutageProcess:
    """Yield outages as often as ``share`` of the model's, in whole microseconds so that no libm can move an event."""
    mean_up_s = (model.mean_up_s + model.mean_outage_s) / share - model.mean_outage_s
    inverse = 1.0 / model.shape
    scale_s = mean_up_s if model.shape == 1.0 else mean_up_s / math.gamma(1.0 + inverse)
    if model.shape == 1.0:
        up_s = scale_s * stream.exponential()
    else:  # the rest of an interval that is under way: a uniform part of a length-biased one
        up_s = scale_s * stream.gamma(1.0 + inverse) ** inverse * stream.uniform()
    at_ns = start_ns
    while True:
        down_ns = at_ns + _ticks_ns(up_s)
        at_ns = down_ns + _ticks_ns(model.outage_s(stream))
        yield down_ns, at_ns
        draw = stream.exponential()
        up_s = scale_s * (draw if model.shape == 1.0 else draw**inverse)


def _ticks_ns(seconds: float) -> int:
    """Return a duration in ns, rounded to a whole number of microseconds, at least one."""
    return max(1, round(seconds * _TICKS_PER_SECOND)) * _TICK_NS

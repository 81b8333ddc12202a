"""Which machines a run has and when they fail: the trace's own, a cluster specification, a failure model on top."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from eru_sim.cluster_models import Cluster, build_cluster, machine_failures
from eru_sim.errors import EruError
from traces import MachineEvent, Trace, split_source

_DEFAULT_FAILURE_HORIZON_NS = 24 * 3600 * 10**9


class Machines(msgspec.Struct, kw_only=True):
    """The machine events of a run, in order of time; they can be read any number of times.

    ``columns`` are the capacity columns that occur. ``topology`` maps a machine to its domains. ``repaired`` is
    complete once the events have been read.
    """

    spec: str
    events: Iterable[MachineEvent]
    columns: tuple[str, ...]
    topology: dict[str, dict[str, str]] = {}
    assumptions: tuple[str, ...] = ()
    repaired: Any = {}


class _Replayable:
    """Calls ``start`` for every reading."""

    def __init__(self, start: Any) -> None:
        self._start = start

    def __iter__(self) -> Iterator[MachineEvent]:
        return iter(self._start())


def choose_machines(trace: Trace, cluster: str, failures: str | None, horizon_ns: int | None, seed: int) -> Machines:
    """Return the machines for ``--cluster`` and ``--failures``.

    ``cluster`` "trace" means the trace's own machines and machine events, or its default cluster where it has none.
    ``failures`` replaces recorded removals and returns. Models need an end: ``horizon_ns``, else 24 hours, as an
    assumption.
    """
    own = cluster == "trace"
    assumptions: tuple[str, ...] = ()
    if own and trace.default_cluster is not None:
        cluster = trace.default_cluster
        own = False
        assumptions = (f"The trace has no machines: the cluster is {cluster}.",)
    if not own:
        built = build_cluster(cluster, seed=seed)
        machines = _static(built)
        machines.assumptions = (*assumptions, *built.assumptions, *_about_plugins(trace))
        return machines if failures is None else _with_failures(machines, built, failures, horizon_ns, seed)
    if failures is None:
        return Machines(spec="trace", events=_Replayable(trace.machine_events), columns=trace.dimensions)
    speedup = _own_speedup(trace, failures, horizon_ns)
    if speedup is not None:
        sentence = f"Machine events after the start come {float(speedup):g} times as fast as recorded."
        scaled = _Replayable(lambda: _scaled(trace.machine_events(), speedup))
        return Machines(spec="trace", events=scaled, columns=trace.dimensions, assumptions=(sentence,))
    first = [event for event in _at_start(trace.machine_events()) if event.kind == "add"]
    static = Machines(spec="trace", events=first, columns=trace.dimensions)
    return _with_failures(static, None, failures, horizon_ns, seed)


def _about_plugins(trace: Trace) -> list[str]:
    """What to say of nodes that are not the trace's own, whose resources the trace's plugins expect."""
    names = ", ".join(trace.plugins)
    return [f"Nodes have for {names} what their capacity, labels and topology tell, and no more."] if names else []


def _static(cluster: Cluster) -> Machines:
    events = [
        MachineEvent(at_ns=0, machine_id=node.node_id, kind="add", capacity=node.capacity, labels=node.labels)
        for node in cluster.nodes
    ]
    topology = {node.node_id: node.topology for node in cluster.nodes if node.topology}
    return Machines(spec=cluster.spec, events=events, columns=cluster.columns, topology=topology)


def _with_failures(
    machines: Machines, cluster: Cluster | None, failures: str, horizon_ns: int | None, seed: int
) -> Machines:
    assumptions = machines.assumptions
    if horizon_ns is None:
        horizon_ns = _DEFAULT_FAILURE_HORIZON_NS
        assumptions = (*assumptions, "Machines fail in the first 24 hours only; set a horizon for another time.")
    first = list(machines.events)
    model = machine_failures(
        failures,
        [event.machine_id for event in first],
        start_ns=0,
        horizon_ns=horizon_ns,
        seed=seed,
        topology=cluster.topology if cluster is not None else None,
    )
    merged = _Replayable(lambda: heapq.merge(first, model, key=lambda event: event.at_ns))
    return Machines(
        spec=machines.spec,
        events=merged,
        columns=machines.columns,
        topology=machines.topology,
        assumptions=(*assumptions, *model.assumptions),
        repaired=model.repaired,
    )


def _own_speedup(trace: Trace, failures: str, horizon_ns: int | None) -> Fraction | None:
    """The factor K when ``failures`` is ``google2011:DIR*K`` of the very trace that is replayed, else None.

    Then the recorded events are those of the same machines, first appearances and capacity changes included.
    """
    format_name, _, place = failures.partition(":")
    place, _, factor = place.partition("*")
    own_format, own_path, _ = split_source(trace.source)
    if format_name != own_format or format_name != "google2011" or Path(place).resolve() != Path(own_path).resolve():
        return None
    if factor == "window":
        horizon_ns = horizon_ns or trace.horizon_ns
        last_ns = max(event.at_ns for event in trace.machine_events())
        return Fraction(last_ns, horizon_ns) if horizon_ns else Fraction(1)
    try:
        speedup = Fraction(factor or "1")
    except (ValueError, ZeroDivisionError):
        speedup = Fraction(0)
    if speedup <= 0:
        raise EruError(f"failures: {failures!r}: {factor!r} is not a positive number or 'window'")
    return speedup


def _scaled(events: Iterable[MachineEvent], speedup: Fraction) -> Iterator[MachineEvent]:
    for event in events:
        at_ns = event.at_ns * speedup.denominator // speedup.numerator
        yield msgspec.structs.replace(event, at_ns=at_ns)


def _at_start(events: Iterable[MachineEvent]) -> Iterator[MachineEvent]:
    first_ns: int | None = None
    for event in events:
        first_ns = event.at_ns if first_ns is None else first_ns
        if event.at_ns > first_ns:
            return
        yield event

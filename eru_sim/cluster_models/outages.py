"""From outages of nodes and racks to the machine events of nodes.

Theory of operation. A *unit* is what fails as one: a node or a rack. Its outage process is an iterator of
``(down, up)`` that depends on the unit alone. One heap holds the next transition of each unit that has one before the
horizon, so memory is one entry per such unit whatever the length of the run. A node counts how many of its units are
down: it is removed when the count leaves 0 and returns when it is 0 again, so outages that overlap are one, and the
events of a node alternate.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from traces.schema import MachineEvent

OutageProcess = Iterator[tuple[int, int | None]]
"""Outages of one unit as (down, up) in ns, in order: ``down < up <=`` the next down. Up is None for the last one when
the unit never returns."""

_DOWN = 0
_UP = 1


class Unit(msgspec.Struct, frozen=True):
    """What fails as one: the rows of its nodes, and its outages from the beginning."""

    rows: Sequence[int]
    outages: OutageProcess


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """A failure model applied to the nodes of one cluster.

    ``events`` can be iterated any number of times; each time starts anew, streams, and gives the same. They are ordered
    by ``at_ns``; ties are in a fixed order that only the arguments determine. For each node they alternate: a
    ``remove``, then an ``add`` when it returns, so a node that is down at the horizon has no ``add``; an ``update``
    comes only while its node is up. ``repaired`` counts the dirt that was repaired or left out, and is complete once
    ``events`` has been read. ``assumptions`` is one sentence each, for a report.
    """

    events: Iterable[MachineEvent]
    assumptions: tuple[str, ...]
    repaired: Mapping[str, int]

    def __iter__(self) -> Iterator[MachineEvent]:
        return iter(self.events)


class _Reread:
    """An iterable that calls ``start`` anew each time, with the counts as they were at first."""

    def __init__(self, start: Callable[[Counter[str]], Iterator[MachineEvent]], repaired: Counter[str]) -> None:
        self._start = start
        self._initial = dict(repaired)
        self._repaired = repaired

    def __iter__(self) -> Iterator[MachineEvent]:
        self._repaired.clear()
        self._repaired.update(self._initial)
        return self._start(self._repaired)


def failures(
    start: Callable[[Counter[str]], Iterator[MachineEvent]],
    assumptions: Iterable[str] = (),
    repaired: Mapping[str, int] | None = None,
) -> Failures:
    """Return Failures whose events ``start`` begins anew; it is handed the counter to which repairs are added."""
    counts = Counter(repaired or {})
    return Failures(events=_Reread(start, counts), assumptions=tuple(assumptions), repaired=counts)


def outage_events(
    units: Iterable[Unit], node_ids: Sequence[str], horizon_ns: int, repaired: Counter[str]
) -> Iterator[MachineEvent]:
    """Yield the removals and returns before ``horizon_ns`` that the outages of ``units`` mean for ``node_ids``.

    At one instant removals come before returns, each by the order of units and of rows within one. Removals of a node
    that is already down are counted in ``repaired`` as ``overlapping_outage``.
    """
    heap = [
        (outage[0], _DOWN, order, outage[1], unit)
        for order, unit in enumerate(units)
        if (outage := next(unit.outages, None)) is not None and outage[0] < horizon_ns
    ]
    heapq.heapify(heap)
    depth: dict[int, int] = {}
    while heap:
        at_ns, kind, order, up_ns, unit = heap[0]
        following: tuple[int, int, int, int | None, Unit] | None
        if kind == _DOWN:
            for row in unit.rows:
                depth[row] = depth.get(row, 0) + 1
                if depth[row] == 1:
                    yield MachineEvent(at_ns=at_ns, machine_id=node_ids[row], kind="remove")
                else:
                    repaired["overlapping_outage"] += 1
            following = None if up_ns is None else (up_ns, _UP, order, None, unit)
        else:
            for row in unit.rows:
                depth[row] -= 1
                if not depth[row]:
                    del depth[row]
                    yield MachineEvent(at_ns=at_ns, machine_id=node_ids[row], kind="add")
            outage = next(unit.outages, None)
            following = None if outage is None else (outage[0], _DOWN, order, outage[1], unit)
        if following is None or following[0] >= horizon_ns:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, following)

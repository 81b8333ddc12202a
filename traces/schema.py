"""The canonical trace schema: what every reader produces and everything else consumes.

A trace is two streams, both ordered by ``at_ns``: machine events and submissions. Times are integer nanoseconds
from the trace's own zero. Quantities are integers in the unit that the column name ends in
(``cpu_millicores``, ``memory_bytes``, ``gpu_milli``, ``disk_bytes``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import msgspec

SECOND_NS = 1_000_000_000

MachineEventKind = Literal["add", "remove", "update"]


class MachineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A machine appears (``add``), goes away (``remove``) or changes its capacity (``update``).

    ``capacity`` maps a column name to base units; it is empty for ``remove``, and for an ``update`` or a returning
    ``add`` that keeps the capacity known before. A second ``add`` of a removed machine is its return.
    ``resources`` maps a plugin's name to what the machine has of particular things, as that plugin takes it:
    ``{"gpu": {"model": "V100", "count": 8}}``. ``topology`` maps a level to the machine's domain: ``{"rack": "12"}``.
    """

    at_ns: int
    machine_id: str
    kind: MachineEventKind
    capacity: Mapping[str, int] = {}
    labels: Mapping[str, str] = {}
    resources: Mapping[str, Any] = {}
    topology: Mapping[str, str] = {}


class Submission(msgspec.Struct, frozen=True, gc=False):
    """``count`` equal workloads submitted at one instant.

    ``request`` is aligned with ``Trace.dimensions``. With ``count > 1`` the workloads are called ``<workload_id>/<i>``.
    ``service_ns`` is the intrinsic service time; None means censored: it runs past the horizon.
    ``exit_code`` is how the service ends by itself (0 finished, otherwise failed). ``kill_at_ns`` is the instant at
    which the user removed it, whatever its state. ``estimate_ns`` is the user's own run-time estimate.
    ``constraints`` holds what the trace asks beyond quantities: ``{"different_machine": True}`` or
    ``{"node_labels": {"gpu_model": ["V100", "P100"]}}`` (any of the listed values). Other names are those of plugins,
    with the payload that the plugin takes; equal constraints may be one shared mapping.
    ``recorded_machine_id`` is set for work that the recording shows running on that machine at the trace's start.
    """

    at_ns: int
    workload_id: str
    request: tuple[int, ...]
    count: int = 1
    job_id: str = ""
    tenant: str = ""
    priority: int = 0
    service_ns: int | None = None
    exit_code: int = 0
    kill_at_ns: int | None = None
    estimate_ns: int | None = None
    constraints: Mapping[str, Any] | None = None
    recorded_machine_id: str = ""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A point of an optional demand curve: what a workload really uses from ``at_ns`` on, aligned with dimensions."""

    at_ns: int
    workload_id: str
    used: tuple[int, ...]


class Trace(Protocol):
    """One opened trace. Each stream may be read any number of times; each read starts anew and streams.

    ``repaired`` counts the declared dirt that has been repaired; it is complete once ``submissions`` and
    ``machine_events`` have each been read to their end. ``assumptions`` are the options in force, one sentence each.
    """

    source: str
    dimensions: tuple[str, ...]
    assumptions: tuple[str, ...]
    repaired: Mapping[str, int]
    horizon_ns: int | None
    """Default end of a replay; None means until nothing is left to do."""
    default_cluster: str | None
    """A cluster specification to use when the trace has no machines of its own, else None."""
    plugins: Mapping[str, Mapping[str, Any]]
    """The plugins that its constraints and its machines' resources speak to, each with its parameters."""

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield machine events by ``at_ns``."""
        ...

    def submissions(self) -> Iterator[Submission]:
        """Yield submissions by ``at_ns``."""
        ...

    def demand(self) -> Iterator[Demand]:
        """Yield demand points by ``at_ns``; most traces have none."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the facts of the trace as JSON-able values; it may read the streams."""
        ...


class TraceError(Exception):
    """Bad input. The message is one line that names file, row, field, value and remedy."""

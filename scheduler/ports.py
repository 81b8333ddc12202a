"""The interfaces that others implement: resource plugins, policies' view of nodes, engines.

Plugins only calculate. The framework owns state, deltas, rollback and persistence; it hands a plugin read-only columns
and takes back values. There are three tiers:

* tier 0, declare: a `Dimension`. Nothing to write; the framework counts it.
* tier 1, vectorise: a `ResourcePlugin` that answers with arrays over rows.
* tier 2, exact: a plugin that also keeps node state and assigns particular things (cores, devices, addresses).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from scheduler.commands import AnyCommand
from scheduler.events import AnyEvent
from scheduler.types import Int32Array, Int64Array, NodeIndex

UNLIMITED = np.iinfo(np.int64).max
"""A capacity without a bound. Sums of capacities saturate here."""

Coupling = Literal["none", "domain", "cluster"]
"""What a placement can change for *other* rows: nothing, rows of the same domain, or all rows."""


class Dimension(msgspec.Struct, frozen=True):
    """A countable resource of a node: tier 0 needs no more than this. Amounts are int64 in ``unit``."""

    name: str
    unit: str

    @property
    def column(self) -> str:
        """The name of its column in tables, unit last: ``cpu_millicores``."""
        return f"{self.name}_{self.unit}"


class NodeColumns(NamedTuple):
    """Read-only columns over some rows, for plugins and policies. All arrays have one entry a row, in row order.

    ``free`` and ``total`` have shape (dimensions, rows), int64 base units. ``reference`` is the largest capacity of any
    node by dimension (at least 1), to normalise by. ``rows`` are the node indices.
    """

    dimensions: tuple[Dimension, ...]
    rows: Int64Array
    free: Int64Array
    total: Int64Array
    reference: Int64Array


class NodeFacts(Protocol):
    """What a plugin may know of nodes besides their resources. Facts never change without an event of the node."""

    @property
    def row_count(self) -> int:
        """How many rows there are, removed ones included."""

    def labels(self, row: NodeIndex) -> Mapping[str, str]:
        """The labels that the node joined with."""

    def domain_ids(self, level: str) -> Int32Array:
        """By row, the index of the topology domain at ``level`` that the node is in; -1 where it is in none."""

    def domain_count(self, level: str) -> int:
        """How many domains there are at ``level``."""


class PoolView(Protocol):
    """Cluster-wide pools as the ledger has them now."""

    def pool_free(self, pool: str) -> int | None:
        """What is left; None where the pool has no limit."""

    @property
    def pool_used(self) -> Mapping[str, int]:
        """What is taken, by pool; a pool of which nothing is taken may be absent."""


class Cap(NamedTuple):
    """At most ``limit[d]`` more copies in domain ``d``; ``domain_ids`` gives each row's domain, -1 for no limit."""

    domain_ids: Int32Array
    limit: Int64Array


class ResourcePlugin(Protocol):
    """One resource in the pipeline. Pure: same arguments, same answer; it keeps no state of its own.

    When called: ``parse`` once for each submission that carries a payload for this plugin; ``capacity`` when a request
    class is scanned in full and, for the touched rows only, when its cache is refreshed; ``caps`` at every decision
    for requests with a payload, and only if ``coupling`` is not "none"; ``charges`` when a placement is committed and,
    with the same arguments, when it is released.
    """

    name: str
    version: str
    coupling: Coupling

    def pools(self) -> Mapping[str, int]:
        """The cluster-wide pools that it brings, with their limits. Names start with the plugin's name and "/"."""

    def parse(self, payload: Any) -> Any:
        """Check a payload and return it in one canonical form; ValueError names field, value and remedy."""

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """Copies that fit on each of ``nodes.rows`` now, as far as this plugin is concerned; None for no bound.

        May only depend on the row itself.
        """

    def caps(self, request: Any, facts: NodeFacts, pools: PoolView) -> Sequence[Cap]:
        """The limits over domains that hold now."""

    def charges(self, request: Any, row: NodeIndex, facts: NodeFacts) -> Mapping[str, int]:
        """What one copy on ``row`` takes from cluster-wide pools."""

    def engine_args(self, request: Any) -> Mapping[str, Any]:
        """What the engine must be told. A key that two plugins give is an error that names both."""


class Completion(msgspec.Struct, frozen=True, gc=False):
    """An event that an engine will report ``delay_ns`` after the command was given."""

    delay_ns: int
    event: AnyEvent


class Engine(Protocol):
    """What drivers hand commands to. Idempotent by workload id and generation."""

    def execute(self, command: AnyCommand) -> Sequence[Completion]:
        """Carry out one command; return what it will report, which may be nothing."""

"""The interfaces that others implement: resource plugins, policies' view of nodes, engines.

Plugins only calculate. The framework owns state, deltas, rollback and persistence; it hands a plugin read-only columns
and takes back values. There are three tiers:

* tier 0, declare: a `Dimension`. Nothing to write; the framework counts it.
* tier 1, vectorise: a `ResourcePlugin` that answers with arrays over rows.
* tier 2, exact: an `ExactPlugin` that also says which particular things a workload holds (cores, devices, bytes of a
  volume). What a node has are named *slots*, each with a total; an `Assignment` takes amounts of slots. Free amounts,
  conservation, undo and snapshots are the framework's.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from scheduler.assignment import Assignment as Assignment
from scheduler.commands import AnyCommand
from scheduler.events import AnyEvent
from scheduler.types import FloatArray, Int32Array, Int64Array, NodeIndex

UNLIMITED = np.iinfo(np.int64).max
"""A capacity without a bound. Sums of capacities saturate here."""

COPIES_MAX = 10_000
"""An exact plugin never has to count more copies than this on one node."""

Coupling = Literal["none", "domain", "cluster"]
"""What a placement can change for *other* rows.

* none: nothing. Strategies work in closed form.
* cluster: every copy, wherever it is placed, takes one from each limit that `ResourcePlugin.caps` gives, and from
  nothing else. Strategies work in closed form under the smallest limit.
* domain: anything; capacities, caps and scores are asked for again after every copy, and a refused request is tried
  again after every change of marks, by a placement or a release.
"""


class Dimension(msgspec.Struct, frozen=True):
    """A countable resource of a node: tier 0 needs no more than this. Amounts are int64 in ``unit``."""

    name: str
    unit: str

    @property
    def column(self) -> str:
        """The name of its column in tables, unit last: ``cpu_millicores``."""
        return f"{self.name}_{self.unit}"


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has of an exact plugin's resource.

    ``slots`` names the things, in the plugin's own order; ``total`` is how much there is of each, int64 base units.
    The slots named in ``counted`` are counted and never limited: their free amount may go below zero. ``layout`` is
    plain data of the plugin's own about how the slots lie (NUMA nodes, mounts, links). ``capacity`` is what the node
    has of countable dimensions because of these things, by dimension name; it is added to what the node says itself.
    """

    slots: tuple[str, ...]
    total: tuple[int, ...]
    counted: tuple[str, ...] = ()
    layout: Any = None
    capacity: Mapping[str, int] = {}


NOTHING = Inventory(slots=(), total=())
"""What a node has that has nothing of the kind."""


class NodeSlots(NamedTuple):
    """One node as an exact plugin sees it: ``free`` is aligned with ``inventory.slots``; the plugin may change it."""

    inventory: Inventory
    free: list[int]


class SlotColumns(NamedTuple):
    """The slots of one exact plugin over some rows.

    ``free`` has shape (rows, width) with ``width`` at least the largest number of slots; what is beyond a node's own
    slots is 0. ``inventory_ids`` says by row which of ``inventories`` the node has, -1 for none at all.
    """

    inventories: Sequence[Inventory]
    inventory_ids: Int64Array
    free: Int64Array

    def distinct(self) -> tuple[Int64Array, Int64Array]:
        """The first position of every kind of node (same inventory, same free amounts), and by position its kind."""
        kinds: dict[tuple[int, bytes], int] = {}
        first: list[int] = []
        kind_of = np.empty(len(self.inventory_ids), dtype=np.int64)
        free = np.ascontiguousarray(self.free)
        for position, inventory_id in enumerate(self.inventory_ids.tolist()):
            kind = kinds.setdefault((inventory_id, free[position].tobytes()), len(first))
            if kind == len(first):
                first.append(position)
            kind_of[position] = kind
        return np.array(first, dtype=np.int64), kind_of


class NodeColumns:
    """Read-only columns over some rows. All arrays have one entry a row, in row order.

    ``free`` and ``total`` have shape (dimensions, rows), int64 base units. ``reference`` is the largest capacity of any
    node by dimension (at least 1), to normalise by. ``rows`` are the node indices. ``slots`` are those of the exact
    plugin that is asked, None for everybody else.

    Valid during the call that they are given to: what is not read in it is not cut out.
    """

    __slots__ = ("_all_free", "_all_total", "_free", "_total", "dimensions", "reference", "rows", "slots")

    def __init__(
        self,
        dimensions: tuple[Dimension, ...],
        rows: Int64Array,
        free: Int64Array,
        total: Int64Array,
        reference: Int64Array,
        slots: SlotColumns | None = None,
    ) -> None:
        """``free`` and ``total`` (dimensions, all rows) are what ``rows`` are the indices into."""
        self.dimensions = dimensions
        if rows.flags.writeable:
            rows = rows.view()
            rows.flags.writeable = False
        self.rows = rows
        self.reference = reference
        self.slots = slots
        self._all_free = free
        self._all_total = total
        self._free: Int64Array | None = None
        self._total: Int64Array | None = None

    @property
    def free(self) -> Int64Array:
        """What is free of each dimension."""
        if self._free is None:
            self._free = self._all_free.take(self.rows, axis=1)
            self._free.flags.writeable = False
        return self._free

    @property
    def total(self) -> Int64Array:
        """The capacity in each dimension."""
        if self._total is None:
            self._total = self._all_total.take(self.rows, axis=1)
            self._total.flags.writeable = False
        return self._total

    def with_slots(self, slots: SlotColumns) -> NodeColumns:
        """The same rows with the slots of an exact plugin."""
        result = NodeColumns(self.dimensions, self.rows, self._all_free, self._all_total, self.reference, slots)
        result._free, result._total = self._free, self._total
        return result


class NodeFacts(Protocol):
    """What a plugin may know of nodes besides their resources.

    Facts of a row change only with an event of the node or a workload on it, and then the row counts as changed.

    *Marks* are names that plugins put on the workloads they are asked for (`ResourcePlugin.marks`). A mark has a
    family and a value; the framework counts on every row how many workloads carry it.
    """

    @property
    def row_count(self) -> int:
        """How many rows there are, removed ones included."""

    def labels(self, row: NodeIndex) -> Mapping[str, str]:
        """The labels that the node has."""

    def taints(self, row: NodeIndex) -> Sequence[str]:
        """The taints that the node has, as they were given: ``key=value:effect``."""

    def images(self, row: NodeIndex) -> Mapping[str, int]:
        """The images that the node is known to have, with their sizes in bytes (0 where unknown)."""

    def domain_ids(self, level: str) -> Int32Array:
        """By row, the index of the topology domain at ``level`` that the node is in; -1 where it is in none.

        Level "node" makes every row a domain of its own. Read-only.
        """

    def domain_count(self, level: str) -> int:
        """How many domains there are at ``level``."""

    def open_domains(self, level: str) -> Int64Array:
        """How many nodes that take new work are in each domain at ``level``. Read-only."""

    def mark_values(self, family: str) -> Mapping[str, Mapping[NodeIndex, int]]:
        """The values of a family that some workload carries now; each with the rows where, and how many there."""

    def mark_counts(self, family: str, value: str, level: str) -> Int64Array:
        """How many workloads in each domain at ``level`` carry the mark. Read-only; one entry a domain."""


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


class Usage(NamedTuple):
    """How much of a node is used, and how much more one copy would use, as shares (1.0 is all; more is possible).

    One entry a row. Over several plugins the means count, weighted by ``weight``. Strategy *global* evens these out.
    """

    usage: FloatArray
    rate: FloatArray
    weight: float = 1.0


class ResourcePlugin(ABC):
    """Tier 1: one resource in the pipeline. Write ``name``, `parse`, and what of the rest applies.

    Pure: same arguments, same answer; a plugin keeps no state but its parameters, which ``__init__`` takes as keywords
    and stores under their own names.

    When called: `parse` once for each submission that carries a payload for this plugin; `capacity` when a request
    class is looked at in full and, for the touched rows only, afterwards; `caps` at every decision for requests with a
    payload, and only if their coupling is not "none"; `charges` and `marks` when a placement is committed and, with the
    same arguments, when it is released.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    coupling: ClassVar[Coupling] = "none"
    is_universal: ClassVar[bool] = False
    """Whether workloads without a payload are asked about too, with ``parse({})``."""
    dimensions: ClassVar[tuple[Dimension, ...]] = ()
    """The dimensions that `demand` speaks of; the core has to count them."""
    uses_images: ClassVar[bool] = False
    """Whether it wants to know which images a node has: then the core notes those that were started there."""
    engine_keys: ClassVar[tuple[str, ...]] = ()
    """The keys that `engine_args` may give. No two plugins of a core may share one."""
    examples: ClassVar[Sequence[Any]] = ()
    """Payloads to show and to check it with."""

    def get_params(self) -> dict[str, Any]:
        """The parameters of the constructor, as they are now."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def coupling_of(self, request: Any) -> Coupling:
        """The coupling that this request brings; by default that of the plugin."""
        return self.coupling

    def pools(self) -> Mapping[str, int]:
        """The cluster-wide pools that it brings, with their limits. Names start with the plugin's name and "/"."""
        return {}

    @abstractmethod
    def parse(self, payload: Any) -> Any:
        """Check a payload and return it in one canonical form, which is plain data and itself a valid payload.

        ValueError names field, value and remedy.
        """

    def merge(self, request: Any, change: Any) -> Any:
        """Return the request after a realloc by ``change`` (what a user gave, unchecked), in canonical form.

        ValueError names field, value and remedy; the default refuses every change.
        """
        raise ValueError(f"{self.name}: it cannot be changed in place; replace the workload instead")

    def check_taints(self, taints: Sequence[str]) -> None:  # noqa: B027 - most have nothing to say of taints
        """ValueError, naming value and remedy, where a node's taints are not such as this plugin understands."""

    def demand(self, request: Any) -> Mapping[str, int]:
        """What one copy takes of countable dimensions, by name, in addition to what it asks for itself."""
        return {}

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """Copies that fit on each of ``nodes.rows`` now, as far as this plugin is concerned; None for no bound.

        At least 0; `UNLIMITED` where nothing limits. May only depend on the row itself: its columns, its facts, and
        the marks on it.
        """
        return None

    def caps(self, request: Any, facts: NodeFacts, pools: PoolView) -> Sequence[Cap]:
        """The limits over domains that hold now."""
        return ()

    def score(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> FloatArray | None:
        """Preferences: finite float64 from 0 to 1 a row, added to the policy's score times the plugin's weight.

        With a coupling of "none" it may only depend on the row itself. None for no preference.
        """
        return None

    def has_preferences(self, request: Any) -> bool:
        """Whether `score` has anything to say about this request; by default, whether the plugin has a `score`."""
        return type(self).score is not ResourcePlugin.score

    def usage(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Usage | None:
        """How full the rows are of this plugin's resource; None where that says nothing."""
        return None

    def charges(self, request: Any, row: NodeIndex, facts: NodeFacts) -> Mapping[str, int]:
        """What one copy on ``row`` takes from cluster-wide pools."""
        return {}

    def marks(self, request: Any) -> Sequence[tuple[str, str]]:
        """The marks that a placed workload carries: pairs of family and value."""
        return ()

    def engine_args(self, request: Any, assignment: Assignment | None, shared: Any) -> Mapping[str, Any]:
        """What the engine must be told, plain data by key. A key that two plugins give is an error.

        ``assignment`` and ``shared`` are those of an exact plugin (`ExactPlugin.shared`), None for others.
        """
        return {}


class ExactPlugin(ResourcePlugin):
    """Tier 2: a resource of particular things. Write ``name``, `parse`, `inventory` and `assign` at least.

    The framework takes the amounts of an assignment out of the free slots, checks that nothing is granted twice, and
    gives them back when the workload is gone.
    """

    capacity_is_exact: ClassVar[bool] = True
    """Whether `capacity` copies can always be assigned; an upper bound will do, but costs a second look."""
    placement_makes_room: ClassVar[bool] = False
    """Whether taking things can make a refused request fit on the same node, as when a broken core becomes whole."""
    node_examples: ClassVar[Sequence[Any]] = ()
    """Payloads of nodes to show and to check it with."""

    @abstractmethod
    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """What a node has, from what was said of it when it joined; None where it has nothing of the kind.

        ``payload`` is the node's payload for this plugin, None where there is none; ``capacity`` its amounts by
        dimension. ValueError names field, value and remedy.
        """

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> Any:
        """Return a node's payload after a change of its capacity: the values of ``change`` added, or put in place.

        ``payload`` is None where the node had none. ValueError names field, value and remedy.
        """
        if is_delta:
            raise ValueError(f"{self.name}: its capacity cannot be changed by a difference; give the whole")
        return change

    def node_capacity(self, request: Any, node: NodeSlots, most: int) -> int:
        """How many copies fit on one node, at most ``most``."""
        return len(self.assign(request, node, most))

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array | None:
        """Asks `node_capacity`, once about nodes that are alike. May depend on nothing but the slots.

        The framework only asks about rows on which the quantities fit.
        """
        slots = nodes.slots
        assert slots is not None, "the framework gives an exact plugin its slots"
        first, kind_of = slots.distinct()
        counts = np.zeros(len(first), dtype=np.int64)
        for kind, position in enumerate(first.tolist()):
            inventory_id = int(slots.inventory_ids[position])
            inventory = slots.inventories[inventory_id] if inventory_id >= 0 else NOTHING
            free = slots.free[position, : len(inventory.slots)].tolist()
            counts[kind] = self.node_capacity(request, NodeSlots(inventory, free), COPIES_MAX)
        result: Int64Array = counts[kind_of]
        return result

    def uniform(self, request: Any) -> Assignment | None:
        """What every copy gets, whatever the node and wherever `capacity` leaves room; then nobody asks `assign`.

        None, the default, where it depends on the node.
        """
        return None

    @abstractmethod
    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """Choose things for up to ``count`` copies on one node, in the order in which they are to be used.

        Fewer where no more fit. Together they must fit into ``node.free``. A request that asks for nothing of the kind
        gets ``Assignment(amounts={})``, also on a node that has nothing of it (`NOTHING`).
        """

    def check_assignment(self, request: Any, inventory: Inventory, assignment: Assignment) -> None:
        """ValueError, one line, where the plugin could not have given this to that request on such a node.

        Asked about workloads that are found running. That the slots exist and the amounts are whole numbers above 0 has
        been checked before. The default trusts whoever found the workload.
        """

    def assign_preferring(self, request: Any, node: NodeSlots, preferred: Sequence[str]) -> Assignment | None:
        """Choose things for one copy, trying slots in a policy's order; None where it does not fit.

        Slots that are not named come last. The default does not mind the order.
        """
        return next(iter(self.assign(request, node, 1)), None)

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        """Choose things for a workload that holds ``held`` and now asks ``request``; None where it does not fit.

        ``node.free`` already contains what is held. Keep as much of it as possible. The default starts from scratch.
        """
        return next(iter(self.assign(request, node, 1)), None)

    def shared(self, node: NodeSlots) -> Any:
        """What workloads without things of their own share on this node, as plain data that can be compared.

        Whenever it changes, workloads on the node whose `engine_args` change with it are told: a *remap*.
        """
        return None


class Completion(msgspec.Struct, frozen=True, gc=False):
    """An event that an engine will report ``delay_ns`` after the command was given."""

    delay_ns: int
    event: AnyEvent


class Engine(Protocol):
    """What drivers hand commands to. Idempotent by workload id and generation."""

    def execute(self, command: AnyCommand) -> Sequence[Completion]:
        """Carry out one command; return what it will report, which may be nothing."""

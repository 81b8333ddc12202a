"""Request classes: all workloads that ask for exactly the same share one, and with it everything that is cached.

A class that is used a second time gets a score column over all rows, kept in a budget of bytes (least recently used
goes first); afterwards only rows that changed are scored again. The fused scan serves everything else. What is cached
never changes a decision: `scheduler.invariants` compares the two.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import numpy as np

from scheduler.assignment import Assignment
from scheduler.kernels import BLOCK
from scheduler.marks import Mark
from scheduler.ports import Coupling
from scheduler.types import FloatArray, Int64Array, MaskArray, NodeIndex

NOTHING_ASKED = np.iinfo(np.int64).min
_IDLE_CLASSES_MAX = 4096

Access = tuple[str, int]
"""While there are reservations: the tenant if one is for it, otherwise "", and the estimate."""
ClassKey = tuple[tuple[int, ...], str, bytes, tuple[NodeIndex, ...], str, Access | None]
"""What is asked of the dimensions, node pool, canonical payloads, rows to avoid, the gang, of which each is a class of
its own, and what reservations look at."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of plugins.

    ``payloads`` are in canonical form by plugin name. ``demand`` is what they take of the dimensions together.
    ``exact`` names the exact plugins among them, and ``uniform`` is what every copy gets of all of these, None where
    that depends on the node. ``coupling`` is the strongest, of the plugins in ``coupled``, ``marks`` are those of all,
    and ``scored`` names the plugins that may have preferences.
    """

    payloads: dict[str, Any]
    demand: tuple[int, ...]
    exact: tuple[str, ...]
    uniform: dict[str, Assignment] | None
    coupling: Coupling
    coupled: tuple[str, ...]
    marks: tuple[Mark, ...]
    scored: tuple[str, ...]


def need_of(request: tuple[int, ...]) -> Int64Array:
    """The request as the kernels want it: what is asked, or the smallest integer where nothing is."""
    return np.array([amount if amount else NOTHING_ASKED for amount in request], dtype=np.int64)


class ScoreColumn:
    """The cached scores of one class over all rows."""

    __slots__ = ("block_best", "scores", "seen", "used")

    def __init__(self, row_capacity: int) -> None:
        self.scores: FloatArray = np.full(row_capacity, -np.inf)
        self.block_best: Int64Array = np.full(-(-row_capacity // BLOCK), -1, dtype=np.int64)
        """The best row of each block, which the kernels keep; policies in NumPy have no use for it."""
        self.seen = 0
        """The ledger's version up to which the scores are right; -1 for never."""
        self.used = 0
        """The ledger's version when the column was asked for last."""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.scores.nbytes + self.block_best.nbytes


class RequestClass:
    """What is known about one kind of request. Made by `ClassTable.create`; never by hand."""

    __slots__ = (
        "_amounts", "access", "asked", "avoid", "capacity", "capacity_seen", "class_id", "column", "gang", "is_coupled",
        "is_plain", "key", "mask", "mask_seen", "members", "need", "policy_epoch", "pool", "queued", "request", "uses",
        "weights",
    )  # fmt: skip

    def __init__(self, class_id: int, key: ClassKey, asked: Asked | None) -> None:
        self.class_id = class_id
        self.key = key
        self.request, self.pool, _, self.avoid, self.gang, self.access = key
        self.asked = asked
        """What plugins are asked; None where none is asked anything."""
        if asked is not None:
            self.request = tuple(a + b for a, b in zip(self.request, asked.demand, strict=True))
            """What one copy takes of the dimensions, the plugins' demands included."""
        self.is_plain = asked is None and not self.pool and not self.avoid
        """Whether nothing but quantities is asked, so that the mask of open rows is all that filters."""
        self.is_coupled = asked is not None and asked.coupling != "none"
        """Whether a placement of one copy can change what other rows allow."""
        self.need = need_of(self.request)
        self._amounts: Int64Array | None = None
        self.weights: FloatArray | None = None
        self.policy_epoch = -1
        self.capacity: Int64Array | None = None
        """By row, how many copies fit, caps and reservations apart; None as long as nobody asked."""
        self.capacity_seen = -1
        """The ledger's version up to which ``capacity`` is right."""
        self.mask: MaskArray | None = None
        """By row, whether state, pool, avoided rows and plugins allow a copy; None as long as nobody asked."""
        self.mask_seen = -1
        """The ledger's version up to which ``mask`` is right."""
        self.column: ScoreColumn | None = None
        self.uses = 0
        self.members = 0
        """How many workloads refer to the class."""
        self.queued = 0
        """How many of them are in the queue."""

    @property
    def amounts(self) -> Int64Array:
        """`request` as an array (dimensions,), for reading only."""
        if self._amounts is None:
            self._amounts = np.array(self.request, dtype=np.int64)
            self._amounts.flags.writeable = False
        return self._amounts


class ClassTable:
    """All classes of one core. A class without members is kept for a while and then forgotten, oldest first."""

    def __init__(self, cache_bytes: int) -> None:
        self.cache_bytes = cache_bytes
        self._by_key: dict[ClassKey, RequestClass] = {}
        self.by_id: dict[int, RequestClass] = {}
        """For reading only."""
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._columns: OrderedDict[int, RequestClass] = OrderedDict()
        self._column_bytes = 0
        self._next_id = 0

    def __len__(self) -> int:
        return len(self.by_id)

    def find(self, key: ClassKey) -> RequestClass | None:
        """Return the class for ``key``, if there is one. What asks for it has been checked before."""
        return self._by_key.get(key)

    def create(self, key: ClassKey, asked: Asked | None) -> RequestClass:
        """Return a new class, without members, for a key that has none."""
        created = RequestClass(self._next_id, key, asked)
        self._next_id += 1
        self._by_key[key] = self.by_id[created.class_id] = created
        self._rest(created)
        return created

    def join(self, request_class: RequestClass, count: int = 1) -> None:
        """So many members more."""
        if not request_class.members:
            del self._idle[request_class.class_id]
        request_class.members += count

    def leave(self, class_id: int) -> None:
        """One member less."""
        left = self.by_id[class_id]
        left.members -= 1
        if left.members:
            return
        self._rest(left)

    def _rest(self, request_class: RequestClass) -> None:
        request_class.mask = request_class.capacity = None
        self._idle[request_class.class_id] = None
        if len(self._idle) > _IDLE_CLASSES_MAX:
            oldest, _ = self._idle.popitem(last=False)
            gone = self.by_id.pop(oldest)
            del self._by_key[gone.key]
            self._drop_column(gone)

    def column_of(self, request_class: RequestClass, row_capacity: int, *, uses_min: int = 2) -> ScoreColumn | None:
        """Return the class's score column, or None before that many uses; ``seen`` is -1 where it must be filled.

        ``row_capacity`` is the length that the columns have now.
        """
        column = request_class.column
        if column is not None and len(column.scores) == row_capacity:
            self._columns.move_to_end(request_class.class_id)
            return column
        request_class.uses += 1
        if request_class.uses < uses_min:
            return None
        self._drop_column(request_class)
        column = ScoreColumn(row_capacity)
        if column.nbytes > self.cache_bytes:
            return None
        column.seen = -1
        request_class.column = column
        self._columns[request_class.class_id] = request_class
        self._column_bytes += column.nbytes
        while self._column_bytes > self.cache_bytes:
            oldest = next(iter(self._columns.values()))
            oldest.uses = 0
            self._drop_column(oldest)
        return column

    def _drop_column(self, request_class: RequestClass) -> None:
        if request_class.column is not None:
            self._column_bytes -= request_class.column.nbytes
            request_class.column = None
            del self._columns[request_class.class_id]

    def cached(self) -> list[RequestClass]:
        """The classes that have a score column, least recently used first."""
        return list(self._columns.values())

"""Disciplines that divide the cluster between tenants: weighted fair share, and dominant resource fairness.

Tenants form a tree by their names: ``a/b`` is a child of ``a``. At every level the child with the lowest share for its
weight goes first, and within it the same again; the work of one tenant itself is in order of priority and then of
submission. Work of a tenant that has children too counts as a child without a name.

A quota is an amount by dimension for a path, in base units. Below its *minimum* (in all dimensions that it names) a
path goes before its siblings that are not, the one that is furthest from it first. Beyond its *maximum* nothing more of
it starts. What does not fit stands in nobody's way.
"""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from scheduler.disciplines.base import Discipline
from scheduler.disciplines.waiting import WaitingList
from scheduler.ledger import Ledger
from scheduler.ports import Dimension
from scheduler.request_classes import RequestClass
from scheduler.tenants import TenantUsage, lineage
from scheduler.workload import Workload, by_priority

if TYPE_CHECKING:
    from scheduler.placing import Placer
    from scheduler.state import CoreState

Quotas = Mapping[str, Mapping[str, int]]
Standing = tuple[tuple[int, float, str], ...]
"""By level, from the top: 0 below the minimum and else 1; how far, or the share for the weight; the path."""


class TenantQueue:
    """Queued workloads by tenant, each tenant's by priority and then submission."""

    def __init__(self, dimension_count: int) -> None:
        self.by_tenant: dict[str, WaitingList] = {}
        """For reading only. Only tenants with waiting work are in it."""
        self._dimension_count = dimension_count
        self._has_changed = False

    def push(self, workload: Workload, request_class: RequestClass) -> None:
        """Add a queued workload."""
        tenant = workload.spec.tenant
        if tenant not in self.by_tenant:
            self.by_tenant[tenant] = WaitingList(self._dimension_count, by_priority)
        self.by_tenant[tenant].push(workload, request_class)
        self._has_changed = True

    def drop(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue: there may be room for the rest of a gang."""
        self.take(workload)
        self._has_changed = True

    def take(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue because it has been placed."""
        tenant = workload.spec.tenant
        self.by_tenant[tenant].take(workload)
        if not self.by_tenant[tenant].entries:
            del self.by_tenant[tenant]

    @property
    def class_count(self) -> int:
        """How many classes have waiting workloads."""
        return len({class_id for waiting in self.by_tenant.values() for class_id in waiting.classes})

    @property
    def entry_count(self) -> int:
        """How many entries there are."""
        return sum(len(waiting.entries) for waiting in self.by_tenant.values())

    def demand(self) -> list[int]:
        """What all queued workloads ask for together, by dimension."""
        demands = [waiting.demand() for waiting in self.by_tenant.values()]
        return [sum(amounts) for amounts in zip(*demands, strict=True)] or [0] * self._dimension_count

    def workloads(self) -> Iterator[Workload]:
        """All queued workloads, by tenant and within it in order."""
        return (workload for waiting in self.by_tenant.values() for workload in waiting.workloads())

    def begin_pass(self, ledger: Ledger) -> bool:
        """Whether anything has changed since the last pass that could let a workload start; from now on nothing has."""
        freed, changed = ledger.take_note(), self._has_changed
        self._has_changed = False
        return (freed or changed) and bool(self.by_tenant)

    def settle(self, ledger: Ledger) -> None:
        """Everything that waits has been refused."""
        self.begin_pass(ledger)


class _Sharing(Discipline):
    """Gives what is free to the tenant that stands lowest, one workload after the other."""

    uses_tenants = True
    queue: TenantQueue

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        weights: Mapping[str, float] | None = None,
        minimum: Quotas | None = None,
        maximum: Quotas | None = None,
    ) -> None:
        self.queue = TenantQueue(len(dimensions))
        self._weights = dict(weights or {})
        for path, weight in self._weights.items():
            if not 0 < weight < 1e9:
                raise ValueError(f"weights.{path}: {weight} must be above 0 and below 1e9")
        places = {dimension.name: place for place, dimension in enumerate(dimensions)}
        self._minimum = _quotas("minimum", minimum or {}, places)
        self._maximum = _quotas("maximum", maximum or {}, places)

    def run(self, placer: Placer) -> None:
        """Place one unit after the other, of the tenant that stands lowest and has one that fits."""
        while self.queue.begin_pass(placer.state.ledger):
            refused: set[int] = set()
            positions = dict.fromkeys(self.queue.by_tenant, 0)
            heap = [(self._standing(placer.state, tenant), tenant) for tenant in positions]
            heapq.heapify(heap)
            while heap:
                standing, tenant = heapq.heappop(heap)
                now = self._standing(placer.state, tenant)
                if now == standing and not self._place_next(placer, tenant, positions, refused):
                    continue
                # Shares only grow in a pass, so what is lowest by its present standing comes next.
                heapq.heappush(heap, (self._standing(placer.state, tenant), tenant))

    def _place_next(self, placer: Placer, tenant: str, positions: dict[str, int], refused: set[int]) -> bool:
        """Place the tenant's first unit that fits; False where none does, or none is left."""
        while (waiting := self.queue.by_tenant.get(tenant)) and positions[tenant] < len(waiting.entries):
            unit = waiting.unit_at(positions[tenant])
            request_class = placer.class_of(unit[0])
            if request_class.class_id not in refused and self._is_allowed(placer.state, tenant, unit):
                if placer.try_place_unit(unit):
                    for workload in unit:
                        self.queue.take(workload)
                    return True
                refused.add(request_class.class_id)
            positions[tenant] += len(unit)
        return False

    def _is_allowed(self, state: CoreState, tenant: str, unit: list[Workload]) -> bool:
        """Whether no maximum stands against it."""
        usage = _usage_of(state)
        request = state.planner.classes.by_id[unit[0].class_id].request
        return all(
            usage.of(path)[place] + len(unit) * request[place] <= most
            for path in lineage(tenant)
            for place, most in self._maximum.get(path, ())
            if request[place]
        )

    def _standing(self, state: CoreState, tenant: str) -> Standing:
        usage, total = _usage_of(state), state.ledger.live_total
        levels = []
        for path in lineage(tenant):
            held = usage.of(path)
            minimum = self._minimum.get(path)
            reached = max((held[place] / amount for place, amount in minimum), default=1.0) if minimum else 1.0
            if reached < 1:
                levels.append((0, reached, path))
            else:
                levels.append((1, self._share(held, total) / self._weights.get(path, 1.0), path))
        return tuple(levels)

    @abstractmethod
    def _share(self, held: Sequence[int], total: Sequence[int]) -> float:
        """The share of what there is that somebody has who holds that much."""

    def limit(self, state: CoreState, workload: Workload) -> str:
        """The maximum that keeps the workload waiting, if one does."""
        tenant = workload.spec.tenant
        waiting = self.queue.by_tenant[tenant]
        unit = [other for other in waiting.workloads() if other.class_id == workload.class_id and other.spec.gang]
        return "" if self._is_allowed(state, tenant, unit or [workload]) else f"the maximum of tenant {tenant}"


class DominantResourceFairness(_Sharing):
    """Dominant resource fairness (Ghodsi et al., NSDI'11), weighted and hierarchical.

    A tenant's share is that of its dominant resource: the largest share, over the dimensions, of what it holds of what
    live nodes have. ``weights`` maps a path to its weight (default 1), ``minimum`` and ``maximum`` map one to amounts
    by dimension. Ties go to the path that comes first in the alphabet.
    """

    name = "drf"

    def _share(self, held: Sequence[int], total: Sequence[int]) -> float:
        return max((amount / there for amount, there in zip(held, total, strict=True) if there > 0), default=0.0)


class FairShare(_Sharing):
    """Weighted max-min fair share of one resource (Demers, Keshav and Shenker, SIGCOMM'89, with work for packets).

    A tenant's share is that of ``dimension`` (default: the first one) of what live nodes have. The other parameters and
    the ties are as in `DominantResourceFairness`.
    """

    name = "fair"

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        dimension: str = "",
        weights: Mapping[str, float] | None = None,
        minimum: Quotas | None = None,
        maximum: Quotas | None = None,
    ) -> None:
        super().__init__(dimensions, weights, minimum, maximum)
        names = [known.name for known in dimensions]
        if dimension and dimension not in names:
            raise ValueError(f"dimension: no {dimension!r}; there are: {', '.join(names)}")
        self._place = names.index(dimension) if dimension else 0

    def _share(self, held: Sequence[int], total: Sequence[int]) -> float:
        there = total[self._place]
        return held[self._place] / there if there > 0 else 0.0


def _quotas(field: str, quotas: Quotas, places: Mapping[str, int]) -> dict[str, list[tuple[int, int]]]:
    """By path, pairs of a dimension's place and the amount."""
    found: dict[str, list[tuple[int, int]]] = {}
    for path, amounts in quotas.items():
        for name, amount in amounts.items():
            if name not in places:
                raise ValueError(f"{field}.{path}.{name}: no such dimension; there are: {', '.join(places)}")
            if amount < 1:
                raise ValueError(f"{field}.{path}.{name}: {amount} must be at least 1; leave it out for no quota")
            found.setdefault(path, []).append((places[name], amount))
    return found


def _usage_of(state: CoreState) -> TenantUsage:
    assert state.tenants is not None
    return state.tenants

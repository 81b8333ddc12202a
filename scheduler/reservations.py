"""Reservations: nodes that are held for one tenant during a time.

Theory of operation. A reservation is of whole nodes, and takes nothing out of the books: it is a filter, so it is right
for quantities, for particular things and for whatever plugins count. Work of anybody else is placed on no node whose
reservation is in force, and on none whose reservation would begin before the work is expected to end; what has no
estimate is expected never to end. So of all that is placed after the announcement nothing is in the way when the time
comes, as far as estimates are right. What was there before, or stays longer than was said, is not stopped: until it has
left, the reservation is short of that node, and `Core.reservations` tells by whom.

The tenant's own work goes to the reserved nodes first, and elsewhere where it does not fit there. What runs there when
the time is over stays.

Whether a node will do then depends on who asks, and for how long. So while there are reservations, tenant and estimate
are part of what makes a request class (`Access`), and with every reservation that comes or goes all that waits is put
into its class anew. What is closed changes with time alone too, so it is taken out of each decision, and never cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scheduler.cluster import Node, NodeState
from scheduler.events import ReservationCancelled, ReservationSet, WorkloadsSubmitted
from scheduler.expected_ends import NEVER_NS, expected_end_ns
from scheduler.lifecycle import State
from scheduler.request_classes import Access, RequestClass
from scheduler.types import Int64Array, NodeIndex
from scheduler.workload import Workload

if TYPE_CHECKING:
    from scheduler.state import CoreState, Handlers

_NO_ROWS: Int64Array = np.zeros(0, dtype=np.int64)


def is_below(tenant: str, path: str) -> bool:
    """Whether a tenant is the one of that path, or one below it."""
    return tenant == path or tenant.startswith(path + "/")


class Reservation(msgspec.Struct, gc=False, kw_only=True):
    """A reservation that is not over. ``timer`` is the sequence number of the timer for its end."""

    reservation_id: str
    tenant: str
    node_ids: tuple[str, ...]
    start_ns: int
    end_ns: int
    timer: int = -1

    def is_for(self, tenant: str) -> bool:
        """Whether the tenant's work may use it: that of the one who is named, and of all below."""
        return is_below(tenant, self.tenant)


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a reservation: ``others`` maps a node to the work of others that is still there."""

    reservation_id: str
    tenant: str
    node_ids: tuple[str, ...]
    start_ns: int
    end_ns: int
    is_in_force: bool
    others: dict[str, list[str]]


class Reservations:
    """The reservations of one core, and their handlers, one an event type."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.by_id: dict[str, Reservation] = {}
        """Those that are not over. For reading only; `adopt` adds one of a snapshot."""
        self.handlers: Handlers = {ReservationSet: self._on_set, ReservationCancelled: self._on_cancelled}
        self._rows: dict[str, Int64Array] = {}
        self._rows_are_of = -1, -1

    # -- what is asked for each decision ------------------------------------------------------------------------------

    def access(self, spec: WorkloadsSubmitted) -> Access | None:
        """What tells apart who may be placed where; None as long as there is no reservation."""
        if not self.by_id:
            return None
        is_for_it = any(reservation.is_for(spec.tenant) for reservation in self.by_id.values())
        return (spec.tenant if is_for_it else "", NEVER_NS if spec.estimate_ns is None else spec.estimate_ns)

    def closed_rows(self, request_class: RequestClass) -> Int64Array:
        """The rows that others hold, or will before the request is expected to end; ascending within each."""
        if request_class.access is None:
            return _NO_ROWS
        tenant, estimate_ns = request_class.access
        now_ns = self.state.at_ns
        closed = [
            self._rows_of(reservation)
            for reservation in self.by_id.values()
            if not reservation.is_for(tenant)
            and (now_ns >= reservation.start_ns or now_ns + estimate_ns > reservation.start_ns)
        ]
        return np.concatenate(closed) if closed else _NO_ROWS

    def own_rows(self, request_class: RequestClass) -> Int64Array:
        """The rows that are held for the request now, ascending."""
        if request_class.access is None or not request_class.access[0]:
            return _NO_ROWS
        own = [
            self._rows_of(reservation)
            for reservation in self.by_id.values()
            if reservation.is_for(request_class.access[0]) and self.state.at_ns >= reservation.start_ns
        ]
        return np.unique(np.concatenate(own)) if own else _NO_ROWS

    def _rows_of(self, reservation: Reservation) -> Int64Array:
        by_id = self.state.cluster.by_id
        known = self.state.cluster.row_count, len(by_id)
        if self._rows_are_of != known:
            self._rows.clear()
            self._rows_are_of = known
        rows = self._rows.get(reservation.reservation_id)
        if rows is None:
            found = sorted(by_id[node_id].row for node_id in reservation.node_ids if node_id in by_id)
            rows = self._rows[reservation.reservation_id] = np.array(found, dtype=np.int64)
        return rows

    def status(self) -> list[Reserved]:
        """How it stands with all of them, in the order in which they were set."""
        cluster = self.state.cluster
        return [
            Reserved(
                reservation_id=reservation.reservation_id,
                tenant=reservation.tenant,
                node_ids=reservation.node_ids,
                start_ns=reservation.start_ns,
                end_ns=reservation.end_ns,
                is_in_force=self.state.at_ns >= reservation.start_ns,
                others={
                    cluster.nodes[row].node_id: [other.workload_id for other in others]
                    for row in self._rows_of(reservation).tolist()
                    if (others := self._others(reservation.tenant, row))
                },
            )
            for reservation in self.by_id.values()
        ]

    def _others(self, tenant: str, row: NodeIndex) -> list[Workload]:
        return [other for other in self.state.on_row[row].values() if not is_below(other.spec.tenant, tenant)]

    # -- what changes them --------------------------------------------------------------------------------------------

    def adopt(self, reservation: Reservation) -> None:
        """Take in a record as it was."""
        self.by_id[reservation.reservation_id] = reservation

    def is_due(self, reservation_id: str, timer: int) -> bool:
        """Whether that is the timer for the end of a reservation."""
        reservation = self.by_id.get(reservation_id)
        return reservation is not None and reservation.timer == timer

    def end(self, reservation_id: str) -> None:
        """A reservation is over."""
        del self.by_id[reservation_id]
        self._rows.pop(reservation_id, None)
        self.state.reclassify()

    def _on_set(self, event: ReservationSet) -> None:
        state = self.state
        try:
            node_ids = self._nodes_for(event)
            if event.operation_id in state.results.operations:
                raise ValueError("an operation of this id is under way")
        except ValueError as error:
            state.results.refuse(event.reservation_id, str(error), event.operation_id)
            return
        reservation = Reservation(
            reservation_id=event.reservation_id,
            tenant=event.tenant,
            node_ids=node_ids,
            start_ns=event.start_ns,
            end_ns=event.end_ns,
        )
        self.adopt(reservation)
        reservation.timer = state.timers.add_delay("reservation", event.end_ns, event.reservation_id, 0)
        state.reclassify()
        if state.results.open(event.operation_id, "reservation", 1) and event.operation_id:
            state.results.answer(event.operation_id, event.reservation_id, "reserved", ", ".join(node_ids))

    def _on_cancelled(self, event: ReservationCancelled) -> None:
        if event.reservation_id in self.by_id:
            self.end(event.reservation_id)
        else:
            self.state.results.refuse(event.reservation_id, "no such reservation, or it is over")

    def _nodes_for(self, event: ReservationSet) -> tuple[str, ...]:
        """The nodes that it gets; ValueError names field, value and remedy."""
        state, by_id = self.state, self.state.cluster.by_id
        if not event.reservation_id or event.reservation_id in self.by_id:
            raise ValueError("reservation_id: it is empty, or that of a reservation which is not over")
        if not event.tenant:
            raise ValueError("tenant: it is empty; say whom the nodes are for")
        if not state.at_ns <= event.start_ns < event.end_ns < 1 << 62:
            raise ValueError(f"start_ns: {event.start_ns} must be from now on and before end_ns, {event.end_ns}")
        if bool(event.node_ids) == bool(event.node_count) or event.node_count < 0:
            raise ValueError(f"node_count: {event.node_count}; give either node_ids or a number of nodes above 0")
        taken = {
            node_id: reservation.reservation_id
            for reservation in self.by_id.values()
            if event.start_ns < reservation.end_ns and reservation.start_ns < event.end_ns
            for node_id in reservation.node_ids
        }
        for node_id in event.node_ids:
            if node_id not in by_id:
                raise ValueError(f"node_ids: there is no node {node_id!r}")
            if node_id in taken:
                raise ValueError(f"node_ids: {node_id} is reserved in that time already, by {taken[node_id]}")
        if event.node_ids:
            return tuple(dict.fromkeys(event.node_ids))
        free = [
            node
            for node in by_id.values()
            if node.state is NodeState.READY and node.node_id not in taken and event.pool in ("", node.pool)
        ]
        if len(free) < event.node_count:
            raise ValueError(f"node_count: {event.node_count} nodes are asked, {len(free)} are ready and not reserved")
        free.sort(key=lambda node: (self._late_ns(event, node), node.row))
        return tuple(node.node_id for node in sorted(free[: event.node_count], key=lambda node: node.row))

    def _late_ns(self, event: ReservationSet, node: Node) -> int:
        """How long after the beginning others are expected to be on the node."""
        ends = (
            NEVER_NS if other.state is State.STOPPED else expected_end_ns(other)
            for other in self._others(event.tenant, node.row)
        )
        return max(0, max(ends, default=0) - event.start_ns)

"""What happens to nodes, and what time brings: what follows, and what is to be commanded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eru_sim.fuzz.model.holdings import totals_of
from eru_sim.fuzz.model.records import PRESENT, Node, Reservation, Window, Work, require
from eru_sim.fuzz.model.state import State
from scheduler.events import (
    MaintenanceCancelled,
    MaintenancePlanned,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeFactsChanged,
    NodeFixRequested,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    ReservationCancelled,
    ReservationSet,
    TimerFired,
)


class NodeEvents:
    """One method for each type of event."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.handlers: Mapping[type[Any], Callable[[Any], None]] = {
            NodeJoined: self._node_joined,
            NodeCapacityChanged: self._capacity_changed,
            NodeFactsChanged: self._facts_changed,
            NodeFixRequested: self._fix_requested,
            NodeCordoned: self._cordoned,
            NodeUncordoned: self._uncordoned,
            NodeDrainRequested: self._drain_requested,
            MaintenancePlanned: self._maintenance_planned,
            MaintenanceCancelled: self._maintenance_cancelled,
            ReservationSet: self._reservation_set,
            ReservationCancelled: self._reservation_cancelled,
            NodeLost: self._lost,
            NodeReturned: self._node_returned,
            NodeRemoved: self._removed,
            TimerFired: self._timer_fired,
        }

    def _node(self, event: Any, *states: str, operation_id: str = "") -> Node | None:
        node = self.state.nodes.get(event.node_id)
        if node is None or node.state not in states:
            self.state.refuse(event, operation_id)
            return None
        return node

    def _node_joined(self, event: NodeJoined) -> None:
        if event.node_id in self.state.nodes:
            self.state.refuse(event, "")
            return
        self.state.nodes[event.node_id] = node = Node(
            node_id=event.node_id,
            rank=self.state.order,
            pool=event.pool,
            labels=dict(event.labels),
            topology=dict(event.topology),
            taints=tuple(event.taints),
            stated=dict(event.capacity),
            resources=dict(event.resources),
        )
        self.state.order += 1
        self._set_total(node)

    def _set_total(self, node: Node) -> None:
        node.total = totals_of(node.stated, node.resources, self.state.rules.dimensions, self.state.rules.overcommit)

    def _capacity_changed(self, event: NodeCapacityChanged) -> None:
        node = self._node(event, *PRESENT, "lost", operation_id=event.operation_id)
        if node is None:
            return
        if not self.state.is_answered(event.operation_id, "changed"):
            self.state.refuse(event, event.operation_id)
            return
        if event.capacity is not None:
            amounts = dict(event.capacity)
            if event.is_delta:
                amounts = {**node.stated, **{d: node.stated.get(d, 0) + n for d, n in amounts.items()}}
            node.stated = amounts
        for plugin, payload in event.resources.items():
            node.resources[plugin] = payload
        self._set_total(node)
        self.state.open(event, event.operation_id)

    def _facts_changed(self, event: NodeFactsChanged) -> None:
        node = self._node(event, *PRESENT, "lost")
        if node is not None:
            node.labels = node.labels if event.labels is None else dict(event.labels)
            node.taints = node.taints if event.taints is None else tuple(event.taints)

    def _fix_requested(self, event: NodeFixRequested) -> None:
        node = self._node(event, *PRESENT, "lost", operation_id=event.operation_id)
        if node is not None and self.state.open(event, event.operation_id):
            for answer in self.state.answers.get(event.operation_id, ()):
                require(not answer.detail, f"the books of {node.node_id} were wrong: {answer.detail}", node.node_id)

    def _cordoned(self, event: NodeCordoned) -> None:
        node = self._node(event, "ready")
        if node is not None:
            node.state = "cordoned"

    def _uncordoned(self, event: NodeUncordoned) -> None:
        node = self._node(event, "cordoned", "draining")
        if node is not None:
            node.state = "ready"

    def _drain_requested(self, event: NodeDrainRequested) -> None:
        node = self._node(event, "ready", "cordoned", operation_id=event.operation_id)
        if node is not None and self.state.open(event, event.operation_id):
            self._drain(node)

    def _drain(self, node: Node) -> None:
        node.state = "draining"
        for name in list(node.on):
            if self.state.work[name].state in ("starting", "running"):
                self.state.evict(self.state.work[name])

    def _lost(self, event: NodeLost) -> None:
        node = self._node(event, *PRESENT)
        if node is None:
            return
        node.resume = "cordoned" if node.state == "draining" else node.state
        node.state = "lost"
        for name in list(node.on):
            work = self.state.work.get(name)
            if work is not None and work.node_id == node.node_id and work.reason != "hold":
                self._leave_node(work, fence=True)

    def _node_returned(self, event: NodeReturned) -> None:
        node = self._node(event, "lost")
        if node is None:
            return
        if event.capacity is not None:
            node.stated = dict(event.capacity)
            self._set_total(node)
        node.state = node.resume
        for fence in self.state.fences.values():
            if fence.node_id == node.node_id:
                fence.told_ns = self.state.at_ns
                self.state.expect("stop", fence.workload_id, fence.generation, node.node_id, "fence")
        for name in node.on:
            work = self.state.work[name]
            if work.state == "stopping":
                self.state.expect_stop(work)
            if work.update is not None:
                work.update.told_ns = self.state.at_ns
                self.state.expect("update", name, work.update.revision)

    def _removed(self, event: NodeRemoved) -> None:
        node = self._node(event, *PRESENT, "lost")
        if node is None:
            return
        node.state = "removed"
        for name in list(node.on):
            work = self.state.work.get(name)
            if work is not None and work.node_id == node.node_id:
                self._leave_node(work, fence=False)
        self.state.fences = {key: fence for key, fence in self.state.fences.items() if fence.node_id != node.node_id}
        del self.state.nodes[node.node_id]

    def _leave_node(self, work: Work, *, fence: bool) -> None:
        self.state.leave(work, fence=fence)
        if work.reason == "kill":
            self.state.end(work, "killed")
        elif work.spec.on_node_loss == "lose" or work.reason == "hold":
            self.state.end(work, "lost")
        else:
            self.state.requeue(work)

    def _maintenance_planned(self, event: MaintenancePlanned) -> None:
        makes_sense = (
            bool(event.window_id)
            and event.window_id not in self.state.windows
            and self.state.at_ns <= event.start_ns < event.end_ns
            and event.drain_ns >= 0
            and all(node_id in self.state.nodes for node_id in event.node_ids)
        )
        if not makes_sense:
            self.state.refuse(event, "")
            return
        self.state.windows[event.window_id] = Window(
            window_id=event.window_id,
            node_ids=tuple(dict.fromkeys(event.node_ids)),
            end_ns=event.end_ns,
            due_ns=max(self.state.at_ns, event.start_ns - event.drain_ns),
            order=self.state.order,
        )
        self.state.order += 1

    def _maintenance_cancelled(self, event: MaintenanceCancelled) -> None:
        window = self.state.windows.get(event.window_id)
        if window is None:
            self.state.refuse(event, "")
        else:
            self._end_window(window)

    def _reservation_set(self, event: ReservationSet) -> None:
        state, name = self.state, event.reservation_id
        taken = {
            node_id
            for other in state.reservations.values()
            if event.start_ns < other.end_ns and other.start_ns < event.end_ns
            for node_id in other.node_ids
        }
        free = {
            node.node_id
            for node in state.nodes.values()
            if node.state == "ready" and event.pool in ("", node.pool) and node.node_id not in taken
        }
        makes_sense = name not in state.reservations and state.at_ns <= event.start_ns < event.end_ns
        if event.node_ids:
            makes_sense = makes_sense and set(event.node_ids) <= state.nodes.keys() - taken
        else:
            makes_sense = makes_sense and len(free) >= event.node_count > 0
        if not makes_sense:
            state.refuse(event, event.operation_id)
            return
        state.open(event, event.operation_id)
        said = [answer.detail for answer in state.answers.get(event.operation_id, ()) if answer.outcome == "reserved"]
        require(len(said) == 1, f"{name} makes sense, but is not set", name)
        node_ids = tuple(said[0].split(", "))
        is_right = node_ids == event.node_ids or (not event.node_ids and set(node_ids) <= free)
        is_right = is_right and len(set(node_ids)) == (event.node_count or len(event.node_ids))
        require(is_right, f"{name} is of {said[0]}, which is not what was asked", name)
        state.reservations[name] = Reservation(
            tenant=event.tenant, node_ids=node_ids, start_ns=event.start_ns, end_ns=event.end_ns
        )

    def _reservation_cancelled(self, event: ReservationCancelled) -> None:
        if self.state.reservations.pop(event.reservation_id, None) is None:
            self.state.refuse(event, "")

    def _timer_fired(self, event: TimerFired) -> None:
        self.state.is_awake = True
        self.state.note_overdue()
        for work in list(self.state.work.values()):
            if work.state == "backoff" and work.due_ns <= self.state.at_ns:
                self.state.requeue(work)
        for name, reservation in list(self.state.reservations.items()):
            if reservation.end_ns <= self.state.at_ns:
                del self.state.reservations[name]
        due = [window for window in self.state.windows.values() if window.due_ns <= self.state.at_ns]
        for window in sorted(due, key=lambda w: (w.due_ns, w.order)):
            if window.has_begun:
                self._end_window(window)
            else:
                self._begin_window(window)

    def _begin_window(self, window: Window) -> None:
        window.has_begun = True
        for node_id in window.node_ids:
            node = self.state.nodes.get(node_id)
            if node is not None and node.state in ("ready", "cordoned"):
                window.before[node_id] = node.state
                self._drain(node)
        window.due_ns, window.order = window.end_ns, self.state.order
        self.state.order += 1

    def _end_window(self, window: Window) -> None:
        del self.state.windows[window.window_id]
        for node_id, before in window.before.items():
            last = next((w for w in self.state.windows.values() if w.has_begun and node_id in w.node_ids), None)
            node = self.state.nodes.get(node_id)
            if last is not None:
                last.before[node_id] = before
            elif node is not None and node.state == "lost":
                node.resume = before
            elif node is not None and node.state in ("draining", "cordoned"):
                node.state = before

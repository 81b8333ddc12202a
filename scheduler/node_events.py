"""What happens when nodes join, are cordoned or drained, are lost, return, or leave for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler import audit
from scheduler.cluster import Node, NodeState
from scheduler.events import (
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
)
from scheduler.lifecycle import State, Trigger
from scheduler.ports import Inventory
from scheduler.state import CoreState, Handlers
from scheduler.workload import Workload

_PRESENT = (NodeState.READY, NodeState.CORDONED, NodeState.DRAINING)


class NodeEvents:
    """Handlers, one an event type: ``handlers`` maps the type to the method."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.handlers: Handlers = {
            NodeJoined: self._on_node_joined,
            NodeCapacityChanged: self._on_node_capacity_changed,
            NodeFactsChanged: self._on_node_facts_changed,
            NodeFixRequested: self._on_node_fix_requested,
            NodeCordoned: self._on_node_cordoned,
            NodeUncordoned: self._on_node_uncordoned,
            NodeDrainRequested: self._on_node_drain_requested,
            NodeLost: self._on_node_lost,
            NodeReturned: self._on_node_returned,
            NodeRemoved: self._on_node_removed,
        }

    def _on_node_joined(self, event: NodeJoined) -> None:
        try:
            stated = self._amounts(event.capacity)
            if event.node_id in self.state.cluster.by_id:
                raise ValueError("a node of this id exists already")
            inventories, capacity = self.state.resources.inventories(stated, event.resources, event.labels)
            self._check_countable(capacity)
            self._check_taints(event.taints)
        except ValueError as error:
            self.state.results.refuse(event.node_id, str(error))
            return
        row = self.state.ledger.add_row(self.state.config.overcommitted(capacity))
        self.state.on_row.append({})
        self.state.cluster.add(
            Node(
                node_id=event.node_id,
                row=row,
                pool=event.pool,
                stated=stated,
                capacity=capacity,
                labels=dict(event.labels),
                topology=dict(event.topology),
                resources=dict(event.resources),
                taints=tuple(event.taints),
                images=dict(event.images),
            )
        )
        self._set_inventories(row, inventories)
        self.state.planner.update_reference()

    def _set_inventories(self, row: int, inventories: Mapping[str, Inventory | None]) -> None:
        for name, inventory in inventories.items():
            self.state.ledger.set_inventory(row, name, inventory)

    def _check_taints(self, taints: tuple[str, ...]) -> None:
        for plugin in self.state.resources.plugins.values():
            plugin.check_taints(taints)

    def _on_node_capacity_changed(self, event: NodeCapacityChanged) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST, operation_id=event.operation_id)
        if node is None:
            return
        try:
            stated = node.stated
            if event.capacity is not None:
                given = dict(event.capacity)
                if event.is_delta:
                    known = dict(zip(self.state.dimension_names, node.stated, strict=True))
                    given = {**known, **{name: known.get(name, 0) + amount for name, amount in given.items()}}
                stated = self._amounts(given)
            resources = dict(node.resources)
            for name, change in event.resources.items():
                exact = self.state.resources.exact.get(name)
                if exact is None:
                    raise ValueError(f"resources.{name}: no such exact plugin is in use")
                resources[name] = exact.change_node(resources.get(name), change, is_delta=event.is_delta)
            if event.operation_id in self.state.results.operations:
                raise ValueError("an operation of this id is under way")
            self._set_capacity(node, stated, resources, node.labels)
        except ValueError as error:
            self.state.results.refuse(node.node_id, str(error), event.operation_id)
            return
        if self.state.results.open(event.operation_id, "capacity", 1) and event.operation_id:
            self.state.results.answer(event.operation_id, node.node_id, "changed")

    def _on_node_facts_changed(self, event: NodeFactsChanged) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST)
        if node is None:
            return
        try:
            self._check_taints(event.taints or ())
            if event.labels is not None:
                self._set_capacity(node, node.stated, node.resources, event.labels)
        except ValueError as error:
            self.state.results.refuse(node.node_id, str(error))
            return
        self.state.cluster.set_facts(node, event.labels, event.taints, event.images)
        self.state.ledger.wake_row(node.row)

    def _on_node_fix_requested(self, event: NodeFixRequested) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST, operation_id=event.operation_id)
        if node is None or not self.state.results.open(event.operation_id, "fix", 1):
            return
        found = audit.fix(self.state, node.row)
        self.state.results.answer(event.operation_id, node.node_id, "fixed", "; ".join(found))

    def _on_node_cordoned(self, event: NodeCordoned) -> None:
        node = self._node(event.node_id, NodeState.READY)
        if node is not None:
            self._set_node_state(node, NodeState.CORDONED)

    def _on_node_uncordoned(self, event: NodeUncordoned) -> None:
        node = self._node(event.node_id, NodeState.CORDONED, NodeState.DRAINING)
        if node is None:
            return
        self.end_drain(node, NodeState.READY, "the node was uncordoned")

    def end_drain(self, node: Node, after: NodeState, why: str) -> None:
        """The node is ready or cordoned from now on; whoever waits for a drain of it is told why that is over."""
        self._note_drain_interrupted(node, why)
        self._set_node_state(node, after)

    def _on_node_drain_requested(self, event: NodeDrainRequested) -> None:
        node = self._node(event.node_id, NodeState.READY, NodeState.CORDONED, operation_id=event.operation_id)
        if node is None or not self.state.results.open(event.operation_id, "drain", 1):
            return
        node.drain_operation_id = event.operation_id
        self.drain(node)

    def drain(self, node: Node) -> None:
        """Close a node and have its work move."""
        self._set_node_state(node, NodeState.DRAINING)
        for workload in list(self.state.on_row[node.row].values()):
            if workload.state in (State.STARTING, State.RUNNING):
                self.state.evict(workload)
        self.state.note_drained(node)

    def _on_node_lost(self, event: NodeLost) -> None:
        node = self._node(event.node_id, *_PRESENT)
        if node is None:
            return
        node.resume_state = node.state if node.state is not NodeState.DRAINING else NodeState.CORDONED
        self._set_node_state(node, NodeState.LOST)
        for workload in list(self.state.on_row[node.row].values()):
            if workload.stop_reason != "hold":
                self._leave_node(workload, fence=True)
        self._note_drain_interrupted(node, "the node was lost")

    def _on_node_returned(self, event: NodeReturned) -> None:
        node = self._node(event.node_id, NodeState.LOST)
        if node is None:
            return
        if event.capacity is not None:
            try:
                self._set_capacity(node, self._amounts(event.capacity), node.resources, node.labels)
            except ValueError as error:
                self.state.results.refuse(node.node_id, str(error))
                return
        self._set_node_state(node, node.resume_state)
        for fence in self.state.fences.on_row(node.row):
            self.state.command_fence(fence)
        for workload in self.state.on_row[node.row].values():
            if workload.state is State.STOPPING:
                self.state.command_stop(workload)
            if workload.update is not None:
                self.state.updates.command(workload)

    def _on_node_removed(self, event: NodeRemoved) -> None:
        node = self._node(event.node_id, *_PRESENT, NodeState.LOST)
        if node is None:
            return
        self._note_drain_interrupted(node, "the node was removed")
        self._set_node_state(node, NodeState.REMOVED)
        for workload in list(self.state.on_row[node.row].values()):
            self._leave_node(workload, fence=False)
        for fence in self.state.fences.on_row(node.row):
            self.state.lift_fence(fence.workload_id, fence.generation)
        self.state.planner.update_reference()

    def _leave_node(self, workload: Workload, *, fence: bool) -> None:
        """The node is gone from under the workload: it moves, or ends."""
        self.state.let_go(workload, fence=fence)
        if workload.stop_reason == "kill":
            self.state.end(workload, Trigger.NODE_GONE_KILL)
        elif workload.spec.on_node_loss == "lose" or workload.stop_reason == "hold":
            self.state.end(workload, Trigger.NODE_GONE_LOSE)
        else:
            self.state.counters.evicted += 1
            self.state.move(workload, Trigger.NODE_GONE_MOVE)
            self.state.requeue(workload)

    def _node(self, node_id: str, *states: NodeState, operation_id: str = "") -> Node | None:
        """The node if it is in one of the states; otherwise None, and whoever asked is told."""
        node = self.state.cluster.by_id.get(node_id)
        if node is None:
            self.state.results.refuse(node_id, "no such node", operation_id)
            return None
        if node.state not in states:
            self.state.results.refuse(
                node_id, f"the node is {node.state}; this needs one that is {' or '.join(states)}", operation_id
            )
            return None
        return node

    def _amounts(self, capacity: Mapping[str, int]) -> tuple[int, ...]:
        """A capacity aligned with the dimensions; ValueError names field, value and remedy."""
        for name, amount in capacity.items():
            if name not in self.state.dimension_names:
                raise ValueError(
                    f"capacity.{name}: no such dimension; there are: {', '.join(self.state.dimension_names)}"
                )
            if not isinstance(amount, int) or isinstance(amount, bool):
                raise ValueError(f"capacity.{name}: {amount!r} must be a whole number of base units")
            if not 0 <= amount < 1 << 62:
                raise ValueError(f"capacity.{name}: {amount} must be at least 0 and below 2^62")
        return tuple(capacity.get(name, 0) for name in self.state.dimension_names)

    def _check_countable(self, amounts: tuple[int, ...]) -> None:
        for name, amount in zip(self.state.dimension_names, self.state.config.overcommitted(amounts), strict=True):
            if amount >= 1 << 62:
                raise ValueError(f"capacity.{name}: {amount} after overcommitment must be below 2^62")

    def _set_node_state(self, node: Node, state: NodeState) -> None:
        self.state.cluster.set_state(node, state)
        self.state.ledger.set_live(node.row, state not in (NodeState.LOST, NodeState.REMOVED))
        if state is NodeState.READY:
            self.state.ledger.wake_row(node.row)
        else:
            self.state.ledger.touch(node.row)

    def _set_capacity(
        self, node: Node, stated: tuple[int, ...], resources: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Give the node another capacity; ValueError, and nothing has changed, where that makes no sense."""
        inventories, capacity = self.state.resources.inventories(stated, resources, labels)
        self._check_countable(capacity)
        for name, inventory in inventories.items():
            self.state.ledger.slots[name].check(node.row, inventory)
        for name, inventory in inventories.items():
            if inventory != self.state.ledger.slots[name].inventory(node.row):
                self.state.ledger.set_inventory(node.row, name, inventory)
        node.stated, node.resources = stated, dict(resources)
        if capacity != node.capacity:
            self.state.cluster.set_capacity(node, capacity)
            self.state.ledger.set_total(node.row, self.state.config.overcommitted(capacity))
            self.state.planner.update_reference()

    def _note_drain_interrupted(self, node: Node, why: str) -> None:
        if node.drain_operation_id:
            self.state.results.answer(node.drain_operation_id, node.node_id, "refused", why)
            node.drain_operation_id = ""

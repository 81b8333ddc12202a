"""Maintenance windows: nodes are drained before, and return after.

Theory of operation. A window is a record and one timer: until it begins, for its beginning (``drain_ns`` before the
start), and from then on for its end. What it does to a node is what a drain request and an uncordon do. It remembers
how the node was, and leaves it like that; a node that somebody opened meanwhile is left alone. Of windows that overlap
on a node, the last one to end opens it.
"""

from __future__ import annotations

from scheduler.cluster import NodeState
from scheduler.events import MaintenanceCancelled, MaintenancePlanned
from scheduler.node_events import NodeEvents
from scheduler.state import CoreState, Handlers
from scheduler.windows import Window


class Maintenance:
    """Handlers, one an event type, and what timers of windows do."""

    def __init__(self, state: CoreState, nodes: NodeEvents) -> None:
        self.state = state
        self._nodes = nodes
        self.handlers: Handlers = {
            MaintenancePlanned: self._on_planned,
            MaintenanceCancelled: self._on_cancelled,
        }

    def _on_planned(self, event: MaintenancePlanned) -> None:
        state = self.state
        try:
            if not event.window_id or event.window_id in state.windows:
                raise ValueError("window_id: it is empty, or that of a window which is not over")
            if not state.at_ns <= event.start_ns < event.end_ns < 1 << 62:
                raise ValueError(f"start_ns: {event.start_ns} must be from now on and before end_ns, {event.end_ns}")
            if event.drain_ns < 0:
                raise ValueError(f"drain_ns: {event.drain_ns} must be at least 0")
            for node_id in event.node_ids:
                if node_id not in state.cluster.by_id:
                    raise ValueError(f"node_ids: there is no node {node_id!r}")
        except ValueError as error:
            state.results.refuse(event.window_id, str(error))
            return
        window = Window(window_id=event.window_id, node_ids=tuple(dict.fromkeys(event.node_ids)), end_ns=event.end_ns)
        state.windows[event.window_id] = window
        window.timer = state.timers.add_delay(
            "window", max(state.at_ns, event.start_ns - event.drain_ns), event.window_id, 0
        )

    def _on_cancelled(self, event: MaintenanceCancelled) -> None:
        window = self.state.windows.get(event.window_id)
        if window is None:
            self.state.results.refuse(event.window_id, "no such window, or it is over")
            return
        self._end(window)

    def on_timer(self, window_id: str) -> None:
        """A window begins, or ends."""
        window = self.state.windows[window_id]
        if window.has_begun:
            self._end(window)
            return
        window.has_begun = True
        for node_id in window.node_ids:
            node = self.state.cluster.by_id.get(node_id)
            if node is not None and node.state in (NodeState.READY, NodeState.CORDONED):
                window.before[node_id] = node.state
                self._nodes.drain(node)
        window.timer = self.state.timers.add_delay("window", window.end_ns, window_id, 1)

    def _end(self, window: Window) -> None:
        del self.state.windows[window.window_id]
        for node_id, before in window.before.items():
            others = (other for other in self.state.windows.values() if other.has_begun and node_id in other.node_ids)
            last = next(others, None)
            node = self.state.cluster.by_id.get(node_id)
            if last is not None:
                last.before[node_id] = before
            elif node is not None and node.state is NodeState.LOST:
                node.resume_state = before
            elif node is not None and node.state in (NodeState.DRAINING, NodeState.CORDONED):
                self._nodes.end_drain(node, before, "the maintenance is over")

"""Liveness of nodes as the edge knows it: where their engines are, who vouches for them, whether they can be used.

Theory of operation. Three things are known of a node, and kept apart. Its *lease* is held by its agent; without one
nothing new is placed there, and nothing that runs is touched. An operator may take it out of use (*bypass*). And its
engine answers or does not: only when it has not answered for the whole of ``loss_ns`` is the node lost, for then nobody
can tell what runs there; the core moves the work, and fences what was there when the engine answers again.

Renewals and pings are no events; what the core is told are the transitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backends.real.clock import Clock, sleep
from backends.real.endpoints import Endpoint
from backends.real.engines.base import Engine, EngineError
from backends.real.leases import LeaseTable
from scheduler.cluster import NodeState
from scheduler.core import Core
from scheduler.events import AnyEvent, NodeCordoned, NodeLost, NodeReturned, NodeUncordoned

SECOND_NS = 1_000_000_000


class NodeStatus(NamedTuple):
    """What watchers are told: ``is_alive`` while its lease is held."""

    node_id: str
    pool: str
    is_alive: bool


class LivenessOptions(NamedTuple):
    """How often engines are pinged and how long one must not answer for its node to be lost."""

    ping_ns: int = 10 * SECOND_NS
    loss_ns: int = 60 * SECOND_NS
    pings_at_once: int = 64


class Liveness:
    """Endpoints, leases and liveness of all nodes of one core. ``tell`` gets the events that follow."""

    def __init__(
        self,
        core: Core,
        clock: Clock,
        tell: Callable[[AnyEvent], object],
        engine_of: Callable[[str], Engine | None],
        options: LivenessOptions = LivenessOptions(),  # noqa: B008 (immutable)
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.leases = LeaseTable(clock)
        self._core = core
        self._clock = clock
        self._tell = tell
        self._engine_of = engine_of
        self._options = options
        self._silent_since_ns: dict[str, int] = {}
        self._told: dict[str, bool] = {}
        self._listeners: dict[int, Callable[[NodeStatus], object]] = {}
        self._next = 0

    def add(self, node_id: str, endpoint: Endpoint) -> None:
        """Take in a node, or a change of its endpoint."""
        self.endpoints[node_id] = endpoint

    def remove(self, node_id: str, pool: str = "") -> None:
        """Forget a node, which was in that pool."""
        self.endpoints.pop(node_id, None)
        self._silent_since_ns.pop(node_id, None)
        self._told.pop(node_id, None)
        if self.leases.drop(node_id):
            self._publish(node_id, is_alive=False, pool=pool)

    # -- leases -------------------------------------------------------------------------------------------------------

    def renew(self, node_id: str, ttl_ns: int) -> None:
        """The node's agent is there, and will say so again before ``ttl_ns`` have passed."""
        was_alive = self.leases.is_held(node_id)
        self.leases.renew(node_id, ttl_ns)
        if not was_alive:
            self._publish(node_id, is_alive=True)
            self.settle(node_id)

    def end_lease(self, node_id: str) -> None:
        """The node's agent goes away."""
        if self.leases.drop(node_id):
            self._publish(node_id, is_alive=False)
            self.settle(node_id)

    def expire(self) -> None:
        """Work off the leases that have come to their end; to be called every now and then."""
        for node_id in self.leases.expired(self._clock.now_ns()):
            if node_id in self.endpoints:
                self._publish(node_id, is_alive=False)
                self.settle(node_id)

    def is_alive(self, node_id: str) -> bool:
        """Whether its lease is held, or it needs none."""
        endpoint = self.endpoints.get(node_id)
        return endpoint is not None and (endpoint.test or self.leases.is_held(node_id))

    def is_available(self, node_id: str) -> bool:
        """Whether new work may be placed there, as far as the edge knows."""
        endpoint = self.endpoints.get(node_id)
        return endpoint is not None and not endpoint.bypass and self.is_alive(node_id)

    def settle(self, node_id: str) -> None:
        """Tell the core where what it may use is no longer what it was told."""
        is_open = self.is_available(node_id)
        if node_id in self.endpoints and self._told.get(node_id) != is_open:
            self._told[node_id] = is_open
            self._tell(NodeUncordoned(node_id=node_id) if is_open else NodeCordoned(node_id=node_id))

    def adopt(self, node_id: str) -> None:
        """After a recovery: what the core was told of the node is what it knows."""
        node = self._core.cluster.by_id[node_id]
        state = node.resume_state if node.state is NodeState.LOST else node.state
        self._told[node_id] = state is NodeState.READY

    # -- listeners ----------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[NodeStatus], object]) -> Callable[[], None]:
        """Tell somebody of every change of a lease from now on; returns what ends that."""
        number = self._next
        self._next += 1
        self._listeners[number] = listener
        return lambda: (self._listeners.pop(number, None), None)[1]

    def _publish(self, node_id: str, *, is_alive: bool, pool: str = "") -> None:
        node = self._core.cluster.by_id.get(node_id)
        status = NodeStatus(node_id, node.pool if node is not None else pool, is_alive)
        for listener in list(self._listeners.values()):
            listener(status)

    # -- engines ------------------------------------------------------------------------------------------------------

    async def ping_forever(self) -> None:
        """Ping every engine every so often, and tell the core of nodes that are lost and that return."""
        while True:
            nodes = iter([node_id for node_id in self.endpoints if node_id in self._core.cluster.by_id])
            await asyncio.gather(*(self._ping_each(nodes) for _ in range(self._options.pings_at_once)))
            await sleep(self._clock, self._options.ping_ns)

    async def _ping_each(self, nodes: Iterator[str]) -> None:
        for node_id in nodes:
            await self._ping(node_id)
            await asyncio.sleep(0)  # a turn for others, where engines answer without being waited for

    async def _ping(self, node_id: str) -> None:
        engine = self._engine_of(node_id)
        if engine is None:
            return
        try:
            await engine.ping()
        except EngineError:
            self._note_silence(node_id)
            return
        self._note_answer(node_id)

    def _note_silence(self, node_id: str) -> None:
        node = self._core.cluster.by_id.get(node_id)
        since_ns = self._silent_since_ns.setdefault(node_id, self._clock.now_ns())
        if node is None or node.state is NodeState.LOST:
            return
        if self._clock.now_ns() - since_ns >= self._options.loss_ns:
            self._tell(NodeLost(node_id=node_id))

    def _note_answer(self, node_id: str) -> None:
        self._silent_since_ns.pop(node_id, None)
        node = self._core.cluster.by_id.get(node_id)
        if node is not None and node.state is NodeState.LOST:
            self._tell(NodeReturned(node_id=node_id))
            self._told.pop(node_id, None)
            self.settle(node_id)

    def silent_for_ns(self, node_id: str) -> int:
        """How long the node's engine has not answered; 0 where it answers."""
        since_ns = self._silent_since_ns.get(node_id)
        return 0 if since_ns is None else self._clock.now_ns() - since_ns

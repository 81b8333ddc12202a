"""The nodes of a cluster: how they join, change and go, and what can be seen of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from backends.real.adoption import adopt
from backends.real.applying import apply
from backends.real.driver import LiveDriver
from backends.real.endpoints import Connect, Endpoint
from backends.real.engines.base import Engine, EngineError, EngineInfo, Unreachable
from backends.real.errors import Conflict, Exists, Missing, Rejected
from backends.real.gateway import NodeGateway
from backends.real.liveness import Liveness
from backends.real.names import check_name
from backends.real.operations import OperationHub, OperationView
from backends.real.pools import Pools
from backends.real.shielding import shielded
from backends.real.stores.base import Record
from backends.real.tombstones import Tombstones
from scheduler.cluster import Node, NodeState
from scheduler.config import CoreConfig
from scheduler.events import (
    AnyEvent,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeFactsChanged,
    NodeJoined,
    NodeRemoved,
    NodeUncordoned,
)

TABLE = "nodes"


class NodeView(NamedTuple):
    """A node, as services show it."""

    node_id: str
    pool: str
    endpoint: str
    labels: Mapping[str, str]
    state: str
    is_available: bool
    is_bypassed: bool
    is_test: bool


class Amounts(NamedTuple):
    """How much of something a node has, and how much of that is held."""

    total: int
    used: int


class NodeResources(NamedTuple):
    """``dimensions`` by name; ``slots`` by exact plugin and slot; ``differences`` is what is wrong with the books."""

    dimensions: Mapping[str, Amounts]
    slots: Mapping[str, Mapping[str, Amounts]]
    differences: Sequence[str]


class _Ask(Protocol):
    """`backends.real.cluster.LiveCluster.ask`, of which this is what a drain needs."""

    def __call__(
        self,
        operation_id: str,
        *events: AnyEvent,
        keep: bool,
        records: Sequence[Record],
        kind: str,
        subjects: Sequence[str],
    ) -> Awaitable[OperationView]: ...


class Nodes:
    """All nodes of one core. What changes one returns when it is durable, and takes records to be written with it.

    ``connect`` makes the engines of nodes, and ``ask`` begins the operations that drain them.
    """

    def __init__(
        self,
        driver: LiveDriver,
        gateway: NodeGateway,
        liveness: Liveness,
        *,
        pools: Pools,
        tombstones: Tombstones,
        operations: OperationHub,
        connect: Connect,
        ask: _Ask,
    ) -> None:
        self._core = driver.core
        self._driver = driver
        self._gateway = gateway
        self._liveness = liveness
        self._pools = pools
        self._tombstones = tombstones
        self._operations = operations
        self._connect = connect
        self._ask = ask

    def load(self, stored: Mapping[str, bytes]) -> None:
        """After a recovery: take in the table ``nodes``, which has endpoints, of the nodes that the core has."""
        for node_id, data in stored.items():
            if node_id in self._core.cluster.by_id:
                endpoint = msgspec.msgpack.decode(data, type=Endpoint)
                self._liveness.add(node_id, endpoint)
                self._liveness.adopt(node_id)
                self._gateway.set_engine(node_id, self._connect(node_id, endpoint))

    # -- changes ------------------------------------------------------------------------------------------------------

    @shielded
    async def add(
        self,
        node_id: str,
        pool: str,
        endpoint: Endpoint,
        *,
        labels: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
        capacity: Mapping[str, int] | None = None,
        topology: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
        records: Sequence[Record] = (),
        supply: Callable[[EngineInfo], tuple[Mapping[str, int], Mapping[str, Any]]] | None = None,
    ) -> NodeView:
        """Take a node in: its engine must answer. What ``resources`` leave out of cpu and storage, the engine says.

        Instances of this core that run there already are adopted: so a lost journal is rebuilt from the engines.

        ``supply`` makes capacity and resources of what the engine says, and takes the place of both.
        `Unreachable` where the engine does not answer, `Rejected` where the core refuses the node.
        """
        check_name("node", node_id)
        self._pools.check(pool)
        self._check_new(node_id)
        engine = self._engine_for(node_id, endpoint)
        try:
            info = await engine.info()
            self._pools.check(pool)
            self._check_new(node_id)
            if supply is not None:
                capacity, resources = supply(info)
        except BaseException:
            await engine.close()
            raise
        joined = NodeJoined(
            node_id=node_id,
            capacity=capacity or {},
            pool=pool,
            labels=dict(labels or {}),
            resources=_completed(resources or {}, info, self._core.config),
            topology=dict(topology or {}),
            taints=tuple(taints),
        )
        self._liveness.add(node_id, endpoint)
        self._gateway.set_engine(node_id, engine)
        events: list[AnyEvent] = [joined]
        if not self._liveness.is_available(node_id):
            events.append(NodeCordoned(node_id=node_id))
        try:
            encoded = Record(TABLE, node_id, msgspec.msgpack.encode(endpoint))
            await apply(self._driver, node_id, events, [encoded, *records])
        except BaseException:
            if node_id not in self._core.cluster.by_id:
                self._liveness.remove(node_id)
                self._gateway.drop_engine(node_id)
            raise
        self._liveness.adopt(node_id)
        await adopt(self._driver, self._tombstones, node_id, engine)
        return self.get(node_id)

    @shielded
    async def remove(self, node_id: str, *, records: Sequence[Record] = ()) -> None:
        """Forget a node; `Conflict` while anything is on it."""
        node = self.record(node_id)
        if self._core.on_row[node.row] or self._core.state.fences.on_row(node.row):
            count = len(self._core.on_row[node.row])
            raise Conflict(f"node {node_id}: {count} workloads are on it; remove them, or drain the node")
        await self._driver.submit(NodeRemoved(node_id=node_id), records=[Record(TABLE, node_id, None), *records])
        self._liveness.remove(node_id, node.pool)
        self._gateway.drop_engine(node_id)

    @shielded
    async def change(
        self,
        node_id: str,
        *,
        endpoint: Endpoint | None = None,
        bypass: bool | None = None,
        labels: Mapping[str, str] | None = None,
        capacity: Mapping[str, int] | None = None,
        resources: Mapping[str, Any] | None = None,
        is_delta: bool = False,
        taints: Sequence[str] | None = None,
        records: Sequence[Record] = (),
    ) -> NodeView:
        """Change a node; None leaves things as they are.

        Capacity and resources come first, then labels and taints, then the endpoint and ``records``: what the core
        refuses, with `Rejected`, keeps what comes after it from happening. `Unreachable`, and nothing has happened,
        where a new endpoint does not answer.
        """
        self.record(node_id)
        old = self._liveness.endpoints[node_id]
        new = endpoint or old
        if bypass is not None:
            new = msgspec.structs.replace(new, bypass=bypass)
        engine = None
        if (new.url, new.ca, new.cert, new.key) != (old.url, old.ca, old.cert, old.key):
            engine = self._engine_for(node_id, new)
            try:
                await engine.ping()
            except EngineError:
                await engine.close()
                raise
        events: list[AnyEvent] = []
        if capacity is not None or resources:
            events.append(
                NodeCapacityChanged(
                    node_id=node_id,
                    capacity=capacity,
                    resources=resources or {},
                    is_delta=is_delta,
                    operation_id=self._operations.new_id(),
                )
            )
        if labels is not None or taints is not None:
            changed = None if labels is None else dict(labels)
            events.append(
                NodeFactsChanged(node_id=node_id, labels=changed, taints=None if taints is None else tuple(taints))
            )
        if new != old:
            records = [*records, Record(TABLE, node_id, msgspec.msgpack.encode(new))]
        try:
            for event in events:  # one after the other: what is refused keeps the next one from happening
                await apply(self._driver, node_id, [event], records if event is events[-1] else ())
            if not events:
                await self._driver.submit(records=records)
        except BaseException:
            if engine is not None:
                await engine.close()
            raise
        if new != old:
            self._liveness.add(node_id, new)
            if engine is not None:
                self._gateway.set_engine(node_id, engine)
            self._liveness.settle(node_id)
            await self._driver.submit()
        return self.get(node_id)

    @shielded
    async def drain(self, node_id: str, operation_id: str, *, records: Sequence[Record] = ()) -> OperationView:
        """Take a node out of use, and have its work moved away; `uncordon` ends that."""
        self.record(node_id)
        endpoint = msgspec.structs.replace(self._liveness.endpoints[node_id], bypass=True)
        view = await self._ask(
            operation_id,
            NodeDrainRequested(node_id=node_id, operation_id=operation_id),
            keep=True,
            records=[*records, Record(TABLE, node_id, msgspec.msgpack.encode(endpoint))],
            kind="drain",
            subjects=[node_id],
        )
        self._liveness.add(node_id, endpoint)
        self._liveness.adopt(node_id)
        return view

    @shielded
    async def uncordon(self, node_id: str, *, records: Sequence[Record] = ()) -> NodeView:
        """Put a node back into use; ends a drain, also where its agent is not there."""
        node = self.record(node_id)
        endpoint = msgspec.structs.replace(self._liveness.endpoints[node_id], bypass=False)
        self._liveness.add(node_id, endpoint)
        events: list[AnyEvent] = []
        if node.state is NodeState.DRAINING:
            events.append(NodeUncordoned(node_id=node_id))
            if not self._liveness.is_available(node_id):
                events.append(NodeCordoned(node_id=node_id))
        encoded = Record(TABLE, node_id, msgspec.msgpack.encode(endpoint))
        await self._driver.submit(*events, records=[*records, encoded])
        self._liveness.adopt(node_id)
        self._liveness.settle(node_id)
        await self._driver.submit()
        return self.get(node_id)

    def _check_new(self, node_id: str) -> None:
        if node_id in self._core.cluster.by_id or node_id in self._liveness.endpoints:
            raise Exists(f"node {node_id}: there is one already")

    def _engine_for(self, node_id: str, endpoint: Endpoint) -> Engine:
        try:
            return self._connect(node_id, endpoint)
        except ValueError as error:
            raise Rejected(str(error)) from None

    # -- what can be seen ---------------------------------------------------------------------------------------------

    def record(self, node_id: str) -> Node:
        """The core's record of a node; `Missing` where there is none."""
        node = self._core.cluster.by_id.get(node_id)
        if node is None:
            raise Missing(f"node {node_id!r}: there is none of that name")
        return node

    def get(self, node_id: str) -> NodeView:
        """One node; `Missing` where there is none."""
        node = self.record(node_id)
        endpoint = self._liveness.endpoints.get(node_id) or Endpoint(url="")
        return NodeView(
            node_id=node_id,
            pool=node.pool,
            endpoint=endpoint.url,
            labels=node.labels,
            state=str(node.state),
            is_available=self._liveness.is_available(node_id) and node.state is NodeState.READY,
            is_bypassed=endpoint.bypass,
            is_test=endpoint.test,
        )

    def list(
        self, pool: str = "", labels: Mapping[str, str] | None = None, *, with_down: bool = False
    ) -> Sequence[NodeView]:
        """Nodes in order of joining: of a pool, with all of these labels, and available unless ``with_down``."""
        views = (self.get(node.node_id) for node in self._core.cluster.by_id.values() if pool in ("", node.pool))
        return [
            view
            for view in views
            if all(view.labels.get(key) == value for key, value in (labels or {}).items())
            and (with_down or view.is_available)
        ]

    def resources(self, node_id: str) -> NodeResources:
        """What a node has, and what of that is held."""
        node = self.record(node_id)
        ledger = self._core.ledger
        used = ledger.used(node.row)
        dimensions = {
            dimension.name: Amounts(int(total), int(held))
            for dimension, total, held in zip(
                self._core.config.dimensions, ledger.total[:, node.row].tolist(), used, strict=True
            )
        }
        slots: dict[str, dict[str, Amounts]] = {}
        for name, table in ledger.slots.items():
            inventory = table.inventory(node.row)
            if inventory is not None:
                held = table.held(node.row)
                slots[name] = {
                    slot: Amounts(total, held.get(slot, 0))
                    for slot, total in zip(inventory.slots, inventory.total, strict=True)
                }
        return NodeResources(dimensions, slots, self._core.inspect(node_id))

    def engine(self, node_id: str) -> Engine:
        """The engine of a node; `Missing` where there is no such node, `Unreachable` where it has no engine."""
        self.record(node_id)
        engine = self._gateway.engine(node_id)
        if engine is None:
            raise Unreachable(f"node {node_id}: it has no engine")
        return engine


def _completed(resources: Mapping[str, Any], info: EngineInfo, config: CoreConfig) -> dict[str, Any]:
    """With cpu and storage as the engine says, where they are not given and the core asks for them."""
    found = dict(resources)
    known = {plugin.name: plugin.params for plugin in config.plugins}
    if "cpu" in known and not found.get("cpu"):
        pieces = known["cpu"].get("share_base", 100)
        found["cpu"] = {"cores": dict.fromkeys(info.cpus, pieces), "memory": info.memory_bytes * 8 // 10}
        if len(info.numa) > 1:
            found["cpu"]["numa"] = {numa: ",".join(cpus) for numa, cpus in info.numa.items()}
    if "storage" in known and not found.get("storage") and info.storage_bytes:
        found["storage"] = {"storage": info.storage_bytes * 8 // 10}
    return found

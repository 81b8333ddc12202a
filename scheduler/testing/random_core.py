"""A core with one plugin, to which random things happen. The draws are a function of seed and number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from scheduler.cluster import NodeState
from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    NodeCordoned,
    NodeFactsChanged,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    RemovalRequested,
    Strategy,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStopped,
)
from scheduler.lifecycle import State
from scheduler.plan import uniform_draw
from scheduler.ports import ResourcePlugin
from scheduler.testing.harness import Harness
from scheduler.types import Int64Array

_STRATEGIES: tuple[Strategy, ...] = ("auto", "fill", "each", "global", "drained")

Item = TypeVar("Item")


class Draws:
    """Counter-based: the n-th draw depends on the seed and on n alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._drawn = 0

    def below(self, bound: int) -> int:
        """A whole number from 0 to ``bound - 1``."""
        self._drawn += 1
        return int(uniform_draw(self.seed, self._drawn) * bound)

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of at least one item."""
        return items[self.below(len(items))]

    def order(self, count: int) -> Int64Array:
        """The numbers below ``count`` in random order."""
        return np.array(sorted(range(count), key=lambda _: self.below(1 << 30)), dtype=np.int64)


class RandomWorld:
    """A `Harness` with the nodes given, and what may happen to it next.

    ``may_wait`` says whether work that does not fit waits in the queue. ValueError where a node is refused.
    """

    def __init__(
        self, plugin: ResourcePlugin, payloads: Sequence[Any], nodes: Sequence[NodeJoined], *, seed: int, may_wait: bool
    ) -> None:
        self.draws = Draws(seed)
        self._plugin = plugin
        self._payloads = payloads
        self._nodes = nodes
        self._may_wait = may_wait
        self._names = 0
        counted = [dimension for dimension in plugin.dimensions if dimension not in (CPU, MEMORY)]
        config = CoreConfig(
            dimensions=(CPU, MEMORY, *counted),
            plugins=(PluginConfig(plugin.name, plugin.version, plugin.get_params()),),
        )
        self.harness = Harness(config, plugins=[plugin])
        for node in nodes:
            commands = self.harness.step(node)
            if node.node_id not in self.harness.core.cluster.by_id:
                raise ValueError(f"nodes: {node.node_id} is refused: {getattr(commands[0], 'detail', '')}")

    def spec(self, payload: Any, workload_id: str = "", count: int = 1) -> WorkloadsSubmitted:
        """A submission that asks next to nothing of dimensions, and ``payload`` of the plugin."""
        return WorkloadsSubmitted(
            workload_id=workload_id,
            request=(1,) + (0,) * (self.harness.core.ledger.dimension_count - 1),
            count=count,
            payloads={self._plugin.name: payload},
            on_unschedulable="queue" if self._may_wait else "fail",
        )

    def event(self) -> AnyEvent | None:
        """What happens next; None for a reload from a snapshot."""
        self._names += 1
        kind = self.draws.below(12)
        payload = self.draws.one_of(self._payloads)
        if kind < 3:
            return self.spec(payload, f"w{self._names}", 1 + self.draws.below(4))
        if kind == 3:
            spec = self.spec(payload, f"d{self._names}", 1 + self.draws.below(3))
            return DeploymentRequested(spec=spec, strategy=self.draws.one_of(_STRATEGIES))
        if kind == 4:
            return None
        if kind in (5, 6, 7) or not self.harness.core.workloads:
            return self._node_event()
        return self._workload_event()

    def _node_event(self) -> AnyEvent:
        """A node goes, comes back, becomes like another in what is known of it, or is joined by one more."""
        like = self.draws.one_of(self._nodes)
        present = list(self.harness.core.cluster.by_id.values())
        if not present or self.draws.below(3) == 0:
            return msgspec.structs.replace(like, node_id=f"new{self._names}")
        node = self.draws.one_of(present)
        if node.state is NodeState.LOST:
            return NodeReturned(node_id=node.node_id)
        if node.state is NodeState.CORDONED:
            return NodeUncordoned(node_id=node.node_id)
        if self.draws.below(3) == 0:
            return NodeFactsChanged(node_id=node.node_id, labels=like.labels, taints=like.taints, images=like.images)
        kinds: tuple[type[NodeCordoned | NodeLost | NodeRemoved], ...] = (NodeCordoned, NodeLost, NodeRemoved)
        return self.draws.one_of(kinds)(node_id=node.node_id)

    def _workload_event(self) -> AnyEvent:
        """What the engine would report next of a workload; or its removal."""
        workload = self.draws.one_of(list(self.harness.core.workloads.values()))
        workload_id, generation = workload.workload_id, workload.generation
        if workload.state is State.STARTING:
            return WorkloadStarted(workload_id=workload_id, generation=generation)
        if workload.state is State.STOPPING:
            return WorkloadStopped(workload_id=workload_id, generation=generation)
        if workload.state is State.RUNNING and self.draws.below(2):
            return WorkloadExited(workload_id=workload_id, generation=generation)
        return RemovalRequested(workload_id=workload_id)

"""The core against the reference scheduler: the same placements, decision by decision."""

from __future__ import annotations

import random
from typing import Any

import pytest
from core_kit import starts
from reference_scheduler import ReferenceScheduler

from scheduler.config import CPU, MEMORY, CoreConfig, PolicyConfig
from scheduler.events import (
    NodeCapacityChanged,
    NodeCordoned,
    NodeJoined,
    NodeRemoved,
    NodeUncordoned,
    RemovalRequested,
    WorkloadExited,
    WorkloadsSubmitted,
)
from scheduler.ports import Dimension
from scheduler.testing import Harness

DIMENSIONS = (CPU, MEMORY, Dimension("disk", "bytes"))
SCALES = {"small": (1, 1, 1), "real": (1000, (1 << 30) + 12_345, 10**12 + 1)}


class Scenario:
    """Makes random events and tells them to the core and to the reference."""

    def __init__(self, policy: str, seed: int, dimensions: int, scale: str, cache_bytes: int) -> None:
        self.draw = random.Random(seed)
        self.dimensions = dimensions
        self.scale = SCALES[scale]
        config = CoreConfig(dimensions=DIMENSIONS[:dimensions], policy=PolicyConfig(policy), cache_bytes=cache_bytes)
        self.harness = Harness(config)
        self.reference = ReferenceScheduler(policy, dimensions)
        self.shapes = [self._amounts(0, 6) for _ in range(8)]
        self.count = 0

    def _amounts(self, low: int, high: int) -> list[int]:
        return [self.draw.randint(low, high) * unit for unit in self.scale[: self.dimensions]]

    def _capacity(self, amounts: list[int]) -> dict[str, int]:
        return {dimension.name: amount for dimension, amount in zip(DIMENSIONS, amounts, strict=False)}

    def _nodes(self, *states: str) -> list[str]:
        return [node["id"] for node in self.reference.nodes if node["state"] in states]

    def step(self) -> tuple[list[Any], list[Any]]:
        """One batch; the placements by the core and by the reference."""
        self.at_end: list[Any] = []
        kinds = [self._ends, self._nodes_change, self._removals, self._submissions]
        chosen = sorted(self.draw.sample(range(4), k=self.draw.choice([1, 1, 2, 3])))
        events: list[Any] = []
        for kind in chosen:
            events += kinds[kind]()
        commands = self.harness.step(*events)
        return [(name, node) for name, _, node in starts(commands)], self.reference.schedule()

    def _ends(self) -> list[Any]:
        gone = self.draw.sample(
            sorted(self.reference.running), k=min(len(self.reference.running), self.draw.randint(1, 3))
        )
        events = []
        for name in gone:
            self.reference.end(name)
            events.append(WorkloadExited(workload_id=name, generation=self.harness.generation(name)))
        return events

    def _nodes_change(self) -> list[Any]:
        ready, cordoned = self._nodes("ready"), self._nodes("cordoned")
        what = self.draw.choice(["join", "join", "capacity", "cordon", "uncordon", "remove"])
        if what == "join" or not ready:
            name = f"n{len(self.reference.nodes)}"
            amounts = self._amounts(4, 14)
            self.reference.join(name, amounts)
            return [NodeJoined(node_id=name, capacity=self._capacity(amounts))]
        name = self.draw.choice(ready)
        if what == "capacity":
            amounts = self._amounts(1, 16)
            self.reference.node(name)["capacity"] = amounts
            return [NodeCapacityChanged(node_id=name, capacity=self._capacity(amounts))]
        if what == "uncordon" and cordoned:
            name = self.draw.choice(cordoned)
            self.reference.node(name)["state"] = "ready"
            return [NodeUncordoned(node_id=name)]
        if what == "remove" and self.draw.random() < 0.5:
            self.reference.remove_node(name)
            return [NodeRemoved(node_id=name)]
        self.reference.node(name)["state"] = "cordoned"
        return [NodeCordoned(node_id=name)]

    def _removals(self) -> list[Any]:
        if not self.reference.waiting:
            return []
        gone = self.draw.choice(self.reference.waiting)
        self.reference.waiting.remove(gone)
        return [RemovalRequested(workload_id=gone["id"])]

    def _submissions(self) -> list[Any]:
        events = []
        for _ in range(self.draw.randint(1, 4)):
            request = self.draw.choice(self.shapes) if self.draw.random() < 0.7 else self._amounts(0, 7)
            priority = self.draw.choice([0, 0, 0, 1, 9])
            name = f"w{self.count}"
            self.count += 1
            self.reference.submit(name, request, priority)
            events.append(WorkloadsSubmitted(workload_id=name, request=tuple(request), priority=priority))
        return events


@pytest.mark.parametrize("policy", ["first-fit", "best-fit", "worst-fit", "dot-product"])
@pytest.mark.parametrize(
    ("dimensions", "scale", "cache_bytes"),
    [(2, "small", 1 << 20), (2, "real", 1 << 20), (3, "small", 1600), (1, "small", 1 << 20), (3, "real", 0)],
)
def test_the_core_places_what_the_reference_places(policy: str, dimensions: int, scale: str, cache_bytes: int) -> None:
    placed = 0
    for seed in range(2):
        scenario = Scenario(policy, seed, dimensions, scale, cache_bytes)
        for number in range(120):
            by_core, by_reference = scenario.step()
            assert by_core == by_reference, f"seed {seed}, step {number}\n{scenario.harness.story(by_core[0][0])}"
            placed += len(by_core)
        waiting = {workload["id"] for workload in scenario.reference.waiting}
        assert {w.workload_id for w in scenario.harness.core.queue.workloads()} == waiting
    assert placed > 100


@pytest.mark.parametrize("policy", ["best-fit", "dot-product", "first-fit"])
def test_over_several_blocks_of_rows(policy: str) -> None:
    """300 nodes of few shapes: many exact ties, and more than two blocks of the kernels."""
    draw = random.Random(4)
    h, reference = Harness(CoreConfig(policy=PolicyConfig(policy))), ReferenceScheduler(policy, 2)
    joins = []
    for number in range(300):
        capacity = draw.choice([(4, 4), (8, 4), (4, 8)])
        reference.join(f"n{number}", list(capacity))
        joins.append(NodeJoined(node_id=f"n{number}", capacity={"cpu": capacity[0], "memory": capacity[1]}))
    h.step(*joins)
    for number in range(120):
        if number % 4 == 3:
            name = draw.choice(sorted(reference.running))
            reference.end(name)
            h.exited(name)
            assert reference.schedule() == []
        request = draw.choice([(1, 1), (2, 1), (4, 4), (3, 3)])
        reference.submit(f"w{number}", list(request), 0)
        by_core = [(name, node) for name, _, node in starts(h.submit(f"w{number}", *request))]
        assert by_core == reference.schedule()

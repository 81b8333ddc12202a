"""A slow scheduler that is obviously right: plain lists, no caches, no request classes, nothing vectorised.

At each pass: of the workloads that wait, in the order of priority and then submission, take the first that fits on any
node, put it on the best node by the documented formula, ties to the lowest row; again, until none fits.
"""

from __future__ import annotations

from typing import Any

Placement = tuple[str, str]


class ReferenceScheduler:
    """What `scheduler.core.Core` decides, for quantities alone."""

    def __init__(self, policy: str, dimensions: int) -> None:
        self.policy = policy
        self.dimensions = dimensions
        self.nodes: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.running: dict[str, dict[str, Any]] = {}
        self.sequence = 0

    # -- what happens -------------------------------------------------------------------------------------------------

    def join(self, node_id: str, capacity: list[int]) -> None:
        self.nodes.append({"id": node_id, "capacity": capacity, "used": [0] * self.dimensions, "state": "ready"})

    def node(self, node_id: str) -> dict[str, Any]:
        return next(node for node in self.nodes if node["id"] == node_id and node["state"] != "removed")

    def submit(self, workload_id: str, request: list[int], priority: int) -> None:
        self.waiting.append({"id": workload_id, "request": request, "priority": priority, "sequence": self.sequence})
        self.sequence += 1

    def end(self, workload_id: str) -> None:
        workload = self.running.pop(workload_id)
        for dimension, amount in enumerate(workload["request"]):
            workload["node"]["used"][dimension] -= amount

    def remove_node(self, node_id: str) -> None:
        node = self.node(node_id)
        node["state"] = "removed"
        for workload_id in [name for name, workload in self.running.items() if workload["node"] is node]:
            workload = self.running[workload_id]
            self.end(workload_id)
            self.waiting.append(workload)

    # -- the pass -----------------------------------------------------------------------------------------------------

    def schedule(self) -> list[Placement]:
        placed: list[Placement] = []
        while (decision := self._next()) is not None:
            workload, node = decision
            self.waiting.remove(workload)
            workload["node"] = node
            self.running[workload["id"]] = workload
            for dimension, amount in enumerate(workload["request"]):
                node["used"][dimension] += amount
            placed.append((workload["id"], node["id"]))
        return placed

    def _next(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        for workload in sorted(self.waiting, key=lambda w: (-w["priority"], w["sequence"])):
            best, best_score = None, None
            for node in self.nodes:
                if not self._fits(node, workload["request"]):
                    continue
                score = self._score(node, workload["request"])
                if best_score is None or score > best_score:
                    best, best_score = node, score
            if best is not None:
                return workload, best
        return None

    def _fits(self, node: dict[str, Any], request: list[int]) -> bool:
        if node["state"] != "ready":
            return False
        return all(amount == 0 or node["capacity"][d] - node["used"][d] >= amount for d, amount in enumerate(request))

    def _score(self, node: dict[str, Any], request: list[int]) -> float:
        score = 0.0
        for dimension, amount in enumerate(request):
            largest = max(n["capacity"][dimension] for n in self.nodes if n["state"] != "removed")
            weight = self._weight(float(amount), float(max(largest, 1)))
            left = node["capacity"][dimension] - node["used"][dimension] - amount
            score = score + weight * left
        return score

    def _weight(self, amount: float, largest: float) -> float:
        if self.policy == "first-fit":
            return 0.0
        if self.policy == "best-fit":
            return -1.0 / (self.dimensions * largest)
        if self.policy == "worst-fit":
            return 1.0 / (self.dimensions * largest)
        assert self.policy == "dot-product"
        return amount / largest / largest

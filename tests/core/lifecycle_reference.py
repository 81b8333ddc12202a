"""A slow scheduler with the whole life of a workload, which is obviously right: plain lists, all searched every time.

It says which commands follow from each step. Placement is that of `reference_scheduler`: of those that wait the first
by priority and submission that fits anywhere goes to the best node by the documented formula, ties to the lowest row.
"""

from __future__ import annotations

from typing import Any

from reference_scheduler import ReferenceScheduler

Told = tuple[str, ...]


class LifecycleReference:
    """Nodes, workloads, and what is told to engines: ("start", id, generation, node), ("stop", ..., reason)."""

    def __init__(self, policy: str, backoff_ns: int, backoff_max_ns: int) -> None:
        self.policy = policy
        self.backoff_ns, self.backoff_max_ns = backoff_ns, backoff_max_ns
        self.nodes: list[dict[str, Any]] = []
        self.work: dict[str, dict[str, Any]] = {}
        self.fences: list[dict[str, Any]] = []
        self.told: list[Told] = []
        self.at_ns = 0
        self.ended: dict[str, str] = {}

    # -- nodes --------------------------------------------------------------------------------------------------------

    def join(self, name: str, capacity: list[int]) -> None:
        self.nodes.append({"id": name, "capacity": capacity, "state": "ready", "before": "ready"})

    def node(self, name: str) -> dict[str, Any]:
        return next(node for node in self.nodes if node["id"] == name)

    def cordon(self, name: str) -> None:
        self.node(name)["state"] = "cordoned"

    def uncordon(self, name: str) -> None:
        self.node(name)["state"] = "ready"

    def drain(self, name: str) -> None:
        self.node(name)["state"] = "draining"
        for work in self.on(name):
            if work["state"] in ("starting", "running"):
                self.stop(work, "evict")

    def lose(self, name: str) -> None:
        node = self.node(name)
        node["before"] = "cordoned" if node["state"] == "draining" else node["state"]
        node["state"] = "lost"
        for work in self.on(name):
            if work["reason"] == "hold":
                continue
            self.fence(work)
            work["node"] = ""
            if work["reason"] == "kill":
                self.end(work, "killed")
            elif work["loss"] == "lose":
                self.end(work, "lost")
            else:
                work["state"], work["reason"] = "queued", ""

    def fence(self, work: dict[str, Any]) -> None:
        """The instance may run still: what it has stays taken until it is known to be gone."""
        self.fences.append({key: work[key] for key in ("id", "generation", "node", "request")})

    def return_(self, name: str) -> None:
        node = self.node(name)
        node["state"] = node["before"]
        for fence in self.fences:
            if fence["node"] == name:
                self.told.append(("stop", fence["id"], str(fence["generation"]), name, "fence"))
        for work in self.on(name):
            if work["state"] == "stopping":
                self.told.append(("stop", work["id"], str(work["generation"]), name, work["reason"]))

    def on(self, name: str) -> list[dict[str, Any]]:
        return sorted((work for work in self.work.values() if work["node"] == name), key=lambda work: work["placed"])

    # -- work ---------------------------------------------------------------------------------------------------------

    def submit(self, name: str, request: list[int], priority: int, failure: str, retries: int, loss: str) -> None:
        self.work[name] = {
            "id": name, "request": request, "priority": priority, "failure": failure, "retries": retries, "loss": loss,
            "sequence": len(self.work) + len(self.ended), "state": "queued", "generation": 0, "node": "", "reason": "",
            "failures": 0, "avoided": [], "due": 0, "placed": 0,
        }  # fmt: skip

    def end(self, work: dict[str, Any], how: str) -> None:
        self.ended[work["id"]] = how
        del self.work[work["id"]]

    def stop(self, work: dict[str, Any], reason: str) -> None:
        work["state"], work["reason"] = "stopping", reason
        self.told.append(("stop", work["id"], str(work["generation"]), work["node"], reason))

    def start(self, work: dict[str, Any]) -> None:
        work["generation"] += 1
        work["state"], work["reason"] = "starting", ""
        self.told.append(("start", work["id"], str(work["generation"]), work["node"]))

    def current(self, name: str, generation: int) -> dict[str, Any] | None:
        """The workload that an engine speaks of; None where it is a superseded instance, which is gone now, or old."""
        work = self.work.get(name)
        return work if work is not None and work["generation"] == generation and work["node"] else None

    def is_gone(self, name: str, generation: int) -> bool:
        before = len(self.fences)
        self.fences = [f for f in self.fences if (f["id"], f["generation"]) != (name, generation)]
        return len(self.fences) < before

    def started(self, name: str, generation: int) -> None:
        work = self.current(name, generation)
        if work is not None and work["state"] == "starting":
            work["state"], work["failures"] = "running", 0

    def stopped(self, name: str, generation: int) -> None:
        work = None if self.is_gone(name, generation) else self.current(name, generation)
        if work is None or work["state"] != "stopping":
            return
        if work["reason"] == "hold":
            work["state"] = "stopped"
        elif work["reason"] == "kill":
            self.end(work, "killed")
        else:
            work["state"], work["reason"], work["node"] = "queued", "", ""

    def exited(self, name: str, generation: int) -> None:
        work = None if self.is_gone(name, generation) else self.current(name, generation)
        if work is not None and work["state"] != "stopped":
            self.end(work, "completed")

    def start_failed(self, name: str, generation: int) -> None:
        if self.is_gone(name, generation):
            return
        work = self.current(name, generation)
        if work is None:
            return
        if work["state"] == "stopping":
            self.stopped(name, generation)
        elif work["state"] == "starting":
            work["failures"] += 1
            if work["failure"] == "fail" or work["failures"] > work["retries"]:
                self.end(work, "failed")
                return
            if work["failure"] == "elsewhere":
                work["avoided"].append(work["node"])
            delay_ns = min(self.backoff_ns * 2 ** (work["failures"] - 1), self.backoff_max_ns)
            work["state"], work["node"], work["due"] = "backoff", "", self.at_ns + delay_ns

    def remove(self, name: str) -> None:
        work = self.work.get(name)
        if work is None:
            return
        if not work["node"]:
            self.end(work, "killed")
        elif self.node(work["node"])["state"] == "lost":
            self.fence(work)
            self.end(work, "killed")
        else:
            self.stop(work, "kill")

    def hold(self, name: str) -> None:
        work = self.work.get(name)
        if work is not None and work["state"] in ("starting", "running"):
            self.stop(work, "hold")

    def start_again(self, name: str) -> None:
        work = self.work.get(name)
        if work is None or work["state"] != "stopped":
            return
        if self.node(work["node"])["state"] not in ("lost", "draining"):
            self.start(work)

    def wake(self) -> None:
        for work in self.work.values():
            if work["state"] == "backoff" and work["due"] <= self.at_ns:
                work["state"] = "queued"

    # -- the pass -----------------------------------------------------------------------------------------------------

    def finish_step(self) -> list[Told]:
        """Place what can be placed; return all that was told in this step."""
        while (decision := self._next()) is not None:
            work, name = decision
            work["node"], work["placed"] = name, 1 + max((w["placed"] for w in self.work.values()), default=0)
            self.start(work)
        told, self.told = self.told, []
        return told

    def _next(self) -> tuple[dict[str, Any], str] | None:
        scheduler = ReferenceScheduler(self.policy, 2)
        for node in self.nodes:
            scheduler.join(node["id"], node["capacity"])
            scheduler.nodes[-1]["state"] = node["state"]
            holders = [w for w in [*self.work.values(), *self.fences] if w["node"] == node["id"]]
            scheduler.nodes[-1]["used"] = [sum(w["request"][dimension] for w in holders) for dimension in range(2)]
        waiting = [work for work in self.work.values() if work["state"] == "queued"]
        for work in sorted(waiting, key=lambda work: (-work["priority"], work["sequence"])):
            open_nodes = [node for node in scheduler.nodes if node["id"] not in work["avoided"]]
            fitting = [node for node in open_nodes if scheduler._fits(node, work["request"])]
            if fitting:
                best = max(fitting, key=lambda node: scheduler._score(node, work["request"]))
                return work, best["id"]
        return None

"""What deployments and exact CPU capacity cost on clusters that are 60 % full, filled at random.

``capacity``: how many copies of a bound request fit on each of 5,000 nodes of 64 cores, asked for the first time and
again after one node changed. ``deploy``: requests of 1,000 equal instances on 10,000 nodes, strategy auto, planned,
committed and journalled; the engines' answers apart. Every case also reports its ratio to a bare Python loop of as
many dictionary insertions, right after it in the same process, as the machine cancels out of that.

    python -m benchmarks.plugins [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CORES = 64
NUMA = {"0": "0-31", "1": "32-63"}
MEMORY = 256 << 30
FILL = 0.6
COPIES = 1_000


def filled(nodes: int, *, numa: bool, plugin: bool = True, seed: int = 1) -> Any:
    """A core of so many nodes with the cpu plugin, every node 60 % full on average, and its journal."""
    from scheduler import kernels
    from scheduler.assignment import Assignment
    from scheduler.config import CoreConfig, PluginConfig
    from scheduler.core import Core
    from scheduler.events import NodeJoined, WorkloadAdopted, WorkloadsSubmitted
    from scheduler.journal import Header, JournalWriter
    from scheduler.plugins.registry import make_plugin

    kernels.compile_all()
    names = ("cpu",) if plugin else ()
    core = Core(
        CoreConfig(plugins=tuple(PluginConfig(name) for name in names)), plugins=[make_plugin(name) for name in names]
    )
    journal = JournalWriter(Header(config=core.config))
    random = np.random.default_rng(seed)
    payload: dict[str, Any] = {"cores": CORES}
    if numa:
        payload["numa"] = NUMA
    for row in range(nodes):
        capacity = {"cpu": CORES * 1000, "memory": MEMORY}
        core.step(0, [NodeJoined(node_id=f"n{row}", capacity=capacity, resources={"cpu": payload} if plugin else {})])
        share = float(random.uniform(FILL - 0.2, FILL + 0.2))
        spec = WorkloadsSubmitted(workload_id=f"old-{row}", request=(0, 0))
        memory = int(share * MEMORY)
        if not plugin:
            spec = WorkloadsSubmitted(workload_id=f"old-{row}", request=(int(share * CORES * 1000), memory))
            core.step(0, [WorkloadAdopted(spec=spec, node_id=f"n{row}")])
            continue
        draw = random.random(CORES)
        broken = random.integers(1, 100, CORES)
        pieces = np.where(draw < 0.8 * share, 100, np.where(draw < 1.2 * share, broken, 0))
        amounts = {str(core_id): int(n) for core_id, n in enumerate(pieces.tolist()) if n}
        cpu = {"bind": True, "cpu_request": 1, "memory_request": memory}
        spec = WorkloadsSubmitted(workload_id=f"old-{row}", request=(0, 0), payloads={"cpu": cpu})
        found = {"cpu": Assignment(amounts=amounts)}
        core.step(0, [WorkloadAdopted(spec=spec, node_id=f"n{row}", assignments=found)])
    return core, journal


def unit() -> float:
    """CPU seconds of one insertion into a dictionary in a bare loop."""
    table: dict[int, int] = {}
    insert = table.__setitem__
    began = time.process_time()
    for number in range(1_000_000):
        insert(number, number)
    return (time.process_time() - began) / 1_000_000


def measure(work: Callable[[], Any]) -> float:
    """CPU seconds of one call, without garbage collection in it."""
    gc.collect()
    gc.disable()
    began = time.process_time()
    work()
    took = time.process_time() - began
    gc.enable()
    return took


def capacity(nodes: int, request: dict[str, Any], numa: bool) -> dict[str, Any]:
    """The capacity of a bound request on every node: cold, after one change, and when nothing changed."""
    from scheduler.events import WorkloadsSubmitted

    core, _ = filled(nodes, numa=numa)
    request_class = core.state.admit(WorkloadsSubmitted(workload_id="q", request=(0, 0), payloads={"cpu": request}))
    total = 0

    def ask() -> None:
        nonlocal total
        total = int(core.planner.capacities(request_class).sum())

    cold = measure(ask)
    took = []
    for row in range(20):
        core.ledger.touch(row * 7 % nodes)
        took.append(measure(ask))
    per_unit = unit()
    return {
        "case": "capacity",
        "nodes": nodes,
        "request": json.dumps(request),
        "numa": numa,
        "copies_that_fit": total,
        "cold_ms": cold * 1e3,
        "cold_us_per_node": cold / nodes * 1e6,
        "after_one_change_ms": min(took) * 1e3,
        "cold_ratio": cold / per_unit,
        "after_one_change_ratio": min(took) / per_unit,
    }


def deploy(nodes: int, requests: int, kind: str) -> dict[str, Any]:
    """Requests of 1,000 equal instances each, one after the other."""
    from scheduler.events import DeploymentRequested, WorkloadsSubmitted

    core, journal = filled(nodes, numa=kind == "bound-numa", plugin=kind != "dimensions")
    fields: dict[str, Any] = {
        "dimensions": {"request": (100, 1 << 28)},
        "unbound": {"payloads": {"cpu": {"cpu_request": 0.1, "memory_request": 1 << 28}}},
        "bound-numa": {"payloads": {"cpu": {"bind": True, "cpu_request": 1.3, "memory_request": 1 << 28}}},
    }[kind]
    fields = {"request": (0, 0), "app": "web", "count": COPIES, **fields}
    events = [
        DeploymentRequested(spec=WorkloadsSubmitted(workload_id=f"web-{number}", **fields))
        for number in range(requests)
    ]

    def work() -> None:
        for event in events:
            batch: list[Any] = [event]
            commands = core.step(0, batch)
            journal.append(0, batch, commands)

    cpu_s = measure(work)
    placed = core.counters.placements
    assert placed == requests * COPIES, (placed, core.counters)
    return {
        "case": "deploy",
        "nodes": nodes,
        "kind": kind,
        "placements": placed,
        "placements_per_cpu_s": placed / cpu_s,
        "cpu_us_per_placement": cpu_s / placed * 1e6,
        "ratio": cpu_s / placed / unit(),
    }


def run(*, quick: bool = False) -> list[dict[str, Any]]:
    """All cases."""
    nodes = 500 if quick else 5_000
    results = [
        capacity(nodes, {"bind": True, "cpu_request": cpu, "memory_request": 1 << 30}, numa)
        for cpu in (1, 1.3)
        for numa in (False, True)
    ]
    results += [
        deploy(1_000 if quick else 10_000, requests // (5 if quick else 1), kind)
        for kind, requests in (("dimensions", 50), ("unbound", 50), ("bound-numa", 20))
    ]
    return results


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print a line a case and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the nodes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    results = run(quick=arguments.quick)
    for result in results:
        print("  ".join(f"{key}={_short(value)}" for key, value in result.items()))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""What it costs to spread copies over nodes, and how that compares with a heap that gives out one copy at a time.

Every case is run several times, the heap once or a few times; the best counts. The plans of both must be equal. Free
capacity, counts and usage are drawn at random with a fixed seed; in the case "equal", every node is empty and has room
for 1,024 copies, and one copy fewer is asked for than fits.

    python -m benchmarks.strategies [--quick] [--json FILE]
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

from scheduler.strategies import Candidates, spread
from scheduler.testing.reference_strategies import Node
from scheduler.testing.reference_strategies import spread as heap_spread

ROOM = 1_024


def cases(nodes: int) -> list[tuple[str, str, int, int, Candidates]]:
    """Strategy, the name of the cluster, copies, limit, candidates."""
    draw = np.random.default_rng(1)
    mixed = Candidates(
        capacity=draw.integers(0, 2 * ROOM, nodes),
        count=draw.integers(0, 10, nodes),
        usage=draw.random(nodes),
        rate=draw.uniform(0.0005, 0.05, nodes),
    )
    equal = Candidates(
        capacity=np.full(nodes, ROOM),
        count=np.zeros(nodes, dtype=np.int64),
        usage=np.zeros(nodes),
        rate=np.full(nodes, 1 / ROOM),
    )
    return [
        ("auto", "mixed", nodes, 0, mixed),
        ("auto", "equal", nodes, 0, equal),
        ("global", "mixed", nodes, 0, mixed),
        ("global", "equal", nodes, 0, equal),
        ("drained", "mixed", nodes, 0, mixed),
        ("fill", "mixed", 20, nodes // 2, mixed),
        ("each", "mixed", 20, nodes // 2, mixed),
        ("auto", "equal", ROOM * nodes - 1, 0, equal),
        ("global", "equal", ROOM * nodes - 1, 0, equal),
    ]


def measure(strategy: str, cluster: str, need: int, limit: int, candidates: Candidates) -> dict[str, Any]:
    columns = (candidates.capacity, candidates.count, candidates.usage, candidates.rate)
    nodes = [Node(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
    ours_s, plan = best_of(30, lambda: spread(strategy, need, candidates, limit=limit))
    repeats = 5 if need <= len(nodes) else 1
    heap_s, expected = best_of(repeats, lambda: heap_spread(strategy, need, nodes, limit, need * len(nodes)))
    assert plan.tolist() == expected
    return {
        "strategy": strategy,
        "cluster": cluster,
        "nodes": len(nodes),
        "need": need,
        "limit": limit,
        "copies": int(plan.sum()),
        "us": ours_s * 1e6,
        "heap_us": heap_s * 1e6,
        "ratio_to_heap": ours_s / heap_s,
    }


def best_of(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the fastest call, and what it returned."""
    best = float("inf")
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        result = call()
        best = min(best, time.process_time() - began)
    return best, result


def show(rows: list[dict[str, Any]]) -> None:
    head = ("strategy", "cluster", "nodes", "copies", "us", "heap us", "x heap")
    print("{:>8} {:>8} {:>7} {:>11} {:>9} {:>12} {:>8}".format(*head))
    for row in rows:
        print(
            f"{row['strategy']:>8} {row['cluster']:>8} {row['nodes']:>7,} {row['copies']:>11,} {row['us']:>9,.0f}"
            f" {row['heap_us']:>12,.0f} {row['ratio_to_heap']:>8.5f}"
        )


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few nodes only, to see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE as well")
    options = parser.parse_args()
    rows = [measure(*case) for case in cases(500 if options.quick else 10_000)]
    show(rows)
    if options.json:
        path = Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

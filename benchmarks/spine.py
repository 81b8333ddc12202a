"""What a workload costs in the simulated world, from submission through exit, and how that grows.

Every case runs in a process of its own: a synthetic trace (Google 2019 shapes, load 0.8, everything runs to its end)
through the SimPy driver with journal encoding on, every node considered for every decision. Right after it, in the
same process, the *floor*: a bare SimPy loop with the same number of timeouts (arrival, start, exit) and nothing else.
The ratio of the two says more than seconds do, as the machine cancels out. ``plan-only`` cases time the choice of a
node alone.

    python -m benchmarks.spine [--quick] [--json FILE] [--policy NAME]
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CASES = [(1_000, 60_000), (5_000, 100_000), (10_000, 120_000), (50_000, 200_000)]
QUICK = [(1_000, 20_000), (5_000, 30_000)]
MIXES = ("repeat", "distinct")


def end_to_end(nodes: int, workloads: int, mix: str, policy: str) -> dict[str, Any]:
    """Replay one synthetic trace, then the floor."""
    core, driver, feed = _prepare(nodes, workloads, mix, policy)
    gc.collect()
    began = time.process_time()
    driver.run(feed)
    cpu_s = time.process_time() - began
    floor_s = floor(core.counters.submitted)
    submitted = core.counters.submitted
    return {
        "case": "end-to-end",
        "nodes": nodes,
        "mix": mix,
        "workloads": submitted,
        "placements": core.counters.placements,
        "placements_per_cpu_s": core.counters.placements / cpu_s,
        "cpu_us_per_workload": cpu_s / submitted * 1e6,
        "floor_us_per_workload": floor_s / submitted * 1e6,
        "ratio_to_floor": cpu_s / floor_s,
        "decision_digest": driver.journal.decision_digest,
    }


def _prepare(nodes: int, workloads: int, mix: str, policy: str) -> tuple[Any, Any, Any]:
    from backends.sim.driver import SimDriver
    from backends.sim.engine import SimulatedEngine
    from eru_sim.feed import Feed, dimension_of
    from scheduler import kernels
    from scheduler.config import CoreConfig, PolicyConfig
    from scheduler.core import Core
    from scheduler.journal import Header, JournalWriter
    from traces import open_trace

    kernels.compile_all()
    trace = open_trace(f"synthetic:google2019?nodes={nodes}&hours=2&seed=1&mix={mix}&workloads={workloads}")
    dimensions = tuple(dimension_of(column) for column in trace.dimensions)
    core = Core(CoreConfig(dimensions=dimensions, policy=PolicyConfig(policy)))
    # Generating the trace is not what is measured: from submission through exit.
    feed = list(Feed(dimensions, trace.machine_events(), trace.submissions()))
    return core, SimDriver(core, SimulatedEngine(), JournalWriter(Header(config=core.config))), feed


def floor(workloads: int) -> float:
    """CPU seconds of a bare SimPy loop: every workload arrives, starts and exits, and nothing is decided."""
    import simpy

    environment = simpy.Environment()
    timeout = environment.timeout
    left = workloads

    def done(_: simpy.Event) -> None:
        pass

    def arrive(_: simpy.Event) -> None:
        nonlocal left
        timeout(0).callbacks.append(done)  # type: ignore[union-attr]
        timeout(3_600_000_000_000).callbacks.append(done)  # type: ignore[union-attr]
        left -= 1
        if left:
            timeout(72_000_000).callbacks.append(arrive)  # type: ignore[union-attr]

    timeout(0).callbacks.append(arrive)  # type: ignore[union-attr]
    gc.collect()
    began = time.process_time()
    environment.run()
    return time.process_time() - began


def plan_only(nodes: int, mix: str, policy: str) -> dict[str, Any]:
    """The choice of a node alone, on a cluster that is half full and changes by one node between choices."""
    core, driver, feed = _prepare(nodes, max(20_000, 4 * nodes), mix, policy)
    driver.run(feed, horizon_ns=0)
    planner, ledger = core.planner, core.ledger
    workloads = list(core.workloads.values())[:5_000]
    began = time.process_time()
    for number, workload in enumerate(workloads):
        ledger.touch(number % ledger.row_count)
        planner.choose(planner.classes.by_id[workload.class_id], number)
    cpu_s = time.process_time() - began
    return {
        "case": "plan-only",
        "nodes": nodes,
        "mix": mix,
        "decisions": len(workloads),
        "cpu_us_per_decision": cpu_s / len(workloads) * 1e6,
    }


def memory(nodes: int, live: int) -> dict[str, Any]:
    """Peak resident memory with that many nodes and live workloads of 300 shapes, half of them with an exit pending."""
    from backends.sim.driver import Arrival, SimDriver
    from backends.sim.engine import Service, SimulatedEngine
    from scheduler import kernels
    from scheduler.config import CoreConfig
    from scheduler.core import Core
    from scheduler.events import NodeJoined, WorkloadsSubmitted
    from scheduler.journal import Header, JournalWriter

    kernels.compile_all()

    def arrivals() -> Any:
        for node in range(nodes):
            yield Arrival(0, NodeJoined(node_id=f"node-{node}", capacity={"cpu": 640_000_000, "memory": 1 << 50}))
        for number in range(live):
            spec = WorkloadsSubmitted(
                workload_id=f"job-{number // 10}-task-{number}", job_id=f"job-{number // 10}",
                request=(100 + number % 300, 1 << 20),
            )  # fmt: skip
            yield Arrival(number + 1, spec, Service(10**15 if number % 2 else None))

    core = Core(CoreConfig())
    driver = SimDriver(core, SimulatedEngine(), JournalWriter(Header(config=core.config)))
    driver.run(arrivals(), horizon_ns=live + 1)
    assert len(core.workloads) == live
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"case": "memory", "nodes": nodes, "live_workloads": live, "peak_rss_bytes": peak}


def _isolated(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.spine", "--case", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_all(quick: bool, policy: str) -> dict[str, Any]:
    """Run every case; print progress on stderr."""
    rows = []
    for nodes, workloads in QUICK if quick else CASES:
        for mix in MIXES:
            print(f"{nodes:,} nodes, mix={mix}", file=sys.stderr)
            rows.append(_isolated("end-to-end", nodes, workloads, mix, policy))
            rows.append(_isolated("plan-only", nodes, mix, policy))
    few, many = (1_000, 10_000) if quick else (5_000, 50_000)
    live_few, live_many = (10_000, 30_000) if quick else (50_000, 200_000)
    print("memory", file=sys.stderr)
    by_node = [_isolated("memory", nodes, live_few) for nodes in (few, many)]
    by_workload = [by_node[0], _isolated("memory", few, live_many)]
    slopes = {
        "bytes_per_node": _slope(by_node, "nodes"),
        "bytes_per_live_workload": _slope(by_workload, "live_workloads"),
    }
    return {"policy": policy, "rows": rows, "memory": [*by_node, by_workload[1]], "slopes": slopes}


def _slope(pair: list[dict[str, Any]], by: str) -> float:
    small, large = pair
    return float((large["peak_rss_bytes"] - small["peak_rss_bytes"]) / (large[by] - small[by]))


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"policy {result['policy']}; end to end: submission through exit, journal encoding on, every node considered")
    head = ("nodes", "mix", "workloads", "placements/CPU s", "us/workload", "floor us", "x floor")
    print("{:>8} {:>9} {:>10} {:>17} {:>12} {:>9} {:>8}".format(*head))
    for row in result["rows"]:
        if row["case"] == "end-to-end":
            print(
                f"{row['nodes']:>8,} {row['mix']:>9} {row['workloads']:>10,} {row['placements_per_cpu_s']:>17,.0f}"
                f" {row['cpu_us_per_workload']:>12.1f} {row['floor_us_per_workload']:>9.1f}"
                f" {row['ratio_to_floor']:>8.1f}"
            )
    print("\nplan only: the choice of a node, one row changed since the last one")
    for row in result["rows"]:
        if row["case"] == "plan-only":
            print(f"{row['nodes']:>8,} {row['mix']:>9} {row['cpu_us_per_decision']:>12.1f} us/decision")
    slopes = result["slopes"]
    print(f"\nmemory: {slopes['bytes_per_node']:,.0f} bytes a node, ", end="")
    print(f"{slopes['bytes_per_live_workload']:,.0f} bytes a live workload")


def main() -> None:
    """Run all cases, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small cases only, to see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE as well")
    parser.add_argument("--policy", default="best-fit")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        kind, *rest = options.case
        if kind == "end-to-end":
            result = end_to_end(int(rest[0]), int(rest[1]), rest[2], rest[3])
        elif kind == "plan-only":
            result = plan_only(int(rest[0]), rest[1], rest[2])
        else:
            result = memory(int(rest[0]), int(rest[1]))
        print(json.dumps(result))
        return
    result = run_all(options.quick, options.policy)
    show(result)
    if options.json:
        path = Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

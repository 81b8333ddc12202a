"""What whole runs cost: Kubernetes' scheduler_perf, the FGD study, a day of Google's, first fit over many hosts.

Every case runs in a process of its own, and CPU time is that of the process or, where noted, of the measured part.

* ``basic``, ``anti-affinity``, ``spread``: the node and pod templates of Kubernetes' scheduler_perf: 5,000 nodes of 4
  cores and 32 GiB in 10 zones; pods of 100m and 500 MiB. First 1,000 pods are placed, then 10,000 more (2,000 with
  anti-affinity by host, 5,000 spread over zones with a skew of 1) are measured. Arrivals come one by one.
* ``preemption``: 20,000 pods of 900m fill these nodes, and 5,000 of 3 cores and higher priority take their places. Of
  all these placements a CPU second are those of the measured pods, journal encoding on.
* ``fgd``, ``openb-best-fit``: the 10,866 arrivals of the FGD study, seed 42; the whole process, imports included. They
  need the trace: ``--openb DIR``.
* ``day``: 24 hours of the synthetic Google 2011 model, 12,500 machines and 1,000,000 tasks, best fit; the whole
  process.
* ``hosts``: 100,000 VMs of the synthetic Azure model on 50,000 hosts, first fit; the whole process.

    python -m benchmarks.replays [--quick] [--json FILE] [--openb DIR] [CASE ...]
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KUBERNETES = ("basic", "anti-affinity", "spread", "preemption")
OPENB = {"fgd": "fgd", "openb-best-fit": "openb-best-fit"}
CASES = (*KUBERNETES, *OPENB, "day", "hosts")
ZONES = 10
MIB = 1 << 20


def kubernetes(case: str, *, quick: bool = False) -> dict[str, Any]:
    """One case of scheduler_perf."""
    from backends.sim.driver import Arrival, SimDriver
    from backends.sim.engine import SimulatedEngine
    from scheduler import kernels
    from scheduler.config import CoreConfig, PluginConfig, PolicyConfig
    from scheduler.core import Core
    from scheduler.events import NodeJoined, WorkloadsSubmitted
    from scheduler.journal import Header, JournalWriter
    from scheduler.plugins.registry import make_plugin
    from scheduler.ports import Dimension

    kernels.compile_all()
    scale = 10 if quick else 1
    nodes = 5_000 // scale
    first, measured = {"anti-affinity": (1_000, 2_000), "spread": (1_000, 5_000), "preemption": (20_000, 5_000)}.get(
        case, (1_000, 10_000)
    )
    first, measured = first // scale, measured // scale
    fields: dict[str, Any] = {}
    if case == "anti-affinity":
        fields["payloads"] = {"affinity": {"labels": {"color": "green"}, "apart": [{"match": {"color": "green"}}]}}
    elif case == "spread":
        rule = {"match": {"color": "blue"}, "level": "zone", "max_skew": 1}
        fields["payloads"] = {"affinity": {"labels": {"color": "blue"}, "spread": [rule]}}

    def pods(name: str, count: int, at_ns: int, cpu: int, **more: Any) -> Iterator[Arrival]:
        for number in range(count):
            spec = WorkloadsSubmitted(workload_id=f"{name}-{number}", request=(cpu, 500 * MIB), **more)
            yield Arrival(at_ns + number, spec)

    arrivals = [
        Arrival(
            0,
            NodeJoined(
                node_id=f"node-{row}", capacity={"cpu": 4_000, "memory": 32 << 30}, topology={"zone": f"z{row % ZONES}"}
            ),
        )
        for row in range(nodes)
    ]
    arrivals += pods("first", first, 1, 900 if case == "preemption" else 100)
    if case == "preemption":
        arrivals += pods("pod", measured, 1 + first, 3_000, priority=10, preempts=True)
    else:
        arrivals += pods("pod", measured, 1 + first, 100, **fields)
    config = CoreConfig(
        dimensions=(Dimension("cpu", "millicores"), Dimension("memory", "bytes")),
        plugins=(PluginConfig("affinity"),),
        policy=PolicyConfig("worst-fit"),
    )
    core = Core(config, plugins=[make_plugin("affinity")])
    driver = SimDriver(core, SimulatedEngine(), JournalWriter(Header(config=config)))
    began = 0.0

    def note_begin(at_ns: int, _events: object, _commands: object) -> None:
        nonlocal began
        if at_ns == first:
            began = time.process_time()

    driver.observers.append(note_begin)
    driver.run(arrivals)
    cpu_s = time.process_time() - began
    placed = sum(1 for number in range(measured) if core.workloads[f"pod-{number}"].row >= 0)
    return {
        "nodes": nodes,
        "workloads": measured,
        "placed": placed,
        "preempted": core.counters.preempted,
        "cpu_s": cpu_s,
        "placements_per_cpu_s": placed / cpu_s,
        "decision_digest": driver.journal.decision_digest,
    }


def whole(case: str, openb: str | None, *, quick: bool = False) -> dict[str, Any]:
    """A replay, with everything that its process does."""
    from eru_sim.simulation import replay

    if case in OPENB:
        source, policy = f"openb:{openb}?inflate=1.3&seed=42", OPENB[case]
    elif case == "day":
        size = "nodes=1250&hours=2&workloads=20000" if quick else "nodes=12500&hours=24&workloads=1000000"
        source, policy = f"synthetic:google2011?{size}", "best-fit"
    else:
        size = "nodes=2000&workloads=4000" if quick else "nodes=50000&workloads=100000"
        source, policy = f"synthetic:azure?{size}&start=empty", "first-fit"
    summary = replay(source, policy=policy).summary
    cpu_s = time.process_time()
    return {
        "source": source if case not in OPENB else source.replace(str(openb), "DIR"),
        "nodes": summary["nodes"],
        "workloads": summary["workloads"],
        "placed": summary["placed"],
        "cpu_s": cpu_s,
        "placements_per_cpu_s": summary["placed"] / cpu_s,
        "decision_digest": summary["decision_digest"],
    }


def run_case(case: str, openb: str | None, *, quick: bool) -> dict[str, Any]:
    """One case, in this process; after it the floor, see `benchmarks.spine`."""
    from benchmarks.spine import floor

    figures = kubernetes(case, quick=quick) if case in KUBERNETES else whole(case, openb, quick=quick)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    floor_us = floor(50_000) / 50_000 * 1e6
    per_workload = figures["cpu_s"] / figures["workloads"] * 1e6
    return {
        "case": case, **figures, "peak_rss_bytes": peak, "floor_us_per_workload": floor_us,
        "ratio_to_floor": per_workload / floor_us,
    }  # fmt: skip


def main() -> None:
    """Run the cases, each in a process, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--quick", action="store_true", help="small cases, to see that it runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures to FILE as well")
    parser.add_argument("--openb", metavar="DIR", help="the trace openb; without it its cases are left out")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = options.cases or [case for case in CASES if options.openb or case not in OPENB]
    for case in cases:
        if case not in CASES:
            parser.error(f"no case {case!r}; there are: {', '.join(CASES)}")
        if case in OPENB and not options.openb:
            parser.error(f"{case} needs --openb DIR")
    if options.inside:
        print(json.dumps(run_case(cases[0], options.openb, quick=options.quick)))
        return
    flags = [*(["--quick"] if options.quick else []), *(["--openb", options.openb] if options.openb else [])]
    rows = []
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.replays", "--inside", *flags, case]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(row := json.loads(done.stdout.splitlines()[-1]))
        print(
            f"{case:<15} {row['nodes']:>7,} nodes {row['placed']:>9,} placed {row['cpu_s']:>8.2f} CPU s"
            f" {row['placements_per_cpu_s']:>8,.0f}/s {row['ratio_to_floor']:>6.1f} x floor"
            f" {row['peak_rss_bytes'] / MIB:>7,.0f} MiB",
            flush=True,
        )
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        taken = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        options.json.write_text(json.dumps({"taken": taken, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

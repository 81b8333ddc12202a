"""Replay a trace: the composition root of the simulated world."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eru_sim.errors import EruError
from eru_sim.options import choose_policy, parse_duration_ns, parse_engine, parse_overcommit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from backends.sim.engine import EngineModel
    from scheduler.journal import Batch
    from scheduler.policies import Policy

Progress = Callable[[float, str], None]
"""Called now and then with the share that is done (0 to 1) and what is being done."""

_PROGRESS_EVERY = 2048


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    ``summary`` is JSON-able, in a fixed order. ``timeline`` has one row a sample (see `eru_sim.metrics`), ``nodes``
    one row a node at the end, in rank order, with ``<dimension>_allocated`` and ``<dimension>_capacity`` in base
    units. ``delays_s`` holds the queueing delay of every first placement, in seconds, in order of placement.
    """

    summary: dict[str, Any]
    timeline: pd.DataFrame
    nodes: pd.DataFrame
    delays_s: NDArray[np.float64]


def replay(
    source: str,
    *,
    cluster: str = "trace",
    policy: str | Policy = "best-fit",
    seed: int = 0,
    overcommit: str | Mapping[str, float] | None = None,
    initial: Literal["empty", "recorded"] = "empty",
    horizon: str | int | float | None = None,
    failures: str | None = None,
    engine: str | EngineModel | None = None,
    journal: str | Path | None = None,
    out: str | Path | None = None,
    check_every: int = 0,
    progress: Progress | None = None,
) -> ReplayResult:
    """Run a trace through the scheduler core in simulated time.

    ``source`` is ``format:path[?key=value&…]``; ``cluster`` "trace" or a specification of `eru_sim.cluster_models`;
    ``policy`` a name, ``module:Class``, ``file.py:Class`` or an object. ``horizon`` ends the run (seconds, or e.g.
    "2h"); by default the trace says, else it ends when nothing is left to happen. ``initial`` "recorded" starts from
    the placement that the trace shows at its start. ``failures`` replaces recorded machine failures. ``engine`` gives
    latencies and faults. ``journal`` is a file to record to, ``out`` a directory for the result's tables.
    ``check_every`` checks all invariants after every so many steps.

    Bad input raises `EruError`, `traces.TraceError` or ``ValueError``, each with one line, and leaves no output behind.
    """
    started = time.perf_counter(), time.process_time()
    from backends.sim.driver import SimDriver
    from backends.sim.engine import SimulatedEngine
    from eru_sim.feed import Feed, dimension_of
    from eru_sim.journal_file import JournalFile
    from eru_sim.machines import choose_machines
    from eru_sim.metrics import Metrics
    from eru_sim.recording import READERS
    from scheduler import kernels
    from scheduler.config import CoreConfig, PluginConfig, PolicyConfig
    from scheduler.core import Core
    from scheduler.invariants import check
    from scheduler.journal import Header, JournalWriter
    from scheduler.plugins.registry import make_plugin
    from traces import open_trace

    kernels.compile_all()
    startup_s = time.perf_counter() - started[0]
    if initial not in ("empty", "recorded"):
        raise EruError(f"initial: {initial!r} is neither 'empty' nor 'recorded'")
    choice = choose_policy(policy, seed)
    model = parse_engine(engine, seed)
    horizon_ns = None if horizon is None else parse_duration_ns(horizon, "horizon")
    ratios = parse_overcommit(overcommit)
    loading = _fraction(progress, "opening the trace")
    trace = open_trace(source, readers=READERS, progress=loading)
    horizon_ns = trace.horizon_ns if horizon_ns is None else horizon_ns
    machines = choose_machines(trace, cluster, failures, horizon_ns, seed)
    config = CoreConfig(
        dimensions=tuple(dimension_of(column) for column in trace.dimensions),
        plugins=(PluginConfig("labels"),),
        policy=PolicyConfig(choice.name, choice.params),
        overcommit=ratios,
    )
    try:
        core = Core(config, plugins=[make_plugin("labels")], policy_factory=choice.factory)
    except ValueError as error:
        raise EruError(str(error)) from None
    feed = Feed(
        config.dimensions,
        machines.events,
        trace.submissions(),
        initial=initial,
        with_images=model.image_pull_ns > 0,
        topology=machines.topology,
    )
    metrics = Metrics(core)
    observers = [metrics.observe]
    if check_every:
        observers.append(_every(check_every, lambda: check(core)))
    if progress is not None:
        observers.append(_progress_of_run(progress, core, horizon_ns))
    assumptions = _assumptions(trace.assumptions, machines.assumptions, model, initial, horizon_ns)
    notes: dict[str, Any] = {"source": source, "cluster": machines.spec, "seed": seed, "assumptions": assumptions}
    if horizon_ns is not None:
        notes["horizon_ns"] = horizon_ns
    load_s = time.perf_counter() - started[0] - startup_s
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(JournalFile(journal)).write if journal is not None else None
        writer = JournalWriter(Header(config=config, notes=notes), sink)
        driver = SimDriver(core, SimulatedEngine(model), writer, observers=observers)
        before = time.perf_counter(), time.process_time()
        end_ns = driver.run(feed, horizon_ns)
        metrics.finish(end_ns)
        wall_s, cpu_s = time.perf_counter() - before[0], time.process_time() - before[1]
        if check_every:
            check(core)
        writer.close()
    if feed.unknown_machines:
        assumptions.append(f"{feed.unknown_machines} workloads were recorded on machines that are not there: queued.")
    parts = core.partition()
    counters = core.counters
    summary = {
        "policy": choice.name,
        "policy_params": choice.params,
        "source": source,
        "cluster": machines.spec,
        "seed": seed,
        "overcommit": ratios,
        "nodes": len(core.cluster.by_id),
        "live_nodes": core.cluster.live_count,
        "workloads": counters.submitted,
        "placed": counters.placed,
        "adopted": counters.adopted,
        "completed": parts["completed"],
        "failed": parts["failed"],
        "killed": parts["killed"],
        "pending": parts["queued"],
        "starting": parts["starting"],
        "running": parts["running"],
        "stopping": parts["stopping"],
        "rejected": parts["rejected"],
        "lost": parts["lost"],
        "evicted": counters.evicted,
        "start_failures": counters.start_failures,
        "stale_completions": counters.stale,
        "refused_requests": counters.refused,
        "decisions": counters.decisions,
        "placements": counters.placements,
        "utilisation": metrics.utilisation(),
        "queueing_delay_s": metrics.queueing_delay_s(),
        "horizon_s": end_ns / 1e9,
        "startup_s": startup_s,
        "load_s": load_s,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "decision_digest": writer.decision_digest,
        "journal_digest": writer.journal_digest,
        "assumptions": assumptions,
        "ignored": dict(sorted(feed.ignored.items())),
        "repaired": {**dict(trace.repaired), **dict(machines.repaired)},
    }
    result = ReplayResult(summary, metrics.timeline(), _nodes_frame(core), metrics.delays_s())
    if out is not None:
        write_result(result, out)
    return result


def write_result(result: ReplayResult, out: str | Path) -> None:
    """Write ``summary.json``, ``timeline.parquet``, ``nodes.parquet`` and ``delays.parquet``, each whole or not at
    all.
    """
    import msgspec
    import pandas as pd

    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "summary.json", msgspec.json.format(msgspec.json.encode(result.summary)) + b"\n")
    delays = pd.DataFrame({"delay_s": result.delays_s})
    for name, frame in (("timeline", result.timeline), ("nodes", result.nodes), ("delays", delays)):
        part = directory / f".{name}.parquet.part"
        frame.to_parquet(part)
        part.replace(directory / f"{name}.parquet")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _assumptions(
    of_trace: tuple[str, ...], of_machines: tuple[str, ...], model: EngineModel, initial: str, horizon_ns: int | None
) -> list[str]:
    """Everything assumed in this run, one sentence each."""
    engine = (
        f"start {model.start_ns / 1e9:g} s, stop {model.stop_ns / 1e9:g} s, image pull {model.image_pull_ns / 1e9:g} s"
    )
    sentences = [*of_trace, *of_machines, f"Engines answer after: {engine}."]
    if model.image_pull_ns:
        sentences.append("Every job has one image of its own; a node pulls it once.")
    sentences.append("Work that is rescheduled starts from the beginning.")
    if initial == "recorded":
        sentences.append("The run starts from the recorded placement, overcommitted where it was.")
    if horizon_ns is not None:
        sentences.append(f"The run ends at {horizon_ns / 1e9:g} s.")
    return sentences


def _nodes_frame(core: Any) -> pd.DataFrame:
    import pandas as pd

    nodes = [node for node in core.cluster.nodes if node.state != "removed"]
    columns: dict[str, Any] = {
        "node_id": [node.node_id for node in nodes],
        "state": [str(node.state) for node in nodes],
        "workloads": [len(core.on_row[node.row]) for node in nodes],
    }
    used = [core.ledger.used(node.row) for node in nodes]
    for position, dimension in enumerate(core.config.dimensions):
        columns[f"{dimension.name}_allocated"] = [amounts[position] for amounts in used]
        columns[f"{dimension.name}_capacity"] = [node.capacity[position] for node in nodes]
    return pd.DataFrame(columns)


def _every(steps: int, action: Callable[[], None]) -> Callable[..., None]:
    count = 0

    def observer(*_: object) -> None:
        nonlocal count
        count += 1
        if count % steps == 0:
            action()

    return observer


def _fraction(progress: Progress | None, what: str) -> Callable[[float], None] | None:
    return None if progress is None else lambda done: progress(done, what)


def _progress_of_run(progress: Progress, core: Any, horizon_ns: int | None) -> Callable[..., None]:
    """Report by simulated time where the end is known, and always the work that has ended."""
    count = 0

    def observer(at_ns: int, *_: object) -> None:
        nonlocal count
        count += 1
        if count % _PROGRESS_EVERY == 0:
            share = at_ns / horizon_ns if horizon_ns else 0.0
            progress(min(share, 1.0), f"replaying: {core.counters.placements:,} placements at {at_ns / 1e9:,.0f} s")

    return observer


def progress_of_file(path: str | Path, progress: Progress | None) -> Callable[[int, Batch], None]:
    """Return a function to call with the number of batches done, which reports by simulated time read so far."""
    if progress is None:
        return lambda done, batch: None
    size = max(1, os.path.getsize(path))
    read = 0

    def report(done: int, batch: Batch) -> None:
        nonlocal read
        read += 110 * (len(batch.events) + len(batch.commands)) + 90
        if done % _PROGRESS_EVERY == 0:
            progress(min(read / size, 1.0), f"reading the journal: {done:,} batches")

    return report

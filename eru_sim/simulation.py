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
from eru_sim.output import check_directory, check_file, write_files

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from backends.sim.engine import EngineModel
    from eru_sim.feed import Feed
    from eru_sim.machines import Machines
    from eru_sim.metrics import Metrics
    from eru_sim.options import PolicyChoice
    from scheduler.core import Core
    from scheduler.journal import Batch, JournalWriter
    from scheduler.policies import Policy
    from traces import Trace

Progress = Callable[[float, str], None]
"""Called now and then with the share that is done (0 to 1) and what is being done."""

_PROGRESS_EVERY = 2048
"""Batches of a journal."""
_PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    ``summary`` is JSON-able, in a fixed order. ``timeline`` has one row a sample (see `eru_sim.metrics`), ``nodes``
    one row a node at the end, in rank order, with ``<dimension>_allocated`` and ``<dimension>_capacity`` in base
    units. ``placement`` has one row a workload that is on a node at the end, in order of submission: ``workload_id``,
    ``node_id``, ``state``, and ``assignments``, what it holds of particular things: a mapping from exact plugin to
    `scheduler.ports.Assignment`, or None. ``delays_s`` holds the queueing delay of every first placement, in seconds,
    in order of placement.
    """

    summary: dict[str, Any]
    timeline: pd.DataFrame
    nodes: pd.DataFrame
    placement: pd.DataFrame
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
    began = time.perf_counter()
    from scheduler import kernels

    kernels.compile_all()
    startup_s = time.perf_counter() - began
    if initial not in ("empty", "recorded"):
        raise EruError(f"initial: {initial!r} is neither 'empty' nor 'recorded'")
    if journal is not None:
        journal = check_file(journal, "journal")
        if journal.exists() and source.startswith("journal:") and journal.samefile(source[len("journal:") :]):
            raise EruError(f"journal: {str(journal)!r} is the recording that is replayed; write to another file")
    if out is not None:
        out = check_directory(out)
    run = _compose(
        source,
        cluster=cluster,
        choice=choose_policy(policy, seed),
        seed=seed,
        overcommit=parse_overcommit(overcommit),
        initial=initial,
        horizon_ns=None if horizon is None else parse_duration_ns(horizon, "horizon"),
        failures=failures,
        model=parse_engine(engine, seed),
        progress=progress,
    )
    load_s = time.perf_counter() - began - startup_s
    timing = _execute(run, journal, check_every, progress)
    summary = _summary(run, {"startup_s": startup_s, "load_s": load_s, **timing})
    result = ReplayResult(
        summary=summary,
        timeline=run.metrics.timeline(),
        nodes=_nodes_frame(run.core),
        placement=_placement_frame(run.core),
        delays_s=run.metrics.delays_s(),
    )
    if out is not None:
        write_files(out, tables_of(result))
    return result


@dataclass
class _Run:
    """Everything that takes part in one run. ``end_ns`` and ``writer`` are known once it is over."""

    source: str
    choice: PolicyChoice
    seed: int
    horizon_ns: int | None
    model: EngineModel
    trace: Trace
    machines: Machines
    core: Core
    feed: Feed
    metrics: Metrics
    assumptions: list[str]
    writer: JournalWriter | None = None
    end_ns: int = 0


def _compose(
    source: str,
    *,
    cluster: str,
    choice: PolicyChoice,
    seed: int,
    overcommit: dict[str, float],
    initial: Literal["empty", "recorded"],
    horizon_ns: int | None,
    failures: str | None,
    model: EngineModel,
    progress: Progress | None,
) -> _Run:
    """Open the trace, choose the machines, and make a core that fits them."""
    from eru_sim.feed import Feed, dimension_of
    from eru_sim.machines import choose_machines
    from eru_sim.metrics import Metrics
    from eru_sim.sources import open_source
    from scheduler.config import CoreConfig, PluginConfig, PolicyConfig
    from scheduler.core import Core
    from scheduler.plugins.registry import make_plugin

    trace = open_source(source, progress)
    horizon_ns = trace.horizon_ns if horizon_ns is None else horizon_ns
    machines = choose_machines(trace, cluster, failures, horizon_ns, seed)
    plugins = (PluginConfig("labels"), *(PluginConfig(name, params=params) for name, params in trace.plugins.items()))
    config = CoreConfig(
        dimensions=tuple(dimension_of(column) for column in trace.dimensions),
        plugins=plugins,
        policy=PolicyConfig(choice.name, choice.params),
        overcommit=overcommit or getattr(trace, "overcommit", {}),
    )
    try:
        made = [make_plugin(plugin.name, plugin.params) for plugin in plugins]
        core = Core(config, plugins=made, policy_factory=choice.factory)
    except ValueError as error:
        raise EruError(str(error)) from None
    feed = Feed(
        config.dimensions,
        machines.events,
        trace.submissions(),
        plugins=[plugin.name for plugin in plugins],
        initial=initial,
        with_images=model.image_pull_ns > 0,
        topology=machines.topology,
    )
    return _Run(
        source=source,
        choice=choice,
        seed=seed,
        horizon_ns=horizon_ns,
        model=model,
        trace=trace,
        machines=machines,
        core=core,
        feed=feed,
        metrics=Metrics(core),
        assumptions=_assumptions(trace.assumptions, machines.assumptions, model, initial, horizon_ns),
    )


def _execute(run: _Run, journal: Path | None, check_every: int, progress: Progress | None) -> dict[str, float]:
    """Run it; return what it took in seconds."""
    from backends.sim.driver import SimDriver
    from backends.sim.engine import SimulatedEngine
    from eru_sim.journal_file import JournalFile
    from scheduler.invariants import check
    from scheduler.journal import Header, JournalWriter

    core = run.core
    observers = [run.metrics.observe]
    if check_every:
        observers.append(_every(check_every, lambda: check(core)))
    if progress is not None:
        observers.append(_progress_of_run(progress, core, run.horizon_ns))
    notes: dict[str, Any] = {
        "source": run.source,
        "cluster": run.machines.spec,
        "seed": run.seed,
        "assumptions": run.assumptions,
    }
    if run.horizon_ns is not None:
        notes["horizon_ns"] = run.horizon_ns
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(JournalFile(journal)).write if journal is not None else None
        run.writer = JournalWriter(Header(config=core.config, notes=notes), sink)
        driver = SimDriver(core, SimulatedEngine(run.model), run.writer, observers=observers)
        began = time.perf_counter(), time.process_time()
        run.end_ns = driver.run(run.feed, run.horizon_ns)
        run.metrics.finish(run.end_ns)
        took = {"wall_s": time.perf_counter() - began[0], "cpu_s": time.process_time() - began[1]}
        if check_every:
            check(core)
        run.writer.close()
    return took


def _summary(run: _Run, timing: dict[str, float]) -> dict[str, Any]:
    core, metrics, writer = run.core, run.metrics, run.writer
    assert writer is not None
    parts, counters = core.partition(), core.counters
    assumptions = list(run.assumptions)
    if run.feed.unknown_machines:
        assumptions.append(
            f"{run.feed.unknown_machines} workloads were recorded on machines that are not there: queued."
        )
    return {
        "policy": run.choice.name,
        "policy_params": run.choice.params,
        "source": run.source,
        "cluster": run.machines.spec,
        "seed": run.seed,
        "plugins": [plugin.name for plugin in core.config.plugins],
        "overcommit": dict(core.config.overcommit),
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
        "horizon_s": run.end_ns / 1e9,
        **timing,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "decision_digest": writer.decision_digest,
        "journal_digest": writer.journal_digest,
        "assumptions": assumptions,
        "ignored": dict(sorted(run.feed.ignored.items())),
        "repaired": {**dict(run.trace.repaired), **dict(run.machines.repaired)},
    }


def tables_of(result: ReplayResult) -> dict[str, bytes]:
    """The files of a result by name: ``summary.json``, and ``timeline``, ``nodes``, ``placement`` and ``delays`` as
    Parquet; the placement without assignments.
    """
    import msgspec
    import pandas as pd

    delays = pd.DataFrame({"delay_s": result.delays_s})
    placement = result.placement.drop(columns="assignments")
    frames = {"timeline": result.timeline, "nodes": result.nodes, "placement": placement, "delays": delays}
    summary = msgspec.json.format(msgspec.json.encode(result.summary)) + b"\n"
    return {"summary.json": summary} | {f"{name}.parquet": frame.to_parquet() for name, frame in frames.items()}


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


def _placement_frame(core: Any) -> pd.DataFrame:
    import pandas as pd

    placed = [workload for workload in core.workloads.values() if workload.row >= 0]
    placed.sort(key=lambda workload: workload.sequence)
    nodes = core.cluster.nodes
    columns = {
        "workload_id": [workload.workload_id for workload in placed],
        "node_id": [nodes[workload.row].node_id for workload in placed],
        "state": [str(workload.state) for workload in placed],
        "assignments": [workload.assignments for workload in placed],
    }
    return pd.DataFrame(columns)


def _every(steps: int, action: Callable[[], None]) -> Callable[..., None]:
    count = 0

    def observer(*_: object) -> None:
        nonlocal count
        count += 1
        if count % steps == 0:
            action()

    return observer


def _progress_of_run(progress: Progress, core: Any, horizon_ns: int | None) -> Callable[..., None]:
    """Report by simulated time where the end is known, and always the work that has been placed."""
    progress(0.0, "replaying")
    told_s = time.perf_counter()

    def observer(at_ns: int, *_: object) -> None:
        nonlocal told_s
        now_s = time.perf_counter()
        if now_s - told_s >= _PROGRESS_EVERY_S:
            told_s = now_s
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

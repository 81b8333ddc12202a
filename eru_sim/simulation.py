"""Replay a trace: the composition root of the simulated world."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from eru_sim.errors import EruError
from eru_sim.options import (
    choose_policy,
    choose_queue,
    parse_duration_ns,
    parse_engine,
    parse_overcommit,
    parse_reservations,
)
from eru_sim.output import check_directory, check_file, write_files

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from backends.sim.driver import Observer
    from backends.sim.engine import EngineModel
    from eru_sim.checkpoint import Arguments, Checkpoint, ObservingPart, Part, Saver
    from eru_sim.feed import Feed, RecordedFeed
    from eru_sim.journal_file import JournalFile
    from eru_sim.machines import Machines
    from eru_sim.metrics import Metrics
    from eru_sim.options import PolicyChoice, QueueChoice
    from eru_sim.outcomes import Outcomes
    from scheduler.config import CoreConfig
    from scheduler.core import Core
    from scheduler.journal import Batch, Header, JournalWriter
    from scheduler.policies import Policy
    from traces import Trace

Progress = Callable[[float, str], None]
"""Called now and then with the share that is done (0 to 1) and what is being done."""

_PROGRESS_EVERY = 2048
"""Batches of a journal."""
_PROGRESS_EVERY_S = 0.2


class ReplayResult:
    """What a replay found.

    ``summary`` is JSON-able, in a fixed order. Frames and arrays are made when they are first asked for, and until all
    have been, the result keeps the whole run in memory; `complete` makes them all.
    """

    def __init__(self, summary: dict[str, Any], makers: Mapping[str, Callable[[], Any]]) -> None:
        self.summary = summary
        self._makers = dict(makers)

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row a sample (see `eru_sim.metrics`)."""
        return cast("pd.DataFrame", self._makers.pop("timeline")())

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """One row a node at the end, in rank order, with ``<dimension>_allocated`` and ``<dimension>_capacity`` in base
        units.
        """
        return cast("pd.DataFrame", self._makers.pop("nodes")())

    @cached_property
    def placement(self) -> pd.DataFrame:
        """One row a workload that is on a node at the end, in order of submission: ``workload_id``, ``node_id``,
        ``state``, and ``assignments``, what it holds of particular things: a mapping from exact plugin to
        `scheduler.ports.Assignment`, or None.
        """
        return cast("pd.DataFrame", self._makers.pop("placement")())

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row a workload (see `eru_sim.outcomes`)."""
        return cast("pd.DataFrame", self._makers.pop("outcomes")())

    @cached_property
    def delays_s(self) -> NDArray[np.float64]:
        """The queueing delay of every first placement, in seconds, in order of placement."""
        return cast("NDArray[np.float64]", self._makers.pop("delays_s")())

    def complete(self) -> ReplayResult:
        """Make what has not been made, and let the run go; return the result itself."""
        for name in tuple(self._makers):
            getattr(self, name)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.complete().__dict__


def replay(
    source: str | None = None,
    *,
    cluster: str = "trace",
    policy: str | Policy = "best-fit",
    queue: str = "priority",
    seed: int = 0,
    overcommit: str | Mapping[str, float] | None = None,
    initial: Literal["empty", "recorded"] = "empty",
    horizon: str | int | float | None = None,
    failures: str | None = None,
    reservations: str | None = None,
    engine: str | EngineModel | None = None,
    journal: str | Path | None = None,
    out: str | Path | None = None,
    check_every: int = 0,
    checkpoint: str | Path | None = None,
    every: str | int | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
) -> ReplayResult:
    """Run a trace through the scheduler core in simulated time.

    ``source`` is ``format:path[?key=value&…]``; ``cluster`` "trace" or a specification of `eru_sim.cluster_models`;
    ``policy`` a name, ``module:Class``, ``file.py:Class`` or an object. ``queue`` is the discipline of the pending
    queue, ``name[?key=value&…]`` of `scheduler.disciplines`; ``pass=event`` schedules after every event. ``horizon``
    ends the run (seconds, or e.g. "2h"); by default the trace says, else it ends when nothing is left to happen.
    ``initial`` "recorded" starts from the placement that the trace shows at its start. ``failures`` replaces recorded
    machine failures. ``reservations`` holds nodes for tenants, e.g. "physics:8@1h-3h". ``engine`` gives latencies and
    faults. ``journal`` is a file to record to, ``out`` a directory for the result's tables. ``check_every`` checks all
    invariants after every so many steps.

    ``checkpoint`` is a file to save the run to: at its start, after ``every`` so many batches (by default 100,000) or
    so much simulated time (e.g. "15m"), and at its end. ``resume`` is such a file, to go on from; everything else comes
    from there. What is given with it and differs from its default must agree. A policy of your own must be given
    again.

    Bad input raises `EruError`, `traces.TraceError` or ``ValueError``, each with one line, and leaves no output behind;
    with a checkpoint, what it takes to resume.
    """
    options = {
        "source": source, "cluster": cluster, "policy": policy, "queue": queue, "seed": seed,
        "overcommit": overcommit, "initial": initial, "horizon": horizon, "failures": failures,
        "reservations": reservations, "engine": engine,
        "journal": journal, "out": out, "check_every": check_every, "checkpoint": checkpoint, "every": every,
    }  # fmt: skip
    if resume is not None:
        from eru_sim.checkpoint import not_default, read

        return go_on(read(resume), not_default(options), progress)
    if source is None:
        raise EruError("source: there is none; give a trace, or a checkpoint to resume")
    return _start(options, progress)


def _start(options: dict[str, Any], progress: Progress | None) -> ReplayResult:
    from eru_sim.checkpoint import Arguments, check_free, parse_every
    from scheduler.config import PolicyConfig

    startup_s = _start_up()
    source, journal = options["source"], options["journal"]
    if journal is not None:
        journal = check_file(journal, "journal")
        if journal.exists() and source.startswith("journal:") and journal.samefile(source[len("journal:") :]):
            raise EruError(f"journal: {str(journal)!r} is the recording that is replayed; write to another file")
    if options["checkpoint"] is not None:
        parse_every(options["every"])
        checkpoint = check_file(options["checkpoint"], "checkpoint")
        if journal is not None and checkpoint.absolute() == journal.absolute():
            raise EruError(f"checkpoint: {str(checkpoint)!r} is the journal; name another file")
        check_free(checkpoint)
    elif options["every"] is not None:
        raise EruError(f"every: {options['every']!r} needs a checkpoint; name a file for it")
    choice = choose_policy(options["policy"], options["seed"])
    if not isinstance(options["policy"], str):
        options["policy"] = PolicyConfig(choice.name, choice.params)
    if isinstance(options["overcommit"], Mapping):
        options["overcommit"] = parse_overcommit(options["overcommit"])
    for name in ("journal", "out", "checkpoint"):
        options[name] = None if options[name] is None else str(options[name])
    arguments = Arguments(**{name: value for name, value in options.items() if value is not None})
    return _replay(arguments, choice, None, startup_s, progress)


def go_on(saved: Checkpoint, given: Mapping[str, Any], progress: Progress | None = None) -> ReplayResult:
    """Go on with a run from what `eru_sim.checkpoint.read` returned; `replay` tells of the rest.

    ``given`` are those of the arguments of `replay` that must agree. A policy that is code comes from there alone: it
    is never loaded because a file says so.
    """
    from eru_sim.checkpoint import check_inputs

    startup_s = _start_up()
    arguments = saved.arguments
    arguments.check_agreement(given)
    policy: str | Policy | None = given.get("policy")
    if policy is None and isinstance(arguments.policy, str) and ":" not in arguments.policy:
        policy = arguments.policy
    if policy is None:
        name = arguments.policy if isinstance(arguments.policy, str) else arguments.policy.name
        raise EruError(f"policy: {name!r} of the checkpoint is not built in; give it again")
    check_inputs(saved.inputs)
    return _replay(arguments, choose_policy(policy, arguments.seed), saved, startup_s, progress)


def _start_up() -> float:
    """Load what takes long and every run needs; return how long that took, in seconds.

    Numba and the kernels are loaded when a kernel is first called: no run needs all of them, and many need none.
    """
    began = time.perf_counter()
    import scheduler.core  # noqa: F401

    return time.perf_counter() - began


def _replay(
    arguments: Arguments, choice: PolicyChoice, saved: Checkpoint | None, startup_s: float, progress: Progress | None
) -> ReplayResult:
    """Run it, from its beginning or from what was saved."""
    began = time.perf_counter()
    if arguments.initial not in ("empty", "recorded"):
        raise EruError(f"initial: {arguments.initial!r} is neither 'empty' nor 'recorded'")
    out = None if arguments.out is None else check_directory(arguments.out)
    run = _compose(arguments, choice, saved, progress)
    load_s = time.perf_counter() - began
    timing = _execute(run, saved, progress)
    summary = _summary(run, {"startup_s": startup_s, "load_s": load_s, **timing})
    result = ReplayResult(
        summary,
        {
            "timeline": run.metrics.timeline,
            "nodes": lambda: _nodes_frame(run.core),
            "placement": lambda: _placement_frame(run.core),
            "outcomes": run.outcomes.frame,
            "delays_s": run.metrics.delays_s,
        },
    )
    if out is not None:
        write_files(out, tables_of(result))
    return result


@dataclass
class _Run:
    """Everything that takes part in one run. ``end_ns`` and ``writer`` are known once it is over.

    ``observers`` remember something, and so are part of every checkpoint, by name.
    """

    arguments: Arguments
    choice: PolicyChoice
    queue: QueueChoice
    horizon_ns: int | None
    model: EngineModel
    trace: Trace
    machines: Machines
    config: CoreConfig
    core: Core
    feed: Feed | RecordedFeed
    metrics: Metrics
    outcomes: Outcomes
    observers: dict[str, ObservingPart]
    assumptions: list[str]
    writer: JournalWriter | None = None
    end_ns: int = 0


def _compose(arguments: Arguments, choice: PolicyChoice, saved: Checkpoint | None, progress: Progress | None) -> _Run:
    """Open the trace, choose the machines, and make a core that fits them."""
    from eru_sim.feed import Feed, RecordedFeed, dimension_of
    from eru_sim.learning import learned_params
    from eru_sim.machines import choose_machines
    from eru_sim.metrics import Metrics
    from eru_sim.outcomes import Outcomes
    from eru_sim.recording import ON_OTHER_MACHINES, JournalTrace
    from eru_sim.sources import open_source
    from scheduler import snapshot
    from scheduler.config import CoreConfig, PluginConfig, PolicyConfig, QueueConfig
    from scheduler.core import Core
    from scheduler.plugins.registry import make_plugin

    queue, overcommit = choose_queue(arguments.queue), parse_overcommit(arguments.overcommit)
    model = parse_engine(arguments.engine, arguments.seed)
    horizon_ns = None if arguments.horizon is None else parse_duration_ns(arguments.horizon, "horizon")
    reservations = [] if arguments.reservations is None else parse_reservations(arguments.reservations)
    trace = open_source(arguments.source, progress)
    if arguments.engine is None and isinstance(trace, JournalTrace):
        model = trace.engine_model(arguments.seed)
    horizon_ns = trace.horizon_ns if horizon_ns is None else horizon_ns
    machines = choose_machines(trace, arguments.cluster, arguments.failures, horizon_ns, arguments.seed)
    plugins = (PluginConfig("labels"), *(PluginConfig(name, params=params) for name, params in trace.plugins.items()))
    dimensions = tuple(dimension_of(column) for column in trace.dimensions)
    try:
        made = [make_plugin(plugin.name, plugin.params) for plugin in plugins]
        learned = learned_params(choice, trace, dimensions, made)
        config = CoreConfig(
            dimensions=dimensions,
            plugins=plugins,
            policy=PolicyConfig(choice.name, {**choice.params, **learned}),
            queue=QueueConfig(queue.name, queue.params),
            scheduling_pass=queue.scheduling_pass,
            overcommit=overcommit or getattr(trace, "overcommit", {}),
        )
        if saved is None:
            core = Core(config, plugins=made, policy_factory=choice.factory)
        else:
            core = snapshot.load(saved.core, plugins=made, policy_factory=choice.factory)
    except ValueError as error:
        raise EruError(str(error)) from None
    notes = [f"Policy {choice.name} took {name} from the trace's work." for name in learned]
    assumptions = (*trace.assumptions, *notes)
    feed: Feed | RecordedFeed
    if isinstance(trace, JournalTrace) and arguments.engine is None:
        assumptions = (*assumptions, trace.latencies())
    if isinstance(trace, JournalTrace) and arguments.cluster == "trace" and arguments.failures is None:
        if reservations:
            raise EruError("reservations: a recording that is replayed as it was has its own; leave them out")
        recording = trace
        feed = RecordedFeed(lambda: recording.arrivals(as_recorded=arguments.initial == "recorded"))
    else:
        if isinstance(trace, JournalTrace):
            assumptions = (*assumptions, ON_OTHER_MACHINES)
        feed = Feed(
            config.dimensions,
            machines.events,
            trace.submissions(),
            plugins=[plugin.name for plugin in plugins],
            initial=arguments.initial,
            with_images=model.image_pull_ns > 0,
            topology=machines.topology,
            reservations=reservations,
        )
    metrics, outcomes = Metrics(core), Outcomes(core)
    return _Run(
        arguments=arguments,
        choice=choice,
        queue=queue,
        horizon_ns=horizon_ns,
        model=model,
        trace=trace,
        machines=machines,
        config=config,
        core=core,
        feed=feed,
        metrics=metrics,
        outcomes=outcomes,
        observers={"metrics": metrics, "outcomes": outcomes},
        assumptions=_assumptions(assumptions, machines.assumptions, model, arguments.initial, horizon_ns),
    )


def _execute(run: _Run, saved: Checkpoint | None, progress: Progress | None) -> dict[str, float]:
    """Run it; return what it took in seconds."""
    from backends.sim.driver import SimDriver
    from backends.sim.engine import SimulatedEngine
    from scheduler.invariants import check
    from scheduler.journal import JournalWriter

    core, check_every = run.core, run.arguments.check_every
    observers: list[Observer] = [part.observe for part in run.observers.values()]
    if check_every:
        observers.append(_every(check_every, lambda: check(core)))
    if progress is not None:
        observers.append(_progress_of_run(progress, core, run.horizon_ns))
    with contextlib.ExitStack() as stack:
        file = _open_journal(run, saved)
        sink = None if file is None else stack.enter_context(file).write
        run.writer = JournalWriter(_header(run), sink, resume=None if saved is None else saved.writer)
        engine = SimulatedEngine(run.model)
        driver = SimDriver(core, engine, run.writer, observers=observers)
        parts: dict[str, Part] = {"driver": driver, "engine": engine, **run.observers}
        if saved is not None:
            for name, part in parts.items():
                part.load(saved.parts[name])
            saved.core, saved.parts = b"", {}  # loaded, and not small
        began = time.perf_counter(), time.process_time()
        saver = None
        if run.arguments.checkpoint is not None:
            saver = _saver(run, parts, file, saved)
            driver.observers.append(saver.observe)
        run.end_ns = driver.run(run.feed, run.horizon_ns)
        if saver is not None:
            saver.save(True)
        run.metrics.finish(run.end_ns)
        took = {"wall_s": time.perf_counter() - began[0], "cpu_s": time.process_time() - began[1]}
        if check_every:
            check(core)
        run.writer.close()
    return took


def _open_journal(run: _Run, saved: Checkpoint | None) -> JournalFile | None:
    from eru_sim.journal_file import JournalFile

    if run.arguments.journal is None:
        return None
    path = Path(run.arguments.journal).expanduser()
    resume = None if saved is None or saved.mark is None else (saved.mark, saved.writer)
    return JournalFile(path, keep=run.arguments.checkpoint is not None, resume=resume)


def _header(run: _Run) -> Header:
    from scheduler.journal import Header

    notes: dict[str, Any] = {
        "source": run.arguments.source,
        "cluster": run.machines.spec,
        "seed": run.arguments.seed,
        "assumptions": run.assumptions,
    }
    if run.horizon_ns is not None:
        notes["horizon_ns"] = run.horizon_ns
    return Header(config=run.config, notes=notes)


def _saver(run: _Run, parts: dict[str, Part], file: JournalFile | None, saved: Checkpoint | None) -> Saver:
    """Return what saves the run from now on; a run that begins is saved at once."""
    from eru_sim.checkpoint import Checkpoint, Saver, digests_of_inputs, parse_every, write
    from scheduler import snapshot

    arguments, core, writer = run.arguments, run.core, run.writer
    assert arguments.checkpoint is not None
    assert writer is not None
    path = Path(arguments.checkpoint).expanduser()
    inputs = digests_of_inputs(arguments) if saved is None else saved.inputs

    def save(is_over: bool) -> None:
        checkpoint = Checkpoint(
            arguments=arguments,
            inputs=inputs,
            is_over=is_over,
            writer=writer.dump(),
            mark=None if file is None else file.mark(),
            core=snapshot.dump(core),
            parts={name: part.dump() for name, part in parts.items()},
        )
        write(path, checkpoint)

    if saved is None:
        save(False)
    return Saver(parse_every(arguments.every), save, batches=writer.batches, at_ns=core.at_ns)


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
        "queue": str(run.queue),
        "source": run.arguments.source,
        "cluster": run.machines.spec,
        "seed": run.arguments.seed,
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
        "preempted": counters.preempted,
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
    frames = {
        "timeline": result.timeline,
        "nodes": result.nodes,
        "placement": placement,
        "outcomes": result.outcomes,
        "delays": delays,
    }
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

"""Sweeps: the runs of a scenario, side by side, resumable, as one tidy table.

A folder of a sweep holds ``sweep.json``, the scenario; ``runs/<cell>-<seed>.json``, one whole file for every run that
is done; ``results.parquet`` and ``timing.parquet``, written at the end; ``tables/<cell>-<seed>/`` where they were asked
for; and ``.lock``, which is held while a sweep is at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.errors import EruError
from eru_sim.output import check_directory, human, jsonable, one_line, to_json, write_files
from eru_sim.scenario import Run, Scenario, inputs_of, read_scenario

if TYPE_CHECKING:
    import pandas as pd

    from eru_sim.simulation import ReplayResult

Progress = Callable[[float, str], None]

RESULTS, TIMING, SWEEP = "results.parquet", "timing.parquet", "sweep.json"

_KEY = ("cell", "replication", "seed")
_TIMING = ("startup_s", "load_s", "wall_s", "cpu_s", "peak_rss_bytes")
_NOT_METRICS = ("policy", "policy_params", "source", "cluster", "seed", "plugins", "overcommit", "queue", *_TIMING)
_ABOUT_WARM_UP = "Work submitted in the warm-up does not count; utilisation after it is the mean of the timeline."
_UNITS = ("_s", "_ns", "_bytes", "_ratio", "_millicores", "_milli", "_bps")
_UNIT_OF = {"utilisation": "_ratio"}
"""The unit of a group of the summary whose name does not end in one."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A run that failed: its cell and seed, and why, in one line."""

    cell: str
    seed: int
    error: str


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `run_sweep` found.

    ``results`` has one row a run that is done, by cell in order of the cross product, then by replication: ``cell``,
    ``replication``, ``seed``, the parameters (see `eru_sim.scenario.Cell`), then every number and text of the summary
    of `eru_sim.replay`, groups as ``queueing_delay_p50_s``. ``timing`` has the same rows: ``cell``, ``seed``, and what
    the run took; nothing else differs from one sweep to the next. ``computed`` and ``reused`` count runs.
    ``assumptions`` are those of all runs, each once.
    """

    scenario: Scenario
    results: pd.DataFrame
    timing: pd.DataFrame
    failures: list[Failure]
    computed: int
    reused: int
    assumptions: list[str]


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    run: Run
    folder: Path
    tables: Path | None
    inputs: dict[str, str]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """The file of a run that is done. It holds for this run while ``inputs`` and ``version`` are the same."""

    version: str
    inputs: dict[str, str]
    metrics: dict[str, str | int | float | bool | None]
    timing: dict[str, int | float | None]
    assumptions: list[str]


def sweep(
    scenario: str | Path | Mapping[str, Any],
    *,
    jobs: int = 1,
    out: str | Path | None = None,
    backend: str = "joblib",
    tables: bool = False,
    update: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run all cells of a scenario, a TOML file or a mapping, and return `SweepResult.results`.

    Arguments and errors are those of `run_sweep`. Runs that fail are missing from the result: a warning says so, and
    ``result.attrs["failures"]`` which ones and why.
    """
    found = run_sweep(scenario, jobs=jobs, out=out, backend=backend, tables=tables, update=update, progress=progress)
    frame = found.results
    frame.attrs["failures"] = [msgspec.to_builtins(failure) for failure in found.failures]
    if found.failures:
        first = found.failures[0]
        warnings.warn(
            f"{len(found.failures)} of {len(found.failures) + len(frame)} runs failed; the first, cell {first.cell} "
            f"with seed {first.seed}: {first.error}",
            stacklevel=2,
        )
    return frame


def run_sweep(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    *,
    jobs: int = 1,
    out: str | Path | None = None,
    backend: str = "joblib",
    tables: bool = False,
    update: bool = False,
    progress: Progress | None = None,
) -> SweepResult:
    """Run what is not done yet of a scenario's runs, ``jobs`` at a time, on a backend of `eru_sim.workers`.

    ``out`` is a folder that keeps every run as it is done, so a sweep that was killed goes on where it was; without it
    nothing is kept. A run counts as done while its arguments, the files that they name, and the version of this package
    are the same. A folder that holds another scenario is an error unless ``update``; then its runs that belong to this
    one too are kept. ``tables`` writes the tables of each replay as well. Neither ``jobs`` nor ``backend`` changes a
    byte of the results. A run that fails does not end the others, and is tried again next time.

    Raises EruError for a scenario or argument that makes no sense, and where a worker process dies.
    """
    from eru_sim.workers import check_backend

    if type(jobs) is not int or jobs < 1:
        raise EruError(f"jobs: {jobs!r} must be an integer of at least 1")
    if tables and out is None:
        raise EruError("tables: they need a directory; give out as well")
    check_backend(backend)
    read = scenario if isinstance(scenario, Scenario) else read_scenario(scenario)
    with contextlib.ExitStack() as stack:
        if out is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eru-sweep-")))
        else:
            directory = check_directory(out).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_locked(directory))
        _claim(directory, read, update)
        return _run_all(read, directory, jobs=jobs, backend=backend, tables=tables, progress=progress)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other sweeps out of the folder; a process that ends, however it ends, lets go."""
    with (directory / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EruError(f"out: another sweep is at work in {str(directory)!r}; wait for it") from None
        yield


def _claim(directory: Path, scenario: Scenario, update: bool) -> None:
    """Say which scenario the folder holds, and tidy up what a kill left; EruError where it holds another one."""
    cells = [cell.cell_id for cell in scenario.cells]
    text = to_json({"format": 1, "scenario": scenario.content, "cells": cells, "seeds": scenario.seeds}) + "\n"
    file = directory / SWEEP
    before = file.read_text(encoding="utf-8") if file.exists() else text
    if before != text and not update:
        raise EruError(
            f"out: {str(directory)!r} holds the sweep of another scenario ({_changed(before, text)} differs); name "
            "another directory, or update it and keep the runs that both have"
        )
    (directory / "runs").mkdir(exist_ok=True)
    for leftover in [*directory.glob(".*.partial"), *(directory / "runs").glob(".*.partial")]:
        leftover.unlink(missing_ok=True)
    write_files(directory, {SWEEP: text})


def _changed(before: str, now: str) -> str:
    """The keys in which two scenarios differ."""
    try:
        old, new = (msgspec.json.decode(text)["scenario"] for text in (before, now))
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    except (msgspec.MsgspecError, KeyError, TypeError):
        keys = [f"its {SWEEP}"]
    return ", ".join(keys) or "a default or a variable of the environment"


def _run_all(
    scenario: Scenario, directory: Path, *, jobs: int, backend: str, tables: bool, progress: Progress | None
) -> SweepResult:
    from eru_sim.workers import results_of

    runs = scenario.runs()
    tasks = [
        _task(run, inputs, scenario, directory, tables)
        for run, inputs in zip(runs, inputs_of(runs, scenario.folder), strict=True)
        if not _is_done(directory, run, inputs, tables)
    ]
    # Runs of one source follow each other, so that a worker finds the trace that it has just read.
    sources: dict[str, int] = {}
    tasks.sort(key=lambda task: sources.setdefault(task.run.arguments["source"], len(sources)))
    told = _Told(progress, len(runs), len(tasks))
    failed: dict[str, str] = {}
    for run, outcome in _guarded(results_of(_outcome, tasks, jobs=jobs, backend=backend)) if tasks else ():
        if isinstance(outcome, str):
            failed[run.name] = outcome
        else:
            write_files(directory / "runs", {f"{run.name}.json": msgspec.json.encode(outcome) + b"\n"})
        told.step(len(failed))
    return _collected(
        scenario, runs, directory, failed, computed=len(tasks) - len(failed), reused=len(runs) - len(tasks)
    )


def _task(run: Run, inputs: dict[str, str], scenario: Scenario, directory: Path, tables: bool) -> _Task:
    target = directory / "tables" / run.name if tables else None
    return _Task(run=run, folder=scenario.folder, tables=target, inputs=inputs)


def _guarded(outcomes: Iterator[tuple[Run, _Record | str]]) -> Iterator[tuple[Run, _Record | str]]:
    """Pass on what workers return; say what to do where one dies."""
    try:
        yield from outcomes
    except (EruError, OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise EruError(
            f"a worker ended without an answer ({one_line(f'{type(error).__name__}: {error}')[:200]}); what is done is "
            "kept: start it again, with fewer jobs if memory is short"
        ) from None


def _is_done(directory: Path, run: Run, inputs: dict[str, str], tables: bool) -> bool:
    record = _record(directory, run)
    if record is None or record.version != _version() or record.inputs != inputs:
        return False
    return not tables or (directory / "tables" / run.name / "summary.json").exists()


def _record(directory: Path, run: Run) -> _Record | None:
    try:
        return msgspec.json.decode((directory / "runs" / f"{run.name}.json").read_bytes(), type=_Record)
    except (OSError, msgspec.MsgspecError):
        return None


def _version() -> str:
    import eru_sim

    return eru_sim.__version__


# -- in a worker ------------------------------------------------------------------------------------------------------


def _outcome(task: _Task) -> tuple[Run, _Record | str]:
    """Replay one run and return its record, or why it failed."""
    try:
        return task.run, _replayed(task)
    except Exception as error:
        users = type(error).__name__ in ("EruError", "TraceError", "ClusterSpecError", "JournalError", "PolicyError")
        what = str(error) if users or isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return task.run, one_line(what)


def _replayed(task: _Task) -> _Record:
    from eru_sim.options import parse_duration_ns
    from eru_sim.simulation import replay
    from eru_sim.trace_cache import kept_traces

    source = task.run.arguments["source"]
    if task.tables is not None:
        shutil.rmtree(task.tables, ignore_errors=True)
    with contextlib.chdir(task.folder), kept_traces(source, task.inputs):
        arguments = {name: value for name, value in task.run.arguments.items() if name != "warm_up"}
        result = replay(**arguments, out=task.tables)
    warm_up_s = parse_duration_ns(task.run.arguments.get("warm_up", 0), "warm_up") / 1e9
    return _Record(
        version=_version(),
        inputs=task.inputs,
        metrics=metrics_of(result, warm_up_s),
        timing={name: jsonable(result.summary.get(name)) for name in _TIMING},
        assumptions=[*result.summary["assumptions"], *([_ABOUT_WARM_UP] if warm_up_s else [])],
    )


def metrics_of(result: ReplayResult, warm_up_s: float = 0.0) -> dict[str, Any]:
    """Return the numbers and texts of a replay's summary as columns, with unit suffixes; without what it was asked.

    A group becomes a column for each of its members: ``queueing_delay_s`` with ``p50`` is ``queueing_delay_p50_s``, and
    ``utilisation`` with ``cpu`` is ``utilisation_cpu_ratio``. Where the result has ``outcomes``, all of
    `eru_sim.analysis.work_metrics` are added. With a warm-up these count what was submitted after it, and utilisation
    is that of the timeline from then on. NaN and infinity are None.
    """
    from eru_sim.analysis import work_metrics

    columns: dict[str, Any] = {}
    for name, value in result.summary.items():
        if name in _NOT_METRICS:
            continue
        if isinstance(value, Mapping):
            if name not in ("ignored", "repaired"):
                columns.update(_members(name, value))
        elif value is None or isinstance(value, str | int | float):
            columns[name] = jsonable(value)
    allocated = [name for name in result.nodes if str(name).endswith("_allocated")]
    columns["nodes_in_use_at_end"] = int((result.nodes[allocated] > 0).any(axis=1).sum()) if allocated else 0
    found = {name: jsonable(value) for name, value in work_metrics(result.outcomes, warm_up_s).items()}
    columns |= found if warm_up_s else {**found, **columns}
    if warm_up_s:
        columns.update(_utilisation_after(result, warm_up_s))
    return columns


def _utilisation_after(result: ReplayResult, warm_up_s: float) -> dict[str, float | None]:
    from eru_sim.analysis import utilisation

    timeline, end_s = result.timeline, result.summary["horizon_s"]
    ratios: dict[str, float | None] = {}
    for dimension in result.summary["utilisation"]:
        allocated = timeline[f"allocated_{dimension}_ratio"]
        ratio = None
        if end_s > warm_up_s:
            ones = [1.0] * len(allocated)
            ratio = jsonable(utilisation(timeline["at_s"], allocated, ones, start_s=warm_up_s, end_s=end_s))
        ratios[f"utilisation_{dimension}_ratio"] = ratio
    return ratios


def _members(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    unit = next((unit for unit in _UNITS if name.endswith(unit)), _UNIT_OF.get(name, ""))
    stem = name.removesuffix(unit)
    scalars = {
        key: jsonable(value)
        for key, value in group.items()
        if not isinstance(value, Mapping | Sequence) or isinstance(value, str)
    }
    return {f"{stem}_{key}{unit}": value for key, value in scalars.items()}


# -- collecting -------------------------------------------------------------------------------------------------------


def _collected(
    scenario: Scenario, runs: Sequence[Run], directory: Path, failed: Mapping[str, str], *, computed: int, reused: int
) -> SweepResult:
    """Put the files of the runs together, write both tables, and return everything."""
    results, timing = [], []
    assumptions: dict[str, None] = {}
    for run in runs:
        if run.name in failed:
            continue
        record = _record(directory, run)
        if record is None:
            raise EruError(f"out: {str(directory)!r} lost the file of run {run.name}; start the sweep again")
        key = {"cell": run.cell, "replication": run.replication, "seed": run.seed}
        results.append({**key, **run.parameters, **record.metrics})
        timing.append({**key, **record.timing})
        assumptions |= dict.fromkeys(record.assumptions)
    parameters = dict.fromkeys(name for cell in scenario.cells for name in cell.parameters)
    frame = _frame(results, [*_KEY, *parameters])
    timing_frame = _frame(timing, [*_KEY, *_TIMING])
    write_files(directory, {RESULTS: _parquet(frame), TIMING: _parquet(timing_frame)})
    return SweepResult(
        scenario=scenario,
        results=frame,
        timing=timing_frame,
        failures=[Failure(cell=run.cell, seed=run.seed, error=failed[run.name]) for run in runs if run.name in failed],
        computed=computed,
        reused=reused,
        assumptions=list(assumptions),
    )


def _frame(rows: list[dict[str, Any]], first: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table, these columns first; a column with numbers and texts becomes one of texts."""
    import pandas as pd

    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pd.Series[Any]:
    import pandas as pd

    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if not kinds or not (kinds <= {bool} or kinds <= {int, float}):
        return pd.Series([None if value is None else str(value) for value in values], dtype="str")
    if kinds <= {bool}:
        return pd.Series(values, dtype="boolean")
    if float in kinds:
        return pd.Series([math.nan if value is None else float(value) for value in values], dtype="float64")
    dtype = "UInt64" if max(present) >= 1 << 63 else "Int64"
    return pd.Series(values, dtype=dtype if len(present) < len(values) else dtype.lower())


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


class _Told:
    """Tells how many runs are done and how long the rest may take."""

    def __init__(self, progress: Progress | None, total: int, todo: int) -> None:
        self._progress = progress
        self._total = total
        self._todo = todo
        self._done = 0
        self._began_s = time.monotonic()
        self._tell("")

    def step(self, failed: int) -> None:
        """One more run has ended."""
        self._done += 1
        left_s = (time.monotonic() - self._began_s) / self._done * (self._todo - self._done)
        text = f", about {human('_s', round(left_s))} left" if self._done < self._todo else ""
        self._tell(text + (f", {failed} failed" if failed else ""))

    def _tell(self, text: str) -> None:
        if self._progress is not None:
            ended = self._total - self._todo + self._done
            self._progress(ended / self._total, f"{ended:,} of {self._total:,} runs{text}")

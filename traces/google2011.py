"""Reader of Google ClusterData2011_2: machine_events and task_events of one 12.5K-machine cell.

Rows are parsed and checked, loaded into a DuckDB database in a temporary directory, and aggregated there to one row
per task, so memory does not grow with the trace. What is an input of a replay and what is not:

- a task is submitted at its first SUBMIT; EVICTs and later submissions are the recorded scheduler's and only counted;
- request, priority and flags are those of the task's last row at or before its first SCHEDULE (at time 0: the SCHEDULE
  row), or of its last SUBMIT or UPDATE_PENDING row when it was never scheduled;
- the service time runs from the last SCHEDULE before the first FINISH or FAIL to that end;
- the first KILL is the user's, at its recorded time;
- tasks with neither are censored: they run past the horizon, which is the last task event.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from traces.base import TraceBase
from traces.fits import hashed_uniforms, lifetime_fit, lifetime_names, seconds_to_ns
from traces.google2011_facts import google2011_facts
from traces.schema import MachineEvent, MachineEventKind, Submission
from traces.scratch import ScratchDatabase, read_into
from traces.source import Option, Reader, Source, choice, flag, integer
from traces.tabular import Column, fail, find_files

_US_NS = 1_000
_AFTER_END_US = 2**63 - 1
_CHUNK_ROWS = 20_000
_KINDS: tuple[MachineEventKind, ...] = ("add", "remove", "update")
_DIFFERENT_MACHINE = {"different_machine": True}

OPTIONS: tuple[Option, ...] = (
    integer("priority_min", 0, "only tasks of at least this priority", maximum=11),
    integer("cpu_cores", 10_000, "cores that the normalised value 1.0 stands for", minimum=1, maximum=10**9),
    integer("memory_bytes", 10**12, "bytes that the normalised value 1.0 stands for", minimum=1, maximum=10**18),
    flag("disk", False, "read disk requests too, as disk_bytes; machines record no disk capacity"),
    choice(
        "lifetime",
        "censored",
        "tasks without a recorded end: run past the horizon, or draw a service time",
        ["censored", *lifetime_names()],
    ),
    integer("seed", 0, "seed of drawn service times"),
    choice(
        "different",
        "ignored",
        "tasks that ask for different machines: a flag that nobody enforces, or rules of the plugin affinity",
        ["ignored", "affinity"],
    ),
)


def _task_columns(cpu_scale: int, memory_scale: int) -> list[Column]:
    return [
        Column(name="time_us", kind="integer", minimum=0),
        Column(name="missing_info", kind="integer", nullable=True, minimum=0),
        Column(name="job_id", kind="integer", minimum=0),
        Column(name="task_index", kind="integer", minimum=0),
        Column(name="machine_id", kind="integer", nullable=True, minimum=0),
        Column(name="event_type", kind="integer", minimum=0, maximum=8),
        Column(name="user", nullable=True),
        Column(name="scheduling_class", kind="integer", nullable=True, minimum=0, maximum=3),
        Column(name="priority", kind="integer", minimum=0, maximum=11),
        Column(name="cpu_request", kind="quantity", nullable=True, minimum=0, scale=cpu_scale),
        Column(name="memory_request", kind="quantity", nullable=True, minimum=0, scale=memory_scale),
        Column(name="disk_request", kind="quantity", nullable=True, minimum=0, scale=memory_scale),
        Column(name="different_machine", kind="integer", nullable=True, minimum=0, maximum=1),
    ]


def machine_columns(cpu_scale: int, memory_scale: int) -> list[Column]:
    """The columns of machine_events; 1.0 stands for the given base units."""
    return [
        Column(name="time_us", kind="integer", minimum=0),
        Column(name="machine_id", kind="integer", minimum=0),
        Column(name="event_type", kind="integer", minimum=0, maximum=2),
        Column(name="platform", nullable=True),
        Column(name="cpu", kind="quantity", nullable=True, minimum=0, scale=cpu_scale),
        Column(name="memory", kind="quantity", nullable=True, minimum=0, scale=memory_scale),
    ]


# One row per task. Rows carry their position (seq), which orders rows of equal time.
_TASKS_SQL = """
CREATE TABLE tasks AS
WITH marks AS (
    SELECT job_id, task_index,
           min(seq) FILTER (event_type = 0) AS submit_seq,
           min(seq) FILTER (event_type = 1) AS schedule_seq,
           max(seq) FILTER (event_type IN (0, 7)) AS pending_seq,
           min(seq) FILTER (event_type IN (3, 4)) AS end_seq,
           min(seq) AS first_seq,
           min(time_us) FILTER (event_type = 5) AS kill_us,
           min(machine_id) FILTER (event_type = 1 AND time_us = 0) AS recorded_machine_id
    FROM task_events GROUP BY job_id, task_index
),
joined AS (
    SELECT m.job_id, m.task_index, m.submit_seq, m.first_seq, m.schedule_seq, m.kill_us, m.recorded_machine_id,
           arg_max(e.seq, e.seq) FILTER (e.seq <= coalesce(m.schedule_seq, m.pending_seq, m.first_seq)) AS chosen_seq,
           min(e.time_us) FILTER (e.seq = coalesce(m.submit_seq, m.first_seq)) AS submit_us,
           max(e.time_us) FILTER (e.event_type = 1 AND e.seq < m.end_seq) AS service_start_us,
           min(e.time_us) FILTER (e.seq = m.end_seq) AS end_us,
           min(e.event_type) FILTER (e.seq = m.end_seq) AS end_type
    FROM marks m JOIN task_events e USING (job_id, task_index)
    GROUP BY ALL
)
SELECT j.*, c.cpu_request, c.memory_request, c.disk_request, c.priority, c.user, c.different_machine
FROM joined j JOIN task_events c ON c.seq = j.chosen_seq
"""

_STREAM_SQL = """
SELECT submit_us, job_id, task_index, coalesce(cpu_request, 0), coalesce(memory_request, 0), coalesce(disk_request, 0),
       priority, coalesce("user", ''), coalesce(different_machine, 0), end_us - service_start_us, end_type, kill_us,
       coalesce(recorded_machine_id, -1)
FROM tasks WHERE priority >= ? ORDER BY submit_us, job_id, task_index
"""


class Google2011Trace(TraceBase):
    """The two streams of the trace; opening loads and checks all its files."""

    def __init__(self, source: Source) -> None:
        options = source.options
        self._priority_min: int = options["priority_min"]
        self._lifetime: str = options["lifetime"]
        self._seed: int = options["seed"]
        self._disk: bool = options["disk"]
        self._cpu_scale: int = options["cpu_cores"] * 1000
        self._memory_scale: int = options["memory_bytes"]
        disk = ("disk_bytes",) if self._disk else ()
        self._keeps_apart = options["different"] == "affinity"
        super().__init__(
            source,
            ("cpu_millicores", "memory_bytes", *disk),
            assumptions=_assumptions(source),
            plugins={"affinity": {}} if self._keeps_apart else None,
        )
        self._apart: tuple[int, dict[str, Any]] = (-1, {})
        self._database = ScratchDatabase()
        self._load(source)
        last_us = self._database.value("SELECT max(time_us) FROM task_events WHERE time_us < ?", _AFTER_END_US)
        self.horizon_ns = None if last_us is None else last_us * _US_NS
        self._count_repairs()

    def _load(self, source: Source) -> None:
        machine_files = table_files(source.path, "machine_events")
        task_files = table_files(source.path, "task_events")
        total = sum(file.stat().st_size for file in [*machine_files, *task_files])
        database = self._database
        columns = machine_columns(self._cpu_scale, self._memory_scale)
        task_columns = _task_columns(self._cpu_scale, self._memory_scale)
        read_into(database, "machine_events", machine_files, columns, total, None)
        self._check_machines(machine_files[0])
        read_into(database, "task_events", task_files, task_columns, total, source.progress)
        database.execute(_TASKS_SQL)
        if source.progress is not None:
            source.progress(1.0)

    def _check_machines(self, file: Path) -> None:
        """Raise TraceError for an ADD of a machine that is there, a REMOVE or UPDATE of one that is not."""
        present: set[int] = set()
        rows = self._database.rows("SELECT seq, machine_id, event_type FROM machine_events ORDER BY seq")
        for seq, machine_id, event_type in rows:
            if (machine_id in present) == (event_type == 0):
                state = "there already" if event_type == 0 else "not there"
                problem = (
                    f"'{event_type}' ({_KINDS[event_type]}) of machine {machine_id}, which is {state}; correct the row"
                )
                fail(file, seq + 1, "event_type", problem)
            if event_type == 0:
                present.add(machine_id)
            elif event_type == 1:
                present.discard(machine_id)

    def _count_repairs(self) -> None:
        value = self._database.value
        self._set_repaired(
            {
                "row_without_request": value(
                    "SELECT count(*) FROM task_events WHERE cpu_request IS NULL OR memory_request IS NULL"
                ),
                "task_without_request": value(
                    "SELECT count(*) FROM tasks WHERE priority >= ?"
                    " AND (cpu_request IS NULL OR memory_request IS NULL)",
                    self._priority_min,
                ),
                "task_without_submit": value("SELECT count(*) FROM tasks WHERE submit_seq IS NULL"),
                "end_without_schedule": value(
                    "SELECT count(*) FROM tasks WHERE end_us IS NOT NULL AND service_start_us IS NULL"
                ),
                "machine_add_without_capacity": value(
                    "SELECT count(*) FROM machine_events WHERE event_type = 0 AND (cpu IS NULL OR memory IS NULL)"
                ),
                "machine_id_not_in_inventory": value(_UNKNOWN_MACHINES_SQL),
            }
        )

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield machine events by time, ties in file order; a machine's first ADD without capacity has capacity 0.

        ``labels`` holds the platform. An UPDATE that changes nothing is kept.
        """
        known: set[int] = set()
        rows = self._database.stream(
            "SELECT time_us, machine_id, event_type, platform, cpu, memory FROM machine_events ORDER BY time_us, seq",
            _CHUNK_ROWS,
        )
        for time_us, machine_id, event_type, platform, cpu, memory in rows:
            capacity: dict[str, int] = {}
            if cpu is not None and memory is not None and event_type != 1:
                capacity = {"cpu_millicores": cpu, "memory_bytes": memory}
            elif event_type == 0 and machine_id not in known:
                capacity = {"cpu_millicores": 0, "memory_bytes": 0}
            known.add(machine_id)
            yield MachineEvent(
                at_ns=time_us * _US_NS,
                machine_id=str(machine_id),
                kind=_KINDS[event_type],
                capacity=capacity,
                labels={"platform": platform} if platform else {},
            )

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per task by (submission time, job, task index).

        ``recorded_machine_id`` may name a machine that no ADD at time 0 announces: 13 ids of the trace are such.
        """
        for chunk in self._database.chunks(_STREAM_SQL, _CHUNK_ROWS, self._priority_min):
            yield from self._submissions(chunk)

    def _submissions(self, chunk: list[tuple[Any, ...]]) -> Iterator[Submission]:
        drawn_ns = self._drawn_service(chunk)
        for row, draw_ns in zip(chunk, drawn_ns, strict=True):
            at_us, job, index, cpu, memory, disk, priority, user, different = row[:9]
            service_us, end_type, kill_us, machine = row[9:]
            service_ns = draw_ns if kill_us is None else None
            if service_us is not None:
                service_ns = service_us * _US_NS
            yield Submission(
                at_us * _US_NS,
                f"{job}-{index}",
                (cpu, memory, disk) if self._disk else (cpu, memory),
                1,
                str(job),
                user,
                priority,
                service_ns,
                1 if end_type == 3 else 0,
                None if kill_us is None else kill_us * _US_NS,
                None,
                self._constraints(job) if different else None,
                "" if machine < 0 else str(machine),
            )

    def _constraints(self, job: int) -> dict[str, Any]:
        """Of a task that shares no machine with another such task of its job; those of a job share one mapping."""
        if not self._keeps_apart:
            return _DIFFERENT_MACHINE
        if self._apart[0] != job:
            label = {"job": str(job)}
            self._apart = job, {"affinity": {"labels": label, "apart": [{"match": label}]}}
        return self._apart[1]

    def _drawn_service(self, chunk: list[tuple[Any, ...]]) -> list[int | None]:
        if self._lifetime == "censored" or not chunk:
            return [None] * len(chunk)
        jobs = np.array([row[1] for row in chunk], dtype=np.int64)
        indices = np.array([row[2] for row in chunk], dtype=np.int64)
        uniforms = hashed_uniforms(self._seed, jobs, indices)
        drawn: list[int | None] = seconds_to_ns(lifetime_fit(self._lifetime).quantile(uniforms)).tolist()
        return drawn

    def _facts(self) -> dict[str, Any]:
        return {"google2011": google2011_facts(self._database, self._cpu_scale, self._memory_scale)}


_UNKNOWN_MACHINES_SQL = """
SELECT count(DISTINCT machine_id) FROM task_events
WHERE event_type = 1 AND time_us = 0 AND machine_id IS NOT NULL
  AND machine_id NOT IN (SELECT machine_id FROM machine_events WHERE time_us = 0 AND event_type = 0)
"""


def table_files(path: str, table: str) -> list[Path]:
    """The files of a table in a directory, in order of their parts; TraceError where there are none."""
    patterns = [f"{table}/part-*-of-*.csv", f"{table}_part-*-of-*.csv", f"{table}-part-*-of-*.csv", f"{table}.csv"]
    return find_files(path, patterns, what=f"{table} files")


def _assumptions(source: Source) -> tuple[str, ...]:
    options = source.options
    lines = [
        f"The normalised value 1.0 stands for {options['cpu_cores']} cores and {options['memory_bytes']} bytes.",
        "A task's request and flags are those of its last row at or before its first start.",
        "Evictions and the submissions after them are not replayed.",
    ]
    if options["lifetime"] == "censored":
        lines.append("A task without a recorded end runs past the horizon (lifetime=censored).")
    else:
        name = options["lifetime"]
        lines.append(f"A task without a recorded end has a service time drawn from {name}, seed {options['seed']}.")
    if options["different"] == "affinity":
        lines.append("Tasks of a job that ask for different machines share none with each other (different=affinity).")
    if options["disk"]:
        lines.append(f"The normalised disk space 1.0 stands for {options['memory_bytes']} bytes.")
    if options["priority_min"]:
        lines.append(f"Only tasks of priority {options['priority_min']} and above are submitted.")
    return tuple(lines)


READER = Reader(
    name="google2011",
    summary="Google ClusterData2011_2: a directory with machine_events and task_events",
    open=Google2011Trace,
    options=OPTIONS,
)

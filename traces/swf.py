"""Reader of the Standard Workload Format: one file of 18 blank-separated columns with header comments.

A job is one workload of ``procs`` cores (field 5, or the requested field 8 where that is -1). Its estimate is the
requested time, or with ``estimates=clairvoyant`` the run time; its tenant is the user. A job fails (exit code 1) when
its status is 0; completed, cancelled and unknown ones end with 0. Jobs that never ran or had no processor are skipped
and counted. More than 18 columns are allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from traces.base import TraceBase
from traces.schema import SECOND_NS, MachineEvent, Submission
from traces.source import Option, Reader, Source, choice, integer
from traces.tabular import Column, base_units, check_cells, fail, require_file, text_lines

_UNIX_TIME_S = 100_000_000
_CORE = 1000

_FIELDS = (
    *("job", "submit", "wait", "run", "procs_allocated", "average_cpu", "memory", "procs_requested", "time_requested"),
    *("memory_requested", "status", "user", "group", "executable", "queue", "partition", "preceding_job", "think_time"),
)
# Some logs hold a wait or run time far below -1 for jobs that never ran; these are skipped as jobs without run time.
_MINIMA = {"submit": 0, "wait": None, "run": None}
_COLUMNS = [Column(name=name, kind="quantity", minimum=_MINIMA.get(name, -1)) for name in _FIELDS]

_ESTIMATES = ["user", "clairvoyant"]

OPTIONS: tuple[Option, ...] = (
    integer("procs", "", "processors of the machine; by default MaxProcs or MaxNodes of the header", minimum=1),
    choice("layout", "pool", "one machine of all processors, or nodes of cores_per_node", ["pool", "nodes"]),
    integer("cores_per_node", 1, "processors of a node with layout=nodes", minimum=1),
    choice("estimates", "user", "what is known of run times: the user's estimate, or the exact run time", _ESTIMATES),
    choice("estimate_field", "9", "field of the user's estimate; some converted logs have it in 6", ["9", "6"]),
)


class _Job(msgspec.Struct, frozen=True):
    number: int
    submit_ns: int
    run_ns: int
    procs: int
    estimate_ns: int | None
    failed: bool
    user: int


class SwfTrace(TraceBase):
    """The log is read, checked and sorted by (submit, job number) when the trace is opened."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, ("cpu_millicores",))
        self._file = require_file(source.path, what="a .swf or .swf.gz file")
        self._header: dict[str, str] = {}
        repaired: Counter[str] = Counter()
        self._jobs = self._read(int(source.options["estimate_field"]) - 1, repaired)
        self._set_repaired(repaired)
        self._procs = self._machine_procs(source)
        self._is_clairvoyant = source.options["estimates"] == "clairvoyant"
        self._layout: str = source.options["layout"]
        self._cores_per_node: int = min(source.options["cores_per_node"], self._procs)
        self._origin_ns = 0
        if self._jobs[0].submit_ns >= _UNIX_TIME_S * SECOND_NS:
            self._origin_ns = self._jobs[0].submit_ns
        self.assumptions = self._assumptions_in_force(source)

    def _read(self, estimate_index: int, repaired: Counter[str]) -> list[_Job]:
        jobs: list[_Job] = []
        previous_ns: int | None = None
        numbers: set[int] = set()
        for row, line in text_lines(self._file):
            if line.startswith(";"):
                name, _, value = line[1:].partition(":")
                self._header.setdefault(name.strip(), value.strip())
                continue
            cells = line.split()
            if not cells:
                continue
            job = _job(self._file, row, cells, estimate_index, repaired)
            repaired["out_of_order_row"] += previous_ns is not None and job.submit_ns < previous_ns
            previous_ns = job.submit_ns
            if job.number in numbers:
                fail(self._file, row, "job", f"'{job.number}' is there twice; remove one of the rows")
            numbers.add(job.number)
            if job.run_ns <= 0:
                repaired["job_without_run_time"] += 1
            elif job.procs <= 0:
                repaired["job_without_processors"] += 1
            else:
                jobs.append(job)
        if not jobs:
            fail(self._file, None, None, "holds no job that ran; fetch it again")
        jobs.sort(key=lambda job: (job.submit_ns, job.number))
        return jobs

    def _machine_procs(self, source: Source) -> int:
        if source.options["procs"] is not None:
            return int(source.options["procs"])
        for name in ("MaxProcs", "MaxNodes"):
            words = self._header.get(name, "").split()
            if words and words[0].isdecimal() and int(words[0]) > 0:
                return int(words[0])
        largest = max(job.procs for job in self._jobs)
        problem = f"the header does not tell the size of the machine; add ?procs=N, at least {largest}"
        return fail(self._file, None, "MaxProcs", problem)

    def _assumptions_in_force(self, source: Source) -> tuple[str, ...]:
        lines = [f"The machine has {self._procs} processors."]
        if self._layout == "pool":
            lines.append("All processors form one machine: a job fits wherever enough are free (layout=pool).")
        else:
            lines.append(
                f"Nodes have {self._cores_per_node} processors; a job is as many one-core workloads as it has"
                " processors (layout=nodes)."
            )
        if self._origin_ns:
            lines.append(f"Times are moved by {self._origin_ns // SECOND_NS} s so that the first submission is at 0.")
        if self._is_clairvoyant:
            lines.append("The scheduler knows exact run times (estimates=clairvoyant).")
        elif source.options["estimate_field"] != "9":
            lines.append(f"The user's estimate is field {source.options['estimate_field']}.")
        return tuple(lines)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield the machine, or its nodes, at time 0; with nodes the last one may be smaller."""
        size = self._procs if self._layout == "pool" else self._cores_per_node
        for index, start in enumerate(range(0, self._procs, size)):
            cores = min(size, self._procs - start)
            yield MachineEvent(
                at_ns=0, machine_id=f"node-{index}", kind="add", capacity={"cpu_millicores": cores * _CORE}
            )

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per job by (submit, job number)."""
        pool = self._layout == "pool"
        for job in self._jobs:
            yield Submission(
                job.submit_ns - self._origin_ns,
                str(job.number),
                (job.procs * _CORE,) if pool else (_CORE,),
                1 if pool else job.procs,
                str(job.number),
                "" if job.user < 0 else str(job.user),
                service_ns=job.run_ns,
                exit_code=1 if job.failed else 0,
                estimate_ns=job.run_ns if self._is_clairvoyant else job.estimate_ns,
            )

    def _facts(self) -> dict[str, Any]:
        core_ns = sum(job.procs * job.run_ns for job in self._jobs)
        span_ns = self._jobs[-1].submit_ns - self._jobs[0].submit_ns
        return {
            "swf": {
                "processors": self._procs,
                "computer": self._header.get("Computer", ""),
                "jobs_with_estimate": sum(1 for job in self._jobs if job.estimate_ns is not None),
                "jobs_longer_than_estimate": sum(
                    1 for job in self._jobs if job.estimate_ns is not None and job.run_ns > job.estimate_ns
                ),
                "jobs_larger_than_machine": sum(1 for job in self._jobs if job.procs > self._procs),
                "offered_load": round(core_ns / self._procs / span_ns, 6) if span_ns else None,
            }
        }


def _job(file: Path, row: int, cells: list[str], estimate_index: int, repaired: Counter[str]) -> _Job:
    numbers = _numbers(file, row, cells)
    procs = numbers[4]
    if procs < 0 < numbers[7]:
        procs = numbers[7]
        repaired["processors_from_request"] += 1
    estimate_ns = _ns(numbers[estimate_index], cells[estimate_index])
    return _Job(
        number=numbers[0],
        submit_ns=_ns(numbers[1], cells[1]),
        run_ns=_ns(numbers[3], cells[3]),
        procs=procs,
        estimate_ns=estimate_ns if estimate_ns > 0 else None,
        failed=numbers[10] == 0,
        user=numbers[11],
    )


def _numbers(file: Path, row: int, cells: list[str]) -> list[int]:
    """Return the 18 fields as whole numbers (fractions rounded); a row of plain small integers is taken as it is."""
    fields = cells[: len(_COLUMNS)]
    try:
        numbers = [int(cell) for cell in fields]
    except ValueError:
        numbers = []
    if len(numbers) != len(_COLUMNS) or min(numbers) < -1 or numbers[1] < 0 or any("_" in cell for cell in fields):
        check_cells(file, row, fields, _COLUMNS)
        numbers = [base_units(cell, 1) for cell in fields]
    return numbers


def _ns(whole: int, cell: str) -> int:
    """Return a field of seconds as nanoseconds, from its text when that has a fraction."""
    return base_units(cell, SECOND_NS) if "." in cell else whole * SECOND_NS


READER = Reader(
    name="swf",
    summary="Standard Workload Format: one .swf or .swf.gz job log of a parallel machine",
    open=SwfTrace,
    options=OPTIONS,
)

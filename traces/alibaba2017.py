"""Reader of the batch_task table of Alibaba cluster-trace-v2017: one Submission per task, ``count`` its instances.

Known dirt: rows out of order, blank requests, ends before starts (mostly end 0 of running tasks), negative times, and
a header row that a re-publisher added.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.schema import SECOND_NS, Submission
from traces.source import Option, Reader, Source, choice, integer
from traces.tabular import Column, fail, find_files, read_header, rows_of

_STATUSES = ("Failed", "Running", "Terminated", "Waiting")
_MILLICORES = 10

OPTIONS: tuple[Option, ...] = (
    choice("blank", "median", "tasks without a request: give them the median one, or skip them", ["median", "skip"]),
    integer("memory_bytes", 10**12, "bytes that the normalised value 1.0 stands for", minimum=1, maximum=10**18),
)


def _columns(memory_scale: int) -> list[Column]:
    return [
        Column(name="task_create_time", kind="integer"),
        Column(name="task_end_time", kind="integer"),
        Column(name="job_id", kind="integer", minimum=0),
        Column(name="task_id", kind="integer", minimum=0),
        Column(name="number_of_instances", kind="integer", minimum=1, maximum=10**9),
        Column(name="status", choices=_STATUSES),
        Column(name="cpu", kind="quantity", nullable=True, minimum=0, scale=_MILLICORES),
        Column(name="memory", kind="quantity", nullable=True, minimum=0, scale=memory_scale),
    ]


class Alibaba2017Trace(TraceBase):
    """The table is read, checked and sorted when the trace is opened; it holds tens of thousands of rows."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, ("cpu_millicores", "memory_bytes"), default_cluster="alibaba2017:1300")
        self._file = _batch_file(source.path)
        repaired: Counter[str] = Counter()
        rows = self._read(_columns(source.options["memory_bytes"]), repaired)
        self._statuses = Counter(row["status"] for row in rows)
        median = _median_request(self._file, rows)
        if source.options["blank"] == "skip":
            rows = [row for row in rows if row["cpu"] is not None and row["memory"] is not None]
        origin_s = min((row["task_create_time"] for row in rows), default=0)
        origin_s = min(origin_s, 0)
        self._submissions = [self._submission(row, origin_s, median, repaired) for row in rows]
        last_s = max(max(row["task_create_time"], row["task_end_time"]) for row in rows)
        self.horizon_ns = (last_s - origin_s) * SECOND_NS
        self._set_repaired(repaired)
        self.assumptions = _assumptions(source, origin_s, median)

    def _read(self, columns: list[Column], repaired: Counter[str]) -> list[dict[str, Any]]:
        has_header = not read_header(self._file)[0].lstrip("-").isdigit()
        repaired["header_row"] += has_header
        rows = []
        seen: set[tuple[int, int]] = set()
        previous_s: int | None = None
        for number, row in rows_of(self._file, columns, header=has_header):
            key = row["job_id"], row["task_id"]
            if key in seen:
                fail(self._file, number, "task_id", f"task {key[1]} of job {key[0]} is there twice; remove one row")
            seen.add(key)
            created_s = row["task_create_time"]
            repaired["out_of_order_row"] += previous_s is not None and created_s < previous_s
            repaired["blank_request"] += row["cpu"] is None or row["memory"] is None
            previous_s = created_s
            rows.append(row)
        if not rows:
            fail(self._file, None, None, "has no rows; fetch it again")
        rows.sort(key=lambda row: (row["task_create_time"], row["job_id"], row["task_id"]))
        return rows

    def _submission(
        self, row: dict[str, Any], origin_s: int, median: tuple[int, int], repaired: Counter[str]
    ) -> Submission:
        created_s, end_s = row["task_create_time"], row["task_end_time"]
        repaired["end_before_start"] += end_s < created_s
        cpu, memory = row["cpu"], row["memory"]
        censored = row["status"] in ("Waiting", "Running")
        return Submission(
            (created_s - origin_s) * SECOND_NS,
            f"{row['job_id']}-{row['task_id']}",
            median if cpu is None or memory is None else (cpu, memory),
            row["number_of_instances"],
            str(row["job_id"]),
            service_ns=None if censored else max(0, end_s - created_s) * SECOND_NS,
            exit_code=1 if row["status"] == "Failed" else 0,
        )

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per task by (creation, job, task)."""
        return iter(self._submissions)

    def _facts(self) -> dict[str, Any]:
        return {
            "alibaba2017": {
                "tasks_by_status": {status: self._statuses[status] for status in _STATUSES},
                "largest_task_instances": max(item.count for item in self._submissions),
            }
        }


def _batch_file(path: str) -> Path:
    file = Path(path).expanduser()
    return file if file.is_file() else find_files(path, ["batch_task.csv"], what="batch_task.csv")[0]


def _median_request(file: Path, rows: list[dict[str, Any]]) -> tuple[int, int]:
    known = [row for row in rows if row["cpu"] is not None and row["memory"] is not None]
    if not known:
        fail(file, None, "cpu", "every row is blank, so there is no median; fetch the file again")
    cpu = statistics.median_low(row["cpu"] for row in known)
    return cpu, statistics.median_low(row["memory"] for row in known)


def _assumptions(source: Source, origin_s: int, median: tuple[int, int]) -> tuple[str, ...]:
    lines = [
        f"The normalised memory 1.0 stands for {source.options['memory_bytes']} bytes.",
        "A task's instances start together and each runs from the task's creation to its end.",
        "Tasks recorded as Waiting or Running run past the horizon.",
    ]
    if source.options["blank"] == "skip":
        lines.append("Tasks without a request are skipped (blank=skip).")
    else:
        lines.append(f"Tasks without a request get the median, {median[0]} millicores and {median[1]} bytes.")
    if origin_s:
        lines.append(f"Times are moved by {-origin_s} s so that the first is 0.")
    return tuple(lines)


READER = Reader(
    name="alibaba2017",
    summary="Alibaba cluster-trace-v2017: batch_task.csv or the directory that holds it",
    open=Alibaba2017Trace,
    options=OPTIONS,
)

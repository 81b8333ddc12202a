"""Reader of Microsoft's Philly trace of 2017 as the authors of Pollux and Sia processed it: one row per GPU job.

A job becomes one Submission of whole GPUs, its tenant is its virtual cluster. The table has no machines. A job of more
GPUs than a machine has becomes the fewest equal workloads of which each fits on one: 12 GPUs on machines of 8 are two
workloads of 6. They start when each fits, not together.

The table records neither ends other than success nor retries nor delays, so every job runs once, for its recorded time.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.schema import SECOND_NS, Submission
from traces.source import Option, Reader, Source, integer
from traces.tabular import Column, columns_by_header, fail, find_files, rows_of, shown

_WHOLE_GPU = 1000
_ASSUMED_GPUS = 640
_MOST_GPUS = 4096
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)

OPTIONS: tuple[Option, ...] = (
    integer("gpus_per_machine", 8, "GPUs of a machine: what a larger job is split for", minimum=1, maximum=1024),
)

_COLUMNS = [
    Column(name="timestamp"),
    Column(name="duration", kind="quantity", minimum=0, scale=SECOND_NS, exact=True),
    Column(name="num_gpus", kind="integer", minimum=1, maximum=_MOST_GPUS),
    Column(name="gpu_time", kind="quantity", minimum=0, scale=SECOND_NS, exact=True),
    Column(name="cluster"),
]


class PhillyTrace(TraceBase):
    """The table is read, checked and sorted when the trace is opened; it holds tens of thousands of rows."""

    def __init__(self, source: Source) -> None:
        per_machine: int = source.options["gpus_per_machine"]
        machines = -(-_ASSUMED_GPUS // per_machine)
        super().__init__(
            source,
            ("gpu_milli",),
            assumptions=_assumptions(per_machine, machines),
            default_cluster=f"{machines}x{{gpu_milli={per_machine * _WHOLE_GPU},label.gpu_model=unknown}}",
            plugins={"gpu": {}},
        )
        repaired: Counter[str] = Counter()
        rows = _read(_job_file(source.path), repaired)
        constraints = {gpus: {"gpu": {"count": gpus, "milli": _WHOLE_GPU}} for gpus in range(1, per_machine + 1)}
        self._submissions = [_submission(row, rows[0]["at_s"], per_machine, constraints) for row in rows]
        self._gpus = Counter(row["num_gpus"] for row in rows)
        self._run_s = [row["duration"] / SECOND_NS for row in rows]
        self._gpu_s = sum(row["gpu_time"] for row in rows) / SECOND_NS
        self._set_repaired(repaired)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per job by submission time, ties in file order."""
        return iter(self._submissions)

    def _facts(self) -> dict[str, Any]:
        return {
            "philly": {
                "jobs_by_gpus": {str(gpus): self._gpus[gpus] for gpus in sorted(self._gpus)},
                "jobs_of_several_machines": sum(item.count > 1 for item in self._submissions),
                "median_run_s": statistics.median(self._run_s),
                "mean_run_s": statistics.fmean(self._run_s),
                "gpu_days": self._gpu_s / 86_400,
            }
        }


def _assumptions(per_machine: int, machines: int) -> tuple[str, ...]:
    return (
        f"The table names no machines: {machines} of {per_machine} GPUs each are assumed.",
        f"A job of more than {per_machine} GPUs is split into the fewest equal workloads that fit on a machine each;"
        " they start when each fits, not together. Smaller jobs run on one machine.",
        "GPUs are asked whole and of any model; CPU and memory are not recorded and not asked.",
        "Failures, kills, retries and delays are not recorded: every job runs once, for its run time, and succeeds.",
        "Times are local; they count from the first submission as if the clock had never been changed.",
    )


def _job_file(path: str) -> Path:
    file = Path(path).expanduser()
    if file.is_file():
        return file
    found = find_files(path, ["philly*.csv"], what="philly*.csv (processed Philly jobs)")
    if len(found) > 1:
        fail(file, None, None, f"holds {', '.join(one.name for one in found)}; give the path of one of them")
    return found[0]


def _read(file: Path, repaired: Counter[str]) -> list[dict[str, Any]]:
    """Return the rows by time, each with its ``at_s`` and its ``number`` from 0 in the file."""
    rows: list[dict[str, Any]] = []
    previous_s: int | None = None
    for number, row in rows_of(file, columns_by_header(file, _COLUMNS), header=True):
        at_s = _seconds(file, number, row["timestamp"])
        if row["gpu_time"] != row["num_gpus"] * row["duration"]:
            found = row["gpu_time"] / SECOND_NS
            fail(file, number, "gpu_time", f"'{found:g}' is not num_gpus times duration; correct the row")
        repaired["out_of_order_row"] += previous_s is not None and at_s < previous_s
        previous_s = at_s
        rows.append({**row, "at_s": at_s, "number": len(rows)})
    if not rows:
        fail(file, None, None, "has no rows; fetch it again")
    rows.sort(key=lambda row: (row["at_s"], row["number"]))
    return rows


def _seconds(file: Path, row: int, text: str) -> int:
    """Return a local time in seconds from some fixed one."""
    try:
        if not _TIMESTAMP.fullmatch(text):
            raise ValueError
        passed = datetime.fromisoformat(text) - datetime(1970, 1, 1)
    except ValueError:
        fail(file, row, "timestamp", f"{shown(text)} is not a time such as 2017-10-09 07:01:55; correct the row")
    return passed.days * 86_400 + passed.seconds


def _submission(
    row: dict[str, Any], origin_s: int, per_machine: int, constraints: dict[int, dict[str, Any]]
) -> Submission:
    parts = _parts(row["num_gpus"], per_machine)
    gpus = row["num_gpus"] // parts
    name = f"job-{row['number']}"
    return Submission(
        (row["at_s"] - origin_s) * SECOND_NS,
        name,
        (gpus * _WHOLE_GPU,),
        parts,
        name,
        row["cluster"],
        service_ns=row["duration"],
        constraints=constraints[gpus],
    )


def _parts(gpus: int, per_machine: int) -> int:
    """Return the smallest number of equal parts of at most ``per_machine`` GPUs."""
    fewest = -(-gpus // per_machine)
    return next(parts for parts in range(fewest, gpus + 1) if gpus % parts == 0)


READER = Reader(
    name="philly",
    summary="Microsoft Philly GPU jobs 2017, processed: philly*.csv or the directory that holds it",
    open=PhillyTrace,
    options=OPTIONS,
)

"""Reader of the machines of Alibaba cluster-trace-v2018: an inventory with two levels of failure domains, and no work.

The levels are read as topology ``failure_domain_2`` (20 domains) and ``failure_domain_1`` (292). They are no tree: most
domains of the second kind lie in several of the first. Times and status of the rows are no record of failures, so every
machine is there from the start and stays.

Work comes from another trace (``work``), whose own machines are left out. Known dirt: rows without a failure domain,
which other rows of the machine name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from traces.base import TraceBase
from traces.schema import Demand, MachineEvent, Submission, Trace, TraceError
from traces.shapes import scale_normalised
from traces.source import Option, Reader, Source, integer
from traces.tabular import Column, fail, find_files, read_blocks, rows_of

_DIMENSIONS = ("cpu_millicores", "memory_bytes")
_LEVELS = ("failure_domain_2", "failure_domain_1")
_LASTING = (*_LEVELS, "cpu_num", "mem_size")
_USAGE_SAMPLE = "machine_usage_sample.csv"

OPTIONS: tuple[Option, ...] = (
    Option(
        name="work",
        default="",
        meaning="source of a trace whose submissions run on these machines; write its & as %26",
        parse=str,
    ),
    integer("memory_bytes", 10**12, "bytes of a machine of memory size 100", minimum=1, maximum=10**18),
)

_MACHINE_COLUMNS = [
    Column(name="machine_id"),
    Column(name="time_stamp", kind="integer", minimum=0),
    Column(name="failure_domain_1", nullable=True),
    Column(name="failure_domain_2", nullable=True),
    Column(name="cpu_num", kind="integer", minimum=1, maximum=4096),
    Column(name="mem_size", kind="integer", minimum=1, maximum=100),
    Column(name="status"),
]
_USAGE_COLUMNS = [
    Column(name="machine_id"),
    Column(name="time_stamp", kind="integer", minimum=0),
    Column(name="cpu_util_percent", kind="integer", minimum=0, maximum=100),
    Column(name="mem_util_percent", kind="integer", minimum=0, maximum=100),
    *(Column(name=name, nullable=True) for name in ("mem_gps", "mkpi", "net_in", "net_out", "disk_io_percent")),
]


class Alibaba2018Trace(TraceBase):
    """The machines are read and checked, and the trace of the work is opened, when the trace is opened."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._rows_by_status: Counter[str] = Counter()
        repaired: Counter[str] = Counter()
        machines = self._read(find_files(source.path, ["machine_meta.csv"], what="machine_meta.csv")[0], repaired)
        self._work = _open_work(source)
        dimensions = self._work.dimensions if self._work else _DIMENSIONS
        super().__init__(
            source,
            dimensions,
            assumptions=_assumptions(source, self._work),
            horizon_ns=self._work.horizon_ns if self._work else None,
            plugins=self._work.plugins if self._work else {},
        )
        self._machines = [_machine(row, dimensions, source.options["memory_bytes"]) for row in machines]
        self._set_repaired(repaired)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield every machine at time 0, in order of its first row, with its failure domains as topology."""
        return iter(self._machines)

    def submissions(self) -> Iterator[Submission]:
        """Yield the submissions of the trace of the work, without its machines; none when there is no work."""
        if self._work is None:
            return
        for item in self._work.submissions():
            yield msgspec.structs.replace(item, recorded_machine_id="") if item.recorded_machine_id else item
        self._set_repaired(self._work.repaired)

    def demand(self) -> Iterator[Demand]:
        """Yield the demand points of the trace of the work; none when there is no work."""
        return iter(()) if self._work is None else self._work.demand()

    def _read(self, file: Path, repaired: Counter[str]) -> list[dict[str, Any]]:
        """Return one row per machine; TraceError where rows of a machine differ or none names a failure domain."""
        machines: dict[str, dict[str, Any]] = {}
        first_rows: dict[str, int] = {}
        for number, row in rows_of(file, _MACHINE_COLUMNS):
            self._rows_by_status[row["status"]] += 1
            known = machines.setdefault(row["machine_id"], row)
            first_rows.setdefault(row["machine_id"], number)
            for field in _LASTING:
                repaired["blank_failure_domain"] += row[field] is None
                known[field] = row[field] if known[field] is None else known[field]
                if row[field] not in (None, known[field]):
                    fail(file, number, field, f"'{row[field]}' was '{known[field]}' before; correct one of the rows")
        for name, known in machines.items():
            for level in _LEVELS:
                if known[level] is None:
                    fail(file, first_rows[name], level, f"is empty in every row of {name}; name it in one of them")
        return list(machines.values())

    def _facts(self) -> dict[str, Any]:
        inner: dict[str, set[str]] = {}
        for event in self._machines:
            inner.setdefault(event.topology[_LEVELS[1]], set()).add(event.topology[_LEVELS[0]])
        return {
            "alibaba2018": {
                "failure_domains_1": len(inner),
                "failure_domains_2": len(set().union(*inner.values())),
                "failure_domains_1_in_several_2": sum(len(outer) > 1 for outer in inner.values()),
                "rows_by_status": dict(sorted(self._rows_by_status.items())),
                "usage_sample": _usage(Path(self._path).expanduser()),
            }
        }


def _open_work(source: Source) -> Trace | None:
    """Return the trace of the option ``work``; TraceError where it asks for what these machines do not have."""
    from traces.registry import open_trace

    if not source.options["work"]:
        return None
    work = open_trace(source.options["work"], progress=source.progress)
    missing = [name for name in work.dimensions if name not in _DIMENSIONS]
    if missing:
        raise TraceError(
            f"source {source.text!r}: option work: it asks for {', '.join(missing)}, which these machines do not have;"
            " give a trace that asks for CPU and memory"
        )
    return work


def _assumptions(source: Source, work: Trace | None) -> tuple[str, ...]:
    lines = (
        f"Memory size 100 stands for {source.options['memory_bytes']} bytes; it is the same on all machines.",
        "Every machine of the table is there from the start and stays: times and status are no record of failures.",
        "Failure domains of the two levels are no tree: one of level 1 may lie in several of level 2.",
    )
    if work is None:
        return (*lines, "There is no work: name a trace that has some with work=SOURCE.")
    return (*lines, f"The work is that of {work.source}, without its machines.", *work.assumptions)


def _machine(row: dict[str, Any], dimensions: tuple[str, ...], memory_bytes: int) -> MachineEvent:
    capacity = {
        "cpu_millicores": row["cpu_num"] * 1000,
        "memory_bytes": scale_normalised(Decimal(row["mem_size"]) / 100, memory_bytes),
    }
    return MachineEvent(
        at_ns=0,
        machine_id=row["machine_id"],
        kind="add",
        capacity={name: capacity[name] for name in dimensions},
        topology={level: row[level] for level in _LEVELS},
    )


def _usage(root: Path) -> dict[str, Any] | None:
    """Return what the sample of machine_usage tells, or None where there is none."""
    import numpy as np

    if not any(root.glob(f"{_USAGE_SAMPLE}*")):
        return None
    rows = 0
    machines: set[str] = set()
    sums = np.zeros(2, dtype=np.int64)
    for block in read_blocks(find_files(str(root), [_USAGE_SAMPLE], what=_USAGE_SAMPLE)[0], _USAGE_COLUMNS):
        rows += block.table.num_rows
        machines.update(block.values("machine_id"))
        sums += [block.column("cpu_util_percent").sum(), block.column("mem_util_percent").sum()]
    mean_cpu, mean_memory = (sums / rows).tolist()
    return {"rows": rows, "machines": len(machines), "mean_cpu_percent": mean_cpu, "mean_memory_percent": mean_memory}


READER = Reader(
    name="alibaba2018",
    summary="Alibaba cluster-trace-v2018, machines only: a directory with machine_meta.csv",
    open=Alibaba2018Trace,
    options=OPTIONS,
)

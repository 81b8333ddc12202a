"""Reader of the machine shapes and instance requests that were extracted from Google ClusterData2019, cell by cell.

The shapes are those of every machine seen in the month, and become machines at time 0. The requests are not a workload:
they are an arbitrary cut of 10,000 instances, all there before the trace proper starts, without durations. They serve
for sizes and for instances per collection. An instance becomes one submission, of its collection as the job; they come
at a fixed distance in order of their recorded first events, and none leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.schema import MachineEvent, Submission
from traces.shapes import scale_normalised
from traces.source import Option, Reader, Source, choice, integer
from traces.tabular import Column, columns_by_header, fail, find_files, rows_of

_MS_NS = 1_000_000
_DIGITS = 12
"""Decimals that a shape may have; the published ones have at most 12."""
_MOST_MACHINES = 1_000_000
_ALLOC_SET = 1

OPTIONS: tuple[Option, ...] = (
    choice("cell", "a", "which cell", ["a", "b", "c", "d"]),
    integer("gap_ms", 1000, "milliseconds between arrivals; 0: all are there at the start", maximum=10**9),
    integer("cpu_cores", 10_000, "cores that the normalised value 1.0 stands for", minimum=1, maximum=10**9),
    integer("memory_bytes", 10**12, "bytes that the normalised value 1.0 stands for", minimum=1, maximum=10**18),
)

_SHAPE_COLUMNS = [
    Column(name="cpus", kind="quantity", minimum=0, scale=10**_DIGITS, exact=True),
    Column(name="ram", kind="quantity", minimum=0, scale=10**_DIGITS, exact=True),
    Column(name="machine_count", kind="integer", minimum=1, maximum=_MOST_MACHINES),
]


def _request_columns(cpu_scale: int, memory_scale: int) -> list[Column]:
    return [
        Column(name="time", kind="integer", minimum=0),
        Column(name="user"),
        Column(name="collection_id", kind="integer", minimum=0),
        Column(name="instance_index", kind="integer", minimum=0),
        Column(name="cpus", kind="quantity", minimum=0, scale=cpu_scale),
        Column(name="ram", kind="quantity", minimum=0, scale=memory_scale),
        Column(name="collection_type", kind="integer", minimum=0, maximum=_ALLOC_SET),
    ]


class Google2019Trace(TraceBase):
    """Both tables of a cell are read and checked when the trace is opened; they hold thousands of rows."""

    def __init__(self, source: Source) -> None:
        options = source.options
        super().__init__(source, ("cpu_millicores", "memory_bytes"), assumptions=_assumptions(options))
        self._cell: str = options["cell"]
        self._cpu_scale: int = options["cpu_cores"] * 1000
        self._memory_scale: int = options["memory_bytes"]
        self._machines = self._read_machines(_file(source.path, self._cell, "host_resource", "hostResource"))
        self._alloc_sets = 0
        requests = _file(source.path, self._cell, "user_requests", "userRequest")
        self._submissions = self._read_requests(requests, options["gap_ms"] * _MS_NS)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield every machine at time 0, the shapes spread evenly; labelled with its ``shape``."""
        return iter(self._machines)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per instance by recorded first event, ties by collection and instance."""
        return iter(self._submissions)

    def _read_machines(self, file: Path) -> list[MachineEvent]:
        """Copy j of a shape with c copies stands at (2j + 1) / 2c of the way, ties to the shape listed first."""
        shapes: dict[str, tuple[dict[str, int], int]] = {}
        for row, shape in _rows(file, _SHAPE_COLUMNS):
            cpu, memory = (Decimal(shape[name]).scaleb(-_DIGITS) for name in ("cpus", "ram"))
            name = f"cpu{cpu.normalize():f}-mem{memory.normalize():f}"
            if name in shapes:
                fail(file, row, "cpus", f"the shape {name} is there twice; remove one of the rows")
            capacity = {
                "cpu_millicores": scale_normalised(cpu, self._cpu_scale),
                "memory_bytes": scale_normalised(memory, self._memory_scale),
            }
            shapes[name] = capacity, shape["machine_count"]
        places = [
            ((2 * copy + 1) / (2 * count), index, name)
            for index, (name, (_, count)) in enumerate(shapes.items())
            for copy in range(count)
        ]
        return [
            MachineEvent(
                at_ns=0,
                machine_id=f"{self._cell}-{rank:05d}",
                kind="add",
                capacity=shapes[name][0],
                labels={"shape": name},
            )
            for rank, (_, _, name) in enumerate(sorted(places))
        ]

    def _read_requests(self, file: Path, gap_ns: int) -> list[Submission]:
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        for number, row in _rows(file, _request_columns(self._cpu_scale, self._memory_scale)):
            key = row["collection_id"], row["instance_index"]
            if key in rows:
                fail(file, number, "instance_index", f"instance {key[1]} of {key[0]} is there twice; remove one row")
            rows[key] = row
            self._alloc_sets += row["collection_type"] == _ALLOC_SET
        ordered = sorted(rows.values(), key=lambda row: (row["time"], row["collection_id"], row["instance_index"]))
        return [
            Submission(
                rank * gap_ns,
                f"{row['collection_id']}-{row['instance_index']}",
                (row["cpus"], row["ram"]),
                job_id=str(row["collection_id"]),
                tenant=row["user"],
            )
            for rank, row in enumerate(ordered)
        ]

    def _facts(self) -> dict[str, Any]:
        shapes = Counter(event.labels["shape"] for event in self._machines)
        collections = Counter(item.job_id for item in self._submissions)
        return {
            "google2019": {
                "machines_by_shape": dict(shapes.most_common()),
                "largest_collection": max(collections.values()),
                "requests_without_cpu": sum(item.request[0] == 0 for item in self._submissions),
                "requests_of_alloc_sets": self._alloc_sets,
            }
        }


def _assumptions(options: Mapping[str, Any]) -> tuple[str, ...]:
    arrivals = f"{options['gap_ms']} ms apart" if options["gap_ms"] else "all at the start"
    return (
        f"The normalised value 1.0 stands for {options['cpu_cores']} cores and {options['memory_bytes']} bytes;"
        " it is not that of Google 2011.",
        f"The machines are all those seen in cell {options['cell']} in May 2019, present at once and to the end.",
        "Shapes are spread evenly over the order of the machines.",
        "The requests are an arbitrary cut of what was there already when the trace proper starts: they tell sizes and"
        " instances per collection, not rates of arrival.",
        f"They come {arrivals}, in order of their recorded first events, and run past the horizon: no durations are"
        " recorded.",
    )


def _file(path: str, cell: str, table: str, folder: str) -> Path:
    name = f"2019_{cell}_{table}.csv"
    return find_files(path, [name, f"{folder}/{name}"], what=f"{name} (extracted from Google ClusterData2019)")[0]


def _rows(file: Path, columns: list[Column]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file with a header; TraceError where there are none."""
    empty = True
    for found in rows_of(file, columns_by_header(file, columns), header=True):
        empty = False
        yield found
    if empty:
        fail(file, None, None, "has no rows; fetch it again")


READER = Reader(
    name="google2019",
    summary="Google ClusterData2019 by cell: a directory with 2019_?_host_resource.csv and 2019_?_user_requests.csv",
    open=Google2019Trace,
    options=OPTIONS,
)

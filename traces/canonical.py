"""The canonical Parquet form of a trace: one file, one table of all streams ordered by time.

At one instant machine events come before submissions, and those before demand points; rows of one stream keep their
order. Every dimension is a nullable integer column: capacity of a machine row, request of a submission, use of a
demand point. Facts about the whole trace are in the file's key-value metadata under ``eru_trace``.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from traces.base import TraceBase
from traces.schema import Demand, MachineEvent, Submission, Trace, TraceError
from traces.source import Progress, Reader, Source
from traces.tabular import fail, require_file

SCHEMA_VERSION = 1
METADATA_KEY = b"eru_trace"
_ROW_GROUP_ROWS = 65_536
_READ_ROWS = 16_384
_LOADING_SHARE = 0.6
_MACHINE_KINDS = ("add", "remove", "update")
_SUBMISSION = "submission"
_DEMAND = "demand"

_INTEGERS = ("count", "priority", "service_ns", "exit_code", "kill_at_ns", "estimate_ns")
_LATER_TEXTS = ("resources_json", "topology_json")
"""Columns that files of this schema version may lack; then they hold nothing."""
_TEXTS = (
    *("machine_id", "workload_id", "job_id", "tenant", "recorded_machine_id", "labels_json", "constraints_json"),
    *_LATER_TEXTS,
)


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: int
    source: str
    dimensions: tuple[str, ...]
    assumptions: tuple[str, ...]
    repaired: dict[str, int]
    horizon_ns: int | None
    default_cluster: str | None
    plugins: dict[str, dict[str, Any]] = {}


def write_parquet(source: str | Trace, out_path: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Write a trace in the canonical Parquet form and return what was written.

    ``source`` is a source text or an open trace. ``progress`` gets the fraction of the loading, then 1.0. The file
    appears at ``out_path`` only when it is complete; on an error nothing is left. Raises TraceError for bad input, and
    for a capacity in a column that is not a dimension of the trace.
    """
    from traces.registry import open_trace

    out = Path(out_path).expanduser()
    if out.is_dir():
        fail(out, None, None, "is a directory; give the name of the Parquet file to write")
    if not out.parent.is_dir():
        fail(out.parent, None, None, "no such directory; create it or write elsewhere")
    loading = None if progress is None else lambda fraction: progress(_LOADING_SHARE * fraction)
    trace = open_trace(source, progress=loading) if isinstance(source, str) else source
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        counts = _write(trace, partial)
        partial.replace(out)
    except OSError as error:
        fail(out, None, None, f"cannot be written ({error.strerror}); check the directory and the free space")
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    if progress is not None:
        progress(1.0)
    return {
        "source": trace.source,
        "path": str(out),
        "bytes": out.stat().st_size,
        "rows": sum(count for name, count in counts.items() if name != "workloads"),
        **counts,
        "repaired": dict(trace.repaired),
        "schema_version": SCHEMA_VERSION,
    }


def _arrow_schema(dimensions: tuple[str, ...]) -> Any:
    import pyarrow as pa

    small = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("at_ns", pa.int64()),
            ("kind", small),
            *((name, pa.int64()) for name in dimensions),
            *((name, pa.int64()) for name in _INTEGERS),
            *((name, small if name.endswith("_json") or name == "tenant" else pa.string()) for name in _TEXTS),
        ]
    )


def _write(trace: Trace, path: Path) -> dict[str, int]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _arrow_schema(trace.dimensions)
    counts = {"machine_events": 0, "submissions": 0, "workloads": 0, "demand_points": 0}
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(_merged(trace), _ROW_GROUP_ROWS):
            columns = _columns(group, trace.dimensions, counts)
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        facts = _Facts(
            schema_version=SCHEMA_VERSION,
            source=trace.source,
            dimensions=trace.dimensions,
            assumptions=trace.assumptions,
            repaired=dict(trace.repaired),
            horizon_ns=trace.horizon_ns,
            default_cluster=trace.default_cluster,
            plugins={name: dict(parameters) for name, parameters in trace.plugins.items()},
        )
        writer.add_key_value_metadata({METADATA_KEY: msgspec.json.encode(facts)})
    return counts


def _merged(trace: Trace) -> Iterator[MachineEvent | Submission | Demand]:
    streams: tuple[Iterable[Any], ...] = (trace.machine_events(), trace.submissions(), trace.demand())
    return heapq.merge(*streams, key=lambda item: item.at_ns)


def _groups(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _columns(group: list[Any], dimensions: tuple[str, ...], counts: dict[str, int]) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    for item in group:
        if isinstance(item, Submission):
            rows.append(_submission_row(item, dimensions))
            counts["submissions"] += 1
            counts["workloads"] += item.count
        elif isinstance(item, MachineEvent):
            rows.append(_machine_row(item, dimensions))
            counts["machine_events"] += 1
        else:
            rows.append({"kind": _DEMAND, "at_ns": item.at_ns, "workload_id": item.workload_id})
            rows[-1].update(zip(dimensions, item.used, strict=True))
            counts["demand_points"] += 1
    return {name: [row.get(name) for row in rows] for name in ("at_ns", "kind", *dimensions, *_INTEGERS, *_TEXTS)}


def _machine_row(event: MachineEvent, dimensions: tuple[str, ...]) -> dict[str, Any]:
    unknown = event.capacity.keys() - set(dimensions)
    if unknown:
        raise TraceError(
            f"machine {event.machine_id}: capacity has {', '.join(sorted(unknown))}, no dimension of the trace;"
            f" expected {', '.join(dimensions)}"
        )
    return {
        "at_ns": event.at_ns,
        "kind": event.kind,
        "machine_id": event.machine_id,
        "labels_json": _json(event.labels) if event.labels else None,
        "resources_json": _json(event.resources) if event.resources else None,
        "topology_json": _json(event.topology) if event.topology else None,
        **event.capacity,
    }


def _submission_row(item: Submission, dimensions: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(dimensions, item.request, strict=True))
    row.update(
        at_ns=item.at_ns,
        kind=_SUBMISSION,
        count=item.count,
        priority=item.priority,
        service_ns=item.service_ns,
        exit_code=item.exit_code,
        kill_at_ns=item.kill_at_ns,
        estimate_ns=item.estimate_ns,
        workload_id=item.workload_id,
        job_id=item.job_id,
        tenant=item.tenant,
        recorded_machine_id=item.recorded_machine_id or None,
        constraints_json=None if item.constraints is None else _json(item.constraints),
    )
    return row


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


class ParquetTrace(TraceBase):
    """A trace read back from its canonical form, a batch of rows at a time."""

    def __init__(self, source: Source) -> None:
        self._path = require_file(source.path, what="a Parquet file written by convert")
        facts = _read_facts(self._path)
        super().__init__(
            source,
            facts.dimensions,
            assumptions=facts.assumptions,
            horizon_ns=facts.horizon_ns,
            default_cluster=facts.default_cluster,
            plugins=facts.plugins,
        )
        self._facts_read = facts
        self._set_repaired(facts.repaired)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield the machine events of the converted trace, in its order."""
        names = ("at_ns", "kind", "machine_id", "labels_json", "resources_json", "topology_json", *self.dimensions)
        for at_ns, kind, machine_id, labels, resources, topology, *capacity in self._rows(names, _MACHINE_KINDS):
            pairs = zip(self.dimensions, capacity, strict=True)
            yield MachineEvent(
                at_ns=at_ns,
                machine_id=machine_id,
                kind=kind,
                capacity={name: value for name, value in pairs if value is not None},
                labels=msgspec.json.decode(labels) if labels else {},
                resources=msgspec.json.decode(resources) if resources else {},
                topology=msgspec.json.decode(topology) if topology else {},
            )

    def submissions(self) -> Iterator[Submission]:
        """Yield the submissions of the converted trace, in its order; equal constraints share one mapping."""
        names = (
            *("at_ns", "workload_id", "count", "job_id", "tenant", "priority", "service_ns", "exit_code"),
            *("kill_at_ns", "estimate_ns", "constraints_json", "recorded_machine_id", *self.dimensions),
        )
        decoded: dict[str | None, Mapping[str, Any] | None] = {None: None}
        for row in self._rows(names, (_SUBMISSION,)):
            text, machine = row[10], row[11]
            if text not in decoded:
                decoded[text] = msgspec.json.decode(text)
            yield Submission(
                row[0],
                row[1],
                row[12:],
                row[2],
                row[3],
                row[4],
                row[5],
                row[6],
                row[7],
                row[8],
                row[9],
                decoded[text],
                machine or "",
            )

    def demand(self) -> Iterator[Demand]:
        """Yield the demand points of the converted trace, in its order."""
        for at_ns, workload_id, *used in self._rows(("at_ns", "workload_id", *self.dimensions), (_DEMAND,)):
            yield Demand(at_ns=at_ns, workload_id=workload_id, used=tuple(used))

    def _rows(self, names: tuple[str, ...], kinds: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import parquet

        wanted = pa.array(kinds)
        with parquet.ParquetFile(self._path) as file:
            present = set(file.schema_arrow.names)
            columns = [name for name in dict.fromkeys((*names, "kind")) if name in present]
            try:
                for batch in file.iter_batches(batch_size=_READ_ROWS, columns=columns):
                    kept = batch.filter(pc.is_in(batch.column("kind").cast(pa.string()), wanted))
                    nothing = [None] * len(kept)
                    values = (kept.column(name).to_pylist() if name in present else nothing for name in names)
                    yield from zip(*values, strict=True)
            except (pa.ArrowException, OSError) as error:
                fail(self._path, None, None, f"cannot be read ({_one_line(error)}); convert the trace again")

    def _facts(self) -> dict[str, Any]:
        return {
            "parquet": {
                "schema_version": self._facts_read.schema_version,
                "converted_from": self._facts_read.source,
            }
        }


def _read_facts(path: Path) -> _Facts:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata.metadata or {}
            names = set(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        fail(path, None, None, f"is not a sound Parquet file ({_one_line(error)}); convert the trace again")
    text = metadata.get(METADATA_KEY)
    if text is None:
        fail(path, None, None, "is no converted trace: it has no eru_trace metadata; convert a trace first")
    try:
        facts = msgspec.json.decode(text, type=_Facts)
    except msgspec.MsgspecError as error:
        fail(path, None, "eru_trace", f"metadata is not as expected ({_one_line(error)}); convert the trace again")
    if facts.schema_version != SCHEMA_VERSION:
        fail(path, None, "schema_version", f"'{facts.schema_version}' where {SCHEMA_VERSION} is read; convert again")
    needed = (name for name in _arrow_schema(facts.dimensions).names if name not in _LATER_TEXTS)
    missing = [name for name in needed if name not in names]
    if missing:
        fail(path, None, missing[0], "column is missing; convert the trace again")
    return facts


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


READER = Reader(
    name="parquet",
    summary="A trace in the canonical Parquet form, written by convert",
    open=ParquetTrace,
)

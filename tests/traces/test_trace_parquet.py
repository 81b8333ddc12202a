from __future__ import annotations

import json
from pathlib import Path

import pytest
from trace_files import (
    google2011_row,
    small_alibaba2017,
    small_azure2017,
    small_google2011,
    small_huawei_numa2025,
    small_openb,
    small_swf,
    small_tianchi2018,
    write,
)

import traces
from traces import Demand, MachineEvent, Submission
from traces.base import TraceBase
from traces.canonical import write_parquet
from traces.source import Source


class _Listed(TraceBase):
    def __init__(self, machines, items, points=()):
        super().__init__(
            Source(text="listed:x", format="listed", path="x", options={}),
            ("cpu_millicores", "gpu_milli"),
            assumptions=("one",),
            horizon_ns=99,
            default_cluster="openb",
            plugins={"curve": {"points": 2, "names": ["cpu"]}, "gpu": {}},
        )
        self._streams = machines, items, points

    def machine_events(self):
        return iter(self._streams[0])

    def submissions(self):
        return iter(self._streams[1])

    def demand(self):
        return iter(self._streams[2])


def same_streams(one: traces.Trace, other: traces.Trace) -> None:
    assert list(one.machine_events()) == list(other.machine_events())
    assert list(one.submissions()) == list(other.submissions())
    assert list(one.demand()) == list(other.demand())
    assert one.dimensions == other.dimensions
    assert one.horizon_ns == other.horizon_ns
    assert one.default_cluster == other.default_cluster
    assert one.assumptions == other.assumptions
    assert one.plugins == other.plugins
    assert dict(one.repaired) == dict(other.repaired)


@pytest.mark.parametrize(
    "small",
    [
        *(small_google2011, small_openb, small_alibaba2017, small_swf, small_azure2017),
        *(small_tianchi2018, small_huawei_numa2025),
    ],
    ids=lambda small: small.__name__,
)
def test_converted_traces_read_back_identical(small, tmp_path):
    source = small(tmp_path)
    out = tmp_path / "out.parquet"
    summary = traces.convert(source, out)
    same_streams(traces.open_trace(f"parquet:{out}"), traces.open_trace(source))
    assert summary["submissions"] == len(list(traces.open_trace(source).submissions()))
    assert json.dumps(summary)
    assert not list(tmp_path.glob(".out*"))


def test_every_field_survives(tmp_path):
    machines = [
        MachineEvent(at_ns=0, machine_id="a", kind="add", capacity={"cpu_millicores": 5}, labels={"zone": "x"}),
        MachineEvent(at_ns=7, machine_id="a", kind="remove"),
        MachineEvent(
            at_ns=7, machine_id="a", kind="add", resources={"gpu": {"count": 2}}, topology={"rack": "12", "zone": "é"}
        ),
        MachineEvent(at_ns=9, machine_id="a", kind="update", capacity={"cpu_millicores": 2**62, "gpu_milli": 0}),
    ]
    constraints = {"gpu": {"count": 1, "milli": 5}, "node_labels": {"gpu_model": ["V100", "é"]}}
    items = [
        Submission(0, "w", (1, 2)),
        Submission(7, "v", (2**62, 0), 3, "j", "t", -1, 5, 1, 8, 9, constraints, "a"),
        Submission(7, "u", (0, 0), service_ns=0, constraints={}),
    ]
    listed = _Listed(machines, items, [Demand(at_ns=8, workload_id="v", used=(1, 1))])
    summary = write_parquet(listed, tmp_path / "x.parquet")
    same_streams(traces.open_trace(f"parquet:{tmp_path / 'x.parquet'}"), listed)
    assert summary["rows"] == 8
    assert summary["workloads"] == 5


def test_files_without_resources_topology_and_plugins_are_still_read(tmp_path):
    import pyarrow.parquet as pq

    out = tmp_path / "x.parquet"
    traces.convert(small_openb(tmp_path), out)
    now = traces.open_trace(f"parquet:{out}")
    submissions, machines = list(now.submissions()), list(now.machine_events())
    facts = json.loads(pq.ParquetFile(out).metadata.metadata[b"eru_trace"])
    del facts["plugins"]
    table = pq.read_table(out).drop_columns(["resources_json", "topology_json"])
    pq.write_table(table.replace_schema_metadata({b"eru_trace": json.dumps(facts)}), out)
    before = traces.open_trace(f"parquet:{out}")
    assert list(before.submissions()) == submissions
    assert [event.capacity for event in before.machine_events()] == [event.capacity for event in machines]
    assert [event.resources for event in before.machine_events()] == [{}, {}]
    assert before.plugins == {}


def test_rows_are_ordered_by_time_with_machines_first(tmp_path):
    import pyarrow.parquet as pq

    machines = [MachineEvent(at_ns=at, machine_id="m", kind="update") for at in (0, 5)]
    items = [Submission(at, f"w{at}", (1, 1)) for at in (0, 3, 5)]
    write_parquet(_Listed(machines, items), tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column("at_ns").to_pylist() == [0, 0, 3, 5, 5]
    assert table.column("kind").to_pylist() == ["update", "submission", "submission", "update", "submission"]


def test_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("traces.canonical._ROW_GROUP_ROWS", 10)
    source = small_google2011(tmp_path, "".join(google2011_row(time, 1, time, 0) for time in range(95)))
    traces.convert(source, tmp_path / "x.parquet")
    same_streams(traces.open_trace(f"parquet:{tmp_path / 'x.parquet'}"), traces.open_trace(source))


def test_a_failed_conversion_leaves_nothing(tmp_path):
    source = small_google2011(tmp_path / "in", google2011_row(0, 1, 0, 0, cpu="x"))
    with pytest.raises(traces.TraceError):
        traces.convert(source, tmp_path / "x.parquet")
    listed = _Listed([MachineEvent(at_ns=0, machine_id="a", kind="add", capacity={"disk_bytes": 1})], [])
    with pytest.raises(traces.TraceError, match="disk_bytes"):
        write_parquet(listed, tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_file_survives_a_failed_conversion(tmp_path):
    out = write(tmp_path / "x.parquet", "precious")
    listed = _Listed([MachineEvent(at_ns=0, machine_id="a", kind="add", capacity={"disk_bytes": 1})], [])
    with pytest.raises(traces.TraceError):
        write_parquet(listed, out)
    assert out.read_text() == "precious"


def test_bad_places_to_write_are_named(tmp_path):
    source = small_swf(tmp_path)
    for out in (tmp_path, tmp_path / "no" / "x.parquet"):
        with pytest.raises(traces.TraceError, match="directory"):
            traces.convert(source, out)


def bad_parquet(tmp_path: Path, kind: str) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"{kind}.parquet"
    if kind == "text":
        return write(path, "at_ns,kind\n")
    if kind == "foreign":
        pq.write_table(pa.table({"at_ns": [1]}), path)
        return path
    traces.convert(small_swf(tmp_path), path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
        return path
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"eru_trace"]) if table.schema.metadata else {}
    facts = facts or json.loads(pq.ParquetFile(path).metadata.metadata[b"eru_trace"])
    if kind == "version":
        facts["schema_version"] = 99
    if kind == "columns":
        table = table.drop_columns(["service_ns"])
    if kind == "metadata":
        facts = {"schema_version": 1}
    pq.write_table(table.replace_schema_metadata({b"eru_trace": json.dumps(facts)}), path)
    return path


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("text", "is not a sound Parquet file"),
        ("truncated", "is not a sound Parquet file"),
        ("foreign", "is no converted trace"),
        ("version", "field schema_version: '99' where 1 is read"),
        ("columns", "field service_ns: column is missing"),
        ("metadata", "field eru_trace: metadata is not as expected"),
    ],
)
def test_other_parquet_files_are_refused(kind, wanted, tmp_path):
    with pytest.raises(traces.TraceError) as caught:
        traces.open_trace(f"parquet:{bad_parquet(tmp_path, kind)}")
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)

"""Clusters read from files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eru_sim.cluster_models import build_cluster
from traces.schema import TraceError

HEADER = "node_id,cpu_millicores,memory_bytes,gpu_milli,label.gpu_model,topology.zone,topology.rack\n"
ROWS = "b,8000,1024,,,z1,r1\na,16000,2e3,4000,T4,z1,r2\n"


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"csv:{path}"


def test_csv_keeps_the_order_of_rows(tmp_path: Path) -> None:
    cluster = build_cluster(write(tmp_path / "nodes.csv", HEADER + ROWS))
    assert cluster.node_ids == ["b", "a"]
    assert cluster.nodes[0].capacity == {"cpu_millicores": 8000, "memory_bytes": 1024}
    assert cluster.nodes[1].capacity == {"cpu_millicores": 16000, "memory_bytes": 2000, "gpu_milli": 4000}
    assert [node.labels for node in cluster.nodes] == [{}, {"gpu_model": "T4"}]
    assert cluster.topology.levels == ("zone", "rack")
    assert cluster.topology.domain_id["rack"].tolist() == [0, 1]
    assert cluster.assumptions == ()


def test_csv_may_be_gzipped_quoted_have_blank_lines_and_no_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv.gz"
    path.write_bytes(gzip.compress(b'node_id,cpu_millicores\r\n"a, b",1000\r\n\r\nc,2000'))
    assert build_cluster(f"csv:{path}").node_ids == ["a, b", "c"]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    table = pa.table(
        {
            "node_id": ["b", "a"],
            "cpu_millicores": [8000, 16000],
            "memory_bytes": [1024.0, 2000.0],
            "gpu_milli": [None, 4000],
            "label.gpu_model": [None, "T4"],
            "topology.zone": ["z1", "z1"],
            "topology.rack": ["r1", "r2"],
        }
    )
    pq.write_table(table, tmp_path / "nodes.parquet")
    parquet = build_cluster(f"parquet:{tmp_path}/nodes.parquet")
    assert parquet.nodes == build_cluster(write(tmp_path / "nodes.csv", HEADER + ROWS)).nodes


def test_an_inventory_joins_generated_nodes(tmp_path: Path) -> None:
    spec = write(tmp_path / "nodes.csv", "node_id,cpu_millicores\na,1\nb,1\n")
    cluster = build_cluster(f"{spec}+2x1c?racks=2")
    assert cluster.node_ids == ["a", "1c-00000", "b", "1c-00001"]
    assert cluster.topology.count("rack").tolist() == [2, 2]
    placed = write(tmp_path / "placed.csv", "node_id,cpu_millicores,topology.rack\na,1,mine\nb,1,mine\n")
    mixed = build_cluster(f"{placed}+2x1c?racks=1")
    assert [node.topology["rack"] for node in mixed.nodes] == ["mine", "rack-000", "mine", "rack-000"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        (HEADER, "has a header but no nodes"),
        (HEADER + ROWS[:30], "row 3: it has 3 of 7 fields; the file is cut off"),
        ("name,cpu_millicores\na,1\n", "row 1: column 1: 'name' does not say its unit"),
        ("nod_id_count,cpu_millicores\na,1\n", "column node_id is missing (did you mean 'nod_id_count'?"),
        ("node_id,label.x\na,1\n", "there is no capacity column"),
        ("node_id,cpu_millicores,cpu_millicores\na,1,1\n", "column 3: 'cpu_millicores' is there twice"),
        ("node_id,cpu_millicores,\na,1,\n", "column 3: '' is not a column name"),
        ("node_id,cpu_millicores\na,1\nb,1\na,1\n", "row 4: field node_id: 'a' is already in row 2"),
        ("node_id,cpu_millicores\n,1\n", "row 2: field node_id: it is empty"),
        ("node_id,cpu_millicores\na,0\n", "row 2: field cpu_millicores is 0; give a positive integer"),
        ("node_id,cpu_millicores\na,\n", "row 2: field cpu_millicores: it is empty; give a positive integer"),
        ("node_id,memory_bytes\na,-5\n", "row 2: field memory_bytes is -5; give a positive integer"),
        ("node_id,memory_bytes\na,1.5\n", "row 2: field memory_bytes is '1.5'; give an integer"),
        ("node_id,memory_bytes\na,8GB\n", "row 2: field memory_bytes is '8GB'; give an integer"),
        ("node_id,disk_bytes\na,1e30\n", "row 2: field disk_bytes is 1e30; give less than 2^63"),
        ("node_id,disk_bytes,topology.rack\na,1,\n", "row 2: field topology.rack: it is empty"),
        (
            "node_id,disk_bytes,topology.rack,topology.zone\na,1,r,x\nb,1,r,y\n",
            "rack 'r' lies in zone 'x' and in zone 'y'; give each rack one zone and a name of its own, such as 'x/r'",
        ),
        (b"node_id,cpu_millicores\na,1\n\xff\xfe,1\n", "not UTF-8"),
        (b"node_id,cpu_millicores\na\0,1\n", "row 2: holds a NUL byte"),
        ('node_id,cpu_millicores\n"a,1\n', "is not sound csv"),
        (gzip.compress(b"node_id,cpu_millicores\n" + b"a,1\n" * 99, mtime=0)[:-12], "truncated"),
    ],
)
def test_errors_name_file_row_field_and_remedy(tmp_path: Path, text: str | bytes, told: str) -> None:
    spec = write(tmp_path / "nodes.csv", text)
    with pytest.raises(TraceError) as caught:
        build_cluster(spec)
    assert told in str(caught.value)
    assert "nodes.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("csv:{a}+csv:{a}", "two nodes are called 'x'"),
        ("csv:{a}+1x1c", "its topology levels are none, but those of node 'x' are rack"),
        ("csv:{a}?racks=1", "already has a topology"),
        ("csv:{a}+1x1c?zones=1", "its topology levels are zone, but those of node 'x' are rack"),
        ("csv:{a}+1x1c?racks=1", "rack 'rack-000' of the inventory is also the name of a generated one"),
    ],
)
def test_mixed_parts_that_do_not_fit_are_told(tmp_path: Path, spec: str, told: str) -> None:
    file = tmp_path / "a.csv"
    write(file, "node_id,cpu_millicores,topology.rack\nx,1,rack-000\n")
    with pytest.raises(TraceError) as caught:
        build_cluster(spec.format(a=file))
    assert told in str(caught.value)


def test_a_broken_parquet_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "nodes.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TraceError, match=r"nodes\.parquet: is not a sound parquet file \(.*\); write it again"):
        build_cluster(f"parquet:{tmp_path}/nodes.parquet")
    pq.write_table(pa.table({"node_id": ["a"], "cpu_millicores": [True]}), tmp_path / "nodes.parquet")
    with pytest.raises(TraceError, match="row 1: field cpu_millicores is 'True'; give an integer"):
        build_cluster(f"parquet:{tmp_path}/nodes.parquet")

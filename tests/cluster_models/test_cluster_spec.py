"""From the text of a specification to a cluster."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eru_sim.cluster_models import Cluster, ClusterSpecError, build_cluster
from traces.schema import TraceError
from traces.shapes import apportion, published_nodes


def encoded(cluster: Cluster) -> bytes:
    return msgspec.json.encode([cluster.nodes, cluster.assumptions, cluster.spec, cluster.topology.names])


def test_named_shapes_have_the_published_number_of_nodes_by_default() -> None:
    cluster = build_cluster("google2011")
    assert len(cluster.nodes) == 12_477
    assert cluster.nodes[0].node_id == "google2011-00000"
    assert cluster.nodes[0].labels == {"platform": "B", "shape": "B-cpu0.5-mem0.4995"}
    assert cluster.columns == ("cpu_millicores", "memory_bytes")
    assert int(cluster.capacity("cpu_millicores").sum()) == 66_032_500_000
    assert cluster.topology.levels == ()
    assert cluster.assumptions[0].startswith("12477 nodes have the machine shapes 'google2011'")


@given(st.sampled_from(["google2019-c", "openb", "azure"]), st.integers(1, 400))
@settings(max_examples=40)
def test_every_prefix_has_the_mix_of_the_whole(name: str, nodes: int) -> None:
    cluster = build_cluster(f"{name}:{nodes}")
    counts = {shape.name: count for shape, count in apportion(name, nodes)}
    seen: Counter[str] = Counter()
    for rank, node in enumerate(cluster.nodes, 1):
        seen[node.labels["shape"]] += 1
        for shape, count in counts.items():
            assert abs(seen[shape] - count * rank / nodes) < len(counts)
    assert {shape: count for shape, count in counts.items() if count} == dict(seen)
    assert cluster.node_ids == sorted(cluster.node_ids)


@pytest.mark.parametrize(
    ("spec", "capacity"),
    [
        ("3x64c256g", {"cpu_millicores": 64_000, "memory_bytes": 256 << 30}),
        ("3x64C256G", {"cpu_millicores": 64_000, "memory_bytes": 256 << 30}),
        ("3x0.5c512m", {"cpu_millicores": 500, "memory_bytes": 512 << 20}),
        ("3x96c1.5t8gpu", {"cpu_millicores": 96_000, "memory_bytes": 3 << 39, "gpu_milli": 8_000}),
        ("3x8c4gpu", {"cpu_millicores": 8_000, "gpu_milli": 4_000}),
        ("3x8c", {"cpu_millicores": 8_000}),
        ("3x8c2g{bandwidth_bps=1e+9}", {"cpu_millicores": 8_000, "memory_bytes": 2 << 30, "bandwidth_bps": 10**9}),
        ("3x{ cpu_millicores = 1 , disk_bytes = 0 }", {"cpu_millicores": 1, "disk_bytes": 0}),
    ],
)
def test_equal_machines(spec: str, capacity: dict[str, int]) -> None:
    cluster = build_cluster(spec)
    assert [node.capacity for node in cluster.nodes] == [capacity] * 3


def test_braces_take_labels() -> None:
    cluster = build_cluster("1x8c{label.gpu_model=T4}")
    assert cluster.nodes[0].labels == {"gpu_model": "T4"}
    assert cluster.nodes[0].node_id == "node-00000"


def test_parts_are_joined_and_spread_over_the_ranks() -> None:
    cluster = build_cluster("2x8c4g + 4x{cpu_millicores=16000} + 2x8c4g")
    assert cluster.node_ids == [
        "node-00000",
        "8c4g-00000",
        "8c4g-00001",
        "node-00001",
        "node-00002",
        "8c4g-00002",
        "8c4g-00003",
        "node-00003",
    ]
    assert cluster.columns == ("cpu_millicores", "memory_bytes")
    assert cluster.capacity("memory_bytes").tolist() == [0, 4 << 30, 4 << 30, 0, 0, 4 << 30, 4 << 30, 0]
    assert cluster.assumptions == ("the kinds of machine are spread evenly over the ranks",)


def test_layout_options_place_nodes() -> None:
    cluster = build_cluster("10x8c?zones=2&racks=4")
    assert cluster.topology.levels == ("zone", "rack")
    assert cluster.topology.count("zone").tolist() == [5, 5]
    assert cluster.topology.count("rack").tolist() == [3, 2, 3, 2]
    assert cluster.nodes[0].topology == {"zone": "zone-0", "rack": "rack-000"}
    assert build_cluster("10x8c?nodes_per_rack=4").topology.levels == ("rack",)
    assert build_cluster("10x8c?zones=10").topology.count("zone").tolist() == [1] * 10


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_order() -> None:
    spec = "openb:500?shuffle=true&racks=20"
    assert encoded(build_cluster(spec, seed=7)) == encoded(build_cluster(spec, seed=7))
    shapes = [node.labels["shape"] for node in build_cluster(spec, seed=7).nodes]
    others = [node.labels["shape"] for node in build_cluster(spec, seed=8).nodes]
    assert shapes != others
    assert Counter(shapes) == Counter(others)
    assert encoded(build_cluster("openb:500", seed=7)) == encoded(build_cluster("openb:500", seed=8))


def test_fifty_thousand_nodes_are_quick() -> None:
    build_cluster("10x1c?racks=2")  # imports
    began = time.process_time()
    cluster = build_cluster("google2019-a:50000?zones=3&nodes_per_rack=40")
    assert time.process_time() - began < 4  # measured 0.8 s; slack for a shared machine
    assert len(cluster.nodes) == 50_000


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", "a part is empty"),
        ("1x4c+", "a part is empty"),
        ("gogle2019-a:5", "did you mean 'google2019-a'?"),
        ("xml\n:nodes", "cluster 'xml :nodes': 'xml ' is not a set"),
        ("xml:nodes.xml", "'xml' is not a set of machine shapes"),
        ("google2011:0", "the count '0' of 'google2011:0' is not in 1 .. 10000000"),
        ("google2011:-3", "the count '-3'"),
        ("google2011:many", "the count 'many'"),
        ("google2011:", "the count ''"),
        ("0x4c", "the count '0'"),
        ("99999999999x4c", "is not in 1 .. 10000000"),
        ("5x", "'5x' is not a machine"),
        ("5x8c4", "'5x8c4' is not a machine"),
        ("5x8c4g{", "is not a machine"),
        ("5x{}", "is not a machine"),
        ("5x{cpu_millicores}", "is not NAME=VALUE"),
        ("5x{label.a=b}", "has no capacity"),
        ("5x0c", "cpu_millicores is 0; give a positive integer"),
        ("5x0.0001c", "cpu_millicores is '0.1000'; give an integer"),
        ("5x1c0g", "memory_bytes is 0; give a positive integer"),
        ("5x1c9999999999t", "give less than 2^63"),
        ("5x{cpu=3}", "'cpu' does not say its unit"),
        ("5x{Cpu_count=3}", "is not a column name"),
        ("5x{cpu_millicores=-3}", "cpu_millicores is -3; give a positive integer"),
        ("5x{gpu_milli=-3}", "gpu_milli is -3; give 0 or more"),
        ("5x{gpu_milli=many}", "gpu_milli is 'many'; give an integer"),
        ("5x{gpu_milli=nan}", "gpu_milli is 'nan'; give an integer"),
        ("5x{gpu_milli=1e999999999}", "gpu_milli is 1e999999999; give less than 2^63"),
        ("9" * 5000 + "x1c", "is not in 1 .. 10000000"),
        ("5x1c?racks=" + "9" * 5000, "give a positive integer"),
        ("5x{gpu_milli=inf}", "gpu_milli is 'inf'; give an integer"),
        ("5x1c{cpu_millicores=3}", "cpu_millicores is given twice"),
        ("5x1c?zone=3", "there is no option 'zone': did you mean 'zones'?"),
        ("5x1c?zones=0", "zones is '0'; give a positive integer"),
        ("5x1c?zones=1&zones=2", "zones is given twice"),
        ("5x1c?shuffle=yes", "shuffle is 'yes'; give true or false"),
        ("5x1c?racks=6", "racks is 6, but there are only 5 nodes"),
        ("5x1c?zones=3&racks=2", "zones is 3, but there are only 2 racks"),
        ("5x1c?racks=2&nodes_per_rack=2", "both racks (2) and nodes_per_rack (2)"),
        ("csv:", "names no file; write csv:FILE"),
        ("csv:/does/not/exist.csv", "/does/not/exist.csv: no such file"),
    ],
)
def test_errors_are_one_line_with_a_remedy(spec: str, told: str) -> None:
    with pytest.raises(TraceError) as caught:
        build_cluster(spec)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_specification_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="cluster 'nope'"):
        build_cluster("nope")
    with pytest.raises(ClusterSpecError, match="the seed is -1"):
        build_cluster("5x1c", seed=-1)


@given(st.text(alphabet="0123456789xcgmt.{}=,+?:&abz_-\n ", max_size=30))
def test_any_text_builds_or_is_a_one_line_error(text: str) -> None:
    if any(len(digits) > 4 for digits in "".join(c if c.isdigit() else " " for c in text).split()):
        return  # large, not wrong
    problem = ""
    cluster = None
    try:
        cluster = build_cluster(text)
    except TraceError as error:
        problem = str(error)
    assert bool(problem) == (cluster is None)
    assert "\n" not in problem
    assert cluster is None or len(set(cluster.node_ids)) == len(cluster.nodes) > 0


def test_published_numbers_are_the_default() -> None:
    assert len(build_cluster("alibaba2018").nodes) == published_nodes("alibaba2018") == 4_034

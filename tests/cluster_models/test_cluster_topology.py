"""The tree of failure domains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eru_sim.cluster_models import ClusterSpecError, build_topology, lay_out


def ids(count: int) -> list[str]:
    return [f"n{row}" for row in range(count)]


@given(st.data())
def test_a_layout_is_a_balanced_tree_without_empty_domains(data: st.DataObject) -> None:
    nodes = data.draw(st.integers(1, 60))
    racks = data.draw(st.integers(1, nodes))
    zones = data.draw(st.integers(1, racks))
    topology = build_topology(ids(nodes), lay_out(nodes, zones=zones, racks=racks))
    assert topology.levels == ("zone", "rack")
    per_rack = topology.count("rack")
    assert len(per_rack) == racks
    assert int(per_rack.sum()) == nodes
    assert int(per_rack.max()) - int(per_rack.min()) <= 1
    assert len(topology.names["zone"]) == zones
    zone_of_rack: dict[int, int] = {}
    for rack, zone in zip(topology.domain_id["rack"].tolist(), topology.domain_id["zone"].tolist(), strict=True):
        assert zone_of_rack.setdefault(rack, zone) == zone
    for domain, rows in enumerate(topology.rows("rack")):
        assert (topology.domain_id["rack"][rows] == domain).all()
        assert rows.tolist() == sorted(rows.tolist())


@given(st.integers(1, 100), st.integers(1, 100))
def test_nodes_per_rack_is_a_limit(nodes: int, most: int) -> None:
    topology = build_topology(ids(nodes), lay_out(nodes, nodes_per_rack=most))
    assert int(topology.count("rack").max()) <= most
    assert len(topology.names["rack"]) == -(-nodes // most)


def test_known_levels_are_ordered_and_others_keep_theirs() -> None:
    assert build_topology(["a"], [{"rack": "r", "zone": "z"}]).levels == ("zone", "rack")
    assert build_topology(["a"], [{"shelf": "s", "hall": "h"}]).levels == ("shelf", "hall")


def test_no_places_give_no_levels() -> None:
    topology = build_topology(["a", "b"], [{}, {}])
    assert (topology.levels, topology.node_count) == ((), 2)
    assert build_topology([], []).node_count == 0


def test_ids_are_int32_and_read_only() -> None:
    ids_of_racks = build_topology(["a", "b"], lay_out(2, racks=2)).domain_id["rack"]
    assert ids_of_racks.dtype.name == "int32"
    with pytest.raises(ValueError, match="read-only"):
        ids_of_racks[0] = 1


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([{"zone": "a", "rack": "r"}, {"zone": "b", "rack": "r"}], "rack 'r' lies in zone 'a' and in zone 'b'"),
        ([{"rack": "r"}, {}], "node 'n1': its topology levels are none, but those of node 'n0' are rack"),
        ([{}, {"rack": "r"}], "node 'n1': its topology levels are rack, but those of node 'n0' are none"),
        ([{"rack": "r"}, {"rack": ""}], "node 'n1': its rack has no name"),
    ],
)
def test_what_is_not_a_tree_is_refused(places: list[dict[str, str]], told: str) -> None:
    with pytest.raises(ClusterSpecError) as caught:
        build_topology(ids(2), places)
    assert told in str(caught.value)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="2 nodes have 1 places"):
        build_topology(["a", "b"], [{}])
    with pytest.raises(ValueError, match="not unique"):
        build_topology(["a", "a"], [{}, {}])
    with pytest.raises(ClusterSpecError, match="racks is 0; give 1 or more"):
        lay_out(3, racks=0)

"""Where nodes stand: a tree of failure domains, checked once and then frozen into int arrays.

Levels go from the outermost (a zone) to the innermost (a rack); every node is a leaf under one innermost domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eru_sim.cluster_models.nodes import ClusterSpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KNOWN_LEVELS = ("region", "datacenter", "site", "zone", "room", "row", "rack", "chassis")
"""Levels whose order is known, outermost first. Any other set of levels keeps the order in which it is given."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Failure domains over the nodes of one cluster, by level, outermost first; ``levels`` is empty when it has none.

    ``names[level]`` are the domain names in order of first appearance, and ``domain_id[level]`` has, for each node in
    rank order, the index of its domain in them. The arrays are read-only. An unknown level raises KeyError.
    """

    levels: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    domain_id: Mapping[str, NDArray[np.int32]]
    node_count: int

    def count(self, level: str) -> NDArray[np.int64]:
        """Return how many nodes each domain of ``level`` has, by domain index; never 0."""
        import numpy as np

        return np.bincount(self.domain_id[level], minlength=len(self.names[level])).astype(np.int64)

    def rows(self, level: str) -> list[NDArray[np.int64]]:
        """Return, by domain index, the rows of the nodes in each domain of ``level``, ascending."""
        import numpy as np

        by_domain = np.argsort(self.domain_id[level], kind="stable").astype(np.int64)
        return np.split(by_domain, np.cumsum(self.count(level))[:-1])


def no_topology(node_count: int) -> Topology:
    """Return the topology of nodes about whose place nothing is known: no levels."""
    return Topology(levels=(), names={}, domain_id={}, node_count=node_count)


def build_topology(node_ids: Sequence[str], places: Sequence[Mapping[str, str]]) -> Topology:
    """Return the checked topology of nodes, given the place of each (level to domain name) in rank order.

    Levels that are all among ``KNOWN_LEVELS`` go in that order; otherwise they go in the order of the first place,
    outermost first. No place at all gives no levels.

    Raises ClusterSpecError, in one line that names the node and a remedy: when nodes have different levels; when the
    name of a domain is empty; and when the domains are not a tree, because a domain lies in two outer ones.
    """
    import numpy as np

    if len(node_ids) != len(places):
        raise ValueError(f"{len(node_ids)} nodes have {len(places)} places; give one place per node")
    if len(set(node_ids)) != len(node_ids):
        raise ValueError("node ids are not unique; give each node an id of its own")
    levels = _level_order(places[0]) if places else ()
    _check_levels(node_ids, places, levels)
    if not levels:
        return no_topology(len(node_ids))
    _check_tree(node_ids, places, levels)
    names: dict[str, tuple[str, ...]] = {}
    domain_id: dict[str, NDArray[np.int32]] = {}
    for level in levels:
        index: dict[str, int] = {}
        ids = np.fromiter((index.setdefault(place[level], len(index)) for place in places), np.int32, len(places))
        ids.flags.writeable = False
        names[level] = tuple(index)
        domain_id[level] = ids
    return Topology(levels=levels, names=names, domain_id=domain_id, node_count=len(node_ids))


def lay_out(
    node_count: int, *, zones: int | None = None, racks: int | None = None, nodes_per_rack: int | None = None
) -> list[dict[str, str]]:
    """Return a place for each of ``node_count`` nodes in rank order: racks filled one after the other, then zones.

    ``racks`` is their number in the whole cluster; ``nodes_per_rack`` is the most a rack may hold and gives the
    smallest such number. Sizes of racks differ by at most one node, sizes of zones by at most one rack (or one node
    when there are no racks). Domains are named ``zone-0`` and ``rack-000``.

    Raises ClusterSpecError when a number is not positive, when both ``racks`` and ``nodes_per_rack`` are given, and
    when a domain would stay empty.
    """
    for option, number in (("zones", zones), ("racks", racks), ("nodes_per_rack", nodes_per_rack)):
        if number is not None and number < 1:
            raise ClusterSpecError(f"{option} is {number}; give 1 or more")
    if racks is not None and nodes_per_rack is not None:
        raise ClusterSpecError(
            f"both racks ({racks}) and nodes_per_rack ({nodes_per_rack}) are given; give one of them"
        )
    if nodes_per_rack is not None:
        racks = -(-node_count // nodes_per_rack)
    inner = node_count if racks is None else racks
    if inner > node_count:
        raise ClusterSpecError(f"racks is {racks}, but there are only {node_count} nodes; give at most {node_count}")
    if zones is not None and zones > inner:
        what = "nodes" if racks is None else "racks"
        raise ClusterSpecError(f"zones is {zones}, but there are only {inner} {what}; give at most {inner}")
    rack_width = max(3, len(str(inner - 1)))
    zone_width = len(str((zones or 1) - 1))
    by_inner: list[dict[str, str]] = []
    for domain in range(inner):
        zone = {} if zones is None else {"zone": f"zone-{domain * zones // inner:0{zone_width}d}"}
        rack = {} if racks is None else {"rack": f"rack-{domain:0{rack_width}d}"}
        by_inner.append(zone | rack)
    return [by_inner[row * inner // node_count] for row in range(node_count)]


def _level_order(place: Mapping[str, str]) -> tuple[str, ...]:
    """Return the levels of a place, outermost first."""
    if all(level in KNOWN_LEVELS for level in place):
        return tuple(level for level in KNOWN_LEVELS if level in place)
    return tuple(place)


def _check_levels(node_ids: Sequence[str], places: Sequence[Mapping[str, str]], levels: tuple[str, ...]) -> None:
    """Raise ClusterSpecError unless every place has exactly ``levels``, each with a name."""
    expected = set(levels)
    for node_id, place in zip(node_ids, places, strict=True):
        if place.keys() != expected:
            raise ClusterSpecError(
                f"node '{node_id}': its topology levels are {_listed(place)}, but those of node '{node_ids[0]}' are "
                f"{_listed(levels)}; give every node the same levels"
            )
        for level in levels:
            if not place[level]:
                raise ClusterSpecError(f"node '{node_id}': its {level} has no name; give every node a {level}")


def _check_tree(node_ids: Sequence[str], places: Sequence[Mapping[str, str]], levels: tuple[str, ...]) -> None:
    """Raise ClusterSpecError unless root, domains and nodes form a tree whose leaves are exactly the nodes."""
    import networkx as nx

    root = ("", "")
    graph: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    graph.add_node(root)
    for domains in dict.fromkeys(tuple(place[level] for level in levels) for place in places):
        nx.add_path(graph, [root, *zip(levels, domains, strict=True)])
    inner = levels[-1]
    graph.add_edges_from(
        ((inner, place[inner]), ("", f"node {node_id}")) for node_id, place in zip(node_ids, places, strict=True)
    )
    if nx.is_arborescence(graph):
        return
    domain = next(vertex for vertex, degree in graph.in_degree() if degree > 1)
    (outer_level, first), (_, second) = list(graph.predecessors(domain))[:2]
    raise ClusterSpecError(
        f"{domain[0]} '{domain[1]}' lies in {outer_level} '{first}' and in {outer_level} '{second}'; give each "
        f"{domain[0]} one {outer_level} and a name of its own, such as '{first}/{domain[1]}'"
    )


def _listed(levels: Mapping[str, str] | tuple[str, ...]) -> str:
    """Return level names for a message."""
    return ", ".join(levels) or "none"

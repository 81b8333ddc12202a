"""Models of a cluster: which nodes it has, where they stand, and when they fail.

``build_cluster("google2019-a:5000?zones=3&racks=40")`` gives the nodes with their topology, and
``machine_failures("fit:google2011", cluster.node_ids, ...)`` a stream of machine events for them.
"""

from eru_sim.cluster_models.failures import machine_failures
from eru_sim.cluster_models.nodes import Cluster, ClusterSpecError, NodeSpec
from eru_sim.cluster_models.outages import Failures
from eru_sim.cluster_models.spec import build_cluster
from eru_sim.cluster_models.topology import Topology, build_topology, lay_out

__all__ = [
    "Cluster",
    "ClusterSpecError",
    "Failures",
    "NodeSpec",
    "Topology",
    "build_cluster",
    "build_topology",
    "lay_out",
    "machine_failures",
]

"""All of it, as a service for `backends.real.service.server`."""

from __future__ import annotations

from backends.real.cluster import LiveCluster
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.eru_v1.errors import translate
from backends.real.service.eru_v1.image_methods import ImageMethods
from backends.real.service.eru_v1.inside_methods import InsideMethods
from backends.real.service.eru_v1.node_methods import NodeMethods
from backends.real.service.eru_v1.placing_methods import PlacingMethods
from backends.real.service.eru_v1.service_methods import ServiceMethods
from backends.real.service.eru_v1.workload_methods import WorkloadMethods
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.server import Service


class EruServicer(ServiceMethods, NodeMethods, PlacingMethods, WorkloadMethods, InsideMethods, ImageMethods):
    """`eru.v1.Eru` over a live cluster that has been started."""


def eru_service(cluster: LiveCluster, options: EruOptions = EruOptions()) -> Service:  # noqa: B008 (immutable)
    """The service."""
    return Service(pb.DESCRIPTOR.services_by_name["Eru"], EruServicer(cluster, options), translate)

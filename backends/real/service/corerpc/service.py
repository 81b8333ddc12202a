"""CoreRPC, put together."""

from __future__ import annotations

from backends.real.cluster import LiveCluster
from backends.real.service.corerpc.context import Context, CoreRpcOptions, translate
from backends.real.service.corerpc.file_methods import FileMethods
from backends.real.service.corerpc.image_methods import ImageMethods
from backends.real.service.corerpc.node_methods import NodeMethods
from backends.real.service.corerpc.stream_methods import StreamMethods
from backends.real.service.pb import corerpc_pb2
from backends.real.service.server import Service


class CoreRpc(NodeMethods, StreamMethods, FileMethods, ImageMethods):
    """All 45 methods over one cluster, which must have been started. `close` it before the server stops."""

    def __init__(self, cluster: LiveCluster, options: CoreRpcOptions = CoreRpcOptions()) -> None:  # noqa: B008 (immutable)
        super().__init__(Context(cluster, options))

    async def close(self) -> None:
        """End what outlived its call. Lambdas go on, and end by themselves."""
        await self.context.close()

    def service(self) -> Service:
        """For `backends.real.service.server.Server`."""
        return Service(corerpc_pb2.DESCRIPTOR.services_by_name["CoreRPC"], self, translate)

"""Images and networks of nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from backends.real.builds.building import build_of_sources, check_builds
from backends.real.builds.spec import Owner, of_message
from backends.real.engines.base import EngineError, Unsupported
from backends.real.errors import Conflict, Missing, Rejected
from backends.real.service.calls import Call
from backends.real.service.eru_v1 import reading, writing
from backends.real.service.eru_v1.context import Methods
from backends.real.service.eru_v1.errors import one_line
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.streams import closing

_IMAGES_MAX = 1000


class ImageMethods(Methods):
    """Every public method is one of the wire's."""

    # -- images -------------------------------------------------------------------------------------------------------

    async def ListImages(self, request: pb.ListImagesRequest, call: Call) -> AsyncIterator[pb.NodeImages]:
        """The images of nodes."""

        async def ask(node_id: str) -> AsyncIterator[pb.NodeImages]:
            try:
                found = await self.cluster.nodes.engine(node_id).images(request.filter)
                yield pb.NodeImages(node_id=node_id, images=[writing.image(image) for image in found])
            except (EngineError, Missing) as error:
                yield pb.NodeImages(node_id=node_id, error=one_line(error))

        async for message in self.merged(ask(node_id) for node_id in self._nodes(request.nodes)):
            yield message

    async def PullImages(self, request: pb.PullImagesRequest, call: Call) -> AsyncIterator[pb.ImageProgress]:
        """Have nodes fetch images."""
        images = _images(request.images)

        async def pull(node_id: str, image: str) -> AsyncIterator[pb.ImageProgress]:
            try:
                async for line in self.cluster.nodes.engine(node_id).pull_image(image):
                    yield pb.ImageProgress(node_id=node_id, image=image, message=line)
                yield pb.ImageProgress(node_id=node_id, image=image, is_done=True)
            except (EngineError, Missing) as error:
                yield _failed(node_id, image, error)

        async for message in self.merged(pull(node, image) for node in self._nodes(request.nodes) for image in images):
            yield message

    async def RemoveImages(self, request: pb.RemoveImagesRequest, call: Call) -> AsyncIterator[pb.ImageProgress]:
        """Remove images from nodes."""
        images = _images(request.images) if request.images or not request.prune else ()

        async def remove(node_id: str) -> AsyncIterator[pb.ImageProgress]:
            for image in images:
                try:
                    lines = await self.cluster.nodes.engine(node_id).remove_image(image, force=request.force)
                    for line in lines:
                        yield pb.ImageProgress(node_id=node_id, image=image, message=line)
                    yield pb.ImageProgress(node_id=node_id, image=image, is_done=True)
                except (EngineError, Missing) as error:
                    yield _failed(node_id, image, error)
            if request.prune:
                try:
                    freed = await self.cluster.nodes.engine(node_id).prune_images()
                    yield pb.ImageProgress(node_id=node_id, message=f"freed {freed} bytes", is_done=True)
                except (EngineError, Missing) as error:
                    yield _failed(node_id, "", error)

        async for message in self.merged(remove(node_id) for node_id in self._nodes(request.nodes)):
            yield message

    async def BuildImage(
        self, requests: AsyncIterator[pb.BuildImageInput], call: Call
    ) -> AsyncIterator[pb.ImageProgress]:
        """Build an image of a context or of sources, or make one of a workload, and push it if wished."""
        first = await anext(requests, None)
        if first is None or not first.HasField("start"):
            raise Rejected("start: it must be in the first message")
        start = first.start
        tags = _images(start.tags, "start.tags")
        builds, owner = of_message(start.builds), Owner(start.user, start.uid)
        platform = reading.text("start.platform", start.platform, 128)
        if start.workload_id:
            if platform:
                raise Rejected("start.platform: a workload has one already; leave it out")
            place = self.cluster.workloads.place(start.workload_id)
            node_id, engine = place.node_id, place.engine
            for tag in tags:
                image_id = await engine.commit_image(place.workload_id, place.generation, tag)
                yield pb.ImageProgress(node_id=node_id, image=tag, message=image_id)
        else:
            settings = check_builds(builds, owner, self.options.git) if start.HasField("builds") else None
            node_id = self._builder(start)
            engine = self.cluster.nodes.engine(node_id)
            if settings is not None:
                steps: AsyncIterator[str] = build_of_sources(engine, tags, builds, owner, settings, platform=platform)
            else:
                steps = engine.build_image(tags, _context(requests), platform=platform)
            async with closing(steps):
                async for line in steps:
                    yield pb.ImageProgress(node_id=node_id, image=tags[0], message=line)
        for tag in tags:
            if start.push:
                async for line in engine.push_image(tag):
                    yield pb.ImageProgress(node_id=node_id, image=tag, message=line)
            yield pb.ImageProgress(node_id=node_id, image=tag, is_done=True)

    def _builder(self, start: pb.BuildImageStart) -> str:
        if start.node_id:
            self.cluster.nodes.record(start.node_id)
            return start.node_id
        if start.pool:
            self.cluster.pools.check(start.pool)
        for view in self.cluster.nodes.list(start.pool):
            engine = self.cluster.gateway.engine(view.node_id)
            if engine is not None and "build" in engine.capabilities:
                return view.node_id
        raise Unsupported("build: none of the nodes that are available can build images")

    # -- networks -----------------------------------------------------------------------------------------------------

    async def ListNetworks(self, request: pb.ListNetworksRequest, call: Call) -> AsyncIterator[pb.NodeNetworks]:
        """The networks of nodes."""

        async def ask(node_id: str) -> AsyncIterator[pb.NodeNetworks]:
            try:
                found = await self.cluster.nodes.engine(node_id).networks(request.driver)
                yield pb.NodeNetworks(node_id=node_id, networks=[writing.network(network) for network in found])
            except (EngineError, Missing) as error:
                yield pb.NodeNetworks(node_id=node_id, error=one_line(error))

        async for message in self.merged(ask(node_id) for node_id in self._nodes(request.nodes)):
            yield message

    async def ConnectNetwork(self, request: pb.ConnectNetworkRequest, call: Call) -> pb.ConnectNetworkResponse:
        """Join a workload to a network."""
        place = self.cluster.workloads.place(request.workload_id)
        address = await place.engine.connect(
            _network(request.network), place.workload_id, place.generation, request.address
        )
        return pb.ConnectNetworkResponse(address=address)

    async def DisconnectNetwork(self, request: pb.DisconnectNetworkRequest, call: Call) -> pb.DisconnectNetworkResponse:
        """Take a workload out of a network."""
        place = self.cluster.workloads.place(request.workload_id)
        await place.engine.disconnect(
            _network(request.network), place.workload_id, place.generation, force=request.force
        )
        return pb.DisconnectNetworkResponse()

    def _nodes(self, choice: pb.NodeChoice) -> list[str]:
        """The names of the nodes that are meant."""
        reading.few("nodes.node_ids", choice.node_ids)
        if choice.node_ids and choice.pool:
            raise Conflict("nodes: name nodes or a pool, not both")
        for node_id in choice.node_ids:
            self.cluster.nodes.record(node_id)
        if choice.node_ids:
            return list(dict.fromkeys(choice.node_ids))
        if choice.pool:
            self.cluster.pools.check(choice.pool)
        return [view.node_id for view in self.cluster.nodes.list(choice.pool, with_down=True)]


def _images(given: object, field: str = "images") -> tuple[str, ...]:
    names = reading.ids(field, list(given))  # type: ignore[call-overload] # repeated strings
    if len(names) > _IMAGES_MAX:
        raise Rejected(f"{field}: {len(names)} are more than {_IMAGES_MAX}")
    return tuple(reading.text(field, name, 1024) for name in names)


def _failed(node_id: str, image: str, error: Exception) -> pb.ImageProgress:
    return pb.ImageProgress(node_id=node_id, image=image, is_done=True, error=one_line(error))


def _network(name: str) -> str:
    if not name:
        raise Rejected("network: name one")
    return reading.text("network", name)


async def _context(requests: AsyncIterator[pb.BuildImageInput]) -> AsyncIterator[bytes]:
    async for message in requests:
        if message.WhichOneof("input") != "context":
            raise Rejected("context: only pieces of a tar may come after the start")
        yield message.context

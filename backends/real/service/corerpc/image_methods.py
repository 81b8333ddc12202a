"""Images on nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backends.real.builds.building import build_of_sources, check_builds
from backends.real.builds.spec import Owner, of_message
from backends.real.engines.base import Engine
from backends.real.service.calls import Call
from backends.real.service.corerpc.context import REFUSALS, Methods
from backends.real.service.corerpc.errors import WireError
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.streams import closing

_TAR_PIECE = 256 * 1024
_TAGS_MAX = 100


class ImageMethods(Methods):
    """See the module. Every public method is one of the wire's."""

    def CacheImage(self, request: pb.CacheImageOptions, call: Call) -> AsyncIterator[pb.CacheImageMessage]:
        """Fetch images to nodes."""
        nodes, images = self._nodes(request.podname, request.nodenames), _images(request.images)
        pairs = [(node_id, image) for node_id in nodes for image in images]
        return self.context.merged(self._cache(node_id, image) for node_id, image in pairs)

    async def _cache(self, node_id: str, image: str) -> AsyncIterator[pb.CacheImageMessage]:
        message = ""
        try:
            async for line in self.cluster.nodes.engine(node_id).pull_image(image):
                message = line
        except REFUSALS as error:
            yield pb.CacheImageMessage(image=image, nodename=node_id, message=str(error))
            return
        yield pb.CacheImageMessage(image=image, nodename=node_id, success=True, message=message)

    def RemoveImage(self, request: pb.RemoveImageOptions, call: Call) -> AsyncIterator[pb.RemoveImageMessage]:
        """Remove images from nodes; with ``prune`` also what nobody uses."""
        nodes, images = self._nodes(request.podname, request.nodenames), _images(request.images)

        async def one(node_id: str) -> AsyncIterator[pb.RemoveImageMessage]:
            for image in images:
                try:
                    removed = await self.cluster.nodes.engine(node_id).remove_image(image)
                except REFUSALS as error:
                    yield pb.RemoveImageMessage(image=image, messages=[f"{node_id}: {error}"])
                else:
                    yield pb.RemoveImageMessage(image=image, success=True, messages=removed)
            if request.prune:
                try:
                    await self.cluster.nodes.engine(node_id).prune_images()
                except REFUSALS as error:
                    yield pb.RemoveImageMessage(messages=[f"{node_id}: {error}"])

        return self.context.merged(one(node_id) for node_id in nodes)

    def ListImage(self, request: pb.ListImageOptions, call: Call) -> AsyncIterator[pb.ListImageMessage]:
        """The images of nodes."""
        nodes = self._nodes(request.podname, request.nodenames)

        async def one(node_id: str) -> AsyncIterator[pb.ListImageMessage]:
            try:
                images = await self.cluster.nodes.engine(node_id).images(request.filter)
            except REFUSALS as error:
                yield pb.ListImageMessage(nodename=node_id, err=str(error))
                return
            items = [pb.ImageItem(id=image.image_id, tags=image.tags) for image in images]
            yield pb.ListImageMessage(nodename=node_id, images=items)

        return self.context.merged(one(node_id) for node_id in nodes)

    async def BuildImage(self, request: pb.BuildImageOptions, call: Call) -> AsyncIterator[pb.BuildImageMessage]:
        """Build from sources or a tar, or make an image of a workload; then send every tag to its registry."""
        tags = _tags(request.name, request.tags)
        if request.build_method == pb.BuildImageOptions.RAW:
            engine, steps = self._build(request, tags)
        elif request.build_method == pb.BuildImageOptions.EXIST:
            engine, steps = self._commit(request, tags)
        else:
            engine, steps = self._build_of_sources(request, tags)
        try:
            async with closing(steps):
                async for line in steps:
                    yield pb.BuildImageMessage(stream=line)
            for tag in tags:
                async for line in engine.push_image(tag):
                    yield pb.BuildImageMessage(status=line)
                yield pb.BuildImageMessage(id=tag, status="finished", progress=tag)
        except REFUSALS as error:
            detail = pb.ErrorDetail(message=str(error))
            yield pb.BuildImageMessage(error=str(error), error_detail=detail)

    def _build(self, request: pb.BuildImageOptions, tags: Sequence[str]) -> tuple[Engine, AsyncIterator[str]]:
        engine = self._builder()
        if not request.tar:
            raise WireError("tar: it is missing")
        return engine, engine.build_image(tags, _pieces(request.tar), platform=request.platform)

    def _build_of_sources(
        self, request: pb.BuildImageOptions, tags: Sequence[str]
    ) -> tuple[Engine, AsyncIterator[str]]:
        builds, owner = of_message(request.builds), Owner(request.user, request.uid)
        settings = check_builds(builds, owner, self.context.options.git)
        engine = self._builder()
        return engine, build_of_sources(engine, tags, builds, owner, settings, platform=request.platform)

    def _builder(self) -> Engine:
        pool = self.context.options.build_pool
        if not pool:
            raise WireError("build_method: no pod is set up to build on; start the service with --build-pool")
        self.cluster.pools.check(pool)
        return self.cluster.nodes.engine(self._most_idle(pool))

    def _commit(self, request: pb.BuildImageOptions, tags: Sequence[str]) -> tuple[Engine, AsyncIterator[str]]:
        place = self.cluster.workloads.place(request.exist_id)

        async def commit() -> AsyncIterator[str]:
            yield await place.engine.commit_image(place.workload_id, place.generation, tags[0])

        return place.engine, commit()

    def _most_idle(self, pool: str) -> str:
        """The node of which the smallest part is used, of all dimensions together; the first of several."""
        views = self.cluster.nodes.list(pool)
        if not views:
            raise WireError(f"build_method: no node of {pool} can be used")

        def usage(node_id: str) -> float:
            amounts = self.cluster.nodes.resources(node_id).dimensions.values()
            return sum(amount.used / amount.total for amount in amounts if amount.total)

        return min((view.node_id for view in views), key=usage)

    def _nodes(self, pool: str, node_ids: Sequence[str]) -> list[str]:
        """The nodes that are named, or else those of the pod that can be used."""
        if node_ids:
            for node_id in node_ids:
                self.cluster.nodes.record(node_id)
            return list(dict.fromkeys(node_ids))
        self.cluster.pools.check(pool)
        return [view.node_id for view in self.cluster.nodes.list(pool)]


def _images(images: Sequence[str]) -> list[str]:
    if not images:
        raise WireError("images: there are none")
    if not all(images):
        raise WireError("images: one is empty")
    return list(dict.fromkeys(images))


def _tags(name: str, tags: Sequence[str]) -> list[str]:
    """Whole references: a tag that is none belongs to the image of that name."""
    if len(tags) > _TAGS_MAX:
        raise WireError(f"tags: {len(tags)} are more than {_TAGS_MAX}")
    whole = [tag if ":" in tag or "/" in tag else f"{name}:{tag}" for tag in tags]
    if not whole and name:
        whole = [name if ":" in name else f"{name}:latest"]
    if not whole or any(reference.startswith(":") or not reference for reference in whole):
        raise WireError("name: it is missing")
    return list(dict.fromkeys(whole))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _TAR_PIECE):
        yield data[start : start + _TAR_PIECE]

"""Networks and images of a Docker node."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Iterator

import pytest
from docker_kit import IMAGE, DockerRig, logged, said
from engine_contract import ended, on_node
from testbed_kit import BedNode, find_registry, private_node_up

from backends.real.engines.base import (
    EngineError,
    NotFound,
)


@pytest.fixture
def node(private_node: BedNode) -> Iterator[DockerRig]:
    rig = DockerRig(private_node)
    yield rig
    rig.clean()


@pytest.fixture
def network(node: DockerRig) -> Iterator[str]:
    name = f"net-{node.core_id}"
    ipam = {"Config": [{"Subnet": "172.29.5.0/24"}]}
    node.call("POST", "/networks/create", {"Name": name, "Driver": "bridge", "IPAM": ipam})
    yield name
    node.clean()
    node.call("DELETE", f"/networks/{name}")


@on_node
async def test_networks_with_fixed_addresses(node: DockerRig, network: str) -> None:
    async with node.adapter() as engine:
        listed = {found.name: found for found in await engine.networks("bridge")}
        assert listed[network].subnets == ("172.29.5.0/24",)
        assert "host" not in listed
        assert [found.name for found in await engine.networks("host")] == ["host"]

        first = await engine.start(node.spec("web", networks={network: "172.29.5.9", "bridge": ""}))
        assert first.networks[network] == "172.29.5.9"
        assert first.networks["bridge"].startswith("172.30.0.")
        await engine.start(node.spec("db", networks={"none": ""}, command=("http", "80")))
        await engine.disconnect("none", "db", 1)
        assert await engine.connect(network, "db", 1, "172.29.5.77") == "172.29.5.77"
        assert await engine.connect(network, "db", 1, "172.29.5.77") == "172.29.5.77"
        assert await engine.connect(network, "db", 1) == "172.29.5.77"
        with pytest.raises(EngineError, match="already"):
            await engine.connect(network, "db", 1, "172.29.5.78")
        with pytest.raises(EngineError):
            await engine.start(node.spec("late", networks={network: "172.29.5.9"}))
        assert "ok" in await said(engine, "web", "wget", "-qO-", "http://172.29.5.77/health")

        await engine.disconnect(network, "db", 1, force=True)
        await engine.disconnect(network, "db", 1)
        assert network not in (await engine.inspect("db", 1)).networks
        with pytest.raises(NotFound):
            await engine.connect("nowhere", "db", 1)
        assert await engine.connect(network, "db", 1) not in ("", "172.29.5.9")


@on_node
async def test_the_node_s_own_network(node: DockerRig) -> None:
    async with node.adapter() as engine:
        await engine.start(node.spec("web", networks={"host": ""}))
        assert node.node.address in await said(engine, "web", "ip", "address")


MADE = b'FROM busybox:local\nRUN echo built > /made\nCMD ["cat", "/made"]\n'


async def context(dockerfile: bytes) -> AsyncIterator[bytes]:
    """A tar with a Dockerfile and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    yield buffer.getvalue()


@on_node
async def test_images_are_built_listed_kept_and_removed(node: DockerRig) -> None:
    tag = f"built-{node.core_id}:1"
    async with node.adapter() as engine:
        lines = [line async for line in engine.build_image([tag, f"{tag}b"], context(MADE))]
        assert any("Successfully built" in line for line in lines)
        assert [image.tags for image in await engine.images(tag)] == [(tag, f"{tag}b")]
        await engine.start(node.spec("job", image=tag))
        await ended(engine, "job")
        assert await logged(engine, "job") == "built\n"

        copied = await engine.commit_image("job", 1, f"{tag}c")
        assert [image.image_id for image in await engine.images(f"{tag}c")] == [copied]
        (built,) = await engine.images(f"{tag}b")
        with pytest.raises(EngineError, match="conflict"):
            await engine.remove_image(built.image_id)
        await engine.stop("job", 1, keep=False)
        for name in (tag, f"{tag}b", f"{tag}c"):
            assert name in await engine.remove_image(name)
        assert await engine.images(f"built-{node.core_id}") == []
        assert await engine.prune_images() >= 0
        with pytest.raises(NotFound):
            await engine.remove_image(tag)


@on_node
async def test_a_build_that_fails(node: DockerRig) -> None:
    async with node.adapter() as engine:
        with pytest.raises(EngineError, match="3"):
            [line async for line in engine.build_image(["x"], context(b"FROM busybox:local\nRUN exit 3\n"))]


@on_node
async def test_a_build_for_a_platform(node: DockerRig) -> None:
    tag, empty = f"built-{node.core_id}:platform", b"FROM scratch\nCOPY Dockerfile /\n"
    async with node.adapter() as engine:
        lines = [line async for line in engine.build_image([tag], context(empty), platform="linux/s390x")]
        assert any("Successfully built" in line for line in lines)
        made = node.call("GET", f"/images/{tag}/json")
        assert (made["Os"], made["Architecture"]) == ("linux", "s390x")
        await engine.remove_image(tag)
        with pytest.raises(EngineError, match="platform"):
            [line async for line in engine.build_image([tag], context(empty), platform="no/such/thing/at/all")]


@pytest.fixture
def second_node(private_node: BedNode) -> Iterator[BedNode]:
    with private_node_up() as node:
        yield node


@on_node
async def test_images_come_from_a_registry(node: DockerRig, second_node: BedNode) -> None:
    image = f"{find_registry()}/test/{node.core_id}:1"
    other = DockerRig(second_node)
    async with node.adapter() as engine, other.adapter() as second:
        node.call("POST", f"/images/{IMAGE}/tag?repo={image.rpartition(':')[0]}&tag=1")
        assert [line async for line in engine.push_image(image)]
        try:
            with pytest.raises(NotFound):
                await second.start(other.spec("web", image=image, pull="never"))
            await second.start(other.spec("web", image=image))
            await second.stop("web", 1, keep=False, grace_ns=0)
            await second.start(other.spec("web", image=image, pull="always"))
            await second.stop("web", 1, keep=False, grace_ns=0)
            assert any("up to date" in line for line in [line async for line in second.pull_image(image)])
            with pytest.raises(EngineError):
                [line async for line in second.pull_image(f"{image}x")]
            with pytest.raises(EngineError):
                await second.start(other.spec("web", image=f"{image}x"))
            assert await second.instances() == []
        finally:
            other.clean()
            await second.remove_image(image)
            await engine.remove_image(image)

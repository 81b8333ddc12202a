"""Docker does what every engine must, over its socket and over TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker_kit import DockerRig
from engine_contract import EngineContract
from testbed_kit import BedNode


class TestDockerContract(EngineContract):
    @pytest.fixture(params=["socket", "tls"])
    def node(self, request: pytest.FixtureRequest, private_node: BedNode) -> Iterator[DockerRig]:
        rig = DockerRig(private_node, is_remote=request.param == "tls")
        yield rig
        rig.clean()

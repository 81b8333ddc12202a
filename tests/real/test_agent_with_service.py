"""The agent and our own service, over real Docker: what operators see through CoreRPC."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from agent_process_kit import INTERVAL_S, TTL_S, AgentProcess, wait_for
from docker_kit import DockerRig
from service_core_kit import ServiceCore, pb, service_core
from testbed_kit import BedNode


class Site:
    """A node, the service that knows it, and an agent on it."""

    def __init__(self, node: BedNode, directory: Path, stack: ExitStack, **settings: Any) -> None:
        self.rig = DockerRig(node)
        self.hostname = f"{node.name}-{self.rig.core_id[:6]}"
        # The rig removes the containers of every core of which it made an engine.
        self.rig._cores.append(self.rig.core_id)
        stack.callback(self.rig.clean)
        self.core: ServiceCore = stack.enter_context(
            service_core(directory, node, hostname=self.hostname, core_id=self.rig.core_id)
        )
        self.agent = AgentProcess(node, self.core.address, directory / "agent", hostname=self.hostname, **settings)
        stack.enter_context(self.agent)
        wait_for(lambda: self.core.alive(self.hostname))


@pytest.fixture
def site(private_node: BedNode, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(private_node, tmp_path, stack, **getattr(request, "param", {}))


def test_a_deployed_workload_is_reported_by_its_health(site: Site) -> None:
    good = site.core.deploy("good", "http", "80", healthcheck=pb.HealthCheckOptions(http_port="80", url="/health"))
    bad = site.core.deploy("bad", "http", "80", healthcheck=pb.HealthCheckOptions(tcp_ports=["81"]))
    wait_for(lambda: site.core.state(good) == (True, True))
    time.sleep(INTERVAL_S)
    assert site.core.state(bad) == (True, False)

    turns = site.core.deploy(
        "turns", "http", "80", "unhealthy", "3",
        healthcheck=pb.HealthCheckOptions(http_port="80", url="/health", code=200),
    )  # fmt: skip
    wait_for(lambda: site.core.state(turns) == (True, True))
    wait_for(lambda: site.core.state(turns) == (True, False))


def test_a_killed_agent_lets_the_node_go_and_the_next_one_brings_it_back(site: Site) -> None:
    workload_id = site.core.deploy("web", "listen", "80", healthcheck=pb.HealthCheckOptions(tcp_ports=["80"]))
    wait_for(lambda: site.core.state(workload_id) == (True, True))
    site.agent.kill()
    wait_for(lambda: not site.core.alive(site.hostname), TTL_S + 5)
    wait_for(lambda: site.core.state(workload_id) == (False, False), 5)
    assert site.core.lapses == [site.hostname]

    site.agent.start()
    wait_for(lambda: site.core.alive(site.hostname))
    wait_for(lambda: site.core.state(workload_id) == (True, True), 10)


@pytest.mark.parametrize("site", [{"heartbeat_interval": 10}], indirect=True)
def test_a_hand_over_is_noticed_by_nobody(site: Site) -> None:
    workload_id = site.core.deploy("web", "listen", "80")
    wait_for(lambda: site.core.state(workload_id) == (True, True))
    site.agent.signal(signal.SIGUSR1)
    said = len(site.agent.log)
    site.agent.start()
    wait_for(lambda: "the agent begins" in site.agent.log[said:])
    time.sleep(1)
    assert site.core.alive(site.hostname)
    assert site.core.lapses == []
    assert site.core.state(workload_id) == (True, True)


def test_a_good_bye_lets_the_node_go_at_once(site: Site) -> None:
    site.agent.signal(signal.SIGTERM)
    assert not site.core.alive(site.hostname)


def test_stop_restart_and_removal_are_followed(site: Site) -> None:
    workload_id = site.core.deploy("web", "listen", "80", healthcheck=pb.HealthCheckOptions(tcp_ports=["80"]))
    wait_for(lambda: site.core.state(workload_id) == (True, True))
    site.core.control(workload_id, "stop")
    wait_for(lambda: site.core.state(workload_id) == (False, False))
    site.core.control(workload_id, "start")
    wait_for(lambda: site.core.state(workload_id) == (True, True))
    site.core.control(workload_id, "restart")
    wait_for(lambda: site.core.state(workload_id) == (True, True))
    other = site.core.deploy("web", "listen", "80")
    wait_for(lambda: site.core.state(other) == (True, True))
    site.core.remove(workload_id)
    time.sleep(INTERVAL_S + 1)
    assert site.core.state(other) == (True, True)
    assert "level=error" not in site.agent.log

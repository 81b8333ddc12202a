"""What Docker is told of a template and of engine arguments. Needs no Docker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.real.engines import docker_config as config
from backends.real.engines.base import EngineError, InstanceSpec
from backends.real.engines.docker_records import (
    docker_time,
    generation_of,
    image_reference,
    starting_name,
    time_ns,
)
from backends.real.meta import LABEL_META
from backends.real.template import Hooks, Template
from scheduler.commands import StartWorkload
from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig
from scheduler.events import NodeJoined
from scheduler.plugins.registry import make_plugin
from scheduler.ports import Dimension
from scheduler.testing import Harness


def _creation(template: Template | None = None, **engine_args: Any) -> dict[str, Any]:
    spec = InstanceSpec(
        workload_id="web",
        generation=1,
        node_id="n",
        image="i",
        template=template or Template(),
        engine_args=engine_args,
    )
    return config.creation(spec, "core")


def test_what_plugins_say_is_what_docker_is_told() -> None:
    core = CoreConfig(
        dimensions=(CPU, MEMORY, Dimension("storage", "bytes")),
        plugins=tuple(PluginConfig(name) for name in ("cpu", "storage", "gpu")),
    )
    harness = Harness(core, plugins=[make_plugin(name) for name in ("cpu", "storage", "gpu")])
    disk = {"device": "/dev/sda", "mounts": ["/data0", "/srv"], "read_iops": 1000, "write_bps": "1G"}
    harness.step(
        NodeJoined(
            node_id="n0",
            capacity={},
            resources={
                "cpu": {"cores": 4, "memory": "8G", "numa": ["0-1", "2-3"]},
                "gpu": {"model": "A10", "count": 2},
                "storage": {"volumes": {"/data0": "50G"}, "disks": [disk], "storage": "10G"},
            },
        )
    )
    payloads = {
        "cpu": {"bind": True, "cpu_request": 1.5, "memory_limit": "1G"},
        "gpu": {"milli": 500},
        "storage": {"volumes": ["AUTO:/data:rw:10G:0:0:0:10M", "/srv/x:/etc/x:ro:0:5:0:0:0"], "storage": "1G"},
    }
    start = harness.submit("web", 0, 0, 0, payloads=payloads)[0]
    assert isinstance(start, StartWorkload)
    assert start.engine_args is not None
    host = _creation(**start.engine_args)["HostConfig"]
    assert (host["CpusetCpus"], host["CpusetMems"], host["CpuShares"], host["CpuQuota"]) == ("0,1", "0", 512, -1)
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (1 << 30, 1 << 30, 1 << 29)
    assert host["Binds"] == ["/data0:/data:rw", "/srv/x:/etc/x:ro"]
    assert host["BlkioDeviceWriteBps"] == [{"Path": "/dev/sda", "Rate": 10 << 20}]
    assert host["BlkioDeviceReadIOps"] == [{"Path": "/dev/sda", "Rate": 5}]
    assert host["DeviceRequests"] == [{"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpus", 1),
        ("cpu_quota", "much"),
        ("cpuset_cpus", 3),
        ("memory_bytes", 1000),
        ("volumes", ["/data"]),
        ("volumes", ["/a:b"]),
        ("volumes", ["/a:/b:rw:large"]),
        ("volumes", ["/a:/b:rw:5:6"]),
        ("io_limits", {"/dev/sda": {"seek_iops": 1}}),
        ("io_limits", {"/dev/sda": 1}),
        ("gpu_devices", "0"),
        ("gpu_milli", [1.5]),
        ("storage_bytes", "1G"),
    ],
)
def test_a_wrong_argument_is_named(key: str, value: Any) -> None:
    with pytest.raises(EngineError, match=f"engine argument '{key}': "):
        _creation(**{key: value})


def test_volumes_in_all_forms() -> None:
    volumes = ["/a:/b", "/a:/c:r", "/a:/d:w:10", "name:/e:rwo", "tmpfs:/f:rw:4096", "tmpfs:/g"]
    host = _creation(Template(engine={"volumes": ["/x:/y:ro", "other:/z"]}), volumes=volumes)["HostConfig"]
    assert host["Binds"] == ["/a:/b:rw", "/a:/c:ro", "/a:/d:rw", "name:/e:rw"]
    assert host["Tmpfs"] == {"/f": "rw,size=4096", "/g": "rw"}
    assert [(mount["Type"], mount["Target"], mount["ReadOnly"]) for mount in host["Mounts"]] == [
        ("bind", "/y", True),
        ("volume", "/z", False),
    ]


def test_no_limit_of_memory() -> None:
    assert "Memory" not in _creation(memory_bytes=0)["HostConfig"]
    assert config.parse_arguments({"memory_bytes": 0}).resources["Memory"] == config.UNLIMITED_BYTES
    found = config.resources_of({"Memory": 0, "CpuQuota": 0}, ["Memory", "CpuQuota"])
    assert found == {**config.parse_arguments({"memory_bytes": 0}).resources, "CpuQuota": -1}


@pytest.mark.parametrize(
    ("networks", "publish", "expected"),
    [
        ({}, ("80",), {}),
        ({"host": ""}, ("80",), {"NetworkMode": "host", "PortBindings": {}}),
        (
            {"bridge": ""},
            ("80", "53/udp"),
            {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": "80"}], "53/udp": [{"HostPort": "53"}]}},
        ),
        ({"net": "10.0.0.9", "more": ""}, (), {"NetworkMode": "net", "PortBindings": {}}),
    ],
)
def test_networks(networks: dict[str, str], publish: tuple[str, ...], expected: dict[str, Any]) -> None:
    template = Template(networks=networks, publish=publish)
    body = _creation(template)
    assert {
        key: value for key, value in body["HostConfig"].items() if key in ("NetworkMode", "PortBindings")
    } == expected
    if "net" in networks:
        endpoints = body["NetworkingConfig"]["EndpointsConfig"]
        assert endpoints == {"net": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}
        assert config.more_networks(template) == {"more": ""}


def test_no_fixed_address_in_the_network_of_the_node() -> None:
    with pytest.raises(EngineError, match="host"):
        _creation(Template(networks={"host": "10.0.0.1"}))


@pytest.mark.parametrize("text", ["sometimes", "always:3", "on-failure:x", ""])
def test_a_wrong_restart_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="restart"):
        _creation(Template(restart=text))


def test_restarts() -> None:
    assert config.restart_policy("on-failure:3") == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert config.restart_policy("unless-stopped") == {"Name": "unless-stopped", "MaximumRetryCount": 0}


def test_raw_arguments_of_the_template() -> None:
    engine = {
        "cap_add": ["NET_ADMIN"], "ulimits": {"nofile": [10, 20]}, "pid_mode": "host", "runtime": "runc",
        "storage_opt": {"size": "1G"}, "stop_signal": "SIGINT", "stdin_once": True,
    }  # fmt: skip
    body = _creation(Template(engine=engine))
    assert body["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert (body["HostConfig"]["PidMode"], body["StopSignal"], body["StdinOnce"]) == ("host", "SIGINT", True)
    with pytest.raises(EngineError, match="privilege"):
        _creation(Template(engine={"privilege": 1}))


def test_labels_tell_whose_it_is_and_how_to_stop_it() -> None:
    template = Template(
        stop_grace_ns=5, hooks=Hooks(before_stop=("sync",), force=True), restart="always", labels={"eru.core": "forged"}
    )
    labels = _creation(template)["Labels"]
    assert (labels["eru.core"], labels["eru.workload"], labels["eru.generation"], labels["eru.nodename"]) == (
        "core", "web", "1", "n",
    )  # fmt: skip
    assert msgspec.json.decode(labels[LABEL_META]) == {"Publish": [], "HealthCheck": None}
    assert config.stop_rules(labels) == config.StopRules(
        grace_ns=5, before_stop=("sync",), force=True, restart="always"
    )
    assert config.stop_rules({}) == config.stop_rules({config.LABEL_STOP: "?"}) == config.StopRules()


def test_names_tell_the_generation() -> None:
    assert generation_of("web.0.g12", {}) == (12, None)
    assert generation_of(starting_name("web/0", 2, 77), {}) == (2, 77)
    assert generation_of("renamed", {"eru.generation": "3"}) == (3, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001-01-01T00:00:00Z", 0),
        ("2020-01-01T00:00:00Z", 1577836800 * 10**9),
        ("2020-01-01T00:00:00.000000001Z", 1577836800 * 10**9 + 1),
        ("2020-01-01T01:00:00.5+01:00", 1577836800 * 10**9 + 5 * 10**8),
        ("line", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert time_ns(text) == expected


def test_a_time_is_told_to_the_nanosecond() -> None:
    assert docker_time(1577836800 * 10**9 + 1) == "1577836800.000000001"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", ("busybox", "latest")),
        ("busybox:1", ("busybox", "1")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:v", ("host:5000/a/b", "v")),
        ("a@sha256:0", ("a@sha256:0", "")),
    ],
)
def test_references_of_images(image: str, expected: tuple[str, str]) -> None:
    assert image_reference(image) == expected

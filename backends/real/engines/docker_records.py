"""What Docker tells of containers, in the words of the port. Pure.

Theory of operation of names. A container cannot be given other labels, so its name says what changes: the present
generation, and whether that has been brought to an end of its start. ``web.g2.starting-<ns>`` is one whose start is
under way: a container that was kept, renamed but not yet started again, or one whose hooks have not all been
run. The number is when the container had last been started before, so whoever finds it knows whether it was since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from backends.real.engines.base import (
    LABEL_GENERATION,
    LABEL_WORKLOAD,
    Image,
    Instance,
    Network,
    Usage,
    instance_name,
)

_NAME = re.compile(r".+\.g([0-9]+)(?:\.starting-([0-9]+))?")
_TIME = re.compile(r"(\d+-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_STATES: Mapping[str, Literal["created", "running", "paused", "exited"]] = {
    "created": "created",
    "running": "running",
    "restarting": "running",
    "paused": "paused",
}


class Record(NamedTuple):
    """A container of ours. ``started_before_ns`` is None but for one whose start is under way."""

    container: Mapping[str, Any]
    instance: Instance
    started_before_ns: int | None

    @property
    def image(self) -> str:
        """The image it was created from, as that was named."""
        return str(self.container["Config"]["Image"])

    @property
    def host(self) -> Mapping[str, Any]:
        """Its HostConfig."""
        found: Mapping[str, Any] = self.container["HostConfig"]
        return found

    @property
    def is_started(self) -> bool:
        """Whether it has been started as the generation that it is now."""
        return self.instance.started_at_ns > (self.started_before_ns or 0)


def starting_name(workload_id: str, generation: int, started_before_ns: int = 0) -> str:
    """The name of a container while its start is under way."""
    return f"{instance_name(workload_id, generation)}.starting-{started_before_ns}"


def generation_of(name: str, labels: Mapping[str, str]) -> tuple[int, int | None]:
    """The generation, and `Record.started_before_ns`; by its labels where somebody gave it another name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return int(labels.get(LABEL_GENERATION, "0")), None
    return int(match[1]), None if match[2] is None else int(match[2])


def record_of(container: Mapping[str, Any]) -> Record:
    """A container as Docker shows it in detail."""
    state = container["State"]
    name = str(container["Name"]).removeprefix("/")
    labels: Mapping[str, str] = container["Config"].get("Labels") or {}
    generation, started_before_ns = generation_of(name, labels)
    kind = _STATES.get(state["Status"], "exited")
    started_at_ns = time_ns(state["StartedAt"])
    if kind == "exited" and started_before_ns is not None and started_at_ns <= started_before_ns:
        kind = "created"
    endpoints: Mapping[str, Any] = container["NetworkSettings"].get("Networks") or {}
    instance = Instance(
        workload_id=labels.get(LABEL_WORKLOAD, container["Id"]),
        generation=generation,
        state=kind,
        engine_id=container["Id"],
        name=name,
        exit_code=state["ExitCode"] if kind == "exited" else None,
        pid=state["Pid"],
        image=container["Config"]["Image"],
        networks={network: address_of(found) for network, found in sorted(endpoints.items())},
        labels=labels,
        started_at_ns=started_at_ns,
        restarts=container.get("RestartCount", 0),
    )
    return Record(container, instance, started_before_ns)


def address_of(endpoint: Mapping[str, Any]) -> str:
    """The address on a network: the one it has, else the one that it is to have, else ""."""
    wanted = endpoint.get("IPAMConfig") or {}
    return (
        endpoint.get("IPAddress")
        or endpoint.get("GlobalIPv6Address")
        or wanted.get("IPv4Address")
        or wanted.get("IPv6Address")
        or ""
    )


def usage_of(stats: Mapping[str, Any]) -> Usage:
    """What Docker's statistics say. Memory is without the cache that could be given up, as ``docker stats`` has it."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = memory.get("usage", 0)
    networks = (stats.get("networks") or {}).values()
    io = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return Usage(
        cpu_ns=stats["cpu_stats"]["cpu_usage"]["total_usage"],
        memory_bytes=used - cache if cache < used else used,
        network_received_bytes=sum(network["rx_bytes"] for network in networks),
        network_sent_bytes=sum(network["tx_bytes"] for network in networks),
        io_read_bytes=sum(entry["value"] for entry in io if entry["op"].lower() == "read"),
        io_written_bytes=sum(entry["value"] for entry in io if entry["op"].lower() == "write"),
    )


def image_of(image: Mapping[str, Any]) -> Image:
    """An image of a list."""
    tags = tuple(tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>")
    return Image(image_id=image["Id"], tags=tags, size_bytes=image["Size"])


def network_of(network: Mapping[str, Any]) -> Network:
    """A network of a list."""
    configured = network["IPAM"].get("Config") or ()
    subnets = tuple(pool["Subnet"] for pool in configured if pool.get("Subnet"))
    return Network(name=network["Name"], driver=network["Driver"], subnets=subnets)


def time_ns(text: str) -> int:
    """Nanoseconds since 1970 of a time as Docker writes it; 0 for its "never" and for what is none."""
    match = _TIME.fullmatch(text)
    if match is None or match[1].startswith("0001"):
        return 0
    whole = int(datetime.fromisoformat(f"{match[1]}{match[3].replace('Z', '+00:00')}").timestamp())
    return whole * 10**9 + int((match[2] or "").ljust(9, "0"))


def docker_time(at_ns: int) -> str:
    """A time as Docker reads it, to the nanosecond."""
    return f"{at_ns // 10**9}.{at_ns % 10**9:09d}"


def image_reference(image: str) -> tuple[str, str]:
    """An image's repository and tag, as a pull wants them; an image by digest has no tag."""
    if "@" in image:
        return image, ""
    name, separator, tag = image.rpartition(":")
    return (name, tag) if separator and "/" not in tag else (image, "latest")

"""What Docker is told of a workload: its template and its engine arguments as bodies of the Engine API. Pure.

| engine argument | Docker |
|---|---|
| cpuset_cpus, cpuset_mems | the same |
| cpu_period, cpu_quota, cpu_shares | the same; a quota of -1 is none |
| memory_bytes | memory, the same with swap (so no swap), half of it as reservation; 0 is no limit |
| volumes | binds: a path, or a volume's name; from ``tmpfs`` one of that size, no other size is enforced |
| io_limits | limits of block devices: operations and bytes a second, read and written |
| gpu_devices | a device request to the driver nvidia, by device id |
| gpu_milli, storage_bytes | nothing: Docker cannot enforce them; for own files ``storage_opt`` of the template may |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backends.real.cgroups import UNLIMITED_BYTES
from backends.real.engines.base import (
    LABEL_CORE,
    LABEL_GENERATION,
    LABEL_TEMPLATE,
    LABEL_WORKLOAD,
    EngineError,
    InstanceSpec,
)
from backends.real.meta import environment_of, labels_of
from backends.real.template import Template, digest

LABEL_STOP = "eru.stop"
"""How to stop the instance, as JSON of `StopRules`: then its template is not needed."""

IO_KEYS = {
    "read_iops": "BlkioDeviceReadIOps",
    "write_iops": "BlkioDeviceWriteIOps",
    "read_bps": "BlkioDeviceReadBps",
    "write_bps": "BlkioDeviceWriteBps",
}
_MEMORY = ("Memory", "MemorySwap", "MemoryReservation")
_MEMORY_MIN = 6 << 20
_USUAL_SHARES = 1024
_RESERVATION_MIN = 4 << 20
_ARGUMENTS = (
    "cpuset_cpus", "cpuset_mems", "cpu_period", "cpu_quota", "cpu_shares", "memory_bytes", "volumes", "io_limits",
    "storage_bytes", "gpu_devices", "gpu_milli",
)  # fmt: skip
_PLAIN = {
    "cpuset_cpus": ("CpusetCpus", str),
    "cpuset_mems": ("CpusetMems", str),
    "cpu_period": ("CpuPeriod", int),
    "cpu_quota": ("CpuQuota", int),
    "cpu_shares": ("CpuShares", int),
}
_VOLUME = re.compile(r"([^:]+):(/[^:]*)(?::([a-z]*)(?::([0-9]+))?)?")
_RESTARTS = ("no", "always", "unless-stopped", "on-failure")


class StopRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stop needs to know of the template."""

    grace_ns: int = 10_000_000_000
    before_stop: tuple[str, ...] = ()
    force: bool = False
    restart: str = "no"


class Extras(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``Template.engine`` for Docker: the first six are Eru's raw arguments.

    ``ulimits`` maps a name to soft and hard limit, ``tmpfs`` a path to mount options; ``volumes`` are more binds, as
    ``source:destination[:ro]``, which the scheduler knows nothing of; a path must exist. ``stdin_once`` ends the input
    with the first that attaches.
    """

    pid_mode: str = ""
    storage_opt: Mapping[str, str] = {}
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    ulimits: Mapping[str, tuple[int, int]] = {}
    runtime: str = ""
    tmpfs: Mapping[str, str] = {}
    volumes: tuple[str, ...] = ()
    hostname: str = ""
    stop_signal: str = ""
    stdin_once: bool = False


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """Engine arguments as Docker has them. None is what was not given."""

    resources: Mapping[str, Any]
    binds: tuple[str, ...] | None = None
    tmpfs: Mapping[str, str] | None = None
    io_limits: Mapping[str, Mapping[str, int]] | None = None
    gpu_devices: tuple[str, ...] | None = None

    def io_resources(self) -> dict[str, Any]:
        """The limits of devices as a part of a creation."""
        found: dict[str, Any] = {}
        for device, limits in (self.io_limits or {}).items():
            for kind, amount in limits.items():
                found.setdefault(IO_KEYS[kind], []).append({"Path": device, "Rate": amount})
        return found


def parse_arguments(engine_args: Mapping[str, Any]) -> Arguments:
    """Check engine arguments; EngineError names the one that is unknown or wrong."""
    for key in engine_args:
        if key not in _ARGUMENTS:
            raise EngineError(f"engine argument {key!r}: Docker knows none of that name")
    resources: dict[str, Any] = {}
    for key, (name, kind) in _PLAIN.items():
        if engine_args.get(key) is not None:
            resources[name] = _typed(key, engine_args[key], kind)
    if engine_args.get("memory_bytes") is not None:
        resources |= _memory(_typed("memory_bytes", engine_args["memory_bytes"], int))
    for key, kind in (("storage_bytes", int), ("gpu_milli", tuple[int, ...])):
        _typed(key, engine_args.get(key), kind | None)
    binds, tmpfs = None, None
    if engine_args.get("volumes") is not None:
        binds, tmpfs = _volumes(_typed("volumes", engine_args["volumes"], tuple[str, ...]))
    return Arguments(
        resources=resources,
        binds=binds,
        tmpfs=tmpfs,
        io_limits=_io_limits(engine_args.get("io_limits")),
        gpu_devices=_typed("gpu_devices", engine_args.get("gpu_devices"), tuple[str, ...] | None),
    )


def creation(spec: InstanceSpec, core_id: str) -> dict[str, Any]:
    """The body of a creation, without the name. EngineError names what cannot be had."""
    template, arguments = spec.template, parse_arguments(spec.engine_args)
    extras = _extras(template)
    resources = {key: value for key, value in arguments.resources.items() if value != UNLIMITED_BYTES}
    host: dict[str, Any] = {
        **resources,
        **arguments.io_resources(),
        "Privileged": template.is_privileged,
        "Binds": list(arguments.binds or ()),
        "Mounts": [_mount(text) for text in extras.volumes],
        "Tmpfs": {**(arguments.tmpfs or {}), **extras.tmpfs},
        "Dns": list(template.dns),
        "ExtraHosts": list(template.extra_hosts),
        "Sysctls": dict(template.sysctls),
        "RestartPolicy": restart_policy(template.restart),
        "PidMode": extras.pid_mode,
        "StorageOpt": dict(extras.storage_opt) or None,
        "CapAdd": list(extras.cap_add),
        "CapDrop": list(extras.cap_drop),
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in extras.ulimits.items()],
        "Runtime": extras.runtime,
    }
    if template.log or template.log_options:
        host["LogConfig"] = {"Type": template.log, "Config": dict(template.log_options)}
    if arguments.gpu_devices:
        host["DeviceRequests"] = _gpu_requests(arguments.gpu_devices)
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(template.command) or None,
        "Env": [*template.env, *environment_of(spec.workload_id, node=spec.node_id)],
        "WorkingDir": template.working_dir,
        "User": template.user,
        "Tty": template.has_tty,
        "OpenStdin": template.open_stdin,
        "StdinOnce": extras.stdin_once,
        "Hostname": extras.hostname,
        "Labels": labels(spec, core_id),
        "StopTimeout": seconds(template.stop_grace_ns),
        "HostConfig": host,
    }
    if extras.stop_signal:
        body["StopSignal"] = extras.stop_signal
    return {**body, **_network(template, host)}


def more_networks(template: Template) -> dict[str, str]:
    """The networks that are joined after the creation, with their addresses: all but the first."""
    return dict(list(template.networks.items())[1:])


def endpoint(address: str) -> dict[str, Any]:
    """How a network is joined: with a fixed address, or any."""
    if not address:
        return {}
    return {"IPAMConfig": {"IPv6Address" if ":" in address else "IPv4Address": address}}


def labels(spec: InstanceSpec, core_id: str) -> dict[str, str]:
    """Everything by which the instance is found again, stopped, and known to Eru's tools."""
    template = spec.template
    rules = StopRules(
        grace_ns=template.stop_grace_ns,
        before_stop=template.hooks.before_stop,
        force=template.hooks.force,
        restart=template.restart,
    )
    return {
        **template.labels,
        **labels_of(template, node=spec.node_id, core_id=core_id),
        **spec.labels,
        LABEL_CORE: core_id,
        LABEL_WORKLOAD: spec.workload_id,
        LABEL_GENERATION: str(spec.generation),
        LABEL_TEMPLATE: digest(template.encode()),
        LABEL_STOP: msgspec.json.encode(rules).decode(),
    }


def stop_rules(found: Mapping[str, str]) -> StopRules:
    """The rules that labels tell; the usual ones where they do not."""
    try:
        return msgspec.json.decode(found.get(LABEL_STOP, "{}"), type=StopRules)
    except msgspec.DecodeError:
        return StopRules()


def restart_policy(text: str) -> dict[str, Any]:
    """Docker's form of ``Template.restart``."""
    name, _, count = text.partition(":")
    if name not in _RESTARTS or (count and (name != "on-failure" or not count.isdecimal())):
        raise EngineError(f"restart {text!r}: give no, always, unless-stopped or on-failure[:N]")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def seconds(duration_ns: int) -> int:
    """Docker waits in whole seconds: at least as long as was said."""
    return math.ceil(duration_ns / 1e9)


def unchangeable(arguments: Arguments, host: Mapping[str, Any]) -> str | None:
    """Which given argument differs from what a container was created with and cannot be changed; None for none.

    ``host`` is its HostConfig as Docker tells. Limits of devices are not looked at.
    """
    if arguments.binds is not None:
        missing_tmpfs = set(arguments.tmpfs or {}) - set(host.get("Tmpfs") or {})
        if sorted(host.get("Binds") or ()) != sorted(arguments.binds) or missing_tmpfs:
            return "volumes"
    if arguments.gpu_devices is not None:
        requests = host.get("DeviceRequests") or ()
        held = [device for request in requests for device in request.get("DeviceIDs") or ()]
        if sorted(held) != sorted(arguments.gpu_devices):
            return "gpu_devices"
    return None


def lifting(host: Mapping[str, Any]) -> dict[str, Any]:
    """Engine arguments that lift whatever limits a container; ``host`` is its HostConfig as Docker tells.

    Cores and NUMA nodes are "", which Docker takes for no change: what all of them are is the node's to say.
    """
    lifted: dict[str, Any] = {"io_limits": {}}
    if host.get("CpuQuota", 0) > 0:
        lifted["cpu_quota"] = -1
    if host.get("CpuShares"):
        lifted["cpu_shares"] = _USUAL_SHARES
    if host.get("Memory", 0) not in (0, UNLIMITED_BYTES):
        lifted["memory_bytes"] = 0
    if host.get("CpusetCpus"):
        lifted["cpuset_cpus"] = ""
    if host.get("CpusetMems"):
        lifted["cpuset_mems"] = ""
    if host.get("Binds"):
        lifted["volumes"] = ()
    if host.get("DeviceRequests"):
        lifted["gpu_devices"] = ()
    return lifted


def created_io_limits(host: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The limits of devices that a container was created with."""
    found: dict[str, dict[str, int]] = {}
    for kind, name in IO_KEYS.items():
        for limit in host.get(name) or ():
            found.setdefault(limit["Path"], {})[kind] = limit["Rate"]
    return found


def resources_of(host: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What a container has of some resources, in the form of an update that sets them."""
    found = {name: host.get(name) for name in names}
    if "Memory" in found and not found["Memory"]:
        found |= _memory(0)
    if "CpuQuota" in found and not found["CpuQuota"]:
        found["CpuQuota"] = -1
    return {name: value for name, value in found.items() if value}


def _extras(template: Template) -> Extras:
    try:
        return msgspec.convert(template.engine, Extras)
    except msgspec.ValidationError as error:
        raise EngineError(f"template.engine: {error}") from None


def _mount(text: str) -> dict[str, Any]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target.startswith("/") or mode not in ("", "rw", "ro"):
        raise EngineError(f"template.engine: volumes: {text!r} is not source:destination[:ro]")
    kind = "bind" if source.startswith("/") else "volume"
    return {"Type": kind, "Source": source, "Target": target, "ReadOnly": mode == "ro"}


def _typed(key: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise EngineError(f"engine argument {key!r}: {error}") from None


def _memory(limit: int) -> dict[str, int]:
    if limit == 0:
        # Docker can set a limit anew, but not take it back.
        return dict.fromkeys(_MEMORY, UNLIMITED_BYTES)
    if limit < _MEMORY_MIN:
        raise EngineError(f"engine argument 'memory_bytes': {limit} is less than Docker's least, {_MEMORY_MIN}")
    return {"Memory": limit, "MemorySwap": limit, "MemoryReservation": max(limit // 2, _RESERVATION_MIN)}


def _volumes(texts: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Binds and temporary file systems of ``source:destination[:flags[:bytes]]``."""
    binds: list[str] = []
    tmpfs: dict[str, str] = {}
    for text in texts:
        match = _VOLUME.fullmatch(text)
        if match is None:
            raise EngineError(f"engine argument 'volumes': {text!r} is not source:destination[:flags[:bytes]]")
        source, destination, flags, size = match.groups(default="")
        mode = "rw" if "w" in (flags or "rw") else "ro"
        if source == "tmpfs":
            tmpfs[destination] = f"{mode},size={size}" if int(size or 0) else mode
        else:
            binds.append(f"{source}:{destination}:{mode}")
    return tuple(binds), tmpfs


def _io_limits(value: Any) -> Mapping[str, Mapping[str, int]] | None:
    if value is None:
        return None
    limits: Mapping[str, Mapping[str, int]] = _typed("io_limits", value, dict[str, dict[str, int]])
    for device, kinds in limits.items():
        for kind in kinds:
            if kind not in IO_KEYS:
                raise EngineError(f"engine argument 'io_limits': {kind!r} of {device} is none of {', '.join(IO_KEYS)}")
    return limits


def _gpu_requests(devices: Sequence[str]) -> list[dict[str, Any]]:
    return [{"Driver": "nvidia", "DeviceIDs": list(devices), "Capabilities": [["gpu"]]}]


def _network(template: Template, host: dict[str, Any]) -> dict[str, Any]:
    """The first network; on the plain bridge, with the published ports on the same ports of the node."""
    if not template.networks:
        return {}
    name, address = next(iter(template.networks.items()))
    host["NetworkMode"] = name
    ports = [port if "/" in port else f"{port}/tcp" for port in template.publish] if name == "bridge" else []
    host["PortBindings"] = {port: [{"HostPort": port.partition("/")[0]}] for port in ports}
    exposed: dict[str, Any] = {"ExposedPorts": {port: {} for port in ports}} if ports else {}
    if name in ("host", "none", "bridge"):
        if address:
            raise EngineError(f"network {name!r}: Docker gives no fixed addresses there; leave {address} out")
        return exposed
    return {**exposed, "NetworkingConfig": {"EndpointsConfig": {name: endpoint(address)}}}

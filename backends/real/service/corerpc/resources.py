"""Resources on Eru's wire, JSON by plugin, from and to the payloads of our plugins.

Eru's cpumem is our cpu, storage and gpu have the same names; their keys have hyphens, and unknown ones are skipped.
Any other plugin that the core uses takes its own payload as it is, and so does cpu; a dimension takes a size. Names
that nobody knows are skipped, as Eru does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from backends.real.engines.base import EngineInfo
from backends.real.service.corerpc.errors import WireError
from scheduler.plugins.payloads import size

JSON_BYTES_MAX = 1 << 20
CPUMEM = "cpumem"
_OWN_NAME = {CPUMEM: "cpu"}
_ENGINE_SHARE = (4, 5)
"""The part of an engine's memory and storage that a node has where it does not say."""


class Demand(NamedTuple):
    """What is asked: base units by dimension, and payloads by plugin."""

    request: tuple[int, ...]
    payloads: dict[str, Any]


class NodeSupply(NamedTuple):
    """What a node has, or what becomes of it: base units by dimension, and payloads by plugin."""

    capacity: dict[str, int]
    resources: dict[str, Any]


class ResourceWire:
    """Reads resources for a core with these dimensions and plugins."""

    def __init__(
        self,
        dimensions: Sequence[str],
        plugins: Iterable[str],
        exact_plugins: Iterable[str],
        share_base: int = 100,
    ) -> None:
        self.share_base = share_base
        self.dimensions = tuple(dimensions)
        self.plugins = frozenset(plugins)
        self.exact_plugins = frozenset(exact_plugins)

    def demand(self, resources: Mapping[str, bytes]) -> Demand:
        """What a workload asks. `WireError` names plugin and field.

        Every workload asks something of cpu, so that what asks nothing runs on the cores that are left.
        """
        demand = self._read(resources, {CPUMEM: _cpu_demand, "storage": _storage_demand, "gpu": _as_it_is})
        if "cpu" in self.plugins:
            demand.payloads.setdefault("cpu", {})
        for name in ("storage", "gpu"):
            if not demand.payloads.get(name, True):
                del demand.payloads[name]
        return demand

    def change(self, resources: Mapping[str, bytes]) -> Demand:
        """By how much a workload's resources change. What is not named stays; cpumem without ``keep-cpu-bind``
        unbinds, as in Eru.
        """
        demand = self._read(resources, {CPUMEM: _cpu_demand, "storage": _storage_demand, "gpu": _as_it_is})
        for name in ("storage", "gpu"):
            if not demand.payloads.get(name, True):
                del demand.payloads[name]
        return demand

    def node(self, resources: Mapping[str, bytes], info: EngineInfo | None) -> NodeSupply:
        """What a new node has. What it does not say comes from its engine: all cores, four fifths of memory and
        storage.
        """
        supply = self._read_node(resources)
        if info is None:
            return supply
        memory, storage = (_part(amount) for amount in (info.memory_bytes, info.storage_bytes))
        if "cpu" in self.exact_plugins:
            cpu = supply.resources.setdefault("cpu", {})
            cpu.setdefault("memory", memory)
            if "cores" not in cpu:
                cpu["cores"] = dict.fromkeys(info.cpus, cpu.pop("share", self.share_base))
                _take_numa(cpu, info)
        else:
            defaults = {"cpu": len(info.cpus) * 1000, "memory": memory}
            for name in defaults.keys() & set(self.dimensions):
                supply.capacity.setdefault(name, defaults[name])
        if "storage" in self.exact_plugins and "storage" not in supply.resources.get("storage", {}) and storage:
            supply.resources.setdefault("storage", {})["storage"] = storage
        return supply

    def node_change(self, resources: Mapping[str, bytes]) -> NodeSupply:
        """What becomes of a node: by value or by difference, as the caller knows."""
        return self._read_node(resources)

    def _read(self, resources: Mapping[str, bytes], known: Mapping[str, Callable[[Any], dict[str, Any]]]) -> Demand:
        amounts = dict.fromkeys(self.dimensions, 0)
        payloads: dict[str, Any] = {}
        for name, text in sorted(resources.items()):
            own = _OWN_NAME.get(name, name)
            if own in self.plugins:
                value = _decoded(name, text)
                payloads[own] = known[name](value) if name in known else value
            elif name == CPUMEM and {"cpu", "memory"} & amounts.keys():
                for dimension, amount in _cpu_amounts(_cpu_demand(_decoded(name, text))).items():
                    if dimension in amounts:
                        amounts[dimension] += amount
            elif name in amounts:
                amounts[name] += _sized(name, _decoded(name, text))
        return Demand(tuple(amounts.values()), payloads)

    def _read_node(self, resources: Mapping[str, bytes]) -> NodeSupply:
        known: Mapping[str, Callable[[Any], dict[str, Any]]]
        known = {CPUMEM: _cpu_node, "storage": _storage_node, "gpu": _as_it_is}
        supply = NodeSupply({}, {})
        for name, text in sorted(resources.items()):
            own = _OWN_NAME.get(name, name)
            if own in self.exact_plugins:
                read = known.get(name, _as_it_is)(_decoded(name, text))
                if read:
                    supply.resources[own] = read
            elif name == CPUMEM:
                for dimension, amount in _node_amounts(_cpu_node(_decoded(name, text))).items():
                    if dimension in self.dimensions:
                        supply.capacity[dimension] = amount
            elif name in self.dimensions:
                supply.capacity[name] = _sized(name, _decoded(name, text))
        return supply


def _decoded(name: str, text: bytes) -> Any:
    """The JSON of one plugin, whole floats as whole numbers."""
    if len(text) > JSON_BYTES_MAX:
        raise WireError(f"resources.{name}: {len(text)} bytes are more than {JSON_BYTES_MAX}")
    try:
        value = msgspec.json.decode(text or b"{}")
    except (msgspec.DecodeError, RecursionError):
        raise WireError(f"resources.{name}: that is not JSON") from None
    return {} if value is None else value


def _fields(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WireError(f"resources.{name}: it must be an object")
    return {key: _whole(item) for key, item in value.items() if item is not None}


def _whole(value: Any) -> Any:
    """Encoders that know only one kind of number write 536870912.0 for a size."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


def _as_it_is(value: Any) -> dict[str, Any]:
    return dict(_fields("of a plugin", value))


def _sized(name: str, value: Any) -> int:
    try:
        return size(f"resources.{name}", _whole(value), -(2**62), 2**62)
    except ValueError as error:
        raise WireError(str(error)) from None


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    """Given and not false: Eru's clients send true, or just the key."""
    value = fields.get(name, False)
    return value if isinstance(value, bool) else str(value).lower() not in ("false", "0")


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    """The value of the first field that has one; None where none has."""
    for name in names:
        value = fields.get(name)
        if value not in (None, "", []):
            return value
    return None


def _texts(field: str, value: Any) -> list[str]:
    """A list of texts, or a text of one."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise WireError(f"resources.{field}: it must be a list of texts")
    return values


# Workloads


def _cpu_demand(value: Any) -> dict[str, Any]:
    fields = _fields(CPUMEM, value)
    payload: dict[str, Any] = {}
    for wire, own in (("cpu-bind", "bind"), ("keep-cpu-bind", "keep_bind")):
        if _flag(fields, wire):
            payload[own] = True
    for wire in ("cpu-request", "cpu-limit", "memory-request", "memory-limit", "numa-nodes"):
        amount = _first(fields, wire)
        if amount is not None:
            payload[wire.replace("-", "_")] = amount
    return payload


def _cpu_amounts(payload: Mapping[str, Any]) -> dict[str, int]:
    """What cpumem asks, in dimensions, for a core that has no cores to give."""
    if payload.get("bind"):
        raise WireError("resources.cpumem.cpu-bind: this cluster does not bind cores")
    cores = payload.get("cpu_request") or payload.get("cpu_limit") or 0
    memory = payload.get("memory_request") or payload.get("memory_limit") or 0
    return {"cpu": _millicores("cpumem.cpu-request", cores), "memory": _sized("cpumem.memory-request", memory)}


def _millicores(field: str, value: Any) -> int:
    try:
        millicores = round(float(value) * 1000)
    except (TypeError, ValueError, OverflowError):
        raise WireError(f"resources.{field}: it must be a number of cores") from None
    if abs(millicores) >= 2**53:
        raise WireError(f"resources.{field}: that is too much")
    return millicores


def _storage_demand(value: Any) -> dict[str, Any]:
    fields = _fields("storage", value)
    volumes = _first(fields, "volumes-request", "volume-request")
    limits = _first(fields, "volumes", "volume", "volume-limit", "volumes-limit", "volume_limits")
    storage, limit = _first(fields, "storage-request"), _first(fields, "storage-limit", "storage_limit")
    both = _first(fields, "storage")
    payload = {
        "volumes": None if volumes is None else _texts("storage.volumes-request", volumes),
        "volume_limits": None if limits is None else _texts("storage.volumes", limits),
        "storage": both if both is not None else storage,
        "storage_limit": both if both is not None else limit,
    }
    if payload["volumes"] is None and payload["volume_limits"] is not None:
        payload["volumes"] = payload.pop("volume_limits")
    return {name: part for name, part in payload.items() if part is not None and part not in (0, "0")}


# Nodes


def _cpu_node(value: Any) -> dict[str, Any]:
    fields = _fields(CPUMEM, value)
    payload: dict[str, Any] = {}
    cores = _first(fields, "cpu")
    if cores is not None:
        payload["cores"] = _cores(cores)
    share = _first(fields, "share")
    if share is not None and isinstance(payload.get("cores", 0), int):
        payload["share"] = _number("cpumem.share", share)
    memory = _first(fields, "memory")
    if memory is not None:
        payload["memory"] = memory
    numa = _first(fields, "numa-cpu")
    if numa is not None:
        payload["numa"] = _texts("cpumem.numa-cpu", numa)
    numa_memory = _first(fields, "numa-memory")
    if numa_memory is not None:
        if not isinstance(numa_memory, list):
            raise WireError("resources.cpumem.numa-memory: it must be a list of sizes")
        payload["numa_memory"] = [_whole(amount) for amount in numa_memory]
    return payload


def _cores(value: Any) -> Any:
    """A count, or pieces by core: an object, a list of "id:pieces", or such a list as one text."""
    if isinstance(value, str):
        if ":" not in value:
            return _number("cpumem.cpu", value)
        value = value.split(",")
    if isinstance(value, dict):
        return {core: _whole(pieces) for core, pieces in value.items()}
    if isinstance(value, int | list):
        return value
    raise WireError("resources.cpumem.cpu: it must be a count of cores, or pieces by core such as 0:100,1:200")


def _number(field: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if len(text) > 18 or not text.removeprefix("-").isdecimal():
        raise WireError(f"resources.{field}: it must be a whole number")
    return int(text)


def _node_amounts(payload: Mapping[str, Any]) -> dict[str, int]:
    """What a node's cpumem gives, in dimensions, for a core that has no cores to give."""
    amounts: dict[str, int] = {}
    cores = payload.get("cores")
    if cores is not None:
        count = cores if isinstance(cores, int) else len(cores)
        amounts["cpu"] = count * 1000
    if "memory" in payload:
        amounts["memory"] = _sized("cpumem.memory", payload["memory"])
    return amounts


def _take_numa(cpu: dict[str, Any], info: EngineInfo) -> None:
    """Take the engine's NUMA nodes, unless the node says something of its own."""
    if "numa" not in cpu and "numa_memory" not in cpu and len(info.numa) > 1:
        cpu["numa"] = {numa_id: list(cores) for numa_id, cores in info.numa.items()}


def _storage_node(value: Any) -> dict[str, Any]:
    fields = _fields("storage", value)
    payload: dict[str, Any] = {}
    volumes = _first(fields, "volumes")
    if isinstance(volumes, dict):
        payload["volumes"] = {device: _whole(amount) for device, amount in volumes.items()}
    elif volumes is not None:
        payload["volumes"] = dict(_volume(text) for text in _texts("storage.volumes", volumes))
    storage = _first(fields, "storage")
    if storage is not None:
        payload["storage"] = storage
    disks = _first(fields, "disks")
    if disks is not None:
        if not isinstance(disks, list):
            raise WireError("resources.storage.disks: it must be a list")
        payload["disks"] = [_disk(disk) for disk in disks]
    gone = _first(fields, "rm-disks", "remove_disks")
    if gone is not None:
        payload["remove_disks"] = gone.split(",") if isinstance(gone, str) else gone
    return payload


def _volume(text: str) -> tuple[str, str]:
    device, colon, amount = text.rpartition(":")
    if not colon or not device or ":" in device:
        raise WireError("resources.storage.volumes: write device:size, e.g. /data0:500G")
    return device, amount


_IO_NAMES = {"read_IOPS": "read_iops", "write_IOPS": "write_iops"}


def _disk(value: Any) -> dict[str, Any]:
    """An object, or ``device:mount,mount:read_iops:write_iops:read_bps:write_bps``."""
    if isinstance(value, dict):
        return {_IO_NAMES.get(str(key), str(key)): _whole(item) for key, item in value.items() if item is not None}
    parts = value.split(":") if isinstance(value, str) else ()
    if len(parts) != 6:
        raise WireError("resources.storage.disks: write device:mounts:read_iops:write_iops:read_bps:write_bps")
    device, mounts, *amounts = parts
    kinds = ("read_iops", "write_iops", "read_bps", "write_bps")
    return {
        "device": device,
        "mounts": [mount for mount in mounts.split(",") if mount],
        **dict(zip(kinds, amounts, strict=True)),
    }


def _part(amount: int) -> int:
    numerator, denominator = _ENGINE_SHARE
    return amount * numerator // denominator

"""Usage at an interval, and what follows from two samples. The names are those of Eru's agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backends.real.agent.identity import Identity
from backends.real.agent.metrics.usage import Disk, HostUsage, Usage, UsageReader
from backends.real.cgroups import CgroupError
from backends.real.clock import Clock, sleep
from backends.real.engines.base import LABEL_RECORD, Instance
from backends.real.meta import LABEL_ERU, LABEL_META

LABELS = ("containerID", "hostname", "appname", "entrypoint", "orchestrator", "labels")
WORKLOAD_METRICS = {
    "cpu_host_usage": "CPU time, as a part of all cores of the node.",
    "cpu_host_sys_usage": "System time, as a part of that of the node.",
    "cpu_host_user_usage": "User time, as a part of that of the node.",
    "cpu_container_usage": "CPU time, as a part of what its limit allows, or of all cores.",
    "cpu_container_sys_usage": "System time, as a part of its CPU time.",
    "cpu_container_user_usage": "User time, as a part of its CPU time.",
    "mem_usage": "Memory in use, in bytes, with the page cache.",
    "mem_max_usage": "The most memory that was in use, in bytes; 0 where the kernel does not say.",
    "mem_rss": "Anonymous memory, in bytes.",
    "mem_percent": "mem_usage as a part (0 to 1) of its limit, or of the node's memory.",
    "mem_rss_percent": "mem_rss as a part (0 to 1) of its limit, or of the node's memory.",
}
NIC_METRICS = {
    "bytes_send": ("bytes.sent", "Bytes sent a second."),
    "bytes_recv": ("bytes.recv", "Bytes received a second."),
    "packets_send": ("packets.sent", "Packets sent a second."),
    "packets_recv": ("packets.recv", "Packets received a second."),
    "err_in": ("err.in", "Errors a second, receiving."),
    "err_out": ("err.out", "Errors a second, sending."),
    "drop_in": ("drop.in", "Packets dropped a second, receiving."),
    "drop_out": ("drop.out", "Packets dropped a second, sending."),
}
"""By name, the last part of the key in statsd."""
DISK_METRICS = {
    "io_service_bytes_read": "Bytes read since it began.",
    "io_service_bytes_write": "Bytes written since it began.",
    "io_serviced_read": "Reads since it began.",
    "io_serviced_write": "Writes since it began.",
    "io_service_bytes_read_per_second": "Bytes read a second.",
    "io_service_bytes_write_per_second": "Bytes written a second.",
    "io_serviced_read_per_second": "Reads a second.",
    "io_serviced_write_per_second": "Writes a second.",
}
NODE_METRICS = {
    "eru_node_cpu_cores": "Cores of the node.",
    "eru_node_cpu_usage": "CPU time, as a part of all cores.",
    "eru_node_load1": "Load, the mean of a minute.",
    "eru_node_memory_bytes": "Memory of the node.",
    "eru_node_memory_available_bytes": "Memory that can be had without swapping.",
}
NODE_NIC_METRICS = {
    "eru_node_network_receive_bytes": ("bytes_recv", "Bytes received since the node was booted."),
    "eru_node_network_transmit_bytes": ("bytes_send", "Bytes sent since the node was booted."),
}
_DISK_FIELDS = dict(zip(tuple(DISK_METRICS)[:4], Disk._fields, strict=True))

_log = structlog.get_logger()


class Sample(NamedTuple):
    """What was found of a workload: metrics by name, and those of a device by name and device."""

    engine_id: str
    identity: Identity
    labels: tuple[str, ...]
    values: Mapping[str, float]
    by_nic: Mapping[tuple[str, str], float]
    by_disk: Mapping[tuple[str, str], float]


class _Sampled:
    def __init__(self, instance: Instance, identity: Identity) -> None:
        self.instance = instance
        self.identity = identity
        self.usage: Usage | None = None


class Sampler(Collector):
    """Samples all running workloads and the node every ``step_ns``, and shows the last sample to Prometheus.

    Reading goes on in a thread, of files only. A workload is shown from its second sample on, until it has ended.
    """

    def __init__(
        self,
        reader: UsageReader,
        clock: Clock,
        *,
        node: str,
        step_ns: int,
        send: Callable[[Sequence[Sample]], Awaitable[None]] | None = None,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._hostname = node.replace(".", "-")
        self._step_ns = step_ns
        self._send = send
        self._sampled: dict[str, _Sampled] = {}
        self._samples: tuple[Sample, ...] = ()
        self._host: HostUsage | None = None
        self._host_cpu_usage = 0.0
        self._at_ns = 0

    def attach(self, instance: Instance, identity: Identity, *, is_new: bool) -> None:
        """See `Companion.attach`."""
        known = self._sampled.get(instance.workload_id)
        if known is None or known.instance.pid != instance.pid or known.instance.labels != instance.labels:
            self._sampled[instance.workload_id] = _Sampled(instance, identity)

    def detach(self, workload_id: str) -> None:
        """See `Companion.detach`."""
        known = self._sampled.pop(workload_id, None)
        if known is not None:
            self._samples = tuple(s for s in self._samples if s.engine_id != known.instance.engine_id)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.sample()
            await sleep(self._clock, self._step_ns)

    async def sample(self) -> None:
        """Sample once."""
        sampled = dict(self._sampled)
        host, usages = await asyncio.to_thread(self._read, {key: one.instance.pid for key, one in sampled.items()})
        now_ns, before = self._clock.now_ns(), self._host
        passed_s = (now_ns - self._at_ns) / 1e9
        self._at_ns, self._host = now_ns, host
        samples = []
        for workload_id, one in sampled.items():
            usage = usages.get(workload_id)
            if usage is not None and one.usage is not None and before is not None and passed_s > 0:
                samples.append(self._sample(one, one.usage, usage, before, host, passed_s))
            one.usage = usage
        if before is not None and passed_s > 0:
            self._host_cpu_usage = (host.busy_s - before.busy_s) / (host.cores * passed_s)
        self._samples = tuple(sample for sample in samples if self._is_followed(sample))
        if self._send is not None:
            await self._send(self._samples)

    def _is_followed(self, sample: Sample) -> bool:
        return any(one.instance.engine_id == sample.engine_id for one in self._sampled.values())

    def _read(self, pids: Mapping[str, int]) -> tuple[HostUsage, dict[str, Usage]]:
        usages = {}
        for workload_id, pid in pids.items():
            try:
                usages[workload_id] = self._reader.workload(pid)
            except (OSError, CgroupError, ValueError, KeyError) as error:
                _log.debug("usage not read", workload=workload_id, error=str(error))
        return self._reader.host(), usages

    def _sample(
        self, one: _Sampled, old: Usage, new: Usage, old_host: HostUsage, host: HostUsage, passed_s: float
    ) -> Sample:
        cpu_s = new.cpu_s - old.cpu_s
        user_s, system_s = new.user_s - old.user_s, new.system_s - old.system_s
        memory_bytes = min(new.memory_limit_bytes or host.memory_bytes, host.memory_bytes)
        values = {
            "cpu_host_usage": cpu_s / (host.cores * passed_s),
            "cpu_host_sys_usage": _part(system_s, host.system_s - old_host.system_s),
            "cpu_host_user_usage": _part(user_s, host.user_s - old_host.user_s),
            "cpu_container_usage": cpu_s / ((new.cpu_limit or host.cores) * passed_s),
            "cpu_container_sys_usage": _part(system_s, cpu_s),
            "cpu_container_user_usage": _part(user_s, cpu_s),
            "mem_usage": float(new.memory_bytes),
            "mem_max_usage": float(new.memory_peak_bytes),
            "mem_rss": float(new.rss_bytes),
            "mem_percent": _part(new.memory_bytes, memory_bytes),
            "mem_rss_percent": _part(new.rss_bytes, memory_bytes),
        }
        by_nic = {
            (name, nic): (getattr(counts, name) - getattr(old.nics[nic], name)) / passed_s
            for nic, counts in new.nics.items()
            if nic in old.nics
            for name in NIC_METRICS
        }
        by_disk: dict[tuple[str, str], float] = {}
        for disk, amounts in new.disks.items():
            known = old.disks.get(disk, Disk())
            for name, field in _DISK_FIELDS.items():
                amount = getattr(amounts, field)
                by_disk[name, disk] = float(amount)
                by_disk[f"{name}_per_second", disk] = (amount - getattr(known, field)) / passed_s
        return Sample(one.instance.engine_id, one.identity, self._labels(one), values, by_nic, by_disk)

    def _labels(self, one: _Sampled) -> tuple[str, ...]:
        labels = one.instance.labels
        hidden = (LABEL_META, LABEL_RECORD)
        shown = ",".join(f"{key}={labels[key]}" for key in sorted(labels) if key != LABEL_ERU and key not in hidden)
        identity = one.identity
        return (one.instance.engine_id, self._hostname, identity.app, identity.entrypoint, LABEL_ERU, shown)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is shown: the last sample. It may be called from another thread."""
        samples = self._samples
        for name, meaning in WORKLOAD_METRICS.items():
            family = GaugeMetricFamily(name, meaning, labels=LABELS)
            for sample in samples:
                family.add_metric(sample.labels, sample.values[name])
            yield family
        for name, (_, meaning) in NIC_METRICS.items():
            yield _by_device(name, meaning, "nic", [(sample.labels, sample.by_nic) for sample in samples])
        for name, meaning in DISK_METRICS.items():
            yield _by_device(name, meaning, "dev", [(sample.labels, sample.by_disk) for sample in samples])
        yield from self._collect_host()

    def _collect_host(self) -> Iterator[Metric]:
        host = self._host
        if host is None:
            return
        values = (host.cores, self._host_cpu_usage, host.load1, host.memory_bytes, host.available_bytes)
        for (name, meaning), value in zip(NODE_METRICS.items(), values, strict=True):
            yield GaugeMetricFamily(name, meaning, value=float(value))
        for name, (field, meaning) in NODE_NIC_METRICS.items():
            family = CounterMetricFamily(name, meaning, labels=["nic"])
            for nic, counts in host.nics.items():
                family.add_metric([nic], getattr(counts, field))
            yield family


def _by_device(
    name: str, meaning: str, label: str, samples: Sequence[tuple[tuple[str, ...], Mapping[tuple[str, str], float]]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=(*LABELS, label))
    for labels, values in samples:
        for (found, device), value in values.items():
            if found == name:
                family.add_metric((*labels, device), value)
    return family


def _part(amount: float, whole: float) -> float:
    return amount / whole if whole > 0 else 0.0

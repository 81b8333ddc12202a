"""What the agent counts of its own work, for Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metric(NamedTuple):
    """One of the agent's own metrics, as Prometheus is shown it."""

    name: str
    labels: tuple[str, ...]
    meaning: str


class Telemetry:
    """Counters of one agent, in a registry of its own. ``metrics`` lists them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics: list[Metric] = []
        self.heartbeats = self._counter(
            "heartbeats", "Heartbeats: renewed, skipped (the engine did not answer), failed.", "result"
        )
        self.reports = self._counter("reports", "Statuses: sent, suppressed (not changed), failed.", "result")
        self.checks = self._counter("checks", "Health checks: passed, failed.", "result")
        self.event_streams_lost = self._counter("event_streams_lost", "Times that the engine's events broke off.")
        self.faults = self._counter("faults", "Faults of a part of the agent, which was begun anew.", "part")
        self.workloads = self._gauge("workloads", "Workloads that the agent knows: running, ended.", "state")
        self.log_lines = self._counter("log_lines", "Lines handed to the spool of a sink.", "sink")
        self.log_sent = self._counter("log_sent", "Lines that a sink took.", "sink")
        self.log_dropped = self._counter(
            "log_dropped",
            "Lines lost: full (the spool, its oldest), disk (it failed), sink (refused, or too long).",
            "sink",
            "reason",
        )
        self.log_breaks = self._counter("log_breaks", "Times that a sink failed.", "sink")
        self.log_spooled = self._gauge("log_spooled_bytes", "What waits for a sink.", "sink")
        self.log_viewers_dropped = self._counter(
            "log_viewers_dropped", "Lines that a reader of /log/ was too slow for."
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        self.metrics.append(Metric(f"eru_agent_{name}_total", labels, meaning))
        return Counter(f"eru_agent_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        self.metrics.append(Metric(f"eru_agent_{name}", labels, meaning))
        return Gauge(f"eru_agent_{name}", meaning, labels, registry=self.registry)

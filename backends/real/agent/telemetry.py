"""What the agent counts of its own work, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Telemetry:
    """Counters of one agent, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.heartbeats = self._counter(
            "eru_agent_heartbeats", "Heartbeats: renewed, skipped as the engine did not answer, failed.", "result"
        )
        self.reports = self._counter(
            "eru_agent_reports", "Workload statuses: sent, suppressed as they had not changed, failed.", "result"
        )
        self.checks = self._counter("eru_agent_checks", "Health checks that passed and failed.", "result")
        self.event_streams_lost = self._counter("eru_agent_event_streams_lost", "Times the engine's events broke off.")
        self.faults = self._counter("eru_agent_faults", "Faults of a part of the agent, which was begun anew.", "part")
        self.workloads = Gauge(
            "eru_agent_workloads", "Workloads that the agent knows, by state.", ["state"], registry=self.registry
        )
        self.log_lines = self._counter("eru_agent_log_lines", "Lines handed to a sink's spool.", "sink")
        self.log_sent = self._counter("eru_agent_log_sent", "Lines that a sink took.", "sink")
        self.log_dropped = self._counter("eru_agent_log_dropped", "Lines that were lost, and why.", "sink", "reason")
        self.log_breaks = self._counter("eru_agent_log_breaks", "Times a sink failed.", "sink")
        self.log_spooled = Gauge(
            "eru_agent_log_spooled_bytes", "What waits in a sink's spool.", ["sink"], registry=self.registry
        )
        self.log_viewers_dropped = self._counter(
            "eru_agent_log_viewers_dropped", "Lines that readers of /log/ were too slow for."
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

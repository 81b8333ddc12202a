"""What the service measures of itself, for Prometheus, and the small HTTP server that shows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Count
from collections.abc import Iterable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from backends.real.cluster import LiveCluster
from backends.real.driver import Measure
from backends.real.service.errors import Status
from backends.real.service.server import Server
from scheduler.commands import AnyCommand, PublishResult
from scheduler.events import AnyEvent

_SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_SIZES = (1, 2, 5, 10, 50, 100, 500, 1000, 5000)
_REQUEST_SECONDS = 10.0
_CONNECTIONS_MAX = 64


class ServiceMetrics:
    """Everything of one cluster and its server, in a registry of its own."""

    def __init__(self, cluster: LiveCluster, server: Server) -> None:
        """The cluster must have been started."""
        self.registry = registry = CollectorRegistry()
        self._cluster = cluster
        self._server = server
        self._step = Histogram("eru_decision_seconds", "A step of the core.", registry=registry, buckets=_SECONDS)
        self._commit = Histogram("eru_commit_seconds", "Until a batch is durable.", registry=registry, buckets=_SECONDS)
        self._size = Histogram("eru_batch_events", "Events of a batch.", registry=registry, buckets=_SIZES)
        self._events = Counter("eru_events", "Events by type.", ["type"], registry=registry)
        self._commands = Counter("eru_commands", "Commands by type.", ["type"], registry=registry)
        self._results = Counter("eru_results", "Published results by outcome.", ["outcome"], registry=registry)
        self._calls = Counter("eru_calls", "Calls by method and status.", ["method", "status"], registry=registry)
        self._of_calls: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._call_seconds = Histogram("eru_call_seconds", "How long calls took.", ["method"], registry=registry)
        registry.register(self)
        cluster.driver.measured = self._measured
        cluster.driver.committed.append(self._committed)
        server.observe_calls(self._ended)

    def collect(self) -> Iterable[Metric]:
        """What is as it is now; for the registry."""
        cluster, core = self._cluster, self._cluster.core
        workloads = GaugeMetricFamily("eru_workloads", "Workloads by part, ends since the beginning.", labels=["part"])
        for part, count in core.partition().items():
            workloads.add_metric([part], count)
        yield workloads
        nodes = GaugeMetricFamily("eru_nodes", "Nodes by state.", labels=["state"])
        for state, count in Count(str(node.state) for node in core.cluster.by_id.values()).items():
            nodes.add_metric([state], count)
        yield nodes
        failures = GaugeMetricFamily("eru_engine_failures", "Commands that engines did not take.", labels=["command"])
        for command, count in getattr(cluster.gateway, "failures", {}).items():
            failures.add_metric([command], count)
        yield failures
        for name, help_text, value in (
            ("eru_waiting_requests", "Requests and completions that wait for a batch.", cluster.driver.waiting),
            ("eru_operations", "Operations under way.", len(cluster.operations)),
            ("eru_open_commands", "Commands not answered.", getattr(cluster.gateway, "open_commands", 0)),
            ("eru_open_calls", "Calls under way.", self._server.open_calls),
            ("eru_journal_batches", "Batches of the journal.", cluster.tail.end),
            ("eru_orphans", "Instances that the core does not know.", len(cluster.orphans)),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)

    def _measured(self, measure: Measure) -> None:
        self._size.observe(measure.events)
        self._step.observe(measure.step_s)
        self._commit.observe(measure.commit_s)

    def _committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        for kind, count in Count(map(type, events)).items():
            self._events.labels(kind.__name__).inc(count)
        for kind, count in Count(map(type, commands)).items():
            self._commands.labels(kind.__name__).inc(count)
        results = Count(command.outcome for command in commands if type(command) is PublishResult)
        for outcome, count in results.items():
            self._results.labels(outcome).inc(count)

    def _ended(self, method: str, status: int, seconds: float) -> None:
        known = self._of_calls.get((method, status))
        if known is None:
            name = "OK" if status == 0 else Status(status).name if status in set(Status) else str(status)
            known = self._calls.labels(method, name), self._call_seconds.labels(method)
            self._of_calls[method, status] = known
        count, took = known
        count.inc()
        took.observe(seconds)


class MetricsServer:
    """Answers ``GET /metrics``, one request a connection."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._server: asyncio.Server | None = None
        self._connections = 0
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; OSError where that cannot be."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=1 << 14)
        bound = self._server.sockets[0].getsockname()
        self.address = f"{host}:{bound[1]}"

    async def stop(self) -> None:
        """No longer listen."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _CONNECTIONS_MAX:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method != b"GET" or path != b"/metrics":
            status, kind, body = "404 Not Found", "text/plain", b"there is: /metrics\n"
        else:
            status, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()

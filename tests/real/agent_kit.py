"""What tests of the agent share: a core that remembers, an engine that follows a script, an agent between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec

from backends.real.agent.core_client import CoreUnreachable, NodeFacts, WorkloadStatus
from backends.real.agent.health import Prober
from backends.real.agent.heartbeat import Heartbeat
from backends.real.agent.reports import Reporter
from backends.real.agent.telemetry import Telemetry
from backends.real.agent.workloads import Companion, Workloads
from backends.real.clock import Clock, sleep
from backends.real.engines.base import (
    LABEL_GENERATION,
    LABEL_WORKLOAD,
    Chunk,
    Instance,
    InstanceBegan,
    InstanceEnded,
    NotFound,
    Unreachable,
    instance_name,
)
from backends.real.leases import LeaseTable
from backends.real.meta import Meta, encode_meta
from backends.real.template import HealthCheck

SECOND_NS = 1_000_000_000
NODE, CORE_ID = "n1", "core-1"


class FakeCore:
    """A core with leases on the test's clock. It can be silent, and slow."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.leases = LeaseTable(clock)
        self.beats: list[tuple[float, str, int]] = []
        self.reports: list[tuple[float, WorkloadStatus]] = []
        self.state: dict[str, WorkloadStatus] = {}
        """What the core believes: the last write that arrived."""
        self.is_silent = False
        self.slow: Callable[[WorkloadStatus], int] = lambda status: 0
        """How long a report takes to arrive."""

    def _at_s(self) -> float:
        return self.clock.now_ns() / SECOND_NS

    def _answer(self) -> None:
        if self.is_silent:
            raise CoreUnreachable("the core is silent")

    async def identifier(self) -> str:
        self._answer()
        return CORE_ID

    async def node(self, name: str) -> NodeFacts:
        self._answer()
        return NodeFacts(name=name, endpoint="tcp://10.1.1.1:2375", pool="p")

    async def set_node_status(self, name: str, ttl_s: int) -> None:
        self._answer()
        self.beats.append((self._at_s(), name, ttl_s))
        if ttl_s > 0:
            self.leases.renew(name, ttl_s * SECOND_NS)
        else:
            self.leases.drop(name)

    async def set_workloads_status(self, statuses: Sequence[WorkloadStatus]) -> None:
        self._answer()
        for status in statuses:
            if self.slow(status):
                await sleep(self.clock, self.slow(status))
            self.reports.append((self._at_s(), status))
            self.state[status.workload_id] = status

    async def close(self) -> None:
        pass

    def told(self, workload_id: str) -> list[tuple[float, bool, bool]]:
        """The reports of a workload: when, running, healthy."""
        return [(at, s.running, s.healthy) for at, s in self.reports if s.workload_id == workload_id]


class ScriptedEngine:
    """An engine that says what a test has it say, true or not: a table of instances, events besides, or nothing."""

    def __init__(self) -> None:
        self.capabilities = frozenset(("exec", "logs", "watch"))
        self.table: dict[str, Instance] = {}
        self.output: dict[str, list[Chunk]] = {}
        self.exec_codes: dict[tuple[str, ...], int] = {}
        self.exec_hangs = False
        self.is_silent = False
        self.late: Callable[[], Awaitable[None]] | None = None
        """How long what was found takes to be told: it may be old by then."""
        self.starts = 0
        self._events: asyncio.Queue[InstanceBegan | InstanceEnded | None] = asyncio.Queue()
        self._more = asyncio.Event()

    def _answer(self) -> None:
        if self.is_silent:
            raise Unreachable("the engine is silent")

    def start(self, workload_id: str, generation: int = 1, *, tells: bool = True, **changes: Any) -> Instance:
        """An instance begins to run."""
        self.starts += 1
        labels = {LABEL_WORKLOAD: workload_id, LABEL_GENERATION: str(generation)} | changes.pop("labels", {})
        instance = Instance(
            workload_id=workload_id,
            generation=generation,
            state="running",
            engine_id=f"id-of-{workload_id}-{generation}",
            name=instance_name(workload_id, generation),
            pid=self.starts,
            networks=changes.pop("networks", {"net": "10.0.0.1"}),
            labels=labels,
            started_at_ns=self.starts,
            **changes,
        )
        self.table[workload_id] = instance
        if tells:
            self.tell(InstanceBegan(workload_id, generation))
        return instance

    def end(self, workload_id: str, exit_code: int = 0, *, tells: bool = True) -> None:
        """An instance ends."""
        instance = self.table[workload_id]
        self.table[workload_id] = msgspec.structs.replace(instance, state="exited", exit_code=exit_code, pid=0)
        self._more.set()
        if tells:
            self.tell(InstanceEnded(workload_id, instance.generation, exit_code))

    def tell(self, event: InstanceBegan | InstanceEnded) -> None:
        self._events.put_nowait(event)

    def break_off(self) -> None:
        """The stream of events is lost."""
        self._events.put_nowait(None)

    def write(self, workload_id: str, *chunks: Chunk) -> None:
        self.output.setdefault(workload_id, []).extend(chunks)
        self._more.set()

    async def ping(self) -> None:
        self._answer()

    async def instances(self) -> list[Instance]:
        self._answer()
        found = sorted(self.table.values(), key=lambda instance: instance.name)
        if self.late is not None:
            await self.late()
        return found

    async def inspect(self, workload_id: str, generation: int) -> Instance:
        self._answer()
        instance = self.table.get(workload_id)
        if instance is None or instance.generation != generation:
            raise NotFound(workload_id)
        if self.late is not None:
            await self.late()
        return instance

    async def watch(self) -> AsyncIterator[InstanceBegan | InstanceEnded]:
        self._answer()
        while (event := await self._events.get()) is not None:
            yield event
        raise Unreachable("the stream broke off")

    async def logs(
        self, workload_id: str, generation: int, *, since_ns: int = 0, follow: bool = False, **_: Any
    ) -> AsyncIterator[Chunk]:
        self._answer()
        sent = 0
        while True:
            chunks = self.output.get(workload_id, [])
            while sent < len(chunks):
                chunk = chunks[sent]
                sent += 1
                if chunk.at_ns >= since_ns:
                    yield chunk
            if not follow or self.table[workload_id].state == "exited":
                return
            self._more.clear()
            await self._more.wait()
            self._answer()

    async def execute(self, workload_id: str, generation: int, command: Sequence[str], **_: Any) -> _Session:
        self._answer()
        return _Session(self.exec_codes.get(tuple(command), 127), self.exec_hangs)


class _Session:
    def __init__(self, code: int, hangs: bool) -> None:
        self._code, self._hangs = code, hangs
        self.is_closed = False

    async def output(self) -> AsyncIterator[Chunk]:
        yield Chunk("stdout", b"some output\n")
        if self._hangs:
            await asyncio.Event().wait()

    async def exit_code(self) -> int:
        return self._code

    async def close(self) -> None:
        self.is_closed = True


class FakeProber(Prober):
    """Answers as the test says: a fault by workload, after a time by workload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.faults: dict[str, str] = {}
        self.takes_s: dict[str, float] = {}
        self.asked: list[tuple[float, str]] = []

    async def fault(self, instance: Instance, check: HealthCheck) -> str:
        self.asked.append((self._clock.now_ns() / SECOND_NS, instance.workload_id))
        answer = self.faults.get(instance.workload_id, "")
        if instance.workload_id in self.takes_s:
            await sleep(self._clock, round(self.takes_s[instance.workload_id] * SECOND_NS))
        return answer


class Node:
    """One node with the parts of an agent that talk to the core, on the test's clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        node: str = NODE,
        core: FakeCore | None = None,
        heartbeat_s: float = 10,
        interval_s: float = 60,
        cache_ttl_s: float = 300,
        owns: Callable[[Instance], bool] = lambda instance: True,
        companions: Sequence[Companion] = (),
        ping: Callable[[], Awaitable[None]] | None = None,
        engine: ScriptedEngine | None = None,
        prober: FakeProber | None = None,
    ) -> None:
        self.clock = clock
        self.core = core or FakeCore(clock)
        self.engine = engine or ScriptedEngine()
        self.prober = prober or FakeProber(clock)
        self.telemetry = Telemetry()
        self.reporter = Reporter(
            self.core,
            clock,
            cache_ttl_ns=round(cache_ttl_s * SECOND_NS),
            straggler_ns=5 * SECOND_NS,
            telemetry=self.telemetry,
            random=Random(0),
        )
        self.workloads = Workloads(
            self.engine,  # type: ignore[arg-type]
            self.prober,
            self.reporter,
            clock,
            node=node,
            node_address="10.1.1.1",
            owns=owns,
            interval_ns=round(interval_s * SECOND_NS),
            retry_ns=5 * SECOND_NS,
            telemetry=self.telemetry,
            companions=companions,
        )
        self.heartbeat = Heartbeat(
            node,
            self.core,
            ping or self.engine.ping,
            clock,
            interval_ns=round(heartbeat_s * SECOND_NS),
            telemetry=self.telemetry,
        )

    def count(self, name: str, **labels: str) -> float:
        """The value of one of the agent's own metrics."""
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def checked(**check: Any) -> dict[str, str]:
    """The labels of a workload with a health check."""
    return {"ERU_META": encode_meta(Meta(health=HealthCheck(**(check or {"tcp_ports": (80,)}))))}

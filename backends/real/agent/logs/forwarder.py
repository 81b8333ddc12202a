"""One sink and what waits for it."""

from __future__ import annotations

import asyncio

import structlog

from backends.real.agent.logs.sinks import Sink, SinkBroken
from backends.real.agent.logs.spool import Spool
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, sleep

BATCH_BYTES = 1 << 18

_log = structlog.get_logger()


class Forwarder:
    """Sends what is put, in order. `put` never waits and never fails: what cannot be kept is counted as dropped."""

    def __init__(
        self, name: str, sink: Sink, spool: Spool, clock: Clock, *, reconnect_ns: int, telemetry: Telemetry
    ) -> None:
        self.name = name
        self._sink = sink
        self._spool = spool
        self._clock = clock
        self._reconnect_ns = reconnect_ns
        self._telemetry = telemetry
        self._lines = telemetry.log_lines.labels(name)
        self._sent = telemetry.log_sent.labels(name)
        self._spooled = telemetry.log_spooled.labels(name)
        self._filled = asyncio.Event()

    def put(self, record: bytes) -> None:
        """Keep a record until it is sent."""
        self._lines.inc()
        try:
            lost = self._spool.put(record)
        except OSError as error:
            self._drop("disk", 1)
            _log.warning("log spool failed", sink=self.name, error=str(error))
        else:
            self._drop("full", lost)
        self._filled.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                try:
                    await self._sink.open()
                    while True:
                        await self._send()
                except SinkBroken as broken:
                    self._telemetry.log_breaks.labels(self.name).inc()
                    _log.warning("log sink failed", sink=self.name, error=str(broken))
                self._sink.close()
                await sleep(self._clock, self._reconnect_ns)
        finally:
            self._sink.close()

    def close(self) -> None:
        """Let go of the spool, when `run` has ended."""
        self._spool.close()

    async def _send(self) -> None:
        """Send what there is, or wait for something."""
        records = self._spool.take(BATCH_BYTES)
        self._spooled.set(self._spool.size_bytes)
        if not records:
            self._filled.clear()
            await self._filled.wait()
            return
        try:
            lost = await self._sink.send(records)
        except SinkBroken as broken:
            self._done(broken.done, broken.lost)
            raise
        except BaseException:
            self._done(0, 0)
            raise
        self._done(len(records), lost)

    def _done(self, count: int, lost: int) -> None:
        self._spool.done(count)
        self._sent.inc(max(count - lost, 0))
        self._drop("sink", lost)

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self._telemetry.log_dropped.labels(self.name, reason).inc(count)

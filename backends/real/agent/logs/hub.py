"""Reads what workloads write, and hands every line to its sink and to whoever looks on."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from backends.real.agent.identity import Identity
from backends.real.agent.logs.forwarder import Forwarder
from backends.real.agent.logs.lines import LineMaker, LogLine, encode, fnv32a
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, sleep
from backends.real.engines.base import Chunk, Engine, EngineError, Instance, NotFound, Stream, Unsupported
from backends.real.meta import LABEL_CORE_ID

VIEWER_LINES = 1_000
"""So many lines may wait for a viewer."""
MOST_CURSORS = 10_000
_CHUNKS_A_TURN = 32
_DISORDER_NS = 1_000_000_000
"""Times of the two streams and of the start are not in order among each other, but differ by less than that."""

_log = structlog.get_logger()


class Cursors:
    """How far the output of each instance has been read, by stream: the engine's time of the last chunk.

    With a file, a later agent goes on from there. The file is written by `save`, so after a kill some lines are read
    twice. The instances that were read last are remembered.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._at_ns: dict[str, dict[Stream, int]] = {}
        self._is_saved = True
        if file is not None:
            with contextlib.suppress(OSError, msgspec.DecodeError):
                self._at_ns = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[Stream, int]])

    def of(self, engine_id: str) -> dict[Stream, int]:
        """By stream; {} where nothing was read."""
        return dict(self._at_ns.get(engine_id, {}))

    def since_ns(self, engine_id: str) -> int | None:
        """From when on to read in order to miss nothing of either stream; None where nothing was read."""
        at_ns = max(self._at_ns.get(engine_id, {}).values(), default=None)
        return None if at_ns is None else at_ns - _DISORDER_NS

    def move(self, engine_id: str, stream: Stream, at_ns: int) -> None:
        """This was read."""
        streams = self._at_ns.pop(engine_id, {})
        streams[stream] = max(at_ns, streams.get(stream, 0))
        self._at_ns[engine_id] = streams
        if len(self._at_ns) > MOST_CURSORS:
            del self._at_ns[next(iter(self._at_ns))]
        self._is_saved = False

    def save(self) -> None:
        """Write the file, if there is one and anything has changed; what goes wrong is logged."""
        if self._file is None or self._is_saved:
            return
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(self._at_ns))
            os.replace(new, self._file)
        except OSError as error:
            _log.warning("log cursors not saved", error=str(error))
        else:
            self._is_saved = True


class Viewer:
    """Somebody who looks on. `next` waits for a line; what is too much for a slow one is dropped and counted."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(VIEWER_LINES)
        self._dropped = telemetry.log_viewers_dropped

    def show(self, record: bytes) -> None:
        """A line has come."""
        try:
            self._lines.put_nowait(record)
        except asyncio.QueueFull:
            self._dropped.inc()

    async def next(self) -> bytes:
        """The next line, as JSON."""
        return await self._lines.get()


class _Followed:
    def __init__(self, instance: Instance, identity: Identity, since_ns: int) -> None:
        self.instance = instance
        self.identity = identity
        self.since_ns = since_ns
        self.is_attached = True
        self.task: asyncio.Task[None] | None = None


class LogHub:
    """Follows the output of running workloads, if anybody wants it: a sink, the echo, or a viewer of the app.

    A workload's lines go to the sink whose number is the hash of the instance's id, modulo the number of sinks. It is
    read from its start; where that was before the agent's, from where a former agent was, or else from now on.
    """

    def __init__(
        self,
        engine: Engine,
        forwarders: Sequence[Forwarder],
        clock: Clock,
        *,
        echo: Forwarder | None,
        node: str,
        pool: str,
        cursors: Cursors,
        wall_ns: Callable[[], int],
        retry_ns: int,
        save_ns: int,
        telemetry: Telemetry,
    ) -> None:
        self._engine = engine
        self._forwarders = list(forwarders)
        self._clock = clock
        self._echo = echo
        self._node = node
        self._pool = pool
        self._cursors = cursors
        self._wall_ns = wall_ns
        self._began_ns = wall_ns()
        self._retry_ns = retry_ns
        self._save_ns = save_ns
        self._telemetry = telemetry
        self._followed: dict[str, _Followed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._viewers: dict[str, list[Viewer]] = {}

    async def run(self) -> None:
        """Keep the cursors saved until cancelled, then let go of everything."""
        try:
            while True:
                await sleep(self._clock, self._save_ns)
                self._cursors.save()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._cursors.save()

    def attach(self, instance: Instance, identity: Identity, *, is_new: bool) -> None:
        """See `Companion.attach`."""
        known = self._followed.get(instance.workload_id)
        if known is not None and known.instance.engine_id == instance.engine_id:
            known.instance, known.identity, known.is_attached = instance, identity, True
        else:
            if known is not None:
                known.is_attached = False
            known = _Followed(instance, identity, self._since_ns(instance, is_new=is_new))
            self._followed[instance.workload_id] = known
        self._begin(known)

    def _since_ns(self, instance: Instance, *, is_new: bool) -> int:
        """From where to read what is not followed: where it was read before, its start, or now if that was long ago."""
        read_ns = self._cursors.since_ns(instance.engine_id)
        if read_ns is not None:
            return read_ns
        if is_new or instance.started_at_ns >= self._began_ns:
            # Engines note the start when the first lines may have been written already.
            return max(0, instance.started_at_ns - _DISORDER_NS)
        return self._wall_ns()

    def detach(self, workload_id: str) -> None:
        """See `Companion.detach`. What it wrote until its end is still read."""
        known = self._followed.get(workload_id)
        if known is not None:
            known.is_attached = False
            if known.task is None:
                del self._followed[workload_id]

    @contextlib.contextmanager
    def viewing(self, app: str) -> Iterator[Viewer]:
        """Meanwhile, show every line of an app to a viewer."""
        viewer = Viewer(self._telemetry)
        self._viewers.setdefault(app, []).append(viewer)
        try:
            for known in list(self._followed.values()):
                if known.task is None:
                    known.since_ns = self._wall_ns()
                self._begin(known)
            yield viewer
        finally:
            self._viewers[app].remove(viewer)
            if not self._viewers[app]:
                del self._viewers[app]
            for known in self._followed.values():
                if known.task is not None and not self._is_wanted(known):
                    known.task.cancel()

    def _is_wanted(self, followed: _Followed) -> bool:
        return bool(self._forwarders or self._echo or followed.identity.app in self._viewers)

    def _begin(self, followed: _Followed) -> None:
        if followed.task is None and self._is_wanted(followed):
            followed.task = asyncio.create_task(self._follow(followed))
            self._tasks.add(followed.task)
            followed.task.add_done_callback(lambda task: self._on_end(followed, task))

    def _on_end(self, followed: _Followed, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        followed.task = None
        workload_id = followed.instance.workload_id
        if not followed.is_attached and self._followed.get(workload_id) is followed:
            del self._followed[workload_id]
        if not task.cancelled() and task.exception() is not None:
            self._telemetry.faults.labels("logs").inc()
            _log.error("a fault of the agent", workload=workload_id, exc_info=task.exception())

    async def _follow(self, followed: _Followed) -> None:
        """Read until the workload has ended and all of its output was read."""
        by_attaching = "logs" not in self._engine.capabilities
        while True:
            is_whole = False
            try:
                await self._read(followed, by_attaching=by_attaching)
                is_whole = True
            except NotFound:
                return
            except Unsupported as error:
                if by_attaching:
                    _log.warning("output cannot be read", workload=followed.instance.name, error=str(error))
                    return
                by_attaching = True
                continue
            except EngineError as error:
                _log.warning("output broke off", workload=followed.instance.name, error=str(error))
            if is_whole and not followed.is_attached:
                return
            await sleep(self._clock, self._retry_ns)

    async def _read(self, followed: _Followed, *, by_attaching: bool) -> None:
        """Read the output once, until its end, from where it was read before."""
        instance = followed.instance
        extra = {
            "podname": self._pool,
            "nodename": self._node,
            "coreid": instance.labels.get(LABEL_CORE_ID, ""),
            **{f"networks_{name}": address for name, address in sorted(instance.networks.items())},
        }
        maker = LineMaker(instance, followed.identity, extra)
        forwarder = self._forwarder(instance.engine_id)
        read = self._cursors.of(instance.engine_id)
        session = await self._engine.attach(instance.workload_id, instance.generation) if by_attaching else None
        try:
            if session is not None:
                chunks = session.output()
            else:
                since_ns = max(followed.since_ns, self._cursors.since_ns(instance.engine_id) or 0)
                chunks = self._engine.logs(instance.workload_id, instance.generation, since_ns=since_ns, follow=True)
            count = 0
            async for chunk in chunks:
                if chunk.at_ns and chunk.at_ns <= read.get(chunk.stream, 0):
                    continue
                self._pass_on(maker.lines(chunk, self._wall_ns()), followed, forwarder)
                self._note(followed, chunk)
                count += 1
                if count % _CHUNKS_A_TURN == 0:
                    await asyncio.sleep(0)
            self._pass_on(maker.end(), followed, forwarder)
        finally:
            if session is not None:
                await session.close()

    def _note(self, followed: _Followed, chunk: Chunk) -> None:
        """Remember how far it was read; what has no times, as the output of a terminal, by when it was read."""
        if chunk.at_ns:
            self._cursors.move(followed.instance.engine_id, chunk.stream, chunk.at_ns)
        else:
            followed.since_ns = self._wall_ns()

    def _forwarder(self, engine_id: str) -> Forwarder | None:
        return self._forwarders[fnv32a(engine_id) % len(self._forwarders)] if self._forwarders else None

    def _pass_on(self, lines: Iterator[LogLine], followed: _Followed, forwarder: Forwarder | None) -> None:
        for line in lines:
            record = encode(line)
            if forwarder is not None:
                forwarder.put(record)
            if self._echo is not None:
                self._echo.put(record)
            for viewer in self._viewers.get(followed.identity.app, ()):
                viewer.show(record)

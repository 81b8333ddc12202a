"""Inside workloads: commands, consoles, output, files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from backends.real.cluster import LiveCluster
from backends.real.driver import DriverStopped
from backends.real.engines.base import Chunk, EngineError, Session, Unsupported
from backends.real.errors import Conflict, Missing, Rejected
from backends.real.operations import Result
from backends.real.service.calls import Call
from backends.real.service.errors import CallError
from backends.real.service.eru_v1 import reading
from backends.real.service.eru_v1.context import Methods
from backends.real.service.eru_v1.errors import one_line, translate
from backends.real.service.paths import confined
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.template import File
from backends.real.workloads import Place
from scheduler.commands import AnyCommand, PublishResult
from scheduler.events import AnyEvent, RemovalRequested, WorkloadExited

_CHUNK_BYTES = 1 << 20
_TERMINAL_MAX = 65_535
_DRAIN_SECONDS = 2.0


class InsideMethods(Methods):
    """Every public method is one of the wire's."""

    # -- commands and consoles ----------------------------------------------------------------------------------------

    async def Exec(self, requests: AsyncIterator[pb.ExecInput], call: Call) -> AsyncIterator[pb.ExecOutput]:
        """Run a command inside a workload."""
        start = (await _start(requests)).start
        if not start.command:
            raise Rejected("start.command: it is empty")
        place = self.cluster.workloads.place(start.workload_id)
        session = await place.engine.execute(
            place.workload_id,
            place.generation,
            list(start.command),
            env=list(start.env),
            working_dir=start.working_dir,
            user=start.user,
            has_tty=start.has_tty,
            open_stdin=start.open_stdin,
        )
        size = start.size if start.has_tty and start.HasField("size") else None
        async with contextlib.aclosing(_converse(session, requests, call, size, start.open_stdin)) as outputs:
            async for output in outputs:
                yield output

    async def Attach(self, requests: AsyncIterator[pb.AttachInput], call: Call) -> AsyncIterator[pb.ExecOutput]:
        """A workload's own input and output."""
        start = (await _start(requests)).start
        place = self.cluster.workloads.place(start.workload_id)
        session = await place.engine.attach(place.workload_id, place.generation, open_stdin=start.open_stdin)
        call.is_watch = True
        async with contextlib.aclosing(_converse(session, requests, call, None, start.open_stdin)) as outputs:
            async for output in outputs:
                yield output

    # -- output -------------------------------------------------------------------------------------------------------

    async def ReadLogs(self, request: pb.ReadLogsRequest, call: Call) -> AsyncIterator[pb.LogChunk]:
        """What a workload wrote, also one that has ended lately."""
        place = self.cluster.workloads.place(request.workload_id)
        call.is_watch = request.follow
        chunks = place.engine.logs(
            place.workload_id,
            place.generation,
            tail=reading.whole("tail", request.tail) if request.HasField("tail") else None,
            since_ns=reading.whole("since_ns", request.since_ns),
            until_ns=reading.whole("until_ns", request.until_ns),
            follow=request.follow,
        )
        async with _closing(chunks):
            async for chunk in chunks:
                for data in _pieces(chunk.data):
                    yield pb.LogChunk(is_stderr=chunk.stream == "stderr", data=data, at_ns=chunk.at_ns)

    # -- files --------------------------------------------------------------------------------------------------------

    async def CopyOut(self, request: pb.CopyOutRequest, call: Call) -> AsyncIterator[pb.TarChunk]:
        """A tar of a file or directory."""
        path = confined(request.path, or_root=True)
        place = self.cluster.workloads.place(request.workload_id)
        chunks = place.engine.get_archive(place.workload_id, place.generation, path)
        async with _closing(chunks):
            async for chunk in chunks:
                for data in _pieces(chunk):
                    yield pb.TarChunk(data=data)

    async def CopyIn(self, requests: AsyncIterator[pb.CopyInInput], call: Call) -> pb.CopyInResponse:
        """A tar that is unpacked, or files."""
        start = (await _start(requests)).start
        ids = reading.ids("start.workload_ids", start.workload_ids)
        if start.path:
            if len(ids) != 1:
                raise Rejected("start.workload_ids: a tar goes to one workload; send files to reach several")
            place = self.cluster.workloads.place(ids[0])
            path = confined(start.path, "start.path", or_root=True)
            await place.engine.put_archive(place.workload_id, place.generation, path, _tar(requests))
            return pb.CopyInResponse()
        files = await _files(requests)
        # Not before: who still writes would hear that the stream is broken, and not why.
        for workload_id in ids:
            self.cluster.workloads.place(workload_id)
        errors: dict[str, str] = {}
        slots = asyncio.Semaphore(self.options.at_once)

        async def put(workload_id: str) -> None:
            async with slots:
                try:
                    place = self.cluster.workloads.place(workload_id)
                    await place.engine.put_files(place.workload_id, place.generation, files)
                except (EngineError, Missing, Conflict) as error:
                    errors[workload_id] = one_line(error)

        await asyncio.gather(*(put(workload_id) for workload_id in ids))
        return pb.CopyInResponse(errors=errors)

    async def GetWorkloadUsage(self, request: pb.GetWorkloadUsageRequest, call: Call) -> pb.WorkloadUsage:
        """What it has used."""
        place = self.cluster.workloads.place(request.workload_id)
        usage = await place.engine.usage(place.workload_id, place.generation)
        return pb.WorkloadUsage(**{name: getattr(usage, name) for name in usage.__struct_fields__})

    async def CallEngine(self, request: pb.CallEngineRequest, call: Call) -> pb.CallEngineResponse:
        """An operation that only that kind of engine has."""
        place = self.cluster.workloads.place(request.workload_id)
        result = await place.engine.raw(place.workload_id, place.generation, request.operation, request.params)
        return pb.CallEngineResponse(result=result)

    # -- lambdas ------------------------------------------------------------------------------------------------------

    async def Run(self, requests: AsyncIterator[pb.RunInput], call: Call) -> AsyncIterator[pb.RunOutput]:
        """Deploy, pass on output until the copies have ended, tell how, and remove them."""
        start = (await _start(requests)).start
        cluster, operation_id = self.cluster, self.cluster.operations.new_id()
        asked, template = reading.spec(
            cluster, start.spec, operation_id, is_deployment=True, on_node_loss="lose",
            on_exit="end" if start.detach else "hold",
        )  # fmt: skip
        if template.open_stdin and (asked.count != 1 or start.detach):
            raise Rejected("spec.template.open_stdin: what has input is one copy, and not detached")
        event = reading.deployment(cluster, asked, start.spread)
        async with contextlib.aclosing(self._run(event, template, start.detach, requests, call)) as outputs:
            async for output in outputs:
                yield output

    async def _run(
        self,
        event: Any,
        template: Any,
        is_detached: bool,
        requests: AsyncIterator[pb.RunInput],
        call: Call,
    ) -> AsyncGenerator[pb.RunOutput, None]:
        cluster, asked = self.cluster, event.spec
        endings = Endings(cluster)
        started: list[str] = []
        feeder: asyncio.Task[None] | None = None
        try:
            view = await cluster.ask(
                asked.operation_id, event, template=template if asked.template else None,
                keep=True, kind="run", subjects=[asked.workload_id],
            )  # fmt: skip
            async for result in view:
                if result.outcome == "running":
                    started.append(result.subject)
                    yield pb.RunOutput(
                        workload_id=result.subject,
                        started=pb.RunStarted(node_id=result.node_id, operation_id=asked.operation_id),
                    )
                else:
                    yield _ended(result.subject, -1, _why(result))
            if is_detached:
                started.clear()
                return
            if not template.open_stdin:
                feeder = asyncio.create_task(_drop(requests))
            sources = [self._copy(one, endings, requests if template.open_stdin else None, call) for one in started]
            async with contextlib.aclosing(self.merged(sources)) as outputs:
                async for output in outputs:
                    yield output
        finally:
            if feeder is not None:
                feeder.cancel()
                await asyncio.gather(feeder, return_exceptions=True)
            endings.close()
            removals = [RemovalRequested(workload_id=one) for one in started if one in cluster.core.workloads]
            if removals:
                with contextlib.suppress(DriverStopped):
                    cluster.driver.offer(*removals)

    async def _copy(
        self, workload_id: str, endings: Endings, requests: AsyncIterator[pb.RunInput] | None, call: Call
    ) -> AsyncIterator[pb.RunOutput]:
        """What one copy writes, and then how it ended."""
        end = asyncio.ensure_future(endings.of(workload_id))
        try:
            place = self.cluster.workloads.place(workload_id)
            async with contextlib.aclosing(_output(place, requests, call)) as chunks:
                async for chunk in _until(chunks, end):
                    for data in _pieces(chunk.data):
                        if chunk.stream == "stderr":
                            yield pb.RunOutput(workload_id=workload_id, stderr=data)
                        else:
                            yield pb.RunOutput(workload_id=workload_id, stdout=data)
        except Unsupported:
            pass
        except (EngineError, Missing, Conflict) as error:
            yield pb.RunOutput(workload_id=workload_id, stderr=f"{one_line(error)}\n".encode())
        code, why = await end
        yield _ended(workload_id, code, why)


class Endings:
    """How workloads end, as that becomes durable. Make it before they are asked for."""

    def __init__(self, cluster: LiveCluster) -> None:
        self._cluster = cluster
        self._ended: dict[str, tuple[int, str]] = {}
        self._changed = asyncio.Event()
        cluster.driver.committed.append(self._committed)

    async def of(self, workload_id: str) -> tuple[int, str]:
        """The exit code, or -1 and why there is none."""
        while workload_id not in self._ended:
            await self._changed.wait()
        return self._ended[workload_id]

    def close(self) -> None:
        """No longer look."""
        self._cluster.driver.committed.remove(self._committed)

    def _committed(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        live = self._cluster.core.workloads
        for event in events:
            if isinstance(event, WorkloadExited):
                self._ended.setdefault(event.workload_id, (event.exit_code, ""))
        for command in commands:
            if isinstance(command, PublishResult) and command.subject not in live:
                self._ended.setdefault(command.subject, (-1, command.detail or command.outcome))
        self._changed.set()
        self._changed = asyncio.Event()


def _ended(workload_id: str, code: int, why: str) -> pb.RunOutput:
    return pb.RunOutput(workload_id=workload_id, ended=pb.RunEnded(exit_code=code, error=why))


def _why(result: Result) -> str:
    return f"{result.outcome}: {result.detail}" if result.detail else result.outcome


async def _start(requests: AsyncIterator[Any]) -> Any:
    """The first message of a stream."""
    first = await anext(requests, None)
    if first is None or not first.HasField("start"):
        raise Rejected("start: it must be in the first message")
    return first


async def _drop(requests: AsyncIterator[Any]) -> None:
    async for _ in requests:
        pass


# -- sessions ---------------------------------------------------------------------------------------------------------


async def _converse(
    session: Session, requests: AsyncIterator[Any], call: Call, size: pb.TerminalSize | None, has_input: bool
) -> AsyncGenerator[pb.ExecOutput, None]:
    """Pass input and output on until the command has ended, and tell its exit code."""
    feeder = asyncio.create_task(_feed(session, requests, has_input))
    feeder.add_done_callback(_cutter(call))
    try:
        if size is not None:
            await _resize(session, size)
        async for chunk in session.output():
            for data in _pieces(chunk.data):
                yield pb.ExecOutput(stderr=data) if chunk.stream == "stderr" else pb.ExecOutput(stdout=data)
        yield pb.ExecOutput(exited=pb.Exited(exit_code=await session.exit_code()))
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        await session.close()


async def _feed(session: Session, requests: AsyncIterator[Any], has_input: bool) -> None:
    is_open = has_input
    async for message in requests:
        kind = message.WhichOneof("input")
        if kind == "stdin" and is_open:
            await session.write(message.stdin)
        elif kind == "stdin":
            raise Rejected("stdin: it was not opened, or is closed")
        elif kind == "resize":
            await _resize(session, message.resize)
        elif kind == "close_stdin" and is_open:
            is_open = False
            await session.close_input()
        elif kind == "start":
            raise Rejected("start: only the first message may have it")
    if is_open:
        await session.close_input()


async def _resize(session: Session, size: pb.TerminalSize) -> None:
    rows = reading.whole("resize.rows", size.rows, 1, _TERMINAL_MAX)
    await session.resize(rows, reading.whole("resize.columns", size.columns, 1, _TERMINAL_MAX))


def _cutter(call: Call) -> Callable[[asyncio.Task[None]], None]:
    """Ends the call when its input went wrong."""

    def cut(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CallError):
            call.cut(error)
        elif isinstance(error, Exception):
            found = translate("", error)
            if found is not None:
                call.cut(found)

    return cut


async def _output(place: Place, requests: AsyncIterator[pb.RunInput] | None, call: Call) -> AsyncGenerator[Chunk, None]:
    """What a copy writes from its beginning, or with input from now on."""
    if requests is None:
        chunks = place.engine.logs(place.workload_id, place.generation, follow=True)
        async with _closing(chunks):
            async for chunk in chunks:
                yield chunk
        return
    session = await place.engine.attach(place.workload_id, place.generation, open_stdin=True)
    feeder = asyncio.create_task(_feed(session, requests, has_input=True))
    feeder.add_done_callback(_cutter(call))
    try:
        async for chunk in session.output():
            yield chunk
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        await session.close()


async def _until(chunks: AsyncIterator[Chunk], end: asyncio.Future[tuple[int, str]]) -> AsyncIterator[Chunk]:
    """Yield chunks to their end, and no longer than a little while after ``end``."""
    while True:
        following = asyncio.ensure_future(_next(chunks))
        try:
            await asyncio.wait((following, end), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                await asyncio.wait((following,), timeout=_DRAIN_SECONDS)
            if not following.done():
                return
            chunk = following.result()
        finally:
            if not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        if chunk is None:
            return
        yield chunk


async def _next(chunks: AsyncIterator[Chunk]) -> Chunk | None:
    return await anext(chunks, None)


def _pieces(data: bytes) -> list[bytes]:
    """No message is very large."""
    return [data[place : place + _CHUNK_BYTES] for place in range(0, len(data), _CHUNK_BYTES)]


@contextlib.asynccontextmanager
async def _closing(chunks: Any) -> AsyncIterator[None]:
    """Have an iterator closed at once, if it can be."""
    try:
        yield
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


# -- files ------------------------------------------------------------------------------------------------------------


async def _tar(requests: AsyncIterator[pb.CopyInInput]) -> AsyncIterator[bytes]:
    async for message in requests:
        if message.WhichOneof("input") != "tar":
            raise Rejected("tar: after a path only pieces of a tar may come")
        yield message.tar


async def _files(requests: AsyncIterator[pb.CopyInInput]) -> dict[str, File]:
    files: dict[str, File] = {}
    total = 0
    async for message in requests:
        if message.WhichOneof("input") != "file":
            raise Rejected("file: without a path only files may come")
        path = confined(message.file.path, "file.path")
        total += len(message.file.file.content)
        if total > reading.FILES_BYTES_MAX:
            raise Rejected(f"file: more than {reading.FILES_BYTES_MAX} bytes; send a tar")
        files[path] = reading.file(path, message.file.file)
    if not files:
        raise Rejected("file: there is none")
    return files

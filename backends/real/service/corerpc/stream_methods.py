"""What goes on inside workloads: commands, lambdas and logs."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog

from backends.real.engines.base import Chunk, EngineError, NotFound, Session, Unsupported
from backends.real.service.calls import Call
from backends.real.service.corerpc import frames
from backends.real.service.corerpc.context import REFUSALS, Context
from backends.real.service.corerpc.deploy import Deployment, read_deployment
from backends.real.service.corerpc.errors import WireError
from backends.real.service.corerpc.workload_methods import WorkloadMethods
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.streams import closing, merged
from backends.real.workloads import Place
from scheduler.events import RemovalRequested

SECOND_NS = 1_000_000_000
_LAMBDA_SECONDS_MAX = 10**7
_DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_FRAME_BYTES = 64 * 1024

_log = structlog.get_logger("eru.corerpc")


class StreamMethods(WorkloadMethods):
    """See the module. Every public method is one of the wire's."""

    async def ExecuteWorkload(
        self, requests: AsyncIterator[pb.ExecuteWorkloadOptions], call: Call
    ) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """Run a command inside a workload. With ``open_stdin`` it has a terminal, and later messages are its input."""
        first = await anext(requests, None)
        if first is None or not first.workload_id:
            raise WireError("workload_id: it is missing")
        if not first.commands:
            raise WireError("commands: they are missing")
        place = self.cluster.workloads.place(first.workload_id)
        session = await place.engine.execute(
            place.workload_id,
            place.generation,
            list(first.commands),
            env=list(first.envs),
            working_dir=first.workdir,
            has_tty=first.open_stdin,
            open_stdin=first.open_stdin,
        )
        pump = asyncio.create_task(_pump(session, (message.repl_cmd async for message in requests), first.open_stdin))
        try:
            async with closing(_output(first.workload_id, session, is_raw=first.open_stdin)) as messages:
                async for message in messages:
                    yield message
            data = frames.exit_frame(await session.exit_code())
            yield pb.AttachWorkloadMessage(workload_id=first.workload_id, data=data)
        except EngineError as error:
            yield _failure(first.workload_id, error)
        finally:
            await _stop(pump)
            await session.close()

    async def RunAndWait(
        self, requests: AsyncIterator[pb.RunAndWaitOptions], call: Call
    ) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """Deploy, tell the ids, pass on what the instances write until they have ended, and remove them."""
        first = await anext(requests, None)
        if first is None or not first.HasField("deploy_options"):
            raise WireError("deploy_options: they are missing")
        is_async = getattr(first, "async")
        options = pb.DeployOptions()
        options.CopyFrom(first.deploy_options)
        options.open_stdin = options.open_stdin and not is_async
        if options.open_stdin and (options.count != 1 or options.deploy_strategy != pb.DeployOptions.AUTO):
            raise WireError("open_stdin: a lambda with input must have count 1 and strategy AUTO")
        if not 0 <= first.async_timeout <= _LAMBDA_SECONDS_MAX:
            raise WireError(f"async_timeout: {first.async_timeout} must be from 0 to {_LAMBDA_SECONDS_MAX}")
        asked = read_deployment(options, self.context.wire)
        run = Lambda(self, asked)
        ending = run.clean_up()
        try:
            async with closing(run.start()) as messages:
                async for message in messages:
                    yield message
            if is_async:
                ending.close()
                ending = run.log(first.async_timeout or self.context.options.lambda_seconds)
                return
            async with closing(run.run(message.cmd async for message in requests)) as messages:
                async for message in messages:
                    yield message
        finally:
            self.context.spawn(ending)

    async def LogStream(self, request: pb.LogStreamOptions, call: Call) -> AsyncIterator[pb.LogStreamMessage]:
        """What a workload wrote, the last ``tail`` lines or all, and with ``follow`` what it will write."""
        now_ns = self.cluster.clock.now_ns()
        tail = _tail(request.tail)
        since_ns, until_ns = instant("since", request.since, now_ns), instant("until", request.until, now_ns)
        place = self.cluster.workloads.place(request.id)
        chunks = place.engine.logs(
            place.workload_id,
            place.generation,
            tail=tail,
            since_ns=since_ns,
            until_ns=until_ns,
            follow=request.follow,
        )
        is_first = True
        try:
            async with closing(chunks):
                async for chunk in chunks:
                    is_first = False
                    for data in _cut(chunk.data):
                        yield pb.LogStreamMessage(id=request.id, data=data, std_stream_type=_stream(chunk))
        except EngineError as error:
            if is_first:
                raise
            yield pb.LogStreamMessage(id=request.id, error=str(error))


class Lambda:
    """One RunAndWait. Its workloads end when they exit, so that nothing stays where this service goes down."""

    def __init__(self, methods: StreamMethods, asked: Deployment) -> None:
        self._methods = methods
        self._context: Context = methods.context
        self._asked = asked
        self._ids: list[str] = []

    async def start(self) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """Deploy; when every instance has started or failed, tell the ids first, then what failed."""
        view = await self._methods.deploy(self._asked, on_exit="end")
        failures = []
        for result in await view.done():
            if result.outcome in ("running", "completed", "failed") and self._is_known(result.subject):
                self._ids.append(result.subject)
            else:
                failures.append((result.subject, result.detail or f"it is {result.outcome}"))
        for workload_id in self._ids:
            yield pb.AttachWorkloadMessage(workload_id=workload_id, std_stream_type=pb.TYPEWORKLOADID)
        for _, why in failures:
            data = f"Create workload failed {why}".encode()
            yield pb.AttachWorkloadMessage(data=data, std_stream_type=pb.ERUERROR)

    def _is_known(self, workload_id: str) -> bool:
        try:
            self._context.cluster.workloads.place(workload_id)
        except REFUSALS:
            return False
        return True

    def run(self, stdin: AsyncIterator[bytes]) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """Pass on what the instances write, each with its exit code at the end."""
        if self._asked.template.open_stdin:
            sources = [self._attached(workload_id, stdin) for workload_id in self._ids]
        else:
            sources = [self._followed(workload_id) for workload_id in self._ids]
        return merged(sources, len(sources))

    async def _followed(self, workload_id: str) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """One instance by its log, from the beginning."""
        try:
            place = self._context.cluster.workloads.place(workload_id)
            lines = {"stdout": frames.Lines(), "stderr": frames.Lines()}
            async with closing(place.engine.logs(place.workload_id, place.generation, follow=True)) as chunks:
                async for chunk in chunks:
                    for data in lines[chunk.stream].add(chunk.data):
                        yield _frame(workload_id, chunk.stream, data)
            for stream, rest in lines.items():
                for data in rest.end():
                    yield _frame(workload_id, stream, data)
            exit_code = await self._exit_code(place)
        except REFUSALS as error:
            yield _failure(workload_id, error)
            return
        yield pb.AttachWorkloadMessage(workload_id=workload_id, data=frames.exit_frame(exit_code))

    async def _attached(self, workload_id: str, stdin: AsyncIterator[bytes]) -> AsyncIterator[pb.AttachWorkloadMessage]:
        """One instance by its console."""
        try:
            place = self._context.cluster.workloads.place(workload_id)
            session = await place.engine.attach(place.workload_id, place.generation, open_stdin=True)
        except REFUSALS as error:
            yield _failure(workload_id, error)
            return
        pump = asyncio.create_task(_pump(session, stdin, True))
        try:
            async with closing(_output(workload_id, session, is_raw=True)) as messages:
                async for message in messages:
                    yield message
            exit_code = await session.exit_code()
            yield pb.AttachWorkloadMessage(workload_id=workload_id, data=frames.exit_frame(exit_code))
        except EngineError as error:
            yield _failure(workload_id, error)
        finally:
            await _stop(pump)
            await session.close()

    async def _exit_code(self, place: Place) -> int:
        """Wait for the end of an instance that has closed its log."""
        pause = 0.02
        while True:
            instance = await place.engine.inspect(place.workload_id, place.generation)
            if instance.state == "exited":
                return instance.exit_code or 0
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def log(self, seconds: float) -> None:
        """Nobody listens: write it to our log, for so long; then remove what is left. Cancelled, it removes nothing."""
        try:
            async with asyncio.timeout(seconds):
                async with closing(self.run(_silence())) as messages:
                    async for message in messages:
                        text = message.data.decode(errors="replace")
                        _log.info("lambda", workload=message.workload_id, stream=message.std_stream_type, output=text)
        except TimeoutError:
            _log.warning("lambda timed out", workloads=self._ids, seconds=seconds)
        await self.clean_up()

    async def clean_up(self) -> None:
        """Leave nothing of it, whatever has become of it."""
        for workload_id in self._ids:
            try:
                if workload_id in self._context.cluster.core.workloads:
                    operation_id = self._context.cluster.operations.new_id()
                    await self._context.ask_one(RemovalRequested(workload_id=workload_id, operation_id=operation_id))
                if workload_id not in self._context.cluster.core.workloads:
                    place = self._context.cluster.workloads.place(workload_id)
                    await place.engine.stop(place.workload_id, place.generation, keep=False, grace_ns=0)
            except (NotFound, Unsupported, *REFUSALS):
                continue  # the cluster removes it later


async def _silence() -> AsyncIterator[bytes]:
    nothing: list[bytes] = []
    for data in nothing:
        yield data


async def _pump(session: Session, messages: AsyncIterator[bytes], is_open: bool) -> None:
    """Pass a client's messages on to a session until it closes its input."""
    async for data in messages:
        if not is_open:
            continue
        command = frames.read_input(data)
        try:
            if isinstance(command, frames.Resize):
                await session.resize(command.rows, command.columns)
            elif isinstance(command, frames.CloseInput):
                await session.close_input()
            elif isinstance(command, frames.Input) and command.data:
                await session.write(command.data)
        except EngineError:
            continue  # a resize without a terminal, or input for what has ended
    if is_open:
        with contextlib.suppress(EngineError):
            await session.close_input()


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _output(workload_id: str, session: Session, *, is_raw: bool) -> AsyncIterator[pb.AttachWorkloadMessage]:
    """A session's output: as it comes where there is a terminal, else line by line."""
    lines = {"stdout": frames.Lines(), "stderr": frames.Lines()}
    async with closing(session.output()) as chunks:
        async for chunk in chunks:
            for data in _cut(chunk.data) if is_raw else lines[chunk.stream].add(chunk.data):
                yield _frame(workload_id, chunk.stream, data)
    for stream, rest in lines.items():
        for data in rest.end():
            yield _frame(workload_id, stream, data)


def _cut(data: bytes) -> list[bytes]:
    return [data[start : start + _FRAME_BYTES] for start in range(0, len(data), _FRAME_BYTES)]


def _frame(workload_id: str, stream: str, data: bytes) -> pb.AttachWorkloadMessage:
    kind = pb.STDERR if stream == "stderr" else pb.STDOUT
    return pb.AttachWorkloadMessage(workload_id=workload_id, data=data, std_stream_type=kind)


def _failure(workload_id: str, error: Exception) -> pb.AttachWorkloadMessage:
    data = " ".join(str(error).split()).encode()
    return pb.AttachWorkloadMessage(workload_id=workload_id, data=data, std_stream_type=pb.ERUERROR)


def _stream(chunk: Chunk) -> pb.StdStreamType:
    return pb.STDERR if chunk.stream == "stderr" else pb.STDOUT


def _tail(text: str) -> int | None:
    if text in ("", "all"):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise WireError(f"tail: {text[:60]!r} must be 'all' or a number of lines")
    return int(text)


def instant(field: str, text: str, now_ns: int) -> int:
    """An instant as Docker's clients write it, in nanoseconds: seconds since 1970, a duration before now such as 1h30m,
    or a date and time; "" is 0, no bound.
    """
    if not text:
        return 0
    if _SECONDS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return int(whole) * SECOND_NS + int(fraction.ljust(9, "0"))
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        hours, minutes, seconds = (float(part or 0) for part in duration.groups())
        return max(now_ns - round(((hours * 60 + minutes) * 60 + seconds) * SECOND_NS), 1)
    try:
        moment = datetime.fromisoformat(text)
        return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise WireError(f"{field}: {text[:60]!r} is neither seconds since 1970, nor a duration, nor a date") from None

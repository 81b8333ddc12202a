"""Commands that run somewhere else with our input and output: exec, attach, lambda."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.live import terminal
from eru_sim.cli.live.failures import ServiceError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

OURS = 255
"""The exit code where it was not the remote command that failed; ssh and Eru use the same."""


def outgoing(message: Callable[..., Any], start: Any, *, stdin: bool, sizes: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    """What is sent: the start, then what is typed, until its end, and sizes of the terminal."""

    async def send() -> AsyncIterator[Any]:
        yield message(start=start)
        queue: asyncio.Queue[Any] = sizes
        reader = asyncio.create_task(_read(queue)) if stdin else None
        try:
            while True:
                item = await queue.get()
                if isinstance(item, terminal.Size):
                    yield message(resize=pb.TerminalSize(rows=item.rows, columns=item.columns))
                elif item:
                    yield message(stdin=item)
                else:
                    yield message(close_stdin=pb.CloseStdin())
        finally:
            if reader is not None:
                reader.cancel()

    return send()


async def _read(queue: asyncio.Queue[Any]) -> None:
    async for data in terminal.typed():
        await queue.put(data)
    await queue.put(b"")


async def session(
    service: Service, method: str, message: Callable[..., Any], start: Any, *, stdin: bool, tty: bool
) -> int:
    """Exec or attach: pass everything through until the end, and return the exit code.

    Interrupted, it lets go; what runs there is left alone.
    """
    sizes: asyncio.Queue[Any] = asyncio.Queue(maxsize=8)

    def resized(size: terminal.Size) -> None:
        if not sizes.full():
            sizes.put_nowait(size)

    with ExitStack() as stack:
        if tty and terminal.is_terminal():
            stack.enter_context(terminal.raw())
            stack.enter_context(terminal.on_resize(resized))
        requests = outgoing(message, start, stdin=stdin, sizes=sizes)
        try:
            async for output in service.stream(method, requests):
                kind = output.WhichOneof("output")
                if kind == "exited":
                    return int(output.exited.exit_code)
                terminal.write(output.stdout or output.stderr, to_stderr=kind == "stderr")
        except ServiceError as error:
            raise ServiceError(error.status, str(error), OURS) from None
    raise ServiceError("CANCELLED", "the session ended, and the exit code was not told", OURS)


class Outputs:
    """Output of several copies: each line behind the name of its copy, in whole lines."""

    def __init__(self, *, is_prefixed: bool, is_kept: bool) -> None:
        self._is_prefixed = is_prefixed
        self._parts: dict[tuple[str, bool], bytearray] = {}
        self.kept: dict[tuple[str, bool], bytearray] | None = {} if is_kept else None

    def add(self, workload_id: str, data: bytes, *, is_stderr: bool) -> None:
        """Some output of a copy."""
        key = (workload_id, is_stderr)
        if self.kept is not None:
            self.kept.setdefault(key, bytearray()).extend(data)
        elif not self._is_prefixed:
            terminal.write(data, to_stderr=is_stderr)
        else:
            part = self._parts.setdefault(key, bytearray())
            part.extend(data)
            whole, found, rest = bytes(part).rpartition(b"\n")
            if found:
                self._lines(key, whole.split(b"\n"))
                part[:] = rest

    def end(self) -> None:
        """Show what was left without a line break."""
        for key, part in self._parts.items():
            if part:
                self._lines(key, [bytes(part)])
        self._parts.clear()

    def _lines(self, key: tuple[str, bool], lines: list[bytes]) -> None:
        name = key[0].rpartition("/")[2].encode()
        terminal.write(b"".join(b"%s| %s\n" % (name, line) for line in lines), to_stderr=key[1])

    def text(self, workload_id: str, *, is_stderr: bool) -> str:
        """All that was kept of a copy."""
        return bytes((self.kept or {}).get((workload_id, is_stderr), b"")).decode(errors="replace")


async def run(
    service: Service, start: Any, *, stdin: bool, tty: bool, keep: bool
) -> tuple[list[dict[str, Any]], Outputs]:
    """Run copies to their end; how each ended, in the order of the first to say something."""
    outputs = Outputs(is_prefixed=start.spec.count > 1, is_kept=keep)
    sizes: asyncio.Queue[Any] = asyncio.Queue(maxsize=8)
    records: dict[str, dict[str, Any]] = {}

    def resized(size: terminal.Size) -> None:
        if not sizes.full():
            sizes.put_nowait(size)

    with ExitStack() as stack:
        if tty and terminal.is_terminal():
            stack.enter_context(terminal.raw())
            stack.enter_context(terminal.on_resize(resized))
        requests = outgoing(pb.RunInput, start, stdin=stdin, sizes=sizes)
        try:
            async for output in service.stream("Run", requests):
                _take(output, records, outputs)
        except ServiceError as error:
            raise ServiceError(error.status, str(error), OURS) from None
        finally:
            outputs.end()
            sys.stdout.flush()
    return list(records.values()), outputs


def _take(output: Any, records: dict[str, dict[str, Any]], outputs: Outputs) -> None:
    kind = output.WhichOneof("output")
    known = records.setdefault(
        output.workload_id,
        {"workload_id": output.workload_id, "node_id": None, "operation_id": None, "exit_code": None, "error": ""},
    )
    if kind == "started":
        known["node_id"], known["operation_id"] = output.started.node_id, output.started.operation_id
    elif kind == "ended":
        known["exit_code"], known["error"] = output.ended.exit_code, output.ended.error
    elif kind is not None:
        outputs.add(output.workload_id, getattr(output, kind), is_stderr=kind == "stderr")


def exit_code(records: list[dict[str, Any]]) -> int:
    """The first code that is not 0; `OURS` where a copy never ran or nobody knows how it ended."""
    for record in records:
        code = record["exit_code"]
        if code is None or code < 0 or (code == 0 and record["error"]):
            return OURS
        if code:
            return code & 0xFF or OURS
    return 0 if records else OURS

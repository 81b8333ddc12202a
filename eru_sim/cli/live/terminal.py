"""The user's terminal, while a command somewhere else has it: raw mode, its size, and what is typed or piped in."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

_CHUNK = 65_536
_AHEAD = 4
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Size(NamedTuple):
    """Of a terminal."""

    rows: int
    columns: int


def size() -> Size:
    """Of ours now, whatever the environment says."""
    try:
        columns, rows = os.get_terminal_size(sys.stdin.fileno())
    except (OSError, ValueError):
        columns, rows = 80, 24
    return Size(rows, columns)


def is_terminal() -> bool:
    """Whether somebody sits at both ends."""
    with suppress(OSError, ValueError):
        return sys.stdin.isatty() and sys.stdout.isatty()
    return False


@contextmanager
def raw() -> Iterator[None]:
    """Every key goes through as it is, Ctrl-C too; whatever happens the terminal is as before afterwards, also where
    a signal ends the process.
    """
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    try:
        for number in _ENDS:
            loop.add_signal_handler(number, end, number)
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number in _ENDS:
            loop.remove_signal_handler(number)


@contextmanager
def on_resize(tell: Callable[[Size], None]) -> Iterator[None]:
    """Call ``tell`` whenever the terminal gets another size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: tell(size()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def typed() -> AsyncIterator[bytes]:
    """What comes in on stdin, until its end. A slow reader slows down who writes."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    ended = threading.Event()
    descriptor = sys.stdin.fileno()

    def pump() -> None:
        data = b"?"
        while data and not ended.is_set():
            room.acquire()
            try:
                data = os.read(descriptor, _CHUNK)
            except OSError:
                data = b""
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(queue.put_nowait, data)

    threading.Thread(target=pump, daemon=True, name="stdin").start()
    try:
        while data := await queue.get():
            yield data
            room.release()
    finally:
        ended.set()
        room.release()


def write(data: bytes, *, to_stderr: bool = False) -> None:
    """Pass output on at once, byte for byte."""
    stream = sys.stderr if to_stderr else sys.stdout
    stream.buffer.write(data)
    stream.buffer.flush()

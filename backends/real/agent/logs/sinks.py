"""Where lines go: ``tcp://HOST:PORT``, ``udp://HOST:PORT``, ``journal://``, ``file:///PATH``, ``discard://``."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from backends.real.agent.logs.lines import decode

DISCARD = "__discard__"
"""Eru's own name of the sink ``discard://``."""
JOURNAL_SOCKET = "/run/systemd/journal/socket"
DIAL_TIMEOUT_S = 5.0
STALL_TIMEOUT_MS = 30_000
"""So long a TCP sink may take nothing before the connection counts as broken."""
LONGEST_DATAGRAM_BYTES = 65_507

_INFORMATION = b"6"
_STDOUT = 1


class SinkBroken(Exception):
    """The sink failed; ``done`` of the records that it was given need not be sent again, of which ``lost`` are lost."""

    def __init__(self, reason: str, *, done: int = 0, lost: int = 0) -> None:
        super().__init__(reason)
        self.done = done
        self.lost = lost


class Sink(Protocol):
    """A place for records. After `SinkBroken`, and first of all, it has to be opened."""

    async def open(self) -> None:
        """Make it ready; `SinkBroken` where that fails."""

    async def send(self, records: Sequence[bytes]) -> int:
        """Hand over all of them, in order; return how many of them it can never take. Else `SinkBroken`."""

    def close(self) -> None:
        """Let go of it; more than once does no harm."""


def make_sink(url: str) -> Sink:
    """The sink of a URL; ValueError says what is wrong with it and what there is."""
    if url == DISCARD:
        return DiscardSink()
    parts = urlsplit(url)
    make = _SCHEMES.get(parts.scheme)
    if make is None:
        raise ValueError(f"{url!r} is no sink; write {', '.join(_EXAMPLES)} or {DISCARD}")
    return make(url)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r} is not an address; write e.g. {parts.scheme}://127.0.0.1:5144")
    return host, port


def _path(url: str, default: str = "") -> Path:
    parts = urlsplit(url)
    path = parts.path or default
    if parts.netloc or not path.startswith("/"):
        raise ValueError(f"{url!r} does not name an absolute path; write e.g. {parts.scheme}:///var/log/eru.log")
    return Path(path)


class DiscardSink:
    """Takes everything and keeps nothing."""

    async def open(self) -> None:
        """See `Sink.open`."""

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        return 0

    def close(self) -> None:
        """See `Sink.close`."""


class TcpSink:
    """JSON lines over TCP. Sent is what the other machine has acknowledged; whether a program read it, nobody knows."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """See `Sink.open`."""
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise SinkBroken(str(error) or "no connection in time") from None
        self._writer.transport.set_write_buffer_limits(high=0)
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_TIMEOUT_MS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        if self._writer is None or self._reader is None:
            raise SinkBroken("not connected")
        try:
            self._writer.write(b"".join(record + b"\n" for record in records))
            await self._writer.drain()
            pause_s = 0.0005
            while self._unacknowledged(self._writer):
                # A sink says nothing; what can be read is the end of the connection.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        while await self._reader.read(4096):
                            pass
                        raise SinkBroken("the sink closed the connection")
                pause_s = min(pause_s * 2, 0.05)
        except OSError as error:
            raise SinkBroken(str(error)) from None
        if self._reader.at_eof():
            raise SinkBroken("the sink closed the connection")
        return 0

    @staticmethod
    def _unacknowledged(writer: asyncio.StreamWriter) -> int:
        if writer.transport.is_closing():
            raise SinkBroken("the connection was lost")
        waiting = array.array("i", [0])
        fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        return waiting[0]

    def close(self) -> None:
        """See `Sink.close`."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class _DatagramSink:
    """One datagram a record."""

    _refuses_late = False
    """Whether a refusal is the answer to the datagram before."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    async def _connect(self, family: int, address: tuple[str, int] | str) -> None:
        self.close()
        found = socket.socket(family, socket.SOCK_DGRAM)
        found.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(found, address)
        except OSError as error:
            found.close()
            raise SinkBroken(str(error)) from None
        self._socket = found

    async def _send_each(self, records: Sequence[bytes], send: Callable[[socket.socket, bytes], None]) -> int:
        too_large = 0
        for number, record in enumerate(records):
            if self._socket is None:
                raise SinkBroken("not connected", done=number)
            while True:
                try:
                    send(self._socket, record)
                except BlockingIOError:
                    await asyncio.sleep(0.005)
                    continue
                except _TooLargeError:
                    too_large += 1
                except OSError as error:
                    late = self._refuses_late and isinstance(error, ConnectionRefusedError)
                    raise SinkBroken(str(error), done=number, lost=too_large + late) from None
                break
        return too_large

    def close(self) -> None:
        """See `Sink.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _TooLargeError(Exception):
    pass


class UdpSink(_DatagramSink):
    """A JSON line in each datagram. Nobody knows whether it arrives; a refusal is noticed with the next one."""

    _refuses_late = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._host, self._port = host, port

    async def open(self) -> None:
        """See `Sink.open`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError) as error:
            raise SinkBroken(str(error) or f"{self._host}: no address in time") from None
        family, _, _, _, address = found[0]
        await self._connect(family, address)  # type: ignore[arg-type]

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        return await self._send_each(records, self._send)

    @staticmethod
    def _send(connection: socket.socket, record: bytes) -> None:
        if len(record) + 1 > LONGEST_DATAGRAM_BYTES:
            raise _TooLargeError
        connection.send(record + b"\n")


class JournalSink(_DatagramSink):
    """systemd's journal, by its own protocol."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def open(self) -> None:
        """See `Sink.open`."""
        await self._connect(socket.AF_UNIX, str(self._path))

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        return await self._send_each(records, self._send)

    @staticmethod
    def _send(connection: socket.socket, record: bytes) -> None:
        entry = journal_entry(record)
        try:
            connection.send(entry)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and error.errno in _TOO_LARGE:
                _send_as_file(connection, entry)
            else:
                raise


_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)


def _send_as_file(connection: socket.socket, entry: bytes) -> None:
    """Hand over what is too long for a datagram: a sealed file in memory, as the protocol has it."""
    file = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(file, entry)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(connection, [b""], [file])
    finally:
        os.close(file)


def journal_entry(record: bytes) -> bytes:
    """A record in the journal's native form."""
    line = decode(record)
    fields = {
        "SYSLOG_IDENTIFIER": line.name,
        "MESSAGE": line.data,
        "ID": line.id,
        "TYPE": line.type,
        "ENTRY_POINT": line.entrypoint,
        "IDENT": line.ident,
        "DATE_TIME": line.datetime,
        "EXTRA": msgspec.json.encode(line.extra).decode(),
    }
    entry = [b"PRIORITY=" + _INFORMATION + b"\n"]
    for name, text in fields.items():
        value = text.encode()
        if b"\n" in value:
            entry.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            entry.append(name.encode() + b"=" + value + b"\n")
    return b"".join(entry)


class FileSink:
    """JSON lines at the end of a file. It is opened anew when somebody moved it away, as logrotate does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    async def open(self) -> None:
        """See `Sink.open`."""
        self.close()
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SinkBroken(str(error)) from None

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        if self._file is None or self._was_moved(self._file):
            await self.open()
        assert self._file is not None
        try:
            await _in_thread(_append, self._file, b"".join(record + b"\n" for record in records))
        except OSError as error:
            raise SinkBroken(str(error)) from None
        return 0

    def _was_moved(self, file: int) -> bool:
        try:
            there, ours = os.stat(self._path), os.fstat(file)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """See `Sink.close`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _append(file: int, data: bytes) -> None:
    """Write all of it or nothing."""
    before = os.fstat(file).st_size
    try:
        _write_all(file, data)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, before)
        raise


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


async def _in_thread(work: Callable[[int, bytes], None], file: int, data: bytes) -> None:
    """Do what may block. A thread that never returns does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: OSError | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error = None
        try:
            work(file, data)
        except OSError as failure:
            error = failure
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="log-writer", daemon=True).start()
    await done


class StdoutSink:
    """JSON lines on the agent's own stdout."""

    async def open(self) -> None:
        """See `Sink.open`."""

    async def send(self, records: Sequence[bytes]) -> int:
        """See `Sink.send`."""
        try:
            await _in_thread(_write_all, _STDOUT, b"".join(record + b"\n" for record in records))
        except OSError as error:
            raise SinkBroken(str(error)) from None
        return 0

    def close(self) -> None:
        """See `Sink.close`."""


_SCHEMES: dict[str, Callable[[str], Sink]] = {
    "tcp": lambda url: TcpSink(*_address(url)),
    "udp": lambda url: UdpSink(*_address(url)),
    "journal": lambda url: JournalSink(_path(url, JOURNAL_SOCKET)),
    "file": lambda url: FileSink(_path(url)),
    "discard": lambda url: DiscardSink(),
}
_EXAMPLES = ("tcp://HOST:PORT", "udp://HOST:PORT", "journal://", "file:///PATH", "discard://")

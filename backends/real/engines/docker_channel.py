"""A connection to Docker that has become a channel of bytes, as exec and attach use it.

Theory of operation. After the answer's head both sides send raw bytes. The input must be closed without the output, or
``sort`` would never print anything. A socket can be half closed, but asyncio's own TLS cannot, so TLS is done here: an
`ssl.SSLObject` between two buffers, and "close notify" sent while reading goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

_LIMIT_BYTES = 1 << 17
_READ_BYTES = 1 << 16
_HEADER = struct.Struct(">BxxxL")

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, "Channel"]]]


class Refused(Exception):
    """The daemon did not make a channel of the connection."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Channel(asyncio.Protocol):
    """Bytes in both directions. At most some 200 KB wait to be read: then the sender has to wait."""

    def __init__(self, tls: ssl.SSLContext | None, host: str) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._is_ended = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._is_paused = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = None if tls is None else tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._is_secured = tls is None

    async def read(self) -> bytes:
        """Some bytes, b"" at the end; OSError where the connection broke."""
        await self._wait_received(1)
        found = bytes(self._received)
        self._received.clear()
        self._resume()
        return found

    async def write(self, data: bytes) -> None:
        """Send, as fast as the other side takes it; OSError where it takes no more."""
        await self._can_write.wait()
        if self._transport is None or self._transport.is_closing():
            raise BrokenPipeError("the other side has closed the connection")
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)
            self._flush()
        await self._can_write.wait()

    def close_input(self) -> None:
        """Tell the other side that nothing more comes."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write_eof()
            return
        self._decrypt()
        # It would also wait for the other side's close notify, which comes when all output has.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        """Let go of the connection, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    async def secure(self) -> None:
        """Wait for the handshake; OSError where it fails."""
        self._decrypt()
        while not self._is_secured:
            self._changed.clear()
            self._check_broken()
            if self._is_ended:
                raise ConnectionResetError("closed during the handshake")
            await self._changed.wait()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer, names in lower case."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            await self._wait_received(len(self._received) + 1)
            if self._is_ended and b"\r\n\r\n" not in self._received:
                raise ConnectionResetError("closed before an answer")
        first, *rest = self._received[:end].decode("latin-1").split("\r\n")
        del self._received[: end + 4]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return int(first.split()[1]), headers

    async def read_body(self, headers: dict[str, str]) -> bytes:
        """The body of an answer that is no channel."""
        size = int(headers.get("content-length", "-1"))
        while size < 0 or len(self._received) < size:
            if not await self._wait_received(len(self._received) + 1):
                break
        return bytes(self._received if size < 0 else self._received[:size])

    async def _wait_received(self, count: int) -> bool:
        """Wait until so many bytes are there (True) or no more come."""
        while len(self._received) < count:
            self._check_broken()
            if self._is_ended:
                return False
            self._resume()
            self._changed.clear()
            await self._changed.wait()
        return True

    def _check_broken(self) -> None:
        if self._error is not None and not self._received:
            raise self._error

    def _decrypt(self) -> None:
        """Take what has come through TLS."""
        assert self._tls is not None or self._is_secured
        if self._tls is None:
            return
        try:
            if not self._is_secured:
                self._tls.do_handshake()
                self._is_secured = True
            while data := self._tls.read(_READ_BYTES):
                self._received += data
            self._is_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._is_ended = True
        except ssl.SSLError as error:
            self._error = ConnectionError(f"TLS: {error.reason or error}")
            self._is_ended = True
        self._flush()
        self._changed.set()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._tls is None:
            self._received += data
            self._changed.set()
        else:
            self._incoming.write(data)
            self._decrypt()
        if len(self._received) > _LIMIT_BYTES and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Nothing more comes; what is written may still arrive."""
        self._is_ended = True
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._error = self._error or exc
        self._is_ended = True
        self._changed.set()
        self._can_write.set()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Most of it was sent."""
        self._can_write.set()


async def open_channel(connect: Connect, tls: ssl.SSLContext | None, host: str, target: str, body: bytes) -> Channel:
    """Connect, ask for a channel by POST, and return it. `Refused` where the answer is another; OSError."""
    transport, channel = await connect(lambda: Channel(tls, host))
    try:
        await channel.secure()
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await channel.write(head.encode("latin-1") + body)
        status, headers = await channel.read_head()
        if status not in (101, 200):
            raise Refused(status, await channel.read_body(headers))
    except BaseException:
        transport.abort()
        raise
    return channel


class Frames:
    """Takes apart what Docker puts together of two outputs: a header of eight bytes before each piece."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces that are complete: 1 for the standard output, 2 for the standard error."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + size
            if len(self._buffer) < end:
                return
            piece = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield stream, piece

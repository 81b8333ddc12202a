"""A gRPC client that costs next to nothing, so that a benchmark measures the server and not its own client.

HTTP/2 over one plain connection, as much of it as calls need whose request is one message: headers are written once and
sent as they are, headers that come are not read, and windows are as wide as they can be. How a call ended is told by
what it answered. For benchmarks on the same machine only.
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW_SIZE = 4
_WIDEST = 2**31 - 1
_NARROWEST = 65_535


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that nobody is to remember, its texts as they are (RFC 7541, 6.2.2)."""
    assert max(len(name), len(value)) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class _Stream:
    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class LeanClient(asyncio.Protocol):
    """One connection. `call` may be used by many tasks at once."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._headers: dict[str, bytes] = {}
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._buffer = bytearray()
        self._window = _NARROWEST
        self._transport: asyncio.Transport

    async def connect(self) -> None:
        """Before anything else."""
        host, _, port = self._address.rpartition(":")
        await asyncio.get_running_loop().create_connection(lambda: self, host, int(port))

    def close(self) -> None:
        """Cut the connection."""
        self._transport.close()

    async def call(self, method: str, request: bytes) -> list[bytes]:
        """Call ``/service/method``; return the bytes of all messages of the answer, none where the call failed."""
        headers = self._headers.get(method)
        if headers is None:
            fields = {
                b":method": b"POST", b":scheme": b"http", b":path": method.encode(), b":authority": b"localhost",
                b"te": b"trailers", b"content-type": b"application/grpc",
            }  # fmt: skip
            headers = self._headers[method] = b"".join(_literal(name, value) for name, value in fields.items())
        number, self._next = self._next, self._next + 2
        stream = self._streams[number] = _Stream()
        message = struct.pack(">BI", 0, len(request)) + request
        self._window -= len(message)
        assert self._window >= 0, "the server gives no window"
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, number, headers) + _frame(_DATA, _END_STREAM, number, message)
        )
        await stream.ended
        return _messages(stream.data)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and open all windows."""
        self._transport = cast(asyncio.Transport, transport)
        wide = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WIDEST)
        more = struct.pack(">I", _WIDEST - _NARROWEST)
        self._transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, wide) + _frame(_WINDOW_UPDATE, 0, 0, more))

    def data_received(self, data: bytes) -> None:
        """Take in whole frames."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 9:
            end = start + 9 + int.from_bytes(buffer[start : start + 3])
            if len(buffer) < end:
                break
            kind, flags, stream = struct.unpack_from(">BBI", buffer, start + 3)
            self._take(kind, flags, stream, buffer[start + 9 : end])
            start = end
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing will come any more."""
        for stream in self._streams.values():
            if not stream.ended.done():
                stream.ended.set_result(None)

    def _take(self, kind: int, flags: int, number: int, payload: bytearray) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _WINDOW_UPDATE and number == 0:
            self._window += int.from_bytes(payload)
        elif kind == _GOAWAY:
            self._transport.close()
        stream = self._streams.get(number)
        if stream is None:
            return
        if kind == _DATA:
            stream.data += payload
        if kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            del self._streams[number]
            if not stream.ended.done():
                stream.ended.set_result(None)


def _messages(data: bytearray) -> list[bytes]:
    found, start = [], 0
    while start < len(data):
        end = start + 5 + int.from_bytes(data[start + 1 : start + 5])
        found.append(bytes(data[start + 5 : end]))
        start = end
    return found

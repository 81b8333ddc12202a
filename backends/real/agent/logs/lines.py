"""One line of a workload's output, as sinks get it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from backends.real.agent.identity import Identity
from backends.real.engines.base import Chunk, Instance, Stream

LONGEST_LINE_BYTES = 1 << 16
"""A longer line is cut into several."""

_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193
_encoder = msgspec.json.Encoder()


class LogLine(msgspec.Struct, frozen=True):
    """Eru's form. ``datetime`` is in UTC, with microseconds; ``id`` is the engine's own."""

    id: str
    name: str
    type: Stream
    entrypoint: str
    ident: str
    data: str
    datetime: str
    extra: Mapping[str, str] = {}


class LineMaker:
    """Makes lines of one workload from chunks of its output."""

    def __init__(self, instance: Instance, identity: Identity, extra: Mapping[str, str]) -> None:
        self._id = instance.engine_id
        self._identity = identity
        self._extra = dict(extra)
        self._rest: dict[Stream, tuple[bytes, int]] = {}

    def lines(self, chunk: Chunk, now_ns: int) -> Iterator[LogLine]:
        """Yield the lines that are complete now. Time is the engine's, or ``now_ns`` (since 1970) if it has none."""
        at_ns = chunk.at_ns or now_ns
        rest, rest_at_ns = self._rest.pop(chunk.stream, (b"", at_ns))
        *complete, rest = (rest + chunk.data).split(b"\n")
        for text in complete:
            yield from self._cut(chunk.stream, text.removesuffix(b"\r"), rest_at_ns)
            rest_at_ns = at_ns
        while len(rest) > LONGEST_LINE_BYTES:
            yield self._line(chunk.stream, rest[:LONGEST_LINE_BYTES], rest_at_ns)
            rest = rest[LONGEST_LINE_BYTES:]
        if rest:
            self._rest[chunk.stream] = (rest, rest_at_ns)

    def end(self) -> Iterator[LogLine]:
        """Yield what has no line break behind it, when there is no more to come."""
        for stream, (rest, at_ns) in sorted(self._rest.items()):
            yield self._line(stream, rest, at_ns)
        self._rest.clear()

    def _cut(self, stream: Stream, text: bytes, at_ns: int) -> Iterator[LogLine]:
        for start in range(0, len(text) or 1, LONGEST_LINE_BYTES):
            yield self._line(stream, text[start : start + LONGEST_LINE_BYTES], at_ns)

    def _line(self, stream: Stream, text: bytes, at_ns: int) -> LogLine:
        moment = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).replace(microsecond=at_ns // 1000 % 1_000_000)
        return LogLine(
            id=self._id,
            name=self._identity.app,
            type=stream,
            entrypoint=self._identity.entrypoint,
            ident=self._identity.ident,
            data=text.decode(errors="backslashreplace"),
            datetime=moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
            extra=self._extra,
        )


def encode(line: LogLine) -> bytes:
    """The line as JSON without a line break."""
    return _encoder.encode(line)


def decode(record: bytes) -> LogLine:
    """`encode` reversed."""
    return msgspec.json.decode(record, type=LogLine)


def fnv32a(text: str) -> int:
    """The 32 bit FNV-1a hash of a text: by it a workload has its sink."""
    number = _FNV_OFFSET
    for byte in text.encode():
        number = (number ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return number

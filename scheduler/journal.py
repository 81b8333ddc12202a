"""The journal: a chain of batches. Codec and chain only; files and databases are stores outside.

``hash[n] = blake2b(hash[n-1] || bytes of batch n)``, and ``hash[-1]`` is that of the header's bytes. The last hash is
the *journal digest*. The *decision digest* is a second chain over placements alone, in a form of its own that does
not depend on the schema; goldens use it.

Written as JSON Lines: the header, then one line a batch with the batch and its hash, then a footer that shows that the
journal was closed. The bytes that are hashed are exactly those between ``{"batch":`` and ``,"hash":``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scheduler.commands import AnyCommand, StartWorkload
from scheduler.config import CoreConfig
from scheduler.events import AnyEvent

SCHEMA_VERSION = 1
_DIGEST_BYTES = 16


class JournalError(Exception):
    """The journal is not what it should be. The message is one line that names line, field and remedy."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="journal", tag="eru"):
    """Says what the batches mean: schema, everything that the core was made of, and what the edge wants remembered.

    ``notes`` is free-form data of the writer (source, assumptions, seeds). No clock time: equal runs give equal bytes.
    """

    version: int = SCHEMA_VERSION
    config: CoreConfig
    notes: Mapping[str, Any] = {}


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One step: everything that went in at one instant, in order, and everything that came out.

    ``seq`` counts from 0 without gaps; ``term`` is the writer's, for a single writer that can change.
    """

    seq: int
    at_ns: int
    term: int
    events: list[AnyEvent]
    commands: list[AnyCommand]


class Footer(msgspec.Struct, frozen=True, tag_field="journal", tag="end", forbid_unknown_fields=True):
    """Closes a journal. Without one it was cut off."""

    batches: int
    journal_digest: str
    decision_digest: str


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    batch: msgspec.Raw
    hash: str


_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="deterministic").encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_footer = msgspec.json.Decoder(Footer).decode


def _hash(previous: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(previous + data, digest_size=_DIGEST_BYTES).digest()


class DecisionDigest:
    """The chain over placements: instant, workload, generation, node, and what the engine is told of resources."""

    def __init__(self, state: bytes = b"") -> None:
        self.state = state

    def add(self, at_ns: int, commands: list[AnyCommand]) -> None:
        """Take in the placements among the commands of one batch."""
        placed: list[str] = []
        told, last = "", None
        for command in commands:
            if type(command) is StartWorkload:
                if command.engine_args is not last:
                    last = command.engine_args
                    told = _canonical(last).decode() if last else ""
                placed.append(f"{at_ns} {command.workload_id} {command.generation} {command.node_id}{told}\n")
        if placed:
            self.state = _hash(self.state, "".join(placed).encode())

    def hexdigest(self) -> str:
        """The digest so far."""
        return self.state.hex()


class WriterState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a writer is: the hashes of the header, of the last batch and of the placements, and how many batches."""

    header: bytes
    chain: bytes
    decisions: bytes
    batches: int

    def is_end(self, text: bytes) -> bool:
        """Whether ``text`` can be the last bytes of the journal as it is now; all of it while that is the header."""
        if self.batches:
            return text.endswith(b',"hash":"%b"}\n' % self.chain.hex().encode())
        return text.endswith(b"\n") and _hash(b"", text[:-1]) == self.header


class JournalWriter:
    """Turns batches into lines and keeps both digests.

    ``sink`` gets every line as bytes, the header at once. Without one only the digests are kept. ``resume`` goes on
    where another writer was: ``sink`` has what that one wrote, and `JournalError` says that its header was another.
    """

    def __init__(
        self, header: Header, sink: Callable[[bytes], object] | None = None, *, resume: WriterState | None = None
    ) -> None:
        encoded = _encode(header)
        self._sink = sink
        self._header = _hash(b"", encoded)
        self._state = self._header if resume is None else resume.chain
        self._decisions = DecisionDigest(b"" if resume is None else resume.decisions)
        self.batches = 0 if resume is None else resume.batches
        if resume is not None and resume.header != self._header:
            raise JournalError("header: not that of the run to be resumed; use the same inputs and version of eru")
        if sink is not None and resume is None:
            sink(encoded + b"\n")

    def append(self, at_ns: int, events: list[AnyEvent], commands: list[AnyCommand], term: int = 0) -> None:
        """Add one batch to the chain."""
        encoded = _encode(Batch(self.batches, at_ns, term, events, commands))
        self._state = state = _hash(self._state, encoded)
        self.batches += 1
        if commands:
            self._decisions.add(at_ns, commands)
        if self._sink is not None:
            self._sink(b'{"batch":%b,"hash":"%b"}\n' % (encoded, state.hex().encode()))

    def dump(self) -> WriterState:
        """Where the writer is now."""
        return WriterState(
            header=self._header, chain=self._state, decisions=self._decisions.state, batches=self.batches
        )

    def close(self) -> None:
        """Write the footer, which shows that the journal is whole."""
        if self._sink is not None:
            self._sink(_encode(Footer(self.batches, self.journal_digest, self.decision_digest)) + b"\n")

    @property
    def journal_digest(self) -> str:
        """The last hash of the chain."""
        return self._state.hex()

    @property
    def decision_digest(self) -> str:
        """The digest over all placements so far."""
        return self._decisions.hexdigest()


def read_header(line: bytes) -> Header:
    """Decode a journal's first line, without line break; `JournalError` where it is none, or of another version."""
    try:
        header = _decode_header(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"line 1: not the header of an eru journal ({error})") from None
    if header.version != SCHEMA_VERSION:
        raise JournalError(f"line 1: version: {header.version}; this build reads version {SCHEMA_VERSION}")
    return header


def read_batch(line: bytes) -> Batch:
    """Decode one line, without line break, and trust its hash; `JournalError` where it is no batch."""
    try:
        return _decode_batch(_decode_line(line).batch)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"not a batch ({error})") from None


class JournalReader:
    """Turns lines back into a header and batches, checking the chain on the way.

    Feed the lines in order: `read_header` with the first, then `read` with each other one. `JournalError` tells the
    line number and what is wrong with it. After `resume` what follows is read, where a writer was in that state.
    """

    def __init__(self) -> None:
        self._header = b""
        self._state = b""
        self._decisions = DecisionDigest()
        self._line = 0
        self._batches = 0
        self.closed = False

    def read_header(self, line: bytes) -> Header:
        """Decode the first line."""
        self._line = 1
        stripped = line.rstrip(b"\n")
        header = read_header(stripped)
        self._header = self._state = _hash(b"", stripped)
        return header

    def resume(self, state: WriterState) -> None:
        """Go on after the header where a writer was; `JournalError` where that was a journal of another header."""
        if state.header != self._header:
            raise JournalError("line 1: not the header of the journal that is to be read on")
        self._state, self._decisions, self._batches = state.chain, DecisionDigest(state.decisions), state.batches
        self._line += state.batches

    def dump(self) -> WriterState:
        """Where a writer would be that had written what has been read."""
        return WriterState(
            header=self._header, chain=self._state, decisions=self._decisions.state, batches=self._batches
        )

    def read(self, line: bytes) -> Batch | None:
        """Decode one line; None for the footer, after which there must be nothing."""
        self._line += 1
        if self.closed:
            raise JournalError(f"line {self._line}: there is something after the end of the journal")
        if not line.endswith(b"\n"):
            raise JournalError(f"line {self._line}: the journal is cut off in the middle of a line")
        try:
            if line.startswith(b'{"journal"'):
                self._check_footer(_decode_footer(line))
                return None
            outer = _decode_line(line)
            batch = _decode_batch(outer.batch)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalError(f"line {self._line}: not a batch ({error})") from None
        self._state = _hash(self._state, bytes(outer.batch))
        if batch.seq != self._batches:
            raise JournalError(f"line {self._line}: batch: {batch.seq} comes where {self._batches} is due")
        if self._state.hex() != outer.hash:
            raise JournalError(
                f"line {self._line}: hash: batch {batch.seq} at {batch.at_ns} ns has been changed after it was written"
                f" (its bytes give {self._state.hex()}, the journal says {outer.hash})"
            )
        self._batches += 1
        self._decisions.add(batch.at_ns, batch.commands)
        return batch

    def _check_footer(self, footer: Footer) -> None:
        own = Footer(self._batches, self._state.hex(), self._decisions.hexdigest())
        for field in own.__struct_fields__:
            said, found = getattr(footer, field), getattr(own, field)
            if said != found:
                raise JournalError(f"line {self._line}: {field}: the footer says {said}, the batches give {found}")
        self.closed = True

    @property
    def journal_digest(self) -> str:
        """The last hash of the chain read so far."""
        return self._state.hex()

    @property
    def decision_digest(self) -> str:
        """The digest over all placements read so far."""
        return self._decisions.hexdigest()

"""Checkpoints: everything that decides how a run goes on, in one file.

A file is one line with the version of the format, the BLAKE2b hash of what follows, and a `Checkpoint` as MessagePack.
It is replaced as a whole, so there is always the last one or the one before. How often one is saved follows from
batches or from simulated time, never from a clock: equal runs save equal files at equal places.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from backends.sim.engine import EngineModel
from eru_sim.errors import EruError
from eru_sim.journal_file import Mark
from eru_sim.options import choose_policy, choose_queue, parse_duration_ns, parse_engine, parse_overcommit
from scheduler.commands import AnyCommand
from scheduler.config import PolicyConfig
from scheduler.events import AnyEvent
from scheduler.journal import WriterState

VERSION = 2
_MAGIC = b"eru checkpoint "
_HASH_BYTES = 16
_DEFAULT_EVERY = 100_000


class Part(Protocol):
    """What takes part in a run and remembers something: the driver, the engine, and observers."""

    def dump(self) -> bytes:
        """Return what it remembers as data. Nothing changes."""

    def load(self, data: bytes) -> None:
        """Take over what another one of its kind dumped, in a run with the same arguments; it has done nothing yet."""


class ObservingPart(Part, Protocol):
    """An observer of the driver that remembers something."""

    def observe(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Take in one step."""


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """How `eru_sim.replay` was called. A policy that was an object is here by name and parameters."""

    source: str
    cluster: str = "trace"
    policy: str | PolicyConfig = "best-fit"
    queue: str = "priority"
    seed: int = 0
    overcommit: str | dict[str, float] | None = None
    initial: Literal["empty", "recorded"] = "empty"
    horizon: str | int | float | None = None
    failures: str | None = None
    reservations: str | None = None
    engine: str | EngineModel | None = None
    journal: str | None = None
    out: str | None = None
    check_every: int = 0
    checkpoint: str | None = None
    every: str | int | None = None

    def check_agreement(self, given: Mapping[str, Any]) -> None:
        """Raise EruError where one of the ``given`` arguments means something else."""
        for name, value in given.items():
            own = getattr(self, name)
            if _meaning(name, value, self.seed) != _meaning(name, own, self.seed):
                raise EruError(
                    f"{name}: {_text(value)} is not what the run was started with, {_text(own)}; leave it out"
                )


def not_default(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments of `eru_sim.replay` that differ from their default."""
    defaults = Arguments(source="")
    return {name: value for name, value in arguments.items() if value is not None and value != getattr(defaults, name)}


def _meaning(name: str, value: Any, seed: int) -> Any:
    """What an argument comes to, however it is written. No code is loaded: a policy that is code is its text."""
    if name == "overcommit":
        return parse_overcommit(value)
    if name == "engine":
        return parse_engine(value, seed)
    if value is None:
        return None
    if name == "horizon":
        return parse_duration_ns(value, name)
    if name == "every":
        return parse_every(value)
    if name == "queue":
        return choose_queue(value)
    if name in ("journal", "out", "checkpoint"):
        return Path(value).expanduser().absolute()
    if name == "policy" and not isinstance(value, PolicyConfig) and not (isinstance(value, str) and ":" in value):
        choice = choose_policy(value, seed)
        return PolicyConfig(choice.name, choice.params)
    return value


def _text(value: Any) -> str:
    return repr(str(value) if isinstance(value, Path) else value)


class Checkpoint(msgspec.Struct, kw_only=True):
    """A run between two batches.

    ``inputs`` are digests of the files that arguments name. ``is_over`` says that nothing was left to happen. ``mark``
    tells how much of the journal's file belongs to it. ``parts`` is what each `Part` dumped.
    """

    arguments: Arguments
    inputs: dict[str, dict[str, str]]
    is_over: bool
    writer: WriterState
    mark: Mark | None
    core: bytes
    parts: dict[str, bytes]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place of the file, which is whole at every moment."""
    data = msgspec.msgpack.encode(checkpoint)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as stream:
        stream.write(_MAGIC + b"%d\n" % VERSION + _hash(data))
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: str | Path, field: str = "resume") -> Checkpoint:
    """Return the checkpoint in a file, with that file as its own ``checkpoint``. EruError where there is none."""
    path = Path(path).expanduser()
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise EruError(f"{field}: there is no file {str(path)!r}; nothing has been saved, start the run anew") from None
    except IsADirectoryError:
        raise EruError(f"{field}: {str(path)!r} is a directory; name a checkpoint file") from None
    line, _, rest = text.partition(b"\n")
    if not line.startswith(_MAGIC):
        raise EruError(f"{field}: {str(path)!r} is not a checkpoint; name a file written by --checkpoint")
    version = line.removeprefix(_MAGIC).decode(errors="replace")
    if version != str(VERSION):
        raise EruError(f"{field}: {str(path)!r} has version {version[:20]}; this build reads version {VERSION}")
    found, data = rest[:_HASH_BYTES], rest[_HASH_BYTES:]
    if found != _hash(data):
        raise EruError(f"{field}: {str(path)!r} is damaged or cut off: its checksum differs; take another copy")
    try:
        checkpoint = msgspec.msgpack.decode(data, type=Checkpoint)
    except msgspec.DecodeError as error:
        raise EruError(f"{field}: {str(path)!r} is from another build of eru ({error})") from None
    checkpoint.arguments = msgspec.structs.replace(checkpoint.arguments, checkpoint=str(path))
    return checkpoint


def check_free(path: Path) -> None:
    """Raise EruError where a new run must not write its checkpoints: on a foreign file, or on a run to be resumed."""
    if path.exists() and not read(path, "checkpoint").is_over:
        raise EruError(f"checkpoint: {str(path)!r} has a run that is not over; go on with --resume, or remove the file")


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest()


# -- when --------------------------------------------------------------------------------------------------------------


class Every(msgspec.Struct, frozen=True):
    """How often to save: after so many batches, or after the first batch at or past each multiple of a time."""

    batches: int = 0
    time_ns: int = 0


def parse_every(every: str | int | None) -> Every:
    """Return what ``1000`` (batches) or ``15m`` (of simulated time) means; None is 100,000 batches."""
    text = str(_DEFAULT_EVERY if every is None else every).strip()
    if text.isascii() and text.isdigit():
        found = Every(batches=int(text))
    else:
        found = Every(time_ns=parse_duration_ns(text, "every") if text[-1:].isalpha() else 0)
    if found == Every():
        raise EruError(f"every: {text!r} is neither a number of batches nor a time with its unit, e.g. 10000 or 15m")
    return found


class Saver:
    """An observer of the driver that calls ``save`` whenever a checkpoint is due; it must be the last one."""

    def __init__(self, every: Every, save: Callable[[bool], None], *, batches: int, at_ns: int) -> None:
        """``save`` is told whether the run is over. ``batches`` and ``at_ns`` say where the run begins or goes on."""
        self.save = save
        self._every = every
        self._batches = batches
        self._next_ns = self._after(at_ns)

    def observe(self, at_ns: int, *_: object) -> None:
        """Count one step."""
        self._batches += 1
        if self._every.time_ns:
            if at_ns >= self._next_ns:
                self._next_ns = self._after(at_ns)
                self.save(False)
        elif self._batches % self._every.batches == 0:
            self.save(False)

    def _after(self, at_ns: int) -> int:
        interval_ns = self._every.time_ns
        return (at_ns // interval_ns + 1) * interval_ns if interval_ns else 0


# -- inputs ------------------------------------------------------------------------------------------------------------


def digests_of_inputs(arguments: Arguments) -> dict[str, dict[str, str]]:
    """Return the size and hash of every file that an argument names, by argument and path.

    Of a directory, all files that are not empty; none that the run itself writes.
    """
    own = [Path(text).absolute() for text in (arguments.journal, arguments.out, arguments.checkpoint) if text]
    own += [path.with_name(path.name + ".part") for path in own]
    digests: dict[str, dict[str, str]] = {}
    for name in ("source", "cluster", "failures", "policy"):
        text = getattr(arguments, name)
        for path in _paths_in(text) if isinstance(text, str) else ():
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and file.stat().st_size and not any(map(file.absolute().is_relative_to, own)):
                    digests.setdefault(name, {})[str(file)] = _digest_of_file(file)
    return digests


def check_inputs(saved: Mapping[str, Mapping[str, str]]) -> None:
    """Raise EruError where a file is not what it was when the run began."""
    for name, files in saved.items():
        for path, digest in files.items():
            if not Path(path).is_file() or _digest_of_file(Path(path)) != digest:
                raise EruError(f"{name}: {path!r} is not the file that the run was started with; put that back")


def _paths_in(text: str) -> Iterator[Path]:
    """``format:path?key=value&…``, ``csv:path``, ``format:path*factor`` and ``file.py:Class``."""
    place, _, query = text.partition("?")
    before, _, after = place.partition(":")
    named = before if before.endswith(".py") else after.partition("*")[0]
    if named:
        yield Path(named)
    for option in query.split("&"):
        value = Path(option.partition("=")[2])
        if value.is_file():
            yield value


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=_HASH_BYTES)).hexdigest()
    return f"{path.stat().st_size} {digest}"

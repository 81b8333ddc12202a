"""A recording of a live service: its journal as a file that the simulator reads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO

import msgspec
import structlog

from backends.real.cluster import LiveCluster
from backends.real.stores.base import Store
from eru_sim.errors import EruError
from scheduler.journal import DecisionDigest, Footer, JournalReader, read_batch

_log = structlog.get_logger("eru.recording")
_PAGE = 1000


class Recording:
    """Follows the journal of a running cluster into a file, and closes that when the cluster stops.

    What is in the file already, of the same journal, stays; what is missing comes from the store. So the file is whole
    also after a crash. It is readable by its owner alone.
    """

    def __init__(self, cluster: LiveCluster, path: str | Path) -> None:
        self._cluster = cluster
        self._path = Path(path)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, or go on; `EruError` where the file is of another journal, or the store lacks what it needs."""
        header = await self._cluster.store.header()
        assert header is not None
        stream, place = await asyncio.to_thread(_reopen, self._path, header)
        begin = await self._cluster.tail.begin()
        try:
            await self._check(place, begin)
        except EruError:
            stream.close()
            raise
        self._task = asyncio.create_task(self._follow(stream, place), name="recording")
        self._cluster.closing.append(self._finish)

    async def _check(self, place: int, begin: int) -> None:
        end = self._cluster.tail.end
        if place < begin:
            raise EruError(
                f"--journal: {self._path} has {place} batches, and the store begins with {begin};"
                " name the file that was written so far, or keep more with --retention"
            )
        if place > end:
            raise EruError(f"--journal: {self._path} has {place} batches, the store {end}; name another file")
        if place > begin:
            (known,) = [line async for line in self._cluster.store.lines(place - 1, place - 1)]
            if known != await asyncio.to_thread(_last_line, self._path):
                raise EruError(f"--journal: {self._path} is a recording of something else; name another file")

    async def _follow(self, stream: IO[bytes], place: int) -> None:
        try:
            count = 0
            async for line in self._cluster.tail.lines(place, follow=True):
                stream.write(line + b"\n")
                count += 1
                if count % _PAGE == 0 or place + count >= self._cluster.tail.end:
                    stream.flush()
        except Exception as error:
            _log.error("recording ends", file=str(self._path), error=str(error))
            raise
        finally:
            stream.close()

    async def _finish(self) -> None:
        """The journal has come to its end: write the footer."""
        assert self._task is not None
        (failure,) = await asyncio.gather(self._task, return_exceptions=True)
        if failure is not None:
            _log.error("recording not closed", file=str(self._path), error=str(failure))
            return
        journal = self._cluster.driver.journal
        footer = Footer(journal.batches, journal.journal_digest, journal.decision_digest)
        with self._path.open("ab") as stream:
            stream.write(msgspec.json.encode(footer) + b"\n")


async def export(store: Store, path: str | Path) -> int:
    """Write the journal of an open store to a new file, whole; return how many batches.

    `EruError` where the store no longer has the beginning, or there is such a file.
    """
    header = await store.header()
    begin = await store.first()
    if header is None:
        raise EruError("export: the store is new, and has no journal yet")
    if begin:
        raise EruError(f"export: the journal begins with batch {begin}; older ones are no longer kept")
    part = Path(path).with_name(Path(path).name + ".part")
    if Path(path).exists():
        raise EruError(f"{path}: exists already; name a new file")
    decisions, chain, count = DecisionDigest(), "", 0
    with part.open("wb") as stream:
        part.chmod(0o600)
        stream.write(header + b"\n")
        async for line in store.lines(0):
            batch = read_batch(line)
            decisions.add(batch.at_ns, batch.commands)
            stream.write(line + b"\n")
            chain = line.rpartition(b'"hash":"')[2].rstrip(b'"}').decode()
            count += 1
        footer = Footer(count, chain or _header_digest(header), decisions.hexdigest())
        stream.write(msgspec.json.encode(footer) + b"\n")
    part.replace(path)
    return count


def _header_digest(header: bytes) -> str:
    reader = JournalReader()
    reader.read_header(header)
    return reader.journal_digest


def _reopen(path: Path, header: bytes) -> tuple[IO[bytes], int]:
    """The file, cut off behind its last whole batch, and how many there are."""
    stream = path.open("a+b")
    path.chmod(0o600)
    stream.seek(0)
    first = stream.readline()
    if first.rstrip(b"\n") != header or not first.endswith(b"\n"):
        if first and not header.startswith(first):
            stream.close()
            raise EruError(f"--journal: {path} is no recording of this service; name another file")
        stream.truncate(0)
        stream.write(header + b"\n")
        stream.flush()
        return stream, 0
    end, count = stream.tell(), 0
    for line in stream:
        if not line.endswith(b"\n") or not line.startswith(b'{"batch":'):
            break
        end += len(line)
        count += 1
    stream.truncate(end)
    stream.seek(end)
    return stream, count


def _last_line(path: Path) -> bytes:
    last = b""
    with path.open("rb") as stream:
        for line in stream:
            last = line
    return last.rstrip(b"\n")

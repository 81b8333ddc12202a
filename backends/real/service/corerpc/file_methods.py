"""Files in and out of workloads. Paths are absolute and never climb."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import tarfile
from collections.abc import AsyncIterator, Mapping

from backends.real.engines.base import EngineError
from backends.real.service.calls import Call
from backends.real.service.corerpc.context import REFUSALS, Methods
from backends.real.service.corerpc.deploy import read_file, read_files
from backends.real.service.corerpc.errors import NoIds, WireError
from backends.real.service.paths import confined
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.service.streams import closing
from backends.real.template import File
from backends.real.workloads import Place

PIECE_BYTES = 64 * 1024
_FILE_BYTES_MAX = 1 << 40
_CHUNKS_AHEAD = 2
_BLOCK = tarfile.BLOCKSIZE


class FileMethods(Methods):
    """See the module. Every public method is one of the wire's."""

    def Copy(self, request: pb.CopyOptions, call: Call) -> AsyncIterator[pb.CopyMessage]:
        """A tar of each path, in pieces."""
        if not request.targets:
            raise NoIds
        pairs = [(workload_id, path) for workload_id, paths in request.targets.items() for path in paths.paths]
        return self.context.merged(self._copy(workload_id, path) for workload_id, path in pairs)

    async def _copy(self, workload_id: str, path: str) -> AsyncIterator[pb.CopyMessage]:
        name = posixpath.basename(path.rstrip("/"))
        try:
            place = self.cluster.workloads.place(workload_id)
            tar = place.engine.get_archive(place.workload_id, place.generation, confined(path))
            async with closing(tar):
                async for chunk in tar:
                    for start in range(0, len(chunk), PIECE_BYTES):
                        piece = chunk[start : start + PIECE_BYTES]
                        yield pb.CopyMessage(id=workload_id, name=name, path=path, data=piece)
        except (*REFUSALS, WireError) as error:
            yield pb.CopyMessage(id=workload_id, name=name, path=path, error=str(error))

    def Send(self, request: pb.SendOptions, call: Call) -> AsyncIterator[pb.SendMessage]:
        """Write files into workloads; one message for each file and workload."""
        if not request.IDs:
            raise NoIds
        if not request.data:
            raise WireError("data: there are no files to send")
        read_files(request.data, request.modes, request.owners)
        files = {
            path: next(iter(read_files({path: content}, request.modes, request.owners).items()))
            for path, content in request.data.items()
        }
        ids = list(dict.fromkeys(request.IDs))
        return self.context.merged(self._send(workload_id, files) for workload_id in ids)

    async def _send(self, workload_id: str, files: Mapping[str, tuple[str, File]]) -> AsyncIterator[pb.SendMessage]:
        for path, (place_of, file) in files.items():
            error = ""
            try:
                place = self.cluster.workloads.place(workload_id)
                await place.engine.put_files(place.workload_id, place.generation, {place_of: file})
            except REFUSALS as refusal:
                error = str(refusal)
            yield pb.SendMessage(id=workload_id, path=path, error=error)

    async def SendLargeFile(self, requests: AsyncIterator[pb.FileOptions], call: Call) -> AsyncIterator[pb.SendMessage]:
        """Write files of any size, each from the messages that follow its first; the slowest workload sets the pace."""
        sending: _Sending | None = None
        try:
            async for message in requests:
                if sending is not None and message.dst and message.dst != sending.dst:
                    async for result in sending.finish():
                        yield result
                    sending = None
                if sending is None:
                    sending = self._begin(message)
                await sending.add(message.chunk)
            if sending is None:
                raise NoIds
            async for result in sending.finish():
                yield result
            sending = None
        finally:
            if sending is not None:
                await sending.give_up()

    def _begin(self, message: pb.FileOptions) -> _Sending:
        if not message.ids:
            raise NoIds
        path = confined(message.dst)
        if not 0 <= message.size <= _FILE_BYTES_MAX:
            raise WireError(f"size: {message.size} must be from 0 to {_FILE_BYTES_MAX}")
        owner = message.owner if message.HasField("owner") else None
        file = read_file(b"", message.mode.mode, owner)
        return _Sending(self, message.dst, path, message.size, file, list(dict.fromkeys(message.ids)))

    def place_of(self, workload_id: str) -> Place:
        """Where a workload is."""
        return self.cluster.workloads.place(workload_id)


class _Sending:
    """One file on its way to some workloads. Chunks are handed on to each by a short queue of its own."""

    def __init__(self, methods: FileMethods, dst: str, path: str, size: int, file: File, ids: list[str]) -> None:
        self.dst = dst
        self._left = size
        self._queues: dict[str, asyncio.Queue[bytes | None]] = {}
        self._tasks: dict[str, asyncio.Task[str]] = {}
        head = tarfile.TarInfo(path.removeprefix("/"))
        head.size, head.mode, head.uid, head.gid = size, file.mode, file.uid, file.gid
        self._head = head.tobuf(tarfile.GNU_FORMAT)
        self._padding = b"\0" * (-size % _BLOCK) + b"\0" * (2 * _BLOCK)
        for workload_id in ids:
            queue: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS_AHEAD)
            self._queues[workload_id] = queue
            self._tasks[workload_id] = asyncio.create_task(self._put(methods, workload_id, queue))

    async def add(self, chunk: bytes) -> None:
        """Pass on more of the file. `WireError` where that is more than was announced."""
        self._left -= len(chunk)
        if self._left < 0:
            raise WireError(f"chunk: {self.dst[:200]} is longer than its size says")
        if chunk:
            await self._offer(chunk)

    async def finish(self) -> AsyncIterator[pb.SendMessage]:
        """The file is complete: yield how it went. `WireError` where it is not."""
        if self._left:
            raise WireError(f"chunk: {self.dst[:200]} is {self._left} bytes shorter than its size says")
        await self._offer(None)
        for workload_id, task in self._tasks.items():
            yield pb.SendMessage(id=workload_id, path=self.dst, error=await task)

    async def give_up(self) -> None:
        """Forget it."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _offer(self, chunk: bytes | None) -> None:
        for workload_id, queue in self._queues.items():
            task = self._tasks[workload_id]
            while not task.done():
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(chunk)
                    break
                await asyncio.wait({task}, timeout=0.01)

    async def _put(self, methods: FileMethods, workload_id: str, queue: asyncio.Queue[bytes | None]) -> str:
        """Put the file into one workload; why not, "" where it went well."""

        async def tar() -> AsyncIterator[bytes]:
            yield self._head
            while (chunk := await queue.get()) is not None:
                yield chunk
            yield self._padding

        try:
            place = methods.place_of(workload_id)
            await place.engine.put_archive(place.workload_id, place.generation, "/", tar())
        except (*REFUSALS, EngineError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        return ""

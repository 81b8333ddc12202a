"""Commands inside a container, and its own console, over a channel. See `backends.real.engines.base.Session`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator

from backends.real.engines.base import Chunk, EngineError, Unreachable, Unsupported
from backends.real.engines.docker_api import DockerApi
from backends.real.engines.docker_channel import Channel, Frames

_STDERR = 2
_POLL_S = 0.02
_POLL_MAX_S = 1.0


class ChannelSession(ABC):
    """What exec and attach have in common. ``path`` is where its size is set."""

    def __init__(self, api: DockerApi, channel: Channel, path: str, *, has_tty: bool, takes_input: bool) -> None:
        self._api = api
        self._channel = channel
        self._path = path
        self._has_tty = has_tty
        self._takes_input = takes_input

    async def output(self) -> AsyncGenerator[Chunk, None]:
        """Yield output until the command has ended."""
        frames = Frames()
        while data := await self._read():
            if self._has_tty:
                yield Chunk("stdout", data)
                continue
            for stream, piece in frames.feed(data):
                yield Chunk("stderr" if stream == _STDERR else "stdout", piece)

    async def _read(self) -> bytes:
        try:
            return await self._channel.read()
        except OSError as error:
            raise Unreachable(f"docker at {self._api.where}: {error}") from None

    async def write(self, data: bytes) -> None:
        """Give it input; EngineError where it takes none."""
        if not self._takes_input:
            raise EngineError("it takes no input; open its stdin")
        try:
            await self._channel.write(data)
        except OSError as error:
            raise EngineError(f"it takes no more input: {error}") from None

    async def close_input(self) -> None:
        """Let it see the end of its input."""
        if self._takes_input:
            self._channel.close_input()

    async def resize(self, rows: int, columns: int) -> None:
        """Change its terminal's size; Unsupported where it has no terminal."""
        if not self._has_tty:
            raise Unsupported("resize: it has no terminal")
        await self._api.call("POST", f"{self._path}/resize", params={"h": rows, "w": columns})

    @abstractmethod
    async def exit_code(self) -> int:
        """Wait for its end."""

    async def close(self) -> None:
        """Let go of it; whatever runs goes on."""
        self._channel.close()


class ExecSession(ChannelSession):
    """A command inside a container."""

    async def exit_code(self) -> int:
        """Wait for its end."""
        # Docker tells nobody when a command of exec ends.
        pause_s = _POLL_S
        while True:
            found = await self._api.call("GET", f"{self._path}/json")
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"])
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _POLL_MAX_S)


class ConsoleSession(ChannelSession):
    """A container's own input and output."""

    async def exit_code(self) -> int:
        """Wait for its end; at once where it has ended already."""
        found = await self._api.call("POST", f"{self._path}/wait", total_s=None)
        return int(found["StatusCode"])

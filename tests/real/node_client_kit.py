"""Drives the Node client: an implementation of gRPC, protobuf and Eru's wire that shares nothing with the server."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDER = Path(__file__).parent / "node_client"
_LINE_BYTES_MAX = 64 * 1024 * 1024


def require_node() -> None:
    """Install what the client needs, once; skip the test where there is no node, but never in CI."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    problem = f"{' and '.join(missing)} missing" if missing else _install()
    if problem and os.environ.get("CI"):
        pytest.fail(f"the Node client cannot run: {problem}")
    if problem:
        pytest.skip(f"the Node client cannot run: {problem}")


def _install() -> str:
    """Fetch the packages unless they are there; what went wrong, or ""."""
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (FOLDER / "node_modules" / ".package-lock.json").exists():
            return ""
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False)
        return done.stderr.strip()[-400:] if done.returncode else ""


class Status(NamedTuple):
    """How a call ended, as the trailers say."""

    code: int
    details: str
    metadata: Mapping[str, Any]


class NodeCall:
    """One call under way."""

    def __init__(self, client: NodeClient, number: int) -> None:
        self._client = client
        self._number = number
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status: Status | None = None

    def write(self, message: Mapping[str, Any]) -> None:
        self._client.send({"id": self._number, "write": message})

    async def drain(self) -> None:
        """Wait until what was written is on its way."""
        await self._client.drain()

    def tell(self, what: str) -> None:
        """``end``, ``cancel``, ``pause`` or ``resume``."""
        self._client.send({"id": self._number, what: True})

    async def read(self, seconds: float = 20.0) -> dict[str, Any] | None:
        """The next message, or None at the end: then `status` is known."""
        if self.status is not None and self.incoming.empty():
            return None
        told = await asyncio.wait_for(self.incoming.get(), seconds)
        if "status" in told:
            self.status = Status(**told["status"])
            return None
        message: dict[str, Any] = told["message"]
        return message

    async def rest(self, seconds: float = 20.0) -> list[dict[str, Any]]:
        """All messages until the end."""
        messages = []
        while (message := await self.read(seconds)) is not None:
            messages.append(message)
        return messages


class NodeClient:
    """A running client. ``async with NodeClient(address) as node: ...``"""

    def __init__(self, address: str, metadata: Mapping[str, str] | None = None, **options: Any) -> None:
        self._options = {"address": address, "metadata": metadata or {}, **options}
        self._calls: dict[int, NodeCall] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> NodeClient:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "node",
            str(FOLDER / "client.js"),
            json.dumps(self._options),
            stdin=pipe,
            stdout=pipe,
            limit=_LINE_BYTES_MAX,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    def kill(self) -> None:
        """End it without a word to the server."""
        assert self._process is not None
        self._process.kill()

    def send(self, command: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def drain(self) -> None:
        """Wait until the client has taken what it was told."""
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.drain()

    def open(self, method: str, request: Mapping[str, Any] | None = None, **more: Any) -> NodeCall:
        """Begin a call: with a request, or to be written to."""
        number = len(self._calls) + 1
        call = self._calls[number] = NodeCall(self, number)
        what = {"open": method} if request is None and "raw" not in more else {"call": method, "request": request}
        self.send({"id": number, **what, **more})
        return call

    async def call(self, method: str, request: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The only answer of a unary call; AssertionError where it fails."""
        call = self.open(method, request or {}, **more)
        (message,) = await call.rest() or [None]
        assert message is not None, call.status
        return message

    async def status(self, method: str, request: Mapping[str, Any] | None = None, **more: Any) -> Status:
        """How a call ends."""
        call = self.open(method, request or {}, **more)
        await call.rest()
        assert call.status is not None
        return call.status

    async def all(self, method: str, request: Mapping[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        """All messages of a stream; AssertionError where it fails."""
        call = self.open(method, request or {}, **more)
        messages = await call.rest()
        assert call.status is not None
        assert call.status.code == 0, call.status
        return messages

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            self._calls[told.pop("id")].incoming.put_nowait(told)

"""Whether a workload is healthy: one question, and what follows from many answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backends.real.agent.addresses import probe_address
from backends.real.engines.base import Engine, EngineError, Instance
from backends.real.template import HealthCheck

_LINE_LIMIT_BYTES = 1 << 16
_URL_SAFE = "!$%&'()*+,-./:;=?@_~"


class Health:
    """The health of one run of a workload, with the thresholds of its check.

    ``result`` is None as long as nothing is known. Then the first answer counts alone: a new agent takes a workload for
    what it finds it to be. A workload that has just been started begins as not healthy (`Health.of_start`).
    """

    def __init__(self, result: bool | None = None) -> None:
        self.result = result
        self._streak = 0

    @classmethod
    def of_start(cls) -> Health:
        """The health of what has just been started."""
        return cls(False)

    def observe(self, passed: bool, check: HealthCheck) -> bool:
        """Take another answer into account, and return the health that follows."""
        if self.result is None:
            self.result = passed
        elif passed == self.result:
            self._streak = 0
        else:
            self._streak += 1
            if self._streak >= (check.success_threshold if passed else check.failure_threshold):
                self.result, self._streak = passed, 0
        return self.result


class Prober:
    """Asks workloads of one node for their health."""

    def __init__(self, engine: Engine, *, timeout_s: float, proc: Path = Path("/proc")) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        self._proc = proc

    async def fault(self, instance: Instance, check: HealthCheck) -> str:
        """Ask everything that the check says, all at once; "" if all pass within the timeout, else what did not."""
        address = probe_address(instance, proc=self._proc)
        questions = [self._ask(f"tcp port {port}", _tcp(address, port)) for port in check.tcp_ports]
        if check.http_port:
            questions.append(self._ask(f"http port {check.http_port}", _http(address, check)))
        if check.command:
            questions.append(self._ask("command", self._command(instance, check.command)))
        return next(filter(None, await asyncio.gather(*questions)), "")

    async def _ask(self, name: str, answer: Coroutine[Any, Any, str]) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                fault = await answer
        except TimeoutError:
            fault = f"no answer within {self._timeout_s:g} s"
        except OSError as error:
            fault = os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
        except (EngineError, ValueError) as error:
            fault = str(error)
        return f"{name}: {fault}" if fault else ""

    async def _command(self, instance: Instance, command: tuple[str, ...]) -> str:
        session = await self._engine.execute(instance.workload_id, instance.generation, command)
        try:
            async for _ in session.output():
                pass
            code = await session.exit_code()
        finally:
            await session.close()
        return f"exit code {code}" if code else ""


async def _tcp(address: str, port: int) -> str:
    if not address:
        return "the workload has no address"
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    return ""


async def _http(address: str, check: HealthCheck) -> str:
    """Ask with GET. Redirections are not followed: they are the answer."""
    if not address:
        return "the workload has no address"
    reader, writer = await asyncio.open_connection(address, check.http_port, limit=_LINE_LIMIT_BYTES)
    try:
        host = f"[{address}]" if ":" in address else address
        writer.write(
            f"GET {quote(check.http_path, safe=_URL_SAFE)} HTTP/1.1\r\nHost: {host}:{check.http_port}\r\n"
            "User-Agent: eru-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        line = await reader.readline()
    finally:
        writer.close()
    version, _, rest = line.decode("latin-1").partition(" ")
    digits = rest.strip()[:3]
    if not version.startswith("HTTP/") or not digits.isdigit():
        return "the answer is not HTTP"
    code = int(digits)
    is_good = code == check.http_code if check.http_code else 200 <= code <= 499
    return "" if is_good else f"status {code}"

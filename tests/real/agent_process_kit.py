"""A real agent: a process in a node's network namespace, between the node's Docker and a core that a test watches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed_kit import BedNode

ROOT = Path(__file__).parents[2]
HEARTBEAT_S, TTL_S, INTERVAL_S = 2, 6, 2


def wait_for(condition: Callable[[], object], seconds: float = 60) -> float:
    """Wait until it holds, and return how long that took; AssertionError when the time is over."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"it has not come about within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


class AgentProcess:
    """One agent process; its settings are those of the YAML file. Use as a context: it is killed at the end."""

    def __init__(self, node: BedNode, core: str, directory: Path, *, hostname: str, **settings: Any) -> None:
        self._node = node
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self.log_file = directory / "agent.log"
        self.pid_file = directory / "agent.pid"
        file = directory / "agent.yaml"
        given = {
            "hostname": hostname,
            "core": [core],
            "pid": str(self.pid_file),
            "docker": {"endpoint": node.docker.url},
            "heartbeat_interval": HEARTBEAT_S,
            "healthcheck": {"interval": INTERVAL_S, "timeout": 2, "cache_ttl": 60},
            "metrics": {"step": 1},
            "global_connection_timeout": 2,
        }
        file.write_text(json.dumps({**given, **settings}), encoding="utf-8")
        self._file = file
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> AgentProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self, stderr: int | None = None) -> None:
        """Begin, as a service manager does."""
        command = [
            "nsenter", f"--net={self._node.network_namespace}", "--",
            sys.executable, "-m", "eru_sim.cli.main", "agent", "--config", str(self._file),
        ]  # fmt: skip
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log if stderr is None else stderr, start_new_session=True,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(20)

    def kill(self) -> None:
        """As a crash does it."""
        assert self.signal(signal.SIGKILL) == -signal.SIGKILL

    @property
    def log(self) -> str:
        """What it has said so far, over all its lives."""
        return self.log_file.read_text(encoding="utf-8")

    def get(self, path: str, port: int) -> str:
        """Ask its HTTP API, from within the node."""
        script = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}{path}').read().decode())"
        return subprocess.run(
            ["nsenter", f"--net={self._node.network_namespace}", "--", sys.executable, "-c", script],
            capture_output=True, text=True, check=True, timeout=20,
        ).stdout  # fmt: skip

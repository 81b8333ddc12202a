"""What the tests of the command share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = "synthetic:google2019?nodes=20&hours=0.2&seed=1&load=1.2"
SPEC = """
appname: shop
entrypoints:
  web: {cmd: sleep 1000, publish: [80]}
  job: {commands: [echo, done]}
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Eru = Callable[..., Ran]


class Live:
    """The command, talking to a service; the pool is the test's own."""

    def __init__(self, eru: Eru, address: str, pool: str, spec: Path) -> None:
        self._eru = eru
        self.address = address
        self.pool = pool
        self.spec = str(spec)

    def __call__(self, *arguments: object) -> Ran:
        return self._eru("--server", self.address, *arguments)

    def ok(self, *arguments: object) -> Ran:
        ran = self(*arguments)
        assert ran.code == 0, (arguments, ran)
        return ran

    def data(self, *arguments: object) -> Any:
        """What a command that goes well says as JSON."""
        words = list(arguments)
        place = words.index("--") if "--" in words else len(words)
        return json.loads(self.ok(*words[:place], "-o", "json", *words[place:]).out)

    def deploy(self, *options: object, entry: str = "web") -> list[str]:
        """Ids of workloads that have just been deployed."""
        image = () if "--image" in options else ("--image", "busybox")
        place = ("--pool", self.pool, "--entry", entry)
        return [row["subject"] for row in self.data("workload", "deploy", self.spec, *place, *image, *options)]

    def process(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The same as a process of its own, with input."""
        command = [sys.executable, "-m", "eru_sim.cli.main", "--server", self.address, *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


@contextmanager
def memory_service(directory: Path, token: str = "") -> Any:
    """The address of a service over engines in memory, as long as the block lasts."""
    script = Path(__file__).with_name("memory_service.py")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(script), str(directory), token]
    with (
        (directory / "service.log").open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the service did not start"
            yield address
        finally:
            process.stdin.close()
            process.wait(timeout=60)

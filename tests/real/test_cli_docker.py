"""The command line against `eru serve` over real Docker nodes, each command as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed_kit import BedNode

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "busybox:local"
ERU = [sys.executable, "-m", "eru_sim.cli.main"]
SPEC = """\
appname: shop
entrypoints:
  web: &waits {commands: [sh, -c, 'trap exit TERM; sleep 1000 & wait']}
  state: *waits
"""


class Operator:
    """Runs commands against one service, in a pool of its own."""

    def __init__(self, address: str, directory: Path) -> None:
        self.pool = f"pool-{secrets.token_hex(3)}"
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "ERU": address, "XDG_CONFIG_HOME": str(directory / "config"),
        }  # fmt: skip
        self.spec = directory / "shop.yaml"
        self.spec.write_text(SPEC)

    def run(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [*ERU, *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=180, env=self.environment)

    def data(self, *arguments: object) -> Any:
        ran = self.run(*arguments, "-o", "json")
        assert ran.returncode == 0, (arguments, ran)
        return json.loads(ran.stdout)

    def deploy(self, entry: str = "web") -> str:
        place = ("--pool", self.pool, "--entry", entry, "--image", IMAGE)
        (row,) = self.data("workload", "deploy", self.spec, *place, "--cpu", "0.1", "--memory", "32M")
        return str(row["subject"])

    def left(self) -> list[Any]:
        found: list[Any] = self.data("workload", "ls", "--pool", self.pool)
        return found


@pytest.fixture(scope="module")
def operator(testbed_nodes: list[BedNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A service of its own over the testbed's first node. What it deployed is removed at the end."""
    directory = tmp_path_factory.mktemp("operator")
    (directory / "data").mkdir()
    command = [*ERU, "serve", "--data-dir", str(directory / "data"), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (directory / "serve.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("serving on "), (directory / "serve.log").read_text()
            made = Operator(line.removeprefix("serving on ").partition(",")[0].strip(), directory)
            made.data("pool", "add", made.pool)
            node = testbed_nodes[0]
            options = ("--endpoint", node.docker.url, "--test", "--cpu", "2", "--memory", "2G")
            made.data("node", "add", made.pool, "--nodename", node.name, *options)
            yield made
            if ids := [row["workload_id"] for row in made.left()]:
                made.run("workload", "rm", *ids)
        finally:
            process.terminate()


def test_exec_in_a_container(operator: Operator) -> None:
    name = operator.deploy()
    assert operator.run("workload", "exec", name, "--", "sh", "-c", "exit 7").returncode == 7
    ran = operator.run("workload", "exec", "-i", name, "--", "sh", "-c", "cat; echo bad >&2", stdin=b"a\0b\n")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"a\0b\n", b"bad\n")
    ran = operator.run("workload", "exec", "-e", "A=1", "-w", "/tmp", name, "--", "sh", "-c", "echo $A $PWD")
    assert ran.stdout == b"1 /tmp\n"
    command = [*ERU, "workload", "exec", name, "--", "sh", "-c", "echo on; sleep 60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=operator.environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert operator.data("workload", "get", name, "--instance")["instance"]["state"] == "running"


def test_lambda_in_containers(operator: Operator) -> None:
    before = len(operator.left())
    options = ("--pool", operator.pool, "--image", IMAGE, "--cpu", "0.1", "--memory", "32M")
    ran = operator.run("lambda", *options, "--count", "2", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert ran.returncode == 5
    assert sorted(ran.stdout.splitlines()) == [b"0| out", b"1| out"]
    assert sorted(ran.stderr.splitlines()) == [b"0| err", b"1| err"]
    ran = operator.run("lambda", *options, "-i", "--", "sh", "-c", "wc -c", stdin=b"12345")
    assert (ran.returncode, ran.stdout.strip()) == (0, b"5")
    deadline = time.monotonic() + 60
    while len(operator.left()) > before and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(operator.left()) == before


def test_send_then_copy_of_50_mb(operator: Operator, tmp_path: Path) -> None:
    name = operator.deploy()
    data = os.urandom(1 << 20) * 50
    source = tmp_path / "large.bin"
    source.write_bytes(data)
    operator.data("workload", "send", name, "--file", f"{source}:/data/large.bin:0640:12:34")
    ran = operator.run(
        "workload", "exec", name, "--", "sh", "-c", "md5sum /data/large.bin; stat -c '%a %u %g' /data/large.bin"
    )
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert ran.stdout.decode().split()[:1] + ran.stdout.decode().split()[2:] == [digest, "640", "12", "34"]
    operator.data("workload", "copy", f"{name}:/data/large.bin", "-d", tmp_path / "back")
    back = tmp_path / "back" / "large.bin"
    info = back.stat()
    assert hashlib.md5(back.read_bytes(), usedforsecurity=False).hexdigest() == digest
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, 12, 34)


def test_a_directory_goes_there_and_back(operator: Operator, tmp_path: Path) -> None:
    name = operator.deploy()
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a").write_text("A")
    (tree / "link").symlink_to("deep/a")
    operator.data("workload", "send", name, "--file", f"{tree}:/srv/tree")
    operator.data("workload", "copy", f"{name}:/srv/tree", "-d", tmp_path / "back")
    assert (tmp_path / "back" / "tree" / "deep" / "a").read_text() == "A"
    assert os.readlink(tmp_path / "back" / "tree" / "link") == "deep/a"


def test_files_go_along_when_it_is_replaced(operator: Operator, tmp_path: Path) -> None:
    names = sorted(operator.deploy("state") for _ in range(2))
    for name in names:
        (tmp_path / "state").write_text(f"of {name}")
        operator.data("workload", "send", name, "--file", f"{tmp_path / 'state'}:/var/state:0600")
    told = operator.data(
        "workload", "replace", operator.spec, "--pool", operator.pool, "--entry", "state", "--image", IMAGE,
        "--copy", "/var/state:/var/old/state",
    )  # fmt: skip
    assert sorted((row["subject"], row["outcome"]) for row in told) == [(name, "replaced") for name in names]
    for name in names:
        words = ("sh", "-c", "cat /var/old/state; stat -c ' %a' /var/old/state")
        ran = operator.run("workload", "exec", name, "--", *words)
        assert ran.stdout.decode() == f"of {name} 600\n"


def test_logs_of_a_container(operator: Operator) -> None:
    options = ("--pool", operator.pool, "--image", IMAGE, "--cpu", "0.1", "--memory", "32M", "--async")
    words = ("sh", "-c", "echo one; echo two >&2; sleep 1000")
    ran = operator.run("lambda", *options, "-o", "name", "--", *words)
    assert ran.returncode == 0, ran
    name = ran.stdout.decode().strip()
    deadline = time.monotonic() + 30
    while (logs := operator.run("workload", "logs", name)).stdout != b"one\n" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert (logs.stdout, logs.stderr) == (b"one\n", b"two\n")

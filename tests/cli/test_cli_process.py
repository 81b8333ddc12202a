"""The command as a process of its own: help, speed of starting, pipes, and signals of the shell's kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from eru_command import SOURCE, Eru

COMMANDS = [
    (),
    ("trace",),
    ("trace", "ls"),
    ("trace", "describe"),
    ("trace", "convert"),
    ("sim",),
    ("sim", "replay"),
    ("sim", "compare"),
    ("sim", "verify"),
    ("explain",),
    ("version",),
]


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eru_sim.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(eru: Eru, command: tuple[str, ...]) -> None:
    ran = eru(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Example:" in ran.out
    assert ran.out.startswith("Usage: eru")
    assert "\x1b" not in ran.out


def test_no_arguments_show_the_help(eru: Eru) -> None:
    assert eru().out == eru("--help").out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from eru_sim.cli.main import main; main(['--help']); main(['sim', 'replay', '--help']);"
        "heavy = {'numpy', 'pandas', 'numba', 'matplotlib', 'duckdb', 'simpy', 'pyarrow', 'networkx', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_piped_output_has_no_escape_codes() -> None:
    ran = process("version", TERM="xterm-256color", NO_COLOR="")
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout + ran.stderr
    assert ran.stdout.startswith("eru-sim")


def test_an_error_in_a_process() -> None:
    ran = process("sim", "replay", SOURCE, "--policy", "nothing")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: policy: no policy 'nothing'")
    assert ran.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m eru_sim.cli.main trace ls -o json | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.strip() in ("141", "0")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_failure() -> None:
    command = f"{sys.executable} -m eru_sim.cli.main trace ls -o json > /dev/full"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 3
    assert ran.stderr == "error: no space left on the device; free some, or write elsewhere\n"

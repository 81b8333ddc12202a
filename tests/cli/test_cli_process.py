"""The command as a process of its own: help, speed of starting, pipes, and signals of the shell's kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from eru_command import SOURCE, Eru

from eru_sim.cli.main import app

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


def test_every_command_has_help_with_an_example(eru: Eru) -> None:
    def walk(command: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        names = command.list_commands(None) if hasattr(command, "list_commands") else ()
        return [path, *(found for name in names for found in walk(command.get_command(None, name), (*path, name)))]

    paths = walk(typer.main.get_command(app), ())
    assert len(paths) > 100
    for path in paths:
        ran = eru(*path, "--help")
        assert (ran.code, ran.err) == (0, ""), path
        assert "Example:" in ran.out, path


def test_live_commands_do_not_import_grpc_before_they_run() -> None:
    code = (
        "import sys; from eru_sim.cli.main import main; main(['trace', 'ls', '-o', 'name']);"
        "main(['workload', 'exec', '--help']); main(['workload', 'deploy', '--nonesuch']); print('grpc' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_the_shell_completes_live_commands() -> None:
    ran = process("", _ERU_COMPLETE="complete_bash", COMP_WORDS="eru workload de", COMP_CWORD="2")
    assert "deploy" in ran.stdout


def test_no_arguments_show_the_help(eru: Eru) -> None:
    assert eru().out == eru("--help").out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from eru_sim.cli.main import main; main(['--help']); main(['sim', 'replay', '--help']);"
        "main(['lambda', '--help']); main(['workload', 'deploy', '--help']);"
        "heavy = {'numpy', 'pandas', 'numba', 'matplotlib', 'duckdb', 'simpy', 'pyarrow', 'networkx', 'rich', 'grpc'};"
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

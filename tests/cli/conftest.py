from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from eru_command import SOURCE, SPEC, Eru, Live, Ran, memory_service

from eru_sim.cli.main import main

_numbers = itertools.count()


@pytest.fixture
def eru(capsys: pytest.CaptureFixture[str]) -> Eru:
    """Run a command line in this process."""

    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a short run on a cluster that is too small."""
    from eru_sim.simulation import replay

    path = tmp_path_factory.mktemp("journal") / "run.jsonl"
    replay(SOURCE, journal=path, engine="start=2s")
    return path


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service over engines in memory."""
    with memory_service(tmp_path_factory.mktemp("service")) as address:
        yield address


@pytest.fixture
def live(eru: Eru, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    """The command, and a pool with three nodes of 8 cores that need no lease: POOL-0, POOL-1, POOL-2."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ERU", raising=False)
    monkeypatch.delenv("ERU_CONTEXT", raising=False)
    spec = tmp_path / "shop.yaml"
    spec.write_text(SPEC)
    made = Live(eru, service, f"pool{next(_numbers)}", spec)
    made.ok("pool", "add", made.pool)
    for number in range(3):
        made.ok("node", "add", made.pool, "--nodename", f"{made.pool}-{number}", "--endpoint", "mem://", "--test")
    return made

from __future__ import annotations

from pathlib import Path

import pytest
from eru_command import SOURCE, Eru, Ran

from eru_sim.cli.main import main


@pytest.fixture
def eru(capsys: pytest.CaptureFixture[str]) -> Eru:
    """Run a command line in this process."""

    def run(*arguments: str) -> Ran:
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

"""Everything that the pages show being run is run, page by page, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docs_kit import PAGES, ROOT, Block, blocks, commands, difference

from eru_sim.cli.main import main

pytestmark = pytest.mark.long

_FILE_NAME = re.compile(r"# (\w+\.py)\n")
_YAML_NAME = re.compile(r"# (\w+\.yaml)\n")
SERVED = ROOT / "docs" / "cli.md"
RUNNABLE = [
    page for page in PAGES if page != SERVED and any(block.language in ("console", "python") for block in blocks(page))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # A policy is saved before the command that names it is run, wherever on the page they stand.
    for block in blocks(page):
        if block.language == "python" and (name := _FILE_NAME.match(block.text)):
            Path(name[1]).write_text(block.text, encoding="utf-8")
    for block in blocks(page):
        if block.language == "python" and not _FILE_NAME.match(block.text):
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), {"__name__": "documentation"})
        elif block.language == "console":
            _run(block, page, capsys)


def test_what_the_page_of_live_commands_shows_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ERU_CONTEXT", raising=False)
    found = blocks(SERVED)
    for block in found:
        if block.language == "yaml" and (name := _YAML_NAME.match(block.text)):
            Path(name[1]).write_text(block.text, encoding="utf-8")
    with _serving(tmp_path) as address:
        monkeypatch.setenv("ERU", address)
        for block in found:
            if block.language == "console":
                _run(block, SERVED, capsys)


@contextmanager
def _serving(directory: Path) -> Iterator[str]:
    """The address of ``eru serve`` over simulated nodes, as a process of its own."""
    data = directory / "data"
    data.mkdir()
    command = [sys.executable, "-m", "eru_sim.cli.main", "serve", "--data-dir", str(data), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (directory / "serve.log").open("w") as log,
        subprocess.Popen(
            [*command, "--engines", "simulated"], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("serving on "), (directory / "serve.log").read_text()
            yield line.removeprefix("serving on ").partition(",")[0].strip()
        finally:
            process.terminate()


def _run(block: Block, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(block):
        capsys.readouterr()
        code = main(shlex.split(command.arguments))
        printed = capsys.readouterr()
        where = f"{page.name}:{command.line}: eru {command.arguments}"
        assert code == 0, f"{where}: exit code {code}: {printed.err}"
        problem = difference(command.shown, printed.out)
        assert problem is None, f"{where}: {problem}; correct the page"


def test_the_two_policies_of_the_readme_decide_alike(tmp_path: Path) -> None:
    import eru_sim

    digests = []
    for block in blocks(ROOT / "README.md"):
        if block.language == "python" and (name := _FILE_NAME.match(block.text)):
            file = tmp_path / name[1]
            file.write_text(block.text, encoding="utf-8")
            result = eru_sim.replay(
                "synthetic:google2019?nodes=20&hours=0.2&load=1.2", policy=f"{file}:TightestMemory", check_every=1000
            )
            digests.append(result.summary["decision_digest"])
    assert len(digests) == 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a 1", "b"], "a 2\nb\n", True),
        (["a", "..."], "a\nb\nc\n", True),
        (["...", "c"], "a\nb\nc\n", True),
        (["ab ..."], "ab cd\n", True),
        (["took 0.75 s"], "took   812 ms\n", True),
        (["a"], "a\nb\n", False),
        (["a", "c"], "a\nb\nc\n", False),
        (["...", "d"], "a\nb\n", False),
        (["ab ..."], "ac cd\n", False),
    ],
)
def test_shown_output_is_compared_line_by_line(shown: list[str], printed: str, same: bool) -> None:
    assert (difference(shown, printed) is None) is same

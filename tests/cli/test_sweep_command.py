"""``eru sim run`` and ``eru sim sweep``."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from eru_command import Eru

SWEEP = """
policy = ["best-fit", "first-fit"]
replications = 2
[source]
format = "synthetic"
path = "google2019"
nodes = 4
hours = 0.05
load = [0.8, 1.4]
"""
ONE = 'source = "synthetic:google2019?nodes=4&hours=0.05"\npolicy = "random"\nseed = 3\nhorizon = 100\n'


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    path = tmp_path / "one.toml"
    path.write_text(ONE, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_help_has_an_example(eru: Eru, command: str) -> None:
    ran = eru("sim", command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Example:\n    eru sim {command} scenario.toml" in ran.out
    assert f"\n  {command} " in eru("sim", "--help").out


def test_a_sweep_and_the_same_again(eru: Eru, study: Path, tmp_path: Path) -> None:
    ran = eru("sim", "sweep", study, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "study"
    assert lines[1].split()[:3] == ["cell", "policy", "source.load"]
    assert [line.split()[1:3] for line in lines[2:6]] == [
        ["best-fit", "0.8"], ["first-fit", "0.8"], ["best-fit", "1.4"], ["first-fit", "1.4"],
    ]  # fmt: skip
    assert "±" in lines[2]
    assert lines[-1] == f"8 runs computed, 0 kept, 0 failed; {tmp_path}/out/results.parquet"
    again = eru("sim", "sweep", study, "--out", tmp_path / "out", "-o", "json")
    data = json.loads(again.out)
    assert (data["computed"], data["kept"], data["cells"], data["seeds"]) == (0, 8, 4, [0, 1])
    frame = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert [row["decision_digest"] for row in data["results"]] == frame["decision_digest"].tolist()
    assert any("capacity" in text for text in data["assumptions"])
    names = eru("sim", "sweep", study, "--out", tmp_path / "out", "-o", "name").out.split()
    assert names == list(frame["cell"].unique())
    assert "queueing delay mean" in eru("sim", "sweep", study, "--out", tmp_path / "out", "-o", "wide").out


def test_runs_that_fail_are_named_and_the_code_is_1(eru: Eru, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('source = ["synthetic:google2019?nodes=4&hours=0.05", "swf:missing.swf"]', encoding="utf-8")
    ran = eru("sim", "sweep", study, "--out", tmp_path / "out")
    assert ran.code == 1
    (line,) = (line for line in ran.out.splitlines() if line.startswith("cell ") and "seed 0: " in line)
    assert "missing.swf" in line
    assert ran.out.splitlines()[-1].startswith("1 runs computed, 0 kept, 1 failed; ")
    assert len(pd.read_parquet(tmp_path / "out" / "results.parquet")) == 1
    study.write_text('source = "swf:missing.swf"', encoding="utf-8")
    alone = eru("sim", "sweep", study, "--out", tmp_path / "alone")
    assert alone.code == 1
    assert "1 failed" in alone.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sorce = "x"', "study.toml: sorce: unknown key; did you mean 'source'? there are: source, "),
        ("", "study.toml: source: is missing; name a trace"),
        ('source = "synthetic:google2019"\npolicy = "tset"', "study.toml: policy: no policy 'tset'; "),
    ],
)
def test_a_mistake_in_the_file_ends_it_before_the_first_run(eru: Eru, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    for command in (["sweep", "--out", str(tmp_path / "out")], ["run"]):
        ran = eru("sim", command[0], tmp_path / "study.toml", *command[1:])
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: ")
        assert message in ran.err
        assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.toml", "--out", "out"], "scenario: there is no file 'none.toml'; check the path"),
        (["sweep", "study.toml"], "missing option '--out'"),
        (["sweep", "study.toml", "--out", "out", "-j", "0"], "'-j'"),
        (["sweep", "study.toml", "--out", "out", "--backend", "rya"], "no backend 'rya'; did you mean 'ray'?"),
        (["sweep", "study.toml", "--out", "study.toml"], "--out: 'study.toml' is a file; name a directory"),
        (["run", "study.toml"], "study.toml: it has 8 runs; use eru sim sweep, or give each key one value"),
    ],
)
def test_a_command_line_that_cannot_be(
    eru: Eru, study: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(study.parent)
    ran = eru("sim", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert [path.name for path in study.parent.iterdir()] == ["study.toml"]


def test_run_is_the_replay_of_the_scenario(
    eru: Eru, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran = eru("sim", "run", "../one.toml", "--journal", "run.jsonl", "--out", "out", "--check", "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    source = "synthetic:google2019?nodes=4&hours=0.05&seed=3"
    same = json.loads(
        eru("sim", "replay", source, "--policy", "random", "--seed", "3", "--horizon", "100", "-o", "json").out
    )
    assert told["decision_digest"] == same["decision_digest"]
    assert told["horizon_s"] == 100
    assert eru("sim", "verify", "run.jsonl").code == 0
    assert Path("out/summary.json").exists()


def test_progress_tells_the_time_that_is_left(study: Path, tmp_path: Path) -> None:
    study.write_text(SWEEP.replace("replications = 2", "replications = 12"), encoding="utf-8")
    code = (
        "import sys; from eru_sim.cli import main, progress; progress.DELAY_S = 0.0; sys.exit(main.main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code, "sim", "sweep", str(study), "--out", str(tmp_path / "out")]
    terminal, inside = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=inside, env=environment) as process:
        os.close(inside)
        told = b""
        while select.select([terminal], [], [], 60)[0]:
            try:
                told += os.read(terminal, 65536)
            except OSError:
                break
        os.close(terminal)
    assert process.returncode == 0
    assert b" of 48 runs, about " in told
    assert b" left" in told

"""Bad input, bad machines and bad luck: one line on stderr, the right exit code, nothing half-written."""

from __future__ import annotations

import errno
import importlib
from pathlib import Path

import pytest
from eru_command import SOURCE, Eru, Ran


def assert_one_line(ran: Ran, code: int, *parts: str) -> None:
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sim", "replay", SOURCE, "--policy", "bset-fit"], ["bset-fit", "did you mean 'best-fit'?"]),
        (["sim", "replay", SOURCE, "--policy", "nowhere.py:Mine"], ["nowhere.py"]),
        (["sim", "replay", SOURCE, "--polcy", "x"], ["--polcy", "did you mean --policy?", "eru sim replay --help"]),
        (["sim", "replay", SOURCE, "--horizon", "soon"], ["horizon", "'soon'", "90s"]),
        (["sim", "replay", SOURCE, "--overcommit", "cpu=much"], ["overcommit.cpu", "'much'"]),
        (["sim", "replay", SOURCE, "--overcommit", "gpu=2"], ["overcommit.gpu", "cpu, memory"]),
        (["sim", "replay", SOURCE, "--engine", "strt=1s"], ["'strt'", "did you mean 'start'?"]),
        (["sim", "replay", SOURCE, "--cluster", "gogle2019-a"], ["gogle2019-a"]),
        (["sim", "replay", SOURCE, "--failures", "often"], ["often"]),
        (["sim", "replay", SOURCE, "--initial", "full"], ["--initial", "'full'", "'recorded'"]),
        (["sim", "replay", SOURCE, "--seed", "x"], ["--seed", "'x'", "integer"]),
        (["sim", "replay", SOURCE, "--seed", "-1"], ["--seed", "'-1'"]),
        (["sim", "replay", SOURCE, "-o", "jsn"], ["'jsn'", "did you mean 'json'?"]),
        (["sim", "replay", SOURCE, "--journal", "/nowhere/x.jsonl"], ["--journal", "/nowhere"]),
        (["sim", "replay", "openb:/nowhere"], ["/nowhere"]),
        (["sim", "replay", "synthetic:google2019?nods=3"], ["nods", "nodes"]),
        (["sim", "replay", "somewhere"], ["somewhere", "format"]),
        (["sim", "replay"], ["SOURCE"]),
        (["sim", "rplay"], ["rplay", "replay"]),
        (["smi"], ["smi", "sim"]),
        (["sim", "compare", SOURCE, "--replications", "0"], ["--replications", "'0'"]),
        (["sim", "compare", SOURCE, "--policy", "random", "--policy", "random"], ["'random'", "twice"]),
        (["sim", "verify", "nowhere.jsonl"], ["nowhere.jsonl"]),
        (["sim", "verify", "."], ["directory"]),
        (["explain", "w", "--policy", "x"], ["--policy", "--journal"]),
        (["trace", "describe", "opnb:x"], ["opnb", "openb"]),
    ],
)
def test_bad_input_is_one_line(eru: Eru, arguments: list[str], parts: list[str]) -> None:
    assert_one_line(eru(*arguments), 2, *parts)


def test_a_file_in_place_of_a_directory(eru: Eru, tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("mine")
    assert_one_line(eru("sim", "replay", SOURCE, "--out", path), 2, "--out", "taken", "name a directory")
    assert_one_line(eru("sim", "replay", SOURCE, "--out", path / "below"), 2, "--out", "taken")
    assert_one_line(eru("sim", "verify", path), 2, "taken", "line 1")
    assert path.read_text() == "mine"


def test_explain_of_what_is_not_there(eru: Eru, journal: Path) -> None:
    assert_one_line(eru("explain", "nobody", "--journal", journal), 2, "'nobody'")


def test_explain_without_a_recording_asks_a_service(eru: Eru) -> None:
    assert_one_line(
        eru("explain", "w", "--server", "127.0.0.1:1"), 3, "127.0.0.1:1", "or name a recording by --journal"
    )


def test_a_failed_run_leaves_nothing(eru: Eru, tmp_path: Path) -> None:
    policy = tmp_path / "mine.py"
    policy.write_text(
        "from scheduler.policies import Policy\n"
        "class Broken(Policy):\n"
        "    def score(self, nodes, request):\n"
        "        return 1 / 0\n"
        "class Endless(Policy):\n"
        "    def score(self, nodes, request):\n"
        "        return nodes.free[0] * float('inf')\n"
    )
    before = sorted(tmp_path.iterdir())
    options = ["--out", tmp_path / "out", "--journal", tmp_path / "run.jsonl"]
    broken = eru("sim", "replay", SOURCE, "--policy", f"{policy}:Broken", *options)
    assert_one_line(broken, 2, "mine.py:4", "ZeroDivisionError")
    assert_one_line(eru("sim", "replay", SOURCE, "--policy", f"{policy}:Endless", *options), 2, "not finite")
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 3, "error: out/x: no space left on the device"),
        (OSError(errno.EIO, "Input/output error"), 3, "error: Input/output error"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: x: no permission"),
        (MemoryError(), 3, "error: out of memory"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (KeyError("nodes"), 3, "error: unexpected KeyError: 'nodes'"),
    ],
)
def test_what_a_run_may_raise(
    eru: Eru, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def replay(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("eru_sim.simulation"), "replay", replay)
    # The frame of this test counts as the user's own code, as that of a policy would.
    monkeypatch.setattr("eru_sim.cli.errors._frame_of_user", lambda trace: None)
    monkeypatch.delenv("ERU_DEBUG", raising=False)
    ran = eru("sim", "replay", SOURCE)
    assert_one_line(ran, code, text)
    assert ("report it" in ran.err) == isinstance(error, KeyError)
    monkeypatch.setenv("ERU_DEBUG", "1")
    assert "Traceback" in eru("sim", "replay", SOURCE).err


def test_control_characters_do_not_reach_the_terminal(eru: Eru) -> None:
    ran = eru("trace", "describe", "open\x1b[31mb:\nx")
    assert_one_line(ran, 2)
    assert "\x1b" not in ran.err

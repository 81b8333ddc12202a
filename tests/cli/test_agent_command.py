"""``eru agent``: its options, and what it says when it cannot begin."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from eru_command import Eru

from backends.real.agent.config import SETTINGS


@pytest.fixture(autouse=True)
def no_machine_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("backends.real.agent.config.DEFAULT_FILE", tmp_path / "agent.yaml")


def test_help_has_every_setting_with_its_key_and_variable_and_an_example(eru: Eru) -> None:
    ran = eru("agent", "--help")
    shown = " ".join(ran.out.split())
    assert ran.code == 0
    for setting in SETTINGS:
        assert f"{setting.flag} " in shown
        assert f"[{setting.key}, ${setting.variable}" in shown
    assert "Example: eru agent --hostname n1 --core-endpoint 127.0.0.1:5001" in shown
    assert "USR1" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: core: no endpoint is set; write e.g. 'core: [127.0.0.1:5001]', or --core-endpoint\n"),
        (("--core-endpoint", "x"), "error: --core-endpoint: 'x' is not an address; write HOST:PORT"),
        (("--metrics-step", "soon"), "error: --metrics-step: 'soon' is not a time; write seconds"),
        (("--config", "/nowhere.yaml"), "error: /nowhere.yaml: no such file or directory; name another file"),
        (("--core-endpoint", "a:1", "--log-forwards", "x://y"), "error: --log-forwards: 'x://y' is no sink"),
        (("--core-endpoint", "a:1", "--pidfile", "/nowhere/p"), "error: pid: /nowhere/p: no such file or directory"),
        (("--heartbeat",), "error: eru agent: there is no option --heartbeat; did you mean --heartbeat-interval?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(eru: Eru, arguments: tuple[str, ...], said: str) -> None:
    ran = eru("agent", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(said)
    assert ran.err.count("\n") == 1


def test_flags_reach_the_settings(eru: Eru, tmp_path: Path) -> None:
    lock = tmp_path / "agent.pid"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = eru(
            "agent", "--core-endpoint", "a:1,b:2", "--core-endpoint", "c:3", "--no-check-only-mine", "--log-stdout",
            "--pidfile", str(lock),
        )  # fmt: skip
    assert ran.code == 2
    assert ran.err == f"error: pid: {lock}: another agent holds it; end that one, or name another\n"


def test_a_wrong_variable_is_named(eru: Eru, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERU_AGENT_HEARTBEAT_INTERVAL", "often")
    ran = eru("agent", "--core-endpoint", "a:1")
    assert ran.err.startswith("error: ERU_AGENT_HEARTBEAT_INTERVAL: 'often' is not a time;")

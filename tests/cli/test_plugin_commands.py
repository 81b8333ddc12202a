"""``eru plugin``: what is installed, what keeps the contract, and what is said of what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from eru_command import Eru

ZONE = '{"zone": ["a"]}'
FAULTY = """
from scheduler.ports import ExactPlugin, ResourcePlugin


class Loose(ResourcePlugin):
    name = "loose"
    examples = ({},)

    def parse(self, payload):
        return dict(payload)


class Strict(Loose):
    name = "strict"

    def __init__(self, size=1):
        self.size = size
        if size != 1:
            raise RuntimeError("no such size")


class Half(ExactPlugin):
    name = "half"

    def parse(self, payload):
        return dict(payload)
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed plugins of a package with mistakes in it."""
    (tmp_path / "faulty_plugins.py").write_text(FAULTY)
    information = tmp_path / "faulty_plugins-0.3.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-plugins\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text(
        "[eru.plugins]\nloose = faulty_plugins:Loose\nstrict = faulty_plugins:Strict\nhalf = faulty_plugins:Half\n"
        "nowhere = nowhere:At\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faulty_plugins", raising=False)


def test_ls_tells_tier_coupling_and_package(eru: Eru) -> None:
    ran = eru("plugin", "ls", "-o", "json")
    found = {entry["name"]: entry for entry in json.loads(ran.out)}
    assert (ran.code, ran.err) == (0, "")
    assert list(found) == sorted(found)
    assert (found["cpu"]["tier"], found["labels"]["tier"]) == (2, 1)
    assert (found["labels"]["coupling"], found["licences"]["coupling"]) == ("none", "cluster")
    assert found["affinity"]["coupling"] == "by request"
    assert found["labels"]["distribution"].startswith("eru-sim ")


@pytest.mark.parametrize("output", ["table", "wide", "json", "jsonl", "yaml", "name"])
@pytest.mark.parametrize("command", [("ls",), ("check", "labels", "--payload", ZONE)])
def test_every_format(eru: Eru, output: str, command: tuple[str, ...]) -> None:
    ran = eru("plugin", *command, "-o", output)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n")
    assert "labels" in ran.out or "admissible bound" in ran.out


def test_check_reports_the_cases_of_every_property(eru: Eru) -> None:
    from scheduler.testing.plugin_checks import PROPERTIES

    ran = eru("plugin", "check", "labels", "--payload", ZONE, "--seed", "7", "-o", "json")
    data = json.loads(ran.out)
    assert (data["plugin"], data["ok"], data["problem"], data["seed"]) == ("labels", True, None, 7)
    assert [row["property"] for row in data["properties"]] == list(PROPERTIES)
    assert eru("plugin", "check", "labels", "--payload", ZONE, "--seed", "7", "-o", "json").out == ran.out
    table = eru("plugin", "check", "labels", "--payload", ZONE)
    assert "ok: plugin 'labels' has all properties; seed=0" in table.out


def test_check_takes_parameters_nodes_and_bad_payloads(eru: Eru) -> None:
    licences = ["plugin", "check", "licences", "--payload", '{"matlab": 1}']
    ran = eru(*licences, "--param", 'limits={"matlab": 3}', "--bad-payload", '{"spice": 1}')
    assert (ran.code, ran.err) == (0, "")
    curve = ["plugin", "check", "curve", "--param", "points=2", "--payload", '{"cpu": 5}', "--not-monotone"]
    assert eru(*curve, "--node", '{"cpu": [20, 30]}', "-o", "name").out == "curve\n"


def test_what_is_wrong_is_an_answer_and_exit_code_1(eru: Eru, faulty: None) -> None:
    ran = eru("plugin", "check", "loose", "-o", "yaml")
    data = yaml.safe_load(ran.out)
    assert (ran.code, ran.err) == (1, "")
    assert data["ok"] is False
    assert data["problem"].startswith("bad input: plugin 'loose': parse raises TypeError")
    assert "failed: bad input: plugin 'loose'" in eru("plugin", "check", "loose").out


def test_a_plugin_that_cannot_be_loaded_is_listed_with_the_reason(eru: Eru, faulty: None) -> None:
    ran = eru("plugin", "ls")
    assert ran.code == 0
    assert "faulty-plugins 0.3" in ran.out
    assert "nowhere: it cannot be loaded: ModuleNotFoundError: No module named 'nowhere'" in ran.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["check", "label", "--payload", "{}"], ["'label'", "did you mean 'labels'?"]),
        (["check", "nowhere", "--payload", "{}"], ["'nowhere'", "ModuleNotFoundError"]),
        (["check", "strict", "--param", "size=2"], ["'strict'", "no such size"]),
        (["check", "strict", "--param", "colour=red"], ["'strict'", "colour"]),
        (["check", "licences"], ["--payload", "'licences'"]),
        (["check", "licences", "--payload", '{"matlab": 1}'], ["licences.matlab: no such licence"]),
        (["check", "licences", "--param", 'limits={"a": -1}', "--payload", "{}"], ["licences.limits.a", "-1"]),
        (["check", "labels", "--payload", "zone=a"], ["--payload", "'zone=a'", "not JSON"]),
        (["check", "labels", "--payload", '{"zone": ["nowhere"]}'], ["none fits on any node"]),
        (["check", "curve", "--node", '{"disk": 1}', "--payload", '{"cpu": 1}'], ["n0 is refused: curve.disk"]),
        (["check", "curve", "--param", "points"], ["--param", "'points'", "KEY=VALUE"]),
        (["check", "curve", "--param", "points=1", "--param", "points=2"], ["'points'", "twice"]),
        (["chck"], ["chck", "check"]),
    ],
)
def test_bad_input_is_one_line(eru: Eru, faulty: None, arguments: list[str], parts: list[str]) -> None:
    ran = eru("plugin", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize("command", [(), ("ls",), ("check",)])
def test_help_has_an_example(eru: Eru, command: tuple[str, ...]) -> None:
    ran = eru("plugin", *command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Example:\n    eru plugin" in ran.out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from eru_sim.cli.main import main; main(['plugin', 'check', '--help']);"
        "print(sorted({'numpy', 'numba', 'scheduler', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_class_that_lacks_methods_is_named_with_them(eru: Eru, faulty: None) -> None:
    ran = eru("plugin", "check", "half")
    assert ran.code != 0
    assert "plugin 'half': its class lacks the methods assign, inventory" in ran.err

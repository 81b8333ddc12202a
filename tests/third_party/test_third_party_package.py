"""A package of somebody else's plugins is installed for real, found by its entry points, checked, and decides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).parent / "eru-example-plugins"
SCRIPT = """
import json

from eru_example_plugins import BANDWIDTH
from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig
from scheduler.events import NodeJoined
from scheduler.plugins.registry import make_plugin, plugin_names
from scheduler.testing import Harness, check_plugin
from scheduler.testing.harness import placements

plugins = [make_plugin(name) for name in ("apart", "ports")]
checked = {plugin.name: check_plugin(plugin, payloads=plugin.examples, steps=10).cases for plugin in plugins}
config = CoreConfig(dimensions=(CPU, MEMORY, BANDWIDTH), plugins=(PluginConfig("apart"), PluginConfig("ports")))
h = Harness(config, plugins=plugins)
for number in range(3):
    h.step(NodeJoined(
        node_id=f"n{number}",
        capacity={"cpu": 4000, "memory": 8 << 30, "bandwidth": 10**9},
        topology={"rack": f"r{number // 2}"},
        resources={"ports": {"first": 8080, "last": 8081}},
    ))
payloads = {"apart": {"group": "db"}, "ports": {"count": 1}}
commands = h.submit("w", 500, 1 << 30, 6 * 10**8, count=3, payloads=payloads)
told = {command.workload_id: command.engine_args for command in commands}
h.reload()
print(json.dumps({
    "names": plugin_names(),
    "checked": checked,
    "placed": placements(commands),
    "told": told,
    "waits": str(h.core.diagnose("w/2")),
    "next": placements(h.exited("w/0")),
}))
"""


def install(package: Path, target: Path) -> None:
    """Install without network and without touching the environment."""
    if _can_build_wheels():
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
        command += ["--no-build-isolation", "--target", str(target), str(package)]
    else:
        command = ["-W", "ignore", "-c", "import setuptools; setuptools.setup()", "--quiet", "install"]
        command += ["--single-version-externally-managed", "--record", str(package / "record.txt")]
        command += ["--install-lib", str(target)]
    ran = subprocess.run([sys.executable, *command], cwd=package, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def _can_build_wheels() -> bool:
    """setuptools builds wheels by itself from 70.1 on."""
    code = "import setuptools; import setuptools.command.bdist_wheel"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the package installed."""
    copied = tmp_path_factory.mktemp("source") / "package"
    target = tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    install(copied, target)
    assert any(target.glob("eru_example_plugins-*"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def run(environment: dict[str, str], directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120)


def test_installed_plugins_are_found_checked_and_decide(environment: dict[str, str], tmp_path: Path) -> None:
    ran = run(environment, tmp_path, "-c", SCRIPT)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {"apart", "labels", "ports"} <= set(found["names"])
    assert found["checked"]["ports"]["no over-commit"] > 0
    assert found["checked"]["apart"]["finite scores"] > 0
    assert found["placed"] == {"w/0": "n0", "w/1": "n2"}
    assert found["told"] == {"w/0": {"ports": [8080]}, "w/1": {"ports": [8080]}}
    assert found["waits"] == "0/3 nodes: 2 bandwidth, 1 apart"
    assert found["next"] == {"w/2": "n0"}


def test_the_command_lists_and_checks_them(environment: dict[str, str], tmp_path: Path) -> None:
    listed = run(environment, tmp_path, "-m", "eru_sim.cli.main", "plugin", "ls", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    (ports,) = [entry for entry in json.loads(listed.stdout) if entry["name"] == "ports"]
    assert ports == {
        "name": "ports", "version": "1", "tier": 2, "coupling": "none", "distribution": "eru-example-plugins 1.0",
        "problem": None,
    }  # fmt: skip
    checked = run(environment, tmp_path, "-m", "eru_sim.cli.main", "plugin", "check", "ports", "-o", "json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["ok"] is True


def test_nothing_is_left_in_the_package() -> None:
    assert {path.name for path in PACKAGE.iterdir()} - {"__pycache__"} == {"pyproject.toml", "eru_example_plugins.py"}

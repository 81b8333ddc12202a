"""The page on plugins: its classes are those of the example package, and its examples are understood."""

from __future__ import annotations

import ast
import json
import re
import tomllib

import pytest
from docs_kit import ROOT, blocks

from scheduler.plugins.registry import make_plugin
from scheduler.ports import ExactPlugin
from scheduler.testing.plugin_checks import CORE_RUN, PROPERTIES

PAGE = ROOT / "docs" / "plugins.md"
PACKAGE = ROOT / "tests" / "third_party" / "eru-example-plugins"
_ROW = re.compile(r"^\| `(\w+)` \| (\d) \| `(\{.*?\})` \|(?: `(\{.*\})`)? \|$", re.MULTILINE)
ROWS = _ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_the_tutorial_builds_the_example_package() -> None:
    module = (PACKAGE / "eru_example_plugins.py").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    parts = [ast.get_source_segment(module, node) for node in ast.parse(module).body if not _is_preamble(node)]
    assert len(parts) == 5
    for part in parts:
        assert part is not None
        assert part in page, f"the page lacks {part.splitlines()[0]!r}"


def _is_preamble(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)


def test_the_project_file_is_that_of_the_package() -> None:
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "toml"]
    assert tomllib.loads(shown) == tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_property_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index("## What is checked") : page.index("## The contract in short")]
    assert re.findall(r"^\| ([a-z -]+) \|", section, re.MULTILINE)[1:] == [p for p in PROPERTIES if p != CORE_RUN]


def test_the_table_has_every_built_in_plugin() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert [row[0] for row in ROWS] == sorted(points["eru.plugins"])


@pytest.mark.parametrize(("name", "tier", "payload", "node"), ROWS, ids=[row[0] for row in ROWS])
def test_the_examples_of_the_table_are_understood(name: str, tier: str, payload: str, node: str) -> None:
    plugin = make_plugin(name, {"limits": {"matlab": 3}} if name == "licences" else None)
    assert (tier == "2") == isinstance(plugin, ExactPlugin) == bool(node)
    assert plugin.parse(json.loads(payload))
    if isinstance(plugin, ExactPlugin):
        assert plugin.inventory(json.loads(node), {}, {}) is not None

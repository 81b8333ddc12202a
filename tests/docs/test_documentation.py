"""What the pages say of the code is what the code says: generated parts, links, words, decisions."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_kit import PAGES, ROOT, blocks

from scheduler.cluster import NodeState
from scheduler.events import EventClass
from scheduler.lifecycle import PARTITION, State, mermaid
from scheduler.policies import BUILT_IN

GLOSSARY = ROOT / "docs" / "glossary.md"
ADR_FILES = sorted((ROOT / "docs" / "adr").glob("*.md"))
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE_PATH = re.compile(r"`((?:scheduler|backends|eru_sim|traces|tests|benchmarks|docs)/[\w./]*)`")
_TERM = re.compile(r"^\| ([^|]+?) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def generate() -> Any:
    return _module(ROOT / "docs" / "generate.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _names(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_diagram_is_that_of_the_transition_table(generate: Any) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- lifecycle:begin -->\n```mermaid\n(.*?)\n```\n<!-- lifecycle:end -->", text, re.DOTALL)
    assert found is not None, f"architecture.md has no lifecycle diagram between its markers; run: {generate.COMMAND}"
    assert found[1] == mermaid(), f"the diagram is not that of scheduler/lifecycle.py; run: {generate.COMMAND}"


def test_the_diagram_can_be_drawn() -> None:
    # Mermaid ends the text of a transition at a second colon, and then does not draw the diagram at all.
    wrong = [line for line in mermaid().splitlines() if line.count(":") > 1 or ";" in line]
    assert not wrong, f"a label of the diagram has a colon of its own: {wrong[0].strip()!r}"


def test_every_module_of_the_core_and_every_package_is_in_a_table() -> None:
    modules = [path for path in (ROOT / "scheduler").glob("*.py") if path.stem != "__init__"]
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## The core in modules")[2]
    missing = [path.name for path in modules if f"`scheduler/{path.name}`" not in table]
    assert not missing, f"docs/architecture.md does not say what these do: {missing}"
    layout = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Layout")[2]
    packages = [
        path.parent
        for name in ("scheduler", "backends", "eru_sim", "traces")
        for path in (ROOT / name).glob("**/__init__.py")
    ]
    shown = [str(path.relative_to(ROOT)) for path in packages if path != ROOT / "backends"]
    missing = [name for name in shown if name.count("/") < 2 and f"`{name}/`" not in layout]
    assert not missing, f"the layout of the README leaves out {missing}"


def test_generated_parts_are_up_to_date(generate: Any) -> None:
    for page in generate.PARTS:
        current = page.read_text(encoding="utf-8")
        assert generate.rendered(page) == current, f"{page.name} is out of date; run: {generate.COMMAND}"


@pytest.mark.parametrize("page", PAGES, ids=_names)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{_names(page)}: {target}: there is no such file"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{_names(page)}: {target}: there is no such heading"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=_names)
def test_paths_in_the_text_exist(page: Path) -> None:
    missing = [path for path in _CODE_PATH.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert not missing, f"{_names(page)} names what is not there: {', '.join(missing)}"


def test_the_glossary_has_every_state_with_its_part() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    for state in State:
        assert re.search(rf"^\| {state} \| [^|]+ \| {PARTITION[state]} \|$", text, re.MULTILINE), f"{state} is missing"


def test_the_glossary_has_node_states_and_event_classes() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    (nodes,) = re.findall(r"^\| node state \| .*$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", nodes) == list(NodeState)
    (classes,) = re.findall(r"^\| event class \| [^|]*: ([^|]*)\. \|$", text, re.MULTILINE)
    assert classes.split(", ") == [event_class.name.lower() for event_class in EventClass]


def test_the_glossary_defines_nothing_twice() -> None:
    terms = [term for term in _TERM.findall(GLOSSARY.read_text(encoding="utf-8")) if set(term) - set("-|")]
    headers = {"word", "state", "metric"}
    words = [word for term in terms for word in term.split(", ") if word not in headers]
    assert sorted(words) == sorted(set(words))


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    numbers = [int(file.name[:4]) for file in ADR_FILES]
    assert numbers == list(range(1, len(numbers) + 1))
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for file in ADR_FILES:
        assert f"[{file.name[:4]}](adr/{file.name})" in architecture, f"{file.name} is not listed in architecture.md"


@pytest.mark.parametrize("file", ADR_FILES, ids=lambda file: file.name)
def test_a_decision_has_its_four_parts(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# {file.name[:4]} ")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "Alternatives"]


def test_the_readme_begins_with_what_for_whom_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = blocks(ROOT / "README.md")[0]
    assert [line.split("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]
    assert first.line < 15
    assert all(f"`{name}`" in text for name in BUILT_IN)

"""What the tests of the documentation share: its pages, their code blocks, and how shown output is compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELLIPSIS = "..."

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d[\d,.]*")
_UNIT = re.compile(r"# ?(?:ns|us|µs|ms|s|min|h|d|KiB|MiB|GiB|TiB|PiB)\b")


class Block(NamedTuple):
    language: str
    text: str
    line: int


class Command(NamedTuple):
    arguments: str
    shown: list[str]
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]


def commands(block: Block) -> Iterator[Command]:
    """Yield the lines that start with ``$ eru``, each with the output that is shown below it."""
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    assert starts, f"line {block.line}: a console block without a command"
    assert starts[0] == 0, f"line {block.line}: a console block starts with a command"
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        arguments = lines[start].removeprefix("$ eru ")
        assert arguments != lines[start], f"line {block.line}: {lines[start]!r} is not an eru command"
        yield Command(arguments, lines[start + 1 : end], block.line + start + 1)


def difference(shown: list[str], printed: str) -> str | None:
    """Return what is shown and was not printed, or None.

    A line ``...`` stands for any lines, and at the end of a line for its rest. Numbers, units of time and memory, and
    the width of columns do not count.
    """
    actual = [_masked(line) for line in printed.rstrip("\n").split("\n")]
    position, may_skip = 0, False
    for line in shown:
        if line == ELLIPSIS:
            may_skip = True
            continue
        wanted = _masked(line.removesuffix(ELLIPSIS))
        is_prefix = line.endswith(ELLIPSIS)
        while position < len(actual) and not (
            actual[position] == wanted or (is_prefix and actual[position].startswith(wanted))
        ):
            if not may_skip:
                return f"{line!r} is shown where {actual[position]!r} was printed"
            position += 1
        if position == len(actual):
            return f"{line!r} is shown and was not printed"
        position, may_skip = position + 1, False
    if position < len(actual) and not may_skip:
        return f"{actual[position]!r} was printed and is not shown"
    return None


def _masked(line: str) -> str:
    return " ".join(_UNIT.sub("# unit", _NUMBER.sub("#", line)).split())

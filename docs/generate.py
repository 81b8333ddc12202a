"""Write the generated parts of the documentation anew: ``python docs/generate.py``.

A generated part stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``; the rest of a page is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from backends.real.agent.config import SETTINGS
from backends.real.agent.metrics.sampler import (
    DISK_METRICS,
    NIC_METRICS,
    NODE_METRICS,
    NODE_NIC_METRICS,
    WORKLOAD_METRICS,
)
from backends.real.agent.telemetry import Telemetry
from eru_sim.recording import READERS
from scheduler.lifecycle import mermaid
from traces import list_formats, manifest

DOCS = Path(__file__).parent
COMMAND = "python docs/generate.py"


def lifecycle() -> str:
    """Return the state diagram of a workload."""
    return f"```mermaid\n{mermaid()}\n```"


def trace_format(name: str) -> str:
    """Return what the registry and the manifest say of a trace format: origin, how to obtain it, options."""
    (entry,) = (entry for entry in list_formats(READERS) if entry["name"] == name)
    lines: list[str] = []
    for public in manifest():
        if public["format"] == name:
            lines += _obtain(public)
    options = entry["options"]
    if options:
        lines += ["| option | default | meaning |", "|---|---|---|"]
        lines += [f"| `{option['name']}` | {_code(option['default'])} | {option['meaning']} |" for option in options]
    else:
        lines.append("It has no options.")
    return "\n".join(lines)


def _obtain(public: dict[str, Any]) -> list[str]:
    files = ", ".join(f"`{name}`" for name in public["files"])
    return [
        f"- **Trace**: {public['name']}: {public['content']}",
        f"- **Origin**: {public['origin']}",
        f"- **Licence**: {public['licence']}",
        f"- **Obtain**: {public['obtain']}",
        f"- **Files**: {files}",
        f"- **Source**: `{public['source']}`",
        "",
    ]


def _code(text: str) -> str:
    return f"`{text}`" if text else "not set"


def agent_settings() -> str:
    """Return the settings of the agent: key, default, flag, variable, meaning."""
    lines = ["| key | default | flag | variable | meaning |", "|---|---|---|---|---|"]
    for setting in SETTINGS:
        default = f"`{setting.shown_default}`" if setting.shown_default else "none"
        meaning = setting.meaning.replace("|", "\\|")
        lines.append(f"| `{setting.key}` | {default} | `{setting.flag}` | `{setting.variable}` | {meaning} |")
    return "\n".join(lines)


def agent_metrics() -> str:
    """Return what the agent shows to Prometheus: workloads, the node, itself."""
    lines = ["| metric | labels | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | | {meaning} |" for name, meaning in WORKLOAD_METRICS.items()]
    lines += [f"| `{name}` | `nic` | {meaning} |" for name, (_, meaning) in NIC_METRICS.items()]
    lines += [f"| `{name}` | `dev` | {meaning} |" for name, meaning in DISK_METRICS.items()]
    lines += [f"| `{name}` | | {meaning} |" for name, meaning in NODE_METRICS.items()]
    lines += [f"| `{name}_total` | `nic` | {meaning} |" for name, (_, meaning) in NODE_NIC_METRICS.items()]
    for metric in Telemetry().metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {labels} | {metric.meaning} |")
    return "\n".join(lines)


PARTS: dict[Path, dict[str, Callable[[], str]]] = {
    DOCS / "agent.md": {"settings": agent_settings, "metrics": agent_metrics},
    DOCS / "architecture.md": {"lifecycle": lifecycle},
    DOCS / "traces.md": {entry["name"]: partial(trace_format, entry["name"]) for entry in list_formats(READERS)},
}


def rendered(page: Path) -> str:
    """Return the page with its generated parts as they should be; ValueError where a marker is missing."""
    text = page.read_text(encoding="utf-8")
    for name, part in PARTS[page].items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed) or begin in after:
            raise ValueError(f"{page}: there must be one part that is marked {begin} ... {end}")
        text = f"{before}{begin}\n{part()}\n{end}{after}"
    return text


def main() -> None:
    """Write every page anew."""
    for page in PARTS:
        page.write_text(rendered(page), encoding="utf-8")


if __name__ == "__main__":
    main()

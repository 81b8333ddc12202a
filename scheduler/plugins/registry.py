"""Finds plugins by name: ours and whatever is installed under the entry-point group ``eru.plugins``."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from scheduler.ports import ResourcePlugin

ENTRY_POINT_GROUP = "eru.plugins"


def plugin_names() -> list[str]:
    """The names of all plugins that are installed, sorted."""
    return sorted({entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)})


def make_plugin(name: str, params: Mapping[str, Any] | None = None) -> ResourcePlugin:
    """Return a new plugin; ValueError where the name is unknown or the parameters do not suit it."""
    found = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"installed: {', '.join(sorted(found))}"
        raise ValueError(f"plugin: no plugin {name!r} is installed; {hint}")
    made = found[name].load()
    if inspect.isabstract(made):
        raise ValueError(f"plugin {name!r}: its class lacks the methods {', '.join(sorted(made.__abstractmethods__))}")
    try:
        plugin: ResourcePlugin = made(**dict(params or {}))
    except TypeError as error:
        raise ValueError(f"plugin {name!r}: its parameters do not suit it: {error}") from None
    return plugin

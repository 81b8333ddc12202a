"""Replay traces through the scheduler core, compare policies, verify and explain recordings.

Everything is imported when it is first used, so that ``import eru_sim`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eru_sim.compare import Comparison, compare
    from eru_sim.errors import EruError
    from eru_sim.explain import explain
    from eru_sim.replay import ReplayResult, replay
    from eru_sim.verify import verify

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "eru_sim.compare",
    "EruError": "eru_sim.errors",
    "ReplayResult": "eru_sim.replay",
    "compare": "eru_sim.compare",
    "explain": "eru_sim.explain",
    "replay": "eru_sim.replay",
    "verify": "eru_sim.verify",
}

__all__ = ["Comparison", "EruError", "ReplayResult", "compare", "explain", "replay", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eru_sim' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

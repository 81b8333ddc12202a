"""Replay traces through the scheduler core, compare policies, verify and explain recordings.

Everything is imported when it is first used, so that ``import eru_sim`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eru_sim.comparison import Comparison, compare
    from eru_sim.errors import EruError
    from eru_sim.explanation import explain
    from eru_sim.simulation import ReplayResult, replay
    from eru_sim.sources import convert, describe, ls
    from eru_sim.sweeps import sweep
    from eru_sim.verification import verify

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "eru_sim.comparison",
    "EruError": "eru_sim.errors",
    "ReplayResult": "eru_sim.simulation",
    "compare": "eru_sim.comparison",
    "convert": "eru_sim.sources",
    "describe": "eru_sim.sources",
    "explain": "eru_sim.explanation",
    "ls": "eru_sim.sources",
    "replay": "eru_sim.simulation",
    "sweep": "eru_sim.sweeps",
    "verify": "eru_sim.verification",
}

__all__ = [
    "Comparison", "EruError", "ReplayResult", "compare", "convert", "describe", "explain", "ls", "replay", "sweep",
    "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eru_sim' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

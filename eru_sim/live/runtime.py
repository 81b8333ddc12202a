"""What a service asks of Python: the event loop that it runs on, and how often memory is searched for garbage."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_GARBAGE_THRESHOLDS = (10_000, 10, 10)
"""A search of the youngest for so many new objects: by default it is 700, and a busy service makes those in a blink."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on uvloop where that is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def settle_memory() -> None:
    """What there is now stays: no search for garbage looks at it again, which would halt a large service for long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)

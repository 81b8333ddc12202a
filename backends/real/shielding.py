"""What goes on to its end though whoever asked for it goes away, so that edge and core agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_under_way: set[asyncio.Future[Any]] = set()
"""An event loop itself does not keep its tasks alive."""


def shielded(function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """A caller that is cancelled takes nothing back: the function goes on to its end."""

    @wraps(function)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        task = asyncio.ensure_future(function(*args, **kwargs))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    return run

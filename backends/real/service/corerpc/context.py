"""What all methods share: the cluster, options, and small things to do with both."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

from backends.real.builds.sources import GitSettings
from backends.real.cluster import LiveCluster
from backends.real.driver import DriverStopped, Overloaded
from backends.real.engines.base import EngineError
from backends.real.errors import Conflict, Missing, Rejected
from backends.real.operations import Result
from backends.real.service.corerpc.errors import WireError, number_of
from backends.real.service.corerpc.resources import ResourceWire
from backends.real.service.errors import CallError, Status
from backends.real.service.streams import merged
from scheduler.events import AnyEvent
from scheduler.ports import ExactPlugin

T = TypeVar("T")

_LETTER_OF = bytes(ord("a") + byte % 26 for byte in range(256))
REFUSALS = (Rejected, Missing, Conflict, EngineError)
"""What the cluster says no with."""


class CoreRpcOptions(NamedTuple):
    """``address`` is where clients find this service; it is told them every ``push_seconds``.

    An engine is waited for ``engine_seconds`` when it is only asked what it is; an asynchronous lambda may run
    ``lambda_seconds`` unless it says otherwise. ``at_once`` bounds what one call does at a time, ``feed_items`` how far
    a watcher may fall behind. Images are built on a node of ``build_pool``, of sources if ``git`` says from
    where.
    """

    address: str = ""
    push_seconds: float = 15.0
    engine_seconds: float = 10.0
    lambda_seconds: float = 300.0
    at_once: int = 16
    feed_items: int = 4096
    build_pool: str = ""
    git: GitSettings | None = None


class Context:
    """The cluster as this wire sees it."""

    def __init__(self, cluster: LiveCluster, options: CoreRpcOptions) -> None:
        self.cluster = cluster
        self.options = options
        core = cluster.core
        plugins = core.state.resources.plugins
        exact = [name for name, plugin in plugins.items() if isinstance(plugin, ExactPlugin)]
        self.dimensions = tuple(dimension.name for dimension in core.config.dimensions)
        share_base = next((one.params.get("share_base", 100) for one in core.config.plugins if one.name == "cpu"), 100)
        self.wire = ResourceWire(self.dimensions, plugins, exact, share_base)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def ask_one(self, event: AnyEvent, *, is_forced: bool = False) -> Result:
        """Ask one thing about one workload; wait for its answer. ``is_forced`` as in `LiveCluster.ask`."""
        view = await self.cluster.ask(operation_of(event), event, is_forced=is_forced)
        results = await view.done()
        return results[-1]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that outlives its call; nothing more where the service stops."""
        if self._is_closing:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what outlived its call."""
        self._is_closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def merged(self, sources: Iterable[AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """`streams.merged`, as many at a time as this wire does."""
        return merged(sources, self.options.at_once)


class Methods:
    """Some methods of the service."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.cluster = context.cluster


def operation_of(event: AnyEvent) -> str:
    """The operation that an event belongs to."""
    operation_id: str = getattr(event, "operation_id", "")
    return operation_id


def new_ident() -> str:
    """What makes the name of a deployment its own: some letters."""
    return secrets.token_bytes(8).translate(_LETTER_OF).decode()


def translate(method: str, error: Exception) -> CallError | None:
    """The status of a call that failed; None for what is a bug."""
    if isinstance(error, WireError):
        return CallError(error.status or number_of(method), str(error))
    if isinstance(error, Overloaded):
        return CallError(Status.RESOURCE_EXHAUSTED, str(error))
    if isinstance(error, DriverStopped):
        return CallError(Status.UNAVAILABLE, str(error))
    if isinstance(error, REFUSALS):
        return CallError(number_of(method), str(error))
    return None

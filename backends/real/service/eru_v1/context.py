"""What all methods share: the cluster, options, requests that are carried out once, and streams of several nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from backends.real.builds.sources import GitSettings
from backends.real.cluster import LiveCluster
from backends.real.errors import Conflict, Rejected
from backends.real.operations import OperationView
from backends.real.requests import KEY_LENGTH_MAX, Asked, digest_of
from backends.real.service.calls import Call
from backends.real.service.eru_v1 import writing
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.streams import merged
from backends.real.shielding import shielded
from backends.real.stores.base import Record

T = TypeVar("T")
Begin = Callable[[str, Sequence[Record]], Awaitable[OperationView]]
"""Asks for an operation of that id, with records to be written."""


class EruOptions(NamedTuple):
    """``addresses`` is where clients find this service, ``version`` what it is, ``policies`` those that it knows
    besides the built-in ones.

    ``feed_items`` bounds how far a watcher may fall behind, ``at_once`` at how many nodes one call does something at a
    time. An engine is waited for ``engine_seconds`` when it is only asked what it is. A story is looked for in the
    newest ``story_batches`` batches, and reasons of refusals are worked out again in at most ``replay_batches``. Images
    are built of sources if ``git`` says from where.
    """

    addresses: tuple[str, ...] = ()
    version: str = ""
    policies: tuple[str, ...] = ()
    feed_items: int = 4096
    at_once: int = 16
    engine_seconds: float = 10.0
    story_batches: int = 200_000
    replay_batches: int = 20_000
    git: GitSettings | None = None


class Methods:
    """Some methods of the service."""

    def __init__(self, cluster: LiveCluster, options: EruOptions) -> None:
        self.cluster = cluster
        self.options = options

    # -- requests that are carried out once ---------------------------------------------------------------------------

    async def once(
        self,
        call: Call,
        request: Any,
        carry_out: Callable[[Sequence[Record]], Awaitable[T]],
        again: Callable[[Asked], T],
        operations: tuple[str, ...] = (),
    ) -> T:
        """Carry a request out, or, if that was done under its key, answer again.

        ``carry_out`` gets the records that are to be written with what it does; with a key that goes on to its end
        though the caller goes away. ``operations`` are those that it begins.
        """
        if not request.idempotency_key:
            return await carry_out(())
        return await self._once(call.method, request, carry_out, again, operations)

    @shielded
    async def _once(
        self,
        method: str,
        request: Any,
        carry_out: Callable[[Sequence[Record]], Awaitable[T]],
        again: Callable[[Asked], T],
        operations: tuple[str, ...],
    ) -> T:
        key, requests = request.idempotency_key, self.cluster.requests
        if len(key) > KEY_LENGTH_MAX:
            raise Rejected(f"idempotency_key: it is longer than {KEY_LENGTH_MAX} characters")
        digest = digest_of(method, request.SerializeToString(deterministic=True))
        async with requests.turn(key) as asked:
            if asked is not None:
                if asked.digest != digest:
                    raise Conflict(f"idempotency_key: {key[:60]!r} was used for another request; choose another key")
                return again(asked)
            records = requests.note(key, digest, operations)
            try:
                return await carry_out(records)
            except BaseException:
                requests.drop(key)
                raise

    async def operation(self, call: Call, request: Any, begin: Begin) -> pb.Operation:
        """Begin an operation, once for a key."""
        operation_id = self.cluster.operations.new_id()

        async def carry_out(records: Sequence[Record]) -> pb.Operation:
            return writing.operation(self.cluster, await begin(operation_id, records))

        return await self.once(
            call, request, carry_out, lambda asked: self.known_operation(asked.operations[0]), (operation_id,)
        )

    def known_operation(self, operation_id: str) -> pb.Operation:
        """An operation that there was: of one that is no longer kept, that it is done."""
        view = self.cluster.operations.find(operation_id)
        if view is None:
            return pb.Operation(operation_id=operation_id, is_done=True)
        return writing.operation(self.cluster, view)

    # -- streams ------------------------------------------------------------------------------------------------------

    def merged(self, sources: Iterable[AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """`streams.merged`, as many at a time as this wire does."""
        return merged(sources, self.options.at_once)

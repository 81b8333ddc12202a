"""How much one client may ask: calls a second, and calls at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from backends.real.service.errors import CallError, Status

_CLIENTS_MAX = 4096


class TokenBuckets:
    """One bucket a client, refilled at ``rate`` a second up to ``burst``. A rate of 0 is no limit.

    Buckets that were not asked for longest are forgotten beyond a few thousand, and are then full again.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Take one token; False where there is none."""
        left = self.level(client)
        if self._rate and left < 1.0:
            return False
        self._put(client, left - 1.0)
        return True

    def level(self, client: str) -> float:
        """How many tokens the client has now."""
        left, at = self._buckets.get(client, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - at) * self._rate)

    def _put(self, client: str, left: float) -> None:
        if self._rate:
            self._buckets[client] = (left, self._clock())
            self._buckets.move_to_end(client)
            if len(self._buckets) > _CLIENTS_MAX:
                self._buckets.popitem(last=False)


class OpenCalls:
    """Counts calls under way, of each client and in all; 0 is no limit."""

    def __init__(self, per_client_max: int, total_max: int) -> None:
        self._per_client_max = per_client_max
        self._total_max = total_max
        self._total = 0
        self._by_client: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many calls are under way."""
        return self._total

    def enter(self, client: str) -> None:
        """Count one more; `CallError` where that is too many. Give it back by `leave`."""
        count = self._by_client.get(client, 0)
        if self._per_client_max and count >= self._per_client_max:
            raise CallError(Status.RESOURCE_EXHAUSTED, f"{count} calls of this client are under way: end some first")
        if self._total_max and self._total >= self._total_max:
            raise CallError(Status.RESOURCE_EXHAUSTED, "too many calls are under way: try again later")
        self._by_client[client] = count + 1
        self._total += 1

    def leave(self, client: str) -> None:
        """One call has ended."""
        self._total -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

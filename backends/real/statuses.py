"""What agents say of workloads: the last word of each, with an optional end, and whoever listens."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec

from backends.real.clock import Clock


class WorkloadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``networks`` maps a network to the workload's address; ``extension`` is whatever the agent adds."""

    workload_id: str
    is_running: bool
    is_healthy: bool
    networks: Mapping[str, str] = {}
    extension: bytes = b""
    app: str = ""
    entrypoint: str = ""
    node_id: str = ""


class StatusChange(NamedTuple):
    """Something was said anew, its time ran out, or its workload is gone."""

    kind: Literal["set", "expired", "deleted"]
    status: WorkloadStatus


Listener = Callable[[StatusChange], object]


class StatusTable:
    """The statuses of all workloads. A status with the value that it has already is no change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._statuses: dict[str, WorkloadStatus] = {}
        self._ends: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._listeners: dict[int, Listener] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._statuses)

    def set(self, status: WorkloadStatus, ttl_ns: int = 0) -> bool:
        """Take a status, for ``ttl_ns`` or, with 0, until the next; whether it is a change."""
        workload_id = status.workload_id
        if ttl_ns > 0:
            end_ns = self._clock.now_ns() + ttl_ns
            self._ends[workload_id] = end_ns
            heapq.heappush(self._heap, (end_ns, workload_id))
            if len(self._heap) > 2 * len(self._ends) + 64:
                self._heap = [(end, name) for name, end in self._ends.items()]
                heapq.heapify(self._heap)
        else:
            self._ends.pop(workload_id, None)
        if self._statuses.get(workload_id) == status:
            return False
        self._statuses[workload_id] = status
        self._tell(StatusChange("set", status))
        return True

    def get(self, workload_id: str) -> WorkloadStatus | None:
        """The last word, None where there is none (any more)."""
        return self._statuses.get(workload_id)

    def drop(self, workload_id: str) -> None:
        """The workload is gone."""
        status = self._statuses.pop(workload_id, None)
        self._ends.pop(workload_id, None)
        if status is not None:
            self._tell(StatusChange("deleted", status))

    def expire(self) -> None:
        """Forget what has come to its end; to be called every now and then."""
        now_ns = self._clock.now_ns()
        while self._heap and self._heap[0][0] <= now_ns:
            end_ns, workload_id = heapq.heappop(self._heap)
            if self._ends.get(workload_id) == end_ns:
                del self._ends[workload_id]
                self._tell(StatusChange("expired", self._statuses.pop(workload_id)))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell somebody of every change from now on; returns what ends that."""
        number = self._next
        self._next += 1
        self._listeners[number] = listener
        return lambda: (self._listeners.pop(number, None), None)[1]

    def _tell(self, change: StatusChange) -> None:
        for listener in list(self._listeners.values()):
            listener(change)

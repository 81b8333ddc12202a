"""Fences: instances that were superseded while their node was lost, and go on holding until they are confirmed gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scheduler.types import NodeIndex
from scheduler.workload import Fence


class Fences:
    """All fences of one core, oldest first."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, int], Fence] = {}
        self._on_row: dict[NodeIndex, dict[tuple[str, int], Fence]] = {}
        self._of_id: dict[str, int] = {}
        self.by_key: Mapping[tuple[str, int], Fence] = self._by_key
        """By workload id and generation. For reading only."""
        self.workload_ids: Mapping[str, int] = self._of_id
        """The workloads of which an instance is fenced, with how many. For reading only."""

    def __iter__(self) -> Iterator[Fence]:
        return iter(self._by_key.values())

    def on_row(self, row: NodeIndex) -> list[Fence]:
        """The fences of a row, oldest first."""
        return list(self._on_row.get(row, {}).values())

    def add(self, fence: Fence) -> None:
        """Take in a fence; what it holds is held already."""
        key = (fence.workload_id, fence.generation)
        self._by_key[key] = fence
        self._on_row.setdefault(fence.row, {})[key] = fence
        self._of_id[fence.workload_id] = self._of_id.get(fence.workload_id, 0) + 1

    def take(self, workload_id: str, generation: int) -> Fence | None:
        """Take a fence out; None where there is none."""
        fence = self._by_key.pop((workload_id, generation), None)
        if fence is None:
            return None
        del self._on_row[fence.row][workload_id, generation]
        self._of_id[workload_id] -= 1
        if not self._of_id[workload_id]:
            del self._of_id[workload_id]
        return fence

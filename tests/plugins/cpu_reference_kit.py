"""Plans by the definition: core by core and plan by plan, every way to split tried in turn."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Pieces = dict[str, int]
Order = Callable[[str], Any]


class Question(NamedTuple):
    """What is asked of one node; ``numa`` maps cores to NUMA nodes."""

    free: Mapping[str, int]
    pieces: int
    share_base: int = 100
    max_share: int = -1
    memory: int = 0
    numa: Mapping[str, str] = {}
    numa_memory: Mapping[str, int] = {}
    held: Mapping[str, int] = {}
    held_numa: str | None = None


def reference_plans(question: Question, order: Order = int) -> list[tuple[Pieces, str | None]]:
    """All plans, each with its NUMA node."""
    free = {core: max(pieces, 0) for core, pieces in question.free.items()}
    found: list[tuple[Pieces, str | None]] = []
    nodes = sorted(set(question.numa.values()), key=order)
    for node in sorted(nodes, key=lambda node: node != question.held_numa):
        inside = {core: pieces for core, pieces in free.items() if question.numa.get(core) == node}
        plans = _plans(inside, question, order)
        if question.memory:
            plans = plans[: max(question.numa_memory.get(node, 0), 0) // question.memory]
        for plan in plans:
            found.append((plan, node))
            for core, pieces in plan.items():
                free[core] -= pieces
    return found + [(plan, None) for plan in _plans(free, question, order)]


def _plans(free: Mapping[str, int], question: Question, order: Order) -> list[Pieces]:
    base = question.share_base
    whole, fragment = divmod(question.pieces, base)
    full, broken = _classes(free, base, order)
    if question.held:
        held_full, held_broken = _classes(question.held, base, order)
        full.sort(key=lambda core: held_full.index(core) if core in held_full else len(free))
        broken.sort(key=lambda core: held_broken.index(core) if core in held_broken else len(free))
    most_broken = len(full) + len(broken) - whole
    if question.max_share != -1:
        most_broken = min(most_broken, question.max_share)

    def whole_plans(cores: Sequence[str]) -> list[Pieces]:
        units = {core: free[core] // base for core in cores}
        groups = _groups_held(cores, units, whole) if question.held else _groups(cores, units, whole, order)
        return [dict.fromkeys(group, base) for group in groups]

    def fragment_plans(cores: Sequence[str]) -> list[Pieces]:
        return [{core: fragment} for core in cores for _ in range(free[core] // fragment)]

    if fragment == 0:
        return whole_plans(full)
    if whole == 0:
        while len(broken) < most_broken:
            broken.append(full.pop(0))
        return fragment_plans(broken)
    best = _joined(whole_plans(full), fragment_plans(broken))
    while len(broken) < most_broken and full:
        broken.append(full.pop(0))
        plans = _joined(whole_plans(full), fragment_plans(broken))
        if len(plans) > len(best):
            best = plans
    return best


def _joined(whole: list[Pieces], fragments: list[Pieces]) -> list[Pieces]:
    return [{**cores, **fragment} for cores, fragment in zip(whole, fragments, strict=False)]


def _classes(free: Mapping[str, int], base: int, order: Order) -> tuple[list[str], list[str]]:
    busiest_first = sorted(free, key=lambda core: (free[core], order(core)))
    full = [core for core in busiest_first if free[core] > 0 and free[core] % base == 0]
    return full, [core for core in busiest_first if free[core] > 0 and free[core] % base != 0]


class _Last:
    """Reverses the order of what it wraps, so that a min-heap is a max-heap."""

    def __init__(self, key: Any, core: str) -> None:
        self.key, self.core = key, core

    def __lt__(self, other: _Last) -> bool:
        return bool(self.key > other.key)


def _groups(cores: Sequence[str], units: Mapping[str, int], size: int, order: Order) -> list[list[str]]:
    heap = [_Last((units[core], order(core)), core) for core in cores]
    heapq.heapify(heap)
    left, groups = dict(units), []
    while len(heap) >= size:
        group = [heapq.heappop(heap).core for _ in range(size)]
        groups.append(group)
        for core in group:
            left[core] -= 1
            if left[core] > 0:
                heapq.heappush(heap, _Last((left[core], order(core)), core))
    return sorted(groups, key=lambda group: sum(cores.index(core) for core in group))


def _groups_held(cores: Sequence[str], units: Mapping[str, int], size: int) -> list[list[str]]:
    line, left, groups = list(cores), dict(units), []
    while len(line) >= size:
        cut = [line[at : at + size] for at in range(0, len(line) - size + 1, size)]
        groups += cut
        for group in cut:
            for core in group:
                left[core] -= 1
        used = [core for group in cut for core in group]
        line = [core for core in used if left[core] > 0] + line[len(used) :]
    return groups

"""Which cores a bound workload gets: the plans of Eru's cpumem, in the order in which they are to be used.

A core has *pieces*, ``share_base`` of them make one whole core; an oversold core has more. A request is so many whole
cores plus a *fragment*, which never spans cores. A core with a multiple of ``share_base`` free is *full*, any other
with something free is a *fragment core*. Whole cores are only taken from full cores, the least loaded first, so that as
many plans as possible are found; plans on the busiest cores are used first. Fragments are taken from fragment cores
and, if that makes for more plans, from the busiest full cores.

Cores and NUMA nodes are numbers here: their positions in the order of ids.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import accumulate, islice
from typing import Literal, NamedTuple

from scheduler.plugins.payloads import shown

CoreOrder = Literal["number", "string"]
"""How ids compare: as numbers, or as strings ("10" before "2"), as Eru does."""

CPU_MAX = 10**9
_DIGITS_MAX = 400  # more than any float is written with; keeps the fractions small


class Plan(NamedTuple):
    """The pieces that one workload takes, by core; ``numa`` are the NUMA nodes whose memory it takes, ascending."""

    cores: dict[int, int]
    numa: tuple[int, ...]


class Cores(NamedTuple):
    """What is free on one node: pieces by core, the cores of each NUMA node, bytes by NUMA node."""

    free: Sequence[int]
    numa_cores: Sequence[Sequence[int]] = ()
    numa_memory: Sequence[int] = ()


class PlanRequest(NamedTuple):
    """What one workload asks: ``pieces`` at least 1, ``memory`` in bytes.

    ``max_share`` is how many cores may be broken into fragments, -1 for any number. ``numa_nodes`` 0 means inside one
    NUMA node first, then across; n means an equal share from each of n.
    """

    pieces: int
    share_base: int
    max_share: int = -1
    memory: int = 0
    numa_nodes: int = 0


class Held(NamedTuple):
    """What the workload had, which `Cores.free` contains again: pieces by core, and its NUMA nodes."""

    cores: Mapping[int, int]
    numa: Sequence[int] = ()


_NOTHING_HELD = Held({})


def id_order(identifier: str, core_order: CoreOrder) -> tuple[int, str]:
    """The key to sort ids by."""
    return (int(identifier) if core_order == "number" else 0, identifier)


def exact_cpu(value: object, name: str) -> Fraction:
    """An amount of CPU in cores: exactly the decimal number that ``value`` is written as, so 0.1 is a tenth.

    ValueError names the field where it is not an int, a float or a decimal string, not finite, or beyond 10^9.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name}: {shown(value)} is not a number of cores, e.g. 1.5")
    too_much = ValueError(f"{name}: {shown(value)} must be finite and at most {CPU_MAX} cores")
    if isinstance(value, int) and abs(value) > CPU_MAX:
        raise too_much
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{name}: {shown(value)} is not a number of cores, e.g. 1.5") from None
    if (
        not number.is_finite()
        or len(number.as_tuple().digits) > _DIGITS_MAX
        or abs(number.adjusted()) > _DIGITS_MAX
        or abs(number) > CPU_MAX
    ):
        raise too_much
    return Fraction(number)


def cpu_pieces(cpu: Fraction, share_base: int) -> int:
    """The pieces of an amount of CPU, halves rounded up."""
    return (2 * cpu.numerator * share_base + cpu.denominator) // (2 * cpu.denominator)


def iterate_plans(cores: Cores, request: PlanRequest, held: Held = _NOTHING_HELD) -> Iterator[Plan]:
    """The plans for copies of one request, one NUMA node after the other, as they are asked for.

    All together fit into what is free. A plan that lies across NUMA nodes takes no NUMA memory.
    """
    free = [max(pieces, 0) for pieces in cores.free]
    if request.numa_nodes > 1:
        yield from _spread_plans(cores, free, request, held)
        return
    held_first = sorted(range(len(cores.numa_cores)), key=lambda node: node not in held.numa)
    for node in held_first:
        taken: list[dict[int, int]] = []
        for plan in islice(_pool_plans(free, cores.numa_cores[node], request, held), _room(cores, request, node)):
            taken.append(plan)
            yield Plan(plan, (node,))
        for plan in taken:
            for core, pieces in plan.items():
                free[core] -= pieces
    if request.numa_nodes == 0:
        for plan in _pool_plans(free, range(len(free)), request, held):
            yield Plan(plan, ())


def _room(cores: Cores, request: PlanRequest, node: int) -> int | None:
    """How many plans the memory of a NUMA node has room for, None for any number."""
    if request.memory == 0:
        return None
    return max(cores.numa_memory[node], 0) // request.memory


def _spread_plans(cores: Cores, free: Sequence[int], request: PlanRequest, held: Held) -> Iterator[Plan]:
    """Plans with an equal share from each of several NUMA nodes: whole cores, and memory rounded up to a byte."""
    count = request.numa_nodes
    share = request._replace(pieces=request.pieces // count, memory=-(-request.memory // count))
    shares = {
        node: list(islice(_pool_plans(free, members, share, held), _room(cores, share, node)))
        for node, members in enumerate(cores.numa_cores)
    }
    units = {node: len(found) for node, found in shares.items() if found}
    nodes = _held_first(sorted(units, key=lambda node: (units[node], node)), held.numa)
    supply = {node: iter(found) for node, found in shares.items()}
    for group in _groups(nodes, units, count, held):
        merged = {core: pieces for node in group for core, pieces in next(supply[node]).items()}
        yield Plan(dict(sorted(merged.items())), group)


def _pool_plans(free: Sequence[int], pool: Sequence[int], request: PlanRequest, held: Held) -> Iterator[dict[int, int]]:
    """The plans on the cores of ``pool``, whatever the memory. ``free`` must not change meanwhile."""
    base = request.share_base
    whole, fragment = divmod(request.pieces, base)
    full, broken = _classify(free, pool, base)
    if held.cores:
        held_full, held_broken = _classify(held.cores, list(held.cores), base)
        full, broken = _held_first(full, held_full), _held_first(broken, held_broken)
    units = {core: free[core] // base for core in full}
    if fragment == 0:
        for group in _groups(full, units, whole, held):
            yield dict.fromkeys(group, base)
        return
    breakable = len(full) + len(broken) - whole
    if request.max_share != -1:
        breakable = min(breakable, request.max_share)
    moved = max(breakable - len(broken), 0)
    if whole > 0:
        counts = accumulate((free[core] // fragment for core in full[:moved]), initial=_copies(free, broken, fragment))
        moved = _best_split(full, units, whole, list(counts), held)
    broken += full[:moved]
    fragments = (core for core in broken for _ in range(free[core] // fragment))
    if whole == 0:
        for core in fragments:
            yield {core: fragment}
        return
    for group, core in zip(_groups(full[moved:], units, whole, held), fragments, strict=False):
        yield dict(sorted([*((other, base) for other in group), (core, fragment)]))


def _copies(free: Sequence[int], cores: Sequence[int], fragment: int) -> int:
    return sum(free[core] // fragment for core in cores)


def _classify(
    free: Sequence[int] | Mapping[int, int], pool: Sequence[int], share_base: int
) -> tuple[list[int], list[int]]:
    """Full cores and fragment cores, each by (free, position): the busiest first. Cores with nothing free are out."""
    ordered = [core for pieces, core in sorted((free[core], core) for core in pool) if pieces > 0]
    full = [core for core in ordered if free[core] % share_base == 0]
    return full, [core for core in ordered if free[core] % share_base != 0]


def _held_first(cores: list[int], held: Sequence[int]) -> list[int]:
    return [core for core in held if core in cores] + [core for core in cores if core not in held]


def _best_split(
    full: Sequence[int], units: Mapping[int, int], whole: int, fragment_counts: Sequence[int], held: Held
) -> int:
    """How many full cores to break up so that there are most plans; the fewest that do.

    ``fragment_counts[m]`` is how many fragments there are when the first m are broken up. It rises with every core,
    while the number of groups of whole cores falls or stays: the best is where they cross, or one before.
    """
    splits = range(len(fragment_counts))
    if held.cores:
        group_counts = [sum(1 for _ in _consecutive_groups(full[split:], units, whole)) for split in splits]
        return max(splits, key=lambda split: min(group_counts[split], fragment_counts[split]))
    sums = list(accumulate((units[core] for core in full), initial=0))
    crossing = bisect_left(splits, True, key=lambda m: fragment_counts[m] >= _group_count(sums, m, whole))
    if crossing == len(splits):
        return crossing - 1
    if crossing > 0 and fragment_counts[crossing - 1] >= _group_count(sums, crossing, whole):
        return crossing - 1
    return crossing


def _group_count(sums: Sequence[int], moved: int, size: int) -> int:
    """How many groups of ``size`` distinct things there are, without the first ``moved``.

    ``sums`` are the running sums of the things' units, which ascend. t groups can be made if and only if
    sum(min(units, t)) >= size * t; and that sum is the least, over j, of j * t plus all units but the j largest.
    """
    last = len(sums) - 1
    if last - moved < size:
        return 0
    return min((sums[last - j] - sums[moved]) // (size - j) for j in range(size))


def _groups(things: Sequence[int], units: Mapping[int, int], size: int, held: Held) -> Iterable[tuple[int, ...]]:
    """Groups of ``size`` distinct things, ascending, each of which takes one unit of its members."""
    if held.cores:
        return _consecutive_groups(things, units, size)
    return _balanced_groups(things, units, size)


def _balanced_groups(things: Sequence[int], units: Mapping[int, int], size: int) -> list[tuple[int, ...]]:
    """As many groups as there can be, by always taking what has most units left, ties to the last.

    Groups of things that come early in ``things`` are first.
    """
    modulus = max(things, default=0) + 1
    ascending = sorted([units[thing] * modulus + thing for thing in things])
    groups = []
    while len(ascending) >= size:
        picked = ascending[-size:]
        del ascending[-size:]
        groups.append(tuple(sorted([key % modulus for key in picked])))
        for key in picked:
            if key >= 2 * modulus:
                insort(ascending, key - modulus)
    rank = {thing: position for position, thing in enumerate(things)}
    groups.sort(key=lambda group: sum([rank[thing] for thing in group]))
    return groups


def _consecutive_groups(things: Sequence[int], units: Mapping[int, int], size: int) -> Iterator[tuple[int, ...]]:
    """Groups of neighbours in ``things``; then, of what has units left and the rest that was too short, again."""
    order, left = list(things), dict(units)
    while len(order) >= size:
        end = len(order) - len(order) % size
        for start in range(0, end, size):
            group = order[start : start + size]
            yield tuple(sorted(group))
            for thing in group:
                left[thing] -= 1
        order = [thing for thing in order[:end] if left[thing] > 0] + order[end:]

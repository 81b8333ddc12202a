"""Machine shapes that were measured on real clusters, as small tables, and how to scale them to any node count.

Each entry of ``SHAPES`` is the machine mix of one published cluster. ``weight`` is the number of machines counted
there, so the weights of a set add up to its published size. Capacities are integers in the unit that the column name
ends in. A normalised figure (Google, Alibaba) is scaled so that 1.0 is 10,000,000 millicores (10,000 cores) and 10^12
bytes: the recorded decimals are then exact integers; where one is not, it is rounded half to even.
``SHAPE_NOTES`` says in one sentence per set where the figures come from and what is assumed.
"""

from __future__ import annotations

import difflib
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

NORMALISED_CPU_MILLICORES = 10_000_000
"""Millicores that a normalised CPU figure of 1.0 stands for."""

NORMALISED_MEMORY_BYTES = 1_000_000_000_000
"""Bytes that a normalised memory figure of 1.0 stands for."""

_GIB = 1 << 30


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of machine: what it holds, and how many of it its cluster had.

    ``capacity`` maps a column (``cpu_millicores``, ``memory_bytes``, ``gpu_milli``) to base units; a column that is
    absent is a resource that the machine does not have. ``weight`` is a positive machine count. Treat the mappings as
    read-only: nodes built from a shape share them.
    """

    name: str
    capacity: dict[str, int]
    weight: int
    labels: dict[str, str] = {}


def scale_normalised(value: str | Decimal, one: int) -> int:
    """Return the integer that the decimal ``value`` stands for when 1.0 is ``one``, rounded half to even.

    The arithmetic is decimal, never binary: ``scale_normalised("0.4995", 10_000_000)`` is exactly 4,995,000.
    """
    return int((Decimal(value) * one).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _google(cpu: str, memory: str, weight: int, platform: str = "") -> Shape:
    """Return a shape given in Google's normalised units."""
    name = f"cpu{cpu}-mem{memory}"
    return Shape(
        name=f"{platform}-{name}" if platform else name,
        capacity={
            "cpu_millicores": scale_normalised(cpu, NORMALISED_CPU_MILLICORES),
            "memory_bytes": scale_normalised(memory, NORMALISED_MEMORY_BYTES),
        },
        weight=weight,
        labels={"platform": platform} if platform else {},
    )


def _server(cores: int, memory_bytes: int, weight: int, gpus: int = 0, gpu_model: str = "", name: str = "") -> Shape:
    """Return a shape given in cores, bytes and whole GPUs."""
    capacity = {"cpu_millicores": cores * 1000, "memory_bytes": memory_bytes}
    if gpus:
        capacity["gpu_milli"] = gpus * 1000
    memory = "mem1.0" if memory_bytes == NORMALISED_MEMORY_BYTES else f"{memory_bytes // _GIB}g"
    suffix = f"-{gpus}x{gpu_model}" if gpus else ""
    return Shape(
        name=name or f"{cores}c-{memory}{suffix}",
        capacity=capacity,
        weight=weight,
        labels={"gpu_model": gpu_model} if gpus else {},
    )


_OPENB_GPU = (
    _server(96, 384 * _GIB, 549, 8, "G2"),
    _server(104, 512 * _GIB, 387, 2, "T4"),
    _server(16, 120 * _GIB, 107, 2, "P100"),
    _server(128, 768 * _GIB, 39, 8, "G3"),
    _server(32, 128 * _GIB, 28, 4, "V100M16"),
    _server(64, 256 * _GIB, 22, 2, "P100"),
    _server(96, 768 * _GIB, 21, 8, "V100M32"),
    _server(8, 32 * _GIB, 19, 1, "V100M16"),
    _server(96, 384 * _GIB, 17, 4, "T4"),
    _server(48, 368 * _GIB, 9, 4, "V100M32"),
    _server(64, 256 * _GIB, 7, 8, "V100M16"),
    _server(8, 60 * _GIB, 3, 1, "P100"),
    _server(8, 60 * _GIB, 2, 2, "P100"),
    _server(128, 1024 * _GIB, 2, 1, "A10"),
    _server(82, 336 * _GIB, 1, 8, "V100M16"),
)

_OPENB_CPU = (
    _server(32, 256 * _GIB, 129),
    _server(96, 512 * _GIB, 59),
    _server(96, 384 * _GIB, 30),
    _server(32, 128 * _GIB, 23),
    _server(64, 512 * _GIB, 22),
    _server(104, 512 * _GIB, 20),
    _server(32, 64 * _GIB, 10),
    _server(64, 256 * _GIB, 8),
    _server(64, 128 * _GIB, 4),
    _server(104, 768 * _GIB, 3),
    _server(104, 192 * _GIB, 1),
    _server(96, 768 * _GIB, 1),
)

SHAPES: dict[str, tuple[Shape, ...]] = {
    "google2011": (
        _google("0.5", "0.4995", 6672, "B"),
        _google("0.5", "0.2493", 3835, "B"),
        _google("0.5", "0.749", 992, "B"),
        _google("1", "1", 788, "C"),
        _google("0.25", "0.2498", 123, "A"),
        _google("0.5", "0.1241", 54, "B"),
        _google("0.5", "0.03085", 5, "B"),
        _google("0.5", "0.9678", 4, "B"),
        _google("1", "0.5", 3, "C"),
        _google("0.5", "0.06158", 1, "B"),
    ),
    "google2019-a": (
        _google("0.591796875", "0.33349609375", 3346),
        _google("1", "0.5", 1672),
        _google("0.708984375", "0.33349609375", 1417),
        _google("0.38671875", "0.33349609375", 1104),
        _google("0.38671875", "0.166748046875", 670),
        _google("1", "1", 643),
        _google("0.708984375", "0.6669921875", 480),
        _google("0.591796875", "0.166748046875", 364),
        _google("0.958984375", "0.5", 179),
        _google("0.958984375", "1", 73),
        _google("1", "0.25", 52),
        _google("0.4794921875", "0.25", 1),
        _google("0.708984375", "0.25", 1),
    ),
    "google2019-b": (
        _google("0.591796875", "0.33349609375", 3300),
        _google("1", "0.5", 1969),
        _google("0.708984375", "0.33349609375", 1620),
        _google("0.958984375", "0.5", 1113),
        _google("0.708984375", "0.6669921875", 724),
        _google("0.591796875", "0.166748046875", 417),
        _google("1", "1", 412),
        _google("0.38671875", "0.33349609375", 191),
        _google("0.591796875", "0.6669921875", 120),
        _google("0.958984375", "1", 100),
        _google("0.38671875", "0.166748046875", 81),
    ),
    "google2019-c": (
        _google("0.25927734375", "0.166748046875", 3389),
        _google("0.38671875", "0.33349609375", 2376),
        _google("0.591796875", "0.33349609375", 2178),
        _google("0.958984375", "0.5", 1396),
        _google("1", "0.5", 1166),
        _google("0.38671875", "0.166748046875", 801),
        _google("0.708984375", "0.6669921875", 547),
        _google("1", "1", 506),
        _google("1", "0.25", 432),
        _google("0.958984375", "1", 153),
        _google("0.958984375", "0.25", 144),
        _google("0.708984375", "0.33349609375", 130),
        _google("0.591796875", "0.166748046875", 27),
    ),
    "google2019-d": (
        _google("0.591796875", "0.33349609375", 5668),
        _google("0.38671875", "0.33349609375", 1816),
        _google("0.25927734375", "0.166748046875", 1690),
        _google("0.38671875", "0.166748046875", 1133),
        _google("0.708984375", "0.6669921875", 799),
        _google("0.708984375", "0.33349609375", 784),
        _google("0.591796875", "0.166748046875", 544),
        _google("0.25927734375", "0.33349609375", 95),
        _google("1", "0.5", 47),
        _google("0.591796875", "0.25", 1),
        _google("0.708984375", "0.5", 1),
    ),
    "alibaba2017": (_server(64, NORMALISED_MEMORY_BYTES, 1300),),
    "alibaba2018": (_server(96, NORMALISED_MEMORY_BYTES, 4034),),
    "openb": tuple(sorted(_OPENB_GPU + _OPENB_CPU, key=lambda shape: -shape.weight)),
    "openb-gpu": _OPENB_GPU,
    "azure": (
        _server(40, 90 * _GIB, 400, name="baseline-40c-90g"),
        _server(40, 256 * _GIB, 250, name="gen5-40c-256g"),
        _server(24, 192 * _GIB, 200, name="gen4-24c-192g"),
        _server(16, 128 * _GIB, 150, name="gen3-16c-128g"),
    ),
    "azure-baseline": (_server(40, 90 * _GIB, 1000, name="baseline-40c-90g"),),
    "pai2020": (
        _server(64, 512 * _GIB, 798, 2, "P100"),
        _server(96, 512 * _GIB, 497, 2, "T4"),
        _server(96, 512 * _GIB, 280, 8, "MISC"),
        _server(96, 384 * _GIB, 135, 8, "V100M32"),
        _server(96, 512 * _GIB, 83),
        _server(96, 512 * _GIB, 59, 8, "V100"),
        _server(96, 384 * _GIB, 45, 8, "V100"),
    ),
    "spot2026": (
        _server(128, NORMALISED_MEMORY_BYTES, 2492, 1, "A10"),
        _server(192, NORMALISED_MEMORY_BYTES, 901, 1, "GPU-series-1"),
        _server(128, NORMALISED_MEMORY_BYTES, 432, 8, "A100-SXM4-80GB"),
        _server(192, NORMALISED_MEMORY_BYTES, 219, 8, "H800"),
        _server(192, NORMALISED_MEMORY_BYTES, 122, 8, "GPU-series-2"),
        _server(192, NORMALISED_MEMORY_BYTES, 77, 8, "GPU-series-1"),
        _server(128, NORMALISED_MEMORY_BYTES, 22, 8, "A800-SXM4-80GB"),
        _server(192, NORMALISED_MEMORY_BYTES, 10, 4, "GPU-series-1"),
        _server(126, NORMALISED_MEMORY_BYTES, 2, 1, "A10"),
        _server(128, NORMALISED_MEMORY_BYTES, 1, 1, "GPU-series-1"),
    ),
}
"""Machine mixes by name, most frequent shape first. The weights of a set add up to its published machine count."""

_GOOGLE_UNITS = "1.0 stands for 10,000 cores and 10^12 bytes, rounded half to even"

SHAPE_NOTES: dict[str, str] = {
    "google2011": f"machines at time 0 of ClusterData2011_2 (12,477 machines, platforms A, B, C); {_GOOGLE_UNITS}",
    **{
        f"google2019-{cell}": f"distinct machines seen in May 2019 in cell {cell} of ClusterData2019; {_GOOGLE_UNITS}"
        for cell in "abcd"
    },
    "alibaba2017": "about 1,300 equal machines of 64 cores; memory is normalised there, 1.0 taken as 10^12 bytes",
    "alibaba2018": "4,034 equal machines of 96 cores; memory is normalised there, 1.0 taken as 10^12 bytes",
    "openb": "1,523 nodes of the Alibaba GPU cluster 2023, counted from its node list",
    "openb-gpu": "the 1,213 GPU nodes of the Alibaba GPU cluster 2023, counted from its node list",
    "azure": (
        "assumed: the Azure traces list no machines; 40 % hosts of 40 cores and 90 GiB (the baseline used with the "
        "2017 trace), 25 % of 40 cores and 256 GiB, 20 % of 24 cores and 192 GiB, 15 % of 16 cores and 128 GiB"
    ),
    "azure-baseline": (
        "assumed: the Azure traces list no machines; every host has 40 cores and 90 GiB, the baseline used with the "
        "2017 trace"
    ),
    "pai2020": "1,897 nodes of the Alibaba PAI cluster 2020, counted from its machine list; its GB taken as 2^30 bytes",
    "spot2026": (
        "4,278 nodes of the Alibaba spot GPU cluster 2026, counted from its node list; it gives no memory, so every "
        "node is assumed to have 10^12 bytes"
    ),
}
"""One sentence per set: where the figures come from, and what is assumed."""


def shape_set(name: str) -> tuple[Shape, ...]:
    """Return the shapes of the set ``name``, most frequent first.

    Raises ValueError, in one line that names the closest known set and lists all of them, when there is no such set.
    """
    shapes = SHAPES.get(name)
    if shapes is None:
        close = difflib.get_close_matches(name, SHAPES, n=1, cutoff=0.4)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"unknown machine shapes '{name}': {hint}known sets: {', '.join(SHAPES)}")
    return shapes


def published_nodes(name: str) -> int:
    """Return how many machines the cluster of the set ``name`` had. Raises ValueError as ``shape_set`` does."""
    return sum(shape.weight for shape in shape_set(name))


def apportion(name: str, nodes: int) -> list[tuple[Shape, int]]:
    """Split ``nodes`` machines over the shapes of the set ``name`` in proportion to their weights.

    Largest-remainder method in integers: each shape gets the whole part of its quota, and what is left over goes one
    by one to the largest remainders, ties to the shape that is listed first. The counts add up to ``nodes`` exactly.
    The result lists every shape of the set in its order, so a rare shape may have the count 0; for the published
    number the counts are the weights.

    Raises ValueError, in one line, on an unknown name (with the closest match) and on a negative count.
    """
    shapes = shape_set(name)
    if nodes < 0:
        raise ValueError(f"machine shapes '{name}': the node count is {nodes}; give 0 or more")
    total = sum(shape.weight for shape in shapes)
    counts = [nodes * shape.weight // total for shape in shapes]
    by_remainder = sorted(range(len(shapes)), key=lambda index: (-(nodes * shapes[index].weight % total), index))
    for index in by_remainder[: nodes - sum(counts)]:
        counts[index] += 1
    return list(zip(shapes, counts, strict=True))

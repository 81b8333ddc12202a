"""Policies for clusters whose GPUs are shared: GPU packing, GPU clustering, fragmentation gradient descent.

They read the slots of the plugin "gpu", and need dimensions called "cpu" and "gpu" where a formula speaks of amounts.
Formulas, roundings and scales are those of the simulator of Weng et al., "Beware of Fragmentation: Scheduling
GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), so that their figures come out: scores are
whole numbers from 0 to 100, amounts are in thousandths, and 8 GPUs and 128 cores, the largest node there, are the
largest node here. Where the plugin "gpu" is not in use, those that read its slots take the first node that fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import exp, isfinite
from typing import Any, NamedTuple

import numpy as np

from scheduler import kernels
from scheduler.policy import Asking, Policy
from scheduler.ports import Dimension, NodeColumns, NodeFacts, SlotColumns
from scheduler.types import BoolArray, FloatArray, Int64Array, MaskArray

WHOLE = 1000
"""Milli of a whole device."""

TAGS = "gpu"
"""The family of marks that the plugin "gpu" puts on workloads: `tag_of` their groups."""

_LARGEST_GPU_MILLI = 8 * WHOLE


def tag_of(groups: Sequence[Mapping[str, Any]]) -> str:
    """What kind of GPU work it is: "share" for one part of a device, "k-gpu" for k devices, "" for none."""
    count: int = sum(group["count"] for group in groups)
    if count == 1 and groups[0]["milli"] < WHOLE:
        return "share"
    return f"{count}-gpu" if count else ""


class _Amounts(NamedTuple):
    """One dimension: free by row, what is asked, and the largest node's capacity."""

    free: Int64Array
    asked: int
    largest: int


def _amounts(nodes: NodeColumns, request: Int64Array, name: str) -> _Amounts:
    """Zeros where there is no such dimension."""
    for place, dimension in enumerate(nodes.dimensions):
        if dimension.name == name:
            return _Amounts(nodes.free[place], int(request[place]), int(nodes.reference[place]))
    return _Amounts(np.zeros(len(nodes.rows), dtype=np.int64), 0, 1)


class OpenbBestFit(Policy):
    """Best fit over cpu and GPU as Weng et al. have it.

    ``score = 100 * (1 - ((cpu - cpu_asked) / cpu_largest + (gpu - gpu_asked) / gpu_largest) / 2)``, rounded down, where
    cpu and gpu are what is free. They then scale from the lowest to the highest node, which changes no order.
    """

    name = "openb-best-fit"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        cpu, gpu = (_amounts(nodes, request, name) for name in ("cpu", "gpu"))
        left = (cpu.free - cpu.asked) / cpu.largest * 0.5 + (gpu.free - gpu.asked) / gpu.largest * 0.5
        result: FloatArray = np.floor((1.0 - left) * 100)
        return result


class OpenbDotProduct(Policy):
    """Dot product over cpu and GPU as Weng et al. have it: the *least* product wins.

    ``score = 100 * (1 - (cpu * cpu_asked / cpu_largest ** 2 + gpu * gpu_asked / gpu_largest ** 2) / 2)``, rounded down.
    """

    name = "openb-dot-product"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        cpu, gpu = (_amounts(nodes, request, name) for name in ("cpu", "gpu"))
        product = cpu.free / cpu.largest * (cpu.asked / cpu.largest) + gpu.free / gpu.largest * (
            gpu.asked / gpu.largest
        )
        result: FloatArray = np.floor((1.0 - product / 2.0) * 100)
        return result


# What is left of devices


def _devices(slots: SlotColumns) -> tuple[Int64Array, Int64Array]:
    """Milli left (rows, width), 0 beyond a node's own devices, and by row how many devices there are."""
    numbers = [len(inventory.layout["models"]) for inventory in slots.inventories]
    counts = np.array([*numbers, 0], dtype=np.int64).take(slots.inventory_ids)  # -1 picks the last
    width = max(numbers, default=0)
    if all(len(inventory.slots) == number for inventory, number in zip(slots.inventories, numbers, strict=True)):
        return slots.free[:, :width].copy(), counts
    return np.where(np.arange(width) < counts[:, None], slots.free[:, :width], 0), counts


def _suitable(group: Mapping[str, Any], slots: SlotColumns, left: Int64Array) -> BoolArray:
    """By row and device, whether the group's share of it can be taken now."""
    enough: BoolArray = left >= group["milli"]
    if not group["models"] and not group["memory"] and slots.free.shape[1] == left.shape[1]:
        return enough
    for inventory_id in np.unique(slots.inventory_ids).tolist() if len(left) else ():
        if inventory_id < 0:
            continue
        inventory, rows = slots.inventories[inventory_id], slots.inventory_ids == inventory_id
        for device, model in enumerate(inventory.layout["models"]):
            if group["models"] and model not in group["models"]:
                enough[rows, device] = False
                continue
            place = inventory.layout["memory_slots"][device]
            if place < 0:
                enough[rows, device] &= not group["memory"]
            elif group["milli"] == WHOLE:
                total = inventory.total[place]
                enough[rows, device] &= (slots.free[rows, place] == total) & (total >= group["memory"])
            else:
                enough[rows, device] &= slots.free[rows, place] >= group["memory"]
    return enough


def _take(groups: Sequence[Mapping[str, Any]], slots: SlotColumns, left: Int64Array) -> tuple[Int64Array, BoolArray]:
    """What is left, and which devices were taken, when every group takes those with the least left first."""
    taken = np.zeros(left.shape, dtype=np.bool_)
    for group in groups:
        suitable = _suitable(group, slots, left)
        order = np.argsort(np.where(suitable, left, WHOLE + 1), axis=1, kind="stable")[:, : group["count"]]
        chosen = np.zeros(left.shape, dtype=np.bool_)
        np.put_along_axis(chosen, order, True, axis=1)
        chosen &= suitable
        left = np.where(chosen, left - group["milli"], left)
        taken |= chosen
    return left, taken


def _groups_of(payload: Any) -> Sequence[Mapping[str, Any]]:
    groups: Sequence[Mapping[str, Any]] = payload["groups"] if payload else ()
    return groups


class _GpuPolicy(Policy):
    """Reads devices; without them all nodes are the same to it."""

    reads = "gpu"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """All zero: there are no devices to tell nodes apart by."""
        return np.zeros(len(nodes.rows))


class GpuPacking(_GpuPolicy):
    """Shared devices first, then idle devices of nodes in use, then idle nodes (Weng et al., ATC'23).

    On a node in use the devices with the least left are taken, u of them idle. Scores: on a node whose n devices are
    all idle ``max(33 - n, n)``; else, where u > 0, ``max(50 - u, 33)``; else
    ``max(100 - (sum over devices taken of left * 100 // 1000) // 10, 50)``. Work without GPUs: 0.
    """

    name = "gpu-packing"

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """The formula."""
        groups = _groups_of(payload)
        if not groups:
            return np.zeros(len(nodes.rows))
        assert nodes.slots is not None
        left, counts = _devices(nodes.slots)
        _, taken = _take(groups, nodes.slots, left)
        idle = (left == WHOLE).sum(axis=1)
        idle_taken = (taken & (left == WHOLE)).sum(axis=1)
        share = np.where(taken, left * 100 // WHOLE, 0).sum(axis=1) // 10
        in_use = np.where(idle_taken > 0, np.maximum(50 - idle_taken, 33), np.maximum(100 - share, 50))
        result: FloatArray = np.where(idle == counts, np.maximum(33 - idle, idle), in_use).astype(np.float64)
        return result


class GpuClustering(_GpuPolicy):
    """Work that asks for as many GPUs is put together (Weng et al., ATC'23, after Gandiva, OSDI'18).

    Work is tagged by `tag_of`. ``score = b + c`` with ``b = 25 * (largest - left) // largest``, left being the node's
    GPU-milli and largest those of the largest node, and c = 75 on a node with work of the same tag only, 50 with that
    among other work, 25 with none, 0 with other work only. Work without GPUs: 0.
    """

    name = "gpu-clustering"

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """The formula."""
        tag = tag_of(_groups_of(payload))
        if not tag:
            return np.zeros(len(nodes.rows))
        assert nodes.slots is not None
        left, _ = _devices(nodes.slots)
        largest = _amounts(nodes, request, "gpu").largest
        if largest <= 1:
            largest = _LARGEST_GPU_MILLI
        rows = nodes.rows.tolist()
        same, others = np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.bool_)
        for value, where in facts.mark_values(TAGS).items():
            there = np.fromiter((row in where for row in rows), dtype=np.bool_, count=len(rows))
            if value == tag:
                same = there
            else:
                others |= there
        b = 25 * (largest - left.sum(axis=1)) // largest
        c = np.where(same, np.where(others, 50, 75), np.where(others, 0, 25))
        result: FloatArray = (b + c).astype(np.float64)
        return result


# Fragmentation


def typical_pods(work: Iterable[tuple[int, int, int, tuple[str, ...]]], coverage: float = 0.95) -> list[dict[str, Any]]:
    """The most frequent kinds of work, with their shares: what the fragmentation of a node is measured by.

    ``work`` has one tuple a workload: cpu, number of GPUs, milli of each, allowed models (sorted, () for any). Kinds
    are taken by falling frequency (then cpu, milli, number and models, larger first) until they cover ``coverage`` of
    all; their shares add up to 1 (Weng et al., ATC'23). An empty list for no work.
    """
    counts = Counter(work)
    total = counts.total()
    order = sorted(counts, key=lambda kind: (counts[kind], kind[0], kind[2], kind[1], "|".join(kind[3])), reverse=True)
    taken: list[tuple[int, int, int, tuple[str, ...]]] = []
    covered = 0
    for kind in order:
        if covered >= coverage * total:
            break
        taken.append(kind)
        covered += counts[kind]
    return [
        {"cpu": kind[0], "count": kind[1], "milli": kind[2], "models": list(kind[3]),
         "share": counts[kind] / total / (covered / total)}
        for kind in taken
    ]  # fmt: skip


class _Kinds(NamedTuple):
    """Typical pods as arrays, one entry a kind."""

    cpu: Int64Array
    number: Int64Array
    milli: Int64Array
    share: FloatArray
    models: list[frozenset[str]]
    """Allowed models; none for any."""


def _step(score: int) -> float:
    """The least x with ``100 / (1 + exp(-x))``, calculated so in float64, of at least ``score``."""
    low, high = -40.0, 40.0
    while low < (middle := (low + high) / 2) < high:
        if 1.0 / (1.0 + exp(-middle)) * 100.0 >= score:
            high = middle
        else:
            low = middle
    return high


_STEPS = np.array([_step(score) for score in range(1, 100)])
"""``100 / (1 + exp(-x))`` rounded down is the number of these that x is not below."""


class FragmentationGradientDescent(_GpuPolicy):
    """FGD: the node, and the device of it, whose fragmentation grows least (Weng et al., ATC'23).

    The fragmentation F of a node is what is left of its GPUs but of no use to typical work, in expectation: the sum
    over ``typical_pods`` of share times

    * all that is left, where such a pod cannot run: no GPU asked, the wrong model, too few devices or too little cpu;
    * else what is left on devices that have less left than it asks of one, or are of the wrong model.

    ``score = 100 / (1 + exp(-(F_before - F_after) / 1000))``, rounded down. A part of one GPU is tried on every device
    that has it, and the best one counts and is taken, the first of equals; other requests take devices with the least
    left first.

    ``typical_pods``: ``[{"cpu": 4000, "count": 1, "milli": 500, "models": [], "share": 0.5}, ...]`` as `typical_pods`
    returns it; ``count`` 0 asks for no GPU. A simulation fills it from its trace. Without it all nodes score 50.
    """

    name = "fgd"

    def __init__(self, typical_pods: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.typical_pods = typical_pods
        self._compiled: tuple[Any, _Kinds] | None = None
        self._suits: dict[tuple[str, ...], MaskArray] = {}

    def check(self) -> None:
        """Every typical pod has amounts of at least 0 and a share."""
        self._kinds()

    def _kinds(self) -> _Kinds:
        if self._compiled is None or self._compiled[0] is not self.typical_pods:
            self._compiled = self.typical_pods, _kinds_of(() if self.typical_pods is None else self.typical_pods)
            self._suits = {}
        return self._compiled[1]

    def learn(self, dimensions: Sequence[Dimension], work: Iterable[Asking]) -> Mapping[str, Any]:
        """The typical pods, where none are given. Of work with several groups of GPUs the first counts."""
        if self.typical_pods is not None:
            return {}
        place = next((place for place, dimension in enumerate(dimensions) if dimension.name == "cpu"), None)
        return {"typical_pods": typical_pods(_kind_of(asking, place) for asking in work)}

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """The formula."""
        return self._best(nodes, request, _groups_of(payload))[0]

    def prefer(self, node: NodeColumns, request: Int64Array, payload: Any, draw: float) -> Sequence[str] | None:
        """The best device for a part of one GPU; whole ones are taken as the plugin likes."""
        if tag_of(_groups_of(payload)) != "share":
            return None
        device = int(self._best(node, request, _groups_of(payload))[1][0])
        assert node.slots is not None
        return None if device < 0 else [node.slots.inventories[int(node.slots.inventory_ids[0])].slots[device]]

    def _best(
        self, nodes: NodeColumns, request: Int64Array, groups: Sequence[Mapping[str, Any]]
    ) -> tuple[FloatArray, Int64Array]:
        """By row the score, and for a part of one GPU the best device, -1 for none."""
        assert nodes.slots is not None
        left, _ = _devices(nodes.slots)
        cpu = _amounts(nodes, request, "cpu")
        kinds = self._kinds()
        suits, suits_of = self._suitability(nodes.slots, left.shape[1])
        suitable, after, milli = np.zeros(left.shape, dtype=np.bool_), left, 0
        if tag_of(groups) == "share":
            suitable, milli = _suitable(groups[0], nodes.slots, left), groups[0]["milli"]
        else:
            after, _ = _take(groups, nodes.slots, left)
        scores, devices = np.empty(len(left)), np.empty(len(left), dtype=np.int64)
        kernels.fragmentation_scores(
            scores, devices, np.ascontiguousarray(cpu.free), cpu.asked, left, after, suitable, milli,
            suits, suits_of, kinds.cpu, kinds.number, kinds.milli, kinds.share, _STEPS,
        )  # fmt: skip
        return scores, devices

    def _suitability(self, slots: SlotColumns, width: int) -> tuple[MaskArray, Int64Array]:
        """Which devices are of a model that a kind allows, (layouts, kinds, width); and by row its layout."""
        kinds = self._kinds()
        if not any(kinds.models):
            return np.ones((1, len(kinds.models), width), dtype=np.uint8), np.zeros(len(slots.free), dtype=np.int64)
        layouts = np.zeros((len(slots.inventories) + 1, len(kinds.models), width), dtype=np.uint8)
        for place, inventory in enumerate(slots.inventories):
            models = tuple(inventory.layout["models"])
            if models not in self._suits:
                self._suits[models] = np.array(
                    [[not allowed or model in allowed for model in models] for allowed in kinds.models], dtype=np.uint8
                )
            layouts[place, :, : len(models)] = self._suits[models]
        return layouts, slots.inventory_ids % len(layouts)  # -1 picks the last


def _kinds_of(pods: Any) -> _Kinds:
    field = "policy 'fgd': typical_pods"
    if isinstance(pods, str) or not isinstance(pods, Sequence):
        raise ValueError(f"{field}: {pods!r} is not a list of pods, as scheduler.gpu_policies.typical_pods returns it")
    for place, pod in enumerate(pods):
        if not isinstance(pod, Mapping) or set(pod) != {"cpu", "count", "milli", "models", "share"}:
            raise ValueError(f"{field}[{place}]: {pod!r} does not have just cpu, count, milli, models and share")
        for name, most in (("cpu", 2**62), ("count", 2**31), ("milli", WHOLE)):
            if not isinstance(pod[name], int) or isinstance(pod[name], bool) or not 0 <= pod[name] <= most:
                raise ValueError(f"{field}[{place}].{name}: {pod[name]!r} must be a whole number from 0 to {most}")
        if isinstance(pod["share"], bool) or not isinstance(pod["share"], (int, float)) or not isfinite(pod["share"]):
            raise ValueError(f"{field}[{place}].share: {pod['share']!r} must be a finite number")
        if isinstance(pod["models"], str) or not isinstance(pod["models"], Sequence):
            raise ValueError(f"{field}[{place}].models: {pod['models']!r} must be a list of models, [] for any")
    cpu, number, milli = (np.array([pod[name] for pod in pods], dtype=np.int64) for name in ("cpu", "count", "milli"))
    share = np.array([pod["share"] for pod in pods], dtype=np.float64)
    return _Kinds(cpu, number, milli, share, [frozenset(pod["models"]) for pod in pods])


def _kind_of(asking: Asking, cpu_place: int | None) -> tuple[int, int, int, tuple[str, ...]]:
    cpu = asking.request[cpu_place] if cpu_place is not None else 0
    groups = _groups_of(asking.payloads.get("gpu"))
    if not groups:
        return cpu, 0, 0, ()
    return cpu, groups[0]["count"], groups[0]["milli"], tuple(groups[0]["models"])

"""Policies for clusters whose GPUs are shared: GPU packing, GPU clustering, fragmentation gradient descent.

They read the slots of the plugin "gpu", and need dimensions called "cpu" and "gpu" where a formula speaks of amounts.
Formulas, roundings and scales are those of the simulator of Weng et al., "Beware of Fragmentation: Scheduling
GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23), so that their figures come out: scores are
whole numbers from 0 to 100, amounts are in thousandths, and 8 GPUs and 128 cores, the largest node there, are the
largest node here. Where the plugin "gpu" is not in use, those that read its slots take the first node that fits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import exp, isfinite
from typing import Any, NamedTuple

import numpy as np

from scheduler.policy import Asking, Policy
from scheduler.ports import NOTHING, Dimension, Inventory, NodeColumns, NodeFacts, SlotColumns
from scheduler.types import FloatArray, Int64Array

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


class _Devices(NamedTuple):
    """The devices of nodes of one kind, by device: its model, and the place and total of its memory, -1 for unknown."""

    models: tuple[str, ...]
    memory: tuple[tuple[int, int], ...]


def _devices_of(inventory: Inventory) -> _Devices:
    if not inventory.slots:
        return _Devices((), ())
    places = inventory.layout["memory_slots"]
    memory = tuple((place, inventory.total[place] if place >= 0 else 0) for place in places)
    return _Devices(tuple(inventory.layout["models"]), memory)


def _suitable(group: Mapping[str, Any], devices: _Devices, free: Sequence[int], left: Sequence[int]) -> list[int]:
    """The devices that have the group's share ``left``; ``free`` has the node's slots, the memory among them."""
    milli, memory, models = group["milli"], group["memory"], group["models"]
    found = []
    for device, (place, total) in enumerate(devices.memory):
        if left[device] < milli or (models and devices.models[device] not in models):
            continue
        if place < 0:
            has_memory = not memory
        elif milli == WHOLE:
            has_memory = free[place] == total >= memory
        else:
            has_memory = free[place] >= memory
        if has_memory:
            found.append(device)
    return found


def _take(groups: Sequence[Mapping[str, Any]], devices: _Devices, free: Sequence[int]) -> tuple[list[int], set[int]]:
    """Milli left, and the devices taken, when every group takes those with the least left first, of equals the first.

    A group that finds fewer takes these.
    """
    left = list(free[: len(devices.models)])
    taken: set[int] = set()
    for group in groups:
        chosen = sorted(_suitable(group, devices, free, left), key=left.__getitem__)[: group["count"]]
        for device in chosen:
            left[device] -= group["milli"]
        taken.update(chosen)
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


_REMEMBERED_MAX = 1 << 16
_FEW = 10
"""Up to so many nodes plain Python makes keys faster than NumPy."""


class _NodeScore(NamedTuple):
    """``device`` is the one to take where the policy minds, -1 where it does not."""

    score: int
    device: int = -1


class _NodeByNode(_GpuPolicy, ABC):
    """What a node scores depends on its devices and what is free of them, on its cpu, and on the request alone.

    Nodes are alike and few of them change from one decision to the next, so every case is scored once and remembered;
    all is forgotten when `_REMEMBERED_MAX` are known. Of cpu it counts how many of `_cpu_steps` a node has enough for.
    """

    def __init__(self) -> None:
        self._inventories: Sequence[Inventory] = ()
        self._kind_numbers: dict[_Devices, int] = {}
        self._devices: list[_Devices] = []
        """By kind of node."""
        self._kind_by_inventory = np.zeros(0, dtype=np.int64)
        """The kind of node; the last is for nodes without."""
        self._cpu_steps: list[int] = []
        """Ascending."""
        self._known: dict[Any, dict[bytes, _NodeScore]] = {}
        """By what is asked, what nodes score."""
        self._known_by_payload: dict[int, tuple[Any, dict[bytes, _NodeScore]]] = {}
        """By the payload's id: the payload, which keeps that, and its part of the above."""
        self._known_count = 0

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """The formula."""
        return np.array([found.score for found in self._scores(nodes, request, payload)], dtype=np.float64)

    def _scores(self, nodes: NodeColumns, request: Int64Array, payload: Any) -> list[_NodeScore]:
        """By row."""
        assert nodes.slots is not None
        inventories, ids, free = nodes.slots
        if self._inventories is not inventories or len(inventories) >= len(self._kind_by_inventory):
            self._inventories = inventories
            self._kind_by_inventory = np.array([self._node_kind_of(inventory) for inventory in (*inventories, NOTHING)])
        if self._known_count > _REMEMBERED_MAX:
            self._forget()
        if id(payload) not in self._known_by_payload:
            self._remember(payload)
        _, known = self._known_by_payload[id(payload)]
        cpu = _amounts(nodes, request, "cpu")
        keys = (_keys_of_few if len(ids) <= _FEW else _keys_of_many)(
            self._kind_by_inventory.take(ids), cpu.free, cpu.asked, free, self._cpu_steps
        )
        for key in set(keys).difference(known):
            number, cpu_before, cpu_after, *slots = array("q", key)
            known[key] = self._score_node(self._devices[number], slots, cpu_before, cpu_after, _groups_of(payload))
            self._known_count += 1
        return [known[key] for key in keys]

    def _remember(self, payload: Any) -> None:
        """Have a payload share with its equals what is known."""
        case = tuple(
            (group["count"], group["milli"], group["memory"], *group["models"]) for group in _groups_of(payload)
        )
        self._known_by_payload[id(payload)] = payload, self._known.setdefault(case, {})
        self._known_count += 1

    def _node_kind_of(self, inventory: Inventory) -> int:
        devices = _devices_of(inventory)
        number = self._kind_numbers.setdefault(devices, len(self._devices))
        if number == len(self._devices):
            self._devices.append(devices)
        return number

    def _forget(self) -> None:
        self._known, self._known_by_payload, self._known_count = {}, {}, 0

    @abstractmethod
    def _score_node(
        self, devices: _Devices, free: Sequence[int], cpu: int, cpu_after: int, groups: Sequence[Mapping[str, Any]]
    ) -> _NodeScore:
        """The formula for one node: ``free`` of its slots before the request is placed, and cpu before and after."""


def _keys_of_many(
    kinds: Int64Array, cpu: Int64Array, cpu_asked: int, free: Int64Array, steps: Sequence[int]
) -> list[bytes]:
    """By node, the int64 of its kind, of how many of the steps ``cpu`` reaches without and with what is asked taken
    off, and of its slots.
    """
    columns = np.empty((len(kinds), 3 + free.shape[1]), dtype=np.int64)
    columns[:, 0], columns[:, 3:] = kinds, free
    columns[:, 1] = np.searchsorted(steps, cpu, side="right")
    columns[:, 2] = np.searchsorted(steps, cpu - cpu_asked, side="right")
    data, width = columns.tobytes(), columns.shape[1] * columns.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]


def _keys_of_few(
    kinds: Int64Array, cpu: Int64Array, cpu_asked: int, free: Int64Array, steps: Sequence[int]
) -> list[bytes]:
    """`_keys_of_many`, where the calls of NumPy cost more than what they do."""
    columns = zip(kinds.tolist(), cpu.tolist(), free.tolist(), strict=True)
    return [
        array("q", (kind, bisect_right(steps, left), bisect_right(steps, left - cpu_asked), *slots)).tobytes()
        for kind, left, slots in columns
    ]


class GpuPacking(_NodeByNode):
    """Shared devices first, then idle devices of nodes in use, then idle nodes (Weng et al., ATC'23).

    On a node in use the devices with the least left are taken, u of them idle. Scores: on a node whose n devices are
    all idle ``max(33 - n, n)``; else, where u > 0, ``max(50 - u, 33)``; else
    ``max(100 - (sum over devices taken of left * 100 // 1000) // 10, 50)``. Work without GPUs: 0.
    """

    name = "gpu-packing"

    def _score_node(
        self, devices: _Devices, free: Sequence[int], cpu: int, cpu_after: int, groups: Sequence[Mapping[str, Any]]
    ) -> _NodeScore:
        if not groups:
            return _NodeScore(0)
        _, taken = _take(groups, devices, free)
        number = len(devices.models)
        idle = [device for device in range(number) if free[device] == WHOLE]
        if len(idle) == number:
            return _NodeScore(max(33 - number, number))
        idle_taken = len(taken.intersection(idle))
        if idle_taken:
            return _NodeScore(max(50 - idle_taken, 33))
        return _NodeScore(max(100 - sum(free[device] * 100 // WHOLE for device in taken) // 10, 50))


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
        left = _left(nodes.slots)
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
        b = 25 * (largest - left) // largest
        c = np.where(same, np.where(others, 50, 75), np.where(others, 0, 25))
        result: FloatArray = (b + c).astype(np.float64)
        return result


def _left(slots: SlotColumns) -> Int64Array:
    """Milli left by row, of all devices together; without memory, whose slots come after the devices."""
    numbers = [len(inventory.layout["models"]) for inventory in slots.inventories]
    counts = np.array([*numbers, 0], dtype=np.int64).take(slots.inventory_ids)  # -1 picks the last
    is_device = np.arange(slots.free.shape[1]) < counts[:, None]
    left: Int64Array = np.where(is_device, slots.free, 0).sum(axis=1)
    return left


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


class _Kind(NamedTuple):
    """A kind of typical work; no ``models`` for any."""

    cpu: int
    number: int
    milli: int
    models: frozenset[str]
    share: float


def _step(score: int) -> float:
    """The least x with ``100 / (1 + exp(-x))``, calculated so in float64, of at least ``score``."""
    low, high = -40.0, 40.0
    while low < (middle := (low + high) / 2) < high:
        if 1.0 / (1.0 + exp(-middle)) * 100.0 >= score:
            high = middle
        else:
            low = middle
    return high


_STEPS = [_step(score) for score in range(1, 100)]
"""``100 / (1 + exp(-x))`` rounded down is the number of these that x is not below."""


class _Fragmentation:
    """The fragmentation of nodes with devices of such models; remembered by what is left of these."""

    def __init__(self, kinds: Sequence[_Kind], cpu_steps: Sequence[int], models: Sequence[str]) -> None:
        """``cpu_steps`` are what kinds ask of cpu, ascending."""
        suits = [
            tuple(device for device, model in enumerate(models) if not kind.models or model in kind.models)
            for kind in kinds
        ]
        self.uses = [tuple(device in one for one in suits) for device in range(len(models))]
        """By device, which kinds may use it."""
        self._are_alike = len(set(self.uses)) == 1
        """Whether devices differ in nothing but in what is left of them, and their order does not matter."""
        needs = [(kind.number, kind.milli, one) for kind, one in zip(kinds, suits, strict=True)]
        self._needs = list(dict.fromkeys(needs))
        """What kinds need of devices: how many, milli of each, and which will do."""
        places = [self._needs.index(need) for need in needs]
        self._kinds = [
            (cpu_steps.index(kind.cpu) + 1, kind.share, place) for kind, place in zip(kinds, places, strict=True)
        ]
        self._terms: dict[tuple[int, ...], list[tuple[int, int, float, int, float]]] = {}
        self._known: dict[tuple[int, tuple[int, ...]], float] = {}

    def of(self, cpu: int, left: tuple[int, ...]) -> float:
        """What is ``left`` of the devices but of no use to typical work; added up by the reason why, and then in order.

        ``cpu`` is how many of the steps there is enough for. The reasons: too few devices and too little cpu, too few
        devices (or parts of some too small), too little cpu, no device asked and enough cpu, no device asked and too
        little cpu, no device of the model.
        """
        if self._are_alike:
            left = tuple(sorted(left))
        known = self._known.get((cpu, left))
        if known is not None:
            return known
        terms = self._terms.get(left)
        if terms is None:
            terms = self._terms[left] = self._terms_of(left)
        sums = [0.0] * 6
        for least, reason, amount, reason_without, amount_without in terms:
            if cpu >= least:
                sums[reason] += amount
            else:
                sums[reason_without] += amount_without
        result = self._known[cpu, left] = sum(sums)
        return result

    def _terms_of(self, left: tuple[int, ...]) -> list[tuple[int, int, float, int, float]]:
        """By kind: the step of cpu; reason and amount where there is enough for it; the same where there is not."""
        total = sum(left)
        rising = sorted(left)
        by_need: list[tuple[int, int, int]] = []
        for number, milli, suits in self._needs if total else ():
            suitable = rising if len(suits) == len(left) else sorted(left[device] for device in suits)
            first = bisect_left(suitable, milli)
            if not number:
                by_need.append((3, total, 4))
            elif not suits:
                by_need.append((5, total, 5))
            elif len(suits) - first < number:
                by_need.append((1, total, 0))
            else:
                by_need.append((1, total - sum(suitable[first:]), 2))
        return [
            (cpu, reason, share * amount, reason_without, share * total)
            for cpu, share, need in (self._kinds if total else ())
            for reason, amount, reason_without in (by_need[need],)
        ]


class FragmentationGradientDescent(_NodeByNode):
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
        super().__init__()
        self.typical_pods = typical_pods
        self._kinds: tuple[Any, list[_Kind]] | None = None
        self._fragmentations: dict[tuple[str, ...], _Fragmentation] = {}

    def check(self) -> None:
        """Every typical pod has amounts of at least 0 and a share."""
        _kinds_of(self.typical_pods)

    def learn(self, dimensions: Sequence[Dimension], work: Iterable[Asking]) -> Mapping[str, Any]:
        """The typical pods, where none are given. Of work with several groups of GPUs the first counts."""
        if self.typical_pods is not None:
            return {}
        place = next((place for place, dimension in enumerate(dimensions) if dimension.name == "cpu"), None)
        return {"typical_pods": typical_pods(_kind_of(asking, place) for asking in work)}

    def prefer(self, node: NodeColumns, request: Int64Array, payload: Any, draw: float) -> Sequence[str] | None:
        """The best device for a part of one GPU; whole ones are taken as the plugin likes."""
        if tag_of(_groups_of(payload)) != "share":
            return None
        device = self._scores(node, request, payload)[0].device
        assert node.slots is not None
        return None if device < 0 else [node.slots.inventories[int(node.slots.inventory_ids[0])].slots[device]]

    def _scores(self, nodes: NodeColumns, request: Int64Array, payload: Any) -> list[_NodeScore]:
        if self._kinds is None or self._kinds[0] is not self.typical_pods:
            self._forget()
            self._kinds = self.typical_pods, _kinds_of(self.typical_pods)
            self._cpu_steps = sorted({kind.cpu for kind in self._kinds[1]})
        return super()._scores(nodes, request, payload)

    def _forget(self) -> None:
        super()._forget()
        self._fragmentations = {}

    def _score_node(
        self, devices: _Devices, free: Sequence[int], cpu: int, cpu_after: int, groups: Sequence[Mapping[str, Any]]
    ) -> _NodeScore:
        fragmentation = self._fragmentations.get(devices.models)
        if fragmentation is None:
            assert self._kinds is not None
            fragmentation = self._fragmentations[devices.models] = _Fragmentation(
                self._kinds[1], self._cpu_steps, devices.models
            )
        left = tuple(free[: len(devices.models)])
        before = fragmentation.of(cpu, left)
        if tag_of(groups) != "share":
            after, _ = _take(groups, devices, free)
            return _NodeScore(_score(before, fragmentation.of(cpu_after, tuple(after))))
        best, seen, milli = _NodeScore(-1), set(), groups[0]["milli"]
        for device in _suitable(groups[0], devices, free, left):
            alike = left[device], fragmentation.uses[device]
            if alike in seen:
                continue
            seen.add(alike)
            taken = *left[:device], left[device] - milli, *left[device + 1 :]
            score = _score(before, fragmentation.of(cpu_after, taken))
            if score > best.score:
                best = _NodeScore(score, device)
        return best if best.device >= 0 else _NodeScore(0)


def _score(before: float, after: float) -> int:
    return bisect_right(_STEPS, (before - after) / 1000.0)


def _kinds_of(pods: Any) -> list[_Kind]:
    """None is no pods."""
    if pods is None:
        return []
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
    return [
        _Kind(pod["cpu"], pod["count"], pod["milli"], frozenset(pod["models"]), float(pod["share"])) for pod in pods
    ]


def _kind_of(asking: Asking, cpu_place: int | None) -> tuple[int, int, int, tuple[str, ...]]:
    cpu = asking.request[cpu_place] if cpu_place is not None else 0
    groups = _groups_of(asking.payloads.get("gpu"))
    if not groups:
        return cpu, 0, 0, ()
    return cpu, groups[0]["count"], groups[0]["milli"], tuple(groups[0]["models"])

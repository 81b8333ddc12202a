"""Placement policies: which of the nodes that fit is best.

A policy is a small class with parameters. It scores; the framework has already decided what fits, takes the highest
score, and gives ties to the lowest row. There are three kinds, from the fastest to the freest:

* `LinearPolicy`: the score is a weighted sum of what would be left on the node; you give the weights.
* `Policy`: you give scores for columns of nodes in NumPy.
* `RandomPolicy`: no score, a uniform draw.

Those that look at devices are in `scheduler.gpu_policies`; `BUILT_IN` has all.

Normalisation: "capacity" in the formulas is that of the largest node, by dimension, so that equal amounts weigh the
same on all nodes; Kubernetes' formulas take the node's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from scheduler.draws import uniform_draw
from scheduler.gpu_policies import (
    FragmentationGradientDescent,
    GpuClustering,
    GpuPacking,
    OpenbBestFit,
    OpenbDotProduct,
)
from scheduler.policy import Asking as Asking
from scheduler.policy import LinearPolicy as LinearPolicy
from scheduler.policy import Policy as Policy
from scheduler.policy import check_whole_number
from scheduler.ports import Dimension, NodeColumns, NodeFacts
from scheduler.types import FloatArray, Int64Array


class RandomPolicy(Policy):
    """Any node that fits, each with equal probability; and there, of a shared GPU, any device that fits.

    Draws depend on the seed and the number of the decision.
    """

    name = "random"
    reads = "gpu"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def check(self) -> None:
        """The seed is a whole number."""
        check_whole_number(self, "seed")

    def prefer(self, node: NodeColumns, request: Int64Array, payload: Any, draw: float) -> Sequence[str] | None:
        """All slots in random order, where a device is to be shared: the first that fits is any that fits."""
        assert node.slots is not None
        if all(group["milli"] == 1000 for group in payload["groups"]):
            return None
        left = list(node.slots.inventories[int(node.slots.inventory_ids[0])].slots)
        order = []
        while left:
            draw *= len(left)
            order.append(left.pop(int(draw)))
            draw %= 1.0
        return order


class FirstFit(LinearPolicy):
    """The first node, in rank order, on which the request fits (Johnson, "Near-optimal bin packing", 1973)."""

    name = "first-fit"
    uses_request = False

    def weights(self, request: Int64Array, reference: Int64Array) -> FloatArray:
        """All zero: every node that fits ties, and ties go to the lowest rank."""
        return np.zeros(len(request))


class BestFit(LinearPolicy):
    """The node with the least left: ``score = -mean over d of (free[d] - request[d]) / capacity[d]``.

    The multi-dimensional form with equal weights, as in Weng et al., USENIX ATC'23 (FGD), before their truncation.
    """

    name = "best-fit"
    uses_request = False

    def weights(self, request: Int64Array, reference: Int64Array) -> FloatArray:
        """``-1 / (dimensions * capacity[d])``."""
        return -1.0 / (len(request) * reference.astype(np.float64))


class WorstFit(LinearPolicy):
    """The node with the most left: the negative of best fit. Spreads load."""

    name = "worst-fit"
    uses_request = False

    def weights(self, request: Int64Array, reference: Int64Array) -> FloatArray:
        """``1 / (dimensions * capacity[d])``."""
        return 1.0 / (len(request) * reference.astype(np.float64))


class DotProduct(LinearPolicy):
    """The node whose free vector is best aligned with the request.

    ``score = sum over d of request[d] / capacity[d] * (free[d] - request[d]) / capacity[d]``: the dot product of
    Panigrahy, Talwar, Uyeda and Wieder, "Heuristics for Vector Bin Packing" (2011), shifted by a constant of the
    request; the alignment term of Tetris (Grandl et al., SIGCOMM'14).
    """

    name = "dot-product"

    def weights(self, request: Int64Array, reference: Int64Array) -> FloatArray:
        """``request[d] / capacity[d] ** 2``."""
        capacity = reference.astype(np.float64)
        return request.astype(np.float64) / capacity / capacity


class Cosine(Policy):
    """The node whose free vector points most nearly where the request does; how much there is does not matter.

    ``score = sum over d of r[d] * f[d] / (|r| |f|)`` with ``r = request / capacity`` and ``f = free / capacity``, 0
    where one of them is all zero: the alignment of Tetris (Grandl et al., SIGCOMM'14) without lengths. `DotProduct` is
    the form with lengths.
    """

    name = "cosine"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        capacity = nodes.reference.astype(np.float64)
        asked = request / capacity
        free = np.maximum(nodes.free, 0) / capacity[:, None]
        product = (asked[:, None] * free).sum(axis=0)
        lengths = np.sqrt((free * free).sum(axis=0) * (asked * asked).sum())
        result: FloatArray = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
        return result


class _Kubernetes(Policy):
    """What the scores of kube-scheduler's NodeResourcesFit and NodeResourcesBalancedAllocation share.

    Whole numbers from 0 to 100, over a node's own capacity. A dimension of which a node has nothing does not count.
    """

    def _shares(self, nodes: NodeColumns, request: Int64Array) -> tuple[Int64Array, Int64Array]:
        """What would be used, and the capacity, both (dimensions, rows); used is at most the capacity."""
        total = np.maximum(nodes.total, 0)
        return np.clip(total - nodes.free + request[:, None], 0, total), total


class LeastAllocated(_Kubernetes):
    """The node with the largest share left: Kubernetes' default, LeastAllocated.

    ``score = mean over d of (capacity[d] - used[d] - request[d]) * 100 // capacity[d]``, rounded down; all dimensions
    weigh the same, as cpu and memory do there by default.
    """

    name = "least-allocated"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        used, total = self._shares(nodes, request)
        return _whole_mean(_percent(total - used, total), total)


class MostAllocated(_Kubernetes):
    """The node with the smallest share left: Kubernetes' MostAllocated.

    ``score = mean over d of (used[d] + request[d]) * 100 // capacity[d]``, rounded down.
    """

    name = "most-allocated"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        used, total = self._shares(nodes, request)
        return _whole_mean(_percent(used, total), total)


class BalancedAllocation(_Kubernetes):
    """The node whose dimensions would be used most evenly: Kubernetes' BalancedAllocation.

    ``score = 100 * (1 - s)``, rounded down, with s the standard deviation over d of
    ``min(1, (used[d] + request[d]) / capacity[d])``; of two dimensions that is half of their difference.
    """

    name = "balanced-allocation"

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula."""
        used, total = self._shares(nodes, request)
        counted = total > 0
        number = np.maximum(counted.sum(axis=0), 1)
        share = used / np.maximum(total, 1)
        mean = share.sum(axis=0) / number
        variance = (np.where(counted, share - mean, 0.0) ** 2).sum(axis=0) / number
        result: FloatArray = np.floor((1.0 - np.sqrt(variance)) * 100)
        return result


def _percent(part: Int64Array, total: Int64Array) -> Int64Array:
    """``part * 100 // total``, 0 where there is nothing; in float64 where 100 times as much is more than an int64."""
    divisor = np.maximum(total, 1)
    is_large = total > np.iinfo(np.int64).max // 100
    rough = (part / divisor * 100).astype(np.int64)
    result: Int64Array = np.where(is_large, rough, np.where(is_large, 0, part) * 100 // divisor)
    return result


def _whole_mean(scores: Int64Array, total: Int64Array) -> FloatArray:
    counted = np.maximum((total > 0).sum(axis=0), 1)
    result: FloatArray = (scores.sum(axis=0) // counted).astype(np.float64)
    return result


class PowerOfChoices(Policy):
    """The emptiest of ``d`` nodes that are drawn, each uniformly from all that fit; a node may be drawn twice.

    Azar, Broder, Karlin and Upfal, "Balanced Allocations" (1994); Mitzenmacher, "The Power of Two Choices" (2001). The
    emptiest is the one with the most left, as in worst fit. Draws depend on the seed and the number of the decision.
    """

    name = "power-of-d"

    def __init__(self, d: int = 2, seed: int = 0) -> None:
        self.d = d
        self.seed = seed

    def check(self) -> None:
        """Both are whole numbers, and at least one node is drawn."""
        check_whole_number(self, "d", least=1)
        check_whole_number(self, "seed")

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """``mean over d of (free[d] - request[d]) / capacity[d]``."""
        return WorstFit().score(nodes, request)

    def normalise(self, scores: FloatArray, decision: int) -> FloatArray:
        """Rule out what is not drawn."""
        drawn = [int(uniform_draw(self.seed, decision * self.d + k) * len(scores)) for k in range(self.d)]
        result = np.full_like(scores, -np.inf)
        result[drawn] = scores[drawn]
        return result


class Weighted(Policy):
    """Several policies together: ``score = sum over parts of weight * n``.

    n is the part's score, normalised to 0 for the lowest and 1 for the highest of the nodes that fit, and 0 where they
    all have the same. ``parts`` maps the name of a policy to its weight, or to ``{"weight": w, "params": {...}}``.
    Policies that draw cannot be parts. The default is the pair that Kubernetes uses.
    """

    name = "weighted"
    reads = "gpu"
    relates_rows = True

    def __init__(self, parts: Mapping[str, Any] | None = None) -> None:
        self.parts = parts
        self._made: tuple[Any, list[tuple[float, Policy]]] | None = None

    def check(self) -> None:
        """Every part is a policy that scores, with a finite weight."""
        self._policies()

    def _policies(self) -> list[tuple[float, Policy]]:
        if self._made is None or self._made[0] is not self.parts:
            default = {"least-allocated": 1, "balanced-allocation": 1}
            self._made = self.parts, list(_parts(default if self.parts is None else self.parts))
        return self._made[1]

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula over ``nodes``."""
        return self._sum(nodes, lambda part: part.score(nodes, request))

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """The formula over ``nodes``."""
        return self._sum(nodes, lambda part: part.score_slots(nodes, request, payload, facts))

    def _sum(self, nodes: NodeColumns, score_of: Callable[[Policy], FloatArray]) -> FloatArray:
        total = np.zeros(len(nodes.rows))
        for weight, part in self._policies() if len(nodes.rows) else ():
            scores = score_of(part)
            lowest, highest = scores.min(), scores.max()
            if highest > lowest:
                total = total + weight * (scores - lowest) / (highest - lowest)
        return total

    def prefer(self, node: NodeColumns, request: Int64Array, payload: Any, draw: float) -> Sequence[str] | None:
        """The wish of the first part, in the order given, that has one."""
        wishes = (part.prefer(node, request, payload, draw) for _, part in self._policies())
        return next((wish for wish in wishes if wish is not None), None)

    def learn(self, dimensions: Sequence[Dimension], work: Iterable[Asking]) -> Mapping[str, Any]:
        """What the parts want to know."""
        if not any(type(part).learn is not Policy.learn for _, part in self._policies()):
            return {}
        known = list(work)
        parts = {
            part.name: {"weight": weight, "params": {**part.get_params(), **part.learn(dimensions, known)}}
            for weight, part in self._policies()
        }
        return {"parts": parts}


def _parts(given: Any) -> Iterator[tuple[float, Policy]]:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            f"policy 'weighted': parts: {given!r} is no mapping from policy to weight, as {{\"best-fit\": 1}}"
        )
    for name, value in given.items():
        field = f"policy 'weighted': parts.{name}"
        weight, params = (value.get("weight"), value.get("params")) if isinstance(value, Mapping) else (value, None)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not isfinite(weight):
            raise ValueError(f"{field}: {value!r} is not a weight, a finite number, e.g. 0.5")
        part = make_policy(name, params)
        if isinstance(part, RandomPolicy) or type(part).normalise is not Policy.normalise:
            raise ValueError(f"{field}: a policy that draws has no scores to weigh; leave it out")
        yield float(weight), part


BUILT_IN: dict[str, type[Policy]] = {
    policy.name: policy
    for policy in (
        RandomPolicy, FirstFit, BestFit, WorstFit, DotProduct, Cosine, PowerOfChoices, LeastAllocated, MostAllocated,
        BalancedAllocation, GpuPacking, GpuClustering, FragmentationGradientDescent, OpenbBestFit, OpenbDotProduct,
        Weighted,
    )
}  # fmt: skip

COMPARED: tuple[str, ...] = ("random", "first-fit", "best-fit", "worst-fit", "dot-product")
"""What a comparison looks at where nothing else is asked."""

PolicyFactory = Callable[[str, Mapping[str, Any]], Policy]


def make_policy(name: str, params: Mapping[str, Any] | None = None) -> Policy:
    """Return a new built-in policy; ValueError names what is unknown and what there is."""
    if name not in BUILT_IN:
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"policy: no policy {name!r}; {hint}there are: {', '.join(BUILT_IN)}, or your own MODULE:CLASS"
        )
    policy = BUILT_IN[name]()
    policy.set_params(**dict(params or {}))
    return policy

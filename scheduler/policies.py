"""Placement policies: which of the nodes that fit is best.

A policy is a small class with parameters. It scores; the framework has already decided what fits, takes the highest
score, and gives ties to the lowest row. There are three kinds, from the fastest to the freest:

* `LinearPolicy`: the score is a weighted sum of what would be left on the node; you give the weights.
* `Policy`: you give scores for columns of nodes in NumPy.
* `RandomPolicy`: no score, a uniform draw.

Normalisation: "capacity" in the formulas is that of the largest node, by dimension, so that equal amounts weigh the
same on all nodes.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from scheduler.ports import NodeColumns, NodeSlots
from scheduler.types import FloatArray, Int64Array


class Policy:
    """A policy that scores columns of nodes.

    Write ``__init__`` with keyword parameters that are stored under their own names, as in scikit-learn; then
    `get_params` and `set_params` need nothing more.
    """

    name: ClassVar[str] = ""
    reads: ClassVar[str] = ""
    """The exact plugin whose slots it reads besides the dimensions, "" for none. Where that plugin is in use,
    `score_slots` is asked in place of `score`.
    """

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """Return one finite float64 a row of ``nodes``; the highest wins.

        Called for all rows, or only for those that changed since the last call for an equal request: the score of a
        row may depend only on that row, ``request`` (dimensions,) and the policy's own parameters. Rows on which the
        request does not fit may get any finite score.
        """
        raise TypeError(f"{type(self).__name__} has no score method; write one, or derive from LinearPolicy")

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any) -> FloatArray:
        """`score` of a policy that reads slots: ``nodes.slots`` are those of the plugin.

        ``payload`` is what the request asks of the plugin, in canonical form, None for nothing.
        """
        return self.score(nodes, request)

    def normalise(self, scores: FloatArray) -> FloatArray:
        """Return what is compared at one decision, of the scores of all rows that fit, in row order.

        For policies that relate scores to each other, such as to the best and the worst. The default changes nothing,
        and then only what changed since the last decision is looked at.
        """
        return scores

    def prefer(self, node: NodeSlots, payload: Any, draw: float) -> Sequence[str] | None:
        """Slots of the chosen node in the order in which the plugin that it reads should try them; None for its own.

        ``draw`` is uniform in [0, 1) and belongs to the decision.
        """
        return None

    def get_params(self) -> dict[str, Any]:
        """The parameters of the constructor, as they are now."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> None:
        """Change parameters; ValueError names one that does not exist and lists those that do."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                options = ", ".join(known) or "none"
                raise ValueError(f"policy {self.name!r}: no parameter {name!r}; it has: {options}")
            setattr(self, name, value)
        self.check()

    def check(self) -> None:
        """Raise ValueError, which names parameter, value and remedy, where a parameter makes no sense."""


class LinearPolicy(Policy):
    """A policy whose score is ``sum over d of weights[d] * (free[d] - request[d])``; compiled, hence the fastest.

    ``uses_request`` False says that the weights are the same whatever is requested; then they are calculated once.
    """

    uses_request: ClassVar[bool] = True

    def weights(self, request: Int64Array, reference: Int64Array) -> FloatArray:
        """Return one finite float64 a dimension. ``reference`` (dimensions,) is the largest node's capacity."""
        raise TypeError(f"{type(self).__name__} has no weights method")

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """The formula in NumPy."""
        result = np.zeros(len(nodes.rows))
        for weight, column, amount in zip(self.weights(request, nodes.reference), nodes.free, request, strict=True):
            result = result + weight * (column - amount)
        return result


class RandomPolicy(Policy):
    """Any node that fits, each with equal probability. Draws depend on the seed and the number of the decision."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def check(self) -> None:
        """The seed is a whole number."""
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ValueError(f"policy 'random': seed: {self.seed!r} is not a whole number")


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


BUILT_IN: dict[str, type[Policy]] = {
    policy.name: policy for policy in (RandomPolicy, FirstFit, BestFit, WorstFit, DotProduct)
}

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

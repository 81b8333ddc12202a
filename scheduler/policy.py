"""What a placement policy is: the base classes, and the contract between a policy and the planner."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from scheduler.ports import Dimension, NodeColumns, NodeFacts
from scheduler.types import FloatArray, Int64Array


class Asking(NamedTuple):
    """What one workload of a trace asks for: amounts by dimension, and payloads by plugin in canonical form."""

    request: tuple[int, ...]
    payloads: Mapping[str, Any]


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
    relates_rows: ClassVar[bool] = False
    """Whether the score of a row depends on the other rows too. Then only rows that fit are shown, all of them, and
    nothing is cached.
    """

    def score(self, nodes: NodeColumns, request: Int64Array) -> FloatArray:
        """Return one finite float64 a row of ``nodes``; the highest wins.

        Called for all rows, or only for those that changed since the last call for an equal request: the score of a
        row may depend only on that row, ``request`` (dimensions,) and the policy's own parameters. Rows on which the
        request does not fit may get any finite score.
        """
        raise TypeError(f"{type(self).__name__} has no score method; write one, or derive from LinearPolicy")

    def score_slots(self, nodes: NodeColumns, request: Int64Array, payload: Any, facts: NodeFacts) -> FloatArray:
        """`score` of a policy that reads slots: ``nodes.slots`` are those of the plugin.

        ``payload`` is what the request asks of the plugin, in canonical form, None for nothing. Of ``facts`` a score
        may depend on those of the row alone.
        """
        return self.score(nodes, request)

    def normalise(self, scores: FloatArray, decision: int) -> FloatArray:
        """Return what is compared at one decision, of the scores of all rows that fit, in row order; -inf rules out.

        For policies that relate scores to each other, such as to the best and the worst, or that draw: ``decision`` is
        the number of the decision. The default changes nothing, and then only what changed since the last decision is
        looked at.
        """
        return scores

    def prefer(self, node: NodeColumns, request: Int64Array, payload: Any, draw: float) -> Sequence[str] | None:
        """Slots of the chosen node in the order in which the plugin that it reads should try them; None for its own.

        ``node`` has one row, with slots. ``draw`` is uniform in [0, 1) and belongs to the decision.
        """
        return None

    def learn(self, dimensions: Sequence[Dimension], work: Iterable[Asking]) -> Mapping[str, Any]:
        """Parameters to take from the work that is to come, one entry a workload, where they were not given.

        For a simulation to call before it begins, so that a recording holds them. The default wants none, and does not
        look at the work.
        """
        return {}

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


def check_whole_number(policy: Policy, name: str, least: int | None = None) -> None:
    """ValueError where a parameter is not a whole number, or less than ``least``."""
    value = getattr(policy, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"policy {policy.name!r}: {name}: {value!r} is not a whole number")
    if least is not None and value < least:
        raise ValueError(f"policy {policy.name!r}: {name}: {value} must be at least {least}")

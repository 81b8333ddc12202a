"""Node labels: only nodes whose labels have one of the asked values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.ports import UNLIMITED, NodeColumns, NodeFacts, ResourcePlugin
from scheduler.types import Int64Array


class LabelsPlugin(ResourcePlugin):
    """A vectorised, uncoupled plugin.

    Payload: a mapping from label to the list of values that will do, e.g. ``{"gpu_model": ["V100", "P100"]}``. Every
    label has to match; a node without the label does not.
    """

    name = "labels"
    examples = ({"zone": ["a"]}, {"zone": ["a", "b"], "size": ["large"]})

    def parse(self, payload: Any) -> dict[str, list[str]]:
        """Sort labels and values, drop repeats."""
        if not isinstance(payload, Mapping):
            raise ValueError(f"labels: {payload!r} is not a mapping from label to list of values")
        parsed: dict[str, list[str]] = {}
        for label in sorted(payload):
            values = payload[label]
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ValueError(f"labels.{label}: {values!r} is not a non-empty list of values, e.g. ['V100']")
            parsed[label] = sorted({str(value) for value in values})
        return parsed

    def capacity(self, request: dict[str, list[str]], nodes: NodeColumns, facts: NodeFacts) -> Int64Array:
        """Unlimited where all labels match, otherwise 0."""
        capacity = np.zeros(len(nodes.rows), dtype=np.int64)
        for position, row in enumerate(nodes.rows.tolist()):
            labels = facts.labels(row)
            if all(labels.get(label) in values for label, values in request.items()):
                capacity[position] = UNLIMITED
        return capacity

"""Node labels: only nodes whose labels have one of the asked values."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from scheduler.plugins.payloads import mapping, member, sequence, shown, text
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
        parsed: dict[str, list[str]] = {}
        for label, values in sorted(mapping("labels", payload).items(), key=itemgetter(0)):
            field = member("labels", label)
            if not sequence(field, values):
                raise ValueError(f"{field}: {shown(values)} is empty; give the values that will do, e.g. ['V100']")
            parsed[label] = sorted({text(field, value) for value in values})
        return parsed

    def capacity(self, request: dict[str, list[str]], nodes: NodeColumns, facts: NodeFacts) -> Int64Array:
        """Unlimited where all labels match, otherwise 0."""
        capacity = np.zeros(len(nodes.rows), dtype=np.int64)
        for position, row in enumerate(nodes.rows.tolist()):
            labels = facts.labels(row)
            if all(labels.get(label) in values for label, values in request.items()):
                capacity[position] = UNLIMITED
        return capacity

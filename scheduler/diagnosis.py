"""Why something cannot be placed, as a value that prints in one line. Unschedulable is never an exception."""

from __future__ import annotations

import msgspec


class Diagnosis(msgspec.Struct, frozen=True):
    """Every node counted once: as fitting, or under the first reason that rules it out.

    ``reasons`` keeps the order of the checks: node states, pool, avoided, dimensions, plugins, caps. ``nodes`` leaves
    out removed nodes.
    """

    nodes: int
    fitting: int
    reasons: dict[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items() if count)
        if not self.nodes:
            return "0/0 nodes: the cluster is empty"
        return f"{self.fitting}/{self.nodes} nodes" + (f": {counts}" if counts else "")

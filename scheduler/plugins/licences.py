"""Licences: counters of the whole cluster, taken by every placement that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.ports import Cap, NodeFacts, PoolView, ResourcePlugin
from scheduler.types import NodeIndex


class LicencesPlugin(ResourcePlugin):
    """A coupled plugin: a placement anywhere leaves fewer licences for all rows.

    Parameters: ``limits``, a mapping from licence to how many there are. Payload: a mapping from licence to how many
    one workload takes, e.g. ``{"matlab": 1}``.
    """

    name = "licences"
    coupling = "cluster"

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self.limits = dict(limits or {})
        for licence, limit in self.limits.items():
            if not isinstance(limit, int) or limit < 0:
                raise ValueError(f"licences.limits.{licence}: {limit!r} is not a whole number of at least 0")

    def pools(self) -> Mapping[str, int]:
        """One pool a licence."""
        return {f"licences/{licence}": limit for licence, limit in sorted(self.limits.items())}

    def parse(self, payload: Any) -> dict[str, int]:
        """Sort, and refuse licences that the cluster does not have."""
        if not isinstance(payload, Mapping):
            raise ValueError(f"licences: {payload!r} is not a mapping from licence to number")
        parsed: dict[str, int] = {}
        for licence in sorted(payload):
            number = payload[licence]
            if licence not in self.limits:
                known = ", ".join(sorted(self.limits)) or "none"
                raise ValueError(f"licences.{licence}: no such licence; the cluster has: {known}")
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"licences.{licence}: {number!r} is not a whole number of at least 1")
            parsed[licence] = number
        return parsed

    def caps(self, request: dict[str, int], facts: NodeFacts, pools: PoolView) -> Sequence[Cap]:
        """One cap over the whole cluster for each licence asked."""
        everywhere = np.zeros(facts.row_count, dtype=np.int32)
        return [
            Cap(everywhere, np.array([(pools.pool_free(f"licences/{licence}") or 0) // number], dtype=np.int64))
            for licence, number in request.items()
        ]

    def charges(self, request: dict[str, int], row: NodeIndex, facts: NodeFacts) -> Mapping[str, int]:
        """What one copy takes, wherever it is."""
        return {f"licences/{licence}": number for licence, number in request.items()}

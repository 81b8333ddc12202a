"""Licences: counters of the whole cluster, taken by every placement that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.plugins.payloads import mapping, member, shown, whole
from scheduler.ports import Cap, NodeFacts, PoolView, ResourcePlugin
from scheduler.types import NodeIndex

_LIMIT_MAX = (1 << 62) - 1


class LicencesPlugin(ResourcePlugin):
    """A coupled plugin: a placement anywhere leaves fewer licences for all rows.

    Parameters: ``limits``, a mapping from licence to how many there are, below 2^62. Payload: a mapping from
    licence to how many one workload takes, e.g. ``{"matlab": 1}``.
    """

    name = "licences"
    coupling = "cluster"

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self.limits = dict(mapping("licences.limits", {} if limits is None else limits))
        for licence, limit in self.limits.items():
            whole(member("licences.limits", licence), limit, 0, _LIMIT_MAX)

    def pools(self) -> Mapping[str, int]:
        """One pool a licence."""
        return {f"licences/{licence}": limit for licence, limit in sorted(self.limits.items())}

    def parse(self, payload: Any) -> dict[str, int]:
        """Sort, and refuse licences that the cluster does not have."""
        parsed: dict[str, int] = {}
        for licence in sorted(mapping("licences", payload)):
            field = member("licences", licence)
            if licence not in self.limits:
                raise ValueError(f"{field}: no such licence; the cluster has {shown(sorted(self.limits))}")
            parsed[licence] = whole(field, payload[licence], 1, _LIMIT_MAX)
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

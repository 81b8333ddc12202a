"""What one workload holds of particular things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """The exact things that one workload holds: amounts by slot, all above 0.

    ``detail`` is plain data (what MessagePack can carry) that the plugin wants to see again in `ExactPlugin.reassign`
    and `ResourcePlugin.engine_args`.
    """

    amounts: Mapping[str, int]
    detail: Any = None

"""The name and parameters of a queue discipline: in a core's configuration, and in the event that changes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class QueueConfig(msgspec.Struct, frozen=True):
    """A queue discipline by name, with its parameters."""

    name: str = "priority"
    params: Mapping[str, Any] = {}

"""What a core is made of: dimensions, plugins, policy and parameters. It is part of every journal's header."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import msgspec

from scheduler.ports import Dimension
from scheduler.queue_config import QueueConfig as QueueConfig

SECOND_NS = 1_000_000_000

CPU = Dimension("cpu", "millicores")
MEMORY = Dimension("memory", "bytes")


class PluginConfig(msgspec.Struct, frozen=True):
    """A plugin by name, with the version that decided, its parameters, and what its preferences weigh."""

    name: str
    version: str = "1"
    params: Mapping[str, Any] = {}
    weight: float = 1.0


class PolicyConfig(msgspec.Struct, frozen=True):
    """A policy by name, with its parameters."""

    name: str = "best-fit"
    params: Mapping[str, Any] = {}


class CoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decisions depend on besides events.

    ``overcommit`` multiplies a node's capacity, by dimension (default 1). ``scheduling_pass`` is one pass for a whole
    batch, or one after every event. A start or stop that is not answered within ``deadline_ns`` is repeated.
    The delay after the n-th failed start is ``backoff_base_ns * 2 ** (n - 1)``, at most ``backoff_max_ns``.
    ``cache_bytes`` bounds the score columns; it never changes a decision.
    """

    dimensions: tuple[Dimension, ...] = (CPU, MEMORY)
    plugins: tuple[PluginConfig, ...] = ()
    policy: PolicyConfig = PolicyConfig()
    queue: QueueConfig = QueueConfig()
    overcommit: Mapping[str, float] = {}
    scheduling_pass: Literal["instant", "event"] = "instant"
    deadline_ns: int = 600 * SECOND_NS
    backoff_base_ns: int = 10 * SECOND_NS
    backoff_max_ns: int = 300 * SECOND_NS
    cache_bytes: int = 128 * 1024 * 1024

    def check(self) -> None:
        """ValueError names the first field that makes no sense, its value and the remedy."""
        names = [dimension.name for dimension in self.dimensions]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"dimensions: {names} must be at least one, and no name twice")
        for name, ratio in self.overcommit.items():
            if name not in names:
                raise ValueError(f"overcommit.{name}: no such dimension; there are: {', '.join(names)}")
            if not 0 < ratio < 1e6:
                raise ValueError(f"overcommit.{name}: {ratio} must be above 0, e.g. 1.2")
        for plugin in self.plugins:
            if not 0 <= plugin.weight < 1e9:
                raise ValueError(f"plugins.{plugin.name}.weight: {plugin.weight} must be at least 0")
        if self.scheduling_pass not in ("instant", "event"):
            raise ValueError(f"scheduling_pass: {self.scheduling_pass!r} is neither 'instant' nor 'event'")
        for field in ("deadline_ns", "backoff_base_ns", "backoff_max_ns"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field}: {getattr(self, field)} must be above 0")

    def overcommitted(self, capacity: tuple[int, ...]) -> tuple[int, ...]:
        """What the ledger may hand out on a node of that capacity, rounded down."""
        if not self.overcommit:
            return capacity
        ratios = (Fraction(str(self.overcommit.get(dimension.name, 1))) for dimension in self.dimensions)
        return tuple(int(amount * ratio) for amount, ratio in zip(capacity, ratios, strict=True))

"""Where the engines of nodes are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from backends.real.engines.base import Engine


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node's engine is. ``ca``, ``cert`` and ``key`` are PEM texts; they stay at the edge.

    A node that is a ``test`` needs no lease.
    """

    url: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    test: bool = False
    bypass: bool = False

    def __repr__(self) -> str:
        """Without credentials, so that they are in no log."""
        return f"Endpoint({self.url!r})"


Connect = Callable[[str, Endpoint], Engine]
"""Makes the engine of a node; ValueError where the endpoint makes no sense."""

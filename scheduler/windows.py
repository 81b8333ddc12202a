"""The record of a maintenance window."""

from __future__ import annotations

import msgspec

from scheduler.cluster import NodeState


class Window(msgspec.Struct, gc=False, kw_only=True):
    """A window that is not over. ``before`` tells how the nodes were that it has closed; ``timer`` is the sequence
    number of the timer for its beginning, or once it ``has_begun`` for its end.
    """

    window_id: str
    node_ids: tuple[str, ...]
    end_ns: int
    has_begun: bool = False
    before: dict[str, NodeState] = {}
    timer: int = -1

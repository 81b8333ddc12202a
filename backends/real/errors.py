"""What a live cluster says no with. All messages are one line, and hold no secret."""

from __future__ import annotations


class Rejected(Exception):
    """The request makes no sense; the message names field, value and remedy."""


class Missing(Exception):
    """There is no such pool, node, workload, template or operation."""


class Conflict(Exception):
    """It exists already, or something is in the way."""


class Exists(Conflict):
    """There is one of that name or id already."""

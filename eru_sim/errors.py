"""Errors for people."""

from __future__ import annotations


class EruError(Exception):
    """Something that the user can mend. The message is one line that names field, value and remedy."""

"""Paths inside workloads, as callers give them."""

from __future__ import annotations

import posixpath

from backends.real.service.corerpc.errors import WireError

_PATH_MAX = 4096


def confined(path: str) -> str:
    """The path in its shortest form. `WireError` unless it is absolute, names something below the root, and does not
    climb.
    """
    if not path.startswith("/") or len(path.encode(errors="replace")) > _PATH_MAX:
        raise WireError(f"path: {path[:200]!r} must be absolute, and no longer than {_PATH_MAX} bytes")
    if ".." in path.split("/") or any(ord(character) < 32 for character in path):
        raise WireError(f"path: {path[:200]!r} must have no '..' and no control characters")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise WireError("path: it is not UTF-8") from None
    short = posixpath.normpath(path)
    short = short.removeprefix("/") if short.startswith("//") else short
    if short == "/":
        raise WireError("path: it must name something below /")
    return short


def relative_to_root(path: str) -> str:
    """The path as a tar names it."""
    return confined(path).removeprefix("/")

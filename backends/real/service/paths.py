"""Paths inside workloads, as callers give them."""

from __future__ import annotations

import posixpath

from backends.real.errors import Rejected

_PATH_MAX = 4096


def confined(path: str, field: str = "path", *, or_root: bool = False) -> str:
    """The path in its shortest form.

    `Rejected` names the ``field`` unless the path is absolute, does not climb, and names something below the root,
    or with ``or_root`` the root itself.
    """
    if not path.startswith("/") or len(path.encode(errors="replace")) > _PATH_MAX:
        raise Rejected(f"{field}: {path[:200]!r} must be absolute, and no longer than {_PATH_MAX} bytes")
    if ".." in path.split("/") or any(ord(character) < 32 for character in path):
        raise Rejected(f"{field}: {path[:200]!r} must have no '..' and no control characters")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Rejected(f"{field}: it is not UTF-8") from None
    short = "/" + posixpath.normpath(path).lstrip("/")
    if short == "/" and not or_root:
        raise Rejected(f"{field}: it must name something below /")
    return short

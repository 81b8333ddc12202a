"""Tar archives, as Docker takes files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import BinaryIO

from backends.real.engines.base import EngineError
from backends.real.template import File


def archive(files: Mapping[str, File]) -> BinaryIO:
    """Files by absolute path as a tar archive for the root directory; EngineError names a path that is not absolute."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, file in files.items():
            if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
                raise EngineError(f"file {path!r}: give an absolute path without '..'")
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.uid, file.gid
            tar.addfile(entry, io.BytesIO(file.content))
    buffer.seek(0)
    return buffer

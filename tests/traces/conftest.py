from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED_TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], str]:
    """Return the path of a public trace, or skip where it has not been fetched."""

    def find(name: str) -> str:
        path = SHARED_TRACES / name
        if not path.exists():
            pytest.skip(f"the public trace {name} is not beside the repository (shared/traces)")
        return str(path)

    return find

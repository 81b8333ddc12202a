"""The testbed's nodes for tests. Without a testbed they are skipped, but not where CI runs as root."""

from __future__ import annotations

import os

import pytest
from testbed_kit import BedNode, find_nodes


@pytest.fixture(scope="session")
def testbed_nodes() -> list[BedNode]:
    """The nodes that ``make testbed-up`` brought up; other tests use them at the same time."""
    found = find_nodes()
    if isinstance(found, str):
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(found)
        pytest.skip(found)
    return found

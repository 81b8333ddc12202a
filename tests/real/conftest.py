"""The testbed's nodes for tests. Without a testbed they are skipped, but not where CI runs as root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from testbed_kit import BedNode, find_nodes, private_node_up


@pytest.fixture(scope="session")
def testbed_nodes() -> list[BedNode]:
    """The nodes that ``make testbed-up`` brought up; other tests use them at the same time."""
    found = find_nodes()
    if isinstance(found, str):
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(found)
        pytest.skip(found)
    return found


@pytest.fixture(scope="module")
def private_node(testbed_nodes: list[BedNode]) -> Iterator[BedNode]:
    """A node of the testbed that only this module's tests use."""
    with private_node_up() as node:
        yield node

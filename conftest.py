"""Settings of all tests. A property that fails prints the example and the line that reproduces it."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("developer", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A command run within the test's process sets the logs up for as long as the test lasts."""
    yield
    if structlog := sys.modules.get("structlog"):
        structlog.reset_defaults()

"""Settings of all tests. A property that fails prints the example and the line that reproduces it."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it puts in the background, and so would every process that tests begin and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("developer", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A command run within the test's process sets the logs up for as long as the test lasts."""
    yield
    if structlog := sys.modules.get("structlog"):
        structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is begun first, so that at the end no worker is left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

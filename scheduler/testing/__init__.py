"""What tests of the core, and authors of policies and plugins, need: a harness without a simulator."""

from scheduler.testing.harness import Harness

__all__ = ["Harness"]

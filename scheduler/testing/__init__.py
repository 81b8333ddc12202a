"""What tests of the core, and authors of policies and plugins, need: a harness without a simulator, plugin checks."""

from scheduler.testing.harness import Harness
from scheduler.testing.plugin_checks import CheckReport, PluginCheckError, check_plugin

__all__ = ["CheckReport", "Harness", "PluginCheckError", "check_plugin"]

"""The example package of third parties, imported from where it lies."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[1] / "third_party" / "eru-example-plugins"


def example_plugins() -> ModuleType:
    spec = importlib.util.spec_from_file_location("eru_example_plugins", PACKAGE / "eru_example_plugins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

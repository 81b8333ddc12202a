"""What the tests of the command share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

SOURCE = "synthetic:google2019?nodes=20&hours=0.2&seed=1&load=1.2"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Eru = Callable[..., Ran]

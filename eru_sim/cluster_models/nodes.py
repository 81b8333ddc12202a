"""What a cluster is made of: nodes, in rank order, and the errors of a wrong specification."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import msgspec

from traces.schema import TraceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eru_sim.cluster_models.topology import Topology

UNIT_SUFFIXES = ("_millicores", "_bytes", "_milli", "_bps", "_count", "_iops", "_watts")
"""What the name of a capacity column must end in: the unit of its integers."""

_MAX_CAPACITY = (1 << 63) - 1
_MAX_DIGITS = 30


class ClusterSpecError(TraceError, ValueError):
    """A cluster, topology or failure specification, or a file that it names, is wrong.

    The message is one line that names file, row, field, value and remedy. It is a TraceError, so a caller that
    handles bad input handles it, and a ValueError, because most often an argument is wrong. Line breaks in what it
    quotes become spaces.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One machine: its name, what it holds, and where it stands.

    ``capacity`` maps a column to integer base units, in the unit that the column's name ends in; an absent column is
    0. ``labels`` are free. ``topology`` maps a level to a domain name, outermost level first (``{"zone": "zone-0",
    "rack": "rack-003"}``). Nodes share these mappings: treat them as read-only.
    """

    node_id: str
    capacity: dict[str, int]
    labels: dict[str, str] = {}
    topology: dict[str, str] = {}


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of a cluster in rank order (ties in scheduling go to the lowest rank), at least one of them.

    ``topology`` is over the same rows. ``assumptions`` says, one sentence each, what was assumed to build it; a report
    lists them. ``spec`` is the specification as given.
    """

    nodes: tuple[NodeSpec, ...]
    topology: Topology
    assumptions: tuple[str, ...]
    spec: str

    @property
    def node_ids(self) -> list[str]:
        """The node ids in rank order."""
        return [node.node_id for node in self.nodes]

    @property
    def columns(self) -> tuple[str, ...]:
        """The capacity columns of all nodes, in order of first appearance."""
        return tuple(dict.fromkeys(column for node in self.nodes for column in node.capacity))

    def capacity(self, column: str) -> NDArray[np.int64]:
        """Return the capacity of every node in ``column``, in rank order and base units; 0 where a node has none."""
        import numpy as np

        return np.fromiter((node.capacity.get(column, 0) for node in self.nodes), dtype=np.int64, count=len(self.nodes))


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'? known: ...`` for an unknown name, without the question when nothing is close."""
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return (f"did you mean '{match[0]}'? " if match else "") + f"known: {', '.join(names)}"


def column_problem(column: str) -> str | None:
    """Return what is wrong with a capacity column's name, with the remedy, or None."""
    if not (column.isascii() and column.isidentifier() and column == column.lower()):
        return f"'{column}' is not a column name; use lower-case letters, digits and '_', such as memory_bytes"
    if not column.endswith(UNIT_SUFFIXES):
        return f"'{column}' does not say its unit; end a capacity column in one of {' '.join(UNIT_SUFFIXES)}"
    return None


def parse_capacity(column: str, value: object) -> int:
    """Return the capacity that ``value`` states: an integer, or a decimal that is integral (``1e9``, ``64000.0``).

    ``cpu_millicores`` and ``memory_bytes`` must be positive, any other column 0 or more; all below 2^63. Raises
    ValueError whose message starts with the column and ends with the remedy, for the caller to put the place before.
    """
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("nan")
    if number.is_finite() and number.adjusted() > _MAX_DIGITS:
        raise ValueError(f"{column} is {value}; give less than 2^63")
    integer = int(number) if number.is_finite() else 0
    if integer != number:
        raise ValueError(f"{column} is '{value}'; give an integer in the unit of the column's name")
    if integer < 0 or (integer == 0 and column in ("cpu_millicores", "memory_bytes")):
        positive = "a positive integer" if column in ("cpu_millicores", "memory_bytes") else "0 or more"
        raise ValueError(f"{column} is {integer}; give {positive}")
    if integer > _MAX_CAPACITY:
        raise ValueError(f"{column} is {value}; give less than 2^63")
    return integer

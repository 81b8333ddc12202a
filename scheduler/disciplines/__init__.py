"""Queue disciplines: which waiting workload is tried next, and which must wait although it would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from scheduler.disciplines.backfilling import EasyBackfilling, FirstComeFirstServed
from scheduler.disciplines.base import Discipline
from scheduler.disciplines.conservative import ConservativeBackfilling
from scheduler.disciplines.sharing import DominantResourceFairness, FairShare
from scheduler.disciplines.skipping import EarliestDeadlineFirst, PriorityDiscipline, ShortestFirst
from scheduler.ports import Dimension

__all__ = ["DISCIPLINES", "Discipline", "make_discipline"]

DISCIPLINES: dict[str, type[Discipline]] = {
    made.name: made
    for made in (
        PriorityDiscipline,
        FirstComeFirstServed,
        ShortestFirst,
        EarliestDeadlineFirst,
        EasyBackfilling,
        ConservativeBackfilling,
        FairShare,
        DominantResourceFairness,
    )
}
"""By name."""


def make_discipline(name: str, params: Mapping[str, Any], dimensions: Sequence[Dimension]) -> Discipline:
    """Return a new discipline with an empty queue; ValueError names what makes no sense, and the remedy."""
    made = DISCIPLINES.get(name)
    if made is None:
        raise ValueError(f"queue: no discipline {name!r}; there are: {', '.join(DISCIPLINES)}")
    known = [parameter for parameter in signature(made).parameters if parameter != "dimensions"]
    for param in params:
        if param not in known:
            raise ValueError(f"queue {name!r}: no parameter {param!r}; there are: {', '.join(known) or 'none'}")
    try:
        return made(dimensions, **params)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise ValueError(f"queue {name!r}: {error}") from None

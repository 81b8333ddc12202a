"""What a queue discipline is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Protocol

from scheduler.ledger import Ledger
from scheduler.request_classes import RequestClass
from scheduler.workload import Workload

if TYPE_CHECKING:
    from scheduler.placing import Placer
    from scheduler.state import CoreState


class Queue(Protocol):
    """What the core and its observers ask of any queue."""

    @property
    def class_count(self) -> int:
        """How many classes have waiting workloads."""

    @property
    def entry_count(self) -> int:
        """How many entries there are, those of workloads that left from the middle included."""

    def push(self, workload: Workload, request_class: RequestClass) -> None:
        """Add a queued workload."""

    def drop(self, workload: Workload) -> None:
        """A workload, wherever it stands, leaves the queue, not because it has been placed."""

    def demand(self) -> list[int]:
        """What all queued workloads ask for together, by dimension."""

    def workloads(self) -> Iterator[Workload]:
        """All queued workloads."""

    def settle(self, ledger: Ledger) -> None:
        """Everything that waits has been refused."""


class Discipline(ABC):
    """Says which waiting workload is tried next, and which must not start although it would fit.

    ``queue`` holds what waits. ``uses_ends``: it looks ahead by expected ends, so the core keeps them
    (`scheduler.expected_ends`). ``uses_tenants``: it asks what tenants hold, so the core keeps that
    (`scheduler.tenants`).

    A discipline has no memory besides its queue, and no clock: what it does is a function of the records and of the
    instant, so that a core that was restored from a snapshot goes on as before.
    """

    name: ClassVar[str]
    uses_ends: ClassVar[bool] = False
    uses_tenants: ClassVar[bool] = False
    queue: Queue

    @abstractmethod
    def run(self, placer: Placer) -> None:
        """Place what may start now. Called when a scheduling pass is due; must end with nothing left to place."""

    def limit(self, state: CoreState, workload: Workload) -> str:
        """The limit that keeps a queued workload waiting whatever is free; "" where there is none."""
        return ""

    def excuse(self, state: CoreState, workload: Workload) -> str:
        """Why a queued workload may have to wait although it would fit now; "" where there is no such reason."""
        return self.limit(state, workload)

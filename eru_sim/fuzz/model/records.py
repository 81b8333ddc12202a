"""What the model remembers of workloads, nodes and those who wait for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from eru_sim.fuzz.model.holdings import Amounts, Holding, largest
from scheduler.events import AnyEvent, ReplaceRequested, WorkloadsSubmitted

PLACED = ("starting", "running", "stopping", "stopped")
PRESENT = ("ready", "cordoned", "draining")


class Violation(AssertionError):
    """Something that must hold does not. One line; ``subject`` is the id whose story explains it."""

    def __init__(self, message: str, subject: str = "") -> None:
        super().__init__(message)
        self.subject = subject


def require(condition: bool, message: str, subject: str = "") -> None:
    """`Violation` where the condition does not hold."""
    if not condition:
        raise Violation(message, subject)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the core was configured with, as far as the model has to know."""

    dimensions: tuple[str, ...]
    overcommit: Mapping[str, float]
    licences: Mapping[str, int]
    levels: tuple[str, ...]
    knows_taints: bool
    deadline_ns: int
    backoff_base_ns: int
    backoff_max_ns: int
    pass_per_event: bool
    queue: str
    maximum: Mapping[str, Mapping[str, int]]


class Node(msgspec.Struct, kw_only=True):
    """A node as the stream tells it. ``on`` are the workloads that hold something there, in order of placement.

    ``found``: work was found running there, so that it may be overcommitted.
    """

    node_id: str
    rank: int
    pool: str
    labels: dict[str, str]
    topology: dict[str, str]
    taints: tuple[str, ...]
    stated: dict[str, int]
    resources: dict[str, Any]
    total: Amounts = {}
    state: str = "ready"
    resume: str = "ready"
    on: dict[str, None] = {}
    found: bool = False


class Update(msgspec.Struct, kw_only=True):
    """A change in place that the engine has not confirmed: how it was before."""

    revision: int
    spec: WorkloadsSubmitted
    held: Holding
    args: dict[str, Any]
    told_ns: int


class Work(msgspec.Struct, kw_only=True):
    """A workload that has not ended. ``held`` is what it has by its last assignment."""

    workload_id: str
    spec: WorkloadsSubmitted
    sequence: int
    submitted_ns: int
    state: str = "queued"
    generation: int = 0
    node_id: str = ""
    held: Holding | None = None
    reason: str = ""
    failures: int = 0
    avoided: frozenset[str] = frozenset()
    due_ns: int = 0
    told_ns: int = 0
    revision: int = 0
    update: Update | None = None
    rollout: str = ""
    previous: tuple[str, str] = ("", "")
    successor: tuple[str, str] = ("", "")
    gate_ns: int = -1
    goes_back: bool = False
    args: dict[str, Any] = {}

    @property
    def is_coming(self) -> bool:
        """Whether it will wait as soon as it is gone from its node, or its backoff is over."""
        return self.state == "backoff" or (self.state == "stopping" and self.reason in ("evict", "preempt"))

    @property
    def holding(self) -> Holding:
        """What is taken now; while it is changed, the larger of before and after."""
        assert self.held is not None
        return self.held if self.update is None else largest(self.held, self.update.held)


class Fence(msgspec.Struct, kw_only=True):
    """An instance that was superseded on a lost node."""

    workload_id: str
    generation: int
    node_id: str
    held: Holding
    told_ns: int = 0
    rules: Mapping[str, Any] = {}


class Window(msgspec.Struct, kw_only=True):
    """A maintenance window that is not over."""

    window_id: str
    node_ids: tuple[str, ...]
    end_ns: int
    due_ns: int
    order: int
    has_begun: bool = False
    before: dict[str, str] = {}


class Reservation(msgspec.Struct, kw_only=True):
    """Nodes that are held for a tenant and all below it, from an instant on."""

    tenant: str
    node_ids: tuple[str, ...]
    start_ns: int
    end_ns: int


class Rollout(msgspec.Struct, kw_only=True):
    """A replacement: who has not been answered for. ``asked`` counts those asked for before it.

    Where a part has failed, nobody new is begun. Of those in ``doubt`` nobody can tell from outside whether they were
    meant: they were placed in the same batch.
    """

    event: ReplaceRequested
    asked: int
    left: dict[str, None]
    begun: dict[str, None] = {}
    doubt: frozenset[str] = frozenset()
    has_failed: bool = False

    def is_next(self, name: str) -> bool:
        """Whether it is the workload's turn: fewer than a step are being replaced, and nobody comes before it."""
        waiting = [other for other in self.left if other not in self.begun]
        turns = [other for other in waiting if other == name or other not in self.doubt]
        return not self.has_failed and turns[:1] == [name] and len(self.left) - len(waiting) < self.event.step


class Operation(msgspec.Struct, kw_only=True):
    """Who waits for answers. ``expected`` is how many; None where that is not known before they come.

    Where the request made no sense, that many refusals are still due.
    """

    event: AnyEvent
    expected: int | None
    results: dict[str, str] = {}
    state: str = "asked"
    then: Operation | None = None
    """What was asked under the same id in the batch in which this is done."""
    rollout: Rollout | None = None
    """Of a replacement that begins when another operation of its id is done."""

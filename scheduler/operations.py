"""Operations: who waits for an answer, what is published, and what is counted."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from scheduler.commands import AnyCommand, Outcome, PublishResult
from scheduler.events import Gate, WorkloadsSubmitted


class Counters(msgspec.Struct):
    """What happened so far.

    ``decisions`` counts evaluations that ended in a placement or a refusal, a whole deployment as one; ``placements``
    includes repeated ones of one workload, ``placed`` only the first; ``deployments_rejected`` counts whole
    deployments; ``evicted`` counts moves off a drained or lost node, ``preempted`` victims of preemption; ``updated``
    and ``replaced`` count what came to a good end; ``stale`` counts completions that were ignored, ``refused`` requests
    that made no sense.
    """

    submitted: int = 0
    decisions: int = 0
    placements: int = 0
    placed: int = 0
    adopted: int = 0
    deployments_rejected: int = 0
    updated: int = 0
    replaced: int = 0
    evicted: int = 0
    preempted: int = 0
    start_failures: int = 0
    stale: int = 0
    refused: int = 0


class Operation(msgspec.Struct, kw_only=True):
    """A user's transaction over workloads: ``remaining`` have not been answered yet."""

    operation_id: str
    kind: str
    remaining: int


class Program(NamedTuple):
    """What is run: an image and the digest of a template, "" for none."""

    image: str
    template: str

    def of(self, spec: WorkloadsSubmitted) -> WorkloadsSubmitted:
        """The same demand, with this to be run."""
        return msgspec.structs.replace(spec, image=self.image, template=self.template)


def program_of(spec: WorkloadsSubmitted) -> Program:
    """What is run now."""
    return Program(spec.image, spec.template)


class Replacement(msgspec.Struct, kw_only=True):
    """A rollout under way: who waits for its turn, and who is being replaced. Nobody is begun after a failure.

    Template "" leaves each one its own.
    """

    operation_id: str
    image: str
    template: str
    step: int
    gate: Gate
    gate_timeout_ns: int
    waiting: list[str]
    active: dict[str, None] = {}
    has_failed: bool = False


class Results:
    """The operations under way and the commands of the present step."""

    def __init__(self, counters: Counters) -> None:
        self.operations: dict[str, Operation] = {}
        self.commands: list[AnyCommand] = []
        self._counters = counters

    def open(self, operation_id: str, kind: str, remaining: int) -> bool:
        """Note that somebody waits for ``remaining`` answers; False, and refused, where the id is taken."""
        if not operation_id:
            return True
        if operation_id in self.operations:
            self.refuse(operation_id, "an operation of this id is under way")
            return False
        self.operations[operation_id] = Operation(operation_id=operation_id, kind=kind, remaining=remaining)
        return True

    def answer(self, operation_id: str, subject: str, outcome: Outcome, detail: str = "") -> None:
        """Publish one result; with the last one that an operation waits for, also that it is done.

        Without an id it is published for whoever listens; an id that nobody waits for any more says nothing.
        """
        operation = self.operations.get(operation_id)
        if operation is None and operation_id:
            return
        self.commands.append(PublishResult(subject=subject, outcome=outcome, detail=detail, operation_id=operation_id))
        if operation is None:
            return
        operation.remaining -= 1
        if not operation.remaining:
            del self.operations[operation_id]
            self.commands.append(PublishResult(subject=operation_id, outcome="done", operation_id=operation_id))

    def refuse(self, subject: str, detail: str, operation_id: str = "") -> None:
        """Tell whoever asked that the request makes no sense.

        Where an operation of the id is under way, it is told without one: who waits under it waits for another answer.
        """
        self._counters.refused += 1
        operation_id = "" if operation_id in self.operations else operation_id
        self.commands.append(
            PublishResult(subject=subject, outcome="refused", detail=detail, operation_id=operation_id)
        )

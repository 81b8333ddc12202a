"""Who has asked for what, and what they are answered."""

from __future__ import annotations

from eru_sim.fuzz.model.records import Operation, Violation, Work, require
from eru_sim.fuzz.model.state import State
from scheduler.commands import PublishResult


class Answers:
    """Of each operation every subject is answered for once; then it is done, once."""

    def __init__(self, state: State) -> None:
        self.state = state

    def take(self, command: PublishResult) -> None:
        """An answer is given."""
        operation_id, subject = command.operation_id, command.subject
        operation = self.state.operations.get(operation_id)
        if command.outcome == "rejected":
            self._check_rejected(command)
        if operation_id:
            where = f"operation {operation_id}"
            if operation is None:
                raise Violation(f"{where}: {command.outcome} for {subject}, but nobody has asked", operation_id)
            if operation.state == "refused":
                require(
                    command.outcome == "refused" and bool(operation.expected),
                    f"{where} made no sense, but is answered with {command.outcome}",
                    operation_id,
                )
                operation.expected = (operation.expected or 0) - 1
            elif command.outcome == "done":
                self._finish_operation(operation_id, operation)
            else:
                require(operation.state == "open", f"{where}: {subject} is answered for after the end", operation_id)
                require(
                    subject not in operation.results,
                    f"{where}: {subject} is answered for twice, {operation.results.get(subject)} and {command.outcome}",
                    operation_id,
                )
                if command.outcome == "rolled_back":
                    self._check_rolled_back(subject)
                operation.results[subject] = command.outcome
                self._leave_rollout(operation_id, subject, command.outcome)
        if command.outcome == "rejected" and subject in self.state.work:
            self.state.end(self.state.work[subject], "rejected")

    def _finish_operation(self, operation_id: str, operation: Operation) -> None:
        require(operation.state == "open", f"operation {operation_id} is done twice", operation_id)
        found, expected = len(operation.results), operation.expected
        require(
            found == expected or (expected is None and found > 0),
            f"operation {operation_id} is done after {found} answers of {expected}",
            operation_id,
        )
        rollout = self.state.rollouts.pop(operation_id, None)
        left = [name for name in rollout.left if name not in rollout.doubt] if rollout is not None else []
        require(not left, f"operation {operation_id} is done, and {left} are not answered for", operation_id)
        operation.state = "done"
        if operation.then is not None:
            self.state.operations[operation_id] = operation.then
            if operation.then.rollout is not None:
                self.state.rollouts[operation_id] = operation.then.rollout

    def _leave_rollout(self, operation_id: str, subject: str, outcome: str) -> None:
        rollout = self.state.rollouts.get(operation_id)
        if rollout is not None:
            require(subject in rollout.left, f"{operation_id}: nobody asked for {subject}", subject)
            del rollout.left[subject]
            rollout.has_failed |= subject in rollout.begun and outcome != "replaced"
            work = self.state.work.get(subject)
            if work is not None and work.rollout == operation_id:
                work.rollout = ""
                work.goes_back = work.state == "running" and outcome == "rolled_back"

    def _check_rolled_back(self, name: str) -> None:
        """Who goes back could not be started as it was to be, or has not become healthy in time."""
        work = self.state.work.get(name)
        is_late = self.state.is_awake and work is not None and 0 <= work.gate_ns <= self.state.at_ns
        has_failed = work is not None and self.state.is_expected("start", name, work.generation)
        require(is_late or has_failed, f"{name} goes back to what it was, for no reason", name)

    def _check_rejected(self, command: PublishResult) -> None:
        work = self.state.work.get(command.subject)
        if work is None:
            require(command.subject in self.state.rejected, f"{command.subject} is rejected, but nobody has asked")
            return
        may = command.subject in self.state.impatient or self._is_late(work)
        require(may and work.state == "queued", f"{command.subject} is rejected while {work.state}", command.subject)

    def _is_late(self, work: Work) -> bool:
        spec = work.spec
        return (
            spec.gang_timeout_ns is not None
            and work.generation == 0
            and self.state.is_awake
            and self.state.at_ns >= work.submitted_ns + spec.gang_timeout_ns
        )

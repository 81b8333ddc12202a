"""What engines are told: for each command there must be a reason."""

from __future__ import annotations

from collections.abc import Iterator

from eru_sim.fuzz.model.answers import Answers
from eru_sim.fuzz.model.fitting import could_start, shortage
from eru_sim.fuzz.model.holdings import holding_of
from eru_sim.fuzz.model.records import Rollout, Violation, Work, require
from eru_sim.fuzz.model.state import State
from scheduler.commands import AnyCommand, RemapWorkload, StartWorkload, StopWorkload, UpdateWorkload


class Commanded:
    """Applies commands to the state: what was expected, what is repeated, and what the core has decided by itself."""

    def __init__(self, state: State, answers: Answers) -> None:
        self.state = state
        self._answers = answers

    def apply(self, command: AnyCommand) -> None:
        """Take in one command. `Violation` where there is no reason for it."""
        if isinstance(command, StartWorkload):
            self._apply_start(command)
        elif isinstance(command, StopWorkload):
            self._apply_stop(command)
        elif isinstance(command, UpdateWorkload):
            self._apply_update(command)
        elif isinstance(command, RemapWorkload):
            self._apply_remap(command)
        else:
            self._answers.take(command)

    def _apply_start(self, command: StartWorkload) -> None:
        name, generation, node_id = command.workload_id, command.generation, command.node_id
        said = (node_id, command.image, command.template)
        expected = self.state.take_expected("start", name, generation)
        if expected is not None:
            require(said == expected, f"{name} is started as {said}, not as {expected}", name)
            work = self.state.work.get(name)
            if work is not None and work.generation == generation and work.state == "starting":
                self.state.give(work, command, is_new=False)
            return
        work = self.state.work.get(name) or self._deployed(command)
        if work is None:
            raise Violation(f"{name} is started, but there is no such workload", name)
        if work.state == "stopping" and self.state.take_overdue("start", name, generation):
            return  # it was told again just before it was to go
        if work.state == "starting" and work.generation == generation:
            is_due = self.state.take_overdue("start", name, generation)
            require(is_due and node_id == work.node_id, f"{name}: its start is repeated on {node_id}", name)
            work.told_ns = self.state.at_ns
            self.state.give(work, command, is_new=False)
            return
        require(work.state == "queued", f"{name} is started as generation {generation} while {work.state}", name)
        require(generation == work.generation + 1, f"{name} goes from {work.generation} to {generation}", name)
        self._place(work, command)

    def _deployed(self, command: StartWorkload) -> Work | None:
        parent = command.workload_id.rpartition("/")[0]
        event = self.state.deployments.get(parent)
        if event is None:
            return None
        operation = self.state.operations.get(event.spec.operation_id)
        work = self.state.record(command.workload_id, event.spec)
        if operation is not None:
            operation.expected = (operation.expected or 0) + 1
        return work

    def _place(self, work: Work, command: StartWorkload) -> None:
        node = self.state.nodes.get(command.node_id)
        name = work.workload_id
        for member in self.state.gang(work.spec) if work.spec.gang else ():
            require(not member.is_coming, f"{name} is placed, but {member.workload_id} of its gang is to come", name)
            work.avoided |= member.avoided  # and goes on to when that one has ended
        is_deployed = work.spec.workload_id in self.state.deployments
        why = "there is no such node" if node is None else could_start(self.state, work, node, in_order=not is_deployed)
        if why:
            if work.generation == 0 and is_deployed:
                self.state.forget(work)
            raise Violation(f"{name} is placed on {command.node_id}: {why}", name)
        assert node is not None
        over = "" if is_deployed else self.state.over_quota(work.spec, 1)
        require(not over, f"{name} is placed, but that is beyond the maximum of tenant {over}", name)
        try:
            held = holding_of(work.spec, self.state.rules.dimensions, command.engine_args)
        except ValueError as error:
            raise Violation(f"{name} is placed on {command.node_id}: {error}", name) from None
        short = shortage(self.state, node, held, work)
        require(not short, f"{name} is placed on {command.node_id}: {short}", name)
        work.generation += 1
        work.state, work.node_id, work.held, work.reason = "starting", command.node_id, held, ""
        self.state.impatient.pop(name, None)
        node.on[name] = None
        work.told_ns, work.args = self.state.at_ns, dict(command.engine_args or {})
        self.state.placed.append(work)

    def _apply_stop(self, command: StopWorkload) -> None:
        name, generation, reason = command.workload_id, command.generation, command.reason
        expected = self.state.take_expected("stop", name, generation)
        if expected is not None:
            said = (command.node_id, reason)
            require(said == expected, f"{name} is stopped as {said}, not as {expected}", name)
            return
        if reason == "fence":
            self._apply_fence(command)
            return
        work = self.state.work.get(name)
        if work is None or work.generation != generation or work.node_id != command.node_id:
            raise Violation(f"{name} generation {generation} is stopped on {command.node_id}, where it is not", name)
        if work.state == "stopping":
            is_due = self.state.take_overdue("stop", name, generation)
            require(reason == work.reason and is_due, f"{name}: its stop ({work.reason}) is repeated: {reason}", name)
            work.told_ns = self.state.at_ns
            return
        if reason == "replace":
            self._begin_part(work)
        elif reason == "preempt":
            self._preempt(work)
        else:
            raise Violation(f"{name} is stopped ({reason}) while {work.state}, for which nobody has asked", name)
        work.told_ns = self.state.at_ns

    def _apply_fence(self, command: StopWorkload) -> None:
        name = command.workload_id
        fence = self.state.fences.get((name, command.generation))
        if fence is None or fence.node_id != command.node_id:
            raise Violation(f"{name} generation {command.generation} is fenced, but not superseded", name)
        is_due = self.state.take_overdue("fence", name, command.generation)
        require(is_due, f"{name}: its fence is repeated", name)
        fence.told_ns = self.state.at_ns

    def _begin_part(self, work: Work) -> None:
        """A workload is stopped to be replaced: its turn has come, or it goes back."""
        name = work.workload_id
        require(work.state == "running", f"{name} is replaced while {work.state}", name)
        if work.goes_back:
            require(
                self.state.is_awake and 0 <= work.gate_ns <= self.state.at_ns, f"{name} goes back before its time", name
            )
            work.successor = work.previous
            work.goes_back = False
        else:
            turns = [rollout for rollout in self.state.rollouts.values() if rollout.is_next(name)]
            require(bool(turns), f"{name} is replaced, for which nobody has asked", name)
            rollout = min(turns, key=lambda rollout: (self._is_refused_in(rollout, name), rollout.asked))
            event = rollout.event
            rollout.begun[name] = None
            work.rollout, work.gate_ns = event.operation_id, -1
            work.previous = (work.spec.image, work.spec.template)
            work.successor = (event.image, event.template or work.spec.template)
        work.state, work.reason = "stopping", "replace"

    def _is_refused_in(self, rollout: Rollout, name: str) -> bool:
        """Whether a workload is refused by a replacement in this batch: then it is more likely another's part."""
        answers = self.state.answers.get(rollout.event.operation_id, ())
        return any((answer.subject, answer.outcome) == (name, "refused") for answer in answers)

    def _preempt(self, work: Work) -> None:
        """A victim: of somebody more important who waits, and within the budgets."""
        name = work.workload_id
        require(work.state in ("starting", "running"), f"{name} is preempted while {work.state}", name)
        better = any(
            other.spec.preempts and other.state in ("queued", "backoff") and other.spec.priority > work.spec.priority
            for other in self.state.work.values()
        )
        require(better, f"{name} is preempted by nobody more important", name)
        self._check_budgets(work)
        work.state, work.reason = "stopping", "preempt"
        self.state.has_nominations = True
        if work.spec.gang:
            self.state.scatter(work)

    def _check_budgets(self, victim: Work) -> None:
        """With a victim, or all of its gang, gone: how many of each budget are unavailable."""
        going = {work.workload_id for work in [victim, *(self.state.gang(victim.spec) if victim.spec.gang else ())]}
        for key in ((victim.spec.app, ""), ("", victim.spec.job_id)):
            if key in self.state.budgets:
                out = sum(
                    1
                    for work in self._of_budget(key)
                    if work.workload_id in going or work.state not in ("starting", "running")
                )
                name = victim.workload_id
                require(out <= self.state.budgets[key], f"{name} is preempted: {out} of {key} are unavailable", name)

    def _of_budget(self, key: tuple[str, str]) -> Iterator[Work]:
        return (w for w in self.state.work.values() if key in ((w.spec.app, ""), ("", w.spec.job_id)))

    def _apply_update(self, command: UpdateWorkload) -> None:
        name, revision = command.workload_id, command.revision
        if self.state.take_expected("update", name, revision) is not None:
            return
        work = self.state.work.get(name)
        if work is None or work.update is None or work.update.revision != revision:
            raise Violation(f"{name}: update {revision} is commanded, but none is under way", name)
        require(command.node_id == work.node_id, f"{name} is updated on {command.node_id}", name)
        require(self.state.take_overdue("update", name, revision), f"{name}: update {revision} is repeated", name)
        work.update.told_ns = self.state.at_ns
        self.state.give(work, command, is_new=False)

    def _apply_remap(self, command: RemapWorkload) -> None:
        name = command.workload_id
        work = self.state.work.get(name)
        fits = work is not None and (work.generation, work.node_id) == (command.generation, command.node_id)
        if work is None or not fits or work.state not in ("starting", "running"):
            raise Violation(f"{name} generation {command.generation} is told what it shares, but is not there", name)
        require(bool(command.engine_args), f"{name} is told nothing", name)
        work.args = {**work.args, **command.engine_args}

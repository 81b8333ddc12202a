"""A batch at a time: events first, then commands, in their order; then what must hold.

Where there is a scheduling pass after every event, what is allowed already is taken before the next event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from eru_sim.fuzz.model.answers import Answers
from eru_sim.fuzz.model.commanded import Commanded
from eru_sim.fuzz.model.node_events import NodeEvents
from eru_sim.fuzz.model.records import Rules, Violation, Work, require
from eru_sim.fuzz.model.state import State
from eru_sim.fuzz.model.work_events import WorkEvents
from scheduler.commands import AnyCommand, PublishResult, StartWorkload
from scheduler.events import AnyEvent, DeploymentRequested


class Model:
    """All that follows from a journal. `take` each of its batches, in order."""

    def __init__(self, rules: Rules) -> None:
        self.state = State(rules)
        self._commanded = Commanded(self.state, Answers(self.state))
        self._handlers = {**WorkEvents(self.state).handlers, **NodeEvents(self.state).handlers}

    def take(self, at_ns: int, events: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> None:
        """Take in one batch. `Violation` where it cannot be."""
        require(at_ns >= self.state.at_ns, f"time goes back from {self.state.at_ns} to {at_ns} ns")
        classes = [event.event_class for event in events]
        require(classes == sorted(classes), "the events of a batch are not in the order of their classes")
        self.state.begin(at_ns, commands)
        taken = 0
        for event in events:
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)
            if self.state.rules.pass_per_event:
                taken = self._take_what_is_allowed(taken)
        for command in commands[taken:]:
            self._commanded.apply(command)
        self._finish()

    def _take_what_is_allowed(self, taken: int) -> int:
        while taken < len(self.state.commands):
            try:
                self._commanded.apply(self.state.commands[taken])
            except Violation:
                return taken
            taken += 1
        return taken

    def _finish(self) -> None:
        """What must hold at the end of every batch."""
        self.state.check_due()
        for workload_id in self.state.impatient:
            work = self.state.work.get(workload_id)
            require(work is None or work.state != "queued", f"{workload_id} waits, but must not", workload_id)
        for deployment in self.state.deployments.values():
            self._check_deployment(deployment)
        for work in self.state.placed:
            if work.spec.gang and work.state == "starting":
                self._check_gang(work)
        for rollout in self.state.rollouts.values():
            active = sum(1 for name in rollout.begun if name in rollout.left)
            require(active <= rollout.event.step, f"{rollout.event.operation_id} replaces {active} at once")
        for name, (_, amount) in self.state.licences_used().items():
            require(amount >= 0 or self.state.found_licences, f"{name}: {-amount} more are taken than there are")

    def _check_gang(self, placed: Work) -> None:
        """All or nothing: with one copy that was placed, nobody of the gang waits who could have been placed too."""
        for member in self.state.gang(placed.spec):
            require(
                member.state not in ("queued", "backoff"),
                f"gang {placed.spec.workload_id}: {placed.workload_id} is placed, {member.workload_id} is not",
                placed.workload_id,
            )

    def _check_deployment(self, event: DeploymentRequested) -> None:
        spec = event.spec
        copies = sum(1 for name in self.state.work if name.startswith(f"{spec.workload_id}/"))
        if event.strategy in ("auto", "global", "drained"):
            started = {
                command.workload_id
                for command in self.state.commands
                if isinstance(command, StartWorkload) and command.workload_id.startswith(f"{spec.workload_id}/")
            }
            require(
                len(started) in (0, spec.count),
                f"deployment {spec.workload_id}: {len(started)} of {spec.count} copies are placed",
                spec.workload_id,
            )
        said = [c for c in self.state.commands if isinstance(c, PublishResult) and c.subject == spec.workload_id]
        require(bool(copies or said), f"deployment {spec.workload_id} is neither placed nor rejected")

    def check_books(self, books: Mapping[str, Mapping[tuple[str, ...], int]], licences: Mapping[str, int]) -> None:
        """Compare what the core has booked, by node and slot, and of licences, with what is held."""
        taken = {name: taken for name, (taken, _) in self.state.licences_used().items() if taken}
        require(dict(licences) == taken, f"the core has booked the licences {dict(licences)}, not {taken}")
        require(
            set(books) == set(self.state.nodes),
            f"the core has the nodes {sorted(books)}, not {sorted(self.state.nodes)}",
        )
        for node_id, booked in books.items():
            used = self.state.used(node_id)
            for slot in sorted({*used, *booked}):
                if slot[0] in ("dimension", "gpu", "volume", "io"):
                    said, found = booked.get(slot, 0), used.get(slot, 0)
                    require(said == found, f"{node_id}: {' '.join(slot)}: {said} is booked, {found} is held", node_id)

    def check_conservation(self, parts: Mapping[str, int]) -> None:
        """All work that was ever submitted is somewhere, and the core says where."""
        own: Counter[str] = Counter({how: count for how, count in self.state.ended.items() if count})
        for work in self.state.work.values():
            own[{"backoff": "queued", "stopped": "stopping"}.get(work.state, work.state)] += 1
        said = {part: count for part, count in parts.items() if count}
        require(
            sum(own.values()) == self.state.submitted,
            f"{self.state.submitted} were submitted, but there are {dict(own)}",
        )
        require(said == dict(own), f"the core counts {said}, but there are {dict(own)}")

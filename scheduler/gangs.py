"""Gangs: copies that are placed all at once or not at all, and that move together.

Theory of operation. The copies of a gang that wait form a request class of their own, and queues hand them out as one.
When one of them has to leave its node, the others are stopped too, and nobody of them is in the queue before all have
come: until then they are *gathering*. A copy that ends, or that its user stopped, is not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.events import WorkloadsSubmitted
from scheduler.lifecycle import State, Trigger
from scheduler.workload import Workload

if TYPE_CHECKING:
    from scheduler.state import CoreState


class Gangs:
    """The gangs of one core."""

    def __init__(self, state: CoreState) -> None:
        self.state = state
        self.gathering: dict[str, Workload] = {}
        """Queued copies that wait for others of their gang before they may be placed, by id. For reading only."""

    def members(self, spec: WorkloadsSubmitted) -> list[Workload]:
        """The live copies of a gang, in order."""
        return self._of(spec.workload_id, spec.count)

    def scatter(self, left: Workload) -> None:
        """A copy has left its node, or must: have all others stopped."""
        self.wait_for(left)
        for member in self.members(left.spec):
            if member is left:
                continue
            if member.state in (State.STARTING, State.RUNNING):
                self.state.stop_to_move(member)
            elif member.state is State.STOPPING and member.stop_reason == "replace":
                member.stop_reason = "evict"

    def wait_for(self, left: Workload) -> None:
        """A copy has left its node, or must: those that are in the queue wait for it."""
        for member in self.members(left.spec):
            if member is not left and member.state is State.QUEUED and member.workload_id not in self.gathering:
                self.state.queue.drop(member)
                self.gathering[member.workload_id] = member

    def come_back(self, workload: Workload) -> None:
        """A copy is queued again: have the others come too, and all wait for each other."""
        self.scatter(workload)
        self.gathering[workload.workload_id] = workload
        self.gather(workload.spec)

    def gather(self, spec: WorkloadsSubmitted) -> None:
        """Queue those that gather, if nobody is to come any more."""
        members = self.members(spec)
        if any(is_coming(member) for member in members):
            return
        here = [member for member in members if self.gathering.pop(member.workload_id, None) is not None]
        avoided = tuple(sorted({row for member in here for row in member.failed_rows}))
        for member in here:
            if member.failed_rows != avoided:
                member.failed_rows = avoided
                self.state.respecify(member, member.spec)
            self.state.queue.push(member, self.state.planner.classes.by_id[member.class_id])

    def ended(self, workload: Workload) -> None:
        """A copy has ended, and is waited for no more."""
        self.gathering.pop(workload.workload_id, None)
        self.gather(workload.spec)

    def arm(self, spec: WorkloadsSubmitted) -> None:
        """Wake when a gang that has just been submitted should have been placed."""
        if spec.gang_timeout_ns is not None:
            self.state.timers.add_delay("gang", self.state.at_ns + spec.gang_timeout_ns, spec.workload_id, spec.count)

    def is_due(self, gang_id: str, count: int) -> bool:
        """Whether a gang of so many copies still has to be placed for the first time."""
        return any(_was_never_placed(member) for member in self._of(gang_id, count))

    def time_out(self, gang_id: str, count: int) -> None:
        """The gang has not been placed in time: reject it."""
        late = [member for member in self._of(gang_id, count) if _was_never_placed(member)]
        diagnosis = str(self.state.planner.diagnose(self.state.planner.classes.by_id[late[0].class_id]))
        for member in late:
            self.state.end(member, Trigger.REFUSED, f"no room for the whole gang in time; {diagnosis}")

    def _of(self, gang_id: str, count: int) -> list[Workload]:
        names = [gang_id] if count == 1 else [f"{gang_id}/{copy}" for copy in range(count)]
        found = (self.state.workloads.get(name) for name in names)
        return [w for w in found if w is not None and w.spec.gang and w.spec.workload_id == gang_id]


def is_coming(member: Workload) -> bool:
    """Whether the copy holds something still, or waits for a backoff to be over, and will be queued then."""
    return member.state is State.BACKOFF or (
        member.state is State.STOPPING and member.stop_reason in ("evict", "preempt")
    )


def _was_never_placed(member: Workload) -> bool:
    return member.state is State.QUEUED and not member.generation

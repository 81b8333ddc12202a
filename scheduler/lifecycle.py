"""The life of a workload, as data. `docs/architecture.md` shows the diagram generated from this table.

Theory of operation. A workload is always in exactly one state. A *trigger* is what the core concluded from an event;
the table says where each trigger leads, and a pair that is not in the table cannot happen: asking for it is a bug
and raises. Completions are judged before they become triggers: one that names another generation than the current one,
or comes in a state where it means nothing, is *stale* and changes nothing (see `Core`), so engines may repeat
themselves and answer late.

For accounting every state belongs to one part of the partition of all work: queued, starting, running, stopping,
completed, failed, killed, rejected, lost, dissociated. At every instant the parts add up to the work that was ever
submitted.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a workload is in its life."""

    QUEUED = "queued"
    BACKOFF = "backoff"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    REJECTED = "rejected"
    LOST = "lost"
    DISSOCIATED = "dissociated"


class Trigger(StrEnum):
    """Why a workload changes its state."""

    PLACED = "placed"
    ADOPTED = "adopted"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    STARTED = "started"
    START_FAILED = "start failed"
    RETRY_LATER = "start failed, retry"
    BACKOFF_OVER = "backoff over"
    ROLLED_BACK = "start failed, as before"
    EXITED = "exited with 0"
    EXITED_WITH_ERROR = "exited with an error"
    EXITED_AND_HELD = "exited, stays"
    STOP_ASKED = "stop asked"
    STOPPED_FOR_GOOD = "stopped: removed"
    STOPPED_TO_MOVE = "stopped: moves"
    STOPPED_AND_HELD = "stopped: held"
    START_ASKED = "start asked"
    DISSOCIATED = "dissociated"
    NODE_GONE_MOVE = "node gone: rescheduled"
    NODE_GONE_KILL = "node gone: was being removed"
    NODE_GONE_LOSE = "node gone: lost"


S, T = State, Trigger

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (S.QUEUED, T.PLACED): S.STARTING,
    (S.QUEUED, T.ADOPTED): S.RUNNING,
    (S.QUEUED, T.REFUSED): S.REJECTED,
    (S.QUEUED, T.CANCELLED): S.KILLED,
    (S.BACKOFF, T.BACKOFF_OVER): S.QUEUED,
    (S.BACKOFF, T.CANCELLED): S.KILLED,
    (S.STARTING, T.STARTED): S.RUNNING,
    (S.STARTING, T.START_FAILED): S.FAILED,
    (S.STARTING, T.RETRY_LATER): S.BACKOFF,
    (S.STARTING, T.ROLLED_BACK): S.STARTING,
    (S.STARTING, T.EXITED): S.COMPLETED,
    (S.STARTING, T.EXITED_WITH_ERROR): S.FAILED,
    (S.STARTING, T.EXITED_AND_HELD): S.STOPPED,
    (S.STARTING, T.STOP_ASKED): S.STOPPING,
    (S.STARTING, T.NODE_GONE_MOVE): S.QUEUED,
    (S.STARTING, T.NODE_GONE_LOSE): S.LOST,
    (S.STARTING, T.DISSOCIATED): S.DISSOCIATED,
    (S.RUNNING, T.EXITED): S.COMPLETED,
    (S.RUNNING, T.EXITED_WITH_ERROR): S.FAILED,
    (S.RUNNING, T.EXITED_AND_HELD): S.STOPPED,
    (S.RUNNING, T.STOP_ASKED): S.STOPPING,
    (S.RUNNING, T.NODE_GONE_MOVE): S.QUEUED,
    (S.RUNNING, T.NODE_GONE_LOSE): S.LOST,
    (S.RUNNING, T.DISSOCIATED): S.DISSOCIATED,
    (S.STOPPING, T.STOPPED_FOR_GOOD): S.KILLED,
    (S.STOPPING, T.STOPPED_TO_MOVE): S.QUEUED,
    (S.STOPPING, T.STOPPED_AND_HELD): S.STOPPED,
    (S.STOPPING, T.EXITED): S.COMPLETED,
    (S.STOPPING, T.EXITED_WITH_ERROR): S.FAILED,
    (S.STOPPING, T.NODE_GONE_MOVE): S.QUEUED,
    (S.STOPPING, T.NODE_GONE_KILL): S.KILLED,
    (S.STOPPING, T.NODE_GONE_LOSE): S.LOST,
    (S.STOPPED, T.START_ASKED): S.STARTING,
    (S.STOPPED, T.STOP_ASKED): S.STOPPING,
    (S.STOPPED, T.NODE_GONE_LOSE): S.LOST,
    (S.STOPPED, T.DISSOCIATED): S.DISSOCIATED,
}

PARTITION: dict[State, str] = {
    S.QUEUED: "queued",
    S.BACKOFF: "queued",
    S.STARTING: "starting",
    S.RUNNING: "running",
    S.STOPPING: "stopping",
    S.STOPPED: "stopping",
    S.COMPLETED: "completed",
    S.FAILED: "failed",
    S.KILLED: "killed",
    S.REJECTED: "rejected",
    S.LOST: "lost",
    S.DISSOCIATED: "dissociated",
}
"""A stopped workload still holds its resources and counts as stopping."""

TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.KILLED, S.REJECTED, S.LOST, S.DISSOCIATED})
HOLDING = frozenset({S.STARTING, S.RUNNING, S.STOPPING, S.STOPPED})
"""States in which a workload has an assignment on a node."""


class LifecycleError(Exception):
    """A transition that the table does not have: a bug in the core, never a user's mistake."""


def advance(state: State, trigger: Trigger) -> State:
    """Return the state after ``trigger``; raise `LifecycleError` when the table has no such transition."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise LifecycleError(f"no transition from {state} on {trigger!r}") from None


def mermaid() -> str:
    """Render the table as a Mermaid state diagram, in the order of the table. A label may have no colon there."""
    lines = ["stateDiagram-v2", "    [*] --> queued: submitted"]
    lines += [
        f"    {before} --> {after}: {trigger.replace(':', ',')}" for (before, trigger), after in TRANSITIONS.items()
    ]
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines)

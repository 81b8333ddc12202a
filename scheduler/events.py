"""Events: facts, in the past tense. They are the only way anything gets into the core.

Every event belongs to one class of `EventClass`, which fixes its place within a batch, and has one origin:
*exogenous* (the world outside decided it), *completion* (an engine answers a command) or *timer* (the core asked to be
woken). A what-if replay feeds only the exogenous ones.

A `request` is a tuple of base units aligned with the dimensions that the core was configured with. ``payloads`` and
``resources`` map a plugin's name to what is asked of it, and to what a node has of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar, Literal

import msgspec

from scheduler.assignment import Assignment
from scheduler.queue_config import QueueConfig

Origin = Literal["exogenous", "completion", "timer"]
OnUnschedulable = Literal["queue", "fail"]
OnStartFailure = Literal["fail", "retry", "elsewhere"]
OnNodeLoss = Literal["reschedule", "lose"]
OnExit = Literal["end", "hold"]
Strategy = Literal["auto", "fill", "each", "global", "drained"]
Gate = Literal["started", "healthy"]


class EventClass(IntEnum):
    """The order of events within one batch. Within a class the order of arrival is kept."""

    END = 0
    NODE = 1
    OPERATOR = 2
    SUBMISSION = 3
    TIMER = 4


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag_field="type"):
    """Base of all events; see the module for what they have in common."""

    event_class: ClassVar[EventClass]
    origin: ClassVar[Origin]


class _Exogenous(Event, frozen=True):
    origin: ClassVar[Origin] = "exogenous"


class _Completion(Event, frozen=True):
    event_class: ClassVar[EventClass] = EventClass.END
    origin: ClassVar[Origin] = "completion"


class WorkloadsSubmitted(_Exogenous, frozen=True, tag="workloads_submitted"):
    """``count`` equal workloads were submitted; with ``count > 1`` they are called ``<workload_id>/<i>``.

    ``payloads`` maps a plugin name to what is asked of it beyond the dimensions. ``pool`` "" means any pool.
    ``app`` and ``entrypoint`` say of what deployable it is a copy, and of which command variant.
    ``template`` is the digest under which the edge keeps the rest (command, environment, files), "" for none.
    ``estimate_ns`` is the submitter's own run-time estimate, ``deadline_ns`` the instant by which it should have ended.
    A higher ``priority`` goes first. The copies of a ``gang`` are placed all at once or not at all, and when one
    has to move, all do; if that long after the submission they have not been placed, they are rejected
    (``gang_timeout_ns``).

    What ``preempts`` has work of lower priority stopped if it does not fit otherwise.

    ``on_unschedulable``: wait in the queue, or be rejected at once. ``on_start_failure``: fail, retry after a backoff
    (at most ``start_retries`` times), or the same but never again on a node where it failed.
    ``on_node_loss``: be rescheduled (the old instance is fenced), or end as lost. ``on_exit``: end, or stay where it
    is with what it holds, as if it had been stopped.
    """

    event_class: ClassVar[EventClass] = EventClass.SUBMISSION
    workload_id: str
    request: tuple[int, ...]
    count: int = 1
    priority: int = 0
    pool: str = ""
    job_id: str = ""
    tenant: str = ""
    image: str = ""
    template: str = ""
    app: str = ""
    entrypoint: str = ""
    estimate_ns: int | None = None
    deadline_ns: int | None = None
    gang: bool = False
    gang_timeout_ns: int | None = None
    preempts: bool = False
    payloads: Mapping[str, Any] | None = None
    on_unschedulable: OnUnschedulable = "queue"
    on_start_failure: OnStartFailure = "retry"
    start_retries: int = 3
    on_node_loss: OnNodeLoss = "reschedule"
    on_exit: OnExit = "end"
    operation_id: str = ""


class WorkloadAdopted(_Exogenous, frozen=True, tag="workload_adopted"):
    """A workload was found running on a node that the core had not placed there; it is recorded as found.

    Its amounts are reserved even where that overcommits the node. ``assignments`` tells which particular things it
    holds, by plugin; what is not told is assigned anew. Things that somebody else holds are not given twice: then the
    adoption is refused. ``spec.count`` must be 1. ``generation`` is the one that runs.
    """

    event_class: ClassVar[EventClass] = EventClass.SUBMISSION
    spec: WorkloadsSubmitted
    node_id: str
    assignments: Mapping[str, Assignment] | None = None
    generation: int = 1


class DeploymentRequested(_Exogenous, frozen=True, tag="deployment_requested"):
    """Place many copies at once, spread over nodes by a strategy: all that it asks for, or none. It never waits.

    What ``spec.count`` and ``nodes_limit`` mean depends on the strategy (`scheduler.strategies`); for "fill" and "each"
    the count is one of a node. The copies are called ``<workload_id>/<i>``, also where there is only one. Copies count
    as equal if app and entrypoint are. Work that waits in the queue is placed before; of several deployments of one
    instant the one of the highest priority comes first, then the first.

    ``node_ids`` restricts the choice to these nodes, ``excluded_node_ids`` leaves some out.
    """

    event_class: ClassVar[EventClass] = EventClass.SUBMISSION
    spec: WorkloadsSubmitted
    strategy: Strategy = "auto"
    nodes_limit: int = 0
    node_ids: tuple[str, ...] = ()
    excluded_node_ids: tuple[str, ...] = ()


class ReallocRequested(_Exogenous, frozen=True, tag="realloc_requested"):
    """Change what a running or stopped workload holds, in place. Refused where it does not fit on its node, and
    for a copy of a gang: all of a gang ask for the same.

    ``request`` is a difference by dimension, () for none; ``payloads`` are changes as each plugin understands them.
    """

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    workload_id: str
    request: tuple[int, ...] = ()
    payloads: Mapping[str, Any] | None = None
    operation_id: str = ""


class ReplaceRequested(_Exogenous, frozen=True, tag="replace_requested"):
    """Have running workloads stopped and started again with another image, each on its node with what it holds.

    With ``template`` also from another template; "" leaves each one its own.
    ``workload_ids``, or else all copies of ``app`` (and of ``entrypoint``, if given) in the order of their placement
    by node. At most ``step`` at a time; the next one is begun when one has started, or with gate "healthy" when it has
    been reported healthy within ``gate_timeout_ns``. One that fails is started again as it was, and the rest is left
    alone.
    """

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    operation_id: str
    image: str
    template: str = ""
    workload_ids: tuple[str, ...] = ()
    app: str = ""
    entrypoint: str = ""
    step: int = 1
    gate: Gate = "started"
    gate_timeout_ns: int = 300_000_000_000


class DisruptionBudgetSet(_Exogenous, frozen=True, tag="disruption_budget_set"):
    """From now on preemption must leave all but ``unavailable_max`` live workloads of an app, or of a job, starting or
    running; None for as many as it likes. What is unavailable for other reasons counts.
    """

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    app: str = ""
    job_id: str = ""
    unavailable_max: int | None = None


class DissociateRequested(_Exogenous, frozen=True, tag="dissociate_requested"):
    """Forget a workload and give back what it holds, but leave it running."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    workload_id: str
    operation_id: str = ""


class RemovalRequested(_Exogenous, frozen=True, tag="removal_requested"):
    """The user wants a workload gone, whatever its state."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    workload_id: str
    operation_id: str = ""


class StopRequested(_Exogenous, frozen=True, tag="stop_requested"):
    """The user wants a running workload stopped; it keeps its resources and can be started again."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    workload_id: str
    operation_id: str = ""


class StartRequested(_Exogenous, frozen=True, tag="start_requested"):
    """The user wants a stopped workload started again, on the node that holds it."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    workload_id: str
    operation_id: str = ""


class NodeJoined(_Exogenous, frozen=True, tag="node_joined"):
    """A node became part of a pool. ``capacity`` maps a dimension to base units; a dimension left out is 0.

    ``topology`` maps a level (zone, rack, …) to the name of the domain that the node is in. ``taints`` are written
    ``key=value:effect``. ``images`` are those it has already, with their sizes in bytes.
    """

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str
    capacity: Mapping[str, int]
    pool: str = "default"
    labels: Mapping[str, str] = {}
    topology: Mapping[str, str] = {}
    resources: Mapping[str, Any] = {}
    taints: tuple[str, ...] = ()
    images: Mapping[str, int] = {}


class NodeCapacityChanged(_Exogenous, frozen=True, tag="node_capacity_changed"):
    """A node's capacity is now ``capacity``, or with ``is_delta`` so much more. Work that no longer fits stays, and
    overcommits the node.

    None leaves the dimensions as they are. ``resources`` are changes as each plugin understands them; a thing that is
    in use cannot go.
    """

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str
    capacity: Mapping[str, int] | None = None
    resources: Mapping[str, Any] = {}
    is_delta: bool = False
    operation_id: str = ""


class NodeFactsChanged(_Exogenous, frozen=True, tag="node_facts_changed"):
    """A node's labels, taints or images are now these; None leaves them as they are. Work stays where it is."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str
    labels: Mapping[str, str] | None = None
    taints: tuple[str, ...] | None = None
    images: Mapping[str, int] | None = None


class NodeFixRequested(_Exogenous, frozen=True, tag="node_fix_requested"):
    """Calculate anew, from its workloads, what is used on a node; each difference is named, and put right."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    node_id: str
    operation_id: str = ""


class NodeCordoned(_Exogenous, frozen=True, tag="node_cordoned"):
    """Nothing new may be placed on the node."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str


class NodeUncordoned(_Exogenous, frozen=True, tag="node_uncordoned"):
    """The node may be used again; also ends a drain."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str


class NodeDrainRequested(_Exogenous, frozen=True, tag="node_drain_requested"):
    """The node is cordoned and its work moved away: stopped there, then placed elsewhere.

    Workloads that a user stopped keep what they hold and stay. Drained means: nothing else is left.
    """

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str
    operation_id: str = ""


class MaintenancePlanned(_Exogenous, frozen=True, tag="maintenance_planned"):
    """The nodes will be under maintenance from ``start_ns`` until ``end_ns``: they are drained from ``drain_ns`` before
    the start on, and when it is over they are again as they were.
    """

    event_class: ClassVar[EventClass] = EventClass.NODE
    window_id: str
    node_ids: tuple[str, ...]
    start_ns: int
    end_ns: int
    drain_ns: int = 0


class MaintenanceCancelled(_Exogenous, frozen=True, tag="maintenance_cancelled"):
    """A window is over now, or will not be."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    window_id: str


class ReservationSet(_Exogenous, frozen=True, tag="reservation_set"):
    """From ``start_ns`` until ``end_ns`` whole nodes are held for the work of a tenant and of all below it.

    Either ``node_ids`` names them, or the core chooses ``node_count`` that are ready, in ``pool`` ("" means any): those
    on which others are expected to be gone first. The result names them.
    """

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    reservation_id: str
    tenant: str
    start_ns: int
    end_ns: int
    node_ids: tuple[str, ...] = ()
    node_count: int = 0
    pool: str = ""
    operation_id: str = ""


class ReservationCancelled(_Exogenous, frozen=True, tag="reservation_cancelled"):
    """A reservation is over now, or will not be."""

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    reservation_id: str


class NodeLost(_Exogenous, frozen=True, tag="node_lost"):
    """The node cannot be reached. Its work is rescheduled or lost; its resources stay held until confirmed gone."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str


class NodeReturned(_Exogenous, frozen=True, tag="node_returned"):
    """A lost node is reachable again. Superseded instances on it are stopped. No ``capacity`` means: as before."""

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str
    capacity: Mapping[str, int] | None = None


class NodeRemoved(_Exogenous, frozen=True, tag="node_removed"):
    """The node left for good: whatever was on it is gone, and its work is rescheduled or lost.

    Workloads that a user stopped are lost: what they held is no more.
    """

    event_class: ClassVar[EventClass] = EventClass.NODE
    node_id: str


class PolicyChanged(_Exogenous, frozen=True, tag="policy_changed"):
    """From now on decisions follow this policy, and with ``queue`` also this queue discipline; both or none.

    What waits is then all tried again by it. How often there is a scheduling pass stays as it was.
    """

    event_class: ClassVar[EventClass] = EventClass.OPERATOR
    name: str
    params: Mapping[str, Any] = {}
    queue: QueueConfig | None = None


class WorkloadStarted(_Completion, frozen=True, tag="workload_started"):
    """The engine has started this generation of the workload."""

    workload_id: str
    generation: int


class WorkloadStartFailed(_Completion, frozen=True, tag="workload_start_failed"):
    """The engine could not start this generation, and nothing of it is left on the node."""

    workload_id: str
    generation: int
    reason: str


class WorkloadExited(_Completion, frozen=True, tag="workload_exited"):
    """The workload ended by itself; 0 is success."""

    workload_id: str
    generation: int
    exit_code: int = 0


class WorkloadStopped(_Completion, frozen=True, tag="workload_stopped"):
    """The engine confirms that this generation no longer runs. Also the answer when it never ran."""

    workload_id: str
    generation: int


class WorkloadUpdated(_Completion, frozen=True, tag="workload_updated"):
    """The engine has applied this revision of what the workload may use."""

    workload_id: str
    generation: int
    revision: int


class WorkloadUpdateFailed(_Completion, frozen=True, tag="workload_update_failed"):
    """The engine could not apply this revision, and left the workload as it was."""

    workload_id: str
    generation: int
    revision: int
    reason: str


class WorkloadHealthChanged(_Completion, frozen=True, tag="workload_health_changed"):
    """The health checks of this generation came to another result."""

    workload_id: str
    generation: int
    healthy: bool


class TimerFired(Event, frozen=True, tag="timer_fired"):
    """``Core.next_wakeup_ns`` has come. The core works off every timer that is due."""

    event_class: ClassVar[EventClass] = EventClass.TIMER
    origin: ClassVar[Origin] = "timer"


AnyEvent = (
    WorkloadsSubmitted
    | WorkloadAdopted
    | DeploymentRequested
    | ReallocRequested
    | ReplaceRequested
    | DisruptionBudgetSet
    | DissociateRequested
    | RemovalRequested
    | StopRequested
    | StartRequested
    | NodeJoined
    | NodeCapacityChanged
    | NodeFactsChanged
    | NodeFixRequested
    | NodeCordoned
    | NodeUncordoned
    | NodeDrainRequested
    | MaintenancePlanned
    | MaintenanceCancelled
    | ReservationSet
    | ReservationCancelled
    | NodeLost
    | NodeReturned
    | NodeRemoved
    | PolicyChanged
    | WorkloadStarted
    | WorkloadStartFailed
    | WorkloadExited
    | WorkloadStopped
    | WorkloadUpdated
    | WorkloadUpdateFailed
    | WorkloadHealthChanged
    | TimerFired
)

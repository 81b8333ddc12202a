"""The scheduler core: `Core.step` takes the events of one instant and returns commands.

Theory of operation. A step applies the events of a batch in their fixed class order; each handler (`workload_events`,
`node_events`) changes records through `CoreState`, and notes what was freed. Then one scheduling pass runs to a fixed
point: the queue discipline (`scheduler.disciplines`) places what may start, until nothing is left that may. Everything
the core wants done comes back as commands; it never calls anybody.

A handler never raises on what a user or an engine may say. A request that makes no sense is answered with
`PublishResult(outcome="refused")`; a completion that no longer means anything is *stale*: counted, and otherwise
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from scheduler import audit
from scheduler.cluster import Cluster
from scheduler.commands import AnyCommand
from scheduler.config import CoreConfig, PolicyConfig
from scheduler.deployments import Deployments
from scheduler.diagnosis import Diagnosis
from scheduler.disciplines.base import Queue
from scheduler.events import AnyEvent, DeploymentRequested, PolicyChanged, WorkloadsSubmitted
from scheduler.ledger import Ledger
from scheduler.lifecycle import State, Trigger
from scheduler.maintenance import Maintenance
from scheduler.node_events import NodeEvents
from scheduler.operations import Counters, Operation
from scheduler.placing import Placer
from scheduler.plan import Plan, Planner
from scheduler.policies import Policy, PolicyFactory, make_policy
from scheduler.ports import ResourcePlugin
from scheduler.preemption import Preemption
from scheduler.reallocs import ReallocEvents
from scheduler.replacements import ReplacementEvents
from scheduler.reservations import Reserved
from scheduler.state import CoreState, Handlers
from scheduler.strategies import StrategyError, total_capacity
from scheduler.workload import Fence, Workload
from scheduler.workload_events import WorkloadEvents

_event_class = attrgetter("event_class")


class Capacity(msgspec.Struct, frozen=True):
    """How many copies fit: on every node on which one does, in rank order, each for itself; and in total.

    `scheduler.ports.UNLIMITED` stands for no bound; the total never exceeds it.
    """

    nodes: dict[str, int]
    total: int


class ContractError(Exception):
    """A driver broke the contract of `Core.step`. A bug in the driver, never a user's mistake."""


class Core:
    """One scheduler. Single-threaded; the only door for changes is `step`.

    ``plugins`` must be those that ``config.plugins`` names, in that order. ``policy_factory`` makes policies from
    names, for the first one and for every `PolicyChanged`. What the attributes show may be read between steps, and
    never changed.
    """

    def __init__(
        self,
        config: CoreConfig | None = None,
        *,
        plugins: Sequence[ResourcePlugin] = (),
        policy_factory: PolicyFactory = make_policy,
    ) -> None:
        config = config or CoreConfig()
        config.check()
        if [plugin.name for plugin in plugins] != [plugin.name for plugin in config.plugins]:
            raise ContractError("the plugins are not those that the configuration names")
        self.config = config
        self.policy_config = config.policy
        self.state = CoreState(config, plugins, policy_factory(config.policy.name, config.policy.params))
        self.cluster: Cluster = self.state.cluster
        self.ledger: Ledger = self.state.ledger
        self.planner: Planner = self.state.planner
        self.counters: Counters = self.state.counters
        self.workloads: dict[str, Workload] = self.state.workloads
        self.on_row: list[dict[str, Workload]] = self.state.on_row
        self.fences: Mapping[tuple[str, int], Fence] = self.state.fences.by_key
        self.operations: dict[str, Operation] = self.state.results.operations
        self._policy_factory = policy_factory
        self._placer = Placer(self.state)
        self.preemption = Preemption(self.state, self._placer)
        self._deployments = Deployments(self.state)
        self._replacements = ReplacementEvents(self.state)
        nodes = NodeEvents(self.state)
        maintenance = Maintenance(self.state, nodes)
        self._pass_per_event = config.scheduling_pass == "event"
        self._handlers: Handlers = {
            **WorkloadEvents(self.state, maintenance).handlers,
            **nodes.handlers,
            **maintenance.handlers,
            **ReallocEvents(self.state).handlers,
            **self._replacements.handlers,
            **self.preemption.handlers,
            **self.state.reservations.handlers,
            DeploymentRequested: self._on_deployment_requested,
            PolicyChanged: self._on_policy_changed,
        }

    def step(self, at_ns: int, events: list[AnyEvent]) -> list[AnyCommand]:
        """Apply one batch and return the commands that follow from it, in the order in which they were decided.

        ``events`` is sorted in place into batch order (`EventClass`, then arrival), so that what is journalled is what
        was applied. ``at_ns`` must not be before the last step's: `ContractError`.
        """
        state = self.state
        if at_ns < state.at_ns:
            raise ContractError(f"step at {at_ns} ns after a step at {state.at_ns} ns: time must not go back")
        state.at_ns = at_ns
        commands: list[AnyCommand] = []
        state.results.commands = commands
        if len(events) > 1:
            events.sort(key=_event_class)
        handlers = self._handlers
        if self._pass_per_event:
            for event in events:
                handlers[type(event)](event)
                self._schedule()
        else:
            for event in events:
                handlers[type(event)](event)
            self._schedule()
        if state.replacements.touched:
            self._replacements.go_on()
        if self.ledger.slots:
            state.engine_args.finish_step(self.on_row, commands)
        return commands

    @property
    def next_wakeup_ns(self) -> int | None:
        """When the driver must step with a `TimerFired`, or None. Ask again after every step."""
        return self.state.timers.next_ns()

    @property
    def wakeup_bound_ns(self) -> float:
        """An instant before which `next_wakeup_ns` cannot be, infinity for never. Cheap, to ask after every step."""
        return self.state.timers.bound_ns

    @property
    def at_ns(self) -> int:
        """The instant of the last step."""
        return self.state.at_ns

    @property
    def queue(self) -> Queue:
        """What waits, as the discipline in force keeps it."""
        return self.state.queue

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.planner.policy

    def check_policy(self, name: str, params: Mapping[str, Any]) -> Policy:
        """The policy that a `PolicyChanged` would bring; whatever its constructor or `check` raises, often ValueError,
        where it makes no sense.
        """
        return self._policy_factory(name, params)

    def partition(self) -> dict[str, int]:
        """All work ever submitted, by part: queued, starting, running, stopping and the ways to end."""
        return self.state.partition()

    def plan(self, spec: WorkloadsSubmitted) -> Plan:
        """What placing ``spec.count`` copies now would do, without doing it. ValueError where the request makes no
        sense.
        """
        return self.planner.dry_run(self.state.admit(spec), spec.count, self.counters.decisions)

    def plan_deployment(self, event: DeploymentRequested) -> dict[str, int]:
        """What a deployment now would add, by node in rank order; nothing is done.

        `StrategyError`, with the reason in one line, where the strategy cannot have what it needs; ValueError where the
        request makes no sense.
        """
        shares = self._deployments.plan(event, self._deployments.check(event))
        pairs = zip(shares.rows.tolist(), shares.counts.tolist(), strict=True)
        return {self.cluster.nodes[row].node_id: count for row, count in pairs}

    def capacity(self, spec: WorkloadsSubmitted, *, by_node: bool = True) -> Capacity:
        """How many copies of ``spec`` fit now, whatever its ``count``. ValueError where the request makes no sense.

        Without ``by_node`` the total alone: naming every node costs more than counting.
        """
        capacities = self.planner.capacities(self.state.admit(spec))
        rows, known = np.flatnonzero(capacities if by_node else ()), self.cluster.nodes
        nodes = {known[row].node_id: count for row, count in zip(rows.tolist(), capacities[rows].tolist(), strict=True)}
        return Capacity(nodes, total_capacity(capacities))

    def reservations(self) -> list[Reserved]:
        """The reservations that are not over, and who is still in the way, in the order in which they were set."""
        return self.state.reservations.status()

    def inspect(self, node_id: str) -> list[str]:
        """What is wrong with the books of a node: one line for each amount that its work does not add up to.

        KeyError where there is no such node.
        """
        return audit.differences(self.state, self.cluster.by_id[node_id].row)

    def diagnose(self, workload_id: str) -> Diagnosis:
        """Why a queued workload is not placed, by node. KeyError where there is no such live workload."""
        return self.planner.diagnose(self.planner.classes.by_id[self.workloads[workload_id].class_id])

    def _schedule(self) -> None:
        state = self.state
        if state.cluster.nominated:
            self.preemption.place_nominated()
        state.discipline.run(self._placer)
        if state.preemptors and self.preemption.run():
            self._schedule()  # whom the nominated nodes are closed for, others may find allowed elsewhere
            return
        if state.impatient and self._reject_impatient():
            self._schedule()
            return
        if state.deployments:
            state.deployments.sort(key=lambda event: -event.spec.priority)
            for event in state.deployments:
                self._deploy(event)
            state.deployments.clear()
            if self.ledger.has_news:
                self._schedule()

    def _reject_impatient(self) -> bool:
        """Reject what was to be placed in this step and was not. Whether there was any: others may go on then."""
        diagnoses: dict[int, str] = {}
        for workload in self.state.impatient:
            if workload.state is State.QUEUED:
                if workload.class_id not in diagnoses:
                    diagnoses[workload.class_id] = str(self.diagnose(workload.workload_id))
                self.state.end(workload, Trigger.REFUSED, diagnoses[workload.class_id])
        self.state.impatient.clear()
        return bool(diagnoses)

    def _on_deployment_requested(self, event: DeploymentRequested) -> None:
        spec = event.spec
        try:
            self._deployments.check(event)
            self.state.check_id(spec.workload_id)
        except ValueError as error:
            self.state.results.refuse(spec.workload_id, str(error), spec.operation_id)
            return
        if self.state.results.open(spec.operation_id, "deploy", 1):
            self.state.deployments.append(event)

    def _deploy(self, event: DeploymentRequested) -> None:
        """Plan a deployment and commit the plan, or answer why not."""
        spec, state = event.spec, self.state
        self.counters.decisions += 1
        request_class = state.admit(spec)  # now: reservations may have come or gone since it was asked for
        try:
            shares = self._deployments.plan(event, request_class)
            ids = [f"{spec.workload_id}/{copy}" for copy in range(int(shares.counts.sum()))]
            state.check_ids(ids)
        except ValueError as error:
            self.counters.deployments_rejected += 1
            why = f"{error}; {self.planner.diagnose(request_class)}" if isinstance(error, StrategyError) else str(error)
            state.results.answer(spec.operation_id, spec.workload_id, "rejected", why)
            return
        if spec.operation_id:
            state.results.operations[spec.operation_id].remaining = len(ids)
        state.place_copies(spec, request_class, shares, ids)

    def _on_policy_changed(self, event: PolicyChanged) -> None:
        try:
            policy = self._policy_factory(event.name, event.params)
            if event.queue is not None and event.queue != self.state.queue_config:
                self.state.change_queue(event.queue)
        except ValueError as error:
            self.state.results.refuse(event.name, str(error))
            return
        self.policy_config = PolicyConfig(event.name, event.params)
        self.planner.set_policy(policy)

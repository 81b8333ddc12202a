"""The core against a slow reference, step by step, through the whole life of workloads and nodes.

`test_reference` compares placements alone, with plain ends; here nodes are lost and return, work is stopped and
started, starts fail and are tried again, and every command has to be the same, in the same order.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lifecycle_reference import LifecycleReference

from scheduler.commands import StartWorkload, StopWorkload
from scheduler.config import SECOND_NS, CoreConfig, PolicyConfig
from scheduler.events import (
    NodeCordoned,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeReturned,
    NodeUncordoned,
    RemovalRequested,
    StartRequested,
    StopRequested,
    TimerFired,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
)
from scheduler.testing import Harness

AMOUNTS = st.integers(0, 5)
PLACES = st.integers(0, 30)


class CoreAgainstReference(RuleBasedStateMachine):
    """Every rule is one step of both; rules pick from what there is, by number."""

    @initialize(
        policy=st.sampled_from(["first-fit", "best-fit", "worst-fit"]), capacities=st.lists(AMOUNTS, min_size=2)
    )
    def begin(self, policy: str, capacities: list[int]) -> None:
        config = CoreConfig(
            policy=PolicyConfig(policy),
            deadline_ns=1 << 60,
            backoff_base_ns=5 * SECOND_NS,
            backoff_max_ns=15 * SECOND_NS,
        )
        self.harness = Harness(config)
        self.reference = LifecycleReference(policy, 5 * SECOND_NS, 15 * SECOND_NS)
        self.names = 0
        self.instances: list[tuple[str, int]] = []
        for number, capacity in enumerate(capacities[:5]):
            self.join(capacity, (number * 3) % 7)

    def _step(self, event: Any) -> None:
        commands = self.harness.step(event, at_ns=self.reference.at_ns)
        told = []
        for command in commands:
            if isinstance(command, StartWorkload):
                told.append(("start", command.workload_id, str(command.generation), command.node_id))
                self.instances.append((command.workload_id, command.generation))
            elif isinstance(command, StopWorkload):
                stop = (command.workload_id, str(command.generation), command.node_id, command.reason)
                told.append(("stop", *stop))
        assert told == self.reference.finish_step()

    def _node(self, place: int, *states: str) -> str | None:
        names = [node["id"] for node in self.reference.nodes if node["state"] in states]
        return names[place % len(names)] if names else None

    def _name(self, place: int) -> str | None:
        names = list(self.reference.work)
        return names[place % len(names)] if names else None

    # -- nodes --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.reference.nodes) < 5)
    @rule(cpu=AMOUNTS, memory=AMOUNTS)
    def join(self, cpu: int, memory: int) -> None:
        name = f"n{len(self.reference.nodes)}"
        self.reference.join(name, [cpu + 2, memory + 2])
        self._step(NodeJoined(node_id=name, capacity={"cpu": cpu + 2, "memory": memory + 2}))

    @rule(place=PLACES, what=st.sampled_from(["cordon", "uncordon", "lose", "lose", "return", "return", "drain"]))
    def change_a_node(self, place: int, what: str) -> None:
        states, event = {
            "cordon": (("ready",), NodeCordoned),
            "uncordon": (("cordoned", "draining"), NodeUncordoned),
            "drain": (("ready", "cordoned"), NodeDrainRequested),
            "lose": (("ready", "cordoned", "draining"), NodeLost),
            "return": (("lost",), NodeReturned),
        }[what]
        name = self._node(place, *states)
        if name is not None:
            change = {"cordon": self.reference.cordon, "uncordon": self.reference.uncordon, "lose": self.reference.lose,
                      "drain": self.reference.drain, "return": self.reference.return_}[what]  # fmt: skip
            change(name)
            self._step(event(node_id=name))

    # -- work ---------------------------------------------------------------------------------------------------------

    @rule(
        request=st.tuples(AMOUNTS, AMOUNTS),
        priority=st.sampled_from([0, 0, 1, 9]),
        failure=st.sampled_from(["fail", "retry", "elsewhere"]),
        retries=st.integers(0, 3),
        loss=st.sampled_from(["reschedule", "reschedule", "lose"]),
    )
    def submit(self, request: tuple[int, int], priority: int, failure: Any, retries: int, loss: Any) -> None:
        name = f"w{self.names}"
        self.names += 1
        self.reference.submit(name, list(request), priority, failure, retries, loss)
        self._step(
            WorkloadsSubmitted(
                workload_id=name,
                request=request,
                priority=priority,
                on_start_failure=failure,
                start_retries=retries,
                on_node_loss=loss,
            )
        )

    @precondition(lambda self: self.instances)
    @rule(place=PLACES, what=st.sampled_from(["started", "stopped", "exited", "failed"]))
    def report(self, place: int, what: str) -> None:
        """An engine says something of an instance, which may mean nothing any more."""
        self._report(what, *self.instances[-1 - place % len(self.instances)])

    @rule(place=PLACES, good=st.integers(0, 2))
    def go_on(self, place: int, good: int) -> None:
        """An engine answers what it was told, or something ends."""
        works = [w for w in self.reference.work.values() if w["state"] in ("starting", "stopping", "running")]
        if works:
            work = works[place % len(works)]
            usual = {"starting": "started" if good else "failed", "stopping": "stopped", "running": "exited"}
            self._report(usual[work["state"]], work["id"], work["generation"])

    @precondition(lambda self: self.reference.fences)
    @rule(place=PLACES)
    def fence_is_gone(self, place: int) -> None:
        fence = self.reference.fences[place % len(self.reference.fences)]
        self._report("stopped", fence["id"], fence["generation"])

    def _report(self, what: str, name: str, generation: int) -> None:
        if what == "started":
            self.reference.started(name, generation)
            self._step(WorkloadStarted(workload_id=name, generation=generation))
        elif what == "stopped":
            self.reference.stopped(name, generation)
            self._step(WorkloadStopped(workload_id=name, generation=generation))
        elif what == "exited":
            self.reference.exited(name, generation)
            self._step(WorkloadExited(workload_id=name, generation=generation))
        else:
            self.reference.start_failed(name, generation)
            self._step(WorkloadStartFailed(workload_id=name, generation=generation, reason="no"))

    @rule(place=PLACES, what=st.sampled_from(["remove", "stop", "start"]))
    def ask(self, place: int, what: str) -> None:
        name = self._name(place)
        if name is None:
            return
        if what == "remove":
            self.reference.remove(name)
            self._step(RemovalRequested(workload_id=name))
        elif what == "stop":
            self.reference.hold(name)
            self._step(StopRequested(workload_id=name))
        else:
            self.reference.start_again(name)
            self._step(StartRequested(workload_id=name))

    @rule(seconds=st.integers(0, 12))
    def wait(self, seconds: int) -> None:
        self.reference.at_ns += seconds * SECOND_NS
        due_ns = self.harness.core.next_wakeup_ns
        if due_ns is not None and due_ns <= self.reference.at_ns:
            self.reference.wake()
            self._step(TimerFired())

    @rule()
    def reload(self) -> None:
        self.harness.reload()

    @invariant()
    def states_are_the_same(self) -> None:
        found = {name: (str(w.state), w.generation) for name, w in self.harness.core.workloads.items()}
        assert found == {name: (w["state"], w["generation"]) for name, w in self.reference.work.items()}
        assert set(self.harness.core.fences) == {(f["id"], f["generation"]) for f in self.reference.fences}


TestCoreAgainstReference = CoreAgainstReference.TestCase
TestCoreAgainstReference.settings = settings(
    derandomize=True, deadline=None, max_examples=100, stateful_step_count=60, print_blob=True
)

"""Random event sequences over everything that a core can be told, for the property tests.

A sequence is a list of moves, each a name and a few small integers that are interpreted against what exists by then; so
hypothesis can shrink it, and a failure prints as a short list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core_kit import PLUGIN_CONFIGS, SECOND_NS, plugins
from hypothesis import strategies as st
from moves_kit import POLICIES, Move, pick

from scheduler.config import CoreConfig, PolicyConfig, QueueConfig
from scheduler.events import (
    AnyEvent,
    DisruptionBudgetSet,
    MaintenanceCancelled,
    MaintenancePlanned,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    PolicyChanged,
    RemovalRequested,
    ReservationCancelled,
    ReservationSet,
    StartRequested,
    StopRequested,
    TimerFired,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
)
from scheduler.lifecycle import State
from scheduler.testing import Harness

PAYLOADS: tuple[dict[str, Any] | None, ...] = (
    None,
    None,
    None,
    {"labels": {"zone": ["a"]}},
    {"licences": {"matlab": 1}},
    {"labels": {"zone": ["a", "b"]}, "licences": {"spice": 1, "matlab": 1}},
)
QUEUES = (
    QueueConfig(),
    QueueConfig("priority", {"aging_s": 5}),
    QueueConfig("fcfs"),
    QueueConfig("sjf"),
    QueueConfig("edf"),
    QueueConfig("easy"),
    QueueConfig("easy", {"order": "shortest"}),
    QueueConfig("conservative"),
    QueueConfig("conservative", {"depth": 2}),
    QueueConfig("fair", {"weights": {"a": 2}}),
    QueueConfig("drf", {"maximum": {"a": {"cpu": 8}}, "minimum": {"b": {"memory": 4}}}),
)
_WEIGHTED = (
    ["join"] * 2 + ["submit"] * 7 + ["starts"] * 9 + ["exit"] * 3 + ["stops"] * 6 + ["start failed"] * 2 + ["stale"] * 2
    + ["lost", "return", "cordon", "uncordon", "drain", "removed", "capacity", "remove", "stop", "start", "adopt"]
    + ["return", "remove", "stop", "stop", "start", "start", "unfence", "policy", "plan", "timers", "timers", "timers"]
    + ["budget", "maintenance", "maintenance", "maintained", "later", "later", "lost", "drain", "any"]
    + ["reserve", "reserve", "unreserve"]
)  # fmt: skip
_USUAL = {
    "starts": (State.STARTING,),
    "start failed": (State.STARTING,),
    "exit": (State.RUNNING, State.STOPPING),
    "stops": (State.STOPPING,),
    "stop": (State.RUNNING, State.STARTING),
    "start": (State.STOPPED,),
}
"""What a move usually happens to; the move "any" does one of them to anything."""
_NUMBERS = st.tuples(*[st.integers(0, 11)] * 6)
MOVES: st.SearchStrategy[list[Move]] = st.builds(
    list.__add__,
    st.lists(st.tuples(st.sampled_from(["join", "join", "submit"]), _NUMBERS), min_size=4, max_size=10),
    st.lists(st.tuples(st.sampled_from(_WEIGHTED), _NUMBERS), min_size=30, max_size=110),
)
CONFIGS: st.SearchStrategy[CoreConfig] = st.builds(
    lambda policy, queue, scheduling_pass, cpu, cache_bytes: CoreConfig(
        plugins=PLUGIN_CONFIGS,
        policy=PolicyConfig(policy),
        queue=queue,
        scheduling_pass=scheduling_pass,
        overcommit={"cpu": cpu},
        cache_bytes=cache_bytes,
        deadline_ns=100 * SECOND_NS,
    ),
    st.sampled_from(POLICIES),
    st.sampled_from(QUEUES),
    st.sampled_from(["instant", "event"]),
    st.sampled_from([1.0, 1.5]),
    st.sampled_from([1 << 20, 0, 1200]),
)


class World:
    """One harness, and the translation of moves into events for it. Work is never called the same twice."""

    def __init__(self, config: CoreConfig) -> None:
        self.harness = Harness(config, plugins=plugins())
        self.asked: set[str] = set()
        """Every operation that was opened or refused, to see that it is answered."""
        self._count = 0

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _operation(self, number: int) -> str:
        if number % 2:
            return ""
        name = self._name("op")
        self.asked.add(name)
        return name

    def _nodes(self) -> list[str]:
        return list(self.harness.core.cluster.by_id)

    def batch(self, moves: Sequence[Move]) -> tuple[int, list[AnyEvent]]:
        """The events of some moves as one batch, and its instant."""
        events: list[AnyEvent] = []
        later_ns = 0
        for name, numbers in moves:
            if name == "later":
                later_ns += (numbers[0] * numbers[1]) * SECOND_NS
            elif name == "plan":
                spec = WorkloadsSubmitted(workload_id="plan", request=(numbers[0], numbers[1]), count=1 + numbers[2])
                self.harness.core.plan(spec)
            else:
                event = self._event(name, numbers)
                if event is not None:
                    events.append(event)
        at_ns = self.harness.at_ns + later_ns
        due = self.harness.core.next_wakeup_ns
        if due is not None and due <= at_ns:
            events.append(TimerFired())
        return at_ns, events

    def _event(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        core = self.harness.core
        if name == "join":
            return self._join(numbers)
        if name == "submit":
            return self._submit(numbers)
        if name == "policy":
            queue = QUEUES[numbers[1] % len(QUEUES)] if numbers[2] % 2 else None
            return PolicyChanged(name=POLICIES[numbers[0] % len(POLICIES)], queue=queue)
        if name == "budget":
            return DisruptionBudgetSet(app="web", unavailable_max=(None, 0, 1, 4)[numbers[0] % 4])
        if name == "reserve":
            return self._reserve(numbers)
        if name == "unreserve":
            return ReservationCancelled(reservation_id=f"r{numbers[0] % 3}")
        if name == "timers":
            self.harness.at_ns = max(self.harness.at_ns, core.next_wakeup_ns or 0)
            return None
        if name == "unfence":
            fence = pick(list(core.fences), numbers[0])
            kind = (WorkloadStopped, WorkloadExited)[numbers[1] % 2]
            return None if fence is None else kind(workload_id=fence[0], generation=fence[1])
        return self._about_node(name, numbers) or self._about_workload(name, numbers)

    def _reserve(self, numbers: tuple[int, ...]) -> AnyEvent:
        node_id = pick(self._nodes(), numbers[3])
        begin = self.harness.at_ns + (numbers[1] * SECOND_NS if numbers[1] % 2 else 0)
        return ReservationSet(
            reservation_id=f"r{numbers[0] % 3}", tenant=("a", "a", "b")[numbers[2] % 3], start_ns=begin,
            end_ns=begin + (1 + numbers[4] * 5) * SECOND_NS, node_ids=(node_id,) if node_id and numbers[5] % 2 else (),
            node_count=0 if numbers[5] % 2 else 1 + numbers[3] % 2, pool=("", "", "east")[numbers[5] % 3],
            operation_id=self._operation(numbers[4]),
        )  # fmt: skip

    def _join(self, numbers: tuple[int, ...]) -> AnyEvent:
        node_id = self._name("n")
        if numbers[5] == 0:
            node_id = pick(self._nodes(), numbers[4]) or node_id
        return NodeJoined(
            node_id=node_id,
            capacity={"cpu": numbers[0] + 2, "memory": numbers[1] + 2},
            pool=("east", "west")[numbers[2] % 2],
            labels={"zone": "abc"[numbers[3] % 3]},
        )

    def _submit(self, numbers: tuple[int, ...]) -> AnyEvent:
        return WorkloadsSubmitted(
            workload_id=self._name("w"),
            request=(numbers[0] % 7, numbers[1] % 7),
            count=(1, 1, 2, 4)[numbers[2] % 4],
            priority=(0, 0, 3)[numbers[2] % 3],
            pool=("", "", "east")[numbers[3] % 3],
            payloads=PAYLOADS[numbers[4] % len(PAYLOADS)],
            tenant=("", "a", "a/x", "b")[numbers[5] % 4],
            estimate_ns=None if numbers[1] % 5 == 0 else 7 * numbers[1] * SECOND_NS,
            deadline_ns=None if numbers[3] % 2 else numbers[2] * SECOND_NS,
            gang=numbers[5] % 3 == 1,
            gang_timeout_ns=9 * SECOND_NS if numbers[5] == 7 else None,
            preempts=numbers[5] % 3 != 1 and numbers[2] % 2 == 1,
            app=("", "web")[numbers[3] % 2],
            on_unschedulable=("queue", "queue", "queue", "fail")[numbers[5] % 4],
            on_start_failure=("fail", "retry", "elsewhere")[numbers[4] % 3],
            start_retries=numbers[3] % 4,
            on_node_loss=("reschedule", "reschedule", "lose")[numbers[5] % 3],
            operation_id=self._operation(numbers[3]),
        )

    def _about_node(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        node_id = pick(self._nodes(), numbers[0])
        if node_id is None:
            return None
        capacity = {"cpu": numbers[1] + 1, "memory": numbers[2] + 1}
        if name == "maintenance":
            begin, end = self.harness.at_ns + numbers[1] * SECOND_NS, self.harness.at_ns + 30 * SECOND_NS
            nodes = tuple({node_id, *self._nodes()[:1]})
            return MaintenancePlanned(
                window_id=("m", "o")[numbers[2] % 2], node_ids=tuple(sorted(nodes)), start_ns=begin, end_ns=end,
                drain_ns=numbers[3] * SECOND_NS,
            )  # fmt: skip
        if name == "maintained":
            return MaintenanceCancelled(window_id="m")
        if name == "drain":
            return NodeDrainRequested(node_id=node_id, operation_id=self._operation(numbers[1]))
        if name == "capacity":
            return NodeCapacityChanged(node_id=node_id, capacity=capacity)
        if name == "return":
            return NodeReturned(node_id=node_id, capacity=capacity if numbers[3] % 2 else None)
        if name == "adopt":
            spec = WorkloadsSubmitted(workload_id=self._name("a"), request=(numbers[1] % 5, numbers[2] % 5))
            return WorkloadAdopted(spec=spec, node_id=node_id)
        kinds = {"lost": NodeLost, "cordon": NodeCordoned, "uncordon": NodeUncordoned, "removed": NodeRemoved}
        return kinds[name](node_id=node_id) if name in kinds else None

    def _about_workload(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        everything = list(self.harness.core.workloads.values())
        if name == "any":
            name = list(_USUAL)[numbers[3] % len(_USUAL)]
        elif name in _USUAL:
            everything = [workload for workload in everything if workload.state in _USUAL[name]]
        workload = pick(everything, numbers[0] + 12 * numbers[1])
        if workload is None:
            return None
        workload_id, generation = workload.workload_id, workload.generation
        requests = {"remove": RemovalRequested, "stop": StopRequested, "start": StartRequested}
        if name in requests:
            return requests[name](workload_id=workload_id, operation_id=self._operation(numbers[2]))
        if name == "exit":
            return WorkloadExited(workload_id=workload_id, generation=generation, exit_code=numbers[2] % 2)
        if name == "start failed":
            return WorkloadStartFailed(workload_id=workload_id, generation=generation, reason="injected")
        if name == "stale":
            kind = (WorkloadStarted, WorkloadExited, WorkloadStopped)[numbers[2] % 3]
            return kind(workload_id=workload_id, generation=max(0, generation - 1 - numbers[3] % 2))
        kinds = {"starts": WorkloadStarted, "stops": WorkloadStopped}
        return kinds[name](workload_id=workload_id, generation=generation) if name in kinds else None

"""What happens to a fuzzed world, and when: users, operators and faults, as a feed for the SimPy driver.

Every action has a number, an instant and draws of its own; what it is about is chosen from what there is by then, as
far as anybody outside can know. After the last action the faults end, and what is broken heals.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from backends.sim.driver import Arrival
from eru_sim.fuzz import work
from eru_sim.fuzz.machines import Machines
from eru_sim.fuzz.model.state import State
from eru_sim.fuzz.scenario import POLICIES, QUEUES, Case
from scheduler.assignment import Assignment
from scheduler.config import SECOND_NS
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    DisruptionBudgetSet,
    DissociateRequested,
    MaintenanceCancelled,
    MaintenancePlanned,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeFactsChanged,
    NodeFixRequested,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    PolicyChanged,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    ReservationCancelled,
    ReservationSet,
    StartRequested,
    StopRequested,
    Strategy,
    WorkloadAdopted,
    WorkloadsSubmitted,
)

Item = TypeVar("Item")
Assignments = Callable[[str], dict[str, Assignment] | None]
"""What a running workload has been assigned of particular things, by its id."""

_KINDS: tuple[tuple[str, str, int], ...] = (
    ("submit", "", 14), ("join", "churn", 1), ("remove_node", "churn", 1), ("deploy", "deployments", 4),
    ("remove", "removals", 4), ("stop", "stop_start", 4), ("start", "stop_start", 4), ("dissociate", "dissociate", 2),
    ("adopt", "adoption", 3), ("realloc", "reallocs", 7), ("replace", "replacements", 4), ("budget", "budgets", 2),
    ("drain", "drains", 2), ("cordon", "cordons", 2), ("uncordon", "cordons", 2), ("open", "drains", 2),
    ("capacity", "capacity", 3), ("facts", "facts", 2), ("fix", "fix", 1), ("maintain", "maintenance", 2),
    ("cancel", "maintenance", 1), ("reserve", "reservations", 3), ("unreserve", "reservations", 1),
    ("policy", "policy_changes", 1), ("refusal", "refusals", 2),
    ("lose", "node_loss", 3), ("cut", "partitions", 3), ("flap", "flaps", 2), ("reboot", "reboots", 2),
)  # fmt: skip
"""What can happen, with the feature that it belongs to and how often it does."""

_HEALS = 3


class World:
    """The feed. ``assignments`` is asked about what is to be found again after it was dissociated."""

    def __init__(self, case: Case, state: State, machines: Machines, assignments: Assignments) -> None:
        self.case = case
        self.features = case.features
        self.state = state
        self.machines = machines
        self.happened: dict[str, int] = {}
        """How often what has happened."""
        self.foreign: set[str] = set()
        """What runs that nobody has started."""
        self._assignments = assignments
        self._agenda: list[tuple[int, int, str, Any]] = []
        self._number = 0
        self._is_over = False
        self._ready: deque[Arrival] = deque()
        self._handed: Arrival | None = None
        self._adoptable: list[WorkloadAdopted] = []
        self._plan_all()

    def _plan(self, at_ns: int, kind: str, subject: Any = None) -> None:
        heapq.heappush(self._agenda, (at_ns, self._number, kind, subject))
        self._number += 1

    def _plan_all(self) -> None:
        draw = random.Random(f"start of {self.case.seed}")
        low, high = self.case.scenario.nodes
        for number in range(draw.randint(low, high)):
            self._plan(0, "first nodes", number)
        at_ns = 0
        busy = draw.choice((0.5, 1, 3))
        for number in range(self.case.action_count):
            at_ns += int(random.Random(f"gap {number} of {self.case.seed}").expovariate(1 / busy) * SECOND_NS)
            if "coarse_clock" in self.features:
                at_ns = at_ns // SECOND_NS * SECOND_NS
            if number not in self.case.skip:
                self._plan(at_ns, "action", number)
        self._plan(at_ns + 300 * SECOND_NS, "heal", 0)

    # -- the feed -----------------------------------------------------------------------------------------------------

    def feed(self, from_ns: int = 0) -> Iterator[Arrival]:
        """What happens from an instant on. A driver reads one arrival ahead; the next one finds that again."""
        while True:
            if self._handed is not None:
                self._ready.appendleft(self._handed)
                self._handed = None
            while not self._ready:
                if not self._agenda:
                    return
                at_ns, _, kind, subject = heapq.heappop(self._agenda)
                from_ns = max(from_ns, at_ns)
                self._ready.extend(Arrival(from_ns, event) for event in self._events(from_ns, kind, subject))
            arrival = self._ready.popleft()
            from_ns = max(from_ns, arrival.at_ns)
            self._handed = msgspec.structs.replace(arrival, at_ns=from_ns)
            yield self._handed
            self._handed = None

    def retry(self, at_ns: int, events: Iterable[AnyEvent]) -> None:
        """These events were lost with the core. What is known of nodes is told again, users may ask again or not."""
        for event in events:
            if event.origin == "exogenous":
                is_told_again = (
                    self._is_over or hasattr(event, "node_id") or self._draw(f"retry {self._number}").random() < 0.5
                )
                if is_told_again:
                    self._plan(at_ns, "events", [event])

    def dispose(self, at_ns: int) -> None:
        """Have everything removed."""
        self._handed = None
        self._is_over = True
        self._plan(at_ns, "events", [RemovalRequested(workload_id=name) for name in list(self.state.work)])

    def _draw(self, text: str) -> random.Random:
        return random.Random(f"{text} of {self.case.seed}")

    def _events(self, at_ns: int, kind: str, subject: Any) -> Sequence[AnyEvent]:
        if kind == "first nodes":
            return [work.node(f"n{subject}", self._draw(f"node {subject}"), self.features)]
        if kind == "events":
            return list(subject)
        if kind == "return":
            return self._come_back(subject)
        if kind == "heal":
            return self._heal(at_ns, subject)
        if kind == "repeat":
            return self._repeat(subject)
        return self._act(at_ns, subject)

    # -- faults of machines -------------------------------------------------------------------------------------------

    def _come_back(self, node_id: str) -> list[AnyEvent]:
        if node_id not in self.machines.cut or node_id not in self.state.nodes:
            return []
        del self.machines.cut[node_id]
        return [*self._returned(node_id), *self.machines.report(node_id)]

    def _returned(self, node_id: str) -> list[AnyEvent]:
        return [NodeReturned(node_id=node_id)] if self.state.nodes[node_id].state == "lost" else []

    def _heal(self, at_ns: int, times: int) -> list[AnyEvent]:
        """All faults are over. Who has been cut off comes back, and tells how things are.

        Several times: what was under way the first time is known only later. The refusal keeps the times apart.
        """
        if self._agenda:
            self._plan(max(entry[0] for entry in self._agenda) + SECOND_NS, "heal", 0)
            return []
        if times < _HEALS:
            self._plan(at_ns + SECOND_NS, "heal", times + 1)
        self.machines.faults = frozenset()
        events: list[AnyEvent] = [MaintenanceCancelled(window_id="nothing")]
        for node_id in self.state.nodes:
            self.machines.cut.pop(node_id, None)
            events += [*self._returned(node_id), *self.machines.report(node_id)]
        return events

    def _cut(self, at_ns: int, node_id: str, draw: random.Random, how: str) -> list[AnyEvent]:
        if node_id in self.machines.cut or self.state.nodes[node_id].state == "lost":
            return []
        self.machines.note(how)
        lease_ns, lasts_ns = int(draw.uniform(1, 8) * SECOND_NS), int(draw.uniform(1, 90) * SECOND_NS)
        if how == "node_loss":
            self.machines.crash(node_id)
            lasts_ns += lease_ns
        else:
            self.machines.cut[node_id] = "partition"
        if lasts_ns >= lease_ns:
            self._plan(at_ns + lease_ns, "events", [NodeLost(node_id=node_id)])
        self._plan(at_ns + lasts_ns + 1, "return", node_id)
        return []

    def _flap(self, at_ns: int, node_id: str, draw: random.Random) -> list[AnyEvent]:
        """The core thinks that a machine is gone, again and again; it is not."""
        if node_id in self.machines.cut:
            return []
        self.machines.note("flaps")
        for number in range(draw.randint(1, 3)):
            later_ns = at_ns + 2 * number * SECOND_NS
            self._plan(later_ns + draw.randint(0, SECOND_NS), "events", [NodeLost(node_id=node_id)])
            self._plan(later_ns + draw.randint(0, 2 * SECOND_NS), "events", [NodeReturned(node_id=node_id)])
        return []

    # -- actions ------------------------------------------------------------------------------------------------------

    def _act(self, at_ns: int, number: int) -> Sequence[AnyEvent]:
        draw = self._draw(f"action {number}")
        drawn = self.case.drawn
        kinds = [(kind, feature, weight) for kind, feature, weight in _KINDS if feature in ("", *drawn)]
        kind, feature, _ = draw.choices(kinds, [weight for _, _, weight in kinds])[0]
        if feature and feature not in self.features:
            return []
        events = self._do(kind, number, at_ns, draw)
        if events:
            self.happened[kind] = self.happened.get(kind, 0) + 1
            if "repeats" in self.features and (again := self._draw(f"repeat {number}")).random() < 0.3:
                later_ns = at_ns + again.choice((0, 1, 20)) * SECOND_NS
                self._plan(later_ns, "repeat", events[0])
        return events

    def _repeat(self, event: AnyEvent) -> list[AnyEvent]:
        """A user who waits asks again under the same id. What has once been started is never submitted anew."""
        operation = self.state.operations.get(getattr(event, "operation_id", ""))
        if operation is None or operation.state != "open":
            return []
        if isinstance(event, WorkloadsSubmitted):
            copies = [
                w for w in self.state.work.values() if w.spec is event and w.state == "queued" and not w.generation
            ]
            if len(copies) < event.count or event.gang_timeout_ns is not None:
                return []
        self.machines.note("repeats")
        return [event]

    def _do(self, kind: str, number: int, at_ns: int, draw: random.Random) -> Sequence[AnyEvent]:
        operation_id = f"op{number}"
        if kind == "submit":
            asked = draw.random() < 0.6
            return [work.spec(f"w{number}", operation_id if asked else "", draw, self.features, at_ns=at_ns)]
        if kind == "deploy":
            return self._deploy(number, at_ns, draw)
        if kind == "join":
            return [work.node(f"m{number}", draw, self.features)]
        if kind == "policy":
            name, queue, changes = draw.choice(POLICIES), draw.choice(QUEUES), draw.random() < 0.5
            return [PolicyChanged(name=name, queue=queue if changes and "discipline" in self.features else None)]
        if kind == "budget":
            most = draw.choice((None, 0, 1, 2))
            key = draw.choice(({"app": "web"}, {"job_id": "batch"}))
            return [DisruptionBudgetSet(**key, unavailable_max=most)]
        if kind == "cancel":
            window_id = self._pick(self.state.windows, draw)
            return [] if window_id is None else [MaintenanceCancelled(window_id=window_id)]
        if kind == "unreserve":
            reservation_id = self._pick(self.state.reservations, draw)
            return [] if reservation_id is None else [ReservationCancelled(reservation_id=reservation_id)]
        if kind == "reserve":
            return self._reserve(number, at_ns, draw)
        if kind == "refusal":
            return self._nonsense(number, draw)
        if kind in ("remove", "stop", "start", "dissociate", "realloc", "replace"):
            return self._about_work(kind, operation_id, draw)
        node_id = self._pick(self.state.nodes, draw)
        return [] if node_id is None else self._about_node(kind, node_id, number, at_ns, draw)

    def _pick(self, items: Iterable[Item], draw: random.Random) -> Item | None:
        """One of the items; the draw is the same however many there are."""
        share, found = draw.random(), list(items)
        return found[int(share * len(found))] if found else None

    def _deploy(self, number: int, at_ns: int, draw: random.Random) -> list[AnyEvent]:
        spec = work.spec(f"d{number}", f"op{number}", draw, self.features, at_ns=at_ns)
        spec = msgspec.structs.replace(
            spec, count=draw.choice((1, 2, 4, 6)), gang=False, gang_timeout_ns=None, preempts=False
        )
        strategies: tuple[Strategy, ...] = ("auto", "fill", "each", "global", "drained")
        strategy, limit, some = draw.choice(strategies), draw.choice((0, 0, 2)), draw.random()
        nodes = list(self.state.nodes)
        return [
            DeploymentRequested(
                spec=spec,
                strategy=strategy,
                nodes_limit=limit,
                node_ids=tuple(nodes[::2]) if some < 0.2 else (),
                excluded_node_ids=tuple(nodes[:1]) if some > 0.8 else (),
            )
        ]

    def _reserve(self, number: int, at_ns: int, draw: random.Random) -> list[AnyEvent]:
        tenant, begin, lasts = draw.choice(("a", "a/x", "b")), draw.uniform(0, 60), draw.uniform(5, 120)
        count, pool, node_id = draw.choice((0, 1, 2)), draw.choice(("", "east")), self._pick(self.state.nodes, draw)
        start_ns = at_ns + int(begin * SECOND_NS)
        return [
            ReservationSet(
                reservation_id=f"reservation{number}",
                tenant=tenant,
                start_ns=start_ns,
                end_ns=start_ns + int(lasts * SECOND_NS),
                node_ids=(node_id,) if node_id is not None and not count else (),
                node_count=count,
                pool=pool if "pools" in self.features else "",
                operation_id=f"op{number}",
            )
        ]

    def _nonsense(self, number: int, draw: random.Random) -> list[AnyEvent]:
        known, operation_id = self._pick(self.state.work, draw) or "nobody", f"op{number}"
        spec = work.spec(known, operation_id, draw, self.features)
        too_much = (1 << 40, *(0,) * (len(spec.request) - 1))
        requests: tuple[AnyEvent, ...] = (
            msgspec.structs.replace(spec, count=1),
            msgspec.structs.replace(spec, workload_id=f"w{number}", count=0),
            RemovalRequested(workload_id="nobody", operation_id=operation_id),
            NodeDrainRequested(node_id="nowhere", operation_id=operation_id),
            NodeReturned(node_id="nowhere"),
            StartRequested(workload_id=known, operation_id=operation_id),
            ReplaceRequested(operation_id=operation_id, image="", app="web"),
            ReallocRequested(workload_id=known, request=too_much, operation_id=operation_id),
        )
        return [draw.choice(requests)]

    def _about_work(self, kind: str, operation_id: str, draw: random.Random) -> Sequence[AnyEvent]:
        usual = {"stop": ("starting", "running"), "start": ("stopped",), "realloc": ("running", "stopped"),
                 "dissociate": ("running",), "replace": ("running",)}.get(kind)  # fmt: skip
        anybody = draw.random() < 0.1
        names = [name for name, w in self.state.work.items() if anybody or usual is None or w.state in usual]
        name = self._pick(names, draw)
        if kind == "replace":
            return self._replace(operation_id, names, draw)
        if name is None:
            return []
        if kind == "realloc":
            return [work.realloc(name, operation_id, self.state.work[name].spec, draw)]
        if kind == "dissociate":
            self._remember(name)
            return [DissociateRequested(workload_id=name, operation_id=operation_id)]
        asked = operation_id if draw.random() < 0.7 else ""
        if kind == "remove":
            return [RemovalRequested(workload_id=name, operation_id=asked)]
        if kind == "stop":
            return [StopRequested(workload_id=name, operation_id=asked)]
        return [StartRequested(workload_id=name, operation_id=asked)]

    def _replace(self, operation_id: str, names: Sequence[str], draw: random.Random) -> list[AnyEvent]:
        app, step, image = draw.choice(("", "web", "db")), draw.choice((1, 2, 3)), draw.choice(work.IMAGES)
        gate, timeout, template = draw.choice(("started", "healthy")), draw.uniform(2, 20), draw.choice(("", "t2"))
        chosen = draw.sample(range(8), 3)
        ids = tuple(names[place] for place in chosen if place < len(names))
        return [
            ReplaceRequested(
                operation_id=operation_id,
                image=image,
                template=template,
                app=app,
                workload_ids=() if app else ids,
                step=step,
                gate=gate if "gates" in self.features else "started",  # type: ignore[arg-type]
                gate_timeout_ns=int(timeout * SECOND_NS),
            )
        ]

    def _remember(self, name: str) -> None:
        """What is left running may be found later, with what it has."""
        known = self.state.work[name]
        if known.state == "running" and known.update is None and known.generation == 1 and not known.spec.gang:
            spec = msgspec.structs.replace(known.spec, workload_id=name, count=1, operation_id="")
            self._adoptable.append(
                WorkloadAdopted(spec=spec, node_id=known.node_id, assignments=self._assignments(name))
            )

    def _adopt(self, number: int, node_id: str, at_ns: int, draw: random.Random) -> list[AnyEvent]:
        operation_id, again = f"op{number}", draw.random() < 0.5
        spec = work.spec(f"a{number}", operation_id, draw, self.features, at_ns=at_ns, is_plain=True)
        if again and self._adoptable:
            adopted = self._adoptable.pop(0)
            key = (adopted.spec.workload_id, 1)
            instance = self.machines.instances.get(key)
            if key[0] in self.state.work or instance is None or instance.state != "running":
                return []
            left = self.state.left_running.get(key[0])
            if left is None or not _asks_alike(left[0].spec, adopted.spec):
                return []  # it was changed between then and when it was left
            spec = msgspec.structs.replace(adopted.spec, operation_id=operation_id)
            return [msgspec.structs.replace(adopted, spec=spec)]
        self.foreign.add(spec.workload_id)
        self.machines.found(spec.workload_id, node_id, {})
        return [WorkloadAdopted(spec=spec, node_id=node_id)]

    def _about_node(self, kind: str, node_id: str, number: int, at_ns: int, draw: random.Random) -> Sequence[AnyEvent]:
        operation_id = f"op{number}"
        if kind == "lose":
            return self._cut(at_ns, node_id, draw, "node_loss")
        if kind == "cut":
            return self._cut(at_ns, node_id, draw, "partitions")
        if kind == "flap":
            return self._flap(at_ns, node_id, draw)
        if kind == "reboot":
            if node_id in self.machines.cut:
                return []
            self.machines.note("reboots")
            return self.machines.reboot(node_id)
        if kind == "adopt":
            return self._adopt(number, node_id, at_ns, draw) if node_id not in self.machines.cut else []
        if kind == "remove_node":
            if len(self.state.nodes) < 2:
                return []
            self.machines.remove(node_id)
            return [NodeRemoved(node_id=node_id)]
        if kind == "capacity":
            is_delta = draw.random() < 0.3
            amounts = {"memory": draw.choice((-10, 10))} if is_delta else work.capacity(draw, self.features)
            return [
                NodeCapacityChanged(node_id=node_id, capacity=amounts, is_delta=is_delta, operation_id=operation_id)
            ]
        if kind == "facts":
            labels, taints = work.facts(draw, self.features)
            return [NodeFactsChanged(node_id=node_id, labels=labels, taints=taints)]
        if kind == "maintain":
            return self._maintain(node_id, number, at_ns, draw)
        if kind == "drain":
            return [NodeDrainRequested(node_id=node_id, operation_id=operation_id if draw.random() < 0.8 else "")]
        if kind == "fix":
            return [NodeFixRequested(node_id=node_id, operation_id=operation_id)]
        return [NodeCordoned(node_id=node_id) if kind == "cordon" else NodeUncordoned(node_id=node_id)]

    def _maintain(self, node_id: str, number: int, at_ns: int, draw: random.Random) -> list[AnyEvent]:
        begin, lasts, before = draw.uniform(0, 60), draw.uniform(5, 90), draw.uniform(0, 30)
        other = self._pick(self.state.nodes, draw)
        start_ns = at_ns + int(begin * SECOND_NS)
        return [
            MaintenancePlanned(
                window_id=f"window{number}",
                node_ids=tuple(dict.fromkeys((node_id, *filter(None, [other])))),
                start_ns=start_ns,
                end_ns=start_ns + int(lasts * SECOND_NS),
                drain_ns=int(before * SECOND_NS),
            )
        ]


def _asks_alike(one: WorkloadsSubmitted, other: WorkloadsSubmitted) -> bool:
    return (one.request, one.payloads) == (other.request, other.payloads)

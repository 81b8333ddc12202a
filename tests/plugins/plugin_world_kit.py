"""Random event sequences over all built-in plugins together, and over everything that a core can be told.

A sequence is a list of moves, each a name and a few small integers that are interpreted against what exists by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import strategies as st
from moves_kit import POLICIES, Move, pick
from plugin_accountant_kit import POINTS, SHARE_BASE, Accountant

from scheduler.commands import AnyCommand, StartWorkload
from scheduler.config import CPU, MEMORY, SECOND_NS, CoreConfig, PluginConfig, PolicyConfig
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    DissociateRequested,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeFactsChanged,
    NodeFixRequested,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    NodeUncordoned,
    PolicyChanged,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    Strategy,
    TimerFired,
    WorkloadAdopted,
    WorkloadExited,
    WorkloadHealthChanged,
    WorkloadsSubmitted,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.lifecycle import State
from scheduler.plugins.affinity import AffinityPlugin
from scheduler.plugins.cpu import CpuPlugin
from scheduler.plugins.curve import CurvePlugin
from scheduler.plugins.gpu import GpuPlugin
from scheduler.plugins.images import ImagesPlugin
from scheduler.plugins.labels import LabelsPlugin
from scheduler.plugins.licences import LicencesPlugin
from scheduler.plugins.storage import StoragePlugin
from scheduler.plugins.taints import TaintsPlugin
from scheduler.ports import Dimension, ResourcePlugin
from scheduler.strategies import StrategyError
from scheduler.testing import Harness
from scheduler.workload import Workload

LICENCES = {"matlab": 3, "spice": 1}
DIMENSIONS = (CPU, MEMORY, Dimension("storage", "bytes"), Dimension("gpu", "milli"))
STRATEGIES: tuple[Strategy, ...] = ("auto", "fill", "each", "global", "drained")


def make_plugins(max_share: int = -1) -> list[ResourcePlugin]:
    """New plugins of every kind that there is."""
    return [
        AffinityPlugin(levels=("node", "rack")),
        CpuPlugin(share_base=SHARE_BASE, max_share=max_share),
        CurvePlugin(points=POINTS, names=("cpu", "net")),
        GpuPlugin(),
        ImagesPlugin(),
        LabelsPlugin(),
        LicencesPlugin(LICENCES),
        StoragePlugin(),
        TaintsPlugin(),
    ]


def make_config(
    policy: str = "first-fit",
    scheduling_pass: Any = "instant",
    overcommit: Mapping[str, float] | None = None,
    max_share: int = -1,
    **fields: Any,
) -> CoreConfig:
    """A configuration for `make_plugins` of the same ``max_share``."""
    return CoreConfig(
        dimensions=DIMENSIONS,
        plugins=tuple(PluginConfig(plugin.name, params=plugin.get_params()) for plugin in make_plugins(max_share)),
        policy=PolicyConfig(policy),
        scheduling_pass=scheduling_pass,
        overcommit=overcommit or {},
        deadline_ns=100 * SECOND_NS,
        **fields,
    )


def plugins_of(config: CoreConfig) -> list[ResourcePlugin]:
    """New plugins that fit the configuration."""
    params = next(plugin.params for plugin in config.plugins if plugin.name == "cpu")
    return make_plugins(params["max_share"])


CONFIGS: st.SearchStrategy[CoreConfig] = st.builds(
    make_config,
    policy=st.sampled_from(POLICIES),
    scheduling_pass=st.sampled_from(["instant", "event"]),
    overcommit=st.sampled_from([{}, {"memory": 1.5, "cpu": 2.0}]),
    max_share=st.sampled_from([-1, -1, 1]),
    cache_bytes=st.sampled_from([1 << 20, 0]),
)

# -- what there is to choose from -------------------------------------------------------------------------------------

_DISKS = [
    {"device": "/dev/sda", "mounts": ["/a"], "read_iops": 100, "write_iops": 100, "read_bps": 900, "write_bps": 900},
    {"device": "/dev/sdb", "mounts": ["/b", "/logs"], "read_iops": 40, "write_iops": 60, "read_bps": 500},
]
_GPU_DEVICES = [
    {"id": "0", "model": "V100", "memory": 32, "link": "x"},
    {"id": "1", "model": "V100", "memory": 32, "link": "x"},
    {"id": "2", "model": "T4", "memory": 16, "numa": 0},
    {"id": "3", "model": "P100"},
]
NODE_RESOURCES: dict[str, tuple[Any, ...]] = {
    "cpu": (
        {"cores": 4},
        {"cores": 4, "numa": ["0-1", "2-3"], "numa_memory": [40, 30], "memory": 70},
        None,
        {"cores": {"0": 200, "1": 250, "2": 150, "3": 50}},
        {"cores": 6, "numa": {"0": "0-2", "1": [3, 4, 5]}},
        {"cores": 2, "share": 150, "memory": 30},
    ),
    "storage": (
        {"volumes": {"/d0": 100, "/d1": 60}},
        {"volumes": {"/a/d0": 80, "/a/d1": 80, "/b/d2": 50}, "disks": _DISKS, "storage": 50},
        None,
        {"storage": 60},
        {"volumes": {"/a/d0": 60, "/d1": 40, "/d2": 40}, "disks": _DISKS[:1]},
    ),
    "gpu": (
        {"devices": _GPU_DEVICES},
        None,
        {"prod_count_map": {"V100": 2, "T4": 2}},
        {"model": "V100", "count": 4, "memory": 32, "islands": [[0, 1], [2, 3]]},
    ),
    "curve": ({"cpu": 100, "net": [10, 20, 30]}, {"cpu": [50, 80, 50]}, None),
}
NODE_DELTAS: tuple[dict[str, Any], ...] = (
    {"cpu": {"cores": 1}},
    {"cpu": {"cores": -1}},
    {"cpu": {"cores": {"0": 50}}},
    {"cpu": {"memory": -20}},
    {"storage": {"volumes": {"/d0": -40}}},
    {"storage": {"volumes": {"/d1": 30, "/new": 40}}},
    {"storage": {"disks": [{"device": "/dev/sda", "read_iops": -60}], "storage": 20}},
    {"storage": {"remove_disks": ["/dev/sdb"]}},
    {"gpu": {"count": 1}},
    {"gpu": {"count": -1}},
    {"gpu": {"prod_count_map": {"V100": -1, "T4": 1}}},
    {"curve": {"cpu": 10}},
)
_TAINTS: tuple[tuple[str, ...], ...] = ((), (), ("special=yes:NoSchedule",), ("slow=x:PreferNoSchedule",))
_IMAGES: tuple[dict[str, int], ...] = ({}, {"app:1": 100}, {"app:2": 50, "app:1": 100})

_BOUND = {"bind": True, "cpu_request": 1, "memory_request": 10}
_HALF = {"bind": True, "cpu_request": 0.5}
_FRAGMENT = {"bind": True, "cpu_request": 1.3, "memory_request": 5}
_ACROSS = {"bind": True, "cpu_request": 2, "numa_nodes": 2, "memory_request": 13}
_SHARED = {"cpu_request": 1, "cpu_limit": 2, "memory_limit": 20}
_VOLUME = {"volumes": ["AUTO:/data:rw:20"], "storage": 5}
_VOLUMES = {"volumes": ["AUTO:/data:rw:20:10:10:90:0", ":/log:rw:10"]}
_MONOPOLY = {"volumes": ["AUTO:/mono:mrw:30", "AUTO:/more:mrw:10", "AUTO:/data:rw:20"]}
_LOGS = {"volumes": ["/logs/x:/logs:rw:0:20:20:0:0", "AUTO:/any"], "volume_limits": []}
_GPU_SHARE = {"count": 1, "milli": 300, "memory": 8}
_GPU_PAIR = {"count": 2, "models": ["V100"]}
_GPU_CARDS = {"prod_count_map": {"V100": 1, "T4": 1}}
_GPU_GROUPS = {"groups": [{"count": 1}, {"count": 2, "milli": 500, "models": ["T4", "V100"]}]}
_APART = {"labels": {"app": "web"}, "apart": [{"match": {"app": "web"}, "most": 1}]}
_APART_RACK = {"labels": {"app": "db"}, "apart": [{"match": {"app": "web"}, "level": "rack", "most": 1}]}
_SPREAD = {"labels": {"app": "web"}, "spread": [{"match": {"app": "web"}, "level": "rack"}]}
_NEAR = {"labels": {"app": "db"}, "near": [{"match": {"app": "db"}, "level": "rack"}]}
_PREFER = {"prefer_apart": [{"match": {"app": "web"}, "level": "rack"}], "prefer_near": [{"match": {"app": "db"}}]}
_TOLERANT = {"tolerations": [{"key": "special", "value": "yes"}]}
PAYLOADS: tuple[dict[str, Any] | None, ...] = (
    {"cpu": _BOUND},
    {"cpu": _SHARED, "storage": _VOLUME},
    {"cpu": _HALF, "curve": {"cpu": [10, 20, 10]}},
    {"storage": _MONOPOLY},
    {"cpu": _FRAGMENT, "gpu": _GPU_SHARE},
    {"gpu": _GPU_PAIR, "cpu": _SHARED},
    {"storage": _VOLUMES, "cpu": _BOUND},
    {"cpu": {}, "affinity": _APART},
    {"cpu": _ACROSS},
    {"gpu": _GPU_CARDS, "curve": {"cpu": 30, "net": 5}},
    None,
    {"gpu": _GPU_GROUPS},
    {"cpu": _SHARED, "affinity": _SPREAD, "labels": {"zone": ["a", "b"]}},
    {"storage": _LOGS, "licences": {"matlab": 1}},
    {"cpu": _HALF, "affinity": _APART_RACK, "storage": _VOLUME},
    {"affinity": _NEAR, "gpu": _GPU_SHARE, "taints": _TOLERANT},
    {"affinity": _PREFER, "cpu": _HALF, "images": {"images": ["app:1"]}},
    {"cpu": _BOUND, "gpu": _GPU_SHARE, "storage": _VOLUME, "curve": {"cpu": 10}, "licences": {"spice": 1}},
    {"taints": _TOLERANT, "cpu": _FRAGMENT, "images": {"images": {"app:1": 100, "app:2": 50}}},
)
CHANGES: dict[str, tuple[Any, ...]] = {
    "cpu": (
        {"cpu_request": 1, "keep_bind": True},
        {},
        {"bind": True, "cpu_request": 0.5},
        {"memory_request": 7, "keep_bind": True},
        {"cpu_request": -0.5, "keep_bind": True},
        {"cpu_request": 0.2, "cpu_limit": 0.5},
        {"memory_request": -4, "memory_limit": -4},
    ),
    "storage": (
        {"volumes": ["AUTO:/data:rw:10"]},
        {"volumes": ["AUTO:/data:rw:-10", "AUTO:/new:rw:15"]},
        {"volumes": ["AUTO:/mono:mrw:20"], "storage": 5},
        {"volumes": ["AUTO:/mono:mrw:-40", "AUTO:/data:rw:0:5:5:0:0"]},
        {"volumes": ["AUTO:/fresh:mrw:5"]},
        {"storage": -5},
    ),
    "gpu": ({"count": 1}, {"count": -1}, {"milli": 200}, {"prod_count_map": {"T4": 1}}, {"memory": 4, "milli": -100}),
    "labels": ({"zone": ["a"]},),
}
_WEIGHTED = (
    ["submit"] * 8 + ["deploy"] * 5 + ["starts"] * 12 + ["stops"] * 6 + ["exit"] * 4 + ["realloc"] * 7
    + ["updated"] * 6 + ["update failed"] * 2 + ["replace"] * 4 + ["rollout"] * 8 + ["start failed"] * 2 + ["again"] * 3
    + ["stop", "start", "stop", "start", "remove", "remove", "dissociate", "adopt", "adopt again", "adopt again"]
    + ["join", "join", "lost", "return", "return", "removed", "drain", "cordon", "uncordon", "uncordon", "unfence"]
    + ["capacity", "capacity", "delta", "delta", "resources", "resources", "facts", "facts", "fix"]
    + ["policy", "ask", "ask", "timers", "timers", "timers", "later", "later", "any"]
)  # fmt: skip
_USUAL = {
    "starts": (State.STARTING,),
    "start failed": (State.STARTING,),
    "exit": (State.RUNNING, State.STOPPING),
    "stops": (State.STOPPING,),
    "stop": (State.RUNNING, State.STARTING),
    "start": (State.STOPPED,),
    "realloc": (State.RUNNING, State.STOPPED),
    "dissociate": (State.RUNNING, State.STARTING, State.STOPPED),
    "healthy": (State.RUNNING,),
}
"""What a move usually happens to; the move "any" does one of them to anything."""
_NUMBERS = st.tuples(*[st.integers(0, 11)] * 7)
MOVES: st.SearchStrategy[list[Move]] = st.builds(
    list.__add__,
    st.lists(st.tuples(st.sampled_from(["join", "join", "submit"]), _NUMBERS), min_size=4, max_size=9),
    st.lists(st.tuples(st.sampled_from(_WEIGHTED), _NUMBERS), min_size=30, max_size=110),
)


# -- the world --------------------------------------------------------------------------------------------------------


class PluginWorld:
    """One harness with all plugins, its accountant, and the translation of moves into events."""

    def __init__(self, config: CoreConfig) -> None:
        self.harness = Harness(config, plugins=plugins_of(config))
        self.accountant = Accountant(config)
        self.expected: dict[str, int | None] = {}
        """How many results each operation has to bring; None for one or more."""
        self._answers: list[AnyEvent] = []
        self._left_running: list[WorkloadAdopted] = []
        self._count = 0

    def step(self, *events: AnyEvent, at_ns: int | None = None) -> list[AnyCommand]:
        """Step and check everything that has to hold after every step."""
        batch = list(events)
        commands = self.harness.step(*batch, at_ns=at_ns)
        self.accountant.check(self.harness.core, batch, commands)
        core = self.harness.core
        for node_id in core.cluster.by_id:
            assert core.inspect(node_id) == [], node_id
        for event in batch:
            self._expect(event, commands)
        self._answers += [event for event in batch if event.origin == "completion"]
        return commands

    def _expect(self, event: AnyEvent, commands: Sequence[AnyCommand]) -> None:
        operation_id = getattr(event, "operation_id", "")
        if isinstance(event, WorkloadsSubmitted) and event.operation_id:
            self.expected[event.operation_id] = event.count
        elif isinstance(event, DeploymentRequested) and event.spec.operation_id:
            copies = [c for c in commands if isinstance(c, StartWorkload) and _is_copy(c, event.spec.workload_id)]
            self.expected[event.spec.operation_id] = max(1, len(copies))
        elif isinstance(event, WorkloadAdopted) and event.spec.operation_id:
            self.expected[event.spec.operation_id] = 1
        elif isinstance(event, ReplaceRequested):
            self.expected[operation_id] = len(event.workload_ids) or None
        elif operation_id:
            self.expected[operation_id] = 1

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _operation(self, number: int) -> str:
        return "" if number % 2 else self._name("op")

    def batch(self, moves: Sequence[Move]) -> tuple[int, list[AnyEvent]]:
        """The events of some moves as one batch, and its instant."""
        events: list[AnyEvent] = []
        later_ns = 0
        for name, numbers in moves:
            if name == "later":
                later_ns += (numbers[0] * numbers[1]) * SECOND_NS
            elif name == "ask":
                self._ask(numbers)
            else:
                event = self._event(name, numbers)
                if event is not None:
                    events.append(event)
        at_ns = self.harness.at_ns + later_ns
        due = self.harness.core.next_wakeup_ns
        if due is not None and due <= at_ns:
            events.append(TimerFired())
        return at_ns, events

    def _ask(self, numbers: tuple[int, ...]) -> None:
        """Questions change nothing."""
        spec = self._spec(numbers, "asked")
        core = self.harness.core
        core.plan(spec)
        core.capacity(spec)
        with suppress(StrategyError):
            core.plan_deployment(DeploymentRequested(spec=spec, strategy=STRATEGIES[numbers[5] % 5]))

    def _event(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        core = self.harness.core
        if name == "join":
            return self._join(numbers)
        if name == "submit":
            return self._spec(numbers, self._name("w"), self._operation(numbers[6]))
        if name == "deploy":
            return self._deploy(numbers)
        if name == "policy":
            return PolicyChanged(name=POLICIES[numbers[0] % len(POLICIES)])
        if name == "timers":
            self.harness.at_ns = max(self.harness.at_ns, core.next_wakeup_ns or 0)
            return None
        if name == "again":
            return pick(self._answers, numbers[0] + 12 * numbers[1])
        if name == "unfence":
            fence = pick(list(core.fences), numbers[0])
            kind = (WorkloadStopped, WorkloadExited)[numbers[1] % 2]
            return None if fence is None else kind(workload_id=fence[0], generation=fence[1])
        if name == "adopt again":
            return self._adopt_again(numbers)
        return self._about_node(name, numbers) or self._about_workload(name, numbers)

    def _nodes(self) -> list[str]:
        return list(self.harness.core.cluster.by_id)

    def _join(self, numbers: tuple[int, ...]) -> AnyEvent:
        node_id = self._name("n")
        if numbers[5] == 0:
            node_id = pick(self._nodes(), numbers[4]) or node_id
        resources = {
            name: choices[numbers[place] % len(choices)]
            for place, (name, choices) in enumerate(NODE_RESOURCES.items())
            if choices[numbers[place] % len(choices)] is not None
        }
        labels = {"zone": "abc"[numbers[4] % 3]}
        if numbers[4] % 4 == 0:
            labels["gpu_model"] = "V100"
        return NodeJoined(
            node_id=node_id,
            capacity={
                "cpu": self._cpu(numbers[5]),
                "memory": 40 + 10 * numbers[6],
                "storage": 10 * (numbers[6] % 3),
                "gpu": 1000 * (numbers[5] % 3),
            },
            pool=("east", "west")[numbers[6] % 2],
            labels=labels,
            topology={"rack": f"r{numbers[5] % 3}"} if numbers[6] % 4 else {},
            resources=resources,
            taints=_TAINTS[numbers[4] % len(_TAINTS)],
            images=_IMAGES[numbers[5] % len(_IMAGES)],
        )

    def _cpu(self, number: int) -> int:
        return 1000 * (number % 6)

    def _spec(self, numbers: tuple[int, ...], workload_id: str, operation_id: str = "") -> WorkloadsSubmitted:
        return WorkloadsSubmitted(
            workload_id=workload_id,
            request=(500 * (numbers[0] % 3), 5 * (numbers[1] % 3), 5 * (numbers[1] % 2), 0),
            count=(1, 1, 2, 4)[numbers[2] % 4],
            priority=(0, 0, 3)[numbers[2] % 3],
            pool=("", "", "", "east")[numbers[3] % 4],
            image=("app:1", "app:2", "")[numbers[3] % 3],
            app=("", "web", "db")[numbers[4] % 3],
            payloads=PAYLOADS[(numbers[4] + 12 * (numbers[5] % 2)) % len(PAYLOADS)],
            on_unschedulable=("queue", "queue", "queue", "fail")[numbers[5] % 4],
            on_start_failure=("fail", "retry", "elsewhere")[numbers[0] % 3],
            start_retries=numbers[1] % 4,
            on_node_loss=("reschedule", "reschedule", "lose")[numbers[2] % 3],
            operation_id=operation_id,
        )

    def _deploy(self, numbers: tuple[int, ...]) -> AnyEvent:
        spec = self._spec(numbers, self._name("d"), self._operation(numbers[6]))
        chosen = self._nodes()[:: 1 + numbers[0] % 3]
        return DeploymentRequested(
            spec=msgspec.structs.replace(spec, count=1 + numbers[3] % 6),
            strategy=STRATEGIES[numbers[6] % 5],
            nodes_limit=(0, 0, 2, 3)[numbers[2] % 4],
            node_ids=tuple(chosen) if numbers[1] % 5 == 1 else (),
            excluded_node_ids=tuple(chosen[:1]) if numbers[1] % 5 == 2 else (),
        )

    def _adopt_again(self, numbers: tuple[int, ...]) -> AnyEvent | None:
        """Adopt, with all it has, what was left running; once only."""
        if not self._left_running:
            return None
        adopted = self._left_running.pop(numbers[0] % len(self._left_running))
        spec = msgspec.structs.replace(
            adopted.spec, workload_id=self._name("b"), count=1, operation_id=self._operation(numbers[1])
        )
        return msgspec.structs.replace(adopted, spec=spec)

    def _about_node(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        node_id = pick(self._nodes(), numbers[0])
        if node_id is None:
            return None
        operation_id = self._operation(numbers[1])
        capacity = {"cpu": self._cpu(numbers[1]), "memory": 20 + 10 * numbers[2], "storage": 10 * (numbers[3] % 3)}
        if name == "drain":
            return NodeDrainRequested(node_id=node_id, operation_id=operation_id)
        if name == "fix":
            return NodeFixRequested(node_id=node_id, operation_id=operation_id)
        if name == "capacity":
            return NodeCapacityChanged(node_id=node_id, capacity=capacity, operation_id=operation_id)
        if name == "delta":
            return NodeCapacityChanged(
                node_id=node_id,
                capacity={"memory": 10 * (numbers[3] % 5 - 2)} if numbers[4] % 2 else None,
                resources=NODE_DELTAS[numbers[2] % len(NODE_DELTAS)],
                is_delta=True,
                operation_id=operation_id,
            )
        if name == "resources":
            plugin = pick(list(NODE_RESOURCES), numbers[2])
            assert plugin is not None
            given = [choice for choice in NODE_RESOURCES[plugin] if choice is not None]
            resources = {plugin: pick(given, numbers[3])}
            return NodeCapacityChanged(node_id=node_id, resources=resources, operation_id=operation_id)
        if name == "facts":
            return self._facts(node_id, numbers)
        if name == "return":
            return NodeReturned(node_id=node_id, capacity=capacity if numbers[3] % 2 else None)
        if name == "adopt":
            spec = self._spec(numbers, self._name("a"), operation_id)
            return WorkloadAdopted(spec=msgspec.structs.replace(spec, count=1), node_id=node_id)
        kinds: dict[str, Callable[..., AnyEvent]]
        kinds = {"lost": NodeLost, "cordon": NodeCordoned, "uncordon": NodeUncordoned, "removed": NodeRemoved}
        return kinds[name](node_id=node_id) if name in kinds else None

    def _facts(self, node_id: str, numbers: tuple[int, ...]) -> AnyEvent:
        labels = {"zone": "abc"[numbers[1] % 3]} | ({"gpu_model": "T4"} if numbers[3] % 2 else {})
        return NodeFactsChanged(
            node_id=node_id,
            labels=labels if numbers[2] % 2 else None,
            taints=_TAINTS[numbers[4] % len(_TAINTS)] if numbers[5] % 2 else None,
            images=_IMAGES[numbers[4] % len(_IMAGES)] if numbers[6] % 2 else None,
        )

    def _about_workload(self, name: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        everything = list(self.harness.core.workloads.values())
        if name == "replace":
            return self._replace(everything, numbers)
        if name == "any":
            name = list(_USUAL)[numbers[3] % len(_USUAL)]
        elif name == "rollout":
            everything = [workload for workload in everything if workload.rollout is not None]
        elif name in ("updated", "update failed"):
            everything = [workload for workload in everything if workload.update is not None]
        elif name in _USUAL:
            everything = [workload for workload in everything if workload.state in _USUAL[name]]
        workload = pick(everything, numbers[0] + 12 * numbers[1])
        if workload is None:
            return None
        operation_id = self._operation(numbers[2])
        if name == "realloc":
            return self._realloc(workload, operation_id, numbers)
        if name == "dissociate":
            self._note_left_running(workload)
        requests: dict[str, Callable[..., AnyEvent]] = {
            "remove": RemovalRequested,
            "stop": StopRequested,
            "start": StartRequested,
            "dissociate": DissociateRequested,
        }
        if name in requests:
            return requests[name](workload_id=workload.workload_id, operation_id=operation_id)
        return _answer(name, workload, numbers)

    def _note_left_running(self, workload: Workload) -> None:
        if workload.row >= 0 and workload.update is None and workload.successor is None:
            node_id = self.harness.core.cluster.nodes[workload.row].node_id
            assignments = dict(workload.assignments or {})
            adopted = WorkloadAdopted(spec=workload.spec, node_id=node_id, assignments=assignments)
            self._left_running.append(adopted)

    def _realloc(self, workload: Workload, operation_id: str, numbers: tuple[int, ...]) -> AnyEvent | None:
        asked = [name for name in CHANGES if name in (workload.spec.payloads or {})]
        payloads = {}
        if asked and numbers[3] % 4:
            for name in {pick(asked, numbers[3]), pick(asked, numbers[4])}:
                assert name is not None
                payloads[name] = pick(CHANGES[name], numbers[5])
        request = (500 * (numbers[4] % 3 - 1), 5 * (numbers[6] % 3 - 1), 0, 0) if numbers[6] % 2 else ()
        return ReallocRequested(
            workload_id=workload.workload_id, request=request, payloads=payloads or None, operation_id=operation_id
        )

    def _replace(self, everything: Sequence[Workload], numbers: tuple[int, ...]) -> AnyEvent | None:
        app = ("", "web", "db")[numbers[0] % 3]
        running = [w.workload_id for w in everything if w.state is State.RUNNING or numbers[6] == 0]
        return ReplaceRequested(
            operation_id=self._name("op"),
            image=("app:1", "app:2", "app:3")[numbers[1] % 3],
            workload_ids=() if app else tuple(running[numbers[5] % 4 :][:3]),
            app=app,
            step=1 + numbers[2] % 2,
            gate=("started", "healthy")[numbers[3] % 2],
            gate_timeout_ns=(20 + numbers[4]) * SECOND_NS,
        )


def _answer(name: str, workload: Workload, numbers: tuple[int, ...]) -> AnyEvent | None:
    """What an engine may say about a workload."""
    workload_id, generation, revision = workload.workload_id, workload.generation, workload.revision
    if name == "rollout":
        usual = {State.STOPPING: "stops", State.STARTING: ("starts", "starts", "start failed")[numbers[3] % 3]}
        name = usual.get(workload.state, "healthy")
    if name == "exit":
        return WorkloadExited(workload_id=workload_id, generation=generation, exit_code=numbers[2] % 2)
    if name == "start failed":
        return WorkloadStartFailed(workload_id=workload_id, generation=generation, reason="injected")
    if name == "healthy":
        return WorkloadHealthChanged(workload_id=workload_id, generation=generation, healthy=numbers[2] % 3 > 0)
    if name == "updated":
        return WorkloadUpdated(workload_id=workload_id, generation=generation, revision=revision)
    if name == "update failed":
        return WorkloadUpdateFailed(workload_id=workload_id, generation=generation, revision=revision, reason="no")
    kinds: dict[str, Callable[..., AnyEvent]] = {"starts": WorkloadStarted, "stops": WorkloadStopped}
    return kinds[name](workload_id=workload_id, generation=generation) if name in kinds else None


def full_node(node_id: str) -> NodeJoined:
    """A node that has something of everything."""
    resources = {name: choices[0] for name, choices in NODE_RESOURCES.items()}
    return NodeJoined(node_id=node_id, capacity={"cpu": 4000, "memory": 100}, resources=resources)


def _is_copy(command: StartWorkload, workload_id: str) -> bool:
    return command.generation == 1 and command.workload_id.startswith(f"{workload_id}/")

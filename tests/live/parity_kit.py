"""A scenario that uses everything, and the two worlds to run it in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from backends.real.driver import DriverOptions, DriverStopped, LiveDriver
from backends.real.gateway import Report
from backends.real.recovery import reconcile, recover
from backends.real.stores.sqlite import SqliteStore
from backends.real.virtual_clock import VirtualClock
from backends.sim.driver import Arrival, SimDriver
from backends.sim.engine import EngineModel, Service, SimulatedEngine
from eru_sim.live.simulated import SimulatedGateway
from scheduler import snapshot
from scheduler.commands import AnyCommand
from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig
from scheduler.core import Core
from scheduler.events import (
    AnyEvent,
    DeploymentRequested,
    DissociateRequested,
    NodeCordoned,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeReturned,
    NodeUncordoned,
    PolicyChanged,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    WorkloadsSubmitted,
)
from scheduler.invariants import check
from scheduler.journal import Header, JournalWriter
from scheduler.plugins.registry import make_plugin
from scheduler.ports import Dimension

SECOND = 1_000_000_000
DIMENSIONS = (CPU, MEMORY, Dimension("storage", "bytes"))
PLUGINS = ("labels", "affinity", "cpu", "storage")
MODEL = EngineModel(
    start_ns=2 * SECOND,
    stop_ns=SECOND,
    update_ns=SECOND,
    healthy_ns=3 * SECOND,
    image_pull_ns=5 * SECOND,
    jitter_ratio=0.5,
    start_failure_ratio=0.15,
    update_failure_ratio=0.2,
    duplicate_completion_ratio=0.05,
    slow_node_ratio=0.2,
    seed=7,
)


def header() -> Header:
    config = CoreConfig(
        dimensions=DIMENSIONS, plugins=tuple(PluginConfig(name) for name in PLUGINS), deadline_ns=60 * SECOND
    )
    return Header(config=config, notes={"scenario": "parity"})


def make_core(header: Header, data: bytes | None) -> Core:
    plugins = [make_plugin(plugin.name, plugin.params) for plugin in header.config.plugins]
    if data is None:
        return Core(header.config, plugins=plugins)
    return snapshot.load(data, plugins=plugins)


def node(number: int) -> NodeJoined:
    cpu = {"cores": 8, "memory": "32G", "numa": {"0": "0-3", "1": "4-7"}}
    storage = {"storage": "500G", "volumes": {"/data0": "200G", "/data1": "100G"}}
    return NodeJoined(node_id=f"n{number}", capacity={}, resources={"cpu": cpu, "storage": storage})


def spec(name: str, count: int, cpu: float, *, bind: bool = False, **fields: Any) -> WorkloadsSubmitted:
    payloads = {"cpu": {"bind": bind, "cpu_request": cpu, "memory_request": "1G"}, **fields.pop("payloads", {})}
    return WorkloadsSubmitted(
        workload_id=name, request=(0, 0, 0), count=count, image=f"{name}:1", payloads=payloads, **fields
    )


def scenario() -> Iterator[Arrival]:
    """Every strategy, reallocs, replacements, loss and return of nodes, drains, removals and a change of policy."""
    service = Service(70 * SECOND)
    plan: list[tuple[float, AnyEvent, Service | None]] = [(0, node(number), None) for number in range(8)]
    for place, strategy in enumerate(("auto", "fill", "each", "global", "drained")):
        count = {"fill": 2, "each": 1}.get(strategy, 6)
        asked = spec(strategy, count, 0.7, bind=place % 2 == 0, app=strategy, operation_id=f"deploy-{strategy}")
        plan.append(
            (1 + place, DeploymentRequested(spec=asked, strategy=strategy, nodes_limit=4 * (place in (1, 2))), None)  # type: ignore[arg-type]
        )
    for number in range(40):
        volumes = {"storage": {"volumes": ["AUTO:/data:rw:1G"]}} if number % 3 == 0 else {}
        work = spec(
            f"job{number}",
            1 + number % 3,
            0.5 + number % 4 / 2,
            bind=number % 2 == 0,
            payloads=volumes,
            operation_id=f"job-{number}",
            on_start_failure=("fail", "retry", "elsewhere")[number % 3],  # type: ignore[arg-type]
            on_exit="hold" if number % 10 == 9 else "end",
            priority=number % 5,
        )
        plan.append((5 + number * 1.5, work, service))
    plan += [
        (20, ReallocRequested(workload_id="auto/0", payloads={"cpu": {"cpu_request": 0.5}}, operation_id="r0"), None),
        (21, ReallocRequested(workload_id="global/1", payloads={"cpu": {"memory_request": "1G"}}), None),
        (25, NodeLost(node_id="n2"), None),
        (26, ReplaceRequested(operation_id="roll", image="auto:2", app="auto", step=2, gate="healthy"), None),
        (27, StopRequested(workload_id="global/0", operation_id="s0"), None),
        (28, NodeLost(node_id="n5"), None),
        (33, PolicyChanged(name="worst-fit"), None),
        (35, StartRequested(workload_id="global/0", operation_id="s1"), None),
        (40, RemovalRequested(workload_id="drained/0", operation_id="rm0"), None),
        (40, RemovalRequested(workload_id="nobody", operation_id="rm1"), None),
        (45, NodeReturned(node_id="n2"), None),
        (46, NodeDrainRequested(node_id="n1", operation_id="drain"), None),
        (48, DissociateRequested(workload_id="drained/1", operation_id="d0"), None),
        (50, NodeCordoned(node_id="n3"), None),
        (60, NodeUncordoned(node_id="n3"), None),
        (61, NodeUncordoned(node_id="n1"), None),
        (70, NodeReturned(node_id="n5"), None),
        (75, PolicyChanged(name="first-fit"), None),
    ]
    plan += [
        (100 + number, RemovalRequested(workload_id=f"{strategy}/{number}"), None)
        for strategy in ("auto", "fill", "each", "global")
        for number in range(4)
    ]
    plan.sort(key=lambda entry: entry[0])
    return (Arrival(round(at_s * SECOND), event, service) for at_s, event, service in plan)


def simulate(model: EngineModel) -> list[bytes]:
    """The journal of the SimPy driver, as lines."""
    lines: list[bytes] = []
    core = make_core(header(), None)
    SimDriver(core, SimulatedEngine(model), JournalWriter(header(), lines.append)).run(scenario())
    assert check(core) is None
    return [line.removesuffix(b"\n") for line in lines]


class Crash(Exception):
    """The process is gone."""


class World(NamedTuple):
    """What outlives the service: clock, machines, and those who ask."""

    clock: VirtualClock
    machines: SimulatedGateway

    @classmethod
    def of(cls, model: EngineModel) -> World:
        clock = VirtualClock()
        return cls(clock, SimulatedGateway(SimulatedEngine(model), clock))


class Crashing:
    """Machines that are not told of the commands of some batches, for the process crashes before."""

    def __init__(self, machines: SimulatedGateway, driver_batches: Any, crash_at: set[int]) -> None:
        self.machines = machines
        self._batches = driver_batches
        self._crash_at = crash_at

    def connect(self, report: Report) -> None:
        self.machines.connect(report)

    def execute(self, commands: Sequence[AnyCommand]) -> None:
        if self._batches() in self._crash_at:
            self._crash_at.discard(self._batches())
            raise Crash
        self.machines.execute(commands)

    async def survey(self) -> Any:
        return await self.machines.survey()


async def live(
    model: EngineModel, directory: Path, crash_at: Sequence[int] = (), snapshot_batches: int = 40
) -> list[bytes]:
    """The journal of the live driver on a virtual clock, as it is in the store; it crashes after so many batches."""
    world = World.of(model)
    crashes = set(crash_at)
    holder: list[LiveDriver] = []
    feed = scenario()

    def arrive(arrival: Arrival) -> None:
        following = next(feed, None)
        holder[-1].offer(world.machines.happen(arrival.event, cast(Service | None, arrival.service)))
        while following is not None and following.at_ns == world.clock.now_ns():
            holder[-1].offer(world.machines.happen(following.event, cast(Service | None, following.service)))
            following = next(feed, None)
        if following is not None:
            arrange(following)

    def arrange(arrival: Arrival) -> None:
        world.clock.call_at(arrival.at_ns, lambda: arrive(arrival))

    first = next(feed)
    arrange(first)
    lives = 0
    while True:
        store = SqliteStore(directory)
        await store.open()
        recovered = await recover(store, header(), make_core)
        gateway = Crashing(world.machines, lambda: holder[-1].journal.batches, crashes)
        driver = LiveDriver(
            recovered.core,
            recovered.header,
            store,
            gateway,
            world.clock,
            resume=recovered.writer,
            options=DriverOptions(snapshot_batches=snapshot_batches),
        )
        holder.append(driver)
        if lives:
            gateway.connect(driver.report)
            await reconcile(recovered, world.machines, driver.report, {})
        lives += 1
        task = asyncio.create_task(driver.run())
        try:
            await driver.settled()
            await world.clock.run(driver.settled)
        except DriverStopped:
            assert isinstance(driver.failure, Crash), driver.failure
            await asyncio.gather(task, return_exceptions=True)
            await store.close()
            continue
        driver.stop()
        await task
        assert check(driver.core) is None
        stored = await store.header()
        assert stored is not None
        lines = [stored, *[line async for line in store.lines(0)]]
        await store.close()
        assert not crashes, "the crashes that were asked for have happened"
        return lines

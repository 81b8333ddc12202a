"""The node's lease, in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

from agent_kit import NODE, SECOND_NS, FakeCore, Node
from virtual_time_kit import begin, let_pass, settle, virtually

from backends.real.agent.agent import Agent
from backends.real.agent.heartbeat import Heartbeat
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import sleep
from backends.real.virtual_clock import VirtualClock


def test_it_beats_at_once_and_then_at_each_interval_with_three_times_the_ttl() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, heartbeat_s=10)
        begin(node.heartbeat.run())
        await let_pass(clock, 60)
        times = [at for at, _, _ in node.core.beats]
        assert times[0] == 0
        assert 0 < times[1] <= 10
        assert {round(b - a, 6) for a, b in pairwise(times[1:])} == {10}
        assert {ttl for _, _, ttl in node.core.beats} == {30}

    virtually(scenario)


def test_nodes_that_began_together_do_not_beat_together() -> None:
    async def scenario(clock: VirtualClock) -> None:
        core = FakeCore(clock)
        for number in range(100):
            begin(Node(clock, node=f"n{number}", core=core).heartbeat.run())
        await let_pass(clock, 40)
        later = {round(at % 10, 3) for at, _, _ in core.beats if at > 0}
        assert len(later) > 90

    virtually(scenario)


def test_a_lease_of_parts_of_a_second_is_rounded_up() -> None:
    clock = VirtualClock()
    heartbeat = Heartbeat(
        NODE, FakeCore(clock), lambda: asyncio.sleep(0), clock, interval_ns=SECOND_NS // 2, telemetry=Telemetry()
    )
    assert heartbeat.ttl_s == 2


def test_no_beat_while_the_engine_does_not_answer() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, heartbeat_s=10)
        begin(node.heartbeat.run())
        await let_pass(clock, 20)
        node.engine.is_silent = True
        beats = len(node.core.beats)
        await let_pass(clock, 35)
        assert len(node.core.beats) == beats
        assert node.core.leases.expired(clock.now_ns()) == [NODE]
        assert node.count("eru_agent_heartbeats_total", result="skipped") >= 3
        node.engine.is_silent = False
        await let_pass(clock, 10)
        assert node.core.leases.is_held(NODE)

    virtually(scenario)


def test_three_tries_with_doubling_pauses() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, heartbeat_s=60)
        tried: list[float] = []

        async def fail(name: str, ttl_s: int) -> None:
            tried.append(clock.now_ns() / SECOND_NS)
            await FakeCore.set_node_status(node.core, name, ttl_s)

        node.core.set_node_status = fail  # type: ignore[method-assign]
        node.core.is_silent = True
        beat = asyncio.create_task(node.heartbeat.beat())
        await let_pass(clock, 10)
        assert tried == [0, 1, 3]
        assert beat.result() is False
        assert node.count("eru_agent_heartbeats_total", result="failed") == 1

    virtually(scenario)


def test_a_release_ends_the_lease_and_nothing_renews_it() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        running = begin(node.heartbeat.run())
        await let_pass(clock, 15)
        await node.heartbeat.release()
        assert not node.core.leases.is_held(NODE)
        await let_pass(clock, 60)
        assert not node.core.leases.is_held(NODE)
        assert running.done()

    virtually(scenario)


def test_a_release_comes_after_the_beat_that_is_under_way() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        arrived: list[int] = []

        async def slow(name: str, ttl_s: int) -> None:
            await let_go.wait()
            arrived.append(ttl_s)

        let_go = asyncio.Event()
        node.core.set_node_status = slow  # type: ignore[method-assign]
        begin(node.heartbeat.run())
        await settle()
        release = begin(node.heartbeat.release())
        await settle()
        assert arrived == []
        let_go.set()
        await release
        assert arrived == [30, -1]

    virtually(scenario)


def test_it_tells_when_a_lapsed_lease_has_returned() -> None:
    async def scenario(clock: VirtualClock) -> None:
        returns: list[float] = []
        node = Node(clock)
        node.heartbeat._on_return = lambda: returns.append(clock.now_ns() / SECOND_NS)
        begin(node.heartbeat.run())
        await let_pass(clock, 100)
        assert returns == []
        node.core.is_silent = True
        await let_pass(clock, 40)
        node.core.is_silent = False
        await let_pass(clock, 15)
        assert len(returns) == 1
        await let_pass(clock, 100)
        assert len(returns) == 1

    virtually(scenario)


def test_a_part_that_fails_begins_anew_and_the_others_go_on() -> None:
    class Faulty:
        runs = 0

        async def run(self) -> None:
            self.runs += 1
            if self.runs < 3:
                raise RuntimeError("a fault")
            await asyncio.Event().wait()

    async def scenario(clock: VirtualClock) -> None:
        node, faulty = Node(clock), Faulty()
        agent = Agent(
            clock, heartbeat=node.heartbeat, workloads=None, others={"faulty": faulty}, telemetry=node.telemetry
        )
        running = begin(agent.run())
        await let_pass(clock, 60)
        assert faulty.runs == 3
        assert len(node.core.beats) > 5
        assert node.count("eru_agent_faults_total", part="faulty") == 2
        agent.stop(ends_lease=False)
        await running
        assert node.core.leases.is_held(NODE)

    virtually(scenario)


def test_check_10_of_5000_nodes_those_whose_agents_are_killed_are_down_and_no_others() -> None:
    async def scenario(clock: VirtualClock) -> None:
        interval_s, core, telemetry = 60, FakeCore(clock), Telemetry()
        down: dict[str, float] = {}

        async def watch_leases() -> None:
            """The one that marks nodes down, as the service does: by the table's next expiry."""
            while True:
                at_ns = core.leases.next_expiry_ns
                await sleep(clock, SECOND_NS if at_ns is None else at_ns - clock.now_ns())
                for node in core.leases.expired(clock.now_ns()):
                    down[node] = clock.now_ns() / SECOND_NS

        def agent(name: str) -> Agent:
            heartbeat = Heartbeat(name, core, answer, clock, interval_ns=interval_s * SECOND_NS, telemetry=telemetry)
            return Agent(clock, heartbeat=heartbeat, workloads=None, others={}, telemetry=telemetry)

        async def answer() -> None:
            pass

        names = [f"n{number:04d}" for number in range(5_000)]
        running = {name: begin(agent(name).run()) for name in names}
        watching = begin(watch_leases())
        await let_pass(clock, 300)
        assert len(core.leases) == 5_000
        assert down == {}

        killed = set(Random(10).sample(names, 1_500))
        for name in killed:
            running[name].cancel()
        await let_pass(clock, 3 * interval_s)
        assert set(down) == killed
        assert all(300 + 2 * interval_s <= at <= 300 + 3 * interval_s for at in down.values())
        await let_pass(clock, 5 * interval_s)
        assert set(down) == killed

        for name in killed:
            begin(agent(name).run())
        await let_pass(clock, 1)
        assert all(core.leases.is_held(name) for name in names)
        assert not watching.done()

    virtually(scenario)

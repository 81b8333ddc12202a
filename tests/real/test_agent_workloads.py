"""What the agent makes of events, listings and probes, and what it tells the core; in virtual time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from agent_kit import CORE_ID, NODE, Node, checked
from virtual_time_kit import begin, let_pass, settle, virtually

from backends.real.agent.core_client import WorkloadStatus
from backends.real.agent.identity import Identity, identity_of, is_mine
from backends.real.clock import sleep
from backends.real.engines.base import Instance, InstanceBegan, InstanceEnded, NotFound
from backends.real.virtual_clock import VirtualClock


class Follower:
    """A companion that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []

    def attach(self, instance: Instance, identity: Identity, *, is_new: bool) -> None:
        self.calls.append(("attach", instance.workload_id, is_new))

    def detach(self, workload_id: str) -> None:
        self.calls.append(("detach", workload_id, False))


def test_the_first_sweep_reports_everything_that_is_there() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        node.engine.start("b", tells=False, labels=checked())
        node.engine.start("c", tells=False)
        node.engine.end("c", tells=False)
        begin(node.workloads.run())
        await settle()
        states = {name: (status.running, status.healthy) for name, status in node.core.state.items()}
        assert states == {"a": (True, True), "b": (True, True), "c": (False, False)}

    virtually(scenario)


def test_the_first_sweep_waits_for_the_engine() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        node.engine.is_silent = True
        begin(node.workloads.run())
        await let_pass(clock, 12)
        assert node.core.reports == []
        node.engine.is_silent = False
        await let_pass(clock, 5)
        assert node.core.told("a") == [(15, True, True)]

    virtually(scenario)


def test_a_start_is_checked_at_once_and_then_after_1_2_4_and_8_seconds() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await let_pass(clock, 2)
        node.prober.faults["a"] = "not yet"
        node.engine.start("a", labels=checked())
        await let_pass(clock, 40)
        assert [at for at, _ in node.prober.asked] == [2, 3, 5, 9, 17]
        assert node.core.told("a") == [(2, True, False)]

    virtually(scenario)


def test_a_start_that_becomes_healthy_is_checked_no_more() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await settle()
        node.prober.faults["a"] = "not yet"
        node.engine.start("a", labels=checked())
        await let_pass(clock, 2)
        node.prober.faults.clear()
        await let_pass(clock, 40)
        assert [at for at, _ in node.prober.asked] == [0, 1, 3]
        assert node.core.told("a") == [(0, True, False), (3, True, True)]

    virtually(scenario)


def test_a_new_start_cancels_the_rechecks_of_the_old_one() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await settle()
        node.prober.faults["a"] = "never"
        node.engine.start("a", labels=checked())
        await let_pass(clock, 5)
        node.engine.start("a", labels=checked())
        await let_pass(clock, 20)
        assert [at for at, _ in node.prober.asked] == [0, 1, 3, 5, 6, 8, 12, 20]

    virtually(scenario)


def test_an_end_is_reported_at_once() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 7)
        node.engine.end("a", 3)
        await settle()
        assert node.core.told("a") == [(0, True, True), (7, False, False)]
        assert node.core.state["a"].networks == {}

    virtually(scenario)


def test_an_end_of_what_was_never_seen_is_reported() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await let_pass(clock, 1)
        node.engine.start("a", tells=False)
        node.engine.end("a")
        await settle()
        assert node.core.told("a") == [(1, False, False)]

    virtually(scenario)


def test_events_that_come_again_change_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        labels = checked(tcp_ports=(80,), success_threshold=3)
        node.engine.start("a", tells=False, labels=labels)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.engine.tell(InstanceBegan("a", 1))
        node.engine.tell(InstanceEnded("a", 1, 0))
        node.engine.tell(InstanceBegan("a", 1))
        await let_pass(clock, 30)
        assert node.core.told("a") == [(0, True, True)]

    virtually(scenario)


def test_an_end_whose_instance_is_gone_is_believed() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        del node.engine.table["a"]
        node.engine.tell(InstanceEnded("a", 1, 0))
        await settle()
        assert node.core.told("a") == [(0, True, True), (5, False, False)]

    virtually(scenario)


def test_a_restart_that_only_a_listing_shows_has_to_show_its_health() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        labels = checked(tcp_ports=(80,), success_threshold=2)
        node.engine.start("a", tells=False, labels=labels)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.engine.start("a", tells=False, labels=labels)
        await let_pass(clock, 20)
        assert node.core.told("a") == [(0, True, True), (10, True, False), (20, True, True)]

    virtually(scenario)


def test_the_end_of_an_older_generation_is_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", 2, tells=False)
        begin(node.workloads.run())
        await settle()
        node.engine.tell(InstanceEnded("a", 1, 0))
        await let_pass(clock, 5)
        assert node.core.told("a") == [(0, True, True)]

    virtually(scenario)


def test_check_6_an_end_during_a_slow_probe_is_the_last_word() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False, labels=checked())
        begin(node.workloads.run())
        await let_pass(clock, 1)
        node.prober.takes_s["a"] = 8
        await let_pass(clock, 10)
        node.engine.end("a")
        await let_pass(clock, 10)
        assert node.core.told("a")[-1] == (11, False, False)
        assert not node.core.state["a"].running

    virtually(scenario)


def test_check_6_an_end_after_a_slow_write_is_the_last_word_within_an_interval() -> None:
    """The write of "healthy" fails for the agent, and yet arrives later, after that of the end."""

    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        core = node.core
        written: list[tuple[bool, int]] = []
        straggler: list[WorkloadStatus] = []

        async def write(statuses: Any) -> None:
            (status,) = statuses
            if status.running and not straggler:
                straggler.append(status)
                core.is_silent = True
                core._answer()
            written.append((status.running, clock.now_ns()))
            core.state[status.workload_id] = status

        core.set_workloads_status = write  # type: ignore[method-assign]
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await settle()
        node.engine.end("a")
        await let_pass(clock, 3)
        core.state["a"] = straggler[0]
        await let_pass(clock, 10)
        assert not core.state["a"].running
        await let_pass(clock, 100)
        assert len(written) == 2

    virtually(scenario)


def test_an_end_that_nobody_told_is_found_at_the_next_check() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.engine.end("a", tells=False)
        await let_pass(clock, 10)
        assert node.core.told("a") == [(0, True, True), (10, False, False)]

    virtually(scenario)


def test_when_the_events_break_off_everything_is_checked_again() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=1_000)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.engine.break_off()
        await settle()
        node.engine.end("a", tells=False)
        await let_pass(clock, 5)
        assert node.core.told("a")[-1] == (10, False, False)
        assert node.count("eru_agent_event_streams_lost_total") == 1

    virtually(scenario)


def test_check_8_an_unchanged_workload_is_reported_once_in_a_cache_ttl() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=60, cache_ttl_s=300)
        node.engine.start("a", tells=False, labels=checked())
        begin(node.workloads.run())
        await let_pass(clock, 10 * 60)
        times = [at for at, _, _ in node.core.told("a")]
        assert all(later - earlier >= 300 * 7 / 8 for earlier, later in pairwise(times))
        assert all(later - earlier <= 300 * 9 / 8 + 60 for earlier, later in pairwise(times))
        assert 2 <= len(times) <= 3
        assert node.count("eru_agent_reports_total", result="suppressed") == 11 - len(times)

    virtually(scenario)


def test_the_cache_of_many_workloads_does_not_run_out_at_once() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=1, cache_ttl_s=300)
        for number in range(200):
            node.engine.start(f"w{number}", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 340)
        again = {at for at, _ in node.core.reports if at > 0}
        assert min(again) >= 262
        assert max(again) <= 339
        assert len(again) > 40

    virtually(scenario)


def test_a_change_is_reported_whatever_the_cache_says() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False, labels=checked())
        begin(node.workloads.run())
        await let_pass(clock, 15)
        node.prober.faults["a"] = "down"
        await let_pass(clock, 10)
        node.prober.faults.clear()
        await let_pass(clock, 10)
        assert node.core.told("a") == [(0, True, True), (20, True, False), (30, True, True)]

    virtually(scenario)


def test_what_the_core_did_not_take_is_sent_at_the_next_check() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.core.is_silent = True
        node.engine.end("a")
        await let_pass(clock, 10)
        node.core.is_silent = False
        await let_pass(clock, 10)
        assert node.core.told("a")[1] == (20, False, False)
        await let_pass(clock, 100)
        # By then what failed cannot arrive any more.
        assert node.core.told("a")[2:] == []

    virtually(scenario)


def test_the_first_sweep_tries_three_times_to_report() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        node.core.is_silent = True
        begin(node.workloads.run())
        await let_pass(clock, 2)
        node.core.is_silent = False
        await let_pass(clock, 2)
        assert node.core.told("a") == [(3, True, True)]

    virtually(scenario)


def test_after_a_lapse_everything_is_told_again() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 5)
        node.reporter.forget_sent()
        node.workloads.check_soon()
        await settle()
        assert node.core.told("a") == [(0, True, True), (5, True, True)]

    virtually(scenario)


def slowly(clock: VirtualClock, seconds: int) -> Callable[[], Awaitable[None]]:
    return lambda: sleep(clock, seconds * 10**9)


def test_a_listing_that_is_older_than_an_event_is_void() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("ends", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 9)
        node.engine.late = slowly(clock, 3)
        await let_pass(clock, 2)
        # The listing was made, and has not come.
        node.engine.late = None
        node.engine.end("ends")
        node.engine.start("begins")
        await let_pass(clock, 5)
        assert node.core.told("ends") == [(0, True, True), (11, False, False)]
        assert node.core.told("begins") == [(11, True, True)]
        assert node.count("eru_agent_workloads", state="running") == 1

    virtually(scenario)


def test_reports_of_one_workload_arrive_in_order() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.core.slow = lambda status: 3 * 10**9 if status.running else 0
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await let_pass(clock, 1)
        node.engine.end("a")
        await let_pass(clock, 10)
        assert node.core.told("a") == [(3, True, True), (3, False, False)]

    virtually(scenario)


def test_a_probe_of_what_a_listing_shows_as_ended_is_void() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False, labels=checked())
        begin(node.workloads.run())
        await let_pass(clock, 9)
        node.prober.takes_s["a"] = 6
        node.engine.tell(InstanceBegan("a", 1))
        await let_pass(clock, 0.5)
        node.engine.end("a", tells=False)
        await let_pass(clock, 30)
        assert (True, False) not in [told[1:] for told in node.core.told("a")]
        assert node.core.told("a")[-1][1:] == (False, False)
        assert all(not running for at, running, _ in node.core.told("a") if at > 9)

    virtually(scenario)


def test_a_probe_of_what_an_event_says_has_ended_is_void_although_it_is_gone() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False, labels=checked())
        begin(node.workloads.run())
        await let_pass(clock, 9)
        node.prober.takes_s["a"] = 4
        await let_pass(clock, 2)
        del node.engine.table["a"]
        node.engine.tell(InstanceEnded("a", 1, 0))
        await let_pass(clock, 5)
        assert node.core.told("a") == [(0, True, True), (11, False, False)]

    virtually(scenario)


def test_only_one_check_of_a_workload_at_a_time() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("slow", tells=False, labels=checked())
        node.engine.start("quick", tells=False, labels=checked())
        node.prober.takes_s["slow"] = 25
        begin(node.workloads.run())
        for _ in range(3):
            await let_pass(clock, 5)
            node.workloads.check_soon()
            begin(node.workloads.check_all())
        await let_pass(clock, 5)
        asked = [name for _, name in node.prober.asked]
        assert asked.count("slow") == 1
        assert asked.count("quick") >= 3

    virtually(scenario)


def test_thresholds_count_answers_in_a_row() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        labels = checked(tcp_ports=(80,), failure_threshold=3, success_threshold=2)
        node.engine.start("a", tells=False, labels=labels)
        begin(node.workloads.run())
        await settle()
        for faults in ("1 1 0 1 1 1", "0 1 0 0"):
            for fault in faults.split():
                node.prober.faults["a"] = "down" if fault == "1" else ""
                await let_pass(clock, 10)
        assert node.core.told("a") == [(0, True, True), (60, True, False), (100, True, True)]

    virtually(scenario)


def test_a_start_needs_its_successes() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await settle()
        node.engine.start("a", labels=checked(tcp_ports=(80,), success_threshold=3))
        await let_pass(clock, 10)
        assert node.core.told("a") == [(0, True, False), (3, True, True)]

    virtually(scenario)


def test_check_9_another_core_s_workloads_are_never_reported() -> None:
    async def scenario(clock: VirtualClock) -> None:
        mine = {"eru.nodename": NODE, "eru.coreid": CORE_ID}
        node = Node(clock, owns=lambda instance: is_mine(instance, node=NODE, core_id=CORE_ID))
        node.engine.start("mine", tells=False, labels=mine)
        node.engine.start("theirs", tells=False, labels=mine | {"eru.coreid": "core-2"})
        node.engine.start("elsewhere", tells=False, labels=mine | {"eru.nodename": "n2"})
        node.engine.start("nobodys", tells=False)
        begin(node.workloads.run())
        await settle()
        node.engine.start("mine too", labels=mine)
        node.engine.start("theirs too", labels=mine | {"eru.coreid": "core-2"})
        await let_pass(clock, 100)
        node.engine.end("theirs")
        node.engine.end("theirs too")
        await let_pass(clock, 100)
        assert set(node.core.state) == {"mine", "mine too"}

    virtually(scenario)


def test_of_several_generations_the_latest_counts() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        old = node.engine.start("a", 1, tells=False)
        new = node.engine.start("a", 2, tells=False)

        async def both() -> list[Instance]:
            return [new, msgspec.structs.replace(old, state="exited")]

        node.engine.instances = both  # type: ignore[method-assign]
        begin(node.workloads.run())
        await settle()
        assert node.core.told("a") == [(0, True, True)]
        assert json.loads(node.core.state["a"].extension)["eru.generation"] == "2"

    virtually(scenario)


def test_companions_follow_what_runs() -> None:
    async def scenario(clock: VirtualClock) -> None:
        follower = Follower()
        node = Node(clock, interval_s=10, companions=[follower])
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await settle()
        node.engine.start("b")
        await settle()
        node.engine.end("b")
        await settle()
        assert follower.calls == [("attach", "a", False), ("attach", "b", True), ("detach", "b", False)]
        del node.engine.table["a"]
        follower.calls.clear()
        await let_pass(clock, 10)
        assert ("detach", "a", False) in follower.calls

    virtually(scenario)


def test_a_workload_that_is_gone_is_forgotten_and_not_reported() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock, interval_s=10)
        node.engine.start("a", tells=False)
        begin(node.workloads.run())
        await settle()
        del node.engine.table["a"]
        await let_pass(clock, 30)
        assert node.core.told("a") == [(0, True, True)]
        assert node.count("eru_agent_workloads", state="running") == 0

    virtually(scenario)


def test_a_start_whose_instance_is_gone_is_nothing() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        begin(node.workloads.run())
        await settle()

        async def gone(workload_id: str, generation: int) -> Instance:
            raise NotFound(workload_id)

        node.engine.inspect = gone  # type: ignore[method-assign]
        node.engine.start("a")
        await let_pass(clock, 5)
        assert node.core.reports == []

    virtually(scenario)


def test_what_a_report_says() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        labels = {"eru.record": "{}", "team": "x"}
        node.engine.start("web_http_abcdef", tells=False, labels=labels, networks={"host": "", "net": "10.0.0.7"})
        begin(node.workloads.run())
        await settle()
        status = node.core.state["web_http_abcdef"]
        assert (status.app, status.entrypoint, status.node) == ("web", "http", NODE)
        assert status.networks == {"host": "10.1.1.1", "net": "10.0.0.7"}
        assert json.loads(status.extension) == {
            "eru.generation": "1",
            "eru.workload": "web_http_abcdef",
            "team": "x",
        }

    virtually(scenario)


def test_a_workload_without_an_entrypoint_is_reported_with_one() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("job", tells=False)
        begin(node.workloads.run())
        await settle()
        assert (node.core.state["job"].app, node.core.state["job"].entrypoint) == ("job", "-")

    virtually(scenario)


def test_a_label_that_is_not_understood_counts_as_no_check() -> None:
    async def scenario(clock: VirtualClock) -> None:
        node = Node(clock)
        node.engine.start("a", tells=False, labels={"ERU_META": "{"})
        begin(node.workloads.run())
        await settle()
        assert node.core.told("a") == [(0, True, True)]

    virtually(scenario)


@pytest.mark.parametrize(
    ("name", "labels", "identity"),
    [
        ("web_http_abcdef.g3", {}, Identity("web", "http", "abcdef")),
        ("/my_web_app_http_abcdef.g3", {}, Identity("my_web_app", "http", "abcdef")),
        ("job.17.g3", {}, Identity("job.17", "", "")),
        ("a__b.g3", {}, Identity("a__b", "", "")),
        (
            "web_http_abcdef.g3",
            {"eru.record": '{"spec": {"app": "web", "entrypoint": "http", "x": 1}}'},
            Identity("web", "http", "abcdef"),
        ),
        (
            "deployment-7.0.g3",
            {"eru.record": '{"spec": {"app": "web", "entrypoint": "http"}}'},
            Identity("web", "http", "deployment-7.0"),
        ),
        ("x_y_z.g3", {"eru.record": "broken"}, Identity("x", "y", "z")),
    ],
)
def test_names_are_split_from_the_right(name: str, labels: dict[str, str], identity: Identity) -> None:
    instance = Instance(workload_id="w", generation=3, state="running", engine_id="i", name=name, labels=labels)
    assert identity_of(instance) == identity

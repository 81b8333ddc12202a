"""Whatever goes wrong: when it has ended, the core soon knows how every workload is, and does not hear it twice."""

from __future__ import annotations

from collections.abc import Sequence

from agent_kit import FakeCore, Node, checked
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time_kit import begin, let_pass, virtually

from backends.real.agent.core_client import CoreUnreachable, WorkloadStatus
from backends.real.clock import Clock, sleep
from backends.real.virtual_clock import VirtualClock

INTERVAL_S, STRAGGLER_S = 10, 4
NAMES = ("a", "b", "c")
TROUBLES = (
    "engine", "slow engine", "core", "slow core", "treacherous", "events broke off", "node lapsed", "begin again",
)  # fmt: skip
"""What comes and goes, or happens at once."""


class TreacherousCore(FakeCore):
    """While it is treacherous, it says that a write has failed, and it has not: it arrives later."""

    is_treacherous = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.late: list[WorkloadStatus] = []

    async def set_workloads_status(self, statuses: Sequence[WorkloadStatus]) -> None:
        if not self.is_treacherous:
            return await super().set_workloads_status(statuses)
        self.late.extend(statuses)
        self.clock.call_at(self.clock.now_ns() + STRAGGLER_S * 10**9, lambda: self.arrive(len(statuses)))
        raise CoreUnreachable("no answer in time")

    def arrive(self, count: int) -> None:
        """The first so many of what is late arrive, if they have not yet."""
        for status in self.late[:count]:
            self.state[status.workload_id] = status
        del self.late[:count]


def at_once(status: WorkloadStatus) -> int:
    return 0


def good_news_last(status: WorkloadStatus) -> int:
    return 3 * 10**9 if status.running else 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["start", "start untold", "end", "end untold", "remove"]), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(["sick", "well", "slow", "quick"]), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(TROUBLES), st.just("")),
        st.tuples(st.just("wait"), st.sampled_from(["0.5", "3", "11"])),
    ),
    max_size=40,
)


def apply(node: Node, core: TreacherousCore, what: str, name: str) -> None:
    """One thing that happens on the node, or goes wrong."""
    engine, prober = node.engine, node.prober
    is_running = name in engine.table and engine.table[name].state == "running"
    if what.startswith("start") and not is_running:
        generation = engine.table[name].generation + 1 if name in engine.table else 1
        engine.start(name, generation, tells=what == "start", labels=checked())
    elif what.startswith("end") and is_running:
        engine.end(name, tells=what == "end")
    elif what == "remove" and name in engine.table and not is_running:
        del engine.table[name]
    elif what in ("sick", "well"):
        prober.faults[name] = "sick" if what == "sick" else ""
    elif what == "slow":
        prober.takes_s[name] = 4
    elif what == "quick":
        prober.takes_s.pop(name, None)
    elif what == "engine":
        engine.is_silent = not engine.is_silent
    elif what == "slow engine":
        engine.late = None if engine.late is not None else lambda: sleep(node.clock, 3 * 10**9)
    elif what == "slow core":
        core.slow = at_once if core.slow is good_news_last else good_news_last
    elif what == "core":
        core.is_silent = not core.is_silent
    elif what == "treacherous":
        core.is_treacherous = not core.is_treacherous
    elif what == "events broke off":
        engine.break_off()
    elif what == "node lapsed":
        node.reporter.forget_sent()
        node.workloads.check_soon()


@settings(max_examples=200)
@given(STEPS)
def test_the_core_comes_to_know_the_truth_within_an_interval(steps: list[tuple[str, str]]) -> None:
    async def scenario(clock: VirtualClock) -> None:
        core = TreacherousCore(clock)
        node = Node(clock, core=core, interval_s=INTERVAL_S, cache_ttl_s=10_000)
        running = begin(node.workloads.run())
        for what, name in steps:
            if what == "wait":
                await let_pass(clock, float(name))
            elif what == "begin again":
                # Another agent, which knows nothing of the one before.
                running.cancel()
                # A process takes longer to begin than a call is late; what is later is repaired by the cache's end.
                core.arrive(len(core.late))
                engine, prober = node.engine, node.prober
                node = Node(clock, core=core, interval_s=INTERVAL_S, cache_ttl_s=10_000, engine=engine, prober=prober)
                running = begin(node.workloads.run())
            else:
                apply(node, core, what, name)
        node.engine.is_silent = core.is_silent = core.is_treacherous = False
        node.prober.takes_s.clear()
        node.engine.late, core.slow = None, at_once
        # What is under way comes to its end, and then everything is checked once, and once more.
        await let_pass(clock, STRAGGLER_S + 10 + 2 * INTERVAL_S)
        for name, instance in node.engine.table.items():
            is_running = instance.state == "running"
            is_healthy = is_running and not node.prober.faults.get(name)
            status = core.state[name]
            assert (status.running, status.healthy) == (is_running, is_healthy), name
        told = len(core.reports)
        await let_pass(clock, 5 * INTERVAL_S)
        assert len(core.reports) == told
        running.cancel()

    virtually(scenario)

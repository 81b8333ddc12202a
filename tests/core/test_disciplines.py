"""Queue disciplines: by example, against slow references, and what each promises."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from core_kit import SECOND_NS, node, plugins, starts
from discipline_kit import Job, exact, queued, schedule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moves_kit import BOUNDED, SIZES, Move, batches
from random_world import CONFIGS, MOVES, World
from reference_conservative import SlowConservative

from scheduler.config import CoreConfig, QueueConfig
from scheduler.core import Core
from scheduler.disciplines import DISCIPLINES, backfilling
from scheduler.events import NodeCapacityChanged, NodeCordoned, RemovalRequested, WorkloadsSubmitted
from scheduler.testing import Harness

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def order(commands: Sequence[object]) -> list[str]:
    return [workload_id for workload_id, _, _ in starts(commands)]  # type: ignore[arg-type]


# -- orders in which nobody stands in the way of anybody ----------------------------------------------------------


def test_priority_with_aging_trades_a_step_of_priority_for_time_waited() -> None:
    h = queued("priority", aging_s=100)
    h.submit("old", 1, 1, at_ns=0)
    h.submit("young", 1, 1, priority=1, at_ns=99 * SECOND_NS)
    h.submit("younger", 1, 1, priority=1, at_ns=101 * SECOND_NS)
    h.submit("late", 1, 1, priority=0, at_ns=102 * SECOND_NS)
    assert order(h.join("n", cpu=9, memory=9)) == ["young", "old", "younger", "late"]


def test_shortest_first_has_what_has_no_estimate_last() -> None:
    h = queued("sjf")
    h.submit("unknown", 1, 1)
    h.submit("long", 1, 1, estimate_ns=9)
    h.submit("short", 2, 1, estimate_ns=3)
    h.submit("as short", 1, 1, estimate_ns=3)
    assert order(h.join("n", cpu=9, memory=9)) == ["short", "as short", "long", "unknown"]


def test_earliest_deadline_first() -> None:
    h = queued("edf")
    h.submit("none", 1, 1, priority=9)
    h.submit("later", 1, 1, deadline_ns=9)
    h.submit("sooner", 2, 1, deadline_ns=3)
    assert order(h.join("n", cpu=9, memory=9)) == ["sooner", "later", "none"]


# -- what stands in the way ---------------------------------------------------------------------------------------


def test_fcfs_blocks_behind_the_head_whatever_the_priority() -> None:
    jobs = [exact("a", 0, 10, 6), exact("head", 1, 10, 5), exact("small", 2, 1, 1, priority=9)]
    assert schedule(queued("fcfs"), jobs) == {"a": 0, "head": 10, "small": 10}
    assert schedule(queued("priority"), jobs) == {"a": 0, "head": 10, "small": 2}


def test_fcfs_passes_over_what_can_never_run_until_it_can() -> None:
    h = queued("fcfs")
    h.join("n", cpu=4, memory=9)
    h.submit("large", 5, 1)
    assert order(h.submit("small", 3, 1)) == ["small"]
    h.submit("large too", 5, 1)
    assert order(h.step(NodeCapacityChanged(node_id="n", capacity={"cpu": 6, "memory": 9}))) == []
    assert order(h.submit("behind", 1, 1)) == []
    assert order(h.exited("small")) == ["large"]


def test_removing_the_head_lets_the_next_one_go() -> None:
    h = queued("fcfs")
    h.join("n", cpu=4, memory=9)
    h.submit("a", 3, 1)
    h.submit("head", 2, 1)
    h.submit("b", 1, 1)
    assert order(h.step(RemovalRequested(workload_id="head"))) == ["b"]


@pytest.mark.parametrize("discipline", ["fcfs", "easy", "conservative"])
def test_a_head_that_is_rejected_lets_the_next_one_go_in_the_same_step(discipline: str) -> None:
    h = queued(discipline)
    h.step(node("n0", 10, 10))
    h.submit("a", 6, 1, estimate_ns=10)
    head = WorkloadsSubmitted(workload_id="head", request=(10, 1), estimate_ns=5, on_unschedulable="fail")
    behind = WorkloadsSubmitted(workload_id="behind", request=(4, 1), estimate_ns=100)
    assert starts(h.step(head, behind)) == [("behind", 1, "n0")]


def test_a_head_that_no_open_node_could_take_blocks_nobody() -> None:
    h = queued("fcfs")
    h.step(node("large", 8, 9), node("small", 2, 9))
    h.submit("a", 8, 1)
    h.submit("head", 8, 1)
    h.submit("b", 1, 1)
    assert order(h.step(NodeCordoned(node_id="large"))) == ["b"]


EASY_CASES = {
    "ends by then": ([exact("a", 0, 10, 6), exact("head", 1, 5, 8), exact("b", 2, 8, 4)], 2),
    "ends too late and takes what the head needs": (
        [exact("a", 0, 10, 6), exact("head", 1, 5, 8), exact("b", 2, 9, 4)],
        15,
    ),
    "ends too late and fits beside": ([exact("a", 0, 10, 6), exact("head", 1, 5, 8), exact("b", 2, 9, 2)], 2),
    "has no estimate": ([exact("a", 0, 10, 6), exact("head", 1, 5, 8), Job("b", 2, 8, 4)], 15),
    "no estimate, but fits beside": ([exact("a", 0, 10, 6), exact("head", 1, 5, 8), Job("b", 2, 8, 2)], 2),
    "what runs has no estimate, it has": ([Job("a", 0, 10, 6), exact("head", 1, 5, 8), exact("b", 2, 50, 4)], 2),
    "neither has": ([Job("a", 0, 10, 6), exact("head", 1, 5, 8), Job("b", 2, 8, 4)], 15),
    "what runs is overdue": ([Job("a", 0, 10, 6, 1), exact("head", 1, 5, 8), exact("b", 2, 1, 4)], 15),
    "what is beside is taken once": (
        [exact("a", 0, 10, 6), exact("head", 1, 5, 8), exact("c", 2, 20, 1), exact("b", 2, 20, 2)],
        15,
    ),
}


@pytest.mark.parametrize("case", EASY_CASES)
def test_easy_backfilling(case: str) -> None:
    jobs, start = EASY_CASES[case]
    found = schedule(queued("easy"), jobs)
    assert found["b"] == start
    assert found["head"] == (52 if case == "what runs has no estimate, it has" else 10)


def test_easy_on_many_nodes_reserves_one_and_leaves_the_others() -> None:
    jobs = [
        exact("a", 0, 10, 8),
        exact("b", 0, 20, 6),
        exact("head", 1, 5, 8),
        exact("c", 2, 99, 4),
        exact("d", 3, 99, 4),
    ]
    found = schedule(queued("easy"), jobs, nodes=((8, 9), (8, 9), (4, 9)))
    assert found["head"] == 10
    assert found["c"] == 2  # the third node is nobody's
    assert found["d"] == 15  # nothing is left there; the second node is full, the first is the head's


def test_easy_compares_every_dimension() -> None:
    jobs = [exact("a", 0, 10, 6, 6), exact("head", 1, 5, 8, 8), exact("b", 2, 9, 2, 3), exact("c", 3, 9, 2, 2)]
    found = schedule(queued("easy"), jobs, nodes=((10, 10),))
    assert (found["b"], found["c"]) == (15, 3)


def test_easy_with_priorities_has_the_highest_at_the_head() -> None:
    jobs = [exact("a", 0, 10, 6), exact("low", 1, 5, 8), exact("high", 2, 7, 8, priority=1), exact("b", 3, 9, 2)]
    assert schedule(queued("easy"), jobs) == {"a": 0, "low": 17, "high": 10, "b": 3}


def test_conservative_holds_for_the_second_too_and_easy_does_not() -> None:
    jobs = [
        exact("a", 0, 10, 6), exact("head", 1, 10, 8), exact("second", 2, 10, 10), exact("b", 3, 30, 2),
    ]  # fmt: skip
    assert schedule(queued("easy"), jobs)["second"] == 33
    assert schedule(queued("conservative"), jobs) == {"a": 0, "head": 10, "second": 20, "b": 30}
    assert schedule(queued("conservative", depth=1), jobs)["second"] == 33


def test_conservative_on_many_nodes() -> None:
    jobs = [
        exact("a", 0, 10, 8),
        exact("b", 0, 20, 8),
        exact("one", 1, 15, 8),
        exact("two", 2, 5, 8),
        exact("c", 3, 20, 3),
    ]
    found = schedule(queued("conservative"), jobs, nodes=((8, 9), (8, 9), (2, 9)))
    assert found == {"a": 0, "b": 0, "one": 10, "two": 20, "c": 25}


def test_conservative_counts_each_copy_of_a_gang_once() -> None:
    jobs = [exact("g", 0, 10, 2, count=2, gang=True), exact("b", 0, 10, 4)]
    assert schedule(queued("conservative"), jobs, nodes=((8, 9),)) == {"g/0": 0, "g/1": 0, "b": 0}


# -- slow references ----------------------------------------------------------------------------------------------

JOBS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(1, 8), st.integers(-3, 6)), min_size=1, max_size=25
)


def made(rows: list[tuple[int, int, int, int]], *, are_exact: bool) -> list[Job]:
    rows = sorted(rows, key=lambda row: row[0])
    return [
        Job(f"j{number}", submit, run, cpu, run if are_exact else max(1, run + error))
        for number, (submit, run, cpu, error) in enumerate(rows)
    ]


def easy_reference(jobs: list[Job], processors: int, shortest: bool) -> dict[str, int]:
    """One machine, second by second, straight from the definition."""
    waiting: list[Job] = []
    running: dict[str, tuple[int, int, int]] = {}  # real end, expected end, cpu
    found: dict[str, int] = {}
    now = 0
    while len(found) < len(jobs):
        changed = any(job.submit == now for job in jobs) or any(end == now for end, _, _ in running.values())
        running = {name: held for name, held in running.items() if held[0] != now}
        waiting += [job for job in jobs if job.submit == now]
        free = processors - sum(cpu for _, _, cpu in running.values())
        if changed:
            start: list[Job] = []
            while waiting and waiting[0].cpu <= free:
                start.append(waiting.pop(0))
                free -= start[-1].cpu
                running[start[-1].name] = (now + start[-1].run, now + (start[-1].estimate or 0), start[-1].cpu)
            if waiting:
                head, room, shadow = waiting[0], free, now
                for expected in sorted({max(end, now) for _, end, _ in running.values()}):
                    if room < head.cpu:
                        room += sum(cpu for _, end, cpu in running.values() if max(end, now) == expected)
                        shadow = expected
                extra = room - head.cpu
                tail = waiting[1:]
                if shortest:
                    tail.sort(key=lambda job: job.estimate or 0)
                for job in tail:
                    in_time = now + (job.estimate or 0) <= shadow
                    if job.cpu <= free and (in_time or job.cpu <= extra):
                        free -= job.cpu
                        extra -= 0 if in_time else job.cpu
                        start.append(job)
                        waiting.remove(job)
                        running[job.name] = (now + job.run, now + (job.estimate or 0), job.cpu)
            found.update({job.name: now for job in start})
        now += 1
    return found


@given(JOBS, st.booleans(), st.booleans())
@QUICK
def test_easy_does_what_its_definition_says(
    rows: list[tuple[int, int, int, int]], shortest: bool, are_exact: bool
) -> None:
    jobs = made(rows, are_exact=are_exact)
    found = schedule(queued("easy", order="shortest" if shortest else "fcfs"), jobs, nodes=((8, 100),))
    assert found == easy_reference(jobs, 8, shortest)


@given(JOBS, st.lists(st.integers(8, 12), min_size=1, max_size=4))
@QUICK
def test_with_exact_estimates_no_head_starts_later_than_its_first_reservation(
    rows: list[tuple[int, int, int, int]], sizes: list[int]
) -> None:
    promised: dict[str, int] = {}
    reserve = backfilling.reserve

    def recorded(placer, unit):  # type: ignore[no-untyped-def]
        reservation = reserve(placer, unit)
        if reservation is not None:
            promised.setdefault(unit[0].workload_id, reservation.at_ns // SECOND_NS)
        return reservation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backfilling, "reserve", recorded)
        found = schedule(queued("easy"), made(rows, are_exact=True), nodes=[(size, 9) for size in sizes])
    assert all(found[name] <= at for name, at in promised.items())


@given(JOBS, st.lists(st.integers(8, 12), min_size=1, max_size=3))
@QUICK
def test_fcfs_starts_in_order_and_everything_starts(rows: list[tuple[int, int, int, int]], sizes: list[int]) -> None:
    nodes = [(size, 9) for size in sizes]
    jobs = made(rows, are_exact=False)
    found = schedule(queued("fcfs"), jobs, nodes)
    begins = [found[job.name] for job in jobs]
    assert begins == sorted(begins)
    for discipline in ("conservative", "sjf", "edf", "fair", "drf"):
        assert len(schedule(queued(discipline), jobs, nodes)) == len(jobs)


# -- tenants ------------------------------------------------------------------------------------------------------


def submit_many(h: Harness, tenant: str, count: int, *request: int) -> None:
    for number in range(count):
        h.submit(f"{tenant}:{number}", *request, tenant=tenant)


def held(h: Harness) -> dict[str, int]:
    """How many workloads of each tenant are placed."""
    found: dict[str, int] = {}
    for workload in h.core.workloads.values():
        if workload.row >= 0:
            found[workload.spec.tenant] = found.get(workload.spec.tenant, 0) + 1
    return found


def test_drf_divides_as_in_the_paper() -> None:
    """Ghodsi et al., section 4.1: 9 CPUs and 18 GB; A asks (1, 4) and B (3, 1): three tasks of A, two of B."""
    h = queued("drf")
    submit_many(h, "A", 9, 1, 4)
    submit_many(h, "B", 9, 3, 1)
    h.join("n", cpu=9, memory=18)
    assert held(h) == {"A": 3, "B": 2}


def test_fair_share_is_of_one_dimension() -> None:
    for dimension, expected in (("cpu", {"A": 6, "B": 2}), ("memory", {"A": 3, "B": 2})):
        h = queued("fair", dimension=dimension)
        submit_many(h, "A", 9, 1, 2)
        submit_many(h, "B", 9, 3, 2)
        h.join("n", cpu=12 if dimension == "cpu" else 99, memory=99 if dimension == "cpu" else 10)
        assert held(h) == expected


def test_weights_and_levels() -> None:
    h = queued("drf", weights={"a": 2, "b/x": 3})
    for tenant in ("a", "b/x", "b/y", "b"):
        submit_many(h, tenant, 30, 1, 1)
    h.join("n", cpu=30, memory=99)
    assert held(h) == {"a": 20, "b/x": 6, "b/y": 2, "b": 2}


def test_a_minimum_goes_first_and_a_maximum_holds_back() -> None:
    h = queued("drf", minimum={"poor": {"cpu": 6}}, maximum={"rich": {"cpu": 3}}, weights={"poor": 0.01})
    for tenant in ("rich/1", "rich/2", "poor"):
        submit_many(h, tenant, 9, 1, 1)
    h.join("n", cpu=8, memory=99)
    assert held(h) == {"poor": 6, "rich/1": 1, "rich/2": 1}
    h.join("more", cpu=9, memory=99)
    assert held(h) == {"poor": 9, "rich/1": 2, "rich/2": 1}
    assert order(h.exited("rich/1:0")) == ["rich/1:2"]


def test_what_does_not_fit_stands_in_nobodys_way() -> None:
    h = queued("fair")
    h.join("n", cpu=4, memory=9)
    h.submit("large", 5, 1, tenant="a")
    assert order(h.submit("small", 2, 1, tenant="a")) == ["small"]
    assert order(h.submit("other", 2, 1, tenant="b")) == ["other"]


# -- all of them --------------------------------------------------------------------------------------------------


def test_bad_parameters_are_named() -> None:
    for name, params, message in [
        ("fifo", {}, "queue: no discipline 'fifo'"),
        ("priority", {"aging_s": -1}, "queue 'priority': aging_s: -1 must be from 0"),
        ("drf", {"minimum": {"a": {"gpu": 1}}}, "queue 'drf': minimum.a.gpu: no such dimension"),
        ("drf", {"maximum": {"a": {"cpu": 0}}}, "queue 'drf': maximum.a.cpu: 0 must be at least 1"),
        ("fair", {"dimension": "gpu"}, "queue 'fair': dimension: no 'gpu'"),
        ("edf", {"order": "x"}, "queue 'edf': no parameter 'order'; there are: none"),
    ]:
        with pytest.raises(ValueError, match="^" + message):
            Core(CoreConfig(queue=QueueConfig(name, params)))


def test_a_restored_core_has_the_discipline_and_what_it_looks_at() -> None:
    for discipline in ("easy", "conservative", "drf"):
        h = queued(discipline)
        h.join("n", cpu=10, memory=100)
        h.submit("a", 6, 1, estimate_ns=10 * SECOND_NS, tenant="x")
        h.started("a")
        h.submit("head", 8, 1, estimate_ns=5 * SECOND_NS, tenant="x", at_ns=SECOND_NS)
        h.reload()
        late = WorkloadsSubmitted(workload_id="late", request=(4, 1), estimate_ns=9 * SECOND_NS, tenant="y")
        in_time = WorkloadsSubmitted(workload_id="in time", request=(4, 1), estimate_ns=8 * SECOND_NS, tenant="y")
        assert order(h.step(late, in_time, at_ns=2 * SECOND_NS)) == (["late"] if discipline == "drf" else ["in time"])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow reference is among the disciplines."""
    monkeypatch.setitem(DISCIPLINES, SlowConservative.name, SlowConservative)


@given(CONFIGS, MOVES, SIZES, st.sampled_from([0, 0, 2]))
@settings(BOUNDED, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_conservative_does_what_the_slow_reference_does(
    slow: None, config: CoreConfig, moves: list[Move], sizes: list[int], depth: int
) -> None:
    world = World(msgspec.structs.replace(config, queue=QueueConfig("conservative", {"depth": depth})))
    twin = Harness(
        msgspec.structs.replace(config, queue=QueueConfig(SlowConservative.name, {"depth": depth})), plugins=plugins()
    )
    for group in batches(moves, sizes):
        at_ns, events = world.batch(group)
        assert world.harness.step(*events, at_ns=at_ns) == twin.step(*events, at_ns=at_ns)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(1, 8), st.integers(-9, 20), st.integers(1, 3)),
        min_size=5,
        max_size=40,
    )
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_conservative_makes_the_schedules_of_the_slow_reference(
    slow: None, rows: list[tuple[int, int, int, int, int]]
) -> None:
    jobs = [
        Job(f"j{number}", submit, run, cpu, None if error == 20 else max(1, run + error), memory=memory)
        for number, (submit, run, cpu, error, memory) in enumerate(sorted(rows))
    ]
    nodes = ((8, 4), (6, 9), (8, 9), (9, 3))
    assert schedule(queued("conservative"), jobs, nodes) == schedule(queued(SlowConservative.name), jobs, nodes)

"""The plans of bound work: against the definition, and the counting kernel against the plans."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pytest
from cpu_plugin_kit import CpuPlan, plans
from cpu_reference_kit import Question, reference_plans
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import kernels
from scheduler.plugins.cpu_plans import Cores, Held, PlanRequest, cpu_pieces, exact_cpu, iterate_plans
from scheduler.testing import reference_kernels

BOUNDED = settings(derandomize=True, deadline=None, max_examples=200)
AMOUNTS = [-50, 0, 0, 1, 10, 30, 50, 70, 99, 100, 100, 100, 100, 200, 230, 300]


@st.composite
def questions(draw: Any) -> Question:
    """Few cores with few different amounts, so that ties and tight cases abound; some NUMA nodes with little memory."""
    numbers = draw(st.lists(st.integers(0, 30), max_size=9, unique=True))
    amounts = st.sampled_from(draw(st.sampled_from([AMOUNTS, [100], [100, 300], [30, 100]])))
    free = {str(number): draw(amounts) for number in numbers}
    pieces = draw(st.sampled_from([1, 10, 30, 50, 99, 100, 101, 130, 150, 170, 200, 230, 300, 401]))
    nodes = draw(st.sampled_from([[], ["0"], ["0", "1"], ["2", "10"], ["0", "1", "2"]]))
    numa = {core: draw(st.sampled_from([*nodes, *nodes, None])) for core in free} if nodes else {}
    return Question(
        free,
        pieces,
        max_share=draw(st.sampled_from([-1, -1, 0, 1, 2, 3])),
        memory=draw(st.sampled_from([0, 1, 3])),
        numa={core: node for core, node in numa.items() if node is not None},
        numa_memory={node: draw(st.integers(-2, 12)) for node in nodes},
    )


@st.composite
def held_questions(draw: Any) -> Question:
    """A question of a workload that holds some of the cores."""
    question: Question = draw(questions())
    cores = draw(st.lists(st.sampled_from(sorted(question.free)), unique=True, max_size=3)) if question.free else []
    held = {core: draw(st.sampled_from([10, 30, 40, 100, 200])) for core in cores}
    free = {core: max(pieces, 0) + held.get(core, 0) for core, pieces in question.free.items()}
    held_numa = draw(st.sampled_from([None, *sorted(question.numa_memory)])) if held else None
    return question._replace(free=free, held=held, held_numa=held_numa)


def found(question: Question, core_order: Any = "number") -> list[CpuPlan]:
    return plans(
        question.free,
        question.pieces / question.share_base,
        share_base=question.share_base,
        max_share=question.max_share,
        core_order=core_order,
        held=question.held,
        held_numa=question.held_numa,
        numa=question.numa,
        numa_memory=question.numa_memory,
        memory_request=question.memory,
    )


@given(questions())
@BOUNDED
def test_plans_are_those_of_the_definition(question: Question) -> None:
    assert found(question) == reference_plans(question)


@given(questions())
@BOUNDED
def test_plans_in_string_order_are_those_of_the_definition(question: Question) -> None:
    assert found(question, "string") == reference_plans(question, order=str)


@given(held_questions())
@BOUNDED
def test_plans_with_something_held_are_those_of_the_definition(question: Question) -> None:
    assert found(question) == reference_plans(question)


@given(held_questions())
@BOUNDED
def test_plans_fit_together_and_give_what_was_asked(question: Question) -> None:
    free, memory = dict(question.free), dict(question.numa_memory)
    for plan in found(question):
        assert sum(plan.cores.values()) == question.pieces
        assert sum(1 for pieces in plan.cores.values() if pieces != question.share_base) <= 1
        for core, pieces in plan.cores.items():
            free[core] -= pieces
            assert free[core] >= 0
            assert plan.numa is None or question.numa[core] == plan.numa
        if plan.numa is not None and question.memory:
            memory[plan.numa] -= question.memory
            assert memory[plan.numa] >= 0


class Rows:
    """Random rows of one layout, and a request, as the kernel takes them."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.core_count = int(generator.integers(0, 14))
        numa_count = int(generator.choice([0, 1, 2, 3]))
        amounts = [AMOUNTS, [100], [100, 300], [30, 70, 100], [0, 200, 250]][int(generator.integers(5))]
        node_of = generator.integers(-1, numa_count, size=self.core_count)
        members = [np.flatnonzero(node_of == node) for node in range(numa_count)]
        self.numa_cores = np.concatenate([np.zeros(0, dtype=np.int64), *members]).astype(np.int64)
        self.numa_starts = np.cumsum([0, *(len(cores) for cores in members)]).astype(np.int64)
        cores = generator.choice(amounts, size=(6, self.core_count))
        memory = generator.integers(-2, int(generator.choice([4, 30])), size=(6, numa_count))
        counted = generator.integers(-500, 500, size=(6, 1 + int(generator.integers(3))))
        self.free = np.ascontiguousarray(np.concatenate([cores, memory, counted], axis=1), dtype=np.int64)
        self.pieces = int(generator.choice([1, 10, 30, 50, 99, 100, 130, 150, 200, 230, 300, 401]))
        self.numa_nodes = int(generator.choice([0, 0, 0, 1, 2, 3]))
        if self.numa_nodes > 1:
            self.pieces = 100 * self.numa_nodes * int(generator.integers(1, 4))
        self.max_share = int(generator.choice([-1, -1, 0, 1, 2, 5]))
        self.memory = int(generator.choice([0, 1, 2, 3]))

    def arguments(self) -> tuple[Any, ...]:
        layout = (self.core_count, self.numa_cores, self.numa_starts)
        return (self.free, *layout, self.pieces, 100, self.max_share, self.memory, self.numa_nodes)


@given(st.integers(0, 2**32 - 1))
@settings(BOUNDED, max_examples=400)
def test_the_kernel_counts_as_many_plans_as_there_are(seed: int) -> None:
    arguments = Rows(seed).arguments()
    before = arguments[0].copy()
    counts = kernels.cpu_plan_counts(*arguments)
    assert counts.tolist() == reference_kernels.cpu_plan_counts(*arguments).tolist()
    assert np.array_equal(arguments[0], before)


@pytest.mark.parametrize("pieces", [100, 130, 400, 1630, 30])
def test_the_kernel_counts_large_oversold_nodes(pieces: int) -> None:
    generator = np.random.default_rng(5)
    free = generator.choice([0, 30, 100, 300, 1000], size=(4, 258)).astype(np.int64)
    free[:, 256:] = [[40, 1000], [1000, 3], [0, 1000], [1000, 1000]]
    arguments = (free, 256, np.arange(256), np.array([0, 128, 256]), pieces, 100, -1, 1, 0)
    counts = kernels.cpu_plan_counts(*arguments)
    assert counts.tolist() == reference_kernels.cpu_plan_counts(*arguments).tolist()
    assert counts.min() > 0


@pytest.mark.parametrize(
    ("cores", "first_numa_node", "pieces", "max_share", "memory", "count"),
    [([300, 300, 300, 100], 4, 230, 2, 20, 4), ([200, 50, 300, 100, 200], 1, 110, -1, 30, 6)],
)
def test_of_two_splits_with_as_many_plans_the_one_that_breaks_fewer_cores_is_used(
    cores: list[int], first_numa_node: int, pieces: int, max_share: int, memory: int, count: int
) -> None:
    free = np.array([[*cores, 99, 99]], dtype=np.int64)
    starts = np.array([0, first_numa_node, len(cores)])
    arguments = (free, len(cores), np.arange(len(cores)), starts, pieces, 100, max_share, memory, 0)
    assert reference_kernels.cpu_plan_counts(*arguments).tolist() == [count]
    assert kernels.cpu_plan_counts(*arguments).tolist() == [count]


def test_plans_are_made_only_as_far_as_they_are_asked_for() -> None:
    class Watched(list[int]):
        looked_at: set[int] = set()

        def __getitem__(self, node: Any) -> Any:
            self.looked_at.add(node)
            return super().__getitem__(node)

    memory = Watched([9, 9])
    cores = Cores([100] * 4, [[0, 1], [2, 3]], memory)
    first = list(islice(iterate_plans(cores, PlanRequest(100, 100, memory=1)), 2))
    assert [plan.numa for plan in first] == [(0,), (0,)]
    assert memory.looked_at == {0}


def test_shares_of_several_numa_nodes_are_equal_and_on_the_busiest_first() -> None:
    cores = Cores([100] * 6, [[0], [1, 2], [3, 4, 5]], [10, 10, 10])
    spread = list(iterate_plans(cores, PlanRequest(200, 100, memory=5, numa_nodes=2)))
    assert [plan.numa for plan in spread] == [(0, 2), (1, 2), (1, 2)]
    assert [plan.cores for plan in spread] == [{0: 100, 3: 100}, {1: 100, 4: 100}, {2: 100, 5: 100}]
    assert next(iterate_plans(cores, PlanRequest(400, 100, numa_nodes=2))).cores.keys() == {1, 2, 4, 5}
    assert list(iterate_plans(cores, PlanRequest(400, 100, numa_nodes=4))) == []


def test_shares_stay_on_the_numa_nodes_that_are_held() -> None:
    cores = Cores([100] * 6, [[0, 1], [2, 3], [4, 5]], [10, 10, 10])
    request = PlanRequest(400, 100, memory=2, numa_nodes=2)
    plan = next(iterate_plans(cores, request, Held({0: 100, 4: 100}, [0, 2])))
    assert plan.numa == (0, 2)
    assert next(iterate_plans(cores, request)).numa != (0, 2)


def test_a_core_oversold_by_a_fraction_is_a_fragment_core() -> None:
    assert [plan.cores for plan in plans({"0": 230}, 0.5)] == [{"0": 50}] * 4
    assert plans({"0": 230}, 1) == []


def test_whole_cores_never_come_from_fragment_cores() -> None:
    assert [plan.cores for plan in plans({"0": 250, "1": 100}, 1)] == [{"1": 100}]


def test_plans_on_the_busiest_cores_are_used_first_and_fragments_break_as_few_cores_as_will_do() -> None:
    free = {"0": 300, "1": 100, "2": 40, "3": 100}
    assert [plan.cores for plan in plans(free, 1)][:2] == [{"1": 100}, {"3": 100}]
    assert plans(free, 1.4)[0].cores == {"2": 40, "3": 100}


def test_defect_max_share_below_the_number_of_fragment_cores_is_no_crash() -> None:
    free = {"0": 100, "1": 30, "2": 40}
    assert [plan.cores for plan in plans(free, 0.2, max_share=1)] == [{"1": 20}, {"2": 20}, {"2": 20}]
    assert [plan.cores for plan in plans(free, 1.2, max_share=0)] == [{"0": 100, "1": 20}]


def test_defect_501_cores_with_nothing_free_do_not_count_against_max_share() -> None:
    assert len(plans({"0": 0, "1": 0, "2": 100, "3": 100}, 0.5, max_share=1)) == 2


def test_defect_negative_free_amounts_are_like_none() -> None:
    assert plans({"0": -100, "1": -30}, 1) == []
    assert [plan.cores for plan in plans({"0": -100, "1": 30}, 0.3)] == [{"1": 30}]
    tight = plans({"0": 100}, 1, numa={"0": "0"}, numa_memory={"0": -5}, memory_request=1)
    assert tight == [CpuPlan({"0": 100}, None)]


@pytest.mark.parametrize(
    ("cpu", "pieces"), [(0.29, 29), (1.1, 110), (0.57, 57), (0.015, 2), (0.014, 1), ("2.675", 268)]
)
def test_defect_pieces_are_rounded_from_the_decimal_number_not_cut_from_the_binary_one(cpu: Any, pieces: int) -> None:
    assert cpu_pieces(exact_cpu(cpu, "cpu"), 100) == pieces


def test_defect_core_ids_compare_as_numbers_unless_eru_is_imitated() -> None:
    free = {"10": 100, "2": 100}
    assert plans(free, 1)[0].cores == {"2": 100}
    assert plans(free, 1, core_order="string")[0].cores == {"10": 100}


def test_defect_numa_nodes_are_tried_by_id_not_at_random() -> None:
    numa = {"0": "10", "1": "2", "2": "2"}
    order = [plan.numa for plan in plans(dict.fromkeys(numa, 100), 1, numa=numa)]
    assert order == ["2", "2", "10"]
    order = [plan.numa for plan in plans(dict.fromkeys(numa, 100), 1, numa=numa, core_order="string")]
    assert order == ["10", "2", "2"]


def test_plans_across_numa_nodes_come_last_and_take_no_numa_memory() -> None:
    numa = {"0": "0", "1": "0", "2": "1", "3": "1"}
    crossing = plans(dict.fromkeys(numa, 100), 3, numa=numa, numa_memory={"0": 0, "1": 0}, memory_request=1)
    assert crossing == [CpuPlan({"1": 100, "2": 100, "3": 100}, None)]


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        "x",
        "1/3",
        float("nan"),
        float("inf"),
        1e10,
        "1e-999999999",
        "9" * 5000,
        pytest.param(10**5000, id="digits"),
    ],
)
def test_what_is_no_amount_of_cpu_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^cpu\.limit: "):
        exact_cpu(value, "cpu.limit")


@given(st.decimals(-1000, 1000, places=12))
@BOUNDED
def test_an_amount_of_cpu_is_exactly_what_is_written(value: Any) -> None:
    assert exact_cpu(str(value), "cpu") == Fraction(value)
    assert exact_cpu(float(value), "cpu") == Fraction(repr(float(value)))

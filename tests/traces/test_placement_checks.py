"""The checkers find nothing wrong with a placement that is right, and exactly what was broken in one that is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from trace_files import HUAWEI_HEADER, small_huawei_numa2025, small_tianchi2018

import traces
from eru_sim.errors import EruError
from eru_sim.placement_checks import Violation, huawei_violations, tianchi_violations
from traces import MachineEvent, Submission

# a: cpu 1|2, memory 2|2, disk 60, P 1; tolerates 1 of b. b: cpu 2|1, memory 1|4, disk 40, M 1, PM 1; 1 other b.
APPS = "a,1|2,2|2,60,1,0,0\nb,2|1,1|4,40,0,1,1\n"
RULES = "a,b,1\nb,b,1\n"
INSTANCES = "".join(f"{app}{number},{app},\n" for app in "ab" for number in range(4))
ROOMY = "9,99,999,9,9,9"


@pytest.fixture
def tianchi(tmp_path) -> Callable[[str], traces.Trace]:
    def make(machine: str) -> traces.Trace:
        tables = {"app_interference": RULES, "instance_deploy": INSTANCES}
        return traces.open_trace(
            small_tianchi2018(tmp_path, APPS, machine_resources=f"m0,{ROOMY}\nm1,{machine}\n", **tables)
        )

    return make


def test_demand_is_added_up_by_point_and_not_by_peak(tianchi):
    trace = tianchi("3,6,100,1,1,1")
    assert tianchi_violations(trace, {"a0": "m1", "b0": "m1"}) == []
    peaks = _Changed(trace, curve=_peaks)
    assert [violation.kind for violation in tianchi_violations(peaks, {"a0": "m1", "b0": "m1"})] == ["cpu"]


@pytest.mark.parametrize(
    ("machine", "kind", "detail"),
    [
        ("2.999999,6,100,1,1,1", "cpu", "2 instances use 3000000 of 2999999 at point 0"),
        ("3,5.999999,100,1,1,1", "memory", "2 instances use 6000000 of 5999999 at point 1"),
        ("3,6,99,1,1,1", "disk", "2 instances ask for 100 of 99 disk_gb"),
        ("3,6,100,0,1,1", "p", "2 instances ask for 1 of 0 p_count"),
        ("3,6,100,1,0,1", "m", "2 instances ask for 1 of 0 m_count"),
        ("3,6,100,1,1,0", "pm", "2 instances ask for 1 of 0 pm_count"),
    ],
)
def test_what_exceeds_a_machine_is_the_only_violation(tianchi, machine, kind, detail):
    placement = {"a0": "m1", "b0": "m1", "a1": "m0", "b1": "m0"}
    assert tianchi_violations(tianchi(machine), placement) == [Violation(kind, "m1", detail)]


def test_interference_counts_others_and_holds_whoever_came_first(tianchi):
    trace = tianchi(ROOMY)
    assert tianchi_violations(trace, {"b0": "m1", "b1": "m1"}) == []
    assert tianchi_violations(trace, {"a0": "m1", "a1": "m1", "a2": "m1", "b0": "m1"}) == []
    broken = Violation("interference", "m1", "2 of b beside an instance of a, which tolerates 1")
    assert tianchi_violations(trace, {"b0": "m1", "b1": "m1", "a0": "m1"}) == [broken]
    own = Violation("interference", "m1", "2 of b beside an instance of b, which tolerates 1")
    assert tianchi_violations(trace, {"b0": "m1", "b1": "m1", "b2": "m1", "a0": "m0"}) == [own]


def test_names_that_are_not_in_the_trace_are_errors(tianchi, tmp_path):
    with pytest.raises(EruError, match="instance 'c0' is not in the trace"):
        tianchi_violations(tianchi(ROOMY), {"c0": "m1"})
    with pytest.raises(EruError, match="machine 'm2' is not in the trace"):
        tianchi_violations(tianchi(ROOMY), {"a0": "m2"})
    source = small_huawei_numa2025(tmp_path)
    with pytest.raises(EruError, match="VM 'vm-99' is not in the trace"):
        huawei_violations(source, {"vm-99": ("h0", [0])})
    with pytest.raises(EruError, match="host 'h9' is not in the trace"):
        huawei_violations(source, {"vm-0": ("h9", [0])})


# Racks 0 (h0, h1) and 1 (h2, h3); every host has two NUMA nodes of 8 cores and 32 GB, but h3 only one.
SERVERS = "CPU1,RAM1,CPU2,RAM2\n8,32,8,32\n8,32,8,32\n8,32,8,32\n8,32,0,0\n"
REQUESTS = HUAWEI_HEADER + "".join(
    f"{row}\n"
    for row in [
        *("4,8,1,,,", "4,9,1,,,", "16,64,2,,,", "4,24,1,,,"),
        *["2,4,1,affinity,0.0,"] * 3,
        *["2,4,1,anti-affinity,0.0,"] * 2,
        *("2,4,1,fault_domain,0.0,0.0", "2,4,1,fault_domain,0.0,0.0", "2,4,1,fault_domain,0.0,1.0"),
    ]
)
RIGHT: dict[str, tuple[str, list[int | str]]] = {
    "vm-0": ("h0", [0]),
    "vm-1": ("h0", [0]),
    "vm-2": ("h1", [0, 1]),
    "vm-3": ("h2", [0]),
    **dict.fromkeys(("vm-4", "vm-5", "vm-6"), ("h0", [1])),
    "vm-7": ("h3", [0]),
    "vm-8": ("h2", [1]),
    "vm-9": ("h2", ["1"]),
    "vm-10": ("h3", [0]),
    "vm-11": ("h0", [1]),
}


@pytest.fixture
def huawei(tmp_path) -> traces.Trace:
    return traces.open_trace(small_huawei_numa2025(tmp_path, REQUESTS, servers=SERVERS))


@pytest.mark.parametrize("change", [{}, {"vm-0": ("h2", [0])}, {"vm-4": ("h1", [0]), "vm-2": None}])
def test_a_right_placement_of_vms_has_no_violation(huawei, change):
    placement = {name: place for name, place in {**RIGHT, **change}.items() if place is not None}
    assert huawei_violations(huawei, placement) == []


@pytest.mark.parametrize(
    ("name", "place", "kind", "detail"),
    [
        ("vm-7", ("h0", [1]), "cores", "NUMA node 1: 10 of 8"),
        ("vm-1", ("h2", [0]), "memory", f"NUMA node 0: {33 << 30} of {32 << 30}"),
        ("vm-2", ("h1", [0]), "numa", "vm-2 asks for 2 NUMA nodes and is on [0]"),
        ("vm-2", ("h1", [1, 1]), "numa", "vm-2 asks for 2 NUMA nodes and is on [1, 1]"),
        ("vm-10", ("h3", [1]), "numa", "vm-10 asks for 1 NUMA nodes and is on [1]"),
        ("vm-6", ("h2", [1]), "affinity", "affinity group 0: vm-6 is not in rack 0"),
        ("vm-8", ("h3", [0]), "anti-affinity", "anti-affinity group 0: 2 members on one host"),
        ("vm-11", ("h3", [0]), "fault_domain", "fault_domain group 0: vm-11 is in rack 1 with another domain"),
    ],
)
def test_what_is_broken_is_the_only_violation(huawei, name, place, kind, detail):
    assert huawei_violations(huawei, {**RIGHT, name: place}) == [Violation(kind, place[0], detail)]


class _Changed:
    """A trace of which every application's payloads are changed."""

    def __init__(self, trace: traces.Trace, **changes: Callable[[Submission], Any]) -> None:
        self._trace, self._changes = trace, changes
        self.dimensions = trace.dimensions

    def machine_events(self) -> Iterator[MachineEvent]:
        return self._trace.machine_events()

    def submissions(self) -> Iterator[Submission]:
        by_app: dict[str, dict[str, Any]] = {}
        for item in self._trace.submissions():
            if item.job_id not in by_app:
                changed = {name: change(item) for name, change in self._changes.items()}
                by_app[item.job_id] = {**(item.constraints or {}), **changed}
            yield msgspec.structs.replace(item, constraints=by_app[item.job_id])


def _peaks(item: Submission) -> Mapping[str, list[int]]:
    assert item.constraints is not None
    return {name: [max(points)] for name, points in item.constraints["curve"].items()}


def _literal_limits(item: Submission) -> Mapping[str, Any]:
    """The rules of an application with itself count the instance itself: k in all."""
    assert item.constraints is not None
    rules = item.constraints["affinity"]["apart"]
    own = [{**rule, "most": rule["most"] - (rule["match"]["app"] == item.job_id)} for rule in rules]
    return {**item.constraints["affinity"], "apart": own}


@pytest.fixture(scope="module")
def data_b(shared) -> tuple[traces.Trace, dict[str, str]]:
    trace = traces.open_trace(f"tianchi2018:{shared('alibaba2018_tianchi')}")
    placed = {item.workload_id: item.recorded_machine_id for item in trace.submissions() if item.recorded_machine_id}
    return trace, placed


def test_the_recorded_placement_of_tianchi_has_no_violation(data_b):
    trace, placement = data_b
    assert len(placement) == 61_254
    assert tianchi_violations(trace, placement) == []


def test_the_recorded_placement_breaks_rules_that_are_read_otherwise(data_b):
    trace, placement = data_b
    by_peaks = tianchi_violations(_Changed(trace, curve=_peaks), placement)
    assert {violation.kind for violation in by_peaks} == {"cpu", "memory"}
    assert len({violation.machine for violation in by_peaks}) == 1_677
    literal = tianchi_violations(_Changed(trace, affinity=_literal_limits), placement)
    assert Counter(violation.kind for violation in literal) == {"interference": 5_979}


def test_what_is_heaped_onto_one_machine_is_seen_there_only(data_b):
    trace, placement = data_b
    machine, _ = Counter(placement.values()).most_common(1)[0]
    waiting = [item.workload_id for item in trace.submissions() if not item.recorded_machine_id]
    violations = tianchi_violations(trace, {**placement, **dict.fromkeys(waiting, machine)})
    assert {violation.machine for violation in violations} == {machine}
    assert {"cpu", "memory", "disk", "interference"} <= {violation.kind for violation in violations}

"""Known answers of Eru's own unit tests for cpumem, as far as they lie beside the repository."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cpu_plugin_kit import capacities, cores_of, node_slots

from scheduler.plugins.cpu import CpuPlugin
from scheduler.ports import COPIES_MAX, Assignment

VECTORS = Path(__file__).resolve().parents[2] / ".." / "shared" / "vectors" / "eru-known-answers.json"
REFUSED = {"InvalidCPU": "cpu.cpu_", "InvalidMemory": "cpu.memory_"}
ASKED = ("bind", "keep_bind", "cpu_request", "cpu_limit", "memory_request", "memory_limit")
BOUNDS: Mapping[str, Callable[[int, int], bool]] = {">=": lambda a, b: a >= b, "<": lambda a, b: a < b}


def plugin_of(given: Mapping[str, Any]) -> CpuPlugin:
    return CpuPlugin(given.get("share_base", 100), given.get("max_share", -1), core_order="string")


def request_of(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {"cpu": "cpu_request"} | {f"{name}_delta": name for name in ASKED} | {name: name for name in ASKED}
    return {names[name]: value for name, value in given.items() if name in names}


def by_numa_node(numa: Mapping[str, str]) -> dict[str, list[str]]:
    return {node: [core for core in numa if numa[core] == node] for node in numa.values()}


def plans_of(given: Mapping[str, Any], taken: Mapping[str, int]) -> list[dict[str, int]]:
    """What `CpuPlugin.assign` gives to as many copies as there are, or `CpuPlugin.reassign` to one that holds some."""
    plugin, held = plugin_of(given), given.get("old", {})
    free = given["cores"] if "cores" in given else given["free"]
    node = node_slots(plugin, {"cores": {core: free[core] + held.get(core, 0) for core in free}})
    for core, pieces in taken.items():
        node.free[node.inventory.slots.index(core)] -= pieces
    request = plugin.parse({"bind": True, **request_of(given)})
    if not held:
        need = plugin.demand(request).get("memory", 0)
        most = given["memory_free"] // need if need else COPIES_MAX
        return [cores_of(copy) for copy in plugin.assign(request, node, most)]
    before = plugin.parse({"bind": True, "cpu_request": sum(held.values()) / given["share_base"]})
    assignment = Assignment(amounts={**held, "requested": sum(held.values())})
    after = plugin.reassign(request, node, assignment, before)
    return [] if after is None else [cores_of(after)]


def check_plans(given: Mapping[str, Any], expect: dict[str, Any]) -> None:
    found = plans_of(given, {})
    for name in ("plan_count", "plan_count_rederived"):
        assert len(found) == expect.pop(name, len(found))
    assert len(found) >= expect.pop("plan_count_at_least", 0)
    if "plans_unordered" in expect:
        expected = [sorted(plan.items()) for plan in expect.pop("plans_unordered")]
        assert sorted(sorted(plan.items()) for plan in found) == sorted(expected)
    if "first_plan" in expect:
        assert found[0] == expect.pop("first_plan")
    if "then_apply_first" in expect:
        assert expect.pop("then_apply_first") == 1
        assert plans_of(given, found[0])[0] == expect.pop("first_plan_after")


def check_capacity(given: Mapping[str, Any], expect: dict[str, Any]) -> None:
    plugin = plugin_of(given)
    request = plugin.parse(request_of(given))
    need = plugin.demand(request).get("memory", 0)
    copies = capacities(plugin, request, [node_slots(plugin, {"cores": node["cores"]}) for node in given["nodes"]])
    if need:
        copies = [min(count, node["memory"] // need) for count, node in zip(copies, given["nodes"], strict=True)]
    for name in ("total", "total_rederived"):
        assert sum(copies) == expect.pop(name, sum(copies))
    assert copies == expect.pop("per_node_rederived", copies)
    if "asserted_bound" in expect:
        bound = expect.pop("asserted_bound")
        sign = bound.rstrip("0123456789")
        assert BOUNDS[sign](sum(copies), int(bound.removeprefix(sign)))


def check_deploy(given: Mapping[str, Any], expect: dict[str, Any]) -> None:
    plugin = plugin_of(given)
    request = plugin.parse(request_of(given))
    if given.get("unknown_node"):
        assert expect.pop("error") == "node unknown to this plugin"
        assert capacities(plugin, request, [None]) == [0]
        return
    node = node_slots(plugin, {"cores": given["cores"], "share": given["pieces_per_core"]})
    count, need = given["count"], plugin.demand(request).get("memory", 0)
    fits = len(plugin.assign(request, node, count)) == count and need * count <= given["memory"]
    assert fits == expect.pop("ok", False)
    if not fits:
        assert expect.pop("error") == "InsufficientCapacity"


def check_realloc(given: Mapping[str, Any], expect: dict[str, Any]) -> None:
    plugin, old = plugin_of(given), given["old"]
    payload = {name: given[name] for name in ("cores", "numa_memory", "memory")}
    node = node_slots(plugin, {**payload, "numa": by_numa_node(given["numa"])})
    before = plugin.parse({"bind": True, **request_of(old)})
    amounts = {**old["cpu_map"], **{f"numa_memory/{numa}": size for numa, size in old["numa_memory"].items()}}
    held = Assignment(amounts=amounts, detail={"numa": old["numa_node"]})
    after = plugin.merge(before, request_of(given))
    assignment = plugin.reassign(after, node, held, before)
    assert (assignment is not None) == expect.pop("ok", False)
    if assignment is None:
        assert expect.pop("error") == "InsufficientResource"
    elif "note" in expect:
        assert "unbinds" in expect.pop("note")
        assert not any(slot.isdigit() for slot in assignment.amounts)


AREAS: Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], None]] = {
    "cpu_plan": check_plans,
    "cpu_plan_affinity": check_plans,
    "cpumem_capacity": check_capacity,
    "cpumem_deploy": check_deploy,
    "cpumem_realloc": check_realloc,
}


def cases() -> list[Any]:
    if not VECTORS.exists():
        absent = pytest.mark.skip(reason="Eru's known answers are not beside the repository (shared/vectors)")
        return [pytest.param("", {}, {}, id="absent", marks=absent)]
    vectors = json.loads(VECTORS.read_text())["vectors"]
    return [
        pytest.param(
            vector["area"], {**vector["input"], **case["input"]}, case["expect"], id=f"{vector['id']}-{number}"
        )
        for vector in vectors
        if vector["area"] in AREAS
        for number, case in enumerate(vector["cases"])
    ]


@pytest.mark.parametrize(("area", "given", "expect"), cases())
def test_known_answer(area: str, given: dict[str, Any], expect: dict[str, Any]) -> None:
    open_answers = dict(expect)
    if expect.get("error") in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[open_answers.pop("error")]):
            AREAS[area](given, {})
    else:
        AREAS[area](given, open_answers)
    assert not open_answers, "an expectation of a kind that is not checked"


def test_all_areas_have_cases() -> None:
    if not VECTORS.exists():
        pytest.skip("Eru's known answers are not beside the repository (shared/vectors)")
    assert {case.values[0] for case in cases()} == set(AREAS)

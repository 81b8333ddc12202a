"""GPU policies, Kubernetes', compositions: formulas by hand, a slow reference, ties, devices, caches, parameters."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from core_kit import node as plain_node
from core_kit import with_nodes
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.config import CPU, MEMORY, CoreConfig, PluginConfig, PolicyConfig
from scheduler.events import NodeJoined, ReallocRequested, WorkloadUpdated
from scheduler.gpu_policies import _FEW, _STEPS, _keys_of_few, _keys_of_many, tag_of, typical_pods
from scheduler.plugins.gpu import GpuPlugin
from scheduler.policies import BUILT_IN, Asking, BestFit, Weighted, make_policy
from scheduler.ports import Dimension, NodeColumns, SlotColumns
from scheduler.testing import Harness
from scheduler.testing.harness import placements

GPU = Dimension("gpu", "milli")
TYPICAL = [
    {"cpu": 4, "count": 1, "milli": 1000, "models": [], "share": 0.4},
    {"cpu": 2, "count": 1, "milli": 300, "models": [], "share": 0.3},
    {"cpu": 8, "count": 2, "milli": 1000, "models": ["A", "B"], "share": 0.2},
    {"cpu": 1, "count": 0, "milli": 0, "models": [], "share": 0.1},
]
GPU_POLICIES = ("gpu-packing", "gpu-clustering", "fgd", "openb-best-fit", "openb-dot-product")


def gpu_harness(policy: str, params: dict[str, Any] | None = None, **fields: Any) -> Harness:
    config = CoreConfig(
        dimensions=(CPU, MEMORY, GPU),
        plugins=(PluginConfig("gpu"),),
        policy=PolicyConfig(policy, params or {}),
        **fields,
    )
    return Harness(config, plugins=[GpuPlugin()])


def gpu_node(node_id: str, gpus: int, cpu: int = 64, model: str = "A", **fields: Any) -> NodeJoined:
    resources = {"gpu": {"model": model, "count": gpus, **fields}} if gpus else {}
    capacity = {"cpu": cpu, "memory": 64, "gpu": gpus * 1000}
    return NodeJoined(node_id=node_id, capacity=capacity, resources=resources)


def ask(h: Harness, name: str, count: int = 1, milli: int = 1000, cpu: int = 1, **group: Any) -> dict[str, str]:
    payloads = {"gpu": {"count": count, "milli": milli, **group}} if count else None
    return placements(h.submit(name, cpu, 1, count * milli, payloads=payloads))


def on(h: Harness, name: str) -> tuple[str, list[str]]:
    held = h.core.workloads[name].assignments
    return h.node_of(name), list(held["gpu"].detail["devices"]) if held else []


def scores(h: Harness, name: str, request: tuple[int, ...], groups: list[dict[str, Any]]) -> list[float]:
    """What a policy gives every node, for a request in canonical form."""
    planner = h.core.planner
    columns = planner.columns()
    shown = columns.with_slots(h.core.ledger.slots["gpu"].columns(columns.rows))
    policy = make_policy(name, {"typical_pods": TYPICAL} if name == "fgd" else {})
    payload = {"groups": groups} if groups else None
    return policy.score_slots(shown, np.array(request), payload, h.core.cluster).tolist()


def group(count: int, milli: int, models: tuple[str, ...] = (), memory: int = 0) -> dict[str, Any]:
    return {"count": count, "milli": milli, "models": list(models), "memory": memory}


# -- formulas by hand -------------------------------------------------------------------------------------------------


def test_gpu_packing_by_hand() -> None:
    h = gpu_harness("first-fit")
    h.step(gpu_node("shared", 2))
    ask(h, "a", milli=400)
    ask(h, "b", milli=300)  # 300 left there, and a whole one
    h.step(gpu_node("idle", 8), gpu_node("small", 1), gpu_node("none", 0))
    # A part goes to the device with the least left: 100 - 300 * 100 // 1000 // 10. Idle: max(33 - 8, 8) and max(32, 1).
    assert scores(h, "gpu-packing", (1, 1, 200), [group(1, 200)])[:3] == [97, 25, 32]
    assert scores(h, "gpu-packing", (1, 1, 1000), [group(1, 1000)])[:3] == [49, 25, 32]
    assert scores(h, "gpu-packing", (1, 1, 2000), [group(2, 300)])[0] == 49  # one shared, one idle
    assert scores(h, "gpu-packing", (1, 1, 0), []) == [0, 0, 0, 0]
    assert ask(gpu := packed(), "w", milli=200) == {"w": "shared"}
    assert on(gpu, "w") == ("shared", ["0"])


def packed() -> Harness:
    h = gpu_harness("gpu-packing")
    h.step(gpu_node("shared", 2))
    ask(h, "a", milli=700)
    h.step(gpu_node("idle", 8), gpu_node("small", 1))
    return h


def test_gpu_clustering_by_hand() -> None:
    h = gpu_harness("first-fit")
    h.step(gpu_node("share", 4))
    ask(h, "a", milli=500)
    h.step(gpu_node("both", 8))
    ask(h, "b", count=8)
    h.exited("b")
    ask(h, "c", count=2)  # goes to share, as first-fit would have it
    h.step(gpu_node("pair", 8))
    tags = {value: dict(where) for value, where in h.core.cluster.mark_values("gpu").items()}
    assert tags == {"share": {0: 1}, "2-gpu": {0: 1}}
    # left: share 1,500, both 8,000, pair 8,000 of 8,000 at most; b = 25 * (8000 - left) // 8000
    assert scores(h, "gpu-clustering", (1, 1, 2000), [group(2, 1000)]) == [20 + 50, 25, 25]
    assert scores(h, "gpu-clustering", (1, 1, 1000), [group(1, 1000)]) == [20, 25, 25]
    h.exited("c")
    assert scores(h, "gpu-clustering", (1, 1, 300), [group(1, 300)]) == [25 * 4500 // 8000 + 75, 25, 25]
    assert scores(h, "gpu-clustering", (1, 1, 0), []) == [0, 0, 0]


def test_openb_best_fit_and_dot_product_by_hand() -> None:
    h = gpu_harness("first-fit")
    h.step(gpu_node("large", 8, cpu=128), gpu_node("small", 2, cpu=32))
    request, groups = (16, 1, 1000), [group(1, 1000)]
    # 100 * (1 - (112/128 + 7000/8000) / 2) = 12.5 and 100 * (1 - (16/128 + 1000/8000) / 2) = 87.5
    assert scores(h, "openb-best-fit", request, groups) == [12, 87]
    # 100 * (1 - (1 * 16/128 + 1 * 1000/8000) / 2) = 87.5 and 100 * (1 - (32/128 * 1/8 + 2000/8000 * 1/8) / 2) = 96.875
    assert scores(h, "openb-dot-product", request, groups) == [87, 96]


def test_kubernetes_by_hand() -> None:
    # After a (2, 2) request: n0 uses (5, 6) of (10, 8), n1 (2, 2) of (4, 8).
    for policy, expected in (
        ("least-allocated", [(50 + 25) // 2, (50 + 75) // 2]),
        ("most-allocated", [(50 + 75) // 2, (50 + 25) // 2]),
        ("balanced-allocation", [87, 87]),  # 100 * (1 - |0.5 - 0.75| / 2), and the same
    ):
        h = with_nodes((10, 8), policy=policy)
        h.submit("filler", 3, 4)
        h.step(plain_node("n1", 4, 8))
        columns = h.core.planner.columns()
        assert make_policy(policy).score(columns, np.array([2, 2])).tolist() == expected, policy
    h = with_nodes((10, 0), (10, 10), policy="balanced-allocation")
    assert placements(h.submit("w", 5, 0)) == {"w": "n0"}, "memory that is not there does not count"


def test_percentages_of_the_largest_amounts_do_not_overflow() -> None:
    h = with_nodes((2**61, 2**60), policy="most-allocated")
    h.submit("w", 2**60, 2**59)
    columns = h.core.planner.columns()
    assert make_policy("most-allocated").score(columns, np.array([0, 0])).tolist() == [50]


def test_cosine_looks_at_the_direction_alone() -> None:
    h = with_nodes((16, 16), (4, 2), (2, 4), policy="cosine")
    assert placements(h.submit("w", 2, 1)) == {"w": "n1"}
    assert placements(h.submit("x", 1, 2)) == {"x": "n2"}
    assert placements(h.submit("nothing", 0, 0)) == {"nothing": "n0"}


def test_power_of_d_draws_and_takes_the_emptiest() -> None:
    counts: Counter[str] = Counter()
    h = with_nodes((9, 9), (8, 8), (7, 7), (0, 9), policy="power-of-d", params={"d": 2, "seed": 3})
    for number in range(1800):
        counts.update(placements(h.submit(f"w{number}", 1, 1)).values())
        h.exited(f"w{number}")
    # The best of two draws from three: 5/9, 3/9, 1/9.
    expected = {"n0": 1000, "n1": 600, "n2": 200}
    assert set(counts) == set(expected)
    assert sum((counts[n] - e) ** 2 / e for n, e in expected.items()) < 13.82  # 99.9 %, 2 degrees of freedom
    all_drawn = with_nodes((7, 7), (9, 9), (8, 8), policy="power-of-d", params={"d": 64})
    assert placements(all_drawn.submit("w", 1, 1)) == {"w": "n1"}


def test_weighted_normalises_over_the_nodes_that_fit() -> None:
    # best-fit: n2 is 1, n1 in between, n0 0; worst-fit is the opposite. n3 is the largest, but does not fit.
    nodes = [(10, 10), (6, 6), (5, 5), (99, 0)]
    for parts, chosen in (
        ({"best-fit": 1}, "n2"),
        ({"worst-fit": 1}, "n0"),
        ({"best-fit": 0.6, "worst-fit": 0.4}, "n2"),
        ({"best-fit": 0.4, "worst-fit": {"weight": 0.6}}, "n0"),
        ({"best-fit": 1, "worst-fit": 1, "first-fit": 5}, "n0"),
        ({"best-fit": -1}, "n0"),
    ):
        h = with_nodes(*nodes, policy="weighted", params={"parts": parts})
        assert placements(h.submit("w", 5, 5)) == {"w": chosen}, parts


# -- fragmentation ----------------------------------------------------------------------------------------------------


def fragmentation(cpu: int, left: list[int], model: str, kinds: list[dict[str, Any]]) -> float:
    """Of one node whose devices are all of one model; summed by reason first, as published."""
    by_reason = dict.fromkeys(("both", "devices", "cpu", "none asked", "none and no cpu", "model"), 0.0)
    for kind in kinds if sum(left) else ():
        fitting = [amount for amount in left if amount >= kind["milli"]]
        useless, has_cpu = sum(left), cpu >= kind["cpu"]
        if kind["count"] == 0:
            reason = "none asked" if has_cpu else "none and no cpu"
        elif kind["models"] and model not in kind["models"]:
            reason = "model"
        elif len(fitting) < kind["count"]:
            reason = "devices" if has_cpu else "both"
        elif not has_cpu:
            reason = "cpu"
        else:
            reason, useless = "devices", sum(amount for amount in left if amount < kind["milli"])
        by_reason[reason] += kind["share"] * useless
    return sum(by_reason.values())


KINDS = st.fixed_dictionaries(
    {
        "cpu": st.integers(0, 9),
        "count": st.integers(0, 3),
        "milli": st.sampled_from([100, 300, 500, 1000]),
        "models": st.sampled_from([[], ["A"], ["A", "B"], ["C"]]),
        "share": st.floats(0, 1),
    }
)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, _FEW + 2), st.integers(0, 9), st.lists(st.integers(0, 9), unique=True), st.integers(0, 2**32))
def test_few_nodes_have_the_keys_of_many(nodes: int, slots: int, steps: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds, cpu = rng.integers(-2, 12, (2, nodes))
    cpu_asked = int(rng.integers(0, 5))
    free = rng.integers(0, 2**40, (nodes, slots))
    few, many = (keys(kinds, cpu, cpu_asked, free, sorted(steps)) for keys in (_keys_of_few, _keys_of_many))
    assert few == many
    assert len(few) == nodes


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kinds=st.lists(KINDS, max_size=6))
def test_fgd_scores_as_a_slow_one(data: st.DataObject, kinds: list[dict[str, Any]]) -> None:
    """Also in columns of several kinds of nodes, one without devices, that change from call to call."""
    policy = make_policy("fgd", {"typical_pods": kinds})
    nodes = [("A", 4), ("B", 2), ("A", 3), ("C", 1), ("", 0)]
    inventories = [GpuPlugin().inventory({"model": model, "count": n}, {}, {}) for model, n in nodes if n]
    ids = np.array([0, 1, 2, 3, -1])
    request = np.array([data.draw(st.integers(0, 2)), 0, 0])
    groups = data.draw(st.sampled_from([[], [group(1, 100)], [group(1, 300)], [group(2, 300)], [group(2, 1000)]]))
    for _ in range(2):
        left = [data.draw(st.lists(st.sampled_from([0, 100, 300, 1000]), min_size=n, max_size=n)) for _, n in nodes]
        free = np.array([data.draw(st.lists(st.integers(2, 9), min_size=5, max_size=5)), [0] * 5, [0] * 5])
        slots = SlotColumns(inventories, ids, np.array([one + [0] * (4 - len(one)) for one in left]))
        columns = NodeColumns((CPU, MEMORY, GPU), np.arange(5), free, free, np.ones(3, dtype=np.int64), slots)
        found = policy.score_slots(columns, request, {"groups": groups}, None)  # type: ignore[arg-type]
        for row, (model, _) in enumerate(nodes):
            cpu = int(free[0, row])
            before = fragmentation(cpu, left[row], model, kinds)
            scores = [
                score_of(before - fragmentation(cpu - int(request[0]), after, model, kinds))
                for after in outcomes(left[row], groups)
            ]
            assert found[row] == max(scores, default=0), row


def outcomes(left: list[int], groups: list[dict[str, Any]]) -> list[list[int]]:
    """What can be left: of a part of one device each choice, of the rest those with the least left are taken."""
    if not groups:
        return [left]
    count, milli = groups[0]["count"], groups[0]["milli"]
    fitting = sorted((device for device, amount in enumerate(left) if amount >= milli), key=lambda one: left[one])
    tries = [[device] for device in fitting] if (count, milli < 1000) == (1, True) else [fitting[:count]]
    return [[amount - milli * (device in tried) for device, amount in enumerate(left)] for tried in tries]


def score_of(fall: float) -> int:
    """The published score, with its rounding: a fall that is as good as 0 scores 50."""
    return int(1.0 / (1.0 + math.exp(-fall / 1000.0)) * 100.0)


@given(st.floats(-9.0, 9.0))
def test_the_steps_are_those_of_the_formula(fall: float) -> None:
    assert np.searchsorted(_STEPS, fall, side="right") == int(1.0 / (1.0 + math.exp(-fall)) * 100.0)


def test_as_good_as_no_change_scores_50() -> None:
    for fall in (0.0, -1e-17, 1e-17, -1e-16):
        assert np.searchsorted(_STEPS, fall, side="right") == score_of(fall * 1000) == 50


class SlowNode:
    """A node of the slow FGD: milli left by device, in plain lists."""

    def __init__(self, name: str, cpu: int, gpus: int, model: str) -> None:
        self.name, self.cpu, self.left, self.model = name, cpu, [1000] * gpus, model

    def best(self, cpu: int, count: int, milli: int) -> tuple[int, list[int]] | None:
        """The score, and what would be left of the devices."""
        fitting = [device for device, left in enumerate(self.left) if left >= milli]
        if cpu > self.cpu or len(fitting) < count:
            return None
        tries = [fitting[:count]] if milli == 1000 or not count else [[device] for device in fitting]
        before = fragmentation(self.cpu, self.left, self.model, TYPICAL)
        best: tuple[int, list[int]] | None = None
        for devices in tries:
            left = [amount - milli * (device in devices) for device, amount in enumerate(self.left)]
            score = score_of(before - fragmentation(self.cpu - cpu, left, self.model, TYPICAL))
            if best is None or score > best[0]:
                best = score, left
        return best


@pytest.mark.parametrize("seed", range(4))
def test_fgd_decides_as_a_slow_one(seed: int) -> None:
    draw = random.Random(seed)
    h = gpu_harness("fgd", {"typical_pods": TYPICAL})
    nodes = []
    for number in range(12):
        gpus, cpu, model = draw.choice([0, 1, 2, 4]), draw.choice([8, 16, 32]), draw.choice("ABC")
        nodes.append(SlowNode(f"n{number}", cpu, gpus, model))
        h.step(gpu_node(f"n{number}", gpus, cpu, model))
    for number in range(120):
        count, milli = draw.choice([(0, 0), (1, 1000), (1, 1000), (2, 1000), (1, 300), (1, 500), (1, 100)])
        cpu = draw.randint(0, 4)
        found = [(one.best(cpu, count, milli), one) for one in nodes]
        placed = ask(h, f"w{number}", count, milli, cpu)
        fitting = [(best, one) for best, one in found if best is not None]
        if not fitting:
            assert placed == {}
            continue
        (_, left), chosen = max(fitting, key=lambda pair: pair[0][0])  # the first of equals
        chosen.cpu, chosen.left = chosen.cpu - cpu, left
        assert placed == {f"w{number}": chosen.name}
        row = h.core.cluster.by_id[chosen.name].row
        assert h.core.ledger.slots["gpu"].node(row).free == left


def test_without_typical_pods_fgd_has_no_opinion() -> None:
    h = gpu_harness("fgd")
    h.step(gpu_node("a", 2), gpu_node("b", 1))
    assert ask(h, "w", milli=500) == {"w": "a"}
    assert make_policy("fgd").score_slots(shown(h), np.zeros(3), None, h.core.cluster).tolist() == [50, 50]


def shown(h: Harness) -> Any:
    columns = h.core.planner.columns()
    return columns.with_slots(h.core.ledger.slots["gpu"].columns(columns.rows))


def test_memory_of_devices_is_minded() -> None:
    h = gpu_harness("fgd", {"typical_pods": TYPICAL})
    h.step(gpu_node("a", 2, memory="16G"))
    ask(h, "heavy", milli=100, memory="15G")
    assert on(h, "heavy") == ("a", ["0"])
    ask(h, "next", milli=300, memory="8G")
    assert on(h, "next") == ("a", ["1"])


def test_typical_pods_are_the_most_frequent_until_they_cover() -> None:
    a, b, c, d = (4, 1, 1000, ()), (8, 1, 500, ("T4",)), (2, 0, 0, ()), (1, 8, 1000, ())
    found = typical_pods([a] * 50 + [c] * 20 + [b] * 20 + [d] * 10, coverage=0.9)
    assert [(pod["cpu"], pod["count"], pod["milli"], pod["models"]) for pod in found] == [
        (4, 1, 1000, []), (8, 1, 500, ["T4"]), (2, 0, 0, []),
    ]  # fmt: skip
    assert [pod["share"] for pod in found] == pytest.approx([5 / 9, 2 / 9, 2 / 9])
    assert typical_pods([a] * 3, 0.5) == [{"cpu": 4, "count": 1, "milli": 1000, "models": [], "share": 1.0}]
    assert typical_pods([]) == []


def test_fgd_learns_its_typical_pods_and_weighted_those_of_its_parts() -> None:
    work = [Asking((4, 1, 1000), {"gpu": {"groups": [group(1, 1000)]}}), Asking((2, 1, 0), {})]
    learned = make_policy("fgd").learn((CPU, MEMORY, GPU), work)
    assert learned["typical_pods"] == typical_pods([(4, 1, 1000, ()), (2, 0, 0, ())])
    assert make_policy("fgd", learned).learn((CPU, MEMORY, GPU), work) == {}
    parts = make_policy("weighted", {"parts": {"fgd": 0.7, "best-fit": 0.3}}).learn((CPU, MEMORY, GPU), iter(work))
    assert parts["parts"]["fgd"] == {"weight": 0.7, "params": dict(learned)}
    assert make_policy("weighted", parts).get_params() == parts
    assert BestFit().learn((CPU,), iter([])) == Weighted().learn((CPU,), iter([])) == {}


# -- devices ----------------------------------------------------------------------------------------------------------


def test_random_takes_any_device_that_fits_with_equal_probability() -> None:
    h = gpu_harness("random", {"seed": 5})
    h.step(gpu_node("a", 8, cpu=10**6))
    ask(h, "filler", milli=900)
    ((_, (taken,)),) = [on(h, "filler")]
    counts: Counter[str] = Counter()
    for number in range(1400):
        ask(h, f"w{number}", milli=200)
        counts.update(on(h, f"w{number}")[1])
        h.exited(f"w{number}")
    assert taken not in counts
    assert len(counts) == 7
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 22.46  # 99.9 %, 6 degrees of freedom
    ask(h, "whole", count=2)
    assert on(h, "whole")[1] == [device for device in "01234567" if device != taken][:2]


def test_what_is_preferred_is_tried_first_and_the_rest_in_order() -> None:
    plugin = GpuPlugin()
    h = gpu_harness("first-fit")
    h.step(gpu_node("a", 4))
    node = h.core.ledger.slots["gpu"].node(0)

    def devices(payload: Any, *preferred: str) -> list[str] | None:
        found = plugin.assign_preferring(plugin.parse(payload), node, preferred)
        return None if found is None else list(found.detail["devices"])

    assert devices({"milli": 500}, "2", "1") == ["2"]
    assert devices({"milli": 500, "count": 3}, "3") == ["3", "0", "1"]
    assert devices({"count": 2}, "3", "1") == ["3", "1"]
    assert devices({"count": 5}, "3") is None
    assert plugin.assign_preferring(plugin.parse({}), node, ["1"]) == plugin.assign(plugin.parse({}), node, 1)[0]
    node.free[2] = 400
    assert devices({"milli": 500}, "2", "1") == ["1"]


def test_work_is_marked_by_its_kind_also_while_it_changes() -> None:
    h = gpu_harness("gpu-clustering")
    h.step(gpu_node("a", 8))
    ask(h, "w", milli=500)
    h.started("w")
    h.step(ReallocRequested(workload_id="w", request=(0, 0, 1500), payloads={"gpu": {"count": 1, "milli": 500}}))
    assert {value: dict(rows) for value, rows in h.core.cluster.mark_values("gpu").items()} == {
        "share": {0: 1}, "2-gpu": {0: 1},
    }  # fmt: skip
    h.step(WorkloadUpdated(workload_id="w", generation=1, revision=1))
    assert {value: dict(rows) for value, rows in h.core.cluster.mark_values("gpu").items()} == {"2-gpu": {0: 1}}
    assert [tag_of([group(1, 999)]), tag_of([group(1, 1000)]), tag_of([group(2, 500), group(1, 1000)]), tag_of([])] == [
        "share", "1-gpu", "3-gpu", "",
    ]  # fmt: skip


# -- in the core ------------------------------------------------------------------------------------------------------


def gpu_storm(policy: str, params: dict[str, Any], seed: int, **fields: Any) -> list[tuple[str, list[str]]]:
    """Random work comes and goes; what was placed where, with its devices."""
    draw, found, running = random.Random(seed), [], []
    h = gpu_harness(policy, params, **fields)
    for number in range(16):
        h.step(gpu_node(f"n{number}", draw.choice([0, 1, 2, 4]), draw.choice([8, 32]), draw.choice("AB")))
    for number in range(130):
        if running and draw.random() < 0.35:
            done = running.pop(draw.randrange(len(running)))
            if h.core.workloads[done].row >= 0:
                h.exited(done)
            else:
                h.remove(done)
            continue
        name = f"w{number}"
        running.append(name)
        models = draw.choice([(), (), ("A",)])
        count, milli = draw.choice([(0, 0), (1, 1000), (2, 1000), (1, 250), (1, 400), (2, 500)])
        if ask(h, name, count, milli, draw.randint(0, 4), **({"models": models} if count else {})):
            found.append(on(h, name))
    return found


def params_of(policy: str) -> dict[str, Any]:
    if policy == "weighted":
        return {"parts": {"fgd": {"weight": 0.7, "params": {"typical_pods": TYPICAL}}, "best-fit": 0.3}}
    return {"typical_pods": TYPICAL} if policy == "fgd" else {}


@pytest.mark.parametrize("policy", list(BUILT_IN))
def test_the_cache_never_changes_a_decision_about_gpus(policy: str) -> None:
    cached = gpu_storm(policy, params_of(policy), 5)
    assert cached == gpu_storm(policy, params_of(policy), 5, cache_bytes=0)
    assert len(cached) > 50


def test_policies_tell_each_other_apart() -> None:
    found = {policy: gpu_storm(policy, params_of(policy), 6) for policy in (*GPU_POLICIES, "weighted", "random")}
    assert len({str(decided) for decided in found.values()}) == len(found)


@pytest.mark.parametrize("policy", list(BUILT_IN))
def test_every_policy_works_without_gpus(policy: str) -> None:
    h = with_nodes((4, 4), (2, 2), policy=policy, params=params_of(policy) if policy != "weighted" else None)
    assert len(placements(h.submit("w", 2, 2))) == 1
    assert placements(h.submit("large", 5, 5)) == {}


@pytest.mark.parametrize("policy", GPU_POLICIES)
def test_ties_go_to_the_lowest_row(policy: str) -> None:
    h = gpu_harness(policy, params_of(policy))
    h.step(*(gpu_node(f"n{number}", 2) for number in range(5)))
    assert ask(h, "w", count=2) == {"w": "n0"}
    assert ask(h, "x", count=2) == {"x": "n1"}


@pytest.mark.parametrize(
    ("policy", "params", "message"),
    [
        ("power-of-d", {"d": 0}, "policy 'power-of-d': d: 0 must be at least 1"),
        ("power-of-d", {"d": 1.5}, "policy 'power-of-d': d: 1.5 is not a whole number"),
        ("power-of-d", {"seed": "x"}, "policy 'power-of-d': seed: 'x' is not a whole number"),
        ("fgd", {"typical_pods": "all"}, "typical_pods: 'all' is not a list"),
        ("fgd", {"typical_pods": [{"cpu": 1}]}, r"typical_pods\[0\]: .* does not have just cpu, count"),
        ("fgd", {"typical_pods": [{**TYPICAL[0], "milli": 1001}]}, r"\[0\].milli: 1001 must be .* from 0 to 1000"),
        ("fgd", {"typical_pods": [{**TYPICAL[0], "share": math.nan}]}, r"\[0\].share: nan must be a finite number"),
        ("fgd", {"typical_pods": [{**TYPICAL[0], "models": "T4"}]}, r"\[0\].models: 'T4' must be a list"),
        ("weighted", {"parts": {}}, "parts: {} is no mapping from policy to weight"),
        ("weighted", {"parts": {"best-fot": 1}}, "did you mean 'best-fit'"),
        ("weighted", {"parts": {"best-fit": "x"}}, "parts.best-fit: 'x' is not a weight"),
        ("weighted", {"parts": {"best-fit": math.inf}}, "parts.best-fit: inf is not a weight"),
        ("weighted", {"parts": {"random": 1}}, "parts.random: a policy that draws has no scores"),
        ("weighted", {"parts": {"power-of-d": 1}}, "parts.power-of-d: a policy that draws has no scores"),
    ],
)
def test_parameters_that_make_no_sense(policy: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_policy(policy, params)

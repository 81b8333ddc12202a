"""What nodes have and workloads ask for in fuzzed worlds: payloads of a few forms for every plugin."""

from __future__ import annotations

from random import Random
from typing import Any

from eru_sim.fuzz.scenario import PLUGINS
from scheduler.config import SECOND_NS
from scheduler.events import NodeJoined, ReallocRequested, WorkloadsSubmitted

_DISKS = [
    {"device": "/dev/sda", "mounts": ["/a"], "read_iops": 100, "write_iops": 100, "read_bps": 900, "write_bps": 900},
    {"device": "/dev/sdb", "mounts": ["/b"], "read_iops": 40, "write_iops": 60, "read_bps": 500, "write_bps": 500},
]
_NODE: dict[str, tuple[Any, ...]] = {
    "cpu": (
        {"cores": 4, "memory": 20},
        {"cores": 4, "numa": ["0-1", "2-3"], "numa_memory": {"0": 40, "1": 30}, "memory": 70},
        {"cores": 2, "memory": 30},
        {"cores": 6, "numa": {"0": "0-2", "1": "3-5"}, "numa_memory": {"0": 60, "1": 60}, "memory": 120},
    ),
    "gpu": ({"model": "V100", "count": 4, "memory": 32}, {"model": "T4", "count": 2, "memory": 16}, None),
    "storage": (
        {"volumes": {"/d0": 100, "/d1": 60}},
        {"volumes": {"/a/d0": 80, "/a/d1": 80, "/b/d2": 50}, "disks": _DISKS, "storage": 50},
        {"storage": 60},
    ),
}
_TAINTS: tuple[tuple[str, ...], ...] = ((), (), (), ("special=yes:NoSchedule",), ("slow=x:PreferNoSchedule",))
_ASKED: dict[str, tuple[Any, ...]] = {
    "affinity": (
        {"labels": {"app": "web"}, "apart": [{"match": {"app": "web"}, "most": 1}]},
        {"labels": {"app": "db"}, "apart": [{"match": {"app": "web"}, "level": "rack", "most": 1}]},
        {"labels": {"app": "web"}, "spread": [{"match": {"app": "web"}, "level": "rack"}]},
        {"labels": {"app": "db"}, "near": [{"match": {"app": "db"}, "level": "rack"}]},
        {"prefer_apart": [{"match": {"app": "web"}, "level": "rack"}], "prefer_near": [{"match": {"app": "db"}}]},
    ),
    "cpu": (
        {"bind": True, "cpu_request": 1, "memory_request": 10},
        {"bind": True, "cpu_request": 0.5},
        {"bind": True, "cpu_request": 1.3, "memory_request": 5},
        {"cpu_request": 1, "memory_request": 10},
        {"cpu_request": 0.5, "cpu_limit": 1},
        {"bind": True, "cpu_request": 2, "numa_nodes": 2, "memory_request": 13},
        {"bind": True, "cpu_request": 2},
    ),
    "gpu": (
        {"count": 1, "milli": 300, "memory": 8},
        {"count": 2},
        {"count": 1, "models": ["V100"]},
        {"count": 1, "milli": 600},
    ),
    "images": ({"images": ["app:1"]}, {"images": {"app:1": 100, "app:2": 50}}),
    "labels": ({"zone": ["a"]}, {"zone": ["a", "b"]}),
    "licences": ({"matlab": 1}, {"spice": 1}, {"matlab": 2, "spice": 1}),
    "storage": (
        {"volumes": ["AUTO:/data:rw:20"], "storage": 5},
        {"volumes": ["AUTO:/data:rw:20", "AUTO:/log:rw:10"]},
        {"volumes": ["AUTO:/mono:mrw:30"]},
        {"storage": 10},
        {"volumes": ["AUTO:/data:rw:20:10:10:90:0"]},
    ),
    "taints": ({"tolerations": [{"key": "special", "value": "yes"}]},),
}
_CHANGES: dict[str, tuple[Any, ...]] = {
    "cpu": (
        {"cpu_request": 1, "keep_bind": True},
        {"cpu_request": 0.5, "keep_bind": True},
        {"cpu_request": -0.5, "keep_bind": True},
        {"memory_request": 7, "keep_bind": True},
    ),
    "gpu": ({"count": 1}, {"count": -1}, {"milli": 100}),
    "storage": ({"storage": 5}, {"volumes": ["AUTO:/data:rw:10"]}, {"volumes": ["AUTO:/data:rw:-10"]}),
}
IMAGES = ("app:1", "app:2", "app:3")
APPS = ("", "web", "db")


def node(node_id: str, draw: Random, features: frozenset[str]) -> NodeJoined:
    """A machine that joins."""
    picks = {plugin: draw.choice(choices) for plugin, choices in _NODE.items()}
    cpu, memory, zone, rack, pool, taints, storage, has_images = (
        draw.choice((2000, 4000, 6000)),
        draw.choice((40, 80, 120)),
        draw.choice("abc"),
        draw.choice(("r0", "r1", "r2", "")),
        draw.choice(("east", "west")),
        draw.choice(_TAINTS),
        draw.choice((0, 20)),
        draw.random() < 0.5,
    )
    resources = {name: picks[name] for name in _NODE if name in features and picks[name] is not None}
    capacity = {"cpu": cpu, "memory": memory} | ({"storage": storage} if "storage" in features else {})
    return NodeJoined(
        node_id=node_id,
        capacity=capacity,
        pool=pool if "pools" in features else "default",
        labels={"zone": zone} if "labels" in features else {},
        topology={"rack": rack} if rack and "affinity" in features else {},
        resources=resources,
        taints=taints if "taints" in features else (),
        images={"app:1": 100} if has_images and "images" in features else {},
    )


def capacity(draw: Random, features: frozenset[str]) -> dict[str, int]:
    """What a machine has from now on of the dimensions."""
    amounts = {"cpu": draw.choice((1000, 3000, 5000)), "memory": draw.choice((10, 50, 100))}
    return amounts | ({"storage": draw.choice((0, 30))} if "storage" in features else {})


def facts(draw: Random, features: frozenset[str]) -> tuple[dict[str, str] | None, tuple[str, ...] | None]:
    """What is known of a machine from now on: labels and taints."""
    zone, taints = draw.choice("abc"), draw.choice(_TAINTS)
    return ({"zone": zone} if "labels" in features else None), (taints if "taints" in features else None)


def spec(
    workload_id: str,
    operation_id: str,
    draw: Random,
    features: frozenset[str],
    *,
    at_ns: int = 0,
    is_plain: bool = False,
) -> WorkloadsSubmitted:
    """Something to be run. Every draw is made whatever the features are."""
    asked = {name: draw.choice(_ASKED[name]) for name in PLUGINS}
    wanted = [name for name in PLUGINS if draw.random() < 0.3]
    dice = {name: draw.random() for name in (
        "priority", "pool", "image", "app", "job", "tenant", "estimate", "deadline", "gang", "timeout", "preempts",
        "impatience", "failure", "loss", "exit", "template", "entrypoint",
    )}  # fmt: skip
    request = (draw.choice((0, 500, 1000, 2000)), draw.choice((0, 5, 10, 30)))
    count, retries = draw.choice((1, 1, 1, 2, 3, 4)), draw.choice((0, 1, 3))
    if is_plain:
        wanted, count = [], 1

    def has(feature: str, name: str, chance: float) -> bool:
        return feature in features and dice[name] < chance

    payloads = {name: asked[name] for name in wanted if name in features}
    gang = has("gangs", "gang", 0.35) and not is_plain
    return WorkloadsSubmitted(
        workload_id=workload_id,
        request=(*request, 0) if "storage" in features else request,
        count=count,
        priority=int(dice["priority"] * 4) if "priorities" in features or "preemption" in features else 0,
        pool="east" if has("pools", "pool", 0.3) else "",
        job_id="batch" if dice["job"] < 0.3 else "",
        tenant=("a", "a/x", "b")[int(dice["tenant"] * 3)] if {"tenants", "reservations"} & features else "",
        image=IMAGES[int(dice["image"] * 3)],
        template="t1" if dice["template"] < 0.2 else "",
        app=APPS[int(dice["app"] * 3)],
        entrypoint="main" if dice["entrypoint"] < 0.3 else "",
        estimate_ns=int(dice["estimate"] * 60) * SECOND_NS if has("estimates", "estimate", 0.8) else None,
        deadline_ns=at_ns + int(dice["deadline"] * 300) * SECOND_NS if has("deadlines", "deadline", 0.7) else None,
        gang=gang,
        gang_timeout_ns=30 * SECOND_NS if gang and has("gang_timeouts", "timeout", 0.5) else None,
        preempts=has("preemption", "preempts", 0.4) and not gang and not is_plain,
        payloads=payloads or None,
        on_unschedulable="fail" if has("impatience", "impatience", 0.25) else "queue",
        on_start_failure=("fail", "retry", "elsewhere")[int(dice["failure"] * 3)] if "retries" in features else "fail",
        start_retries=retries,
        on_node_loss="lose" if has("lose", "loss", 0.3) else "reschedule",
        on_exit="hold" if has("hold_on_exit", "exit", 0.3) else "end",
        operation_id=operation_id,
    )


def realloc(workload_id: str, operation_id: str, asked: WorkloadsSubmitted, draw: Random) -> ReallocRequested:
    """Another amount of what a workload has."""
    changes = {name: draw.choice(choices) for name, choices in _CHANGES.items()}
    has_request, cpu, memory = draw.random() < 0.5, draw.choice((-500, 500, 1000)), draw.choice((-5, 0, 5))
    payloads = {name: change for name, change in changes.items() if name in (asked.payloads or {})}
    request = (cpu, memory, *(0,) * (len(asked.request) - 2)) if has_request or not payloads else ()
    return ReallocRequested(
        workload_id=workload_id, request=request, payloads=payloads or None, operation_id=operation_id
    )

"""In which order openb's pods arrive and its nodes rank: as an order file says, or drawn until a demand is reached.

Both follow the protocol of Weng et al., USENIX ATC'23: pods arrive one after the other and never leave, and copies of
pods (``X-tuned-i``) arrive after the originals until the arrived demand reaches a share of the GPUs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from traces.schema import SECOND_NS, MachineEvent, Submission
from traces.tabular import fail, require_file, text_lines

_COPY = re.compile(r"(.+)-tuned-\d+")
_GPU = 2
"""The place of GPU milli in a request."""

Item = TypeVar("Item", MachineEvent, Submission)


def ordered(
    order_file: str, pods: Sequence[Submission], nodes: Sequence[MachineEvent]
) -> tuple[list[Submission], list[MachineEvent]]:
    """Return pods and nodes in the order of a file, one second apart; nodes that it leaves out come last.

    The file, plain or gzip-compressed, has lines ``P NAME`` in order of arrival and ``N NAME`` in order of rank. A copy
    of a pod is called ``NAME-tuned-I``. Pods that it leaves out do not arrive. TraceError names line and value.
    """
    path = require_file(order_file, what="order of pods and nodes")
    pod_of = {pod.workload_id: pod for pod in pods}
    node_of = {node.machine_id: node for node in nodes}
    arrivals: dict[str, Submission] = {}
    ranks: dict[str, MachineEvent] = {}
    for row, line in text_lines(path):
        kind, _, name = line.strip().partition(" ")
        if not kind:
            continue
        if kind == "P":
            copied = _COPY.fullmatch(name)
            original = name if name in pod_of or copied is None else copied[1]
            _put(path, row, name, pod_of.get(original), arrivals, "pod")
        elif kind == "N":
            _put(path, row, name, node_of.get(name), ranks, "node")
        else:
            fail(path, row, None, f"{line.strip()!r} is neither 'P POD' nor 'N NODE'")
    if not arrivals:
        fail(path, None, None, "no pod arrives; give lines 'P POD'")
    rest = [node for node in nodes if node.machine_id not in ranks]
    return _one_a_second(arrivals), [*ranks.values(), *rest]


def _put(path: Path, row: int, name: str, item: Item | None, into: dict[str, Item], what: str) -> None:
    if item is None:
        fail(path, row, what, f"{name!r} is not in the list of {what}s; correct the name, or choose another list")
    if name in into:
        fail(path, row, what, f"{name!r} is there twice; remove one of the lines")
    into[name] = item


def inflated(
    ratio: float, seed: int, pods: Sequence[Submission], nodes: Sequence[MachineEvent]
) -> tuple[list[Submission], list[MachineEvent]]:
    """Return pods and nodes, both shuffled, with as many pods as ask for up to ``ratio`` of all GPU milli.

    First all pods arrive, then copies of pods drawn with replacement; the last one is the last before the first that
    would exceed the ratio. The result depends on the arguments alone.
    """
    draws = random.Random(seed)
    limit = ratio * sum(node.capacity["gpu_milli"] for node in nodes)
    demand = 0
    arrivals: dict[str, Submission] = {}
    pool = sorted(pods, key=lambda pod: pod.workload_id)
    drawable = any(pod.request[_GPU] for pod in pool)
    shuffled = pool.copy()
    draws.shuffle(shuffled)
    for pod in shuffled:
        if demand + pod.request[_GPU] > limit:
            drawable = False
            break
        demand += pod.request[_GPU]
        arrivals[pod.workload_id] = pod
    while drawable:
        pod = pool[draws.randrange(len(pool))]
        if demand + pod.request[_GPU] > limit:
            break
        demand += pod.request[_GPU]
        arrivals[f"{pod.workload_id}-tuned-{len(arrivals) - len(pool)}"] = pod
    ranked = sorted(nodes, key=lambda node: node.machine_id)
    draws.shuffle(ranked)
    return _one_a_second(arrivals), ranked


def _one_a_second(arrivals: dict[str, Submission]) -> list[Submission]:
    return [
        replace(pod, at_ns=place * SECOND_NS, workload_id=name, service_ns=None, exit_code=0)
        for place, (name, pod) in enumerate(arrivals.items())
    ]

"""What fits where, by counting: whether a placement is allowed, and whether something could be placed.

Slow. `could_start` and `shortage` say why a placement must not be; `surely_fits` is
true only where a workload can be placed by rules that are simple enough to be sure of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from eru_sim.fuzz.model.holdings import CORE, GPU, Holding, demand_of, io_kinds, pieces_of, volumes_of
from eru_sim.fuzz.model.records import Node, Work
from eru_sim.fuzz.model.state import State


def could_start(state: State, work: Work, node: Node, *, in_order: bool = True) -> str:
    """Why a workload must not be placed on a node, whatever is free there; "" where nothing stands against it.

    Not ``in_order``: others may have been placed before it that are not known yet.
    """
    spec, payloads = work.spec, work.spec.payloads or {}
    if node.state != "ready":
        return f"it is {node.state}"
    if spec.pool not in ("", node.pool):
        return f"it is in pool {node.pool}, not {spec.pool}"
    if state.is_reserved(node.node_id, spec):
        return "it is reserved for others"
    if node.node_id in work.avoided:
        return "a start has failed there before"
    for label, values in (payloads.get("labels") or {}).items():
        if node.labels.get(label) not in values:
            return f"its label {label} is {node.labels.get(label)}"
    tolerated = {(t["key"], t.get("value", "")) for t in (payloads.get("taints") or {}).get("tolerations", ())}
    for taint in node.taints:
        label, _, effect = taint.rpartition(":")
        key, _, value = label.partition("=")
        if state.rules.knows_taints and effect == "NoSchedule" and (key, value) not in tolerated:
            return f"its taint {taint} is not tolerated"
    for licence, number in (payloads.get("licences") or {}).items():
        _, left = state.licences_used()[licence]
        if left < number:
            return f"{left} licences of {licence} are left"
    return _neighbours(state, work, node, in_order=in_order)


# -- neighbours ----------------------------------------------------------------------------------------------------


def _rules(work: Work) -> Mapping[str, Any]:
    return (work.spec.payloads or {}).get("affinity") or {}


def _domain(node: Node, level: str) -> str | None:
    return node.node_id if level == "node" else node.topology.get(level)


def _others(state: State, domain: str, level: str) -> Iterator[Mapping[str, Any]]:
    """The affinity payloads of all that holds something in a domain, superseded instances too."""
    for node in state.nodes.values():
        if _domain(node, level) == domain:
            for name in node.on:
                yield _rules(state.work[name])
    for fence in state.fences.values():
        if _domain(state.nodes[fence.node_id], level) == domain:
            yield fence.rules


def _matches(labels: Mapping[str, str], match: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in match.items())


def _count(state: State, domain: str, level: str, match: Mapping[str, str]) -> int:
    return sum(1 for other in _others(state, domain, level) if _matches(other.get("labels") or {}, match))


def _neighbours(state: State, work: Work, node: Node, *, in_order: bool) -> str:
    """Why a workload must not be beside what is there; "" where nothing stands against it."""
    own = _rules(work)
    if not own:
        return ""
    labels = own.get("labels") or {}
    for rule in own.get("apart", ()):
        level, domain = rule.get("level", "node"), _domain(node, rule.get("level", "node"))
        if domain is not None:
            beside = _count(state, domain, level, rule["match"])
            if beside > rule.get("most", 0):
                return f"{beside} workloads of {rule['match']} are in {level} {domain}"
    for level in state.rules.levels:
        domain = _domain(node, level)
        for other in _others(state, domain, level) if domain is not None else ():
            for rule in other.get("apart", ()):
                if rule.get("level", "node") == level and _matches(labels, rule["match"]):
                    assert domain is not None
                    beside = _count(state, domain, level, rule["match"])
                    beside -= _matches(other.get("labels") or {}, rule["match"])
                    if beside + 1 > rule.get("most", 0):
                        return f"who is in {level} {domain} tolerates {rule.get('most', 0)} of {rule['match']}"
    if not in_order:
        return ""
    return _near(state, own, labels, node) or _spread(state, own, labels, node)


def _near(state: State, own: Mapping[str, Any], labels: Mapping[str, str], node: Node) -> str:
    for rule in own.get("near", ()):
        level, match = rule.get("level", "node"), rule["match"]
        domain = _domain(node, level)
        if domain is None:
            return f"it is in no {level}"
        if not _count(state, domain, level, match):
            domains = {_domain(other, level) for other in state.nodes.values()} - {None}
            anywhere = any(_count(state, str(other), level, match) for other in domains)
            if anywhere or not _matches(labels, match):
                return f"nobody of {match} is in {level} {domain}"
    return ""


def _spread(state: State, own: Mapping[str, Any], labels: Mapping[str, str], node: Node) -> str:
    for rule in own.get("spread", ()):
        level, match = rule.get("level", "node"), rule["match"]
        domain = _domain(node, level)
        if domain is None:
            return f"it is in no {level}"
        open_domains = {_domain(n, level) for n in state.nodes.values() if n.state == "ready"} - {None}
        counts = {str(name): _count(state, str(name), level, match) for name in open_domains}
        after = counts[domain] + _matches(labels, match)
        if len(counts) > 1 and after - min(counts.values()) > rule.get("max_skew", 1) and not state.has_nominations:
            return f"{after} of {match} would be in {level} {domain}, and {min(counts.values())} in another"
    return ""


# -- amounts -------------------------------------------------------------------------------------------------------


def shortage(state: State, node: Node, held: Holding, work: Work, before: Holding | None = None) -> str:
    """Of what there would be too little if a workload took ``held``; "" where all fits.

    What the workload has already (``before``), and what asks for nothing more, stands against nothing.
    """
    others = [other for name, other in state.holders(node.node_id) if name != work.workload_id]
    had = before.slots if before is not None else {}
    used: Counter[tuple[str, ...]] = Counter()
    for other in others:
        used.update(other.slots)
    for slot, amount in held.slots.items():
        if amount > had.get(slot, 0):
            has = node.total.get(slot)
            if has is None and slot[0] in ("numa", "gpu memory"):
                continue
            if used[slot] + amount > (has or 0):
                return f"{used[slot]} of {has or 0} of {' '.join(slot)} are taken, and {amount} are asked"
    for other in others:
        both = {device for device in held.alone if ("volume", device) in other.slots and device not in _alone(before)}
        both |= {
            device for device in other.alone if held.slots.get(("volume", device), 0) > had.get(("volume", device), 0)
        }
        if both:
            return f"{', '.join(sorted(both))} would be shared, but somebody wants it alone"
    return _cores(node, held, others, () if before is None else before.cores)


def _alone(held: Holding | None) -> tuple[str, ...]:
    return () if held is None else held.alone


def _cores(node: Node, held: Holding, others: list[Holding], had: tuple[str, ...]) -> str:
    """A core that two are bound to is a fragment of both."""
    for core in held.cores:
        if ("core", core) not in node.total:
            return f"it has no core {core}"
    if held.fragment < 0:
        return ""
    bound = [*others, held]
    shared = Counter(core for other in bound for core in other.cores)
    for core in held.cores:
        if shared[core] > 1 and core not in had:
            here = [other for other in bound if core in other.cores]
            if any(other.fragment == 0 for other in here):
                return f"core {core} belongs to somebody alone"
            pieces = sum(other.fragment for other in here if other.fragment > 0)
            if pieces > CORE:
                return f"{pieces} pieces of core {core} would be taken"
    if held.fragment > 0 and len(held.cores) > 1 and sum(shared[core] > 1 for core in held.cores) > 1:
        return f"of {','.join(held.cores)} more than one is shared, but only one is a fragment"
    return ""


# -- what surely fits ----------------------------------------------------------------------------------------------


def surely_fits(state: State, work: Work, node: Node) -> int:
    """How many more copies a node has room for: never more than there are, fewer where the rules are intricate."""
    payloads = work.spec.payloads or {}
    if payloads.get("affinity") or could_start(state, work, node):
        return 0
    used = state.used(node.node_id)
    copies = min(
        [
            (node.total.get(slot, 0) - used.get(slot, 0)) // amount
            for slot, amount in demand_of(work.spec, state.rules.dimensions).items()
        ],
        default=1000,
    )
    copies = max(0, min(copies, 1000))
    for licence, number in (payloads.get("licences") or {}).items():
        copies = min(copies, state.licences_used()[licence][1] // number)
    if payloads.get("cpu") is not None:
        copies = min(copies, _copies_of_cores(state, payloads["cpu"], node))
    if payloads.get("gpu") is not None:
        copies = min(copies, _copies_of_devices(payloads["gpu"], node, used))
    if payloads.get("storage") is not None:
        copies = min(copies, _copies_of_volumes(state, payloads["storage"], node, used))
    return copies


def _copies_of_cores(state: State, cpu: Mapping[str, Any], node: Node) -> int:
    cores = [slot[1] for slot in node.total if slot[0] == "core"]
    if not cpu.get("bind"):
        return 1000 if len(cores) * CORE >= pieces_of(cpu) else 0
    taken = {core for _, held in state.holders(node.node_id) for core in held.cores}
    whole, fragment = divmod(pieces_of(cpu), CORE)
    if cpu.get("numa_nodes"):
        return 0
    return (len(cores) - len(taken)) // (whole + (fragment > 0))


def _copies_of_devices(gpu: Mapping[str, Any], node: Node, used: Mapping[tuple[str, ...], int]) -> int:
    models = gpu.get("models")
    if models and (node.resources.get("gpu") or {}).get("model") not in models:
        return 0
    each, memory = gpu.get("milli", GPU), gpu.get("memory", 0)
    devices = [slot[1] for slot in node.total if slot[0] == "gpu"]
    room = 0
    for device in devices:
        free, left = GPU - used.get(("gpu", device), 0), node.total["gpu memory", device]
        if each < GPU:
            left -= used.get(("gpu memory", device), 0)
            if used.get(("gpu", device), 0) == GPU:
                continue
        if free >= each and left >= memory:
            room += 1
    return room // gpu["count"] if gpu.get("count", 1) > 1 else room


def _copies_of_volumes(
    state: State, storage: Mapping[str, Any], node: Node, used: Mapping[tuple[str, ...], int]
) -> int:
    """One copy where a single device that is nobody's alone has room for all of it."""
    volumes = volumes_of(storage)
    if any("m" in flags for flags, _, _ in volumes):
        return 0
    if not volumes:
        return 1000
    alone = {device for _, held in state.holders(node.node_id) for device in held.alone}
    size = sum(size for _, size, _ in volumes)
    if any(any(io) for _, _, io in volumes):
        return 0 if (node.resources.get("storage") or {}).get("disks") is None else _with_io(volumes, node, used, alone)
    devices = [slot for slot in node.total if slot[0] == "volume" and slot[1] not in alone]
    return int(any(node.total[slot] - used.get(slot, 0) >= size for slot in devices))


def _with_io(
    volumes: list[tuple[str, int, tuple[int, ...]]],
    node: Node,
    used: Mapping[tuple[str, ...], int],
    alone: set[str],
) -> int:
    size = sum(size for _, size, _ in volumes)
    for disk in node.resources["storage"]["disks"]:
        served = [
            device for device in node.resources["storage"]["volumes"]
            if any(device.startswith(f"{mount}/") for mount in disk["mounts"]) and device not in alone
        ]  # fmt: skip
        has_io = all(
            node.total["io", disk["device"], kind] - used.get(("io", disk["device"], kind), 0)
            >= sum(io[place] for _, _, io in volumes if io)
            for place, kind in enumerate(io_kinds())
        )
        if has_io and any(node.total["volume", d] - used.get(("volume", d), 0) >= size for d in served):
            return 1
    return 0

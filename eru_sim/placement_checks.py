"""Checks of a placement against the trace that it is for, sharing no code with the scheduler.

Both checks look at a finished placement: what is on which machine, not in which order it came. Work that is not placed
is no violation. Violations come in order of the trace's machines, and of groups where no single machine is at fault.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from eru_sim.errors import EruError
from traces import MachineEvent, Submission, Trace, open_trace

NumaPlace: TypeAlias = tuple[str, Sequence[int | str]]
"""A host, and the NUMA nodes of it that a VM is on."""


class Violation(msgspec.Struct, frozen=True):
    """One broken rule. ``kind`` names it, ``machine`` is where (one of the machines), ``detail`` is one line."""

    kind: str
    machine: str
    detail: str


def tianchi_violations(trace: Trace | str, placement: Mapping[str, str]) -> list[Violation]:
    """Check a placement (instance -> machine) of ``tianchi2018``, given as open trace or as source text.

    Kinds: ``cpu`` and ``memory`` (at some point of the curves the sum on a machine exceeds it; one violation a
    machine), the name of each dimension (``disk``, ``p``, ``m``, ``pm``), and ``interference`` (one a rule and machine:
    beside an instance of A there are more than ``most`` of B). Raises EruError for an instance or a machine that the
    trace does not have.
    """
    trace = _opened(trace)
    instances = {item.workload_id: item for item in trace.submissions()}
    machines = {event.machine_id: event for event in trace.machine_events()}
    _require_known(placement, instances, "instance")
    _require_known(placement.values(), machines, "machine")
    on_machine: dict[str, list[Submission]] = {name: [] for name in machines}
    for instance, machine in placement.items():
        on_machine[machine].append(instances[instance])
    curves: dict[str, NDArray[np.int64]] = {}
    violations: list[Violation] = []
    for name, items in on_machine.items():
        if items:
            violations += _over_curves(machines[name], items, curves)
            violations += _over_dimensions(machines[name], items, trace.dimensions)
            violations += _interference(name, items)
    return violations


def _over_curves(
    machine: MachineEvent, items: list[Submission], curves: dict[str, NDArray[np.int64]]
) -> Iterator[Violation]:
    """``curves`` remembers the arrays by application; instances of one application have the same curves."""
    total = machine.resources["curve"]
    names = list(total)
    for item in items:
        if item.job_id not in curves:
            payload = _payload(item, "curve")
            curves[item.job_id] = np.array([payload[name] for name in names], dtype=np.int64)
    used = np.sum([curves[item.job_id] for item in items], axis=0)
    for name, points in zip(names, used, strict=True):
        worst = int(points.argmax())
        if points[worst] > total[name]:
            detail = f"{len(items)} instances use {points[worst]} of {total[name]} at point {worst}"
            yield Violation(name, machine.machine_id, detail)


def _over_dimensions(
    machine: MachineEvent, items: list[Submission], dimensions: tuple[str, ...]
) -> Iterator[Violation]:
    for index, column in enumerate(dimensions):
        used, total = sum(item.request[index] for item in items), machine.capacity[column]
        if used > total:
            detail = f"{len(items)} instances ask for {used} of {total} {column}"
            yield Violation(column.partition("_")[0], machine.machine_id, detail)


def _interference(machine: str, items: list[Submission]) -> Iterator[Violation]:
    here = Counter(item.job_id for item in items)
    rules = {item.job_id: _payload(item, "affinity")["apart"] for item in items}
    for app in here:
        for rule in rules[app]:
            other = rule["match"]["app"]
            beside = here[other] - (other == app)
            if beside > rule["most"]:
                detail = f"{beside} of {other} beside an instance of {app}, which tolerates {rule['most']}"
                yield Violation("interference", machine, detail)


def huawei_violations(trace: Trace | str, placement: Mapping[str, NumaPlace]) -> list[Violation]:
    """Check a placement (VM -> host and NUMA nodes) of ``huawei_numa2025``, given as open trace or as source text.

    Kinds: ``numa`` (not on as many distinct NUMA nodes of the host as it asks for), ``cores`` and ``memory`` (the VMs
    on a NUMA node exceed it; a VM takes equal parts from its NUMA nodes), then by group ``affinity`` (members in more
    than one rack), ``anti-affinity`` (several members on a host) and ``fault_domain`` (members of several fault domains
    in a rack; one violation for each domain but the first). A VM that violates ``numa`` is not counted on any NUMA
    node. Raises EruError for a VM or a host that the trace does not have.
    """
    trace = _opened(trace)
    vms = {item.workload_id: item for item in trace.submissions()}
    hosts = {event.machine_id: event for event in trace.machine_events()}
    _require_known(placement, vms, "VM")
    _require_known((host for host, _ in placement.values()), hosts, "host")
    return [*_over_numa(vms, hosts, placement), *_broken_groups(vms, hosts, placement)]


def _over_numa(
    vms: Mapping[str, Submission], hosts: Mapping[str, MachineEvent], placement: Mapping[str, NumaPlace]
) -> list[Violation]:
    found: dict[str, list[Violation]] = {host: [] for host in hosts}
    cores: Counter[tuple[str, str]] = Counter()
    memory: Counter[tuple[str, str]] = Counter()
    for name, (host, nodes) in placement.items():
        asked = _payload(vms[name], "cpu")
        count = asked["numa_nodes"]
        places = {str(node) for node in nodes}
        if not len(places) == len(nodes) == count or not places <= hosts[host].resources["cpu"]["numa"].keys():
            found[host].append(Violation("numa", host, f"{name} asks for {count} NUMA nodes and is on {[*nodes]}"))
            continue
        for place in places:
            cores[host, place] += asked["cpu_request"] // count
            memory[host, place] += asked["memory_request"] // count
    for host, event in hosts.items():
        resource = event.resources["cpu"]
        for node, ids in resource["numa"].items():
            used = (
                ("cores", cores[host, node], len(ids)),
                ("memory", memory[host, node], resource["numa_memory"][node]),
            )
            for kind, amount, total in used:
                if amount > total:
                    found[host].append(Violation(kind, host, f"NUMA node {node}: {amount} of {total}"))
    return [violation for violations in found.values() for violation in violations]


def _broken_groups(
    vms: Mapping[str, Submission], hosts: Mapping[str, MachineEvent], placement: Mapping[str, NumaPlace]
) -> Iterator[Violation]:
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in vms:
        if name in placement and vms[name].job_id:
            for strategy, value in _payload(vms[name], "affinity")["labels"].items():
                groups[strategy, value.partition("/")[0]].append(name)
    for (strategy, group), members in groups.items():
        host_of = {name: placement[name][0] for name in members}
        rack_of = {name: hosts[host].topology["rack"] for name, host in host_of.items()}
        title = f"{strategy} group {group}"
        if strategy == "affinity":
            first = rack_of[members[0]]
            away = [name for name in members if rack_of[name] != first]
            if away:
                yield Violation(strategy, host_of[away[0]], f"{title}: {away[0]} is not in rack {first}")
        elif strategy == "anti-affinity":
            for host, count in Counter(host_of.values()).items():
                if count > 1:
                    yield Violation(strategy, host, f"{title}: {count} members on one host")
        else:
            yield from _mixed_racks(title, {name: _domain(vms[name]) for name in members}, rack_of, host_of)


def _mixed_racks(
    title: str, domain_of: Mapping[str, str], rack_of: Mapping[str, str], host_of: Mapping[str, str]
) -> Iterator[Violation]:
    domains: dict[str, set[str]] = {}
    for name, rack in rack_of.items():
        known = domains.setdefault(rack, set())
        if known and domain_of[name] not in known:
            yield Violation("fault_domain", host_of[name], f"{title}: {name} is in rack {rack} with another domain")
        known.add(domain_of[name])


def _domain(vm: Submission) -> str:
    value: str = _payload(vm, "affinity")["labels"]["fault_domain"]
    return value


def _payload(item: Submission, plugin: str) -> Mapping[str, Any]:
    payload: Mapping[str, Any] = (item.constraints or {})[plugin]
    return payload


def _opened(trace: Trace | str) -> Trace:
    return open_trace(trace) if isinstance(trace, str) else trace


def _require_known(names: Iterable[str], known: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in known:
            raise EruError(f"placement: {what} {name!r} is not in the trace; give a placement of this very trace")

"""Cores and NUMA memory: what Eru's cpumem does. How cores are chosen: `scheduler.plugins.cpu_plans`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from scheduler import kernels
from scheduler.plugins.cpu_plans import (
    CoreOrder,
    Cores,
    Held,
    Plan,
    PlanRequest,
    cpu_pieces,
    exact_cpu,
    id_order,
    iterate_plans,
)
from scheduler.plugins.payloads import is_same, mapping, member, sequence, shown, size, text, whole
from scheduler.ports import (
    NOTHING,
    UNLIMITED,
    Assignment,
    Dimension,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeFacts,
    NodeSlots,
    SlotColumns,
    Usage,
)
from scheduler.types import Int64Array

REQUESTED = "requested"
"""The slot that counts the pieces which all work asked for, bound or not."""

CORES_MAX = 8192
OVERSELL_MAX = 1000
SHARE_BASE_MAX = 10**6
BYTES_MAX = 2**62
PERIOD_US = 100_000
WHOLE_SHARES = 1024
SHARES_MIN = 2

_BOUND_WEIGHT = 100.0
_NUMA_MEMORY = "numa_memory/"
_ID = re.compile(r"0|[1-9][0-9]{0,8}")
_PIECES = re.compile(r"-?[0-9]{1,18}")
_REQUEST_FIELDS = ("bind", "cpu_request", "cpu_limit", "memory_request", "memory_limit", "numa_nodes", "keep_bind")
_AMOUNTS = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
_CHANGE_FIELDS = ("cores", "share", "memory", "numa", "numa_memory")
_NODE_FIELDS = (*_CHANGE_FIELDS, "numa_memory_delta")


class _Node(NamedTuple):
    """A node's payload, read. None is for what was not said."""

    cores: dict[str, int] | None
    memory: int | None
    numa: dict[str, list[str]]
    numa_memory: dict[str, int] | None
    numa_memory_delta: dict[str, int]


class CpuPlugin(ExactPlugin):
    """Cores by pieces, memory of NUMA nodes, and, as a dimension, memory of the node.

    Parameters: ``share_base``, how many pieces make a core; ``max_share``, how many cores of a node (of a NUMA node,
    where there are some) may be broken into fragments, -1 for any number; ``core_order``, "number" or, as Eru has it,
    "string": how ids compare.

    Workload payload: ``bind`` (to cores of its own), ``cpu_request`` and ``cpu_limit`` in cores (int, float or decimal
    string, taken as the decimal number that is written), ``memory_request`` and ``memory_limit``, sizes as
    `scheduler.plugins.payloads` has them, e.g. 7 or "1.5G", and ``numa_nodes``. All may be absent; a limit of 0 is
    none. Bound work reserves all it may use. It gets cores of one NUMA node where possible, and that node's memory;
    else cores of any, and no NUMA memory in particular. With ``numa_nodes`` it gets an equal share of cores and memory
    from each of exactly so many NUMA nodes, or nothing; a node that does not say which cores are in which NUMA node has
    none. Unbound work needs as many cores on the node as it asks for, shares those that no bound work has, and never
    lacks CPU otherwise.

    Node payload: ``cores``, a count or pieces by core id (a mapping or a list of "id:pieces"); ``share``, pieces a core
    where ``cores`` is a count; ``memory``; ``numa``, the cores of each NUMA node as lists or text like "0-3,8", by NUMA
    id or in a list; ``numa_memory``, bytes by NUMA id or in a list, by default equal parts of the node's memory;
    ``numa_memory_delta``, what `change_node` has added to these. A node without a payload has the whole cores of its
    dimension "cpu" (millicores).

    Slots: one a core, in the order of ids, in pieces; ``numa_memory/<id>`` in bytes; ``requested``, counted only.
    """

    name = "cpu"
    dimensions = (Dimension("memory", "bytes"),)
    engine_keys = ("cpuset_cpus", "cpuset_mems", "cpu_period", "cpu_quota", "cpu_shares", "memory_bytes")
    examples = ({"cpu_request": 1, "memory_request": "1G"}, {"cpu_request": 1.5, "bind": True})
    placement_makes_room = True
    node_examples = ({"cores": 4, "memory": "8G", "numa": ["0-1", "2-3"]}, {"cores": 2})

    def __init__(self, share_base: int = 100, max_share: int = -1, core_order: CoreOrder = "number") -> None:
        if core_order not in ("number", "string"):
            raise ValueError(f"cpu.core_order: {shown(core_order)} is neither 'number' nor 'string'")
        self.share_base = whole("cpu.share_base", share_base, 1, SHARE_BASE_MAX)
        self.max_share = whole("cpu.max_share", max_share, -1, BYTES_MAX)
        self.core_order = core_order

    def parse(self, payload: Any) -> dict[str, Any]:
        """Fill in what follows from the rest, in Eru's order, and check it. ``keep_bind`` is for `merge` only."""
        mapping("cpu", payload, _REQUEST_FIELDS)
        bind = _flag(payload, "bind")
        _flag(payload, "keep_bind")
        cpu_request, cpu_limit = _cpu(payload, "cpu_request"), _cpu(payload, "cpu_limit")
        memory_request, memory_limit = _size(payload, "memory_request"), _size(payload, "memory_limit")
        if cpu_request == 0 and cpu_limit > 0:
            cpu_request = cpu_limit
        _check_not_negative({"memory_request": memory_request, "memory_limit": memory_limit})
        _check_not_negative({"cpu_request": _plain(cpu_request), "cpu_limit": _plain(cpu_limit)})
        if bind and cpu_request == 0:
            raise ValueError("cpu.cpu_request: 0 is too little to bind; ask for some CPU or set bind to false")
        if memory_request == 0:
            memory_request = memory_limit
        if 0 < memory_limit < memory_request:
            memory_limit = memory_request
        if 0 < cpu_limit < cpu_request:
            cpu_limit = cpu_request
        if bind and cpu_limit > cpu_request:
            cpu_request = cpu_limit
        if bind and cpu_request * self.share_base < 1:
            raise ValueError(
                f"cpu.cpu_request: {_plain(cpu_request)} is less than one piece of a core; "
                f"ask at least {_plain(_least_cpu(self.share_base))} or set bind to false"
            )
        request = {
            "bind": bind,
            "cpu_request": _plain(cpu_request),
            "cpu_limit": _plain(cpu_limit),
            "memory_request": memory_request,
            "memory_limit": memory_limit,
        }
        if payload.get("numa_nodes") is not None:
            request["numa_nodes"] = self._numa_nodes(payload["numa_nodes"], bind, cpu_request)
        return request

    def _numa_nodes(self, value: Any, bind: bool, cpu_request: Fraction) -> int:
        count = whole("cpu.numa_nodes", value, 1, BYTES_MAX)
        if not bind:
            raise ValueError(f"cpu.numa_nodes: {count} needs bind; set bind to true or leave numa_nodes out")
        if count > 1 and cpu_pieces(cpu_request, self.share_base) % (count * self.share_base) != 0:
            raise ValueError(
                f"cpu.numa_nodes: {_plain(cpu_request)} cores do not make a share of whole cores on each of {count} "
                f"NUMA nodes; ask for a multiple of {count} cores"
            )
        return count

    def merge(self, request: Any, change: Any) -> dict[str, Any]:
        """Add the amounts of ``change``, which are differences. Unbinds unless told to ``bind`` or to ``keep_bind``."""
        change = {} if change is None else change
        mapping("cpu", change, _REQUEST_FIELDS)
        bind = _flag(change, "bind") or (_flag(change, "keep_bind") and request["bind"])
        merged: dict[str, Any] = {"bind": bind}
        for name in _AMOUNTS:
            read = _cpu if name.startswith("cpu") else _size
            merged[name] = read(request, name) + read(change, name)
        numa_nodes = change.get("numa_nodes", request.get("numa_nodes") if bind else None)
        for name in ("cpu_request", "cpu_limit"):
            merged[name] = _plain(merged[name])
        return self.parse({**merged, "numa_nodes": numa_nodes})

    def demand(self, request: Any) -> dict[str, int]:
        """The memory that it asks for."""
        return {"memory": request["memory_request"]} if request["memory_request"] else {}

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        """See the class; None where neither the payload nor a dimension "cpu" names at least one whole core."""
        counted = capacity.get("cpu", 0) // 1000
        if payload is None and counted < 1:
            return None
        node = self._node({} if payload is None else payload, counted)
        if node.cores is None:
            raise ValueError("cpu.cores: it is missing, and the node has no dimension cpu; give a count, e.g. 64")
        numa_memory = node.numa_memory
        if numa_memory is None:
            memory = capacity.get("memory", 0) + (node.memory or 0)
            numa_memory = {numa_id: memory // len(node.numa) for numa_id in node.numa}
        for numa_id, added in node.numa_memory_delta.items():
            field = f"cpu.numa_memory.{numa_id}"
            numa_memory[numa_id] = whole(field, numa_memory[numa_id] + added, 0, BYTES_MAX)
        positions = {core: position for position, core in enumerate(node.cores)}
        return Inventory(
            slots=(*node.cores, *(_NUMA_MEMORY + numa_id for numa_id in node.numa), REQUESTED),
            total=(*node.cores.values(), *numa_memory.values(), len(node.cores) * self.share_base),
            counted=(REQUESTED,),
            layout={
                "core_count": len(positions),
                "numa_ids": list(node.numa),
                "numa_cores": [[positions[core] for core in cores] for cores in node.numa.values()],
            },
            capacity={} if node.memory is None else {"memory": node.memory},
        )

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> dict[str, Any]:
        """Change what the node has.

        Absolute: each field given takes the place of the old one. By difference: ``cores`` as pieces by core are added,
        unknown cores are new; as a count they are that many new cores after the last, or the last ones go;
        ``memory`` and ``numa_memory`` are added; ``numa`` takes the place of the old one. What is added to NUMA memory
        is noted as ``numa_memory_delta`` and lasts until ``numa`` or ``numa_memory`` is put in place.
        """
        mapping("cpu", change, _CHANGE_FIELDS)
        if is_delta:
            changed = self._added(payload, change)
        else:
            kept = dict(payload or {})
            if "cores" in change:
                kept.pop("share", None)
            if "numa" in change or "numa_memory" in change:
                kept.pop("numa_memory_delta", None)
            changed = {**kept, **change}
        self._node(changed)
        return changed

    def _added(self, payload: Any, change: Mapping[str, Any]) -> dict[str, Any]:
        if payload is None:
            raise ValueError("cpu: the node has no payload to add to; give the whole instead of a difference")
        old, changed = self._node(payload), dict(payload)
        if "cores" in change:
            share = change.get("share", changed.pop("share", None))
            changed["cores"] = self._changed_cores(old.cores, change["cores"], share)
        elif "share" in change:
            raise ValueError("cpu.share: it says how many pieces new cores have; give a count of them in cores")
        if "memory" in change:
            changed["memory"] = (old.memory or 0) + _size(change, "memory")
        if "numa" in change:
            changed["numa"] = change["numa"]
        if "numa_memory" in change:
            added = self._numa_sizes("numa_memory", change["numa_memory"], old.numa, least=-BYTES_MAX)
            before = old.numa_memory_delta
            sums = {numa_id: before.get(numa_id, 0) + added.get(numa_id, 0) for numa_id in old.numa}
            changed["numa_memory_delta"] = {numa_id: amount for numa_id, amount in sums.items() if amount}
        return changed

    def _changed_cores(self, old: Mapping[str, int] | None, added: Any, share: Any) -> dict[str, int]:
        if old is None:
            raise ValueError("cpu.cores: they come from the node's dimension cpu; give them whole, not as a difference")
        cores = dict(old)
        if isinstance(added, int) and not isinstance(added, bool):
            numbers = sorted(int(core) for core in cores)
            if added < -len(numbers) or added > CORES_MAX:
                raise ValueError(f"cpu.cores: {added} more than {len(numbers)} must give from 0 to {CORES_MAX}")
            for number in numbers[len(numbers) + added :] if added < 0 else ():
                del cores[str(number)]
            first = numbers[-1] + 1 if numbers else 0
            pieces = self.share_base if share is None else share
            return cores | {str(number): pieces for number in range(first, first + added)}
        for core, more in self._pieces_by_core(added, least=-BYTES_MAX).items():
            cores[core] = cores.get(core, 0) + more
        return cores

    def _node(self, payload: Any, counted: int = 0) -> _Node:
        """Read and check a node's payload; cores and NUMA nodes come out in the order of ids.

        ``counted`` is the count of cores where the payload says nothing of them, 0 if unknown.
        """
        mapping("cpu", payload, _NODE_FIELDS)
        cores = self._cores(payload, counted)
        numa = self._numa(payload.get("numa"))
        seen: set[str] = set()
        for numa_id, members in numa.items():
            for core in members:
                if core in seen or (cores is not None and core not in cores):
                    problem = "is in two NUMA nodes" if core in seen else "is not among the cores"
                    raise ValueError(f"cpu.numa.{numa_id}: core {core!r} {problem}; name each core of the node once")
                seen.add(core)
        numa_memory = payload.get("numa_memory")
        if numa_memory is not None:
            sizes = self._numa_sizes("numa_memory", numa_memory, numa, least=0)
            missing = [numa_id for numa_id in numa if numa_id not in sizes]
            if missing:
                raise ValueError(f"cpu.numa_memory: NUMA node {missing[0]!r} is missing; give the bytes of each")
            numa_memory = {numa_id: sizes[numa_id] for numa_id in numa}
        delta = self._numa_sizes("numa_memory_delta", payload.get("numa_memory_delta"), numa, least=-BYTES_MAX)
        memory = None if payload.get("memory") is None else size("cpu.memory", payload["memory"], 0, BYTES_MAX)
        return _Node(cores, memory, numa, numa_memory, delta)

    def _cores(self, payload: Mapping[str, Any], counted: int) -> dict[str, int] | None:
        value, share = payload.get("cores"), payload.get("share")
        if value is None:
            value = counted or None
        if value is None:
            return None
        if not isinstance(value, int) and share is not None:
            raise ValueError("cpu.share: it goes with a count of cores; with pieces by core leave it out")
        if isinstance(value, int):
            count = whole("cpu.cores", value, 0, CORES_MAX)
            value = {str(core): self.share_base if share is None else share for core in range(count)}
        cores = self._pieces_by_core(value, least=0)
        return {core: cores[core] for core in self._ordered(cores)}

    def _pieces_by_core(self, value: Any, least: int) -> dict[str, int]:
        """Read pieces by core id, from a mapping or from a list of "id:pieces"."""
        pairs: list[tuple[Any, Any]]
        if isinstance(value, Mapping):
            pairs = list(value.items())
        elif (
            isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)
        ):
            parts = [part for item in value for part in item.split(",")]
            pairs = [(core, _pieces_of(pieces, core)) for core, _, pieces in (p.partition(":") for p in parts)]
        else:
            raise ValueError(
                f"cpu.cores: {shown(value)} is neither a count nor pieces by core, e.g. 64 or {{'0': 100}}"
            )
        if len(pairs) > CORES_MAX:
            raise ValueError(f"cpu.cores: {len(pairs)} are more than a node can have, which is {CORES_MAX}")
        cores: dict[str, int] = {}
        for core, pieces in pairs:
            core_id = _id(core, "cores")
            if core_id in cores:
                raise ValueError(f"cpu.cores: core {core_id!r} is there twice; name it once")
            cores[core_id] = whole(f"cpu.cores.{core_id}", pieces, least, OVERSELL_MAX * self.share_base)
        return cores

    def _numa(self, value: Any) -> dict[str, list[str]]:
        named = _by_numa_id(value, "numa")
        numa = {
            (numa_id := _id(named_id, "numa")): _core_list(members, f"numa.{numa_id}") for named_id, members in named
        }
        return {numa_id: self._ordered(numa[numa_id]) for numa_id in self._ordered(numa)}

    def _numa_sizes(self, field: str, value: Any, numa: Mapping[str, Any], least: int) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for named_id, amount in _by_numa_id(value, field):
            numa_id = _id(named_id, field)
            if numa_id not in numa:
                raise ValueError(f"cpu.{field}.{numa_id}: there is no such NUMA node; name it in numa")
            sizes[numa_id] = size(f"cpu.{field}.{numa_id}", amount, least, BYTES_MAX)
        return sizes

    def _ordered(self, ids: Iterable[str]) -> list[str]:
        return sorted(ids, key=lambda identifier: id_order(identifier, self.core_order))

    def capacity(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Int64Array:
        """Bound: the number of plans, counted once for equal free pieces. Unbound: 0 or no bound, by how many cores."""
        assert nodes.slots is not None, "the framework gives an exact plugin its slots"
        slots = nodes.slots
        kind_of = None
        if request["bind"] and len(nodes.rows) > 1:
            first, kind_of = slots.distinct()
            slots = slots._replace(inventory_ids=slots.inventory_ids[first], free=slots.free[first])
        counts = np.zeros(len(slots.inventory_ids), dtype=np.int64)
        for inventory, positions in _by_inventory(slots):
            counts[positions] = self._counts(request, inventory, slots.free[positions])
        return counts if kind_of is None else counts[kind_of]

    def node_capacity(self, request: Any, node: NodeSlots, most: int) -> int:
        """`capacity` of a single node."""
        if node.inventory is NOTHING:
            return 0
        free = np.array([node.free], dtype=np.int64)
        return min(int(np.max(self._counts(request, node.inventory, free))), most)

    def _counts(self, request: Any, inventory: Inventory, free: Int64Array) -> Int64Array | int:
        layout = inventory.layout
        if not request["bind"]:
            return UNLIMITED if _exact(request["cpu_request"]) <= layout["core_count"] else 0
        asked = self._plan_request(request)
        members = layout["numa_cores"]
        return kernels.cpu_plan_counts(
            np.ascontiguousarray(free),
            layout["core_count"],
            np.array([core for cores in members for core in cores], dtype=np.int64),
            np.cumsum([0, *(len(cores) for cores in members)], dtype=np.int64),
            asked.pieces,
            asked.share_base,
            asked.max_share,
            asked.memory,
            asked.numa_nodes,
        )

    def _plan_request(self, request: Any) -> PlanRequest:
        return PlanRequest(
            self._pieces(request),
            self.share_base,
            self.max_share,
            request["memory_request"],
            request.get("numa_nodes", 0),
        )

    def _pieces(self, request: Any) -> int:
        return cpu_pieces(_exact(request["cpu_request"]), self.share_base)

    def usage(self, request: Any, nodes: NodeColumns, facts: NodeFacts) -> Usage | None:
        """Bound: of CPU, weight 100, by what was asked for, more than 1 is possible. Unbound: of memory, weight 1."""
        if request["bind"]:
            return self._cpu_usage(request, nodes)
        names = [dimension.name for dimension in nodes.dimensions]
        if "memory" not in names:
            return None
        dimension = names.index("memory")
        free, total = nodes.free[dimension], nodes.total[dimension]
        scale = np.where(total > 0, 1.0 / np.maximum(total, 1), 0.0)
        return Usage((total - free) * scale, request["memory_request"] * scale)

    def _cpu_usage(self, request: Any, nodes: NodeColumns) -> Usage:
        assert nodes.slots is not None, "the framework gives an exact plugin its slots"
        usage, rate = np.zeros(len(nodes.rows)), np.zeros(len(nodes.rows))
        pieces = self._pieces(request)
        for inventory, positions in _by_inventory(nodes.slots):
            total = inventory.total[-1]
            if total > 0:
                usage[positions] = (total - nodes.slots.free[positions, len(inventory.slots) - 1]) / total
                rate[positions] = pieces / total
        return Usage(usage, rate, _BOUND_WEIGHT)

    def uniform(self, request: Any) -> Assignment | None:
        """Unbound work gets nothing of its own."""
        return None if request["bind"] else self._unbound(request)

    def assign(self, request: Any, node: NodeSlots, count: int) -> list[Assignment]:
        """The first ``count`` plans: inside NUMA nodes first, by id."""
        if node.inventory is NOTHING:
            return []
        if not request["bind"]:
            fits = _exact(request["cpu_request"]) <= node.inventory.layout["core_count"]
            return [self._unbound(request)] * count if fits else []
        asked = self._plan_request(request)
        return [_bound(asked, node.inventory, plan) for plan in islice(iterate_plans(_cores_of(node), asked), count)]

    def reassign(self, request: Any, node: NodeSlots, held: Assignment, held_request: Any) -> Assignment | None:
        """The same cores where the amount is the same; else plans that prefer the cores and NUMA nodes held."""
        if node.inventory is NOTHING or not request["bind"]:
            return next(iter(self.assign(request, node, 1)), None)
        cores, asked = _cores_of(node), self._plan_request(request)
        before = _held(node.inventory, held)
        if _can_stay(cores, asked, before):
            return _bound(asked, node.inventory, Plan(dict(before.cores), tuple(before.numa)))
        plan = next(iterate_plans(cores, asked, before), None)
        return None if plan is None else _bound(asked, node.inventory, plan)

    def check_assignment(self, request: Any, inventory: Inventory, assignment: Assignment) -> None:
        """Bound: whole cores and at most one fragment that make up the amount, and of NUMA nodes equal shares."""
        expected = self._unbound(request)
        if request["bind"]:
            expected = self._found(request, inventory, assignment)
        for field in ("detail", "amounts"):
            value, wanted = getattr(assignment, field), getattr(expected, field)
            if not is_same(value, wanted):
                raise ValueError(f"cpu.{field}: {shown(value)} is not what is asked; that is {shown(wanted)}")

    def _found(self, request: Any, inventory: Inventory, assignment: Assignment) -> Assignment:
        """What bound work holds on the cores and NUMA nodes that are named; ValueError where these do not suit it."""
        asked = self._plan_request(request)
        numa = _named_numa(inventory, assignment.detail)
        count = inventory.layout["core_count"] if inventory.slots else 0
        named = enumerate(inventory.slots[:count])
        cores = {position: assignment.amounts[core] for position, core in named if core in assignment.amounts}
        whole_cores, fragment = divmod(asked.pieces, asked.share_base)
        wanted = [asked.share_base] * whole_cores + [fragment] * (fragment > 0)
        if sorted(cores.values(), reverse=True) != wanted:
            problem = f"are not {whole_cores} whole cores and a fragment of {fragment} pieces"
            raise ValueError(f"cpu.amounts: {shown(dict(assignment.amounts))} {problem}; name such cores")
        if asked.numa_nodes not in (0, len(numa)):
            raise ValueError(f"cpu.detail.numa: {len(numa)} NUMA nodes; {asked.numa_nodes} are asked, name them")
        for node in numa:
            inside = sum(cores.get(core, 0) for core in inventory.layout["numa_cores"][node])
            if inside * len(numa) != asked.pieces:
                numa_id = inventory.layout["numa_ids"][node]
                raise ValueError(
                    f"cpu.detail.numa: NUMA node {numa_id} gives {inside} of {asked.pieces} pieces; "
                    f"name cores with an equal share in each of the {len(numa)}"
                )
        return _bound(asked, inventory, Plan(cores, tuple(numa)))

    def _unbound(self, request: Any) -> Assignment:
        pieces = self._pieces(request)
        return Assignment(amounts={REQUESTED: pieces} if pieces else {})

    def shared(self, node: NodeSlots) -> list[str]:
        """The cores with at least one whole core free, in order; if there are none, all."""
        cores = node.inventory.slots[: node.inventory.layout["core_count"]]
        pool = [core for core, pieces in zip(cores, node.free, strict=False) if pieces >= self.share_base]
        return pool or list(cores)

    def engine_args(self, request: Any, assignment: Assignment | None, shared: Any) -> dict[str, Any]:
        """Bound: its cores without a quota, weighted by the fragment. Unbound: a quota on the shared cores.

        ``cpu_quota`` is in microseconds a ``cpu_period``, -1 for none; ``memory_bytes`` is 0 for no limit.
        """
        args: dict[str, Any] = {
            "cpu_period": PERIOD_US,
            "cpu_quota": -1,
            "cpu_shares": WHOLE_SHARES,
            "memory_bytes": request["memory_limit"],
        }
        if not request["bind"]:
            if request["cpu_limit"]:
                args["cpu_quota"] = cpu_pieces(_exact(request["cpu_limit"]), PERIOD_US)
            return {**args, "cpuset_cpus": ",".join(shared)} if shared else args
        assert assignment is not None, "bound work has cores"
        args["cpuset_cpus"] = ",".join(slot for slot in assignment.amounts if slot.isdigit())
        if assignment.detail is not None:
            args["cpuset_mems"] = assignment.detail["numa"]
        fragment = self._pieces(request) % self.share_base
        if fragment:
            args["cpu_shares"] = max(cpu_pieces(Fraction(fragment, self.share_base), WHOLE_SHARES), SHARES_MIN)
        return args


@lru_cache(maxsize=1024)
def _exact(number: int | float) -> Fraction:
    """The number as it is written."""
    return Fraction(str(number))


def _by_inventory(slots: SlotColumns) -> Iterator[tuple[Inventory, Int64Array]]:
    """Each inventory that some row has, with the positions of those rows."""
    for inventory_id in np.unique(slots.inventory_ids).tolist():
        if inventory_id >= 0:
            yield slots.inventories[inventory_id], np.flatnonzero(slots.inventory_ids == inventory_id)


def _cores_of(node: NodeSlots) -> Cores:
    count = node.inventory.layout["core_count"]
    return Cores(node.free[:count], node.inventory.layout["numa_cores"], node.free[count:-1])


def _bound(asked: PlanRequest, inventory: Inventory, plan: Plan) -> Assignment:
    layout = inventory.layout
    amounts = {inventory.slots[core]: pieces for core, pieces in plan.cores.items()}
    if plan.numa and asked.memory:
        share = _memory_share(asked.memory, len(plan.numa))
        amounts |= {inventory.slots[layout["core_count"] + node]: share for node in plan.numa}
    amounts[REQUESTED] = asked.pieces
    numa = ",".join(layout["numa_ids"][node] for node in plan.numa)
    return Assignment(amounts=amounts, detail={"numa": numa} if numa else None)


def _held(inventory: Inventory, held: Assignment) -> Held:
    """What an assignment has of the cores and NUMA nodes that there are."""
    layout = inventory.layout
    cores = inventory.slots[: layout["core_count"]]
    numa_ids = held.detail["numa"].split(",") if held.detail else []
    return Held(
        {position: held.amounts[core] for position, core in enumerate(cores) if core in held.amounts},
        [node for node, numa_id in enumerate(layout["numa_ids"]) if numa_id in numa_ids],
    )


def _named_numa(inventory: Inventory, detail: Any) -> list[int]:
    """The NUMA nodes that the detail of an assignment names, ascending; ValueError where there are no such."""
    if detail is None:
        return []
    numa_ids = inventory.layout["numa_ids"] if inventory.slots else []
    named = text("cpu.detail.numa", mapping("cpu.detail", detail, ["numa"]).get("numa")).split(",")
    for numa_id in named:
        if numa_id not in numa_ids:
            raise ValueError(f"cpu.detail.numa: no NUMA node {shown(numa_id)}; the node has {shown(numa_ids)}")
    return sorted({numa_ids.index(numa_id) for numa_id in named})


def _can_stay(cores: Cores, asked: PlanRequest, held: Held) -> bool:
    """Whether what is held will do: the same amount of CPU, on NUMA nodes with enough memory."""
    if sum(held.cores.values()) != asked.pieces or asked.numa_nodes not in (0, len(held.numa)):
        return False
    share = _memory_share(asked.memory, max(len(held.numa), 1))
    return all(cores.free[core] >= pieces for core, pieces in held.cores.items()) and all(
        cores.numa_memory[node] >= share for node in held.numa
    )


def _memory_share(memory: int, count: int) -> int:
    """An equal part, rounded up to a byte."""
    return -(-memory // count)


def _check_not_negative(amounts: Mapping[str, float]) -> None:
    for field, amount in amounts.items():
        if amount < 0:
            raise ValueError(f"cpu.{field}: {amount} must be at least 0")


def _flag(payload: Mapping[str, Any], field: str) -> bool:
    value = payload.get(field, False)
    if not isinstance(value, bool):
        raise ValueError(f"cpu.{field}: {shown(value)} is neither true nor false")
    return value


def _cpu(payload: Mapping[str, Any], field: str) -> Fraction:
    value = payload.get(field, 0)
    number = exact_cpu(value, f"cpu.{field}")
    return Fraction(str(_plain(number))) if isinstance(value, str) else number


def _plain(number: Fraction) -> int | float:
    """The number as an int, or as the float that is printed like it."""
    nearest = float(number)
    return int(nearest) if nearest.is_integer() else nearest


def _least_cpu(share_base: int) -> Fraction:
    """The cores of one piece, rounded up to the sixth decimal."""
    return Fraction(-(-(10**6) // share_base), 10**6)


def _size(payload: Mapping[str, Any], field: str) -> int:
    return size(f"cpu.{field}", payload.get(field, 0), -BYTES_MAX, BYTES_MAX)


def _pieces_of(pieces: str, core: str) -> int:
    if not _PIECES.fullmatch(pieces.strip()):
        field = member("cpu.cores", core)
        raise ValueError(f"{field}: {shown(pieces)} is not a number of pieces; write a core as '0:100'")
    return int(pieces)


def _id(value: Any, field: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return str(value)
    if not isinstance(value, str) or not _ID.fullmatch(value.strip()):
        raise ValueError(f"cpu.{field}: {shown(value)} is not an id; ids are numbers like '0'")
    return value.strip()


def _by_numa_id(value: Any, field: str) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(enumerate(value))
    raise ValueError(f"cpu.{field}: {shown(value)} is neither a mapping by NUMA node nor a list with one entry each")


def _core_list(value: Any, field: str) -> list[str]:
    """Read a list of cores: ids, or text like "0-3,8"."""
    cores: list[str] = []
    for part in value.split(",") if isinstance(value, str) else sequence(f"cpu.{field}", value):
        first, dash, last = part.partition("-") if isinstance(part, str) else (part, "", "")
        low = int(_id(first, field))
        high = int(_id(last, field)) if dash else low
        if not low <= high < low + CORES_MAX:
            raise ValueError(f"cpu.{field}: {shown(part)} is not a range of cores; the lower id comes first")
        cores += [str(core) for core in range(low, high + 1)]
    return cores

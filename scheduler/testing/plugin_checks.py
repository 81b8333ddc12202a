"""The conformance kit for resource plugins: `check_plugin`, in the spirit of scikit-learn's ``check_estimator``.

Theory of operation. A plugin is asked the way the framework asks it, in states that a real core reaches: a `Harness`
with nothing but this plugin is driven at random (submissions, deployments, exits, lost nodes, reloads), and before the
first move and after every one the ten properties are checked on what the ledger and the cluster then say. Whatever is
tried out is undone by a savepoint. The draws are a function of seed and number, so a failure repeats.

The properties, with what exactly is required:

* *admissible bound*: `capacity` is one int64 of at least 0 a row. Exact: on no row are more copies assigned, at once or
  (if monotone) one after the other, and not fewer if ``capacity_is_exact``; what `uniform` says is what they get; what
  is assigned passes `check_assignment`. Others: after a copy on a row that allowed c, the row allows at least c - 1.
  Coupled to the cluster: each limit is one lower after each copy.
* *purity*: asked again, and asked of a new plugin with the same parameters, the answers are the same, and neither
  request nor inventories nor facts have changed.
* *assign then release*: what a copy holds is the same when it is placed and when it goes, and then all is as before.
* *no over-commit*: what is assigned is there and free, together and for a realloc; filling up takes no more of a pool
  than there is; demand is of declared dimensions only.
* *summary coherence*: one row alone, all rows, and rows refreshed since the last look give the same; a copy on one row
  does not change the capacity of another; nodes alike in their slots have the same capacity.
* *finite scores*: scores are float64 from 0 to 1, usage and rate finite and at least 0, the weight finite and above 0.
* *permutation equivariance*: the same rows in another order, and the same nodes joined in another order, give the same
  answers for each.
* *monotonicity*: a copy taken away never lowers a capacity.
* *codec round trip*: canonical payloads, inventories, assignments, engine arguments and what is shared survive
  MessagePack and JSON; ``parse`` leaves a canonical payload alone.
* *bad input*: `parse`, `inventory` and `check_assignment` refuse with a ValueError of one line that starts with the
  plugin's name, and raise nothing else, whatever they are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NoReturn

import msgspec
import numpy as np

from scheduler.config import CPU, MEMORY
from scheduler.core import Core
from scheduler.events import NodeJoined
from scheduler.invariants import InvariantError
from scheduler.ledger import OvercommitError
from scheduler.ports import (
    NOTHING,
    UNLIMITED,
    Assignment,
    ExactPlugin,
    Inventory,
    NodeColumns,
    NodeSlots,
    ResourcePlugin,
)
from scheduler.request_classes import RequestClass
from scheduler.testing.random_core import RandomWorld
from scheduler.types import Int64Array
from scheduler.workload import Workload

BOUND = "admissible bound"
PURITY = "purity"
RELEASE = "assign then release"
OVERCOMMIT = "no over-commit"
COHERENCE = "summary coherence"
SCORES = "finite scores"
PERMUTATION = "permutation equivariance"
MONOTONICITY = "monotonicity"
CODEC = "codec round trip"
BAD_INPUT = "bad input"
CORE_RUN = "random core run"

PROPERTIES = (
    BOUND, PURITY, RELEASE, OVERCOMMIT, COHERENCE, SCORES, PERMUTATION, MONOTONICITY, CODEC, BAD_INPUT, CORE_RUN,
)  # fmt: skip
"""The ten properties, and that a core driven at random keeps its invariants."""

_COPIES = 24
"""More copies than this are not tried out on one node."""
_JUNK: tuple[Any, ...] = (
    None, True, -1, 1, 0.5, 1 << 70, "", "x", "9" * 5000, "9" * 5000 + "G", [], [None], ["x"], ["x", 1, None],
    {}, {"": None}, {"no such field": 1}, {1: 1}, {"x": 1, 1: 1, None: None}, {"x": None, "y": [None]},
)  # fmt: skip
_NO_BOUND = 1 << 62
"""Capacities from here on count as `UNLIMITED`: nobody has as many of anything."""
_WIDTH = 8
"""Of a longer list or mapping, what comes later is not damaged."""
_PAYLOAD_SHOWN = 200


class CheckReport(msgspec.Struct, frozen=True):
    """How many cases of each property were checked, in the order of `PROPERTIES`; 0 where there was nothing to."""

    plugin: str
    version: str
    seed: int
    cases: dict[str, int]


class PluginCheckError(AssertionError):
    """A plugin lacks a property. One line: property, plugin, what was found, payload, and the seed that repeats it.

    ``report`` tells what was checked until then.
    """

    def __init__(self, message: str, report: CheckReport) -> None:
        super().__init__(message)
        self.report = report


def check_plugin(
    plugin: ResourcePlugin,
    *,
    payloads: Sequence[Any],
    bad_payloads: Sequence[Any] = (),
    nodes: Sequence[NodeJoined] | None = None,
    is_monotone: bool = True,
    steps: int = 30,
    seed: int = 0,
) -> CheckReport:
    """Check that a plugin has the ten properties of the module's docstring; `PluginCheckError` for the first it lacks.

    ``payloads`` are valid ones, and some must fit on some node; ``bad_payloads`` are ones that `parse` has to refuse,
    besides those that the kit makes up. ``nodes`` are `default_nodes` if not given. ``is_monotone=False`` is for a
    plugin in which a copy may make room for others, by design. ``steps`` is the number of random moves.

    ValueError where there is no payload or one is refused, where a node is refused, or where no payload fits anywhere:
    then nothing would be checked.
    """
    if not payloads:
        raise ValueError("payloads: there are none; give at least one that fits on a node")
    checks = _Checks(plugin, payloads, default_nodes(plugin) if nodes is None else nodes, is_monotone, seed)
    checks.check_bad_input([*bad_payloads])
    checks.check_requests()
    checks.check_state()
    checks.check_order_of_nodes()
    for _ in range(steps):
        checks.move()
        checks.check_state()
    if not checks.placed:
        raise ValueError(f"payloads: none fits on any node for {plugin.name!r}; give nodes that have what they ask")
    return checks.report()


def default_nodes(plugin: ResourcePlugin, node_payloads: Sequence[Any] | None = None) -> list[NodeJoined]:
    """Eight nodes: two zones of two racks, labels, a taint and an image here and there; the last has nothing.

    ``node_payloads``, or else the plugin's ``node_examples``, are what they have in turn;
    every fourth node has none.
    """
    stated = plugin.node_examples if isinstance(plugin, ExactPlugin) else ()
    examples = list(stated if node_payloads is None else node_payloads)
    capacity = {CPU.name: 32_000, MEMORY.name: 64 << 30} | {dimension.name: 1 << 40 for dimension in plugin.dimensions}
    nodes = [
        NodeJoined(
            node_id=f"n{number}",
            capacity=capacity,
            labels={"zone": "ab"[number % 2], "size": ("small", "large")[number % 3 == 0]},
            topology={"zone": "ab"[number % 2], "rack": f"r{number % 4}"},
            taints=("dedicated=batch:NoSchedule",) if number == 2 else (),
            images={"web:1": 70 << 20} if number % 3 == 0 else {},
            resources={plugin.name: examples[number % len(examples)]} if examples and number % 4 != 3 else {},
        )
        for number in range(7)
    ]
    return [*nodes, NodeJoined(node_id="n7", capacity={})]


class _Checks:
    """One plugin under test: what is asked, the core, the draws, and how often each property was looked at."""

    def __init__(
        self, plugin: ResourcePlugin, payloads: Sequence[Any], nodes: Sequence[NodeJoined], is_monotone: bool, seed: int
    ) -> None:
        self.plugin = plugin
        self.exact = plugin if isinstance(plugin, ExactPlugin) else None
        self.nodes = nodes
        self.is_monotone = is_monotone
        self.seed = seed
        self.cases = dict.fromkeys(PROPERTIES, 0)
        self.placed = 0
        self.damaged: set[int] = set()
        """The payloads for which details that make no sense have been tried."""
        self._seen = -1
        self._known: dict[int, tuple[list[int], list[float]]] = {}
        """What capacities and scores were by payload, when the ledger's version was ``_seen``; -1 for never."""
        try:
            self.twin = type(plugin)(**plugin.get_params())
        except Exception as error:
            self._fail(PURITY, f"it cannot be made again from its get_params: {_name_of(error)}", None)
        self.payloads = list(payloads)
        self.requests = [self._parsed(payload) for payload in payloads]
        self._check_inventories()
        self.world = self._world(nodes)
        self.specs = [self.world.spec(payload) for payload in payloads]

    # -- tools ------------------------------------------------------------------------------------------------------

    @property
    def core(self) -> Core:
        return self.world.harness.core

    def report(self) -> CheckReport:
        return CheckReport(self.plugin.name, self.plugin.version, self.seed, dict(self.cases))

    def _fail(self, lacking: str, what: str, payload: Any) -> NoReturn:
        shown = repr(payload)
        if len(shown) > _PAYLOAD_SHOWN:
            shown = shown[:_PAYLOAD_SHOWN] + "..."
        line = f"{lacking}: plugin {self.plugin.name!r}: {what}; payload {shown}; seed={self.seed}"
        raise PluginCheckError(" ".join(line.split()), self.report()) from None

    def _require(self, wanted: str, condition: bool, what: str, payload: Any) -> None:
        self.cases[wanted] += 1
        if not condition:
            self._fail(wanted, what, payload)

    def _ask(self, wanted: str, plugin: ResourcePlugin, method: str, *arguments: Any, about: Any) -> Any:
        """Call a method of the plugin, which may raise nothing."""
        try:
            return getattr(plugin, method)(*arguments)
        except Exception as error:
            self._fail(wanted, f"{method} raises {_name_of(error)}", about)

    def _parsed(self, payload: Any) -> Any:
        try:
            return self.plugin.parse(payload)
        except ValueError as error:
            raise ValueError(f"payloads: {payload!r} is refused: {error}") from None
        except Exception as error:
            self._fail(BAD_INPUT, f"parse raises {_name_of(error)}", payload)

    def _check_inventories(self) -> None:
        """What the nodes have is plain data. Whether they are understood, the core says when they join."""
        if self.exact is None:
            return
        for node in self.nodes:
            payload = node.resources.get(self.plugin.name)
            with suppress(ValueError):
                inventory = self.exact.inventory(payload, node.capacity, node.labels)
                self._check_codec("the inventory", inventory, payload, Inventory | None)

    def _world(self, nodes: Sequence[NodeJoined]) -> RandomWorld:
        try:
            return RandomWorld(self.plugin, self.payloads, nodes, seed=self.seed, may_wait=self.is_monotone)
        except ValueError:
            raise
        except Exception as error:
            self._fail(CORE_RUN, f"the core fails when nodes join: {_name_of(error)}", None)

    def _columns(self, rows: Int64Array | None = None, core: Core | None = None) -> NodeColumns:
        core = core or self.core
        columns = core.planner.columns(rows)
        if self.exact is None:
            return columns
        return columns.with_slots(core.ledger.slots[self.plugin.name].columns(columns.rows))

    def _capacity(
        self, wanted: str, index: int, rows: Int64Array | None = None, core: Core | None = None
    ) -> Int64Array:
        """What the plugin allows by row; `UNLIMITED` for no bound."""
        columns = self._columns(rows, core)
        facts = (core or self.core).cluster
        payload = self.payloads[index]
        found = self._ask(wanted, self.plugin, "capacity", self.requests[index], columns, facts, about=payload)
        if found is None:
            return np.full(len(columns.rows), UNLIMITED, dtype=np.int64)
        is_whole = isinstance(found, np.ndarray) and found.dtype == np.int64 and found.shape == columns.rows.shape
        good = is_whole and bool((found >= 0).all())
        self._require(BOUND, good, f"capacity is not int64 of at least 0, one a row: {found!r}", payload)
        return np.where(found >= _NO_BOUND, UNLIMITED, found)

    def _score(self, wanted: str, index: int, rows: Int64Array | None = None, core: Core | None = None) -> list[float]:
        """Preferences by row; 0 for none."""
        columns = self._columns(rows, core)
        facts = (core or self.core).cluster
        payload = self.payloads[index]
        found = self._ask(wanted, self.plugin, "score", self.requests[index], columns, facts, about=payload)
        if found is None:
            return [0.0] * len(columns.rows)
        is_whole = isinstance(found, np.ndarray) and found.dtype == np.float64 and found.shape == columns.rows.shape
        good = is_whole and bool((found >= 0).all()) and bool((found <= 1).all())
        self._require(SCORES, good, f"scores are not float64 from 0 to 1, one a row: {found!r}", payload)
        scores: list[float] = found.tolist()
        return scores

    def _room(self, wanted: str, index: int, core: Core | None = None) -> Int64Array:
        """Capacity under the caps, if the coupling says that there are any."""
        core = core or self.core
        room = self._capacity(wanted, index, core=core)
        for cap in self._caps(wanted, index, core):
            limit = np.where(cap.domain_ids >= 0, cap.limit[cap.domain_ids], UNLIMITED)
            room = np.minimum(room, limit)
        return room

    def _caps(self, wanted: str, index: int, core: Core | None = None) -> Sequence[Any]:
        core = core or self.core
        request, payload = self.requests[index], self.payloads[index]
        if self._ask(wanted, self.plugin, "coupling_of", request, about=payload) == "none":
            return ()
        caps: Sequence[Any] = self._ask(wanted, self.plugin, "caps", request, core.cluster, core.ledger, about=payload)
        return caps

    def _node(self, row: int) -> NodeSlots:
        return self.core.ledger.slots[self.plugin.name].node(row)

    def _uniform(self, index: int) -> Assignment | None:
        """What every copy gets wherever it goes; None where that depends on the node."""
        assert self.exact is not None
        payload = self.payloads[index]
        uniform: Assignment | None = self._ask(BOUND, self.exact, "uniform", self.requests[index], about=payload)
        return uniform

    def _may_assign(self, index: int, node: NodeSlots) -> bool:
        """Whether the plugin has to answer for the node: not for one with nothing if all copies get the same."""
        return node.inventory is not NOTHING or self._uniform(index) is None

    def _assign(self, wanted: str, index: int, node: NodeSlots, count: int) -> list[Assignment]:
        payload = self.payloads[index]
        granted: list[Assignment] = self._ask(
            wanted, self.plugin, "assign", self.requests[index], NodeSlots(node.inventory, list(node.free)), count,
            about=payload,
        )  # fmt: skip
        self._require(OVERCOMMIT, len(granted) <= count, f"{len(granted)} copies where {count} were asked", payload)
        return granted

    def _claim(self, wanted: str, index: int, request_class: RequestClass, row: int, assignments: Any) -> Any:
        try:
            return self.core.state.resources.claim(request_class, row, assignments)
        except Exception as error:
            self._fail(wanted, f"charges raises {_name_of(error)}", self.payloads[index])

    def _place(self, wanted: str, index: int) -> tuple[int, Any, Any] | None:
        """Place one copy somewhere inside a savepoint: row, claim and assignments; None where none fits."""
        request_class = self.core.state.admit(self.specs[index])
        room = self._room(wanted, index)
        open_mask = self.core.cluster.open_mask
        rows = [
            row
            for row in np.flatnonzero(room >= 1).tolist()
            if open_mask[row] and self.core.ledger.fits(row, request_class.request)
        ]
        if not rows:
            return None
        row = self.world.draws.one_of(rows)
        assignments = None
        if self.exact is not None:
            granted = self._uniform(index) or next(iter(self._assign(wanted, index, self._node(row), 1)), None)
            if granted is None:
                return None
            assignments = {self.plugin.name: granted}
        claim = self._claim(wanted, index, request_class, row, assignments)
        try:
            self.core.ledger.hold(row, claim)
        except OvercommitError as error:
            self._fail(OVERCOMMIT, str(error), self.payloads[index])
        self.placed += 1
        return row, claim, assignments

    # -- once ---------------------------------------------------------------------------------------------------------

    def check_bad_input(self, bad_payloads: Sequence[Any]) -> None:
        """Given ones must be refused; junk and damaged payloads must be refused properly, or be understood."""
        for payload in bad_payloads:
            refused = self._refuses(payload, "parse")
            self._require(BAD_INPUT, refused, "parse accepts it, and should raise ValueError", payload)
        for payload in [*_JUNK, *(bad for good in self.payloads for bad in _damaged(good))]:
            if not self._refuses(payload, "parse"):
                once = self.plugin.parse(payload)
                self._require(CODEC, self.plugin.parse(once) == once, f"parse changes its own answer {once!r}", payload)
        if self.exact is None:
            return
        given = [node.resources[self.plugin.name] for node in self.nodes if self.plugin.name in node.resources]
        for payload in [*_JUNK, *(bad for good in given for bad in _damaged(good))]:
            self._refuses(payload, "inventory", {}, {})

    def _refuses(self, payload: Any, method: str, *more: Any) -> bool:
        """Whether the method refuses the payload; if so, it must be in the right way."""
        try:
            getattr(self.plugin, method)(payload, *more)
        except Exception as error:
            message = str(error)
            named = re.match(re.escape(self.plugin.name) + r"[.:\[ ]", message) is not None
            good = isinstance(error, ValueError) and named and "\n" not in message
            start = f"'{self.plugin.name}.<field>: '"
            problem = f"{method} raises {_name_of(error)}; wanted is a ValueError of one line that starts with {start}"
            self._require(BAD_INPUT, good, problem, payload)
            return True
        return False

    def check_requests(self) -> None:
        """What `parse` gives is plain, and stays as it is; if the plugin is universal, ``{}`` is understood."""
        if self.plugin.is_universal:
            self._ask(BAD_INPUT, self.plugin, "parse", {}, about={})
        names = {dimension.name for dimension in self.plugin.dimensions}
        for payload, request in zip(self.payloads, self.requests, strict=True):
            self._check_codec("the canonical payload", request, payload)
            again = self._ask(CODEC, self.plugin, "parse", request, about=payload)
            self._require(CODEC, again == request, f"parse gives {request!r}, and {again!r} for that", payload)
            demand = self._ask(OVERCOMMIT, self.plugin, "demand", request, about=payload)
            undeclared = sorted(set(demand) - names)
            self._require(OVERCOMMIT, not undeclared, f"demand of {undeclared}, which `dimensions` lacks", payload)

    def check_order_of_nodes(self) -> None:
        """The order in which nodes join changes nothing for any of them."""
        order = self.world.draws.order(len(self.nodes)).tolist()
        other = self._world([self.nodes[number] for number in order]).harness.core
        rows = [other.cluster.by_id[node.node_id].row for node in self.nodes]
        for index, payload in enumerate(self.payloads):
            here, there = self._room(PERMUTATION, index), self._room(PERMUTATION, index, other)[rows]
            what = f"capacity {here.tolist()}, and with the nodes in another order {there.tolist()}"
            self._require(PERMUTATION, np.array_equal(here, there), what, payload)
            scores, others = self._score(PERMUTATION, index), self._score(PERMUTATION, index, core=other)
            moved = [others[row] for row in rows]
            what = f"scores {scores}, and with the nodes in another order {moved}"
            self._require(PERMUTATION, scores == moved, what, payload)

    def _check_codec(self, what: str, value: Any, payload: Any, kind: Any = Any) -> None:
        for codec in (msgspec.msgpack, msgspec.json):
            format_name = codec.__name__.rpartition(".")[2]
            try:
                decoded = codec.decode(codec.encode(value), type=kind)
            except Exception as error:
                self._fail(CODEC, f"{what} does not survive {format_name}: {_name_of(error)}: {value!r}", payload)
            good = bool(decoded == value)
            self._require(CODEC, good, f"{what} {value!r} is {decoded!r} after {format_name}", payload)

    # -- in every state -----------------------------------------------------------------------------------------------

    def check_state(self) -> None:
        """All properties in the state that the core is in."""
        for index in range(len(self.payloads)):
            self._check_usage(index)
        self._check_purity()
        for index in range(len(self.payloads)):
            self._check_coherence(index)
            self._check_permutation(index)
            if self.exact is not None:
                self._check_assignments(self.exact, index)
            self._check_release(index)
            self._check_one_more(index)
        self._check_filling(self.world.draws.below(len(self.payloads)))
        self._seen = self.core.ledger.version

    def _answers(self, wanted: str, plugin: ResourcePlugin, index: int) -> dict[str, Any]:
        """Everything that the plugin says about one request now, as plain data."""
        core, columns = self.core, self._columns()
        request, facts = self.requests[index], self.core.cluster
        questions: dict[str, tuple[Any, ...]] = {
            "coupling_of": (request,),
            "demand": (request,),
            "marks": (request,),
            "pools": (),
            "capacity": (request, columns, facts),
            "score": (request, columns, facts),
            "usage": (request, columns, facts),
            "caps": (request, facts, core.ledger),
        }
        if plugin.coupling_of(request) == "none":
            del questions["caps"]
        calls = list(questions.items())
        calls += [("charges", (request, row, facts)) for row in columns.rows.tolist()]
        if self.exact is not None:
            calls.append(("uniform", (request,)))
            for row in columns.rows.tolist():
                if self._may_assign(index, self._node(row)):
                    calls.append(("assign", (request, self._node(row), 2)))
                if self._node(row).inventory is not NOTHING:
                    calls.append(("shared", (self._node(row),)))
        else:
            calls.append(("engine_args", (request, None, None)))
        answers: dict[str, Any] = {}
        for number, (name, arguments) in enumerate(calls):
            found = self._ask(wanted, plugin, name, *arguments, about=self.payloads[index])
            answers[f"{name}#{number}"] = _plain(found)
        return answers

    def _check_purity(self) -> None:
        """Asked twice, and of a twin, in different orders: the same answers, and nothing has changed."""
        before = self._arguments()
        indices = range(len(self.payloads))
        first = [self._answers(PURITY, self.plugin, index) for index in indices]
        second = [self._answers(PURITY, self.plugin, index) for index in indices]
        twin = [self._answers(PURITY, self.twin, index) for index in reversed(indices)][::-1]
        for index in indices:
            for others, whose in ((second, "the second time"), (twin, "from a new plugin of the same parameters")):
                for name, answer in first[index].items():
                    other = others[index][name]
                    what = f"{name.partition('#')[0]} gives {answer}, and {whose} {other}"
                    self._require(PURITY, answer == other, what, self.payloads[index])
        after = self._arguments()
        for name, was in before.items():
            self._require(PURITY, after[name] == was, f"it changed the {name} that it was given", None)

    def _arguments(self) -> dict[str, Any]:
        core = self.core
        tables = core.ledger.slots.values()
        return {
            "requests": msgspec.msgpack.encode(self.requests),
            "nodes": msgspec.msgpack.encode(core.cluster.nodes),
            "marks": core.cluster.marks.dump(),
            "pools": dict(core.ledger.pool_used),
            "columns": core.ledger.free.tolist(),
            "slots": [(table.free.tolist(), msgspec.msgpack.encode(table.inventories)) for table in tables],
        }

    def _check_coherence(self, index: int) -> None:
        payload = self.payloads[index]
        capacity, scores = self._capacity(COHERENCE, index), self._score(COHERENCE, index)
        for row in range(len(capacity)):
            alone = np.array([row], dtype=np.int64)
            one, score = int(self._capacity(COHERENCE, index, alone)[0]), self._score(COHERENCE, index, alone)[0]
            what = f"row {row} alone has capacity {one} and score {score}, among all {capacity[row]} and {scores[row]}"
            self._require(COHERENCE, one == capacity[row] and score == scores[row], what, payload)
        changed = self.core.planner.changed_rows(self._seen)
        moves = self.plugin.coupling_of(self.requests[index]) == "domain"
        if changed is not None:
            known, known_scores = self._known[index]
            for row in sorted(set(range(len(known))) - set(changed.tolist())):
                what = f"row {row} did not change, but its capacity from {known[row]} to {capacity[row]}"
                self._require(COHERENCE, int(capacity[row]) == known[row], what, payload)
                what = f"row {row} did not change, but its score from {known_scores[row]} to {scores[row]}"
                self._require(COHERENCE, moves or scores[row] == known_scores[row], what, payload)
        self._known[index] = (capacity.tolist(), scores)
        if self.exact is not None:
            table = self.core.ledger.slots[self.plugin.name]
            first: dict[tuple[int, bytes], int] = {}
            for row in range(len(capacity)):
                other = first.setdefault((int(table.inventory_ids[row]), table.free[row].tobytes()), row)
                what = (
                    f"rows {other} and {row} have the same slots, and capacities {capacity[other]} and {capacity[row]}"
                )
                self._require(COHERENCE, int(capacity[other]) == int(capacity[row]), what, payload)

    def _check_permutation(self, index: int) -> None:
        order = self.world.draws.order(self.core.ledger.row_count)
        payload = self.payloads[index]
        capacity, mixed = self._capacity(PERMUTATION, index), self._capacity(PERMUTATION, index, order)
        what = f"capacity {capacity[order].tolist()}, but {mixed.tolist()} when asked for rows {order.tolist()}"
        self._require(PERMUTATION, np.array_equal(capacity[order], mixed), what, payload)
        scores, mixed_scores = self._score(PERMUTATION, index), self._score(PERMUTATION, index, order)
        wanted = [scores[row] for row in order.tolist()]
        what = f"scores {wanted}, but {mixed_scores} when asked for rows {order.tolist()}"
        self._require(PERMUTATION, wanted == mixed_scores, what, payload)

    def _check_usage(self, index: int) -> None:
        columns, payload = self._columns(), self.payloads[index]
        found = self._ask(SCORES, self.plugin, "usage", self.requests[index], columns, self.core.cluster, about=payload)
        if found is None:
            return
        for name, values in (("usage", found.usage), ("rate", found.rate)):
            good = values.shape == columns.rows.shape and bool(np.isfinite(values).all()) and bool((values >= 0).all())
            self._require(SCORES, good, f"{name} is not finite and >= 0, one a row: {values!r}", payload)
        what = f"the weight of its usage is {found.weight!r}"
        self._require(SCORES, isfinite(found.weight) and found.weight > 0, what, payload)

    def _check_assignments(self, exact: ExactPlugin, index: int) -> None:
        payload, capacity, uniform = self.payloads[index], self._capacity(BOUND, index), self._uniform(index)
        for row, allowed in enumerate(capacity.tolist()):
            node = self._node(row)
            if not self._may_assign(index, node):
                continue
            most = min(allowed, _COPIES)
            granted = self._assign(BOUND, index, node, most + 1)
            what = f"row {row} has capacity {allowed}, but {len(granted)} copies are assigned"
            self._require(BOUND, len(granted) <= allowed, what, payload)
            self._require(BOUND, len(granted) >= most or not exact.capacity_is_exact, what, payload)
            other = next((one for one in granted if one != uniform), None)
            self._require(
                BOUND, uniform is None or other is None, f"uniform says {uniform}, but assigned is {other}", payload
            )
            self._check_fit(node, granted, payload)
            if self.is_monotone and allowed <= _COPIES:
                one_by_one = self._count_one_by_one(index, node, allowed + 1)
                what = f"row {row} has capacity {allowed}, but {one_by_one} copies are assigned one after the other"
                self._require(BOUND, one_by_one <= allowed, what, payload)
            for assignment in granted[:2]:
                self._check_codec("the assignment", assignment, payload, Assignment)
                self._check_found(exact, index, node, assignment)
            self._check_told(exact, index, node, granted[:1])
        if uniform is None:
            self._assign(BAD_INPUT, index, NodeSlots(NOTHING, []), 1)
        for workload in self.core.workloads.values():
            if workload.row >= 0 and workload.assignments:
                self._check_reassign(exact, index, workload)

    def _check_found(self, exact: ExactPlugin, index: int, node: NodeSlots, assignment: Assignment) -> None:
        """A workload may be found with what is assigned; with anything else it may be refused, and nothing breaks."""
        request, payload = self.requests[index], self.payloads[index]
        self._ask(BOUND, exact, "check_assignment", request, node.inventory, assignment, about=payload)
        if index not in self.damaged:
            self.damaged.add(index)
            for detail in [*_JUNK, *_damaged(assignment.detail)]:
                found = Assignment(amounts=assignment.amounts, detail=detail)
                self._refuses(request, "check_assignment", node.inventory, found)

    def _count_one_by_one(self, index: int, node: NodeSlots, most: int) -> int:
        free = list(node.free)
        for count in range(most):
            granted = self._assign(BOUND, index, NodeSlots(node.inventory, free), 1)
            if not granted:
                return count
            free = _without(node.inventory, free, granted)
        return most

    def _check_fit(self, node: NodeSlots, granted: Sequence[Assignment], payload: Any) -> None:
        for assignment in granted:
            for slot, amount in assignment.amounts.items():
                good = slot in node.inventory.slots and isinstance(amount, int) and amount > 0
                what = f"assigned are {amount!r} of {slot!r}; the slots are {node.inventory.slots}"
                self._require(OVERCOMMIT, good, what, payload)
        left = _without(node.inventory, node.free, granted)
        for slot, before, after in zip(node.inventory.slots, node.free, left, strict=True):
            if after != before and slot not in node.inventory.counted:
                what = f"{len(granted)} copies are assigned {before - after} of {slot!r}, of which {before} are free"
                self._require(OVERCOMMIT, after >= 0, what, payload)

    def _check_reassign(self, exact: ExactPlugin, index: int, workload: Workload) -> None:
        """Realloc a workload to the request: what it gets must fit into what is free and what it holds.

        A plugin without `merge` is asked about the same request only: that is when something else was changed.
        """
        held = (workload.assignments or {})[self.plugin.name]
        asked = self.core.planner.classes.by_id[workload.class_id].asked
        assert asked is not None
        held_request = asked.payloads[self.plugin.name]
        if type(exact).merge is ResourcePlugin.merge and held_request != self.requests[index]:
            return
        node = self.core.ledger.slots[self.plugin.name].node(workload.row, held.amounts)
        arguments = (self.requests[index], NodeSlots(node.inventory, list(node.free)), held)
        found = self._ask(OVERCOMMIT, exact, "reassign", *arguments, held_request, about=self.payloads[index])
        if found is not None:
            self._check_fit(node, [found], self.payloads[index])
            self._check_codec("the assignment", found, self.payloads[index], Assignment)

    def _check_told(self, exact: ExactPlugin, index: int, node: NodeSlots, granted: Sequence[Assignment]) -> None:
        payload = self.payloads[index]
        shared = self._ask(CODEC, exact, "shared", node, about=payload) if node.inventory is not NOTHING else None
        self._check_codec("what is shared", shared, payload)
        for assignment in granted:
            told = self._ask(CODEC, exact, "engine_args", self.requests[index], assignment, shared, about=payload)
            self._check_codec("the mapping of engine_args", told, payload)

    def _check_release(self, index: int) -> None:
        """Place one copy and take it away again, with what it holds worked out anew, as the framework does."""
        before, answers = self._arguments(), self._answers(RELEASE, self.plugin, index)
        payload = self.payloads[index]
        with self.core.ledger.savepoint():
            found = self._place(RELEASE, index)
            if found is None:
                return
            row, claim, assignments = found
            request_class = self.core.state.admit(self.specs[index])
            again = self._claim(RELEASE, index, request_class, row, assignments)
            what = f"a copy takes {dict(claim.charges)} when placed, and gives back {dict(again.charges)} when it goes"
            self._require(RELEASE, again.charges == claim.charges, what, payload)
            what = f"a copy has marks {claim.marks} when placed, and {again.marks} when it goes"
            self._require(RELEASE, list(again.marks) == list(claim.marks), what, payload)
            self.core.ledger.drop(row, again)
            after = self._arguments()
            for name, was in before.items():
                what = f"{name} are not as before after one copy came and went on row {row}"
                self._require(RELEASE, after[name] == was, what, payload)
            for name, answer in self._answers(RELEASE, self.plugin, index).items():
                what = f"{name.partition('#')[0]} gave {answers[name]}, and after a copy came and went {answer}"
                self._require(RELEASE, answer == answers[name], what, payload)

    def _check_one_more(self, index: int) -> None:
        """Place one copy: what it does to capacities and caps."""
        payload, indices = self.payloads[index], range(len(self.payloads))
        before = [self._capacity(MONOTONICITY, other) for other in indices]
        caps = self._caps(BOUND, index)
        with self.core.ledger.savepoint():
            found = self._place(BOUND, index)
            if found is None:
                return
            row = found[0]
            for other in indices:
                was, now = before[other], self._capacity(MONOTONICITY, other)
                elsewhere = np.arange(len(was)) != row
                what = f"a copy on row {row} changes the capacity of others from {was.tolist()} to {now.tolist()}"
                self._require(COHERENCE, np.array_equal(was[elsewhere], now[elsewhere]), what, self.payloads[other])
                if self.is_monotone:
                    what = f"without a copy of {payload!r} row {row} has capacity {was[row]}, with it {now[row]}"
                    self._require(MONOTONICITY, bool(now[row] <= was[row]), what, self.payloads[other])
                if other == index and self.exact is None:
                    what = f"row {row} has capacity {was[row]}, and after one copy {now[row]}"
                    self._require(BOUND, bool(now[row] >= was[row] - 1), what, payload)
            if self.plugin.coupling_of(self.requests[index]) == "cluster":
                wanted = [cap.limit - 1 for cap in caps]
                limits = [cap.limit for cap in self._caps(BOUND, index)]
                good = len(limits) == len(wanted) and all(map(np.array_equal, limits, wanted))
                self._require(BOUND, good, f"limits {caps} are {limits} after a copy, not one lower each", payload)

    def _check_filling(self, index: int) -> None:
        """Place copies where capacity and caps allow; no pool may be overdrawn."""
        payload = self.payloads[index]
        pools = self._ask(OVERCOMMIT, self.plugin, "pools", about=payload)
        with self.core.ledger.savepoint():
            for _ in range(_COPIES):
                found = self._place(OVERCOMMIT, index)
                if found is None:
                    return
                for pool, amount in found[1].charges.items():
                    what = f"it takes {amount!r} of pool {pool!r}; names start with '{self.plugin.name}/'"
                    good = isinstance(amount, int) and amount > 0 and pool.startswith(f"{self.plugin.name}/")
                    self._require(OVERCOMMIT, good, what, payload)
                for pool, limit in pools.items():
                    used = self.core.ledger.pool_used.get(pool, 0)
                    self._require(OVERCOMMIT, used <= limit, f"{used} of pool {pool!r} are taken of {limit}", payload)

    # -- the core, driven at random -----------------------------------------------------------------------------------

    def move(self) -> None:
        """One random thing happens to the core; whatever it finds wrong is a failure of the plugin."""
        self.cases[CORE_RUN] += 1
        event = self.world.event()
        try:
            if event is None:
                self.world.harness.reload()
                self._seen = -1
            else:
                self.world.harness.step(event)
        except Exception as error:
            what = f"the core fails at {event!r}: {_name_of(error)}"
            if isinstance(error, InvariantError):
                self.check_state()  # which says more closely what is wrong, where it finds it
            self._fail(OVERCOMMIT if isinstance(error, OvercommitError) else CORE_RUN, what, None)


def _name_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    """What two answers are compared by."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _damaged(payload: Any) -> list[Any]:
    """The payload with one thing in it replaced by junk, or with one thing too many, at any depth."""
    if isinstance(payload, Mapping):
        fields = list(payload.items())[:_WIDTH]
        worse = [{**payload, key: bad} for key, item in fields for bad in _damaged(item)]
        return [{**payload, "no such field": 1}, *worse]
    if isinstance(payload, list | tuple):
        items = list(enumerate(payload))[:_WIDTH]
        return [
            [*payload, None],
            *([*payload[:n], bad, *payload[n + 1 :]] for n, item in items for bad in _damaged(item)),
        ]
    return list(_JUNK)


def _without(inventory: Inventory, free: Sequence[int], granted: Sequence[Assignment]) -> list[int]:
    """The free amounts less what is granted; slots that are not there are left out."""
    taken: dict[str, int] = {}
    for assignment in granted:
        for slot, amount in assignment.amounts.items():
            taken[slot] = taken.get(slot, 0) + amount
    return [amount - taken.get(slot, 0) for slot, amount in zip(inventory.slots, free, strict=True)]

"""What can be done with workloads that hold particular things: deploy, realloc, replace, dissociate, remap, fix.

The plugin of these tests grants numbered seats: small enough to see every seat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from core_kit import details, harness, node, published, spec, starts

from scheduler.assignment import Assignment
from scheduler.commands import AnyCommand, RemapWorkload, StartWorkload, StopWorkload, UpdateWorkload
from scheduler.config import CoreConfig, PluginConfig, PolicyConfig
from scheduler.events import (
    DeploymentRequested,
    DissociateRequested,
    NodeCapacityChanged,
    NodeCordoned,
    NodeDrainRequested,
    NodeFactsChanged,
    NodeFixRequested,
    NodeJoined,
    NodeLost,
    NodeReturned,
    ReallocRequested,
    RemovalRequested,
    ReplaceRequested,
    StartRequested,
    StopRequested,
    TimerFired,
    WorkloadAdopted,
    WorkloadHealthChanged,
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.plugins.affinity import AffinityPlugin
from scheduler.plugins.gpu import GpuPlugin
from scheduler.plugins.licences import LicencesPlugin
from scheduler.plugins.registry import make_plugin
from scheduler.ports import ExactPlugin, Inventory, NodeSlots
from scheduler.strategies import StrategyError
from scheduler.testing import Harness
from scheduler.testing.harness import placements


class Seats(ExactPlugin):
    """Seats 0, 1, 2, …, each for one workload. Payload: ``{"seats": n}``; 0 stands, and is told what is free."""

    name = "seats"
    engine_keys = ("seats", "standing_by")

    def parse(self, payload: Any) -> dict[str, int]:
        if not isinstance(payload, Mapping) or not isinstance(payload.get("seats"), int) or payload["seats"] < 0:
            raise ValueError(f"seats.seats: {payload!r} must be a number of at least 0")
        return {"seats": payload["seats"]}

    def merge(self, request: dict[str, int], change: Any) -> dict[str, int]:
        return self.parse({"seats": request["seats"] + change["seats"]})

    def inventory(self, payload: Any, capacity: Mapping[str, int], labels: Mapping[str, str]) -> Inventory | None:
        if payload is None:
            return None
        if payload < 0:
            raise ValueError(f"seats: {payload} must be at least 0")
        return Inventory(slots=tuple(map(str, range(payload))), total=(1,) * payload)

    def change_node(self, payload: Any, change: Any, *, is_delta: bool) -> Any:
        return (payload or 0) + change if is_delta else change

    def assign(self, request: dict[str, int], node: NodeSlots, count: int) -> list[Assignment]:
        free = [slot for slot, amount in zip(node.inventory.slots, node.free, strict=True) if amount > 0]
        size = request["seats"]
        if not size:
            return [Assignment(amounts={})] * count
        groups = [free[at : at + size] for at in range(0, len(free) - size + 1, size)]
        return [Assignment(amounts=dict.fromkeys(group, 1)) for group in groups[:count]]

    def reassign(
        self, request: dict[str, int], node: NodeSlots, held: Assignment, held_request: Any
    ) -> Assignment | None:
        free = [slot for slot, amount in zip(node.inventory.slots, node.free, strict=True) if amount > 0]
        free.sort(key=lambda slot: slot not in held.amounts)
        if len(free) < request["seats"]:
            return None
        return Assignment(amounts=dict.fromkeys(sorted(free[: request["seats"]]), 1))

    def shared(self, node: NodeSlots) -> list[str]:
        return [slot for slot, amount in zip(node.inventory.slots, node.free, strict=True) if amount > 0]

    def engine_args(self, request: dict[str, int], assignment: Assignment | None, shared: Any) -> Mapping[str, Any]:
        if assignment is not None and assignment.amounts:
            return {"seats": list(assignment.amounts)}
        return {"standing_by": shared}


def seated(*seats: int | None, extra: tuple[Any, ...] = (), policy: str = "first-fit") -> Harness:
    """A harness with nodes n0, n1, … of 100 cpu and memory and so many seats."""
    made = [Seats(), *extra]
    configs = tuple(PluginConfig(plugin.name, params=plugin.get_params()) for plugin in made)
    h = Harness(CoreConfig(plugins=configs, policy=PolicyConfig(policy)), plugins=made)
    for number, count in enumerate(seats):
        resources = {} if count is None else {"seats": count}
        h.step(node(f"n{number}", 100, 100, resources=resources, topology={"rack": f"r{number // 2}"}))
    return h


def sit(seats: int) -> dict[str, Any]:
    return {"seats": {"seats": seats}}


def running(h: Harness, workload_id: str, seats: int, **fields: Any) -> None:
    h.submit(workload_id, 1, 1, payloads=sit(seats), **fields)
    h.started(workload_id)


def of_type(commands: list[AnyCommand], kind: type[Any]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]


def free_seats(h: Harness, row: int = 0) -> list[str]:
    return list(Seats().shared(h.core.ledger.slots["seats"].node(row)))


# -- placing ----------------------------------------------------------------------------------------------------------


def test_a_seat_is_granted_once_and_given_back() -> None:
    h = seated(2, 3)
    (start,) = h.submit("a", 1, 1, payloads=sit(2))
    assert (start.node_id, start.engine_args) == ("n0", {"seats": ["0", "1"]})
    (start,) = h.submit("b", 1, 1, payloads=sit(2))
    assert (start.node_id, start.engine_args) == ("n1", {"seats": ["0", "1"]})
    h.submit("c", 1, 1, payloads=sit(2))
    assert str(h.core.diagnose("c")) == "0/2 nodes: 2 seats"
    assert starts(h.exited("a")) == [("c", 1, "n0")]
    h.reload()
    assert free_seats(h, 1) == ["2"]


def test_a_node_without_seats_serves_those_who_ask_for_none() -> None:
    h = seated(None)
    h.submit("a", 1, 1, payloads=sit(1))
    assert h.state_of("a") == "queued"
    assert placements(h.submit("b", 1, 1, payloads=sit(0))) == {"b": "n0"}


def test_what_is_held_on_a_lost_node_stays_held_until_it_is_confirmed_gone() -> None:
    h = seated(2, 2)
    running(h, "a", 2)
    assert starts(h.step(NodeLost(node_id="n0"))) == [("a", 2, "n1")]
    h.step(NodeReturned(node_id="n0"))
    h.submit("b", 1, 1, payloads=sit(1))
    assert h.state_of("b") == "queued"
    assert starts(h.step(WorkloadStopped(workload_id="a", generation=1))) == [("b", 1, "n0")]


def test_adoption_takes_the_things_as_found_and_never_twice() -> None:
    h = seated(3)
    found = {"seats": Assignment(amounts={"1": 1})}
    h.step(WorkloadAdopted(spec=spec("a", 1, 1, payloads=sit(1)), node_id="n0", assignments=found))
    assert free_seats(h) == ["0", "2"]
    again = h.step(WorkloadAdopted(spec=spec("b", 1, 1, payloads=sit(1)), node_id="n0", assignments=found))
    assert details(again) == ["assignments.seats: 0 of 1 are free of which 1 are asked"]
    h.step(WorkloadAdopted(spec=spec("c", 1, 1, payloads=sit(2)), node_id="n0"))
    assert free_seats(h) == []
    for amount in (0, -1, True, 1.0):
        odd = {"seats": Assignment(amounts={"2": amount})}  # type: ignore[dict-item]
        refused = h.step(WorkloadAdopted(spec=spec("e", 1, 1, payloads=sit(1)), node_id="n0", assignments=odd))
        assert details(refused) == [f"assignments.seats.2: {amount!r} must be a whole number of at least 1"]
    late = h.step(WorkloadAdopted(spec=spec("d", 1, 1, payloads=sit(1)), node_id="n0"))
    assert details(late) == ["node_id: n0 has not the things free that the workload needs"]


# -- deployments ------------------------------------------------------------------------------------------------------


def deploy(
    h: Harness, name: str, count: int, strategy: str = "auto", seats: int = 1, **fields: Any
) -> list[AnyCommand]:
    options = {key: fields.pop(key) for key in ("nodes_limit", "node_ids", "excluded_node_ids") if key in fields}
    wanted = spec(name, 1, 1, count=count, app="web", payloads=sit(seats), **fields)
    return h.step(DeploymentRequested(spec=wanted, strategy=strategy, **options))


def by_node(commands: list[AnyCommand]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for command in of_type(commands, StartWorkload):
        counts[command.node_id] = counts.get(command.node_id, 0) + 1
    return counts


def test_every_strategy_spreads_over_what_there_is() -> None:
    expected = {
        "auto": (4, {"n0": 1, "n1": 1, "n2": 2}),
        "drained": (4, {"n0": 1, "n1": 2, "n2": 1}),
        "fill": (1, {"n0": 1, "n1": 1, "n2": 1}),
        "each": (1, {"n0": 1, "n1": 1, "n2": 1}),
        "global": (3, {"n0": 1, "n1": 1, "n2": 1}),
    }
    for strategy, (count, shares) in expected.items():
        assert by_node(deploy(seated(1, 2, 4), "w", count, strategy)) == shares, strategy


def test_the_copies_of_one_app_count_for_the_next_deployment() -> None:
    h = seated(4, 4)
    assert by_node(deploy(h, "a", 3, node_ids=("n0",))) == {"n0": 3}
    assert by_node(deploy(h, "b", 2)) == {"n1": 2}
    assert by_node(deploy(h, "c", 3, "fill", seats=0)) == {"n1": 1}
    h.reload()
    filled = deploy(h, "d", 3, "fill", seats=0)
    assert published(filled) == [("d", "rejected", "")]
    assert "each node has enough workloads" in details(filled)[0]


def test_a_deployment_is_placed_as_a_whole_or_not_at_all() -> None:
    h = seated(1, 2)
    commands = deploy(h, "w", 4, operation_id="op")
    assert published(commands) == [("w", "rejected", "op"), ("op", "done", "op")]
    assert "need: 4, available: 3" in details(commands)[0]
    assert h.core.counters.deployments_rejected == 1
    assert not h.core.workloads
    commands = deploy(h, "w", 3, operation_id="op")
    assert by_node(commands) == {"n0": 1, "n1": 2}
    assert list(h.core.workloads) == ["w/0", "w/1", "w/2"]
    for copy in range(3):
        commands = h.started(f"w/{copy}")
    assert published(commands) == [("w/2", "running", "op"), ("op", "done", "op")]


def test_only_named_nodes_and_not_excluded_ones_take_part() -> None:
    h = seated(4, 4, 4)
    assert by_node(deploy(h, "a", 4, node_ids=("n1", "n2"))) == {"n1": 2, "n2": 2}
    assert by_node(deploy(h, "b", 3, excluded_node_ids=("n2",))) == {"n0": 3}
    assert details(deploy(h, "c", 1, node_ids=("n9",))) == ["node_ids: there is no node 'n9'"]
    assert details(deploy(h, "c", 1, excluded_node_ids=("n9",))) == ["excluded_node_ids: there is no node 'n9'"]
    too_many = details(deploy(h, "f", 10_000_000, "each", seats=0))
    assert "10000000" in too_many[0]
    assert details(deploy(h, "d", 1, "best")) == ["strategy: 'best' is none of auto, fill, each, global, drained"]
    assert details(deploy(h, "e", 1, nodes_limit=-1)) == ["nodes_limit: -1 must be at least 0, where 0 means no limit"]


def test_waiting_work_comes_before_a_deployment_and_a_higher_priority_before_a_lower() -> None:
    h = seated(1)
    running(h, "a", 1)
    h.submit("waits", 1, 1, payloads=sit(1))
    late = spec("w", 1, 1, count=1, payloads=sit(1), priority=9)
    commands = h.step(DeploymentRequested(spec=late), WorkloadStopped(workload_id="x", generation=1))
    assert published(commands) == [("w", "rejected", "")]
    h = seated(1)
    first, second = spec("low", 1, 1, payloads=sit(1)), spec("high", 1, 1, payloads=sit(1), priority=1)
    commands = h.step(DeploymentRequested(spec=first), DeploymentRequested(spec=second))
    assert placements(commands) == {"high/0": "n0"}


def test_a_cluster_wide_limit_bounds_a_deployment() -> None:
    h = seated(4, 4, extra=(LicencesPlugin({"matlab": 3}),))
    wanted = {"seats": {"seats": 1}, "licences": {"matlab": 1}}
    too_many = h.step(DeploymentRequested(spec=spec("a", 1, 1, count=4, payloads=wanted)))
    assert published(too_many) == [("a", "rejected", "")]
    assert len(starts(h.step(DeploymentRequested(spec=spec("b", 1, 1, count=3, payloads=wanted))))) == 3
    assert h.core.capacity(spec("q", 1, 1, payloads=wanted)).total == 0


def test_coupled_copies_are_placed_one_after_the_other() -> None:
    h = seated(4, 4, 4, 4, extra=(AffinityPlugin(levels=("node", "rack")),))
    apart = {"affinity": {"labels": {"app": "db"}, "apart": [{"match": {"app": "db"}, "level": "rack"}]}}
    wanted = {**sit(1), **apart}
    commands = h.step(DeploymentRequested(spec=spec("a", 1, 1, count=2, payloads=wanted)))
    assert by_node(commands) == {"n0": 1, "n2": 1}
    assert published(h.step(DeploymentRequested(spec=spec("b", 1, 1, payloads=wanted)))) == [("b", "rejected", "")]
    near = {"affinity": {"labels": {"app": "web"}, "near": [{"match": {"app": "web"}, "level": "rack"}]}}
    together = {**sit(1), **near}
    commands = h.step(DeploymentRequested(spec=spec("c", 1, 1, count=6, payloads=together), strategy="auto"))
    assert by_node(commands) in ({"n0": 3, "n1": 3}, {"n2": 3, "n3": 3})


def test_whole_shares_of_coupled_copies_are_all_or_none_by_node() -> None:
    h = seated(2, 2, 2, 2, extra=(AffinityPlugin(levels=("node", "rack")),))
    wanted = {
        **sit(1),
        "affinity": {"labels": {"app": "db"}, "apart": [{"match": {"app": "db"}, "level": "rack", "most": 1}]},
    }
    each = DeploymentRequested(spec=spec("a", 1, 1, count=2, payloads=wanted), strategy="each", nodes_limit=2)
    assert by_node(h.step(each)) == {"n0": 2, "n2": 2}


def test_a_node_that_is_no_candidate_never_counts_as_filled() -> None:
    def filled() -> Harness:
        h = seated(4, 4)
        deploy(h, "a", 3, node_ids=("n0",))
        return h

    for fields in ({"node_ids": ("n1",)}, {"excluded_node_ids": ("n0",)}):
        assert by_node(deploy(filled(), "b", 2, "fill", nodes_limit=1, **fields)) == {"n1": 2}
    h = filled()
    h.step(NodeCordoned(node_id="n0"))
    assert by_node(deploy(h, "b", 2, "fill", nodes_limit=1)) == {"n1": 2}
    h = filled()
    h.step(node("n2", 100, 100, resources={"seats": 4}, pool="other"))
    assert by_node(deploy(h, "b", 2, "fill", nodes_limit=1, pool="other")) == {"n2": 2}
    assert by_node(deploy(h, "c", 2, node_ids=("n1", "n1"))) == {"n1": 2}


def test_whole_shares_are_served_in_turns_where_copies_depend_on_each_other() -> None:
    spread = {"affinity": {"labels": {"app": "w"}, "spread": [{"match": {"app": "w"}, "level": "rack", "max_skew": 1}]}}
    for strategy in ("each", "fill"):
        h = seated(4, None, 4, extra=(AffinityPlugin(),))
        event = DeploymentRequested(spec=spec("w", 1, 1, count=3, payloads={**sit(1), **spread}), strategy=strategy)
        assert by_node(h.step(event)) == {"n0": 3, "n2": 3}
    apart = {"labels": {"app": "w"}, "apart": [{"match": {"app": "w"}, "level": "rack"}]}
    h = seated(2, 2, extra=(AffinityPlugin(levels=("node", "rack")),))
    event = DeploymentRequested(spec=spec("w", 1, 1, payloads={**sit(1), "affinity": apart}), strategy="each")
    commands = h.step(event)
    assert published(commands) == [("w", "rejected", "")]
    assert "but n1 takes 0 copies" in details(commands)[0]


def test_a_refused_deployment_of_coupled_copies_says_how_many_could_be_placed() -> None:
    h = seated(2, extra=(AffinityPlugin(levels=("node", "rack")),))
    near = {"labels": {"app": "w"}, "near": [{"match": {"app": "w"}, "level": "rack"}]}
    event = DeploymentRequested(spec=spec("w", 1, 1, count=3, payloads={**sit(1), "affinity": near}))
    assert "need: 3, available: 2" in details(h.step(event))[0]


class Boastful(Seats):
    """Says that twice as many fit as do."""

    capacity_is_exact = False

    def node_capacity(self, request: dict[str, int], node: NodeSlots, most: int) -> int:
        return min(most, 2 * super().node_capacity(request, node, most))


def test_a_deployment_refused_halfway_leaves_the_books_as_they_were() -> None:
    for extra in ({}, {"affinity": {"labels": {"a": "b"}, "near": [{"match": {"a": "b"}, "level": "rack"}]}}):
        plugins = [Boastful(), AffinityPlugin(levels=("node", "rack"))]
        configs = (PluginConfig("seats"), PluginConfig("affinity", params={"levels": ["node", "rack"]}))
        h = Harness(CoreConfig(plugins=configs), plugins=plugins)
        for name in ("n0", "n1"):
            h.step(node(name, 100, 100, resources={"seats": 2}, topology={"rack": "r"}))
        before = h.core.ledger.free.tobytes(), h.core.ledger.slots["seats"].free.tobytes()
        refused = h.step(DeploymentRequested(spec=spec("w", 1, 1, count=5, payloads={**sit(1), **extra})))
        assert published(refused) == [("w", "rejected", "")]
        assert (h.core.ledger.free.tobytes(), h.core.ledger.slots["seats"].free.tobytes()) == before
        placed = h.step(DeploymentRequested(spec=spec("v", 1, 1, count=4, payloads={**sit(1), **extra})))
        assert by_node(placed) == {"n0": 2, "n1": 2}


def test_the_heavier_plugin_decides_which_node_is_used_least() -> None:
    for names in (("cpu", "gpu"), ("gpu", "cpu")):
        plugins = [make_plugin(name) for name in names]
        h = Harness(CoreConfig(plugins=tuple(map(PluginConfig, names))), plugins=plugins)
        for name in ("n0", "n1"):
            h.step(node(name, 0, 100, resources={"cpu": {"cores": 4}, "gpu": {"model": "T4", "count": 4}}))
        bound = {"cpu": {"bind": True, "cpu_request": 1}}
        h.step(DeploymentRequested(spec=spec("a", 0, 0, count=2, payloads=bound), node_ids=("n0",)))
        h.step(DeploymentRequested(spec=spec("b", 0, 0, payloads=bound), node_ids=("n1",)))
        h.step(DeploymentRequested(spec=spec("c", 0, 0, payloads={"gpu": {"count": 3}}), node_ids=("n1",)))
        both = {**bound, "gpu": {"count": 1}}
        # Half of n0's cores are taken and a quarter of n1's, none of n0's GPUs and three quarters of n1's.
        commands = h.step(DeploymentRequested(spec=spec("d", 0, 0, payloads=both), strategy="global"))
        assert by_node(commands) == {"n1": 1}, names


def test_a_plan_and_a_capacity_change_nothing() -> None:
    h = seated(3, 1)
    event = DeploymentRequested(spec=spec("w", 1, 1, count=3, payloads=sit(1)), strategy="drained")
    assert h.core.plan_deployment(event) == {"n0": 2, "n1": 1}
    capacity = h.core.capacity(spec("w", 1, 1, payloads=sit(1)))
    assert (capacity.nodes, capacity.total) == ({"n0": 3, "n1": 1}, 4)
    assert h.core.capacity(spec("w", 10, 0)).nodes == {"n0": 10, "n1": 10}
    with pytest.raises(StrategyError) as caught:
        h.core.plan_deployment(DeploymentRequested(spec=spec("w", 1, 1, count=9, payloads=sit(1))))
    assert caught.value.kind == "insufficient_resource"
    assert free_seats(h) == ["0", "1", "2"]


# -- realloc ----------------------------------------------------------------------------------------------------------


def realloc(h: Harness, workload_id: str, seats: int = 0, request: tuple[int, ...] = ()) -> list[AnyCommand]:
    payloads = {"seats": {"seats": seats}} if seats else None
    return h.step(
        ReallocRequested(workload_id=workload_id, request=request, payloads=payloads, operation_id=f"op-{workload_id}")
    )


def updated(h: Harness, workload_id: str, reason: str = "") -> list[AnyCommand]:
    workload = h.core.workloads[workload_id]
    about = {"workload_id": workload_id, "generation": workload.generation, "revision": workload.revision}
    return h.step(WorkloadUpdateFailed(**about, reason=reason) if reason else WorkloadUpdated(**about))


def test_growth_is_held_from_the_request_on_and_shrinking_until_the_answer() -> None:
    h = seated(4)
    running(h, "a", 2)
    (update,) = of_type(realloc(h, "a", 1, (5, 0)), UpdateWorkload)
    assert (update.revision, update.engine_args) == (1, {"seats": ["0", "1", "2"]})
    assert h.core.ledger.used(0) == (6, 1)
    assert published(updated(h, "a")) == [("a", "updated", "op-a"), ("op-a", "done", "op-a")]
    realloc(h, "a", -2, (-5, 0))
    assert (h.core.ledger.used(0), free_seats(h)) == ((6, 1), ["3"])
    h.reload()
    updated(h, "a")
    assert (h.core.ledger.used(0), free_seats(h)) == ((1, 1), ["1", "2", "3"])
    assert h.core.counters.updated == 2


def test_a_failed_update_leaves_everything_as_it_was() -> None:
    h = seated(4)
    running(h, "a", 2)
    realloc(h, "a", 1, (5, -1))
    commands = updated(h, "a", "no cgroup")
    assert published(commands) == [("a", "update_failed", "op-a"), ("op-a", "done", "op-a")]
    assert details(commands)[0] == "no cgroup"
    assert (h.core.ledger.used(0), free_seats(h)) == ((1, 1), ["2", "3"])
    assert h.core.workloads["a"].spec.request == (1, 1)
    assert published(updated(h, "a") if h.core.workloads["a"].update else []) == []


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    h = seated(3)
    running(h, "a", 2)
    running(h, "b", 1)
    for change, why in (
        ({"seats": 1}, "it does not fit on its node: what it asks for is not free there"),
        ({"request": (99, 0)}, "it does not fit on its node: 98 of cpu are free of which 99 are asked"),
        ({"request": (-2, 0)}, "request.cpu: -1 must be at least 0 and below 2^62"),
        ({"request": (1,)}, "request: 1 differences for 2 dimensions"),
        ({"seats": -3}, "seats.seats: {'seats': -1} must be a number of at least 0"),
    ):
        commands = realloc(h, "a", **change)
        assert (published(commands), details(commands)) == ([("a", "refused", "op-a")], [why])
    assert not h.core.operations
    h.submit("c", 1, 1, payloads=sit(0))
    assert details(realloc(h, "c", 1))[0].startswith("it is starting")
    assert details(realloc(h, "nobody", 1)) == ["no such workload"]


def test_one_update_at_a_time_and_a_late_answer_to_an_earlier_one_is_stale() -> None:
    h = seated(4)
    running(h, "a", 1)
    realloc(h, "a", 1)
    assert details(realloc(h, "a", 1)) == ["an update of it is under way; ask again when that is done"]
    updated(h, "a")
    stale = h.core.counters.stale
    h.step(WorkloadUpdated(workload_id="a", generation=1, revision=1))
    assert h.core.counters.stale == stale + 1


def test_an_update_that_is_not_answered_is_repeated_and_one_overtaken_by_the_end_is_answered() -> None:
    h = seated(4)
    running(h, "a", 1)
    realloc(h, "a", 1)
    assert len(of_type(h.fire_timers(), UpdateWorkload)) == 1
    commands = h.exited("a")
    assert ("a", "refused", "op-a") in published(commands)
    assert free_seats(h) == ["0", "1", "2", "3"]
    running(h, "b", 1)
    realloc(h, "b", 2)
    h.step(NodeLost(node_id="n0"))
    assert free_seats(h) == ["3"]
    h.step(NodeReturned(node_id="n0"))
    h.step(WorkloadStopped(workload_id="b", generation=1))
    assert h.core.workloads["b"].spec.payloads == sit(3)


def test_an_update_of_what_was_to_be_stopped_is_commanded_again_when_its_node_returns() -> None:
    h = seated(4)
    running(h, "a", 1)
    realloc(h, "a", 1)
    h.step(StopRequested(workload_id="a"))
    h.step(NodeLost(node_id="n0"))
    assert not of_type(h.fire_timers(), UpdateWorkload)
    assert len(of_type(h.step(NodeReturned(node_id="n0")), UpdateWorkload)) == 1
    h.stopped("a")
    assert len(of_type(h.fire_timers(), UpdateWorkload)) == 1
    assert ("a", "updated", "op-a") in published(updated(h, "a"))


# -- remap ------------------------------------------------------------------------------------------------------------


def test_who_shares_is_told_when_what_is_shared_becomes_another_and_only_then() -> None:
    h = seated(3)
    (start,) = h.submit("stands", 1, 1, payloads=sit(0))
    assert start.engine_args == {"standing_by": ["0", "1", "2"]}
    h.started("stands")
    commands = h.submit("sits", 1, 1, payloads=sit(1))
    assert of_type(commands, RemapWorkload) == [
        RemapWorkload(workload_id="stands", generation=1, node_id="n0", engine_args={"standing_by": ["1", "2"]})
    ]
    assert not of_type(h.started("sits"), RemapWorkload)
    h.reload()
    assert not of_type(h.submit("also stands", 1, 1, payloads=sit(0)), RemapWorkload)
    (start,) = of_type(h.submit("sits too", 1, 1, payloads=sit(1)), StartWorkload)
    assert start.engine_args == {"seats": ["1"]}
    told = of_type(h.exited("sits"), RemapWorkload)
    assert {(remap.workload_id, tuple(remap.engine_args["standing_by"])) for remap in told} == {
        ("stands", ("0", "2")),
        ("also stands", ("0", "2")),
    }


def test_a_start_is_told_what_is_shared_at_the_end_of_its_step() -> None:
    h = seated(3)
    commands = h.step(spec("stands", 1, 1, payloads=sit(0)), spec("sits", 1, 1, payloads=sit(2)))
    assert [command.engine_args for command in commands] == [{"standing_by": ["2"]}, {"seats": ["0", "1"]}]


# -- dissociate -------------------------------------------------------------------------------------------------------


def test_a_dissociated_workload_is_forgotten_given_back_and_left_running() -> None:
    h = seated(2)
    running(h, "a", 2)
    commands = h.step(DissociateRequested(workload_id="a", operation_id="op"))
    assert published(commands) == [("a", "dissociated", "op"), ("op", "done", "op")]
    assert not of_type(commands, StopWorkload)
    assert (h.state_of("a"), free_seats(h)) == ("gone", ["0", "1"])
    assert h.core.partition()["dissociated"] == 1
    refused = h.step(DissociateRequested(workload_id="a", operation_id="op"))
    assert published(refused) == [("a", "refused", "op")]
    h.submit("waits", 1000, 1)
    assert details(h.step(DissociateRequested(workload_id="waits"))) == ["it is queued, and not placed"]


# -- replace ----------------------------------------------------------------------------------------------------------


def replace(h: Harness, **fields: Any) -> list[AnyCommand]:
    return h.step(ReplaceRequested(operation_id="roll", image="web:2", **fields))


def stopped_all(h: Harness, commands: list[AnyCommand]) -> list[AnyCommand]:
    stops = of_type(commands, StopWorkload)
    return h.step(*[WorkloadStopped(workload_id=c.workload_id, generation=c.generation) for c in stops])


def three_running(*, image: str = "web:1") -> Harness:
    h = seated(3)
    for name in "abc":
        running(h, name, 1, app="web", image=image)
    return h


def test_workloads_are_replaced_in_steps_each_where_it_is_with_what_it_holds() -> None:
    h = three_running()
    commands = replace(h, app="web", step=2)
    assert [c.workload_id for c in of_type(commands, StopWorkload)] == ["a", "b"]
    commands = stopped_all(h, commands)
    assert [(c.workload_id, c.generation, c.image, c.engine_args) for c in of_type(commands, StartWorkload)] == [
        ("a", 2, "web:2", {"seats": ["0"]}),
        ("b", 2, "web:2", {"seats": ["1"]}),
    ]
    h.reload()
    commands = h.started("b")
    assert published(commands) == [("b", "replaced", "roll")]
    assert [c.workload_id for c in of_type(commands, StopWorkload)] == ["c"]
    stopped_all(h, commands)
    h.started("a")
    assert published(h.started("c"))[-1] == ("roll", "done", "roll")
    assert h.core.counters.replaced == 3
    assert not h.core.state.replacements.under_way


def test_one_that_does_not_start_goes_back_and_the_rest_is_left_alone() -> None:
    h = three_running()
    stopped_all(h, replace(h, workload_ids=("a", "b", "c")))
    commands = h.step(WorkloadStartFailed(workload_id="a", generation=2, reason="no such image"))
    assert [(c.generation, c.image) for c in of_type(commands, StartWorkload)] == [(3, "web:1")]
    assert published(commands) == [
        ("a", "rolled_back", "roll"),
        ("b", "refused", "roll"),
        ("c", "refused", "roll"),
        ("roll", "done", "roll"),
    ]
    h.started("a")
    assert (h.state_of("a"), h.core.workloads["a"].spec.image) == ("running", "web:1")


def test_a_replacement_may_change_the_template_and_going_back_restores_what_was_there() -> None:
    for given, told, before in (("t2", "t2", ""), ("", "t1", "t1"), ("t2", "t2", "t1")):
        h = seated(3)
        commands = h.submit("a", 1, 1, payloads=sit(1), app="web", image="web:1", template=before)
        assert [c.template for c in of_type(commands, StartWorkload)] == [before]
        h.started("a")
        commands = stopped_all(h, replace(h, workload_ids=("a",), template=given))
        assert [c.template for c in of_type(commands, StartWorkload)] == [told]
        commands = h.step(WorkloadStartFailed(workload_id="a", generation=2, reason="no"))
        assert [(c.image, c.template) for c in of_type(commands, StartWorkload)] == [("web:1", before)]
        assert h.core.workloads["a"].spec.template == before


def test_the_health_gate_waits_for_a_report_and_goes_back_without_one() -> None:
    h = three_running()
    stopped_all(h, replace(h, workload_ids=("a", "b"), gate="healthy", gate_timeout_ns=5))
    assert published(h.started("a")) == []
    commands = h.step(WorkloadHealthChanged(workload_id="a", generation=2, healthy=True))
    assert published(commands) == [("a", "replaced", "roll")]
    stopped_all(h, commands)
    h.started("b")
    h.step(WorkloadHealthChanged(workload_id="b", generation=2, healthy=False))
    commands = h.fire_timers()
    assert published(commands) == [("b", "rolled_back", "roll"), ("roll", "done", "roll")]
    commands = stopped_all(h, commands)
    assert [(c.generation, c.image) for c in of_type(commands, StartWorkload)] == [(3, "web:1")]


def test_a_rollout_ends_cleanly_when_its_workload_is_taken_away() -> None:
    for event in (
        NodeLost(node_id="n0"),
        RemovalRequested(workload_id="a"),
        NodeDrainRequested(node_id="n0"),
        StopRequested(workload_id="a"),
    ):
        h = three_running()
        stopped_all(h, replace(h, workload_ids=("a",)))
        commands = h.step(event)
        if isinstance(event, RemovalRequested | NodeDrainRequested):
            commands = stopped_all(h, commands)
        assert published(commands)[:2] == [("a", "refused", "roll"), ("roll", "done", "roll")], event
        assert not h.core.state.replacements.under_way


def test_a_workload_that_is_replaced_while_its_node_drains_moves_with_the_new_image() -> None:
    h = three_running()
    h.step(node("n1", 100, 100, resources={"seats": 3}))
    commands = replace(h, workload_ids=("a",))
    h.step(NodeDrainRequested(node_id="n0"))
    commands = stopped_all(h, commands)
    assert [(c.workload_id, c.node_id, c.image) for c in of_type(commands, StartWorkload)] == [("a", "n1", "web:2")]


def test_requests_to_replace_that_make_no_sense_are_refused() -> None:
    h = three_running()
    for fields, why in (
        ({"app": "nobody"}, "workload_ids: name at least one workload, each once, or an app that has some"),
        ({"workload_ids": ("a", "a")}, "workload_ids: name at least one workload, each once, or an app that has some"),
        ({"app": "web", "step": 0}, "step: 0 must be at least 1"),
        ({"app": "web", "gate_timeout_ns": 0}, "gate_timeout_ns: 0 must be above 0"),
    ):
        assert details(replace(h, **fields)) == [why]
    assert details(h.step(ReplaceRequested(operation_id="", image="x", app="web"))) == [
        "operation_id: it is empty; give every replacement a name"
    ]
    commands = replace(h, workload_ids=("nobody",))
    assert published(commands) == [("nobody", "refused", "roll"), ("roll", "done", "roll")]


def healthy_rollout(h: Harness, workload_id: str = "a") -> None:
    """A replacement that has started and waits for a report of health."""
    stopped_all(h, replace(h, workload_ids=(workload_id,), gate="healthy", gate_timeout_ns=5))
    h.started(workload_id)


def test_a_gate_is_of_no_interest_once_the_workload_does_not_run() -> None:
    for event in (NodeDrainRequested(node_id="n0"), RemovalRequested(workload_id="a")):
        h = three_running()
        healthy_rollout(h)
        h.step(event)
        assert not of_type(h.fire_timers(), StartWorkload)
    h = three_running()
    healthy_rollout(h)
    h.step(WorkloadHealthChanged(workload_id="a", generation=2, healthy=True))
    h.step(ReplaceRequested(operation_id="next", image="web:3", workload_ids=("a",), gate="healthy"), at_ns=4)
    h.step(WorkloadStopped(workload_id="a", generation=2), TimerFired(), at_ns=6)
    assert (h.state_of("a"), h.core.workloads["a"].spec.image) == ("starting", "web:3")


def test_a_rollout_changes_the_image_alone_whatever_is_reallocated_meanwhile() -> None:
    h = three_running()
    h.step(NodeCapacityChanged(node_id="n0", resources={"seats": 1}, is_delta=True))
    healthy_rollout(h)
    realloc(h, "a", 1, (5, 0))
    updated(h, "a")
    commands = stopped_all(h, h.fire_timers())
    assert [(c.image, c.engine_args) for c in of_type(commands, StartWorkload)] == [("web:1", {"seats": ["0", "3"]})]
    assert h.core.ledger.used(0) == (8, 3)
    h.started("a")
    realloc(h, "a", -1)
    commands = replace(h, workload_ids=("a",))
    updated(h, "a", "no cgroup")
    (start,) = of_type(stopped_all(h, commands), StartWorkload)
    assert (start.image, start.engine_args) == ("web:2", {"seats": ["0", "3"]})


def test_a_start_applies_an_update_under_way() -> None:
    h = seated(3)
    running(h, "a", 1)
    h.step(StopRequested(workload_id="a"))
    h.stopped("a")
    realloc(h, "a", 1)
    commands = h.step(StartRequested(workload_id="a"))
    assert published(commands) == [("a", "updated", "op-a"), ("op-a", "done", "op-a")]
    (start,) = of_type(commands, StartWorkload)
    assert start.engine_args == {"seats": ["0", "1"]}
    stale = h.core.counters.stale
    h.step(WorkloadUpdateFailed(workload_id="a", generation=1, revision=1, reason="gone"))
    assert (h.core.counters.stale, free_seats(h)) == (stale + 1, ["2"])


def test_who_shares_is_told_again_after_an_update_that_failed() -> None:
    h = seated(3)
    running(h, "a", 0)
    realloc(h, "a", 1)
    about = {"workload_id": "a", "generation": 1, "revision": 1}
    commands = h.step(WorkloadUpdateFailed(**about, reason="no"), spec("b", 1, 1, payloads=sit(1)))
    (remap,) = of_type(commands, RemapWorkload)
    assert remap.engine_args == {"standing_by": ["1", "2"]}
    h.reload()
    assert h.step(NodeCordoned(node_id="n0")) == []


# -- nodes ------------------------------------------------------------------------------------------------------------


def test_capacity_changes_by_value_and_by_difference() -> None:
    h = seated(2)
    running(h, "a", 2)
    h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": -10}, resources={"seats": 1}, is_delta=True))
    assert (h.core.ledger.total[:, 0].tolist(), free_seats(h)) == ([90, 100], ["2"])
    h.step(NodeCapacityChanged(node_id="n0", resources={"seats": 5}))
    assert (h.core.ledger.total[:, 0].tolist(), free_seats(h)) == ([90, 100], ["2", "3", "4"])
    commands = h.step(NodeCapacityChanged(node_id="n0", resources={"seats": 1}, operation_id="op"))
    assert published(commands) == [("n0", "refused", "op")]
    assert details(commands) == ["1: it would go, but 1 of it are in use; move the work first"]
    commands = h.step(NodeCapacityChanged(node_id="n0", capacity={"cpu": -91}, is_delta=True))
    assert details(commands) == ["capacity.cpu: -1 must be at least 0 and below 2^62"]
    commands = h.step(NodeCapacityChanged(node_id="n0", resources={"chairs": 1}))
    assert details(commands) == ["resources.chairs: no such exact plugin is in use"]
    commands = h.step(NodeCapacityChanged(node_id="n0", resources={"seats": 3}, operation_id="op"))
    assert published(commands) == [("n0", "changed", "op"), ("op", "done", "op")]


def test_more_seats_wake_who_waits_for_them() -> None:
    h = seated(1)
    h.submit("a", 1, 1, payloads=sit(2))
    assert placements(h.step(NodeCapacityChanged(node_id="n0", resources={"seats": 1}, is_delta=True))) == {"a": "n0"}


class Ring(Seats):
    """Seats that must be taken from the first on, so that every other one is of no use until its neighbour is taken."""

    name = "seats"
    placement_makes_room = True

    def assign(self, request: dict[str, int], node: NodeSlots, count: int) -> list[Assignment]:
        taken = sum(1 for amount in node.free if not amount)
        if taken < request["seats"] - 1:
            return []
        return super().assign({"seats": 1}, node, min(count, 1))


def test_a_placement_that_makes_room_wakes_who_waits_for_it() -> None:
    plugin = Ring()
    h = Harness(CoreConfig(plugins=(PluginConfig("seats"),)), plugins=[plugin])
    h.step(node("n0", 100, 100, resources={"seats": 4}))
    h.submit("second", 1, 1, payloads=sit(2))
    assert h.state_of("second") == "queued"
    assert placements(h.submit("first", 1, 1, payloads=sit(1))) == {"first": "n0", "second": "n0"}


def test_a_deployment_that_makes_room_wakes_who_waits_for_it() -> None:
    h = Harness(CoreConfig(plugins=(PluginConfig("seats"),)), plugins=[Ring()])
    h.step(node("n0", 100, 100, resources={"seats": 4}))
    h.submit("second", 1, 1, payloads=sit(2))
    assert h.state_of("second") == "queued"
    commands = h.step(DeploymentRequested(spec=spec("first", 1, 1, payloads=sit(1))))
    assert placements(commands) == {"first/0": "n0", "second": "n0"}


def test_a_change_of_nothing_but_facts_about_things_wakes_who_waits() -> None:
    h = Harness(CoreConfig(plugins=(PluginConfig("gpu"),)), plugins=[GpuPlugin()])
    h.step(node("n0", resources={"gpu": {"model": "T4", "count": 1}}))
    h.submit("a", 1, 1, payloads={"gpu": {"models": ["V100"]}})
    changed = NodeCapacityChanged(node_id="n0", resources={"gpu": {"model": "V100", "count": 1}})
    assert placements(h.step(changed)) == {"a": "n0"}


def test_a_node_that_lacks_some_kind_of_thing_can_be_fixed() -> None:
    h = seated(None)
    h.core.ledger.reserve(0, (7, 0))
    assert details(h.step(NodeFixRequested(node_id="n0"))) == ["cpu: 7 is used in the books, 0 is held by workloads"]


def test_a_node_whose_things_make_no_sense_does_not_join() -> None:
    h = seated()
    assert details(h.step(node("n0", resources={"seats": -1}))) == ["seats: -1 must be at least 0"]
    commands = h.step(node("n0", resources={"chairs": 1}))
    assert details(commands) == ["resources.chairs: no such exact plugin is in use; there are: seats"]
    assert not h.core.cluster.nodes


def test_inspection_names_each_difference_and_a_fix_puts_it_right() -> None:
    h = seated(3)
    running(h, "a", 1)
    assert h.core.inspect("n0") == []
    h.core.ledger.reserve(0, (7, 0))
    h.core.ledger.slots["seats"].take(0, {"2": 1})
    h.core.ledger.slots["seats"].take(0, {"0": -1})
    wrong = [
        "cpu: 8 is used in the books, 1 is held by workloads",
        "seats.2: 1 is used in the books, 0 is held by workloads",
        "seats.0: 0 is used in the books, 1 is held by workloads",
    ]
    assert h.core.inspect("n0") == wrong
    commands = h.step(NodeFixRequested(node_id="n0", operation_id="op"))
    assert published(commands) == [("n0", "fixed", "op"), ("op", "done", "op")]
    assert details(commands)[0] == "; ".join(wrong)
    assert h.core.inspect("n0") == []
    assert (h.core.ledger.used(0), free_seats(h)) == ((1, 1), ["1", "2"])
    assert details(h.step(NodeFixRequested(node_id="n0")))[0] == ""


def test_changed_facts_matter_from_then_on() -> None:
    h = seated(1)
    h.step(NodeFactsChanged(node_id="n0", labels={"zone": "a"}, images={"web:1": 5}))
    facts = h.core.cluster.nodes[0]
    assert (facts.labels, facts.images, facts.taints) == ({"zone": "a"}, {"web:1": 5}, ())
    h.reload()
    assert h.core.cluster.nodes[0].labels == {"zone": "a"}


def test_a_start_that_is_repeated_after_a_restart_says_the_same() -> None:
    h = seated(3)
    (first,) = h.submit("a", 1, 1, payloads=sit(2))
    h.reload()
    (again,) = of_type(h.fire_timers(), StartWorkload)
    assert again == first
    assert of_type(h.step(WorkloadStarted(workload_id="a", generation=1)), StartWorkload) == []
    assert isinstance(h.step(NodeJoined(node_id="z", capacity={})), list)


def test_nothing_is_kept_of_starts_where_no_plugin_shares_anything() -> None:
    h = harness()
    h.step(node("n0", labels={"zone": "a"}))
    h.submit("a", 1, 1, payloads={"labels": {"zone": ["a"]}})
    h.submit("b", 1, 1, payloads={"labels": {"zone": ["a"]}})
    assert (h.state_of("b"), len(h.core.state.engine_args._told)) == ("starting", 0)

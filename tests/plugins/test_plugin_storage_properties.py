"""Properties of volume plans over random nodes and requests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from storage_cases_kit import (
    PLUGIN,
    binding_texts,
    bindings_of,
    by_destination,
    copy_node,
    nodes,
    reference_plans,
    requests,
    take,
)

from scheduler.plugins.volume_plans import IO_KINDS, VolumeNode, find_plans
from scheduler.ports import COPIES_MAX, NodeSlots

MOST = 60
PLENTY = 200
"""More copies than fit on any of the nodes, unless they take nothing at all."""


def volume_node(node: NodeSlots) -> VolumeNode:
    layout = node.inventory.layout
    first = len(layout["devices"])
    last = first + 4 * len(layout["disks"])
    return VolumeNode(
        node.inventory.total[:first],
        node.free[:first],
        layout["disk_ids"],
        [node.free[start : start + 4] for start in range(first, last, 4)],
        layout["mounts"],
        node.free[last : last + first],
    )


@given(nodes(), requests())
def test_plans_fit_together_and_give_what_was_asked(node: NodeSlots, request: Mapping[str, Any]) -> None:
    total = dict(zip(node.inventory.slots, node.inventory.total, strict=True))
    bindings = bindings_of(request)
    free_at_first = dict(zip(node.inventory.slots, node.free, strict=True))
    for plan in PLUGIN.assign(request, copy_node(node), MOST):
        node = take(node, plan)
        volumes = by_destination(plan)
        group = [volumes[binding.destination] for binding in bindings if binding.kind == "monopoly"]
        for binding in bindings:
            volume = volumes[binding.destination]
            assert tuple(volume[kind] for kind in IO_KINDS) == binding.io
            if binding.kind == "mount":
                assert volume["source"] == binding.source
            elif binding.kind == "normal":
                assert volume["bytes"] == binding.size_bytes
            elif binding.kind == "unlimited":
                assert volume["bytes"] == 0
                assert f"volume:{volume['source']}" in total
            else:
                assert volume["bytes"] >= binding.size_bytes
        if group:
            [slot] = {f"volume:{volume['source']}" for volume in group}
            assert sum(volume["bytes"] for volume in group) == total[slot] == free_at_first[slot]
        for kind in IO_KINDS:
            asked = sum(binding.io[IO_KINDS.index(kind)] for binding in bindings)
            assert asked == sum(amount for slot, amount in plan.amounts.items() if slot.endswith(f":{kind}"))


@given(nodes(), st.lists(requests(), min_size=2, max_size=4))
def test_a_monopoly_is_alone_on_its_device(node: NodeSlots, asked: list[Mapping[str, Any]]) -> None:
    """Whatever the bytes; and what was assigned might have been found running as well."""
    tenants: list[tuple[str, bool, int]] = []
    for number, request in enumerate(asked):
        for plan in PLUGIN.assign(request, copy_node(node), 1):
            node = take(node, plan)
            PLUGIN.check_assignment(request, node.inventory, plan)
            kinds = {binding.destination: binding.kind for binding in bindings_of(request)}
            tenants += [
                (volume["source"], kinds[destination] == "monopoly", number)
                for destination, volume in by_destination(plan).items()
                if kinds[destination] != "mount"
            ]
    for device, is_monopoly, number in tenants:
        if is_monopoly:
            assert all(is_whole and by == number for other, is_whole, by in tenants if other == device)


@given(nodes(), requests())
def test_counting_is_the_number_of_plans(node: NodeSlots, request: Mapping[str, Any]) -> None:
    for most in (0, 1, 7, MOST):
        plans = PLUGIN.assign(request, copy_node(node), most)
        assert PLUGIN.node_capacity(request, copy_node(node), most) == len(plans)


@settings(max_examples=20)
@given(nodes(), requests())
def test_capacity_is_all_the_plans_that_there_are(node: NodeSlots, request: Mapping[str, Any]) -> None:
    capacity = PLUGIN.node_capacity(request, copy_node(node), COPIES_MAX)
    assert capacity == len(PLUGIN.assign(request, copy_node(node), COPIES_MAX))


@given(nodes(), requests(), st.integers(1, MOST))
def test_any_number_up_to_the_capacity_can_be_assigned(node: NodeSlots, request: Mapping[str, Any], count: int) -> None:
    capacity = PLUGIN.node_capacity(request, copy_node(node), MOST)
    assume(capacity > 0)
    count = min(count, capacity)
    assert len(PLUGIN.assign(request, copy_node(node), count)) == count


@settings(max_examples=200)
@given(nodes(), requests())
def test_plans_are_those_of_the_plain_rules(node: NodeSlots, request: Mapping[str, Any]) -> None:
    bindings = bindings_of(request)
    assume(not any(binding.kind == "monopoly" and any(binding.io) for binding in bindings))
    assume(not {"monopoly", "unlimited"} <= {binding.kind for binding in bindings})
    slots = volume_node(node)
    devices = [
        {
            binding.destination: placed.device
            for binding, placed in zip(bindings, plan, strict=True)
            if binding.kind == "normal"
        }
        for plan in find_plans(slots, bindings, MOST)
    ]
    assert devices == reference_plans(slots, bindings, MOST)


@given(nodes(), requests(with_io=False))
def test_after_all_plans_there_is_no_other(node: NodeSlots, request: Mapping[str, Any]) -> None:
    """As long as every device that is opened can be used: no IO, and beside a monopoly no second normal binding."""
    kinds = [binding.kind for binding in bindings_of(request)]
    assume("monopoly" not in kinds or kinds.count("normal") < 2)
    plans = PLUGIN.assign(request, copy_node(node), PLENTY)
    assume(len(plans) < PLENTY)
    for plan in plans:
        node = take(node, plan)
    assert PLUGIN.node_capacity(request, node, 1) == 0


@given(nodes(), requests(), st.lists(st.integers(0, 3), max_size=2), st.data())
def test_realloc_keeps_devices(
    node: NodeSlots, request: Mapping[str, Any], removed: list[int], data: st.DataObject
) -> None:
    plans = PLUGIN.assign(request, copy_node(node), 2)
    assume(plans)
    held, others = plans[0], plans[1:]
    for other in others:
        node = take(node, other)
    texts = [
        f"{binding.source}:{binding.destination}:{binding.flags}:{-binding.size_bytes - 1}"
        for position, binding in enumerate(bindings_of(request))
        if position in removed
    ]
    texts.append(data.draw(binding_texts("/new")))
    changed = PLUGIN.merge(request, {"volumes": texts})
    assignment = PLUGIN.reassign(changed, copy_node(node), held, request)
    assume(assignment is not None)
    assert assignment is not None
    take(node, assignment)
    old, new = by_destination(held), by_destination(assignment)
    assert list(new) == [binding.destination for binding in bindings_of(changed)]
    for destination, volume in new.items():
        if destination in old:
            assert volume["source"] == old[destination]["source"]
    group = [new[binding.destination] for binding in bindings_of(changed) if binding.kind == "monopoly"]
    if group:
        [slot] = {f"volume:{volume['source']}" for volume in group}
        position = node.inventory.slots.index(slot)
        assert sum(volume["bytes"] for volume in group) == node.inventory.total[position]


@settings(max_examples=40)
@given(nodes(), requests())
def test_realloc_to_the_same_changes_nothing(node: NodeSlots, request: Mapping[str, Any]) -> None:
    plans = PLUGIN.assign(request, copy_node(node), 1)
    assume(plans)
    assert PLUGIN.reassign(request, copy_node(node), plans[0], request) == plans[0]


@settings(max_examples=40)
@given(nodes(), requests(), requests())
def test_release_restores(node: NodeSlots, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """What is free after taking and giving back allows the same plans as before."""
    before = PLUGIN.assign(second, copy_node(node), 5)
    plans = PLUGIN.assign(first, copy_node(node), 1)
    assume(plans)
    taken = take(node, plans[0])
    for slot, amount in plans[0].amounts.items():
        taken.free[node.inventory.slots.index(slot)] += amount
    assert taken == node
    assert PLUGIN.assign(second, taken, 5) == before


@given(requests(), st.integers())
def test_the_order_of_volumes_says_nothing(request: Mapping[str, Any], seed: int) -> None:
    texts = list(request["volumes"])
    random.Random(seed).shuffle(texts)
    assert PLUGIN.parse({"volumes": texts}) == request
    assert PLUGIN.parse(request) == request

"""Bugs that were fixed, each with the test that failed before."""

from __future__ import annotations

import pytest
from core_kit import harness, published, spec, with_nodes

from backends.sim.engine import EngineModel, SimulatedEngine
from scheduler import snapshot
from scheduler.commands import PublishResult, StartWorkload, StopWorkload
from scheduler.config import CoreConfig, PluginConfig
from scheduler.events import (
    DisruptionBudgetSet,
    MaintenancePlanned,
    NodeDrainRequested,
    NodeJoined,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    ReallocRequested,
    StopRequested,
    TimerFired,
    WorkloadAdopted,
    WorkloadStarted,
    WorkloadStopped,
)
from scheduler.journal import JournalError, JournalReader
from scheduler.plugins.affinity import AffinityPlugin
from scheduler.testing import Harness

NODE = {"cpu": 1000, "memory": 1000}


def test_the_queue_forgets_classes_whose_workloads_are_gone() -> None:
    h = with_nodes((4, 4))
    for number in range(100):
        h.submit(f"w{number}", 5000 + number, 1)
        h.remove(f"w{number}")
    assert h.core.queue.demand() == [0, 0]
    assert not h.core.queue.class_count


def test_the_queue_sweeps_out_what_left_from_its_middle() -> None:
    h = with_nodes((4, 4))
    h.submit("head", 5000, 1)
    for number in range(300):
        h.submit(f"w{number}", 5000, 1)
        h.remove(f"w{number}")
    assert h.core.queue.entry_count < 100
    h.join("big", cpu=6000, memory=9)
    assert h.node_of("head") == "big"


def test_a_machine_that_went_down_does_not_answer() -> None:
    engine = SimulatedEngine(EngineModel(stop_ns=5))
    engine.execute(StartWorkload(workload_id="w", generation=1, node_id="n"))
    (stopped,) = engine.execute(StopWorkload(workload_id="w", generation=1, node_id="n", reason="evict"))
    engine.observe(NodeLost(node_id="n"))
    assert engine.observe(stopped.event) == 0


def test_a_node_keeps_the_images_that_it_used_last() -> None:
    engine = SimulatedEngine(EngineModel(image_pull_ns=7, images_per_node_count=2))
    delays = []
    for number, image in enumerate("abacab"):
        command = StartWorkload(workload_id=f"w{number}", generation=1, node_id="n", image=image)
        delays.append(engine.execute(command)[0].delay_ns)
    assert delays == [7, 7, 0, 7, 0, 7]


def test_a_node_with_a_fence_is_not_drained() -> None:
    h = with_nodes((4, 4), (4, 4))
    h.submit("w", 1, 1)
    h.step(NodeLost(node_id="n0"))
    h.step(NodeReturned(node_id="n0"))
    assert not published(h.step(NodeDrainRequested(node_id="n0", operation_id="op")))
    assert ("n0", "drained", "op") in published(h.step(WorkloadStopped(workload_id="w", generation=1)))


def test_a_node_is_drained_when_what_a_user_stopped_has_stopped() -> None:
    h = with_nodes((4, 4))
    h.submit("w", 1, 1)
    h.started("w")
    h.step(StopRequested(workload_id="w"))
    assert not published(h.step(NodeDrainRequested(node_id="n0", operation_id="op")))
    assert ("n0", "drained", "op") in published(h.stopped("w"))


def test_whoever_drains_is_told_that_the_node_was_removed() -> None:
    h = with_nodes((4, 4))
    h.submit("w", 1, 1)
    h.step(NodeDrainRequested(node_id="n0", operation_id="op"))
    (answer, *_) = [c for c in h.step(NodeRemoved(node_id="n0")) if getattr(c, "operation_id", "") == "op"]
    assert answer.detail == "the node was removed"


def test_an_adoption_that_cannot_be_counted_is_refused() -> None:
    h = with_nodes((4, 4))
    outcomes = []
    for number in range(4):
        found = spec(f"w{number}", (1 << 61) - 1, 1)
        outcomes += [outcome for _, outcome, _ in published(h.step(WorkloadAdopted(spec=found, node_id="n0")))]
    assert outcomes == ["refused", "refused"]


def test_a_workload_has_a_name() -> None:
    h = with_nodes((4, 4))
    assert [outcome for _, outcome, _ in published(h.submit("", 1, 1))] == ["refused"]


def test_something_added_to_a_line_is_found() -> None:
    h = harness()
    h.join("n", **NODE)
    reader = JournalReader()
    reader.read_header(h.lines[0])
    with pytest.raises(JournalError, match="line 2"):
        reader.read(h.lines[1].replace(b'"hash":"', b'"x":1,"hash":"'))


def test_a_copy_of_a_gang_is_not_changed_alone() -> None:
    h = with_nodes((4, 4), (4, 4))
    h.submit("g", 2, 2, count=2, gang=True)
    h.started("g/0")
    h.started("g/1")
    (refused,) = h.step(ReallocRequested(workload_id="g/0", request=(-1, 0), operation_id="r"))
    assert isinstance(refused, PublishResult)
    assert refused.outcome == "refused"
    assert "gang" in refused.detail


def test_who_preempts_for_a_licence_has_its_holder_stopped() -> None:
    h = with_nodes((4, 4))
    h.submit("holder", 1, 1, payloads={"licences": {"spice": 1}}, priority=1)
    h.submit("bystander", 1, 1)
    h.started("holder")
    h.started("bystander")
    commands = h.submit("boss", 1, 1, payloads={"licences": {"spice": 1}}, priority=5, preempts=True)
    assert [c.workload_id for c in commands if isinstance(c, StopWorkload)] == ["holder"]
    h.stopped("holder")
    assert h.node_of("boss") == "n0"
    assert h.state_of("bystander") == "running"


def test_what_a_nomination_changes_for_others_is_seen_in_the_same_step() -> None:
    """Otherwise a core that was restored would decide once less than the first one."""
    levels = {"levels": ["rack"]}
    h = Harness(CoreConfig(plugins=(PluginConfig("affinity", params=levels),)), plugins=[AffinityPlugin(**levels)])
    h.step(NodeJoined(node_id="n0", capacity={"cpu": 4, "memory": 4}, topology={"rack": "r"}))
    rule = {"match": {"app": "web"}, "level": "rack"}
    h.submit("web", 1, 1, count=2, payloads={"affinity": {"labels": {"app": "web"}, "apart": [rule]}})
    h.submit("w", 3, 3)
    h.submit("boss", 3, 3, priority=5, preempts=True)
    other = snapshot.load(snapshot.dump(h.core), plugins=[AffinityPlugin(**levels)])
    event = WorkloadStarted(workload_id="nobody", generation=1)
    h.step(event)
    other.step(h.at_ns, [event])
    assert snapshot.dump(other) == snapshot.dump(h.core)


def test_a_gang_costs_a_budget_all_its_copies() -> None:
    h = with_nodes((4, 4), (4, 4))
    h.submit("g", 4, 4, count=2, gang=True, app="web")
    h.started("g/0")
    h.started("g/1")
    h.step(DisruptionBudgetSet(app="web", unavailable_max=1))
    assert not h.submit("boss", 1, 1, priority=5, preempts=True)
    h.step(DisruptionBudgetSet(app="web", unavailable_max=2))
    assert h.state_of("g/0") == h.state_of("g/1") == "stopping"


def test_a_window_that_begins_late_leaves_nothing_to_start_again() -> None:
    """All that is due is worked off at once when the clock has jumped: who has been evicted is not started again."""
    h = with_nodes((4, 4), deadline_ns=100)
    h.submit("w", 1, 1)
    h.step(MaintenancePlanned(window_id="m", node_ids=("n0",), start_ns=50, end_ns=1000))
    commands = h.step(TimerFired(), at_ns=200)
    assert [type(command) for command in commands] == [StopWorkload]
    assert h.core.next_wakeup_ns == 300, "the stop is repeated if nobody answers"

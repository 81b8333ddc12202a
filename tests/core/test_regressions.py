"""Bugs that were fixed, each with the test that failed before."""

from __future__ import annotations

import pytest
from core_kit import harness, published, spec, with_nodes

from backends.sim.engine import EngineModel, SimulatedEngine
from scheduler.commands import StartWorkload, StopWorkload
from scheduler.events import (
    NodeDrainRequested,
    NodeLost,
    NodeRemoved,
    NodeReturned,
    StopRequested,
    WorkloadAdopted,
    WorkloadStopped,
)
from scheduler.journal import JournalError, JournalReader

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

"""The order of rows by a policy's value finds what a full scan finds, whatever changes."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler import kernels, plan
from scheduler.cluster import Cluster
from scheduler.config import CoreConfig, PolicyConfig
from scheduler.core import Core
from scheduler.events import AnyEvent, NodeJoined, WorkloadExited, WorkloadsSubmitted, WorkloadStarted
from scheduler.ledger import Ledger
from scheduler.request_classes import need_of
from scheduler.score_order import ScoreOrder


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, -1 / 3), (0.1, 1 / 7), (-0.5, 0.25), (1e-300, 1e-300)])
@pytest.mark.parametrize("spread", [3, 100, 1 << 40])
@pytest.mark.parametrize("rows", [1, 40, 700])
def test_it_finds_what_a_full_scan_finds(weights: tuple[float, float], spread: int, rows: int) -> None:
    """With few different amounts ties abound; with many changes rows are put back in their places."""
    generator = np.random.default_rng([rows, spread])
    ledger = Ledger(2, Cluster().marks)
    for _ in range(rows):
        ledger.add_row(generator.integers(spread // 2, spread, size=2).tolist())
    weight_column = np.array(weights)
    mask = np.ones(ledger.free.shape[1], dtype=np.uint8)
    order = ScoreOrder(ledger, weight_column)
    for decision in range(300):
        for _ in range(int(generator.integers(0, 8))):
            row = int(generator.integers(rows))
            ledger.reserve(
                row, tuple(generator.integers(-spread // 4, spread // 3 + 1, size=2).tolist()), as_found=True
            )
        if decision % 50 == 20:
            ledger.add_row((spread, spread))
        row = int(generator.integers(rows))
        mask = mask if len(mask) == ledger.free.shape[1] else np.ones(ledger.free.shape[1], dtype=np.uint8)
        mask[row] = generator.random() < 0.7
        ledger.touch(row)
        if order.is_outdated(weight_column):
            order = ScoreOrder(ledger, weight_column)
        asked = generator.integers(0, spread, size=2) // int(generator.integers(1, 9))
        need = need_of(tuple(asked.tolist()))
        expected = kernels.best_row(ledger.free, need, weight_column, mask, ledger.row_count)
        assert order.best(need, mask) == expected


def _placements(policy: str) -> list[str]:
    """Where 400 different requests go on 90 nodes of three kinds, while some of them end."""
    core = Core(CoreConfig(policy=PolicyConfig(policy)))
    core.step(0, [NodeJoined(node_id=f"n{n}", capacity={"cpu": 8 << n % 3, "memory": 64}) for n in range(90)])
    placed = []
    for number in range(400):
        events: list[AnyEvent] = [WorkloadsSubmitted(workload_id=str(number), request=(number % 7, 1 + number % 13))]
        ended = str(number - 150)
        if ended in core.workloads:
            events += [
                WorkloadStarted(workload_id=ended, generation=1),
                WorkloadExited(workload_id=ended, generation=1),
            ]
        placed += [f"{command}" for command in core.step(number, events)]
    return placed


@pytest.mark.parametrize("policy", ["first-fit", "best-fit", "worst-fit"])
def test_decisions_do_not_depend_on_it(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = _placements(policy)
    monkeypatch.setattr(plan, "_ORDERED_MIN", 0)
    assert _placements(policy) == scanned

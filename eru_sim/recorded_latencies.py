"""Engine latencies and failures fitted to a recording, for *what would have happened*."""

from __future__ import annotations

import statistics
from typing import Any

from backends.sim.engine import EngineModel
from scheduler.commands import StartWorkload, StopWorkload, UpdateWorkload
from scheduler.events import (
    WorkloadStarted,
    WorkloadStartFailed,
    WorkloadStopped,
    WorkloadUpdated,
    WorkloadUpdateFailed,
)
from scheduler.journal import Batch

_Key = tuple[str, str, int]
_ANSWERS: dict[type[Any], tuple[str, bool]] = {
    WorkloadStarted: ("start", True),
    WorkloadStartFailed: ("start", False),
    WorkloadStopped: ("stop", True),
    WorkloadUpdated: ("update", True),
    WorkloadUpdateFailed: ("update", False),
}
_COMMANDS: dict[type[Any], str] = {StartWorkload: "start", StopWorkload: "stop", UpdateWorkload: "update"}


class Latencies:
    """How long engines took from a command to its first answer, and how many answers were failures."""

    def __init__(self) -> None:
        self._asked: dict[_Key, int] = {}
        self._took: dict[str, list[int]] = {"start": [], "stop": [], "update": []}
        self._failed = {"start": 0, "stop": 0, "update": 0}

    def observe(self, batch: Batch) -> None:
        """Take in one batch of the recording; in order."""
        for event in batch.events:
            answer = _ANSWERS.get(type(event))
            if answer is not None:
                kind, is_good = answer
                asked_ns = self._asked.pop((kind, event.workload_id, event.generation), None)  # type: ignore[union-attr]
                if asked_ns is not None:
                    self._took[kind].append(batch.at_ns - asked_ns)
                    self._failed[kind] += not is_good
        for command in batch.commands:
            asked = _COMMANDS.get(type(command))
            if asked is not None:
                self._asked.setdefault((asked, command.workload_id, command.generation), batch.at_ns)  # type: ignore[union-attr]

    def model(self, seed: int) -> EngineModel:
        """Medians of the latencies, shares of failures, and one jitter that covers the middle 80 % of starts.

        0 where nothing was recorded.
        """
        starts = self._took["start"]
        return EngineModel(
            start_ns=_median(starts),
            stop_ns=_median(self._took["stop"]),
            update_ns=_median(self._took["update"]),
            jitter_ratio=_spread(starts),
            start_failure_ratio=_share(self._failed["start"], len(starts)),
            update_failure_ratio=_share(self._failed["update"], len(self._took["update"])),
            seed=seed,
        )

    def sentence(self) -> str:
        """What a report says of it."""
        model = self.model(0)
        return (
            f"Engines take as long as recorded: starts {model.start_ns / 1e9:.3g} s (median of"
            f" {len(self._took['start']):,}), stops {model.stop_ns / 1e9:.3g} s, jitter {model.jitter_ratio:.2g},"
            f" {model.start_failure_ratio:.2%} of starts fail."
        )


def _median(values: list[int]) -> int:
    return round(statistics.median(values)) if values else 0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _spread(values: list[int]) -> float:
    middle = _median(values)
    if len(values) < 10 or not middle:
        return 0.0
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return min(1.0, (high - low) / 2 / middle)

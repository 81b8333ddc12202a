"""Make a failing case smaller: fewer actions, fewer features. What is left fails with the same kind of failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from eru_sim.fuzz.scenario import Case
from eru_sim.fuzz.trial import Outcome, Trial

Item = TypeVar("Item")

RUNS_MAX = 120

_NAMES = re.compile(r"\b(op|[a-z])\d+(/\d+)?\b|\d+|'[^']*'|\[[^]]*\]|\([^)]*\)")


def kind_of(failure: str) -> str:
    """A failure without names and numbers: two of the same kind most likely have the same cause."""
    return " ".join(_NAMES.sub("", failure).split())[:60]


class Shrinker:
    """Tries smaller cases, at most ``runs_max`` of them. ``smallest`` and ``outcome`` are the best so far."""

    def __init__(
        self, case: Case, outcome: Outcome, *, runs_max: int = RUNS_MAX, run: Callable[[Case], Outcome] | None = None
    ) -> None:
        self.smallest = case
        self.outcome = outcome
        self.runs = 0
        self._runs_max = runs_max
        self._kind = kind_of(outcome.failure)
        self._run = run or (lambda tried: Trial(tried).run())

    def shrink(self) -> None:
        """Cut off actions from the end, then leave out features, then actions in ever smaller pieces."""
        self._cut_off()
        self._leave_out_features()
        self._cut_off()
        self._skip_actions()
        self._leave_out_features()

    def _fails(self, case: Case) -> bool:
        if self.runs >= self._runs_max:
            return False
        self.runs += 1
        outcome = self._run(case)
        if not outcome.failure or kind_of(outcome.failure) != self._kind:
            return False
        self.smallest, self.outcome = case, outcome
        return True

    def _with(self, *, without: Iterable[str] = (), skip: Iterable[int] = (), actions: int | None = None) -> Case:
        case = self.smallest
        return msgspec.structs.replace(
            case,
            without=tuple(sorted({*case.without, *without})),
            skip=tuple(sorted({*case.skip, *skip})),
            actions=case.actions if actions is None else actions,
        )

    def _cut_off(self) -> None:
        low, high = 0, self.smallest.action_count
        while low < high:
            middle = (low + high) // 2
            if self._fails(self._with(actions=middle)):
                high = middle
            else:
                low = middle + 1

    def _leave_out_features(self) -> None:
        self._leave_out(sorted(self.smallest.features), lambda names: self._with(without=names))

    def _skip_actions(self) -> None:
        left = [number for number in range(self.smallest.action_count) if number not in self.smallest.skip]
        self._leave_out(left, lambda numbers: self._with(skip=numbers))

    def _leave_out(self, items: Sequence[Item], made: Callable[[Sequence[Item]], Case]) -> None:
        """Leave out as many of the items as can be, in pieces of half of them, a quarter, and so on."""
        size = max(1, len(items) // 2)
        left = list(items)
        while left and self.runs < self._runs_max:
            at = 0
            while at < len(left):
                piece = left[at : at + size]
                if self._fails(made(piece)):
                    del left[at : at + size]
                else:
                    at += size
            if size == 1:
                return
            size = max(1, size // 2)

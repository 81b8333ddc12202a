"""Many seeds, side by side; what fails is made smaller, and told with the command that shows it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eru_sim.errors import EruError
from eru_sim.fuzz.scenario import Case, Scenario, check_features, numbers, read_scenario
from eru_sim.fuzz.shrinking import Shrinker
from eru_sim.fuzz.trial import Outcome, Trial
from eru_sim.workers import results_of

Progress = Callable[[float, str], None]

SHRUNK_MAX = 3
"""So many failures of one campaign are made smaller; the others most likely have the same causes."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that failed: what must not be, the command that shows it, and the same for the smallest case found."""

    seed: int
    failure: str
    command: str
    shrunk_failure: str = ""
    shrunk_command: str = ""
    shrunk_actions: int = 0
    features: list[str] = []
    story: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a campaign. Equal arguments give equal reports, whatever ``jobs`` is."""

    seeds: int
    seed_start: int
    actions: int
    batches: int
    submitted: int
    crashes: int
    happened: dict[str, int]
    injected: dict[str, int]
    digest: str
    failures: list[Failure]


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    case: Case
    shrink: bool = False
    failure: str = ""


def fuzz(
    seeds: int = 100,
    *,
    seed_start: int = 0,
    scenario: str | Path | None = None,
    without: Sequence[str] = (),
    actions: int | None = None,
    skip: str | Sequence[int] = (),
    jobs: int = 1,
    shrink: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Run so many seeds from ``seed_start`` on, ``jobs`` at a time.

    ``scenario`` is a TOML file with the fields of `eru_sim.fuzz.scenario.Scenario`. ``without`` leaves out features,
    ``skip`` actions by number, and ``actions`` all after the first so many. EruError where that makes no sense.
    """
    if seeds < 1 or jobs < 1 or seed_start < 0 or (actions is not None and actions < 0):
        raise EruError(
            f"seeds: {seeds}, seed_start: {seed_start}, jobs: {jobs}, actions: {actions}: give whole numbers"
        )
    check_features("without", without)
    skipped = numbers(skip) if isinstance(skip, str) else tuple(skip)
    drawn_from = Scenario() if scenario is None else read_scenario(scenario)
    cases = [
        Case(seed=seed, scenario=drawn_from, without=tuple(without), skip=skipped, actions=actions)
        for seed in range(seed_start, seed_start + seeds)
    ]
    outcomes: dict[int, Outcome] = {}
    failed = 0
    for outcome in results_of(_run, [_Task(case=case) for case in cases], jobs=jobs, backend="joblib"):
        outcomes[outcome.seed] = outcome
        failed += bool(outcome.failure)
        if progress is not None:
            progress(len(outcomes) / seeds, f"{len(outcomes)} of {seeds} seeds, {failed} failed")
    ordered = [outcomes[case.seed] for case in cases]
    failing = [(case, outcome) for case, outcome in zip(cases, ordered, strict=True) if outcome.failure]
    smaller: dict[int, tuple[Case, Outcome]] = {}
    tasks = [_Task(case=case, shrink=True) for case, _ in failing[:SHRUNK_MAX]] if shrink else []
    for case, outcome in results_of(_shrink, tasks, jobs=jobs, backend="joblib"):
        smaller[case.seed] = (case, outcome)
        if progress is not None:
            progress(1.0, f"{len(smaller)} of {len(tasks)} failures made smaller")
    return _report(ordered, seed_start, [_failure(c, o, smaller.get(c.seed), scenario) for c, o in failing])


def _run(task: _Task) -> Outcome:
    return Trial(task.case).run()


def _shrink(task: _Task) -> tuple[Case, Outcome]:
    shrinker = Shrinker(task.case, Trial(task.case).run())
    shrinker.shrink()
    return shrinker.smallest, shrinker.outcome


def _failure(
    case: Case, outcome: Outcome, smaller: tuple[Case, Outcome] | None, scenario: str | Path | None
) -> Failure:
    file = "" if scenario is None else str(scenario)
    if smaller is None:
        return Failure(
            seed=case.seed,
            failure=outcome.failure,
            command=case.command(file),
            features=sorted(case.features),
            story=outcome.story,
        )
    small, found = smaller
    return Failure(
        seed=case.seed,
        failure=outcome.failure,
        command=case.command(file),
        shrunk_failure=found.failure,
        shrunk_command=small.command(file),
        shrunk_actions=found.actions,
        features=sorted(small.features),
        story=found.story,
    )


def _report(outcomes: Sequence[Outcome], seed_start: int, failures: list[Failure]) -> Report:
    import hashlib

    happened: Counter[str] = Counter()
    injected: Counter[str] = Counter()
    digest = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        happened.update(outcome.happened)
        injected.update(outcome.injected)
        digest.update(f"{outcome.seed} {outcome.journal_digest} {outcome.failure}\n".encode())
    return Report(
        seeds=len(outcomes),
        seed_start=seed_start,
        actions=sum(outcome.actions for outcome in outcomes),
        batches=sum(outcome.batches for outcome in outcomes),
        submitted=sum(outcome.submitted for outcome in outcomes),
        crashes=sum(outcome.crashes for outcome in outcomes),
        happened=dict(sorted(happened.items())),
        injected=dict(sorted(injected.items())),
        digest=digest.hexdigest(),
        failures=failures,
    )


def summary_of(report: Report) -> dict[str, Any]:
    """A report as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(report)
    return data

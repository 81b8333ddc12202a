"""The fuzzer: fifty seeds, the same bytes anywhere, failures that can be shown again and are made smaller."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eru_sim.fuzz
from eru_sim.errors import EruError
from eru_sim.fuzz.campaign import Report, fuzz
from eru_sim.fuzz.scenario import FEATURES, Case, Scenario, numbers, ranges, read_scenario
from eru_sim.fuzz.shrinking import Shrinker, kind_of
from eru_sim.fuzz.trial import Outcome, Trial
from scheduler.ledger import Ledger

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


def test_fifty_seeds() -> None:
    report = fuzz(50)
    assert not report.failures, report.failures[0]
    assert report.crashes > 50
    assert min(report.injected.values()) > 0
    assert {"deploy", "realloc", "replace", "drain", "maintain", "adopt", "dissociate"} <= set(report.happened)


@pytest.mark.parametrize("seed", [5006, 5217, 5569, 5644, 5683, 6088])
def test_operations_that_the_model_once_took_for_others(seed: int) -> None:
    """An id that is used again in the batch in which it ends; who is placed in that batch, before or after."""
    _require_clean(seed)


@pytest.mark.parametrize("seed", [5112, 5561])
def test_instances_that_the_model_once_thought_changed(seed: int) -> None:
    """Left with a change under way, or after one that failed."""
    _require_clean(seed)


@pytest.mark.parametrize("seed", [7336, 7502, 7674])
def test_replacements_that_the_model_once_took_for_others(seed: int) -> None:
    """Several of one workload at once: one in which a part has failed begins nobody new."""
    _require_clean(seed)


@pytest.mark.parametrize("seed", [10173, 10184])
def test_what_the_model_once_forgot(seed: int) -> None:
    """Who takes the name of one rejected in the same batch; the nodes that one of a gang, which has ended, avoided."""
    _require_clean(seed)


@pytest.mark.parametrize("seed", [5438, 5560, 5568, 7147, 7154, 8682])
def test_what_the_core_once_did_wrong(seed: int) -> None:
    """A deployment beside the end of a reservation; a gang that did not wait; a preemptor that was queued twice, or
    that was placed on its node although its tenant had come to its maximum meanwhile; copies of a gang on one node that
    conservative backfilling counted twice; a preemptor that lost its node to its victim, again and again.
    """
    _require_clean(seed)


def _require_clean(seed: int) -> None:
    report = fuzz(1, seed_start=seed)
    assert not report.failures, report.failures[0]


# -- independence ------------------------------------------------------------------------------------------------------


def test_the_model_imports_nothing_of_the_scheduler_but_events_and_commands() -> None:
    """That nothing else comes along by way of others is a contract of import-linter."""
    imported = set()
    for path in Path(eru_sim.fuzz.__file__).with_name("model").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module))
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {module for module in imported if module.partition(".")[0] in ("scheduler", "backends", "eru_sim", "traces")}
    assert {module for module in ours if not module.startswith("eru_sim.fuzz.model")} == {
        "scheduler.events", "scheduler.commands"
    }  # fmt: skip


def test_what_the_model_brings_along_is_types_alone() -> None:
    code = "import sys, eru_sim.fuzz.model.model; print([m for m in sys.modules if m.partition('.')[0] == 'scheduler'])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert set(ast.literal_eval(done.stdout.decode())) <= {
        "scheduler", "scheduler.events", "scheduler.commands", "scheduler.assignment", "scheduler.queue_config"
    }  # fmt: skip


# -- the same bytes ----------------------------------------------------------------------------------------------------


def _report_of(*, jobs: int, hash_seed: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "eru_sim.cli.main", "sim", "fuzz", "--seeds", "3", "-j", str(jobs), "-o", "json"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, check=True, capture_output=True, env=environment, cwd=ROOT)
    return dict(json.loads(done.stdout))


def test_the_same_seeds_give_the_same_bytes_in_any_process() -> None:
    one = _report_of(jobs=1, hash_seed="1")
    assert one == _report_of(jobs=2, hash_seed="2")
    assert one["seeds"] == 3


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _broken_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given back is given back twice."""
    release = Ledger.release

    def twice(self: Ledger, row: int, request: tuple[int, ...]) -> None:
        release(self, row, request)
        release(self, row, request)

    monkeypatch.setattr(Ledger, "release", twice)


@pytest.mark.usefixtures("_broken_ledger")
def test_a_failure_names_seed_and_command_and_is_made_smaller() -> None:
    report: Report = fuzz(2, seed_start=7)
    failure = report.failures[0]
    assert failure.command == f"eru sim fuzz --seeds 1 --seed-start {failure.seed}"
    assert failure.shrunk_command.startswith(failure.command)
    assert "--actions" in failure.shrunk_command
    assert "--without" in failure.shrunk_command
    assert 1 <= failure.shrunk_actions <= 10
    words = failure.shrunk_command.split()
    given = {name: words[words.index(name) + 1] for name in ("--without", "--actions", "--skip") if name in words}
    again = fuzz(
        1,
        seed_start=failure.seed,
        without=given.get("--without", "").split(","),
        actions=int(given["--actions"]),
        skip=given.get("--skip", ""),
        shrink=False,
    )
    assert again.failures[0].failure == failure.shrunk_failure


def test_shrinking_finds_what_matters() -> None:
    """A failure that needs two actions and one feature ends as just these."""

    def run(case: Case) -> Outcome:
        done = set(range(case.action_count)) - set(case.skip)
        fails = {11, 29} <= done and "gangs" in case.features
        return Outcome(seed=case.seed, failure="w3 is lost" if fails else "", actions=len(done))

    case = Case(seed=5, scenario=Scenario(always=("gangs",)))
    shrinker = Shrinker(case, run(case), runs_max=400, run=run)
    shrinker.shrink()
    assert shrinker.smallest.features == {"gangs"}
    assert set(range(shrinker.smallest.action_count)) - set(shrinker.smallest.skip) == {11, 29}
    assert shrinker.outcome.actions == 2


def test_failures_of_one_kind_differ_in_names_and_numbers_alone() -> None:
    assert kind_of("w12/3 is placed on n4: 3 of 4 of cpu are taken") == kind_of(
        "w1 is placed on n0: 1 of 9 of cpu are taken"
    )
    assert kind_of("w1 is running for ever") != kind_of("w1 is placed on n0: it is lost")


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_leaving_something_out_changes_nothing_about_the_rest() -> None:
    case = Case(seed=3)
    name = case.drawn[0]
    smaller = Case(seed=3, without=(name,), skip=(2,))
    assert smaller.drawn == case.drawn
    assert smaller.features == case.features - {name}


def test_every_feature_is_drawn_and_left_out() -> None:
    drawn = [Case(seed=seed).features for seed in range(60)]
    for name in FEATURES:
        assert 0 < sum(name in features for features in drawn) < 60, name


def test_a_scenario_says_what_to_draw_from(tmp_path: Path) -> None:
    path = tmp_path / "gangs.toml"
    path.write_text('actions = 20\nnodes = [2, 2]\nalways = ["gangs"]\nnever = ["churn"]\nqueue = ["easy"]\n')
    report = fuzz(2, scenario=path)
    assert not report.failures
    case = Case(seed=0, scenario=read_scenario(path))
    assert case.config().queue.name == "easy"
    assert "gangs" in case.features
    assert case.command(str(path)) == f"eru sim fuzz --seeds 1 --seed-start 0 --scenario {path}"


@pytest.mark.parametrize(
    "text", ["actions = -1", 'always = ["gngs"]', "nodes = [3, 2]", 'queue = ["lifo"]', "unknown = 1", "actions = ["]
)
def test_a_scenario_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(EruError):
        fuzz(1, scenario=path)


def test_numbers_of_actions_as_ranges() -> None:
    assert ranges((4, 1, 5, 6, 9)) == "1,4-6,9"
    assert numbers("1,4-6,9") == (1, 4, 5, 6, 9)
    with pytest.raises(EruError):
        numbers("1,x")


def test_nobody_skips_what_must_be_checked_at_the_end() -> None:
    """With no action at all a trial still begins, ends, and leaves nothing behind."""
    outcome = Trial(Case(seed=1, actions=0)).run()
    assert not outcome.failure
    assert not outcome.submitted

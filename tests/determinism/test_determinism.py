"""The same run gives the same bytes, whatever the process; and the decisions that were once made stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden_runs import FAULTY, GOLDEN, POLICIES, SOURCES, decisions, fingerprint

from eru_sim import replay

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


def in_a_process(hash_seed: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("golden_runs.py")
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


def test_three_hash_seeds_give_the_same_digests_and_the_same_file(tmp_path: Path) -> None:
    here = fingerprint(tmp_path / "run.jsonl.gz")
    assert all(here.values())
    for hash_seed in ("0", "1", "2"):
        assert in_a_process(hash_seed) == here, hash_seed


def test_a_plain_and_a_compressed_journal_hold_the_same(tmp_path: Path) -> None:
    import gzip

    for name in ("j", "j.gz"):
        replay(SOURCES["distinct"], journal=tmp_path / name)
    assert gzip.decompress((tmp_path / "j.gz").read_bytes()) == (tmp_path / "j").read_bytes()


def test_the_golden_decisions_stand() -> None:
    """Where this fails on purpose: ``python tests/determinism/golden_runs.py --write``."""
    assert decisions() == json.loads(GOLDEN.read_text())


def test_the_golden_runs_tell_policies_apart() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert len(golden) == len(SOURCES) * len(POLICIES) + 1
    assert len(set(golden.values())) == len(golden)


@pytest.mark.parametrize("option", ["cluster", "seed", "engine", "overcommit"])
def test_every_option_matters_to_the_digest(option: str) -> None:
    other = {"cluster": "30x16c64g", "seed": 4, "engine": FAULTY["engine"], "overcommit": "cpu=2"}
    plain = replay(SOURCES["repeat"], policy="random", seed=3).summary
    changed = replay(SOURCES["repeat"], **{"policy": "random", "seed": 3, option: other[option]}).summary
    assert changed["decision_digest"] != plain["decision_digest"]


def test_what_only_watches_changes_nothing(tmp_path: Path) -> None:
    plain = replay(SOURCES["repeat"]).summary
    watched = replay(
        SOURCES["repeat"],
        check_every=50,
        journal=tmp_path / "j",
        out=tmp_path / "out",
        progress=lambda done, what: None,
    ).summary
    assert (watched["journal_digest"], watched["decision_digest"]) == (
        plain["journal_digest"],
        plain["decision_digest"],
    )

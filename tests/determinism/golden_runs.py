"""Small runs whose decisions must never change by accident.

``tests/golden.json`` holds the decision digest of each. A change of these digests is a change of what the scheduler
decides. When it is meant, write them anew, and say why in the commit::

    python tests/determinism/golden_runs.py --write

Without ``--write`` the digests are printed, which is what the test under several values of ``PYTHONHASHSEED`` uses.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from eru_sim import replay

GOLDEN = Path(__file__).resolve().parents[1] / "golden.json"
POLICIES = ("random", "first-fit", "best-fit", "worst-fit", "dot-product")
SOURCES = {
    "repeat": "synthetic:google2019?nodes=40&hours=0.3&seed=7&load=1.2",
    "distinct": "synthetic:google2011?nodes=40&hours=0.3&seed=8&load=1.2&mix=distinct&workloads=1500",
}
FAULTY = {
    "engine": "start=2s,stop=1s,pull=5s,jitter=0.3,start_failure=0.05,lost=0.05,duplicate=0.1,slow_nodes=0.2",
    "failures": "exponential?mtbf_hours=0.5&mttr_minutes=2",
    "overcommit": "cpu=1.2",
}


def decisions() -> dict[str, str]:
    """The decision digest of every golden run."""
    found = {
        f"{mix}/{policy}": replay(source, policy=policy, seed=3).summary["decision_digest"]
        for mix, source in SOURCES.items()
        for policy in POLICIES
    }
    found["faulty/best-fit"] = replay(SOURCES["repeat"], policy="best-fit", seed=3, **FAULTY).summary["decision_digest"]
    return found


def fingerprint(journal: Path) -> dict[str, str]:
    """Both digests of a run with every fault and a random policy, and the bytes of its journal."""
    import hashlib

    summary = replay(SOURCES["repeat"], policy="random", seed=3, journal=journal, **FAULTY).summary
    return {
        "decision_digest": summary["decision_digest"],
        "journal_digest": summary["journal_digest"],
        "journal_bytes": hashlib.sha256(journal.read_bytes()).hexdigest(),
    }


def main(arguments: list[str]) -> None:
    """Print the fingerprint, or write the golden digests."""
    if arguments == ["--write"]:
        GOLDEN.write_text(json.dumps(decisions(), indent=2) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(fingerprint(Path(folder) / "run.jsonl.gz")))


if __name__ == "__main__":
    main(sys.argv[1:])

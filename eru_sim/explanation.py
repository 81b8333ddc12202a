"""Explain a workload: its story from a recording, and why it was refused, if it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.errors import EruError
from eru_sim.journal_file import open_journal
from eru_sim.recording import core_of
from eru_sim.simulation import Progress, progress_of_file
from scheduler.explanation import Explainer

if TYPE_CHECKING:
    from scheduler.policies import Policy


def explain(
    key: str, *, journal: str | Path, policy: str | Policy | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Return the story of a workload (or node, or operation).

    Keys: ``workload``, ``state`` (the last one, None for what is no workload), ``node`` (where it is, or None),
    ``story`` (lines), ``chapters`` (the same as data), ``refusals`` (instant and one-line diagnosis, whenever the
    reason changed), ``diagnosis`` (the last one, or None).

    The journal is run through the core again, since a diagnosis is a question to the core of that instant. `EruError`
    where nothing in the journal mentions ``key``.
    """
    header, batches, _ = open_journal(journal)
    explainer = Explainer(key, core_of(header, policy), replays=True)
    report = progress_of_file(journal, progress)
    for done, batch in enumerate(batches, start=1):
        explainer.take(batch)
        report(done, batch)
    found = explainer.tell()
    if found is None:
        raise EruError(f"explain: nothing in {journal} mentions {key!r}; check the id")
    return {
        "workload": key,
        "state": found.state or None,
        "node": found.node_id or None,
        "story": [str(chapter) for chapter in found.chapters],
        "chapters": [msgspec.to_builtins(chapter) for chapter in found.chapters],
        "refusals": [{"at_s": refusal.at_ns / 1e9, "diagnosis": refusal.diagnosis} for refusal in found.refusals],
        "diagnosis": found.diagnosis or None,
    }

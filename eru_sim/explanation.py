"""Explain a workload: its story from a recording, and why it was refused, if it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.errors import EruError
from eru_sim.journal_file import open_journal
from eru_sim.recording import core_of
from eru_sim.simulation import Progress, progress_of_file
from scheduler.lifecycle import State
from scheduler.story import Chapter, story
from scheduler.workload import Workload

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
    core = core_of(header, policy)
    report = progress_of_file(journal, progress)
    chapters: list[Chapter] = []
    refusals: list[dict[str, Any]] = []
    record: Workload | None = None
    for done, batch in enumerate(batches, start=1):
        core.step(batch.at_ns, list(batch.events))
        found = list(story([batch], key))
        chapters += found
        record = core.workloads.get(key, record)
        if found and record is not None and record.state is State.QUEUED:
            diagnosis = str(core.diagnose(key))
            refusals.append({"at_s": batch.at_ns / 1e9, "diagnosis": diagnosis})
        report(done, batch)
    if not chapters:
        raise EruError(f"explain: nothing in {journal} mentions {key!r}; check the id")
    if record is not None and record.state is State.QUEUED:
        diagnosis = str(core.diagnose(key))
        if not refusals or diagnosis != refusals[-1]["diagnosis"]:
            refusals.append({"at_s": core.at_ns / 1e9, "diagnosis": diagnosis})
    rejected = [chapter.facts["detail"] for chapter in chapters if chapter.facts.get("outcome") == "rejected"]
    refusals += [{"at_s": chapters[-1].at_ns / 1e9, "diagnosis": detail} for detail in rejected]
    state = str(record.state) if record is not None else ("rejected" if rejected else None)
    return {
        "workload": key,
        "state": state,
        "node": core.cluster.nodes[record.row].node_id if record is not None and record.row >= 0 else None,
        "story": [str(chapter) for chapter in chapters],
        "chapters": [msgspec.to_builtins(chapter) for chapter in chapters],
        "refusals": refusals,
        "diagnosis": refusals[-1]["diagnosis"] if refusals else None,
    }

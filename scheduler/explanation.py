"""Explain a workload, node or operation from a journal: its story, and why it was refused, if it was."""

from __future__ import annotations

from collections import deque

import msgspec

from scheduler.core import Core
from scheduler.journal import Batch
from scheduler.lifecycle import State
from scheduler.story import Chapter, story
from scheduler.workload import Workload


class Refusal(msgspec.Struct, frozen=True):
    """Since when there was this reason for not placing it, in one line."""

    at_ns: int
    diagnosis: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` is the last one, "" for what is no workload; ``node_id`` is where it is, "" for nowhere."""

    key: str
    state: str
    node_id: str
    chapters: list[Chapter]
    refusals: list[Refusal]

    @property
    def diagnosis(self) -> str:
        """The last reason, "" for none."""
        return self.refusals[-1].diagnosis if self.refusals else ""


class Explainer:
    """Takes the batches of a journal one by one, and tells what they say of ``key``.

    With ``replays`` the core is one as the journal's header has it, and is stepped by every batch: a diagnosis is a
    question to the core of that instant. Otherwise it is the core as it is after the last batch, and only the last
    diagnosis is known, and those of rejections. The last ``chapters_max`` chapters are kept, 0 for all.
    """

    def __init__(self, key: str, core: Core, *, replays: bool, chapters_max: int = 0) -> None:
        self.key = key
        self._core = core
        self._replays = replays
        self._chapters: deque[Chapter] = deque(maxlen=chapters_max or None)
        self._refusals: list[Refusal] = []
        self._rejections: list[Refusal] = []
        self._record: Workload | None = None
        self._last_ns = 0

    def take(self, batch: Batch) -> None:
        """The next batch."""
        if self._replays:
            self._core.step(batch.at_ns, list(batch.events))
            self._record = self._core.workloads.get(self.key, self._record)
        found = list(story([batch], self.key))
        if not found:
            return
        self._chapters += found
        self._last_ns = batch.at_ns
        self._rejections += [
            Refusal(batch.at_ns, chapter.facts["detail"])
            for chapter in found
            if chapter.facts.get("outcome") == "rejected"
        ]
        if self._replays and self._is_queued():
            self._refusals.append(Refusal(batch.at_ns, str(self._core.diagnose(self.key))))

    def tell(self) -> Explanation | None:
        """What was found; None where nothing mentions the key."""
        core = self._core
        self._record = record = core.workloads.get(self.key, self._record)
        if not self._chapters and record is None:
            return None
        refusals = list(self._refusals)
        if self._is_queued():
            diagnosis = str(core.diagnose(self.key))
            if not refusals or diagnosis != refusals[-1].diagnosis:
                refusals.append(Refusal(core.at_ns, diagnosis))
        refusals += [Refusal(self._last_ns, rejection.diagnosis) for rejection in self._rejections]
        state = str(record.state) if record is not None else ("rejected" if self._rejections else "")
        return Explanation(
            key=self.key,
            state=state,
            node_id=core.cluster.nodes[record.row].node_id if record is not None and record.row >= 0 else "",
            chapters=list(self._chapters),
            refusals=refusals,
        )

    def _is_queued(self) -> bool:
        return self._record is not None and self._record.state is State.QUEUED and self.key in self._core.workloads

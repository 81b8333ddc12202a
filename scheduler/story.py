"""The story of a workload or node: everything in a journal that mentions it, in order, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from scheduler.commands import AnyCommand
from scheduler.events import AnyEvent, DeploymentRequested, WorkloadsSubmitted
from scheduler.journal import Batch


class Chapter(msgspec.Struct, frozen=True):
    """One thing that happened: ``what`` is "event" or "command", ``facts`` its fields without the key itself."""

    seq: int
    at_ns: int
    what: str
    name: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        facts = " ".join(f"{field}={value}" for field, value in self.facts.items())
        arrow = "->" if self.what == "command" else "  "
        return f"{self.at_ns / 1e9:>14.6f} s  #{self.seq:<8} {arrow} {self.name}" + (f"  {facts}" if facts else "")


def story(batches: Iterable[Batch], key: str) -> Iterator[Chapter]:
    """Yield what concerns the workload, node or operation called ``key``. A copy ``x/3`` shares the submission of
    ``x``.
    """
    for batch in batches:
        for event in batch.events:
            if mentions(event, key):
                yield _chapter(batch, "event", event)
        for command in batch.commands:
            if mentions(command, key):
                yield _chapter(batch, "command", command)


def mentions(entry: AnyEvent | AnyCommand, key: str) -> bool:
    """Whether an event or command is about ``key``."""
    spec = getattr(entry, "spec", None)
    ids = [getattr(entry, field, None) for field in ("workload_id", "node_id", "subject", "operation_id")]
    if spec is not None:
        ids.append(spec.workload_id)
    if key in ids:
        return True
    if isinstance(entry, WorkloadsSubmitted) and entry.count > 1:
        head, _, copy = key.rpartition("/")
        return head == entry.workload_id and copy.isdigit() and int(copy) < entry.count
    if isinstance(entry, DeploymentRequested):
        head, _, copy = key.rpartition("/")
        return head == entry.spec.workload_id and copy.isdigit()
    return False


def _chapter(batch: Batch, what: str, entry: AnyEvent | AnyCommand) -> Chapter:
    facts = msgspec.to_builtins(entry)
    name = facts.pop("type")
    return Chapter(batch.seq, batch.at_ns, what, name, facts)

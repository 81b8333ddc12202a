"""Verify a recording: feed everything that went in to the core again, and compare everything that came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eru_sim.journal_file import open_journal
from eru_sim.recording import core_of
from eru_sim.simulation import Progress, progress_of_file
from scheduler.core import ContractError
from scheduler.journal import Batch, JournalError
from scheduler.ledger import OvercommitError
from scheduler.lifecycle import LifecycleError
from scheduler.plan import PolicyError

if TYPE_CHECKING:
    from scheduler.policies import Policy


def verify(path: str | Path, *, policy: str | Policy | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Return whether the core decides again exactly what the journal says.

    Keys: ``ok``, ``batches`` (verified), ``journal_digest``, ``decision_digest``, ``first_difference`` (one line, or
    None). A damaged or tampered file is a difference, not an error; a file that is no journal at all raises
    `JournalError`, and a policy that has to be named `EruError`.
    """
    header, batches, reader = open_journal(path)
    core = core_of(header, policy)
    report = progress_of_file(path, progress)
    difference = None
    verified = 0
    try:
        for batch in batches:
            commands = core.step(batch.at_ns, list(batch.events))
            if commands != batch.commands:
                difference = _first_difference(batch, commands)
                break
            verified += 1
            report(verified, batch)
    except JournalError as error:
        difference = str(error)
    except (
        ContractError,
        LifecycleError,
        OvercommitError,
        PolicyError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
    ) as error:
        difference = f"batch {verified}: the core cannot take it: {error}"
    return {
        "ok": difference is None,
        "batches": verified,
        "journal_digest": reader.journal_digest,
        "decision_digest": reader.decision_digest,
        "first_difference": difference,
    }


def _first_difference(batch: Batch, commands: list[Any]) -> str:
    where = f"batch {batch.seq} at {batch.at_ns / 1e9:.6f} s"
    for position, (said, found) in enumerate(zip(batch.commands, commands, strict=False)):
        if said != found:
            return f"{where}, command {position}: the journal says {_text(said)}, the core says {_text(found)}"
    if len(commands) > len(batch.commands):
        return f"{where}, command {len(batch.commands)}: the core also says {_text(commands[len(batch.commands)])}"
    return f"{where}, command {len(commands)}: the journal also says {_text(batch.commands[len(commands)])}"


def _text(command: Any) -> str:
    return msgspec.json.encode(command).decode()

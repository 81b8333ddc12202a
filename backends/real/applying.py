"""Events that the core answers at once."""

from __future__ import annotations

from collections.abc import Sequence

from backends.real.driver import LiveDriver
from backends.real.errors import Rejected
from backends.real.stores.base import Record
from scheduler.commands import AnyCommand, PublishResult
from scheduler.events import AnyEvent


async def apply(driver: LiveDriver, subject: str, events: Sequence[AnyEvent], records: Sequence[Record] = ()) -> None:
    """Submit events about a subject; `Rejected` says why the core refused one.

    Records are written with the events, and only where nothing is refused.
    """
    refused: list[str] = []

    def look(at_ns: int, batch: Sequence[AnyEvent], commands: Sequence[AnyCommand]) -> Sequence[Record]:
        if not any(event is events[0] for event in batch):
            return ()
        refused.extend(
            command.detail
            for command in commands
            if isinstance(command, PublishResult) and command.outcome == "refused" and command.subject == subject
        )
        return () if refused else records

    driver.observers.append(look)
    try:
        await driver.submit(*events)
    finally:
        driver.observers.remove(look)
    if refused:
        raise Rejected(refused[0])

"""How a live core begins, and how it comes back: snapshot, then journal, then a look at the engines.

Theory of operation. The journal's batches since the snapshot are applied again with the commands suppressed. Each must
have the hash that is stored with it, and give the very commands again: so a core that comes back is the one that went
down, or recovery says where it is not. Then `backends.real.reconciliation` compares it with what engines have.

A release that decides otherwise than the one before cannot go on from a journal tail; a stop saves a snapshot, so a
service that was stopped before the upgrade has no tail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from backends.real.gateway import Gateway, Report
from backends.real.reconciliation import Differences, compare, standing
from backends.real.stores.base import Store
from scheduler.commands import AnyCommand, PublishResult
from scheduler.core import Core
from scheduler.journal import Header, JournalError, JournalReader, JournalWriter, WriterState

MakeCore = Callable[[Header, bytes | None], Core]
"""A core as the header says; with data, the one that `scheduler.snapshot.dump` gave. ValueError where it cannot be."""


CommandKey = tuple[str, str, int]
"""Kind of command, workload and generation."""


class RecoveryError(Exception):
    """The journal does not lead to a core. The message is one line that names batch, field and remedy."""


class Recovered(NamedTuple):
    """A core as it was when its last batch became durable; ``replayed`` batches were applied to the snapshot.

    ``order`` has the place of every command in these batches.
    """

    core: Core
    header: Header
    writer: WriterState
    replayed: int
    order: Mapping[CommandKey, int]


async def recover(store: Store, header: Header, make_core: MakeCore) -> Recovered:
    """Bring back the core of an open store; in a new store, begin its journal with ``header``.

    `RecoveryError` where the store's journal is of another configuration than ``header`` says, or its batches do not
    give what is stored. Notes of the header do not matter.
    """
    stored = await store.header()
    lines: list[bytes] = []
    if stored is None:
        writer = JournalWriter(header, lines.append)
        await store.begin(lines[0].removesuffix(b"\n"))
        return Recovered(_make(make_core, header, None), header, writer.dump(), 0, {})
    try:
        return await _read(store, stored, header, make_core)
    except JournalError as error:
        raise RecoveryError(f"journal: {error}; restore a backup") from None


async def _read(store: Store, stored: bytes, header: Header, make_core: MakeCore) -> Recovered:
    reader = JournalReader()
    known = reader.read_header(stored)
    _check_config(known, header)
    saved = await store.snapshot()
    core = _make(make_core, known, None if saved is None else saved.core)
    if saved is not None:
        reader.resume(saved.writer)
    first = reader.dump().batches
    order: dict[CommandKey, int] = {}
    async for line in store.lines(first):
        batch = reader.read(line + b"\n")
        assert batch is not None, "a store has no footer"
        commands = core.step(batch.at_ns, list(batch.events))
        if commands != batch.commands:
            raise RecoveryError(
                f"journal: batch {batch.seq} at {batch.at_ns} ns cannot be applied again: this build decides otherwise;"
                " use the release that wrote it, or restore a backup"
            )
        for command in commands:
            order[_key(command)] = len(order)
    writer = reader.dump()
    return Recovered(core, known, writer, writer.batches - first, order)


async def reconcile(
    recovered: Recovered, gateway: Gateway, report: Report, tombstones: Mapping[str, int]
) -> Differences:
    """After a crash: ask the engines what they have, tell the core what it missed, and command again what is open.

    Before the driver runs: what is reported makes its first batch. Commands go out in the order in which they did
    first.
    """
    core = recovered.core
    differences = compare(core, await gateway.survey(), standing(core), tombstones, after_crash=True)
    differences.commands.sort(key=lambda command: recovered.order.get(_key(command), -1))
    for event in differences.events:
        report(event)
    gateway.execute(differences.commands)
    return differences


def _key(command: AnyCommand) -> CommandKey:
    if isinstance(command, PublishResult):
        return type(command).__name__, command.subject, 0
    return type(command).__name__, command.workload_id, command.generation


def _make(make_core: MakeCore, header: Header, data: bytes | None) -> Core:
    try:
        return make_core(header, data)
    except ValueError as error:
        raise RecoveryError(str(error)) from None


def _check_config(stored: Header, given: Header) -> None:
    old, new = msgspec.to_builtins(stored.config), msgspec.to_builtins(given.config)
    for field, value in new.items():
        if field != "policy" and old[field] != value:
            raise RecoveryError(
                f"config.{field}: {value!r}, but the journal was begun with {old[field]!r};"
                " use that, or begin anew in another data directory"
            )

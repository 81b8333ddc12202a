"""What can be done with a store besides serving: back it up, restore it, check it, export its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backends.real.recovery import RecoveryError, recover
from backends.real.stores.base import StoreError
from backends.real.stores.sqlite import FILE_NAME, SqliteStore
from eru_sim.errors import EruError
from eru_sim.live import recording
from eru_sim.live.composition import core_maker
from eru_sim.options import PolicyChoice
from scheduler.journal import JournalError, read_header


async def backup(directory: str | Path, path: str | Path) -> dict[str, Any]:
    """Write a consistent copy of a store to a new file; it may be in use."""
    store = SqliteStore(directory, read_only=True)
    try:
        await store.open()
        await store.backup(str(path))
    except StoreError as error:
        raise EruError(str(error)) from None
    finally:
        await store.close()
    return {"file": str(path), "bytes": Path(path).stat().st_size}


async def restore(path: str | Path, directory: str | Path) -> dict[str, Any]:
    """Make a new store of a backup; `EruError` where there is a store already."""
    source, target = Path(path), Path(directory)
    if not source.is_file():
        raise EruError(f"{source}: there is no such file; check the path")
    if (target / FILE_NAME).exists():
        raise EruError(f"{target}: there is a store already; name another directory")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target / f"{FILE_NAME}.restored"
    part.write_bytes(source.read_bytes())
    part.chmod(0o600)
    part.rename(target / FILE_NAME)
    try:
        return await check(target)
    except EruError:
        (target / FILE_NAME).unlink()
        raise


async def check(directory: str | Path, choice: PolicyChoice | None = None) -> dict[str, Any]:
    """Whether a store can be served: the file is sound, and its journal leads to a core. It may be in use.

    Keys: ``ok``, ``problems``, ``batches``, ``first``, ``journal_digest``, ``replayed``, ``workloads``, ``nodes``.
    """
    store = SqliteStore(directory, read_only=True)
    try:
        await store.open()
        header = await store.header()
        if header is None:
            raise EruError(f"{directory}: the store is new, and has no journal yet")
        problems = await store.problems()
        first = await store.first()
        try:
            found = await recover(store, read_header(header), core_maker(choice))
        except (RecoveryError, JournalError) as error:
            problems.append(str(error))
            return {"ok": False, "problems": problems, "first": first}
        return {
            "ok": not problems,
            "problems": problems,
            "batches": found.writer.batches,
            "first": first,
            "journal_digest": found.writer.chain.hex(),
            "replayed": found.replayed,
            "workloads": len(found.core.workloads),
            "nodes": len(found.core.cluster.by_id),
        }
    except StoreError as error:
        raise EruError(str(error)) from None
    finally:
        await store.close()


async def export(directory: str | Path, path: str | Path) -> dict[str, Any]:
    """Write the journal of a store to a new file, as `eru sim verify` reads it. The store may be in use."""
    store = SqliteStore(directory, read_only=True)
    try:
        await store.open()
        batches = await recording.export(store, path)
    except StoreError as error:
        raise EruError(str(error)) from None
    finally:
        await store.close()
    return {"file": str(path), "batches": batches}

"""``eru journal``."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import msgspec
import typer

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.answer import Answer
from eru_sim.cli.live.command import command, group
from eru_sim.cli.live.listing import Column, Record, Rows, said, when
from eru_sim.cli.options import Output
from eru_sim.errors import EruError
from eru_sim.output import check_file

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

app = group("The journal: every event and command of the service.")


def _kinds(field: str) -> Any:
    def cell(record: Record) -> str:
        items = (record.get("batch") or {}).get(field) or ()
        counts = Counter(str(item.get("type", "?")) for item in items if isinstance(item, dict))
        return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts.items())

    return cell


_COLUMNS = (
    Column("seq", "seq", width=8),
    Column("at", lambda record: when(record["at_ns"]), width=19),
    Column("events", _kinds("events"), width=32),
    Column("commands", _kinds("commands")),
)


@command(app, "tail", example="eru journal tail -n 20 --follow -o jsonl")
async def tail(
    service: Service,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="The last batches.")] = 10,
    first: Annotated[
        int | None, typer.Option("--first", metavar="SEQ", min=0, show_default=False, help="From this batch on.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many; 0 for all.")] = 0,
    output: Output = "table",
) -> int:
    """Show batches of the journal."""
    request = pb.TailJournalRequest(first_seq=first if first is not None else -lines, follow=follow, limit=limit)
    rows = Rows(output, _COLUMNS, name=lambda record: str(record["seq"]))
    async for line in service.stream("TailJournal", request):
        rows.show({"seq": line.seq, "at_ns": line.at_ns, **_read(line.line)})
    return 0


def _read(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"line": line.decode(errors="replace")}


@command(app, "export", example="eru journal export run.jsonl && eru sim verify run.jsonl")
async def export(
    service: Service,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", show_default=False, help="Where to; .gz compresses. Only its owner may read it."
        ),
    ],
    output: Output = "table",
) -> Answer:
    """Save the journal as a file that `eru explain --journal` and `eru sim verify` read."""
    from scheduler.journal import Footer, JournalReader

    check_file(file, "FILE")
    target = Path(file)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    reader, is_empty = JournalReader(), True
    request = pb.TailJournalRequest(first_seq=0, with_header=True)
    try:
        with _opened(part, is_compressed=target.suffix == ".gz") as stream:
            async for message in service.stream("TailJournal", request):
                line = message.line + b"\n"
                if is_empty:
                    reader.read_header(line)
                else:
                    reader.read(line)
                stream.write(line)
                is_empty = False
            if is_empty:
                raise EruError(f"{file}: the service sent nothing")
            batches = reader.dump().batches
            footer = Footer(batches, reader.journal_digest, reader.decision_digest)
            stream.write(msgspec.json.encode(footer) + b"\n")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    record = {"file": file, "batches": batches, "journal_digest": reader.journal_digest}
    return said(output, record, name=file, line=f"{file}: {batches:,} batches")


@contextmanager
def _opened(part: Path, *, is_compressed: bool) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as plain:
        if is_compressed:
            with gzip.GzipFile(fileobj=plain, mode="wb", filename="", mtime=0) as compressed:
                yield cast(IO[bytes], compressed)
        else:
            yield plain

"""The journal: round trip, and every way in which a changed file shows."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from core_kit import PLUGIN_CONFIGS, harness, node

from eru_sim.journal_file import JournalFile, open_journal
from eru_sim.verification import verify
from scheduler import journal
from scheduler.commands import StartWorkload
from scheduler.config import CoreConfig, PolicyConfig
from scheduler.events import NodeLost, StopRequested
from scheduler.journal import Batch, Header, JournalError, JournalReader, JournalWriter
from scheduler.story import story


def recorded() -> list[bytes]:
    """The lines of a small journal with commands of every kind."""
    h = harness()
    h.step(node("n0"), node("n1"))
    for number in range(12):
        h.submit(f"w{number}", 2, 2, operation_id=f"op{number}", at_ns=number * 10)
    h.started("w0")
    h.step(StopRequested(workload_id="w0"))
    h.step(NodeLost(node_id="n0"), at_ns=500)
    h.journal.close()
    return h.lines


def read(lines: list[bytes]) -> tuple[Header, list[Batch], JournalReader]:
    reader = JournalReader()
    header = reader.read_header(lines[0])
    batches = [batch for line in lines[1:] if (batch := reader.read(line)) is not None]
    return header, batches, reader


def test_what_was_written_is_read() -> None:
    h = harness("random", params={"seed": 4}, overcommit={"cpu": 1.25})
    h.step(node("n0", labels={"a": "b"}, topology={"zone": "z"}))
    h.submit("w", 1, 1, payloads={"labels": {"a": ["b"]}}, estimate_ns=5, at_ns=3)
    h.submit("x", 99, 1, on_unschedulable="fail", at_ns=9)
    h.journal.close()
    header, batches, reader = read(h.lines)
    assert header == Header(config=h.core.config)
    assert header.config.plugins == PLUGIN_CONFIGS
    assert header.config.policy == PolicyConfig("random", {"seed": 4})
    assert batches == h.batches
    assert [(batch.seq, batch.at_ns) for batch in batches] == [(0, 0), (1, 3), (2, 9)]
    assert reader.closed
    assert (reader.journal_digest, reader.decision_digest) == (h.journal.journal_digest, h.journal.decision_digest)


def test_the_chain_is_what_the_module_says() -> None:
    lines = recorded()
    state = hashlib.blake2b(lines[0].rstrip(b"\n"), digest_size=16).digest()
    for line in lines[1:-1]:
        assert line.startswith(b'{"batch":')
        batch = line[len(b'{"batch":') : line.rindex(b',"hash":')]
        state = hashlib.blake2b(state + batch, digest_size=16).digest()
        assert msgspec.json.decode(line)["hash"] == state.hex()
    assert msgspec.json.decode(lines[-1])["journal_digest"] == state.hex()


def test_the_decision_digest_is_about_placements_alone() -> None:
    writers = [JournalWriter(Header(config=CoreConfig(), notes={"run": run})) for run in (1, 2)]
    start = StartWorkload(workload_id="w", generation=1, node_id="n")
    writers[0].append(5, [], [start])
    writers[1].append(1, [], [])
    writers[1].append(5, [NodeLost(node_id="x")], [start])
    assert writers[0].decision_digest == writers[1].decision_digest != ""
    assert writers[0].journal_digest != writers[1].journal_digest
    writers[0].append(6, [], [start])
    assert writers[0].decision_digest != writers[1].decision_digest


Lines = list[bytes]


def changed_byte(lines: Lines) -> Lines:
    return [*lines[:6], lines[6].replace(b'"workload_id":"w4"', b'"workload_id":"w5"', 1), *lines[7:]]


def changed_header(lines: Lines) -> Lines:
    return [lines[0].replace(b"first-fit", b"worst-fit"), *lines[1:]]


def changed_hash(lines: Lines) -> Lines:
    at = lines[4].rindex(b'"hash":"') + len(b'"hash":"')
    digit = b"0" if lines[4][at : at + 1] != b"0" else b"1"
    return [*lines[:4], lines[4][:at] + digit + lines[4][at + 1 :], *lines[5:]]


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "a changed byte": (changed_byte, "line 7: hash: batch 5 at 40 ns has been changed after it was written"),
    "a changed header": (changed_header, "line 2: hash: batch 0 at 0 ns has been changed"),
    "a changed hash": (changed_hash, "line 5: hash: batch 3"),
    "a removed line": (lambda lines: lines[:4] + lines[5:], "line 5: batch: 4 comes where 3 is due"),
    "swapped lines": (
        lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
        "line 5: batch: 4 comes where 3 is due",
    ),
    "a repeated line": (lambda lines: lines[:5] + lines[4:], "line 6: batch: 3 comes where 4 is due"),
    "a removed last batch": (
        lambda lines: [*lines[:-2], lines[-1]],
        "batches: the footer says 16, the batches give 15",
    ),
    "no footer": (lambda lines: lines[:-1], "ends without its footer"),
    "an extra line": (lambda lines: [*lines, lines[-2]], "line 19: there is something after the end of the journal"),
    "two footers": (lambda lines: [*lines, lines[-1]], "line 19: there is something after the end of the journal"),
    "a line cut in two": (lambda lines: [*lines[:6], lines[6][:50]], "line 7: the journal is cut off in the middle"),
    "a blank line": (lambda lines: [*lines[:6], b"\n", *lines[6:]], "line 7: not a batch"),
    "no text": (lambda lines: [*lines[:6], b"\xff\xfe\n", *lines[6:]], "line 7: not a batch"),
}


@pytest.mark.parametrize("name", list(TAMPERED))
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_every_kind_of_damage_shows_with_its_line(tmp_path: Path, name: str, suffix: str) -> None:
    tamper, message = TAMPERED[name]
    lines = recorded()
    path = write(tmp_path / f"j.{suffix}", tamper(lines))
    assert tamper(lines) != lines
    _, batches, _ = open_journal(path)
    with pytest.raises(JournalError) as caught:
        list(batches)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text
    found = verify(path)
    assert (found["ok"], found["first_difference"]) == (False, text)


def write(path: Path, lines: Lines) -> Path:
    data = b"".join(lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "first", [b"", b"\n", b"{}\n", b'{"journal":"eru"}\n', b"\xff\n", b"[1]\n", b'{"journal":"end"}\n']
)
def test_what_is_no_journal_is_an_error_of_line_one(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(first)
    with pytest.raises(JournalError, match="line 1: not the header of an eru journal"):
        open_journal(path)
    with pytest.raises(JournalError, match="is a directory; name a journal file"):
        open_journal(tmp_path)


def test_a_later_version_says_so(tmp_path: Path) -> None:
    lines = recorded()
    path = write(tmp_path / "j", [lines[0].replace(b'"version":1', b'"version":2', 1)])
    if b'"version":2' not in path.read_bytes():
        path.write_bytes(msgspec.json.encode(Header(version=2, config=CoreConfig())) + b"\n")
    with pytest.raises(JournalError, match="line 1: version: 2; this build reads version 1"):
        open_journal(path)


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_a_damaged_gz_is_a_journal_error(tmp_path: Path, where: float, damage: str) -> None:
    path = write(tmp_path / "j.gz", recorded())
    data = bytearray(path.read_bytes())
    at = int(len(data) * where)
    if damage == "truncated":
        del data[at:]
    else:
        data[at : at + 20] = bytes(value ^ 0x5A for value in data[at : at + 20])
    path.write_bytes(data)
    with pytest.raises(JournalError) as caught:
        list(open_journal(path)[1])
    assert str(caught.value).startswith(f"{path}: ")


# -- tampering with recomputed hashes ----------------------------------------------------------------------------------


def rehashed(lines: Lines, change: Callable[[int, bytes], bytes]) -> Lines:
    """The journal with changed batches and all hashes and digests made consistent again."""
    written: Lines = []
    writer = JournalWriter(read(lines)[0], written.append)
    for line in lines[1:-1]:
        raw = bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])["batch"])
        batch = msgspec.json.decode(change(writer.batches, raw), type=Batch)
        writer.append(batch.at_ns, batch.events, batch.commands, batch.term)
    writer.close()
    return written


def test_rehashing_an_unchanged_journal_gives_the_same_bytes() -> None:
    lines = recorded()
    assert rehashed(lines, lambda seq, raw: raw) == lines


def at_batch(number: int, old: bytes, new: bytes) -> Callable[[int, bytes], bytes]:
    """Replace in one batch."""
    return lambda seq, raw: raw.replace(old, new, 1) if seq == number else raw


def without_commands(seq: int, raw: bytes) -> bytes:
    batch = msgspec.json.decode(raw, type=Batch)
    return msgspec.json.encode(msgspec.structs.replace(batch, commands=[])) if seq == 3 else raw


def with_another_command(seq: int, raw: bytes) -> bytes:
    batch = msgspec.json.decode(raw, type=Batch)
    extra = StartWorkload(workload_id="ghost", generation=1, node_id="n0")
    return msgspec.json.encode(msgspec.structs.replace(batch, commands=[*batch.commands, extra])) if seq == 0 else raw


START = b'{"type":"start_workload","workload_id":"w0","generation":1,"node_id":"%b"}'
CONSISTENT: dict[str, tuple[Callable[[int, bytes], bytes], str]] = {
    "another node": (
        at_batch(1, START % b"n0", START % b"n1"),
        "batch 1 at 0.000000 s, command 0: "
        f"the journal says {(START % b'n1').decode()}, the core says {(START % b'n0').decode()}",
    ),
    "another outcome": (at_batch(13, b'"done"', b'"killed"'), "batch 13 at 0.000000 s, command 1: the journal says {"),
    "a command less": (without_commands, "batch 3 at 0.000000 s, command 0: the core also says {"),
    "a command more": (with_another_command, "batch 0 at 0.000000 s, command 0: the journal also says {"),
    "another request": (at_batch(2, b'"request":[2,2]', b'"request":[99,9]'), "batch 2 at 0.000000 s, command 0: the"),
    "time that goes back": (at_batch(5, b'"at_ns":40', b'"at_ns":3'), "batch 5"),
}


@pytest.mark.parametrize("name", list(CONSISTENT))
def test_consistent_tampering_is_named_by_verify(tmp_path: Path, name: str) -> None:
    change, message = CONSISTENT[name]
    lines = recorded()
    tampered = rehashed(lines, change)
    assert tampered != lines
    list(open_journal(write(tmp_path / "j", tampered))[1])  # the chain itself is whole
    found = verify(tmp_path / "j")
    assert not found["ok"]
    assert found["first_difference"].startswith(message)
    assert "\n" not in found["first_difference"]


def test_verify_accepts_what_was_written(tmp_path: Path) -> None:
    lines = recorded()
    found = verify(write(tmp_path / "j", lines))
    footer = msgspec.json.decode(lines[-1])
    assert found == {
        "ok": True,
        "batches": footer["batches"],
        "journal_digest": footer["journal_digest"],
        "decision_digest": footer["decision_digest"],
        "first_difference": None,
    }


def broken_off(path: Path) -> None:
    with JournalFile(path) as file:
        file.write(b"x\n")
        raise ZeroDivisionError


def test_a_journal_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    for name in ("j", "j.gz"):
        path = tmp_path / name
        with pytest.raises(ZeroDivisionError):
            broken_off(path)
        assert list(tmp_path.iterdir()) == []
    for name in ("j", "j.gz"):
        with JournalFile(tmp_path / name) as file:
            file.write(b"x\n")
            assert not (tmp_path / name).exists()
    assert (tmp_path / "j").read_bytes() == b"x\n"
    assert gzip.decompress((tmp_path / "j.gz").read_bytes()) == b"x\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_story_of_a_workload_a_node_and_an_operation() -> None:
    _, batches, _ = read(recorded())
    names = [chapter.name for chapter in story(batches, "w0")]
    assert names[:4] == ["workloads_submitted", "start_workload", "workload_started", "publish_result"]
    assert [chapter.name for chapter in story(batches, "op0")][:1] == ["workloads_submitted"]
    assert {chapter.name for chapter in story(batches, "n1")} == {"node_joined", "start_workload"}
    assert journal.SCHEMA_VERSION == 1
    assert list(story(batches, "nobody")) == []

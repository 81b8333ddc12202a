"""Lines on their way: made of chunks, kept in order, sent to sinks that come and go."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent_kit import ScriptedEngine
from hypothesis import given
from hypothesis import strategies as st
from virtual_time_kit import begin, let_pass, settle, virtually

from backends.real.agent.identity import Identity
from backends.real.agent.logs.forwarder import Forwarder
from backends.real.agent.logs.hub import Cursors, LogHub
from backends.real.agent.logs.lines import LONGEST_LINE_BYTES, LineMaker, LogLine, decode, encode, fnv32a
from backends.real.agent.logs.sinks import SinkBroken, journal_entry, make_sink
from backends.real.agent.logs.spool import DiskSpool, MemorySpool
from backends.real.agent.telemetry import Telemetry
from backends.real.clock import Clock, MonotonicClock
from backends.real.engines.base import Chunk, EngineError, Instance
from backends.real.virtual_clock import VirtualClock

WEB = Identity("web", "http", "abc")
INSTANCE = Instance(workload_id="w", generation=1, state="running", engine_id="0123456789", name="web_http_abc.g1")
T0 = 1_700_000_000 * 10**9


def line_of(data: str, **changes: Any) -> LogLine:
    fields = {"id": "i", "name": "web", "type": "stdout", "entrypoint": "http", "ident": "abc"}
    return LogLine(**{**fields, "data": data, "datetime": "2024-01-01 00:00:00.000000", **changes})


def record(data: str) -> bytes:
    return encode(line_of(data))


def data_of(records: list[bytes]) -> list[str]:
    return [decode(found).data for found in records]


# -- lines -------------------------------------------------------------------------------------------------------------


def test_a_line_has_eru_s_fields() -> None:
    maker = LineMaker(INSTANCE, WEB, {"nodename": "n1"})
    (line,) = maker.lines(Chunk("stderr", b"hello\r\n", T0 + 123_456_789), 0)
    assert json.loads(encode(line)) == {
        "id": "0123456789", "name": "web", "type": "stderr", "entrypoint": "http", "ident": "abc", "data": "hello",
        "datetime": "2023-11-14 22:13:20.123456", "extra": {"nodename": "n1"},
    }  # fmt: skip


def test_a_chunk_without_a_time_has_the_present() -> None:
    (line,) = LineMaker(INSTANCE, WEB, {}).lines(Chunk("stdout", b"x\n"), T0)
    assert line.datetime == "2023-11-14 22:13:20.000000"


def test_what_is_no_utf_8_is_escaped() -> None:
    (line,) = LineMaker(INSTANCE, WEB, {}).lines(Chunk("stdout", b"caf\xe9 \xc3\xa9\n"), T0)
    assert line.data == "caf\\xe9 é"


def test_a_line_too_long_is_cut() -> None:
    maker = LineMaker(INSTANCE, WEB, {})
    text = b"x" * (2 * LONGEST_LINE_BYTES + 5) + b"\n" + b"y" * (LONGEST_LINE_BYTES + 1)
    lines = [*maker.lines(Chunk("stdout", text), T0), *maker.end()]
    assert [len(line.data) for line in lines] == [LONGEST_LINE_BYTES, LONGEST_LINE_BYTES, 5, LONGEST_LINE_BYTES, 1]


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(1, 30), max_size=20))
def test_lines_do_not_depend_on_how_they_were_cut_into_chunks(texts: list[bytes], cuts: list[int]) -> None:
    clean = [text.replace(b"\n", b" ").replace(b"\r", b" ") for text in texts]
    stream = b"".join(text + b"\n" for text in clean)
    maker = LineMaker(INSTANCE, WEB, {})
    found = []
    for size in [*cuts, len(stream)]:
        found += [line.data for line in maker.lines(Chunk("stdout", stream[:size]), T0)]
        stream = stream[size:]
    found += [line.data for line in maker.end()]
    assert found == [text.decode(errors="backslashreplace") for text in clean]


def test_the_two_streams_do_not_mix() -> None:
    maker = LineMaker(INSTANCE, WEB, {})
    chunks = [Chunk("stdout", b"a"), Chunk("stderr", b"x\ny"), Chunk("stdout", b"b\n")]
    lines = [line for chunk in chunks for line in maker.lines(chunk, T0)] + list(maker.end())
    assert [(line.type, line.data) for line in lines] == [("stderr", "x"), ("stdout", "ab"), ("stderr", "y")]


@pytest.mark.parametrize(("text", "number"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_fnv_is_that_of_the_published_vectors(text: str, number: int) -> None:
    assert fnv32a(text) == number


# -- sinks -------------------------------------------------------------------------------------------------------------


class TcpReader:
    """A program that takes lines, as long as it is there."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.port = 0
        self.is_frozen = False
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._read, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError):
            while True:
                while self.is_frozen:
                    await asyncio.sleep(0.01)
                line = await reader.readline()
                if not line:
                    break
                self.lines.append(json.loads(line)["data"])
        writer.close()


@asynccontextmanager
async def reading_tcp() -> AsyncIterator[TcpReader]:
    reader = TcpReader()
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def forwarder_to(
    url: str, telemetry: Telemetry, *, limit: int = 1 << 20, reconnect_ms: int = 50, clock: Clock | None = None
) -> Forwarder:
    return Forwarder(
        url, make_sink(url), MemorySpool(limit), clock or MonotonicClock(),
        reconnect_ns=reconnect_ms * 1_000_000, telemetry=telemetry,
    )  # fmt: skip


def count(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(name, labels) or 0.0


def test_tcp_takes_lines_in_order() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        async with reading_tcp() as reader:
            forwarder = forwarder_to(f"tcp://127.0.0.1:{reader.port}", telemetry)
            sending = asyncio.create_task(forwarder.run())
            for number in range(2_000):
                forwarder.put(record(str(number)))
                if number % 500 == 0:
                    await asyncio.sleep(0.01)
            await until(lambda: len(reader.lines) == 2_000)
            assert reader.lines == [str(number) for number in range(2_000)]
            await until(lambda: count(telemetry, "eru_agent_log_sent_total", sink=forwarder.name) == 2_000)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_a_tcp_sink_that_goes_and_returns_gets_the_rest() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        async with reading_tcp() as reader:
            forwarder = forwarder_to(f"tcp://127.0.0.1:{reader.port}", telemetry)
            sending = asyncio.create_task(forwarder.run())
            for number in range(100):
                forwarder.put(record(str(number)))
            await until(lambda: len(reader.lines) == 100)
            await reader.stop()
            for number in range(100, 300):
                forwarder.put(record(str(number)))
                await asyncio.sleep(0.0005)
            await reader.start()
            await until(lambda: reader.lines[-1] == "299")
            seen = list(dict.fromkeys(reader.lines))
            assert seen == [str(number) for number in range(300)]
            assert count(telemetry, "eru_agent_log_breaks_total", sink=forwarder.name) >= 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_check_7_a_dead_sink_blocks_nobody_and_what_is_lost_is_counted() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        async with reading_tcp() as reader:
            forwarder = forwarder_to(f"tcp://127.0.0.1:{reader.port}", telemetry, limit=20_000)
            sending = asyncio.create_task(forwarder.run())
            forwarder.put(record("0"))
            await until(lambda: len(reader.lines) == 1)
            await reader.stop()
            await asyncio.sleep(0.02)
            began = asyncio.get_running_loop().time()
            for number in range(1, 5_000):
                forwarder.put(record(str(number)))
            assert asyncio.get_running_loop().time() - began < 2
            await asyncio.sleep(0.1)
            await reader.start()
            await until(lambda: reader.lines[-1] == "4999")
            lost = count(telemetry, "eru_agent_log_dropped_total", sink=forwarder.name, reason="full")
            assert lost > 0
            assert len(set(reader.lines)) + lost == 5_000
            assert [int(data) for data in reader.lines] == sorted(int(data) for data in reader.lines)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_a_frozen_sink_blocks_nobody_and_gets_everything_later() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        async with reading_tcp() as reader:
            reader.is_frozen = True
            forwarder = forwarder_to(f"tcp://127.0.0.1:{reader.port}", telemetry, limit=64 << 20)
            sending = asyncio.create_task(forwarder.run())
            for number in range(2_000):
                forwarder.put(record(f"{number} " + "x" * 5_000))
            await asyncio.sleep(0.3)
            assert count(telemetry, "eru_agent_log_sent_total", sink=forwarder.name) < 2_000
            reader.is_frozen = False
            await until(lambda: len(reader.lines) == 2_000)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_udp_sends_a_datagram_a_line_and_leaves_out_what_is_too_long() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
            forwarder = forwarder_to(f"udp://127.0.0.1:{receiver.getsockname()[1]}", telemetry)
            sending = asyncio.create_task(forwarder.run())
            for data in ("first", "x" * 70_000, "last"):
                forwarder.put(record(data))
            loop = asyncio.get_running_loop()
            found = [json.loads(await loop.sock_recv(receiver, 65_536))["data"] for _ in range(2)]
            assert found == ["first", "last"]
            assert count(telemetry, "eru_agent_log_dropped_total", sink=forwarder.name, reason="sink") == 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_a_refused_datagram_is_noticed_and_tried_again() -> None:
    async def main() -> None:
        telemetry = Telemetry()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            address = receiver.getsockname()
        forwarder = forwarder_to(f"udp://127.0.0.1:{address[1]}", telemetry)
        sending = asyncio.create_task(forwarder.run())
        for number in range(3):
            forwarder.put(record(str(number)))
            await asyncio.sleep(0.02)
        await until(lambda: count(telemetry, "eru_agent_log_breaks_total", sink=forwarder.name) >= 1)
        assert count(telemetry, "eru_agent_log_dropped_total", sink=forwarder.name, reason="sink") >= 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(address)
            receiver.setblocking(False)
            await asyncio.sleep(0.1)
            forwarder.put(record("at last"))
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(5):
                while json.loads(await loop.sock_recv(receiver, 65_536))["data"] != "at last":
                    pass
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    run(main())


def parse_entry(entry: bytes) -> dict[str, str]:
    """The journal's native form, as its documentation has it."""
    fields = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_a_journal_entry_has_eru_s_fields() -> None:
    line = line_of("two\nlines", extra={"podname": "p"})
    assert parse_entry(journal_entry(encode(line))) == {
        "PRIORITY": "6", "SYSLOG_IDENTIFIER": "web", "MESSAGE": "two\nlines", "ID": "i", "TYPE": "stdout",
        "ENTRY_POINT": "http", "IDENT": "abc", "DATE_TIME": "2024-01-01 00:00:00.000000",
        "EXTRA": '{"podname":"p"}',
    }  # fmt: skip


def test_the_journal_gets_short_entries_as_datagrams_and_long_ones_as_files(tmp_path: Path) -> None:
    async def main() -> None:
        telemetry = Telemetry()
        path = tmp_path / "journal"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(str(path))
            journal.settimeout(5)
            forwarder = forwarder_to(f"journal://{path}", telemetry)
            sending = asyncio.create_task(forwarder.run())
            forwarder.put(record("short"))
            forwarder.put(record("x" * 1_000_000))
            data, files, _, _ = await asyncio.to_thread(socket.recv_fds, journal, 1 << 20, 1)
            assert (parse_entry(data)["MESSAGE"], files) == ("short", [])
            data, files, _, _ = await asyncio.to_thread(socket.recv_fds, journal, 1 << 20, 1)
            assert data == b""
            with os.fdopen(files[0], "rb") as file:
                file.seek(0)
                assert parse_entry(file.read())["MESSAGE"] == "x" * 1_000_000
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


def test_a_journal_that_is_not_there_breaks() -> None:
    async def main() -> None:
        with pytest.raises(SinkBroken, match="No such file"):
            await make_sink("journal:///nowhere/at/all").open()

    run(main())


def test_a_file_is_appended_to_and_found_again_after_it_was_moved(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "out.log"
        path.write_text("before\n")
        sink = make_sink(f"file://{path}")
        await sink.open()
        await sink.send([record("1"), record("2")])
        path.rename(tmp_path / "out.log.1")
        await sink.send([record("3")])
        sink.close()
        old = (tmp_path / "out.log.1").read_bytes().splitlines()
        assert old[0] == b"before"
        assert data_of(old[1:]) == ["1", "2"]
        assert data_of(path.read_bytes().splitlines()) == ["3"]

    run(main())


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was() -> None:
    async def main() -> None:
        sink = make_sink("file:///dev/full")
        await sink.open()
        with pytest.raises(SinkBroken, match="No space"):
            await sink.send([record("1")])
        sink.close()

    run(main())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://x:1", "is no sink; write tcp://HOST:PORT"),
        ("nonsense", "is no sink"),
        ("tcp://x", "is not an address; write e.g. tcp://127.0.0.1:5144"),
        ("udp://:514", "is not an address"),
        ("tcp://x:99999", "is not an address"),
        ("tcp://x:1/path", "is not an address"),
        ("file://relative/x", "does not name an absolute path"),
        ("file://", "does not name an absolute path"),
    ],
)
def test_a_sink_that_cannot_be_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_sink(url)


def test_discarding_takes_everything() -> None:
    async def main() -> None:
        for url in ("discard://", "__discard__"):
            sink = make_sink(url)
            await sink.open()
            assert await sink.send([b"x"]) == 0

    run(main())


# -- the hub -----------------------------------------------------------------------------------------------------------


class Sinks:
    """A hub over an engine in memory, with sinks that are lists."""

    def __init__(self, clock: Clock, *, sinks: int = 1, cursors: Cursors | None = None, echo: bool = False) -> None:
        self.engine = ScriptedEngine()
        self.got: list[list[bytes]] = [[] for _ in range(sinks)]
        self.echoed: list[bytes] = []
        self.cursors = cursors or Cursors()
        self.hub = LogHub(
            self.engine,  # type: ignore[arg-type]
            [_List(records) for records in self.got],  # type: ignore[misc]
            clock,
            echo=_List(self.echoed) if echo else None,  # type: ignore[arg-type]
            node="n1",
            pool="p",
            cursors=self.cursors,
            wall_ns=lambda: T0 + clock.now_ns(),
            retry_ns=1_000_000_000,
            save_ns=1_000_000_000,
            telemetry=Telemetry(),
        )

    def data(self, sink: int = 0) -> list[str]:
        return data_of(self.got[sink])

    def attach(self, workload_id: str, identity: Identity = WEB, *, is_new: bool = True) -> None:
        self.hub.attach(self.engine.table[workload_id], identity, is_new=is_new)


class _List:
    def __init__(self, records: list[bytes]) -> None:
        self.put = records.append


def out(text: str, at_s: float, stream: Any = "stdout") -> Chunk:
    return Chunk(stream, text.encode(), T0 + round(at_s * 10**9))


def test_a_workload_s_lines_go_to_one_sink_by_the_hash_of_its_instance() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock, sinks=3)
        for number in range(20):
            instance = sinks.engine.start(f"w{number}", tells=False)
            sinks.engine.write(f"w{number}", *(out(f"{number}:{line}\n", line) for line in range(5)))
            sinks.attach(f"w{number}")
            assert f"w{number}" in instance.engine_id
        await settle()
        for number in range(20):
            mine = [data for data in sinks.data(fnv32a(f"id-of-w{number}-1") % 3) if data.startswith(f"{number}:")]
            assert mine == [f"{number}:{line}" for line in range(5)]
        assert sum(map(len, sinks.got)) == 100

    virtually(scenario)


def test_lines_tell_node_pool_core_and_networks() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock, echo=True)
        sinks.engine.start("w", tells=False, labels={"eru.coreid": "c"}, networks={"net": "10.0.0.7"})
        sinks.attach("w")
        sinks.engine.write("w", out("x\n", 1))
        await settle()
        assert decode(sinks.got[0][0]).extra == {
            "podname": "p", "nodename": "n1", "coreid": "c", "networks_net": "10.0.0.7",
        }  # fmt: skip
        assert sinks.echoed == sinks.got[0]

    virtually(scenario)


def test_what_was_written_until_the_end_is_read_to_the_end() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        sinks.engine.start("w", tells=False)
        sinks.attach("w")
        await settle()
        sinks.engine.write("w", out("last words", 1))
        sinks.engine.end("w")
        sinks.hub.detach("w")
        await let_pass(clock, 5)
        assert sinks.data() == ["last words"]
        assert sinks.hub._followed == {}

    virtually(scenario)


def test_a_stream_that_breaks_off_goes_on_where_it_was() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        sinks.engine.start("w", tells=False)
        sinks.engine.write("w", out("1\n", 1), out("2\n", 2))
        sinks.attach("w")
        await settle()
        sinks.engine.is_silent = True
        sinks.engine.write("w", out("3\n", 3), out("4\n", 4, "stderr"))
        await let_pass(clock, 5)
        sinks.engine.is_silent = False
        await let_pass(clock, 5)
        assert sinks.data() == ["1", "2", "3", "4"]

    virtually(scenario)


def test_output_without_times_is_not_read_twice() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        asked: list[int] = []

        async def logs(*_: Any, since_ns: int, **__: Any) -> AsyncIterator[Chunk]:
            asked.append(since_ns)
            yield Chunk("stdout", b"a terminal's\n")
            await asyncio.sleep(0)
            raise EngineError("broke off")

        sinks.engine.logs = logs  # type: ignore[assignment]
        sinks.engine.start("w", tells=False)
        sinks.attach("w")
        await let_pass(clock, 2)
        assert asked == [0, T0, T0 + 10**9]

    virtually(scenario)


def test_a_later_agent_goes_on_where_the_former_was(tmp_path: Path) -> None:
    file = tmp_path / "cursors.json"

    async def scenario(clock: VirtualClock) -> None:
        first = Sinks(clock, cursors=Cursors(file))
        begin(first.hub.run())
        first.engine.start("w", tells=False)
        first.attach("w")
        first.engine.write("w", out("1\n", 1), out("2\n", 1.1, "stderr"), out("3\n", 1.05))
        await let_pass(clock, 2)
        second = Sinks(clock, cursors=Cursors(file))
        second.engine = first.engine
        second.hub._engine = first.engine  # type: ignore[assignment]
        first.engine.write("w", out("4\n", 1.08), out("5\n", 1.2))
        second.attach("w", is_new=False)
        await let_pass(clock, 2)
        assert second.data() == ["4", "5"]

    virtually(scenario)


def test_a_new_agent_without_memory_reads_from_now_on() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        await let_pass(clock, 10)
        sinks.engine.start("w", tells=False)
        sinks.engine.write("w", out("long ago\n", 1))
        sinks.attach("w", is_new=False)
        await settle()
        sinks.engine.write("w", out("now\n", 11))
        await settle()
        assert sinks.data() == ["now"]

    virtually(scenario)


def test_what_began_after_the_agent_is_read_from_its_start_even_if_the_event_was_lost() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        await let_pass(clock, 10)
        sinks.engine.start("w", tells=False)
        began_ns = T0 + 4 * 10**9
        sinks.engine.table["w"] = msgspec.structs.replace(sinks.engine.table["w"], started_at_ns=began_ns)
        sinks.engine.write("w", out("before the engine noted it\n", 3.9), out("after\n", 4.1))
        sinks.attach("w", is_new=False)
        await settle()
        assert sinks.data() == ["before the engine noted it", "after"]

    virtually(scenario)


def test_broken_cursors_are_none(tmp_path: Path) -> None:
    file = tmp_path / "cursors.json"
    file.write_text("{")
    assert Cursors(file).of("x") == {}


def test_without_sinks_only_what_is_viewed_is_read() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock, sinks=0)
        for name, identity in (("w", WEB), ("other", Identity("other", "", ""))):
            sinks.engine.start(name, tells=False)
            sinks.attach(name, identity)
        await settle()
        assert not sinks.hub._tasks
        with sinks.hub.viewing("web") as viewer:
            await settle()
            assert len(sinks.hub._tasks) == 1
            sinks.engine.write("w", out("seen\n", 1))
            assert decode(await viewer.next()).data == "seen"
        await settle()
        assert not sinks.hub._tasks

    virtually(scenario)


def test_a_slow_viewer_loses_lines_and_holds_nobody_up() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        sinks.engine.start("w", tells=False)
        sinks.attach("w")
        with sinks.hub.viewing("web"):
            sinks.engine.write("w", *(out(f"{number}\n", number) for number in range(1_500)))
            await settle()
            assert len(sinks.data()) == 1_500
            assert count(sinks.hub._telemetry, "eru_agent_log_viewers_dropped_total") == 500

    virtually(scenario)


def test_an_engine_without_logs_is_attached_to() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        closed = []

        class Console:
            async def output(self) -> AsyncIterator[Chunk]:
                yield Chunk("stdout", b"live\n")
                await asyncio.Event().wait()

            async def close(self) -> None:
                closed.append(True)

        async def attach(workload_id: str, generation: int) -> Console:
            return Console()

        sinks.engine.capabilities = frozenset()
        sinks.engine.attach = attach  # type: ignore[attr-defined]
        sinks.engine.start("w", tells=False)
        sinks.attach("w")
        task = begin(sinks.hub.run())
        await settle()
        assert sinks.data() == ["live"]
        task.cancel()
        await settle()
        assert closed == [True]

    virtually(scenario)


def test_an_engine_that_refuses_is_asked_again() -> None:
    async def scenario(clock: VirtualClock) -> None:
        sinks = Sinks(clock)
        asked = []

        async def refuse(*_: Any, **__: Any) -> AsyncIterator[Chunk]:
            asked.append(clock.now_ns() // 10**9)
            raise EngineError("no")
            yield

        sinks.engine.logs = refuse  # type: ignore[assignment]
        sinks.engine.start("w", tells=False)
        sinks.attach("w")
        await let_pass(clock, 3)
        assert asked == [0, 1, 2, 3]

    virtually(scenario)


def test_the_disk_spool_of_a_forwarder_outlives_it(tmp_path: Path) -> None:
    async def main() -> None:
        telemetry = Telemetry()
        forwarder = Forwarder(
            "f", make_sink("discard://"), DiskSpool(tmp_path, 80_000), MonotonicClock(), reconnect_ns=1,
            telemetry=telemetry,
        )  # fmt: skip
        forwarder.put(record("kept"))
        forwarder.close()
        again = DiskSpool(tmp_path, 80_000)
        assert data_of(again.take(1_000)) == ["kept"]
        again.close()

    run(main())


def test_a_spool_whose_disk_fails_loses_the_line_and_counts_it() -> None:
    class Full(MemorySpool):
        def put(self, record: bytes) -> int:
            raise OSError(28, "No space left on device")

    telemetry = Telemetry()
    forwarder = Forwarder("f", make_sink("discard://"), Full(1), MonotonicClock(), reconnect_ns=1, telemetry=telemetry)
    forwarder.put(record("lost"))
    assert count(telemetry, "eru_agent_log_dropped_total", sink="f", reason="disk") == 1

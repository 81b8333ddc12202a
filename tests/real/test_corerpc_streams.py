"""Commands inside workloads, lambdas, logs and files over Eru's wire."""

from __future__ import annotations

import asyncio
import io
import tarfile

import grpc
import pytest
from corerpc_kit import all_of, options, pb, world
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from toy_service_kit import code_of, run

from backends.real.errors import Rejected
from backends.real.service import inheritance
from backends.real.service.corerpc.errors import WireError
from backends.real.service.corerpc.stream_methods import instant
from backends.real.service.inheritance import unpacked
from backends.real.template import File

UNKNOWN = grpc.StatusCode.UNKNOWN
OUT, ERR, ID, ERROR = pb.STDOUT, pb.STDERR, pb.TYPEWORKLOADID, pb.ERUERROR


async def execute(w, workload_id, *commands, **fields):
    """All frames of a command without input."""
    first = pb.ExecuteWorkloadOptions(workload_id=workload_id, commands=commands, **fields)
    return [(frame.std_stream_type, frame.data) for frame in await all_of(w.stub.ExecuteWorkload(iter([first])))]


def test_a_command_and_its_exit_code(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            assert await execute(w, workload_id, "echo", "a", "b") == [(OUT, b"a b\n"), (OUT, b"[exitcode] 0")]
            assert await execute(w, workload_id, "err", "bad") == [(ERR, b"bad\n"), (OUT, b"[exitcode] 0")]
            assert await execute(w, workload_id, "exit", "7") == [(OUT, b"[exitcode] 7")]
            frames = await execute(w, workload_id, "env", envs=["A=1", "B=2"])
            assert frames[:2] == [(OUT, b"A=1\n"), (OUT, b"B=2\n")]
            assert (await execute(w, workload_id, "pwd", workdir="/srv"))[0] == (OUT, b"/srv\n")
            mixed = await execute(w, workload_id, "mixed")
            assert mixed == [(OUT, b"output\n"), (OUT, b"rest"), (ERR, b"err"), (OUT, b"[exitcode] 0")]
            assert all(session.is_closed for session in w.engine_of(workload_id).sessions)

    run(test)


def test_a_terminal_takes_input_and_sizes_until_it_is_closed(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            for closing in (b"\x1d", None):
                call = w.stub.ExecuteWorkload()
                first = pb.ExecuteWorkloadOptions(workload_id=workload_id, commands=["cat"], open_stdin=True)
                await call.write(first)
                await call.write(pb.ExecuteWorkloadOptions(repl_cmd=b"he"))
                assert (await call.read()).data == b"he"
                await call.write(pb.ExecuteWorkloadOptions(repl_cmd=b"llo"))
                assert (await call.read()).data == b"llo"
                if closing is not None:
                    await call.write(pb.ExecuteWorkloadOptions(repl_cmd=closing))
                else:
                    await call.done_writing()
                assert (await call.read()).data == b"[exitcode] 0"
                assert await call.read() is grpc.aio.EOF
            call = w.stub.ExecuteWorkload()
            first = pb.ExecuteWorkloadOptions(workload_id=workload_id, commands=["size"], open_stdin=True)
            await call.write(first)
            await call.write(pb.ExecuteWorkloadOptions(repl_cmd=b"\x80nonsense"))
            await call.write(pb.ExecuteWorkloadOptions(repl_cmd=b'\x80{"Row": 40, "Col": 120}'))
            assert (await call.read()).data == b"40x120"
            call.cancel()
            while not all(session.is_closed for session in w.engine_of(workload_id).sessions):
                await asyncio.sleep(0.01)

    run(test)


def test_commands_that_cannot_be_run_are_a_status(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            for first in (
                pb.ExecuteWorkloadOptions(commands=["echo"]),
                pb.ExecuteWorkloadOptions(workload_id=workload_id),
                pb.ExecuteWorkloadOptions(workload_id="nobody", commands=["echo"]),
                pb.ExecuteWorkloadOptions(workload_id=workload_id, commands=["nonesuch"]),
            ):
                assert (await code_of(w.stub.ExecuteWorkload(iter([first]))))[0] is UNKNOWN
            assert (await code_of(w.stub.ExecuteWorkload(iter([]))))[0] is UNKNOWN

    run(test)


def lambda_options(*commands, **fields):
    more = {name: fields.pop(name) for name in ("async", "async_timeout", "cmd") if name in fields}
    return pb.RunAndWaitOptions(deploy_options=options(command=list(commands), **fields), **more)


def test_a_lambda_tells_its_ids_first_then_output_then_exit_codes_and_is_gone(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            frames = await all_of(w.stub.RunAndWait(iter([lambda_options("echo", "hello", count=3)])))
            ids = [frame.workload_id for frame in frames[:3]]
            assert [frame.std_stream_type for frame in frames[:3]] == [ID] * 3
            assert len(set(ids)) == 3
            for workload_id in ids:
                own = [frame.data for frame in frames[3:] if frame.workload_id == workload_id]
                assert own == [b"hello\n", b"[exitcode] 0"]
            while w.cluster.core.workloads or any(engine.boxes for engine in w.engines.values()):
                await asyncio.sleep(0.01)
            frames = await all_of(w.stub.RunAndWait(iter([lambda_options("exit", "3")])))
            assert [frame.data for frame in frames] == [b"", b"[exitcode] 3"]

    run(test)


def test_a_lambda_with_input(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            call = w.stub.RunAndWait()
            await call.write(lambda_options("cat", open_stdin=True))
            assert (await call.read()).std_stream_type == ID
            await call.write(pb.RunAndWaitOptions(cmd=b"ping"))
            assert (await call.read()).data == b"ping"
            await call.write(pb.RunAndWaitOptions(cmd=b"\x1d"))
            assert (await call.read()).data == b"[exitcode] 0"
            assert await call.read() is grpc.aio.EOF
            for fields in ({"count": 2}, {"deploy_strategy": pb.DeployOptions.FILL}):
                call = w.stub.RunAndWait(iter([lambda_options("cat", open_stdin=True, **fields)]))
                code, why = await code_of(call)
                assert code is UNKNOWN
                assert "count 1 and strategy AUTO" in why

    run(test)


def test_a_lambda_is_removed_when_its_client_goes_away(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            call = w.stub.RunAndWait(iter([lambda_options("sleep")]))
            assert (await call.read()).std_stream_type == ID
            assert len(w.cluster.core.workloads) == 1
            call.cancel()
            while w.cluster.core.workloads or any(engine.boxes for engine in w.engines.values()):
                await asyncio.sleep(0.01)

    run(test)


def test_a_lambda_that_cannot_be_created_says_so_in_band(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            for fields in ({"image": "broken"}, {"resources": {"cpumem": {"cpu-request": 99, "cpu-bind": True}}}):
                (frame,) = await all_of(w.stub.RunAndWait(iter([lambda_options("echo", **fields)])))
                assert frame.std_stream_type == ERROR
                assert frame.data.startswith(b"Create workload failed ")
            for first in (pb.RunAndWaitOptions(), lambda_options("echo", count=0)):
                assert (await code_of(w.stub.RunAndWait(iter([first]))))[0] is UNKNOWN

    run(test)


def test_an_asynchronous_lambda_goes_on_alone_and_ends_in_time(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            with capture_logs() as logs:
                asked = lambda_options("echo", "later", open_stdin=True, **{"async": True})
                frames = await all_of(w.stub.RunAndWait(iter([asked])))
                assert [frame.std_stream_type for frame in frames] == [ID]
                while w.cluster.core.workloads or any(engine.boxes for engine in w.engines.values()):
                    await asyncio.sleep(0.01)
            assert [entry["output"] for entry in logs if entry["event"] == "lambda"] == ["later\n", "[exitcode] 0"]
            with capture_logs() as logs:
                asked = lambda_options("sleep", **{"async": True, "async_timeout": 1})
                await all_of(w.stub.RunAndWait(iter([asked])))
                assert len(w.cluster.core.workloads) == 1
                while w.cluster.core.workloads or any(engine.boxes for engine in w.engines.values()):
                    await asyncio.sleep(0.01)
            assert [entry["event"] for entry in logs if "lambda" in entry["event"]] == ["lambda timed out"]

    run(test)


def test_a_lambda_leaves_nothing_where_the_service_stops(tmp_path):
    """It ends by itself; what is left of it is removed a while later by the cluster."""

    async def test():
        engines = {}
        async with world(tmp_path, engines=engines) as w:
            asked = lambda_options("sleep", **{"async": True})
            (frame,) = await all_of(w.stub.RunAndWait(iter([asked])))
            box = w.box_of(frame.workload_id)
        assert box.process.exit_code is None  # no running workload ends with us
        box.process.end(0)
        async with world(tmp_path, engines=engines) as w:
            while w.cluster.core.workloads:
                await asyncio.sleep(0.01)

    run(test)


def test_logs(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one(command=["mixed"])

            async def logs(**fields):
                call = w.stub.LogStream(pb.LogStreamOptions(id=workload_id, **fields))
                return [(message.std_stream_type, message.data) for message in await all_of(call)]

            everything = [(OUT, b"out"), (ERR, b"err"), (OUT, b"put\nrest")]
            assert await logs() == await logs(tail="all") == await logs(follow=True) == everything
            assert await logs(tail="1") == everything[-1:]
            assert await logs(since="10m", until="2030-01-01T00:00:00Z") == everything
            for fields in ({"tail": "-1"}, {"since": "yesterday"}, {"id": "nobody"}):
                asked = pb.LogStreamOptions(**{"id": workload_id, **fields})
                assert (await code_of(w.stub.LogStream(asked)))[0] is UNKNOWN
            endless = await w.one(command=["cat"])
            call = w.stub.LogStream(pb.LogStreamOptions(id=endless, follow=True))
            w.box_of(endless).process.write(b"now")
            assert (await call.read()).data == b"now"
            call.cancel()

    run(test)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("1h30m", 10**18 - 5400 * 10**9),
        ("2.5s", 10**18 - 2_500_000_000),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("1970-01-01", 0),
    ],
)
def test_instants_as_docker_s_clients_write_them(text, expected):
    assert instant("since", text, 10**18) == expected


@given(st.text(max_size=30))
def test_any_instant_is_read_or_refused(text):
    try:
        assert isinstance(instant("since", text, 10**18), int)
    except WireError as error:
        refusal = str(error)
        assert refusal.startswith("since: ")


def test_files_go_in_and_come_out(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            ids = [await w.one(), await w.one()]
            asked = pb.SendOptions(
                IDs=[*ids, "nobody"],
                data={"/etc/a.conf": b"one", "/srv//b": b"two"},
                modes={"/etc/a.conf": pb.FileMode(mode=0o600)},
                owners={"/etc/a.conf": pb.FileOwner(uid=5, gid=6)},
            )
            answers = [(message.id, message.path, message.error) for message in await all_of(w.stub.Send(asked))]
            assert {answer for answer in answers if not answer[2]} == {
                (workload_id, path, "") for workload_id in ids for path in asked.data
            }
            assert len([answer for answer in answers if answer[2]]) == 2
            files = w.box_of(ids[0]).files
            assert files["/etc/a.conf"] == File(content=b"one", mode=0o600, uid=5, gid=6)
            assert files["/srv/b"] == File(content=b"two")
            targets = {ids[0]: pb.CopyPaths(paths=["/etc/a.conf", "/none"]), "nobody": pb.CopyPaths(paths=["/x"])}
            messages = await all_of(w.stub.Copy(pb.CopyOptions(targets=targets)))
            data = b"".join(message.data for message in messages if message.path == "/etc/a.conf")
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                assert archive.extractfile("a.conf").read() == b"one"
            errors = {(message.id, message.path) for message in messages if message.error}
            assert errors == {(ids[0], "/none"), ("nobody", "/x")}

    run(test)


@pytest.mark.parametrize("path", ["etc/x", "/etc/../../x", "/", "", "/a\nb", "/" + "x" * 5000])
def test_paths_do_not_climb(tmp_path, path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            asked = pb.SendOptions(IDs=[workload_id], data={path: b"x"})
            assert (await code_of(w.stub.Send(asked)))[0] is UNKNOWN
            (message,) = await all_of(w.stub.Copy(pb.CopyOptions(targets={workload_id: pb.CopyPaths(paths=[path])})))
            assert message.error
            assert message.data == b""
            large = pb.FileOptions(ids=[workload_id], dst=path, size=1, chunk=b"x")
            assert (await code_of(w.stub.SendLargeFile(iter([large]))))[0] is UNKNOWN
            assert w.box_of(workload_id).files == {}

    run(test)


def large(ids, dst, content, piece=100_000, **fields):
    """The messages that send one file."""
    pieces = [content[start : start + piece] for start in range(0, len(content), piece)] or [b""]
    return [pb.FileOptions(ids=ids, dst=dst, size=len(content), chunk=part, **fields) for part in pieces]


def test_large_files_go_to_all_in_pieces(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            ids = [await w.one(), await w.one()]
            content = bytes(range(256)) * 8000
            mode, owner = pb.FileMode(mode=0o640), pb.FileOwner(uid=7, gid=8)
            messages = large([*ids, "nobody"], "/data/big", content, mode=mode, owner=owner)
            messages += large(ids[:1], "/data/empty", b"")
            answers = await all_of(w.stub.SendLargeFile(iter(messages)))
            results = {(answer.id, answer.path): answer.error for answer in answers}
            assert {key for key, error in results.items() if not error} == {
                (ids[0], "/data/big"),
                (ids[1], "/data/big"),
                (ids[0], "/data/empty"),
            }
            assert "nobody" in results["nobody", "/data/big"]
            for workload_id in ids:
                file = w.box_of(workload_id).files["/data/big"]
                assert (file.content, file.mode, file.uid, file.gid) == (content, 0o640, 7, 8)
            assert w.box_of(ids[0]).files["/data/empty"].content == b""

    run(test)


def test_a_large_file_must_be_as_long_as_it_says(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            for size, problem in ((5, "longer"), (7, "shorter"), (-1, "size"), (2**60, "size")):
                message = pb.FileOptions(ids=[workload_id], dst="/x", size=size, chunk=b"123456")
                code, why = await code_of(w.stub.SendLargeFile(iter([message])))
                assert code is UNKNOWN
                assert problem in why
            assert (await code_of(w.stub.SendLargeFile(iter([]))))[0] is UNKNOWN
            assert w.box_of(workload_id).files == {}

    run(test)


def test_what_a_replacement_takes_along_is_bounded_and_confined(monkeypatch):
    def tar(**fields):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            member = tarfile.TarInfo(fields.pop("name", "x"))
            for name, value in fields.items():
                setattr(member, name, value)
            archive.addfile(member, io.BytesIO(b"x" * member.size))
        return out.getvalue()

    assert unpacked(tar(name="x", size=3, mode=0o600), "/to") == {"/to": File(content=b"xxx", mode=0o600)}
    assert set(unpacked(tar(name="./x/sub/y", size=1), "/to")) == {"/to/sub/y"}
    with pytest.raises(Rejected, match=r"no '\.\.'"):
        unpacked(tar(name="x/../../etc/passwd", size=1), "/to")
    with pytest.raises(Rejected, match="neither a file"):
        unpacked(tar(name="x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "/to")
    with pytest.raises(Rejected, match="no tar"):
        unpacked(b"nonsense", "/to")
    monkeypatch.setattr(inheritance, "CARRIED_BYTES_MAX", 10)

    class Big:
        workload_id, generation = "x", 1

        class engine:
            @staticmethod
            async def get_archive(*_):
                yield b"x" * 11

    with pytest.raises(Rejected, match="more than 10 bytes"):
        asyncio.run(inheritance.carried_files(Big, {"/a": "/b"}))


def test_images(tmp_path):
    async def test():
        async with world(tmp_path, build_pool="pod") as w:
            asked = pb.CacheImageOptions(podname="pod", images=["nginx", "broken"])
            cached = await all_of(w.stub.CacheImage(asked))
            outcomes = {(message.nodename, message.image): message.success for message in cached}
            assert outcomes == {(f"n{i}", image): image == "nginx" for i in (0, 1) for image in ("nginx", "broken")}
            listed = await all_of(w.stub.ListImage(pb.ListImageOptions(podname="pod", filter="ngi")))
            assert {message.nodename: [list(image.tags) for image in message.images] for message in listed} == {
                "n0": [["nginx"]],
                "n1": [["nginx"]],
            }
            w.engines["n1"].is_up = False
            listed = await all_of(w.stub.ListImage(pb.ListImageOptions(nodenames=["n1"])))
            assert "does not answer" in listed[0].err
            w.engines["n1"].is_up = True
            asked = pb.RemoveImageOptions(nodenames=["n0"], images=["nginx", "none"], prune=True)
            removed = {message.image: message for message in await all_of(w.stub.RemoveImage(asked))}
            assert removed["nginx"].success
            assert list(removed["nginx"].messages) == ["untagged nginx"]
            assert not removed["none"].success
            for call in (
                w.stub.CacheImage(pb.CacheImageOptions(podname="pod")),
                w.stub.CacheImage(pb.CacheImageOptions(podname="none", images=["x"])),
                w.stub.CacheImage(pb.CacheImageOptions(nodenames=["n9"], images=["x"])),
                w.stub.RemoveImage(pb.RemoveImageOptions(podname="pod", images=[""])),
            ):
                assert (await code_of(call))[0] is UNKNOWN

    run(test)


def test_builds(tmp_path):
    async def test():
        async with world(tmp_path, build_pool="pod") as w:
            method = pb.BuildImageOptions
            await w.one(node_filter=pb.NodeFilter(includes=["n0"]))
            asked = method(
                name="site", tags=["v1", "hub/site:v2"], tar=b"tar", build_method=method.RAW, platform="linux"
            )
            messages = await all_of(w.stub.BuildImage(asked))
            assert not any(message.error for message in messages)
            assert [message.id for message in messages if message.id] == ["site:v1", "hub/site:v2"]
            assert w.engines["n1"].built == [(["site:v1", "hub/site:v2"], b"tar", "linux")]  # the idlest node
            assert w.engines["n1"].pushed == ["site:v1", "hub/site:v2"]
            workload_id = await w.one()
            asked = method(name="kept", exist_id=workload_id, build_method=method.EXIST)
            messages = await all_of(w.stub.BuildImage(asked))
            assert messages[0].stream == "sha256:kept:latest"
            asked = method(tags=["unreachable/x:1"], exist_id=workload_id, build_method=method.EXIST)
            *_, last = await all_of(w.stub.BuildImage(asked))
            assert last.error == last.error_detail.message == "the registry does not answer"
            builds = pb.Builds(stages=["a"], builds={"a": pb.Build(repo="x")})
            for bad, why in (
                (method(name="x", tar=b"x", build_method=method.SCM), "builds"),
                (method(name="x", builds=builds), "source code management"),
                (method(name="x", build_method=method.RAW), "tar"),
                (method(tar=b"x", build_method=method.RAW), "name"),
                (method(name="x", exist_id="nobody", build_method=method.EXIST), "nobody"),
            ):
                code, message = await code_of(w.stub.BuildImage(bad))
                assert code is UNKNOWN
                assert why in message
        async with world(tmp_path / "second") as w:
            asked = method(name="x", tar=b"x", build_method=method.RAW)
            assert "no pod" in (await code_of(w.stub.BuildImage(asked)))[1]

    run(test)


def test_a_flood_is_cut_into_frames_and_a_slow_reader_slows_only_itself(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            frames = await execute(w, workload_id, "flood", "3000000", open_stdin=True)
            assert sum(len(data) for _, data in frames[:-1]) == 3_000_000
            assert max(len(data) for _, data in frames) <= 64 * 1024
            assert sum(len(data) for _, data in (await execute(w, workload_id, "flood", "3000000"))[:-1]) == 3_000_000

    run(test)

"""The whole way with the client in Node, which shares nothing with the server: it sees Eru's numbers in the trailer."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from corerpc_kit import packed, world
from node_client_kit import NodeClient, require_node
from toy_service_kit import run

from backends.real.service.corerpc.errors import NUMBERS
from backends.real.service.errors import Status

UNBOUND = {"cpumem": {"cpu-request": 1, "memory-request": "64M"}}


def encoded(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def decoded(text):
    return base64.b64decode(text)


def deployment(*command, resources=UNBOUND, entrypoint=None, **fields):
    """DeployOptions as JSON."""
    return {
        "name": "app",
        "podname": "pod",
        "image": "busybox",
        "count": 1,
        "entrypoint": {"name": "web", "commands": list(command or ["sleep"]), **(entrypoint or {})},
        "resources": {name: encoded(value) for name, value in packed(**resources).items()},
        **fields,
    }


FAILURES = {
    "ListNetworks": {"podname": "none"},
    "ConnectNetwork": {"network": "x", "target": "nobody"},
    "DisconnectNetwork": {"network": "x", "target": "nobody"},
    "AddPod": {"name": "pod"},
    "RemovePod": {"name": "pod"},
    "GetPod": {"name": "none"},
    "GetPodResource": {"name": "none"},
    "AddNode": {"nodename": "n0", "podname": "pod", "endpoint": "mem://"},
    "RemoveNode": {"nodename": "n9"},
    "ListPodNodes": {"podname": "none"},
    "GetNode": {"nodename": "n9"},
    "SetNode": {"nodename": "n9"},
    "SetNodeStatus": {"nodename": "n0", "ttl": 0},
    "GetNodeResource": {"opts": {"nodename": "n9"}},
    "GetNodeStatus": {"nodename": "n9"},
    "GetNodeEngineInfo": {"nodename": "n9"},
    "CalculateCapacity": {},
    "GetWorkload": {"id": "nobody"},
    "GetWorkloads": {"IDs": ["nobody"]},
    "ListWorkloads": {"nodename": "n9"},
    "ListNodeWorkloads": {"nodename": "n9"},
    "GetWorkloadsStatus": {"IDs": ["nobody"]},
    "SetWorkloadsStatus": {"status": [{"id": "x"}]},
    "RawEngine": {"id": "nobody"},
    "Send": {"IDs": ["x"], "data": {"relative": ""}},
    "SendLargeFile": {"ids": ["x"], "dst": "relative"},
    "BuildImage": {"name": "x"},
    "CacheImage": {"podname": "pod"},
    "RemoveImage": {"podname": "pod"},
    "CreateWorkload": {},
    "ReplaceWorkload": {},
    "ControlWorkload": {"IDs": ["x"], "type": "dance"},
    "ExecuteWorkload": {"workload_id": "nobody", "commands": ["x"]},
    "ReallocResource": {"id": "nobody"},
    "LogStream": {"id": "nobody"},
    "RunAndWait": {},
    "ListImage": {"podname": "none"},
}
NO_FAILURE = {"WatchServiceStatus", "ListPods"}
"""Nothing that a client sends makes these fail."""
NO_IDS = {
    "Copy": {},
    "RemoveWorkload": {},
    "DissociateWorkload": {},
    "ControlWorkload": {"type": "start"},
    "Send": {},
    "SendLargeFile": {"dst": "/x"},
}
"""Without ids Eru has no number."""


def test_every_failure_has_its_number(tmp_path):
    require_node()
    # What fails one by one, in the stream, has no failure as a whole but that of the ids.
    assert FAILURES.keys() | NO_FAILURE | NO_IDS.keys() == NUMBERS.keys()

    async def test():
        async with world(tmp_path) as w, NodeClient(w.server.address) as node:

            async def status(method, request):
                if method in ("ExecuteWorkload", "RunAndWait", "SendLargeFile"):
                    call = node.open(method)
                    call.write(request)
                    await call.rest()
                    return call.status
                return await node.status(method, request)

            got = {method: (await status(method, request)).code for method, request in FAILURES.items()}
            assert got == {method: NUMBERS[method] for method in FAILURES}
            plain = {method: (await status(method, request)).code for method, request in NO_IDS.items()}
            assert plain == dict.fromkeys(NO_IDS, Status.UNKNOWN)
            garbage = encoded(b"\xff\xff\xff")
            broken = {(await node.status(method, raw=garbage)).code for method in ("GetPod", "AddNode", "RemoveNode")}
            assert broken == {Status.INVALID_ARGUMENT}

    run(test)


def test_eru_s_own_numbers_are_kept():
    """The ones that Eru's clients may know by heart; the two mistakes of 2024 are not repeated."""
    assert (NUMBERS["CreateWorkload"], NUMBERS["ReplaceWorkload"], NUMBERS["RunAndWait"]) == (1074, 1075, 10712)
    assert NUMBERS["RemoveWorkload"] == 1076
    assert NUMBERS["GetNodeStatus"] != NUMBERS["GetNodeEngineInfo"]


def test_a_workload_s_life(tmp_path):
    require_node()

    async def test():
        async with world(tmp_path) as w, NodeClient(w.server.address) as node:
            statuses = node.open("WorkloadStatusStream", {"appname": "app"})
            nodes = node.open("NodeStatusStream", {})
            while w.server.open_calls < 2:
                await asyncio.sleep(0.01)

            created = await node.all("CreateWorkload", deployment(count=2, labels={"tier": "front"}))
            assert [message["success"] for message in created] == [True, True]
            ids = [message["id"] for message in created]
            first = ids[0]

            listed = await node.all("ListWorkloads", {"appname": "app", "labels": {"tier": "front"}})
            assert sorted(workload["id"] for workload in listed) == sorted(ids)
            assert (await node.call("GetWorkload", {"id": first}))["image"] == "busybox"

            call = node.open("ExecuteWorkload")
            call.write({"workload_id": first, "commands": ["echo", "hi"]})
            frames = [(frame["std_stream_type"], decoded(frame["data"])) for frame in await call.rest()]
            assert frames == [("STDOUT", b"hi\n"), ("STDOUT", b"[exitcode] 0")]
            assert call.status.code == 0

            call = node.open("ExecuteWorkload")
            call.write({"workload_id": first, "commands": ["size"], "open_stdin": True})
            call.write({"repl_cmd": encoded(b'\x80{"Row": 24, "Col": 80}')})
            assert decoded((await call.read())["data"]) == b"24x80"
            call.tell("cancel")
            await call.rest()
            assert call.status.code == Status.CANCELLED

            change = {"cpumem": encoded(json.dumps({"cpu-request": 1, "memory-request": "64M"}))}
            assert (await node.call("ReallocResource", {"id": first, "resources": change}))["error"] == ""
            resources = json.loads((await node.call("GetWorkload", {"id": first}))["resources"])
            assert resources["cpumem"]["memory_request"] == 128 << 20
            too_much = {"cpumem": encoded(json.dumps({"cpu-request": 99, "memory-request": "999G"}))}
            refused = await node.status("ReallocResource", {"id": first, "resources": too_much})
            assert refused.code == 10710
            assert "does not fit" in refused.details

            agent = {"id": first, "appname": "app", "entrypoint": "web", "nodename": "n0", "running": True}
            await node.call("SetWorkloadsStatus", {"status": [{**agent, "healthy": True}]})
            seen = await statuses.read()
            assert (seen["id"], seen["status"]["healthy"], seen["workload"]["image"]) == (first, True, "busybox")

            (replaced,) = await node.all("ReplaceWorkload", {"deployOpt": deployment(image="newer"), "IDs": [first]})
            assert (replaced["error"], replaced["remove"]["success"]) == ("", True)
            assert replaced["create"]["id"] == first
            assert (await node.call("GetWorkload", {"id": first}))["image"] == "newer"

            removed = await node.all("RemoveWorkload", {"IDs": ids, "force": True})
            assert [message["success"] for message in removed] == [True, True]
            gone = await statuses.read()
            assert (gone["id"], gone["delete"]) == (first, True)
            assert await node.all("ListWorkloads", {}) == []
            assert (await node.status("GetWorkload", {"id": first})).code == 1051

            await node.call("SetNodeStatus", {"nodename": "n0", "ttl": "60"})
            assert (await nodes.read())["alive"] is True
            await node.call("SetNodeStatus", {"nodename": "n0", "ttl": "-1"})
            assert (await nodes.read())["alive"] is False
            for watching in (statuses, nodes):
                watching.tell("cancel")
                await watching.rest()

    run(test)


def test_a_lambda_and_files(tmp_path):
    require_node()

    async def test():
        async with world(tmp_path) as w, NodeClient(w.server.address) as node:
            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment("echo", "from", "node", count=2)})
            frames = await call.rest()
            assert [frame["std_stream_type"] for frame in frames[:2]] == ["TYPEWORKLOADID"] * 2
            assert (
                sorted(decoded(frame["data"]) for frame in frames[2:]) == [b"[exitcode] 0"] * 2 + [b"from node\n"] * 2
            )
            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment(image="broken")})
            (failure,) = await call.rest()
            assert failure["std_stream_type"] == "ERUERROR"
            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment("cat", count=2, open_stdin=True)})
            await call.rest()
            assert call.status.code == 10712

            (created,) = await node.all("CreateWorkload", deployment())
            content = bytes(range(256)) * 1000
            call = node.open("SendLargeFile")
            for start in range(0, len(content), 64_000):
                chunk = encoded(content[start : start + 64_000])
                call.write({"ids": [created["id"]], "dst": "/data/x", "size": len(content), "chunk": chunk})
            call.tell("end")
            assert [message["error"] for message in await call.rest()] == [""]
            assert w.box_of(created["id"]).files["/data/x"].content == content
            pieces = await node.all("Copy", {"targets": {created["id"]: {"paths": ["/data/x"]}}})
            assert content in b"".join(decoded(piece["data"]) for piece in pieces)

    run(test)


def test_capacity_and_one_message_where_nothing_fits(tmp_path):
    require_node()

    async def test():
        async with world(tmp_path) as w, NodeClient(w.server.address) as node:
            bound = {"cpumem": {"cpu-request": 2, "cpu-bind": True}}
            answer = await node.call("CalculateCapacity", deployment(resources=bound, deploy_strategy="DUMMY"))
            assert (answer["total"], answer["node_capacities"]) == ("8", {"n0": "4", "n1": "4"})
            (message,) = await node.all("CreateWorkload", deployment(resources=bound, count=9))
            assert message["success"] is False
            assert "need: 9, available: 8" in message["error"]

    run(test)


def test_two_clients_do_not_wait_for_each_other(tmp_path):
    """A reader that reads nothing of its stream holds up neither the others nor the cluster."""
    require_node()

    async def test():
        async with (
            world(tmp_path) as w,
            NodeClient(w.server.address) as stuck,
            NodeClient(w.server.address) as quick,
        ):
            (created,) = await quick.all("CreateWorkload", deployment())
            call = stuck.open("ExecuteWorkload", paused=True)
            call.write({"workload_id": created["id"], "commands": ["flood", "50000000"]})
            call.tell("pause")
            for _ in range(20):
                assert len(await quick.all("ListWorkloads", {})) == 1
            call.tell("cancel")
            await call.rest()

    run(test)


@pytest.mark.parametrize("method", ["CreateWorkload", "RunAndWait", "ExecuteWorkload"])
def test_a_client_that_dies_leaves_nothing_hanging(tmp_path, method):
    require_node()

    async def test():
        async with world(tmp_path) as w:
            async with NodeClient(w.server.address) as node:
                (created,) = await node.all("CreateWorkload", deployment(name="kept"))
                call = node.open(method) if method != "CreateWorkload" else node.open(method, deployment("sleep"))
                if method == "RunAndWait":
                    call.write({"deploy_options": deployment("sleep")})
                elif method == "ExecuteWorkload":
                    call.write({"workload_id": created["id"], "commands": ["cat"], "open_stdin": True})
                    while not w.engine_of(created["id"]).sessions:
                        await asyncio.sleep(0.01)
                if method != "ExecuteWorkload":
                    assert await call.read() is not None
                node.kill()
            while w.server.open_calls:
                await asyncio.sleep(0.01)
            expected = {"CreateWorkload": 2, "RunAndWait": 1, "ExecuteWorkload": 1}[method]
            while len(w.cluster.core.workloads) != expected:
                await asyncio.sleep(0.01)
            assert all(session.is_closed for engine in w.engines.values() for session in engine.sessions)

    run(test)

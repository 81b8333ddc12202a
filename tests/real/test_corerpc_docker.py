"""Eru's wire over real Docker nodes, driven by the client in Node."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from builds_kit import repository
from node_client_kit import NodeClient, require_node
from testbed_kit import find_registry
from toy_service_kit import run

from backends.real.builds.sources import GitSettings
from backends.real.cluster import ClusterOptions
from backends.real.engines.docker import DockerEngine
from backends.real.engines.docker_api import Tls
from backends.real.service.corerpc.context import CoreRpcOptions
from backends.real.service.corerpc.service import CoreRpc
from backends.real.service.server import Server, ServerOptions
from eru_sim.live.composition import real_cluster
from testbed import beds, docker_nodes
from testbed.system import BedError

IMAGE = "eru-test:local"
BUSYBOX = "busybox:local"


def daemon(node, method, path):
    """Ask a node's Docker itself."""
    return docker_nodes.call(beds.find_bed().node(node.number), method, path, None)


def containers(nodes, core_id):
    """What every container of a core is, by workload."""
    query = f'all=1&filters={{"label":["eru.core={core_id}"]}}'
    found = {}
    for node in nodes:
        for listed in daemon(node, "GET", f"/containers/json?{query}"):
            with suppress(BedError):  # it has just been removed
                one = daemon(node, "GET", f"/containers/{listed['Id']}/json")
                found[one["Config"]["Labels"]["eru.workload"]] = one
    return found


def clean(nodes, core_id):
    """Remove every container of a core."""
    query = f'all=1&filters={{"label":["eru.core={core_id}"]}}'
    for node in nodes:
        for listed in daemon(node, "GET", f"/containers/json?{query}"):
            daemon(node, "DELETE", f"/containers/{listed['Id']}?force=1&v=1")


@asynccontextmanager
async def docker_world(directory, nodes, core_id) -> AsyncIterator[NodeClient]:
    """The Node client of a service over the testbed, whose last node is reached by TLS; no container is left."""
    require_node()
    clean(nodes, core_id)

    def connect(node_id, endpoint):
        tls = Tls(endpoint.ca, endpoint.cert, endpoint.key) if endpoint.ca else None
        return DockerEngine(endpoint.url, core_id=core_id, tls=tls)

    cluster = real_cluster(directory, connect, options=ClusterOptions(core_id=core_id))
    await cluster.start()
    git = GitSettings(kind="github", also=("file",))
    rpc = CoreRpc(cluster, CoreRpcOptions(build_pool="pool", git=git))
    server = Server(ServerOptions(bind="127.0.0.1:0"), [rpc.service()])
    await server.start()
    try:
        async with NodeClient(server.address) as node:
            await node.call("AddPod", {"name": "pool"})
            for one in nodes:
                await node.call("AddNode", joining(one, by_tls=one is nodes[-1]))
            yield node
    finally:
        await rpc.close()
        await server.stop(0.5)
        await cluster.stop()
        clean(nodes, core_id)


def joining(node, *, by_tls):
    """AddNodeOptions of a node that needs no lease."""
    resources = {"cpumem": text(json.dumps({"cpu": 2, "memory": "4G"}))}
    fields = {"nodename": node.name, "podname": "pool", "test": True, "resources": resources}
    end = node.docker
    if not by_tls:
        return {**fields, "endpoint": end.url}
    files = {"ca": end.ca_file, "cert": end.certificate_file, "key": end.key_file}
    pem = {name: Path(file).read_text(encoding="ascii") for name, file in files.items()}
    return {**fields, "endpoint": end.tls_url, **pem}


@pytest.fixture
def core_id(request):
    return f"rpc-{hashlib.sha1(request.node.name.encode()).hexdigest()[:8]}"


def text(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def data_of(frame):
    return base64.b64decode(frame["data"])


def deployment(*command, cpumem=None, image=IMAGE, entrypoint=None, **fields):
    """DeployOptions as JSON."""
    resources = {"cpu-request": 0.1, "memory-request": "32M", "memory-limit": "32M", **(cpumem or {})}
    return {
        "name": "app",
        "podname": "pool",
        "image": image,
        "count": 1,
        "entrypoint": {"name": "web", "commands": list(command or ["sleep"]), **(entrypoint or {})},
        "resources": {"cpumem": text(json.dumps(resources))},
        **fields,
    }


async def frames_of(node, workload_id, *commands, **fields):
    """What a command without input writes."""
    call = node.open("ExecuteWorkload")
    call.write({"workload_id": workload_id, "commands": commands, **fields})
    frames = [(frame["std_stream_type"], data_of(frame)) for frame in await call.rest()]
    assert call.status.code == 0, call.status
    return frames


async def until(node, condition, seconds=20.0):
    """Ask again and again until it is so."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


def test_a_workload_s_life_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes, core_id) as node:
            pods = await node.all("ListPodNodes", {"podname": "pool"})
            assert {one["name"] for one in pods} == {one.name for one in testbed_nodes}
            assert all(json.loads(one["info"])["Type"] == "docker" for one in pods)

            asked = deployment(
                "log",
                "3",
                cpumem={"cpu-request": 1, "cpu-bind": True},
                count=2,
                deploy_strategy="EACH",
                nodes_limit=2,
                env=["GREETING=hello"],
                labels={"tier": "front"},
                data={"/etc/app.conf": text("configured")},
                modes={"/etc/app.conf": {"mode": 0o600}},
            )
            created = await node.all("CreateWorkload", {**asked, "count": 1})
            assert [message["error"] for message in created] == ["", ""]
            ids = [message["id"] for message in created]
            first = ids[0]
            found = containers(testbed_nodes, core_id)
            assert set(found) == set(ids)
            inside = found[first]
            assert inside["State"]["Running"]
            assert inside["HostConfig"]["Memory"] == 32 << 20
            (core,) = json.loads(created[0]["resources"])["cpumem"]["cpu_map"]
            assert inside["HostConfig"]["CpusetCpus"] == core
            assert inside["Config"]["Labels"]["ERU"] == "1"
            own = {f"ERU_NODE_NAME={created[0]['nodename']}", f"ERU_WORKLOAD_SEQ={first[-1]}"}
            assert own | {"APP_NAME=app", "ERU_POD=pool"} <= set(inside["Config"]["Env"])

            *told, last = await frames_of(node, first, "sh", "-c", "echo $GREETING; echo oops >&2; exit 7")
            assert sorted(told) == [("STDERR", b"oops\n"), ("STDOUT", b"hello\n")]
            assert last == ("STDOUT", b"[exitcode] 7")
            configured = await frames_of(node, first, "sh", "-c", "cat /etc/app.conf; stat -c %a /etc/app.conf")
            assert b"".join(data for _, data in configured) == b"configured600\n[exitcode] 0"
            logs = await node.all("LogStream", {"id": first})
            assert b"".join(map(data_of, logs)) == b"line 1\nline 2\nline 3\n"
            logs = await node.all("LogStream", {"id": first, "tail": "1"})
            assert b"".join(map(data_of, logs)) == b"line 3\n"

            change = text(json.dumps({"keep-cpu-bind": True, "memory-request": "32M", "memory-limit": "32M"}))
            await node.call("ReallocResource", {"id": first, "resources": {"cpumem": change}})
            now = containers(testbed_nodes, core_id)[first]
            assert now["HostConfig"]["Memory"] == 64 << 20
            assert now["HostConfig"]["CpusetCpus"] == core
            assert now["State"]["Pid"] == inside["State"]["Pid"]  # in place

            (replaced,) = await node.all(
                "ReplaceWorkload",
                {
                    "deployOpt": deployment("sleep", "1000", image=BUSYBOX),
                    "IDs": [first],
                    "copy": {"/etc/app.conf": "/etc/kept.conf"},
                },
            )
            assert replaced["error"] == ""
            assert (await node.call("GetWorkload", {"id": first}))["image"] == BUSYBOX
            kept = await frames_of(node, first, "cat", "/etc/kept.conf")
            assert kept[0][1] == b"configured"
            assert containers(testbed_nodes, core_id)[first]["HostConfig"]["Memory"] == 64 << 20

            removed = await node.all("RemoveWorkload", {"IDs": ids, "force": True})
            assert all(message["success"] for message in removed)
            assert containers(testbed_nodes, core_id) == {}

    run(test, 120.0)


def test_a_terminal_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes, core_id) as node:
            (created,) = await node.all("CreateWorkload", deployment())
            call = node.open("ExecuteWorkload")
            call.write({"workload_id": created["id"], "commands": ["sh"], "open_stdin": True})
            call.write({"repl_cmd": text(b'\x80{"Row": 33, "Col": 111}')})
            call.write({"repl_cmd": text("stty size; echo A$((20+3))B\n")})
            seen = b""
            while b"A23B" not in seen or b"33 111" not in seen:
                frame = await call.read()
                assert frame is not None, seen
                seen += data_of(frame)
            call.write({"repl_cmd": text("exit 5\n")})
            rest = b"".join([data_of(frame) for frame in await call.rest()])
            assert rest.endswith(b"[exitcode] 5")

    run(test, 90.0)


def test_lambdas_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes, core_id) as node:

            async def is_clean():
                return not containers(testbed_nodes, core_id)

            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment("log", "2", "err", "oops", "exit", "3", count=2)})
            frames = await call.rest()
            assert [frame["std_stream_type"] for frame in frames[:2]] == ["TYPEWORKLOADID"] * 2
            for frame in frames[:2]:
                own = [one for one in frames[2:] if one["workload_id"] == frame["workload_id"]]
                told = sorted((one["std_stream_type"], data_of(one)) for one in own)
                assert told == [
                    ("STDERR", b"oops\n"),
                    ("STDOUT", b"[exitcode] 3"),
                    ("STDOUT", b"line 1\n"),
                    ("STDOUT", b"line 2\n"),
                ]
            await until(node, is_clean)

            call = node.open("RunAndWait")
            asked = deployment("sh", "-c", "read line; echo got $line; exit 4", image=BUSYBOX, open_stdin=True)
            call.write({"deploy_options": asked})
            assert (await call.read())["std_stream_type"] == "TYPEWORKLOADID"
            call.write({"cmd": text("something\n")})
            told = b"".join([data_of(frame) for frame in await call.rest()])
            assert b"got something" in told
            assert told.endswith(b"[exitcode] 4")
            await until(node, is_clean)

            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment("sleep")})
            assert (await call.read())["std_stream_type"] == "TYPEWORKLOADID"
            call.tell("cancel")
            await until(node, is_clean)

            call = node.open("RunAndWait")
            call.write({"deploy_options": deployment("log", "1", "exit", "0"), "async": True})
            assert len(await call.rest()) == 1
            await until(node, is_clean)

    run(test, 120.0)


def test_large_files_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes, core_id) as node:
            (created,) = await node.all("CreateWorkload", deployment(cpumem={"memory-limit": "256M"}))
            workload_id = created["id"]
            content = bytes(range(256)) * 4096 * 50  # 50 MiB
            call = node.open("SendLargeFile")
            head = {"ids": [workload_id], "dst": "/srv/big", "size": len(content)}
            more = {"mode": {"mode": 0o640}, "owner": {"uid": 7, "gid": 8}}
            for start in range(0, len(content), 1 << 20):
                call.write({**head, **more, "chunk": text(content[start : start + (1 << 20)])})
                await call.drain()
            call.tell("end")
            (answer,) = await call.rest(60.0)
            assert answer["error"] == ""
            pieces = await node.all("Copy", {"targets": {workload_id: {"paths": ["/srv/big"]}}})
            with tarfile.open(fileobj=io.BytesIO(b"".join(map(data_of, pieces)))) as archive:
                (member,) = archive
                assert (member.name, member.mode & 0o7777, member.uid, member.gid) == ("big", 0o640, 7, 8)
                back = archive.extractfile(member)
                assert back is not None
                assert hashlib.sha256(back.read()).digest() == hashlib.sha256(content).digest()
            sent = await node.all("Send", {"IDs": [workload_id], "data": {"/srv/small": text("x")}})
            assert [message["error"] for message in sent] == [""]
            assert (await frames_of(node, workload_id, "cat", "/srv/small"))[0][1] == b"x"
            (missing,) = await node.all("Copy", {"targets": {workload_id: {"paths": ["/none"]}}})
            assert missing["error"]

    run(test, 120.0)


def test_control_networks_and_images_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes, core_id) as node:
            (created,) = await node.all("CreateWorkload", deployment())
            workload_id = created["id"]

            async def control(what):
                (message,) = await node.all("ControlWorkload", {"IDs": [workload_id], "type": what})
                return message["error"]

            def state():
                (container,) = containers(testbed_nodes, core_id).values()
                return container["State"]["Status"]

            assert await control("suspend") == ""
            assert state() == "paused"
            assert await control("resume") == ""
            assert state() == "running"
            await frames_of(node, workload_id, "touch", "/kept")
            assert await control("restart") == ""
            assert state() == "running"
            assert (await frames_of(node, workload_id, "ls", "/kept"))[0][1] == b"/kept\n"
            assert await control("stop") == ""
            assert state() == "exited"
            assert await control("start") == ""

            networks = (await node.call("ListNetworks", {"podname": "pool"}))["networks"]
            assert {"bridge", "host"} <= {network["name"] for network in networks}
            images = await node.all("ListImage", {"podname": "pool", "filter": "eru-test"})
            assert {message["nodename"] for message in images} == {one.name for one in testbed_nodes}
            assert all(IMAGE in image["tags"] for message in images for image in message["images"])
            cached = await node.all("CacheImage", {"podname": "pool", "images": ["127.0.0.1:9/none:1"]})
            assert [message["success"] for message in cached] == [False] * len(testbed_nodes)
            (failed,) = await node.all("CreateWorkload", deployment(image="no-such-image:local", ignore_pull=True))
            assert "no-such-image" in failed["error"]
            assert (await node.status("GetWorkload", {"id": "nobody"})).code == 1051

            context = io.BytesIO()
            with tarfile.open(fileobj=context, mode="w") as archive:
                member = tarfile.TarInfo("Dockerfile")
                lines = f"FROM {BUSYBOX}\nLABEL built=here\n".encode()
                member.size = len(lines)
                archive.addfile(member, io.BytesIO(lines))
            asked = {"name": "rpc-built", "tags": ["1"], "tar": text(context.getvalue()), "build_method": "RAW"}
            built = await node.all("BuildImage", asked, deadline_ms=60_000)
            assert any("rpc-built" in message["stream"] or "built" in message["stream"] for message in built)
            listed = await node.all("ListImage", {"podname": "pool", "filter": "rpc-built"})
            assert sum(len(message["images"]) for message in listed) == 1
            await node.all("RemoveImage", {"podname": "pool", "images": ["rpc-built:1"]})

    run(test, 120.0)


def test_hooks_and_force_in_docker(tmp_path, testbed_nodes, core_id):
    async def test():
        async with docker_world(tmp_path, testbed_nodes[:1], core_id) as node:
            flood = "head -c 200000 /dev/zero | tr '\\0' x"
            hook = {"after_start": ["echo up; echo oops >&2", flood], "before_stop": ["echo down $GREETING"]}
            fields = {"after_create": ["echo made"], "env": ["GREETING=hello"], "debug": True}
            entry = {"hook": hook, "log": {"type": "none"}}
            (created,) = await node.all("CreateWorkload", deployment(entrypoint=entry, **fields))
            workload_id, printed = created["id"], data_of({"data": created["hook"]})
            assert created["error"] == ""
            lines = printed.split(b"\n")
            assert sorted(lines[:3]) == [b"made", b"oops", b"up"]
            assert len(printed) < 66_000
            assert lines[-2] == b"[cut after 65536 bytes]"
            (inside,) = containers(testbed_nodes, core_id).values()
            assert inside["HostConfig"]["LogConfig"]["Type"] != "none"

            async def control(what, **fields):
                (message,) = await node.all("ControlWorkload", {"IDs": [workload_id], "type": what, **fields})
                assert message["error"] == ""
                return data_of({"data": message["hook"]})

            assert await control("stop") == b"down hello\n"
            assert (await control("start")).startswith((b"up\n", b"oops\n"))
            assert await control("stop", force=True) == b""
            (inside,) = containers(testbed_nodes, core_id).values()
            assert (inside["State"]["Status"], inside["State"]["ExitCode"]) == ("exited", 137)
            assert (await control("restart")).startswith((b"up\n", b"oops\n"))
            assert b"down" not in await control("restart", force=True)
            (removed,) = await node.all("RemoveWorkload", {"IDs": [workload_id], "force": True})
            assert (removed["success"], removed["hook"]) == (True, "")

            failing = {"hook": {"after_start": ["echo half", "exit 3"], "force": True}}
            (failed,) = await node.all("CreateWorkload", deployment(entrypoint=failing))
            assert "exit code 3" in failed["error"]
            assert data_of({"data": failed["hook"]}) == b"half\n"
            assert containers(testbed_nodes, core_id) == {}

    run(test, 120.0)


def test_images_are_built_of_sources_in_docker(tmp_path, testbed_nodes, core_id):
    repo = repository(tmp_path / "repo", **{"build.sh": "#!/bin/sh\necho built by $1 $MODE > 'out put'\n"})
    tag = f"{find_registry()}/test/{core_id}:1"
    compiled = {
        "base": BUSYBOX, "repo": str(repo), "version": "main", "dir": "/src dir", "security": True,
        "args": {"MODE": "fast"}, "commands": ["ls -A", "sh build.sh \\\n  ada\ntrue"],
        "cache": {"/src dir/out put": "/srv/out put"},
    }  # fmt: skip
    final = {
        "base": BUSYBOX, "dir": "/srv", "envs": {"SAID": "\"hi\" \\ 'there'", "PATH": "$PATH:/more"},
        "labels": {"org.x/y": "a b"}, "stop_signal": "SIGUSR1",
    }  # fmt: skip
    builds = {"stages": ["compile", "final"], "builds": {"compile": compiled, "final": final}}

    async def test():
        async with docker_world(tmp_path / "store", testbed_nodes, core_id) as node:
            asked = {"tags": [tag], "user": "ada", "uid": 1234, "builds": builds}
            built = await node.all("BuildImage", asked, deadline_ms=60_000)
            assert [message["error"] for message in built if message["error"]] == []
            assert built[-1]["id"] == tag
            listed = {message["stream"] for message in built}
            assert ("build.sh" in listed, ".git" in listed) == (True, False)

            ran = deployment("sleep", "600", image=tag)
            (created,) = await node.all("CreateWorkload", ran)
            workload_id = created["id"]
            (container,) = containers(testbed_nodes, core_id).values()
            config = container["Config"]
            assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("ada", "/srv", "SIGUSR1")
            assert "SAID=\"hi\" \\ 'there'" in config["Env"]
            assert any(one.startswith("PATH=/") and one.endswith(":/more") for one in config["Env"])
            assert config["Labels"]["org.x/y"] == "a b"
            said = await frames_of(node, workload_id, "sh", "-c", "id -u; cat '/srv/out put'")
            assert b"".join(data for _, data in said[:-1]) == b"1234\nbuilt by ada fast\n"

            compiled["commands"] = ["exit 3"]
            *_, failed = await node.all("BuildImage", asked, deadline_ms=60_000)
            assert "exit 3" in failed["error_detail"]["message"]
            await node.all("RemoveWorkload", {"IDs": [workload_id], "force": True})
            await node.all("RemoveImage", {"podname": "pool", "images": [tag], "prune": True})

    run(test, 120.0)

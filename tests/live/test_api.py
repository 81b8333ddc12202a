"""`eru.v1`: every method, over real gRPC."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from api_kit import CPU, Api, FakeNode, serving, spec, status_of
from live_kit import machines

from backends.real.builds.sources import GitSettings
from backends.real.service.eru_v1.context import EruOptions
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.template import File, Template
from backends.sim.engine import EngineModel
from scheduler.events import WorkloadExited

Code = grpc.StatusCode


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def name(enum: Any, number: int) -> str:
    return str(enum.Name(number)).rpartition("STATE_")[2]


def test_the_service_says_what_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            info = await api.stub.GetInfo(pb.GetInfoRequest())
            assert info.core_id == api.cluster.core_id
            assert dict(info.nodes) == {"ready": 3}
            assert [one.name for one in info.plugins][:2] == ["labels", "taints"]
            assert info.policy.name == "best-fit"
            assert info.journal_digest == api.cluster.driver.journal.journal_digest
            watch = api.stub.WatchInfo(pb.WatchInfoRequest(interval_ns=10**8))
            first, second = await watch.read(), await watch.read()
            assert first.interval_ns == second.interval_ns == 2 * 10**8
            watch.cancel()

    run(scenario())


def test_pools(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            added = await stub.AddPool(pb.AddPoolRequest(name="gpu", description="d"))
            assert (added.name, added.description, added.nodes) == ("gpu", "d", 0)
            assert (await status_of(stub.AddPool(pb.AddPoolRequest(name="gpu"))))[0] is Code.ALREADY_EXISTS
            assert (await status_of(stub.AddPool(pb.AddPoolRequest(name="../x"))))[0] is Code.INVALID_ARGUMENT
            pools = (await stub.ListPools(pb.ListPoolsRequest())).pools
            assert [(pool.name, pool.nodes) for pool in pools] == [("gpu", 0), ("pool", 3)]
            assert (await status_of(stub.RemovePool(pb.RemovePoolRequest(name="pool"))))[0] is Code.FAILED_PRECONDITION
            await stub.RemovePool(pb.RemovePoolRequest(name="gpu"))
            assert (await status_of(stub.GetPool(pb.GetPoolRequest(name="gpu"))))[0] is Code.NOT_FOUND

    run(scenario())


def test_nodes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            request = pb.AddNodeRequest(
                node_id="n3",
                pool="pool",
                endpoint=pb.Endpoint(url="sim://?cpus=4", key="SECRET"),
                labels={"disk": "ssd"},
                topology={"rack": "r1"},
                taints=["dedicated=db:NoSchedule"],
                resources={"cpu": '{"cores": {"0": 100, "1": 100}, "memory": "1G"}'},
                is_test=True,
            )
            node = await stub.AddNode(request)
            assert (dict(node.labels), dict(node.topology), list(node.taints)) == (
                {"disk": "ssd"}, {"rack": "r1"}, ["dedicated=db:NoSchedule"],
            )  # fmt: skip
            assert node.state == pb.NODE_STATE_READY
            assert "SECRET" not in str(node)
            assert (await status_of(stub.AddNode(request)))[0] is Code.ALREADY_EXISTS
            for change, code in (
                ({"node_id": "n9", "pool": "none"}, Code.NOT_FOUND),
                ({"node_id": "n9", "resources": {"nothing": "1"}}, Code.INVALID_ARGUMENT),
                ({"node_id": "n9", "resources": {"cpu": "{"}}, Code.INVALID_ARGUMENT),
                ({"node_id": "n9", "resources": {"cpu": '{"memory": "many"}'}}, Code.INVALID_ARGUMENT),
                ({"node_id": "n9", "capacity": {"nothing": 1}}, Code.INVALID_ARGUMENT),
                ({"node_id": "n9", "endpoint": pb.Endpoint(url="tcp://127.0.0.1:1")}, Code.INVALID_ARGUMENT),
                ({"node_id": "n9", "taints": ["what"]}, Code.INVALID_ARGUMENT),
            ):
                wrong = pb.AddNodeRequest(pool="pool", endpoint=pb.Endpoint(url="sim://"), is_test=True)
                wrong.MergeFrom(pb.AddNodeRequest(**change))
                assert (await status_of(stub.AddNode(wrong)))[0] is code, change
            resources = (await stub.GetNode(pb.GetNodeRequest(node_id="n3", with_resources=True))).resources
            assert resources.dimensions["memory"].total == 1 << 30
            assert resources.slots["cpu"].slots["0"].total == 100
            listed = [one.node_id async for one in stub.ListNodes(pb.ListNodesRequest(labels={"disk": "ssd"}))]
            assert listed == ["n3"]
            changed = await stub.SetNode(
                pb.SetNodeRequest(
                    node_id="n3", labels=pb.Labels(labels={"disk": "hdd"}), resources={"cpu": '{"memory": "2G"}'},
                    taints=pb.Taints(),
                )
            )  # fmt: skip
            assert dict(changed.labels) == {"disk": "hdd"}
            assert list(changed.taints) == []
            wrong = pb.SetNodeRequest(node_id="n3", resources={"cpu": "7"})
            assert (await status_of(stub.SetNode(wrong)))[0] is Code.INVALID_ARGUMENT
            assert (await stub.CordonNode(pb.CordonNodeRequest(node_id="n3"))).state == pb.NODE_STATE_CORDONED
            assert [one.node_id async for one in stub.ListNodes(pb.ListNodesRequest())] == ["n0", "n1", "n2"]
            assert (await stub.UncordonNode(pb.UncordonNodeRequest(node_id="n3"))).state == pb.NODE_STATE_READY
            operation = await stub.FixNode(pb.FixNodeRequest(node_id="n3"))
            assert await api.results(operation) == [("n3", "FIXED")]
            engine = await stub.GetNodeEngine(pb.GetNodeEngineRequest(node_id="n3"))
            assert (engine.kind, list(engine.cpus)) == ("simulated", ["0", "1", "2", "3"])
            await stub.RemoveNode(pb.RemoveNodeRequest(node_id="n3"))
            assert (await status_of(stub.GetNode(pb.GetNodeRequest(node_id="n3"))))[0] is Code.NOT_FOUND

    run(scenario())


def test_agents_renew_their_leases_and_watchers_see_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            node = await stub.AddNode(
                pb.AddNodeRequest(node_id="n3", pool="pool", endpoint=pb.Endpoint(url="sim://?cpus=8"))
            )
            assert not node.is_available
            watch = stub.WatchNodes(pb.WatchNodesRequest(pool="pool", with_current=True))
            assert [(await watch.read()).node_id for _ in range(4)] == ["n0", "n1", "n2", "n3"]
            status = await stub.RenewNode(pb.RenewNodeRequest(node_id="n3", ttl_ns=10**10))
            assert status.is_alive
            assert (await watch.read()).is_alive
            await stub.RenewNode(pb.RenewNodeRequest(node_id="n3"))
            assert not (await watch.read()).is_alive
            assert not (await stub.GetNodeStatus(pb.GetNodeStatusRequest(node_id="n3"))).is_alive
            watch.cancel()

    run(scenario())


def test_a_drain_moves_work_away_and_cancelling_it_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=2, machines=machines(EngineModel(stop_ns=3 * 10**8))) as api:
            stub = api.stub
            await api.deploy("a", 8)
            operation = await stub.DrainNode(pb.DrainNodeRequest(node_id="n0", idempotency_key="k"))
            assert await api.results(operation) == [("n0", "DRAINED")]
            assert [one.workload_id async for one in stub.ListWorkloads(pb.ListWorkloadsRequest(node_id="n0"))] == []
            again = await stub.DrainNode(pb.DrainNodeRequest(node_id="n0", idempotency_key="k"))
            assert again.operation_id == operation.operation_id
            await stub.UncordonNode(pb.UncordonNodeRequest(node_id="n0"))
            await api.deploy("b", 8)
            stuck = await stub.DrainNode(pb.DrainNodeRequest(node_id="n1"))
            cancelled = await stub.CancelOperation(pb.CancelOperationRequest(operation_id=stuck.operation_id))
            assert cancelled.operation_id == stuck.operation_id
            assert (await stub.GetNode(pb.GetNodeRequest(node_id="n1"))).state == pb.NODE_STATE_READY

    run(scenario())


def test_submitted_work_waits_says_why_and_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1) as api:
            stub = api.stub
            operation = await stub.Submit(pb.SubmitRequest(spec=spec("a", 10, priority=5, tenant="t")))
            assert (operation.kind, list(operation.subjects)) == ("submit", ["a"])
            while (
                len((await stub.GetOperation(pb.GetOperationRequest(operation_id=operation.operation_id))).results) < 8
            ):
                await asyncio.sleep(0.01)
            assert [one.kind for one in (await stub.ListOperations(pb.ListOperationsRequest())).operations] == [
                "submit"
            ]
            waiting = [entry async for entry in stub.ListQueue(pb.ListQueueRequest(tenant="t"))]
            assert [entry.workload.workload_id for entry in waiting] == ["a/8", "a/9"]
            assert waiting[0].diagnosis.text == "0/1 nodes: 1 cpu"
            found = await stub.Explain(pb.ExplainRequest(key="a/8"))
            assert found.state == pb.WORKLOAD_STATE_QUEUED
            assert found.diagnosis == "0/1 nodes: 1 cpu"
            assert found.chapters[0].name == "workloads_submitted"
            await stub.CancelOperation(pb.CancelOperationRequest(operation_id=operation.operation_id))
            results = await api.results(operation)
            assert results[8:] == [("a/8", "KILLED"), ("a/9", "KILLED")]
            refused = await stub.Submit(pb.SubmitRequest(spec=spec("b", 1, on_unschedulable=pb.ON_UNSCHEDULABLE_FAIL)))
            assert await api.results(refused) == [("b", "REJECTED")]
            story = await stub.Explain(pb.ExplainRequest(key="b"))
            assert (story.state, story.diagnosis) == (pb.WORKLOAD_STATE_REJECTED, "0/1 nodes: 1 cpu")
            assert (await status_of(stub.Explain(pb.ExplainRequest(key="nobody"))))[0] is Code.NOT_FOUND
            gang = await stub.Submit(pb.SubmitRequest(spec=spec("g", 9, gang=True, gang_timeout_ns=10**8)))
            assert {outcome for _, outcome in await api.results(gang)} == {"REJECTED"}

    run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"nothing": "{}"}},
        {"resources": {"cpu": "no"}},
        {"resources": {"cpu": '{"cpu_request": "x"}'}},
        {"resources": {"cpu": '{"cpu_request": 99999999999999999999999999}'}},
        {"resources": {"cpu": "[" * 5000}},
        {"request": {"nothing": 1}},
        {"request": {"cpu": -1}},
        {"count": -1},
        {"count": 10_001},
        {"on_exit": 9},
        {"workload_id": "../../x"},
        {"workload_id": "a.5"},
        {"gang_timeout_ns": 5},
        {"gang": True, "preempts": True, "count": 2},
        {"template": pb.Template(env=["novalue"])},
        {"template": pb.Template(restart="sometimes")},
        {"template": pb.Template(files={"../x": pb.File()})},
        {"template": pb.Template(engine_json="[]")},
        {"tenant": "a\nb"},
    ],
)
def test_what_makes_no_sense_is_an_invalid_argument_and_no_event(tmp_path: Path, change: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1) as api:
            wanted = spec("a")
            wanted.MergeFrom(pb.WorkloadSpec(**change))
            batches = api.cluster.driver.journal.batches
            code, message = await status_of(api.stub.Submit(pb.SubmitRequest(spec=wanted)))
            assert code is Code.INVALID_ARGUMENT, message
            assert message
            assert api.cluster.driver.journal.batches == batches
            code, _ = await status_of(api.stub.Plan(pb.PlanRequest(spec=wanted)))
            assert code is Code.INVALID_ARGUMENT

    run(scenario())


def test_a_deployment_follows_its_strategy_and_a_plan_says_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            spread = pb.Spread(strategy=pb.STRATEGY_EACH, excluded_node_ids=["n2"])
            plan = await stub.Plan(pb.PlanRequest(spec=spec("web", 2), spread=spread))
            assert [(share.node_id, share.count) for share in plan.shares] == [("n0", 2), ("n1", 2)]
            assert (plan.total_capacity, dict(plan.capacity)) == (24, {})
            whole = await stub.Plan(pb.PlanRequest(spec=spec("web", 2), spread=spread, with_capacity=True))
            assert dict(whole.capacity) == {"n0": 8, "n1": 8, "n2": 8}
            whole.ClearField("capacity")
            assert whole == plan
            operation = await stub.Deploy(pb.DeployRequest(spec=spec("web", 2), spread=spread))
            assert len(await api.results(operation)) == 4
            placed = [one.node_id async for one in stub.ListWorkloads(pb.ListWorkloadsRequest(app="web"))]
            assert sorted(placed) == ["n0", "n0", "n1", "n1"]
            too_much = await stub.Plan(pb.PlanRequest(spec=spec("big", 25), spread=pb.Spread()))
            assert too_much.refusal
            assert too_much.diagnosis.nodes == 3
            operation = await stub.Deploy(pb.DeployRequest(spec=spec("big", 25)))
            assert [outcome for _, outcome in await api.results(operation)] == ["REJECTED"]
            queued = await stub.Plan(pb.PlanRequest(spec=spec("big", 25)))
            assert (sum(share.count for share in queued.shares), queued.unplaced) == (20, 5)
            assert queued.diagnosis.text == "0/3 nodes: 3 cpu"
            wrong = pb.DeployRequest(spec=spec("x"), spread=pb.Spread(node_ids=["n9"]))
            assert (await status_of(stub.Deploy(wrong)))[0] is Code.NOT_FOUND
            assert (await status_of(stub.Deploy(pb.DeployRequest(spec=spec("web")))))[0] is Code.ALREADY_EXISTS
            unnamed = spec("")
            unnamed.app = "app"
            operation = await stub.Deploy(pb.DeployRequest(spec=unnamed))
            assert operation.subjects[0].startswith("app-")

    run(scenario())


def test_the_life_of_a_workload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, engines=True) as api:
            stub = api.stub
            template = pb.Template(
                command=["sleep", "1"], env=["PASSWORD=hunter2"], labels={"a": "b"},
                files={"/etc/key": pb.File(content=b"hunter2", mode=0o600)},
                health=pb.HealthCheck(http_port=80), publish=["80"],
            )  # fmt: skip
            await api.deploy("w", 2, template=template)
            found = await stub.GetWorkload(
                pb.GetWorkloadRequest(workload_id="w/0", with_template=True, with_instance=True)
            )
            assert name(pb.WorkloadState, found.state) == "RUNNING"
            assert (found.node_id, dict(found.labels), list(found.publish)) == ("n0", {"a": "b"}, ["80"])
            assert found.instance.networks["bridge"] == "10.0.0.2"
            assert list(found.template.command) == ["sleep", "1"]
            assert list(found.template.env) == ["PASSWORD="]
            assert found.template.files["/etc/key"].mode == 0o600
            assert "hunter2" not in str(found)
            assert msgspec.json.decode(found.resources["cpu"])["cpu_request"] == 1
            assert msgspec.json.decode(found.assignments["cpu"])["amounts"]
            listed = stub.ListWorkloads(pb.ListWorkloadsRequest(labels={"a": "b"}, limit=1))
            assert [one.workload_id async for one in listed] == ["w/0"]

            async def each(method: Any, request: Any, *ids: str) -> list[tuple[str, str]]:
                answer = await method(request(workload_ids=ids))
                return [result for one in answer.operations for result in await api.results(one)]

            assert await each(stub.StopWorkloads, pb.StopWorkloadsRequest, "w/0", "w/1") == [
                ("w/0", "STOPPED"), ("w/1", "STOPPED"),
            ]  # fmt: skip
            assert await each(stub.StartWorkloads, pb.StartWorkloadsRequest, "w/0") == [("w/0", "RUNNING")]
            assert await each(stub.StartWorkloads, pb.StartWorkloadsRequest, "w/0") == [("w/0", "REFUSED")]
            assert await each(stub.RestartWorkloads, pb.RestartWorkloadsRequest, "w/0") == [("w/0", "RUNNING")]
            assert (await stub.GetWorkload(pb.GetWorkloadRequest(workload_id="w/0"))).generation == 3
            node = api.cluster.gateway.engine("n0")
            assert isinstance(node, FakeNode)
            await stub.PauseWorkload(pb.PauseWorkloadRequest(workload_id="w/0"))
            assert node.paused == {"w/0"}
            await stub.ResumeWorkload(pb.ResumeWorkloadRequest(workload_id="w/0"))
            assert node.paused == set()
            realloc = await stub.ReallocWorkload(
                pb.ReallocWorkloadRequest(workload_id="w/0", resources={"cpu": '{"cpu_request": 1}'})
            )
            assert await api.results(realloc) == [("w/0", "UPDATED")]
            for change in (
                {},
                {"resources": {"gpu": "{}"}},
                {"resources": {"cpu": "5"}},
                {"request": {"cpu": 1 << 62}},
            ):
                wrong = pb.ReallocWorkloadRequest(workload_id="w/0", **change)
                code = (await status_of(stub.ReallocWorkload(wrong)))[0]
                assert code in (Code.INVALID_ARGUMENT, Code.OK), change
            assert await each(stub.DissociateWorkloads, pb.DissociateWorkloadsRequest, "w/1") == [
                ("w/1", "DISSOCIATED")
            ]
            assert await each(stub.RemoveWorkloads, pb.RemoveWorkloadsRequest, "w/0") == [("w/0", "KILLED")]
            gone = stub.RemoveWorkloads(pb.RemoveWorkloadsRequest(workload_ids=["w/0"]))
            assert (await status_of(gone))[0] is Code.NOT_FOUND
            nobody = stub.RemoveWorkloads(pb.RemoveWorkloadsRequest())
            assert (await status_of(nobody))[0] is Code.INVALID_ARGUMENT

    run(scenario())


def test_a_replacement_goes_step_by_step(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1) as api:
            stub = api.stub
            await api.deploy("w", 3)
            operation = await stub.ReplaceWorkloads(
                pb.ReplaceWorkloadsRequest(app="w", image="busybox:2", step=2, template=pb.Template(env=["A=1"]))
            )
            assert [outcome for _, outcome in await api.results(operation)] == ["REPLACED"] * 3
            found = await stub.GetWorkload(pb.GetWorkloadRequest(workload_id="w/2", with_template=True))
            assert (found.image, list(found.template.env)) == ("busybox:2", ["A="])
            for change, code in (
                ({}, Code.INVALID_ARGUMENT),
                ({"app": "w", "workload_ids": ["w/0"]}, Code.INVALID_ARGUMENT),
                ({"app": "nobody"}, Code.FAILED_PRECONDITION),
                ({"workload_ids": ["w/9"]}, Code.NOT_FOUND),
                ({"app": "w", "step": -1}, Code.INVALID_ARGUMENT),
            ):
                wrong = pb.ReplaceWorkloadsRequest(image="x", **change)
                assert (await status_of(stub.ReplaceWorkloads(wrong)))[0] is code, change

    run(scenario())


def test_a_replacement_takes_networks_and_files_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, engines=True) as api:
            stub = api.stub
            await api.deploy("w", 2, template=pb.Template(env=["A=1"], networks={"front": ""}))
            start = pb.CopyInInput(start=pb.CopyInStart(workload_ids=["w/0"]))
            sent = pb.CopyInInput(file=pb.CopyInFile(path="/etc/key", file=pb.File(content=b"hunter2", mode=0o600)))
            await stub.CopyIn(_messages(start, sent))

            async def replaced(**fields: Any) -> Template:
                request = pb.ReplaceWorkloadsRequest(workload_ids=["w/0"], image="busybox:2", **fields)
                assert await api.results(await stub.ReplaceWorkloads(request)) == [("w/0", "REPLACED")]
                return await api.cluster.template(api.cluster.workloads.get("w/0").spec.template)

            template = await replaced(copy={"/etc/key": "/etc/old/key"}, template=pb.Template(env=["A=2"]))
            assert template.env == ("A=2",)
            assert template.files == {"/etc/old/key": File(content=b"hunter2", mode=0o600)}
            assert template.networks == {}
            # Its own template, and the addresses that the running instance has.
            template = await replaced(inherit_networks=True)
            assert template.env == ("A=2",)
            assert template.networks == {"bridge": "10.0.0.2"}

            for change, part in (
                ({"app": "w", "copy": {"/a": "/b"}}, "2 workloads are meant; replace one at a time"),
                ({"workload_ids": ["w/0"], "copy": {"/a/../b": "/b"}}, "copy: '/a/../b' must have no '..'"),
                ({"workload_ids": ["w/0"], "copy": {"/etc/key": "b"}}, "copy: 'b' must be absolute"),
            ):
                wrong = pb.ReplaceWorkloadsRequest(image="x", **change)
                code, why = await status_of(stub.ReplaceWorkloads(wrong))
                assert code is Code.INVALID_ARGUMENT
                assert part in why

    run(scenario())


def test_statuses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1) as api:
            stub = api.stub
            await api.deploy("w")
            watch = stub.WatchWorkloadStatuses(pb.WatchWorkloadStatusesRequest(app="w", with_current=True))
            said = pb.WorkloadStatus(workload_id="w/0", is_running=True, is_healthy=True, networks={"b": "10.0.0.2"})
            await asyncio.sleep(0.1)
            await stub.SetWorkloadStatuses(pb.SetWorkloadStatusesRequest(statuses=[said]))
            change = await watch.read()
            assert change.kind == pb.WorkloadStatusChange.KIND_SET
            assert (change.status.node_id, change.status.app) == ("n0", "w")
            got = await stub.GetWorkloadStatuses(pb.GetWorkloadStatusesRequest(workload_ids=["w/0", "nobody"]))
            assert [one.is_healthy for one in got.statuses] == [True]
            wrong = pb.SetWorkloadStatusesRequest(statuses=[pb.WorkloadStatus(workload_id="w/0"), pb.WorkloadStatus()])
            assert (await status_of(stub.SetWorkloadStatuses(wrong)))[0] is Code.NOT_FOUND
            await stub.RemoveWorkloads(pb.RemoveWorkloadsRequest(workload_ids=["w/0"]))
            assert (await watch.read()).kind == pb.WorkloadStatusChange.KIND_DELETED
            watch.cancel()

    run(scenario())


async def _messages(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


def test_commands_run_inside_with_typed_frames(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, engines=True) as api:
            stub = api.stub
            await api.deploy("w")
            start = pb.ExecStart(workload_id="w/0", command=["cat", "x"], has_tty=True, open_stdin=True)
            start.size.rows, start.size.columns = 24, 80
            inputs = _messages(
                pb.ExecInput(start=start),
                pb.ExecInput(stdin=b"hello"),
                pb.ExecInput(resize=pb.TerminalSize(rows=30, columns=100)),
                pb.ExecInput(stdin=b"err"),
                pb.ExecInput(close_stdin=pb.CloseStdin()),
            )
            outputs = [output async for output in stub.Exec(inputs)]
            assert b"".join(one.stdout for one in outputs).startswith(b"cat x")
            assert b"hello" in b"".join(one.stdout for one in outputs)
            assert b"30x100" in b"".join(one.stdout for one in outputs)
            assert [one.stderr for one in outputs if one.HasField("stderr")] == [b"err"]
            assert outputs[-1].exited.exit_code == 7
            plain = pb.ExecInput(start=pb.ExecStart(workload_id="w/0", command=["ls"]))
            assert [one.exited.exit_code async for one in stub.Exec(_messages(plain))][-1] == 7
            for messages, code in (
                ((), Code.INVALID_ARGUMENT),
                ((pb.ExecInput(stdin=b"x"),), Code.INVALID_ARGUMENT),
                ((pb.ExecInput(start=pb.ExecStart(workload_id="w/0")),), Code.INVALID_ARGUMENT),
                ((pb.ExecInput(start=pb.ExecStart(workload_id="no", command=["x"])),), Code.NOT_FOUND),
                ((pb.ExecInput(start=pb.ExecStart(workload_id="w/0", command=["missing"])),), Code.NOT_FOUND),
            ):
                assert (await status_of(stub.Exec(_messages(*messages))))[0] is code, messages
            waiting = pb.ExecStart(workload_id="w/0", command=["cat"], open_stdin=True)
            resize = pb.ExecInput(resize=pb.TerminalSize(rows=1, columns=1))
            code, _ = await status_of(stub.Exec(_messages(pb.ExecInput(start=waiting), resize)))
            assert code is Code.UNIMPLEMENTED
            attach = pb.AttachInput(start=pb.AttachStart(workload_id="w/0", open_stdin=True))
            outputs = [one async for one in stub.Attach(_messages(attach, pb.AttachInput(stdin=b"in")))]
            assert b"".join(one.stdout for one in outputs) == b"consolein"

    run(scenario())


def test_a_simulated_node_says_what_it_cannot(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1) as api:
            await api.deploy("w")
            start = pb.ExecInput(start=pb.ExecStart(workload_id="w/0", command=["ls"]))
            assert (await status_of(api.stub.Exec(_messages(start))))[0] is Code.UNIMPLEMENTED
            logs = api.stub.ReadLogs(pb.ReadLogsRequest(workload_id="w/0"))
            assert (await status_of(logs))[0] is Code.UNIMPLEMENTED
            usage = api.stub.GetWorkloadUsage(pb.GetWorkloadUsageRequest(workload_id="w/0"))
            assert (await status_of(usage))[0] is Code.UNIMPLEMENTED

    run(scenario())


def test_files_and_output(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, engines=True) as api:
            stub = api.stub
            await api.deploy("w", 2)
            logs = [chunk async for chunk in stub.ReadLogs(pb.ReadLogsRequest(workload_id="w/0", tail=1))]
            assert [(chunk.is_stderr, chunk.data, chunk.at_ns) for chunk in logs] == [(True, b"two\n", 6)]
            both = pb.CopyInStart(workload_ids=["w/0", "w/1"])
            file = pb.CopyInFile(path="/etc/a", file=pb.File(content=b"content"))
            answer = await stub.CopyIn(_messages(pb.CopyInInput(start=both), pb.CopyInInput(file=file)))
            assert dict(answer.errors) == {}
            chunks = [one.data async for one in stub.CopyOut(pb.CopyOutRequest(workload_id="w/0", path="/etc/a"))]
            tar = b"".join(chunks)
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                assert archive.getnames() == ["a"]
            start = pb.CopyInStart(workload_ids=["w/0"], path="/tmp")
            pieces = [pb.CopyInInput(tar=tar[place : place + 700]) for place in range(0, len(tar), 700)]
            await stub.CopyIn(_messages(pb.CopyInInput(start=start), *pieces))
            node = api.cluster.gateway.engine("n0")
            assert isinstance(node, FakeNode)
            assert node.files["/tmp/a"].content == b"content"
            missing = stub.CopyOut(pb.CopyOutRequest(workload_id="w/0", path="/none"))
            assert (await status_of(missing))[0] is Code.NOT_FOUND
            climbing = stub.CopyOut(pb.CopyOutRequest(workload_id="w/0", path="/a/../../b"))
            assert (await status_of(climbing))[0] is Code.INVALID_ARGUMENT
            nothing = stub.CopyIn(_messages(pb.CopyInInput(start=both)))
            assert (await status_of(nothing))[0] is Code.INVALID_ARGUMENT
            usage = await stub.GetWorkloadUsage(pb.GetWorkloadUsageRequest(workload_id="w/0"))
            assert (usage.cpu_ns, usage.memory_bytes) == (5, 6)
            raw = await stub.CallEngine(pb.CallEngineRequest(workload_id="w/0", operation="echo", params=b"x"))
            assert raw.result == b"x"

    run(scenario())


def test_images_of_sources(tmp_path: Path) -> None:
    async def scenario() -> None:
        git = GitSettings(kind="github")
        async with serving(tmp_path, nodes=1, engines=True, eru_options=EruOptions(git=git)) as api:
            build = pb.Build(base="scratch", commands=["true"])
            builds = pb.Builds(stages=["a"], builds={"a": build})
            start = pb.BuildImageStart(
                tags=["mine:1"], push=True, builds=builds, user="ada", uid=7, platform="linux/arm64"
            )
            built = [one async for one in api.stub.BuildImage(_messages(pb.BuildImageInput(start=start)))]
            assert [(one.node_id, one.message, one.is_done) for one in built] == [
                ("n0", "10240 bytes for linux/arm64", False), ("n0", "pushed", False), ("n0", "", True),
            ]  # fmt: skip
            start.builds.builds["a"].repo = "file:///etc"
            refused = api.stub.BuildImage(_messages(pb.BuildImageInput(start=start)))
            code, message = await status_of(refused)
            assert (code, "file is not allowed" in message) == (Code.INVALID_ARGUMENT, True)

    run(scenario())


def test_images_and_networks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=2, engines=True) as api:
            stub = api.stub
            await api.deploy("w")
            listed = [one async for one in stub.ListImages(pb.ListImagesRequest())]
            assert sorted(one.node_id for one in listed) == ["n0", "n1"]
            assert listed[0].images[0].tags == ["busybox"]
            request = pb.PullImagesRequest(nodes=pb.NodeChoice(node_ids=["n0"]), images=["alpine", "nowhere"])
            progress = [one async for one in stub.PullImages(request)]
            assert {(one.image, bool(one.error)) for one in progress if one.is_done} == {
                ("alpine", False), ("nowhere", True),
            }  # fmt: skip
            removed = [one async for one in stub.RemoveImages(pb.RemoveImagesRequest(images=["alpine"], prune=True))]
            assert sum(one.is_done for one in removed) == 4
            start = pb.BuildImageStart(tags=["mine:1"], push=True)
            built = [
                one
                async for one in stub.BuildImage(
                    _messages(pb.BuildImageInput(start=start), pb.BuildImageInput(context=b"12345"))
                )
            ]
            assert [one.message for one in built] == ["5 bytes", "pushed", ""]
            builds = pb.Builds(stages=["a"], builds={"a": pb.Build(base="scratch", commands=["true"])})
            of_sources = pb.BuildImageInput(start=pb.BuildImageStart(tags=["mine:3"], builds=builds))
            code, message = await status_of(stub.BuildImage(_messages(of_sources)))
            assert (code, "--git-type" in message) == (Code.INVALID_ARGUMENT, True)
            other = pb.BuildImageStart(tags=["mine:2"], workload_id="w/0", platform="linux")
            code, message = await status_of(stub.BuildImage(_messages(pb.BuildImageInput(start=other))))
            assert (code, "start.platform" in message) == (Code.INVALID_ARGUMENT, True)
            commit = pb.BuildImageStart(tags=["mine:2"], workload_id="w/0")
            made = [one async for one in stub.BuildImage(_messages(pb.BuildImageInput(start=commit)))]
            assert made[0].message == "sha256:3"
            networks = [
                one async for one in stub.ListNetworks(pb.ListNetworksRequest(nodes=pb.NodeChoice(pool="pool")))
            ]
            assert networks[0].networks[0].subnets == ["10.0.0.0/24"]
            joined = await stub.ConnectNetwork(pb.ConnectNetworkRequest(workload_id="w/0", network="bridge"))
            assert joined.address == "10.0.0.9"
            await stub.DisconnectNetwork(pb.DisconnectNetworkRequest(workload_id="w/0", network="bridge"))
            wrong = stub.DisconnectNetwork(pb.DisconnectNetworkRequest(workload_id="w/0", network="none"))
            assert (await status_of(wrong))[0] is Code.NOT_FOUND

    run(scenario())


def test_a_run_tells_how_each_copy_ended_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, nodes=1, engines=True) as api:
            start = pb.RunInput(start=pb.RunStart(spec=spec("job", 2)))
            call = api.stub.Run(_messages(start))
            outputs = [await call.read(), await call.read()]
            assert {one.started.node_id for one in outputs} == {"n0"}
            for copy, code in (("job/0", 0), ("job/1", 3)):
                api.cluster.driver.report(WorkloadExited(workload_id=copy, generation=1, exit_code=code))
            while (output := await call.read()) is not grpc.aio.EOF:
                outputs.append(output)
            assert {one.workload_id: one.ended.exit_code for one in outputs if one.HasField("ended")} == {
                "job/0": 0, "job/1": 3,
            }  # fmt: skip
            assert b"".join(one.stderr for one in outputs) == b"two\ntwo\n"
            while api.cluster.core.workloads:
                await asyncio.sleep(0.01)
            call = api.stub.Run(_messages(pb.RunInput(start=pb.RunStart(spec=spec("big", 9)))))
            outputs = [output async for output in call]
            assert outputs[0].ended.exit_code == -1
            assert "0/1 nodes" in outputs[0].ended.error or "8" in outputs[0].ended.error
            await _run_that_is_left(api)

    run(scenario())


async def _run_that_is_left(api: Api) -> None:
    """Whoever goes away has the copies removed."""
    call = api.stub.Run(_messages(pb.RunInput(start=pb.RunStart(spec=spec("left")))))
    await call.read()
    assert "left/0" in api.cluster.core.workloads
    call.cancel()
    while api.cluster.core.workloads:
        await asyncio.sleep(0.01)


def test_a_policy_is_promoted_at_run_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            for wrong in (
                {"name": "no-such"},
                {"name": "best-fit", "params_json": '{"x": 1}'},
                {"name": "best-fit", "params_json": "[]"},
                {"name": "weighted", "params_json": '{"parts": {"best-fit": "x"}}'},
                {"name": "weighted", "params_json": '{"parts": 5}'},
                {"name": "power-of-choices", "params_json": '{"choices": "many"}'},
            ):
                code, message = await status_of(stub.SetPolicy(pb.SetPolicyRequest(**wrong)))
                assert code is Code.INVALID_ARGUMENT, (wrong, message)
            changed = await stub.SetPolicy(
                pb.SetPolicyRequest(name="weighted", params_json='{"parts": {"best-fit": 1, "worst-fit": 0.5}}')
            )
            assert changed.name == "weighted"
            assert "worst-fit" in changed.known_names
            assert [outcome for _, outcome in await api.deploy("a", 3)] == ["RUNNING"] * 3
        async with serving(tmp_path) as api:
            assert (await api.stub.GetPolicy(pb.GetPolicyRequest())).name == "weighted"

    run(scenario())


def test_the_tail_of_the_journal_is_that_of_the_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            stub = api.stub
            follow = stub.TailJournal(pb.TailJournalRequest(follow=True, with_header=True))
            await api.deploy("a", 3)
            await stub.GetInfo(pb.GetInfoRequest())
            stored = [line async for line in api.cluster.store.lines(0)]
            head = await follow.read()
            assert (head.seq, head.line) == (-1, await api.cluster.store.header())
            lines = [await follow.read() for _ in stored]
            assert [one.line for one in lines] == stored
            assert [one.seq for one in lines] == list(range(len(stored)))
            assert lines[-1].at_ns == api.cluster.core.at_ns
            await api.deploy("b")
            assert (await follow.read()).seq == len(stored)
            follow.cancel()
            last = [one.seq async for one in stub.TailJournal(pb.TailJournalRequest(first_seq=-2))]
            assert last == [api.cluster.tail.end - 2, api.cluster.tail.end - 1]
            one = [line.seq async for line in stub.TailJournal(pb.TailJournalRequest(limit=1))]
            assert one == [0]
            far = stub.TailJournal(pb.TailJournalRequest(first_seq=10**6))
            assert (await status_of(far))[0] is Code.OUT_OF_RANGE
            await api.cluster.driver.save()
            await api.cluster.store.prune(3, 1 << 62)
            pruned = stub.TailJournal(pb.TailJournalRequest())
            assert (await status_of(pruned))[0] is Code.OUT_OF_RANGE

    run(scenario())


def test_slow_machines_are_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, machines=machines(EngineModel(start_ns=2 * 10**8))) as api:
            operation = await api.stub.Deploy(pb.DeployRequest(spec=spec("a", 2, resources={"cpu": CPU})))
            assert (operation.is_done, operation.remaining) == (False, 2)
            assert len(await api.results(operation)) == 2

    run(scenario())

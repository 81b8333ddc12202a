"""Workloads over Eru's wire: deployed, changed, removed; asked for and watched."""

from __future__ import annotations

import asyncio
import json

import grpc
from corerpc_kit import all_of, options, packed, pb, world
from toy_service_kit import code_of, run

from backends.real.driver import DriverStopped, Overloaded
from backends.real.engines.base import Unreachable
from backends.real.errors import Conflict, Missing, Rejected
from backends.real.service.corerpc.context import translate
from backends.real.service.corerpc.errors import NoIds, WireError
from backends.real.service.errors import Status
from scheduler.invariants import check


def test_a_deployment_from_one_end_to_the_other(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            messages = await w.deploy(count=3, entrypoint={"publish": ["80"]}, networks={"calico": ""})
            assert [message.success for message in messages] == [True] * 3
            assert {message.nodename for message in messages} == {"n0", "n1"}
            first = messages[0]
            assert first.podname == "pod"
            assert first.name.startswith("app_web_")
            assert first.publish == {"calico": "10.0.0.9:80"}
            assert json.loads(first.resources)["cpumem"]["cpu_request"] == 1
            (on_host,) = await w.deploy(entrypoint={"publish": ["80", "81"]}, networks={"host": ""}, name="host")
            assert on_host.publish == {"host": "127.0.0.1:80,127.0.0.1:81"}
            await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[on_host.id], force=True)))
            found = await w.stub.GetWorkload(pb.WorkloadID(id=first.id))
            assert (found.id, found.name, found.nodename, found.image) == (
                first.id,
                first.name,
                first.nodename,
                "busybox",
            )
            assert found.status.running
            assert "APP_NAME=app" in found.env
            listed = await all_of(w.stub.ListWorkloads(pb.ListWorkloadsOptions(appname="app")))
            assert {workload.id for workload in listed} == {message.id for message in messages}
            limited = await all_of(w.stub.ListWorkloads(pb.ListWorkloadsOptions(appname="app", limit=2)))
            assert len(limited) == 2
            removed = await all_of(
                w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[m.id for m in messages], force=True))
            )
            assert [message.success for message in removed] == [True] * 3
            assert await all_of(w.stub.ListWorkloads(pb.ListWorkloadsOptions())) == []
            assert all(not engine.boxes for engine in w.engines.values())
            assert check(w.cluster.core) is None

    run(test)


def test_what_does_not_fit_is_one_message_with_the_reason(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            too_big = {"cpumem": {"cpu-request": 9, "cpu-bind": True}}
            (message,) = await w.deploy(resources=too_big)
            assert not message.success
            assert "cpu" in message.error
            (message,) = await w.deploy(count=100, resources={"cpumem": {"cpu-request": 1, "cpu-bind": True}})
            assert not message.success
            assert w.cluster.core.workloads == {}

    run(test)


def test_an_engine_that_says_no_fails_one_instance_and_gives_back_what_it_held(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            (message,) = await w.deploy(image="broken")
            assert not message.success
            assert "no such image" in message.error
            assert w.cluster.core.workloads == {}
            assert check(w.cluster.core) is None

    run(test)


def test_a_nonsense_deployment_is_a_status_and_nothing_happens(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            batches = w.cluster.driver.journal.batches
            for fields in ({"count": 0}, {"podname": "nowhere"}, {"deploy_strategy": 99}, {"image": ""}):
                code, _ = await code_of(w.stub.CreateWorkload(options(**fields)))
                assert code is grpc.StatusCode.UNKNOWN  # what Python makes of 1074; the Node client sees the number
            assert w.cluster.driver.journal.batches == batches

    run(test)


def test_unknown_plugins_are_skipped(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            resources = {"cpumem": {"cpu-request": 1}, "licence-server": {"seats": 3}}
            assert await w.one(resources=resources)

    run(test)


def test_strategies_and_filters(tmp_path):
    async def test():
        async with world(tmp_path, nodes=3) as w:
            each = await w.deploy(deploy_strategy=pb.DeployOptions.EACH, nodes_limit=2, count=2, name="each")
            assert sorted(message.nodename for message in each) == ["n0", "n0", "n1", "n1"]
            await w.cluster.nodes.change("n2", labels={"zone": "b"})
            labelled = await w.deploy(count=2, node_filter=pb.NodeFilter(labels={"zone": "b"}))
            assert {message.nodename for message in labelled} == {"n2"}
            left_out = await w.deploy(count=4, node_filter=pb.NodeFilter(excludes=["n0", "n2"]))
            assert {message.nodename for message in left_out} == {"n1"}
            named = await w.deploy(count=2, podname="", node_filter=pb.NodeFilter(includes=["n0", "n0"]))
            assert {message.nodename for message in named} == {"n0"}
            older = await w.deploy(count=2, nodenames=["n2"])
            assert {message.nodename for message in older} == {"n2"}
            nobody = w.stub.CreateWorkload(options(node_filter=pb.NodeFilter(labels={"zone": "c"})))
            assert "no node" in (await code_of(nobody))[1]
            unknown = w.stub.CreateWorkload(options(node_filter=pb.NodeFilter(includes=["n9"])))
            assert "n9" in (await code_of(unknown))[1]

    run(test)


def test_capacity_is_the_plan_and_changes_nothing(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            bound = {"cpumem": {"cpu-request": 2, "cpu-bind": True}}
            plan = await w.stub.CalculateCapacity(options(count=3, resources=bound))
            assert (plan.total, dict(plan.node_capacities)) == (3, {"n0": 2, "n1": 1})
            most = await w.stub.CalculateCapacity(options(deploy_strategy=99, image="", count=0, resources=bound))
            assert (most.total, dict(most.node_capacities)) == (8, {"n0": 4, "n1": 4})
            only = pb.NodeFilter(includes=["n1"])
            some = await w.stub.CalculateCapacity(options(deploy_strategy=99, resources=bound, node_filter=only))
            assert dict(some.node_capacities) == {"n1": 4}
            some = await w.stub.CalculateCapacity(
                options(deploy_strategy=99, resources=bound, node_filter=pb.NodeFilter(excludes=["n1"]))
            )
            assert dict(some.node_capacities) == {"n0": 4}
            too_big = {"cpumem": {"cpu-request": 99, "cpu-bind": True}}
            for strategy in (0, 99):
                code, why = await code_of(
                    w.stub.CalculateCapacity(options(deploy_strategy=strategy, resources=too_big))
                )
                assert code is grpc.StatusCode.UNKNOWN
                assert "cpu" in why
            created = await w.deploy(count=3, resources=bound)
            assert sorted(message.nodename for message in created) == ["n0", "n0", "n1"]
            assert w.cluster.core.counters.placed == 3

    run(test)


def test_the_total_does_not_overflow(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            free = await w.stub.CalculateCapacity(options(deploy_strategy=99, resources={}))
            assert 0 < free.total <= 2**63 - 1

    run(test)


def test_removal_needs_force_while_it_runs(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            (message,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id, workload_id])))
            assert not message.success
            assert "running" in message.hook
            (stopped,) = await all_of(w.stub.ControlWorkload(pb.ControlWorkloadOptions(IDs=[workload_id], type="stop")))
            assert stopped.error == ""
            (message,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id])))
            assert message.success
            (message,) = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id])))
            assert not message.success
            assert (await code_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions())))[1] == "no workload ids are given"

    run(test)


def test_control(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()

            async def control(what: str, ids: list[str] | None = None) -> list[str]:
                asked = pb.ControlWorkloadOptions(IDs=ids or [workload_id], type=what)
                return [message.error for message in await all_of(w.stub.ControlWorkload(asked))]

            assert await control("start") == ["it is running, not stopped"]
            assert await control("suspend") == [""]
            assert w.box_of(workload_id).is_paused
            assert await control("resume") == [""]
            assert not w.box_of(workload_id).is_paused
            assert await control("restart") == [""]
            assert w.cluster.workloads.get(workload_id).generation == 2
            assert await control("stop") == [""]
            assert await control("restart") == [""]
            assert w.cluster.workloads.get(workload_id).state == "running"
            (error,) = await control("stop", ["nobody"])
            assert "nobody" in error
            code, why = await code_of(w.stub.ControlWorkload(pb.ControlWorkloadOptions(IDs=["x"], type="dance")))
            assert "dance" in why
            assert code is grpc.StatusCode.UNKNOWN

    run(test)


def test_what_exits_stays_until_it_is_removed(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one(command=["exit", "3"])
            while w.cluster.workloads.get(workload_id).state != "stopped":
                await asyncio.sleep(0.01)
            found = await w.stub.GetWorkload(pb.WorkloadID(id=workload_id))
            assert not found.status.running

    run(test)


def test_realloc_adds_and_keeps_and_refuses(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one(
                resources={"cpumem": {"cpu-request": 1, "cpu-bind": True, "memory-request": "1G"}}
            )
            before = json.loads((await w.stub.GetWorkload(pb.WorkloadID(id=workload_id))).resources)["cpumem"]

            async def realloc(**plugins):
                return await code_of(
                    w.stub.ReallocResource(pb.ReallocOptions(id=workload_id, resources=packed(**plugins)))
                )

            assert (await realloc(cpumem={"keep-cpu-bind": True, "cpu-request": 1, "memory-request": "1G"}))[1] == ""
            after = json.loads((await w.stub.GetWorkload(pb.WorkloadID(id=workload_id))).resources)["cpumem"]
            assert after["cpu_request"] == 2
            assert after["memory_request"] == 2 << 30
            assert before["cpu_map"].items() <= after["cpu_map"].items()
            assert w.box_of(workload_id).args["cpuset_cpus"] == ",".join(sorted(after["cpu_map"]))
            code, why = await realloc(cpumem={"keep-cpu-bind": True, "cpu-request": 100})
            assert code is grpc.StatusCode.UNKNOWN
            assert "does not fit" in why
            assert "cpu_request" in (await realloc(cpumem={"keep-cpu-bind": True, "cpu-request": -9}))[1]
            # An empty cpumem unbinds, as in Eru.
            assert (await realloc(cpumem={}))[1] == ""
            unbound = json.loads((await w.stub.GetWorkload(pb.WorkloadID(id=workload_id))).resources)["cpumem"]
            assert unbound["cpu_map"] == {}
            assert "nobody" in (await code_of(w.stub.ReallocResource(pb.ReallocOptions(id="nobody"))))[1]
            assert check(w.cluster.core) is None

    run(test)


def test_replace_keeps_place_and_resources_and_leaves_others_alone(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            mine = await w.deploy(count=2, labels={"tier": "a"}, networks={"calico": "10.9.9.9"})
            other = await w.one(name="other")
            await w.cluster.pools.add("second")
            places = {message.id: message.nodename for message in mine}
            ask = pb.ReplaceOptions(
                deployOpt=options(image="newer", command=["cat"], labels={"tier": "b"}),
                networkinherit=True,
                filter_labels={"tier": "a"},
            )
            messages = await all_of(w.stub.ReplaceWorkload(ask))
            assert {message.create.id for message in messages} == set(places)
            assert all(message.create.success and message.remove.success and not message.error for message in messages)
            for workload_id, node_id in places.items():
                box = w.box_of(workload_id)
                assert (box.spec.image, box.spec.template.command) == ("newer", ("cat",))
                assert box.networks == {"calico": "10.9.9.9"}
                assert w.cluster.workloads.place(workload_id).node_id == node_id
            assert w.box_of(other).spec.image == "busybox"
            # The labels are others now, so nobody is meant, and nothing is said.
            assert await all_of(w.stub.ReplaceWorkload(ask)) == []
            # One that fails goes back to what it was.
            ask = pb.ReplaceOptions(deployOpt=options(image="broken"), IDs=[mine[0].id])
            (message,) = await all_of(w.stub.ReplaceWorkload(ask))
            assert "no such image" in message.error
            assert not message.remove.success
            while w.cluster.workloads.get(mine[0].id).state != "running":
                await asyncio.sleep(0.01)
            assert w.box_of(mine[0].id).spec.image == "newer"
            ask = pb.ReplaceOptions(deployOpt=options(podname="second"), IDs=[mine[0].id])
            assert await all_of(w.stub.ReplaceWorkload(ask)) == []
            (message,) = await all_of(w.stub.ReplaceWorkload(pb.ReplaceOptions(deployOpt=options(), IDs=["nobody"])))
            assert "nobody" in message.error
            assert check(w.cluster.core) is None

    run(test)


def test_replace_takes_files_along(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one(data={"/data/a": b"1", "/data/sub/b": b"2", "/etc/one": b"3"})
            copy = {"/data": "/kept", "/etc/one": "/etc/two"}
            ask = pb.ReplaceOptions(deployOpt=options(image="newer"), IDs=[workload_id], copy=copy)
            (message,) = await all_of(w.stub.ReplaceWorkload(ask))
            assert not message.error
            files = w.box_of(workload_id).spec.template.files
            assert {path: file.content for path, file in files.items()} == {
                "/kept/a": b"1",
                "/kept/sub/b": b"2",
                "/etc/two": b"3",
            }
            ask = pb.ReplaceOptions(deployOpt=options(image="newer"), IDs=[workload_id], copy={"/none": "/x"})
            (message,) = await all_of(w.stub.ReplaceWorkload(ask))
            assert "no such file" in message.error

    run(test)


def test_dissociated_work_goes_on_without_us(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            engine = w.engine_of(workload_id)
            ask = pb.DissociateWorkloadOptions(IDs=[workload_id, "nobody"])
            answers = {message.id: message.error for message in await all_of(w.stub.DissociateWorkload(ask))}
            assert answers[workload_id] == ""
            assert "nobody" in answers["nobody"]
            assert len(engine.boxes) == 1
            assert w.cluster.core.workloads == {}
            assert check(w.cluster.core) is None

    run(test)


def test_lists_are_all_or_nothing_where_ids_are_given(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one(labels={"a": "b"})
            assert len((await w.stub.GetWorkloads(pb.WorkloadIDs(IDs=[workload_id]))).workloads) == 1
            code, why = await code_of(w.stub.GetWorkloads(pb.WorkloadIDs(IDs=[workload_id, "nobody"])))
            assert code is grpc.StatusCode.UNKNOWN
            assert "nobody" in why
            node = w.cluster.workloads.place(workload_id).node_id
            for labels, count in (({"a": "b"}, 1), ({"a": "c"}, 0)):
                on_node = await w.stub.ListNodeWorkloads(pb.GetNodeOptions(nodename=node, labels=labels))
                assert len(on_node.workloads) == count
                listed = await all_of(w.stub.ListWorkloads(pb.ListWorkloadsOptions(nodename=node, labels=labels)))
                assert len(listed) == count
            assert (await code_of(w.stub.ListNodeWorkloads(pb.GetNodeOptions(nodename="n9"))))[1]

    run(test)


def test_raw_operations(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            answer = await w.stub.RawEngine(pb.RawEngineOptions(id=workload_id, op="echo", params=b"x"))
            assert (answer.id, answer.data) == (workload_id, b'"x"')
            _, why = await code_of(w.stub.RawEngine(pb.RawEngineOptions(id=workload_id, op="dance")))
            assert "there is echo" in why

    run(test)


def status(workload_id, **fields):
    plain = {"appname": "app", "entrypoint": "web", "nodename": "n0", "running": True, "healthy": True, **fields}
    return pb.WorkloadStatus(id=workload_id, **plain)


def test_statuses_are_set_seen_watched_and_run_out(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one(labels={"a": "b"})
            watches = {
                name: w.stub.WorkloadStatusStream(pb.WorkloadStatusStreamOptions(**fields))
                for name, fields in {
                    "all": {},
                    "mine": {"appname": "app", "entrypoint": "web", "nodename": "n0", "labels": {"a": "b"}},
                    "other": {"appname": "other"},
                    "labels": {"labels": {"a": "c"}},
                }.items()
            }
            seen = {name: [] for name in watches}

            async def watch(name):
                async for message in watches[name]:
                    seen[name].append((message.id, message.status.healthy, message.delete, message.workload.name != ""))

            tasks = [asyncio.create_task(watch(name)) for name in watches]
            for call in watches.values():
                await call.initial_metadata()  # from then on it listens
            set_status = w.stub.SetWorkloadsStatus
            one = status(workload_id, networks={"calico": "10.0.0.1"}, extension=b"{}")
            answer = await set_status(pb.SetWorkloadsStatusOptions(status=[one]))
            assert list(answer.status) == [one]
            await set_status(pb.SetWorkloadsStatusOptions(status=[one]))  # unchanged: nobody hears of it
            (found,) = (await w.stub.GetWorkloadsStatus(pb.WorkloadIDs(IDs=[workload_id]))).status
            assert (found.healthy, dict(found.networks), found.extension) == (True, {"calico": "10.0.0.1"}, b"{}")
            await set_status(pb.SetWorkloadsStatusOptions(status=[status(workload_id, healthy=False, ttl=1)]))
            expected = [
                (workload_id, True, False, True),
                (workload_id, False, False, True),
                (workload_id, False, True, True),
            ]
            while len(seen["all"]) < 3:
                await asyncio.sleep(0.05)
            assert seen["all"] == seen["mine"] == expected
            assert seen["other"] == seen["labels"] == []
            await set_status(pb.SetWorkloadsStatusOptions(status=[one]))
            await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            while len(seen["all"]) < 5:
                await asyncio.sleep(0.01)
            assert seen["all"][-1] == (workload_id, True, True, False)
            for call in watches.values():
                call.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(test)


def test_nonsense_statuses(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            for bad in (
                status(workload_id, appname=""),
                status(workload_id, ttl=-1),
                status(workload_id, ttl=2**62),
                status("nobody", ttl=5),
            ):
                good = status(workload_id)
                ask = pb.SetWorkloadsStatusOptions(status=[good, bad])
                assert (await code_of(w.stub.SetWorkloadsStatus(ask)))[0] is grpc.StatusCode.UNKNOWN
            assert len(w.cluster.statuses) == 0
            ask = pb.SetWorkloadsStatusOptions(status=[status("nobody")])
            assert len((await w.stub.SetWorkloadsStatus(ask)).status) == 0
            assert len(w.cluster.statuses) == 0

    run(test)


def test_refusals_have_statuses():
    cases = {
        Rejected("a"): 1074,
        Missing("a"): 1074,
        Conflict("a"): 1074,
        Unreachable("a"): 1074,
        WireError("a"): 1074,
        NoIds(): Status.UNKNOWN,
        Overloaded("a"): Status.RESOURCE_EXHAUSTED,
        DriverStopped("a"): Status.UNAVAILABLE,
    }
    for error, number in cases.items():
        found = translate("CreateWorkload", error)
        assert found is not None
        assert found.status == number
    assert translate("CreateWorkload", KeyError("a")) is None


def test_creation_goes_on_when_the_client_goes_away(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            for engine in w.engines.values():
                engine.delay = 0.3
            call = w.stub.CreateWorkload(options(count=4))
            while not w.cluster.core.workloads:
                await asyncio.sleep(0.01)
            call.cancel()
            while [one.state for one in w.cluster.core.workloads.values()] != ["running"] * 4:
                await asyncio.sleep(0.02)

    run(test)

"""The defects of Eru's core of 2024, each by its name, seen over its own wire: none of them is here.

Those of status numbers are in test_corerpc_node_client, those of certificates and of changes that are refused in
test_corerpc_nodes, that of passwords in logs in test_service_server.
"""

from __future__ import annotations

import asyncio
import json
import time

import grpc
import pytest
from corerpc_kit import all_of, options, packed, pb, world
from toy_service_kit import code_of, run

from backends.real.endpoints import Endpoint
from scheduler.invariants import check


def bound(cpu, memory=0):
    return {"cpumem": {"cpu-request": cpu, "cpu-bind": True, "memory-request": memory}}


async def resources_of(w, workload_id):
    return json.loads((await w.stub.GetWorkload(pb.WorkloadID(id=workload_id))).resources)["cpumem"]


def test_an_allocation_is_given_back_when_a_later_node_fails(tmp_path):
    async def test():
        async with world(tmp_path, nodes=3) as w:
            w.engines["n2"].refuses = True
            messages = await w.deploy(count=3, deploy_strategy=pb.DeployOptions.EACH, nodes_limit=3, resources=bound(1))
            by_node = {message.nodename: message for message in messages if message.success}
            assert {message.nodename for message in messages if message.success} == {"n0", "n1"}
            assert len(messages) == 9
            assert len(by_node) == 2
            usage = {}
            for one in await all_of(w.stub.GetPodResource(pb.GetPodOptions(name="pod"))):
                usage[one.name] = json.loads(one.resource_usage)["cpumem"]["cpu"]
            assert usage == {"n0": 3, "n1": 3, "n2": 0}
            assert check(w.cluster.core) is None

    run(test)


def test_candidates_are_counted_once_however_often_they_are_named(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            twice = pb.NodeFilter(includes=["n1", "n0", "n1", "n1"])
            most = await w.stub.CalculateCapacity(options(deploy_strategy=99, resources=bound(4), node_filter=twice))
            assert (most.total, dict(most.node_capacities)) == (4, {"n0": 2, "n1": 2})

    run(test)


def test_drained_fills_the_smallest_remainder_first(tmp_path):
    async def test():
        async with world(tmp_path, nodes=3) as w:
            for node, cores in (("n0", 2), ("n1", 5)):
                chosen = pb.NodeFilter(includes=[node])
                await w.deploy(name="before", resources=bound(cores), node_filter=chosen)
            messages = await w.deploy(count=5, deploy_strategy=pb.DeployOptions.DRAINED, resources=bound(1))
            nodes = [message.nodename for message in messages]
            assert sorted(nodes) == ["n0", "n0", "n1", "n1", "n1"]  # n1 has 3 cores left, n0 6, n2 8

    run(test)


def test_ties_are_not_drawn_by_lot(tmp_path):
    async def test():
        seen = []
        for number in range(3):
            async with world(tmp_path / str(number), nodes=4) as w:
                messages = await w.deploy(count=6, resources=bound(1.5))
                seen.append([(m.nodename, json.loads(m.resources)["cpumem"]["cpu_map"]) for m in messages])
        assert seen[0] == seen[1] == seen[2]

    run(test)


def test_core_two_comes_before_core_ten(tmp_path):
    async def test():
        async with world(tmp_path, nodes=0) as w:
            given = packed(cpumem={"cpu": 12, "memory": "8G"})
            plain = {"nodename": "n0", "podname": "pod", "endpoint": "mem://", "test": True}
            await w.stub.AddNode(pb.AddNodeOptions(resources=given, **plain))
            (message,) = await w.deploy(resources=bound(3))
            assert set(json.loads(message.resources)["cpumem"]["cpu_map"]) == {"0", "1", "2"}

    run(test)


def test_cpu_is_the_number_that_is_written(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            for cpu, pieces in ((0.29, 29), ("1.1", 110), (0.57, 57)):
                held = await resources_of(w, await w.one(resources=bound(cpu)))
                assert sum(held["cpu_map"].values()) == pieces

    run(test)


@pytest.mark.parametrize("cpu", [0.001, 0, -1, "1e300", 1e18])
def test_odd_amounts_of_cpu_are_refused_at_once(tmp_path, cpu):
    async def test():
        async with world(tmp_path) as w:
            (message,) = await w.deploy(resources=bound(cpu))
            assert not message.success
            assert message.error

    run(test, 30.0)


def test_memory_of_numa_nodes_is_shared_out_by_numa_nodes(tmp_path):
    async def test():
        async with world(tmp_path, nodes=0) as w:
            given = packed(cpumem={"cpu": 4, "memory": "8G", "numa-cpu": ["0,1", "2,3"]})
            plain = {"nodename": "n0", "podname": "pod", "endpoint": "mem://", "test": True}
            node = await w.stub.AddNode(pb.AddNodeOptions(resources=given, **plain))
            assert json.loads(node.resource_capacity)["cpumem"]["numa_memory"] == {"0": 4 << 30, "1": 4 << 30}
            # A realloc that moves to another NUMA node moves its memory too.
            workload_id = await w.one(resources=bound(1, "1G"))
            await w.one(resources=bound(1, "1G"), name="other")
            change = packed(cpumem={"cpu-bind": True, "cpu-request": 1})
            await w.stub.ReallocResource(pb.ReallocOptions(id=workload_id, resources=change))
            held = await resources_of(w, workload_id)
            assert held["numa_memory"] == {held["numa_node"]: 1 << 30}
            assert check(w.cluster.core) is None

    run(test)


def test_a_slow_removal_holds_up_nobody(tmp_path):
    """Eru removes from engines while it holds the lock of the pod."""

    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            w.engine_of(workload_id).stop_delay = 2.0
            removal = asyncio.create_task(
                all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            )
            while w.cluster.workloads.get(workload_id).state != "stopping":
                await asyncio.sleep(0.01)
            begun = time.monotonic()
            for _ in range(3):
                assert (await w.deploy(resources=bound(1)))[0].success
            assert time.monotonic() - begun < 1.5
            assert not removal.done()
            assert (await removal)[0].success

    run(test)


def test_work_over_two_pods_in_any_order_does_not_lock_up(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            await w.cluster.pools.add("second")
            await w.cluster.nodes.add("s0", "second", Endpoint(url="mem://", test=True))
            orders = [["n0", "s0"], ["s0", "n0"]] * 20
            asked = [w.deploy(node_filter=pb.NodeFilter(includes=order), resources={}) for order in orders]
            messages = await asyncio.wait_for(asyncio.gather(*asked), 20)
            assert all(message.success for (message,) in messages)

    run(test)


def test_very_many_requests_at_once_are_all_answered(tmp_path):
    """Eru waits for ever for the tasks that its full pool has not taken."""

    async def test():
        async with world(tmp_path) as w:
            asked = [w.deploy(count=3, resources={}) for _ in range(100)]
            answers = await asyncio.wait_for(asyncio.gather(*asked), 60)
            assert all(message.success for messages in answers for message in messages)
            listed = await all_of(w.stub.ListWorkloads(pb.ListWorkloadsOptions(appname="app")))
            assert len(listed) == 300
            ids = [workload.id for workload in listed]
            removed = await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=ids, force=True)))
            assert all(message.success for message in removed)
            assert check(w.cluster.core) is None

    run(test, 120.0)


def test_a_node_without_a_record_of_a_plugin_has_no_capacity_and_fails_nobody_else(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            given = packed(storage={"volumes": ["/data0:50G"]})
            plain = {"nodename": "disks", "podname": "pod", "endpoint": "mem://", "test": True}
            await w.stub.AddNode(pb.AddNodeOptions(resources=given, **plain))
            volumes = {"storage": {"volumes-request": ["AUTO:/data:rw:10G"]}}
            most = await w.stub.CalculateCapacity(options(deploy_strategy=99, resources=volumes))
            assert dict(most.node_capacities) == {"disks": 5}
            assert (await w.deploy(resources=volumes))[0].nodename == "disks"
            cards = {"gpu": {"prod_count_map": {"T4": 1}}}
            code, _ = await code_of(w.stub.CalculateCapacity(options(deploy_strategy=99, resources=cards)))
            assert code is grpc.StatusCode.UNKNOWN

    run(test)


def test_all_is_read_and_means_those_that_are_down_too(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            await w.stub.SetNode(pb.SetNodeOptions(nodename="n1", bypass=pb.TRUE))
            for everybody, names in ((False, {"n0"}), (True, {"n0", "n1"})):
                asked = pb.ListNodesOptions(podname="pod", all=everybody, skip_info=True)
                assert {node.name for node in await all_of(w.stub.ListPodNodes(asked))} == names
            # New work is never placed on what is down, whoever asks for it.
            messages = await w.deploy(count=2, node_filter=pb.NodeFilter(all=True))
            assert {message.nodename for message in messages} == {"n0"}

    run(test)

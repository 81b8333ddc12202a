"""Pods, nodes, networks and the streams of the service's and the nodes' statuses."""

from __future__ import annotations

import asyncio
import json

import grpc
from corerpc_kit import all_of, packed, pb, world
from toy_service_kit import code_of, run

from backends.real.endpoints import Endpoint

UNKNOWN = grpc.StatusCode.UNKNOWN  # what Python makes of Eru's numbers; the Node client sees them


def test_info_tells_what_this_is(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            info = await w.stub.Info(pb.Empty())
            assert info.identifier == w.cluster.core_id
            assert info.version
            assert info.golang_version.startswith("python 3.")
            assert "/" in info.os_arch

    run(test)


def test_the_service_says_where_it_is_again_and_again(tmp_path):
    async def test():
        async with world(tmp_path, address="10.0.0.1:5001", push_seconds=1.0) as w:
            call = w.stub.WatchServiceStatus(pb.Empty())
            for _ in range(2):
                status = await call.read()
                assert (list(status.addresses), status.interval_in_second) == (["10.0.0.1:5001"], 2)
            call.cancel()

    run(test)


def test_pods(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            assert (await w.stub.AddPod(pb.AddPodOptions(name="gpu", desc="cards"))).desc == "cards"
            assert (await w.stub.GetPod(pb.GetPodOptions(name="gpu"))).desc == "cards"
            assert [pod.name for pod in (await w.stub.ListPods(pb.Empty())).pods] == ["pod", "gpu"]
            for call in (
                w.stub.AddPod(pb.AddPodOptions(name="gpu")),
                w.stub.AddPod(pb.AddPodOptions(name="../x")),
                w.stub.AddPod(pb.AddPodOptions()),
                w.stub.GetPod(pb.GetPodOptions(name="none")),
                w.stub.RemovePod(pb.RemovePodOptions(name="pod")),
                w.stub.RemovePod(pb.RemovePodOptions(name="none")),
                w.stub.GetPodResource(pb.GetPodOptions(name="none")),
            ):
                assert (await code_of(call))[0] is UNKNOWN
            await w.stub.RemovePod(pb.RemovePodOptions(name="gpu"))
            assert [pod.name for pod in (await w.stub.ListPods(pb.Empty())).pods] == ["pod"]

    run(test)


def test_a_node_is_what_its_engine_says_unless_it_says_otherwise(tmp_path):
    async def test():
        async with world(tmp_path, nodes=0) as w:
            options = {"podname": "pod", "endpoint": "mem://", "test": True, "labels": {"zone": "a"}}
            node = await w.stub.AddNode(pb.AddNodeOptions(nodename="n0", **options))
            assert (node.name, node.podname, node.endpoint) == ("n0", "pod", "mem://")
            assert (node.available, node.bypass, node.test, dict(node.labels)) == (True, False, True, {"zone": "a"})
            capacity = json.loads(node.resource_capacity)
            assert capacity["cpumem"]["cpu"] == 8
            assert capacity["cpumem"]["memory"] == (32 << 30) * 4 // 5
            assert capacity["cpumem"]["numa"] == {str(core): str(core // 4) for core in range(8)}
            assert capacity["storage"]["storage"] == (100 << 30) * 4 // 5
            assert json.loads(node.info)["NCPU"] == 8
            given = packed(cpumem={"cpu": "0:100,1:200", "memory": "4G"}, storage={"volumes": ["/data:10G"]})
            node = await w.stub.AddNode(pb.AddNodeOptions(nodename="n1", resources=given, **options))
            capacity = json.loads(node.resource_capacity)
            assert capacity["cpumem"]["cpu_map"] == {"0": 100, "1": 200}
            assert capacity["cpumem"]["memory"] == 4 << 30
            assert capacity["storage"]["volumes"] == {"/data": 10 << 30}
            assert (await w.stub.GetNodeEngineInfo(pb.GetNodeOptions(nodename="n1"))).type == "memory"

    run(test)


def test_nodes_that_cannot_be(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            w.engines["dead"] = type(w.engines["n0"])("dead")
            w.engines["dead"].is_up = False
            plain = {"nodename": "n5", "podname": "pod", "endpoint": "mem://"}
            for fields, why in (
                ({"nodename": "n0"}, "there is one already"),
                ({"nodename": "a b"}, "node"),
                ({"podname": "none"}, "none"),
                ({"endpoint": "tcp://10.0.0.1:1"}, "endpoint"),
                ({"nodename": "dead"}, "does not answer"),
                ({"resources": {"cpumem": b"{"}}, "not JSON"),
                ({"resources": packed(cpumem={"memory": "much"})}, "memory"),
                ({"resources": packed(storage={"disks": [7]})}, "disks"),
            ):
                code, message = await code_of(w.stub.AddNode(pb.AddNodeOptions(**{**plain, **fields})))
                assert code is UNKNOWN
                assert why in message
            assert list(w.cluster.core.cluster.by_id) == ["n0"]
            assert list(w.cluster.liveness.endpoints) == ["n0"]

    run(test)


def test_lists_of_nodes(tmp_path):
    async def test():
        async with world(tmp_path, nodes=2) as w:
            await w.cluster.pools.add("other")
            await w.cluster.nodes.add("o0", "other", Endpoint(url="mem://", test=True), labels={"zone": "b"})
            await w.cluster.nodes.add("down", "pod", Endpoint(url="mem://"))

            async def names(**fields):
                return sorted([node.name for node in await all_of(w.stub.ListPodNodes(pb.ListNodesOptions(**fields)))])

            assert await names() == ["n0", "n1", "o0"]
            assert await names(all=True) == ["down", "n0", "n1", "o0"]
            assert await names(podname="pod") == ["n0", "n1"]
            assert await names(podname="pod", all=True) == ["down", "n0", "n1"]
            assert await names(labels={"zone": "b"}) == ["o0"]
            (quick,) = await all_of(w.stub.ListPodNodes(pb.ListNodesOptions(podname="other", skip_info=True)))
            assert quick.info == ""
            w.engines["o0"].is_up = False
            (silent,) = await all_of(w.stub.ListPodNodes(pb.ListNodesOptions(podname="other")))
            assert "does not answer" in silent.info
            assert (await code_of(w.stub.ListPodNodes(pb.ListNodesOptions(podname="none"))))[0] is UNKNOWN

    run(test)


def test_set_node_changes_what_is_given_and_keeps_the_rest(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            await w.cluster.nodes.change("n0", labels={"a": "b"})

            async def set_node(**fields):
                return await w.stub.SetNode(pb.SetNodeOptions(nodename="n0", **fields))

            kept = await set_node()
            assert (kept.bypass, dict(kept.labels), kept.endpoint) == (False, {"a": "b"}, "mem://")
            assert (await set_node(bypass=pb.TRUE)).bypass
            assert (await set_node(labels={"c": "d"})).bypass  # KEEP
            node = await set_node(bypass=pb.FALSE)
            assert (node.bypass, dict(node.labels)) == (False, {"c": "d"})
            grown = await set_node(resources=packed(cpumem={"memory": "1G", "cpu": {"8": 100}}), delta=True)
            capacity = json.loads(grown.resource_capacity)["cpumem"]
            assert capacity["memory"] == (32 << 30) * 4 // 5 + (1 << 30)
            assert "8" in capacity["cpu_map"]
            back = await set_node(resources=packed(cpumem={"memory": "8G"}))
            assert json.loads(back.resource_capacity)["cpumem"]["memory"] == 8 << 30
            assert len(json.loads(back.resource_capacity)["cpumem"]["cpu_map"]) == 9
            for fields in (
                {"resources": packed(cpumem={"memory": "-99G"}), "delta": True},
                {"resources": packed(cpumem={"cpu": "x:y"})},
                {"endpoint": "tcp://10.0.0.1:1"},
            ):
                before = await w.stub.GetNode(pb.GetNodeOptions(nodename="n0"))
                asked = pb.SetNodeOptions(nodename="n0", labels={"new": "label"}, **fields)
                assert (await code_of(w.stub.SetNode(asked)))[0] is UNKNOWN
                # What is refused changes nothing, not even in part.
                assert await w.stub.GetNode(pb.GetNodeOptions(nodename="n0")) == before
            assert (await code_of(w.stub.SetNode(pb.SetNodeOptions(nodename="n9"))))[0] is UNKNOWN

    run(test)


def test_certificates_stay_where_they_are_put(tmp_path):
    """Eru's core swaps certificate and key when it connects anew."""

    async def test():
        async with world(tmp_path, nodes=1) as w:
            await w.stub.SetNode(pb.SetNodeOptions(nodename="n0", ca="CA", cert="CERT", key="KEY"))
            endpoint = w.cluster.liveness.endpoints["n0"]
            assert (endpoint.ca, endpoint.cert, endpoint.key) == ("CA", "CERT", "KEY")
            await w.stub.SetNode(pb.SetNodeOptions(nodename="n0", cert="CERT2"))
            endpoint = w.cluster.liveness.endpoints["n0"]
            assert (endpoint.ca, endpoint.cert, endpoint.key) == ("CA", "CERT2", "KEY")
            node = await w.stub.GetNode(pb.GetNodeOptions(nodename="n0"))
            assert "KEY" not in str(node)

    run(test)


def test_workloads_of_a_node_are_marked_down(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            await w.stub.SetNode(pb.SetNodeOptions(nodename="n0", workloads_down=True))
            (status,) = (await w.stub.GetWorkloadsStatus(pb.WorkloadIDs(IDs=[workload_id]))).status
            assert (status.running, status.healthy, status.nodename) == (False, False, "n0")

    run(test)


def test_what_is_used_and_what_is_wrong_with_it(tmp_path):
    async def test():
        async with world(tmp_path, nodes=2) as w:
            workload_id = await w.one(resources={"cpumem": {"cpu-request": 2, "cpu-bind": True}})
            node_id = w.cluster.workloads.place(workload_id).node_id
            found = {one.name: one for one in await all_of(w.stub.GetPodResource(pb.GetPodOptions(name="pod")))}
            assert set(found) == {"n0", "n1"}
            assert json.loads(found[node_id].resource_usage)["cpumem"]["cpu"] == 2
            assert list(found[node_id].diffs) == []
            opts = pb.GetNodeOptions(nodename=node_id)
            same = await w.stub.GetNodeResource(pb.GetNodeResourceOptions(opts=opts))
            assert same == found[node_id]
            w.engines[node_id].boxes.clear()
            lost = await w.stub.GetNodeResource(pb.GetNodeResourceOptions(opts=opts, fix=True))
            assert list(lost.diffs) == [f"workload {workload_id}: its engine does not have it"]
            unknown = pb.GetNodeResourceOptions(opts=pb.GetNodeOptions(nodename="n9"))
            assert (await code_of(w.stub.GetNodeResource(unknown)))[0] is UNKNOWN

    run(test)


def test_a_node_with_work_is_not_removed(tmp_path):
    async def test():
        async with world(tmp_path, nodes=1) as w:
            workload_id = await w.one()
            code, why = await code_of(w.stub.RemoveNode(pb.RemoveNodeOptions(nodename="n0")))
            assert code is UNKNOWN
            assert "1 workloads" in why
            await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=[workload_id], force=True)))
            await w.stub.RemoveNode(pb.RemoveNodeOptions(nodename="n0"))
            assert (await code_of(w.stub.GetNode(pb.GetNodeOptions(nodename="n0"))))[0] is UNKNOWN

    run(test)


def test_leases_of_nodes_are_seen_by_watchers(tmp_path):
    async def test():
        async with world(tmp_path, nodes=0) as w:
            await w.cluster.nodes.add("n0", "pod", Endpoint(url="mem://"))
            watching = w.stub.NodeStatusStream(pb.Empty())
            seen = []

            async def watch():
                async for message in watching:
                    seen.append((message.nodename, message.podname, message.alive))  # noqa: PERF401 (seen as it comes)

            task = asyncio.create_task(watch())
            while not w.server.open_calls:
                await asyncio.sleep(0.01)

            async def beat(ttl):
                await w.stub.SetNodeStatus(pb.SetNodeStatusOptions(nodename="n0", ttl=ttl))

            async def alive():
                return (await w.stub.GetNodeStatus(pb.GetNodeStatusOptions(nodename="n0"))).alive

            assert not await alive()
            await beat(60)
            await beat(60)  # a renewal is no news
            assert await alive()
            await w.one()  # and now it takes work
            await beat(-1)
            assert not await alive()
            await beat(1)
            while len(seen) < 4:
                await asyncio.sleep(0.05)
            assert seen == [("n0", "pod", True), ("n0", "pod", False)] * 2
            (message,) = await w.deploy()
            assert not message.success
            workloads = [workload.workload_id for workload in w.cluster.workloads.list()]
            await all_of(w.stub.RemoveWorkload(pb.RemoveWorkloadOptions(IDs=workloads, force=True)))
            await beat(60)
            await w.stub.RemoveNode(pb.RemoveNodeOptions(nodename="n0"))
            while len(seen) < 6:
                await asyncio.sleep(0.05)
            assert seen[-1] == ("n0", "pod", False)
            await w.cluster.nodes.add("n0", "pod", Endpoint(url="mem://"))
            for ttl in (0, 2**40):
                asked = pb.SetNodeStatusOptions(nodename="n0", ttl=ttl)
                assert (await code_of(w.stub.SetNodeStatus(asked)))[0] is UNKNOWN
            asked = pb.SetNodeStatusOptions(nodename="n9", ttl=5)
            assert (await code_of(w.stub.SetNodeStatus(asked)))[0] is UNKNOWN
            watching.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_networks(tmp_path):
    async def test():
        async with world(tmp_path) as w:
            workload_id = await w.one()
            networks = await w.stub.ListNetworks(pb.ListNetworkOptions(podname="pod"))
            assert [network.name for network in networks.networks] == ["bridge", "host"]
            networks = await w.stub.ListNetworks(pb.ListNetworkOptions(podname="pod", driver="bridge"))
            assert [(network.name, list(network.subnets)) for network in networks.networks] == [
                ("bridge", ["172.17.0.0/16"])
            ]
            joined = await w.stub.ConnectNetwork(pb.ConnectNetworkOptions(network="calico", target=workload_id))
            assert (joined.name, list(joined.subnets)) == ("calico", ["10.0.0.7"])
            await w.stub.DisconnectNetwork(pb.DisconnectNetworkOptions(network="calico", target=workload_id))
            assert w.box_of(workload_id).networks == {}
            for call in (
                w.stub.ListNetworks(pb.ListNetworkOptions(podname="none")),
                w.stub.ConnectNetwork(pb.ConnectNetworkOptions(network="nowhere", target=workload_id)),
                w.stub.ConnectNetwork(pb.ConnectNetworkOptions(network="calico")),
                w.stub.ConnectNetwork(pb.ConnectNetworkOptions(target=workload_id)),
                w.stub.DisconnectNetwork(pb.DisconnectNetworkOptions(network="calico", target=workload_id)),
                w.stub.DisconnectNetwork(pb.DisconnectNetworkOptions(network="calico", target="nobody")),
            ):
                assert (await code_of(call))[0] is UNKNOWN

    run(test)

"""What Eru's messages say, as our own words; hostile ones are refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.real.engines.base import EngineInfo
from backends.real.errors import Rejected
from backends.real.service.corerpc.books import NodeBooks, node_capacity, node_usage, workload_resources
from backends.real.service.corerpc.deploy import read_deployment
from backends.real.service.corerpc.errors import NUMBERS, WireError
from backends.real.service.corerpc.frames import (
    CloseInput,
    Garbage,
    Input,
    Lines,
    Resize,
    exit_frame,
    read_input,
)
from backends.real.service.corerpc.resources import Demand, ResourceWire
from backends.real.service.paths import confined
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.template import File, HealthCheck
from scheduler.plugins.registry import make_plugin
from scheduler.ports import NodeSlots

GIB = 1 << 30
WIRE = ResourceWire(
    ("memory", "storage", "bandwidth"), ("cpu", "storage", "gpu", "affinity"), ("cpu", "storage", "gpu")
)
PLAIN = ResourceWire(("cpu", "memory"), (), ())


def packed(**plugins):
    return {name: value if isinstance(value, bytes) else json.dumps(value).encode() for name, value in plugins.items()}


def options(**fields):
    entrypoint = fields.pop("entrypoint", {"name": "web"})
    plain = {"name": "app", "podname": "pod", "image": "nginx", "count": 1, **fields}
    return pb.DeployOptions(entrypoint=pb.EntrypointOptions(**entrypoint), **plain)


# Resources of workloads


def test_cpumem_is_cpu():
    resources = {
        "cpu-request": 1.2,
        "cpu-limit": 2,
        "memory-request": "512M",
        "memory-limit": 1 << 30,
        "cpu-bind": True,
    }
    demand = WIRE.demand(packed(cpumem=resources))
    assert demand == Demand(
        (0, 0, 0),
        {"cpu": {"bind": True, "cpu_request": 1.2, "cpu_limit": 2, "memory_request": "512M", "memory_limit": GIB}},
    )
    parsed = make_plugin("cpu").parse(demand.payloads["cpu"])
    assert parsed["cpu_request"] == 2  # bound work reserves all it may use
    assert parsed["memory_request"] == 512 << 20


def test_numbers_come_as_eru_s_clients_write_them():
    resources = {"cpu-request": "0.29", "cpu-limit": "", "memory-request": 536870912.0, "memory-limit": None}
    assert WIRE.demand(packed(cpumem=resources)).payloads["cpu"] == {
        "cpu_request": "0.29",
        "memory_request": 536870912,
    }


@pytest.mark.parametrize(
    ("value", "is_bound"), [(True, True), (False, False), ("", True), ("true", True), ("false", False), (None, False)]
)
def test_a_flag_is_given_or_says_false(value, is_bound):
    demand = WIRE.demand(packed(cpumem={"cpu-bind": value, "cpu-request": 1}))
    assert demand.payloads["cpu"].get("bind", False) is is_bound


def test_unknown_names_are_skipped():
    demand = WIRE.demand(packed(bogus={"x": 1}, cpumem={"cpu-request": 1, "colour": "red"}, storage={}, gpu={}))
    assert demand == Demand((0, 0, 0), {"cpu": {"cpu_request": 1}})
    assert WIRE.demand({"bogus": b"\xff not json"}) == Demand((0, 0, 0), {"cpu": {}})


def test_our_own_plugins_and_dimensions_take_their_own_payloads():
    affinity = {"required": [{"key": "app", "values": ["web"]}]}
    demand = WIRE.demand(packed(affinity=affinity, bandwidth="1G", cpu={"cpu_request": 2, "numa_nodes": 1}))
    assert demand.request == (0, 0, GIB)
    assert demand.payloads == {"affinity": affinity, "cpu": {"cpu_request": 2, "numa_nodes": 1}}


def test_storage_by_any_of_eru_s_names():
    volume, limit = "AUTO:/data:rw:10G", "AUTO:/data:rw:20G"
    for request_name in ("volumes-request", "volume-request"):
        for limit_name in ("volumes", "volume", "volume-limit", "volumes-limit"):
            demand = WIRE.demand(packed(storage={request_name: [volume], limit_name: [limit], "storage-request": "1G"}))
            assert demand.payloads["storage"] == {"volumes": [volume], "volume_limits": [limit], "storage": "1G"}
    only_limit = WIRE.demand(packed(storage={"volumes": [volume], "storage": "5G"}))
    assert only_limit.payloads["storage"] == {"volumes": [volume], "storage": "5G", "storage_limit": "5G"}
    make_plugin("storage").parse(only_limit.payloads["storage"])


def test_what_asks_nothing_of_storage_needs_no_storage():
    resources = packed(storage={"storage-request": 0, "volumes-request": [], "storage-limit": "0"})
    assert WIRE.demand(resources).payloads == {"cpu": {}}


def test_gpus_by_model():
    demand = WIRE.demand(packed(gpu={"prod_count_map": {"T4": 2.0}}))
    assert demand.payloads["gpu"] == {"prod_count_map": {"T4": 2.0}} or demand.payloads["gpu"]["prod_count_map"]


def test_a_core_without_cores_counts_them():
    demand = PLAIN.demand(
        packed(cpumem={"cpu-request": 1.5, "memory-request": "1G"}, storage={"storage-request": "1G"})
    )
    assert demand == Demand((1500, GIB), {})
    with pytest.raises(WireError, match="does not bind"):
        PLAIN.demand(packed(cpumem={"cpu-request": 1, "cpu-bind": True}))


def test_a_change_is_a_difference_and_leaves_alone_what_it_does_not_name():
    change = WIRE.change(packed(storage={"storage-request": "-1G"}))
    assert change == Demand((0, 0, 0), {"storage": {"storage": "-1G"}})
    assert WIRE.change({}).payloads == {}
    # Eru unbinds unless told to keep: an empty cpumem does.
    assert WIRE.change(packed(cpumem={})).payloads == {"cpu": {}}
    kept = WIRE.change(packed(cpumem={"keep-cpu-bind": True, "cpu-request": -0.5}))
    assert kept.payloads == {"cpu": {"keep_bind": True, "cpu_request": -0.5}}
    cpu = make_plugin("cpu")
    bound = cpu.parse({"bind": True, "cpu_request": 2})
    assert cpu.merge(bound, kept.payloads["cpu"])["bind"] is True
    assert cpu.merge(bound, {})["bind"] is False


@pytest.mark.parametrize(
    ("plugin", "text", "problem"),
    [
        ("cpumem", b"{", "not JSON"),
        ("cpumem", b"[]", "must be an object"),
        ("cpumem", b'"x"', "must be an object"),
        ("cpumem", b"[" * 100_000, "not JSON"),
        ("cpumem", b" " * (1 << 21), "are more than"),
        ("storage", b'{"volumes": [1]}', "list of texts"),
        ("storage", b'{"volumes": {"a": 1}}', "list of texts"),
        ("bandwidth", b'"much"', "not a size"),
        ("bandwidth", b"{}", "must be a whole number"),
    ],
)
def test_what_is_wrong_with_resources_is_named(plugin, text, problem):
    with pytest.raises(WireError, match=problem) as caught:
        WIRE.demand({plugin: text})
    assert f"resources.{plugin}" in str(caught.value)


# Resources of nodes


INFO = EngineInfo(
    kind="test",
    version="1",
    cpus=("0", "1", "2", "3"),
    memory_bytes=10 * GIB,
    storage_bytes=100 * GIB,
    numa={"0": ("0", "1"), "1": ("2", "3")},
)


def test_a_node_that_says_nothing_is_what_its_engine_says():
    supply = WIRE.node({}, INFO)
    assert supply.resources["cpu"] == {
        "cores": {"0": 100, "1": 100, "2": 100, "3": 100},
        "memory": 8 * GIB,
        "numa": {"0": ["0", "1"], "1": ["2", "3"]},
    }
    assert supply.resources["storage"] == {"storage": 80 * GIB}
    assert PLAIN.node({}, INFO).capacity == {"cpu": 4000, "memory": 8 * GIB}
    make_plugin("cpu").inventory(supply.resources["cpu"], {}, {})


def test_what_a_node_says_goes_before_what_its_engine_says():
    wire = {"cpu": "0:100,1:200", "memory": "4G", "numa-cpu": ["0", "1"], "numa-memory": ["1G", "2G"]}
    supply = WIRE.node(packed(cpumem=wire, storage={"storage": "1G"}, gpu={"prod_count_map": {"T4": 1}}), INFO)
    assert supply.resources == {
        "cpu": {"cores": ["0:100", "1:200"], "memory": "4G", "numa": ["0", "1"], "numa_memory": ["1G", "2G"]},
        "storage": {"storage": "1G"},
        "gpu": {"prod_count_map": {"T4": 1}},
    }
    inventory = make_plugin("cpu").inventory(supply.resources["cpu"], {}, {})
    assert inventory is not None
    assert inventory.slots[:2] == ("0", "1")
    assert WIRE.node(packed(cpumem={"cpu": 8, "share": 200}), None).resources["cpu"] == {"cores": 8, "share": 200}
    assert WIRE.node(packed(cpumem={"cpu": "8"}), INFO).resources["cpu"] == {"cores": 8, "memory": 8 * GIB}
    assert set(WIRE.node(packed(cpumem={"share": 50}), INFO).resources["cpu"]["cores"].values()) == {50}


def test_storage_of_a_node():
    wire = {
        "volumes": ["/data0:50G", "/data1:20G"],
        "disks": ["/dev/sda:/data0,/data1:100:200:1M:2M", {"device": "/dev/sdb", "read_IOPS": 5}],
        "rm-disks": "/dev/sdc,/dev/sdd",
    }
    payload = WIRE.node_change(packed(storage=wire)).resources["storage"]
    assert payload == {
        "volumes": {"/data0": "50G", "/data1": "20G"},
        "disks": [
            {
                "device": "/dev/sda",
                "mounts": ["/data0", "/data1"],
                "read_iops": "100",
                "write_iops": "200",
                "read_bps": "1M",
                "write_bps": "2M",
            },
            {"device": "/dev/sdb", "read_iops": 5},
        ],
        "remove_disks": ["/dev/sdc", "/dev/sdd"],
    }
    del payload["remove_disks"]
    assert make_plugin("storage").inventory(payload, {}, {}) is not None


@pytest.mark.parametrize(
    ("plugin", "wire", "problem"),
    [
        ("cpumem", {"cpu": "many"}, "whole number"),
        ("cpumem", {"cpu": True}, None),
        ("cpumem", {"cpu": 1.5}, "count of cores"),
        ("cpumem", {"numa-cpu": {"0": "1"}}, "list of texts"),
        ("cpumem", {"numa-memory": "1G"}, "list of sizes"),
        ("storage", {"volumes": ["/data"]}, "device:size"),
        ("storage", {"disks": "x"}, "must be a list"),
        ("storage", {"disks": ["/dev/sda:x"]}, "read_iops"),
        ("cpu", 1, "must be an object"),
        ("gpu", [], "must be an object"),
    ],
)
def test_what_is_wrong_with_a_node_is_named(plugin, wire, problem):
    if problem is None:
        WIRE.node(packed(**{plugin: wire}), None)
        return
    with pytest.raises(WireError, match=problem):
        WIRE.node(packed(**{plugin: wire}), None)


# The books, as Eru writes them


def test_the_books_of_a_node():
    cpu, storage, gpu = (make_plugin(name) for name in ("cpu", "storage", "gpu"))
    inventories = {
        "cpu": cpu.inventory({"cores": 4, "memory": 4 * GIB, "numa": ["0-1", "2-3"]}, {}, {}),
        "storage": storage.inventory(
            {"volumes": {"/data0": 100}, "disks": [{"device": "/dev/sda", "mounts": ["/data0"], "read_iops": 7}]},
            {},
            {},
        ),
        "gpu": gpu.inventory({"prod_count_map": {"T4": 2}}, {}, {}),
    }
    slots_used = {name: [0] * len(one.slots) for name, one in inventories.items()}
    slots_used["cpu"][0], slots_used["cpu"][-1] = 50, 150
    slots_used["gpu"][0] = 500
    totals = {"memory": 4 * GIB, "storage": 100, "bandwidth": 9}
    books = NodeBooks(totals, {"memory": GIB, "storage": 3, "bandwidth": 1}, inventories, slots_used)
    capacity, usage = json.loads(node_capacity(books)), json.loads(node_usage(books))
    assert capacity["cpumem"] == {
        "cpu": 4,
        "cpu_map": {"0": 100, "1": 100, "2": 100, "3": 100},
        "memory": 4 * GIB,
        "numa_memory": {"0": 2 * GIB, "1": 2 * GIB},
        "numa": {"0": "0", "1": "0", "2": "1", "3": "1"},
    }
    assert usage["cpumem"]["cpu"] == 1.5
    assert usage["cpumem"]["cpu_map"]["0"] == 50
    assert usage["cpumem"]["memory"] == GIB
    assert capacity["storage"]["volumes"] == {"/data0": 100}
    assert capacity["storage"]["disks"] == [
        {"device": "/dev/sda", "mounts": ["/data0"], "read_IOPS": 7, "write_IOPS": 0, "read_bps": 0, "write_bps": 0}
    ]
    assert (capacity["storage"]["storage"], usage["storage"]["storage"]) == (100, 3)
    assert (capacity["gpu"], usage["gpu"]) == ({"prod_count_map": {"T4": 2}}, {"prod_count_map": {"T4": 0.5}})
    assert (capacity["bandwidth"], usage["bandwidth"]) == (9, 1)
    plain = json.loads(node_capacity(NodeBooks({"cpu": 4000, "memory": 5}, {}, {}, {})))
    assert plain == {"cpumem": {"cpu": 4, "memory": 5}}


def test_what_a_workload_holds():
    cpu = make_plugin("cpu")
    inventory = cpu.inventory({"cores": 4, "memory": 4 * GIB, "numa": ["0-1", "2-3"]}, {}, {})
    payload = cpu.parse({"bind": True, "cpu_request": 1.5, "memory_request": GIB})
    (held,) = cpu.assign(payload, NodeSlots(inventory, list(inventory.total)), 1)
    written = json.loads(workload_resources({"memory": GIB}, {"cpu": payload}, {"cpu": held}))
    assert written["cpumem"]["cpu_request"] == 1.5
    assert sorted(written["cpumem"]["cpu_map"].values()) == [50, 100]
    assert written["cpumem"]["numa_memory"] == {"0": GIB}
    assert written["cpumem"]["numa_node"] == "0"
    plain = json.loads(workload_resources({"cpu": 1500, "memory": 7}, {}, {}))
    assert plain["cpumem"] == {"cpu_request": 1.5, "cpu_limit": 0, "memory_request": 7, "memory_limit": 0}


# Deployments


def test_a_deployment_with_everything():
    read = read_deployment(
        options(
            entrypoint={
                "name": "web",
                "commands": ["nginx", "-g", "daemon off;"],
                "privileged": True,
                "dir": "/srv",
                "log": pb.LogOptions(type="journald", config={"tag": "x"}),
                "publish": ["80", "443/tcp"],
                "healthcheck": pb.HealthCheckOptions(tcp_ports=["80"], http_port="81", url="ok", code=204),
                "hook": pb.HookOptions(after_start=["a"], before_stop=["b"], force=True),
                "restart": "on-failure:3",
                "sysctls": {"net.core.somaxconn": "1024"},
            },
            count=3,
            extra_args="--level 'very high'",
            env=["A=1"],
            dns=["9.9.9.9"],
            extra_hosts=["a:10.0.0.1"],
            networks={"calico": "10.1.1.1", "host": ""},
            user="www",
            labels={"tier": "front"},
            data={"/etc/nginx//nginx.conf": b"conf"},
            modes={"/etc/nginx//nginx.conf": pb.FileMode(mode=0o600)},
            owners={"/etc/nginx//nginx.conf": pb.FileOwner(uid=33, gid=34)},
            after_create=["c"],
            raw_args=b'{"cap_add": ["NET_ADMIN"]}',
            deploy_strategy=pb.DeployOptions.FILL,
            nodes_limit=2,
            ignore_pull=True,
            resources=packed(cpumem={"cpu-request": 1}),
            node_filter=pb.NodeFilter(excludes=["n1", "n1"], labels={"zone": "a"}, all=True),
        ),
        WIRE,
    )
    assert (read.app, read.entrypoint, read.pool, read.image, read.count) == ("app", "web", "pod", "nginx", 3)
    assert (read.strategy, read.nodes_limit) == ("fill", 2)
    assert read.nodes == ((), ("n1",), {"zone": "a"}, True)
    assert read.demand.payloads == {"cpu": {"cpu_request": 1}}
    template = read.template
    assert template.command == ("nginx", "-g", "daemon off;", "--level", "very high")
    assert template.env == ("A=1", "APP_NAME=app", "ERU_POD=pod")
    assert (template.working_dir, template.user, template.is_privileged) == ("/srv", "www", True)
    assert (template.log, template.log_options) == ("journald", {"tag": "x"})
    assert template.publish == ("80", "443")
    assert template.health == HealthCheck(tcp_ports=(80,), http_port=81, http_path="/ok", http_code=204)
    assert template.hooks.after_create == ("c",)
    assert (template.hooks.after_start, template.hooks.before_stop, template.hooks.force) == (("a",), ("b",), True)
    assert template.restart == "on-failure:3"
    assert template.networks == {"calico": "10.1.1.1", "host": ""}
    assert template.files == {"/etc/nginx/nginx.conf": File(content=b"conf", mode=0o600, uid=33, gid=34)}
    assert template.engine == {"cap_add": ["NET_ADMIN"]}
    assert template.pull == "never"


def test_the_older_fields_still_count():
    read = read_deployment(
        options(entrypoint={"name": "web", "command": "sh -c 'exit 7'"}, nodenames=["n1"], nodelabels={"a": "b"}), WIRE
    )
    assert read.template.command == ("sh", "-c", "exit 7")
    assert read.nodes == (("n1",), (), {"a": "b"}, False)
    newer = options(nodenames=["n1"], node_filter=pb.NodeFilter(includes=["n2"]))
    assert read_deployment(newer, WIRE).nodes.includes == ("n2",)


def test_debug_leaves_the_log_driver_to_the_engine():
    entry = {"name": "web", "log": pb.LogOptions(type="journald", config={"tag": "x"})}
    template = read_deployment(options(entrypoint=entry, debug=True), WIRE).template
    assert (template.log, template.log_options) == ("", {})


def test_hooks_do_not_force_when_they_are_to_be_ignored():
    entry = {"name": "web", "hook": pb.HookOptions(after_start=["a"], force=True)}
    assert not read_deployment(options(entrypoint=entry, ignore_hook=True), WIRE).template.hooks.force


@pytest.mark.parametrize(("text", "policy"), [("", "no"), ("always:3", "always"), ("on-failure", "on-failure")])
def test_restart_policies(text, policy):
    read = read_deployment(options(entrypoint={"name": "web", "restart": text}), WIRE)
    assert read.template.restart == policy


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, "name: it is missing"),
        ({"name": "../x"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"entrypoint": {"name": ""}}, "entrypoint.name: it is missing"),
        ({"entrypoint": {"name": "a_b"}}, "must not contain '_'"),
        ({"podname": ""}, "podname: it is missing"),
        ({"image": ""}, "image: it is missing"),
        ({"count": 0}, "count: 0"),
        ({"count": -1}, "count: -1"),
        ({"count": 10_001}, "count: 10001"),
        ({"deploy_strategy": 99}, "deploy_strategy: 99"),
        ({"deploy_strategy": 7}, "deploy_strategy: 7"),
        ({"nodes_limit": -1}, "nodes_limit"),
        ({"env": ["A=\0"]}, "env: it must not contain a NUL"),
        ({"networks": {"x": "10.0.0.300"}}, "networks.x"),
        ({"dns": ["nowhere"]}, "dns"),
        ({"data": {"etc/x": b""}}, "must be absolute"),
        ({"data": {"/etc/../../x": b""}}, "no '..'"),
        ({"data": {"/": b""}}, "below /"),
        ({"data": {"/x": b""}, "modes": {"/x": {"mode": 0o17777}}}, "no file mode"),
        ({"data": {"/x": b""}, "owners": {"/x": {"uid": -1}}}, "owners"),
        ({"raw_args": b"[]"}, "raw_args"),
        ({"raw_args": b"[" * 100_000}, "raw_args"),
        ({"extra_args": "'"}, "extra_args"),
        ({"entrypoint": {"name": "a", "command": "sh -c 'x"}}, "entrypoint.command"),
        ({"entrypoint": {"name": "a", "restart": "sometimes"}}, "entrypoint.restart"),
        ({"entrypoint": {"name": "a", "publish": ["0"]}}, "entrypoint.publish"),
        ({"entrypoint": {"name": "a", "healthcheck": {"tcp_ports": ["x"]}}}, "tcp_ports"),
        ({"entrypoint": {"name": "a", "healthcheck": {"http_port": "1", "code": 7}}}, "code"),
    ],
)
def test_what_is_wrong_with_a_deployment_is_named(fields, problem):
    with pytest.raises((WireError, Rejected), match=problem):
        read_deployment(options(**fields), WIRE)


def test_an_entrypoint_is_needed():
    with pytest.raises(WireError, match="entrypoint: it is missing"):
        read_deployment(pb.DeployOptions(name="a", podname="p", image="i", count=1), WIRE)


def test_capacity_needs_neither_image_nor_strategy():
    asked = options(image="", count=0, deploy_strategy=99)
    read = read_deployment(asked, WIRE, is_capacity=True)
    assert (read.strategy, read.count) == (None, 1)


# Frames


def test_frames_of_the_terminal():
    assert read_input(b"ls\n") == Input(b"ls\n")
    assert read_input(b"") == Input(b"")
    assert read_input(b'\x80{"Row": 40, "Col": 120}') == Resize(40, 120)
    assert read_input(b"\x1d") == CloseInput()
    assert read_input(b"\x1dmore") == CloseInput()
    for broken in (b"\x80", b"\x80{}", b'\x80{"Row": -1, "Col": 5}', b'\x80{"Row": 1e9, "Col": 5}', b"\x80[]"):
        assert read_input(broken) == Garbage()
    assert exit_frame(7) == b"[exitcode] 7"


@given(st.binary())
def test_any_input_is_read(data):
    assert read_input(data) is not None


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20))
def test_lines_lose_nothing(pieces, limit):
    lines = Lines(limit)
    out = [line for piece in pieces for line in lines.add(piece)]
    out += lines.end()
    assert b"".join(out) == b"".join(pieces)
    assert all(b"\n" not in line[:-1] for line in out)


# Paths


@given(st.text(max_size=60))
def test_a_path_stays_below_the_root(path):
    try:
        short = confined(f"/{path}")
    except Rejected:
        return
    assert short.startswith("/")
    assert not short.startswith("//")
    assert ".." not in short.split("/")
    assert short != "/"
    assert confined(short) == short


# Hostile messages

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "cpu-bind",
        "keep-cpu-bind",
        "cpu-request",
        "cpu-limit",
        "memory-request",
        "memory-limit",
        "numa-nodes",
        "volumes",
        "volumes-request",
        "storage",
        "storage-limit",
        "prod_count_map",
        "cpu",
        "share",
        "memory",
        "numa-cpu",
        "numa-memory",
        "disks",
        "rm-disks",
        "count",
        "milli",
    ]
)
PLUGINS = st.sampled_from(["cpumem", "storage", "gpu", "cpu", "affinity", "bandwidth", "memory", "bogus"])
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
TEXTS = (OBJECTS | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)
RESOURCES = st.dictionaries(PLUGINS, TEXTS, max_size=4)


def check_refusal(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 5000


@given(RESOURCES)
def test_hostile_resources_are_refused_or_read(resources):
    for wire in (WIRE, PLAIN):
        for read in (wire.demand, wire.change, wire.node_change, lambda given, wire=wire: wire.node(given, INFO)):
            try:
                found = read(resources)
            except WireError as error:
                check_refusal(error)
                continue
            payloads = found.payloads if isinstance(found, Demand) else found.resources
            for name, payload in payloads.items():
                plugin = make_plugin(name)
                try:
                    if isinstance(found, Demand):
                        plugin.parse(payload)
                    else:
                        plugin.inventory(payload, {}, {})
                except ValueError as error:
                    check_refusal(error)


TEXT = st.text(max_size=12)
ENTRYPOINTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["web", "", "a_b"]) | TEXT},
    optional={
        "command": TEXT,
        "commands": st.lists(TEXT, max_size=3),
        "restart": TEXT,
        "publish": st.lists(TEXT, max_size=2),
        "healthcheck": st.fixed_dictionaries(
            {},
            optional={
                "tcp_ports": st.lists(TEXT, max_size=2),
                "http_port": TEXT,
                "url": TEXT,
                "code": st.integers(0, 700),
            },
        ),
    },
)
OPTIONS = st.fixed_dictionaries(
    {"name": st.just("app") | TEXT, "podname": st.just("pod"), "image": TEXT, "count": st.integers(-2, 20_000)},
    optional={
        "entrypoint": ENTRYPOINTS,
        "extra_args": TEXT,
        "env": st.lists(TEXT, max_size=3),
        "dns": st.lists(TEXT, max_size=2),
        "networks": st.dictionaries(TEXT, TEXT, max_size=2),
        "data": st.dictionaries(TEXT.map(lambda path: f"/{path}"), st.binary(max_size=5), max_size=2),
        "modes": st.dictionaries(TEXT, st.fixed_dictionaries({"mode": st.integers(-(2**63), 2**63 - 1)}), max_size=2),
        "raw_args": st.binary(max_size=20),
        "deploy_strategy": st.sampled_from([0, 1, 2, 3, 4, 5, 99, -1]),
        "nodes_limit": st.integers(-(2**31), 2**31 - 1),
        "resources": RESOURCES,
    },
)


@given(OPTIONS, st.booleans())
def test_hostile_deployments_are_refused_or_read(fields, is_capacity):
    try:
        read = read_deployment(pb.DeployOptions(**fields), WIRE, is_capacity=is_capacity)
    except WireError as error:
        check_refusal(error)
        return
    assert read.template.encode()


def test_every_method_that_can_fail_has_a_number_of_its_own():
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["CoreRPC"].methods}
    assert methods - NUMBERS.keys() == {"Info", "NodeStatusStream", "WorkloadStatusStream"}
    assert NUMBERS.keys() <= methods
    assert len(set(NUMBERS.values())) == len(NUMBERS)

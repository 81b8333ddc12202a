"""The testbed comes up, again and again, and goes without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed_kit import BedNode

from testbed import beds, docker_nodes, network, smoke
from testbed.__main__ import NOT_ROOT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bed(testbed_nodes: list[BedNode]) -> Iterator[beds.Bed]:
    """A bed besides the one that all tests share. Not in a directory of pytest: paths of sockets are limited."""
    while True:
        bed = beds.find_bed(tempfile.mkdtemp(prefix="eru-testbed-", dir="/var/tmp"))
        if bed.network_prefix != beds.find_bed().network_prefix:
            break
        bed.directory.rmdir()
    yield bed
    beds.take_down(bed)


def _start(node: beds.Node, name: str, *command: str) -> int:
    body = {"Image": "eru-test:local", "Cmd": list(command)}
    container = docker_nodes.call(node, "POST", f"/containers/create?name={name}", body)["Id"]
    docker_nodes.call(node, "POST", f"/containers/{container}/start")
    return int(docker_nodes.call(node, "GET", f"/containers/{container}/json")["State"]["Pid"])


def test_a_bed_comes_up_twice_and_goes_without_a_trace(bed: beds.Bed) -> None:
    beds.bring_up(bed, 2)
    pids = [_start(bed.node(1), "ignores", "ignore-term"), _start(bed.node(2), "paused")]
    docker_nodes.call(bed.node(2), "POST", "/containers/paused/pause")

    beds.bring_up(bed, 2)

    assert [line.split()[-1] for line in beds.status(bed)] == ["up", "up"]
    assert len(smoke.prove(bed)) == 2
    env = beds.read_env(bed)
    assert env is not None
    assert [node["name"] for node in env["nodes"]] == ["node1", "node2"]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)

    beds.take_down(bed)

    assert beds.leftovers(bed) == []
    assert beds.status(bed) == []
    beds.take_down(bed)


def test_what_was_killed_comes_up_again(bed: beds.Bed) -> None:
    beds.bring_up(bed, 1)
    node = bed.node(1)
    pid = _start(node, "stays")
    docker_nodes.stop_daemon(node)
    assert docker_nodes.state(node) == "down"

    beds.bring_up(bed, 1)

    assert docker_nodes.state(node) == "up"
    assert docker_nodes.call(node, "GET", "/containers/stays/json")["State"]["Pid"] == pid
    os.kill(pid, signal.SIGKILL)

    subprocess.run(["ip", "netns", "delete", f"{bed.name}-fabric"], check=True)
    beds.bring_up(bed, 1)
    with socket.create_connection((node.address, docker_nodes.TLS_PORT), timeout=5):
        pass


def test_a_private_node_is_nobody_else_s(bed: beds.Bed) -> None:
    beds.bring_up(bed, 1)
    first, second = beds.bring_up_private_node(bed), beds.bring_up_private_node(bed)
    assert len({first.number, second.number}) == 2
    assert docker_nodes.state(first) == docker_nodes.state(second) == "up"
    env = beds.read_env(bed)
    assert env is not None
    assert [node["name"] for node in env["nodes"]] == ["node1"]
    beds.take_down_node(second)
    assert docker_nodes.state(second) == "down"

    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout
    first.owner_file.write_text(gone, encoding="ascii")
    assert beds.bring_up_private_node(bed) == first
    assert first.owner_file.read_text(encoding="ascii").strip() == str(os.getpid())


def test_beds_do_not_disturb_each_other(bed: beds.Bed, testbed_nodes: list[BedNode]) -> None:
    shared = beds.find_bed()
    assert bed.name != shared.name
    beds.bring_up(bed, 1)
    beds.take_down(bed)
    assert [docker_nodes.state(shared.node(node.number)) for node in testbed_nodes] == ["up"] * len(testbed_nodes)


def test_few_directories_give_the_same_network() -> None:
    directories = [Path(f"/var/tmp/eru-testbed-{number}") for number in range(1000)]
    networks = {beds.Bed(directory).network_prefix for directory in directories}
    assert len(networks) > 900


def test_the_bridge_keeps_its_address_while_nodes_come_and_go(bed: beds.Bed) -> None:
    """Nodes remember it for a minute or so."""

    def address() -> str:
        shown = network.run("ip", "-n", f"{bed.name}-fabric", "-json", "link", "show", "bridge")
        return str(json.loads(shown)[0]["address"])

    network.ensure_fabric(bed)
    seen = {address()}
    for number in range(1, 9):
        network.ensure_node(bed.node(number))
        seen.add(address())
    for number in range(1, 9):
        network.remove_node(bed.node(number))
        seen.add(address())
    assert len(seen) == 1


def test_without_root_it_says_so() -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() == 0 and setpriv is None:
        pytest.skip("setpriv is not there to become another user")
    other = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 and setpriv else []
    done = subprocess.run(
        [*other, sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['testbed', 'up'];"
         "from testbed.__main__ import main; sys.exit(main())"],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == NOT_ROOT, done.stderr
    assert "root" in done.stderr

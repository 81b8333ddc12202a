"""The agent's acceptance checks, with a real agent process, a real Docker, and a core that watches."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent_process_kit import HEARTBEAT_S, INTERVAL_S, TTL_S, AgentProcess, wait_for
from docker_kit import DockerRig
from recording_core_kit import RecordingCore, recording_core
from testbed_kit import BedNode

from backends.real.engines.base import Instance
from backends.real.engines.docker import DockerEngine
from backends.real.template import HealthCheck
from testbed import beds
from testbed.system import pid_of

pytestmark = pytest.mark.long

BUSYBOX = "busybox:local"


class Site:
    """A node, a core that knows it, and what runs there."""

    def __init__(self, node: BedNode, directory: Path, stack: ExitStack) -> None:
        self.node = node
        self.directory = directory
        self.rig = DockerRig(node)
        self.hostname = f"{node.name}-{self.rig.core_id[:6]}"
        self._stack = stack
        stack.callback(self.rig.clean)
        self.core = self.new_core(self.rig.core_id)

    def new_core(self, identifier: str) -> RecordingCore:
        """A core on a socket, which is reached from every network namespace."""
        path = self.directory / f"{identifier[:6]}.sock"
        nodes = {self.hostname: f"tcp://{self.node.address}:2376"}
        return self._stack.enter_context(recording_core(f"unix:{path}", identifier=identifier, nodes=nodes))

    def agent(self, name: str = "agent", *, core: RecordingCore | None = None, **settings: Any) -> AgentProcess:
        """An agent of this node that runs, and whose first sweep is over."""
        core = core or self.core
        process = AgentProcess(self.node, core.address, self.directory / name, hostname=self.hostname, **settings)
        self._stack.enter_context(process)
        wait_for(lambda: core.alive(self.hostname))
        return process

    def start(
        self, workload_id: str, *command: str, core_id: str = "", image: str = "eru-test:local", **template: Any
    ) -> Instance:
        """Start a workload as the core's engine does."""

        async def work(engine: DockerEngine) -> Instance:
            spec = self.rig.spec(workload_id, command=command, image=image, **template)
            return await engine.start(msgspec.structs.replace(spec, node_id=self.hostname))

        return self.do(work, core_id)

    def stop(self, workload_id: str) -> None:
        """Have a workload end, and keep it."""

        async def work(engine: DockerEngine) -> int | None:
            return await engine.stop(workload_id, 1, keep=True, grace_ns=0)

        self.do(work)

    def do(self, work: Callable[[DockerEngine], Coroutine[Any, Any, Any]], core_id: str = "") -> Any:
        """Do something with an adapter of the core."""

        async def main() -> Any:
            engine = self.rig.engine(core_id)
            try:
                return await work(engine)
            finally:
                await engine.close()

        return asyncio.run(main())

    def state(self, workload_id: str) -> tuple[bool, bool]:
        """What the core believes: running, healthy."""
        status = self.core.state.get(workload_id)
        return (status.running, status.healthy) if status is not None else (False, False)

    def pid(self, workload_id: str) -> int:
        async def work(engine: DockerEngine) -> Instance:
            return await engine.inspect(workload_id, 1)

        return int(self.do(work).pid)


@pytest.fixture
def site(private_node: BedNode, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(private_node, tmp_path, stack)


def answers(site: Site, address: str, port: int) -> bool:
    """Whether a workload answers on its address, which only its node reaches."""
    script = f"import socket; socket.create_connection(('{address}', {port}), timeout=5).close()"
    command = ["nsenter", f"--net={site.node.network_namespace}", "--", sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_check_1_killing_the_agent_changes_no_workload_and_the_lease_lapses(site: Site) -> None:
    site.start("web_http_aaaaaa", "listen", "80", "log", "100000", "0.05", health=HealthCheck(tcp_ports=(80,)))
    site.start("job_run_bbbbbb", "log", "100000", "0.01")
    agent = site.agent(log={"forwards": ["discard://"]})
    wait_for(lambda: site.state("web_http_aaaaaa") == site.state("job_run_bbbbbb") == (True, True))
    pids = {name: site.pid(name) for name in ("web_http_aaaaaa", "job_run_bbbbbb")}
    address = site.core.state["web_http_aaaaaa"].networks["bridge"]

    agent.kill()
    last_beat_s = site.core.beats[-1][0]
    wait_for(lambda: site.core.marked, TTL_S + 5)
    time.sleep(TTL_S)

    ((marked_s, node),) = site.core.marked
    assert node == site.hostname
    assert abs(marked_s - last_beat_s - TTL_S) <= HEARTBEAT_S
    assert {name: site.pid(name) for name in pids} == pids
    assert answers(site, address, 80)
    assert site.state("web_http_aaaaaa") == (False, False)


def test_check_2_a_restarted_agent_reports_everything_again_within_one_sweep(site: Site) -> None:
    names = [f"web_http_{number:06d}" for number in range(5)]
    for name in names:
        site.start(name, "listen", "80", health=HealthCheck(tcp_ports=(80,)))
    agent = site.agent()
    wait_for(lambda: all(site.state(name) == (True, True) for name in names))
    pids = [site.pid(name) for name in names]
    agent.kill()
    wait_for(lambda: site.core.marked, TTL_S + 5)
    assert not any(site.state(name)[0] for name in names)

    since_s = time.monotonic()
    agent.start()
    wait_for(lambda: all(site.state(name) == (True, True) for name in names))
    # By its first sweep: nothing was said of any of them before.
    assert all(site.core.told(name, since_s) == [(True, True)] for name in names)
    assert [site.pid(name) for name in names] == pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_check_3_a_signal_to_end_ends_the_lease_within_a_second(site: Site, number: signal.Signals) -> None:
    agent = site.agent()
    began = time.monotonic()
    assert agent.signal(number) == 0
    assert not site.core.alive(site.hostname)
    assert [ttl for _, _, ttl in site.core.beats][-1] == -1
    assert site.core.beats[-1][0] - began < 1
    assert not agent.pid_file.exists()


def test_check_3_a_hand_over_leaves_the_lease(site: Site) -> None:
    site.start("web_http_aaaaaa", "listen", "80")
    # Long enough for a process to begin on a busy machine.
    agent = site.agent(heartbeat_interval=10)
    wait_for(lambda: site.state("web_http_aaaaaa") == (True, True))
    assert agent.signal(signal.SIGUSR1) == 0
    beats = len(site.core.beats)
    assert site.core.alive(site.hostname)
    agent.start()
    wait_for(lambda: len(site.core.beats) > beats)
    assert site.core.alive(site.hostname)
    assert site.core.marked == []
    assert -1 not in [ttl for _, _, ttl in site.core.beats]
    assert site.state("web_http_aaaaaa") == (True, True)


def test_check_4_without_its_daemon_the_lease_lapses_and_returns(site: Site) -> None:
    site.start("web_http_aaaaaa", "listen", "80", health=HealthCheck(tcp_ports=(80,)))
    site.agent()
    wait_for(lambda: site.state("web_http_aaaaaa") == (True, True))

    daemon = pid_of(beds.find_bed().node(site.node.number).directory / "docker.pid")
    assert daemon is not None
    os.kill(daemon, signal.SIGSTOP)
    try:
        wait_for(lambda: site.core.marked)
        beats = len(site.core.beats)
        time.sleep(2 * HEARTBEAT_S)
        assert len(site.core.beats) == beats
        assert site.state("web_http_aaaaaa") == (False, False)
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_for(lambda: site.core.alive(site.hostname))
    # Nobody else can tell that the workloads are well again.
    wait_for(lambda: site.state("web_http_aaaaaa") == (True, True), 30)


def reply(code: int, port: int = 8080) -> tuple[str, ...]:
    """A server that always answers so."""
    answer = f"HTTP/1.1 {code} Whatever\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    return ("nc", "-ll", "-p", str(port), "-e", "sh", "-c", f"read line; printf '{answer}'")


def test_check_5_http_codes_and_tcp_ports(site: Site) -> None:
    any_code = HealthCheck(http_port=8080, http_path="/health")
    wanted = {
        "http_any_204aaa": (reply(204), any_code, True),
        "http_any_404aaa": (reply(404), any_code, True),
        "http_any_500aaa": (reply(500), any_code, False),
        "http_200_200aaa": (reply(200), HealthCheck(http_port=8080, http_code=200), True),
        "http_200_204aaa": (reply(204), HealthCheck(http_port=8080, http_code=200), False),
        "tcp_open_aaaaaa": (reply(500), HealthCheck(tcp_ports=(8080,)), True),
        "tcp_closed_aaaa": (reply(200), HealthCheck(tcp_ports=(8080, 8081)), False),
        "exec_good_aaaaa": (("sleep", "1000"), HealthCheck(command=("true",)), True),
        "exec_bad_aaaaaa": (("sleep", "1000"), HealthCheck(command=("false",)), False),
        "none_none_aaaaa": (("sleep", "1000"), None, True),
    }
    for name, (command, health, _) in wanted.items():
        site.start(name, *command, image=BUSYBOX, health=health)
    site.agent()
    wait_for(lambda: set(site.core.state) == set(wanted))
    # Each was asked at least once more, and the busy ones had their time.
    wait_for(lambda: all(site.state(name) == (True, True) for name, (_, _, good) in wanted.items() if good))
    time.sleep(INTERVAL_S + 2.5)
    assert {name: site.state(name) for name in wanted} == {
        name: (True, healthy) for name, (_, _, healthy) in wanted.items()
    }


def test_check_6_a_stop_during_a_slow_probe_is_the_last_word(site: Site) -> None:
    slow = HealthCheck(command=("sleep", "1.5"))
    site.start("web_http_aaaaaa", "sleep", "1000", image=BUSYBOX, health=slow)
    site.agent(healthcheck={"interval": 2.5, "timeout": 2, "cache_ttl": 60})
    wait_for(lambda: site.state("web_http_aaaaaa") == (True, True))
    # The next probe begins at an interval, and takes most of it.
    time.sleep(2)
    site.stop("web_http_aaaaaa")
    time.sleep(2.5 + 0.5)
    assert site.state("web_http_aaaaaa") == (False, False)
    last = [report.status.running for report in site.core.reports if report.status.id == "web_http_aaaaaa"]
    assert last[-1] is False
    time.sleep(2.5)
    assert site.state("web_http_aaaaaa") == (False, False)


class TcpSink:
    """A sink on the bed's bridge that the node reaches; it can be taken away and put back."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.lines: list[dict[str, Any]] = []
        self._port = 0
        self._open: list[socket.socket] = []
        self.start()

    @property
    def url(self) -> str:
        return f"tcp://{self.host}:{self._port}"

    def start(self) -> None:
        self._listener = socket.create_server((self.host, self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file, suppress(OSError):
            for line in file:
                if line.endswith(b"\n"):
                    self.lines.append(json.loads(line))

    def data(self, name: str) -> list[str]:
        return [line["data"] for line in self.lines if line["ident"] == name]


def bridge_address(node: BedNode) -> str:
    """The machine's own address on the bed's network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node.address, 1))
        return str(probe.getsockname()[0])


def test_check_7_each_workload_has_one_sink_and_a_dead_sink_blocks_nobody(site: Site) -> None:
    site.start("web_http_before", "log", "100000", "0.02")
    sinks = [TcpSink(bridge_address(site.node)) for _ in range(2)]
    agent = site.agent(
        log={"forwards": [sink.url for sink in sinks], "spool": {"bytes": "16k"}, "reconnect": "200ms"},
        api={"addr": ":12399"},
    )
    names = ["gggggg", "hhhhhh", "iiiiii", "jjjjjj"]
    for name in names:
        site.start(f"web_http_{name}", "log", "300", "0.01")
    every = [f"line {number}" for number in range(1, 301)]
    wait_for(lambda: all(sum(sink.data(name)[-1:] == ["line 300"] for sink in sinks) == 1 for name in names))
    for name in names:
        assert [sink.data(name) for sink in sinks if sink.data(name)] == [every]
    (lines,) = [sink.data("before") for sink in sinks if sink.data("before")]
    first = int(lines[0].split()[1])
    assert lines == [f"line {number}" for number in range(first, first + len(lines))]
    site.stop("web_http_before")
    wait_for(lambda: total(agent, "eru_agent_log_lines_total") == total(agent, "eru_agent_log_sent_total"))

    for sink in sinks:
        sink.stop()
    for sink in sinks:
        sink.lines.clear()
    began = time.monotonic()
    site.start("web_http_kkkkkk", "log", "3000", "exit", "7")

    def ended() -> bool:
        return bool(site.state("web_http_kkkkkk") == (False, False) and site.core.told("web_http_kkkkkk"))

    wait_for(ended, 30)
    assert time.monotonic() - began < 30
    wait_for(lambda: total(agent, "eru_agent_log_dropped_total") > 0)
    for sink in sinks:
        sink.start()
    wait_for(lambda: any(sink.data("kkkkkk")[-1:] == ["line 3000"] for sink in sinks))
    (kept,) = [sink.data("kkkkkk") for sink in sinks if sink.data("kkkkkk")]
    numbers = [int(line.split()[1]) for line in kept]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + total(agent, "eru_agent_log_dropped_total") == 3000


def total(agent: AgentProcess, name: str) -> int:
    """The sum of a counter of the agent over its sinks."""
    found = [line for line in agent.get("/metrics", 12399).splitlines() if line.startswith(f"{name}{{")]
    return round(sum(float(line.split()[-1]) for line in found))


def test_check_8_an_unchanged_workload_is_reported_once_in_a_cache_ttl(site: Site) -> None:
    site.start("web_http_aaaaaa", "listen", "80", health=HealthCheck(tcp_ports=(80,)))
    site.agent(healthcheck={"interval": 0.5, "timeout": 0.5, "cache_ttl": 60})
    wait_for(lambda: site.state("web_http_aaaaaa") == (True, True))
    since_s = time.monotonic()
    time.sleep(10 * 0.5)
    assert site.core.told("web_http_aaaaaa", since_s) == []
    assert site.core.told("web_http_aaaaaa") == [(True, True)]


def test_check_9_two_cores_share_a_host(site: Site) -> None:
    other = site.new_core("0" * 32)
    site.agent(check_only_mine=True)
    site.agent("other", core=other, check_only_mine=True)
    site.start("web_http_mine00", "sleep", "1000", image=BUSYBOX)
    site.start("web_http_theirs", "sleep", "1000", core_id=other.identifier, image=BUSYBOX)
    wait_for(lambda: "web_http_mine00" in site.core.state and "web_http_theirs" in other.state)
    time.sleep(2 * INTERVAL_S + 0.5)
    assert set(site.core.state) == {"web_http_mine00"}
    assert set(other.state) == {"web_http_theirs"}


def test_what_eru_itself_has_made_is_followed_too(site: Site) -> None:
    """A container as Eru's own core makes it: its id is the workload's, its name tells app and entrypoint."""
    meta = {"Publish": ["80"], "HealthCheck": {"TCPPorts": ["80"], "HTTPPort": "", "HTTPURL": "", "HTTPCode": 0}}
    labels = {"ERU": "1", "ERU_META": json.dumps(meta), "eru.nodename": site.hostname, "eru.coreid": site.rig.core_id}
    body = {"Image": "eru-test:local", "Cmd": ["listen", "80"], "Labels": labels}
    site.agent(check_only_mine=True)
    container = site.rig.call("POST", "/containers/create?name=my_shop_web_abcdef", body)["Id"]
    try:
        site.rig.call("POST", f"/containers/{container}/start")
        wait_for(lambda: site.state(container) == (True, True))
        status = site.core.state[container]
        assert (status.appname, status.entrypoint, status.nodename) == ("my_shop", "web", site.hostname)
        site.rig.call("POST", f"/containers/{container}/kill")
        wait_for(lambda: site.state(container) == (False, False))
    finally:
        site.rig.call("DELETE", f"/containers/{container}?force=1")


def test_usage_of_a_real_workload_is_shown(site: Site) -> None:
    site.start("web_http_aaaaaa", "sh", "-c", "while :; do :; done", image=BUSYBOX)
    agent = site.agent(api={"addr": ":12398"})
    wait_for(lambda: "cpu_host_usage{" in agent.get("/metrics", 12398))
    time.sleep(1.5)
    text = agent.get("/metrics", 12398)
    values = {line.split("{")[0]: float(line.split()[-1]) for line in text.splitlines() if 'appname="web"' in line}
    assert values["cpu_container_usage"] > 0.05
    assert values["mem_usage"] > 10_000
    assert values["bytes_recv"] >= 0
    assert json.loads(agent.get("/version/", 12398))["version"]
    site.stop("web_http_aaaaaa")
    wait_for(lambda: "cpu_host_usage{" not in agent.get("/metrics", 12398))


def test_an_agent_whose_log_nobody_reads_goes_on(site: Site) -> None:
    agent = site.agent(log_level="debug", heartbeat_interval=0.5)
    agent.kill()
    reading, writing = os.pipe()
    agent.start(stderr=writing)
    os.close(writing)
    os.close(reading)
    site.core.beats.clear()
    # Every failed beat would be logged.
    wait_for(lambda: len(site.core.beats) > 2)
    site.core.is_deaf = True
    time.sleep(3)
    site.core.is_deaf = False
    beats = len(site.core.beats)
    wait_for(lambda: len(site.core.beats) > beats + 2)


def test_an_agent_that_the_core_does_not_know_ends_and_says_so(site: Site) -> None:
    process = AgentProcess(site.node, site.core.address, site.directory / "stranger", hostname="stranger")
    with process:
        wait_for(lambda: process._process is not None and process._process.poll() is not None)
        assert process._process is not None
        assert process._process.returncode == 2
    assert "error: hostname: the core has no node 'stranger'" in process.log
    assert "Traceback" not in process.log
    assert not process.pid_file.exists()


def test_a_second_agent_is_kept_away(site: Site) -> None:
    site.agent()
    second = AgentProcess(site.node, site.core.address, site.directory / "agent", hostname=site.hostname)
    with second:
        wait_for(lambda: second._process is not None and second._process.poll() is not None)
    assert "another agent holds it" in second.log
    assert site.core.alive(site.hostname)

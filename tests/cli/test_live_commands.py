"""The other live commands, over the real service with engines in memory."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from eru_command import Eru, Live, memory_service

from eru_sim.cli.answer import FORMATS

pytestmark = pytest.mark.long


@contextmanager
def background(live: Live, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process that does not outlive the block."""
    command = [sys.executable, "-m", "eru_sim.cli.main", "--server", live.address, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_what_the_service_refuses_is_one_line(live: Live) -> None:
    for arguments, part in (
        (("pool", "add", live.pool), "there is one already"),
        (("pool", "get", "nowhere"), "'nowhere'"),
        (("pool", "rm", live.pool), "nodes"),
        (("pool", "nodes", "nowhere"), "'nowhere'"),
        (("pool", "capacity", "nowhere"), "'nowhere'"),
        (("node", "get", "nowhere"), "'nowhere'"),
        (("node", "workloads", "nowhere"), "'nowhere'"),
        (("node", "add", live.pool, "--nodename", f"{live.pool}-0", "--endpoint", "mem://"), "already"),
        (("workload", "get", "nobody"), "'nobody'"),
        (("workload", "logs", "nobody"), "nobody"),
        (("workload", "copy", "nobody:/x"), "nobody"),
        (("operation", "get", "op-none"), "op-none"),
        (("explain", "nobody"), "nobody"),
        (("policy", "set", "bset-fit"), "bset-fit"),
        (("policy", "set", "power-of-d", "--param", "d=many"), "d"),
        (("plan", "--pool", live.pool, "--extra-resources", '{"nothing": {}}'), "nothing"),
        (("plan", "--pool", live.pool, "--request", "nothing=1"), "there are: cpu, memory"),
    ):
        ran = live(*arguments)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), (arguments, ran)
        assert part in ran.err, (arguments, ran)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["plan", "--memory", "much"], "--memory-request: 'much' is not a size"),
        (["plan", "--memory", "-1M"], "must not be below 0"),
        (["plan", "--cpu", "0x2"], "'0x2' is not a number of cores"),
        (["plan", "--cpu", "1", "--cpu-limit", "2"], "--cpu: it sets request and limit"),
        (["plan", "--extra-resources", "[]"], "--extra-resources: '[]' is no JSON object"),
        (["plan", "--extra-resources", '{"gpu": 1}'], "is a JSON object"),
        (["plan", "--deploy-strategy", "spread"], "'spread' is none of them"),
        (["plan", "--nodelabel", "zone"], "'zone' is not KEY=VALUE"),
        (["pool", "resource", "POOL", "--filter", "memory"], "--filter: 'memory' cannot be read"),
        (["node", "ls", "--filter", "upp"], "did you mean 'up'?"),
        (["node", "add", "POOL"], "--nodename: it is missing"),
        (["node", "add", "POOL", "--nodename", "x"], "--endpoint: it is missing"),
        (["node", "set", "POOL-0", "--cpu", "many"], "--cpu: 'many' is no count"),
        (["node", "set", "POOL-0", "--volume", "data"], "--volume: 'data' is not DEVICE:SIZE"),
        (["node", "set", "POOL-0", "--disk", "a:b"], "--disk: 'a:b' is not"),
        (["workload", "ls", "--match-ip", "10.0.0"], "--match-ip"),
        (["workload", "logs", "x", "--tail", "-1"], "--tail: '-1'"),
        (["workload", "logs", "x", "--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["workload", "copy", "x"], "'x' is not ID:PATH"),
        (["workload", "send", "x"], "--file: it is missing"),
        (["workload", "send", "x", "--file", "a:b"], "--file: 'a:b' is not SRC:DST"),
        (["workload", "send", "x", "--file", "a:/b:9"], "MODE is octal"),
        (["workload", "send", "x", "--file", "/nowhere/a:/b"], "/nowhere/a"),
        (["workload", "wait", "x", "--for", "rich"], "'rich' is none of them"),
        (["workload", "wait", "x", "--timeout", "soon"], "'soon' is not a duration"),
        (["workload", "realloc", "x"], "nothing is to be changed"),
        (["workload", "dissociate"], "nothing is named"),
        (["network", "connect", "x"], "--network: it is missing"),
        (["network", "connect", "x", "--network", "n", "--ipv4", "::1"], "'::1' is no address of that kind"),
        (["lambda", "--pool", "p", "ls"], "--image: it is missing"),
        (["lambda", "--pool", "p", "--image", "i", "--count", "2", "-i", "ls"], "--stdin"),
        (["workload", "exec", "x"], "missing argument"),
        (["image", "build", "/nowhere", "--tag", "x"], "/nowhere"),
        (["image", "build", "/nowhere.yaml", "--tag", "x"], "/nowhere.yaml"),
        (["image", "build", ".", "--tag", "x", "--user", "ada"], "for a build spec only"),
        (["image", "build", ".", "--tag", "x", "--stop-signal", "SIGINT"], "for a build spec only"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_done(live: Live, arguments: list[str], part: str) -> None:
    ran = live(*(word.replace("POOL", live.pool) for word in arguments))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert part in ran.err, ran


def test_nodes(live: Live) -> None:
    name = f"{live.pool}-x"
    options = (
        "--endpoint",
        "mem://",
        "--test",
        "--cpu",
        "4",
        "--memory",
        "8G",
        "--label",
        "zone=a",
        "--taint",
        "a=b:NoSchedule",
    )
    live.ok("node", "add", live.pool, "--nodename", name, *options, "--volume", "/data0:50G", "--storage", "10G")
    node = live.data("node", "get", name)
    assert (node["labels"], node["taints"], node["state"]) == ({"zone": "a"}, ["a=b:NoSchedule"], "ready")
    assert node["resources"]["dimensions"]["memory"]["total"] == 8 << 30
    assert node["resources"]["dimensions"]["storage"]["total"] == 60 << 30
    live.ok("node", "set", name, "--memory", "-2G", "--delta", "--label", "disk=ssd", "--taint", "")
    node = live.data("node", "get", name)
    assert (node["labels"], node["taints"]) == ({"disk": "ssd", "zone": "a"}, [])
    assert node["resources"]["dimensions"]["memory"]["total"] == 6 << 30
    live.ok("node", "update", name, "--cpu", "0:100,1:200", "--label", "disk=")
    node = live.data("node", "get", name)
    assert (node["labels"], node["resources"]["slots"]["cpu"]["slots"]["1"]["total"]) == ({"zone": "a"}, 200)
    assert live.data("node", "cordon", name)["state"] == "cordoned"
    assert [row["node_id"] for row in live.data("pool", "nodes", live.pool, "--filter", "down")] == [name]
    assert name not in live.ok("node", "ls", "--filter", "up", "-o", "name").out.split()
    assert live.data("node", "uncordon", name)["state"] == "ready"
    assert [row["node_id"] for row in live.data("node", "ls", "--label", "zone=a")] == [name]
    live.ok("node", "resource", name, "--fix")
    live.ok("node", "rm", name)
    assert live("node", "get", name).code == 2


def test_resources_of_a_pool_are_filtered(live: Live) -> None:
    live.deploy("--memory", "20G", "--node", f"{live.pool}-1")
    rows = live.data("pool", "resource", live.pool, "--filter", "memory > 40%")
    assert {row["node_id"] for row in rows} == {f"{live.pool}-1"}
    assert live.data("pool", "resource", live.pool, "--filter", "cpu>=50") == []


def test_a_drain_moves_work_away(live: Live) -> None:
    names = [row["subject"] for row in live.data(
        "workload", "submit", live.spec, "--pool", live.pool, "--entry", "web", "--image", "busybox", "--count", 2
    )]  # fmt: skip
    node = live.data("workload", "get", names[0])["node_id"]
    assert [row["outcome"] for row in live.data("node", "drain", node)] == ["drained"]
    assert live.data("node", "workloads", node) == []
    assert live.data("node", "get", node)["state"] in ("cordoned", "draining")
    live.ok("node", "up", node)


def test_what_waits_is_in_the_queue_with_a_reason(live: Live) -> None:
    ran = live.ok(
        "workload", "submit", live.spec, "--pool", live.pool, "--entry", "job", "--image", "busybox", "--cpu", "9",
        "--cpu-bind", "--tenant", "ann", "--no-wait", "-o", "name",
    )  # fmt: skip
    operation = ran.out.strip()
    (row,) = live.data("queue", "--pool", live.pool)
    name = row["workload"]["workload_id"]
    assert row["diagnosis"]["reasons"]["cpu"] == 3
    assert "3 cpu" in live.ok("queue", "--pool", live.pool).out
    assert "3 cpu" in live.ok("explain", name).out
    assert live.data("queue", "--tenant", "nobody") == []
    assert live.data("operation", "get", operation)["is_done"] is False
    assert operation in live.ok("operation", "ls", "-o", "name").out
    live.ok("operation", "cancel", operation)
    assert live.data("queue", "--pool", live.pool) == []


def test_control_of_workloads(live: Live) -> None:
    first, second = live.deploy("--count", 2)
    assert live.data("workload", "stop", first)[0]["outcome"] == "stopped"
    assert live("workload", "wait", first, "--for", "stopped", "--timeout", "10s").code == 0
    assert live("workload", "wait", first, "--timeout", "0.2s").code == 1
    live.ok("workload", "start", first)
    live.ok("workload", "restart", first)
    assert live.data("workload", "get", first)["generation"] >= 2
    live.ok("workload", "pause", first)
    assert live.data("workload", "get", first, "--instance")["instance"]["state"] == "paused"
    live.ok("workload", "resume", first)
    live.ok("workload", "set-status", first, "--running", "--healthy", "--network", "back=10.9.0.4", "--extension", "x")
    live.ok("workload", "wait", first, "--for", "healthy")
    assert [row["workload_id"] for row in live.data("workload", "ls", "--match-ip", "10.9.0.0/16")] == [first]
    assert first not in live.ok("workload", "ls", "--skip-ip", "10.9.0.4", "-o", "name").out.split()
    counts = live.data("workload", "ls", "--pool", live.pool, "--statistics")
    assert counts == [{"state": "running", "workloads": 2}]
    live.ok("workload", "rm", first, second, "--step", "1")
    live.ok("workload", "wait", first, second, "--for", "gone", "--timeout", "20s")
    assert live("workload", "wait", first, "--timeout", "20s").code == 1


def test_what_hooks_print_is_on_stderr_and_force_leaves_them_out(live: Live, tmp_path: Path) -> None:
    spec = tmp_path / "hooked.yaml"
    hook = {"after_start": ["echo up", "err \x1b[31m"], "before_stop": ["echo down"]}
    spec.write_text(yaml.safe_dump({"appname": "shop", "entrypoints": {"web": {"cmd": "sleep 9", "hook": hook}}}))
    place = ("--pool", live.pool, "--entry", "web", "--image", "busybox", "--after-create", "echo made")
    ran = live.ok("workload", "deploy", spec, *place, "-o", "json")
    (row,) = json.loads(ran.out)
    name = row["subject"]
    assert row["hook_output"] == "made\nup\n\x1b[31m\n"
    assert ran.err.splitlines() == [f"{name}: made", f"{name}: up", f"{name}: \\x1b[31m"]
    assert live.ok("workload", "restart", name).err.splitlines()[:2] == [f"{name}: down", f"{name}: up"]
    for command in (("stop", name, "--force"), ("start", name), ("restart", name, "-f"), ("rm", "--force", name)):
        assert "down" not in live.ok("workload", *command).err, command


def test_debug_leaves_the_log_driver_to_the_engine(live: Live, tmp_path: Path) -> None:
    spec = tmp_path / "logged.yaml"
    entry = {"cmd": "sleep 9", "log": {"type": "none", "config": {"tag": "x"}}}
    spec.write_text(yaml.safe_dump({"appname": "shop", "entrypoints": {"web": entry}}))
    for options, log in (((), "none"), (("--debug",), "")):
        place = ("--pool", live.pool, "--entry", "web", "--image", "busybox", *options)
        (row,) = live.data("workload", "deploy", spec, *place)
        template = live.data("workload", "get", row["subject"], "--template")["template"]
        assert (template["log"], bool(template["log_options"])) == (log, bool(log))


def test_dissociate_a_whole_node(live: Live) -> None:
    ids = live.deploy("--count", 2, "--node", f"{live.pool}-2")
    told = live.data("workload", "dissociate", "--node", f"{live.pool}-2")
    assert sorted((row["subject"], row["outcome"]) for row in told) == sorted((name, "dissociated") for name in ids)
    assert live.data("node", "workloads", f"{live.pool}-2") == []


def test_replace_by_spec(live: Live) -> None:
    ids = live.deploy("--count", 2, "--network", "back")
    told = live.data(
        "workload", "replace", live.spec, "--entry", "web", "--image", "busybox:3", "--pool", live.pool, "--count", 1
    )
    assert [(row["subject"], row["outcome"]) for row in told] == [(ids[0], "replaced")]
    images = [live.data("workload", "get", name, "--template") for name in ids]
    assert [one["image"] for one in images] == ["busybox:3", "busybox"]
    assert images[0]["template"]["networks"] == {"back": ""}
    failed = live(
        "workload", "replace", live.spec, "--entry", "web", "--image", "broken", "--pool", live.pool, "--count", 1
    )
    assert failed.code == 1
    assert "rolled_back" in failed.out
    assert live("workload", "replace", live.spec, "--entry", "job", "--image", "b", "--pool", live.pool).code == 2


def test_the_same_key_deploys_once(live: Live) -> None:
    key = ("--idempotency-key", f"deploy-{live.pool}")
    assert live.deploy(*key) == live.deploy(*key)
    assert len(live.data("workload", "ls", "--pool", live.pool)) == 1


def test_what_a_spec_says_is_in_the_template(live: Live, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    (name,) = live.deploy(
        "--env", "A=1", "--label", "tier=gold", "--file", f"{secret}:/etc/secret:0400:5:6", "--user", "nobody"
    )
    template = live.data("workload", "get", name, "--template")["template"]
    assert template["command"] == ["sleep", "1000"]
    assert template["publish"] == ["80"]
    assert template["labels"]["tier"] == "gold"
    assert template["files"]["/etc/secret"]["mode"] == 0o400
    assert live.data("workload", "ls", "--label", "tier=gold", "--pool", live.pool)[0]["workload_id"] == name


def test_images_and_networks(live: Live) -> None:
    (name,) = live.deploy()
    assert {row["name"] for row in live.data("network", "ls", "--pool", live.pool)} == {"bridge", "host"}
    assert {row["name"] for row in live.data("pool", "networks", live.pool, "--driver", "host")} == {"host"}
    told = live.data("network", "connect", name, "--network", "back", "--ipv4", "10.0.0.8")
    assert told == [{"workload_id": name, "network": "back", "address": "10.0.0.8"}]
    live.ok("network", "disconnect", name, "--network", "back")
    assert len(live.data("image", "cache", "shop:7", "--pool", live.pool)) == 3
    bad = live("image", "cache", "broken", "--pool", live.pool)
    assert (bad.code, bad.out.count("no such image")) == (1, 3)
    assert len(live.data("image", "ls", "--pool", live.pool, "--filter", "shop")) == 3
    assert len(live.data("image", "rm", "shop:7", "--pool", live.pool)) == 3


def test_an_image_is_built_of_a_spec(live: Live, tmp_path: Path) -> None:
    spec = tmp_path / "build.yaml"
    spec.write_text("stages: [a]\nbuilds: {a: {base: scratch, commands: ['true']}}")
    where, owner = ("--tag", "mine:3", "--pool", live.pool), ("--user", "ada", "--uid", "7")
    (built,) = live.data("image", "build", spec, *where, *owner)
    assert (built["image"], built["error"]) == ("mine:3", "")
    live.ok("image", "build", spec, *where, "--stop-signal", "INT", "--platform", "linux")
    wrong = live("image", "build", spec, *where, "--stop-signal", "RUN x")
    assert (wrong.code, "builds.builds.a.stop_signal" in wrong.err) == (2, True)
    spec.write_text("stages: [a]\nbuilds: {a: {base: scratch, repo: 'ext::sh -c x'}}")
    refused = live("image", "build", spec, "--tag", "mine:3", "--pool", live.pool)
    assert (refused.code, "builds.builds.a.repo" in refused.err) == (2, True)


def test_an_image_is_built_from_a_directory(live: Live, tmp_path: Path) -> None:
    assert live("image", "build", tmp_path, "--tag", "x").code == 2
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (row,) = live.data("image", "build", tmp_path, "--tag", "shop:8", "--pool", live.pool)
    assert (row["image"], row["error"]) == ("shop:8", "")
    (name,) = live.deploy()
    live.ok("image", "build", name, "--exist", "--tag", "shop:9")


def test_logs(live: Live) -> None:
    (name,) = live.deploy("--count", 1, entry="job")
    ran = live.ok("workload", "logs", name)
    assert ran.out == "done\n"
    (line,) = live.ok("workload", "logs", name, "--tail", "5", "-o", "jsonl").out.splitlines()
    assert json.loads(line)["data"] == "done\n"


def test_policy(live: Live) -> None:
    before = live.data("policy", "get")
    changed = live.data("policy", "set", "power-of-d", "--param", "d=3")
    assert (changed["name"], changed["params"]["d"]) == ("power-of-d", 3)
    live.ok("policy", "set", before["name"], "--params", json.dumps(before["params"]))
    assert live.data("policy", "get") == before


def test_status_is_watched(live: Live) -> None:
    (name,) = live.deploy("--label", f"of={live.pool}")
    with background(live, "status", "--watch", "--label", f"of={live.pool}", "-o", "jsonl") as process:
        seen: list[dict[str, Any]] = []
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in process.stdout or ()))
        reader.start()
        for options, change in ((("--running", "--healthy"), "healthy"), (("--running",), "unhealthy"), ((), "stopped"),
                                (("--running", "--healthy"), "back to life")):  # fmt: skip
            deadline = time.monotonic() + 60
            while not seen or seen[-1]["change"] != change:
                assert time.monotonic() < deadline, (seen, change)
                live.ok("workload", "set-status", name, *options)
                time.sleep(0.3)
        live.ok("workload", "rm", name)
        deadline = time.monotonic() + 30
        while seen[-1]["change"] != "deleted" and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        reader.join()
    assert [row["change"] for row in seen][-2:] == ["back to life", "deleted"]
    assert {row["workload_id"] for row in seen} == {name}


@pytest.mark.parametrize("output", FORMATS)
def test_records_that_come_one_by_one_in_every_format(live: Live, output: str) -> None:
    ran = live.ok("node", "watch-status", "--pool", live.pool, "--limit", "3", "-o", output)
    names = [f"{live.pool}-{number}" for number in range(3)]
    if output in ("json", "jsonl"):
        assert [json.loads(line)["node_id"] for line in ran.out.splitlines()] == names
    elif output == "yaml":
        assert [document["node_id"] for document in yaml.safe_load_all(ran.out)] == names
    else:
        assert [line.split()[0] for line in ran.out.splitlines()][-3:] == names


def test_the_journal_is_shown_and_saved(live: Live, eru: Eru, tmp_path: Path) -> None:
    (name,) = live.deploy()
    rows = [json.loads(line) for line in live.ok("journal", "tail", "-n", "5", "-o", "jsonl").out.splitlines()]
    assert len(rows) == 5
    assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + 5))
    assert "deployment_requested" in live.ok("journal", "tail", "-n", "20").out
    file = tmp_path / "run.jsonl.gz"
    live.ok("journal", "export", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert eru("sim", "verify", file).code == 0
    recorded = json.loads(eru("explain", name, "--journal", file, "-o", "json").out)
    told = live.data("explain", name)
    assert told["state"] == recorded["state"] == "running"
    assert [chapter["name"] for chapter in told["chapters"]] == [chapter["name"] for chapter in recorded["chapters"]]


def test_top_once(live: Live) -> None:
    live.deploy("--count", 2)
    found = live.data("top", "--pool", live.pool, "--interval", "0.1s")
    assert len(found["nodes"]) == 3
    assert [row["memory_bytes"] for row in found["workloads"]] == [1, 1]
    assert found["workloads"][0]["cpu_millicores"] == 0
    assert "\x1b" not in live.ok("top", "--pool", live.pool, "--once").out


def test_core(live: Live) -> None:
    info = live.data("core", "info")
    assert info["version"] == "test"
    assert {plugin["name"] for plugin in info["plugins"]} >= {"cpu", "storage"}
    rows = live.ok("core", "watch", "--interval", "0.1s", "--limit", "2", "-o", "jsonl").out.splitlines()
    assert {json.loads(row)["core_id"] for row in rows} == {info["core_id"]}


class Screen:
    """A command with a terminal of its own."""

    def __init__(self, live: Live, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(slave)
        command = [sys.executable, "-m", "eru_sim.cli.main", "--server", live.address, *arguments]

        def own() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own)
        self.slave = slave
        self.text = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self._master, data)

    def wait_for(self, text: bytes, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.2)[0]:
                self.text += os.read(self._master, 65536)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


def test_a_terminal_passes_every_key_and_its_size(live: Live) -> None:
    (name,) = live.deploy()
    screen = Screen(live, "workload", "exec", "-i", name, "--", "cat")
    try:
        deadline = time.monotonic() + 60
        while termios.tcgetattr(screen.slave)[3] & termios.ICANON:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        screen.type(b"ab\x03c\x04")
        screen.wait_for(b"ab\x03c\x04")
        assert screen.process.poll() is None
    finally:
        screen.close()
    screen = Screen(live, "workload", "exec", "-i", name, "--", "size")
    try:
        deadline = time.monotonic() + 60
        while termios.tcgetattr(screen.slave)[3] & termios.ICANON:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(0.5)
        screen.resize(33, 99)
        screen.wait_for(b"33x99")
    finally:
        screen.close()


def test_the_terminal_is_as_before_afterwards(live: Live) -> None:
    (name,) = live.deploy()
    for ending in (("exit", "3"), ("nonesuch",)):
        screen = Screen(live, "workload", "exec", "-i", name, "--", *ending)
        try:
            assert screen.process.wait(timeout=60) in (3, 255)
            assert termios.tcgetattr(screen.slave) == screen.before
        finally:
            screen.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_before_when_a_signal_ends_it(live: Live, number: signal.Signals) -> None:
    (name,) = live.deploy()
    screen = Screen(live, "workload", "exec", "-i", name, "--", "cat")
    try:
        deadline = time.monotonic() + 60
        while termios.tcgetattr(screen.slave)[3] & termios.ICANON:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        screen.process.send_signal(number)
        assert screen.process.wait(timeout=60) == -number
        assert termios.tcgetattr(screen.slave) == screen.before
    finally:
        screen.close()


def test_top_refreshes_on_a_terminal(live: Live) -> None:
    screen = Screen(live, "top", "--pool", live.pool, "--interval", "0.2s")
    try:
        screen.wait_for(b"\x1b[H")
        screen.text = b""
        screen.wait_for(b"\x1b[H")
        screen.type(b"\x03")
        assert screen.process.wait(timeout=60) == 130
    finally:
        screen.close()


def test_who_asks_must_be_known(eru: Eru, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    token.chmod(0o600)
    with memory_service(tmp_path, "s3cret-token") as address:
        stranger = eru("pool", "ls", "--server", address)
        assert (stranger.code, stranger.err.count("\n")) == (2, 1)
        assert "--token-file" in stranger.err
        assert eru("pool", "ls", "--server", address, "--token-file", token).code == 0
        assert eru("context", "add", "lab", "--server", address, "--token-file", token).code == 0
        ran = eru("pool", "ls")
        assert (ran.code, "s3cret" in ran.out + ran.err) == (0, False)
        monkeypatch.setenv("ERU_DEBUG", "1")
        assert "s3cret" not in eru("pool", "get", "nowhere").err

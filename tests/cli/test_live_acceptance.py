"""What operators of Eru expect of its command line, over the real service with engines in memory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from eru_command import Live

pytestmark = pytest.mark.long


def used(live: Live) -> list[dict[str, object]]:
    return live.data("pool", "resource", live.pool)


def test_pool_node_and_three_copies(live: Live) -> None:
    ids = live.deploy("--count", 3)
    assert len(set(ids)) == 3
    assert [row["workload_id"] for row in live.data("workload", "ls", "--pool", live.pool)] == ids
    assert {row["state"] for row in live.data("workload", "ls", "--pool", live.pool)} == {"running"}
    assert live.ok("workload", "ls", "--pod", live.pool, "-o", "name").out.split() == ids


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--entry", "web", "--image", "busybox"], "--pool: it is missing"),
        (["--pool", "POOL", "--entry", "web"], "--image: it is missing"),
        (["--pool", "POOL", "--image", "busybox"], "--entry: it is missing; there are: web, job"),
        (["--pool", "POOL", "--image", "busybox", "--entry", "we_b"], "must not contain '_'"),
        (["--pool", "POOL", "--image", "busybox", "--entry", "wob"], "the spec has no 'wob'"),
    ],
)
def test_what_is_missing_creates_nothing(live: Live, options: list[str], part: str) -> None:
    ran = live("workload", "deploy", live.spec, *(live.pool if word == "POOL" else word for word in options))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert part in ran.err
    assert live.data("workload", "ls", "--pool", live.pool) == []


@pytest.mark.parametrize("resources", [(), ("--cpu", "3", "--cpu-bind"), ("--memory", "10G"), ("--storage", "30G")])
def test_a_dry_run_changes_nothing_and_agrees_with_capacity(live: Live, resources: tuple[str, ...]) -> None:
    before = used(live)
    options = ("--pool", live.pool, "--entry", "web", "--count", 4)
    dry = live.data("workload", "deploy", live.spec, *options, "--image", "busybox", "--dry-run", *resources)
    planned = live.data("plan", live.spec, *options, *resources)
    capacity = live.data("pool", "capacity", live.pool, *resources)
    assert dry["capacity"] == planned["capacity"] == capacity["capacity"]
    assert dry["total_capacity"] == planned["total_capacity"] == capacity["total_capacity"]
    assert planned["shares"] == dry["shares"]
    assert sum(share["count"] for share in planned["shares"]) == 4
    assert used(live) == before
    placed = live.data("workload", "deploy", live.spec, *options, "--image", "busybox", *resources)
    counts = {share["node_id"]: share["count"] for share in planned["shares"]}
    assert {node: sum(row["node_id"] == node for row in placed) for node in counts} == counts


def test_a_plan_that_does_not_fit_says_why(live: Live) -> None:
    ran = live("plan", "--pool", live.pool, "--cpu", "9", "--cpu-bind", "--count", 2)
    assert ran.code == 1
    assert "3 cpu" in ran.out
    refused = live(
        "workload",
        "deploy",
        live.spec,
        "--pool",
        live.pool,
        "--entry",
        "web",
        "--image",
        "b",
        "--cpu",
        "9",
        "--cpu-bind",
    )
    assert refused.code == 1
    assert "rejected" in refused.out


def test_exec_exits_with_the_remote_code_and_passes_input(live: Live) -> None:
    (name,) = live.deploy()
    assert live("workload", "exec", name, "--", "exit", "7").code == 7
    assert live.ok("workload", "exec", name, "--", "echo", "-n", "hi").out == "-n hi\n"
    mixed = live("workload", "exec", name, "--", "mixed")
    assert (mixed.code, mixed.out, mixed.err) == (0, "output\nrest", "err")
    data = os.urandom(300_000)
    ran = live.process("workload", "exec", "-i", name, "--", "cat", stdin=data)
    assert (ran.returncode, ran.stdout == data, ran.stderr) == (0, True, b"")
    missing = live("workload", "exec", name, "--", "nonesuch")
    assert (missing.code, missing.out) == (255, "")
    assert "no such command" in missing.err


def test_ctrl_c_in_exec_leaves_the_workload_running(live: Live) -> None:
    (name,) = live.deploy()
    command = [sys.executable, "-m", "eru_sim.cli.main", "--server", live.address, "workload", "exec", name, "--"]
    with subprocess.Popen([*command, "sleep"], stderr=subprocess.PIPE, start_new_session=True) as process:
        time.sleep(3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"error: interrupted\n"
    assert live.data("workload", "get", name)["state"] == "running"


def test_lambda_streams_both_outputs_and_leaves_nothing(live: Live) -> None:
    options = ("--pool", live.pool, "--image", "busybox", "--count", 2)
    ran = live("lambda", *options, "--", "echo", "hello")
    assert ran.code == 0, ran
    assert sorted(ran.out.splitlines()) == ["0| hello", "1| hello"]
    assert live("lambda", *options, "--", "exit", "5").code == 5
    told = json.loads(live("lambda", *options, "-o", "json", "--", "echo", "hello").out)
    assert [(row["exit_code"], row["stdout"]) for row in told] == [(0, "hello\n")] * 2
    deadline = time.monotonic() + 20
    while live.data("workload", "ls", "--pool", live.pool) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert live.data("workload", "ls", "--pool", live.pool) == []


def test_lambda_gets_input(live: Live) -> None:
    ran = live.process("lambda", "--pool", live.pool, "--image", "busybox", "-i", "--", "cat", stdin=b"a\0b")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"a\0b", b"")


def test_auto_replace_creates_or_replaces(live: Live) -> None:
    first = live.deploy("--auto-replace", "--count", 2, "--network", "back=10.1.0.5")
    assert len(first) == 2
    again = live.data(
        "workload", "deploy", live.spec, "--pool", live.pool, "--entry", "web", "--image", "busybox:2", "--auto-replace"
    )
    assert [row["outcome"] for row in again] == ["replaced", "replaced"]
    rows = live.data("workload", "ls", "--pool", live.pool)
    assert [row["workload_id"] for row in rows] == first
    assert {row["image"] for row in rows} == {"busybox:2"}
    told = [live.data("workload", "get", name, "--instance", "--template") for name in first]
    assert {tuple(one["instance"]["networks"].items()) for one in told} == {(("back", "10.1.0.5"),)}
    assert all(row["generation"] == 2 for row in rows)


def test_realloc_applies_differences(live: Live) -> None:
    (name,) = live.deploy("--cpu", "1", "--memory", "512M")
    live.ok("workload", "realloc", name, "--cpu", "1", "--memory", "-128M")
    cpu = live.data("workload", "get", name)["resources"]["cpu"]
    assert (float(cpu["cpu_request"]), float(cpu["cpu_limit"])) == (2, 2)
    assert cpu["memory_request"] == cpu["memory_limit"] == 384 << 20
    live.ok("workload", "realloc", name, "--cpu-bind")
    assert live.data("workload", "get", name)["resources"]["cpu"]["bind"] is True
    live.ok("workload", "realloc", name, "--memory", "64M")
    assert live.data("workload", "get", name)["resources"]["cpu"]["bind"] is True
    live.ok("workload", "realloc", name, "--cpu-unbind")
    assert live.data("workload", "get", name)["resources"]["cpu"]["bind"] is False
    both = live("workload", "realloc", name, "--cpu-bind", "--cpu-unbind")
    assert (both.code, both.out) == (2, "")
    too_much = live("workload", "realloc", name, "--memory", "1T")
    assert too_much.code == 1


LISTINGS = [
    ("pool", "ls"), ("pool", "nodes", "POOL"), ("pool", "resource", "POOL"), ("pool", "capacity", "POOL"),
    ("pool", "networks", "POOL"), ("node", "ls"), ("node", "get", "POOL-0"), ("node", "engine", "POOL-0"),
    ("node", "resource", "POOL-0"), ("node", "workloads", "POOL-0"), ("workload", "ls"), ("workload", "get", "ID"),
    ("workload", "get-status", "ID"), ("workload", "usage", "ID"), ("image", "ls", "--pool", "POOL"),
    ("network", "ls", "--pool", "POOL"), ("operation", "ls"), ("policy", "get"), ("core", "info"), ("status",),
    ("plan", "--pool", "POOL"), ("queue",), ("top",), ("explain", "ID"),
]  # fmt: skip


def test_json_and_yaml_hold_the_same_as_the_table(live: Live) -> None:
    (name,) = live.deploy()
    live.ok("workload", "set-status", name, "--running", "--healthy")
    changing = {("core", "info"), ("workload", "usage", "ID"), ("top",)}
    for command in LISTINGS:
        words = [word.replace("POOL", live.pool).replace("ID", name) for word in command]
        told = {
            output: live.ok(*words, "-o", output).out for output in ("json", "yaml", "jsonl", "table", "wide", "name")
        }
        data = json.loads(told["json"])
        if command not in changing:
            assert yaml.safe_load(told["yaml"]) == data, command
        for line in told["jsonl"].splitlines():
            json.loads(line)
        if command != ("node", "resource", "POOL-0"):  # its names are made of two fields
            assert all(text in told["json"] for text in told["name"].split()), command
    rows = live.ok("workload", "ls", "--pool", live.pool).out.splitlines()
    assert rows[0].split() == ["workload", "state", "status", "node", "image"]
    (row,) = live.data("workload", "ls", "--pool", live.pool)
    assert rows[1].split() == [name, row["state"], "healthy", row["node_id"], row["image"]]


def test_send_then_copy_of_a_large_file(live: Live, tmp_path: Path) -> None:
    (name,) = live.deploy()
    data = os.urandom(1 << 20) * 50
    file = tmp_path / "large.bin"
    file.write_bytes(data)
    live.ok("workload", "send", name, "--file", f"{file}:/data/large.bin:0640:{os.getuid()}:{os.getgid()}")
    (row,) = live.data("workload", "copy", f"{name}:/data/large.bin", "-d", tmp_path / "back")
    back = tmp_path / "back" / "large.bin"
    assert row == {"workload_id": name, "path": str(back), "size_bytes": len(data)}
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(data).digest()
    info = back.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, os.getuid(), os.getgid())


def test_send_small_files_to_several(live: Live, tmp_path: Path) -> None:
    ids = live.deploy("--count", 2)
    (tmp_path / "a").write_text("A")
    live.ok("workload", "send", *ids, "--file", f"{tmp_path / 'a'}:/etc/a:0600")
    live.ok("workload", "copy", *(f"{name}:/etc/a" for name in ids), "-d", tmp_path / "out")
    found = sorted((tmp_path / "out").rglob("a"))
    assert [path.read_text() for path in found] == ["A", "A"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    bad = live("workload", "send", ids[0], "nobody", "--file", f"{tmp_path / 'a'}:/etc/a")
    assert bad.code in (1, 2)
    assert "nobody" in bad.out + bad.err


def test_node_down_with_check_never_marks_a_node_that_is_alive(live: Live) -> None:
    node = f"{live.pool}-x"
    live.ok("node", "add", live.pool, "--nodename", node, "--endpoint", "mem://")
    live.ok("node", "set-status", node, "--ttl", "600s")
    ran = live("node", "down", node, "--check", "--check-timeout", "0.2s")
    assert ran.code == 1
    assert "is alive" in ran.out
    assert live.data("node", "get", node)["is_bypassed"] is False
    live.ok("node", "set-status", node, "--ttl", "0")
    live.ok("node", "down", node, "--check", "--check-timeout", "5s")
    assert live.data("node", "get", node)["is_bypassed"] is True
    live.ok("node", "set-status", node, "--ttl", "600s")
    only = ("--pool", live.pool, "--entry", "web", "--image", "busybox", "--node", node)
    assert live("workload", "deploy", live.spec, *only).code == 1
    live.ok("node", "up", node)
    live.ok("workload", "deploy", live.spec, *only)

"""``eru serve`` as a process: start, work, stop, start again; and what can be done with its store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.service.pb.corerpc_pb2 import Empty
from backends.real.service.pb.corerpc_pb2_grpc import CoreRPCStub
from backends.real.service.pb.eru_v1_pb2_grpc import EruStub
from eru_sim.cli.main import main
from eru_sim.verification import verify

pytestmark = pytest.mark.long

CPU = {"cpu": '{"cpu_request": 1, "bind": true}'}


class Served:
    """One run of the command."""

    def __init__(self, directory: Path, *options: str) -> None:
        command = [sys.executable, "-m", "eru_sim.cli.main", "serve", "--data-dir", str(directory / "data")]
        with (directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", "127.0.0.1:0", "--engines", "simulated", *options],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.match(r"serving on (\S+?)(?:, metrics on (\S+))?\n", self.line)
        assert found is not None, (directory / "log").read_text()
        self.address, self.metrics = found.groups()
        self.channel = grpc.insecure_channel(self.address)
        self.stub: Any = EruStub(self.channel)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.channel.close()
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[list[Served]]:
    """What is started in a test; ended with it."""
    runs: list[Served] = []
    yield runs
    for run in runs:
        run.channel.close()
        run.process.kill()
        run.process.wait()
        assert run.process.stdout is not None
        run.process.stdout.close()


def _nodes(stub: Any) -> None:
    stub.AddPool(pb.AddPoolRequest(name="pool"))
    for number in range(2):
        endpoint = pb.Endpoint(url="sim://?cpus=4")
        stub.AddNode(pb.AddNodeRequest(node_id=f"n{number}", pool="pool", endpoint=endpoint, is_test=True))


def _submit(stub: Any, name: str, count: int) -> list[str]:
    spec = pb.WorkloadSpec(workload_id=name, count=count, app=name, image="x", resources=CPU)
    operation = stub.Submit(pb.SubmitRequest(spec=spec, idempotency_key=name))
    updates = stub.WatchOperation(pb.WatchOperationRequest(operation_id=operation.operation_id))
    return [update.result.subject for update in updates if not update.is_done]


def test_it_stops_gracefully_and_goes_on_where_it_was(tmp_path: Path, served: list[Served]) -> None:
    recording = tmp_path / "run.jsonl"
    options = ("--journal", str(recording), "--metrics", "127.0.0.1:0", "--log-format", "json", "--policy", "worst-fit")
    run = Served(tmp_path, *options)
    served.append(run)
    _nodes(run.stub)
    assert len(_submit(run.stub, "a", 3)) == 3
    assert CoreRPCStub(run.channel).Info(Empty()) is not None
    with urllib.request.urlopen(f"http://{run.metrics}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert 'eru_workloads{part="running"} 3.0' in metrics
    assert 'eru_results_total{outcome="running"} 3.0' in metrics
    assert 'eru_calls_total{method="/eru.v1.Eru/Submit",status="OK"} 1.0' in metrics
    data = str(tmp_path / "data")
    assert main(["store", "check", data, "-o", "json"]) == 0
    assert main(["store", "backup", data, str(tmp_path / "backup")]) == 0
    assert main(["store", "export", data, str(tmp_path / "export.jsonl")]) == 0
    info = run.stub.GetInfo(pb.GetInfoRequest())
    assert run.stop() == 0
    for line in (tmp_path / "log").read_text().splitlines():
        assert "event" in msgspec.json.decode(line)
    for file in (recording, tmp_path / "export.jsonl"):
        found = verify(file)
        assert (found["ok"], found["journal_digest"]) == (True, info.journal_digest)
    again = Served(tmp_path, "--journal", str(recording))
    served.append(again)
    after = again.stub.GetInfo(pb.GetInfoRequest())
    assert (after.core_id, after.journal_digest, after.policy.name) == (info.core_id, info.journal_digest, "worst-fit")
    listed = again.stub.ListWorkloads(pb.ListWorkloadsRequest())
    assert [(one.workload_id, one.state) for one in listed] == [
        (f"a/{copy}", pb.WORKLOAD_STATE_RUNNING) for copy in range(3)
    ]
    _submit(again.stub, "b", 2)
    assert again.stop(signal.SIGINT) == 0
    found = verify(recording)
    assert found["ok"]
    assert found["batches"] > info.batches
    assert main(["store", "restore", str(tmp_path / "backup"), str(tmp_path / "restored"), "-o", "json"]) == 0
    assert main(["store", "restore", str(tmp_path / "backup"), str(tmp_path / "restored")]) == 2
    assert main(["store", "check", str(tmp_path / "nowhere")]) == 2


def test_a_recording_is_whole_after_a_crash(tmp_path: Path, served: list[Served]) -> None:
    recording = tmp_path / "run.jsonl"
    run = Served(tmp_path, "--journal", str(recording))
    served.append(run)
    _nodes(run.stub)
    _submit(run.stub, "a", 3)
    run.stop(signal.SIGKILL)
    torn = recording.read_bytes()[:-40]
    recording.write_bytes(torn)
    again = Served(tmp_path, "--journal", str(recording))
    served.append(again)
    _submit(again.stub, "b", 2)
    digest = again.stub.GetInfo(pb.GetInfoRequest()).journal_digest
    assert again.stop() == 0
    found = verify(recording)
    assert (found["ok"], found["first_difference"]) == (True, None)
    assert found["journal_digest"] == digest
    recording.write_bytes(b"something else\n")
    command = ["serve", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--engines", "simulated"]
    assert main([*command, "--journal", str(recording)]) == 2
    assert recording.read_bytes() == b"something else\n"


def test_what_a_killed_build_leaves_goes_with_the_next_start(tmp_path: Path, served: list[Served]) -> None:
    builds = tmp_path / "data" / "builds"
    (builds / "eru-build-x" / "home0").mkdir(parents=True)
    served.append(Served(tmp_path, "--git-type", "github"))
    assert list(builds.iterdir()) == []
    assert builds.stat().st_mode & 0o777 == 0o700


def test_a_second_signal_ends_it_at_once(tmp_path: Path, served: list[Served]) -> None:
    run = Served(tmp_path)
    served.append(run)
    _nodes(run.stub)
    start = iter([pb.RunInput(start=pb.RunStart(spec=pb.WorkloadSpec(workload_id="job", image="x", resources=CPU)))])
    output = run.stub.Run(start)
    next(output)
    run.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "no-such"], "no policy"),
        (["--queue", "no-such"], "no discipline"),
        (["--plugin", "no-such"], "no plugin"),
        (["--plugin", "cpu=7"], "JSON object"),
        (["--engines", "imaginary"], "neither"),
        (["--engines", "simulated:start=soon"], "not a duration"),
        (["--listen", "0.0.0.0:0"], "can be reached by others"),
        (["--tls-cert", "x"], "give both"),
        (["--user", "x"], "give both"),
        (["--token-file", "/nonexistent"], "no such file"),
        (["--rate-limit", "fast"], "--rate-limit"),
        (["--metrics", "9100"], "--metrics"),
        (["--git-key", "x"], "give --git-type too"),
        (["--git-type", "sourceforge"], "github or gitlab"),
        (["--git-type", "github", "--git-allow", "ext"], "http or file"),
        (["--git-type", "github", "--git-host", "https://x"], "NAME[:PORT]"),
        (["--git-type", "github", "--git-token-file", "/nonexistent"], "no such file"),
        (["--git-type", "github", "--git-clone-timeout", "soon"], "--git-clone-timeout"),
        (["--log-format", "xml"], "--log-format"),
        (["--retention", "long"], "--retention"),
        (["--overcommit", "cpu=0"], "overcommit"),
        (["--listen", "256.0.0.1:0", "--insecure"], "cannot listen"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    directory = tmp_path / "data"
    command = ["serve", "--data-dir", str(directory), "--listen", "127.0.0.1:0", "--engines", "simulated"]
    assert main([*command, *options]) in (2, 3)
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "fault in eru" not in errors[0]


def test_two_do_not_share_a_store(tmp_path: Path, served: list[Served], capfd: pytest.CaptureFixture[str]) -> None:
    served.append(Served(tmp_path))
    command = ["serve", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--engines", "simulated"]
    assert main(command) == 2
    assert f"in use by process {served[0].process.pid}" in capfd.readouterr().err
    assert served[0].stop() == 0
    assert main([*command, "--plugin", "labels"]) == 2
    assert "config.dimensions" in capfd.readouterr().err
    assert os.stat(tmp_path / "data" / "eru.db").st_mode & 0o077 == 0

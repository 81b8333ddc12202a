"""Runs that are killed and resumed end as if nothing had happened; what cannot be resumed says why, and stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_slices_kit import SHARED_TRACES, huawei_slice
from simulation_kit import S, batches, down, up, work, written

from backends.sim.driver import Arrival, SimDriver
from backends.sim.engine import EngineModel, Service, SimulatedEngine
from eru_sim import EruError, ReplayResult, checkpoint, replay
from eru_sim.cli.main import main
from scheduler.core import Core
from scheduler.events import NodeJoined, WorkloadsSubmitted
from scheduler.journal import Header, JournalError, JournalWriter
from scheduler.policies import BestFit

pytestmark = pytest.mark.long

FAULTS = "start=2s,stop=1s,pull=5s,jitter=0.3,start_failure=0.05,lost=0.1,duplicate=0.2,slow_nodes=0.2,report=30s"
SOURCE = "synthetic:google2019?nodes=12&hours=0.2&seed=3&load=1.1&workloads=300"
TIMING = ("startup_s", "load_s", "wall_s", "cpu_s", "peak_rss_bytes")


class Killed(BaseException):
    """In place of a signal."""


@contextmanager
def killed_after(batches: int) -> Iterator[None]:
    """The run in here ends abruptly when that batch, counted from its beginning, has been observed."""
    observe = checkpoint.Saver.observe

    def observe_and_die(saver: checkpoint.Saver, at_ns: int, *rest: object) -> None:
        observe(saver, at_ns, *rest)
        if saver._batches >= batches:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Saver, "observe", observe_and_die)
        with pytest.raises(Killed):
            yield


def facts(result: ReplayResult) -> dict[str, Any]:
    """Everything that a run found, but for the time it took."""
    frames = {"timeline": result.timeline, "nodes": result.nodes, "placement": result.placement}
    return {
        "summary": {name: value for name, value in result.summary.items() if name not in TIMING},
        **{name: frame.astype(str).to_dict("list") for name, frame in frames.items()},
        "delays": result.delays_s.tolist(),
    }


# -- cases ----------------------------------------------------------------------------------------------------------


def _synthetic(folder: Path, policy: str) -> dict[str, Any]:
    return {
        "source": SOURCE, "policy": policy, "seed": 5, "engine": FAULTS, "horizon": "1h", "overcommit": "cpu=1.3",
        "failures": "exponential?mtbf_hours=0.3&mttr_minutes=2",
    }  # fmt: skip


def _disciplined(queue: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {**_synthetic(folder, "worst-fit"), "queue": queue}


def _kills(folder: Path) -> dict[str, Any]:
    """Several things at every instant: kills of whole submissions, recorded placements, machines that come and go."""
    machines = [
        up("a", cpu=9, memory=9),
        up("b", cpu=9, memory=9),
        down("b", 7),
        up("b", 9),
        down("a", 14),
        up("a", 21),
    ]
    submissions = [
        work(
            f"w{number}", number // 3, (7, 2, None)[number % 3], size=1 + number % 4, count=1 + number % 3,
            kill_at_ns=(number // 3 + number % 5) * S if number % 2 else None, exit_code=number % 2,
            recorded_machine_id="a" if number % 4 == 0 else "ghost" if number % 7 == 0 else "",
        )
        for number in range(90)
    ]  # fmt: skip
    engine = EngineModel(
        start_ns=S, stop_ns=2 * S, lost_completion_ratio=0.2, duplicate_completion_ratio=0.2, start_failure_ratio=0.1,
        healthy_ns=S, report_interval_ns=3 * S,
    )  # fmt: skip
    source = written(folder, machines, submissions, 4000)
    return {"source": source, "policy": "random", "initial": "recorded", "engine": engine, "check_every": 100}


def _numa(folder: Path) -> dict[str, Any]:
    """Particular cores and NUMA nodes, groups by rack and host, and hosts that fail."""
    return {
        "source": huawei_slice(folder, "C2", 150, 40), "policy": "worst-fit", "horizon": "10m", "engine": FAULTS,
        "failures": "exponential?mtbf_hours=2&mttr_minutes=1",
    }  # fmt: skip


def _gpu(folder: Path) -> dict[str, Any]:
    """Particular devices, shared and whole."""
    return {
        "source": f"openb:{SHARED_TRACES / 'openb_gpu2023'}?times=arrivals", "policy": "dot-product", "horizon": "4m",
        "engine": FAULTS, "failures": "exponential?mtbf_hours=20&mttr_minutes=1",
    }  # fmt: skip


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    **{policy: lambda folder, policy=policy: _synthetic(folder, policy) for policy in ("best-fit", "random")},
    **{
        queue: _disciplined(queue)
        for queue in ("easy?order=shortest&pass=event", "conservative", "drf", "priority?aging_s=60")
    },
    "kills": _kills,
}
if (SHARED_TRACES / "huawei_numa2025").is_dir() and (SHARED_TRACES / "openb_gpu2023").is_dir():
    CASES |= {"numa": _numa, "gpu": _gpu}
_FOLDER = TemporaryDirectory(prefix="checkpoints")


@cache
def uninterrupted(case: str) -> tuple[dict[str, Any], dict[str, Any], bytes, int]:
    """The options of a case, what it finds, its journal, and how many batches that has."""
    folder = Path(_FOLDER.name) / str(list(CASES).index(case))
    folder.mkdir()
    options = CASES[case](folder)
    journal = folder / "whole.jsonl"
    found = facts(replay(**options, journal=journal))
    return options, found, journal.read_bytes(), len(batches(journal))


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_a_run_killed_at_any_batch_goes_on_as_if_nothing_had_happened(case: str, data: st.DataObject) -> None:
    options, found, journal, count = uninterrupted(case)
    kills = sorted(data.draw(st.lists(st.integers(1, count - 1), min_size=1, max_size=2, unique=True), label="kills"))
    every = data.draw(st.one_of(st.integers(1, count), st.sampled_from(["7s", "3m"])).filter(
        lambda every: not isinstance(every, int) or count // every < 30), label="every")  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        with killed_after(kills[0]):
            replay(**options, journal=folder / "run.jsonl", checkpoint=folder / "saved", every=every)
        for kill in kills[1:]:
            with killed_after(kill):
                replay(resume=folder / "saved")
        assert not (folder / "run.jsonl").exists()
        result = replay(resume=folder / "saved")
        assert (folder / "run.jsonl").read_bytes() == journal
        assert facts(result) == found
        assert sorted(path.name for path in folder.iterdir()) == ["run.jsonl", "saved"]


def test_the_cases_have_what_they_are_for() -> None:
    for case in CASES:
        _, found, _, count = uninterrupted(case)
        summary = found["summary"]
        assert count > 80, case
        assert min(summary["start_failures"], summary["stale_completions"]) > 0, case
        assert summary["evicted"] > 0, case
    assert uninterrupted("kills")[1]["summary"]["killed"] > 0
    assert uninterrupted("kills")[1]["summary"]["adopted"] > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_killed_again_and_again_ends_with_the_same_journal(tmp_path: Path, seed: int) -> None:
    """SIGKILL at random moments, each after the process has saved at least once more, until it is through."""
    source = "synthetic:google2019?nodes=40&hours=0.3&seed=2&load=1.1&workloads=1500"
    options = ["--engine", FAULTS, "--failures", "exponential?mtbf_hours=1&mttr_minutes=2", "--horizon", "2h", "-q"]
    whole = replay(source, engine=FAULTS, failures=options[3], horizon="2h", journal=tmp_path / "whole.jsonl")
    journal, saved = tmp_path / "run.jsonl", tmp_path / "saved"
    arguments = [source, *options, "--journal", str(journal), "--checkpoint", str(saved), "--every", "150"]
    draw = random.Random(seed)
    kills = 0
    for _ in range(50):
        before = saved.stat().st_ino if saved.exists() else 0
        with subprocess.Popen(
            [sys.executable, "-m", "eru_sim.cli.main", "sim", "replay", *arguments, "-o", "json"],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        ) as process:  # fmt: skip
            while kills < 3 and process.poll() is None and (saved.stat().st_ino if saved.exists() else 0) == before:
                time.sleep(0.01)
            if kills < 3:
                time.sleep(draw.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
            printed, _ = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        arguments = ["--resume", str(saved), "-q"]
    summary = json.loads(printed)
    assert kills > 1
    assert journal.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    for name in ("decision_digest", "journal_digest", "utilisation", "queueing_delay_s", "completed", "evicted"):
        assert summary[name] == whole.summary[name], name


def test_a_process_killed_before_its_first_interval_goes_on_from_its_start(tmp_path: Path) -> None:
    whole = replay(SOURCE, journal=tmp_path / "whole.jsonl")
    saved, run = tmp_path / "saved", ["sim", "replay", "-q", "-o", "json"]
    first = [SOURCE, "--journal", str(tmp_path / "run.jsonl"), "--checkpoint", str(saved), "--every", "1000d"]
    with subprocess.Popen(
        [sys.executable, "-m", "eru_sim.cli.main", *run, *first], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        while not saved.exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert checkpoint.read(saved).writer.batches == 0
    assert facts(replay(resume=saved)) == facts(whole)
    assert (tmp_path / "run.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


# -- what is saved, and when ----------------------------------------------------------------------------------------


def saves(monkeypatch: pytest.MonkeyPatch) -> list[checkpoint.Checkpoint]:
    """The checkpoints that are written from now on."""
    seen: list[checkpoint.Checkpoint] = []
    write = checkpoint.write

    def note(path: Path, saved: checkpoint.Checkpoint) -> None:
        seen.append(saved)
        write(path, saved)

    monkeypatch.setattr(checkpoint, "write", note)
    return seen


def test_a_run_is_saved_at_its_start_and_end_and_every_so_many_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = saves(monkeypatch)
    replay(SOURCE, checkpoint=tmp_path / "saved", every=100)
    counts = [saved.writer.batches for saved in seen]
    assert counts[:-1] == list(range(0, counts[-1] + 1, 100))
    assert [saved.is_over for saved in seen] == [False] * (len(seen) - 1) + [True]


def test_a_run_is_saved_once_in_every_interval_that_has_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = saves(monkeypatch)
    source = written(tmp_path, [up("a")], [work(f"w{at_s}", at_s, 1) for at_s in (3, 9, 10, 11, 29, 65)], 100)
    replay(source, checkpoint=tmp_path / "saved", every="10s", journal=tmp_path / "j")
    times = [batch.at_ns // S for batch in batches(tmp_path / "j")]
    assert [times[saved.writer.batches - 1] for saved in seen[1:-1]] == [10, 29, 30, 65]


def test_a_run_that_is_over_can_be_resumed_and_gives_the_same_again(tmp_path: Path) -> None:
    out, saved = tmp_path / "out", tmp_path / "saved"
    first = replay(SOURCE, journal=tmp_path / "j.gz", out=out, checkpoint=saved, every="5m", horizon="10m")
    journal = (tmp_path / "j.gz").read_bytes()
    tables = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".parquet"}
    for path in out.iterdir():
        path.unlink()
    again = replay(resume=saved)
    assert facts(again) == facts(first)
    assert (tmp_path / "j.gz").read_bytes() == journal
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".parquet"} == tables
    other = replay(SOURCE, checkpoint=saved, horizon="5m")
    assert facts(replay(resume=saved)) == facts(other) != facts(first)


def test_a_compressed_journal_goes_on_too(tmp_path: Path) -> None:
    options = {"source": SOURCE, "engine": FAULTS, "horizon": "1h", "every": 100}
    whole = replay(**options, journal=tmp_path / "whole.jsonl.gz", checkpoint=tmp_path / "saved")
    with killed_after(333):
        replay(**options, journal=tmp_path / "run.jsonl.gz", checkpoint=tmp_path / "saved")
    resumed = replay(resume=tmp_path / "saved")
    assert facts(resumed) == facts(whole)
    assert (tmp_path / "run.jsonl.gz").read_bytes() == (tmp_path / "whole.jsonl.gz").read_bytes()
    assert len(batches(tmp_path / "run.jsonl.gz")) > 500


def test_what_stands_in_the_journal_beyond_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    for name in ("run.jsonl", "run.jsonl.gz"):
        part = tmp_path / f"{name}.part"
        whole = replay(SOURCE, journal=tmp_path / name)
        expected = batches(tmp_path / name)
        with killed_after(250):
            replay(SOURCE, journal=tmp_path / name, checkpoint=tmp_path / "saved", every=100)
        part.write_bytes(part.read_bytes() + b'{"batch":{"seq"')
        assert facts(replay(resume=tmp_path / "saved")) == facts(whole)
        assert batches(tmp_path / name) == expected
        (tmp_path / "saved").unlink()


def test_the_machinery_of_a_checkpoint_changes_nothing_in_a_run(tmp_path: Path) -> None:
    options, found, journal, _ = uninterrupted("best-fit")
    assert facts(replay(**options, journal=tmp_path / "j", checkpoint=tmp_path / "saved", every=20)) == found
    assert (tmp_path / "j").read_bytes() == journal


# -- what cannot be -------------------------------------------------------------------------------------------------


@pytest.fixture
def halfway(tmp_path: Path) -> Path:
    """The checkpoint of a run on a file, killed halfway, with a journal."""
    source = written(tmp_path, [up("a", cpu=5, memory=5)], [work(f"w{number}", number, 9) for number in range(50)])
    with killed_after(60):
        replay(source, policy="random", seed=3, journal=tmp_path / "j", checkpoint=tmp_path / "saved", every=25)
    return tmp_path / "saved"


def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path: Path, halfway: Path) -> None:
    whole = halfway.read_bytes()
    foreign = b'{"journal":"eru"}\n'
    for content, message in (
        (foreign, "is not a checkpoint"),
        (b"", "is not a checkpoint"),
        (whole[:-1], "is damaged or cut off"),
        (whole[:20], "is damaged or cut off"),
        (whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], "is damaged or cut off"),
        (whole.replace(b"checkpoint 2\n", b"checkpoint 9\n", 1), "has version 9; this build reads version 2"),
    ):
        halfway.write_bytes(content)
        part = (tmp_path / "j.part").read_bytes()
        for call in ({"resume": halfway}, {"source": SOURCE, "checkpoint": halfway}):
            with pytest.raises(EruError, match=message):
                replay(**call)
        assert halfway.read_bytes() == content
        assert (tmp_path / "j.part").read_bytes() == part
    with pytest.raises(EruError, match=r"resume: there is no file .*start the run anew"):
        replay(resume=tmp_path / "nothing")
    with pytest.raises(EruError, match="is a directory"):
        replay(resume=tmp_path)


def test_a_run_that_is_not_over_is_not_overwritten(halfway: Path) -> None:
    before = halfway.read_bytes()
    with pytest.raises(EruError, match=r"checkpoint: .*has a run that is not over; go on with --resume"):
        replay(SOURCE, checkpoint=halfway)
    assert halfway.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "synthetic:google2019"),
        ("cluster", "5x4c4g"),
        ("policy", "first-fit"),
        ("policy", "random?seed=4"),
        ("policy", "file.py:Mine"),
        ("queue", "priority?pass=event"),
        ("seed", 4),
        ("overcommit", "cpu=2"),
        ("initial", "recorded"),
        ("horizon", "1h"),
        ("failures", "none"),
        ("engine", "start=1s"),
        ("journal", "other"),
        ("out", "directory"),
        ("check_every", 5),
        ("checkpoint", "other"),
        ("every", 26),
        ("every", "25s"),
    ],
)
def test_an_option_that_does_not_agree_is_named(halfway: Path, name: str, value: Any) -> None:
    with pytest.raises(EruError, match=rf"^{name}: .*is not what the run was started with"):
        replay(resume=halfway, **{name: value})


def test_options_that_agree_may_be_given_again(halfway: Path) -> None:
    arguments = checkpoint.read(halfway).arguments
    resumed = replay(
        arguments.source, policy="random?seed=3", seed=3, every="25", checkpoint=halfway, journal=arguments.journal,
        engine=EngineModel(seed=3), resume=halfway,
    )  # fmt: skip
    assert resumed.summary["completed"] == 50


def test_a_trace_that_has_changed_is_refused(halfway: Path) -> None:
    path = Path(checkpoint.read(halfway).arguments.source.removeprefix("parquet:"))
    content = path.read_bytes()
    for other in (content[:-1] + bytes([content[-1] ^ 1]), content + b"\0"):
        path.write_bytes(other)
        with pytest.raises(EruError, match=r"^source: .*is not the file that the run was started with"):
            replay(resume=halfway)
    path.unlink()
    with pytest.raises(EruError, match=r"^source: "):
        replay(resume=halfway)
    path.write_bytes(content)
    assert replay(resume=halfway).summary["completed"] == 50


def test_what_the_run_itself_writes_may_stand_beside_the_trace(tmp_path: Path) -> None:
    (tmp_path / "PM_res.csv").write_text("CPU1,RAM1,CPU2,RAM2\n8,32,8,32\n")
    (tmp_path / "topology_provider.csv").write_text("host_id,rack_id\nhost-0,0\n")
    (tmp_path / "VM_data_C1.csv").write_text("flavor_vcpus,flavor_ram,numa,strategy,group,domain\n" + "1,1,1,,,\n" * 9)
    own = {"journal": tmp_path / "j", "checkpoint": tmp_path / "saved", "out": tmp_path / "out"}
    with killed_after(7):
        replay(f"huawei_numa2025:{tmp_path}", every=3, **own)
    (tmp_path / "VM_data_C2.csv").write_text("a file that was not there before\n")
    assert replay(resume=tmp_path / "saved").summary["placed"] == 9
    inputs = checkpoint.read(tmp_path / "saved").inputs
    assert [Path(name).name for name in inputs["source"]] == ["PM_res.csv", "VM_data_C1.csv", "topology_provider.csv"]


def test_a_journal_without_what_was_recorded_is_refused(tmp_path: Path, halfway: Path) -> None:
    part = tmp_path / "j.part"
    recorded = part.read_bytes()
    mark = checkpoint.read(halfway).mark
    assert mark is not None
    for content in (None, recorded[: mark.size - 1], recorded.replace(b'"hash":"', b'"hash":"0')):
        part.unlink()
        if content is not None:
            part.write_bytes(content)
        with pytest.raises(JournalError, match=r"j\.part: has not the 50 batches before the checkpoint"):
            replay(resume=halfway)
        assert (part.read_bytes() if part.exists() else None) == content
        part.write_bytes(recorded)
    assert replay(resume=halfway).summary["completed"] == 50


def test_a_feed_that_differs_from_what_was_read_is_refused() -> None:
    def arrivals(first: int, count: int) -> list[Arrival]:
        work = [
            Arrival(number * S, WorkloadsSubmitted(workload_id=f"w{number}", request=(first, 1)), Service(S))
            for number in range(count)
        ]
        return [Arrival(0, NodeJoined(node_id="n", capacity={"cpu": 9, "memory": 9})), *work]

    def driver() -> SimDriver:
        core = Core()
        return SimDriver(core, SimulatedEngine(), JournalWriter(Header(config=core.config)))

    first = driver()
    first.run(arrivals(1, 9), horizon_ns=4 * S)
    for feed in (arrivals(2, 9), arrivals(1, 5), arrivals(1, 2)):
        second = driver()
        second.load(first.dump())
        with pytest.raises(ValueError, match=r"feed: what follows arrival 6 has changed"):
            second.run(feed)
    over = driver()
    over.run(arrivals(1, 5))
    second = driver()
    second.load(over.dump())
    with pytest.raises(ValueError, match=r"feed: what follows arrival 6 has changed"):
        second.run(arrivals(1, 6))


def test_another_header_is_refused() -> None:
    core = Core()
    writer = JournalWriter(Header(config=core.config))
    writer.append(0, [], [])
    again = JournalWriter(Header(config=core.config), resume=writer.dump())
    again.append(1, [], [])
    writer.append(1, [], [])
    assert (again.batches, again.journal_digest) == (2, writer.journal_digest)
    with pytest.raises(JournalError, match="header: not that of the run to be resumed"):
        JournalWriter(Header(config=core.config, notes={"seed": 1}), resume=writer.dump())


def test_how_often_must_make_sense(tmp_path: Path) -> None:
    for every in (0, "0s", "-1", "often", "1.5", 2.5):
        with pytest.raises(EruError, match=r"^every: "):
            replay(SOURCE, checkpoint=tmp_path / "saved", every=every)  # type: ignore[arg-type]
    with pytest.raises(EruError, match=r"every: 5 needs a checkpoint"):
        replay(SOURCE, every=5)
    with pytest.raises(EruError, match=r"checkpoint: .* is the journal"):
        replay(SOURCE, checkpoint=tmp_path / "j", journal=tmp_path / "j")
    with pytest.raises(EruError, match=r"source: there is none"):
        replay()
    assert list(tmp_path.iterdir()) == []


# -- policies of one's own ------------------------------------------------------------------------------------------


class Mine(BestFit):
    """Best fit under another name."""

    name = "mine"

    def __init__(self, strength: int = 1) -> None:
        self.strength = strength


def test_a_policy_that_is_code_is_loaded_only_when_it_is_named_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.py"
    file.write_text("from scheduler.policies import BestFit\n\nclass Own(BestFit):\n    pass\n")
    saved = tmp_path / "saved"
    with killed_after(200):
        replay(SOURCE, policy=f"{file}:Own", checkpoint=saved, every=90)
    sys.modules.pop("eru_policy_own")
    for others in ([], ["--policy", "best-fit"]):
        assert main(["sim", "replay", "--resume", str(saved), "-q", *others]) == 2
        assert "error: policy: " in capsys.readouterr().err
        assert "eru_policy_own" not in sys.modules
    resumed = replay(resume=saved, policy=f"{file}:Own")
    assert resumed.summary["decision_digest"] == replay(SOURCE, policy="best-fit").summary["decision_digest"]
    file.write_text(file.read_text() + "\n")
    with pytest.raises(EruError, match=r"^policy: .*own\.py' is not the file"):
        replay(resume=saved, policy=f"{file}:Own")


def test_a_policy_object_must_be_given_again(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    with killed_after(200):
        replay(SOURCE, policy=Mine(2), checkpoint=saved, every=90)
    with pytest.raises(EruError, match=r"policy: 'mine' of the checkpoint is not built in; give it again"):
        replay(resume=saved)
    with pytest.raises(EruError, match=r"policy: .*is not what the run was started with"):
        replay(resume=saved, policy=Mine(3))
    assert replay(resume=saved, policy=Mine(2)).summary["policy_params"] == {"strength": 2}


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_saves_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, journal, out = (str(tmp_path / name) for name in ("saved", "run.jsonl", "out"))
    arguments = ["sim", "replay", SOURCE, "--policy", "random", "--seed", "7", "-q", "-o", "json", "--journal", journal]
    assert main([*arguments, "--out", out]) == 0
    whole = json.loads(capsys.readouterr().out)
    bytes_of_journal = Path(journal).read_bytes()
    report = (tmp_path / "out" / "report.html").read_text()
    command = next(line for line in report.splitlines() if "eru sim replay" in line)
    with killed_after(250):
        replay(SOURCE, policy="random", seed=7, journal=journal, out=out, checkpoint=saved, every=90)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    for other in (["--policy", "best-fit"], ["--cluster", "3x4c4g"], ["--seed", "0"], ["--check"], ["other:thing"]):
        assert main(["sim", "replay", *other, "--resume", saved, "-q"]) == 2
        error = capsys.readouterr().err
        assert "is not what the run was started with" in error
    assert (
        main(["sim", "replay", SOURCE, "--seed", "7", "--cluster", "trace", "--resume", saved, "-q", "-o", "json"]) == 0
    )
    resumed = json.loads(capsys.readouterr().out)
    assert {**resumed, **dict.fromkeys(TIMING)} == {**whole, **dict.fromkeys(TIMING)}
    assert Path(journal).read_bytes() == bytes_of_journal
    assert command in (tmp_path / "out" / "report.html").read_text()
    assert main(["sim", "replay", "--resume", str(tmp_path / "none")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["sim", "replay"]) == 2
    assert "missing argument 'SOURCE'" in capsys.readouterr().err


def test_a_run_that_fails_leaves_what_it_takes_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the disk is full: the checkpoint before stays, whole."""
    write = os.fsync
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise OSError(28, "No space left on device")
        write(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replay(SOURCE, journal=tmp_path / "j", checkpoint=tmp_path / "saved", every=100)
    monkeypatch.undo()
    assert checkpoint.read(tmp_path / "saved").writer.batches > 0
    result = replay(resume=tmp_path / "saved")
    assert facts(result) == facts(replay(SOURCE))
    assert not (tmp_path / "j.part").exists()

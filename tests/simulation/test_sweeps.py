"""Sweeps: their table, what is kept and what is done again, failures, and workers of all kinds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from simulation_kit import up, work, written

import eru_sim
from eru_sim import EruError, replay, trace_cache
from eru_sim.outcomes import outcomes_of_journal
from eru_sim.recording import READERS
from eru_sim.scenario import read_scenario
from eru_sim.sweeps import RESULTS, TIMING, metrics_of, run_sweep
from traces import MachineEvent, Option, Reader, Source, Trace, open_trace

pytestmark = pytest.mark.long

SCENARIO = {
    "source": {"format": "synthetic", "path": "google2019", "nodes": 4, "hours": 0.05, "load": [0.8, 1.4]},
    "policy": ["best-fit", "random"],
    "replications": 2,
}
TOML = """
seed = {seeds}
policy = ["best-fit", "random"]
[source]
format = "synthetic"
path = "google2019"
nodes = 4
hours = 0.05
"""


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return written(tmp_path, [up("a"), up("b")], [work(f"w{number}", number, 9, size=60) for number in range(9)])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, trace: str) -> Iterator[list[str]]:
    """The format ``counted``, and the times it was opened and its streams were read."""
    calls: list[str] = []

    class Counted:
        def __init__(self, inner: Trace) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def machine_events(self) -> Iterator[MachineEvent]:
            calls.append("machine_events")
            return self._inner.machine_events()

        def submissions(self) -> Iterator[Any]:
            calls.append("submissions")
            return self._inner.submissions()

    def open_counted(source: Source) -> Trace:
        calls.append("open")
        return Counted(open_trace(trace))

    option = Option(name="x", default="", meaning="", parse=str)
    monkeypatch.setitem(READERS, "counted", Reader(name="counted", summary="", open=open_counted, options=(option,)))
    trace_cache._kept.clear()
    yield calls
    trace_cache._kept.clear()


def files(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted((directory / "runs").iterdir())}


def same_bytes(one: Path, other: Path, name: str = RESULTS) -> bool:
    return (one / name).read_bytes() == (other / name).read_bytes()


def test_a_row_is_the_replay_of_that_cell_and_seed(tmp_path: Path) -> None:
    frame = eru_sim.sweep(SCENARIO, out=tmp_path / "out")
    assert frame.attrs["failures"] == []
    assert len(frame) == 8
    assert frame["replication"].tolist() == [0, 1] * 4
    assert frame["policy"].tolist() == ["best-fit", "best-fit", "random", "random"] * 2
    assert frame["source.load"].tolist() == [0.8] * 4 + [1.4] * 4
    row = frame.iloc[7]
    alone = replay(row["source"], policy="random", seed=int(row["seed"])).summary
    assert row["decision_digest"] == alone["decision_digest"]
    assert row["utilisation_cpu_ratio"] == alone["utilisation"]["cpu"]
    assert row["queueing_delay_p99_s"] == alone["queueing_delay_s"]["p99"]
    assert (row["pending"], row["horizon_s"]) == (alone["pending"], alone["horizon_s"])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / RESULTS), frame)
    timing = pd.read_parquet(tmp_path / "out" / TIMING)
    assert timing[["cell", "seed"]].equals(frame[["cell", "seed"]])
    assert (timing["wall_s"] > 0).all()
    assert not {"wall_s", "cpu_s", "load_s", "startup_s", "peak_rss_bytes"} & set(frame)


def test_metrics_of_outcomes_leave_the_warm_up_out(tmp_path: Path) -> None:
    submissions = [work(f"w{number}", 10 * number, 10, size=100) for number in range(4)]
    source = written(tmp_path, [up("a")], [*submissions, work("late", 30, 20, size=100)], 60)
    result = replay(source, journal=tmp_path / "run.jsonl")
    fields = {name: getattr(result, name) for name in ("summary", "timeline", "nodes")}
    with_outcomes: Any = SimpleNamespace(**fields, outcomes=outcomes_of_journal(tmp_path / "run.jsonl"))
    whole, late = metrics_of(with_outcomes), metrics_of(with_outcomes, 25.0)
    assert (whole["workloads"], late["workloads"]) == (5, 2)
    assert (whole["queueing_delay_mean_s"], late["queueing_delay_mean_s"]) == (2, 5)
    assert whole["jct_mean_s"] == 14
    assert whole["queueing_delay_mean_s"] == result.summary["queueing_delay_s"]["mean"]
    assert late["utilisation_cpu_ratio"] == pytest.approx(1.0)
    assert metrics_of(with_outcomes, 60.0)["utilisation_cpu_ratio"] is None


def test_a_warm_up_is_a_parameter_like_others(trace: str) -> None:
    frame = eru_sim.sweep({"source": trace, "warm_up": [0, "5s"]})
    assert frame["warm_up"].tolist() == ["0", "5s"]
    assert frame["workloads"].tolist() == [9, 4]
    assert frame["decision_digest"].nunique() == 1


def test_all_cells_meet_the_same_random_numbers(tmp_path: Path) -> None:
    frame = eru_sim.sweep(SCENARIO)
    for _, rows in frame.groupby(["source.load", "replication"]):
        assert rows["policy"].tolist() == ["best-fit", "random"]
        assert rows["source"].nunique() == rows["workloads"].nunique() == 1
    assert frame.groupby("source.load")["source"].nunique().tolist() == [2, 2]


def test_what_is_done_is_kept_and_the_rest_is_computed(tmp_path: Path) -> None:
    whole = run_sweep(SCENARIO, out=tmp_path / "whole")
    assert (whole.computed, whole.reused) == (8, 0)
    again = run_sweep(SCENARIO, out=tmp_path / "whole")
    assert (again.computed, again.reused) == (0, 8)
    before = files(tmp_path / "whole")
    lost, broken, *_ = before
    (tmp_path / "whole" / "runs" / lost).unlink()
    (tmp_path / "whole" / "runs" / broken).write_text("{", encoding="utf-8")
    (tmp_path / "whole" / "runs" / f".{lost}.123.partial").write_text("{", encoding="utf-8")
    (tmp_path / "whole" / RESULTS).rename(tmp_path / "results")
    mended = run_sweep(SCENARIO, out=tmp_path / "whole")
    assert (mended.computed, mended.reused) == (2, 6)
    after = files(tmp_path / "whole")
    assert {name for name in after if after[name] != before[name]} == {lost, broken}
    assert (tmp_path / "whole" / RESULTS).read_bytes() == (tmp_path / "results").read_bytes()


def test_another_scenario_is_refused_and_an_update_keeps_what_both_have(tmp_path: Path) -> None:
    run_sweep(SCENARIO, out=tmp_path / "out")
    wider = {**SCENARIO, "policy": ["best-fit", "first-fit", "random"], "replications": 3}
    with pytest.raises(EruError, match=r"holds the sweep of another scenario \(policy, replications differs\)"):
        run_sweep(wider, out=tmp_path / "out")
    found = run_sweep(wider, out=tmp_path / "out", update=True)
    assert (found.computed, found.reused) == (10, 8)
    run_sweep(wider, out=tmp_path / "fresh")
    assert same_bytes(tmp_path / "out", tmp_path / "fresh")


def test_a_changed_variable_of_the_environment_is_another_scenario(
    tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = {"source": trace, "horizon": "$END"}
    monkeypatch.setenv("END", "5")
    run_sweep(scenario, out=tmp_path / "out")
    monkeypatch.setenv("END", "6")
    with pytest.raises(EruError, match="a default or a variable of the environment differs"):
        run_sweep(scenario, out=tmp_path / "out")


def test_runs_whose_files_have_changed_are_done_again(tmp_path: Path) -> None:
    policy = tmp_path / "mine.py"
    text = "from scheduler.policies import FirstFit\nclass Mine(FirstFit):\n    name = 'mine'\n"
    policy.write_text(text, encoding="utf-8")
    (tmp_path / "study.toml").write_text(TOML.format(seeds=1).replace('"random"', '"mine.py:Mine"'), encoding="utf-8")
    first = run_sweep(tmp_path / "study.toml", out=tmp_path / "out")
    assert (first.computed, first.failures) == (2, [])
    policy.write_text(text + "# changed\n", encoding="utf-8")
    second = run_sweep(tmp_path / "study.toml", out=tmp_path / "out")
    assert (second.computed, second.reused) == (1, 1)


def test_a_failing_cell_does_not_lose_the_others(tmp_path: Path, trace: str) -> None:
    scenario = {"source": [trace, f"parquet:{tmp_path}/missing.parquet"], "policy": ["best-fit", "first-fit"]}
    with pytest.warns(UserWarning, match=r"2 of 4 runs failed; the first, cell \w+ with seed 0: .*missing.parquet"):
        frame = eru_sim.sweep(scenario, out=tmp_path / "out")
    assert frame["source"].tolist() == [trace] * 2
    cells = [cell.cell_id for cell in read_scenario(scenario).cells]
    assert [failure["cell"] for failure in frame.attrs["failures"]] == cells[2:]
    (tmp_path / "missing.parquet").write_bytes(Path(trace.removeprefix("parquet:")).read_bytes())
    found = run_sweep(scenario, out=tmp_path / "out")
    assert (found.computed, found.reused, found.failures) == (2, 2, [])
    digests = found.results["decision_digest"].tolist()
    assert digests[:2] == digests[2:]


def test_a_fault_in_a_policy_is_a_failure_of_its_runs(tmp_path: Path, trace: str) -> None:
    policy = tmp_path / "faulty.py"
    policy.write_text(
        "from scheduler.policies import FirstFit\nclass Faulty(FirstFit):\n"
        "    def weights(self, request, reference):\n        raise KeyError('a\\nb')\n",
        encoding="utf-8",
    )
    found = run_sweep({"source": trace, "policy": ["worst-fit", f"{policy}:Faulty"]}, out=tmp_path / "out")
    (failure,) = found.failures
    assert "KeyError" in failure.error
    assert "\n" not in failure.error
    assert found.results["policy"].tolist() == ["worst-fit"]


def test_tables_of_each_run_on_request(tmp_path: Path, trace: str) -> None:
    scenario = {"source": trace, "policy": ["best-fit", "first-fit"]}
    run_sweep(scenario, out=tmp_path / "out")
    found = run_sweep(scenario, out=tmp_path / "out", tables=True)
    assert found.computed == 2
    names = sorted(path.name for path in (tmp_path / "out" / "tables").iterdir())
    assert names == sorted(f"{run.name}" for run in found.scenario.runs())
    for name in names:
        assert len(pd.read_parquet(tmp_path / "out" / "tables" / name / "delays.parquet")) == 9
    assert run_sweep(scenario, out=tmp_path / "out", tables=True).reused == 2


def test_relative_paths_start_at_the_file(tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(trace.removeprefix("parquet:")).name
    (tmp_path / "study.toml").write_text(f'source = "parquet:{name}"\n', encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    frame = eru_sim.sweep("../study.toml", out="out")
    assert frame["workloads"].tolist() == [9]
    assert (tmp_path / "elsewhere" / "out" / RESULTS).exists()
    assert Path.cwd() == tmp_path / "elsewhere"


# -- traces are read once -------------------------------------------------------------------------------------------


def test_a_trace_is_read_once_for_all_cells(counted: list[str], trace: str) -> None:
    frame = eru_sim.sweep({"source": "counted:a", "policy": ["best-fit", "random"], "seed": [1, 2]})
    assert counted == ["open", "machine_events", "submissions"]
    assert set(READERS) == {"journal", "counted"}
    direct = eru_sim.sweep({"source": trace, "policy": ["best-fit", "random"], "seed": [1, 2]})
    assert frame["decision_digest"].tolist() == direct["decision_digest"].tolist()


def test_runs_are_done_source_by_source(counted: list[str]) -> None:
    variables = {"x": [str(number) for number in range(trace_cache.MOST_TRACES + 1)]}
    scenario = {"source": "counted:a?x=$seed", "seed": list(range(9)), "policy": ["best-fit", "first-fit"]}
    eru_sim.sweep(scenario)
    assert counted.count("open") == 9
    assert len(trace_cache._kept) == trace_cache.MOST_TRACES
    counted.clear()
    eru_sim.sweep({"source": "counted:a?x=v$x", "variables": variables, "policy": ["best-fit", "first-fit"]})
    assert counted.count("open") == trace_cache.MOST_TRACES + 1


def test_a_long_trace_is_read_anew_and_whole(counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = eru_sim.sweep({"source": "counted:a", "policy": ["best-fit", "random", "first-fit"]})
    trace_cache._kept.clear()
    monkeypatch.setattr(trace_cache, "MOST_ITEMS", 4)
    counted.clear()
    cut = eru_sim.sweep({"source": "counted:a", "policy": ["best-fit", "random", "first-fit"]})
    pd.testing.assert_frame_equal(whole, cut)
    assert counted.count("machine_events") == 1
    assert counted.count("submissions") == 4  # once to the limit, once beyond it, and for each run after that


def test_a_stream_that_ends_in_an_error_is_not_taken_for_a_short_one() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("row 2")

    stream = trace_cache._Stream(broken)
    for _ in range(2):
        with pytest.raises(ValueError, match="row 2"):
            list(stream.read())


def test_readings_of_a_stream_may_overlap() -> None:
    stream = trace_cache._Stream(lambda: iter(range(5)))
    first, second = stream.read(), stream.read()
    assert [next(first), next(second), next(first)] == [0, 0, 1]
    assert list(second) == [1, 2, 3, 4]
    assert list(first) == [2, 3, 4]


# -- workers ----------------------------------------------------------------------------------------------------------


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "eru_sim.cli.main", "sim", "sweep", *map(str, arguments)]


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    run_sweep(SCENARIO, out=tmp_path / "one")
    found = run_sweep(SCENARIO, out=tmp_path / "two", jobs=2)
    assert found.failures == []
    assert same_bytes(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_local_cluster_finds_what_one_process_finds(tmp_path: Path, backend: str, package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'eru-sim[sweep]'")
    study = tmp_path / "study.toml"
    study.write_text(TOML.format(seeds=[1, 2]), encoding="utf-8")
    run_sweep(study, out=tmp_path / "one")
    options = ["--backend", backend, "-j", "2", "-o", "json"]
    ran = subprocess.run(
        command(study, "--out", tmp_path / "two", *options), capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr
    assert same_bytes(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_that_was_killed_goes_on_with_what_was_not_done(tmp_path: Path, jobs: int) -> None:
    study = tmp_path / "study.toml"
    study.write_text(TOML.format(seeds=list(range(15))), encoding="utf-8")
    arguments = command(study, "--out", tmp_path / "killed", "-j", str(jobs))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("killed/runs/*.json"))) < 3:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = {name: when for name, when in files(tmp_path / "killed").items() if name.endswith(".json")}
    assert 3 <= len(before) < 30
    assert not (tmp_path / "killed" / RESULTS).exists()
    found = run_sweep(study, out=tmp_path / "killed")
    assert (found.computed, found.reused) == (30 - len(before), len(before))
    after = files(tmp_path / "killed")
    assert len(after) == 30
    assert {name: after[name] for name in before} == before
    run_sweep(study, out=tmp_path / "whole")
    assert same_bytes(tmp_path / "killed", tmp_path / "whole")


def test_a_worker_that_dies_is_an_error_that_keeps_the_rest(tmp_path: Path, trace: str) -> None:
    policy = tmp_path / "deadly.py"
    policy.write_text(
        "import os\nfrom scheduler.policies import FirstFit\n"
        f"if os.getpid() != {os.getpid()}:\n    os._exit(1)\n"
        "class Deadly(FirstFit):\n    name = 'deadly'\n",
        encoding="utf-8",
    )
    scenario = {"source": trace, "policy": ["best-fit", "first-fit", "worst-fit", f"{policy}:Deadly"]}
    with pytest.raises(EruError, match=r"a worker ended without an answer .*; what is done is kept: start it again"):
        run_sweep(scenario, out=tmp_path / "out", jobs=2)
    assert run_sweep(scenario, out=tmp_path / "out").reused >= 1


def test_two_sweeps_do_not_share_a_directory(tmp_path: Path, trace: str) -> None:
    told: list[str] = []

    def progress(share: float, text: str) -> None:
        with pytest.raises(EruError, match="another sweep is at work in"):
            run_sweep({"source": trace}, out=tmp_path / "out")
        told.append(text)

    run_sweep({"source": trace, "policy": ["best-fit", "random"]}, out=tmp_path / "out", progress=progress)
    assert told[0] == "0 of 2 runs"
    assert told[1].startswith("1 of 2 runs, about ")
    assert told[2] == "2 of 2 runs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs: 0 must be an integer of at least 1"),
        ({"jobs": 1.5}, "jobs: 1.5 must be an integer"),
        ({"backend": "rai"}, "backend: no backend 'rai'; did you mean 'ray'? there are: joblib, ray, dask"),
        ({"tables": True}, "tables: they need a directory; give out as well"),
        ({"out": __file__}, "is a file; name a directory"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(EruError) as caught:
        eru_sim.sweep({"source": "parquet:x"}, **arguments)
    assert message in str(caught.value)


def test_columns_of_mixed_values_can_be_written(tmp_path: Path, trace: str) -> None:
    scenario = {"source": trace, "horizon": [5, "6s", 7.5], "seed": [1, (1 << 64) - 1]}
    frame = eru_sim.sweep(scenario, out=tmp_path / "out")
    assert frame["horizon"].tolist() == ["5", "5", "6s", "6s", "7.5", "7.5"]
    assert frame["seed"].tolist() == [1, (1 << 64) - 1] * 3
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / RESULTS), frame)

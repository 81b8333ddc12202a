"""The benchmarks run, what they write can be compared over time, and a replay imports only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import plot, replays


@pytest.mark.parametrize("case", ["basic", "anti-affinity", "spread", "preemption"])
def test_the_cases_of_kubernetes_place_every_pod(case: str) -> None:
    figures = replays.kubernetes(case, quick=True)
    assert figures["placed"] == figures["workloads"]
    assert (figures["preempted"] > 0) == (case == "preemption")


def _write(path: Path, *rates: float) -> Path:
    rows = [{"case": f"c{n}", "nodes": 5000, "placements_per_cpu_s": rate} for n, rate in enumerate(rates)]
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_several_runs_are_compared_in_the_order_given(tmp_path: Path) -> None:
    files = [_write(tmp_path / "old.json", 10.0), _write(tmp_path / "new.json", 20.0, 7.0)]
    found = plot.series(files)
    assert found == {
        "c0 5,000": [("old", 10.0, None), ("new", 20.0, None)],
        "c1 5,000": [("new", 7.0, None)],
    }
    out = tmp_path / "plots" / "bench.png"
    plot.draw(found, out)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{")
    with pytest.raises(SystemExit, match=r"other\.json: not a file that --json wrote"):
        plot.series([path])
    path.write_text("[]")
    with pytest.raises(SystemExit, match="no rows"):
        plot.series([path])


def test_a_replay_imports_neither_plots_nor_the_real_world() -> None:
    code = (
        "import sys; from eru_sim.simulation import replay;"
        "replay('synthetic:google2019?nodes=20&hours=0.1');"
        "heavy = {'matplotlib', 'grpc', 'google.protobuf', 'backends.real', 'docker', 'aiohttp', 'rich', 'duckdb'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_replay_under_a_policy_in_numpy_loads_no_compiler_and_its_summary_no_frames() -> None:
    code = (
        "import sys; from eru_sim.simulation import replay;"
        "replay('synthetic:google2019?nodes=20&hours=0.1', policy='least-allocated').summary;"
        "print(sorted({'numba', 'pandas'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"

"""Every output format, on stdout alone, and what the tables say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from eru_command import SOURCE, Eru

from eru_sim.cli import main as cli

REQUIRED_KEYS = {
    *("nodes", "workloads", "placed", "completed", "failed", "killed", "pending", "rejected", "evicted", "lost"),
    *("decisions", "utilisation", "queueing_delay_s", "startup_s", "wall_s", "cpu_s", "peak_rss_bytes"),
    *("decision_digest", "journal_digest", "assumptions"),
}


def test_replay_json_is_the_summary(eru: Eru) -> None:
    ran = eru("sim", "replay", SOURCE, "-o", "json")
    summary = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert not REQUIRED_KEYS - set(summary)
    assert set(summary["queueing_delay_s"]) >= {"p50", "p90", "p99"}
    assert summary["source"] == SOURCE


def test_replay_formats_agree(eru: Eru) -> None:
    digest = eru("sim", "replay", SOURCE, "-o", "name").out.strip()
    line = eru("sim", "replay", SOURCE, "-o", "jsonl").out
    assert len(digest) == 32
    assert line.count("\n") == 1
    assert json.loads(line)["decision_digest"] == digest
    assert yaml.safe_load(eru("sim", "replay", SOURCE, "-o", "yaml").out)["decision_digest"] == digest


def test_replay_table_has_human_units_and_assumptions(eru: Eru) -> None:
    ran = eru("sim", "replay", SOURCE, "--overcommit", "cpu=1.5", "--check", "--horizon", "5m")
    lines = dict(line.split("  ", 1) for line in ran.out.split("\n\n")[0].splitlines())
    assert ran.code == 0
    assert lines["horizon"].strip() == "5 min"
    assert lines["utilisation"].strip().startswith("cpu ")
    assert "%" in lines["utilisation"]
    assert lines["peak rss"].strip().endswith("iB")
    assert lines["overcommit"].strip() == "cpu: 1.5"
    assert "assumptions:\n  - Calibrated to Google 2019" in ran.out
    assert "\x1b" not in ran.out


def test_wide_says_more(eru: Eru) -> None:
    assert "journal digest" in eru("sim", "replay", SOURCE, "-o", "wide").out
    assert "journal digest" not in eru("sim", "replay", SOURCE).out


def test_ignored_and_repaired_stand_below_the_table(eru: Eru, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("eru_sim.simulation")
    original = module.replay

    def replay(*args: object, **kwargs: object) -> object:
        result = original(*args, **kwargs)
        result.summary["ignored"] = {"different_machine": 1024}
        result.summary["repaired"] = {"missing_request": 17}
        return result

    monkeypatch.setattr(module, "replay", replay)
    out = eru("sim", "replay", SOURCE).out
    assert "ignored: different_machine on 1,024 tasks\nrepaired: missing_request 17\n" in out


def test_compare_keeps_the_order_of_policies(eru: Eru) -> None:
    ran = eru("sim", "compare", SOURCE, "--policy", "worst-fit", "--policy", "best-fit", "-o", "jsonl")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["policy"] for row in rows] == ["worst-fit", "best-fit"]
    assert rows[0]["pending_half_width"] is None


def test_compare_with_replications(eru: Eru, tmp_path: Path) -> None:
    out = tmp_path / "results"
    source = SOURCE.replace("&seed=1", "")
    ran = eru("sim", "compare", source, "--policy", "random", "--replications", "2", "--out", str(out))
    assert ran.code == 0
    assert " ± " in ran.out
    assert "draws its own trace (seeds 0 to 1)" in ran.out
    names = {path.name for path in out.iterdir()}
    assert names >= {"summary.csv", "summary.json", "runs.parquet", "report.html", "policy_bars.png", "delay_cdf.png"}
    assert not [name for name in names if name.startswith(".")]


def test_compare_defaults_to_the_usual_policies(eru: Eru) -> None:
    from scheduler.policies import COMPARED

    assert eru("sim", "compare", SOURCE, "--horizon", "60s", "-o", "name").out.split() == list(COMPARED)


def test_replay_writes_tables_plots_and_report(eru: Eru, tmp_path: Path) -> None:
    ran = eru("sim", "replay", SOURCE, "--out", tmp_path / "deep" / "run", "-o", "name")
    names = {path.name for path in (tmp_path / "deep" / "run").iterdir()}
    assert ran.code == 0
    assert names >= {"summary.json", "timeline.parquet", "nodes.parquet", "utilisation.png", "report.html"}
    assert "eru sim replay" in (tmp_path / "deep" / "run" / "report.html").read_text()


@pytest.mark.parametrize("output", ["table", "wide", "json", "jsonl", "yaml", "name"])
@pytest.mark.parametrize("command", [("trace", "ls"), ("version",)])
def test_every_format_of_a_listing(eru: Eru, output: str, command: tuple[str, ...]) -> None:
    ran = eru(*command, "-o", output)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n")
    assert "eru" in ran.out or "google2011" in ran.out


def test_trace_ls_names_formats_and_how_to_obtain_traces(eru: Eru) -> None:
    assert {"google2011", "openb", "azure2017", "swf", "alibaba2017", "journal"} <= set(
        eru("trace", "ls", "-o", "name").out.split()
    )
    wide = eru("trace", "ls", "-o", "wide").out
    assert "priority_min" in wide
    assert "gsutil cp" in wide


def test_trace_describe_and_convert(eru: Eru, tmp_path: Path) -> None:
    described = json.loads(eru("trace", "describe", SOURCE, "-o", "json").out)
    table = eru("trace", "describe", SOURCE).out
    assert "cores" in table
    assert "TiB" in table
    path = tmp_path / "small.parquet"
    converted = eru("trace", "convert", SOURCE, str(path), "-o", "json")
    assert converted.code == 0
    assert json.loads(converted.out)["workloads"] == described["workloads"]
    assert json.loads(eru("trace", "describe", f"parquet:{path}", "-o", "json").out)["jobs"] == described["jobs"]


def test_verify(eru: Eru, journal: Path) -> None:
    ran = eru("sim", "verify", str(journal), "-o", "json")
    assert ran.code == 0
    assert json.loads(ran.out)["ok"] is True


def test_verify_names_the_first_difference(eru: Eru, journal: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"at_ns":', b'"at_ns":1', 1)
    tampered.write_bytes(b"".join(lines))
    ran = eru("sim", "verify", str(tampered))
    assert ran.code == 1
    assert "first difference" in ran.out
    assert "line 3" in ran.out
    assert ran.err == ""


def test_explain_tells_the_story(eru: Eru, journal: Path) -> None:
    told = json.loads(eru("explain", "j1-0", "--journal", str(journal), "-o", "json").out)
    assert told["workload"] == "j1-0"
    table = eru("explain", "j1-0", "--journal", str(journal), "-o", "wide")
    assert table.code == 0
    assert told["story"][0] in table.out


def test_a_table_turns_when_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from eru_sim.cli.answer import Answer, Table, show

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    table = Table(header=("policy", "a" * 30, "b" * 30), rows=[("x", "1", "2"), ("y", "3", "4")], may_turn=True)
    answer = Answer(output="table", data=None, records=[], names=[], tables=[table], notes=["a\x1b[31mnote"])
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    show(answer, terminal)
    assert [line.split() for line in terminal.getvalue().splitlines()[:3]] == [
        ["policy", "x", "y"],
        ["a" * 30, "1", "3"],
        ["b" * 30, "2", "4"],
    ]
    assert "\x1b" not in terminal.getvalue()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    show(answer, terminal)
    assert "\x1b[1m" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue()


def test_main_is_the_entry_point() -> None:
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="eru")
    assert entry.load() is cli.main

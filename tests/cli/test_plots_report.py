"""Comparisons, their plots and their reports, on real runs and on degenerate data."""

from __future__ import annotations

import base64
import errno
import importlib
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eru_sim import plots
from eru_sim.comparison import Comparison, compare, mean_and_half_width
from eru_sim.errors import EruError
from eru_sim.output import check_directory, human, human_column, jsonable, one_line, to_json, write_files
from eru_sim.report import command_line, comparison_html, comparison_plots, python_call, replay_html, replay_plots

SOURCE = "synthetic:google2019?nodes=20&hours=0.2&load=1.2"
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """Collects what a page holds; unclosed and wrongly nested elements are failures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(SOURCE, policies=["best-fit", "random"], replications=2, seed=5, overcommit={"cpu": 1.1})


def outcomes(count: int = 6, **columns: Any) -> pd.DataFrame:
    """Runs of 10 s that start every 5 s, three nodes in turn; the last one still runs."""
    number = np.arange(count)
    ended = np.where(number < count - 1, number * 5.0 + 10, np.nan)
    frame = pd.DataFrame(
        {
            "workload_id": [f"w{i}" for i in number], "job_id": "", "tenant": "t", "cpu_request": 1,
            "submitted_s": number * 4.0, "placed_s": number * 5.0, "started_s": number * 5.0, "ended_s": ended,
            "outcome": ["completed"] * (count - 1) + ["running"] * bool(count), "evictions": 0, "preemptions": 0,
            "node_id": pd.Categorical([f"n{i % 3}" for i in number]),
            "exit_code": pd.array([0] * (count - 1) + [pd.NA] * bool(count), dtype="Int64"),
        }
    )  # fmt: skip
    return frame.assign(**columns)


def result(**summary: Any) -> Any:
    """A result without nodes, work or time."""
    facts = {
        "policy": "best-fit", "policy_params": {}, "source": "swf:x", "cluster": "trace", "seed": 0, "nodes": 0,
        "utilisation": {"cpu": 0.0}, "queueing_delay_s": dict.fromkeys(("p50", "p90", "p99", "mean"), 0.0),
        "assumptions": [], "ignored": {}, "repaired": {},
    }  # fmt: skip
    timeline = pd.DataFrame({"at_s": [0.0], "queued": [0], "allocated_cpu_ratio": [0.0], "demanded_cpu_ratio": [0.0]})
    nodes = pd.DataFrame({"node_id": [], "state": [], "cpu_allocated": [], "cpu_capacity": []})
    return SimpleNamespace(
        summary={**facts, **summary}, timeline=timeline, nodes=nodes, delays_s=np.zeros(0), outcomes=outcomes(0)
    )


# -- compare --------------------------------------------------------------------------------------------------------


def test_common_random_numbers(comparison: Comparison) -> None:
    runs = comparison.runs
    assert runs["policy"].tolist() == ["best-fit", "best-fit", "random", "random"]
    assert runs["seed"].tolist() == [5, 6, 5, 6]
    by_seed = runs.groupby("seed")
    assert (by_seed["source"].nunique() == 1).all()
    assert (by_seed["workloads"].nunique() == 1).all()
    assert runs["source"].nunique() == 2


def test_table_has_means_and_intervals(comparison: Comparison) -> None:
    table = comparison.table.set_index("policy")
    own = comparison.runs[comparison.runs["policy"] == "random"]["pending"]
    assert table.loc["random", "pending"] == pytest.approx(own.mean())
    expected = 12.7062 * own.std() / math.sqrt(2)
    assert table.loc["random", "pending_half_width"] == pytest.approx(expected, rel=1e-5)
    assert {"utilisation_cpu_ratio", "queueing_delay_p99_s", "completed", "evicted", "cpu_s"} <= set(table)
    assert comparison.policies == ["best-fit", "random"]
    assert len(comparison.results_of("random")) == 2


def test_one_replication_has_no_interval_and_is_the_plain_replay() -> None:
    from eru_sim.simulation import replay

    policies = importlib.import_module("scheduler.policies")
    found = compare(SOURCE, policies=[policies.WorstFit(), "random?seed=3"], horizon="120s")
    plain = replay(SOURCE, policy="worst-fit", horizon="120s")
    assert found.policies == ["worst-fit", "random?seed=3"]
    assert found.table["pending_half_width"].isna().all()
    assert found.results[0].summary["decision_digest"] == plain.summary["decision_digest"]
    assert found.arguments["objects"] == ["worst-fit"]


def test_a_given_trace_seed_is_kept_and_said() -> None:
    found = compare(f"{SOURCE}&seed=4", policies=["first-fit"], replications=2, horizon="60s")
    assert found.runs["decision_digest"].nunique() == 1
    assert "All 2 replications replay the same trace" in found.assumptions[-1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"policies": []}, "none is given"),
        ({"policies": ["random", "random"]}, "twice"),
        ({"replications": 0}, "replications: 0"),
        ({"journal": "x"}, "journal"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(EruError, match=text):
        compare(SOURCE, **arguments)


def test_progress_runs_from_nothing_to_all() -> None:
    told: list[tuple[float, str]] = []
    compare(SOURCE, policies=["best-fit", "random"], progress=lambda done, text: told.append((done, text)))
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert {text.split(":")[0] for _, text in told} == {"best-fit", "random"}


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([], None, None),
        ([3.0], 3.0, None),
        ([1.0, 2.0, 3.0], 2.0, 4.3027 / math.sqrt(3)),
        ([1.0] * 5, 1.0, 0.0),
        ([0.0, 1.0] * 20, 0.5, 2.0227 * math.sqrt(10 / 39 / 40)),
    ],
)
def test_student_t_interval(values: list[float], mean: float | None, half: float | None) -> None:
    found = mean_and_half_width(values)
    assert found[0] == mean
    assert found[1] == (None if half is None else pytest.approx(half, rel=1e-4))


# -- units and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("peak_rss_bytes", 193 * 1024 * 1024, "193 MiB"),
        ("memory_bytes", 1536, "1.5 KiB"),
        ("memory_bytes", 0, "0 B"),
        ("horizon_s", 0, "0 s"),
        ("wall_s", 0.0042, "4.2 ms"),
        ("horizon_s", 5400, "90 min"),
        ("horizon_s", 7200.0, "2 h"),
        ("horizon_s", 86400 * 29, "29 d"),
        ("at_ns", 1500000000, "1.5 s"),
        ("utilisation_cpu_ratio", 0.80549, "80.55 %"),
        ("cpu_millicores", 2500, "2.5 cores"),
        ("link_bps", 25e9, "25 Gbit/s"),
        ("gpu_milli", 500, "0.5"),
        ("workloads", 1234567, "1,234,567"),
        ("x", None, "-"),
        ("x", math.nan, "-"),
        ("ok", True, "yes"),
        ("x", [1, 2000], "1, 2,000"),
        ("x", "a\x1bb", "a\\x1bb"),
    ],
)
def test_human_units(name: str, value: Any, text: str) -> None:
    assert human(name, value) == text


def test_a_column_shares_one_unit() -> None:
    assert human_column("delay_s", [(0.5, 0.1), (300.0, 7200.0), (None, None), (0.0, None)]) == [
        "0.00833 ± 0.00167 min",
        "5 ± 120 min",
        "-",
        "0 min",
    ]


def test_plain_values() -> None:
    given = {"a": np.float64("nan"), "b": pd.NA, "c": np.arange(2), "d": (math.inf, Path("x"))}
    assert jsonable(given) == {"a": None, "b": None, "c": [0, 1], "d": [None, "x"]}
    assert to_json({"ü": math.nan}, indent=None) == '{"ü": null}'
    assert one_line(" a\n  b\x07 ") == "a b\\x07"


def test_files_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "out", {"a": "one"})
    original = Path.open

    def full(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name.startswith(".b"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    for target in ("out", "new"):
        with pytest.raises(OSError, match="space"):
            write_files(tmp_path / target, {"a": "two", "b": b"three"})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("a", "one")]


def test_directories_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert check_directory(tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    with pytest.raises(EruError, match="is a file"):
        check_directory(tmp_path / "file")
    assert not (tmp_path / "new").exists()


# -- plots ----------------------------------------------------------------------------------------------------------


def png(axes: Any) -> bytes:
    data = plots.to_png(axes.get_figure())
    assert data.startswith(b"\x89PNG")
    return data


TIMELINE = pd.DataFrame(
    {
        "at_s": [0.0, 50.0, 100.0],
        "queued": [0, 3, 0],
        "allocated_cpu_ratio": [0.0, 0.5, 1.2],
        "demanded_cpu_ratio": [0.0, 0.5, 5.0],
    }
)


@pytest.mark.parametrize(
    "timelines",
    [
        TIMELINE,
        TIMELINE.iloc[:1],
        TIMELINE.iloc[:0],
        TIMELINE * 0,
        {"a": TIMELINE, "b $x$": TIMELINE.iloc[:0], "c" * 80: TIMELINE.iloc[:1]},
        {},
        {f"policy {number}": TIMELINE for number in range(12)},
        result(),
    ],
)
def test_curves_over_time(timelines: Any) -> None:
    png(plots.utilisation(timelines, "cpu"))
    png(plots.queue_length(timelines))
    assert [text.get_text() for text in plots.utilisation(timelines, "gpu").texts] == ["no data"]


def test_curves_differ_by_more_than_colour() -> None:
    axes = plots.utilisation({str(number): TIMELINE for number in range(7)}, "cpu")
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 7
    assert axes.get_ylabel()
    assert axes.get_xlabel() == "time (seconds)"


@pytest.mark.parametrize(
    ("delays", "remark"),
    [
        (np.zeros(0), "nothing was placed"),
        (np.zeros(9), "no placement was delayed"),
        (np.array([3.0]), None),
        ({"a": np.array([0.0, 1e-6, 1e7]), "b": np.zeros(3), "c": np.zeros(0)}, None),
        (np.random.default_rng(1).lognormal(3, 3, 50_000), None),
        ({}, None),
    ],
)
def test_delay_cdf(delays: Any, remark: str | None) -> None:
    axes = plots.delay_cdf(delays)
    png(axes)
    assert [text.get_text() for text in axes.texts] == ([remark] if remark else [])


def test_delay_cdf_marks_quantiles() -> None:
    axes = plots.delay_cdf(np.arange(1.0, 101.0))
    (marks,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert np.asarray(marks.get_xdata()).tolist() == [50.0, 90.0, 99.0]


def bars(values: list[Any], halves: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"policy": [f"p{number}" for number in range(len(values))]})
    frame["pending"] = pd.array(values, dtype="Float64")
    frame["pending_half_width"] = pd.array(halves, dtype="Float64")
    return frame


@pytest.mark.parametrize(
    "table",
    [
        bars([1, pd.NA, 3], [0.5, pd.NA, pd.NA]),
        bars([0, 0], [0, 0]),
        bars([pd.NA], [pd.NA]),
        bars([], []),
        bars([1e12], [1]),
    ],
)
def test_policy_bars(table: pd.DataFrame) -> None:
    axes = plots.policy_bars(table, "pending")
    png(axes)
    assert len(axes.patches) == table["pending"].notna().sum()
    png(plots.policy_bars(table, "not_there"))


@pytest.mark.parametrize("count", [0, 1, 2, 13, 2500])
def test_node_heatmap(count: int) -> None:
    nodes = pd.DataFrame(
        {"state": ["ready"] * count, "cpu_allocated": np.arange(count), "cpu_capacity": np.full(count, 10)}
    )
    axes = plots.node_heatmap(nodes, "cpu")
    png(axes)
    assert bool(axes.texts) == (not count)


def test_node_heatmap_of_lost_nodes_and_missing_dimensions() -> None:
    nodes = pd.DataFrame({"state": ["lost", "ready"], "cpu_allocated": [0, 0], "cpu_capacity": [10, 0]})
    axes = plots.node_heatmap(nodes, "cpu")
    png(axes)
    assert "2 crossed" in axes.get_xlabel()
    png(plots.node_heatmap(nodes, "gpu"))


@pytest.mark.parametrize(
    "values",
    [np.zeros(0), np.array([1.0, 1.0, 2.5, math.nan]), {"a": np.array([1.0, 900.0]), "b": np.zeros(0)}, {}],
)
def test_cdf_of_anything(values: Any) -> None:
    axes = plots.cdf(values, "bounded_slowdown")
    png(axes)
    assert axes.get_title() == "Bounded slowdown (marks: p50, p90, p99)"


def test_cdf_ticks_have_the_unit_of_the_metric() -> None:
    def ticks(metric: str) -> list[str]:
        axes = plots.cdf(np.array([1.0, 7200.0]), metric)
        axes.get_figure().canvas.draw()  # type: ignore[union-attr]
        return [label.get_text() for label in axes.get_xticklabels()]

    assert ticks("jct_s")[-1] == "60 min"
    assert ticks("bounded_slowdown")[-1].replace(",", "").isdigit()


def test_allocation_curves() -> None:
    arrived = np.linspace(0, 1.3, 200)
    curves = {
        str(reach): pd.DataFrame({"arrived_ratio": arrived, "allocated_ratio": np.minimum(arrived, reach)})
        for reach in (0.95, 0.9)
    }
    axes = plots.allocation_curve(curves)
    png(axes)
    drawn = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    assert [line.get_label() for line in drawn] == ["0.95 (95.0 %)", "0.9 (90.0 %)"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in drawn}) == 2
    late = plots.allocation_curve(curves["0.9"], from_ratio=0.8)
    png(late)
    assert late.get_xlim() == (0.8, 1.3)
    assert 0.7 < late.get_ylim()[0] < 0.8
    png(plots.allocation_curve({}))
    assert [text.get_text() for text in plots.allocation_curve({}).texts] == ["nothing arrived"]


def test_gantt_has_a_bar_for_each_run_and_a_lane_for_each_at_once() -> None:
    frame = outcomes(6)
    frame["node_id"] = pd.Categorical(["n0"] * 6)
    axes = plots.gantt(frame, end_s=50.0)
    png(axes)
    bars = [(bar.get_x(), bar.get_width(), round(bar.get_y() + 0.4)) for bar in axes.patches]  # type: ignore[attr-defined]
    assert bars == [(0, 10, 0), (5, 10, 1), (10, 10, 0), (15, 10, 1), (20, 10, 0), (25, 25, 1)]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["n0"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["completed", "running"]
    assert len({bar.get_hatch() for bar in axes.patches}) == 2


@pytest.mark.parametrize(
    ("frame", "remark"),
    [(outcomes(0), "nothing ran"), (outcomes(201), "201 runs on 3 nodes: too many to draw")],
)
def test_gantt_of_nothing_and_of_too_much(frame: pd.DataFrame, remark: str) -> None:
    axes = plots.gantt(frame)
    png(axes)
    assert [text.get_text() for text in axes.texts] == [remark]


def test_differences_show_what_may_be_chance() -> None:
    table = pd.DataFrame(
        {"policy": ["a", "b", "c", "d"], "mean": [-5.0, 1.0, 2.0, math.nan], "low": [-6.0, -1.0, math.nan, math.nan],
         "high": [-4.0, 3.0, math.nan, math.nan]}
    )  # fmt: skip
    axes = plots.differences(table, "queueing_delay_mean_s", "base")
    png(axes)
    marks = {
        float(np.asarray(line.get_xdata())[0]): line.get_markerfacecolor()
        for line in axes.lines
        if line.get_marker() in ("o", "x")
    }
    assert marks[-5.0] == "black"
    assert marks[1.0] == "white"
    assert set(marks) == {-5.0, 1.0, 2.0}
    png(plots.differences(table.iloc[:0], "pending", "base"))


def test_plots_do_not_touch_pyplot_or_depend_on_chance() -> None:
    first, second = (png(plots.delay_cdf(np.arange(5.0))) for _ in range(2))
    assert first == second


# -- reports --------------------------------------------------------------------------------------------------------


def test_report_of_a_comparison_holds_everything(comparison: Comparison) -> None:
    images = comparison_plots(comparison)
    page = Page(comparison_html(comparison, images))
    assert page.tags.count("img") == len(images) >= 6
    for text in (
        "best-fit", "random", "overcommit", "eru sim compare", "--overcommit cpu=1.1", "eru_sim.compare(", " ± ",
        "5 to 6", comparison.results[0].summary["decision_digest"], "numpy", *comparison.assumptions,
    ):  # fmt: skip
        assert text in page.text
    (first, *_) = [value for name, value in page.attributes if name == "src"]
    assert base64.b64decode(first.partition(",")[2]) == next(iter(images.values()))


def test_report_requests_nothing(comparison: Comparison) -> None:
    page = Page(comparison_html(comparison, {}))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(value.startswith("data:") for name, value in page.attributes if name in ("src", "href"))
    assert "default-src 'none'" in dict(page.attributes).get("content", "") or any(
        "default-src 'none'" in value for _, value in page.attributes
    )


def test_report_escapes_what_comes_from_outside() -> None:
    evil = "swf:<script>alert('x')</script>\"&amp;\x1b"
    text = replay_html(
        result(source=evil, policy="<b>p</b>", assumptions=["<i>a</i>"], ignored={"<u>": 1}, repaired={"<s>": 2})
    )
    page = Page(text)
    assert not {"script", "b", "i", "u", "s"} & set(page.tags)
    assert "<script>alert('x')</script>\"&amp;\\x1b" in page.text
    assert "ignored: <u> on 1 tasks" in page.text
    assert "repaired: <s> 2" in page.text


def test_report_of_a_replay_has_its_work_and_its_scenario() -> None:
    nodes = pd.DataFrame({"node_id": ["n"], "state": ["ready"], "cpu_allocated": [3], "cpu_capacity": [4]})
    run = result()
    run.outcomes, run.nodes = outcomes(), nodes
    images = replay_plots(run)
    assert {"slowdown_cdf.png", "job_completion_cdf.png", "gantt.png"} <= set(images)
    arguments = {"source": "swf:x", "policy": "p", "seed": 7, "options": {}, "scenario": 'seed = 7 # <"all">'}
    page = Page(replay_html(run, images, arguments=arguments))
    for text in ('seed = 7 # <"all">', "bounded slowdown mean", "makespan", "fairness", "stranded cpu for typical"):
        assert text in page.text
    assert "Scenario" not in Page(replay_html(run, images)).text
    assert "gantt.png" not in replay_plots(SimpleNamespace(**{**vars(run), "outcomes": outcomes(300)}))


def test_report_of_a_comparison_pairs_runs_that_share_a_seed(comparison: Comparison) -> None:
    images = comparison_plots(comparison)
    assert "policy_differences.png" in images
    page = Page(comparison_html(comparison, images))
    assert "Paired differences" in page.text
    assert "Mean difference to best-fit" in page.text
    assert "Only 2 replications: the interval is unreliable." in page.text
    assert "slowdown_cdf.png" in images


def test_outcomes_of_replications_are_pooled_and_their_jobs_kept_apart(comparison: Comparison) -> None:
    results = [SimpleNamespace(**{**vars(run), "outcomes": outcomes(job_id="j")}) for run in comparison.results]
    pooled = Comparison(**{**vars(comparison), "results": results})
    assert {"slowdown_cdf.png", "job_completion_cdf.png"} <= set(comparison_plots(pooled))


def test_report_of_nothing_at_all() -> None:
    assert "Replay of swf:x with best-fit" in Page(replay_html(result())).text


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    options = {"cluster": "10x4c8g", "overcommit": "cpu=1.2", "check_every": 1000}
    yield "replay", {"source": "a b?x=1&y=2", "policy": "f.py:P", "seed": 3, "options": options}
    yield "compare", {"source": "s:x", "policies": ["p", "q"], "replications": 2, "seed": 0, "options": {}}


def test_commands_and_calls_to_repeat_a_run() -> None:
    (replay, compared) = calls()
    assert command_line(*replay) == (
        "eru sim replay 'a b?x=1&y=2' --policy f.py:P --seed 3 --cluster 10x4c8g --overcommit cpu=1.2 --check"
    )
    assert command_line(*compared) == "eru sim compare s:x --policy p --policy q --replications 2 --seed 0"
    assert python_call(*compared) == "eru_sim.compare('s:x', policies=['p', 'q'], replications=2, seed=0)"
    assert re.match(r"eru_sim\.replay\('a b", python_call(*replay))

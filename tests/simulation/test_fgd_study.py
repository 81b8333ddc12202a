"""The FGD study: published results with given orders, drawn orders, order files, cells that are kept, verdicts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from eru_sim import replay
from eru_sim.journal_file import open_journal
from eru_sim.studies import fgd
from eru_sim.studies.fgd import Cell, Outcome
from eru_sim.verification import verify
from traces import TraceError, open_trace

SHARED = Path(__file__).resolve().parents[3] / "shared"
ORDERS = SHARED / "vectors" / "openb_orders"
DETERMINISTIC = [policy for policy in fgd.POLICIES if policy != "Random"]

NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"n{number},{8000 * gpus},65536,{gpus},{model}\n"
    for number, (gpus, model) in enumerate([(2, "T4"), (1, "P100"), (4, "T4"), (2, "P100"), (1, "T4")])
)
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n" + "".join(
    f"p{number},{cpu},1024,{gpus},{milli},{spec}\n"
    for number, (cpu, gpus, milli, spec) in enumerate(
        [(1000, 0, 0, ""), (2000, 1, 300, ""), (2000, 1, 500, "T4"), (4000, 1, 1000, ""), (8000, 2, 1000, "T4|P100")]
        * 2
    )
)


@pytest.fixture
def openb(tmp_path: Path) -> str:
    """A directory with five nodes and ten pods, in the form of the trace openb."""
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(NODES)
    (tmp_path / "openb_pod_list_default.csv").write_text(PODS)
    return str(tmp_path)


def public_openb() -> str:
    path = SHARED / "traces" / "openb_gpu2023"
    if not path.exists() or not ORDERS.exists():
        pytest.skip("the public trace openb_gpu2023 and its orders are not beside the repository (shared)")
    return str(path)


# -- what was published -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def given_finals() -> dict[tuple[str, int], float]:
    """What `test_given_orders_end_as_published` found, for the tests after it."""
    return {}


@pytest.mark.parametrize("policy", DETERMINISTIC)
def test_given_orders_end_as_published(policy: str, given_finals: dict[tuple[str, int], float]) -> None:
    directory = public_openb()
    expected = fgd.published(directory)
    for seed in (42, 43):
        outcome = fgd.run_cell(directory, Cell("default", policy, seed, str(ORDERS / f"default_seed{seed}.txt.gz")))
        known = expected["default", policy, seed]
        given_finals[policy, seed] = outcome.final_pct
        assert outcome.final_pct == pytest.approx(known[-1], abs=0.01)
        assert outcome.allocation_pct[100] == pytest.approx(known[100], abs=0.05), "binned at another arrival"
        assert outcome.placed + outcome.refused > 10_000


def test_policies_rank_as_published(given_finals: dict[tuple[str, int], float]) -> None:
    directory = public_openb()
    cell = Cell("default", "Random", 42, str(ORDERS / "default_seed42.txt.gz"))
    finals = {policy: value for (policy, seed), value in given_finals.items() if seed == 42}
    if set(finals) != set(DETERMINISTIC):
        pytest.skip("needs the tests before it")
    finals["Random"] = fgd.run_cell(directory, cell).final_pct
    assert fgd.in_published_order(finals)
    assert not fgd.in_published_order({**finals, "FGD": finals["BestFit"]})
    assert finals["Random"] == pytest.approx(87.47, abs=4 * 0.32)


# -- orders -----------------------------------------------------------------------------------------------------------


def names(source: str) -> tuple[list[str], list[str]]:
    trace = open_trace(source)
    return [pod.workload_id for pod in trace.submissions()], [event.machine_id for event in trace.machine_events()]


@pytest.mark.parametrize("packed", [False, True])
def test_an_order_file_says_who_arrives_and_who_ranks_first(openb: str, packed: bool) -> None:
    text = b"P p3\nP p1-tuned-0\n\nP p1\nP p3-tuned-7\nN n4\nN n0\n"
    file = Path(openb) / ("order.txt.gz" if packed else "order.txt")
    file.write_bytes(gzip.compress(text) if packed else text)
    source = f"openb:{openb}?order={file}"
    assert names(source) == (["p3", "p1-tuned-0", "p1", "p3-tuned-7"], ["n4", "n0", "n1", "n2", "n3"])
    trace = open_trace(source)
    assert [pod.at_ns for pod in trace.submissions()] == [0, 10**9, 2 * 10**9, 3 * 10**9]
    assert [pod.request for pod in trace.submissions()][:2] == [(4000, 1 << 30, 1000), (2000, 1 << 30, 300)]
    assert "in the order of" in trace.assumptions[1]
    assert len(list(trace.sample())) == 10  # type: ignore[attr-defined]
    result = replay(source, policy="first-fit")
    assert result.placement["node_id"].tolist() == ["n4", "n0", "n0", "n0"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("P p1\nP p99\n", "row 2: field pod: 'p99' is not in the list of pods"),
        ("P p99-tuned-1\n", "row 1: field pod: 'p99-tuned-1' is not in the list of pods"),
        ("P p1\nP p1\n", "row 2: field pod: 'p1' is there twice"),
        ("P p1\nN x\n", "row 2: field node: 'x' is not in the list of nodes"),
        ("P p1\nN n0\nN n0\n", "row 3: field node: 'n0' is there twice"),
        ("Q p1\n", "row 1: 'Q p1' is neither 'P POD' nor 'N NODE'"),
        ("N n0\n", "no pod arrives"),
    ],
)
def test_a_bad_order_file(openb: str, lines: str, message: str) -> None:
    file = Path(openb) / "order.txt"
    file.write_text(lines)
    with pytest.raises(TraceError) as caught:
        open_trace(f"openb:{openb}?order={file}")
    assert message in str(caught.value)


def test_order_and_inflate_exclude_each_other_and_files_must_be_there(openb: str) -> None:
    with pytest.raises(TraceError, match="order and inflate are both given; keep one"):
        open_trace(f"openb:{openb}?order=x&inflate=1.3")
    with pytest.raises(TraceError, match=r"missing\.txt"):
        open_trace(f"openb:{openb}?order={openb}/missing.txt")
    with pytest.raises(TraceError, match="a number above 0"):
        open_trace(f"openb:{openb}?inflate=-1")


def test_inflation_asks_for_just_as_much_as_it_may(openb: str) -> None:
    trace = open_trace(f"openb:{openb}?inflate=1.3&seed=1")
    pods = list(trace.submissions())
    asked = sum(pod.request[2] for pod in pods)
    assert sum(event.capacity["gpu_milli"] for event in trace.machine_events()) == 10_000
    assert 13_000 - 2_000 < asked <= 13_000
    originals, copies = pods[:10], pods[10:]
    assert sorted(pod.workload_id for pod in originals) == sorted(f"p{number}" for number in range(10))
    assert [pod.workload_id.partition("-")[2] for pod in copies] == [f"tuned-{place}" for place in range(len(copies))]
    known = {pod.workload_id: pod for pod in originals}
    for copy in copies:
        assert copy.request == known[copy.workload_id.partition("-")[0]].request
    assert all(pod.service_ns is None for pod in pods)


def test_inflation_depends_on_the_seed_alone_and_stops_within_the_list(openb: str) -> None:
    drawn = names(f"openb:{openb}?inflate=1.3&seed=1")
    assert drawn == names(f"openb:{openb}?inflate=1.3&seed=1")
    others = [names(f"openb:{openb}?inflate=1.3&seed={seed}") for seed in range(2, 6)]
    assert all(pods != drawn[0] for pods, _ in others)
    assert any(nodes != drawn[1] for _, nodes in others)
    few, _ = names(f"openb:{openb}?inflate=0.2&seed=1")
    assert few == drawn[0][: len(few)]
    assert len(few) < 10


# -- policies that learn ----------------------------------------------------------------------------------------------


def test_fgd_learns_from_the_list_and_the_recording_holds_it(openb: str, tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    result = replay(f"openb:{openb}?inflate=1.3&seed=1", policy="fgd", journal=journal)
    header, _, _ = open_journal(journal)
    pods = header.config.policy.params["typical_pods"]
    assert [(pod["cpu"], pod["count"], pod["milli"], pod["models"], round(pod["share"], 3)) for pod in pods] == [
        (8000, 2, 1000, ["P100", "T4"], 0.2),
        (4000, 1, 1000, [], 0.2),
        (2000, 1, 500, ["T4"], 0.2),
        (2000, 1, 300, [], 0.2),
        (1000, 0, 0, [], 0.2),
    ]
    assert any("fgd took typical_pods from the trace" in line for line in result.summary["assumptions"])
    assert verify(journal)["ok"]


def test_a_composition_is_written_on_the_command_line(openb: str) -> None:
    source = f"openb:{openb}?inflate=1.3&seed=1"
    parts = '{"fgd":0.7,"best-fit":0.3}'
    summary = replay(source, policy=f"weighted?parts={parts}").summary
    assert summary["policy_params"] == {"parts": {"fgd": 0.7, "best-fit": 0.3}}
    alone = replay(source, policy='weighted?parts={"first-fit":1}').summary
    assert alone["decision_digest"] == replay(source, policy="first-fit").summary["decision_digest"]


# -- the study --------------------------------------------------------------------------------------------------------


def test_the_curve_by_hand() -> None:
    # Of 1000: 25 % asked and placed, 25 % more that are refused, 60 % more and placed.
    curve = fgd.curve([(0, True), (250, True), (250, False), (600, True)], 1000)
    assert len(curve) == 131
    assert (curve[0], curve[1], curve[25], curve[26], curve[50], curve[51], curve[110]) == (0, 25, 25, 25, 25, 85, 85)
    assert curve[111:] == [85.0] * 20


def outcome(final_pct: float, **fields: Any) -> Outcome:
    values = {"source": "x", "allocation_pct": [0.0] * 131, "placed": 1, "refused": 0, "cpu_s": 1.0}
    return Outcome(**{**values, "peak_rss_bytes": 1, "decision_digest": "d", "final_pct": final_pct, **fields})


def test_the_verdicts() -> None:
    expected = {("default", "FGD", seed): [0.0] * 130 + [90.0 + seed % 2] for seed in range(42, 52)}
    spread = 3 * (10 * 0.25 / 9) ** 0.5 * (1 / 2 + 1 / 10) ** 0.5
    drawn = {Cell("default", "FGD", 1): outcome(90.0), Cell("default", "FGD", 2): outcome(92.0)}
    (row,) = fgd.summarise(drawn, expected).to_dict("records")
    assert (row["mean_pct"], row["published_pct"], row["difference"]) == (91.0, 90.5, 0.5)
    assert row["tolerance"] == pytest.approx(spread)
    assert row["agrees"]
    (row,) = fgd.summarise({Cell("default", "FGD", 1): outcome(93.0)}, expected).to_dict("records")
    assert not row["agrees"]
    for final, agrees in ((90.014, True), (90.016, False)):
        (row,) = fgd.summarise({Cell("default", "FGD", 42, "o"): outcome(final)}, expected).to_dict("records")
        assert row["agrees"] is agrees, final
    assert fgd.summarise(drawn, {}).to_dict("records")[0]["agrees"] is None


def test_cells_that_are_there_are_not_run_again(openb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Cell] = []
    run_cell = fgd.run_cell

    def counted(directory: str, cell: Cell) -> Outcome:
        ran.append(cell)
        return run_cell(directory, cell)

    monkeypatch.setattr(fgd, "run_cell", counted)
    out = tmp_path / "out"
    first = fgd.study(openb, out, lists=["default"], policies=["BestFit", "FGD"], seeds=[1])
    assert len(ran) == 2
    (out / "cells" / "default-FGD-1-drawn.json").write_bytes(b"{half a file")
    second = fgd.study(openb, out, lists=["default"], policies=["BestFit", "FGD"], seeds=[1, 2])
    assert ran[2:] == [Cell("default", "BestFit", 2), Cell("default", "FGD", 1), Cell("default", "FGD", 2)]
    assert second["seeds"].tolist() == [2, 2]
    assert first["policy"].tolist() == ["BestFit", "FGD"]
    assert {file.name for file in out.iterdir()} == {
        "cells", "curves.parquet", "curves.png", "finals.parquet", "summary.parquet", "table.csv",
    }  # fmt: skip


def test_two_processes_find_what_one_does(openb: str, tmp_path: Path) -> None:
    todo = fgd.cells(["default"], ["GpuPacking", "Random"], [1], None)
    alone = fgd.run(openb, todo, tmp_path / "one")
    together = fgd.run(openb, todo, tmp_path / "two", jobs=2)
    assert {cell: one.decision_digest for cell, one in alone.items()} == {
        cell: one.decision_digest for cell, one in together.items()
    }


def test_the_command(openb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [openb, "--out", str(tmp_path / "out"), "--lists", "default", "--policies", "FGD", "--seeds", "1"]
    assert fgd.main(arguments) == 0
    printed = capsys.readouterr()
    assert "Final GPU allocation in %" in printed.out
    assert "0 of 0 checks agree" in printed.out
    assert "1/1 default-FGD-1-drawn" in printed.err
    assert fgd.main([*arguments, "--policies", "FDG"]) == 2
    assert "policy: 'FDG' is not part of the study" in capsys.readouterr().err

"""Recorded failures, from small files and from the real recordings when they are there."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eru_sim.cluster_models import build_topology, lay_out, machine_failures
from eru_sim.cluster_models.recorded_failures import Outages, _rotated
from traces.schema import SECOND_NS, MachineEvent, TraceError

DAY_NS = 86_400 * SECOND_NS
TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
GOOGLE = TRACES / "google2011"
GRID = TRACES / "failures_grid5000"
needs_google = pytest.mark.skipif(not GOOGLE.is_dir(), reason="the Google 2011 recording is not beside the repository")
needs_grid = pytest.mark.skipif(not GRID.is_dir(), reason="the Grid'5000 recording is not beside the repository")

SMALL_GOOGLE = """\
0,1,0,P,0.5,0.25
0,2,0,P,1,0.03085
0,3,0,P,0.5,0.5
1000,1,1,P,,
1500,1,1,P,,
2000,2,2,P,0.25,0.25
2500,1,2,P,0.5,0.5
3000,1,0,P,0.5,0.5
3500,4,0,P,0.5,0.5
4000,3,1,P,,
"""
GRID_HEADER = (
    "# event_id component_id node_id platform_id node_name event_type event_start_time event_stop_time reason\n"
)


def summary(events: Iterable[MachineEvent]) -> list[tuple[int, str, str]]:
    return [(event.at_ns, event.machine_id, event.kind) for event in events]


def check(events: Iterable[MachineEvent], horizon_ns: int) -> Counter[str]:
    """Assert order, window and alternation; return the number of events of each kind."""
    down, last_ns, counts = set[str](), 0, Counter[str]()
    for event in events:
        assert last_ns <= event.at_ns < horizon_ns
        last_ns = event.at_ns
        assert (event.machine_id in down) == (event.kind == "add")
        if event.kind == "remove":
            down.add(event.machine_id)
        else:
            down.discard(event.machine_id)
        counts[event.kind] += 1
    return counts


def google_directory(path: Path, text: str = SMALL_GOOGLE) -> str:
    (path / "machine_events_part-00000-of-00001.csv.gz").write_bytes(gzip.compress(text.encode()))
    return f"google2011:{path}"


def grid_directory(path: Path, rows: Sequence[tuple[str, int, int, int]]) -> str:
    lines = [f"{i} 0 0 5 {name} {kind} {start} {stop} NULL\n" for i, (name, kind, start, stop) in enumerate(rows)]
    (path / "event_trace.tab.xz").write_bytes(lzma.compress((GRID_HEADER + "".join(lines)).encode()))
    return f"grid5000:{path}"


def test_machines_of_the_recording_fail_as_recorded(tmp_path: Path) -> None:
    failures = machine_failures(google_directory(tmp_path), ["1", "2", "3"], start_ns=100, horizon_ns=DAY_NS, seed=0)
    events = list(failures)
    assert summary(events) == [
        (1_000_100, "1", "remove"),
        (2_000_100, "2", "update"),
        (3_000_100, "1", "add"),
        (4_000_100, "3", "remove"),
    ]
    assert events[1].capacity == {"cpu_millicores": 2_500_000, "memory_bytes": 250_000_000_000}
    assert events[2].capacity == {"cpu_millicores": 5_000_000, "memory_bytes": 500_000_000_000}
    assert failures.repaired == {"remove_of_a_machine_that_is_down": 1, "update_of_a_machine_that_is_down": 1}
    assert list(failures) == events
    assert sum(failures.repaired.values()) == 2
    assert failures.assumptions == ("failures are those that Google 2011 records for the same machines",)
    one = machine_failures(google_directory(tmp_path), ["3"], start_ns=0, horizon_ns=DAY_NS, seed=0)
    assert summary(one) == [(4_000_000, "3", "remove")]


def test_time_is_divided(tmp_path: Path) -> None:
    spec = google_directory(tmp_path)
    by_ten = machine_failures(f"{spec}*10", ["1", "2", "3"], start_ns=0, horizon_ns=300_000, seed=0)
    assert summary(by_ten) == [(100_000, "1", "remove"), (200_000, "2", "update")]
    fitting = machine_failures(f"{spec}*window", ["1", "2", "3"], start_ns=50, horizon_ns=4_050, seed=0)
    assert [event.at_ns for event in fitting] == [1_049, 2_049, 3_049, 4_049]
    assert fitting.assumptions[1].startswith("recorded time of Google 2011 is divided by 1000")
    tight = machine_failures(f"{spec}*window", ids(9), start_ns=0, horizon_ns=3, seed=0)
    check(tight, 3)
    assert not list(machine_failures(f"{spec}*window", ids(9), start_ns=7, horizon_ns=7, seed=0))


def ids(count: int) -> list[str]:
    return [f"n{row}" for row in range(count)]


def test_other_nodes_take_histories_at_random_without_updates(tmp_path: Path) -> None:
    spec = google_directory(tmp_path)
    failures = machine_failures(spec, ids(4), start_ns=0, horizon_ns=DAY_NS, seed=0)
    events = summary(failures)
    assert [(at_ns, kind) for at_ns, _, kind in events] == [
        (1_000_000, "remove"),
        (3_000_000, "add"),
        (4_000_000, "remove"),
    ]
    assert failures.repaired == {"remove_of_a_machine_that_is_down": 1}
    drawn = {
        summary(machine_failures(spec, ids(4), start_ns=0, horizon_ns=DAY_NS, seed=seed))[0][1] for seed in range(40)
    }
    assert drawn == set(ids(4))
    mixed = machine_failures(spec, ["1", "2", "x"], start_ns=0, horizon_ns=DAY_NS, seed=0)
    assert "drawn at random (seed 0)" in mixed.assumptions[0]


def test_histories_are_used_again_rotated(tmp_path: Path) -> None:
    spec = grid_directory(tmp_path, [("G1/a/x/1", 1, 1000, 1100), ("G1/a/x/1", 0, 1010, 1020)])
    failures = machine_failures(spec, ["p", "q"], start_ns=0, horizon_ns=DAY_NS, seed=0)
    assert [(at_ns // SECOND_NS, name, kind) for at_ns, name, kind in summary(failures)] == [
        (10, "p", "remove"),
        (20, "p", "add"),
        (60, "q", "remove"),
        (70, "q", "add"),
    ]
    assert failures.assumptions[1] == "Grid'5000 has 1 machines: 1 nodes use a history again, rotated in time"


@given(
    st.lists(st.integers(0, 99), max_size=8, unique=True).map(sorted),
    st.booleans(),
    st.integers(1, 99),
)
def test_a_rotated_history_is_down_at_the_same_instants_moved(edges: list[int], open_end: bool, shift: int) -> None:
    span = 100
    pairs: Outages = [(edges[i], edges[i + 1]) for i in range(0, len(edges) - 1, 2)]
    if open_end and len(edges) % 2:
        pairs.append((edges[-1], None))

    def instants(outages: Iterable[tuple[int, int | None]]) -> set[int]:
        return {instant for down, up in outages for instant in range(down, span if up is None else up)}

    rotated = list(_rotated(pairs, shift, span))
    assert instants(rotated) == {(instant + shift) % span for instant in instants(pairs)}
    assert all(down < (span if up is None else up) for down, up in rotated)
    assert all(a[1] is not None and a[1] <= b[0] for a, b in pairwise(rotated))


def test_grid_intervals_are_merged_and_clusters_keep_together(tmp_path: Path) -> None:
    rows = [("G1/a/x/1", 0, 50, 60), ("G1/a/x/1", 0, 40, 55), ("G1/a/x/1", 0, 60, 70), ("G1/a/x/1", 0, 80, 80)]
    rows += [("G1/a/x/2", 0, 50, 60), ("G1/b/y/1", 0, 50, 65), ("G1/b/y/2", 0, 50, 65), ("G1/b/y/2", 1, 0, 99)]
    spec = grid_directory(tmp_path, rows)
    topology = build_topology(ids(4), lay_out(4, racks=2))
    for seed in range(20):
        failures = machine_failures(spec, ids(4), start_ns=0, horizon_ns=DAY_NS, seed=seed, topology=topology)
        up_65 = {event.machine_id for event in failures if event.kind == "add" and event.at_ns == 65 * SECOND_NS}
        assert up_65 in ({"n0", "n1"}, {"n2", "n3"})
        assert failures.repaired == {"empty_interval": 1, "overlapping_interval": 2}
        assert "neighbouring racks" in failures.assumptions[0]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("google2011:", "no directory is named; write google2011:DIR or google2011:DIR*K"),
        ("google2011:/does/not/exist", "/does/not/exist: no such"),
        ("grid5000:/does/not/exist", "/does/not/exist: no such directory"),
        ("grid5000:{dir}", "holds no event_trace.tab"),
        ("google2011:{dir}", "holds no machine_events files"),
        ("grid5000:{dir}*0", "the factor after '*' is '0'; give a number in 0.000001 .. 1000000000 or window"),
        ("grid5000:{dir}*x", "the factor after '*' is 'x'"),
        ("grid5000:{dir}*1e-999999999", "the factor after '*' is '1e-999999999'"),
        ("grid5000:{dir}*nan", "the factor after '*' is 'nan'"),
        ("grid5000:{dir}?racks=true", "grid5000 has no options, but 'racks=true' is given"),
    ],
)
def test_errors_are_one_line_with_a_remedy(tmp_path: Path, spec: str, told: str) -> None:
    with pytest.raises(TraceError) as caught:
        machine_failures(spec.format(dir=tmp_path), ids(2), start_ns=0, horizon_ns=1, seed=0)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no rows"),
        (b"0 0 0 5 G1/a/x/1 0 1 2\n", "row 1: it has 8 of 9 fields"),
        (b"# header\n0 0 0 5 G1/a/x/1 0 one 2 NULL\n", "row 2: node_name, event_type or an event time is not readable"),
        (b"0 0 0 5 G1/\xff/x/1 0 1 2 NULL\n", "row 1: node_name"),
        (b"0 0 0 5 G1/a/x/1 7 1 2 NULL\n", "row 1: field event_type: 7 is neither 0 nor 1"),
    ],
)
def test_bad_grid_rows_are_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "event_trace.tab").write_bytes(content)
    with pytest.raises(TraceError) as caught:
        machine_failures(f"grid5000:{tmp_path}", ids(2), start_ns=0, horizon_ns=1, seed=0)
    assert told in str(caught.value)
    assert "event_trace.tab" in str(caught.value)


@pytest.mark.parametrize(("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_cut_off_archive_is_told(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    (tmp_path / f"event_trace.tab{suffix}").write_bytes(pack(b"0 0 0 5 G1/a/x/1 0 1 2 NULL\n" * 500)[:-15])
    with pytest.raises(TraceError, match="cannot be read to its end"):
        machine_failures(f"grid5000:{tmp_path}", ids(2), start_ns=0, horizon_ns=1, seed=0)


def test_a_bad_google_row_is_named(tmp_path: Path) -> None:
    spec = google_directory(tmp_path, SMALL_GOOGLE + "5000,3,9,P,,\n")
    with pytest.raises(TraceError, match=r"row 11: field event_type"):
        machine_failures(spec, ids(2), start_ns=0, horizon_ns=1, seed=0)


@needs_google
def test_google_machines_fail_exactly_as_recorded() -> None:
    with gzip.open(GOOGLE / "machine_events_part-00000-of-00001.csv.gz", "rt") as stream:
        machines = list(dict.fromkeys(line.split(",", 2)[1] for line in stream))
    assert len(machines) == 12_583
    spec = f"google2011:{GOOGLE}"
    failures = machine_failures(spec, machines, start_ns=0, horizon_ns=30 * DAY_NS, seed=0)
    events = list(failures)
    assert check(events, 30 * DAY_NS) == {"remove": 8_957, "add": 8_860, "update": 7_380}
    assert len({event.machine_id for event in events if event.kind == "remove"}) == 5_141
    assert failures.repaired == {"add_of_a_machine_that_is_up": 106}
    horizon_ns = 5_611_086_346_000 + 1  # the last event of the recorded tasks
    first = machine_failures(spec, machines, start_ns=0, horizon_ns=horizon_ns, seed=0)
    counts = Counter(event.kind for event in first)
    assert (counts["remove"], counts["add"] + first.repaired["add_of_a_machine_that_is_up"]) == (7, 6)
    whole = machine_failures(f"{spec}*window", machines, start_ns=0, horizon_ns=horizon_ns, seed=0)
    assert check(whole, horizon_ns) == {"remove": 8_957, "add": 8_860, "update": 7_380}


@needs_google
def test_google_histories_keep_the_rate_on_other_nodes() -> None:
    failures = machine_failures(f"google2011:{GOOGLE}", ids(20_000), start_ns=0, horizon_ns=29 * DAY_NS, seed=2)
    counts = check(failures, 29 * DAY_NS)
    assert counts["remove"] / (20_000 * 29) == pytest.approx(0.0247, rel=0.05)
    assert "7417 nodes use a history again" in failures.assumptions[1]


@needs_grid
def test_grid_failures_are_all_replayed_on_as_many_nodes() -> None:
    failures = machine_failures(f"grid5000:{GRID}*window", ids(1_288), start_ns=0, horizon_ns=DAY_NS, seed=0)
    assert failures.repaired == {"empty_interval": 18, "overlapping_interval": 6}
    counts = check(failures, DAY_NS)
    assert counts["remove"] == 294_145 - 18 - 6

"""Failures of recorded machines applied to the nodes of a cluster.

A recording is a history of outages per machine. When every node is a machine of the recording, its events apply as
they are; a machine that first appears later is taken as up from the start, and its first addition counted as repaired.
Otherwise nodes take the histories of machines that the seed draws; when there are more nodes than machines,
histories are used again, rotated in time so that two nodes with the same one do not fail together.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import islice
from pathlib import Path

import msgspec

from eru_sim.cluster_models.nodes import ClusterSpecError
from eru_sim.cluster_models.outages import Failures, OutageProcess, Unit, failures, outage_events
from eru_sim.cluster_models.streams import Stream
from eru_sim.cluster_models.topology import Topology
from traces.schema import SECOND_NS, MachineEvent, MachineEventKind, TraceError
from traces.shapes import NORMALISED_CPU_MILLICORES, NORMALISED_MEMORY_BYTES

_MAPPING_PURPOSE = 4
_MIN_SPEEDUP = Decimal("0.000001")
_MAX_SPEEDUP = Decimal(1_000_000_000)
_KINDS: tuple[MachineEventKind, ...] = ("add", "remove", "update")
_GRID_FIELDS = 9


class Window(msgspec.Struct, frozen=True):
    """Whose failures are asked for, and when: events at ``start_ns <= at_ns < horizon_ns``."""

    node_ids: tuple[str, ...]
    start_ns: int
    horizon_ns: int
    seed: int
    topology: Topology | None


Outages = list[tuple[int, int | None]]
"""Outages of one machine in ns of the recording, ordered and disjoint; up is None when it never returned."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording says: its last instant in ns, and the outages and the group (a cluster, or '') of each machine.

    ``events`` are the machine events after time zero, in order, for a recording whose machines may be the nodes.
    """

    name: str
    span_ns: int
    histories: dict[str, Outages]
    groups: dict[str, str]
    repaired: dict[str, int]
    events: list[MachineEvent] = []


def recorded_failures(spec: str, kind: str, place: str, window: Window) -> Failures:
    """Return the failures of ``google2011:DIR[*K]`` or ``grid5000:DIR[*K]``; ``place`` is what follows the colon.

    Raises ClusterSpecError on a wrong factor or a missing directory and TraceError on a bad file.
    """
    directory, star, factor = place.rpartition("*") if "*" in place else (place, "", "1")
    if not directory:
        raise ClusterSpecError(f"failures '{spec}': no directory is named; write {kind}:DIR or {kind}:DIR*K")
    speedup = None if factor == "window" else _parse_speedup(spec, factor)
    recording = _read_google2011(directory) if kind == "google2011" else _read_grid5000(directory)
    if speedup is None:
        speedup = Fraction(recording.span_ns + 1, max(1, window.horizon_ns - window.start_ns))
    assumptions = []
    if star:
        assumptions.append(f"recorded time of {recording.name} is divided by {float(speedup):g}")
    known = sum(1 for node_id in window.node_ids if node_id in recording.histories)
    if recording.events and known == len(window.node_ids):
        assumptions.insert(0, f"failures are those that {recording.name} records for the same machines")
        return failures(lambda repaired: _as_recorded(recording.events, speedup, window, repaired), assumptions)
    machines, sentences = _drawn(recording, window)
    copies = -(-len(window.node_ids) // len(machines))

    def start(repaired: Counter[str]) -> Iterator[MachineEvent]:
        units = (
            Unit((row,), _replayed(recording, machines[k % len(machines)], k // len(machines), copies, speedup, window))
            for k, row in enumerate(_node_order(window))
        )
        return outage_events(units, window.node_ids, window.horizon_ns, repaired)

    return failures(start, [*sentences, *assumptions], recording.repaired)


def _parse_speedup(spec: str, text: str) -> Fraction:
    """Return the factor K."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and _MIN_SPEEDUP <= value <= _MAX_SPEEDUP):
        raise ClusterSpecError(
            f"failures '{spec}': the factor after '*' is '{text}'; give a number in {_MIN_SPEEDUP} .. {_MAX_SPEEDUP} "
            "or window"
        )
    return Fraction(value)


def _as_recorded(
    events: Sequence[MachineEvent], speedup: Fraction, window: Window, repaired: Counter[str]
) -> Iterator[MachineEvent]:
    """Yield recorded events of the nodes themselves, with time divided by ``speedup``."""
    nodes = set(window.node_ids)
    down: set[str] = set()
    for event in events:
        at_ns = window.start_ns + event.at_ns * speedup.denominator // speedup.numerator
        if at_ns >= window.horizon_ns:
            return
        machine_id = event.machine_id
        if machine_id not in nodes:
            continue
        if (machine_id in down) != (event.kind == "add"):
            repaired[f"{event.kind}_of_a_machine_that_is_{'down' if machine_id in down else 'up'}"] += 1
            continue
        if event.kind == "remove":
            down.add(machine_id)
        else:
            down.discard(machine_id)
        yield msgspec.structs.replace(event, at_ns=at_ns)


def _node_order(window: Window) -> list[int]:
    """Return the rows in the order in which they take histories: racks drawn at random, or rows as they are."""
    if window.topology is None or "rack" not in window.topology.levels:
        return list(range(len(window.node_ids)))
    racks = Stream(window.seed, _MAPPING_PURPOSE, 1).permutation(window.topology.rows("rack"))
    return [int(row) for rows in racks for row in rows]


def _drawn(recording: Recording, window: Window) -> tuple[list[str], list[str]]:
    """Return the machines in the order in which nodes take their histories, and what is assumed by that."""
    machines = Stream(window.seed, _MAPPING_PURPOSE).permutation(list(recording.histories))
    sentence = f"nodes fail as machines of {recording.name} that are drawn at random (seed {window.seed})"
    if window.topology is not None and "rack" in window.topology.levels and any(recording.groups.values()):
        place: dict[str, int] = {}
        for machine in machines:
            place.setdefault(recording.groups[machine], len(place))
        machines.sort(key=lambda machine: place[recording.groups[machine]])
        sentence += ", those of one recorded cluster in neighbouring racks"
    sentences = [sentence]
    spare = len(window.node_ids) - len(machines)
    if spare > 0:
        sentences.append(
            f"{recording.name} has {len(machines)} machines: {spare} nodes use a history again, rotated in time"
        )
    return machines, sentences


def _replayed(
    recording: Recording, machine: str, copy: int, copies: int, speedup: Fraction, window: Window
) -> OutageProcess:
    """Yield the outages of one machine's history in the window's time, rotated by ``copy / copies`` of its span."""
    history = recording.histories[machine]
    outages = _rotated(history, recording.span_ns * copy // copies, recording.span_ns) if copy else iter(history)
    start_ns, slower, faster = window.start_ns, speedup.denominator, speedup.numerator
    free_ns = start_ns
    for down, up in outages:
        down_ns = max(free_ns, start_ns + down * slower // faster)
        if up is None:
            yield down_ns, None
            return
        free_ns = max(down_ns + 1, start_ns + up * slower // faster)
        yield down_ns, free_ns


def _rotated(history: Outages, shift: int, span: int) -> OutageProcess:
    """Yield outages moved by ``shift`` on a circle of ``span``, in order; one that crosses the end is cut there."""
    first = bisect_left(history, span - shift, key=lambda outage: outage[0])
    back = span - shift
    cut_up = _up_in(history[first - 1], span) if first else 0
    if cut_up > back:
        yield 0, cut_up - back
    for outage in islice(history, first, None):
        yield outage[0] - back, _up_in(outage, span) - back
    for outage in islice(history, first):
        up = _up_in(outage, span) + shift
        yield outage[0] + shift, (up if up < span else None)


def _up_in(outage: tuple[int, int | None], span: int) -> int:
    """Return when an outage ends, which is with the recording when the machine never returned."""
    return span if outage[1] is None else outage[1]


def _read_google2011(directory: str) -> Recording:
    """Read machine_events of ClusterData2011_2: microseconds, 1.0 = 10,000 cores and 10^12 bytes.

    Removals of a machine that is down and additions of one that is up are left out of the histories and counted. Only
    this table is read: a failure model needs no tasks.
    """
    from traces.google2011 import machine_columns, table_files
    from traces.tabular import rows_of

    table = "machine_events"
    columns = machine_columns(NORMALISED_CPU_MILLICORES, NORMALISED_MEMORY_BYTES)
    rows = [
        (cells["time_us"], cells["machine_id"], cells["event_type"], cells["platform"], cells["cpu"], cells["memory"])
        for file in table_files(directory, table)
        for _, cells in rows_of(file, columns)
    ]
    if not rows:
        raise TraceError(f"{directory}: its {table} files have no rows; fetch them again")
    rows.sort(key=lambda row: row[0])
    histories: dict[str, Outages] = {}
    events: list[MachineEvent] = []
    repaired: Counter[str] = Counter()
    for time_us, machine, event_type, platform, cpu, memory in rows:
        at_ns, machine_id, kind = time_us * 1000, str(machine), _KINDS[event_type]
        first = machine_id not in histories
        outages = histories.setdefault(machine_id, [])
        if not first or at_ns:
            known = kind != "remove" and cpu is not None and memory is not None
            capacity = {"cpu_millicores": cpu, "memory_bytes": memory} if known else {}
            labels = {"platform": platform} if platform and known else {}
            events.append(MachineEvent(at_ns=at_ns, machine_id=machine_id, kind=kind, capacity=capacity, labels=labels))
        down = bool(outages) and outages[-1][1] is None
        if kind == "remove" and not down:
            outages.append((at_ns, None))
        elif kind == "add" and down:
            outages[-1] = (outages[-1][0], at_ns)
        elif kind != "update" and not first:
            repaired[f"{kind}_of_a_machine_that_is_{'down' if down else 'up'}"] += 1
    return Recording(
        name="Google 2011",
        span_ns=rows[-1][0] * 1000,
        histories=histories,
        groups=dict.fromkeys(histories, ""),
        repaired=dict(repaired),
        events=events,
    )


def _read_grid5000(directory: str) -> Recording:
    """Read event_trace.tab of the Failure Trace Archive; zero is the earliest instant in it.

    Down intervals of a node that touch or overlap are merged, empty ones left out; both are counted.
    """
    intervals: dict[str, list[tuple[int, int]]] = {}
    earliest, latest = None, 0
    path = _grid_file(directory)
    for row, line in _lines(path):
        if line.startswith(b"#") or not line.strip():
            continue
        fields = line.split()
        if len(fields) != _GRID_FIELDS:
            raise TraceError(f"{path}: row {row}: it has {len(fields)} of {_GRID_FIELDS} fields; fetch the file again")
        try:
            name, is_up, start, stop = fields[4].decode("ascii"), int(fields[5]), int(fields[6]), int(fields[7])
        except ValueError:
            raise TraceError(
                f"{path}: row {row}: node_name, event_type or an event time is not readable in "
                f"{line[:80].decode('ascii', 'replace').strip()!r}; fetch the file again"
            ) from None
        if is_up not in (0, 1):
            raise TraceError(f"{path}: row {row}: field event_type: {is_up} is neither 0 nor 1; fetch the file again")
        earliest = start if earliest is None else min(earliest, start)
        latest = max(latest, stop)
        down = intervals.setdefault(name, [])
        if not is_up:
            down.append((start, stop))
    if earliest is None:
        raise TraceError(f"{path}: it has no rows; fetch the file again")
    repaired: Counter[str] = Counter()
    histories = {name: _merged(down, earliest, repaired) for name, down in intervals.items()}
    return Recording(
        name="Grid'5000",
        span_ns=(latest - earliest) * SECOND_NS,
        histories=histories,
        groups={name: name.rpartition("/")[0] for name in intervals},
        repaired=dict(repaired),
    )


def _merged(intervals: list[tuple[int, int]], zero: int, repaired: Counter[str]) -> Outages:
    """Return down intervals in seconds as disjoint outages in ns since ``zero``."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(intervals):
        if stop <= start:
            repaired["empty_interval"] += 1
        elif merged and start <= merged[-1][1]:
            repaired["overlapping_interval"] += 1
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return [((start - zero) * SECOND_NS, (stop - zero) * SECOND_NS) for start, stop in merged]


def _grid_file(directory: str) -> Path:
    """Return the event trace of a directory, plain or compressed."""
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise TraceError(f"{directory}: no such directory; give the one that holds event_trace.tab")
    for suffix in ("", ".xz", ".gz"):
        if (root / f"event_trace.tab{suffix}").is_file():
            return root / f"event_trace.tab{suffix}"
    raise TraceError(f"{directory}: holds no event_trace.tab, .tab.xz or .tab.gz; give the directory that does")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (row, line), counted from 1."""
    try:
        if path.suffix == ".xz":
            with lzma.open(path) as unpacked:
                yield from enumerate(unpacked, 1)
        elif path.suffix == ".gz":
            with gzip.open(path) as unzipped:
                yield from enumerate(unzipped, 1)
        else:
            with path.open("rb") as plain:
                yield from enumerate(plain, 1)
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise TraceError(f"{path}: cannot be read to its end ({error}); fetch the file again") from None

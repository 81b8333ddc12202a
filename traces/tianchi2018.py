"""Reader of the preliminary data of Alibaba's scheduling competition 2018 (Tianchi): a placement and its rules.

An instance becomes one submission at time 0, in file order, with the machine it starts on where there is one. What it
needs of CPU and memory is a curve of 98 points in time, the same for all instances of its application, and becomes the
constraint ``curve``; disk and the counts of important applications (P, M, PM) are dimensions. Interference rules become
the constraint ``affinity``: with an instance of A on it, a machine takes at most k of B; where A is B, k others.

Amounts of a curve are millionths of a core and of the data's unit of memory, so that every recorded decimal is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.schema import MachineEvent, Submission
from traces.source import Reader, Source
from traces.tabular import Column, archive_members, base_units, cell_problem, fail, find_files, rows_of, shown

DIMENSIONS = ("disk_gb", "p_count", "m_count", "pm_count")
CURVE_SCALE = 10**6
"""Base units of a curve per core, and per unit of memory."""

_Rows = Iterator[tuple[int, dict[str, Any]]]

_COUNTS = [
    Column(name="disk", kind="quantity", minimum=0, exact=True),
    *(Column(name=name, kind="integer", minimum=0) for name in ("p", "m", "pm")),
]
_POINT = Column(name="point", kind="quantity", minimum=0, scale=CURVE_SCALE, exact=True)
_MACHINE_COLUMNS = [
    Column(name="machine_id"),
    *(Column(name=name, kind="quantity", minimum=0, scale=CURVE_SCALE, exact=True) for name in ("cpu", "memory")),
    *_COUNTS,
]
_APP_COLUMNS = [Column(name="app_id"), Column(name="cpu"), Column(name="memory"), *_COUNTS]
_INTERFERENCE_COLUMNS = [
    Column(name="app_a"),
    Column(name="app_b"),
    Column(name="limit", kind="integer", minimum=0),
]
_INSTANCE_COLUMNS = [Column(name="instance_id"), Column(name="app_id"), Column(name="machine_id", nullable=True)]


class Tianchi2018Trace(TraceBase):
    """All tables are read and checked when the trace is opened; instances of one application share what it asks."""

    def __init__(self, source: Source) -> None:
        self._machines = _read_machines(_table(source.path, "machine_resources"))
        apps, points = _read_apps(_table(source.path, "app_resources"))
        self._rules = _read_rules(_table(source.path, "app_interference"), apps)
        self._instances = _read_instances(
            _table(source.path, "instance_deploy"), apps, {event.machine_id for event in self._machines}
        )
        super().__init__(
            source,
            DIMENSIONS,
            assumptions=(
                "Every instance is there at time 0, in file order, and runs past the horizon.",
                f"CPU and memory are asked at each of {points} points; their units are millionths of the data's.",
                "An interference rule of an application with itself allows k others beside an instance, so k+1 in all.",
                "The data names no unit of disk; it is taken for GB.",
            ),
            plugins={"affinity": {}, "curve": {"points": points, "names": ["cpu", "memory"]}},
        )
        self._apps = len(apps)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield every machine at time 0, in file order."""
        return iter(self._machines)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per instance at time 0, in file order."""
        return iter(self._instances)

    def _facts(self) -> dict[str, Any]:
        placed = [item.recorded_machine_id for item in self._instances if item.recorded_machine_id]
        return {
            "tianchi2018": {
                "apps": self._apps,
                "interference_rules": self._rules,
                "instances_placed": len(placed),
                "machines_with_instances": len({*placed}),
            }
        }


def _table(path: str, name: str) -> Path:
    """Return the file of one table: in the directory, else in its zip archives, or in the archive that is named."""
    root = Path(path).expanduser()
    pattern = f"*{name}*.csv"
    found: list[Path] = []
    if root.suffix == ".zip" and root.is_file():
        found = _members(root, pattern)
        if not found:
            fail(root, None, None, f"holds no {pattern}; fetch the preliminary data again")
    elif root.is_dir() and not any(root.glob(f"{pattern}*")):
        found = [member for archive in sorted(root.glob("*.zip")) for member in _members(archive, pattern)]
    if not found:
        found = find_files(path, [pattern], what=f"{pattern} (the preliminary data of Tianchi 2018)")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        fail(root, None, None, f"holds {names}; give a directory with one data set")
    return found[0]


def _members(archive: Path, pattern: str) -> list[Path]:
    return [member for member in archive_members(archive) if member.match(pattern)]


def _read_machines(file: Path) -> list[MachineEvent]:
    rows = list(_unique(file, _MACHINE_COLUMNS, "machine_id"))
    return [
        MachineEvent(
            at_ns=0,
            machine_id=machine["machine_id"],
            kind="add",
            capacity=dict(zip(DIMENSIONS, _counts(machine), strict=True)),
            resources={"curve": {"cpu": machine["cpu"], "memory": machine["memory"]}},
        )
        for _, machine in rows
    ]


class _App:
    """What every instance of an application asks; ``constraints`` is shared by all of them."""

    def __init__(self, name: str, request: tuple[int, ...], cpu: list[int], memory: list[int]) -> None:
        self.request = request
        self.apart: list[dict[str, Any]] = []
        self.constraints = {
            "affinity": {"labels": {"app": name}, "apart": self.apart},
            "curve": {"cpu": cpu, "memory": memory},
        }


def _read_apps(file: Path) -> tuple[dict[str, _App], int]:
    """Return the applications by name, and how many points each curve has."""
    apps: dict[str, _App] = {}
    known: dict[str, int] = {}
    points = 0
    for row, app in _unique(file, _APP_COLUMNS, "app_id"):
        cpu, memory = (_curve(file, row, name, app[name], known) for name in ("cpu", "memory"))
        points = points or len(cpu)
        for name, curve in (("cpu", cpu), ("memory", memory)):
            if len(curve) != points:
                fail(file, row, name, f"{len(curve)} points where the rows above have {points}; correct the row")
        apps[app["app_id"]] = _App(app["app_id"], _counts(app), cpu, memory)
    return apps, points


def _curve(file: Path, row: int, name: str, text: str, known: dict[str, int]) -> list[int]:
    """Return the points in base units; ``known`` remembers what a text means, so that equal points are one object."""
    points = []
    for number, point in enumerate(text.split("|"), 1):
        if point not in known:
            problem = cell_problem(point, _POINT)
            if problem:
                fail(file, row, name, f"point {number}: {problem}")
            known[point] = base_units(point, CURVE_SCALE)
        points.append(known[point])
    return points


def _read_rules(file: Path, apps: dict[str, _App]) -> int:
    """Add every rule to its first application and return how many there are."""
    seen: set[tuple[str, str]] = set()
    for row, rule in rows_of(file, _INTERFERENCE_COLUMNS):
        pair = rule["app_a"], rule["app_b"]
        for field in ("app_a", "app_b"):
            _require(file, row, field, rule[field], apps, "application")
        if pair in seen:
            fail(file, row, "app_b", f"the rule of {pair[0]} and {pair[1]} is there twice; remove one of the rows")
        seen.add(pair)
        apps[pair[0]].apart.append({"match": {"app": pair[1]}, "level": "node", "most": rule["limit"]})
    return len(seen)


def _read_instances(file: Path, apps: dict[str, _App], machines: set[str]) -> list[Submission]:
    instances = []
    for row, instance in _unique(file, _INSTANCE_COLUMNS, "instance_id"):
        name, machine = instance["app_id"], instance["machine_id"] or ""
        _require(file, row, "app_id", name, apps, "application")
        if machine:
            _require(file, row, "machine_id", machine, machines, "machine")
        instances.append(
            Submission(
                0,
                instance["instance_id"],
                apps[name].request,
                job_id=name,
                constraints=apps[name].constraints,
                recorded_machine_id=machine,
            )
        )
    return instances


def _require(file: Path, row: int, field: str, name: str, known: Any, what: str) -> None:
    if name not in known:
        fail(file, row, field, f"{shown(name)} is no {what} of the data; correct the row or fetch the file again")


def _unique(file: Path, columns: list[Column], field: str) -> _Rows:
    """Yield the rows of a table; TraceError for a name that is there twice, and for no rows at all."""
    seen: set[str] = set()
    for row, values in rows_of(file, columns):
        if values[field] in seen:
            fail(file, row, field, f"{shown(values[field])} is there twice; remove one of the rows")
        seen.add(values[field])
        yield row, values
    if not seen:
        fail(file, None, None, "has no rows; fetch it again")


def _counts(row: dict[str, Any]) -> tuple[int, ...]:
    """Return disk, P, M and PM, aligned with the dimensions."""
    return row["disk"], row["p"], row["m"], row["pm"]


READER = Reader(
    name="tianchi2018",
    summary="Alibaba's scheduling competition 2018 (Tianchi), preliminary data: its zip, or a directory with it",
    open=Tianchi2018Trace,
)

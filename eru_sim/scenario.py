"""Scenarios: what to replay, in TOML. Any value may be a list, and the cross product of the lists is a sweep.

A table of options stands for the text that the same argument of `eru_sim.replay` has: ``{name = "random", seed = 3}``
for ``random?seed=3``. ``$NAME`` in a text is the scenario's variable of that name, or else that of the environment;
``$seed`` and ``$replication`` are those of the run, and ``$$`` is a dollar sign. Relative paths start at the folder of
the scenario's file.

A sweep has a *cell* for every combination of values, and a *run* for every cell and seed. Every cell meets the same
seeds, so replication r of all of them has the same random numbers.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import inspect
import itertools
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from eru_sim.errors import EruError
from eru_sim.output import to_json

Scalar = str | int | float | bool
"""A value of a scenario, once lists are expanded; what is a table or a list even then is JSON."""

MOST_CELLS = 100_000
"""More are taken for a mistake."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\}|(\$)|)")
_OF_A_RUN = ("seed", "replication")
_MAX_SEED = (1 << 64) - 1


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An argument of a replay: what it means, and how it may be written.

    ``types`` are those of a plain value. ``render`` turns a table into the argument's text, and ``head`` names what the
    table must have; without ``render`` a table is an error.
    """

    meaning: str
    types: tuple[type, ...] = (str,)
    default: str | None = None
    head: tuple[str, ...] = ()
    render: Callable[[dict[str, Scalar]], str] | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One replay. ``parameters`` are its columns in the results, ``arguments`` those of `eru_sim.replay`."""

    cell: str
    replication: int
    seed: int
    parameters: dict[str, Scalar | None]
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The cell and the seed, as the name of a file."""
        return f"{self.cell}-{self.seed}"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of values. ``cell_id`` depends on the resolved arguments alone, not on order or seeds.

    ``parameters`` maps a column to its value: an argument by its name, ``variables.NAME``, and ``ARGUMENT.OPTION`` for
    what was written as a table. Texts may still contain what depends on the run.
    """

    cell_id: str
    parameters: dict[str, Scalar | None]

    def run(self, replication: int, seed: int) -> Run:
        """Return the replay of this cell with one seed."""
        values = {"seed": seed, "replication": replication}
        parameters = {name: _of_run(value, values) for name, value in self.parameters.items()}
        arguments = {name: parameters[name] for name in KEYS if parameters[name] is not None}
        return Run(
            cell=self.cell_id,
            replication=replication,
            seed=seed,
            parameters=parameters,
            arguments={**arguments, "seed": seed},
        )


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as read: ``content`` is the file's, ``folder`` where its relative paths start.

    ``cells`` are in order of the cross product: variables first, then the arguments in the order of `KEYS`, values in
    the order given, the last one varying fastest.
    """

    name: str
    folder: Path
    content: dict[str, Any]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]

    def runs(self) -> list[Run]:
        """Return all replays: by cell, then by replication."""
        return [cell.run(number, seed) for cell in self.cells for number, seed in enumerate(self.seeds)]

    def varying(self) -> list[str]:
        """Return columns that tell the cells apart, without those that only repeat what others tell."""
        columns = dict.fromkeys(name for cell in self.cells for name in cell.parameters)
        names = [name for name in columns if self._values([name]) > 1]
        options = [name for name in names if name.partition(".")[0] in KEYS and "." in name]
        mixed = [name for name in options if self._is_mixed(name)]
        for name in dict.fromkeys([*mixed, *(key for key in KEYS if key in names), *options]):
            others = [other for other in names if other != name]
            if name in names and self._values(others) == len(self.cells):
                names = others
        return names

    def _values(self, names: list[str]) -> int:
        """How many different values cells have in these columns."""
        return len({repr([cell.parameters.get(name) for name in names]) for cell in self.cells})

    def _is_mixed(self, name: str) -> bool:
        """Whether some cells lack this option."""
        return not all(name in cell.parameters for cell in self.cells)


def read_scenario(scenario: str | Path | Mapping[str, Any]) -> Scenario:
    """Read a scenario from a TOML file, or from a mapping of the same shape, whose paths start where we are.

    Policies, durations and the like are checked, sources are not opened. Raises EruError with one line that names file,
    key, value and remedy.
    """
    if isinstance(scenario, Mapping):
        return _read(dict(scenario), "scenario", Path.cwd())
    path = Path(scenario).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EruError(f"scenario: there is no file {str(path)!r}; check the path") from None
    except IsADirectoryError:
        raise EruError(f"scenario: {str(path)!r} is a directory; name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EruError(f"{path}: this is no TOML: {error}; texts need quotes, and lists brackets") from None
    return _read(content, str(path), path.resolve().parent)


# -- how arguments are written --------------------------------------------------------------------------------------


def _source_text(table: dict[str, Scalar]) -> str:
    options = {key: value for key, value in table.items() if key not in ("format", "path")}
    query = "&".join(f"{key}={quote(_text(value), safe='/:,*$@ ')}" for key, value in options.items())
    return f"{table['format']}:{table['path']}" + (f"?{query}" if query else "")


def _named_text(head: str) -> Callable[[dict[str, Scalar]], str]:
    """``{name = "random", seed = 3}`` -> ``random?seed=3``."""

    def render(table: dict[str, Scalar]) -> str:
        options = {key: value for key, value in table.items() if key != head}
        return f"{table[head]}" + (f"?{_pairs(options, '&')}" if options else "")

    return render


def _pairs_text(table: dict[str, Scalar]) -> str:
    return _pairs(table, ",")


def _pairs(options: Mapping[str, Scalar], separator: str) -> str:
    """``key=value`` for each; a text that would end too early is in quotes, as JSON has them."""
    texts = {key: _text(value) for key, value in options.items()}
    for key, text in texts.items():
        if not text.startswith(("[", "{")) and any(mark in text for mark in ",&"):
            texts[key] = to_json(text)
    return separator.join(f"{key}={text}" for key, text in texts.items())


def _text(value: Scalar) -> str:
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


KEYS: dict[str, Key] = {
    "source": Key(
        meaning="The trace: `FORMAT:PATH?KEY=VALUE`, or a table with `format`, `path` and the format's options.",
        head=("format", "path"),
        render=_source_text,
    ),
    "cluster": Key(meaning="The nodes: `trace`, `google2019-a:5000`, `100x64c256g`, `csv:FILE`.", default="trace"),
    "failures": Key(
        meaning="Machine failures in place of the recorded ones, or a table with `model` and its options.",
        head=("model",),
        render=_named_text("model"),
    ),
    "reservations": Key(meaning="Nodes that are held for tenants: `physics:8@1h-3h;bio:2@0-30m`."),
    "initial": Key(meaning="`empty`, or `recorded`: start from the placement of the trace.", default="empty"),
    "horizon": Key(meaning="When the run ends: seconds, or `90s`, `2h`.", types=(str, int, float)),
    "warm_up": Key(meaning="What is left out of the metrics at the start: seconds, or `10m`.", types=(str, int, float)),
    "engine": Key(meaning="Latencies and faults of the engines: `start=2s,lost=0.1`, or a table.", render=_pairs_text),
    "overcommit": Key(meaning="Factors of the capacities: `cpu=1.2,memory=1`, or a table.", render=_pairs_text),
    "queue": Key(
        meaning="The discipline of the queue, or a table with `name` and its parameters.",
        default="priority",
        head=("name",),
        render=_named_text("name"),
    ),
    "policy": Key(
        meaning="The policy: a name, `MODULE:CLASS`, `FILE.py:CLASS`, or a table with `name` and its parameters.",
        default="best-fit",
        head=("name",),
        render=_named_text("name"),
    ),
}
"""The arguments of a replay that a scenario sets, in the order of the cross product."""

OTHER_KEYS = {
    "name": "What the scenario is called; by default the file's name.",
    "description": "What it is for; nothing depends on it.",
    "seed": "The seed of the first replication (0 by default), or a list with one for each.",
    "replications": "Replications, with seeds `seed`, `seed + 1`, ...; 1 by default.",
    "variables": "A table of values for `$NAME` in texts.",
}


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(content: dict[str, Any], label: str, folder: Path) -> Scenario:
    try:
        return _checked(content, Path(label).stem, folder)
    except EruError as error:
        raise EruError(f"{label}: {error}") from None


def _checked(content: dict[str, Any], stem: str, folder: Path) -> Scenario:
    known = [*KEYS, *OTHER_KEYS]
    for key in content:
        if key not in known:
            raise EruError(f"{key}: unknown key; {_closest(key, known)}")
    if "source" not in content:
        raise EruError('source: is missing; name a trace, e.g. source = "synthetic:google2019?nodes=100"')
    for key in ("name", "description"):
        if not isinstance(content.get(key, ""), str):
            raise EruError(f"{key}: {content[key]!r} is not a text; write it in quotes")
    seeds = _seeds(content.get("seed", 0), content.get("replications", 1))
    with contextlib.chdir(folder):
        cells = _cells(content)
        _check_values(cells)
    return Scenario(
        name=content.get("name", stem), folder=folder, content=content, seeds=seeds, cells=tuple(cells.values())
    )


def _seeds(seed: Any, replications: Any) -> tuple[int, ...]:
    seeds = seed if isinstance(seed, list) else [seed]
    for value in seeds:
        if type(value) is not int or not 0 <= value <= _MAX_SEED:
            raise EruError(f"seed: {value!r} is not an integer from 0 to 2^64 - 1")
    if len(set(seeds)) != len(seeds) or not seeds:
        raise EruError(f"seed: {seed!r} must be different integers, at least one")
    if type(replications) is not int or not 1 <= replications <= MOST_CELLS:
        raise EruError(f"replications: {replications!r} is not an integer from 1 to {MOST_CELLS}")
    if isinstance(seed, list):
        if replications not in (1, len(seeds)):
            raise EruError(f"replications: {replications} with {len(seeds)} seeds; leave one of the two out")
        return tuple(seeds)
    return tuple(range(seed, seed + replications))


def _cells(content: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the cells by id, in order of the cross product."""
    variables = _variables(content.get("variables", {}))
    lists = [_alternatives_of(key, content) for key in KEYS]
    _check_size([variables, *lists], "the cross product")
    cells: dict[str, Cell] = {}
    used: set[str] = set()
    for chosen, *values in itertools.product(variables, *lists):
        cell = _cell(chosen, dict(zip(KEYS, values, strict=True)), used)
        if cell.cell_id in cells:
            raise EruError(
                f"two cells are the same, {_difference(cells[cell.cell_id], cell)}; leave out values that are given "
                "twice, and write a value that only some cells use into the table of its argument"
            )
        cells[cell.cell_id] = cell
    for name in (name for chosen in variables for name in chosen):
        if name not in used:
            raise EruError(f"variables.{name}: no text uses ${name}; use it or leave it out")
    return cells


def _variables(value: Any) -> list[dict[str, Scalar]]:
    """Return the combinations of the variables' values."""
    tables = _alternatives(value, "variables")
    for table in tables:
        if not isinstance(table, dict):
            raise EruError(f"variables: {table!r} is not a table; write [variables] and a line for each")
        for name in table:
            if name in _OF_A_RUN:
                raise EruError(f"variables.{name}: ${name} is that of the run; take another name")
    return tables


def _alternatives_of(key: str, content: Mapping[str, Any]) -> list[Any]:
    if key not in content:
        return [KEYS[key].default]
    values = _alternatives(content[key], key)
    for value in values:
        _check_type(key, value)
    return values


def _alternatives(value: Any, field: str) -> list[Any]:
    """Return the values that a value stands for: a list for each of its own, a table for the product of its lists.

    A table within a table, and a list within a list, is one value.
    """
    if isinstance(value, Mapping):
        if "." in field:
            return [_json(value, field)]
        lists = [_alternatives(item, f"{field}.{key}") for key, item in value.items()]
        _check_size(lists, field)
        return [dict(zip(value, chosen, strict=True)) for chosen in itertools.product(*lists)]
    if isinstance(value, list):
        if not value:
            raise EruError(f"{field}: the list is empty; give at least one value, or leave the key out")
        return [
            found
            for item in value
            for found in ([_json(item, field)] if isinstance(item, list) else _alternatives(item, field))
        ]
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise EruError(f"{field}: {value!r} is neither a text, a number nor true or false; put it in quotes")
    return [value]


def _json(value: Any, field: str) -> str:
    if "." not in field:
        raise EruError(f"{field}: {value!r} is a list in a list; leave out the inner brackets")
    return to_json(value, indent=None)


def _check_size(lists: Sequence[Sequence[Any]], field: str) -> None:
    size = math.prod(len(values) for values in lists)
    if size > MOST_CELLS:
        raise EruError(f"{field}: {size:,} cells are more than {MOST_CELLS:,}; give fewer values")


def _check_type(key: str, value: Any) -> None:
    spec = KEYS[key]
    if not isinstance(value, dict):
        if type(value) not in spec.types:
            wanted = "a number or a text" if len(spec.types) > 1 else "a text"
            table = " or a table" if spec.render is not None else ""
            raise EruError(f"{key}: {value!r} is not {wanted}{table}; write a text in quotes")
        return
    if spec.render is None:
        raise EruError(f"{key}: a table is not possible here; write a text in quotes")
    for name in spec.head:
        if name not in value:
            known = ", ".join(spec.head)
            raise EruError(f"{key}: the table has no {name!r}; it needs {known}, and options if there are any")
        if not isinstance(value[name], str):
            raise EruError(f"{key}.{name}: {value[name]!r} is not a text; write it in quotes")


def _cell(variables: Mapping[str, Scalar], values: Mapping[str, Any], used: set[str]) -> Cell:
    arguments: dict[str, Scalar | None] = {}
    options: dict[str, Scalar | None] = {f"variables.{name}": value for name, value in variables.items()}
    for key, value in values.items():
        if isinstance(value, dict):
            table = {name: _filled(item, f"{key}.{name}", variables, used) for name, item in value.items()}
            render = KEYS[key].render
            assert render is not None
            arguments[key] = render(table)
            options |= {f"{key}.{name}": item for name, item in table.items()}
        else:
            arguments[key] = None if value is None else _filled(value, key, variables, used)
    arguments["source"] = _drawn(str(arguments["source"]))
    identity = msgspec.json.encode(
        {key: value for key, value in arguments.items() if value is not None}, order="sorted"
    )
    return Cell(cell_id=hashlib.sha256(identity).hexdigest()[:12], parameters={**arguments, **options})


def _filled(value: Any, field: str, variables: Mapping[str, Scalar], used: set[str]) -> Any:
    """Return a text with its variables filled in, except for those of the run and ``$$``; other values as they are."""
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if match[3] or name in _OF_A_RUN:
            return match[0]
        if name is None:
            raise EruError(f"{field}: {value!r} has a '$' without a name; write $$ for a dollar sign")
        if name in variables:
            used.add(name)
            return _text(variables[name])
        if name not in os.environ:
            close = _closest(name, list(variables)) if variables else "there are none"
            raise EruError(f"{field}: there is no variable ${name}; {close}; or set it in the environment")
        return os.environ[name].replace("$", "$$")

    return _VARIABLE.sub(fill, value)


def _of_run(value: Scalar | None, values: Mapping[str, int]) -> Scalar | None:
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda match: "$" if match[3] else str(values[match[1] or match[2]]), value)


def _drawn(source: str) -> str:
    """Return a source that draws itself anew for every seed, if its format has a seed that is not set."""
    from eru_sim.sources import formats
    from traces import TraceError, split_source

    try:
        name, _, given = split_source(source)
    except TraceError as error:
        raise EruError(str(error)) from None
    options: list[dict[str, Any]] = next((entry["options"] for entry in formats() if entry["name"] == name), [])
    if "seed" in given or not any(option["name"] == "seed" for option in options):
        return source
    return f"{source}{'&' if '?' in source else '?'}seed=$seed"


def _check_values(cells: Mapping[str, Cell]) -> None:
    """Raise EruError for a value that no replay would take; it is better to know before the first run."""
    from eru_sim.options import (
        choose_policy,
        choose_queue,
        parse_duration_ns,
        parse_engine,
        parse_overcommit,
        parse_reservations,
    )
    from eru_sim.simulation import replay

    checks: dict[str, Callable[[Any], object]] = {
        "engine": lambda text: parse_engine(text, 0),
        "horizon": lambda value: parse_duration_ns(value, "horizon"),
        "initial": _check_initial,
        "overcommit": parse_overcommit,
        "policy": choose_policy,
        "reservations": parse_reservations,
        "queue": choose_queue,
        "warm_up": lambda value: parse_duration_ns(value, "warm_up"),
    }
    taken = {*inspect.signature(replay).parameters, "warm_up"}  # which is applied to the outcomes
    runs = [cell.run(0, 0) for cell in cells.values()]
    for key in KEYS:
        values = dict.fromkeys(run.arguments[key] for run in runs if key in run.arguments)
        if values and key not in taken:
            raise EruError(f"{key}: a replay of this version has no such argument; leave the key out")
        for value in values:
            if key in checks:
                checks[key](value)


def _check_initial(value: Any) -> None:
    if value not in ("empty", "recorded"):
        raise EruError(f"initial: {value!r} is neither 'empty' nor 'recorded'")


def _difference(first: Cell, second: Cell) -> str:
    for name, value in second.parameters.items():
        if first.parameters.get(name) != value:
            return f"whatever {name} is ({first.parameters.get(name)!r}, {value!r})"
    return f"with {', '.join(f'{name} = {value!r}' for name, value in first.parameters.items() if value is not None)}"


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are: {', '.join(known)}"


# -- files that a run reads -------------------------------------------------------------------------------------------


def inputs_of(runs: Sequence[Run], folder: Path) -> list[dict[str, str]]:
    """Return for each run the files and folders that its arguments name, with what changes when their content does.

    That is size and time of modification; of a folder, those of the files in it. A path with one of ``:?&=+*,`` in it
    is not found.
    """
    state_of = functools.cache(lambda part: _state_of(folder / part))
    found = []
    for run in runs:
        texts = [value for value in run.arguments.values() if isinstance(value, str)]
        parts = dict.fromkeys(part for text in texts for part in re.split(r"[:?&=+*,]", text) if part)
        found.append({part: state for part in parts if (state := state_of(part))})
    return found


def _state_of(path: Path) -> str:
    """A digest, or "" where nothing is there."""
    try:
        entries = [entry for entry in sorted(path.iterdir()) if entry.is_file()] if path.is_dir() else [path]
        states = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries]
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(msgspec.json.encode(states)).hexdigest()[:16]

"""The files of the Azure 2017 arrival and lifetime sets, raw or decoded, as the same columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from traces.tabular import (
    Column,
    base_units,
    cell_problem,
    columns_by_header,
    fail,
    find_files,
    read_blocks,
    require_order,
    shown,
    text_lines,
)

Integers = npt.NDArray[np.int64]
BIN_S = 300
_GIB = 1 << 30
_BATCH_END = "|"
_DECODED = {"dev": "decoded_dev_arrivals_lifetimes.csv", "train": "decoded_train_arrivals.csv"}
_DURATION = re.compile(r"([UC])([0-9]{1,6})")

_ARRIVAL_COLUMNS = [
    Column(name="arrival_bin_end_s", kind="integer", minimum=0),
    Column(name="batch_id", kind="integer", minimum=0),
    Column(name="flavor"),
    Column(name="vcpu", kind="quantity", minimum=0, scale=1000),
    Column(name="mem_gb", kind="quantity", minimum=0, scale=_GIB),
]
_LIFETIME_COLUMNS = [
    Column(name="life_lo_s", kind="integer", minimum=0),
    Column(name="life_hi_s", kind="integer", minimum=0),
    Column(name="censored", kind="integer", minimum=0, maximum=1),
]


class Arrivals(msgspec.Struct, frozen=True):
    """One row per VM in file order; the last three are None for a set without lifetimes."""

    bin_end_s: Integers
    batch: Integers
    cpu_millicores: Integers
    memory_bytes: Integers
    life_lo_s: Integers | None = None
    life_hi_s: Integers | None = None
    censored: Integers | None = None


def read_arrivals(directory: str, name: str) -> Arrivals:
    """Read set ``name`` (dev or train) of a directory: its decoded file, or else the raw files of the publication.

    Both give the same columns. In place of a directory it may be the decoded file itself. Raises TraceError naming
    file, row, field and value.
    """
    if (file := Path(directory).expanduser()).is_file():
        return _read_decoded(file, with_lifetimes=name == "dev")
    decoded = _DECODED[name]
    raw = f"v1.{name}.txt"
    arrivals_file = find_files(directory, [decoded, raw], what=f"Azure 2017 files of set {name}")[0]
    if arrivals_file.name.removesuffix(".gz") == decoded:
        return _read_decoded(arrivals_file, with_lifetimes=name == "dev")
    flavors = _read_flavors(find_files(directory, ["flav_map.txt"], what="the flavour map")[0])
    if name == "train":
        return Arrivals(*_read_raw_arrivals(arrivals_file, flavors))
    durations_file = find_files(directory, [f"v1.{name}.c*.txt"], what="durations of set dev")[0]
    bins = _read_bins(find_files(directory, ["v1.interval_map.txt"], what="the map of duration bins")[0])
    return _join(arrivals_file, flavors, durations_file, bins)


def _read_decoded(file: Path, *, with_lifetimes: bool) -> Arrivals:
    known = _ARRIVAL_COLUMNS + (_LIFETIME_COLUMNS if with_lifetimes else [])
    names = [column.name for column in known if column.name != "flavor"]
    parts: dict[str, list[Integers]] = {name: [] for name in names}
    last = 0
    for block in read_blocks(file, columns_by_header(file, known), header=True):
        for name in names:
            parts[name].append(block.column(name))
        last = require_order(block, "arrival_bin_end_s", last)
    if not parts["batch_id"]:
        fail(file, None, None, "has no rows; fetch it again")
    columns = [np.concatenate(parts[name]) for name in names]
    if with_lifetimes and (wrong := np.flatnonzero(columns[5] < columns[4])).size:
        fail(file, int(wrong[0]) + 2, "life_hi_s", f"'{columns[5][wrong[0]]}' is below life_lo_s; correct the row")
    return Arrivals(*columns)


def _read_flavors(file: Path) -> dict[str, tuple[int, int]]:
    """Read lines ``vcpu,mem_gb letter`` as letter -> (millicores, bytes)."""
    vcpu, memory = _ARRIVAL_COLUMNS[3], _ARRIVAL_COLUMNS[4]
    flavors = {}
    for row, line in text_lines(file):
        sizes, _, letter = line.strip().rpartition(" ")
        cells = sizes.split(",")
        if len(cells) != 2 or not letter:
            fail(file, row, None, f"{shown(line)} is not 'vcpu,mem_gb letter'; correct the row")
        for cell, column in zip(cells, (vcpu, memory), strict=True):
            if problem := cell_problem(cell, column):
                fail(file, row, column.name, problem)
        flavors[letter] = base_units(cells[0], vcpu.scale), base_units(cells[1], memory.scale)
    return flavors


def _read_bins(file: Path) -> dict[int, tuple[int, int]]:
    """Read lines ``seconds bin`` as bin -> (least, most seconds)."""
    bins: dict[int, tuple[int, int]] = {}
    for row, line in text_lines(file):
        cells = line.split()
        if len(cells) != 2 or not all(cell.isdecimal() for cell in cells):
            fail(file, row, None, f"{shown(line)} is not 'seconds bin'; correct the row")
        seconds, index = int(cells[0]), int(cells[1])
        low, high = bins.get(index, (seconds, seconds))
        bins[index] = min(low, seconds), max(high, seconds)
    return bins


def _raw_batches(file: Path) -> Iterator[tuple[int, int, list[list[str]]]]:
    """Yield (row, bin end, batches of words) of lines ``time word,word,|,word,|,``."""
    last = -1
    for row, line in text_lines(file):
        time, _, words = line.strip().partition(" ")
        if not time.isdecimal():
            fail(file, row, "time", f"{shown(time)} is not a whole number of seconds; correct the row")
        if int(time) < last:
            fail(file, row, "time", f"{shown(time)} is before the row above; sort the file by time")
        last = int(time)
        batches = [batch.strip(",").split(",") for batch in words.strip(",").split(_BATCH_END) if batch.strip(",")]
        yield row, last, batches


def _read_raw_arrivals(file: Path, flavors: dict[str, tuple[int, int]]) -> tuple[Integers, ...]:
    times: list[int] = []
    batches: list[int] = []
    cpu: list[int] = []
    memory: list[int] = []
    batch_id = 0
    for row, time_s, words in _raw_batches(file):
        for batch in words:
            for letter in batch:
                if letter not in flavors:
                    fail(file, row, "flavor", f"{shown(letter)} is not in flav_map.txt; correct one of the files")
                size = flavors[letter]
                times.append(time_s)
                batches.append(batch_id)
                cpu.append(size[0])
                memory.append(size[1])
            batch_id += 1
    if not times:
        fail(file, None, None, "holds no arrivals; fetch it again")
    return tuple(np.array(values, dtype=np.int64) for values in (times, batches, cpu, memory))


def _join(
    arrivals_file: Path, flavors: dict[str, tuple[int, int]], durations_file: Path, bins: dict[int, tuple[int, int]]
) -> Arrivals:
    columns = _read_raw_arrivals(arrivals_file, flavors)
    low: list[int] = []
    high: list[int] = []
    censored: list[int] = []
    times: list[int] = []
    for row, time_s, words in _raw_batches(durations_file):
        for batch in words:
            for word in batch:
                match = _DURATION.fullmatch(word)
                span = bins.get(int(match[2])) if match else None
                if match is None or span is None:
                    problem = f"{shown(word)} is not U or C and a bin of v1.interval_map.txt; correct the row"
                    fail(durations_file, row, "duration", problem)
                low.append(span[0])
                high.append(span[1])
                censored.append(int(match[1] == "C"))
                times.append(time_s)
    if times != columns[0].tolist():
        fail(durations_file, None, None, f"does not match {arrivals_file.name} VM by VM; fetch both files again")
    return Arrivals(*columns, *(np.array(values, dtype=np.int64) for values in (low, high, censored)))

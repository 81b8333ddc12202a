"""Reading a cluster from a file: one row per node, ``csv:FILE`` (plain or gzip) or ``parquet:FILE``.

Columns, in any order:

- ``node_id``: the node's name, not empty, unique. Required.
- capacities: names that end in their unit (``cpu_millicores``, ``memory_bytes``, ``gpu_milli``, ``bandwidth_bps``),
  integers in that unit. At least one is required. ``cpu_millicores`` and ``memory_bytes`` must be positive; in any
  other column a node may have 0 or an empty cell, which both mean that it has none.
- ``label.NAME``: a label of the node; an empty cell is no label.
- ``topology.LEVEL``: the domain in which the node stands, such as ``topology.zone``; outermost level first.

The order of rows is the rank order. Anything else is an error that names file, row, field, value and remedy.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eru_sim.cluster_models.nodes import ClusterSpecError, NodeSpec, closest, column_problem, parse_capacity

_REQUIRED_CAPACITIES = ("cpu_millicores", "memory_bytes")


class _Columns(msgspec.Struct, frozen=True):
    """Where the fields of a node stand in a row."""

    names: list[str]
    node_id: int
    capacities: list[tuple[int, str]]
    labels: list[tuple[int, str]]
    levels: list[tuple[int, str]]


def read_inventory(kind: str, file: str) -> list[NodeSpec]:
    """Return the nodes of an inventory file in the order of its rows, at least one; ``kind`` is csv or parquet.

    Rows of a csv file are counted as lines from 1, the header being row 1; rows of a parquet file from 1.
    Raises ClusterSpecError or TraceError, in one line, for a file that is missing, cut off, not of its kind or not
    UTF-8, and for the first bad cell.
    """
    rows = _csv_rows(file) if kind == "csv" else _parquet_rows(file)
    _, header = next(rows)
    columns = _read_header(file, header)
    nodes: list[NodeSpec] = []
    seen: dict[str, int] = {}
    for row, cells in rows:
        node = _read_node(f"{file}: row {row}", columns, cells)
        if node.node_id in seen:
            raise ClusterSpecError(
                f"{file}: row {row}: field node_id: '{node.node_id}' is already in row {seen[node.node_id]}; "
                "give each node an id of its own"
            )
        seen[node.node_id] = row
        nodes.append(node)
    if not nodes:
        raise ClusterSpecError(f"{file}: it has a header but no nodes; add one row per node")
    return nodes


def _read_header(file: str, header: Sequence[str]) -> _Columns:
    """Return where the fields are, having checked every column's name."""
    names = [name.strip() for name in header]
    columns = _Columns(names, -1, [], [], [])
    for index, name in enumerate(names):
        place = f"{file}: row 1: column {index + 1}"
        if names.index(name) != index:
            raise ClusterSpecError(f"{place}: '{name}' is there twice; keep one")
        prefix, dot, rest = name.partition(".")
        if dot and rest and prefix in ("label", "topology"):
            (columns.labels if prefix == "label" else columns.levels).append((index, rest))
        elif name != "node_id":
            problem = column_problem(name)
            if problem:
                raise ClusterSpecError(f"{place}: {problem}, or call it label.{name or 'NAME'} if it is a label")
            columns.capacities.append((index, name))
    if "node_id" not in names:
        hint = closest("node_id", names)
        raise ClusterSpecError(
            f"{file}: row 1: column node_id is missing ({hint}); name the column of node ids node_id"
        )
    if not columns.capacities:
        raise ClusterSpecError(f"{file}: row 1: there is no capacity column; add one, such as cpu_millicores")
    return msgspec.structs.replace(columns, node_id=names.index("node_id"))


def _read_node(place: str, columns: _Columns, cells: Sequence[Any]) -> NodeSpec:
    """Return the node of one row; ``place`` names file and row for messages."""
    if len(cells) != len(columns.names):
        raise ClusterSpecError(
            f"{place}: it has {len(cells)} of {len(columns.names)} fields; the file is cut off or the row is wrong: "
            "write it again"
        )
    node_id = _text(cells[columns.node_id])
    if not node_id:
        raise ClusterSpecError(f"{place}: field node_id: it is empty; give each node an id of its own")
    capacity: dict[str, int] = {}
    for index, column in columns.capacities:
        value = cells[index]
        if value is None or value == "":
            if column in _REQUIRED_CAPACITIES:
                raise ClusterSpecError(f"{place}: field {column}: it is empty; give a positive integer")
            continue
        try:
            capacity[column] = parse_capacity(column, value)
        except ValueError as error:
            raise ClusterSpecError(f"{place}: field {error}") from None
    labels = {name: _text(cells[index]) for index, name in columns.labels}
    topology = {level: _text(cells[index]) for index, level in columns.levels}
    for level, domain in topology.items():
        if not domain:
            raise ClusterSpecError(f"{place}: field topology.{level}: it is empty; name the {level} of every node")
    labels = {name: value for name, value in labels.items() if value}
    return NodeSpec(node_id=node_id, capacity=capacity, labels=labels, topology=topology)


def _text(cell: Any) -> str:
    """Return a cell as text without surrounding spaces; an absent one as nothing."""
    return "" if cell is None else str(cell).strip()


def _csv_rows(file: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (row, cells) of a csv file, the header first; blank lines are skipped."""
    from traces.tabular import require_file, text_lines

    path = require_file(file, what="a node inventory")
    reader = csv.reader((line for _, line in text_lines(path)), strict=True)
    try:
        for cells in reader:
            if any("\0" in cell for cell in cells):
                raise ClusterSpecError(
                    f"{file}: row {reader.line_num}: holds a NUL byte: it is not text; write it again"
                )
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ClusterSpecError(f"{file}: row {reader.line_num}: is not sound csv ({error}); write it again") from None


def _parquet_rows(file: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield (row, cells) of a parquet file, after row 0 with the column names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from traces.tabular import require_file

    path: Path = require_file(file, what="a node inventory")
    try:
        table = pq.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ClusterSpecError(f"{file}: is not a sound parquet file ({reason}); write it again") from None
    yield 0, table.column_names
    for row, cells in enumerate(zip(*columns, strict=True), 1):
        yield row, list(cells)

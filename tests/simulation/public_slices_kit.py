"""Parts of public traces, written as traces of their own, for tests that cannot wait for the whole."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

SHARED_TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"


def public(name: str) -> Path:
    """The directory of a public trace; the test is skipped where it has not been fetched."""
    path = SHARED_TRACES / name
    if not path.is_dir():
        pytest.skip(f"the public trace {name} is not beside the repository (shared/traces)")
    return path


def huawei_slice(folder: Path, sequence: str, requests: int, servers: int) -> str:
    """The first requests of a sequence on the first servers, as sequence C1."""
    root = public("huawei_numa2025")
    for name, out, count in (
        ("PM_res", "PM_res", servers),
        ("topology_provider", "topology_provider", servers),
        (f"VM_data_{sequence}", "VM_data_C1", requests),
    ):
        with gzip.open(root / f"{name}.csv.gz", "rt") as stream:
            lines = [next(stream) for _ in range(count + 1)]
        (folder / f"{out}.csv").write_text("".join(lines))
    return f"huawei_numa2025:{folder}"


def tianchi_slice(folder: Path, every: int, spare: int) -> str:
    """One in ``every`` of the machines in use with all that is on it and of the waiting instances, and spare machines
    of the large kind; applications and rules as far as they are about these instances.
    """
    (archive,) = public("alibaba2018_tianchi").glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        tables = {name.split("_b_")[1].rsplit("_", 1)[0]: opened.read(name).decode() for name in opened.namelist()}
    rows = {name: list(csv.reader(io.StringIO(text))) for name, text in tables.items()}
    instances = rows["instance_deploy"]
    in_use = {row[2]: None for row in instances if row[2]}
    kept_in_use = list(in_use)[::every]
    kept = {*kept_in_use, *[row[0] for row in rows["machine_resources"] if row[0] not in in_use][-spare:]}
    waiting = [row for row in instances if not row[2]][::every]
    kept_waiting = {row[0] for row in waiting}
    chosen = [row for row in instances if row[2] in kept or row[0] in kept_waiting]
    apps = {row[1] for row in chosen}
    _write(folder, "machine_resources", (row for row in rows["machine_resources"] if row[0] in kept))
    _write(folder, "app_resources", (row for row in rows["app_resources"] if row[0] in apps))
    _write(folder, "app_interference", (row for row in rows["app_interference"] if {*row[:2]} <= apps))
    _write(folder, "instance_deploy", chosen)
    return f"tianchi2018:{folder}"


def _write(folder: Path, name: str, rows: Iterable[list[str]]) -> None:
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)

"""Compare runs of the benchmarks over time: one panel a case, one point a file.

The files are what ``--json`` wrote, of any benchmark that has rows with ``placements_per_cpu_s``, in the order given,
e.g. oldest first. With ``ratio_to_floor`` in the rows the panels show that as well, as it says more on another machine.

    python -m benchmarks.plot [--out FILE.png] FILE...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_RATE = "placements_per_cpu_s"
_TOLD_APART = ("case", "kind", "nodes", "mix")
"""What tells cases apart; the rest of a row is figures."""


def series(files: list[Path]) -> dict[str, list[tuple[str, float, float | None]]]:
    """By case, in the order of the files: the file's name, placements a CPU second, and the ratio to the floor."""
    found: dict[str, list[tuple[str, float, float | None]]] = {}
    for path in files:
        try:
            data = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise SystemExit(f"{path}: not a file that --json wrote ({error})") from None
        rows: list[dict[str, Any]] = data.get("rows", []) if isinstance(data, dict) else data
        for row in rows:
            if _RATE in row:
                case = " ".join(
                    f"{row[key]:,}" if key == "nodes" else str(row[key]) for key in _TOLD_APART if key in row
                )
                found.setdefault(case, []).append((path.stem, row[_RATE], row.get("ratio_to_floor")))
    if not found:
        raise SystemExit(f"{', '.join(map(str, files))}: no rows with {_RATE}")
    return found


def draw(found: dict[str, list[tuple[str, float, float | None]]], out: Path) -> None:
    """Write the figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(4.5 * columns, 3 * lines), squeeze=False)
    for panel in panels.flat[len(found) :]:
        panel.set_visible(False)
    for panel, (case, points) in zip(panels.flat, found.items(), strict=False):
        names = [name for name, _, _ in points]
        panel.plot(names, [rate for _, rate, _ in points], marker="o")
        panel.set(title=case, ylabel="placements / CPU s", ylim=(0, None))
        panel.tick_params(axis="x", rotation=30)
        if all(ratio is not None for _, _, ratio in points):
            other = panel.twinx()
            other.plot(names, [ratio for _, _, ratio in points], marker="x", linestyle="--", color="tab:orange")
            other.set(ylabel="x floor", ylim=(0, None))
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    plt.close(figure)


def main() -> None:
    """Read the files, draw, and say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("out/bench.png"), metavar="FILE.png")
    options = parser.parse_args()
    draw(series(options.files), options.out)
    print(options.out)


if __name__ == "__main__":
    main()

"""The notebooks are kept without outputs, and run from the first cell to the last."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
FIGURES_MIN = 2
CELL_TIMEOUT_S = 120


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def data_of(cell: dict[str, Any]) -> list[dict[str, str]]:
    """What a cell displayed, by media type."""
    return [output["data"] for output in cell["outputs"] if "data" in output]


def test_there_are_five() -> None:
    assert list(NOTEBOOKS) == ["cluster_size", "gpu_policies", "hpc_backfilling", "own_policy", "production_trace"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    text = NOTEBOOKS[name].read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}, cell["id"]
    for cell in code_cells(notebook):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_names_the_full_trace_at_its_top(name: str) -> None:
    settings = code_cells(json.loads(NOTEBOOKS[name].read_text(encoding="utf-8")))[0]
    assert "full trace" in "".join(settings["source"]).lower()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_concludes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipykernel", reason="the extra eru-sim[notebooks] is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra eru-sim[notebooks] is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra eru-sim[notebooks] is not installed")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ.copy())

    assert list(folder.iterdir()) == [], "a notebook writes to where it stands"
    shown = [data for cell in code_cells(notebook) for data in data_of(cell)]
    assert sum("image/png" in data for data in shown) >= FIGURES_MIN
    (conclusion,) = data_of(code_cells(notebook)[-1])
    assert conclusion["text/markdown"].strip().startswith("- ")
    assert "nan" not in conclusion["text/markdown"].lower().split()

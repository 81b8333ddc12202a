"""Scenarios: the cross product, ids, variables, seeds, and what is said of mistakes."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eru_sim
from eru_sim import EruError
from eru_sim.options import choose_policy, parse_engine
from eru_sim.scenario import KEYS, OTHER_KEYS, Scenario, read_scenario

SOURCE = "parquet:trace.parquet"
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "scenarios").glob("*.toml"))

Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def column(scenario: Scenario, name: str) -> list[Any]:
    return [cell.parameters.get(name) for cell in scenario.cells]


def test_the_last_key_varies_fastest_and_variables_slowest() -> None:
    scenario = read_scenario({
        "policy": ["first-fit", "best-fit"], "horizon": [60, "2m"], "source": "parquet:$name",
        "variables": {"name": ["a", "b"]},
    })  # fmt: skip
    assert column(scenario, "source") == ["parquet:a"] * 4 + ["parquet:b"] * 4
    assert column(scenario, "horizon") == [60, 60, "2m", "2m"] * 2
    assert column(scenario, "policy") == ["first-fit", "best-fit"] * 4
    assert scenario.varying() == ["horizon", "policy", "variables.name"]


def test_a_table_is_the_text_that_it_stands_for() -> None:
    scenario = read_scenario({
        "source": {"format": "synthetic", "path": "google2019", "nodes": 5, "note": "a&b"},
        "policy": {"name": "random", "seed": 3},
        "engine": {"start": "2s", "jitter": 0.2},
        "overcommit": {"cpu": 1.5},
        "failures": {"model": "exponential", "mtbf_hours": 2},
    })  # fmt: skip
    (run,) = scenario.runs()
    assert run.arguments == {
        "source": "synthetic:google2019?nodes=5&note=a%26b&seed=0",
        "policy": "random?seed=3",
        "engine": "start=2s,jitter=0.2",
        "overcommit": "cpu=1.5",
        "failures": "exponential?mtbf_hours=2",
        "cluster": "trace",
        "initial": "empty",
        "queue": "priority",
        "seed": 0,
    }
    assert choose_policy(run.arguments["policy"]).params == {"seed": 3}
    assert parse_engine(run.arguments["engine"], 0).start_ns == 2_000_000_000


def test_lists_in_tables_and_tables_in_lists() -> None:
    scenario = read_scenario(
        {"source": SOURCE, "policy": ["best-fit", {"name": "random", "seed": [1, 2]}, "first-fit"]}
    )
    assert column(scenario, "policy") == ["best-fit", "random?seed=1", "random?seed=2", "first-fit"]
    assert column(scenario, "policy.seed") == [None, 1, 2, None]
    assert scenario.varying() == ["policy"]


def test_toml_and_mapping_are_the_same(written: Written) -> None:
    text = 'source = "parquet:x"\npolicy = ["best-fit", "random"]\n[overcommit]\ncpu = [1.0, 1.5]\n'
    from_file, from_mapping = read_scenario(written(text)), read_scenario(tomllib.loads(text))
    assert from_file.cells == from_mapping.cells
    assert (from_file.name, from_file.folder) == ("study", written(text).parent)


def test_ids_depend_on_the_cell_alone() -> None:
    wide = read_scenario({"source": SOURCE, "policy": ["random", "best-fit"], "horizon": [60, 90], "replications": 3})
    narrow = read_scenario({"horizon": 90, "policy": "best-fit", "source": SOURCE, "seed": 5, "name": "another"})
    (cell,) = narrow.cells
    assert [found.cell_id for found in wide.cells].index(cell.cell_id) == 3
    assert len({found.cell_id for found in wide.cells}) == 4
    as_table = read_scenario({"source": {"format": "parquet", "path": "trace.parquet"}, "horizon": 90})
    assert [found.cell_id for found in as_table.cells] == [cell.cell_id]
    as_text = read_scenario({"source": SOURCE, "horizon": "90"})
    assert as_text.cells[0].cell_id != cell.cell_id


def test_ids_stay_what_they_are() -> None:
    (cell,) = read_scenario({"source": SOURCE}).cells
    assert cell.cell_id == "3f72e2c3c4ad"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4))
def test_there_is_a_run_for_every_combination_and_seed(sizes: list[int], replications: int) -> None:
    names = ["a", "b", "c", "d"][: len(sizes)]
    variables = {name: [f"{name}{value}" for value in range(size)] for name, size in zip(names, sizes, strict=True)}
    source = "parquet:" + "-".join(f"${{{name}}}" for name in names)
    scenario = read_scenario({"source": source, "variables": variables, "replications": replications, "seed": 7})
    runs = scenario.runs()
    assert len({run.arguments["source"] for run in runs}) == math.prod(sizes)
    assert len({run.name for run in runs}) == len(runs) == math.prod(sizes) * replications
    assert [run.seed for run in runs] == [7 + number for number in range(replications)] * math.prod(sizes)


def test_variables_come_from_the_scenario_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/da$ta")
    monkeypatch.setenv("other", "environment")
    scenario = read_scenario({
        "source": "parquet:$PLACE/${other}/$$x/$seed.$replication", "variables": {"other": 3}, "seed": [8, 9],
    })  # fmt: skip
    assert [run.arguments["source"] for run in scenario.runs()] == [
        "parquet:/da$ta/3/$x/8.0",
        "parquet:/da$ta/3/$x/9.1",
    ]
    assert len(scenario.cells) == 1


def test_a_source_with_a_seed_of_its_own_draws_with_that_of_the_run() -> None:
    scenario = read_scenario(
        {"source": ["synthetic:google2019?nodes=5", "synthetic:google2019?seed=1"], "replications": 2}
    )
    assert [run.arguments["source"] for run in scenario.runs()] == [
        "synthetic:google2019?nodes=5&seed=0", "synthetic:google2019?nodes=5&seed=1",
        "synthetic:google2019?seed=1", "synthetic:google2019?seed=1",
    ]  # fmt: skip
    # The same seed is the same run, however many replications there are.
    (alone,) = read_scenario({"source": "synthetic:google2019?nodes=5", "seed": 1}).runs()
    assert alone.arguments == scenario.runs()[1].arguments
    assert alone.name == scenario.runs()[1].name


def test_what_a_variable_tells_is_not_told_again() -> None:
    source = {"format": "synthetic", "path": "google2019", "load": "$load", "nodes": [4, 5]}
    scenario = read_scenario({"source": source, "variables": {"load": [0.5, 1]}})
    assert scenario.varying() == ["variables.load", "source.nodes"]


def test_variables_that_go_together_are_a_list_of_tables() -> None:
    pairs = [{"file": "a", "load": 1}, {"file": "b", "load": 2}]
    scenario = read_scenario({"source": "parquet:$file?load=$load", "variables": pairs})
    assert column(scenario, "source") == ["parquet:a?load=1", "parquet:b?load=2"]


def test_a_table_within_a_table_is_one_value() -> None:
    values = {"path": "google2019", "format": "synthetic", "x": {"a": [1, 2]}, "y": [[1, 2], 3]}
    scenario = read_scenario({"source": values})
    assert column(scenario, "source.x") == ['{"a": [1, 2]}'] * 2
    assert column(scenario, "source.y") == ["[1, 2]", 3]
    parts = {"best-fit": 2, "least-allocated": 1}
    (run,) = read_scenario({"source": SOURCE, "policy": {"name": "weighted", "parts": parts}}).runs()
    assert choose_policy(run.arguments["policy"]).params == {"parts": parts}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sorce = "x"', "sorce: unknown key; did you mean 'source'? there are: source, cluster, "),
        ('policy = "random"', "source: is missing; name a trace, "),
        ("source = 3", "source: 3 is not a text or a table; write a text in quotes"),
        ('source = "x"', "source 'x': no format is named; "),
        ('source = ["parquet:a", 3]', "source: 3 is not a text"),
        ("source = []", "source: the list is empty; give at least one value"),
        ('source = [["parquet:a"]]', "source: ['parquet:a'] is a list in a list; leave out the inner brackets"),
        ('source = {path = "x"}', "source: the table has no 'format'; it needs format, path, and options"),
        ('source = {format = 3, path = "x"}', "source.format: 3 is not a text; write it in quotes"),
        ('source = "parquet:a"\nseed = "1"', "seed: '1' is not an integer from 0 to 2^64 - 1"),
        ('source = "parquet:a"\nseed = true', "seed: True is not an integer"),
        ('source = "parquet:a"\nseed = [1, 1]', "seed: [1, 1] must be different integers"),
        ('source = "parquet:a"\nseed = [1, 2]\nreplications = 3', "replications: 3 with 2 seeds; leave one"),
        ('source = "parquet:a"\nreplications = 0', "replications: 0 is not an integer from 1"),
        ('source = "parquet:a"\nname = 1', "name: 1 is not a text"),
        ('source = "parquet:a"\ncluster = {nodes = 5}', "cluster: a table is not possible here; write a text"),
        ('source = "parquet:a"\nhorizon = true', "horizon: True is not a number or a text"),
        ('source = "parquet:a"\nhorizon = "soon"', "horizon: 'soon' is not a duration; write e.g. 90s"),
        ('source = "parquet:a"\nhorizon = 2024-01-01', "horizon: datetime.date(2024, 1, 1) is neither a text, "),
        ('source = "parquet:a"\nhorizon = nan', "horizon: nan is neither a text, a number"),
        ('source = "parquet:a"\npolicy = "best-fitt"', "policy: no policy 'best-fitt'; did you mean 'best-fit'?"),
        ('source = "parquet:a"\npolicy = {name = "random", sed = 1}', "'sed'"),
        ('source = "parquet:a"\npolicy = {name = "random", seed = "1,2"}', "seed: '1,2' is not a whole number"),
        ('source = "parquet:a"\ninitial = "full"', "initial: 'full' is neither 'empty' nor 'recorded'"),
        ('source = "parquet:a"\nengine = {strat = "1s"}', "engine: no option 'strat'; did you mean 'start'?"),
        ('source = "parquet:a"\novercommit = {cpu = "much"}', "overcommit.cpu: 'much' is not a number"),
        ('source = "parquet:$nothing"', "source: there is no variable $nothing; there are none; or set it in the"),
        ('source = "parquet:$lod"\nvariables = {load = 1}', "no variable $lod; did you mean 'load'? there are: load; "),
        ('source = "parquet:a$"', "source: 'parquet:a$' has a '$' without a name; write $$"),
        ('source = "parquet:a"\nvariables = {x = 1}', "variables.x: no text uses $x; use it or leave it out"),
        ('source = "parquet:a"\nvariables = 3', "variables: 3 is not a table; write [variables] and a line for each"),
        ('source = "parquet:$seed"\nvariables = {seed = 1}', "variables.seed: $seed is that of the run; take another"),
        ('source = "parquet:a"\npolicy = ["random", "random"]', "two cells are the same"),
        ("source = x", "this is no TOML: "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_file(written: Written, text: str, message: str) -> None:
    path = written(text)
    with pytest.raises(EruError) as caught:
        read_scenario(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert message in said
    assert "\n" not in said


def test_a_product_that_is_too_large_is_refused_at_once() -> None:
    variables = {name: list(range(100)) for name in "abcdefgh"}
    with pytest.raises(EruError, match="variables: 10,000,000,000,000,000 cells are more than 100,000"):
        read_scenario({"source": "parquet:x", "variables": variables})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EruError, match="scenario: there is no file"):
        read_scenario(tmp_path / "none.toml")
    with pytest.raises(EruError, match="is a directory; name a TOML file"):
        read_scenario(tmp_path)


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = {name.strip(" `") for row in rows for name in row.split(",")}
    assert {*KEYS, *OTHER_KEYS} <= documented


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,65536,2,P100\nn1,32000,65536,8,T4\n"
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    header += "creation_time,deletion_time,scheduled_time\n"
    pods = "".join(f"p{number},1000,1024,1,500,,LS,Running,{number},90,{number}\n" for number in range(12))
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(nodes, encoding="utf-8")
    (tmp_path / "openb_pod_list_default.csv").write_text(header + pods, encoding="utf-8")
    monkeypatch.setenv("OPENB", str(tmp_path))
    scenario = read_scenario(path)
    results = eru_sim.sweep(path)
    assert list(results["cell"].unique()) == [cell.cell_id for cell in scenario.cells]
    assert len(results) == len(scenario.cells) * len(scenario.seeds)
    assert (results["placed"] > 0).all()
    json.dumps(scenario.content)

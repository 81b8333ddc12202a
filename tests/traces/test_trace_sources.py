from __future__ import annotations

import subprocess
import sys

import pytest

import traces
from traces.base import TraceBase
from traces.schema import Submission
from traces.source import Source, integer


class _Toy(TraceBase):
    def __init__(self, source: Source) -> None:
        super().__init__(source, ("cpu_millicores",))
        self._count: int = source.options["count"]

    def submissions(self):  # type: ignore[no-untyped-def]
        return (Submission(index, f"w{index}", (1,)) for index in range(self._count))


TOY = traces.Reader(name="toy", summary="a toy", open=_Toy, options=(integer("count", 3, "how many"),))


def test_a_reader_can_be_added_from_outside():
    trace = traces.open_trace("toy:anything?count=2", readers={"toy": TOY})
    assert [item.workload_id for item in trace.submissions()] == ["w0", "w1"]
    assert trace.describe()["workloads"] == 2
    assert "toy" in {entry["name"] for entry in traces.registry.list_formats({"toy": TOY})}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("somefile", "no format is named"),
        ("gogle2011:DIR", "did you mean google2011?"),
        ("swf:", "nothing follows 'swf:'"),
        ("toy:x?cuont=1", "did you mean count?"),
        ("toy:x?count=many", "count='many' is not valid; expected an integer of at least 0"),
        ("toy:x?count=-1", "expected an integer of at least 0"),
        ("toy:x?count", "'count' is not key=value"),
        ("toy:x?count=1&count=2", "given twice"),
        ("parquet:x?y=1", "parquet has no options"),
        ("synthetic:google2019?mix=often", "expected one of repeat, distinct"),
        ("synthetic:google2019?load=nan", "expected a number above 0"),
        ("synthetic:gogle2019", "did you mean google2019?"),
        ("google2011:DIR?disk=yes", "expected true or false"),
        ("google2011:DIR?lifetime=fit:google2011", "did you mean fit:google2011-jobs?"),
    ],
)
def test_a_bad_source_is_one_line_that_names_the_remedy(source, wanted):
    with pytest.raises(traces.TraceError) as caught:
        traces.open_trace(source, readers={"toy": TOY})
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_option_values_may_be_percent_encoded():
    trace = traces.open_trace("toy:x?count=%31", readers={"toy": TOY})
    assert len(list(trace.submissions())) == 1


def test_formats_list_every_option_with_default_and_meaning():
    formats = {entry["name"]: entry for entry in traces.list_formats()}
    assert set(formats) == {
        *("alibaba2017", "alibaba2018", "azure2017", "google2011", "google2019", "huawei_numa2025", "openb", "parquet"),
        *("philly", "swf", "synthetic", "tianchi2018"),
    }
    options = {option["name"]: option for option in formats["google2011"]["options"]}
    assert options["priority_min"]["default"] == "0"
    assert all(option["meaning"] for entry in formats.values() for option in entry["options"])


def test_the_manifest_names_what_a_user_needs():
    entries = traces.manifest()
    formats = {entry["name"] for entry in traces.list_formats()}
    for entry in entries:
        assert entry["format"] in formats
        assert all(entry[key] for key in ("name", "origin", "licence", "columns", "obtain", "files", "source"))
    assert {entry["format"] for entry in entries} == formats - {"parquet", "synthetic"}


def test_importing_traces_does_not_load_the_heavy_libraries():
    code = "import sys, traces; print(*{'numpy', 'pandas', 'pyarrow', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

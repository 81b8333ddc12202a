"""Bad input gives one line naming file, row, field, value and remedy, for every reader alike."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from trace_files import (
    ALIBABA2018_MACHINES,
    ALIBABA_ROWS,
    AZURE_ROWS,
    GOOGLE2019_HEADER,
    GOOGLE2019_REQUESTS,
    GOOGLE2019_SHAPES,
    HUAWEI_HEADER,
    HUAWEI_REQUESTS,
    OPENB_HEADER,
    OPENB_NODES,
    OPENB_PODS,
    PHILLY_ROWS,
    SWF_ROW,
    TIANCHI_APPS,
    TIANCHI_INSTANCES,
    TIANCHI_MACHINES,
    TIANCHI_RULES,
    google2011_row,
    small_alibaba2017,
    small_alibaba2018,
    small_azure2017,
    small_google2011,
    small_google2019,
    small_huawei_numa2025,
    small_openb,
    small_philly,
    small_swf,
    small_tianchi2018,
    write,
)

import traces

SMALL: dict[str, tuple[Callable[[Path], str], str]] = {
    "google2011": (small_google2011, "task_events/part-00000-of-00500.csv.gz"),
    "openb": (small_openb, "openb_pod_list_default.csv.gz"),
    "alibaba2017": (small_alibaba2017, "batch_task.csv"),
    "swf": (small_swf, "log.swf"),
    "azure2017": (small_azure2017, "decoded_dev_arrivals_lifetimes.csv"),
    "tianchi2018": (small_tianchi2018, "scheduling_preliminary_b_app_resources_20180726.csv"),
    "huawei_numa2025": (small_huawei_numa2025, "VM_data_C1.csv.gz"),
    "philly": (small_philly, "philly.csv.gz"),
    "alibaba2018": (small_alibaba2018, "machine_meta.csv.gz"),
    "google2019": (small_google2019, "2019_a_user_requests.csv.gz"),
}
FORMATS = pytest.mark.parametrize("name", SMALL)


def read_all(source: str) -> None:
    trace = traces.open_trace(source)
    list(trace.machine_events())
    list(trace.submissions())


def problem(source: str) -> str:
    with pytest.raises(traces.TraceError) as caught:
        read_all(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


@FORMATS
def test_small_files_of_every_format_are_read(name, tmp_path):
    trace = traces.open_trace(SMALL[name][0](tmp_path))
    description = trace.describe()
    assert description["workloads"] >= 1
    assert description["format"] == name
    assert all(item.at_ns >= 0 for item in trace.submissions())


@FORMATS
def test_missing_path(name, tmp_path):
    assert "no such file" in problem(f"{name}:{tmp_path / 'nowhere'}")


@FORMATS
def test_empty_directory_or_directory_in_place_of_a_file(name, tmp_path):
    message = problem(f"{name}:{tmp_path}")
    assert "holds no" in message or "is a directory" in message


@FORMATS
def test_file_in_place_of_a_directory_is_never_silently_taken(name, tmp_path):
    file = tmp_path / "file"
    file.write_text("what,is,this\n")
    message = problem(f"{name}:{file}")
    assert str(file) in message


@FORMATS
def test_directory_with_the_name_of_the_file(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    target = tmp_path / SMALL[name][1]
    target.unlink()
    target.mkdir()
    message = problem(source)
    assert "is a directory where a file is expected" in message


@FORMATS
def test_empty_file(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    (tmp_path / SMALL[name][1]).write_bytes(b"")
    assert "is empty" in problem(source)


@FORMATS
def test_truncated_gzip(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    target = tmp_path / SMALL[name][1]
    data = target.read_bytes()
    packed = data if data[:2] == b"\x1f\x8b" else gzip.compress(data)
    target.write_bytes(packed[:-12])
    message = problem(source)
    assert str(target) in message
    assert "truncated" in message


@FORMATS
def test_corrupt_gzip(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    (tmp_path / SMALL[name][1]).write_bytes(b"\x1f\x8b\x00rubbish")
    assert "is not a sound gzip file" in problem(source)


@FORMATS
def test_bytes_that_are_not_utf8(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    target = tmp_path / SMALL[name][1]
    data = target.read_bytes()
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    target.write_bytes(plain + b"\xff\xfe\n")
    message = problem(source)
    assert f"row {plain.count(10) + 1}" in message
    assert "UTF-8" in message


@FORMATS
def test_wrong_number_of_fields(name, tmp_path):
    source = SMALL[name][0](tmp_path)
    target = tmp_path / SMALL[name][1]
    data = target.read_bytes()
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    target.write_bytes(plain + b"1,2\n")
    message = problem(source)
    assert f"row {plain.count(10) + 1}" in message
    assert "fields where" in message


# fmt: off
BAD_CELLS = [
    (
        small_google2011,
        google2011_row(0, 1, 0, 0) + google2011_row(1, 1, 0, 1, cpu="-0.5"),
        "row 2: field cpu_request: '-0.5' is below 0",
    ),
    (
        small_google2011,
        google2011_row(0, 1, 0, 0, memory="lots"),
        "row 1: field memory_request: 'lots' is not a decimal number",
    ),
    (
        small_google2011,
        google2011_row(0, 1, 0, 0, memory="nan"),
        "row 1: field memory_request: 'nan' is not a decimal number",
    ),
    (small_google2011, google2011_row(0, 1, 0, 9), "field event_type: '9' is above 8"),
    (small_google2011, google2011_row(0, 1, 0, 0, priority=12), "field priority: '12' is above 11"),
    (small_google2011, google2011_row(-5, 1, 0, 0), "field time_us: '-5' is below 0"),
    (small_google2011, google2011_row(0, 1, 0, 0).replace("0,,1", ",,1", 1), "row 1: field time_us: is empty"),
    (small_google2011, google2011_row(9, 1, 0, 0) + google2011_row(8, 1, 0, 1),
     "row 2: field time_us: '8' is before the row above"),
    (small_google2011, google2011_row(0, 1, 0, 0) + "\n", "row 2: the line is blank"),
    (small_openb, OPENB_PODS.replace("4000", "-4000"), "row 2: field cpu_milli: '-4000' is below 0"),
    (small_openb, OPENB_PODS.replace("4000", "4.5e"), "row 2: field cpu_milli: '4.5e' is not a whole number"),
    (small_openb, OPENB_PODS.replace("memory_mib", "memory"), "row 1: field memory_mib: column is missing"),
    (small_openb, OPENB_PODS.replace("gpu_spec", "qos"), "row 1: field qos: column is there twice"),
    (small_openb, OPENB_PODS + "p1,1,1,0,0,,,,0,0,0\n", "row 4: field name: 'p1' is there twice"),
    (small_openb, OPENB_PODS.replace("50,12", "11,12"), "row 2: field deletion_time: '11' is before the pod's start"),
    (small_openb, OPENB_PODS.replace("1,460", "2,460"), "row 2: field gpu_milli: '460' with 2 GPUs"),
    (small_openb, OPENB_HEADER, "has no rows"),
    (
        small_alibaba2017,
        ALIBABA_ROWS.replace("Failed", "Lost"),
        "row 2: field status: 'Lost' is not one of Failed, Running",
    ),
    (small_alibaba2017, ALIBABA_ROWS.replace("50", "-50"), "row 1: field cpu: '-50' is below 0"),
    (small_alibaba2017, ALIBABA_ROWS + ALIBABA_ROWS, "row 3: field task_id: task 1 of job 1 is there twice"),
    (
        small_alibaba2017,
        ALIBABA_ROWS.replace("15,40", "15.5,40"),
        "field task_create_time: '15.5' is not a whole number",
    ),
    (small_swf, SWF_ROW.replace("100 4", "abc 4"), "row 2: field run: 'abc' is not a decimal number"),
    (small_swf, SWF_ROW.replace("100 4", "100 -4"), "row 2: field procs_allocated: '-4' is below -1"),
    (small_swf, SWF_ROW.replace("1 10", "1 -10"), "row 2: field submit: '-10' is below 0"),
    (small_swf, SWF_ROW + SWF_ROW, "row 3: field job: '1' is there twice"),
    (small_swf, "", "holds no job that ran"),
    (small_azure2017, AZURE_ROWS.replace("2.0", "-2.0", 1), "row 2: field vcpu: '-2.0' is below 0"),
    (small_azure2017, AZURE_ROWS.replace("900,1200,1", "900,1200,2"), "row 3: field censored: '2' is above 1"),
    (small_azure2017, AZURE_ROWS.replace("300,600,0", "700,600,0"), "row 2: field life_hi_s: '600' is below life_lo_s"),
    (
        small_azure2017,
        AZURE_ROWS + "300,3,g,2.0,3.5,0,0,0\n",
        "row 5: field arrival_bin_end_s: '300' is before the row above",
    ),
    (small_azure2017, "", "has no rows"),
    (small_tianchi2018, TIANCHI_APPS.replace("1|2", "1|-2"), "row 1: field cpu: point 2: '-2' is below 0"),
    (small_tianchi2018, TIANCHI_APPS.replace("1|2", "1|"), "row 1: field cpu: point 2: is empty"),
    (small_tianchi2018, TIANCHI_APPS.replace("1|4", "1"), "row 2: field memory: 1 points where the rows above have 2"),
    (small_tianchi2018, TIANCHI_APPS.replace("500001", "5000001"), "point 1: '0.5000001' is not a whole number of 1/"),
    (small_tianchi2018, TIANCHI_APPS.replace("60.0", "60.5"), "field disk: '60.500000' is not a whole number"),
    (small_tianchi2018, TIANCHI_APPS + TIANCHI_APPS, "row 3: field app_id: 'a' is there twice"),
    (small_huawei_numa2025, HUAWEI_HEADER, "has no rows"),
    (small_huawei_numa2025, HUAWEI_REQUESTS.replace("16,2", "16,3"), "row 3: field numa: '3' is above 2"),
    (small_huawei_numa2025, HUAWEI_REQUESTS.replace("8,16", "7,16"), "row 3: field flavor_vcpus: '7' cannot be halved"),
    (small_huawei_numa2025, HUAWEI_REQUESTS.replace("2.0", "2.5"), "row 8: field domain: '2.5' is not a whole number"),
    (small_huawei_numa2025, HUAWEI_REQUESTS.replace("anti", "any"), "field strategy: 'any-affinity' is not one of"),
    (
        small_huawei_numa2025,
        HUAWEI_HEADER + "2,4,1,affinity,,\n",
        "row 2: field group: is empty; a value is required with strategy affinity",
    ),
    (
        small_huawei_numa2025,
        HUAWEI_HEADER + "2,4,1,affinity,0.0,1.0\n",
        "row 2: field domain: '1' does not belong here with strategy affinity",
    ),
    (small_philly, "", "has no rows"),
    (small_philly, PHILLY_ROWS.replace("07:01:55", "7:01"), "row 2: field timestamp: '2017-10-09 7:01' is not a time"),
    (small_philly, PHILLY_ROWS.replace("10-09 07:01:45", "13-09 07:01:45"), "row 3: field timestamp: '2017-13-09"),
    (small_philly, PHILLY_ROWS.replace("66.0,1,", "66.0,0,"), "row 2: field num_gpus: '0' is below 1"),
    (small_philly, PHILLY_ROWS.replace("66.0,1,", "-66.0,1,"), "row 2: field duration: '-66.0' is below 0"),
    (small_philly, PHILLY_ROWS.replace("30.0", "31.0"), "row 3: field gpu_time: '31' is not num_gpus times duration"),
    (small_alibaba2018, ALIBABA2018_MACHINES.replace(",50,U", ",60,U"), "row 4: field mem_size: '60' was '50' before"),
    (small_alibaba2018, ALIBABA2018_MACHINES.replace("0,219,17", "0,7,17"), "field failure_domain_1: '219' was '7'"),
    (
        small_alibaba2018,
        ALIBABA2018_MACHINES.replace("219,3,", "219,,"),
        "row 3: field failure_domain_2: is empty in every row of m_2",
    ),
    (small_alibaba2018, ALIBABA2018_MACHINES.replace("100,U", "101,U"), "row 1: field mem_size: '101' is above 100"),
    (small_google2019, GOOGLE2019_HEADER, "has no rows"),
    (small_google2019, GOOGLE2019_REQUESTS.replace("2e-05,1", "2e-05,2"), "field collection_type: '2' is above 1"),
    (small_google2019, GOOGLE2019_REQUESTS.replace("5,v", "-5,v"), "row 4: field time: '-5' is below 0"),
    (
        small_google2019,
        GOOGLE2019_REQUESTS.replace("70,0", "70,1"),
        "row 4: field instance_index: instance 1 of 70 is there twice",
    ),
]
# fmt: on


@pytest.mark.parametrize(("small", "rows", "wanted"), BAD_CELLS, ids=[wanted for _, _, wanted in BAD_CELLS])
def test_bad_cells_are_named(small, rows, wanted, tmp_path):
    assert wanted in problem(small(tmp_path, rows))


def test_bad_machine_rows_are_named(tmp_path):
    assert "field event_type: '7' is above 2" in problem(small_google2011(tmp_path / "a", machines="0,5,7,B,0.5,0.5\n"))
    nodes = OPENB_NODES.replace("64000", "many")
    assert "row 2: field cpu_milli: 'many'" in problem(small_openb(tmp_path / "b", nodes=nodes))


@pytest.mark.parametrize(
    ("table", "rows", "wanted"),
    [
        ("machine_resources", TIANCHI_MACHINES * 2, "row 3: field machine_id: 'm1' is there twice"),
        ("machine_resources", TIANCHI_MACHINES.replace("8.000001", "8.0000001"), "row 2: field memory: '8.0000001'"),
        ("app_interference", TIANCHI_RULES * 2, "row 3: field app_b: the rule of a and b is there twice"),
        ("app_interference", "a,c,1\n", "row 1: field app_b: 'c' is no application of the data"),
        ("app_interference", "a,b,-1\n", "row 1: field limit: '-1' is below 0"),
        ("instance_deploy", TIANCHI_INSTANCES * 2, "row 4: field instance_id: 'i1' is there twice"),
        ("instance_deploy", "i1,c,\n", "row 1: field app_id: 'c' is no application of the data"),
        ("instance_deploy", "i1,a,m3\n", "row 1: field machine_id: 'm3' is no machine of the data"),
    ],
)
def test_bad_rows_of_the_other_tables_of_tianchi2018_are_named(table, rows, wanted, tmp_path):
    assert wanted in problem(small_tianchi2018(tmp_path, **{table: rows}))


def test_two_data_sets_of_tianchi2018_in_one_directory_are_not_mixed(tmp_path):
    source = small_tianchi2018(tmp_path)
    write(tmp_path / "scheduling_preliminary_app_resources_20180606.csv", TIANCHI_APPS)
    assert "give a directory with one data set" in problem(source)


def test_archives_that_are_not_sound_are_named(tmp_path):
    archive = write(tmp_path / "data.zip", "rubbish")
    assert f"{archive}: is not a sound zip archive" in problem(f"tianchi2018:{archive}")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("machine_resources.csv", TIANCHI_MACHINES)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"m1,4", b"m1,5"))
    assert "machine_resources.csv: is not a sound part of a zip archive" in problem(f"tianchi2018:{archive}")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("machine_resources.csv", "")
    assert "machine_resources.csv: is empty" in problem(f"tianchi2018:{archive}")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("machine_resources.csv", TIANCHI_MACHINES.replace("4", "four", 1))
    assert f"{archive}/machine_resources.csv: row 1: field cpu: 'four'" in problem(f"tianchi2018:{tmp_path}")


def test_more_servers_than_hosts_and_hosts_that_come_twice_are_named(tmp_path):
    assert "has 3 servers where" in problem(small_huawei_numa2025(tmp_path, hosts="host_id,rack_id\nh0,0\n"))
    hosts = "host_id,rack_id\nh0,0\nh0,0\nh1,0\n"
    assert "row 3: field host_id: 'h0' is there twice" in problem(small_huawei_numa2025(tmp_path, hosts=hosts))


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        (GOOGLE2019_SHAPES + "1,0.50,2\n", "row 4: field cpus: the shape cpu1-mem0.5 is there twice"),
        (GOOGLE2019_SHAPES.replace(",3", ",0"), "row 3: field machine_count: '0' is below 1"),
        (GOOGLE2019_SHAPES.replace("0.591796875", "0.1234567890123"), "row 3: field cpus: '0.1234567890123' is not"),
        ("cpus,ram,machine_count\n", "has no rows"),
    ],
)
def test_bad_shapes_of_google2019_are_named(shapes, wanted, tmp_path):
    assert wanted in problem(small_google2019(tmp_path, shapes=shapes))


def test_work_that_cannot_run_on_the_machines_of_alibaba2018_is_named(tmp_path):
    small_alibaba2018(tmp_path)
    pods = small_openb(tmp_path / "pods")
    assert "it asks for gpu_milli, which" in problem(f"alibaba2018:{tmp_path}?work={pods}")
    assert "'alibaba2107' is unknown" in problem(f"alibaba2018:{tmp_path}?work=alibaba2107:{tmp_path}")


def test_several_tables_of_philly_are_not_mixed(tmp_path):
    source = small_philly(tmp_path)
    write(tmp_path / "philly_later.csv", PHILLY_ROWS)
    assert "holds philly.csv.gz, philly_later.csv; give the path of one of them" in problem(source)


def test_a_gpu_without_a_model_is_named(tmp_path):
    message = problem(small_openb(tmp_path, nodes=OPENB_NODES.replace("P100", "")))
    assert "row 2: field model: is empty on a node with 2 GPUs" in message


@pytest.mark.parametrize(
    ("machines", "wanted"),
    [
        ("0,5,0,B,1,1\n9,5,0,B,1,1\n", "row 2: field event_type: '0' (add) of machine 5, which is there already"),
        ("0,5,0,B,1,1\n9,6,1,B,1,1\n", "row 2: field event_type: '1' (remove) of machine 6, which is not there"),
        ("0,5,2,B,1,1\n", "row 1: field event_type: '2' (update) of machine 5, which is not there"),
    ],
)
def test_machines_that_come_twice_or_go_unseen_are_named(machines, wanted, tmp_path):
    assert wanted in problem(small_google2011(tmp_path, machines=machines))


def test_the_bad_row_is_found_far_into_a_file_of_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("traces.tabular.BLOCK_BYTES", 64)
    rows = [google2011_row(time, 1, time, 0) for time in range(500)]
    rows[400] = rows[400].replace("0.125", "0.12.5")
    message = problem(small_google2011(tmp_path, "".join(rows)))
    assert "row 401: field cpu_request: '0.12.5'" in message


def test_a_last_line_without_newline_and_windows_line_ends_are_read(tmp_path):
    trace = traces.open_trace(small_alibaba2017(tmp_path, ALIBABA_ROWS.replace("\n", "\r\n").rstrip()))
    assert [item.count for item in trace.submissions()] == [3, 1]


def test_a_list_that_is_not_there_names_the_lists_that_are(tmp_path):
    message = problem(small_openb(tmp_path) + "?list=defualt")
    assert "expected one of default (did you mean default?)" in message


def test_a_log_without_machine_size_asks_for_it(tmp_path):
    message = problem(small_swf(tmp_path, header=""))
    assert "add ?procs=N, at least 4" in message

"""Counts and facts of the public traces, where they have been fetched beside the repository."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest

import traces
from traces import SECOND_NS
from traces.canonical import write_parquet
from traces.shapes import shape_set


@pytest.fixture(scope="module")
def google2011(shared):
    started = time.process_time()
    trace = traces.open_trace(f"google2011:{shared('google2011')}")
    return trace, trace.describe(), time.process_time() - started


def test_google2011_is_described_within_ten_seconds(google2011):
    assert google2011[2] < 20  # processor seconds of both cores


def test_google2011_machines(google2011):
    machines = google2011[1]["google2011"]["machines"]
    assert machines["at_start"] == 12_477
    assert [shape["machines"] for shape in machines["shapes_at_start"]] == [6672, 3835, 992, 788, 123, 54, 5, 4, 3, 1]
    assert (machines["add_rows"], machines["remove_rows"], machines["update_rows"]) == (21_443, 8_957, 7_380)
    assert machines["update_rows_that_change_capacity"] == 39
    assert machines["add_rows_without_capacity"] == 32
    assert machines["distinct_removed"] == 5_141


def test_google2011_task_rows(google2011):
    rows = google2011[1]["google2011"]["task_rows"]
    assert rows["rows"] == 450_146
    by_type = {name: count for name, count in rows["by_type"].items() if count}
    assert by_type == {
        "submit": 201_491,
        "schedule": 189_994,
        "evict": 4_338,
        "fail": 581,
        "finish": 43_237,
        "kill": 10_505,
    }
    assert int(rows["span_minutes"]) == 83
    assert rows["tasks"] == 190_926
    assert rows["tasks_with_recorded_end"] == 48_468
    assert rows["rows_without_request"] == 291


def test_google2011_state_at_the_start(google2011):
    start = google2011[1]["google2011"]["at_start"]
    assert (start["submitted_tasks"], start["submitted_jobs"], start["scheduled_tasks"]) == (144_339, 3_981, 132_982)
    assert start["submit_and_schedule_disagree"] == {
        "cpu_request": 36_306,
        "memory_request": 37_566,
        "different_machine": 20_911,
    }
    assert start["demand_ratio"] == pytest.approx({"cpu": 1.266, "memory": 1.117}, abs=0.0006)
    production = start["production_demand_ratio"]
    assert production["tasks"] == 56_053
    assert (round(production["cpu"], 2), round(production["memory"], 2)) == (0.73, 0.58)


def test_google2011_recorded_placement(google2011):
    placement = google2011[1]["google2011"]["recorded_placement"]
    assert placement["machines_used"] == 12_489
    assert placement["machine_ids_not_in_inventory"] == 13
    assert placement["machine_ids_never_in_machine_events"] == 3
    assert placement["requested"] == pytest.approx({"cpu": 7_492.7, "memory": 5_468.2}, abs=0.05)
    assert placement["different_machine_violations"] == 0
    cpu, memory = placement["cpu_requested_over_capacity"], placement["memory_requested_over_capacity"]
    assert cpu["share_of_machines"] == pytest.approx(0.82, abs=0.006)
    assert (round(cpu["median_ratio"], 2), round(cpu["p90_ratio"], 2), round(cpu["max_ratio"], 2)) == (1.15, 1.33, 1.58)
    assert memory["share_of_machines"] == pytest.approx(0.46, abs=0.005)
    assert (round(memory["median_ratio"], 2), round(memory["max_ratio"], 1)) == (0.98, 2.0)


def test_google2011_repairs_and_ends(google2011):
    trace, described, _ = google2011
    assert described["repaired"] == {
        "machine_add_without_capacity": 32,
        "machine_id_not_in_inventory": 13,
        "row_without_request": 291,
    }
    assert described["censored"] == 190_926 - 48_468
    assert described["running_at_start"] == 132_982
    assert trace.horizon_ns == 5_611_086_346_000


def test_google2011_streams_are_ordered_and_keep_every_decimal(google2011):
    trace = google2011[0]
    keys = [(item.at_ns, int(item.job_id), int(item.workload_id.split("-")[1])) for item in trace.submissions()]
    assert keys == sorted(keys)
    times = [event.at_ns for event in trace.machine_events()]
    assert times == sorted(times)
    placed = [item for item in trace.submissions() if item.recorded_machine_id]
    assert sum(item.request[0] for item in placed) == 74_926_538_509


def test_google2011_production_tasks(shared):
    trace = traces.open_trace(f"google2011:{shared('google2011')}?priority_min=9")
    items = list(trace.submissions())
    assert min(item.priority for item in items) == 9
    assert sum(1 for item in items if item.recorded_machine_id) == 56_053


def test_openb_default_list(shared):
    described = traces.open_trace(f"openb:{shared('openb_gpu2023')}").describe()
    facts = described["openb"]
    assert described["machines"]["capacity_at_start"]["cpu_millicores"] == 107_018_000
    assert described["requested"]["gpu_milli"] == 6_086_800
    assert (described["workloads"], described["machines"]["at_start"], facts["gpus"]) == (8_152, 1_213, 6_212)
    assert (facts["pods_without_gpu"], facts["pods_sharing_a_gpu"]) == (1_088, 3_078)
    assert facts["pods_by_gpu_count"] == {"0": 1_088, "1": 3_078 + 3_911, "2": 16, "4": 15, "8": 44}
    assert described["repaired"] == {"pod_never_scheduled": 897}


@pytest.mark.parametrize(
    ("name", "pods"),
    [("cpu050", 7_439), ("cpu100", 7_853), ("gpushare100", 8_152), ("gpuspec33", 8_152), ("multigpu50", 9_061)],
)
def test_openb_other_lists(shared, name, pods):
    trace = traces.open_trace(f"openb:{shared('openb_gpu2023')}?list={name}&nodes=all")
    described = trace.describe()
    assert described["workloads"] == pods
    assert described["machines"]["at_start"] == 1_523
    assert ("node_labels" in described["constraints"]) == (name == "gpuspec33")


def test_openb_by_recorded_times_never_has_more_than_about_a_hundredth_of_its_gpus_busy(shared):
    trace = traces.open_trace(f"openb:{shared('openb_gpu2023')}")
    changes = [(pod.at_ns, pod.request[2]) for pod in trace.submissions()]
    changes += [(pod.at_ns + pod.service_ns, -pod.request[2]) for pod in trace.submissions()]
    busy = itertools.accumulate(amount for _, amount in sorted(changes))
    assert max(busy) / 6_212_000 == pytest.approx(0.0104, abs=0.00005)
    arrivals = traces.open_trace(f"openb:{shared('openb_gpu2023')}?times=arrivals").describe()
    assert arrivals["censored"] == 8_152
    assert arrivals["span_s"] == 8_151
    assert arrivals["requested"]["gpu_milli"] == 6_086_800


@pytest.fixture(scope="module")
def tianchi2018(shared):
    trace = traces.open_trace(f"tianchi2018:{shared('alibaba2018_tianchi')}")
    return trace, trace.describe()


def test_tianchi2018_counts(tianchi2018):
    described = tianchi2018[1]
    assert described["machines"]["at_start"] == 6_000
    assert described["workloads"] == 68_224
    assert described["running_at_start"] == 61_254
    assert described["tianchi2018"] == {
        "apps": 9_338,
        "interference_rules": 33_416,
        "instances_placed": 61_254,
        "machines_with_instances": 4_040,
    }
    assert described["machines"]["capacity_at_start"]["disk_gb"] == 11_691_000
    assert described["requested"]["disk_gb"] == 4_567_563
    assert described["plugins"]["curve"] == {"points": 98, "names": ["cpu", "memory"]}
    assert described["repaired"] == {}


def test_tianchi2018_capacity_and_peak_demand(tianchi2018):
    trace = tianchi2018[0]
    machines = [event.resources["curve"] for event in trace.machine_events()]
    asked = [item.constraints["curve"] for item in trace.submissions()]
    for name, capacity, demand in (("cpu", 372_000, 205_017), ("memory", 1_056_000, 633_791)):
        assert sum(machine[name] for machine in machines) == capacity * 10**6
        peak = max(map(sum, zip(*(curve[name] for curve in asked), strict=True)))
        assert round(peak / 10**6) == demand


def test_tianchi2018_instances_of_an_application_share_what_they_ask(tianchi2018):
    asked = {item.job_id: item.constraints for item in tianchi2018[0].submissions()}
    assert len(asked) == 9_338
    assert all(item.constraints is asked[item.job_id] for item in tianchi2018[0].submissions())
    rules = [rule for constraints in asked.values() for rule in constraints["affinity"]["apart"]]
    assert len(rules) == 33_416


def test_huawei_numa2025_facts_of_c1(shared):
    described = traces.open_trace(f"huawei_numa2025:{shared('huawei_numa2025')}").describe()
    assert described["huawei_numa2025"] == {
        "free_cores": 141_856,
        "requested_cores": 64_616,
        "racks": 100,
        "requests_by_strategy": {"affinity": 530, "anti-affinity": 532, "fault_domain": 1_173, "none": 2_763},
    }
    assert described["workloads"] == 4_998
    assert described["machines"]["at_start"] == 1_710
    assert described["requested"]["memory_bytes"] == 0
    assert described["repaired"] == {}


@pytest.mark.parametrize(("sequence", "beyond_a_host"), [("C1", 51), ("C2", 40), ("C3", 61)])
def test_huawei_numa2025_affinity_is_possible_in_a_rack_and_often_not_on_a_host(shared, sequence, beyond_a_host):
    trace = traces.open_trace(f"huawei_numa2025:{shared('huawei_numa2025')}?sequence={sequence}")
    racks: Counter[str] = Counter()
    for event in trace.machine_events():
        racks[event.topology["rack"]] += len(event.resources["cpu"]["cores"])
    hosts = [len(event.resources["cpu"]["cores"]) for event in trace.machine_events()]
    groups: Counter[str] = Counter()
    for item in trace.submissions():
        if item.job_id.startswith("affinity"):
            groups[item.job_id] += item.constraints["cpu"]["cpu_request"]
    assert max(hosts) == 170
    assert sum(cores > max(hosts) for cores in groups.values()) == beyond_a_host
    assert max(groups.values()) <= min(racks.values()) == 939


def test_philly_counts(shared):
    described = traces.open_trace(f"philly:{shared('philly2017')}").describe()
    assert (described["jobs"], described["tenants"]) == (52_849, 12)
    assert described["workloads"] == 52_849 + 65 + 7 + 2 * 4 + 3 * 23
    assert described["repaired"] == {"out_of_order_row": 28_192}
    assert (described["censored"], described["failed"], described["killed"]) == (0, 0, 0)
    facts = described["philly"]
    counts = {"1": 50_188, "2": 904, "4": 945, "8": 713, "12": 7, "16": 65, "24": 4, "32": 23}
    assert facts["jobs_by_gpus"] == counts
    assert facts["jobs_of_several_machines"] == 99
    assert facts["median_run_s"] == 1_486
    assert facts["gpu_days"] / (described["span_s"] / 86_400) == pytest.approx(465, abs=0.5)
    gpus = sum(int(number) * jobs for number, jobs in counts.items())
    assert described["requested"]["gpu_milli"] == gpus * 1000


def test_alibaba2018_counts(shared):
    described = traces.open_trace(f"alibaba2018:{shared('alibaba2018_machines')}").describe()
    assert described["machines"]["at_start"] == 4_034
    assert described["machines"]["capacity_at_start"]["cpu_millicores"] == 4_034 * 96_000
    assert described["machine_events"] == {"add": 4_034, "remove": 0, "update": 0}
    assert described["repaired"] == {"blank_failure_domain": 34}
    facts = described["alibaba2018"]
    assert (facts["failure_domains_1"], facts["failure_domains_2"]) == (292, 20)
    assert facts["failure_domains_1_in_several_2"] == 198
    assert facts["rows_by_status"] == {"IMPORT_INSTALLING": 17_592 - 17_587, "USING": 17_587}
    assert facts["usage_sample"]["rows"] == 100_002


def test_alibaba2018_machines_run_the_batch_work_of_2017(shared):
    work = f"alibaba2017:{shared('alibaba2017_batch')}"
    described = traces.open_trace(f"alibaba2018:{shared('alibaba2018_machines')}?work={work}").describe()
    assert (described["workloads"], described["machines"]["at_start"]) == (11_909_321, 4_034)
    assert described["repaired"]["blank_request"] == 9_017


@pytest.mark.parametrize(
    ("cell", "machines", "collections"),
    [("a", 10_002, 742), ("b", 10_047, 323), ("c", 13_245, 598), ("d", 12_578, 399)],
)
def test_google2019_cells(shared, cell, machines, collections):
    trace = traces.open_trace(f"google2019:{shared('google2019_lgdc')}?cell={cell}")
    described = trace.describe()
    assert described["machines"]["at_start"] == machines
    assert (described["workloads"], described["jobs"], described["censored"]) == (10_000, collections, 10_000)
    found = Counter((event.labels["shape"], *event.capacity.values()) for event in trace.machine_events())
    shapes = shape_set(f"google2019-{cell}")
    assert found == {(shape.name, *shape.capacity.values()): shape.weight for shape in shapes}
    cpu, memory = (sorted(item.request[index] for item in trace.submissions()) for index in (0, 1))
    assert 0.006 <= cpu[5_000] / 10**7 <= 0.022
    assert 0.0015 <= memory[5_000] / 10**12 <= 0.0061
    assert 0.0275 <= cpu[9_900] / 10**7 <= 0.050


def test_google2019_requests_of_cell_a_are_nearly_all_distinct_and_rounding_merges_some(shared):
    source = f"google2019:{shared('google2019_lgdc')}"
    assert traces.open_trace(source).describe()["distinct_requests"] == 5_270
    finer = traces.open_trace(f"{source}?cpu_cores=1000000000")  # as recorded 6,184, four of them by their last digit
    assert finer.describe()["distinct_requests"] == 6_180


def test_azure2017_raw_and_decoded_files_give_the_same_stream(shared, tmp_path):
    root = shared("azure2017_vm")
    for name in ("v1.dev.txt.gz", "v1.dev.c2100000.txt.gz", "v1.interval_map.txt", "flav_map.txt"):
        (tmp_path / name).symlink_to(f"{root}/{name}")
    decoded = traces.open_trace(f"azure2017:{root}")
    raw = traces.open_trace(f"azure2017:{tmp_path}")
    assert list(raw.submissions()) == list(decoded.submissions())


def test_azure2017_dev_facts(shared):
    described = traces.open_trace(f"azure2017:{shared('azure2017_vm')}").describe()
    assert described["workloads"] == 259_159
    assert described["jobs"] == 53_109
    assert described["censored"] == 14_317
    assert described["arrivals"]["per_hour"]["mean"] == pytest.approx(3_085, rel=0.02)
    cores = described["azure2017"]["vms_by_cores"]
    assert cores["1"] / 259_159 == pytest.approx(0.62, abs=0.005)
    assert described["azure2017"]["batch_size_mean"] == pytest.approx(4.9, abs=0.05)


def test_alibaba2017_counts(shared):
    described = traces.open_trace(f"alibaba2017:{shared('alibaba2017_batch')}").describe()
    assert (described["submissions"], described["jobs"], described["workloads"]) == (80_553, 12_951, 11_909_321)
    assert described["repaired"] == {
        "blank_request": 9_017,
        "end_before_start": 209,
        "header_row": 1,
        "out_of_order_row": 5_214,
    }
    assert described["alibaba2017"]["largest_task_instances"] == 64_486


@pytest.mark.parametrize(
    ("name", "jobs", "out_of_order", "load"),
    [
        ("KTH-SP2.sim.easy_clairvoyant", 28_481, 9_299, 0.69),
        ("SDSC-SP2.sim.easy_userestimate", 54_006, 15_537, 0.82),
        ("theta_argonne_2022", 23_387, 8_056, 0.68),
    ],
)
def test_swf_logs(shared, name, jobs, out_of_order, load):
    trace = traces.open_trace(f"swf:{shared('swf_hpc')}/{name}.swf.gz")
    described = trace.describe()
    assert described["workloads"] == jobs
    assert described["repaired"] == {"out_of_order_row": out_of_order}
    assert round(described["swf"]["offered_load"], 2) == load
    keys = [(item.at_ns, int(item.workload_id)) for item in trace.submissions()]
    assert keys == sorted(keys)


def test_swf_logs_with_skipped_jobs_and_without_header(shared):
    root = shared("swf_hpc")
    clean = traces.open_trace(f"swf:{root}/KTH-SP2-1996-2.1-cln.swf.gz").describe()
    assert clean["workloads"] == 28_476 - 9
    metacentrum = traces.open_trace(f"swf:{root}/metacentrum_wagap-2013.swf.gz?procs=2176")
    assert metacentrum.repaired == {"job_without_run_time": 2}
    theta = traces.open_trace(f"swf:{root}/theta_argonne_2022.swf.gz?estimate_field=6")
    first = next(iter(theta.submissions()))
    assert (first.at_ns, first.estimate_ns) == (0, 21_600 * SECOND_NS)


def same_streams(original: traces.Trace, copy: traces.Trace) -> None:
    assert all(one == other for one, other in zip(original.submissions(), copy.submissions(), strict=True))
    assert all(one == other for one, other in zip(original.machine_events(), copy.machine_events(), strict=True))
    assert dict(original.repaired) == dict(copy.repaired)


def test_converted_google2011_reads_back_identical(google2011, tmp_path):
    write_parquet(google2011[0], tmp_path / "x.parquet")
    same_streams(google2011[0], traces.open_trace(f"parquet:{tmp_path / 'x.parquet'}"))


def test_converted_tianchi2018_reads_back_identical(tianchi2018, tmp_path):
    write_parquet(tianchi2018[0], tmp_path / "x.parquet")
    copy = traces.open_trace(f"parquet:{tmp_path / 'x.parquet'}")
    same_streams(tianchi2018[0], copy)
    assert copy.plugins == tianchi2018[0].plugins


@pytest.mark.parametrize(
    "source",
    [
        *("openb:openb_gpu2023", "alibaba2017:alibaba2017_batch", "huawei_numa2025:huawei_numa2025"),
        *("philly:philly2017", "alibaba2018:alibaba2018_machines", "google2019:google2019_lgdc"),
    ],
)
def test_converted_public_traces_read_back_identical(shared, source, tmp_path):
    name, _, folder = source.partition(":")
    text = f"{name}:{shared(folder)}"
    traces.convert(text, tmp_path / "x.parquet")
    same_streams(traces.open_trace(text), traces.open_trace(f"parquet:{tmp_path / 'x.parquet'}"))

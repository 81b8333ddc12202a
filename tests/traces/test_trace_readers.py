"""What each reader makes of tiny files whose every cell is known."""

from __future__ import annotations

import zipfile

import pytest
from trace_files import (
    ALIBABA_ROWS,
    AZURE_ROWS,
    OPENB_PODS,
    SWF_ROW,
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
from eru_sim.cluster_models import build_cluster
from traces import SECOND_NS, Submission

US_NS = 1000
GIB = 1 << 30


def submissions(source: str) -> list[Submission]:
    return list(traces.open_trace(source).submissions())


def test_google2011_quantities_are_exact_integers(tmp_path):
    rows = google2011_row(0, 1, 0, 0, cpu="0.0006247", memory="7.057e-05") + google2011_row(
        0, 1, 1, 0, cpu="1", memory=""
    )
    (first, second) = submissions(small_google2011(tmp_path, rows))
    assert first.request == (6_247, 70_570_000)
    assert second.request == (10_000_000, 0)


def test_google2011_an_inexact_quantity_is_rounded_half_to_even(tmp_path):
    rows = google2011_row(0, 1, 0, 0, cpu="0.0005", memory="0.5") + google2011_row(
        0, 1, 1, 0, cpu="0.0015", memory="0.3"
    )
    found = submissions(small_google2011(tmp_path, rows) + "?cpu_cores=1&memory_bytes=5")
    assert [item.request for item in found] == [(0, 2), (2, 2)]


def test_google2011_different_machines_can_be_rules_of_the_affinity_plugin(tmp_path):
    from eru_sim import replay

    rows = "".join(google2011_row(0, 1, task, 0, cpu="0.01", memory="0.01", different="1") for task in range(3))
    rows += google2011_row(0, 2, 0, 0, cpu="0.01", memory="0.01", different="0")
    source = small_google2011(tmp_path, rows)
    assert [item.constraints for item in submissions(source)] == [{"different_machine": True}] * 3 + [None]
    apart = {"affinity": {"labels": {"job": "1"}, "apart": [{"match": {"job": "1"}}]}}
    assert [item.constraints for item in submissions(f"{source}?different=affinity")] == [apart] * 3 + [None]
    ignored = replay(source, cluster="3x16000c64000g")
    assert (ignored.summary["ignored"], ignored.outcomes["node_id"].nunique()) == ({"different_machine": 3}, 1)
    kept = replay(f"{source}?different=affinity", cluster="3x16000c64000g")
    assert (kept.summary["ignored"], kept.outcomes["node_id"].nunique()) == ({}, 3)
    kept = replay(f"{source}?different=affinity", cluster="2x16000c64000g")
    assert kept.summary["pending"] == 1


def test_google2011_service_time_runs_from_the_last_start_before_the_first_end(tmp_path):
    rows = "".join(
        google2011_row(time, 1, 0, event)
        for time, event in [(0, 0), (10, 1), (20, 2), (20, 0), (50, 1), (90, 4), (95, 0), (99, 1), (120, 3)]
    )
    (task,) = submissions(small_google2011(tmp_path, rows))
    assert (task.at_ns, task.service_ns, task.exit_code, task.kill_at_ns) == (0, 40 * US_NS, 0, None)


def test_google2011_request_and_flags_are_those_of_the_last_row_at_or_before_the_start(tmp_path):
    rows = (
        google2011_row(0, 1, 0, 0, cpu="0.1", different="0")
        + google2011_row(0, 1, 0, 1, cpu="0.2", different="1", machine="5")
        + google2011_row(5, 1, 0, 8, cpu="0.3", different="0")
        + google2011_row(6, 1, 1, 0, cpu="0.4")
        + google2011_row(7, 1, 1, 7, cpu="0.45")
        + google2011_row(8, 1, 1, 5, cpu="0.5")
    )
    started, waiting = submissions(small_google2011(tmp_path, rows))
    assert started.request[0] == 2_000_000
    assert started.constraints == {"different_machine": True}
    assert started.recorded_machine_id == "5"
    assert waiting.request[0] == 4_500_000
    assert (waiting.kill_at_ns, waiting.service_ns, waiting.constraints) == (8 * US_NS, None, None)
    assert waiting.recorded_machine_id == ""


def test_google2011_failure_kill_and_censoring(tmp_path):
    rows = (
        google2011_row(0, 1, 0, 0)
        + google2011_row(1, 1, 0, 1)
        + google2011_row(4, 1, 0, 3)
        + google2011_row(5, 2, 0, 0)
        + google2011_row(6, 2, 0, 1)
        + google2011_row(9, 2, 0, 5)
        + google2011_row(9, 2, 1, 0)
    )
    trace = traces.open_trace(small_google2011(tmp_path, rows))
    failed, killed, censored = trace.submissions()
    assert (failed.service_ns, failed.exit_code) == (3 * US_NS, 1)
    assert (killed.service_ns, killed.kill_at_ns) == (None, 9 * US_NS)
    assert (censored.service_ns, censored.kill_at_ns) == (None, None)
    assert trace.horizon_ns == 9 * US_NS
    described = trace.describe()
    assert (described["censored"], described["killed"], described["failed"]) == (1, 1, 1)


def test_google2011_order_is_time_then_job_then_index(tmp_path):
    rows = "".join(google2011_row(0, job, index, 0) for job, index in [(10, 1), (9, 0), (10, 0)])
    assert [item.workload_id for item in submissions(small_google2011(tmp_path, rows))] == ["9-0", "10-0", "10-1"]


def test_google2011_priority_disk_and_drawn_lifetimes(tmp_path):
    rows = "".join(google2011_row(0, 1, index, 0, priority=index) for index in range(12))
    source = small_google2011(tmp_path, rows)
    kept = submissions(source + "?priority_min=9&disk=true&lifetime=fit:google2011-jobs&seed=7")
    every = submissions(source + "?lifetime=fit:google2011-jobs&seed=7")
    assert [item.priority for item in kept] == [9, 10, 11]
    assert kept[0].request == (1_250_000, 250_000_000_000, 100_000_000)
    assert [item.service_ns for item in kept] == [item.service_ns for item in every[9:]]
    assert all(item.service_ns for item in every)
    assert submissions(source + "?lifetime=fit:google2011-jobs&seed=8")[0].service_ns != every[0].service_ns


def test_google2011_machine_events(tmp_path):
    machines = "0,5,0,B,0.5,0.25\n0,6,0,C,,\n1000,5,1,B,0.5,0.25\n2000,5,0,B,0.5,0.25\n4000,6,2,C,1,1\n"
    source = small_google2011(tmp_path, machines=machines)
    trace = traces.open_trace(source)
    events = list(trace.machine_events())
    assert [(event.at_ns, event.machine_id, event.kind) for event in events] == [
        (0, "5", "add"),
        (0, "6", "add"),
        (1_000_000, "5", "remove"),
        (2_000_000, "5", "add"),
        (4_000_000, "6", "update"),
    ]
    assert events[0].capacity == {"cpu_millicores": 5_000_000, "memory_bytes": 250_000_000_000}
    assert events[1].capacity == {"cpu_millicores": 0, "memory_bytes": 0}
    assert events[2].capacity == {}
    assert events[0].labels == {"platform": "B"}
    assert trace.repaired["machine_add_without_capacity"] == 1


def test_google2011_reads_several_parts_and_reports_progress(tmp_path):
    source = small_google2011(tmp_path, google2011_row(0, 1, 0, 0))
    write(tmp_path / "task_events" / "part-00001-of-00500.csv", google2011_row(7, 1, 0, 1) + google2011_row(9, 1, 0, 4))
    seen: list[float] = []
    (task,) = traces.open_trace(source, progress=seen.append).submissions()
    assert task.service_ns == 2 * US_NS
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_streams_can_be_read_side_by_side_and_again(tmp_path):
    trace = traces.open_trace(small_google2011(tmp_path))
    one, two = trace.submissions(), trace.submissions()
    machines = trace.machine_events()
    assert next(one) == next(two)
    assert next(machines).machine_id == "5"
    assert len(list(trace.submissions())) == 1


def test_openb_pods_and_nodes(tmp_path):
    trace = traces.open_trace(small_openb(tmp_path))
    plain, shared_gpu = trace.submissions()
    assert (plain.workload_id, plain.request, plain.constraints) == ("p0", (1000, 32 << 20, 0), None)
    assert (plain.at_ns, plain.service_ns, plain.exit_code) == (10 * SECOND_NS, 20 * SECOND_NS, 1)
    assert shared_gpu.request == (4000, 64 << 20, 460)
    assert shared_gpu.constraints == {
        "gpu": {"count": 1, "milli": 460, "models": ["P100", "T4"]},
        "node_labels": {"gpu_model": ["P100", "T4"]},
    }
    assert shared_gpu.service_ns == 38 * SECOND_NS
    first, second = trace.machine_events()
    assert first.capacity == {"cpu_millicores": 64000, "memory_bytes": 1 << 30, "gpu_milli": 2000}
    assert second.labels == {"gpu_model": "T4"}
    assert second.resources == {"gpu": {"model": "T4", "count": 8}}
    assert trace.plugins == {"gpu": {}}
    assert any("times=arrivals" in line for line in trace.assumptions)


def test_openb_whole_gpus_pending_pods_and_lists_without_times(tmp_path):
    pods = OPENB_PODS + "p2,8000,64,8,1000,,LS,Pending,20,60,\n"
    trace = traces.open_trace(small_openb(tmp_path, pods))
    last = list(trace.submissions())[-1]
    assert last.request[2] == 8000
    assert last.service_ns == 40 * SECOND_NS
    assert trace.repaired == {"pod_never_scheduled": 1}
    write(
        tmp_path / "openb_pod_list_bare.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\nb,1,1,0,0\na,1,1,4,1000\n"
    )
    bare = traces.open_trace(f"openb:{tmp_path}?list=bare")
    assert [(pod.workload_id, pod.at_ns, pod.service_ns) for pod in bare.submissions()] == [
        ("b", 0, None),
        ("a", SECOND_NS, None),
    ]
    assert any("no times" in line for line in bare.assumptions)


def test_openb_arrivals_only_come_a_second_apart_in_file_order_and_stay(tmp_path):
    trace = traces.open_trace(small_openb(tmp_path) + "?times=arrivals")
    found = [(pod.workload_id, pod.at_ns, pod.service_ns, pod.exit_code) for pod in trace.submissions()]
    assert found == [("p1", 0, None, 0), ("p0", SECOND_NS, None, 0)]
    assert trace.repaired == {}
    assert any("Arrivals only" in line for line in trace.assumptions)


def test_openb_pods_of_any_model_and_nodes_without_gpu(tmp_path):
    nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,1024,0,\n"
    trace = traces.open_trace(small_openb(tmp_path, OPENB_PODS.replace("P100|T4", ""), nodes))
    assert [pod.constraints for pod in trace.submissions()] == [None, {"gpu": {"count": 1, "milli": 460}}]
    assert [dict(node.resources) for node in trace.machine_events()] == [{}]


def test_philly_jobs_are_split_over_machines(tmp_path):
    trace = traces.open_trace(small_philly(tmp_path))
    wide, single = trace.submissions()
    assert wide == Submission(
        0,
        "job-1",
        (6000,),
        2,
        "job-1",
        "vc2",
        service_ns=2_500_000_000,
        constraints={"gpu": {"count": 6, "milli": 1000}},
    )
    assert (single.at_ns, single.count, single.request, single.job_id) == (10 * SECOND_NS, 1, (1000,), "job-0")
    assert single.constraints == {"gpu": {"count": 1, "milli": 1000}}
    assert trace.plugins == {"gpu": {}}
    assert trace.repaired == {"out_of_order_row": 1}
    assert trace.default_cluster == "80x{gpu_milli=8000,label.gpu_model=unknown}"


@pytest.mark.parametrize(
    ("per_machine", "gpus", "count", "each"),
    [(8, 8, 1, 8), (8, 9, 3, 3), (8, 13, 13, 1), (8, 24, 3, 8), (4, 6, 2, 3), (16, 12, 1, 12), (1, 5, 5, 1)],
)
def test_philly_parts_of_a_job_are_equal_and_the_fewest(per_machine, gpus, count, each, tmp_path):
    rows = f"2017-10-09 07:01:55,1,{gpus},{gpus},vc\n"
    trace = traces.open_trace(small_philly(tmp_path, rows) + f"?gpus_per_machine={per_machine}")
    (job,) = trace.submissions()
    assert (job.count, job.request, job.constraints["gpu"]["count"]) == (count, (each * 1000,), each)
    assert build_cluster(trace.default_cluster).capacity("gpu_milli").sum() == 640_000


def test_alibaba2018_machines(tmp_path):
    source = small_alibaba2018(tmp_path).partition("?")[0]
    write(tmp_path / "machine_usage_sample.csv", "m_1,10,40,90,,,43.04,33.08,5\nm_1,20,43,92,,,43.04,33.08,-1\n")
    trace = traces.open_trace(source)
    first, second = trace.machine_events()
    assert (first.at_ns, first.machine_id, first.kind) == (0, "m_1", "add")
    assert first.capacity == {"cpu_millicores": 96_000, "memory_bytes": 10**12}
    assert second.capacity["memory_bytes"] == 5 * 10**11
    assert first.topology == {"failure_domain_2": "17", "failure_domain_1": "219"}
    assert second.topology == {"failure_domain_2": "3", "failure_domain_1": "219"}
    assert list(trace.submissions()) == []
    described = trace.describe()
    assert described["repaired"] == {"blank_failure_domain": 2}
    assert described["alibaba2018"] == {
        "failure_domains_1": 1,
        "failure_domains_2": 2,
        "failure_domains_1_in_several_2": 1,
        "rows_by_status": {"IMPORT_INSTALLING": 1, "USING": 3},
        "usage_sample": {"rows": 2, "machines": 1, "mean_cpu_percent": 41.5, "mean_memory_percent": 91.0},
    }
    assert any("There is no work" in line for line in trace.assumptions)


def test_alibaba2018_runs_the_work_of_another_trace_on_its_machines(tmp_path):
    trace = traces.open_trace(small_alibaba2018(tmp_path))
    work = traces.open_trace(small_alibaba2017(tmp_path / "work"))
    assert list(trace.submissions()) == list(work.submissions())
    assert trace.horizon_ns == work.horizon_ns
    assert trace.default_cluster is None
    assert set(work.assumptions) < set(trace.assumptions)
    assert len(list(trace.machine_events())) == 2


def test_alibaba2018_leaves_out_the_machines_of_the_work(tmp_path):
    small_alibaba2018(tmp_path)
    source = (
        f"alibaba2018:{tmp_path}?memory_bytes=100&work={small_google2011(tmp_path / 'google')}?priority_min=0%26seed=1"
    )
    trace = traces.open_trace(source)
    assert [item.recorded_machine_id for item in trace.submissions()] == [""]
    assert [event.machine_id for event in trace.machine_events()] == ["m_1", "m_2"]
    assert [event.capacity["memory_bytes"] for event in trace.machine_events()] == [100, 50]


def test_alibaba2018_has_only_what_the_work_asks_for(tmp_path):
    small_alibaba2018(tmp_path)
    log = small_swf(tmp_path)
    trace = traces.open_trace(f"alibaba2018:{tmp_path}?work={log}")
    assert trace.dimensions == ("cpu_millicores",)
    assert {tuple(event.capacity) for event in trace.machine_events()} == {("cpu_millicores",)}


def test_google2019_machines_spread_the_shapes_evenly(tmp_path):
    trace = traces.open_trace(small_google2019(tmp_path))
    wide, narrow = "cpu1-mem0.5", "cpu0.591796875-mem0.33349609375"
    events = list(trace.machine_events())
    assert [event.machine_id for event in events] == ["a-00000", "a-00001", "a-00002", "a-00003"]
    assert [event.labels["shape"] for event in events] == [narrow, wide, narrow, narrow]
    assert events[1].capacity == {"cpu_millicores": 10_000_000, "memory_bytes": 5 * 10**11}
    assert events[0].capacity == {"cpu_millicores": 5_917_969, "memory_bytes": 333_496_093_750}


def test_google2019_requests_come_in_order_of_their_first_events(tmp_path):
    source = small_google2019(tmp_path)
    items = submissions(source)
    assert [item.workload_id for item in items] == ["70-0", "8-0", "70-1"]
    assert [item.at_ns for item in items] == [0, SECOND_NS, 2 * SECOND_NS]
    assert [item.request for item in items] == [
        (10_000_000, 10**12),
        (0, 20_000_000),
        (81_024, 5 * 10**11),
    ]
    assert (items[2].job_id, items[2].tenant, items[2].service_ns) == ("70", "u=", None)
    assert {item.at_ns for item in submissions(source + "?gap_ms=0")} == {0}
    facts = traces.open_trace(source).describe()["google2019"]
    assert (facts["largest_collection"], facts["requests_without_cpu"], facts["requests_of_alloc_sets"]) == (2, 1, 1)


def test_google2019_reads_the_folders_of_the_repository_that_keeps_the_extract(tmp_path):
    flat = small_google2019(tmp_path / "flat")
    for name, folder in (("host_resource.csv", "hostResource"), ("user_requests.csv.gz", "userRequest")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"2019_a_{name}").symlink_to(tmp_path / "flat" / f"2019_a_{name}")
    assert submissions(f"google2019:{tmp_path}") == submissions(flat)


def test_tianchi2018_machines_and_instances(tmp_path):
    trace = traces.open_trace(small_tianchi2018(tmp_path))
    first, second = trace.machine_events()
    assert first.capacity == {"disk_gb": 100, "p_count": 7, "m_count": 3, "pm_count": 7}
    assert second.resources == {"curve": {"cpu": 2_500_000, "memory": 8_000_001}}
    one, two, three = trace.submissions()
    assert [
        (item.workload_id, item.at_ns, item.recorded_machine_id, item.service_ns) for item in (one, two, three)
    ] == [
        ("i1", 0, "m1", None),
        ("i2", 0, "", None),
        ("i3", 0, "m2", None),
    ]
    assert (one.request, two.request) == ((60, 1, 0, 0), (40, 0, 1, 1))
    assert one.constraints == {
        "curve": {"cpu": [1_000_000, 2_000_000], "memory": [2_000_000, 2_000_000]},
        "affinity": {"labels": {"app": "a"}, "apart": [{"match": {"app": "b"}, "level": "node", "most": 1}]},
    }
    assert two.constraints["curve"]["cpu"] == [500_001, 1_000_000]
    assert two.constraints["affinity"]["apart"] == [{"match": {"app": "b"}, "level": "node", "most": 0}]
    assert three.constraints is one.constraints
    assert trace.plugins == {"affinity": {}, "curve": {"points": 2, "names": ["cpu", "memory"]}}


def test_tianchi2018_archive_and_directory_give_the_same_trace(tmp_path):
    plain = traces.open_trace(small_tianchi2018(tmp_path / "plain"))
    (tmp_path / "packed").mkdir()
    archive = tmp_path / "packed" / "data.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in (tmp_path / "plain").iterdir():
            opened.write(file, f"folder/{file.name}")
            opened.writestr(f"__MACOSX/folder/._{file.name}", "no table")
    for path in (archive, archive.parent):
        packed = traces.open_trace(f"tianchi2018:{path}")
        assert list(packed.submissions()) == list(plain.submissions())
        assert list(packed.machine_events()) == list(plain.machine_events())


def test_huawei_numa2025_machines(tmp_path):
    first, second, third = traces.open_trace(small_huawei_numa2025(tmp_path)).machine_events()
    assert first.capacity == {"cpu_millicores": 6000, "memory_bytes": 24 * GIB}
    assert first.resources == {
        "cpu": {
            "cores": {"0": 100, "1": 100, "2": 100, "3": 100, "4": 100, "5": 100},
            "numa": {"0": ["0", "1", "2", "3"], "1": ["4", "5"]},
            "numa_memory": {"0": 16 * GIB, "1": 8 * GIB},
        }
    }
    assert [(event.machine_id, event.topology) for event in (first, second, third)] == [
        ("h0", {"rack": "0"}),
        ("h1", {"rack": "0"}),
        ("h2", {"rack": "1"}),
    ]
    assert set(third.resources["cpu"]["numa"]) == {"0"}


def test_huawei_numa2025_requests(tmp_path):
    trace = traces.open_trace(small_huawei_numa2025(tmp_path))
    items = list(trace.submissions())
    assert [item.at_ns for item in items] == [number * SECOND_NS for number in range(7)]
    assert all(item.service_ns is None for item in items)
    assert items[1].request == (8000, 0)
    assert items[0].constraints == {"cpu": {"bind": True, "cpu_request": 2, "memory_request": 4 * GIB, "numa_nodes": 1}}
    assert items[1].constraints["cpu"] == {
        "bind": True,
        "cpu_request": 8,
        "memory_request": 16 * GIB,
        "numa_nodes": 2,
    }
    assert [item.job_id for item in items[1::2]] == ["affinity-0", "anti-affinity-0", "fault_domain-3"]
    assert [item.constraints["affinity"] for item in items[2::2]] == [
        {"labels": {"affinity": "0"}, "near": [{"match": {"affinity": "0"}, "level": "rack"}]},
        {"labels": {"anti-affinity": "0"}, "apart": [{"match": {"anti-affinity": "0"}, "level": "node", "most": 0}]},
        {
            "labels": {"fault_domain": "3/2"},
            "apart": [{"match": {"fault_domain": "3/0"}, "level": "rack", "most": 0}],
        },
    ]
    assert items[3].constraints is items[4].constraints
    assert trace.plugins == {"cpu": {}, "affinity": {"levels": ["node", "rack"]}}
    assert any("Row i of PM_res is host i" in line for line in trace.assumptions)


def test_alibaba2017_instances_become_a_count(tmp_path):
    trace = traces.open_trace(small_alibaba2017(tmp_path))
    first, second = trace.submissions()
    assert (first.workload_id, first.job_id, first.count) == ("1-1", "1", 3)
    assert (first.request, first.service_ns, first.exit_code) == ((500, 10_000_000_000), 10 * SECOND_NS, 0)
    assert second.exit_code == 1
    assert trace.default_cluster == "alibaba2017:1300"
    assert trace.describe()["workloads"] == 4


def test_alibaba2017_known_dirt_is_repaired_and_counted(tmp_path):
    dirty = "create, end, job, task, number, status, cpu, mem\n" + ALIBABA_ROWS
    dirty += "-5,-6,2,1,2,Terminated,50,0.02\n7,0,2,2,1,Running,,\n8,9,2,3,5,Waiting,,\n"
    source = small_alibaba2017(tmp_path, dirty)
    trace = traces.open_trace(source)
    found = {item.workload_id: item for item in trace.submissions()}
    assert list(found) == ["2-1", "2-2", "2-3", "1-1", "1-2"]
    assert (found["2-1"].at_ns, found["2-1"].service_ns) == (0, 0)
    assert found["1-1"].at_ns == 15 * SECOND_NS
    assert found["2-2"].request == (500, 20_000_000_000)
    assert found["2-2"].service_ns is None
    assert trace.repaired == {"header_row": 1, "out_of_order_row": 1, "blank_request": 2, "end_before_start": 2}
    assert any("moved by 5 s" in line for line in trace.assumptions)
    assert [item.workload_id for item in submissions(source + "?blank=skip")] == ["2-1", "1-1", "1-2"]


def test_swf_job_fields(tmp_path):
    trace = traces.open_trace(small_swf(tmp_path))
    (job,) = trace.submissions()
    assert job == Submission(
        10 * SECOND_NS,
        "1",
        (4000,),
        job_id="1",
        tenant="7",
        service_ns=100 * SECOND_NS,
        estimate_ns=200 * SECOND_NS,
    )
    (machine,) = trace.machine_events()
    assert machine.capacity == {"cpu_millicores": 100_000}


def test_swf_known_dirt_is_repaired_and_counted(tmp_path):
    rows = [
        "3 50 0 10 -1 -1 -1 8 -1 -1 0 -1 1 -1 -1 -1 -1 -1",
        "1 20 0 0 4 -1 -1 4 20 -1 5 2 1 -1 -1 -1 -1 -1",
        "2 20 0 9 0 -1 -1 -1 20 -1 1 2 1 -1 -1 -1 -1 -1",
        "5 20.5 0 9 2 0.5 -1 2 20 -1 5 2 1 -1 -1 -1 -1 -1 {a,b} extra columns",
        "4 20 0 9 2 -1 -1 2 20 -1 1 2 1 -1 -1 -1 -1 -1",
    ]
    trace = traces.open_trace(small_swf(tmp_path, "\n".join(rows) + "\n"))
    jobs = list(trace.submissions())
    assert [job.workload_id for job in jobs] == ["4", "5", "3"]
    assert jobs[1].at_ns == 20_500_000_000
    assert (jobs[2].request, jobs[2].exit_code, jobs[2].tenant, jobs[2].estimate_ns) == ((8000,), 1, "", None)
    assert trace.repaired == {
        "job_without_processors": 1,
        "job_without_run_time": 1,
        "out_of_order_row": 2,
        "processors_from_request": 1,
    }


def test_swf_layouts_overrides_and_unix_times(tmp_path):
    source = small_swf(tmp_path, SWF_ROW.replace("1 10 ", "1 1672529301 "), header="; MaxNodes: 10\n")
    trace = traces.open_trace(source + "?layout=nodes&cores_per_node=4")
    assert [event.capacity["cpu_millicores"] for event in trace.machine_events()] == [4000, 4000, 2000]
    (job,) = trace.submissions()
    assert (job.at_ns, job.count, job.request) == (0, 4, (1000,))
    assert any("moved by 1672529301 s" in line for line in trace.assumptions)
    (machine,) = traces.open_trace(source + "?procs=7").machine_events()
    assert machine.capacity == {"cpu_millicores": 7000}


def test_azure2017_midpoints_censoring_and_origin(tmp_path):
    source = small_azure2017(tmp_path)
    first, second, third = submissions(source + "?spread=bin-end")
    assert (first.at_ns, first.request, first.service_ns) == (300 * SECOND_NS, (2000, 7 * GIB // 2), 450 * SECOND_NS)
    assert (second.service_ns, second.job_id) == (None, "batch-1")
    assert (third.at_ns, third.service_ns) == (600 * SECOND_NS, 0)
    assert submissions(source + "?spread=bin-end&lifetime=hi")[0].service_ns == 600 * SECOND_NS
    spread = submissions(source)
    assert all(0 <= item.at_ns <= 300 * SECOND_NS for item in spread[:2])
    assert spread == submissions(source)
    assert spread != submissions(source + "?seed=5")
    trace = traces.open_trace(source)
    assert (trace.horizon_ns, trace.default_cluster) == (900 * SECOND_NS, "azure:5000")


def test_azure2017_may_be_one_decoded_file(tmp_path):
    source = small_azure2017(tmp_path)
    assert submissions(source) == submissions(f"{source}/decoded_dev_arrivals_lifetimes.csv")


def test_azure2017_raw_files_give_the_same_stream_as_decoded_ones(tmp_path):
    decoded = small_azure2017(tmp_path / "decoded", AZURE_ROWS)
    raw = tmp_path / "raw"
    write(raw / "flav_map.txt", "1,0.75 a\n2,3.5 g\n")
    write(raw / "v1.interval_map.txt", "0 0\n300 1\n600 1\n900 2\n1200 2\n")
    write(raw / "v1.dev.txt", "600 g,|,a,|,\n900 g,|,\n")
    write(raw / "v1.dev.c2100000.txt", "600 U1,|,C2,|,\n900 U0,|,\n")
    assert submissions(f"azure2017:{raw}") == submissions(decoded)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("flav_map.txt", "1,0.75,a\n", "row 1: '1,0.75,a' is not 'vcpu,mem_gb letter'"),
        ("flav_map.txt", "x,0.75 a\n2,3.5 g\n", "row 1: field vcpu: 'x' is not a decimal number"),
        ("v1.dev.txt", "600 g,|,z,|,\n", "row 1: field flavor: 'z' is not in flav_map.txt"),
        ("v1.dev.txt", "sixty g,|,\n", "row 1: field time: 'sixty' is not a whole number"),
        ("v1.dev.c2100000.txt", "600 U1,|,X2,|,\n", "row 1: field duration: 'X2'"),
        ("v1.dev.c2100000.txt", "600 U1,|,\n", "does not match v1.dev.txt VM by VM"),
        ("v1.interval_map.txt", "0\n", "row 1: '0' is not 'seconds bin'"),
    ],
)
def test_azure2017_raw_files_are_checked(name, text, wanted, tmp_path):
    write(tmp_path / "flav_map.txt", "1,0.75 a\n2,3.5 g\n")
    write(tmp_path / "v1.interval_map.txt", "0 0\n300 1\n600 1\n900 2\n")
    write(tmp_path / "v1.dev.txt", "600 g,|,a,|,\n")
    write(tmp_path / "v1.dev.c2100000.txt", "600 U1,|,C2,|,\n")
    write(tmp_path / name, text)
    with pytest.raises(traces.TraceError) as caught:
        traces.open_trace(f"azure2017:{tmp_path}")
    assert wanted in str(caught.value)
    assert name in str(caught.value)


def test_azure2017_train_draws_lifetimes_from_dev(tmp_path):
    source = small_azure2017(tmp_path)
    write(
        tmp_path / "decoded_train_arrivals.csv",
        "arrival_bin_end_s,batch_id,flavor,vcpu,mem_gb\n300,0,a,1.0,0.75\n300,0,g,2.0,3.5\n600,1,g,2.0,3.5\n",
    )
    assert {item.service_ns for item in submissions(source + "?set=train")} == {None}
    drawn = submissions(source + "?set=train&lifetime=fit:dev")
    assert drawn[0].service_ns is None
    assert {item.service_ns for item in drawn[1:]} <= {450 * SECOND_NS, 0}

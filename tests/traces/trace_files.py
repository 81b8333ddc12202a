"""Tiny hand-made files of every format, for the tests of the readers."""

from __future__ import annotations

import gzip
from pathlib import Path


def write(path: Path, text: str) -> Path:
    """Write ``text`` to ``path``, compressed if its name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def google2011_row(
    time: int,
    job: int,
    index: int,
    event: int,
    *,
    machine: str = "",
    cpu: str = "0.125",
    memory: str = "0.25",
    priority: int = 2,
    different: str = "0",
    missing: str = "",
) -> str:
    """Return one line of task_events."""
    return f"{time},{missing},{job},{index},{machine},{event},alice,1,{priority},{cpu},{memory},0.0001,{different}\n"


GOOGLE_MACHINES = "0,5,0,B,0.5,0.2493\n0,6,0,C,1,1\n"
OPENB_NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,1024,2,P100\nn1,32000,512,8,T4\n"
OPENB_HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)
OPENB_PODS = OPENB_HEADER + "p1,4000,64,1,460,P100|T4,LS,Running,10,50,12\np0,1000,32,0,0,,BE,Failed,10,30,10\n"
ALIBABA_ROWS = "10,20,1,1,3,Terminated,50,0.01\n15,40,1,2,1,Failed,100,0.03\n"
SWF_ROW = "1 10 5 100 4 -1 -1 4 200 -1 1 7 1 -1 -1 -1 -1 -1\n"
AZURE_HEADER = "arrival_bin_end_s,batch_id,flavor,vcpu,mem_gb,life_lo_s,life_hi_s,censored\n"
AZURE_ROWS = "600,0,g,2.0,3.5,300,600,0\n600,1,a,1.0,0.75,900,1200,1\n900,2,g,2.0,3.5,0,0,0\n"
TIANCHI_MACHINES = "m1,4,8,100,7,3,7\nm2,2.5,8.000001,100,7,3,7\n"
TIANCHI_APPS = "a,1|2,2|2,60.000000,1,0,0\nb,0.500001|1,1|4,40,0,1,1\n"
TIANCHI_RULES = "a,b,1\nb,b,0\n"
TIANCHI_INSTANCES = "i1,a,m1\ni2,b,\ni3,a,m2\n"
HUAWEI_SERVERS = "CPU1,RAM1,CPU2,RAM2\n4,16,2,8\n8,32,8,32\n8,16,0,0\n"
HUAWEI_HOSTS = "host_id,rack_id\nh0,0\nh1,0\nh2,1\nh3,1\n"
HUAWEI_HEADER = "flavor_vcpus,flavor_ram,numa,strategy,group,domain\n"
HUAWEI_REQUESTS = HUAWEI_HEADER + (
    "2,4,1,,,\n8,16,2,affinity,0.0,\n2,4,1,affinity,0.0,\n2,4,1,anti-affinity,0.0,\n2,4,1,anti-affinity,0.0,\n"
    "2,4,1,fault_domain,3.0,0.0\n2,4,1,fault_domain,3.0,2.0\n"
)

PHILLY_HEADER = "timestamp,duration,num_gpus,gpu_time,cluster\n"
PHILLY_ROWS = "2017-10-09 07:01:55,66.0,1,66.0,vc1\n2017-10-09 07:01:45,2.5,12,30.0,vc2\n"
ALIBABA2018_MACHINES = (
    "m_1,0,219,17,96,100,USING\nm_1,50,219,,96,100,USING\nm_2,7,219,,96,50,IMPORT_INSTALLING\nm_2,9,219,3,96,50,USING\n"
)
GOOGLE2019_SHAPES = "cpus,ram,machine_count\n1.0,0.5,1\n0.591796875,0.33349609375,3\n"
GOOGLE2019_HEADER = "time,user,collection_id,instance_index,cpus,ram,collection_type\n"
GOOGLE2019_REQUESTS = GOOGLE2019_HEADER + "9,u=,70,1,0.0081024169921875,0.5,0\n9,u=,8,0,0.0,2e-05,1\n5,v=,70,0,1,1,0\n"


def small_google2011(root: Path, tasks: str | None = None, machines: str = GOOGLE_MACHINES) -> str:
    """Write a google2011 directory and return its source."""
    rows = google2011_row(0, 1, 0, 0) + google2011_row(0, 1, 0, 1, machine="5") if tasks is None else tasks
    write(root / "machine_events" / "part-00000-of-00001.csv.gz", machines)
    write(root / "task_events" / "part-00000-of-00500.csv.gz", rows)
    return f"google2011:{root}"


def small_openb(root: Path, pods: str = OPENB_PODS, nodes: str = OPENB_NODES) -> str:
    """Write an openb directory and return its source."""
    write(root / "openb_node_list_gpu_node.csv", nodes)
    write(root / "openb_pod_list_default.csv.gz", pods)
    return f"openb:{root}"


def small_alibaba2017(root: Path, rows: str = ALIBABA_ROWS) -> str:
    """Write a batch_task table and return its source."""
    write(root / "batch_task.csv", rows)
    return f"alibaba2017:{root}"


def small_swf(root: Path, rows: str = SWF_ROW, header: str = "; MaxProcs: 100\n") -> str:
    """Write a job log and return its source."""
    return f"swf:{write(root / 'log.swf', header + rows)}"


def small_azure2017(root: Path, rows: str = AZURE_ROWS) -> str:
    """Write the decoded dev set and return its source."""
    write(root / "decoded_dev_arrivals_lifetimes.csv", AZURE_HEADER + rows)
    return f"azure2017:{root}"


def small_tianchi2018(root: Path, apps: str = TIANCHI_APPS, **tables: str) -> str:
    """Write the four tables of tianchi2018 and return the source of their directory."""
    written = {
        "machine_resources": TIANCHI_MACHINES,
        "app_resources": apps,
        "app_interference": TIANCHI_RULES,
        "instance_deploy": TIANCHI_INSTANCES,
        **tables,
    }
    for name, text in written.items():
        write(root / f"scheduling_preliminary_b_{name}_20180726.csv", text)
    return f"tianchi2018:{root}"


def small_huawei_numa2025(
    root: Path, requests: str = HUAWEI_REQUESTS, servers: str = HUAWEI_SERVERS, hosts: str = HUAWEI_HOSTS
) -> str:
    """Write servers, topology and sequence C1, and return the source of their directory."""
    write(root / "PM_res.csv", servers)
    write(root / "topology_provider.csv.gz", hosts)
    write(root / "VM_data_C1.csv.gz", requests)
    return f"huawei_numa2025:{root}"


def small_philly(root: Path, rows: str = PHILLY_ROWS, header: str = PHILLY_HEADER) -> str:
    """Write a table of jobs and return the source of its directory."""
    write(root / "philly.csv.gz", header + rows)
    return f"philly:{root}"


def small_alibaba2018(root: Path, machines: str = ALIBABA2018_MACHINES) -> str:
    """Write the machines, and batch_task as their work, and return the source."""
    write(root / "machine_meta.csv.gz", machines)
    write(root / "work" / "batch_task.csv", ALIBABA_ROWS)
    return f"alibaba2018:{root}?work=alibaba2017:{root / 'work'}"


def small_google2019(root: Path, requests: str = GOOGLE2019_REQUESTS, shapes: str = GOOGLE2019_SHAPES) -> str:
    """Write shapes and requests of cell a and return the source of their directory."""
    write(root / "2019_a_host_resource.csv", shapes)
    write(root / "2019_a_user_requests.csv.gz", requests)
    return f"google2019:{root}"

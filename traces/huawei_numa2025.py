"""Reader of Huawei Cloud's data set for topology-aware VM placement: free servers of two NUMA nodes, and VM requests.

A request becomes one submission of the constraint ``cpu`` (bound to cores of one NUMA node or of two, its memory from
the same NUMA nodes) and, in a group, the constraint ``affinity``. The publisher names the strategies (collocation,
anti-collocation, fault domains) without saying of what. The readings here are those that the data allow:

* affinity: one rack. In the publisher's cloud service it means one host, but half of the groups and more ask for more
  cores than any host has free, while every rack has enough.
* anti-affinity: different hosts, as in that service.
* fault_domain: members of a group with different ``domain`` numbers share no rack. A domain may be several racks: some
  domains ask for more than any rack has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.schema import SECOND_NS, MachineEvent, Submission
from traces.source import Option, Reader, Source, choice
from traces.tabular import Column, columns_by_header, fail, find_files, rows_of

DIMENSIONS = ("cpu_millicores", "memory_bytes")
PIECES_PER_CORE = 100
"""How the cores of a machine's resource ``cpu`` are counted."""
_GIB = 1 << 30
_MOST_CORES = 4096
_STRATEGIES = ("affinity", "anti-affinity", "fault_domain")
_ASSUMPTIONS = (
    "Row i of PM_res is host i of topology_provider; the data do not say which server is which host.",
    "Machines have what is free at the start, and nothing that occupies the rest ever leaves.",
    "A NUMA node without free cores is left out.",
    "Requests come one second apart in file order and run past the horizon. A recorded GB is 2^30 bytes.",
    "A VM of two NUMA nodes takes half of its cores and half of its memory from each.",
    "Affinity is to one rack: many groups ask for more cores than any host has free.",
    "Anti-affinity is to different hosts. Members of different fault domains of a group share no rack.",
)

OPTIONS: tuple[Option, ...] = (choice("sequence", "C1", "which sequence of requests", ["C1", "C2", "C3"]),)

_SERVER_COLUMNS = [
    Column(name="CPU1", kind="integer", minimum=0, maximum=_MOST_CORES),
    Column(name="RAM1", kind="integer", minimum=0),
    Column(name="CPU2", kind="integer", minimum=0, maximum=_MOST_CORES),
    Column(name="RAM2", kind="integer", minimum=0),
]
_HOST_COLUMNS = [Column(name="host_id"), Column(name="rack_id")]
_REQUEST_COLUMNS = [
    Column(name="flavor_vcpus", kind="integer", minimum=1, maximum=_MOST_CORES),
    Column(name="flavor_ram", kind="integer", minimum=1),
    Column(name="numa", kind="integer", minimum=1, maximum=2),
    Column(name="strategy", nullable=True, choices=_STRATEGIES),
    Column(name="group", kind="quantity", nullable=True, minimum=0, exact=True),
    Column(name="domain", kind="quantity", nullable=True, minimum=0, exact=True),
]


class HuaweiNuma2025Trace(TraceBase):
    """All files are read and checked when the trace is opened; they hold thousands of rows."""

    def __init__(self, source: Source) -> None:
        sequence = source.options["sequence"]
        super().__init__(
            source,
            DIMENSIONS,
            assumptions=(f"Requests are those of sequence {sequence}.", *_ASSUMPTIONS),
            plugins={"cpu": {}, "affinity": {"levels": ["node", "rack"]}},
        )
        self._machines = _read_machines(_file(source.path, "PM_res"), _file(source.path, "topology_provider"))
        self._strategies: Counter[str] = Counter()
        self._submissions = self._read_requests(_file(source.path, f"VM_data_{sequence}"))

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield every host with free resources at time 0, in file order."""
        return iter(self._machines)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per request, one second apart, in file order."""
        return iter(self._submissions)

    def _read_requests(self, file: Path) -> list[Submission]:
        requests = [_checked(file, row, request) for row, request in _rows(file, _REQUEST_COLUMNS)]
        domains = _domains_by_group(requests)
        shared: dict[tuple[Any, ...], dict[str, Any]] = {}
        submissions = []
        for number, request in enumerate(requests):
            strategy, group = request["strategy"], request["group"]
            key = tuple(request.values())
            if key not in shared:
                shared[key] = _constraints(request, domains)
            self._strategies[strategy or "none"] += 1
            submissions.append(
                Submission(
                    number * SECOND_NS,
                    f"vm-{number}",
                    (request["flavor_vcpus"] * 1000, 0),
                    job_id=f"{strategy}-{group}" if strategy else "",
                    constraints=shared[key],
                )
            )
        return submissions

    def _facts(self) -> dict[str, Any]:
        return {
            "huawei_numa2025": {
                "free_cores": sum(event.capacity["cpu_millicores"] for event in self._machines) // 1000,
                "requested_cores": sum(item.request[0] for item in self._submissions) // 1000,
                "racks": len({event.topology["rack"] for event in self._machines}),
                "requests_by_strategy": dict(sorted(self._strategies.items())),
            }
        }


def _file(path: str, name: str) -> Path:
    return find_files(path, [f"{name}.csv"], what=f"{name}.csv (topology-aware VM placement)")[0]


def _rows(file: Path, columns: list[Column]) -> list[tuple[int, dict[str, Any]]]:
    rows = list(rows_of(file, columns_by_header(file, columns), header=True))
    if not rows:
        fail(file, None, None, "has no rows; fetch it again")
    return rows


def _read_machines(servers: Path, topology: Path) -> list[MachineEvent]:
    hosts = _rows(topology, _HOST_COLUMNS)
    seen: set[str] = set()
    for row, host in hosts:
        if host["host_id"] in seen:
            fail(topology, row, "host_id", f"{host['host_id']!r} is there twice; remove one of the rows")
        seen.add(host["host_id"])
    rows = _rows(servers, _SERVER_COLUMNS)
    if len(rows) > len(hosts):
        fail(
            servers,
            None,
            None,
            f"has {len(rows)} servers where {topology.name} has {len(hosts)} hosts; fetch both again",
        )
    return [_machine(server, host) for (_, server), (_, host) in zip(rows, hosts, strict=False)]


def _machine(server: dict[str, Any], host: dict[str, Any]) -> MachineEvent:
    """Cores are numbered through, those of the first NUMA node first."""
    cores: dict[str, int] = {}
    numa: dict[str, list[str]] = {}
    memory: dict[str, int] = {}
    for node in (1, 2):
        count = server[f"CPU{node}"]
        if count == 0:
            continue
        names = [str(number) for number in range(len(cores), len(cores) + count)]
        cores.update(dict.fromkeys(names, PIECES_PER_CORE))
        numa[str(node - 1)] = names
        memory[str(node - 1)] = server[f"RAM{node}"] * _GIB
    return MachineEvent(
        at_ns=0,
        machine_id=host["host_id"],
        kind="add",
        capacity={"cpu_millicores": len(cores) * 1000, "memory_bytes": sum(memory.values())},
        resources={"cpu": {"cores": cores, "numa": numa, "numa_memory": memory}},
        topology={"rack": host["rack_id"]},
    )


def _checked(file: Path, row: int, request: dict[str, Any]) -> dict[str, Any]:
    """Raise TraceError where group and domain do not go with the strategy, or a VM cannot be halved."""
    strategy = request["strategy"]
    wanted = {"group": bool(strategy), "domain": strategy == "fault_domain"}
    for field, is_wanted in wanted.items():
        if is_wanted != (request[field] is not None):
            problem = "is empty; a value is required" if is_wanted else f"'{request[field]}' does not belong here"
            fail(file, row, field, f"{problem} with strategy {strategy or 'blank'}; correct the row")
    for field in ("flavor_vcpus", "flavor_ram"):
        if request[field] % request["numa"]:
            fail(file, row, field, f"'{request[field]}' cannot be halved over 2 NUMA nodes; correct the row")
    return request


def _domains_by_group(requests: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Return the fault domains that each group of that strategy has, in order."""
    found: dict[int, set[int]] = {}
    for request in requests:
        if request["strategy"] == "fault_domain":
            found.setdefault(request["group"], set()).add(request["domain"])
    return {group: sorted(domains) for group, domains in found.items()}


def _constraints(request: dict[str, Any], domains: dict[int, list[int]]) -> dict[str, Any]:
    constraints: dict[str, Any] = {
        "cpu": {
            "bind": True,
            "cpu_request": request["flavor_vcpus"],
            "memory_request": request["flavor_ram"] * _GIB,
            "numa_nodes": request["numa"],
        }
    }
    if request["strategy"]:
        constraints["affinity"] = _affinity(request, domains)
    return constraints


def _affinity(request: dict[str, Any], domains: dict[int, list[int]]) -> dict[str, Any]:
    """Groups are numbered anew for each strategy, so the label's name is that of the strategy."""
    strategy, group = request["strategy"], str(request["group"])
    if strategy == "affinity":
        label = {"affinity": group}
        return {"labels": label, "near": [{"match": label, "level": "rack"}]}
    if strategy == "anti-affinity":
        label = {"anti-affinity": group}
        return {"labels": label, "apart": [{"match": label, "level": "node", "most": 0}]}
    others = [domain for domain in domains[request["group"]] if domain != request["domain"]]
    return {
        "labels": {"fault_domain": f"{group}/{request['domain']}"},
        "apart": [{"match": {"fault_domain": f"{group}/{domain}"}, "level": "rack", "most": 0} for domain in others],
    }


READER = Reader(
    name="huawei_numa2025",
    summary="Huawei Cloud topology-aware VM placement: a directory with PM_res, topology_provider and VM_data_* files",
    open=HuaweiNuma2025Trace,
    options=OPTIONS,
)

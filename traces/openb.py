"""Reader of the Alibaba GPU cluster 2023 trace ("openb"): one node list and one of its pod lists.

A pod becomes one workload. ``gpu_milli`` of a request is the sum over its GPUs, of a node 1000 per GPU. The pod's own
GPU facts stay with it as ``{"gpu": {"count": n, "milli": per GPU, "models": allowed}}``, without ``models`` where any
will do; its allowed models are there as ``node_labels`` too. A node's GPUs are its resource ``gpu``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.base import TraceBase
from traces.openb_orders import inflated, ordered
from traces.schema import SECOND_NS, MachineEvent, Submission, TraceError
from traces.source import Option, Reader, Source, choice, integer, number, one_of
from traces.tabular import Column, columns_by_header, fail, find_files, rows_of

DIMENSIONS = ("cpu_millicores", "memory_bytes", "gpu_milli")
_MIB = 1 << 20

OPTIONS: tuple[Option, ...] = (
    Option(
        name="list",
        default="default",
        meaning="pod list: the part after openb_pod_list_ of a file name",
        parse=lambda text: _list_name(text),
    ),
    choice("nodes", "gpu", "node list: only the nodes with GPUs, or all", ["gpu", "all"]),
    choice(
        "times",
        "recorded",
        "recorded times, or arrivals only: one pod a second in file order, and none leaves",
        ["recorded", "arrivals"],
    ),
    Option(
        name="order",
        default="",
        meaning="a file with lines `P POD` in order of arrival and `N NODE` in order of rank; arrivals only",
        parse=str,
    ),
    number("inflate", "", "arrivals only, shuffled, until they ask for so many times the GPUs (1.3 in the FGD study)"),
    integer("seed", 0, "seed of the shuffle and the copies of `inflate`"),
)

_NODE_COLUMNS = [
    Column(name="sn"),
    Column(name="cpu_milli", kind="integer", minimum=0),
    Column(name="memory_mib", kind="integer", minimum=0),
    Column(name="gpu", kind="integer", minimum=0, maximum=64),
    Column(name="model", nullable=True),
]
_POD_COLUMNS = [
    Column(name="name"),
    Column(name="cpu_milli", kind="integer", minimum=0),
    Column(name="memory_mib", kind="integer", minimum=0),
    Column(name="num_gpu", kind="integer", minimum=0, maximum=64),
    Column(name="gpu_milli", kind="integer", minimum=0, maximum=1000),
    Column(name="gpu_spec", nullable=True),
    Column(name="qos", nullable=True),
    Column(name="pod_phase", nullable=True),
    Column(name="creation_time", kind="integer", minimum=0),
    Column(name="deletion_time", kind="integer", nullable=True, minimum=0),
    Column(name="scheduled_time", kind="integer", nullable=True, minimum=0),
]
_OPTIONAL = frozenset({"gpu_spec", "qos", "pod_phase", "creation_time", "deletion_time", "scheduled_time"})


class OpenbTrace(TraceBase):
    """Both lists are read and checked when the trace is opened; they hold thousands of rows."""

    def __init__(self, source: Source) -> None:
        list_name, order, inflate = (source.options[name] for name in ("list", "order", "inflate"))
        if order and inflate is not None:
            raise TraceError(f"source {source.text!r}: order and inflate are both given; keep one")
        pod_file = _pod_file(source.path, list_name)
        columns = columns_by_header(pod_file, _POD_COLUMNS, _OPTIONAL)
        has_times = any(column.name == "creation_time" for column in columns)
        self._timed = has_times and source.options["times"] == "recorded" and not order and inflate is None
        super().__init__(source, DIMENSIONS, assumptions=_assumptions(source, has_times), plugins={"gpu": {}})
        self._nodes = _read_nodes(_node_file(source.path, source.options["nodes"]))
        repaired: Counter[str] = Counter()
        self._pods = _read_pods(pod_file, self._timed, repaired)
        self._set_repaired(repaired)
        self._listed = self._pods
        if order:
            self._pods, self._nodes = ordered(order, self._pods, self._nodes)
        elif inflate is not None:
            self._pods, self._nodes = inflated(inflate, source.options["seed"], self._pods, self._nodes)

    def machine_events(self) -> Iterator[MachineEvent]:
        """Yield every node at time 0, in order of rank, labelled with its ``gpu_model``."""
        return iter(self._nodes)

    def submissions(self) -> Iterator[Submission]:
        """Yield one Submission per pod by (creation, name), or in the order that was asked for."""
        return iter(self._pods)

    def sample(self) -> Iterator[Submission]:
        """Yield every pod of the list once, whatever arrives of it: what work is like here."""
        return iter(self._listed)

    def _facts(self) -> dict[str, Any]:
        models = Counter(node.labels.get("gpu_model", "none") for node in self._nodes)
        gpu_facts = [(pod.constraints or {}).get("gpu") for pod in self._pods]
        counts = [facts["count"] if facts else 0 for facts in gpu_facts]
        return {
            "openb": {
                "gpus": sum(node.capacity["gpu_milli"] // 1000 for node in self._nodes),
                "pods_without_gpu": counts.count(0),
                "pods_sharing_a_gpu": sum(1 for facts in gpu_facts if facts and facts["milli"] < 1000),
                "pods_by_gpu_count": {str(count): counts.count(count) for count in sorted({*counts})},
                "gpu_models": dict(sorted(models.items())),
            }
        }


def _assumptions(source: Source, has_times: bool) -> tuple[str, ...]:
    lines = [f"Pods come from list {source.options['list']}, machines are the {source.options['nodes']} nodes."]
    if source.options["order"]:
        lines.append(f"Arrivals only: pods and nodes in the order of {source.options['order']}; none leaves.")
    elif source.options["inflate"] is not None:
        lines.append(
            f"Arrivals only: pods, and then copies of pods, until {source.options['inflate']:g} times the GPUs are"
            f" asked for; pods and nodes shuffled with seed {source.options['seed']}; none leaves."
        )
    elif source.options["times"] == "arrivals":
        lines.append("Arrivals only: pods arrive one second apart in file order and run past the horizon.")
    elif has_times:
        lines.append("A pod runs from its scheduling, or its creation if it was never scheduled, to its deletion.")
        lines.append(
            "Warning: by its recorded times openb never has much more than 1 % of its GPUs busy, which tells no policy"
            " from another; compare policies with times=arrivals (arrivals only, as in the inflation protocol)."
        )
    else:
        lines.append("The list has no times: pods arrive one second apart in file order and run past the horizon.")
    return tuple(lines)


def _list_name(text: str) -> str:
    if not text.replace("_", "").replace("-", "").isalnum():
        raise ValueError("the name of a pod list, such as default or gpushare40")
    return text


def _pod_file(path: str, list_name: str) -> Path:
    lists = find_files(path, ["openb_pod_list_*.csv"], what="openb pod lists")
    by_name = {file.name.removeprefix("openb_pod_list_").split(".")[0]: file for file in lists}
    if list_name not in by_name:
        fail(Path(path), None, "list", f"{list_name!r} is not there; expected {one_of(list_name, by_name)}")
    return by_name[list_name]


def _node_file(path: str, nodes: str) -> Path:
    return find_files(path, [f"openb_node_list_{nodes}_node.csv"], what=f"openb list of {nodes} nodes")[0]


def _read_nodes(file: Path) -> list[MachineEvent]:
    events = []
    seen: set[str] = set()
    for row, node in rows_of(file, columns_by_header(file, _NODE_COLUMNS), header=True):
        _require_new(file, row, "sn", node["sn"], seen)
        events.append(
            MachineEvent(
                at_ns=0,
                machine_id=node["sn"],
                kind="add",
                capacity={
                    "cpu_millicores": node["cpu_milli"],
                    "memory_bytes": node["memory_mib"] * _MIB,
                    "gpu_milli": node["gpu"] * 1000,
                },
                labels={"gpu_model": node["model"]} if node["model"] else {},
                resources=_node_resources(file, row, node),
            )
        )
    if not events:
        fail(file, None, None, "has no rows; fetch it again")
    return events


def _node_resources(file: Path, row: int, node: dict[str, Any]) -> dict[str, Any]:
    if node["gpu"] == 0:
        return {}
    if not node["model"]:
        fail(file, row, "model", f"is empty on a node with {node['gpu']} GPUs; name their model")
    return {"gpu": {"model": node["model"], "count": node["gpu"]}}


def _read_pods(file: Path, timed: bool, repaired: Counter[str]) -> list[Submission]:
    pods: list[Submission] = []
    seen: set[str] = set()
    for row, pod in rows_of(file, columns_by_header(file, _POD_COLUMNS, _OPTIONAL), header=True):
        _require_new(file, row, "name", pod["name"], seen)
        gpus = pod["num_gpu"]
        if gpus > 1 and pod["gpu_milli"] != 1000:
            fail(file, row, "gpu_milli", f"'{pod['gpu_milli']}' with {gpus} GPUs; several are taken whole, 1000")
        if gpus == 0 and pod["gpu_milli"] != 0:
            fail(file, row, "gpu_milli", f"'{pod['gpu_milli']}' without a GPU; correct num_gpu or gpu_milli")
        at_s = pod["creation_time"] if timed else len(pods)
        pods.append(
            Submission(
                at_s * SECOND_NS,
                pod["name"],
                (pod["cpu_milli"], pod["memory_mib"] * _MIB, gpus * pod["gpu_milli"]),
                service_ns=_service_ns(file, row, pod, repaired) if timed else None,
                exit_code=1 if timed and pod.get("pod_phase") == "Failed" else 0,
                constraints=_constraints(gpus, pod["gpu_milli"], pod.get("gpu_spec")),
            )
        )
    if not pods:
        fail(file, None, None, "has no rows; fetch it again")
    pods.sort(key=lambda item: (item.at_ns, item.workload_id))
    return pods


def _require_new(file: Path, row: int, field: str, name: str, seen: set[str]) -> None:
    if name in seen:
        fail(file, row, field, f"{name!r} is there twice; remove one of the rows")
    seen.add(name)


def _service_ns(file: Path, row: int, pod: dict[str, Any], repaired: Counter[str]) -> int | None:
    start, end = pod.get("scheduled_time"), pod.get("deletion_time")
    if start is None:
        repaired["pod_never_scheduled"] += 1
        start = pod["creation_time"]
    if end is None:
        repaired["pod_without_deletion"] += 1
        return None
    if end < start:
        fail(file, row, "deletion_time", f"'{end}' is before the pod's start at {start}; correct the row")
    duration_ns: int = (end - start) * SECOND_NS
    return duration_ns


def _constraints(gpus: int, milli: int, spec: str | None) -> dict[str, Any] | None:
    constraints: dict[str, Any] = {}
    models = [model for model in (spec or "").split("|") if model]
    if gpus:
        constraints["gpu"] = {"count": gpus, "milli": milli}
        if models:
            constraints["gpu"]["models"] = models
    if models:
        constraints["node_labels"] = {"gpu_model": models}
    return constraints or None


READER = Reader(
    name="openb",
    summary="Alibaba GPU cluster 2023: a directory with openb_node_list_* and openb_pod_list_* files",
    open=OpenbTrace,
    options=OPTIONS,
)

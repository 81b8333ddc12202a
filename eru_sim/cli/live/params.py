"""Arguments and options that several live commands share."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

PoolArgument = Annotated[str, typer.Argument(metavar="POOL", show_default=False, help="A pool; see eru pool ls.")]
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", show_default=False, help="A node; see eru node ls.")]
WorkloadArgument = Annotated[
    str, typer.Argument(metavar="ID", show_default=False, help="A workload; see eru workload ls.")
]
WorkloadArguments = Annotated[
    list[str], typer.Argument(metavar="ID...", show_default=False, help="Workloads; see eru workload ls.")
]
SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", show_default=False, help="A file or http(s) address; see eru spec schema.")
]
NodeLabels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", show_default=False, help="Only nodes with this label; repeat it."),
]
NodeNames = Annotated[
    list[str] | None,
    typer.Option("--node", metavar="NAME", show_default=False, help="Only this node; repeat it."),
]
Pool = Annotated[
    str, typer.Option("--pool", "--pod", metavar="NAME", show_default=False, help="The pool, which Eru calls pod.")
]
NetworkDriver = Annotated[
    str, typer.Option("--driver", metavar="NAME", show_default=False, help="Only networks of this driver.")
]
App = Annotated[str, typer.Argument(metavar="[APP]", show_default=False, help="Only work of this app.")]
Entry = Annotated[str, typer.Option("--entry", metavar="NAME", show_default=False, help="Only this entrypoint.")]
Node = Annotated[str, typer.Option("--node", metavar="NAME", show_default=False, help="Only what is on this node.")]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", show_default=False, help="Only work with this label; repeat it."),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many; 0 for all.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only start it.")]
Idempotency = Annotated[
    str,
    typer.Option(
        "--idempotency-key", metavar="TEXT", show_default=False,
        help="The same key with the same request is carried out once; by default each command has its own.",
    ),
]  # fmt: skip


def _text(*names: str, metavar: str, help: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, show_default=False, help=help)
    return option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What each copy of a workload holds."""

    cpu: Annotated[str | None, _text("--cpu", metavar="CORES", help="CPU asked for and its limit, e.g. 1.5.")] = None
    cpu_request: Annotated[str | None, _text("--cpu-request", metavar="CORES", help="CPU asked for; 0.")] = None
    cpu_limit: Annotated[str | None, _text("--cpu-limit", metavar="CORES", help="CPU at most; 1; 0 is no limit.")] = (
        None
    )
    cpu_bind: Annotated[bool, typer.Option("--cpu-bind", help="Cores of its own.")] = False
    memory: Annotated[
        str | None, _text("--memory", metavar="SIZE", help="Memory asked for and its limit, e.g. 512M.")
    ] = None
    memory_request: Annotated[str | None, _text("--memory-request", metavar="SIZE", help="Memory asked for; 0.")] = None
    memory_limit: Annotated[
        str | None, _text("--memory-limit", metavar="SIZE", help="Memory at most; 512M; 0 is no limit.")
    ] = None
    storage: Annotated[
        str | None, _text("--storage", metavar="SIZE", help="Storage asked for and its limit, e.g. 10G.")
    ] = None
    storage_request: Annotated[str | None, _text("--storage-request", metavar="SIZE", help="Storage asked for; 0.")] = (
        None
    )
    storage_limit: Annotated[str | None, _text("--storage-limit", metavar="SIZE", help="Storage at most; 0.")] = None
    volume: Annotated[
        list[str] | None,
        _text("--volume", metavar="SRC:DST[:FLAGS[:SIZE]]", help="A volume, SRC may be AUTO; repeat it."),
    ] = None
    request: Annotated[
        list[str] | None,
        _text("--request", metavar="DIMENSION=N", help="So much of another dimension, in its base unit; repeat it."),
    ] = None
    extra_resources: Annotated[
        str | None,
        _text("--extra-resources", metavar="JSON", help='What is asked of other plugins, e.g. {"gpu": {"count": 1}}.'),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spreading:
    """How copies are spread over nodes."""

    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=10_000, help="How many copies.")] = 1
    deploy_strategy: Annotated[
        str, typer.Option("--deploy-strategy", metavar="NAME", help="auto, fill, each, global or drained.")
    ] = "auto"
    nodes_limit: Annotated[
        int, typer.Option("--nodes-limit", metavar="N", min=0, help="On how many nodes; 0 for any number.")
    ] = 0
    node: NodeNames = None
    exclude_node: Annotated[
        list[str] | None, _text("--exclude-node", metavar="NAME", help="Not this node; repeat it.")
    ] = None
    nodelabel: Annotated[
        list[str] | None, _text("--nodelabel", metavar="KEY=VALUE", help="Only nodes with this label; repeat it.")
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Details:
    """What a workload is told besides its spec."""

    network: Annotated[
        list[str] | None,
        _text("--network", metavar="NAME[=IP]", help="A network, perhaps with an address; host is the node's."),
    ] = None
    env: Annotated[list[str] | None, _text("--env", metavar="KEY=VALUE", help="Environment; repeat it.")] = None
    label: Annotated[list[str] | None, _text("--label", metavar="KEY=VALUE", help="A label; repeat it.")] = None
    user: Annotated[str, _text("--user", metavar="NAME", help="As whom it runs; by default as the image says.")] = ""
    file: Annotated[
        list[str] | None,
        _text("--file", metavar="SRC:DST[:MODE[:UID:GID]]", help="A file that is put into it; repeat it."),
    ] = None
    after_create: Annotated[
        list[str] | None,
        _text("--after-create", metavar="COMMAND", help="Run in it once, before its first start; repeat it."),
    ] = None
    ignore_hook: Annotated[
        bool, typer.Option("--ignore-hook", help="A hook that fails does not fail what was asked.")
    ] = False
    debug: Annotated[bool, typer.Option("--debug", help="The engine's own log driver in place of the spec's.")] = False
    pull: Annotated[str, typer.Option("--pull", metavar="WHEN", help="missing, always or never.")] = "missing"
    raw_args: Annotated[
        str | None, _text("--raw-args", metavar="JSON", help="What only this kind of engine understands.")
    ] = None

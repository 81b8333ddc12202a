"""Workloads to be placed: a spec, and what the command line says besides, as the service takes it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.real.service.pb import eru_v1_pb2 as pb
from eru_sim.cli.live import values
from eru_sim.cli.live.params import Details, Resources, Spreading
from eru_sim.cli.live.spec import Entrypoint, Spec, read
from eru_sim.errors import EruError

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

CPU_LIMIT = "1"
MEMORY_LIMIT = "512M"
FILE_BYTES_MAX = 16 * 1024 * 1024

_STRATEGIES = {
    "auto": pb.STRATEGY_AUTO, "fill": pb.STRATEGY_FILL, "each": pb.STRATEGY_EACH, "global": pb.STRATEGY_GLOBAL,
    "drained": pb.STRATEGY_DRAINED,
}  # fmt: skip
_PULLS = {"missing": pb.PULL_MISSING, "always": pb.PULL_ALWAYS, "never": pb.PULL_NEVER}


class SentFile(NamedTuple):
    """A file or directory here, and what becomes of it there; None for what stays as it is here."""

    source: Path
    path: str
    mode: int | None
    uid: int | None
    gid: int | None


async def demand(service: Service, work: Any, resources: Resources, spec: Spec | None = None) -> None:
    """Say in ``work`` what each copy holds: by plugin where the service has it, else by dimension."""
    info = await service.info()
    plugins = {plugin.name for plugin in info.plugins}
    dimensions = {dimension.name for dimension in info.dimensions}
    cpu, storage = _cpu(resources), _storage(resources, spec)
    payloads: dict[str, dict[str, Any]] = {}
    if "cpu" in plugins:
        payloads["cpu"] = cpu
    else:
        if cpu.pop("bind", False):
            raise EruError("--cpu-bind: the service has no plugin cpu; leave it out")
        millicores = round(float(cpu["cpu_request"] or 0) * 1000) or round(float(cpu["cpu_limit"]) * 1000)
        _put(work, dimensions, "cpu", millicores)
        _put(work, dimensions, "memory", cpu["memory_request"] or cpu["memory_limit"])
    if "storage" in plugins:
        if storage:
            payloads["storage"] = storage
    elif storage:
        if storage.get("volumes") or storage.get("volume_limits"):
            raise EruError("--volume: the service has no plugin storage; leave volumes out")
        _put(work, dimensions, "storage", storage["storage"] or storage["storage_limit"], "--storage")
    for name, payload in values.by_plugin("--extra-resources", resources.extra_resources).items():
        payloads[name] = {**payloads.get(name, {}), **payload}
    for name, payload in payloads.items():
        work.resources[name] = json.dumps(payload)
    for name, text in values.pairs("--request", resources.request).items():
        if name not in dimensions:
            raise EruError(f"--request: there is no dimension {name!r}; there are: {', '.join(sorted(dimensions))}")
        work.request[name] = values.size("--request", text)


def _put(work: Any, dimensions: set[str], name: str, amount: int, option: str = "") -> None:
    if name in dimensions:
        work.request[name] = amount
    elif option:
        raise EruError(f"{option}: the service does not count {name}; leave it out")


def _cpu(resources: Resources) -> dict[str, Any]:
    whole, memory = resources.cpu, resources.memory
    _only_one("cpu", whole, resources.cpu_request, resources.cpu_limit)
    _only_one("memory", memory, resources.memory_request, resources.memory_limit)
    payload: dict[str, Any] = {
        "cpu_request": values.cpu("--cpu", whole)
        if whole
        else values.cpu("--cpu-request", resources.cpu_request or "0"),
        "cpu_limit": values.cpu("--cpu", whole)
        if whole
        else values.cpu("--cpu-limit", resources.cpu_limit or CPU_LIMIT),
        "memory_request": values.size("--memory-request", memory or resources.memory_request or "0"),
        "memory_limit": values.size("--memory-limit", memory or resources.memory_limit or MEMORY_LIMIT),
    }
    if resources.cpu_bind:
        payload["bind"] = True
    return payload


def _storage(resources: Resources, spec: Spec | None) -> dict[str, Any]:
    whole = resources.storage
    _only_one("storage", whole, resources.storage_request, resources.storage_limit)
    payload: dict[str, Any] = {
        "storage": values.size("--storage", whole or resources.storage_request or "0"),
        "storage_limit": values.size("--storage", whole or resources.storage_limit or "0"),
    }
    requested = [*(spec.volumes_request if spec else ()), *(resources.volume or ())]
    limits = [*(spec.volumes if spec else ()), *((resources.volume or ()) if spec and spec.volumes else ())]
    if requested:
        payload["volumes"] = requested
    if limits:
        payload["volume_limits"] = limits
    return payload if requested or limits or any(payload.values()) else {}


def _only_one(name: str, whole: str | None, request: str | None, limit: str | None) -> None:
    if whole is not None and (request is not None or limit is not None):
        raise EruError(f"--{name}: it sets request and limit; leave out --{name}-request and --{name}-limit, or it")


def entry_of(spec: Spec, name: str) -> Entrypoint:
    """An entrypoint by name."""
    if not name:
        raise EruError(f"--entry: it is missing; there are: {', '.join(spec.entrypoints)}")
    if "_" in name:
        raise EruError(f"--entry: {name[:80]!r} must not contain '_'")
    if name not in spec.entrypoints:
        raise EruError(f"--entry: the spec has no {name[:80]!r}; there are: {', '.join(spec.entrypoints)}")
    return spec.entrypoints[name]


async def workload(
    service: Service, source: str, *, pool: str, entry: str, image: str, resources: Resources, details: Details
) -> Any:
    """What to deploy: a spec's entrypoint, checked before the service is asked anything."""
    spec = read(source)
    chosen = entry_of(spec, entry)
    if not image:
        raise EruError("--image: it is missing; name the image to run")
    if not pool:
        raise EruError("--pool: it is missing; see eru pool ls")
    work = pb.WorkloadSpec(
        image=image, app=spec.appname, entrypoint=entry,
        pool=pool, template=template(spec, chosen, details),
    )  # fmt: skip
    await demand(service, work, resources, spec)
    return work


def template(spec: Spec, entry: Entrypoint, details: Details) -> Any:
    """Everything that placement does not depend on."""
    made = pb.Template(
        command=entry.command(), working_dir=entry.dir, is_privileged=entry.privileged, labels=spec.labels,
        dns=spec.dns, extra_hosts=spec.extra_hosts, publish=entry.publish, sysctls=entry.sysctls,
        restart=entry.restart or "no",
    )  # fmt: skip
    if entry.log is not None:
        made.log = entry.log.type
        made.log_options.update(entry.log.config)
    if entry.healthcheck is not None and (entry.healthcheck.tcp_ports or entry.healthcheck.http_port):
        check, url = entry.healthcheck, entry.healthcheck.url
        made.health.CopyFrom(
            pb.HealthCheck(
                tcp_ports=map(int, check.tcp_ports), http_port=int(check.http_port or 0), http_code=check.code,
                http_path=url if url.startswith("/") else f"/{url}",
            )
        )  # fmt: skip
    if entry.hook is not None:
        hook = entry.hook
        made.hooks.CopyFrom(pb.Hooks(after_start=hook.after_start, before_stop=hook.before_stop, force=hook.force))
    tell(made, details)
    return made


def tell(made: Any, details: Details) -> None:
    """Put what the command line says into a template."""
    for text in details.env or ():
        if not text.partition("=")[0] or "=" not in text:
            raise EruError(f"--env: {text[:80]!r} is not KEY=VALUE")
    made.env.extend(details.env or ())
    made.labels.update(values.pairs("--label", details.label))
    made.networks.update(networks(details.network))
    made.user = details.user
    made.hooks.after_create.extend(details.after_create or ())
    if details.ignore_hook:
        made.hooks.force = False
    if details.debug:
        made.ClearField("log")
        made.ClearField("log_options")
    made.pull = _PULLS[values.choice("--pull", details.pull, list(_PULLS))]
    if details.raw_args:
        made.engine_json = json.dumps(values.json_object("--raw-args", details.raw_args))
    for file in files(details.file):
        made.files[file.path].CopyFrom(message_of(file))


def networks(texts: Sequence[str] | None) -> Mapping[str, str]:
    """Networks with the addresses that are wanted there, "" for any."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, address = text.partition("=")
        if not name or name in found:
            raise EruError(f"--network: {text[:80]!r} names no network, or one that is given twice")
        if equals:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise EruError(f"--network: {address[:80]!r} is no address; write e.g. {name}=10.0.0.7") from None
        found[name] = address
    return found


def files(texts: Sequence[str] | None) -> list[SentFile]:
    """``src:dst[:mode[:uid:gid]]``; the mode is octal."""
    found: list[SentFile] = []
    for text in texts or ():
        parts = text.split(":")
        if len(parts) not in (2, 3, 5) or not parts[0] or not parts[1].startswith("/"):
            raise EruError(f"--file: {text[:120]!r} is not SRC:DST[:MODE[:UID:GID]] with an absolute DST")
        try:
            mode = int(parts[2], 8) if len(parts) > 2 else None
            uid, gid = (int(parts[3]), int(parts[4])) if len(parts) == 5 else (None, None)
        except ValueError:
            raise EruError(f"--file: {text[:120]!r}: MODE is octal, e.g. 0644; UID and GID are numbers") from None
        if not 0 <= (mode or 0) <= 0o7777 or not 0 <= (uid or 0) < 1 << 32 or not 0 <= (gid or 0) < 1 << 32:
            raise EruError(f"--file: {text[:120]!r}: mode, uid or gid is out of range")
        found.append(SentFile(Path(parts[0]).expanduser(), parts[1], mode, uid, gid))
    return found


def message_of(file: SentFile) -> Any:
    """A small file with its content."""
    with file.source.open("rb") as stream:
        content = stream.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise EruError(f"--file: {file.source} is larger than 16 MiB; send it by eru workload send")
    mode = file.mode if file.mode is not None else file.source.stat().st_mode & 0o7777
    return pb.File(content=content, mode=mode, uid=file.uid or 0, gid=file.gid or 0)


def spread(spreading: Spreading) -> Any:
    """How copies are spread."""
    strategy = _STRATEGIES[values.choice("--deploy-strategy", spreading.deploy_strategy, list(_STRATEGIES))]
    return pb.Spread(
        strategy=strategy,
        nodes_limit=spreading.nodes_limit,
        node_ids=values.names(spreading.node),
        excluded_node_ids=values.names(spreading.exclude_node),
        node_labels=values.pairs("--nodelabel", spreading.nodelabel),
    )

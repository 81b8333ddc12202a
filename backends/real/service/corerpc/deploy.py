"""DeployOptions, read: what the core is asked, and the template that the edge keeps. Pure."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Collection, Mapping, Sized
from typing import NamedTuple

import msgspec

from backends.real.service.corerpc.errors import WireError
from backends.real.service.corerpc.resources import Demand, ResourceWire
from backends.real.service.paths import confined
from backends.real.service.pb import corerpc_pb2 as pb
from backends.real.template import File, HealthCheck, Hooks, Template
from scheduler.events import Strategy

STRATEGIES: Mapping[int, Strategy] = {
    pb.DeployOptions.AUTO: "auto",
    pb.DeployOptions.FILL: "fill",
    pb.DeployOptions.EACH: "each",
    pb.DeployOptions.GLOBAL: "global",
    pb.DeployOptions.DRAINED: "drained",
}
COUNT_MAX = 10_000
"""Of one deployment, as Eru's max_deploy_count."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_RESTART = re.compile(r"(no|always|unless-stopped|on-failure)(?::([0-9]{1,6}))?")
_DEFAULT_MODE = 0o755
_ITEMS_MAX = 10_000
_JSON_BYTES_MAX = 1 << 20


class NodeChoice(NamedTuple):
    """Which nodes may be chosen: exactly ``includes``, or else those of the pool that have all ``labels``, without
    ``excludes``; with ``all`` also those that are down.
    """

    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    labels: Mapping[str, str]
    all: bool


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What DeployOptions ask for. ``strategy`` is None for DUMMY: capacity without a plan."""

    app: str
    entrypoint: str
    pool: str
    image: str
    count: int
    strategy: Strategy | None
    nodes_limit: int
    nodes: NodeChoice
    demand: Demand
    template: Template


def read_deployment(options: pb.DeployOptions, wire: ResourceWire, *, is_capacity: bool = False) -> Deployment:
    """Check and translate. `WireError` names the field; for a mere capacity the image may be missing."""
    if not options.HasField("entrypoint"):
        raise WireError("entrypoint: it is missing")
    app, entrypoint = _name("name", options.name), _name("entrypoint.name", options.entrypoint.name)
    if "_" in entrypoint:
        raise WireError("entrypoint.name: it must not contain '_'")
    nodes = read_node_choice(options)
    if not options.podname and not nodes.includes:
        raise WireError("podname: it is missing")
    if not options.image and not is_capacity:
        raise WireError("image: it is missing")
    strategy = STRATEGIES.get(options.deploy_strategy)
    is_dummy = options.deploy_strategy == pb.DeployOptions.DUMMY
    if strategy is None and not (is_dummy and is_capacity):
        raise WireError(f"deploy_strategy: {options.deploy_strategy} is none that can be deployed by")
    if not is_dummy and not 0 < options.count <= COUNT_MAX:
        raise WireError(f"count: {options.count} must be from 1 to {COUNT_MAX}")
    if options.nodes_limit < 0:
        raise WireError(f"nodes_limit: {options.nodes_limit} must not be below 0")
    return Deployment(
        app=app,
        entrypoint=entrypoint,
        pool=options.podname,
        image=_plain("image", options.image),
        count=max(options.count, 1),
        strategy=strategy,
        nodes_limit=options.nodes_limit,
        nodes=nodes,
        demand=wire.demand(options.resources),
        template=read_template(options),
    )


def read_node_choice(options: pb.DeployOptions) -> NodeChoice:
    """The node filter, or the older fields where it says nothing."""
    chosen = options.node_filter
    includes, labels = chosen.includes or options.nodenames, chosen.labels or options.nodelabels
    return NodeChoice(
        includes=tuple(dict.fromkeys(includes)) if includes else (),
        excludes=tuple(dict.fromkeys(chosen.excludes)) if chosen.excludes else (),
        labels=dict(labels) if labels else {},
        all=chosen.all,
    )


def read_template(options: pb.DeployOptions) -> Template:
    """Everything that placement does not depend on. With ``debug`` the engine's own log driver counts, not the
    entrypoint's.
    """
    entry = options.entrypoint
    return Template(
        command=_command(options),
        env=(*_texts("env", options.env), f"APP_NAME={options.name}", f"ERU_POD={options.podname}"),
        working_dir=_plain("entrypoint.dir", entry.dir),
        user=_plain("user", options.user),
        is_privileged=entry.privileged,
        has_tty=options.open_stdin,
        open_stdin=options.open_stdin,
        labels=_mapping("labels", options.labels),
        networks={name: _address(name, ip) for name, ip in _mapping("networks", options.networks).items()},
        dns=tuple(_ip("dns", address) for address in _texts("dns", options.dns)),
        extra_hosts=_texts("extra_hosts", options.extra_hosts),
        publish=tuple(str(_port("entrypoint.publish", port)) for port in _texts("entrypoint.publish", entry.publish)),
        sysctls=_mapping("entrypoint.sysctls", entry.sysctls),
        restart=_restart(entry.restart),
        log="" if options.debug else _plain("entrypoint.log.type", entry.log.type),
        log_options={} if options.debug else _mapping("entrypoint.log.config", entry.log.config),
        health=_health(entry.healthcheck),
        hooks=Hooks(
            after_create=_texts("after_create", options.after_create),
            after_start=_texts("entrypoint.hook.after_start", entry.hook.after_start),
            before_stop=_texts("entrypoint.hook.before_stop", entry.hook.before_stop),
            force=entry.hook.force and not options.ignore_hook,
        ),
        files=read_files(options.data, options.modes, options.owners),
        pull="never" if options.ignore_pull else "missing",
        engine=_raw_args(options.raw_args),
    )


def read_files(
    data: Mapping[str, bytes], modes: Mapping[str, pb.FileMode], owners: Mapping[str, pb.FileOwner]
) -> dict[str, File]:
    """Files by confined path."""
    _few("data", data)
    files: dict[str, File] = {}
    if not data:
        return files
    for path, content in sorted(data.items()):
        mode = modes[path].mode if path in modes else 0
        files[confined(path)] = read_file(content, mode, owners.get(path))
    return files


def read_file(content: bytes, mode: int, owner: pb.FileOwner | None) -> File:
    """One file; mode 0 is 0755."""
    if not 0 <= mode <= 0o7777:
        raise WireError(f"modes: {mode} is no file mode")
    uid, gid = (owner.uid, owner.gid) if owner is not None else (0, 0)
    if uid < 0 or gid < 0:
        raise WireError(f"owners: {uid}:{gid} must not be below 0")
    return File(content=content, mode=mode or _DEFAULT_MODE, uid=uid, gid=gid)


def _command(options: pb.DeployOptions) -> tuple[str, ...]:
    entry = options.entrypoint
    words = list(entry.commands) or _split("entrypoint.command", entry.command)
    return _texts("entrypoint.commands", [*words, *_split("extra_args", options.extra_args)])


def _split(field: str, line: str) -> list[str]:
    if not line:
        return []
    try:
        return shlex.split(line)
    except ValueError as error:
        raise WireError(f"{field}: it cannot be split into words ({str(error).lower()})") from None


def _restart(text: str) -> str:
    if not text:
        return "no"
    match = _RESTART.fullmatch(text)
    if match is None:
        raise WireError(f"entrypoint.restart: {text[:60]!r} must be no, always, unless-stopped or on-failure[:N]")
    policy, retries = match.groups()
    return f"{policy}:{int(retries)}" if policy == "on-failure" and retries else str(policy)


def _health(check: pb.HealthCheckOptions) -> HealthCheck | None:
    if not check.tcp_ports and not check.http_port:
        return None
    path = _plain("entrypoint.healthcheck.url", check.url)
    if check.code and not 100 <= check.code <= 599:
        raise WireError(f"entrypoint.healthcheck.code: {check.code} is no HTTP status")
    return HealthCheck(
        tcp_ports=tuple(_port("entrypoint.healthcheck.tcp_ports", port) for port in check.tcp_ports),
        http_port=_port("entrypoint.healthcheck.http_port", check.http_port) if check.http_port else 0,
        http_path=path if path.startswith("/") else f"/{path}",
        http_code=check.code,
    )


def _raw_args(text: bytes) -> dict[str, object]:
    if not text:
        return {}
    if len(text) > _JSON_BYTES_MAX:
        raise WireError(f"raw_args: {len(text)} bytes are more than {_JSON_BYTES_MAX}")
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        raise WireError("raw_args: it must be a JSON object") from None


def _name(field: str, text: str) -> str:
    if not text:
        raise WireError(f"{field}: it is missing")
    if not _NAME.fullmatch(text):
        raise WireError(f"{field}: {text[:60]!r} must be letters, digits, '_', '.' and '-', and at most 100")
    return text


def _plain(field: str, text: str) -> str:
    if "\0" in text:
        raise WireError(f"{field}: it must not contain a NUL")
    return text


def _few(field: str, items: Sized) -> None:
    if len(items) > _ITEMS_MAX:
        raise WireError(f"{field}: {len(items)} are more than {_ITEMS_MAX}")


# Most of what can be said is left out; to find that out is cheap, to walk an empty field of a message is not.


def _texts(field: str, texts: Collection[str]) -> tuple[str, ...]:
    if not texts:
        return ()
    _few(field, texts)
    return tuple(_plain(field, text) for text in texts)


def _mapping(field: str, texts: Mapping[str, str]) -> dict[str, str]:
    if not texts:
        return {}
    _few(field, texts)
    return {_plain(field, name): _plain(field, text) for name, text in sorted(texts.items())}


def _port(field: str, text: str) -> int:
    digits = text.removesuffix("/tcp")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise WireError(f"{field}: {text[:60]!r} is not a port")
    return int(digits)


def _address(network: str, text: str) -> str:
    return _ip(f"networks.{network[:60]}", text) if text else ""


def _ip(field: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise WireError(f"{field}: {text[:60]!r} is not an IP address") from None

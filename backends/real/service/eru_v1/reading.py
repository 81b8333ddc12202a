"""Requests, read into our own words. `Rejected` names field, value and remedy."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from backends.real.cluster import LiveCluster
from backends.real.endpoints import Endpoint
from backends.real.errors import Missing, Rejected
from backends.real.service.eru_v1.words import word
from backends.real.service.paths import confined
from backends.real.service.pb import eru_v1_pb2 as pb
from backends.real.template import File, HealthCheck, Hooks, Template
from scheduler.events import DeploymentRequested, WorkloadsSubmitted
from scheduler.ports import COPIES_MAX
from scheduler.strategies import StrategyError

ITEMS_MAX = 10_000
TEXT_MAX = 128
JSON_BYTES_MAX = 1 << 20
FILES_BYTES_MAX = 16 << 20
DURATION_NS_MAX = 1 << 62
_JSON_DEPTH_MAX = 32
_PATH_MAX = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_COPY = re.compile(r".*\.\d+")
_RESTART = re.compile(r"(no|always|unless-stopped|on-failure(:\d{1,6})?)?")
_T = TypeVar("_T")

_log = structlog.get_logger("eru.service")


def checked(field: str, function: Callable[[], _T]) -> _T:
    """What a check of the core or of a plugin returns; whatever it raises, `Rejected`; `StrategyError` is an answer.

    Nothing is submitted that has not passed here: in a step of the core the same would be the end of it.
    """
    try:
        return function()
    except StrategyError:
        raise
    except ValueError as error:
        raise Rejected(str(error)) from None
    except (TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        _log.warning("a check failed unexpectedly", field=field, exc_info=error)
        raise Rejected(f"{field}: it makes no sense ({type(error).__name__}: {error})") from None


# -- small things -----------------------------------------------------------------------------------------------------


def text(field: str, value: str, most: int = TEXT_MAX) -> str:
    """A text of one line."""
    if len(value) > most or _CONTROL.search(value):
        raise Rejected(f"{field}: {value[:60]!r} must be at most {most} characters on one line")
    return value


def few(field: str, items: Sequence[Any] | Mapping[Any, Any]) -> None:
    """At most so many."""
    if len(items) > ITEMS_MAX:
        raise Rejected(f"{field}: {len(items)} are more than {ITEMS_MAX}")


def whole(field: str, value: int, least: int = 0, most: int = DURATION_NS_MAX) -> int:
    """A number within bounds."""
    if not least <= value <= most:
        raise Rejected(f"{field}: {value} must be from {least} to {most}")
    return value


def json_object(field: str, encoded: str) -> dict[str, Any]:
    """A JSON object, "" for {}."""
    value = json_value(field, encoded) if encoded else {}
    if not isinstance(value, dict):
        raise Rejected(f"{field}: it must be a JSON object")
    return value


def json_value(field: str, encoded: str) -> Any:
    """Plain data that can go into a journal."""
    if len(encoded) > JSON_BYTES_MAX:
        raise Rejected(f"{field}: it is longer than {JSON_BYTES_MAX} bytes")
    try:
        value = msgspec.json.decode(encoded)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected(f"{field}: it is not JSON ({error})") from None
    _check_plain(field, value, _JSON_DEPTH_MAX)
    return value


def _check_plain(field: str, value: Any, depth: int) -> None:
    if depth == 0:
        raise Rejected(f"{field}: it is nested too deeply")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise Rejected(f"{field}: {str(value)[:30]}... does not fit into 64 bits")
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_plain(field, item, depth - 1)


def plugin_payloads(cluster: LiveCluster, field: str, encoded: Mapping[str, str]) -> dict[str, Any]:
    """What is said to plugins, by name; only names that are in use."""
    known = [plugin.name for plugin in cluster.core.config.plugins]
    for name in sorted(encoded):
        if name not in known:
            names = ", ".join(known) or "none"
            raise Rejected(f"{field}.{text(field, name)}: no such plugin is in use; there are: {names}")
    return {name: json_value(f"{field}.{name}", encoded[name]) for name in sorted(encoded)}


def amounts(cluster: LiveCluster, field: str, given: Mapping[str, int], *, is_signed: bool = False) -> dict[str, int]:
    """Amounts by dimension; only names that there are."""
    names = [dimension.name for dimension in cluster.core.config.dimensions]
    for name, amount in given.items():
        if name not in names:
            raise Rejected(f"{field}.{text(field, name)}: no such dimension; there are: {', '.join(names)}")
        whole(f"{field}.{name}", amount, -DURATION_NS_MAX if is_signed else 0)
    return dict(given)


def vector(cluster: LiveCluster, field: str, given: Mapping[str, int], *, is_signed: bool = False) -> tuple[int, ...]:
    """Amounts in the order of the dimensions."""
    if not given:
        return (0,) * len(cluster.core.config.dimensions)
    found = amounts(cluster, field, given, is_signed=is_signed)
    return tuple(found.get(dimension.name, 0) for dimension in cluster.core.config.dimensions)


def labels(field: str, given: Mapping[str, str]) -> dict[str, str]:
    """Names and values."""
    if not given:
        return {}
    few(field, given)
    return {text(field, name, 1024): text(field, given[name], 65536) for name in sorted(given)}


def file(path: str, given: pb.File) -> File:
    """A file."""
    mode = given.mode if given.HasField("mode") else 0o755
    if mode > 0o7777:
        raise Rejected(f"files.{path[:100]}.mode: {mode:o} is no file mode")
    return File(content=given.content, mode=mode, uid=given.uid, gid=given.gid)


def files(given: Mapping[str, pb.File]) -> dict[str, File]:
    """Files by path."""
    if not given:
        return {}
    few("files", given)
    total = sum(len(one.content) for one in given.values())
    if total > FILES_BYTES_MAX:
        raise Rejected(f"files: {total} bytes are more than {FILES_BYTES_MAX}")
    return {confined(path, "files"): file(path, given[path]) for path in sorted(given)}


def endpoint(given: pb.Endpoint, *, is_test: bool = False, bypass: bool = False) -> Endpoint:
    """Where an engine is."""
    return Endpoint(
        url=text("endpoint.url", given.url, 4096),
        ca=given.ca, cert=given.cert, key=given.key, test=is_test, bypass=bypass,
    )  # fmt: skip


# -- templates --------------------------------------------------------------------------------------------------------


_TEXTS = ("command", "env", "dns", "extra_hosts", "publish")


def template(given: pb.Template) -> Template:
    """A template."""
    texts = {field: _texts(f"template.{field}", getattr(given, field)) for field in _TEXTS}
    if not _RESTART.fullmatch(given.restart):
        raise Rejected(
            f"template.restart: {given.restart[:60]!r} is none of no, always, unless-stopped, on-failure[:N]"
        )
    grace_ns = given.stop_grace_ns if given.HasField("stop_grace_ns") else Template().stop_grace_ns
    return Template(
        command=texts["command"],
        env=_assignments("template.env", texts["env"]),
        working_dir=text("template.working_dir", given.working_dir, _PATH_MAX),
        user=text("template.user", given.user),
        is_privileged=given.is_privileged,
        has_tty=given.has_tty,
        open_stdin=given.open_stdin,
        labels=labels("template.labels", given.labels),
        networks=labels("template.networks", given.networks),
        dns=texts["dns"],
        extra_hosts=texts["extra_hosts"],
        publish=texts["publish"],
        sysctls=labels("template.sysctls", given.sysctls),
        restart=given.restart or "no",
        stop_grace_ns=whole("template.stop_grace_ns", grace_ns),
        log=text("template.log", given.log),
        log_options=labels("template.log_options", given.log_options),
        health=health(given.health) if given.HasField("health") else None,
        hooks=hooks(given.hooks) if given.HasField("hooks") else Hooks(),
        files=files(given.files),
        pull=word("template.pull", pb.Pull, given.pull, "missing"),  # type: ignore[arg-type] # the enum has the same
        engine=json_object("template.engine_json", given.engine_json),
    )


def _texts(field: str, values: Sequence[str]) -> tuple[str, ...]:
    if not values:  # asking that is cheap, walking a field of a message is not
        return ()
    few(field, values)
    if any("\0" in value for value in values):
        raise Rejected(f"{field}: it must not contain a NUL")
    return tuple(values)


def _assignments(field: str, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.partition("=")[0] or "=" not in value:
            raise Rejected(f"{field}: {value.partition('=')[0][:60]!r} is not NAME=VALUE")
    return values


def hooks(given: pb.Hooks) -> Hooks:
    """Commands that are run inside."""
    return Hooks(
        after_create=tuple(given.after_create),
        after_start=tuple(given.after_start),
        before_stop=tuple(given.before_stop),
        force=given.force,
    )


def health(given: pb.HealthCheck) -> HealthCheck:
    """A health check."""
    few("health.tcp_ports", given.tcp_ports)
    path = given.http_path or "/"
    return HealthCheck(
        tcp_ports=tuple(whole("health.tcp_ports", port, 1, 65535) for port in given.tcp_ports),
        http_port=whole("health.http_port", given.http_port, 0, 65535),
        http_path=path if path.startswith("/") else f"/{path}",
        http_code=whole("health.http_code", given.http_code, 0, 599),
        command=tuple(given.command),
        failure_threshold=whole("health.failure_threshold", given.failure_threshold or 1, 1, 1000),
        success_threshold=whole("health.success_threshold", given.success_threshold or 1, 1, 1000),
    )


# -- what is placed ---------------------------------------------------------------------------------------------------


def workload_id(given: pb.WorkloadSpec) -> str:
    """The id of a workload to be, or what that of each copy begins with."""
    chosen = given.workload_id
    if not chosen:
        parts = [re.sub(r"[^A-Za-z0-9_-]", "-", part) for part in (given.app, given.entrypoint) if part]
        return "-".join([*parts, secrets.token_hex(5)] if parts else ["w", secrets.token_hex(5)]).lstrip("-_")[-100:]
    if not _ID.fullmatch(chosen):
        raise Rejected(
            f"spec.workload_id: {chosen[:60]!r} must be 1 to 128 letters, digits, '_', '.' or '-', the first no sign"
        )
    if _COPY.fullmatch(chosen):
        raise Rejected(
            f"spec.workload_id: {chosen[:60]!r} ends like the name of a copy; do not end it with '.' and digits"
        )
    return chosen


def spec(
    cluster: LiveCluster,
    given: pb.WorkloadSpec,
    operation_id: str,
    *,
    is_deployment: bool = False,
    on_node_loss: str = "reschedule",
    on_exit: str = "end",
) -> tuple[WorkloadsSubmitted, Template]:
    """What is to be placed, checked as the core will check it, and its template."""
    if given.pool:
        cluster.pools.check(given.pool)
    if given.gang and is_deployment:
        raise Rejected("spec.gang: a deployment is placed all at once anyway; leave it out")
    found = template(given.template)
    digest = cluster.digest_of(found) if given.HasField("template") else ""
    start_failure = "fail" if is_deployment else "retry"
    asked = msgspec.convert(
        {
            "workload_id": workload_id(given),
            "request": vector(cluster, "spec.request", given.request),
            "count": whole("spec.count", given.count or 1, 1, COPIES_MAX),
            "priority": given.priority,
            "pool": given.pool,
            "job_id": text("spec.job_id", given.job_id),
            "tenant": text("spec.tenant", given.tenant),
            "image": text("spec.image", given.image, 1024),
            "template": digest,
            "app": text("spec.app", given.app),
            "entrypoint": text("spec.entrypoint", given.entrypoint),
            "estimate_ns": whole("spec.estimate_ns", given.estimate_ns) or None,
            "deadline_ns": whole("spec.deadline_ns", given.deadline_ns) or None,
            "gang": given.gang,
            "gang_timeout_ns": whole("spec.gang_timeout_ns", given.gang_timeout_ns) or None,
            "preempts": given.preempts,
            "payloads": plugin_payloads(cluster, "spec.resources", given.resources) or None,
            "on_unschedulable": "fail"
            if is_deployment
            else word("spec.on_unschedulable", pb.OnUnschedulable, given.on_unschedulable, "queue"),
            "on_start_failure": word("spec.on_start_failure", pb.OnStartFailure, given.on_start_failure, start_failure),
            "start_retries": whole("spec.start_retries", given.start_retries, 0, 1000) or 3,
            "on_node_loss": word("spec.on_node_loss", pb.OnNodeLoss, given.on_node_loss, on_node_loss),
            "on_exit": word("spec.on_exit", pb.OnExit, given.on_exit, on_exit),
            "operation_id": operation_id,
            "type": "workloads_submitted",
        },
        WorkloadsSubmitted,
    )
    checked("spec", lambda: cluster.core.state.admit(asked))
    return asked, found


def deployment(cluster: LiveCluster, asked: WorkloadsSubmitted, spread: pb.Spread) -> DeploymentRequested:
    """A deployment; `Missing` where it names a node that is not there."""
    few("spread.node_ids", spread.node_ids)
    few("spread.excluded_node_ids", spread.excluded_node_ids)
    for node_id in (*spread.node_ids, *spread.excluded_node_ids):
        cluster.nodes.record(node_id)
    node_ids = tuple(dict.fromkeys(spread.node_ids))
    if spread.node_labels:
        having = cluster.nodes.list(asked.pool, dict(spread.node_labels), with_down=True)
        node_ids = tuple(node.node_id for node in having if not node_ids or node.node_id in node_ids)
        if not node_ids:
            raise Missing("spread.node_labels: no node has all of these")
    return DeploymentRequested(
        spec=asked,
        strategy=word("spread.strategy", pb.Strategy, spread.strategy, "auto"),  # type: ignore[arg-type] # the same
        nodes_limit=whole("spread.nodes_limit", spread.nodes_limit),
        node_ids=node_ids,
        excluded_node_ids=tuple(dict.fromkeys(spread.excluded_node_ids)),
    )


def ids(field: str, given: Sequence[str]) -> tuple[str, ...]:
    """Names of several things, each once."""
    if not given:
        raise Rejected(f"{field}: name at least one")
    few(field, given)
    return tuple(dict.fromkeys(given))

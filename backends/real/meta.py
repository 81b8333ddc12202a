"""What labels tell of an instance: Eru's own, both ways. For engines, which write them, and agents, which read them.

``ERU_META`` is JSON: ``{"Publish": [...], "HealthCheck": {"TCPPorts": [...], "HTTPPort": "", "HTTPURL": "",
"HTTPCode": 0}}``, ports as text. What Eru does not know (``Command``, ``FailureThreshold``, ``SuccessThreshold``) is
left out unless it is set, and Eru's own agent skips it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backends.real.engines.base import LABEL_GENERATION, LABEL_NODE
from backends.real.template import HealthCheck, Template

LABEL_ERU = "ERU"
"""On every instance that Eru made, with the value "1"."""
LABEL_META = "ERU_META"
LABEL_CORE_ID = "eru.coreid"
"""The identifier of the core whose instance it is, as its Info tells."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that a workload serves, and how to tell whether it is healthy: None, it is when it runs."""

    publish: tuple[str, ...] = ()
    health: HealthCheck | None = None


class _WireCheck(msgspec.Struct, kw_only=True, omit_defaults=True):
    # The four of Eru are always there, as its own encoder has them.
    tcp_ports: Sequence[str | int] | None = msgspec.field(name="TCPPorts")
    http_port: str | int = msgspec.field(name="HTTPPort")
    http_path: str = msgspec.field(name="HTTPURL")
    http_code: int = msgspec.field(name="HTTPCode")
    command: Sequence[str] | None = msgspec.field(name="Command", default=None)
    failure_threshold: int = msgspec.field(name="FailureThreshold", default=1)
    success_threshold: int = msgspec.field(name="SuccessThreshold", default=1)


def labels_of(template: Template, *, node: str, core_id: str) -> dict[str, str]:
    """The labels that Eru's tools look for on an instance of a template; without those of the template itself."""
    meta = Meta(publish=template.publish, health=template.health)
    return {LABEL_ERU: "1", LABEL_META: encode_meta(meta), LABEL_NODE: node, LABEL_CORE_ID: core_id}


def environment_of(workload_id: str, *, node: str) -> tuple[str, ...]:
    """What Eru's workloads find in their environment about themselves: their node, and which copy they are."""
    _, _, number = workload_id.rpartition("/")
    sequence = number if number.isdecimal() and number != workload_id else "0"
    return (f"ERU_NODE_NAME={node}", f"ERU_WORKLOAD_SEQ={sequence}")


def meta_of(labels: Mapping[str, str]) -> Meta:
    """What the labels tell; nothing where they have no ``ERU_META``. ValueError as of `decode_meta`."""
    return decode_meta(labels[LABEL_META]) if LABEL_META in labels else Meta()


def generation_said(extension: bytes) -> int | None:
    """The generation that a report is about, as its extension (JSON of the labels) says; None if it does not."""
    try:
        found = msgspec.json.decode(extension)
    except msgspec.DecodeError:
        return None
    text = found.get(LABEL_GENERATION, "") if isinstance(found, dict) else ""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None


def encode_meta(meta: Meta) -> str:
    """The value of ``ERU_META``."""
    check = None
    if meta.health is not None:
        check = _WireCheck(
            tcp_ports=[str(port) for port in meta.health.tcp_ports],
            http_port=str(meta.health.http_port or ""),
            http_path=meta.health.http_path if meta.health.http_port else "",
            http_code=meta.health.http_code,
            command=list(meta.health.command) or None,
            failure_threshold=meta.health.failure_threshold,
            success_threshold=meta.health.success_threshold,
        )
    return msgspec.json.encode({"Publish": list(meta.publish), "HealthCheck": check}).decode()


def decode_meta(text: str) -> Meta:
    """`encode_meta` reversed, also for what Eru itself wrote; unknown keys are skipped.

    ValueError names the field. A check that checks nothing is none.
    """
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"{LABEL_META}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{LABEL_META}: not an object")
    try:
        publish = msgspec.convert(found.get("Publish") or (), tuple[str, ...])
        return Meta(publish=publish, health=_check(found.get("HealthCheck") or {}))
    except msgspec.ValidationError as error:
        raise ValueError(f"{LABEL_META}: {error}") from None


def _check(fields: Mapping[str, Any]) -> HealthCheck | None:
    blank = {"TCPPorts": None, "HTTPPort": "", "HTTPURL": "", "HTTPCode": 0}
    given = {key: value for key, value in dict(fields).items() if value is not None}
    wire = msgspec.convert({**blank, **given}, _WireCheck)
    check = HealthCheck(
        tcp_ports=tuple(_port("TCPPorts", port) for port in wire.tcp_ports or ()),
        http_port=_port("HTTPPort", wire.http_port) if wire.http_port else 0,
        http_path=wire.http_path if wire.http_path.startswith("/") else f"/{wire.http_path}",
        http_code=wire.http_code,
        command=tuple(wire.command or ()),
        failure_threshold=_threshold("FailureThreshold", wire.failure_threshold),
        success_threshold=_threshold("SuccessThreshold", wire.success_threshold),
    )
    return check if check.tcp_ports or check.http_port or check.command else None


def _port(field: str, value: str | int) -> int:
    text = str(value).removesuffix("/tcp")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{LABEL_META}: {field}: {value!r} is not a port")
    return int(text)


def _threshold(field: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{LABEL_META}: {field}: {value} is less than 1")
    return value

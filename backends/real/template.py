"""Templates: everything about a workload that placement does not depend on.

A template may hold secrets (environment, files), so it stays at the edge: the store keeps it under its digest, and
events carry only that. It is versioned data; unknown fields are an error.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal

import msgspec

TEMPLATE_VERSION = 1
_ENTRY_BYTES = 2048
"""What a template takes in memory besides its text."""


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an agent tells whether the workload is healthy; all that is given must pass. Nothing given: it runs.

    ``http_code`` 0 takes any from 200 to 499. ``command`` is run inside the workload, exit 0 passes. So many failures,
    or successes, in a row flip the result.
    """

    tcp_ports: tuple[int, ...] = ()
    http_port: int = 0
    http_path: str = "/"
    http_code: int = 0
    command: tuple[str, ...] = ()
    failure_threshold: int = 1
    success_threshold: int = 1


class Hooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Commands that are run inside the workload, each by its shell; with ``force`` a failure fails what was asked.

    At least once: a hook is repeated where the service went down before its result was recorded. ``after_create``
    runs once, before ``after_start``, at the first start.
    """

    after_create: tuple[str, ...] = ()
    after_start: tuple[str, ...] = ()
    before_stop: tuple[str, ...] = ()
    force: bool = False


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file that is put into the workload after it is created and before it is started."""

    content: bytes
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an engine needs to create a workload, besides its image and its engine arguments.

    ``command`` () means the image's own. ``networks`` maps a network to a fixed address, "" for any; {} means the
    engine's default, {"host": ""} the node's. ``restart`` is ``no``, ``always``, ``unless-stopped`` or
    ``on-failure[:N]``; what an engine restarts by itself stays the same generation. A stop asks politely
    and kills after ``stop_grace_ns``. ``log`` is the engine's log driver, "" its default. ``publish`` lists ports that
    the workload serves, for whoever looks it up. ``engine`` holds what only one kind of engine understands.
    """

    version: int = TEMPLATE_VERSION
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    is_privileged: bool = False
    has_tty: bool = False
    open_stdin: bool = False
    labels: Mapping[str, str] = {}
    networks: Mapping[str, str] = {}
    dns: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = {}
    restart: str = "no"
    stop_grace_ns: int = 10_000_000_000
    log: str = ""
    log_options: Mapping[str, str] = {}
    health: HealthCheck | None = None
    hooks: Hooks = Hooks()
    files: Mapping[str, File] = {}
    pull: Literal["missing", "always", "never"] = "missing"
    engine: Mapping[str, Any] = {}

    def encode(self) -> bytes:
        """The template as canonical MessagePack: equal templates give equal bytes."""
        return msgspec.msgpack.encode(self, order="deterministic")


def digest(encoded: bytes) -> str:
    """The name under which a template is kept: 32 hexadecimal digits."""
    return blake2b(encoded, digest_size=16).hexdigest()


def decode(encoded: bytes) -> Template:
    """`Template.encode` reversed; ValueError for other data."""
    try:
        template = msgspec.msgpack.decode(encoded, type=Template)
    except msgspec.DecodeError as error:
        raise ValueError(f"template: not one of version {TEMPLATE_VERSION} ({error})") from None
    if template.version != TEMPLATE_VERSION:
        raise ValueError(f"template: version {template.version}; this build reads version {TEMPLATE_VERSION}")
    return template


class TemplateCache:
    """The templates used last, by digest: as many as take about ``bytes_max``."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._known: OrderedDict[str, tuple[Template, int]] = OrderedDict()

    def get(self, digest: str) -> Template | None:
        """That of this digest, if it is still here."""
        found = self._known.get(digest)
        if found is None:
            return None
        self._known.move_to_end(digest)
        return found[0]

    def put(self, digest: str, template: Template, length: int) -> None:
        """Keep a template, whose encoding has this length, in place of those that were not used for longest."""
        _, old = self._known.pop(digest, (None, 0))
        self._known[digest] = template, length + _ENTRY_BYTES
        self._bytes += length + _ENTRY_BYTES - old
        while self._bytes > self._bytes_max and len(self._known) > 1:
            _, (_, freed) = self._known.popitem(last=False)
            self._bytes -= freed

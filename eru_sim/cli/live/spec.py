"""Eru's spec: what an app is, as YAML. One definition, which checks files and is printed as JSON Schema.

A text field takes a whole number too, since YAML makes one of ``80``; anything else is an error that names field,
value and remedy.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import shlex
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from eru_sim.errors import EruError
from eru_sim.output import one_line

if TYPE_CHECKING:
    from backends.real.builds.spec import Builds

T = TypeVar("T", bound=msgspec.Struct)

Port = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,5}$", description="a port, from 1 to 65535")]
Word = Annotated[str, msgspec.Meta(description="a text")]
Binding = Annotated[str, msgspec.Meta(description="a volume: src:dst[:flags[:size]]", examples=["AUTO:/data:rw:10G"])]
Flag = Annotated[bool, msgspec.Meta(description="true or false")]

RESTART = r"(no|always|unless-stopped|on-failure(:[0-9]{1,6})?)?"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_BYTES_MAX = 1 << 20
_SECONDS = 10
_KINDS = {str: "a text", bool: "true or false"}
_WEB = ("http://", "https://")
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80
_shown.maxdict = _shown.maxlist = _shown.maxtuple = 3


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the engine sends output."""

    type: Annotated[str, msgspec.Meta(description="the name of a log driver")] = ""
    config: dict[str, Word] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an agent tells whether it is healthy."""

    tcp_ports: list[Port] = []
    http_port: Annotated[str, msgspec.Meta(pattern="^([0-9]{1,5})?$", description="a port, from 1 to 65535")] = ""
    url: Annotated[str, msgspec.Meta(description="a path, such as /healthz")] = ""
    code: Annotated[int, msgspec.Meta(ge=0, le=599, description="an HTTP status, 0 for any from 200 to 499")] = 0


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commands that are run inside."""

    after_start: list[Word] = []
    before_stop: list[Word] = []
    force: Flag = False


class Entrypoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to run the app. ``cmd`` is split as a shell does; ``commands`` are its words already."""

    cmd: Annotated[str, msgspec.Meta(description="a command line, split as a shell does")] = ""
    commands: list[Word] = []
    privileged: Flag = False
    dir: Annotated[str, msgspec.Meta(description="the directory in which it runs")] = ""
    restart: Annotated[
        str, msgspec.Meta(pattern=f"^{RESTART}$", description="no, always, unless-stopped or on-failure[:N]")
    ] = ""
    log: Log | None = None
    publish: list[Port] = []
    healthcheck: Check | None = None
    hook: Hook | None = None
    sysctls: dict[str, Word] = {}

    def command(self) -> list[str]:
        """The words of its command, [] for the image's own."""
        return list(self.commands) or shlex.split(self.cmd)


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An app and its entrypoints. ``volumes`` are limits, ``volumes_request`` what is asked for."""

    appname: Annotated[
        str, msgspec.Meta(pattern=f"^{_NAME.pattern}$", description="1 to 100 letters, digits, '_', '.' or '-'")
    ]
    entrypoints: dict[str, Entrypoint]
    volumes: list[Binding] = []
    volumes_request: list[Binding] = []
    labels: dict[str, Word] = {}
    dns: list[Annotated[str, msgspec.Meta(description="an IP address")]] = []
    extra_hosts: list[Annotated[str, msgspec.Meta(description="name:address")]] = []


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec."""
    made = msgspec.json.schema(Spec)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A spec of Eru", **made}


def read(source: str) -> Spec:
    """Read a spec from a file or an http(s) address; EruError says what is wrong with it."""
    return parse(_text(source), source)


def parse(text: str, source: str = "spec") -> Spec:
    """Check the text of a spec."""
    return _parsed(Spec, text, source, _check)


def is_builds(source: str) -> bool:
    """Whether it is called as a build spec is: an http(s) address, or a name that ends as YAML's do."""
    return source.startswith(_WEB) or source.endswith((".yaml", ".yml"))


def read_builds(source: str) -> Builds:
    """Read a build spec from a file or an http(s) address; EruError says what is wrong with its form.

    What is in its fields is for the service to judge.
    """
    from backends.real.builds.spec import Builds

    return _parsed(Builds, _text(source), source, lambda builds: None)


def _parsed(kind: type[T], text: str, source: str, check: Callable[[T], None]) -> T:
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise EruError(f"{source}: it is no YAML: {one_line(str(error))[:300]}") from None
    try:
        found: T = _value(kind, data, "")
        check(found)
    except RecursionError:
        raise EruError(f"{source}: it is nested too deeply; a spec has four levels") from None
    except _SpecError as error:
        raise EruError(f"{source}: {one_line(str(error))}") from None
    return found


class _SpecError(Exception):
    pass


def _check(spec: Spec) -> None:
    """What types cannot say."""
    if not spec.entrypoints:
        raise _SpecError("entrypoints: there are none; give at least one, e.g. entrypoints: {web: {cmd: ./serve}}")
    for name, entry in spec.entrypoints.items():
        where = f"entrypoints.{name}"
        if not _NAME.fullmatch(name) or "_" in name:
            raise _SpecError(f"entrypoints: {_shown.repr(name)} is no name; use letters, digits, '.' and '-', no '_'")
        if entry.cmd and entry.commands:
            raise _SpecError(f"{where}: it has both cmd and commands; keep one of them")
        try:
            shlex.split(entry.cmd)
        except ValueError as error:
            raise _SpecError(
                f"{where}.cmd: {_shown.repr(entry.cmd)} cannot be split into words ({str(error).lower()}); "
                "close the quote, or give the words as commands"
            ) from None
        check = entry.healthcheck
        ports = [(f"{where}.publish", port) for port in entry.publish]
        if check is not None:
            ports += [(f"{where}.healthcheck.tcp_ports", port) for port in check.tcp_ports]
            ports += [(f"{where}.healthcheck.http_port", check.http_port)] if check.http_port else []
            if check.code and check.code < 100:
                raise _SpecError(f"{where}.healthcheck.code: {check.code} is no HTTP status; give one from 100 to 599")
        for field, port in ports:
            if not 0 < int(port) < 65536:
                raise _SpecError(f"{field}: {port} is no port; give one from 1 to 65535")


def _value(kind: Any, value: Any, path: str) -> Any:
    """The value as its type has it; `_SpecError` names the field down to the item."""
    description, leaf = "", kind
    if get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        description = next((meta.description for meta in metas if meta.description), "")
    if isinstance(kind, types.UnionType) or get_origin(kind) is typing.Union:
        if value is None:
            return None
        return _value(next(part for part in get_args(kind) if part is not type(None)), value, path)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, value, path)
    if get_origin(kind) is dict:
        return {name: _value(get_args(kind)[1], item, _below(path, name)) for name, item in _items(value, path)}
    if get_origin(kind) is list:
        if value is None:
            return []
        if not isinstance(value, list):
            raise _SpecError(f"{path}: {_shown.repr(value)} must be a list; write [...], or lines that begin with '-'")
        return [_value(get_args(kind)[0], item, f"{path}[{position}]") for position, item in enumerate(value)]
    if kind is str and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        value = str(value)
    try:
        return msgspec.convert(value, leaf)
    except msgspec.ValidationError:
        wanted = description or _KINDS.get(kind) or f"a {kind.__name__}"
        quote = "; put it in quotes" if kind is str and isinstance(value, bool | float) else ""
        raise _SpecError(f"{path}: {_shown.repr(value)} must be {wanted}{quote}") from None


def _struct(kind: type[msgspec.Struct], value: Any, path: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    given: dict[str, Any] = {}
    for name, item in _items(value, path):
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise _SpecError(f"{_below(path, name)}: there is no such field; {hint}there are: {', '.join(hints)}")
        if item is not None:
            given[name] = _value(hints[name], item, _below(path, name))
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in given:
            raise _SpecError(f"{_below(path, field.name)}: it is missing; see 'eru spec schema'")
    return kind(**given)


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if value is None and path:
        return []
    if not isinstance(value, Mapping):
        raise _SpecError(f"{path or 'the whole'}: {_shown.repr(value)} must be a mapping; write name: value")
    for name in value:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise _SpecError(f"{path or 'the whole'}: {_shown.repr(name)} is no name of a field; put it in quotes")
    return [(str(name), item) for name, item in value.items()]


def _below(path: str, name: str) -> str:
    plain = name if name.isprintable() and len(name) <= 60 else _shown.repr(name)
    return f"{path}.{plain}" if path else plain


def _text(source: str) -> str:
    return _fetched(source) if source.startswith(_WEB) else _file(source)


def _file(source: str) -> str:
    with Path(source).expanduser().open("rb") as stream:
        return _decoded(source, stream.read(_BYTES_MAX + 1))


def _fetched(source: str) -> str:
    import http.client
    from urllib.request import urlopen

    try:
        with urlopen(source, timeout=_SECONDS) as reply:
            return _decoded(source, reply.read(_BYTES_MAX + 1))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise EruError(f"{source}: it cannot be fetched ({one_line(str(error))})") from None


def _decoded(source: str, data: bytes) -> str:
    if len(data) > _BYTES_MAX:
        raise EruError(f"{source}: it is larger than {_BYTES_MAX >> 20} MiB, and so no spec")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EruError(f"{source}: it is no text in UTF-8") from None

"""Contexts: named services in a file of the user's, and which one a command talks to.

The file is ``$XDG_CONFIG_HOME/eru/contexts.yaml``. It names files with secrets and never holds one. Flags come before
the environment (``ERU``, ``ERU_CONTEXT``), that before the context in use; without any it is `DEFAULT_SERVER`. What
says who asks is taken from where the server was named, so that no secret goes to another one.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eru_sim.errors import EruError
from eru_sim.output import one_line

DEFAULT_SERVER = "127.0.0.1:5001"
DEFAULT_PORT = 5001

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_USER = re.compile(r"[0-9A-Za-z_.-]+")
_SECURE = ("https://", "grpcs://")
_PLAIN = ("http://", "grpc://", "tcp://")
_SECRET_BYTES_MAX = 65_536


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A service and who asks there. All but the server are names of files, "" for none."""

    server: str
    login: str = ""
    password_file: str = ""
    token_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""


class Contexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds."""

    current: str = ""
    contexts: dict[str, Context] = {}


class Flags(NamedTuple):
    """What the command line says; None where it says nothing."""

    server: str | None = None
    context: str | None = None
    login: str | None = None
    password_file: str | None = None
    token_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def over(self, other: Flags) -> Flags:
        """These, and what the other ones say where these say nothing."""
        return Flags(*(mine if mine is not None else theirs for mine, theirs in zip(self, other, strict=True)))


class Target(NamedTuple):
    """Where to connect, and with what; ``metadata`` has the secrets."""

    address: str
    is_tls: bool
    ca: bytes | None
    cert: bytes | None
    key: bytes | None
    metadata: tuple[tuple[str, str], ...]
    name: str
    """The address as it was given."""

    def __repr__(self) -> str:
        return f"Target({self.address!r})"


def path() -> Path:
    """Where the file is."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "eru" / "contexts.yaml"


def load() -> Contexts:
    """Read the file; none is no contexts."""
    import yaml

    file = path()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except UnicodeDecodeError:
        raise EruError(f"{file}: it is no text; remove it and add the contexts again") from None
    try:
        found = msgspec.convert(yaml.safe_load(text) or {}, Contexts)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise EruError(f"{file}: {one_line(str(error))}; correct the file, or remove it") from None
    for name, context in found.contexts.items():
        check(name, context)
    return found


def save(contexts: Contexts) -> None:
    """Write the file anew: only its owner may read it, and it is whole or the old one."""
    import yaml

    file = path()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = yaml.safe_dump(msgspec.to_builtins(contexts), sort_keys=False)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check(name: str, context: Context) -> None:
    """EruError names the field of a context that makes no sense."""
    if not _NAME.fullmatch(name):
        raise EruError(f"context: {name[:60]!r} is no name; use letters, digits, '-', '_' and '.'")
    address(context.server)
    if context.login and not _USER.fullmatch(context.login):
        raise EruError(f"login: {context.login[:60]!r} is no user; use letters, digits, '-', '_' and '.'")
    if bool(context.login) != bool(context.password_file):
        lacking, given = ("password-file", "login") if context.login else ("login", "password-file")
        raise EruError(f"--{given}: it needs --{lacking} beside it")
    if context.login and context.token_file:
        raise EruError("--token-file: a user and a token are given; keep one of them")
    if bool(context.tls_cert) != bool(context.tls_key):
        raise EruError(
            "--tls-cert: a certificate needs its key and a key its certificate; give --tls-cert and --tls-key"
        )


def address(server: str) -> tuple[str, bool]:
    """Return what gRPC connects to, and whether the address itself asks for TLS."""
    is_tls = server.startswith(_SECURE)
    plain = server
    for prefix in (*_SECURE, *_PLAIN):
        plain = plain.removeprefix(prefix)
    plain = plain.rstrip("/")
    if plain.startswith("unix:") and len(plain) > 5:
        return plain, is_tls
    host, port = _split(plain)
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or re.search(r"[\s/@]", host):
        raise EruError(f"--server: {server[:100]!r} is no address; write e.g. 127.0.0.1:5001, unix:/run/eru.sock")
    return f"{host}:{port}", is_tls


def _split(plain: str) -> tuple[str, str]:
    """Host and port of an address; an IPv6 address without brackets has no port."""
    if plain.startswith("["):
        host, _, rest = plain.partition("]")
        return f"{host}]", rest.removeprefix(":") or str(DEFAULT_PORT)
    if plain.count(":") > 1:
        return f"[{plain}]", str(DEFAULT_PORT)
    host, colon, port = plain.partition(":")
    return host, port if colon else str(DEFAULT_PORT)


def resolve(flags: Flags, environment: Mapping[str, str] = os.environ) -> Target:
    """Find out which service is meant, and read the files that it takes."""
    chosen = _chosen(flags, environment)
    for name in ("login", "password_file", "token_file", "tls_ca", "tls_cert", "tls_key"):
        value = getattr(flags, name)
        if value is not None:
            chosen = msgspec.structs.replace(chosen, **{name: value})
    check("flags", chosen)
    where, is_tls = address(chosen.server)
    is_tls = is_tls or bool(chosen.tls_ca or chosen.tls_cert)
    metadata: list[tuple[str, str]] = []
    if chosen.login:
        metadata.append((chosen.login.lower(), secret("--password-file", chosen.password_file)))
    if chosen.token_file:
        metadata.append(("authorization", f"Bearer {secret('--token-file', chosen.token_file)}"))
    if metadata and not is_tls and not _is_here(where):
        print(f"warning: {where}: who asks is sent there without TLS; give --tls-ca", file=sys.stderr)
    return Target(
        address=where,
        is_tls=is_tls,
        ca=_bytes(chosen.tls_ca),
        cert=_bytes(chosen.tls_cert),
        key=_bytes(chosen.tls_key, is_secret=True),
        metadata=tuple(metadata),
        name=chosen.server,
    )


def _chosen(flags: Flags, environment: Mapping[str, str]) -> Context:
    """The context that is meant; what names a server without a context is one by itself."""
    for server, name in ((flags.server, flags.context), (environment.get("ERU"), environment.get("ERU_CONTEXT"))):
        if name:
            found = named(load(), name)
            return msgspec.structs.replace(found, server=server) if server else found
        if server:
            return Context(server=server)
    contexts = load()
    return named(contexts, contexts.current) if contexts.current else Context(server=DEFAULT_SERVER)


def named(contexts: Contexts, name: str) -> Context:
    """A context by name; EruError lists those that there are."""
    if name not in contexts.contexts:
        known = ", ".join(sorted(contexts.contexts)) or "none yet"
        raise EruError(f"context: there is no {name[:60]!r}; there are: {known}; see eru context add --help")
    return contexts.contexts[name]


def secret(option: str, file: str) -> str:
    """The first line of a file that only its owner may read."""
    data = _bytes(file, is_secret=True) or b""
    try:
        text = data.decode().split("\n", 1)[0].strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isascii() or not text.isprintable():
        raise EruError(f"{option}: {file} must have the secret as its first line, in plain characters")
    return text


def _bytes(file: str, *, is_secret: bool = False) -> bytes | None:
    if not file:
        return None
    with Path(file).expanduser().open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if is_secret and stat.S_ISREG(mode) and mode & 0o077:
            raise EruError(f"{file}: others may read it, and it holds a secret; chmod 600 {file}")
        return stream.read(_SECRET_BYTES_MAX)


def _is_here(where: str) -> bool:
    host = where.rpartition(":")[0]
    return where.startswith("unix:") or host in ("localhost", "[::1]") or host.startswith("127.")


def shown(context: Context) -> dict[str, Any]:
    """What is printed of a context: names of files, no secrets; all fields."""
    return {name: getattr(context, name) for name in context.__struct_fields__}

"""``eru context``: named services, in a file of the user's. These commands talk to none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from eru_sim.cli.answer import Answer
from eru_sim.cli.live import contexts
from eru_sim.cli.live.contexts import Context
from eru_sim.cli.live.listing import Column, facts, listing, said
from eru_sim.cli.options import Output

app = typer.Typer(help="Named services, and which one commands talk to.", rich_markup_mode=None)


def _text(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=help)


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, help="A context; see eru context ls.",
        autocompletion=lambda: sorted(contexts.load().contexts),
    ),
]  # fmt: skip


@app.command(
    "add", epilog="\b\nExample:\n  eru context add prod --server core:5001 --tls-ca ca.pem --token-file token --use"
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call it.")],
    server: Annotated[str, _text("--server", metavar="ADDRESS", help="ADDRESS:PORT, unix:PATH or https://NAME:PORT.")],
    login: Annotated[str, _text("--login", metavar="NAME", help="The user that asks.")] = "",
    password_file: Annotated[str, _text("--password-file", metavar="FILE", help="Where the password is.")] = "",
    token_file: Annotated[str, _text("--token-file", metavar="FILE", help="Where a bearer token is.")] = "",
    tls_ca: Annotated[str, _text("--tls-ca", metavar="FILE", help="Whom to trust, PEM; means TLS.")] = "",
    tls_cert: Annotated[str, _text("--tls-cert", metavar="FILE", help="A certificate of ours, PEM.")] = "",
    tls_key: Annotated[str, _text("--tls-key", metavar="FILE", help="Its key, PEM.")] = "",
    use: Annotated[bool, typer.Option("--use", help="Commands talk to it from now on.")] = False,
    output: Output = "table",
) -> Answer:
    """Add a context, or change one. Secrets stay in their files."""
    made = Context(
        server=server, login=login, password_file=_whole(password_file), token_file=_whole(token_file),
        tls_ca=_whole(tls_ca), tls_cert=_whole(tls_cert), tls_key=_whole(tls_key),
    )  # fmt: skip
    contexts.check(name, made)
    known = contexts.load()
    is_first = not known.contexts
    found = msgspec.structs.replace(
        known, contexts={**known.contexts, name: made}, current=name if use or is_first else known.current
    )
    contexts.save(found)
    return facts(output, _record(name, found), name=name)


def _whole(file: str) -> str:
    return str(Path(file).expanduser().absolute()) if file else ""


def _record(name: str, known: contexts.Contexts) -> dict[str, Any]:
    return {"name": name, "is_current": name == known.current, **contexts.shown(known.contexts[name])}


@app.command("ls", epilog="\b\nExample:\n  eru context ls")
@app.command("list", hidden=True, epilog="\b\nExample:\n  eru context list")
def list_contexts(output: Output = "table") -> Answer:
    """List contexts."""
    known = contexts.load()
    records = [_record(name, known) for name in sorted(known.contexts)]
    columns = (
        Column("name", "name"), Column("current", "is_current"), Column("server", "server"), Column("login", "login"),
        Column("password file", "password_file", is_wide=True), Column("token file", "token_file", is_wide=True),
        Column("tls ca", "tls_ca", is_wide=True), Column("tls cert", "tls_cert", is_wide=True),
        Column("tls key", "tls_key", is_wide=True),
    )  # fmt: skip
    taken = [
        f"{name} is set and goes before the context in use" for name in ("ERU", "ERU_CONTEXT") if os.environ.get(name)
    ]
    return listing(output, records, columns, name="name", notes=taken)


@app.command("use", epilog="\b\nExample:\n  eru context use prod")
def use(name: Name, output: Output = "table") -> Answer:
    """Have commands talk to a context from now on."""
    known = contexts.load()
    contexts.named(known, name)
    found = msgspec.structs.replace(known, current=name)
    contexts.save(found)
    return said(output, _record(name, found), name=name, line=f"in use: {name} ({found.contexts[name].server})")


@app.command("rm", epilog="\b\nExample:\n  eru context rm staging")
@app.command("remove", hidden=True, epilog="\b\nExample:\n  eru context remove staging")
def remove(name: Name, output: Output = "table") -> Answer:
    """Forget a context; the files that it names stay."""
    known = contexts.load()
    contexts.named(known, name)
    left = {other: context for other, context in known.contexts.items() if other != name}
    contexts.save(contexts.Contexts(current="" if known.current == name else known.current, contexts=left))
    return said(output, {"name": name}, name=name, line=f"removed {name}")

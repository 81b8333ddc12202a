"""``eru serve``: the service; and ``eru store``: what it keeps."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from eru_sim.cli import options
from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import Output
from eru_sim.errors import EruError
from eru_sim.output import check_directory, check_file

if TYPE_CHECKING:
    from backends.real.builds.sources import GitSettings
    from eru_sim.live.service import Settings
    from scheduler.config import PluginConfig

app = typer.Typer(help="Back up, restore, check and export what eru serve keeps.", rich_markup_mode=None)

_Store = Annotated[
    str, typer.Argument(metavar="DIRECTORY", show_default=False, help="The data directory of eru serve.")
]
_RATE = "CALLS[:BURST]"


def serve(
    data_dir: Annotated[
        str, typer.Option("--data-dir", metavar="DIR", show_default=False, help="Journal, snapshots, templates.")
    ],
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to serve; unix:PATH is a socket.")
    ] = "127.0.0.1:5001",
    advertise: Annotated[
        list[str] | None,
        typer.Option("--advertise", metavar="ADDRESS:PORT", show_default=False, help="What clients are told; repeat."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve beyond this machine although everybody may do everything.")
    ] = False,
    tls_cert: Annotated[
        str | None, typer.Option("--tls-cert", metavar="FILE", show_default=False, help="The certificate, PEM.")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option("--tls-key", metavar="FILE", show_default=False, help="Its key, PEM.")
    ] = None,
    client_ca: Annotated[
        str | None,
        typer.Option("--client-ca", metavar="FILE", show_default=False, help="Let only its certificates in."),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", show_default=False, help="Who may call, by password.")
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option("--password-file", metavar="FILE", show_default=False, help="The password of --user."),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", show_default=False, help="Bearer tokens, NAME:TOKEN a line."),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option("--rate-limit", metavar=_RATE, show_default=False, help="Of one client, a second; 0 for none."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="POLICY",
            show_default=False,
            help="NAME[?KEY=VALUE] or your own; by default best-fit, and later the one in force.",
        ),
    ] = None,
    queue: options.Queue = "priority",
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="NAME[=JSON]",
            show_default=False,
            help="A resource plugin with its parameters; repeat it. By default all that need none.",
        ),
    ] = None,
    overcommit: options.Overcommit = None,
    engines: Annotated[
        str,
        typer.Option(
            "--engines",
            metavar="real|simulated[:KEY=VALUE,...]",
            help="What is behind the nodes: their engines, or a model with sim:// endpoints, e.g. simulated:start=2s.",
        ),
    ] = "real",
    journal: Annotated[
        str | None,
        typer.Option("--journal", metavar="FILE", show_default=False, help="Also record to this file: a trace."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="ADDRESS:PORT", show_default=False, help="Serve Prometheus metrics there."),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="How to log to stderr.")
    ] = "text",
    retention: Annotated[
        str, typer.Option("--retention", metavar="TIME", help="Keep the journal, and what it refers to, so long.")
    ] = "1d",
    snapshot_batches: Annotated[
        int, typer.Option("--snapshot-batches", metavar="N", min=1, help="Save a snapshot after so many batches.")
    ] = 2000,
    reconcile: Annotated[
        str, typer.Option("--reconcile", metavar="TIME", help="Compare engines with the books so often.")
    ] = "30s",
    build_pool: Annotated[
        str, typer.Option("--build-pool", metavar="NAME", help="On whose nodes Eru's clients have images built.")
    ] = "",
    git_type: Annotated[
        str | None,
        typer.Option(
            "--git-type",
            metavar="github|gitlab",
            show_default=False,
            help="Let images be built of sources, as from there.",
        ),
    ] = None,
    git_host: Annotated[
        str | None,
        typer.Option("--git-host", metavar="NAME[:PORT]", show_default=False, help="Your own one, for the token."),
    ] = None,
    git_token_file: Annotated[
        str | None,
        typer.Option("--git-token-file", metavar="FILE", show_default=False, help="A token for it, on the first line."),
    ] = None,
    git_key: Annotated[
        str | None,
        typer.Option("--git-key", metavar="FILE", show_default=False, help="A private key, to clone by ssh too."),
    ] = None,
    git_clone_timeout: Annotated[
        str, typer.Option("--git-clone-timeout", metavar="TIME", help="How long fetching one stage may take.")
    ] = "300s",
    git_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--git-allow",
            metavar="http|file",
            show_default=False,
            help="Also unencrypted, or whatever repository this process can read; repeat it.",
        ),
    ] = None,
    core_id: Annotated[
        str | None,
        typer.Option("--core-id", metavar="ID", help="In an empty directory: of the service whose journal was lost."),
    ] = None,
) -> None:
    """Serve: decide where workloads run, and have engines run them. SIGTERM stops it gracefully."""
    from backends.real.logging_setup import set_up_logs
    from eru_sim.live import runtime
    from eru_sim.live.service import Settings
    from eru_sim.live.service import serve as run
    from eru_sim.options import parse_duration_ns, parse_overcommit

    if log_format not in ("text", "json"):
        raise EruError(f"--log-format: {log_format!r} is neither 'text' nor 'json'")
    check_directory(data_dir, "--data-dir")
    if journal is not None:
        check_file(journal, "--journal")
    settings = Settings(
        data_dir=data_dir,
        listen=listen,
        advertise=tuple(advertise or ()),
        is_open=insecure,
        policy=policy or "",
        queue=queue,
        overcommit=parse_overcommit(overcommit),
        engines=engines,
        journal=journal or "",
        metrics=_metrics(metrics),
        retention_ns=parse_duration_ns(retention, "--retention"),
        snapshot_batches=snapshot_batches,
        reconcile_ns=max(parse_duration_ns(reconcile, "--reconcile"), 10**8),
        core_id=core_id or "",
        build_pool=build_pool,
        git=_git(git_type, git_host, git_token_file, git_key, git_clone_timeout, git_allow),
    )
    settings = _with_security(settings, tls_cert, tls_key, client_ca, user, password_file, token_file)
    if rate_limit is not None:
        settings = msgspec.structs.replace(settings, limits=_limits(settings, rate_limit))
    if plugin:
        settings = msgspec.structs.replace(settings, plugins=tuple(_plugin(text) for text in plugin))
    set_up_logs(log_format)  # type: ignore[arg-type] # checked above
    runtime.run(run(settings, announce=_announce))


def _announce(line: str) -> None:
    print(line, flush=True)


def _with_security(
    settings: Settings,
    certificate: str | None,
    key: str | None,
    client_ca: str | None,
    user: str | None,
    password_file: str | None,
    token_file: str | None,
) -> Settings:
    from backends.real.service.server import Tls
    from eru_sim.live.service import read_secret, read_tokens

    tls = None
    if certificate is not None and key is not None:
        tls = Tls(certificate=certificate, key=key, client_ca=client_ca or "")
    elif certificate is not None or key is not None or client_ca is not None:
        raise EruError("--tls-cert, --tls-key: give both, and --client-ca only with them")
    users = {}
    if user is not None and password_file is not None:
        users = {user: read_secret(password_file, "--password-file")}
    elif user is not None or password_file is not None:
        raise EruError("--user, --password-file: give both or none")
    tokens = read_tokens(token_file) if token_file is not None else {}
    return msgspec.structs.replace(settings, tls=tls, users=users, tokens=tokens)


def _git(
    kind: str | None,
    host: str | None,
    token_file: str | None,
    key_file: str | None,
    clone_timeout: str,
    also: list[str] | None,
) -> GitSettings | None:
    from backends.real.builds.sources import GitSettings
    from eru_sim.live.service import read_secret
    from eru_sim.options import parse_duration_ns

    if kind is None:
        if host or token_file or key_file or also:
            raise EruError("--git-host, --git-token-file, --git-key, --git-allow: give --git-type too")
        return None
    for file, field in ((token_file, "--git-token-file"), (key_file, "--git-key")):
        if file:
            read_secret(file, field)
    given = {
        "kind": kind,
        "host": host or "",
        "token_file": str(Path(token_file).absolute()) if token_file else "",
        "key_file": str(Path(key_file).absolute()) if key_file else "",
        "clone_seconds": parse_duration_ns(clone_timeout, "--git-clone-timeout") / 1e9,
        "also": also or [],
    }
    try:
        return msgspec.convert(given, GitSettings)
    except msgspec.ValidationError:
        raise EruError("--git-type: it is github or gitlab, --git-allow http or file, --git-host NAME[:PORT]") from None


def _metrics(given: str | None) -> str:
    if given is None:
        return ""
    host, colon, port = given.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise EruError(f"--metrics: {given!r} is not ADDRESS:PORT, e.g. 127.0.0.1:9100")
    return given


def _limits(settings: Settings, given: str) -> Any:
    rate, _, burst = given.partition(":")
    try:
        calls = float(rate)
        most = float(burst) if burst else max(2 * calls, 1.0)
    except ValueError:
        calls = most = -1.0
    if not (0 <= calls < 1e9 and 0 < most < 1e9):
        raise EruError(f"--rate-limit: {given!r} is not {_RATE}, e.g. 100:200")
    return msgspec.structs.replace(settings.limits, calls_per_second=calls, calls_burst=most)


def _plugin(given: str) -> PluginConfig:
    from scheduler.config import PluginConfig
    from scheduler.plugins.registry import make_plugin

    name, equals, text = given.partition("=")
    try:
        params = msgspec.json.decode(text, type=dict[str, Any]) if equals else {}
    except msgspec.DecodeError as error:
        raise EruError(f"--plugin: {given!r}: the parameters are not a JSON object ({error})") from None
    made = make_plugin(name, params)
    return PluginConfig(made.name, made.version, params)


# -- stores -----------------------------------------------------------------------------------------------------------


@app.command(epilog="\b\nExample:\n  eru store backup /var/lib/eru eru.backup")
def backup(
    directory: _Store,
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="A new file.")],
    output: Output = "table",
) -> Answer:
    """Write a consistent copy to a new file; the service may be running."""
    from eru_sim.live import stores

    check_file(file, "FILE")
    return _answer(output, asyncio.run(stores.backup(directory, file)))


@app.command(epilog="\b\nExample:\n  eru store restore eru.backup /var/lib/eru")
def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="A backup.")],
    directory: _Store,
    output: Output = "table",
) -> Answer:
    """Make a new data directory of a backup, and check it."""
    from eru_sim.live import stores

    check_directory(directory, "DIRECTORY")
    return _answer(output, asyncio.run(stores.restore(file, directory)))


@app.command(epilog="\b\nExample:\n  eru store check /var/lib/eru")
def check(directory: _Store, policy: options.RecordedPolicy = None, output: Output = "table") -> Answer:
    """Check that the file is sound and that its journal leads to a core; the service may be running."""
    from eru_sim.live import stores
    from eru_sim.options import choose_policy

    choice = choose_policy(policy) if policy is not None else None
    return _answer(output, asyncio.run(stores.check(directory, choice)))


@app.command(epilog="\b\nExample:\n  eru store export /var/lib/eru run.jsonl")
def export(
    directory: _Store,
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="A new file.")],
    output: Output = "table",
) -> Answer:
    """Write the journal to a new file: a recording, for eru sim and eru explain; the service may be running."""
    from eru_sim.live import stores

    check_file(file, "FILE")
    return _answer(output, asyncio.run(stores.export(directory, file)))


def _answer(output: str, found: dict[str, Any]) -> Answer:
    problems = found.get("problems", [])
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    rows = [(name, str(value)) for name, value in found.items() if name != "problems"]
    names = [str(found.get("file", found.get("ok", "")))]
    return Answer(
        output=output, data=found, records=[found], names=names, tables=[Table(rows=rows)], ok=found.get("ok", True)
    )

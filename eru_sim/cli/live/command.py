"""How a command that talks to a service is made: `command`, groups that are read when they are used, and their help.

A command is a coroutine function; its first parameter is the `Service`, the others are arguments and options as Typer
has them. A parameter whose type is a dataclass stands for one option a field. It returns an `Answer`, or an exit code
where it has printed by itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from eru_sim.cli.answer import Answer
from eru_sim.cli.live.contexts import Flags, resolve

if TYPE_CHECKING:
    from eru_sim.cli.live.service import Service

CONNECTION = "Connection"
SERVER_HELP = "ADDRESS:PORT, unix:PATH or https://NAME:PORT; env ERU."
CONTEXT_HELP = "A context, see eru context ls; env ERU_CONTEXT."

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _option(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, rich_help_panel=CONNECTION)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Connection:
    """The options that say where the service is and who asks."""

    server: Annotated[str | None, _option("--server", metavar="ADDRESS", help=SERVER_HELP)] = None
    context: Annotated[str | None, _option("--context", metavar="NAME", help=CONTEXT_HELP)] = None
    login: Annotated[str | None, _option("--login", metavar="NAME", help="The user that asks.")] = None
    password_file: Annotated[
        str | None, _option("--password-file", metavar="FILE", help="Where the user's password is.")
    ] = None
    token_file: Annotated[str | None, _option("--token-file", metavar="FILE", help="Where a bearer token is.")] = None
    tls_ca: Annotated[str | None, _option("--tls-ca", metavar="FILE", help="Whom to trust, PEM; means TLS.")] = None
    tls_cert: Annotated[str | None, _option("--tls-cert", metavar="FILE", help="A certificate of ours, PEM.")] = None
    tls_key: Annotated[str | None, _option("--tls-key", metavar="FILE", help="Its key, PEM.")] = None

    def flags(self) -> Flags:
        """The same, for `resolve`."""
        return Flags(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


class LiveCommand(TyperCommand):
    """A command whose help shows the options of the connection apart from its own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write two lists of options in place of one."""
        lists: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], CONNECTION: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None)
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                lists[panel if panel == CONNECTION else kind].append(record)
        for title, records in lists.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class _LazyGroup(TyperGroup):
    """A group whose commands are made when somebody asks for them."""

    module = ""

    def _fill(self) -> None:
        if not self.commands:
            made: Any = typer.main.get_command(import_module(self.module).app)
            self.commands = made.commands

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of its commands."""
        self._fill()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name."""
        self._fill()
        return super().get_command(ctx, cmd_name)


def add_group(parent: typer.Typer, *names: str, module: str, help: str, example: str) -> None:
    """Add the group ``module.app``, which is imported when it is used; names after the first are hidden aliases."""
    lazy = type("_Group", (_LazyGroup,), {"module": f"{__package__}.{module}"})
    for name in names:
        group = typer.Typer(cls=lazy, help=help, rich_markup_mode=None)
        parent.add_typer(group, name=name, epilog=f"\b\nExample:\n  {example}", hidden=name != names[0])


def group(help: str) -> typer.Typer:
    """What the module of a group calls ``app``; a group of one command stays a group."""
    app = typer.Typer(help=help, rich_markup_mode=None)
    app.callback()(lambda: None)
    return app


def command(
    app: typer.Typer, *names: str, example: str, before: Callable[..., Answer | None] | None = None
) -> Callable[[_Function], _Function]:
    """Make a coroutine function a command of ``app``; names after the first are hidden aliases.

    ``before`` gets the same arguments without a service; what it answers is the answer, None has the service asked.
    """

    def register(function: _Function) -> _Function:
        runner = _runner(function, before)
        for name in names:
            app.command(
                name, cls=LiveCommand, epilog=f"\b\nExample:\n  {example}", hidden=name != names[0],
                help=inspect.getdoc(function),
            )(runner)  # fmt: skip
        return function

    return register


def _runner(function: Callable[..., Awaitable[Any]], before: Callable[..., Answer | None] | None) -> Callable[..., Any]:
    """Return what Typer calls: it makes the service and runs the coroutine."""
    _, *parameters = inspect.signature(function).parameters.values()
    signature: list[inspect.Parameter] = [
        inspect.Parameter("typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    ]
    bundles: dict[str, tuple[type, list[str]]] = {}
    for parameter in parameters:
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, getattr(function, "__globals__"))  # noqa: B009
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            fields = _parameters(annotation)
            bundles[parameter.name] = (annotation, [field.name for field in fields])
            signature += fields
        else:
            signature.append(parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY))
    connection = [parameter.replace(name=f"connection_{parameter.name}") for parameter in _parameters(Connection)]
    signature += connection

    def run(*, typer_context: typer.Context, **values: Any) -> Any:
        given = Connection(
            **{parameter.name.removeprefix("connection_"): values.pop(parameter.name) for parameter in connection}
        )
        arguments = {
            name: made(**{field: values.pop(field) for field in fields}) for name, (made, fields) in bundles.items()
        }
        if before is not None and (answer := before(**values, **arguments)) is not None:
            return answer
        root = typer_context.find_root().params
        flags = given.flags().over(Flags(server=root.get("server"), context=root.get("context")))
        return asyncio.run(_run(function, flags, {**values, **arguments}))

    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
    run.__name__ = function.__name__
    return run


def _parameters(options: type) -> list[inspect.Parameter]:
    namespace = vars(sys.modules[options.__module__])
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=eval(field.type, namespace) if isinstance(field.type, str) else field.type,
        )
        for field in dataclasses.fields(options)
    ]


async def _run(function: Callable[..., Awaitable[Any]], flags: Flags, arguments: dict[str, Any]) -> Answer | int:
    from eru_sim.cli.live.service import connect

    service: Service
    async with connect(resolve(flags)) as service:
        return await function(service, **arguments)  # type: ignore[no-any-return]

"""``eru agent``: the daemon of a node. Its options are the agent's settings, one flag each."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from backends.real.agent import config
from eru_sim.errors import EruError

EPILOG = (
    "\b\nTERM, INT and QUIT end the node's lease and the agent; USR1 ends the agent and leaves the lease to the next."
    "\n\n\b\nExample:\n  eru agent --hostname n1 --core-endpoint 127.0.0.1:5001 --api-addr :12345"
)


def agent(**options: Any) -> None:
    """Keep this node's lease in the core, check and report its workloads, ship their output, show metrics.

    A setting is a key of the YAML file, an environment variable and a flag; the later of these counts more.
    """
    given = {setting.key: options[_parameter(setting)] or None for setting in config.SETTINGS if not setting.is_switch}
    given |= {setting.key: options[_parameter(setting)] for setting in config.SETTINGS if setting.is_switch}
    try:
        settings = config.load(options["config"], environment=os.environ, flags=given)
    except config.ConfigError as error:
        raise EruError(str(error)) from None
    try:
        from backends.real.agent import daemon
    except ModuleNotFoundError as error:
        raise EruError(f"{error.name} is missing: eru agent needs pip install 'eru-sim[real]'") from None
    try:
        daemon.serve(settings)
    except daemon.AgentError as error:
        raise EruError(str(error)) from None


def _parameter(setting: config.Setting) -> str:
    return setting.flag.removeprefix("--").replace("-", "_")


def _options() -> list[inspect.Parameter]:
    """The parameters of the command: the file, and one for each setting, without a value unless it is given."""
    file = typer.Option(
        "--config", metavar="FILE", show_default=False,
        help=f"The YAML file. [${config.FILE_VARIABLE}; {config.DEFAULT_FILE} if there is one]",
    )  # fmt: skip
    found = [("config", Annotated[Path | None, file])]
    for setting in config.SETTINGS:
        flag = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}" if setting.is_switch else setting.flag
        option = typer.Option(flag, metavar=setting.metavar or None, show_default=False, help=_help(setting))
        kind: Any = bool if setting.is_switch else list[str] if setting.is_list else str
        found.append((_parameter(setting), Annotated[kind | None, option]))
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in found
    ]


def _help(setting: config.Setting) -> str:
    default = f"; {setting.shown_default}" if setting.shown_default else ""
    return f"{setting.meaning} [{setting.key}, ${setting.variable}{default}]"


agent.__signature__ = inspect.Signature(_options())  # type: ignore[attr-defined]

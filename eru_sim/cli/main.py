"""The command ``eru``: its tree of commands, and the one place that prints and ends the process."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from eru_sim.cli import (
    agent_commands,
    errors,
    fuzz_commands,
    plugin_commands,
    serve_commands,
    sim_commands,
    sweep_commands,
    trace_commands,
)
from eru_sim.cli.answer import Answer, Table, show
from eru_sim.cli.live import root_commands
from eru_sim.cli.live.command import CONTEXT_HELP, SERVER_HELP, add_group
from eru_sim.cli.options import Output
from eru_sim.output import one_line

app = typer.Typer(
    name="eru",
    help="Decide where workloads run: in simulations of recorded traces, and on the machines of a running service.",
    epilog="\b\nExample:\n  eru sim compare 'synthetic:google2019?nodes=500&hours=1'",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(trace_commands.app, name="trace", epilog="\b\nExample:\n  eru trace ls")
app.add_typer(
    sim_commands.app, name="sim", epilog="\b\nExample:\n  eru sim replay 'synthetic:google2019?nodes=500&hours=1'"
)
sim_commands.app.add_typer(sweep_commands.app)
sim_commands.app.add_typer(fuzz_commands.app)
app.add_typer(plugin_commands.app, name="plugin", epilog="\b\nExample:\n  eru plugin ls")
app.command(
    "serve", epilog="\b\nExample:\n  eru serve --data-dir /var/lib/eru --engines simulated:start=2s --journal run.jsonl"
)(serve_commands.serve)
app.command("agent", epilog=agent_commands.EPILOG)(agent_commands.agent)
app.add_typer(serve_commands.app, name="store", epilog="\b\nExample:\n  eru store check /var/lib/eru")
root_commands.add_to(app)
for names, help_text, example in (
    (("pool", "pod"), "Pools of nodes, which Eru calls pods.", "eru pool ls"),
    (("node",), "Nodes: the machines that work is placed on.", "eru node ls --pool prod"),
    (("workload", "container"), "Deploy work, change it, look into it, remove it.", "eru workload ls shop"),
    (("image",), "Images on nodes.", "eru image ls --pool prod"),
    (("network",), "Networks of nodes.", "eru network ls --pool prod"),
    (("operation",), "What was asked and is under way.", "eru operation ls"),
    (("policy",), "The policy that decides where work goes.", "eru policy get"),
    (("journal",), "Every event and command of a service.", "eru journal tail -f"),
    (("core",), "A running service itself.", "eru core info"),
    (("context",), "Named services, and which one commands talk to.", "eru context use prod"),
    (("spec",), "Specs of apps.", "eru spec check shop.yaml"),
):
    add_group(app, *names, module=f"{names[0]}_commands", help=help_text, example=example)


@app.callback()
def _root(
    server: Annotated[
        str | None, typer.Option("-e", "--server", "--eru", metavar="ADDRESS", show_default=False, help=SERVER_HELP)
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="NAME", show_default=False, help=CONTEXT_HELP)
    ] = None,
) -> None:
    """What all commands have in common: where the service is, for those that talk to one."""


@app.command(epilog="\b\nExample:\n  eru version -o json")
def version(output: Output = "table") -> Answer:
    """Show the versions of eru and of what its results may depend on."""
    from eru_sim.output import versions

    found = versions()
    return Answer(
        output=output,
        data=found,
        records=[found],
        names=[f"eru-sim {found['eru-sim']}"],
        tables=[Table(rows=list(found.items()))],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (see `eru_sim.cli.errors`). Nothing else here ends the process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # What its runtime has to say on stderr comes as an error of ours, too.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return _run(sys.argv[1:] if argv is None else list(argv))
        except BrokenPipeError:
            _silence(sys.stdout)
            return errors.NO_READER
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else errors.OK
        except BaseException as error:
            return _fail(error)


def _run(arguments: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    answer = command.main(args=arguments or ["--help"], prog_name="eru", standalone_mode=False)
    if isinstance(answer, Answer):
        show(answer)
        sys.stdout.flush()
        return errors.OK if answer.ok else errors.FALSE
    if answer == errors.INTERRUPTED:
        raise KeyboardInterrupt
    sys.stdout.flush()
    return int(answer or 0)


def _fail(error: BaseException) -> int:
    if os.environ.get("ERU_DEBUG") and not hasattr(error, "format_message"):
        traceback.print_exception(error)
    code, message = errors.describe(error)
    with suppress(OSError):
        print(f"error: {message}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        _silence(sys.stdout)
    return code


def _silence(stream: Any) -> None:
    """Let what a broken stream still holds go nowhere, so that the interpreter does not complain at its end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    with suppress(OSError):
        print(f"warning: {one_line(str(message))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""``eru plugin``: the resource plugins that are installed, and whether they keep the contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eru_sim.cli.answer import Answer, Table
from eru_sim.cli.options import Output, Seed
from eru_sim.errors import EruError
from eru_sim.output import one_line

if TYPE_CHECKING:
    from scheduler.ports import ResourcePlugin

app = typer.Typer(help="List resource plugins and check them.", rich_markup_mode=None)


@app.command("ls", epilog="\b\nExample:\n  eru plugin ls -o json")
def list_plugins(output: Output = "table") -> Answer:
    """List the installed plugins: version, tier, coupling, and the package that brings them."""
    from scheduler.plugins.registry import ENTRY_POINT_GROUP

    found = [_facts(point) for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)]
    columns = ("name", "version", "tier", "coupling", "distribution")
    rows = [[str(entry[column]) if entry[column] is not None else "-" for column in columns] for entry in found]
    return Answer(
        output=output,
        data=found,
        records=found,
        names=[entry["name"] for entry in found],
        tables=[Table(header=columns, rows=rows, right_from=len(columns))],
        notes=[f"{entry['name']}: {entry['problem']}" for entry in found if entry["problem"]],
    )


def _facts(point: EntryPoint) -> dict[str, Any]:
    """What is known of an installed plugin; one that cannot be loaded has a problem, and no more is known."""
    from scheduler.ports import ExactPlugin, ResourcePlugin

    distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else None
    facts: dict[str, Any] = {"name": point.name, "version": None, "tier": None, "coupling": None}
    facts |= {"distribution": distribution, "problem": None}
    try:
        plugin = point.load()
        tier = 2 if issubclass(plugin, ExactPlugin) else 1
        varies = plugin.coupling_of is not ResourcePlugin.coupling_of
        coupling = "by request" if varies else plugin.coupling
        return {**facts, "version": plugin.version, "tier": tier, "coupling": coupling}
    except Exception as error:
        return {**facts, "problem": one_line(f"it cannot be loaded: {type(error).__name__}: {error}")}


@app.command(
    epilog="\b\nExample:\n  eru plugin check licences --param 'limits={\"matlab\": 3}' --payload '{\"matlab\": 1}'"
)
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="A plugin; see eru plugin ls.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", show_default=False, help="A parameter of the plugin; repeat it."),
    ] = None,
    payload: Annotated[
        list[str] | None,
        typer.Option(
            "--payload",
            metavar="JSON",
            show_default=False,
            help="What a workload asks; repeat it. By default the plugin's examples.",
        ),
    ] = None,
    bad_payload: Annotated[
        list[str] | None,
        typer.Option("--bad-payload", metavar="JSON", show_default=False, help="What it has to refuse; repeat it."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            metavar="JSON",
            show_default=False,
            help="What a node has, for an exact plugin; repeat it. By default the plugin's node examples.",
        ),
    ] = None,
    not_monotone: Annotated[
        bool, typer.Option("--not-monotone", help="A copy may make room for others, by design.")
    ] = False,
    seed: Seed = 0,
    output: Output = "table",
) -> Answer:
    """Check that a plugin has the ten properties of the contract; exit code 1 and the first one it lacks if any."""
    from scheduler.testing.plugin_checks import PluginCheckError, check_plugin, default_nodes

    plugin = _make(name, _params(param or []))
    payloads = _values("--payload", payload) or list(plugin.examples)
    if not payloads:
        raise EruError(f"--payload: plugin {name!r} has no examples of its own; give one that fits on a node")
    problem = None
    try:
        report = check_plugin(
            plugin,
            payloads=payloads,
            bad_payloads=_values("--bad-payload", bad_payload),
            nodes=default_nodes(plugin, _values("--node", node) or None),
            is_monotone=not not_monotone,
            seed=seed,
        )
    except PluginCheckError as error:
        report, problem = error.report, str(error)
    properties = [{"property": checked, "cases": cases} for checked, cases in report.cases.items()]
    facts = {"plugin": report.plugin, "version": report.version, "seed": seed, "ok": problem is None}
    return Answer(
        output=output,
        data={**facts, "problem": problem, "properties": properties},
        records=properties,
        names=[name],
        tables=[Table(header=("property", "cases"), rows=[(p, f"{n:,}") for p, n in report.cases.items()])],
        notes=[f"ok: plugin {name!r} has all properties; seed={seed}" if problem is None else f"failed: {problem}"],
        ok=problem is None,
    )


def _make(name: str, params: dict[str, Any]) -> ResourcePlugin:
    """A plugin by name; whatever goes wrong in the making of somebody else's is said in one line."""
    from scheduler.plugins.registry import make_plugin

    try:
        return make_plugin(name, params)
    except ValueError as error:
        raise EruError(str(error)) from None
    except Exception as error:
        raise EruError(f"plugin {name!r}: it cannot be made: {type(error).__name__}: {error}") from None


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters; a value that is no JSON is a text."""
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise EruError(f"--param: {pair!r} is not KEY=VALUE, e.g. --param points=24")
        if key in params:
            raise EruError(f"--param: {key!r} is given twice; keep one")
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value
    return params


def _values(option: str, texts: Sequence[str] | None) -> list[Any]:
    values = []
    for text in texts or ():
        try:
            values.append(json.loads(text))
        except ValueError as error:
            raise EruError(f"{option}: {text!r} is not JSON ({error}); write e.g. '{{\"count\": 1}}'") from None
    return values

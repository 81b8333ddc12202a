"""Reports: one self-contained HTML file with what was run, the numbers, the plots and everything that was assumed.

The file loads nothing from anywhere: styles are inline, plots are embedded, and its content policy forbids the rest.
Everything that comes from outside is escaped.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eru_sim import analysis, plots
from eru_sim.comparison import HALF_WIDTH
from eru_sim.output import file_part, flatten, human, human_column, jsonable, printable, title_of, versions, write_files

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from eru_sim.comparison import Comparison
    from eru_sim.simulation import ReplayResult

_TIMINGS = ("startup_s", "load_s", "wall_s", "cpu_s", "peak_rss_bytes")
_BARS = (
    "queueing_delay_p50_s",
    "queueing_delay_p99_s",
    "completed",
    "pending",
    "evicted",
    "nodes_in_use_at_end",
    "cpu_s",
)
_DIFFERENCES = ("queueing_delay_mean_s", "queueing_delay_p99_s", "completed", "pending")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .7rem; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
pre { background: #8882; padding: .7rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; background: white; }
figcaption, .note { color: #777; font-size: .9rem; }
"""


def write_comparison(comparison: Comparison, out: str | Path) -> list[Path]:
    """Write table, runs, plots and ``report.html`` of a comparison into directory ``out``; return the files."""
    images = comparison_plots(comparison)
    files = {**comparison.files(), **images, "report.html": comparison_html(comparison, images)}
    return write_files(out, files)


def write_replay(result: ReplayResult, out: str | Path, *, arguments: Mapping[str, Any] | None = None) -> list[Path]:
    """Write the plots and ``report.html`` of one replay into directory ``out``; return the files.

    ``arguments`` are those of the call to `eru_sim.replay`, to repeat it; without them the summary's are shown.
    """
    images = replay_plots(result)
    return write_files(out, {**images, "report.html": replay_html(result, images, arguments=arguments)})


# -- plots ----------------------------------------------------------------------------------------------------------


def comparison_plots(comparison: Comparison) -> dict[str, bytes]:
    """Return the plots of a comparison as PNGs by file name. Curves over time are those of replication 0."""
    results = {policy: comparison.results_of(policy) for policy in comparison.policies}
    first = {policy: runs[0] for policy, runs in results.items()}
    delays = {policy: np.concatenate([run.delays_s for run in runs]) for policy, runs in results.items()}
    images: dict[str, bytes] = {}
    for dimension in comparison.dimensions:
        figure, (axes,) = plots.new_figure()
        plots.utilisation(first, dimension, axes)
        images[f"utilisation_{file_part(dimension)}.png"] = plots.to_png(figure)
    figure, (axes,) = plots.new_figure()
    plots.queue_length(first, axes)
    images["queue_length.png"] = plots.to_png(figure)
    figure, (axes,) = plots.new_figure()
    plots.delay_cdf(delays, axes)
    images["delay_cdf.png"] = plots.to_png(figure)
    images.update(_work_plots({policy: _outcomes_of(runs) for policy, runs in results.items()}))
    images["policy_bars.png"] = plots.to_png(_bars(comparison))
    if _has_pairs(comparison):
        images["policy_differences.png"] = plots.to_png(_differences(comparison))
    for dimension in comparison.dimensions:
        figure = _heatmaps({policy: run.nodes for policy, run in first.items()}, dimension)
        images[f"nodes_{file_part(dimension)}.png"] = plots.to_png(figure)
    return images


def replay_plots(result: ReplayResult) -> dict[str, bytes]:
    """Return the plots of one replay as PNGs by file name: utilisation and queue, delays, nodes."""
    dimensions = list(result.summary["utilisation"])
    figure = plots.grid_of(
        [
            *(lambda ax, name=name: plots.utilisation(result, name, ax) for name in dimensions),
            lambda ax: plots.queue_length(result, ax),
        ],
        columns=1, width=9.0, height=3.0,
    )  # fmt: skip
    images = {"utilisation.png": plots.to_png(figure)}
    figure, (axes,) = plots.new_figure()
    plots.delay_cdf(result.delays_s, axes)
    images["delay_cdf.png"] = plots.to_png(figure)
    outcomes = _outcomes_of([result])
    images.update(_work_plots({"all": outcomes}))
    if 0 < len(outcomes) <= plots.GANTT_MAX:
        figure, (axes,) = plots.new_figure(height=6.0)
        plots.gantt(outcomes, axes)
        images["gantt.png"] = plots.to_png(figure)
    for dimension in dimensions:
        images[f"nodes_{file_part(dimension)}.png"] = plots.to_png(_heatmaps({"": result.nodes}, dimension))
    return images


def _outcomes_of(results: Sequence[ReplayResult]) -> pd.DataFrame:
    """The outcomes of several runs one after the other, jobs told apart."""
    import pandas as pd

    frames: list[pd.DataFrame] = []
    for number, result in enumerate(results):
        outcomes = result.outcomes
        frames.append(outcomes if not number else outcomes.assign(job_id=_numbered(outcomes, number)))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _numbered(outcomes: pd.DataFrame, number: int) -> pd.Series[str]:
    jobs = outcomes["job_id"].where(outcomes["job_id"] != "", outcomes["workload_id"])
    return f"{number} " + jobs


def _work_plots(outcomes: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Bounded slowdowns and job completion times by label; nothing where nothing finished."""
    if not any(frame["exit_code"].notna().any() for frame in outcomes.values()):
        return {}
    images = {}
    for name, metric, values in (
        ("slowdown_cdf.png", "bounded_slowdown", analysis.bounded_slowdowns),
        ("job_completion_cdf.png", "job_completion_time_s", analysis.job_completion_times_s),
    ):
        figure, (axes,) = plots.new_figure()
        plots.cdf({label: values(frame) for label, frame in outcomes.items()}, metric, axes)
        images[name] = plots.to_png(figure)
    return images


def _has_pairs(comparison: Comparison) -> bool:
    return len(comparison.policies) > 1 and comparison.arguments["replications"] > 1


def _difference_metrics(comparison: Comparison) -> list[str]:
    metrics = [name for name in comparison.metrics if name.startswith("utilisation_")]
    return metrics + [name for name in _DIFFERENCES if name in comparison.runs]


def _differences(comparison: Comparison) -> Figure:
    baseline = comparison.policies[0]

    def draw(metric: str) -> Any:
        table = analysis.compare_to_baseline(comparison.runs, metric, baseline)
        return lambda ax: plots.differences(table, metric, baseline, ax)

    height = 1.3 + 0.36 * len(comparison.policies)
    draws = [draw(metric) for metric in _difference_metrics(comparison)]
    return plots.grid_of(draws, columns=2, width=6.0, height=height)


def _bars(comparison: Comparison) -> Figure:
    table = comparison.table
    metrics = [name for name in comparison.metrics if name.startswith("utilisation_")]
    metrics += [name for name in _BARS if name in table]
    height = 1.1 + 0.36 * len(table)
    draw = [lambda ax, metric=metric: plots.policy_bars(table, metric, ax) for metric in metrics]
    return plots.grid_of(draw, columns=3, width=4.0, height=height)


def _heatmaps(nodes: Mapping[str, Any], dimension: str) -> Figure:
    def draw(label: str) -> Any:
        def panel(ax: Any) -> None:
            plots.node_heatmap(nodes[label], dimension, ax)
            if label:
                ax.set_title(plots.short(label), fontsize=10.5)

        return panel

    single = len(nodes) == 1
    return plots.grid_of(
        [draw(label) for label in nodes], columns=3, width=6.0 if single else 4.2, height=5.2 if single else 3.9
    )


# -- HTML -----------------------------------------------------------------------------------------------------------


def comparison_html(comparison: Comparison, images: Mapping[str, bytes] | None = None) -> str:
    """Return the report of a comparison; ``images`` are its plots, drawn when they are not given."""
    arguments = comparison.arguments
    summaries = [result.summary for result in comparison.results]
    replications = arguments["replications"]
    seed = arguments["seed"]
    facts = {
        "source": arguments["source"],
        "cluster": summaries[0]["cluster"],
        "nodes": summaries[0]["nodes"],
        "policies": comparison.policies,
        "replications": replications,
        "seeds": str(seed) if replications == 1 else f"{seed} to {seed + replications - 1}",
        **arguments["options"],
    }
    caption = (
        "Mean over replications ± half of the 95 % interval (Student's t)." if replications > 1 else "One run each."
    )
    columns = [
        "policy", "replication", "seed", "workloads", "horizon_s", *_TIMINGS, "decision_digest", "journal_digest",
    ]  # fmt: skip
    runs = [{name: run[name] for name in columns if name in run} for run in comparison.runs.to_dict(orient="records")]
    body = [
        _section("What was run", _facts_table(facts) + _reproduce("compare", arguments)),
        *_scenario(arguments),
        _section("Comparison", _table(comparison_rows(comparison)) + f'<p class="note">{escape(caption)}</p>'),
        *_paired(comparison),
        _section("Plots", _figures(comparison_plots(comparison) if images is None else images)),
        _notes(comparison.assumptions, comparison.ignored, comparison.repaired),
        _section("Runs", _table([{title_of(k): human(k, v) for k, v in run.items()} for run in runs])),
    ]
    return _page(f"Comparison on {arguments['source']}", body)


def replay_html(
    result: ReplayResult, images: Mapping[str, bytes] | None = None, *, arguments: Mapping[str, Any] | None = None
) -> str:
    """Return the report of one replay; ``images`` are its plots, drawn when they are not given."""
    summary = result.summary
    apart = ("assumptions", "ignored", "repaired")
    facts = {name: value for name, value in summary.items() if name not in apart}
    if arguments is None:
        arguments = {
            "source": summary["source"],
            "policy": policy_text(summary["policy"], summary["policy_params"]),
            "seed": summary["seed"],
            "options": {name: summary[name] for name in ("cluster", "overcommit") if summary.get(name)},
        }
    body = [
        _section("What was run", _reproduce("replay", arguments)),
        *_scenario(arguments),
        _section("Result", _facts_table(facts)),
        *_work(result),
        _section("Plots", _figures(replay_plots(result) if images is None else images)),
        _notes(summary["assumptions"], summary["ignored"], summary["repaired"]),
    ]
    return _page(f"Replay of {summary['source']} with {summary['policy']}", body)


def _scenario(arguments: Mapping[str, Any]) -> list[str]:
    """The text of the scenario file, where the call came from one."""
    text = arguments.get("scenario")
    return [_section("Scenario", f"<pre>{_text(text)}</pre>")] if text else []


def _work(result: ReplayResult) -> list[str]:
    """Metrics of work, and of the capacity that it strands; nothing where there was no work."""
    outcomes = _outcomes_of([result])
    if not len(outcomes):
        return []
    dimensions = list(result.summary["utilisation"])
    free = analysis.free_capacity(result.nodes, dimensions, result.summary.get("overcommit"))
    facts: dict[str, Any] = analysis.work_metrics(outcomes)
    for name, classes in (
        ("typical", analysis.request_classes(outcomes, 0.95)),
        ("pending", analysis.pending_requests(outcomes)),
    ):
        requests = classes[[f"{dimension}_request" for dimension in dimensions]]
        for dimension, ratio in zip(
            dimensions, analysis.stranded_ratios(free, requests, classes["weight"]), strict=True
        ):
            facts[f"stranded_{dimension}_for_{name}_requests_ratio"] = ratio
    note = (
        "Stranded: the share of what is free at the end, on nodes that the request does not fit on; mean over requests."
    )
    return [_section("Work", _facts_table(facts) + f'<p class="note">{escape(note)}</p>')]


def _paired(comparison: Comparison) -> list[str]:
    """Differences to the first policy, by pairs of runs with the same seed, where there are pairs."""
    if not _has_pairs(comparison):
        return []
    baseline = comparison.policies[0]
    rows: dict[str, dict[str, str]] = {
        policy: {"policy": printable(policy)} for policy in comparison.policies if policy != baseline
    }
    note = ""
    for metric in _difference_metrics(comparison):
        table = analysis.compare_to_baseline(comparison.runs, metric, baseline).to_dict(orient="records")
        pairs = [(_rounded(row["mean"], 6), _rounded((row["high"] - row["low"]) / 2, 2)) for row in table]
        for row, text in zip(table, human_column(metric, pairs), strict=True):
            signs = f"{row['higher']} up, {row['lower']} down, {row['equal']} equal"
            rows[row["policy"]][title_of(metric)] = f"{text} ({signs})"
            note = row["note"] or note
    caption = (
        f"Mean difference to {baseline} ± half of its 95 % interval (Student's t over pairs of runs that share a seed),"
        f" and in how many pairs it is higher, lower, equal. {note}"
    )
    return [_section("Paired differences", _table(list(rows.values())) + f'<p class="note">{_text(caption)}</p>')]


def comparison_rows(comparison: Comparison, metrics: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Return the table as texts in human units, ``mean ± half-width``, one row a policy."""
    records = comparison.table.to_dict(orient="records")
    rows = [{"policy": printable(str(record["policy"]))} for record in records]
    for metric in comparison.metrics if metrics is None else metrics:
        pairs = [(_rounded(record[metric], 6), _rounded(record[metric + HALF_WIDTH], 2)) for record in records]
        for row, text in zip(rows, human_column(metric, pairs), strict=True):
            row[title_of(metric)] = text
    return rows


def _rounded(value: Any, digits: int) -> float | None:
    plain = jsonable(value)
    return None if plain is None else float(f"{plain:.{digits}g}")


def policy_text(name: str, params: Mapping[str, Any]) -> str:
    """Return a policy as ``--policy`` takes it."""
    query = "&".join(f"{key}={value}" for key, value in params.items())
    return f"{name}?{query}" if query else name


def command_line(verb: str, arguments: Mapping[str, Any]) -> str:
    """Return the command that repeats a call, quoted for a shell."""
    words = ["eru", "sim", verb, str(arguments["source"])]
    for policy in arguments.get("policies", ()) or [arguments["policy"]]:
        words += ["--policy", str(policy)]
    if arguments.get("replications", 1) != 1:
        words += ["--replications", str(arguments["replications"])]
    words += ["--seed", str(arguments["seed"])]
    for name, value in arguments["options"].items():
        if name == "check_every":
            words += ["--check"] if value else []
        elif isinstance(value, Mapping):
            words += [f"--{name}", ",".join(f"{key}={item}" for key, item in value.items())] if value else []
        else:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def python_call(verb: str, arguments: Mapping[str, Any]) -> str:
    """Return the Python call that repeats a call."""
    given = {name: value for name, value in arguments.items() if name not in ("source", "options", "objects")}
    given.update(arguments["options"])
    keywords = "".join(f", {name}={value!r}" for name, value in given.items())
    return f"eru_sim.{verb}({arguments['source']!r}{keywords})"


def _reproduce(verb: str, arguments: Mapping[str, Any]) -> str:
    call, command = python_call(verb, arguments), command_line(verb, arguments)
    text = f"<p>To repeat it:</p><pre>{_text(command)}</pre><p>or in Python:</p><pre>{_text(call)}</pre>"
    objects = arguments.get("objects")
    if objects:
        text += (
            f'<p class="note">Given as Python objects, hence to be given so again or as MODULE:CLASS: '
            f"{_text(', '.join(objects))}.</p>"
        )
    return text


def _page(title: str, body: Iterable[str]) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n"
        + "\n".join(body)
        + "\n"
        + _section("Versions", _facts_table(versions()))
        + "\n</body>\n</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{content}\n</section>"


def _facts_table(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(title_of(name))}</th><td>{_text(_fact(name, value))}</td></tr>'
        for name, value in flatten(facts).items()
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _fact(name: str, value: Any) -> str:
    parent, _, leaf = name.partition(".")
    if not value and isinstance(value, Mapping):
        return "-"
    if name == "seed":
        return str(value)
    return human(
        "_ratio" if parent == "utilisation" else parent if leaf in ("p50", "p90", "p99", "mean") else name, value
    )


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    names = list(rows[0]) if rows else []
    head = "".join(f'<th scope="col"{_right(index)}>{_text(name)}</th>' for index, name in enumerate(names))
    lines = "".join(
        "<tr>" + "".join(f"<td{_right(index)}>{_text(row[name])}</td>" for index, name in enumerate(names)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _right(index: int) -> str:
    return ' class="number"' if index else ""


def _figures(images: Mapping[str, bytes]) -> str:
    return "\n".join(
        f'<figure><img alt="{_text(_alt(name))}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{_text(_alt(name))}</figcaption></figure>"
        for name, data in images.items()
    )


def _alt(name: str) -> str:
    return name.removesuffix(".png").replace("_", " ")


def _notes(assumptions: Iterable[str], ignored: Mapping[str, int], repaired: Mapping[str, int]) -> str:
    items = "".join(f"<li>{_text(text)}</li>" for text in assumptions) or "<li>none</li>"
    rest = [
        *(f"ignored: {name} on {count:,} tasks" for name, count in ignored.items()),
        *(f"repaired: {name} {count:,}" for name, count in repaired.items()),
    ]
    rest_items = "".join(f"<li>{_text(text)}</li>" for text in rest) or "<li>nothing</li>"
    return _section("Assumptions in force", f"<ul>{items}</ul>") + _section(
        "Ignored constraints and repaired dirt", f"<ul>{rest_items}</ul>"
    )


def _text(text: object) -> str:
    """Return text that is safe in HTML, in elements and in quoted attributes."""
    return escape(printable(str(text)).encode("utf-8", "replace").decode(), quote=True)

"""Plots of replays and comparisons.

Every function draws on ``ax``, or on a figure of its own when there is none, and returns the axes. Nothing here needs a
display or touches pyplot's state. Policies differ by line style, marker or hatch as well as by colour (Okabe and Ito's
palette), so a plot survives a black-and-white printer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from eru_sim.output import heading, human, title_of, unit_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_BARS = ("#7FB8D8", "#EAAE7F", "#7FCEB9", "#E5BCD3", "#BFBFBF", "#F2CF7F", "#AAD9F4")
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "X", "P")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")
_QUANTILES = (0.5, 0.9, 0.99)
_MAX_POINTS = 4_000
GANTT_MAX = 200
GANTT_NODES_MAX = 40
_RUN_STYLES = {
    "completed": ("white", ""), "failed": ("#EAAE7F", "///"), "killed": ("#E5BCD3", "xxx"), "lost": ("0.75", "..."),
    "running": ("#AAD9F4", "--"),
}  # fmt: skip
_DURATIONS = (
    1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 60.0, 600.0,
    3600.0, 36_000.0, 86_400.0 * 2, 864_000.0, 8_640_000.0, 86_400_000.0, 864_000_000.0,
)  # fmt: skip
_DECADES = tuple(digit * 10.0**power for power in range(-9, 16) for digit in (1, 2, 5))
_TIME_UNITS = (
    (172_800.0, 86_400.0, "days"),
    (7_200.0, 3_600.0, "hours"),
    (300.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 9.0, height: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes in reading order, made without pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Return the figure as PNG bytes, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def utilisation(results_or_timeline: Any, dimension: str, ax: Axes | None = None) -> Axes:
    """Plot the allocated share of the live capacity in ``dimension`` over time.

    Takes a timeline, a ReplayResult, or a mapping of labels to either. For a single one the demand (allocated and
    queued) is drawn too.
    """
    axes = _axes(ax)
    timelines = _timelines(results_or_timeline)
    column = f"allocated_{dimension}_ratio"
    drawn = _draw_series(axes, timelines, column)
    demanded = f"demanded_{dimension}_ratio"
    if drawn and len(timelines) == 1:
        _, timeline = next(iter(timelines.items()))
        if demanded in timeline and timeline[demanded].notna().any():
            unit, _ = _time_unit(timelines)
            at, values = _series(timeline, demanded)
            label = "allocated + queued"
            axes.plot(
                at / unit, values, drawstyle="steps-post", color="0.45", linestyle=":", linewidth=1.4, label=label
            )
            axes.lines[0].set_label("allocated")
            _legend(axes)
    axes.set_title(f"Utilisation of {title_of(dimension)}")
    axes.set_ylabel("share of live capacity")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    lowest, highest = _reach(axes)
    if len(timelines) > 1 and highest > lowest:
        margin = max(0.02, (highest - lowest) * 0.12)
        axes.set_ylim(max(0.0, lowest - margin), highest + margin)
    else:
        axes.set_ylim(0.0, max(1.05, highest * 1.05))
    if highest > 1.0:
        axes.axhline(1.0, color="0.3", linewidth=0.8)
    return axes


def queue_length(results_or_timeline: Any, ax: Axes | None = None) -> Axes:
    """Plot how many workloads are queued over time. Takes what `utilisation` takes."""
    axes = _axes(ax)
    _draw_series(axes, _timelines(results_or_timeline), "queued")
    axes.set_title("Queue length")
    axes.set_ylabel("workloads queued")
    axes.yaxis.set_major_formatter(FuncFormatter(_count_label))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _, highest = _reach(axes)
    axes.set_ylim(0.0, highest * 1.05 if highest > 0 else 1.0)
    if axes.lines and highest == 0:
        _remark(axes, "nothing was ever queued")
    return axes


def delay_cdf(delays: Any, ax: Axes | None = None) -> Axes:
    """Plot the share of placed workloads whose queueing delay is at most x; takes what `cdf` takes.

    Placements without any delay are the height at which a curve enters on the left.
    """
    axes = cdf(delays, "queueing_delay_s", ax)
    axes.set_title("Queueing delay of first placements (marks: p50, p90, p99)")
    axes.set_xlabel("delay (logarithmic)")
    axes.set_ylabel("share of placed workloads")
    samples = _labelled(delays, "all").values()
    if samples and not any((np.asarray(sample) > 0).any() for sample in samples):
        _remark(axes, "no placement was delayed" if any(map(len, samples)) else "nothing was placed")
    return axes


def cdf(values: Any, metric: str, ax: Axes | None = None) -> Axes:
    """Plot the share of values that are at most x, on a logarithmic x, with p50, p90 and p99 marked.

    Takes an array, or a mapping of labels to arrays; NaN does not count. The end of ``metric`` gives the unit, as in
    `eru_sim.output.human`. Zeros are the height at which a curve enters on the left; the legend tells their share.
    """
    axes = _axes(ax)
    samples = {label: _sorted(sample) for label, sample in _labelled(values, "all").items()}
    positive = np.concatenate([sample[sample > 0] for sample in samples.values()] or [np.zeros(0)])
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.1, 10.0)
    left, right = max(low, high * 1e-9) / 1.5, high * 1.5
    if right < 100 * left:
        left, right = left / 5, right * 5
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    has_zeros = any(bool((sample <= 0).any()) for sample in samples.values())
    for index, (label, sample) in enumerate(samples.items()):
        if not len(sample):
            axes.plot([], [], label=f"{label}\n(none)", **_style(index))
            continue
        name = f"{short(label)}\n({100 * (sample <= 0).mean():.3g} % at once)" if has_zeros else label
        _draw_cdf(axes, sample, left, right, name, index)
    for quantile in _QUANTILES:
        axes.axhline(quantile, color="0.6", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    entries = [float((sample <= 0).mean()) for sample in samples.values() if len(sample)]
    lowest = max(0.0, min(entries, default=0.0) - 0.08) if len(positive) else 0.0
    shares = (0.8, 0.85, 0.9, 0.95, 0.99) if lowest > 0.7 else (0.0, 0.25, 0.5, 0.75, 0.9, 0.99)
    axes.set_yticks(shares, [f"{100 * share:.0f} %" for share in shares])
    axes.set_ylim(lowest, 1.02)
    steps = _DURATIONS if metric.endswith(("_s", "_ns")) else _DECADES
    ticks = [step for step in steps if left <= step <= right]
    axes.xaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 8)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: human(metric, float(f"{value:.3g}"))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{heading(metric)} (marks: p50, p90, p99)")
    axes.set_xlabel(f"{title_of(metric)} (logarithmic)")
    axes.set_ylabel("share that is at most x")
    axes.grid(True, which="major", alpha=0.35)
    _legend(axes)
    return axes


def allocation_curve(curves: Any, ax: Axes | None = None, *, from_ratio: float = 0.0) -> Axes:
    """Plot what is allocated against what has arrived, both as shares of the capacity.

    Takes a frame of `eru_sim.analysis.allocation_by_demand`, or a mapping of labels to such frames. What all that
    arrived would take is drawn in grey. ``from_ratio`` leaves out the start, where every policy places everything.
    """
    axes = _axes(ax)
    labelled = _labelled(curves, "allocated")
    end = max((float(curve["arrived_ratio"].max()) for curve in labelled.values() if len(curve)), default=0.0)
    end = max(end, from_ratio)
    axes.plot([from_ratio, min(1.0, end), end], [from_ratio, min(1.0, end), min(1.0, end)], color="0.6", linewidth=0.9)
    lowest = min(1.0, end)
    for index, (label, curve) in enumerate(labelled.items()):
        arrived, allocated = (curve[name].to_numpy(dtype=np.float64) for name in ("arrived_ratio", "allocated_ratio"))
        shown = arrived >= from_ratio
        if not shown.any():
            continue
        lowest = min(lowest, float(allocated[shown].min()))
        every = max(1, int(shown.sum()) // 8)
        mark: dict[str, Any] = {"marker": _MARKERS[index % len(_MARKERS)], "markevery": (index * every // 7, every)}
        final = f"{label} ({100 * allocated[-1]:.1f} %)"
        axes.plot(arrived[shown], allocated[shown], label=final, markersize=5, **_style(index), **mark)
    axes.set_title("Allocation against arrived demand (legend: at the end)")
    axes.set_xlabel("arrived, share of capacity")
    axes.set_ylabel("allocated, share of capacity")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    if end > from_ratio:
        axes.set_xlim(from_ratio, end)
        axes.set_ylim(max(0.0, lowest - 0.03 * (1 - lowest)) if from_ratio else 0.0, min(1.0, end) * 1.02)
    else:
        _remark(axes, "nothing arrived")
    axes.grid(True, alpha=0.35)
    _legend(axes)
    return axes


def gantt(outcomes: pd.DataFrame, ax: Axes | None = None, *, end_s: float | None = None) -> Axes:
    """Plot the last run of every workload as a bar on its node, with as many lanes a node as it runs at once.

    For small runs: nothing is drawn of more than `GANTT_MAX` workloads, or on more than `GANTT_NODES_MAX` nodes.
    Nodes are in order of first use from the top. How a run ended is its hatch; what still runs goes to ``end_s``, by
    default the last instant in ``outcomes``. What an eviction cut short is not drawn.
    """
    axes = _axes(ax)
    axes.set_title("Runs by node (the last one of each workload)")
    ran = outcomes[outcomes["started_s"].notna() & outcomes["node_id"].notna()].sort_values("started_s", kind="stable")
    nodes = list(dict.fromkeys(ran["node_id"]))
    if not len(ran) or len(ran) > GANTT_MAX or len(nodes) > GANTT_NODES_MAX:
        _remark(axes, f"{len(ran):,} runs on {len(nodes):,} nodes: too many to draw" if len(ran) else "nothing ran")
        return axes
    last = float(np.nanmax(outcomes[["submitted_s", "started_s", "ended_s"]].to_numpy(dtype=np.float64)))
    end = last if end_s is None else end_s
    unit, name = next((unit, name) for least, unit, name in _TIME_UNITS if end >= least)
    top, ticks = 0, []
    bars: dict[str, Any] = {}
    for node in nodes:
        runs = ran[ran["node_id"] == node]
        ends = runs["ended_s"].fillna(end).to_numpy(dtype=np.float64)
        lanes = _lanes(runs["started_s"].to_numpy(dtype=np.float64), ends)
        for run, until, lane in zip(runs.itertuples(), ends, lanes, strict=True):
            outcome = str(run.outcome)
            start, until = float(run.started_s) / unit, until / unit
            bar = _draw_run(axes, str(run.workload_id), start, until, top + lane, outcome, end / unit)
            bars.setdefault(outcome, bar).set_label(outcome)
        height = max(lanes) + 1
        ticks.append(top + (height - 1) / 2)
        top += height
        axes.axhline(top - 0.5, color="0.75", linewidth=0.6)
    axes.set_yticks(ticks, [short(str(node)) for node in nodes])
    axes.set_ylim(top - 0.5, -0.5)
    axes.set_xlim(0.0, end / unit if end > 0 else 1.0)
    axes.set_xlabel(f"time ({name})")
    axes.grid(True, axis="x", alpha=0.35)
    axes.set_axisbelow(True)
    _legend(axes)
    return axes


def differences(table: pd.DataFrame, metric: str, baseline: str, ax: Axes | None = None) -> Axes:
    """Plot the mean difference of every policy to ``baseline`` with its interval, one row a policy, from the top.

    ``table`` is that of `eru_sim.analysis.compare_to_baseline`. A filled mark is a difference whose interval leaves out
    0; a hollow one may be chance; a cross has no interval.
    """
    axes = _axes(ax)
    places = np.arange(len(table))
    means, lows, highs = (_numbers(table, name) for name in ("mean", "low", "high"))
    axes.axvline(0.0, color="0.3", linewidth=0.9)
    for place, mean, low, high in zip(places, means, lows, highs, strict=True):
        if np.isnan(mean):
            continue
        if np.isnan(low):
            axes.plot([mean], [place], marker="x", color="black", linestyle="none")
        else:
            fill = "black" if low > 0 or high < 0 else "white"
            arms = [[mean - low], [high - mean]]
            axes.errorbar([mean], [place], xerr=arms, fmt="o", color="black", markerfacecolor=fill, capsize=4)
    widest = max((abs(value) for value in (*means, *lows, *highs) if np.isfinite(value)), default=0.0)
    size = unit_of(metric, widest)[0]
    reach = widest * 1.15 if widest > 0 else 1.0
    axes.set_xlim(-reach, reach)
    ticks = MaxNLocator(nbins=6).tick_values(-reach / size, reach / size)
    axes.xaxis.set_major_locator(FixedLocator([tick * size for tick in ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(metric, float(f"{value:.6g}"), widest)))
    axes.set_yticks(places, [short(str(policy)) for policy in table["policy"]])
    axes.set_ylim(max(len(table), 1) - 0.4, -0.6)
    axes.set_title(f"{heading(metric)}: difference to {short(baseline)}", fontsize=10.5)
    axes.set_xlabel("mean of paired differences with 95 % interval (filled: leaves out 0)", fontsize=9)
    axes.grid(True, axis="x", alpha=0.35)
    if not len(table):
        _remark(axes, "no other policies")
    return axes


def policy_bars(table: pd.DataFrame, metric: str, ax: Axes | None = None) -> Axes:
    """Plot one bar a policy of ``metric``, with the 95 % interval when ``table`` has its half-width.

    ``table`` is `Comparison.table`. Policies stand in its order, from the top.
    """
    axes = _axes(ax)
    labels = [short(str(policy)) for policy in table["policy"]] if "policy" in table else []
    means = _numbers(table, metric)
    errors = _numbers(table, f"{metric}_half_width")
    places = np.arange(len(labels))
    for index, place in enumerate(places):
        if np.isnan(means[index]):
            continue
        error = errors[index] if not np.isnan(errors[index]) else None
        axes.barh(
            place,
            means[index],
            height=0.65,
            color=_BARS[index % len(_BARS)],
            edgecolor="black",
            linewidth=0.8,
            hatch=_HATCHES[index % len(_HATCHES)],
            xerr=error,
            error_kw={"ecolor": "black", "capsize": 4, "elinewidth": 1.2},
        )
    reach = np.nan_to_num(np.abs(means)) + np.nan_to_num(errors)
    widest = float(reach.max()) if len(reach) else 0.0
    for place, mean, end in zip(places, means, reach, strict=True):
        text = human(metric, None if np.isnan(mean) else float(f"{mean:.4g}"))
        axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_xlim(0.0, widest * 1.35 if widest > 0 else 1.0)
    axes.set_yticks(places, labels)
    if labels:
        axes.set_ylim(len(labels) - 0.4, -0.6)
    size = unit_of(metric, widest)[0]
    ticks = MaxNLocator(nbins=4).tick_values(0.0, widest * 1.35 / size) if widest > 0 else (0.0,)
    axes.xaxis.set_major_locator(FixedLocator([tick * size for tick in ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: human(metric, float(f"{value:.6g}"))))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(heading(metric), fontsize=10.5)
    axes.grid(True, axis="x", alpha=0.35)
    axes.set_axisbelow(True)
    if not len(labels):
        _remark(axes, "no policies")
    return axes


def node_heatmap(nodes: pd.DataFrame, dimension: str, ax: Axes | None = None) -> Axes:
    """Plot the allocated share of every node in ``dimension``, in rank order, row by row in a near-square grid.

    ``nodes`` is `ReplayResult.nodes`. White is past the last node; crossed nodes are lost, or have none of the
    dimension. The fuller, the lighter, which survives black and white.
    """
    axes = _axes(ax)
    axes.set_title(f"Allocation by node: {title_of(dimension)}", fontsize=10.5)
    axes.set_xticks([])
    axes.set_yticks([])
    total = len(nodes)
    if not total or f"{dimension}_capacity" not in nodes:
        _remark(axes, "no nodes" if not total else f"the nodes have no {dimension}")
        return axes
    columns = int(np.ceil(np.sqrt(total)))
    rows = -(-total // columns)
    capacity = nodes[f"{dimension}_capacity"].to_numpy(dtype=np.float64, na_value=np.nan)
    allocated = nodes[f"{dimension}_allocated"].to_numpy(dtype=np.float64, na_value=np.nan)
    usable = capacity > 0
    if "state" in nodes:
        usable &= ~nodes["state"].astype(str).isin(["lost", "removed"]).to_numpy()
    ratio = np.divide(allocated, capacity, out=np.full(total, np.nan), where=usable)
    grid = np.full(rows * columns, np.nan)
    grid[:total] = ratio
    away = np.full(rows * columns, np.nan)
    away[:total] = np.where(np.isnan(ratio), 1.0, np.nan)
    highest = max(1.0, float(np.nanmax(ratio)) if usable.any() else 1.0)
    shape = (rows, columns)
    image = axes.imshow(grid.reshape(shape), cmap="viridis", vmin=0.0, vmax=highest, interpolation="nearest")
    axes.get_figure().colorbar(  # type: ignore[union-attr]
        image, ax=axes, format=PercentFormatter(1.0), label="allocated / capacity", shrink=0.85
    )
    if np.isnan(ratio).any():
        edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
        crosses = np.ma.masked_invalid(away.reshape(shape))
        axes.pcolor(*edges, crosses, cmap="binary", vmin=2.0, vmax=3.0, hatch="xxx", edgecolor="0.35", linewidth=0.0)
    idle = int((ratio == 0).sum())
    unusable = int(total - usable.sum())
    crossed = [f"{unusable:,} crossed: lost or without it"] if unusable else []
    parts = [f"{total:,} nodes", f"{idle:,} empty", *crossed]
    axes.set_xlabel(", ".join(parts), fontsize=9)
    return axes


# -- shared ---------------------------------------------------------------------------------------------------------


def _axes(ax: Axes | None) -> Axes:
    return new_figure()[1][0] if ax is None else ax


def _labelled(values: Any, label: str) -> dict[str, Any]:
    return {str(key): value for key, value in values.items()} if isinstance(values, Mapping) else {label: values}


def _timelines(given: Any) -> dict[str, pd.DataFrame]:
    if isinstance(given, Mapping):
        return {str(label): _timeline(value) for label, value in given.items()}
    return {"": _timeline(given)}


def _timeline(given: Any) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(given, "timeline", given)
    return frame


def _time_unit(timelines: Mapping[str, pd.DataFrame]) -> tuple[float, str]:
    ends = [float(timeline["at_s"].max()) for timeline in timelines.values() if len(timeline)]
    span = max(ends, default=0.0)
    return next((unit, name) for least, unit, name in _TIME_UNITS if span >= least)


def _draw_series(axes: Axes, timelines: Mapping[str, pd.DataFrame], column: str) -> bool:
    """Draw one step line a timeline; return whether there was anything to draw."""
    unit, name = _time_unit(timelines)
    drawn = False
    for index, (label, timeline) in enumerate(timelines.items()):
        if column not in timeline or not timeline[column].notna().any():
            continue
        at, values = _series(timeline, column)
        style = _style(index)
        marker = _MARKERS[index % len(_MARKERS)]
        every = max(1, len(at) // 8)
        start = (index * every) // max(1, len(timelines))
        mark: dict[str, Any] = (
            {"marker": marker, "markevery": (start, every), "markersize": 5}
            if len(timelines) > 1 or len(at) < 2
            else {}
        )
        axes.plot(at / unit, values, drawstyle="steps-post", label=label or None, **style, **mark)
        drawn = True
    axes.set_xlabel(f"time ({name})")
    axes.grid(True, alpha=0.35)
    if drawn:
        axes.margins(x=0.01)
        if not any(
            len(timeline) and timeline["at_s"].max() > timeline["at_s"].min() for timeline in timelines.values()
        ):
            axes.set_xlim(0.0, 1.0)
        _legend(axes)
    else:
        _remark(axes, "no data")
    return drawn


def _series(timeline: pd.DataFrame, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at = timeline["at_s"].to_numpy(dtype=np.float64)
    return at, timeline[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _draw_cdf(axes: Axes, values: NDArray[np.float64], left: float, right: float, label: str, index: int) -> None:
    total = len(values)
    distinct, first = np.unique(values, return_index=True)
    heights = np.append(first[1:], total) / total
    if len(distinct) > _MAX_POINTS:
        kept = np.unique(np.linspace(0, len(distinct) - 1, _MAX_POINTS).astype(np.int64))
        distinct, heights = distinct[kept], heights[kept]
    above = distinct > 0
    at_left = float(heights[~above][-1]) if (~above).any() else 0.0
    x = np.concatenate([[left], distinct[above], [right]])
    y = np.concatenate([[at_left], heights[above], [1.0]])
    style = _style(index)
    marker = _MARKERS[index % len(_MARKERS)]
    axes.plot(x, y, drawstyle="steps-post", label=label, **style)
    marks = [(values[min(total - 1, int(np.ceil(q * total)) - 1)], q) for q in _QUANTILES]
    seen = [(delay, q) for delay, q in marks if delay > 0]
    axes.plot(
        [delay for delay, _ in seen], [q for _, q in seen], linestyle="none", marker=marker, markersize=6,
        color=style["color"], markeredgecolor="black", markeredgewidth=0.6,
    )  # fmt: skip


def _sorted(values: Any) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    return np.sort(sample[~np.isnan(sample)])


def _lanes(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> list[int]:
    """The first lane that is free for each run, which come in order of their starts."""
    free_from: list[float] = []
    lanes = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        lane = next((lane for lane, free in enumerate(free_from) if free <= start), len(free_from))
        free_from[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def _run_style(outcome: str) -> dict[str, Any]:
    color, hatch = _RUN_STYLES.get(outcome, ("0.9", "++"))
    return {"color": color, "hatch": hatch, "edgecolor": "black", "linewidth": 0.7}


def _draw_run(axes: Axes, label: str, start: float, end: float, place: int, outcome: str, span: float) -> Any:
    style = _run_style(outcome)
    if end - start > span * 0.012 * (len(label) + 1):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if style["hatch"] else None
        axes.text((start + end) / 2, place, short(label), ha="center", va="center", fontsize=7, bbox=box)
    return axes.barh(place, max(end - start, span / 1000), left=start, height=0.8, **style)


def _signed(metric: str, value: float, widest: float) -> str:
    """A difference in the unit of the widest one."""
    size, label, _ = unit_of(metric, widest)
    return f"{value / size:+.4g} {label}".rstrip() if value else "0"


def _reach(axes: Axes) -> tuple[float, float]:
    """Return the lowest and the highest value drawn; zeros when there is none."""
    drawn = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines]
    values = np.concatenate(drawn or [np.zeros(0)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _style(index: int) -> dict[str, Any]:
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": _LINES[index % len(_LINES)], "linewidth": 1.6}


def _legend(axes: Axes) -> None:
    """Put a legend beside the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles=handles,
            labels=[short(label, 44) for label in labels],
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            fontsize=8,
            handlelength=3.2,
        )


def short(label: str, limit: int = 28) -> str:
    """Return a label that fits a legend, with dollar signs that are not mathematics."""
    text = label if len(label) <= limit else f"{label[: limit - 9]}…{label[-8:]}"
    return text.replace("$", r"\$")


def _remark(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.35", fontsize=11)


def _numbers(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    if column not in table:
        return np.full(len(table), np.nan)
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _count_label(value: float, _: object = None) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def grid_of(draw: Sequence[Callable[[Axes], object]], *, columns: int, width: float, height: float) -> Figure:
    """Return a figure with one panel for each function in ``draw``, which is called with its axes."""
    wide = max(1, min(len(draw), columns))
    rows = max(1, -(-len(draw) // wide))
    figure, axes = new_figure(rows, wide, width=width * wide, height=height * rows)
    for function, ax in zip(draw, axes, strict=False):
        function(ax)
    for ax in axes[len(draw) :]:
        ax.set_axis_off()
    return figure

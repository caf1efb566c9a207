"""The plots of a run's page, as SVG text. Matplotlib is used through its objects, never through pyplot's global state.

Every plot over steps carries the stages as bands in its background. Functions return None where the run has nothing to
draw.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Record = Mapping[str, Any]
SIZE = (5.4, 3.1)
# Past this many steps a line shows means over equal groups of steps: more points than pixels only make the page heavy.
MOST_POINTS = 500
# Where logarithms are allowed they are used past this ratio of the largest value to the smallest.
LOG_RANGE = 20.0
# Colours of Okabe and Ito, told apart by readers with any colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#b2182b", "#8e5aa8", "#777777"
DOMAIN_COLORS = {"math": BLUE, "code": ORANGE}
BANDS = ("#eef2f7", "#ffffff")
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "acejax",
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Stage:
    """One stage as the log shows it. `first` and `last` are global steps; `number` counts from 1; `planned` may be
    unknown; `sampled`: it learned from completions of its own, which have a reward.
    """

    number: int
    name: str
    kind: str
    sampled: bool
    domain: str
    first: int
    last: int
    planned: int | None


@dataclass(frozen=True)
class Line:
    """One curve: `field` is the step record's key; `faint` puts it behind the others."""

    field: str
    label: str
    color: str
    style: str = "-"
    faint: bool = False


def by_step(
    steps: Sequence[Record],
    stages: Sequence[Stage],
    lines: Sequence[Line],
    unit: str,
    share: bool = False,
    log: bool = False,
) -> str | None:
    """Curves over the global step, broken where a stage ends. `share` says that values are 0 to 1 and shows
    percentages.
    """
    lines = [line for line in lines if any(math.isfinite(number(step, line.field)) for step in steps)]
    if not lines:
        return None
    shown = [step for step in steps if any(line.field in step for line in lines)]
    figure, axes = _canvas(SIZE)
    positive: list[float] = []
    for line in lines:
        label: str | None = line.label
        for stage in stages:
            points = [(step["step"], number(step, line.field)) for step in shown if step.get("stage") == stage.name]
            xs, ys = _thinned(points)
            if not any(map(math.isfinite, ys)):
                continue
            positive += [y for y in ys if 0 < y < math.inf]
            look: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.9} if line.faint else {"linewidth": 1.5}
            mark = "o" if len(xs) < 25 else ""
            axes.plot(xs, ys, line.style, color=line.color, label=label, marker=mark, markersize=2.5, **look)
            label = None
    if log and positive and max(positive) > LOG_RANGE * min(positive):
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    _finish(figure, axes, [step["step"] for step in shown], stages, unit, share)
    if len(lines) > 1:
        _legend(figure, axes)
    return _svg(figure)


def reward(steps: Sequence[Record], stages: Sequence[Stage]) -> str | None:
    """Mean reward of each step, faint, and its mean over the last ten steps of the stage."""
    smooth: list[dict[str, Any]] = []
    for stage in stages:
        mine = [step for step in steps if step.get("stage") == stage.name]
        for at, step in enumerate(mine):
            window = [number(other, "reward") for other in mine[max(0, at - 9) : at + 1]]
            finite = [value for value in window if math.isfinite(value)]
            smooth.append({**step, "reward_smooth": sum(finite) / len(finite) if finite else None})
    lines = [Line("reward", "each step", GREEN, faint=True), Line("reward_smooth", "mean of ten steps", GREEN)]
    return by_step([step for step in smooth if "reward" in step], stages, lines, "mean reward")


def time_split(steps: Sequence[Record], stages: Sequence[Stage]) -> str | None:
    """Seconds of each step, stacked: sampling, waiting for the verifiers, updating, the rest. Dashed: seconds the
    verifiers worked.
    """
    shown = [step for step in steps if math.isfinite(number(step, "seconds_sample"))]
    if not shown:
        return None
    figure, axes = _canvas(SIZE)
    fields = ("seconds_sample", "seconds_verify", "seconds_update", "seconds_step", "seconds_verify_busy")
    columns = []
    for field in fields:
        xs, ys = _thinned([(step["step"], number(step, field)) for step in shown])
        columns.append([y if math.isfinite(y) else 0.0 for y in ys])
    sample, verify, update, whole, busy = columns
    rest = [max(0.0, w - s - v - u) for s, v, u, w in zip(sample, verify, update, whole, strict=True)]
    edges = [x - 0.5 for x in xs] + [xs[-1] + 0.5]
    base = [0.0] * len(xs)
    parts = [(sample, "sampling", "#56b4e9"), (verify, "waiting for verdicts", PURPLE), (update, "updating", GREEN)]
    for values, label, color in [*parts, (rest, "other", "#cccccc")]:
        top = [b + v for b, v in zip(base, values, strict=True)]
        if any(values):
            axes.stairs(top, edges, baseline=base, fill=True, color=color, label=label)
        base = top
    if any(busy):
        axes.plot(xs, busy, "--", color="#333333", linewidth=1, label="verifiers busy")
    # One slow step (compilation) must not flatten all others.
    ordered = sorted(base)
    usual = ordered[int(0.95 * (len(ordered) - 1))]
    if ordered[-1] > 3 * usual > 0:
        axes.set_ylim(0, 1.6 * usual)
        axes.annotate(
            f"slowest step: {ordered[-1]:.1f} s",
            (0.99, 0.97),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=8,
        )
    _finish(figure, axes, [step["step"] for step in shown], stages, "seconds per step", False)
    _legend(figure, axes)
    return _svg(figure)


def held_out(evals: Sequence[Record], stages: Sequence[Stage], color: str) -> str | None:
    """One domain's avg@k on held-out problems by step: the small set a thin line in its band, the whole set squares,
    95% intervals both.
    """
    measured = [record for record in evals if math.isfinite(number(record, "avg"))]
    if not measured:
        return None
    figure, axes = _canvas(SIZE)
    small = [record for record in measured if record.get("split") != "full"]
    full = [record for record in measured if record.get("split") == "full"]
    if small:
        xs, ys, lows, highs = _with_intervals(small)
        axes.fill_between(xs, lows, highs, color=color, alpha=0.15, linewidth=0)
        axes.plot(xs, ys, "-o", color=color, linewidth=1, markersize=3, alpha=0.8, label="small set")
    if full:
        xs, ys, lows, highs = _with_intervals(full)
        errors = [
            [y - low for y, low in zip(ys, lows, strict=True)],
            [high - y for y, high in zip(ys, highs, strict=True)],
        ]
        look: dict[str, Any] = {"marker": "s", "markersize": 7, "markeredgecolor": "white", "capsize": 4, "zorder": 4}
        axes.errorbar(xs, ys, yerr=errors, color=color, linestyle=":", linewidth=1.2, label="whole set", **look)
    places = [int(record["step"]) for record in measured]
    _finish(
        figure, axes, places, stages, f"avg@{measured[-1].get('k', 'k')}", True, left=supervised_cut(places, stages)
    )
    _legend(figure, axes, columns=2)
    return _svg(figure)


def supervised_cut(places: Sequence[int], stages: Sequence[Stage]) -> int | None:
    """Where the accuracy plot begins if supervised steps would take most of its width; None to show all."""
    learned = [stage for stage in stages if stage.sampled]
    if not learned:
        return None
    begin, end = min(stage.first for stage in learned), max(stage.last for stage in learned)
    cut = begin - max(1, (end - begin) // 4)
    return cut if min(places) < cut else None


def by_difficulty(start: Record, end: Record | None, color: str) -> str | None:
    """Bars of avg@k per difficulty: the start's pale, the end's full. The count of problems stands under each
    difficulty.
    """
    tables = [record.get("by_difficulty") or {} for record in (start, end) if record is not None]
    levels = sorted(
        {str(level) for table in tables for level in table}, key=lambda level: (not level.isdigit(), level.zfill(8))
    )
    if not levels:
        return None
    figure, axes = _canvas(SIZE)
    looks: list[dict[str, Any]] = [{"color": color, "alpha": 0.4, "label": "start"}, {"color": color, "label": "end"}]
    width = 0.8 / len(tables)
    for at, (table, look) in enumerate(zip(tables, looks, strict=False)):
        xs = [place + (at - (len(tables) - 1) / 2) * width for place in range(len(levels))]
        heights = [number(table.get(level) or {}, "avg") for level in levels]
        bars = axes.bar(xs, [h if math.isfinite(h) else 0.0 for h in heights], width * 0.94, **look)
        axes.bar_label(bars, [f"{100 * h:.0f}" if math.isfinite(h) else "-" for h in heights], fontsize=8, padding=1)
    counts = [(tables[-1].get(level) or tables[0].get(level) or {}).get("problems", "?") for level in levels]
    axes.set_xticks(range(len(levels)), [f"{level}\nn={count}" for level, count in zip(levels, counts, strict=True)])
    axes.set_xlabel("difficulty")
    axes.set_ylabel("avg@k")
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if len(tables) > 1:
        _legend(figure, axes, columns=2)
    return _svg(figure)


def number(record: Record, field: str) -> float:
    """The record's value as a float; NaN if it is absent, null or no number."""
    value = record.get(field)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _with_intervals(records: Sequence[Record]) -> tuple[list[int], list[float], list[float], list[float]]:
    """Steps, averages and interval ends; an average without an interval stands for its own."""
    xs = [int(record["step"]) for record in records]
    ys = [number(record, "avg") for record in records]
    lows, highs = ([number(record, field) for record in records] for field in ("avg_low", "avg_high"))
    lows = [min(low, y) if math.isfinite(low) else y for low, y in zip(lows, ys, strict=True)]
    highs = [max(high, y) if math.isfinite(high) else y for high, y in zip(highs, ys, strict=True)]
    return xs, ys, lows, highs


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
    if len(points) <= MOST_POINTS:
        return [float(x) for x, _ in points], [y for _, y in points]
    size = math.ceil(len(points) / MOST_POINTS)
    xs, ys = [], []
    for at in range(0, len(points), size):
        group = points[at : at + size]
        finite = [y for _, y in group if math.isfinite(y)]
        xs.append(sum(x for x, _ in group) / len(group))
        ys.append(sum(finite) / len(finite) if finite else math.nan)
    return xs, ys


def _canvas(size: tuple[float, float]) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.add_subplot()


def _finish(
    figure: Figure,
    axes: Axes,
    places: Sequence[int],
    stages: Sequence[Stage],
    unit: str,
    share: bool,
    left: int | None = None,
) -> None:
    """Axis range, labels and the bands of the stages inside it, named where the name fits and numbered where not."""
    first, last = left if left is not None else min(places), max(places)
    margin = max(0.5, 0.015 * (last - first))
    low, high = first - margin, last + margin
    room = figure.get_size_inches()[0] * 11.5  # characters of the label font across the axes
    for stage in stages:
        begin, end = max(low, stage.first - 0.5), min(high, stage.last + 0.5)
        if begin >= end or stage.last < first or stage.first > last:
            continue
        axes.axvspan(begin, end, color=BANDS[stage.number % 2], zorder=-5, linewidth=0)
        if begin > first:
            axes.axvline(begin, color="#b8c2cf", linewidth=0.8, zorder=-4)
        fits = len(stage.name) + 1 <= room * (end - begin) / (high - low)
        name = stage.name if fits else str(stage.number)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
        axes.annotate(name, ((begin + end) / 2, 1.01), fontsize=8, color="#51606f", **place)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.grid(axis="y", color="#d5dbe3", linewidth=0.6)
    axes.set_axisbelow(True)
    if share:
        axes.set_ylim(0, max(0.05, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if axes.get_ylim()[1] > 0.1 else 1))


def _legend(figure: Figure, axes: Axes, columns: int = 1) -> None:
    if columns > 1 or len(axes.get_legend_handles_labels()[0]) > 2:
        figure.legend(
            loc="outside lower center", ncols=max(columns, 3 if columns == 1 else 2), frameon=False, fontsize=9
        )
    else:
        axes.legend(loc="best", frameon=True, framealpha=0.8, edgecolor="none", fontsize=9)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        # Without a date the same run gives the same page.
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()

"""The plots of a run's page, as SVG text.

Every plot over steps carries the stages as bands in its background. Functions return None where the run has nothing to
draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from acejax.report.canvas import (
    GREEN,
    PALE,
    PURPLE,
    SKY,
    as_percentages,
    canvas,
    legend,
    legend_below,
    over_steps,
    svg,
)
from acejax.report.reading import Record, Stage, finite, number

# Past this many steps a line shows means over equal groups of steps: more points than pixels only make the page heavy.
MOST_POINTS = 500
# A line of fewer points than this marks each of them.
MARKED_POINTS = 25
# Where logarithms are allowed they are used past this ratio of the largest value to the smallest.
LOG_RANGE = 20.0
# The reward's second line is the mean of so many steps.
SMOOTH_STEPS = 10
# Where a step's seconds go, in the order in which they are stacked.
SECONDS = (
    ("seconds_sample", "sampling", SKY),
    ("seconds_verify", "waiting for verdicts", PURPLE),
    ("seconds_update", "updating", GREEN),
)


@dataclass(frozen=True)
class Line:
    """One curve: `field` is the step record's key; `faint` puts it behind the others."""

    field: str
    label: str
    color: str
    style: str = "-"
    faint: bool = False

    @property
    def look(self) -> dict[str, Any]:
        if self.faint:
            return {"color": self.color, "alpha": 0.35, "linewidth": 0.9}
        return {"color": self.color, "linewidth": 1.5}


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
    lines = [line for line in lines if finite(steps, line.field)]
    if not lines:
        return None
    fields = {line.field for line in lines}
    shown = [step for step in steps if not fields.isdisjoint(step)]

    figure, axes = canvas()
    values: list[float] = []
    for line in lines:
        values += _draw(axes, line, shown, stages)
    if log and _wide(values):
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))

    over_steps(figure, axes, [step["step"] for step in shown], stages, unit)
    if share:
        as_percentages(axes)
    if len(lines) > 1:
        legend(figure, axes)
    return svg(figure)


def _draw(axes: Axes, line: Line, steps: Sequence[Record], stages: Sequence[Stage]) -> list[float]:
    """Draws the line in one piece per stage and returns the values drawn."""
    drawn: list[float] = []
    label: str | None = line.label
    for stage in stages:
        xs, ys = _thinned(stage.of(steps), line.field)
        if not any(map(math.isfinite, ys)):
            continue
        mark = ""
        if len(xs) < MARKED_POINTS:
            mark = "o"
        axes.plot(xs, ys, line.style, label=label, marker=mark, markersize=2.5, **line.look)
        drawn += ys
        # The legend names the first piece only.
        label = None
    return drawn


def _wide(values: Sequence[float]) -> bool:
    """Whether the values are spread so widely that they ask for logarithms."""
    positive = [value for value in values if 0 < value < math.inf]
    return bool(positive) and max(positive) > LOG_RANGE * min(positive)


def reward(steps: Sequence[Record], stages: Sequence[Stage]) -> str | None:
    """Mean reward of each step, faint, and its mean over the last ten steps of the stage."""
    smooth: list[Record] = []
    for stage in stages:
        mine = stage.of(steps)
        for at, step in enumerate(mine):
            window = mine[max(0, at + 1 - SMOOTH_STEPS) : at + 1]
            smooth.append({**step, "reward_smooth": _mean(finite(window, "reward"))})
    lines = (
        Line("reward", "each step", GREEN, faint=True),
        Line("reward_smooth", "mean of ten steps", GREEN),
    )
    sampled = [step for step in smooth if "reward" in step]
    return by_step(sampled, stages, lines, "mean reward")


def time_split(steps: Sequence[Record], stages: Sequence[Stage]) -> str | None:
    """Seconds of each step, stacked: sampling, waiting for the verifiers, updating, the rest. Dashed: seconds the
    verifiers worked.
    """
    shown = [step for step in steps if math.isfinite(number(step, "seconds_sample"))]
    if not shown:
        return None
    figure, axes = canvas()
    xs, rest = _seconds(shown, "seconds_step")
    top = [0.0] * len(xs)
    for field, label, color in SECONDS:
        _, part = _seconds(shown, field)
        top = _stack(axes, xs, top, part, label, color)
        rest = [left - seconds for left, seconds in zip(rest, part, strict=True)]
    rest = [max(0.0, left) for left in rest]
    top = _stack(axes, xs, top, rest, "other", PALE)

    _, busy = _seconds(shown, "seconds_verify_busy")
    if any(busy):
        axes.plot(xs, busy, "--", color="#333333", linewidth=1, label="verifiers busy")
    _cut_slow_steps(axes, top)
    over_steps(figure, axes, [step["step"] for step in shown], stages, "seconds per step")
    legend(figure, axes)
    return svg(figure)


def _seconds(steps: Sequence[Record], field: str) -> tuple[list[float], list[float]]:
    """Places and seconds; 0 where a step has none."""
    xs, ys = _thinned(steps, field)
    return xs, [_zero_unless_finite(y) for y in ys]


def _stack(
    axes: Axes,
    xs: Sequence[float],
    base: Sequence[float],
    values: Sequence[float],
    label: str,
    color: str,
) -> list[float]:
    """Fills the space that `values` take on top of `base` and returns its upper edge. What is 0 throughout is not
    named.
    """
    top = [below + value for below, value in zip(base, values, strict=True)]
    if any(values):
        edges = [x - 0.5 for x in xs] + [xs[-1] + 0.5]
        axes.stairs(top, edges, baseline=base, fill=True, color=color, label=label)
    return top


def _cut_slow_steps(axes: Axes, seconds: Sequence[float]) -> None:
    """One slow step (compilation) must not flatten all others: it is cut off and told in words."""
    ordered = sorted(seconds)
    slowest = ordered[-1]
    usual = ordered[int(0.95 * (len(ordered) - 1))]
    if slowest <= 3 * usual or usual <= 0:
        return
    axes.set_ylim(0, 1.6 * usual)
    axes.annotate(
        f"slowest step: {slowest:.1f} s",
        (0.99, 0.97),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=8,
    )


def held_out(evals: Sequence[Record], stages: Sequence[Stage], color: str) -> str | None:
    """One domain's avg@k on held-out problems by step: the small set a thin line in its band, the whole set squares,
    95% intervals both.
    """
    measured = [record for record in evals if math.isfinite(number(record, "avg"))]
    if not measured:
        return None
    figure, axes = canvas()
    small = [record for record in measured if record.get("split") != "full"]
    if small:
        _draw_small_set(axes, small, color)
    full = [record for record in measured if record.get("split") == "full"]
    if full:
        _draw_whole_set(axes, full, color)
    places = [int(record["step"]) for record in measured]
    unit = f"avg@{measured[-1].get('k', 'k')}"
    over_steps(figure, axes, places, stages, unit, left=supervised_cut(places, stages))
    as_percentages(axes)
    legend_below(figure, columns=2)
    return svg(figure)


def _draw_small_set(axes: Axes, records: Sequence[Record], color: str) -> None:
    xs, ys, lows, highs = _with_intervals(records)
    axes.fill_between(xs, lows, highs, color=color, alpha=0.15, linewidth=0)
    axes.plot(xs, ys, "-o", color=color, linewidth=1, markersize=3, alpha=0.8, label="small set")


def _draw_whole_set(axes: Axes, records: Sequence[Record], color: str) -> None:
    xs, ys, lows, highs = _with_intervals(records)
    below = [y - low for y, low in zip(ys, lows, strict=True)]
    above = [high - y for y, high in zip(ys, highs, strict=True)]
    axes.errorbar(
        xs,
        ys,
        yerr=[below, above],
        color=color,
        linestyle=":",
        linewidth=1.2,
        label="whole set",
        marker="s",
        markersize=7,
        markeredgecolor="white",
        capsize=4,
        zorder=4,
    )


def _with_intervals(
    records: Sequence[Record],
) -> tuple[list[int], list[float], list[float], list[float]]:
    """Steps, averages and interval ends; an average without an interval stands for its own."""
    xs = [int(record["step"]) for record in records]
    ys = [number(record, "avg") for record in records]
    lows, highs = [], []
    for record, average in zip(records, ys, strict=True):
        # Of a missing end, as of an empty interval, nothing but the average is left.
        lows.append(min([average, *finite([record], "avg_low")]))
        highs.append(max([average, *finite([record], "avg_high")]))
    return xs, ys, lows, highs


def supervised_cut(places: Sequence[int], stages: Sequence[Stage]) -> int | None:
    """Where the accuracy plot begins if supervised steps would take most of its width; None to show all."""
    learned = [stage for stage in stages if stage.sampled]
    if not learned or not places:
        return None
    begin = min(stage.first for stage in learned)
    end = max(stage.last for stage in learned)
    cut = begin - max(1, (end - begin) // 4)
    if min(places) >= cut:
        return None
    return cut


def by_difficulty(measured: Sequence[Record], color: str) -> str | None:
    """Bars of avg@k per difficulty, of one measurement or of the start's and the end's: the start's pale, the end's
    full. The count of problems stands under each difficulty.
    """
    tables = [record.get("by_difficulty") or {} for record in measured]
    names = {str(level) for table in tables for level in table}
    levels = sorted(names, key=_difficulty_order)
    if not levels:
        return None
    figure, axes = canvas()
    looks: tuple[dict[str, Any], ...] = ({"alpha": 0.4, "label": "start"}, {"label": "end"})
    width = 0.8 / len(tables)
    for at, table in enumerate(tables):
        # The bars of one difficulty stand side by side around its place.
        shift = (at - (len(tables) - 1) / 2) * width
        xs = [place + shift for place in range(len(levels))]
        heights = [number(table.get(level) or {}, "avg") for level in levels]
        drawn = [_zero_unless_finite(height) for height in heights]
        bars = axes.bar(xs, drawn, width * 0.94, color=color, **looks[at])
        axes.bar_label(bars, [_whole_percent(height) for height in heights], fontsize=8, padding=1)

    labels = []
    for level in levels:
        known = tables[-1].get(level) or tables[0].get(level) or {}
        labels.append(f"{level}\nn={known.get('problems', '?')}")
    axes.set_xticks(range(len(levels)), labels)
    axes.set_xlabel("difficulty")
    axes.set_ylabel("avg@k")
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if len(tables) > 1:
        legend_below(figure, columns=2)
    return svg(figure)


def _difficulty_order(level: str) -> tuple[bool, str]:
    """Numbers by their value, then words."""
    return not level.isdigit(), level.zfill(8)


def _whole_percent(share: float) -> str:
    if not math.isfinite(share):
        return "-"
    return f"{100 * share:.0f}"


def _zero_unless_finite(value: float) -> float:
    if not math.isfinite(value):
        return 0.0
    return value


def _mean(values: Sequence[float]) -> float:
    """NaN where there are none."""
    if not values:
        return math.nan
    return sum(values) / len(values)


def _thinned(steps: Sequence[Record], field: str) -> tuple[list[float], list[float]]:
    """Global steps and the field's values there; past MOST_POINTS their means over equal groups of steps."""
    if len(steps) <= MOST_POINTS:
        return [float(step["step"]) for step in steps], [number(step, field) for step in steps]
    size = math.ceil(len(steps) / MOST_POINTS)
    xs, ys = [], []
    for at in range(0, len(steps), size):
        group = steps[at : at + size]
        xs.append(_mean([step["step"] for step in group]))
        ys.append(_mean(finite(group, field)))
    return xs, ys

"""What all plots of a page share: colours, axes with the stages as bands behind them, legends, and the SVG text.

Matplotlib is used through its objects, never through pyplot's global state.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from acejax.report.reading import Stage

SIZE = (5.4, 3.1)
# Colours of Okabe and Ito, told apart by readers with any colour vision.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#d55e00", "#009e73", "#b2182b"
PURPLE, SKY, GREY, PALE = "#8e5aa8", "#56b4e9", "#777777", "#cccccc"
DOMAIN_COLORS = {"math": BLUE, "code": ORANGE}
BANDS = ("#eef2f7", "#ffffff")
# Characters of a stage's name that fit on an inch above the plot.
NAME_DENSITY = 11.5
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Without a salt of its own an SVG would get other ids each time.
    "svg.hashsalt": "acejax",
    "legend.fontsize": 9,
}


def canvas() -> tuple[Figure, Axes]:
    """An empty picture with one pair of axes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.add_subplot()


def over_steps(
    figure: Figure,
    axes: Axes,
    places: Sequence[int],
    stages: Sequence[Stage],
    unit: str,
    left: int | None = None,
) -> None:
    """Makes the x axis one of global steps, from the first of `places` (or from `left`) to the last, with the stages
    as bands; `unit` names the y axis.
    """
    first, last = min(places), max(places)
    if left is not None:
        first = left
    margin = max(0.5, 0.015 * (last - first))
    low, high = first - margin, last + margin
    room = figure.get_size_inches()[0] * NAME_DENSITY
    for stage in stages:
        if stage.last < first or stage.first > last:
            continue
        begin = max(low, stage.first - 0.5)
        end = min(high, stage.last + 0.5)
        if begin < end:
            _band(axes, stage, begin, end, room * (end - begin) / (high - low))
            if begin > first:
                axes.axvline(begin, color="#b8c2cf", linewidth=0.8, zorder=-4)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.grid(axis="y", color="#d5dbe3", linewidth=0.6)
    axes.set_axisbelow(True)


def _band(axes: Axes, stage: Stage, begin: float, end: float, room: float) -> None:
    """A stage's band, named where the name fits into `room` characters and numbered where not."""
    axes.axvspan(begin, end, color=BANDS[stage.number % 2], zorder=-5, linewidth=0)
    name = stage.name
    if len(name) + 1 > room:
        name = str(stage.number)
    axes.annotate(
        name,
        ((begin + end) / 2, 1.01),
        xycoords=("data", "axes fraction"),
        fontsize=8,
        color="#51606f",
        ha="center",
        va="bottom",
    )


def as_percentages(axes: Axes) -> None:
    """Shows the y axis, whose values are 0 to 1, in percent from 0 on."""
    top = max(0.05, axes.get_ylim()[1])
    axes.set_ylim(0, top)
    decimals = 1
    if top > 0.1:
        decimals = 0
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def legend(figure: Figure, axes: Axes) -> None:
    """Names what is drawn: two things within the axes, more below them."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 2:
        legend_below(figure, columns=3)
    else:
        axes.legend(loc="best", frameon=True, framealpha=0.8, edgecolor="none", fontsize=9)


def legend_below(figure: Figure, columns: int) -> None:
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def svg(figure: Figure) -> str:
    """The picture as the text of an SVG file."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        # Without a date the same run gives the same page.
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()

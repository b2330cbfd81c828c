"""An audit's charts as inline SVG."""

from textwrap import wrap
from typing import TYPE_CHECKING

from fedloom.server.evaluator.findings import Chart
from fedloom.server.report.bars import (
    COLOURS,
    bar_names,
    draw_bars,
    draw_lying_bars,
    edges_of,
)
from fedloom.server.report.drawing import MARKERS, MUTED, canvas, styled, svg, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 25
# More bars than this lie on their side, their names beside them.
_UPRIGHT = 8
# So many letters stand beside an axis.
_WIDE, _HIGH = 54, 34


def chart_svg(chart: Chart, *, name: str) -> str:
    """The drawing of a chart; `name` is unique on its page."""
    with styled():
        names = [] if chart.kind == "line" or edges_of(chart) else bar_names(chart)
        lying = len(names) > _UPRIGHT
        figure, axes = canvas(width=4.4, height=0.9 + 0.24 * len(names) if lying else 2.9)
        (draw_lying_bars if lying else _DRAWN[chart.kind])(axes, chart)
        axes.set_xlabel(_within(chart.y if lying else chart.x, _WIDE))
        axes.set_ylabel("" if lying else _within(chart.y, _HIGH))
        if len(chart.series) > 1:
            figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
        return svg(figure, name=name, label="Chart")


def _within(label: str, letters: int) -> str:
    return "\n".join(wrap(label, letters))


def _lines(axes: "Axes", chart: Chart) -> None:
    for at, series in enumerate(chart.series):
        colour = COLOURS[at % len(COLOURS)]
        axes.plot(
            [float(x) for x in series.x],
            series.y,
            color=colour,
            linewidth=2 if at == 0 else 1.4,
            linestyle="-" if at == 0 else "--",
            marker=MARKERS[at % len(MARKERS)] if len(series.y) <= _MANY else "",
            markersize=4.5,
            label=series.name,
        )
        if series.low and series.high:
            axes.fill_between(
                [float(x) for x in series.x],
                series.low,
                series.high,
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
    if chart.diagonal:
        _diagonal(axes)
    if all(float(x).is_integer() for series in chart.series for x in series.x):
        whole_ticks(axes.xaxis)


def _diagonal(axes: "Axes") -> None:
    """As far as the lines go, and no farther."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = max(left, bottom), min(right, top)
    axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=":")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


_DRAWN = {"line": _lines, "bars": draw_bars}

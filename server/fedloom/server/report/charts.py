"""An audit's charts as inline SVG."""

from typing import TYPE_CHECKING

from fedloom.server.evaluator.findings import Chart, Series
from fedloom.server.report.drawing import (
    ACCENT,
    MARKERS,
    MUTED,
    SITES,
    canvas,
    styled,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The first series is the one that a chart is about.
_COLOURS = (ACCENT, MUTED, *SITES[1:])
_MANY = 25
# More bars than this lie on their side, their names beside them.
_UPRIGHT = 8


def chart_svg(chart: Chart, *, name: str) -> str:
    """The drawing of a chart; `name` is unique on its page."""
    with styled():
        lying = chart.kind == "bars" and len(chart.series[0].x) > _UPRIGHT
        tall = 0.9 + 0.24 * len(chart.series[0].x) if lying else 2.9
        figure, axes = canvas(width=4.4, height=tall)
        (_lying_bars if lying else _DRAWN[chart.kind])(axes, chart)
        axes.set_xlabel(chart.y if lying else chart.x)
        axes.set_ylabel("" if lying else chart.y)
        if len(chart.series) > 1:
            figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
        return svg(figure, name=name, label="Chart")


def _lines(axes: "Axes", chart: Chart) -> None:
    for at, series in enumerate(chart.series):
        colour = _COLOURS[at % len(_COLOURS)]
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


def _diagonal(axes: "Axes") -> None:
    """As far as the lines go, and no farther."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = max(left, bottom), min(right, top)
    axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=":")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _bars(axes: "Axes", chart: Chart) -> None:
    width = 0.8 / len(chart.series)
    names = chart.series[0].x
    for at, series in enumerate(chart.series):
        places = [place + (at - (len(chart.series) - 1) / 2) * width for place in range(len(names))]
        axes.bar(
            places,
            series.y,
            width=0.9 * width,
            color=_COLOURS[at % len(_COLOURS)],
            label=series.name,
            yerr=_whiskers(series),
            error_kw={"ecolor": MUTED, "elinewidth": 1.2},
        )
    slanted = max(len(str(name)) for name in names) * len(names) > 40
    axes.set_xticks(
        range(len(names)),
        [_tick(name) for name in names],
        rotation=35 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.grid(visible=False, axis="x")


def _lying_bars(axes: "Axes", chart: Chart) -> None:
    names, height = chart.series[0].x, 0.8 / len(chart.series)
    for at, series in enumerate(chart.series):
        places = [row + (at - (len(chart.series) - 1) / 2) * height for row in range(len(names))]
        axes.barh(
            places,
            series.y,
            height=0.9 * height,
            color=_COLOURS[at % len(_COLOURS)],
            label=series.name,
            xerr=_whiskers(series),
            error_kw={"ecolor": MUTED, "elinewidth": 1.2},
        )
    axes.set_yticks(range(len(names)), [_tick(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(visible=False, axis="y")


def _whiskers(series: Series) -> list[list[float]] | None:
    if not (series.low and series.high):
        return None
    below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    above = [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]
    return [below, above]


def _tick(name: object) -> str:
    return f"{name:g}" if isinstance(name, float) else str(name)


_DRAWN = {"line": _lines, "bars": _bars}

"""An audit's charts as inline SVG."""

from typing import TYPE_CHECKING, Any

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
        lying = chart.kind == "bars" and len(bar_names(chart)) > _UPRIGHT
        tall = 0.9 + 0.24 * len(bar_names(chart)) if lying else 2.9
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
    names = bar_names(chart)
    for at, series in enumerate(chart.series):
        places, width = _places(chart, names, at)
        axes.bar(places, series.y, width=width, yerr=_whiskers(series), **_look(at, series))
    slanted = max(len(name) for name in names) * len(names) > 40
    axes.set_xticks(
        range(len(names)),
        names,
        rotation=35 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.grid(visible=False, axis="x")


def _lying_bars(axes: "Axes", chart: Chart) -> None:
    names = bar_names(chart)
    for at, series in enumerate(chart.series):
        places, height = _places(chart, names, at)
        axes.barh(places, series.y, height=height, xerr=_whiskers(series), **_look(at, series))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(visible=False, axis="y")


def bar_names(chart: Chart) -> list[str]:
    """Every name that any series has, in the order in which they come; not all have each."""
    return list(dict.fromkeys(_tick(name) for series in chart.series for name in series.x))


def _places(chart: Chart, names: list[str], at: int) -> tuple[list[float], float]:
    """Where the bars of a series stand, each at its own name, and how thick they are."""
    thick = 0.8 / len(chart.series)
    aside = (at - (len(chart.series) - 1) / 2) * thick
    return [names.index(_tick(name)) + aside for name in chart.series[at].x], 0.9 * thick


def _look(at: int, series: Series) -> dict[str, Any]:
    return {
        "color": _COLOURS[at % len(_COLOURS)],
        "label": series.name,
        "error_kw": {"ecolor": MUTED, "elinewidth": 1.2},
    }


def _whiskers(series: Series) -> list[list[float]] | None:
    if not (series.low and series.high):
        return None
    below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    above = [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]
    return [below, above]


def _tick(name: object) -> str:
    return f"{name:g}" if isinstance(name, float) else str(name)


_DRAWN = {"line": _lines, "bars": _bars}

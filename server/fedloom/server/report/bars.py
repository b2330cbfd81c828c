"""Bars of a chart: beside each other under names, on their side, or as a histogram over numbers."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fedloom.server.evaluator.findings import Chart, Series
from fedloom.server.report.drawing import ACCENT, MUTED, SITES, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The first series is the one that a chart is about.
COLOURS = (ACCENT, MUTED, *SITES[1:])


def draw_bars(axes: "Axes", chart: Chart) -> None:
    """Side by side under their names; over numbers, a histogram."""
    edges = edges_of(chart)
    if edges:
        _histogram(axes, chart, edges)
        return
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


def draw_lying_bars(axes: "Axes", chart: Chart) -> None:
    """One under another, with their names at the left."""
    names = bar_names(chart)
    for at, series in enumerate(chart.series):
        places, height = _places(chart, names, at)
        axes.barh(places, series.y, height=height, xerr=_whiskers(series), **_look(at, series))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.grid(visible=False, axis="y")


def _histogram(axes: "Axes", chart: Chart, edges: list[float]) -> None:
    """The first series filled, others as outlines over it, on an axis of numbers."""
    for at, series in enumerate(chart.series):
        axes.stairs(
            series.y,
            edges,
            fill=at == 0,
            color=COLOURS[at % len(COLOURS)],
            alpha=0.5 if at == 0 else 1.0,
            linewidth=1.8,
            label=series.name,
        )
    whole_ticks(axes.yaxis)
    axes.grid(visible=False, axis="x")


def edges_of(chart: Chart) -> list[float]:
    """Where the bins of a histogram begin and end; empty for bars that have names."""
    middles = sorted({x for series in chart.series for x in series.x if isinstance(x, float)})
    if len(middles) < 2:
        return []
    half = min(b - a for a, b in pairwise(middles)) / 2
    return [middles[0] - half, *(middle + half for middle in middles)]


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
        "color": COLOURS[at % len(COLOURS)],
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

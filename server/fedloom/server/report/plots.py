"""The report's plots as inline SVG: reproducible, and legible without colour.

Colours are the page's own CSS variables, with the light theme's values for readers that know
none; so a plot follows the page into dark mode.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fedloom.server.report.schema import Arm, CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT = "#1d2733", "#5b6875", "#e3e8ed", "#0b6e6e"
SITES = ("#0c6f70", "#b4552d", "#4a5fa5", "#8a6d1f", "#7a3e7d", "#4c7a34")
MARKERS = ("o", "s", "^", "D", "v", "P")
# A hollow marker is filled with what is behind it.
_PAPER = "#ffffff"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", _PAPER: "paper"} | {
    colour: f"site-{at}" for at, colour in enumerate(SITES)
}
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    # Text as paths: the page looks the same where the font is missing.
    "svg.fonttype": "path",
    # Element ids from content instead of chance, so that a report is reproducible.
    "svg.hashsalt": "fedloom",
}
# Who made it and when: in no plot, as it names addresses and differs between machines.
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def curve_plot(curve: Sequence[CurvePoint]) -> str:
    """Accuracy on held-out records by round."""
    with _styled():
        figure, axes = _canvas(width=4.4, height=2.7)
        rounds = [point.round for point in curve]
        values = [100 * point.accuracy for point in curve]
        axes.plot(rounds, values, color=ACCENT, linewidth=2, marker=_marker(len(curve), "o"))
        _note(axes, f"{values[-1]:.1f}", (rounds[-1], values[-1]), ACCENT, offset=(6, 0))
        axes.set_ylabel("accuracy, %")
        axes.margins(x=0.09, y=0.15)
        _by_round(axes)
        return _svg(figure, name="curve", label="Accuracy by round")


def epsilon_plot(by_round: Mapping[str, Sequence[float]], promised: float | None) -> str:
    """Each site's epsilon by round, a line a site, and the promise as a dashed line."""
    with _styled():
        figure, axes = _canvas(width=4.4, height=2.7)
        for at, (site, spent) in enumerate(by_round.items()):
            _site_line(axes, at, site, spent, told_apart=len(by_round) <= len(SITES))
        if promised is not None:
            axes.axhline(promised, color=INK, linestyle="--", linewidth=1.2, label="promised")
        highest = max([promised or 0.0, *(max(spent, default=0.0) for spent in by_round.values())])
        axes.set_ylim(0, 1.1 * highest or 1.0)
        axes.set_ylabel("ε")
        _by_round(axes)
        figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
        return _svg(figure, name="epsilon", label="Epsilon by round and site")


def arms_plot(arms: Sequence[Arm], test: str) -> str:
    """Accuracy of every arm on one test set, a dot with its 95 % interval."""
    with _styled():
        figure, axes = _canvas(width=4.7, height=0.7 + 0.3 * len(arms))
        for row, arm in enumerate(reversed(arms)):
            _arm_row(axes, row, arm, test)
        axes.set_yticks(range(len(arms)), [arm.name for arm in reversed(arms)])
        axes.set_xlabel(f"accuracy on the {test} held-out records, %")
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
        axes.set_ylim(-0.6, len(arms) - 0.4)
        return _svg(figure, name="arms", label="Accuracy of each arm with 95 % interval")


def _site_line(
    axes: "Axes", at: int, site: str, spent: Sequence[float], *, told_apart: bool
) -> None:
    # More sites than colours cannot be told apart: one look and one entry in the legend for all.
    one_entry = "each site" if at == 0 else None
    axes.plot(
        range(1, len(spent) + 1),
        spent,
        color=SITES[at] if told_apart else MUTED,
        linewidth=1.6 if told_apart else 0.9,
        label=site if told_apart else one_entry,
        marker=_marker(len(spent), MARKERS[at]) if told_apart else "",
        markersize=5,
    )


def _arm_row(axes: "Axes", row: int, arm: Arm, test: str) -> None:
    accuracy = arm.tests[test].accuracy
    low, value, high = (100 * x for x in (accuracy.low, accuracy.value, accuracy.high))
    colour = ACCENT if arm.kind == "federation" else MUTED
    # Filled means trained under epsilon, in ink and not only in colour.
    inside = _PAPER if arm.epsilon is None else colour
    axes.plot([low, high], [row, row], color=colour, linewidth=2)
    axes.plot([value], [row], color=colour, marker="o", markersize=7, markerfacecolor=inside)
    _note(axes, f"{value:.1f}", (max(high, value), row), colour, offset=(8, 0))


def _note(
    axes: "Axes", text: str, at: tuple[float, float], colour: str, *, offset: tuple[int, int]
) -> None:
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold" if colour == ACCENT else "normal",
    )


def _marker(points: int, marker: str) -> str:
    # Many markers hide the line that they stand on.
    return marker if points <= 25 else ""


def _by_round(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.set_xlabel("round")


def _styled() -> AbstractContextManager[None]:
    import matplotlib as mpl

    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return context


def _canvas(*, width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: "Figure", *, name: str, label: str) -> str:
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata=_NO_METADATA)
    text = target.getvalue()
    # The XML prologue names a document type at a foreign address; inline SVG needs none.
    text = text[text.index("<svg") :]
    # Comments repeat each drawn text, a name that somebody chose among them.
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable}, {colour})")
    # Several plots share one page, in which an id may occur once.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)

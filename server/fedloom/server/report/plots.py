"""The report's plots as inline SVG: reproducible, and legible without colour."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fedloom.server.report.schema import Arm, CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#5b6875", "#e3e8ed"
ACCENT = "#0b6e6e"
SITE_COLOURS = ("#0b6e6e", "#b4552d", "#4a5fa5", "#8a6d1f", "#7a3e7d", "#4c7a34")
MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
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


def curve_plot(curve: Sequence[CurvePoint]) -> str:
    """Accuracy on held-out records by round."""
    with _styled():
        figure, axes = _canvas(height=2.6)
        rounds = [point.round for point in curve]
        values = [100 * point.accuracy for point in curve]
        axes.plot(rounds, values, color=ACCENT, marker="o", linewidth=2)
        axes.annotate(
            f"{values[-1]:.1f} %",
            (rounds[-1], values[-1]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=ACCENT,
            fontweight="bold",
        )
        axes.set_xticks(rounds)
        axes.set_xlabel("round")
        axes.set_ylabel("accuracy, %")
        axes.margins(y=0.2)
        return _svg(figure)


def epsilon_plot(by_round: dict[str, tuple[float, ...]], promised: float | None) -> str:
    """Epsilon spent by round, a line a site, and the promise as a dashed line."""
    with _styled():
        figure, axes = _canvas(height=2.6)
        for at, (site, spent) in enumerate(by_round.items()):
            axes.plot(
                range(1, len(spent) + 1),
                spent,
                color=SITE_COLOURS[at % len(SITE_COLOURS)],
                marker=MARKERS[at % len(MARKERS)],
                markersize=5,
                linewidth=1.6,
                label=site,
            )
        if promised is not None:
            axes.axhline(promised, color=INK, linestyle="--", linewidth=1, label="promised")
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(1, max(map(len, by_round.values())) + 1))
        axes.set_xlabel("round")
        axes.set_ylabel("epsilon spent")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        return _svg(figure)


def arms_plot(arms: Sequence[Arm], test: str) -> str:
    """Accuracy of every arm on one test set, a dot with its 95 % interval."""
    with _styled():
        figure, axes = _canvas(height=0.6 + 0.36 * len(arms))
        for row, arm in enumerate(reversed(arms)):
            accuracy = arm.tests[test].accuracy
            colour = ACCENT if arm.kind == "federation" else MUTED
            low, value, high = (100 * x for x in (accuracy.low, accuracy.value, accuracy.high))
            axes.plot([low, high], [row, row], color=colour, linewidth=2.4, alpha=0.5)
            axes.plot([value], [row], color=colour, marker="o", markersize=7)
            axes.annotate(
                f"{value:.1f}",
                (high, row),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        axes.set_yticks(range(len(arms)), [arm.name for arm in reversed(arms)])
        axes.set_xlabel(f"accuracy on {test} test records, %, with 95 % interval")
        axes.margins(x=0.12, y=0.12)
        return _svg(figure)


def _styled() -> AbstractContextManager[None]:
    import matplotlib as mpl

    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return context


def _canvas(*, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: "Figure") -> str:
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    # The XML prologue names a document type at a foreign address; inline SVG needs none.
    return text[text.index("<svg") :]

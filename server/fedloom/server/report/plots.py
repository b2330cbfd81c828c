"""The plots of a run: accuracy and epsilon by round, and its arms side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedloom.server.report.drawing import (
    ACCENT,
    INK,
    MARKERS,
    MUTED,
    PAPER,
    SITES,
    canvas,
    note,
    styled,
    svg,
    whole_ticks,
)
from fedloom.server.report.schema import Arm, CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curve_plot(curve: Sequence[CurvePoint]) -> str:
    """Accuracy on held-out records by round."""
    with styled():
        figure, axes = canvas(width=4.4, height=2.7)
        rounds = [point.round for point in curve]
        values = [100 * point.accuracy for point in curve]
        axes.plot(rounds, values, color=ACCENT, linewidth=2, marker=_marker(len(curve), "o"))
        note(axes, f"{values[-1]:.1f}", (rounds[-1], values[-1]), ACCENT, offset=(6, 0))
        axes.set_ylabel("accuracy, %")
        axes.margins(x=0.09, y=0.15)
        _by_round(axes)
        return svg(figure, name="curve", label="Accuracy by round")


def epsilon_plot(by_round: Mapping[str, Sequence[float]], promised: float | None) -> str:
    """Each site's epsilon by round, a line a site, and the promise as a dashed line."""
    with styled():
        figure, axes = canvas(width=4.4, height=2.7)
        for at, (site, spent) in enumerate(by_round.items()):
            _site_line(axes, at, site, spent, told_apart=len(by_round) <= len(SITES))
        if promised is not None:
            axes.axhline(promised, color=INK, linestyle="--", linewidth=1.2, label="promised")
        highest = max([promised or 0.0, *(max(spent, default=0.0) for spent in by_round.values())])
        axes.set_ylim(0, 1.1 * highest or 1.0)
        axes.set_ylabel("ε")
        _by_round(axes)
        figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
        return svg(figure, name="epsilon", label="Epsilon by round and site")


def arms_plot(arms: Sequence[Arm], test: str) -> str:
    """Accuracy of every arm on one test set, a dot with its 95 % interval."""
    with styled():
        figure, axes = canvas(width=4.7, height=0.7 + 0.3 * len(arms))
        for row, arm in enumerate(reversed(arms)):
            _arm_row(axes, row, arm, test)
        axes.set_yticks(range(len(arms)), [arm.name for arm in reversed(arms)])
        axes.set_xlabel(f"accuracy on the {test} held-out records, %")
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
        axes.set_ylim(-0.6, len(arms) - 0.4)
        return svg(figure, name="arms", label="Accuracy of each arm with 95 % interval")


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
    inside = PAPER if arm.epsilon is None else colour
    axes.plot([low, high], [row, row], color=colour, linewidth=2)
    axes.plot([value], [row], color=colour, marker="o", markersize=7, markerfacecolor=inside)
    note(axes, f"{value:.1f}", (max(high, value), row), colour, offset=(8, 0))


def _marker(points: int, marker: str) -> str:
    # Many markers hide the line that they stand on.
    return marker if points <= 25 else ""


def _by_round(axes: "Axes") -> None:
    whole_ticks(axes.xaxis)
    axes.set_xlabel("round")

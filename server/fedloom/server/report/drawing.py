"""How everything that is drawn looks: inline SVG, reproducible, and legible without colour.

Colours are the page's own CSS variables, with the light theme's values for readers that know
none; so a drawing follows the page into dark mode.
"""

import io
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT = "#1d2733", "#5b6875", "#e3e8ed", "#0b6e6e"
SITES = ("#0c6f70", "#b4552d", "#4a5fa5", "#8a6d1f", "#7a3e7d", "#4c7a34")
MARKERS = ("o", "s", "^", "D", "v", "P")
# A hollow marker is filled with what is behind it.
PAPER = "#ffffff"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", PAPER: "paper"} | {
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


def styled() -> AbstractContextManager[None]:
    """Within it, drawings look like the page's."""
    import matplotlib as mpl

    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return context


def canvas(*, width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty drawing, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def whole_ticks(axis: "Axis") -> None:
    """Ticks at whole numbers alone, and not many: there is no half round and no half record."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=10, integer=True))


def svg(figure: "Figure", *, name: str, label: str) -> str:
    """The drawing as text for a page; `name` sets its ids apart from other drawings'."""
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


def note(
    axes: "Axes", text: str, at: tuple[float, float], colour: str, *, offset: tuple[int, int]
) -> None:
    """A text beside a point."""
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold" if colour == ACCENT else "normal",
    )

"""The texts that exchanged words move most, both versions side by side, the words marked."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

import numpy as np

from fedloom.server.evaluator.fairness.effects import Effects
from fedloom.server.evaluator.fairness.exchanges import NEUTRAL
from fedloom.server.evaluator.findings import Shown, Span

_PIECES = re.compile(r"\w+|\W")


def most_moved(effects: Effects, label: str, *, count: int) -> Iterator[Shown]:
    """At most `count` texts, records before templates, each in the exchange that moves it most."""
    natural = np.array([one.natural for one in effects.exchanges], dtype=bool)
    order = np.lexsort((-np.abs(effects.shifts), ~effects.flips, ~natural))
    seen: set[str] = set()
    for at in order.tolist():
        exchange = effects.exchanges[at]
        moved = effects.flips[at] or abs(effects.shifts[at]) > 0
        if exchange.axis == NEUTRAL or exchange.source in seen or not moved:
            continue
        seen.add(exchange.source)
        yield _shown(effects, at, label)
        if len(seen) == count:
            return


def spans(first: str, second: str, *, weight: float) -> tuple[Span, ...]:
    """Both texts, an arrow between; what differs has a weight, opposite in the two."""
    one, other = _PIECES.findall(first), _PIECES.findall(second)
    left: list[Span] = []
    right: list[Span] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        marked = None if kind == "equal" else weight
        if b > a:
            left.append(Span(text="".join(one[a:b]), weight=_negated(marked)))
        if d > c:
            right.append(Span(text="".join(other[c:d]), weight=marked))
    return (*left, Span(text=" → "), *right)


def _negated(weight: float | None) -> float | None:
    return None if weight is None else -weight


def _shown(effects: Effects, at: int, label: str) -> Shown:
    exchange, before, after = effects.exchanges[at], effects.before[at], effects.after[at]
    words = ", ".join(f"{was} → {becomes}" for was, becomes in dict.fromkeys(exchange.pairs))
    return Shown(
        title=words,
        spans=spans(exchange.first.text, exchange.second.text, weight=float(after - before)),
        facts=(
            ("words for", exchange.axis),
            ("text", "record" if exchange.natural else "template"),
            (f"{label}, first version", f"{before:.3f}"),
            (f"{label}, second version", f"{after:.3f}"),
            ("label", "changes" if effects.flips[at] else "stays"),
        ),
        note=f"Coloured: the words exchanged, by which of them moves the text towards {label}.",
    )

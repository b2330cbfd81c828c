"""Which examples readers see, and how an explained one is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from fedloom.server.evaluator.explain.asking import Probabilities
from fedloom.server.evaluator.explain.attention import AttentionView
from fedloom.server.evaluator.explain.edits import Edit
from fedloom.server.evaluator.explain.gradients import Attribution
from fedloom.server.evaluator.explain.words import WordedText
from fedloom.server.evaluator.findings import Shown, Span
from fedloom.server.evaluator.statistics import Values

_TOP = 3
_RIGHT, _WRONG, _CLOSE = "Right and sure", "Wrong and sure", "Undecided"
_KINDS = (_RIGHT, _WRONG, _CLOSE, _RIGHT)
_COLOURS = (
    "Each word's weight says how far it speaks for the answer given (up to 1) or against it (down "
    "to -1), by integrated gradients."
)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A text, what the model says of it, and why; `right` is the label in the record."""

    text: WordedText
    probabilities: Probabilities
    right: int
    attribution: Attribution
    attention: AttentionView | None
    removal: Edit | None
    replacement: Edit | None


def choose(
    probabilities: Probabilities, labels: Sequence[int], *, count: int
) -> list[tuple[int, str]]:
    """Places of `count` examples, each with its kind: in turn the surest right one, the surest
    wrong one, the one closest to the border, and the surest right one of another label.

    A kind that has no more is passed over.
    """
    top = np.sort(probabilities, axis=1)[:, ::-1]
    said = probabilities.argmax(axis=1)
    right = said == np.array(labels)
    chosen: dict[int, str] = {}
    for kind in islice(cycle(_KINDS), count):
        shown = [said[at] for at, one in chosen.items() if one == kind]
        # Labels that were not shown yet come first.
        ranks = [(shown.count(said[at]), -top[at, 0], at) for at in range(len(said))]
        if kind == _CLOSE:
            ranks = [(0, top[at, 0] - top[at, 1], at) for at in range(len(said))]
        fits = {_RIGHT: right, _WRONG: ~right}.get(kind, np.ones_like(right))
        left = [rank for rank in ranks if fits[rank[-1]] and rank[-1] not in chosen]
        if left:
            chosen[min(left)[-1]] = kind
    return sorted(chosen.items(), key=lambda one: _KINDS.index(one[1]))


def shown(kind: str, found: Explained, labels: Sequence[str], *, max_edits: int) -> Shown:
    """The example as it is drawn."""
    said = int(found.probabilities.argmax())
    chance = float(found.probabilities[said])
    return Shown(
        title=f"{kind}: {labels[said]}, {chance:.2f}",
        spans=tuple(_spans(found)),
        facts=(
            ("answer", f"{labels[said]}, probability {chance:.2f}"),
            ("label in the record", labels[found.right]),
            ("words that decide", _signed(found.text, found.attribution)),
            *_attention(found),
            (
                "smallest removal that changes the answer",
                _told(found, "removal", labels, max_edits),
            ),
            (
                "smallest replacement that changes it",
                _told(found, "replacement", labels, max_edits),
            ),
        ),
        note=_COLOURS,
    )


def _spans(found: Explained) -> Iterator[Span]:
    weights = found.attribution.words
    largest = float(np.abs(weights).max(initial=0.0)) or 1.0
    text = found.text
    for gap, word, weight in zip(text.gaps, text.words, weights, strict=True):
        if gap:
            yield Span(text=gap)
        yield Span(text=word, weight=float(weight) / largest)
    if text.unread:
        yield Span(text=text.unread)


def _signed(text: WordedText, attribution: Attribution) -> str:
    strongest = np.argsort(-np.abs(attribution.words), kind="stable")[:_TOP]
    return ", ".join(f"{text.words[at]} {attribution.words[at]:+.2f}" for at in strongest)


def _attention(found: Explained) -> Iterator[tuple[str, str]]:
    if found.attention is None:
        yield "attention", "this model does not show it"
        return
    yield "attention, last layer", _shares(found.text, found.attention.last)
    yield "attention, all layers", _shares(found.text, found.attention.rollout)


def _shares(text: WordedText, weights: Values) -> str:
    most = np.argsort(-weights, kind="stable")[:_TOP]
    return ", ".join(f"{text.words[at]} {weights[at]:.0%}" for at in most)


def _told(found: Explained, kind: str, labels: Sequence[str], max_edits: int) -> str:
    edit = found.removal if kind == "removal" else found.replacement
    if edit is None:
        return f"none found of at most {max_edits} words"
    return f"{edit.words(found.text)} (then {labels[edit.label]})"

"""Whether an explanation names the words that the model needs (DeYoung et al. 2020)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.explain.asking import Classify
from fedloom.server.evaluator.explain.words import WordedText
from fedloom.server.evaluator.statistics import Values

# Shares of words, rounded up: those of the paper.
_BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
# Places of the deletion curve; where they are bins, nothing is asked twice.
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Scores of n explanations, each in probability of the label that the model gives the text.

    `comprehensiveness`, shape (n,): how much is lost without the first words of the order, mean
    over the paper's shares of words; the more, the better. `sufficiency`: how much is lost with
    those words alone; the less, the better. `curve`, shape (n, len(CURVE)): what is left as
    words go in the order, and `area`, shape (n,), that under it; the less, the better.
    """

    comprehensiveness: Values
    sufficiency: Values
    curve: NDArray[np.float64]

    @property
    def area(self) -> Values:
        """By the trapezoid rule."""
        return np.asarray(np.trapezoid(self.curve, x=CURVE, axis=1), dtype=np.float64)


def faithfulness(
    ask: Classify, texts: Sequence[WordedText], orders: Sequence[Sequence[int]]
) -> Faithfulness:
    """The scores of these orders of words, which begin with the word said to matter most.

    Raises:
        EvaluationError: an answer is no number.
    """
    labels = ask([text.text for text in texts]).argmax(axis=1)

    def left(shares: Sequence[float], *, kept: bool) -> NDArray[np.float64]:
        asked = [
            text.only(first) if kept else text.without(first)
            for text, order in zip(texts, orders, strict=True)
            for first in (_first(order, share) for share in shares)
        ]
        rows = np.repeat(labels, len(shares))
        found: Values = ask(asked)[np.arange(len(asked)), rows]
        return found.reshape(len(texts), len(shares))

    whole = left([0.0], kept=False)
    return Faithfulness(
        comprehensiveness=(whole - left(_BINS, kept=False)).mean(axis=1),
        sufficiency=(whole - left(_BINS, kept=True)).mean(axis=1),
        curve=left(CURVE, kept=False),
    )


def random_orders(texts: Sequence[WordedText], *, seed: int = 0) -> list[tuple[int, ...]]:
    """An order of each text's words that knows nothing of the model."""
    generator = np.random.default_rng(seed)
    return [tuple(map(int, generator.permutation(len(text.words)))) for text in texts]


def _first(order: Sequence[int], share: float) -> set[int]:
    # Less a hair: a tenth of 30 words is a little more than 3 to a computer.
    return set(order[: math.ceil(share * len(order) - 1e-9)])

"""Asks a model about many variants of texts, each only once."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
# Class probabilities of texts, shape (n, labels).
Classify = Callable[[Sequence[str]], Probabilities]
_Found = TypeVar("_Found")
# A search that asks for texts, gets their probabilities, and ends with what it found.
Search = Generator[list[str], Probabilities, _Found]


class Asked:
    """A classifier that remembers its answers: shortened texts are often the same."""

    def __init__(self, classify: Classify) -> None:
        self._classify = classify
        self._known: dict[str, Probabilities] = {}

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Class probabilities, shape (n, labels).

        Raises:
            EvaluationError: an answer is no number.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._classify(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def in_step(searches: Sequence[Search[_Found]], ask: Classify) -> list[_Found]:
    """Run searches side by side, so that each step is one batch for all of them."""
    found: dict[int, _Found] = {}
    answers: dict[int, Probabilities | None] = dict.fromkeys(range(len(searches)))
    while answers:
        wanted: dict[int, list[str]] = {}
        for at, answer in answers.items():
            try:
                wanted[at] = next(searches[at]) if answer is None else searches[at].send(answer)
            except StopIteration as end:
                found[at] = end.value
        flat = [text for texts in wanted.values() for text in texts]
        given = iter(ask(flat)) if flat else iter(())
        answers = {at: np.stack([next(given) for _ in texts]) for at, texts in wanted.items()}
    return [found[at] for at in range(len(searches))]

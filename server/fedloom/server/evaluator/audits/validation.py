"""How good an adapter is on labelled records that no site trained on."""

import numpy as np

from fedloom.server.evaluator.audits.base import (
    Measured,
    Options,
    found_by,
    share_figure,
)
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Better, Unit
from fedloom.server.evaluator.subject import Subject

_WORDS: dict[str, tuple[str, Better, Unit]] = {
    "accuracy": ("part of the records that come out right", "higher", "share"),
}


class ValidationOptions(Options):
    """`resamples` of the bootstrap behind each interval."""

    resamples: int = 1000


class Validation:
    """Accuracy, macro-F1, log loss and calibration."""

    name = "validation"
    title = "How good it is"
    asks = "How often is it right on records that nobody trained on, and how sure is it?"

    def __init__(self, options: ValidationOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labelled records are needed."""
        return "" if corpus.joint else "no labelled records were given"

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures, and right or wrong by record."""
        outcomes = subject.outcomes(corpus.joint)
        right = outcomes.right.astype(np.float64)
        words, better, _ = _WORDS["accuracy"]
        accuracy = share_figure("accuracy", words, right, better=better)
        findings = found_by(self).model_copy(update={"figures": (accuracy,)})
        return Measured(findings=findings, samples={"accuracy": right})

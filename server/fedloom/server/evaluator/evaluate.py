"""Scores of adapters and baselines on test sets, each with intervals."""

from collections.abc import Sequence

import numpy as np

from fedloom.server.evaluator.bench import Bench
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.metrics import Outcomes, score
from fedloom.server.evaluator.subject import Candidate
from fedloom.server.report.schema import CurvePoint, Scores
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.data import JOINT


class Evaluator:
    """Test sets by name; `joint` is all of them together."""

    def __init__(self, bench: Bench, corpus: Corpus, *, resamples: int) -> None:
        self._bench = bench
        self._corpus = corpus
        self._resamples = resamples
        self._slices: dict[str, slice] = {}
        start = 0
        for name, records in corpus.tests.items():
            self._slices[name] = slice(start, start + len(records))
            start += len(records)
        self._slices[JOINT] = slice(0, start)
        self._labels = np.array([record.label for record in corpus.joint], dtype=np.int64)

    def adapter(self, adapter: Adapter) -> dict[str, Scores]:
        """Scores of an adapter on every test set.

        Raises:
            EvaluationError: its answers are no numbers.
        """
        candidate = Candidate(name="adapter", kind="alone", description="", adapter=adapter)
        return self._scores(self._bench.subject(candidate).outcomes(self._corpus.joint))

    def majority(self, class_counts: Sequence[int]) -> dict[str, Scores]:
        """Scores of always answering with the training labels' frequencies."""
        shares = np.array(class_counts, dtype=np.float64) / sum(class_counts)
        everywhere = np.tile(shares, (self._labels.size, 1))
        return self._scores(Outcomes.of(everywhere, self._labels))

    def curve_point(self, number: int, adapter: Adapter, *, records: int) -> CurvePoint:
        """Accuracy and loss after a round on an even pick of at most `records` test records."""
        step = max(1, -(-self._labels.size // records))
        examples = self._bench.encode(self._corpus.joint[::step])
        found = self._bench.outcomes(adapter, examples)
        return CurvePoint(
            round=number,
            records=found.loss.size,
            accuracy=float(found.right.mean()),
            loss=float(found.loss.mean()),
        )

    def _scores(self, outcomes: Outcomes) -> dict[str, Scores]:
        return {
            name: score(
                outcomes[at],
                self._labels[at],
                units=self._corpus.units[at],
                resamples=self._resamples,
            )
            for name, at in self._slices.items()
        }

"""Scores of adapters and baselines on test sets, each with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedloom.server.evaluator.metrics import Outcomes, labels_of, score
from fedloom.server.evaluator.predict import Predictor
from fedloom.server.report.schema import CurvePoint, Scores
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import JOINT
from fedloom.shared.data.records import Record
from fedloom.shared.tasks.base import Example


class Evaluator:
    """Test sets by name, encoded once; `joint` is all of them together."""

    def __init__(
        self, predictor: Predictor, tests: Mapping[str, Sequence[Record]], *, resamples: int
    ) -> None:
        self._predictor = predictor
        self._resamples = resamples
        self._examples: list[Example] = []
        self._slices: dict[str, slice] = {}
        for name, records in tests.items():
            start = len(self._examples)
            self._examples += predictor.encode(records)
            self._slices[name] = slice(start, len(self._examples))
        self._slices[JOINT] = slice(0, len(self._examples))
        self._labels = labels_of(self._examples)

    def adapter(self, adapter: Adapter) -> dict[str, Scores]:
        """Scores of an adapter on every test set."""
        return self._scores(self._predictor.outcomes(adapter, self._examples))

    def majority(self, class_counts: Sequence[int]) -> dict[str, Scores]:
        """Scores of always answering with the training labels' frequencies."""
        shares = np.array(class_counts, dtype=np.float64) / sum(class_counts)
        everywhere = np.tile(shares, (len(self._examples), 1))
        return self._scores(Outcomes.of(everywhere, self._labels))

    def curve_point(self, number: int, adapter: Adapter, *, records: int) -> CurvePoint:
        """Accuracy and loss after a round on an even pick of at most `records` test records."""
        step = max(1, -(-len(self._examples) // records))
        found = self._predictor.outcomes(adapter, self._examples[::step])
        return CurvePoint(
            round=number,
            records=found.loss.size,
            accuracy=float(found.right.mean()),
            loss=float(found.loss.mean()),
        )

    def _scores(self, outcomes: Outcomes) -> dict[str, Scores]:
        return {
            name: score(outcomes[at], self._labels[at], resamples=self._resamples)
            for name, at in self._slices.items()
        }

"""Scores of adapters and baselines on test sets, each with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.metrics import score
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
        self._labels = np.array([example.label for example in self._examples], dtype=np.int64)

    def adapter(self, adapter: Adapter) -> dict[str, Scores]:
        """Scores of an adapter on every test set."""
        return self._scores(self._predictor.probabilities(adapter, self._examples))

    def majority(self, class_counts: Sequence[int]) -> dict[str, Scores]:
        """Scores of always answering with the training labels' frequencies."""
        shares = np.array(class_counts, dtype=np.float64) / sum(class_counts)
        return self._scores(np.tile(shares, (len(self._examples), 1)))

    def curve_point(self, number: int, adapter: Adapter, *, records: int) -> CurvePoint:
        """Accuracy and loss after a round on an even pick of at most `records` test records."""
        step = max(1, -(-len(self._examples) // records))
        labels = self._labels[::step]
        found = self._predictor.probabilities(adapter, self._examples[::step])
        own = found[np.arange(len(labels)), labels]
        return CurvePoint(
            round=number,
            records=len(labels),
            accuracy=float((found.argmax(axis=1) == labels).mean()),
            loss=float(-np.log(np.clip(own, 1e-12, 1.0)).mean()),
        )

    def _scores(self, probabilities: NDArray[np.float64]) -> dict[str, Scores]:
        return {
            name: score(probabilities[at], self._labels[at], resamples=self._resamples)
            for name, at in self._slices.items()
        }

"""What a model said to labelled records, and the rates of each group, by fairlearn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.fairness.counts import Cells, cells_of
from fedloom.server.evaluator.fairness.grouping import Grouping
from fedloom.server.evaluator.statistics import Interval, share_of
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class Said:
    """True and predicted class numbers, shape (n,); `positive` is the one that counts."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    positive: int

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each record came out right."""
        found: NDArray[np.bool_] = self.labels == self.predicted
        return found

    @property
    def cells(self) -> Cells:
        """What measures of gaps need."""
        return cells_of(self.labels == self.positive, self.predicted == self.positive, self.right)


@dataclass(frozen=True, kw_only=True)
class GroupRates:
    """Of one group: `called` is the share that is called positive; `tpr` and `fpr` the share of
    its true positives, and of the others, that are; None where it has no such records. Its records
    are of `units` privacy units."""

    group: str
    records: int
    units: int
    accuracy: Interval
    called: Interval
    tpr: float | None
    fpr: float | None


def said_to(subject: Subject, corpus: Corpus, positive: int) -> Said:
    """The labels of the corpus beside the model's.

    Raises:
        EvaluationError: the model's answers are no probabilities of labels.
    """
    probabilities = subject.outcomes(corpus.joint).probabilities
    if probabilities is None:
        raise EvaluationError(f"{subject.candidate.name}: no label set, expected task.labels")
    labels = np.array([record.label for record in corpus.joint], dtype=np.int64)
    return Said(labels=labels, predicted=probabilities.argmax(axis=1), positive=positive)


def rates_by_group(said: Said, grouping: Grouping) -> Iterator[GroupRates]:
    """The rates of each group that was kept."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate

    kept = grouping.kept
    true, called = said.labels[kept] == said.positive, said.predicted[kept] == said.positive
    frame = MetricFrame(
        metrics={
            "positives": lambda true, _: int(true.sum()),
            "tpr": true_positive_rate,
            "fpr": false_positive_rate,
        },
        y_true=true.astype(int),
        y_pred=called.astype(int),
        sensitive_features=grouping.at[kept],
    ).by_group
    for number, group in enumerate(grouping.groups):
        found = frame.loc[number]
        own, positives = np.flatnonzero(grouping.at == number), int(found["positives"])
        units = grouping.units[own]
        yield GroupRates(
            group=group,
            records=own.size,
            units=units.count,
            accuracy=share_of(said.right[own], units.clusters),
            called=share_of(said.predicted[own] == said.positive, units.clusters),
            tpr=float(found["tpr"]) if positives else None,
            fpr=float(found["fpr"]) if positives < own.size else None,
        )


def units_of_worst(rates: Sequence[GroupRates]) -> int:
    """How many units the group that is least often right has; of several, the smallest."""
    return min(rates, key=lambda one: (one.accuracy.value, one.units)).units
